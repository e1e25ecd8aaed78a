"""Objectives over a run: compliance, what share of the period's error budget it spent, how fast, and which fault spent it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.disturbers import disturbers
from reports.slo_events import Floats, JudgedEvents, judged_events, limit_ns
from rundata.backlog import BEFORE_NS, HELD_NS, STEP_NS, backlog, grid
from rundata.books import Books
from rundata.scopes import Scope, resolve
from rundata.tables import FaultRecord, Incident, RunData
from scenarios.expectations import IndicatorName
from scenarios.quantities import DAY, SECOND, format_duration
from scenarios.schema import Objective

NO_FAULT = "no fault"
GIVEN_UP = "dead-lettered or skipped"
BURN_WINDOW_NS = 5 * SECOND
"""Windows of the burn rate, and timeslices: one is good when its own share of good events meets the target."""
BATCHES = 20
"""An interval of compliance comes from so many equal stretches of a run: events of one outage are not independent."""
TOUCHED_NS = 10 * SECOND
"""An incident that no fault explains owns bad events so long after it."""
_OWNING_INCIDENTS = ("fence", "election", "rebalance", "eviction", "session expired", "restart")


@dataclass(frozen=True)
class Spent:
    """What one fault or incident cost: bad events, and their share of the period's budget."""

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
    measured_ns: int
    good: float
    bad: float
    forecast: float
    """Events that the period will bring at this load."""
    spent_by: tuple[Spent, ...]
    burn_at_s: Floats
    """Begins of the windows of `burn`."""
    burn: Floats
    """In each window, how many times faster than allowed the budget was spent; NaN without events."""
    bad_share: Floats
    """In each window, the share of bad events; NaN without events."""
    interval: tuple[float, float] | None = None
    """95 % interval of the compliance of a run like this one; None where there are too few events."""
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
    def average_burn(self) -> float | None:
        """How many times faster than allowed the whole run spent the budget."""
        if self.compliance is None:
            return None
        return _share(1 - self.compliance, 1 - self.target)

    @property
    def gone_after_s(self) -> float | None:
        """How long a whole budget lasts at the run's average rate of bad events; inf where nothing was bad."""
        if self.compliance is None:
            return None
        return self.budget * self.measured_ns / SECOND / self.bad if self.bad else math.inf

    @property
    def worst_burn(self) -> float | None:
        """The fastest burn of any window."""
        finite = self.burn[np.isfinite(self.burn)]
        return float(finite.max()) if len(finite) else None

    @property
    def timeslices(self) -> float | None:
        """The share of good timeslices, those without events left out: OpenSLO's second method."""
        shares = self._slices()
        return None if shares is None else float((1 - shares >= self.target).mean())

    @property
    def mean_of_slices(self) -> float | None:
        """The mean of the timeslices' shares, each slice counting alike: OpenSLO's third method, and Sloth's 30 days."""
        shares = self._slices()
        return None if shares is None else float((1 - shares).mean())

    def _slices(self) -> Floats | None:
        known = self.bad_share[np.isfinite(self.bad_share)]
        return known if len(known) and self.reason is None else None


def assess(run: RunData, forecast: Mapping[str, float] | None = None) -> dict[str, ObjectiveReport]:
    """Return a report on each objective of the run's scenario.

    `forecast` says by objective how many events its period will bring; without it the run's measured load lasts all period.
    """
    return {
        name: assess_objective(run, name, objective, (forecast or {}).get(name))
        for name, objective in run.plan.scenario.objectives.items()
    }


def assess_objective(run: RunData, name: str, objective: Objective, forecast: float | None = None) -> ObjectiveReport:
    """Return a report on one objective, the scenario's or any other."""
    events = judged_events(run, objective)
    measured_ns = max(run.plan.scenario.measured_ns, 1)
    total = len(events.intended_ns) * events.unit
    expected = forecast if forecast is not None else total * objective.period / measured_ns
    bad = float(events.bad_share.sum()) * events.unit
    begins, shares = _shares(run, events)
    return ObjectiveReport(
        name=name,
        text=objective_text(objective),
        target=objective.target,
        period_ns=objective.period,
        measured_ns=measured_ns,
        good=total - bad,
        bad=bad,
        forecast=expected,
        spent_by=_spent_by(run, objective, events, (1 - objective.target) * expected),
        burn_at_s=begins,
        burn=_divided(shares, 1 - objective.target),
        bad_share=shares,
        interval=_interval(run, events),
        reason=None if len(events.intended_ns) else _nothing(objective),
    )


def _nothing(objective: Objective) -> str:
    if objective.indicator == "availability":
        return "no partition had traffic"
    return "no event that it covers was planned in the measured part"


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


# ---- how much, and how sure -----------------------------------------------------------------------------------------


def _shares(run: RunData, events: JudgedEvents) -> tuple[Floats, Floats]:
    """Return the begins of the windows in seconds, and the share of bad events in each; NaN without events."""
    scenario = run.plan.scenario
    edges = np.arange(scenario.warm_up, scenario.duration + BURN_WINDOW_NS, BURN_WINDOW_NS)
    count = np.histogram(events.intended_ns, edges)[0].astype(np.float64)
    bad = np.histogram(events.intended_ns, edges, weights=events.bad_share)[0]
    return edges[:-1] / SECOND, _divided(bad, count)


def _divided(above: Floats, below: Floats | float) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(above / below, np.float64)


def _interval(run: RunData, events: JudgedEvents) -> tuple[float, float] | None:
    """Return a 95 % interval of compliance: exact where nothing was bad, else from stretches of the run (a jackknife of the ratio)."""
    from scipy import stats

    count = len(events.intended_ns)
    if count < BATCHES:
        return None
    if not events.bad.any():
        return float(0.025 ** (1 / count)), 1.0
    total, bad = batches(run, events)
    share = bad.sum() / total.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        without = (bad.sum() - bad) / (total.sum() - total)
    without = without[np.isfinite(without)]
    spread = math.sqrt((len(without) - 1) / len(without) * float(((without - without.mean()) ** 2).sum()))
    half = float(stats.t.ppf(0.975, len(without) - 1)) * spread
    return max(0.0, float(1 - share - half)), min(1.0, float(1 - share + half))


def batches(run: RunData, events: JudgedEvents) -> tuple[Floats, Floats]:
    """Return how many events, and how many bad ones, each of twenty equal stretches of the run had."""
    scenario = run.plan.scenario
    edges = np.linspace(scenario.warm_up, scenario.duration, BATCHES + 1)
    total = np.histogram(events.intended_ns, edges)[0].astype(np.float64)
    return total, np.histogram(events.intended_ns, edges, weights=events.bad_share)[0]


# ---- by what --------------------------------------------------------------------------------------------------------


def _spent_by(run: RunData, objective: Objective, events: JudgedEvents, budget: float) -> tuple[Spent, ...]:
    """Give each bad event to the last fault that began before it was late, as long as that fault's backlog had not drained.

    What a group gave up is set apart, unless the fault is the one that made events fail. What no fault explains goes to the latest
    incident of the ten seconds before.
    """
    incidents = costly_incidents(run)
    owners = [
        *fault_labels(disturbers(run)),
        *dict.fromkeys(_incident_label(one) for one in incidents),
        GIVEN_UP,
        NO_FAULT,
    ]
    given = events.given_up
    owner = np.where(given, len(owners) - 2, len(owners) - 1)
    late = events.intended_ns + int(min(limit_ns(objective), SECOND))  # already under way when the fault began
    for incident in incidents:
        touched = (late >= incident.time_ns) & (events.intended_ns < incident.time_ns + TOUCHED_NS) & ~given
        owner[touched] = owners.index(_incident_label(incident))
    for number, (fault, drained) in enumerate(zip(disturbers(run), drained_ns(run, objective.of), strict=True)):
        during = (late >= fault.began_ns) & (events.intended_ns < drained)
        owner[during & (~given | (fault.kind in _MAKES_EVENTS_FAIL))] = number
    counts = (np.bincount(owner, weights=events.bad_share, minlength=len(owners)) * events.unit).tolist()
    spent = [Spent(name, count, _share(count, budget)) for name, count in zip(owners, counts, strict=True)]
    always = {*fault_labels(disturbers(run)), GIVEN_UP, NO_FAULT}
    return tuple(one for one in spent if one.bad or one.fault in always)


def costly_incidents(run: RunData) -> list[Incident]:
    """Return the incidents that can cost something, in the order of time; those before the load's begin are part of the start."""
    found = [one for one in run.incidents if one.kind in _OWNING_INCIDENTS and one.time_ns > 0]
    return sorted(found, key=lambda one: one.time_ns)


def _incident_label(incident: Incident) -> str:
    return f"{incident.kind} of {incident.where.partition('/')[0]}"


_MAKES_EVENTS_FAIL = ("poison", "failing_work", "schema_change", "dependency_down", "dependency_slow", "deploy")


def _share(bad: float, budget: float) -> float:
    return bad / budget if budget else (math.inf if bad else 0.0)


def fault_labels(faults: Sequence[FaultRecord]) -> list[str]:
    """Return the faults' names; those that several have with their times."""
    labels = [fault.label for fault in faults]
    return [
        f"{label} at {format_duration(fault.planned_begin_ns)}" if labels.count(label) > 1 else label
        for label, fault in zip(labels, faults, strict=True)
    ]


def drained_ns(run: RunData, of: str | None) -> list[int]:
    """Return by fault, or harmful action, the first time after its end from which lag stays at or below its base for a second."""
    books = Books.of(run)
    groups = [of] if of in run.plan.scenario.groups else list(run.plan.scenario.groups)
    scopes = [resolve(books, IndicatorName("lag", group)) for group in groups]
    return [
        max((_back_at_base(books, scope, fault) for scope in scopes), default=fault.ended_ns)
        for fault in disturbers(run)
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
    """Return the reports as numbers and texts for `--json`; what is infinite is null."""
    return {name: _report_json(report) for name, report in reports.items()}


def _report_json(report: ObjectiveReport) -> dict[str, object]:
    return {
        "text": report.text,
        "compliance": report.compliance,
        "interval": report.interval,
        "target": report.target,
        "good": report.good,
        "bad": report.bad,
        "forecast": report.forecast,
        "budget": report.budget,
        "spent": _finite(report.spent),
        "spent_by": {one.fault: one.bad for one in report.spent_by},
        "burn": {"average": _finite(report.average_burn), "fastest": _finite(report.worst_burn)},
        "gone_after_s": _finite(report.gone_after_s),
        "methods": {
            "occurrences": report.compliance,
            "timeslices": report.timeslices,
            "mean_of_timeslices": report.mean_of_slices,
        },
        "reason": report.reason,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
