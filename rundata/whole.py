"""What no part of a run tells by itself: commits, how far groups have read, what each partition still holds; gathered in blocks of rows."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.operations import blocks
from rundata.rows import NEVER, NONE, Kind, Outcome
from rundata.tables import RunData
from scenarios.plan import NO_KEY
from scenarios.retries import all_topics, most_partitions

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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

    # ---- operations

    @cached_property
    def commits(self) -> dict[tuple[int, int], tuple[Ints, Ints]]:
        """By group and partition: when each commit ended, and its offset; in the order of time."""
        parts = [
            rows[(rows["kind"] == Kind.commit) & (rows["outcome"] == Outcome.ok) & (rows["ended_ns"] != NEVER)]
            for rows in blocks(self.run.operations)
        ]
        rows = np.concatenate([self.run.operations[:0], *parts])
        rows = rows[(rows["topic"] >= 0) & (rows["partition"] >= 0) & (rows["group"] >= 0)]
        partition = self.first_partition[rows["topic"]] + rows["partition"]
        group, ended, offset = rows["group"].astype(np.int64), rows["ended_ns"], rows["offset"]
        # Of commits at one instant the highest counts as the last: that is where a group moves.
        order = np.lexsort((offset, ended, partition, group))
        owner = (group * self.partitions + partition)[order]
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        ended, offset = ended[order], offset[order]
        slices = zip(starts, np.append(starts, len(owner))[1:], strict=True)
        return {divmod(int(owner[a]), self.partitions): (ended[a:b], offset[a:b]) for a, b in slices}

    @cached_property
    def highest_read(self) -> Ints:
        """By group and partition: the highest offset that was delivered; NONE where nothing was."""
        highest = np.full((self.groups, self.partitions), NONE, np.int64)
        for block in blocks(self.run.operations):
            event = block["event_id"]
            read = (block["kind"] == Kind.delivery) & (event >= 0) & (event < len(self.plan)) & (block["offset"] >= 0)
            rows = block[read & (block["topic"] < len(self.scenario.topics))]
            partition = self.first_partition[rows["topic"]] + rows["partition"]
            np.maximum.at(highest, (rows["group"], partition), rows["offset"])
        return highest

    @cached_property
    def transactional(self) -> NDArray[np.void]:
        """The operations that belong to a transaction."""
        parts = [rows[rows["transaction_id"] != NONE] for rows in blocks(self.run.operations)]
        return np.concatenate([self.run.operations[:0], *parts])

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
        topics = self.scenario.topics
        policies = [str(topics[name].settings.get("cleanup.policy", "")) for name in self.plan.topics]
        return np.asarray(["compact" in policy for policy in policies], np.bool_)

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
