"""Assignments of single fields, as `--set` takes them: `groups.fulfilment.members=6`, `topics['orders.dlq'].partitions=3`."""

import re
from dataclasses import dataclass
from typing import Any

from scenarios.errors import Path, ScenarioError, format_path, nearest
from scenarios.yaml_text import read_yaml

_PART = re.compile(
    r"""\s*(?:(?P<dot>\.)?(?P<name>[A-Za-z0-9_-]+)|\[(?P<index>\d+)\]|\[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\])"""
)
_NAMED = ("topics", "producers", "groups", "dependencies", "objectives")
_LONGEST_INDEX = 6


@dataclass(frozen=True)
class Assignment:
    """A field and its new value; `text` is how it was written."""

    path: Path
    value: Any
    text: str


def parse_assignment(text: str) -> Assignment:
    """Return the parts of `PATH=VALUE`; the value is YAML. Raise ValueError that says how it is written."""
    path: list[str | int] = []
    position = 0
    while match := _PART.match(text, position):
        if match["name"] is not None:
            if bool(match["dot"]) != bool(path):
                break
            path.append(match["name"])
        elif match["index"] is not None:
            path.append(int(match["index"][:_LONGEST_INDEX]))
        else:
            path.append(match["quoted"])
        position = match.end()
    rest = text[position:].lstrip()
    if not path or not rest.startswith("="):
        raise ValueError("is not PATH=VALUE, such as groups.fulfilment.members=6 or topics['orders.dlq'].partitions=3")
    try:
        value = read_yaml(rest[1:], "value").value if rest[1:].strip() else None
    except ScenarioError as error:
        raise ValueError(f"the value is not YAML: {error.problems[0].message}") from None
    return Assignment(tuple(path), value, text)


def assign(root: Any, assignment: Assignment) -> None:
    """Change one field of a file's value in place; raise ValueError with the nearest name for a place that is not there."""
    here = root
    for index, part in enumerate(assignment.path):
        around, last = assignment.path[:index], index == len(assignment.path) - 1
        place = format_path(around) or "the scenario"
        if isinstance(part, int):
            if not isinstance(here, list):
                raise ValueError(f"{place} is no list, so it has no [{part}]")
            if part >= len(here):
                raise ValueError(f"{place} has {len(here)} entries, so there is no [{part}]; they count from 0")
        elif not isinstance(here, dict):
            raise ValueError(f"{place} has no fields, so it has no {part!r}")
        elif part not in here and not last:
            if len(around) == 1 and around[0] in _NAMED:
                raise ValueError(f"{place} has no {part!r}{nearest(part, [str(key) for key in here])}")
            here[part] = {}
        if last:
            here[part] = assignment.value
            return
        if here[part] is None:
            here[part] = {}
        here = here[part]
