"""The user's own program under test: its payloads, its commits, and its effects from a topic or a file, shown with a small program."""

import io
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastavro import parse_schema, schemaless_reader

from live_runs import drive_embedded, drive_on, group_code, load, rows_of, start, values_of_orders
from loadgen.external import ExternalGroup
from loadgen.offsets import GroupOffsets
from loadgen.payloads import PayloadError, made_up, values_of
from loadgen.records import ids_in_headers
from loadgen.refuse import cannot
from rundata.checks import check
from rundata.row_log import read_rows
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.schema import FilePayload, SchemaPayload

PROGRAM = '''
"""A program that knows nothing of EventDrill but a header: it reads orders and says what it has done."""
import json, sys, time
from confluent_kafka import Consumer, Producer

servers, file = sys.argv[1], sys.argv[2]
settings = {"bootstrap.servers": servers, "group.id": "app", "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
            "topic.metadata.refresh.interval.ms": 500, "allow.auto.create.topics": False, "enable.auto.commit": False}
consumer, producer = Consumer(settings), Producer({"bootstrap.servers": servers, "linger.ms": 0})
consumer.subscribe(["orders"])
print("up", flush=True)
while True:
    message = consumer.poll(0.1)
    producer.poll(0)
    if message is None or message.error():
        continue
    headers = dict(message.headers())
    order = json.loads(message.value())
    assert order["kind"] == "order", order
    if file == "-":
        producer.produce("orders.done", json.dumps({"shipped": order["number"]}), headers=message.headers())
    else:
        with open(file, "a") as out:
            out.write(json.dumps({"event": int(headers["eventdrill-id"]), "at": time.time()}) + "\\n")
    consumer.commit(message, asynchronous=True)
'''
SCENARIO = """\
scenario: external
seed: 4
duration: 5s
drain: 20s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100}}
topics:
  orders: {partitions: 2, replication: 1}
  orders.done: {partitions: 1, replication: 1}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 40/s, key: {uniform: 10}, payload: {file: PAYLOAD}}
groups:
  app: {topics: [orders], work: 0ms, external: true, effects: EFFECTS}
"""


@pytest.fixture(scope="module", params=["topic", "file"])
def external(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunData, list[bytes]]]:
    """A run against the program, and the values that lie in its topic."""
    folder = tmp_path_factory.mktemp("external")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "orders.jsonl").write_text("".join(f'{{"kind": "order", "number": {n}}}\n' for n in range(7)))
    effects = "{topic: orders.done}" if request.param == "topic" else f"{{file: {folder / 'done.jsonl'}}}"
    loaded = load(SCENARIO.replace("PAYLOAD", str(folder / "orders.jsonl")).replace("EFFECTS", effects))
    said_to = "-" if request.param == "topic" else str(folder / "done.jsonl")
    with start(loaded) as cluster:
        command = [sys.executable, str(folder / "program.py"), cluster.bootstrap, said_to]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"up\n"
            run = drive_on(cluster, loaded, folder / "run")
            program.kill()
        values = values_of_orders(cluster)
    yield run, values


@pytest.mark.live
def test_effects_of_the_users_program_are_counted(external: tuple[RunData, list[bytes]]):
    """Each event has one effect, later than its acknowledgement was possible, and the run ends when the last one is there."""
    run = external[0]
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "app"))

    assert run.about["state"] == "complete"
    assert np.sort(effects["event_id"]).tolist() == list(range(len(run.plan)))
    assert (effects["ended_ns"] >= effects["intended_ns"]).all()
    assert run.end_ns < 24_000_000_000
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


@pytest.mark.live
def test_values_are_the_users_own_and_ids_travel_in_headers(external: tuple[RunData, list[bytes]]):
    run, values = external

    assert len(values) == len(run.plan)
    assert {json.loads(value)["number"] for value in values} == set(range(7))
    assert np.sort(run.log["event_id"][run.log["topic"] == 0]).tolist() == list(range(len(run.plan)))


@pytest.mark.live
def test_commits_of_the_users_program_are_watched(external: tuple[RunData, list[bytes]]):
    run = external[0]
    commits = rows_of(run, Kind.commit, group=group_code(run, "app"))
    ends = {each.partition: each.end for each in run.extents if each.topic == "orders"}

    assert len(commits) > 4
    assert max(ends.values()) > 0
    assert all(commits["offset"][commits["partition"] == p].max() > 0.5 * end for p, end in ends.items())


def test_a_commit_is_no_earlier_than_the_answer_that_tells_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It may have come while the question was on its way: timed from when that was asked, it would lie before what was done before it."""
    loaded = load(
        SCENARIO.replace("PAYLOAD", "orders.jsonl").replace("EFFECTS", f"{{file: {tmp_path / 'done.jsonl'}}}")
    )
    cluster: Any = SimpleNamespace(bootstrap="127.0.0.1:1")

    def answers_late(_self: GroupOffsets, _within_s: float = 0.0) -> dict[tuple[str, int], int]:
        time.sleep(0.05)
        return {("orders", 1): 3}

    monkeypatch.setattr(GroupOffsets, "read", answers_late)
    group = ExternalGroup(make_plan(loaded.scenario), SimpleNamespace(cluster=cluster), "app", tmp_path, 7)  # type: ignore[arg-type]  # no more of it is used
    group.watch(1_000_000_000)
    group.close()
    (commit,) = read_rows(tmp_path / "app-external.rows")

    assert (commit["kind"], commit["partition"], commit["offset"]) == (Kind.commit, 1, 3)
    assert commit["ended_ns"] >= 1_050_000_000


# ---- payloads ------------------------------------------------------------------------------------------------------


def test_values_come_from_the_lines_of_a_file(tmp_path: Path):
    (tmp_path / "orders.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')

    assert values_of(FilePayload(file=str(tmp_path / "orders.jsonl")), 1) == [b'{"a": 1}', b'{"a": 2}']


def test_values_are_made_up_from_an_avro_schema(tmp_path: Path):
    schema = {
        "type": "record", "name": "Order", "fields": [{"name": "number", "type": "int"}, {"name": "note", "type": ["null", "string"]}]
    }  # fmt: skip
    (tmp_path / "order.avsc").write_text(json.dumps(schema))

    values = values_of(SchemaPayload.model_validate({"schema": str(tmp_path / "order.avsc")}), 1)

    read = [schemaless_reader(io.BytesIO(value), parse_schema(schema), None) for value in values]
    assert len(read) == 256
    assert all(isinstance(record["number"], int) for record in read)  # type: ignore[index,call-overload]  # what JSON holds


def test_values_are_made_up_from_a_json_schema(tmp_path: Path):
    """The same for one seed, and within what the schema says."""
    schema = {
        "type": "object",
        "required": ["kind", "amount"],
        "properties": {
            "kind": {"const": "order"},
            "amount": {"type": "number", "minimum": 1, "maximum": 2},
            "items": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer", "minimum": 5}},
            "state": {"enum": ["new", "paid"]},
            "note": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 3}]},
        },
    }
    (tmp_path / "order.json").write_text(json.dumps(schema))
    payload = SchemaPayload.model_validate({"schema": str(tmp_path / "order.json")})

    values = [json.loads(value) for value in values_of(payload, 1)]

    assert values_of(payload, 1) == values_of(payload, 1)
    assert values_of(payload, 1) != values_of(payload, 2)
    for value in values:
        assert value["kind"] == "order"
        assert 1 <= value["amount"] <= 2
        assert 1 <= len(value["items"]) <= 2
        assert all(item >= 5 for item in value["items"])
        assert value["state"] in ("new", "paid")
        assert value["note"] is None or len(value["note"]) <= 3


def test_a_payload_that_cannot_be_had_is_an_error_before_anything_starts(tmp_path: Path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "bad.json").write_text("{")
    scenario = load(SCENARIO.replace("PAYLOAD", "/nowhere/orders.jsonl").replace("EFFECTS", "{topic: orders.done}"))

    assert cannot(scenario.scenario) == [
        "producers.shop.payload: /nowhere/orders.jsonl: cannot be read (No such file or directory); name a file that is there"
    ]
    with pytest.raises(PayloadError, match=r"empty\.jsonl: holds no line"):
        values_of(FilePayload(file=str(tmp_path / "empty.jsonl")), 1)
    with pytest.raises(PayloadError, match=r"bad\.json: is no JSON"):
        values_of(SchemaPayload.model_validate({"schema": str(tmp_path / "bad.json")}), 1)
    with pytest.raises(PayloadError, match="has type 'date'"):
        made_up({"type": "date"}, random.Random(0), "order.json")


def test_ids_in_headers_are_those_of_one_run():
    headers = [
        ("eventdrill-run", b"7"), ("eventdrill-id", b"3"), ("eventdrill-root", b"1"), ("eventdrill-intended", b"50"), ("other", None)
    ]  # fmt: skip

    assert ids_in_headers(headers, 7) == (3, 1, 50, False)
    assert ids_in_headers([*headers, ("eventdrill-poison", b"1")], 7) == (3, 1, 50, True)
    assert ids_in_headers(headers, 8) is None
    assert ids_in_headers(None, 7) is None


def came_back(proof: str) -> int:
    """How many letters a redrive left where they were."""
    found = re.search(r"(\d+) had come back too often", proof)
    assert found, proof
    return int(found[1])


RETRIED = """\
scenario: own-values-retried
seed: 4
duration: 9s
drain: 20s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100}}
topics:
  orders: {partitions: 2, replication: 1}
  orders.dlq: {partitions: 1, replication: 1}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 40/s, key: {uniform: 10}, poison: 10%, payload: {file: PAYLOAD}}
groups:
  work:
    topics: [orders]
    work: 1ms
    commit: {every: 500ms}
    failures:
      transient: {chance: 20%, attempts: 1}
      retry: {attempts: 2, backoff: 50ms, where: topic}
      then: dead_letter
      dead_letter: orders.dlq
actions:
  - {action: redrive, from: orders.dlq, most: 1, at: 3s}
  - {action: redrive, from: orders.dlq, most: 1, at: 8s}
"""


@pytest.mark.live
def test_values_of_the_users_own_go_through_retry_topics_and_are_redriven_as_often_as_allowed(tmp_path: Path):
    """Seven values stand for some 360 events; what tells them apart goes with them to every topic, and so does how often they came back."""
    (tmp_path / "orders.jsonl").write_text("".join(f'{{"number": {n}}}\\n' for n in range(7)))
    run = drive_embedded(load(RETRIED.replace("PAYLOAD", str(tmp_path / "orders.jsonl"))), tmp_path / "run")
    work = group_code(run, "work")
    effects = np.unique(rows_of(run, Kind.try_, group=work, outcome=Outcome.ok)["event_id"])
    letters = rows_of(run, Kind.dead_letter, group=work)
    poison = np.flatnonzero(run.plan.poison)
    early = np.unique(letters["event_id"][letters["started_ns"] < 2_800_000_000])
    first, second = (each.proof for each in run.actions)

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert effects.tolist() == np.flatnonzero(~run.plan.poison).tolist()
    assert set(letters["event_id"].tolist()) == set(poison.tolist())
    assert len(early) > 0
    assert came_back(first) == 0
    assert came_back(second) >= len(early)
    assert np.bincount(letters["event_id"]).max() == 2  # redriven once, and then left
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
