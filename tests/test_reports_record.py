"""The record of predictions: what is kept of each, and what it says about the intervals, with literal numbers."""

from typing import Any

import pandas as pd
import pytest

from reports.agreement import Given, Verdict
from reports.record import (
    Coverage,
    coverage,
    coverage_by_faults,
    coverage_of_all,
    coverage_rows,
    entries,
    figure_of,
    frame,
    record_sentence,
)

ABOUT: dict[str, Any] = {
    "verified_at": "2026-11-26T12:00:00Z", "prediction": "abc", "scenario": "orders", "seed": 1,
    "brokers": "apache-kafka 4.2.1", "faults": "broker_crash", "counts": True,
}  # fmt: skip


def verdict(
    name: str, observed: tuple[float | None, ...], interval: tuple[float, float] | None = (8.0, 12.0)
) -> Verdict:
    given = Given(10.0, (9.0, 11.0), 0.0, 0.05, "agrees", "inside")
    return Verdict(name, "s", 10.0, interval, observed[0], observed, 0.0, None, "agrees", "inside", True, given)


def record(*observed: float, figure: str = "lag.max", counts: bool = True) -> pd.DataFrame:
    about = {**ABOUT, "counts": counts}
    return frame(entry for value in observed for entry in entries({figure: verdict(figure, (value,))}, **about))


def test_each_figure_of_each_live_run_is_an_entry():
    """Two runs of two figures; a count's interval claims 99.9 %."""
    found = entries({"lag.max": verdict("lag.max", (9.0, 13.0)), "lost": verdict("lost", (0.0, 1.0))}, **ABOUT)

    assert [(e.indicator, e.run, e.observed, e.level) for e in found] == [
        ("lag.max", 1, 9.0, 0.95), ("lag.max", 2, 13.0, 0.95), ("lost", 1, 0.0, 0.999), ("lost", 2, 1.0, 0.999),
    ]  # fmt: skip
    assert (found[0].low, found[0].high, found[0].given, found[0].scenario) == (8.0, 12.0, "agrees", "orders")


def test_a_figure_is_an_indicator_without_its_group():
    """What is told before faults is another figure than that of the whole run."""
    names = ("latency[fulfilment].p95", "latency[before faults].p95", "latency[fulfilment, before faults].p95", "lost")

    assert [figure_of(name) for name in names] == [
        "latency.p95", "latency[before faults].p95", "latency[before faults].p95", "lost",
    ]  # fmt: skip


def test_misses_that_the_intervals_allow_are_as_claimed():
    """One of twenty outside is what 95 % claims."""
    (found,) = coverage(record(*[10.0] * 19, 13.0))

    assert (found.count, found.inside, found.is_off) == (20, 19, False)
    assert found.p == pytest.approx(1.0)


def test_too_many_misses_are_noticed():
    """Six of twenty outside have a chance of some 3 in 10,000."""
    (found,) = coverage(record(*[10.0] * 14, *[13.0] * 6))

    assert (found.inside, found.is_off) == (14, True)
    assert found.p == pytest.approx(0.00033, abs=2e-5)
    assert "not as they claim: lag.max" in record_sentence([found])


def test_the_score_adds_a_penalty_of_forty_for_each_unit_of_a_miss():
    """The width is 4; 13 misses by 1: (4 + 40) / 13 and 4 / 10, on average 1.892."""
    (found,) = coverage(record(10.0, 13.0))

    assert found.score == pytest.approx((0.4 + 44 / 13) / 2)


def test_runs_that_say_nothing_and_figures_without_a_number_do_not_count():
    """The driver was the limit; no interval; nothing observed."""
    silent = frame(entries({"lag.max": verdict("lag.max", (None,)), "gap": verdict("gap", (1.0,), None)}, **ABOUT))

    assert coverage(record(99.0, counts=False)) == []
    assert coverage(silent) == []
    assert coverage(pd.DataFrame()) == []
    assert record_sentence([]) == ""


def test_the_tables_rows_say_what_is_off():
    """In percent, with the chance of it, and places on an axis from a half to all: by chance 17 to 20 of 20 lie inside."""
    rows = coverage_rows([Coverage("lag.max", 0.95, 20, 14, 0.00033, 1.25), Coverage("lost", 0.999, 5, 5, 1.0, None)])

    assert rows[0] == {
        "figure": "lag.max", "count": "20", "inside": "70%", "level": "95%", "p": "off (p = 0.00033)", "score": "1.25",
        "by": "figure", "low": 70.0, "high": 100.0, "claimed": 90.0, "seen": 40.0,
    }  # fmt: skip
    assert (rows[1]["level"], rows[1]["p"], rows[1]["score"]) == ("99.9%", "as claimed", "")


def test_the_record_also_goes_by_what_had_happened():
    """All figures together: three where a broker crashed, one of them outside; one where nothing happened. Counts claim something else."""
    crash = entries(
        {"lag.max": verdict("lag.max", (9.0, 13.0)), "gap": verdict("gap", (9.0,)), "lost": verdict("lost", (9.0,))},
        **ABOUT,
    )
    calm = entries({"lag.max": verdict("lag.max", (9.0,))}, **{**ABOUT, "faults": ""})

    found = coverage_by_faults(frame([*crash, *calm]))

    assert [(each.figure, each.count, each.inside, each.by) for each in found] == [
        ("no fault", 1, 1, "faults"), ("broker_crash", 3, 2, "faults"),
    ]  # fmt: skip
    assert coverage_by_faults(pd.DataFrame()) == []
    assert record_sentence(found) == ""  # they are the same figures once more
    assert [row["by"] for row in coverage_rows(coverage_of_all(frame(calm)))] == ["figure", "faults"]
