"""Pages for those who decide, are called, or look for the cause; CSV, JUnit and Markdown beside them."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from typer.testing import CliRunner

from eventdrill.command_line import app
from eventdrill.workflows.pages import figures
from page_data import leader_crash, made_up_run
from parsed_page import Parsed
from reports.alerts.history import with_calm_before
from reports.alerts.on_run import alerted
from reports.alerts.rules import Rule, RuleFile, RuleGroup
from reports.alerts.series import Series, Store
from reports.contents import contents
from reports.document import Document, markdown, render_document
from reports.drawing import Canvas, count_axis, draw
from reports.figure_parts import Line, time_words
from reports.figures import outages
from reports.junit import junit_text
from reports.traces import trace
from reports.views.debugging import debugging_document
from reports.views.executives import executive_document
from reports.views.flows import Fate, amounts, delivery_over_time, flows, sent
from reports.views.on_call import on_call_document, under_replicated
from rundata.books import Books, End
from rundata.dataset import RunWriter
from rundata.rows import NEVER
from rundata.run import Run
from rundata.series import Outage
from rundata.tables import RunData
from scenarios.files import scenario_text
from scenarios.quantities import SECOND

HOSTILE = '<script>alert("x")</script> & <b>'
VIEWS = {"executives": executive_document, "on-call": on_call_document, "debugging": debugging_document}


@cache
def made() -> RunData:
    """The crash, with what an event is worth, and a runbook."""
    scenario = leader_crash()
    shop = scenario.producers["shop"].model_dump(by_alias=True, exclude_unset=True) | {"worth": "12 EUR"}
    run: RunData = made_up_run(leader_crash(producers={"shop": shop}, runbook="https://wiki/orders"), engine="driven")
    return run


@cache
def document(kind: str) -> Document:
    return VIEWS[kind](contents([Run(made())]))


@pytest.mark.parametrize("kind", VIEWS)
def test_each_view_is_whole_and_fetches_nothing(kind: str) -> None:
    """Every element closed, every id once, links that arrive; the runbook is the only address, and only to be followed."""
    page = render_document(document(kind))
    parsed = Parsed(page)
    ids = [a["id"] for _, a in parsed.attributes if "id" in a]
    links = [str(a["href"]) for tag, a in parsed.attributes if tag == "a" and not a.get("download")]

    assert parsed.problems == []
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= set(ids)
    assert {link for link in links if not link.startswith("#")} == (
        {"https://wiki/orders"} if kind == "on-call" else set()
    )
    assert "<script" not in page
    assert not re.search(r"@import|src\s*=", page)


@pytest.mark.parametrize("kind", VIEWS)
def test_names_that_look_like_html_stay_words(kind: str) -> None:
    run = made_up_run(
        leader_crash(about=HOSTILE, owner=HOSTILE, runbook="javascript:alert(1)"), keep_until_ns=24_000_000_000
    )
    page = render_document(VIEWS[kind](contents([Run(run)])))

    assert HOSTILE not in page
    assert 'href="javascript' not in page
    assert "incomplete" in page


def test_flows_add_up_and_are_worth_what_their_events_are() -> None:
    """Every measured pair is in exactly one column; of each flow the amounts are counts times the worth."""
    found = flows(made())
    pairs = Books.of(made()).pairs
    effects = pairs.measured & (pairs.end == End.effect)
    slow = effects & (pairs.group == 0) & (pairs.effect_ns - pairs.intended_ns > 500_000_000)

    assert [flow.name for flow in found] == ["shop → orders → fulfilment", "shop → orders → analytics"]
    late = found[0].count[Fate.late]
    assert sum(flow.events for flow in found) == int(pairs.measured.sum())
    assert late == int(slow.sum()) > 0
    assert (found[1].count[Fate.late], found[1].limit_ns) == (0, float("inf"))
    assert str(found[0].amount(late)) == f"{late * 12}.0 EUR"
    assert f"{late * 12:,.2f} EUR" in markdown(document("executives"))


def test_an_event_that_two_groups_fail_is_worth_what_it_is_worth_once() -> None:
    """Within 1 ms nothing is in time, so each event is late in both groups: 12 EUR an event, not 24."""
    objectives = {
        group: {"indicator": "latency", "of": group, "below": "1ms", "target": "99%"}
        for group in ("fulfilment", "analytics")
    }
    shop = leader_crash().producers["shop"].model_dump(by_alias=True, exclude_unset=True) | {"worth": "12 EUR"}
    run = made_up_run(leader_crash(producers={"shop": shop}, objectives=objectives))
    [found] = sent(run)
    pairs = Books.of(run).pairs
    events = len(np.unique(pairs.event[pairs.measured]))

    assert 2 * events == int(pairs.measured.sum()) == sum(flow.events for flow in flows(run))
    assert sum(found.count) == events == found.count[Fate.late] + found.count[Fate.given_up]
    assert amounts([found], Fate.late, Fate.given_up) == {"EUR": 12.0 * events}


def test_delivery_over_time_counts_what_came_in_time() -> None:
    """The mean of the steps, weighed by their events, is the share of the flow."""
    begins, share = delivery_over_time(made(), "fulfilment")
    pairs = Books.of(made()).pairs
    mine = pairs.measured & (pairs.group == 0)
    scenario = made().plan.scenario
    count = np.histogram(pairs.intended_ns[mine], np.linspace(scenario.warm_up, scenario.duration, len(begins) + 1))[0]

    assert 12 <= len(begins) <= 60
    assert float((share * count).sum()) == pytest.approx(flows(made())[0].count[Fate.in_time])


def test_the_executive_page_answers_what_a_stranger_asks() -> None:
    """What broke, when, who noticed, what it cost in budget, what would have prevented it."""
    text = markdown(document("executives"))
    for said in (
        "broker_crash | at 20.0",
        "for 15.0",
        "nobody: no alert fired",
        "% of fast",
        "min.insync.replicas 2",
        "team-orders",
    ):
        assert said.replace(" s", " s") in text, said


def test_what_a_change_buys_is_measured_on_runs_side_by_side() -> None:
    other = made_up_run(
        leader_crash(groups={**_groups(), "fulfilment": {**_groups()["fulfilment"], "members": 6}}), slower=0.5
    )
    page = markdown(executive_document(contents([Run(made_up_run(leader_crash())), Run(other)])))
    assert "groups.fulfilment.members 3 -> 6 (fast)" in page


def _groups() -> dict[str, Any]:
    return {name: g.model_dump(by_alias=True, exclude_unset=True) for name, g in leader_crash().groups.items()}


def test_replicas_out_of_sync_are_counted_each_second() -> None:
    """While broker 1 is away each of its partitions lacks a replica; afterwards none does."""
    at_ns, short, _ = under_replicated(made())
    lacking = {i.where for i in made().incidents if i.kind == "isr"}

    assert at_ns[1] - at_ns[0] == 1_000_000_000
    assert short[0] == 0
    assert 0 < short.max() <= len(lacking)


def test_debugging_tells_of_partitions_dead_letters_and_single_events() -> None:
    text, books = markdown(document("debugging")), Books.of(made())
    given = int(((books.pairs.end == End.dead_lettered) | (books.pairs.end == End.skipped)).sum())

    assert text.count("| orders/") == 6
    assert "The slowest: event " in text
    assert "begins try 1" in text
    assert min(given, 20) == text.count("B, not kept")


# ---- alerts with a calm time before ----------------------------------------------------------------------------------


def test_a_calm_time_prolongs_counters_and_gauges_backwards() -> None:
    """A counter that grew by 2 a second until second 10 has 3,600 s x 2 more; a gauge is what it was; a later series is not there."""
    times = np.arange(0, 60_000, 5_000, dtype=np.int64)
    store = Store(
        [
            Series.of("events_total", {"a": "1"}, times, times / 500),
            Series.of("lag", {}, times, np.full(len(times), 7.0)),
            Series.of("late_total", {}, times + 40_000, times / 500),
        ]
    )
    found = with_calm_before(store, 10_000, 3_600_000)
    (total,), (lag,), (late,) = (found.named(name) for name in ("events_total", "lag", "late_total"))

    assert (total.times_ms[0], total.values[0]) == (-3_600_000, 0.0)
    assert total.values[total.times_ms == 0] == pytest.approx(7200.0)
    assert total.values[-1] == pytest.approx(7200.0 + 110.0)
    assert np.diff(total.values).min() >= 0
    assert set(lag.values.tolist()) == {7.0}
    assert late.times_ms[0] == 40_000


def test_an_hourly_burn_rate_does_not_see_what_a_minute_of_history_would_make_of_it() -> None:
    """Twenty seconds of late events are little of an hour; a rule that looks back for a minute fires, and names the crash."""
    short = Rule(
        alert="Late", expr="sum(rate(objective_bad_events_total[1m])) > 1", labels={"severity": "page"}, for_ms=0
    )
    default, planted = alerted(made()), alerted(made(), RuleFile(groups=(RuleGroup(name="drill", rules=(short,)),)))
    told = planted.told_of("broker_crash")

    assert not [span for span in default.fired if span.rule.name == "ErrorBudgetBurn"]
    assert told is not None
    assert (told.alert, told.severity, 0 <= told.after_s < 20) == ("Late", "page", True)
    assert default.told_of("broker_crash") is None


# ---- beside the pages ------------------------------------------------------------------------------------------------


def test_junit_says_what_failed_and_why() -> None:
    run = made_up_run(leader_crash(expect=["lost == 0", "lag.max < 3", "duplicate_effects == 0"]), engine="driven")
    cut = made_up_run(leader_crash(), keep_until_ns=24_000_000_000)
    root = ElementTree.fromstring(junit_text({"whole": Run(run), "cut": Run(cut)}))
    whole, incomplete = root.findall("testsuite")
    cases = {case.get("name"): case for case in whole.findall("testcase")}

    failure = cases["lag.max < 3"].find("failure")
    assert failure is not None
    assert str(failure.get("message")).startswith("it was ")
    assert cases["lost == 0"].find("failure") is None
    wrong = sum(not check.valid for check in Run(run).checks.values())
    assert (whole.get("failures"), whole.get("tests")) == (str(1 + wrong), str(len(whole.findall("testcase"))))
    said = incomplete.find("testcase/error")
    assert said is not None
    assert "incomplete" in str(said.get("message"))


def test_the_verb_writes_views_numbers_junit_and_a_summary(tmp_path: Path) -> None:
    """From one folder, with every figure's numbers beside; what keeps no operations is refused."""
    folder = tmp_path / "run"
    RunWriter(folder, made().plan, engine="driven", text=scenario_text(made().plan.scenario)).finish(made())
    files = [
        "--csv",
        str(tmp_path / "csv"),
        "--junit",
        str(tmp_path / "junit.xml"),
        "--markdown",
        str(tmp_path / "sum.md"),
    ]
    found = CliRunner().invoke(app, ["report", str(folder), "--for", "on-call", *files, "--json"])

    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["run"]["engine"] == "driven"
    assert "For those who are called" in (folder / "on-call.html").read_text()
    assert {path.stem for path in (tmp_path / "csv").iterdir()} == {"lag", "errors", "replicas"}
    assert next(csv.reader((tmp_path / "csv" / "lag.csv").read_text().splitlines()))[:2] == ["panel", "x"]
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().find("testsuite") is not None
    assert (tmp_path / "sum.md").read_text().startswith("## leader-crash")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--for", "poets"], "poets"),
        (["--junit", "nowhere/j.xml"], "--junit nowhere/j.xml: there is no folder"),
        (["--csv", "run/run.json"], "is a file; name a folder"),
    ],
)
def test_what_cannot_be_written_is_refused(
    more: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    RunWriter(Path("run"), made().plan, engine="driven", text=scenario_text(made().plan.scenario)).finish(made())
    found = CliRunner().invoke(app, ["report", "run", *more])
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr


def test_a_notebook_draws_the_figures_of_a_page() -> None:
    drawn = figures(Run(made()))
    html = drawn[0]._repr_html_()

    assert [each.name for each in drawn] == [
        "lag", "latency-over-time", "latency-distribution", "outages", "throughput", "burn",
    ]  # fmt: skip
    assert Parsed(html).problems == []
    assert drawn[0].caption.split(":")[0] in html


def test_the_longest_outage_is_one_groups_and_not_those_of_several_one_behind_another() -> None:
    """One group waits from 20 to 28 s, another from 27 to 33 s: 13 s in all, in which nobody waited for more than 8."""
    run = made()
    partition = f"{next(iter(run.plan.scenario.topics))}/0"
    waits = tuple(
        Outage(group, partition, begin_s * SECOND, end_s * SECOND)
        for group, begin_s, end_s in (("fulfilment", 20, 28), ("analytics", 27, 33))
    )
    drawn = outages(run.plan.scenario, [Line("observed", replace(trace(run), outages=waits), "C0")], ())

    assert f"the longest for {time_words(8 * SECOND)}." in drawn.caption, drawn.caption


def test_no_fault_that_never_began_is_said_to_have_broken_anything() -> None:

    run = replace(made(), faults=tuple(replace(f, began_ns=NEVER, ended_ns=NEVER) for f in made().faults))
    assert "Nothing broke" in markdown(executive_document(contents([Run(run)])))


def test_a_panel_that_shares_its_axis_is_not_cut_off_at_the_height_of_the_first() -> None:
    """The second panel is ten times as high; both show all of it."""
    seen: list[Axes] = []

    def panel(top: float) -> Callable[[Axes, Canvas], None]:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            axis.plot([0, 1], [0, top], label="lag")
            count_axis(axis)
            seen.append(axis)

        return draw_panel

    drawn = draw("two", [panel(300), panel(3000)], title="", alt="", caption="", legend=[])
    assert [axis.get_ylim()[1] for axis in seen] == [3150.0] * 4
    assert "3000" in drawn.csv
