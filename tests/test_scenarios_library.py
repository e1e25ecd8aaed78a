"""The shipped scenarios: each meets its own expectations in the simulator, says what it is for, and makes only the mistakes that it shows."""

from functools import cache

import pytest

import eventdrill as ed
import loadgen.refuse
import sim.refuse
from reports.slo import assess
from rundata.run import Run
from scenarios import shipped
from scenarios.files import load_scenario
from scenarios.lint import warnings
from scenarios.quantities import MINUTE

NAMES = shipped.scenario_names()
SHOWN_MISTAKES = {
    "acks-one": ["producers.shop.settings.acks"],
    "crash-loop": ["groups.fulfilment.failures.then"],
    "one-replica": ["topics.orders.replication"],
    "poison-blocks": ["groups.fulfilment.failures"],
    "reordering": ["topics.orders.settings['min.insync.replicas']", "producers.shop.settings['enable.idempotence']"],
    "reset-to-latest": ["topics.orders.settings['retention.ms']"],
    "short-retention": ["topics.orders.settings['retention.ms']"],
    "reset-offsets": ["actions[0].action"],
    "schema-break": ["faults[0].version"],
    "slow-dependency": ["groups.fulfilment.calls[0]"],
    "stale-leader": ["producers.shop.settings.acks"],
    "two-clients": ["groups.mails.members", "groups.mails.commit"],
}
"""What `check` says of scenarios that show what goes wrong without the mitigation."""
JAVAS_NAMES = {"two-clients": ["producers.till.settings={acks: all, buffer.memory: 65536}"]}
"""Settings that the Java client has by other names."""
PAIRS = {
    "short-retention": "long-retention",
    "reset-to-latest": "short-retention",
    "lag-spike": "lag-spike-more-members",
    "schema-break": "schema-break-compatible",
    "poison-blocks": "poison-dead-letters",
    "one-replica": "leader-crash",
    "stale-leader": "stale-leader-acks-all",
    "member-crash": "member-crash-dedupe",
    "duplicate-sends": "duplicate-sends-dedupe",
    "reordering": "stale-leader-acks-all",
    "slow-dependency": "slow-dependency-breaker",
    "crash-loop": "poison-dead-letters",
    "no-outbox": "outbox",
    "bad-deploy": "bad-deploy-canary",
    "reset-offsets": "member-crash-dedupe",
}
"""Scenarios without a mitigation, and those with it."""

JAVA_CANNOT_YET = {"crash-loop": ["groups.fulfilment.failures.then"]}
"""What the driven Java client refuses beside what either client does."""


@cache
def simulated(name: str) -> Run:
    return ed.simulate(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_meets_its_own_expectations_in_the_simulator(name: str) -> None:
    run = simulated(name)

    assert [f"{each.text}: {each.value}" for each in run.expectations if not each.held] == []
    assert [check for check, found in run.checks.items() if found.valid is False] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_says_what_it_is_for_and_is_short(name: str) -> None:
    scenario = load_scenario(name).scenario

    assert scenario.scenario == name
    assert len(scenario.about) > 80 and scenario.about.rstrip().endswith((".", "?"))
    assert scenario.covers
    assert scenario.expect
    assert scenario.duration + scenario.drain <= 2 * MINUTE


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_says_what_it_promises_and_whose_it_is(name: str) -> None:
    """Each objective can be judged, so that pages have a budget and alert rules have something to guard."""
    run = simulated(name)
    reports = assess(run.data)

    scenario = load_scenario(name).scenario
    assert scenario.owner and scenario.runbook
    assert reports
    assert [f"{each.name}: {each.reason}" for each in reports.values() if each.spent is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_takes_either_client_in_both_engines(name: str) -> None:
    """With the Java client everywhere nothing is refused that is not refused anyway, but for what is listed."""
    as_shipped = load_scenario(name).scenario
    owners = [f"producers.{each}" for each in as_shipped.producers] + [f"groups.{each}" for each in as_shipped.groups]
    java = load_scenario(name, [f"{each}.client=java" for each in owners] + JAVAS_NAMES.get(name, [])).scenario

    assert sim.refuse.cannot(java) == []
    more = [each for each in loadgen.refuse.cannot(java) if each not in loadgen.refuse.cannot(as_shipped)]
    assert [each.partition(" is ")[0] for each in more] == JAVA_CANNOT_YET.get(name, [])


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_makes_only_the_mistakes_that_it_shows(name: str) -> None:
    assert [problem.path for problem in warnings(load_scenario(name))] == SHOWN_MISTAKES.get(name, [])


@pytest.mark.parametrize(("without", "mitigated"), PAIRS.items())
def test_a_mitigation_helps_the_failure_that_it_is_for(without: str, mitigated: str) -> None:
    """Both are about the same failure mode, and a symptom that the worse one expects is gone in the better one."""
    worse, better = load_scenario(without).scenario, load_scenario(mitigated).scenario
    symptoms = [each for each in worse.expect if each.op == ">" or each.indicator.kind == "delivery"]
    measured = simulated(mitigated).measured

    assert set(worse.covers) <= set(better.covers)
    values = {each.text: (each, measured[str(each.indicator)].value) for each in symptoms}

    assert any(value is not None and not symptom.holds(value) for symptom, value in values.values()), values
