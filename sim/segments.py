"""The segments of partitions' logs, as far as they are visible: what is deleted, and compacted, as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenarios.clients import topic_setting
from scenarios.quantities import MILLISECOND
from sim.world import FRAMED_BATCH, FRAMED_RECORD, L_EVENT, L_REQUEST, L_TXN, LOG_START, NONE, V_SIZE, VISIBLE_END

if TYPE_CHECKING:
    from sim.replicas import Replicas
    from sim.system import System


@dataclass
class Segment:
    """A stretch of a partition's log."""

    begin: int
    end: int
    size: int
    """Of what is left of it: neither compacted nor cut off."""
    filled: int
    """What was written to it."""
    first_ns: int
    """Of its first batch."""
    latest_ns: int
    """Of its latest record."""


class Segments:
    """The segments of a system's partitions: a new one begins where a batch does not fit, or is much younger than the first."""

    def __init__(self, system: "System") -> None:
        self.system = system
        self.known: dict[int, list[Segment]] = {p.number: [] for p in system.partitions if p.is_users}
        """By partition: what is left of it and was visible at the latest look."""
        self._rolled = dict.fromkeys(self.known, 0)
        """By partition: up to where that was."""

    def of(self, partition: "Replicas") -> list[Segment]:
        """Return a partition's segments, with what has become visible since the last look, and without what was deleted."""
        segments, topic = self.known[partition.number], self.system.owner_of(partition.topic)
        part = self.system.world.part[partition.number]
        begin, self._rolled[partition.number] = self._rolled[partition.number], int(part[VISIBLE_END])
        most_bytes = int(topic_setting(self.system.plan.scenario, topic, "segment.bytes"))
        most_ns = self._longest_ns(topic)
        for first, end, size, at_ns in self._batches(partition.number, begin):
            last = segments[-1] if segments else None
            if last is None or last.filled + size > most_bytes or at_ns - last.first_ns > most_ns:
                segments.append(Segment(first, end, size, size, at_ns, at_ns))
            else:
                last.end, last.size, last.filled = end, last.size + size, last.filled + size
                last.latest_ns = max(last.latest_ns, at_ns)
        while len(segments) > 1 and segments[0].end <= int(part[LOG_START]):
            del segments[0]
        return segments

    def count_again(self, number: int, segments: list[Segment]) -> None:
        """See anew what is left of segments of a partition: values, frames of records, and of batches that hold any."""
        world = self.system.world
        for segment in segments:
            records = world.log[number, segment.begin : segment.end]
            left = records[records[:, L_TXN] >= NONE]
            size = int((world.identity[left[:, L_EVENT], V_SIZE] + FRAMED_RECORD).sum())
            segment.size = size + FRAMED_BATCH * len(np.unique(left[:, L_REQUEST]))

    def _longest_ns(self, topic: str) -> int:
        """Return how long a segment is written to: no longer than compaction may wait, where that is limited."""
        scenario = self.system.plan.scenario
        longest_ms = int(topic_setting(scenario, topic, "segment.ms"))
        if self.system.compacts(topic):
            longest_ms = min(longest_ms, int(topic_setting(scenario, topic, "max.compaction.lag.ms")))
        return longest_ms * MILLISECOND

    def _batches(self, number: int, begin: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield begin, end, size and latest time of each visible batch from an offset on."""
        world = self.system.world
        records = world.log[number, begin : int(world.part[number, VISIBLE_END])]
        if not len(records):
            return
        firsts = np.flatnonzero(np.diff(records[:, L_REQUEST], prepend=NONE))
        sizes = np.add.reduceat(world.identity[records[:, L_EVENT], V_SIZE] + FRAMED_RECORD, firsts)
        latest = np.maximum.reduceat(self.system.wrong_clocks.times_of(records), firsts)
        ends = np.append(firsts[1:], len(records)) + begin
        of_batch = ((firsts + begin).tolist(), ends.tolist(), (sizes + FRAMED_BATCH).tolist(), latest.tolist())
        yield from zip(*of_batch, strict=True)
