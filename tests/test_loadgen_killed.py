"""A driver that is killed in the middle: nothing goes on running, and what it recorded opens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from loadgen.clusters.processes import Identity, identify
from rundata.dataset import open_run
from rundata.rows import Kind

pytestmark = pytest.mark.live

# A driver as the command line is one: it drives until it is killed, or told to stop by Ctrl-C.
DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from live_runs import SMALL, drive_embedded, load
drive_embedded(load(SMALL, ["duration=60s"]), Path(sys.argv[1]))
"""
CHILDREN = {"loadgen.producer_process": 2, "loadgen.member_process": 2, "loadgen.control": 1}


def soon(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait until something is so."""
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def start_driver(folder: Path) -> tuple[subprocess.Popen[bytes], list[Identity]]:
    """Start a driver, wait until it has recorded something, and return it with all processes below it."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder), str(Path(__file__).parent)])
    assert soon(lambda: len(list((folder / "operations.parts").glob("*.parquet"))) > 1, 30)
    time.sleep(0.3)
    below = psutil.Process(driver.pid).children(recursive=True)
    commands = [child.cmdline() for child in below]
    assert {module: sum(module in command for command in commands) for module in CHILDREN} == CHILDREN
    identities = [identity for child in below if (identity := identify(child.pid)) is not None]
    assert len(identities) == len(below) >= 6
    return driver, identities


def test_nothing_survives_a_killed_driver_and_its_dataset_opens(tmp_path: Path):
    """SIGKILL leaves neither producers nor members, Locust or brokers, and a run that says that it is not complete."""
    driver, below = start_driver(tmp_path / "run")

    driver.kill()
    driver.wait()

    assert soon(lambda: not any(each.runs() for each in below), 10), [each for each in below if each.runs()]
    run = open_run(tmp_path / "run")
    assert run.state == "running"
    sends = run.data.operations[run.data.operations["kind"] == Kind.send]
    assert len(sends) > 100
    # What the children had written after the last part is there too: rows survive in their files.
    assert sends["ended_ns"].max() > 2_000_000_000


def test_ctrl_c_ends_everything_and_leaves_an_interrupted_run(tmp_path: Path):
    driver, below = start_driver(tmp_path / "run")

    os.kill(driver.pid, signal.SIGINT)

    assert driver.wait(timeout=20) != 0
    assert soon(lambda: not any(each.runs() for each in below), 10), [each for each in below if each.runs()]
    run = open_run(tmp_path / "run")
    assert run.state == "interrupted"
    assert len(run.data.operations) > 300
    assert not list((tmp_path / "run").glob("*.rows"))


def test_a_killed_producer_process_ends_the_run_in_good_order(tmp_path: Path):
    """Its sends under way are unknown, everybody else's are answered, and the run says who died."""
    driver, below = start_driver(tmp_path / "run")
    victim = next(c for c in psutil.Process(driver.pid).children() if "loadgen.producer_process" in c.cmdline())

    victim.kill()

    assert driver.wait(timeout=30) == 0
    assert soon(lambda: not any(each.runs() for each in below), 10)
    run = open_run(tmp_path / "run")
    assert run.state == "interrupted"
    assert f"(process {victim.pid}) ended with status -9" in run.data.about["incomplete"][0]
