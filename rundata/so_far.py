"""What can be said of a run that still goes on."""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rundata.expect import holds
from rundata.indicators import measure_one
from rundata.rows import LOG_RECORD
from rundata.tables import RunData
from scenarios.expectations import Expectation
from scenarios.plan import Plan


def holds_since(
    expectation: Expectation,
    plan: Plan,
    operations: NDArray[np.void],
    *,
    since_ns: int,
    now_ns: int,
    engine: Literal["simulated", "driven"],
) -> bool:
    """Whether an expectation holds of what was intended from an instant until now, as far as operations tell."""
    scenario = plan.scenario.model_copy(update={"warm_up": since_ns, "duration": now_ns})
    run = RunData(
        plan=replace(plan, scenario=scenario),
        engine=engine,
        operations=operations,
        log=np.zeros(0, LOG_RECORD),
        end_ns=now_ns,
    )
    return holds(expectation, measure_one(run, expectation.indicator))
