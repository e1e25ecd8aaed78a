"""Outages as clients see them: the longest waits for an acknowledgement or a delivery, and the share of time one could write."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rundata.backlog import AFTERMATH_NS, fault_spans
from rundata.books import Books, Bools, End
from rundata.measurement import Ints, Measurement, among, distinct, missing, seconds
from rundata.pairs import NO_END
from rundata.rows import NEVER, NONE
from rundata.scopes import Scope
from scenarios.expectations import BEFORE_FAULTS
from scenarios.quantities import SECOND

Found = dict[str, Measurement]
WRITABLE_WITHIN_NS = SECOND
"""A send that takes longer shows that its partition could not be written."""
_ROOM = 2**62


@dataclass(frozen=True, eq=False)
class Waits:
    """Stretches between two cuts of a lane (a partition, or a partition for a group) in which something waited."""

    lane: Ints
    begin_ns: Ints
    end_ns: Ints

    @classmethod
    def joined(cls, parts: "Sequence[Waits]") -> "Waits":
        """Return those of all parts, of which there is one at least."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            *(np.concatenate([getattr(each, name) for each in parts]) for name in ("lane", "begin_ns", "end_ns"))
        )

    def where(self, chosen: "Bools | NDArray[np.intp]") -> "Waits":
        """Return some of them."""
        return Waits(self.lane[chosen], self.begin_ns[chosen], self.end_ns[chosen])


def waits(lane: Ints, begin_ns: Ints, end_ns: Ints, cut_lane: Ints, cut_ns: Ints) -> Waits:
    """Return the stretches of each lane that waiters cover, cut at the lane's instants."""
    lasting = end_ns > begin_ns
    lane, begin_ns, end_ns = lane[lasting], begin_ns[lasting], end_ns[lasting]
    if len(lane) == 0:
        empty = np.zeros(0, np.int64)
        return Waits(empty, empty, empty)
    # Lanes are laid end to end on one axis, so that all of them are swept at once.
    span = int(max(end_ns.max(), cut_ns.max(initial=0))) + 2
    at_once = max(1, _ROOM // span)
    parts = []
    for first in range(int(lane.min()), int(lane.max()) + 1, at_once):
        mine, cuts = (lane >= first) & (lane < first + at_once), (cut_lane >= first) & (cut_lane < first + at_once)
        shift = (lane[mine] - first) * span
        swept = _sweep(begin_ns[mine] + shift, end_ns[mine] + shift, cut_ns[cuts] + (cut_lane[cuts] - first) * span)
        lanes = swept[0] // span
        parts.append(Waits(lanes + first, swept[0] - lanes * span, swept[1] - lanes * span))
    return Waits.joined(parts)


def _sweep(begin: Ints, end: Ints, cuts: Ints) -> tuple[Ints, Ints]:
    """Return the pieces into which `cuts` divide the union of the intervals."""
    if len(begin) == 0:
        return begin, end
    order = np.argsort(begin)  # ties may come in any order, which takes a seventh of the time
    begin, reached = begin[order], np.maximum.accumulate(end[order])
    fresh = np.concatenate([[True], begin[1:] > reached[:-1]])
    begins = begin[fresh]
    ends = reached[np.append(np.flatnonzero(fresh)[1:] - 1, len(begin) - 1)]
    points = distinct(np.concatenate([begins, ends, cuts]))
    low, high = points[:-1], points[1:]
    inside = np.searchsorted(begins, low, side="right") > np.searchsorted(ends, low, side="right")
    return low[inside], high[inside]


@dataclass(frozen=True, eq=False)
class Waiters:
    """Who waited in which lane, and what cuts the lanes. Those of a run are those of its parts together."""

    lane: Ints
    begin_ns: Ints
    end_ns: Ints
    until_last: Bools
    """Who waited until the last cut of the lane, and no longer than until `end_ns`."""
    cut_lane: Ints
    cut_ns: Ints

    @classmethod
    def joined(cls, parts: "Sequence[Waiters]") -> "Waiters":
        """Return those of all parts, of which there is one at least."""
        if len(parts) == 1:
            return parts[0]
        names = ("lane", "begin_ns", "end_ns", "until_last", "cut_lane", "cut_ns")
        return cls(*(np.concatenate([getattr(each, name) for each in parts]) for name in names))

    def last_cut_ns(self, until_ns: int) -> Ints:
        """Return the last cut of each lane before an instant, NONE where there is none."""
        before = self.cut_ns < until_ns
        lanes = int(max(self.lane.max(initial=NONE), self.cut_lane.max(initial=NONE))) + 1
        last = np.full(lanes, NONE, np.int64)
        np.maximum.at(last, self.cut_lane[before], self.cut_ns[before])
        return last

    def since(self, cut_ns: Ints) -> "Waiters":
        """Return what is left behind a cut of each lane; where that is NONE, all of it."""
        left = (self.end_ns > cut_ns[self.lane]) | self.until_last
        cuts = self.cut_ns >= cut_ns[self.cut_lane]
        lane = self.lane[left]
        return Waiters(
            lane,
            np.maximum(self.begin_ns[left], cut_ns[lane]),
            self.end_ns[left],
            self.until_last[left],
            self.cut_lane[cuts],
            self.cut_ns[cuts],
        )

    def after(self, until_ns: int) -> "Waiters":
        """Return who waits until an instant or longer, and the cuts since the first of them began to; none of them `until_last`."""
        left = self.end_ns >= until_ns
        begin_ns = self.begin_ns[left]
        cuts = self.cut_ns >= begin_ns.min(initial=NEVER)
        until_last = self.until_last[left]
        return Waiters(self.lane[left], begin_ns, self.end_ns[left], until_last, self.cut_lane[cuts], self.cut_ns[cuts])

    def waits(self) -> Waits:
        """Return the stretches in which somebody waited."""
        last = np.full(int(max(self.lane.max(initial=0), self.cut_lane.max(initial=0))) + 1, NO_END, np.int64)
        if self.until_last.any():
            np.maximum.at(last, self.cut_lane, self.cut_ns)
        end_ns = np.where(self.until_last, np.minimum(last[self.lane], self.end_ns), self.end_ns)
        return waits(self.lane, self.begin_ns, end_ns, self.cut_lane, self.cut_ns)


def deliveries_waited_for(books: Books) -> Waiters:
    """Return who waited for a first delivery; lane = group * (partitions + topics) + partition, or + partitions + topic for a topic as a whole."""
    pairs, lanes = books.pairs, int(books.first_partition[-1])
    width = lanes + len(books.plan.topics)
    delivered = pairs.delivered_ns != NEVER
    # Without keys an event that was never sent belongs to no partition: it waits for the topic as a whole.
    own = np.where(pairs.partition >= 0, pairs.partition, lanes + pairs.topic)
    lane = pairs.group * width + own
    whole = pairs.group * width + lanes + pairs.topic
    waiting = pairs.measured
    end_ns, until_last = _wait_ends(books, delivered)
    cut_lane = np.concatenate([lane[delivered], whole[delivered]])
    cut_ns = np.concatenate([pairs.delivered_ns[delivered]] * 2)
    return Waiters(lane[waiting], pairs.intended_ns[waiting], end_ns[waiting], until_last[waiting], cut_lane, cut_ns)


def _wait_ends(books: Books, delivered: Bools) -> tuple[Ints, Bools]:
    """Return until when each pair waited for its delivery: that, the run's end, or when it was given up; or the last delivery of its lane."""
    pairs = books.pairs
    closed = books.sends.closed_ns[pairs.event]
    is_closed, has_ended = (closed != NO_END) & (closed != NEVER), pairs.end_ns != NEVER
    pending = pairs.end == End.pending
    until_last = ~delivered & ~pending & ~has_ended & ~is_closed
    ends = np.where(pending | until_last, books.end_ns, np.where(has_ended, pairs.end_ns, closed))
    return np.minimum(np.where(delivered, pairs.delivered_ns, ends), books.end_ns), until_last


def acknowledgements_waited_for(books: Books) -> Waiters:
    """Return who waited for an acknowledgement; lane = partition."""
    rows = books.block.sends
    partition, ended_ns = books.partition[rows["event_id"]], rows["ended_ns"]
    known = partition >= 0
    waiting, acks = known & books.measured[rows["event_id"]], known & rows.ok
    return Waiters(
        partition[waiting],
        rows["started_ns"][waiting],
        np.minimum(ended_ns, books.end_ns)[waiting],
        np.zeros(int(waiting.sum()), np.bool_),
        partition[acks],
        ended_ns[acks],
    )


class Outages:
    """All waits of a run, found once."""

    def __init__(self, books: Books) -> None:
        self.books = books

    @cached_property
    def deliveries(self) -> Waits:
        """Waits between first deliveries, by lanes as in `deliveries_waited_for`."""
        return deliveries_waited_for(self.books).waits()

    @cached_property
    def writes(self) -> Waits:
        """Waits between acknowledgements; lane = partition."""
        return acknowledgements_waited_for(self.books).waits()

    @property
    def is_undelivered(self) -> bool:
        """Whether an event still waited for its delivery when the run ended."""
        pairs = self.books.pairs
        return bool(((pairs.end == End.pending) & (pairs.delivered_ns == NEVER) & pairs.measured).any())

    @property
    def is_unanswered(self) -> bool:
        """Whether a send was not answered when the run ended."""
        return bool((self.books.block.sends["ended_ns"] == NEVER).any())


def outages(books: Books) -> Outages:
    """Return the run's waits; they are found once."""
    return books.once("outages", lambda: Outages(books))


def delivery_waits(books: Books, scope: Scope) -> Waits:
    """Return the waits between first deliveries in a scope; `lane` is the partition's number, NONE for a topic as a whole."""
    found = outages(books).deliveries
    width = int(books.first_partition[-1]) + len(books.plan.topics)
    group, place = found.lane // width, found.lane % width
    topic = _topic_of(books, place)
    match scope.kind:
        case "group":
            chosen = group == scope.number
        case "topic":
            chosen = topic == scope.number
        case _:
            chosen = np.ones(len(place), np.bool_)
    here = found.where(chosen & _in_time(books, scope, found))
    return replace(here, lane=here.lane % width)


def gap(books: Books, scope: Scope) -> Found:
    """Measure the longest time between first deliveries of one partition while a planned event of it waited."""
    return {"": _longest(books, delivery_waits(books, scope), open_ended=outages(books).is_undelivered)}


def write_gap(books: Books, scope: Scope) -> Found:
    """Measure the longest time between acknowledgements of one partition while an event handed to the client waited."""
    found = outages(books).writes
    chosen = np.ones(len(found.lane), np.bool_) if scope.kind == "all" else _topic_of(books, found.lane) == scope.number
    chosen &= _in_time(books, scope, found)
    return {"": _longest(books, found.where(chosen), open_ended=outages(books).is_unanswered)}


def longest_of(books: Books, labels: Sequence[str], found: Waits) -> Waits:
    """Return the waits of each lane than which none is longer: of all, of those before the faults, and of those that touch each fault."""
    length, kept = found.end_ns - found.begin_ns, np.zeros(len(found.lane), np.bool_)
    for narrowed in (None, BEFORE_FAULTS, *labels):
        inside = _in_time(books, Scope(narrowed=narrowed), found)
        most = np.full(int(found.lane.max(initial=NONE)) + 1, NONE, np.int64)
        np.maximum.at(most, found.lane[inside], length[inside])
        kept |= inside & (length == most[found.lane])
    return found.where(kept)


def _longest(books: Books, found: Waits, *, open_ended: bool) -> Measurement:
    if len(found.lane) == 0:
        return Measurement(0.0, "s")
    length = found.end_ns - found.begin_ns
    longest = int(length.max())
    still = found.end_ns >= books.end_ns
    if open_ended and bool((length[still] == longest).any()):
        place = int(np.flatnonzero(still & (length == longest))[0])
        number = int(found.lane[place])
        name = books.partition_name(number) if number < books.first_partition[-1] else "a topic"
        return Measurement(None, "s", seconds(longest), f"{name} still waited when the run ended")
    return Measurement(seconds(longest), "s")


def _topic_of(books: Books, place: Ints) -> Ints:
    """Return the topic of a partition's number, or of a topic as a whole (numbers beyond the partitions)."""
    partitions = int(books.first_partition[-1])
    of_partition = np.searchsorted(books.first_partition, place, side="right") - 1
    return np.where(place >= partitions, place - partitions, of_partition)


def _in_time(books: Books, scope: Scope, found: Waits) -> Bools:
    """Return which waits a narrowed scope covers: those that began before the faults, or that touch the fault and 5 s after."""
    if scope.narrowed is None:
        return np.ones(len(found.lane), np.bool_)
    spans = fault_spans(books)
    if scope.narrowed == BEFORE_FAULTS:
        first = min((planned.begin_ns for planned in books.plan.faults), default=books.end_ns)
        return np.asarray(found.end_ns <= first)
    touching = np.zeros(len(found.lane), np.bool_)
    for begin, end, label in spans:
        if label == scope.narrowed:
            touching |= (found.begin_ns < end + AFTERMATH_NS) & (found.end_ns > begin)
    return touching


# ---- availability --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Unwritable:
    """When the partitions of a scope could not be written, within the measured part."""

    spans: Waits
    """Lane = partition."""
    busy: Ints
    """Partitions with traffic."""
    silent: Ints
    """Those without, which tell nothing."""


@dataclass(frozen=True, eq=False)
class Sent:
    """In which partitions there was traffic, and sends that took too long, within the measured part. Those of a run are those of its parts together."""

    busy: Ints
    partition: Ints
    begin_ns: Ints
    end_ns: Ints

    @classmethod
    def joined(cls, parts: "Sequence[Sent]") -> "Sent":
        """Return those of all parts, of which there is one at least."""
        return cls(
            distinct(np.concatenate([each.busy for each in parts])),
            *(np.concatenate([getattr(each, name) for each in parts]) for name in ("partition", "begin_ns", "end_ns")),
        )

    @cached_property
    def spans(self) -> Waits:
        """When partitions could not be written; lane = partition."""
        nothing = np.zeros(0, np.int64)
        return waits(self.partition, self.begin_ns, self.end_ns, nothing, nothing)


def sent(books: Books) -> Sent:
    """Return what was sent where, and what took too long; it is found once."""
    return books.once("sent", lambda: _sent(books))


def _sent(books: Books) -> Sent:
    rows, scenario = books.block.sends, books.scenario
    partition = books.partition[rows["event_id"]]
    begin, end = rows["started_ns"], np.minimum(rows["ended_ns"], books.end_ns)
    here = (partition >= 0) & (end > scenario.warm_up) & (begin < scenario.duration)
    slow = here & (end - begin > WRITABLE_WITHIN_NS)
    begin = np.maximum(begin[slow], scenario.warm_up)
    return Sent(distinct(partition[here]), partition[slow], begin, np.minimum(end[slow], scenario.duration))


def unwritable(books: Books, scope: Scope) -> Unwritable:
    """Return when sends of each partition took over a second, or did not end."""
    asked, whole = np.asarray(_asked(books, scope), np.int64), sent(books)
    spans, is_busy = whole.spans, among(asked, whole.busy)
    return Unwritable(spans.where(among(spans.lane, asked)), asked[is_busy], asked[~is_busy])


def availability(books: Books, scope: Scope) -> Found:
    """Measure the share of partition-time in which sends were acknowledged within a second."""
    found = unwritable(books, scope)
    if len(found.busy) == 0:
        return {"": missing("share", "no partition had traffic")}
    closed = int((found.spans.end_ns - found.spans.begin_ns).sum())
    silent = ", ".join(books.partition_name(int(number)) for number in found.silent)
    remark = f"without traffic and left out: {silent}" if silent else None
    share = 1 - closed / (len(found.busy) * books.scenario.measured_ns)
    return {"": Measurement(share, "share", None, remark)}


def _asked(books: Books, scope: Scope) -> NDArray[np.int64]:
    """Return the numbers of the partitions that a scope covers: of topics that somebody sends to."""
    if scope.kind == "partition":
        return np.asarray([scope.number])
    sent = {producer.topic for producer in books.scenario.producers.values()}
    numbers = [n for n, topic in enumerate(books.plan.topics) if topic in sent]
    if scope.kind == "topic":
        numbers = [scope.number]
    return np.concatenate([np.arange(books.first_partition[n], books.first_partition[n + 1]) for n in numbers])
