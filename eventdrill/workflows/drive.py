"""Drives a scenario on real brokers: those that are started for it, or a system that its target names."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventdrill.errors import WrongInputError
from eventdrill.workflows.places import IMPLEMENTATIONS, Place, spec_of, start_cluster
from eventdrill.workflows.sources import Source, loaded
from scenarios.files import LoadedScenario
from scenarios.plan import Plan, make_plan

if TYPE_CHECKING:
    from loadgen.clusters.foreign import ForeignKafka
    from loadgen.clusters.model import Cluster, ClusterSpec
    from loadgen.control_link import Fleet, Ui
    from loadgen.recorder import Progress
    from rundata.run import Run


def drive(
    scenario: Source,
    *,
    on: str = "local",
    client_settings: Path | str | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
    out: Path | str,
    progress: Callable[[str], None] = lambda _text: None,
) -> "Run":
    """Return the run of a scenario on real brokers: `local` is a private Kafka, `embedded` librdkafka's cluster.

    `HOST:PORT` is a system that the scenario's `target` names; its security settings come from the file `client_settings`
    and from the environment. `out` is a new or empty folder for the dataset, which is written while the run goes on.
    """
    work = prepare_anywhere(scenario, on=on, client_settings=client_settings, seed=seed, settings=settings)
    return work.run(Path(out), progress=progress)


def prepare_anywhere(
    scenario: Source,
    *,
    on: str,
    client_settings: Path | str | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
) -> "Drive":
    """Check what can be checked for `local`, `embedded`, or a system that EventDrill did not start (`HOST:PORT`)."""
    if on in ("local", "embedded"):
        return prepare(scenario, on=on, seed=seed, settings=settings)  # type: ignore[arg-type]  # one of the two
    file = None if client_settings is None else Path(client_settings)
    return prepare_foreign(scenario, on=on, client_settings=file, seed=seed, settings=settings)


def prepare(
    scenario: Source,
    *,
    on: Place,
    seed: int | None = None,
    settings: Sequence[str] = (),
) -> "Drive":
    """Check everything that can be wrong, before anything starts."""
    from loadgen.clusters.jars import read_lock
    from loadgen.clusters.model import ClusterError
    from loadgen.refuse import cannot
    from loadgen.refuse_own import undeclared

    found = loaded(scenario, settings)
    spec, plan = spec_of(found.scenario), make_plan(found.scenario, seed)
    reasons = [*cannot(found.scenario, implementation=IMPLEMENTATIONS[on]), *undeclared(plan)]
    if on == "local":
        try:
            read_lock(spec.version)
        except ClusterError as error:
            reasons.append(str(error))
    _refuse(found, reasons)
    return Drive(found, on, spec, plan)


def prepare_foreign(
    scenario: Source,
    *,
    on: str,
    client_settings: Path | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
) -> "Drive":
    """Check what can be checked without touching a system that EventDrill did not start: the file, then who answers there."""
    from loadgen.clusters.foreign import connect
    from loadgen.clusters.model import ClusterError
    from loadgen.clusters.security import read_security
    from loadgen.foreign import forbidden, mismatches, too_old
    from loadgen.refuse import cannot
    from loadgen.refuse_own import undeclared

    found = loaded(scenario, settings)
    plan = make_plan(found.scenario, seed)
    _refuse(found, [*forbidden(found.scenario), *cannot(found.scenario), *undeclared(plan)])
    try:
        system = connect(on, read_security(client_settings, os.environ))
    except ClusterError as error:
        raise WrongInputError(str(error)) from None
    _refuse(found, [*mismatches(found.scenario, system), *cannot(found.scenario, system)])
    _refuse(found, too_old(found.scenario, system))
    return Drive(found, "local", spec_of(found.scenario), plan, system)


def _refuse(found: LoadedScenario, reasons: Sequence[str]) -> None:
    if reasons:
        raise WrongInputError("\n".join(f"{found.source}: {reason}" for reason in reasons))


@dataclass(frozen=True)
class Drive:
    """A live run that can begin."""

    loaded: LoadedScenario
    on: Place
    spec: "ClusterSpec"
    plan: Plan
    system: "ForeignKafka | None" = None
    """A system that EventDrill did not start, in the place of brokers of its own."""

    def acts(self) -> list[str]:
        """Return all that the run would do to a system that EventDrill did not start."""
        from loadgen.foreign import acts

        return [] if self.system is None else acts(self.plan, self.system)

    def run(
        self,
        folder: Path,
        *,
        ui: "Ui | None" = None,
        fleet: "Fleet | None" = None,
        progress: Callable[[str], None] = lambda _text: None,
        watch: "Callable[[Progress], None]" = lambda _state: None,
    ) -> "Run":
        """Start the brokers, or take those that are there, and drive the plan; the driver writes the dataset while it goes on."""
        from loadgen.engine import drive as drive_on
        from rundata.dataset import RunWriter, open_run

        writer = RunWriter(folder, self.plan, engine="driven", text=self.loaded.text)
        try:
            with self._brokers(folder, progress) as cluster:
                drive_on(self.loaded, self.plan, cluster, writer, progress=watch, ui=ui, fleet=fleet)
        except BaseException:
            writer.state("interrupted")
            raise
        return open_run(folder)

    def _brokers(self, folder: Path, progress: Callable[[str], None]) -> "AbstractContextManager[Cluster]":
        if self.system is not None:
            return self.system
        return start_cluster(self.on, self.spec, progress, name=folder.absolute().name)
