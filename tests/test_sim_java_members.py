"""How the Java client reads and commits, beside librdkafka, in both models: cases worked out by hand."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import constant, ms
from rundata.indicators import measure_one
from rundata.rows import Kind
from scenarios.profiles import Profile


def burst(events: int, linger_ms: int = 5) -> dict[str, Any]:
    """Return a producer of so many events within a millisecond, and none after that."""
    parts = [{"for": "1ms", "rate": f"{events}000/s", "spacing": "even"}, {"for": "999ms", "rate": "0/s"}]
    return {"topic": "a", "share": "arrivals", "arrivals": parts, "settings": {"linger.ms": linger_ms}}


@in_both_models
@pytest.mark.parametrize(
    ("client", "delivered_ms"),
    [("librdkafka", [0.05, *[10.05] * 9]), ("java", [0.05, 10.05, *[20.05] * 8])],
)
def test_a_java_member_fetches_one_answer_ahead_of_its_work(run: Run, client: str, delivered_ms: list[float]) -> None:
    """Ten events, one every 0.1 ms, 10 ms of work each: librdkafka has the other nine after the first one's work.

    Java's second fetch is answered with the second event, and the third one waits for the call that takes it.
    """
    data = run(producers__p=burst(10, linger_ms=0), groups__g={"topics": ["a"], "work": "10ms", "client": client})

    assert ms(data, Kind.delivery) == delivered_ms


@in_both_models
@pytest.mark.parametrize(("version", "last_ms"), [("3.9", 75.1), ("4.2", 85.1)])
def test_a_java_member_of_before_4_0_fetches_other_partitions_of_the_broker(
    run: Run, version: str, last_ms: float
) -> None:
    """Five events of a, 10 ms each, one per call, the first at 25.1 ms; one of b is there at 10 ms, and a fetch takes 20 ms.

    Until 3.9 the fetch for b goes out at 25.1 ms, beside what waits of a; since 4.0 when the last of that is taken, at 65.1 ms.
    """
    one = {
        "topic": "b",
        "arrivals": [{"for": "10ms", "rate": "100/s", "spacing": "even"}, {"for": "990ms", "rate": "0/s"}],
    }
    group = {
        "topics": ["a", "b"], "work": "10ms", "client": "java", "version": version,
        "settings": {"max.poll.records": 1},
    }  # fmt: skip
    profile = Profile(profile="slow fetches", fetch=constant(20), phases="aligned")
    data = run(
        profile, brokers={"kind": "kafka", "nodes": 1}, topics={"a": {}, "b": {}}, groups__g=group,
        producers={"p": burst(5), "q": one},
    )  # fmt: skip

    assert ms(data, Kind.delivery) == [25.1, 35.1, 45.1, 55.1, 65.1, last_ms]


@in_both_models
@pytest.mark.parametrize(
    ("client", "delivered_ms"),
    [("librdkafka", [5.05] * 10), ("java", [at for at in (5.05, 25.05, 45.05, 65.05, 85.05) for _ in range(2)])],
)
def test_an_answer_holds_what_max_partition_fetch_bytes_lets_in(
    run: Run, client: str, delivered_ms: list[float]
) -> None:
    """250 B a partition, 100 B an event: two a fetch. librdkafka's next fetch follows at once, Java's when these are taken."""
    name = "fetch.message.max.bytes" if client == "librdkafka" else "max.partition.fetch.bytes"
    group = {"topics": ["a"], "work": "10ms", "client": client, "settings": {name: 250}}
    data = run(producers__p=burst(10), groups__g=group)

    assert ms(data, Kind.delivery) == delivered_ms


@in_both_models
@pytest.mark.parametrize("client", ["librdkafka", "java"])
def test_a_fetch_waits_for_its_least_bytes_or_its_time(run: Run, client: str) -> None:
    """100 B every 100 ms from 55 ms on. 1000 B never come within 500 ms; 250 B have come with every third event."""
    little = {"topics": ["a"], "work": "0ms", "client": client, "settings": {"fetch.min.bytes": 1000}}
    more = {"topics": ["a"], "work": "0ms", "client": client, "settings": {"fetch.min.bytes": 250}}

    assert ms(run(groups__g=little), Kind.delivery) == [500.0] * 5 + [1000.0] * 5
    assert ms(run(groups__g=more), Kind.delivery) == [255.0] * 3 + [555.0] * 3 + [855.0] * 3 + [1355.0]


@in_both_models
@pytest.mark.parametrize(("client", "passed", "again"), [("librdkafka", 246, 0), ("java", 0, 500)])
def test_javas_auto_commit_repeats_what_librdkafkas_loses(run: Run, client: str, passed: int, again: int) -> None:
    """500 handed over at once, 20 ms each; due after 5 s, killed at 5.1 s. Java would commit at its next call, which never comes."""
    parts = [{"for": "1ms", "rate": "500000/s", "spacing": "even"}, {"for": "5999ms", "rate": "0/s"}]
    data = run(
        producers__p={"topic": "a", "share": "arrivals", "arrivals": parts},
        groups__g={"topics": ["a"], "work": "20ms", "commit": "auto", "client": client},
        faults=[{"fault": "member_crash", "member": "g/1", "at": "5.1s", "for": "1s"}],
        duration="6s", drain="100s",
    )  # fmt: skip

    assert measure_one(data, "passed").value == passed
    assert measure_one(data, "duplicate_deliveries").value == again


def one_that_collects(client: str) -> dict[str, Any]:
    """Return a group whose calls take 500 events or what comes within 10 s, and commit by themselves every 5 s."""
    return {
        "topics": ["a"], "work": "1ms", "commit": "auto", "client": client, "members": 1,
        "reads": {"collect": {"events": 500, "timeout": "10s"}},
    }  # fmt: skip


@in_both_models
@pytest.mark.parametrize(("client", "passed"), [("librdkafka", 0), ("java", 50)])
def test_javas_auto_commit_covers_what_a_member_still_collects(run: Run, client: str, passed: int) -> None:
    """Ten events a second, killed at 6 s: of the first 5 s Java's polls have returned 50, which the next one commits, and nobody has handled."""
    data = run(
        producers__p={"topic": "a", "share": "arrivals", "arrivals": {"rate": "10/s", "spacing": "even"}},
        groups__g=one_that_collects(client), duration="8s", drain="100s",
        faults=[{"fault": "member_crash", "member": "g/1", "at": "6s", "for": "1s"}],
    )  # fmt: skip

    assert measure_one(data, "passed").value == passed


@in_both_models
def test_a_poll_commits_what_exceeds_the_number_to_collect(run: Run) -> None:
    """Five events at once, two to collect, 3 s of work each. One poll returns all five, so that there is none at 6 s, when it is due, but at 12 s.

    With `max.poll.records` 2 a poll returns two: the first two are committed at 6 s, the next two at 12 s, the last one at the end.
    """
    committed: list[list[tuple[int, float]]] = []
    for settings in ({}, {"max.poll.records": 2}):
        collect = {"collect": {"events": 2, "timeout": "1s"}}
        group = one_that_collects("java") | {"work": "3s", "settings": settings, "reads": collect}
        data = run(producers__p=burst(5), groups__g=group, duration="1s", drain="100s")
        commits = data.operations[data.operations["kind"] == int(Kind.commit)]
        committed.append([(int(row["offset"]), round(int(row["ended_ns"]) / 1e9, 1)) for row in commits])

    assert committed == [[(5, 12.0)], [(2, 6.0), (4, 12.0), (5, 16.0)]]


@in_both_models
def test_a_member_that_leaves_handles_what_javas_polls_have_returned(run: Run) -> None:
    """Ten events a second, and it leaves at 3 s: the thirty that it has are delivered then, before its client commits them."""
    data = run(
        producers__p={"topic": "a", "share": "arrivals", "arrivals": {"rate": "10/s", "spacing": "even"}},
        groups__g=one_that_collects("java"), duration="4s", drain="100s",
        faults=[{"fault": "member_leave", "member": "g/1", "at": "3s", "for": "500ms"}],
    )  # fmt: skip

    assert ms(data, Kind.delivery)[:31].count(3000.0) == 30
    assert measure_one(data, "passed").value == 0


@in_both_models
@pytest.mark.parametrize(("client", "seconds"), [("librdkafka", 60.5), ("java", 30.0)])
def test_a_member_gives_a_silent_leader_up_after_its_clients_time(run: Run, client: str, seconds: float) -> None:
    """The leader hangs from 1 s to 81 s, another one leads from 10 s on, and a Java producer turns to it when its own 30 s are over.

    With aligned phases the fetch was sent at 1 s: Java waits 30 s, librdkafka 60 s and the fetch's own 0.5 s.
    """
    data = run(
        groups__g={"topics": ["a"], "work": "1ms", "client": client},
        producers__p__client="java",
        faults=[{"fault": "broker_pause", "broker": "leader of a/0", "at": "1s", "for": "80s"}],
        duration="40s", drain="100s",
    )  # fmt: skip

    late_ms = [at for at in ms(data, Kind.delivery) if at > 1000]
    assert 1000 * (1 + seconds) <= min(late_ms) < 1000 * (1 + seconds) + 200


@in_both_models
@pytest.mark.parametrize(
    ("client", "protocol", "work_ms", "begun_ms"),
    [
        ("java", "consumer", 1, [20, 65, 110, 155]),
        ("java", "consumer", 8, [20, 68, 118, 168]),
        ("java", "classic", 1, [20, 40, 60, 80, 100, 120, 140, 160, 180]),
        ("librdkafka", "consumer", 1, [20, 40, 60, 80, 100, 120, 140, 160, 180]),
    ],
)
def test_javas_new_consumer_makes_one_auto_commit_at_a_time(
    run: Run, client: str, protocol: str, work_ms: int, begun_ms: list[float]
) -> None:
    """A commit takes 45 ms and is due every 20 ms: at 65 ms the first one is answered, and the member in a call makes the next one at once.

    Events come every 10 ms from 10 ms on; with 8 ms of work the member is at work then, and commits at its next call. The others commit every 20 ms.
    """
    group = {
        "topics": ["a"], "work": f"{work_ms}ms", "commit": "auto", "client": client,
        "settings": {"auto.commit.interval.ms": 20, "group.protocol": protocol},
    }  # fmt: skip
    data = run(
        Profile(profile="slow commits", commit=constant(45)), duration="200ms", groups__g=group,
        producers__p={"topic": "a", "share": "arrivals", "arrivals": {"rate": "100/s", "spacing": "even"}},
    )  # fmt: skip

    assert ms(data, Kind.commit, "started_ns")[: len(begun_ms)] == begun_ms
    assert ms(data, Kind.commit)[0] == 65
