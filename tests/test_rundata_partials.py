"""Figures that are added up from parts of the time: the same as of the whole, where the whole is one part."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rundata.books import Books
from rundata.histogram import Histogram
from rundata.indicators import measure
from rundata.partials import Level, Most, Placed, gather, total
from rundata.rows import LOG_RECORD, new_operations
from rundata.scopes import covers_everything, scopes_of
from rundata.tables import RunData
from scenario_text import small
from scenarios.expectations import INDICATORS
from scenarios.files import load_text
from scenarios.plan import empty_plan, make_plan
from scenarios.profiles import load_profile
from scenarios.yaml_text import write_yaml
from sim.engine import simulate

QUANTILES = (".p50", ".p90", ".p95", ".p99", ".p999")
SHOP = {"topic": "orders", "arrivals": "1/s"}
WORK = {"topics": ["orders"], "work": "1ms"}
SERIES = ("produced.windows", "consumed.windows")


@pytest.fixture(scope="module")
def run() -> RunData:
    """One with a broker that crashes, dead letters and slow work, without a warm-up."""
    scenario = small(
        ("warm_up: 5s", "warm_up: 0s"),
        ("duration: 60s", "duration: 30s"),
        ("{for: 40s, rate: 200/s}", "{for: 20s, rate: 100/s}"),
        ("{for: 20s, rate: [200/s, 300/s], spacing: even}", "{for: 10s, rate: 100/s}"),
        ("at: 20s, for: 15s", "at: 3s, for: 2s"),
        ("at: 45s, for: 5s", "at: 20s, for: 2s"),
    )
    return simulate(make_plan(scenario, 1), load_profile("local-kafka"))


def test_one_part_says_what_the_whole_run_says(run: RunData) -> None:
    """Each indicator has one definition; only quantiles are read from a histogram."""
    whole, parts = measure(run), total([Placed(gather(run), 1, 0)], faults=False)

    absent = [name for name in whole if name not in parts and "before faults" not in name]
    assert absent == []
    for name, found in parts.items():
        if name.split("[")[0] + ".windows" in SERIES and name.endswith(".windows"):
            continue
        expected = whole[name]
        if name.endswith(QUANTILES) and expected.value is not None:
            assert found.value == pytest.approx(expected.value, rel=0.002), name
        elif name.endswith(".mean"):
            assert found.value == pytest.approx(expected.value, rel=1e-9 if "lag" not in name else 0.05), name
        else:
            assert (found.value, found.unit) == (expected.value, expected.unit), name


@pytest.mark.parametrize(
    ("change", "covering"),
    [
        ({}, {"all", "orders", "shop", "work"}),
        ({"topics": {"orders": {}, "letters": {}}}, {"all", "orders", "shop", "work"}),
        ({"producers": {"shop": SHOP, "till": SHOP}}, {"all", "orders", "work"}),
        ({"groups": {"work": WORK, "audit": WORK}}, {"all", "orders", "shop"}),
        (
            {"topics": {"orders": {}, "parcels": {}}, "producers": {"shop": SHOP, "van": {**SHOP, "topic": "parcels"}}},
            {"all"},
        ),
        (
            {"topics": {"orders": {}, "parcels": {}}, "groups": {"work": {**WORK, "emits": {"topic": "parcels"}}}},
            {"all"},
        ),
    ],
)
def test_a_scope_covers_everything_where_no_other_one_can_have_any_of_it(
    change: dict[str, Any], covering: set[str]
) -> None:
    """Such scopes are measured once; one that took another one's figures for its own would be wrong."""
    raw = {"scenario": "s", "duration": "1m", "brokers": {"kind": "kafka"}, "topics": {"orders": {}}, **change}
    raw = {"producers": {"shop": SHOP}, "groups": {"work": WORK}, **raw}
    plan = empty_plan(load_text(write_yaml(raw)).scenario, 1)
    books = Books(RunData(plan, "simulated", new_operations(0), np.zeros(0, LOG_RECORD)))

    told = {scope for kind in INDICATORS for scope in scopes_of(books, kind)}

    assert {scope.where or scope.kind for scope in told if covers_everything(books, scope)} == covering


def test_a_part_that_stands_for_three_counts_three_times(run: RunData) -> None:
    part = gather(run)
    once, thrice = (total([Placed(part, times, 0)], faults=False) for times in (1, 3))

    assert thrice["dead_lettered"].value == 3 * (once["dead_lettered"].value or 0) > 0
    for same in (
        "produced",
        "delivery",
        "latency.p99",
        "latency.mean",
        "lag.mean",
        "lag.max",
        "availability",
        "errors",
    ):
        assert thrice[same].value == once[same].value, same


def test_parts_that_come_one_after_another_add_up_as_all_at_once(run: RunData) -> None:
    """More than are added up together: seventy times one is one seventy times."""
    part = gather(run)

    one_by_one = total([Placed(part, 1, number < 20) for number in range(70)], faults=True)

    assert one_by_one == total([Placed(part, 70, 20)], faults=True)
    assert one_by_one["dead_lettered"].value == 70 * (
        total([Placed(part, 1, 0)], faults=False)["dead_lettered"].value or 0
    )


def test_parts_before_the_first_fault_are_told_apart(run: RunData) -> None:
    """Of a part that stands at three places, one lies before the faults; of a run without such a place nothing is known."""
    part = gather(run)
    some, none = (total([Placed(part, 3, before)], faults=True) for before in (1, 0))

    assert some["latency[before faults].p50"].value == some["latency.p50"].value
    assert none["latency[before faults].p50"].reason == "the first fault came at once"


def test_pending_pairs_leave_nobody_sure_what_is_lost(run: RunData) -> None:
    part = gather(run)
    key = next(key for key in part.parts if key[0] == "lost")
    open_ended = replace(part, parts={**part.parts, key: {"count": 0, "waiting": 2}})

    found = total([Placed(part, 1, 0), Placed(open_ended, 1, 0)], faults=False)

    assert (found["lost"].value, found["lost"].reason) == (None, "2 pairs were still pending when the drain ended")


def test_what_never_came_is_more_than_anything() -> None:
    assert Most(3.0).or_more(Most(5.0)) == Most(5.0)
    assert Most(None, 2.0, "still waited").or_more(Most(5.0)) == Most(None, 5.0, "still waited")
    assert Level(5, 10, 4, 1) != Level(5, 10, 4, 2)


def test_histograms_add_up_with_their_weights() -> None:
    few, many = Histogram.of(np.array([10, 20])), Histogram.of(np.array([20, 30]))

    summed = Histogram.sum([(few, 1), (many, 3)])

    assert [summed.at_rank(rank) for rank in (1, 2, 5, 6, 8)] == [10.0, 20.0, 20.0, 30.0, 30.0]
    assert summed.count == 8
