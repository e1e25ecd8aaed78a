"""How long a run takes to settle, found from its latencies by MSER-5, beside the warm-up that was planned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books
from rundata.rows import NEVER
from rundata.scopes import first_fault_ns
from rundata.tables import RunData
from scenarios.quantities import SECOND

_BATCH = 5
_FEWEST_BATCHES = 40
"""Fewer would cut where chance wills."""


@dataclass(frozen=True)
class Settling:
    """When one group's latencies had settled, and whether the planned warm-up lasts that long."""

    group: str
    planned_s: float
    found_s: float | None
    """None where they never did before the first fault, or there are too few to tell."""
    reason: str | None = None

    @property
    def enough(self) -> bool | None:
        """Whether the warm-up lasts as long as it must; None where that is not known."""
        return None if self.found_s is None else self.found_s <= self.planned_s

    def to_json(self) -> dict[str, Any]:
        """Return the shape of an entry of `run.warm_up` in `--json`."""
        said = {"planned": self.planned_s, "found": self.found_s, "enough": self.enough}
        return {**said, "reason": self.reason} if self.reason else said


def mser5(values: NDArray[np.float64]) -> int | None:
    """Return how many of the first values a steady mean leaves out; None where it cannot be told.

    Of all cuts in the first half, the one whose rest of batch means (of five values) has the smallest standard error of its
    mean. A cut at the very end of that half says that the series had not settled.
    """
    batches = len(values) // _BATCH
    if batches < _FEWEST_BATCHES:
        return None
    means = values[: batches * _BATCH].reshape(batches, _BATCH).mean(axis=1)
    means = means - means.mean()  # so that squares of large values do not drown the differences
    left = np.arange(batches, 0, -1)
    total, squares = np.cumsum(means[::-1])[::-1], np.cumsum(np.square(means[::-1]))[::-1]
    error = (squares - np.square(total) / left) / np.square(left)
    half = batches // 2
    cut = int(np.argmin(error[: half + 1]))
    return None if cut == half else cut * _BATCH


def settling(run: RunData) -> dict[str, Settling]:
    """Return by group when the latencies of its events, in planned order, had settled; what faults touch is left out."""
    books = Books.of(run)
    return {name: _of_group(books, number, name) for number, name in enumerate(books.groups)}


def _of_group(books: Books, number: int, name: str) -> Settling:
    pairs, planned = books.pairs, books.scenario.warm_up / SECOND
    first = first_fault_ns(books)
    until = books.scenario.duration if first is None else min(first, books.scenario.duration)
    chosen = (pairs.group == number) & (pairs.intended_ns < until) & (pairs.effect_ns != NEVER)
    # An event that waits for the fault tells of the fault, whenever it was planned.
    chosen &= pairs.effect_ns < (until if first is not None else NEVER)
    intended, effect = pairs.intended_ns[chosen], pairs.effect_ns[chosen]
    order = np.argsort(intended, kind="stable")
    latencies = (effect - intended)[order].astype(np.float64)
    cut = mser5(latencies)
    if cut is None:
        few = len(latencies) < _BATCH * _FEWEST_BATCHES
        what = "before the first fault" if first is not None else "in the run"
        return Settling(name, planned, None, f"too few events {what}" if few else f"latency had not settled {what}")
    return Settling(name, planned, float(intended[order][cut]) / SECOND if cut else 0.0)


def settling_json(found: Mapping[str, Settling]) -> dict[str, Any]:
    """Return the document of all groups."""
    return {name: each.to_json() for name, each in found.items()}
