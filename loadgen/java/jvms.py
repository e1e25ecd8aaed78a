"""What the JVMs of a run say of themselves: pauses in which all their threads stood still, the JIT compiler's work, and sends that blocked."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from loadgen.children import ChildError
from loadgen.run_clock import clock
from rundata.tables import Gauge
from scenarios.quantities import MILLISECOND, SECOND, format_duration

_SAFEPOINT = re.compile(r'^\[(\d+)ns\].* Safepoint "(\w+)".* Total: +(\d+) ns')
_CLOCK_WITHIN_S = 60
_PAUSED_SHARE = 0.01
"""From so much on, pauses of a JVM reach a latency's p99."""
_LONG_PAUSE_S = 0.04
"""Of a broker: collections of young objects take 10 to 25 ms, which calibration measures with all else; longer ones are too rare for that."""
_BROKERS_PAUSED_SHARE = 0.005
"""From so much on they are half of what a p99 is taken from."""
_COMPILING_SHARE = 0.1
"""Of a core, on average: what the compiler takes from brokers and members beside it; warm JVMs take 0.01."""


@dataclass(frozen=True)
class Pause:
    """A stretch in which a JVM let none of its threads run, on the run's monotonic clock."""

    end_ns: int
    length_ns: int
    why: str


def read_pauses(path: Path) -> list[Pause]:
    """Read a JVM's log of its safepoints; one that was killed has written its last line perhaps by half."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    found = (_SAFEPOINT.match(line) for line in lines)
    return [Pause(int(each[1]), int(each[3]), each[2]) for each in found if each]


@dataclass
class Jvms:
    """By process: what it said."""

    compiled_ms: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Instants, and how long the JIT compiler had worked by then."""
    blocks: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Stretches in which the client's `send` held up the sender, on the clock."""

    def check_clock(self, name: str, at_ns: int) -> None:
        """Make sure that a process reads the clock that the driver reads: all times of a run rest on it."""
        if not 0 <= clock() - at_ns < _CLOCK_WITHIN_S * SECOND:
            raise ChildError(
                f"{name} reads another clock than the driver ({at_ns} against {clock()} ns): its JVM's System.nanoTime is not the "
                "monotonic clock of this system, so the Java client cannot be driven here"
            )

    def blocked(self, name: str, begin_ns: int, end_ns: int) -> None:
        """Note a stretch in which a send blocked."""
        self.blocks.setdefault(name, []).append((begin_ns, end_ns))

    def blocks_from(self, start_ns: int) -> dict[str, list[tuple[int, int]]]:
        """Return by process when sends blocked, from the run's start."""
        return {name: [(begin - start_ns, end - start_ns) for begin, end in own] for name, own in self.blocks.items()}

    def compiled(self, name: str, at_ns: int, compiled_ms: int) -> None:
        """Note what the JIT compiler has done so far."""
        self.compiled_ms.setdefault(name, []).append((at_ns, compiled_ms))

    def gauges(self, start_ns: int, end_ns: int, pauses: Iterable[tuple[str, list[Pause]]]) -> list[Gauge]:
        """Return, second by second of the run, what the JVMs' own work took; `end_ns` is the run's end from its start."""
        return [
            *(each for name, own in pauses for each in _paused(name, own, start_ns, end_ns)),
            *(each for name, own in self.compiled_ms.items() for each in _compiling(name, own, start_ns, end_ns)),
        ]


def _paused(name: str, pauses: list[Pause], start_ns: int, end_ns: int) -> Iterator[Gauge]:
    """Yield the longest pause of each second in which there was one, and the share that all of them took."""
    seconds: dict[int, list[int]] = {}
    for each in pauses:
        at_ns = each.end_ns - start_ns
        if 0 <= at_ns <= end_ns:
            seconds.setdefault(at_ns // SECOND, []).append(each.length_ns)
    for second, lengths in sorted(seconds.items()):
        at_ns = (second + 1) * SECOND
        yield Gauge(at_ns, "jvm_pause_s", name, max(lengths) / SECOND)
        yield Gauge(at_ns, "jvm_paused_share", name, sum(lengths) / SECOND)


def _compiling(name: str, samples: list[tuple[int, int]], start_ns: int, end_ns: int) -> Iterator[Gauge]:
    for (before_ns, before_ms), (at_ns, at_ms) in pairwise(samples):
        if 0 <= at_ns - start_ns <= end_ns and at_ns > before_ns:
            share = max(0, at_ms - before_ms) * MILLISECOND / (at_ns - before_ns)
            yield Gauge(at_ns - start_ns, "jit_share", name, share)


def noise(gauges: Iterable[Gauge], warm_up_ns: int, end_ns: int) -> str | None:
    """Return how much of a run the clients' JVMs stood still or compiled, in words; None where it hardly shows in any figure."""
    by_process: dict[tuple[str, str], list[float]] = {}
    for each in gauges:
        if (
            each.name in ("jvm_paused_share", "jit_share")
            and warm_up_ns < each.time_ns <= end_ns
            and not _is_broker(each)
        ):
            by_process.setdefault((each.name, each.where), []).append(each.value)
    seconds = max(1.0, (end_ns - warm_up_ns) / SECOND)
    # Seconds without a pause have no gauge of pauses; the compiler's has one each second.
    paused = {who: sum(own) / seconds for (name, who), own in by_process.items() if name == "jvm_paused_share"}
    compiling = {who: sum(own) / len(own) for (name, who), own in by_process.items() if name == "jit_share"}
    said = []
    if paused and max(paused.values()) > _PAUSED_SHARE:
        who = max(paused, key=lambda each: paused[each])
        said.append(f"the JVM of {who} stood still for {paused[who]:.1%} of the run")
    if compiling and max(compiling.values()) > _COMPILING_SHARE:
        who = max(compiling, key=lambda each: compiling[each])
        said.append(f"the JVM of {who} spent {compiling[who]:.0%} of a core on compiling")
    return "; ".join(said) or None


def brokers_stood_still(gauges: Iterable[Gauge], begin_ns: int, end_ns: int) -> str | None:
    """Return how much of a stretch brokers took for pauses longer than a young collection is, in words; None where that hardly shows.

    All of them count: an event that waits for its replicas waits for whichever stands still.
    """
    long_s = [
        each.value
        for each in gauges
        if each.name == "jvm_pause_s"
        and _is_broker(each)
        and begin_ns < each.time_ns <= end_ns
        and each.value > _LONG_PAUSE_S
    ]
    if sum(long_s) <= _BROKERS_PAUSED_SHARE * (end_ns - begin_ns) / SECOND:
        return None
    paused, longest, stretch = (
        format_duration(round(ns, -6)) for ns in (sum(long_s) * SECOND, max(long_s) * SECOND, end_ns - begin_ns)
    )
    return f"JVMs of brokers stood still for {paused} of {stretch}, {longest} at a time"


def _is_broker(gauge: Gauge) -> bool:
    return gauge.where.startswith("broker ")
