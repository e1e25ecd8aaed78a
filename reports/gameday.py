"""A game day's hypotheses, stop rules and verdicts: thresholds come from the prediction, and one evaluator judges both it and a live run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rundata.measurement import Measurement
from rundata.replications import Estimate
from scenarios.expectations import parse_expectation
from scenarios.schema import Scenario

Floats = NDArray[np.float64]
STEP_S = 0.5
"""So often a live run tells how it goes, and a prediction is looked at."""
MOST_FALSE_STOPS = 0.05
SILENCE_S = 15.0
_WORSENS_S = 5.0
_LEAST_ROOM = 50
"""Events of lag that no rule minds: a moment's arrivals."""
Outcome = Literal["confirmed", "refuted", "inconclusive", "aborted"]


@dataclass(frozen=True)
class Hypothesis:
    """What should hold, what the model says of it, and how likely it finds that."""

    id: str
    text: str
    """An expectation, such as `gap[orders] < 13s`."""
    predicted: float | None
    interval: tuple[float | None, float | None] | None
    unit: str
    chance: float
    """The share of predicted runs in which it holds."""


def hypotheses(
    scenario: Scenario, measured: Sequence[Mapping[str, Measurement]], estimates: Mapping[str, Estimate]
) -> list[Hypothesis]:
    """Return the scenario's expectations as hypotheses."""
    from rundata.expect import holds

    found = []
    for number, expectation in enumerate(scenario.expect, 1):
        name = str(expectation.indicator)
        estimate = estimates.get(name)
        held = [name in one and holds(expectation, one[name]) for one in measured]
        interval = None if estimate is None or estimate.interval is None else tuple(map(_finite, estimate.interval))
        found.append(
            Hypothesis(
                f"H{number}", expectation.text, estimate.value if estimate else None, interval,  # type: ignore[arg-type]
                expectation.indicator.unit, sum(held) / len(held),
            )
        )  # fmt: skip
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# ---- stop rules ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """When a live run is stopped: limits above what the prediction ever shows, and what no prediction is needed for."""

    lag_above: Mapping[str, float]
    """By group."""
    band_high: Mapping[str, Floats]
    """By group, every half second: the highest lag that any predicted run had around that instant."""
    failed_above: float
    chance: float
    """P(stop | as predicted): the share of predicted runs that the rules would have stopped."""
    at_most: float
    """Its upper bound with 95 % confidence."""

    def to_json(self) -> dict[str, Any]:
        """Return the rules as a file holds them."""
        return {
            "lag_above": dict(self.lag_above),
            "band_high": {name: [round(float(x), 1) for x in band] for name, band in self.band_high.items()},
            "worsening_for_s": _WORSENS_S,
            "failed_above": self.failed_above,
            "silence_s": SILENCE_S,
            "chance_if_as_predicted": self.chance,
            "at_most_with_95_percent": self.at_most,
        }


def rules_of(document: Mapping[str, Any]) -> Rules:
    """Return rules from their file."""
    return Rules(
        document["lag_above"],
        {name: np.array(band, np.float64) for name, band in document["band_high"].items()},
        document["failed_above"],
        document["chance_if_as_predicted"],
        document["at_most_with_95_percent"],
    )


@dataclass(frozen=True, eq=False)
class Course:
    """How one run went: lag by group every half second from 0, and how many sends failed in the end."""

    lag: Mapping[str, Floats]
    failed: float


def make_rules(courses: Sequence[Course]) -> Rules:
    """Return the tightest rules of their kind that stop at most 5 % of the runs that go as predicted.

    Half of the predicted runs fix the limits, the other half measure how often they would stop one; limits give way until that is
    rare enough.
    """
    fitted, held_back = courses[::2], courses[1::2]
    room = 1.05
    while True:
        rules = _with_room(fitted, room)
        stops = sum(first_stop(rules, course) is not None for course in held_back)
        count = len(held_back)
        if stops <= MOST_FALSE_STOPS * count or room > 100:
            return Rules(rules.lag_above, rules.band_high, rules.failed_above, stops / count, _upper(stops, count))
        room *= 1.15


def _upper(stops: int, count: int) -> float:
    """Return Clopper and Pearson's 95 % bound of a share."""
    from scipy import stats

    return 1.0 if stops >= count else float(stats.beta.ppf(0.95, stops + 1, count - stops))


def _with_room(courses: Sequence[Course], room: float) -> Rules:
    groups = list(courses[0].lag)
    high = {}
    for group in groups:
        longest = max(len(course.lag[group]) for course in courses)
        stacked = np.stack([np.pad(c.lag[group], (0, longest - len(c.lag[group]))) for c in courses])
        around = np.max(stacked, axis=0)
        # A fault that is noticed a little later is as predicted: the band holds what any run had within two seconds.
        reach = int(2 / STEP_S)
        padded = np.pad(around, reach, mode="edge")
        widened = np.max([padded[k : k + len(around)] for k in range(2 * reach + 1)], axis=0)
        high[group] = widened * room + _LEAST_ROOM
    above = {group: float(math.ceil(band.max() * room)) for group, band in high.items()}
    failed = float(math.ceil(max(course.failed for course in courses) * room * 1.5 + 20))
    return Rules(above, high, failed, 0.0, 0.0)


@dataclass(frozen=True)
class Stop:
    """A rule that fired."""

    at_s: float
    rule: str
    text: str


@dataclass
class Watch:
    """Looks at a run as it goes, with the rules, step by step."""

    rules: Rules
    _outside_since: dict[str, float] = field(default_factory=dict)
    _outside_lag: dict[str, float] = field(default_factory=dict)

    def see(self, at_s: float, lag: Mapping[str, float], failed: float) -> Stop | None:
        """Return the rule that fires at this moment."""
        if failed > self.rules.failed_above:
            return Stop(
                at_s, "failed", f"{failed:,.0f} sends failed or are unknown, more than {self.rules.failed_above:,.0f}"
            )
        for group, events in lag.items():
            limit = self.rules.lag_above.get(group, math.inf)
            if events > limit:
                return Stop(at_s, f"lag of {group}", f"lag of {group} is {events:,.0f}, more than {limit:,.0f}")
            if (stop := self._outside(at_s, group, events)) is not None:
                return stop
        return None

    def _outside(self, at_s: float, group: str, events: float) -> Stop | None:
        if events <= self.limit(group, at_s):
            self._outside_since.pop(group, None)
            return None
        began = self._outside_since.setdefault(group, at_s)
        first = self._outside_lag.setdefault(group, events) if began != at_s else self._begin(group, events)
        if at_s - began >= _WORSENS_S and events > first:
            return Stop(
                at_s,
                f"band of {group}",
                f"lag of {group} is outside its predicted band for {at_s - began:.0f} s, and worsens",
            )
        return None

    def _begin(self, group: str, events: float) -> float:
        self._outside_lag[group] = events
        return events

    def limit(self, group: str, at_s: float) -> float:
        """Return the top of the predicted band at an instant."""
        band = self.rules.band_high.get(group)
        if band is None or not len(band):
            return math.inf
        return float(band[min(max(int(at_s / STEP_S), 0), len(band) - 1)])


def first_stop(rules: Rules, course: Course) -> Stop | None:
    """Return where the rules would have stopped a run."""
    watch = Watch(rules)
    steps = max((len(lag) for lag in course.lag.values()), default=0)
    for step in range(steps):
        lag = {group: float(values[step]) if step < len(values) else 0.0 for group, values in course.lag.items()}
        if (stop := watch.see(step * STEP_S, lag, 0.0)) is not None:
            return stop
    return watch.see(steps * STEP_S, {}, course.failed)


# ---- the score -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """What became of one hypothesis."""

    hypothesis: Hypothesis
    outcome: Outcome
    observed: float | None
    inside: bool | None
    """Whether the observation lay in the predicted interval."""
    reason: str


def score(
    hypothesis: Hypothesis, measured: Mapping[str, Measurement], *, invalid: Sequence[str], stopped: str | None
) -> Scored:
    """Judge one hypothesis on a live run."""
    from rundata.expect import holds

    expectation = parse_expectation(hypothesis.text)
    found = measured.get(str(expectation.indicator))
    if stopped is not None:
        return Scored(hypothesis, "aborted", found.value if found else None, None, f"the run was stopped: {stopped}")
    if invalid:
        return Scored(hypothesis, "inconclusive", found.value if found else None, None, "; ".join(invalid))
    if found is None:
        return Scored(hypothesis, "inconclusive", None, None, "it was not measured")
    inside = _inside(hypothesis, found.value)
    if holds(expectation, found):
        return Scored(hypothesis, "confirmed", found.value, inside, "")
    return Scored(hypothesis, "refuted", found.value, inside, found.reason or "")


def _inside(hypothesis: Hypothesis, value: float | None) -> bool | None:
    if hypothesis.interval is None or value is None:
        return None
    low, high = hypothesis.interval
    return (low is None or low <= value) and (high is None or value <= high)


def share_inside(
    observed: Sequence[tuple[float, Mapping[str, float]]], low: Mapping[str, Floats], high: Mapping[str, Floats]
) -> float | None:
    """Return how much of the time the observed lag lay inside the predicted 90 % band: of a good prediction some 90 %."""
    inside, count = 0, 0
    for at_s, lag in observed:
        step = int(at_s / STEP_S)
        for group, events in lag.items():
            if group in low and 0 <= step < len(low[group]):
                count += 1
                inside += bool(math.floor(low[group][step]) <= events <= math.ceil(high[group][step]))
    return inside / count if count else None
