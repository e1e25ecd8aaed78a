"""A group's member in the plain model: its poll loop, its pool of workers, and the duties that a group brings with it."""

from collections import deque
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Control, Phase
from plain_member_state import Delivery, Process, Read, Seat
from plain_working import Working

if TYPE_CHECKING:
    from plain_brokers import Partition


class Member(Working):
    """A member of a group: fetches from every broker, polls, works, commits; may crash, leave and come back."""

    def start(self, *, assigned: bool, seat: Seat | None = None) -> None:
        """Begin to live, with an assignment or waiting for one."""
        self.forget()
        if self.transaction is not None and self.model.rules.successor_aborts:
            self.model.fired["aborted by its successor"] += self.transaction.is_open
            self._abort()
        self.model.growth.reader_starts(self)
        self.alive, self.is_back = True, not assigned
        self.seat, self.started_ns = seat or Seat(self), self.clock.now
        self.due_ns = self.clock.now + self.group.interval_ns
        self.process = self.clock.process(self._live(assigned))

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
            if self._leaves_with_some():
                yield from self._work_off_collected()
                if not self.alive:
                    return
                continue
            if self.evicted or self.must_leave or self.must_rejoin or self.must_give_up:
                yield from self._do_duty()
                if not self.alive:
                    return
                called_ns = returns_ns = clock.now
                continue
            if self.raises:
                yield from self._raise()
            if self.collects_by_calls:
                self._call_for_more(self.group.collect[0])
            else:
                self._commit_if_due()
            if returns_ns is None and self.queue and not self.group.collect:
                returns_ns = clock.now + self.wake[self.wakes] * self.model.rules.wakes_late
                self.wakes += 1
            batch = self._take(called_ns, returns_ns)
            collects = self.group.settings.fetches_ahead == "when called"
            if (not self.queue or collects) and not batch:
                self.send_fetches()
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
                waits.append(self._until_commit())
            yield simpy.AnyOf(clock, waits)

    def _leaves_with_some(self) -> bool:
        leaves = self.must_leave and not self.evicted and self.model.rules.finishes_what_it_collected
        return leaves and self.collects_by_calls and bool(self._is_collected())

    def _work_off_collected(self) -> Process:
        """Handle what calls have returned, before leaving."""
        self.model.fired["leaves with what it collected done"] += 1
        count = len(self._is_collected())
        yield from self._work_off([self.queue.popleft() for _ in range(count)])

    @property
    def _call_ns(self) -> int:
        """How long after a delivery its work begins."""
        return round(self.model.profile.poll_us * 1000) * self.model.rules.calls_take_time

    def _raise(self) -> Process:
        """Die of an error of the client."""
        self.clock.process(self.group.raised(self))
        yield simpy.Event(self.clock)

    def _take(self, called_ns: int, returns_ns: int | None) -> list[Read]:
        """Return what the call hands over now."""
        if self.group.collect:
            most, timeout_ns = self.group.collect
            is_over = self.clock.now >= called_ns + timeout_ns or not self.model.rules.collects_until_full
            if len(self.queue) < most and not is_over:
                return []
            self.model.fired["collected all" if len(self.queue) >= most else "collect timed out"] += bool(self.queue)
        else:
            most = self.group.settings.max_poll_records if self.model.rules.most_per_poll else len(self.queue)
            if returns_ns is None or self.clock.now < returns_ns:
                return []
            self.model.fired["most per poll"] += len(self.queue) > most
        return [self.queue.popleft() for _ in range(min(most, len(self.queue)))]

    def _work_off(self, batch: list[Read]) -> Process:
        clock, commit = self.clock, self.group.commit
        deliveries = self._deliver_all(batch)
        self.batch_left = len(deliveries)
        self.polls += 1
        self._must_call_again()
        yield clock.at(clock.now + self._call_ns, Phase.end)
        if commit == "before_work" and self.model.rules.commits_before_work:
            yield from self._commit(self.handed_over)
        if commit == "transaction":
            self.transaction = self.model.transactions.begin(self)
        for delivery in deliveries:
            yield from self._handle(delivery)
            self.batch_left -= 1
            self.answers.append(delivery)
            if self.stopped:
                self.must_leave = True
                yield from self._leave()
                return
            yield clock.at(clock.now, Phase.work, self.code)
            yield from self._hang(Phase.work)
            if commit == "after_event":
                yield from self._flush()
                yield from self._commit(self.finished)
            self._commit_in_between()
        if commit in ("after_batch", "transaction"):
            yield from self._flush()
            yield from self._commit(self.finished)

    def _deliver_all(self, batch: list[Read]) -> list[Delivery]:
        """Hand records over; the call that does it sends the next fetches (Java)."""
        deliveries = [self._deliver(read) for read in batch]
        if self.group.is_java and not self.group.is_share:
            self.send_fetches()
            self.model.news.give()
        return deliveries

    @property
    def has_in_hand(self) -> bool:
        """Whether something is in hand of what is committed before it is done."""
        if not self.alive or self.group.commit not in ("auto", "before_work"):
            return False
        in_pool = len(self.waiting) + len(self.jobs) + self.coming
        collected = self._is_collected() if self.collects_by_calls else []
        return bool(self.batch_left or in_pool or collected) or max(self.recorded_of) > self.clock.now

    # ---- several workers ------------------------------------------------------------------------------------------------

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
            if self._room > 0 or self.stopped:
                if not had_room:
                    returns_ns = clock.now
                had_room, self.late_ns = True, None
                if self.evicted or self.must_leave or self.must_rejoin or self.must_give_up:
                    yield from self._do_duty()
                    if not self.alive:
                        return
                    returns_ns = clock.now
                    continue
                if self.raises:
                    yield from self._raise()
            may_commit = self._room > 0 or not self.commits_at_calls
            if may_commit:
                self._commit_if_due()
            waits = [self.arrived.wait(), self.duty.wait(), self.freed.wait()]
            if self._room > 0:
                if returns_ns is None and self.queue:
                    returns_ns = clock.now + self.wake[self.wakes] * self.model.rules.wakes_late
                    self.wakes += 1
                if returns_ns is not None and clock.now >= returns_ns:
                    count = min(self.group.settings.max_poll_records, self._room, len(self.queue))
                    if count:
                        yield from self._take_on([self.queue.popleft() for _ in range(count)])
                        returns_ns = clock.now
                        continue
                    returns_ns = None
                if not self.queue:
                    self.send_fetches()
                if returns_ns is not None:
                    waits.append(clock.at(returns_ns, Phase.poll, self.code))
            else:
                self.model.fired["no room in hand"] += had_room
                had_room = False
            if self.group.interval_ns and may_commit:
                waits.append(self._until_commit())
            yield simpy.AnyOf(clock, waits)

    def _take_on(self, batch: list[Read]) -> Process:
        clock = self.clock
        deliveries = self._deliver_all(batch)
        self.coming = len(deliveries)
        self.polls += 1
        if self._room <= 0:
            self._must_call_again()
        yield clock.at(clock.now + self._call_ns, Phase.work, self.code)
        yield from self._hang(Phase.work)
        if self.group.commit == "before_work" and self.model.rules.pool_commits_first:
            self.model.fired["pool waits for its commit"] += 1
            yield from self._commit_at_once(self.handed_over)
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
            turn = self.clock.at(self.clock.now, Phase.work, self.code, worker + 1)
            process = self.clock.process(self._work_on(able[0], worker, turn))
            self.jobs[worker] = able[0], process

    def _lane(self, delivery: Delivery) -> Any:
        read = delivery.read
        if self.group.ordered_by == "partition":
            return read.partition
        key = self.model.derived.key_text(read.event) if self.group.ordered_by == "key" else None
        return id(delivery) if key is None else key

    def _work_on(self, delivery: Delivery, worker: int, turn: simpy.Event) -> Process:
        try:
            yield from self._handle(delivery, worker, turn)
            yield self.clock.at(self.clock.now, Phase.work, self.code, worker + 1)
            yield from self._hang(Phase.work, worker + 1)
            del self.jobs[worker]
            self.freed.give()
        except simpy.Interrupt:
            return

    def _drop_waiting(self) -> None:
        if not self.model.rules.drops_what_it_gives_up:
            return
        self.waiting = [d for d in self.waiting if self.owned.get(d.read.partition) == d.read.ownership]

    def _abandon(self) -> None:
        """Leave everything that is in hand."""
        for _, process in self.jobs.values():
            if process.is_alive:
                process.interrupt()
        self.jobs.clear()
        self.waiting.clear()
        self.coming = 0

    # ---- members that hang, and those that are late ---------------------------------------------------------------------

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

    # ---- duties ---------------------------------------------------------------------------------------------------------

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

    def drop(self) -> None:
        """Drop what was read and stop fetching."""
        self.generation += 1
        self.queue.clear()
        self.owned = {}
        self._drop_waiting()
        if self.group.is_share:
            self.group.release_all(self)
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

    def reads(self, partitions: list["Partition"]) -> None:
        """Read these partitions, beside others, and no more those that one had (share group)."""
        for partition in self.group.partitions:
            if partition not in partitions:
                self.owned.pop(partition, None)
            elif partition not in self.owned:
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
        self._abort()
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
        if self.group.is_share:
            self.group.release_all(self)
        self.process.interrupt()
        self.model.news.give()
