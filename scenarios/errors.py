"""What is wrong with a scenario, in words for the person who wrote it: place, value and way out, all mistakes at once."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""A place in a file: names of fields, and positions in lists from 0."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_QUANTITY = re.compile(r"[-+]?[0-9.]{1,20}[A-Za-z/%]{1,8}\Z")
_LONGEST_SHOWN = 70


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is, and a message that goes on from the place: `faults[1].for` `is '-3s'; ...`."""

    path: str
    message: str
    line: int | None = None
    """From 1; None where the place is not in the file (it comes from `--set`, or from Python)."""
    column: int | None = None

    def text(self, source: str) -> str:
        """Return the mistake as one line: `FILE:LINE: PATH message`."""
        where = source if self.line is None else f"{source}:{self.line}"
        said = f"{where}: {self.path} {self.message}" if self.path else f"{where}: {self.message}"
        # What a file holds must not break the line, or colour the terminal.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)


class ScenarioError(ValueError):
    """A scenario (or profile) that cannot be used, with every mistake in it."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        return "\n".join(problem.text(self.source) for problem in self.problems)


def format_path(path: Path) -> str:
    """Return a place as people write it in `--set`: `topics['orders.dlq'].partitions`, `faults[0].for`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _WORD.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def part_of(value: object, part: str | int) -> Any:
    """Return a field or entry of a file's value, or None where there is none."""
    if isinstance(value, dict):
        return value.get(part)
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None


def show(value: object) -> str:
    """Return a value as it might stand in the file, shortened when it is long."""
    text = _show(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def _show(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true" if value else "false"
        case str():
            return value if _QUANTITY.match(value) else repr(value[: 2 * _LONGEST_SHOWN])
        case Mapping():
            shown = (f"{key}: {_show(inner)}" for key, inner in list(value.items())[:8])
            return "{" + ", ".join(shown) + "}"
        case list() | tuple():
            return "[" + ", ".join(_show(inner) for inner in value[:8]) + "]"
        case int() if abs(value) > 10**30:
            return "a number with very many digits"
        case _:
            return str(value)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'X'?` for the nearest known word, or `; there is A, B, C`."""
    known = list(known)
    close = close_word(word, known)
    if close is not None:
        return f"; did you mean {close!r}?"
    return f"; there is {and_list(known)}" if known else "; there is none"


def close_word(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that is nearest to a mistyped one, if one is near."""
    folded = {name.lower(): name for name in reversed(known)}
    close = difflib.get_close_matches(word.lower()[:100], list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def and_list(words: Iterable[str], last: str = "and") -> str:
    """Return `a, b and c`, cut after twenty."""
    words = list(words)
    if len(words) > 20:
        return ", ".join(words[:20]) + f" and {len(words) - 20} more"
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
