"""Transactions of a run: which were committed, what each wrote and read, and which must have come before which.

A transaction is a `transaction_id` that rows share: the sends that it wrote, the tries of the events that it read, and the commits of
their offsets, whose outcome is the transaction's own.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rundata.rows import NONE, Kind, Outcome

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EDGES = ("wr", "ww", "rw")
"""wr: the second read what the first wrote. ww: it wrote behind the first. rw: it wrote what the first, which read just before, did not see."""
_PARTITIONS = 1 << 20
_OFFSETS = 1 << 40


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges from one transaction to another, by their numbers, and the place that makes each."""

    source: Ints
    target: Ints
    place: Ints


class Transactions:
    """The transactions of a run's operations; each is known by its number among them."""

    def __init__(self, operations: NDArray[np.void], log: NDArray[np.void]) -> None:
        rows = operations[operations["transaction_id"] != NONE]
        self.ids, number = np.unique(rows["transaction_id"], return_inverse=True)
        self._log = log
        ok = rows["outcome"] == Outcome.ok
        kind = rows["kind"]
        self.process = np.zeros(len(self.ids), np.int64)
        self.process[number] = rows["process"]
        self.committed = self._any(number[(kind == Kind.commit) & ok])
        self.aborted = self._any(number[(kind == Kind.commit) & (rows["outcome"] == Outcome.failed)]) & ~self.committed
        writes = (kind == Kind.send) & ok & (rows["offset"] >= 0)
        reads = (kind == Kind.try_) & (rows["offset"] >= 0)
        self.write_of, self.write_place = number[writes], places(rows[writes])
        self.write_event: Ints = rows["event_id"][writes]
        self.read_of, self.read_place = number[reads], places(rows[reads])

    def __len__(self) -> int:
        return len(self.ids)

    def _any(self, numbers: Ints) -> Bools:
        found = np.zeros(len(self.ids), np.bool_)
        found[numbers] = True
        return found

    @cached_property
    def visible(self) -> Bools:
        """Which writes a reader of committed records can see."""
        seen = places(self._log[self._log["aborted"] == 0])
        found: Bools = np.isin(self.write_place, seen)
        return found

    @cached_property
    def shown(self) -> Ints:
        """How many writes of each transaction can be seen."""
        return np.bincount(self.write_of[self.visible], minlength=len(self)).astype(np.int64)

    @cached_property
    def hidden(self) -> Ints:
        """How many writes of each transaction cannot be seen."""
        return np.bincount(self.write_of[~self.visible], minlength=len(self)).astype(np.int64)

    @cached_property
    def took_effect(self) -> Bools:
        """Which transactions were committed, as their client learned, or as the log shows where it did not."""
        return self.committed | (~self.aborted & (self.shown > 0))

    # ---- order

    def edges(self, kind: str) -> Edges:
        """Return the edges of one kind between transactions that took effect."""
        found = {"wr": self._wr, "ww": self._ww, "rw": self._rw}[kind]()
        there = self.took_effect[found.source] & self.took_effect[found.target] & (found.source != found.target)
        return Edges(found.source[there], found.target[there], found.place[there])

    @cached_property
    def _written(self) -> tuple[Ints, Ints]:
        """Places that were written, in order, and by which transaction."""
        order = np.argsort(self.write_place, kind="stable")
        return self.write_place[order], self.write_of[order]

    def _wr(self) -> Edges:
        written, writer = self._written
        at = np.searchsorted(written, self.read_place)
        found = at < len(written)
        found[found] = written[at[found]] == self.read_place[found]
        return Edges(writer[at[found]], self.read_of[found], self.read_place[found])

    def _ww(self) -> Edges:
        written, writer = self._written
        follows = np.flatnonzero(written[1:] // _OFFSETS == written[:-1] // _OFFSETS)
        return Edges(writer[follows], writer[follows + 1], written[follows + 1])

    def _rw(self) -> Edges:
        written, writer = self._written
        # The last read of each transaction in each partition, and the next write behind it.
        lane = self.read_place // _OFFSETS
        order = np.lexsort((self.read_place, lane, self.read_of))
        reader, place, lane = self.read_of[order], self.read_place[order], lane[order]
        last = np.append((np.diff(reader) != 0) | (np.diff(lane) != 0), True)[: len(order)]
        reader, place = reader[last], place[last]
        at = np.searchsorted(written, place, side="right")
        found = at < len(written)
        found[found] = written[at[found]] // _OFFSETS == place[found] // _OFFSETS
        return Edges(reader[found], writer[at[found]], written[at[found]])

    def cycles(self, kinds: tuple[str, ...]) -> list[list[tuple[int, str, int]]]:
        """Return a short cycle of each set of transactions that these edges put in a circle: (transaction, edge, place) to the next."""
        edges = [(kind, self.edges(kind)) for kind in kinds]
        source = np.concatenate([each.source for _, each in edges])
        target = np.concatenate([each.target for _, each in edges])
        place = np.concatenate([each.place for _, each in edges])
        names = np.repeat(np.arange(len(edges)), [len(each.source) for _, each in edges])
        if not len(source):
            return []
        from scipy.sparse import coo_array  # where there are transactions
        from scipy.sparse.csgraph import connected_components

        graph = coo_array((np.ones(len(source), np.int8), (source, target)), shape=(len(self), len(self)))
        _, component = connected_components(graph, directed=True, connection="strong")
        inside = np.flatnonzero(component[source] == component[target])
        steps: dict[int, list[tuple[int, str, int]]] = {}
        for n in inside.tolist():
            steps.setdefault(int(source[n]), []).append((int(target[n]), kinds[int(names[n])], int(place[n])))
        firsts = {int(component[node]): node for node in sorted(steps, reverse=True)}
        return [_shortest(first, steps) for _, first in sorted(firsts.items(), key=lambda each: each[1])]


def _shortest(first: int, steps: dict[int, list[tuple[int, str, int]]]) -> list[tuple[int, str, int]]:
    """Return a shortest way from a transaction back to itself."""
    came: dict[int, tuple[int, str, int]] = {}
    waiting = [first]
    while first not in came:
        node = waiting.pop(0)
        for target, kind, place in steps.get(node, []):
            if target not in came:
                came[target] = (node, kind, place)
                waiting.append(target)
    way, node = [], first
    while True:
        before, kind, place = came[node]
        way.append((before, kind, place))
        node = before
        if node == first:
            return way[::-1]


def places(rows: NDArray[np.void]) -> Ints:
    """Return topic, partition and offset as one number that sorts alike."""
    lane = rows["topic"].astype(np.int64) * _PARTITIONS + rows["partition"]
    found: Ints = lane * _OFFSETS + rows["offset"]
    return found


def place_parts(place: int) -> tuple[int, int, int]:
    """Return a place's topic code, partition and offset."""
    lane, offset = divmod(place, _OFFSETS)
    topic, partition = divmod(lane, _PARTITIONS)
    return topic, partition, offset


def settled(operations: NDArray[np.void], log: NDArray[np.void]) -> NDArray[np.void]:
    """Return the operations, tries that worked in a transaction that did not take effect turned unknown: their effect was undone.

    Transactions without a write of which nobody learned the end keep their tries.
    """
    found = Transactions(operations, log)
    undone = ~found.took_effect & (found.aborted | (found.hidden > 0))
    ids = found.ids[undone]
    if not len(ids):
        return operations
    worked = (operations["kind"] == Kind.try_) & (operations["outcome"] == Outcome.ok)
    gone = worked & np.isin(operations["transaction_id"], ids)
    operations = operations.copy()
    operations["outcome"][gone] = Outcome.unknown
    return operations
