"""The processes that share out work: recycled, in order, and on a Dask and a Ray cluster with the results of this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim.crew import Crew, CrewError
from sim.experiments import replicate
from test_sim_experiments import SLOW, brief

_PINS: list[bytes] = []


def _litter(number: int) -> int:
    """Take and free 60 MB more each time, in pieces below one that stays, so that the C library keeps them; tell who did."""
    pieces = [bytes(100_000) for _ in range(600 * number)]
    _PINS.append(bytes(90_000))
    del pieces
    time.sleep(0.4)
    return os.getpid()


def test_a_process_gives_back_what_it_took_and_stays():
    """Up to 540 MB, on two processes: joblib would replace one that holds 300 MB more than at first, and warn."""
    with Crew(2) as crew:
        first = set(crew.each(_litter, range(1, 10)))
        assert set(crew.each(_litter, range(1, 4))) <= first
    assert len(first) == 2


def _square(number: int) -> int:
    return number * number


def blocked(_number: int) -> list[str]:
    return [signal.Signals(each).name for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())]


def test_a_process_is_deaf_to_ctrl_c_from_its_first_instant():
    """The first crew of a process, and who started it hears again: that one ends them."""
    code = "from test_sim_crew import *; print(*Crew(2).each(blocked, range(3)), blocked(0))"
    command = [sys.executable, "-c", code]

    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    assert done.stdout == "['SIGINT'] ['SIGINT'] ['SIGINT'] []\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_work(jobs: int):
    with Crew(jobs) as crew:
        assert list(crew.each(_square, range(7))) == [0, 1, 4, 9, 16, 25, 36]


def test_what_is_no_crew_is_refused_with_what_there_is():
    with pytest.raises(CrewError, match="'spark' is no crew; it is a number of processes, dask:ADDRESS or ray:ADDRESS"):
        Crew("spark")


def measured(jobs: int | str) -> list[dict[str, float | None]]:
    found = replicate(brief(), SLOW, seed=5, replications=7, jobs=jobs, same_plan=False, vary_profile=True, series=None)
    return [{name: one.value for name, one in each.items()} for each in found.measured]


@pytest.mark.live
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_finds_the_same():
    """A scheduler and two workers on loopback, joined by its address."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert measured(f"dask:{cluster.scheduler_address}") == measured(1)


@pytest.mark.live
@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_finds_the_same():
    """Two workers on this machine, which this process has joined before."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        assert measured("ray") == measured(1)
    finally:
        ray.shutdown()


@pytest.mark.live
def test_a_dask_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sim.crew._JOIN_WITHIN_S", 1)
    pytest.importorskip("distributed")
    with (
        pytest.raises(CrewError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        Crew("dask:tcp://127.0.0.1:9") as crew,
    ):
        list(crew.each(_square, range(3)))
