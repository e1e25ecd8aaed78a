"""Verifications on fresh clusters: flips of verdicts and intervals that are too wide or too narrow are found where they are planted."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from benchmark_files import benchmark
from eventdrill.workflows.verify import Verification
from reports.agreement import Verdict
from rundata.measurement import Measurement
from scenarios.files import load_scenario
from scenarios.profiles import load_profile

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


def test_each_run_of_a_verification_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of one figure; one that a run did not measure has no row."""
    verdict = Verdict(
        "gap[orders]", "s", 9.0, (7.0, 11.0), 9.5, (9.5, 10.0), 0.05, None, "agrees", "inside", affected=True
    )
    runs = [SimpleNamespace(measured={"gap[orders]": Measurement(value, "s")}, data=None) for value in (9.5, 10.0)]
    agreement = {"gap[orders]": verdict, "lost": verdict}
    work = SimpleNamespace(
        predict=lambda profile: None,
        drive=lambda cluster, prediction: runs,
        compare=lambda prediction, observed: Verification(tmp_path, prediction, tuple(observed), {}, agreement),
    )
    monkeypatch.setattr(repeats, "Work", lambda *_given, **_options: work)
    monkeypatch.setattr(repeats, "start_cluster", lambda *_given: contextlib.nullcontext())
    monkeypatch.setattr(repeats, "warm", lambda *_given: None)
    monkeypatch.setattr(repeats, "broker_drift", lambda _run, _profile: None)
    loaded = load_scenario(str(repeats.SCENARIO))

    rows = repeats._verified(loaded, tmp_path / "1", load_profile("local-kafka"), 1, 2)

    assert [(row.run, row.figure, row.observed, row.verdict) for row in rows] == [
        (1, "gap[orders]", 9.5, "agrees"),
        (2, "gap[orders]", 10.0, "agrees"),
    ]
