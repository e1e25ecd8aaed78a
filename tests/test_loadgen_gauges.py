"""Samples of the host: what belongs to the run, and what its neighbours take."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.gauges import Sampler, values


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that never rests."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process.pid
    process.kill()
    process.wait()


def test_a_process_that_is_not_the_runs_counts_as_a_neighbour(busy: int):
    """One sampler knows it as the run's, the other one does not; both look at the same second."""
    knows, does_not = Sampler(), Sampler()
    for at_ns in (0, 1, 2):
        knows.sample(at_ns, {"busy": busy})
        does_not.sample(at_ns, {})
        time.sleep(0.5)

    its = min(values(knows.gauges, "cpu_share", "busy"))
    between = [
        other - own
        for other, own in zip(
            values(does_not.gauges, "neighbours_cores", "host")[-1:],
            values(knows.gauges, "neighbours_cores", "host")[-1:],
            strict=True,
        )
    ]
    assert its > 0.1
    assert between[0] > its / 2


@pytest.fixture
def crowded() -> Iterator[tuple[int, int, int]]:
    """Two processes that never rest on one and the same core, of which the second is named as a JVM's compiler, and one that sleeps."""
    core = min(os.sched_getaffinity(0))
    restless = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    compiler = f"open('/proc/self/comm', 'w').write('C1 CompilerThre')\n{restless}"
    programs = [restless, compiler, "import time; time.sleep(60)"]
    processes = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    yield processes[0].pid, processes[1].pid, processes[2].pid
    for each in processes:
        each.kill()
        each.wait()


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not tell how long threads wait")
def test_a_thread_that_has_to_share_its_core_waits(crowded: tuple[int, int, int]):
    """One of two on a core waits about half of the time; nobody waits for a compiler, and who sleeps does not wait."""
    sampler = Sampler()
    shares, compiles, sleeps = crowded
    time.sleep(0.3)
    begin = time.monotonic()
    for at_ns in (0, 1):
        sampler.sample_waits(at_ns, {"broker 1": shares, "broker 2": sleeps, "broker 3": compiles})
        time.sleep(1.0)
    length_s = time.monotonic() - begin - 1.0

    assert 0.2 * length_s < values(sampler.gauges, "core_wait_s", "broker 1")[0] < 1.1 * length_s
    assert values(sampler.gauges, "core_wait_s", "broker 2") == [0.0]
    assert values(sampler.gauges, "core_wait_s", "broker 3") == [0.0]
