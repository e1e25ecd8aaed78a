"""Topics that get more partitions: producers send to them when they have asked how many there are, groups read them after a rebalance."""

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from scenarios.clients import metadata_age_ns, metadata_age_of
from scenarios.faults import AddPartitions
from scenarios.partitioners import partition_of
from scenarios.plan import NO_KEY, replica_assignment
from scenarios.quantities import SECOND
from scenarios.retries import all_topics, partition_counts
from sim.clock import Control
from sim.emitters import Emitter, emitters
from sim.replaying import replaying
from sim.world import (
    ASLEEP_UNTIL,
    FIRST_EMITTING,
    FIRST_EVENT,
    GROUP,
    IDENTITY,
    LAST_EVENT,
    LEADER,
    LETTERS,
    NEXT_EVENT,
    NONE,
    P_KNOWS,
    PART,
    PAUSED_NS,
    PRODUCERS,
)

if TYPE_CHECKING:
    from sim.groups import Group
    from sim.members import Member
    from sim.supply import Supply
    from sim.system import System

Process = Generator[simpy.Event, Any, None]
LETTERS_AGE_NS = 300 * SECOND
"""After how long the clients that send dead letters ask by themselves: both clients' default."""


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
        growing = {fault.topic for fault in self.scenario.faults if isinstance(fault, AddPartitions)}
        self.emitters = [each for each in emitters(self.scenario) if each.kind != "redrive" and each.topic in growing]
        """Clients of members, and relays, that send to topics that grow."""
        self.letters = self._topics_of_letters(growing)
        """By code of a member, or of who replays: where its dead letters go, if that topic grows."""
        self.supply: Supply

    def _topics_of_letters(self, growing: set[str]) -> dict[int, str]:
        readers = [name.rpartition("/")[0] for name in self.system.names.processes]
        readers += [replay.group for replay in replaying(self.scenario)]
        groups = self.scenario.groups
        topics = [groups[name].topic_of_dead_letters if name in groups else None for name in readers]
        return {code: topic for code, topic in enumerate(topics) if topic is not None and topic in growing}

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
        for emitter in (each for each in self.emitters if each.topic == topic):
            self.clock.process(self._emitter_asks(emitter))
        for code in (code for code, letters in self.letters.items() if letters == topic):
            hears = partial(self._letters_hear, code)
            self.clock.process(
                self._asks(code, self._next_ns(code, LETTERS_AGE_NS), partial(self._paused_ns, code), hears)
            )

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
        return self._asks(code, at_ns, partial(self._asleep_ns, code), partial(self._hears, code, topic))

    def _asleep_ns(self, code: int) -> int:
        return int(self.system.world.proc[code, ASLEEP_UNTIL])

    def _asks(self, code: int, at_ns: int, until_ns: Callable[[], int], hears: Callable[[], None]) -> Process:
        """Let somebody ask at an instant, or as soon as it does not hang any more."""
        yield self.clock.control(at_ns, Control.election, code)
        while until_ns() > self.clock.now:
            yield self.clock.control(until_ns(), Control.election, code)
        hears()

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

    # ---- what members send -------------------------------------------------------------------------------------------

    def _emitter_asks(self, emitter: Emitter) -> Process:
        """Let a client that sends what members emit ask by itself, as its settings say."""
        group = self.scenario.groups[emitter.group]
        age_ns = metadata_age_of(group.client, group.emits[emitter.number].settings)
        if age_ns is not None:
            until_ns, hears = (
                partial(self._paused_ns, emitter.entity),
                partial(self._sender_hears, emitter.code, emitter.topic),
            )
            yield from self._asks(emitter.code, self._next_ns(emitter.code, age_ns), until_ns, hears)

    def _paused_ns(self, code: int) -> int:
        """Return until when a member hangs; who is no member never does."""
        index = code - int(self.system.world.scalars[PRODUCERS])
        return int(self.system.world.member[index, PAUSED_NS]) if self.system.is_member(code) else 0

    def _sender_hears(self, code: int, topic: str) -> None:
        """Let a client of a member, a relay or a redrive send what it is handed from now on to all partitions that there are."""
        count, world = self.counts[topic], self.system.at_now()
        if world.proc[code, P_KNOWS] == count:
            return
        world.proc[code, P_KNOWS] = count
        row = code - int(world.scalars[FIRST_EMITTING])
        chosen = self.supply.redrawn("emit_sticky", row, self.system.draws.sticky(code, count))
        world.emit_sticky[row] = chosen[: world.emit_sticky.shape[1]]

    def _letters_hear(self, code: int) -> None:
        """Let dead letters of a member, or of who replays, go to all partitions that there are from now on."""
        topic = self.letters[code]
        member = self.system.at_now().member[code - int(self.system.world.scalars[PRODUCERS])]
        stage = partition_counts(self.scenario, topic).index(self.counts[topic])
        member[LETTERS] = stage * len(self.scenario.groups) + member[GROUP]

    def reader_starts(self, code: int) -> None:
        """Let the clients of a member, or of who replays, which are new, know what there is."""
        for emitter in self.emitters if self.grown else ():
            if emitter.entity == code:
                self._sender_hears(emitter.code, emitter.topic)
        if self.grown and code in self.letters:
            self._letters_hear(code)

    def redrive_starts(self, code: int, topic: str) -> None:
        """Let the client of a redrive, which is new, know what there is."""
        self._sender_hears(code, topic)

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
        if topic not in self.grown:
            return
        for emitter in self.emitters:
            if emitter.code == code and emitter.topic == topic:
                self._sender_hears(emitter.code, emitter.topic)
        if self.letters.get(code) == topic:
            self._letters_hear(code)
        if code >= len(self.system.names.processes):
            return
        owner = self.system.names.processes[code].rpartition("/")[0]
        producer, group = self.scenario.producers.get(owner), self.system.groups.get(owner)
        if producer is not None and producer.topic == topic:
            self._hears(code, topic)
        if group is not None and group.settings.protocol == "classic":
            first = self.system.places[f"{topic}/0"]
            member = next(member for member in group.members if member.code == code)
            self._member_hears(group, member, {*range(first, first + self.counts[topic])})
