"""Checks of sending and reading: the order of appends and polls, and what was delivered twice, never, or passed over."""

from dataclasses import dataclass, replace

import numpy as np

from rundata.allowed import MOVES, Allowed
from rundata.books import Books, Bools, End
from rundata.findings import (
    CheckResult,
    by_code,
    event_text,
    judged,
    nearby,
    not_applicable,
    not_read_back,
    pair_text,
    time_text,
)
from rundata.measurement import Ints
from rundata.rows import NEVER, NONE
from scenarios.quantities import MILLISECOND

INCIDENT_SLACK_NS = 100 * MILLISECOND
"""A rebalance read from a log may be stamped so much earlier than the member's own rows."""


def unseen(books: Books) -> CheckResult:
    """Find acknowledged events in the log that a group never read, although it read on behind them."""
    if not books.audited:
        return not_read_back()
    pairs, allowed = books.pairs, Allowed(books)
    never = books.in_log[pairs.event] & (pairs.acked_ns != NEVER) & (pairs.delivered_ns == NEVER)
    never &= pairs.end != End.expired
    ahead = never & ~_read_beyond(books)
    found = np.flatnonzero(never & ~ahead)
    waiting = int(ahead.sum())
    note = f"{waiting} more had not been reached when the drain ended" if waiting else ""
    parts = {"passed over": len(found), "not reached": waiting}
    return judged(
        found,
        lambda p: by_code(allowed.passes, pairs.group[p]),
        lambda pair: pair_text(books, pair),
        parts=parts,
        note=note,
        noted=waiting,
    )


def _read_beyond(books: Books) -> Bools:
    """Return which pairs' groups have read, or committed, a higher offset of the pair's partition."""
    pairs, highest = books.pairs, books.whole.highest_read.copy()
    for group in range(len(books.groups)):
        highest[group] = np.maximum(highest[group], books.committed(group) - 1)
    offset = np.full(books.events, NEVER, np.int64)
    np.minimum.at(offset, books.records.event, books.records.offset)
    # Equal means committed beyond it: the record itself was never read.
    beyond: Bools = highest[pairs.group, np.maximum(pairs.partition, 0)] >= offset[pairs.event]
    return beyond


def duplicate_deliveries(books: Books) -> CheckResult:
    """Find pairs that were delivered more than once, at the same offset again or at another one."""
    pairs, allowed = books.pairs, Allowed(books)
    deliveries = pairs.count("deliveries")
    found = np.flatnonzero(deliveries > 1)
    offsets = distinct_offsets(books, found)
    log, again = offsets - 1, deliveries[found] - offsets
    parts = {"log": int(log.sum()), "redelivered": int(again.sum())}

    def why(numbers: Ints) -> list[str]:
        of_log = by_code(allowed.repeats_sends, books.plan.producer[pairs.event[numbers]])
        of_group = by_code(allowed.redelivers, pairs.group[numbers])
        return [
            both(sent if copies else None, read if repeats else None)
            for sent, read, copies, repeats in zip(of_log, of_group, log, again, strict=True)
        ]

    def example(pair: int) -> str:
        place = int(np.searchsorted(found, pair))
        near = nearby(books, int(pairs.delivered_ns[pair]))
        return f"{pair_text(books, pair)}; {deliveries[pair]} deliveries at {offsets[place]} offset(s){near}"

    result = judged(found, why, example, parts=parts)
    return replace(result, count=int((deliveries[found] - 1).sum()))


def both(sent: str | None, read: str | None) -> str:
    """Return why a pair's duplicates are allowed: each kind it has must be."""
    reasons = [reason for reason in (sent, read) if reason is not None]
    return "; ".join(reasons) if all(reasons) else ""


def distinct_offsets(books: Books, found: Ints) -> Ints:
    """Return at how many offsets each of some pairs was delivered; where nobody says (a program of the user's), at as many as the log holds."""
    pairs, rows = books.pairs, books.block.deliveries
    flat = rows["group"] * books.events + rows["event_id"]
    mine = np.isin(flat, pairs.flat[found])
    places = np.unique(np.stack([flat[mine], rows["partition"][mine], rows["offset"][mine]]), axis=1)
    order = np.argsort(pairs.flat[found])
    counts = np.zeros(len(found), np.int64)
    counts[order] = np.unique(places[0], return_counts=True)[1]
    nowhere = np.isin(pairs.flat[found], flat[mine & (rows["offset"] == NONE)])
    if nowhere.any():
        copies = np.bincount(books.logged.event, minlength=books.events)[pairs.event[found]]
        counts = np.where(nowhere, np.clip(copies, 1, pairs.count("deliveries")[found]), counts)
    return counts


def nonmonotonic_sends(books: Books) -> CheckResult:
    """Find events that were appended before one that the same process had sent earlier to the same partition."""
    rows, allowed = books.block.sends, Allowed(books)
    known = np.flatnonzero(rows.ok & (rows["offset"] >= 0) & (rows["partition"] >= 0))
    event, offset, started = rows["event_id"][known], rows["offset"][known], rows["started_ns"][known]
    ended = rows["ended_ns"][known]
    process, partition = rows["process"][known], books.first_partition[rows["topic"][known]] + rows["partition"][known]
    # What was sent at one instant (a late event beside one that is on time, a burst) only its offsets can order.
    order = np.lexsort((offset, started, partition, process))
    event, offset, process, partition, ended = (each[order] for each in (event, offset, process, partition, ended))
    same = (process[1:] == process[:-1]) & (partition[1:] == partition[:-1])
    found = np.flatnonzero(same & (offset[1:] <= offset[:-1])) + 1

    def example(place: int) -> str:
        earlier = f"event {event[place - 1]} at offset {offset[place - 1]}"
        near = nearby(books, int(ended[place]))
        at = f"{books.partition_name(int(partition[place]))} offset {offset[place]}"
        return f"{event_text(books, int(event[place]))} was appended at {at}, after {earlier} was sent{near}"

    return judged(found, lambda p: by_code(allowed.reorders, books.plan.producer[event[p]]), example)


# ---- polls ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Steps:
    """Each delivery to a member with the one before it from the same partition, none of another member or a rebalance between."""

    group: Ints
    process: Ints
    partition: Ints
    event: Ints
    before: Ints
    """Offset of the delivery before."""
    offset: Ints
    before_ns: Ints
    at_ns: Ints


def steps(books: Books) -> Steps:
    """Return the successive deliveries that nothing excuses from being in order; a share group's have no order."""
    rows = books.block.deliveries.placed().of_members()
    lane = rows["group"] * int(books.first_partition[-1]) + books.first_partition[rows["topic"]] + rows["partition"]
    # Events of one poll share its instant, so that only their offsets can order them.
    order = np.lexsort((rows["offset"], rows["started_ns"], rows["process"], lane))
    in_time = np.lexsort((rows["offset"], rows["process"], rows["started_ns"], lane))
    turns = np.zeros(len(lane), np.int64)
    turns[in_time[1:]] = np.cumsum(np.diff(rows["process"][in_time]) != 0)
    column = {
        name: rows[name][order] for name in ("group", "process", "event_id", "offset", "started_ns", "group_epoch")
    }
    lane, turns = lane[order], turns[order]
    follows = (np.diff(lane) == 0) & (np.diff(column["process"]) == 0)
    follows &= (np.diff(turns) == 0) & (np.diff(column["group_epoch"]) == 0)
    at = np.flatnonzero(follows) + 1
    at = at[~Allowed(books).shares[column["group"][at]]]
    at = at[~_moved(books, column["group"][at], column["started_ns"][at - 1], column["started_ns"][at])]
    return Steps(
        group=column["group"][at],
        process=column["process"][at],
        partition=lane[at] % int(books.first_partition[-1]),
        event=column["event_id"][at],
        before=column["offset"][at - 1],
        offset=column["offset"][at],
        before_ns=column["started_ns"][at - 1],
        at_ns=column["started_ns"][at],
    )


def _moved(books: Books, group: Ints, from_ns: Ints, to_ns: Ints) -> Bools:
    """Return whether an incident between two instants made the group read on from its committed offsets."""
    moved = np.zeros(len(group), np.bool_)
    for number, name in enumerate(books.groups):
        times = np.sort([i.time_ns for i in books.run.incidents if i.kind in MOVES and i.where.split("/")[0] == name])
        mine = group == number
        first = np.searchsorted(times, from_ns[mine] - INCIDENT_SLACK_NS)
        moved[mine] = np.searchsorted(times, to_ns[mine], side="right") > first
    return moved


def nonmonotonic_polls(books: Books) -> CheckResult:
    """Find deliveries at an offset not above the one before, without a rebalance to excuse it."""
    found_steps, allowed = steps(books), Allowed(books)
    found = np.flatnonzero(found_steps.offset <= found_steps.before)
    return judged(
        found,
        lambda p: by_code(allowed.reads_back, found_steps.group[p]),
        lambda number: _step_text(books, found_steps, number),
    )


def skipped_polls(books: Books) -> CheckResult:
    """Find records that a member's polls passed over, without a rebalance to excuse it."""
    if not books.audited:
        return not_read_back()
    found_steps, logged = steps(books), books.logged
    order = np.lexsort((logged.offset, logged.partition))
    widest = int(max(logged.offset.max(initial=0), found_steps.offset.max(initial=0))) + 2
    places = (logged.partition * widest + logged.offset)[order]
    lane = found_steps.partition * widest
    after = np.searchsorted(places, lane + np.maximum(found_steps.before, 0), side="right")
    skipped = np.searchsorted(places, lane + np.maximum(found_steps.offset, 0)) - after
    jumps = np.flatnonzero(skipped > 0)
    result = judged(
        jumps,
        lambda p: [""] * len(p),
        lambda number: (
            f"{_step_text(books, found_steps, number)}; {skipped[number]} record(s) between them were not delivered"
        ),
    )
    return replace(result, count=int(skipped[jumps].sum()))


def _step_text(books: Books, found: Steps, number: int) -> str:
    member = books.run.names.process(int(found.process[number]))
    place = books.partition_name(int(found.partition[number]))
    return (
        f"{member} read {place} offset {found.before[number]} at {time_text(int(found.before_ns[number]))}, "
        f"then offset {found.offset[number]} (event {found.event[number]}) at {time_text(int(found.at_ns[number]))}"
        f"{nearby(books, int(found.at_ns[number]))}"
    )


def aborted_reads(books: Books) -> CheckResult:
    """Find deliveries of records whose transaction was aborted."""
    log, rows = books.run.log, books.block.deliveries
    aborted = log[log["aborted"] != 0]
    if len(aborted) == 0:
        return not_applicable("no record of this run was aborted")
    places = (books.first_partition[aborted["topic"]] + aborted["partition"]).astype(np.int64)
    widest = int(max(aborted["offset"].max(), rows["offset"].max(initial=0))) + 2
    read = (books.first_partition[rows["topic"]] + rows["partition"]) * widest + rows["offset"]
    found = np.flatnonzero(np.isin(read, places * widest + aborted["offset"]))

    def example(number: int) -> str:
        member = books.run.names.process(int(rows["process"][number]))
        return f"{event_text(books, int(rows['event_id'][number]))} was aborted, and delivered to {member} at {time_text(int(rows['started_ns'][number]))}"

    return judged(found, lambda p: by_code(Allowed(books).reads_aborted, rows["group"][p]), example)
