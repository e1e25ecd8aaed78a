"""When faults and actions happen: their times, lists and chances of a scenario as single occurrences with begin and end."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scenarios.actions import Action
from scenarios.faults import BrokerStop, Fault, MemberLeave, RollingDeploy, RollingRestart
from scenarios.schema import Scenario
from scenarios.streams import stream
from scenarios.targets import BrokerTarget, MemberTarget
from scenarios.timing import Timed

FOR_EVER_NS = 2**62


@dataclass(frozen=True)
class PlannedFault:
    """One occurrence of a fault, and when it begins and ends; a rolling one comes as its parts."""

    label: str
    fault: Fault
    begin_ns: int
    end_ns: int
    """When it is undone; its begin for what is over at once, and for what stays."""
    index: int = 0
    """Of the fault in the scenario."""
    part: int = 0
    """Which part of a rolling fault, from 0."""
    stays: bool = False
    """Whether it is never undone."""

    @property
    def until_ns(self) -> int:
        """The end of its effect."""
        return FOR_EVER_NS if self.stays else self.end_ns


@dataclass(frozen=True)
class PlannedAction:
    """One occurrence of an action, and when it begins and is undone."""

    label: str
    action: Action
    begin_ns: int
    end_ns: int
    """When it is undone; its begin for what is not."""
    index: int = 0
    """Of the action in the scenario."""
    stays: bool = True
    """Whether it is never undone."""


def plan_faults(scenario: Scenario, seed: int, replication: int = 0) -> tuple[PlannedFault, ...]:
    """Return every occurrence of every fault in the order of their begins."""
    planned = [part for whole in whole_faults(scenario, seed, replication) for part in in_parts(scenario, whole)]
    return tuple(sorted(planned, key=lambda occurrence: occurrence.begin_ns))


def whole_faults(scenario: Scenario, seed: int, replication: int = 0) -> list[PlannedFault]:
    """Return every occurrence of every fault, rolling ones as a whole, in the order of the file."""
    planned = list[PlannedFault]()
    for index, fault in enumerate(scenario.faults):
        generator = stream(seed, "fault", str(index), "times", replication=replication)
        for begin, length in _occurrences(fault, scenario.duration, generator):
            planned.append(PlannedFault(fault.label, fault, begin, begin + (length or 0), index, stays=length is None))
    return planned


def plan_actions(scenario: Scenario, seed: int, replication: int = 0) -> tuple[PlannedAction, ...]:
    """Return every occurrence of every action in the order of their begins."""
    planned = list[PlannedAction]()
    for index, action in enumerate(scenario.actions):
        generator = stream(seed, "action", str(index), "times", replication=replication)
        times = _occurrences(action, scenario.duration, generator)
        planned += [
            PlannedAction(action.label, action, begin, begin + (length or 0), index, stays=length is None)
            for begin, length in times
        ]
    return tuple(sorted(planned, key=lambda occurrence: occurrence.begin_ns))


def _occurrences(timed: Timed, duration_ns: int, generator: np.random.Generator) -> list[tuple[int, int | None]]:
    """Return begin and length of each time that something happens; no length for what is not undone."""
    length = timed.length_ns
    if timed.random is not None:
        return _random_times(timed, duration_ns, generator)
    begins = timed.at if timed.at is not None else range(timed.every or 1, duration_ns, timed.every or 1)
    return [(at, length) for at in begins]


def _random_times(timed: Timed, duration_ns: int, generator: np.random.Generator) -> list[tuple[int, int | None]]:
    assert timed.random is not None
    mean_ns, length_ns = timed.random.mean_for, timed.length_ns
    times: list[tuple[int, int | None]] = []
    at = 0
    while True:
        at += max(1, round(generator.exponential(timed.random.mean_between)))
        if at >= duration_ns:
            return times
        if mean_ns is not None:
            length_ns = max(1, round(generator.exponential(mean_ns)))
        times.append((at, length_ns))
        at += length_ns or 0


def in_parts(scenario: Scenario, whole: PlannedFault) -> list[PlannedFault]:
    """Return the stops of a rolling fault, one after another; any other fault as it is."""
    fault = whole.fault
    if not isinstance(fault, RollingRestart | RollingDeploy):
        return [whole]
    each_ns = whole.end_ns - whole.begin_ns
    begins = [whole.begin_ns + part * (each_ns + fault.pause) for part in range(_count_of_parts(scenario, fault))]
    return [
        replace(whole, fault=part_of(fault, part), begin_ns=begin, end_ns=begin + each_ns, part=part)
        for part, begin in enumerate(begins)
    ]


def _count_of_parts(scenario: Scenario, fault: RollingRestart | RollingDeploy) -> int:
    if isinstance(fault, RollingDeploy):
        return scenario.groups[fault.group].members
    return len(fault.brokers) if fault.brokers else scenario.brokers.nodes


def part_of(fault: Fault, part: int) -> Fault:
    """Return the part of a rolling fault that a number stands for: the stop of one broker or member; any other fault as it is."""
    match fault:
        case RollingRestart():
            number = fault.brokers[part] if fault.brokers else part + 1
            target = BrokerTarget("number", number=number)
            return BrokerStop.model_construct(fault="broker_stop", broker=target, **_same(fault))
        case RollingDeploy():
            member = MemberTarget(fault.group, part + 1)
            return MemberLeave.model_construct(fault="member_leave", member=member, **_same(fault))
        case _:
            return fault


def _same(fault: Fault) -> dict[str, Any]:
    """Return the common fields that a part takes from the whole."""
    return {
        "name": fault.label,
        "at": fault.at,
        "every": fault.every,
        "random": fault.random,
        "for_ns": fault.length_ns,
    }
