"""Objectives over a run: compliance, what share of the period's error budget it spent, how fast, and which fault spent it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rundata import series
from rundata.backlog import BEFORE_NS, HELD_NS, STEP_NS, backlog, grid
from rundata.books import Books, End
from rundata.indicators import measure_one
from rundata.latency import roots
from rundata.rows import NEVER
from rundata.scopes import Scope, measured_pairs, resolve
from rundata.tables import FaultRecord, RunData
from scenarios.expectations import IndicatorName
from scenarios.quantities import DAY, SECOND, format_duration
from scenarios.schema import Objective

NO_FAULT = "no fault"
GIVEN_UP = "dead-lettered or skipped"
BURN_WINDOW_NS = 5 * SECOND


@dataclass(frozen=True)
class Spent:
    """What one fault cost: bad events, and their share of the period's budget."""

    fault: str
    bad: float
    share: float


@dataclass(frozen=True, eq=False)
class ObjectiveReport:
    """What became of one objective. Of `availability` the events are partition-seconds."""

    name: str
    text: str
    target: float
    period_ns: int
    good: float
    bad: float
    forecast: float
    """Events that the period will bring at this load."""
    spent_by: tuple[Spent, ...]
    burn_at_s: NDArray[np.float64]
    """Begins of the windows of `burn`."""
    burn: NDArray[np.float64]
    """In each window, how many times faster than allowed the budget was spent; NaN without events."""
    reason: str | None = None
    """Why it cannot be told."""

    @property
    def compliance(self) -> float | None:
        """The share of good events."""
        total = self.good + self.bad
        return self.good / total if total and self.reason is None else None

    @property
    def met(self) -> bool | None:
        """Whether the run alone met the target."""
        return None if self.compliance is None else self.compliance >= self.target

    @property
    def budget(self) -> float:
        """How many events of the period may be bad."""
        return (1 - self.target) * self.forecast

    @property
    def spent(self) -> float | None:
        """The share of the period's budget that the run spent; inf of a budget of nothing."""
        if self.reason is not None:
            return None
        return _share(self.bad, self.budget)

    @property
    def worst_burn(self) -> float | None:
        """The fastest burn of any window."""
        finite = self.burn[np.isfinite(self.burn)]
        return float(finite.max()) if len(finite) else None


def assess(run: RunData, forecast: Mapping[str, float] | None = None) -> dict[str, ObjectiveReport]:
    """Return a report on each objective of the run's scenario.

    `forecast` says by objective how many events its period will bring; without it the run's measured load lasts all period.
    """
    scenario = run.plan.scenario
    return {
        name: _assess(run, name, objective, (forecast or {}).get(name))
        for name, objective in scenario.objectives.items()
    }


def _assess(run: RunData, name: str, objective: Objective, forecast: float | None) -> ObjectiveReport:
    if objective.indicator == "availability":
        return _availability(run, name, objective, forecast)
    intended, took, given = _events(run, objective)
    bad = (took > _limit_ns(objective)) | np.isinf(took)
    periods = objective.period / max(run.plan.scenario.measured_ns, 1)
    expected = forecast if forecast is not None else len(intended) * periods
    burn_at, burn = _burn(run, intended, bad, objective.target)
    return ObjectiveReport(
        name=name,
        text=objective_text(objective),
        target=objective.target,
        period_ns=objective.period,
        good=float(len(bad) - bad.sum()),
        bad=float(bad.sum()),
        forecast=expected,
        spent_by=_spent_by(run, objective, intended, bad, given, (1 - objective.target) * expected),
        burn_at_s=burn_at,
        burn=burn,
        reason=None if len(intended) else "no event that it covers was planned in the measured part",
    )


def objective_text(objective: Objective) -> str:
    """Return the objective in words: `99% of latency[fulfilment] below 500ms, over 30d`."""
    of = f"[{objective.of}]" if objective.of else ""
    said = f"{objective.target * 100:.6g}% of {objective.indicator}{of}"
    if objective.below is not None:
        said += f" below {format_duration(objective.below)}"
    if objective.within is not None:
        said += f" within {format_duration(objective.within)}"
    days = objective.period / DAY
    return said + (f", over {days:g}d" if days >= 1 else f", over {format_duration(objective.period)}")


# ---- which events are good -----------------------------------------------------------------------------------------


def _limit_ns(objective: Objective) -> float:
    limit = objective.below if objective.below is not None else objective.within
    return math.inf if limit is None else float(limit)


_Events = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]


def _events(run: RunData, objective: Objective) -> _Events:
    """Return of each event that counts the intended time, how long it took (inf: never), and whether its group gave it up."""
    found = _of_acknowledgements(run, objective) if objective.indicator == "ack_latency" else _of_pairs(run, objective)
    order = np.argsort(found[0], kind="stable")
    return found[0][order], found[1][order], found[2][order]


def _of_acknowledgements(run: RunData, objective: Objective) -> _Events:
    found = series.latencies(run, objective.of, "ack")
    return found.intended_ns, found.latency_ns, np.zeros(len(found.intended_ns), np.bool_)


def _of_pairs(run: RunData, objective: Objective) -> _Events:
    books = Books.of(run)
    pairs = books.pairs
    given = (pairs.end == End.dead_lettered) | (pairs.end == End.skipped)
    counted = measured_pairs(books, resolve(books, IndicatorName(objective.indicator, objective.of)))
    if objective.indicator != "delivery":  # an event that the group's policy gave up has no latency
        counted = counted & ~given
    began = pairs.intended_ns
    if objective.indicator == "chain_latency":
        began = books.plan.intended_ns[roots(books)[pairs.event]]
    came = pairs.effect_ns[counted]
    took = np.where(came == NEVER, np.inf, (came - began[counted]).astype(np.float64))
    return began[counted], took, given[counted]


def _availability(run: RunData, name: str, objective: Objective, forecast: float | None) -> ObjectiveReport:
    measurement = measure_one(run, IndicatorName("availability", objective.of))
    scenario = run.plan.scenario
    topics = [objective.of] if objective.of in scenario.topics else list(scenario.topics)
    partitions = sum(scenario.topics[str(topic)].partitions for topic in topics)
    total = partitions * scenario.measured_ns / SECOND
    value = measurement.value
    bad = (1 - value) * total if value is not None else 0.0
    return ObjectiveReport(
        name=name,
        text=objective_text(objective),
        target=objective.target,
        period_ns=objective.period,
        good=total - bad,
        bad=bad,
        forecast=forecast if forecast is not None else partitions * objective.period / SECOND,
        spent_by=(),
        burn_at_s=np.zeros(0),
        burn=np.zeros(0),
        reason=None if value is not None else measurement.reason or "availability was not measured",
    )


# ---- when, and by what ---------------------------------------------------------------------------------------------


def _burn(
    run: RunData, intended: NDArray[np.int64], bad: NDArray[np.bool_], target: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scenario = run.plan.scenario
    edges = np.arange(scenario.warm_up, scenario.duration + BURN_WINDOW_NS, BURN_WINDOW_NS)
    events = np.histogram(intended, edges)[0].astype(np.float64)
    late = np.histogram(intended[bad], edges)[0].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return edges[:-1] / SECOND, late / events / (1 - target)


def _spent_by(
    run: RunData,
    objective: Objective,
    intended: NDArray[np.int64],
    bad: NDArray[np.bool_],
    given: NDArray[np.bool_],
    budget: float,
) -> tuple[Spent, ...]:
    """Give each bad event to the last fault that began before it was late, as long as that fault's backlog had not drained.

    What a group gave up is set apart, unless the fault is the one that made events fail.
    """
    owners = [*_labels(run.faults), GIVEN_UP, NO_FAULT]
    owner = np.where(given, len(owners) - 2, len(owners) - 1)
    late = intended + int(min(_limit_ns(objective), SECOND))  # already under way when the fault began
    for number, (fault, drained) in enumerate(zip(run.faults, _drained(run, objective.of), strict=True)):
        during = (late >= fault.began_ns) & (intended < drained)
        owner[during & (~given | (fault.kind in _MAKES_EVENTS_FAIL))] = number
    counts = np.bincount(owner[bad], minlength=len(owners)).tolist()
    return tuple(Spent(name, count, _share(count, budget)) for name, count in zip(owners, counts, strict=True))


_MAKES_EVENTS_FAIL = ("poison", "failing_work")


def _share(bad: float, budget: float) -> float:
    return bad / budget if budget else (math.inf if bad else 0.0)


def _labels(faults: Sequence[FaultRecord]) -> list[str]:
    labels = [fault.label for fault in faults]
    return [
        f"{label} at {format_duration(fault.planned_begin_ns)}" if labels.count(label) > 1 else label
        for label, fault in zip(labels, faults, strict=True)
    ]


def _drained(run: RunData, of: str | None) -> list[int]:
    """Return by fault the first time after its end from which lag stays at or below its base for a second."""
    books = Books.of(run)
    groups = [of] if of in run.plan.scenario.groups else list(run.plan.scenario.groups)
    scopes = [resolve(books, IndicatorName("lag", group)) for group in groups]
    return [
        max((_back_at_base(books, scope, fault) for scope in scopes), default=fault.ended_ns) for fault in run.faults
    ]


def _back_at_base(books: Books, scope: Scope, fault: FaultRecord) -> int:
    times = grid(books)
    waiting = backlog(books, scope).at(times)
    before = waiting[(times >= fault.began_ns - BEFORE_NS) & (times < fault.began_ns)]
    intended = books.pairs.intended_ns[books.pairs.group == scope.number]
    arrivals = int(((intended >= fault.began_ns - SECOND) & (intended < fault.began_ns)).sum())
    low = waiting <= max(int(before.max(initial=0)), arrivals)
    calm = [at for at in np.flatnonzero(times >= fault.ended_ns).tolist() if low[at : at + HELD_NS // STEP_NS].all()]
    return int(times[calm[0]]) if calm else books.end_ns


def missed(reports: Mapping[str, ObjectiveReport]) -> list[str]:
    """Return the names of the objectives that the run alone did not meet."""
    return [name for name, report in reports.items() if report.met is False]


def objectives_json(reports: Mapping[str, ObjectiveReport]) -> dict[str, object]:
    """Return the reports as numbers and texts for `--json`."""
    return {
        name: {
            "text": report.text,
            "compliance": report.compliance,
            "target": report.target,
            "good": report.good,
            "bad": report.bad,
            "forecast": report.forecast,
            "spent": report.spent if report.spent is not None and math.isfinite(report.spent) else None,
            "spent_by": {one.fault: one.bad for one in report.spent_by},
            "reason": report.reason,
        }
        for name, report in reports.items()
    }
