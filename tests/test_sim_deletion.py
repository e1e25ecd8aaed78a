"""What is deleted from topics, and what a group then does, in both models: cases worked out by hand."""

from typing import Any

from both_models import Run, in_both_models
from by_hand import by_hand, ms
from rundata.indicators import measure_one
from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from scenarios.quantities import SECOND
from sim.engine import simulate

AWAY = {"fault": "member_leave", "member": "g/1", "at": "1s", "for": "5s"}
LOOKS = {"log.retention.check.interval.ms": 700}
LARGE = {"topic": "a", "arrivals": {"rate": "10/s", "spacing": "even"}, "share": "arrivals", "size": "400KiB"}


def reset_to(place: str) -> dict[str, Any]:
    """Return settings of a group that joins at once, and what it does out of range."""
    return {"auto.offset.reset": place, "group.protocol": "consumer"}


def deleted(data: RunData) -> list[tuple[float, str]]:
    """Return when what was deleted."""
    return [(i.time_ns / SECOND, i.detail) for i in data.incidents if i.kind == "expired"]


def delivered(data: RunData) -> list[int]:
    """Return the offsets that were delivered, each once."""
    deliveries = data.operations[data.operations["kind"] == Kind.delivery]
    return sorted(set(deliveries["offset"].tolist()))


@in_both_models
def test_a_group_whose_position_was_deleted_goes_on_at_what_is_left_with_earliest(run: Run) -> None:
    """Away from 1 to 6 s at 10 events/s; at 5 s all but the last 2 s are deleted: 10 to 29 are never read."""
    deletes = {"fault": "delete_records", "topic": "a", "at": "5s", "up_to": "2s"}
    data = run(duration="10s", faults=[AWAY, deletes], groups__g__settings=reset_to("earliest"))

    assert deleted(data) == [(5.0, "first offset 30")]
    assert delivered(data) == [*range(10), *range(30, 100)]
    assert data.log["offset"].tolist() == list(range(30, 100))


@in_both_models
def test_with_latest_it_skips_the_whole_backlog_and_not_only_what_is_deleted(run: Run) -> None:
    """The same with Kafka's default: back at 6 s it goes on with offset 60, though 30 to 59 are there."""
    deletes = {"fault": "delete_records", "topic": "a", "at": "5s", "up_to": "2s"}
    data = run(duration="10s", faults=[AWAY, deletes], groups__g__settings=reset_to("latest"))

    assert delivered(data) == [*range(10), *range(60, 100)]


@in_both_models
def test_a_position_that_is_still_there_is_not_reset(run: Run) -> None:
    """Deleted up to offset 3, of which the group has committed more."""
    deletes = {"fault": "delete_records", "partition": "a/0", "at": "5s", "up_to": 3}
    data = run(duration="10s", faults=[AWAY, deletes], groups__g__settings=reset_to("latest"))

    assert delivered(data) == list(range(100))


@in_both_models
def test_retention_deletes_whole_segments_whenever_a_broker_looks(run: Run) -> None:
    """Two events of 400 KiB fill a segment of 1 MiB; brokers look every 0.7 s: at 2.1 s three segments are older than 1.5 s as a whole."""
    topic = {"retention.ms": 1500, "segment.bytes": 2**20, "min.insync.replicas": 2}
    data = run(duration="4s", producers__p=LARGE, topics__a__settings=topic, brokers__settings=LOOKS, drain="0s")

    # Event n is handed over at 0.05 + n / 10 s: by 0.6 s events 0 to 5, by 1.3 s those up to 12, of which 12 shares a segment with 13.
    assert deleted(data) == [(2.1, "first offset 6"), (2.8, "first offset 12"), (3.5, "first offset 20")]


@in_both_models
def test_retention_by_size_keeps_at_least_so_much(run: Run) -> None:
    """With 3 MiB to keep and segments of 0.8 MiB four stay; the oldest go as soon as there are more."""
    topic = {"retention.bytes": 3 * 2**20, "segment.bytes": 2**20, "min.insync.replicas": 2}
    data = run(duration="3s", producers__p=LARGE, topics__a__settings=topic, brokers__settings=LOOKS, drain="0s")

    assert deleted(data) == [(1.4, "first offset 6"), (2.1, "first offset 12"), (2.8, "first offset 20")]


@in_both_models
def test_a_segment_that_is_still_written_keeps_its_old_records(run: Run) -> None:
    """One segment for everything: at 2.8 s its first 13 records are too old and stay; at 3.5 s the last one, of 1.955 s, is too old as well."""
    topic = {"retention.ms": 1500, "min.insync.replicas": 2}
    once = {
        "topic": "a",
        "share": "arrivals",
        "arrivals": [{"for": "2s", "rate": "10/s", "spacing": "even"}, {"for": "4s", "rate": "0/s"}],
    }
    data = run(duration="6s", producers__p=once, topics__a__settings=topic, brokers__settings=LOOKS)

    assert deleted(data) == [(3.5, "first offset 20")]


def test_what_deletion_took_is_told_apart_from_what_the_group_skipped() -> None:
    """20 events expired before anybody read them, 30 were there and passed over."""
    deletes = {"fault": "delete_records", "topic": "a", "at": "5s", "up_to": "2s"}
    plan = make_plan(by_hand(duration="10s", faults=[AWAY, deletes], groups__g__settings=reset_to("latest")))
    run = simulate(plan, IDEAL)

    assert [measure_one(run, name).value for name in ("expired[g]", "passed[g]", "lost", "pending[g]")] == [
        20,
        30,
        0,
        0,
    ]


# ---- auto.offset.reset: none -----------------------------------------------------------------------------------------

LATER = {"fault": "delete_records", "partition": "a/0", "at": "5s", "up_to": "2s"}


@in_both_models
def test_a_partition_of_which_nothing_says_where_to_go_on_is_read_no_further(run: Run) -> None:
    """The same with librdkafka's `error`: back at 6 s the member cannot read from 10 on, and nobody ever reads what is left."""
    data = run(duration="10s", drain="1s", faults=[AWAY, LATER], groups__g__settings=reset_to("error"))

    assert delivered(data) == [*range(10)]
    assert data.end_ns == 11 * SECOND
    assert [i.where for i in data.incidents if i.kind == "session expired"] == []


@in_both_models
def test_its_other_partitions_go_on(run: Run) -> None:
    """Only a/0 is deleted: of a/1 everything is handled."""
    changes = {"topics__a": {"partitions": 2, "replication": 3}, "producers__p__key": "sequence"}
    data = run(duration="10s", drain="1s", faults=[AWAY, LATER], groups__g__settings=reset_to("error"), **changes)
    tries = data.operations[data.operations["kind"] == Kind.try_]
    by_partition = [sorted(tries["offset"][tries["partition"] == number].tolist()) for number in (0, 1)]

    assert by_partition[1] == data.log["offset"][data.log["partition"] == 1].tolist()
    assert 0 < len(by_partition[0]) < 10


@in_both_models
def test_javas_client_raises_and_nobody_starts_its_process_again(run: Run) -> None:
    """Back at 6 s its first call ends the process; the coordinator gives it up a session of 45 s later."""
    changes = {"groups__g__client": "java", "groups__g__settings": reset_to("none"), "drain": "60s"}
    data = run(duration="10s", faults=[AWAY, LATER], **changes)

    assert delivered(data) == [*range(10)]
    assert [(i.time_ns / SECOND, i.where) for i in data.incidents if i.kind == "session expired"] == [(51.0, "g/1")]
    assert [i.time_ns / SECOND for i in data.incidents if i.kind == "restart"] == [6.0]


@in_both_models
def test_what_a_member_has_in_its_queue_it_handles(run: Run) -> None:
    """Work of 300 ms on 10 events/s, all fetched by librdkafka when they come: at 0.96 s all is deleted, and all is handled."""
    deletes = {"fault": "delete_records", "topic": "a", "at": "960ms"}
    arrivals = [{"for": "1s", "rate": "10/s", "spacing": "even"}, {"for": "3s", "rate": "0/s"}]
    changes = {"duration": "4s", "producers__p__arrivals": arrivals, "groups__g__work": "300ms"}
    data = run(faults=[deletes], groups__g__settings=reset_to("error"), **changes)

    assert delivered(data) == [*range(10)]
    assert max(ms(data, Kind.try_)) == 3055.0
