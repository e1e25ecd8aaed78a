"""Groups of the plain model: who is a member, who has which partition, and both ways to rebalance."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_brokers import OFFSETS_PARTITIONS
from plain_clock import Control, Signal
from plain_member_state import Seat
from plain_members import Member
from rundata.tables import most_members
from scenarios.clients import assignor, broker_setting, consumer_settings, is_static
from scenarios.faults import FailingWork, MemberCrash, MemberLeave, MemberPause, PollStall, SlowWork
from scenarios.partitioners import coordinator_partition
from scenarios.quantities import MILLISECOND
from scenarios.retries import retry_topics
from scenarios.schema import CollectReads, Dedupe, EveryCommit
from sim.draws import FIRST_CRASH

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


def round_robin_assignment(seats: list[Seat], topics: list[list["Partition"]]) -> Assignment:
    """Deal all partitions, in the order of topic and number, to the members in the order of client ids."""
    in_order = sorted(seats, key=lambda seat: seat.member.client_id)
    given: Assignment = {seat: [] for seat in in_order}
    for turn, partition in enumerate(p for partitions in topics for p in partitions if in_order):
        given[in_order[turn % len(in_order)]].append(partition)
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

    is_share = False

    def __init__(self, model: "Model", name: str) -> None:
        scenario = model.plan.scenario
        self.model, self.name, self.clock = model, name, model.clock
        self.code = model.names.groups.index(name)
        what = scenario.groups[name]
        self.settings = consumer_settings(scenario, name)
        self.protocol, self.failures, self.commit = self.settings.protocol, what.failures, what.commit
        self.assignor, self.is_static = assignor(scenario, name), is_static(scenario, name)
        self.is_cooperative = self.protocol == "classic" and self.assignor == "cooperative-sticky"
        self.is_cooperative &= model.rules.cooperative
        self.commit_word = "every" if isinstance(what.commit, EveryCommit) else what.commit
        self.interval_ns = self._interval_ns()
        reads = what.reads
        self.reads_committed = self.settings.isolation == "read_committed"
        self.is_java = what.client == "java"
        self.client = what.client
        self.emit_count, self.calls = len(what.emits), what.calls
        self.workers, self.in_hand, self.ordered_by = what.workers, what.in_hand, what.ordered_by
        self.is_pool = what.workers > 1
        self.finishes_later = bool(what.emits) or self.is_pool
        """An event is finished when its effect is recorded and what it emitted is there, not at its planned end."""
        self.collect = (reads.collect.events, reads.collect.timeout) if isinstance(reads, CollectReads) else None
        self.topics = [model.partitions[topic] for topic in (*what.topics, *retry_topics(scenario, name))]
        self.by_topic = what.failures is not None and what.failures.retry.where == "topic"
        self.dedupe = what.dedupe if isinstance(what.dedupe, Dedupe) else None
        self.marked: dict[int, int] = {}
        """By event: when it took effect, in the memory that members share."""
        self.partitions = sorted((p for partitions in self.topics for p in partitions), key=self.place)
        offsets_number = coordinator_partition(name, OFFSETS_PARTITIONS)
        self.coordinator = next(p for p in model.offsets if p.number == offsets_number)
        planned = [planned for planned in model.plan.faults if getattr(planned.fault, "group", None) == name]
        self.slow_work = [(one, one.fault) for one in planned if isinstance(one.fault, SlowWork)]
        self.failing_work = [(one, one.fault) for one in planned if isinstance(one.fault, FailingWork)]
        self.committed: dict[Partition, int] = {}
        self.deliveries: dict[int, int] = {}
        self.unheard = {partition for partition in self.partitions if not partition.replicas}
        """Partitions that there are not yet, or that the group does not know of."""
        self.late: set[Partition] = set()
        """Partitions that came late, and of which nothing was read or committed yet."""
        self.ownerships = self.rebalances = 0
        self.changed = Signal(model.clock)
        first_code = model.names.processes.index(f"{name}/1")
        self.all_members = [
            Member(self, number, first_code + number - 1) for number in range(1, most_members(scenario, name) + 1)
        ]
        self.first_members = self.all_members[: what.members]
        self.joined: list[Seat] = []
        """In the order of joining."""
        self.gathering = self.settling = self.again = False
        self.initial_delay_ns = int(broker_setting(scenario, "group.initial.rebalance.delay.ms")) * MILLISECOND
        self.waits_until_ns = 0
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
        for member in self.first_members:
            member.start(assigned=True)
        if self.protocol == "classic":
            self.joined = [member.seat for member in self.first_members]
            self.target = self._classic_assignment(self.joined)
        else:
            order = self.model.draws.join_order(self.code)
            for number in order if self.model.rules.order_of_joining else sorted(order):
                self.joined.append(self.all_members[number - 1].seat)
                self.target = uniform_assignment(self.joined, self.target, self._known(self.partitions))
        for seat, partitions in self.target.items():
            seat.member.gets(partitions)
            self.owner.update(dict.fromkeys(partitions, seat))

    def _classic_assignment(self, seats: list[Seat]) -> Assignment:
        self.model.fired[f"assignor {self.assignor}"] += 1
        # a leader of librdkafka asks at every rebalance how many partitions there are
        if not self.is_java and self.model.rules.leaders_ask_at_rebalances:
            self.unheard = {partition for partition in self.unheard if not partition.replicas}
        match self.assignor:
            case "range" if self.model.rules.range_assignor:
                return range_assignment(seats, [self._known(partitions) for partitions in self.topics])
            case "roundrobin" if not self.model.rules.round_robin_assignor:
                return range_assignment(seats, [self._known(partitions) for partitions in self.topics])
            case "range" | "roundrobin":
                return round_robin_assignment(seats, [self._known(partitions) for partitions in self.topics])
            case _:
                by_name = sorted(seats, key=lambda seat: seat.member.client_id)
                had = {seat: [p for p, owner in self.owner.items() if owner is seat] for seat in seats}
                had = had if self.model.rules.stickiness else {}
                return uniform_assignment(by_name, had, self._known(self.partitions))

    # ---- what is committed -----------------------------------------------------------------------------------------

    def commit_offset(self, partition: "Partition", offset: int) -> None:
        """Keep an offset; what lies below has ended."""
        for below in range(self.committed.get(partition, 0), offset):
            self.model.open.discard((self, partition, below))
        self.committed[partition] = offset

    def may_read_to(self, partition: "Partition") -> int:
        """Return up to which offset the group may read a partition."""
        return partition.stable_end if self.reads_committed else partition.visible_end

    def passes_over(self, partition: "Partition", offset: int) -> bool:
        """Whether the group does not see a record because its transaction was aborted, or because it is gone."""
        if partition.log[offset].gone:
            return True
        transaction = partition.log[offset].transaction
        is_aborted = transaction is not None and transaction.state == "aborted"
        return is_aborted and self.reads_committed and self.model.rules.aborted_unseen

    def position(self, partition: "Partition") -> int:
        """Return where a new owner begins to read; in a partition that came late auto.offset.reset says where the first one does."""
        if partition in self.late and not self.has_no_offset_of(partition):
            self.late.discard(partition)
            if self.settings.auto_offset_reset == "latest" and self.model.rules.reset_in_new_partitions:
                end = max(partition.start, self.may_read_to(partition))
                self.model.fired["passed over in a new partition"] += end > partition.start
                self.commit_offset(partition, end)
        return self.committed.get(partition, 0) if self.model.rules.positions_from_committed else partition.visible_end

    # ---- partitions that come late ---------------------------------------------------------------------------------

    def has_no_offset_of(self, partition: "Partition") -> bool:
        """Whether nothing says where to begin to read a partition: it came late, and auto.offset.reset is none."""
        return partition in self.late and self.settings.auto_offset_reset == "none" and self.model.rules.no_reset

    def _known(self, partitions: list["Partition"]) -> list["Partition"]:
        return [partition for partition in partitions if partition not in self.unheard]

    def hears_of(self, partitions: set["Partition"]) -> None:
        """Know of new partitions, and have them assigned."""
        if self.unheard & partitions and self.model.rules.groups_ask:
            self.model.fired[f"new partitions read {self.protocol}"] += 1
            self.unheard -= partitions
            if self.joined:
                self._rebalance()

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
            self._kill(member, index)
        else:
            member.must_leave, member.leaves_by = True, index
            member.duty.give()
        member.is_awaited = True
        yield self.clock.control(planned.end_ns, Control.end, index)
        while member.alive:
            yield self.changed.wait()
        if isinstance(fault, MemberCrash):
            yield from self._until_released(member)
        member.is_awaited = False
        if not member.stopped:
            self.model.incident("restart", member.name)
            self.bring_in(member)

    def _kill(self, member: Member, number: int) -> None:
        """Let a member die."""
        was_member = not member.evicted
        member.crash()
        self.changed.give()
        if was_member:
            self.clock.process(self._expire(member.seat, number, self.clock.now))

    def _until_released(self, member: Member) -> Process:
        """Wait while an instance id is refused because somebody seems to have it still."""
        while (
            self.model.rules.ids_are_released
            and self.is_static
            and self.protocol == "consumer"
            and member.seat in self.joined
        ):
            self.model.fired["instance id not released"] += 1
            yield self.changed.wait()

    def dies(self, member: Member) -> Process:
        """Let a member die of an event, and be started again, later each time."""
        assert self.failures is not None
        restart, ends = self.failures.restart, member.must_leave
        ran_ns = self.clock.now - member.started_ns
        member.crashes += 1
        is_anew = ran_ns >= 2 * restart.most and self.model.rules.long_lives_count_anew
        member.crashes_in_a_row = 1 if is_anew else member.crashes_in_a_row + 1
        self.model.fired["died again"] += member.crashes_in_a_row > 1
        self.model.fired["died after a long time"] += member.crashes > member.crashes_in_a_row
        self._kill(member, FIRST_CRASH + member.crashes)
        if ends:
            return
        member.is_awaited = True
        in_a_row = member.crashes_in_a_row if self.model.rules.restart_backoff else 1
        wait_ns = min(restart.after * restart.factor ** (in_a_row - 1), restart.most)
        yield self.clock.control(self.clock.now + round(wait_ns), Control.end, FIRST_CRASH + member.code)
        yield from self._until_released(member)
        member.is_awaited = False
        self.model.incident("restart", member.name)
        self.bring_in(member)

    def raised(self, member: Member) -> Process:
        """Let a member die of an error of its client, for good."""
        self.model.fired["died of its client's error"] += 1
        member.crashes += 1
        member.stopped = True
        self._kill(member, FIRST_CRASH + member.crashes)
        return
        yield

    def bring_in(self, member: Member) -> None:
        """Start a member's process, which joins: as a new member, or where its place was kept."""
        if self.is_static and member.seat in self.joined and self.model.rules.static_members:
            self.model.fired[f"static member back {self.protocol}"] += 1
            self._takes_back(member.seat)
            return
        member.start(assigned=self.protocol == "consumer")
        if self.protocol == "consumer":
            member.start_fetching()
        self.joins(member.seat)

    def hang_fault(self, index: int, fault: MemberPause | PollStall) -> Process:
        """Make a member hang: its process, heartbeats and all (pause), or its application only (stall)."""
        planned, member = self.model.plan.faults[index], self.all_members[fault.member.member - 1]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        if not member.alive or member.must_leave:
            self.model.fired["member fault without effect"] += 1
            return
        self.model.fired[f"{fault.fault} {self.protocol}"] += 1
        life = member.life
        if isinstance(fault, PollStall):
            member.stall(planned.end_ns)
            return
        if not self.model.rules.hangs:
            return
        member.paused_ns = max(member.paused_ns, planned.end_ns)
        seat = member.seat
        if seat.is_live:
            seat.hangs += 1
            self.clock.process(self._expire(seat, index, self.clock.now, hang=seat.hangs))
        yield self.clock.control(planned.end_ns, Control.end, index)
        if member.life == life and member.paused_ns == planned.end_ns:
            seat.hangs += 1
            self.model.news.give()
            member.duty.give()

    def _takes_back(self, seat: Seat) -> None:
        """Let a static member have the place that it left, and what it had."""
        seat.absences += 1
        seat.is_live = True
        seat.member.start(assigned=not (self.gathering or self.settling), seat=seat)
        if self.gathering or self.settling:
            return
        owned = sorted((p for p, owner in self.owner.items() if owner is seat), key=self.place)
        seat.member.gets(owned)
        if self.protocol == "consumer":
            meant = self.target.get(seat, [])
            lost = set(owned) - set(meant)
            if lost:
                seat.member.must_give_up |= lost
                seat.member.duty.give()
            for partition in meant:
                if partition not in owned:
                    self.model.fired["static member catches up"] += 1
                    self.clock.process(self._move(partition, seat, self.target_since[partition]))

    def left_for_a_while(self, seat: Seat) -> None:
        """Keep the place of a static member that ended in good order."""
        self.clock.process(self._expire(seat, seat.member.leaves_by, self.clock.now))
        self.changed.give()

    def _expire(self, seat: Seat, index: int, left_ns: int, hang: int = 0) -> Process:
        """Give a member that went silent up when its session is over; until then it keeps its place."""
        absence, epoch = seat.absences, self.coordinator.epoch
        settings, code = self.settings, seat.member.code
        session_ns = settings.session_timeout_ns if self.model.rules.session_wait else settings.heartbeat_ns
        over_ns = self.model.draws.session_expired_ns(code, index, session_ns, settings.heartbeat_ns)
        over_ns += left_ns - self.model.draws.begin_ns(index)
        yield self.clock.control(over_ns, Control.expiry, index)
        while self.model.rules.coordinator_failover:
            if self.coordinator.leader is None:
                yield self.model.news.wait()
            elif self.coordinator.epoch != epoch:
                self.model.fired["session began anew"] += 1
                epoch = self.coordinator.epoch
                yield self.clock.control(self.coordinator.led_since_ns + session_ns, Control.expiry, index)
            else:
                break
        if seat.absences != absence or seat not in self.joined or (hang and seat.hangs != hang):
            return
        self.model.incident("session expired", seat.member.name)
        if not hang or (seat is not seat.member.seat and self.model.rules.seat_of_before):
            self.remove(seat)
        elif self.model.rules.session_of_the_hung:
            self.model.fired["session of the hung"] += 1
            seat.member.lose_seat()

    def joins(self, seat: Seat) -> None:
        """Take a new member; one that finds an empty group waits for others, too (classic)."""
        if not self.joined and self.model.rules.initial_delay:
            self.waits_until_ns = self.clock.now + self.initial_delay_ns
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

    def _until_heard(self, seat: Seat) -> Process:
        """Wait until a member knows the coordinator, which alone can tell it anything."""
        while seat.is_live and (
            seat.member.paused_ns > self.clock.now or not self.model.knows(seat.member.code, self.coordinator)
        ):
            if not self.model.rules.coordinator_failover and seat.member.paused_ns <= self.clock.now:
                return
            self.model.fired["heartbeat waits for the coordinator"] += 1
            yield self.model.news.wait()

    # ---- classic protocol ------------------------------------------------------------------------------------------

    def _classic_rebalance(self) -> Process:
        """Wait until everyone is back, then assign everything anew."""
        number, self.rebalances = self.rebalances, self.rebalances + 1
        self.model.incident("rebalance", self.name)
        for seat in self.joined:
            if seat.is_live and not seat.member.is_back:
                self.clock.process(self._tell(seat, self._learn(seat, number)))
        if self.waits_until_ns > self.clock.now:
            self.model.fired["waits for others to join"] += 1
            yield self.clock.control(self.waits_until_ns, Control.rebalance, self.code)
        while not all(seat.is_live and seat.member.is_back for seat in self.joined):
            yield self.changed.wait()
        self.gathering, self.settling = False, True
        seats = list(self.joined)
        rejoin_ns = self.model.draws.rejoin(self.code)[number]
        yield self.clock.control(self.clock.now + rejoin_ns, Control.rebalance, self.code)
        while self.coordinator.leader is None and self.model.rules.coordinator_failover:
            self.model.fired["rebalance waits for the coordinator"] += 1
            yield self.model.news.wait()
        self.target = self._classic_assignment(seats)
        for seat, partitions in self.target.items():
            if self.is_cooperative:
                self._adjust(seat, partitions)
            elif seat.is_live:
                self.owner.update(dict.fromkeys(partitions, seat))
                self.model.incident("assignment", seat.member.name, " ".join(map(str, partitions)))
                seat.member.gets(partitions)
        self.settling = False
        if self.again:
            self.model.fired["rebalance after rebalance"] += 1
            self.again = False
            self._rebalance()

    def _adjust(self, seat: Seat, partitions: list["Partition"]) -> None:
        """Let a member have at once what nobody has, and give up what is meant for others (cooperative)."""
        if not seat.is_live:
            return
        free = [p for p in partitions if p not in self.owner]
        self.owner.update(dict.fromkeys(free, seat))
        self.model.incident("assignment", seat.member.name, " ".join(map(str, partitions)))
        seat.member.gets_more(free)
        lost = {p for p, owner in self.owner.items() if owner is seat and p not in partitions}
        if lost:
            seat.member.must_give_up |= lost
            seat.member.duty.give()

    def _tell(self, seat: Seat, learn_ns: int) -> Process:
        yield self.clock.control(self.clock.now + learn_ns, Control.rebalance, seat.member.code)
        yield from self._until_heard(seat)
        if seat.is_live:
            seat.member.must_rejoin = True
            seat.member.duty.give()

    # ---- consumer protocol -----------------------------------------------------------------------------------------

    def _reassign(self) -> None:
        """Decide who is to have what; those concerned learn of it at their next heartbeats."""
        number, self.rebalances = self.rebalances, self.rebalances + 1
        self.model.incident("rebalance", self.name)
        before = {partition: seat for seat, partitions in self.target.items() for partition in partitions}
        self.target = uniform_assignment(self.joined, self.target, self._known(self.partitions))
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
        begins_ns = first_ns + beats * interval_ns if self.model.rules.begins_at_a_heartbeat else clock.now
        yield clock.control(begins_ns, Control.rebalance, to.member.code)
        yield from self._until_heard(to)
        if self.target_since[partition] == number and to.is_live and self.owner.get(partition) is not to:
            self.owner[partition] = to
            self.model.incident("assignment", to.member.name, str(partition))
            to.member.owns(partition, self.position(partition))

    def _take_away(self, partition: "Partition", owner: Seat, number: int) -> Process:
        yield self.clock.control(self.clock.now + self._learn(owner, number), Control.rebalance, owner.member.code)
        yield from self._until_heard(owner)
        if self.target_since[partition] == number and owner.is_live:
            owner.member.must_give_up.add(partition)
            owner.member.duty.give()

    def gave_up(self, partition: "Partition") -> None:
        """Let the new owner have a partition."""
        self.model.fired["partition given up"] += 1
        self.owner.pop(partition, None)
        self.changed.give()

    def gave_all_up(self) -> None:
        """Have what was given up assigned anew (cooperative)."""
        if self.is_cooperative and self.model.rules.second_round:
            self.model.fired["second round"] += 1
            self._rebalance()
