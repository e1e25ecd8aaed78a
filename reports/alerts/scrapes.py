"""How metrics become series: each target is scraped at its own phase; a scrape that fails leaves a stale mark, and `up` at 0."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from reports.alerts.series import Bools, Floats, Millis, Series, labels_of
from reports.alerts.system import Nanos, Spans, inside

MILLISECOND_NS = 1_000_000


@dataclass(frozen=True)
class Scraping:
    """How often targets are scraped, and until when; `closing_ms` is one more instant, at which counters are read to go on from."""

    end_ns: int
    every_ms: int = 15_000
    closing_ms: int | None = None

    def times_ms(self, phase_ms: int) -> Millis:
        """Return the scrapes of a target with a phase."""
        times = np.arange(phase_ms, self.end_ns // MILLISECOND_NS + 1, self.every_ms, dtype=np.int64)
        if self.closing_ms is None:
            return times
        return np.append(times[times < self.closing_ms], self.closing_ms)


@dataclass(frozen=True, eq=False)
class Target:
    """A process that is scraped: its labels, when, and when it does not answer."""

    labels: Mapping[str, str]
    times_ms: Millis
    fails: Bools

    @classmethod
    def of(cls, labels: Mapping[str, str], scraping: Scraping, down: Spans) -> "Target":
        """Return a target whose phase, whole seconds, follows from its labels, so that it is the same in every run."""
        phase_s = zlib.crc32(repr(sorted(labels.items())).encode()) % max(1, scraping.every_ms // 1000)
        times = scraping.times_ms(phase_s * 1000)
        return cls(labels, times, inside(down, times * MILLISECOND_NS))

    @property
    def at_ns(self) -> Nanos:
        """The instants of the scrapes."""
        return self.times_ms * MILLISECOND_NS

    def series(
        self, name: str, labels: Mapping[str, str], values: Floats, there: Bools | None = None
    ) -> Iterator[Series]:
        """Yield a series: stale from the first scrape that fails or in which it is missing; nothing if it never was there."""
        shown = ~self.fails if there is None else ~self.fails & there
        if not shown.any():
            return
        ends = np.concatenate([[False], shown[:-1] & ~shown[1:]])
        kept = shown | ends
        labelled = labels_of({**labels, **self.labels}, name)
        yield Series(labelled, self.times_ms[kept], np.asarray(values, np.float64)[kept], ends[kept])

    def up(self) -> Series:
        """Return whether the scrapes came through."""
        return Series.of("up", self.labels, self.times_ms, (~self.fails).astype(np.float64))


def counter(events_ns: Nanos, at_ns: Nanos, restarts: Spans, weights: Floats | None = None) -> Floats:
    """Return a process's counter at each scrape: what it counted since it last started. `events_ns` ascend."""
    total = np.concatenate([[0.0], np.cumsum(np.ones(len(events_ns)) if weights is None else weights)])
    started = np.asarray(sorted(end for _, end in restarts), np.int64)
    base = np.concatenate([[0.0], total[np.searchsorted(events_ns, started)]])
    counted: Floats = total[np.searchsorted(events_ns, at_ns, side="right")]
    return np.asarray(counted - base[np.searchsorted(started, at_ns, side="right")])
