"""What would have prevented it: which measures a scenario has, which it lacks, and what these buy when they are simulated."""

import re
from functools import cache

import pytest
from typer.testing import CliRunner

import eventdrill as ed
from eventdrill.command_line import app
from eventdrill.workflows import prevention
from eventdrill.workflows.prevention import what_if
from eventdrill.workflows.trials import variant
from reports import prevention as measuring
from reports.contents import contents
from reports.disturbers import disturbers
from reports.document import markdown
from reports.prevention import Measure, lacking, measures, words_of
from reports.remedies import REMEDIES
from reports.slo import assess
from reports.views.executives import executive_document
from rundata.run import Run
from scenarios import shipped
from scenarios.assignments import parse_assignment
from scenarios.files import load_scenario, load_text, scenario_text
from scenarios.quantities import SECOND

NAMES = shipped.scenario_names()


@cache
def simulated(name: str) -> Run:
    return ed.simulate(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_has_measures_and_what_is_missing_can_be_put_there(name: str) -> None:
    """Each change is a valid scenario, and what `--set` is shown as comes to the same."""
    loaded = load_scenario(name)

    assert all(measures(loaded.scenario, fault) for fault in loaded.scenario.faults)
    for each in lacking(loaded.scenario):
        changed = variant(loaded, {**each.change, "expect": []}).scenario
        shown = [text.strip('"') for text in re.findall(r'--set ("[^"]*"|\S+)', each.settings)]
        assert [parse_assignment(text).value for text in shown] == [
            parse_assignment(f"x={value if isinstance(value, int) else measuring._flow(value)}").value
            for value in each.change.values()
        ]
        assert load_text(scenario_text(loaded.scenario), name, [*shown, "expect=[]"]).scenario == changed


@pytest.mark.parametrize(
    ("name", "there", "missing"),
    [
        ("one-replica", ["producers that wait"], ["three replicas", "a shorter broker.session"]),
        ("acks-one", ["producers that wait"], ["three replicas", "idempotent producers", "a shorter broker.session"]),
        ("leader-crash", ["three replicas", "idempotent producers", "producers that wait"], ["a shorter broker.session"]),
        ("hung-leader", ["three replicas"], ["a shorter broker.session", "clients that give up a silent connection"]),
        ("reordering", ["three replicas", "producers that wait"], ["idempotent producers"]),
        ("member-crash", ["one member of fulfilment more", "a shorter session"], ["fulfilment remembers the ids"]),
        ("member-crash-dedupe", ["fulfilment remembers the ids"], []),
        ("lag-spike", [], ["members of fulfilment for the worst case: 5 would be busy, it has 3"]),
        ("lag-spike-more-members", ["members of fulfilment for the worst case: 5 would be busy, it has 6"], []),
        ("order-fulfilment", ["members of reservation for the worst case: 3.6 would be busy, it has 2 and scales up to 6"], []),
        ("crash-loop", [], ["a dead-letter topic for fulfilment", "a bounded number of tries"]),
        ("short-retention", [], ["one member of audit more", "retention of orders longer than the outage"]),
        ("slow-dependency", [], ["a time limit and a circuit breaker where fulfilment calls payments"]),
        ("slow-dependency-breaker", ["a time limit and a circuit breaker"], []),
        ("schema-break", [], ["a registry with a compatibility mode"]),
        ("schema-break-compatible", ["a registry with a compatibility mode"], []),
        ("producer-crash", [], ["a shorter linger of shop (it is 200ms)"]),
        ("bad-deploy", ["one member of fulfilment more"], ["a canary of fulfilment"]),
        ("bad-deploy-canary", ["a canary of fulfilment"], []),
    ],
)  # fmt: skip
def test_what_a_scenario_has_is_told_from_what_it_lacks(name: str, there: list[str], missing: list[str]) -> None:
    scenario = load_scenario(name).scenario
    found = measures(scenario, (*scenario.faults, *scenario.actions)[0])
    if name == "order-fulfilment":
        found = measures(scenario, scenario.faults[1])

    for words, is_there in [*((each, True) for each in there), *((each, False) for each in missing)]:
        assert any(each.words.startswith(words) and each.there is is_there for each in found), (words, found)
    assert not any(each.there is False and not any(each.words.startswith(m) for m in missing) for each in found)


def test_where_a_file_cannot_tell_the_words_are_general() -> None:
    scenario = load_scenario("oversized").scenario
    found = measures(scenario, scenario.faults[0])

    assert [(each.words, each.there) for each in found] == [(words, None) for words in REMEDIES["oversized"].prevents]
    assert words_of(found).startswith("Also helps: a size limit")


def test_more_members_would_have_saved_the_budget_of_a_lag_spike() -> None:
    """`lag-spike-more-members` is what the measure makes of `lag-spike`: nothing is late there."""
    [found] = what_if(load_scenario("lag-spike").scenario, seed=0, jobs=1)
    before, after = found.spent["fast"]

    assert found.measure.settings == "--set groups.fulfilment.members=6"
    assert 0.0005 < before < 0.003
    assert after == 0
    assert (found.spent["delivered"], found.counts, found.runs) == ((0.0, 0.0), {}, 3)


def test_a_memory_of_ids_would_have_prevented_effects_done_twice() -> None:
    [found] = what_if(load_scenario("duplicate-sends").scenario, seed=0, jobs=1)

    assert found.measure.settings == '--set "groups.fulfilment.dedupe={window: 10m, store: shared}"'
    assert found.counts["duplicate_effects"][0] > 200
    assert found.counts["duplicate_effects"][1] == 0


def test_what_lacks_nothing_is_not_simulated() -> None:
    assert what_if(load_scenario("lag-spike-more-members").scenario, seed=0, profile="no such profile") == []


def test_a_measure_that_cannot_be_simulated_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Measure("more of nothing", False, {"groups.fulfilment.members": -1})
    monkeypatch.setattr(measuring, "lacking", lambda _scenario: [wrong])
    monkeypatch.setattr(prevention, "RUNS", 1)
    [found] = what_if(load_scenario("lag-spike").scenario, seed=0, jobs=1)

    assert (found.spent, found.runs) == ({}, 0)
    assert "-1" in found.reason


def test_a_bad_version_owns_what_it_spoils_until_the_next_one_is_there() -> None:
    """Deployed at 15 s, mended at 35 s: without it nobody would know where the budget of `bad-deploy` went."""
    run = simulated("bad-deploy").data
    bad, mended = disturbers(run)
    spent = {one.fault: one.bad for one in assess(run)["delivered"].spent_by if one.bad}

    assert (bad.label, mended.label) == ("deploy", "mended")
    assert bad.began_ns == 15 * SECOND
    assert 35 * SECOND < bad.ended_ns == mended.ended_ns < 36 * SECOND
    assert list(spent) == ["deploy"]


def test_what_cannot_be_decoded_is_the_schema_changes_cost() -> None:
    """Its dead letters are no policy's choice: without the change there would be none."""
    spent = {one.fault: one.bad for one in assess(simulated("schema-break").data)["billed"].spent_by if one.bad}
    assert list(spent) == ["schema_change"]


def test_the_page_for_executives_tells_of_deploys_and_of_what_would_have_helped() -> None:
    """What broke, when, who noticed, what it cost, what would have prevented it: of a bad version too."""
    run = simulated("bad-deploy")
    tried = what_if(run.data.plan.scenario, seed=run.data.plan.seed, jobs=1)
    page = markdown(executive_document(contents([run], prevented=tried)))

    assert re.search(r"\| deploy \| at 15\.0.s for 20\.0.s \| nobody: no alert fired \| 0\.\d+.% of fast", page)
    assert "would have been saved by this: a canary of fulfilment that is watched" in page
    assert re.search(r"✗ missing \| `--set \"actions\[0\]\.canary=1%\".* → 0\.\d+.% of the budget of delivered", page)
    assert "None of this was tried here" not in page


def test_what_if_needs_the_page_that_shows_it(tmp_path: object) -> None:
    found = CliRunner().invoke(app, ["report", "runs/none", "--what-if"])

    assert found.exit_code == 2
    assert "--what-if fills the page of executives; add --for executives" in found.stderr
