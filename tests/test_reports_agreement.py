"""Verdicts: each rule of each kind of figure, with literal numbers."""

import pytest

from page_data import leader_crash
from reports.agreement import Verdict, agreement_json, judge, judged_names, overall, tolerance_of, total_difference
from rundata.measurement import Measurement
from rundata.replications import Estimate
from scenarios.schema import Scenario

FAULTY = leader_crash(agreement={})
CALM = leader_crash(faults=[], agreement={})


def estimate(value: float | None, low: float, high: float, low999: float, high999: float, unit: str = "s") -> Estimate:
    return Estimate(value, unit, (low, high), (low999, high999), replications=200)  # type: ignore[arg-type]  # any unit


def seen(value: float | None, unit: str = "s", **more: float | str) -> Measurement:
    return Measurement(value, unit, **more)  # type: ignore[arg-type]  # any unit


def verdict(scenario: Scenario, name: str, predicted: Estimate, observed: Measurement, **more: object) -> Verdict:
    given = more.pop("given", None)
    fitted = more.pop("fitted", None)
    repeats = [{name: each} for each in more.pop("repeats", ())]  # type: ignore[attr-defined]  # a list of measurements
    return judge(
        scenario,
        {name: predicted},
        {name: observed},
        repeats,
        names=[name],
        given={name: given} if isinstance(given, Estimate) else None,
        fitted={name: fitted} if isinstance(fitted, Estimate) else None,
        limited=str(more["limited"]) if "limited" in more else None,
        doubts={name: str(more["doubt"])} if "doubt" in more else None,
    )[name]


# ---- without faults: by tolerance ------------------------------------------------------------------------------------


def test_inside_a_narrow_interval_agrees():
    """The tolerance of p50 is 5 %: an interval of 92 to 108 ms is at most twice that on each side."""
    found = verdict(CALM, "latency.p50", estimate(0.100, 0.092, 0.108, 0.085, 0.115), seen(0.107))

    assert (found.verdict, found.reason) == ("agrees", "inside the 95 % interval")
    assert (found.tolerance, found.affected) == (0.05, False)
    assert found.difference == pytest.approx(0.07)


def test_inside_a_wide_interval_says_nothing():
    """From 80 to 120 ms is more than twice the tolerance on each side: agreeing with it would be no achievement."""
    found = verdict(CALM, "latency.p50", estimate(0.100, 0.080, 0.120, 0.070, 0.130), seen(0.101))

    assert found.verdict == "cannot tell"
    assert found.reason == "inside an interval too wide to count: its half is more than twice the tolerance of 5%"


def test_between_two_whole_numbers_lies_no_run():
    """Of 80 peak lags the 97.5th percentile is 6.975: runs inside have 5 or 6, whose half-width of 0.5 is within twice 0.3."""
    peak = verdict(CALM, "lag.max", estimate(6.0, 5.0, 6.975, 4.2, 7.9, "events"), seen(6.0, "events"))
    one = verdict(CALM, "lag.max", estimate(30.0, 29.2, 30.9, 28.5, 31.9, "events"), seen(30.0, "events"))

    assert (peak.verdict, peak.reason) == ("agrees", "inside the 95 % interval")
    assert one.verdict == "agrees"


def test_a_peak_lag_that_is_one_more_or_less_of_three_agrees_and_a_mean_does_not():
    """No run's peak is nearer to 3 than 2 or 4 are, while the mean of a lag is no whole number and knows fractions."""
    peak = verdict(CALM, "lag.max", estimate(3.0, 2.0, 4.975, 1.1, 5.9, "events"), seen(3.0, "events"))
    mean = verdict(
        leader_crash(faults=[], agreement={"lag.mean": "5%"}),
        "lag.mean",
        estimate(6.0, 5.0, 6.975, 4.2, 7.9, "events"),
        seen(6.0, "events"),
    )

    assert (peak.verdict, mean.verdict) == ("agrees", "cannot tell")


def test_a_peak_lag_differs_by_the_quantiles_as_they_are():
    """38 is beyond 37.9, but only one and a half events above 36.5, of which 1.75 may be."""
    found = verdict(CALM, "lag.max", estimate(35, 34.6, 36.5, 34.1, 37.9, "events"), seen(38.0, "events"))

    assert found.reason == "outside the 95 % interval, but not certainly more than 5% off"


def test_what_is_on_neither_side_agrees():
    """No saturation was predicted, and there was none; a run that could not be measured for another reason says nothing."""
    never = "lag never stayed above one second of arrivals"
    predicted = Estimate(None, "1/s", reason=never, replications=200)
    neither = verdict(CALM, "consumed.saturated", predicted, seen(None, "1/s", reason=never))
    other = verdict(CALM, "consumed.saturated", predicted, seen(None, "1/s", reason="nothing was consumed"))
    one = verdict(CALM, "consumed.saturated", predicted, seen(500.0, "1/s"))

    assert (neither.verdict, neither.reason) == ("agrees", f"on neither side: {never}")
    assert (other.verdict, other.reason) == ("cannot tell", "not measured: nothing was consumed")
    assert (one.verdict, one.reason) == ("cannot tell", "the prediction has no value")


def test_certainly_within_tolerance_agrees_outside_the_interval():
    """103 ms is at most 4 ms from each value between 99 and 101 ms, and the tolerance is 5 ms."""
    found = verdict(CALM, "latency.p50", estimate(0.100, 0.099, 0.101, 0.098, 0.102), seen(0.103))

    assert (found.verdict, found.reason) == ("agrees", "certainly within 5%")


def test_certainly_outside_interval_and_tolerance_differs():
    found = verdict(CALM, "latency.p50", estimate(0.100, 0.099, 0.101, 0.098, 0.102), seen(0.107))

    assert (found.verdict, found.reason) == ("differs", "outside the 99.9 % interval, and certainly more than 5% off")


def test_outside_the_tolerance_but_not_the_wider_interval_cannot_be_told():
    """110 ms is 9 ms beyond the 95 % interval, and yet one in a thousand runs may lie there."""
    found = verdict(CALM, "latency.p50", estimate(0.100, 0.099, 0.101, 0.088, 0.112), seen(0.110))

    assert found.verdict == "cannot tell"


def test_perhaps_within_tolerance_cannot_be_told():
    """105.5 ms is 4.5 ms beyond the nearest end and 6.5 ms beyond the farthest."""
    found = verdict(CALM, "latency.p50", estimate(0.100, 0.099, 0.101, 0.098, 0.102), seen(0.1055))

    assert (found.verdict, found.reason) == (
        "cannot tell",
        "outside the 95 % interval, but not certainly more than 5% off",
    )


@pytest.mark.parametrize(
    ("observed", "expected"), [(360.0, "agrees"), (364.0, "cannot tell"), (370.0, "differs"), (330.0, "differs")]
)
def test_without_a_tolerance_the_interval_decides(observed: float, expected: str):
    found = verdict(CALM, "produced", estimate(358, 350, 362, 345, 367, "1/s"), seen(observed, "1/s"))

    assert (found.verdict, found.tolerance) == (expected, None)


def test_before_faults_is_judged_by_tolerance_in_a_scenario_with_faults():
    found = verdict(FAULTY, "latency[before faults].p95", estimate(0.100, 0.098, 0.102, 0.097, 0.103), seen(0.106))

    assert (found.verdict, found.tolerance, found.affected) == ("agrees", 0.10, False)


@pytest.mark.parametrize(("observed", "expected"), [(1.8, "agrees"), (1.6, "agrees"), (1.9, "differs")])
def test_one_step_of_a_grid_is_no_difference(observed: float, expected: str):
    """Drain times are read off a grid of 100 ms; 5 % of 1.7 s are less than one step of it."""
    always = estimate(1.7, 1.7, 1.7, 1.7, 1.7)

    assert verdict(CALM, "drain_time", always, seen(observed)).verdict == expected


@pytest.mark.parametrize(
    ("low", "high", "observed", "expected"),
    [
        (7, 9, 9, ("agrees", "inside the 95 % interval")),
        (6, 10, 10, ("agrees", "inside the 95 % interval")),
        (5, 10, 8, ("cannot tell", "inside an interval too wide to count: its half is more than twice the tolerance of 1 event")),
        (8, 8, 9, ("agrees", "certainly within 1 event")),
        (7, 9, 10, ("cannot tell", "outside the 95 % interval, but not certainly more than 1 event off")),
        (7, 9, 11, ("differs", "outside the 99.9 % interval, and certainly more than 1 event off")),
    ],
)  # fmt: skip
def test_a_lag_of_a_few_events_is_not_known_to_less_than_one_event(
    low: float, high: float, observed: float, expected: tuple[str, str]
):
    """5 % of 8 events are 0.4 events, and no lag differs by so little."""
    found = verdict(CALM, "lag.max", estimate(8, low, high, low, high, "events"), seen(observed, "events"))

    assert (found.verdict, found.reason) == expected


@pytest.mark.parametrize(
    ("high", "events", "expected"),
    [
        (1000, 1000, ("agrees", "inside the 95 % interval")),
        (1000, 1001, ("agrees", "within one event of the 95 % interval")),
        (1000, 1002, ("differs", "outside the 99.9 % interval")),
        (1001, 1001, ("agrees", "within one event of the 95 % interval")),
        (1001, 1002, ("cannot tell", "outside the 95 % interval, inside the 99.9 % one")),
    ],
)
@pytest.mark.parametrize("name", ["produced", "consumed"])
def test_one_event_on_the_other_side_of_the_measured_times_end_is_no_difference(
    name: str, high: int, events: int, expected: tuple[str, str]
):
    """Exactly 1,000 events are predicted for it, and by 99.9 % bounds up to `high`; a rate goes in steps of one event."""
    a_second = 10**9 / CALM.measured_ns
    low, most = 1000 * a_second, high * a_second

    found = verdict(CALM, name, estimate(low, low, low, low, most, "events/s"), seen(events * a_second, "events/s"))

    assert (found.verdict, found.reason) == expected


def test_one_event_of_a_time_that_is_no_round_number_is_one_event():
    """1,585 events of 24 s are 66.041666... a second, and one event of it 0.041666..., one of which is rounded up and the other one is not."""
    calm = CALM.model_copy(update={"warm_up": 2 * 10**9, "duration": 26 * 10**9})
    predicted = estimate(1585 / 24, 1585 / 24, 1585 / 24, 1585 / 24, 1585 / 24, "events/s")

    assert verdict(calm, "produced", predicted, seen(1584 / 24, "events/s")).verdict == "agrees"
    assert verdict(calm, "produced", predicted, seen(1583 / 24, "events/s")).verdict == "differs"


# ---- with faults: as predicted, and given ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (8.0, "agrees"),
        (10.0, "agrees"),
        (10.2, "cannot tell"),
        (6.6, "cannot tell"),
        (10.6, "differs"),
        (6.0, "differs"),
    ],
)
def test_a_gap_is_judged_by_its_intervals(observed: float, expected: str):
    """Up to 10 s is in the 95 % interval, beyond 10.5 s outside the 99.9 % one."""
    found = verdict(FAULTY, "gap[orders]", estimate(8.5, 7.0, 10.0, 6.5, 10.5), seen(observed))

    assert (found.verdict, found.tolerance, found.affected) == (expected, None, True)


def test_an_interval_wider_than_the_mechanism_explains_says_nothing():
    """6 s wide, where replications at the fitted parameters span 4 s: 1.5 times."""
    found = verdict(
        FAULTY, "gap[orders]", estimate(8.5, 5.5, 11.5, 5, 12), seen(8.5), fitted=estimate(8.5, 6.5, 10.5, 6, 11)
    )

    assert found.verdict == "cannot tell"
    assert (
        found.reason
        == "inside an interval too wide to count: 1.5 times as wide as at the fitted parameters, where 1.3 times may be"
    )


def test_an_interval_a_little_wider_than_may_be_is_not_said_to_be_as_wide_as_that():
    found = verdict(
        FAULTY, "gap[orders]", estimate(8.5, 6.0, 11.25, 5, 12), seen(8.5), fitted=estimate(8.5, 6.5, 10.5, 6, 11)
    )

    assert found.reason.startswith("inside an interval too wide to count: 1.31 times as wide as at the fitted")


def test_an_interval_up_to_1_3_times_as_wide_counts():
    found = verdict(
        FAULTY, "gap[orders]", estimate(8.5, 6.0, 11.2, 5, 12), seen(8.5), fitted=estimate(8.5, 6.5, 10.5, 6, 11)
    )

    assert found.verdict == "agrees"


def test_ten_live_runs_replace_the_fitted_replications():
    """Ten runs within 0.9 s have a spread far below the 3 s of the interval."""
    repeats = [seen(8.0 + 0.1 * k) for k in range(1, 10)]
    found = verdict(
        FAULTY,
        "gap[orders]",
        estimate(8.5, 7.0, 10.0, 6.5, 10.5),
        seen(8.0),
        repeats=repeats,
        fitted=estimate(8.5, 7.0, 10.0, 6.5, 10.5),
    )

    assert found.verdict == "cannot tell"
    assert "as wide as that of 10 live runs" in found.reason
    assert found.repeats == pytest.approx([8.0, 8.1, 8.2, 8.3, 8.4, 8.5, 8.6, 8.7, 8.8, 8.9])


def test_given_the_observed_instants_tolerance_decides():
    """As predicted 3000 events are too many; with the observed fence the model says 2950, within 5 %."""
    found = verdict(
        FAULTY,
        "lag.max",
        estimate(1800, 1400, 2300, 1300, 2500, "events"),
        seen(3000, "events"),
        given=estimate(2950, 2930, 2970, 2920, 2980, "events"),
    )

    assert found.verdict == "differs"
    assert found.given is not None
    assert (found.given.verdict, found.given.tolerance, found.given.predicted) == ("agrees", 0.05, 2950)
    assert found.given.difference == pytest.approx(3000 / 2950 - 1)


def test_given_may_differ_where_the_prediction_agrees():
    found = verdict(
        FAULTY, "drain_time", estimate(1.8, 1.3, 2.4, 1.2, 2.6), seen(2.3), given=estimate(1.8, 1.75, 1.85, 1.7, 1.9)
    )

    assert found.verdict == "agrees"
    assert found.given is not None
    assert found.given.verdict == "differs"


# ---- counts ----------------------------------------------------------------------------------------------------------


def test_one_lost_event_differs_where_none_was_predicted():
    found = verdict(FAULTY, "lost", estimate(0, 0, 0, 0, 0, "events"), seen(1, "events"))

    assert (found.verdict, found.difference, found.interval) == ("differs", 1, (0, 0))


def test_counts_have_bounds_of_99_9_percent_and_absolute_differences():
    found = verdict(FAULTY, "duplicate_effects", estimate(12, 6, 20, 3, 26, "events"), seen(25, "events"))

    assert (found.verdict, found.difference, found.interval, found.tolerance) == ("agrees", 13, (3, 26), None)


def test_bounds_wider_than_the_mechanisms_own_say_nothing():
    found = verdict(
        FAULTY,
        "duplicate_effects",
        estimate(12, 6, 20, 3, 26, "events"),
        seen(25, "events"),
        fitted=estimate(12, 8, 16, 6, 20, "events"),
    )

    assert (found.verdict, found.reason) == (
        "cannot tell",
        "inside only because the profile is uncertain: outside the mechanism's own 99.9 % bounds",
    )


# ---- what cannot be told ---------------------------------------------------------------------------------------------


def test_a_run_that_says_nothing_gets_no_verdict():
    found = verdict(
        FAULTY,
        "gap[orders]",
        estimate(8.5, 7, 10, 6.5, 10.5),
        seen(30.0),
        limited="the senders ran 40ms behind the plan",
        given=estimate(8.5, 8.4, 8.6, 8.3, 8.7),
    )

    assert (found.verdict, found.reason) == (
        "cannot tell",
        "the run says nothing: the senders ran 40ms behind the plan",
    )
    assert found.given is not None
    assert found.given.verdict == "cannot tell"


def test_what_was_not_measured_tells_why():
    found = verdict(
        FAULTY, "lost", estimate(0, 0, 0, 0, 0, "events"), seen(None, "events", reason="18 pairs were pending")
    )

    assert (found.verdict, found.reason) == ("cannot tell", "not measured: 18 pairs were pending")


def test_a_value_that_neither_reaches_agrees():
    predicted = Estimate(None, "s", at_least=30.0, replications=200)

    assert verdict(FAULTY, "latency.p99", predicted, seen(None, at_least=28.0)).verdict == "agrees"


def test_a_value_never_reached_beyond_the_interval_differs():
    predicted = estimate(8, 7, 10, 6, 11)

    assert verdict(FAULTY, "latency.p99", predicted, seen(None, at_least=12.0)).verdict == "differs"
    assert verdict(FAULTY, "latency.p99", predicted, seen(None, at_least=9.0)).verdict == "cannot tell"


def test_one_replication_has_no_interval_to_judge_by():
    found = verdict(FAULTY, "gap[orders]", Estimate(8.5, "s"), seen(8.5))

    assert (found.verdict, found.reason) == (
        "cannot tell",
        "the prediction has no interval; it needs several replications",
    )


# ---- tolerances, names, documents ------------------------------------------------------------------------------------


def test_the_scenarios_agreement_replaces_tolerances_also_for_its_groups():
    scenario = leader_crash(agreement={"latency[before faults].p50": "15%", "lag[fulfilment].max": "20%"})

    assert tolerance_of(scenario, "latency[before faults].p50") == 0.15
    assert tolerance_of(scenario, "latency[fulfilment, before faults].p50") == 0.15
    assert tolerance_of(scenario, "latency.p50") == 0.05
    assert tolerance_of(scenario, "lag[fulfilment].max") == 0.20
    assert tolerance_of(scenario, "lag.max") == 0.05
    assert tolerance_of(scenario, "produced") is None


def test_the_default_tolerances():
    names = (
        "consumed.saturated",
        "consumed.windows",
        "latency.p50",
        "latency.p95",
        "latency.p99",
        "lag.max",
        "drain_time",
    )

    assert [tolerance_of(CALM, name) for name in names] == [0.05, 0.05, 0.05, 0.10, 0.15, 0.05, 0.05]


def test_what_is_judged():
    """With faults also before them; with one group nothing twice."""
    faulty, calm = judged_names(FAULTY), judged_names(CALM)

    for name in ("lag.max", "gap[orders]", "gap[analytics]", "latency[fulfilment, before faults].p99", "lost"):
        assert name in faulty
    assert "consumed.windows" in calm
    assert "consumed.windows" not in faulty
    assert not [name for name in calm if "before faults" in name]
    alone = leader_crash(
        groups={"fulfilment": {"topics": ["orders"], "work": "1ms"}}, faults=[], objectives={}, expect=[]
    )
    assert not [name for name in judged_names(alone) if "fulfilment" in name]


def test_a_series_is_judged_in_total():
    """Windows of 100 events/s: 2 % off in one direction each is within 5 % in total, 8 % is not."""
    predicted = Estimate(
        None, "1/s", series=(100.0, 100.0), series_interval=((99.5, 100.5), (99.5, 100.5)), replications=200
    )

    def outcome(*series: float) -> str:
        return verdict(CALM, "consumed.windows", predicted, Measurement(None, "1/s", series=series)).verdict

    assert outcome(100.0, 100.2) == "agrees"
    assert outcome(102.0, 98.0) == "agrees"
    assert outcome(108.0, 92.0) == "differs"
    assert outcome(105.2, 94.8) == "cannot tell"
    assert outcome(100.0) == "cannot tell"
    assert total_difference((108.0, 92.0), (100.0, 100.0)) == pytest.approx(0.08)


def test_the_worst_verdict_is_the_whole():
    agrees = verdict(FAULTY, "lost", estimate(0, 0, 0, 0, 0, "events"), seen(0, "events"))
    differs = verdict(FAULTY, "lost", estimate(0, 0, 0, 0, 0, "events"), seen(2, "events"))
    unsure = verdict(FAULTY, "lost", estimate(0, 0, 0, 0, 0, "events"), seen(None, "events"))

    assert overall({"a": agrees, "b": unsure, "c": differs}) == "differs"
    assert overall({"a": agrees, "b": unsure}) == "cannot tell"
    assert overall({"a": agrees}) == "agrees"
    assert overall({}) == "cannot tell"


def test_the_document_of_verify():
    """Every key of the published shape is there, and an infinite end is null."""
    found = verdict(
        FAULTY,
        "drain_time",
        estimate(2.0, 1.0, float("inf"), 1.0, float("inf")),
        seen(2.5),
        given=estimate(2.4, 2.3, 2.5, 2.2, 2.6),
    )

    assert agreement_json({"drain_time": found})["drain_time"] == {
        "predicted": 2.0,
        "interval": [1.0, None],
        "observed": 2.5,
        "repeats": [2.5],
        "difference": 0.25,
        "tolerance": None,
        "verdict": "agrees",
        "sources": None,
        "given": {
            "predicted": 2.4,
            "interval": [2.3, 2.5],
            "difference": pytest.approx(2.5 / 2.4 - 1),
            "tolerance": 0.05,
            "verdict": "agrees",
            "reason": "inside the 95 % interval",
        },
        "unit": "s",
        "reason": "inside the 95 % interval",
    }


# ---- doubts ----------------------------------------------------------------------------------------------------------


def test_a_difference_that_may_have_another_cause_is_no_verdict():
    """Without the doubt it differs; with it, both verdicts say what else it may be, and what agreed still agrees."""
    slow = "the host was 18% slower than when the profile was measured"
    predicted, given = estimate(10.0, 8.0, 12.0, 7.0, 13.0), estimate(10.0, 9.9, 10.1, 9.8, 10.2)

    plain = verdict(FAULTY, "lag.max", predicted, seen(15.0), given=given)
    doubted = verdict(FAULTY, "lag.max", predicted, seen(15.0), given=given, doubt=slow)
    agreeing = verdict(FAULTY, "lag.max", predicted, seen(10.0), given=given, doubt=slow)

    assert (plain.verdict, plain.given and plain.given.verdict) == ("differs", "differs")
    assert (doubted.verdict, doubted.given and doubted.given.verdict) == ("cannot tell", "cannot tell")
    assert doubted.reason == f"{slow} ({plain.reason})"
    assert (agreeing.verdict, agreeing.given and agreeing.given.verdict) == ("agrees", "agrees")
