"""What people do about faults, live on the embedded cluster: scale, redrive, reset offsets, deploy with a canary."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from live_runs import drive_on, group_code, load, rows_of, start
from loadgen.redrive_process import origin_topic, read_all
from loadgen.refuse import cannot
from rundata.checks import check
from rundata.dataset import open_run
from rundata.rows import Kind, Outcome
from rundata.tables import FaultRecord, Names, RunData
from scenarios.headers import HEADER_REDRIVEN

SCENARIO = """\
scenario: people
seed: 5
duration: 13s
drain: 20s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics:
  orders: {partitions: 4, replication: 1}
  orders.dlq: {partitions: 1, replication: 1}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 100/s, key: {uniform: 50}}
groups:
  work:
    topics: [orders]
    members: 1
    work: 1ms
    commit: {every: 500ms}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
    failures: {then: dead_letter, dead_letter: orders.dlq}
  audit:
    topics: [orders]
    work: 0ms
    commit: {every: 500ms}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
faults:
  - {fault: failing_work, group: work, share: 100%, at: 1s, for: 500ms}
actions:
  - {action: scale, group: work, to: 2, at: 2s}
  - {action: redrive, from: orders.dlq, rate: 100/s, at: 4s}
  - {action: deploy, group: work, version: v2, canary: 50%, watch: 2s, rollback_if: "errors[work] > 5%", fails: 60%, at: 7s}
"""


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunData, Path, dict[str, FaultRecord]]]:
    loaded = load(SCENARIO)
    folder = tmp_path_factory.mktemp("people") / "run"
    with start(loaded) as cluster:
        run = drive_on(cluster, loaded, folder)
    yield run, folder, {record.label: record for record in run.actions}


@pytest.mark.live
def test_the_run_is_complete_and_its_checks_hold(acted: tuple[RunData, Path, dict[str, FaultRecord]]):
    run, folder, _ = acted

    assert run.about["state"] == "complete"
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    assert open_run(folder).data.actions == run.actions


@pytest.mark.live
def test_a_group_that_is_scaled_has_another_member_at_work(acted: tuple[RunData, Path, dict[str, FaultRecord]]):
    run, _, records = acted
    names = run.names.processes
    tries = rows_of(run, Kind.try_, process=names.index("work/2"))

    assert names == ("shop/1", "work/1", "work/2", "audit/1")
    assert records["scale"].proof.startswith("1 members became 2 at ")
    assert len(tries) > 50
    assert tries["started_ns"].min() > 2_000_000_000


@pytest.mark.live
def test_dead_letters_that_are_redriven_take_effect(acted: tuple[RunData, Path, dict[str, FaultRecord]]):
    """All that failed in the fault's half second come back and are handled; each has its dead letter and its effect."""
    run, _, records = acted
    work = group_code(run, "work")
    letters = rows_of(run, Kind.dead_letter, group=work)
    early = letters[letters["started_ns"] < 3_000_000_000]["event_id"]
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=work)["event_id"]

    assert len(early) > 20
    assert np.isin(early, effects).all()
    assert records["redrive"].proof.startswith(f"{len(early)} of {len(early)} dead letters sent, 0 had come back")


@pytest.mark.live
def test_a_canary_that_fails_is_rolled_back(acted: tuple[RunData, Path, dict[str, FaultRecord]]):
    """One of two members runs the new version, whose tries fail; the other one never does, and at the end nobody."""
    run, _, records = acted
    proof = records["deploy"].proof

    assert "errors[work] > 5%: rolled back" in proof
    kinds = [(each.kind, each.where, each.detail) for each in run.incidents if each.kind == "deploy"]
    assert kinds == [
        ("deploy", "work/1", "version v2"),
        ("deploy", "work/1", "the version before"),
        ("deploy", "work", "version v2 rolled back"),
    ]
    tries = rows_of(run, Kind.try_, process=run.names.processes.index("work/1"))
    last = tries[tries["started_ns"] > records["deploy"].ended_ns]
    assert set(last["outcome"].tolist()) == {Outcome.ok}


@pytest.mark.live
def test_redriven_letters_are_read_once_with_their_count():
    """Of an event that came back there are two letters; the later one, with its count, stands for it."""
    loaded = load(SCENARIO)
    with start(loaded) as cluster:
        cluster.create_topic("orders.dlq", 1, 1, leaders=[1])
        producer = Producer({"bootstrap.servers": cluster.bootstrap})
        origin = {"eventdrill-origin": b"orders/0/7"}
        producer.produce("orders.dlq", b"one", headers=origin)
        producer.produce("orders.dlq", b"two", headers={"__connect.errors.topic": b"orders"})
        producer.produce("orders.dlq", b"one", headers={**origin, HEADER_REDRIVEN: b"1"})
        producer.flush(10)
        letters = read_all({"bootstrap.servers": cluster.bootstrap}, "orders.dlq")

    found = {letter.value(): dict(letter.headers() or []) for letter in letters}
    assert found[b"one"][HEADER_REDRIVEN] == b"1"
    assert origin_topic(found[b"one"]) == origin_topic(found[b"two"]) == "orders"


def test_a_letter_without_an_origin_needs_a_target():
    with pytest.raises(ValueError, match="does not say where it came from; name a topic with `to`"):
        origin_topic({})


def test_names_count_the_members_that_scaling_brings():
    assert Names.of(load(SCENARIO).scenario).processes == ("shop/1", "work/1", "work/2", "audit/1")


def test_what_the_embedded_cluster_cannot_do_is_refused():
    """A reset needs an empty group, and transactions need brokers that keep them apart."""
    reset = "actions=[{action: reset_offsets, group: audit, to: earliest, at: 5s}]"
    transaction = "groups.audit.commit=transaction"

    assert cannot(load(SCENARIO, (reset,)).scenario, implementation="librdkafka-mock") == [
        "actions[0].action is reset_offsets; the embedded cluster never lets a group be empty: use --on local"
    ]
    assert cannot(load(SCENARIO, (transaction,)).scenario, implementation="librdkafka-mock") == [
        "groups.audit.commit is transaction; the embedded cluster keeps none apart: use --on local"
    ]
    own_id = "producers.shop.settings={acks: all, transactional.id: shop}"
    assert cannot(load(SCENARIO, (own_id,)).scenario, implementation="librdkafka-mock") == [
        "producers.shop.settings has transactional.id; the embedded cluster keeps no transactions apart: use --on local"
    ]
