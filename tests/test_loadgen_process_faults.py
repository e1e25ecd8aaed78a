"""Faults of processes, events and dependencies, live with every client: each shows its effect, and is undone."""

from collections.abc import Iterator

import numpy as np
import pytest

from live_runs import CLIENTS, drive_on, group_code, load, rows_of, start_for
from rundata.checks import check
from rundata.rows import NEVER, Kind, Outcome
from rundata.tables import FaultRecord, RunData

S = 1_000_000_000
SCENARIO = """\
scenario: processes
seed: 3
duration: 15s
drain: 20s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics:
  orders: {partitions: 4, replication: 1}
producers:
  shop: {topic: orders, client: CLIENT, count: 2, settings: {acks: all, enable.idempotence: true, linger.ms: 200}, arrivals: 150/s, key: {uniform: 100}}
groups:
  work:
    topics: [orders]
    client: CLIENT
    members: 2
    work: 1ms
    commit: {every: 500ms}
    calls: {dependency: stock}
    settings: {session.timeout.ms: 6000, heartbeat.interval.ms: 300}
    failures: {retry: {attempts: 8, backoff: 100ms, factor: 2}, then: skip}
dependencies:
  stock: {takes: 500us}
faults:
  - {fault: producer_crash, producer: shop/1, at: 2s, for: 1s}
  - {fault: producer_pause, producer: shop/2, at: 4s, for: 1s}
  - {fault: member_pause, member: work/1, at: 6s, for: 1s}
  - {fault: poll_stall, member: work/2, at: 8s, for: 1s}
  - {fault: dependency_down, dependency: stock, at: 10s, for: 500ms}
  - {fault: dependency_slow, dependency: stock, factor: 10, at: 11s, for: 1s}
  - {fault: duplicates, producer: shop, share: 20%, at: 12s, for: 1s, after: 50ms}
  - {fault: late, producer: shop, share: 20%, by: 150ms, at: 13s, for: 1s}
  - {fault: oversized, producer: shop, events: 3, size: 2MiB, at: 14s, for: 500ms}
"""


@pytest.fixture(scope="module", params=CLIENTS)
def faulty(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunData, dict[str, FaultRecord]]]:
    loaded = load(SCENARIO.replace("CLIENT", request.param))
    with start_for(request.param, loaded, tmp_path_factory.mktemp("logs")) as cluster:
        run = drive_on(cluster, loaded, tmp_path_factory.mktemp("processes") / "run")
    yield run, {record.label: record for record in run.faults}


def inside(run: RunData, process: str, begin_s: float, end_s: float) -> int:
    """Return how many operations a process began between two instants."""
    rows = run.operations[run.operations["process"] == run.names.processes.index(process)]
    return int(np.count_nonzero((rows["started_ns"] > begin_s * S) & (rows["started_ns"] < end_s * S)))


@pytest.mark.live
def test_all_faults_are_begun_and_undone_and_every_check_holds(faulty: tuple[RunData, dict[str, FaultRecord]]):
    run, records = faulty

    assert run.about["state"] == "complete"
    assert len(records) == 9
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


@pytest.mark.live
def test_a_killed_producer_loses_its_buffer_and_sends_the_rest_afterwards(
    faulty: tuple[RunData, dict[str, FaultRecord]],
):
    """With a linger of 200 ms some events are in its hands; what was due meanwhile goes out when it is back."""
    run, records = faulty
    sends = rows_of(run, Kind.send, process=0)
    unanswered = sends[sends["ended_ns"] == NEVER]
    due = np.flatnonzero((run.plan.process == 1) & (run.plan.intended_ns > 2.1 * S) & (run.plan.intended_ns < 2.9 * S))

    assert len(unanswered) >= 3
    assert set(unanswered["outcome"].tolist()) == {Outcome.unknown}
    assert f"{len(unanswered)} events were in its hands without an answer" in records["producer_crash"].proof
    assert inside(run, "shop/1", 2.4, 2.95) == 0
    assert np.isin(due, sends["event_id"][sends["outcome"] == Outcome.ok]).all()


@pytest.mark.live
def test_a_paused_process_does_nothing_and_goes_on_where_it_was(faulty: tuple[RunData, dict[str, FaultRecord]]):
    run, records = faulty

    assert inside(run, "shop/2", 4.4, 4.95) == 0
    assert inside(run, "shop/2", 5.0, 6.0) > 30
    assert "stopped at 4." in records["producer_pause"].proof
    assert inside(run, "work/1", 6.4, 6.95) == 0
    assert inside(run, "work/1", 7.0, 8.0) > 30
    assert "goes on at 7." in records["member_pause"].proof


@pytest.mark.live
def test_a_stalled_handler_begins_nothing(faulty: tuple[RunData, dict[str, FaultRecord]]):
    run, records = faulty
    tries = rows_of(run, Kind.try_, process=run.names.processes.index("work/2"))["started_ns"]

    assert np.count_nonzero((tries > 8 * S) & (tries < 9 * S)) == 0
    assert np.count_nonzero((tries >= 9 * S) & (tries < 10 * S)) > 30
    assert "none for up to" in records["poll_stall"].proof


@pytest.mark.live
def test_tries_fail_while_their_dependency_is_down_and_take_longer_while_it_is_slow(
    faulty: tuple[RunData, dict[str, FaultRecord]],
):
    run, records = faulty
    tries = rows_of(run, Kind.try_, group=group_code(run, "work"))
    down = (tries["started_ns"] >= 10.05 * S) & (tries["started_ns"] < 10.45 * S)
    slow = (tries["started_ns"] >= 11.2 * S) & (tries["started_ns"] < 11.9 * S)

    assert set(tries["outcome"][down].tolist()) == {Outcome.failed}
    assert np.median((tries["ended_ns"] - tries["started_ns"])[slow]) > 5_500_000  # 1 ms and ten times 500 us
    assert "100.0% of" in records["dependency_down"].proof
    assert "median try" in records["dependency_slow"].proof


@pytest.mark.live
def test_events_are_sent_twice_late_or_too_large(faulty: tuple[RunData, dict[str, FaultRecord]]):
    run, records = faulty
    sends = rows_of(run, Kind.send)
    again = np.flatnonzero(run.plan.again_ns >= 0)
    late = np.flatnonzero(run.plan.late_ns > 0)
    large = np.flatnonzero(run.plan.size_bytes == 2 * 2**20)

    assert records["duplicates"].proof == f"{len(again)} events sent twice"
    assert records["late"].proof.startswith(f"{len(late)} events handed over late, median 15")
    assert records["oversized"].proof == "3 of 3 events of 2097152 B refused"
    assert (np.bincount(sends["event_id"])[again] == 2).all()
    assert set(sends["outcome"][np.isin(sends["event_id"], large)].tolist()) == {Outcome.failed}
    assert not np.isin(large, run.log["event_id"]).any()
