"""Verifications on fresh clusters: flips of verdicts and intervals that are too wide or too narrow are found where they are planted."""

import pandas as pd

from benchmark_files import benchmark

repeats = benchmark("agreement/repeats.py")


def _row(cluster: int, run: int, observed: float, verdict: str = "agrees", **more: object) -> dict[str, object]:
    row = {
        "cluster": cluster,
        "run": run,
        "figure": "gap[orders]",
        "predicted": 9.0,
        "low": 7.0,
        "high": 11.0,
        "observed": observed,
        "verdict": verdict,
        "affected": True,
        "broker_drift": 0.05 * cluster,
    }
    return {**row, **more}


def test_a_verdict_that_flips_is_named() -> None:
    """Agrees on one cluster, differs on another; "cannot tell" beside either is no flip."""
    calm = [_row(1, 1, 9.0), _row(2, 1, 9.2, "cannot tell")]

    assert repeats.flips(pd.DataFrame(calm)) == []
    assert repeats.flips(pd.DataFrame([*calm, _row(3, 1, 12.0, "differs")])) == ["gap[orders]"]


def test_an_interval_is_held_against_how_far_runs_lie_apart() -> None:
    """Ten runs of which 95 % fall in an interval 3.32 wide (standard deviation 0.70, t 2.26 with 9 degrees of freedom): 4 is 1.20 times that."""
    observed = [8.0, 8.2, 8.6, 8.8, 9.0, 9.2, 9.4, 9.6, 9.8, 10.2]
    (line,) = repeats.table(pd.DataFrame([_row(1, n, value) for n, value in enumerate(observed)]))

    assert line["width over the runs' own (at most 1.3)"] == "1.20"
    assert line["inside"] == "10 of 10"
    assert line["runs: median (least to most)"] == "9.1 (8 to 10.2)"


def test_runs_outside_their_interval_are_counted_and_called_unlikely() -> None:
    """Three of six; figures without a fault in them have no line."""
    rows = [_row(1, n, 9.0 if n % 2 else 12.0) for n in range(6)]

    (line,) = repeats.table(pd.DataFrame([*rows, _row(1, 1, 9.0, figure="latency[before faults].p50", affected=False)]))

    assert line["inside"].startswith("3 of 6 (p = ")


def test_the_page_says_what_was_verified() -> None:
    """Two clusters, one run each."""
    told = repeats.report(pd.DataFrame([_row(1, 1, 9.0), _row(2, 1, 9.5)]))

    assert told.startswith(
        "2 verifications, 2 runs; verdicts: 2 agrees, 0 cannot tell, 0 differs. Flips between *agrees* and *differs*: none. "
    )
    assert "Brokers took +5% to +10% CPU time against the calibration." in told
