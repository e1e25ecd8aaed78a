"""A producer's process in the plain model: it hands events over, batches them per partition, sends them, hears the answers."""

from collections import deque
from collections.abc import Generator, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from plain_brokers import Partition, Request
from plain_clock import Phase, Signal
from rundata.rows import NONE
from scenarios.clients import producer_settings
from scenarios.plan import CLIENT_CHOOSES

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


class Connection:
    """A process's connection to a broker: one request at a time."""

    def __init__(self, client: "Client", broker: int) -> None:
        self.client, self.model, self.broker = client, client.model, broker
        draws = self.model.draws
        self.produce, self.leader = draws.produce(client.code, broker), draws.leader(client.code, broker)
        self.acknowledge = draws.acknowledge(client.code, broker)
        self.queue: deque[Request] = deque()
        self.current: Request | None = None
        self.served = 0
        self.last_answer_ns = 0
        self.unanswered, self.failures = 0, 0
        self.changed, self.broken = Signal(self.model.clock), Signal(self.model.clock)
        self.model.clock.process(self._serve())

    def take(self, request: Request) -> None:
        """Send a request after those before it; it must not stay unanswered for long."""
        request.broker = self.broker
        self.queue.append(request)
        self.changed.give()
        if self.client.settings.acks != "0":
            self.unanswered += 1
            self.model.clock.process(self._time_out(request))

    def _time_out(self, request: Request) -> Process:
        clock, settings = self.model.clock, self.client.settings
        yield clock.at(clock.now + settings.request_timeout_ns, Phase.timeout, self.client.code, 2 * self.broker)
        if (request is self.current or request in self.queue) and self.model.rules.request_timeout:
            self.model.fired["request timeout"] += 1
            self.client.disconnects(self.broker)

    def _time_out_at_broker(self, request: Request) -> Process:
        clock, settings = self.model.clock, self.client.settings
        yield clock.at(clock.now + settings.acks_timeout_ns, Phase.timeout, self.client.code, 2 * self.broker + 1)
        if request is self.current and self.model.rules.acks_timeout:
            self.model.fired["acks timeout"] += 1
            self.current = None
            self.broken.give()
            self.client.failed(request)

    def _serve(self) -> Process:
        clock, acks = self.model.clock, self.client.settings.acks
        while True:
            while not self.queue:
                yield self.changed.wait()
            yield clock.at(clock.now, Phase.service, self.client.code, self.broker)
            if not self.queue:
                continue
            request = self.current = self.queue.popleft()
            n, self.served = self.served, self.served + 1
            duration_ns = self._duration_ns(n, request)
            request.partition.begin(request, min(self.leader[n], duration_ns), duration_ns)
            if not self.model.rules.connection_queue:
                clock.process(self._alone(n, request))
                self.current = None
                continue
            if acks == "all":
                clock.process(self._time_out_at_broker(request))
                yield request.visible | self.broken.wait()
            else:
                yield clock.at(request.appended_ns, Phase.end) | self.broken.wait()
            if self.current is not request:
                continue
            self.current = None
            if self.queue:
                self.model.fired["connection queue"] += 1
            if acks != "0":
                clock.process(self._answer(n, request))

    def _duration_ns(self, n: int, request: Request) -> int:
        size = sum(int(self.model.plan.size_bytes[event]) for event, _, _ in request.events)
        profile = self.model.profile
        per_size_us = profile.produce_us_per_kib * size / 1024 + profile.produce_us_per_record * len(request.events)
        return self.produce[n] + int(np.rint(1000 * per_size_us))

    def _answer(self, n: int, request: Request) -> Process:
        clock = self.model.clock
        answer_ns = clock.now + self.acknowledge[n]
        if self.model.rules.answers_in_order:
            answer_ns = max(answer_ns, self.last_answer_ns)
        self.last_answer_ns = answer_ns
        yield clock.at(answer_ns, Phase.end)
        self.unanswered -= 1
        self.failures = 0
        self.client.answered(request)

    def _alone(self, n: int, request: Request) -> Process:
        yield request.visible
        self.model.clock.process(self._answer(n, request))

    def take_out(self, partition: Partition) -> list[Request]:
        """Drop what is not finished of a partition and return it."""
        out = [request for request in [self.current, *self.queue] if request and request.partition is partition]
        self.queue = deque(request for request in self.queue if request not in out)
        self.unanswered -= len(out) if self.client.settings.acks != "0" else 0
        if self.current in out:
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
        return unfinished


class Client:
    """A producer's process: hands events over, batches them per partition, sends them, hears the answers."""

    def __init__(self, model: "Model", name: str, code: int, events: list[int]) -> None:
        self.model, self.code, self.events = model, code, events
        producer, _number = name.rsplit("/", 1)
        self.settings = producer_settings(model.plan.scenario, producer)
        self.linger_ns = self.settings.linger_ns if model.rules.linger else 0
        self.partitions = model.partitions[model.plan.scenario.producers[producer].topic]
        self.queues: dict[Partition, deque[tuple[int, Hashable, int]]] = {p: deque() for p in self.partitions}
        self.unanswered = dict.fromkeys(self.partitions, 0)
        self.failures = dict.fromkeys(self.partitions, 0)
        self.retry_ns = dict.fromkeys(self.partitions, 0)
        self.retries = 0
        self.connections = {broker: Connection(self, broker) for broker in model.brokers}
        self.changed = {partition: Signal(model.clock) for partition in self.partitions}
        for partition in self.partitions:
            model.clock.process(self._batcher(partition))
        model.clock.process(self._hand_over())

    def _hand_over(self) -> Process:
        clock, plan = self.model.clock, self.model.plan
        send, sticky = self.model.draws.send(self.code), self.model.draws.sticky(self.code, len(self.partitions))
        chosen, choices, until_ns = 0, 0, -1
        for n, event in enumerate(self.events):
            yield clock.at(int(plan.intended_ns[event]) + send[n], Phase.hand_over, self.code)
            number = int(plan.partition[event])
            if number == CLIENT_CHOOSES:
                if clock.now >= until_ns:
                    chosen, choices, until_ns = sticky[choices], choices + 1, clock.now + 2 * self.settings.linger_ns
                    self.model.fired["partition chosen"] += 1
                number = chosen
            partition = self.partitions[number]
            self.model.handed[event] = (clock.now, partition)
            self.queues[partition].append((event, event, clock.now))
            self.changed[partition].give()
            clock.process(self._expire(event, partition))

    def _expire(self, event: int, partition: Partition) -> Process:
        clock = self.model.clock
        yield clock.at(clock.now + self.settings.delivery_timeout_ns, Phase.timeout, self.code)
        if self.model.rules.delivery_timeout and self.model.is_open(event):
            self.model.fired["delivery timeout"] += 1
            self.model.given_up(self.code, event, partition)
            self.queues[partition] = deque(queued for queued in self.queues[partition] if queued[0] != event)

    def _batcher(self, partition: Partition) -> Process:
        clock, changed = self.model.clock, self.changed[partition]
        while True:
            queue = self.queues[partition]
            timers = [clock.at(queue[0][2] + self.linger_ns, Phase.hand_over)] if self._is_waiting(queue) else []
            if self.retry_ns[partition] > clock.now:
                timers.append(clock.at(self.retry_ns[partition], Phase.hand_over))
            yield simpy.AnyOf(clock, [changed.wait(), *timers])
            yield clock.at(clock.now, Phase.batch, self.code, partition.number)
            while self._is_ready(partition):
                self._send_batch(partition)

    def _is_waiting(self, queue: deque[tuple[int, Hashable, int]]) -> bool:
        return bool(queue) and queue[0][2] + self.linger_ns > self.model.clock.now

    def _is_ready(self, partition: Partition) -> bool:
        queue, rules, settings = self.queues[partition], self.model.rules, self.settings
        if not queue or not self.model.knows(self.code, partition):
            return False
        full_by_events = rules.full_by_events and len(queue) >= settings.batch_events
        full_by_bytes = rules.full_by_bytes and sum(map(self._size, queue)) >= settings.batch_bytes
        ready = full_by_events or full_by_bytes or not self._is_waiting(queue)
        if ready and self._must_wait(partition):
            return False
        self.model.fired["batch full by events"] += full_by_events and self._is_waiting(queue)
        self.model.fired["batch full by bytes"] += full_by_bytes and self._is_waiting(queue)
        return ready

    def _must_wait(self, partition: Partition) -> bool:
        """Whether the client keeps back what is ready: after an error, or as long as too much is unanswered."""
        rules, limit = self.model.rules, self.settings.in_flight
        if rules.retry_backoff and self.retry_ns[partition] > self.model.clock.now:
            return True
        under_way = self.unanswered[partition]
        if rules.one_at_a_time_after_errors and self.settings.idempotence and self.failures[partition] and under_way:
            self.model.fired["one at a time after an error"] += 1
            return True
        if limit is None or not rules.in_flight_limit:
            return False
        if not self.settings.idempotence:
            assert partition.leader is not None
            under_way = self.connections[partition.leader].unanswered
        self.model.fired["in-flight limit"] += under_way >= limit
        self.model.fired["in-flight limit of a connection"] += under_way >= limit and not self.settings.idempotence
        return under_way >= limit

    def _size(self, queued: tuple[int, Hashable, int]) -> int:
        return int(self.model.plan.size_bytes[queued[0]])

    def _send_batch(self, partition: Partition) -> None:
        queue, settings = self.queues[partition], self.settings
        batch, size = [queue.popleft()], 0
        size = self._size(batch[0])
        while queue and len(batch) < settings.batch_events and size + self._size(queue[0]) <= settings.batch_bytes:
            size += self._size(queue[0])
            batch.append(queue.popleft())
        request = Request(self.code, partition, batch, settings.idempotence, simpy.Event(self.model.clock))
        self.unanswered[partition] += 1
        if settings.acks == "0":
            self.answered(request)
        assert partition.leader is not None
        self.connections[partition.leader].take(request)

    def answered(self, request: Request) -> None:
        """Hear that a request is in the log (or believe it, with acks=0)."""
        self.unanswered[request.partition] -= 1
        self.failures[request.partition] = 0
        self._look_again()
        for event, token, _ in request.events:
            offset = NONE if self.settings.acks == "0" else request.offsets[token]
            self.model.acknowledged(self.code, event, request.partition, offset)

    def lost_broker(self, broker: int) -> None:
        """Queue again what the broker had not finished; with acks=0 nobody knows about it."""
        for request in reversed(self.connections[broker].break_off()):
            if self.settings.acks == "0":
                self.model.fired["lost with acks=0"] += 1
                continue
            self._take_back(request)

    def refused(self, broker: int, partition: Partition) -> None:
        """Queue again what a broker that no longer leads the partition had not finished of it."""
        for request in self.connections[broker].take_out(partition):
            if self.settings.acks != "0":
                self._take_back(request)

    def disconnects(self, broker: int) -> None:
        """Give up on a silent broker: everything is sent again, when the client has asked who leads what it led."""
        connection = self.connections[broker]
        for request in connection.break_off():
            self._take_back(request)
        forgotten = [p for p in self.partitions if p.leader == broker and self.model.knows(self.code, p)]
        self.model.unknowing |= {(self.code, partition) for partition in forgotten}
        self.model.clock.process(self._refresh(self._backoff_ns(connection.failures)))
        connection.failures += 1

    def _refresh(self, wait_ns: int) -> Process:
        clock = self.model.clock
        yield clock.at(clock.now + wait_ns, Phase.timeout, self.code)
        for partition in self.partitions:
            if partition.leader is not None and not self.model.knows(self.code, partition):
                self.model.unknowing.discard((self.code, partition))
        self._look_again()

    def failed(self, request: Request) -> None:
        """Hear from the broker that a request failed: it is sent again after a while."""
        partition = request.partition
        self.connections[request.broker].unanswered -= 1
        self._take_back(request)
        self.retry_ns[partition] = self.model.clock.now + self._backoff_ns(self.failures[partition])
        self.failures[partition] += 1
        self._look_again()

    def _backoff_ns(self, failures: int) -> int:
        n, self.retries = self.retries, self.retries + 1
        longest_ns = min(self.settings.retry_backoff_ns << min(failures, 20), self.settings.retry_backoff_max_ns)
        return longest_ns * self.model.draws.retry(self.code)[n] // 1_000_000

    def _take_back(self, request: Request) -> None:
        """Queue a request's events again, in the order in which they were handed over, without those given up."""
        self.unanswered[request.partition] -= 1
        queue = self.queues[request.partition]
        if self.model.rules.resend_after_loss:
            again = [queued for queued in request.events if self.model.is_open(queued[0])]
            self.queues[request.partition] = deque(sorted([*again, *queue]))
        self.model.fired["resent"] += 1

    def _look_again(self) -> None:
        for changed in self.changed.values():
            changed.give()

    def learned(self, partition: Partition) -> None:
        """Send to the partition's new leader."""
        self.changed[partition].give()
