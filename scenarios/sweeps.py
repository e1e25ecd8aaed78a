"""Sweeps: each field that a scenario names with the values it takes in turn, checked one by one as if it stood in the file."""

import copy
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from scenarios.assignments import Assignment, assign, parse_assignment
from scenarios.checks import findings
from scenarios.errors import Path, format_path, show
from scenarios.plain_words import translate
from scenarios.schema import Scenario

_MOST_CHECKED = 100
"""Values whose scenario is validated as a whole; the rest of a very long sweep meets its check when it runs."""


def sweep_findings(scenario: Scenario, value: Any) -> Iterator[tuple[Path, str]]:
    """Yield place and message of every swept field that is none, and of every value that does not fit there."""
    checked = 0
    for name, values in scenario.sweep.items():
        place: Path = ("sweep", name)
        try:
            path = parse_assignment(f"{name}=0").path
        except ValueError:
            message = (
                "is no field; a field is written like groups.fulfilment.members or topics['orders.dlq'].partitions"
            )
            yield place, message
            continue
        if path[0] == "sweep":
            yield place, "is the sweep itself; name a field of the rest of the scenario"
            continue
        for index, each in enumerate(values):
            checked += 1
            if checked > _MOST_CHECKED:
                return
            said = _wrong(value, Assignment(path, each, ""))
            if said is not None:
                yield (*place, index), f"is {show(each)}; with that {said}"
                break


def _wrong(value: Any, assignment: Assignment) -> str | None:
    """Return what is wrong with a scenario in which one field is changed, or None."""
    changed = copy.deepcopy({key: part for key, part in value.items() if key != "sweep"})
    try:
        assign(changed, assignment)
        found = [
            (finding.path, finding.message)
            for finding in findings(Scenario.model_validate(changed, by_alias=True, by_name=False))
        ]
    except ValidationError as error:
        found = list(translate(error, Scenario, changed, 1))
    except ValueError as error:
        return str(error)
    return f"{format_path(found[0][0])} {found[0][1]}" if found else None
