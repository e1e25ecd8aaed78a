"""Disks of the brokers' own on a real Kafka: one stalls, one loses what was not written; and a producer's clock that is wrong."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from live_runs import drive_on, load, rows_of, spec_of
from loadgen.clusters import disks
from loadgen.clusters.local import LocalKafka, start_local
from rundata.checks import check
from rundata.rows import Kind
from rundata.tables import FaultRecord, RunData

NEEDS_DISKS = pytest.mark.skipif(disks.cannot_have() is not None, reason=disks.cannot_have() or "")

SCENARIO = """\
scenario: bad-machines
seed: 7
duration: 21s
drain: 40s
brokers:
  kind: kafka
  nodes: 3
  settings: {broker.session.timeout.ms: 4000, broker.heartbeat.interval.ms: 500, replica.lag.time.max.ms: 3000, group.initial.rebalance.delay.ms: 300}
topics:
  orders: {partitions: 6, replication: 3, settings: {min.insync.replicas: 2}}
producers:
  shop: {topic: orders, count: 2, arrivals: 150/s, key: {uniform: 200}, size: 300B, settings: {acks: all, enable.idempotence: true}}
groups:
  fulfilment: {topics: [orders], members: 2, work: 1ms}
faults:
  - {fault: disk_stall, broker: 2, at: 2s, for: 3s}
  - {fault: host_crash, broker: 3, at: 9s, for: 6s}
  - {fault: clock_skew, producer: shop/1, by: -60s, at: 17s, for: 2s}
"""


@NEEDS_DISKS
def test_a_disk_stalls_goes_on_and_loses_what_was_not_written(tmp_path: Path) -> None:
    """What was flushed is there after a loss of power, and what was not is not; then the disk is released."""
    at = tmp_path / "n1"
    disks.make(at)
    (at / "flushed").write_text("kept")
    disks.flush(at)
    (at / "unflushed").write_text("gone")
    disks.stall(at)
    disks.go_on(at)
    (at / "written-later").write_text("gone too")
    disks.lose_unwritten(at)
    with pytest.raises(OSError):
        (at / "after").write_text("refused")
    disks.remount(at)

    assert (at / "flushed").read_text() == "kept"
    assert not (at / "written-later").exists()
    assert disks.mounted_below(tmp_path) == [at]
    disks.release(tmp_path)
    assert disks.mounted_below(tmp_path) == []
    assert list(at.iterdir()) == []


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with start_local(spec_of(load(SCENARIO)), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster
    assert disks.mounted_below(cluster.directory) == []


@pytest.fixture(scope="module")
def hurt(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunData, dict[str, FaultRecord]]:
    run = drive_on(kafka, load(SCENARIO), tmp_path_factory.mktemp("hurt") / "run")
    for fault in run.faults:
        print(fault)
    return run, {each.kind: each for each in run.faults}


@pytest.mark.live
@NEEDS_DISKS
def test_a_brokers_disk_stalls_and_all_that_wait_for_it_go_on(
    kafka: LocalKafka, hurt: tuple[RunData, dict[str, FaultRecord]]
) -> None:
    """What needs broker 2 waits up to three seconds, and nothing is lost or repeated."""
    run, records = hurt

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    proof = records["disk_stall"].proof
    assert "writes of process" in proof and "writes went on at 5." in proof
    took_s = float(proof.partition("an acknowledgement took up to ")[2].removesuffix("s").split("s")[0])
    assert 1.5 < took_s < 8
    assert not kafka.disk_stalled(2)


@pytest.mark.live
@NEEDS_DISKS
def test_a_machine_that_loses_power_loses_what_its_page_cache_held_and_its_broker_fetches_it_again(
    kafka: LocalKafka, hurt: tuple[RunData, dict[str, FaultRecord]]
) -> None:
    _run, records = hurt
    proof = records["host_crash"].proof

    lost_bytes = int(proof.partition(" with ")[2].split()[0])
    assert lost_bytes > 10_000
    assert "gone at 9." in proof and "started again at 15." in proof and "registered again at" in proof
    kafka.wait_registered({1, 2, 3}, 30)


@pytest.mark.live
@NEEDS_DISKS
def test_a_producer_with_a_wrong_clock_writes_wrong_timestamps(hurt: tuple[RunData, dict[str, FaultRecord]]) -> None:
    """Its records say a minute ago; those of the other process, and its own before and afterwards, are right."""
    run, records = hurt
    sent = rows_of(run, Kind.send)
    at_ns = np.zeros(len(run.plan), np.int64)
    at_ns[sent["event_id"]] = sent["started_ns"]
    behind = run.log["time_ns"] - at_ns[run.log["event_id"]] < -59_000_000_000
    event = run.log["event_id"]
    skewed = (run.plan.process[event] == 1) & (at_ns[event] >= 17_000_000_000) & (at_ns[event] < 19_000_000_000)

    assert np.count_nonzero(skewed) > 50
    assert (behind == skewed).mean() > 0.99
    assert "records were off by -60.0" in records["clock_skew"].proof
