"""What Alertmanager sends, and how rules are scored against the truth; literal alerts, literal troubles."""

import numpy as np
import pytest

from reports.alerts.alertmanager import parse_alertmanager
from reports.alerts.backtest import WEEK_MS, Case, backtest, judge, rate
from reports.alerts.months import chained, cut
from reports.alerts.notifications import Inhibition, Matcher, Notification, Route, Routing, notifications
from reports.alerts.rules import Rule, RuleFile, parse_rules
from reports.alerts.series import AlertError, Series, Store, labels_of
from reports.alerts.states import Span
from reports.alerts.truth import Trouble, troubles
from runs import Build
from scenarios.errors import ScenarioError

MINUTE = 60_000
PLAIN = Routing(inhibitions=())


def span(name: str, fired_min: float, ended_min: float | None, **labels: str) -> Span:
    severity = labels.get("severity", "page")
    rule = Rule(alert=name, expr="up", labels={"severity": severity})
    named = labels_of({"alertname": name, "severity": severity, **labels})
    return Span(
        rule,
        named,
        round(fired_min * MINUTE),
        round(fired_min * MINUTE),
        None if ended_min is None else round(ended_min * MINUTE),
    )


def sent(spans: list[Span], routing: Routing = PLAIN, end_min: float = 600) -> list[tuple[float, str, int]]:
    """Return when each message went out in minutes, why, and how many alerts fired in it."""
    found: list[Notification] = notifications(spans, routing, round(end_min * MINUTE))
    return [(each.at_ms / MINUTE, each.reason, len(each.firing)) for each in found]


# ---- Alertmanager ----------------------------------------------------------------------------------------------------


def test_alerts_of_a_group_go_out_together_after_the_wait():
    """Two partitions fire within 30 s: one message. The end is told at the next tick of the group."""
    assert sent([span("Lag", 0, 3, partition="0"), span("Lag", 0.25, 3, partition="1")]) == [
        (0.5, "new", 2),
        (5.5, "resolved", 0),
    ]


def test_a_later_alert_waits_for_the_groups_next_tick():
    assert sent([span("Lag", 0, 60, partition="0"), span("Lag", 1, 60, partition="1")], end_min=20) == [
        (0.5, "new", 1),
        (5.5, "new", 2),
    ]


def test_an_alert_that_is_over_before_the_wait_is_never_sent():
    assert sent([span("Lag", 0, 0.4)]) == []


def test_a_reminder_comes_at_the_first_tick_after_the_repeat_interval():
    """Four hours after 0.5 min lies a tick itself; Alertmanager asks for more than four hours, so it is the next."""
    assert sent([span("Lag", 0, None)], end_min=500) == [(0.5, "new", 1), (245.5, "repeat", 1), (490.5, "repeat", 1)]


def test_groups_are_apart_by_their_labels():
    assert len(sent([span("Lag", 0, 60), span("Down", 0, 60)], end_min=20)) == 2
    assert (
        len(sent([span("Lag", 0, 60), span("Down", 0, 60)], Routing(routes=(Route(),), inhibitions=()), end_min=20))
        == 1
    )


def test_a_page_holds_back_the_ticket_of_the_same_objective_only():
    page, ticket = span("Burn", 0, 60, objective="fast"), span("Slow", 1, 60, severity="ticket", objective="fast")
    other = span("Slow", 1, 60, severity="ticket", objective="delivered")

    assert [each[0] for each in sent([page, ticket], Routing(), end_min=20)] == [0.5]
    assert [each[0] for each in sent([page, other], Routing(), end_min=20)] == [0.5, 1.5]


def test_a_held_back_ticket_goes_out_when_the_page_is_over():
    page, ticket = span("Burn", 0, 10, objective="fast"), span("Slow", 1, 60, severity="ticket", objective="fast")

    assert sent([page, ticket], Routing(), end_min=20) == [(0.5, "new", 1), (10.5, "resolved", 0), (11.5, "new", 1)]


def test_an_alert_that_is_source_and_target_does_not_hold_back_its_like():
    both = Routing(inhibitions=(Inhibition((Matcher("severity", "=", "page"),), (Matcher("severity", "=", "page"),)),))

    assert len(sent([span("A", 0, 60), span("B", 0, 60)], both, end_min=20)) == 2


CONFIG = """
global: {resolve_timeout: 5m}
route:
  receiver: team
  group_by: [group]
  group_wait: 10s
  routes:
    - matchers: ['severity="page"', 'alertname=~"Lag.*"']
      receiver: pager
      group_by: ["..."]
      group_wait: 0s
      repeat_interval: 1h
    - match: {severity: ticket}
      group_interval: 30m
inhibit_rules:
  - {source_matchers: [alertname="Down"], target_matchers: ['severity!="page"'], equal: [job]}
receivers: [{name: team}, {name: pager}]
"""


def test_a_configuration_of_alertmanager_is_read_children_before_parents():
    routing = parse_alertmanager(CONFIG, "alertmanager.yml")
    pager, tickets, rest = routing.routes

    assert (pager.group_by, pager.group_wait_ms, pager.group_interval_ms, pager.repeat_interval_ms) == (
        ("...",),
        0,
        300_000,
        3_600_000,
    )
    assert (tickets.group_by, tickets.group_wait_ms, tickets.group_interval_ms) == (("group",), 10_000, 1_800_000)
    assert [
        routing.route_of(span(name, 0, 1, severity=level).labels)
        for name, level in (("LagHigh", "page"), ("Slow", "ticket"), ("Down", "page"))
    ] == [0, 1, 2]
    assert rest.matchers == ()
    assert [each[0] for each in sent([span("LagHigh", 0, 60, partition=p) for p in "012"], routing, end_min=3)] == [
        0,
        0,
        0,
    ], "each on its own, at once"


def test_its_inhibitions_hold_back_what_they_say():
    routing = parse_alertmanager(CONFIG, "alertmanager.yml")
    down, slow = span("Down", 0, 60, job="kafka"), span("Slow", 0, 60, severity="ticket", job="kafka")

    assert len(sent([down, slow], routing, end_min=3)) == 1
    assert len(sent([down, span("Slow", 0, 60, severity="ticket", job="shop")], routing, end_min=3)) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("group_wait: 10s", "group_wait: 10", "Prometheus writes a time like 30s"),
        ("receiver: pager\n", "receiver: pager\n      continue: true\n", "continue"),
        ("receiver: pager\n", "receiver: pager\n      mute_time_intervals: [night]\n", "mute_time_intervals"),
        ("'severity=\"page\"'", "severity", 'a matcher is written severity="page"'),
        ('Lag.*', "Lag(", "is no regular expression"),
        ("route:", "rote:", "rote"),
    ],
)  # fmt: skip
def test_what_is_not_modelled_of_alertmanager_is_refused(old: str, new: str, said: str):
    with pytest.raises(ScenarioError) as caught:
        parse_alertmanager(CONFIG.replace(old, new), "alertmanager.yml")
    assert said in str(caught.value)


# ---- scores ----------------------------------------------------------------------------------------------------------

RULES = """
groups:
  - name: g
    rules:
      - {alert: Bad, expr: bad > 0, labels: {severity: page}}
      - {alert: Never, expr: bad > 9, labels: {severity: page}}
      - {alert: Slow, expr: bad > 0, for: 5m, labels: {severity: ticket}}
"""


def case(bad_minutes: list[tuple[int, int]], found: list[Trouble], length_min: int = 600) -> Case:
    values = np.zeros(length_min + 1)
    for begin, end in bad_minutes:
        values[begin:end] = 1
    bad = Series.of("bad", {}, np.arange(length_min + 1, dtype=np.int64) * MINUTE, values)
    return Case("case", Store([bad]), tuple(found), length_min * MINUTE)


def trouble(begin: int, end: int, worth: str = "page") -> Trouble:
    return Trouble(f"t{begin}", begin * MINUTE, end * MINUTE, worth, 0.05)  # type: ignore[arg-type]  # one of its words


def scored(*cases: Case, routing: Routing = PLAIN):
    file: RuleFile = parse_rules(RULES, "rules.yml")
    return backtest(file, [judge(file, each, routing=routing) for each in cases])


def test_a_page_in_time_a_page_for_nothing_and_a_trouble_that_nobody_saw():
    """Seen: trouble 100 (paged at 103.5). Not seen: 200. False: 300. A trouble that cost nothing needs no page: 400."""
    found = scored(
        case(
            [(103, 110), (300, 302), (400, 403)], [trouble(100, 109), trouble(200, 205), trouble(400, 402, "harmless")]
        )
    )
    bad = found.rules[0]

    assert found.recall["page"] == (1, 2)
    assert found.to_page_s == (210.0,)
    assert (found.false_pages.count, found.needless_pages.count, found.pages) == (1, 1, 3)
    assert (bad.seen, bad.worthy, bad.stays, bad.false.count, bad.needless) == (1, 2, 3, 1, 1)
    assert bad.reset_s == (60.0, 60.0), "at 110, and at 403"
    assert found.rules[1].never and not bad.never


def test_a_ticket_rule_is_asked_for_worse_troubles_too():
    """`for` of 5 min: fired at 105, sent half a minute later."""
    found = scored(case([(100, 130)], [trouble(100, 130), trouble(200, 210, "ticket")]))

    assert (found.rules[2].seen, found.rules[2].worthy, found.rules[2].to_message_s) == (1, 2, (330.0,))
    assert found.recall["ticket"] == (0, 1)


def test_an_alert_that_comes_and_goes_within_one_trouble_flaps():
    found = scored(case([(100, 102), (104, 106), (108, 110)], [trouble(100, 110)]))

    assert found.rules[0].flaps == 2
    assert found.rules[0].stays == 3


def test_an_alert_belongs_to_a_trouble_until_a_quarter_of_an_hour_after_it():
    assert scored(case([(120, 122)], [trouble(100, 110)])).false_pages.count == 0
    assert scored(case([(126, 128)], [trouble(100, 110)])).false_pages.count == 1


def test_the_rate_of_false_pages_has_an_interval():
    """Three in two weeks: exact Poisson bounds 0.619 and 8.767 over two. None in a week: up to 3.69."""
    three = rate([3], [2 * WEEK_MS])
    assert (three.per_week, three.low, three.high) == (
        1.5,
        pytest.approx(0.3093, abs=1e-3),
        pytest.approx(4.3836, abs=1e-3),
    )
    assert rate([0], [WEEK_MS]).high == pytest.approx(3.6889, abs=1e-3)
    uneven = rate([0, 0, 0, 0, 30], [WEEK_MS] * 5)
    assert uneven.high > rate([30], [5 * WEEK_MS]).high, "cases that differ widely make it less sure"


# ---- the truth -------------------------------------------------------------------------------------------------------

OBJECTIVES = {
    "objectives": {"fast": {"indicator": "latency", "of": "work", "below": "500ms", "target": "90%", "period": "1h"}},
    "faults": [{"fault": "slow_work", "group": "work", "factor": 2, "at": "3s", "for": "2s"}],
}


def run_with_fault(late: tuple[int, ...], changes: dict[str, object] | None = None):
    build = Build(changes if changes is not None else OBJECTIVES)
    build.fault(3.0, 5.0)
    for number in range(10):
        event = build.event(number + 0.5)
        build.send(event)
        build.handle(event, number + 0.55, number + (1.5 if number in late else 0.6))
    return build.run()


def test_a_fault_is_worth_what_it_cost():
    """Two late of 360 that an hour may have: 0.56 % of the budget. Worth a page from 0.5 % on, a ticket else."""
    run = run_with_fault(late=(3, 4))
    (found,) = troubles(run, page_from=0.005)

    assert (found.label, found.begin_ms, found.worth, found.objective) == ("slow_work", 3000, "page", "fast")
    assert found.spent == pytest.approx(2 / 360)
    assert troubles(run, page_from=0.02)[0].worth == "ticket"
    assert troubles(run_with_fault(late=()), page_from=0.02)[0].worth == "harmless"


def test_without_objectives_nobody_can_say_what_was_worth_a_page():
    with pytest.raises(AlertError, match="by-hand has no objectives"):
        troubles(run_with_fault((), {"faults": OBJECTIVES["faults"]}))


def test_pieces_of_different_length_follow_each_other():
    """Counters go on over pieces of 60 s and 30 s, from zero after a reset; a piece that lacks the series ends it."""
    times = np.arange(0, 60_001, 15_000, dtype=np.int64)
    grows = Store([Series.of("a_total", {}, times, times / 15_000)])
    resets = Store([Series.of("a_total", {}, times[:3], np.asarray([5.0, 1.0, 2.0]))])
    found = chained([grows, resets, grows, Store(), grows], [60_000, 30_000, 60_000, 60_000, 60_000]).named("a_total")[
        0
    ]
    shown = dict(
        zip(
            (found.times_ms // 1000).tolist(),
            zip(found.values.tolist(), found.stale.tolist(), strict=True),
            strict=True,
        )
    )

    assert [shown[at][0] for at in (0, 15, 45)] == [0, 1, 3]
    assert [shown[at][0] for at in (60, 75)] == [4 + 5, 1], "before the reset it goes on, after it counts from zero"
    assert [shown[at][0] for at in (90, 105)] == [2, 3]
    assert shown[150][1], "a piece without the series ends it"
    assert shown[210][0] == 2 + 4


def test_what_is_cut_out_begins_at_nothing():
    """From 30 s to 60 s of a counter that grew by one each 15 s; what it had before is taken off, unless it was reset inside."""
    times = np.arange(0, 75_001, 15_000, dtype=np.int64)
    store = Store(
        [
            Series.of("a_total", {}, times, times / 15_000 + 10),
            Series.of("b_total", {}, times, np.asarray([5.0, 6.0, 7.0, 0.0, 1.0, 2.0])),
            Series.of("lag", {}, times, np.full(6, 7.0)),
        ]
    )
    found = cut(store, 30_000, 30_000)

    assert found.named("a_total")[0].times_ms.tolist() == [0, 15_000, 30_000]
    assert found.named("a_total")[0].values.tolist() == [1, 2, 3]
    assert found.named("b_total")[0].values.tolist() == [1, 0, 1]
    assert found.named("lag")[0].values.tolist() == [7, 7, 7]
