"""Replays on the embedded cluster: what lies in the log is handled once more beside the group; a memory of event ids passes over what is known."""

from pathlib import Path

import numpy as np
import pytest

from live_runs import drive_embedded, group_code, load, rows_of
from loadgen.refuse import cannot
from rundata.checks import check
from rundata.dataset import open_run
from rundata.rows import NONE, Kind, Outcome

SCENARIO = """\
scenario: replayed
seed: 5
duration: 6s
drain: 30s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100}}
topics: {orders: {partitions: 2, replication: 1}}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 100/s, key: {uniform: 50}}
groups:
  work: {topics: [orders], members: 2, work: 1ms, commit: {every: 500ms}}
  careful: {topics: [orders], work: 0ms, commit: {every: 500ms}, dedupe: {window: 10m, store: shared}}
actions:
  - {action: replay, group: work, from: earliest, rate: 100/s, at: 2s}
  - {action: replay, group: careful, from: 150, at: 4s}
  - {action: replay, name: again, group: work, from: 150, at: 5s}
"""
S = 1_000_000_000


@pytest.mark.live
def test_what_lies_in_the_log_is_handled_once_more_beside_the_group(tmp_path: Path) -> None:
    """Two seconds' events come again at 100/s; a group that remembers has no effect twice; members go on meanwhile."""
    run = drive_embedded(load(SCENARIO), tmp_path / "run")
    work, careful = group_code(run, "work"), group_code(run, "careful")
    again = {code: rows_of(run, Kind.delivery, group=code, process=NONE) for code in (work, careful)}
    first = again[work][again[work]["started_ns"] < run.actions[0].ended_ns]
    effects = rows_of(run, Kind.try_, group=work, outcome=Outcome.ok)
    found = check(run)

    assert run.about["state"] == "complete"
    assert 150 < len(first) < 250
    assert sorted(first["event_id"].tolist()) == list(range(len(first)))
    took_s = (run.actions[0].ended_ns - run.actions[0].began_ns) / S
    assert len(first) / 100 <= took_s < len(first) / 100 + 2
    assert np.bincount(effects["event_id"])[: len(first)].min() == 2
    assert len(np.unique(effects["event_id"])) == len(run.plan)
    assert len(again[careful]) > 50
    assert len(rows_of(run, Kind.try_, group=careful, outcome=Outcome.ok)) == len(run.plan)
    assert {name: result.examples for name, result in found.items() if not result.valid} == {}
    assert found["duplicate_effects"].allowed == "work handles once more what lies in its log (action replay)"
    proofs = [record.proof for record in run.actions]
    assert proofs[0].startswith(f"{len(first)} events handed over once more at ")
    known = int(proofs[1].split(" events handed over once more, ")[1].split()[0])
    assert 50 < known <= len(again[careful])
    assert len(again[work]) > len(first) + 50
    assert (open_run(tmp_path / "run").data.operations == run.operations).all()


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("groups.work.commit=transaction", "commits in transactions"),
        ("groups.work.failures={retry: {attempts: 2, where: topic}, then: skip}", "retries by topic"),
    ],
)
def test_a_replay_of_a_group_whose_handler_does_not_do_all_of_the_work_is_refused(setting: str, why: str) -> None:
    reasons = cannot(load(SCENARIO, (setting,)).scenario)

    assert sum(f"is replay of work, which {why}" in reason for reason in reasons) == 2
