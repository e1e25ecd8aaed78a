"""Real defects, planted in live runs and found by the checks: second copies of a batch whose answer was lost, events passed over."""

from pathlib import Path

import numpy as np
import pytest

from live_runs import drive_embedded, load, rows_of
from rundata.checks import check
from rundata.indicators import measure
from rundata.rows import Kind, Outcome

pytestmark = pytest.mark.live

PAUSED = """\
scenario: second-copies
seed: 3
duration: 7s
drain: 20s
brokers: {kind: kafka, nodes: 2, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 2, replication: 2}}
producers:
  shop:
    topic: orders
    settings: {acks: all, enable.idempotence: false, socket.timeout.ms: 1000, linger.ms: 5}
    arrivals: 100/s
    key: {uniform: 20}
groups:
  work:
    topics: [orders]
    work: 0ms
    commit: {every: 500ms}
    settings: {session.timeout.ms: 6000, heartbeat.interval.ms: 300, socket.timeout.ms: 1000}
faults:
  - {fault: broker_pause, broker: leader of orders/0, at: 3s, for: 2500ms}
"""

PASSED = """\
scenario: passed-over
seed: 3
duration: 4s
drain: 30s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 2, replication: 1}}
producers:
  shop: {topic: orders, arrivals: [{for: 1s, rate: 200/s}, {for: 3s, rate: 0/s}], key: {uniform: 20}}
groups:
  work:
    topics: [orders]
    work: 20ms
    commit: auto
    settings: {auto.commit.interval.ms: 200, session.timeout.ms: 2000, heartbeat.interval.ms: 300}
faults:
  - {fault: member_crash, member: work/1, at: 3s, for: 500ms}
"""


@pytest.mark.parametrize("idempotent", [False, True])
def test_second_copies_are_found_and_allowed_only_to_those_who_may_repeat(tmp_path: Path, idempotent: bool):
    """A broker keeps its answers back for longer than the client waits, so batches are sent and appended again.

    librdkafka's cluster does not enforce idempotence: to a producer that asks for it these copies are a broken promise.
    """
    run = drive_embedded(
        load(PAUSED, (f"producers.shop.settings['enable.idempotence']={str(idempotent).lower()}",)), tmp_path / "run"
    )
    copies = len(run.log) - len(np.unique(run.log["event_id"]))
    found = check(run)

    assert copies >= 1
    assert found["duplicate_deliveries"].parts["log"] == copies
    assert found["duplicate_effects"].count == copies
    for name in ("duplicate_deliveries", "duplicate_effects", "processed_once"):
        assert found[name].valid is not idempotent
    assert ("is not idempotent" in found["duplicate_effects"].allowed) is not idempotent
    assert "acknowledged at" in found["duplicate_effects"].examples[0]
    assert "orders/" in found["duplicate_effects"].examples[0]


def test_events_that_a_killed_member_had_committed_unheard_are_found_as_passed_over(tmp_path: Path):
    """The member is killed in a batch that its client has committed in the background; nothing comes behind it in the log.

    So nobody records that commit: the member heard of no answer, and the next one has nothing to commit. Only the coordinator tells.
    """
    for go in range(4):  # the client decides when it commits, and may have done so before the batch
        run = drive_embedded(load(PASSED), tmp_path / f"run-{go}")
        done = np.unique(rows_of(run, Kind.try_, outcome=Outcome.ok)["event_id"])
        missing = len(run.plan) - len(done)
        if missing > 5:
            break
    found = check(run)["passed"]
    measured = measure(run)

    assert missing > 5
    assert rows_of(run, Kind.delivery)["started_ns"].max() < run.end_ns
    assert (found.count, found.parts["for good"], found.valid) == (missing, missing, True)
    assert (measured["passed"].value, measured["pending"].value) == (missing, 0)
    assert run.end_ns < 20_000_000_000  # it does not wait for the whole drain either


def test_a_member_in_a_long_poll_is_timed_from_time_0(tmp_path: Path):
    """It waits for two seconds, and the start is told to it 0.7 s ahead: its first batch comes before it has asked for news."""
    settings = ("faults=[]", "groups.work.reads={collect: {events: 500, timeout: 2s}}", "groups.work.work=1ms")
    run = drive_embedded(load(PASSED, settings), tmp_path / "run")
    handled = run.operations[run.operations["group"] == 0]

    assert run.about["state"] == "complete"
    assert handled["started_ns"].max() < run.end_ns + 5_000_000_000
    assert measure(run)["delivery"].value == 1
    assert measure(run)["latency.max"].value < 6
