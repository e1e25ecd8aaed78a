"""A system that EventDrill did not start: what is refused, what would be done, and what is left behind."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]  # exported without saying so

from eventdrill.errors import WrongInputError
from eventdrill.workflows.drive import drive, prepare_foreign
from eventdrill.workflows.verify import prepare as prepare_verification
from live_runs import drive_on
from loadgen.clusters.foreign import ForeignKafka, connect
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.clusters.model import ClusterError, ClusterSpec
from loadgen.clusters.processes import identify
from loadgen.clusters.security import for_children, of_driver, read_security
from loadgen.foreign import acts, forbidden, mismatches, too_old
from loadgen.watchdog.undoing import admin
from loadgen.wire import round_trip_us
from rundata.checks import check
from scenarios.files import load_text
from scenarios.plan import make_plan
from scenarios.schema import Scenario
from test_clusters_local import create

SCENARIO = """\
scenario: there
seed: 7
duration: 4s
drain: 20s
brokers: {kind: kafka, nodes: 3}
target: {cluster_id: CLUSTER, topics: [drill-*], harm: allowed}
topics:
  drill-orders: {partitions: 3, replication: 3, settings: {min.insync.replicas: 2}}
producers:
  shop: {topic: drill-orders, arrivals: 100/s, key: {uniform: 50}, settings: {acks: all, enable.idempotence: true}}
groups:
  drill-work: {topics: [drill-orders], members: 2, work: 1ms, settings: {session.timeout.ms: 6000}}
"""
HOOK = "faults=[{fault: hook, begin: hurt, end: mend, at: 1s, for: 1s}]"
NO_HARM = "target={cluster_id: CLUSTER, topics: [drill-*]}"


def scenario(*settings: str) -> Scenario:
    return load_text(SCENARIO, "there.yaml", settings).scenario


def test_without_a_target_nothing_is_touched():
    (reason,) = forbidden(load_text(SCENARIO.replace("target:", "about: x #"), "there.yaml", []).scenario)

    assert "nothing may be touched on a system that EventDrill did not start" in reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ((), None),
        (("faults=[{fault: member_crash, member: drill-work/1, at: 1s, for: 1s}]", NO_HARM), None),
        ((HOOK,), None),
        ((HOOK, NO_HARM), "faults[0].fault is hook, and target.harm is refused"),
        (("faults=[{fault: broker_crash, broker: 1, at: 1s, for: 1s}]",), "has no hold of them. Use a hook"),
        (("faults=[{fault: cut, between: [clients, broker 1], at: 1s, for: 1s}]",), "has no hold of them. Use a hook"),
        (
            ("producers.shop.settings={acks: all, transactional.id: shop}",),
            "producers.shop.settings['transactional.id'] is shop, which is none of target.topics (drill-*): whoever sends under that id",
        ),
        (("producers.shop.settings={acks: all, transactional.id: drill-shop}",), None),
        (("target={cluster_id: C, topics: [others-*]}",), "topics.drill-orders is none of target.topics (others-*)"),
        (("target={cluster_id: C, topics: [drill-orders, drill-work]}",), "one of them must be a beginning such as drill-*"),
        (("producers.shop.client=java",), "producers.shop.client is java"),
    ],
)  # fmt: skip
def test_what_the_target_does_not_allow_is_refused(settings: tuple[str, ...], reason: str | None):
    reasons = forbidden(scenario(*settings))

    assert bool(reasons) == (reason is not None)
    assert reason is None or reason in reasons[0]


def test_another_cluster_than_the_one_named_is_refused():
    system = ForeignKafka("b:9092", {}, "OTHER", (1, 2, 3))

    assert mismatches(scenario(), system) == [
        "target.cluster_id is CLUSTER, and the system at b:9092 is OTHER: nothing was touched there"
    ]
    assert mismatches(scenario("target={cluster_id: OTHER, topics: [drill-*]}"), system) == []


def test_every_act_is_told_before_it_is_done():
    plan = make_plan(scenario(HOOK))

    assert acts(plan, ForeignKafka("b:9092", {}, "CLUSTER", (1, 2, 3))) == [
        "create topic drill-orders: 3 partitions, replication 3, min.insync.replicas=2",
        "create topic drill-eventdrill.warm-up for the warm-up",
        "commit offset 0 for group drill-work, then read drill-orders with 2 members",
        f"write {len(plan)} events to drill-orders with 1 processes",
        "at 1s run `hurt`, at 2s or when anything goes wrong `mend` (hook)",
        "read every topic of the scenario from its first to its last record",
        "remove the topics drill-orders, drill-eventdrill.warm-up",
        "remove the groups drill-work",
    ]


def test_what_own_programs_do_there_is_left_to_them():
    """They write and read themselves; their group is neither made nor removed."""
    own = make_plan(scenario("producers.shop.external=true", "groups.drill-work.external=true"))

    assert acts(own, ForeignKafka("b:9092", {}, "CLUSTER", (1, 2, 3)))[2:] == [
        "watch what group drill-work, your own program, commits for drill-orders",
        "read what shop, your own program, writes to drill-orders",
        "read every topic of the scenario from its first to its last record",
        "remove the topics drill-orders, drill-eventdrill.warm-up",
    ]


@contextlib.contextmanager
def brokers_that_know(*kinds: int) -> Iterator[str]:
    """A listener that answers ApiVersions as a broker does, once per connection."""
    answer = struct.pack(">ihi", 1, 0, len(kinds)) + b"".join(struct.pack(">hhh", kind, 0, 9) for kind in kinds)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted, _ = listening.accept()
                    with accepted:
                        accepted.recv(4096)
                        accepted.sendall(struct.pack(">i", len(answer)) + answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_brokers_too_old_for_the_consumer_protocol_are_refused():
    """A client alone would wait for an assignment that never comes; 68 is the request that the protocol is made of."""
    new = scenario("groups.drill-work.settings={group.protocol: consumer}")

    with brokers_that_know(0, 18) as old:
        (reason,) = too_old(new, ForeignKafka(old, {}, "CLUSTER", (1, 2, 3)))
        assert "group.protocol is consumer, which the brokers at 127.0.0.1" in reason
        assert too_old(scenario(), ForeignKafka(old, {}, "CLUSTER", (1, 2, 3))) == []
    with brokers_that_know(0, 18, 68) as young:
        assert too_old(new, ForeignKafka(young, {}, "CLUSTER", (1, 2, 3))) == []


def test_a_round_trip_is_how_long_listeners_take_to_accept():
    """Of several addresses those that answer count; nobody's is None."""
    with brokers_that_know(0) as there:
        took_us = round_trip_us(f"127.0.0.1:1,{there}")

    assert took_us is not None
    assert 0 < took_us < 1e6
    assert round_trip_us("127.0.0.1:1") is None


# ---- secrets -------------------------------------------------------------------------------------------------------


def test_security_comes_from_a_file_and_the_environment(tmp_path: Path):
    file = tmp_path / "client.properties"
    file.write_text("# mine\nsecurity.protocol = SASL_SSL\nsasl.username=me\nsasl.password=a=b\n")

    found = read_security(file, {"EVENTDRILL_CLIENT_SASL_USERNAME": "you", "HOME": "/"})

    assert found == {"security.protocol": "SASL_SSL", "sasl.username": "you", "sasl.password": "a=b"}
    assert of_driver(for_children(found)) == found
    assert of_driver({}) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hunter2", "client.properties:1 is no setting; write one a line, such as security.protocol=SASL_SSL"),
        ("\nlinger.ms=5", "client.properties:2: linger.ms is no security setting"),
        ("sasl.jaas.config=x", "sasl.jaas.config is the Java client's; librdkafka has sasl.username and sasl.password"),
    ],
)
def test_wrong_settings_are_refused_without_showing_a_value(text: str, reason: str, tmp_path: Path):
    file = tmp_path / "client.properties"
    file.write_text(text)

    with pytest.raises(ClusterError) as error:
        read_security(file, {})
    assert reason in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(ClusterError, match="cannot be read: No such file or directory"):
        read_security(tmp_path / "none", {})


def test_secrets_are_not_part_of_what_is_shown():
    assert "hunter2" not in repr(ForeignKafka("b:9092", {"sasl.password": "hunter2"}, "C", (1,)))


# ---- on a real Kafka that somebody else started --------------------------------------------------------------------


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    with start_local(ClusterSpec(settings={"group.initial.rebalance.delay.ms": "100"}), progress=print) as cluster:
        create(cluster, "theirs")
        yield cluster


def named(kafka: LocalKafka, tmp_path: Path, text: str = SCENARIO) -> Path:
    path = tmp_path / "there.yaml"
    path.write_text(text.replace("CLUSTER", kafka.cluster_id))
    return path


def topics(kafka: LocalKafka) -> set[str]:
    client = admin({"bootstrap.servers": kafka.bootstrap})
    return set(client.list_topics(timeout=5).topics) - {"__consumer_offsets"}


def groups(kafka: LocalKafka) -> set[str]:
    client = admin({"bootstrap.servers": kafka.bootstrap})
    return {each.group_id for each in client.list_consumer_groups(request_timeout=5).result(5).valid}


def retention_ms(kafka: LocalKafka, topic: str) -> str:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    client = admin({"bootstrap.servers": kafka.bootstrap})
    return str(client.describe_configs([resource])[resource].result(10)["retention.ms"].value)


def soon(condition: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return condition()


@pytest.mark.live
def test_a_run_leaves_there_only_what_was_there(kafka: LocalKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a command as fault, and security settings that are written nowhere below the run's folder."""
    monkeypatch.setenv("EVENTDRILL_CLIENT_SECURITY_PROTOCOL", "PLAINTEXT")
    monkeypatch.setenv("EVENTDRILL_CLIENT_SASL_PASSWORD", "hunter2")
    mark = tmp_path / "hurt"
    hook = (
        f"faults=[{{fault: hook, begin: 'touch {mark}', end: 'rm {mark}', probe: 'test -e {mark}', at: 1s, for: 1s}}]"
    )

    work = prepare_foreign(str(named(kafka, tmp_path)), on=kafka.bootstrap, settings=[hook])
    assert work.system is not None
    run = drive_on(work.system, work.loaded, tmp_path / "run")

    assert run.about["state"] == "complete"
    assert check(run)["lost"].count == 0
    (fault,) = run.faults
    assert "the probe found it; `rm" in fault.proof
    assert "the probe finds it no more" in fault.proof
    assert not mark.exists()
    assert topics(kafka) == {"theirs"}
    assert groups(kafka) == set()
    written = b"".join(each.read_bytes() for each in (tmp_path / "run").rglob("*") if each.is_file())
    assert b"hunter2" not in written


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[5])
from eventdrill.workflows.drive import prepare_foreign
from live_runs import drive_on
work = prepare_foreign(sys.argv[1], on=sys.argv[2], settings=["duration=60s", sys.argv[4]])
drive_on(work.system, work.loaded, Path(sys.argv[3]))
"""


@pytest.mark.live
def test_a_killed_driver_leaves_there_only_what_was_there(kafka: LocalKafka, tmp_path: Path):
    """In the middle of a hook and of a topic whose retention is short: the command that ends it is run, and topics and groups go."""
    mark = tmp_path / "hurt"
    hook = f"{{fault: hook, begin: 'touch {mark}', end: 'rm {mark}', at: 1s, for: 50s}}"
    faults = f"faults=[{hook}, {{fault: retention, topic: drill-orders, to: 10s, at: 1s, for: 50s}}]"
    arguments = [
        str(named(kafka, tmp_path)),
        kafka.bootstrap,
        str(tmp_path / "run"),
        faults,
        str(Path(__file__).parent),
    ]
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen([sys.executable, "-P", "-c", DRIVER, *arguments], stderr=said)
    assert soon(mark.exists, 90)
    assert soon(lambda: retention_ms(kafka, "drill-orders") == "10000", 10)

    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()

    assert soon(lambda: not mark.exists(), 10)
    assert soon(lambda: topics(kafka) == {"theirs"}, 10)
    assert soon(lambda: groups(kafka) == set(), 60)
    assert identify(driver.pid) is None
    assert "not undone" not in (tmp_path / "said").read_text()


@pytest.mark.live
def test_what_is_there_already_is_not_touched(kafka: LocalKafka, tmp_path: Path):
    """A topic with other partitions ends the preparation, and stays."""
    create(kafka, "drill-orders")
    before = admin({"bootstrap.servers": kafka.bootstrap})
    try:
        with pytest.raises(Exception, match="topic drill-orders is there already with 6 partitions instead of 3"):
            drive(named(kafka, tmp_path), on=kafka.bootstrap, out=tmp_path / "run")
        assert topics(kafka) == {"theirs", "drill-orders"}
    finally:
        before.delete_topics(["drill-orders"])["drill-orders"].result(10)


@pytest.mark.live
def test_the_wrong_cluster_size_and_nobody_there_are_told_before_anything(kafka: LocalKafka, tmp_path: Path):
    path = named(kafka, tmp_path)
    with pytest.raises(WrongInputError, match=r"this cluster has 3: set brokers.nodes=3"):
        prepare_foreign(str(path), on=kafka.bootstrap, settings=["brokers.nodes=2", "topics={drill-orders: {}}"])
    with pytest.raises(WrongInputError, match=r"target.cluster_id is other"):
        prepare_foreign(str(path), on=kafka.bootstrap, settings=["target.cluster_id=other"])
    work = prepare_foreign(str(path), on=kafka.bootstrap)
    assert work.acts()[0].startswith("create topic drill-orders")
    assert topics(kafka) == {"theirs"}
    assert connect(kafka.bootstrap, {}).broker_ids == (1, 2, 3)
    new = ["groups.drill-work.settings={group.protocol: consumer}"]
    assert prepare_foreign(str(path), on=kafka.bootstrap, settings=new).system is not None


@pytest.mark.live
def test_nobody_there_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loadgen.clusters.foreign.ANSWER_WITHIN_S", 1.0)

    with pytest.raises(ClusterError, match=r"--on 127.0.0.1:1: no broker answers there: .*refused"):
        connect("127.0.0.1:1", {})
    with pytest.raises(ClusterError, match=r"the client's settings are refused: .*security.protocol"):
        connect("127.0.0.1:1", {"security.protocol": "carrier-pigeon"})


@pytest.mark.live
def test_a_verification_there_leaves_only_what_was_there_after_each_run(kafka: LocalKafka, tmp_path: Path):
    """Twice, with a hook that has a broker hang, as it says; with a profile of other brokers nothing is called different.

    The reader is told what nobody sees there.
    """
    pid = kafka.pid(1)
    like = "{fault: broker_pause, broker: leader of drill-orders/0}"
    hook = f"{{fault: hook, begin: 'kill -STOP {pid}', end: 'kill -CONT {pid}', at: 2s, for: 2s, like: {like}}}"
    settings = ["warm_up=1s", "duration=7s", f"faults=[{hook}]"]
    work = prepare_verification(str(named(kafka, tmp_path)), on=kafka.bootstrap, settings=settings)
    assert work.acts(2)[-2:] == ["remove the groups drill-work", "all of that 2 times, one after the other"]
    assert topics(kafka) == {"theirs"}

    (tmp_path / "v").mkdir()
    result = work.run(tmp_path / "v", repeats=2, replications=20, jobs=1, warm_s=5.0)

    assert [run.data.about["state"] for run in result.observed] == ["complete", "complete"]
    assert [run.data.about["foreign_cluster"] for run in result.observed] == [kafka.cluster_id] * 2
    assert [len(run.data.log) for run in result.observed] == [len(result.prediction.plan)] * 2
    assert f"did not start (cluster {kafka.cluster_id})" in result.notices[0]
    assert "predicted as broker_pause" in result.notices[1]
    gaps = [result.prediction.run.measured["write_gap[drill-orders]"].value]
    gaps += [run.measured["write_gap[drill-orders]"].value for run in result.observed]
    assert all(gap is not None and 1.8 < gap < 4 for gap in gaps)
    assert "differs" not in {each.verdict for each in result.agreement.values()}
    assert (tmp_path / "v" / "report.html").exists()
    assert topics(kafka) == {"theirs"}
    assert groups(kafka) == set()
