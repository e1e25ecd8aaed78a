"""How exactly clients' threads sleep here, and that what lingers beyond its time is not taken for the brokers' work."""

import dataclasses

import pytest

from eventdrill.workflows.calibrate import calibration_scenario, corrected, fit, shipped_base
from eventdrill.workflows.calibrate_client import oversleep_of, with_sleeps
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from sim.engine import simulate

SLEEPS = {"sleep_step_us": 1000.0, "oversleep": 0.005}


@pytest.mark.parametrize(
    ("longer_by", "found"), [({5: 80_000, 50: 305_000}, 0.005), ({5: 80_000, 50: 60_000}, 0.0)], ids=["slack", "exact"]
)
def test_what_longer_sleeps_are_late_beyond_shorter_ones_is_in_proportion(
    longer_by: dict[int, int], found: float
) -> None:
    """5 ms end 0.08 ms late and 50 ms end 0.305 ms late: 5 us for each ms."""
    assert oversleep_of(lambda asked_ms: asked_ms * 1_000_000 + longer_by[asked_ms]) == found


def test_one_sleep_that_the_host_disturbed_does_not_count() -> None:
    slept = iter([900_000_000, *[5_050_000] * 24, *[50_050_000] * 25])

    assert oversleep_of(lambda _ms: next(slept)) == 0.0


def test_this_host_s_sleeps_are_measured() -> None:
    """Whole milliseconds, and somewhere between exact and a twentieth too long."""
    found = with_sleeps(IDEAL)

    assert found.sleep_step_us == 1000
    assert 0 <= found.oversleep <= 0.05


def test_that_batches_leave_late_is_not_taken_for_the_brokers_time() -> None:
    """Fitted with clients that sleep as they did, requests take what they take; without that some tenths of a millisecond more."""
    true = shipped_base().model_copy(update=SLEEPS)
    run = dataclasses.replace(simulate(make_plan(calibration_scenario().scenario, 20_011), true), engine="driven")
    apart, blind = (
        (found := corrected(run, fit(run, base))).produce.median_us + found.acknowledge.median_us
        for base in (true, shipped_base())
    )
    takes = true.produce.median_us + true.acknowledge.median_us

    assert apart == pytest.approx(takes, rel=0.03)
    assert blind > apart + 100
