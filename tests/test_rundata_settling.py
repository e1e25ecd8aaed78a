"""MSER-5: where a series has settled, by literal series and in runs."""

import numpy as np
import pytest

from rundata.settling import mser5, settling
from runs import Build


def noise(count: int) -> np.ndarray:
    """A steady series around nothing: 0.1, -0.1, 0.2, -0.2, again and again."""
    return np.resize([0.1, -0.1, 0.2, -0.2, 0.05, 0.15, -0.05], count)


def test_a_start_with_a_backlog_is_cut_off() -> None:
    """A hundred values of 50 before four hundred around 1: the cut is the hundredth, a multiple of five."""
    assert mser5(np.concatenate([np.full(100, 50.0), 1 + noise(400)])) == 100


def test_a_steady_series_loses_nothing_to_speak_of() -> None:
    cut = mser5(1 + noise(500))
    assert cut is not None and cut <= 50


def test_a_series_that_goes_on_rising_has_not_settled() -> None:
    """The best cut is the last that is allowed, which means none."""
    assert mser5(np.arange(500.0)) is None


def test_the_bias_of_a_start_with_backlog_is_gone() -> None:
    """A decaying start moves the mean of all by 16 %; of what is kept, by less than 0.1 %."""
    values = 1 + 3 * np.exp(-np.arange(2000) / 100) + noise(2000)
    cut = mser5(values)

    assert values.mean() - noise(2000).mean() == pytest.approx(1.15, abs=0.01)
    assert cut is not None
    assert values[cut:].mean() - noise(2000)[cut:].mean() == pytest.approx(1.0, abs=0.002)


def settled(slow: int) -> Build:
    """Three hundred events, 20 ms apart; the first `slow` take 2 s, the others 10 ms or 12 ms."""
    build = Build({"warm_up": "1s"}, end=30.0)
    for number in range(300):
        build.flow(number * 0.02, latency=2.0 if number < slow else (0.01, 0.012)[number % 2])
    return build


@pytest.mark.parametrize(("slow", "found", "enough"), [(40, 0.8, True), (100, 2.0, False)])
def test_a_run_says_whether_its_warm_up_is_long_enough(slow: int, found: float, enough: bool) -> None:
    """Planned is 1 s: the fortieth event comes after 0.8 s, the hundredth after 2 s."""
    result = settling(settled(slow).run())["work"]

    assert result.to_json() == {"planned": 1.0, "found": found, "enough": enough}


def test_too_few_events_say_nothing() -> None:
    build = Build({"warm_up": "1s"})
    build.send(build.event(1.0))

    assert settling(build.run())["work"].to_json() == {
        "planned": 1.0, "found": None, "enough": None, "reason": "too few events in the run",
    }  # fmt: skip
