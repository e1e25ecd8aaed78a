"""Pages: complete, self-contained, safe, and parsed without a complaint; figures that say what the runs say."""

import base64
import csv
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from page_data import leader_crash, made_up_run
from parsed_page import Parsed
from reports import agreement
from reports.capacity import Capacity, fewest_members
from reports.contents import contents
from reports.markdown import summary
from reports.page import render, write_page
from reports.record import Coverage
from reports.sections.judged import verdict_sentence
from reports.traces import lag_bands, lag_by_group
from rundata.measurement import Measurement
from rundata.replications import Estimate, summarise
from rundata.run import Run
from rundata.tables import Incident
from scenarios.profiles import IDEAL

HOSTILE = '<script>alert("x")</script> & <b>'
KAFKA = {"brokers": {"implementation": "apache-kafka", "version": "4.2.1", "nodes": 3}}
MOCK = {"brokers": {"implementation": "librdkafka-mock", "version": "2.16.0", "nodes": 3}}


@cache
def replications() -> tuple[Run, list[Any]]:
    scenario = leader_crash()
    runs = [made_up_run(scenario, chance=i, fence_after_ns=7_000_000_000 + i * 150_000_000) for i in range(12)]
    measured = [Run(run).measured for run in runs]
    return Run(runs[5], measured), [lag_by_group(run) for run in runs]


@cache
def live() -> Run:
    return Run(
        made_up_run(
            leader_crash(), engine="driven", chance=99, about={**KAFKA, "clock_start": "2026-11-24T01:48:11+00:00"}
        )
    )


@cache
def verdicts() -> dict[str, agreement.Verdict]:
    return agreement.judge(
        leader_crash(), replications()[0].estimates, live().measured, given=summarise([live().measured] * 2)
    )


@cache
def members() -> Capacity:
    return fewest_members(leader_crash(), "fulfilment", made_up_run)


@cache
def verification() -> str:
    predicted, lags = replications()
    return render(
        contents(
            [predicted, live()],
            verdicts=verdicts(),
            lag_bands=lag_bands(lags),
            capacity=[members()],
            profile=IDEAL,
            prediction_sha256="ab" * 32,
        )
    )


def pages() -> dict[str, str]:
    predicted, lags = replications()
    cut = Run(made_up_run(leader_crash(), engine="driven", keep_until_ns=24_000_000_000, about=MOCK))
    return {
        "verification": verification(),
        "prediction": render(contents([predicted], lag_bands=lag_bands(lags))),
        "run": render(contents([live()])),
        "comparison": render(contents([live(), live(), cut])),
        "incomplete": render(contents([cut])),
        "without groups": render(
            contents([Run(made_up_run(leader_crash(groups={}, objectives={}, expect=[], faults=[])))])
        ),
    }


@pytest.fixture(scope="module")
def all_pages() -> dict[str, str]:
    return pages()


KINDS = ("verification", "prediction", "run", "comparison", "incomplete", "without groups")


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_is_whole(all_pages: dict[str, str], kind: str):
    """Each element is closed where it should be, each id stands once, and each link within the page arrives."""
    parsed = Parsed(all_pages[kind])
    ids = [attributes["id"] for _, attributes in parsed.attributes if "id" in attributes]
    targets = [str(a["href"]) for tag, a in parsed.attributes if tag == "a" and not a.get("download")]

    assert parsed.problems == []
    assert len(ids) == len(set(ids))
    assert targets
    assert {target.removeprefix("#") for target in targets} <= set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_stands_alone(all_pages: dict[str, str], kind: str):
    """Nothing is fetched: no address, no source, and url() and href only within the page. A runbook's address stands there as words, in the scenario's text."""
    page = re.sub(r'href="data:text/csv;charset=utf-8;base64,[A-Za-z0-9+/=]*"', 'href="#"', all_pages[kind])
    page = page.replace(f"runbook: {leader_crash().runbook}", "")

    assert not re.search(r"https?:|//[a-z]+\.|@import|src\s*=", page)
    assert {found for found in re.findall(r"url\(([^)]*)\)", page) if not found.startswith("#")} == set()
    assert {found for found in re.findall(r'href="([^"]*)"', page) if not found.startswith("#")} == set()
    assert "<script" not in page


def test_each_figure_carries_its_numbers(all_pages: dict[str, str]):
    """As CSV within the page: of lag a row for each 100 ms and group, the line and the band in which the runs were predicted."""
    found = {
        name: base64.b64decode(text).decode()
        for name, text in re.findall(
            r'download="([\w-]+)\.csv" href="data:text/csv;charset=utf-8;base64,([^"]*)"', all_pages["verification"]
        )
    }
    lag = list(csv.reader(found["lag"].splitlines()))
    plan_end = max(float(row[1]) for row in lag[1:])

    assert set(found) == {"lag", "latency-over-time", "latency-distribution", "outages", "throughput", "burn"}
    assert lag[0] == [
        "panel",
        "x",
        "predicted",
        "observed",
        "95 % of predicted runs, low",
        "95 % of predicted runs, high",
    ]
    assert {row[0] for row in lag[1:]} == {f"{group}: events waiting" for group in leader_crash().groups}
    assert [row[1] for row in lag[1:4]] == ["0", "0.1", "0.2"]
    assert len(lag) - 1 == len(leader_crash().groups) * (round(plan_end * 10) + 1)
    trace = live().data
    observed = [int(row[3]) for row in lag[1:] if row[3] and row[0].startswith("fulfilment")]
    assert observed == lag_by_group(trace)["fulfilment"].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_figures_have_words_and_the_pages_colours(all_pages: dict[str, str], kind: str):
    """Each figure has a heading, a caption and a description; each drawing stands twice, and leaves its colours to the page."""
    page = all_pages[kind]
    parsed = Parsed(page)
    figures = [a for tag, a in parsed.attributes if tag == "figure"]
    images = [a for tag, a in parsed.attributes if a.get("role") == "img"]

    assert len(figures) == (0 if kind == "without groups" else 6)
    assert all(a.get("aria-labelledby") for a in figures)
    assert all(a.get("aria-label") for a in images)
    assert page.count("<figcaption>") == page.count('class="wide"') == page.count('class="narrow"') == len(figures)
    for svg in re.findall(r"<svg class=.*?</svg>", page, re.S):
        assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r'(?:id|href)="[^"]*"|url\([^)]*\)', "", svg))
        assert "var(--" in svg


def test_a_verification_answers_every_question():
    text = Parsed(verification()).text

    for question in (
        "What was tried",
        "Did the expectations hold?",
        "Did the prediction hold?",
        "How both look over time",
        "Was anything lost, doubled or out of order?",
        "What did it cost in error budget?",
        "How many members does this load need?",
        "What happened, and when",
        "What ran, on what",
        "What this does not prove",
    ):
        assert question in text
    assert "ab" * 32 in text
    assert "3 × Apache Kafka 4.2.1" in text


def test_every_verdict_is_on_the_page_as_word_and_symbol():
    page, text = verification(), Parsed(verification()).text

    for name in verdicts():
        assert f'<code class="under">{name}</code>' in page
    for outcome, symbol in (("agrees", "✓"), ("differs", "✗"), ("cannot tell", "?")):
        count = sum(verdict.verdict == outcome for verdict in verdicts().values())
        assert page.count(f'aria-hidden="true">{symbol}</span>{outcome}</span>') == count
    assert f"Of {len(verdicts())} figures that were predicted before the run" in text


def test_a_difference_that_the_instants_explain_is_told():
    """Peak lag beyond the prediction, and as the model says once the fence is known."""
    predicted = {"lag.max": Estimate(1800, "events", (1400, 2300), (1300, 2500), replications=200)}
    given = {"lag.max": Estimate(2950, "events", (2930, 2970), (2920, 2980), replications=40)}
    found = agreement.judge(leader_crash(), predicted, {"lag.max": Measurement(3000, "events")}, given=given)

    assert verdict_sentence(found) == (
        "Of 1 figures that were predicted before the run, 0 agree with what was observed, and 1 differs: peak lag."
        " 1 of these agrees once the observed instants are put into the model."
    )


def test_a_prediction_speaks_of_what_will_be(all_pages: dict[str, str]):
    text = Parsed(all_pages["prediction"]).text

    assert "Prediction, before anything was driven" in text
    assert "Will the expectations hold?" in text
    assert "held in 100 % of 12 runs" in text
    assert "Nothing here ran on real brokers" in text


def test_an_incomplete_run_on_a_mock_says_so_first(all_pages: dict[str, str]):
    page = all_pages["incomplete"]
    text = Parsed(page).text

    assert page.index("This run is incomplete") < page.index("What was tried")
    assert "proves nothing about lost events, fencing or elections" in text
    assert "Not known" in text


def test_an_invalid_run_says_so_first():
    run = Run(
        replace(live().data, about={**KAFKA, "state": "complete", "invalid": ["the senders ran 40ms behind the plan"]})
    )
    text = Parsed(render(contents([run]))).text

    assert "says nothing about the system: the senders ran 40ms behind the plan" in text


def test_notices_stand_above_everything():
    page = render(contents([live()], notices=["No private Kafka could be started: no Java"]))

    assert page.index("No private Kafka could be started: no Java") < page.index("<nav")


def test_how_earlier_predictions_did_is_a_table_with_a_picture():
    """By figure and by what had happened: 14 of 20 inside where 95 % were claimed, which chance alone puts at 17 or more."""
    record = [
        Coverage("lag.max", 0.95, 20, 14, 0.00033, 1.25),
        Coverage("broker_crash", 0.95, 40, 38, 1.0, 0.5, by="faults"),
    ]
    page = Parsed(render(contents([live()], record=record)))

    assert page.problems == []
    assert "not as they claim: lag.max" in page.text
    assert "lag.max 20 70% 95% off (p = 0.00033) 1.25" in page.text
    assert "All figures where there was" in page.text
    assert "broker_crash 40 95% 95% as claimed 0.50" in page.text
    drawn = [attributes["aria-label"] for tag, attributes in page.attributes if attributes.get("class") == "dots"]
    assert drawn[-2:] == ["70% inside, 95% claimed", "95% inside, 95% claimed"]
    assert 'class="range" style="left: 70.0%; width: 30.0%"' in render(contents([live()], record=record))


def test_words_from_outside_are_escaped():
    """Wherever a run's own texts appear, they stay text."""
    run = live().data
    faults = tuple(replace(fault, label=HOSTILE, target=HOSTILE, proof=HOSTILE) for fault in run.faults)
    incidents = (Incident(25_000_000_000, HOSTILE, HOSTILE, HOSTILE),)
    about = {
        "state": HOSTILE,
        "profile": HOSTILE,
        "host": {HOSTILE: HOSTILE},
        "command_line": [HOSTILE],
        "notes": [HOSTILE],
    }
    page = render(contents([Run(replace(run, faults=faults, incidents=incidents, about=about))], notices=[HOSTILE]))

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert Parsed(page).problems == []


def test_the_scenarios_own_words_are_escaped():
    scenario = leader_crash(about=HOSTILE, owner=HOSTILE)
    page = render(contents([Run(made_up_run(scenario))]))

    assert "<script" not in page
    assert Parsed(page).problems == []


def test_infinite_and_missing_figures_do_not_break_a_page():
    """A group that handled nothing has latencies that were never reached."""
    data = live().data
    idle = replace(data, operations=data.operations[data.operations["kind"] == 0])
    page = render(contents([Run(idle)]))

    assert Parsed(page).problems == []
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S).lower().split()


def test_equal_runs_give_equal_pages():
    assert render(contents([live()])) == render(contents([live()]))


def test_write_page_writes_the_page(tmp_path: Path):
    write_page(tmp_path / "new" / "report.html", [live()])

    assert (tmp_path / "new" / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_several_live_runs_are_told_apart(all_pages: dict[str, str]):
    text = Parsed(all_pages["comparison"]).text

    assert "driven 1" in text
    assert "driven 3" in text
    assert "The driven 3 run is incomplete" in text


def test_runs_of_different_scenarios_stand_side_by_side():
    """One has objectives, groups and faults that the other lacks; the page says that they differ."""
    other = leader_crash(
        groups={"fulfilment": {"topics": ["orders"], "work": "1ms"}}, faults=[], objectives={}, expect=["lost == 0"]
    )
    for runs in ([live(), Run(made_up_run(other))], [Run(made_up_run(other)), live()]):
        page = render(contents(runs))

        assert Parsed(page).problems == []
        assert "not of one and the same scenario" in page


def test_the_band_holds_95_percent_of_runs():
    """Of lags 0 to 100 at one instant, 2.5 to 97.5 is the band."""
    bands = lag_bands([{"work": np.array([0, value])} for value in range(101)])

    assert (bands["work"].low[1], bands["work"].median[1], bands["work"].high[1]) == (2.5, 50.0, 97.5)
    assert lag_bands([{"work": np.array([1])}]) == {}


def test_a_run_that_ended_early_has_no_lag_afterwards():
    bands = lag_bands([{"work": np.array([4])}, {"work": np.array([4, 2])}])

    assert bands["work"].low.tolist() == pytest.approx([4, 0.05])


def test_markdown_says_the_same_in_short():
    said = summary(
        [replications()[0], live()], verdicts=verdicts(), capacity=[members()], notices=["a | pipe and a <b>"]
    )

    assert said.startswith("## leader-crash\n")
    assert "> **Read this first.** a \\| pipe and a \\<b\\>" in said
    assert "- Did the expectations hold? **Yes**: all 5 held" in said
    for name, verdict in verdicts().items():
        (row,) = (line for line in said.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.endswith(f"{verdict.verdict} |")
    assert all(line.count("|") - line.count("\\|") == 7 for line in said.splitlines() if line.startswith("| `latency"))


def test_measurements_without_a_value_stand_as_a_dash():
    nothing = {name: Measurement(None, one.unit, reason="not measured") for name, one in live().measured.items()}
    found = agreement.judge(leader_crash(), replications()[0].estimates, nothing)
    page = render(contents([replications()[0], live()], verdicts=found))

    assert {verdict.verdict for verdict in found.values()} == {"cannot tell"}
    assert "no verdict on any of" in page
