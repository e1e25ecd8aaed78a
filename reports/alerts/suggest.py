"""Searches windows, factors and `for` of burn-rate rules for the best recall at a given number of false pages a week.

A page for what was not worth one is false here: it woke somebody who could do nothing that mattered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reports.alerts.backtest import GRACE_MS, WEEK_MS, Case
from reports.alerts.burn import DAY_MS, HOUR_MS, MINUTE_MS, BurnWindow, bad_share, standard_windows
from reports.alerts.notifications import Route
from reports.alerts.promql import Query, parse, vector_of
from reports.alerts.rules import duration_text
from reports.alerts.series import AlertError, Bools, Floats, Millis
from reports.alerts.states import stretches
from reports.alerts.truth import Trouble, in_progress
from reports.alerts.windows import Release
from scenarios.schema import Objective

PAIRS_MS = (
    (10 * MINUTE_MS, 2 * MINUTE_MS), (30 * MINUTE_MS, 5 * MINUTE_MS), (HOUR_MS, 5 * MINUTE_MS), (2 * HOUR_MS, 10 * MINUTE_MS),
    (6 * HOUR_MS, 30 * MINUTE_MS), (DAY_MS, 2 * HOUR_MS), (3 * DAY_MS, 6 * HOUR_MS),
)  # fmt: skip
FORS_MS = (0, 2 * MINUTE_MS, 5 * MINUTE_MS)
FACTORS = 24
MOST_RULES = 2
"""Pairs of windows in a suggestion: a fast one, and one for what it misses."""


@dataclass(frozen=True)
class Tried:
    """Some rules, and what they would have done: troubles worth a page that they saw, how fast, and false pages a week."""

    windows: tuple[BurnWindow, ...]
    seen: int
    worthy: int
    median_s: float | None
    """From a trouble's begin to its page."""
    false_per_week: float

    @property
    def recall(self) -> float:
        """The share of the troubles that it saw."""
        return self.seen / self.worthy

    @property
    def text(self) -> str:
        """The rules in words: `14.4x over 1h and 5m for 2m`."""
        return "; ".join(
            f"{each.factor:.3g}x over {duration_text(each.long_ms)} and {duration_text(each.short_ms)}"
            + (f" for {duration_text(each.for_ms)}" if each.for_ms else "")
            for each in self.windows
        )

    @property
    def merit(self) -> tuple[float, float]:
        """What makes one better than another with as many false pages: recall, then speed."""
        return self.recall, -(self.median_s if self.median_s is not None else np.inf)


@dataclass(frozen=True)
class Suggestion:
    """The best rules within the limit, the curve of what more false pages would buy, and what the usual rules do."""

    objective: str
    best: Tried
    curve: tuple[Tried, ...]
    """From no false pages on; each sees more, or sees it sooner, than the one before."""
    usual: Tried
    tried: int
    limit: float


def suggest(
    name: str,
    objective: Objective,
    cases: Sequence[Case],
    *,
    false_per_week: float = 1.0,
    interval_ms: int = MINUTE_MS,
    release: Release = 2,
) -> Suggestion:
    """Search rules for one objective over cases of which the truth is known."""
    worthy = sum(trouble.worth == "page" for case in cases for trouble in case.troubles)
    if not worthy:
        raise AlertError(
            "no trouble in these runs was worth a page, so there is nothing to find; longer faults, or a lower --page-worthy, would make some"
        )
    judge = _Judge(name, objective, cases, worthy, interval_ms, release)
    single = [judge.of((window,)) for window in judge.candidates()]
    within = [one for one in single if one.false_per_week <= false_per_week]
    best = max(within, key=lambda one: one.merit) if within else min(single, key=lambda one: one.false_per_week)
    for _ in range(MOST_RULES - 1):
        more = [judge.of((*best.windows, *one.windows)) for one in _promising(within, best)]
        allowed = [one for one in more if one.false_per_week <= false_per_week and one.merit > best.merit]
        best = max(allowed, key=lambda one: one.merit, default=best)
    usual = judge.of(tuple(each for each in standard_windows(objective.period) if each.severity == "page"))
    return Suggestion(name, best, _curve([*single, best]), usual, len(single), false_per_week)


def _promising(within: Sequence[Tried], best: Tried) -> list[Tried]:
    """Return candidates with other windows than the best one's."""
    taken = {each.long_ms for each in best.windows}
    return [one for one in within if one.windows[0].long_ms not in taken and one.seen]


def _curve(found: Sequence[Tried]) -> tuple[Tried, ...]:
    """Return those that nothing with as few false pages beats."""
    kept: list[Tried] = []
    for one in sorted(found, key=lambda each: (each.false_per_week, -each.recall, -each.merit[1])):
        if one.seen and (not kept or one.merit > kept[-1].merit):
            kept.append(one)
    return tuple(kept)


class _Judge:
    """Scores candidates quickly: the bad share of every window is computed once, and rules are comparisons."""

    def __init__(
        self, name: str, objective: Objective, cases: Sequence[Case], worthy: int, interval_ms: int, release: Release
    ) -> None:
        self.target, self.cases, self.worthy = objective.target, cases, worthy
        self.longest_ms = max(case.end_ms for case in cases)
        spans = {span for pair in PAIRS_MS if pair[0] < self.longest_ms for span in pair}
        spans |= {span for each in standard_windows(objective.period) for span in (each.long_ms, each.short_ms)}
        self.instants: list[Millis] = [np.arange(0, case.end_ms + 1, interval_ms) for case in cases]
        self.shares = [
            {span: _share(name, span, Query(case.store, at, release, interval_ms)) for span in spans}
            for case, at in zip(cases, self.instants, strict=True)
        ]
        self.weeks = sum(case.end_ms for case in cases) / WEEK_MS
        self.wait_ms = Route().group_wait_ms

    def candidates(self) -> Iterator[BurnWindow]:
        """Yield every combination that can fire."""
        highest = 0.95 / (1 - self.target)
        for long_ms, short_ms in PAIRS_MS:
            if long_ms < self.longest_ms:
                for factor in np.geomspace(1, max(highest, 1.01), FACTORS).tolist():
                    for for_ms in FORS_MS:
                        yield BurnWindow("page", long_ms, short_ms, float(f"{factor:.3g}"), for_ms)

    def of(self, windows: tuple[BurnWindow, ...]) -> Tried:
        """Score rules: a trouble is seen by the first that pages for it; what no trouble worth a page explains is false."""
        waits, false = list[int](), 0
        for number, case in enumerate(self.cases):
            fired = [stay for window in windows for stay in self._stays(number, window)]
            costly = [trouble for trouble in case.troubles if trouble.worth == "page"]
            false += sum(not in_progress(costly, begin, end, GRACE_MS) for begin, end in fired)
            waits += [wait for trouble in costly if (wait := self._wait(trouble, fired)) is not None]
        median = float(np.median(waits)) / 1000 if waits else None
        return Tried(windows, len(waits), self.worthy, median, false / self.weeks)

    def _stays(self, number: int, window: BurnWindow) -> list[tuple[int, int]]:
        """Return when a rule fired, and when it ended; a stay that is over before the group's wait is never sent."""
        long, short = self.shares[number][window.long_ms], self.shares[number][window.short_ms]
        limit, at = window.threshold(self.target), self.instants[number]
        found = []
        for begin, end in stretches((long > limit) & (short > limit)):
            fires = int(at[begin]) + window.for_ms
            over = int(at[end]) if end < len(at) else self.cases[number].end_ms + 1
            if fires + self.wait_ms <= over:
                found.append((fires, over))
        return found

    def _wait(self, trouble: Trouble, fired: Sequence[tuple[int, int]]) -> int | None:
        times = [
            max(begin + self.wait_ms, trouble.begin_ms)
            for begin, end in fired
            if in_progress([trouble], begin, end, GRACE_MS)
        ]
        return min(times) - trouble.begin_ms if times else None


def _share(name: str, window_ms: int, query: Query) -> Floats:
    """Return the bad share of a window at each instant; 0 where there is none, which exceeds nothing."""
    vector = vector_of(parse(bad_share(name, window_ms)), query)
    if not len(vector.labels):
        return np.zeros(query.size)
    present: Bools = vector.present[0] & np.isfinite(vector.values[0])
    return np.where(present, vector.values[0], 0.0)
