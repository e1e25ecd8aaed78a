"""A calibration with the brokers' own figures: their part of an answer is found, and each way to contradict the clients is noticed."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from eventdrill.workflows.calibrate import (
    CALIBRATION_SEED,
    answers,
    calibration_scenario,
    corrected,
    fit,
    of_topic,
    residuals,
)
from eventdrill.workflows.calibrate_brokers import at_the_limit, by_brokers, doubts_of_brokers
from eventdrill.workflows.calibrate_fully import _STEADY_STEPS, SEEDS, fit_fully, scenario
from eventdrill.workflows.pace import Stretch
from loadgen.exporters import FETCH, IN_QUEUE, LOCAL, PRODUCE, REMOTE, TOTAL, Figure, Reading, Readings, instants_of
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import KNOTS, Measured, Profile, load_profile
from scenarios.quantities import SECOND
from sim.engine import simulate

BASE = load_profile("local-kafka")
FAR_US = 1_800.0
TRUE = BASE.model_copy(
    update={
        "acknowledge": Measured(quantiles_us=(FAR_US,) * len(KNOTS)),
        "fetch": BASE.fetch.model_copy(update={"quantiles_us": tuple(q + FAR_US for q in BASE.fetch.quantiles_us)}),
    }
)
"""Brokers that are far away: an answer is under way for 1.8 ms, which no client can tell from the work at the brokers."""
STRETCH = (8 * SECOND, 24 * SECOND)
STEPS = [(8 * SECOND, 16 * SECOND), (16 * SECOND, 24 * SECOND)]


@pytest.fixture(scope="module")
def run() -> RunData:
    plan = make_plan(calibration_scenario().scenario, CALIBRATION_SEED)
    return dataclasses.replace(simulate(plan, TRUE), engine="driven")


@pytest.fixture(scope="module")
def seen(run: RunData) -> Profile:
    """What clients alone make of it."""
    return corrected(run, fit(run, BASE))


def told(
    run: RunData,
    took_ms: Sequence[float],
    *,
    steps: Sequence[Stretch] = tuple(STEPS),
    times_asked: float = 1.0,
    parts: Mapping[tuple[str, str], float] | None = None,
    moment: Mapping[str, float] | None = None,
    means: bool = True,
) -> Readings:
    """What three exporters show alike: produce requests that took so long at each rate, other parts as given."""
    readings, bounds_ns = Readings([]), [0, *(begin_ns for begin_ns, _ in steps[1:])]
    for at_ns in sorted({at for step in steps for at in instants_of(*step)}):
        ends_ns = [min(end_ns, at_ns) for end_ns in (*bounds_ns[1:], at_ns)]
        counts = [
            times_asked * len(answers(run, *each)) if each[0] < each[1] else 0.0
            for each in zip(bounds_ns, ends_ns, strict=True)
        ]
        count, spent_ms = sum(counts), sum(n * ms for n, ms in zip(counts, took_ms, strict=True))
        shown = {(PRODUCE, TOTAL): spent_ms / count} | dict(parts or {})
        figures = {Figure(part, kind, "count"): count for kind, part in shown}
        figures |= {Figure(part, kind, "mean" if means else "quantile 0.50"): ms for (kind, part), ms in shown.items()}
        figures |= {Figure(what): value for what, value in (moment or {}).items()}
        figures[Figure("requesthandleravgidlepercent", "", "count")] = 0.9 * at_ns
        # Each of three brokers serves a third of it.
        a_third = {f: v / 3 if f.attribute == "count" and f.request else v for f, v in figures.items()}
        readings.taken += [Reading(number, at_ns, at_ns, at_ns / SECOND, a_third) for number in range(3)]
    return readings


def judged(run: RunData, seen: Profile, readings: Readings) -> Profile:
    return by_brokers(seen, run, readings, STRETCH, STEPS)


TRULY_MS = TRUE.produce.mean_us / 1e3


@pytest.fixture(scope="module")
def found(run: RunData, seen: Profile) -> Profile:
    return judged(run, seen, told(run, (TRULY_MS, TRULY_MS), parts={(PRODUCE, REMOTE): 0.6 * TRULY_MS}))


def test_what_brokers_say_tells_their_work_from_the_way(found: Profile, seen: Profile):
    """Clients alone take more for the brokers' work than it is; with the brokers' word work and way are what they are."""
    assert found.produce.mean_us == pytest.approx(TRUE.produce.mean_us, rel=0.05)
    assert found.acknowledge.median_us == pytest.approx(FAR_US, abs=120)
    assert found.fetch.median_us == pytest.approx(TRUE.fetch.median_us, abs=150)
    assert seen.produce.mean_us > 1.15 * TRUE.produce.mean_us


def test_the_leaders_part_is_what_is_no_waiting_for_others(found: Profile):
    """Of a request 60 % were waiting for replicas."""
    assert found.produce_leader.mean_us == pytest.approx(0.4 * found.produce.mean_us, rel=0.02)
    assert "produce_leader" not in found.not_measured
    assert found.not_measured["election"] == "as in local-kafka: a quick calibration has none"


def test_what_clients_saw_is_still_what_the_profile_shows(run: RunData, found: Profile):
    """Only the split is another one: answers and deliveries of the simulated calibration are those of the driven one."""
    shown, driven = (residuals(each, *STRETCH) for each in (simulate(run.plan, found), run))

    for quantile in (0.5, 0.95):
        assert np.quantile(shown.answer, quantile) == pytest.approx(np.quantile(driven.answer, quantile), rel=0.05)
    assert np.median(shown.delivery) == pytest.approx(np.median(driven.delivery), abs=150_000)


def test_the_profile_holds_what_brokers_said(found: Profile):
    """The mean of the stretch by part, how idle handlers were, how many requests, and what of it was used."""
    said = found.brokers_said

    assert said["exporters"] == "3 of 3 brokers"
    assert said["produce_total_ms"] == pytest.approx(TRULY_MS, abs=0.002)
    assert said["produce_remote_ms"] == pytest.approx(0.6 * TRULY_MS, abs=0.002)
    assert said["handlers_idle"] == 0.9
    assert said["produce_requests_of_others"] == pytest.approx(0, abs=0.01)
    assert said["used"] == "produce_leader, produce, acknowledge, fetch, load_slope"
    assert str(said["by_load"]).count(f"{TRULY_MS:.2f} ms 90.0% idle") == 2
    assert "not_used" not in said


@pytest.mark.parametrize("took_ms", [0.3, 0.5], ids=["below what they can tell", "as much as they can tell"])
def test_means_below_half_of_what_is_rounded_to_are_not_believed(run: RunData, seen: Profile, took_ms: float):
    profile = judged(run, seen, told(run, (took_ms, took_ms)))

    assert (profile.produce == seen.produce) == (took_ms < 0.5)
    assert ("they round to whole ms" in str(profile.brokers_said.get("not_used"))) == (took_ms < 0.5)


def test_brokers_that_work_less_than_clients_conclude_are_a_contradiction_and_believed(run: RunData, seen: Profile):
    profile = judged(run, seen, told(run, (1.0, 1.0)))

    assert profile.produce.mean_us == pytest.approx(1000, rel=0.25)
    assert "their own figures make it 1.00 ms: the brokers' are taken" in str(profile.brokers_said["contradictions"])


def test_brokers_that_work_longer_than_clients_wait_are_a_contradiction_and_not_believed(run: RunData, seen: Profile):
    profile = judged(run, seen, told(run, (30.0, 30.0)))

    assert (profile.produce, profile.acknowledge, profile.load_slope) == (
        seen.produce,
        seen.acknowledge,
        seen.load_slope,
    )
    assert "takes 30.00 ms, which is more than clients waited" in str(profile.brokers_said["contradictions"])
    assert profile.brokers_said["not_used"] == "they contradict what clients saw"


def test_answers_that_clients_notice_late_are_no_long_way(run: RunData, seen: Profile):
    """One answer in fifty stalls for 400 ms in the client: brokers know nothing of it, and the quickest answers bound the way back."""
    late = [*seen.produce.quantiles_us[:14], *(q + 400_000 for q in seen.produce.quantiles_us[14:])]
    stalled = seen.model_copy(update={"produce": seen.produce.model_copy(update={"quantiles_us": tuple(late)})})

    profile = judged(run, stalled, told(run, (TRULY_MS, TRULY_MS)))

    assert FAR_US - 120 < profile.acknowledge.median_us < FAR_US + 700
    assert "the rest are answers that clients noticed late" in str(profile.brokers_said["contradictions"])


def test_times_of_other_peoples_requests_are_not_taken_for_ones_own(run: RunData, seen: Profile):
    """Every second request is somebody else's; one in ten may be."""
    half, tenth = (judged(run, seen, told(run, (TRULY_MS, TRULY_MS), times_asked=1 / own)) for own in (0.5, 0.9))

    assert half.produce == seen.produce
    assert "50% of the produce requests were others'" in str(half.brokers_said["not_used"])
    assert tenth.produce != seen.produce
    assert tenth.brokers_said["produce_requests_of_others"] == pytest.approx(0.1, abs=0.01)


def test_fewer_requests_than_the_linger_rule_makes_are_a_contradiction(run: RunData, seen: Profile):
    """The client puts more into a batch than the fit takes it to."""
    said = judged(run, seen, told(run, (TRULY_MS, TRULY_MS), times_asked=0.5)).brokers_said

    assert "where the clients' events make" in str(said["contradictions"])


def test_exporters_without_means_are_told_what_to_show(run: RunData, seen: Profile):
    """The usual rules leave the mean out; medians in whole ms are shown and not used."""
    profile = judged(run, seen, told(run, (2.0, 2.0), means=False))

    assert profile.produce == seen.produce
    assert "let their rules show Mean and Count" in str(profile.brokers_said["not_used"])
    assert profile.brokers_said["produce_total_median_ms"] == pytest.approx(2.0)


def test_load_that_only_brokers_feel_is_a_contradiction_and_theirs_is_taken(run: RunData, seen: Profile):
    """Twice as long at twice the rate, on the whole within what clients saw."""
    profile = judged(run, seen, told(run, (0.8 * TRULY_MS, 1.3 * TRULY_MS)))

    assert profile.load_slope > seen.load_slope + 0.05
    assert "as brokers do: the brokers' is taken" in str(profile.brokers_said["contradictions"])
    assert judged(run, seen, told(run, (TRULY_MS, TRULY_MS))).load_slope == pytest.approx(0, abs=0.01)


def test_work_on_fetches_beyond_what_members_wait_is_a_contradiction(run: RunData, seen: Profile):
    parts = {(FETCH, IN_QUEUE): 4.0, (FETCH, LOCAL): 4.0, (FETCH, TOTAL): 300.0}
    said = judged(run, seen, told(run, (TRULY_MS, TRULY_MS), parts=parts)).brokers_said

    assert "brokers work 8.00 ms on a fetch, waiting apart" in str(said["contradictions"])
    assert (said["fetch_queue_ms"], said["fetch_local_ms"]) == (4.0, 4.0)


def test_partitions_without_all_replicas_make_a_calibration_doubtful(run: RunData, seen: Profile):
    moment = {"underreplicatedpartitions": 2.0, "requestqueuesize": 7.0}
    profile = judged(run, seen, told(run, (TRULY_MS, TRULY_MS), moment=moment))

    assert profile.brokers_said["requests_waiting_most"] == 7
    assert doubts_of_brokers(profile) == ("2 partitions were under-replicated",)
    assert doubts_of_brokers(seen) == ()


def test_exporters_that_could_not_be_read_are_named_and_change_nothing(run: RunData, seen: Profile):
    nobody = judged(run, seen, Readings([], problems=["http://b/metrics cannot be read: timed out"]))
    one = told(run, (TRULY_MS, TRULY_MS))
    one.taken = [each for each in one.taken if each.exporter == 0]
    part = judged(run, seen, one)

    assert nobody.model_copy(update={"brokers_said": {}}) == seen
    assert nobody.brokers_said == {"not_used": "http://b/metrics cannot be read: timed out"}
    assert part.brokers_said["exporters"] == "1 of 3 brokers"
    assert part.brokers_said["produce_requests_of_others"] == pytest.approx(0, abs=0.01)


def test_saturation_beside_idle_handlers_is_a_contradiction(run: RunData):
    """Handlers idle for 90 % of their time; below half, or without saturation, there is nothing to wonder about."""
    readings = told(run, (1.0, 1.0))
    busy = told(run, (1.0, 1.0))
    busy.taken = [
        dataclasses.replace(
            each,
            figures={f: v / 3 if f.what == "requesthandleravgidlepercent" else v for f, v in each.figures.items()},
        )
        for each in busy.taken
    ]
    saturated = {"saturated_requests_hz": 900.0}

    said = at_the_limit({"contradictions": "one"}, saturated, readings, STEPS[1])
    assert str(said["contradictions"]).startswith(
        "one; clients call the brokers saturated at 900.0 requests/s, and request handlers"
    )
    assert said["handlers_idle_at_the_highest_load"] == 0.9
    assert "contradictions" not in at_the_limit({}, saturated, busy, STEPS[1])
    assert "contradictions" not in at_the_limit({}, {}, readings, STEPS[1])
    assert at_the_limit({"a": 1}, saturated, Readings([]), STEPS[1]) == {"a": 1}


def test_a_full_calibration_takes_the_brokers_word_of_the_middle_rate():
    """Three rates, sizes and a stream with acks=1: the mean that brokers show of both kinds leaves for acks=all what it is."""
    true = TRUE.model_copy(update={"load_slope": 0.0})
    runs = {
        name: dataclasses.replace(simulate(make_plan(scenario(name).scenario, SEEDS[name]), true), engine="driven")
        for name in ("steady", "calm", "held back")
    }
    steady, steps = runs["steady"], [(each.begin_ns, each.end_ns) for each in _STEADY_STEPS]
    hz = {name: len(answers(of_topic(steady, name), *steps[1])) for name in ("steady", "steady-acks-1")}
    mixed_ms = (
        (hz["steady"] * true.produce.mean_us + hz["steady-acks-1"] * true.produce_leader.mean_us)
        / sum(hz.values())
        / 1e3
    )
    read = {"steady": told(steady, [mixed_ms] * 3, steps=steps)}

    found, alone = fit_fully(runs, BASE, read), fit_fully(runs, BASE)

    assert found.produce.mean_us == pytest.approx(true.produce.mean_us, rel=0.08)
    assert found.acknowledge.median_us == pytest.approx(FAR_US, abs=150)
    assert found.produce_leader.median_us == pytest.approx(true.produce_leader.median_us, rel=0.3)
    assert alone.produce.mean_us > 1.5 * true.produce.mean_us
    assert found.brokers_said["used"] == "produce, acknowledge, fetch, load_slope"
    assert (found.load_base_hz, found.election) == (alone.load_base_hz, alone.election)
    assert abs(float(found.measured_on["held_back_error_p50"])) < 0.05
