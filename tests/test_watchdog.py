"""Promises to undo something: kept when asked, when overdue, and when the driver is gone in whatever way."""

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]  # exported without saying so

from loadgen import wire
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.clusters.model import ClusterError, ClusterSpec
from loadgen.clusters.processes import identify
from loadgen.watchdog.client import Watchdog
from loadgen.watchdog.undoing import (
    UndoError,
    admin,
    delete_topics,
    perform,
    run_command,
    set_quota,
    set_replicas,
    set_topic,
)
from loadgen.wire import WireError, alter_quotas, reassign
from test_clusters_local import create, produce

pytestmark = pytest.mark.live

PATH = {"PATH": os.environ["PATH"]}
# A driver as the command line is one: it changes something, promises to undo it, and is killed.
DRIVER = """
import json, sys, time
from loadgen.watchdog.client import Watchdog
from loadgen.watchdog.undoing import perform
connection, change, undo = map(json.loads, sys.argv[1:])
dog = Watchdog(connection, private=False)
dog.promise("one", undo)
if change:
    perform(change, connection)
print(dog.pid, flush=True)
time.sleep(300)
"""


def soon(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Wait until something is so."""
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def dog() -> Iterator[Watchdog]:
    watchdog = Watchdog({}, private=False)
    yield watchdog
    watchdog.close()


def killed_driver(connection: object, change: object, undo: object) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-P", "-c", DRIVER, *map(json.dumps, (connection, change, undo))], stdout=subprocess.PIPE
    )
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    driver.stdout.close()
    driver.kill()
    driver.wait()
    assert soon(lambda: identify(pid) is None, 20)


def test_a_promise_is_kept_when_asked_for(dog: Watchdog, tmp_path: Path):
    dog.promise("heal", run_command(f"touch {tmp_path}/healed; echo healed at last", PATH))
    assert not (tmp_path / "healed").exists()

    assert dog.keep("heal") == "healed at last"
    assert (tmp_path / "healed").exists()
    with pytest.raises(ClusterError, match="nothing named heal was promised"):
        dog.keep("heal")


def test_an_overdue_promise_is_kept_without_being_asked(dog: Watchdog, tmp_path: Path):
    dog.promise("heal", run_command(f"echo once >> {tmp_path}/healed", PATH), for_s=0.2)

    assert soon((tmp_path / "healed").exists)
    assert dog.keep("heal") == " (by the watchdog: it was overdue)"
    dog.close()
    assert (tmp_path / "healed").read_text() == "once\n"


def test_a_promise_taken_back_is_not_kept(dog: Watchdog, tmp_path: Path):
    dog.promise("heal", run_command(f"touch {tmp_path}/healed", PATH))
    dog.forget("heal")
    dog.close()

    assert not (tmp_path / "healed").exists()


def test_promises_are_kept_in_reverse_order_when_the_driver_is_gone(dog: Watchdog, tmp_path: Path):
    for number in (1, 2):
        dog.promise(str(number), run_command(f"echo {number} >> {tmp_path}/order", PATH))
    dog.close()

    assert (tmp_path / "order").read_text() == "2\n1\n"


def test_a_promise_that_cannot_be_kept_takes_no_other_with_it(dog: Watchdog, tmp_path: Path):
    """Whatever goes wrong: one that says too little comes first when all are kept, in reverse order."""
    dog.promise("heal", run_command(f"touch {tmp_path}/healed", PATH))
    dog.promise("odd", {"kind": "delete topics"})
    dog.promise("odder", {"kind": "replicas", "topic": "orders"})

    with pytest.raises(UndoError, match="odder: KeyError: 'partition'"):
        dog.keep("odder")
    dog.close()
    assert (tmp_path / "healed").exists()


def test_a_command_that_fails_says_how(dog: Watchdog):
    dog.promise("heal", run_command("echo no such rack >&2; exit 3", PATH))

    with pytest.raises(UndoError, match="ended with status 3: no such rack"):
        dog.keep("heal")


def test_a_killed_drivers_command_is_run(tmp_path: Path):
    killed_driver({}, None, run_command(f"touch {tmp_path}/healed", PATH))

    assert (tmp_path / "healed").exists()


# ---- on a real Kafka -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    with start_local(ClusterSpec(), progress=print) as cluster:
        create(cluster, "orders")
        yield cluster


def setting(cluster: LocalKafka, name: str) -> str:
    resource = ConfigResource(ResourceType.TOPIC, "orders")
    client = admin({"bootstrap.servers": cluster.bootstrap})
    found = client.describe_configs([resource])[resource].result(10)
    return str(found[name].value)


def test_a_killed_drivers_topic_settings_return(kafka: LocalKafka):
    """Retention was 7 days by default and cleanup was set by hand before: both are so again."""
    connection = {"bootstrap.servers": kafka.bootstrap}
    perform(set_topic("orders", {"cleanup.policy": "compact"}), connection)

    killed_driver(
        connection,
        set_topic("orders", {"retention.ms": "10000", "cleanup.policy": "delete"}),
        set_topic("orders", {"retention.ms": None, "cleanup.policy": "compact"}),
    )

    assert setting(kafka, "retention.ms") == "604800000"
    assert setting(kafka, "cleanup.policy") == "compact"


def test_replicas_and_leader_return(kafka: LocalKafka):
    connection = {"bootstrap.servers": kafka.bootstrap}
    client = admin(connection)
    before = client.list_topics("orders", timeout=5).topics["orders"].partitions[0]
    nodes = list(before.replicas)

    assert (
        perform(set_replicas("orders", 0, nodes[::-1]), connection) == f"orders/0 on {nodes[2]}, {nodes[1]}, {nodes[0]}"
    )
    assert soon(lambda: client.list_topics("orders", timeout=5).topics["orders"].partitions[0].leader == nodes[2])
    perform(set_replicas("orders", 0, nodes), connection)
    assert soon(lambda: client.list_topics("orders", timeout=5).topics["orders"].partitions[0].leader == nodes[0])


def test_a_killed_drivers_replicas_and_leader_return(kafka: LocalKafka):
    """As a moved leader is undone: the partition is led by who led it, on a cluster that stays."""
    connection = {"bootstrap.servers": kafka.bootstrap}
    client = admin(connection)
    nodes = list(client.list_topics("orders", timeout=5).topics["orders"].partitions[1].replicas)

    killed_driver(connection, set_replicas("orders", 1, nodes[::-1]), set_replicas("orders", 1, nodes))

    after = client.list_topics("orders", timeout=5).topics["orders"].partitions[1]
    assert list(after.replicas) == nodes
    assert soon(lambda: client.list_topics("orders", timeout=5).topics["orders"].partitions[1].leader == nodes[0])


def quotas_of(kafka: LocalKafka, client_id: str) -> int:
    """Count what brokers hold a client id to (DescribeClientQuotas)."""
    asked = wire._array([wire._text("client-id") + struct.pack(">b", 0) + wire._text(client_id)])
    answer = wire._Reader(wire._ask(kafka.bootstrap, 48, asked + struct.pack(">?", False), flexible=False))
    answer.int32()  # throttle time
    assert answer.int16() == 0
    answer.text()
    return max(0, answer.int32())


def test_a_killed_drivers_quota_is_removed(kafka: LocalKafka):
    connection = {"bootstrap.servers": kafka.bootstrap}
    limit = {"producer_byte_rate": 1e6}
    perform(set_quota("shop", limit), connection)
    assert soon(lambda: quotas_of(kafka, "shop") == 1)

    killed_driver(connection, set_quota("shop", limit), set_quota("shop", dict.fromkeys(limit)))

    assert soon(lambda: quotas_of(kafka, "shop") == 0)


def test_a_quota_slows_producers_until_it_is_removed(kafka: LocalKafka):
    """A quota holds over 11 s: what goes beyond 11 times its rate waits."""
    alter_quotas(kafka.bootstrap, None, {"producer_byte_rate": 9_000.0})
    began = time.monotonic()
    produce(kafka, "orders", 30_000)
    slow_s = time.monotonic() - began
    alter_quotas(kafka.bootstrap, None, {"producer_byte_rate": None})
    began = time.monotonic()
    produce(kafka, "orders", 30_000)

    assert slow_s > 3
    assert time.monotonic() - began < slow_s / 2


def test_what_brokers_refuse_is_told_with_their_reason(kafka: LocalKafka):
    with pytest.raises(WireError, match="orders/9: Unable to find partition orders:9"):
        reassign(kafka.bootstrap, {("orders", 9): [1]})
    with pytest.raises(WireError, match="Invalid configuration key nonsense"):
        alter_quotas(kafka.bootstrap, "shop-1", {"nonsense": 1.0})
    with pytest.raises(WireError, match=r"no broker at 127\.0\.0\.1:1 takes a request"):
        reassign("127.0.0.1:1", {("orders", 0): [1]})


def test_topics_made_for_a_run_are_removed_and_others_stay(kafka: LocalKafka):
    create(kafka, "made")
    connection = {"bootstrap.servers": kafka.bootstrap}

    killed_driver(connection, None, delete_topics(["made", "never-made"]))

    assert set(admin(connection).list_topics(timeout=5).topics) == {"orders"}
    with pytest.raises(KafkaException):
        admin({"bootstrap.servers": "127.0.0.1:1"}).list_topics(timeout=0.2)
