"""Handlers in the plain model: tries, retries, what is given up, and what an effect emits."""

from collections.abc import Generator
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from plain_clock import Phase
from plain_dependencies import Calling
from plain_fetching import Fetching
from plain_links import LETTER
from plain_member_state import Delivery, Process, Read
from rundata.rows import MOST_ATTEMPTS, NONE, Kind, Outcome
from scenarios.partitioners import partition_of

if TYPE_CHECKING:
    from plain_brokers import Partition


class Working(Fetching, Calling):
    """Handles what was delivered."""

    def _deliver(self, read: Read) -> Delivery:
        self.group.deliveries[read.event] = number = self.group.deliveries.get(read.event, 0) + 1
        self.handed_over[read.partition] = read.offset + 1
        if not self.group.is_share:
            self._skip_unseen(read.partition)
        delivery = Delivery(read, self.polls, number)
        self.unfinished[read.partition][read.offset] = delivery
        self.model.fired["delivered again"] += number > 1
        self._row(Kind.delivery, delivery, started_ns=self.clock.now, ended_ns=self.clock.now)
        return delivery

    def _handle(self, delivery: Delivery, worker: int = 0, turn: simpy.Event | None = None) -> Process:
        """Try an event until it works or the policy gives it up."""
        clock, failures = self.clock, self.group.failures
        first = delivery.read.partition.copy + 1
        for attempt in count(first):
            yield turn or clock.at(clock.now, Phase.work, self.code, worker + 1)
            turn = None
            yield from self._hang(Phase.work, worker + 1)
            if attempt == first and self._knows(delivery.read.event):
                self.model.fired[f"passed over, {self.group.dedupe.store if self.group.dedupe else ''} store"] += 1
                self._ended(delivery)
                self._part_done(delivery)
                return
            begin_ns = clock.now
            yield clock.at(begin_ns + self._work_ns(delivery.read.event), Phase.end)
            yield from self._hang_at_end()
            ended_ns = max(
                clock.now + self.overshoot[self.tries], self.recorded_of[worker] * self.model.rules.recorded_in_order
            )
            self.tries, called = self.tries + 1, True
            if self.group.calls:
                called = yield from self._call_all(delivery.read.event, attempt, worker, ended_ns)
                ended_ns = clock.now
            late_ns, self.recorded_of[worker] = ended_ns - clock.now, ended_ns
            if called and not self._fails(delivery, attempt, begin_ns):
                self.emitting += self.group.finishes_later
                self._note_try(delivery, attempt, begin_ns, late_ns, ok=True)
                if not self.group.finishes_later:
                    self._part_done(delivery)
                yield from self._overshoot(late_ns)
                return
            last = failures is not None and attempt >= failures.retry.attempts
            backoff_ns = round(failures.retry.backoff * failures.retry.factor ** (attempt - 1)) if failures else 0
            backoff_ns *= self.model.rules.backoff
            due = {} if last else {"retry_due_ns": clock.now + backoff_ns}
            self._note_try(delivery, attempt, begin_ns, late_ns, ok=False, **due)
            self.model.fired["failed try"] += 1
            yield from self._overshoot(late_ns)
            if last:
                break
            if self.group.by_topic:
                self.model.fired["handed on"] += 1
                topic = f"{delivery.read.partition.topic.rsplit('.retry.', 1)[0]}.retry.{attempt}"
                there, number = self.model.partitions[topic], delivery.read.partition.number
                self.model.fired["copy of a new partition"] += number >= len(there)
                number = number % len(there) if self.model.rules.copies_go_around else min(number, len(there) - 1)
                yield from self._send(delivery, worker, there[number], clock.now + backoff_ns)
                self._ended(delivery)
                self._part_done(delivery)
                return
            yield clock.at(clock.now + backoff_ns, Phase.end)
        assert failures is not None
        self.model.fired[f"then {failures.then}"] += 1
        match failures.then:
            case "dead_letter":
                yield from self._dead_letter(delivery, worker)
            case "skip":
                self._row(Kind.skip, delivery, started_ns=clock.now, ended_ns=clock.now)
                self._ended(delivery)
                self._part_done(delivery)
            case "release":
                delivery.released = True
                self._part_done(delivery)
            case "stop":
                self.stopped = True
                if self.group.is_pool:  # the worker does not go on, and the member leaves at once
                    self.model.fired["one of several workers stops"] += 1
                    self.must_leave = self.model.rules.stops_with_its_worker
                    self.duty.give()
                    yield simpy.Event(clock)
            case "crash":
                yield clock.at(ended_ns, Phase.end, self.code, worker)
                yield from self._hang(Phase.end, worker)
                clock.process(self.group.dies(self))
                yield simpy.Event(clock)

    def _overshoot(self, late_ns: int) -> Process:
        """Be late for what follows: only as a mutation, since planned ends are cumulative."""
        if not self.model.rules.overshoot_apart:
            yield self.clock.at(self.clock.now + late_ns, Phase.end)

    def _work_ns(self, event: int) -> int:
        work_ns, now = (
            int(self.model.derived.work_ns(self.group.name, np.array([event]), self.version)[0]),
            self.clock.now,
        )
        for planned, fault in self.group.slow_work:
            if planned.begin_ns <= now < planned.end_ns and self.model.rules.slow_work:
                work_ns = round(work_ns * fault.factor) + fault.plus
                self.model.fired["slow work"] += 1
        return max(work_ns, round(self.model.profile.handle_us * 1000) * self.model.rules.least_work)

    def _fails(self, delivery: Delivery, attempt: int, begin_ns: int) -> bool:
        model, event = self.model, delivery.read.event
        if (
            model.derived.poison(np.array([event]))[0] and model.rules.poison_fails
        ) or attempt <= model.derived.failing_tries(self.group.name, np.array([event]), self.version)[
            0
        ] * model.rules.first_tries_fail:
            return True
        for planned, fault in self.group.failing_work:
            if not planned.begin_ns <= begin_ns < planned.end_ns or not model.rules.failing_work:
                continue
            if model.draws.failing_work(self.group.code, event, attempt, delivery.number) < fault.share:
                model.fired["failing work"] += 1
                return True
        if self.version is None or not self.version.fails:
            return False
        fails = model.draws.failing_work(self.group.code, event, attempt, delivery.number) < self.version.fails
        model.fired["version fails"] += fails
        return fails

    def _note_try(self, delivery: Delivery, attempt: int, begin_ns: int, late_ns: int, *, ok: bool, **due: int) -> None:
        times = {"started_ns": begin_ns, "ended_ns": self.clock.now + late_ns, **due}
        times["transaction_id"] = NONE if self.transaction is None else self.transaction.number
        outcome = Outcome.ok if ok else Outcome.failed
        self.clock.process(
            self._recorded(delivery, self.life, attempt=min(attempt, MOST_ATTEMPTS), outcome=outcome, **times)
        )

    def _recorded(self, delivery: Delivery, life: int, **fields: int) -> Process:
        """Record a try when its sleep has ended; one that was killed before leaves nothing."""
        yield self.clock.at(fields["ended_ns"], Phase.end)
        if self.life == life:
            yield from self._hang_at_end()
        if self.life == life:
            self._row(Kind.try_, delivery, None, **fields)
            if fields["outcome"] == Outcome.ok:
                self._ended(delivery)
                self._mark(delivery.read.event)
                if self.group.finishes_later:
                    self._emit(delivery)

    def _knows(self, event: int) -> bool:
        """Whether an event has had its effect, as far as the group's or the member's memory goes."""
        dedupe, rules = self.group.dedupe, self.model.rules
        if dedupe is None or not rules.dedupe:
            return False
        at_ns = (self.group.marked if dedupe.store == "shared" else self.marked).get(event)
        return at_ns is not None and (self.clock.now - at_ns <= dedupe.window or not rules.dedupe_window)

    def _mark(self, event: int) -> None:
        if self.group.dedupe is not None:
            (self.group.marked if self.group.dedupe.store == "shared" else self.marked)[event] = self.clock.now

    def _emit(self, delivery: Delivery) -> None:
        """Send what follows from an effect that is recorded now."""
        children = self.model.derived.children(delivery.read.event, self.group.name)
        for child in children:
            place = self.model.derived.places[int(self.model.derived.place_of(np.array([child]))[0])]
            self.model.fired["emitted"] += 1
            if (relay := self.model.relays.get((self.group.name, place.emit))) is not None:
                outbox = self.model.plan.scenario.groups[self.group.name].emits[place.emit].outbox
                assert outbox is not None
                relay.relay(child, self, outbox.every)
                continue
            delivery.left += 1
            self.emitting += 1
            self.model.emitting[self.code, place.emit].emit(child, self, delivery)
        self.emitting -= 1
        self._part_done(delivery)
        self.flushed.give()

    def _dead_letter(self, delivery: Delivery, worker: int) -> Process:
        """Send the event to the dead-letter topic and wait until it is there."""
        assert self.group.failures is not None and self.group.failures.dead_letter is not None
        model, clock, event = self.model, self.clock, delivery.read.event
        partitions = model.partitions[self.group.failures.dead_letter][: self.letters]
        key = model.derived.key_text(event)
        number = (
            event % len(partitions) if key is None else partition_of(self.group.client, key.encode(), len(partitions))
        )
        partition, started_ns = partitions[number], clock.now
        offset = yield from self._send(delivery, worker, partition, 0)
        outcome = Outcome.failed if offset == NONE else Outcome.ok
        times = {"started_ns": started_ns, "ended_ns": clock.now, "offset": offset, "outcome": outcome}
        self._row(Kind.dead_letter, delivery, partition, **times)
        self._ended(delivery)
        self._part_done(delivery)

    def _send(
        self, delivery: Delivery, worker: int, partition: "Partition", due_ns: int
    ) -> Generator[simpy.Event, Any, int]:
        """Send an event on and wait until it is there; return its offset."""
        model, clock, event, started_ns = self.model, self.clock, delivery.read.event, self.clock.now
        length_ns, self.dead_letters = self.dead_letter_time[self.dead_letters], self.dead_letters + 1
        token = (self.code, self.dead_letters)
        source = delivery.read.partition.log[delivery.read.offset]
        model.headers[token] = model.headers.get(source.token, (0, delivery.read.partition))
        if self.transaction is not None:
            model.transactions.of[token] = self.transaction
        while True:
            yield from self._until_known(partition)
            yield clock.at(clock.now, Phase.service, self.code, worker)
            yield from self._hang(Phase.service, worker, client=True)
            if not model.knows(self.code, partition):
                continue
            request = model.dead_letter_request(self.code, partition, event, token, started_ns, due_ns)
            crossing_ns = model.links.there_and_back(partition.leader, self.code, LETTER, started_ns)
            partition.begin(request, length_ns + crossing_ns, length_ns + crossing_ns)
            waits = model.rules.letters_are_waited_for
            while waits and not request.visible.triggered and model.knows(self.code, partition):
                yield request.visible | model.news.wait()
            if request.visible.triggered or not waits:
                break
            model.fired["dead letter resent"] += 1
        return request.offsets[token]
