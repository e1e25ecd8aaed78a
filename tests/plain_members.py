"""A group's member in the plain model: fetch, poll, work, failures, commits, and the duties that a group brings with it."""

from collections import deque
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from plain_clock import Control, Phase, Signal
from rundata.rows import MOST_ATTEMPTS, Kind, Outcome
from scenarios.partitioners import librdkafka_partition

if TYPE_CHECKING:
    from plain_brokers import Partition
    from plain_groups import Group

Process = Generator[simpy.Event, Any, None]


@dataclass(eq=False)
class Seat:
    """A place in a group as the coordinator sees it; it outlasts a crash of its member until the session is over."""

    member: "Member"
    is_live: bool = True
    absences: int = 0
    """How often a static member came back to it."""
    hangs: int = 0
    """Counts begins and ends of pauses."""


@dataclass(frozen=True)
class Read:
    """A record as a member has it."""

    event: int
    partition: "Partition"
    offset: int
    ownership: int
    """Counts how often the partition was given to someone, so that what came for an owner of before is told apart."""
    due_ns: int = 0


@dataclass
class Delivery:
    """A record handed to the application; it is finished when it has ended and what it emitted is there."""

    read: Read
    poll: int
    number: int
    """Counts the deliveries of the event to the group."""
    left: int = 1
    """Its own end, and what it emitted and is not answered."""


class Member:
    """A member of a group: fetches from every broker, polls, works, commits; may crash, leave and come back."""

    def __init__(self, group: "Group", number: int, code: int) -> None:
        self.group, self.model, self.number, self.code = group, group.model, number, code
        self.clock = group.model.clock
        self.name = f"{group.name}/{number}"
        self.client_id = f"{group.name}-{number}"
        draws = self.model.draws
        self.wake, self.overshoot, self.commit_time = draws.wake(code), draws.overshoot(code), draws.commit(code)
        self.dead_letter_time = draws.dead_letter(code)
        self.fetched = dict.fromkeys(self.model.brokers, 0)
        self.polls = self.wakes = self.tries = self.commits = self.dead_letters = 0
        self.recorded_of = [0] * group.workers
        """When each worker's latest try was, or will be, recorded."""
        self.life = 0
        """Grows when the member dies, so that what it left behind knows."""
        self.generation = 0
        """Grows when its fetches are dropped."""
        self.alive = False
        self.stopped = False
        self.leaves_by = 0
        """The fault that makes it leave."""
        self.duty, self.arrived, self.assigned = Signal(self.clock), Signal(self.clock), Signal(self.clock)
        self.flushed, self.freed = Signal(self.clock), Signal(self.clock)
        self.coming = 0
        """Records on their way from a call to the pool."""
        self.owned: dict[Partition, int] = {}
        """Its partitions, and the ownership under which it has each."""
        self.forget()

    def forget(self) -> None:
        """Have nothing in hand, as a process that has just started."""
        self.queue: deque[Read] = deque()
        self.positions: dict[Partition, int] = {}
        self.handed_over: dict[Partition, int] = {}
        self.finished: dict[Partition, int] = {}
        self.asked: dict[Partition, int] = {}
        self.owned = {}
        self.last_commit: simpy.Event | None = None
        self.must_leave = self.must_rejoin = self.is_back = False
        self.must_give_up: set[Partition] = set()
        self.evicted = self.waits = False
        self.late_ns: int | None = None
        """When it must have called again at the latest."""
        self.paused_ns = self.stalled_ns = 0
        """Until when its process, or its application, hangs."""
        self.emitting = 0
        """Effects that are not recorded yet, and emitted events that are not answered."""
        self.unfinished: dict[Partition, dict[int, Delivery]] = {}
        self.held: dict[Partition, deque[Read]] = {}
        """Copies in retry topics that are not due yet."""
        self.waking: dict[Partition, int] = {}
        self.waiting: list[Delivery] = []
        """What no worker has begun yet."""
        self.jobs: dict[int, tuple[Delivery, simpy.Process]] = {}
        self.commit_soon = False
        if self.model.rules.own_memory_is_lost or not hasattr(self, "marked"):
            self.marked: dict[int, int] = {}
            """By event: when it took effect, in the member's own memory."""

    def start(self, *, assigned: bool, seat: Seat | None = None) -> None:
        """Begin to live, with an assignment or waiting for one."""
        self.forget()
        self.alive = True
        self.seat = seat or Seat(self)
        self.due_ns = self.clock.now + self.group.interval_ns
        self.process = self.clock.process(self._live(assigned))

    # ---- fetch ---------------------------------------------------------------------------------------------------

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
            answer = self._visible_at(broker)
            if not answer:
                continue
            n, self.fetched[broker] = self.fetched[broker], self.fetched[broker] + 1
            for read in answer:
                self.positions[read.partition] = read.offset + 1
            yield clock.at(clock.now + fetch[n], Phase.arrival, self.code, broker)
            yield from self._hang(Phase.arrival, broker, client=True)
            if self.generation != generation:
                return
            self._take_in([read for read in answer if self.owned.get(read.partition) == read.ownership])
            self.arrived.give()
            yield clock.at(clock.now + turnaround[n], Phase.end)
            while self.paused_ns > clock.now:
                yield clock.at(self.paused_ns, Phase.end)

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

    # ---- poll ----------------------------------------------------------------------------------------------------

    def _live(self, assigned: bool) -> Process:
        try:
            if not assigned:
                yield from self._wait_for_assignment()
            if self.alive:
                yield from self._pool_loop() if self.group.is_pool else self._poll_loop()
        except simpy.Interrupt:
            return

    def _poll_loop(self) -> Process:
        """Call for records, work them off, do one's duties between the calls."""
        clock = self.clock
        called_ns = clock.now
        returns_ns: int | None = clock.now
        while True:
            yield clock.at(clock.now, Phase.poll, self.code)
            yield from self._hang(Phase.poll)
            self.late_ns = None
            if self.evicted or self.must_leave or self.must_rejoin or self.must_give_up:
                yield from self._do_duty()
                if not self.alive:
                    return
                called_ns = returns_ns = clock.now
                continue
            self._commit_if_due()
            if returns_ns is None and self.queue and not self.group.collect:
                returns_ns = clock.now + self.wake[self.wakes]
                self.wakes += 1
            batch = self._take(called_ns, returns_ns)
            if batch:
                yield from self._work_off(batch)
                if not self.alive:
                    return
                called_ns = returns_ns = clock.now
                continue
            waits = [self.arrived.wait(), self.duty.wait()]
            if self.group.collect:
                while called_ns + self.group.collect[1] <= clock.now:
                    called_ns += self.group.collect[1]
                waits.append(clock.at(called_ns + self.group.collect[1], Phase.poll, self.code))
            elif returns_ns is None or returns_ns <= clock.now:
                returns_ns = None
            else:
                waits.append(clock.at(returns_ns, Phase.poll, self.code))
            if self.group.interval_ns:
                waits.append(clock.at(self.due_ns, Phase.poll, self.code))
            yield simpy.AnyOf(clock, waits)

    def _take(self, called_ns: int, returns_ns: int | None) -> list[Read]:
        """Return what the call hands over now."""
        if self.group.collect:
            most, timeout_ns = self.group.collect
            if len(self.queue) < most and self.clock.now < called_ns + timeout_ns:
                return []
            self.model.fired["collected all" if len(self.queue) >= most else "collect timed out"] += bool(self.queue)
        else:
            most = self.group.settings.max_poll_records if self.model.rules.most_per_poll else len(self.queue)
            if returns_ns is None or self.clock.now < returns_ns:
                return []
            self.model.fired["most per poll"] += len(self.queue) > most
        return [self.queue.popleft() for _ in range(min(most, len(self.queue)))]

    # ---- work ----------------------------------------------------------------------------------------------------

    def _work_off(self, batch: list[Read]) -> Process:
        clock, commit = self.clock, self.group.commit
        deliveries = [self._deliver(read) for read in batch]
        self.polls += 1
        self._must_call_again()
        yield clock.at(clock.now + round(self.model.profile.poll_us * 1000), Phase.end)
        if commit == "before_work":
            yield from self._commit(self.handed_over)
        for delivery in deliveries:
            yield from self._handle(delivery)
            if self.stopped:
                self.must_leave = True
                yield from self._leave()
                return
            yield clock.at(clock.now, Phase.work, self.code)
            yield from self._hang(Phase.work)
            if commit == "after_event":
                yield from self._flush()
                yield from self._commit(self.finished)
            self._commit_if_due()
        if commit == "after_batch":
            yield from self._flush()
            yield from self._commit(self.finished)

    # ---- several workers -----------------------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        if not self.model.rules.room_in_hand:
            return 10**9
        return self.group.in_hand - len(self.waiting) - len(self.jobs) - self.coming

    def _pool_loop(self) -> Process:
        """Keep a pool of workers fed: call for records as long as there is room for them."""
        clock = self.clock
        returns_ns: int | None = clock.now
        had_room = True
        while True:
            yield clock.at(clock.now, Phase.poll, self.code)
            yield from self._hang(Phase.poll)
            self._dispatch()
            if self._room > 0:
                if not had_room:
                    returns_ns = clock.now
                had_room, self.late_ns = True, None
                if self.evicted or self.must_leave or self.must_rejoin or self.must_give_up:
                    yield from self._do_duty()
                    if not self.alive:
                        return
                    returns_ns = clock.now
                    continue
            self._commit_if_due()
            waits = [self.arrived.wait(), self.duty.wait(), self.freed.wait()]
            if self._room > 0:
                if returns_ns is None and self.queue:
                    returns_ns, self.wakes = clock.now + self.wake[self.wakes], self.wakes + 1
                if returns_ns is not None and clock.now >= returns_ns:
                    count = min(self.group.settings.max_poll_records, self._room, len(self.queue))
                    if count:
                        yield from self._take_on([self.queue.popleft() for _ in range(count)])
                        returns_ns = clock.now
                        continue
                    returns_ns = None
                if returns_ns is not None:
                    waits.append(clock.at(returns_ns, Phase.poll, self.code))
            else:
                self.model.fired["no room in hand"] += had_room
                had_room = False
            if self.group.interval_ns:
                waits.append(clock.at(self.due_ns, Phase.poll, self.code))
            yield simpy.AnyOf(clock, waits)

    def _take_on(self, batch: list[Read]) -> Process:
        clock = self.clock
        deliveries = [self._deliver(read) for read in batch]
        self.coming = len(deliveries)
        self.polls += 1
        if self._room <= 0:
            self._must_call_again()
        yield clock.at(clock.now + round(self.model.profile.poll_us * 1000), Phase.work, self.code)
        yield from self._hang(Phase.work)
        self.waiting += deliveries
        self.coming = 0

    def _dispatch(self) -> None:
        """Let free workers begin what was delivered first, of what has to wait for nothing else."""
        for worker in range(self.group.workers):
            if worker in self.jobs:
                continue
            busy = {self._lane(delivery) for delivery, _ in self.jobs.values()}
            able = [d for d in self.waiting if self._lane(d) not in busy or not self.model.rules.order_in_pool]
            self.model.fired[f"waits for its {self.group.ordered_by}"] += bool(self.waiting) and not able
            if not able:
                return
            self.waiting.remove(able[0])
            process = self.clock.process(self._work_on(able[0], worker))
            self.jobs[worker] = able[0], process

    def _lane(self, delivery: Delivery) -> Any:
        read = delivery.read
        if self.group.ordered_by == "partition":
            return read.partition
        key = self.model.derived.key_text(read.event) if self.group.ordered_by == "key" else None
        return id(delivery) if key is None else key

    def _work_on(self, delivery: Delivery, worker: int) -> Process:
        try:
            yield from self._handle(delivery, worker)
            yield self.clock.at(self.clock.now, Phase.work, self.code, worker)
            yield from self._hang(Phase.work, worker)
            del self.jobs[worker]
            self.freed.give()
        except simpy.Interrupt:
            return

    def _drop_waiting(self) -> None:
        self.waiting = [d for d in self.waiting if self.owned.get(d.read.partition) == d.read.ownership]

    def _abandon(self) -> None:
        """Leave everything that is in hand."""
        for _, process in self.jobs.values():
            if process.is_alive:
                process.interrupt()
        self.jobs.clear()
        self.waiting.clear()
        self.coming = 0

    def _commit_in_a_moment(self) -> Process:
        yield self.clock.at(self.clock.now, Phase.work, self.code)
        yield from self._hang(Phase.work)
        self.commit_soon = False
        self._begin_commit(self.finished)

    def _must_call_again(self) -> None:
        self.late_ns = self.clock.now + self.group.settings.max_poll_interval_ns
        if self.model.rules.poll_interval:
            self.clock.process(self._watch(self.life, self.late_ns))

    def stall(self, until_ns: int) -> None:
        """Have the application hang; the client goes on, and minds when it is called."""
        if self.model.rules.stalls:
            self.stalled_ns = max(self.stalled_ns, until_ns)
            if self.late_ns is None and not self.waits:
                self._must_call_again()
            self.duty.give()

    def _hang(self, phase: Phase, second: int = 0, *, client: bool = False) -> Process:
        """Wait until nothing hangs that what comes next needs."""
        while (until_ns := self.paused_ns if client else max(self.paused_ns, self.stalled_ns)) > self.clock.now:
            self.model.fired["hung"] += 1
            yield self.clock.at(until_ns, phase, self.code, second)

    def lose_seat(self) -> None:
        """Be no member any more, because the coordinator heard nothing; what is in hand goes on when the process does."""
        self.evicted, self.seat.is_live, self.is_back = True, False, False
        self.generation += 1
        self.model.news.give()
        self.group.remove(self.seat)

    def _watch(self, life: int, late_ns: int) -> Process:
        """Leave the group by oneself where something keeps the member from calling for too long."""
        yield self.clock.control(late_ns, Control.eviction, self.code)
        while self.paused_ns > self.clock.now:
            yield self.clock.control(self.paused_ns, Control.eviction, self.code)
        if (self.life, self.late_ns, self.evicted) == (life, late_ns, False):
            self.model.fired[f"evicted {self.group.protocol}"] += 1
            self.evict()

    def evict(self) -> None:
        """Be no member any more, and go on with the batch as if one were."""
        self.model.incident("eviction", self.name)
        self.evicted, self.seat.is_live = True, False
        self.generation += 1
        self.model.news.give()
        self.group.remove(self.seat)

    def _deliver(self, read: Read) -> Delivery:
        self.group.deliveries[read.event] = number = self.group.deliveries.get(read.event, 0) + 1
        self.handed_over[read.partition] = read.offset + 1
        delivery = Delivery(read, self.polls, number)
        self.unfinished[read.partition][read.offset] = delivery
        self.model.fired["delivered again"] += number > 1
        self._row(Kind.delivery, delivery, started_ns=self.clock.now, ended_ns=self.clock.now)
        return delivery

    def heard_of(self, delivery: Delivery) -> None:
        """Learn that one of the events that a delivery emitted is there."""
        self.emitting -= 1
        self._part_done(delivery)
        self.flushed.give()

    def _part_done(self, delivery: Delivery) -> None:
        """Note a part of a delivery as done; offsets are finished as far as nothing before them is left."""
        delivery.left -= 1
        read = delivery.read
        if delivery.left or self.owned.get(read.partition) != read.ownership:
            return
        there = self.unfinished[read.partition]
        there.pop(read.offset, None)
        done = min(there, default=self.handed_over[read.partition])
        if not self.model.rules.commit_below_the_unfinished:
            done = max(self.finished[read.partition], read.offset + 1)
        moved, self.finished[read.partition] = done > self.finished[read.partition], done
        self.model.fired["finished behind another"] += not moved and self.group.is_pool
        if (
            self.group.is_pool
            and moved
            and self.group.commit in ("after_event", "after_batch")
            and not self.commit_soon
        ):
            self.commit_soon = True
            self.clock.process(self._while_alive(self._commit_in_a_moment()))

    def _while_alive(self, process: Process) -> Process:
        """Run something of this life only."""
        life = self.life
        for event in process:
            yield event
            if self.life != life or not self.alive:
                return

    def _flush(self) -> Process:
        """Wait until everything that was emitted is answered."""
        waits = self.emitting > 0 and self.model.rules.emitted_before_commit
        self.model.fired["waits for emitted events"] += waits
        while self.emitting > 0 and self.model.rules.emitted_before_commit:
            yield self.flushed.wait()
        if waits:
            yield self.clock.at(self.clock.now, Phase.work, self.code)
            yield from self._hang(Phase.work)

    def _emit(self, delivery: Delivery) -> None:
        """Send what follows from an effect that is recorded now."""
        children = self.model.derived.children(delivery.read.event, self.group.name)
        for child in children:
            place = self.model.derived.places[int(self.model.derived.place_of(np.array([child]))[0])]
            delivery.left += 1
            self.emitting += 1
            self.model.fired["emitted"] += 1
            self.model.emitting[self.code, place.emit].emit(child, self, delivery)
        self.emitting -= 1
        self._part_done(delivery)
        self.flushed.give()

    def _handle(self, delivery: Delivery, worker: int = 0) -> Process:
        """Try an event until it works or the policy gives it up."""
        clock, failures = self.clock, self.group.failures
        first = delivery.read.partition.copy + 1
        for attempt in count(first):
            yield clock.at(clock.now, Phase.work, self.code, worker)
            yield from self._hang(Phase.work, worker)
            if attempt == first and self._knows(delivery.read.event):
                self.model.fired[f"passed over, {self.group.dedupe.store if self.group.dedupe else ''} store"] += 1
                self._ended(delivery)
                self._part_done(delivery)
                return
            begin_ns = clock.now
            yield clock.at(begin_ns + self._work_ns(delivery.read.event), Phase.end)
            yield from self._hang_at_end()
            ended_ns = max(clock.now + self.overshoot[self.tries], self.recorded_of[worker])
            late_ns, self.tries, self.recorded_of[worker] = ended_ns - clock.now, self.tries + 1, ended_ns
            if not self._fails(delivery, attempt, begin_ns):
                self.emitting += self.group.finishes_later
                self._note_try(delivery, attempt, begin_ns, late_ns, ok=True)
                if not self.group.finishes_later:
                    self._part_done(delivery)
                yield from self._overshoot(late_ns)
                return
            last = failures is not None and attempt >= failures.retry.attempts
            backoff_ns = round(failures.retry.backoff * failures.retry.factor ** (attempt - 1)) if failures else 0
            backoff_ns *= self.model.rules.backoff
            due = {} if last else {"retry_due_ns": clock.now + backoff_ns}
            self._note_try(delivery, attempt, begin_ns, late_ns, ok=False, **due)
            self.model.fired["failed try"] += 1
            yield from self._overshoot(late_ns)
            if last:
                break
            if self.group.by_topic:
                self.model.fired["handed on"] += 1
                topic = f"{delivery.read.partition.topic.rsplit('.retry.', 1)[0]}.retry.{attempt}"
                yield from self._send(
                    delivery,
                    worker,
                    self.model.partitions[topic][delivery.read.partition.number],
                    clock.now + backoff_ns,
                )
                self._ended(delivery)
                self._part_done(delivery)
                return
            yield clock.at(clock.now + backoff_ns, Phase.end)
        assert failures is not None
        self.model.fired[f"then {failures.then}"] += 1
        match failures.then:
            case "dead_letter":
                yield from self._dead_letter(delivery, worker)
            case "skip":
                self._row(Kind.skip, delivery, started_ns=clock.now, ended_ns=clock.now)
                self._ended(delivery)
                self._part_done(delivery)
            case "stop":
                self.stopped = True

    def _hang_at_end(self) -> Process:
        while (until_ns := max(self.paused_ns, self.stalled_ns)) > self.clock.now:
            self.model.fired["hung"] += 1
            yield self.clock.at(until_ns, Phase.end)

    def _overshoot(self, late_ns: int) -> Process:
        """Be late for what follows: only as a mutation, since planned ends are cumulative."""
        if not self.model.rules.overshoot_apart:
            yield self.clock.at(self.clock.now + late_ns, Phase.end)

    def _work_ns(self, event: int) -> int:
        work_ns, now = int(self.model.derived.work_ns(self.group.name, np.array([event]))[0]), self.clock.now
        for planned, fault in self.group.slow_work:
            if planned.begin_ns <= now < planned.end_ns and self.model.rules.slow_work:
                work_ns = round(work_ns * fault.factor) + fault.plus
                self.model.fired["slow work"] += 1
        return max(work_ns, round(self.model.profile.handle_us * 1000))

    def _fails(self, delivery: Delivery, attempt: int, begin_ns: int) -> bool:
        model, event = self.model, delivery.read.event
        if (
            model.derived.poison(np.array([event]))[0]
            or attempt <= model.derived.failing_tries(self.group.name, np.array([event]))[0]
        ):
            return True
        for planned, fault in self.group.failing_work:
            if not planned.begin_ns <= begin_ns < planned.end_ns or not model.rules.failing_work:
                continue
            if model.draws.failing_work(self.group.code, event, attempt, delivery.number) < fault.share:
                model.fired["failing work"] += 1
                return True
        return False

    def _note_try(self, delivery: Delivery, attempt: int, begin_ns: int, late_ns: int, *, ok: bool, **due: int) -> None:
        times = {"started_ns": begin_ns, "ended_ns": self.clock.now + late_ns, **due}
        outcome = Outcome.ok if ok else Outcome.failed
        self.clock.process(
            self._recorded(delivery, self.life, attempt=min(attempt, MOST_ATTEMPTS), outcome=outcome, **times)
        )

    def _recorded(self, delivery: Delivery, life: int, **fields: int) -> Process:
        """Record a try when its sleep has ended; one that was killed before leaves nothing."""
        yield self.clock.at(fields["ended_ns"], Phase.end)
        if self.life == life:
            yield from self._hang_at_end()
        if self.life == life:
            self._row(Kind.try_, delivery, None, **fields)
            if fields["outcome"] == Outcome.ok:
                self._ended(delivery)
                self._mark(delivery.read.event)
                if self.group.finishes_later:
                    self._emit(delivery)

    def _knows(self, event: int) -> bool:
        """Whether an event has had its effect, as far as the group's or the member's memory goes."""
        dedupe, rules = self.group.dedupe, self.model.rules
        if dedupe is None or not rules.dedupe:
            return False
        at_ns = (self.group.marked if dedupe.store == "shared" else self.marked).get(event)
        return at_ns is not None and (self.clock.now - at_ns <= dedupe.window or not rules.dedupe_window)

    def _mark(self, event: int) -> None:
        if self.group.dedupe is not None:
            (self.group.marked if self.group.dedupe.store == "shared" else self.marked)[event] = self.clock.now

    def _row(self, kind: Kind, delivery: Delivery, sent_to: "Partition | None" = None, **fields: int) -> None:
        read = delivery.read
        where = {"group": self.group.code, "offset": read.offset, "event_id": read.event, "poll_id": delivery.poll}
        self.model.row(kind, self.code, sent_to or read.partition, **{**where, **fields})

    def _ended(self, delivery: Delivery) -> None:
        self.model.open.discard((self.group, delivery.read.partition, delivery.read.offset))

    def _dead_letter(self, delivery: Delivery, worker: int) -> Process:
        """Send the event to the dead-letter topic and wait until it is there."""
        assert self.group.failures is not None and self.group.failures.dead_letter is not None
        model, clock, event = self.model, self.clock, delivery.read.event
        partitions = model.partitions[self.group.failures.dead_letter]
        key = model.derived.key_text(event)
        number = event % len(partitions) if key is None else librdkafka_partition(key.encode(), len(partitions))
        partition, started_ns = partitions[number], clock.now
        offset = yield from self._send(delivery, worker, partition, 0)
        times = {"started_ns": started_ns, "ended_ns": clock.now, "offset": offset}
        self._row(Kind.dead_letter, delivery, partition, **times)
        self._ended(delivery)
        self._part_done(delivery)

    def _send(
        self, delivery: Delivery, worker: int, partition: "Partition", due_ns: int
    ) -> Generator[simpy.Event, Any, int]:
        """Send an event on and wait until it is there; return its offset."""
        model, clock, event, started_ns = self.model, self.clock, delivery.read.event, self.clock.now
        length_ns, self.dead_letters = self.dead_letter_time[self.dead_letters], self.dead_letters + 1
        token = (self.code, self.dead_letters)
        while True:
            yield from self._until_known(partition)
            yield clock.at(clock.now, Phase.service, self.code, worker)
            yield from self._hang(Phase.service, worker, client=True)
            if not model.knows(self.code, partition):
                continue
            request = model.dead_letter_request(self.code, partition, event, token, started_ns, due_ns)
            partition.begin(request, length_ns, length_ns)
            while not request.visible.triggered and model.knows(self.code, partition):
                yield request.visible | model.news.wait()
            if request.visible.triggered:
                break
            model.fired["dead letter resent"] += 1
        return request.offsets[token]

    def _until_known(self, partition: "Partition") -> Process:
        while not self.model.knows(self.code, partition):
            yield self.model.news.wait()

    # ---- commit --------------------------------------------------------------------------------------------------

    def _commit(self, offsets: Mapping["Partition", int]) -> Process:
        """Commit and wait until it has ended."""
        yield self.clock.at(self.clock.now, Phase.work, self.code)
        yield from self._hang(Phase.work)
        self._begin_commit(offsets)
        while self.last_commit is not None and not self.last_commit.processed:
            yield self.last_commit

    def _commit_if_due(self) -> None:
        if self.group.interval_ns and self.clock.now >= self.due_ns:
            self._begin_commit(self._what_is_done())
            self.due_ns = self.clock.now + self.group.interval_ns

    def _what_is_done(self) -> Mapping["Partition", int]:
        return self.handed_over if self.group.commit == "auto" else self.finished

    def _begin_commit(self, offsets: Mapping["Partition", int]) -> None:
        new = {p: offset for p, offset in offsets.items() if p in self.owned and offset != self.asked[p]}
        if new and self.evicted and self.model.rules.fence_of_the_evicted:
            self.model.fired["commit refused"] += 1
        elif new:
            self.asked.update(new)
            n, self.commits = self.commits, self.commits + 1
            left_ns = 0 if self.group.is_pool else self.recorded_of[0] - self.clock.now
            length_ns = max(self.commit_time[n], left_ns)
            self.last_commit = self.clock.process(self._committing(new, length_ns, self.last_commit))
            self.model.fired[f"commit {self.group.commit_word}"] += 1

    def _committing(self, offsets: Mapping["Partition", int], length_ns: int, before: simpy.Event | None) -> Process:
        clock, model, coordinator, life, seat = self.clock, self.model, self.group.coordinator, self.life, self.seat
        begun_ns, mark = clock.now, (self, self.commits)
        model.open.add(mark)
        while True:
            if model.rules.coordinator_down:
                model.fired["coordinator down"] += not model.knows(self.code, coordinator)
                yield from self._until_known(coordinator)
            timer = clock.at(clock.now + length_ns, Phase.end)
            while not timer.processed and model.knows(self.code, coordinator):
                yield timer | model.news.wait()
            if not timer.processed and not model.rules.coordinator_down:
                yield timer
            if timer.processed:
                break
        if before is not None and not before.processed:
            yield before
        model.open.discard(mark)
        is_member = seat in self.group.joined or not self.model.rules.fence_of_the_evicted
        self.model.fired["commit fenced"] += self.life == life and not is_member
        if self.life == life and is_member:
            self._committed(offsets, begun_ns)

    def _committed(self, offsets: Mapping["Partition", int], begun_ns: int) -> None:
        for partition, offset in sorted(offsets.items(), key=lambda item: self.group.place(item[0])):
            times = {"started_ns": begun_ns, "ended_ns": self.clock.now}
            self.model.row(Kind.commit, self.code, partition, group=self.group.code, offset=offset, **times)
            self.group.commit_offset(partition, offset)

    def commit_at_the_end(self) -> None:
        """Leave in good order when the run is over."""
        if self.alive and not self.evicted and self.group.interval_ns:
            done = self._what_is_done()
            self._committed(
                {p: done[p] for p in self.owned if done[p] != self.group.committed.get(p, 0)}, self.clock.now
            )

    # ---- duties --------------------------------------------------------------------------------------------------

    def _do_duty(self) -> Process:
        """Leave, rejoin or give partitions up, with everything committed that is done."""
        if self.must_leave:
            yield from self._leave()
            return
        yield from self._settle_commits()
        if self.must_leave:
            yield from self._leave()
        elif self.evicted:
            yield from self._join_again()
        elif self.must_rejoin and self.group.is_cooperative:
            self.must_rejoin, self.is_back = False, True
            self.group.changed.give()
        elif self.must_rejoin:
            self.drop()
            yield from self._wait_for_assignment()
        else:
            for partition in sorted(self.must_give_up, key=self.group.place):
                self.owned.pop(partition, None)
                self.group.gave_up(partition)
            self.must_give_up.clear()
            self.queue = deque(read for read in self.queue if self.owned.get(read.partition) == read.ownership)
            self._drop_waiting()
            self.group.gave_all_up()

    def _settle_commits(self) -> Process:
        yield from self._flush()
        if self.group.interval_ns:
            self._begin_commit(self._what_is_done())
        while self.last_commit is not None and not self.last_commit.processed:
            yield self.last_commit

    def drop(self) -> None:
        """Drop what was read and stop fetching."""
        self.generation += 1
        self.queue.clear()
        self.owned = {}
        self._drop_waiting()
        self.model.news.give()

    def _join_again(self) -> Process:
        """Join as a new member, having learned that one is none any more."""
        self.drop()
        self.must_give_up.clear()
        self.evicted = self.must_rejoin = False
        self.seat = Seat(self)
        self.model.incident("restart", self.name)
        if self.group.protocol == "classic":
            self.is_back = True
            self.group.joins(self.seat)
            yield from self._wait_for_assignment()
        else:
            self.start_fetching()
            self.group.joins(self.seat)

    def _wait_for_assignment(self) -> Process:
        self.must_rejoin, self.is_back, self.waits = False, True, True
        self.late_ns = None
        self.group.changed.give()
        while self.is_back or self.evicted:
            yield self.assigned.wait() | self.duty.wait()
            if self.must_leave:
                yield from self._leave()
                return
            if self.evicted and self.paused_ns <= self.clock.now:
                yield from self._join_again()
                return
        self.waits = False

    def gets_more(self, partitions: list["Partition"]) -> None:
        """Keep what one has, and read these too (cooperative); one that waits for its first assignment begins."""
        if self.waits:
            self.gets(partitions)
            return
        self.is_back = False
        for partition in partitions:
            self.owns(partition, self.group.position(partition))

    def gets(self, partitions: list["Partition"]) -> None:
        """Take an assignment and read from what is committed on."""
        self.is_back = False
        for partition in partitions:
            self.owns(partition, self.group.position(partition))
        self.start_fetching()
        self.assigned.give()

    def _leave(self) -> Process:
        yield from self._settle_commits()
        self.drop()
        self.alive = self.is_back = self.seat.is_live = False
        self.late_ns = None
        if self.group.is_pool:
            self.life += 1
            self._abandon()
        if self.evicted:
            self.group.changed.give()
        elif self.group.is_static and not self.stopped and self.model.rules.static_members:
            self.group.left_for_a_while(self.seat)
        else:
            self.group.remove(self.seat)

    def crash(self) -> None:
        """Die at once."""
        self.alive = self.is_back = self.seat.is_live = False
        self.life += 1
        self.paused_ns = self.stalled_ns = 0
        self.generation += 1
        for emit in range(self.group.emit_count):
            self.model.emitting[self.code, emit].crash()
        self._abandon()
        self.process.interrupt()
        self.model.news.give()
