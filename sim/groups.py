"""Groups, as SimPy processes: who is a member, who has which partition, and both ways to rebalance. The kernel moves their records."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simpy

from scenarios.clients import assignor, consumer_settings, is_static
from scenarios.faults import MemberCrash, MemberLeave, MemberPause, PollStall
from scenarios.retries import retry_topics
from sim import kernel
from sim.clock import Control, Signal
from sim.world import (
    A_FROM,
    A_TO,
    ASKED,
    AT_WORK,
    BATCH_LEFT,
    COMMIT_SOON,
    DUE,
    EMITTING,
    EPOCH,
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
    LAST_COMMIT,
    LATE_AT,
    LEADER,
    LIFE,
    NEVER,
    NO_ROOM,
    NONE,
    OWNED,
    PARKED,
    PAUSED_NS,
    POLLING,
    POSITION,
    RG_FROM,
    RG_PART,
    RG_TO,
    RING_COUNT,
    RING_EVENTS,
    RING_HEAD,
    SEAT,
    STALLED_NS,
    STATE,
    TO_DUTY,
    WAITING,
    WK_HAND,
    WK_STATE,
    World,
)

if TYPE_CHECKING:
    from sim.system import System

Process = Generator[simpy.Event, Any, None]
Assignment = dict["Seat", list[int]]


@dataclass(eq=False)
class Seat:
    """A place in a group as the coordinator sees it; it outlasts a crash of its member until the session is over."""

    member: "Member"
    is_live: bool = True
    absences: int = 0
    """How often a static member came back to it."""
    hangs: int = 0
    """Counts begins and ends of pauses."""


def range_assignment(seats: list[Seat], topics: list[list[int]]) -> Assignment:
    """Return Kafka's range assignor: per topic, consecutive partitions to members in the order of client ids, the first ones one more."""
    in_order = sorted(seats, key=lambda seat: seat.member.client_id)
    given: Assignment = {seat: [] for seat in in_order}
    for partitions in topics if in_order else []:
        share, extras = divmod(len(partitions), len(in_order))
        begin = 0
        for index, seat in enumerate(in_order):
            end = begin + share + (index < extras)
            given[seat] += partitions[begin:end]
            begin = end
    return given


def round_robin_assignment(seats: list[Seat], partitions: list[int]) -> Assignment:
    """Return Kafka's round-robin assignor: all partitions dealt to the members in the order of client ids."""
    in_order = sorted(seats, key=lambda seat: seat.member.client_id)
    return {seat: partitions[index :: len(in_order)] for index, seat in enumerate(in_order)}


def uniform_assignment(seats: list[Seat], before: Assignment, partitions: list[int]) -> Assignment:
    """Return the uniform assignor: members in the order of joining keep what they had up to their share, the rest is dealt out."""
    if not seats:
        return {}
    share, extras = divmod(len(partitions), len(seats))
    given: Assignment = {}
    for seat in seats:
        had = [partition for partition in partitions if partition in before.get(seat, [])]
        keeps = share + (extras > 0 and len(had) > share)
        extras -= keeps > share
        given[seat] = had[:keeps]
    kept = {partition for partitions_of in given.values() for partition in partitions_of}
    rest = iter([partition for partition in partitions if partition not in kept])
    for seat in seats:
        due = share
        if extras and len(given[seat]) <= share:
            due, extras = share + 1, extras - 1
        given[seat] += [next(rest) for _ in range(due - len(given[seat]))]
    return given


class Member:
    """A member's duties towards its group; what it reads and works on is the kernel's."""

    def __init__(self, group: "Group", number: int, index: int, code: int) -> None:
        self.group, self.system, self.index, self.code = group, group.system, index, code
        self.name, self.client_id = f"{group.name}/{number}", f"{group.name}-{number}"
        self.alive = self.stopped = self.is_back = self.evicted = False
        self.must_leave = self.must_rejoin = self.wants_to_rejoin = False
        self.must_give_up: set[int] = set()
        self.seat: Seat
        self.leaves_by = 0
        """The fault that makes it leave."""

    def start(self, *, assigned: bool, seat: Seat | None = None) -> None:
        """Begin to live, with an assignment or waiting for one."""
        w = self.system.at_now()
        row = w.member[self.index]
        row[RING_HEAD] = row[RING_COUNT] = row[RING_EVENTS] = row[BATCH_LEFT] = 0
        row[LAST_COMMIT] = NONE
        row[PAUSED_NS] = row[STALLED_NS] = 0
        w.own_marked[self.index] = NONE
        w.mp[self.index] = 0
        self.must_leave = self.must_rejoin = self.is_back = self.evicted = False
        self.must_give_up = set()
        row[HAS_DUTY] = 0
        self.alive = True
        self._sit_down(seat)
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
        for progress in (POSITION, GIVEN, FINISHED, ASKED, HELD_FROM, HELD_TO):
            mp[progress] = from_offset
        kernel.wake_fetch(w, self.index, partition)

    def start_fetching(self) -> None:
        """Park a fetch at every broker."""
        w = self.system.at_now()
        w.member[self.index, GENERATION] += 1
        w.mb[self.index, :, PARKED] = 1
        w.answer[self.index, :, :, A_TO] = w.answer[self.index, :, :, A_FROM]
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
        w.mb[self.index, :, PARKED] = 0
        w.mp[self.index, :, OWNED] = 0

    # ---- duties ----------------------------------------------------------------------------------------------------

    def has_duty(self) -> None:
        """Be told of a duty; a member that polls or waits turns to it at once, one that works after its batch."""
        w = self.system.at_now()
        row = w.member[self.index]
        row[HAS_DUTY] = 1
        if row[STATE] == POLLING:
            kernel.poll_at(w, self.index, self.system.clock.now)
        elif row[STATE] == WAITING and self.must_leave:
            self.do_duty()

    def do_duty(self) -> None:
        """Commit what is done, and turn to the duty when that has ended (`settled`)."""
        w = self.system.at_now()
        if kernel.wait_for_emitted(w, self.index, TO_DUTY):
            return
        if w.group[self.group.code, INTERVAL] > 0:
            kernel.commit_what_is_done(w, self.index)
        if kernel.has_commit_under_way(w, self.index):
            kernel.wait_for_commit(w, self.index, TO_DUTY)
        else:
            self.settled()

    def stop(self) -> None:
        """Leave for good, by the policy for failures."""
        self.stopped = self.must_leave = True
        self.do_duty()

    def settled(self) -> None:
        """Leave, rejoin or give partitions up, now that everything done is committed."""
        w = self.system.at_now()
        w.member[self.index, HAS_DUTY] = 0
        if self.must_leave:
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
            w.mp[self.index, partition, OWNED] = 0
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
        row[FENCED] = row[HAS_DUTY] = 1
        row[SEAT] += 1
        row[GENERATION] += 1
        w.mb[self.index, :, PARKED] = 0
        self.evicted, self.seat.is_live, self.is_back = True, False, False

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
        row[HELD] = row[NO_ROOM] = row[COMMIT_SOON] = 0
        w.hand[self.index, :, H_STATE] = H_FREE
        first = int(row[FIRST_WORKER])
        workers = w.worker[first : first + self.group.workers]
        workers[:, WK_STATE], workers[:, WK_HAND] = AT_WORK, NONE

    def _wait_for_assignment(self) -> None:
        self.system.world.member[self.index, STATE] = WAITING
        self.must_rejoin, self.is_back = False, True
        self.group.changed.give()

    def _leave(self) -> None:
        self._drop()
        self.system.world.member[self.index, STATE] = IDLE
        if self.group.is_pool:
            self._empty_hands(self.system.world)
        self.alive = self.is_back = self.seat.is_live = False
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
        row[EMITTING] = 0
        for emit in range(self.group.emits):
            kernel.abandon(self.system.world, int(row[FIRST_EMITTER]) + emit)
        self.alive = self.is_back = self.seat.is_live = False


class Group:
    """A group: who is a member, who has which partition."""

    def __init__(self, system: "System", name: str) -> None:
        scenario = system.plan.scenario
        self.system, self.name, self.clock = system, name, system.clock
        self.code = system.names.groups.index(name)
        what = scenario.groups[name]
        self.settings = consumer_settings(scenario, name)
        self.assignor, self.is_static = assignor(scenario, name), is_static(scenario, name)
        self.is_cooperative = self.settings.protocol == "classic" and self.assignor == "cooperative-sticky"
        self.coordinator = system.coordinator_of(name)
        self.emits, self.workers, self.is_pool = len(what.emits), what.workers, what.workers > 1
        self.topics = [
            [system.places[f"{topic}/{number}"] for number in range(system.draws.partitions_of(topic))]
            for topic in (*what.topics, *retry_topics(scenario, name))
        ]
        self.partitions = sorted(partition for partitions in self.topics for partition in partitions)
        self.ownerships = self.rebalances = 0
        self.changed = Signal(system.clock)
        first = system.names.processes.index(f"{name}/1")
        processes = sum(producer.count for producer in scenario.producers.values())
        self.members = [
            Member(self, number, first - processes + number - 1, first + number - 1)
            for number in range(1, what.members + 1)
        ]
        self.joined: list[Seat] = []
        """In the order of joining."""
        self.gathering = self.settling = self.again = False
        self.target: Assignment = {}
        self.target_since: dict[int, int] = {}
        """The number of the rebalance that gave the partition to whom it is meant for."""
        self.owner: dict[int, Seat] = {}
        self._begin()

    def _begin(self) -> None:
        """Have everything assigned at time 0."""
        for member in self.members:
            member.start(assigned=True)
        given = self.system.draws.observed.assignments.get(self.name)
        if given:
            self._take_over(given[0].owners)
        elif self.settings.protocol == "classic":
            self.joined = [member.seat for member in self.members]
            self.target = self._classic_assignment(self.joined)
        else:
            for number in self.system.draws.join_order(self.code):
                self.joined.append(self.members[number - 1].seat)
                self.target = uniform_assignment(self.joined, self.target, self.partitions)
        for seat, partitions in self.target.items():
            self._tell_assignment(seat, partitions)
            seat.member.gets(partitions)
            self.owner.update(dict.fromkeys(partitions, seat))

    def _take_over(self, owners: Any) -> None:
        """Begin with an assignment that was observed."""
        self.joined = [member.seat for member in self.members]
        self.target = {seat: [] for seat in self.joined}
        for (topic, number), name in sorted(owners.items()):
            member = next(member for member in self.members if member.name == name)
            self.target[member.seat].append(self.system.places[f"{topic}/{number}"])

    def _tell_assignment(self, seat: Seat, partitions: list[int]) -> None:
        names = " ".join(self.system.partitions[partition].name for partition in partitions)
        self.system.incident("assignment", seat.member.name, names)

    def _classic_assignment(self, seats: list[Seat]) -> Assignment:
        match self.assignor:
            case "range":
                return range_assignment(seats, self.topics)
            case "roundrobin":
                return round_robin_assignment(seats, [p for partitions in self.topics for p in partitions])
            case "sticky" | "cooperative-sticky":
                by_name = sorted(seats, key=lambda seat: seat.member.client_id)
                had = {seat: [p for p, owner in self.owner.items() if owner is seat] for seat in seats}
                return uniform_assignment(by_name, had, self.partitions)

    def position(self, partition: int) -> int:
        """Return where a new owner begins to read."""
        return int(self.system.world.committed[self.code, partition])

    # ---- who is a member -------------------------------------------------------------------------------------------

    def member_fault(self, index: int, fault: MemberCrash | MemberLeave) -> Process:
        """Make a member crash or leave, and come back."""
        system, planned = self.system, self.system.plan.faults[index]
        member = self.members[fault.member.member - 1]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        if not member.alive or member.must_leave:
            system.proofs[index] = f"no effect: {member.name} was not there"
            return
        system.proofs[index] = f"{member.name} was gone from {self.clock.now / 1e9:.3f} s on"
        if isinstance(fault, MemberCrash):
            was_member = not member.evicted
            member.crash()
            if was_member:
                self.clock.process(self._expire(member.seat, index, self.clock.now))
        else:
            member.must_leave, member.leaves_by = True, index
            member.has_duty()
        yield self.clock.control(planned.end_ns, Control.end, index)
        while member.alive:
            yield self.changed.wait()
        seat = member.seat
        # The new protocol refuses an instance id that somebody seems to have still (UNRELEASED_INSTANCE_ID).
        while (
            self.is_static
            and self.settings.protocol == "consumer"
            and isinstance(fault, MemberCrash)
            and seat in self.joined
        ):
            yield self.changed.wait()
        if member.stopped:
            return
        system.incident("restart", member.name, cause=planned.label)
        if self.is_static and seat in self.joined:
            self._takes_back(seat)
            return
        by_heartbeat = self.settings.protocol == "consumer"
        member.start(assigned=by_heartbeat)
        if by_heartbeat:
            member.start_fetching()
        self.joins(member.seat, planned.label)

    def hang_fault(self, index: int, fault: MemberPause | PollStall) -> Process:
        """Make a member hang: its process, heartbeats and all (pause), or its application only (stall)."""
        system, planned = self.system, self.system.plan.faults[index]
        member = self.members[fault.member.member - 1]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        if not member.alive or member.must_leave:
            system.proofs[index] = f"no effect: {member.name} was not there"
            return
        system.proofs[index] = f"{member.name} hung from {self.clock.now / 1e9:.3f} s on"
        row = system.world.member[member.index]
        life, whole = int(row[LIFE]), isinstance(fault, MemberPause)
        member.hang(planned.end_ns, whole=whole)
        if not whole:
            return
        seat = member.seat
        if seat.is_live:
            seat.hangs += 1
            self.clock.process(self._expire(seat, index, self.clock.now, hang=seat.hangs))
        yield self.clock.control(planned.end_ns, Control.end, index)
        row = system.world.member[member.index]
        if row[LIFE] == life and row[PAUSED_NS] == planned.end_ns:
            seat.hangs += 1
            system.news.give()
            member.goes_on()

    def _takes_back(self, seat: Seat) -> None:
        """Let a static member have the place that it left, and what it had."""
        seat.absences += 1
        seat.is_live = True
        is_stable = not (self.gathering or self.settling)
        seat.member.start(assigned=is_stable, seat=seat)
        if not is_stable:
            return
        owned = sorted(p for p, owner in self.owner.items() if owner is seat)
        seat.member.gets(owned)
        if self.settings.protocol == "consumer":
            self._catch_up(seat, owned)

    def _catch_up(self, seat: Seat, owned: list[int]) -> None:
        """Tell a static member that is back what was decided without it (consumer protocol)."""
        meant = self.target.get(seat, [])
        lost = set(owned) - set(meant)
        if lost:
            seat.member.must_give_up |= lost
            seat.member.has_duty()
        for partition in meant:
            if partition not in owned:
                self.clock.process(self._move(partition, seat, self.target_since[partition]))

    def left_for_a_while(self, seat: Seat) -> None:
        """Keep the place of a static member that ended in good order."""
        self.clock.process(self._expire(seat, seat.member.leaves_by, self.clock.now))
        self.changed.give()

    def _expire(self, seat: Seat, index: int, left_ns: int, hang: int = 0) -> Process:
        """Give a member that went silent up when its session is over; until then it keeps its place.

        A new coordinator begins everybody's session anew.
        """
        absence, epoch = seat.absences, int(self.system.world.part[self.coordinator, EPOCH])
        settings, code = self.settings, seat.member.code
        over_ns = self.system.draws.session_expired_ns(code, index, settings.session_timeout_ns, settings.heartbeat_ns)
        over_ns += left_ns - self.system.plan.faults[index].begin_ns
        yield self.clock.control(over_ns, Control.expiry, index)
        given = (index, seat.member.name) in self.system.draws.observed.session_expired_ns
        while not given:
            now = self._coordinator_epoch()
            if now is None:
                yield self.system.news.wait()
            elif now != epoch:
                epoch = now
                led_since_ns = self.system.led_since_ns[self.coordinator]
                yield self.clock.control(led_since_ns + settings.session_timeout_ns, Control.expiry, index)
            else:
                break
        if seat.absences != absence or seat not in self.joined or (hang and seat.hangs != hang):
            return
        self.system.incident("session expired", seat.member.name, cause=self.system.plan.faults[index].label)
        if hang:
            seat.member.lose_seat()
        else:
            self.remove(seat)

    def joins(self, seat: Seat, cause: str) -> None:
        """Take a new member."""
        self.joined.append(seat)
        self._rebalance(cause)

    def remove(self, seat: Seat) -> None:
        """Take a member that left or was given up off the group."""
        self.joined.remove(seat)
        self.owner = {partition: owner for partition, owner in self.owner.items() if owner is not seat}
        self._rebalance(seat.member.name)
        self.changed.give()

    def _rebalance(self, cause: str) -> None:
        """Begin a rebalance, or let the one that is under way see what changed."""
        if self.settings.protocol == "consumer":
            self._reassign(cause)
        elif self.gathering:
            self.changed.give()
        elif self.settling:
            self.again = True
        else:
            self.gathering = True
            self.clock.process(self._classic_rebalance(cause))

    def _learn(self, seat: Seat, number: int) -> int:
        return self.system.draws.learn(seat.member.code, self.settings.heartbeat_ns)[number]

    # ---- the coordinator -----------------------------------------------------------------------------------------

    def _coordinator_epoch(self) -> int | None:
        """Return the leader epoch of the group's offsets partition, or None while it has no leader."""
        part = self.system.world.part[self.coordinator]
        return None if part[LEADER] == NONE else int(part[EPOCH])

    def _until_heard(self, seat: Seat) -> Process:
        """Wait until a member knows the coordinator, which alone can tell it anything."""
        while seat.is_live and self._is_out_of_reach(seat.member):
            yield self.system.news.wait()

    def _is_out_of_reach(self, member: Member) -> bool:
        world = self.system.world
        hangs = world.member[member.index, PAUSED_NS] > self.clock.now
        return bool(hangs or not world.knows[member.code, self.coordinator])

    # ---- classic protocol ------------------------------------------------------------------------------------------

    def _classic_rebalance(self, cause: str) -> Process:
        """Wait until everyone is back, then assign everything anew."""
        number, self.rebalances = self.rebalances, self.rebalances + 1
        self.system.incident("rebalance", self.name, cause=cause)
        for seat in self.joined:
            if seat.is_live and not seat.member.is_back:
                self.clock.process(self._tell(seat, self._learn(seat, number)))
        while not all(seat.is_live and seat.member.is_back for seat in self.joined):
            yield self.changed.wait()
        self.gathering, self.settling = False, True
        seats = list(self.joined)
        rejoin_ns = self.system.draws.rejoin(self.code)[number]
        yield self.clock.control(self.clock.now + rejoin_ns, Control.rebalance, self.code)
        while self._coordinator_epoch() is None:
            yield self.system.news.wait()
        self.target = self._classic_assignment(seats)
        for seat, partitions in self.target.items():
            if self.is_cooperative:
                self._adjust(seat, partitions)
            elif seat.is_live:
                self.owner.update(dict.fromkeys(partitions, seat))
                self._tell_assignment(seat, partitions)
                seat.member.gets(partitions)
        self.settling = False
        if self.again:
            self.again = False
            self._rebalance(cause)

    def _adjust(self, seat: Seat, partitions: list[int]) -> None:
        """Let a member have at once what nobody has, and give up what is meant for others (cooperative)."""
        if not seat.is_live:
            return
        free = [p for p in partitions if p not in self.owner]
        self.owner.update(dict.fromkeys(free, seat))
        self._tell_assignment(seat, partitions)
        seat.member.gets_more(free)
        lost = {p for p, owner in self.owner.items() if owner is seat and p not in partitions}
        if lost:
            seat.member.must_give_up |= lost
            seat.member.has_duty()

    def _tell(self, seat: Seat, learn_ns: int) -> Process:
        yield self.clock.control(self.clock.now + learn_ns, Control.rebalance, seat.member.code)
        yield from self._until_heard(seat)
        if seat.is_live:
            seat.member.must_rejoin = True
            seat.member.has_duty()

    # ---- consumer protocol -----------------------------------------------------------------------------------------

    def _reassign(self, cause: str) -> None:
        """Decide who is to have what; those concerned learn of it at their next heartbeats."""
        number, self.rebalances = self.rebalances, self.rebalances + 1
        self.system.incident("rebalance", self.name, cause=cause)
        before = {partition: seat for seat, partitions in self.target.items() for partition in partitions}
        self.target = uniform_assignment(self.joined, self.target, self.partitions)
        for seat, partitions in self.target.items():
            for partition in partitions:
                if before.get(partition) is not seat:
                    self.target_since[partition] = number
                    self.clock.process(self._move(partition, seat, number))

    def _move(self, partition: int, to: Seat, number: int) -> Process:
        """Bring a partition to its new owner, once the one before has given it up."""
        clock, begun_ns, owner = self.clock, self.clock.now, self.owner.get(partition)
        if owner is not None and owner is not to:
            clock.process(self._take_away(partition, owner, number))
        first_ns, interval_ns = begun_ns + self._learn(to, number), self.settings.heartbeat_ns
        while (owner := self.owner.get(partition)) is not None:
            if owner is to and partition not in to.member.must_give_up:
                return
            yield self.changed.wait()
        beats = max(0, -((first_ns - clock.now) // interval_ns))
        yield clock.control(first_ns + beats * interval_ns, Control.rebalance, to.member.code)
        yield from self._until_heard(to)
        if self.target_since[partition] == number and to.is_live:
            self.owner[partition] = to
            self._tell_assignment(to, [partition])
            to.member.owns(partition, self.position(partition))

    def _take_away(self, partition: int, owner: Seat, number: int) -> Process:
        yield self.clock.control(self.clock.now + self._learn(owner, number), Control.rebalance, owner.member.code)
        yield from self._until_heard(owner)
        if self.target_since[partition] == number and owner.is_live:
            owner.member.must_give_up.add(partition)
            owner.member.has_duty()

    def gave_up(self, partition: int) -> None:
        """Let the new owner have a partition."""
        self.owner.pop(partition, None)
        self.changed.give()

    def gave_all_up(self) -> None:
        """Have what was given up assigned anew (cooperative)."""
        if self.is_cooperative:
            self._rebalance("partitions given up")
