"""Checks of what the topics hold: everything acknowledged, nothing unsent, offsets without holes, and all pairs accounted for."""

import numpy as np
from numpy.typing import NDArray

from rundata.allowed import Allowed
from rundata.books import Books, End
from rundata.counts import unsent_records
from rundata.findings import (
    MOST_EXAMPLES,
    CheckResult,
    by_code,
    event_text,
    judged,
    nearby,
    never_allowed,
    not_applicable,
    not_read_back,
    pair_text,
    ranges_text,
    send_text,
)
from rundata.measurement import Ints
from rundata.rows import NEVER, Outcome
from scenarios.quantities import SECOND

_PARTITIONS = 1 << 20
"""More than a topic can have."""


def lost(books: Books) -> CheckResult:
    """Find events that were acknowledged and are not in the log, retention and deletion apart."""
    if not books.audited:
        return not_read_back()
    found = np.flatnonzero(books.lost)
    places = _places_of_lost(books, found)
    parts = {name: int((places == name).sum()) for name in ("prefix", "middle", "suffix")}
    allowed = Allowed(books)

    def example(event: int) -> str:
        place = places[np.searchsorted(found, event)]
        near = nearby(books, int(books.sends.acked_ns[event]))
        return f"{event_text(books, event)}: {send_text(books, event)}; not in the log ({place}){near}"

    return judged(found, lambda e: by_code(allowed.loses, books.plan.producer[e]), example, parts=parts)


def _places_of_lost(books: Books, found: Ints) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
    """Return for each lost event whether it lay before, among or after what its partition still holds."""
    oldest, newest = books.whole.logged_span
    # By the order of the plan: an offset may have been given anew to a later event, and with acks 0 there is none.
    partition, event = books.partition[found], books.first_event + found
    before, after = event < oldest[partition], event > newest[partition]
    return np.where(after, "suffix", np.where(before, "prefix", "middle"))


def unexpected(books: Books) -> CheckResult:
    """Find records that nobody sent to their topic."""
    if not books.audited:
        return not_read_back()
    log = books.run.log

    def example(number: int) -> str:
        record = log[number]
        place = f"{books.run.names.topics[record['topic']]}/{record['partition']} offset {record['offset']}"
        who = (
            f"event {books.first_event + record['event_id']}, which nobody sent there"
            if record["event_id"] >= 0
            else "without an id of this run"
        )
        return f"{place} holds a record {who}, written at {int(record['time_ns']) / SECOND:.6f} s"

    return judged(np.flatnonzero(unsent_records(books)), never_allowed, example)


def recovered(books: Books) -> CheckResult:
    """Find events whose outcome the client never learned, and that are in the log or were delivered."""
    seen = books.in_log.copy()
    if len(books.groups):
        seen |= (books.handling.delivered_ns != NEVER).any(axis=0)
    found = np.flatnonzero(books.unknown & seen)
    why = "an unknown outcome means that the broker may have kept the record"
    return judged(
        found,
        lambda events: [why] * len(events),
        lambda event: f"{event_text(books, event)}: {send_text(books, event)}; found afterwards",
    )


def inconsistent_offsets(books: Books) -> CheckResult:
    """Find offsets at which acknowledgements, deliveries and the log speak of different events."""
    block, log = books.block, books.run.log
    sent = block.sends.ok & (block.sends["offset"] >= 0) & (block.sends["partition"] >= 0)
    read = (block.deliveries["offset"] >= 0) & (block.deliveries["partition"] >= 0)
    partition = np.concatenate(
        [
            books.first_partition[log["topic"]] + log["partition"],
            books.first_partition[block.sends["topic"][sent]] + block.sends["partition"][sent],
            books.first_partition[block.deliveries["topic"][read]] + block.deliveries["partition"][read],
        ]
    )
    offset = np.concatenate([log["offset"], block.sends["offset"][sent], block.deliveries["offset"][read]])
    event = np.concatenate([log["event_id"], block.sends["event_id"][sent], block.deliveries["event_id"][read]])
    order = np.lexsort((event, offset, partition))
    partition, offset, event = partition[order], offset[order], event[order]
    differs = (partition[1:] == partition[:-1]) & (offset[1:] == offset[:-1]) & (event[1:] != event[:-1])
    found = np.flatnonzero(differs)
    allowed = Allowed(books)

    def why(places: Ints) -> list[str]:
        # The one of the two that the plan knows tells whose acknowledgements may have been withdrawn.
        known = np.maximum(event[places], event[places + 1])
        return by_code(allowed.loses, books.plan.producer[np.clip(known, 0, books.events - 1)])

    def example(place: int) -> str:
        where = f"{books.partition_name(int(partition[place]))} offset {offset[place]}"
        return f"{where} is event {event[place]} for one and event {event[place + 1]} for another"

    return judged(found, why, example)


def offset_gaps(books: Books) -> CheckResult:
    """Find offsets between a partition's first and end that hold no record, without transactions or compaction to explain them."""
    if not books.audited:
        return not_read_back()
    allowed, log = Allowed(books), books.run.log
    count, examples, reasons = 0, [], list[str]()
    lanes = log["topic"].astype(np.int64) * _PARTITIONS + log["partition"]
    offsets = np.ascontiguousarray(log["offset"])
    for extent in books.run.extents:
        topic = books.run.names.topics.index(extent.topic)
        lane = topic * _PARTITIONS + extent.partition
        there = offsets[np.searchsorted(lanes, lane) : np.searchsorted(lanes, lane, side="right")]
        if len(there) == extent.end - extent.first and (len(there) == 0 or bool((np.diff(there) == 1).all())):
            continue  # as many as there is room for, one after another
        holes = np.setdiff1d(np.arange(extent.first, extent.end), there)
        if len(holes):
            count += len(holes)
            reasons.append(allowed.compacts[topic])
            shown = f"{extent.topic}/{extent.partition} (offsets {extent.first} to {extent.end - 1}) has no record at {ranges_text(holes[:20].tolist())}"
            examples.append(shown)
    permitted = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    # What is not allowed comes first, in the order of the partitions.
    ordered = sorted(zip(reasons, examples, strict=True), key=lambda each: each[0] != "")
    forbidden = min(sum(reason == "" for reason in reasons), MOST_EXAMPLES)
    return CheckResult(
        all(reasons), permitted, count, [example for _, example in ordered][:MOST_EXAMPLES], forbidden=forbidden
    )


def contiguous_appends(books: Books) -> CheckResult:
    """Find holes between records of one leader epoch, and epochs that go back."""
    if not books.audited:
        return not_read_back()
    log, allowed = books.run.log, Allowed(books)
    same = (log["topic"][1:] == log["topic"][:-1]) & (log["partition"][1:] == log["partition"][:-1])
    epochs = np.diff(log["leader_epoch"])
    steps = np.diff(log["offset"])
    found = np.flatnonzero(same & (((epochs == 0) & (steps != 1)) | (epochs < 0) | (steps < 1)))

    def example(number: int) -> str:
        one, two = log[number], log[number + 1]
        place = f"{books.run.names.topics[one['topic']]}/{one['partition']}"
        return f"{place}: offset {one['offset']} (epoch {one['leader_epoch']}) is followed by offset {two['offset']} (epoch {two['leader_epoch']})"

    return judged(found, lambda numbers: by_code(allowed.compacts, log["topic"][numbers]), example)


def dead_letters(books: Books) -> CheckResult:
    """Find dead letters that did not arrive, and events that had failed for the last time and got none."""
    topics = {group: books.scenario.groups[group].topic_of_dead_letters for group in books.groups}
    if not any(topics.values()):
        return not_applicable("no group has a dead-letter topic")
    if not books.audited:
        return not_read_back()
    pairs, log = books.pairs, books.run.log
    absent = np.zeros(len(pairs.event), np.bool_)
    forgotten = np.zeros(len(pairs.event), np.bool_)
    for number, topic in enumerate(topics.values()):
        if topic is None:
            continue
        mine = pairs.group == number
        there = log["event_id"][log["topic"] == books.plan.topics.index(topic)]
        absent |= mine & (pairs.count("dead_letters") > 0) & ~np.isin(pairs.event, there)
        forgotten |= mine & _exhausted(books, number) & (pairs.end == End.passed)
    found = np.flatnonzero(absent | forgotten)
    parts = {"not in the topic": int(absent.sum()), "never sent": int(forgotten.sum())}

    def example(pair: int) -> str:
        what = (
            "its dead letter is not in the topic"
            if absent[pair]
            else "failed for the last time, and no dead letter was sent"
        )
        return f"{pair_text(books, pair)}; {what}"

    return judged(found, never_allowed, example, parts=parts)


def _exhausted(books: Books, group: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which pairs had the failed try after which their group gives up."""
    failures = books.scenario.groups[books.groups[group]].failures
    last = failures.retry.attempts if failures else NEVER
    tries = books.block.tries
    gone = (tries["group"] == group) & (tries["outcome"] == Outcome.failed) & (tries["attempt"] >= last)
    exhausted = np.zeros(books.events, np.bool_)
    exhausted[tries["event_id"][gone]] = True
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = exhausted[books.pairs.event]
    return found


def conservation(books: Books) -> CheckResult:
    """Find pairs that upset the balance: events in the log = effect + dead_lettered + skipped + passed + expired + pending."""
    if not books.audited:
        return not_read_back()
    pairs, allowed = books.pairs, Allowed(books)
    in_log = (books.in_log | books.taken)[pairs.event]
    accounted = (pairs.end != End.lost) & (pairs.end != End.refused)
    found = np.flatnonzero(in_log != accounted)

    def example(pair: int) -> str:
        end = End(int(pairs.end[pair])).name
        place = "in the log" if in_log[pair] else "never in the log"
        return f"{pair_text(books, pair)}; it is {place} and ended as {end}"

    def why(found: NDArray[np.intp]) -> list[str]:
        lost = by_code(allowed.loses, books.plan.producer[pairs.event[found]])
        return [a or b for a, b in zip(lost, by_code(allowed.handles_aborted, pairs.group[found]), strict=True)]

    return judged(found, why, example)
