"""What members emit in the plain model: a client of their own, which dies with them, and what waits for its answers."""

from typing import TYPE_CHECKING

from plain_brokers import Partition, Request
from plain_clock import Phase
from plain_producers import Client, Process
from scenarios.partitioners import librdkafka_partition
from sim.emitters import Emitter

if TYPE_CHECKING:
    from plain_member_state import Delivery
    from plain_members import Member
    from plain_model import Model

FIRST_SENDING = 2**62
"""Numbers that tell each sending of an emitted event from the planned events, which are sent once."""


class Emitting(Client):
    """A member's client: what an effect emits is handed to it, batched and sent as by any producer."""

    def __init__(self, model: "Model", what: Emitter) -> None:
        is_java = model.plan.scenario.groups[what.group].client == "java"
        self._begin(model, what.code, [], what.settings, is_java, model.partitions[what.topic])
        self.what = what
        self.send = model.draws.send(what.code)
        self.choose = self._sticky()
        self.sent = 0
        self.last_ns = 0

    def emit(self, child: int, member: "Member", delivery: "Delivery") -> None:
        """Send an emitted event, intended now."""
        model, now = self.model, self.clock_now
        sending = FIRST_SENDING + len(model.sendings)
        model.sendings.append((child, now))
        self.last_ns = max(now + self.send[self.sent], self.last_ns)
        self.sent += 1
        model.open.add(("send", sending))
        model.clock.process(self._hand_over_later(sending, child, self.last_ns))
        model.waiting_for[sending] = (member, member.life, delivery)

    @property
    def clock_now(self) -> int:
        """Now."""
        return self.model.clock.now

    def _hand_over_later(self, sending: int, child: int, at_ns: int) -> Process:
        life = self.life
        yield self.model.clock.at(at_ns, Phase.hand_over, self.code)
        if self.life != life:
            self.model.open.discard(("send", sending))
            return
        self.model.called[sending] = self.clock_now
        self.held_events += 1
        self.held_bytes += self._size(sending)
        partition = self._partition_of(child, sending)
        self.events.append(sending)
        self.model.handed[sending] = (self.clock_now, partition)
        self.queues[partition].append((sending, sending, self.clock_now))
        self.news.give()

    def _partition_of(self, child: int, sending: int) -> Partition:
        key = self.model.derived.key_text(child)
        if key is not None:
            return self.partitions[librdkafka_partition(key.encode(), len(self.partitions))]
        return self.partitions[self.choose(self._size(sending)) if len(self.partitions) > 1 else 0]

    def answered(self, request: Request) -> None:
        """Let the member know which of its events are there."""
        super().answered(request)
        for sending, _, _ in request.events:
            member, life, delivery = self.model.waiting_for.pop(sending, (None, 0, None))
            if member is not None and member.life == life:
                member.heard_of(delivery)

    def crash(self) -> None:
        """Die with the member: what was not sent is gone, and nobody hears what becomes of the rest."""
        self.forgets()
        for sending in self.events:
            if ("send", sending) in self.model.open:
                self.model.fired["emitted and lost"] += 1
                self.model.open.discard(("send", sending))
                self.model.unheard.add(sending)
