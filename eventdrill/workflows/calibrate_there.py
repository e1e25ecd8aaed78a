"""Where a calibration takes place: on brokers that were started for it, or on a system of somebody else's, as far as its owner allows."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventdrill.errors import WrongInputError
from scenarios.around import ForeignTarget
from scenarios.files import LoadedScenario, load_scenario, validated
from scenarios.profiles import Profile
from scenarios.yaml_text import read_yaml

if TYPE_CHECKING:
    from loadgen.clusters.foreign import ForeignKafka
    from loadgen.exporters import Exporter


@dataclass(frozen=True)
class Ground:
    """What a calibration's scenarios have to know of the system, and what they may do to it."""

    nodes: int = 3
    target: ForeignTarget | None = None
    """What is allowed on a system that EventDrill did not start; None where it did."""
    crashes: bool = True
    """Whether brokers of our own are killed: those that were are cold again for some minutes."""

    @property
    def may_crash(self) -> bool:
        """Whether brokers may be killed: nobody has a hold of other people's."""
        return self.crashes and self.target is None

    @property
    def may_saturate(self) -> bool:
        """Whether load may rise until the brokers are at their limit."""
        return self.target is None or self.target.harm == "allowed"

    @property
    def head(self) -> str:
        """A scenario's lines about the brokers and what is allowed there; JSON is YAML, whatever a name holds."""
        brokers = f"brokers: {{kind: kafka, nodes: {self.nodes}}}"
        if self.target is None:
            return brokers
        return f"{brokers}\ntarget: {json.dumps(self.target.model_dump(mode='json'))}"

    def name(self, own: str) -> str:
        """Return what a topic or group of the calibration's is called: under a beginning that the target allows."""
        if self.target is None:
            return own
        from loadgen.admin import SCRATCH_TOPIC
        from loadgen.foreign import scratch_topic

        return f"{(scratch_topic(self.target) or '').removesuffix(SCRATCH_TOPIC)}eventdrill.calibration-{own}"

    def topic(self, partitions: int) -> str:
        """Return a topic as safe as this many brokers can have it."""
        copies, in_sync = min(3, self.nodes), min(2, self.nodes)
        return f"{{partitions: {partitions}, replication: {copies}, settings: {{min.insync.replicas: {in_sync}}}}}"


HERE = Ground()
"""Three brokers of our own."""

_OF_NO_RUN = {
    "fetch_turnaround": "no client can tell it from the fetch before",
    "handle_us": "the driver's own",
    "poll_us": "the driver's own",
    "restart": "nobody times the start of a process",
}
_OF_CRASHES = (
    "catch_up", "discovery", "early_followers", "election", "member_discovery", "parked_followers", "rejoin", "takeover",
)  # fmt: skip


def taken_over(
    base: Profile,
    *,
    crashes: str | None = None,
    sizes: str | None = None,
    calm: str | None = None,
    commits: str | None = None,
) -> dict[str, str]:
    """Return why figures are those of the base: what no run shows, and what there were no crashes, sizes, calm rates or commits for."""
    reasons = dict(_OF_NO_RUN)
    if crashes is not None:
        reasons |= dict.fromkeys(_OF_CRASHES, crashes)
    if sizes is not None:
        reasons |= {"produce_us_per_kib": sizes, "produce_leader": f"its share of produce; {sizes}"}
    if calm is not None:
        reasons |= {"produce_us_per_record": "requests of one record each do not tell it", "rest": calm}
    if commits is not None:
        reasons["commit"] = commits
    return {name: f"as in {base.profile}: {why}" for name, why in sorted(reasons.items())}


def target_of(text: str) -> ForeignTarget:
    """Return what `--target` allows: written out, or that of a scenario."""
    if text.lstrip().startswith("{"):
        return validated(ForeignTarget, read_yaml(text, "--target"), "--target")
    target = load_scenario(text).scenario.target
    if target is None:
        raise WrongInputError(f"--target {text}: this scenario has no target; {_WRITE_IT}")
    return target


_WRITE_IT = (
    "write --target '{cluster_id: ..., topics: [drill-*]}', or name a scenario file that has it; `harm: allowed` lets load rise until "
    "the brokers are at their limit"
)


@dataclass(frozen=True)
class There:
    """A system that EventDrill did not start, asked who it is."""

    system: "ForeignKafka"
    ground: Ground
    exporters: "tuple[Exporter, ...]" = ()


def prepare_there(on: str, target: str | None, client_settings: Path | None, metrics: Sequence[str]) -> There:
    """Check what is allowed before anything is touched, then who answers there and what the exporters show; nothing is changed."""
    from eventdrill.workflows.calibrate import calibration_scenario
    from loadgen.clusters.foreign import connect
    from loadgen.clusters.model import ClusterError
    from loadgen.clusters.security import read_security
    from loadgen.exporters import Exporter, ExporterError
    from loadgen.foreign import forbidden, mismatches

    if target is None:
        raise WrongInputError(
            f"--on {on}: --target is left out, so nothing may be touched on a system that EventDrill did not start; {_WRITE_IT}"
        )
    allowed = target_of(target)
    _refuse(
        forbidden(calibration_scenario(Ground(target=allowed)).scenario)[:1]
    )  # what else it finds follows from the first
    try:
        exporters = tuple(Exporter.at(url) for url in metrics)
        system = connect(on, read_security(client_settings, os.environ))
        ground = Ground(system.nodes, allowed)
        _refuse(mismatches(calibration_scenario(ground).scenario, system))
        for exporter in exporters:
            exporter.check()
    except ExporterError as error:
        raise WrongInputError(f"--metrics: {error}") from None
    except ClusterError as error:
        raise WrongInputError(str(error)) from None
    return There(system, ground, exporters)


def _refuse(reasons: Sequence[str]) -> None:
    if reasons:
        raise WrongInputError("\n".join(f"--target: {reason.removeprefix('target.')}" for reason in reasons))


def acts_there(there: There, runs: Sequence[tuple[LoadedScenario, int]]) -> list[str]:
    """Return all that the calibration's runs, each with its seed, would do there, in their order."""
    from loadgen.foreign import acts
    from scenarios.plan import make_plan

    return [act for loaded, seed in runs for act in acts(make_plan(loaded.scenario, seed), there.system)]
