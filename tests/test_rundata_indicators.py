"""Each indicator with literal numbers: events and operations written down by hand, and the figure that follows."""

import math

import numpy as np
import pytest

from rundata.backlog import backlog, disturbances
from rundata.books import Books
from rundata.counts import delivered_within
from rundata.indicators import MEASURES, Measurement, measure, measure_one
from rundata.rows import Outcome
from rundata.scopes import EVERYTHING
from rundata.tables import RunData
from runs import Build, clean_run, ns, values, without_audit
from scenarios.expectations import INDICATORS, parse_indicator

TWO_GROUPS = {"groups": {"audit": {"topics": ["orders"], "work": "1ms"}}}
CRASH = {"faults": [{"fault": "broker_crash", "broker": 1, "at": "2s", "for": "2s"}]}


def value(run: RunData, name: str) -> float | None:
    return measure_one(run, name).value


# ---- delivery and latency ------------------------------------------------------------------------------------------


def test_delivery_is_the_share_of_pairs_with_an_effect() -> None:
    """Of four pairs, poison included, three took effect; two of them within half a second."""
    build = Build()
    for number, latency in enumerate((0.1, 0.5, 2.0)):
        build.flow(float(number), latency=latency)
    poison = build.event(3.0)
    build.send(poison)
    build.deliver(poison, 3.1)
    build.dead_letter(poison, 3.2, 3.3)
    run = build.run()

    assert value(run, "delivery") == 0.75
    assert delivered_within(Books.of(run), EVERYTHING, ns(0.5)).value == 0.5


def test_latency_runs_from_the_intended_time_to_the_first_effect() -> None:
    """Ten latencies of 1 to 10 s: quantiles are observed values, not between two."""
    build = Build({"duration": "100s"}, end=120.0)
    for number in range(10):
        build.flow(number * 5.0, latency=number + 1.0)
    measured = measure(build.run())

    assert values(measured, [f"latency.{q}" for q in ("p50", "p90", "p95", "p99", "p999", "max")]) == [
        5,
        9,
        10,
        10,
        10,
        10,
    ]
    assert measured["latency.mean"].value == 5.5


def test_a_late_send_counts_from_the_plan() -> None:
    """Intended at 1 s, sent at 3 s, effect at 3.2 s: 2.2 s, however fast the send was."""
    build = Build()
    event = build.event(1.0)
    build.send(event, 3.0)
    build.handle(event, 3.1, 3.2)

    run = build.run()
    assert values(measure(run), ["latency.max", "send_lateness.max", "ack_latency.max"]) == [
        2.2,
        2.0,
        pytest.approx(2.01),
    ]


def test_pairs_without_an_effect_are_infinitely_late() -> None:
    """Of four pairs one never took effect: p50 is known, the maximum is not, and was at least 17 s."""
    build = Build()
    for number in range(3):
        build.flow(float(number), latency=1.0)
    build.send(build.event(3.0))
    measured = measure(build.run())

    assert measured["latency.p50"].value == 1.0
    assert measured["latency.max"] == Measurement(None, "s", 17.0, "1 of 4 never came")
    assert measured["latency.mean"].value is None
    assert measured["latency.mean"].at_least == (1 + 1 + 1 + 17) / 4


def test_dead_lettered_and_skipped_pairs_have_no_latency() -> None:
    build = Build()
    build.flow(0.0, latency=1.0)
    dead, skipped = build.event(1.0), build.event(2.0)
    for event in (dead, skipped):
        build.send(event)
        build.deliver(event, event + 0.1)
    build.dead_letter(dead, 1.2, 1.3)
    build.skip(skipped, 2.3)

    assert value(build.run(), "latency.max") == 1.0


def test_the_first_of_several_effects_counts() -> None:
    build = Build()
    event = build.flow(1.0, latency=0.5)
    build.handle(event, 3.0, 4.0, member=2)

    assert value(build.run(), "latency.max") == 0.5


def test_warm_up_is_not_measured() -> None:
    """An event intended at 4.9 s of 5 s of warm-up does not count, one at 5 s does, one at the duration cannot be."""
    build = Build({"warm_up": "5s"})
    build.flow(4.9, latency=3.0)
    build.flow(5.0, latency=1.0)
    run = build.run()

    assert values(measure(run), ["latency.max", "ack_latency.max", "delivery"]) == [1.0, 0.01, 1.0]


def test_latency_before_faults_takes_events_intended_before_the_first_one() -> None:
    build = Build(CRASH)
    build.flow(1.9, latency=1.0)
    build.flow(2.0, latency=4.0)
    build.fault(2.0, 4.0)
    measured = measure(build.run())

    assert values(measured, ["latency[before faults].p99", "latency[work, before faults].p50", "latency.max"]) == [
        1,
        1,
        4,
    ]


def test_without_faults_everything_lies_before_them() -> None:
    assert value(clean_run(), "latency[before faults].max") == 0.1


def test_failed_and_unknown_sends_are_infinitely_late_to_be_acknowledged() -> None:
    """Of three events one failed: the median is known, the maximum is not."""
    build = Build()
    for number, outcome in enumerate((Outcome.ok, Outcome.ok, Outcome.failed)):
        build.send(build.event(float(number)), outcome=outcome)
    measured = measure(build.run())

    assert measured["ack_latency.p50"].value == 0.01
    assert measured["ack_latency[shop].max"].value is None
    assert measured["ack_latency[orders].max"].at_least == 18.0


def test_with_acks_0_there_is_no_ack_latency() -> None:
    build = Build({"producers": {"shop": {"settings": {"acks": "0", "enable.idempotence": False}}}})
    build.send(build.event(1.0))

    assert measure_one(build.run(), "ack_latency.p50").reason == "with acks 0 nothing is acknowledged"


def test_nothing_to_measure_has_a_reason() -> None:
    measured = measure(Build().run())

    assert measured["latency.p50"] == Measurement(None, "s", None, "no pairs")
    assert measured["delivery"].reason == "no pairs"
    assert measured["availability"].reason == "no partition had traffic"


# ---- lag -----------------------------------------------------------------------------------------------------------


def test_lag_counts_acknowledged_pairs_that_have_not_ended() -> None:
    """Acknowledged at 1.01, 1.51 and 2.01 s; effects at 2.0, 2.5 and 3.0 s: two wait at most, one from 2.5 s on."""
    build = Build()
    for at, effect in ((1.0, 2.0), (1.5, 2.5), (2.0, 3.0)):
        event = build.event(at)
        build.send(event)
        build.handle(event, effect - 0.1, effect)
    run = build.run()
    lag = backlog(Books.of(run), EVERYTHING)

    assert lag.at(np.array([ns(t) for t in (1.0, 1.1, 1.6, 2.0, 2.1, 2.5, 3.0)])).tolist() == [
        0,
        1,
        2,
        1,
        2,
        1,
        0,
    ]
    # On the grid to 10 s: 1 from 1.1 to 1.5, 2 from 1.6 to 1.9, 1 at 2.0, 2 from 2.1 to 2.4, 1 from 2.5 to 2.9.
    assert values(measure(run), ["lag.max", "lag.end"]) == [2, 0]
    assert value(run, "lag.mean") == pytest.approx((5 * 1 + 4 * 2 + 1 + 4 * 2 + 5 * 1) / 101)


def test_lag_at_the_end_is_that_at_the_duration() -> None:
    """At 10 s two wait; in the drain it becomes three, which the maximum tells."""
    build = Build()
    for at, acked in ((9.0, 9.1), (9.1, 9.2), (9.9, 12.0)):
        build.send(build.event(at), ended=acked)
    run = build.run()

    assert values(measure(run), ["lag.end", "lag.max", "lag[work].end", "lag[orders].max"]) == [2, 3, 2, 3]


def test_an_effect_before_the_acknowledgement_is_no_lag() -> None:
    """A fast group handles an event before its producer has learned that it was stored."""
    build = Build()
    event = build.event(1.0)
    build.send(event, ended=3.0)
    build.handle(event, 1.1, 1.2)

    assert value(build.run(), "lag.max") == 0


def test_lost_events_are_no_lag_and_passed_ones_end_with_the_commit() -> None:
    """A lost event would stay for ever; a passed one stays until the commit at 5 s."""
    build = Build()
    lost, passed = build.event(1.0), build.event(1.0)
    build.send(lost, logged=False, offset=7)
    build.send(passed, offset=0)
    build.commit(1, 5.0)
    run = build.run()

    assert values(measure(run), ["lag.max", "lag.end", "lag_age.max"]) == [1, 0, pytest.approx(3.89)]


def test_lag_of_a_partition() -> None:
    build = Build()
    for number in range(3):
        build.send(build.event(1.0 + number, partition=number % 2))

    assert [value(build.run(), f"lag[orders/{p}].max") for p in (0, 1)] == [2, 1]


def test_lag_counts_each_group() -> None:
    build = Build(TWO_GROUPS)
    build.send(build.event(1.0))

    assert [value(build.run(), f"lag{where}.max") for where in ("", "[orders]", "[work]", "[audit]")] == [2, 2, 1, 1]


def test_lag_age_is_that_of_the_oldest_waiting_event() -> None:
    """Acknowledged at 1 s and 4 s; the first ends at 3 s, the second at 4.55 s: 1.9 s on the grid just before the first end."""
    build = Build()
    for at, effect in ((0.99, 3.0), (3.99, 4.55)):
        event = build.event(at)
        build.send(event)
        build.handle(event, effect, effect)

    assert value(build.run(), "lag_age.max") == 1.9


def test_committed_lag_is_high_watermark_minus_commit_each_second() -> None:
    """Three records readable from 1 s on; committed 2 at 3.5 s and 3 at 6.5 s: 3, then 1, then 0."""
    build = Build()
    for number in range(3):
        event = build.event(0.5 + number / 10)
        build.send(event)
        build.handle(event, 3.0, 3.1)
    build.commit(2, 3.5)
    build.commit(3, 6.5)
    measured = measure(build.run())

    assert values(measured, ["committed_lag.max", "committed_lag[work].end"]) == [3, 0]
    assert measured["committed_lag.mean"].value == pytest.approx((3 * 3 + 3 * 1) / 11)


def test_a_record_is_readable_once_a_later_one_is() -> None:
    """The first record's acknowledgement came back late, but the second was readable at 1.21 s, so both were."""
    build = Build()
    build.send(build.event(1.1), ended=8.0)
    build.send(build.event(1.2))

    assert value(build.run(), "committed_lag.max") == 2
    assert value(build.run(), "committed_lag.mean") == pytest.approx(2 * 9 / 11)


# ---- drain time ----------------------------------------------------------------------------------------------------


def backlog_run(ends_s: tuple[float, ...], *, faults: tuple[tuple[float, float], ...], end: float = 60.0) -> Build:
    """Events at 10.0, 10.1, ...; one for each end, while one event a second flows before."""
    changes = {
        "duration": "40s",
        "faults": [{"fault": "broker_crash", "broker": 1, "at": f"{b}s", "for": f"{e - b}s", "name": f"crash{n}"} for n, (b, e) in enumerate(faults)],
    }  # fmt: skip
    build = Build(changes, end=end)
    for number in range(10):
        build.flow(float(number), latency=0.05)
    for number, effect in enumerate(ends_s):
        event = build.event(10.0 + number / 10)
        build.send(event)
        build.handle(event, effect - 0.01, effect)
    for number, (begin, finish) in enumerate(faults):
        build.fault(begin, finish, index=number)
    return build


def test_drain_time_runs_from_the_maximum_to_the_return_to_base() -> None:
    """Five wait from 10.5 s on; base is 1 (the second before had one arrival); lag is 1 from 18 s on: 7.5 s."""
    run = backlog_run((15.0, 16.0, 17.0, 18.0, 19.0), faults=((9.5, 12.0),)).run()

    assert values(measure(run), ["drain_time", "drain_time[work]", "drain_time[work, crash0]"]) == [7.5, 7.5, 7.5]


def test_lag_must_stay_at_base_for_a_second() -> None:
    """Lag is at base 1 from 15.0 to 15.5 s only, then 2 again until 17 s: the drain ends at 17 s."""
    build = backlog_run((15.0, 15.0, 18.0), faults=((9.5, 12.0),))
    again = build.event(15.5)
    build.send(again, 15.5)
    build.handle(again, 16.9, 17.0)

    # The maximum, 3, is first seen at 10.3 s.
    assert value(build.run(), "drain_time") == pytest.approx(6.7)


def test_faults_less_than_five_seconds_apart_are_one_disturbance() -> None:
    """Ends at 12 s and begins at 16.9 s: one; begins at 17 s: two."""
    near = backlog_run((11.0,), faults=((9.5, 12.0), (16.9, 18.0))).run()
    far = backlog_run((11.0,), faults=((9.5, 12.0), (17.0, 18.0))).run()

    assert [(d.begin_ns, d.end_ns, d.labels) for d in disturbances(Books.of(near))] == [
        (ns(9.5), ns(18.0), ("crash0", "crash1"))
    ]
    assert len(disturbances(Books.of(far))) == 2


def test_a_drain_that_the_run_did_not_see_the_end_of_has_a_bound() -> None:
    """Five wait at 10.5 s and never end; the run ended at 60 s."""
    build = backlog_run((), faults=((9.5, 12.0),))
    for number in range(5):
        build.send(build.event(10.0 + number / 10))
    found = measure_one(build.run(), "drain_time[work]")

    assert (found.value, found.at_least) == (None, 49.5)
    assert found.reason == "lag was still 5 when the run ended, above the base of 1"


def test_the_end_of_the_load_counts_where_lag_is_above_the_last_seconds_arrivals() -> None:
    """Two events in the last second, five waiting at 10 s; back to two at 14 s: 4 s."""
    build = Build()
    for at, effect in ((7.0, 12.0), (8.0, 13.0), (8.5, 14.0), (9.2, 15.0), (9.4, 16.0)):
        event = build.event(at)
        build.send(event)
        build.handle(event, effect - 0.1, effect)

    assert value(build.run(), "drain_time") == 4.0


def test_without_disturbance_nothing_is_to_be_drained() -> None:
    assert value(clean_run(), "drain_time") == 0.0


def test_lag_around_a_fault() -> None:
    """Its maximum from the fault's begin to 5 s after its end; a later peak is not the fault's."""
    build = backlog_run((15.0, 16.0), faults=((9.5, 12.0),))
    for number in range(4):
        build.send(build.event(30.0 + number / 10))

    assert values(measure(build.run()), ["lag[work, crash0].max", "lag[work].max"]) == [2, 4]


# ---- errors and dead letters ---------------------------------------------------------------------------------------


def test_errors_count_tries_and_events_apart() -> None:
    """Two events: one works at once, one at the third try: 2 of 4 tries failed, 1 of 2 events."""
    build = Build()
    build.flow(0.0)
    event = build.event(1.0)
    build.send(event)
    build.deliver(event, 1.1)
    for attempt, ok in ((1, False), (2, False), (3, True)):
        build.try_(event, 1.0 + attempt / 10, 1.05 + attempt / 10, ok=ok, attempt=attempt)

    assert values(measure(build.run()), ["errors", "errors.events"]) == [0.5, 0.5]


def test_dead_lettered_pairs_and_their_share() -> None:
    build = Build(TWO_GROUPS)
    build.flow(0.0)
    event = build.event(1.0)
    build.send(event)
    build.deliver(event, 1.1)
    build.dead_letter(event, 1.2, 1.3)
    build.handle(event, 1.1, 1.2, group="audit")

    measured = measure(build.run())
    assert values(
        measured, ["dead_lettered", "dead_lettered.share", "dead_lettered[work].share", "dead_lettered[audit]"]
    ) == [1, 0.25, 0.5, 0]


# ---- throughput ----------------------------------------------------------------------------------------------------


def test_produced_and_consumed_count_what_happened_in_the_measured_time() -> None:
    """Acknowledged at 4.99 s (warm-up), 5.01, 7.01 and 10.5 s (after the load): 2 in 5 s; effects at 5.0 and 9.9 s: 2 in 5 s."""
    build = Build({"warm_up": "5s"})
    for at, acked, effect in ((4.9, 4.99, 5.0), (5.0, 5.01, 9.9), (7.0, 7.01, 10.0), (9.0, 10.5, 11.0)):
        event = build.event(at)
        build.send(event, ended=acked)
        build.handle(event, effect, effect)
    measured = measure(build.run())

    assert values(measured, ["produced", "produced[shop]", "consumed", "consumed[work]"]) == [0.4] * 4


def test_windows_are_the_rates_of_five_seconds_each() -> None:
    """12 s of load: the last window has only 2 s."""
    build = Build({"duration": "12s"})
    for at in (0.0, 1.0, 2.0, 6.0, 11.0):
        build.flow(at, latency=0.05)
    found = measure_one(build.run(), "consumed.windows")

    assert found.series == (0.6, 0.2, 0.5)
    assert found.value is None


def test_saturated_counts_only_while_lag_is_above_a_second_of_arrivals() -> None:
    """Twenty events at 2 s, 10 handled a second from 3 s on; one more a second: above while more than that wait."""
    build = Build()
    for number in range(20):
        event = build.event(2.0)
        build.send(event)
        build.handle(event, 3.0, 3.0 + number / 10)
    found = measure_one(build.run(), "consumed.saturated")

    # Lag is 20 at 2.1 s, yet so were the arrivals of the second before; it is above them from 3.1 s (18) to 4.8 s (1).
    assert found.value == pytest.approx(10.0)


def test_a_run_that_keeps_up_has_no_saturated_rate() -> None:
    assert measure_one(clean_run(), "consumed.saturated").reason == "lag never stayed above one second of arrivals"


# ---- members and partitions ----------------------------------------------------------------------------------------


def test_restarts_count_members_that_crashed_and_came_back() -> None:
    """Two members came back, in 10 s of measured time: 720 an hour; brokers and orderly leavers do not count."""
    build = Build(TWO_GROUPS)
    build.incident(3.0, "restart", "work/1", cause="member_crash")
    build.incident(4.0, "restart", "audit/1", cause="eviction")
    build.incident(5.0, "restart", "broker 2", cause="broker_crash")
    build.incident(6.0, "restart", "work/2", cause="member_leave")
    measured = measure(build.run())

    assert values(measured, ["restarts.count", "restarts", "restarts[work].count", "restarts[audit]"]) == [
        2,
        720,
        1,
        360,
    ]


def test_availability_takes_away_the_union_of_slow_sends() -> None:
    """One of two partitions: sends from 2 to 5 s and from 4 to 6 s make 4 s of 20 partition-seconds."""
    build = Build()
    for begin, end in ((2.0, 5.0), (4.0, 6.0)):
        build.send(build.event(begin), ended=end)
    build.send(build.event(7.0, partition=1), ended=7.9)
    measured = measure(build.run())

    assert values(measured, ["availability", "availability[orders]"]) == [pytest.approx(0.8)] * 2
    assert [value(build.run(), f"availability[orders/{p}]") for p in (0, 1)] == [pytest.approx(0.6), 1.0]


def test_a_send_that_is_never_answered_makes_its_partition_unwritable_until_the_load_ends() -> None:
    """From 4 s to 10 s of 10 s; the partition without traffic is named."""
    build = Build()
    build.send(build.event(4.0), outcome=Outcome.unknown)
    found = measure_one(build.run(), "availability")

    assert found.value == pytest.approx(0.4)
    assert found.reason == "without traffic and left out: orders/1"


# ---- duplicates ----------------------------------------------------------------------------------------------------


def test_duplicate_deliveries_come_from_the_log_or_again() -> None:
    """One pair read at offset 0, again at 0, and at 1: three deliveries, one extra of each kind."""
    build = Build()
    build.flow(0.0)
    event = build.event(1.0, partition=1)
    build.send(event)
    build.append("orders", 1, event)
    for at, offset in ((1.1, 0), (2.0, 0), (3.0, 1)):
        build.deliver(event, at, offset=offset)
    measured = measure(build.run())

    names = [
        "duplicate_deliveries",
        "duplicate_deliveries.log",
        "duplicate_deliveries.redelivered",
        "duplicate_deliveries[work].share",
    ]
    assert values(measured, names) == [2, 1, 1, 0.5]


def test_tries_in_place_are_no_deliveries() -> None:
    build = Build()
    event = build.event(1.0)
    build.send(event)
    build.deliver(event, 1.1)
    build.try_(event, 1.1, 1.2, ok=False)
    build.try_(event, 1.3, 1.4, attempt=2)

    assert values(measure(build.run()), ["duplicate_deliveries", "duplicate_effects"]) == [0, 0]


def test_duplicate_effects_are_those_beyond_the_first() -> None:
    build = Build()
    event = build.flow(1.0)
    build.handle(event, 2.0, 2.1, member=2)
    build.handle(event, 3.0, 3.1, member=2)
    build.flow(4.0)

    assert values(measure(build.run()), ["duplicate_effects", "duplicate_effects.share"]) == [2, 0.5]


# ---- counts --------------------------------------------------------------------------------------------------------


def test_lost_counts_acknowledged_events_that_are_not_in_the_log() -> None:
    """Counted once, although two groups miss it."""
    build = Build(TWO_GROUPS)
    build.flow(0.0)
    build.send(build.event(1.0), logged=False, offset=1)

    assert values(measure(build.run()), ["lost", "lost[orders]", "refused"]) == [1, 1, 0]


def test_lost_is_unknown_while_pairs_are_pending() -> None:
    build = Build()
    build.send(build.event(1.0), logged=False, offset=1)
    build.send(build.event(2.0))
    found = measure_one(build.run(), "lost")

    assert (found.value, found.reason) == (None, "1 pair was still pending when the drain ended")


def test_an_unfinished_run_tells_nothing_about_the_log() -> None:
    measured = measure(without_audit(clean_run()))

    for name in ("lost", "refused", "unexpected", "unknown.settled"):
        assert measured[name].value is None
        assert "were not read back" in (measured[name].reason or "")


def test_unexpected_counts_records_that_nobody_sent() -> None:
    """A stranger without an id twice, and a known event in the wrong topic; a dead letter is expected."""
    build = Build()
    event = build.flow(0.0)
    build.append("orders", 1, -1)
    build.append("orders", 1, -1)
    build.append("orders.dlq", 0, event)
    dead = build.event(1.0)
    build.send(dead)
    build.dead_letter(dead, 1.1, 1.2)
    measured = measure(build.run())

    assert values(measured, ["unexpected", "unexpected[orders]", "unexpected[orders.dlq]"]) == [3, 2, 1]


def test_unknown_sends_and_those_that_the_audit_settled() -> None:
    """Three unknown: one in the log, one not, and one that a second send acknowledged, which is known."""
    build = Build()
    found, gone, again = (build.event(float(n)) for n in range(3))
    build.send(found, outcome=Outcome.unknown, offset=0)
    build.send(gone, outcome=Outcome.unknown, ended=5.0)
    build.send(again, outcome=Outcome.unknown)
    build.send(again, 3.0)

    assert values(measure(build.run()), ["unknown", "unknown.settled", "unknown[shop]"]) == [2, 1, 2]


def test_expired_passed_and_pending_count_pairs() -> None:
    build = Build(TWO_GROUPS)
    build.firsts["orders", 0] = 1
    expired, passed, pending = (build.event(float(n)) for n in range(3))
    build.send(expired, offset=0, logged=False)
    build.send(passed, offset=1)
    build.send(pending, offset=2)
    build.commit(2, 5.0)

    measured = measure(build.run())
    assert values(measured, ["expired", "passed", "pending", "pending[work]", "pending[audit]"]) == [2, 1, 3, 1, 2]


def test_inversions_count_effects_after_a_later_event_of_the_same_process_and_key() -> None:
    """Events 0, 1, 2 of one key took effect at 3, 1, 2 s: only event 0 is late; other keys and processes do not compare."""
    build = Build()
    for at, effect, key, process in (
        (0.0, 3.0, 7, 1),
        (0.1, 1.0, 7, 1),
        (0.2, 2.0, 7, 1),
        (0.3, 0.5, 8, 1),
        (0.4, 0.6, 7, 2),
    ):
        event = build.event(at, key=key, process=process)
        build.send(event)
        build.handle(event, effect, effect)

    assert values(measure(build.run()), ["inversions", "inversions[work]"]) == [1, 1]


def test_events_without_keys_have_no_order() -> None:
    build = Build({"producers": {"shop": {"key": "none"}}})
    for at, effect in ((0.0, 3.0), (0.1, 1.0)):
        event = build.event(at, key=-1)
        build.send(event)
        build.handle(event, effect, effect)

    assert value(build.run(), "inversions") == 0


# ---- gaps ----------------------------------------------------------------------------------------------------------


def test_a_gap_is_the_time_between_first_deliveries_while_an_event_waited() -> None:
    """Delivered at 1.1 s, then nothing until 6 s, while an event waited from 2 s on: 4 s, not 4.9 s."""
    build = Build()
    build.flow(1.0, latency=0.2)
    for at in (2.0, 3.0):
        event = build.event(at)
        build.send(event)
        build.handle(event, 6.0, 6.1)

    assert values(measure(build.run()), ["gap", "gap[work]", "gap[orders]"]) == [4, 4, 4]


def test_a_gap_is_cut_by_each_first_delivery_of_its_partition() -> None:
    """An event waits from 2 to 8 s, but others of its partition are delivered at 4 and 5 s: 3 s; the other partition does not count."""
    build = Build()
    for at, delivered, partition in ((2.0, 8.0, 0), (3.9, 4.0, 0), (4.9, 5.0, 0), (5.9, 6.0, 1)):
        event = build.event(at, partition=partition)
        build.send(event)
        build.handle(event, delivered, delivered + 0.1)

    assert value(build.run(), "gap") == 3.0


def test_redeliveries_do_not_end_a_gap() -> None:
    build = Build()
    first = build.flow(1.0)
    event = build.event(2.0)
    build.send(event)
    build.deliver(first, 4.0, member=2)
    build.handle(event, 7.0, 7.1)

    assert value(build.run(), "gap") == 5.0


def test_a_quiet_partition_has_no_gap() -> None:
    """Nothing was planned between 1 s and 9 s, so nothing waited."""
    build = Build()
    build.flow(1.0, latency=0.1)
    build.flow(9.0, latency=0.1)

    assert value(build.run(), "gap") == 0.05


def test_a_gap_that_never_ended_has_a_bound() -> None:
    build = Build()
    build.flow(1.0)
    build.send(build.event(2.0))
    found = measure_one(build.run(), "gap[orders]")

    assert (found.value, found.at_least, found.reason) == (None, 18.0, "orders/0 still waited when the run ended")


def test_a_refused_event_waits_until_it_is_refused() -> None:
    """Nothing is delivered from 1.1 to 9 s; a refused event waited from 2 to 7 s, another from 6 to 9 s: 7 s together."""
    build = Build()
    build.flow(1.0)
    build.send(build.event(2.0), ended=7.0, outcome=Outcome.failed)
    event = build.event(6.0)
    build.send(event)
    build.handle(event, 9.0, 9.1)

    assert value(build.run(), "gap") == 7.0


def test_unsent_events_without_keys_wait_for_the_topic_as_a_whole() -> None:
    """Planned at 2 s and sent nowhere; both partitions deliver at 3 s and 5 s, so the topic never paused for over 2 s."""
    build = Build({"producers": {"shop": {"key": "none"}}})
    build.event(2.0, key=-1, partition=-1)
    for at, partition in ((2.9, 0), (4.9, 1)):
        event = build.event(at, key=-1, partition=-1)
        build.send(event, partition=partition)
        build.handle(event, at + 0.1, at + 0.2)

    assert value(build.run(), "gap") == 2.0


def test_the_gap_of_a_topic_is_the_largest_of_its_groups() -> None:
    build = Build(TWO_GROUPS)
    event = build.event(2.0)
    build.send(event)
    build.handle(event, 3.0, 3.1)
    build.handle(event, 5.0, 5.1, group="audit")

    assert values(measure(build.run()), ["gap[work]", "gap[audit]", "gap[orders]"]) == [1, 3, 3]


def test_the_gap_of_a_fault_touches_it() -> None:
    """A pause of 4 s at 20 s has nothing to do with the crash from 2 to 4 s, whose own lasted 1.5 s."""
    build = Build(CRASH | {"duration": "40s"}, end=50.0)
    for at, delivered in ((2.5, 4.0), (20.0, 24.0)):
        event = build.event(at)
        build.send(event)
        build.handle(event, delivered, delivered + 0.1)
    build.fault(2.0, 4.0)

    assert values(measure(build.run()), ["gap[orders, broker_crash]", "gap[orders]"]) == [1.5, 4]


def test_write_gap_is_the_time_between_acknowledgements_while_an_event_waited() -> None:
    """Handed over at 2 and 3 s, acknowledged at 5 and 9 s: 4 s from one acknowledgement to the next."""
    build = Build()
    for at, acked in ((2.0, 5.0), (3.0, 9.0)):
        build.send(build.event(at), ended=acked)

    assert values(measure(build.run()), ["write_gap", "write_gap[orders]"]) == [4, 4]


def test_a_write_gap_begins_when_the_client_has_the_event() -> None:
    """Intended at 1 s, handed over at 4 s, acknowledged at 5 s: the client waited for 1 s."""
    build = Build()
    build.send(build.event(1.0), 4.0, 5.0)

    assert value(build.run(), "write_gap") == 1.0


# ---- names ---------------------------------------------------------------------------------------------------------


def test_every_indicator_and_statistic_is_measured() -> None:
    """A run reports each with all its statistics, in its unit, without where and for each scope it applies to."""
    measured = measure(clean_run())

    for kind in INDICATORS.values():
        for statistic, unit in kind.units.items():
            suffix = f".{statistic}" if statistic else ""
            assert measured[f"{kind.name}{suffix}"].unit == unit
            where = {"topic": "orders", "group": "work", "producer": "shop"}
            for scope in set(kind.scopes) & set(where):
                assert f"{kind.name}[{where[scope]}]{suffix}" in measured
    assert MEASURES.keys() == INDICATORS.keys()


def test_one_indicator_is_the_same_alone_as_among_all() -> None:
    run = clean_run()

    for name, measurement in measure(run).items():
        assert measure_one(run, parse_indicator(name)) == measurement


def test_what_the_scenario_expects_is_measured_whatever_its_scope() -> None:
    build = Build({"expect": ["lag[orders/1].max < 5"]})
    build.flow(1.0)

    assert measure(build.run())["lag[orders/1].max"].value == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("latency[fulfilment].p50", "there is no 'fulfilment'"),
        ("gap[shop]", "gap is measured for a topic or a group, and shop is a producer"),
        ("lag[orders/2].max", "orders has 2 partitions, so there is no orders/2; they count from 0"),
        ("drain_time[work, crash]", "no fault is called 'crash'"),
        ("latency", "there is latency.p50"),
    ],
)
def test_a_name_that_fits_nothing_says_so(name: str, said: str) -> None:
    found = measure_one(clean_run(), name)

    assert found.value is None
    assert said in (found.reason or "")


def test_no_value_is_nan() -> None:
    for run in (clean_run(), clean_run(0), Build().run(), without_audit(clean_run())):
        for measurement in measure(run).values():
            assert measurement.value is None or math.isfinite(measurement.value)
            assert measurement.value is not None or measurement.reason
