"""Figures over replications, expectations, histograms, windows and series."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundata import series, windows
from rundata.dataset import save
from rundata.expect import judge
from rundata.histogram import Histogram, bin_of, middle_of
from rundata.measurement import Measurement
from rundata.replications import estimate, summarise
from runs import Build, clean_run, ns, scenario_with

# ---- replications --------------------------------------------------------------------------------------------------


def seconds(*values: float) -> list[Measurement]:
    return [Measurement(value, "s") for value in values]


def never(at_least: float) -> Measurement:
    return Measurement(None, "s", at_least, "1 of 4 never came")


def test_the_prediction_is_the_median_and_the_interval_lies_between_replications() -> None:
    """Of 1 to 199: the median is 100, 95 % lie from the 5th to the 195th."""
    found = estimate(seconds(*(float(n) for n in range(1, 200))))

    assert (found.value, found.interval) == (100.0, (5.0, 195.0))
    assert found.interval999 is not None
    assert found.interval999[0] == 0.0  # fewer than 1999 replications: by Student's t, and no time is negative
    assert found.interval999[1] > 199


def test_the_means_interval_is_students() -> None:
    """Of 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.3027, so 2 +- 2.4841."""
    found = estimate(seconds(1.0, 2.0, 3.0))

    assert found.mean_interval is not None and found.interval is not None
    assert list(found.mean_interval) == pytest.approx([2 - 2.4841, 2 + 2.4841], abs=1e-4)
    # One run more: 2 +- 4.3027 * sqrt(1 + 1/3) = 4.9683, and nothing is below zero.
    assert list(found.interval) == pytest.approx([0.0, 6.9683], abs=1e-4)


def test_replications_that_are_all_equal_have_a_point_for_an_interval() -> None:
    found = estimate([Measurement(0.0, "events")] * 200)

    assert (found.value, found.interval, found.interval999, found.mean_interval) == (0, (0, 0), (0, 0), (0, 0))


def test_a_value_that_a_few_never_reach_has_an_open_interval() -> None:
    found = estimate([*seconds(*([1.0] * 90)), *([never(50.0)] * 10)])

    assert (found.value, found.interval, found.mean_interval) == (1.0, (1.0, math.inf), None)
    assert found.reason == "never reached in 10 of 100 replications"
    assert found.to_json()["interval"] == [1.0, None]


def test_a_value_that_most_never_reach_is_null_with_a_bound() -> None:
    found = estimate([*seconds(1.0), never(50.0), never(60.0)])

    assert (found.value, found.at_least) == (None, 50.0)
    assert found.to_json()["at_least"] == 50.0


def test_what_cannot_be_measured_has_a_reason() -> None:
    absent = Measurement(None, "1/s", None, "lag never stayed above one second of arrivals")
    assert estimate([absent, absent]).reason == absent.reason
    assert estimate([absent, Measurement(5.0, "1/s")]).value == 5.0
    assert estimate([absent, Measurement(5.0, "1/s")]).reason == "not measurable in 1 of 2 replications"


def test_a_single_run_has_no_intervals() -> None:
    assert estimate(seconds(2.0)).to_json() == {"value": 2.0, "unit": "s", "interval": None, "mean_interval": None}


def test_a_series_is_summarised_window_by_window() -> None:
    found = estimate([Measurement(None, "1/s", None, "is a series", (float(n), 10.0)) for n in (1, 2, 3)])

    assert found.series == (2.0, 10.0)
    assert found.to_json()["value"] == [2.0, 10.0]


def test_every_indicator_of_any_replication_is_summarised() -> None:
    found = summarise([{"a": Measurement(1.0, "s")}, {"a": Measurement(3.0, "s"), "b": Measurement(5.0, "s")}])

    assert {name: one.value for name, one in found.items()} == {"a": 2.0, "b": 5.0}


# ---- expectations --------------------------------------------------------------------------------------------------


def judged(texts: list[str], *runs: dict[str, Measurement]) -> list[Any]:
    results = judge(scenario_with({"expect": texts}), list(runs) if len(runs) != 1 else runs[0])
    return [(result.value, result.held, result.share_held) for result in results]


def test_expectations_compare_in_the_indicators_unit() -> None:
    run = {
        "gap[orders]": Measurement(11.9, "s"),
        "errors": Measurement(0.001, "share"),
        "lost": Measurement(1.0, "events"),
    }

    assert judged(["gap[orders] < 12s", "gap[orders] < 11.9s", "errors <= 0.1%", "lost == 0"], run) == [
        (11.9, True, 1.0),
        (11.9, False, 0.0),
        (0.001, True, 1.0),
        (1.0, False, 0.0),
    ]


def test_what_was_not_measured_does_not_hold_and_says_why() -> None:
    scenario = scenario_with({"expect": ["lost == 0", "drain_time < 5s", "drain_time > 1s"]})
    pending = Measurement(None, "events", None, "2 pairs were still pending when the drain ended")
    results = judge(scenario, {"lost": pending, "drain_time": Measurement(None, "s", 30.0, "lag was still 5")})

    assert [result.held for result in results] == [False, False, False]
    assert [result.reason for result in results][:2] == [
        "2 pairs were still pending when the drain ended",
        "never reached, at least 30 s; lag was still 5",
    ]
    assert judge(scenario, {})[0].reason == "lost was not measured"


def test_over_replications_it_must_hold_in_95_percent() -> None:
    """19 of 20 are enough for a gap, and not for what is lost."""
    runs = [{"gap": Measurement(1.0, "s"), "lost": Measurement(0.0, "events")} for _ in range(19)]
    runs.append({"gap": Measurement(9.0, "s"), "lost": Measurement(1.0, "events")})

    assert judged(["gap < 2s", "lost == 0"], *runs) == [(1.0, True, 0.95), (0.0, False, 0.95)]
    assert judged(["gap < 2s"], *runs[1:], runs[-1]) == [(1.0, False, 0.9)]


# ---- histogram -----------------------------------------------------------------------------------------------------


def test_small_numbers_are_exact() -> None:
    values = np.arange(-511, 512)

    assert middle_of(bin_of(values)).tolist() == values.tolist()


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1))
def test_bins_are_within_two_tenths_of_a_percent(numbers: list[int]) -> None:
    values = np.array(numbers)
    middles = middle_of(bin_of(values))

    assert np.all(np.abs(middles - values) <= np.abs(values) / 500)
    assert np.all(np.diff(bin_of(np.sort(values))) >= 0)


@given(st.lists(st.integers(0, 10**12), min_size=1), st.data())
def test_histograms_merge_exactly(numbers: list[int], data: st.DataObject) -> None:
    """Any split, merged in any order, is the histogram of all values."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(numbers)), max_size=3)))
    parts = data.draw(st.permutations([Histogram.of(part) for part in np.split(np.array(numbers), cuts)]))
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    whole = Histogram.of(np.array(numbers))

    assert merged.bins.tolist() == whole.bins.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()


def test_a_histograms_quantile_is_that_of_its_values() -> None:
    found = Histogram.of(np.array([10, 20, 30, 40]))

    assert [found.quantile(p) for p in (250, 500, 501, 1000)] == [10, 20, 30, 40]
    assert (found.count, found.share_at_most(30)) == (4, 0.75)


# ---- windows -------------------------------------------------------------------------------------------------------


def test_windows_hold_what_happened_in_each_second(tmp_path: Path) -> None:
    """Two effects in second 0 (one per partition), one in second 1; histograms give the latencies back."""
    build = Build()
    build.flow(0.1, partition=0, latency=0.2)
    build.flow(0.2, partition=1, latency=0.3)
    build.flow(0.9, partition=0, latency=0.4)
    save(build.run(), tmp_path / "run")

    rows = pq.read_table(tmp_path / "run" / "windows.parquet").to_pylist()

    assert [(r["stage"], r["begin_ns"] // ns(1), r["topic"], r["partition"], r["of"], r["count"]) for r in rows] == [
        ("ack", 0, "orders", 0, "shop", 2),
        ("ack", 0, "orders", 1, "shop", 1),
        ("effect", 0, "orders", 0, "work", 1),
        ("effect", 0, "orders", 1, "work", 1),
        ("effect", 1, "orders", 0, "work", 1),
    ]
    last = Histogram(np.array(rows[-1]["bins"], np.int32), np.array(rows[-1]["counts"]))
    assert last.quantile(500) == pytest.approx(ns(0.4), rel=0.002)


def test_the_windows_of_a_run_add_up_to_its_events(tmp_path: Path) -> None:
    save(clean_run(20), tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "windows.parquet").to_pylist()

    for stage in ("ack", "effect"):
        assert sum(row["count"] for row in table if row["stage"] == stage) == 20
        assert sum(sum(row["counts"]) for row in table if row["stage"] == stage) == 20


# ---- series --------------------------------------------------------------------------------------------------------


def test_lag_over_time() -> None:
    build = Build()
    event = build.event(1.0)
    build.send(event)
    build.handle(event, 2.9, 3.0)
    times, values = series.lag(build.run(), "work", ns(0.5))

    assert (times[-1], values[:8].tolist()) == (ns(20), [0, 0, 0, 1, 1, 1, 0, 0])
    assert series.lag_age(build.run(), "work", ns(1))[1][:4].tolist() == [0, 0, ns(0.99), 0]


def test_rates_over_time() -> None:
    build = Build()
    for at in (0.1, 0.2, 2.5):
        build.flow(at, latency=1.0)
    run = build.run()

    assert series.rate(run, "planned")[1][:4].tolist() == [2, 0, 1, 0]
    assert series.rate(run, "acknowledged", "shop")[1][:4].tolist() == [2, 0, 1, 0]
    assert series.rate(run, "effect", "work")[1][:4].tolist() == [0, 2, 0, 1]
    assert series.rate(run, "sent", step_ns=ns(2))[1][:2].tolist() == [1, 0.5]


def test_latency_over_time_by_intended_second() -> None:
    """Two events in second 0; one in second 1 that never took effect; none in second 2."""
    build = Build()
    build.flow(0.1, latency=1.0)
    build.flow(0.2, latency=3.0)
    build.send(build.event(1.5))
    times, found = series.latency_over_time(build.run(), "work")

    assert times[:3].tolist() == [0, ns(1), ns(2)]
    assert found["p50"][:2].tolist() == [ns(1), math.inf]
    assert found["p99"][0] == ns(3)
    assert math.isnan(found["p50"][2])


def test_latencies_are_those_of_the_indicator() -> None:
    run = clean_run(5)

    assert series.latencies(run, "work").latency_ns.tolist() == [ns(0.1)] * 5
    assert series.latencies(run, "shop", "ack").latency_ns.tolist() == [ns(0.01)] * 5
    assert series.latencies(run).histogram().count == 5


def test_outages_are_long_waits_with_their_place() -> None:
    build = Build()
    event = build.event(2.0, partition=1)
    build.send(event)
    build.handle(event, 5.0, 5.1)
    build.flow(6.0)

    assert series.outages(build.run()) == [series.Outage("work", "orders/1", ns(2), ns(5))]


@pytest.mark.parametrize("widest", [1_000, 2**62], ids=["as one number", "too wide for one number"])
def test_windows_come_in_the_order_of_time_place_and_bin(widest: int) -> None:
    """Several columns, negative ones too, are sorted like tuples, whether or not they fit into one number."""
    generator = np.random.default_rng(1)
    columns = [generator.integers(-3, 4, 500) * scale for scale in (widest // 3, 1, 100, 7)]

    order = windows._order(*columns)

    rows = list(zip(*(column[order].tolist() for column in columns), strict=True))
    assert rows == sorted(rows) and sorted(order.tolist()) == list(range(500))
