"""One producer process: `python -P -m loadgen.producer_process SPEC.json`. Sends its share of the plan at the planned instants, open loop.

One thread does pacing, `produce` and `poll`: a second one would cost up to its 5 ms switch interval. It never slows down with the
brokers: what is late goes out at once and keeps its intended time.
"""

import contextlib
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from numpy.lib.format import open_memmap

from loadgen.child import Child, DriverGone, freeze, let_brokers_go_first
from loadgen.outcomes import QUEUE_FULL, outcome_of
from loadgen.records import HEADER, NO_RUN, POISON, filler
from rundata.row_log import RowLog
from rundata.rows import NONE, UNTIMED, Kind, Outcome

clock = time.perf_counter_ns

_LISTEN_EVERY_NS = 50_000_000
"""How often it looks for requests of the driver; a look costs about 2 microseconds."""
_POLL_EVERY = 64
"""Sends in a row, where it is late, before it serves acknowledgements."""
_COARSE_NS = 1_200_000
"""Waits longer than this are the client's `poll`, which serves acknowledgements as they come and counts whole milliseconds."""
_CONNECT_WITHIN_S = 30.0
_WINDOW_NS = 5_000_000_000
_PURGE_WITHIN_NS = 5_000_000_000


class ProducerProcess:
    """The client, the process's events and its rows."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self.child = child
        self.client = Producer(spec["settings"])
        self.topic: str = spec["topic"]
        self.run_id: int = spec["run_id"]
        self.spin_ns: int = spec["spin_ns"]
        self.events = child.array("events")
        self.intended = child.array("intended_ns")
        self.size = child.array("size_bytes")
        self.key = child.array("key")
        self.poison = child.array("poison")
        self.started = open_memmap(spec["arrays"]["started_ns"], mode="r+").data
        self.key_prefix: str | None = spec["key_prefix"]
        self.filler = filler(spec["largest_bytes"])
        self.rows = RowLog.create(spec["rows"], spec["capacity"])
        self.start_ns = 0
        self.ended = False
        self.halted = False
        """Whether to send nothing more and only wait for what is under way."""
        self.buffer_errors = 0
        self.warm_latencies_ns: list[int] = []
        self._listen_at = 0
        self._warming = False
        self.acknowledged = self._make_acknowledged()

    def _make_acknowledged(self) -> Callable[[KafkaError | None, Message], None]:
        """Build the one callback that all sends share; what it needs is in the value, so no closure per record."""
        codes = self.child.spec["codes"]
        process, topic, event_type = codes["process"], codes["topic"], codes["event_type"]
        append, key, started, unpack, run_id = self.rows.append, self.key, self.started, HEADER.unpack_from, self.run_id
        send, ok = int(Kind.send), int(Outcome.ok)

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            now = clock()
            owner, event, root, intended = unpack(message.value())  # type: ignore[arg-type]  # what we sent ourselves
            if owner & ~POISON != run_id:
                self.warm_latencies_ns.append(now - intended)
                return
            code = 0 if error is None else error.code()
            offset = message.offset() if error is None else NONE
            partition = message.partition()
            append(
                event, root, NONE, key[event], NONE if offset is None or offset < 0 else offset, NONE, NONE, UNTIMED,
                intended, started[event], now - self.start_ns, NONE, NONE if partition is None else partition, 1, 0, 1,
                event_type, process, NONE, topic, code, send, ok if code == 0 else int(outcome_of(code)),
            )  # fmt: skip

        return acknowledged

    def connect(self) -> None:
        """Learn the topic's leaders, and get the connections and ids that the first sends need, on the scratch topic."""
        until = clock() + int(_CONNECT_WITHIN_S * 1e9)
        while True:
            with contextlib.suppress(KafkaException):
                known = self.client.list_topics(self.topic, timeout=2).topics[self.topic]
                if known.error is None and known.partitions and all(p.leader > 0 for p in known.partitions.values()):
                    break
            if clock() > until:
                raise TimeoutError(f"no leaders of {self.topic} within {_CONNECT_WITHIN_S:.0f} s")
        for partition in range(self.child.spec["scratch_partitions"]):
            self._send_scratch(partition)
        self.client.flush(_CONNECT_WITHIN_S)
        self.warm_latencies_ns.clear()

    def _send_scratch(self, number: int) -> None:
        spec = self.child.spec
        value = HEADER.pack(NO_RUN, number, number, clock()) + self.filler[: spec["scratch_bytes"]]
        with contextlib.suppress(BufferError):
            partition = number % spec["scratch_partitions"]
            self.client.produce(spec["scratch_topic"], value, partition=partition, on_delivery=self.acknowledged)

    def warm(self, rate_hz: float) -> None:
        """Send to the scratch topic at an even rate until the driver has heard enough, and tell it the latencies."""
        self._warming = True
        begin = clock()
        window_end, number, step_ns = begin + _WINDOW_NS, 0, int(1e9 / rate_hz)
        while self._warming:
            self._wait(begin + number * step_ns)
            self._send_scratch(number)
            number += 1
            if clock() >= window_end:
                window_end += _WINDOW_NS
                latencies = sorted(self.warm_latencies_ns)
                self.warm_latencies_ns.clear()
                p95_ns = latencies[len(latencies) * 95 // 100] if latencies else _WINDOW_NS
                self.child.say("window", p95_ns=p95_ns, count=len(latencies))
            self._listen()
        self.client.flush(_CONNECT_WITHIN_S)
        self.warm_latencies_ns.clear()

    def send_all(self) -> None:
        """Send every event of this process at its instant."""
        client, topic, run_id, acknowledged = self.client, self.topic, self.run_id, self.acknowledged
        events, intended, size, key, poison, started = (
            self.events, self.intended, self.size, self.key, self.poison, self.started,
        )  # fmt: skip
        prefix, body, start, pack = self.key_prefix, self.filler, self.start_ns, HEADER.pack
        since_poll = 0
        for event in events:
            due = start + intended[event]
            now = clock()
            if now < due or since_poll == _POLL_EVERY:
                since_poll = 0
                self._wait(due)
                if self.ended or self.halted:
                    return
                now = clock()
            since_poll += 1
            head = pack(run_id | POISON if poison[event] else run_id, event, event, intended[event])
            text = None if prefix is None else f"{prefix}{key[event]}"
            started[event] = now - start
            try:
                client.produce(topic, head + body[: size[event] - 32], text, on_delivery=acknowledged)
            except BufferError:
                self._refused(event, now - start)

    def _refused(self, event: int, now_ns: int) -> None:
        """Record a send that the client's full queue refused: the driver is the limit, and the run says nothing."""
        self.buffer_errors += 1
        codes = self.child.spec["codes"]
        self.rows.append(
            event, event, NONE, self.key[event], NONE, NONE, NONE, UNTIMED, self.intended[event], now_ns, now_ns, NONE,
            NONE, 1, 0, 1, codes["event_type"], codes["process"], NONE, codes["topic"], QUEUE_FULL,
            int(Kind.send), int(Outcome.failed),
        )  # fmt: skip

    def _wait(self, due: int) -> None:
        """Serve acknowledgements until `due`; the last stretch is a plain sleep, or a spin where cores allow it."""
        client = self.client
        client.poll(0)
        remaining = due - clock()
        while remaining > _COARSE_NS:
            if clock() >= self._listen_at:
                self._listen()
                if self.ended or self.halted:
                    return
            client.poll(min(remaining - 200_000, _LISTEN_EVERY_NS) / 1e9)
            remaining = due - clock()
        if remaining > self.spin_ns:
            time.sleep((remaining - self.spin_ns) / 1e9)
        while self.spin_ns and clock() < due:
            pass
        if clock() >= self._listen_at:  # a process that is always late must still hear
            self._listen()

    def _listen(self) -> None:
        self._listen_at = clock() + _LISTEN_EVERY_NS
        while request := self.child.hear():
            match request["do"]:
                case "halt":
                    self._warming = False
                    self.halted = self.start_ns > 0
                case "stop":
                    self.ended = True
                case other:
                    raise ValueError(f"a producer process knows no request {other!r}")

    def serve(self) -> None:
        """Do what the driver asks until it ends the process."""
        while True:
            request = self.child.hear(timeout_s=0.05)
            self.client.poll(0)
            match request and request["do"]:
                case None | "halt":
                    pass
                case "warm":
                    self.warm(request["rate_hz"])  # type: ignore[index]  # None was the first case
                    self.child.say("warm")
                case "start":
                    self.start_ns = request["at_ns"]  # type: ignore[index]
                    self._run()
                    return
                case "stop":
                    return
                case other:
                    raise ValueError(f"a producer process knows no request {other!r}")

    def _run(self) -> None:
        freeze()
        self.send_all()
        self.child.say("sent")
        told = False
        while not self.ended:
            self.client.poll(0.02)
            if not told and len(self.client) == 0:
                told = True
                self.child.say("finished")
            self._listen()
        self._give_up()

    def _give_up(self) -> None:
        """Give up what is not acknowledged when the drain is over; its outcome is unknown, or it was never sent."""
        if len(self.client):
            self.client.purge(in_queue=True, in_flight=True, blocking=False)
            until = clock() + _PURGE_WITHIN_NS
            while len(self.client) and clock() < until:
                self.client.poll(0.02)


def main() -> None:
    """Serve the driver."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        process = ProducerProcess(child)
        process.connect()
        let_brokers_go_first()
        child.say("ready")
        process.serve()
        child.say(
            "bye", buffer_errors=process.buffer_errors, cpu_s=time.process_time(), thread_cpu_s=time.thread_time()
        )


if __name__ == "__main__":
    main()
