"""Lag as tools estimate it from offsets alone: in seconds (kafka-lag-exporter), and as a state (Burrow)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

from reports.alerts.series import Floats, Millis
from reports.alerts.system import Nanos

POINTS = 60
"""So many points (offset, time) kafka-lag-exporter keeps of each partition."""
COMMITS = 10
"""So many commits Burrow judges by, each at least a second after the one before."""
APART_MS = 1000


class Status(IntEnum):
    """Burrow's states, with its numbers."""

    not_found = 0
    ok = 1
    warn = 2
    error = 3
    stop = 4
    stall = 5
    rewind = 6


# ---- seconds ---------------------------------------------------------------------------------------------------------


class OffsetTimes:
    """When a partition's end was at which offset, as far as polls tell; between them a line is drawn."""

    def __init__(self) -> None:
        self._points: list[tuple[int, int]] = []

    def add(self, offset: int, at_ms: int) -> None:
        """Add what a poll saw. A flat line keeps its first and its latest point."""
        points = self._points
        if points and (points[-1][1] >= at_ms or points[-1][0] > offset):
            return
        if len(points) > 1 and points[-1][0] == points[-2][0] == offset:
            points[-1] = (offset, at_ms)
            return
        points.append((offset, at_ms))
        del points[:-POINTS]

    def seconds_behind(self, offset: int, now_ms: int) -> float | None:
        """Return how long ago the end was at a committed offset; None with too few points."""
        points = self._points
        if points and offset == points[-1][0]:
            return 0.0
        if len(points) < 2:
            return None
        around = (pair for pair in reversed(list(pairwise(points))) if pair[0][0] <= offset <= pair[1][0])
        left, right = next(around, (points[0], points[-1]))
        if right[0] == left[0]:
            return None
        at_ms = right[1] - (right[0] - offset) * (right[1] - left[1]) / (right[0] - left[0])
        return (now_ms - at_ms) / 1000


def seconds_of_lag(ends: Floats, offsets: Floats, polls_ms: Millis) -> Floats:
    """Return the estimate at each poll; NaN where there is none."""
    table, found = OffsetTimes(), np.full(len(polls_ms), np.nan)
    for number, (end, offset, at_ms) in enumerate(zip(ends.tolist(), offsets.tolist(), polls_ms.tolist(), strict=True)):
        table.add(int(end), at_ms)
        seconds = table.seconds_behind(int(offset), at_ms)
        if seconds is not None:
            found[number] = max(0.0, seconds)
    return found


# ---- states ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Commit:
    """A commit as Burrow keeps it: when, where, and the lag then."""

    at_ms: int
    offset: int
    lag: int


def partition_status(commits: Sequence[Commit], lag_now: int, now_ms: int) -> Status:
    """Return the state of a partition from its latest commits, the worst that applies; without lag all is well."""
    if not commits or lag_now <= 0 or any(each.lag == 0 for each in commits):
        return Status.ok
    steps = list(pairwise(commits))
    if any(later.offset < before.offset for before, later in steps):
        return Status.rewind
    if now_ms - commits[-1].at_ms > commits[-1].at_ms - commits[0].at_ms:
        return Status.stop
    if all(later.offset == before.offset for before, later in steps):
        return Status.stall
    if not any(later.lag < before.lag for before, later in steps):
        return Status.warn
    return Status.ok


def group_status(partitions: Sequence[Status]) -> Status:
    """Return a group's state: anything worse than a warning of one partition is an error of the group."""
    worst = max(partitions, default=Status.not_found)
    return min(worst, Status.error)


def kept_commits(ended_ns: Nanos, offsets: Nanos, lags: Floats) -> list[Commit]:
    """Return the commits that Burrow keeps: those at least a second after the one before."""
    kept: list[Commit] = []
    for at_ms, offset, lag in zip((ended_ns // 1_000_000).tolist(), offsets.tolist(), lags.tolist(), strict=True):
        if not kept or at_ms - kept[-1].at_ms >= APART_MS:
            kept.append(Commit(at_ms, offset, max(0, int(lag))))
    return kept
