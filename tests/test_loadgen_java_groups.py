"""What Java processes do in their own way, on a real Kafka: share groups, collecting by polls, wrong clocks."""

from collections.abc import Iterator

import numpy as np
import pytest

from live_runs import drive_on, group_code, load, rows_of, spec_of
from loadgen.clusters.local import start_local
from rundata.checks import check
from rundata.indicators import measure
from rundata.rows import NONE, Kind, Outcome
from rundata.tables import RunData

pytestmark = pytest.mark.live

SCENARIO = """\
scenario: java-groups
seed: 6
duration: 8s
drain: 30s
brokers: {kind: kafka, nodes: 3, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics:
  orders: {partitions: 2, replication: 3}
  orders.dlq: {partitions: 1, replication: 3}
producers:
  shop: {topic: orders, client: java, arrivals: 100/s, key: {uniform: 50}, poison: 2%, settings: {acks: all}}
groups:
  queue:
    topics: [orders]
    client: java
    share_group: true
    members: 3
    work: 2ms
    failures: {retry: {attempts: 2, backoff: 5ms}, then: dead_letter, dead_letter: orders.dlq}
  pool:
    topics: [orders]
    client: java
    share_group: true
    workers: 4
    ordered_by: none
    work: 10ms
    failures: {then: skip}
  again: {topics: [orders], client: java, share_group: true, members: 1, work: 1ms, failures: {then: release}}
  hands: {topics: [orders], client: java, share_group: true, workers: 3, ordered_by: none, work: 1ms, failures: {then: release}}
  collecting:
    topics: [orders]
    client: java
    work: 100us
    reads: {collect: {events: 30, timeout: 200ms}}
    failures: {then: skip}
faults:
  - {fault: member_crash, member: queue/1, at: 3s, for: 1s}
  - {fault: clock_skew, producer: shop, by: -60s, at: 5s, for: 1s}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunData]:
    loaded = load(SCENARIO)
    with start_local(spec_of(loaded), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield drive_on(cluster, loaded, tmp_path_factory.mktemp("java") / "run")


def test_the_run_is_complete_and_breaks_no_rule(run: RunData):
    assert run.about["state"] == "complete"
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


@pytest.mark.parametrize("group", ["queue", "pool", "collecting"])
def test_each_event_that_can_be_processed_is_processed(run: RunData, group: str):
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, group))

    assert np.unique(effects["event_id"]).tolist() == np.flatnonzero(~run.plan.poison).tolist()


def test_more_members_than_partitions_share_the_work(run: RunData):
    """Two partitions, three members, all at work before the crash; the one that was killed comes back."""
    tries = rows_of(run, Kind.try_, group=group_code(run, "queue"))
    early = tries[tries["started_ns"] < 3_000_000_000]

    assert len(set(early["process"].tolist())) == 3
    killed = tries[tries["process"] == run.names.processes.index("queue/1")]
    assert killed["started_ns"].max() > 4_000_000_000


def test_what_a_killed_member_had_is_given_to_others_at_once(run: RunData):
    """Its connection is gone, so its locks of 30 s are not waited for."""
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "queue"))

    assert ((effects["ended_ns"] - effects["intended_ns"]) / 1e9).max() < 15


def test_a_share_groups_members_commit_no_offsets(run: RunData):
    commits = rows_of(run, Kind.commit)
    by_members = commits[commits["process"] != NONE]

    assert set(by_members["group"].tolist()) == {group_code(run, "collecting")}


@pytest.mark.parametrize("name", ["again", "hands"])
def test_what_a_share_group_gives_back_is_delivered_until_the_brokers_give_it_up(run: RunData, name: str):
    """Five times, Kafka's own limit; then it has passed. All else takes effect once."""
    group, poison = group_code(run, name), np.flatnonzero(run.plan.poison)
    deliveries = np.bincount(rows_of(run, Kind.delivery, group=group)["event_id"], minlength=len(run.plan))

    assert len(poison) > 3
    assert deliveries[poison].tolist() == [5] * len(poison)
    assert measure(run)[f"passed[{name}]"].value == len(poison)
    assert measure(run)[f"pending[{name}]"].value == 0


def test_workers_of_a_share_groups_member_work_side_by_side(run: RunData):
    """One member, four pairs of hands: a try often begins before the one before it has ended."""
    tries = rows_of(run, Kind.try_, group=group_code(run, "pool"))
    began, ended = np.sort(tries["started_ns"]), np.sort(tries["ended_ns"])
    under_way = np.arange(1, len(began) + 1) - np.searchsorted(ended, began, side="right")

    assert under_way.max() > 1


def test_a_collecting_member_takes_so_many_or_waits_for_its_timeout(run: RunData):
    """At 100 events a second it waits out its 200 ms, in which some 20 come, and never takes more than 30."""
    deliveries = rows_of(run, Kind.delivery, group=group_code(run, "collecting"))
    polls, sizes = np.unique(deliveries["poll_id"], return_counts=True)

    assert sizes.max() <= 30
    assert 12 < np.median(sizes) < 28
    assert len(polls) < 60


def test_a_producer_with_a_wrong_clock_writes_wrong_timestamps(run: RunData):
    """For a second its records say a minute ago; those before and afterwards are right."""
    sends = rows_of(run, Kind.send)
    at_ns = np.zeros(len(run.plan), np.int64)
    at_ns[sends["event_id"]] = sends["started_ns"]
    log = run.log[(run.log["topic"] == run.names.topics.index("orders")) & (run.log["event_id"] >= 0)]
    sent_ns = at_ns[log["event_id"]]
    behind = log["time_ns"] - sent_ns < -59_000_000_000

    assert np.count_nonzero(behind) > 50
    assert (behind == ((sent_ns >= 5_000_000_000) & (sent_ns < 6_000_000_000))).mean() > 0.99
