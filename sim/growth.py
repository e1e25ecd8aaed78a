"""Topics that get more partitions: producers send to them when they have asked how many there are, groups read them after a rebalance."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from scenarios.clients import metadata_age_ns
from scenarios.faults import AddPartitions
from scenarios.partitioners import partition_of
from scenarios.plan import NO_KEY, replica_assignment
from scenarios.retries import all_topics
from sim.clock import Control
from sim.world import (
    ASLEEP_UNTIL,
    FIRST_EVENT,
    IDENTITY,
    LAST_EVENT,
    LEADER,
    NEXT_EVENT,
    NONE,
    PART,
    PAUSED_NS,
)

if TYPE_CHECKING:
    from sim.groups import Group
    from sim.members import Member
    from sim.system import System

Process = Generator[simpy.Event, Any, None]


class Growth:
    """The faults `add_partitions` of a system, and who knows of how many partitions."""

    def __init__(self, system: "System") -> None:
        self.system, self.clock, self.scenario = system, system.clock, system.plan.scenario
        self.counts = {name: topic.partitions for name, topic in self.scenario.topics.items()}
        """How many partitions each topic has."""
        self.grown: set[str] = set()
        """Topics that have more than at first."""
        self.heard: dict[int, int] = {}
        """By producer's process: of how many partitions it knows, once it knows of more than at first."""

    def begin(self, index: int, fault: AddPartitions) -> None:
        """Begin a fault at its time."""
        self.system.targets[index] = fault.topic
        self.clock.process(self._add(index, fault))

    def _add(self, index: int, fault: AddPartitions) -> Process:
        """Give a topic more partitions, led by the first of their replicas that are up."""
        system = self.system
        yield from system.controller.at(system.plan.faults[index].begin_ns, Control.begin, index)
        topic, before = fault.topic, self.counts[fault.topic]
        replicas = self._replicas(topic, fault.to)[before:]
        if fault.to <= before:
            system.prove(index, f"no effect: it has {before} partitions")
            return
        if any(system.unavailable.issuperset(brokers) for brokers in replicas):
            system.prove(index, "no effect: all brokers that one of the new partitions would have are down")
            return
        first = system.places[f"{topic}/0"]
        for number, brokers in enumerate(replicas, first + before):
            self._make(number, brokers)
        self.counts[topic] = fault.to
        self.grown.add(topic)
        system.prove(index, f"{fault.to} partitions instead of {before} from {self.clock.now / 1e9:.3f} s")
        self._is_asked_for(topic, {*range(first + before, first + fault.to)})

    def _replicas(self, topic: str, partitions: int) -> list[list[int]]:
        """Return where partitions of a topic lie, those of before in front; the live driver asks for the same."""
        shift, nodes = list(all_topics(self.scenario)).index(topic), self.scenario.brokers.nodes
        return replica_assignment(partitions, self.scenario.replication_of(topic), nodes, shift=shift)

    def _make(self, number: int, brokers: list[int]) -> None:
        """Let there be a partition; whoever hears of it knows who leads it, unless clients do not reach that broker now."""
        system = self.system
        partition, world = system.partitions[number], system.at_now()
        partition.replicas = brokers
        partition.in_sync = [broker for broker in brokers if broker not in system.unavailable]
        leader = partition.in_sync[0]
        world.part[number, LEADER] = leader
        world.knows[:, number] = 0 if leader in system.cut_off else leader
        system.replicas_changed(partition)

    def _is_asked_for(self, topic: str, new: set[int]) -> None:
        """Let everybody hear of new partitions who may write to them or read them."""
        for group in self.system.groups.values():
            if new & group.unheard:
                if not group.is_share:  # which begins at the first record
                    group.late |= new
                if group.settings.protocol == "consumer":
                    group.hears_of(new)
                for member in group.members if group.settings.protocol == "classic" else ():
                    self.clock.process(self._member_asks(group, member, new))
        for code, name in enumerate(self.system.names.processes):
            producer = self.scenario.producers.get(name.rpartition("/")[0])
            if producer is not None and producer.topic == topic:
                self.clock.process(self._process_asks(code, topic))

    def _next_ns(self, code: int, age_ns: int) -> int:
        """Return when a client asks next for what it knows of topics, now at the earliest."""
        first_ns = self.system.draws.metadata_ns(code, age_ns)
        return first_ns + max(0, -((first_ns - self.clock.now) // age_ns)) * age_ns

    # ---- who sends ---------------------------------------------------------------------------------------------------

    def _process_asks(self, code: int, topic: str) -> Process:
        producer = self.system.names.processes[code].rpartition("/")[0]
        age_ns = metadata_age_ns(self.scenario.producers[producer])
        if age_ns is not None:
            yield from self.asks_at(code, topic, self._next_ns(code, age_ns))

    def asks_at(self, code: int, topic: str, at_ns: int) -> Process:
        """Let a producer's process ask at an instant, or as soon as it does not hang any more."""
        yield self.clock.control(at_ns, Control.election, code)
        while self.system.world.proc[code, ASLEEP_UNTIL] > self.clock.now:
            yield self.clock.control(int(self.system.world.proc[code, ASLEEP_UNTIL]), Control.election, code)
        self._hears(code, topic)

    def starts_again(self, code: int, at_ns: int) -> None:
        """Let a producer's process that died know at its start how many partitions there are."""
        topic = self.scenario.producers[self.system.names.processes[code].rpartition("/")[0]].topic
        if any(isinstance(fault, AddPartitions) and fault.topic == topic for fault in self.scenario.faults):
            self.clock.process(self.asks_at(code, topic, at_ns))

    def _hears(self, code: int, topic: str) -> None:
        """Let a process send what it is handed from now on to all partitions that there are."""
        count = self.counts[topic]
        if topic not in self.grown or self.heard.get(code) == count:
            return
        self.heard[code] = count
        world, draws = self.system.at_now(), self.system.draws
        own = slice(int(world.proc[code, FIRST_EVENT]), int(world.proc[code, LAST_EVENT]))
        due = world.proc_events[int(world.proc[code, NEXT_EVENT]) : own.stop]
        keys = self.system.plan.key[world.event[due, IDENTITY]]
        producer, first = self.system.names.processes[code].rpartition("/")[0], self.system.places[f"{topic}/0"]
        client = self.scenario.producers[producer].client
        place = {
            key: first + partition_of(client, f"{producer}-{key}".encode(), count)
            for key in np.unique(keys[keys != NO_KEY]).tolist()
        }
        world.event[due, PART] = [place.get(key, NONE) for key in keys.tolist()]
        if not self.scenario.producers[producer].keyed:
            world.sticky[own] = draws.sticky(code, count).first(own.stop - own.start)

    # ---- who reads ---------------------------------------------------------------------------------------------------

    def _member_asks(self, group: "Group", member: "Member", new: set[int]) -> Process:
        """Let a member of a classic group ask time and again, as long as the group does not know of new partitions."""
        age_ns = metadata_age_ns(self.scenario.groups[group.name])
        if age_ns is None:
            return
        at_ns = self._next_ns(member.code, age_ns)
        while new & group.unheard:
            yield self.clock.control(at_ns, Control.election, member.code)
            self._member_hears(group, member, new)
            at_ns += age_ns

    def _member_hears(self, group: "Group", member: "Member", new: set[int]) -> None:
        """Let a group know what a member heard; of Java's only the leader looks, who is there for longest."""
        hangs = self.system.world.member[member.index, PAUSED_NS] > self.clock.now
        is_one = member.seat in group.joined and member.seat.is_live and not hangs
        if is_one and (not group.is_java or member.seat is group.joined[0]):
            group.hears_of(new)

    # ---- who finds a leader ------------------------------------------------------------------------------------------

    def found(self, code: int, partition: int) -> None:
        """Let somebody who found a partition's new leader know how many partitions the topic has."""
        topic = self.system.topic_of(partition)
        if topic not in self.grown or code >= len(self.system.names.processes):
            return
        owner = self.system.names.processes[code].rpartition("/")[0]
        producer, group = self.scenario.producers.get(owner), self.system.groups.get(owner)
        if producer is not None and producer.topic == topic:
            self._hears(code, topic)
        if group is not None and group.settings.protocol == "classic":
            first = self.system.places[f"{topic}/0"]
            member = next(member for member in group.members if member.code == code)
            self._member_hears(group, member, {*range(first, first + self.counts[topic])})
