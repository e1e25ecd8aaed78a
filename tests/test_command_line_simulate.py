"""`eventdrill simulate`, and the Python behind it: documents, exit codes, equal runs for equal seeds, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import eventdrill as ed
from eventdrill.command_line import app
from process_groups import left_of_group

SMALL = """\
scenario: small
seed: 3
profile: ideal
duration: 4s
drain: 10s
brokers: {kind: kafka, nodes: 1}
topics: {orders: {partitions: 2}}
producers: {shop: {topic: orders, arrivals: 50/s, key: {uniform: 20}}}
groups: {fulfilment: {topics: [orders], work: 1ms}}
expect: [lost == 0, "gap[orders] < 3s"]
"""
Ran = Any  # typer hides the type of its runner's result
Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty folder that holds `small.yaml`."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return lambda *arguments: CliRunner().invoke(app, ["simulate", *arguments], prog_name="eventdrill")


def tables(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.parquet"))}


def test_a_simulated_run_prints_one_document_and_leaves_a_dataset(run: Run) -> None:
    """Everything on standard output reads back as JSON; where the run lies stands on standard error."""
    found = run("small.yaml", "--json")

    document = json.loads(found.stdout)
    assert found.exit_code == 0, found.stderr
    assert set(document) == {"indicators", "checks", "expect", "valid", "run"}
    assert [(each["text"], each["held"]) for each in document["expect"]] == [
        ("lost == 0", True),
        ("gap[orders] < 3s", True),
    ]
    assert document["valid"] == {"ok": True, "reasons": []}
    assert {key: document["run"][key] for key in ("seed", "engine", "profile")} == {
        "seed": 3,
        "engine": "simulated",
        "profile": "ideal",
    }
    assert document["run"]["brokers"] == {"implementation": "simulated", "version": "4.2", "nodes": 1}
    assert document["indicators"]["lost"]["value"] == 0
    assert found.stderr.splitlines()[-1] == "run: runs/small-simulated-1"
    assert ed.open("runs/small-simulated-1").to_json() == document


def test_one_seed_is_one_run_whatever_the_number_of_processes(run: Run) -> None:
    """Twice, and with one process and two: identical tables, intervals included. Another seed is another run."""
    for out, more in (
        ("a", ["--jobs", "1"]),
        ("b", ["--jobs", "1"]),
        ("c", ["--jobs", "2"]),
        ("d", ["--jobs", "1", "--seed", "4"]),
    ):
        assert run("small.yaml", "--replications", "6", "--out", out, *more).exit_code == 0

    assert tables("a") == tables("b") == tables("c")
    assert tables("a")["operations.parquet"] != tables("d")["operations.parquet"]


def test_replications_give_intervals(run: Run) -> None:
    """A single run has none."""
    several = json.loads(run("small.yaml", "--replications", "5", "--jobs", "1", "--json").stdout)
    single = json.loads(run("small.yaml", "--json").stdout)

    low, high = several["indicators"]["latency.mean"]["mean_interval"]
    assert low < several["indicators"]["latency.mean"]["value"] < high
    assert several["run"]["replications"] == 5
    assert single["indicators"]["latency.mean"]["mean_interval"] is None


def test_every_indicator_that_was_measured_has_both_intervals(run: Run) -> None:
    """Quantiles and counts as well as means; only a series of windows, and what no run reached, has none."""
    found = json.loads(run("small.yaml", "--replications", "5", "--jobs", "1", "--json").stdout)["indicators"]

    reached = {name: each for name, each in found.items() if isinstance(each["value"], float)}
    assert {"latency[fulfilment].p999", "latency.p50", "lag.max", "lost", "consumed"} <= reached.keys()
    for each in reached.values():
        assert each["interval"][0] <= each["value"] <= each["interval"][1]
        assert each["mean_interval"][0] <= each["mean_interval"][1]


def test_a_run_tells_how_long_it_took_to_settle(run: Run) -> None:
    """By MSER-5, beside the warm-up that was planned: in the document and in a line of the tables."""
    document = json.loads(run("small.yaml", "--seed", "1", "--set", "duration=20s", "--json").stdout)
    found = document["run"]["warm_up"]["fulfilment"]

    assert (found["planned"], found["enough"]) == (0.0, found["found"] == 0)
    assert "warm-up of 0s, by MSER-5: fulfilment settled after" in run("small.yaml", "--set", "duration=20s").stdout


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "2000", "spark:somewhere"])
def test_jobs_that_are_none_are_refused_before_anything_starts(run: Run, jobs: str) -> None:
    found = run("small.yaml", "--jobs", jobs)

    assert found.exit_code == 2
    assert "it is a number of processes from 1 to 1024, dask:HOST:PORT or ray:ADDRESS" in found.stderr
    assert not Path("runs").exists()


def test_a_precision_adds_runs_until_the_means_are_known_so_well(run: Run) -> None:
    """A coarse one is met by the first twenty, a fine one takes more, and R is the most."""

    def replications(*options: str) -> int:
        document = json.loads(run("small.yaml", "--jobs", "1", "--json", *options).stdout)
        count: int = document["run"]["replications"]
        return count

    assert replications("--precision", "50%") == 20
    assert 20 < replications("--precision", "2%") <= 1000
    assert replications("--precision", "0.01%", "--replications", "25") == 25


def test_an_expectation_that_fails_is_exit_code_1(run: Run) -> None:
    found = run("small.yaml", "--set", "expect=[lost > 0]")

    assert found.exit_code == 1
    assert "FAILED" in found.stdout


def test_operations_may_be_left_out_of_the_dataset(run: Run) -> None:
    """The figures stay."""
    found = run("small.yaml", "--operations", "none", "--json")
    kept = run("small.yaml", "--json")

    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["indicators"] == json.loads(kept.stdout)["indicators"]
    assert len(ed.open("runs/small-simulated-1").data.operations) == 0


def test_the_dataset_holds_the_scenario_as_it_was_changed(run: Run) -> None:
    run("small.yaml", "--set", "groups.fulfilment.members=2", "--out", "two")

    assert ed.open("two").data.plan.scenario.groups["fulfilment"].members == 2


def test_python_says_the_same_without_a_dataset(run: Run) -> None:
    """A file, a scenario read before, and one made in Python give the same figures as the command line."""
    document = json.loads(run("small.yaml", "--json").stdout)
    loaded = ed.load("small.yaml")

    for source in ("small.yaml", Path("small.yaml"), loaded, loaded.scenario):
        assert ed.simulate(source).to_json()["indicators"] == document["indicators"]
    frame = ed.simulate("small.yaml", seed=3).indicators
    assert frame.loc["lost", "value"] == 0


def _until_simulating(folder: Path, within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not (folder / "runs" / "small-simulated-1" / "plan.parquet").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_ctrl_c_leaves_a_dataset_that_opens(tmp_path: Path, cache: str) -> None:
    """In the middle of many replications, or while the simulator is compiled: 130 within seconds, and no process left."""
    (tmp_path / "small.yaml").write_text(SMALL)
    program = str(Path(sys.executable).with_name("eventdrill"))
    command = [program, "simulate", "small.yaml", "--replications", "100000", "--jobs", "2"]
    fresh = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")} if cache == "cold" else {}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | fresh,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _until_simulating(tmp_path)
    told = ""
    if cache == "cold":
        assert process.stderr is not None
        told = process.stderr.readline()  # however long that takes on a busy machine
        time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    # Not always the last line: now and then what tidies up behind processes that were interrupted warns of what they left to it.
    assert "interrupted: runs/small-simulated-1 opens, and says that it is incomplete" in said.splitlines()
    assert "Traceback" not in said
    assert ("compiling the simulator" in told) is (cache == "cold")
    opened = ed.open(tmp_path / "runs" / "small-simulated-1")
    assert (opened.state, opened.complete) == ("interrupted", False)
    assert left_of_group(process.pid) == []


# ---- long runs -------------------------------------------------------------------------------------------------------


def test_a_long_run_says_what_it_is_made_of_and_opens_again(run: Run) -> None:
    """Twenty-two minutes in stretches: one around the crash, and a table says where each minute comes from."""
    found = run(
        "small.yaml", "--stretches", "resampled", "--json", "--jobs", "1", "--out", "long",
        "--set", "duration=22m", "--set", "producers.shop.arrivals=5/s",
        "--set", "faults=[{fault: member_crash, member: fulfilment/1, at: 15m, for: 5s}]",
    )  # fmt: skip

    document = json.loads(found.stdout)
    assert found.exit_code == 1, found.stderr  # the gap is longer than 3 s, since a session has to run out
    assert document["run"]["stretches"] == {"disturbed": 1, "exact": 18, "resampled": 0, "resampled_share": 0.0}
    assert document["indicators"]["gap[orders]"]["value"] > 3
    opened = ed.open("long")
    assert opened.to_json()["indicators"]["gap[orders]"] == document["indicators"]["gap[orders]"]
    stretches = pq.read_table("long/stretches.parquet").to_pylist()
    assert len(stretches) == 19
    assert [each["end_ns"] - each["begin_ns"] for each in stretches if each["how"] == "disturbed"] == [240_000_000_000]
    windows = pq.read_table("long/windows.parquet").to_pylist()
    acked = sum(each["count"] for each in windows if each["stage"] == "ack")
    assert acked == round(document["indicators"]["produced"]["value"] * 22 * 60)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--operations", "all"), "--operations all is for runs that are simulated as a whole"),
        (("--precision", "5%"), "--precision is for runs that are simulated as a whole"),
        (
            ("--set", "brokers.nodes=3", "--set", "faults=[{fault: leader_move, partition: orders/0, at: 1s}]"),
            "never undone",
        ),
    ],
)
def test_what_a_run_in_stretches_cannot_do_is_refused(run: Run, options: tuple[str, ...], said: str) -> None:
    found = run("small.yaml", "--stretches", "exact", *options)

    assert (found.exit_code, found.stdout) == (2, "")
    assert said in found.stderr
