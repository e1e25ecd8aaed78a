"""Checks of what handlers did: each event once, in the order of its key, and nothing committed that was not handled."""

from dataclasses import replace

import numpy as np

from rundata.allowed import Allowed
from rundata.books import Books, End
from rundata.check_reads import both, distinct_offsets
from rundata.counts import inverted_pairs
from rundata.findings import CheckResult, by_code, judged, nearby, pair_text, time_text
from rundata.measurement import Ints
from rundata.rows import NEVER


def duplicate_effects(books: Books) -> CheckResult:
    """Find pairs that took effect more than once."""
    pairs = books.pairs
    effects = pairs.count("effects")
    found = np.flatnonzero(effects > 1)

    def example(pair: int) -> str:
        return f"{pair_text(books, pair)}; {effects[pair]} effects{nearby(books, int(pairs.effect_ns[pair]))}"

    result = judged(found, lambda numbers: _why_repeated(books, numbers), example)
    return replace(result, count=int((effects[found] - 1).sum()))


def _why_repeated(books: Books, numbers: Ints) -> list[str]:
    """Return why each pair may have been handled more than once: its producer repeated it, or its group was given it again.

    Copies in the log explain one effect each; only what is beyond them can come from a group that reads again.
    """
    pairs, allowed = books.pairs, Allowed(books)
    offsets = distinct_offsets(books, numbers) if len(numbers) else np.zeros(0, np.int64)
    again = pairs.count("effects")[numbers] + pairs.count("given_up")[numbers] > np.maximum(offsets, 1)
    of_log = by_code(allowed.repeats_sends, books.plan.producer[pairs.event[numbers]])
    of_group = by_code(allowed.repeats_effects, pairs.group[numbers])
    repeats = (pairs.count("effects")[numbers] > 1).tolist()  # only effects are remembered, not what was given up
    remembers = [
        allowed.remembers[group] and several
        for group, several in zip(pairs.group[numbers].tolist(), repeats, strict=True)
    ]
    return [
        "" if once else both(sent if copies > 1 else None, read if more else None)
        for sent, read, copies, more, once in zip(of_log, of_group, offsets, again, remembers, strict=True)
    ]


def processed_once(books: Books) -> CheckResult:
    """Find pairs that their group handled more than once, or passed over: effects, dead letters and skips together."""
    pairs = books.pairs
    handled = pairs.count("effects") + pairs.count("given_up")
    delivered = pairs.count("deliveries") > 0
    more, none = (handled > 1) & delivered, pairs.end == End.passed
    found = np.flatnonzero(more | none)
    waiting = int((pairs.end == End.pending).sum())

    def why(numbers: Ints) -> list[str]:
        repeated = dict(zip(numbers[more[numbers]].tolist(), _why_repeated(books, numbers[more[numbers]]), strict=True))
        passes = _why_passed(books, numbers, pairs.end_ns)
        return [repeated.get(number, passed) for number, passed in zip(numbers.tolist(), passes, strict=True)]

    def example(pair: int) -> str:
        return f"{pair_text(books, pair)}; handled {handled[pair]} times"

    parts = {"more than once": int(more.sum()), "passed over": int(none.sum())}
    note = f"{waiting} pairs were still pending when the drain ended" if waiting else ""
    return judged(found, why, example, parts=parts, note=note, noted=waiting)


def key_order(books: Books) -> CheckResult:
    """Find pairs that took effect later than a later event of the same producer process and key."""
    pairs, allowed = books.pairs, Allowed(books)
    found = np.flatnonzero(inverted_pairs(books))

    def example(pair: int) -> str:
        return f"{pair_text(books, pair)}; a later event of its key had taken effect before"

    def why(numbers: Ints) -> list[str]:
        of_producer = by_code(allowed.reorders_keys, books.plan.producer[pairs.event[numbers]])
        of_group = by_code(allowed.gives_up_order, pairs.group[numbers])
        return [sent or worked for sent, worked in zip(of_producer, of_group, strict=True)]

    return judged(found, why, example)


def passed(books: Books) -> CheckResult:
    """Find commits that went beyond events which the group had not handled by then."""
    pairs, records = books.pairs, books.records
    offset = np.full(books.events, NEVER, np.int64)
    np.minimum.at(offset, records.event, records.offset)
    beyond = np.full(len(pairs.event), NEVER, np.int64)
    for group in range(len(books.groups)):
        mine = np.flatnonzero((pairs.group == group) & (offset[pairs.event] != NEVER))
        places = offset[pairs.event[mine]]
        beyond[mine] = books.committed_beyond_ns(group, pairs.partition[mine], places)
    # Whatever came first: a dead letter that is sent again has its effect later.
    handling = books.handling
    first = np.minimum.reduce([handling.effect_ns, handling.dead_ns, handling.dead_tried_ns, handling.skipped_ns])
    handled = np.minimum(first.reshape(-1)[pairs.flat], pairs.end_ns)
    handled = np.where((pairs.end == End.passed) | (pairs.end == End.expired), NEVER, handled)
    # What retention took before it could be read, nobody could have handled.
    early = (
        (beyond < np.minimum(handled, pairs.handed_on_ns))
        & (pairs.end != End.expired)
        & (pairs.end != End.lost)
        & (pairs.end != End.refused)
    )
    found = np.flatnonzero(early)
    parts = {"for good": int((pairs.end[found] == End.passed).sum())}

    def example(pair: int) -> str:
        return f"{pair_text(books, pair)}; committed beyond at {time_text(int(beyond[pair]))}"

    return judged(found, lambda numbers: _why_passed(books, numbers, beyond), example, parts=parts)


def _why_passed(books: Books, numbers: Ints, beyond_ns: Ints) -> list[str]:
    """Return why a group may have committed beyond each pair's event by an instant: by the way in which it commits, or since the record was gone."""
    pairs, allowed = books.pairs, Allowed(books)
    events = pairs.event[numbers]
    gone = books.taken[events] & (allowed.deleted_from_ns(events) <= beyond_ns[numbers])
    of_group, of_topic = by_code(allowed.passes, pairs.group[numbers]), by_code(allowed.deletes, pairs.topic[numbers])
    return [
        why or (deletes if away else "") for why, deletes, away in zip(of_group, of_topic, gone.tolist(), strict=True)
    ]
