"""Groups, as SimPy processes: who is a member, who has which partition, and both ways to rebalance. The kernel moves their records."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from rundata.tables import most_members
from scenarios.clients import assignor, broker_setting, consumer_settings, is_static
from scenarios.faults import MemberCrash, MemberLeave, MemberPause, PollStall
from scenarios.quantities import MILLISECOND
from scenarios.retries import most_partitions, retry_topics
from scenarios.schema import Restart
from sim.assignors import Assignment, Seat, range_assignment, round_robin_assignment, uniform_assignment
from sim.clock import Control, Signal
from sim.draws import FIRST_CRASH
from sim.members import Member
from sim.world import EPOCH, L_TXN, LEADER, LIFE, LOG_START, NONE, OPEN, PAUSED_NS, STABLE_END, VISIBLE_END

if TYPE_CHECKING:
    from sim.system import System

Process = Generator[simpy.Event, Any, None]


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
        self.is_share, self.is_java = what.share_group, what.client == "java"
        self.emits, self.workers, self.is_pool = len(what.emits), what.workers, what.workers > 1
        self.restart = what.failures.restart if what.failures else Restart()
        self.topics = [
            [system.places[f"{topic}/{number}"] for number in range(most_partitions(scenario, topic))]
            for topic in (*what.topics, *retry_topics(scenario, name))
        ]
        self.partitions = sorted(partition for partitions in self.topics for partition in partitions)
        self.own_partitions = sorted(
            partition for partitions in self.topics[: len(what.topics)] for partition in partitions
        )
        """Without those of retry topics."""
        self.unheard = {partition for partition in self.partitions if not system.partitions[partition].replicas}
        """Partitions that there are not yet, or that the group does not know of."""
        self.late: set[int] = set()
        """Partitions that came late, and of which nothing was read or committed yet."""
        self.ownerships = self.rebalances = 0
        self.changed = Signal(system.clock)
        first = system.names.processes.index(f"{name}/1")
        processes = sum(producer.count for producer in scenario.producers.values())
        self.members = [
            Member(self, number, first - processes + number - 1, first + number - 1)
            for number in range(1, most_members(scenario, name) + 1)
        ]
        self.first_members = self.members[: what.members]
        self.joined: list[Seat] = []
        """In the order of joining."""
        self.gathering = self.settling = self.again = False
        self.initial_delay_ns = int(broker_setting(scenario, "group.initial.rebalance.delay.ms")) * MILLISECOND
        self.waits_until_ns = 0
        self.target: Assignment = {}
        self.target_since: dict[int, int] = {}
        """The number of the rebalance that gave the partition to whom it is meant for."""
        self.owner: dict[int, Seat] = {}
        self._begin()

    def _begin(self) -> None:
        """Have everything assigned at time 0."""
        for member in self.first_members:
            member.start(assigned=True)
        given = self.system.draws.observed.assignments.get(self.name)
        if given:
            self._take_over(given[0].owners)
        elif self.settings.protocol == "classic":
            self.joined = [member.seat for member in self.first_members]
            self.target = self._classic_assignment(self.joined)
        else:
            for number in self.system.draws.join_order(self.code):
                self.joined.append(self.members[number - 1].seat)
                self.target = uniform_assignment(self.joined, self.target, self._known(self.partitions))
        for seat, partitions in self.target.items():
            self._tell_assignment(seat, partitions)
            seat.member.gets(partitions)
            self.owner.update(dict.fromkeys(partitions, seat))

    def _take_over(self, owners: Any) -> None:
        """Begin with an assignment that was observed."""
        self.joined = [member.seat for member in self.first_members]
        self.target = {seat: [] for seat in self.joined}
        for (topic, number), name in sorted(owners.items()):
            member = next(member for member in self.members if member.name == name)
            self.target[member.seat].append(self.system.places[f"{topic}/{number}"])

    def _tell_assignment(self, seat: Seat, partitions: list[int]) -> None:
        names = " ".join(self.system.partitions[partition].name for partition in partitions)
        self.system.incident("assignment", seat.member.name, names)

    def _classic_assignment(self, seats: list[Seat]) -> Assignment:
        if not self.is_java:  # a leader of librdkafka asks at every rebalance how many partitions there are
            self.unheard = {p for p in self.unheard if not self.system.partitions[p].replicas}
        match self.assignor:
            case "range":
                return range_assignment(seats, [self._known(partitions) for partitions in self.topics])
            case "roundrobin":
                return round_robin_assignment(seats, [p for partitions in self.topics for p in self._known(partitions)])
            case "sticky" | "cooperative-sticky":
                by_name = sorted(seats, key=lambda seat: seat.member.client_id)
                had = {seat: [p for p, owner in self.owner.items() if owner is seat] for seat in seats}
                return uniform_assignment(by_name, had, self._known(self.partitions))

    def position(self, partition: int) -> int:
        """Return where a new owner begins to read: at what is committed; in a partition that came late first where auto.offset.reset says."""
        if partition in self.late and self.settings.auto_offset_reset != "none":
            self.late.discard(partition)
            if self.settings.auto_offset_reset == "latest":
                end = STABLE_END if self.settings.isolation == "read_committed" else VISIBLE_END
                part = self.system.world.part[partition]
                self.set_offset(partition, max(int(part[LOG_START]), int(part[end])))
        return int(self.system.world.committed[self.code, partition])

    def has_no_offset_of(self, partition: int) -> bool:
        """Whether nothing says where to begin to read a partition: it came late, and auto.offset.reset is none."""
        return partition in self.late and self.settings.auto_offset_reset == "none"

    def set_offset(self, partition: int, offset: int) -> None:
        """Set what is committed: what that passes over has ended for the group, what it reads again has not."""
        self.late.discard(partition)
        world = self.system.world
        before = int(world.committed[self.code, partition])
        passed, again = slice(before, max(before, offset)), slice(min(before, offset), before)
        closed, gone = world.closed[self.code, partition], world.log[partition, again, L_TXN] < NONE
        world.scalars[OPEN] += np.count_nonzero(closed[again] > gone) - np.count_nonzero(closed[passed] == 0)
        closed[passed], closed[again] = 1, gone
        world.committed[self.code, partition] = offset

    # ---- partitions that come late ---------------------------------------------------------------------------------

    def _known(self, partitions: list[int]) -> list[int]:
        """Return those that the group knows of."""
        return [partition for partition in partitions if partition not in self.unheard] if self.unheard else partitions

    def hears_of(self, partitions: set[int]) -> None:
        """Know of new partitions, and have them assigned."""
        if self.unheard & partitions:
            self.unheard -= partitions
            if self.joined:
                self._rebalance("new partitions")

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
            self._kill(member, index)
        else:
            self.ask_to_leave(member, index)
        member.is_awaited = True
        yield self.clock.control(planned.end_ns, Control.end, index)
        while member.alive:
            yield self.changed.wait()
        if isinstance(fault, MemberCrash):
            yield from self._until_released(member)
        member.is_awaited = False
        if member.stopped:
            return
        system.incident("restart", member.name, cause=planned.label)
        self.bring_in(member, planned.label)

    def _kill(self, member: Member, number: int) -> None:
        """Let a member die; the coordinator learns of it when its session is over."""
        was_member = not member.evicted
        member.crash()
        self.changed.give()
        if was_member:
            self.clock.process(self._expire(member.seat, number, self.clock.now))

    def _until_released(self, member: Member) -> Process:
        """Wait while the new protocol would refuse an instance id that somebody seems to have still (UNRELEASED_INSTANCE_ID)."""
        while self.is_static and self.settings.protocol == "consumer" and member.seat in self.joined:
            yield self.changed.wait()

    def dies(self, member: Member) -> None:
        """Let a member die of an event, and come back if nobody is about to end it."""
        self.system.incident("crash", member.name, cause="then: crash")
        ends = member.must_leave
        member.note_crash(twice_ns=2 * self.restart.most)
        self._kill(member, FIRST_CRASH + member.crashes)
        if not ends:
            member.is_awaited = True
            self.clock.process(self._restarts(member))

    def raised(self, member: Member) -> None:
        """Let a member die of an error of its client; nobody starts it again."""
        self.system.incident("crash", member.name, cause="auto.offset.reset: none")
        member.crashes += 1
        self._kill(member, FIRST_CRASH + member.crashes)

    def _restarts(self, member: Member) -> Process:
        wait_ns = self.restart.wait_ns(member.crashes_in_a_row)
        yield self.clock.control(self.clock.now + wait_ns, Control.end, FIRST_CRASH + member.code)
        yield from self._until_released(member)
        member.is_awaited = False
        self.system.incident("restart", member.name, cause="then: crash")
        self.bring_in(member, "crash")

    def is_empty(self) -> bool:
        """Whether nobody is a member, nor will leave or be given up yet."""
        return not self.joined and not any(member.alive for member in self.members)

    def ask_to_leave(self, member: Member, number: int) -> None:
        """Have a member leave in good order, because of a fault or an action."""
        member.must_leave, member.leaves_by = True, number
        member.has_duty()

    def bring_in(self, member: Member, cause: str) -> None:
        """Start a member's process, which joins: as a new member, or where its place was kept."""
        if self.is_static and member.seat in self.joined:
            self._takes_back(member.seat)
            return
        by_heartbeat = self.settings.protocol == "consumer"
        member.start(assigned=by_heartbeat)
        if by_heartbeat:
            member.start_fetching()
        self.joins(member.seat, cause)

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
        over_ns += left_ns - self.system.draws.begin_ns(index)
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
        self.system.incident("session expired", seat.member.name, cause=self.system.label(index))
        if hang and seat is seat.member.seat:  # who died of what he did when he went on is back with another one
            seat.member.lose_seat()
        else:
            self.remove(seat)

    def joins(self, seat: Seat, cause: str) -> None:
        """Take a new member; one that finds an empty group waits for others, too (classic)."""
        if not self.joined:
            self.waits_until_ns = self.clock.now + self.initial_delay_ns
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
        if self.waits_until_ns > self.clock.now:
            yield self.clock.control(self.waits_until_ns, Control.rebalance, self.code)
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
        self.target = uniform_assignment(self.joined, self.target, self._known(self.partitions))
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
        if self.target_since[partition] == number and to.is_live and self.owner.get(partition) is not to:
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
