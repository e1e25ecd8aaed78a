"""The simulator against queueing theory: one producer, one partition, one member, no time but the work's."""

import numpy as np
import pytest

from by_hand import by_hand
from rundata.rows import Kind
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from scenarios.quantities import MILLISECOND
from scenarios.schema import Scenario
from sim.engine import simulate

REPLICATIONS = 20
T_99_9 = 3.883
"""Student's t for a two-sided 99.9 % interval with 19 degrees of freedom."""
FIRST_EVENTS = 500
"""The queue begins empty; these events are left out of the mean."""


def wait_ms(scenario: Scenario, replication: int) -> float:
    """Return the mean latency less the mean work of one replication, in ms."""
    plan = make_plan(scenario, 11, replication)
    run = simulate(plan, IDEAL, chance=replication)
    effects = run.operations[(run.operations["kind"] == Kind.try_) & (run.operations["event_id"] >= FIRST_EVENTS)]
    latency_ns = effects["ended_ns"] - plan.intended_ns[effects["event_id"]]
    return float(latency_ns.mean() - plan.work_ns["g"][effects["event_id"]].mean()) / MILLISECOND


WORK_MS = 2.0
CV_SQUARED = {"M/D/1": 0.0, "M/M/1": 1.0, "M/G/1": 2.25}
"""Squared coefficient of variation of the work."""
WORK = {"M/D/1": "2ms", "M/M/1": {"exponential": "2ms"}, "M/G/1": {"gamma": {"mean": "2ms", "cv": 1.5}}}


@pytest.mark.parametrize(("utilisation", "duration"), [(0.3, "40s"), (0.6, "40s"), (0.9, "60s")])
@pytest.mark.parametrize("queue", ["M/D/1", "M/M/1", "M/G/1"])
def test_the_mean_wait_is_that_of_theory(queue: str, utilisation: float, duration: str):
    """Pollaczek and Khinchine: rho (1 + cv^2) / (2 (1 - rho)) of the work; within the 99.9 % interval, which is no wider than 15 %."""
    producer = {
        "topic": "a",
        "share": "arrivals",
        "arrivals": f"{utilisation / WORK_MS * 1000:g}/s",
        "settings": {"linger.ms": 0},
    }
    scenario = by_hand(duration=duration, drain="10s", producers__p=producer, groups__g__work=WORK[queue])
    mean_wait_ms = utilisation * (1 + CV_SQUARED[queue]) / (2 * (1 - utilisation)) * WORK_MS

    waits = np.array([wait_ms(scenario, replication) for replication in range(REPLICATIONS)])

    half_width = T_99_9 * waits.std(ddof=1) / np.sqrt(REPLICATIONS)
    assert abs(waits.mean() - mean_wait_ms) < half_width
    assert half_width < 0.15 * mean_wait_ms
