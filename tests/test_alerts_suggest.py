"""The search for burn-rate rules, and warnings about rules that cannot work; literal shares of bad events."""

import numpy as np
import pytest

from reports.alerts.backtest import Case
from reports.alerts.burn import HOUR_MS, MINUTE_MS, BurnWindow
from reports.alerts.months import placed
from reports.alerts.rules import parse_rules
from reports.alerts.series import AlertError, Series, Store
from reports.alerts.suggest import _Judge, suggest
from reports.alerts.truth import Trouble
from reports.alerts.unreachable import file_warnings, window_warnings
from scenarios.schema import Objective

FAST = Objective.model_validate({"indicator": "latency", "of": "work", "below": "500ms", "target": "99%"})
MINUTES = 3 * 24 * 60


def case(stretches: list[tuple[int, int, float]], troubles: list[Trouble]) -> Case:
    """A hundred events a minute; in the stretches (begin, end, share) some are bad."""
    minutes = np.arange(MINUTES + 1)
    bad = np.zeros(MINUTES + 1)
    for begin, end, share in stretches:
        bad[begin:end] = 100 * share
    times = minutes * MINUTE_MS
    found = [
        Series.of("objective_events_total", {"objective": "fast"}, times, np.cumsum(np.full(MINUTES + 1, 100.0))),
        Series.of("objective_bad_events_total", {"objective": "fast"}, times, np.cumsum(bad)),
    ]
    return Case("case", Store(found), tuple(troubles), MINUTES * MINUTE_MS)


def trouble(begin: int, end: int, worth: str = "page") -> Trouble:
    return Trouble(f"t{begin}", begin * MINUTE_MS, end * MINUTE_MS, worth, 0.05)  # type: ignore[arg-type]  # one of its words


def outages_and_blips() -> Case:
    """Six outages of 20 minutes with 30 % bad; between them blips of six minutes with as much, which nobody minds."""
    outages = [(300 + 700 * number, 320 + 700 * number, 0.3) for number in range(6)]
    places = [
        place
        for place in placed(MINUTES, 40, seed=1, apart=20)
        if all(abs(place - begin) > 90 for begin, _, _ in outages)
    ]
    blips = [(place, place + 6, 0.3) for place in places]
    return case(outages + blips, [trouble(begin, end) for begin, end, _ in outages])


def test_the_search_finds_rules_that_see_every_outage_and_no_blip():
    found = suggest("fast", FAST, [outages_and_blips()], false_per_week=0)

    assert (found.best.seen, found.best.worthy, found.best.false_per_week) == (6, 6, 0)
    assert found.usual.seen == 0, "six minutes of an hour are bad: ten times the allowed, and 14.4 are asked for"


def test_more_false_pages_buy_speed_and_the_curve_shows_how_much():
    strict = suggest("fast", FAST, [outages_and_blips()], false_per_week=0)
    generous = suggest("fast", FAST, [outages_and_blips()], false_per_week=1000)

    assert generous.best.median_s is not None and strict.best.median_s is not None
    assert generous.best.median_s < strict.best.median_s
    assert generous.best.false_per_week > 0
    rates, merits = [one.false_per_week for one in strict.curve], [one.merit for one in strict.curve]
    assert len(rates) > 1 and rates == sorted(rates) and merits == sorted(merits)


def test_the_score_of_a_candidate_is_that_of_the_full_back_test():
    """Factor 14.4 over an hour and 5 minutes at 30 % bad: after 0.144 * 60 / 0.3 = 28.8 min, longer than the outages: unseen."""
    judge = _Judge("fast", FAST, [outages_and_blips()], 6, MINUTE_MS, 2)

    assert judge.of((BurnWindow("page", HOUR_MS, 5 * MINUTE_MS, 14.4),)).seen == 0
    nine = judge.of((BurnWindow("page", HOUR_MS, 5 * MINUTE_MS, 9),))
    assert (nine.seen, nine.false_per_week) == (6, 0)
    assert nine.median_s == pytest.approx(0.09 * 3600 / 0.3 + 30, abs=60), "detection time, and the group's wait"


def test_without_a_trouble_worth_a_page_there_is_nothing_to_find():
    with pytest.raises(AlertError, match="no trouble in these runs was worth a page"):
        suggest("fast", FAST, [case([], [trouble(10, 20, "ticket")])])


def test_a_trouble_looks_different_to_each_objective():
    both = Trouble("crash", 0, 10, "page", 0.05, "fast", (("fast", 0.05), ("delivered", 0.001)))

    assert both.about("fast", 0.02).worth == "page"
    assert (both.about("delivered", 0.02).worth, both.about("delivered", 0.02).spent) == ("ticket", 0.001)
    assert both.about("other", 0.02).worth == "ticket", "it costs somebody something"


# ---- warnings --------------------------------------------------------------------------------------------------------


def warned(*rules: str) -> list[str]:
    return file_warnings(parse_rules("groups: [{name: g, rules: [" + ", ".join(rules) + "]}]", "rules.yml"))


def test_a_share_above_one_is_unreachable_and_above_a_half_inert():
    share = "sum(rate(bad_total[1h])) / sum(rate(all_total[1h]))"

    assert warned(f"{{alert: A, expr: '{share} > (14.4 * 0.1)'}}") == [
        "A: unreachable, a share is compared with 1.44, and is at most 1"
    ]
    assert warned(f"{{alert: B, expr: '{share} > 0.72'}}") == [
        "B: inert, it needs a share above 0.72, which hardly lasts"
    ]
    assert warned(f"{{alert: C, expr: '1 - ({share}) >= 1.5'}}") == [
        "C: unreachable, a share is compared with 1.5, and is at most 1"
    ]
    assert warned(f"{{alert: D, expr: '{share} > (14.4 * 0.01)'}}") == []
    assert warned("{alert: E, expr: sum(lag) / count(lag) > 1000}") == [], "no share of rates"


def test_a_recorded_share_is_one_too():
    recorded = "{record: 'job:errors:ratio', expr: 'sum(rate(bad_total[5m])) / sum(rate(all_total[5m]))'}"

    assert warned(recorded, "{alert: A, expr: job:errors:ratio > 2}") == [
        "A: unreachable, a share is compared with 2, and is at most 1"
    ]


def test_a_rule_that_looks_back_further_than_the_runs_or_reads_what_is_not_there():
    file = parse_rules(
        "groups: [{name: g, rules: [{alert: A, expr: 'rate(up[6h]) > 0'}, {alert: B, expr: 'nobody > 0'}]}]", "r.yml"
    )

    assert window_warnings(file, 3_600_000, ["up"]) == [
        "A: looks back 6h, and the runs are 1h long; what it would do is not known",
        "B: reads nobody, which is not among the metrics of these runs, so it sees nothing",
    ]
