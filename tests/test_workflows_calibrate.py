"""What a calibration takes from a run: each part's times, by hand with literal numbers, and a profile fitted to them."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from eventdrill.workflows.calibrate import (
    Residuals,
    _rescaled,
    calibration_scenario,
    corrected,
    fit,
    fit_parts,
    residuals,
    rising,
    shifted,
    shipped_base,
    with_load_left,
)
from eventdrill.workflows.pace import served_hz
from rundata.tables import Gauge
from runs import Build, ns
from scenarios.plan import make_plan
from scenarios.profiles import KNOTS, Measured, SharedCores
from scenarios.quantities import MILLISECOND, SECOND
from sim.engine import simulate

LINGER: dict[str, Any] = {
    "producers": {"shop": {"settings": {"acks": "all", "enable.idempotence": True, "linger.ms": 5}}}
}


def taken(build: Build) -> Residuals:
    return residuals(build.run(engine="driven"))


def test_only_the_event_that_opens_a_batch_tells_what_an_answer_takes():
    """Two events within 5 ms on one partition are one batch: answered 12 ms after the first, of which 5 are linger."""
    build = Build(changes=LINGER)
    first, second, later = build.event(1.0), build.event(1.003), build.event(1.006)
    build.send(first, ended=1.012)
    build.send(second, ended=1.012)
    build.send(later, ended=1.014)

    parts = taken(build)

    assert parts.answer.tolist() == [7 * MILLISECOND, 3 * MILLISECOND]
    assert parts.answer_at.tolist() == [ns(1.0), ns(1.006)]


def test_an_event_that_is_answered_before_it_could_have_lingered_went_with_the_batch_before():
    """The batch of 1.000 s left late, with the event of 1.0053 s, which would have lingered until 1.0103 s; that of 1.006 s came too late for it."""
    build = Build(changes=LINGER)
    build.send(build.event(1.0), ended=1.0075)
    build.send(build.event(1.0053), ended=1.0075)
    build.send(build.event(1.006), ended=1.0130)

    assert taken(build).answer.tolist() == [2_500_000, 2_000_000]


def test_batches_of_two_partitions_are_apart():
    """Each has a linger of its own."""
    build = Build(changes=LINGER)
    build.send(build.event(1.0), ended=1.008)
    build.send(build.event(1.001, partition=1), ended=1.010)

    assert sorted(taken(build).answer.tolist()) == [3 * MILLISECOND, 4 * MILLISECOND]


def test_a_delivery_counts_where_the_member_had_nothing_else_to_do():
    """The second event waits for the first one's handler, and tells nothing of the fetch; a member may be ahead of the answer."""
    build = Build(changes=LINGER)
    for at, acknowledged in ((1.0, 1.010), (1.1, 1.110), (1.2, 1.210)):
        build.send(build.event(at), ended=acknowledged)
    build.handle(0, 1.012, 1.150)
    build.handle(1, 1.150, 1.160)
    build.handle(2, 1.209, 1.220)

    assert taken(build).delivery.tolist() == [2 * MILLISECOND, -1 * MILLISECOND]


def test_a_handlers_overshoot_is_what_its_first_try_took_beyond_its_work():
    """Planned work is 1 ms in these runs."""
    build = Build(changes=LINGER)
    build.send(build.event(1.0))
    build.handle(0, 1.02, 1.0213)

    assert taken(build).overshoot.tolist() == [300_000]


def test_send_lateness_counts_from_the_plan_and_what_began_too_early_is_left_out():
    """An event of the warm-up tells nothing."""
    build = Build(changes=LINGER)
    build.send(build.event(1.0), started=1.0, ended=1.01)
    build.send(build.event(2.0), started=2.002, ended=2.01)

    parts = residuals(build.run(engine="driven"), ns(1.5))

    assert parts.send.tolist() == [2 * MILLISECOND]


def steady(answer_ms: float, delivery_ms: float) -> Build:
    """Return a run of 24 s in which all takes the same, at 30 and 60 events/s."""
    build = Build(changes=LINGER | {"duration": "24s", "warm_up": "8s"}, end=25.0)
    times = [*np.arange(8.0, 16.0, 1 / 30), *np.arange(16.0, 24.0, 1 / 60)]
    for number, at in enumerate(round(float(t), 6) for t in times):
        acknowledged = at + (5 + answer_ms) / 1e3
        build.send(build.event(at, partition=number % 2), ended=acknowledged)
        build.handle(
            number, acknowledged + delivery_ms / 1e3, acknowledged + delivery_ms / 1e3 + 0.0011, member=1 + number % 2
        )
    return build


def test_emitted_events_tell_nothing_of_the_parts():
    """They have numbers beyond the plan's, and no planned work: the same parts with and without them."""
    run = steady(4.0, 1.0).run(engine="driven")
    emitted = run.operations.copy()
    emitted["event_id"] += len(run.plan)
    both = dataclasses.replace(run, operations=np.concatenate([run.operations, emitted]))

    parts, alone = residuals(both, ns(8)), residuals(run, ns(8))

    for part in dataclasses.fields(alone):
        assert getattr(parts, part.name).tolist() == getattr(alone, part.name).tolist()


def test_a_profile_fitted_to_a_steady_run_adds_up_to_what_was_seen():
    """Answer 3 ms is produce plus acknowledge; delivery 1 ms after it is fetch less acknowledge; 0.1 ms of overshoot."""
    profile = fit(steady(3.0, 1.0).run(engine="driven"), shipped_base())

    assert profile.produce.median_us + profile.acknowledge.median_us == pytest.approx(3000, abs=1)
    assert profile.fetch.median_us - profile.acknowledge.median_us == pytest.approx(1000, abs=1)
    assert profile.overshoot.median_us == pytest.approx(100, abs=1)
    assert profile.load_slope == 0
    assert profile.load_base_hz == pytest.approx(45, abs=1)
    assert (profile.produce.scale_sd, profile.fetch.scale_sd) == (0.25, 0.25)


def test_what_a_short_run_cannot_show_stays_as_it_was_shipped():
    """Election, discovery, restart and catch-up need faults; commits need enough of them."""
    base = shipped_base()
    profile = fit(steady(3.0, 1.0).run(engine="driven"), base)

    kept = ("election", "discovery", "member_discovery", "restart", "catch_up", "commit", "fetch_turnaround")
    assert [name for name in kept if getattr(profile, name) != getattr(base, name)] == []


def test_members_that_are_ahead_of_the_answer_get_no_negative_fetch():
    """Delivered 1 ms before the acknowledgement: the answer's way back takes at least that."""
    profile = fit(steady(4.0, -1.0).run(engine="driven"), shipped_base())

    assert profile.acknowledge.median_us == pytest.approx(1000, abs=1)
    assert profile.fetch.quantiles_us[KNOTS.index(0.5)] == pytest.approx(0, abs=1)


def test_no_way_back_is_longer_than_half_of_an_answer_that_waits_for_nobody():
    """Members are 3 ms ahead of answers that take 4 ms, since a busy producer notices them late: 2 ms are a limit, and 0.5 ms where acks=1 takes 1 ms."""
    one = np.ones(100, np.int64)
    parts = Residuals(
        send=one, answer=4_000_000 * one, answer_at=one, delivery=-3_000_000 * one, overshoot=one, commit=one
    )

    assert fit_parts(parts, shipped_base(), 0.3).acknowledge.median_us == 2000
    assert fit_parts(parts, shipped_base(), 0.3, fast=1_000_000 * one).acknowledge.median_us == 500


def test_the_calibration_takes_its_own_topic_seed_and_rates_and_ends_in_time():
    """24 s of load leave 16 s of the 40 for starting and ending; no scenario's plan is seen."""
    loaded = calibration_scenario()
    plan = make_plan(loaded.scenario, 20_011)

    assert list(loaded.scenario.topics) == ["calibration"]
    assert loaded.scenario.duration == 24 * SECOND
    assert len(plan) == pytest.approx(240 * 8 + 480 * 16, rel=0.05)


def test_a_calibration_keeps_how_fast_the_host_was():
    """The median of the samples, so that one that was interrupted does not count."""
    samples = tuple(Gauge(ns(at), "host_pace_s", "host", us / 1e6) for at, us in enumerate((80.0, 82.0, 900.0)))
    run = dataclasses.replace(steady(4.0, 1.0).run(engine="driven"), gauges=samples)

    assert fit(run, shipped_base()).measured_on["host_pace_s"] == pytest.approx(82e-6)


def test_a_quick_calibration_finds_the_cores_that_all_share(monkeypatch: pytest.MonkeyPatch):
    """Brokers take 0.4 cores and 150 us a request, clients 0.3; what answers slow by is the wait, and no slope beside it."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    cores = SharedCores(count=2, taken=0.7, request_us=150.0)
    true = shipped_base().model_copy(update={"cores": cores})
    run = dataclasses.replace(simulate(make_plan(calibration_scenario().scenario, 20_011), true), engine="driven")
    gauges, plan = list[Gauge](), run.plan
    for second in range(1, 24):
        around = ((second - 1) * SECOND, (second + 1) * SECOND)
        brokers_cores = 0.4 + 150e-6 * served_hz(plan, around, true)
        gauges += [Gauge(second * SECOND, "cpu_share", f"broker {n}", brokers_cores / 3) for n in (1, 2, 3)]
        gauges.append(Gauge(second * SECOND, "cpu_share", "source/1", 0.3))
    run = dataclasses.replace(run, gauges=tuple(gauges))

    stretches = [(8 * SECOND, 16 * SECOND), (16 * SECOND, 24 * SECOND)]
    profile = with_load_left(run, corrected(run, fit(run, shipped_base())), stretches)

    assert (profile.cores.count, profile.load_slope) == (2, pytest.approx(0.0, abs=0.03))
    assert profile.cores.taken == pytest.approx(0.7, abs=0.1)
    assert profile.cores.request_us == pytest.approx(150, rel=0.1)


def test_stretches_count_for_as_much_as_each_other():
    """Answers that take twice as long in one stretch and half as long in the other leave the profile as it is; 2 ms more and 1 ms less shift it by 0.5."""
    took = np.arange(1, 1001) * 10_000 + 1_000_000
    part = Measured(quantiles_us=tuple(np.quantile(took, KNOTS) / 1e3))

    kept = _rescaled(part, [2 * took, took], [took, 2 * took]).quantiles_us
    longer = shifted(part, [took + 2_000_000, took - 1_000_000], [took, took]).quantiles_us

    assert kept == pytest.approx(part.quantiles_us, abs=0.01)
    assert np.subtract(longer, part.quantiles_us)[1:-1] == pytest.approx(500, abs=0.02)


def test_quantiles_that_fall_meet_where_most_of_them_are():
    """The second stands for 2.5 % of all, the third for 4.5: taking the higher one for both would make what is fitted slower with every round."""
    part = Measured(quantiles_us=(1.0,) * len(KNOTS))

    found = rising(part, np.asarray([1.0, 4.0, 2.0, *range(5, 20)])).quantiles_us

    assert found == (1.0, 2.71, 2.71, *range(5, 20))


def test_the_quickest_of_all_moves_nothing_else():
    """It came in a third of the time in the simulator, or took eight times as long: chance, of which the others know nothing."""
    took = np.random.default_rng(3).lognormal(0, 0.4, 2000) * 2e6
    part = Measured(quantiles_us=tuple(np.quantile(took, KNOTS) / 1e3))

    for quickest in (took.min() / 3, took.min() * 8):
        again = np.sort(took)
        again[:8] = quickest
        kept = _rescaled(part, [took.astype(np.int64)], [again.astype(np.int64)])
        assert kept.quantiles_us[2:] == pytest.approx(part.quantiles_us[2:], rel=0.02)
