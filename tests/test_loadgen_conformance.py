"""What every client's processes must do, on a real Kafka: the same plan, rows, commits and endings, whichever client the scenario names."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from live_runs import drive_on, group_code, load, rows_of, spec_of
from loadgen.clusters.local import LocalKafka, start_local
from rundata.checks import check
from rundata.rows import NONE, UNTIMED, Kind, Outcome
from rundata.tables import RunData

pytestmark = pytest.mark.live
CLIENTS = ("librdkafka", "java")
COMMITS = {
    "auto": "auto",
    "event": "after_event",
    "batch": "after_batch",
    "before": "before_work",
    "timed": "{every: 500ms}",
}

MODES = """\
scenario: modes
seed: 5
duration: 4s
drain: 20s
brokers:
  kind: kafka
  nodes: 3
  settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}
topics:
  orders: {partitions: 4, replication: 3}
  orders.dlq: {partitions: 1, replication: 3}
producers:
  shop: {topic: orders, client: CLIENT, arrivals: 100/s, key: {uniform: 50}, size: 200B, poison: 2%, settings: {acks: all}}
groups:
"""
GROUP = """\
  {name}:
    topics: [orders]
    client: CLIENT
    work: 200us
    commit: {commit}
    settings: {{session.timeout.ms: 6000, heartbeat.interval.ms: 500, auto.commit.interval.ms: 500}}
    failures: {{transient: {{chance: 2%, attempts: 1}}, retry: {{attempts: 2, backoff: 5ms}}, then: {then}}}
"""
CRASH = """\
scenario: crash
seed: 6
duration: 9s
drain: 30s
brokers:
  kind: kafka
  nodes: 3
  settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}
topics: {orders: {partitions: 4, replication: 3}}
producers:
  shop: {topic: orders, client: CLIENT, arrivals: 200/s, key: {uniform: 50}, settings: {acks: all}}
groups:
  slow:
    topics: [orders]
    client: CLIENT
    members: 2
    work: 8ms
    commit: {every: 1s}
    settings: {session.timeout.ms: 3000, heartbeat.interval.ms: 500}
faults: [{fault: member_crash, member: slow/1, at: 3.5s, for: 4s}]
"""


def modes(client: str) -> str:
    groups = [
        GROUP.format(
            name=name, commit=commit, then="dead_letter, dead_letter: orders.dlq" if name == "batch" else "skip"
        )
        for name, commit in COMMITS.items()
    ]
    return (MODES + "".join(groups)).replace("CLIENT", client)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with start_local(spec_of(load(modes("java"))), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=CLIENTS)
def run(request: pytest.FixtureRequest, kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """A run with one group for each way to commit."""
    return drive_on(kafka, load(modes(request.param)), tmp_path_factory.mktemp(request.param) / "run")


def test_every_event_is_sent_once_where_the_plan_puts_its_key(run: RunData):
    """crc32 with librdkafka, murmur2 with Java: the plan knows which."""
    sends = rows_of(run, Kind.send, outcome=Outcome.ok)

    assert run.about["state"] == "complete"
    assert sorted(sends["event_id"].tolist()) == list(range(len(run.plan)))
    events = sends["event_id"]
    assert (sends["partition"] == run.plan.partition[events]).all()
    assert (sends["key"] == run.plan.key[events]).all()
    assert (sends["intended_ns"] == run.plan.intended_ns[events]).all()
    assert (sends["started_ns"] >= sends["intended_ns"]).all()
    assert (sends["ended_ns"] > sends["started_ns"]).all()
    assert set(sends["process"].tolist()) == {run.names.processes.index("shop/1")}
    log = run.log[run.log["topic"] == run.names.topics.index("orders")]
    assert sorted(
        zip(log["partition"].tolist(), log["offset"].tolist(), log["event_id"].tolist(), strict=True)
    ) == sorted(zip(sends["partition"].tolist(), sends["offset"].tolist(), events.tolist(), strict=True))


def test_all_checks_pass(run: RunData):
    assert {name: result.count for name, result in check(run).items() if not result.valid} == {}


@pytest.mark.parametrize("group", COMMITS)
def test_each_group_tries_fails_and_gives_up_as_planned(run: RunData, group: str):
    """Poison fails twice and is given up, what the plan lets fail once works at the second try, and everything is tried in order."""
    code = group_code(run, group)
    tries = rows_of(run, Kind.try_, group=code)
    poison = set(np.flatnonzero(run.plan.poison).tolist())
    passing = set(np.flatnonzero(run.plan.failing_tries[group]).tolist()) - poison

    assert len(poison) > 3
    assert len(passing) > 3
    failed = tries[tries["outcome"] == Outcome.failed]
    assert sorted(failed["event_id"].tolist()) == sorted([*poison, *poison, *passing])
    worked = tries[tries["outcome"] == Outcome.ok]
    assert sorted(worked["event_id"].tolist()) == sorted(set(range(len(run.plan))) - poison)
    assert set(worked["attempt"][np.isin(worked["event_id"], list(passing))].tolist()) == {2}
    due = failed["retry_due_ns"] - failed["ended_ns"]
    assert (due[failed["attempt"] == 1] <= 5_000_000).all()  # from the planned end, which the real one follows
    assert (failed["retry_due_ns"][failed["attempt"] == 2] == UNTIMED).all()
    kind = Kind.dead_letter if group == "batch" else Kind.skip
    assert sorted(rows_of(run, kind, group=code)["event_id"].tolist()) == sorted(poison)
    assert len(rows_of(run, Kind.delivery, group=code)) == len(run.plan)
    polls = rows_of(run, Kind.delivery, group=code)["poll_id"]
    assert set(np.diff(np.unique(polls)).tolist()) <= {1}


def test_each_way_to_commit_reaches_the_end_in_its_own_steps(run: RunData, kafka: LocalKafka):
    """One commit an event, one a batch and partition, one an interval; and the coordinator knows the end in every case."""
    counts = {name: len(rows_of(run, Kind.commit, group=group_code(run, name))) for name in COMMITS}

    assert counts["event"] == len(run.plan)
    assert 20 < counts["batch"] <= len(run.plan)
    assert 8 <= counts["timed"] <= 60
    assert 4 <= counts["auto"] <= 60
    commits = rows_of(run, Kind.commit)
    assert set(commits["outcome"].tolist()) == {Outcome.ok}
    assert set(commits["event_id"].tolist()) == {NONE}
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    ends = {each.partition: each.end for each in run.extents if each.topic == "orders"}
    for name in COMMITS:
        answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(10)
        assert {each.partition: each.offset for each in answer.topic_partitions} == ends, name


def test_at_most_once_commits_before_its_first_try_and_at_least_once_after(run: RunData):
    """The commit that covers an event ends before the event's first try with before_work, and begins after its last with after_event."""
    for name, before in (("before", True), ("event", False)):
        code = group_code(run, name)
        commits, tries = rows_of(run, Kind.commit, group=code), rows_of(run, Kind.try_, group=code)
        for each in tries[:: max(1, len(tries) // 50)]:
            own = commits[(commits["partition"] == each["partition"]) & (commits["offset"] > each["offset"])]
            assert (
                own["ended_ns"].min() <= each["started_ns"] + 1_000_000
                if before
                else own["started_ns"].min() >= each["ended_ns"] - 1_000_000
            )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_crash_in_mid_batch_repeats_events_and_loses_none(kafka: LocalKafka, tmp_path: Path, client: str):
    """It commits once a second and works on 100 events a second: up to 100, and those of one rebalance, are done again."""
    run = drive_on(kafka, load(CRASH.replace("CLIENT", client)), tmp_path / "run")

    assert _all_done(run)
    repeated = len(rows_of(run, Kind.try_, outcome=Outcome.ok)) - len(run.plan)
    assert 1 <= repeated <= 200
    assert any(each.kind == "session expired" and each.where == "slow/1" for each in run.incidents)
    own = rows_of(run, Kind.try_, process=run.names.processes.index("slow/1"))
    assert own["started_ns"].max() > 7_500_000_000  # it came back
    assert any(each.kind == "restart" and each.where == "slow/1" for each in run.incidents)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_crash_under_auto_commit_shows_what_each_client_commits(kafka: LocalKafka, tmp_path: Path, client: str):
    """librdkafka commits what it has handed over, finished or not; Java what earlier polls handed over. So one passes events, one repeats them."""
    settings = [
        "groups.slow.commit=auto",
        "groups.slow.settings={session.timeout.ms: 3000, heartbeat.interval.ms: 500, auto.commit.interval.ms: 300}",
    ]
    settings += ["producers.shop.arrivals=[{for: 1s, rate: 400/s}, {for: 4s, rate: 1/s}]", "duration=5s"]
    settings += ["groups.slow.work=20ms", "faults=[{fault: member_crash, member: slow/1, at: 2s, for: 1s}]"]
    run = drive_on(kafka, load(CRASH.replace("CLIENT", client), settings), tmp_path / "run")

    effects = rows_of(run, Kind.try_, outcome=Outcome.ok)
    done = len(np.unique(effects["event_id"]))
    found = check(run)["passed"]
    assert found.valid
    assert found.parts["for good"] == len(run.plan) - done
    if client == "librdkafka":
        assert len(run.plan) - done > 10
    else:
        assert done == len(run.plan)
        assert len(effects) - done > 10


@pytest.mark.parametrize("client", CLIENTS)
def test_a_member_of_the_new_protocol_leaves_in_good_order_and_nothing_is_done_again(
    kafka: LocalKafka, tmp_path: Path, client: str
):
    settings = [
        "groups.slow.settings={group.protocol: consumer}",
        "faults=[{fault: member_leave, member: slow/1, at: 3.5s, for: 2s}]",
        "duration=6s",
    ]
    run = drive_on(kafka, load(CRASH.replace("CLIENT", client), settings), tmp_path / "run")

    assert _all_done(run)
    assert len(rows_of(run, Kind.try_, outcome=Outcome.ok)) == len(run.plan)
    own = rows_of(run, Kind.try_, process=run.names.processes.index("slow/1"))
    assert 3_400_000_000 < own["started_ns"][own["started_ns"] < 5_500_000_000].max() < 4_500_000_000


@pytest.mark.parametrize("client", CLIENTS)
def test_a_member_that_is_asked_to_leave_finishes_what_a_poll_handed_over(
    kafka: LocalKafka, tmp_path: Path, client: str
):
    """Each has some seconds of work in hand, which counts as committed in one group (`auto`) and is acquired in the other, a share group.

    One that left at once would pass over it, or give it back, to be delivered again.
    """
    shared = f"{{topics: [orders], client: {client}, share_group: true, members: 2, work: 20ms}}"
    settings = [
        "groups.slow.commit=auto",
        "groups.slow.work=20ms",
        "groups.slow.settings={session.timeout.ms: 20000}",
        f"groups.shared={shared}",
        "producers.shop.arrivals=[{for: 1s, rate: 400/s}, {for: 4s, rate: 1/s}]",
        "duration=5s",
        "faults=[{fault: member_leave, member: slow/1, at: 2s, for: 500ms}, {fault: member_leave, member: shared/1, at: 2s, for: 500ms}]",
    ]
    run = drive_on(kafka, load(CRASH.replace("CLIENT", client), settings), tmp_path / "run")

    assert _all_done(run)
    assert check(run)["passed"].parts["for good"] == 0
    for group in ("slow", "shared"):
        for kind in (Kind.try_, Kind.delivery):
            rows = rows_of(run, kind, group=group_code(run, group))
            assert np.bincount(rows["event_id"], minlength=len(run.plan)).tolist() == [1] * len(run.plan)
    assert all("back as process" in left.proof for left in run.faults)


def _all_done(run: RunData) -> bool:
    """Whether the run is complete, breaks no rule, and has handled each event."""
    broken = {name: result.count for name, result in check(run).items() if not result.valid}
    effects = np.unique(rows_of(run, Kind.try_, outcome=Outcome.ok)["event_id"])
    return run.about["state"] == "complete" and not broken and len(effects) == len(run.plan)
