"""`eventdrill check`: every mistake in scenario files, without running anything."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventdrill.errors import HELD, WRONG_INPUT
from eventdrill.terminal import show_json
from eventdrill.verbs.options import Json, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenarios.errors import Problem

NAME = "check"
EXAMPLE = "eventdrill check orders.yaml payments.yaml"


def verb(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Scenario files, or names of shipped scenarios.")
    ],
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Validate scenario files and lint them; nothing is started.

    Exit code 0: all are valid, perhaps with warnings. 2: at least one is not.
    """
    found = [_look(file, settings or []) for file in files]
    valid = all(each["valid"] for each in found)
    if as_json:
        show_json({"valid": valid, "files": found})
    else:
        for each in found:
            _tell(each)
    return HELD if valid else WRONG_INPUT


def _look(file: str, settings: list[str]) -> dict[str, Any]:
    from scenarios.errors import ScenarioError
    from scenarios.files import load_scenario
    from scenarios.lint import notes, warnings

    try:
        loaded = load_scenario(file, settings)
    except ScenarioError as error:
        return _finding(file, problems=error.problems)
    return _finding(file, warnings=warnings(loaded), notes=notes(loaded))


def _finding(
    file: str,
    problems: "Sequence[Problem]" = (),
    warnings: "Sequence[Problem]" = (),
    notes: "Sequence[Problem]" = (),
) -> dict[str, Any]:
    said = {"problems": problems, "warnings": warnings, "notes": notes}
    return {"file": file, "valid": not problems} | {
        kind: [_plain(each, file) for each in found] for kind, found in said.items()
    }


def _plain(problem: "Problem", file: str) -> dict[str, Any]:
    return {
        "path": problem.path,
        "message": problem.message,
        "line": problem.line,
        "column": problem.column,
        "text": problem.text(file),
    }


def _tell(found: dict[str, Any]) -> None:
    for problem in found["problems"]:
        print(problem["text"])
    for kind in ("warning", "note"):
        for each in found[f"{kind}s"]:
            print(f"{kind}: {each['text']}")
    if found["valid"]:
        count = len(found["warnings"])
        print(f"{found['file']}: valid" + (f", {count} warning{'s' * (count != 1)}" if count else ""))
