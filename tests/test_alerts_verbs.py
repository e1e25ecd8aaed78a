"""`eventdrill alerts`: what it writes, prints and refuses, over runs and over months made from a scenario."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from eventdrill.command_line import app
from eventdrill.workflows.alerts import Months, Scraped, from_scenario, simulations
from eventdrill.workflows.simulate import prepare
from page_data import leader_crash, made_up_run
from promtool import find_promtool
from reports.alerts.rules import read_rules
from reports.runbooks import runbook_link
from rundata.dataset import save

SCENARIO = """\
scenario: small
seed: 3
owner: team-small
runbook: runbooks/small.md
duration: 3m
brokers: {kind: kafka, nodes: 1}
topics: {orders: {partitions: 1}}
producers: {shop: {topic: orders, arrivals: 5/s}}
groups: {work: {topics: [orders], work: 10ms}}
faults:
  - {fault: slow_work, group: work, factor: 100, at: 60s, for: 60s}
objectives:
  fast: {indicator: latency, of: work, below: 500ms, target: 99%, period: 1d}
"""


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["alerts", *map(str, arguments)], prog_name="eventdrill")


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "crash"
    save(made_up_run(leader_crash()), path)
    return path


# ---- rules -----------------------------------------------------------------------------------------------------------


def test_rules_of_a_scenario_can_be_read_back(scenario: Path):
    done = run("rules", scenario, "--out", "rules.yml")

    assert done.exit_code == 0
    names = {rule.name for rule in read_rules("rules.yml").alerts}
    assert names >= {"ErrorBudgetBurn", "LagThatUsersFeel", "BrokerUnavailable"}
    assert "owner: team-small" in Path("rules.yml").read_text()


def test_rules_go_to_standard_output_and_warnings_beside_them(scenario: Path):
    scenario.write_text(SCENARIO.replace("target: 99%", "target: 90%"))
    done = run("rules", scenario)

    assert done.stdout.startswith("groups:")
    assert "warning: fast: 14.4 times" not in done.stderr, "a day's budget has other factors"
    assert run("rules", "leader-crash", "--format", "sloth").stdout.startswith("version: prometheus/v1")
    assert "kind: ServiceLevelObjective" in run("rules", scenario, "--format", "pyrra").stdout


# ---- back-test -------------------------------------------------------------------------------------------------------


def test_a_month_of_a_scenario_is_judged(scenario: Path):
    """Twenty faults in a month; each makes over a minute bad, of the 14.4 minutes that a day may have. An hour may have 17 s for a page."""
    done = run("backtest", scenario, "--runs", 1, "--page-worthy", "1%", "--json", "--out", "page.html")
    found: Any = json.loads(done.stdout)

    assert done.exit_code == 0
    assert found["troubles"] == {"page": 20, "ticket": 0, "harmless": 0}
    assert found["weeks"] == pytest.approx(30 / 7)
    burn = next(one for one in found["rules"] if one["alert"] == "ErrorBudgetBurn" and one["labels"]["window"] == "1h")
    assert (burn["seen"], burn["of"], burn["false"]["count"]) == (20, 20, 0)
    assert found["recall"]["page"] == {"seen": 20, "of": 20}
    page = Path("page.html").read_text()
    assert "What was wrong, and who noticed?" in page
    assert 'All of them belong to team-small; runbook <a href="runbooks/small.md">runbooks/small.md</a>.' in page


def test_a_runbook_that_a_browser_would_run_is_no_link():
    assert runbook_link("https://wiki/x") == "https://wiki/x"
    assert [runbook_link(each) for each in ("javascript:alert(1)", "data:text/html,x", None)] == ["", "", ""]


def test_rules_of_the_users_are_judged_in_their_place(scenario: Path):
    Path("mine.yml").write_text(
        "groups: [{name: g, rules: [{alert: Lag, expr: sum(kafka_consumergroup_lag) > 20, labels: {severity: page}}, "
        "{alert: Odd, expr: nobody > 0}]}]"
    )
    found: Any = json.loads(
        run(
            "backtest",
            scenario,
            "--rules",
            "mine.yml",
            "--runs",
            1,
            "--page-worthy",
            "1%",
            "--json",
            "--interval",
            "15s",
        ).stdout
    )

    (lag, odd) = found["rules"]
    assert (lag["seen"], lag["of"], lag["false"]["count"]) == (20, 20, 0)
    assert lag["time_to_message_s"]["median"] < 120
    assert odd["never_active"]
    assert found["warnings"][0].startswith("Odd: reads nobody, which is not among the metrics")


def test_the_same_seed_gives_the_same_answer(scenario: Path):
    first, again, other = (
        run("backtest", scenario, "--runs", 1, "--days", 3, "--faults", 2, "--json", "--seed", seed).stdout
        for seed in (1, 1, 2)
    )

    assert first == again
    assert json.loads(first) != json.loads(other)


def test_a_fault_whose_run_ends_too_soon_is_told(scenario: Path):
    """Handlers are slow until the load's end: their backlog drains only after it."""
    scenario.write_text(SCENARIO.replace("at: 60s, for: 60s", "at: 100s, for: 80s"))
    found: Any = json.loads(run("backtest", scenario, "--runs", 1, "--days", 3, "--faults", 2, "--json").stdout)

    assert found["warnings"][0].startswith("slow_work: what it had piled up was not worked off when its run ended")


def test_runs_are_judged_as_they_are(folder: Path):
    found: Any = json.loads(run("backtest", folder, "--json", "--page-worthy", "0.01%", "--exporter", "strimzi").stdout)

    assert found["cases"] == 1 and sum(found["troubles"].values()) == 2
    assert any("looks back 1h" in said for said in found["warnings"])


def test_people_get_a_table(scenario: Path):
    said = run("backtest", scenario, "--runs", 1, "--days", 3, "--faults", 2).stdout

    assert "ErrorBudgetBurn fast, 1h" in said and "false pages a week" in said


# ---- search ----------------------------------------------------------------------------------------------------------


def test_a_search_writes_rules_that_see_every_trouble(scenario: Path):
    options = ("--runs", 1, "--days", 7, "--faults", 10, "--page-worthy", "1%")
    found: Any = json.loads(
        run("suggest", scenario, *options, "--json", "--rules-out", "found.yml", "--out", "page.html").stdout
    )
    best, usual = found["fast"]["best"], found["fast"]["usual"]

    assert (best["seen"], usual["seen"]) == (10, 10)
    assert best["median_time_to_page_s"] <= usual["median_time_to_page_s"]
    assert "What more false pages would buy" in Path("page.html").read_text()
    again: Any = json.loads(run("backtest", scenario, *options, "--rules", "found.yml", "--json").stdout)
    assert again["recall"]["page"] == {"seen": 10, "of": 10}


# ---- check, metrics --------------------------------------------------------------------------------------------------


def test_rule_files_are_checked_without_any_run(scenario: Path):
    Path("mine.yml").write_text(
        "groups: [{name: g, rules: [{alert: A, expr: 'rate(a_total[1h]) / rate(b_total[1h]) > 2'}, {alert: B, expr: up == 0}]}]"
    )
    said = run("check", "mine.yml").stdout

    assert "mine.yml: 2 rules, 2 of them alerts" in said
    assert "warning: A: unreachable, a share is compared with 2" in said
    assert json.loads(run("check", "mine.yml", "--json").stdout)["mine.yml"]["alerts"] == 2


def test_a_runs_metrics_can_be_loaded_into_a_prometheus_of_ones_own(folder: Path, tmp_path: Path):
    target = tmp_path / "metrics.txt"
    done = run("metrics", folder, "--out", target, "--begin", "2026-11-26T12:00:00Z")
    lines = target.read_text().splitlines()

    assert done.exit_code == 0 and lines[-1] == "# EOF"
    assert "# TYPE events_handled counter" in lines and "# TYPE kafka_consumergroup_lag gauge" in lines
    lag = [line for line in lines if line.startswith('kafka_consumergroup_lag{consumergroup="analytics"')]
    assert len(lag) > 5 and float(lag[0].split()[-1]) >= 1_795_694_400
    program = find_promtool()
    if program is not None:
        command = [program, "tsdb", "create-blocks-from", "openmetrics", target, tmp_path / "blocks"]
        blocks = subprocess.run(command, capture_output=True, text=True, check=False)
        assert blocks.returncode == 0, blocks.stderr


# ---- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("backtest", "nowhere"), "nowhere: there is no such file"),
        (("backtest", "small.yaml", "small.yaml"), "name several runs, or one scenario alone"),
        (("backtest", "small.yaml", "--scrape", "15"), "--scrape is '15' without a unit"),
        (("backtest", "small.yaml", "--interval", "10ms"), "--interval is 10ms; it is at least 1s"),
        (("backtest", "small.yaml", "--page-worthy", "2"), "--page-worthy"),
        (("backtest", "small.yaml", "--rules", "small.yaml"), "groups"),
        (("backtest", "small.yaml", "--days", "1", "--faults", "5000"), "5000 faults do not fit"),
        (("metrics", ".", "--out", "m.txt"), "is no run"),
        (("metrics", ".", "--out", "m.txt", "--begin", "yesterday"), "a time is written like 2026-11-26T12:00:00Z"),
        (("check", "small.yaml"), "groups"),
        (("suggest", "small.yaml", "--objective", "slow"), "--objective slow: the scenario has fast"),
        (("suggest", "small.yaml", "--page-worthy", "90%", "--runs", "1"), "no trouble in these runs was worth a page"),
        (("backtest", "small.yaml", "--set", "faults=[]"), "has no faults, so there is nothing that an alert could see"),
        (("backtest", "small.yaml", "--set", "objectives={}", "--runs", "1"), "has no objectives, so nobody can say what was worth a page"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(scenario: Path, arguments: tuple[str, ...], said: str):
    done = run(*arguments)

    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


DAY = """\
scenario: a-day
seed: 5
profile: ideal
duration: 1d
warm_up: 1m
brokers: {kind: kafka, nodes: 3}
topics: {orders: {partitions: 2, replication: 3}}
producers: {shop: {topic: orders, key: {uniform: 50}, arrivals: 2/s}}
groups: {fulfilment: {topics: [orders], members: 2, work: 50ms, commit: {every: 1s}}}
faults:
  - {fault: slow_work, group: fulfilment, factor: 40, at: 6h, for: 8m}
  - {fault: slow_work, group: fulfilment, factor: 40, at: 18h, for: 8m, name: again}
objectives: {fast: {indicator: latency, of: fulfilment, below: 1s, target: 99%, period: 7d}}
"""


def test_a_scenario_that_lasts_a_day_is_itself_what_rules_are_judged_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two faults at 6 h and 18 h, each with its own trouble; a rule on the whole rate sees a counter that never falls."""
    monkeypatch.chdir(tmp_path)
    Path("day.yaml").write_text(DAY)
    work = prepare("day.yaml")
    material = from_scenario("day.yaml", Scraped(page_from=0.001), Months())
    (case,) = material.cases

    assert work.loaded.scenario.duration == case.end_ms * 1_000_000 + 60_000_000_000
    assert [each.label for each in case.troubles] == ["slow_work 1", "again 2"]
    # Times count from the end of the warm-up.
    assert [each.begin_ms // 60_000 for each in case.troubles] == [6 * 60 - 1, 18 * 60 - 1]
    assert all(each.worth == "page" for each in case.troubles)
    (total,) = case.store.named("objective_events_total")
    assert np.diff(total.values).min() >= 0
    assert total.values[-1] == pytest.approx(2 * 86_400, rel=0.03)


def test_a_month_has_the_bad_deploys_of_its_scenario_and_is_calm_without_them() -> None:
    """`bad-deploy` has no fault: what people did is what was wrong, and the quiet run between has none of it."""
    work = prepare("bad-deploy")
    material = from_scenario("bad-deploy", Scraped(page_from=0.0002), Months(runs=1, faults=3))
    [month] = material.cases

    assert {one.label.rpartition(" ")[0] or one.label for one in month.troubles} == {"deploy", "mended"}
    assert [one.worth for one in month.troubles if one.label.startswith("deploy")] == ["page"] * 3
    assert simulations(work.loaded.scenario, Months(runs=1), None) == 2
