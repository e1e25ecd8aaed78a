"""Java's outbox and replays on a real Kafka: a relay and a replayer with the Java client, beside Java members, one of which is killed."""

from collections.abc import Iterator

import numpy as np
import pytest

from live_runs import drive_on, group_code, load, rows_of, spec_of
from loadgen.clusters.local import start_local
from rundata.checks import check
from rundata.rows import NONE, Kind, Outcome
from rundata.tables import RunData
from scenarios.derived import Derived

pytestmark = pytest.mark.live

SCENARIO = """\
scenario: java-outbox
seed: 5
duration: 7s
drain: 30s
brokers: {kind: kafka, nodes: 3, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 2, replication: 3}, mails: {partitions: 1, replication: 3}, audit: {partitions: 1, replication: 3}}
producers:
  shop: {topic: orders, client: java, arrivals: 30/s, key: {uniform: 50}, settings: {acks: all}}
groups:
  work:
    topics: [orders]
    client: java
    work: 1ms
    commit: after_event
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
    emits:
      - {topic: mails, event: Mail, outbox: {every: 500ms}, settings: {acks: all}}
      - {topic: audit, event: Noted, settings: {acks: all}}
  post: {topics: [mails], client: java, work: 1ms, commit: {every: 500ms}, dedupe: {window: 10m, store: shared}}
  notes: {topics: [audit], client: java, work: 1ms, commit: auto, settings: {isolation.level: read_committed, auto.commit.interval.ms: 200}}
faults:
  - {fault: member_crash, member: work/1, at: 2300ms, for: 300ms}
actions:
  - {action: replay, group: notes, from: earliest, rate: 50/s, at: 2s}
  - {action: replay, group: post, from: 20, at: 5s}
"""
S = 1_000_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunData]:
    loaded = load(SCENARIO)
    with start_local(spec_of(loaded), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield drive_on(cluster, loaded, tmp_path_factory.mktemp("java") / "run", warm_s=8)


def test_the_run_is_complete_and_breaks_no_rule(run: RunData):
    assert run.about["state"] == "complete", run.about["incomplete"]
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


def test_a_relay_sends_what_members_stored_and_a_crash_loses_none_of_it(run: RunData):
    """Mails leave each half second; those of effects just before the crash too. What is emitted directly leaves at once."""
    work = group_code(run, "work")
    sends = rows_of(run, Kind.send, group=work, outcome=Outcome.ok)
    mails = sends[sends["topic"] == run.names.topics.index("mails")]
    direct = sends[sends["topic"] == run.names.topics.index("audit")]
    effects = np.unique(rows_of(run, Kind.try_, outcome=Outcome.ok, group=work)["event_id"])
    wanted = {child for each in effects.tolist() for child in Derived(run.plan).children(each, "work")}
    waited = mails["started_ns"] - mails["intended_ns"]

    assert len(effects) == len(run.plan)
    assert {*mails["event_id"].tolist(), *direct["event_id"].tolist()} == wanted
    assert 0.1 * S < np.median(waited) < S
    assert np.median(direct["started_ns"] - direct["intended_ns"]) < np.median(waited) / 2
    assert set(mails["process"].tolist()) == {run.names.processes.index("work/1")}
    handled = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "post"))["event_id"]
    assert np.unique(handled).tolist() == np.unique(mails["event_id"]).tolist()


def test_a_replay_hands_over_once_more_what_lies_in_the_log(run: RunData):
    """What was audited by then comes again at 50/s beside the group, and is worked on twice, without a commit."""
    notes = group_code(run, "notes")
    again = rows_of(run, Kind.delivery, group=notes, process=NONE)
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=notes)
    record = run.actions[0]

    assert 40 < len(again) < 150
    assert record.proof.startswith(f"{len(again)} events handed over once more at ")
    assert (record.ended_ns - record.began_ns) / S >= (len(again) - 1) / 50
    assert set(np.unique(again["event_id"]).tolist()) <= set(effects["event_id"].tolist())
    assert len(effects) >= len(np.unique(effects["event_id"])) + len(again)
    assert len(rows_of(run, Kind.commit, group=notes, process=NONE)) == 0


def test_a_replay_passes_over_what_the_groups_memory_knows(run: RunData):
    post = group_code(run, "post")
    again = rows_of(run, Kind.delivery, group=post, process=NONE)
    known = int(run.actions[1].proof.split(" events handed over once more, ")[1].split()[0])

    assert 50 < known <= len(again)
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=post)["event_id"]
    assert len(effects) == len(np.unique(effects))


def test_the_run_says_what_its_jvms_did_themselves(run: RunData):
    """They warmed up first; then each says every second what its compiler took, the relay's too, and which pauses there were."""
    compiling = [each for each in run.gauges if each.name == "jit_share"]
    pauses = [each for each in run.gauges if each.name == "jvm_pause_s"]
    jvms = {"shop/1", "work/1", "post/1", "notes/1", "work-outbox"}

    assert run.about["driver"]["warm_up"]["seconds"] > 5
    assert {each.where for each in compiling} == jvms
    assert min(sum(each.where == name for each in compiling) for name in jvms) >= 4
    assert {each.where for each in pauses} <= {*jvms, "post-replay-2", "notes-replay-1"}
    assert all(0 < each.value < 5 for each in pauses)
    assert pauses
