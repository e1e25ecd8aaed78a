"""The Java client where it behaves in its own way, on a real Kafka: hung leaders, full buffers, other versions, users' own classes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from live_runs import drive_on, load, rows_of, spec_of
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.clusters.processes import identify
from loadgen.java import build
from loadgen.outcomes import QUEUE_FULL
from loadgen.recorder import Progress
from rundata.checks import check
from rundata.dataset import open_run
from rundata.rows import Kind, Outcome
from scenarios.quantities import SECOND
from test_loadgen_killed import soon

pytestmark = pytest.mark.live

# The group's coordinator is broker 3, so that the hung one only leads partitions.
HANG = """\
scenario: hang
seed: 4
duration: 40s
drain: 30s
brokers:
  kind: kafka
  nodes: 3
  settings: {broker.session.timeout.ms: 4000, broker.heartbeat.interval.ms: 500, group.initial.rebalance.delay.ms: 100}
topics:
  orders: {partitions: 3, replication: 3, settings: {min.insync.replicas: 2}}
  small: {partitions: 1, replication: 3, settings: {min.insync.replicas: 2}}
producers:
  shop: {topic: orders, client: java, arrivals: 60/s, key: {uniform: 50}, settings: {acks: all}}
  tight:
    topic: small
    client: java
    arrivals: 20/s
    size: 2000B
    settings: {acks: all, buffer.memory: 65536, max.block.ms: 6000}
groups:
  fulfilment: {topics: [orders], client: java, work: 100us, commit: {every: 1s}}
"""
SHORT = """\
scenario: short
seed: 4
duration: 3s
drain: 20s
brokers: {kind: kafka, nodes: 3, settings: {broker.session.timeout.ms: 4000, broker.heartbeat.interval.ms: 500, group.initial.rebalance.delay.ms: 100}}
topics: {orders: {partitions: 3, replication: 3}}
producers:
  shop:
    topic: orders
    client: java
    version: 3.9
    arrivals: 100/s
    key: {uniform: 50}
    settings: {acks: all, interceptor.classes: users.Stamp, compression.type: lz4}
groups:
  fulfilment: {topics: [orders], client: java, version: 4.2, work: 100us}
"""

SATURATED = """\
scenario: saturated
seed: 4
duration: 4s
drain: 60s
brokers: {kind: kafka, nodes: 3, settings: {broker.session.timeout.ms: 4000, broker.heartbeat.interval.ms: 500, group.initial.rebalance.delay.ms: 100}}
topics: {flood: {partitions: 1, replication: 3, settings: {min.insync.replicas: 2}}}
producers:
  shop:
    topic: flood
    client: java
    arrivals: 3000/s
    size: 1000B
    settings: {acks: all, linger.ms: 0, batch.size: 1000, buffer.memory: 262144, max.in.flight.requests.per.connection: 1}
"""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """Three brokers that are fenced 4 s after their death."""
    with start_local(spec_of(load(HANG)), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster


def test_a_hung_leader_costs_thirty_seconds_and_a_full_buffer_blocks(kafka: LocalKafka, tmp_path: Path):
    """Broker 2 leads orders/1 and hangs from 3 s on; broker 3 leads it some 4 s later, and the client waits for its request timeout.

    `tight` has 64 KiB for a topic that broker 2 leads: each send() blocks for 6 s and is then refused, until the client finds the new
    leader; what comes late for that reason is not the driver's lateness.
    """
    hung: list[int] = []

    def hang(progress: Progress) -> None:
        if progress.phase == "running" and progress.at_ns > 3 * SECOND and not hung:
            kafka.pause(2)
            hung.append(progress.at_ns)
        elif hung and len(hung) == 1 and progress.at_ns > 36 * SECOND:
            kafka.resume(2)
            hung.append(progress.at_ns)

    try:
        run = drive_on(kafka, load(HANG), tmp_path / "run", progress=hang, warm_s=6)
    finally:
        kafka.resume(2)

    assert run.about["state"] == "complete"
    assert {name: result.count for name, result in check(run).items() if not result.valid} == {}
    shop, tight = (run.names.processes.index(name) for name in ("shop/1", "tight/1"))
    sends = rows_of(run, Kind.send, process=shop)
    assert set(sends["outcome"].tolist()) == {Outcome.ok}
    waited = (sends["ended_ns"] - sends["started_ns"]) / 1e9
    behind = sends["partition"] == 1
    assert 29 < waited[behind].max() < 36
    assert waited[~behind].max() < 8  # until the hung follower is fenced
    elected = next(each for each in run.incidents if each.kind == "election" and each.where == "orders/1")
    assert elected.time_ns < 10 * SECOND
    deliveries = rows_of(run, Kind.delivery)
    at = np.sort(deliveries["started_ns"][deliveries["partition"] == 1])
    assert 28 < np.diff(at).max() / 1e9 < 36

    own = rows_of(run, Kind.send, process=tight)
    refused = own[own["outcome"] == Outcome.failed]
    assert set(refused["error"].tolist()) == {QUEUE_FULL}
    assert 3 <= len(refused) <= 6
    blocked_s = (refused["ended_ns"] - refused["started_ns"]) / 1e9
    assert 5.9 < blocked_s.min() <= blocked_s.max() < 8
    assert len(own) == int(np.count_nonzero(run.plan.producer == 1))  # each has its answer in the end
    blocked = [each for each in run.incidents if each.kind == "blocked"]
    assert {each.where for each in blocked} == {"tight/1"}
    assert blocked[0].detail.startswith("send() held it up for ")
    assert ((own["started_ns"] - own["intended_ns"]) / 1e9).max() > 20
    assert run.about["driver"]["lateness_p99_ns"] < SECOND
    assert not [reason for reason in run.about["invalid"] if "queue" in reason]


def test_another_client_version_and_a_users_interceptor_take_part(
    kafka: LocalKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A 3.9 producer with a class of the user's own, which prints into the pipe to the driver, beside a 4.2 member; nobody listens."""
    libs = build.prepare_client("3.9", print)
    source = Path(__file__).parent / "java" / "Stamp.java"
    command = [*build._compiler(libs.java, print), "-cp", libs.class_path, "-d", tmp_path / "mine", source]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    monkeypatch.setenv(build.CLASSPATH_VARIABLE, str(tmp_path / "mine"))
    listening: list[str] = []
    seen: set[str] = set()

    def look(progress: Progress) -> None:
        for child in psutil.Process().children():
            if child.name() == "java" and progress.phase == "running":
                listening.extend(str(each) for each in child.net_connections() if each.status == psutil.CONN_LISTEN)
                seen.update(part for part in child.cmdline() if part.startswith("eventdrill."))

    run = drive_on(kafka, load(SHORT), tmp_path / "run", progress=look)

    assert run.about["state"] == "complete"
    assert {name: result.count for name, result in check(run).items() if not result.valid} == {}
    assert len(rows_of(run, Kind.try_, outcome=Outcome.ok)) == len(run.plan)
    assert {name: text.partition(" ")[0] for name, text in run.about["driver"]["java"].items()} == {
        "3.9": "3.9.2",
        "4.2": "4.2.1",
    }
    assert seen == {"eventdrill.ProducerProcess", "eventdrill.MemberProcess"}
    assert listening == []
    reader = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test"})
    reader.assign([TopicPartition("orders", partition, 0) for partition in range(3)])
    stamps: list[int] = []
    while len(stamps) < len(run.plan) and (messages := reader.consume(1000, 5.0)):
        stamps += [int(dict(message.headers() or [])["stamp"]) for message in messages]
    reader.close()
    scratch = 3  # what it sent to connect was stamped first
    assert sorted(stamps) == list(range(scratch + 1, scratch + len(run.plan) + 1))


def test_a_saturated_producers_latency_is_its_buffer_over_its_throughput(kafka: LocalKafka, tmp_path: Path):
    """One record a batch and one request in flight is far less than 3,000/s: what is handed over waits until a whole buffer before it is through."""
    run = drive_on(kafka, load(SATURATED), tmp_path / "run", warm_s=6)

    assert run.about["state"] == "complete"
    sends = rows_of(run, Kind.send, outcome=Outcome.ok)
    assert len(sends) == len(run.plan)
    ended = np.sort(sends["ended_ns"])
    late = sends[(sends["ended_ns"] > ended[len(ended) // 4]) & (sends["ended_ns"] < ended[3 * len(ended) // 4])]
    throughput_hz = len(late) / (np.ptp(late["ended_ns"]) / SECOND)
    latency_s = np.mean(late["ended_ns"] - late["started_ns"]) / SECOND
    assert throughput_hz < 2500
    assert 0.75 < latency_s * throughput_hz * 1000 / 262144 < 1.1  # some 70 B more a record
    assert {each.where for each in run.incidents if each.kind == "blocked"} == {"shop/1"}


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from live_runs import drive_on, load, spec_of
from loadgen.clusters.local import start_local
from test_loadgen_java_kafka import HANG
loaded = load(HANG)
with start_local(spec_of(loaded), progress=print) as cluster:
    drive_on(cluster, loaded, Path(sys.argv[1]))
"""


def test_no_jvm_survives_a_killed_driver_and_its_rows_open(tmp_path: Path):
    folder = tmp_path / "run"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder), str(Path(__file__).parent)])
    assert soon(lambda: len(list((folder / "operations.parts").glob("*.parquet"))) > 1, 90)
    below = [each for child in psutil.Process(driver.pid).children(recursive=True) if (each := identify(child.pid))]
    jvms = [each for each in below if psutil.Process(each.pid).name() == "java"]
    assert len(jvms) == 4 + 3  # brokers, a controller, two producers and a member

    os.kill(driver.pid, 9)
    driver.wait()

    assert soon(lambda: not any(each.runs() for each in below), 10), [each for each in below if each.runs()]
    rows = open_run(folder).data.operations
    assert len(rows[rows["kind"] == Kind.send]) > 50
    assert len(rows[rows["kind"] == Kind.try_]) > 50
