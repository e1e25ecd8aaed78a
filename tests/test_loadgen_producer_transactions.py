"""Producers with a transactional.id, on a real Kafka: what is due together is committed together, or is not there for who reads committed records."""

from collections.abc import Iterator

import numpy as np
import pytest

from live_runs import drive_on, group_code, load, rows_of, spec_of
from loadgen.clusters.local import start_local
from rundata.checks import check
from rundata.rows import NONE, Kind, Outcome
from rundata.tables import RunData

pytestmark = pytest.mark.live

SCENARIO = """\
scenario: bursts-in-transactions
seed: 3
duration: 14s
drain: 60s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 300}}
topics:
  orders: {partitions: 4, replication: 1, settings: {max.message.bytes: 40000}}
producers:
  shop:
    topic: orders
    count: 2
    settings: {acks: all, transactional.id: shop}
    arrivals: [{for: 14s, rate: 100/s, spacing: {bursts: 10}}]
    key: {uniform: 100}
    size: 200B
groups:
  committed: {topics: [orders], work: 0ms, settings: {isolation.level: read_committed}}
  all: {topics: [orders], work: 0ms, settings: {isolation.level: read_uncommitted}}
faults:
  - {fault: oversized, producer: shop, events: 1, size: 100kB, at: 2s, for: 1s}
  - {fault: producer_crash, producer: shop/1, at: 4s, for: 1s}
  - {fault: broker_crash, broker: 1, at: 8s, for: 2s}
"""


@pytest.fixture(scope="module", params=["librdkafka", "java"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunData]:
    loaded = load(SCENARIO, [f"producers.shop.client={request.param}"])
    with start_local(spec_of(loaded), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield drive_on(cluster, loaded, tmp_path_factory.mktemp("bursts") / "run")


def test_the_run_is_complete_and_breaks_no_rule(run: RunData) -> None:
    """One that is late only because a commit was under way is no reason to call the driver late either."""
    assert run.about["state"] == "complete"
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    assert check(run)["transaction_atomicity"].note == ""
    assert [reason for reason in run.about["invalid"] if reason.startswith("the senders")] == []


def test_what_is_due_together_is_one_transaction(run: RunData) -> None:
    """Each burst of ten is shared by two processes; of the one that is never killed no burst is in two transactions."""
    sends = rows_of(run, Kind.send, outcome=Outcome.ok)
    own = sends[(sends["process"] == run.names.processes.index("shop/2")) & (sends["intended_ns"] < 7_000_000_000)]

    assert len(own) > 200
    for instant in np.unique(own["intended_ns"]):
        together = own[own["intended_ns"] == instant]
        assert len(set(together["transaction_id"].tolist())) == 1
        assert len(set(together["ended_ns"].tolist())) == 1
    assert len(set(own["transaction_id"].tolist())) < len(own) / 2


def test_one_event_that_is_too_large_takes_its_whole_transaction_with_it(run: RunData) -> None:
    """The others of the burst had been appended, and are aborted: readers of all records see them, readers of committed ones do not.

    librdkafka then aborts the next transaction that writes to that partition, too: it goes on counting behind the batch that was refused
    (OUT_OF_ORDER_SEQUENCE_NUMBER), until the brokers have given it a new epoch.
    """
    failed = rows_of(run, Kind.send, outcome=Outcome.failed)
    seen = {
        name: set(rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, name))["event_id"].tolist())
        for name in ("committed", "all")
    }
    gone = set(failed["event_id"].tolist())

    assert len(set(failed["transaction_id"].tolist())) == (
        1 if run.plan.scenario.producers["shop"].client == "java" else 2
    )
    assert NONE not in set(failed["transaction_id"].tolist())
    assert len(gone) > 2
    assert gone & seen["committed"] == set()
    assert len(gone & seen["all"]) > 0
    assert np.isin(run.log["event_id"][run.log["aborted"] == 1], list(gone)).any()


def test_after_each_crash_it_goes_on(run: RunData) -> None:
    """A process's and its coordinator's: every event that was not aborted, or open at the crash, is there once."""
    sends = rows_of(run, Kind.send)
    ok = sends[sends["outcome"] == Outcome.ok]
    unknown = sends[sends["outcome"] == Outcome.unknown]

    assert len(sends) == len(run.plan)
    assert len(unknown) <= 20
    for process in ("shop/1", "shop/2"):
        assert ok["intended_ns"][ok["process"] == run.names.processes.index(process)].max() > 12_000_000_000
    log = run.log[(run.log["aborted"] == 0) & (run.log["event_id"] >= 0)]
    assert len(np.unique(log["event_id"])) == len(log)
    assert np.isin(ok["event_id"], log["event_id"]).all()
