"""Multiwindow burn-rate rules of an objective: their arithmetic, the rules themselves, and when they cannot work.

A rule fires when the bad share of a long and of a short window both exceed `factor * (1 - target)`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.alerts.rules import Rule, RuleGroup, duration_text
from reports.alerts.service import BOUNDS_S
from scenarios.quantities import DAY, MILLISECOND, SECOND, format_duration
from scenarios.schema import Objective, Scenario

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
INERT_ABOVE = 0.5
"""A bad share that hardly ever lasts: a rule that needs more of it is inert."""
LOW_BUDGET = 0.2
LOW_BUDGET_FACTOR = 5.0


@dataclass(frozen=True)
class BurnWindow:
    """One rule: how urgent, its two windows, and the factor."""

    severity: str
    long_ms: int
    short_ms: int
    factor: float
    for_ms: int = 0

    def threshold(self, target: float) -> float:
        """Return the bad share above which both windows must lie."""
        return self.factor * (1 - target)


def factor(budget_share: float, period_ns: int, long_ms: int) -> float:
    """Return the burn rate that spends a share of the period's budget in the long window."""
    return budget_share * period_ns / (long_ms * MILLISECOND)


def standard_windows(period_ns: int = 30 * DAY) -> tuple[BurnWindow, ...]:
    """Return the usual four: pages for 2 % of the budget in an hour and 5 % in six, tickets for 10 % in a day and in three."""
    rows = (
        ("page", HOUR_MS, 5 * MINUTE_MS, 0.02),
        ("page", 6 * HOUR_MS, 30 * MINUTE_MS, 0.05),
        ("ticket", DAY_MS, 2 * HOUR_MS, 0.10),
        ("ticket", 3 * DAY_MS, 6 * HOUR_MS, 0.10),
    )
    return tuple(
        BurnWindow(severity, long, short, factor(share, period_ns, long)) for severity, long, short, share in rows
    )


def detection_s(window: BurnWindow, target: float, bad_share: float) -> float:
    """Return how long a constant bad share lasts until the rule fires; inf if it never does."""
    limit = window.threshold(target)
    return limit * window.long_ms / 1000 / bad_share if bad_share > limit else math.inf


def reset_s(window: BurnWindow, target: float, bad_share: float) -> float:
    """Return how long the rule still fires after a constant bad share has ended."""
    return window.short_ms / 1000 * (1 - window.threshold(target) / bad_share)


def fewest_events(window: BurnWindow, target: float) -> float:
    """Return how many events the long window must hold lest a single bad one trip the rule."""
    return 1 / window.threshold(target)


# ---- warnings --------------------------------------------------------------------------------------------------------


def window_warnings(name: str, objective: Objective, window: BurnWindow, rate_hz: float | None = None) -> list[str]:
    """Return why a rule cannot work for an objective: unreachable, inert, or tripped by one event."""
    limit = window.threshold(objective.target)
    said = f"{name}: {window.factor:.3g} times over {duration_text(window.long_ms)} needs {limit:.1%} bad events"
    if limit >= 1:
        needed = 1 - 1 / window.factor
        return [
            f"{said}, which cannot be: unreachable with a target of {objective.target * 100:.6g}%, reachable above {needed:.2%}"
        ]
    found = []
    if limit > INERT_ABOVE:
        late = detection_s(window, objective.target, 1.0) / 60
        found.append(f"{said}: inert, for it stays silent until {late:.0f} min into a total outage")
    if rate_hz is not None:
        held, needed = rate_hz * window.long_ms / 1000, fewest_events(window, objective.target)
        if held < needed:
            found.append(
                f"{name}: low traffic, one bad event trips the rule over {duration_text(window.long_ms)}: "
                f"the window holds {held:.0f} events, and {math.ceil(needed)} are needed"
            )
    return found


def objective_warnings(
    scenario: Scenario, windows: Sequence[BurnWindow] | None = None, rates_hz: Mapping[str, float] | None = None
) -> list[str]:
    """Return the warnings of every objective's burn-rate rules."""
    return [
        said
        for name, objective in scenario.objectives.items()
        for window in windows or standard_windows(objective.period)
        for said in window_warnings(name, objective, window, (rates_hz or {}).get(name))
    ]


# ---- rules -----------------------------------------------------------------------------------------------------------


def ratio_metric(window_ms: int) -> str:
    """Return the name under which the bad share of a window is recorded."""
    return f"objective:bad_share:rate{duration_text(window_ms)}"


def bad_share(name: str, window_ms: int) -> str:
    """Return PromQL for the bad share of an objective's events, from counters that know every deadline."""
    within, chosen = f"[{duration_text(window_ms)}]", f'{{objective="{name}"}}'
    bad, total = f"objective_bad_events_total{chosen}", f"objective_events_total{chosen}"
    return f"sum by (objective) (rate({bad}{within})) / sum by (objective) (rate({total}{within}))"


def histogram_share(objective: Objective, window_ms: int) -> str | None:
    """Return PromQL for the share of slow events from the members' own histograms; None where no bucket ends at the threshold."""
    limit = (objective.below or 0) / SECOND
    if objective.indicator != "latency" or objective.of is None or limit not in BOUNDS_S:
        return None
    within, group = f"[{duration_text(window_ms)}]", f'group="{objective.of}"'
    good = f'sum(rate(event_latency_seconds_bucket{{{group}, le="{limit:g}"}}{within}))'
    return f"1 - {good} / sum(rate(event_latency_seconds_count{{{group}}}{within}))"


def burn_group(
    name: str,
    objective: Objective,
    windows: Sequence[BurnWindow] | None = None,
    carried: Mapping[str, str] | None = None,
) -> RuleGroup:
    """Return an objective's rules: the bad share of each window recorded, and an alert for each pair of windows.

    `carried` are annotations for every alert: owner and runbook.
    """
    windows = tuple(windows or standard_windows(objective.period))
    spans = sorted({span for window in windows for span in (window.long_ms, window.short_ms)} | {HOUR_MS})
    recorded = [
        Rule(record=ratio_metric(span), expr=bad_share(name, span), labels={"objective": name}) for span in spans
    ]
    alerts = [_alert(name, objective, window, carried or {}) for window in windows]
    return RuleGroup(name=f"objective-{name}", rules=(*recorded, *alerts, _low_budget(name, objective, carried or {})))


def _alert(name: str, objective: Objective, window: BurnWindow, carried: Mapping[str, str]) -> Rule:
    limit, chosen = f"({window.factor:.12g} * {1 - objective.target:.12g})", f'{{objective="{name}"}}'
    both = [f"{ratio_metric(span)}{chosen} > {limit}" for span in (window.long_ms, window.short_ms)]
    return Rule(
        alert="ErrorBudgetBurn",
        expr=" and ".join(both),
        for_ms=window.for_ms,
        labels={"severity": window.severity, "objective": name, "window": duration_text(window.long_ms)},
        annotations={
            "summary": f"{name} spends its error budget {window.factor:.3g} times too fast over {duration_text(window.long_ms)}",
            **carried,
        },
    )


def _low_budget(name: str, objective: Objective, carried: Mapping[str, str]) -> Rule:
    """Return the rule that pages at five times the allowed burn once little of the period's budget is left."""
    period, allowed = duration_text(objective.period // MILLISECOND), f"{1 - objective.target:.12g}"
    chosen = f'{{objective="{name}"}}'
    spent = " / ".join(
        f"sum by (objective) (increase({metric}{chosen}[{period}]))"
        for metric in ("objective_bad_events_total", "objective_events_total")
    )
    return Rule(
        alert="ErrorBudgetLow",
        expr=f"{ratio_metric(HOUR_MS)}{chosen} > ({LOW_BUDGET_FACTOR:g} * {allowed}) and 1 - {spent} / {allowed} < {LOW_BUDGET:g}",
        for_ms=2 * MINUTE_MS,
        labels={"severity": "page", "objective": name},
        annotations={
            "summary": f"{name} burns {LOW_BUDGET_FACTOR:g} times too fast, and less than {LOW_BUDGET:.0%} of the budget of "
            f"{format_duration(objective.period)} is left",
            **carried,
        },
    )
