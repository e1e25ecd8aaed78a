"""The live driver on a real Kafka: faults with their proofs, both group protocols, one cluster for several runs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient

from live_runs import drive_on, group_code, load, rows_of, spec_of
from loadgen.clusters.local import LocalKafka, start_local
from rundata.checks import check
from rundata.rows import Kind, Outcome
from scenarios.partitioners import coordinator_partition

pytestmark = pytest.mark.live

FAULTY = """\
scenario: faulty
seed: 7
duration: 12s
warm_up: 1s
drain: 30s
brokers:
  kind: kafka
  nodes: 3
  settings: {broker.session.timeout.ms: 4000, broker.heartbeat.interval.ms: 500, group.initial.rebalance.delay.ms: 300}
topics:
  orders: {partitions: 6, replication: 3, settings: {min.insync.replicas: 2}}
  orders.dlq: {partitions: 1, replication: 3, settings: {min.insync.replicas: 2}}
producers:
  shop:
    topic: orders
    count: 2
    settings: {acks: all, enable.idempotence: true, linger.ms: 5}
    arrivals: 150/s
    key: {zipf: {values: 200, exponent: 0.9}}
    size: 300B
    poison: 0.3%
groups:
  fulfilment:
    topics: [orders]
    members: 3
    work: 1ms
    commit: {every: 1s}
    settings: {session.timeout.ms: 6000, heartbeat.interval.ms: 1000}
    failures: {retry: {attempts: 2, backoff: 10ms}, then: dead_letter, dead_letter: orders.dlq}
  analytics:
    topics: [orders]
    members: 2
    work: 500us
    settings: {group.protocol: consumer}
    failures: {then: skip}
"""
CRASH = "faults=[{fault: broker_crash, broker: leader of orders/0, at: 3s, for: 6s}]"
MEMBERS = (
    "faults=[{fault: member_crash, member: fulfilment/2, at: 2s, for: 3s}, {fault: member_leave, member: fulfilment/1, at: 4s, for: 1s},"
    " {fault: failing_work, group: analytics, share: 50%, at: 3s, for: 2s}, {fault: broker_stop, broker: 1, at: 9s, for: 2s}]"
)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """Three brokers that are fenced 4 s after their death."""
    with start_local(spec_of(load(FAULTY)), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster


def test_a_leaders_crash_is_driven_proven_and_survived(kafka: LocalKafka, tmp_path: Path):
    """Broker 1 dies at 3 s and is fenced about 4 s later; nothing is lost or done twice, and the incidents tell the story."""
    run = drive_on(kafka, load(FAULTY, [CRASH]), tmp_path / "run", warm_s=6)

    assert run.about["state"] == "complete"
    assert {name: result.count for name, result in check(run).items() if not result.valid} == {}
    assert len(rows_of(run, Kind.send, outcome=Outcome.ok)) == len(run.plan)
    (fault,) = run.faults
    assert fault.target == "broker 1 (leader of orders/0)"
    assert 0 <= fault.began_ns - 3_000_000_000 < 500_000_000
    for word in ("gone at 3.", "started again at 9.", "fenced at", "led by others", "registered again at"):
        assert word in fault.proof
    fence = next(each for each in run.incidents if each.kind == "fence")
    assert fence.where == "broker 1"
    assert 6.4e9 < fence.time_ns < 9e9  # due by 7.5 s, and later where its controller has to wait for a core
    elected = {
        each.where: each.detail
        for each in run.incidents
        if each.kind == "election" and each.where.startswith("orders/")
    }
    assert elected == {"orders/0": "leader 2", "orders/3": "leader 2"}
    assert any(each.kind == "isr" and each.where == "orders/0" and each.detail == "2,3" for each in run.incidents)
    assert any(each.kind == "restart" and each.where == "broker 1" for each in run.incidents)
    for gauge in ("core_wait_s", "jvm_pause_s"):
        assert {each.where for each in run.gauges if each.name == gauge} >= {"broker 1", "broker 2", "broker 3"}


def test_the_plan_says_who_leads_and_who_coordinates(kafka: LocalKafka):
    """Topics and the offsets topic stand as planned, whatever an earlier run moved."""
    topics = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics

    assert [topics["orders"].partitions[p].replicas for p in range(3)] == [[1, 2, 3], [2, 3, 1], [3, 1, 2]]
    offsets = topics["__consumer_offsets"].partitions
    assert [offsets[p].replicas for p in range(len(offsets))][:3] == [[1, 2, 3], [2, 3, 1], [3, 1, 2]]
    assert 0 <= coordinator_partition("fulfilment", len(offsets)) < len(offsets)


def test_members_crash_leave_fail_and_come_back(kafka: LocalKafka, tmp_path: Path):
    """The cluster's second run: topics are made anew, and a crash, a leave, failing handlers and an orderly stop show their effect."""
    run = drive_on(kafka, load(FAULTY, [MEMBERS]), tmp_path / "run")

    assert run.about["state"] == "complete"
    assert {name: result.count for name, result in check(run).items() if not result.valid} == {}
    assert all(each.first == 0 for each in run.extents)
    assert sum(each.end for each in run.extents if each.topic == "orders") == len(run.plan)
    crash, failing, leave, stop = (
        next(each for each in run.faults if each.kind == kind)
        for kind in ("member_crash", "failing_work", "member_leave", "broker_stop")
    )
    assert "session expired at" in crash.proof
    assert "back as process" in crash.proof
    assert "back as process" in leave.proof
    assert float(failing.proof.partition("%")[0]) == pytest.approx(50, abs=12)
    assert "asked to end" in stop.proof
    assert "led by others" in stop.proof
    expired = next(each for each in run.incidents if each.kind == "session expired")
    assert expired.where == "fulfilment/2"
    assert expired.time_ns == pytest.approx(8e9, abs=1.5e9)
    assert [each.where for each in run.incidents if each.kind == "restart"] == [
        "fulfilment/2",
        "fulfilment/1",
        "broker 1",
    ]
    # What the dead member had in hand was delivered again to somebody.
    again = rows_of(run, Kind.delivery, group=group_code(run, "fulfilment"))
    assert len(again) > len(run.plan)
    polls = rows_of(run, Kind.delivery, process=run.names.processes.index("fulfilment/2"))
    assert (np.diff(polls["poll_id"][np.argsort(polls["started_ns"], kind="stable")]) >= 0).all()


def test_at_most_once_loses_what_a_crash_interrupts(kafka: LocalKafka, tmp_path: Path):
    """before_work commits first: a member that dies with a batch in hand leaves events that nobody handles."""
    settings = [
        "groups={fulfilment: {topics: [orders], work: 20ms, commit: before_work, settings: {session.timeout.ms: 6000}}}",
        "faults=[{fault: member_crash, member: fulfilment/1, at: 3s, for: 1s}]",
        "duration=4s",
        "drain=15s",
    ]
    run = drive_on(kafka, load(FAULTY, settings), tmp_path / "run")
    effects = np.unique(rows_of(run, Kind.try_, outcome=Outcome.ok)["event_id"])

    deliveries = rows_of(run, Kind.delivery)
    interrupted = np.setdiff1d(deliveries["event_id"][deliveries["started_ns"] < 3_000_000_000], effects)
    assert len(interrupted) > 0
    passed = check(run)["passed"]
    assert passed.count >= len(interrupted)
    assert passed.valid
    assert passed.allowed
