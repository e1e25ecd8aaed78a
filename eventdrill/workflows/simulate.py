"""Simulates a scenario: a run dataset, and intervals where there are several replications."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eventdrill.errors import WrongInputError
from eventdrill.workflows.sources import Source, as_predicted, loaded
from scenarios.files import LoadedScenario
from scenarios.load import expected_events_of
from scenarios.plan import Plan, empty_plan, make_plan
from scenarios.profiles import Profile, load_profile
from scenarios.schema import Scenario

if TYPE_CHECKING:
    from rundata.replications import Estimate
    from rundata.run import Run
    from sim.experiments import Replications

MOST_REPLICATIONS = 1000
"""Where a precision is wanted and no limit is given."""
FIRST_REPLICATIONS = 20
"""Enough to tell how many more a precision takes."""
KEPT_EVENTS = 1_000_000
"""Operations of larger plans are not kept unless asked for."""

WHOLE_EVENTS = 3_000_000
"""Larger plans are simulated in stretches unless asked for as a whole, which takes some 3 KB of memory an event."""

Operations = Literal["all", "none"]
Stretches = Literal["whole", "exact", "resampled"]
"""Whether a run is simulated as a whole, or in stretches; of those with quiet load each, or some that stand for others like them."""
Progress = Callable[[int], None]
Jobs = int | str | None
"""Processes, or a cluster: `dask:ADDRESS`, `ray:ADDRESS`; None is a process for each core."""


def simulate(
    scenario: Source,
    *,
    seed: int | None = None,
    settings: Sequence[str] = (),
    profile: Profile | str | Path | None = None,
    replications: int = 1,
    precision: float | None = None,
    jobs: Jobs = None,
    operations: Operations | None = None,
    stretches: Stretches | None = None,
    out: Path | str | None = None,
) -> "Run":
    """Return the simulated run of a scenario: a file, a shipped scenario's name, or a `Scenario`.

    With `replications` every indicator has its intervals; with `precision` (0.05 is 5 %) only as many are run as the
    means need. `out` is a new or empty folder for the dataset; without it the run stays in memory. A long run is simulated
    in `stretches` (docs/long-runs.md): resampled from 3 million planned events on.
    """
    work = prepare(scenario, seed=seed, settings=settings, profile=profile, stretches=stretches)
    folder = None if out is None else Path(out)
    return work.run(folder, replications=replications, precision=precision, jobs=jobs, operations=operations)


def prepare(
    scenario: Source,
    *,
    seed: int | None = None,
    settings: Sequence[str] = (),
    profile: Profile | str | Path | None = None,
    stretches: Stretches | None = None,
) -> "Simulation":
    """Check everything that can be wrong, before anything starts; `stretches` None is whole up to 3 million planned events."""
    found = as_predicted(loaded(scenario, settings))
    chosen = profile if isinstance(profile, Profile) else load_profile(profile or found.scenario.profile)
    from sim.refuse import cannot  # after the checks of the file, which are quick

    reasons = cannot(found.scenario)
    if reasons:
        raise WrongInputError("\n".join(f"{found.source}: {reason}" for reason in reasons))
    how = stretches or _usual_stretches(found.scenario)
    if how == "whole":
        return Simulation(found, chosen, make_plan(found.scenario, seed))
    from sim.stretches.timeline import Timeline, TimelineError

    plan = empty_plan(found.scenario, found.scenario.seed if seed is None else seed)
    try:
        Timeline(found.scenario, plan.seed, 0)
    except TimelineError as error:
        if stretches is None:
            return Simulation(found, chosen, make_plan(found.scenario, seed))
        raise WrongInputError(
            f"{found.source}: {error}, so it is simulated as a whole only: --stretches whole"
        ) from None
    return Simulation(found, chosen, plan, how)


def _usual_stretches(scenario: Scenario) -> Stretches:
    planned = sum(expected_events_of(scenario, name) for name in scenario.producers)
    return "whole" if planned <= WHOLE_EVENTS else "resampled"


@dataclass(frozen=True)
class Simulation:
    """A simulation that can begin."""

    loaded: LoadedScenario
    profile: Profile
    plan: Plan
    """Without events where the run is simulated in stretches."""
    stretches: Stretches = "whole"

    def steps(self, replications: int) -> int:
        """Return up to which number `run` tells its progress: replications, or the stretches that they are made of."""
        if self.stretches == "whole":
            return replications
        from sim.stretches.long_run import timeline_of

        scenario, resample = self.loaded.scenario, self.stretches == "resampled"
        numbers = range(replications)
        return sum(
            timeline_of(scenario, self.profile, self.plan.seed, number, resample=resample).simulated()
            for number in numbers
        )

    def run(
        self,
        folder: Path | None,
        *,
        replications: int = 1,
        precision: float | None = None,
        jobs: Jobs = None,
        operations: Operations | None = None,
        progress: Progress = lambda _done: None,
    ) -> "Run":
        """Simulate, and write the dataset of the plan itself (replication 0) where a folder is given."""
        from rundata.dataset import RunWriter, open_run, versions
        from rundata.run import Run

        about = {"profile": self.profile.profile, "brokers": self._brokers()}
        if self.stretches != "whole":
            return self._run_in_stretches(folder, about, replications, precision, jobs, operations, progress)
        keep = operations or ("all" if len(self.plan) <= KEPT_EVENTS else "none")
        writer = None
        if folder is not None:
            writer = RunWriter(folder, self.plan, about, engine="simulated", text=self.loaded.text)
            writer.state("running")
        try:
            drawn = self._replicate(replications, precision, jobs, keep, progress)
        except BaseException:
            if writer is not None:
                writer.state("interrupted")
            raise
        measured = drawn.measured if len(drawn.measured) > 1 or keep == "none" else ()
        if writer is None:
            known = {**about, "versions": versions(), **drawn.first.about}
            return Run(replace(drawn.first, about=known), measured)
        writer.finish(drawn.first, measured=measured)
        return open_run(writer.folder)

    def _run_in_stretches(
        self,
        folder: Path | None,
        about: Mapping[str, object],
        replications: int,
        precision: float | None,
        jobs: Jobs,
        operations: Operations | None,
        progress: Progress,
    ) -> "Run":
        """Simulate stretch by stretch, and write what they add up to."""
        from rundata.dataset import RunWriter, open_run, versions
        from rundata.run import Run
        from sim.stretches.long_run import LongRun, simulate_in_stretches, stretches_table, windows_tables
        from sim.stretches.timeline import TimelineError

        if operations == "all" or precision is not None:
            what = "--operations all" if operations == "all" else "--precision"
            raise WrongInputError(
                f"{what} is for runs that are simulated as a whole (--stretches whole), and this one is simulated in stretches"
            )
        writer = None
        if folder is not None:
            writer = RunWriter(folder, self.plan, about, engine="simulated", text=self.loaded.text)
            writer.state("running")
        runs, done = list[LongRun[None]](), 0
        try:
            for number in range(replications):
                runs.append(
                    simulate_in_stretches(
                        self.loaded.scenario,
                        self.profile,
                        seed=self.plan.seed,
                        replication=number,
                        resample=self.stretches == "resampled",
                        jobs=jobs or os.cpu_count() or 1,
                        progress=lambda count, before=done: progress(before + count),  # type: ignore[misc]  # inferred
                    )
                )
                done += len(runs[-1].found)
        except BaseException as error:
            if writer is not None:
                writer.state("interrupted")
            if isinstance(error, TimelineError):
                raise WrongInputError(f"{self.loaded.source}: {error}") from None
            raise
        first, measured = runs[0], [each.measured for each in runs]
        if writer is None:
            return Run(replace(first.run, about={**about, "versions": versions(), **first.run.about}), measured)
        tables = {"stretches": stretches_table(first)}
        writer.finish(first.run, measured=measured, windows=windows_tables(first), tables=tables)
        return open_run(writer.folder)

    def _brokers(self) -> Mapping[str, object]:
        brokers = self.loaded.scenario.brokers
        return {"implementation": "simulated", "version": brokers.version, "nodes": brokers.nodes}

    def _replicate(
        self, most: int, precision: float | None, jobs: Jobs, keep: Operations, progress: Progress
    ) -> "Replications[None]":
        from rundata.replications import summarise
        from sim.crew import of_size
        from sim.experiments import replicate

        count = most if precision is None else min(most, FIRST_REPLICATIONS)
        drawn: Replications[None] | None = None
        with of_size(jobs or min(most, os.cpu_count() or 1)) as crew:
            while True:
                drawn = replicate(
                    self.loaded.scenario,
                    self.profile,
                    seed=self.plan.seed,
                    replications=count,
                    jobs=crew,
                    same_plan=False,
                    vary_profile=False,
                    operations=keep,
                    progress=lambda done, _total: progress(done),
                    earlier=drawn,
                )
                if precision is None or count == most:
                    return drawn
                missing = _factor_missing(summarise(drawn.measured), self._judged(), precision)
                if missing <= 1:
                    return drawn
                # Half-widths shrink with the square root; a tenth more, since the spread itself is only estimated.
                count = min(most, math.ceil(count * min(10.0, 1.1 * missing**2)))

    def _judged(self) -> set[str]:
        """Return what a precision is asked of: the figures that the scenario expects something of, and the mean latency."""
        expected = {str(each.indicator) for each in self.loaded.scenario.expect if each.indicator.unit != "events"}
        return {"latency.mean", *expected}


def _factor_missing(estimates: "Mapping[str, Estimate]", judged: set[str], precision: float) -> float:
    """Return by how much the widest relative half-width of a mean exceeds what is wanted."""
    widest = 0.0
    for name in judged:
        estimate = estimates.get(name)
        if estimate is None or estimate.mean_interval is None:
            continue
        low, high = estimate.mean_interval
        middle = abs(low + high) / 2
        if middle > 0:
            widest = max(widest, (high - low) / 2 / middle)
    return widest / precision
