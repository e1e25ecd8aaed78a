"""What is deleted from topics: by retention, segment by segment, whenever a broker looks; and by hand, up to an offset."""

import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from scenarios.clients import broker_setting, may_expire, topic_setting
from scenarios.faults import DeleteRecords, Retention
from scenarios.quantities import MILLISECOND
from sim import kernel
from sim.clock import Control
from sim.world import L_EVENT, L_REQUEST, L_TIME, LEADER, LOG_LEN, LOG_START, NONE, V_SIZE, VISIBLE_END

if TYPE_CHECKING:
    from sim.system import Replicas, System

Process = Generator[simpy.Event, Any, None]
BATCH_BYTES, RECORD_BYTES = 61, 16
"""What a batch, and about what a record with its key, adds to its value's size in a segment."""


@dataclass
class Segment:
    """A stretch of a partition's log that is deleted as a whole."""

    end: int
    size: int
    first_ns: int
    """Of its first batch."""
    latest_ns: int
    """Of its latest record."""


class Deletion:
    """Retention and deletion of one system's records."""

    def __init__(self, system: "System") -> None:
        self.system, self.scenario = system, system.plan.scenario
        self.segments: dict[int, list[Segment]] = {p.number: [] for p in system.partitions if p.is_users}
        """By partition: what is left of it and was visible at the latest look."""
        self.rolled = dict.fromkeys(self.segments, 0)
        """By partition: up to where that was."""

    def begin(self) -> None:
        """Let brokers look for what has expired, where something can, and start the faults."""
        if may_expire(self.scenario):
            for broker in range(1, self.scenario.brokers.nodes + 1):
                self.system.clock.process(self._looks(broker))
        for index, planned in enumerate(self.system.plan.faults):
            if isinstance(planned.fault, DeleteRecords):
                self.system.targets[index] = str(planned.fault.partition or planned.fault.topic)
                self.system.clock.process(self._delete(index, planned.fault))

    def _looks(self, broker: int) -> Process:
        """Let a broker look, time and again, for segments of what it leads that nobody keeps any more."""
        interval_ns = int(broker_setting(self.scenario, "log.retention.check.interval.ms")) * MILLISECOND
        for look in itertools.count():
            at_ns = self.system.draws.retention_look_ns(broker) + look * interval_ns
            yield self.system.clock.control(at_ns, Control.retention, broker)
            for partition in self.system.partitions:
                leads = int(self.system.world.part[partition.number, LEADER]) == broker
                if partition.is_users and leads and broker not in self.system.down:
                    self._expire(partition)

    def _expire(self, partition: "Replicas") -> None:
        """Delete the oldest segments of a partition that are older than retention.ms, or beyond retention.bytes."""
        segments, start = self._rolled(partition), int(self.system.world.part[partition.number, LOG_START])
        while len(segments) > 1 and segments[0].end <= start:
            del segments[0]
        kept_ns = self._retention_ns(partition.topic)
        while self._may_go(partition) and 0 <= kept_ns < self.system.clock.now - segments[0].latest_ns:
            start = segments.pop(0).end
        kept_bytes = int(topic_setting(self.scenario, self.system.owner_of(partition.topic), "retention.bytes"))
        beyond = sum(segment.size for segment in segments) - kept_bytes
        while self._may_go(partition) and kept_bytes >= 0 and beyond >= segments[0].size:
            beyond -= segments[0].size
            start = segments.pop(0).end
        self._delete_below(partition, start, "retention")

    def _may_go(self, partition: "Replicas") -> bool:
        """Whether there is a segment that is visible as a whole."""
        segments, part = self.segments[partition.number], self.system.world.part[partition.number]
        return len(segments) > 1 or (bool(segments) and int(part[LOG_LEN]) == int(part[VISIBLE_END]))

    def _retention_ns(self, topic: str) -> int:
        """Return how long a topic keeps its records now; negative is for ever."""
        own, now = self.system.owner_of(topic), self.system.clock.now
        kept_ns = int(topic_setting(self.scenario, own, "retention.ms")) * MILLISECOND
        for planned in self.system.plan.faults:
            fault = planned.fault
            if isinstance(fault, Retention) and fault.topic == topic and planned.begin_ns <= now < planned.end_ns:
                kept_ns = fault.to
        return kept_ns

    def _rolled(self, partition: "Replicas") -> list[Segment]:
        """Return a partition's segments, with what has become visible since the last look."""
        segments, topic = self.segments[partition.number], self.system.owner_of(partition.topic)
        begin, self.rolled[partition.number] = (
            self.rolled[partition.number],
            int(self.system.world.part[partition.number, VISIBLE_END]),
        )
        most_bytes = int(topic_setting(self.scenario, topic, "segment.bytes"))
        most_ns = int(topic_setting(self.scenario, topic, "segment.ms")) * MILLISECOND
        for end, size, at_ns in self._batches(partition.number, begin):
            last = segments[-1] if segments else None
            if last is None or last.size + size > most_bytes or at_ns - last.first_ns > most_ns:
                segments.append(Segment(end, size, at_ns, at_ns))
            else:
                last.end, last.size, last.latest_ns = end, last.size + size, max(last.latest_ns, at_ns)
        return segments

    def _batches(self, number: int, begin: int) -> Iterator[tuple[int, int, int]]:
        """Yield end, size and latest time of each visible batch from an offset on."""
        world = self.system.world
        records = world.log[number, begin : int(world.part[number, VISIBLE_END])]
        if not len(records):
            return
        firsts = np.flatnonzero(np.diff(records[:, L_REQUEST], prepend=NONE))
        sizes = np.add.reduceat(world.identity[records[:, L_EVENT], V_SIZE] + RECORD_BYTES, firsts)
        latest = np.maximum.reduceat(records[:, L_TIME], firsts)
        ends = np.append(firsts[1:], len(records)) + begin
        yield from zip(ends.tolist(), (sizes + BATCH_BYTES).tolist(), latest.tolist(), strict=True)

    # ---- by hand -----------------------------------------------------------------------------------------------------

    def _delete(self, index: int, fault: DeleteRecords) -> Process:
        """Delete the records of a topic, or a partition, up to a place that is visible."""
        yield self.system.clock.control(self.system.plan.faults[index].begin_ns, Control.begin, index)
        firsts = []
        for partition in self.system.partitions:
            leader = int(self.system.world.part[partition.number, LEADER])
            is_meant = partition.name == str(fault.partition) or partition.topic == fault.topic
            if is_meant and partition.is_users and leader != NONE and leader not in self.system.down:
                self._delete_below(partition, self.system.offset_of(partition.number, fault.up_to), "deleted by hand")
                firsts.append(f"{partition.name}: {int(self.system.world.part[partition.number, LOG_START])}")
        self.system.prove(index, "first offset now " + ", ".join(firsts) if firsts else "no effect: nobody led it")

    def _delete_below(self, partition: "Replicas", offset: int, cause: str) -> None:
        world = self.system.at_now()
        if offset > int(world.part[partition.number, LOG_START]):
            self.system.incident("expired", partition.name, f"first offset {offset}", cause)
            kernel.delete_below(world, partition.number, offset)
