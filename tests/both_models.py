"""Scenarios worked out by hand (`by_hand`), run by the plain model and by the simulator."""

from collections.abc import Callable
from typing import Any

import pytest

from by_hand import by_hand
from plain_model import simulate_plainly
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL, Profile
from sim.engine import simulate

Run = Callable[..., RunData]


def _plainly(profile: Profile = IDEAL, **changes: Any) -> RunData:
    return simulate_plainly(make_plan(by_hand(**changes)), profile)[0]


def simulated(profile: Profile = IDEAL, **changes: Any) -> RunData:
    """Return the simulator's run of a scenario that is changed in some places."""
    return simulate(make_plan(by_hand(**changes)), profile)


in_both_models = pytest.mark.parametrize("run", [_plainly, simulated], ids=["plain", "simulator"])
"""Gives a test `run(profile, **changes)`, in one model and in the other."""
