"""Groups of the plain model: who is a member, who has which partition, and both ways to rebalance."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_brokers import OFFSETS_PARTITIONS
from plain_clock import Control, Signal
from plain_members import Member, Seat
from scenarios.clients import consumer_settings
from scenarios.faults import FailingWork, MemberCrash, MemberLeave, SlowWork
from scenarios.partitioners import coordinator_partition
from scenarios.schema import CollectReads, EveryCommit

if TYPE_CHECKING:
    from plain_brokers import Partition
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]
Assignment = dict[Seat, list["Partition"]]


def range_assignment(seats: list[Seat], topics: list[list["Partition"]]) -> Assignment:
    """Give each member, in the order of client ids, consecutive partitions of each topic, the first ones one more."""
    in_order = sorted(seats, key=lambda seat: seat.member.client_id)
    given: Assignment = {seat: [] for seat in in_order}
    for partitions in topics:
        rest = list(partitions)
        for index, seat in enumerate(in_order):
            share = len(partitions) // len(in_order) + (index < len(partitions) % len(in_order))
            given[seat] += rest[:share]
            rest = rest[share:]
    return given


def uniform_assignment(seats: list[Seat], before: Assignment, partitions: list["Partition"]) -> Assignment:
    """Let each member, in the order of joining, keep what it had as far as it is its share, and deal out the rest."""
    if not seats:
        return {}
    share, extras = divmod(len(partitions), len(seats))
    given: Assignment = {}
    for seat in seats:
        had = [partition for partition in partitions if partition in before.get(seat, [])]
        keeps = share + (extras > 0 and len(had) > share)
        extras -= keeps > share
        given[seat] = had[:keeps]
    rest = [p for p in partitions if not any(p in kept for kept in given.values())]
    for seat in seats:
        due = share
        if extras and len(given[seat]) <= share:
            due, extras = share + 1, extras - 1
        while len(given[seat]) < due:
            given[seat].append(rest.pop(0))
    return given


class Group:
    """A group: who is a member, who has which partition, what is committed."""

    def __init__(self, model: "Model", name: str) -> None:
        scenario = model.plan.scenario
        self.model, self.name, self.clock = model, name, model.clock
        self.code = model.names.groups.index(name)
        what = scenario.groups[name]
        self.settings = consumer_settings(scenario, name)
        self.protocol, self.failures, self.commit = self.settings.protocol, what.failures, what.commit
        self.commit_word = "every" if isinstance(what.commit, EveryCommit) else what.commit
        self.interval_ns = self._interval_ns()
        reads = what.reads
        self.collect = (reads.collect.events, reads.collect.timeout) if isinstance(reads, CollectReads) else None
        self.topics = [model.partitions[topic] for topic in what.topics]
        self.partitions = sorted((p for partitions in self.topics for p in partitions), key=self.place)
        offsets_number = coordinator_partition(name, OFFSETS_PARTITIONS)
        self.coordinator = next(p for p in model.offsets if p.number == offsets_number)
        planned = [planned for planned in model.plan.faults if getattr(planned.fault, "group", None) == name]
        self.slow_work = [(one, one.fault) for one in planned if isinstance(one.fault, SlowWork)]
        self.failing_work = [(one, one.fault) for one in planned if isinstance(one.fault, FailingWork)]
        self.committed: dict[Partition, int] = {}
        self.deliveries: dict[int, int] = {}
        self.ownerships = self.rebalances = 0
        self.changed = Signal(model.clock)
        first_code = model.names.processes.index(f"{name}/1")
        self.all_members = [Member(self, number, first_code + number - 1) for number in range(1, what.members + 1)]
        self.joined: list[Seat] = []
        """In the order of joining."""
        self.gathering = self.settling = self.again = False
        self.target: Assignment = {}
        self.target_since: dict[Partition, int] = {}
        """The number of the rebalance that gave the partition to whom it is meant for."""
        self.owner: dict[Partition, Seat] = {}
        self._begin()

    def place(self, partition: "Partition") -> tuple[int, int]:
        """Order partitions by topic and number."""
        return self.model.names.topics.index(partition.topic), partition.number

    def _interval_ns(self) -> int:
        match self.commit:
            case EveryCommit(every=interval_ns):
                return interval_ns
            case "auto":
                return self.settings.auto_commit_interval_ns
            case _:
                return 0

    def _begin(self) -> None:
        """Have everything assigned at time 0."""
        for member in self.all_members:
            member.start(assigned=True)
        if self.protocol == "classic":
            self.joined = [member.seat for member in self.all_members]
            self.target = range_assignment(self.joined, self.topics)
        else:
            for number in self.model.draws.join_order(self.code):
                self.joined.append(self.all_members[number - 1].seat)
                self.target = uniform_assignment(self.joined, self.target, self.partitions)
        for seat, partitions in self.target.items():
            seat.member.gets(partitions)
            self.owner.update(dict.fromkeys(partitions, seat))

    # ---- what is committed -----------------------------------------------------------------------------------------

    def commit_offset(self, partition: "Partition", offset: int) -> None:
        """Keep an offset; what lies below has ended."""
        for below in range(self.committed.get(partition, 0), offset):
            self.model.open.discard((self, partition, below))
        self.committed[partition] = offset

    def position(self, partition: "Partition") -> int:
        """Return where a new owner begins to read."""
        return self.committed.get(partition, 0) if self.model.rules.positions_from_committed else partition.visible_end

    # ---- who is a member -------------------------------------------------------------------------------------------

    def member_fault(self, index: int, fault: MemberCrash | MemberLeave) -> Process:
        """Make a member crash or leave, and come back."""
        planned, member = self.model.plan.faults[index], self.all_members[fault.member.member - 1]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        if not member.alive or member.must_leave:
            self.model.fired["member fault without effect"] += 1
            return
        self.model.fired[f"{fault.fault} {self.protocol}"] += 1
        if isinstance(fault, MemberCrash):
            was_member = not member.evicted
            member.crash()
            if was_member:
                self.clock.process(self._expire(member.seat, index))
        else:
            member.must_leave = True
            member.duty.give()
        yield self.clock.control(planned.end_ns, Control.end, index)
        while member.alive:
            yield self.changed.wait()
        if not member.stopped:
            self.model.incident("restart", member.name)
            member.start(assigned=self.protocol == "consumer")
            if self.protocol == "consumer":
                member.start_fetching()
            self.joins(member.seat)

    def _expire(self, seat: Seat, index: int) -> Process:
        """Give a crashed member up when its session is over; until then it keeps its place."""
        settings, code = self.settings, seat.member.code
        session_ns = settings.session_timeout_ns if self.model.rules.session_wait else settings.heartbeat_ns
        over_ns = self.model.draws.session_expired_ns(code, index, session_ns, settings.heartbeat_ns)
        yield self.clock.control(over_ns, Control.expiry, index)
        self.model.incident("session expired", seat.member.name)
        self.remove(seat)

    def joins(self, seat: Seat) -> None:
        """Take a new member."""
        self.joined.append(seat)
        self._rebalance()

    def remove(self, seat: Seat) -> None:
        """Take a member that left or was given up off the group."""
        self.joined.remove(seat)
        self.owner = {partition: owner for partition, owner in self.owner.items() if owner is not seat}
        self._rebalance()
        self.changed.give()

    def _rebalance(self) -> None:
        """Begin a rebalance, or let the one that is under way see what changed."""
        if self.protocol == "consumer":
            self._reassign()
        elif self.gathering:
            self.changed.give()
        elif self.settling:
            self.again = True
        else:
            self.gathering = True
            self.clock.process(self._classic_rebalance())

    def _learn(self, seat: Seat, number: int) -> int:
        return self.model.draws.learn(seat.member.code, self.settings.heartbeat_ns)[number]

    # ---- classic protocol ------------------------------------------------------------------------------------------

    def _classic_rebalance(self) -> Process:
        """Wait until everyone is back, then assign everything anew."""
        number, self.rebalances = self.rebalances, self.rebalances + 1
        self.model.incident("rebalance", self.name)
        for seat in self.joined:
            if seat.is_live and not seat.member.is_back:
                self.clock.process(self._tell(seat, self._learn(seat, number)))
        while not all(seat.is_live and seat.member.is_back for seat in self.joined):
            yield self.changed.wait()
        self.gathering, self.settling = False, True
        seats = list(self.joined)
        rejoin_ns = self.model.draws.rejoin(self.code)[number]
        yield self.clock.control(self.clock.now + rejoin_ns, Control.rebalance, self.code)
        self.settling = False
        for seat, partitions in range_assignment(seats, self.topics).items():
            if seat.is_live:
                self.model.incident("assignment", seat.member.name, " ".join(map(str, partitions)))
                seat.member.gets(partitions)
        if self.again:
            self.model.fired["rebalance after rebalance"] += 1
            self.again = False
            self._rebalance()

    def _tell(self, seat: Seat, learn_ns: int) -> Process:
        yield self.clock.control(self.clock.now + learn_ns, Control.rebalance, seat.member.code)
        if seat.is_live:
            seat.member.must_rejoin = True
            seat.member.duty.give()

    # ---- consumer protocol -----------------------------------------------------------------------------------------

    def _reassign(self) -> None:
        """Decide who is to have what; those concerned learn of it at their next heartbeats."""
        number, self.rebalances = self.rebalances, self.rebalances + 1
        self.model.incident("rebalance", self.name)
        before = {partition: seat for seat, partitions in self.target.items() for partition in partitions}
        self.target = uniform_assignment(self.joined, self.target, self.partitions)
        for seat, partitions in self.target.items():
            for partition in partitions:
                if before.get(partition) is not seat:
                    self.target_since[partition] = number
                    self.clock.process(self._move(partition, seat, number))

    def _move(self, partition: "Partition", to: Seat, number: int) -> Process:
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
        if self.target_since[partition] == number and to.is_live:
            self.owner[partition] = to
            self.model.incident("assignment", to.member.name, str(partition))
            to.member.owns(partition, self.position(partition))

    def _take_away(self, partition: "Partition", owner: Seat, number: int) -> Process:
        yield self.clock.control(self.clock.now + self._learn(owner, number), Control.rebalance, owner.member.code)
        if self.target_since[partition] == number and owner.is_live:
            owner.member.must_give_up.add(partition)
            owner.member.duty.give()

    def gave_up(self, partition: "Partition") -> None:
        """Let the new owner have a partition."""
        self.model.fired["partition given up"] += 1
        self.owner.pop(partition, None)
        self.changed.give()
