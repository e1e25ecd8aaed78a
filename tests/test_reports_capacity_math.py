"""Sums of capacity plans, by the vectors that the literature gives and by literal numbers."""

import math

import pytest

from reports.capacity_math import (
    Prices,
    cluster_limit,
    drain_s,
    fit_scalability,
    longest_outage_s,
    monthly_cost,
    partitions_needed,
    prices_of,
    runs_out_after_days,
)
from scenarios.quantities import DAY

SDM91 = [(1, 64.9), (18, 995.9), (36, 1652.4), (72, 1853.2), (108, 1828.9), (144, 1775.0), (216, 1702.2)]
"""SPEC SDM91 on 16 processors: users and scripts per hour."""
LOADS = [(1, 1.0), (2, 1.8868), (4, 3.0769), (6, 3.5294), (8, 3.5398), (10, 3.3557)]


def test_the_law_fits_spec_sdm91() -> None:
    found = fit_scalability(SDM91)

    assert found.gamma == pytest.approx(89.995, rel=1e-3)
    assert found.alpha == pytest.approx(0.02773, rel=2e-3)
    assert found.beta == pytest.approx(1.0437e-4, rel=2e-3)
    assert found.peak == pytest.approx(96.52, rel=1e-3)
    low, high = found.intervals["peak"]
    assert low < 96.52 < high
    assert found.warnings == ()


def test_the_law_is_found_again_from_its_own_values() -> None:
    found = fit_scalability(LOADS)

    assert (found.gamma, found.alpha, found.beta) == pytest.approx((1.0, 0.02, 0.02), abs=2e-4)
    assert found.peak == pytest.approx(7.0, abs=0.05)
    assert found.at(4) == pytest.approx(3.0769, abs=1e-3)


def test_few_points_and_far_questions_are_warned_of() -> None:
    few = fit_scalability(LOADS[:4], asked_n=20)

    assert few.warnings[0] == "4 points are few for three parameters: measure 6 or more"
    assert few.warnings[-1] == "20 lies beyond twice the largest N measured (6): a guess"


def test_perfect_scaling_has_no_peak() -> None:
    assert fit_scalability([(n, 10.0 * n) for n in range(1, 8)]).peak == math.inf


def test_the_longest_outage_leaves_a_backlog_that_the_reserve_drains() -> None:
    """900/s of capacity at 600/s of load: 10 minutes of recovery pay for 5 of outage."""
    assert longest_outage_s(600, 900, 600) == 300
    assert drain_s(300 * 600, 900, 600) == 600
    assert (longest_outage_s(600, 500, 600), drain_s(10, 500, 600)) == (0.0, math.inf)


def test_partitions_follow_the_slower_side_and_growth() -> None:
    assert partitions_needed(1000, 400, 250) == 4
    assert partitions_needed(1000, 400, 250, growth=1.5) == 6


def test_the_narrowest_part_of_a_cluster_is_named() -> None:
    """Three brokers, three copies, five groups: the network carries 3 * 700 / 7; two that catch up leave less."""
    found = cluster_limit(brokers=3, replicas=3, groups=5, storage=400, storage_network=500, network=700)
    behind = cluster_limit(
        brokers=3, replicas=3, groups=5, storage=400, storage_network=500, network=700, catching_up=2
    )

    assert (found.bytes_per_s, found.bottleneck) == (300, "network")
    assert behind.bytes_per_s == pytest.approx(700 * 3 / 9)


def test_growth_reaches_the_capacity_some_day() -> None:
    """Doubling takes 7.27 months at 10 % a month."""
    assert runs_out_after_days(2000, 1000, 0.1) == pytest.approx(218.2, abs=0.1)
    assert runs_out_after_days(2000, 1000, 0.0) == math.inf
    assert runs_out_after_days(900, 1000, 0.1) == 0


def test_a_month_is_priced_by_item() -> None:
    """1 MB/s kept 10 days in 3 copies: 2,592 GB; tiered after 1 day: 259.2 GB hot and 777.6 GB once."""
    prices = Prices(
        "2026-11-01", "EUR", broker_month=100, storage_gb_month=0.1, tiered_gb_month=0.02, cross_zone_gb=0.01
    )
    plain = monthly_cost(prices, ingress_bytes_s=1e6, retention_ns=10 * DAY, replicas=3, brokers=3, groups=3, zones=3)
    tiered = monthly_cost(
        prices, ingress_bytes_s=1e6, retention_ns=10 * DAY, replicas=3, brokers=3, groups=3, hot_ns=DAY
    )

    assert (plain["brokers"], plain["storage"], plain["tiered storage"]) == (300, pytest.approx(259.2), 0)
    assert plain["between zones"] == pytest.approx(0.01 * 2592 * (2 / 3 + 2 + 2))
    assert (tiered["storage"], tiered["tiered storage"]) == (pytest.approx(25.92), pytest.approx(15.552))
    assert tiered["between zones"] == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"date": "2026-11-01", "currency": "EUR", "storage": 1},
            "'storage' is no price; prices hold date and currency",
        ),
        ({"currency": "EUR"}, "prices hold date and currency"),
        (
            {"date": "2026-11-01", "currency": "EUR", "broker_month": "much"},
            "broker_month is 'much'; a price is a number of EUR",
        ),
    ],
)
def test_prices_that_are_none_are_refused(value: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        prices_of(value)
