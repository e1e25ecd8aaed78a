"""The page of objectives: what each cost in error budget, when, by what, and what a change buys."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.figures import budget_burn
from reports.rendering import write_template
from reports.sections.costs import budget_text, lasts_text, objective_row, objective_sentence
from reports.slo import ObjectiveReport, costly_incidents
from reports.slo_compare import Assessed, Bought
from reports.words import DASH, percent

_MOST_COLUMNS = 6
_LIMITS = (
    "The budget spent is bad events over the bad events that the whole period may have at the run's load. A drill's ratio is not that of a month.",
    "An interval of compliance is that of runs like this one, from twenty stretches of it; runs with other plans differ more.",
    "A bad event is the latest fault's in whose time, or before whose backlog had drained, it was late. Faults that overlap share unevenly.",
    "How long a budget lasts assumes that the whole period is like the run, faults included.",
)


def write_slo_page(path: Path, runs: Sequence[Assessed], bought: Sequence[Bought] = ()) -> None:
    """Write the page of one run, or of several whose first is the one that the others are compared with."""
    short = [Path(one.name).name for one in runs]
    if len(set(short)) == len(runs):
        runs = [replace(one, name=name) for one, name in zip(runs, short, strict=True)]
    scenario = runs[0].run.plan.scenario
    names = list(dict.fromkeys(name for one in runs for name in one.reports))
    cards = [_card(name, runs) for name in names]
    sections = [(f"objective-{card['id']}", card["name"]) for card in cards] + [("burn", "When")]
    sections += [("bought", "What a change buys")] if bought else []
    by_run = [(one.name, one.reports) for one in runs[:_MOST_COLUMNS]]
    data = runs[0].run
    write_template(
        path,
        "slo.html",
        {
            "kicker": "Objectives and error budgets",
            "headline": scenario.scenario,
            "subtitle": " · ".join([f"{one.name}, {one.run.engine}, seed {one.run.plan.seed}" for one in runs[:3]])
            + (f" · and {len(runs) - 3} more runs" if len(runs) > 3 else ""),
            "tiles": [_tile(card, runs[0].reports.get(card["name"])) for card in cards],
            "sections": [*sections, ("limits", "Limits")],
            "cards": cards,
            "burn": budget_burn(by_run, data.faults, scenario, predicted=False, incidents=costly_incidents(data)),
            "bought": _bought_rows(bought),
            "bought_sentence": _bought_sentence(bought),
            "limits": _LIMITS,
        },
    )


def _card(name: str, runs: Sequence[Assessed]) -> dict[str, Any]:
    reports = [(one.name, one.reports[name]) for one in runs if name in one.reports]
    differ = [row for label, report in reports if (row := _methods(label, report)) is not None]
    return {
        "id": re.sub(r"[^A-Za-z0-9]+", "-", name),
        "name": name,
        "text": reports[0][1].text,
        "sentence": objective_sentence(reports[0][1]),
        "rows": [objective_row(label, report) for label, report in reports],
        "methods": differ,
    }


def _methods(label: str, report: ObjectiveReport) -> dict[str, str] | None:
    values = (report.compliance, report.timeslices, report.mean_of_slices)
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len({round(value, 9) for value in known}) == 1:
        return None
    occurrences, timeslices, mean = map(percent, known)
    return {"label": label, "occurrences": occurrences, "timeslices": timeslices, "mean": mean}


def _tile(card: dict[str, Any], report: ObjectiveReport | None) -> dict[str, str]:
    if report is None or report.spent is None:
        return {
            "question": card["name"],
            "answer": DASH,
            "detail": "cannot be told",
            "state": "unsure",
            "href": f"#objective-{card['id']}",
        }
    owner = max(report.spent_by, key=lambda one: one.bad, default=None)
    by = f", most by {owner.fault}" if owner is not None and owner.bad else ""
    return {
        "question": f"{card['name']}: budget spent",
        "answer": budget_text(report.spent),
        "detail": f"{percent(report.compliance or 0)} good in the run; a budget lasts {lasts_text(report)} at this rate{by}",
        "state": "good" if report.met else "bad",
        "href": f"#objective-{card['id']}",
    }


# ---- what a change buys ----------------------------------------------------------------------------------------------


def _bought_rows(bought: Sequence[Bought]) -> list[dict[str, Any]]:
    best = _best(bought)
    return [
        {
            "variant": each.variant,
            "objective": each.objective,
            "before": percent(each.spent_before),
            "after": percent(each.spent_after),
            "bought": percent(each.bought),
            "interval": f"{percent(each.interval[0])} to {percent(each.interval[1])}" if each.interval else DASH,
            "pairs": f"{each.pairs}" + ("" if each.same_events else ", of other events"),
            "best": each is best,
        }
        for each in bought
    ]


def _best(bought: Sequence[Bought]) -> Bought | None:
    """Return what surely buys most."""
    sure = [each for each in bought if each.interval is not None and each.interval[0] > 0]
    return max(sure, key=lambda each: each.bought, default=None)


def _bought_sentence(bought: Sequence[Bought]) -> str:
    best = _best(bought)
    if best is None:
        return "No change surely buys anything: every interval holds zero."
    return (
        f"{best.variant} buys most: of {best.objective} it spends {percent(best.spent_after)} of the period's budget instead of "
        f"{percent(best.spent_before)}."
    )
