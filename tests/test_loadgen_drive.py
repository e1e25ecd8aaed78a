"""The live driver from end to end, on the cluster that librdkafka carries."""

import os
import re
import signal
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from live_runs import SMALL, drive_embedded, drive_on, group_code, load, rows_of, start
from loadgen.clusters.layout import free_ports
from loadgen.control_link import Ui
from loadgen.engine import DriveError
from loadgen.outcomes import QUEUE_FULL
from loadgen.recorder import Progress
from rundata.checks import check
from rundata.dataset import open_run
from rundata.rows import NEVER, NONE, Kind, Outcome
from rundata.tables import RunData

pytestmark = pytest.mark.live

BUSY = re.compile("the senders ran|ended their work late|used over|took .* of this host|the host stood still")
"""What a run says of a machine that others use as well."""


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunData, Path, list[Progress], list[tuple[str, bytes]]]]:
    """One complete run of the small scenario, what it showed meanwhile, and the headers of its first dead letter."""
    folder = tmp_path_factory.mktemp("small") / "run"
    shown: list[Progress] = []
    loaded = load()
    with start(loaded) as cluster:
        run = drive_on(cluster, loaded, folder, progress=shown.append)
        reader = Consumer(
            {"bootstrap.servers": cluster.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"}
        )
        reader.assign([TopicPartition("orders.dlq", 0, 0)])
        letter = reader.poll(10)
        reader.close()
    assert letter is not None
    yield run, folder, shown, letter.headers() or []


def test_every_event_is_sent_acknowledged_delivered_and_ended(small: tuple[RunData, ...]):
    """Nothing is left out: one send and one end for each event of the plan, and every check holds."""
    run = small[0]
    events = list(range(len(run.plan)))

    assert run.about["state"] == "complete"
    assert [reason for reason in run.about["invalid"] if not BUSY.search(reason)] == []
    assert np.sort(rows_of(run, Kind.send)["event_id"]).tolist() == events
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok)["event_id"]
    letters = rows_of(run, Kind.dead_letter)["event_id"]
    assert np.sort(np.concatenate([effects, letters])).tolist() == events
    assert np.sort(letters).tolist() == np.flatnonzero(run.plan.poison).tolist()
    assert {name: result.count for name, result in check(run).items() if not result.valid} == {}


def test_a_send_says_when_where_and_how_it_ended(small: tuple[RunData, ...]):
    """Its key, partition and intended time are the plan's, its offset is the log's, and times are in order."""
    run = small[0]
    sends = rows_of(run, Kind.send)
    event = sends["event_id"]

    assert set(sends["outcome"].tolist()) == {Outcome.ok}
    assert (sends["intended_ns"] == run.plan.intended_ns[event]).all()
    assert (sends["partition"] == run.plan.partition[event]).all()
    assert (sends["key"] == run.plan.key[event]).all()
    assert (sends["intended_ns"] <= sends["started_ns"]).all()
    assert (sends["started_ns"] < sends["ended_ns"]).all()
    where = {(row["partition"], row["offset"]): row["event_id"] for row in run.log if row["topic"] == 0}
    assert all(where[row["partition"], row["offset"]] == row["event_id"] for row in sends)


def test_tries_follow_the_plan(small: tuple[RunData, ...]):
    """Transient events fail once and poison three times, each try a backoff after the one before."""
    run = small[0]
    tries = rows_of(run, Kind.try_)
    failing = run.plan.failing_tries["fulfilment"]
    transient = int(np.flatnonzero((failing == 1) & ~run.plan.poison)[0])
    poison = int(np.flatnonzero(run.plan.poison)[0])

    of_transient = tries[tries["event_id"] == transient]
    assert of_transient["outcome"].tolist() == [Outcome.failed, Outcome.ok]
    assert of_transient["attempt"].tolist() == [1, 2]
    of_poison = np.sort(tries[tries["event_id"] == poison], order="attempt")
    assert of_poison["outcome"].tolist() == [Outcome.failed] * 3
    assert of_poison["started_ns"][1] == of_poison["retry_due_ns"][0]
    # From planned end to planned begin, whatever the machine does: 1 ms of work and the backoff; the first one may have been handed over late.
    planned = of_poison["retry_due_ns"][:-1] - of_poison["started_ns"][:-1]
    assert 0 < planned[0] <= 21_000_000
    assert planned[1] == 41_000_000
    work = (tries["ended_ns"] - tries["started_ns"])[tries["attempt"] == 2]
    assert work.min() >= 1_000_000
    assert np.quantile(work, 0.25) < 3_000_000


def test_a_dead_letter_carries_what_connect_writes(
    small: tuple[RunData, Path, list[Progress], list[tuple[str, bytes]]],
):
    headers = dict(small[3])

    assert headers["__connect.errors.topic"] == b"orders"
    assert headers["__connect.errors.connector.name"] == b"fulfilment"
    assert headers["__connect.errors.exception.class.name"] == b"PoisonError"
    assert int(headers["__connect.errors.offset"]) >= 0


def test_commits_come_every_second_and_on_leaving(small: tuple[RunData, ...]):
    """Offsets only rise, and the last ones are the ends of the partitions."""
    run = small[0]
    commits = rows_of(run, Kind.commit, outcome=Outcome.ok)
    times = np.unique(commits["started_ns"][commits["process"] == 2]) / 1e9

    assert (commits["event_id"] == NONE).all()
    assert np.diff(times)[:-1].min() > 0.5  # the last one is on leaving
    assert len(times) >= 4
    ends = {each.partition: each.end for each in run.extents if each.topic == "orders"}
    last = {p: commits["offset"][commits["partition"] == p].max() for p in ends}
    assert last == ends


def test_the_dataset_opens_and_nothing_else_is_left(small: tuple[RunData, Path, list[Progress]]):
    run, folder = small[0], small[1]
    opened = open_run(folder)

    assert opened.state == "complete"
    assert len(opened.data.operations) == len(run.operations)
    assert [path.name for path in folder.iterdir() if path.suffix in (".rows", ".npy", ".part")] == []
    assert not (folder / "processes").exists()


def test_the_display_counts_up_to_the_end(small: tuple[RunData, Path, list[Progress]]):
    run, shown = small[0], small[2]

    assert list(dict.fromkeys(each.phase for each in shown))[:2] == ["preparing", "running"]
    running = [each for each in shown if each.phase == "running"]
    assert 5 <= len(running) <= 9
    assert shown[-2].acknowledged == len(run.plan)
    assert max(each.acknowledged_hz for each in running) > 100


def test_processes_and_lateness_are_measured(small: tuple[RunData, ...]):
    run = small[0]
    names = {(gauge.name, gauge.where) for gauge in run.gauges}

    assert {
        ("cpu_share", "shop/1"),
        ("cpu_share", "fulfilment/2"),
        ("rss_bytes", "locust"),
        ("own_bytes", "fulfilment/1"),
        ("cpu_share", "host"),
    } <= names
    assert 0 < run.about["driver"]["lateness_p50_ns"] < 50_000_000
    assert {phase.name: phase.begin_ns for phase in run.phases}["measure"] == 1_000_000_000
    assert run.incidents[0].kind == "assignment"
    owned = [partition for each in run.incidents if each.time_ns == 0 for partition in each.detail.split()]
    assert sorted(owned) == ["orders/0", "orders/1", "orders/2", "orders/3"]


MODES = """\
scenario: modes
seed: 5
duration: 3s
drain: 10s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100}}
topics: {orders: {partitions: 2}}
producers: {shop: {topic: orders, arrivals: 60/s, settings: {acks: all}}}
groups:
  auto: {topics: [orders], work: 1ms, commit: auto, settings: {auto.commit.interval.ms: 500}}
  event: {topics: [orders], work: 1ms, commit: after_event}
  batch: {topics: [orders], work: 1ms, commit: after_batch}
  before: {topics: [orders], work: 1ms, commit: before_work}
  every: {topics: [orders], work: 1ms, commit: {every: 500ms}}
  skips:
    topics: [orders]
    work: 1ms
    reads: {collect: {events: 20, timeout: 100ms}}
    settings: {fetch.wait.max.ms: 10}
    failures: {transient: {chance: 30%, attempts: 2}, then: skip}
"""


def test_each_commit_mode_commits_when_it_says(tmp_path: Path):
    """After each event, after each batch, before its work, at an interval, or by the client itself: seen from the rows alone."""
    run = drive_embedded(load(MODES), tmp_path / "run")
    tries, deliveries = rows_of(run, Kind.try_), rows_of(run, Kind.delivery)

    def commits(name: str):
        return rows_of(run, Kind.commit, group=group_code(run, name))

    def own(rows, name: str):
        return rows[rows["group"] == group_code(run, name)]

    events = len(run.plan)
    assert all(len(own(deliveries, name)) == events for name in run.names.groups)
    assert len(commits("event")) == events
    polls = len(np.unique(own(deliveries, "batch")["poll_id"]))
    assert len(np.unique(commits("batch")["started_ns"])) == polls
    # Before: each event's offset is committed when its work begins; after: when it has ended.
    for name, earlier in (("before", True), ("event", False)):
        for one in own(tries, name)[:20]:
            covering = commits(name)[
                (commits(name)["partition"] == one["partition"]) & (commits(name)["offset"] > one["offset"])
            ]
            first = covering["ended_ns"].min()
            assert first <= one["ended_ns"] if earlier else first >= one["ended_ns"]
    gaps = np.diff(np.unique(commits("every")["started_ns"])) / 1e9
    assert gaps[:-1].min() > 0.45
    assert 3 <= len(np.unique(commits("auto")["ended_ns"])) <= 12
    assert len(rows_of(run, Kind.skip, group=group_code(run, "skips"))) == int(
        (run.plan.failing_tries["skips"] > 0).sum()
    )
    waits = np.diff(np.unique(own(deliveries, "skips")["started_ns"])) / 1e9
    assert np.median(waits) == pytest.approx(0.1, abs=0.05)


def test_a_slow_producer_process_makes_the_run_say_nothing(tmp_path: Path):
    """A process that is stopped for 300 ms sends late, keeps the intended times, and the run says that the driver was the limit."""
    stopped: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.phase == "running" and progress.at_ns > 2_000_000_000 and not stopped:
            pid = next(
                child.pid for child in psutil.Process().children() if "loadgen.producer_process" in child.cmdline()
            )
            stopped.append(pid)
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(0.3, os.kill, (pid, signal.SIGCONT)).start()

    run = drive_embedded(load(), tmp_path / "run", progress=watch)
    sends = rows_of(run, Kind.send)
    late = sends["started_ns"] - sends["intended_ns"]

    assert late.max() > 200_000_000
    assert (sends["intended_ns"] == run.plan.intended_ns[sends["event_id"]]).all()
    assert len(sends) == len(run.plan)
    assert "the senders" in [reason.split(" ran ")[0] for reason in run.about["invalid"]]


def test_a_full_client_queue_is_recorded_and_no_reason_to_doubt_where_the_scenario_chose_its_size(tmp_path: Path):
    settings = [
        "producers.shop.settings={queue.buffering.max.messages: 10}",
        "producers.shop.arrivals={rate: 200/s, spacing: {bursts: 50}}",
        "duration=2s",
        "warm_up=0s",
    ]
    run = drive_embedded(load(SMALL, settings), tmp_path / "run")
    refused = rows_of(run, Kind.send, error=QUEUE_FULL)

    assert len(refused) > 0
    assert set(refused["outcome"].tolist()) == {Outcome.failed}
    assert (refused["ended_ns"] == refused["started_ns"]).all()
    assert run.error_names[QUEUE_FULL] == "_QUEUE_FULL"
    assert "own queue was full" not in " ".join(run.about["invalid"])
    assert check(run)["lost"].count == 0


def test_a_member_that_dies_makes_the_run_incomplete(tmp_path: Path):
    """Nobody planned it: the run ends in good order, says who died, and its dataset opens."""
    killed: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.phase == "running" and progress.at_ns > 1_000_000_000 and not killed:
            pid = next(c.pid for c in psutil.Process().children() if "loadgen.member_process" in c.cmdline())
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    run = drive_embedded(load(), tmp_path / "run", progress=watch)

    assert run.about["state"] == "interrupted"
    assert f"(process {killed[0]}) ended with status -9" in run.about["incomplete"][0]
    assert open_run(tmp_path / "run").state == "interrupted"
    assert (rows_of(run, Kind.send)["ended_ns"] != NEVER).all()


def test_locust_shows_the_run_and_its_buttons_start_and_stop_it(tmp_path: Path):
    (port,) = free_ports(1)
    seen: dict[str, object] = {}

    def ask(path: str, **form: str) -> bytes:
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=data, timeout=5) as answer:
            return bytes(answer.read())

    def user() -> None:
        while "page" not in seen:
            try:
                seen["page"] = ask("/")
            except OSError:
                time.sleep(0.1)
        while not waiting.is_set():
            time.sleep(0.05)
        ask("/swarm", user_count="1", spawn_rate="1", host="")
        time.sleep(3.5)
        seen["stats"] = ask("/stats/requests")
        ask("/stop", now="1")

    waiting = threading.Event()

    def watch(progress: Progress) -> None:
        if "press Start" in progress.message:
            waiting.set()

    person = threading.Thread(target=user)
    person.start()
    run = drive_embedded(load(SMALL, ["duration=30s"]), tmp_path / "run", progress=watch, ui=Ui(port=port))
    person.join()

    assert b"Locust" in bytes(seen["page"])  # type: ignore[call-overload]  # what the thread put there
    assert b"fulfilment" in bytes(seen["stats"])  # type: ignore[call-overload]  # what the thread put there
    assert run.about["incomplete"] == ["stopped through Locust"]
    assert 3 < run.end_ns / 1e9 < 15
    assert len(run.log) >= len(rows_of(run, Kind.send))


def test_locust_dying_makes_the_run_incomplete(tmp_path: Path):
    killed: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.phase == "running" and progress.at_ns > 1_000_000_000 and not killed:
            killed.append(next(c.pid for c in psutil.Process().children() if "loadgen.control" in c.cmdline()))
            os.kill(killed[0], signal.SIGKILL)

    run = drive_embedded(load(), tmp_path / "run", progress=watch)

    assert run.about["incomplete"][0].startswith("Locust's process ended during the run")


def test_what_cannot_be_done_is_refused_before_anything_starts(tmp_path: Path):
    loaded = load(SMALL, ["groups.fulfilment.settings={group.protocol: consumer}"])
    with start(loaded) as cluster, pytest.raises(DriveError, match="the embedded cluster has classic groups only"):
        drive_on(cluster, loaded, tmp_path / "run")

    assert psutil.Process().children() == []
