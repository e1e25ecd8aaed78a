"""A broker's wrong clock, on a real Kafka and in the simulator: it stamps what it is asked to stamp, and takes records for older than they are."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.cimpl import NewTopic

from live_runs import drive_on, load, spec_of
from loadgen.admin import CLOCKS_TOPIC, connection
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.lab.clocks import off_s
from loadgen.watchdog.undoing import admin
from rundata.checks import check
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from sim.engine import simulate

# Each broker leads one partition and holds it alone; records are kept for an hour, and a segment is closed every second. By a clock that is three
# seconds less than an hour ahead, records of more than three seconds ago are too old.
SCENARIO = """\
scenario: wrong-clock
seed: 3
duration: 12s
drain: 30s
brokers:
  kind: kafka
  nodes: 3
  settings: {log.retention.check.interval.ms: 500, log.initial.task.delay.ms: 500, group.initial.rebalance.delay.ms: 300}
topics:
  orders: {partitions: 3, replication: 1, settings: {retention.ms: 3600000, segment.ms: 1000}}
producers:
  shop: {topic: orders, arrivals: 150/s, key: {uniform: 200}, size: 300B, settings: {acks: all, enable.idempotence: true}}
groups:
  fulfilment: {topics: [orders], members: 2, work: 1ms, commit: {every: 500ms}}
faults:
  - {fault: clock_skew, broker: 2, by: 3597s, at: 4s, for: 4s}
"""


def deleted(run: RunData) -> dict[int, int]:
    """By partition of orders: how many records are no longer there."""
    return {each.partition: each.first for each in run.extents if each.topic == "orders"}


def test_the_simulated_broker_takes_its_records_for_an_hour_older() -> None:
    run = simulate(make_plan(load(SCENARIO).scenario), IDEAL)
    gone = deleted(run)

    assert 120 < gone[1] < 280
    assert (gone[0], gone[2]) == (0, 0)
    assert [each.proof for each in run.faults] == ["broker 2's clock was off by +3597 s"]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with start_local(spec_of(load(SCENARIO)), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster


@pytest.mark.live
def test_a_real_broker_does_so_too_and_says_what_time_it_takes_it_for(kafka: LocalKafka, tmp_path: Path) -> None:
    """From 4 s to 8 s broker 2 is ahead: of what it leads all but the last seconds expires, nothing else does, and all was read before."""
    run = drive_on(kafka, load(SCENARIO), tmp_path / "run")
    gone, (fault,) = deleted(run), run.faults
    print(fault)

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert 120 < gone[1] < 280
    assert (gone[0], gone[2]) == (0, 0)
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    begun, ended = fault.proof.split("; set right at ")
    assert begun.startswith("clock set +3597 s at 4.")
    assert "broker 2 stamped a record +3597.0 s off" in begun
    assert ended.startswith("8.") and "broker 2 stamped a record" in ended and "0.0 s off" in ended
    assert "segments deleted meanwhile, orders/1 from" in fault.proof
    assert abs(fault.began_ns - 4_000_000_000) < 1_000_000_000
    assert kafka.clock_wrong_by_ms(2) == 0
    assert CLOCKS_TOPIC not in admin(connection(kafka)).list_topics(timeout=5).topics


def told(settings: dict[str, str | int], node: int) -> float:
    """By how many seconds a broker is off, as soon as it says what time it is; one that has just started takes its time."""
    until = time.monotonic() + 60
    while isinstance(found := off_s(settings, node), str) and time.monotonic() < until:
        time.sleep(0.2)
    assert not isinstance(found, str), found
    return found


@pytest.mark.live
def test_a_wrong_clock_outlives_its_broker_and_ends_with_its_time(kafka: LocalKafka) -> None:
    """A machine keeps its clock while the broker on it is started again; the keeper sets it right when nobody else does."""
    stamped = {"message.timestamp.type": "LogAppendTime"}
    topic = NewTopic(CLOCKS_TOPIC, num_partitions=3, replica_assignment=[[1], [2], [3]], config=stamped)
    settings = connection(kafka)
    client = admin(settings)
    client.create_topics([topic])[CLOCKS_TOPIC].result(30)

    kafka.set_clock(3, -90_000, for_s=120.0)
    assert told(settings, 3) == pytest.approx(-90, abs=5)
    assert told(settings, 1) == pytest.approx(0, abs=5)
    kafka.kill(3)
    kafka.start(3)
    assert told(settings, 3) == pytest.approx(-90, abs=5)
    kafka.set_clock(3, 60_000, for_s=0.5)
    time.sleep(1.5)
    assert told(settings, 3) == pytest.approx(0, abs=5)
