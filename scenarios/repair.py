"""A file with mistakes made whole with placeholders, so that the checks across its parts can still say what else is wrong."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from scenarios.errors import Path, part_of
from scenarios.plain_words import translate
from scenarios.schema import Scenario

_ROUNDS = 6
_PLACEHOLDERS: Mapping[str, Any] = {
    "scenario": "broken",
    "duration": "24h",
    "brokers": {"kind": "kafka"},
    "kind": "kafka",
    "topics": {},
    "producers": {},
    "topic": "broken",
    "arrivals": "1/s",
    "work": "1ms",
    "then": "skip",
    "target": "99%",
    "indicator": "availability",
    "takes": "1ms",
    "dependency": "broken",
    "window": "1s",
    "lag": 1,
    "max": 10_000,
    "cluster_id": "broken",
}
_PLACEHOLDER_FAULT = {"fault": "failing_work", "group": "broken", "share": "1%", "at": "0s", "for": "1s"}

_PLACEHOLDER_ACTION = {"action": "scale", "group": "broken", "to": 1, "at": "0s"}


def repaired(value: object, broken: Sequence[Path]) -> tuple[Scenario, list[Path]] | None:
    """Return a valid scenario and all places that were made up, or None where too little is left."""
    value, places = copy.deepcopy(value), list(broken)
    if not isinstance(value, dict):
        return None
    for _ in range(_ROUNDS):
        places += [_replace(value, place) for place in broken]
        try:
            return Scenario.model_validate(value, by_alias=True, by_name=False), places
        except ValidationError as error:
            broken = [place for place, _ in translate(error, Scenario, value)]
            places += broken
    return None


def _replace(root: dict[Any, Any], place: Path) -> Path:
    """Replace or remove what stands at a place, and return the place of all that was made up."""
    here: Any = root
    for index, part in enumerate(place):
        if isinstance(here, list) and place[:index] == ("actions",):
            here[int(part)] = dict(_PLACEHOLDER_ACTION)
            return place[: index + 1]
        if isinstance(here, list) and place[:index] == ("faults",):
            here[int(part)] = dict(_PLACEHOLDER_FAULT)
            return place[: index + 1]
        if isinstance(here, list) and place[:index] == ("expect",):
            here[int(part)] = "lost == 0"
            return place[: index + 1]
        if isinstance(here, list) and index and place[index - 1] == "arrivals":
            _set(root, place[:index], "1/s")
            return place[:index]
        last = index == len(place) - 1
        inner = part_of(here, part)
        if last or inner is None:
            break
        here = inner
    _set(root, place, None)
    return place


def _set(root: Any, place: Path, value: object) -> None:
    """Set the last existing part of a place: to the value, a placeholder for a required field, or remove it."""
    here = root
    for part in place[:-1]:
        here = part_of(here, part)
    if not place or not isinstance(here, dict):
        if isinstance(here, list) and place and isinstance(place[-1], int) and place[-1] < len(here):
            _set(root, place[:-1], None)
        return
    name = place[-1]
    here.pop(name, None)
    if value is not None:
        here[name] = value
    elif name in _PLACEHOLDERS and not (
        len(place) == 2 and place[0] in ("topics", "producers", "groups", "dependencies")
    ):
        here[name] = copy.deepcopy(_PLACEHOLDERS[str(name)])
