"""A group's member towards its group: it takes partitions, gives them up, leaves, is put out. The kernel moves its records."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim import kernel
from sim.assignors import Seat
from sim.world import (
    A_FROM,
    A_TO,
    ASKED,
    AT_WORK,
    BATCH_LEFT,
    COLLECTED,
    COMMIT_SOON,
    DUE,
    EMITTING,
    FENCED,
    FINISHED,
    FIRST_EMITTER,
    FIRST_WORKER,
    GENERATION,
    GIVEN,
    H_COMING,
    H_FREE,
    H_PART,
    H_STATE,
    H_WAITS,
    HANGING,
    HAS_DUTY,
    HELD,
    HELD_FROM,
    HELD_TO,
    IDLE,
    INTERVAL,
    IS_PARKED,
    LAST_COMMIT,
    LATE_AT,
    LIFE,
    NEVER,
    NO_ROOM,
    NONE,
    ON_ITS_WAY,
    OWNED,
    PARKED,
    PARKED_NS,
    PAUSED_NS,
    POLLING,
    POSITION,
    QUEUED,
    RG_FROM,
    RG_PART,
    RG_TO,
    RIGHT_AWAY,
    RING_COUNT,
    RING_EVENTS,
    RING_HEAD,
    SEAT,
    STALLED_NS,
    STATE,
    TO_DUTY,
    TO_LEAVE,
    WAITING,
    WHEN_CALLING,
    WK_HAND,
    WK_STATE,
    World,
)

if TYPE_CHECKING:
    from sim.groups import Group


class Member:
    """A member's duties towards its group; what it reads and works on is the kernel's."""

    def __init__(self, group: "Group", number: int, index: int, code: int) -> None:
        self.group, self.system, self.index, self.code = group, group.system, index, code
        self.name, self.client_id = f"{group.name}/{number}", f"{group.name}-{number}"
        self.alive = self.stopped = self.is_back = self.evicted = False
        self.must_leave = self.must_rejoin = self.wants_to_rejoin = False
        self.must_give_up: set[int] = set()
        self.seat = Seat(self, is_live=False)
        self.is_awaited = False
        """Whether it is gone, because of a fault or an event, and comes back by itself."""
        self.crashes = self.crashes_in_a_row = self.started_ns = 0
        self.leaves_by = 0
        """The fault that makes it leave."""
        self.is_settling = self.settles_to_leave = False
        """Whether it waits for its commits to turn to a duty, and whether that is to leave."""

    def start(self, *, assigned: bool, seat: Seat | None = None) -> None:
        """Begin to live, with an assignment or waiting for one."""
        w = self.system.at_now()
        row = w.member[self.index]
        row[RING_HEAD] = row[RING_COUNT] = row[RING_EVENTS] = row[BATCH_LEFT] = 0
        row[LAST_COMMIT] = NONE
        kernel.abort_transaction(w, self.index)
        row[PAUSED_NS] = row[STALLED_NS] = 0
        w.own_marked[self.index] = NONE
        w.breaker[self.index] = 0
        w.mp[self.index] = 0
        self.must_leave = self.must_rejoin = self.is_back = self.evicted = self.is_settling = False
        self.must_give_up = set()
        row[HAS_DUTY] = 0
        self.alive, self.started_ns = True, self.system.clock.now
        self._sit_down(seat)
        self.system.growth.reader_starts(self.code)
        row[DUE] = self.system.clock.now + w.group[self.group.code, INTERVAL]
        if assigned:
            kernel.enter_poll_loop(w, self.index)
        else:
            self._wait_for_assignment()

    # ---- partitions ------------------------------------------------------------------------------------------------

    def owns(self, partition: int, from_offset: int) -> None:
        """Read a partition from an offset on."""
        w = self.system.at_now()
        self.group.ownerships += 1
        mp = w.mp[self.index, partition]
        mp[OWNED] = w.latest[self.group.code, partition] = self.group.ownerships
        for progress in (POSITION, GIVEN, FINISHED, ASKED, HELD_FROM, HELD_TO, COLLECTED):
            mp[progress] = from_offset
        mp[QUEUED] = 0
        if self.group.has_no_offset_of(partition):
            kernel.read_no_further(w, self.index, partition)
            return
        kernel.wake_fetch(w, self.index, partition)

    def start_fetching(self) -> None:
        """Park a fetch at every broker."""
        w = self.system.at_now()
        w.member[self.index, GENERATION] += 1
        w.mb[self.index, :, PARKED] = IS_PARKED
        w.mb[self.index, :, PARKED_NS] = self.system.clock.now
        answer = w.answer[self.index]
        on_its_way = answer[:, :, A_TO] != answer[:, :, A_FROM]  # few, and what nobody wrote takes no memory
        answer[on_its_way, A_TO] = answer[on_its_way, A_FROM]
        kernel.wake_fetches(w, self.index)

    def _sit_down(self, seat: Seat | None = None) -> None:
        """Take a seat, a new one unless it is given; what was committed before is fenced."""
        row = self.system.world.member[self.index]
        row[SEAT] += 1
        row[FENCED] = 0
        self.seat, self.evicted = seat or Seat(self), False

    def gets_more(self, partitions: list[int]) -> None:
        """Keep what one has, and read these too (cooperative); one that waits for its first assignment begins."""
        if self.system.world.member[self.index, STATE] == WAITING:
            self.gets(partitions)
            return
        self.is_back = False
        for partition in partitions:
            self.owns(partition, self.group.position(partition))

    def reads(self, partitions: list[int]) -> None:
        """Read these partitions, beside others, and no more those that one had (share group)."""
        w = self.system.at_now()
        for partition in self.group.partitions:
            if partition not in partitions:
                w.mp[self.index, partition, OWNED] = 0
            elif not w.mp[self.index, partition, OWNED]:
                self.owns(partition, self.group.position(partition))

    def gets(self, partitions: list[int]) -> None:
        """Take an assignment and read from what is committed on."""
        self.is_back = False
        for partition in partitions:
            self.owns(partition, self.group.position(partition))
        self.start_fetching()
        kernel.enter_poll_loop(self.system.at_now(), self.index)

    def _drop(self) -> None:
        """Drop what was read and stop fetching."""
        w = self.system.at_now()
        row = w.member[self.index]
        row[GENERATION] += 1
        row[LATE_AT] = NEVER
        row[RING_COUNT] = row[RING_EVENTS] = row[BATCH_LEFT] = 0
        if self.group.is_pool:
            self._drop_waiting(w, lambda _: True)
        else:
            w.worker[row[FIRST_WORKER], WK_STATE] = AT_WORK
        if self.group.is_share:
            kernel.release_all(w, self.index)
        w.mb[self.index, :, PARKED] = ON_ITS_WAY
        w.mp[self.index, :, [OWNED, QUEUED]] = 0

    # ---- duties ----------------------------------------------------------------------------------------------------

    def has_duty(self) -> None:
        """Be told of a duty; a member that polls or waits turns to it at once, one that works after its batch."""
        w = self.system.at_now()
        row = w.member[self.index]
        row[HAS_DUTY] = RIGHT_AWAY if self.stopped else TO_LEAVE if self.must_leave else WHEN_CALLING
        if row[STATE] == POLLING:
            kernel.poll_at(w, self.index, self.system.clock.now)
        elif row[STATE] == WAITING and self.must_leave:
            self.do_duty()

    def do_duty(self) -> None:
        """Commit what is done, and turn to the duty when that has ended (`settled`)."""
        w = self.system.at_now()
        if not self.is_settling:
            self.is_settling, self.settles_to_leave = True, self.must_leave
        if kernel.wait_for_emitted(w, self.index, TO_DUTY):
            return
        if w.group[self.group.code, INTERVAL] > 0 or self.group.is_pool:
            kernel.commit_what_is_done(w, self.index)
        if kernel.has_commit_under_way(w, self.index):
            kernel.wait_for_commit(w, self.index, TO_DUTY)
        else:
            self.settled()

    def note_crash(self, *, twice_ns: int) -> None:
        """Count a crash; one after a long time begins a new row."""
        has_run_ns = self.system.clock.now - self.started_ns
        self.crashes += 1
        self.crashes_in_a_row = 1 if has_run_ns >= twice_ns else self.crashes_in_a_row + 1

    def dies(self) -> None:
        """Die of an event, and be started again."""
        self.group.dies(self)

    def raises(self) -> None:
        """Die for good, of an error of the client that the application does not catch."""
        self.stopped = True
        self.group.raised(self)

    def stop(self) -> None:
        """Leave for good, by the policy for failures; one of several workers does not go on, which the member turns to at once."""
        self.stopped = self.must_leave = True
        if self.group.is_pool:
            self.has_duty()
        else:
            self.do_duty()

    def settled(self) -> None:
        """Leave, rejoin or give partitions up, now that everything done is committed."""
        w = self.system.at_now()
        w.member[self.index, HAS_DUTY] = 0
        self.is_settling = False
        if (
            self.must_leave and not self.settles_to_leave
        ):  # told meanwhile: what its workers did since then is committed, too
            self.do_duty()
        elif self.must_leave:
            self._leave()
        elif self.evicted:
            self._join_again()
        elif self.must_rejoin and self.group.is_cooperative:
            self.must_rejoin, self.is_back = False, True
            w.member[self.index, HAS_DUTY] = bool(self.must_give_up)
            self.group.changed.give()
            kernel.enter_poll_loop(w, self.index)
        elif self.must_rejoin:
            self._drop()
            self._wait_for_assignment()
        else:
            self._give_up()
            kernel.enter_poll_loop(w, self.index)

    def _give_up(self) -> None:
        w = self.system.at_now()
        for partition in sorted(self.must_give_up):
            w.mp[self.index, partition, [OWNED, QUEUED]] = 0
            self.group.gave_up(partition)
        given_up, self.must_give_up = self.must_give_up, set()
        row, ring = w.member[self.index], w.ring[self.index]
        places = [(int(row[RING_HEAD]) + n) % len(ring) for n in range(int(row[RING_COUNT]))]
        kept = [tuple(ring[place]) for place in places if int(ring[place, RG_PART]) not in given_up]
        for place, stretch in enumerate(kept):
            ring[place] = stretch
        row[RING_HEAD], row[RING_COUNT] = 0, len(kept)
        row[RING_EVENTS] = sum(int(stretch[RG_TO] - stretch[RG_FROM]) for stretch in kept)
        self._drop_waiting(w, given_up.__contains__)
        self.group.gave_all_up()

    def hang(self, until_ns: int, *, whole: bool) -> None:
        """Hang: the whole process, or the application only, whose client minds when it is called."""
        w = self.system.at_now()
        row = w.member[self.index]
        w.scalars[HANGING] = 1
        column = PAUSED_NS if whole else STALLED_NS
        row[column] = max(row[column], until_ns)
        if not whole and row[LATE_AT] == NEVER and row[STATE] != WAITING:
            kernel.watch(w, self.index)
        if not whole and row[STATE] == POLLING:
            kernel.poll_at(w, self.index, self.system.clock.now)

    def lose_seat(self) -> None:
        """Be no member any more, because the coordinator heard nothing; what is in hand goes on when the process does."""
        w = self.system.at_now()
        self._lose_seat(w)
        if w.member[self.index, STATE] == POLLING:
            kernel.poll_at(w, self.index, self.system.clock.now)
        self.group.remove(self.seat)

    def goes_on(self) -> None:
        """Go on after a pause."""
        if self.evicted and self.system.world.member[self.index, STATE] == WAITING:
            self._join_again()

    def _lose_seat(self, w: World) -> None:
        row = w.member[self.index]
        row[FENCED] = 1
        row[HAS_DUTY] = RIGHT_AWAY if self.stopped else WHEN_CALLING
        row[SEAT] += 1
        row[GENERATION] += 1
        w.mb[self.index, :, PARKED] = ON_ITS_WAY
        self._is_gone()
        self.evicted, self.is_back = True, False

    def evict(self) -> None:
        """Be no member any more, and go on with the batch as if one were; the group learns at once."""
        system = self.system
        w = system.at_now()
        self._lose_seat(w)
        system.incident("eviction", self.name, cause="max.poll.interval.ms")
        self.group.remove(self.seat)

    def _join_again(self) -> None:
        """Join as a new member, having learned that one is none any more."""
        w, by_heartbeat = self.system.at_now(), self.group.settings.protocol == "consumer"
        self._drop()
        self.must_give_up, self.must_rejoin = set(), False
        w.member[self.index, HAS_DUTY] = 0
        self._sit_down()
        self.system.incident("restart", self.name, cause="eviction")
        if by_heartbeat:
            self.start_fetching()
        self.is_back = not by_heartbeat
        self.group.joins(self.seat, "eviction")
        if by_heartbeat:
            kernel.enter_poll_loop(w, self.index)
        else:
            self._wait_for_assignment()

    def _drop_waiting(self, w: World, concerns: Callable[[int], bool]) -> None:
        """Drop what no worker has begun of some partitions."""
        row, hand = w.member[self.index], w.hand[self.index]
        for held in hand if self.group.is_pool else ():
            if held[H_STATE] in (H_COMING, H_WAITS) and concerns(int(held[H_PART])):
                held[H_STATE] = H_FREE
                row[HELD] -= 1

    def _empty_hands(self, w: World) -> None:
        """Leave everything that is in hand, as a process that ends."""
        row = w.member[self.index]
        row[LIFE] += 1
        row[HELD] = row[NO_ROOM] = row[COMMIT_SOON] = row[EMITTING] = 0
        w.hand[self.index, :, H_STATE] = H_FREE
        first = int(row[FIRST_WORKER])
        workers = w.worker[first : first + self.group.workers]
        workers[:, WK_STATE], workers[:, WK_HAND] = AT_WORK, NONE

    def _wait_for_assignment(self) -> None:
        self.system.world.member[self.index, STATE] = WAITING
        self.must_rejoin, self.is_back = False, True
        self.group.changed.give()

    def _is_gone(self) -> None:
        """Have no live seat; whoever waits to tell it something notices before it may be back there."""
        self.seat.is_live = False
        self.system.news.give()

    def _leave(self) -> None:
        self._drop()
        kernel.abort_transaction(self.system.at_now(), self.index)
        self.system.world.member[self.index, STATE] = IDLE
        if self.group.is_pool:
            self._empty_hands(self.system.world)
        self._is_gone()
        self.alive = self.is_back = False
        if self.evicted:
            self.group.changed.give()
        elif self.group.is_static and not self.stopped:
            self.group.left_for_a_while(self.seat)
        else:
            self.group.remove(self.seat)

    def crash(self) -> None:
        """Die at once."""
        self._drop()
        row = self.system.world.member[self.index]
        row[STATE] = IDLE
        self._empty_hands(self.system.world)
        row[PAUSED_NS] = row[STALLED_NS] = 0
        for emit in range(self.group.emits):
            kernel.abandon(self.system.world, int(row[FIRST_EMITTER]) + emit)
        self._is_gone()
        self.alive = self.is_back = False
