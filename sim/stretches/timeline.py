"""The time of a long run in stretches: around disturbances, and minutes of quiet load of which some stand for others like them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from scenarios.clients import broker_setting, consumer_settings, may_expire
from scenarios.excerpts import Loads, excerpt
from scenarios.faults import (
    AddPartitions,
    BrokerCrash,
    BrokerPause,
    BrokerStop,
    Cut,
    DeleteRecords,
    DiskFull,
    DiskStall,
    HostCrash,
    LeaderMove,
    Reassign,
    RollingRestart,
    SlowLink,
)
from scenarios.occurrences import PlannedFault, in_parts, whole_faults
from scenarios.quantities import MINUTE, SECOND, format_duration
from scenarios.schema import Scenario
from scenarios.streams import stream, uniforms

How = Literal["disturbed", "exact", "resampled"]

WINDOW_NS = MINUTE
"""Length of a stretch of quiet load."""
BEFORE_NS = 10 * MINUTE
"""So long before a disturbance nothing is drawn from elsewhere."""
LEAD_NS = 30 * SECOND
"""A disturbance is simulated from so long before its begin, and as much leads in."""
SHORTEST_LEAD_NS = 10 * SECOND
"""What leads in before a stretch of quiet load, so that it begins in full swing."""
AFTER_NS = 2 * MINUTE
"""How long after a disturbance its stretch lasts at first: sessions have run out, members are back."""
MOST_OF_EQUAL_LOAD = 60
"""Of windows with the same load so many are simulated: an hour of them."""
EXACT_WINDOWS = 24 * 60
"""So many are simulated in all, at least one of each load: a day."""
_MOVES_LEADERS = (
    BrokerCrash,
    BrokerStop,
    BrokerPause,
    LeaderMove,
    RollingRestart,
    Cut,
    DiskFull,
    DiskStall,
    HostCrash,
    SlowLink,
)


class TimelineError(Exception):
    """A scenario whose time cannot be taken apart; says why and the way out."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the time, simulated as one run."""

    begin_ns: int
    end_ns: int
    faults: tuple[PlannedFault, ...] = ()


@dataclass(frozen=True, slots=True)
class Placing:
    """What stands at a place of the timeline: a stretch itself, or one of equal load elsewhere."""

    begin_ns: int
    end_ns: int
    source: Stretch
    how: How


class Timeline:
    """How the time of one replication is made up; `longer` says how much longer stretches around faults must be, by fault."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        replication: int,
        *,
        resample: bool = True,
        longest_ns: int = WINDOW_NS,
    ) -> None:
        """Take how long stretches of quiet load may be: some windows, where none of them stands for others."""
        self.scenario, self.seed, self.replication, self.resample = scenario, seed, replication, resample
        self._longest_ns = WINDOW_NS if resample else longest_ns
        self.loads = Loads(scenario)
        self.lead_ns = max(SHORTEST_LEAD_NS, min(scenario.warm_up, MINUTE))
        self._longer_ns: dict[tuple[int, int], int] = {}
        self.faults = sorted(whole_faults(scenario, seed, replication), key=lambda fault: (fault.begin_ns, fault.index))
        problem = cannot_be_parted(scenario, self.faults)
        if problem:
            raise TimelineError(problem)

    @cached_property
    def disturbed(self) -> tuple[Stretch, ...]:
        """The stretches around faults, in the order of time; faults whose stretches would touch have one together."""
        found = list[Stretch]()
        for fault in self.faults:
            begin_ns, end_ns = self._on_grid(fault.begin_ns - LEAD_NS, up=False), self._until_ns(fault)
            if found and begin_ns <= found[-1].end_ns:
                last = found[-1]
                found[-1] = Stretch(last.begin_ns, max(last.end_ns, end_ns), (*last.faults, fault))
            else:
                found.append(Stretch(begin_ns, end_ns, (fault,)))
        return tuple(found)

    def _until_ns(self, fault: PlannedFault) -> int:
        end_ns = max(part.end_ns for part in in_parts(self.scenario, fault))
        after_ns = AFTER_NS
        if isinstance(fault.fault, _MOVES_LEADERS) and broker_setting(self.scenario, "auto.leader.rebalance.enable"):
            check_ns = int(broker_setting(self.scenario, "leader.imbalance.check.interval.seconds")) * SECOND
            after_ns = max(after_ns, check_ns + MINUTE)
        longer_ns = self._longer_ns.get((fault.index, fault.begin_ns), 0)
        return self._on_grid(end_ns + after_ns + longer_ns, up=True)

    def _on_grid(self, time_ns: int, *, up: bool) -> int:
        """Return the window's edge before or after an instant, within the measured time."""
        first_ns, last_ns = self.scenario.warm_up, self.scenario.duration
        since_ns = time_ns - first_ns
        edge = -(-since_ns // WINDOW_NS) if up else since_ns // WINDOW_NS
        return min(max(first_ns, first_ns + edge * WINDOW_NS), last_ns)

    def prolong(self, stretch: Stretch) -> None:
        """Let a stretch at whose end its disturbance was not over last twice as long after its last fault."""
        last = max(stretch.faults, key=self._until_ns)
        key = (last.index, last.begin_ns)
        over_ns = self._until_ns(last) - last.end_ns
        if stretch.end_ns >= self.scenario.duration:
            return
        self._longer_ns[key] = self._longer_ns.get(key, 0) + max(over_ns, MINUTE)
        del self.disturbed

    @cached_property
    def _quiet(self) -> list[Stretch]:
        """The windows that no stretch around a fault covers, in the order of time."""
        windows, at_ns = list[Stretch](), self.scenario.warm_up
        for begin_ns, end_ns in [
            *((each.begin_ns, each.end_ns) for each in self.disturbed),
            (self.scenario.duration, self.scenario.duration),
        ]:
            while at_ns < begin_ns:
                windows.append(Stretch(at_ns, min(at_ns + self._longest_ns, begin_ns)))
                at_ns = windows[-1].end_ns
            at_ns = max(at_ns, end_ns)
        return windows

    def placings(self) -> list[Placing]:
        """Return what stands where, in the order of time. The stretches around faults are to be settled by then."""
        windows = self._quiet
        sources = list(windows) if not self.resample else self._sources(windows)
        found = [Placing(each.begin_ns, each.end_ns, each, "disturbed") for each in self.disturbed]
        found += [
            Placing(window.begin_ns, window.end_ns, source, "exact" if source is window else "resampled")
            for window, source in zip(windows, sources, strict=True)
        ]
        return sorted(found, key=lambda placing: placing.begin_ns)

    def _sources(self, windows: Sequence[Stretch]) -> list[Stretch]:
        """Return for each window the one that is simulated in its place: itself, or one of equal load, drawn."""
        alike: dict[object, list[int]] = {}
        for number, window in enumerate(windows):
            alike.setdefault(self.loads.shape(window.begin_ns, window.end_ns), []).append(number)
        most = max(1, min(MOST_OF_EQUAL_LOAD, EXACT_WINDOWS // len(alike) if alike else 1))
        begins = [stretch.begin_ns for stretch in self.disturbed]
        near = {
            number
            for number, window in enumerate(windows)
            for begin_ns in begins
            if begin_ns - BEFORE_NS < window.end_ns <= begin_ns
        }
        u = uniforms(stream(self.seed, "stretches", "", "source", replication=self.replication), len(windows))
        sources = list(windows)
        for numbers in alike.values():
            spread = [numbers[each * len(numbers) // most] for each in range(min(most, len(numbers)))]
            spread = spread if len(numbers) > most else numbers
            exact = set(spread)
            for number in numbers:
                if number not in exact and number not in near:
                    sources[number] = windows[spread[int(u[number] * len(spread))]]
        return sources

    def simulated(self) -> int:
        """Return how many stretches are simulated, as far as that is known beforehand."""
        return len({placing.source.begin_ns for placing in self.placings()})

    def scenario_of(self, stretch: Stretch) -> Scenario:
        """Return the scenario of one stretch, with what leads in."""
        lead_ns = LEAD_NS if stretch.faults else self.lead_ns
        return excerpt(
            self.scenario, stretch.begin_ns, stretch.end_ns, loads=self.loads, lead_ns=lead_ns, faults=stretch.faults
        )

    def number_of(self, stretch: Stretch) -> int:
        """Return the number by which a stretch draws its plan and its chance; one of equal begin in another replication has another."""
        return (self.replication << 40) + 1 + stretch.begin_ns // SECOND


def may_delete(scenario: Scenario) -> bool:
    """Whether records could be deleted within a run."""
    return may_expire(scenario) or any(isinstance(fault, DeleteRecords) for fault in scenario.faults)


def cannot_be_parted(scenario: Scenario, faults: Sequence[PlannedFault]) -> str | None:
    """Return why a scenario's time cannot be simulated in parts, or None."""
    for name, producer in scenario.producers.items():
        if producer.recorded is not None:
            return f"producers.{name}.arrivals are a recording, of which every part is different"
    for name, group in scenario.groups.items():
        if group.autoscaler is not None:
            return f"groups.{name}.autoscaler remembers for its cooldown what lag was"
        if consumer_settings(scenario, name).auto_offset_reset == "none" and may_delete(scenario):
            return f"groups.{name} has auto.offset.reset: none, which ends a reader for good where a record is deleted before: make it earliest"
    for index, action in enumerate(scenario.actions):
        return f"actions[{index}] ({action.label}) changes what comes after it, so nothing after it is like what came before"
    for fault in faults:
        ends = "for_ns" in type(fault.fault).model_fields
        if fault.stays and (ends or isinstance(fault.fault, Reassign | AddPartitions)):
            way_out = ": give it a `for`" if ends else ""
            return (
                f"faults[{fault.index}] ({fault.label} at {format_duration(fault.begin_ns)}) is never undone, so nothing after it is "
                f"like what came before{way_out}"
            )
    return None
