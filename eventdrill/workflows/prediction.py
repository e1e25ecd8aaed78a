"""What the simulator says before a run: replications of the plan that will be driven, written down with a hash.

What the user's own programs will send nobody knows beforehand; beside them each replication has a plan of its own, as they are declared.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.workflows.telling import Telling
from rundata.run import Run
from scenarios.files import LoadedScenario
from scenarios.outside import outside_topics
from scenarios.plan import Plan, make_plan
from scenarios.profiles import Profile

if TYPE_CHECKING:
    from reports.traces import Band
    from rundata.measurement import Measurement
    from rundata.replications import Estimate
    from sim.crew import Crew

REPLICATIONS = 200
"""So many make the 95 % interval's ends the 5th and the 196th of the replications."""
FITTED_REPLICATIONS = 40
"""Enough for the width of an interval, to which the prediction's own is compared."""
FILE = "prediction.json"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the simulator said, locked by the hash of its text."""

    plan: Plan
    profile: Profile
    run: Run
    """The plan itself simulated, with the intervals of its replications: parameters drawn from their uncertainty."""
    measured: "Sequence[Mapping[str, Measurement]]"
    fitted: "Mapping[str, Estimate]"
    """The same at the fitted parameters: how wide the mechanism alone makes the intervals."""
    lag: "Mapping[str, Band]"
    """By group, where the lag of 95 % of runs lies."""
    text: str
    """The JSON that was written before the run."""

    @property
    def estimates(self) -> "Mapping[str, Estimate]":
        """Every indicator with its intervals."""
        return self.run.estimates

    @property
    def sha256(self) -> str:
        """The hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return where it is written, its hash, and on how many runs it rests."""
        return {"file": FILE, "sha256": self.sha256, "replications": len(self.measured)}


def predict(
    loaded: LoadedScenario,
    profile: Profile,
    folder: Path,
    *,
    seed: int | None = None,
    replications: int = REPLICATIONS,
    jobs: int | str | None = None,
    telling: Telling,
) -> Prediction:
    """Simulate the plan that will be driven, and lock what comes out: `simulated/` and `prediction.json` in the folder."""
    from reports.traces import lag_bands
    from rundata.dataset import RunWriter, open_run
    from rundata.replications import summarise
    from sim.crew import of_size

    plan = make_plan(loaded.scenario, seed)
    brokers = loaded.scenario.brokers
    about = {
        "profile": profile.profile,
        "brokers": {"implementation": "simulated", "version": brokers.version, "nodes": brokers.nodes},
    }
    writer = RunWriter(folder / "simulated", plan, about, engine="simulated", text=loaded.text)
    writer.state("running")
    try:
        with of_size(jobs or os.cpu_count() or 1) as crew:
            drawn = _replicate(loaded, profile, plan.seed, replications, crew, True, telling)
            fitted = _replicate(
                loaded, profile, plan.seed, min(FITTED_REPLICATIONS, replications), crew, False, telling
            )
    except BaseException:
        writer.state("interrupted")
        raise
    writer.finish(drawn.first, measured=drawn.measured)
    estimates = summarise(drawn.measured)
    text = _text(loaded, plan, profile, replications, estimates)
    (folder / FILE).write_text(text, "utf-8")
    run = open_run(writer.folder)
    return Prediction(plan, profile, run, drawn.measured, summarise(fitted.measured), lag_bands(drawn.series), text)


def _replicate(
    loaded: LoadedScenario,
    profile: Profile,
    seed: int,
    count: int,
    crew: "Crew",
    vary_profile: bool,
    telling: Telling,
) -> Any:
    from reports.traces import lag_by_group
    from sim.experiments import replicate

    title = "simulated runs" if vary_profile else "simulated runs at the fitted figures"
    with telling.bar(title, count) as update:
        return replicate(
            loaded.scenario,
            profile,
            seed=seed,
            replications=count,
            jobs=crew,
            same_plan=not outside_topics(loaded.scenario),
            vary_profile=vary_profile,
            series=lag_by_group if vary_profile else None,
            progress=lambda done, _total: update(done),
        )


def _text(
    loaded: LoadedScenario, plan: Plan, profile: Profile, replications: int, estimates: "Mapping[str, Estimate]"
) -> str:
    """Return the prediction as text that is equal for equal predictions."""
    document = {
        "scenario": loaded.scenario.scenario,
        "scenario_sha256": hashlib.sha256(loaded.text.encode()).hexdigest(),
        "seed": plan.seed,
        "replications": replications,
        "profile": profile.model_dump(mode="json"),
        "indicators": {name: estimate.to_json() for name, estimate in sorted(estimates.items())},
    }
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n"
