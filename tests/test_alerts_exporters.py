"""What exporters show of runs written down by hand, and what they get wrong while something is broken."""

import numpy as np
import pytest

from reports.alerts.exporters import metrics
from reports.alerts.lag_tools import Commit, OffsetTimes, Status, group_status, partition_status
from reports.alerts.months import chained, placed
from reports.alerts.series import AlertError, Series, Store
from reports.alerts.system import System
from rundata.tables import FaultRecord
from runs import Build, ns
from scenarios.partitioners import coordinator_partition

OBJECTIVES = {"objectives": {"fast": {"indicator": "latency", "of": "work", "below": "500ms", "target": "90%", "period": "1h"}}}  # fmt: skip


def values(store: Store, name: str, **labels: str) -> dict[int, float | None]:
    """Return a series as seconds to values; None where it went stale. The phase of the scrapes is taken off."""
    (series,) = [each for each in store.named(name) if labels.items() <= dict(each.labels).items()]
    return {
        at // 1000: None if stale else value
        for at, value, stale in zip(
            series.times_ms.tolist(), series.values.tolist(), series.stale.tolist(), strict=True
        )
    }


def scraped(build: Build, exporter: str = "kafka_exporter", **options: bool) -> Store:
    return metrics(build.run(), exporter, every_ms=1000, **options)


def fault(build: Build, kind: str, target: str, begin: float, end: float) -> None:
    build.faults.append(FaultRecord(kind, kind, target, ns(begin), ns(end), ns(begin), ns(end), "seen"))


def steady(build: Build, seconds: int = 10) -> Build:
    """An event a second from 0.5 s, handled in 100 ms and committed 10 ms later."""
    for number in range(seconds):
        build.flow(number + 0.5)
    return build


def test_lag_is_the_end_minus_the_commit():
    """Between 2.51 s (acknowledged) and 4 s (committed) one event waits."""
    build = Build(end=6.0)
    event = build.event(2.5)
    build.send(event)
    build.handle(event, 3.0, 3.9)
    build.commit(1, 4.0)
    store = scraped(build)

    lag = values(store, "kafka_consumergroup_lag", consumergroup="work", partition="0")
    assert [lag[second] for second in (1, 3, 5)] == [0, 1, 0]
    assert values(store, "kafka_topic_partition_current_offset", topic="orders", partition="0")[5] == 1


def test_a_group_that_commits_between_both_questions_has_a_negative_lag():
    """The end is read at t, the commit 40 ms later: an event that comes and is committed between them gives -1. KMinion shows 0."""
    build = Build(end=4.0)
    scrape_s = (
        next(at for at in metrics(build.run(), every_ms=1000).named("up")[0].times_ms.tolist() if at > 2000) / 1000
    )
    event = build.event(scrape_s - 0.005)
    build.send(event, ended=scrape_s + 0.005)
    build.handle(event, scrape_s + 0.006, scrape_s + 0.01)
    build.commit(1, scrape_s + 0.02)

    assert values(scraped(build), "kafka_consumergroup_lag", partition="0")[int(scrape_s)] == -1
    minion = scraped(build, "kminion")
    assert min(values(minion, "kminion_kafka_consumer_group_topic_partition_lag", partition_id="0").values()) == 0  # type: ignore[type-var]  # none is missing here


def test_a_partition_without_a_commit_has_the_lag_minus_one_where_its_topic_has_one():
    """Partition 0 is committed at 2.5 s, partition 1 never. Before that the topic has no commit at all, and nothing is shown."""
    build = Build(end=4.0)
    event = build.event(0.5)
    build.send(event)
    build.handle(event, 1.0, 1.5)
    build.commit(1, 2.5)

    store = scraped(build, commits_at_start=False)
    assert values(store, "kafka_consumergroup_lag", partition="0")[3] == 0
    assert min(values(store, "kafka_consumergroup_lag", partition="1")) == 3
    assert values(store, "kafka_consumergroup_lag", partition="1")[3] == -1
    assert values(store, "kafka_consumergroup_lag_sum", topic="orders")[3] == 0, "the -1 is not added"
    minion = scraped(build, "kminion", commits_at_start=False)
    assert min(values(minion, "kminion_kafka_consumer_group_topic_partition_lag", partition_id="0")) >= 2


def test_without_a_leader_a_partition_has_neither_end_nor_lag():
    """Broker 1 leads orders/0 and dies at 3 s; broker 2 is elected at 5 s. Just then lag cannot be seen."""
    build = steady(Build(end=10.0))
    fault(build, "broker_crash", "broker 1", 3.0, 8.0)
    build.incident(5.0, "fence", "broker 1")
    build.incident(5.0, "election", "orders/0", "leader 2")
    store = scraped(build)

    lag = values(store, "kafka_consumergroup_lag", partition="0")
    assert [second for second in range(1, 9) if lag.get(second) is None] in ([3, 4], [4])
    assert None not in values(store, "kafka_consumergroup_lag", partition="1").values(), "broker 2 leads it"
    brokers = values(store, "kafka_brokers")
    assert (brokers[2], brokers[4], brokers[6]) == (3, 3, 2), "listed until it is fenced"


def grown() -> Build:
    """orders gets a third partition at 4 s, of which an event at 5.5 s is the first; broker 3 leads it."""
    build = steady(
        Build({"faults": [{"fault": "add_partitions", "topic": "orders", "to": 3, "at": "4s"}]}, end=10.0), 5
    )
    proof = "3 partitions instead of 2 from 4.000 s"
    build.faults.append(FaultRecord("A", "add_partitions", "orders", ns(4), ns(4), ns(4), ns(4), proof))
    build.flow(5.5, partition=2)
    return build


def test_a_partition_that_comes_later_is_shown_from_then_on():
    """Neither its end nor its replicas are there before 4 s, and its lag only once it has a commit or the others have one."""
    build = grown()
    store = scraped(build)

    end = values(store, "kafka_topic_partition_current_offset", topic="orders", partition="2")
    assert (min(end), end[5], end[7]) == (4, 0, 1)
    assert min(values(store, "kafka_topic_partition_in_sync_replica", topic="orders", partition="2")) == 4
    assert min(values(store, "kafka_consumergroup_lag", partition="2")) == 4
    assert min(values(store, "kafka_consumergroup_lag", partition="1")) == 0


def test_a_partition_that_comes_later_is_not_there_before_and_led_by_who_is_up():
    """orders/2 would be led by broker 3, which is down when it comes, so the next replica leads it."""
    build = grown()
    at_ns = np.asarray([ns(3.9), ns(4.0), ns(9.0)])
    assert System(build.run()).leader("orders", 2, at_ns).tolist() == [-1, 3, 3]
    assert (list(System(build.run()).partitions("orders")), System(build.run()).since_ns("orders", 2)) == (
        [0, 1, 2],
        ns(4),
    )

    fault(build, "broker_crash", "broker 3", 3.0, 6.0)
    assert System(build.run()).leader("orders", 2, at_ns).tolist() == [-1, 1, 1]


def test_what_a_broker_takes_into_partitions_that_came_later_is_counted():
    store = scraped(grown(), "strimzi")
    assert values(store, "kafka_server_brokertopicmetrics_messagesin_total", pod="kafka-3", topic="orders")[8] == 1


def test_a_group_without_members_vanishes_where_only_connected_groups_are_shown():
    """Both members leave at 4 s and come back at 7 s."""
    build = steady(Build(end=10.0))
    for number in (1, 2):
        fault(build, "member_leave", f"work/{number}", 4.0, 7.0)

    gone = values(scraped(build, "kafka_exporter_connected"), "kafka_consumergroup_lag", partition="0")
    assert None in gone.values() and 5 not in {second for second, value in gone.items() if value is not None}
    shown = values(scraped(build), "kafka_consumergroup_lag", partition="0")
    assert shown[5] is not None, "its default shows all"


def test_a_member_that_died_counts_until_its_session_is_over():
    build = steady(Build(end=10.0))
    fault(build, "member_crash", "work/1", 2.0, 9.0)
    build.incident(6.0, "session expired", "work/1")
    members = values(scraped(build), "kafka_consumergroup_members")

    assert [members[second] for second in (1, 3, 5, 7)] == [2, 2, 2, 1]
    assert members[9] in (1, 2)


def test_a_broker_that_hangs_lets_the_whole_scrape_time_out():
    build = steady(Build(end=10.0))
    fault(build, "broker_pause", "broker 2", 3.0, 6.0)
    store = scraped(build)

    up = values(store, "up", job="kafka-exporter")
    assert (up[2], up[4], up[7]) == (1, 0, 1)
    assert None in values(store, "kafka_consumergroup_lag", partition="0").values()


def test_a_process_that_starts_again_counts_from_zero():
    """Member 1 handles an event a second; it is down from 4 to 6 s."""
    build = steady(Build(end=10.0))
    fault(build, "member_crash", "work/1", 4.0, 6.0)
    store = scraped(build)
    handled = values(store, "events_handled_total", instance="work/1")

    assert handled[3] in (3, 4)
    assert None in handled.values()
    assert handled[9] in (3, 4), "of ten events the ones after 6 s"
    assert values(store, "up", instance="work/1")[5] == 0


def test_strimzis_brokers_are_targets_that_vanish_and_count_from_zero():
    build = steady(Build(end=10.0))
    fault(build, "broker_crash", "broker 1", 3.0, 6.0)
    build.incident(7.0, "registered", "broker 1")
    store = scraped(build, "strimzi")
    counted = values(store, "kafka_server_brokertopicmetrics_messagesin_total", pod="kafka-1", topic="orders")

    assert counted[2] in (2, 3) and None in counted.values()
    assert values(store, "kafka_controller_kafkacontroller_offlinepartitionscount", pod="kafka-2")[5] == 1


def test_an_objectives_events_are_bad_at_their_deadline_not_when_they_are_handled():
    """Intended at 1 s, 500 ms are allowed, handled at 8 s: bad from 1.5 s on."""
    build = Build(OBJECTIVES, end=10.0)
    event = build.event(1.0)
    build.send(event)
    build.handle(event, 7.0, 8.0)
    store = scraped(build)

    assert values(store, "objective_bad_events_total", objective="fast")[2] == 1
    buckets = values(store, "event_latency_seconds_bucket", instance="work/1", le="+Inf")
    assert (buckets[5], buckets[9]) == (0, 1), "a member can only tell of what it has handled"


def test_what_is_no_exporter_is_refused():
    with pytest.raises(
        AlertError,
        match="there is kafka_exporter, kafka_exporter_connected, kminion, kafka_lag_exporter, burrow, strimzi",
    ):
        metrics(Build().run(), "borrow")


@pytest.mark.parametrize(
    ("kind", "target", "hit"),
    [
        ("broker_crash", "broker 1 (leader of orders/0)", True),
        ("broker_crash", "broker 1", True),
        ("broker_stop", "broker 2, broker 1", True),
        ("broker_crash", "broker 12", False),
        ("cut", "clients, broker 1", True),
        ("cut", "broker 1, broker 2", False),
    ],
)
def test_a_faults_target_is_found_however_an_engine_writes_it(kind: str, target: str, hit: bool):
    build = steady(Build(end=10.0))
    fault(build, kind, target, 3.0, 6.0)
    system = System(build.run())

    assert bool(system.unusable(1)) == hit


# ---- seconds and states ----------------------------------------------------------------------------------------------


def test_seconds_of_lag_are_read_off_the_line_between_two_polls():
    """The end was at 100 at 0 s and at 200 at 10 s: a commit of 150 is as old as 5 s."""
    table = OffsetTimes()
    table.add(100, 0)
    table.add(200, 10_000)

    assert table.seconds_behind(150, 10_000) == 5.0
    assert table.seconds_behind(200, 10_000) == 0.0
    assert table.seconds_behind(50, 10_000) == 15.0, "extrapolated beyond the points that are kept"


def test_seconds_of_lag_are_overstated_on_a_topic_that_was_idle():
    """Idle from 0 to 60 s, polled every 30 s; one event comes at 89 s. At 90 s its reader is called 30 s late, and is one."""
    table = OffsetTimes()
    for at_s, end in ((0, 100), (30, 100), (60, 100), (90, 101)):
        table.add(end, at_s * 1000)

    assert table.seconds_behind(100, 90_000) == 30.0


def commits(*rows: tuple[int, int, int]) -> list[Commit]:
    return [Commit(at_s * 1000, offset, lag) for at_s, offset, lag in rows]


@pytest.mark.parametrize(
    ("found", "now_s", "state"),
    [
        (commits((0, 10, 5), (1, 20, 0), (2, 20, 5), (3, 20, 9)), 3, Status.ok),  # no lag once: all is well
        (commits((0, 10, 9), (1, 20, 7), (2, 30, 8)), 3, Status.ok),  # it fell once
        (commits((0, 10, 5), (1, 20, 6), (2, 30, 7)), 3, Status.warn),
        (commits((0, 10, 5), (1, 10, 6), (2, 10, 7)), 3, Status.stall),
        (commits((0, 10, 5), (1, 20, 6), (2, 30, 7)), 5, Status.stop),  # 3 s without one, and the window spans 2
        (commits((0, 10, 5), (1, 20, 6), (2, 15, 7)), 5, Status.rewind),
    ],
)
def test_burrows_states(found: list[Commit], now_s: int, state: Status):
    assert partition_status(found, lag_now=7, now_ms=now_s * 1000) == state
    assert partition_status(found, lag_now=0, now_ms=now_s * 1000) == Status.ok


def test_a_group_is_in_error_when_a_partition_stands():
    assert group_status([Status.ok, Status.stall]) == Status.error
    assert group_status([Status.ok, Status.warn]) == Status.warn


def test_burrow_sees_a_group_that_stops_and_the_lag_exporter_how_late_it_is():
    """An event each half second; from 6 s on none is handled."""
    build = Build(end=16.0, changes={"duration": "16s"})
    for number in range(32):
        at = number * 0.5 + 0.1
        event = build.event(at)
        offset = build.send(event)
        if at < 6:
            build.handle(event, at + 0.7, at + 0.8)
            build.commit(offset + 1, at + 0.9)
    status = values(scraped(build, "burrow"), "burrow_kafka_consumer_status", consumer_group="work")
    seconds = values(
        scraped(build, "kafka_lag_exporter"), "kafka_consumergroup_group_lag_seconds", group="work", partition="0"
    )

    assert (status[4], status[15]) in ((Status.warn, Status.error), (Status.ok, Status.error))
    assert seconds[4] == pytest.approx(1, abs=1) and seconds[14] == pytest.approx(8, abs=1)


# ---- longer than a run -----------------------------------------------------------------------------------------------


def piece(name: str, *found: float, label: str = "a") -> Series:
    return Series.of(name, {"l": label}, np.arange(len(found), dtype=np.int64) * 1000, np.asarray(found, np.float64))


def test_pieces_are_chained_counters_go_on_and_gauges_do_not():
    """Two seconds each; the third sample closes the piece: the counter had 6 there, and the lag's is not shown."""
    first, second = (
        Store([piece("c_total", 0, 5, 6), piece("lag", 1, 2, 9)]),
        Store([piece("c_total", 0, 7, 7), piece("lag", 0, 0, 0)]),
    )
    store = chained([first, second, first], 2000)

    assert store.named("c_total")[0].values.tolist() == [0, 5, 6, 13, 13, 18]
    assert store.named("lag")[0].values.tolist() == [1, 2, 0, 0, 1, 2]
    assert store.named("lag")[0].times_ms.tolist() == [0, 1000, 2000, 3000, 4000, 5000]


def test_a_piece_that_comes_again_and_again_is_the_same_as_many():
    quiet = Store([piece("c_total", 0, 5, 6)])
    again = Store([piece("c_total", 0, 5, 6)])

    assert chained([quiet] * 5, 2000).named("c_total")[0].values.tolist() == [0, 5, 6, 11, 12, 17, 18, 23, 24, 29]
    assert (
        chained([quiet] * 4, 2000).named("c_total")[0].values.tolist()
        == chained([quiet, again, quiet, again], 2000).named("c_total")[0].values.tolist()
    )


def test_a_counter_that_is_reset_within_a_piece_falls_to_zero_not_to_where_it_began():
    reset = Store([piece("c_total", 4, 1, 3)])
    store = chained([Store([piece("c_total", 0, 5, 6)]), reset, reset], 2000)

    assert store.named("c_total")[0].values.tolist() == [0, 5, 10, 1, 7, 1]


def test_a_series_that_a_piece_does_not_have_ends_with_a_stale_mark():
    store = chained([Store([piece("lag", 1, 2)]), Store([piece("up", 1, 1)])], 2000)

    assert store.named("lag")[0].times_ms.tolist() == [0, 1000, 2000]
    assert store.named("lag")[0].stale.tolist() == [False, False, True]
    assert store.named("up")[0].times_ms.tolist() == [2000, 3000]


def test_faults_are_placed_at_random_the_same_for_a_seed_and_apart():
    places = placed(1000, 20, seed=3, apart=5)

    assert places == placed(1000, 20, seed=3, apart=5) != placed(1000, 20, seed=4, apart=5)
    assert len(places) == 20 and min(np.diff(places)) > 5 and max(places) < 1000
    with pytest.raises(AlertError, match="20 faults do not fit into 30 stretches"):
        placed(30, 20, seed=0)


def test_a_group_whose_coordinator_is_down_is_left_out_until_another_takes_over():
    """The broker that answers for the group dies at 3 s, another one takes over at 6 s: no members and no lag between. Burrow reads on."""
    build = steady(Build(end=9.0))
    broker = int(System(build.run()).coordinator("work", np.zeros(1, np.int64))[0])
    fault(build, "broker_crash", f"broker {broker}", 3.0, 30.0)
    place = f"__consumer_offsets/{coordinator_partition('work', 5)}"
    build.incident(6.0, "election", place, f"leader {broker % 3 + 1}")

    members = values(scraped(build), "kafka_consumergroup_members", consumergroup="work")
    assert [second for second, shown in members.items() if shown is not None] == [0, 1, 2, 6, 7, 8, 9]
    burrow = values(scraped(build, "burrow"), "burrow_kafka_consumer_status", consumer_group="work")
    assert None not in burrow.values()
