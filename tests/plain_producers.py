"""A producer's process in the plain model: it hands events over, batches them per partition, sends them, hears the answers."""

from collections import deque
from collections.abc import Callable, Generator, Hashable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from plain_brokers import Partition, Request
from plain_clock import Phase, Signal
from plain_connections import Connection
from rundata.rows import NONE, Outcome
from scenarios.clients import ProducerSettings, producer_settings
from scenarios.partitioners import partition_of
from scenarios.plan import CLIENT_CHOOSES

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


class Client:
    """A producer's process: hands events over, batches them per partition, sends them, hears the answers."""

    owner = ""
    """The producer that it is a process of."""

    def __init__(
        self, model: "Model", name: str, code: int, events: list[int], due_ns: list[int], again: list[bool]
    ) -> None:
        producer = name.rsplit("/", 1)[0]
        what = model.plan.scenario.producers[producer]
        settings = producer_settings(model.plan.scenario, producer)
        send = model.draws.send(code)
        self.due_ns = list(accumulate((due + send[n] for n, due in enumerate(due_ns)), max))
        self.again = again
        self.owner = producer
        self._begin(model, code, events, settings, what.client == "java", model.partitions[what.topic])

    def _begin(
        self,
        model: "Model",
        code: int,
        events: list[int],
        settings: ProducerSettings,
        is_java: bool,
        partitions: list[Partition],
    ) -> None:
        self.model, self.code, self.events = model, code, events
        self.settings, self.is_java, self.partitions = settings, is_java, partitions
        self.life = 0
        """Grows when the process dies, so that answers to what it sent before are not heard."""
        self.linger_ns = self.settings.linger_ns if model.rules.linger else 0
        self.sleeps = not is_java and model.profile.sleep_step_us > 0 and model.rules.sleeps_in_steps
        self.woke_ns = dict.fromkeys(model.brokers, 0)
        """By broker: when the thread that sends to it looked at its queues last."""
        self.queues: dict[Partition, deque[tuple[int, Hashable, int]]] = {p: deque() for p in self.partitions}
        self.unanswered = dict.fromkeys(self.partitions, 0)
        self.under_way = dict.fromkeys(self.partitions, 0)
        """Events in requests that are not answered."""
        self.failures = dict.fromkeys(self.partitions, 0)
        self.retry_ns = dict.fromkeys(self.partitions, 0)
        self.retries = 0
        self.due = 0
        """Which of its events is handed over next."""
        self.count = sum(bool(partition.replicas) for partition in partitions)
        """How many partitions it knows of."""
        self.sticky = model.draws.sticky(code, self.count)
        self.connections = {broker: Connection(self, broker) for broker in model.brokers}
        self.news, self.freed = Signal(model.clock), Signal(model.clock)
        self.held_events, self.held_bytes = 0, 0
        self.asleep_until_ns, self.back_ns = 0, -1
        self.is_blocked = False
        for partition in [] if self.is_java else self.partitions:
            model.clock.process(self._batcher(partition))
        if self.is_java:
            model.clock.process(self._sender())
        model.clock.process(self._hand_over())

    # ---- events come in ----------------------------------------------------------------------------------------------

    def _hand_over(self) -> Process:
        clock = self.model.clock
        choose = self._sticky()
        for n, event in enumerate(self.events):
            yield clock.at(self.due_ns[n], Phase.hand_over, self.code)
            yield from self.sleep(Phase.hand_over)
            yield from self._wait_for_its_turn()
            if self.again[n] and self.due_ns[n] <= self.back_ns and self.model.rules.second_times_left_out:
                self.model.fired["second time left out"] += 1
                self.due = n + 1
                self.model.open.discard(("send", event))
                continue
            self.model.called[event] = clock.now
            life = self.life
            is_refused = self._is_broken()
            if not is_refused:
                yield from self._wait_for_room(event)
            self.is_blocked = False
            if self.life != life:
                continue
            self.due = n + 1
            number = self.model.planned_number(event)
            if is_refused or not self._has_room(event):
                self._note_refusal(event)
                self._breaks(event)
                self.model.refused(self.code, event, self.partitions[0].topic, number)
                self._end_if_all()
                continue
            if number == CLIENT_CHOOSES:
                number = choose(self._size(event))
            partition = self.partitions[number]
            self.held_events += 1
            self.held_bytes += self._size(event)
            self.model.handed[event] = (clock.now, partition)
            self._is_taken(event)
            token = event if self.model.rules.second_times_are_new else self.model.event_of(event)
            self.queues[partition].append((event, token, clock.now))
            self._comes_in(partition)
            self.news.give()
            clock.process(self._expire(event, partition))

    def _wait_for_its_turn(self) -> Process:
        """Hand over nothing as long as a transaction has to end first."""
        yield from ()

    def _is_broken(self) -> bool:
        """Whether the client takes nothing, because its transaction can only be aborted."""
        return False

    def _breaks(self, event: int) -> None:
        """Note what a call that was refused does to a transaction."""

    def is_out_of_order(self, partition: Partition) -> bool:
        """Whether brokers refuse the next batch of a partition because one before it is missing."""
        return False

    def _is_taken(self, event: int) -> None:
        """Note that an event was handed over."""

    def _is_answered(self, event: int, partition: Partition, offset: int) -> None:
        self.model.acknowledged(self.code, event, partition, offset)

    def _is_given_up(self, event: int, partition: Partition, outcome: Outcome = Outcome.unknown) -> None:
        self.model.given_up(self.code, event, partition, outcome)

    def _end_if_all(self) -> None:
        """End the transaction of which nothing is under way."""

    def is_uncommitted(self, event: int) -> bool:
        """Whether an event is answered, and its transaction has not ended."""
        return False

    def hears_of(self, count: int) -> None:
        """Know of so many partitions: what is handed over from now on may go to any of them."""
        if count == self.count or not self.model.rules.processes_ask:
            return
        self.model.fired["process hears of new partitions"] += 1
        self.count, self.sticky = count, self.model.draws.sticky(self.code, count)
        client = "java" if self.is_java else "librdkafka"
        for sending in self.events[self.due :]:
            key = self.model.plan.key_text(self.model.event_of(sending))
            self.model.numbers[sending] = CLIENT_CHOOSES if key is None else partition_of(client, key.encode(), count)

    def _note_refusal(self, event: int) -> None:
        too_large = self._size(event) > self.settings.largest_bytes
        at_once = self.settings.max_block_ns is None
        self.model.fired["too large" if too_large else "refused at once" if at_once else "refused after a wait"] += 1

    def sleep(self, phase: Phase, tie: int = 0) -> Process:
        """Do nothing as long as the process hangs."""
        while self.asleep_until_ns > self.model.clock.now:
            self.model.fired["put off"] += 1
            yield self.model.clock.at(self.asleep_until_ns, phase, self.code if phase != Phase.end else 0, tie)

    def _wait_for_room(self, event: int) -> Process:
        """Block as long as the buffer is full, and no longer than max.block.ms; librdkafka does not."""
        clock, longest_ns = self.model.clock, self.settings.max_block_ns
        if (
            not self.model.rules.blocks_when_full
            or longest_ns is None
            or self._has_room(event)
            or self._size(event) > self.settings.largest_bytes
        ):
            return
        life = self.life
        self.model.fired["blocked"] += 1
        self.is_blocked = True
        timer = clock.at(clock.now + longest_ns, Phase.hand_over, self.code)
        while self.life == life and not self._has_room(event) and not timer.processed:
            yield timer | self.freed.wait()
            yield clock.at(clock.now, Phase.hand_over, self.code)
            yield from self.sleep(Phase.hand_over)

    def _has_room(self, event: int) -> bool:
        if self._size(event) > self.settings.largest_bytes and self.model.rules.size_limit:
            return False
        if not self.model.rules.buffer_limit:
            return True
        fits = self.held_bytes + self._size(event) <= self.settings.buffer_bytes
        return fits and self.held_events < self.settings.buffer_events

    def _sticky(self) -> Callable[[int], int]:
        """Return what chooses partitions for events without keys: librdkafka by time, Java by bytes."""
        clock = self.model.clock
        chosen, choices, until_ns, left_bytes = 0, 0, -1, 0

        def choose(size: int) -> int:
            nonlocal chosen, choices, until_ns, left_bytes
            by_bytes = self.is_java and self.model.rules.sticky_by_bytes
            is_over = left_bytes <= 0 if by_bytes else clock.now >= until_ns
            if is_over or not self.model.rules.sticky_partitions:
                chosen, choices, until_ns = self.sticky[choices], choices + 1, clock.now + 2 * self.settings.linger_ns
                left_bytes = self.settings.batch_bytes
                self.model.fired["partition chosen"] += 1
            left_bytes -= size
            return chosen

        def forget() -> None:
            nonlocal chosen, until_ns, left_bytes
            chosen, until_ns, left_bytes = 0, -1, 0

        self.forget_choice = forget
        return choose

    def _expire(self, event: int, partition: Partition) -> Process:
        clock = self.model.clock
        yield clock.at(clock.now + self.settings.delivery_timeout_ns, Phase.timeout, self.code)
        yield from self.sleep(Phase.timeout)
        if self.model.rules.delivery_timeout and self.model.is_open(event):
            self.model.fired["delivery timeout"] += 1
            self._is_given_up(event, partition)
            if self.model.rules.given_up_leave_queues:
                self.queues[partition] = deque(queued for queued in self.queues[partition] if queued[0] != event)
            self._release(event)
            self._end_if_all()

    def _release(self, event: int) -> None:
        self.held_events -= 1
        self.held_bytes -= self._size(event)
        self.freed.give()

    # ---- batches go out ----------------------------------------------------------------------------------------------

    def _batcher(self, partition: Partition) -> Process:
        """librdkafka: each partition's batches go alone."""
        clock = self.model.clock
        while True:
            yield simpy.AnyOf(clock, [self.news.wait(), *self._timers(partition)])
            yield clock.at(clock.now, Phase.batch, self.code, partition.number)
            yield from self.sleep(Phase.batch, partition.number)
            while self._is_ready(partition) and not self._is_full(partition) and self._is_seen(partition):
                self._send([self._batch(partition)])

    # ---- the threads that send ---------------------------------------------------------------------------------------

    def _comes_in(self, partition: Partition) -> None:
        """Wake the thread for what it has to know: the first event of a queue, one that fills a batch, one behind what is ready."""
        queue, now = self.queues[partition], self.model.clock.now
        is_late = queue[0][2] + self.linger_ns <= now
        is_first = len(queue) == 1 and self.model.rules.first_event_wakes
        if self.sleeps and (is_first or is_late or any(self._fills_a_batch(partition))):
            self.wakes(self.model.known[self.code, partition])

    def wakes(self, broker: int | None) -> None:
        """Let the thread that sends to a broker look at its queues."""
        if broker is not None and self.sleeps:
            self.woke_ns[broker] = self.model.clock.now
            self.news.give()

    def _is_seen(self, partition: Partition) -> bool:
        """Whether the thread sees what is ready of a partition: it looks when it wakes, by itself when its sleep is over."""
        until_ns = self._sleeps_until_ns(partition)
        if until_ns > self.model.clock.now:
            self.model.fired["lingers on"] += 1
            return False
        if until_ns:
            self.wakes(self.model.known[self.code, partition])
        return True

    def _sleeps_until_ns(self, partition: Partition) -> int:
        """Return when the thread looks by itself at what is ready of a partition; 0 if it has seen it. Its sleeps are whole steps."""
        broker, profile = self.model.known[self.code, partition], self.model.profile
        if not self.sleeps or broker is None or any(self._fills_a_batch(partition)):
            return 0
        woke_ns, step_ns = self.woke_ns[broker], round(1000 * profile.sleep_step_us)
        asked_ns = -(-(self.queues[partition][0][2] + self.linger_ns - woke_ns) // step_ns) * step_ns
        oversleeps_ns = int(np.rint(profile.oversleep * asked_ns)) if self.model.rules.oversleeping else 0
        return woke_ns + asked_ns + oversleeps_ns if asked_ns > 0 else 0

    def _sender(self) -> Process:
        """Java: when one partition of a broker is ready, the oldest batch of each goes along."""
        clock = self.model.clock
        first, life = dict.fromkeys(self.model.brokers, 0), self.life
        while True:
            timers = [timer for partition in self.partitions for timer in self._timers(partition)]
            yield simpy.AnyOf(clock, [self.news.wait(), *timers])
            yield clock.at(clock.now, Phase.batch, self.code)
            yield from self.sleep(Phase.batch)
            if self.life != life:  # a new process begins anew
                first, life = dict.fromkeys(self.model.brokers, 0), self.life
            while ready := self._that_may_go(self.partitions):
                broker = self.model.known[self.code, ready[0]]
                assert broker is not None
                while ready := self._that_may_go(self._led_by(broker)):
                    several = self._led_by(broker) if self.model.rules.one_batch_of_each else ready[:1]
                    first[broker] = self._drain(several, first[broker])
                yield clock.at(clock.now, Phase.batch, self.code)

    def _that_may_go(self, partitions: list[Partition]) -> list[Partition]:
        return [partition for partition in partitions if self._is_ready(partition) and not self._is_full(partition)]

    def _drain(self, partitions: list[Partition], first: int) -> int:
        """Send the oldest batch of each partition, up to max.request.size; return where to begin the next time."""
        batches: list[Request] = []
        size = 0
        for partition in sorted(partitions, key=lambda p: (p.number - first) % len(self.partitions)):
            if self._keeps_back(partition) or not self.queues[partition]:
                continue
            more = sum(map(self._queued_size, self._oldest(partition)))
            if batches and size + more > self.settings.request_bytes and self.model.rules.request_limit:
                self.model.fired["request full"] += 1
                first = partition.number
                break
            self.model.fired["went along"] += not self._is_ready(partition)
            batches.append(self._batch(partition))
            size += more
        self._send(batches)
        return first

    def _led_by(self, broker: int) -> list[Partition]:
        return [partition for partition in self.partitions if self.model.known[self.code, partition] == broker]

    def _timers(self, partition: Partition) -> list[simpy.Event]:
        """Return when a partition may become ready by itself."""
        clock, queue = self.model.clock, self.queues[partition]
        timers = [clock.at(queue[0][2] + self.linger_ns, Phase.hand_over)] if self._is_waiting(queue) else []
        if queue and not timers and self._sleeps_until_ns(partition) > clock.now:
            timers.append(clock.at(self._sleeps_until_ns(partition), Phase.hand_over))
        if self.retry_ns[partition] > clock.now:
            timers.append(clock.at(self.retry_ns[partition], Phase.hand_over))
        return timers

    def _is_waiting(self, queue: deque[tuple[int, Hashable, int]]) -> bool:
        return bool(queue) and queue[0][2] + self.linger_ns > self.model.clock.now

    def _is_ready(self, partition: Partition) -> bool:
        queue = self.queues[partition]
        if not queue or not self.model.knows(self.code, partition) or self._keeps_back(partition):
            return False
        full_by_events, full_by_bytes = self._fills_a_batch(partition)
        self.model.fired["batch full by events"] += full_by_events and self._is_waiting(queue)
        self.model.fired["batch full by bytes"] += full_by_bytes and self._is_waiting(queue)
        return full_by_events or full_by_bytes or not self._is_waiting(queue)

    def _fills_a_batch(self, partition: Partition) -> tuple[bool, bool]:
        """Whether a queue has as much as a batch takes, in events or in bytes."""
        queue, rules, settings = self.queues[partition], self.model.rules, self.settings
        by_bytes = rules.full_by_bytes and sum(map(self._queued_size, queue)) >= settings.batch_bytes
        return rules.full_by_events and len(queue) >= settings.batch_events, by_bytes

    def _keeps_back(self, partition: Partition) -> bool:
        """Whether the client sends nothing of a partition for a while after an error."""
        rules = self.model.rules
        if rules.retry_backoff and self.retry_ns[partition] > self.model.clock.now:
            return True
        alone = self.settings.idempotence and self.failures[partition] > 0 and self.unanswered[partition] > 0
        self.model.fired["one at a time after an error"] += alone
        return rules.one_at_a_time_after_errors and alone

    def _is_full(self, partition: Partition) -> bool:
        """Whether too much is unanswered: events of the partition (idempotent librdkafka) or requests of the connection."""
        limit = self.settings.in_flight
        if limit is None or not self.model.rules.in_flight_limit:
            return False
        of_connection = self.is_java or not self.settings.idempotence
        broker = self.model.known[self.code, partition]
        assert broker is not None
        of_partition = self.under_way if self.model.rules.events_in_flight else self.unanswered
        under_way = self.connections[broker].unanswered if of_connection else of_partition[partition]
        self.model.fired["in-flight limit"] += under_way >= limit
        self.model.fired["in-flight limit of a connection"] += under_way >= limit and of_connection
        return under_way >= limit

    def _size(self, event: int) -> int:
        return self.model.size_of(event)

    def _queued_size(self, queued: tuple[int, Hashable, int]) -> int:
        return self._size(queued[0])

    def _oldest(self, partition: Partition) -> list[tuple[int, Hashable, int]]:
        """Return what goes into a partition's next batch."""
        batch: list[tuple[int, Hashable, int]] = []
        size = 0
        for queued in self.queues[partition]:
            size += self._queued_size(queued)
            if batch and (len(batch) >= self.settings.batch_events or size > self.settings.batch_bytes):
                break
            batch.append(queued)
        return batch

    def _batch(self, partition: Partition) -> Request:
        batch = self._oldest(partition)
        for _ in batch:
            self.queues[partition].popleft()
        self.unanswered[partition] += 1
        self.under_way[partition] += len(batch)
        return Request(self.code, partition, batch, self.settings.idempotence, simpy.Event(self.model.clock))

    def _send(self, batches: list[Request]) -> None:
        broker = self.model.known[self.code, batches[0].partition]
        assert broker is not None
        if self.settings.acks == "0" and self.model.rules.acks_0_at_once:
            for batch in batches:
                self.answered(batch)
        self.connections[broker].take(batches)

    # ---- answers, or none --------------------------------------------------------------------------------------------

    def answered(self, request: Request) -> None:
        """Hear that a request is in the log (or believe it, with acks=0)."""
        self._is_not_under_way(request)
        self.failures[request.partition] = 0
        self.news.give()
        for event, token, _ in request.events:
            offset = NONE if self.settings.acks == "0" else request.offsets[token]
            if self.model.is_open(event):
                self._release(event)
            self._is_answered(event, request.partition, offset)
        self._end_if_all()

    def fails_for_good(self, request: Request) -> None:
        """Hear that a batch is too large for its topic: its events have failed."""
        self._is_not_under_way(request)
        for event, _, _ in request.events:
            if self.model.is_open(event):
                self._release(event)
                self._is_given_up(event, request.partition, Outcome.failed)
        self._end_if_all()
        self.news.give()

    def _is_not_under_way(self, request: Request) -> None:
        self.unanswered[request.partition] -= 1
        self.under_way[request.partition] -= len(request.events)

    def lost_broker(self, broker: int) -> None:
        """Queue again what the broker had not finished; with acks=0 nobody knows about it."""
        for request in reversed(self.connections[broker].break_off()):
            if self.settings.acks == "0":
                self.model.fired["lost with acks=0"] += 1
                continue
            self._take_back(request)

    def refused(self, broker: int, partition: Partition) -> None:
        """Queue again what a broker that no longer leads the partition had not finished of it."""
        self.news.give()
        for request in self.connections[broker].take_out(partition):
            if self.settings.acks != "0":
                self._take_back(request)

    def disconnects(self, broker: int) -> None:
        """Give up on a silent broker: everything is sent again, when the client has asked who leads what it led."""
        connection = self.connections[broker]
        for request in connection.break_off():
            self._take_back(request)
        for partition in self._led_by(broker):
            if not self._turns_to_new_leader(partition, broker):
                self.model.known[self.code, partition] = None
        self.news.give()
        self.model.clock.process(self._refresh(self._backoff_ns(connection.failures)))
        connection.failures += 1

    def told(self, broker: int) -> None:
        """Find out who leads what a broker is believed to lead."""
        for partition in self._led_by(broker):
            self.model.known[self.code, partition] = partition.leader
        self.news.give()

    def _refresh(self, wait_ns: int) -> Process:
        clock = self.model.clock
        yield clock.at(clock.now + wait_ns, Phase.timeout, self.code)
        yield from self.sleep(Phase.timeout)
        for partition in self.partitions:
            if not self.model.knows(self.code, partition) and partition.leader not in self.model.reset:
                self.model.known[self.code, partition] = partition.leader
        self.news.give()

    def failed(self, request: Request, broker: int) -> None:
        """Hear from the broker that a request failed: it is sent again after a while."""
        partition = request.partition
        self._take_back(request)
        if self._turns_to_new_leader(partition, broker):
            self.failures[partition] += 1
            self.retry_ns[partition] = self.model.clock.now
        elif self.retry_ns[partition] <= self.model.clock.now:
            self.retry_ns[partition] = self.model.clock.now + self._backoff_ns(self.failures[partition])
            self.failures[partition] += 1
            if self.is_java and self.model.rules.java_asks_after_errors:
                self.model.known[self.code, partition] = None
                self.model.clock.process(self._refresh(self.retry_ns[partition] - self.model.clock.now))
        self.news.give()

    def _turns_to_new_leader(self, partition: Partition, broker: int) -> bool:
        """Know that a partition is led by another broker than it was sent to, if it is: Java sends there without a backoff."""
        is_new = partition.leader not in {None, broker, *self.model.reset}
        if not (is_new and self.is_java and self.model.rules.new_leader_without_backoff):
            return False
        self.model.fired["new leader without a backoff"] += 1
        self.model.known[self.code, partition] = partition.leader
        return True

    def _backoff_ns(self, failures: int) -> int:
        n, self.retries = self.retries, self.retries + 1
        longest_ns = min(
            self.settings.retry_backoff_ns << min(failures, 20) * self.model.rules.backoff_doubles,
            self.settings.retry_backoff_max_ns,
        )
        return longest_ns * self.model.draws.retry(self.code)[n] // 1_000_000

    def _take_back(self, request: Request) -> None:
        """Queue a request's events again, in the order in which they were handed over, without those given up."""
        self._is_not_under_way(request)
        queue = self.queues[request.partition]
        if self.model.rules.resend_after_loss:
            again = [queued for queued in request.events if self.model.is_open(queued[0])]
            order = {event: n for n, event in enumerate(self.events)}
            in_order = sorted([*again, *queue], key=lambda queued: order[queued[0]])
            is_kept = self.model.rules.sent_again_in_order
            self.queues[request.partition] = deque(in_order if is_kept else [*queue, *again])
        self.model.fired["resent"] += 1

    # ---- processes that hang or die ----------------------------------------------------------------------------------

    def falls_asleep(self, until_ns: int) -> None:
        """Hang: do nothing and hear nothing before an instant."""
        self.asleep_until_ns = max(self.asleep_until_ns, until_ns)

    def dies(self, back_ns: int) -> None:
        """Die with all that was not answered, and come back: what is due meanwhile is handed over then."""
        for event in self.events:
            if event in self.model.called and self.model.is_open(event):
                self.model.fired["lost with its producer"] += 1
                self.model.open.discard(("send", event))
                self.model.unheard.add(event)
        if self.due < len(self.events) and self.events[self.due] in self.model.called:
            self.due += 1
        self.forgets()
        self.freed.give()
        self.back_ns = max(self.back_ns, back_ns)
        self.falls_asleep(back_ns)
        for partition in self.partitions:
            self.model.known[self.code, partition] = None
        self.model.clock.process(self._refresh(back_ns - self.model.clock.now))

    def forgets(self) -> None:
        """Lose everything that the client knew and held."""
        self.life += 1
        self.is_blocked = False
        self.forget_choice()
        self.held_events = self.held_bytes = 0
        for connection in self.connections.values():
            connection.break_off()
            connection.unanswered = connection.failures = 0
        for partition, queue in self.queues.items():
            queue.clear()
            self.unanswered[partition] = self.under_way[partition] = 0
            self.failures[partition] = self.retry_ns[partition] = 0

    def learned(self) -> None:
        """Send to a new leader."""
        self.news.give()
