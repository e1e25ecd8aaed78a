"""Tallies of operations by event and by pair (event, group): take blocks of rows in any order, merge, and read the arrays.

Every tally keeps sums, minima and maxima only, so that neither the blocks nor their order change the result.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rundata.rows import NEVER, NONE, UNTIMED, Kind, Outcome

Ints = NDArray[np.int64]
NO_END = -(2**63)
NO_TOPICS = 2**15
"""More topics than a row can name."""


class Rows:
    """The rows of one kind of operation as contiguous columns, each copied out when first asked for."""

    def __init__(self, rows: NDArray[np.void], chosen: NDArray[np.intp]) -> None:
        self._rows = rows
        self._chosen = chosen
        self._columns: dict[str, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return len(self._chosen)

    def placed(self) -> "Rows":
        """Return those whose offset is known; of the user's own program it is not."""
        return Rows(self._rows, self._chosen[self._rows["offset"][self._chosen] >= 0])

    def of_members(self) -> "Rows":
        """Return those of a process of the scenario; those of a replay are of none, and have an order of their own."""
        return Rows(self._rows, self._chosen[self._rows["process"][self._chosen] >= 0])

    def __getitem__(self, name: str) -> Ints:
        if name not in self._columns:
            self._columns[name] = self._rows[name][self._chosen].astype(np.int64)
        return self._columns[name]

    @cached_property
    def ok(self) -> NDArray[np.bool_]:
        """Which rows ended well."""
        well: NDArray[np.bool_] = (self["outcome"] == Outcome.ok) & (self["ended_ns"] != NEVER)
        return well


class Made(Rows):
    """The same of rows that lie nowhere as such: columns that are made when they are first asked for."""

    def __init__(self, count: int, columns: Mapping[str, Callable[[], Ints]]) -> None:
        self._count, self._makers = count, columns
        self._columns: dict[str, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> Ints:
        if name not in self._columns:
            self._columns[name] = np.ascontiguousarray(self._makers[name]())
        return self._columns[name]


class Block:
    """A block of operations, split by kind; rows about events that the plan does not hold are in none of them but commits."""

    def __init__(self, rows: NDArray[np.void], events: int, topics: int = NO_TOPICS) -> None:
        """Take the rows of so many events; deliveries from topics beyond the first `topics`, which hold copies for retries, are left out."""
        kind = np.ascontiguousarray(rows["kind"])
        event = np.ascontiguousarray(rows["event_id"])
        known = (event >= 0) & (event < events)
        # Rows of unknown events (a foreign record that was read) are judged by the checks and belong to no pair.
        by_kind = {k: np.flatnonzero((kind == k) & (known if k != Kind.commit else True)) for k in Kind}
        self.sends = Rows(rows, by_kind[Kind.send])
        read = by_kind[Kind.delivery]
        self.deliveries = Rows(rows, read[rows["topic"][read] < topics] if topics < NO_TOPICS else read)
        self.tries = Rows(rows, by_kind[Kind.try_])
        self.skips = Rows(rows, by_kind[Kind.skip])
        self.dead_letters = Rows(rows, by_kind[Kind.dead_letter])
        self.commits = Rows(rows, by_kind[Kind.commit])

    @classmethod
    def made(cls, kinds: Mapping[Kind, Rows]) -> Self:
        """Return a block of rows that are made as columns, which are about known events alone."""
        block = cls.__new__(cls)
        block.sends, block.deliveries, block.tries = kinds[Kind.send], kinds[Kind.delivery], kinds[Kind.try_]
        block.skips, block.dead_letters = kinds[Kind.skip], kinds[Kind.dead_letter]
        block.commits = kinds[Kind.commit]
        return block


class SendTally:
    """By event: handed over, acknowledged, its send's end, where it was appended, and whether an outcome stayed unknown."""

    def __init__(self, events: int) -> None:
        self.handed_ns = np.full(events, NEVER, np.int64)
        self.acked_ns = np.full(events, NEVER, np.int64)
        self.closed_ns = np.full(events, NO_END, np.int64)
        """When its last send ended; NEVER where one did not end."""
        self.position = np.full(events, NEVER, np.int64)
        """Offset of its first acknowledged append (of equally early ones the lowest); NEVER where there is none."""
        self.partition = np.full(events, NONE, np.int64)
        """Highest partition of its sends."""
        self.sends = np.zeros(events, np.int64)
        self.unknown = np.zeros(events, np.bool_)

    @classmethod
    def of(cls, block: Block, events: int) -> Self:
        """Return what one block says of so many events: at once where it holds one send of each, in their order."""
        rows, tally = block.sends, cls(0)
        if len(rows) != events or not np.array_equal(rows["event_id"], np.arange(events)):
            return cls(events).take(block)
        ended, ok = rows["ended_ns"], rows.ok
        tally.handed_ns, tally.closed_ns, tally.partition = (
            rows["started_ns"],
            ended,
            np.maximum(rows["partition"], NONE),
        )
        tally.sends, tally.unknown = np.ones(events, np.int64), (rows["outcome"] == Outcome.unknown) | (ended == NEVER)
        tally.acked_ns = np.where(ok, ended, NEVER)
        tally.position = np.where(ok & (rows["offset"] >= 0), rows["offset"], NEVER)
        return tally

    def take(self, block: Block) -> Self:
        """Add a block of rows."""
        rows, events = block.sends, len(self.sends)
        event, ended = rows["event_id"], rows["ended_ns"]
        part = SendTally(events)
        np.minimum.at(part.handed_ns, event, rows["started_ns"])
        np.maximum.at(part.closed_ns, event, ended)
        np.maximum.at(part.partition, event, rows["partition"])
        part.sends += np.bincount(event, minlength=events)
        part.unknown[event[(rows["outcome"] == Outcome.unknown) | (ended == NEVER)]] = True
        acked, acked_ns = event[rows.ok], ended[rows.ok]
        np.minimum.at(part.acked_ns, acked, acked_ns)
        offset = rows["offset"][rows.ok]
        first = (acked_ns == part.acked_ns[acked]) & (offset >= 0)
        np.minimum.at(part.position, acked[first], offset[first])
        return self.merge(part)

    def merge(self, other: "SendTally") -> Self:
        """Add what another tally has taken."""
        earlier = other.acked_ns < self.acked_ns
        tied = other.acked_ns == self.acked_ns
        self.position = np.where(
            earlier, other.position, np.where(tied, np.minimum(self.position, other.position), self.position)
        )
        np.minimum(self.handed_ns, other.handed_ns, out=self.handed_ns)
        np.minimum(self.acked_ns, other.acked_ns, out=self.acked_ns)
        np.maximum(self.closed_ns, other.closed_ns, out=self.closed_ns)
        np.maximum(self.partition, other.partition, out=self.partition)
        self.sends += other.sends
        self.unknown |= other.unknown
        return self


class HandlingTally:
    """By group and event: first delivery and effect, how many of each, tries, and when the group gave the event up."""

    _EARLIEST = ("delivered_ns", "effect_ns", "dead_ns", "dead_tried_ns", "skipped_ns", "failed_ns")
    _COUNTS = ("deliveries", "effects", "tries", "failed_tries", "given_up", "dead_letters")

    def __init__(self, groups: int, events: int) -> None:
        shape = (groups, events)
        self.delivered_ns = np.full(shape, NEVER, np.int64)
        self.effect_ns = np.full(shape, NEVER, np.int64)
        self.dead_ns = np.full(shape, NEVER, np.int64)
        """When a dead letter was first acknowledged."""
        self.dead_tried_ns = np.full(shape, NEVER, np.int64)
        """When a dead letter was first sent, whatever became of it."""
        self.skipped_ns = np.full(shape, NEVER, np.int64)
        self.failed_ns = np.full(shape, NEVER, np.int64)
        """When a try first failed that is to be followed by another one."""
        self.deliveries = np.zeros(shape, np.int64)
        self.effects = np.zeros(shape, np.int64)
        self.tries = np.zeros(shape, np.int64)
        self.failed_tries = np.zeros(shape, np.int64)
        self.given_up = np.zeros(shape, np.int64)
        """Times the group dead-lettered or skipped the event."""
        self.dead_letters = np.zeros(shape, np.int64)

    @classmethod
    def of_one_value(cls, groups: int, events: int) -> Self:
        """Return a tally of what never happened, which takes no memory, to have some of its arrays put in place of."""
        tally, shape = cls(groups, 0), (groups, events)
        for names, value in ((cls._EARLIEST, NEVER), (cls._COUNTS, 0)):
            for name in names:
                setattr(tally, name, np.broadcast_to(np.int64(value), shape))
        return tally

    def take(self, block: Block) -> Self:
        """Add a block of rows."""
        deliveries, tries, skips, dead = block.deliveries, block.tries, block.skips, block.dead_letters
        _earliest(self.delivered_ns, self._pairs(deliveries), deliveries["started_ns"])
        self._count(self.deliveries, self._pairs(deliveries))
        tried = self._pairs(tries)
        _earliest(self.effect_ns, tried[tries.ok], tries["ended_ns"][tries.ok])
        self._count(self.effects, tried[tries.ok])
        self._count(self.tries, tried)
        failed = tries["outcome"] == Outcome.failed
        self._count(self.failed_tries, tried[failed])
        again = failed & (tries["retry_due_ns"] != UNTIMED)
        _earliest(self.failed_ns, tried[again], tries["ended_ns"][again])
        skipped_ns = np.where(skips["ended_ns"] == NEVER, skips["started_ns"], skips["ended_ns"])
        _earliest(self.skipped_ns, self._pairs(skips), skipped_ns)
        gone = self._pairs(dead)
        _earliest(self.dead_ns, gone[dead.ok], dead["ended_ns"][dead.ok])
        _earliest(self.dead_tried_ns, gone, dead["started_ns"])
        self._count(self.dead_letters, gone[dead.ok])
        self._count(self.given_up, np.concatenate([self._pairs(skips), gone[dead.ok]]))
        return self

    def merge(self, other: "HandlingTally") -> Self:
        """Add what another tally has taken."""
        for name in self._EARLIEST:
            np.minimum(getattr(self, name), getattr(other, name), out=getattr(self, name))
        for name in self._COUNTS:
            np.add(getattr(self, name), getattr(other, name), out=getattr(self, name))
        return self

    def _pairs(self, rows: Rows) -> Ints:
        return rows["group"] * self.effects.shape[1] + rows["event_id"]

    @staticmethod
    def _count(into: Ints, pairs: Ints) -> None:
        if len(pairs):
            into.reshape(-1)[:] += np.bincount(pairs, minlength=into.size)


def _earliest(into: Ints, pairs: Ints, times_ns: Ints) -> None:
    np.minimum.at(into.reshape(-1), pairs, times_ns)
