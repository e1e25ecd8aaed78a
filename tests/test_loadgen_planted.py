"""Real defects, planted in live runs and found by the checks: second copies of a batch whose answer was lost."""

from pathlib import Path

import numpy as np
import pytest

from live_runs import drive_embedded, load
from rundata.checks import check

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
