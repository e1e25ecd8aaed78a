"""PromQL: certified by promtool over two days with resets, gaps and restarts; and literal vectors, windows and refusals."""

import numpy as np
import pytest

import certified
from promtool import find_promtool, same
from reports.alerts.promql import Query, evaluate, parse, vector_of
from reports.alerts.series import AlertError, Series, Store, metric_text
from reports.alerts.states import evaluate_rules
from reports.alerts.windows import Release

# ---- promtool --------------------------------------------------------------------------------------------------------


def differences(ours: dict[str, dict[str, float]], theirs: dict[str, dict[str, float]]) -> list[str]:
    assert ours.keys() == theirs.keys()
    return [f"{key}: {ours[key]}, promtool {theirs[key]}" for key in theirs if not same(ours[key], theirs[key])]


def test_every_rule_agrees_with_promtool_digit_for_digit_over_two_days():
    """Sixty rules, 2881 evaluations each, over counters that reset, scrapes that fail and targets that restart; answers as kept."""
    kept = certified.kept()

    assert certified.HOURS == 48
    assert differences(certified.ours(), kept) == []
    assert sum(1 for answer in kept.values() if answer) > 1500
    for rule in certified.rule_file().rules:  # a rule that never showed anything would certify nothing
        assert any(answer for key, answer in kept.items() if rule.name in key), rule.name


def test_the_kept_answers_are_promtools():
    program = find_promtool()
    if program is None:
        pytest.skip("there is no promtool here; its kept answers stand in for it")

    assert differences(certified.theirs(program), certified.kept()) == []


def test_a_range_that_begins_a_sample_too_late_is_noticed():
    """The planted defect: ranges as Prometheus 3 closes them."""
    file = certified.rule_file()
    evaluated = evaluate_rules(file, Store(certified.input_series()), 0, certified.LAST_MS, release=3)
    found = differences(certified.answers(file, evaluated, certified.questions(file)), certified.kept())

    assert any("c:count_over" in line for line in found)
    assert any("c:rate5m" in line for line in found)


# ---- literal vectors -------------------------------------------------------------------------------------------------


def series(name: str, *values: float, step_s: int = 15, **labels: str) -> Series:
    times = np.arange(len(values), dtype=np.int64) * step_s * 1000
    return Series.of(name, labels, times, np.asarray(values, np.float64))


def at(text: str, seconds: float, *found: Series, release: Release = 2) -> dict[str, float]:
    query = Query(Store(found), np.asarray([round(seconds * 1000)], np.int64), release)
    vector = vector_of(parse(text), query)
    return {metric_text(labels): float(values[0]) for labels, values, there in vector.rows if there[0]}


def test_rate_is_extrapolated_to_the_edges_of_the_range():
    """Samples at 0, 15, 30, 45 and 60 s, +10 each: over a minute that ends at 60 s the increase is the 40 between them."""
    counter = series("c_total", 0, 10, 20, 30, 40)

    assert at("increase(c_total[1m])", 60, counter) == {"{}": 40.0}
    assert at("rate(c_total[1m])", 60, counter) == {"{}": pytest.approx(40 / 60)}


def test_rate_adds_what_a_counter_had_before_it_was_reset():
    """10, 20, then from zero: 5, 15. The increase is 10 + 5 + 10 = 25 in 45 s, and the range is as long."""
    assert at("increase(c_total[45s])", 45, series("c_total", 10, 20, 5, 15)) == {"{}": 25.0}


def test_rate_reaches_half_a_spacing_beyond_its_samples_where_the_edge_is_far():
    """Two samples 15 s apart in a range of 5 min that began 255 s before them: 100 more in 15 s, extrapolated to 30 s."""
    late = Series.of("c_total", {}, np.asarray([255_000, 270_000], np.int64), np.asarray([1000.0, 1100.0]))

    assert at("increase(c_total[5m])", 300, late) == {"{}": pytest.approx(100 * (15 + 7.5 + 7.5) / 15)}


def test_rate_does_not_reach_back_beyond_where_the_counter_was_zero():
    """1 at 10 s and 101 at 25 s: at 100 per 15 s it was zero 0.15 s before the first sample."""
    young = Series.of("c_total", {}, np.asarray([10_000, 25_000], np.int64), np.asarray([1.0, 101.0]))

    assert at("increase(c_total[25s])", 25, young) == {"{}": pytest.approx(100 * (15 + 0.15) / 15)}


def test_one_sample_has_no_rate():
    assert at("rate(c_total[10s])", 60, series("c_total", 0, 10, 20, 30, 40)) == {}


@pytest.mark.parametrize(("release", "count"), [(2, 3.0), (3, 2.0)])
def test_a_sample_at_the_ranges_begin_counts_in_prometheus_2_and_not_in_3(release: Release, count: float):
    assert at("count_over_time(up[30s])", 60, series("up", 1, 1, 1, 1, 1), release=release) == {"{}": count}


def test_a_value_is_seen_for_five_minutes_unless_a_stale_mark_ends_it():
    alive = series("up", 1.0)
    ended = Series.of("up", {"job": "gone"}, np.asarray([0, 15_000], np.int64), np.asarray([1.0, 0.0]))
    gone = Series(ended.labels, ended.times_ms, ended.values, np.asarray([False, True]))

    assert at("up", 10, alive, gone) == {"up": 1.0, 'up{job="gone"}': 1.0}
    assert at("up", 15, alive, gone) == {"up": 1.0}
    assert at("up", 300, alive) == {"up": 1.0}
    assert at("up", 301, alive) == {}


def test_two_series_on_the_one_side_are_refused_as_prometheus_does():
    left, right = series("a", 1, x="1"), [series("b", 1, x="1", y=each) for each in "12"]

    with pytest.raises(AlertError, match=r"name more labels in on\(\), or aggregate that side first"):
        at("a + on(x) b", 0, left, *right)
    with pytest.raises(AlertError, match="write group_left if that is meant"):
        at("b + on(x) a", 0, left, *right)
    assert at("b + on(x) group_left() a", 0, left, *right) == {'{x="1", y="1"}': 2.0, '{x="1", y="2"}': 2.0}


def test_series_that_lose_what_tells_them_apart_are_refused():
    both = [series("a_total", 1, 2, 3), series("b_total", 1, 2, 3)]

    with pytest.raises(AlertError, match="at the same instant, which Prometheus refuses"):
        at('rate({__name__=~".*_total"}[1m])', 30, *both)


def test_quantile_of_a_histogram_is_interpolated_in_its_bucket():
    """100 events: 50 up to 0.1 s, 90 up to 0.5 s, all up to inf. p70 lies half-way into the second bucket."""
    buckets = [series("h_bucket", count, le=le) for le, count in (("0.1", 50), ("0.5", 90), ("+Inf", 100))]

    assert at("histogram_quantile(0.7, h_bucket)", 0, *buckets) == {"{}": pytest.approx(0.3)}
    assert at("histogram_quantile(0.99, h_bucket)", 0, *buckets) == {"{}": 0.5}, "beyond the last bound nobody knows"


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "topk(3, up)",
            "the aggregation topk is not evaluated here; there is avg, count, group, max, min, quantile, stddev, stdvar, sum",
        ),
        ("ln(up)", "the function ln is not evaluated here"),
        ("up ^ 2", "the operator \\^ is not evaluated here"),
        ("up @ 0", "the modifier @ .* is not evaluated here; `offset` is"),
        ("rate(up[5m] @ end())", "the modifier @ end"),
        ("sum(exp(up))", "the function exp"),
        ('up{job=~"\\\\pL+"}', "RE2 and Python read differently"),
        ("rate(up)", "is no PromQL: expected type matrix"),
        ("sum(", "is no PromQL"),
    ],
)
def test_what_is_not_evaluated_is_refused_by_name(text: str, named: str):
    with pytest.raises(AlertError, match=named):
        parse(text)


def test_a_number_is_a_number_at_every_instant():
    assert np.asarray(evaluate(parse("1 + 2 * 3"), Query(Store(), np.asarray([0, 60_000])))).tolist() == [7.0, 7.0]
