"""Finds the fewest members at which every objective holds, by search with a `simulate` that the caller passes in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reports.slo import assess
from rundata.indicators import measure_one
from rundata.tables import RunData
from scenarios.retries import most_partitions
from scenarios.schema import Group, Scenario
from scenarios.targets import MemberTarget

Simulate = Callable[[Scenario], RunData]


@dataclass(frozen=True)
class Tried:
    """One number of members, and what came of it."""

    members: int
    holds: bool
    compliance: Mapping[str, float | None]
    """By objective, for the load alone."""
    spent_by_drill: Mapping[str, float | None]
    """By objective, the share of the period's budget that the scenario spends with its faults."""
    p99_s: float | None
    """Of the load alone; None where one in a hundred had no effect."""
    peak_lag: int
    busy: float
    """Share of the members' time that the work of the load needs."""


@dataclass(frozen=True)
class Capacity:
    """The answer for one group."""

    group: str
    members_now: int
    fewest: int | None
    """None where no number up to `most` is enough."""
    most: int
    """More members than partitions stay idle."""
    tried: tuple[Tried, ...]
    """In the order of members."""
    reason: str


def fewest_members(scenario: Scenario, group: str, simulate: Simulate, *, drill: bool = True) -> Capacity:
    """Return the fewest members of a group at which every objective holds for the load, faults apart.

    Faults are left out of the search, since no number of members helps a partition that has no leader; with `drill` each tried
    number is simulated once more with them, to tell what they cost of the budget. More members never make an objective
    worse, so that the search may halve.
    """
    now = scenario.groups[group]
    low, most = _fewest_possible(scenario, group), sum(most_partitions(scenario, topic) for topic in now.topics)
    if not scenario.objectives:
        return Capacity(group, now.members, None, most, (), "the scenario has no objectives")
    tried: dict[int, Tried] = {}

    def holds(members: int) -> bool:
        if members not in tried:
            tried[members] = _try(scenario, group, members, simulate, drill)
        return tried[members].holds

    fewest = _search(low, max(most, low), min(max(now.members, low), max(most, low)), holds)
    if fewest is not None and fewest > low:
        holds(fewest - 1)  # shown, so that the answer can be seen to be the fewest
    ordered = tuple(tried[members] for members in sorted(tried))
    return Capacity(group, now.members, fewest, most, ordered, _reason(fewest, low, most))


def _search(low: int, high: int, first: int, holds: Callable[[int], bool]) -> int | None:
    """Return the least number from low to high that holds, trying `first` first; None if none does."""
    if holds(first):
        high = first
    else:
        low = first + 1
        if low > high or not holds(high):
            return None
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _fewest_possible(scenario: Scenario, group: str) -> int:
    """Return the least number of members that the scenario's faults can name."""
    targets = [getattr(fault, "member", None) for fault in scenario.faults]
    return max((t.member for t in targets if isinstance(t, MemberTarget) and t.group == group), default=1)


def _reason(fewest: int | None, low: int, most: int) -> str:
    if fewest is None:
        return f"not even {most} members, one for each partition, are enough: faster handlers or more partitions are needed"
    if fewest == low:
        return "every objective holds with the fewest there can be"
    return f"with {fewest - 1} an objective is missed"


def _try(scenario: Scenario, group: str, members: int, simulate: Simulate, drill: bool) -> Tried:
    changed = _with_members(scenario, group, members)
    run = simulate(changed.model_copy(update={"faults": ()}))
    p99, lag = (measure_one(run, name) for name in (f"latency[{group}].p99", f"lag[{group}].max"))
    reports = assess(run)
    spent = assess(simulate(changed)) if drill and scenario.faults else {}
    return Tried(
        members=members,
        holds=all(report.met is True for report in reports.values()),
        compliance={name: report.compliance for name, report in reports.items()},
        spent_by_drill={name: report.spent for name, report in spent.items()},
        p99_s=p99.value,
        peak_lag=int(lag.value or 0),
        busy=_busy(run, group, members),
    )


def _with_members(scenario: Scenario, group: str, members: int) -> Scenario:
    changed: Group = scenario.groups[group].model_copy(update={"members": members})
    return scenario.model_copy(update={"groups": {**scenario.groups, group: changed}})


def _busy(run: RunData, group: str, members: int) -> float:
    """Return the planned work in the measured part over the time that the members have."""
    plan, scenario = run.plan, run.plan.scenario
    inside = plan.intended_ns >= scenario.warm_up
    return float(plan.work_ns[group][inside].sum()) / (members * scenario.measured_ns)
