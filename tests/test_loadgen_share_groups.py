"""Share groups with librdkafka's client, on a real Kafka: more members than partitions, a crash, and workers side by side."""

import socket
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from live_runs import drive_on, group_code, load, rows_of, spec_of
from loadgen.clusters.local import start_local
from loadgen.refuse import cannot
from loadgen.wire import ShareMemberPlaces, WireError, share_members, share_offsets
from rundata.checks import check
from rundata.indicators import measure
from rundata.rows import NONE, Kind, Outcome
from rundata.tables import RunData

SCENARIO = """\
scenario: shared
seed: 6
duration: 8s
drain: 30s
brokers: {kind: kafka, nodes: 3, settings: {group.initial.rebalance.delay.ms: 100}}
topics:
  orders: {partitions: 2, replication: 3}
  orders.dlq: {partitions: 1, replication: 3}
  mails: {partitions: 1, replication: 3}
producers:
  shop: {topic: orders, arrivals: 60/s, key: {uniform: 50}, poison: 2%, settings: {acks: all, enable.idempotence: true}}
groups:
  queue:
    topics: [orders]
    share_group: true
    members: 3
    work: 2ms
    commit: after_event
    emits: {topic: mails, event: Mail, settings: {acks: all, enable.idempotence: true, linger.ms: 0}}
    failures: {retry: {attempts: 2, backoff: 5ms}, then: dead_letter, dead_letter: orders.dlq}
  pool: {topics: [orders], share_group: true, workers: 4, ordered_by: none, work: 10ms, failures: {then: skip}}
  again: {topics: [orders], share_group: true, members: 2, work: 1ms, failures: {then: release}}
  hands: {topics: [orders], share_group: true, workers: 3, ordered_by: none, work: 1ms, failures: {then: release}}
faults:
  - {fault: member_crash, member: queue/1, at: 3s, for: 1s}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunData]:
    loaded = load(SCENARIO)
    with start_local(spec_of(loaded), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield drive_on(cluster, loaded, tmp_path_factory.mktemp("shared") / "run")


@pytest.mark.live
def test_each_event_is_handled_whoever_gets_it_and_the_run_breaks_no_rule(run: RunData) -> None:
    """Also with a member killed in between: what it had acquired goes to others at once, and not after the lock's 30 s."""
    good = np.flatnonzero(~run.plan.poison).tolist()
    queue, pool = (
        rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, name)) for name in ("queue", "pool")
    )

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert np.unique(queue["event_id"]).tolist() == np.unique(pool["event_id"]).tolist() == good
    assert ((queue["ended_ns"] - queue["intended_ns"]) / 1e9).max() < 15
    # Members commit nothing; what the coordinator was asked at the end is of no process.
    assert set(rows_of(run, Kind.commit)["process"].tolist()) == {NONE}
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


@pytest.mark.live
def test_more_members_than_partitions_share_the_work_and_workers_do_it_side_by_side(run: RunData) -> None:
    tries = rows_of(run, Kind.try_, group=group_code(run, "queue"))
    early, killed = tries[tries["started_ns"] < 3_000_000_000], run.names.processes.index("queue/1")
    pool = rows_of(run, Kind.try_, group=group_code(run, "pool"))
    began, ended = np.sort(pool["started_ns"]), np.sort(pool["ended_ns"])

    assert len(set(early["process"].tolist())) == 3
    assert tries["started_ns"][tries["process"] == killed].max() > 4_000_000_000
    assert (np.arange(1, len(began) + 1) - np.searchsorted(ended, began, side="right")).max() > 1


@pytest.mark.live
@pytest.mark.parametrize("name", ["again", "hands"])
def test_what_is_given_back_is_delivered_until_the_brokers_give_it_up(run: RunData, name: str) -> None:
    """Five times, Kafka's own limit; then it has passed, which a share group is allowed. All else takes effect once."""
    group, poison = group_code(run, name), np.flatnonzero(run.plan.poison)
    deliveries = np.bincount(rows_of(run, Kind.delivery, group=group)["event_id"], minlength=len(run.plan))
    tries = rows_of(run, Kind.try_, group=group)
    failed = np.bincount(tries["event_id"][tries["outcome"] == Outcome.failed], minlength=len(run.plan))

    assert len(poison) > 3
    assert deliveries[poison].tolist() == [5] * len(poison)
    assert failed[poison].tolist() == [5] * len(poison)
    assert not failed[~run.plan.poison].any()
    assert measure(run)[f"passed[{name}]"].value == len(poison)
    assert measure(run)[f"pending[{name}]"].value == 0
    assert "is a share group" in check(run)["duplicate_deliveries"].allowed
    assert run.end_ns < 20_000_000_000  # the drain did not wait for what nobody will do


def test_share_groups_of_librdkafka_are_driven_with_a_client_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = load(SCENARIO).scenario
    assert cannot(scenario) == []

    monkeypatch.delattr("confluent_kafka.ShareConsumer")

    assert [each.partition(", and the confluent-kafka")[0] for each in cannot(scenario)] == [
        f"groups.{name}.share_group is true" for name in ("queue", "pool", "again", "hands")
    ]  # fmt: skip
    assert "has no share consumer: write `client: java`, or install a later one" in cannot(scenario)[0]


def text(value: str) -> bytes:
    return bytes([len(value) + 1]) + value.encode()


@pytest.fixture
def coordinator(request: pytest.FixtureRequest) -> Iterator[str]:
    """Answers one request with a body; gives its address."""
    body: bytes = request.param
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(struct.pack(">ii", len(body) + 4, 1) + body)

        thread = threading.Thread(target=answer)
        thread.start()
        yield "127.0.0.1:" + str(server.getsockname()[1])
        thread.join()


HEAD = b"\0" + struct.pack(">i", 0) + b"\2"
MEMBERS = (
    b"\2" + text("m-1") + b"\0" + struct.pack(">i", 4) + text("queue-1") + text("/127.0.0.1") + b"\2" + text("orders")
    + b"\2" + bytes(16) + text("orders") + b"\3" + struct.pack(">ii", 0, 1) + b"\0" + b"\0" + b"\0"
)  # fmt: skip


@pytest.mark.parametrize(
    "coordinator",
    [HEAD + struct.pack(">h", 0) + b"\0" + text("queue") + text("Stable") + struct.pack(">ii", 1, 1) + text("simple") + MEMBERS],
    indirect=True,
)  # fmt: skip
def test_a_coordinator_tells_what_each_member_may_read(coordinator: str) -> None:
    assert share_members(coordinator, "queue") == [ShareMemberPlaces("m-1", "queue-1", (("orders", 0), ("orders", 1)))]


@pytest.mark.parametrize("coordinator", [HEAD + struct.pack(">h", 16) + b"\0"], indirect=True)
def test_a_broker_that_does_not_coordinate_a_share_group_is_named(coordinator: str) -> None:
    with pytest.raises(WireError, match=r"share group queue: .*coordinator"):
        share_members(coordinator, "queue")


OFFSETS = (
    b"\0" + struct.pack(">i", 0) + b"\2" + text("queue") + b"\2" + text("orders") + bytes(16) + b"\3"
    + struct.pack(">iqih", 0, 17, 1, 0) + b"\0\0" + struct.pack(">iqih", 1, -1, 0, 0) + b"\0\0" + b"\0"
)  # fmt: skip


@pytest.mark.parametrize("coordinator", [OFFSETS + struct.pack(">h", 0) + b"\0" + b"\0"], indirect=True)
def test_a_coordinator_tells_how_far_a_share_group_is_through(coordinator: str) -> None:
    """Partition 1 it has not begun with."""
    assert share_offsets(coordinator, "queue") == {("orders", 0): 17}


@pytest.mark.parametrize("coordinator", [HEAD + text("queue") + b"\1" + struct.pack(">h", 16) + b"\0"], indirect=True)
def test_how_far_a_share_group_is_only_its_coordinator_tells(coordinator: str) -> None:
    with pytest.raises(WireError, match=r"share group queue: .*coordinator"):
        share_offsets(coordinator, "queue")
