"""Outages as clients see them: the longest waits for an acknowledgement or a delivery, and the share of time one could write."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rundata.backlog import AFTERMATH_NS, fault_spans
from rundata.books import Books, Bools, End
from rundata.measurement import Ints, Measurement, distinct, missing, seconds
from rundata.pairs import NO_END
from rundata.rows import NEVER
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

    def where(self, chosen: Bools) -> "Waits":
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
    return Waits(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("lane", "begin_ns", "end_ns")))


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


class Outages:
    """All waits of a run, found once."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.lanes = int(books.first_partition[-1])

    @cached_property
    def deliveries(self) -> Waits:
        """Waits between first deliveries; lane = group * (partitions + topics) + partition, or + partitions + topic for a topic as a whole."""
        books, pairs = self.books, self.books.pairs
        width = self.lanes + len(books.plan.topics)
        delivered = pairs.delivered_ns != NEVER
        # Without keys an event that was never sent belongs to no partition: it waits for the topic as a whole.
        own = np.where(pairs.partition >= 0, pairs.partition, self.lanes + pairs.topic)
        lane = pairs.group * width + own
        whole = pairs.group * width + self.lanes + pairs.topic
        waiters = pairs.measured
        end_ns = self._wait_ends(lane, whole, delivered)
        cut_lane = np.concatenate([lane[delivered], whole[delivered]])
        cuts = np.concatenate([pairs.delivered_ns[delivered]] * 2)
        return waits(lane[waiters], pairs.intended_ns[waiters], end_ns[waiters], cut_lane, cuts)

    def _wait_ends(self, lane: Ints, whole: Ints, delivered: Bools) -> Ints:
        """Return until when each pair waited for its delivery: that, the run's end, or when it was given up."""
        books, pairs = self.books, self.books.pairs
        closed = books.sends.closed_ns[pairs.event]
        last = np.full(int(max(lane.max(initial=0), whole.max(initial=0))) + 1, NO_END, np.int64)
        for lanes in (lane, whole):
            np.maximum.at(last, lanes[delivered], pairs.delivered_ns[delivered])
        gone = np.where((closed != NO_END) & (closed != NEVER), closed, last[lane])
        gone = np.where(pairs.end_ns != NEVER, pairs.end_ns, gone)
        ends = np.where(pairs.end == End.pending, books.end_ns, gone)
        return np.minimum(np.where(delivered, pairs.delivered_ns, ends), books.end_ns)

    @cached_property
    def writes(self) -> Waits:
        """Waits between acknowledgements; lane = partition."""
        books, rows = self.books, self.books.block.sends
        partition = books.partition[rows["event_id"]]
        known = partition >= 0
        waiters = known & books.measured[rows["event_id"]]
        end_ns = np.minimum(rows["ended_ns"], books.end_ns)
        acks = known & rows.ok
        return waits(
            partition[waiters], rows["started_ns"][waiters], end_ns[waiters], partition[acks], rows["ended_ns"][acks]
        )


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
    pairs = books.pairs
    pending = (pairs.end == End.pending) & (pairs.delivered_ns == NEVER) & pairs.measured
    return {"": _longest(books, delivery_waits(books, scope), open_ended=bool(pending.any()))}


def write_gap(books: Books, scope: Scope) -> Found:
    """Measure the longest time between acknowledgements of one partition while an event handed to the client waited."""
    found = outages(books).writes
    chosen = np.ones(len(found.lane), np.bool_) if scope.kind == "all" else _topic_of(books, found.lane) == scope.number
    chosen &= _in_time(books, scope, found)
    unended = books.block.sends["ended_ns"] == NEVER
    return {"": _longest(books, found.where(chosen), open_ended=bool(unended.any()))}


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
    silent: tuple[str, ...]
    """Names of those without, which tell nothing."""


def unwritable(books: Books, scope: Scope) -> Unwritable:
    """Return when sends of each partition took over a second, or did not end."""
    rows, scenario = books.block.sends, books.scenario
    partition = books.partition[rows["event_id"]]
    begin, end = rows["started_ns"], np.minimum(rows["ended_ns"], books.end_ns)
    here = (partition >= 0) & (end > scenario.warm_up) & (begin < scenario.duration)
    asked = np.asarray(list(_asked(books, scope)), np.int64)
    here &= np.isin(partition, asked)
    busy = distinct(partition[here])
    silent = tuple(books.partition_name(int(number)) for number in np.setdiff1d(asked, busy))
    slow = here & (end - begin > WRITABLE_WITHIN_NS)
    begin = np.maximum(begin[slow], scenario.warm_up)
    end = np.minimum(end[slow], scenario.duration)
    nothing = np.zeros(0, np.int64)
    return Unwritable(waits(partition[slow], begin, end, nothing, nothing), busy, silent)


def availability(books: Books, scope: Scope) -> Found:
    """Measure the share of partition-time in which sends were acknowledged within a second."""
    found = unwritable(books, scope)
    if len(found.busy) == 0:
        return {"": missing("share", "no partition had traffic")}
    closed = int((found.spans.end_ns - found.spans.begin_ns).sum())
    remark = f"without traffic and left out: {', '.join(found.silent)}" if found.silent else None
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
