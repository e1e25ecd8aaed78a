"""A driver that is killed in the middle: nothing goes on running, and what it recorded opens."""

import contextlib
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
# The same with every fault of producers, members, events and dependencies in effect at once, from 1 s on.
HURT_DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from live_runs import drive_embedded, load
from test_loadgen_process_faults import SCENARIO
text = SCENARIO.replace("CLIENT", "librdkafka").replace("count: 2", "count: 3").replace("members: 2", "members: 5")
side = "  side: {topics: [orders], members: 2, work: 1ms, settings: {session.timeout.ms: 6000}}"
text = text.replace("dependencies:", side + chr(10) + "dependencies:")
drive_embedded(load(text, [f"faults=[{sys.argv[3]}]", "duration=60s"]), Path(sys.argv[1]))
"""
OF_PROCESSES = [
    "{fault: producer_crash, producer: shop/1, at: 1s, for: 40s}",
    "{fault: producer_pause, producer: shop/2, at: 1s, for: 40s}",
    "{fault: surge, producer: shop, factor: 2, at: 1s, for: 40s}",
    "{fault: poison, producer: shop, share: 5%, at: 1s, for: 40s}",
    "{fault: duplicates, producer: shop, share: 5%, at: 1s, for: 40s, after: 50ms}",
    "{fault: late, producer: shop, share: 5%, by: 150ms, at: 1s, for: 40s}",
    "{fault: oversized, producer: shop, events: 3, size: 2MiB, at: 1s, for: 40s}",
    "{fault: member_crash, member: work/1, at: 1s, for: 40s}",
    "{fault: member_pause, member: work/2, at: 1s, for: 40s}",
    "{fault: member_leave, member: work/3, at: 1s, for: 40s}",
    "{fault: poll_stall, member: work/4, at: 1s, for: 40s}",
    "{fault: rolling_deploy, group: side, at: 1s, for: 40s}",
    "{fault: slow_work, group: work, factor: 3, at: 1s, for: 40s}",
    "{fault: failing_work, group: work, share: 20%, at: 1s, for: 40s}",
    "{fault: dependency_slow, dependency: stock, factor: 10, at: 1s, for: 10s}",
    "{fault: dependency_down, dependency: stock, at: 12s, for: 10s}",
]
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


def status_of(command: str, below: list[psutil.Process]) -> list[str]:
    """Return the status of each process below a driver that runs one of our modules."""
    found = []
    for each in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            if command in each.cmdline():
                found.append(each.status())
    return found


def test_a_driver_that_is_killed_while_its_processes_are_hurt_leaves_none_of_them(tmp_path: Path):
    """SIGKILL with a producer and a member killed, others stopped, one gone and one stalled, and every fault of events and dependencies on."""
    command = [
        sys.executable,
        "-c",
        HURT_DRIVER,
        str(tmp_path / "run"),
        str(Path(__file__).parent),
        ", ".join(OF_PROCESSES),
    ]
    driver = subprocess.Popen(command)

    def hurt() -> bool:
        below = psutil.Process(driver.pid).children(recursive=True)
        producers, members = (status_of(f"loadgen.{name}_process", below) for name in ("producer", "member"))
        stopped = psutil.STATUS_STOPPED
        return len(producers) == 2 and len(members) == 4 and stopped in producers and stopped in members

    assert soon(hurt, 60)
    time.sleep(1)
    below = psutil.Process(driver.pid).children(recursive=True)
    identities = [identity for child in below if (identity := identify(child.pid)) is not None]

    driver.kill()
    driver.wait()

    assert soon(lambda: not any(each.runs() for each in identities), 10), [each for each in identities if each.runs()]
    run = open_run(tmp_path / "run")
    assert run.state == "running"
    assert len(run.data.operations) > 100


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
