"""A member's handler: how long it works on an event, when a try fails, and what becomes of events that it gives up."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loadgen.child import Child, Leaving
from loadgen.member_calls import Asked, Calls
from loadgen.member_dedupe import Memory
from loadgen.member_letters import Letters
from loadgen.member_lookup import Facts, Lookup
from loadgen.member_rows import Event, MemberRows
from scenarios.streams import hashed_uniforms

if TYPE_CHECKING:
    from loadgen.member_batch import Batch

clock = time.perf_counter_ns

_LATE_STEPS_NS: tuple[int, ...] = tuple(10_000 * 2**n for n in range(20))


class Stopped(Exception):  # noqa: N818 - an end by policy, no error
    """The handler's policy ends the member (`then: stop`)."""


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


@dataclass(frozen=True)
class Until:
    """Wait until an instant; `burn` with the CPU, `work` also when the member shall leave."""

    at: int
    burn: bool = False
    work: bool = False


Wait = Until | Asked
"""What a handler waits for: an instant, or the answer of a dependency."""
Steps = Generator[Wait, bool, None]
"""One event's way through a handler; it is sent whether a call went well, and ends when the event is done."""


@dataclass
class Worker:
    """One pair of hands. `busy_until` is the planned end of the last try: the next one begins there, however late the sleep woke, so
    that overshoot never adds to the load."""

    busy_until: int = 0


class Handler:
    """Works on events; what it waits for meanwhile is up to whoever takes its steps."""

    def __init__(
        self,
        child: Child,
        rows: MemberRows,
        lookup: Lookup,
        *,
        letters: Letters | None = None,
        calls: Calls | None = None,
        memory: Memory | None = None,
        emit: Callable[[Event, int, int], None] | None = None,
        store: Callable[[Event, int], None] | None = None,
    ) -> None:
        spec = child.spec
        self.child = child
        self.rows = rows
        self.lookup = lookup
        self.letters = letters
        self.calls = calls
        self.memory = memory
        self.emit = emit
        self.store = store
        """Keeps what goes through an outbox, together with the effect."""
        self.release: Callable[[Event], None] | None = None
        """Notes an event that goes back to its share group (`then: release`)."""
        self.start_ns = 0
        self.worker = Worker()
        """The hands of a member that has one pair."""
        self.late = Lateness()
        self.busy: bool = spec["busy"]
        self._warm_up_ns: int = spec["warm_up_ns"]
        self.slow = [Interval(**each) for each in spec["slow"]]
        self.failing = [Interval(**each) for each in spec["failing"]]
        self.stalls = [Interval(**each) for each in spec.get("stalls", ())]
        self.policy: dict[str, Any] | None = spec["failures"]
        self._seed: int = spec["seed"]
        self._group: int = spec["codes"]["group"]

    # ---- what needs no steps

    def instant(self, batch: "Batch") -> NDArray[np.bool_] | None:
        """Return which events need no time and cannot fail just now; None where none is so for certain."""
        now = clock() - self.start_ns
        if (
            self.calls
            or self.emit
            or self.memory
            or any(i.holds(now) for i in (*self.slow, *self.failing, *self.stalls))
        ):
            return None
        return self.lookup.never_fails_at_once(batch.event_id) & ~batch.poison

    def knows(self, event: Event) -> bool:
        """Whether the event has had its effect already, so that it is passed over."""
        return self.memory is not None and self.memory.knows(event.event_id, clock() - self.start_ns)

    def stalled_until(self, now: int) -> int | None:
        """Return when a stall of the handler is over, None where there is none."""
        ends = [each.end_ns for each in self.stalls if each.holds(now - self.start_ns)]
        return self.start_ns + max(ends) if ends else None

    # ---- one event

    def handle(self, event: Event, poll_id: int, delivered_at: int) -> None:
        """Take all steps of an event, waiting in between; raise Stopped or Leaving where it stays unfinished."""
        steps = self.steps(event, poll_id, delivered_at, self.worker)
        answer: bool | None = None
        while True:
            try:
                wait = next(steps) if answer is None else steps.send(answer)
            except StopIteration:
                return
            answer = self._wait(wait)

    def _wait(self, wait: Wait) -> bool | None:
        if isinstance(wait, Asked):
            return self._wait_for_answer(wait)
        if wait.burn:
            while clock() < wait.at:
                pass
        elif wait.work:
            if (remaining := wait.at - clock()) > 0:
                time.sleep(remaining / 1e9)
        else:
            self.sleep_until(wait.at)
        return None

    def _wait_for_answer(self, asked: Asked) -> bool:
        assert self.calls is not None
        while (ok := self.calls.answer(asked, clock())) is None:
            self.calls.wait(asked.until_ns)
            if self.child.leaving:
                raise Leaving
        return ok

    def sleep_until(self, due: int) -> None:
        """Sleep in short stretches, so that a member that shall leave does not wait for a long backoff."""
        while (remaining := due - clock()) > 0 and not self.child.leaving:
            time.sleep(min(remaining, 100_000_000) / 1e9)

    def steps(self, event: Event, poll_id: int, delivered_at: int, worker: Worker) -> Steps:
        """Try until it works or the policy gives the event up; raise Stopped or Leaving where the event stays unfinished."""
        if self.knows(event):
            return
        facts = self.lookup.facts(event.event_id)
        attempt = event.attempt - 1
        while True:
            attempt += 1
            if (stalled := self.stalled_until(max(clock(), worker.busy_until))) is not None:
                yield Until(stalled)
                worker.busy_until = max(worker.busy_until, stalled)
            begin = worker.busy_until
            due = begin + self._work_ns(facts, begin)
            if due > begin:  # without work there is no planned end to be late for
                yield Until(due, burn=self.busy, work=True)
                self._was_late(due)
            worker.busy_until = due
            called = True
            if self.calls:
                called = yield from self._call_all(event, attempt)
                worker.busy_until = max(due, clock())
            ended = clock()
            began_ns = max(begin, delivered_at) - self.start_ns
            if called and self._works(event, facts, attempt, begin - self.start_ns):
                self._took_effect(event, poll_id, attempt, began_ns, ended - self.start_ns)
                return
            next_try = self._next_try(attempt, worker)
            due_ns = None if next_try is None else next_try - self.start_ns
            self.rows.tried(event, poll_id, attempt, began_ns, ended - self.start_ns, due_ns, ok=False)
            if next_try is None:
                self._give_up(event, poll_id, attempt, worker)
                return
            assert due_ns is not None
            if self.policy is not None and self.policy["retry"]["where"] == "topic":
                assert self.letters is not None
                self.letters.retry(event, attempt, due_ns)
                worker.busy_until = clock()
                return
            yield Until(next_try)
            worker.busy_until = next_try
            if self.child.leaving:
                raise Leaving

    def _was_late(self, due: int) -> None:
        """Note how late a planned end was met, warm-up apart."""
        if due >= self.start_ns + self._warm_up_ns:
            self.late.add(clock() - due)

    def _took_effect(self, event: Event, poll_id: int, attempt: int, began_ns: int, ended_ns: int) -> None:
        if self.store is not None:
            self.store(event, ended_ns)
        # As if in one transaction: what is remembered is stored, and counts as done if this process dies before its row.
        if self.memory is not None:
            self.memory.remember(event.event_id, ended_ns)
        self.rows.tried(event, poll_id, attempt, began_ns, ended_ns, None, ok=True)
        if self.emit is not None:
            self.emit(event, ended_ns, self.start_ns)

    def _call_all(self, event: Event, attempt: int) -> Generator[Wait, bool, bool]:
        """Call each dependency in turn; tell whether all went well."""
        assert self.calls is not None
        for call in range(len(self.calls)):
            while (until := self.calls.held_until(call, clock())) is not None:
                yield Until(until)
                if self.child.leaving:
                    raise Leaving
            asked = self.calls.ask(call, event.event_id, attempt, clock())
            if asked is None or not (yield asked):
                return False
        return True

    def _work_ns(self, facts: Facts, begin: int) -> int:
        work = facts.work_ns
        for slow in self.slow:
            if slow.holds(begin - self.start_ns):
                work = round(work * slow.factor) + slow.plus_ns
        return work

    def _works(self, event: Event, facts: Facts, attempt: int, began_ns: int) -> bool:
        if self._is_broken(event, facts) or attempt <= facts.failing_tries:
            return False
        shares = [each.share for each in self.failing if each.holds(began_ns)]
        return not shares or self._draw(event.event_id, attempt, event.delivery) >= max(shares)

    def _is_broken(self, event: Event, facts: Facts) -> bool:
        """Whether no try of this version of the handler can ever decode the event."""
        return facts.undecodable or event.is_poison

    def _draw(self, event_id: int, attempt: int, delivery: int = 1) -> float:
        """Return the number that decides over one try, the same as the simulator's for this delivery where it is known, or else for a first one."""
        words = (0, self._group, np.asarray([event_id]), np.asarray([attempt]), np.asarray([delivery]))
        return float(hashed_uniforms(self._seed, *words)[0])

    def _next_try(self, attempt: int, worker: Worker) -> int | None:
        """Return when a failed try is due again, None where it was the last one."""
        if self.policy is None:
            return worker.busy_until  # no error handling: again at once, without end
        retry: dict[str, Any] = self.policy["retry"]
        if attempt >= retry["attempts"]:
            return None
        return worker.busy_until + round(int(retry["backoff_ns"]) * float(retry["factor"]) ** (attempt - 1))

    def _give_up(self, event: Event, poll_id: int, attempt: int, worker: Worker) -> None:
        assert self.policy is not None
        match self.policy["then"]:
            case "skip":
                self.rows.skipped(event, poll_id, attempt, clock() - self.start_ns)
            case "stop":
                raise Stopped
            case "crash":
                self.child.crash()
            case "release":
                assert self.release is not None
                self.release(event)
            case _:
                assert self.letters is not None
                self.letters.dead(event, poll_id, attempt, self.start_ns)
                worker.busy_until = clock()
