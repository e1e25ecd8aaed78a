"""Judges rules over series of which the truth is known: what they saw, how fast, what they cried over, and how often somebody was woken."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reports.alerts.notifications import Notification, Routing, notifications
from reports.alerts.rules import Rule, RuleFile
from reports.alerts.series import Store
from reports.alerts.states import Evaluated, Span, evaluate_rules
from reports.alerts.truth import Trouble, Worth, in_progress, worst
from reports.alerts.windows import Release

WEEK_MS = 7 * 86_400_000
GRACE_MS = 15 * 60_000
"""An alert belongs to a trouble until so long after its end: windows look back."""
PAGES = ("page", "critical")
"""Severities that wake somebody; everything else is a ticket."""


def wakes(rule: Rule) -> bool:
    """Whether a rule's alerts wake somebody."""
    return rule.severity in PAGES


@dataclass(frozen=True, eq=False)
class Case:
    """Series and the truth about them: a run, or a month."""

    name: str
    store: Store
    troubles: tuple[Trouble, ...]
    end_ms: int


@dataclass(frozen=True, eq=False)
class Judged:
    """One case under the rules: what fired, and what was sent."""

    case: Case
    evaluated: Evaluated
    sent: tuple[Notification, ...]
    grace_ms: int

    @cached_property
    def pages(self) -> tuple[Notification, ...]:
        """Messages that woke somebody: with an alert that wakes, new or repeated."""
        return tuple(
            each for each in self.sent if each.reason != "resolved" and any(wakes(span.rule) for span in each.firing)
        )

    def troubles_of(self, span: Span) -> list[Trouble]:
        """Return the troubles that a stay of an alert can be about."""
        fired = span.fired_ms if span.fired_ms is not None else span.active_ms
        end = self.case.end_ms + 1 if span.ended_ms is None else span.ended_ms
        return in_progress(self.case.troubles, fired, end, self.grace_ms)

    def worth_of(self, page: Notification) -> Worth | None:
        """Return the worth of what a page is about; None for nothing at all."""
        return worst([trouble for span in page.firing for trouble in self.troubles_of(span)])

    def first_message(self, trouble: Trouble, rules: Iterable[Rule]) -> int | None:
        """Return how long after a trouble's begin one of the rules was in a message about it."""
        wanted = set(map(id, rules))
        times = [
            each.at_ms
            for each in self.sent
            if each.reason != "resolved" and trouble.begin_ms <= each.at_ms <= trouble.end_ms + self.grace_ms
            and any(id(span.rule) in wanted and trouble in self.troubles_of(span) for span in each.firing)
        ]  # fmt: skip
        return min(times) - trouble.begin_ms if times else None

    def paged(self, trouble: Trouble) -> bool:
        """Whether somebody was woken for a trouble."""
        rules = {id(span.rule): span.rule for span in self.evaluated.spans if wakes(span.rule)}
        return self.first_message(trouble, rules.values()) is not None


@dataclass(frozen=True)
class Rate:
    """Events per week with a 95 % interval."""

    per_week: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class RuleScore:
    """What one rule did over all cases."""

    rule: Rule
    seen: int
    """Troubles of the rule's own severity, or worse, that it told of."""
    worthy: int
    to_message_s: tuple[float, ...]
    """How long it took, trouble by trouble."""
    false: Rate
    """Stays that no trouble explains."""
    needless: int
    """Stays that only harmless troubles explain."""
    stays: int
    flaps: int
    """Times that it ended and fired again within one trouble."""
    reset_s: tuple[float, ...]
    """How long it still fired after a trouble's end."""
    never: bool
    """Whether it was never even pending."""


@dataclass(frozen=True)
class Backtest:
    """The answer for all rules together, and for each."""

    rules: tuple[RuleScore, ...]
    recall: dict[Worth, tuple[int, int]]
    """By worth of the trouble: how many of how many were told of; a page for `page`, any message for `ticket`."""
    to_page_s: tuple[float, ...]
    pages: int
    messages: int
    firing: int
    """Alerts that fired, before grouping and inhibition."""
    false_pages: Rate
    needless_pages: Rate
    weeks: float
    cases: int


def judge(
    file: RuleFile,
    case: Case,
    *,
    routing: Routing | None = None,
    interval_ms: int = 60_000,
    release: Release = 2,
    grace_ms: int = GRACE_MS,
) -> Judged:
    """Evaluate rules over a case, and send what Alertmanager would."""
    evaluated = evaluate_rules(file, case.store, 0, case.end_ms, interval_ms=interval_ms, release=release)
    sent = notifications(evaluated.spans, routing or Routing(), case.end_ms)
    return Judged(case, evaluated, tuple(sent), grace_ms)


def backtest(file: RuleFile, judged: Sequence[Judged]) -> Backtest:
    """Score rules over judged cases."""
    span_ms = sum(one.case.end_ms for one in judged)
    all_pages = [(one, page) for one in judged for page in one.pages]
    false = [sum(one.worth_of(page) is None for page in one.pages) for one in judged]
    needless = [sum(one.worth_of(page) == "harmless" for page in one.pages) for one in judged]
    lengths = [one.case.end_ms for one in judged]
    waking = [rule for rule in file.alerts if wakes(rule)]
    told: dict[Worth, list[int | None]] = {"page": [], "ticket": []}
    for one in judged:
        for trouble in one.case.troubles:
            if trouble.worth != "harmless":
                told[trouble.worth].append(
                    one.first_message(trouble, waking if trouble.worth == "page" else file.alerts)
                )
    return Backtest(
        rules=tuple(_score(rule, judged) for rule in file.alerts),
        recall={worth: (sum(each is not None for each in found), len(found)) for worth, found in told.items()},
        to_page_s=tuple(each / 1000 for each in told["page"] if each is not None),
        pages=len(all_pages),
        messages=sum(len(one.sent) for one in judged),
        firing=sum(span.fired_ms is not None for one in judged for span in one.evaluated.spans),
        false_pages=rate(false, lengths),
        needless_pages=rate(needless, lengths),
        weeks=span_ms / WEEK_MS,
        cases=len(judged),
    )


def _score(rule: Rule, judged: Sequence[Judged]) -> RuleScore:
    worths = ("page",) if wakes(rule) else ("page", "ticket")
    waits = [
        one.first_message(trouble, [rule]) for one in judged for trouble in one.case.troubles if trouble.worth in worths
    ]
    stays = [(one, span) for one in judged for span in one.evaluated.of(rule) if span.fired_ms is not None]
    false = [sum(not one.troubles_of(span) for other, span in stays if other is one) for one in judged]
    return RuleScore(
        rule=rule,
        seen=sum(wait is not None for wait in waits),
        worthy=len(waits),
        to_message_s=tuple(wait / 1000 for wait in waits if wait is not None),
        false=rate(false, [one.case.end_ms for one in judged]),
        needless=sum(worst(one.troubles_of(span)) == "harmless" for one, span in stays),
        stays=len(stays),
        flaps=sum(_flaps(rule, one) for one in judged),
        reset_s=tuple(reset for one in judged for reset in _resets(rule, one)),
        never=not any(one.evaluated.of(rule) for one in judged),
    )


def _flaps(rule: Rule, one: Judged) -> int:
    """Return how often an alert, ended once, fired again about the same trouble."""
    seen: dict[tuple[object, Trouble], int] = {}
    for span in one.evaluated.of(rule):
        if span.fired_ms is not None:
            for trouble in one.troubles_of(span)[:1]:
                seen[span.labels, trouble] = seen.get((span.labels, trouble), 0) + 1
    return sum(count - 1 for count in seen.values())


def _resets(rule: Rule, one: Judged) -> list[float]:
    """Return for each trouble that the rule told of how long after its end the last stay was over."""
    last: dict[Trouble, int] = {}
    for span in one.evaluated.of(rule):
        if span.fired_ms is not None and span.ended_ms is not None:
            for trouble in one.troubles_of(span)[:1]:
                last[trouble] = max(last.get(trouble, 0), span.ended_ms)
    return [max(0, ended - trouble.end_ms) / 1000 for trouble, ended in last.items()]


def rate(counts: Sequence[int], lengths_ms: Sequence[int]) -> Rate:
    """Return counts per week with a 95 % interval: over the cases where there are five or more, else of one Poisson count."""
    from scipy import stats

    weeks, total = sum(lengths_ms) / WEEK_MS, sum(counts)
    if not weeks:
        return Rate(0.0, 0.0, math.inf, total)
    low = float(stats.chi2.ppf(0.025, 2 * total)) / 2 if total else 0.0
    high = float(stats.chi2.ppf(0.975, 2 * total + 2)) / 2
    if len(counts) >= 5 and total:
        each = np.asarray(counts) / (np.asarray(lengths_ms) / WEEK_MS)
        half = float(stats.t.ppf(0.975, len(counts) - 1)) * float(each.std(ddof=1)) / math.sqrt(len(counts))
        mean = float(each.mean())
        # Cases that are all alike would give no interval at all: the Poisson one is the least there is.
        low, high = min(low, max(0.0, (mean - half) * weeks)), max(high, (mean + half) * weeks)
    return Rate(total / weeks, low / weeks, high / weeks, total)
