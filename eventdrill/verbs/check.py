"""`eventdrill check`: every mistake in scenario files, without running anything."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventdrill.errors import HELD, WRONG_INPUT
from eventdrill.terminal import show_json
from eventdrill.verbs.options import Json, Settings

if TYPE_CHECKING:
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
    from scenarios.lint import warnings

    try:
        loaded = load_scenario(file, settings)
    except ScenarioError as error:
        return {
            "file": file,
            "valid": False,
            "problems": [_plain(each, file) for each in error.problems],
            "warnings": [],
        }
    return {"file": file, "valid": True, "problems": [], "warnings": [_plain(each, file) for each in warnings(loaded)]}


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
    for warning in found["warnings"]:
        print(f"warning: {warning['text']}")
    if found["valid"]:
        count = len(found["warnings"])
        print(f"{found['file']}: valid" + (f", {count} warning{'s' * (count != 1)}" if count else ""))
