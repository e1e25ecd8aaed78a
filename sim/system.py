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
from sim.world import EPOCH, HALTED, LEADER, NONE, NOW, World

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
                case BrokerCrash() | BrokerStop():
                    self.clock.process(self._broker_fault(index, planned.fault))
                case MemberCrash() | MemberLeave():
                    self.targets[index] = str(planned.fault.member)
                    self.clock.process(self.groups[planned.fault.member.group].member_fault(index, planned.fault))
                case SlowWork() | FailingWork():
                    self.targets[index] = planned.fault.group
                case Poison() | Surge() | faults.SchemaChange():
                    self.targets[index] = planned.fault.producer
                case (
                    faults.BrokerPause()
                    | faults.RollingRestart()
                    | faults.Cut()
                    | faults.SlowLink()
                    | faults.ProducerCrash()
                    | faults.ProducerPause()
                    | faults.MemberPause()
                    | faults.RollingDeploy()
                    | faults.PollStall()
                    | faults.Duplicates()
                    | faults.Oversized()
                    | faults.Late()
                    | faults.LeaderMove()
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
                leader, preferred = int(self.world.part[partition.number, LEADER]), partition.replicas[0]
                if (
                    leader not in (NONE, preferred)
                    and preferred in partition.in_sync
                    and preferred not in self.unavailable
                ):
                    takes_ns = [self.draws.moved_ns(entity, check) for entity in self.knowers]
                    self._move(partition, preferred, "preferred replica", takes_ns)

    def _move(self, partition: Replicas, broker: int, cause: str, takes_ns: list[int]) -> None:
        """Let another replica in sync lead; the old leader refuses what it has not finished."""
        world, number = self.at_now(), partition.number
        kernel.cut_back(world, number)
        kernel.take_out(world, int(world.part[number, LEADER]), number)
        kernel.forget_leader(world, number)
        part = world.part[number]
        part[LEADER] = broker
        part[EPOCH] += 1
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

    def _broker_fault(self, index: int, fault: BrokerCrash | BrokerStop) -> Process:
        clock, draws, planned = self.clock, self.draws, self.plan.faults[index]
        self.targets[index] = str(fault.target)
        yield clock.control(planned.begin_ns, Control.begin, index)
        broker = self._resolve(fault.target)
        if broker is None or broker in self.unavailable:
            self.proofs[index] = "no effect: there was no such broker up and in sync"
            return
        self.targets[index] = f"broker {broker}"
        self.unavailable.add(broker)
        elected_ns = draws.elected_ns(index)
        clock.process(self._restart(index, broker, elected_ns))
        if isinstance(fault, BrokerCrash):
            led = self._lose(broker)
            clock.process(self._note_fence(draws.fence_ns(index), broker, planned.label))
            yield clock.control(elected_ns, Control.election, index)
        else:
            yield clock.control(elected_ns, Control.election, index)
            led = self._lose(broker)
        self.proofs[index] = (
            f"broker {broker} led {len(led)} partitions; others lead them from {elected_ns / 1e9:.3f} s"
        )
        self._elect(broker, led, index)

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
                    self.incident(
                        "isr", partition.name, ",".join(map(str, partition.in_sync)), self.plan.faults[index].label
                    )
        for partition in led:
            alive = [b for b in partition.replicas if b in partition.in_sync and b not in self.down]
            if alive:
                self._leads(alive[0], partition, self.clock.now, index)
        for partition in self.partitions:
            self._replicas_changed(partition)

    def _leads(self, broker: int, partition: Replicas, elected_ns: int, index: int) -> None:
        part = self.world.part[partition.number]
        part[LEADER] = broker
        part[EPOCH] += 1
        self.led_since_ns[partition.number] = self.clock.now
        self.news.give()
        if partition.is_users:
            self.incident("election", partition.name, f"leader {broker}", self.plan.faults[index].label)
        for code, entity in enumerate(self.knowers):
            discovery_ns = self.draws.discovered_ns(entity, index, partition.name) - self.draws.elected_ns(index)
            self.clock.process(self._discover(code, partition.number, int(part[EPOCH]), elected_ns + discovery_ns))

    def _discover(self, code: int, number: int, epoch: int, at_ns: int) -> Process:
        yield self.clock.control(at_ns, Control.election, code)
        if self.world.part[number, LEADER] != NONE and self.world.part[number, EPOCH] == epoch:
            kernel.learned(self.at_now(), code, number)
            self.news.give()

    def _replicas_changed(self, partition: Replicas) -> None:
        """See anew whether the high watermark may move."""
        has_leader = self.world.part[partition.number, LEADER] != NONE
        waits = any(broker in self.down for broker in partition.in_sync)
        halted = not has_leader or waits or len(partition.in_sync) < partition.min_in_sync
        kernel.set_halted(self.at_now(), partition.number, int(halted))

    def _restart(self, index: int, broker: int, elected_ns: int) -> Process:
        clock, draws, label = self.clock, self.draws, self.plan.faults[index].label
        yield clock.control(self.plan.faults[index].end_ns, Control.end, index)
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
                self.incident(
                    "isr", partition.name, ",".join(map(str, partition.in_sync)), self.plan.faults[index].label
                )
        self._replicas_changed(partition)
