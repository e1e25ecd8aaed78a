"""Deletion in the plain model: retention by segments, whenever a broker looks, and records deleted by hand."""

import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simpy

from plain_brokers import Partition
from plain_clock import Control
from scenarios.clients import broker_setting, may_expire, topic_setting
from scenarios.faults import DeleteRecords, Retention
from scenarios.quantities import MILLISECOND

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]
BATCH_BYTES, RECORD_BYTES = 61, 16
"""What a batch, and a record with its key, adds to its value's size."""


@dataclass(frozen=True)
class Batch:
    """What a request brought to a log: up to which offset, how large, and when its latest record was handed over."""

    end: int
    size: int
    left: int
    """What is left of its size after compaction."""
    latest_ns: int


Segment = list[Batch]


class Deletion:
    """What is deleted from a model's partitions."""

    def __init__(self, model: "Model") -> None:
        self.model, self.scenario = model, model.plan.scenario
        if may_expire(self.scenario):
            for broker in model.brokers:
                model.clock.process(self._looks(broker))
        for index, planned in enumerate(model.plan.faults):
            if isinstance(planned.fault, DeleteRecords) and model.rules.deleted_by_hand:
                model.clock.process(self._delete_by_hand(index, planned.fault))

    def _partitions(self) -> list[Partition]:
        return [partition for several in self.model.partitions.values() for partition in several]

    def _looks(self, broker: int) -> Process:
        interval_ns = int(broker_setting(self.scenario, "log.retention.check.interval.ms")) * MILLISECOND
        for look in itertools.count():
            at_ns = self.model.draws.retention_look_ns(broker) + look * interval_ns
            yield self.model.clock.control(at_ns, Control.retention, broker)
            for partition in self._partitions():
                may = partition.leader == broker and broker not in self.model.down and self.model.rules.retention
                if may and "delete" in str(self.setting(partition, "cleanup.policy")):
                    self._expire(partition, self.model.wrong_clocks.now_of(broker))

    def _expire(self, partition: Partition, now_ns: int) -> None:
        """Delete segments from the oldest on: those that are too old, then those beyond the size to keep."""
        segments, offset = self.segments(partition), partition.start
        kept_ns = self._setting(partition, "retention.ms") * MILLISECOND
        for planned in self.model.plan.faults:
            fault = planned.fault
            if isinstance(fault, Retention) and fault.topic == partition.topic and self.model.rules.retention_changes:
                kept_ns = fault.to if planned.begin_ns <= self.model.clock.now < planned.end_ns else kept_ns
        while self._may_go(partition, segments) and 0 <= kept_ns < now_ns - self._latest_ns(segments[0]):
            self.model.fired["segment expired"] += 1
            offset = self._delete(partition, segments)
        kept_bytes = self._setting(partition, "retention.bytes")
        beyond = sum(map(self._size, segments)) - kept_bytes
        if not self.model.rules.retention_by_bytes:
            kept_bytes = -1
        while self._may_go(partition, segments) and kept_bytes >= 0 and beyond >= self._size(segments[0]):
            self.model.fired["segment beyond retention.bytes"] += 1
            beyond -= self._size(segments[0])
            offset = self._delete(partition, segments)
        partition.delete_below(offset)

    def _may_go(self, partition: Partition, segments: list[Segment]) -> bool:
        is_all_visible = len(partition.log) == partition.visible_end
        goes = is_all_visible and self.model.rules.last_segment_goes
        return len(segments) > 1 or (bool(segments) and goes)

    def _delete(self, partition: Partition, segments: list[Segment]) -> int:
        """Take the oldest segment away; what comes after the last one begins a new one."""
        gone = segments.pop(0)
        partition.rolls.add(gone[-1].end)
        return gone[-1].end

    def setting(self, partition: Partition, name: str) -> Any:
        """Return a setting of a partition's topic; a retry topic is as the one that it belongs to."""
        own = partition.topic.rsplit(".retry.", 1)[0] if partition.copy else partition.topic
        return topic_setting(self.scenario, own, name)

    def _setting(self, partition: Partition, name: str) -> int:
        return int(self.setting(partition, name))

    def segments(self, partition: Partition) -> list[Segment]:
        """Return what is left: a new segment begins where a batch does not fit, is much younger than the first, or the rest is gone."""
        most_bytes = self._setting(partition, "segment.bytes")
        most_ns = self._setting(partition, "segment.ms") * MILLISECOND
        if "compact" in str(self.setting(partition, "cleanup.policy")):
            most_ns = min(most_ns, self._setting(partition, "max.compaction.lag.ms") * MILLISECOND)
        segments: list[Segment] = []
        for batch in self.batches(partition):
            last = segments[-1] if segments else None
            goes_on = (
                last is not None
                and last[-1].end not in partition.rolls
                and (self._fits(last, batch, most_bytes, most_ns) or not self.model.rules.segments_roll)
                and self.model.rules.whole_segments
            )
            if last is not None and goes_on:
                last.append(batch)
            else:
                self.model.fired["segment rolled"] += last is not None
                segments.append([batch])
        while len(segments) > 1 and segments[0][-1].end <= partition.start:
            del segments[0]
        return segments

    def _fits(self, segment: Segment, batch: Batch, most_bytes: int, most_ns: int) -> bool:
        is_small = sum(batch.size for batch in segment) + batch.size <= most_bytes
        return is_small and batch.latest_ns - segment[0].latest_ns <= most_ns

    def batches(self, partition: Partition) -> Iterator[Batch]:
        """Yield what is visible, request by request."""
        end = 0
        for _, group in itertools.groupby(partition.log[: partition.visible_end], lambda record: id(record.request)):
            records = list(group)
            end += len(records)
            values = [self.model.record_size(record.event) for record in records]
            size = sum(values) + BATCH_BYTES + RECORD_BYTES * len(records)
            left = sum(v + RECORD_BYTES for v, record in zip(values, records, strict=True) if not record.gone)
            left += BATCH_BYTES if left else 0
            yield Batch(end, size, left, max(record.stamp_ns for record in records))

    def _size(self, segment: Segment) -> int:
        return sum(batch.left for batch in segment)

    def _latest_ns(self, segment: Segment) -> int:
        return max(batch.latest_ns for batch in segment)

    # ---- by hand -----------------------------------------------------------------------------------------------------

    def _delete_by_hand(self, index: int, fault: DeleteRecords) -> Process:
        yield self.model.clock.control(self.model.plan.faults[index].begin_ns, Control.begin, index)
        for partition in self._partitions():
            is_meant = str(partition) == str(fault.partition) or partition.topic == fault.topic
            if is_meant and partition.leader is not None and partition.leader not in self.model.down:
                self.model.fired["deleted by hand"] += 1
                partition.delete_below(self._place(partition, fault))

    def _place(self, partition: Partition, fault: DeleteRecords) -> int:
        end = partition.visible_end
        match fault.up_to.place:
            case "offset":
                return min(partition.number_of(fault.up_to.value), end)
            case "ago":
                since_ns = self.model.clock.now - fault.up_to.value
                there = [n for n in range(partition.start, end) if not partition.log[n].gone]
                return next((n for n in there if partition.log[n].stamp_ns >= since_ns), end)
            case "latest":
                return end
            case "earliest":
                return 0
