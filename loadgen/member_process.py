"""One member of a group: `python -P -m loadgen.member_process SPEC.json`. Polls, works, commits and gives up as the scenario says.

SIGTERM makes it finish what it has in hand, commit by its mode and leave; SIGKILL is a crash.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from loadgen.child import Child, DriverGone, freeze
from loadgen.member_batch import Batch
from loadgen.member_commits import Commits
from loadgen.member_held import Held
from loadgen.member_lookup import Lookup
from loadgen.member_parts import attend, handler_of
from loadgen.member_pool import Pool
from loadgen.member_rows import Event, MemberRows
from loadgen.member_sends import Clients, TransactionBroken
from loadgen.member_transactions import Transactions

clock = time.perf_counter_ns

_IDLE_WAIT_NS = 100_000_000
"""Longest wait of one poll, so that requests of the driver are heard."""
_COARSE_NS = 1_200_000
"""Longer waits can be the client's `poll`, which counts whole milliseconds."""


class MemberProcess:
    """The client, the handler and the loop around them."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self.child = child
        self.run_id: int = spec["run_id"]
        self.reads: dict[str, int] = spec["reads"]
        self.most: int = spec["max_poll_records"]
        self.poll_id: int = spec["first_poll_id"] - 1
        self.lookup = Lookup(child)
        self.rows = MemberRows(child, self.lookup)
        codes: dict[str, int] = spec["codes"]["topics"]
        self.topics = {topic: codes[topic] for topic in spec["topics"]}
        self.topic_names = {code: topic for topic, code in codes.items()}
        self.owned: set[tuple[str, int]] = set()
        mode: str = spec["commit"]
        self.consumer = Consumer(
            {
                **spec["settings"],
                "enable.auto.commit": mode == "auto",
                # Otherwise it stores what was handed over, finished or not; `auto` is what that default does.
                "enable.auto.offset.store": mode == "auto",
                "on_commit": self._committed,
            }
        )
        self.clients = Clients(child)
        self.commits: Commits = Commits(
            self.consumer, mode, spec["every_ns"], self.rows, self._leaving, lambda: self.clients.settle(self._leaving)
        )
        self.handler = handler_of(child, self.rows, self.lookup, self.clients)
        self.held = Held(self.consumer)
        workers: int = spec.get("workers", 1)
        self.in_hand: int = spec.get("in_hand", 1)
        self.pool = Pool(child, self.handler, workers, spec["ordered_by"]) if workers > 1 else None
        self.transactions: Transactions | None = None
        if self.clients.transactional is not None:
            first = spec["codes"]["process"] * (1 << 40) + spec["incarnation"] * (1 << 32)
            self.transactions = Transactions(self.clients, self.consumer, self.rows, first, self._leaving)
        self.settling = False
        """Whether the driver wants to hear when nothing is in hand."""
        self.start_ns = 0
        self.began_cpu_s = 0.0
        """What the thread had spent at time 0."""
        if spec["start_ns"] is not None:
            self._start(spec["start_ns"])
        self.consumer.subscribe(spec["topics"], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _leaving(self) -> bool:
        return self.child.leaving

    def _start(self, start_ns: int) -> None:
        self.began_cpu_s = time.thread_time()
        self.start_ns = self.handler.start_ns = start_ns
        self.commits.begin(start_ns, clock())

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self.commits.answered(error, partitions)

    # ---- assignments -----------------------------------------------------------------------------------------------

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.owned |= {(each.topic, each.partition) for each in partitions}
        self._say_owned("assignment")

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.commits.handing_over()
        self._given_up(partitions, "revocation")

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._given_up(partitions, "lost")

    def _given_up(self, partitions: list[TopicPartition], what: str) -> None:
        places = {(each.topic, each.partition) for each in partitions}
        self.owned -= places
        self.commits.forget(places)
        self.held.drop(places)
        if self.pool is not None:
            self.pool.drop(places)
        self._say_owned(what)

    def _say_owned(self, event: str) -> None:
        self.child.say(event, at=clock(), partitions=sorted(self.owned), member_id=self.consumer.memberid())

    # ---- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Poll and work until asked to leave, or until the policy ends the member."""
        freeze()
        while not self.child.asked:
            self._listen()
            if (stalled := self.handler.stalled_until(clock())) is not None:
                self.handler.sleep_until(stalled)
            if self.pool is not None:
                self._feed(self.pool)
                continue
            if self.held:
                self._work_on_held()
            messages = self._collect() if self.reads else self._poll()
            if messages:
                self._batch(messages)

        if self.pool is not None:
            self._finish(self.pool)

    def _finish(self, pool: Pool) -> None:
        """Let the workers finish what is in hand, and fetch no more for them."""
        while pool.in_hand and not self.child.leaving:
            self.commits.of_pool(pool.advance())
            self.clients.serve()
            time.sleep(min(self._pool_wait_ns(pool), 1_000_000) / 1e9)

    def _feed(self, pool: Pool) -> None:
        """Let the workers go on, and fetch more for them while they have room for it."""
        self._hand_over_held(pool)
        self.commits.of_pool(pool.advance())
        self.clients.serve()
        room = self.in_hand - pool.in_hand
        wait_ns = self._pool_wait_ns(pool)
        first = None
        if room > 0:
            first = self.consumer.poll(wait_ns / 1e9 if wait_ns > _COARSE_NS else 0)
        elif wait_ns > 0:
            time.sleep(min(wait_ns, 1_000_000) / 1e9)
        if first is None:
            if room > 0 and 0 < wait_ns <= _COARSE_NS:
                time.sleep(wait_ns / 1e9)
            return
        more = min(room, self.most) - 1
        messages = [first, *(self.consumer.consume(more, 0) if more > 0 else ())]
        self.delivered_at = clock()
        batch = self._delivered_batch(messages)
        if batch is not None:
            pool.take(self._new_events(batch), self.poll_id, self.delivered_at)

    def _pool_wait_ns(self, pool: Pool) -> int:
        now, wait_ns = clock(), round(self._idle_wait_s() * 1e9)
        if pool.waits_for_answers or self.clients.waiting():
            wait_ns = min(wait_ns, 500_000)
        if (due_ns := self.held.next_due_ns()) is not None:
            wait_ns = min(wait_ns, due_ns + self.start_ns - now)
        if (next_at := pool.next_at()) is not None:
            # Up to the last 0.2 ms in the client's poll, which may wake late.
            left = next_at - now
            wait_ns = min(wait_ns, left - 200_000 if left > _COARSE_NS else left)
        return max(0, wait_ns)

    def _hand_over_held(self, pool: Pool) -> None:
        for event, poll_id in self.held.due(clock() - self.start_ns):
            pool.take([event], poll_id, event.due_ns + self.start_ns)

    def _new_events(self, batch: Batch) -> list[Event]:
        """Return the events of a batch that are to be worked on now; others wait until they are due, or have had their effect."""
        found, now_ns = list[Event](), clock() - self.start_ns
        for number in range(len(batch)):
            event = batch.event(number)
            if self.held.must_wait(event, now_ns):
                self.held.hold(event, self.poll_id)
            else:
                found.append(event)
        return found

    def _work_on_held(self) -> None:
        """Work on copies in retry topics that are due now."""
        for event, poll_id in self.held.due(clock() - self.start_ns):
            self.handler.worker.busy_until = max(self.handler.worker.busy_until, event.due_ns + self.start_ns)
            self._in_transaction({(event.topic, event.partition): event.offset})
            with self._batch_at_hand():
                self._handle(event, poll_id, event.due_ns + self.start_ns)
            if self.child.leaving:
                return

    def _listen(self, wait_s: float = 0.0) -> None:
        while request := self.child.hear(wait_s):
            wait_s = 0.0
            match request["do"]:
                case "start":
                    self._start(request["at_ns"])
                case "wind up":
                    self.child.finish_within(0)
                    if self.pool is not None:
                        self.commits.of_pool(self.pool.advance())
                    self.commits.handing_over()
                    self.child.say("wound up")
                case "settle":
                    self.settling = True
                case other:
                    raise ValueError(f"a member knows no request {other!r}")
        if self.settling and (self.pool is None or not self.pool.in_hand):
            self.settling = False
            self.child.say("settled")

    def _poll(self) -> list[Message]:
        """Take what is there; an idle member waits for a first record, and then takes what has come with it."""
        first = self.consumer.poll(0)
        idle = first is None
        if first is None:
            self.commits.at_boundary()
            first = self.consumer.poll(self._idle_wait_s())
            if first is None:
                return []
        messages = [first, *(self.consumer.consume(self.most - 1, 0) if self.most > 1 else ())]
        waited = self.commits.at_boundary()
        self._delivered(idle or waited)
        return messages

    def _collect(self) -> list[Message]:
        """Wait until so many records are there or the timeout is over."""
        began = clock()
        messages = self.consumer.consume(self.reads["events"], self.reads["timeout_ns"] / 1e9)
        waited = self.commits.at_boundary()
        # It waited, unless the records were there at once.
        self._delivered(idle=waited or clock() - began > 1_000_000)
        return messages

    def _delivered(self, idle: bool) -> None:
        self.delivered_at = clock()
        if idle:
            self.handler.worker.busy_until = self.delivered_at

    def _idle_wait_s(self) -> float:
        wait_ns = _IDLE_WAIT_NS
        if self.commits.mode == "every":
            wait_ns = min(wait_ns, max(0, self.commits.due_ns - clock()) + 1_000_000)  # poll counts whole milliseconds
        if (due_ns := self.held.next_due_ns()) is not None:
            wait_ns = min(wait_ns, max(0, due_ns + self.start_ns - clock()))
        return wait_ns / 1e9

    def _batch(self, messages: list[Message]) -> None:
        batch = self._delivered_batch(messages)
        if batch is None:
            return
        if self.commits.mode == "before_work":
            self.handler.worker.busy_until = clock()
        if self.transactions is not None:
            self._in_transaction(self._places(batch.firsts()))
        with self._batch_at_hand():
            self._work(batch)

    def _delivered_batch(self, messages: list[Message]) -> Batch | None:
        """Return what a poll handed over, recorded as delivered; None where nothing of this run is in it."""
        if not self.start_ns and self.child.spec.get("outside"):
            self._listen()
            if not self.start_ns:
                self._pass_over(messages)
                return None
        while (
            not self.start_ns and not self.child.asked
        ):  # events come after time 0, and it was told before: a long poll has not heard it yet
            self._listen(_IDLE_WAIT_NS / 1e9)
        batch = Batch(
            self._sound(messages),
            self.run_id,
            self.topics,
            in_headers=self.child.spec.get("in_headers", False),
            outside=self.child.spec.get("outside"),
        )
        if not len(batch):
            return None
        self.lookup.prepare(batch.event_id)
        self.poll_id += 1
        self.rows.deliveries(batch, self.poll_id, self.delivered_at - self.start_ns)
        if self.commits.mode == "before_work":
            self.commits.before_work(self._places(batch.ends(0, len(batch))))
        return batch

    def _pass_over(self, messages: list[Message]) -> None:
        """Leave behind what the user's own programs have written before time 0, so that it is no backlog of the run."""
        for each in self._sound(messages):
            self.commits.finished[str(each.topic()), int(each.partition() or 0)] = int(each.offset() or 0) + 1

    @contextlib.contextmanager
    def _batch_at_hand(self) -> Iterator[None]:
        """Commit a batch when it has been worked on; read it again where its transaction takes no more."""
        try:
            yield
        except TransactionBroken as broken:
            assert self.transactions is not None
            self.transactions.fail(broken.code, self.start_ns)
            self._read_again(self.transactions.places)
            self._catch_up()
        else:
            self._batch_done()

    def _read_again(self, places: Iterable[tuple[str, int]]) -> None:
        """Forget what is known of partitions of which a batch was aborted."""
        self.commits.forget(places)
        self.held.again(places)

    def _batch_done(self) -> None:
        if self.transactions is not None and self.transactions.under_way:
            ends = self.commits.take_new()
            if not self.transactions.commit(ends, self.start_ns):
                self._read_again({*ends, *self.transactions.places})
        elif not self.commits.batch_done():
            return
        self._catch_up()

    def _catch_up(self) -> None:
        """Let the next try begin no earlier than now: what came before took time of the handler."""
        self.handler.worker.busy_until = max(self.handler.worker.busy_until, clock())

    def _in_transaction(self, firsts: dict[tuple[str, int], int]) -> None:
        if self.transactions is not None and not self.transactions.under_way:
            self.transactions.begin(firsts)

    def _work(self, batch: Batch) -> None:
        """Work on each event in turn; on stretches that need no time and cannot fail, on all at once."""
        instant = self.handler.instant(batch) if self.commits.mode != "after_event" and not self.held else None
        at = 0
        while at < len(batch) and not self.child.leaving:
            if instant is not None and instant[at]:
                end = at + int(np.argmin(instant[at:])) if not instant[at:].all() else len(batch)
                self._effects(batch, at, end)
                at = end
                continue
            event = batch.event(at)
            if self.held.must_wait(event, clock() - self.start_ns):
                self.held.hold(event, self.poll_id)
            else:
                self._handle(event, self.poll_id, self.delivered_at)
            at += 1

    def _handle(self, event: Event, poll_id: int, delivered_at: int) -> None:
        self.handler.handle(event, poll_id, delivered_at)
        if self.commits.event_done(event.topic, event.partition, event.offset):
            self._catch_up()

    def _effects(self, batch: Batch, first: int, end: int) -> None:
        now = clock()
        self.rows.effects(batch, first, end, self.poll_id, now - self.start_ns)
        self.handler.worker.busy_until = max(self.handler.worker.busy_until, self.delivered_at)
        if self.commits.events_done(self._places(batch.ends(first, end))):
            self._catch_up()

    def _places(self, offsets: dict[tuple[int, int], int]) -> dict[tuple[str, int], int]:
        return {(self.topic_names[topic], partition): offset for (topic, partition), offset in offsets.items()}

    def _sound(self, messages: list[Message]) -> list[Message]:
        """Return those that are records; of errors the driver is told."""
        found = [
            each for each in messages if each.error() is None
        ]  # no call of ours for each: it would cost as much as its row
        if len(found) < len(messages):
            for error in filter(None, [each.error() for each in messages]):
                self.child.say("client error", at=clock(), code=error.code(), text=error.str())
        return found

    def leave(self) -> None:
        """Commit what is finished, by the mode, and leave the group."""
        if self.transactions is not None:
            self.transactions.abort()
        with contextlib.suppress(KafkaException):
            self.commits.handing_over()
        self.clients.finish()
        self.consumer.close()
        if self.handler.calls is not None:
            self.handler.calls.close()


def main() -> None:
    """Be a member until the driver, the policy or a signal ends it."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        attend(child, MemberProcess(child))


if __name__ == "__main__":
    main()
