"""What producers do when nothing answers, in both models: cases worked out by hand."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import constant, ms
from rundata.rows import Kind, Outcome
from scenarios.profiles import Profile

BOTH_FOLLOWERS = [
    {"fault": "broker_crash", "broker": 2, "at": "100ms", "for": "60s"},
    {"fault": "broker_crash", "broker": 3, "at": "100ms", "for": "60s"},
]


@in_both_models
def test_a_leader_without_followers_answers_with_an_error_after_30_s_and_the_event_is_sent_again(run: Run) -> None:
    """Event 1 is served at 155 ms and fails at 30155; by then too few are in sync, and what stood behind it is refused until they are back at 60.1 s."""
    data = run(faults=BOTH_FOLLOWERS, drain="80s")

    # Sent again after 0.1, 0.2, 0.4, 0.8 and 1 s each: 30.655, 31.455, 32.455 and so on.
    assert data.log["event_id"].tolist() == [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert ms(data, Kind.send)[1:] == [60_655.0] * 9
    assert data.operations["offset"][data.operations["kind"] == Kind.send].tolist() == [0, *range(2, 11)]


@in_both_models
def test_with_idempotence_the_same_happens_and_each_event_is_there_once(run: Run) -> None:
    """What the log has already is answered with its old offset."""
    settings = {"enable.idempotence": True}
    data = run(faults=BOTH_FOLLOWERS, drain="80s", producers__p__settings=settings)

    assert list(range(10)) == data.log["event_id"].tolist()
    assert data.operations["offset"][data.operations["kind"] == Kind.send].tolist() == list(range(10))


@in_both_models
def test_an_event_is_given_up_when_its_delivery_timeout_is_over(run: Run) -> None:
    """Handed over at 150, 250 ... ms and never answered within 5 s: unknown, though event 1 is in the log and has its effect later."""
    settings = {"delivery.timeout.ms": 5000, "enable.idempotence": True}
    data = run(faults=BOTH_FOLLOWERS, drain="80s", producers__p__settings=settings)

    assert ms(data, Kind.send) == [55.0, *[5150.0 + 100 * n for n in range(9)]]
    assert ms(data, Kind.send, outcome=Outcome.unknown) == [5150.0 + 100 * n for n in range(9)]
    assert data.log["event_id"].tolist() == [0, 1]
    assert len(ms(data, Kind.try_)) == 2


@in_both_models
def test_a_connection_that_does_not_answer_in_time_is_given_up_with_everything_on_it(run: Run) -> None:
    """Requests of 300 ms and a timeout of 250: none is ever answered in time, and each is appended again and again."""
    settings = {"socket.timeout.ms": 250, "delivery.timeout.ms": 900, "retry.backoff.ms": 100}
    data = run(
        Profile(profile="slow", produce=constant(300), produce_leader=constant(1), phases="aligned"),
        producers__p={"topic": "a", "arrivals": {"rate": "1/s", "spacing": "even"}, "share": "arrivals", "settings": settings},
    )  # fmt: skip

    # Handed over at 500 and sent at 505; given up at 755, sent again at 855, given up at 1105, waits 200, sent at 1305, given up at 1400.
    assert ms(data, Kind.send) == [1400.0]
    assert data.log["event_id"].tolist() == [0, 0, 0]


HANGING_LEADER = [{"fault": "broker_pause", "broker": "leader of a/0", "at": "0ms", "for": "20s"}]


@in_both_models
def test_librdkafka_gives_up_on_a_silent_broker_when_it_looks_for_requests_that_are_over_once_a_second(
    run: Run,
) -> None:
    """Five processes send within a second and give up at 12 s: each at its own instant of the next second, and is heard a backoff later."""
    producer = {
        "topic": "a",
        "count": 5,
        "arrivals": {"rate": "50/s", "spacing": "even"},
        "share": "arrivals",
        "settings": {"socket.timeout.ms": 12_000},
    }
    data = run(Profile(profile="chance"), faults=HANGING_LEADER, drain="30s", producers__p=producer)

    sends = data.operations[data.operations["kind"] == Kind.send]
    first = [sends[sends["process"] == process][0] for process in range(5)]
    waits_ms = [(send["ended_ns"] - send["started_ns"]) / 1e6 - 12_005 for send in first]
    assert all(80 <= wait <= 1_120 for wait in waits_ms)
    assert max(waits_ms) - min(waits_ms) > 120


def java_that_waits(timeout_ms: int) -> dict[str, Any]:
    """Return a Java producer of ten events/s that gives up on a request after a while."""
    arrivals = {"rate": "10/s", "spacing": "even"}
    settings = {"request.timeout.ms": timeout_ms}
    return {"topic": "a", "client": "java", "arrivals": arrivals, "share": "arrivals", "settings": settings}


@in_both_models
def test_java_gives_up_at_once_and_does_not_wait_before_it_sends_to_a_new_leader(run: Run) -> None:
    """Sent at 55 ms and given up 12 s later, when another broker leads since 9 s: acknowledged at that instant."""
    data = run(faults=HANGING_LEADER, drain="30s", producers__p=java_that_waits(12_000))

    assert ms(data, Kind.send)[0] == 12_055.0


@in_both_models
def test_java_waits_before_it_sends_to_the_same_leader_again(run: Run) -> None:
    """Given up after a second, when nobody else leads: sent there again a backoff later, and again, until the broker goes on."""
    faults = [{**HANGING_LEADER[0], "for": "1500ms"}]
    data = run(faults=faults, drain="30s", producers__p=java_that_waits(1_000))

    assert ms(data, Kind.send)[0] == 1_500.0
    assert len(data.log) == 10


@in_both_models
def test_one_request_in_flight_is_a_limit_per_connection_without_idempotence(run: Run) -> None:
    """Four events, 1 ms apart, in partitions 1, 0, 0, 1 of one broker: one request at a time, the lower partition first."""
    first_ms = {"for": "4ms", "rate": "1000/s", "spacing": "even"}
    producer = {
        "topic": "a", "share": "arrivals", "key": "sequence", "arrivals": [first_ms, {"for": "996ms", "rate": "0/s"}],
        "settings": {"max.in.flight.requests.per.connection": 1, "linger.ms": 0},
    }  # fmt: skip
    data = run(
        Profile(profile="slow", produce=constant(10), produce_leader=constant(10), phases="aligned"),
        brokers={"kind": "kafka", "nodes": 1},
        topics__a={"partitions": 3, "replication": 1},
        producers__p=producer,
    )

    sends = data.operations[data.operations["kind"] == Kind.send]
    assert sends["partition"].tolist() == [1, 0, 0, 1]
    assert ms(data, Kind.send) == [10.5, 20.5, 20.5, 30.5]


@in_both_models
def test_with_idempotence_librdkafka_counts_events_in_flight_in_however_few_requests(run: Run) -> None:
    """20 events, 1 ms apart, one request of 10 ms at a time: five go alone; the next six go together at the first answer, the rest when those are answered."""
    producer = {
        "topic": "a", "share": "arrivals", "settings": {"enable.idempotence": True, "linger.ms": 0},
        "arrivals": [{"for": "20ms", "rate": "1000/s", "spacing": "even"}, {"for": "980ms", "rate": "0/s"}],
    }  # fmt: skip
    data = run(
        Profile(profile="slow", produce=constant(10), produce_leader=constant(10), phases="aligned"),
        brokers={"kind": "kafka", "nodes": 1},
        topics__a={"partitions": 1, "replication": 1},
        producers__p=producer,
    )

    assert ms(data, Kind.send) == [10.5, 20.5, 30.5, 40.5, 50.5, *[60.5] * 6, *[70.5] * 9]


# ---- the Java client -----------------------------------------------------------------------------------------------

FOUR_MS = [{"for": "4ms", "rate": "1000/s", "spacing": "even"}, {"for": "996ms", "rate": "0/s"}]


def java(**more: Any) -> dict[str, Any]:
    """Return a Java producer of four events, 1 ms apart, from 0.5 ms on."""
    return {"topic": "a", "client": "java", "share": "arrivals", "key": "sequence", "arrivals": FOUR_MS, **more}


@in_both_models
def test_a_java_request_takes_the_oldest_batch_of_each_partition_of_its_broker(run: Run) -> None:
    """Partitions 4, 3, 0 and 1: the first event's linger of 5 ms is over at 5.5, and all go in one request of 10 ms."""
    data = run(
        Profile(profile="slow", produce=constant(10), produce_leader=constant(10), phases="aligned"),
        brokers={"kind": "kafka", "nodes": 1},
        topics__a={"partitions": 6, "replication": 1},
        producers__p=java(),
    )

    assert len(set(data.operations["partition"][data.operations["kind"] == Kind.send].tolist())) > 1
    assert ms(data, Kind.send) == [15.5] * 4


@in_both_models
def test_a_java_call_waits_for_room_and_then_fails(run: Run) -> None:
    """A buffer of two events of 100 B and requests of 200 ms: the third call of 2.5 ms waits 150 ms in vain, and the fourth until 205.5."""
    settings = {"buffer.memory": 200, "max.block.ms": 150, "max.request.size": 200}
    data = run(
        Profile(profile="slow", produce=constant(200), produce_leader=constant(200), phases="aligned"),
        brokers={"kind": "kafka", "nodes": 1},
        topics__a={"partitions": 1, "replication": 1},
        producers__p=java(settings=settings),
    )

    assert ms(data, Kind.send, "started_ns") == [0.5, 1.5, 2.5, 152.5]
    assert ms(data, Kind.send) == [205.5, 205.5, 152.5, 410.5]
    assert ms(data, Kind.send, outcome=Outcome.failed) == [152.5]
    assert data.log["event_id"].tolist() == [0, 1, 3]


@in_both_models
def test_librdkafka_refuses_at_once_what_does_not_fit_into_its_queue(run: Run) -> None:
    """Room for two: the others are refused at 2.5 and 3.5 ms."""
    settings = {"queue.buffering.max.messages": 2}
    data = run(topics__a={"partitions": 1, "replication": 1}, producers__p=java(client="librdkafka", settings=settings))

    assert ms(data, Kind.send) == [5.5, 5.5, 2.5, 3.5]
    assert ms(data, Kind.send, outcome=Outcome.failed) == [2.5, 3.5]


@in_both_models
def test_java_before_4_0_does_not_linger(run: Run) -> None:
    """Each event goes alone."""
    data = run(topics__a={"partitions": 1, "replication": 1}, producers__p=java(version="3.9"))

    assert ms(data, Kind.send) == [0.5, 1.5, 2.5, 3.5]


@in_both_models
def test_java_stays_on_a_partition_for_a_batch_of_bytes(run: Run) -> None:
    """Without keys and with batches of 200 B: two events of 100 B each go to one partition, then the next is drawn."""
    producer = java(key="none", settings={"batch.size": 200}, arrivals={"rate": "100/s", "spacing": "even"})
    data = run(topics__a={"partitions": 50, "replication": 1}, producers__p=producer)

    partitions = data.operations["partition"][data.operations["kind"] == Kind.send].tolist()
    assert partitions[::2] == partitions[1::2]
    assert len(set(partitions)) > 20


# ---- events and processes that are disturbed -----------------------------------------------------------------------


def disturbed(kind: str, **more: Any) -> list[dict[str, Any]]:
    """Return a fault of the producer from 200 ms to 500 ms."""
    return [{"fault": kind, "producer": "p", "at": "200ms", "for": "300ms", **more}]


@in_both_models
def test_a_late_event_is_handed_over_later_and_the_others_are_not(run: Run) -> None:
    """Those intended at 250, 350 and 450 ms come 220 ms later."""
    data = run(faults=disturbed("late", share="100%", by="220ms"))

    assert ms(data, Kind.send, "started_ns") == [50, 150, 470, 550, 570, 650, 670, 750, 850, 950]
    assert data.log["event_id"].tolist() == [0, 1, 2, 5, 3, 6, 4, 7, 8, 9]


@in_both_models
def test_an_event_that_is_sent_again_is_another_record_also_for_an_idempotent_producer(run: Run) -> None:
    """Those intended at 250, 350 and 450 ms are there twice, 20 ms apart."""
    settings = {"enable.idempotence": True}
    data = run(faults=disturbed("duplicates", share="100%", after="20ms"), producers__p__settings=settings)

    assert data.log["event_id"].tolist() == [0, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9]
    assert ms(data, Kind.send, event_id=3) == [355.0, 375.0]


@in_both_models
def test_an_event_that_is_too_large_for_the_client_is_refused_at_once(run: Run) -> None:
    """The other two megabytes are no event of anybody's."""
    data = run(faults=disturbed("oversized", share="100%", size="2MiB"))

    assert ms(data, Kind.send, outcome=Outcome.failed) == [250.0, 350.0, 450.0]
    assert data.log["event_id"].tolist() == [0, 1, 5, 6, 7, 8, 9]


@in_both_models
def test_a_producer_that_hangs_sends_afterwards_what_was_due(run: Run) -> None:
    """From 200 to 500 ms nothing is handed over; the three events go as one batch after their linger."""
    data = run(faults=disturbed("producer_pause"))

    assert ms(data, Kind.send, "started_ns")[2:5] == [500.0] * 3
    assert ms(data, Kind.send)[2:5] == [505.0] * 3


@in_both_models
def test_a_producer_that_dies_loses_what_lingers_and_nothing_else(run: Run) -> None:
    """Killed at 252 ms, it has event 2 in its queue; events 3 and 4 are handed over when it is back at 500 ms."""
    crash = {"fault": "producer_crash", "producer": "p/1", "at": "252ms", "for": "248ms"}
    data = run(faults=[crash])

    assert data.log["event_id"].tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert ms(data, Kind.send, "started_ns", outcome=Outcome.unknown) == [250.0]
    assert ms(data, Kind.send, outcome=Outcome.ok)[2:4] == [505.0] * 2


# ---- batches that the topic does not take --------------------------------------------------------------------------


@in_both_models
def test_a_batch_that_is_too_large_for_its_topic_fails_as_a_whole(run: Run) -> None:
    """Four events of 200 B within 10 ms of linger, and 77 B for frames: a topic that takes 900 B takes them, one that takes 870 B does not."""
    parts = [{"for": "10ms", "rate": "400/s", "spacing": "even"}, {"for": "990ms", "rate": "0/s"}]
    producer = {"topic": "a", "share": "arrivals", "arrivals": parts, "size": "200B", "settings": {"linger.ms": 10}}
    large, small = (run(producers__p=producer, topics__a__settings={"max.message.bytes": most}) for most in (900, 870))

    assert ms(large, Kind.send, outcome=int(Outcome.ok)) == [11.25] * 4
    assert ms(small, Kind.send, outcome=int(Outcome.failed)) == [11.25] * 4
    assert (len(large.log), len(small.log)) == (4, 0)


@in_both_models
@pytest.mark.parametrize("settings", [{"client": "librdkafka"}, {"client": "java", "settings": {"batch.size": 500}}])
def test_an_event_that_the_client_takes_and_the_topic_does_not_fails(run: Run, settings: dict[str, Any]) -> None:
    """The first event has 800 B, where the topic takes 500; the others are as ever."""
    large = {"fault": "oversized", "producer": "p", "events": 1, "size": "800B", "at": "0s", "for": "100ms"}
    producer = {"topic": "a", "share": "arrivals", "arrivals": {"rate": "10/s", "spacing": "even"}, **settings}
    data = run(producers__p=producer, topics__a__settings={"max.message.bytes": 500}, faults=[large])

    assert len(ms(data, Kind.send, outcome=int(Outcome.failed))) == 1
    assert len(ms(data, Kind.send, outcome=int(Outcome.ok))) == len(data.log) == 9
    assert ms(data, Kind.send, outcome=int(Outcome.failed))[0] < 60
