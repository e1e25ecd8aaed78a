"""A member's handler: how long it works on an event, when a try fails, and what becomes of events that it gives up."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import KafkaError, Message, Producer
from numpy.typing import NDArray

from loadgen.child import Child
from loadgen.member_rows import Event, MemberRows
from loadgen.outcomes import outcome_of
from loadgen.records import PoisonError, decode
from rundata.rows import NONE, Outcome
from scenarios.streams import hashed_uniforms

if TYPE_CHECKING:
    from loadgen.member_batch import Batch

clock = time.perf_counter_ns

_LATE_STEPS_NS: tuple[int, ...] = tuple(10_000 * 2**n for n in range(20))


class Stopped(Exception):  # noqa: N818 - an end by policy, no error
    """The handler's policy ends the member (`then: stop`)."""


class Leaving(Exception):  # noqa: N818 - an end on request, no error
    """The member was asked to leave while an event was waiting for its next try."""


@dataclass(frozen=True)
class Interval:
    """A stretch of the run in which tries are slower, or a share of them fails."""

    begin_ns: int
    end_ns: int
    factor: float = 1.0
    plus_ns: int = 0
    share: float = 0.0

    def holds(self, at_ns: int) -> bool:
        """Whether a try that begins at `at_ns` from the start of the run is within it."""
        return self.begin_ns <= at_ns < self.end_ns


@dataclass
class Lateness:
    """How late planned ends were met, counted by doubling steps from 10 microseconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(_LATE_STEPS_NS) + 1))

    def add(self, late_ns: int) -> None:
        """Count one."""
        step = 0
        while step < len(_LATE_STEPS_NS) and late_ns > _LATE_STEPS_NS[step]:
            step += 1
        self.counts[step] += 1

    def quantile_ns(self, q: float) -> int:
        """Return the upper edge of the step that holds the quantile."""
        rank, seen = q * sum(self.counts), 0
        for step, count in enumerate(self.counts):
            seen += count
            if seen >= rank and count:
                return int(_LATE_STEPS_NS[min(step, len(_LATE_STEPS_NS) - 1)])
        return 0


class Handler:
    """Works on events one after another. `busy_until` is the planned end of the last try: the next one begins there, however late the
    sleep woke, so that overshoot never adds to the load."""

    def __init__(self, child: Child, rows: MemberRows) -> None:
        spec = child.spec
        self.child = child
        self.rows = rows
        self.start_ns = 0
        self.busy_until = 0
        self.late = Lateness()
        self.busy: bool = spec["busy"]
        self.work = child.array("work_ns")
        self.failing_tries = child.array("failing_tries")
        self._works_ns, self._failing = np.asarray(self.work), np.asarray(self.failing_tries)
        self.slow = [Interval(**each) for each in spec["slow"]]
        self.failing = [Interval(**each) for each in spec["failing"]]
        self.policy: dict[str, Any] | None = spec["failures"]
        self.dead_letters = DeadLetters(child, rows) if self.policy and self.policy["then"] == "dead_letter" else None
        self._seed: int = spec["seed"]
        self._group: int = spec["codes"]["group"]

    def instant(self, batch: "Batch") -> NDArray[np.bool_] | None:
        """Return which events need no time and cannot fail just now; None where none is so for certain."""
        now = clock() - self.start_ns
        if any(each.holds(now) for each in (*self.slow, *self.failing)):
            return None
        event = batch.event_id
        found: NDArray[np.bool_] = (self._works_ns[event] == 0) & (self._failing[event] == 0) & ~batch.poison
        return found

    def handle(self, event: Event, poll_id: int, delivered_at: int) -> None:
        """Try until it works or the policy gives the event up; raise Stopped or Leaving where the event stays unfinished."""
        attempt = 0
        while True:
            attempt += 1
            begin = self.busy_until
            self._work(begin, event.event_id)
            ended = clock()
            began_ns = max(begin, delivered_at) - self.start_ns
            if self._works(event, attempt, begin - self.start_ns):
                self.rows.tried(event, poll_id, attempt, began_ns, ended - self.start_ns, None, ok=True)
                return
            due = self._next_try(attempt)
            due_ns = None if due is None else due - self.start_ns
            self.rows.tried(event, poll_id, attempt, began_ns, ended - self.start_ns, due_ns, ok=False)
            if due is None:
                self._give_up(event, poll_id, attempt)
                return
            self.sleep_until(due)
            self.busy_until = due
            if self.child.leaving:
                raise Leaving

    def _work(self, begin: int, event_id: int) -> None:
        work: int = self.work[event_id]
        for slow in self.slow:
            if slow.holds(begin - self.start_ns):
                work = round(work * slow.factor) + slow.plus_ns
        due = begin + work
        now = clock()
        if now < due:
            if self.busy:
                while clock() < due:
                    pass
            else:
                time.sleep((due - now) / 1e9)
            now = clock()
        if work:  # without work there is no planned end to be late for
            self.late.add(now - due)
        self.busy_until = due

    def sleep_until(self, due: int) -> None:
        """Sleep in short stretches, so that a member that shall leave does not wait for a long backoff."""
        while (remaining := due - clock()) > 0 and not self.child.leaving:
            time.sleep(min(remaining, 100_000_000) / 1e9)

    def _works(self, event: Event, attempt: int, began_ns: int) -> bool:
        try:
            decode(event.value)
        except PoisonError:
            return False
        if attempt <= self.failing_tries[event.event_id]:
            return False
        shares = [each.share for each in self.failing if each.holds(began_ns)]
        return not shares or self._draw(event.event_id, attempt) >= max(shares)

    def _draw(self, event_id: int, attempt: int) -> float:
        """Return the number that decides over one try, the same as the simulator's for a first delivery."""
        words = (0, self._group, np.asarray([event_id]), np.asarray([attempt]), np.asarray([1]))
        return float(hashed_uniforms(self._seed, *words)[0])

    def _next_try(self, attempt: int) -> int | None:
        """Return when a failed try is due again, None where it was the last one."""
        if self.policy is None:
            return self.busy_until  # no error handling: again at once, without end
        retry: dict[str, int | float] = self.policy["retry"]
        if attempt >= retry["attempts"]:
            return None
        return self.busy_until + round(int(retry["backoff_ns"]) * float(retry["factor"]) ** (attempt - 1))

    def _give_up(self, event: Event, poll_id: int, attempt: int) -> None:
        assert self.policy is not None
        match self.policy["then"]:
            case "skip":
                self.rows.skipped(event, poll_id, attempt, clock() - self.start_ns)
            case "stop":
                raise Stopped
            case _:
                assert self.dead_letters is not None
                self.dead_letters.send(event, poll_id, attempt, self.start_ns)
                self.busy_until = clock()


class DeadLetters:
    """Sends what a group gives up to its dead-letter topic and waits for the answer."""

    def __init__(self, child: Child, rows: MemberRows) -> None:
        spec = child.spec
        self.topic: str = spec["failures"]["dead_letter"]
        self.group: str = spec["group"]
        self.rows = rows
        self.client = Producer({**spec["connection"], "acks": "all", "enable.idempotence": True, "linger.ms": 0})
        self.client.list_topics(self.topic, timeout=10)  # so that the first one finds the leader known
        self._answer: tuple[int, int, int] | None = None

    def send(self, event: Event, poll_id: int, attempt: int, start_ns: int) -> None:
        """Send one and wait; where the outcome is no success it is recorded, and the event counts as given up all the same."""
        self._answer = None
        began = clock()
        self.client.produce(
            self.topic, event.value, event.key, headers=self._headers(event, attempt), on_delivery=self._delivered
        )
        while self._answer is None:
            self.client.poll(1.0)
        code, partition, offset = self._answer
        outcome = Outcome.ok if code == 0 else outcome_of(code)
        where = (self.topic, partition, offset)
        self.rows.dead_lettered(event, poll_id, attempt, began - start_ns, clock() - start_ns, where, code, outcome)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        self._answer = (
            0 if error is None else error.code(),
            NONE if partition is None else partition,
            NONE if error is not None or offset is None or offset < 0 else offset,
        )

    def _headers(self, event: Event, attempt: int) -> list[tuple[str, str | bytes | None]]:
        """Return the headers that Kafka Connect writes, so that tools made for those read ours."""
        reason = "the value is no event" if self._is_poison(event) else "the handler failed"
        return [
            ("__connect.errors.topic", event.topic),
            ("__connect.errors.partition", str(event.partition)),
            ("__connect.errors.offset", str(event.offset)),
            ("__connect.errors.connector.name", self.group),
            ("__connect.errors.task.id", "0"),
            ("__connect.errors.stage", "VALUE_CONVERTER" if self._is_poison(event) else "TASK_PUT"),
            ("__connect.errors.class.name", "loadgen.member_work.Handler"),
            ("__connect.errors.exception.class.name", "PoisonError" if self._is_poison(event) else "HandlerError"),
            ("__connect.errors.exception.message", f"{reason}, {attempt} of {attempt} tries"),
            ("__connect.errors.exception.stacktrace", ""),
        ]

    @staticmethod
    def _is_poison(event: Event) -> bool:
        try:
            decode(event.value)
        except PoisonError:
            return True
        return False
