"""`commit: transaction` in both models: what readers of committed records see, and when. Cases worked out by hand."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import constant, ms
from rundata.checks import check
from rundata.indicators import measure_one
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.profiles import Profile

COMMITS = Profile(profile="commits take time", commit=constant(5), phases="aligned")


AWAKE = Profile(profile="wakes and commits take time", commit=constant(5), wake=constant(1), phases="aligned")
COORDINATOR_DOWN = {"fault": "broker_crash", "broker": 3, "for": "60s"}
"""Broker 3 leads partition 2 of 5 of `__transaction_state`, which is that of the id `g-1`, and nothing else."""


def chain(events: int, **changes: Any) -> dict[str, Any]:
    """Return a burst of events at 5 ms, each worked on for 10 ms and answered by one in `out`, which two groups read."""
    parts = [{"for": "1ms", "rate": f"{events}000/s", "spacing": "even"}, {"for": "999ms", "rate": "0/s"}]
    emits = {"topic": "out", "settings": {"linger.ms": 0, **changes.pop("emits", {})}}
    reader = {"topics": ["out"], "work": "0ms"}
    return {
        "topics__out": {"partitions": 1, "replication": 3},
        "producers__p": {"topic": "a", "share": "arrivals", "arrivals": parts},
        "groups": {
            "g": {"topics": ["a"], "work": "10ms", "commit": "transaction", "emits": emits, **changes.pop("group", {})},
            "committed": {**reader, "settings": {"isolation.level": "read_committed"}},
            "all": {**reader, "settings": {"isolation.level": "read_uncommitted"}},
        },
        **changes,
    }


def seen_ms(run: RunData, group: int) -> list[float]:
    """Return when a group got what is in `out`."""
    return ms(run, Kind.delivery, group=group)


@in_both_models
def test_readers_of_committed_records_wait_for_the_commit_and_others_do_not(run: Run) -> None:
    """Two events, done at 15.25 and 25.25 ms; then the offsets take 5 ms and the end of the transaction as long."""
    data = run(COMMITS, **chain(2))

    assert seen_ms(data, 2) == [15.25, 25.25]
    assert seen_ms(data, 1) == [35.25, 35.25]
    assert ms(data, Kind.commit, group=0) == [35.25]
    tries = data.operations[data.operations["kind"] == Kind.try_]
    assert len({int(row["transaction_id"]) for row in tries if row["group"] == 0}) == 1


@in_both_models
def test_what_a_dead_member_had_not_committed_is_aborted_by_its_successor(run: Run) -> None:
    """Ten events; it dies at 40 ms after three, is back at 90 ms, and has its partition again when its session is over.

    The three are seen by those who read everything only; all ten take effect once.
    """
    crash = {"fault": "member_crash", "member": "g/1", "at": "40ms", "for": "50ms"}
    data = run(**chain(10, faults=[crash], drain="60s"))

    out = data.log[data.log["topic"] == data.names.topics.index("out")]
    assert out["aborted"].tolist() == [1] * 3 + [0] * 10
    assert len(seen_ms(data, 2)) == 13
    assert seen_ms(data, 1) == [45_140.0] * 10
    assert measure_one(data, "duplicate_effects[g]").value == 0
    undone = data.operations[(data.operations["kind"] == Kind.try_) & (data.operations["outcome"] == Outcome.unknown)]
    assert len(undone) == 3
    checks = check(data)
    assert (checks["transaction_atomicity"].valid, checks["conservation"].valid) == (True, True)
    assert checks["aborted_reads"].count == 3


@in_both_models
@pytest.mark.parametrize(
    ("timeout_ms", "faults", "seen_at_ms"),
    [(60_000, [], 70_000.0), (7_000, [], 10_000.0), (7_000, [COORDINATOR_DOWN | {"at": "5500ms"}], 20_000.0)],
)
def test_a_member_that_hangs_in_a_transaction_blinds_readers_until_its_coordinator_aborts_it(
    run: Run, timeout_ms: int, faults: list[dict[str, Any]], seen_at_ms: float
) -> None:
    """It hangs from 20 ms to 100 s with one event sent, another producer writes behind it at 5 s.

    The transaction began at 5.17 ms; the coordinator looks every 10 s, unless there is none (from 5.5 to 14.5 s in the last case). Who reads
    everything sees the other event at once.
    """
    pause = {"fault": "member_pause", "member": "g/1", "at": "20ms", "for": "100s"}
    late = {"topic": "out", "share": "arrivals"}
    late["arrivals"] = [{"for": "4s", "rate": "0/s"}, {"for": "2s", "rate": "0.5/s", "spacing": "even"}]
    changes = chain(
        3, faults=[pause, *faults], duration="6s", drain="120s", emits={"transaction.timeout.ms": timeout_ms}
    )
    changes["producers__p"]["arrivals"][1]["for"] = "5999ms"
    data = run(**changes, producers__q=late)

    assert [at for at in seen_ms(data, 2) if at < 90_000] == [pytest.approx(15.17, abs=0.01), 5005.0]
    assert seen_ms(data, 1)[0] == seen_at_ms


@in_both_models
def test_a_transaction_of_somebody_who_is_no_member_any_more_fails(run: Run) -> None:
    """Two events of 20 s with 30 s to call again: evicted in its batch, whose commit fails; it joins again and does both once more."""
    settings = {"max.poll.interval.ms": 30_000, "session.timeout.ms": 10_000}
    data = run(**chain(2, group={"settings": settings, "work": "20s"}, drain="60s"))

    assert ms(data, Kind.commit, "ended_ns", group=0, outcome=int(Outcome.failed)) == [40_005.25]
    assert seen_ms(data, 1) == []
    assert measure_one(data, "duplicate_effects[g]").value == 0


@in_both_models
def test_a_commit_waits_until_the_coordinator_of_transactions_is_found(run: Run) -> None:
    """Two events, done at 26.25 ms; broker 3 dies at 30 ms, while the commit takes 10. There is another coordinator at 9030 ms.

    The producer of the transactions tries to connect at 30 ms, and 75, 150, 300 ms and so on later: at 4755 and 9555 ms. The commit begins anew.
    """
    alone = {"partitions": 1, "replication": 1}
    changes = chain(2, faults=[COORDINATOR_DOWN | {"at": "30ms"}], drain="60s") | {"topics": {"a": alone, "out": alone}}
    del changes["topics__out"]
    data = run(AWAKE, **changes)

    assert ms(data, Kind.commit, group=0) == [9565.0]
    assert seen_ms(data, 2) == [17.25, 27.25]
    assert seen_ms(data, 1) == [9566.0, 9566.0]


# ---- producers with a transactional.id -----------------------------------------------------------------------------

PRODUCES = Profile(profile="sends and commits take time", produce=constant(4), commit=constant(5), phases="aligned")


def sending(**changes: Any) -> dict[str, Any]:
    """Return four events, due at 1.25, 3.75, 6.25 and 8.75 ms, of a producer with a transactional.id, and two groups that read them."""
    parts = [{"for": "10ms", "rate": "400/s", "spacing": "even"}, {"for": "990ms", "rate": "0/s"}]
    settings = {"transactional.id": "p", **changes.pop("settings", {})}
    reader = {"topics": ["a"], "work": "0ms"}
    return {
        "producers__p": {"topic": "a", "share": "arrivals", "arrivals": parts, "settings": settings},
        "groups": {
            "committed": {**reader, "settings": {"isolation.level": "read_committed"}},
            "all": {**reader, "settings": {"isolation.level": "read_uncommitted"}},
        },
        **changes,
    }


@in_both_models
def test_what_is_due_while_a_producer_commits_is_its_next_transaction(run: Run) -> None:
    """A commit takes 5 ms: the first event's ends at 6.25 ms; the next two are due by then, the last one by the end of theirs."""
    data = run(COMMITS, **sending())

    assert ms(data, Kind.send) == [6.25, 11.25, 11.25, 16.25]
    assert ms(data, Kind.send, "started_ns") == [1.25, 6.25, 6.25, 11.25]
    assert seen_ms(data, 0) == [6.25, 11.25, 11.25, 16.25]
    assert seen_ms(data, 1) == [1.25, 6.25, 6.25, 11.25]
    assert data.operations[data.operations["kind"] == Kind.send]["transaction_id"].tolist() == [0, 1, 1, 2]
    assert check(data)["transaction_atomicity"].valid


@in_both_models
def test_what_a_dead_producer_had_open_is_aborted_by_its_successor(run: Run) -> None:
    """It dies at 3 ms, its first event is in the log at 5.25 ms, and it is back at 53 ms: that one is never committed, the others at 62 ms."""
    crash = {"fault": "producer_crash", "producer": "p", "at": "3ms", "for": "50ms"}
    data = run(PRODUCES, **sending(faults=[crash]))

    assert ms(data, Kind.send, outcome=int(Outcome.ok)) == [62.0] * 3
    assert ms(data, Kind.send, "started_ns", outcome=int(Outcome.unknown)) == [1.25]
    assert data.log["aborted"].tolist() == [1, 0, 0, 0]
    assert seen_ms(data, 0) == [62.0] * 3
    assert seen_ms(data, 1) == [5.25, 57.0, 57.0, 57.0]
    checks = check(data)
    assert (checks["transaction_atomicity"].valid, checks["conservation"].valid, checks["lost"].valid) == (True,) * 3


@in_both_models
@pytest.mark.parametrize(("timeout_ms", "seen_at_ms"), [(60_000, 70_000.0), (7_000, 10_000.0)])
def test_a_producer_that_hangs_in_a_transaction_blinds_readers_until_its_coordinator_aborts_it(
    run: Run, timeout_ms: int, seen_at_ms: float
) -> None:
    """It hangs from 3 ms to 100 s; another one writes at 5 s. Its commit fails, and what was due meanwhile is its next transaction."""
    pause = {"fault": "producer_pause", "producer": "p", "at": "3ms", "for": "99997ms"}
    other = {"topic": "a", "share": "arrivals", "settings": {"linger.ms": 0}}
    other["arrivals"] = [{"for": "4s", "rate": "0/s"}, {"for": "2s", "rate": "0.5/s", "spacing": "even"}]
    settings = {"transaction.timeout.ms": timeout_ms}
    changes = sending(faults=[pause], duration="6s", drain="120s", settings=settings, producers__q=other)
    changes["producers__p"]["arrivals"][1]["for"] = "5990ms"
    data = run(PRODUCES, **changes)

    assert seen_ms(data, 0) == [seen_at_ms, *[100_009.0] * 3]
    assert seen_ms(data, 1) == [5.25, 5004.0, *[100_004.0] * 3]
    assert ms(data, Kind.send, outcome=int(Outcome.failed)) == [100_000.0]
    assert ms(data, Kind.send, outcome=int(Outcome.ok)) == [5004.0, *[100_009.0] * 3]


@in_both_models
def test_a_producer_commits_when_it_has_found_the_coordinator(run: Run) -> None:
    """Broker 2 leads partition 1 of 5, that of the id p-1, and dies at 3 ms in the first commit; the fence comes at 9003 ms."""
    crash = {"fault": "broker_crash", "broker": 2, "at": "3ms", "for": "60s"}
    data = run(COMMITS, **sending(faults=[crash], topics={"a": {"partitions": 1, "replication": 1}}, drain="60s"))

    assert ms(data, Kind.send) == [9008.0, *[9013.0] * 3]


@in_both_models
@pytest.mark.parametrize(
    ("client", "full", "ended_ms"),
    [
        ("librdkafka", {"queue.buffering.max.messages": 1}, [10.25, 19.25]),
        ("java", {"buffer.memory": 150, "max.block.ms": 0}, [10.25]),
    ],
)
def test_a_call_that_javas_client_refuses_breaks_its_transaction(
    run: Run, client: str, full: dict[str, Any], ended_ms: list[float]
) -> None:
    """Three events of 100 B are handed over at 10.25 ms, and there is room for one: librdkafka's transaction goes on without the others."""
    changes = sending(settings=full)
    changes["producers__p"] |= {"client": client, "size": "100B"}
    data = run(PRODUCES, **changes)

    assert ms(data, Kind.send, outcome=int(Outcome.ok)) == ended_ms
    refused_ms = ms(data, Kind.send, outcome=int(Outcome.failed))
    assert sorted(refused_ms) == [10.25] * 2 + [14.25] * (client == "java")
    assert data.log["aborted"].tolist() == [0, client == "java"]


@in_both_models
def test_a_transaction_commits_where_its_reader_stands_in_a_retry_topic_behind_what_was_deleted(run: Run) -> None:
    """Every event fails once, and its copy is due 10 s later. Topics keep 100 ms: the first copy is deleted while the member is away, from 0.3 s to 1 s.

    It is back, finds that its place in the retry topic is gone, and reads on behind that. The second event comes at 1.23 s; its copy can be read at 1.25 s,
    when its transaction is committed, and is not due for long. So nothing of the retry topic is handed over, but the third event's transaction commits
    the place behind what was deleted.
    """
    one = {"for": "100ms", "rate": "10/s", "spacing": "even"}
    two = {"for": "100ms", "rate": "20/s", "spacing": "even"}
    parts = [one, {"for": "1100ms", "rate": "0/s"}, two, {"for": "700ms", "rate": "0/s"}]
    retry = {"attempts": 2, "backoff": "10s", "where": "topic"}
    failures = {"then": "skip", "retry": retry, "transient": {"chance": "100%", "attempts": 1}}
    data = run(
        COMMITS, duration="2s", drain="20s",
        brokers__settings={"log.retention.check.interval.ms": 50, "group.initial.rebalance.delay.ms": 0},
        topics__a={"partitions": 1, "settings": {"retention.ms": 100, "segment.ms": 1}},
        producers__p={"topic": "a", "share": "arrivals", "arrivals": parts},
        groups__g={"topics": ["a"], "work": "10ms", "commit": "transaction", "failures": failures},
        faults=[{"fault": "member_leave", "member": "g/1", "at": "300ms", "for": "700ms"}],
    )  # fmt: skip
    commits = data.operations[data.operations["kind"] == Kind.commit]
    where = [(data.names.topics[row["topic"]], int(row["offset"])) for row in commits]
    assert where[:4] == [("a", 1), ("a", 2), ("a", 3), ("a.retry.1", 1)]
    assert ms(data, Kind.commit)[:4] == [75, 1250, 1300, 1300]


@in_both_models
def test_javas_transaction_takes_nothing_more_after_a_refusal(run: Run) -> None:
    """The second of three events at 10.25 ms is too large; the third one would have room, and librdkafka's would be committed."""
    ended_ms = {}
    for client, limit in (("librdkafka", "message.max.bytes"), ("java", "max.request.size")):
        changes = sending(settings={limit: 1000 if client == "librdkafka" else 300})
        changes["producers__p"] |= {"client": client, "size": "100B"}
        changes["faults"] = [
            {"fault": "oversized", "producer": "p", "events": 1, "size": "2KiB", "at": "5ms", "for": "3ms"}
        ]
        data = run(PRODUCES, **changes)
        ended_ms[client] = ms(data, Kind.send, outcome=int(Outcome.ok))

    assert ended_ms == {"librdkafka": [10.25, 19.25, 19.25], "java": [10.25]}


@in_both_models
def test_librdkafkas_transaction_after_one_with_a_batch_that_was_too_large_is_aborted_too(run: Run) -> None:
    """The first event is larger than max.message.bytes, the second one's sequence number follows it: out of order. The third one is committed."""
    topics = {"a": {"partitions": 1, "settings": {"max.message.bytes": 400}}}
    changes = sending(topics=topics)
    changes["producers__p"] |= {"size": "100B"}
    changes["faults"] = [
        {"fault": "oversized", "producer": "p", "events": 1, "size": "500B", "at": "0ms", "for": "3ms"}
    ]
    data = run(PRODUCES, **changes)

    assert ms(data, Kind.send, outcome=int(Outcome.failed)) == [1.25, 3.75]
    assert ms(data, Kind.send, outcome=int(Outcome.ok)) == [15.25, 24.25]
