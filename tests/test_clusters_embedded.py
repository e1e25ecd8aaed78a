"""The cluster that librdkafka carries, joined by other processes over loopback."""

import logging
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from confluent_kafka import Consumer, Producer

from loadgen.clusters.embedded import EmbeddedKafka, start_embedded
from loadgen.clusters.log_lines import read_incidents
from loadgen.clusters.model import ClusterError, ClusterSpec
from loadgen.clusters.processes import identify

pytestmark = pytest.mark.live

QUIET = logging.getLogger("quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
MOVE_AFTER_S = 1.0


@pytest.fixture
def embedded() -> Iterator[EmbeddedKafka]:
    """Three mock brokers, with what is led by a dead one moving after a second."""
    spec = ClusterSpec(settings={"group.initial.rebalance.delay.ms": "100"})
    with start_embedded(spec, progress=print, move_after_s=MOVE_AFTER_S) as cluster:
        yield cluster


def soon(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Wait until something is so."""
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def producer_of(cluster: EmbeddedKafka) -> Producer:
    return Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"}, logger=QUIET)


def test_topics_have_the_partitions_replicas_and_leaders_asked_for(embedded: EmbeddedKafka):
    embedded.create_topic("wide", 6, 3)
    embedded.create_topic("led", 3, 3, leaders=[3, 3, 1])

    topics = producer_of(embedded).list_topics(timeout=10).topics

    assert [topics["wide"].partitions[number].leader for number in range(6)] == [1, 2, 3, 1, 2, 3]
    assert [topics["led"].partitions[number].leader for number in range(3)] == [3, 3, 1]
    assert [len(each.replicas) for each in topics["wide"].partitions.values()] == [3] * 6


def test_a_hundred_messages_go_in_and_come_out_of_either_kind_of_group(embedded: EmbeddedKafka):
    embedded.create_topic("hundred", 3, 3)
    producer = producer_of(embedded)
    for number in range(100):
        producer.produce("hundred", str(number))
    assert producer.flush(20) == 0

    for protocol in ("classic", "consumer"):
        group = {"group.id": f"of-{protocol}", "group.protocol": protocol, "auto.offset.reset": "earliest"}
        consumer = Consumer({"bootstrap.servers": embedded.bootstrap, **group}, logger=QUIET)
        consumer.subscribe(["hundred"])
        seen: list[bytes] = []
        until = time.monotonic() + 20
        while len(seen) < 100 and time.monotonic() < until:
            seen += [value for each in consumer.consume(100, timeout=0.5) if (value := each.value())]
        consumer.close()
        assert sorted(map(int, seen)) == list(range(100))


def test_leaders_leave_a_killed_broker_after_the_delay_and_all_is_delivered(embedded: EmbeddedKafka):
    """What was sent in the meantime waits and arrives; the log tells the instants as Kafka's would."""
    embedded.create_topic("moving", 6, 3)
    producer = producer_of(embedded)
    producer.list_topics(timeout=10)
    killed_ns = time.time_ns()

    embedded.kill(1)
    for number in range(60):
        producer.produce("moving", str(number), partition=number % 6)  # a sticky partitioner may leave broker 1 out

    assert not embedded.alive(1)
    assert [embedded.leader("moving", number) for number in (0, 3)] == [1, 1]
    assert producer.flush(30) == 0
    told = read_incidents(embedded.log_dir, since_unix_ns=killed_ns)
    assert [(each.kind, each.node, each.partition) for each in told if each.kind == "fence"] == [("fence", 1, None)]
    assert {(each.node, each.partition) for each in told if each.kind == "election"} == {(2, 0), (2, 3)}
    # The mock's thread may take half a second to see an order.
    assert all(0.9 < (each.time_unix_ns - killed_ns) / 1e9 < MOVE_AFTER_S + 10 for each in told)

    embedded.start(1)
    assert embedded.alive(1)
    embedded.set_leader("moving", 0, 1)
    assert soon(lambda: producer.list_topics("moving", timeout=10).topics["moving"].partitions[0].leader == 1)


def test_a_broker_started_before_the_delay_keeps_what_it_led(embedded: EmbeddedKafka):
    embedded.create_topic("kept", 3, 3)
    embedded.kill(2)
    embedded.start(2)
    time.sleep(MOVE_AFTER_S + 0.5)

    assert embedded.leader("kept", 1) == 2


def test_an_orderly_end_moves_leaders_at_once(embedded: EmbeddedKafka):
    embedded.create_topic("handed", 3, 3)

    embedded.terminate(3)

    assert embedded.leader("handed", 2) == 1


def test_a_partition_without_another_replica_waits_for_its_broker(embedded: EmbeddedKafka):
    embedded.create_topic("alone", 3, 1)
    embedded.terminate(2)

    assert embedded.leader("alone", 1) == 2


def test_a_paused_broker_answers_when_it_is_resumed(embedded: EmbeddedKafka):
    embedded.create_topic("late", 1, 3, leaders=[2])
    producer = producer_of(embedded)
    producer.list_topics(timeout=10)
    embedded.pause(2)

    producer.produce("late", "1")
    assert producer.flush(1) == 1
    embedded.resume(2)

    assert producer.flush(10) == 0


def test_it_ends_with_its_directory_and_listens_on_loopback_alone(embedded: EmbeddedKafka):
    process = psutil.Process(embedded.keeper_pid)
    listening = [each.laddr for each in process.net_connections() if each.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert len(listening) == 3
    assert embedded.pid(1) == embedded.keeper_pid

    embedded.close()

    assert identify(process.pid) is None
    assert not embedded.directory.exists()


def test_what_it_cannot_do_is_said(embedded: EmbeddedKafka):
    said: list[str] = []
    start_embedded(ClusterSpec(nodes=1, settings={"num.io.threads": "4"}), progress=said.append).close()

    assert said[0] == "the embedded cluster ignores the broker settings num.io.threads"
    for wrong, message in (
        (lambda: embedded.kill(4), "there is no node 4; there are 1 to 3"),
        (lambda: embedded.start(1), "node 1 runs already"),
        (lambda: embedded.wait_registered({4}, 1), "node 4 of the embedded cluster is down"),
        (lambda: embedded.set_leader("none", 0, 1), "there is no partition none/0; create the topic"),
        (lambda: embedded.create_topic("x", 2, 1, leaders=[3, 2]), r"node 3 cannot lead x/0: its replicas are \[1\]"),
        (embedded.controller, "the embedded cluster has no controller process"),
    ):
        with pytest.raises(ClusterError, match=message):
            wrong()


def test_a_cluster_that_begins_anew_has_no_topics_and_serves_at_other_addresses():
    """As for a second run on it: what the first one made cannot be removed."""
    with start_embedded(ClusterSpec(nodes=2), progress=print) as cluster:
        cluster.create_topic("old", 1, 1)
        before = cluster.bootstrap
        pid = cluster.keeper_pid

        cluster.renew()

        assert set(producer_of(cluster).list_topics(timeout=10).topics) == set()
        assert (cluster.bootstrap != before, cluster.keeper_pid != pid) == (True, True)
        cluster.create_topic("old", 3, 1)
        assert len(producer_of(cluster).list_topics("old", timeout=10).topics["old"].partitions) == 3
