"""What every producer process does: it takes its share of the plan, waits for each instant, serves acknowledgements, and hears the driver.

One thread does pacing, `produce` and `poll`: a second one would cost up to its 5 ms switch interval. It never slows down with the
brokers: what is late goes out at once and keeps its intended time.
"""

import contextlib
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from numpy.typing import NDArray

from loadgen.child import Child, freeze
from loadgen.records import HEADER, NO_RUN, UNREADABLE, filler, headers
from rundata.rows import NONE
from scenarios.headers import HEADER_ID, HEADER_INTENDED, HEADER_POISON, HEADER_ROOT, HEADER_RUN

clock = time.perf_counter_ns

_LISTEN_EVERY_NS = 50_000_000
"""How often it looks for requests of the driver; a look costs about 2 microseconds."""
_COARSE_NS = 1_200_000
"""Waits longer than this are the client's `poll`, which serves acknowledgements as they come and counts whole milliseconds."""
_LEAST_NAP_NS = 100_000
"""Shorter sleeps than this cost more than they are worth: at high rates events go out in groups, and at most so late."""
CONNECT_WITHIN_S = 30.0
_WINDOW_NS = 5_000_000_000
_PURGE_WITHIN_NS = 5_000_000_000
CHUNK = 1024
"""Events whose values and keys are made together, some 0.3 ms before the first of them."""
_KEPT_KEYS = 65_536
"""Of so few keys the texts are kept."""
_RELEASE_EVERY = 256
"""Chunks after which pages of the plan that are done with are given back, so that memory stays flat."""
_MOST_JOINED = 1024
"""Longer values of one size are not laid out together."""


class PacedProducer(ABC):
    """The client, the process's events and their instants; how they are sent and recorded is its subclasses' part."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self.child = child
        self.client = Producer(spec["settings"])
        self.skews: list[tuple[int, int, int]] = spec["skews"]
        """Stretches in which this machine's clock is meant to be wrong, and by how much."""
        self.produce = self._with_wrong_clock if self.skews else self.client.produce
        self.topic: str = spec["topic"]
        self.run_id: int = spec["run_id"]
        self.spin_ns: int = spec["spin_ns"]
        self.events = child.mapped("events")
        """In the order in which they are handed over; one that is sent again is in it twice."""
        disturbed = "due_ns" in spec["arrays"]
        self.due = child.mapped("due_ns") if disturbed else None
        """When each of them is due, where that is not its intended time."""
        self.again = child.mapped("again") if disturbed else None
        """Which of them are sent again."""
        self.intended = child.mapped("intended_ns")
        self.size = child.mapped("size_bytes")
        self.key = child.mapped("key")
        self.poison = child.mapped("poison")
        self.started = child.mapped("started_ns", writes=True)
        self.is_back: bool = spec["incarnation"] > 1
        """Whether the process was started again after a crash."""
        self.key_prefix: str | None = spec["key_prefix"]
        self.filler = filler(spec["largest_bytes"])
        self.start_ns = 0
        self.ended = False
        self.halted = False
        """Whether to send nothing more and only wait for what is under way."""
        self.buffer_errors = 0
        self.run_cpu_s = 0.0
        """What the thread spent from time 0 until all was acknowledged."""
        self.warm_latencies_ns: list[int] = []
        self._listen_at = 0
        self._warming = False
        self._texts: dict[int, str] = {}
        self.payload: list[bytes] | None = None
        """The user's own values, sent in turn; ids then go into headers."""
        if spec.get("payload"):
            self.payload = pickle.loads(Path(spec["payload"]).read_bytes())

    @abstractmethod
    def send_all(self) -> None:
        """Send every event of this process at its instant."""

    def _warmed(self, _error: KafkaError | None, message: Message) -> None:
        self.warm_latencies_ns.append(clock() - HEADER.unpack_from(message.value())[3])  # type: ignore[arg-type]  # what we sent ourselves

    def connect(self) -> None:
        """Learn the topic's leaders, and get the connections and ids that the first sends need, on the scratch topic."""
        until = clock() + int(CONNECT_WITHIN_S * 1e9)
        while True:
            with contextlib.suppress(KafkaException):
                known = self.client.list_topics(self.topic, timeout=2).topics[self.topic]
                if known.error is None and known.partitions and all(p.leader >= 0 for p in known.partitions.values()):
                    break
            if clock() > until:
                raise TimeoutError(f"no leaders of {self.topic} within {CONNECT_WITHIN_S:.0f} s")
        for partition in range(self.child.spec["scratch_partitions"]):
            self.send_scratch(partition)
        self.client.flush(CONNECT_WITHIN_S)
        self.warm_latencies_ns.clear()

    def send_scratch(self, number: int) -> None:
        """Send a record to the scratch topic."""
        spec = self.child.spec
        value = HEADER.pack(NO_RUN, number, number, clock()) + self.filler[: spec["scratch_bytes"]]
        with contextlib.suppress(BufferError):
            partition = number % spec["scratch_partitions"]
            self.client.produce(spec["scratch_topic"], value, partition=partition, on_delivery=self._warmed)

    def warm(self, rate_hz: float) -> None:
        """Send to the scratch topic at an even rate until the driver has heard enough, and tell it the latencies."""
        self._warming = True
        begin = clock()
        window_end, number, step_ns = begin + _WINDOW_NS, 0, int(1e9 / rate_hz)
        while self._warming:
            self.wait(begin + number * step_ns)
            self.send_scratch(number)
            number += 1
            if clock() >= window_end:
                window_end += _WINDOW_NS
                latencies = sorted(self.warm_latencies_ns)
                self.warm_latencies_ns.clear()
                p95_ns = latencies[len(latencies) * 95 // 100] if latencies else _WINDOW_NS
                self.child.say("window", p95_ns=p95_ns, count=len(latencies))
            self.listen()
        self.client.flush(CONNECT_WITHIN_S)
        self.warm_latencies_ns.clear()

    def to_send(self, part: slice) -> tuple[NDArray[np.int64], list[int], Iterator[bool]]:
        """Return events that are to be sent, when on the clock, and which of them for the second time.

        What was handed over before the process was started again is left out.
        """
        chosen = self.events.array[part]
        dues = (self.intended.array[chosen] if self.due is None else self.due.array[part]) + self.start_ns
        again = np.zeros(len(chosen), np.bool_) if self.again is None else self.again.array[part]
        if self.is_back:
            fresh = np.where(again, dues > clock(), self.started.array[chosen] == NONE)
            chosen, dues, again = chosen[fresh], dues[fresh], again[fresh]
        return chosen, dues.tolist(), repeat(False) if self.again is None else iter(again.tolist())

    def _with_wrong_clock(self, *record: Any, **more: Any) -> None:
        """Send a record with the timestamp that the client would give it on a machine with the wrong time."""
        now_ns = clock() - self.start_ns
        by_ns = next((by_ns for begin_ns, end_ns, by_ns in self.skews if begin_ns <= now_ns < end_ns), 0)
        self.client.produce(*record, **{**more, "timestamp": (time.time_ns() + by_ns) // 1_000_000})

    def values_and_keys(self, chosen: NDArray[np.int64]) -> tuple[Iterator[bytes], Iterator[str | None]]:
        """Return what is sent for each of some events; made for many at once, which costs a third."""
        if self.payload is not None:
            return iter(self._own_values(chosen)), iter(self._keys(self.key.array[chosen].tolist()))
        heads = headers(self.run_id, chosen, self.intended.array[chosen], self.poison.array[chosen])
        body, most = self.filler, HEADER.size
        sizes = self.size.array[chosen]
        if len(sizes) and (size := int(sizes[0])) <= _MOST_JOINED and (sizes == size).all():
            values = of_one_size(heads, body, size)
        else:
            values = [heads[n * most : (n + 1) * most] + body[: each - most] for n, each in enumerate(sizes.tolist())]
        return iter(values), iter(self._keys(self.key.array[chosen].tolist()))

    def _own_values(self, chosen: NDArray[np.int64]) -> list[bytes]:
        assert self.payload is not None
        poison = self.poison.array[chosen].tolist()
        values = [self.payload[number % len(self.payload)] for number in chosen.tolist()]
        return [UNREADABLE if poisoned else value for value, poisoned in zip(values, poison, strict=True)]

    def headers_of(self, event: int) -> list[tuple[str, str | bytes | None]]:
        """Return the ids of an event whose value is the user's own."""
        found: list[tuple[str, str | bytes | None]] = [
            (HEADER_RUN, str(self.run_id)),
            (HEADER_ID, str(event)),
            (HEADER_ROOT, str(event)),
            (HEADER_INTENDED, str(self.intended.values[event])),
        ]
        return [*found, (HEADER_POISON, "1")] if self.poison.values[event] else found

    def _keys(self, numbers: list[int]) -> list[str | None]:
        """Return the text of each key."""
        prefix, texts = self.key_prefix, self._texts
        if prefix is None:
            return [None] * len(numbers)
        if len(texts) > _KEPT_KEYS:
            return [f"{prefix}{number}" for number in numbers]
        texts.update((number, f"{prefix}{number}") for number in numbers if number not in texts)
        return [texts[number] for number in numbers]

    def release(self, number: int) -> None:
        """Give back now and then, after the n-th chunk, the pages of the plan that are done with."""
        if number % _RELEASE_EVERY:
            return
        for each in (self.events, self.intended, self.size, self.key, self.poison, self.started, self.due, self.again):
            if each is not None:
                each.release()

    def wait(self, due: int) -> None:
        """Serve acknowledgements until `due`; the last stretch is a plain sleep, or a spin where cores allow it."""
        client = self.client
        client.poll(0)
        remaining = due - clock()
        while remaining > _COARSE_NS:
            if clock() >= self._listen_at:
                self.listen()
                if self.ended or self.halted:
                    return
            client.poll(min(remaining - 200_000, _LISTEN_EVERY_NS) / 1e9)
            remaining = due - clock()
        if remaining > self.spin_ns:
            time.sleep(max(remaining - self.spin_ns, 0 if self.spin_ns else _LEAST_NAP_NS) / 1e9)
        while self.spin_ns and clock() < due:
            pass
        if clock() >= self._listen_at:  # a process that is always late must still hear
            self.listen()

    def listen(self) -> None:
        """Hear what the driver asks."""
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
                    self.start_ns = request["at_ns"]  # type: ignore[index]  # None was the first case
                    self._run()
                    return
                case "stop":
                    return
                case other:
                    raise ValueError(f"a producer process knows no request {other!r}")

    def _run(self) -> None:
        freeze()
        began_s = time.thread_time()
        self.send_all()
        self.child.say("sent")
        told = False
        while not self.ended:
            self.client.poll(0.02)
            if not told and len(self.client) == 0:
                told = True
                self.child.say("finished")
                self.run_cpu_s = time.thread_time() - began_s
            self.listen()
        self._give_up()

    def _give_up(self) -> None:
        """Give up what is not acknowledged when the drain is over; its outcome is unknown, or it was never sent."""
        if len(self.client):
            self.client.purge(in_queue=True, in_flight=True, blocking=False)
            until = clock() + _PURGE_WITHIN_NS
            while len(self.client) and clock() < until:
                self.client.poll(0.02)


def of_one_size(heads: bytes, body: bytes, size: int) -> list[bytes]:
    """Return values that are equally long: laid out together and cut, which takes half of what putting each one together does."""
    head = np.frombuffer(heads, np.uint8).reshape(-1, HEADER.size)
    together = np.empty((len(head), size), np.uint8)
    together[:, : HEADER.size] = head
    if size > HEADER.size:
        together[:, HEADER.size :] = np.frombuffer(body, np.uint8, size - HEADER.size)
    whole = together.tobytes()
    return [whole[at : at + size] for at in range(0, len(whole), size)]
