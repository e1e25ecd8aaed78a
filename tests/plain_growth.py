"""Topics of the plain model that get more partitions: who sends to them, and who reads them, has to hear of them first."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_brokers import Partition
from plain_clock import Control
from plain_emits import Emitting
from plain_groups import Group
from plain_members import Member
from plain_producers import Client
from scenarios.clients import metadata_age_ns, metadata_age_of
from scenarios.faults import AddPartitions
from scenarios.plan import replica_assignment
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


class Growth:
    """The faults `add_partitions` of a model."""

    def __init__(self, model: "Model") -> None:
        self.model, self.clock, self.scenario = model, model.clock, model.plan.scenario

    def there(self, topic: str) -> list[Partition]:
        """Return the partitions that a topic has by now."""
        return [partition for partition in self.model.partitions[topic] if partition.replicas]

    def has_grown(self, topic: str) -> bool:
        """Whether a topic has more partitions than at first."""
        return topic in self.scenario.topics and len(self.there(topic)) > self.scenario.topics[topic].partitions

    def add(self, index: int, fault: AddPartitions) -> Process:
        """Give a topic more partitions, led by the first of their replicas that are up."""
        model, topic = self.model, fault.topic
        yield from model.controller.at(model.plan.faults[index].begin_ns, Control.begin, index)
        nodes, replication = len(model.brokers), self.scenario.replication_of(topic)
        replicas = replica_assignment(fault.to, replication, nodes, shift=model.names.topics.index(topic))
        before = len(self.there(topic))
        new = [p for p in model.partitions[topic][: fault.to] if not p.replicas]
        is_led = not any(set(brokers) <= model.unavailable for brokers in replicas[before:])
        if not new or (not is_led and model.rules.added_where_somebody_is_up):
            model.fired["no partitions added"] += 1
            return
        model.fired["partitions added"] += 1
        for partition in new:
            partition.replicas = replicas[partition.number]
            down = model.unavailable if model.rules.added_in_sync_if_up else set[int]()
            partition.in_sync = [b for b in partition.replicas if b not in down]
            partition.leader = partition.in_sync[0] if partition.in_sync else None
            for code in model.knowers:
                model.known[code, partition] = None if partition.leader in model.cut_off else partition.leader
            partition.replicas_changed()
        for group in model.groups.values():
            if set(new) & group.unheard:
                if not group.is_share:  # which begins at the first record
                    group.late |= set(new)
                if group.protocol == "consumer":
                    group.hears_of(set(new))
                for member in group.all_members if group.protocol == "classic" else ():
                    self.clock.process(self._member_asks(group, member, set(new)))
        for client in model.clients:
            age_ns = self._age_ns(client) if client.partitions[0].topic == topic else None
            if age_ns is not None:
                self.clock.process(self.asks_at(client.code, self._next_ns(client.code, age_ns)))
        for member in self._everybody():
            if member.letters_to == topic:
                self.clock.process(self._letters_asked(member, topic, self._next_ns(member.code, 300 * SECOND)))

    def _age_ns(self, client: Client) -> int | None:
        """Return how often a client asks by itself; one that redrives is another one each time."""
        if not isinstance(client, Emitting):
            return metadata_age_ns(self.scenario.producers[client.owner])
        if client.what.kind == "redrive":
            return None
        group = self.scenario.groups[client.what.group]
        return metadata_age_of(group.client, group.emits[client.what.number].settings)

    def _everybody(self) -> list[Member]:
        """Return all members, and all who replay."""
        return [*self.model.members(), *self.model.replayers.values()]

    def _letters_asked(self, member: Member, topic: str, at_ns: int) -> Process:
        yield self.clock.control(at_ns, Control.election, member.code)
        while member.paused_ns > self.clock.now:
            yield self.clock.control(member.paused_ns, Control.election, member.code)
        member.letters_know(len(self.there(topic)))

    def reader_starts(self, member: Member) -> None:
        """Let the clients of a member, or of who replays, which are new, know what there is."""
        grown = [topic for topic in self.scenario.topics if self.has_grown(topic)]
        for client in self.model.emitting.values() if grown else ():
            if client.what.entity == member.code:
                client.hears_of(len(self.there(client.partitions[0].topic)))
        if member.letters_to is not None and member.letters_to in grown:
            member.letters_know(len(self.there(member.letters_to)))

    def _next_ns(self, code: int, age_ns: int) -> int:
        """Return when a client asks next for what it knows of topics, now at the earliest."""
        at_ns = self.model.draws.metadata_ns(code, age_ns)
        while at_ns < self.clock.now:
            at_ns += age_ns
        return at_ns

    def starts_again(self, code: int, at_ns: int) -> None:
        """Let a producer's process that died know at its start how many partitions there are."""
        if any(isinstance(fault, AddPartitions) for fault in self.scenario.faults):
            self.clock.process(self.asks_at(code, at_ns))

    def asks_at(self, code: int, at_ns: int) -> Process:
        """Let a producer's process ask at an instant, or as soon as it does not hang any more."""
        client = next(client for client in self.model.clients if client.code == code)
        yield self.clock.control(at_ns, Control.election, code)
        while self._hangs_until_ns(client) > self.clock.now:
            yield self.clock.control(self._hangs_until_ns(client), Control.election, code)
        client.hears_of(len(self.there(client.partitions[0].topic)))

    def _hangs_until_ns(self, client: Client) -> int:
        """Return until when a process hangs: a producer's, or the member's whose client it is."""
        if not isinstance(client, Emitting):
            return client.asleep_until_ns
        return max(
            (member.paused_ns for member in self.model.members() if member.code == client.what.entity), default=0
        )

    def _member_asks(self, group: Group, member: Member, new: set[Partition]) -> Process:
        """Let a member of a classic group ask time and again, as long as the group does not know of new partitions."""
        age_ns = metadata_age_ns(self.scenario.groups[group.name])
        if age_ns is None:
            return
        at_ns = self._next_ns(member.code, age_ns)
        while new & group.unheard:
            yield self.clock.control(at_ns, Control.election, member.code)
            self._member_hears(group, member, new)
            at_ns += age_ns

    def _member_hears(self, group: Group, member: Member, new: set[Partition]) -> None:
        """Let a group know what a member heard; of Java's only the leader looks, who is there for longest."""
        if member.seat not in group.joined or not member.seat.is_live or member.paused_ns > self.clock.now:
            return
        is_leader = member.seat is group.joined[0] or not self.model.rules.javas_leader_asks
        if not group.is_java or is_leader:
            self.model.fired["member hears of new partitions"] += bool(new & group.unheard)
            group.hears_of(new)

    def found(self, code: int, partition: Partition) -> None:
        """Let somebody who found a partition's new leader know how many partitions the topic has."""
        if not self.has_grown(partition.topic):
            return
        for client in self.model.clients:
            is_one = client.owner or (isinstance(client, Emitting) and client.what.kind != "redrive")
            if client.code == code and is_one and client.partitions[0].topic == partition.topic:
                client.hears_of(len(self.there(partition.topic)))
        for member in self._everybody():
            if member.code == code and member.letters_to == partition.topic:
                member.letters_know(len(self.there(partition.topic)))
        for group in self.model.groups.values():
            for member in group.all_members:
                if member.code == code and group.protocol == "classic":
                    self._member_hears(group, member, set(self.there(partition.topic)))
