"""Verdicts as word, symbol and colour, and the runs' own colours."""

from dataclasses import dataclass

from reports.contents import Column, Contents
from reports.drawing import RUNS, css_variable
from reports.words import SYMBOLS

_STATES = {"agrees": "good", "differs": "bad", "cannot tell": "unsure", "held": "good", "missed": "bad"}


@dataclass(frozen=True)
class Badge:
    """A verdict as word, symbol and colour."""

    word: str
    symbol: str
    state: str


def badge(outcome: str) -> Badge:
    """Return a verdict's word, symbol and colour."""
    return Badge(outcome, SYMBOLS[outcome], _STATES.get(outcome, "unsure"))


def colour_of(contents: Contents, column: Column) -> str:
    """Return a run's colour as a CSS value."""
    if column.is_prediction:
        return "var(--predicted)"
    return css_variable(RUNS[contents.live.index(column) % len(RUNS)])
