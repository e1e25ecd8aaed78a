"""Compaction in the plain model: whenever a broker's cleaner looks, full segments of what it leads keep the last record of each key."""

import itertools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_brokers import Partition, Record
from plain_clock import Control
from plain_deletion import Deletion, Segment
from scenarios.clients import broker_setting, topic_setting
from scenarios.quantities import MILLISECOND

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


class Compaction:
    """The log cleaners of a model's brokers."""

    def __init__(self, model: "Model", deletion: Deletion) -> None:
        self.model, self.deletion = model, deletion
        self.clean_to: dict[Partition, int] = {}
        scenario = model.plan.scenario
        policies = [str(topic_setting(scenario, topic, "cleanup.policy")) for topic in scenario.topics]
        for broker in model.brokers if any("compact" in policy for policy in policies) else ():
            model.clock.process(self._looks(broker))

    def _looks(self, broker: int) -> Process:
        model = self.model
        interval_ns = int(broker_setting(model.plan.scenario, "log.cleaner.backoff.ms")) * MILLISECOND
        for look in itertools.count():
            at_ns = model.draws.cleaner_look_ns(broker) + look * interval_ns
            yield model.clock.control(at_ns, Control.cleaning, broker)
            for partition in (p for several in model.partitions.values() for p in several):
                is_its = partition.leader == broker and broker not in model.down
                if is_its and "compact" in str(self.deletion.setting(partition, "cleanup.policy")):
                    self._clean_if_dirty(partition, self.model.wrong_clocks.now_of(broker))

    def _clean_if_dirty(self, partition: Partition, now_ns: int) -> None:
        segments = self.deletion.segments(partition)
        closed = segments[:-1] if self.model.rules.last_segment_is_kept else segments
        start = self._begin(partition, closed[0]) if closed else 0
        first_dirty = max(self.clean_to.get(partition, 0), start)
        dirty = [segment for segment in closed if segment[-1].end > first_dirty]
        cleanable = list(itertools.takewhile(lambda segment: self._may_be_cleaned(partition, segment, now_ns), dirty))
        if not cleanable:
            return
        dirty_bytes = self._bytes(cleanable)
        all_bytes = dirty_bytes + self._bytes([segment for segment in closed if segment[-1].end <= first_dirty])
        longest_ns = int(self.deletion.setting(partition, "max.compaction.lag.ms")) * MILLISECOND
        is_overdue = min(segment[0].latest_ns for segment in dirty) < now_ns - longest_ns
        is_overdue &= self.model.rules.overdue_is_compacted
        least = float(self.deletion.setting(partition, "min.cleanable.dirty.ratio"))
        self.model.fired["compaction is overdue"] += is_overdue
        is_dirty = bool(dirty_bytes) and dirty_bytes / all_bytes > least
        if not (is_overdue or is_dirty or not self.model.rules.least_dirty):
            self.model.fired["too little to compact"] += 1
            return
        end = self.clean_to[partition] = cleanable[-1][-1].end
        if self.model.rules.compaction:
            self._keep_the_last_of_each_key(partition, max(start, partition.start), end)

    def _begin(self, partition: Partition, segment: Segment) -> int:
        """Return where a segment begins: behind all whole batches before it."""
        ends = [batch.end for batch in self.deletion.batches(partition)]
        return max((end for end in ends if end < segment[0].end), default=0)

    def _may_be_cleaned(self, partition: Partition, segment: Segment, now_ns: int) -> bool:
        least_ns = int(self.deletion.setting(partition, "min.compaction.lag.ms")) * MILLISECOND
        latest_ns = max(batch.latest_ns for batch in segment)
        is_young = least_ns > 0 and latest_ns > now_ns - least_ns
        self.model.fired["too young to compact"] += is_young
        return segment[-1].end <= partition.stable_end and not (is_young and self.model.rules.compaction_lag)

    def _bytes(self, segments: list[Segment]) -> int:
        return sum(batch.left for segment in segments for batch in segment)

    def _keep_the_last_of_each_key(self, partition: Partition, begin: int, end: int) -> None:
        last: dict[str | None, int] = {}
        there = [number for number in range(begin, end) if not partition.log[number].gone]
        for number in there:
            if not self._is_aborted(partition.log[number]):
                last[self.model.derived.key_text(partition.log[number].event)] = number
        gone = sorted(set(there) - set(last.values()))
        if gone:
            self.model.fired["compacted"] += 1
            partition.erase(gone, "compacted")
            self.model.incident("compacted", str(partition))

    def _is_aborted(self, record: Record) -> bool:
        is_aborted = record.transaction is not None and record.transaction.state == "aborted"
        self.model.fired["aborted record compacted"] += is_aborted
        return is_aborted and self.model.rules.aborted_records_go
