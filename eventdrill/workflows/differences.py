"""Where a difference between prediction and observation comes from: the plan is simulated again with one part after another as observed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eventdrill.workflows.calibrate import fit_as_seen
from eventdrill.workflows.instants import impossible
from rundata.indicators import measure
from rundata.rows import NEVER, Kind, Outcome
from rundata.tables import RunData
from scenarios.faults import SlowWork
from scenarios.outside import outside_topics
from scenarios.plan import Plan
from scenarios.profiles import KNOTS, Profile
from sim.engine import simulate
from sim.observed import NOTHING_OBSERVED, Observed

if TYPE_CHECKING:
    from collections.abc import Callable

    from rundata.replications import Estimate

CHANCES = 3
"""Replications of each step; under equal chance, so that a step changes nothing but its part."""
STEPS = 4
_LEAST_DIFFERENCE = 0.005
"""What lies within it of the prediction leaves nothing to explain."""


@dataclass(frozen=True)
class _Step:
    """One simulation with some parts as observed."""

    plan: Plan
    profile: Profile
    observed: Observed = NOTHING_OBSERVED

    def medians(self) -> dict[str, float]:
        """Return each figure's median over a few chances; figures that were not reached are left out."""
        found = [
            measure(simulate(self.plan, self.profile, chance=chance, observed=self.observed))
            for chance in range(CHANCES)
        ]
        values = {name: [one[name].value for one in found] for name in found[0]}
        return {
            name: float(np.median([value for value in several if value is not None]))
            for name, several in values.items()
            if None not in several
        }


def sources_of(
    predicted: "Mapping[str, Estimate]",
    plan: Plan,
    profile: Profile,
    observed: RunData,
    names: Sequence[str],
    progress: "Callable[[int], None]" = lambda _done: None,
) -> dict[str, dict[str, float]]:
    """Return by figure which share of its difference each source explains: workload, profile, chance, model; they add up to 1.

    Workload: events handed to the client, and work done, as in the run; of the user's own programs the events themselves. Profile: times
    as the run showed them before its first fault. Chance: its random instants, and how far a few simulations lie from the prediction. Model: what is left.
    Figures without a difference, or without a number on one side, are left out.
    """
    as_done = _work_as_done(observed.plan if outside_topics(plan.scenario) else plan, observed, profile)
    as_sent = Observed(send_ns=_sent_late(observed))
    as_seen = fit_as_seen(observed, profile) or profile
    steps = [
        _Step(plan, profile),
        _Step(as_done, profile, as_sent),
        _Step(as_done, as_seen, as_sent),
        _Step(as_done, as_seen, replace(Observed.from_run(observed), send_ns=as_sent.send_ns)),
    ]
    medians = []
    for done, step in enumerate(steps, start=1):
        medians.append(step.medians())
        progress(done)
    seen, allowed = measure(observed), not impossible(observed)
    return {
        name: shares
        for name in names
        if name in predicted and name in seen and all(name in values for values in medians)
        if (shares := _shares(predicted[name].value, [values[name] for values in medians], seen[name].value, allowed))
    }


def _shares(
    predicted: float | None, steps: Sequence[float], observed: float | None, allowed: bool
) -> dict[str, float] | None:
    """Return the lengths of the ways from the prediction to the observation, step by step, over their sum."""
    if predicted is None or observed is None or not all(map(math.isfinite, (predicted, observed, *steps))):
        return None
    if abs(observed - predicted) <= _LEAST_DIFFERENCE * abs(predicted):
        return None
    plain, workload, profile, chance = steps
    ways = {
        "workload": abs(workload - plain),
        "profile": abs(profile - workload),
        "chance": (abs(chance - profile) if allowed else 0.0) + abs(plain - predicted),
        "model": abs(observed - chance) + (0.0 if allowed else abs(chance - profile)),
    }
    total = sum(ways.values())
    return {source: way / total for source, way in ways.items()}


# ---- the workload as it was ----------------------------------------------------------------------------------------


def _sent_late(run: RunData) -> dict[str, tuple[int, ...]]:
    """Return by process how late each of its events was handed to the client, in the order of the plan; 0 where that is not known."""
    plan, rows = run.plan, run.operations
    sends = rows[rows["kind"] == Kind.send]
    late = np.zeros(len(plan), np.int64)
    planned = sends[(sends["event_id"] >= 0) & (sends["event_id"] < len(plan))]
    late[planned["event_id"]] = np.maximum(planned["started_ns"] - plan.intended_ns[planned["event_id"]], 0)
    return {
        f"{name}/{number}": tuple(late[(plan.producer == index) & (plan.process == number)].tolist())
        for index, name in enumerate(plan.producers)
        for number in range(1, plan.scenario.producers[name].count + 1)
    }


def _work_as_done(plan: Plan, run: RunData, profile: Profile) -> Plan:
    """Return the plan with the work of handlers that took longer than planned and woken late; what `slow_work` stretched stays as planned."""
    rows, late = run.operations, np.asarray(profile.overshoot.quantiles_us) * 1_000
    usual_ns, most_ns = int(np.interp(0.5, KNOTS, late)), int(late[-1])
    tries = rows[(rows["kind"] == Kind.try_) & (rows["outcome"] == Outcome.ok) & (rows["ended_ns"] != NEVER)]
    work = {name: of_group.copy() for name, of_group in plan.work_ns.items()}
    for code, name in enumerate(run.names.groups):
        own = tries[(tries["group"] == code) & (tries["event_id"] >= 0) & (tries["event_id"] < len(plan))]
        own = own[~_slowed(plan, name, own["started_ns"])]
        took_ns, events = own["ended_ns"] - own["started_ns"], own["event_id"]
        longer = took_ns > np.maximum(work[name][events], round(profile.handle_us * 1_000)) + most_ns
        work[name][events[longer]] = took_ns[longer] - usual_ns
    return replace(plan, work_ns=work)


def _slowed(plan: Plan, group: str, started_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    slow = np.zeros(len(started_ns), np.bool_)
    for planned in plan.faults:
        if isinstance(planned.fault, SlowWork) and planned.fault.group == group:
            slow |= (started_ns >= planned.begin_ns) & (started_ns < planned.end_ns)
    return slow
