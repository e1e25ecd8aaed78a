"""Finds the least value at which something surely holds, or the greatest load that it bears, with few looks at noisy runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Verdict = Literal["holds", "fails", "cannot tell"]
Look = Callable[[float, int, int], Sequence[float]]
"""Margins (above 0: it holds) at a value, for the replications from one number to below another."""
BATCH, MOST = 3, 12
_FURTHER = 1.5
"""Where a load cannot be told, so many times as much is looked at next."""


@dataclass(frozen=True)
class Looked:
    """What was seen at one value."""

    value: float
    margins: tuple[float, ...]
    verdict: Verdict

    @property
    def middle(self) -> float:
        """The mean margin."""
        return float(np.mean(self.margins))


@dataclass(frozen=True)
class Least:
    """The answer of a search upwards."""

    value: int | None
    """The least at which it surely holds; None where not even the most is enough."""
    interval: tuple[int, int | None]
    """From the least that may be enough to the least that surely is."""
    most: int
    looked: tuple[Looked, ...]
    """In the order of values."""

    @property
    def simulations(self) -> int:
        """How many runs the answer took."""
        return sum(len(each.margins) for each in self.looked)


@dataclass(frozen=True)
class Bears:
    """The greatest load, as a multiple of the scenario's."""

    factor: float
    """The greatest at which it surely holds; 0 where not even the least does."""
    interval: tuple[float, float]
    """From there to the least at which it surely does not; infinite where the most is borne."""
    looked: tuple[Looked, ...]


def judge(look: Look, value: float, *, sure: float = 0.95) -> Looked:
    """Look at a value in batches until the mean margin is surely above or below 0, or it cannot be told."""
    margins: list[float] = []
    while True:
        margins += look(value, len(margins), len(margins) + BATCH)
        verdict = _verdict(margins, sure)
        if verdict != "cannot tell" or len(margins) >= MOST:
            return Looked(value, tuple(margins), verdict)


def _verdict(margins: Sequence[float], sure: float) -> Verdict:
    found = np.array(margins)
    if np.isneginf(found).any():  # a value that was never reached in some run
        return "fails"
    mean, error = float(found.mean()), float(found.std(ddof=1)) / math.sqrt(len(found))
    reach = float(stats.t.ppf((1 + sure) / 2, len(found) - 1)) * error
    if mean - reach >= 0:
        return "holds"
    return "fails" if mean + reach < 0 else "cannot tell"


def least(low: int, most: int, look: Look, *, first: int | None = None) -> Least:
    """Return the least number from low to most at which it surely holds, halving; more is never worse."""
    seen: dict[int, Looked] = {}

    def holds(value: int) -> bool:
        if value not in seen:
            seen[value] = judge(look, value)
        return seen[value].verdict == "holds"

    answer = _halve(low, most, min(max(first or low, low), most), holds)
    if answer is not None and answer > low:
        holds(answer - 1)  # shown, so that the answer can be seen to be the least
        _narrow_below(low, answer, seen, holds)
    fails = [value for value, each in seen.items() if each.verdict == "fails"]
    from_value = max(fails, default=low - 1) + 1
    ordered = tuple(seen[value] for value in sorted(seen))
    return Least(answer, (min(from_value, answer if answer is not None else from_value), answer), most, ordered)


def _narrow_below(low: int, answer: int, seen: Mapping[int, Looked], look: Callable[[int], bool]) -> None:
    """Look until what surely is too little and what may be enough are neighbours: halving alone never looks below what cannot be told."""
    while True:
        fails = max(
            (value for value, each in seen.items() if each.verdict == "fails" and value < answer), default=low - 1
        )
        possible = min(value for value in seen if fails < value <= answer)
        if possible - fails <= 1:
            return
        look((fails + possible) // 2)


def _halve(low: int, high: int, first: int, holds: Callable[[int], bool]) -> int | None:
    if holds(first):
        high = first
    else:
        low = first + 1
        # Twice as many, and again: the answer is seldom far, and large systems take long.
        step = max(1, first)
        while low <= high and not holds(reach := min(first + step, high)):
            if reach == high:
                return None
            low, step = reach + 1, step * 2
        if low > high:
            return None
        high = min(first + step, high)
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high


def greatest_load(look: Look, *, precision: float = 0.05, most: float = 64.0, fewest: float = 1 / 64) -> Bears:
    """Return the greatest load that is borne, by doubling or halving from 1 and then by bisection of the ratio, for either end of its interval."""
    seen: dict[float, Looked] = {}

    def holds(factor: float) -> bool:
        seen[factor] = judge(look, factor)
        return seen[factor].verdict == "holds"

    low, high = 0.0, math.inf
    factor = 1.0
    if holds(factor):
        low = factor
        while math.isinf(high) and low < most:
            if holds(low * 2):
                low *= 2
            else:
                high = low * 2
    else:
        high = factor
        while low == 0 and high > fewest:
            if holds(high / 2):
                low = high / 2
            else:
                high /= 2
    while low > 0 and math.isfinite(high) and high / low > 1 + precision:
        middle = math.sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    upper = _surely_not(seen, precision, holds, most)
    return Bears(low, (low, upper), tuple(seen[factor] for factor in sorted(seen)))


def _surely_not(seen: Mapping[float, Looked], precision: float, look: Callable[[float], bool], most: float) -> float:
    """Return the least load that surely is too much, found as closely as the other end where loads between them cannot be told."""
    while True:
        upper = min((factor for factor, each in seen.items() if each.verdict == "fails"), default=math.inf)
        open_ones = [factor for factor, each in seen.items() if each.verdict != "fails" and factor < upper]
        below = max(open_ones, default=upper)
        if math.isinf(upper) and seen[below].verdict == "cannot tell" and below * _FURTHER <= most:
            look(below * _FURTHER)
        elif math.isinf(upper) or upper / below <= 1 + precision:
            return upper
        else:
            look(math.sqrt(below * upper))
