"""Rule files with their mistakes, and the states of an alert: pending, firing, kept firing, ended."""

import numpy as np
import pytest

from reports.alerts.rules import Rule, RuleGroup, parse_rules, rules_yaml
from reports.alerts.series import NAME, Series, Store
from reports.alerts.states import alerts_series, evaluate_rules
from scenarios.errors import ScenarioError


def file_with(*rules: str, head: str = "groups: [{name: g, rules: ["):
    return parse_rules(head + ", ".join(rules) + "]}]", "rules.yml")


def spans(values: list[float], *, wait: str = "0s", keep: str = "0s", until_min: int | None = None):
    """Evaluate `up == 0` each minute over values a minute apart; return (active, fired, ended) in minutes."""
    up = Series.of("up", {}, np.arange(len(values), dtype=np.int64) * 60_000, np.asarray(values))
    file = file_with(f"{{alert: Down, expr: up == 0, for: {wait}, keep_firing_for: {keep}}}")
    found = evaluate_rules(file, Store([up]), 0, (until_min or len(values) - 1) * 60_000).spans
    return [
        tuple(None if at is None else at // 60_000 for at in (span.active_ms, span.fired_ms, span.ended_ms))
        for span in found
    ]


def test_without_for_an_alert_fires_at_its_first_true_evaluation():
    assert spans([1, 0, 0, 1, 0]) == [(1, 1, 3), (4, 4, None)]


def test_for_counts_from_the_first_true_evaluation():
    """True at 1, 2, 3 min: it fires when now - since >= 2 min, at 3. A stay of two evaluations never fires."""
    assert spans([1, 0, 0, 0, 1, 0, 0, 1], wait="2m") == [(1, 3, 4), (5, None, 7)]


def test_keep_firing_for_counts_from_the_first_false_evaluation():
    """False at 2, 3, 4: kept for two minutes it ends at 4."""
    assert spans([1, 0, 1, 1, 1, 1], keep="2m") == [(1, 1, 4)]


def test_an_alert_that_comes_back_while_it_is_kept_firing_is_one_alert():
    assert spans([0, 1, 0, 1, 1, 1, 1, 0], keep="2m") == [(0, 0, 5), (7, 7, None)]
    assert spans([0, 1, 1, 0, 1, 1], keep="2m") == [(0, 0, None)], "true again in the evaluation that would end it"


def test_a_pending_alert_is_not_kept():
    assert spans([0, 1, 1, 1, 1], wait="1m", keep="3m") == [(0, None, 1)]


def test_a_recorded_series_ends_with_a_stale_mark_and_later_rules_read_it():
    up = Series.of("up", {"job": "a"}, np.arange(5, dtype=np.int64) * 60_000, np.asarray([1.0, 0, 0, 1, 1]))
    file = file_with("{record: down, expr: up == 0, labels: {team: t}}", "{alert: D, expr: down == 0}")
    evaluated = evaluate_rules(file, Store([up]), 0, 240_000)
    down = evaluated.store.named("down")[0]

    assert down.labels == ((NAME, "down"), ("job", "a"), ("team", "t"))
    assert down.times_ms.tolist() == [60_000, 120_000, 180_000]
    assert down.stale.tolist() == [False, False, True]
    assert [(span.active_ms, span.ended_ms) for span in evaluated.spans] == [(60_000, 180_000)]


def test_alerts_have_the_labels_of_their_series_and_their_rule():
    up = Series.of("up", {"job": "a", "severity": "x"}, np.asarray([0], np.int64), np.asarray([0.0]))
    file = file_with('{alert: D, expr: up == 0, labels: {severity: page, of: "team-{{ $labels.job }}"}}')
    evaluated = evaluate_rules(file, Store([up]), 0, 0)

    assert dict(evaluated.spans[0].labels) == {"alertname": "D", "job": "a", "severity": "page", "of": "team-a"}
    assert dict(alerts_series(evaluated, file.alerts[0], "g")[0].labels)["alertstate"] == "firing"


# ---- files -----------------------------------------------------------------------------------------------------------


def test_rules_read_back_as_they_were_written():
    group = RuleGroup(
        name="kafka",
        interval=30_000,
        rules=(
            Rule(record="a:b", expr="sum(up)"),
            Rule(alert="Down", expr="up == 0", for_ms=90_000, keep_firing_for=3_600_000, labels={"severity": "page"}, annotations={"a": "{{ $value }}"}),
        ),
    )  # fmt: skip

    assert parse_rules(rules_yaml([group]), "again").groups == (group,)
    assert "for: 1m30s" in rules_yaml([group])


def test_a_kubernetes_object_holds_rules_too():
    text = """
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: x}
spec:
  groups:
    - name: g
      rules:
        - {alert: A, expr: up == 0}
        - {alert: B, expr: "topk(1, up)"}
"""
    with pytest.raises(ScenarioError) as caught:
        parse_rules(text, "k8s.yml")
    assert str(caught.value).startswith("k8s.yml:10: groups[0].rules[1].expr of B: the aggregation topk")


def wrong(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse_rules(text, "rules.yml")
    return str(caught.value)


def test_every_mistake_is_told_with_its_line():
    said = wrong(
        """groups:
  - name: g
    rules:
      - {alert: A, expr: "ln(up) > 1"}
      - {alert: B, expr: "later:x > 1"}
      - {record: "later:x", expr: "sum(up)"}
      - {alert: C, expr: 'ALERTS{alertname="A"}'}
      - {alert: D, expr: up, labels: {severity: "{{ $value }}"}}
"""
    )

    assert said.splitlines() == [
        "rules.yml:4: groups[0].rules[0].expr of A: the function ln is not evaluated here; there is "
        + said.splitlines()[0].partition("there is ")[2],
        "rules.yml:5: groups[0].rules[1].expr of B reads later:x, which is recorded only later; record it before",
        "rules.yml:7: groups[0].rules[3].expr of C reads ALERTS, which is not evaluated here",
        "rules.yml:8: groups[0].rules[4].labels has severity: '{{ $value }}'; of templates only {{ $labels.NAME }} is filled in",
    ]


def test_what_another_rule_records_with_other_labels_is_not_read():
    """Two objectives record one metric, each with its own label; only a selector that takes both must wait."""
    first = "{record: share, expr: up, labels: {of: a}}, {alert: A, expr: 'share{of=\"a\"} > 1'}"
    second = "{record: share, expr: up * 2, labels: {of: b}}"

    assert len(list(file_with(first, second).rules)) == 3
    assert "of A reads share, which is recorded only later" in wrong(
        "groups: [{name: g, rules: [" + first.replace('{of="a"}', "") + ", " + second + "]}]"
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{alert: A, record: b, expr: up}", "is either `alert: NAME` or `record: METRIC`"),
        ("{expr: up}", "is either `alert: NAME` or `record: METRIC`"),
        ("{alert: A, expr: up, for: soon}", "Prometheus writes a time like 30s, 5m or 1h30m"),
        ("{alert: A, expr: up, for: 300}", "is '300'; Prometheus writes a time like 30s"),
        ("{alert: A, expr: up, fro: 5m}", "fro"),
        ("{record: 'a b', expr: up}", "is no name of a metric"),
        ("{record: a, expr: up, for: 5m}", "belong to alerts"),
    ],
)
def test_a_wrong_rule_is_refused(rule: str, said: str):
    assert said in wrong("groups: [{name: g, rules: [" + rule + "]}]")


def test_the_same_rule_twice_is_refused():
    rule = "{alert: A, expr: up == 0}"

    assert "is there twice with the same labels" in wrong("groups: [{name: g, rules: [" + f"{rule}, {rule}" + "]}]")
