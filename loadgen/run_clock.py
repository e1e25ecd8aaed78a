"""The run's clock: time 0 as an instant of the monotonic clock, and its place in the time of day."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

clock = time.perf_counter_ns
_TRIES = 16


@dataclass(frozen=True)
class RunClock:
    """Time 0 on CLOCK_MONOTONIC, which all processes of one host share, and since 1970."""

    start_ns: int
    start_unix_ns: int
    error_ns: int
    """How far apart the two clocks may have been read."""

    @classmethod
    def starting_in(cls, ahead_ns: int) -> "RunClock":
        """Return a clock whose time 0 is a little ahead, so that every process has heard of it by then."""
        offset_ns, error_ns = unix_offset_ns()
        start_ns = clock() + ahead_ns
        return cls(start_ns, start_ns + offset_ns, error_ns)

    def now_ns(self) -> int:
        """Return the time since time 0."""
        return clock() - self.start_ns

    def stepped_ns(self) -> int:
        """Return by how much somebody has set the time of day since time 0 was chosen."""
        offset_ns, _ = unix_offset_ns()
        return offset_ns - (self.start_unix_ns - self.start_ns)

    @property
    def start_text(self) -> str:
        """Return time 0 as people and other tools write it."""
        return datetime.fromtimestamp(self.start_unix_ns / 1e9, UTC).isoformat(timespec="microseconds")


def unix_offset_ns() -> tuple[int, int]:
    """Return what to add to the monotonic clock to get the time since 1970, and how wrong that may be."""
    readings = []
    for _ in range(_TRIES):
        before = clock()
        unix = time.time_ns()
        after = clock()
        readings.append((after - before, unix - (before + after) // 2))
    error_ns, offset_ns = min(readings)
    return offset_ns, error_ns
