"""Members on a real Kafka: transactions through a crash, offsets that are set back, losses of the client's own default."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from live_runs import drive_on, group_code, load, rows_of, spec_of
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.watchdog.undoing import admin
from rundata.checks import check
from rundata.rows import NONE, Kind, Outcome
from rundata.tables import RunData
from scenarios.derived import Derived
from test_clusters_local import create
from test_loadgen_transactions import IN, Member

pytestmark = pytest.mark.live

TRANSACTIONS = """\
scenario: transactions
seed: 3
duration: 12s
drain: 40s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 300}}
topics:
  orders: {partitions: 2, replication: 1}
  shipments: {partitions: 2, replication: 1}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 200/s, key: {uniform: 100}}
groups:
  fulfilment:
    topics: [orders]
    members: 2
    reads: {collect: {events: 100, timeout: 1s}}  # it works on such a batch most of the time
    work: 9ms
    commit: transaction
    settings: {session.timeout.ms: 6000, isolation.level: read_committed}
    emits: {topic: shipments, event: Shipped, settings: {transaction.timeout.ms: 5000}}
  shipping:
    topics: [shipments]
    work: 0ms
    commit: {every: 1s}
    settings: {isolation.level: read_committed}
faults:
  - {fault: member_crash, member: fulfilment/1, at: [3700ms, 6200ms], for: 1s}
"""
DEFAULTS = """\
scenario: defaults
seed: 3
duration: 9s
drain: 30s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 300}}
topics:
  orders: {partitions: 2, replication: 1}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 200/s, key: {uniform: 100}}
groups:
  work:
    topics: [orders]
    reads: {collect: {events: 200, timeout: 1s}}
    work: 4800us
    commit: auto
    settings: {auto.commit.interval.ms: 500, session.timeout.ms: 6000}
  audit:
    topics: [orders]
    work: 0ms
    commit: {every: 500ms}
faults:
  - {fault: member_crash, member: work/1, at: 4s, for: 2s}
actions:
  - {action: reset_offsets, group: audit, to: earliest, at: 5s}
"""
LEADERLESS = """\
scenario: leaderless
seed: 3
duration: 16s
drain: 60s
brokers: {kind: kafka, nodes: 3, settings: {group.initial.rebalance.delay.ms: 300}}
topics:
  orders: {partitions: 1, replication: 3, settings: {min.insync.replicas: 2}}
  shipments: {partitions: 1, replication: 3, settings: {min.insync.replicas: 2}}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 100/s, key: {uniform: 100}}
groups:
  work:
    topics: [orders]
    work: 1ms
    commit: transaction
    emits: {topic: shipments, event: Shipped}
  committed: {topics: [shipments], work: 0ms, settings: {isolation.level: read_committed}}
faults:
  - {fault: broker_crash, broker: leader of shipments/0, at: 3s, for: 11s}
"""
UNPARTED = """\
scenario: unparted
seed: 3
duration: 3s
drain: 1s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 300}}
topics:
  orders: {partitions: 2, replication: 1}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 100/s, key: {uniform: 100}}
groups:
  old: {topics: [orders], members: 2, work: 1ms, commit: {every: 1s}}
  new: {topics: [orders], members: 2, work: 1ms, commit: {every: 1s}, settings: {group.protocol: consumer}}
faults:
  - {fault: member_crash, member: old/1, at: 1500ms, for: 1s}
  - {fault: member_crash, member: new/1, at: 1500ms, for: 1s}
"""
# A member of a driver that was killed: it reads, and ends without leaving.
GHOST = """
import sys, time
from confluent_kafka import Consumer
ghost = Consumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "group.protocol": sys.argv[3]})
ghost.subscribe(["orders"])
while not ghost.assignment():
    ghost.poll(0.1)
print("in", flush=True)
time.sleep(300)
"""


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    with start_local(spec_of(load(TRANSACTIONS)), progress=print) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def transactions(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return drive_on(kafka, load(TRANSACTIONS), tmp_path_factory.mktemp("transactions") / "run")


@pytest.fixture(scope="module")
def defaults(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return drive_on(kafka, load(DEFAULTS), tmp_path_factory.mktemp("defaults") / "run")


def effects_of(run: RunData, group: str) -> Any:
    return rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, group))["event_id"]


def test_a_crash_in_a_transaction_neither_loses_nor_repeats(transactions: RunData):
    """The batch that the crash cut short is aborted, tries of it are undone, and every effect and emission comes once."""
    run = transactions
    events = list(range(len(run.plan)))

    assert run.about["state"] == "complete"
    assert np.sort(effects_of(run, "fulfilment")).tolist() == events
    shipped = sorted(c for event in events for c in Derived(run.plan).children(event, "fulfilment"))
    assert np.sort(effects_of(run, "shipping")).tolist() == shipped
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


def test_what_was_aborted_is_in_the_log_and_told_apart(transactions: RunData):
    run = transactions
    aborted = run.log[run.log["aborted"] != 0]
    undone = rows_of(run, Kind.try_, outcome=Outcome.unknown)

    assert len(aborted) > 0
    assert {run.names.topics[code] for code in aborted["topic"].tolist()} == {"shipments"}
    assert (undone["transaction_id"] != NONE).all()
    assert len(undone) > 0
    assert "written in transactions" in check(run)["offset_gaps"].allowed


def test_the_clients_own_default_passes_over_events(defaults: RunData):
    """librdkafka stores an offset when a record is handed over: what the crashed member had in hand is never handled."""
    found = check(defaults)["passed"]

    assert found.valid
    assert found.parts["for good"] > 5
    assert found.allowed == "work commits what was handed over, finished or not (commit: auto)"
    assert "committed beyond at" in found.examples[0]


def test_a_group_whose_offsets_are_set_back_reads_all_again(defaults: RunData):
    run = defaults
    record = run.actions[0]
    deliveries = rows_of(run, Kind.delivery, group=group_code(run, "audit"))["event_id"]
    before = np.count_nonzero(run.plan.intended_ns < 4_500_000_000)

    assert len(deliveries) - len(np.unique(deliveries)) >= before * 0.9
    assert "orders/0 offset 0" in record.proof
    assert "1 members back" in record.proof


# ---- brokers that are away, and members that cannot leave ------------------------------------------------------------


def members_of(kafka: LocalKafka, group: str) -> list[str]:
    # Kept until the answer has come: it takes its requests with it.
    client = admin({"bootstrap.servers": kafka.bootstrap})
    return [each.member_id for each in client.describe_consumer_groups([group])[group].result(10).members]


def test_transactions_outlast_the_leader_of_what_they_write(tmp_path: Path):
    """A commit waits for the next leader, or is aborted and done again; nothing is lost or repeated, and nobody stays in a group."""
    loaded = load(LEADERLESS)
    with start_local(spec_of(loaded), progress=print) as kafka:
        run = drive_on(kafka, loaded, tmp_path / "run")
        left = {group: members_of(kafka, group) for group in ("work", "committed")}
    events = list(range(len(run.plan)))

    assert run.about["incomplete"] == []
    assert np.sort(effects_of(run, "work")).tolist() == events
    shipped = sorted(c for event in events for c in Derived(run.plan).children(event, "work"))
    assert np.sort(effects_of(run, "committed")).tolist() == shipped
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    assert left == {"work": [], "committed": []}


def test_nobody_stays_in_a_group_who_could_not_leave_it(kafka: LocalKafka, tmp_path: Path):
    """Killed members would be in the way of the next run for their session of 45 s: one ends their stay, and finds nobody of a killed driver."""
    drive_on(kafka, load(UNPARTED), tmp_path / "first")
    assert {group: members_of(kafka, group) for group in ("old", "new")} == {"old": [], "new": []}

    for group, protocol in (("old", "classic"), ("new", "consumer")):
        command = [sys.executable, "-P", "-c", GHOST, kafka.bootstrap, group, protocol]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as ghost:
            assert ghost.stdout is not None
            assert ghost.stdout.readline() == b"in\n"
            ghost.kill()
        assert len(members_of(kafka, group)) == 1

    run = drive_on(kafka, load(UNPARTED), tmp_path / "second")
    assert run.about["incomplete"] == []


def test_a_client_that_brokers_have_given_up_gives_way_to_another_one(kafka: LocalKafka):
    """Somebody else has taken its id: what it began cannot be committed, and is aborted; its member goes on with a new client."""
    for topic in ("in", "out"):
        create(kafka, topic, copies=1)
    member = Member(kafka.bootstrap)
    assert member.works()
    member.transactions.begin({IN: 0})
    member.send(b"one")
    assert member.answered()
    other = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "work-1", "log_level": 0})
    other.init_transactions(30)

    assert not member.transactions.commit({IN: 1}, 0)

    assert member.rows.commits[-1] == (1, Outcome.unknown)
    assert member.works()
    member.consumer.close()
