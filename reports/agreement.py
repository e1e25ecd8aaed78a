"""Judges a prediction against what was observed: `agrees`, `differs` or `cannot tell`, by one rule for each kind of figure.

The prediction, the runs and the replications with the observed instants come from the caller; nothing here runs an engine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import stats

from rundata.backlog import STEP_NS
from rundata.measurement import Measurement
from rundata.replications import Estimate, bounds_json, finite
from scenarios.expectations import BEFORE_FAULTS, IndicatorName, IndicatorUnit, parse_indicator
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

Outcome = Literal["agrees", "differs", "cannot tell"]
Bounds = tuple[float, float]

TOLERANCES: Mapping[str, float] = {
    "consumed.saturated": 0.05,
    "consumed.windows": 0.05,  # of the series, in total absolute difference
    "latency.p50": 0.05,
    "latency.p95": 0.10,
    "latency.p99": 0.15,
    "lag.max": 0.05,
    "drain_time": 0.05,
}
"""By indicator and statistic; the scenario's `agreement` replaces them, and what has none is judged by its interval alone."""
WIDEST = 1.3
"""How many times as wide as the mechanism's own spread an interval may be before agreeing with it says nothing."""
ENOUGH_REPEATS = 10
"""From so many live runs on, their own spread takes the place of replications at the fitted parameters."""
_QUANTILES = ("p50", "p95", "p99")
_LEVELS = ("lag", "committed_lag")
"""Counted in events, and yet amounts: their differences are relative and they have tolerances."""
_WHOLE = ("max", "end")
"""Of these levels one run's figure is a whole number of events."""
_RATES = ("produced", "consumed")
"""Events of the measured time, over its length."""


@dataclass(frozen=True)
class Given:
    """The verdict with the random instants that were observed (fence, election, assignment) put into the model."""

    predicted: float | None
    interval: Bounds | None
    difference: float | None
    tolerance: float | None
    verdict: Outcome
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `given` in `verify --json`."""
        return {
            "predicted": finite(self.predicted),
            "interval": bounds_json(self.interval),
            "difference": finite(self.difference),
            "tolerance": self.tolerance,
            "verdict": self.verdict,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Verdict:
    """What became of one predicted figure."""

    name: str
    unit: IndicatorUnit
    predicted: float | None
    interval: Bounds | None
    """Where 95 % of single runs fall, or for a count 99.9 %."""
    observed: float | None
    """The first run."""
    repeats: tuple[float | None, ...]
    """All runs, the first one included."""
    difference: float | None
    """observed/predicted - 1; for a count observed - predicted."""
    tolerance: float | None
    """None where the interval alone decides."""
    verdict: Outcome
    reason: str
    """The rule that decided, in words."""
    affected: bool
    """Whether a fault lies in what it covers."""
    given: Given | None = None
    sources: Mapping[str, float] | None = None
    """Shares of the difference that come from workload, profile, model and chance."""

    def to_json(self) -> dict[str, Any]:
        """Return the shape of one entry of `agreement` in `verify --json`."""
        return {
            "predicted": finite(self.predicted),
            "interval": bounds_json(self.interval),
            "observed": finite(self.observed),
            "repeats": [finite(value) for value in self.repeats],
            "difference": finite(self.difference),
            "tolerance": self.tolerance,
            "verdict": self.verdict,
            "sources": dict(self.sources) if self.sources is not None else None,
            "given": self.given.to_json() if self.given else None,
            "unit": self.unit,
            "reason": self.reason,
        }


def agreement_json(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """Return `agreement` as `verify --json` prints it."""
    return {name: verdict.to_json() for name, verdict in verdicts.items()}


def judged_names(scenario: Scenario) -> list[str]:
    """Return the figures that get a verdict: of everything first, then of each group and topic."""
    before = [BEFORE_FAULTS] if scenario.faults else []
    names = ["produced", "consumed", "consumed.saturated"]
    if not scenario.faults:  # when a fault shifts the series, its windows say no more than its times do
        names.append("consumed.windows")
    names += [f"latency[{window}].{q}" for window in before for q in _QUANTILES]
    names += [f"latency.{q}" for q in _QUANTILES]
    names += ["lag.max", "drain_time", *(f"gap[{topic}]" for topic in _read_topics(scenario))]
    names += ["lost", "passed", "duplicate_effects", "dead_lettered"]
    if len(scenario.groups) < 2:  # then the group's figures are those of everything
        return names
    for group in scenario.groups:
        names += [f"latency[{group}, {window}].{q}" for window in before for q in _QUANTILES]
        names += [f"latency[{group}].{q}" for q in _QUANTILES]
        names += [
            f"{kind}[{group}]" for kind in ("consumed", "gap", "drain_time", "duplicate_effects", "dead_lettered")
        ]
        names += [f"lag[{group}].max"]
    return names


def _read_topics(scenario: Scenario) -> list[str]:
    return [topic for topic in scenario.topics if any(topic in group.topics for group in scenario.groups.values())]


def is_affected(scenario: Scenario, name: str) -> bool:
    """Return whether a fault lies in what the indicator covers: in a scenario with faults all but `before faults`."""
    return bool(scenario.faults) and parse_indicator(name).narrowed != BEFORE_FAULTS


def is_count(name: IndicatorName) -> bool:
    """Return whether the indicator counts events, so that its difference is absolute."""
    return name.unit == "events" and name.kind not in _LEVELS


def tolerance_of(scenario: Scenario, name: str) -> float | None:
    """Return the relative tolerance of an indicator: the scenario's for it, for it without `where`, or the default."""
    indicator = parse_indicator(name)
    said = {str(parse_indicator(key)): share for key, share in scenario.agreement.items()}
    for key in (str(indicator), str(replace(indicator, where=None))):
        if key in said:
            return said[key]
    return TOLERANCES.get(str(IndicatorName(indicator.kind, statistic=indicator.statistic)))


def step_of(scenario: Scenario, name: IndicatorName) -> float:
    """Return the step in which an indicator goes, in its own unit: what differs by one may not differ at all. 0 where it goes in none."""
    if name.kind == "drain_time":
        return STEP_NS / SECOND
    if name.kind in _LEVELS and name.statistic in _WHOLE:
        return 1.0
    if name.kind in _RATES and not name.statistic:
        return SECOND / scenario.measured_ns
    return 0.0


def judge(
    scenario: Scenario,
    predicted: Mapping[str, Estimate],
    observed: Mapping[str, Measurement],
    repeats: Sequence[Mapping[str, Measurement]] = (),
    *,
    given: Mapping[str, Estimate] | None = None,
    fitted: Mapping[str, Estimate] | None = None,
    limited: str | None = None,
    doubts: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
    sources: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Verdict]:
    """Return a verdict on each judged figure that was predicted and looked for.

    `repeats` are the further live runs of the same plan; `fitted` comes from replications at the fitted parameters, without
    their uncertainty; `given` from replications with the observed instants; `limited` says why the run says nothing, `doubts` by
    figure why a difference would not be the model's: these are other brokers, or the host is not as fast as when they were measured.
    """
    runs = [observed, *repeats]
    verdicts = {}
    for name in names if names is not None else judged_names(scenario):
        if name not in predicted or name not in observed:
            continue
        case = _Case(
            name=parse_indicator(name),
            predicted=predicted[name],
            observed=observed[name],
            repeats=tuple(run[name].value for run in runs if name in run),
            affected=is_affected(scenario, name),
            tolerance=tolerance_of(scenario, name),
            step=step_of(scenario, parse_indicator(name)),
            fitted=(fitted or {}).get(name),
            limited=limited,
        )
        verdict = _doubted(_verdict(case, (given or {}).get(name)), (doubts or {}).get(name))
        verdicts[name] = replace(verdict, sources=(sources or {}).get(name))
    return verdicts


def overall(verdicts: Mapping[str, Verdict]) -> Outcome:
    """Return the worst verdict: `differs` before `cannot tell` before `agrees`; without any `cannot tell`."""
    found = {verdict.verdict for verdict in verdicts.values()}
    for outcome in ("differs", "cannot tell"):
        if outcome in found:
            return outcome
    return "agrees" if found else "cannot tell"


# ---- one figure ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    name: IndicatorName
    predicted: Estimate
    observed: Measurement
    repeats: tuple[float | None, ...]
    affected: bool
    tolerance: float | None
    step: float
    fitted: Estimate | None
    limited: str | None


def _verdict(case: _Case, given: Estimate | None) -> Verdict:
    count = is_count(case.name)
    by_interval = count or case.affected
    outcome, reason = _outcome(case)
    return Verdict(
        name=str(case.name),
        unit=case.name.unit,
        predicted=case.predicted.value,
        interval=case.predicted.interval999 if count else case.predicted.interval,
        observed=case.observed.value,
        repeats=case.repeats,
        difference=_difference(case),
        tolerance=None if by_interval else case.tolerance,
        verdict=outcome,
        reason=reason,
        affected=case.affected,
        given=_given(case, given) if case.affected and given is not None else None,
    )


def _doubted(verdict: Verdict, doubt: str | None) -> Verdict:
    """Return a verdict that blames nobody for a difference which may have another cause."""
    if doubt is None:
        return verdict
    given = verdict.given
    if given is not None and given.verdict == "differs":
        given = replace(given, verdict="cannot tell", reason=f"{doubt} ({given.reason})")
    if verdict.verdict != "differs":
        return replace(verdict, given=given)
    return replace(verdict, verdict="cannot tell", reason=f"{doubt} ({verdict.reason})", given=given)


def _difference(case: _Case) -> float | None:
    if case.predicted.series and case.observed.series:
        return total_difference(case.observed.series, case.predicted.series)
    return difference(case.name, case.observed.value, case.predicted.value)


def _outcome(case: _Case) -> tuple[Outcome, str]:
    if case.predicted.series and case.observed.series and not case.limited:
        return _by_series(case.observed.series, case.predicted, case.tolerance)
    early = _cannot_compare(case.predicted, case.observed, case.limited)
    if early is not None:
        return early
    assert case.observed.value is not None and case.predicted.value is not None
    if is_count(case.name):
        return _by_bounds(case.observed.value, case.predicted, case.fitted)
    if case.affected:
        return _as_predicted(case)
    return _by_tolerance(case, case.observed.value, case.predicted)


def _given(case: _Case, given: Estimate) -> Given:
    early = _cannot_compare(given, case.observed, case.limited)
    count = is_count(case.name)
    if early is not None:
        outcome, reason = early
    elif count:
        assert case.observed.value is not None
        outcome, reason = _by_bounds(case.observed.value, given, None)
    else:
        assert case.observed.value is not None
        outcome, reason = _by_tolerance(case, case.observed.value, given)
    return Given(
        predicted=given.value,
        interval=given.interval999 if count else given.interval,
        difference=difference(case.name, case.observed.value, given.value),
        tolerance=None if count else case.tolerance,
        verdict=outcome,
        reason=reason,
    )


def difference(name: IndicatorName, observed: float | None, predicted: float | None) -> float | None:
    """Return observed/predicted - 1, or observed - predicted of counts; None where it says nothing."""
    if observed is None or predicted is None:
        return None
    if is_count(name):
        return observed - predicted
    if predicted == 0:
        return 0.0 if observed == 0 else None
    return observed / predicted - 1


def _cannot_compare(predicted: Estimate, observed: Measurement, limited: str | None) -> tuple[Outcome, str] | None:
    """Return the outcome where one side has no number to compare, else None."""
    if limited:
        return "cannot tell", f"the run says nothing: {limited}"
    if observed.value is not None and predicted.value is not None:
        return None
    never_observed = observed.value is None and observed.at_least is not None
    never_predicted = predicted.value is None and predicted.at_least is not None
    if never_observed and never_predicted:
        return "agrees", "predicted never to be reached, and it was not"
    if never_observed and predicted.value is not None:
        return _against_never(predicted, observed.at_least)
    if observed.value is None and predicted.value is None and observed.reason and observed.reason == predicted.reason:
        return "agrees", f"on neither side: {observed.reason}"
    if observed.value is None:
        return "cannot tell", f"not measured: {observed.reason or 'no value'}"
    return "cannot tell", "the prediction has no value" + (
        " (never reached in most replications)" if never_predicted else ""
    )


def _against_never(predicted: Estimate, at_least: float | None) -> tuple[Outcome, str]:
    top = predicted.interval999[1] if predicted.interval999 is not None else None
    if top is not None and math.isfinite(top) and at_least is not None and at_least > top:
        return "differs", f"never reached: at least {at_least:.4g}, beyond the 99.9 % interval"
    return "cannot tell", "never reached in the run, which ended too early to tell"


def _by_bounds(observed: float, predicted: Estimate, fitted: Estimate | None) -> tuple[Outcome, str]:
    """Judge a count: by 99.9 % bounds, which may not be wider than the mechanism's own."""
    bounds = predicted.interval999
    if bounds is None:
        return "cannot tell", "the prediction has no 99.9 % bounds"
    if not _inside(observed, bounds):
        return "differs", "outside the 99.9 % bounds"
    if fitted is not None and fitted.interval999 is not None and not _inside(observed, fitted.interval999):
        return "cannot tell", "inside only because the profile is uncertain: outside the mechanism's own 99.9 % bounds"
    return "agrees", "inside the 99.9 % bounds"


def _as_predicted(case: _Case) -> tuple[Outcome, str]:
    """Judge a figure with a fault in it: by the interval, which may not be wider than 1.3 times the mechanism's spread."""
    observed, predicted = case.observed.value, case.predicted
    assert observed is not None
    if predicted.interval is None:
        return "cannot tell", "the prediction has no interval; it needs several replications"
    if _inside(observed, predicted.interval):
        too_wide = _too_wide(predicted.interval, case)
        return ("cannot tell", too_wide) if too_wide else ("agrees", "inside the 95 % interval")
    if predicted.interval999 is not None and not _inside(observed, predicted.interval999):
        return "differs", "outside the 99.9 % interval"
    return "cannot tell", "outside the 95 % interval, inside the 99.9 % one"


def _too_wide(interval: Bounds, case: _Case) -> str | None:
    measured = [value for value in case.repeats if value is not None]
    if len(measured) >= ENOUGH_REPEATS:
        own, whose = spread(measured), f"that of {len(measured)} live runs"
    elif case.fitted is not None and case.fitted.interval is not None:
        own, whose = case.fitted.interval[1] - case.fitted.interval[0], "at the fitted parameters"
    else:
        return None
    width = interval[1] - interval[0]
    if width <= WIDEST * own:
        return None
    digits = 3 if width < 2 * own else 2  # 1.32 times, where 1.3 may be
    times = f"{width / own:.{digits}g} times as wide as" if own > 0 else "wider than"
    return f"inside an interval too wide to count: {times} {whose}, where {WIDEST} times may be"


def spread(values: Sequence[float]) -> float:
    """Return the width of the interval in which 95 % of further runs fall (normal, from so few runs)."""
    count = len(values)
    quantile = float(stats.t.ppf(0.975, count - 1))
    return 2 * quantile * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)


def _by_tolerance(case: _Case, observed: float, predicted: Estimate) -> tuple[Outcome, str]:
    """Judge by tolerance: the difference to each value of the interval counts, since a single run may be any of them."""
    interval, tolerance = predicted.interval, case.tolerance
    if interval is None:
        return "cannot tell", "the prediction has no interval; it needs several replications"
    if tolerance is None:
        return _by_interval(observed, interval, predicted.interval999, case.step)
    inside = _inside(observed, interval)
    beyond = predicted.interval999 is not None and not _inside(observed, predicted.interval999)
    assert predicted.value is not None
    margin, within = _margin(case, tolerance, predicted.value)
    low, high = _of_runs(case.name, interval)
    half_width = (high - low) / 2
    if inside and round(half_width, 9) <= 2 * margin:
        return "agrees", "inside the 95 % interval"
    farthest = max(abs(observed - low), abs(observed - high))
    if round(farthest, 9) <= margin:
        return "agrees", f"certainly within {within}"
    if beyond and _off(observed, interval) > margin:
        return "differs", f"outside the 99.9 % interval, and certainly more than {within} off"
    if inside:
        return (
            "cannot tell",
            f"inside an interval too wide to count: its half is more than twice the tolerance of {within}",
        )
    return "cannot tell", f"outside the 95 % interval, but not certainly more than {within} off"


def _by_interval(observed: float, interval: Bounds, wide: Bounds | None, step: float) -> tuple[Outcome, str]:
    """Judge what has no tolerance: by its intervals, one step beyond which is not outside."""
    if _inside(observed, interval):
        return "agrees", "inside the 95 % interval"
    step = round(step, 9)  # as differences are
    if _off(observed, interval) <= step:
        return "agrees", "within one event of the 95 % interval"
    if wide is not None and _off(observed, wide) > step:
        return "differs", "outside the 99.9 % interval"
    return "cannot tell", "outside the 95 % interval, inside the 99.9 % one"


def _margin(case: _Case, tolerance: float, predicted: float) -> tuple[float, str]:
    """Return a tolerance in the indicator's own unit, at least its step, and in words."""
    share = tolerance * abs(predicted)
    if share >= case.step:
        return share, f"{tolerance:.0%}"
    return case.step, f"{case.step:g} {'event' if case.name.unit == 'events' else case.name.unit}"


def _of_runs(name: IndicatorName, interval: Bounds) -> Bounds:
    """Return the least and the most that a run inside an interval can show: a quantile may lie between whole numbers, where no run is."""
    low, high = interval
    if name.kind not in _LEVELS or name.statistic not in _WHOLE or not math.isfinite(high):
        return interval
    low, high = math.ceil(low), math.floor(high)
    return (low, high) if low <= high else interval


def total_difference(observed: Sequence[float], predicted: Sequence[float]) -> float | None:
    """Return the total absolute difference of two series, relative to the predicted total; what one lacks counts in full."""
    count = max(len(observed), len(predicted))
    one, other = (np.pad(np.asarray(each, np.float64), (0, count - len(each))) for each in (observed, predicted))
    return float(np.abs(one - other).sum() / other.sum()) if other.sum() else None


def _by_series(observed: Sequence[float], predicted: Estimate, tolerance: float | None) -> tuple[Outcome, str]:
    """Judge a series as its total: nearest and farthest over all values that the windows' intervals allow."""
    if (
        tolerance is None
        or len(predicted.series_interval) != len(predicted.series)
        or len(observed) != len(predicted.series)
    ):
        return "cannot tell", "the prediction has no interval for each window"
    low, high = np.asarray(predicted.series_interval).T
    seen, total = np.asarray(observed), sum(predicted.series)
    nearest = float(np.maximum(np.maximum(low - seen, seen - high), 0).sum())
    farthest = float(np.maximum(np.abs(seen - low), np.abs(seen - high)).sum())
    if nearest == 0 and float((high - low).sum()) / 2 <= 2 * tolerance * total:
        return "agrees", "every window inside its 95 % interval"
    if farthest <= tolerance * total:
        return "agrees", f"certainly within {tolerance:.0%} in total"
    if nearest > tolerance * total:
        return "differs", f"certainly more than {tolerance:.0%} off in total"
    return "cannot tell", f"neither certainly within {tolerance:.0%} in total nor certainly outside"


def _inside(value: float, bounds: Bounds) -> bool:
    return bounds[0] <= value <= bounds[1]


def _off(value: float, bounds: Bounds) -> float:
    """Return how far a value lies outside, 0 inside; what differs in the tenth place is equal."""
    return round(max(bounds[0] - value, value - bounds[1], 0.0), 9)
