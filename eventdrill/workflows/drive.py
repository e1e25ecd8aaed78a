"""Drives a scenario on real brokers that are started for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventdrill.errors import WrongInputError
from eventdrill.workflows.places import IMPLEMENTATIONS, Place, spec_of, start_cluster
from eventdrill.workflows.sources import Source, loaded
from scenarios.files import LoadedScenario
from scenarios.plan import Plan, make_plan

if TYPE_CHECKING:
    from loadgen.clusters.model import ClusterSpec
    from loadgen.control_link import Fleet, Ui
    from loadgen.recorder import Progress
    from rundata.run import Run


def drive(
    scenario: Source,
    *,
    on: Place = "local",
    seed: int | None = None,
    settings: Sequence[str] = (),
    out: Path | str,
    progress: Callable[[str], None] = lambda _text: None,
) -> "Run":
    """Return the run of a scenario on real brokers: `local` is a private Kafka, `embedded` librdkafka's cluster.

    `out` is a new or empty folder for the dataset, which is written while the run goes on.
    """
    return prepare(scenario, on=on, seed=seed, settings=settings).run(Path(out), progress=progress)


def prepare(scenario: Source, *, on: Place, seed: int | None = None, settings: Sequence[str] = ()) -> "Drive":
    """Check everything that can be wrong, before anything starts."""
    from loadgen.clusters.jars import read_lock
    from loadgen.clusters.model import ClusterError
    from loadgen.refuse import cannot

    found = loaded(scenario, settings)
    spec = spec_of(found.scenario)
    reasons = cannot(found.scenario, implementation=IMPLEMENTATIONS[on])
    if on == "local":
        try:
            read_lock(spec.version)
        except ClusterError as error:
            reasons.append(str(error))
    if reasons:
        raise WrongInputError("\n".join(f"{found.source}: {reason}" for reason in reasons))
    return Drive(found, on, spec, make_plan(found.scenario, seed))


@dataclass(frozen=True)
class Drive:
    """A live run that can begin."""

    loaded: LoadedScenario
    on: Place
    spec: "ClusterSpec"
    plan: Plan

    def run(
        self,
        folder: Path,
        *,
        ui: "Ui | None" = None,
        fleet: "Fleet | None" = None,
        progress: Callable[[str], None] = lambda _text: None,
        watch: "Callable[[Progress], None]" = lambda _state: None,
    ) -> "Run":
        """Start the brokers, and drive the plan; the driver writes the dataset while it goes on."""
        from loadgen.engine import drive as drive_on
        from rundata.dataset import RunWriter, open_run

        writer = RunWriter(folder, self.plan, engine="driven", text=self.loaded.text)
        try:
            with start_cluster(self.on, self.spec, progress, name=folder.absolute().name) as cluster:
                drive_on(self.loaded, self.plan, cluster, writer, progress=watch, ui=ui, fleet=fleet)
        except BaseException:
            writer.state("interrupted")
            raise
        return open_run(folder)
