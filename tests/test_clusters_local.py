"""A real Kafka on loopback: started, hurt, mended and ended."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from loadgen.clusters import layout
from loadgen.clusters.local import LocalKafka, can_run_local, start_local
from loadgen.clusters.log_lines import read_incidents
from loadgen.clusters.model import ClusterError, ClusterSpec
from loadgen.clusters.processes import Identity, identify

pytestmark = pytest.mark.live

QUIET = logging.getLogger("quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
# An owner as a user's program would be one: starts a cluster, says which processes there are, and works on.
OWNER = """
import json, time
from loadgen.clusters.local import start_local
from loadgen.clusters.model import ClusterSpec
cluster = start_local(ClusterSpec(nodes=1), progress=lambda line: None)
print(json.dumps([cluster.keeper_pid, cluster.pid(1), cluster.pid(100), str(cluster.directory)]), flush=True)
time.sleep(300)
"""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """Three brokers and a controller; fences come soon, so that tests need not wait 9 s for them."""
    spec = ClusterSpec(settings={"broker.session.timeout.ms": "4000", "broker.heartbeat.interval.ms": "500"})
    with start_local(spec, progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster


def soon(condition: Callable[[], bool], within_s: float = 15.0) -> bool:
    """Wait until something is so."""
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def create(cluster: LocalKafka, topic: str, copies: int = 3, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap}, logger=QUIET)
    for done in admin.create_topics([NewTopic(topic, 6, copies, config=config)]).values():
        done.result(timeout=30)


def produce(cluster: LocalKafka, topic: str, count: int) -> int:
    """Send with acks=all; gives how many were acknowledged."""
    acknowledged = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"}, logger=QUIET)
    for number in range(count):
        producer.produce(
            topic,
            str(number),
            partition=number % 6,
            on_delivery=lambda error, _message: acknowledged.append(error is None),
        )
    producer.flush(30)
    return sum(acknowledged)


def consume(cluster: LocalKafka, topic: str, count: int) -> set[str]:
    """Read as a group of the new protocol does, until so many different values have come."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": f"readers of {topic}",
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
        },
        logger=QUIET,
    )
    consumer.subscribe([topic])
    seen: set[str] = set()
    until = time.monotonic() + 30
    while len(seen) < count and time.monotonic() < until:
        seen |= {value.decode() for each in consumer.consume(count, timeout=0.5) if (value := each.value())}
    consumer.close()
    return seen


def test_a_hundred_messages_go_in_and_come_out(kafka: LocalKafka):
    create(kafka, "hundred", **{"min.insync.replicas": "2"})

    assert produce(kafka, "hundred", 100) == 100
    assert consume(kafka, "hundred", 100) == {str(number) for number in range(100)}


def test_it_is_the_version_asked_for_with_all_nodes_alive(kafka: LocalKafka):
    assert (kafka.implementation, kafka.version, kafka.nodes) == ("apache-kafka", "4.2.1", 3)
    assert all(kafka.alive(node) for node in (1, 2, 3, 100))
    assert kafka.registered() == {1, 2, 3}
    assert kafka.controller() == 100
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap}, logger=QUIET)
    described = admin.describe_cluster(request_timeout=10).result()
    assert described.cluster_id == kafka.cluster_id


def test_it_listens_on_loopback_alone(kafka: LocalKafka):
    for node in (1, 2, 3, 100):
        pid = kafka.pid(node)
        assert pid is not None
        listening = [each.laddr for each in psutil.Process(pid).net_connections() if each.status == psutil.CONN_LISTEN]
        assert {address.port for address in listening} == {each.port for each in kafka.endpoints() if each.node == node}
        assert {address.ip for address in listening} <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_a_killed_broker_is_fenced_its_partitions_move_and_it_comes_back(kafka: LocalKafka):
    """And the logs tell when: the fence, then the elections, then that it is let in again."""
    create(kafka, "moving")
    killed_ns = time.time_ns()
    kafka.kill(2)

    assert not kafka.alive(2)
    assert produce(kafka, "moving", 60) == 60
    told = [each for each in read_incidents(kafka.log_dir, since_unix_ns=killed_ns) if each.topic in (None, "moving")]
    [fence] = [each for each in told if each.kind == "fence"]
    elections = [each for each in told if each.kind == "election"]
    assert fence.node == 2
    # The last heartbeat was up to 0.5 s before the kill; the controller looks every session/8 = 0.5 s.
    assert 3.3 < (fence.time_unix_ns - killed_ns) / 1e9 < 9
    assert len(elections) == 2
    assert all(0 <= each.time_unix_ns - fence.time_unix_ns < 5e9 and each.node in (1, 3) for each in elections)

    kafka.start(2)
    kafka.wait_registered({1, 2, 3}, 20)
    assert soon(
        lambda: (
            [each.node for each in read_incidents(kafka.log_dir, since_unix_ns=killed_ns) if each.kind == "unfence"]
            == [2]
        )
    )
    assert soon(lambda: any(each.kind == "isr" for each in read_incidents(kafka.log_dir, since_unix_ns=killed_ns)))


def test_a_broker_that_leaves_in_order_hands_over_first(kafka: LocalKafka):
    since_ns = time.time_ns()
    kafka.terminate(3)
    kafka.start(3)  # as soon as it has gone

    assert soon(
        lambda: any(
            each.kind == "controlled_shutdown" for each in read_incidents(kafka.log_dir, since_unix_ns=since_ns)
        )
    )
    assert soon(lambda: kafka.registered() == {1, 2})
    kafka.wait_registered({1, 2, 3}, 20)


def test_a_paused_broker_stays_alive_and_goes_on(kafka: LocalKafka):
    pid = kafka.pid(1)
    assert pid is not None
    kafka.pause(1)
    assert soon(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    assert kafka.alive(1)

    kafka.resume(1)

    assert soon(lambda: psutil.Process(pid).status() != psutil.STATUS_STOPPED)
    kafka.wait_registered({1, 2, 3}, 20)


def test_topics_are_not_created_by_asking_for_them(kafka: LocalKafka):
    assert produce(kafka, "hundred", 1) == 1
    assert "never-created" not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=5).topics


def start_owner() -> tuple[subprocess.Popen[bytes], list[Identity], Path]:
    owner = subprocess.Popen([sys.executable, "-P", "-c", OWNER], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    *pids, directory = json.loads(owner.stdout.readline())
    owner.stdout.close()
    running = [each for each in map(identify, pids) if each is not None]
    assert len(running) == 3
    return owner, running, Path(directory)


def test_a_killed_owner_leaves_no_broker_and_no_data():
    owner, running, directory = start_owner()

    owner.kill()
    owner.wait()

    assert soon(lambda: not any(each.runs() for each in running))
    assert soon(lambda: not directory.exists())


def test_a_killed_keeper_leaves_no_broker_and_the_next_start_removes_the_data():
    """With its owner killed at the same moment, nobody is left to clean up."""
    owner, running, directory = start_owner()

    os.kill(owner.pid, signal.SIGSTOP)
    running[0].signal(signal.SIGKILL)
    owner.kill()
    owner.wait()
    assert soon(lambda: not any(each.runs() for each in running))

    with start_local(ClusterSpec(nodes=1), progress=print):
        assert not directory.exists()


def test_a_combined_controller_that_dies_is_replaced():
    """Three nodes, each broker and controller: another one takes over within about 2 s."""
    with start_local(ClusterSpec(controllers="combined", racks=("a", "b", "c")), progress=print) as cluster:
        first = cluster.controller()
        cluster.kill(first)
        with pytest.raises(ClusterError, match="no active controller right now"):
            cluster.controller()

        def successor() -> int:
            try:
                return cluster.controller()
            except ClusterError:
                return first

        assert soon(lambda: successor() != first)


@pytest.mark.parametrize("line", ["4.0", "4.4"])
def test_the_oldest_and_the_newest_line_start_too(line: str, monkeypatch: pytest.MonkeyPatch):
    """Without the archive of classes, which each version would need 15 s to make; groups of the new protocol work."""
    monkeypatch.setattr("loadgen.clusters.local.prepare_archive", lambda *_arguments: None)
    with start_local(ClusterSpec(nodes=1, version=line), progress=print) as cluster:
        create(cluster, "few", copies=1)

        assert cluster.version.startswith(line)
        assert produce(cluster, "few", 10) == 10
        assert len(consume(cluster, "few", 10)) == 10


def test_a_setting_that_kafka_refuses_is_quoted_from_its_log():
    with pytest.raises(ClusterError) as error:
        start_local(ClusterSpec(nodes=1, settings={"num.io.threads": "many"}), progress=print)

    assert "ended with status 1 while it started. Last lines of" in str(error.value)
    assert "Invalid value many for configuration num.io.threads" in str(error.value)


def test_a_local_kafka_can_run_here():
    assert can_run_local() is None
    assert "brokers.version is 2.8" in (can_run_local("2.8") or "")


def test_it_starts_from_a_folder_whose_files_are_named_like_ours(tmp_path: Path):
    """The keeper imports our packages, not the user's `sim.py` or `loadgen.py`."""
    for name in ("sim", "loadgen", "signal", "keeper"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file')\n")
    program = OWNER.replace("time.sleep(300)", "cluster.close()")

    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def held_port() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def nodes_of_ours() -> int:
    return sum("kafka.Kafka" in each.cmdline() for each in psutil.Process().children(recursive=True))


def test_a_port_that_was_taken_meanwhile_is_left_to_who_has_it(held_port: int, monkeypatch: pytest.MonkeyPatch):
    """Between the choice of ports and the broker's start somebody takes one: it starts with others, and nothing of the first try is left."""
    drawn, draw, before = list[list[int]](), layout.free_ports, nodes_of_ours()

    def first_one_too_late(count: int) -> list[int]:
        drawn.append(draw(count) if drawn else [draw(1)[0], held_port, *draw(count - 2)])
        return drawn[-1]

    monkeypatch.setattr(layout, "free_ports", first_one_too_late)
    with start_local(ClusterSpec(nodes=1), progress=print) as cluster:
        assert len(drawn) == 2
        assert str(held_port) not in cluster.bootstrap
        assert nodes_of_ours() == before + 2
    assert nodes_of_ours() == before


def test_when_every_port_is_taken_the_brokers_words_are_shown_and_nothing_is_left(
    held_port: int, monkeypatch: pytest.MonkeyPatch
):
    draw, before = layout.free_ports, nodes_of_ours()
    monkeypatch.setattr(layout, "free_ports", lambda count: [draw(1)[0], held_port, *draw(count - 2)])

    with pytest.raises(ClusterError, match=r"node 1 ended with status 1 while it started") as refused:
        start_local(ClusterSpec(nodes=1), progress=print)

    said = str(refused.value)
    assert f"127.0.0.1:{held_port}" in said.splitlines()[-1]
    assert "Address already in use" in said.splitlines()[-1]
    assert nodes_of_ours() == before
