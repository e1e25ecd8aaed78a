"""A producer's connection to a broker in the plain model: one produce request at a time, and what is not answered."""

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from plain_brokers import HANGS_NS, Partition, Request
from plain_clock import Phase, Signal
from plain_links import ANSWER, REQUEST
from scenarios.clients import topic_setting
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from plain_producers import Client

Process = Generator[simpy.Event, Any, None]


class Sending:
    """A produce request: librdkafka's holds one batch, Java's one of each of several partitions."""

    def __init__(self, batches: list[Request], came_ns: int) -> None:
        self.batches, self.came_ns = batches, came_ns
        """came_ns: when the broker has it."""


class Connection:
    """A process's connection to a broker: one request at a time."""

    def __init__(self, client: "Client", broker: int) -> None:
        self.client, self.model, self.broker = client, client.model, broker
        draws = self.model.draws
        self.scans_ns = [] if client.is_java else draws.request_scans_ns(client.code, len(self.model.brokers))
        """When librdkafka looks, in each second, for requests that are over, by broker."""
        self.produce, self.leader = draws.produce(client.code, broker), draws.leader(client.code, broker)
        self.acknowledge = draws.acknowledge(client.code, broker)
        self.queue: deque[Sending] = deque()
        self.current: Sending | None = None
        self.served = self.sent = self.came_ns = self.muted_ns = 0
        self.last_answer_ns = 0
        self.held: list[Sending] = []
        """Those whose answers cannot get through."""
        self.is_new = False
        self.unanswered, self.failures = 0, 0
        self.changed, self.broken = Signal(self.model.clock), Signal(self.model.clock)
        self.model.clock.process(self._serve())

    def take(self, batches: list[Request]) -> None:
        """Send a request after those before it; it must not stay unanswered for long."""
        size = sum(self.model.size_of(event) for batch in batches for event, _, _ in batch.events)
        code, sent, self.sent = self.client.code, self.sent, self.sent + 1
        crossing_ns = self.model.links.crosses(self.broker, "to", size, code, REQUEST, sent)
        self.came_ns = max(self.model.clock.now + crossing_ns, self.came_ns)
        sending = Sending(batches, self.came_ns)
        self.queue.append(sending)
        self.changed.give()
        if self.client.settings.acks != "0":
            self.unanswered += 1
            self.model.clock.process(self._time_out(sending))

    def _time_out(self, sending: Sending) -> Process:
        clock, settings = self.model.clock, self.client.settings
        over_ns = clock.now + settings.request_timeout_ns
        if self.scans_ns and self.model.rules.request_scans:
            over_ns += (self.scans_ns[self.broker - 1] - over_ns) % SECOND
        yield clock.at(over_ns, Phase.timeout, self.client.code, 2 * self.broker)
        yield from self.client.sleep(Phase.timeout, 2 * self.broker)
        if (sending is self.current or sending in [*self.held, *self.queue]) and self.model.rules.request_timeout:
            self.model.fired["request timeout"] += 1
            self.client.disconnects(self.broker)

    def _time_out_at_broker(self, sending: Sending) -> Process:
        clock, settings = self.model.clock, self.client.settings
        yield clock.at(clock.now + settings.acks_timeout_ns, Phase.timeout, self.client.code, 2 * self.broker + 1)
        yield from self.client.sleep(Phase.timeout, 2 * self.broker + 1)
        if sending is self.current and self.model.rules.acks_timeout:
            self.model.fired["acks timeout"] += 1
            self.current = None
            self.unanswered -= 1
            self.broken.give()
            for batch in sending.batches:
                if self._is_done(batch):
                    self.client.answered(batch)
                else:
                    self.client.failed(batch, self.broker)

    def _serve(self) -> Process:
        clock, acks = self.model.clock, self.client.settings.acks
        while True:
            while not self.queue:
                yield self.changed.wait()
            yield clock.at(clock.now, Phase.service, self.client.code, self.broker)
            if self.broker in self.model.silent or not self._hears():
                yield self.model.news.wait()
                continue
            if not self.queue:
                continue
            begins_ns = max(self.queue[0].came_ns, self.muted_ns)
            if begins_ns > clock.now:
                at_begin = clock.at(begins_ns, Phase.service, self.client.code, self.broker)
                yield at_begin | self.broken.wait()
                continue
            sending = self.current = self.queue.popleft()
            n, self.served = self.served, self.served + 1
            duration_ns = self._duration_ns(n, sending)
            leader_ns = min(self.leader[n], duration_ns)
            rested_ns = self.model.rests.takes_longer_ns(self.broker)
            leader_ns += rested_ns * leader_ns // duration_ns if duration_ns else rested_ns
            duration_ns += rested_ns
            waits_ns = self.model.cores.request_waits_ns(
                self.broker, sending.batches, self.produce[n], duration_ns - leader_ns
            )
            shares = duration_ns and self.model.rules.leader_waits_its_share
            leader_ns += waits_ns * leader_ns // duration_ns if shares else waits_ns
            duration_ns += waits_ns
            for batch in sending.batches:
                if batch.partition.leader != self.broker and self.model.rules.stale_leader:
                    self._append_in_vain(sending, batch, leader_ns)
                elif batch.partition.has_too_few and acks == "all" and self.model.rules.not_enough_replicas:
                    self.model.fired["not enough replicas"] += 1
                    self._turn_away(sending, batch, leader_ns)
                elif self._is_too_large(batch):
                    self.model.fired["batch too large for its topic"] += 1
                    batch.is_too_large = True
                    self._turn_away(sending, batch, leader_ns)
                elif self.client.is_out_of_order(batch.partition):
                    self.model.fired["batch out of order"] += 1
                    batch.is_out_of_order = True
                    self._turn_away(sending, batch, leader_ns)
                else:
                    batch.partition.begin(batch, leader_ns, duration_ns)
            if not self.model.rules.connection_queue:
                clock.process(self._alone(n, sending))
                self.current = None
                continue
            yield from self._all_visible(sending) if self._waits_for_all() else self._all_appended(sending)
            while self.current is sending and self.broker in self.model.cut_off and not self._is_cut_one_way():
                yield self.broken.wait() | self.model.news.wait()
            if self.current is not sending:
                continue
            self.current = None
            if self.queue:
                self.model.fired["connection queue"] += 1
            size = self.model.quotas.produced_bytes(sending.batches)
            self.muted_ns = clock.now + self.model.quotas.mutes(self.client.owner, self.broker, size)
            if acks != "0" or not self.model.rules.acks_0_at_once:
                clock.process(self._answer(n, sending))

    def _waits_for_all(self) -> bool:
        """Whether requests are answered when they are visible, and not as soon as the leader has them."""
        acks, rules = self.client.settings.acks, self.model.rules
        return (acks == "all" and rules.acks_all_waits) or (acks == "1" and not rules.acks_1_at_leader)

    def _is_too_large(self, batch: Request) -> bool:
        """Whether the topic takes no batch of that size: its values, and what frames the batch and one record."""
        size = sum(self.model.size_of(event) for event, _, _ in batch.events) + 61 + 16
        most = int(topic_setting(self.model.plan.scenario, batch.partition.topic, "max.message.bytes"))
        is_alone = len(batch.events) == 1 or not self.client.is_java
        is_planned = self.client.owner != ""
        return is_planned and is_alone and size > most and self.model.rules.batch_limit

    def _hears(self) -> bool:
        """Whether requests reach the broker; nobody sets up a connection without hearing from it."""
        if self.broker in self.model.no_answers and self.model.rules.one_way_cuts:
            return not self.is_new
        return self.broker not in self.model.cut_off

    def _is_cut_one_way(self) -> bool:
        return self.broker in self.model.no_requests | self.model.no_answers and self.model.rules.one_way_cuts

    def _all_visible(self, sending: Sending) -> Process:
        self.model.clock.process(self._time_out_at_broker(sending))
        while self.current is sending and not all(map(self._is_done, sending.batches)):
            pending = [batch.visible for batch in sending.batches if not batch.visible.triggered]
            yield simpy.AnyOf(self.model.clock, [self.broken.wait(), *pending])
            for batch in [batch for batch in sending.batches if batch.is_short and batch.seen_by == self.broker]:
                if not batch.stale and self.current is sending:
                    self.model.fired["refused after the append"] += 1
                    batch.stale = True
                    yield from self._refuse_when_heard(sending, batch)

    def _is_done(self, batch: Request) -> bool:
        return batch.visible.triggered and batch.seen_by == self.broker and not batch.is_short

    def _all_appended(self, sending: Sending) -> Process:
        clock = self.model.clock
        while self.current is sending:
            due_ns = max(batch.appended_ns for batch in sending.batches)
            timers = [clock.at(due_ns, Phase.end)] if due_ns < HANGS_NS else []
            yield simpy.AnyOf(clock, [self.broken.wait(), *timers])
            is_due = bool(timers) and timers[0].processed
            if is_due and all(batch.appended_ns <= due_ns for batch in sending.batches):
                return

    # ---- a broker that is not the leader any more, or hangs ------------------------------------------------------

    def _append_in_vain(self, sending: Sending, batch: Request, leader_ns: int) -> None:
        """Take a batch into the log of a broker that only takes itself for the leader: it is acknowledged with acks=1, and lost."""
        clock = self.model.clock
        batch.stale = True
        if clock.now >= self.model.stale_until_ns.get(self.broker, 0) or batch.partition.leader is None:
            self._turn_away(sending, batch, leader_ns)
            return
        batch.appended_ns = clock.now + leader_ns
        self.model.fired["appended in vain"] += 1
        if self.client.settings.acks != "all":
            for _, token, _ in batch.events:
                batch.offsets[token] = batch.partition.stale_end
                batch.partition.stale_end += 1

    def _turn_away(self, sending: Sending, batch: Request, leader_ns: int) -> None:
        batch.stale, batch.appended_ns = True, HANGS_NS
        self.model.clock.process(self._refuse_after(sending, batch, leader_ns))

    def _refuse_after(self, sending: Sending, batch: Request, leader_ns: int) -> Process:
        yield self.model.clock.at(self.model.clock.now + leader_ns, Phase.end)
        yield from self._refuse_when_heard(sending, batch)

    def _refuse_when_heard(self, sending: Sending, batch: Request) -> Process:
        while (
            self.current is sending and self.broker in self.model.silent | self.model.cut_off - self.model.no_requests
        ):
            yield self.model.news.wait()
        if self.current is sending:
            self._refuse([batch])

    def refuse_stale(self) -> None:
        """Refuse what is in service and not led by this broker any more."""
        if self.current:
            stale = [b for b in self.current.batches if b.partition.leader != self.broker and not self._is_done(b)]
            for batch in stale:
                batch.is_too_large = batch.is_out_of_order = False
            self._refuse([batch for batch in self.current.batches if batch in stale or batch.stale])

    def _refuse(self, batches: list[Request]) -> None:
        sending = self.current
        assert sending is not None
        for batch in [batch for batch in batches if batch in sending.batches]:
            self.model.fired["refused by a former leader"] += 1
            sending.batches.remove(batch)
            if self.client.settings.acks != "0":
                if batch.is_too_large or batch.is_out_of_order:
                    self.client.fails_for_good(batch)
                else:
                    self.client.failed(batch, self.broker)
        if not sending.batches:
            self.current = None
            self.unanswered -= self.client.settings.acks != "0"
        self.client.news.give()
        self.broken.give()

    def goes_on(self, length_ns: int) -> None:
        """Go on after a broker hung; what it had in service, but not in a log that still counts, too."""
        for batch in self.current.batches if self.current else []:
            batch.goes_on(length_ns)
        self.broken.give()

    def _duration_ns(self, n: int, sending: Sending) -> int:
        sizes = [self.model.size_of(event) for batch in sending.batches for event, _, _ in batch.events]
        profile = self.model.profile
        per_size_us = profile.produce_us_per_kib * sum(sizes) / 1024 + profile.produce_us_per_record * len(sizes)
        return self.produce[n] + int(np.rint(1000 * per_size_us)) * self.model.rules.times_by_size

    def _answer(self, n: int, sending: Sending) -> Process:
        clock, life = self.model.clock, self.client.life
        if self.broker in self.model.no_answers:
            self.held.append(sending)
            while self.broker in self.model.no_answers:
                self.model.fired["answer held"] += 1
                yield self.model.news.wait()
                if sending not in self.held:
                    return
            self.held.remove(sending)
        crossing_ns = self.model.links.crosses(self.broker, "from", 0, self.client.code, ANSWER, n)
        answer_ns = clock.now + self.acknowledge[n] + crossing_ns
        if self.model.rules.answers_in_order:
            answer_ns = max(answer_ns, self.last_answer_ns)
        self.last_answer_ns = answer_ns
        yield clock.at(answer_ns, Phase.end)
        yield from self.client.sleep(Phase.end)
        if self.client.life != life:
            return
        self.unanswered -= 1
        self.failures = 0
        if self.client.model.rules.answers_wake:
            self.client.wakes(self.broker)
        for batch in sending.batches:
            self.client.answered(batch)

    def _alone(self, n: int, sending: Sending) -> Process:
        yield simpy.AllOf(self.model.clock, [batch.visible for batch in sending.batches])
        self.model.clock.process(self._answer(n, sending))

    def take_out(self, partition: Partition) -> list[Request]:
        """Drop what is not finished of a partition and return it; the rest of its requests goes on."""
        out: list[Request] = []
        for sending in [self.current, *self.queue]:
            for batch in list(sending.batches) if sending else []:
                if batch.partition is partition and not (sending is self.current and self._is_done(batch)):
                    assert sending is not None
                    out.append(batch)
                    sending.batches.remove(batch)
        emptied = [sending for sending in [self.current, *self.queue] if sending and not sending.batches]
        self.unanswered -= len(emptied) if self.client.settings.acks != "0" else 0
        self.queue = deque(sending for sending in self.queue if sending.batches)
        if self.current in emptied:
            self.current = None
        self.broken.give()
        return out

    def break_off(self) -> list[Request]:
        """Drop what is not finished and return it, oldest first."""
        unfinished = [*self.held, *([self.current] if self.current else []), *self.queue]
        self.unanswered -= len(unfinished) if self.client.settings.acks != "0" else 0
        self.current = None
        self.muted_ns = 0
        self.queue.clear()
        self.held.clear()
        self.is_new = True
        self.broken.give()
        return [batch for sending in unfinished for batch in sending.batches]
