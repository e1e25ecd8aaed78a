"""A producer that is the user's own program: EventDrill sends nothing for it, reads what it writes, and judges the groups against that."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from eventdrill.workflows.drive import prepare_foreign
from eventdrill.workflows.verify import Work
from live_runs import drive_on, group_code, load, rows_of, start
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.clusters.model import Cluster, ClusterSpec
from loadgen.watchdog.undoing import admin
from rundata.checks import check
from rundata.dataset import open_run
from rundata.indicators import measure
from rundata.rows import NEVER, Kind, Outcome
from rundata.tables import RunData
from scenarios.following import chain_of
from scenarios.profiles import load_profile

SHOP = '''
"""A shop that knows nothing of EventDrill but two headers: it sends 50 orders a second; of a hundred it leaves one out and sends one twice."""
import json, sys, time
from confluent_kafka import Producer

producer = Producer({"bootstrap.servers": sys.argv[1], "linger.ms": 0, "enable.idempotence": True,
                     "topic.metadata.refresh.interval.ms": 500, "allow.auto.create.topics": False,
                     "topic.metadata.propagation.max.ms": 120000})
begun, number = time.time(), 0
while True:
    due = begun + number / 50
    time.sleep(max(0.0, due - time.time()))
    order = json.dumps({"kind": "order", "number": number})
    numbered = sys.argv[2] == "numbered"
    headers = {"eventdrill-id": str(number), "eventdrill-at": f"{due:.6f}"} if numbered else {}
    times = {37: 0, 63: 2}.get(number % 100, 1) if numbered and len(sys.argv) == 3 else 1
    for _ in range(times):
        producer.produce("orders", order, f"customer-{number % 7}", headers=headers)
    producer.poll(0)
    print(number, time.time(), flush=True)
    number += 1
'''
WAREHOUSE = '''
"""A program that handles the shop's orders and says which, by the place where it read them."""
import json, sys, time
from confluent_kafka import Consumer

consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "warehouse", "auto.offset.reset": "earliest",
                     "session.timeout.ms": 6000, "topic.metadata.refresh.interval.ms": 500,
                     "allow.auto.create.topics": False, "enable.auto.commit": False})
consumer.subscribe(["orders"])
print("up", flush=True)
while True:
    message = consumer.poll(0.1)
    if message is None or message.error():
        continue
    assert json.loads(message.value())["kind"] == "order"
    with open(sys.argv[2], "a") as out:
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        out.write(json.dumps({"from": place, "at": time.time()}) + "\\n")
    consumer.commit(message, asynchronous=True)
'''
SCENARIO = """\
scenario: outside
seed: 4
duration: 5s
warm_up: 1s
drain: 20s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics:
  orders: {partitions: 2, replication: 1}
  mails: {partitions: 1, replication: 1}
producers:
  shop: {topic: orders, external: true, arrivals: 50/s, key: {uniform: 7}}
  post: {topic: mails, arrivals: 30/s, key: {uniform: 5}}
groups:
  warehouse: {topics: [orders], work: 0ms, external: true, effects: {file: EFFECTS}}
  billing:
    topics: [orders, mails]
    work: {uniform: [1ms, 3ms]}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
    failures: {transient: {chance: 10%}, retry: {attempts: 2}, then: skip}
"""
CHAINED = (
    SCENARIO.replace(
        "  mails: {partitions: 1, replication: 1}\n",
        "  mails: {partitions: 1, replication: 1}\n  invoices: {partitions: 2, replication: 1}\n",
    ).replace(
        "    work: {uniform: [1ms, 3ms]}\n",
        "    work: {uniform: [1ms, 3ms]}\n    emits: {topic: invoices, event: Invoice, per_event: 2, settings: {acks: all, enable.idempotence: true}}\n",
    )
    + "  posting: {topics: [invoices], work: 1ms, settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}}\n"
)
"""The same, and what billing does makes it send invoices, which another group posts."""


@contextmanager
def programs_beside(folder: Path, cluster: Cluster, *arguments: str, topic: str = "orders") -> Iterator[None]:
    """The two programs at work."""
    (folder / "shop.py").write_text(SHOP.replace('produce("orders"', f'produce("{topic}"'))
    (folder / "warehouse.py").write_text(WAREHOUSE.replace('subscribe(["orders"])', f'subscribe(["{topic}"])'))
    commands = [
        [sys.executable, str(folder / "shop.py"), cluster.bootstrap, *arguments],
        [sys.executable, str(folder / "warehouse.py"), cluster.bootstrap, str(folder / "done.jsonl")],
    ]
    with (folder / "sent.txt").open("w") as sent:
        programs = [subprocess.Popen(each, stdout=sent, stderr=subprocess.DEVNULL) for each in commands]
        try:
            yield
        finally:
            for program in programs:
                program.kill()
                program.wait()


def drive_beside(folder: Path, kind: str) -> tuple[RunData, dict[int, float]]:
    """A run beside the two programs, and when the shop says that it sent each order."""
    loaded = load(CHAINED.replace("EFFECTS", str(folder / "done.jsonl")))
    with start(loaded) as cluster, programs_beside(folder, cluster, kind):
        run = drive_on(cluster, loaded, folder / "run")
    lines = re.findall(r"^(\d+) ([\d.]+)$", (folder / "sent.txt").read_text(), re.MULTILINE)
    return run, {int(number): float(at) for number, at in lines}


@pytest.fixture(scope="module", params=["numbered", "bare"])
def outside(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, RunData, dict[int, float], Path]]:
    """Orders with numbers, some of them missing and some sent twice; and orders of a program that puts nothing into its records."""
    folder = tmp_path_factory.mktemp("outside")
    run, sent = drive_beside(folder, request.param)
    yield str(request.param), run, sent, folder / "run"


def orders(run: RunData) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.flatnonzero(run.plan.producer == 0)


@pytest.mark.live
def test_what_the_program_wrote_is_the_plan(outside: tuple[str, RunData, dict[int, float], Path]):
    """Its events stand at the instants at which it says that it sent them, and nothing was sent for it."""
    _, run, sent, _ = outside
    about = run.about
    assert about["state"] == "complete", about["incomplete"]
    began = min(sent.values())
    intended = run.plan.intended_ns[orders(run)] / 1e9

    assert 240 <= len(intended) <= 252
    assert np.median(np.diff(intended)) == pytest.approx(0.02, abs=0.003)
    assert began < min(sent.values()) + 1
    assert set(run.plan.key[orders(run)].tolist()) - {-1} == set(range(7))
    sends = rows_of(run, Kind.send)
    mine = sends[np.isin(sends["event_id"], orders(run))]
    assert set(mine["process"].tolist()) == {run.names.processes.index("shop/1")}
    assert len(mine) >= len(intended)


@pytest.mark.live
def test_every_order_is_handled_by_the_program_and_by_a_group_of_ours(
    outside: tuple[str, RunData, dict[int, float], Path],
):
    kind, run, _, _ = outside
    there = orders(run)
    if kind == "numbered":
        lacking = rows_of(run, Kind.send, outcome=Outcome.unknown)["event_id"]
        there = np.setdiff1d(there, lacking)
    for group in ("warehouse", "billing"):
        effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, group))
        own = effects[np.isin(effects["event_id"], there)]
        assert np.unique(own["event_id"]).tolist() == there.tolist()
        assert (own["ended_ns"] >= run.plan.intended_ns[own["event_id"]]).all()
    mails = np.flatnonzero(run.plan.producer == 1)
    billed = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "billing"))["event_id"]
    assert np.isin(mails, billed).all()
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


@pytest.mark.live
def test_a_number_that_never_came_is_refused_and_one_that_came_twice_is_one_event(
    outside: tuple[str, RunData, dict[int, float], Path],
):
    kind, run, _, _ = outside
    found = measure(run)
    if kind == "bare":
        assert found["refused"].value == 0
        assert found["duplicate_deliveries[billing].log"].value == 0
        return
    lacking = rows_of(run, Kind.send, outcome=Outcome.unknown)
    measured = (run.plan.intended_ns[lacking["event_id"]] >= 1_000_000_000).sum()

    assert 2 <= len(lacking) <= 3
    assert set(lacking["ended_ns"].tolist()) == {NEVER}
    assert found["refused"].value == measured
    assert 1 <= (found["duplicate_deliveries[billing].log"].value or 0) <= 3
    assert "shop is your own program" in check(run)["duplicate_deliveries"].allowed


@pytest.mark.live
def test_members_of_ours_work_as_the_scenario_says(outside: tuple[str, RunData, dict[int, float], Path]):
    """Tries take what is planned for the declared event that stands for each, and fail as often."""
    _, run, _, _ = outside
    billing = group_code(run, "billing")
    tries = rows_of(run, Kind.try_, group=billing)
    own = tries[np.isin(tries["event_id"], orders(run))]
    failed = np.unique(own["event_id"][own["outcome"] == Outcome.failed])

    assert (
        failed.tolist() == np.intersect1d(np.flatnonzero(run.plan.failing_tries["billing"] == 1), orders(run)).tolist()
    )
    assert 5 < len(failed) < 60
    took = own["ended_ns"] - own["started_ns"]
    assert (took >= run.plan.work_ns["billing"][own["event_id"]] - 1_000_000).mean() > 0.9


def emitted_as_they_should(run: RunData, group: str, reader: str) -> int:
    """Each effect of a group emits what the plan says of its event, and what it emits is handled by the group that reads it; gives how many."""
    chain = chain_of(run.plan)
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, group))["event_id"]
    wanted = np.sort(chain.children_of(effects, group)[1])
    sends = rows_of(run, Kind.send, outcome=Outcome.ok, group=group_code(run, group))
    handled = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, reader))["event_id"]

    assert np.sort(sends["event_id"]).tolist() == wanted.tolist()
    assert (sends["root_id"] == chain.root_of(sends["event_id"])).all()
    assert np.isin(wanted, handled).all()
    return len(wanted)


@pytest.mark.live
def test_what_a_group_emits_for_the_programs_events_goes_on_like_any_chain(
    outside: tuple[str, RunData, dict[int, float], Path],
):
    """Some 250 events of the program and 150 of ours make two invoices each; a copy of an order makes copies of its invoices."""
    kind, run, _, _ = outside
    found = measure(run)

    assert 700 < emitted_as_they_should(run, "billing", "posting") < 850
    assert found["delivery[posting]"].value == 1
    assert 0 < (found["chain_latency[posting].p50"].value or 0) < 1
    assert found["unexpected"].value == found["lost"].value == 0
    sends = rows_of(run, Kind.send, outcome=Outcome.ok)
    again = {
        topic: second_copies(sends[sends["topic"] == run.names.topics.index(topic)]) for topic in ("orders", "invoices")
    }
    assert again["invoices"] == 2 * again["orders"]
    assert (again["orders"] > 0) == (kind == "numbered")
    assert ((found["duplicate_deliveries[posting].log"].value or 0) > 0) == (kind == "numbered")


def second_copies(sends: np.ndarray[tuple[int], np.dtype[np.void]]) -> int:
    return len(sends) - len(np.unique(sends["event_id"]))


@pytest.mark.live
def test_latency_is_measured_and_what_only_the_program_knows_is_not(
    outside: tuple[str, RunData, dict[int, float], Path],
):
    _, run, _, folder = outside
    found = measure(run)
    latency = found["latency[warehouse].p50"].value

    assert latency is not None
    assert 0 < latency < 0.5
    assert found["ack_latency[orders].p50"].value is None
    assert (
        found["ack_latency[orders].p50"].reason
        == "acknowledgements of the user's own program are known to that program only"
    )
    again = measure(open_run(folder).data)
    assert {name: each.value for name, each in again.items()} == {name: each.value for name, each in found.items()}


@pytest.mark.live
def test_a_prediction_is_compared_with_what_the_program_wrote(tmp_path: Path):
    """A program that sends 50 a second where 100 were declared: the prediction was of other events, and that is what is blamed."""
    loaded = load(SCENARIO.replace("EFFECTS", str(tmp_path / "done.jsonl")), ["producers.shop.arrivals=100/s"])
    folder = tmp_path / "verified"
    folder.mkdir()
    work = Work(loaded, folder, replications=20, jobs=1, warm_s=0)
    prediction = work.predict(load_profile("local-kafka"))
    with start(loaded) as cluster, programs_beside(tmp_path, cluster, "bare"):
        (driven,) = work.drive(cluster, prediction)
    result = work.compare(prediction, (driven,))

    produced = result.agreement["produced"]
    low, high = produced.interval or (0, 0)
    assert low < 125 < high  # of plans of their own, with 130 a second between them
    assert produced.observed == pytest.approx(80, abs=3)
    assert produced.verdict in ("differs", "cannot tell")  # where driver or host were the limit
    assert driven.invalid or produced.verdict == "cannot tell" or (produced.sources or {})["workload"] > 0.8
    assert (folder / "report.html").exists()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    settings = {
        "group.initial.rebalance.delay.ms": "100",
        "group.min.session.timeout.ms": "1000",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }
    spec = ClusterSpec(settings=settings)
    with start_local(spec, progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster


ON_THREE = [
    "brokers.nodes=3",
    "brokers.settings={broker.session.timeout.ms: 3000, broker.heartbeat.interval.ms: 500, group.min.session.timeout.ms: 1000}",
    "topics.orders={partitions: 2, replication: 3, settings: {min.insync.replicas: 2}}",
    "topics.mails.replication=3",
]


LEDGER = (
    "groups.ledger={topics: [orders], client: java, work: {uniform: [1ms, 3ms]}, settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300},"
    " failures: {transient: {chance: 10%}, retry: {attempts: 2}, then: skip}}"
)
"""Members with Java's client read what the shop sends, too."""


def as_planned(run: RunData, group: str) -> None:
    """Each order is handled, and fails as often as the declared event that stands for it."""
    tries = rows_of(run, Kind.try_, group=group_code(run, group))
    failed = np.unique(tries["event_id"][tries["outcome"] == Outcome.failed])
    planned = np.flatnonzero(run.plan.failing_tries[group] == 1)

    assert np.unique(tries["event_id"][tries["outcome"] == Outcome.ok]).tolist() == orders(run).tolist()
    assert failed.tolist() == np.intersect1d(planned, orders(run)).tolist()
    assert 5 < len(failed) < 110
    took = tries["ended_ns"] - tries["started_ns"]
    assert (took >= run.plan.work_ns[group][tries["event_id"]] - 1_000_000).mean() > 0.9


@pytest.mark.live
def test_the_users_programs_live_through_the_crash_of_a_leader(kafka: LocalKafka, tmp_path: Path):
    """On a real Kafka, with a Java group beside: the program's client waits and goes on, nothing it had sent is missing, the outage is as it was."""
    crash = "faults=[{fault: broker_crash, broker: leader of orders/0, at: 3s, for: 5s}]"
    loaded = load(SCENARIO.replace("EFFECTS", str(tmp_path / "done.jsonl")), [*ON_THREE, "duration=9s", crash, LEDGER])
    with programs_beside(tmp_path, kafka, "numbered", "all"):
        run = drive_on(kafka, loaded, tmp_path / "run")
    found = measure(run)

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert {name: each.examples for name, each in check(run).items() if not each.valid} == {}
    assert (found["lost"].value, found["refused"].value, found["pending"].value) == (0, 0, 0)
    assert "led by" in run.faults[0].proof
    assert 2 < (found["write_gap[orders]"].value or 0) < 15  # the brokers' session of 3 s, less a heartbeat's half
    assert 2 < (found["gap[warehouse]"].value or 0) < 15
    assert found["delivery[warehouse]"].value == found["delivery[billing]"].value == 1
    assert 380 < len(orders(run)) <= 451
    as_planned(run, "ledger")


@pytest.mark.live
def test_on_a_system_that_stays_own_programs_find_their_topics_and_keep_their_group(kafka: LocalKafka, tmp_path: Path):
    """Both run before the topics are there; what EventDrill made it removes, and the programs' group is theirs."""
    text = (
        SCENARIO.replace("EFFECTS", str(tmp_path / "done.jsonl"))
        .replace("orders", "drill-orders")
        .replace("mails", "drill-mails")
    )
    target = f"target={{cluster_id: {kafka.cluster_id}, topics: [drill-*, warehouse]}}"
    file = tmp_path / "there.yaml"
    file.write_text(text.replace("billing", "drill-billing"))
    there = [each.replace("orders", "drill-orders").replace("mails", "drill-mails") for each in ON_THREE]
    work = prepare_foreign(str(file), on=kafka.bootstrap, settings=[*there, target])
    assert work.system is not None
    with programs_beside(tmp_path, kafka, "numbered", "all", topic="drill-orders"):
        run = drive_on(work.system, work.loaded, tmp_path / "run")
        client = admin({"bootstrap.servers": kafka.bootstrap})
        topics = set(client.list_topics(timeout=5).topics)
        groups = {each.group_id for each in client.list_consumer_groups(request_timeout=5).result(5).valid}

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert {name: each.examples for name, each in check(run).items() if not each.valid} == {}
    assert measure(run)["delivery[warehouse]"].value == 1
    assert not {each for each in topics if each.startswith("drill-")}
    assert "warehouse" in groups
    assert "drill-billing" not in groups


CHAINS = [
    "topics.invoices={partitions: 2, replication: 3}",
    "topics.entries={partitions: 2, replication: 3}",
    "topics.letters={partitions: 1, replication: 3}",
    "groups.billing.emits={topic: invoices, per_event: 2, share: 50%, size: {uniform: [100B, 900B]}, settings: {acks: all}}",
    "groups.ledger={topics: [orders], client: java, work: 1ms, emits: {topic: entries, share: 70%, settings: {acks: all}}}",
    "groups.posting={topics: [invoices], client: java, work: {uniform: [1ms, 3ms]}, failures: {transient: {chance: 10%}, retry: {attempts: 2}, "
    "then: skip}, emits: {topic: letters, poison: 20%, settings: {acks: all}}}",
    "groups.archive={topics: [entries, letters], work: 1ms, failures: {then: skip}}",
]
"""Members of both clients emit for the shop's orders, and for what follows from them; each reads what the other has sent."""


@pytest.mark.live
def test_both_clients_emit_for_the_programs_events_and_read_what_the_other_emits(kafka: LocalKafka, tmp_path: Path):
    """On a real Kafka: ids, sizes, tries and poison of two hops are what one plan says, whatever client has drawn or looked them up."""
    loaded = load(SCENARIO.replace("EFFECTS", str(tmp_path / "done.jsonl")), [*ON_THREE, *CHAINS])
    with programs_beside(tmp_path, kafka, "bare"):
        run = drive_on(kafka, loaded, tmp_path / "run")
    chain, found = chain_of(run.plan), measure(run)

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert {name: each.examples for name, each in check(run).items() if not each.valid} == {}
    assert emitted_as_they_should(run, "billing", "posting") > 100
    assert emitted_as_they_should(run, "ledger", "archive") > 30
    tries = rows_of(run, Kind.try_, group=group_code(run, "posting"))
    failed = np.unique(tries["event_id"][tries["outcome"] == Outcome.failed])
    invoices = np.unique(tries["event_id"])
    assert failed.tolist() == invoices[chain.failing_tries("posting", invoices) == 1].tolist()
    letters = rows_of(run, Kind.send, group=group_code(run, "posting"))["event_id"]
    skipped = rows_of(run, Kind.skip, group=group_code(run, "archive"))["event_id"]
    assert np.unique(skipped).tolist() == np.unique(letters[chain.poison(letters)]).tolist()
    assert 0 < len(skipped) < len(letters)
    assert found["lost"].value == found["unexpected"].value == 0
