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


@pytest.mark.parametrize(
    ("work", "rate", "mean_wait_ms"),
    [
        pytest.param("2ms", "250/s", 1.0, id="M/D/1 at 0.5"),
        pytest.param("2ms", "400/s", 4.0, id="M/D/1 at 0.8"),
        pytest.param({"exponential": "2ms"}, "250/s", 2.0, id="M/M/1 at 0.5"),
        pytest.param({"exponential": "2ms"}, "400/s", 8.0, id="M/M/1 at 0.8"),
    ],
)
def test_the_mean_wait_is_that_of_theory(work: object, rate: str, mean_wait_ms: float):
    """M/D/1: rho / (2 (1 - rho)) of the work, M/M/1: twice that; within the 99.9 % interval, which is no wider than 15 %."""
    producer = {"topic": "a", "share": "arrivals", "arrivals": rate, "settings": {"linger.ms": 0}}
    scenario = by_hand(duration="30s", drain="5s", producers__p=producer, groups__g__work=work)

    waits = np.array([wait_ms(scenario, replication) for replication in range(REPLICATIONS)])

    half_width = T_99_9 * waits.std(ddof=1) / np.sqrt(REPLICATIONS)
    assert abs(waits.mean() - mean_wait_ms) < half_width
    assert half_width < 0.15 * mean_wait_ms
