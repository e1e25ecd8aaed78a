"""What members emit in the plain model: a client of their own, which dies with them, and what waits for its answers."""

from typing import TYPE_CHECKING

from plain_brokers import Partition, Request
from plain_clock import Phase
from plain_producers import Client, Process
from rundata.rows import NEVER, NONE
from scenarios.partitioners import partition_of
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
        self._begin(model, what.code, [], what.settings, what.is_java, model.partitions[what.topic])
        self.what = what
        self.send = model.draws.send(what.code)
        self.choose = self._sticky()
        self.forget_own_choice = (
            self.forget_choice
        )  # the process that hands planned events over has a choice of its own
        self.sent = 0
        self.last_ns = 0
        self.box: list[tuple[int, int]] = []
        self.placed: dict[int, int] = {}
        """By sending of a redrive: where it goes, as far as the client knows when the redrive begins."""
        self.looks = False

    def emit(self, child: int, member: "Member", delivery: "Delivery") -> None:
        """Send an emitted event, intended now."""
        model, now = self.model, self.clock_now
        sending = FIRST_SENDING + len(model.sendings)
        model.sendings.append((child, now))
        model.open.add(("send", sending))
        if member.transaction is not None:
            model.transactions.of[sending] = member.transaction
        self._sends(sending, child, now)
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
        self._comes_in(partition)
        self.news.give()

    def relay(self, child: int, member: "Member", every_ns: int) -> None:
        """Store an emitted event, intended now, for the next look into the outbox."""
        model, now = self.model, self.clock_now
        sending = FIRST_SENDING + len(model.sendings)
        model.sendings.append((child, now))
        model.open.add(("send", sending))
        model.sent_for[sending] = member.code
        self.box.append((sending, child))
        model.fired["stored in an outbox"] += 1
        if not self.looks:
            self.looks = True
            model.clock.process(self._look(-(-now // every_ns) * every_ns if model.rules.outbox else now))

    def _look(self, at_ns: int) -> Process:
        yield self.model.clock.at(at_ns, Phase.hand_over, self.code)
        self.looks = False
        for sending, child in self.box:
            self._sends(sending, child, self.clock_now)
        self.box.clear()

    def _sends(self, sending: int, child: int, due_ns: int) -> None:
        self.last_ns = max(due_ns + self.send[self.sent], self.last_ns)
        self.sent += 1
        self.model.clock.process(self._hand_over_later(sending, child, self.last_ns))

    def redrive(self, event: int, due_ns: int, headers: tuple[int, Partition]) -> int:
        """Send a dead letter once more, which nobody records; return when it reaches the client."""
        model = self.model
        sending = FIRST_SENDING + len(model.sendings)
        model.sendings.append((event, NEVER))
        model.open.add(("send", sending))
        model.sent_for[sending] = NONE
        model.headers[sending] = headers
        key = model.derived.key_text(event)
        if key is not None:
            self.placed[sending] = partition_of("librdkafka", key.encode(), self.count)
        elif self.count == 1:
            self.placed[sending] = 0
        self._sends(sending, event, due_ns)
        return self.last_ns

    def hears_of(self, count: int) -> None:
        """Know of so many partitions: what is handed over from now on may go to any of them."""
        if count != self.count and self.model.rules.clients_ask:
            self.model.fired["client hears of new partitions"] += 1
            self.count, self.sticky = count, self.model.draws.sticky(self.code, count)

    def _partition_of(self, child: int, sending: int) -> Partition:
        if sending in self.placed:
            return self.partitions[self.placed[sending]]
        key = self.model.derived.key_text(child)
        client = "java" if self.is_java and self.model.rules.javas_partitioner else "librdkafka"
        if key is not None:
            return self.partitions[partition_of(client, key.encode(), self.count)]
        return self.partitions[self.choose(self._size(sending)) if self.count > 1 else 0]

    def answered(self, request: Request) -> None:
        """Let the member know which of its events are there."""
        super().answered(request)
        for sending, _, _ in request.events:
            member, life, delivery = self.model.waiting_for.pop(sending, (None, 0, None))
            if member is not None and member.life == life:
                member.heard_of(delivery)

    def crash(self) -> None:
        """Die with the member: what was not sent is gone, and nobody hears what becomes of the rest."""
        if not self.model.rules.clients_die_with_members:
            return
        self.forgets()
        self.forget_own_choice()
        for sending in self.events:
            if ("send", sending) in self.model.open:
                self.model.fired["emitted and lost"] += 1
                self.model.open.discard(("send", sending))
                self.model.unheard.add(sending)
