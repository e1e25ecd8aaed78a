"""One producer process: `python -P -m loadgen.producer_process SPEC.json`. Sends its share of the plan at the planned instants, open loop."""

import contextlib
import struct
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message

from loadgen.child import Child, DriverGone, let_brokers_go_first
from loadgen.outcomes import QUEUE_FULL, answer_of, outcome_of
from loadgen.paced import CHUNK, PacedProducer
from loadgen.producer_transactions import TransactionalProducer
from rundata.row_log import SendLog
from rundata.rows import NONE, Outcome

clock = time.perf_counter_ns

Acknowledged = Callable[[KafkaError | None, Message], None]

_POLL_EVERY = 64
"""Sends in a row, where it is late, before it serves acknowledgements."""
_EVENT_ID = struct.Struct("<q").unpack_from
_EVENT_ID_AT = 8


class ProducerProcess(PacedProducer):
    """Sends each event by itself, and records what became of it."""

    def __init__(self, child: Child) -> None:
        super().__init__(child)
        spec, codes = child.spec, child.spec["codes"]
        self.rows = SendLog(spec["rows"], spec["capacity"], codes["process"], codes["topic"], codes["event_type"])

    def _make_acknowledged(self) -> Acknowledged:
        """Build the one callback that all sends share; what it needs is in the value, so no closure per record."""
        append, started, start, ok = self.rows.append_send, self.started.values, self.start_ns, int(Outcome.ok)

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            (event,) = _EVENT_ID(message.value(), _EVENT_ID_AT)  # type: ignore[arg-type]  # what we sent ourselves
            if error is None:
                offset = message.offset()
                if offset is None or offset < 0:
                    offset = NONE  # a repeated batch that the broker knew already, or acks 0
                append(event, started[event], clock() - start, offset, message.partition(), 0, ok)  # type: ignore[arg-type]  # it has one
            else:
                self._failed(event, started[event], error, message)

        return acknowledged

    def _failed(self, event: int, started_ns: int, error: KafkaError, message: Message) -> None:
        code, partition, offset = answer_of(error, message)
        outcome = int(outcome_of(code))
        self.rows.append_send(event, started_ns, clock() - self.start_ns, offset, partition, code, outcome)

    def send_all(self) -> None:
        """Send every event of this process at its instant."""
        acknowledged = self._make_acknowledged()
        for number, first in enumerate(range(0, len(self.events.array), CHUNK)):
            if not self._send(slice(first, first + CHUNK), acknowledged):
                return
            self.release(number)

    def _send(self, part: slice, acknowledged: Acknowledged) -> bool:
        """Send some events in turn; tell whether to go on."""
        produce, topic, start = self.produce, self.topic, self.start_ns
        started, own_values = self.started.values, self.payload is not None
        now = clock()
        since_poll = 0
        chosen, dues, again = self.to_send(part)
        values, keys = self.values_and_keys(chosen)
        for event, due, value, key, repeated in zip(chosen.tolist(), dues, values, keys, again, strict=False):
            if now < due or since_poll == _POLL_EVERY:
                since_poll = 0
                self.wait(due)
                if self.ended or self.halted:
                    return False
            since_poll += 1
            now = clock()
            if repeated or own_values:
                if not repeated:
                    started[event] = now - start
                self._send_apart(event, value, key, now - start)
                continue
            started[event] = now - start
            try:
                produce(topic, value, key, -1, acknowledged)
            except BufferError:
                self._refused(event, now - start, QUEUE_FULL)
            except KafkaException as error:
                self._refused(event, now - start, error.args[0].code())
        return True

    def _send_apart(self, event: int, value: bytes, key: str | None, started_ns: int) -> None:
        """Send an event that was sent before, or whose value is the user's own, with a callback that knows it."""

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            code, partition, offset = answer_of(error, message)
            outcome = int(outcome_of(code))
            self.rows.append_send(event, started_ns, clock() - self.start_ns, offset, partition, code, outcome)

        try:
            if self.payload is None:
                self.produce(self.topic, value, key, on_delivery=acknowledged)
            else:
                self.produce(self.topic, value, key, on_delivery=acknowledged, headers=self.headers_of(event))
        except BufferError:
            self._refused(event, started_ns, QUEUE_FULL)
        except KafkaException as error:
            self._refused(event, started_ns, error.args[0].code())

    def _refused(self, event: int, now_ns: int, code: int) -> None:
        """Record a send that the client did not take: too large, or its queue is full, and then the run says nothing."""
        self.buffer_errors += code == QUEUE_FULL
        self.rows.append_send(event, now_ns, now_ns, NONE, NONE, code, int(Outcome.failed))


def main() -> None:
    """Serve the driver."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        kind = TransactionalProducer if "transactional.id" in child.spec["settings"] else ProducerProcess
        process = kind(child)
        process.connect()
        let_brokers_go_first()
        child.say("ready")
        process.serve()
        child.say(
            "bye",
            buffer_errors=process.buffer_errors,
            cpu_s=time.process_time(),
            thread_cpu_s=time.thread_time(),
            run_cpu_s=process.run_cpu_s,
        )


if __name__ == "__main__":
    main()
