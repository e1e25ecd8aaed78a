"""A producer's connection to a broker in the plain model: one produce request at a time, and what is not answered."""

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from plain_brokers import Partition, Request
from plain_clock import Phase, Signal

if TYPE_CHECKING:
    from plain_producers import Client

Process = Generator[simpy.Event, Any, None]


class Sending:
    """A produce request: librdkafka's holds one batch, Java's one of each of several partitions."""

    def __init__(self, batches: list[Request]) -> None:
        self.batches = batches


class Connection:
    """A process's connection to a broker: one request at a time."""

    def __init__(self, client: "Client", broker: int) -> None:
        self.client, self.model, self.broker = client, client.model, broker
        draws = self.model.draws
        self.produce, self.leader = draws.produce(client.code, broker), draws.leader(client.code, broker)
        self.acknowledge = draws.acknowledge(client.code, broker)
        self.queue: deque[Sending] = deque()
        self.current: Sending | None = None
        self.served = 0
        self.last_answer_ns = 0
        self.unanswered, self.failures = 0, 0
        self.changed, self.broken = Signal(self.model.clock), Signal(self.model.clock)
        self.model.clock.process(self._serve())

    def take(self, batches: list[Request]) -> None:
        """Send a request after those before it; it must not stay unanswered for long."""
        sending = Sending(batches)
        self.queue.append(sending)
        self.changed.give()
        if self.client.settings.acks != "0":
            self.unanswered += 1
            self.model.clock.process(self._time_out(sending))

    def _time_out(self, sending: Sending) -> Process:
        clock, settings = self.model.clock, self.client.settings
        yield clock.at(clock.now + settings.request_timeout_ns, Phase.timeout, self.client.code, 2 * self.broker)
        if (sending is self.current or sending in self.queue) and self.model.rules.request_timeout:
            self.model.fired["request timeout"] += 1
            self.client.disconnects(self.broker)

    def _time_out_at_broker(self, sending: Sending) -> Process:
        clock, settings = self.model.clock, self.client.settings
        yield clock.at(clock.now + settings.acks_timeout_ns, Phase.timeout, self.client.code, 2 * self.broker + 1)
        if sending is self.current and self.model.rules.acks_timeout:
            self.model.fired["acks timeout"] += 1
            self.current = None
            self.unanswered -= 1
            self.broken.give()
            for batch in sending.batches:
                if batch.visible.triggered:
                    self.client.answered(batch)
                else:
                    self.client.failed(batch)

    def _serve(self) -> Process:
        clock, acks = self.model.clock, self.client.settings.acks
        while True:
            while not self.queue:
                yield self.changed.wait()
            yield clock.at(clock.now, Phase.service, self.client.code, self.broker)
            if not self.queue:
                continue
            sending = self.current = self.queue.popleft()
            n, self.served = self.served, self.served + 1
            duration_ns = self._duration_ns(n, sending)
            for batch in sending.batches:
                batch.partition.begin(batch, min(self.leader[n], duration_ns), duration_ns)
            if not self.model.rules.connection_queue:
                clock.process(self._alone(n, sending))
                self.current = None
                continue
            yield from self._all_visible(sending) if acks == "all" else self._all_appended(sending)
            if self.current is not sending:
                continue
            self.current = None
            if self.queue:
                self.model.fired["connection queue"] += 1
            if acks != "0":
                clock.process(self._answer(n, sending))

    def _all_visible(self, sending: Sending) -> Process:
        self.model.clock.process(self._time_out_at_broker(sending))
        while self.current is sending and not all(batch.visible.triggered for batch in sending.batches):
            yield simpy.AllOf(self.model.clock, [batch.visible for batch in sending.batches]) | self.broken.wait()

    def _all_appended(self, sending: Sending) -> Process:
        timer = self.model.clock.at(max(batch.appended_ns for batch in sending.batches), Phase.end)
        while self.current is sending and not timer.processed:
            yield timer | self.broken.wait()

    def _duration_ns(self, n: int, sending: Sending) -> int:
        sizes = [self.model.size_of(event) for batch in sending.batches for event, _, _ in batch.events]
        profile = self.model.profile
        per_size_us = profile.produce_us_per_kib * sum(sizes) / 1024 + profile.produce_us_per_record * len(sizes)
        return self.produce[n] + int(np.rint(1000 * per_size_us))

    def _answer(self, n: int, sending: Sending) -> Process:
        clock, life = self.model.clock, self.client.life
        answer_ns = clock.now + self.acknowledge[n]
        if self.model.rules.answers_in_order:
            answer_ns = max(answer_ns, self.last_answer_ns)
        self.last_answer_ns = answer_ns
        yield clock.at(answer_ns, Phase.end)
        if self.client.life != life:
            return
        self.unanswered -= 1
        self.failures = 0
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
                if batch.partition is partition and not (sending is self.current and batch.visible.triggered):
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
        unfinished = ([self.current] if self.current else []) + list(self.queue)
        self.unanswered -= len(unfinished) if self.client.settings.acks != "0" else 0
        self.current = None
        self.queue.clear()
        self.broken.give()
        return [batch for sending in unfinished for batch in sending.batches]
