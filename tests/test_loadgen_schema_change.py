"""A schema change is in the plan of every event; its proof says how many carried the version, and who failed on them."""

from pathlib import Path

import numpy as np
import pytest

import eventdrill as ed
from live_runs import drive_embedded, group_code, load, rows_of
from loadgen.lab.applied import Applied
from loadgen.lab.proofs import shown
from loadgen.plan_files import PlanFiles
from loadgen.refuse import cannot
from rundata.checks import check
from rundata.rows import Kind, Outcome
from scenarios.actions import Deploy
from scenarios.files import load_scenario
from scenarios.plan import make_plan

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


DEPLOYED = [
    "faults=[{fault: schema_change, producer: shop, version: 2, breaks: [billing], at: 1s, for: 5s}, "
    "{fault: schema_change, producer: shop, version: 3, breaks: [billing], at: 6s, for: 1s}]",
    "actions=[{action: deploy, group: billing, version: v2, decodes: 2, at: 2s}]",
    "duration=8s",
    "groups.billing.settings={session.timeout.ms: 2000, heartbeat.interval.ms: 300}",
    "brokers.settings={group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}",
]


def test_a_deployed_version_is_told_what_it_decodes(tmp_path: Path) -> None:
    """Events of version 2 are read as any other by who decodes 2; those of version 3 fail as before."""
    plan = make_plan(load(LIVE, DEPLOYED).scenario)
    deploy = plan.actions[0].action
    assert isinstance(deploy, Deploy)
    files = PlanFiles(plan, tmp_path)
    failing, undecodable = (np.load(files.work("billing", deploy)[name]) for name in ("failing_tries", "undecodable"))
    before = np.load(files.work("billing", None)["undecodable"])

    assert (before == (plan.schema_version > 1)).all()
    assert (undecodable == (plan.schema_version == 3)).all()
    assert (failing[plan.schema_version < 3] == 0).all()
    assert (failing[plan.schema_version == 3] > 1000).all()


@pytest.mark.live
def test_live_a_deployed_version_reads_the_schema_that_it_decodes_and_no_later_one(tmp_path: Path) -> None:
    run = drive_embedded(load(LIVE, DEPLOYED), tmp_path / "run")
    billing, version = group_code(run, "billing"), run.plan.schema_version
    tries = rows_of(run, Kind.try_, group=billing)
    done = next(each.time_ns for each in run.incidents if each.kind == "deploy")
    ok, of = tries["outcome"] == Outcome.ok, version[tries["event_id"]]

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert not ok[(of == 2) & (tries["started_ns"] < 2_000_000_000)].any()
    assert ok[(of == 2) & (tries["started_ns"] > done)].all()
    assert np.count_nonzero((of == 2) & ok) > 100
    assert not ok[of == 3].any()
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
