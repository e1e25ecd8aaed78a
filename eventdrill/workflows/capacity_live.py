"""Capacity on running brokers: the least members confirmed, and the highest rate found by bisection of short live runs that must be stationary."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eventdrill.workflows import drive as driving
from eventdrill.workflows.places import Place, start_cluster
from eventdrill.workflows.telling import Telling
from scenarios.files import LoadedScenario, load_text, scenario_text
from scenarios.plan import make_plan
from scenarios.quantities import SECOND
from scenarios.schema import Arrivals, Scenario

if TYPE_CHECKING:
    from eventdrill.workflows.capacity import Plan, Search
    from loadgen.clusters.model import Cluster
    from reports.capacity_search import Bears, Least, Verdict
    from rundata.run import Run

LOOK_NS, WARM_UP_NS, DRAIN_NS = 12 * SECOND, 3 * SECOND, 10 * SECOND
MOST_LOOKS = 7
_STEP = 1.25
Told = Literal["confirmed", "contradicted", "cannot tell"]
_GROWS = 0.1
"""Lag that grows by more than this share of a second's arrivals each second is no steady state."""


@dataclass(frozen=True)
class LiveLook:
    """One live run at a multiple of the load."""

    factor: float
    margin: float
    reason: str
    """Why it does not hold or says nothing; empty where it holds."""
    says_nothing: bool = False
    """Whether driver or host was the limit, not the system."""

    @property
    def verdict(self) -> "Verdict":
        """holds, fails, or cannot tell."""
        return "cannot tell" if self.says_nothing else "fails" if self.reason else "holds"


@dataclass(frozen=True)
class Confirmed:
    """What running brokers said, beside the model's answer for the same short runs."""

    live: "Bears"
    model: "Bears"
    looks: tuple[LiveLook, ...]
    field: str = ""
    """Of the answer that was tried; empty where there was none."""
    tried: tuple[tuple[int, LiveLook], ...] = ()
    """The answer, which should hold, and the greatest value that the model is sure is too little, which should not."""

    @property
    def load(self) -> Told:
        """What became of the load that breaks it: contradicted where no load lies in both intervals, open while the live one has no upper end."""
        (low, high), (model_low, model_high) = self.live.interval, self.model.interval
        if low > model_high or high < model_low:
            return "contradicted"
        return "confirmed" if low > 0 and math.isfinite(high) else "cannot tell"

    @property
    def answer(self) -> Told:
        """What became of the least that the search found."""
        found = [look.verdict for _, look in self.tried]
        wanted = ("holds", "fails")[: len(found)]
        if any(each not in (want, "cannot tell") for each, want in zip(found, wanted, strict=True)):
            return "contradicted"
        return "confirmed" if found and tuple(found) == wanted else "cannot tell"

    def to_json(self, rate_hz: float) -> dict[str, Any]:
        """Return what `capacity --json` prints under `live`."""
        answer = None
        if self.tried:
            answer = {
                "field": self.field,
                "looked": [
                    {"value": value, "verdict": look.verdict, "reason": look.reason} for value, look in self.tried
                ],
                "verdict": self.answer,
            }
        return {
            "factor": self.live.factor,
            "rate": self.live.factor * rate_hz,
            "interval": _ends(self.live),
            "looked": [
                {
                    "factor": e.factor,
                    "verdict": e.verdict,
                    "reason": e.reason,
                    "margin": e.margin if math.isfinite(e.margin) else None,
                }
                for e in sorted(self.looks, key=lambda e: e.factor)
            ],
            "model": {"factor": self.model.factor, "interval": _ends(self.model)},
            "verdict": self.load,
            "answer": answer,
        }


def _ends(bears: "Bears") -> list[float | None]:
    return [each if math.isfinite(each) else None for each in bears.interval]


def looked_at(scenario: Scenario, factor: float) -> LoadedScenario:
    """Return the scenario of one look: the mean load times the factor, even in time, without faults."""
    producers = {}
    for name, producer in scenario.producers.items():
        events = sum(sum(p.rate) / 2 * (p.for_ns or scenario.duration) for p in producer.rated(scenario.duration))
        mean = events / scenario.duration * factor
        producers[name] = producer.model_copy(
            update={"arrivals": (Arrivals.model_validate({"rate": f"{mean:.9f}/s"}),)}
        )
    changed = scenario.model_copy(
        update={
            "producers": producers, "faults": (), "actions": (), "expect": (), "agreement": {}, "sweep": {},
            "duration": LOOK_NS, "warm_up": WARM_UP_NS, "drain": DRAIN_NS,
        }
    )  # fmt: skip
    return load_text(scenario_text(changed), f"{scenario.scenario} at {factor:.3g} times its load")


def judge_live(run: "Run", factor: float, *, steady: bool = True) -> LiveLook:
    """Say whether the objectives held, in a run that was steady where that is asked; what the driver limited says nothing: not held."""
    from reports.slo import assess

    if run.invalid:
        return LiveLook(factor, -math.inf, "; ".join(run.invalid), says_nothing=True)
    growth = lag_growth(run)
    if steady and growth > _GROWS:
        return LiveLook(factor, -growth, f"lag grew by {growth:.0%} of the arrivals: no steady state")
    reports = assess(run.data)
    margin = min((-math.inf if r.compliance is None else r.compliance - r.target) for r in reports.values())
    missed = [name for name, report in reports.items() if report.met is not True]
    return LiveLook(factor, margin, f"missed {', '.join(missed)}" if missed else "")


def lag_growth(run: "Run") -> float:
    """Return the steepest growth of a group's lag in the measured part, as a share of the arrivals."""
    from reports.traces import LAG_STEP_NS, lag_by_group

    scenario = run.data.plan.scenario
    rate_hz = len(run.data.plan) * SECOND / scenario.duration
    begin, end = scenario.warm_up // LAG_STEP_NS, scenario.duration // LAG_STEP_NS
    slopes = [
        float(np.polyfit(np.arange(begin, begin + len(part)) * LAG_STEP_NS / SECOND, part, 1)[0])
        for lag in lag_by_group(run.data).values()
        if len(part := lag[begin:end]) > 10
    ]
    return max(slopes, default=0.0) / rate_hz if rate_hz else 0.0


def check(scenario: Scenario, on: Place) -> None:
    """Refuse before anything starts what cannot be driven there."""
    driving.prepare(looked_at(scenario, 1.0), on=on)


def confirm(search: "Search", plan: "Plan", on: Place, folder: Path, telling: Telling) -> Confirmed:
    """Drive the answer for the load, and what surely is too little; then find the greatest load; and ask the model about the same short runs."""
    scenario = search.loaded.scenario
    telling.say("simulating the short runs that will be driven")
    model = bears_modelled(search)
    spec = driving.prepare(looked_at(scenario, 1.0), on=on).spec
    answer = next((a for a in plan.answers if a.condition == "load" and a.found is not None and a.found.value), None)
    tried: list[tuple[int, LiveLook]] = []
    with start_cluster(on, spec, telling.say) as cluster:
        look = _Looks(cluster, folder, telling)
        if answer is not None and answer.found is not None and answer.field.endswith(".members"):
            for value in values_to_try(answer.found):
                found = look.as_searched(search.at(answer.field, value, "load"))
                telling.say(f"live with {answer.field} = {value}: {found.reason or 'every objective holds'}")
                tried.append((value, found))
        live, looks = bisect_live(lambda factor: look(scenario, factor), model.factor or 1.0, telling)
    return Confirmed(live, model, tuple(looks), answer.field if tried and answer is not None else "", tuple(tried))


def values_to_try(found: "Least") -> list[int]:
    """Return the least that surely is enough, and the greatest that surely is not; of what lies between the model cannot tell either."""
    least, possible = found.value, found.interval[0]
    if least is None:
        return []
    return [least, *([possible - 1] if possible > 1 else [])]


def bears_modelled(search: "Search") -> "Bears":
    """Return the greatest load that the model bears in the short runs that are driven, judged in the same way."""
    from reports.capacity_search import greatest_load
    from rundata.run import Run
    from sim.engine import simulate

    def margins(factor: float, begin: int, end: int) -> list[float]:
        scenario = looked_at(search.loaded.scenario, factor).scenario
        runs = (simulate(make_plan(scenario, search.seed, n), search.profile, chance=n) for n in range(begin, end))
        return [judge_live(Run(run), factor).margin for run in runs]

    return greatest_load(margins)


def bisect_live(
    look: Callable[[float], LiveLook], first: float, telling: Telling
) -> tuple["Bears", Sequence[LiveLook]]:
    """Return the greatest load that is borne, from a first guess, in at most seven looks.

    A look that says nothing sends the search down and is no end of the interval: what lies above the greatest that held nobody knows then.
    """
    from reports.capacity_search import Bears, Looked

    looks: list[LiveLook] = []
    low, high, factor = 0.0, math.inf, first
    while len(looks) < MOST_LOOKS and not (low > 0 and high / low <= 1.1):
        found = look(factor)
        looks.append(found)
        telling.say(f"live at {factor:.3g} times the load: {found.reason or 'every objective holds'}")
        low, high = (max(low, factor), high) if not found.reason else (low, min(high, factor))
        # The first guess is mostly near: a step of a fifth brackets it.
        factor = low * _STEP if math.isinf(high) else high / _STEP if low == 0 else math.sqrt(low * high)
    seen = sorted(
        (Looked(each.factor, (each.margin,), each.verdict) for each in looks),
        key=lambda e: e.value,
    )
    fails = min((each.factor for each in looks if each.verdict == "fails"), default=math.inf)
    return Bears(low, (low, fails), tuple(seen)), looks


class _Looks:
    """Drives short runs one after the other on one cluster, each into a folder of its own."""

    def __init__(self, cluster: "Cluster", folder: Path, telling: Telling) -> None:
        self._cluster, self._folder, self._telling, self._count = cluster, folder, telling, 0

    def __call__(self, scenario: Scenario, factor: float) -> LiveLook:
        """Drive a scenario at a multiple of its mean load, for a short time; the first run warms the brokers."""
        return self._sure(lambda: judge_live(self._drive(looked_at(scenario, factor)), factor))

    def as_searched(self, scenario: Scenario) -> LiveLook:
        """Drive a scenario whole, with its own arrivals, as the search simulates it; its objectives alone judge it."""
        loaded = load_text(scenario_text(scenario), scenario.scenario)
        return self._sure(lambda: judge_live(self._drive(loaded), 1.0, steady=False))

    def _sure(self, look: Callable[[], LiveLook]) -> LiveLook:
        """Look once more where the first time says nothing: neighbours on a host come and go."""
        found = look()
        return look() if found.says_nothing else found

    def _drive(self, loaded: LoadedScenario) -> "Run":
        from loadgen.engine import drive
        from rundata.dataset import RunWriter, open_run

        self._count += 1
        folder, plan = self._folder / f"look-{self._count}", make_plan(loaded.scenario)
        writer = RunWriter(folder, plan, {"profile": loaded.scenario.profile}, engine="driven", text=loaded.text)
        with self._telling.display() as watch:
            drive(loaded, plan, self._cluster, writer, progress=watch, warm=self._count == 1, warm_s=20.0)
        return open_run(folder)
