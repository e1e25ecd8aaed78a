"""What changes the system, as SimPy processes: brokers that fail and come back, leaders, and what the kernel is told of it."""

import itertools
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, assert_never

import simpy

from rundata.tables import Incident, Names
from scenarios import faults
from scenarios.clients import broker_setting, topic_setting
from scenarios.faults import (
    BrokerCrash,
    BrokerPause,
    BrokerStop,
    FailingWork,
    MemberCrash,
    MemberLeave,
    Poison,
    SlowWork,
    Surge,
)
from scenarios.partitioners import coordinator_partition
from scenarios.plan import Plan, replica_assignment
from scenarios.quantities import SECOND
from scenarios.targets import BrokerTarget
from sim import kernel
from sim.clock import Clock, Control, Signal
from sim.draws import Draws
from sim.emitters import emitters
from sim.groups import Group
from sim.world import EPOCH, HALTED, LEADER, NONE, NOW, PRODUCERS, STALE_UNTIL, World

Process = Generator[simpy.Event, Any, None]
OFFSETS_TOPIC = "__consumer_offsets"


@dataclass(eq=False)
class Replicas:
    """A partition's brokers; its number in the world, where the rest of it is."""

    number: int
    name: str
    is_users: bool
    replicas: list[int]
    in_sync: list[int]
    min_in_sync: int
    unfollowed_epoch: int = NONE
    """The leader epoch in which no follower fetches yet, since it asked before the leader led."""


class System:
    """The cluster, its groups and its faults over one world."""

    def __init__(self, plan: Plan, draws: Draws) -> None:
        self.plan, self.draws, self.clock, self.names = plan, draws, Clock(), Names.of(plan.scenario)
        self.knowers = [*range(len(self.names.processes)), *(emitter.member for emitter in emitters(plan.scenario))]
        """Whoever knows leaders, by code: processes, members, and members' emitting clients, which know when the member does."""
        self.incidents: list[Incident] = []
        self.proofs: dict[int, str] = {}
        self.targets: dict[int, str] = {}
        self.unavailable: set[int] = set()
        """Brokers from the begin of a fault until they are in sync again."""
        self.down: set[int] = set()
        self.news = Signal(self.clock)
        """Given whenever a leader is lost or elected, or somebody finds one."""
        self.led_since_ns: dict[int, int] = {}
        """By partition that changed its leader: since when it has the present one."""
        self.offsets_partitions = int(broker_setting(plan.scenario, "offsets.topic.num.partitions"))
        self.partitions = self._partitions()
        self.places = {partition.name: partition.number for partition in self.partitions}
        self.world: World

    def _partitions(self) -> list[Replicas]:
        plan, found = self.plan, list[Replicas]()
        for topic in self.names.topics:
            # A retry topic is as the topic that it belongs to.
            own = topic if topic in plan.topics else topic.rsplit(".retry.", 1)[0]
            least = int(topic_setting(plan.scenario, own, "min.insync.replicas"))
            for index, replicas in enumerate(plan.replicas(topic)):
                found.append(Replicas(len(found), f"{topic}/{index}", True, replicas, list(replicas), least))
        nodes = plan.scenario.brokers.nodes
        replicas_of = replica_assignment(self.offsets_partitions, min(3, nodes), nodes)
        for index in sorted({coordinator_partition(name, self.offsets_partitions) for name in plan.scenario.groups}):
            replicas = replicas_of[index]
            found.append(Replicas(len(found), f"{OFFSETS_TOPIC}/{index}", False, replicas, list(replicas), 1))
        return found

    def coordinator_of(self, group: str) -> int:
        """Return the number of the partition whose leader coordinates a group."""
        return self.places[f"{OFFSETS_TOPIC}/{coordinator_partition(group, self.offsets_partitions)}"]

    def begin(self, world: World) -> None:
        """Start the groups and the faults."""
        self.world = world
        for partition in self.partitions:
            world.part[partition.number, LEADER] = partition.replicas[0]
            world.knows[:, partition.number] = partition.replicas[0]
            world.part[partition.number, HALTED] = len(partition.replicas) < partition.min_in_sync
        self.groups = {name: Group(self, name) for name in self.plan.scenario.groups}
        if broker_setting(self.plan.scenario, "auto.leader.rebalance.enable"):
            self.clock.process(self._check_leaders())
        for index, planned in enumerate(self.plan.faults):
            match planned.fault:
                case BrokerCrash() | BrokerStop() | BrokerPause():
                    self._broker_faults(index, planned.fault)
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
                case SlowWork() | FailingWork():
                    self.targets[index] = planned.fault.group
                case Poison() | Surge() | faults.SchemaChange():
                    self.targets[index] = planned.fault.producer
                case (
                    faults.RollingRestart()
                    | faults.Cut()
                    | faults.SlowLink()
                    | faults.RollingDeploy()
                    | faults.Retention()
                    | faults.DeleteRecords()
                    | faults.Reassign()
                    | faults.AddPartitions()
                    | faults.DependencyDown()
                    | faults.DependencySlow()
                    | faults.Throttle()
                    | faults.DiskStall()
                    | faults.DiskFull()
                    | faults.HostCrash()
                    | faults.ClockSkew()
                    | faults.Hook()
                ):
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
                preferred = partition.replicas[0]
                if self._may_lead(partition, preferred):
                    takes_ns = [self.draws.moved_ns(entity, check) for entity in self.knowers]
                    self._move(partition, preferred, "preferred replica", takes_ns)

    def _leader_move(self, index: int, fault: faults.LeaderMove) -> Process:
        """Move a partition's leadership to a replica in sync, and back."""
        planned = self.plan.faults[index]
        partition = self.partitions[self.places[str(fault.partition)]]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        before = int(self.world.part[partition.number, LEADER])
        to = self._next_replica(partition, before) if fault.to is None else fault.to
        if not self._may_lead(partition, to):
            self._prove(index, "no effect: there was no leader, or no other replica up and in sync to lead")
            return
        self._prove(index, f"leader {before} gave {partition.name} to {to}")
        self._move(partition, to, planned.label, [self.draws.moved_back_ns(e, index, back=False) for e in self.knowers])
        if planned.stays:
            return
        yield self.clock.control(planned.end_ns, Control.end, index)
        if int(self.world.part[partition.number, LEADER]) == to and self._may_lead(partition, before):
            self._move(
                partition, before, planned.label, [self.draws.moved_back_ns(e, index, back=True) for e in self.knowers]
            )

    def _next_replica(self, partition: Replicas, leader: int) -> int:
        """Return the next replica after the leader in assignment order, round and round."""
        place = partition.replicas.index(leader) if leader in partition.replicas else 0
        return partition.replicas[(place + 1) % len(partition.replicas)]

    def _may_lead(self, partition: Replicas, broker: int) -> bool:
        leader = int(self.world.part[partition.number, LEADER])
        is_able = broker in partition.in_sync and broker not in self.unavailable
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
            else:
                kernel.fall_asleep(self.at_now(), code, planned.end_ns)
        self._prove(index, f"{target} did nothing until {planned.end_ns / 1e9:.3f} s")

    def _move(self, partition: Replicas, broker: int, cause: str, takes_ns: list[int]) -> None:
        """Let another replica in sync lead; the old leader refuses what it has not finished."""
        world, number = self.at_now(), partition.number
        kernel.cut_back(world, number)
        kernel.take_out(world, int(world.part[number, LEADER]), number)
        kernel.forget_leader(world, number)
        part = world.part[number]
        part[LEADER] = broker
        part[EPOCH] += 1
        self._replicas_changed(partition)
        if partition.is_users:
            self.incident("election", partition.name, f"leader {broker}", cause)
        for code, wait_ns in enumerate(takes_ns):
            self.clock.process(self._discover(code, number, int(part[EPOCH]), self.clock.now + wait_ns))

    def incident(self, kind: str, where: str, detail: str = "", cause: str = "") -> None:
        """Record something that happens now."""
        self.incidents.append(Incident(self.clock.now, kind, where, detail, cause))

    def at_now(self) -> World:
        """Return the world, its clock put to this instant."""
        self.world.scalars[NOW] = self.clock.now
        return self.world

    # ---- brokers that fail ---------------------------------------------------------------------------------------

    def _broker_faults(self, index: int, fault: BrokerCrash | BrokerStop | BrokerPause) -> None:
        """Begin a fault of one broker, or of each broker of a rack; the k-th of a rack has a number of its own for what is drawn."""
        targets = [fault.target]
        if fault.target.role == "rack":
            racks = self.plan.scenario.brokers.racks or ()
            targets = [BrokerTarget("number", number=n) for n, rack in enumerate(racks, 1) if rack == fault.target.rack]
        self.targets[index] = str(fault.target)
        for k, target in enumerate(targets):
            self.clock.process(self._broker_fault(index + k * len(self.plan.faults), index, fault, target))

    def _broker_fault(
        self, number: int, index: int, fault: BrokerCrash | BrokerStop | BrokerPause, target: BrokerTarget
    ) -> Process:
        clock, planned = self.clock, self.plan.faults[index]
        yield clock.control(planned.begin_ns, Control.begin, number)
        broker = self._resolve(target)
        if broker is None or broker in self.unavailable:
            self._prove(index, "no effect: there was no such broker up and in sync")
            return
        if fault.target.role != "rack":
            self.targets[index] = f"broker {broker}"
        self.unavailable.add(broker)
        match fault:
            case BrokerCrash():
                yield from self._crash(number, index, broker)
            case BrokerStop():
                yield from self._stop(number, index, broker)
            case BrokerPause():
                yield from self._pause(number, index, broker)

    def _crash(self, number: int, index: int, broker: int) -> Process:
        draws, elected_ns = self.draws, self.draws.elected_ns(number)
        self.clock.process(self._restart(number, broker, elected_ns))
        led = self._lose(broker)
        self.clock.process(self._note_fence(draws.fence_ns(number), broker, self.plan.faults[index].label))
        yield self.clock.control(elected_ns, Control.election, number)
        self._prove_moves(index, broker, led)
        self._elect(broker, led, number)

    def _stop(self, number: int, index: int, broker: int) -> Process:
        elected_ns = self.draws.elected_ns(number)
        self.clock.process(self._restart(number, broker, elected_ns))
        yield self.clock.control(elected_ns, Control.election, number)
        led = self._lose(broker)
        self._prove_moves(index, broker, led)
        self._elect(broker, led, number)

    def _prove_moves(self, index: int, broker: int, led: list[Replicas]) -> None:
        now_s = self.clock.now / 1e9
        self._prove(index, f"broker {broker} led {len(led)} partitions; others lead them from {now_s:.3f} s")

    def _prove(self, index: int, text: str) -> None:
        before = self.proofs.get(index)
        self.proofs[index] = f"{before}; {text}" if before else text

    # ---- a broker that hangs -------------------------------------------------------------------------------------

    def _pause(self, number: int, index: int, broker: int) -> Process:
        """Let a broker hang: nobody is told, and when its session is over before it goes on, it is fenced."""
        clock, draws, planned = self.clock, self.draws, self.plan.faults[index]
        led = self._falls_silent(broker)
        fence_ns, elected_ns = draws.fence_ns(number), draws.elected_ns(number)
        if planned.end_ns <= fence_ns:
            yield clock.control(planned.end_ns, Control.end, number)
            self._prove(index, f"broker {broker} hung and was not fenced")
            self._goes_on(broker, planned.end_ns - planned.begin_ns)
            for partition in led:
                self._still_leads(broker, partition)
            self.unavailable.discard(broker)
            self.down.discard(broker)
            for partition in self.partitions:
                self._comes_back(broker, partition, number)
            return
        clock.process(self._note_fence(fence_ns, broker, planned.label))
        clock.process(self._thaw(number, broker, elected_ns))
        yield clock.control(elected_ns, Control.election, number)
        self._prove_moves(index, broker, led)
        for partition in led:
            self._deposes(broker, partition)
        self._elect(broker, led, number)

    def _falls_silent(self, broker: int) -> list[Replicas]:
        """Let a broker answer nothing; return what it led. Members wait; producers do not know."""
        world = self.at_now()
        self.down.add(broker)
        led = [partition for partition in self.partitions if world.part[partition.number, LEADER] == broker]
        kernel.set_silent(world, broker)
        for partition in led:
            believed = world.knows[:, partition.number].copy()
            kernel.forget_leader(world, partition.number)
            for code in range(len(self.knowers)):
                if not self._is_member(code):
                    world.knows[code, partition.number] = believed[code]
            if not partition.is_users:
                world.part[partition.number, LEADER] = NONE
        for partition in self.partitions:
            if broker in partition.in_sync:
                self._replicas_changed(partition)
        self.news.give()
        return led

    def _goes_on(self, broker: int, length_ns: int) -> None:
        """Let a broker that hung go on where it was."""
        kernel.end_silence(self.at_now(), broker, length_ns)
        self.news.give()

    def _still_leads(self, broker: int, partition: Replicas) -> None:
        """Let members find the leader that had only been silent."""
        self.world.part[partition.number, LEADER] = broker
        for code in range(len(self.knowers)):
            if self.world.knows[code, partition.number] == 0:
                kernel.learned(self.at_now(), code, partition.number)

    def _deposes(self, broker: int, partition: Replicas) -> None:
        """Take a partition from a fenced broker, which goes on in its old log; what no follower has is not in the new one."""
        world = self.at_now()
        world.part[partition.number, LEADER] = NONE
        if partition.in_sync != [broker]:
            kernel.cut_back(world, partition.number)

    def _thaw(self, number: int, broker: int, elected_ns: int) -> Process:
        """Let a fenced broker go on, act as a leader for a moment, be told, and catch up."""
        clock, draws = self.clock, self.draws
        planned = self.plan.faults[number % len(self.plan.faults)]
        stale_until_ns = draws.stale_until_ns(number)
        yield clock.control(planned.end_ns, Control.end, number)
        self.world.broker[broker, STALE_UNTIL] = max(stale_until_ns, elected_ns)
        self._goes_on(broker, planned.end_ns - planned.begin_ns)
        for code, entity in enumerate(self.knowers):
            if not self._is_member(code):
                clock.process(self._told(code, broker, max(draws.told_ns(entity, number), elected_ns)))
        yield clock.control(max(stale_until_ns, elected_ns), Control.in_sync, number)
        kernel.refuse_stale(self.at_now(), broker)
        yield clock.control(max(planned.end_ns + draws.catch_up_ns(number), elected_ns), Control.in_sync, number)
        self.unavailable.discard(broker)
        self.down.discard(broker)
        for partition in self.partitions:
            self._comes_back(broker, partition, number)

    def _told(self, code: int, broker: int, at_ns: int) -> Process:
        yield self.clock.control(at_ns, Control.election, code)
        kernel.told(self.at_now(), code, broker)

    # ---- what all of them have in common -------------------------------------------------------------------------

    def _resolve(self, target: BrokerTarget) -> int | None:
        if target.role == "number":
            return target.number
        partition = self.partitions[self.places[f"{target.topic}/{target.partition}"]]
        leader = int(self.world.part[partition.number, LEADER])
        if target.role == "leader" or leader == NONE:
            return None if leader == NONE else leader
        followers = [b for b in partition.replicas if b != leader and b not in self.unavailable]
        return followers[0] if followers else None

    def _note_fence(self, fence_ns: int, broker: int, cause: str) -> Process:
        yield self.clock.control(fence_ns, Control.election, 0)
        self.incident("fence", f"broker {broker}", cause=cause)

    def _lose(self, broker: int) -> list[Replicas]:
        """Stop a broker: its partitions have no leader, what no follower has is gone; return the partitions it led."""
        world = self.at_now()
        self.down.add(broker)
        led = [partition for partition in self.partitions if world.part[partition.number, LEADER] == broker]
        for partition in led:
            world.part[partition.number, LEADER] = NONE
            kernel.cut_back(world, partition.number)
            kernel.forget_leader(world, partition.number)
        for partition in self.partitions:
            if broker in partition.in_sync:
                self._replicas_changed(partition)
        kernel.break_connections(world, broker)
        self.news.give()
        return led

    def _elect(self, broker: int, led: list[Replicas], index: int) -> None:
        """Take a lost broker out of the in-sync sets and give its partitions to the next in line."""
        for partition in self.partitions:
            if broker in partition.in_sync and len(partition.in_sync) > 1:
                partition.in_sync.remove(broker)
                if partition.is_users:
                    self.incident("isr", partition.name, ",".join(map(str, partition.in_sync)), self._label(index))
        for partition in led:
            alive = [b for b in partition.replicas if b in partition.in_sync and b not in self.down]
            if alive:
                self._leads(alive[0], partition, self.clock.now, index)
                self._followers_ask(partition, alive[0], index)
        for partition in self.partitions:
            self._replicas_changed(partition)

    def _followers_ask(self, partition: Replicas, leader: int, index: int) -> None:
        """Keep the high watermark where it is while the followers of a lost broker's successor have asked too early."""
        if isinstance(self.plan.faults[index % len(self.plan.faults)].fault, BrokerStop):
            return
        followed_ns = self.draws.followed_ns(index, leader)
        if followed_ns > self.clock.now and partition.in_sync != [leader]:
            partition.unfollowed_epoch = int(self.world.part[partition.number, EPOCH])
            self.clock.process(self._followers_ask_again(partition, partition.unfollowed_epoch, followed_ns, index))

    def _followers_ask_again(self, partition: Replicas, epoch: int, at_ns: int, index: int) -> Process:
        yield self.clock.control(at_ns, Control.in_sync, index)
        if partition.unfollowed_epoch == epoch:
            partition.unfollowed_epoch = NONE
            self._replicas_changed(partition)

    def _leads(self, broker: int, partition: Replicas, elected_ns: int, index: int) -> None:
        part = self.world.part[partition.number]
        part[LEADER] = broker
        part[EPOCH] += 1
        self.led_since_ns[partition.number] = self.clock.now
        self.news.give()
        if partition.is_users:
            self.incident("election", partition.name, f"leader {broker}", self._label(index))
        hung = isinstance(self.plan.faults[index % len(self.plan.faults)].fault, BrokerPause)
        for code, entity in enumerate(self.knowers):
            discovery_ns = self.draws.discovered_ns(entity, index, partition.name) - self.draws.elected_ns(index)
            at_ns = elected_ns + discovery_ns
            if hung and self._is_member(code):
                at_ns = max(elected_ns, min(self.draws.told_ns(entity, index), self.draws.silence_ns(entity, index)))
            self.clock.process(self._discover(code, partition.number, int(part[EPOCH]), at_ns))

    def _is_member(self, code: int) -> bool:
        """Whether a code that knows leaders is a member as a reader; otherwise it is something that sends."""
        return 0 <= code - int(self.world.scalars[PRODUCERS]) < len(self.world.member)

    def _label(self, number: int) -> str:
        return self.plan.faults[number % len(self.plan.faults)].label

    def _discover(self, code: int, number: int, epoch: int, at_ns: int) -> Process:
        yield self.clock.control(at_ns, Control.election, code)
        part = self.world.part[number]
        if part[LEADER] != NONE and part[EPOCH] == epoch and self.world.knows[code, number] == 0:
            kernel.learned(self.at_now(), code, number)
            self.news.give()

    def _replicas_changed(self, partition: Replicas) -> None:
        """See anew whether the high watermark may move."""
        has_leader = self.world.part[partition.number, LEADER] != NONE
        waits = any(broker in self.down for broker in partition.in_sync)
        waits |= partition.unfollowed_epoch == self.world.part[partition.number, EPOCH]
        halted = not has_leader or waits or len(partition.in_sync) < partition.min_in_sync
        kernel.set_halted(self.at_now(), partition.number, int(halted))

    def _restart(self, index: int, broker: int, elected_ns: int) -> Process:
        clock, draws, label = self.clock, self.draws, self._label(index)
        yield clock.control(self.plan.faults[index % len(self.plan.faults)].end_ns, Control.end, index)
        self.incident("restart", f"broker {broker}", cause=label)
        yield clock.control(draws.registered_ns(index), Control.in_sync, index)
        self.incident("registered", f"broker {broker}", cause=label)
        yield clock.control(max(draws.back_in_sync_ns(index), elected_ns), Control.in_sync, index)
        self.unavailable.discard(broker)
        self.down.discard(broker)
        for partition in self.partitions:
            self._comes_back(broker, partition, index)

    def _comes_back(self, broker: int, partition: Replicas, index: int) -> None:
        if self.world.part[partition.number, LEADER] == NONE and partition.in_sync == [broker]:
            self._leads(broker, partition, self.clock.now, index)
        if self.world.part[partition.number, LEADER] != NONE:
            before = partition.in_sync
            partition.in_sync = [b for b in partition.replicas if b in before or b not in self.unavailable]
            if partition.is_users and partition.in_sync != before:
                self.incident("isr", partition.name, ",".join(map(str, partition.in_sync)), self._label(index))
        self._replicas_changed(partition)
