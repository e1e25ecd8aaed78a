"""A driver that is killed, or hangs, in the middle of faults on its own Kafka: nothing stays hurt, and nothing goes on running."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from loadgen.clusters import disks
from loadgen.clusters.places import scratch_dirs
from loadgen.clusters.processes import Identity, identify
from rundata.dataset import open_run

pytestmark = pytest.mark.live

# A driver as the command line is one, with faults that hold at once for longer than any test waits, and a command of the user's that shows when they
# do. It says where it is when it has taken unusually long.
DRIVER = """
import faulthandler, sys
from pathlib import Path
faulthandler.dump_traceback_later(60, repeat=True)
sys.path.insert(0, sys.argv[2])
from live_runs import drive_on, load, spec_of
from loadgen.clusters.local import start_local
from test_lab_kafka import SCENARIO
mark = sys.argv[3]
hook = f"{{fault: hook, begin: 'touch {mark}', end: 'rm {mark}', at: 1500ms, for: 200s}}"
loaded = load(SCENARIO, [f"faults=[{', '.join([*sys.argv[4:], hook])}]", "duration=240s"])
with start_local(spec_of(loaded), progress=lambda line: None) as cluster:
    drive_on(cluster, loaded, Path(sys.argv[1]))
"""

HOLDERS = [
    "{fault: broker_pause, broker: 2, at: 1s, for: 200s}",
    "{fault: cut, between: [clients, broker 3], at: 1s, for: 200s}",
    "{fault: retention, topic: letters, to: 1s, at: 1s, for: 200s}",
]
"""Faults of three holders; a disk, where one can be had, has a fourth."""
CLOCKS_AND_SCHEMAS = [
    "{fault: clock_skew, producer: shop, by: -60s, at: 1s, for: 200s}",
    "{fault: clock_skew, broker: 1, by: 2h, at: 1s, for: 200s}",
    "{fault: schema_change, producer: post, version: 2, at: 1s, for: 200s}",
]
"""What processes of the run do by themselves."""
if disks.cannot_have() is None:
    HOLDERS.append("{fault: disk_stall, broker: 1, at: 1s, for: 200s}")
    CLOCKS_AND_SCHEMAS.append("{fault: host_crash, broker: 3, at: 1s, for: 200s}")
TOPICS_AND_LINKS = [
    "{fault: leader_move, partition: orders/0, to: 3, at: 1s, for: 200s}",
    "{fault: throttle, producer: shop, rate: 2kB/s, at: 1s, for: 200s}",
    "{fault: add_partitions, topic: letters, to: 4, at: 1s}",
    "{fault: reassign, partition: letters/0, to: [3, 2], at: 1s}",
    "{fault: delete_records, topic: letters, up_to: latest, at: 1s}",
    "{fault: slow_link, between: [clients, broker 3], delay: 20ms, at: 1s, for: 200s}",
    "{fault: broker_stop, broker: 1, at: 1s, for: 200s}",
]
"""What topics are told, a slow link, and a broker that leaves in good order."""
BROKERS = [
    "{fault: broker_crash, broker: 1, at: 1s, for: 200s}",
    "{fault: rolling_restart, brokers: [2], at: 1s, for: 200s}",
    "{fault: disk_full, broker: 3, at: 1s, for: 200s}",
]
"""All brokers at once, each in its way."""
WITH_DISKS = int(disks.cannot_have() is None)


def soon(condition: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def start_driver(
    tmp_path: Path, faults: Sequence[str], running: Mapping[str, int]
) -> tuple[subprocess.Popen[bytes], list[Identity], Path]:
    """Start a driver and wait until all its faults hold and so many processes run; gives it, all below it, and what its hook has made."""
    mark, said = tmp_path / "hurt", tmp_path / "said.txt"
    command = [
        sys.executable,
        "-P",
        "-c",
        DRIVER,
        str(tmp_path / "run"),
        str(Path(__file__).parent),
        str(mark),
        *faults,
    ]
    with said.open("wb") as out:
        driver = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    came = soon(lambda: mark.exists() or driver.poll() is not None, 90) and mark.exists()
    if not came or not soon(lambda: counts(driver, running) == dict(running), 30):
        told = account(driver, tmp_path)
        driver.kill()
        driver.wait()
        pytest.fail(f"the faults do not hold ({'begun' if came else 'not begun'}; wanted {running}):\n{told}")
    below = [
        identity for child in psutil.Process(driver.pid).children(recursive=True) if (identity := identify(child.pid))
    ]
    return driver, below, mark


def account(driver: subprocess.Popen[bytes], tmp_path: Path) -> str:
    """Tell all that can be seen of a driver: what it said, what its run says of itself, and what each process below it waits for."""
    lines = [
        f"driver {driver.pid}, status {driver.poll()}",
        (tmp_path / "said.txt").read_text(errors="replace")[-6000:],
    ]
    if (facts := tmp_path / "run" / "run.json").exists():
        about = json.loads(facts.read_text())
        lines += [f"{name}: {about.get(name)}" for name in ("state", "incomplete", "invalid", "clock_start", "end_ns")]
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                waits = Path(f"/proc/{process.pid}/wchan").read_text()
                command = " ".join(process.cmdline())[-120:]
                lines.append(
                    f"{process.pid} {process.status()} since {time.time() - process.create_time():.1f} s, waits in {waits}: {command}"
                )
    lines += [f"mounted: {at}" for base in scratch_dirs() for at in disks.mounted_below(base)]
    return "\n".join(lines)


def counts(driver: subprocess.Popen[bytes], running: Mapping[str, int]) -> dict[str, int]:
    """Count the processes below a driver by a word of their commands."""
    commands = []
    for child in psutil.Process(driver.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            commands.append(" ".join(child.cmdline()))
    return {kind: sum(kind in command for command in commands) for kind in running}


def directories(below: list[Identity]) -> list[Path]:
    """List what the processes below a driver keep; others on this machine may have clusters too."""
    pids = {each.pid for each in below}
    records = [found for base in scratch_dirs() for found in base.glob("eventdrill-*/keeper.json")]
    return [found.parent for found in records if json.loads(found.read_text())["keeper"]["pid"] in pids]


ALL_UP = {"kafka.Kafka": 4, "proxies.server": 1, "watchdog.server": 1, "clusters.keeper": 1}
ONE_GONE = {"kafka.Kafka": 4 - WITH_DISKS, "proxies.server": 0, "watchdog.server": 1, "clusters.keeper": 1}


def stopped(below: list[Identity]) -> bool:
    """Whether one of some processes hangs."""
    return any(psutil.Process(each.pid).status() == psutil.STATUS_STOPPED for each in below)


def gone(below: list[Identity], kept: list[Path]) -> bool:
    """Whether no process is left of a driver that has ended, nor data, nor a disk."""
    assert soon(lambda: not any(each.runs() for each in below), 15), [each for each in below if each.runs()]
    assert soon(lambda: not any(each.exists() for each in kept), 10)
    return not any(map(disks.mounted_below, kept))


def test_a_killed_driver_leaves_neither_faults_nor_processes_nor_data(tmp_path: Path):
    """SIGKILL while a broker is stopped, a link is cut, a topic is changed, a disk waits and a command of the user's has hurt something."""
    driver, below, mark = start_driver(tmp_path, HOLDERS, ALL_UP)
    kept = directories(below)
    assert stopped(below)
    assert len(kept) == 3  # the keeper's, the proxies' and the watchdog's
    assert any(map(disks.mounted_below, kept)) == (disks.cannot_have() is None)

    driver.kill()
    driver.wait()

    assert soon(lambda: not mark.exists(), 10)
    assert gone(below, kept)


def test_a_driver_that_is_killed_while_a_machine_is_gone_and_a_clock_is_wrong_leaves_nothing(tmp_path: Path):
    """SIGKILL while a broker's machine has lost power, a producer's clock is behind and another one sends a schema that nobody knows."""
    driver, below, mark = start_driver(tmp_path, CLOCKS_AND_SCHEMAS, ONE_GONE)
    kept = directories(below)
    assert len(kept) == 2  # the keeper's and the watchdog's
    assert any(map(disks.mounted_below, kept)) == (disks.cannot_have() is None)

    driver.kill()
    driver.wait()

    assert soon(lambda: not mark.exists(), 10)
    assert gone(below, kept)
    # What had come until then opens.
    assert len(open_run(tmp_path / "run").data.operations) > 100


@pytest.mark.parametrize(
    ("faults", "brokers"), [(TOPICS_AND_LINKS, 2), (BROKERS, 0)], ids=["topics and links", "brokers"]
)
def test_a_driver_that_is_killed_leaves_nothing_whatever_is_hurt(tmp_path: Path, faults: list[str], brokers: int):
    """SIGKILL while topics are changed, clients held back and a link is slow; and while every broker is down. A controller runs in both."""
    proxies = int(faults is TOPICS_AND_LINKS)
    running = {**ALL_UP, "kafka.Kafka": brokers + 1, "proxies.server": proxies}
    driver, below, mark = start_driver(tmp_path, faults, running)
    kept = directories(below)
    assert len(kept) == 2 + proxies

    driver.kill()
    driver.wait()

    assert soon(lambda: not mark.exists(), 10)
    assert gone(below, kept)
    assert len(open_run(tmp_path / "run").data.operations) > 50


def test_ctrl_c_in_the_middle_of_faults_undoes_them_too(tmp_path: Path):
    driver, below, mark = start_driver(tmp_path, HOLDERS, ALL_UP)
    kept = directories(below)
    assert len(kept) == 3  # the keeper's, the proxies' and the watchdog's

    os.kill(driver.pid, signal.SIGINT)

    assert driver.wait(timeout=60) != 0
    assert not mark.exists()
    assert gone(below, kept)
