"""A recorded load, driven: each event at its recorded instant, with its key and its size; and a time of day that was set meanwhile."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from confluent_kafka import Consumer, TopicPartition

from live_runs import drive_on, load, rows_of, start
from loadgen.run_clock import RunClock
from rundata.checks import check
from rundata.rows import Kind, Outcome
from rundata.run import Run
from rundata.tables import RunData

SCENARIO = """\
scenario: recorded
seed: 2
duration: 2s
drain: 10s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100}}
topics:
  orders: {partitions: 3, replication: 1}
producers:
  shop: {topic: orders, settings: {acks: all}, arrivals: {trace: TRACE, column: seconds, key: customer, size: bytes, speed: 2}}
groups:
  work: {topics: [orders], work: 0ms}
"""
SECONDS = [0.2, 0.2, 1.0, 1.6, 2.4, 3.9, 4.1]
"""At twice the speed the last one lies beyond the two seconds."""
CUSTOMERS = ["ann", "bob", "ann", "cid", "bob", "ann", "ann"]
BYTES = [40, 500, 33, 1000, 40, 64, 99]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunData, list[tuple[bytes, int]]]:
    """The run, and key and size of what lies in the topic; its machine's time of day is set back by a minute on the way."""
    folder = tmp_path_factory.mktemp("recorded")
    trace = folder / "orders.parquet"
    pyarrow.parquet.write_table(pa.table({"seconds": SECONDS, "customer": CUSTOMERS, "bytes": BYTES}), trace)
    loaded = load(SCENARIO.replace("TRACE", str(trace)))
    with pytest.MonkeyPatch.context() as patch, start(loaded) as cluster:
        patch.setattr(RunClock, "stepped_ns", lambda _self: -60_000_000_000)
        run = drive_on(cluster, loaded, folder / "run")
        reader = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "r", "auto.offset.reset": "earliest"})
        reader.assign([TopicPartition("orders", number, 0) for number in range(3)])
        there = [(each.key() or b"", len(each.value() or b"")) for each in reader.consume(6, 5)]
        reader.close()
    return run, there


@pytest.mark.live
def test_events_are_sent_as_they_were_recorded(recorded: tuple[RunData, list[tuple[bytes, int]]]) -> None:
    run, there = recorded
    sends = rows_of(run, Kind.send, outcome=Outcome.ok)
    sends = sends[np.argsort(sends["event_id"])]

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert (run.plan.intended_ns / 1e9).tolist() == pytest.approx([0.1, 0.1, 0.5, 0.8, 1.2, 1.95])
    assert sends["intended_ns"].tolist() == run.plan.intended_ns.tolist()
    assert (sends["started_ns"] >= sends["intended_ns"]).all()
    assert ((sends["started_ns"] - sends["intended_ns"]) < 1_000_000_000).all()
    expected = [
        (f"shop-{['ann', 'bob', 'cid'].index(c)}".encode(), size) for c, size in zip(CUSTOMERS, BYTES, strict=True)
    ]
    assert sorted(there) == sorted(expected[:6])
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


@pytest.mark.live
def test_a_run_during_which_the_time_of_day_was_set_says_nothing(
    recorded: tuple[RunData, list[tuple[bytes, int]]],
) -> None:
    assert any("time of day was set by -60.000 s during the run" in reason for reason in Run(recorded[0]).invalid)
