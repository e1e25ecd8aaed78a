"""One member of a group: `python -P -m loadgen.member_process SPEC.json`. Polls, works, commits and gives up as the scenario says.

SIGTERM makes it finish its event, commit by its mode and leave; SIGKILL is a crash.
"""

import contextlib
import time

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from loadgen.child import Child, DriverGone, freeze
from loadgen.member_batch import Batch
from loadgen.member_commits import Commits
from loadgen.member_rows import MemberRows
from loadgen.member_work import Handler, Leaving, Stopped

clock = time.perf_counter_ns

_IDLE_WAIT_NS = 100_000_000
"""Longest wait of one poll, so that requests of the driver are heard."""


class MemberProcess:
    """The client, the handler and the loop around them."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self.child = child
        self.run_id: int = spec["run_id"]
        self.reads: dict[str, int] = spec["reads"]
        self.most: int = spec["max_poll_records"]
        self.poll_id: int = spec["first_poll_id"] - 1
        self.rows = MemberRows(child)
        codes: dict[str, int] = spec["codes"]["topics"]
        self.topics = {topic: codes[topic] for topic in spec["topics"]}
        self.topic_names = {code: topic for topic, code in codes.items()}
        self.owned: set[tuple[str, int]] = set()
        mode: str = spec["commit"]
        self.consumer = Consumer(
            {
                **spec["settings"],
                "client.id": spec["name"].replace("/", "-"),
                "enable.auto.commit": mode == "auto",
                # Otherwise it stores what was handed over, finished or not; `auto` is what that default does.
                "enable.auto.offset.store": mode == "auto",
                "on_commit": self._committed,
            }
        )
        self.commits: Commits = Commits(self.consumer, mode, spec["every_ns"], self.rows, lambda: self.child.leaving)
        self.handler = Handler(child, self.rows)
        self.start_ns = 0
        self.began_cpu_s = 0.0
        """What the thread had spent at time 0."""
        if spec["start_ns"] is not None:
            self._start(spec["start_ns"])
        self.consumer.subscribe(spec["topics"], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

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
        self._say_owned(what)

    def _say_owned(self, event: str) -> None:
        self.child.say(event, at=clock(), partitions=sorted(self.owned), member_id=self.consumer.memberid())

    # ---- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Poll and work until asked to leave, or until the policy ends the member."""
        freeze()
        while not self.child.leaving:
            self._listen()
            messages = self._collect() if self.reads else self._poll()
            if messages:
                self._batch(messages)

    def _listen(self) -> None:
        while request := self.child.hear():
            match request["do"]:
                case "start":
                    self._start(request["at_ns"])
                case "wind up":
                    self.commits.handing_over()
                    self.child.say("wound up")
                case other:
                    raise ValueError(f"a member knows no request {other!r}")

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
        self.commits.at_boundary()
        self._delivered(idle)
        return messages

    def _collect(self) -> list[Message]:
        """Wait until so many records are there or the timeout is over."""
        began = clock()
        messages = self.consumer.consume(self.reads["events"], self.reads["timeout_ns"] / 1e9)
        self.commits.at_boundary()
        # It waited, unless the records were there at once.
        self._delivered(idle=clock() - began > 1_000_000)
        return messages

    def _delivered(self, idle: bool) -> None:
        self.delivered_at = clock()
        if idle:
            self.handler.busy_until = self.delivered_at

    def _idle_wait_s(self) -> float:
        wait_ns = _IDLE_WAIT_NS
        if self.commits.mode == "every":
            wait_ns = min(wait_ns, max(0, self.commits.due_ns - clock()) + 1_000_000)  # poll counts whole milliseconds
        return wait_ns / 1e9

    def _batch(self, messages: list[Message]) -> None:
        batch = Batch([each for each in messages if self._sound(each)], self.run_id, self.topics)
        if not len(batch):
            return
        self.poll_id += 1
        self.rows.deliveries(batch, self.poll_id, self.delivered_at - self.start_ns)
        self.commits.before_work(self._places(batch, 0, len(batch)))
        if self.commits.mode == "before_work":
            self.handler.busy_until = clock()
        self._work(batch)
        if self.commits.batch_done():
            self.handler.busy_until = max(self.handler.busy_until, clock())

    def _work(self, batch: Batch) -> None:
        """Work on each event in turn; on stretches that need no time and cannot fail, on all at once."""
        instant = self.handler.instant(batch) if self.commits.mode != "after_event" else None
        at = 0
        while at < len(batch) and not self.child.leaving:
            if instant is not None and instant[at]:
                end = at + int(np.argmin(instant[at:])) if not instant[at:].all() else len(batch)
                self._effects(batch, at, end)
                at = end
                continue
            event = batch.event(at)
            self.handler.handle(event, self.poll_id, self.delivered_at)
            if self.commits.event_done(event.topic, event.partition, event.offset):
                self.handler.busy_until = max(self.handler.busy_until, clock())
            at += 1

    def _effects(self, batch: Batch, first: int, end: int) -> None:
        now = clock()
        self.rows.effects(batch, first, end, self.poll_id, now - self.start_ns)
        self.handler.busy_until = max(self.handler.busy_until, self.delivered_at)
        self.commits.events_done(self._places(batch, first, end))

    def _places(self, batch: Batch, first: int, end: int) -> dict[tuple[str, int], int]:
        ends = batch.ends(first, end)
        return {(self.topic_names[topic], partition): offset for (topic, partition), offset in ends.items()}

    def _sound(self, message: Message) -> bool:
        """Whether a message is a record; of errors the driver is told."""
        error = message.error()
        if error is not None:
            self.child.say("client error", at=clock(), code=error.code(), text=error.str())
        return error is None

    def leave(self) -> None:
        """Commit what is finished, by the mode, and leave the group."""
        with contextlib.suppress(KafkaException):
            self.commits.handing_over()
        self.consumer.close()


def main() -> None:
    """Be a member until the driver, the policy or a signal ends it."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        member = MemberProcess(child)
        child.say("ready")
        stopped = False
        try:
            with contextlib.suppress(Leaving):
                member.run()
        except Stopped:
            stopped = True
        member.leave()
        late = member.handler.late
        child.say(
            "bye",
            at=clock(),
            stopped=stopped,
            late_p50_ns=late.quantile_ns(0.5),
            late_p99_ns=late.quantile_ns(0.99),
            cpu_s=time.process_time(),
            thread_cpu_s=time.thread_time(),
            run_cpu_s=time.thread_time() - member.began_cpu_s,
        )


if __name__ == "__main__":
    main()
