"""Compaction: of what a broker leads, whenever its log cleaner looks, only the last record of each key is left in segments that are full."""

import itertools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from scenarios.clients import broker_setting, topic_setting
from scenarios.quantities import MILLISECOND
from sim import world as at
from sim.clock import Control
from sim.segments import Segment, Segments

if TYPE_CHECKING:
    from sim.replicas import Replicas
    from sim.system import System

Process = Generator[simpy.Event, Any, None]


class Compaction:
    """The log cleaners of a system's brokers."""

    def __init__(self, system: "System", segments: Segments) -> None:
        self.system, self.scenario, self.segments = system, system.plan.scenario, segments
        self.clean_to: dict[int, int] = {}
        """By partition: up to where it was cleaned (the first dirty offset)."""

    def begin(self) -> None:
        """Let brokers look, where a topic is compacted."""
        if any(self.system.compacts(topic) for topic in self.scenario.topics):
            for broker in range(1, self.scenario.brokers.nodes + 1):
                self.system.clock.process(self._looks(broker))

    def _looks(self, broker: int) -> Process:
        interval_ns = int(broker_setting(self.scenario, "log.cleaner.backoff.ms")) * MILLISECOND
        for look in itertools.count():
            at_ns = self.system.draws.cleaner_look_ns(broker) + look * interval_ns
            yield self.system.clock.control(at_ns, Control.cleaning, broker)
            for partition in self.system.partitions:
                leads = int(self.system.world.part[partition.number, at.LEADER]) == broker
                may = partition.is_users and leads and broker not in self.system.down
                if may and self.system.compacts(self.system.owner_of(partition.topic)):
                    self._clean_if_dirty(partition, self.system.wrong_clocks.now_of(broker))

    def _clean_if_dirty(self, partition: "Replicas", now_ns: int) -> None:
        """Clean a log of which more than `min.cleanable.dirty.ratio` is dirty, or something for longer than `max.compaction.lag.ms`."""
        segments = self.segments.of(partition)
        if not segments:
            return
        first_dirty = max(self.clean_to.get(partition.number, 0), segments[0].begin)
        closed = segments[:-1]  # the last one is written to
        dirty = [segment for segment in closed if segment.end > first_dirty]
        cleanable = list(itertools.takewhile(lambda segment: self._is_cleanable(partition, segment, now_ns), dirty))
        clean_size = sum(segment.size for segment in closed if segment.end <= first_dirty)
        dirty_size = sum(segment.size for segment in cleanable)
        least = float(str(self._setting(partition, "min.cleanable.dirty.ratio")))
        is_due = bool(cleanable) and self._is_overdue(partition, dirty, now_ns)
        if is_due or (dirty_size and dirty_size / (clean_size + dirty_size) > least):
            self._clean(partition, [segment for segment in closed if segment.end <= cleanable[-1].end])
            self.clean_to[partition.number] = cleanable[-1].end

    def _is_cleanable(self, partition: "Replicas", segment: Segment, now_ns: int) -> bool:
        """Whether a segment holds nothing of open transactions, and nothing younger than `min.compaction.lag.ms`."""
        least_ns = int(str(self._setting(partition, "min.compaction.lag.ms"))) * MILLISECOND
        stable = segment.end <= int(self.system.world.part[partition.number, at.STABLE_END])
        return stable and (least_ns == 0 or segment.latest_ns <= now_ns - least_ns)

    def _is_overdue(self, partition: "Replicas", dirty: list[Segment], now_ns: int) -> bool:
        most_ms = int(str(self._setting(partition, "max.compaction.lag.ms")))
        return min(segment.first_ns for segment in dirty) < now_ns - most_ms * MILLISECOND

    def _setting(self, partition: "Replicas", name: str) -> object:
        return topic_setting(self.scenario, self.system.owner_of(partition.topic), name)

    def _clean(self, partition: "Replicas", segments: list[Segment]) -> None:
        """Leave the last record of each key; of aborted transactions nothing."""
        world, number = self.system.world, partition.number
        begin, end = max(segments[0].begin, int(world.part[number, at.LOG_START])), segments[-1].end
        records = world.log[number, begin:end]
        there = records[:, at.L_TXN] >= at.NONE
        own = records[:, at.L_TXN] >= 0
        aborted = np.zeros(len(records), np.bool_)
        aborted[own] = world.txn[records[own, at.L_TXN], at.TX_STATE] == at.TX_ABORTED
        counted = np.flatnonzero(there & ~aborted)
        keys = world.identity[records[counted, at.L_EVENT], at.V_KEY]
        _, from_the_end = np.unique(keys[::-1], return_index=True)
        kept = counted[len(counted) - 1 - from_the_end]
        gone = np.setdiff1d(np.flatnonzero(there), kept)
        if len(gone):
            self.system.log_ends.erase(number, gone + begin, at.COMPACTED)
            what = f"{len(gone)} of {np.count_nonzero(there)} records below offset {end} gave way to later ones of their keys"
            self.system.incident("compacted", partition.name, what, "log cleaner")
        self.segments.count_again(number, segments)
