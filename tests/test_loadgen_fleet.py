"""A run shared by Locust workers: a real master with two real workers, one plan, and what becomes of it when a worker dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from live_runs import drive_on, load, rows_of, start
from loadgen import control_link
from loadgen.clusters.layout import free_ports
from loadgen.control_link import Fleet
from loadgen.recorder import Progress
from loadgen.remote import Pings
from loadgen.row_stream import Reading, write
from rundata.checks import check
from rundata.dataset import open_run
from rundata.row_log import RowLog, read_rows
from rundata.rows import OPERATION, Kind, Outcome

SHARED = """\
scenario: shared
seed: 3
duration: 5s
drain: 15s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics:
  orders: {partitions: 4, replication: 1}
producers:
  shop: {topic: orders, count: 4, settings: {acks: all, enable.idempotence: true}, arrivals: 200/s, key: {uniform: 100}}
groups:
  work:
    topics: [orders]
    work: 1ms
    commit: {every: 1s}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
"""


def workers_of(master_port: int) -> list[psutil.Process]:
    """Return the Locust workers that this process has started."""
    found = []
    for child in psutil.Process().children():
        text = " ".join(child.cmdline())
        if "loadgen.control" in text and "locust-worker" in text:
            found.append(child)
    assert master_port
    return found


@pytest.mark.live
def test_two_workers_send_each_event_once(tmp_path: Path):
    """Two processes each under two workers: every event of the plan is sent once, by its own process, and all checks hold."""
    loaded, port = load(SHARED), free_ports(1)[0]
    seen: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        if progress.phase == "running":
            workers = workers_of(port)
            seen.append((len(workers), sum(len(each.children()) for each in workers)))

    with start(loaded) as cluster:
        run = drive_on(cluster, loaded, tmp_path / "run", progress=watch, fleet=Fleet(2, port=port))

    sends = rows_of(run, Kind.send, outcome=Outcome.ok)
    assert run.about["state"] == "complete"
    assert np.sort(sends["event_id"]).tolist() == list(range(len(run.plan)))
    assert (sends["process"] == run.plan.process[sends["event_id"]] - 1).all()
    assert (sends["started_ns"] >= sends["intended_ns"]).all()  # on one clock
    assert max(seen) == (2, 4)
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    assert workers_of(port) == []


@pytest.mark.live
def test_a_worker_that_dies_makes_the_run_incomplete(tmp_path: Path):
    """Its processes end with it, nobody sends their events, and the run says so instead of counting them as lost."""
    loaded, port = load(SHARED, ("duration=20s",)), free_ports(1)[0]
    killed = threading.Event()

    def kill(progress: Progress) -> None:
        if progress.phase == "running" and progress.at_ns > 1_000_000_000 and not killed.is_set():
            killed.set()
            os.kill(workers_of(port)[0].pid, signal.SIGKILL)

    with start(loaded) as cluster:
        began = time.monotonic()
        run = drive_on(cluster, loaded, tmp_path / "run", progress=kill, fleet=Fleet(2, port=port))

    assert run.about["state"] == "interrupted"
    assert any("Locust worker" in reason and "shop/" in reason for reason in run.about["incomplete"])
    assert time.monotonic() - began < 60
    assert check(run)["lost"].count == 0
    assert workers_of(port) == []


def test_a_log_that_grows_elsewhere_is_copied_row_by_row(tmp_path: Path):
    """Over segments and in pieces; what has arrived is always whole."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    rows = np.zeros(10, OPERATION)
    rows["event_id"] = np.arange(10)
    here = tmp_path / "here" / "shop-1.rows"
    with RowLog.create(tmp_path / "there" / "shop-1.rows", 4) as log:
        reading = Reading(tmp_path / "there" / "shop-1.rows")
        counts = []
        for first, end in ((0, 3), (3, 5), (5, 10)):
            log.extend(rows[first:end])
            for piece in reading.take():
                write(here, piece)
            counts.append(len(read_rows(here)))

    assert counts == [3, 5, 10]
    assert read_rows(here)["event_id"].tolist() == list(range(10))
    assert reading.take() == []


def test_a_clock_is_measured_by_the_shortest_round_trip():
    """It is 1000 ns ahead; the answer that came back fastest tells best."""
    pings = Pings()
    pings.take(0, 1400, 1000)
    pings.take(2000, 3050, 2100)
    pings.take(5000, 6900, 7000)

    assert (pings.offset_ns, pings.error_ns) == (1000, 50)
    assert not pings.enough


@pytest.mark.live
def test_a_plain_locust_with_our_locustfile_is_a_run(tmp_path: Path):
    """It starts a driver with the test, shows what that does as its statistics, and ends with the run and its exit code."""
    (tmp_path / "shared.yaml").write_text(SHARED)
    locustfile = Path(control_link.__file__).with_name("locustfile.py")
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "-u", "1", "-r", "1"]
    options = f"--on embedded --out {tmp_path / 'run'}"
    environment = {**os.environ, "EVENTDRILL_SCENARIO": str(tmp_path / "shared.yaml"), "EVENTDRILL_OPTIONS": options}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    said = done.stdout + done.stderr
    run = open_run(tmp_path / "run").data
    assert done.returncode == 0, said
    assert run.about["state"] == "complete"
    rows = [line.split() for line in said.splitlines() if line.startswith("acknowledged")]
    assert rows[0][1] == "shop"
    assert max(int(row[2]) for row in rows) >= 0.8 * len(run.plan)
    assert ["effect", "work"] in [line.split()[:2] for line in said.splitlines()]
