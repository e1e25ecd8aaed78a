"""What no part of a run tells by itself: commits, how far groups have read, what each partition still holds; gathered in blocks of rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.operations import blocks, taken
from rundata.rows import NEVER, NONE, Kind, Outcome
from rundata.tables import RunData
from scenarios.clients import is_compacted
from scenarios.plan import NO_KEY
from scenarios.retries import all_topics, most_partitions

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Commits = dict[tuple[int, int], tuple[Ints, Ints]]
"""By group and partition: when each commit ended, and its offset; in the order of time."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What is gathered in one reading of the operations, a block at a time: reading them takes longer than most questions about them."""

    in_order: bool
    """Whether they are in the order of their start."""
    commits: NDArray[np.void]
    transactional: NDArray[np.void]
    highest_read: Ints
    spans: Ints
    """By block: the first and the last event of the plan, and whether rows of others are in it."""
    lane: NDArray[Any]
    """By row: the partition that a send or a delivery is about; NONE for all else."""

    @classmethod
    def of(cls, whole: "Whole") -> "Survey":
        """Read the operations of a run."""
        rows, first, events = whole.run.operations, whole.first_partition, len(whole.plan)
        lane: NDArray[Any] = np.empty(len(rows), np.int16 if whole.partitions < 2**15 else np.int32)
        highest = np.full((whole.groups, whole.partitions), NONE, np.int64)
        commits, transactional, spans = [rows[:0]], [rows[:0]], list[tuple[int, int, int]]()
        in_order, last_ns, at = True, -(2**63), 0
        for block in blocks(rows):
            started, event = (np.ascontiguousarray(block[name]) for name in ("started_ns", "event_id"))
            kind, topic, partition = (np.ascontiguousarray(block[name]) for name in ("kind", "topic", "partition"))
            in_order = in_order and bool(started[0] >= last_ns) and not np.any(started[1:] < started[:-1])
            last_ns = int(started[-1])
            spans.append(span_of(event, events))
            placed = ((kind == Kind.send) | (kind == Kind.delivery)) & (partition >= 0) & (topic >= 0)
            own = lane[at : at + len(block)] = np.where(placed, first[topic] + partition, NONE)
            at += len(block)
            known = (event >= 0) & (event < events)
            read = placed & known & (kind == Kind.delivery) & (topic < len(whole.scenario.topics))
            offset = block["offset"][read]
            np.maximum.at(highest, (block["group"][read][offset >= 0], own[read][offset >= 0]), offset[offset >= 0])
            of_commits = np.flatnonzero(kind == Kind.commit)
            if len(of_commits):
                some = taken(block, of_commits)
                commits.append(some[(some["outcome"] == Outcome.ok) & (some["ended_ns"] != NEVER)])
            of_transactions = np.flatnonzero(block["transaction_id"] != NONE)
            if len(of_transactions):
                transactional.append(taken(block, of_transactions))
        return cls(
            in_order,
            np.concatenate(commits),
            np.concatenate(transactional),
            highest,
            np.asarray(spans, np.int64).reshape(-1, 3),
            lane,
        )


def span_of(event: Ints, events: int) -> tuple[int, int, int]:
    """Return the first and the last event of the plan that rows are about, and whether some are about others."""
    known = event[(event >= 0) & (event < events)]
    strange = int(len(known) < len(event))
    return (int(known.min()), int(known.max()), strange) if len(known) else (events, NONE, strange)


class Whole:
    """Facts of a whole run. Events are numbered as in the plan, partitions over all topics in file order."""

    def __init__(self, run: RunData) -> None:
        self.run = run
        self.plan = run.plan
        self.scenario = run.plan.scenario
        self.groups = len(run.names.groups)

    @cached_property
    def first_partition(self) -> Ints:
        """Number of each topic's partition 0 when all partitions are numbered in file order; the last entry is their count."""
        counts = [most_partitions(self.scenario, name) for name in all_topics(self.scenario)]
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return int(self.first_partition[-1])

    @cached_property
    def sent(self) -> set[str]:
        """Topics that producers or groups send events to."""
        emitted = {emits.topic for group in self.scenario.groups.values() for emits in group.emits}
        return emitted | {producer.topic for producer in self.scenario.producers.values()}

    @cached_property
    def read(self) -> set[str]:
        """Topics that groups read."""
        return {topic for group in self.scenario.groups.values() for topic in group.topics}

    # ---- operations

    @cached_property
    def survey(self) -> "Survey":
        """What one reading of all operations tells."""
        return Survey.of(self)

    @cached_property
    def commits(self) -> Commits:
        """By group and partition: when each commit ended, and its offset; in the order of time."""
        rows = self.survey.commits
        rows = rows[(rows["topic"] >= 0) & (rows["partition"] >= 0) & (rows["group"] >= 0)]
        partition = self.first_partition[rows["topic"]] + rows["partition"]
        return self.commits_by_owner(rows["group"].astype(np.int64), partition, rows["ended_ns"], rows["offset"])

    def commits_by_owner(self, group: Ints, partition: Ints, ended: Ints, offset: Ints) -> Commits:
        """Return commits by group and partition, in the order of time."""
        owner = group * self.partitions + partition
        if self.groups * self.partitions < 2**15:  # small numbers are sorted quickly
            owner = owner.astype(np.int16)
        order = np.argsort(owner, kind="stable")
        owner, ended, offset = owner[order], ended[order], offset[order]
        # As a rule they come in the order of time.
        falls = (ended[1:] < ended[:-1]) | ((ended[1:] == ended[:-1]) & (offset[1:] < offset[:-1]))
        if (falls & (owner[1:] == owner[:-1])).any():
            # Of commits at one instant the highest counts as the last: that is where a group moves.
            order = np.lexsort((offset, ended, owner))
            owner, ended, offset = owner[order], ended[order], offset[order]
        starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1])[: len(owner)])
        slices = zip(starts, np.append(starts, len(owner))[1:], strict=True)
        return {divmod(int(owner[a]), self.partitions): (ended[a:b], offset[a:b]) for a, b in slices}

    @property
    def highest_read(self) -> Ints:
        """By group and partition: the highest offset that was delivered; NONE where nothing was."""
        return self.survey.highest_read

    @property
    def transactional(self) -> NDArray[np.void]:
        """The operations that belong to a transaction."""
        return self.survey.transactional

    # ---- the log

    def _logged(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Yield event, partition and time of records of plan events in their own topic, aborted ones apart."""
        topic = self.plan.topic
        for log in blocks(self.run.log):
            event = np.ascontiguousarray(log["event_id"])
            mine = (event >= 0) & (event < len(self.plan)) & (log["aborted"] == 0)
            mine[mine] &= log["topic"][mine] == topic[event[mine]]
            yield event[mine], (self.first_partition[log["topic"]] + log["partition"])[mine], log["time_ns"][mine]

    @cached_property
    def logged_span(self) -> tuple[Ints, Ints]:
        """By partition: the first and the last event of the plan that it still holds."""
        oldest = np.full(self.partitions + 1, NEVER, np.int64)
        newest = np.full(self.partitions + 1, NONE, np.int64)
        for event, partition, _ in self._logged():
            np.minimum.at(oldest, partition, event)
            np.maximum.at(newest, partition, event)
        return oldest, newest

    @cached_property
    def oldest_left_ns(self) -> Ints:
        """By partition: the time of the oldest record that it still holds."""
        oldest = np.full(self.partitions, NEVER, np.int64)
        for log in blocks(self.run.log):
            np.minimum.at(oldest, self.first_partition[log["topic"]] + log["partition"], log["time_ns"])
        return oldest

    @cached_property
    def compacted(self) -> Bools:
        """By topic of the plan: whether it is compacted."""
        return np.asarray([is_compacted(self.scenario, name) for name in self.plan.topics], np.bool_)

    @cached_property
    def latest_of_key(self) -> Ints:
        """By producer and key of compacted topics, see `key_of`: the last event that is in the log; NONE where none is."""
        plan = self.plan
        latest = np.full(len(plan.producers) * (int(plan.key.max(initial=0)) + 1), NONE, np.int64)
        for event, _, _ in self._logged():
            there = event[self.compacted[plan.topic[event]] & (plan.key[event] != NO_KEY)]
            np.maximum.at(latest, self.key_of(plan.producer[there], plan.key[there]), there)
        return latest

    def key_of(self, producer: NDArray[Any], key: Ints) -> Ints:
        """Return the number of a producer's key among all producers' keys."""
        return producer.astype(np.int64) * self._keys + key

    @cached_property
    def _keys(self) -> int:
        return int(self.plan.key.max(initial=0)) + 1

    def line_of(self, group: Ints, producer: NDArray[Any], process: NDArray[Any], key: Ints) -> Ints:
        """Return the number of a line of events whose effects should come in order: of one group, producer process and key."""
        owner = (group * len(self.plan.producers) + producer) * (self._processes + 1) + process
        lines: Ints = owner * self._keys + key
        return lines

    @cached_property
    def _processes(self) -> int:
        return int(self.plan.process.max(initial=0))


class Told(Whole):
    """A whole whose operations do not lie in memory; what groups committed is told in another way."""

    def __init__(self, run: RunData, commits: Callable[[Whole], Commits]) -> None:
        super().__init__(run)
        self._told = commits

    @cached_property
    def commits(self) -> Commits:
        """By group and partition: when each commit ended, and its offset; in the order of time."""
        return self._told(self)
