"""An outbox on the embedded cluster: what follows from an effect is sent by a relay at its interval, also when the member that stored it is killed."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from live_runs import drive_embedded, group_code, load, rows_of
from loadgen.member_outbox import Outbox, Stored, Stores
from loadgen.outbox_process import Relay
from rundata.checks import check
from rundata.rows import Kind, Outcome
from scenarios.derived import Derived

SCENARIO = """\
scenario: outbox
seed: 5
duration: 5s
drain: 30s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 2, replication: 1}, mails: {partitions: 1, replication: 1}, audit: {partitions: 1, replication: 1}}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 100/s, key: {uniform: 50}}
groups:
  work:
    topics: [orders]
    members: 1
    work: 1ms
    commit: after_event
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
    emits:
      - {topic: mails, event: Mail, outbox: {every: 500ms}, settings: {acks: all, enable.idempotence: true}}
      - {topic: audit, event: Noted, settings: {acks: all, enable.idempotence: true}}
  post: {topics: [mails], work: 0ms, commit: {every: 500ms}, settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}}
faults:
  - {fault: member_crash, member: work/1, at: 2300ms, for: 300ms}
"""
S = 1_000_000_000


def test_what_is_stored_is_read_once_in_whole_frames(tmp_path: Path) -> None:
    """Of a frame that is half written nothing is read until it is whole; each member has a file of its own."""
    one = Stored(7, 1, 1, 5, 3, 0, b"key", b"value")
    other = Stored(8, 1, 1, 5, 3, 1, None, b"")
    stores = Stores(tmp_path, "outbox-0-")
    Outbox(tmp_path / "outbox-0-1.1.outbox").store([one, other])
    Outbox(tmp_path / "outbox-1-1.1.outbox").store([one])

    assert list(stores.new()) == [one, other]
    assert list(stores.new()) == []
    whole = (tmp_path / "outbox-0-1.1.outbox").read_bytes()
    path = tmp_path / "outbox-0-2.1.outbox"
    path.write_bytes(whole[:40])
    assert list(stores.new()) == []
    path.write_bytes(whole)
    assert list(stores.new()) == [one, other]


@pytest.mark.parametrize(("once", "sent"), [(True, [7, 8]), (False, [7, 8, 7])])
def test_what_is_stored_twice_is_sent_once_where_its_group_does_everything_once(once: bool, sent: list[int]) -> None:
    """A member was killed when it had stored event 7 and not yet remembered its effect, so that another one stored it again."""
    found = [Stored(child, 1, 1, 5, 3, 0, b"key", b"value") for child in (7, 8, 7)]
    relay = Relay.__new__(Relay)
    relay.stores = SimpleNamespace(new=lambda: found)  # type: ignore[assignment]  # stores by hand
    relay.waiting, relay.once, relay.relayed = {0: []}, once, set()
    told = list[int]()
    relay._send = lambda stored: told.append(stored.child)  # type: ignore[method-assign]  # the same

    relay._relay(0)

    assert told == sent


@pytest.mark.live
def test_a_relay_sends_what_members_stored_and_a_crash_loses_none_of_it(tmp_path: Path) -> None:
    """Mails leave each half second; those of effects just before the crash too. What is emitted directly leaves at once."""
    run = drive_embedded(load(SCENARIO), tmp_path / "run")
    sends = rows_of(run, Kind.send, group=group_code(run, "work"), outcome=Outcome.ok)
    mails = sends[sends["topic"] == run.names.topics.index("mails")]
    direct = sends[sends["topic"] == run.names.topics.index("audit")]
    effects = np.unique(rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "work"))["event_id"])
    wanted = {c for e in effects.tolist() for c in Derived(run.plan).children(e, "work")}
    waited = mails["started_ns"] - mails["intended_ns"]

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert len(effects) == len(run.plan)
    assert {*mails["event_id"].tolist(), *direct["event_id"].tolist()} == wanted
    assert 0.1 * S < np.median(waited) < S
    assert np.median(direct["started_ns"] - direct["intended_ns"]) < np.median(waited) / 2
    handled = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "post"))["event_id"]
    assert set(handled.tolist()) == set(mails["event_id"].tolist())
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
