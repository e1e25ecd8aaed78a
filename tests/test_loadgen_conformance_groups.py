"""Groups that do more than commit offsets, with every client on a real Kafka: transactions, retry topics, memories of event ids."""

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition

from live_runs import drive_on, group_code, load, rows_of, spec_of
from loadgen.clusters.local import start_local
from rundata.checks import check
from rundata.rows import NONE, Kind, Outcome
from rundata.tables import RunData

pytestmark = pytest.mark.live

GROUPS = """\
scenario: groups
seed: 8
duration: 6s
drain: 30s
brokers:
  kind: kafka
  nodes: 3
  settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}
topics:
  orders: {partitions: 2, replication: 3}
  orders.dlq: {partitions: 1, replication: 3}
producers:
  shop: {topic: orders, client: CLIENT, arrivals: 80/s, key: {uniform: 50}, size: 200B, poison: 3%, settings: {acks: all}}
groups:
  exact:
    topics: [orders]
    client: CLIENT
    work: 500us
    commit: transaction
    failures: {retry: {attempts: 2, backoff: 5ms}, then: dead_letter, dead_letter: orders.dlq}
  later:
    topics: [orders]
    client: CLIENT
    work: 200us
    failures: {transient: {chance: 5%, attempts: 1}, retry: {attempts: 3, backoff: 300ms, where: topic}, then: skip}
  once:
    topics: [orders]
    client: CLIENT
    work: 3ms
    commit: {every: 1s}
    dedupe: {window: 10m, store: shared}
    settings: {session.timeout.ms: 1500, heartbeat.interval.ms: 300}
    failures: {then: skip}
faults:
  - {fault: member_crash, member: once/1, at: 2600ms, for: 500ms}  # in the middle between two commits
"""
DEAD_LETTERS: dict[int, int] = {}
"""By run: what a reader sees that waits for transactions to be committed."""


@pytest.fixture(scope="module", params=["librdkafka", "java"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunData:
    loaded = load(GROUPS.replace("CLIENT", request.param))
    with start_local(spec_of(loaded), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        run = drive_on(cluster, loaded, tmp_path_factory.mktemp(request.param) / "run")
        DEAD_LETTERS[id(run)] = read_committed(cluster.bootstrap)
        return run


def read_committed(bootstrap: str) -> int:
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "t", "isolation.level": "read_committed"})
    reader.assign([TopicPartition("orders.dlq", 0, 0)])
    count = 0
    while messages := reader.consume(1000, 3.0):
        count += len(messages)
    reader.close()
    return count


def test_the_run_is_complete_and_breaks_no_rule(run: RunData):
    assert run.about["state"] == "complete"
    assert {name: result.count for name, result in check(run).items() if not result.valid} == {}


def test_a_batch_is_one_transaction(run: RunData):
    """Tries, dead letters and offsets of a batch carry one number, and all of them take effect."""
    code = group_code(run, "exact")
    tries, commits = rows_of(run, Kind.try_, group=code), rows_of(run, Kind.commit, group=code)

    assert NONE not in tries["transaction_id"]
    assert set(tries["transaction_id"].tolist()) == set(commits["transaction_id"].tolist())
    assert set(commits["outcome"].tolist()) == {Outcome.ok}
    dead = rows_of(run, Kind.dead_letter, group=code)
    assert len(dead) >= int(np.count_nonzero(run.plan.poison)) > 5
    assert DEAD_LETTERS[id(run)] == len(dead)


def test_failed_events_are_tried_again_from_their_retry_topics(run: RunData):
    """The second try comes 300 ms later from orders.retry.1, and the third from orders.retry.2; others are not held up."""
    tries = rows_of(run, Kind.try_, group=group_code(run, "later"))
    second = tries[tries["attempt"] == 2]
    third = tries[tries["attempt"] == 3]
    poison = np.flatnonzero(run.plan.poison)

    assert set(third["event_id"].tolist()) == set(poison.tolist())
    assert set(second["outcome"][~np.isin(second["event_id"], poison)].tolist()) == {Outcome.ok}
    first = tries[(tries["attempt"] == 1) & (tries["outcome"] == Outcome.failed)]
    due = {int(each["event_id"]): int(each["retry_due_ns"]) for each in first[::-1]}
    begun = {int(each["event_id"]): int(each["started_ns"]) for each in first[::-1]}
    assert all(int(each["started_ns"]) >= due[int(each["event_id"])] for each in second)
    assert np.median([due[event] - begun[event] for event in due]) > 290_000_000
    names = run.names.topics
    assert {names[each] for each in second["topic"]} == {"orders.retry.1"}
    assert {names[each] for each in third["topic"]} == {"orders.retry.2"}


def test_what_a_memory_knows_has_no_second_effect(run: RunData):
    """What is delivered again after the crash has no second effect."""
    code = group_code(run, "once")
    effects = rows_of(run, Kind.try_, group=code, outcome=Outcome.ok)

    assert len(rows_of(run, Kind.delivery, group=code)) > len(run.plan)
    assert len(effects) == len(np.unique(effects["event_id"]))
