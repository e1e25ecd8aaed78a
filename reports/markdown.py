"""The same contents as a page, short and as Markdown: for pull requests, tickets and chat."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.agreement import Verdict
from reports.capacity import Capacity
from reports.contents import Contents, contents
from reports.sections import costs, head, held, judged
from rundata.run import Run

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#"} | {"\n": " "})


def summary(
    runs: Sequence[Run],
    *,
    verdicts: Mapping[str, Verdict] | None = None,
    capacity: Sequence[Capacity] = (),
    notices: Sequence[str] = (),
) -> str:
    """Return the summary of one run, of several, or of a prediction (first) and its live runs."""
    made = contents(runs, verdicts=verdicts, capacity=capacity, notices=notices)
    columns = [column.label for column in made.columns]
    parts = [f"## {_safe(made.scenario.scenario)}", *(f"> **Read this first.** {_safe(said)}" for said in made.notices)]
    parts.append(
        "\n".join(f"- {tile.question} **{_safe(tile.answer)}**: {_safe(tile.detail)}" for tile in head.tiles(made))
    )
    parts += _expectations(made, columns)
    if made.verdicts:
        parts += [
            f"### {head.questions(made)['prediction']}",
            _safe(judged.verdict_sentence(made.verdicts)),
            _agreement(made),
        ]
    parts += _failed_checks(made, columns)
    parts += [_safe(costs.objective_sentence(report)) for report in made.main.objectives.values()]
    parts += [_safe(costs.capacity_sentence(found)) for found in made.capacity]
    return "\n\n".join(part for part in parts if part) + "\n"


def _expectations(made: Contents, columns: Sequence[str]) -> list[str]:
    rows = held.expectation_rows(made)
    if not rows:
        return []
    cells = [[f"`{row['text']}`", *(_outcome(cell) for cell in row["cells"])] for row in rows]
    return [f"### {head.questions(made)['expectations']}", _table(["expected", *columns], cells)]


def _outcome(cell: Mapping[str, Any] | None) -> str:
    return f"{cell['value']} {cell['badge'].symbol} {cell['badge'].word}" if cell else ""


def _agreement(made: Contents) -> str:
    rows = [judged.judged_row(verdict) for verdict in made.verdicts.values()]
    cells = [
        [
            f"`{row.name}`",
            row.predicted,
            row.interval,
            row.observed,
            row.difference,
            f"{row.badge.symbol} {row.badge.word}",
        ]
        for row in sorted(rows, key=lambda row: ("differs", "cannot tell", "agrees").index(row.badge.word))
    ]
    return _table(["figure", "predicted", "95 % of runs", "observed", "difference", "verdict"], cells)


def _failed_checks(made: Contents, columns: Sequence[str]) -> list[str]:
    found, _, _ = held.check_rows(made)
    failed = [row for row in found if any(cell and cell["badge"].state == "bad" for cell in row["cells"])]
    cells = [
        [row["words"], *(f"{cell['count']} {cell['badge'].word}" if cell else "" for cell in row["cells"])]
        for row in failed
    ]
    return ["### Checks that failed", _table(["check", *columns], cells)] if failed else []


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell if cell.startswith("`") else _safe(cell, keep="---") for cell in line) + " |"
        for line in lines
    )


def _safe(text: str, keep: str = "") -> str:
    return text if text == keep else text.translate(_SPECIAL)
