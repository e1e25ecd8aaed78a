"""The highest rate at which objectives hold on running brokers, by bisection of short live runs that must be stationary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eventdrill.workflows import drive as driving
from eventdrill.workflows.places import Place, start_cluster
from eventdrill.workflows.telling import Telling
from scenarios.files import LoadedScenario, load_text, scenario_text
from scenarios.plan import make_plan
from scenarios.quantities import SECOND
from scenarios.schema import Arrivals, Scenario

if TYPE_CHECKING:
    from loadgen.clusters.model import Cluster
    from reports.capacity_search import Bears
    from rundata.run import Run

LOOK_NS, WARM_UP_NS, DRAIN_NS = 12 * SECOND, 3 * SECOND, 10 * SECOND
MOST_LOOKS = 7
_GROWS = 0.1
"""Lag that grows by more than this share of a second's arrivals each second is no steady state."""


@dataclass(frozen=True)
class LiveLook:
    """One live run at a multiple of the load."""

    factor: float
    margin: float
    reason: str
    """Why it does not hold or says nothing; empty where it holds."""


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


def judge_live(run: "Run", factor: float) -> LiveLook:
    """Say whether the objectives held in a run that was steady; what the driver limited says nothing, and counts as not held."""
    from reports.slo import assess

    if run.invalid:
        return LiveLook(factor, -math.inf, "; ".join(run.invalid))
    growth = lag_growth(run)
    if growth > _GROWS:
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


def bears_live(
    scenario: Scenario, on: Place, first: float, folder: Path, telling: Telling
) -> tuple["Bears", Sequence[LiveLook]]:
    """Return the greatest load that running brokers bear, from a first guess, in at most seven live runs."""
    from reports.capacity_search import Bears, Looked

    looks: list[LiveLook] = []
    spec = driving.prepare(looked_at(scenario, 1.0), on=on).spec
    low, high, factor = 0.0, math.inf, first
    with start_cluster(on, spec, telling.say) as cluster:
        while len(looks) < MOST_LOOKS and not (low > 0 and high / low <= 1.1):
            look = _look(scenario, factor, cluster, folder / f"look-{len(looks) + 1}", telling, warm=not looks)
            looks.append(look)
            telling.say(f"live at {factor:.3g} times the load: {look.reason or 'every objective holds'}")
            low, high = (max(low, factor), high) if not look.reason else (low, min(high, factor))
            factor = low * 1.5 if math.isinf(high) else high / 1.5 if low == 0 else math.sqrt(low * high)
    seen = sorted(
        (Looked(look.factor, (look.margin,), "fails" if look.reason else "holds") for look in looks),
        key=lambda e: e.value,
    )
    return Bears(low, (low, high), tuple(seen)), looks


def _look(
    scenario: Scenario, factor: float, cluster: "Cluster", folder: Path, telling: Telling, *, warm: bool
) -> LiveLook:
    from loadgen.engine import drive
    from rundata.dataset import RunWriter, open_run

    loaded = looked_at(scenario, factor)
    plan = make_plan(loaded.scenario)
    writer = RunWriter(folder, plan, {"profile": scenario.profile}, engine="driven", text=loaded.text)
    with telling.display() as watch:
        drive(loaded, plan, cluster, writer, progress=watch, warm=warm, warm_s=20.0)
    return judge_live(open_run(folder), factor)
