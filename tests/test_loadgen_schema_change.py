"""A schema change is in the plan of every event; its proof says how many carried the version, and who failed on them."""

from pathlib import Path

import numpy as np
import pytest

import eventdrill as ed
from live_runs import drive_embedded, group_code, load, rows_of
from loadgen.lab.applied import Applied
from loadgen.lab.proofs import shown
from loadgen.refuse import cannot
from rundata.checks import check
from rundata.rows import Kind, Outcome
from scenarios.files import load_scenario

LIVE = """\
scenario: upgraded-first
seed: 5
duration: 4s
drain: 15s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100}}
topics: {orders: {partitions: 2, replication: 1}, orders.dlq: {partitions: 1, replication: 1}}
producers:
  shop: {topic: orders, arrivals: 100/s, key: {uniform: 50}, settings: {acks: all, enable.idempotence: true}}
groups:
  fulfilment: {topics: [orders], work: 0ms, commit: {every: 500ms}, failures: {then: skip}}
  billing:
    topics: [orders]
    work: 1ms
    commit: {every: 500ms}
    failures: {retry: {attempts: 2, backoff: 5ms}, then: dead_letter, dead_letter: orders.dlq}
faults:
  - {fault: schema_change, producer: shop, version: 2, breaks: [billing], at: 1s, for: 2s}
"""


def test_the_proof_of_a_schema_change_counts_what_its_group_could_not_decode() -> None:
    """Ten seconds at 200/s; every event of version 2 fails in billing, none in fulfilment."""
    data = ed.simulate("schema-break").data
    planned = data.plan.faults[0]
    of_version = int(np.count_nonzero(data.plan.schema_version == 2))

    proof = shown(Applied(planned, "shop", planned.begin_ns), data.plan, (), data.operations, data.log)

    assert 1800 < of_version < 2200
    assert proof == f"{of_version} events of version 2, {of_version} of them failed a try of billing"


def test_the_live_driver_takes_a_schema_change() -> None:
    assert cannot(load_scenario("schema-break").scenario) == []


@pytest.mark.live
def test_live_members_that_cannot_decode_a_version_fail_on_it_and_others_do_not(tmp_path: Path) -> None:
    """Two seconds at 100/s: each event of version 2 fails twice in billing and becomes a dead letter; fulfilment handles all."""
    run = drive_embedded(load(LIVE), tmp_path / "run")
    changed = np.flatnonzero(run.plan.schema_version == 2)
    billing, fulfilment = group_code(run, "billing"), group_code(run, "fulfilment")
    failed = rows_of(run, Kind.try_, group=billing, outcome=Outcome.failed)
    done = rows_of(run, Kind.try_, group=billing, outcome=Outcome.ok)["event_id"]

    assert 150 < len(changed) < 250
    assert (
        np.bincount(failed["event_id"], minlength=len(run.plan)).tolist()
        == (2 * (run.plan.schema_version == 2)).tolist()
    )
    assert sorted(done.tolist()) == np.flatnonzero(run.plan.schema_version == 1).tolist()
    assert sorted(rows_of(run, Kind.dead_letter)["event_id"].tolist()) == changed.tolist()
    assert len(rows_of(run, Kind.try_, group=fulfilment, outcome=Outcome.ok)) == len(run.plan)
    assert set(failed["schema_version"].tolist()) == {2}
    assert run.faults[0].proof == f"{len(changed)} events of version 2, {len(changed)} of them failed a try of billing"
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
