"""Members in a chain, live with every client: emitted events, retry topics, a shared memory, several workers, a dependency."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from live_runs import CLIENTS, drive_on, group_code, load, rows_of, start_for
from rundata.checks import check
from rundata.rows import UNTIMED, Kind, Outcome
from rundata.tables import RunData
from scenarios.derived import Derived

pytestmark = pytest.mark.live

CHAIN = """\
scenario: chain
seed: 3
duration: 4s
drain: 20s
brokers: {kind: kafka, nodes: 3, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics:
  orders: {partitions: 4, replication: 3}
  shipments: {partitions: 2, replication: 3}
  orders.dlq: {partitions: 1, replication: 3}
producers:
  shop:
    topic: orders
    client: CLIENT
    settings: {acks: all, enable.idempotence: true, linger.ms: 5}
    arrivals: 150/s
    key: {uniform: 100}
    event: OrderPlaced
    poison: 1%
groups:
  fulfilment:
    topics: [orders]
    client: CLIENT
    members: 2
    work: 1ms
    commit: {every: 1s}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
    emits: {topic: shipments, event: Shipped, per_event: 2, settings: {acks: all}}
    dedupe: {window: 10m, store: shared}
    calls: warehouse
    failures:
      transient: {chance: 5%, attempts: 2}
      retry: {attempts: 4, backoff: 100ms, factor: 2, where: topic}
      then: dead_letter
      dead_letter: orders.dlq
  shipping:
    topics: [shipments]
    client: CLIENT
    workers: 4
    ordered_by: key
    work: 3ms
    commit: {every: 1s}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
dependencies:
  warehouse: {takes: 1ms, rate: 1000/s, burst: 5}
"""


@pytest.fixture(scope="module", params=CLIENTS)
def chain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunData, list[Message]]]:
    """One run of the chain, and its dead letters."""
    loaded = load(CHAIN.replace("CLIENT", request.param))
    with start_for(request.param, loaded, tmp_path_factory.mktemp("logs")) as cluster:
        run = drive_on(cluster, loaded, tmp_path_factory.mktemp("chain") / "run")
        reader = Consumer(
            {"bootstrap.servers": cluster.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"}
        )
        reader.assign([TopicPartition("orders.dlq", 0, 0)])
        letters = reader.consume(100, 5)
        reader.close()
    yield run, letters


def effects_of(run: RunData, group: str) -> Any:
    return rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, group))


def test_what_an_effect_emits_is_sent_and_handled_once(chain: tuple[RunData, Any]):
    """Two events for each effect, with the ids that both engines give them, their root, and the effect as intended time."""
    run = chain[0]
    derived, planned = Derived(run.plan), len(run.plan)
    effects = effects_of(run, "fulfilment")
    expected = sorted(c for event in effects["event_id"].tolist() for c in derived.children(event, "fulfilment"))

    sends = rows_of(run, Kind.send)
    emitted = sends[sends["event_id"] >= planned]

    assert run.about["state"] == "complete"
    assert sorted(emitted["event_id"].tolist()) == expected
    assert len(expected) == 2 * len(effects)
    assert (emitted["root_id"] == derived.root_of(emitted["event_id"])).all()
    assert (emitted["cause_id"] == derived.cause_of(emitted["event_id"])).all()
    at = dict(zip(effects["event_id"].tolist(), effects["ended_ns"].tolist(), strict=True))
    assert emitted["intended_ns"].tolist() == [at[cause] for cause in emitted["cause_id"].tolist()]
    assert {run.names.event_types[code] for code in emitted["event_type"].tolist()} == {"Shipped"}
    assert sorted(effects_of(run, "shipping")["event_id"].tolist()) == expected


def test_failed_events_go_through_the_retry_topics(chain: tuple[RunData, Any]):
    """A transient event fails twice and works in the second retry topic, not before it is due."""
    run = chain[0]
    failing = run.plan.failing_tries["fulfilment"]
    event = int(np.flatnonzero((failing == 2) & ~run.plan.poison)[0])
    tries = rows_of(run, Kind.try_, group=group_code(run, "fulfilment"), event_id=event)

    assert [run.names.topics[code] for code in tries["topic"]] == ["orders", "orders.retry.1", "orders.retry.2"]
    assert tries["attempt"].tolist() == [1, 2, 3]
    assert tries["outcome"].tolist() == [Outcome.failed, Outcome.failed, Outcome.ok]
    assert (tries["started_ns"][1:] >= tries["retry_due_ns"][:-1]).all()
    assert tries["retry_due_ns"][2] == UNTIMED


def test_dead_letters_carry_what_springs_retry_topics_write(chain: tuple[RunData, list[Message]]):
    run, letters = chain
    headers = dict(letters[0].headers() or [])

    assert len(letters) == np.count_nonzero(rows_of(run, Kind.dead_letter)["outcome"] == Outcome.ok)
    assert headers["kafka_dlt-original-topic"] == b"orders"
    assert struct.unpack(">q", headers["kafka_dlt-original-offset"])[0] >= 0
    assert headers["kafka_dlt-exception-fqcn"] == b"PoisonError"
    assert headers["eventdrill-origin"].startswith(b"orders/")


def test_every_check_holds(chain: tuple[RunData, Any]):
    """What retry topics and the fault bring with them is allowed, and said to be."""
    found = check(chain[0])

    assert {name: result.examples for name, result in found.items() if not result.valid} == {}
