"""A producer that sends in transactions (`transactional.id`): what is due when one begins takes effect together, or not at all.

What comes due meanwhile is the next one. A send has succeeded when its transaction is committed.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from numpy.typing import NDArray

from loadgen.child import Child
from loadgen.outcomes import QUEUE_FULL, Answer, answer_of
from loadgen.paced import CHUNK, CONNECT_WITHIN_S, PacedProducer
from rundata.row_log import RowLog
from rundata.rows import NONE, Kind, Outcome, new_operations

clock = time.perf_counter_ns

_STEP_S = 0.25
"""A request that has no answer by then is asked after again, so that the driver is heard meanwhile."""
_END_WITHIN_S = 30.0
"""librdkafka sometimes never ends a transaction whose coordinator died half way; another one is found within some twelve seconds."""
_ABORT_WITHIN_S = 20.0
_LEAVING_WITHIN_S = 5.0
_AGAIN_S = 0.1
_PROCESS_BITS = 40
_INCARNATION_BITS = 32
"""A transaction's number holds its process, that one's incarnation, and a count."""


class Due(NamedTuple):
    """An event that is to be handed over."""

    event: int
    due: int
    value: bytes
    key: str | None
    repeated: bool


@dataclass
class Sent:
    """A send, and what the client learned of it."""

    event: int
    started_ns: int
    answer: Answer | None = None
    taken: bool = True
    """Whether the client took it, so that it is part of the transaction."""


class TransactionalProducer(PacedProducer):
    """Sends and commits what is due, in turn; a client that can go neither on nor back gives way to a new one, which ends what was open."""

    def __init__(self, child: Child) -> None:
        super().__init__(child)
        spec = child.spec
        self._codes: dict[str, int] = spec["codes"]
        self.rows = RowLog.create(spec["rows"], spec["capacity"])
        self._next = (self._codes["process"] << _PROCESS_BITS) + (spec["incarnation"] << _INCARNATION_BITS)
        self._initialise(CONNECT_WITHIN_S)

    def _initialise(self, within_s: float) -> None:
        """Let the brokers know the client; what an earlier one of this id has left open is aborted."""
        code = self._try(lambda: self.client.init_transactions(_STEP_S), within_s)
        if code and not self.ended:
            raise TimeoutError(f"no transaction of {self.child.spec['name']} can begin: {KafkaError(code).str()}")

    def _renew(self) -> None:
        """Go on with another client, as soon as there are brokers that let it; or with none, where the process is to end before."""
        with contextlib.suppress(KafkaException):
            self.client.purge()
        self.client = Producer(self.child.spec["settings"])
        if not self.skews:
            self.produce = self.client.produce
        self._initialise(math.inf)

    def wait(self, due: int) -> None:
        """Serve the client until `due`; one that says meanwhile that it is at its end gives way to another."""
        try:
            super().wait(due)
        except KafkaException:
            self._renew()
            self.wait(due)

    def send_scratch(self, number: int) -> None:
        """Send a record to the scratch topic, in a transaction of its own."""
        self.client.begin_transaction()
        super().send_scratch(number)
        self._try(lambda: self.client.commit_transaction(_STEP_S), CONNECT_WITHIN_S)

    def send_all(self) -> None:
        """Send every event of this process, all that is due at a time in one transaction."""
        coming = self._coming()
        first = next(coming, None)
        while first is not None:
            self.wait(first.due)
            if self.ended or self.halted:
                return
            now, together = clock(), [first]
            while (first := next(coming, None)) is not None and first.due <= now:
                together.append(first)
            self._transaction(together)

    def _coming(self) -> Iterator[Due]:
        """Yield the process's events as they are due."""
        for number, begin in enumerate(range(0, len(self.events.array), CHUNK)):
            chosen, dues, again = self.to_send(slice(begin, begin + CHUNK))
            values, keys = self.values_and_keys(chosen)
            yield from map(Due, chosen.tolist(), dues, values, keys, again)
            self.release(number)

    def _transaction(self, together: list[Due]) -> None:
        """Send some events and commit them; or, where one of them fails, abort them all."""
        if self._try(self.client.begin_transaction, _ABORT_WITHIN_S):
            self._renew()
            if self.ended:
                return
            self.client.begin_transaction()
        sends = [self._send(each) for each in together]
        part = [each for each in sends if each.taken]
        code = self._answers(part) or self._try(lambda: self.client.commit_transaction(_STEP_S), _END_WITHIN_S)
        self._record(part, code, self._undo() if code else Outcome.ok)

    def _send(self, due: Due) -> Sent:
        sent = Sent(due.event, clock() - self.start_ns)
        if not due.repeated:
            self.started.values[due.event] = sent.started_ns

        def answered(error: KafkaError | None, message: Message) -> None:
            sent.answer = answer_of(error, message)

        headers = [] if self.payload is None else self.headers_of(due.event)
        try:
            self.produce(self.topic, due.value, due.key, on_delivery=answered, headers=headers)
        except BufferError:
            self.buffer_errors += 1
            self._refused(sent, QUEUE_FULL)
        except KafkaException as error:
            self._refused(sent, error.args[0].code())
        return sent

    def _refused(self, sent: Sent, code: int) -> None:
        """Record a send that the client did not take; the transaction goes on without it."""
        sent.taken = False
        row = self._rows_of([sent])
        row["ended_ns"], row["error"], row["outcome"] = sent.started_ns, code, Outcome.failed
        self.rows.extend(row)

    def _answers(self, sends: list[Sent]) -> int:
        """Wait until all is answered; return what went wrong with one of them, or 0."""
        while any(each.answer is None for each in sends):
            with contextlib.suppress(KafkaException):  # that the client is at its end is for the next step to say
                self.client.flush(_STEP_S)  # as a commit does: nothing of it lingers
            self.listen()
            if self.ended:
                return int(KafkaError._TIMED_OUT)
        return next((each.answer[0] for each in sends if each.answer is not None and each.answer[0]), 0)

    def _try(self, step: Callable[[], object], within_s: float) -> int:
        """Take a step, again while that may help, for so long and while the process stays; return the error's code, or 0."""
        until = time.monotonic() + within_s
        while True:
            try:
                step()
                return 0
            except KafkaException as error:
                what = error.args[0]
                if self.start_ns:  # what the driver says before is for `serve` to hear
                    self.listen()
                if self.ended:
                    until = min(until, time.monotonic() + _LEAVING_WITHIN_S)
                if not what.retriable() or what.txn_requires_abort() or time.monotonic() > until:
                    return int(what.code())
                if what.code() != KafkaError._TIMED_OUT:
                    time.sleep(_AGAIN_S)

    def _undo(self) -> Outcome:
        """Abort; where nobody can tell whether it was committed, go on with another client, which ends it."""
        if self._try(lambda: self.client.abort_transaction(_STEP_S), _ABORT_WITHIN_S) == 0:
            return Outcome.failed
        if not self.ended:
            self._renew()
        return Outcome.unknown

    def _record(self, sends: list[Sent], code: int, outcome: Outcome) -> None:
        """Record what became of a transaction's sends: the same of all."""
        rows = self._rows_of(sends)
        answers = [each.answer or (code, NONE, NONE) for each in sends]
        rows["partition"] = [partition for _, partition, _ in answers]
        rows["offset"] = [offset for _, _, offset in answers] if outcome is Outcome.ok else NONE
        rows["ended_ns"], rows["error"], rows["outcome"] = clock() - self.start_ns, code, outcome
        rows["transaction_id"], self._next = self._next, self._next + 1
        self.rows.extend(rows)

    def _rows_of(self, sends: list[Sent]) -> NDArray[np.void]:
        rows, events = new_operations(len(sends)), [each.event for each in sends]
        rows["event_id"] = rows["root_id"] = events
        rows["key"], rows["intended_ns"] = self.key.array[events], self.intended.array[events]
        rows["started_ns"] = [each.started_ns for each in sends]
        rows["attempt"], rows["kind"], rows["group"] = 1, Kind.send, NONE
        for name in ("process", "topic", "event_type"):
            rows[name] = self._codes[name]
        return rows
