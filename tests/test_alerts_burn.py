"""Burn-rate rules: the published factors, detection and reset times, and rules that cannot work."""

import math

import pytest

from reports.alerts.burn import (
    DAY_MS,
    HOUR_MS,
    BurnWindow,
    burn_group,
    detection_s,
    factor,
    fewest_events,
    histogram_share,
    objective_warnings,
    reset_s,
    standard_windows,
    window_warnings,
)
from reports.alerts.defaults import default_rules, felt_lag
from reports.alerts.rules import RuleFile, parse_rules, rules_yaml
from runs import scenario_with
from scenarios.quantities import DAY
from scenarios.schema import Objective

FAST, SLOW, TICKET, LAST = standard_windows(30 * DAY)


SLOW_EVENTS = {"indicator": "latency", "of": "work", "below": "20s", "target": "99%"}


def objective(target: str, **fields: str) -> Objective:
    return Objective.model_validate(
        {"indicator": "latency", "of": "work", "below": "500ms", "target": target, **fields}
    )


def test_the_factors_of_thirty_days():
    assert [window.factor for window in (FAST, SLOW, TICKET, LAST)] == pytest.approx([14.4, 6, 3, 1])
    assert [(w.severity, w.long_ms / HOUR_MS, w.short_ms / HOUR_MS) for w in (FAST, SLOW, TICKET, LAST)] == [
        ("page", 1, pytest.approx(1 / 12)), ("page", 6, 0.5), ("ticket", 24, 2), ("ticket", 72, 6),
    ]  # fmt: skip
    assert factor(0.02, 7 * DAY, HOUR_MS) == pytest.approx(3.36), "a week's budget is a smaller one"


def test_a_constant_bad_share_is_found_when_the_long_window_holds_enough_of_it():
    """99.9 %: a total outage trips 14.4 over an hour after 0.0144 h = 51.84 s; 1.44 % bad never does, by a hair."""
    assert detection_s(FAST, 0.999, 1.0) == pytest.approx(51.84)
    assert detection_s(FAST, 0.999, 0.1) == pytest.approx(518.4)
    assert detection_s(FAST, 0.999, 0.0144) == math.inf


def test_the_short_window_ends_a_rule():
    """5 min * (1 - 0.0144) after a total outage."""
    assert reset_s(FAST, 0.999, 1.0) == pytest.approx(300 * (1 - 0.0144))


@pytest.mark.parametrize(
    ("window", "reachable", "unreachable"),
    [(FAST, "93.07%", "93.05%"), (SLOW, "83.4%", "83.3%"), (TICKET, "66.7%", "66.6%")],
)
def test_a_factor_needs_a_target_above_a_bound(window: BurnWindow, reachable: str, unreachable: str):
    assert not [said for said in window_warnings("x", objective(reachable), window) if "unreachable" in said]
    assert "unreachable" in window_warnings("x", objective(unreachable), window)[0]


def test_an_objective_of_95_percent_pages_only_43_minutes_into_a_total_outage():
    (said,) = window_warnings("p95", objective("95%"), FAST)

    assert (
        said
        == "p95: 14.4 times over 1h needs 72.0% bad events: inert, for it stays silent until 43 min into a total outage"
    )


def test_low_traffic_lets_one_event_trip_a_rule():
    """99.9 % and 14.4: the hour must hold 1 / 0.0144 = 69.4 events; at 0.01/s it holds 36."""
    assert fewest_events(FAST, 0.999) == pytest.approx(69.444, abs=1e-3)
    (said,) = window_warnings("x", objective("99.9%"), FAST, rate_hz=0.01)
    assert "the window holds 36 events, and 70 are needed" in said
    assert window_warnings("x", objective("99.9%"), FAST, rate_hz=0.02) == []


def test_all_objectives_of_a_scenario_are_warned_about():
    scenario = scenario_with({"objectives": {"a": {"indicator": "delivery", "target": "80%"}, "b": {"indicator": "delivery", "target": "99.9%"}}})  # fmt: skip

    assert [said.partition(":")[0] for said in objective_warnings(scenario)] == ["a", "a", "a"]


# ---- rules -----------------------------------------------------------------------------------------------------------


def test_an_objectives_rules_are_read_back_by_prometheus_reader_and_say_what_they_are_for():
    group = burn_group("fast", objective("99%"), carried={"runbook_url": "runbooks/lag.md"})
    text = rules_yaml([group])

    assert parse_rules(text, "again").groups == (group,)
    pages = [rule for rule in group.rules if rule.severity == "page"]
    assert pages[0].expr == (
        'objective:bad_share:rate1h{objective="fast"} > (14.4 * 0.01) and objective:bad_share:rate5m{objective="fast"} > (14.4 * 0.01)'
    )
    assert all(rule.annotations["runbook_url"] == "runbooks/lag.md" for rule in group.rules if rule.alert)
    assert "[30d]" in next(rule.expr for rule in pages if rule.alert == "ErrorBudgetLow")


def test_a_histogram_can_stand_in_where_a_bucket_ends_at_the_threshold():
    assert 'le="0.5"' in str(histogram_share(objective("99%"), HOUR_MS))
    assert histogram_share(objective("99%", below="600ms"), HOUR_MS) is None


def test_a_scenarios_rules_carry_its_owner_and_its_exporters_names():
    scenario = scenario_with(
        {"owner": "team-orders", "groups": {"work": {"runbook": "runbooks/work.md"}}, "objectives": {"fast": SLOW_EVENTS}}
    )  # fmt: skip
    text = rules_yaml(default_rules(scenario, "kminion").groups)
    file: RuleFile = parse_rules(text, "rules.yml")

    lag = next(rule for rule in file.alerts if rule.alert == "LagThatUsersFeel")
    assert lag.expr == 'sum by (group_id) (kminion_kafka_consumer_group_topic_partition_lag{group_id="work"}) > 1000'
    assert lag.annotations["owner"] == "team-orders" and lag.annotations["runbook_url"] == "runbooks/work.md"
    assert {rule.alert for rule in file.alerts} >= {"MassDeadLettering", "CrashLoop", "MembersMissing", "LagNotShown"}


def test_the_lag_that_users_feel_follows_from_the_rate_and_the_objective():
    """600/s and 5 s: 3000 events."""
    scenario = scenario_with(
        {"producers": {"shop": {"arrivals": "600/s"}}, "objectives": {"fast": {**SLOW_EVENTS, "below": "5s"}}}
    )  # fmt: skip

    assert felt_lag(scenario, "work") == 3000
    assert DAY_MS == 86_400_000
