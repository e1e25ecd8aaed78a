"""A driver that is killed, or hangs, in the middle of faults on its own Kafka: nothing stays hurt, and nothing goes on running."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from loadgen.clusters import disks
from loadgen.clusters.places import scratch_dirs
from loadgen.clusters.processes import Identity, identify

pytestmark = pytest.mark.live

# A driver as the command line is one. Half a minute of four faults that hold at once, of four different holders; and where disks can be
# had, a fifth one.
DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from live_runs import drive_on, load, spec_of
from loadgen.clusters import disks
from loadgen.clusters.local import start_local
from test_lab_kafka import SCENARIO
mark = sys.argv[3]
faults = [
    "{fault: broker_pause, broker: 2, at: 1s, for: 30s}",
    "{fault: cut, between: [clients, broker 3], at: 1s, for: 30s}",
    "{fault: retention, topic: letters, to: 1s, at: 1s, for: 30s}",
    f"{{fault: hook, begin: 'touch {mark}', end: 'rm {mark}', at: 1500ms, for: 30s}}",
]
if disks.cannot_have() is None:
    faults.append("{fault: disk_stall, broker: 1, at: 1s, for: 30s}")
loaded = load(SCENARIO, [f"faults=[{', '.join(faults)}]", "duration=40s"])
with start_local(spec_of(loaded), progress=lambda line: None) as cluster:
    drive_on(cluster, loaded, Path(sys.argv[1]))
"""


def soon(condition: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def start_driver(tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[Identity], Path]:
    """Start a driver and wait until all its faults hold; gives it, all processes below it, and what its hook has made."""
    mark = tmp_path / "hurt"
    driver = subprocess.Popen(
        [sys.executable, "-P", "-c", DRIVER, str(tmp_path / "run"), str(Path(__file__).parent), str(mark)]
    )
    assert soon(mark.exists, 90)
    below = [
        identity for child in psutil.Process(driver.pid).children(recursive=True) if (identity := identify(child.pid))
    ]
    commands = [" ".join(psutil.Process(each.pid).cmdline()) for each in below]
    for kind, count in {"kafka.Kafka": 4, "proxies.server": 1, "watchdog.server": 1, "clusters.keeper": 1}.items():
        assert sum(kind in command for command in commands) == count, kind
    assert any(psutil.Process(each.pid).status() == psutil.STATUS_STOPPED for each in below)
    return driver, below, mark


def directories(below: list[Identity]) -> list[Path]:
    """List what the processes below a driver keep; others on this machine may have clusters too."""
    pids = {each.pid for each in below}
    records = [found for base in scratch_dirs() for found in base.glob("eventdrill-*/keeper.json")]
    return [found.parent for found in records if json.loads(found.read_text())["keeper"]["pid"] in pids]


def test_a_killed_driver_leaves_neither_faults_nor_processes_nor_data(tmp_path: Path):
    """SIGKILL while a broker is stopped, a link is cut, a topic is changed and a command of the user's has hurt something."""
    driver, below, mark = start_driver(tmp_path)
    kept = directories(below)
    assert len(kept) == 3  # the keeper's, the proxies' and the watchdog's
    assert any(map(disks.mounted_below, kept)) == (disks.cannot_have() is None)

    driver.kill()
    driver.wait()

    assert soon(lambda: not mark.exists(), 10)
    assert soon(lambda: not any(each.runs() for each in below), 15), [each for each in below if each.runs()]
    assert soon(lambda: not any(each.exists() for each in kept), 10)
    assert not any(map(disks.mounted_below, kept))


def test_ctrl_c_in_the_middle_of_faults_undoes_them_too(tmp_path: Path):
    driver, below, mark = start_driver(tmp_path)
    kept = directories(below)
    assert len(kept) == 3  # the keeper's, the proxies' and the watchdog's

    os.kill(driver.pid, signal.SIGINT)

    assert driver.wait(timeout=60) != 0
    assert not mark.exists()
    assert soon(lambda: not any(each.runs() for each in below), 10), [each for each in below if each.runs()]
    assert soon(lambda: not any(each.exists() for each in kept), 10)
