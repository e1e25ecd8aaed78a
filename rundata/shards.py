"""A run too large for memory, a part at a time: stretches of events with all their rows, or some partitions with all that was sent and read there."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books, EarliestEffects
from rundata.operations import BLOCK_ROWS, blocks, joined, release, taken
from rundata.rows import NONE, Kind
from rundata.tables import Extent
from rundata.whole import Whole, span_of
from scenarios.plan import Plan

Ints = NDArray[np.int64]

_OF_EVENTS = (Kind.send, Kind.delivery, Kind.try_, Kind.skip, Kind.dead_letter)


def by_events(whole: Whole, at_once: int) -> Iterator[Books]:
    """Yield books of stretches of so many events, the last one first.

    What belongs to no event of the plan (somebody else's records) comes with the first stretch. Commits are in none: the whole knows them.
    """
    run, count = whole.run, len(whole.plan)
    operations = _Spans(run.operations, count, whole.survey.spans, _OF_EVENTS)
    of_log = [span_of(np.ascontiguousarray(block["event_id"]), count) for block in blocks(run.log)]
    log = _Spans(run.log, count, np.asarray(of_log, np.int64).reshape(-1, 3))
    later = EarliestEffects()
    for first in reversed(range(0, max(1, count), at_once)):
        end = min(first + at_once, count)
        # Nothing here keeps a part: the one before is gone when the next is made.
        yield Books(
            replace(
                run,
                plan=stretch(whole.plan, first, end),
                operations=operations.of(first, end),
                log=log.of(first, end),
            ),
            whole,
            first,
            later,
        )


def by_partitions(whole: Whole, rows_at_once: int) -> Iterator[Books]:
    """Yield books of some partitions: of operations they hold sends and deliveries only. A partition is never divided."""
    run = whole.run
    shard = _shards_of(whole, rows_at_once)
    log_lane = whole.first_partition[run.log["topic"]] + run.log["partition"]
    names = run.names.topics
    of_extent = [int(whole.first_partition[names.index(each.topic)]) + each.partition for each in run.extents]
    places = np.append(shard, NONE).astype(np.int16)[whole.survey.lane]
    for number in range(int(shard.max(initial=0)) + 1):
        lanes = np.flatnonzero(shard == number)
        first, end = np.searchsorted(log_lane, [lanes[0], lanes[-1] + 1])
        extents: tuple[Extent, ...] = tuple(
            each for each, lane in zip(run.extents, of_extent, strict=True) if shard[lane] == number
        )
        yield Books(
            replace(run, operations=_chosen(run.operations, places == number), log=run.log[first:end], extents=extents),
            whole,
        )


def _chosen(rows: NDArray[np.void], mine: NDArray[np.bool_]) -> NDArray[np.void]:
    """Return some rows of a table, a block at a time, so that a mapped file never lies in memory as a whole, nor the result twice."""
    found, at, count = np.empty(int(np.count_nonzero(mine)), rows.dtype), 0, 0
    for block in blocks(rows):
        own = taken(block, np.flatnonzero(mine[at : at + len(block)]))
        found[count : count + len(own)] = own
        at, count = at + len(block), count + len(own)
    return found


class _Spans:
    """Rows in blocks, with the events that each block is about, so that a stretch of events is found without reading all."""

    def __init__(self, rows: NDArray[np.void], events: int, spans: Ints, kinds: tuple[Kind, ...] | None = None) -> None:
        self._rows = rows
        self._events = events
        self._kinds = kinds
        self._lows, self._highs, self._strange = spans.T

    def of(self, first: int, end: int) -> NDArray[np.void]:
        """Return the rows of events from `first` to before `end`, counted from `first`; with the first event also what is of none."""
        meets = (self._highs >= first) & (self._lows < end)
        if first == 0:
            meets |= self._strange.astype(np.bool_)
        parts = [self._rows[:0].copy()]
        for number in np.flatnonzero(meets).tolist():
            block = self._rows[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
            event = np.ascontiguousarray(block["event_id"])
            mine = (event >= first) & (event < end)
            if first == 0:
                mine |= (event < 0) | (event >= self._events)
            if self._kinds is not None:
                mine &= np.isin(block["kind"], self._kinds)
            parts.append(np.asarray(block) if mine.all() else taken(block, np.flatnonzero(mine)))
        release(self._rows)
        rows = joined(parts)
        rows["event_id"] -= np.where(rows["event_id"] >= 0, first, 0)
        return rows


def stretch(plan: Plan, first: int, end: int) -> Plan:
    """Return a plan with some of the events only."""

    def part(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value[first:end]
        return {name: array[first:end] for name, array in value.items()} if isinstance(value, dict) else value

    return replace(plan, **{each.name: part(getattr(plan, each.name)) for each in fields(plan)})


def _shards_of(whole: Whole, rows_at_once: int) -> Ints:
    """Return for each partition, in order, the number of the part it comes in; each takes about so many rows."""
    lane = whole.survey.lane
    counts = np.bincount(lane[lane >= 0], minlength=whole.partitions)
    shard, rows = np.zeros(whole.partitions, np.int64), 0
    for number, count in enumerate(counts.tolist()):
        full = rows > 0 and rows + count > rows_at_once
        shard[number] = (shard[number - 1] if number else 0) + full
        rows = count if full else rows + count
    return shard
