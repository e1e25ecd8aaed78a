"""A member's handler and its commits, without brokers."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from loadgen import member_commits
from loadgen.group_spec import intervals
from loadgen.member_batch import Batch
from loadgen.member_commits import Commits
from loadgen.member_letters import Letters
from loadgen.member_lookup import Lookup
from loadgen.member_rows import Event, MemberRows
from loadgen.member_work import Handler, Interval, Lateness, Stopped, clock
from loadgen.records import encode
from rundata.row_log import read_rows
from rundata.rows import NONE, Kind, Outcome
from runs import Build
from scenarios.profiles import IDEAL
from sim.draws import Draws

MS = 1_000_000
ARRAYS = {
    "work_ns": np.full(1000, MS, np.int64),
    "failing_tries": np.zeros(1000, np.int16),
    "key": np.arange(1000),
    "producer": np.zeros(1000, np.int16),
}


def child_of(folder: Path, **spec: Any) -> Any:
    """Stand for the process: its specification and its arrays."""
    codes = {"process": 3, "group": 0, "topics": {"orders": 0, "orders.dlq": 1}, "event_type_of_producer": [0]}
    full = {
        "busy": False,
        "warm_up_ns": 0,
        "slow": [],
        "failing": [],
        "failures": None,
        "seed": 1,
        "codes": codes,
        "group": "work",
        **spec,
    }
    full |= {"rows": str(folder / "work-1.rows"), "capacity": 1000, "arrays": {}}
    return SimpleNamespace(spec=full, leaving=False, array=lambda name: ARRAYS[name].data)


def event(number: int, *, poison: bool = False, offset: int | None = None) -> Event:
    value = encode(7, number, number, 0, b"", poison=poison)
    return Event(number, number, 0, "orders", 0, number if offset is None else offset, None, value)


def handler_of(child: Any) -> Handler:
    lookup = Lookup(child)
    handler = Handler(child, MemberRows(child, lookup), lookup)
    handler.start_ns = handler.worker.busy_until = clock()
    return handler


def rows_of(child: Any) -> MemberRows:
    return MemberRows(child, Lookup(child))


def rows(folder: Path) -> np.ndarray:
    return read_rows(folder / "work-1.rows")


@pytest.mark.live
def test_late_wake_ups_do_not_add_to_the_load(tmp_path: Path):
    """A hundred events of 1 ms are planned to end after 100 ms, however late each sleep wakes: lateness that added up would be in every later end."""
    handler = handler_of(child_of(tmp_path))

    for number in range(100):
        handler.handle(event(number), 0, handler.start_ns)

    assert handler.worker.busy_until - handler.start_ns == 100 * MS
    ended = rows(tmp_path)["ended_ns"]
    assert (ended >= np.arange(1, 101) * MS).all()
    assert np.median(ended - np.arange(1, 101) * MS) < 20 * MS  # of a busy machine; the plan above is exact


@pytest.mark.live
def test_a_busy_handler_burns_its_time(tmp_path: Path):
    import time

    handler = handler_of(child_of(tmp_path, busy=True))
    before = time.thread_time()
    for number in range(20):
        handler.handle(event(number), 0, handler.start_ns)

    assert time.thread_time() - before > 0.005  # of 20 ms, on a machine that others use as well


@pytest.mark.live
def test_slow_work_stretches_the_tries_that_begin_in_its_interval(tmp_path: Path):
    """Planned ends at 1, 2 ms; from 2 ms on three tries take 3 times the work plus 1 ms; the next one begins after it."""
    slow = {"begin_ns": 2 * MS, "end_ns": 12 * MS, "factor": 3.0, "plus_ns": MS}
    handler = handler_of(child_of(tmp_path, slow=[slow]))
    ends = []

    for number in range(6):
        handler.handle(event(number), 0, handler.start_ns)
        ends.append((handler.worker.busy_until - handler.start_ns) // MS)

    assert ends == [1, 2, 6, 10, 14, 15]


@pytest.mark.live
def test_a_poison_event_is_given_up_after_its_last_try(tmp_path: Path):
    policy = {
        "retry": {"attempts": 3, "backoff_ns": 2 * MS, "factor": 2.0, "where": "in_place"},
        "then": "skip",
        "dead_letter": None,
    }
    handler = handler_of(child_of(tmp_path, failures=policy))

    handler.handle(event(5, poison=True), 4, handler.start_ns)

    found = rows(tmp_path)
    assert found["kind"].tolist() == [Kind.try_] * 3 + [Kind.skip]
    assert found["attempt"].tolist() == [1, 2, 3, 3]
    assert found["outcome"].tolist() == [Outcome.failed] * 3 + [Outcome.ok]
    # 1 ms of work, 2 ms of backoff, 1, 4, 1: all planned, nothing measured.
    assert found["retry_due_ns"][:2].tolist() == [3 * MS, 8 * MS]
    assert handler.worker.busy_until - handler.start_ns == 9 * MS
    assert set(found["poll_id"].tolist()) == {4}


@pytest.mark.live
def test_the_policy_can_end_the_member(tmp_path: Path):
    policy = {
        "retry": {"attempts": 1, "backoff_ns": 0, "factor": 1.0, "where": "in_place"},
        "then": "stop",
        "dead_letter": None,
    }
    handler = handler_of(child_of(tmp_path, failures=policy))

    with pytest.raises(Stopped):
        handler.handle(event(5, poison=True), 0, handler.start_ns)
    assert rows(tmp_path)["outcome"].tolist() == [Outcome.failed]


def test_both_engines_let_the_same_tries_fail(tmp_path: Path):
    """Which share of the tries in failing_work fails is decided by the event and the attempt, not by the engine."""
    handler = handler_of(child_of(tmp_path, seed=11))
    draws = Draws(Build({}).run().plan, IDEAL, 11)

    mine = [handler._draw(number, attempt) for number in range(20) for attempt in (1, 2)]
    theirs = [draws.failing_work(0, number, attempt, 1) for number in range(20) for attempt in (1, 2)]

    assert mine == theirs


def test_members_are_told_the_intervals_of_their_own_group():
    slow = {"fault": "slow_work", "group": "work", "factor": 2.0, "plus": "1ms", "at": "1s", "for": "2s"}
    failing = {"fault": "failing_work", "group": "work", "share": "30%", "at": "3s", "for": "1s"}
    build = Build({"faults": [slow, failing]})
    build.event(0.1)
    build.fault(1, 3, index=0)
    build.fault(3, 4, index=1)

    told = intervals(build.run().plan, "work/1")

    assert told["slow"] == [{"begin_ns": 1000 * MS, "end_ns": 3000 * MS, "factor": 2.0, "plus_ns": MS, "share": 0.0}]
    assert [each["share"] for each in told["failing"]] == [0.3]
    assert Interval(**told["slow"][0]).holds(1000 * MS)
    assert not Interval(**told["slow"][0]).holds(3000 * MS)


def test_what_ends_in_the_warm_up_is_not_late(tmp_path: Path):
    """Two events of 1 ms: the first is planned to end at 1 ms, the warm-up's end is 2 ms after the start."""
    handler = handler_of(child_of(tmp_path, warm_up_ns=2 * MS))

    handler.handle(event(0), 0, handler.start_ns)
    assert handler.late.quantile_ns(1.0) == 0
    handler.handle(event(1), 0, handler.start_ns)

    assert handler.late.quantile_ns(1.0) > 0


def test_lateness_is_counted_by_doubling_steps():
    late = Lateness()
    for late_ns in [5_000] * 98 + [70_000, 3_000_000]:
        late.add(late_ns)

    assert late.quantile_ns(0.5) == 10_000
    assert late.quantile_ns(0.99) == 80_000
    assert late.quantile_ns(1.0) == 5_120_000
    assert Lateness().quantile_ns(0.5) == 0


# ---- commits -------------------------------------------------------------------------------------------------------


class Coordinator:
    """Stands for the client: answers commits, or raises what is next in line."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.committed: list[tuple[list[tuple[int, int]], bool]] = []

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        if self.errors:
            raise KafkaException(KafkaError(self.errors.pop(0)))
        self.committed.append(([(each.partition, each.offset) for each in offsets], asynchronous))
        return None if asynchronous else offsets


def commits_of(folder: Path, mode: str, client: Coordinator, every_ns: int = 0, leaving: bool = False) -> Commits:
    commits = Commits(client, mode, every_ns, rows_of(child_of(folder)), lambda: leaving)  # type: ignore[arg-type]  # a client by hand
    commits.begin(clock(), clock())
    return commits


def test_after_batch_commits_once_for_all_that_is_new(tmp_path: Path):
    client = Coordinator()
    commits = commits_of(tmp_path, "after_batch", client)

    assert [commits.event_done("orders", 0, number) for number in (3, 4)] == [False, False]
    assert commits.batch_done()
    assert commits.batch_done()

    assert client.committed == [([(0, 5)], False)]
    (row,) = rows(tmp_path)
    assert (row["kind"], row["event_id"], row["offset"], row["outcome"]) == (Kind.commit, NONE, 5, Outcome.ok)


def test_before_work_commits_what_is_not_handled_yet(tmp_path: Path):
    client = Coordinator()
    commits = commits_of(tmp_path, "before_work", client)

    commits.before_work({("orders", 0): 5})
    commits.event_done("orders", 0, 3)
    commits.handing_over()

    assert client.committed == [([(0, 5)], False)]


@pytest.mark.live
def test_a_synchronous_commit_waits_for_a_coordinator_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two answers that there is none, then one that there is: one commit, which took that long."""
    monkeypatch.setattr(member_commits, "_AGAIN_S", 0.01)
    commits = commits_of(tmp_path, "after_event", Coordinator(15, 16))

    assert commits.event_done("orders", 0, 3)

    (row,) = rows(tmp_path)
    assert row["outcome"] == Outcome.ok
    assert row["ended_ns"] - row["started_ns"] > 20 * MS


def test_a_commit_that_a_rebalance_has_passed_by_fails_and_is_made_up_for(tmp_path: Path):
    client = Coordinator(22)  # ILLEGAL_GENERATION
    commits = commits_of(tmp_path, "after_event", client)

    commits.event_done("orders", 0, 3)
    commits.event_done("orders", 0, 4)

    found = rows(tmp_path)
    assert found["outcome"].tolist() == [Outcome.failed, Outcome.ok]
    assert found["error"].tolist() == [22, 0]
    assert client.committed == [([(0, 5)], False)]


def test_every_commits_at_the_first_boundary_after_its_interval_without_waiting(tmp_path: Path):
    client = Coordinator()
    commits = commits_of(tmp_path, "every", client, every_ns=3600 * 1000 * MS)

    commits.event_done("orders", 0, 3)
    assert client.committed == []
    commits.due_ns = clock()
    commits.event_done("orders", 0, 4)
    commits.at_boundary()
    assert client.committed == [([(0, 5)], True)]
    assert len(rows(tmp_path)) == 0

    commits.answered(None, [TopicPartition("orders", 0, 5)])
    assert rows(tmp_path)["offset"].tolist() == [5]


def test_a_member_that_leaves_commits_what_is_finished_and_forgets_what_it_gave_up(tmp_path: Path):
    client = Coordinator()
    commits = commits_of(tmp_path, "every", client, every_ns=3600 * 1000 * MS)
    commits.event_done("orders", 0, 3)

    commits.handing_over()
    commits.forget([("orders", 0)])
    commits.handing_over()

    assert client.committed == [([(0, 4)], False)]


# ---- batches -------------------------------------------------------------------------------------------------------


def record(number: int, *, partition: int = 0, value: bytes | None = b"", topic: str = "orders") -> Message:
    """A record that a poll handed over; by default one of run 7."""
    own = encode(7, number, number, 10 * number, b"body") if value == b"" else value
    return Message(topic=topic, partition=partition, offset=number, key=b"k", value=own)


def batch_of(*records: Message, topics: dict[str, int] | None = None) -> Batch:
    return Batch(records, 7, topics or {"orders": 0})


def test_a_batch_leaves_out_what_other_people_wrote():
    batch = batch_of(
        record(1), record(2, value=b"short"), record(3, value=encode(8, 3, 3, 0, b"")), record(4, value=None)
    )

    assert batch.event_id.tolist() == [1]
    assert batch.event(0) == Event(1, 1, 10, "orders", 0, 1, b"k", encode(7, 1, 1, 10, b"body"))


@pytest.mark.parametrize("large", [100, 5000])
def test_a_batch_of_values_of_all_sizes_knows_its_events(large: int):
    """Short values are joined and cut together, long ones each by itself."""
    values = [encode(7, number, number, number, b"x" * (number * large // 3)) for number in range(4)]
    batch = batch_of(*(record(number, value=value) for number, value in enumerate(values)))

    assert batch.event_id.tolist() == batch.root_id.tolist() == batch.intended_ns.tolist() == [0, 1, 2, 3]
    assert batch.offset.tolist() == [0, 1, 2, 3]
    assert not batch.poison.any()


@pytest.mark.parametrize("topics", [{"orders": 0}, {"orders": 0, "orders.retry.1": 1}])
def test_a_batch_knows_where_each_partition_goes_on(topics: dict[str, int]):
    """Behind the last record of each partition, be there one topic or several; also of some of the records only."""
    batch = batch_of(*(record(number, partition=number % 3) for number in (4, 5, 6, 7)), topics=topics)

    assert batch.ends(0, 4) == {(0, 0): 7, (0, 1): 8, (0, 2): 6}
    assert batch.ends(1, 3) == {(0, 0): 7, (0, 2): 6}
    assert batch.ends(2, 2) == {}


def test_a_batch_knows_poison_topics_and_where_to_go_on():
    records = (
        record(1),
        record(2, partition=1),
        record(3, value=encode(7, 3, 3, 0, b"", poison=True)),
        record(4, topic="orders.dlq"),
    )
    batch = batch_of(*records, topics={"orders": 0, "orders.dlq": 1})

    assert batch.poison.tolist() == [False, False, True, False]
    assert batch.topic.tolist() == [0, 0, 0, 1]
    assert batch.ends(0, 4) == {(0, 0): 4, (0, 1): 3, (1, 0): 5}
    assert batch.ends(0, 1) == {(0, 0): 2}


def test_an_event_keeps_the_headers_that_are_about_it_and_not_those_of_one_copy():
    headers = [
        ("eventdrill-redriven", b"2"),
        ("eventdrill-attempt", b"3"),
        ("eventdrill-origin", b"orders/0/5"),
        ("traceparent", b"00"),
    ]
    own = encode(7, 5, 5, 0, b"")
    batch = batch_of(Message(topic="orders", partition=0, offset=9, key=None, value=own, headers=headers))

    assert batch.event(0).headers == (("eventdrill-redriven", b"2"),)
    assert (batch.event(0).attempt, batch.event(0).origin) == (3, "orders/0/5")


class Forwarded:
    """Stands for the brokers that take retry copies and dead letters."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def connect(self, topic: str) -> None:
        pass

    def send(self, topic: str, event: Event, headers: list[Any], partition: int | None = None) -> Any:
        assert len({name for name, _ in headers}) == len(headers)
        self.sent.append((topic, dict(headers)))
        return 0, 0, 0


@pytest.mark.parametrize("where", ["in_place", "topic"])
def test_what_is_said_of_an_event_goes_with_it_to_retry_topics_and_dead_letters(where: str, tmp_path: Path):
    """Ids beside a value of the user's own, and how often the event was redriven: else nobody would know either afterwards."""
    failures = {
        "retry": {"attempts": 2, "backoff_ns": 0, "factor": 1.0, "where": where},
        "then": "dead_letter",
        "dead_letter": "orders.dlq",
    }
    child = child_of(
        tmp_path, failures=failures, retry_topics={"orders": ["orders.retry.1"]}, retry_partitions={"orders": 6}
    )
    kept = (("eventdrill-id", b"4"), ("eventdrill-redriven", b"2"))
    forwarded: Any = Forwarded()
    letters = Letters(child, rows_of(child), forwarded)

    letters.retry(replace(event(4), headers=kept), 1, 50)
    letters.dead(replace(event(4), headers=kept), 0, 2, 0)

    (retry_topic, copy), (dead_topic, letter) = forwarded.sent
    assert (retry_topic, dead_topic) == ("orders.retry.1", "orders.dlq")
    assert {name: copy[name] for name, _ in kept} == {name: letter[name] for name, _ in kept} == dict(kept)
    assert (copy["eventdrill-attempt"], copy["eventdrill-due"]) == ("2", "50")
    assert letter["eventdrill-origin"] == copy["eventdrill-origin"] == "orders/0/4"


def test_rows_of_a_batch_are_those_of_its_events(tmp_path: Path):
    """Deliveries and effects that are written together hold what single ones hold."""
    child = child_of(tmp_path)
    own = rows_of(child)
    batch = batch_of(record(5), record(6, partition=2))

    own.deliveries(batch, 3, 100)
    own.effects(batch, 1, 2, 3, 200)
    own.tried(batch.event(1), 3, 1, 200, 200, None, ok=True)
    found = rows(tmp_path)

    assert found["kind"].tolist() == [Kind.delivery, Kind.delivery, Kind.try_, Kind.try_]
    assert found["event_id"].tolist() == [5, 6, 6, 6]
    assert found["started_ns"].tolist() == [100, 100, 200, 200]
    assert found["attempt"].tolist() == [0, 0, 1, 1]
    assert found[2] == found[3]


def test_effects_of_a_batch_that_another_one_has_followed_are_its_own(tmp_path: Path):
    """Rows of deliveries are taken up again for effects of the same batch only."""
    own, first, second = rows_of(child_of(tmp_path)), batch_of(record(5), record(6)), batch_of(record(8))
    own.deliveries(first, 3, 100)
    own.deliveries(second, 4, 150)
    own.effects(first, 0, 2, 3, 200)

    effects = rows(tmp_path)[3:]
    assert effects["event_id"].tolist() == [5, 6]
    assert effects["poll_id"].tolist() == [3, 3]


def test_only_events_without_work_that_cannot_fail_are_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ARRAYS, "work_ns", np.asarray([0, 0, 5, 0]))
    monkeypatch.setitem(ARRAYS, "failing_tries", np.asarray([0, 1, 0, 0], np.int16))
    slow = [{"begin_ns": 0, "end_ns": 10**18, "factor": 2.0}]
    batch = batch_of(record(0), record(1), record(2), record(3, value=encode(7, 3, 3, 0, b"", poison=True)))

    found = handler_of(child_of(tmp_path)).instant(batch)
    (tmp_path / "work-1.rows").unlink()
    in_a_slow_time = handler_of(child_of(tmp_path, slow=slow)).instant(batch)

    assert found is not None
    assert found.tolist() == [True, False, False, False]
    assert in_a_slow_time is None
