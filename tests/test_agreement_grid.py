"""The grid of steady states: its design fills the space, and its statistics find what is planted."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark_files import benchmark
from scenarios.profiles import IDEAL, Profile

grid = benchmark("agreement/run.py")


def _row(point: int, run: int, predicted: float, observed: float, **more: object) -> dict[str, object]:
    row = {
        "point": point,
        "run": run,
        "figure": "latency.p50",
        "predicted": predicted,
        "low": 0.9 * predicted,
        "high": 1.1 * predicted,
        "observed": observed,
        "error": observed / predicted - 1,
        "verdict": "agrees",
        "doubt": "",
        "broker_drift": math.nan,
    }
    return {**row, **more}


def test_the_points_are_forty_and_reach_every_setting() -> None:
    """One in eight has more work than its members can do; rates span 50 to 1,000/s evenly on a logarithmic scale."""
    points = grid.design()

    assert len(points) == 40
    assert {p.linger_ms for p in points} == {0, 1, 5, 20, 50}
    assert {p.batch_size_bytes for p in points} == {2048, 16384, 1000000}
    assert {p.partitions for p in points} == {1, 3, 6, 12}
    assert {p.acks for p in points} == {"1", "all"}
    assert {p.members for p in points} == {1, 2, 3, 4}
    assert sum(p.utilisation > 1 for p in points) == 5
    quarters, _ = np.histogram([math.log(p.rate_hz / 50) / math.log(20) for p in points], bins=4, range=(0, 1))
    assert np.abs(quarters - 10).max() <= 1  # a rate that was rounded may lie beyond its quarter's end


@pytest.mark.parametrize("number", range(1, 41))
def test_every_point_is_a_scenario_whose_busiest_member_is_as_busy_as_it_says(number: int) -> None:
    """Work per event times the busiest member's rate is the utilisation, to the rounding of a microsecond."""
    point = grid.design()[number - 1]
    scenario = point.scenario.scenario

    busiest_hz = point.rate_hz * math.ceil(point.partitions / point.members) / point.partitions
    assert point.work_us == 50 or busiest_hz * point.work_us / 1e6 == pytest.approx(point.utilisation, rel=0.01)
    assert scenario.groups["work"].members == point.members


def test_a_prediction_as_good_as_another_run_has_the_ratio_one() -> None:
    """Runs 10 % apart, the prediction 10 % from each of them (in logarithms): 1; one 20 % away: 2."""
    step = math.exp(0.1)
    first, second = _row(1, 1, 1.0, step), _row(1, 2, step**3, step**2)

    assert grid._ratio(pd.DataFrame([first, second])) == "1.00"
    assert grid._ratio(pd.DataFrame([_row(1, 1, step**3, step), _row(1, 2, step**4, step**2)])) == "2.00"
    assert grid._ratio(pd.DataFrame([first])) == ""  # nothing to hold it against


def test_a_bias_and_intervals_that_are_too_narrow_are_found() -> None:
    """Twenty of forty runs 20 % slow: the median is between, half are outside, and chance does not explain it."""
    rows = pd.DataFrame([_row(n, 1, 10.0, 12.0 if n % 2 else 10.0) for n in range(40)])

    (found,) = grid.errors(rows)

    assert found["runs"] == "40"
    assert found["error, median"] == "10.0%"
    assert found["95th percentile"] == "20.0%"
    assert found["within it"] == "50%"
    assert found["inside 95 %"].startswith("20 of 40 (p = ")


def test_errors_are_shown_by_how_many_requests_the_brokers_get() -> None:
    """Point 33 makes 17 requests/s, point 5 makes 794: an error of 2 % there and 40 % here are told apart."""
    calm, busy = grid.by_load(pd.DataFrame([_row(33, 1, 1.0, 1.02), _row(5, 1, 1.0, 1.4), _row(5, 2, 1.0, 0.8)]), 1)

    assert grid.design(1)[32].requests_hz == pytest.approx(137 / (1 + 137 * 0.05))
    assert (calm["produce requests"], calm["runs"], calm["`latency.p50`"]) == ("0 to 150/s", "1", "2.0%, 2.0%")
    assert (busy["produce requests"], busy["runs"], busy["`latency.p50`"]) == ("above 400/s", "2", "30.0%, 39.0%")


def test_an_interval_score_grows_by_forty_times_the_miss() -> None:
    """Width 2 over an observation of 10 is 0.2; a miss of 1 above it adds 40/12."""
    assert grid._score(pd.DataFrame([_row(1, 1, 10.0, 10.0)])) == "0.20"
    assert grid._score(pd.DataFrame([_row(1, 1, 10.0, 12.0)])) == f"{(2 + 40) / 12:.2f}"


def test_every_run_counts_and_a_doubtful_one_is_said() -> None:
    """The page's first sentence counts points, runs, verdicts and hosts that were not calm."""
    rows = pd.DataFrame(
        [
            _row(1, 1, 10.0, 10.0),
            _row(1, 2, 10.0, 13.0, verdict="differs"),
            _row(2, 1, 10.0, 20.0, verdict="cannot tell", doubt="the host was busy"),
        ]
    )

    assert grid.report(rows).splitlines()[0] == (
        "2 points, 3 runs, 3 verdicts: 1 agrees, 1 cannot tell, 1 differs. "
        "Runs whose host was not calm, by what they measured themselves: 1."
    )


def test_a_host_that_drifts_away_is_named_as_what_errors_go_with() -> None:
    """Runs 5 and 10 % slower where brokers took 10 and 20 % more; nothing is said of fewer than three."""
    rows = [_row(n, 1, 10.0, 10.0 + n / 2, broker_drift=0.1 * n) for n in range(3)]

    assert "brokers took +0% to +20% CPU time" in grid.report(pd.DataFrame(rows))
    assert "(correlation 1.00)" in grid.report(pd.DataFrame(rows))
    assert "CPU time" not in grid.report(pd.DataFrame(rows[:2]))


def test_each_design_has_other_points() -> None:
    """So that what the ones before taught is held against what nobody has seen."""
    points = [{(p.rate_hz, p.linger_ms, p.utilisation) for p in grid.design(which)} for which in grid.SEEDS]

    assert len(set.union(*points)) == sum(map(len, points)) == 240
    assert grid.Grid(1, [3], 0).file.name == "grid.csv"
    assert (grid.Grid(2, [3], 0).file.name, grid.Grid(2, [3], 0).profile_file.name) == ("grid-2.csv", "grid-2.yaml")


def test_points_can_be_named_and_ranged_over() -> None:
    """In the order in which they are written; what the design does not have is left out."""
    assert grid.numbers_of("5,7,12-14") == [5, 7, 12, 13, 14]
    assert grid.numbers_of("39-45") == [39, 40]
    assert [point.number for point in grid.Grid(2, grid.numbers_of("9,2"), 0).points()] == [2, 9]


def test_what_resumes_drives_the_points_that_are_missing_with_the_profile_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points 1 and 2 are there, 3 is driven and written behind them; without resuming everything is driven anew, and calibrated."""
    driven: list[tuple[int, str]] = []

    class Driven:
        def __init__(self, scenario: Any, _folder: Path, **_options: Any) -> None:
            self.number = int(scenario.scenario.scenario.rpartition("-")[2])

        def predict(self, profile: Profile) -> SimpleNamespace:
            return SimpleNamespace(profile=profile)

        def drive(self, _cluster: object, prediction: SimpleNamespace) -> tuple[()]:
            driven.append((self.number, prediction.profile.profile))
            return ()

    @contextlib.contextmanager
    def cluster(*_: Any) -> Iterator[None]:
        yield None

    def rows(point: Any, *_: Any) -> list[Any]:
        return [grid.Figure(point.number, 1, "latency.p50", 1.0, 0.9, 1.1, 1.0, 0.0, "agrees", "", math.nan)]

    monkeypatch.setattr(grid, "HERE", tmp_path)
    monkeypatch.setattr(grid, "Work", Driven)
    monkeypatch.setattr(grid, "start_cluster", cluster)
    monkeypatch.setattr(grid, "figures", rows)
    monkeypatch.setattr(grid, "warm", lambda *_: None)
    monkeypatch.setattr(grid, "calibrated", lambda *_: IDEAL.model_copy(update={"profile": "of before"}))

    grid.measure(grid.Grid(2, [1, 2], 0), resumes=False)
    grid.measure(grid.Grid(2, [1, 2, 3], 0), resumes=True)
    grid.measure(grid.Grid(2, [1, 2, 3], 0), resumes=True)

    assert driven == [(1, "of before"), (2, "of before"), (3, "of before")]
    assert pd.read_csv(tmp_path / "grid-2.csv")["point"].tolist() == [1, 2, 3]
    assert (tmp_path / "grid-2.yaml").exists()


def test_what_resumes_without_the_profile_of_before_says_which_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of point 1 are there, the profile that predicted them is not; nothing is started."""
    monkeypatch.setattr(grid, "HERE", tmp_path)
    (tmp_path / "grid.csv").write_text("point,run\n1,1\n")

    with pytest.raises(
        SystemExit, match=r"grid\.yaml: there is no such file.*name a profile with --profile, or measure"
    ):
        grid.measure(grid.Grid(1, [1, 2], 0), resumes=True)


def test_each_design_has_its_own_place_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the second one shows does not take the place of the first one's figures; the real page has a place for each."""
    page = tmp_path / "agreement.md"
    page.write_text(
        "a <!-- grid: begin --> first <!-- grid: end --> b <!-- grid-2: begin --> none <!-- grid-2: end --> c"
    )
    for which in grid.SEEDS:
        assert grid.PAGE.read_text().count(f"<!-- grid{'' if which == 1 else f'-{which}'}: begin -->") == 1
    monkeypatch.setattr(grid, "PAGE", page)

    grid.write(pd.DataFrame([_row(5, 1, 1.0, 1.02)]), 2)

    text = page.read_text()
    assert text.startswith("a <!-- grid: begin --> first <!-- grid: end --> b <!-- grid-2: begin -->")
    assert "1 points, 1 runs" in text and text.endswith("<!-- grid-2: end --> c")
