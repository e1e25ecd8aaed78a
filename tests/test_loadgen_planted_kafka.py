"""Real defects on a real Kafka, found by the checks: what a deposed leader acknowledged, and what a reset to the end passed over."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from live_runs import drive_on, load, rows_of, spec_of
from loadgen.clusters.local import LocalKafka, start_local
from rundata.checks import check
from rundata.indicators import measure
from rundata.rows import Kind, Outcome

pytestmark = pytest.mark.live

STALE = """\
scenario: deposed
seed: 3
duration: 14s
drain: 60s
brokers:
  kind: kafka
  nodes: 3
  settings: {broker.session.timeout.ms: 4000, broker.heartbeat.interval.ms: 500, group.initial.rebalance.delay.ms: 300}
topics: {orders: {partitions: 1, replication: 3}}
producers:
  shop: {topic: orders, settings: {acks: 1, enable.idempotence: false, linger.ms: 250}, arrivals: 200/s, key: {uniform: 100}}
groups:
  work: {topics: [orders], work: 0ms, commit: {every: 500ms}}
faults:
  - {fault: broker_pause, broker: leader of orders/0, at: 3s, for: 8s}
"""
SKIPPED = """\
scenario: skipped
seed: 3
duration: 12s
drain: 30s
brokers:
  kind: kafka
  nodes: 3
  settings: {broker.session.timeout.ms: 4000, broker.heartbeat.interval.ms: 500, group.initial.rebalance.delay.ms: 300}
topics: {orders: {partitions: 1, replication: 3}}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: {rate: 100/s, spacing: even}, key: {uniform: 100}}
groups:
  work:
    topics: [orders]
    work: 0ms
    commit: {every: 200ms}
    settings: {auto.offset.reset: latest, session.timeout.ms: 6000}
faults:
  - {fault: member_crash, member: work/1, at: 2s, for: 4s}
  - {fault: delete_records, partition: orders/0, up_to: 350, at: 5s}
"""


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    with start_local(spec_of(load(STALE)), progress=print) as cluster:
        yield cluster


def test_what_a_deposed_leader_acknowledges_when_it_goes_on_is_lost(kafka: LocalKafka, tmp_path: Path) -> None:
    """It hangs for 8 s at 200/s and is deposed meanwhile; then it confirms its backlog, or what it can of it, and throws that away."""
    run = drive_on(kafka, load(STALE), tmp_path / "run")
    found = check(run)
    there = np.unique(run.log["event_id"])
    acked = np.unique(rows_of(run, Kind.send, outcome=Outcome.ok)["event_id"])

    assert run.about["state"] == "complete"
    assert "fenced at" in run.faults[0].proof
    missing = np.setdiff1d(acked, there)
    assert 0.25 * 1600 < len(missing) < 1.15 * 1600  # a busy host answers fewer in the same time
    assert (found["lost"].count, found["lost"].valid) == (len(missing), True)
    assert "shop has acks=1" in found["lost"].allowed
    assert found["lost"].parts["middle"] > 0.9 * len(missing)
    assert measure(run)["lost"].value == len(missing)
    assert {name: result.examples for name, result in found.items() if not result.valid} == {}


def test_the_same_with_all_acknowledgements_loses_nothing(kafka: LocalKafka, tmp_path: Path) -> None:
    settings = ("producers.shop.settings={acks: all, enable.idempotence: true}", "drain=100s")
    run = drive_on(kafka, load(STALE, settings), tmp_path / "run")

    assert run.about["state"] == "complete"
    assert {
        name: result.examples
        for name, result in check(run).items()
        if not result.valid or (name == "lost" and result.count)
    } == {}


def test_a_group_that_starts_at_the_end_passes_over_what_is_still_there(kafka: LocalKafka, tmp_path: Path) -> None:
    """Its committed offset, 200, was deleted up to 350 while its member was away: it goes on at the end, some hundreds of events later."""
    run = drive_on(kafka, load(SKIPPED), tmp_path / "run")
    found, measured = check(run), measure(run)
    done = np.unique(rows_of(run, Kind.try_, outcome=Outcome.ok)["event_id"])
    there = np.unique(run.log["event_id"])
    skipped = np.setdiff1d(there, done)

    assert run.about["state"] == "complete"
    assert len(there) == len(run.plan) - 350
    assert len(skipped) > 100
    assert (found["passed"].count, found["passed"].parts["for good"], found["passed"].valid) == (
        len(skipped),
        len(skipped),
        False,
    )
    assert (found["unseen"].count, found["unseen"].valid) == (len(skipped), False)
    assert measured["expired"].value == len(np.setdiff1d(np.arange(350), done))
    assert measured["lost"].value == 0
    assert {name for name, result in found.items() if not result.valid} == {"passed", "unseen", "processed_once"}
