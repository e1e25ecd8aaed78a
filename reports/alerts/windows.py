"""What a selector sees of a series at each instant: the latest sample within five minutes, or the samples of a range."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reports.alerts.series import Bools, Floats, Millis, Series

LOOKBACK_MS = 300_000
Release = Literal[2, 3]
"""Prometheus 2 counts a sample that lies exactly at a range's begin; 3 does not."""


def latest(series: Series, instants_ms: Millis, release: Release) -> tuple[Floats, Bools]:
    """Return the latest sample's value at each instant, and where there is one: not older than five minutes, not stale."""
    place = np.searchsorted(series.times_ms, instants_ms, side="right") - 1
    known = place >= 0
    if not len(series.times_ms):
        return np.zeros(len(instants_ms)), known
    place = np.maximum(place, 0)
    age = instants_ms - series.times_ms[place]
    fresh = age <= LOOKBACK_MS if release == 2 else age < LOOKBACK_MS
    return series.values[place], known & fresh & ~series.stale[place]


def latest_time(series: Series, instants_ms: Millis) -> Floats:
    """Return the time of the latest sample in seconds; of no meaning where there is none."""
    if not len(series.times_ms):
        return np.zeros(len(instants_ms))
    place = np.maximum(np.searchsorted(series.times_ms, instants_ms, side="right") - 1, 0)
    return series.times_ms[place] / 1000


@dataclass(frozen=True, eq=False)
class Windows:
    """The samples of a range at many instants: those from `first` up to, not including, `end`."""

    times_ms: Millis
    values: Floats
    first: NDArray[np.intp]
    end: NDArray[np.intp]
    until_ms: Millis
    """Where each range ends."""
    at_ms: Millis
    """The instants of evaluation; later than `until_ms` by the offset."""
    range_ms: int

    @property
    def count(self) -> NDArray[np.intp]:
        """Samples in each range."""
        return self.end - self.first

    def chosen(self, which: Bools) -> "Windows":
        """Return some of the ranges."""
        return Windows(
            self.times_ms, self.values, self.first[which], self.end[which], self.until_ms[which], self.at_ms[which],
            self.range_ms,
        )  # fmt: skip

    def positions(self) -> Iterator[tuple[NDArray[np.intp], Millis, Floats]]:
        """Yield for the first, second ... sample of the ranges: which ranges have one, its times and its values."""
        count = self.count
        for position in range(int(count.max(initial=0))):
            which = np.flatnonzero(count > position)
            place = self.first[which] + position
            yield which, self.times_ms[place], self.values[place]


def windows(
    series: Series, instants_ms: Millis, range_ms: int, offset_ms: int, release: Release, *, inner: bool = False
) -> Windows:
    """Return the ranges of a series; `inner` are values of a subquery, which have no stale marks."""
    times, values = (series.times_ms, series.values) if inner else series.real
    until = instants_ms - offset_ms
    first = np.searchsorted(times, until - range_ms, side="left" if release == 2 else "right")
    end = np.searchsorted(times, until, side="right")
    return Windows(times, values, first, np.maximum(end, first), until, instants_ms, range_ms)
