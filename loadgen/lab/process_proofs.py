"""What a run shows of faults of processes, of events and of dependencies: silences, second copies, refusals, lateness, failed tries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.lab.applied import Applied
from rundata.rows import NEVER, Kind, Outcome
from rundata.tables import Names
from scenarios import faults
from scenarios.plan import Plan
from scenarios.quantities import SECOND, format_duration

Rows = NDArray[np.void]


def silence(applied: Applied, plan: Plan, operations: Rows, processes: Sequence[str]) -> str:
    """Return for how long some processes did nothing around a fault, and how much they did while it lasted."""
    names = Names.of(plan.scenario).processes
    own = operations[np.isin(operations["process"], [names.index(name) for name in processes])]
    begun = np.sort(own["started_ns"])
    begin_ns, end_ns = applied.began_ns, applied.planned.end_ns
    first, last = np.searchsorted(begun, [begin_ns, end_ns])
    around = begun[max(0, first - 1) : last + 1]
    longest = int(np.diff(around).max(initial=0))
    return f"{last - first} operations begun meanwhile, none for up to {format_duration(longest)}"


def lost_in_buffer(applied: Applied, plan: Plan, operations: Rows, processes: Sequence[str]) -> str:
    """Return how many events were in the hands of producer processes when they were killed."""
    names = Names.of(plan.scenario).processes
    own = np.isin(operations["process"], [names.index(name) for name in processes])
    sends = operations[own & (operations["kind"] == Kind.send)]
    open_sends = sends[(sends["ended_ns"] == NEVER) & (sends["started_ns"] <= applied.planned.end_ns)]
    return f"{len(open_sends)} events were in its hands without an answer"


def of_events(applied: Applied, plan: Plan, operations: Rows) -> str:
    """Return what became of the events that a fault concerns."""
    sends = operations[operations["kind"] == Kind.send]
    sends = sends[sends["event_id"] < len(plan)]
    intended = plan.intended_ns
    inside = (intended >= applied.planned.begin_ns) & (intended < applied.planned.end_ns)
    match applied.planned.fault:
        case faults.Duplicates():
            often = np.bincount(sends["event_id"], minlength=len(plan))
            twice = np.count_nonzero(inside & (plan.again_ns >= 0) & (often >= 2))
            return f"{twice} events sent twice"
        case faults.Oversized() as fault:
            large = np.flatnonzero(inside & (plan.size_bytes == fault.size))
            refused = np.unique(sends["event_id"][sends["outcome"] == Outcome.failed])
            return f"{len(np.intersect1d(large, refused))} of {len(large)} events of {fault.size} B refused"
        case faults.Late():
            late = inside & (plan.late_ns > 0)
            mine = sends[late[sends["event_id"]]]
            by_ns = mine["started_ns"] - mine["intended_ns"]
            median = format_duration(float(np.median(by_ns))) if len(mine) else "none"
            return f"{len(mine)} events handed over late, median {median}"
        case other:
            raise AssertionError(f"{other.kind} is no fault of events")


def of_calls(applied: Applied, plan: Plan, operations: Rows, dependency: str) -> str:
    """Return how tries of the groups that call a dependency went while it was disturbed, and otherwise."""
    groups = plan.scenario.groups
    calling = [n for n, what in enumerate(groups.values()) if any(c.dependency == dependency for c in what.calls)]
    tries = operations[(operations["kind"] == Kind.try_) & np.isin(operations["group"], calling)]
    inside = (tries["started_ns"] >= applied.planned.begin_ns) & (tries["started_ns"] < applied.planned.end_ns)
    if not inside.any() or inside.all():
        return "no tries to compare"
    failed = tries["outcome"] == Outcome.failed
    took = (tries["ended_ns"] - tries["started_ns"]) / SECOND
    medians = [format_duration(float(np.median(took[chosen])) * SECOND) for chosen in (inside, ~inside)]
    return (
        f"{failed[inside].mean():.1%} of {np.count_nonzero(inside)} tries failed, otherwise {failed[~inside].mean():.2%}; "
        f"median try {medians[0]}, otherwise {medians[1]}"
    )


def wrong_timestamps(applied: Applied, plan: Plan, operations: Rows, log: Rows, processes: Sequence[str]) -> str:
    """Return by how much the timestamps of records differed from when some processes sent them, while their clock was wrong and otherwise."""
    names = Names.of(plan.scenario).processes
    sends = operations[np.isin(operations["process"], [names.index(name) for name in processes])]
    sends = sends[(sends["kind"] == Kind.send) & (sends["event_id"] < len(plan))]
    sent_ns = np.full(len(plan), NEVER)
    np.minimum.at(sent_ns, sends["event_id"], sends["started_ns"])
    records = log[(log["event_id"] >= 0) & (log["event_id"] < len(plan))]
    records = records[sent_ns[records["event_id"]] != NEVER]
    if not len(records):
        return "nothing that they sent is in the log"
    at_ns = sent_ns[records["event_id"]]
    ahead_ns = records["time_ns"] - at_ns
    inside = (at_ns >= applied.planned.begin_ns) & (at_ns < applied.planned.end_ns)
    medians = [
        f"{np.median(ahead_ns[chosen]) / SECOND:+.3f} s" if chosen.any() else "of none" for chosen in (inside, ~inside)
    ]
    return f"timestamps of {np.count_nonzero(inside)} records were off by {medians[0]} (median), otherwise {medians[1]}"
