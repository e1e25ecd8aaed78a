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
        for progress in (self.positions, self.come, self.handed_over, self.collected, self.finished, self.asked):
            progress[partition] = from_offset
        self.unreadable.discard(partition)
        if self.group.has_no_offset_of(partition):
            self._read_no_further(partition)
        self.model.news.give()

    def start_fetching(self) -> None:
        """Park a fetch at every broker."""
        self.generation += 1
        for broker in self.model.brokers:
            self.clock.process(self._fetch_from(broker, self.generation))

    @property
    def takes_first(self) -> bool:
        """Whether a partition is in no fetch while something of it was fetched and not handed over (Java, unless it collects)."""
        is_java = self.group.settings.fetches_ahead in ("other partitions", "other brokers")
        return is_java and self.model.rules.taken_first

    def _available_at(self, broker: int) -> list[Read]:
        """Return what a share group's member can acquire."""
        return [
            Read(partition.log[offset].event, partition, offset, ownership)
            for partition, ownership in sorted(self.owned.items(), key=lambda item: self.group.place(item[0]))
            if partition.leader == broker and self.model.knows(self.code, partition)
            for offset in self.group.available(partition)
        ]

    def _visible_at(self, broker: int) -> list[Read]:
        if self.group.is_share:
            return self._available_at(broker)
        return [
            Read(partition.log[offset].event, partition, offset, ownership, partition.log[offset].due_ns)
            for partition, ownership in sorted(self.owned.items(), key=lambda item: self.group.place(item[0]))
            if partition.leader == broker and self.model.knows(self.code, partition)
            if not self.takes_first or self.positions[partition] == self.handed_over[partition]
            if partition not in self.unreadable
            for offset in range(self.positions[partition], self.group.may_read_to(partition))
            if not partition.log[offset].gone
        ]

    def _fitting(self, reads: list[Read]) -> list[Read]:
        """Return what of the visible records an answer holds."""
        settings = self.group.settings
        taken: list[Read] = []
        left, full = self._most_bytes(), set["Partition"]()
        of_partition: dict[Partition, int] = {}
        for read in reads if self.model.rules.fetch_limits else ():
            partition, size = read.partition, self._size(read)
            most = of_partition.setdefault(partition, min(left, settings.fetch_partition_bytes))
            if partition in full or (size > most and taken):
                full.add(partition)
                self.model.fired["answer full"] += 1
                continue
            of_partition[partition] -= size
            left -= size
            taken.append(read)
        return taken if self.model.rules.fetch_limits else reads

    def _most_bytes(self) -> int:
        return self.model.quotas.most_bytes(self.group.name, self.group.settings.fetch_bytes)

    def _size(self, read: Read) -> int:
        return self.model.record_size(read.event)

    def _is_enough(self, reads: list[Read], parked_ns: int) -> bool:
        """Whether a parked fetch is answered now: with enough, or with less when its wait is over."""
        least = min(self.group.settings.fetch_min_bytes, self._most_bytes())
        wait_ns = self.group.settings.fetch_wait_ns
        if self.group.is_share or least <= 1 or wait_ns == 0 or not self.model.rules.fetch_min_bytes:
            return True
        enough = sum(self._size(read) for read in reads) >= least
        waited_ns = self.clock.now - parked_ns
        is_over = waited_ns > 0 and waited_ns % wait_ns == 0
        self.model.fired["fetch waited for more"] += bool(reads) and enough
        self.model.fired["fetch waited in vain"] += bool(reads) and is_over and not enough
        return enough or is_over

    def _fetch_from(self, broker: int, generation: int) -> Process:
        draws, clock = self.model.draws, self.clock
        fetch = draws.fetch(self.code, broker)
        while True:
            parked_ns, wait_ns = clock.now, self.group.settings.fetch_wait_ns
            while True:
                while self.generation == generation and not self._visible_at(broker):
                    yield self.model.news.wait()
                yield clock.at(clock.now, Phase.fetch, self.code, broker)
                if self.generation != generation:
                    return
                self._reset_positions(broker)
                answer = self._visible_at(broker)
                if answer and self._is_enough(answer, parked_ns):
                    break
                if answer:
                    due_ns = clock.now + wait_ns - (clock.now - parked_ns) % wait_ns
                    yield self.model.news.wait() | clock.at(due_ns, Phase.fetch, self.code, broker)
            answer = self.group.acquire(self, answer) if self.group.is_share else self._fitting(answer)
            size = sum(self.model.record_size(read.event) for read in answer)
            if throttled_ns := self.model.quotas.keeps_back(self.group.name, broker, size):
                yield from self._pass(clock.now + throttled_ns)
                continue
            n, self.fetched[broker] = self.fetched[broker], self.fetched[broker] + 1
            for read in answer:
                self.positions[read.partition] = read.offset + 1
            crossing_ns = self.model.links.crosses(broker, "from", size, self.code, FETCHED, n)
            self.model.cores.answer_works(len(answer), fetch[n])
            yield clock.at(clock.now + fetch[n] + crossing_ns, Phase.arrival, self.code, broker)
            yield from self._hang(Phase.arrival, broker, client=True)
            if self.generation != generation:
                return
            if self.group.is_share:
                self.queue.extend(r for r in answer if not self.group.is_given_up((r.partition, r.offset)))
            else:
                self._take_in([read for read in answer if self.owned.get(read.partition) == read.ownership])
            if self.group.is_share or (self.group.is_java and self.model.rules.fetches_by_calls):
                self.to_send[broker] = generation
                self.arrived.give()
                return
            self.arrived.give()
            yield from self._turn(broker)

    def _turn(self, broker: int) -> Process:
        n = self.fetched[broker] - 1
        crossing_ns = self.model.links.crosses(broker, "to", 0, self.code, FETCH, n)
        length_ns = self.model.draws.turnaround(self.code, broker)[n]
        yield from self._pass(self.clock.now + length_ns + crossing_ns)

    def _pass(self, until_ns: int) -> Process:
        """Wait until the next fetch is sent, which a process that hangs does later."""
        yield self.clock.at(until_ns, Phase.end)
        while self.paused_ns > self.clock.now:
            yield self.clock.at(self.paused_ns, Phase.end)

    def send_fetches(self) -> None:
        """Send the fetches that wait for a call (Java), save to brokers of whose partitions records still wait here."""
        waits_here = {read.partition.leader for read in self.queue if self.model.knows(self.code, read.partition)}
        by_broker = self.group.settings.fetches_ahead == "other brokers" and self.model.rules.no_fetch_beside_records
        for broker, generation in list(self.to_send.items()):
            self.model.fired["fetch waits for the application"] += broker in waits_here and by_broker
            self.model.fired["fetch of other partitions"] += broker in waits_here and not by_broker
            if broker not in waits_here or not by_broker:
                del self.to_send[broker]
                if generation == self.generation:
                    self.clock.process(self._fetch_again(broker, generation))

    def _fetch_again(self, broker: int, generation: int) -> Process:
        yield from self._turn(broker)
        yield from self._fetch_from(broker, generation)

    def _reset_positions(self, broker: int) -> None:
        """Go on where auto.offset.reset says with partitions of which the records to read next are deleted."""
        if self.group.is_share:
            return
        latest = self.group.settings.auto_offset_reset == "latest"
        for partition in self.owned:
            is_led = partition.leader == broker and self.model.knows(self.code, partition)
            position = self.positions[partition]
            if not is_led or position >= partition.start or partition in self.unreadable:
                continue
            if self.takes_first and position != self.handed_over[partition]:
                continue
            if self.group.settings.auto_offset_reset == "none" and self.model.rules.no_reset:
                self._read_no_further(partition)
                continue
            self.model.fired[f"offset reset to {'latest' if latest else 'earliest'}"] += 1
            latest = latest and self.model.rules.offset_reset
            self.positions[partition] = (
                max(self.group.may_read_to(partition), partition.start) if latest else partition.start
            )
            self.come[partition] = self.positions[partition]
            first = self.held[partition][0].offset if self.held[partition] else position
            self.held[partition].clear()
            for offset in range(first, self.positions[partition]):
                self.model.open.discard((self.group, partition, offset))
            if self.group.settings.fetches_ahead != "any":
                self._skip_unseen(partition)

    def _read_no_further(self, partition: "Partition") -> None:
        """Leave a partition out of all fetches; a call of Java's client raises that."""
        self.model.fired["cannot read on"] += 1
        self.unreadable.add(partition)
        if self.group.is_java:
            self.arrived.give()

    @property
    def raises(self) -> bool:
        """Whether a call ends the process with an error."""
        return self.group.is_java and not self.unreadable.isdisjoint(self.owned)

    def _take_in(self, reads: list[Read]) -> None:
        """Put records into the queue; copies in retry topics when they are due, in the order of their partitions."""
        for read in reads:
            if read.partition.copy and self.model.rules.retry_topics_wait:
                self.held[read.partition].append(read)
                self._release(read.partition)
            else:
                self._queue_up(read)
        for partition in {read.partition for read in reads}:
            self._skip_unseen(partition)

    def _queue_up(self, read: Read) -> None:
        """Put a record into the queue, unless its transaction was aborted."""
        self.come[read.partition] = read.offset + 1
        if self.group.passes_over(read.partition, read.offset):
            self.model.fired["aborted record passed over"] += 1
        else:
            self.queue.append(read)

    def _skip_unseen(self, partition: "Partition") -> None:
        """Let the position stand behind what has come, where nothing of it is left to hand over."""
        if not any(read.partition is partition for read in self.queue):
            self.handed_over[partition] = self.come[partition]
            self.collected[partition] = max(self.collected[partition], self.come[partition])

    def read_again(self) -> None:
        """Read everything from what is committed on, after a transaction that was aborted."""
        self.queue.clear()
        for partition in self.owned:
            self.unfinished[partition] = {}
            self.held[partition] = deque()
            for progress in (self.positions, self.come, self.handed_over, self.collected, self.finished, self.asked):
                progress[partition] = self.group.committed.get(partition, 0)
        self.start_fetching()
        self.model.news.give()

    def _release(self, partition: "Partition") -> None:
        """Let what is due come into the queue, and look again when the next one is."""
        waiting = self.held[partition]
        while waiting and (waiting[0].due_ns <= self.clock.now or self.group.passes_over(partition, waiting[0].offset)):
            self._queue_up(waiting.popleft())
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
            self._skip_unseen(partition)
            self.arrived.give()
