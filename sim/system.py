"""What changes the system, as SimPy processes: brokers that fail and come back, leaders, and what the kernel is told of it."""

import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Any, assert_never

import simpy

from rundata.tables import Incident, Names
from scenarios import faults
from scenarios.clients import broker_setting, is_compacted, release, topic_setting
from scenarios.faults import (
    BrokerCrash,
    BrokerPause,
    BrokerStop,
    DiskFull,
    DiskStall,
    FailingWork,
    HostCrash,
    MemberCrash,
    MemberLeave,
    Poison,
    SlowWork,
    Surge,
)
from scenarios.partitioners import coordinator_partition
from scenarios.plan import Plan, replica_assignment
from scenarios.quantities import MILLISECOND, SECOND, format_duration
from scenarios.retries import most_partitions
from scenarios.targets import BrokerTarget
from sim import kernel
from sim.autoscaling import Scaler
from sim.clock import Clock, Control, Signal
from sim.compaction import Compaction
from sim.controller import Controller
from sim.deletion import Deletion
from sim.draws import FIRST_ACTION, FIRST_CRASH, FIRST_SCALER, Draws
from sim.emitters import emitters
from sim.failures import Failures
from sim.groups import Group
from sim.growth import Growth
from sim.links import Links
from sim.log_ends import LogEnds
from sim.reassignment import Reassignments
from sim.replaying import replaying
from sim.replays import Replayer
from sim.replicas import Replicas
from sim.segments import Segments
from sim.share_groups import ShareGroup
from sim.transactional import TRANSACTIONS_TOPIC, coordinated
from sim.world import (
    AFTER_APPEND,
    EPOCH,
    HALTED,
    LEADER,
    MOST_BATCH,
    NONE,
    NOW,
    PRODUCERS,
    QT_BYTES_S,
    SILENT,
    TOO_FEW,
    VISIBLE_END,
    WANT,
    WANT_LOGS,
    World,
)
from sim.wrong_clocks import WrongClocks

Process = Generator[simpy.Event, Any, None]
ELIGIBLE_SINCE = (4, 1)
MARK_WAITS_SINCE = (3, 7)
"""Since then the high watermark stands still while too few replicas are in sync."""
OFFSETS_TOPIC = "__consumer_offsets"


class System:
    """The cluster, its groups and its faults over one world."""

    def __init__(self, plan: Plan, draws: Draws) -> None:
        self.plan, self.draws, self.clock, self.names = plan, draws, Clock(), Names.of(plan.scenario)
        self.knowers = [
            *range(len(self.names.processes) + len(replaying(plan.scenario))),
            *(emitter.entity for emitter in emitters(plan.scenario)),
        ]
        """Whoever knows leaders, by code: processes, members, who replays, members' emitting clients, which know when the member does, relays and redrives."""
        self.incidents: list[Incident] = []
        self.proofs: dict[int, str] = {}
        self.targets: dict[int, str] = {}
        self.unavailable: set[int] = set()
        """Brokers from the begin of a fault until they are in sync again."""
        self.down: set[int] = set()
        self.parted: set[tuple[int, int]] = set()
        """Pairs of brokers of which the second cannot fetch from the first."""
        self.stalled: set[int] = set()
        """Brokers whose disks take no writes."""
        self.throttles: set[int] = set()
        """Faults that hold producers to quotas now."""
        self.cut_off: set[int] = set()
        """Brokers that no client reaches."""
        self.watched: set[tuple[int, int, int]] = set()
        """Partitions, leaders and followers that the leader will take out of the in-sync set."""
        self.news = Signal(self.clock)
        """Given whenever a leader is lost or elected, or somebody finds one."""
        self.led_since_ns: dict[int, int] = {}
        """By partition that changed its leader: since when it has the present one."""
        self.offsets_partitions = int(broker_setting(plan.scenario, "offsets.topic.num.partitions"))
        self.mark_waits = release(plan.scenario.brokers.version) >= MARK_WAITS_SINCE
        self.partitions = self._partitions()
        self.growth = Growth(self)
        self.replayers: list[Replayer] = []
        self.places = {partition.name: partition.number for partition in self.partitions}
        self.wrong_clocks = WrongClocks(self)
        self.world: World
        self.grown: Callable[[World], World]
        """Returns the world with more room for what it wants."""

    def _partitions(self) -> list[Replicas]:
        plan, found = self.plan, list[Replicas]()
        eligible = release(plan.scenario.brokers.version) >= ELIGIBLE_SINCE
        for topic in self.names.topics:
            least = int(topic_setting(plan.scenario, self.owner_of(topic), "min.insync.replicas"))
            later: list[list[int]] = [[]] * (most_partitions(plan.scenario, topic) - len(plan.replicas(topic)))
            for index, replicas in enumerate([*plan.replicas(topic), *later]):
                found.append(Replicas(len(found), f"{topic}/{index}", True, replicas, list(replicas), least, eligible))
        nodes = plan.scenario.brokers.nodes
        for topic, count, numbers in self._coordinating():
            replicas_of = replica_assignment(count, min(3, nodes), nodes)
            for index in sorted(numbers):
                replicas = replicas_of[index]
                found.append(Replicas(len(found), f"{topic}/{index}", False, replicas, list(replicas), 1, eligible))
        return found

    def _coordinating(self) -> Iterator[tuple[str, int, set[int]]]:
        """Yield the topics whose leaders coordinate something, with how many partitions they have, and which of them matter."""
        scenario, count = self.plan.scenario, self.offsets_partitions
        yield OFFSETS_TOPIC, count, {coordinator_partition(name, count) for name in scenario.groups}
        count = int(broker_setting(scenario, "transaction.state.log.num.partitions"))
        yield TRANSACTIONS_TOPIC, count, set(coordinated(scenario).values())

    def owner_of(self, topic: str) -> str:
        """Return whose settings a topic has: a retry topic is as the topic that it belongs to."""
        return topic if topic in self.plan.topics else topic.rsplit(".retry.", 1)[0]

    def compacts(self, topic: str) -> bool:
        """Whether a topic of the file is compacted."""
        return is_compacted(self.plan.scenario, topic)

    def deletes(self, topic: str) -> bool:
        """Whether segments of a topic are deleted."""
        return "delete" in str(topic_setting(self.plan.scenario, self.owner_of(topic), "cleanup.policy"))

    def coordinator_of(self, group: str) -> int:
        """Return the number of the partition whose leader coordinates a group."""
        return self.places[f"{OFFSETS_TOPIC}/{coordinator_partition(group, self.offsets_partitions)}"]

    def begin(self, world: World) -> None:
        """Start the groups and the faults."""
        self.world = world
        world.scalars[AFTER_APPEND] = not self.mark_waits
        for partition in self.partitions:
            leader = partition.replicas[0] if partition.replicas else NONE
            world.part[partition.number, LEADER] = leader
            world.knows[:, partition.number] = max(leader, 0)
            too_few = len(partition.replicas) < partition.min_in_sync
            world.part[partition.number, TOO_FEW] = too_few
            world.part[partition.number, HALTED] = too_few and self.mark_waits
            if partition.is_users:
                most_bytes = topic_setting(self.plan.scenario, self.owner_of(partition.topic), "max.message.bytes")
                world.part[partition.number, MOST_BATCH] = int(most_bytes)
            self._note_in_sync(partition)
        self.controller, self.reassignments = Controller(self), Reassignments(self)
        self.log_ends = LogEnds(self)
        self.failures, self.links = Failures(self), Links(self)
        self.groups = {
            name: (ShareGroup if group.share_group else Group)(self, name)
            for name, group in self.plan.scenario.groups.items()
        }
        for name, what in self.plan.scenario.groups.items():
            if what.autoscaler is not None:
                Scaler(self, self.groups[name], what.autoscaler)
        if broker_setting(self.plan.scenario, "auto.leader.rebalance.enable"):
            self.clock.process(self._check_leaders())
        self.segments = Segments(self)
        Deletion(self, self.segments).begin()
        Compaction(self, self.segments).begin()
        if coordinated(self.plan.scenario):
            self.clock.process(self._abort_late_transactions())
        for index, planned in enumerate(self.plan.faults):
            match planned.fault:
                case BrokerCrash() | BrokerStop() | BrokerPause() | HostCrash() | DiskFull() | DiskStall():
                    self.failures.begin(index, planned.fault)
                case faults.Cut():
                    self.targets[index] = f"{planned.fault.between[0]} and {planned.fault.between[1]}"
                    self.clock.process(self.links.cut(index, planned.fault))
                case faults.Throttle():
                    self.targets[index] = planned.fault.producer or planned.fault.group or ""
                    self.clock.process(self._throttle(index, planned.fault))
                case faults.SlowLink():
                    self.targets[index] = f"{planned.fault.between[0]} and {planned.fault.between[1]}"
                    self.clock.process(self.links.slow(index, planned.fault))
                case faults.AddPartitions():
                    self.growth.begin(index, planned.fault)
                case faults.Reassign():
                    self.reassignments.begin(index, planned.fault)
                case faults.LeaderMove():
                    self.targets[index] = str(planned.fault.partition)
                    self.clock.process(self._leader_move(index, planned.fault))
                case faults.ProducerCrash() | faults.ProducerPause():
                    self.targets[index] = str(planned.fault.producer)
                    self.clock.process(self._producer_fault(index, planned.fault))
                case faults.Duplicates() | faults.Oversized() | faults.Late():
                    self.targets[index] = planned.fault.producer
                case faults.MemberPause() | faults.PollStall():
                    self.targets[index] = str(planned.fault.member)
                    self.clock.process(self.groups[planned.fault.member.group].hang_fault(index, planned.fault))
                case MemberCrash() | MemberLeave():
                    self.targets[index] = str(planned.fault.member)
                    self.clock.process(self.groups[planned.fault.member.group].member_fault(index, planned.fault))
                case faults.Retention():
                    self.targets[index] = planned.fault.topic
                    self.prove(index, f"kept for {format_duration(planned.fault.to)} only")
                case faults.DeleteRecords():
                    pass  # `sim.deletion` begins it
                case faults.ClockSkew():
                    self.wrong_clocks.begin(index, planned.fault)
                case SlowWork() | FailingWork():
                    self.targets[index] = planned.fault.group
                case faults.DependencyDown() | faults.DependencySlow():
                    self.targets[index] = planned.fault.dependency
                case Poison() | Surge() | faults.SchemaChange():
                    self.targets[index] = planned.fault.producer
                case faults.RollingRestart() | faults.RollingDeploy() | faults.Hook():
                    # Rolling faults come in parts; the others are refused before a run (`sim.refuse`).
                    raise AssertionError(f"{planned.fault.kind} was not refused")
                case _:
                    assert_never(planned.fault)

    def _check_leaders(self) -> Process:
        """Give every partition back to its preferred replica, whenever the controller looks and that is in sync."""
        interval_ns = int(broker_setting(self.plan.scenario, "leader.imbalance.check.interval.seconds")) * SECOND
        for check in itertools.count():
            yield self.clock.control(self.draws.leader_check_ns() + check * interval_ns, Control.leader_check)
            for partition in self.partitions:
                preferred = partition.replicas[0] if partition.replicas else NONE
                if self._may_lead(partition, preferred):
                    takes_ns = [self.draws.moved_ns(entity, check) for entity in self.knowers]
                    self.move(partition, preferred, "preferred replica", takes_ns)

    def _abort_late_transactions(self) -> Process:
        """Abort transactions that are open for too long, whenever their coordinators look."""
        name = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
        interval_ns = int(broker_setting(self.plan.scenario, name)) * MILLISECOND
        for look in itertools.count():
            at_ns = self.draws.transaction_scan_ns() + look * interval_ns
            yield self.clock.control(at_ns, Control.transactions)
            kernel.abort_late_transactions(self.at_now())

    def _leader_move(self, index: int, fault: faults.LeaderMove) -> Process:
        """Move a partition's leadership to a replica in sync, and back."""
        planned = self.plan.faults[index]
        partition = self.partitions[self.places[str(fault.partition)]]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        before = int(self.world.part[partition.number, LEADER])
        to = self._next_replica(partition, before) if fault.to is None else fault.to
        if not self._may_lead(partition, to):
            self.prove(index, "no effect: there was no leader, or no other replica up and in sync to lead")
            return
        self.prove(index, f"leader {before} gave {partition.name} to {to}")
        self.move(partition, to, planned.label, [self.draws.moved_back_ns(e, index, back=False) for e in self.knowers])
        if planned.stays:
            return
        yield self.clock.control(planned.end_ns, Control.end, index)
        if int(self.world.part[partition.number, LEADER]) == to and self._may_lead(partition, before):
            self.move(
                partition, before, planned.label, [self.draws.moved_back_ns(e, index, back=True) for e in self.knowers]
            )

    def _next_replica(self, partition: Replicas, leader: int) -> int:
        """Return the next replica after the leader in assignment order, round and round."""
        place = partition.replicas.index(leader) if leader in partition.replicas else 0
        return partition.replicas[(place + 1) % len(partition.replicas)]

    def _may_lead(self, partition: Replicas, broker: int) -> bool:
        leader = int(self.world.part[partition.number, LEADER])
        is_able = self.controller.is_up and broker in partition.in_sync and broker not in self.unavailable
        return is_able and leader not in (NONE, broker) and leader not in self.unavailable

    def _producer_fault(self, index: int, fault: faults.ProducerCrash | faults.ProducerPause) -> Process:
        """Let a producer's processes hang, or die and come back."""
        planned = self.plan.faults[index]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        target, count = fault.producer, self.plan.scenario.producers[fault.producer.producer].count
        for number in [target.process] if target.process else range(1, count + 1):
            code = self.names.processes.index(f"{target.producer}/{number}")
            if isinstance(fault, faults.ProducerCrash):
                kernel.die(self.at_now(), code, planned.end_ns)
                self.growth.starts_again(code, planned.end_ns)
            else:
                kernel.fall_asleep(self.at_now(), code, planned.end_ns)
        self.prove(index, f"{target} did nothing until {planned.end_ns / 1e9:.3f} s")

    def _throttle(self, index: int, fault: faults.Throttle) -> Process:
        """Hold a producer or a group to a quota, which every broker begins to measure anew."""
        planned, producers = self.plan.faults[index], len(self.plan.scenario.producers)
        if fault.producer is not None:
            owner = self.plan.producers.index(fault.producer)
        else:
            assert fault.group is not None
            owner = producers + 1 + self.names.groups.index(fault.group)
        for at_ns, kind in ((planned.begin_ns, Control.begin), (planned.end_ns, Control.end)):
            yield self.clock.control(at_ns, kind, index)
            self.throttles ^= {index}
            faults_now = [self.plan.faults[each].fault for each in self.throttles]
            limits = [
                each.rate
                for each in faults_now
                if isinstance(each, faults.Throttle) and (each.producer, each.group) == (fault.producer, fault.group)
            ]
            self.world.quota[owner] = 0
            self.world.quota[owner, :, QT_BYTES_S] = max(1, round(min(limits))) if limits else 0
        how = (
            f"took {fault.rate:.0f} B/s of {fault.producer}"
            if fault.producer
            else f"gave {fault.rate:.0f} B/s to {fault.group}"
        )
        self.prove(index, f"brokers {how} each")

    def move(self, partition: Replicas, broker: int, cause: str, takes_ns: list[int]) -> None:
        """Let another replica in sync lead; the old leader refuses what it has not finished."""
        world, number = self.at_now(), partition.number
        self._cut_back(number)
        kernel.take_out(world, int(world.part[number, LEADER]), number)
        kernel.forget_leader(world, number)
        part = world.part[number]
        part[LEADER] = broker
        part[EPOCH] += 1
        self.replicas_changed(partition)
        if partition.is_users:
            self.incident("election", partition.name, f"leader {broker}", cause)
        for code, wait_ns in enumerate(takes_ns):
            self.clock.process(self.discover(code, number, int(part[EPOCH]), self.clock.now + wait_ns))

    def topic_of(self, partition: int) -> str:
        """Return the topic of a partition of the world."""
        return self.partitions[partition].name.rpartition("/")[0]

    def incident(self, kind: str, where: str, detail: str = "", cause: str = "") -> None:
        """Record something that happens now."""
        self.incidents.append(Incident(self.clock.now, kind, where, detail, cause))

    def prove_moves(self, index: int, broker: int, led: list[Replicas]) -> None:
        """Say what became of the partitions that a broker led."""
        now_s = self.clock.now / 1e9
        self.prove(index, f"broker {broker} led {len(led)} partitions; others lead them from {now_s:.3f} s")

    def prove(self, index: int, text: str) -> None:
        """Add to what shows that a fault had its effect."""
        before = self.proofs.get(index)
        self.proofs[index] = f"{before}; {text}" if before else text

    def at_now(self) -> World:
        """Return the world, its clock put to this instant."""
        self.world.scalars[NOW] = self.clock.now
        return self.world

    def with_longer_logs(self) -> World:
        """Return the world, with room for more records in every log."""
        self.world.scalars[WANT] = WANT_LOGS
        self.world = self.grown(self.world)
        return self.world

    # ---- what all of them have in common -------------------------------------------------------------------------

    def members_forget(self, partition: Replicas) -> None:
        """Let members get nothing more from a leader, while those that send go on taking it for the leader of a topic of the file."""
        world = self.at_now()
        believed = world.knows[:, partition.number].copy()
        kernel.forget_leader(world, partition.number)
        for code in range(len(self.knowers)):
            if not self.is_member(code) and partition.is_users:
                world.knows[code, partition.number] = believed[code]

    def goes_on(self, broker: int, length_ns: int) -> None:
        """Let a broker that hung go on where it was."""
        kernel.end_silence(self.at_now(), broker, length_ns)
        self.news.give()

    def deposes(self, broker: int, partition: Replicas) -> None:
        """Take a partition from a fenced broker, which goes on in its old log; what no follower has is not in the new one."""
        world = self.at_now()
        world.part[partition.number, LEADER] = NONE
        if partition.in_sync != [broker]:
            self._cut_back(partition.number)

    def _cut_back(self, partition: int) -> None:
        kernel.cut_back(self.at_now(), partition)
        self.log_ends.was_cut(partition)

    def told(self, code: int, broker: int, at_ns: int) -> Process:
        """Let a process that took a broker for the leader hear who leads."""
        yield self.clock.control(at_ns, Control.election, code)
        kernel.told(self.at_now(), code, broker)

    def resolve(self, target: BrokerTarget) -> int | None:
        """Return which broker is meant now, or None."""
        if target.role == "number":
            return target.number
        if target.role == "controller":
            return self.controller.active
        partition = self.partitions[self.places[f"{target.topic}/{target.partition}"]]
        leader = int(self.world.part[partition.number, LEADER])
        if target.role == "leader" or leader == NONE:
            return None if leader == NONE else leader
        followers = [b for b in partition.replicas if b != leader and b not in self.unavailable]
        return followers[0] if followers else None

    def lose(self, broker: int) -> list[Replicas]:
        """Stop a broker: its partitions have no leader, what no follower has is gone; return the partitions it led."""
        world = self.at_now()
        self.down.add(broker)
        led = [partition for partition in self.partitions if world.part[partition.number, LEADER] == broker]
        for partition in led:
            world.part[partition.number, LEADER] = NONE
            self._cut_back(partition.number)
            kernel.forget_leader(world, partition.number)
        self.log_ends.stops(broker)
        for partition in self.partitions:
            if broker in partition.in_sync:
                self.replicas_changed(partition)
        kernel.break_connections(world, broker)
        self.news.give()
        return led

    def elect(self, broker: int, led: list[Replicas], index: int) -> None:
        """Take a lost broker out of the in-sync sets and give its partitions to the next in line."""
        for partition in self.partitions:
            if broker in partition.in_sync and len(partition.in_sync) > 1:
                partition.leaves(broker)
                self.log_ends.leaves(partition, broker)
                if self.world.part[partition.number, LEADER] != NONE:
                    self._stands_until(partition, self.draws.answers_again_ns(index), index)
                if partition.is_users:
                    self.incident("isr", partition.name, ",".join(map(str, partition.in_sync)), self.label(index))
        for partition in led:
            alive = [b for b in partition.replicas if b in partition.in_sync and b not in self.down | {broker}]
            up = [b for b in partition.replicas if b not in self.unavailable]
            eligible = [b for b in up if b in partition.eligible]
            if alive:
                self.leads(alive[0], partition, self.clock.now, index)
                self._stands_until(partition, self.draws.followed_ns(index, alive[0]), index)
            elif eligible:
                self._leads_as_eligible(eligible[0], partition, index)
            elif up and self.log_ends.may_be_led_by(up[0], partition):
                self._leads_uncleanly(up[0], partition, index)
        for partition in self.partitions:
            self.replicas_changed(partition)

    def _stands_until(self, partition: Replicas, drawn_ns: int, index: int) -> None:
        """Keep the high watermark where it is: followers of a lost broker's successor asked too early, or its other leaders do not answer yet."""
        if isinstance(self.plan.faults[index % len(self.plan.faults)].fault, BrokerStop):
            return
        until_ns = self.clock.now + drawn_ns - self.draws.elected_ns(index)
        if until_ns > self.clock.now and partition.in_sync != [int(self.world.part[partition.number, LEADER])]:
            partition.unfollowed_epoch = int(self.world.part[partition.number, EPOCH])
            self.clock.process(self._goes_on(partition, partition.unfollowed_epoch, until_ns, index))

    def _goes_on(self, partition: Replicas, epoch: int, at_ns: int, index: int) -> Process:
        yield self.clock.control(at_ns, Control.in_sync, index)
        if partition.unfollowed_epoch == epoch:
            partition.unfollowed_epoch = NONE
            self.replicas_changed(partition)

    def _leads_as_eligible(self, broker: int, partition: Replicas, index: int) -> None:
        """Let an eligible replica lead, where nobody in sync is up: it has what is visible, and the rest is gone."""
        kernel.cut_to_visible(self.at_now(), partition.number)
        self.log_ends.was_cut(partition.number)
        partition.eligible = (partition.eligible | set(partition.in_sync)) - {broker}
        partition.in_sync = [broker]
        if partition.is_users:
            self.incident("isr", partition.name, str(broker), self.label(index))
        self.leads(broker, partition, self.clock.now, index)

    def _leads_uncleanly(self, broker: int, partition: Replicas, index: int) -> None:
        """Let a replica lead that is out of sync, where nobody in sync or eligible is up: what it does not have is lost."""
        lost = self.log_ends.cut_to(partition, broker)
        partition.eligible, partition.in_sync = set(), [broker]
        self.incident("isr", partition.name, str(broker), self.label(index))
        first = int(self.world.part[partition.number, VISIBLE_END])
        words = f"{lost} records lost from offset {self.log_ends.offset_of(partition.number, first)} on"
        self.incident("unclean election", partition.name, words, self.label(index))
        self.leads(broker, partition, self.clock.now, index)

    def leads(self, broker: int, partition: Replicas, elected_ns: int, index: int) -> None:
        """Let a broker lead a partition, and everybody find it."""
        self.log_ends.kept.pop((partition.number, broker), None)
        part = self.world.part[partition.number]
        part[LEADER] = broker
        part[EPOCH] += 1
        self.led_since_ns[partition.number] = self.clock.now
        self.news.give()
        if partition.is_users:
            self.incident("election", partition.name, f"leader {broker}", self.label(index))
        fault = self.plan.faults[index % len(self.plan.faults)].fault
        for code, entity in enumerate(self.knowers):
            discovery_ns = self.draws.discovered_ns(entity, index, partition.name) - self.draws.elected_ns(index)
            at_ns = elected_ns + discovery_ns
            if self.is_member(code) and isinstance(fault, BrokerPause):
                at_ns = max(elected_ns, min(self.draws.told_ns(entity, index), self.draws.silence_ns(entity, index)))
            elif self.is_member(code) and isinstance(fault, faults.Cut) and fault.channel == "both":
                at_ns = max(elected_ns, self.draws.told_ns(entity, index))
            self.clock.process(self.discover(code, partition.number, int(part[EPOCH]), at_ns))

    def is_member(self, code: int) -> bool:
        """Whether a code that knows leaders is a member as a reader; otherwise it is something that sends."""
        return 0 <= code - int(self.world.scalars[PRODUCERS]) < len(self.world.member)

    def label(self, number: int) -> str:
        """Return the label of a fault, of an action (from FIRST_ACTION on), or of a member's own crash."""
        if number >= FIRST_SCALER:
            return "autoscaler"
        if number >= FIRST_CRASH:
            return "crash"
        if number >= FIRST_ACTION:
            return self.plan.actions[number - FIRST_ACTION].label
        return self.plan.faults[number % len(self.plan.faults)].label

    def discover(self, code: int, number: int, epoch: int, at_ns: int) -> Process:
        """Let somebody turn to a new leader, if it is still that."""
        yield self.clock.control(at_ns, Control.election, code)
        part = self.world.part[number]
        hangs = self.is_member(code) and bool(self.world.broker[part[LEADER], SILENT])
        is_it = part[LEADER] not in (NONE, *self.cut_off) and part[EPOCH] == epoch and not hangs
        if is_it and self.world.knows[code, number] == 0:
            kernel.learned(self.at_now(), code, number)
            self.news.give()
            self.growth.found(code, number)

    def replicas_changed(self, partition: Replicas) -> None:
        """See anew whether the high watermark may move."""
        has_leader = self.world.part[partition.number, LEADER] != NONE
        leader = int(self.world.part[partition.number, LEADER])
        lagging = [broker for broker in partition.in_sync if (leader, broker) in self.parted]
        for broker in lagging:
            if (partition.number, leader, broker) not in self.watched:
                self.watched.add((partition.number, leader, broker))
                self.clock.process(self._shrink(partition, leader, broker))
        waits = bool(lagging) or leader in self.stalled or any(broker in self.down for broker in partition.in_sync)
        waits |= partition.unfollowed_epoch == self.world.part[partition.number, EPOCH]
        too_few = len(partition.in_sync) < partition.min_in_sync
        self.world.part[partition.number, TOO_FEW] = too_few
        self._note_in_sync(partition)
        halted = not has_leader or waits or (too_few and self.mark_waits)
        kernel.set_halted(self.at_now(), partition.number, int(halted))
        self.reassignments.notes()

    def _note_in_sync(self, partition: Replicas) -> None:
        row = self.world.in_sync[partition.number]
        row[:] = 0
        row[partition.in_sync] = 1

    def _shrink(self, partition: Replicas, leader: int, follower: int) -> Process:
        """Take a follower that does not fetch out of the in-sync set when the leader notices."""
        at_ns = self.draws.lag_ns(leader, self.clock.now)
        yield from self.controller.at(at_ns, Control.in_sync, partition.number)
        watch = (partition.number, leader, follower)
        still = watch in self.watched and int(self.world.part[partition.number, LEADER]) == leader
        self.watched.discard(watch)
        if still and follower in partition.in_sync:
            partition.leaves(follower)
            self.log_ends.leaves(partition, follower)
            if partition.is_users:
                self.incident("isr", partition.name, ",".join(map(str, partition.in_sync)), "replica.lag.time.max.ms")
            self.replicas_changed(partition)

    def comes_back(self, broker: int, partition: Replicas, index: int) -> None:
        """Let a broker that caught up be in sync, and lead where nobody else can."""
        if self.world.part[partition.number, LEADER] == NONE and partition.in_sync == [broker]:
            if lost := self.log_ends.cut_to_written(partition, broker):
                self.incident("lost with its host", partition.name, f"{lost} records", self.label(index))
            self.leads(broker, partition, self.clock.now, index)
        elif self.world.part[partition.number, LEADER] == NONE and broker in partition.eligible:
            self._leads_as_eligible(broker, partition, index)
        elif self.world.part[partition.number, LEADER] == NONE and self.log_ends.may_be_led_by(broker, partition):
            self._leads_uncleanly(broker, partition, index)
        if self.world.part[partition.number, LEADER] != NONE:
            before = partition.in_sync
            leader = int(self.world.part[partition.number, LEADER])
            able = {b for b in partition.replicas if b not in self.unavailable and (leader, b) not in self.parted}
            able -= partition.copying.keys()
            partition.in_sync = [b for b in partition.replicas if b in before or b in able]
            enough = len(partition.in_sync) >= partition.min_in_sync
            partition.eligible = set() if enough else partition.eligible - set(partition.in_sync)
            self.log_ends.fetches(partition)
            if partition.is_users and partition.in_sync != before:
                self.incident("isr", partition.name, ",".join(map(str, partition.in_sync)), self.label(index))
        self.replicas_changed(partition)
