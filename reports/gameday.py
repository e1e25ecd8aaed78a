"""A game day's hypotheses, stop rules and verdicts: thresholds come from the prediction, and one evaluator judges both it and a live run."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
WORSENS_S = 5.0
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
                f"H{number}", expectation.text, estimate.value if estimate else None, interval,  # type: ignore[arg-type]  # two ends
                expectation.indicator.unit, sum(held) / len(held),
            )
        )  # fmt: skip
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# ---- stop rules ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """What no prediction decides: how long events may wait, how fast a backlog must be gone, what a drill may cost."""

    waiting_s: Mapping[str, float] = field(default_factory=dict)
    """By group: half of the shortest retention that it reads."""
    drain_lag: Mapping[str, float] = field(default_factory=dict)
    """By group: the backlog that its members just work off within the recovery objective."""
    recover_s: float = 0.0
    budget_events: Mapping[str, float] = field(default_factory=dict)
    """By objective: so many bad events are the share of its budget that the day may cost."""


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
    bad_above: Mapping[str, float] = field(default_factory=dict)
    """By objective: bad events of the whole run."""
    waiting_above_s: Mapping[str, float] = field(default_factory=dict)
    """By group: the age of the oldest event that waits."""
    drain_lag: Mapping[str, float] = field(default_factory=dict)
    """By group: a backlog above it is not worked off within the recovery objective."""
    recover_s: float = 0.0
    left_out: tuple[str, ...] = ()
    """Rules that more than one in twenty predicted runs would have met, and why they are none."""

    def to_json(self) -> dict[str, Any]:
        """Return the rules as a file holds them."""
        return {
            "lag_above": dict(self.lag_above),
            "band_high": {name: [round(float(x), 1) for x in band] for name, band in self.band_high.items()},
            "worsening_for_s": WORSENS_S,
            "failed_above": self.failed_above,
            "bad_above": dict(self.bad_above),
            "waiting_above_s": dict(self.waiting_above_s),
            "drain_lag": dict(self.drain_lag),
            "recover_within_s": self.recover_s,
            "left_out": list(self.left_out),
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
        document["bad_above"],
        document["waiting_above_s"],
        document["drain_lag"],
        document["recover_within_s"],
        tuple(document["left_out"]),
    )


@dataclass(frozen=True, eq=False)
class Course:
    """How one run went: lag by group every half second from 0, and what it came to in the end."""

    lag: Mapping[str, Floats]
    failed: float
    """Sends that failed or whose outcome is unknown."""
    bad: Mapping[str, float] = field(default_factory=dict)
    """By objective: bad events."""
    waiting_s: Mapping[str, float] = field(default_factory=dict)
    """By group: the greatest age of the oldest event that waits."""


def make_rules(courses: Sequence[Course], limits: Limits | None = None) -> Rules:
    """Return the tightest rules of their kind that stop at most 5 % of the runs that go as predicted.

    Half of the predicted runs fix the limits, the other half measure how often they would stop one; limits give way until that is
    rare enough. Limits that are given do not give way: one that the prediction often meets is left out, and says so.
    """
    fitted, held_back = courses[::2], courses[1::2]
    given, left_out = _that_fit(courses, limits or Limits())
    room = 1.05
    while True:
        rules = _with_room(fitted, room, given)
        stops = sum(first_stop(rules, course) is not None for course in held_back)
        count = len(held_back)
        if stops <= MOST_FALSE_STOPS * count or room > 100:
            return replace(rules, chance=stops / count, at_most=_upper(stops, count), left_out=left_out)
        room *= 1.15


def _that_fit(courses: Sequence[Course], limits: Limits) -> tuple[Limits, tuple[str, ...]]:
    """Return the given limits that few predicted runs meet, and words for the others; all together may not stop more either."""
    said: list[str] = []
    allowed = MOST_FALSE_STOPS / 2

    def fitting(values: Mapping[str, float], reached: Callable[[Course, str], float], words: str) -> dict[str, float]:
        kept = {}
        for name, value in values.items():
            share = sum(reached(course, name) > value for course in courses) / len(courses)
            if share <= allowed:
                kept[name] = value
            else:
                said.append(f"{words.format(name=name)}: {share:.0%} of the runs that go as predicted meet it")
        return kept

    def highest(course: Course, name: str) -> float:
        return float(course.lag[name].max(initial=0.0))

    fit = Limits(
        fitting(limits.waiting_s, lambda c, name: c.waiting_s.get(name, 0.0), "events of {name} wait for half of their retention"),
        fitting(limits.drain_lag, highest, f"the backlog of {{name}} cannot be worked off within {limits.recover_s:g} s"),
        limits.recover_s,
        fitting(limits.budget_events, lambda c, name: c.bad.get(name, 0.0), "{name} spends more than the day may cost"),
    )  # fmt: skip
    return fit, tuple(said)


def _upper(stops: int, count: int) -> float:
    """Return Clopper and Pearson's 95 % bound of a share."""
    from scipy import stats

    return 1.0 if stops >= count else float(stats.beta.ppf(0.95, stops + 1, count - stops))


def _with_room(courses: Sequence[Course], room: float, given: Limits) -> Rules:
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
    failed = _above(max(course.failed for course in courses), room)
    bad = {name: _above(max(course.bad[name] for course in courses), room) for name in courses[0].bad}
    bad |= {name: min(bad.get(name, math.inf), math.ceil(most)) for name, most in given.budget_events.items()}
    return Rules(above, high, failed, 0.0, 0.0, bad, given.waiting_s, given.drain_lag, given.recover_s)


def _above(most: float, room: float) -> float:
    """Return a limit for a count of which the predicted runs had so many at most."""
    return float(math.ceil(most * room * 1.5 + 20))


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

    def see(
        self,
        at_s: float,
        lag: Mapping[str, float],
        failed: float,
        bad: Mapping[str, float] | None = None,
        waiting_s: Mapping[str, float] | None = None,
    ) -> Stop | None:
        """Return the rule that fires at this moment; `at_s` is the prediction's own time, which stands still while a fault is held."""
        rules = self.rules
        if failed > rules.failed_above:
            return Stop(
                at_s, "failed", f"{failed:,.0f} sends failed or are unknown, more than {rules.failed_above:,.0f}"
            )
        for name, count in (bad or {}).items():
            if count > rules.bad_above.get(name, math.inf):
                return Stop(
                    at_s,
                    f"budget of {name}",
                    f"{count:,.0f} events were bad for {name}, more than {rules.bad_above[name]:,.0f}",
                )
        for group, waited in (waiting_s or {}).items():
            if waited > rules.waiting_above_s.get(group, math.inf):
                return Stop(
                    at_s,
                    f"age of {group}",
                    f"the oldest event of {group} waits for {waited:.0f} s, more than half of its retention",
                )
        for group, events in lag.items():
            limit = rules.lag_above.get(group, math.inf)
            if events > limit:
                return Stop(at_s, f"lag of {group}", f"lag of {group} is {events:,.0f}, more than {limit:,.0f}")
            if events > rules.drain_lag.get(group, math.inf):
                return Stop(
                    at_s,
                    f"drain of {group}",
                    f"lag of {group} is {events:,.0f}, which takes longer than {rules.recover_s:g} s to work off",
                )
            if (stop := self._outside(at_s, group, events)) is not None:
                return stop
        return None

    def _outside(self, at_s: float, group: str, events: float) -> Stop | None:
        if events <= self.limit(group, at_s):
            self._outside_since.pop(group, None)
            return None
        began = self._outside_since.setdefault(group, at_s)
        first = self._outside_lag.setdefault(group, events) if began != at_s else self._begin(group, events)
        if at_s - began >= WORSENS_S and events > first:
            return Stop(
                at_s,
                f"band of {group}",
                f"lag of {group} is outside its predicted band for {at_s - began:.0f} s, and worsens",
            )
        return None

    def _begin(self, group: str, events: float) -> float:
        self._outside_lag[group] = events
        return events

    def outside_s(self, at_s: float) -> dict[str, float]:
        """Return by group for how long its lag has been outside its predicted band."""
        return {group: max(0.0, at_s - began) for group, began in self._outside_since.items()}

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
    return watch.see(steps * STEP_S, {}, course.failed, course.bad, course.waiting_s)


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
