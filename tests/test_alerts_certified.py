"""A scenario's own rules over its exporter's series, two days with twelve crashes: promtool agrees digit for digit."""

import pytest

import certified
from page_data import leader_crash, made_up_run
from promtool import ask, find_promtool, same
from reports.alerts.defaults import default_rules
from reports.alerts.exporters import metrics
from reports.alerts.months import Piece, month
from reports.alerts.promql import selectors
from reports.alerts.rules import RuleFile, parse_rules, rules_yaml
from reports.alerts.states import evaluate_rules
from scenarios.quantities import MILLISECOND
from scenarios.schema import Scenario

TWO_DAYS_MS = 48 * 3_600_000


def piece(scenario: Scenario, slower: float = 1.0) -> Piece:
    run = made_up_run(scenario, slower=slower)
    return Piece(metrics(run, every_ms=30_000, closing_ms=scenario.duration // MILLISECOND))


def test_a_scenarios_own_rules_agree_with_promtool_over_its_exporters_series():
    """Lag that vanishes with its leader, counters of months made of runs, burn rates over windows of days."""
    program = find_promtool()
    if program is None:
        pytest.skip("there is no promtool here; certified-rules.yml is compared with its kept answers")
    scenario = leader_crash()
    chosen = {"objective-fast", "group-fulfilment", "cluster"}
    own = RuleFile(groups=tuple(group for group in default_rules(scenario).groups if group.name in chosen))
    file = parse_rules(rules_yaml(own.groups), "rules.yml")
    names = {selector.name for rule in file.rules for selector in selectors(rule.tree)}
    faulty = [piece(scenario), piece(scenario, slower=40)]
    case = month(
        "two days", piece(leader_crash(faults=[])), faulty, piece_ms=scenario.duration // MILLISECOND,
        length_ms=TWO_DAYS_MS, faults=12, seed=1, names=names,
    )  # fmt: skip
    asked = certified.questions(file)
    ours = certified.answers(file, evaluate_rules(file, case.store, 0, TWO_DAYS_MS), asked)
    series = sorted(case.store.named(None), key=lambda each: each.labels)
    theirs = ask(program, rules_yaml(file.groups), series, asked, step_ms=1000, last_ms=TWO_DAYS_MS)

    assert [key for key in theirs if not same(ours[key], theirs[key])] == []
    assert sum(1 for answer in theirs.values() if answer) > 100
