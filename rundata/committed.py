"""How far groups had committed less than could be read, of a run that comes in parts: second by second, as far as later parts cannot change it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.backlog import CommittedLags
from rundata.books import Books
from rundata.measurement import Ints
from rundata.partials import scopes_told
from rundata.rows import NONE
from rundata.scopes import Scope
from scenarios.quantities import SECOND

_CELLS_AT_ONCE = 1 << 16
"""So many seconds, groups and partitions are looked at together."""


@dataclass(frozen=True, eq=False)
class CommitRows:
    """Commits, those of each group and partition in the order of time."""

    group: Ints
    partition: Ints
    ended_ns: Ints
    offset: Ints

    @classmethod
    def of(cls, commits: Mapping[tuple[int, int], tuple[Ints, Ints]]) -> "CommitRows":
        """Return commits that are known by group and partition, in the order of their ends."""
        nothing = np.zeros(0, np.int64)
        counts = np.array([len(ended) for ended, _ in commits.values()], np.int64)
        ended = np.concatenate([nothing, *(ended for ended, _ in commits.values())])
        order = np.argsort(ended, kind="stable")

        def of_each(numbers: Iterable[int]) -> NDArray[Any]:
            return np.repeat(np.fromiter(numbers, np.int32, len(counts)), counts)[order]

        group, partition = of_each(group for group, _ in commits), of_each(partition for _, partition in commits)
        offset = np.concatenate([nothing, *(offset for _, offset in commits.values())])
        return cls(group, partition, ended[order], offset[order])

    def joined(self, other: "CommitRows") -> "CommitRows":
        """Return all of them in the order of their ends, equal ones as they come."""
        columns = (np.concatenate([getattr(self, one.name), getattr(other, one.name)]) for one in fields(self))
        found = CommitRows(*columns)
        return found.where(np.argsort(found.ended_ns, kind="stable"))

    def where(self, chosen: "slice | Ints") -> "CommitRows":
        """Return some of them."""
        return CommitRows(*(getattr(self, one.name)[chosen] for one in fields(self)))


class SummedLags(CommittedLags):
    """The lags at each second of the measured time, from the records and commits of parts that come in the order of time."""

    def __init__(self, frame: Books) -> None:
        scenario, first = frame.scenario, frame.first_partition
        self._frame, self._first = frame, first
        self._seconds = np.arange(scenario.warm_up, scenario.duration + 1, SECOND)
        self._told = 0
        """So many seconds are told."""
        shape = len(frame.groups), int(first[-1])
        self._reads = np.zeros(shape, np.bool_)
        for group, name in enumerate(frame.groups):
            for topic in scenario.groups[name].topics:
                number = frame.plan.topics.index(topic)
                self._reads[group, first[number] : first[number + 1]] = True
        self._high, self._committed = np.zeros(shape[1], np.int64), np.zeros(shape, np.int64)
        self._totals = {
            (scope.kind, scope.number): np.zeros(len(self._seconds), np.int64)
            for scope in scopes_told(frame, "committed_lag")
        }
        self._second, self._partition, self._end = (np.zeros(0, np.int64) for _ in range(3))
        """Of records that could be read later than the second that is told next: the second from which on, their partition, and where they end."""
        self._commits: CommitRows | None = None

    def take(self, books: Books, until_ns: int, commits: CommitRows | None) -> None:
        """Add a part; later ones are about what could be read from an instant on. Commits are all known where they come with no part."""
        if self._commits is None:
            self._commits = CommitRows.of({} if commits is not None else self._frame.commits)
        if commits is not None:
            self._commits = self._commits.joined(commits)
        records, seen_ns = books.records, books.sends.acked_ns
        if len(books.groups):
            seen_ns = np.minimum(seen_ns, books.handling.delivered_ns.min(axis=0))
        self._second = np.append(self._second, np.searchsorted(self._seconds, seen_ns[records.event]))
        self._partition = np.append(self._partition, records.partition)
        self._end = np.append(self._end, records.offset + 1)
        last = int(np.searchsorted(self._seconds, until_ns))
        self._in_order()
        limits_ns = self._seconds[np.minimum(np.arange(self._told, last + 1), len(self._seconds) - 1)]
        read = np.searchsorted(self._second, np.arange(self._told, last + 1), side="right")
        made = np.searchsorted(self._commits.ended_ns, limits_ns, side="right")
        at_once = max(1, _CELLS_AT_ONCE // max(1, self._committed.size))
        for number in range(0, len(read), at_once):
            some, before = slice(number, number + at_once), max(0, number - 1)
            high = self._highest(int(read[before]) if number else 0, read[some])
            committed = self._latest(self._commits, int(made[before]) if number else 0, made[some])
            self._high, self._committed = high[-1], committed[-1]
            rest = last - self._told
            self._tell(high[:rest], committed[:rest])
        self._second, self._partition, self._end = (
            column[read[-1] :] for column in (self._second, self._partition, self._end)
        )
        self._commits = self._commits.where(slice(made[-1], None))

    def _in_order(self) -> None:
        """Put records into the order of the seconds from which on they count."""
        order = np.argsort(self._second, kind="stable")
        self._second, self._partition, self._end = (
            column[order] for column in (self._second, self._partition, self._end)
        )

    def _highest(self, first: int, ends: Ints) -> Ints:
        """Return by second and partition up to where it can be read; records from `first` to before `ends` count from that second on."""
        high = np.zeros((len(ends), len(self._high)), np.int64)
        high[0] = self._high
        second, some = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=first)), slice(first, int(ends[-1]))
        np.maximum.at(high, (second, self._partition[some]), self._end[some])
        return np.maximum.accumulate(high, axis=0, out=high)

    def _latest(self, rows: CommitRows, first: int, ends: Ints) -> Ints:
        """Return the same of what is committed, by second, group and partition."""
        shape = (len(ends), *self._committed.shape)
        if ends[-1] == first:
            return np.broadcast_to(self._committed, shape)
        second, some = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=first)), slice(first, int(ends[-1]))
        place = np.full(shape, NONE, np.int64)
        # Of several of one partition the last one stays.
        place[second, rows.group[some], rows.partition[some]] = np.arange(first, int(ends[-1]))
        np.maximum.accumulate(place, axis=0, out=place)
        return np.where(place == NONE, self._committed, rows.offset[place])

    def _tell(self, high: Ints, committed: Ints) -> None:
        """Tell the next seconds."""
        lags = np.where(self._reads, np.maximum(high[:, np.newaxis] - committed, 0), 0)
        first, seconds = self._first, slice(self._told, self._told + len(lags))
        for (kind, number), totals in self._totals.items():
            match kind:
                case "group":
                    own = lags[:, number : number + 1]
                case "topic":
                    own = lags[:, :, first[number] : first[number + 1]]
                case "partition":
                    own = lags[:, :, number : number + 1]
                case _:
                    own = lags
            totals[seconds] = own.sum(axis=(1, 2))
        self._told += len(lags)

    def at(self, scope: Scope, times_ns: Ints) -> Ints:
        """Return a scope's lag at the seconds of the measured time."""
        assert np.array_equal(times_ns, self._seconds), "nobody said that other instants would be asked for"
        return self._totals[scope.kind, scope.number]
