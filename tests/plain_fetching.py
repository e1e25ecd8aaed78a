"""Fetches of a member in the plain model: one parked at every broker, until something is visible."""

from collections import deque
from typing import TYPE_CHECKING

from plain_clock import Phase
from plain_links import FETCH, FETCHED
from plain_member_state import MemberState, Process, Read

if TYPE_CHECKING:
    from plain_brokers import Partition


class Fetching(MemberState):
    """Fetches, from parked to the member's queue."""

    def owns(self, partition: "Partition", from_offset: int) -> None:
        """Read a partition from an offset on."""
        self.group.ownerships += 1
        self.owned[partition] = self.group.ownerships
        self.unfinished[partition] = {}
        self.held[partition] = deque()
        for progress in (self.positions, self.handed_over, self.finished, self.asked):
            progress[partition] = from_offset
        self.model.news.give()

    def start_fetching(self) -> None:
        """Park a fetch at every broker."""
        self.generation += 1
        for broker in self.model.brokers:
            self.clock.process(self._fetch_from(broker, self.generation))

    def _visible_at(self, broker: int) -> list[Read]:
        return [
            Read(partition.log[offset].event, partition, offset, ownership, partition.log[offset].due_ns)
            for partition, ownership in sorted(self.owned.items(), key=lambda item: self.group.place(item[0]))
            if partition.leader == broker and self.model.knows(self.code, partition)
            for offset in range(self.positions[partition], partition.visible_end)
        ]

    def _fetch_from(self, broker: int, generation: int) -> Process:
        draws, clock = self.model.draws, self.clock
        fetch, turnaround = draws.fetch(self.code, broker), draws.turnaround(self.code, broker)
        while True:
            while self.generation == generation and not self._visible_at(broker):
                yield self.model.news.wait()
            yield clock.at(clock.now, Phase.fetch, self.code, broker)
            if self.generation != generation:
                return
            self._reset_positions(broker)
            answer = self._visible_at(broker)
            if not answer:
                continue
            n, self.fetched[broker] = self.fetched[broker], self.fetched[broker] + 1
            for read in answer:
                self.positions[read.partition] = read.offset + 1
            size = sum(self.model.record_size(read.event) for read in answer)
            crossing_ns = self.model.links.crosses(broker, "from", size, self.code, FETCHED, n)
            yield clock.at(clock.now + fetch[n] + crossing_ns, Phase.arrival, self.code, broker)
            yield from self._hang(Phase.arrival, broker, client=True)
            if self.generation != generation:
                return
            self._take_in([read for read in answer if self.owned.get(read.partition) == read.ownership])
            self.arrived.give()
            crossing_ns = self.model.links.crosses(broker, "to", 0, self.code, FETCH, n)
            yield clock.at(clock.now + turnaround[n] + crossing_ns, Phase.end)
            while self.paused_ns > clock.now:
                yield clock.at(self.paused_ns, Phase.end)

    def _reset_positions(self, broker: int) -> None:
        """Go on where auto.offset.reset says with partitions of which the records to read next are deleted."""
        latest = self.group.settings.auto_offset_reset == "latest"
        for partition in self.owned:
            is_led = partition.leader == broker and self.model.knows(self.code, partition)
            position = self.positions[partition]
            if not is_led or position >= partition.start:
                continue
            self.model.fired[f"offset reset to {'latest' if latest else 'earliest'}"] += 1
            latest = latest and self.model.rules.offset_reset
            self.positions[partition] = partition.visible_end if latest else partition.start
            first = self.held[partition][0].offset if self.held[partition] else position
            self.held[partition].clear()
            for offset in range(first, self.positions[partition]):
                self.model.open.discard((self.group, partition, offset))

    def _take_in(self, reads: list[Read]) -> None:
        """Put records into the queue; copies in retry topics when they are due, in the order of their partitions."""
        for read in reads:
            if read.partition.copy and self.model.rules.retry_topics_wait:
                self.held[read.partition].append(read)
                self._release(read.partition)
            else:
                self.queue.append(read)

    def _release(self, partition: "Partition") -> None:
        """Let what is due come into the queue, and look again when the next one is."""
        waiting = self.held[partition]
        while waiting and waiting[0].due_ns <= self.clock.now:
            self.queue.append(waiting.popleft())
        if waiting and self.waking.get(partition) != self.owned[partition]:
            self.waking[partition] = self.owned[partition]
            self.clock.process(self._wake(partition, self.owned[partition], waiting[0].due_ns))

    def _wake(self, partition: "Partition", ownership: int, due_ns: int) -> Process:
        self.model.fired["copy not due"] += 1
        second = 2**20 + self.model.all_partitions.index(partition)
        yield self.clock.at(due_ns, Phase.arrival, self.code, second)
        yield from self._hang(Phase.arrival, second, client=True)
        if self.owned.get(partition) == ownership:
            self.waking[partition] = 0
            self._release(partition)
            self.arrived.give()
