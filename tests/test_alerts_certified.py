"""More that promtool certifies where it is: a scenario's own rules over its exporter's series, and random expressions."""

from random import Random

import numpy as np
import pytest

import certified
from page_data import leader_crash, made_up_run
from promtool import ask, find_promtool, same
from random_promql import expression
from reports.alerts.defaults import default_rules
from reports.alerts.exporters import metrics
from reports.alerts.months import Piece, month
from reports.alerts.promql import Query, parse, selectors, vector_of
from reports.alerts.rules import RuleFile, parse_rules, rules_yaml
from reports.alerts.series import AlertError, Series, Store
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


def test_random_expressions_agree_with_promtool():
    """Those that we refuse apart. Where more than two series are added, Prometheus' own order decides the last digits."""
    program = find_promtool()
    if program is None:
        pytest.skip("there is no promtool here; certified-rules.yml is compared with its kept answers")
    random, last_s = Random("random promql"), 6 * 3600
    series = [cut(each, last_s * 1000) for each in certified.input_series()]
    times, ours = sorted(random.sample(range(600, last_s, 60), 6)), dict[str, dict[str, float]]()
    asked: list[tuple[str, int]] = []
    while len(asked) < 900:
        text = expression(random)
        try:
            vector = vector_of(parse(text), Query(Store(series), np.asarray(times) * 1000))
        except AlertError:
            continue  # two series with the same labels, or a match of many to many: Prometheus refuses these too
        for number, at in enumerate(times):
            if f"{text} @ {at}" not in ours:
                asked.append((text, at))
                ours[f"{text} @ {at}"] = certified.column(vector, number)
    # promtool loads samples up to the last evaluation that somebody asks for.
    theirs = ask(
        program, "groups: []", series, [*asked, ("up", last_s)], step_ms=certified.STEP_MS, last_ms=last_s * 1000
    )

    assert [key for key in ours if not same(ours[key], theirs[key]) and not nearly(ours[key], theirs[key], key)] == []
    assert sum(1 for key in ours if theirs[key]) > 400


def cut(series: Series, last_ms: int) -> Series:
    early = series.times_ms <= last_ms
    return Series(series.labels, series.times_ms[early], series.values[early], series.stale[early])


def nearly(ours: dict[str, float], theirs: dict[str, float], key: str) -> bool:
    adds = any(word in key for word in ("sum", "avg", "stddev", "stdvar"))
    return (
        adds
        and ours.keys() == theirs.keys()
        and all(ours[each] == pytest.approx(theirs[each], rel=1e-9, nan_ok=True) for each in ours)
    )
