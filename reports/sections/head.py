"""The head of a page: its questions, each with a short answer."""

import math
from dataclasses import dataclass

from reports.contents import Contents
from reports.sections.costs import period_words
from reports.sections.held import check_words
from reports.sections.judged import verdict_counts
from reports.words import percent


@dataclass(frozen=True)
class Tile:
    """One question of the page's head, with its answer."""

    question: str
    answer: str
    detail: str
    state: str
    href: str


def questions(contents: Contents) -> dict[str, str]:
    """Return the page's questions: of a prediction what will be, of a run what was."""
    if contents.kind == "prediction":
        return {
            "prediction": "Does the prediction hold?",
            "expectations": "Will the expectations hold?",
            "checks": "Will anything be lost, doubled or out of order?",
            "budget": "What will it cost in error budget?",
        }
    return {
        "prediction": "Did the prediction hold?",
        "expectations": "Did the expectations hold?",
        "checks": "Was anything lost, doubled or out of order?",
        "budget": "What did it cost in error budget?",
    }


def tiles(contents: Contents) -> list[Tile]:
    """Return the questions of the page's head with their answers."""
    judged = _verdict_tile(contents) if contents.verdicts else None
    found = (judged, _expectation_tile(contents), _check_tile(contents), _budget_tile(contents))
    return [tile for tile in found if tile is not None]


def _verdict_tile(contents: Contents) -> Tile:
    counts = verdict_counts(contents.verdicts)
    total = len(contents.verdicts)
    if not counts["agrees"] and not counts["differs"]:
        return Tile(
            questions(contents)["prediction"],
            "Cannot tell",
            f"no verdict on any of {total} figures",
            "unsure",
            "#prediction",
        )
    words = [f"{counts['cannot tell']} cannot be told"] if counts["cannot tell"] else []
    words += [f"{counts['differs']} differ" if counts["differs"] != 1 else "1 differs"] if counts["differs"] else []
    answer = "Yes" if not counts["differs"] else ("Mostly" if counts["differs"] <= total / 4 else "No")
    return Tile(
        questions(contents)["prediction"],
        answer,
        f"{counts['agrees']} of {total} figures agree" + (", " + ", ".join(words) if words else ""),
        "bad" if counts["differs"] else "good",
        "#prediction",
    )


def _expectation_tile(contents: Contents) -> Tile | None:
    results = contents.main.run.expectations
    if not results:
        return None
    held = sum(result.held for result in results)
    missed = [result.text for result in results if not result.held]
    return Tile(
        questions(contents)["expectations"],
        "Yes" if held == len(results) else "No",
        f"all {held} held"
        if not missed
        else f"{held} of {len(results)} held; not {', '.join(missed[:2])}" + (" …" if len(missed) > 2 else ""),
        "good" if not missed else "bad",
        "#expectations",
    )


def _check_tile(contents: Contents) -> Tile:
    run = contents.main.run
    failed = [name for name, check in run.checks.items() if not check.valid]
    question = questions(contents)["checks"]
    if failed:
        names = ", ".join(map(check_words, failed[:3]))
        return Tile(question, "Yes", f"{len(failed)} of {len(run.checks)} checks failed: {names}", "bad", "#checks")
    if not run.complete:
        return Tile(question, "Not known", "the run is incomplete; nothing was found so far", "unsure", "#checks")
    return Tile(question, "No", f"{len(run.checks)} checks, none failed", "good", "#checks")


def _budget_tile(contents: Contents) -> Tile | None:
    spent = {name: one.spent for name, one in contents.main.objectives.items() if one.spent is not None}
    if not spent:
        return None
    worst = max(spent, key=lambda name: spent[name] or 0.0)
    share, report = spent[worst] or 0.0, contents.main.objectives[worst]
    owner = max(report.spent_by, key=lambda one: one.bad, default=None)
    by = f", most by {owner.fault}" if owner and owner.bad else ""
    return Tile(
        questions(contents)["budget"],
        percent(share) if math.isfinite(share) else "All of it",
        f"of {period_words(report.period_ns)} for “{worst}”{by}",
        "bad" if share > 1 else "plain",
        "#objectives",
    )
