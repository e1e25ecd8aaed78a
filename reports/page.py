"""Writes the page that people read: one HTML file without outside references, from runs and what was made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.agreement import Verdict
from reports.capacity import Capacity
from reports.contents import Contents, contents
from reports.drawing import Drawing
from reports.figures import all_figures, budget_burn, lines_of
from reports.incidents import story
from reports.record import Coverage, coverage_rows, record_sentence
from reports.rendering import environment, version
from reports.sections import badges, compared, costs, head, held, judged, made_of, ran, tried
from reports.sources import sources_sentence
from reports.traces import Band
from reports.words import count_text
from rundata.run import Run
from scenarios.files import scenario_text
from scenarios.profiles import Profile

_MOST_ENTRIES = 40
_KICKERS = {
    "verification": "Prediction against observation",
    "prediction": "Prediction, before anything was driven",
    "run": "Live run",
    "comparison": "Runs side by side",
}


def write_page(
    path: Path,
    runs: Sequence[Run],
    *,
    verdicts: Mapping[str, Verdict] | None = None,
    lag_bands: Mapping[str, Band] | None = None,
    capacity: Sequence[Capacity] = (),
    profile: Profile | None = None,
    prediction_sha256: str | None = None,
    notices: Sequence[str] = (),
    record: Sequence[Coverage] = (),
) -> None:
    """Write the page of one run, of several side by side, or with verdicts of a prediction (first) and its live runs."""
    made = contents(
        runs,
        verdicts=verdicts,
        lag_bands=lag_bands,
        capacity=capacity,
        profile=profile,
        prediction_sha256=prediction_sha256,
        notices=notices,
        record=record,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(made), "utf-8")


def render(contents: Contents) -> str:
    """Return the page as HTML."""
    return environment().get_template("page.html").render(_context(contents))


def _context(contents: Contents) -> dict[str, Any]:
    main_indicators, more_indicators = held.indicator_rows(contents)
    found, clean, idle = held.check_rows(contents)
    columns = [_head(contents, number) for number in range(len(contents.columns))]
    context = {
        "title": f"{contents.scenario.scenario}: {_KICKERS[contents.kind].lower()}",
        "kicker": _KICKERS[contents.kind],
        "headline": _headline(contents),
        "subtitle": _subtitle(contents),
        "kind": contents.kind,
        "notices": contents.notices,
        "questions": head.questions(contents),
        "tiles": head.tiles(contents),
        "tried": tried.tried(contents),
        "columns": columns,
        "expectations": held.expectation_rows(contents),
        "judged": judged.judged_sections(contents),
        "verdict_sentence": judged.verdict_sentence(contents.verdicts),
        "sources_sentence": sources_sentence(contents.verdicts),
        "interval_note": "Each figure is the median over the replications; 95 % of single runs fall between the two numbers under it.",
        "compared": compared.compared(contents),
        "indicators": main_indicators,
        "more_indicators": more_indicators,
        "drawings": _over_time(contents),
        "made_of": made_of.made_of_cards(contents),
        "checks_found": found,
        "checks_clean": clean,
        "checks_idle": idle,
        "good": badges.Badge("passed", "✓", "good"),
        "given": any(verdict.given for verdict in contents.verdicts.values()),
        "record": coverage_rows(contents.record),
        "record_sentence": record_sentence(contents.record),
        "objectives": costs.objective_cards(contents),
        "burn": _burn(contents),
        "capacity": costs.capacity_cards(contents),
        "stories": [_story(contents, number, columns[number]) for number in range(len(columns))],
        "provenance": ran.provenance_rows(contents),
        "profile": ran.profile_rows(contents),
        "profile_name": contents.profile.profile if contents.profile else "",
        "scenario_text": scenario_text(contents.scenario),
        "limits": ran.limits(contents),
        "version": version(),
    }
    return {**context, "sections": _sections(context)}


def _over_time(contents: Contents) -> list[Drawing]:
    predicted = contents.predicted
    lines = lines_of(predicted.trace if predicted else None, [(c.label, c.trace) for c in contents.live])
    return all_figures(contents.scenario, lines, contents.lag_bands, contents.faults)


def drawings_of(contents: Contents) -> list[Drawing]:
    """Return every figure of a page."""
    burn = _burn(contents)
    return [*_over_time(contents), *([burn] if burn is not None else [])]


def _head(contents: Contents, number: int) -> dict[str, Any]:
    column = contents.columns[number]
    return {"label": column.label, "colour": badges.colour_of(contents, column), "dashed": column.is_prediction}


def _headline(contents: Contents) -> str:
    """Return the scenario's name; of runs of several scenarios all of them, the first one first."""
    names = dict.fromkeys(column.run.data.plan.scenario.scenario for column in contents.columns)
    return " against ".join(names) if contents.kind == "comparison" else contents.scenario.scenario


def _subtitle(contents: Contents) -> str:
    parts = [f"Seed {contents.plan.seed}", f"{count_text(len(contents.plan))} events"]
    parts += [f"{column.label} on {ran.brokers_of(column)}" for column in contents.columns]
    started = next(
        (str(c.run.data.about["clock_start"]) for c in contents.live if c.run.data.about.get("clock_start")), ""
    )
    return " · ".join([*parts, *([f"{started[:16].replace('T', ' ')} UTC"] if started else [])])


def _burn(contents: Contents) -> Drawing | None:
    by_run = [(column.label, column.objectives) for column in contents.columns]
    return budget_burn(by_run, contents.faults, contents.scenario, predicted=contents.predicted is not None)


def _story(contents: Contents, number: int, head: Mapping[str, Any]) -> dict[str, Any]:
    data = contents.columns[number].run.data
    faults = sorted(data.faults, key=lambda fault: fault.planned_begin_ns)
    entries = story(data.incidents, faults, data.plan.scenario.duration)
    return {"column": head, "entries": entries[:_MOST_ENTRIES], "more": max(0, len(entries) - _MOST_ENTRIES)}


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    has_verdicts = bool(context["judged"])
    named = [
        ("tried", "What was tried", True),
        ("expectations", "Expectations", True),
        ("prediction", "Prediction", has_verdicts),
        ("compared", "Differences", bool(context["compared"])),
        ("figures", "Figures", not has_verdicts),
        ("curves", "Over time", True),
        ("checks", "Checks", True),
        ("objectives", "Error budget", bool(context["objectives"])),
        ("capacity", "Members", bool(context["capacity"])),
        ("story", "What happened", True),
        ("provenance", "What ran", True),
        ("limits", "Limits", True),
    ]
    return [(id_, name) for id_, name, shown in named if shown]
