"""What is deleted from topics: by retention, segment by segment, whenever a broker looks; and by hand, up to an offset."""

import itertools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from scenarios.clients import broker_setting, may_expire, topic_setting
from scenarios.faults import DeleteRecords, Retention
from scenarios.quantities import MILLISECOND
from sim import kernel
from sim.clock import Control
from sim.segments import Segments
from sim.world import LEADER, LOG_LEN, LOG_START, NONE, VISIBLE_END

if TYPE_CHECKING:
    from sim.replicas import Replicas
    from sim.system import System

Process = Generator[simpy.Event, Any, None]


class Deletion:
    """Retention and deletion of one system's records."""

    def __init__(self, system: "System", segments: Segments) -> None:
        self.system, self.scenario, self.segments = system, system.plan.scenario, segments

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
                may = leads and broker not in self.system.down
                if partition.is_users and may and self.system.deletes(partition.topic):
                    self._expire(partition, self.system.wrong_clocks.now_of(broker))

    def _expire(self, partition: "Replicas", now_ns: int) -> None:
        """Delete the oldest segments of a partition that are older than retention.ms, or beyond retention.bytes."""
        segments, start = self.segments.of(partition), int(self.system.world.part[partition.number, LOG_START])
        kept_ns = self._retention_ns(partition.topic)
        while self._may_go(partition) and 0 <= kept_ns < now_ns - segments[0].latest_ns:
            start = segments.pop(0).end
        kept_bytes = int(topic_setting(self.scenario, self.system.owner_of(partition.topic), "retention.bytes"))
        beyond = sum(segment.size for segment in segments) - kept_bytes
        while self._may_go(partition) and kept_bytes >= 0 and beyond >= segments[0].size:
            beyond -= segments[0].size
            start = segments.pop(0).end
        self._delete_below(partition, start, "retention")

    def _may_go(self, partition: "Replicas") -> bool:
        """Whether there is a segment that is visible as a whole."""
        segments, part = self.segments.known[partition.number], self.system.world.part[partition.number]
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

    # ---- by hand -----------------------------------------------------------------------------------------------------

    def _delete(self, index: int, fault: DeleteRecords) -> Process:
        """Delete the records of a topic, or a partition, up to a place that is visible."""
        yield self.system.clock.control(self.system.plan.faults[index].begin_ns, Control.begin, index)
        firsts = []
        for partition in self.system.partitions:
            leader = int(self.system.world.part[partition.number, LEADER])
            is_meant = partition.name == str(fault.partition) or partition.topic == fault.topic
            if is_meant and partition.is_users and leader != NONE and leader not in self.system.down:
                self._delete_below(
                    partition, self.system.log_ends.number_at(partition.number, fault.up_to), "deleted by hand"
                )
                firsts.append(f"{partition.name}: {int(self.system.world.part[partition.number, LOG_START])}")
        self.system.prove(index, "first offset now " + ", ".join(firsts) if firsts else "no effect: nobody led it")

    def _delete_below(self, partition: "Replicas", offset: int, cause: str) -> None:
        world = self.system.at_now()
        if offset > int(world.part[partition.number, LOG_START]):
            self.system.incident("expired", partition.name, f"first offset {offset}", cause)
            kernel.delete_below(world, partition.number, offset)
