"""Proxies before a real Kafka: one link among many is cut, the brokers' own logs prove it, and it heals."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from loadgen.clusters.local import LocalKafka, start_local
from loadgen.clusters.log_lines import LogIncident, read_incidents
from loadgen.clusters.model import ClusterSpec
from loadgen.proxies.client import Proxies
from loadgen.proxies.rules import Match, Rule
from test_clusters_local import consume, create, produce, soon

pytestmark = pytest.mark.live

QUICK = {
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "2000",
}


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """Three brokers and a controller behind proxies; fences and shrinking replicas come soon."""
    spec = ClusterSpec(settings=QUICK, proxied=True)
    with start_local(spec, progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        create(cluster, "orders")
        yield cluster


@pytest.fixture
def proxies(kafka: LocalKafka) -> Proxies:
    assert kafka.proxies is not None
    return kafka.proxies


def told(log_dir: Path, since_ns: int, found: Callable[[LogIncident], bool]) -> bool:
    return soon(lambda: any(map(found, read_incidents(log_dir, since_unix_ns=since_ns))), 12)


def led_by(kafka: LocalKafka, node: int) -> list[int]:
    partitions = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=5).topics["orders"].partitions
    return [number for number, partition in partitions.items() if partition.leader == node]


def test_everything_that_peers_are_told_leads_through_the_proxies(kafka: LocalKafka, proxies: Proxies):
    real = {each.port for each in kafka.endpoints()}
    told_ports = {int(each.rpartition(":")[2]) for each in kafka.bootstrap.split(",")}

    assert produce(kafka, "orders", 300) == 300
    assert len(consume(kafka, "orders", 300)) == 300
    assert not told_ports & real
    # 3 brokers: metadata, heartbeats and more to the controller, and two fetchers to each other one.
    assert proxies.link.ask("status")["connections"] >= 3 * 2 + 3 * 2


def test_one_broker_is_cut_from_another_and_no_longer_in_sync(kafka: LocalKafka, proxies: Proxies):
    """Broker 2 cannot fetch from broker 1; broker 3 can. The ISR of what 1 leads shrinks to 1 and 3, and grows again."""
    since = time.time_ns()
    proxies.begin("cut", Rule(matches=(Match(1, "INTERNAL", "broker 2"),), mode="silent"), for_s=60)

    def is_shrunk(each: LogIncident) -> bool:
        # Told by the metadata alone where that overtakes the controller's answer.
        if (each.node, each.topic) != (1, "orders"):
            return False
        return "2" not in (each.detail[-3:] if each.kind == "isr_shrink" else each.detail) and each.kind.startswith(
            "isr"
        )

    # To every partition: a follower that has all there is counts as in sync, however silent it is.
    assert produce(kafka, "orders", 60) == 60
    assert told(kafka.log_dir, since, is_shrunk)
    healed = time.time_ns()
    done = proxies.end("cut")
    assert done.connections + done.refused >= 1  # a follower may have had none yet
    for partition in led_by(kafka, 1):
        assert told(
            kafka.log_dir,
            healed,
            lambda each, p=partition: (each.kind, each.node, each.partition) == ("isr", 1, p) and "2" in each.detail,
        ), partition
    assert kafka.registered() == {1, 2, 3}  # heartbeats went on: nobody was fenced
    assert not any(each.kind == "fence" for each in read_incidents(kafka.log_dir, since_unix_ns=since))


def test_a_broker_whose_heartbeats_are_cut_is_fenced_while_it_serves(kafka: LocalKafka, proxies: Proxies):
    since = time.time_ns()
    rule = Rule(matches=(Match(100, "CONTROLLER", "broker 3", "heartbeat"),), mode="silent")
    proxies.begin("heart", rule, for_s=60)

    assert told(kafka.log_dir, since, lambda each: each.kind == "fence" and each.node == 3)
    healed = time.time_ns()
    proxies.end("heart")
    assert told(kafka.log_dir, healed, lambda each: each.kind == "unfence" and each.node == 3)
    kafka.wait_registered({1, 2, 3}, 10)


def test_clients_are_refused_by_one_broker_while_the_driver_is_not(kafka: LocalKafka, proxies: Proxies):
    proxies.begin("reset", Rule(matches=(Match(2, "CLIENT", "clients"),), mode="reset"), for_s=60)
    port = int(kafka.bootstrap.split(",")[1].rpartition(":")[2])

    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(bytes(14))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert kafka.registered() == {1, 2, 3}
    assert proxies.end("reset").refused >= 1
