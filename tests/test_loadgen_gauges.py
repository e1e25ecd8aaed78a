"""Samples of the host: what belongs to the run, and what its neighbours take."""

import subprocess
import sys
import time
from collections.abc import Iterator

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
