"""Simulates a long run stretch by stretch, and adds up what each says; equal results however many processes work on it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rundata import parquet
from rundata.backlog import has_settled
from rundata.indicators import Measurement
from rundata.partials import Partial, Placed, gather, total
from rundata.rows import LOG_RECORD, new_operations
from rundata.tables import FaultRecord, Incident, Phase, RunData
from rundata.windows import windows_of
from scenarios.plan import Plan, empty_plan, make_plan
from scenarios.profiles import Profile
from scenarios.quantities import HOUR, MINUTE, format_duration
from scenarios.schema import Scenario
from sim.crew import Crew, give_back, of_size
from sim.engine import simulate
from sim.stretches.flow import as_run, flow, flows
from sim.stretches.timeline import WINDOW_NS, Placing, Stretch, Timeline, TimelineError

T = TypeVar("T")
Progress = Callable[[int], None]
_MOST_LONGER = 6
"""A stretch whose disturbance is not over is simulated again so often, each time twice as long after the fault."""
_BATCH_OF_WINDOWS = 8
_WINDOWS_AT_ONCE = 24 * 60


@dataclass(frozen=True, eq=False)
class Found(Generic[T]):
    """What one stretch showed, in times of the whole run."""

    partial: Partial
    windows: pa.Table
    faults: tuple[FaultRecord, ...]
    incidents: tuple[Incident, ...]
    settled: bool
    series: T | None


@dataclass(frozen=True, eq=False)
class LongRun(Generic[T]):
    """A run that was simulated in stretches."""

    run: RunData
    """Without operations: the plan's faults, and what happened in the stretches that were simulated at their own place."""
    measured: dict[str, Measurement]
    placings: tuple[Placing, ...]
    found: Mapping[int, Found[T]]
    """What each simulated stretch showed, by its begin."""


@dataclass(frozen=True)
class _Job(Generic[T]):
    scenario: Scenario
    stretch: Stretch
    number: int


@dataclass(frozen=True)
class _Work(Generic[T]):
    """All that a process needs to simulate any stretch."""

    profile: Profile
    seed: int
    series: Callable[[RunData], T] | None

    def several(self, jobs: Sequence[_Job[T]]) -> list[Found[T]]:
        return [self.one(job) for job in jobs]

    def one(self, job: _Job[T]) -> Found[T]:
        found = self._one(job)
        if job.stretch.faults:
            give_back()  # what such a stretch took is not kept beside the next one's
        return found

    def _one(self, job: _Job[T]) -> Found[T]:
        plan = make_plan(job.scenario, self.seed, job.number)
        run = self._simulated(plan, job.number)
        shift_ns = job.stretch.begin_ns - job.scenario.warm_up
        settled = has_settled(run)
        return Found(
            partial=gather(run),
            windows=windows_of(run, job.scenario.warm_up, job.scenario.duration, WINDOW_NS),
            faults=tuple(_later(fault, shift_ns) for fault in run.faults),
            incidents=tuple(
                replace(each, time_ns=each.time_ns + shift_ns)
                for each in run.incidents
                if job.scenario.warm_up <= each.time_ns < job.scenario.duration
            ),
            settled=settled,
            series=self.series(run) if self.series is not None else None,
        )

    def _simulated(self, plan: Plan, chance: int) -> RunData:
        """Simulate with arrays where nothing can fail, and with the kernel where something does; the figures are the same."""
        found = flow(plan, self.profile, chance=chance) if flows(plan.scenario) else None
        if found is not None:
            return as_run(plan, self.profile, found)
        run = simulate(plan, self.profile, chance=chance, instants=self.series is not None)
        give_back()  # the world, a ring of references
        return run


def _later(fault: FaultRecord, ns: int) -> FaultRecord:
    return replace(
        fault,
        proof=f"{fault.proof} (times from {format_duration(ns)} on)",
        planned_begin_ns=fault.planned_begin_ns + ns,
        planned_end_ns=fault.planned_end_ns + ns,
        began_ns=fault.began_ns + ns,
        ended_ns=fault.ended_ns + ns,
    )


def simulate_in_stretches(
    scenario: Scenario,
    profile: Profile,
    *,
    seed: int,
    replication: int = 0,
    resample: bool = True,
    jobs: int | str | Crew = 1,
    series: Callable[[RunData], T] | None = None,
    progress: Progress = lambda _done: None,
) -> LongRun[T]:
    """Return a long run: exact around faults and in some windows of each load, which with `resample` also stand for the others.

    `series` picks what else to keep of each stretch that is simulated.
    """
    timeline = Timeline(scenario, seed, replication, resample=resample)
    work = _Work(profile, seed, series)
    with of_size(jobs) as crew:
        found = _settled(timeline, work, crew, progress)
        placings = timeline.placings()
        sources = {each.source.begin_ns: each.source for each in placings if each.how != "disturbed"}
        missing = [sources[begin] for begin in sorted(sources)]
        done = len(found)
        showing = _each(timeline, work, missing, crew, lambda count: progress(done + count))
        for stretch, one in zip(missing, showing, strict=True):
            if not one.settled:
                raise TimelineError(_carries_over(stretch))
            found[stretch.begin_ns] = one
    return _whole(timeline, profile, tuple(placings), found)


def _carries_over(stretch: Stretch) -> str:
    days, hours = divmod(stretch.begin_ns // HOUR, 24)
    return (
        f"{days} d {hours} h {stretch.begin_ns // MINUTE % 60} min after the begin, a minute of quiet load leaves a backlog behind (or a rebalance under way), "
        "so minutes cannot be simulated by themselves: the groups have too few members, or too much work, for this load. Give them more, or "
        "simulate a shorter `duration` as a whole, with --stretches whole"
    )


def _settled(timeline: Timeline, work: _Work[T], crew: Crew, progress: Progress) -> dict[int, Found[T]]:
    """Simulate the stretches around faults, longer ones where something was not over at the end."""
    kept: dict[tuple[int, int], Found[T]] = {}
    for attempt in range(_MOST_LONGER + 1):
        missing = [each for each in timeline.disturbed if (each.begin_ns, each.end_ns) not in kept]
        for stretch, one in zip(missing, _each(timeline, work, missing, crew, progress), strict=True):
            kept[stretch.begin_ns, stretch.end_ns] = one
        unsettled = [
            each
            for each in timeline.disturbed
            if not kept[each.begin_ns, each.end_ns].settled and each.end_ns < timeline.scenario.duration
        ]
        if not unsettled or attempt == _MOST_LONGER:
            break
        for stretch in unsettled:
            timeline.prolong(stretch)
    return {each.begin_ns: kept[each.begin_ns, each.end_ns] for each in timeline.disturbed}


def _each(
    timeline: Timeline, work: _Work[T], stretches: Sequence[Stretch], crew: Crew, tell: Callable[[int], None]
) -> Iterator[Found[T]]:
    """Yield what stretches show, in their order."""
    jobs = [_Job[T](timeline.scenario_of(each), each, timeline.number_of(each)) for each in stretches]
    size = _BATCH_OF_WINDOWS if len(jobs) > 8 * _BATCH_OF_WINDOWS else 1
    done = 0
    with closing(crew.each(work.several, [jobs[n : n + size] for n in range(0, len(jobs), size)])) as parts:
        for part in parts:
            done += len(part)
            tell(done)
            if crew.size == 1:
                give_back()  # as a process of the crew does after each piece
            yield from part


def _whole(
    timeline: Timeline, profile: Profile, placings: tuple[Placing, ...], found: Mapping[int, Found[T]]
) -> LongRun[T]:
    scenario, plan = timeline.scenario, empty_plan(timeline.scenario, timeline.seed, timeline.replication)
    first_ns = min((fault.begin_ns for fault in timeline.faults), default=scenario.duration)
    times, before = dict.fromkeys(found, 0), dict.fromkeys(found, 0)
    for placing in placings:
        times[placing.source.begin_ns] += 1
        before[placing.source.begin_ns] += placing.end_ns <= first_ns
    placed = [Placed(found[begin].partial, times[begin], before[begin]) for begin in sorted(found)]
    at_own_place = [found[each.begin_ns] for each in placings if each.how != "resampled"]
    counts = {how: sum(each.how == how for each in placings) for how in ("disturbed", "exact", "resampled")}
    run = RunData(
        plan=plan,
        engine="simulated",
        operations=new_operations(0),
        log=np.zeros(0, LOG_RECORD),
        faults=tuple(fault for one in at_own_place for fault in one.faults),
        incidents=tuple(
            sorted((each for one in at_own_place for each in one.incidents), key=lambda each: each.time_ns)
        ),
        phases=(Phase("warm-up", 0, scenario.warm_up), Phase("measure", scenario.warm_up, scenario.duration)),
        end_ns=scenario.duration,
        about={
            "profile": profile.profile,
            "brokers": {
                "implementation": "simulated",
                "version": scenario.brokers.version,
                "nodes": scenario.brokers.nodes,
            },
            "operations": "none",
            "stretches": {
                **counts,
                "resampled_share": sum(each.end_ns - each.begin_ns for each in placings if each.how == "resampled")
                / scenario.measured_ns,
            },
        },
    )
    return LongRun(run, total(placed, faults=bool(timeline.faults)), placings, found)


# ---- as tables -----------------------------------------------------------------------------------------------------


def stretches_table(long: LongRun[T]) -> pa.Table:
    """Return where each part of the time comes from: `disturbed` and `exact` ones were simulated themselves."""
    rows = (
        {"begin_ns": each.begin_ns, "end_ns": each.end_ns, "how": each.how, "source_ns": each.source.begin_ns}
        for each in long.placings
    )
    return parquet.rows_table("stretches", rows)


def windows_tables(long: LongRun[T]) -> Iterator[pa.Table]:
    """Yield the windows of the whole time, a day at once; those of a resampled part are those of its source."""
    for first in range(0, len(long.placings), _WINDOWS_AT_ONCE):
        tables = []
        for placing in long.placings[first : first + _WINDOWS_AT_ONCE]:
            windows = long.found[placing.source.begin_ns].windows
            tables.append(windows.set_column(0, "begin_ns", pc.add(windows["begin_ns"], placing.begin_ns)))
        yield pa.concat_tables(tables).unify_dictionaries()
