"""Simulates a long run stretch by stretch, and adds up what each says; equal results however many processes work on it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar, overload

import numpy as np

from rundata.backlog import has_settled
from rundata.folding import Folded, fold
from rundata.indicators import Measurement
from rundata.partials import Partial, Placed, Total, gather
from rundata.rows import LOG_RECORD, NEVER, new_operations
from rundata.tables import FaultRecord, Incident, Phase, RunData
from rundata.windows import Windows, table_of, windows_of
from scenarios.plan import empty_plan, make_plan
from scenarios.profiles import Profile
from scenarios.quantities import HOUR, MINUTE, format_duration
from scenarios.schema import Scenario
from sim.code_pages import giving_back_code
from sim.crew import Crew, forget, give_back, of_size
from sim.engine import play, simulate, tell_of_compiling
from sim.far import Far, far_plan, place_for
from sim.parts import InParts, comes_in_parts
from sim.stretches.flow import InBlocks, as_run, flow, flows
from sim.stretches.ideal import Ideal, is_ideal_line
from sim.stretches.senders import TakesMoreError
from sim.stretches.shelf import Shelf, Shelved
from sim.stretches.timeline import WINDOW_NS, Placing, Stretch, Timeline, TimelineError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Progress = Callable[[int], None]
_MOST_LONGER = 6
"""A stretch whose disturbance is not over is simulated again so often, each time twice as long after the fault."""
LONGEST_NS = 1440 * WINDOW_NS
"""What is simulated in a single pass takes as much memory however long it is, so a day of it is one stretch."""
_BATCH_OF_WINDOWS = 8
_WINDOWS_AT_ONCE_NS = 4 * HOUR


@dataclass(frozen=True, eq=False)
class Found(Generic[T]):
    """What is kept of one stretch, in times of the whole run."""

    windows: Shelved[Windows]
    faults: tuple[FaultRecord, ...]
    incidents: tuple[Incident, ...]
    series: T | None

    @classmethod
    def of(cls, shown: "_Shown[T]", shelf: Shelf) -> "Found[T]":
        """Return what is kept of what a stretch showed."""
        return cls(shelf.put(shown.windows), shown.faults, shown.incidents, shown.series)


@dataclass(frozen=True, eq=False)
class _Shown(Generic[T]):
    """What one stretch showed, as it comes from the process that simulated it."""

    partial: Partial
    windows: Windows
    faults: tuple[FaultRecord, ...]
    incidents: tuple[Incident, ...]
    settled: bool
    series: T | None


@dataclass(frozen=True, eq=False)
class _Aside(Generic[T]):
    """The same with what is large put aside."""

    partial: Shelved[Partial]
    found: Found[T]
    settled: bool

    @classmethod
    def of(cls, shown: _Shown[T], shelf: Shelf) -> "_Aside[T]":
        return cls(shelf.put(shown.partial), Found.of(shown, shelf), shown.settled)


@dataclass(frozen=True, eq=False)
class LongRun(Generic[T]):
    """A run that was simulated in stretches."""

    run: RunData
    """Without operations: the plan's faults, and what happened in the stretches that were simulated at their own place."""
    measured: dict[str, Measurement]
    quiet: dict[str, Measurement]
    """The same of the time apart from the stretches around faults."""
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
    windows: bool

    def several(self, jobs: Sequence[_Job[T]]) -> list[_Shown[T]]:
        with giving_back_code():
            return [self.one(job) for job in jobs]

    def one(self, job: _Job[T]) -> _Shown[T]:
        found = self._one(job)
        if job.stretch.faults:
            # What a large one took is not kept beside the next one's; to ask for little again takes longer than to keep it.
            (give_back if isinstance(place_for(job.scenario), Far) else forget)()
        return found

    def _one(self, job: _Job[T]) -> _Shown[T]:
        found = (self._ideal(job) or self._flowing(job) or self._in_parts(job)) if self.series is None else None
        if found is not None:
            return found
        run = self._as_a_whole(job)
        windows = windows_of(run, job.scenario.warm_up, job.scenario.duration, WINDOW_NS)
        whole = Folded(gather(run), windows, has_settled(run))
        return _shown(job, run, whole, self.series(run) if self.series is not None else None)

    def _ideal(self, job: _Job[T]) -> _Shown[T] | None:
        """Simulate in a single pass, where nothing but work takes time; None where it takes more than that after all."""
        if not is_ideal_line(job.scenario, self.profile):
            return None
        ideal = Ideal(job.scenario, self.profile, self.seed, job.number, job.number)
        try:
            run, found = ideal.told(WINDOW_NS, windows=self.windows)
        except TakesMoreError:
            return None
        return _shown(job, run, found, None)

    def _flowing(self, job: _Job[T]) -> _Shown[T] | None:
        """Simulate with arrays, block by block, where nothing can fail; None where it takes more than that after all."""
        if not flows(job.scenario):
            return None
        flowing = InBlocks(job.scenario, self.profile, seed=self.seed, replication=job.number, chance=job.number)
        run = flowing.frame.run
        try:
            found = fold(flowing.frame, flowing.parts(), WINDOW_NS, flowing.at_the_end, windows=self.windows)
        except TakesMoreError:
            return None
        return _shown(job, run, found, None)

    def _in_parts(self, job: _Job[T]) -> _Shown[T] | None:
        """Simulate with the kernel; None where books do not come in parts."""
        if not comes_in_parts(job.scenario):
            return None
        room = place_for(job.scenario)
        plan = far_plan(room, job.scenario, self.seed, job.number)
        parted = InParts(play(plan, self.profile, chance=job.number, room=room))
        run = parted.frame.run
        return _shown(job, run, fold(parted.frame, parted.parts(), WINDOW_NS, windows=self.windows), None)

    def _as_a_whole(self, job: _Job[T]) -> RunData:
        plan = make_plan(job.scenario, self.seed, job.number)
        found = flow(plan, self.profile, chance=job.number) if flows(plan.scenario) else None
        if found is not None:
            return as_run(plan, self.profile, found)
        instants, room = self.series is not None, place_for(plan.scenario)
        run = simulate(plan, self.profile, chance=job.number, instants=instants, room=room)
        give_back()  # the world, a ring of references
        return run


def _shown(job: _Job[T], run: RunData, found: Folded, series: T | None) -> _Shown[T]:
    shift_ns = job.stretch.begin_ns - job.scenario.warm_up
    return _Shown(
        partial=found.partial,
        windows=found.windows,
        faults=tuple(_later(fault, shift_ns) for fault in run.faults),
        incidents=tuple(
            replace(each, time_ns=each.time_ns + shift_ns)
            for each in run.incidents
            if job.scenario.warm_up <= each.time_ns < job.scenario.duration
        ),
        settled=found.settled,
        series=series,
    )


def _later(fault: FaultRecord, ns: int) -> FaultRecord:
    return replace(
        fault,
        proof=f"{fault.proof} (times from {format_duration(ns)} on)",
        planned_begin_ns=fault.planned_begin_ns + ns,
        planned_end_ns=fault.planned_end_ns + ns,
        began_ns=fault.began_ns + ns,
        ended_ns=fault.ended_ns + ns,
    )


def timeline_of(
    scenario: Scenario, profile: Profile, seed: int, replication: int, *, resample: bool, with_series: bool = False
) -> Timeline:
    """Return how a long run is divided: what is simulated in a single pass has longer stretches."""
    quiet = scenario.model_copy(update={"faults": (), "duration": min(scenario.duration, LONGEST_NS)})
    longest_ns = WINDOW_NS if with_series or not is_ideal_line(quiet, profile) else LONGEST_NS
    return Timeline(scenario, seed, replication, resample=resample, longest_ns=longest_ns)


def simulate_in_stretches(
    scenario: Scenario,
    profile: Profile,
    *,
    seed: int,
    replication: int = 0,
    resample: bool = True,
    jobs: int | str | Crew = 1,
    series: Callable[[RunData], T] | None = None,
    windows: bool = True,
    progress: Progress = lambda _done: None,
) -> LongRun[T]:
    """Return a long run: exact around faults and in some windows of each load, which with `resample` also stand for the others.

    `series` picks what else to keep of each stretch that is simulated. Without `windows` the table of windows is filled only where a stretch is
    simulated as a whole.
    """
    timeline = timeline_of(scenario, profile, seed, replication, resample=resample, with_series=series is not None)
    work = _Work(profile, seed, series, windows)
    with of_size(jobs) as crew:
        if crew.size:  # others compile on their own machines
            tell_of_compiling()
        shelf = Shelf()
        disturbed = _settled(timeline, work, crew, progress, shelf)
        sums = _Sums(timeline, disturbed, shelf)
        done = len(disturbed)
        showing = _each(timeline, work, sums.missing, crew, lambda count: progress(done + count))
        for stretch, one in zip(sums.missing, showing, strict=True):
            if not one.settled:
                raise TimelineError(_carries_over(stretch))
            sums.add(stretch, one)
    return sums.whole(profile)


class _Pieces(Sequence[list[_Job[T]]]):
    """Jobs in pieces that one process takes at a time, each made when it is asked for: scenarios of a month take tens of MB."""

    def __init__(self, timeline: Timeline, stretches: Sequence[Stretch]) -> None:
        self._timeline, self._stretches = timeline, stretches
        self._size = _BATCH_OF_WINDOWS if len(stretches) > 8 * _BATCH_OF_WINDOWS else 1

    def __len__(self) -> int:
        return (len(self._stretches) + self._size - 1) // self._size

    @overload
    def __getitem__(self, number: int) -> list[_Job[T]]: ...

    @overload
    def __getitem__(self, number: slice) -> list[list[_Job[T]]]: ...

    def __getitem__(self, number: int | slice) -> list[_Job[T]] | list[list[_Job[T]]]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        of, some = self._timeline, self._stretches[number * self._size : (number + 1) * self._size]
        return [_Job[T](of.scenario_of(each), each, of.number_of(each)) for each in some]


def _carries_over(stretch: Stretch) -> str:
    days, hours = divmod(stretch.begin_ns // HOUR, 24)
    return (
        f"{days} d {hours} h {stretch.begin_ns // MINUTE % 60} min after the begin, a minute of quiet load leaves a backlog behind (or a rebalance under way), "
        "so minutes cannot be simulated by themselves: the groups have too few members, or too much work, for this load. Give them more, or "
        "simulate a shorter `duration` as a whole, with --stretches whole"
    )


def _settled(timeline: Timeline, work: _Work[T], crew: Crew, progress: Progress, shelf: Shelf) -> dict[int, _Aside[T]]:
    """Simulate the stretches around faults, longer ones where something was not over at the end."""
    kept: dict[tuple[int, int], _Aside[T]] = {}
    for attempt in range(_MOST_LONGER + 1):
        missing = [each for each in timeline.disturbed if (each.begin_ns, each.end_ns) not in kept]
        for stretch, one in zip(missing, _each(timeline, work, missing, crew, progress), strict=True):
            kept[stretch.begin_ns, stretch.end_ns] = _Aside.of(one, shelf)
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
) -> Iterator[_Shown[T]]:
    """Yield what stretches show, in their order."""
    done = 0
    with closing(crew.each(work.several, _Pieces[T](timeline, stretches))) as parts:
        for part in parts:
            done += len(part)
            tell(done)
            if crew.size == 1:
                forget()  # the memory that it took is there for the next piece
            yield from part
    if crew.size == 1:
        give_back()


class _Sums(Generic[T]):
    """What stretches say, added up as they come in the order of time; of each only little is kept."""

    def __init__(self, timeline: Timeline, disturbed: Mapping[int, _Aside[T]], shelf: Shelf) -> None:
        self._timeline = timeline
        self._placings = tuple(timeline.placings())
        first_ns = min((fault.begin_ns for fault in timeline.faults), default=timeline.scenario.duration)
        self._times, self._before = Counter[int](), Counter[int]()
        for placing in self._placings:
            self._times[placing.source.begin_ns] += 1
            self._before[placing.source.begin_ns] += placing.end_ns <= first_ns
        sources = {each.source.begin_ns: each.source for each in self._placings if each.how != "disturbed"}
        self.missing = [sources[begin] for begin in sorted(sources)]
        """The stretches of quiet load that are to be simulated, in the order in which they are to be added."""
        self._disturbed = [(begin, disturbed[begin]) for begin in sorted(disturbed, reverse=True)]
        self._whole, self._quiet = Total(faults=bool(timeline.faults)), Total(faults=False)
        self._found: dict[int, Found[T]] = {}
        self._shelf = shelf

    def add(self, stretch: Stretch, shown: _Shown[T]) -> None:
        """Add a stretch of quiet load, and before it the stretches around faults that come before it."""
        self._add_disturbed(stretch.begin_ns)
        self._quiet.add(Placed(shown.partial, self._times[stretch.begin_ns], 0))
        self._add(stretch.begin_ns, shown.partial, Found.of(shown, self._shelf))

    def _add_disturbed(self, until_ns: int) -> None:
        while self._disturbed and self._disturbed[-1][0] < until_ns:
            begin_ns, aside = self._disturbed.pop()
            self._add(begin_ns, aside.partial.get(), aside.found)

    def _add(self, begin_ns: int, partial: Partial, found: Found[T]) -> None:
        self._whole.add(Placed(partial, self._times[begin_ns], self._before[begin_ns]))
        self._found[begin_ns] = found

    def whole(self, profile: Profile) -> LongRun[T]:
        """Return all of it as a run."""
        self._add_disturbed(NEVER)
        scenario, timeline, placings = self._timeline.scenario, self._timeline, self._placings
        at_own_place = [self._found[each.begin_ns] for each in placings if each.how != "resampled"]
        counts = {how: sum(each.how == how for each in placings) for how in ("disturbed", "exact", "resampled")}
        resampled_ns = sum(each.end_ns - each.begin_ns for each in placings if each.how == "resampled")
        run = RunData(
            plan=empty_plan(scenario, timeline.seed, timeline.replication),
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
                "stretches": {**counts, "resampled_share": resampled_ns / scenario.measured_ns},
            },
        )
        return LongRun(run, self._whole.finished(), self._quiet.finished(), placings, self._found)


# ---- as tables -----------------------------------------------------------------------------------------------------


def stretches_table(long: LongRun[T]) -> "pa.Table":
    """Return where each part of the time comes from: `disturbed` and `exact` ones were simulated themselves."""
    from rundata import parquet

    rows = (
        {"begin_ns": each.begin_ns, "end_ns": each.end_ns, "how": each.how, "source_ns": each.source.begin_ns}
        for each in long.placings
    )
    return parquet.rows_table("stretches", rows)


def windows_tables(long: LongRun[T]) -> "Iterator[pa.Table]":
    """Yield the windows of the whole time, of four hours at once or one stretch; those of a resampled part are those of its source."""
    some = list[Placing]()
    for placing in long.placings:
        if some and placing.end_ns - some[0].begin_ns > _WINDOWS_AT_ONCE_NS:
            yield _windows_of(long, some)
            some = []
        some.append(placing)
    yield _windows_of(long, some)


def _windows_of(long: LongRun[T], some: Sequence[Placing]) -> "pa.Table":
    return table_of([(each.begin_ns, long.found[each.source.begin_ns].windows.get()) for each in some])
