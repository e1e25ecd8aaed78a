"""Warms brokers and clients on a scratch topic before the clock starts, until acknowledgements take a steady time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from loadgen.children import ChildError, listen
from loadgen.crew import Crew

STEADY_WINDOWS = 3
_STEADY_SHARE = 0.25
_STEADY_NS = 1_500_000
"""Windows are alike when they differ by a quarter, or by this."""
_LEAST_HZ, _MOST_HZ = 20.0, 2_000.0
_FIRST_S = 5.0


@dataclass(frozen=True)
class WarmUp:
    """What the warm-up saw: the acknowledgement p95 of each 5 s window, and whether the last ones were alike."""

    p95_ns: tuple[int, ...]
    steady: bool
    seconds: float


def warm_up(crew: Crew, connection: dict[str, str | int], at_most_s: float, progress: Callable[[str], None]) -> WarmUp:
    """Let each producer send at the rate of its first seconds until three windows are alike, or the time is over."""
    began = time.monotonic()
    windows: dict[str, list[int]] = {name: [] for name in crew.producers}
    reader = _reader(connection, crew.scratch_topic, crew.scratch_partitions)
    for worker in crew.warming():
        worker.said.pop("window", None)
        worker.tell("warm", rate_hz=_rate_hz(crew, worker.name) if worker.name in crew.producers else 0.0)
    p95s: tuple[int, ...] = ()
    try:
        while windows and time.monotonic() - began < at_most_s and not is_steady(p95s):
            listen(crew.all(), 0.1)
            reader.consume(5000, 0)
            for death in crew.deaths():
                raise ChildError(death)
            for name, worker in crew.producers.items():
                if message := worker.said.pop("window", None):
                    windows[name].append(message["p95_ns"])
            complete = min(map(len, windows.values()))
            p95s = tuple(int(np.median([own[n] for own in windows.values()])) for n in range(complete))
            said = f", acknowledgement p95 {p95s[-1] / 1e6:.1f} ms" if p95s else ""
            progress(f"{time.monotonic() - began:.0f} s{said}")
    finally:
        reader.close()
    for worker in crew.warming():
        worker.tell("halt")
    crew.wait(lambda: all("warm" in worker.said for worker in crew.producers.values()), 40, "ending the warm-up")
    return WarmUp(p95s, is_steady(p95s), time.monotonic() - began)


def is_steady(p95s: tuple[int, ...]) -> bool:
    """Whether the last three windows are alike."""
    last = p95s[-STEADY_WINDOWS:]
    return len(last) == STEADY_WINDOWS and max(last) - min(last) <= max(_STEADY_SHARE * max(last), _STEADY_NS)


def _rate_hz(crew: Crew, name: str) -> float:
    """Return the rate of a process's first seconds."""
    plan = crew.plan
    producer, _, number = name.rpartition("/")
    own = (plan.producer == plan.producers.index(producer)) & (plan.process == int(number))
    early = np.count_nonzero(own & (plan.intended_ns < _FIRST_S * 1e9))
    return float(np.clip(early / _FIRST_S, _LEAST_HZ, _MOST_HZ))


def _reader(connection: dict[str, str | int], topic: str, partitions: int) -> Consumer:
    """Return a reader of the scratch topic, so that the brokers' fetch path is warm too."""
    reader = Consumer({**connection, "group.id": "eventdrill-warm-up", "enable.auto.commit": False})
    reader.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    return reader
