"""Figures over replications: the median as the prediction, where single runs fall, and how sure the mean is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.measurement import Measurement
from scenarios.expectations import IndicatorUnit

Bounds = tuple[float, float]
ENOUGH_FOR_RANKS = 39
"""From so many replications on, the 95 % interval of single runs lies between two of them."""
_TAIL, _TAIL_999 = 0.025, 0.0005
"""Chance that a run falls below the interval, and as much above it."""
_ENOUGH_FOR_RANKS_999 = 1999


@dataclass(frozen=True)
class Estimate:
    """What replications say about one indicator."""

    value: float | None
    """The median; None where half of them or more never reached it, or none could measure it."""
    unit: IndicatorUnit
    interval: Bounds | None = None
    """95 % of single runs fall in it; its upper end is infinite where more of them never reach a value."""
    interval999: Bounds | None = None
    mean_interval: Bounds | None = None
    """95 % confidence of the mean."""
    at_least: float | None = None
    reason: str | None = None
    series: tuple[float, ...] = ()
    """Of `.windows`: the median of each window."""
    series_interval: tuple[Bounds, ...] = ()
    replications: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the shape of an indicator in `--json`."""
        return {
            "value": list(self.series) if self.series else finite(self.value),
            "unit": self.unit,
            "interval": bounds_json(self.interval),
            "mean_interval": bounds_json(self.mean_interval),
            **({"at_least": self.at_least} if self.at_least is not None else {}),
            **({"reason": self.reason} if self.reason and not self.series else {}),
        }


def finite(value: float | None) -> float | None:
    """Return a number that JSON can hold, or None."""
    return value if value is not None and math.isfinite(value) else None


def bounds_json(bounds: Bounds | None) -> list[float | None] | None:
    """Return an interval as JSON holds it; an infinite end is null."""
    return None if bounds is None else [finite(bounds[0]), finite(bounds[1])]


def summarise(measured: Sequence[Mapping[str, Measurement]]) -> dict[str, Estimate]:
    """Return an estimate of every indicator that any replication measured, in the order of the first."""
    names = dict.fromkeys(name for one in measured for name in one)
    return {name: estimate([one[name] for one in measured if name in one]) for name in names}


def estimate(measured: Sequence[Measurement]) -> Estimate:
    """Return the estimate from one indicator's measurements; a value that was never reached counts as infinite."""
    unit, count = measured[0].unit, len(measured)
    if any(one.series for one in measured):
        return _of_series(measured)
    if count == 1:
        only = measured[0]
        return Estimate(only.value, unit, at_least=only.at_least, reason=only.reason)
    reached = [one for one in measured if one.value is not None or one.at_least is not None]
    if not reached:
        return Estimate(None, unit, reason=measured[0].reason, replications=count)
    values = np.array([math.inf if one.value is None else one.value for one in reached])
    bounds = np.array([one.at_least if one.value is None else one.value for one in reached], np.float64)
    never = int(np.isinf(values).sum())
    apart = count - len(reached)
    middle = _median(values)
    return Estimate(
        value=finite(middle),
        unit=unit,
        interval=_single_runs(values, _TAIL, ENOUGH_FOR_RANKS),
        interval999=_single_runs(values, _TAIL_999, _ENOUGH_FOR_RANKS_999),
        mean_interval=None if never or len(values) < 2 else _mean_interval(values),
        at_least=None if math.isfinite(middle) else _median(bounds),
        reason=_reason(count, never, apart, reached),
        replications=count,
    )


def _reason(count: int, never: int, apart: int, reached: Sequence[Measurement]) -> str | None:
    said = []
    if never:
        said.append(f"never reached in {never} of {count} replications")
    if apart:
        said.append(f"not measurable in {apart} of {count} replications")
    return "; ".join(said) or next((one.reason for one in reached if one.reason), None)


def _median(values: NDArray[np.float64]) -> float:
    ordered = np.sort(values)
    low, high = float(ordered[(len(ordered) - 1) // 2]), float(ordered[len(ordered) // 2])
    return low if low == high else (low + high) / 2


def _single_runs(values: NDArray[np.float64], tail: float, enough: int) -> Bounds | None:
    """Return where a further run falls with that chance: between ranks, or by Student's t where there are too few."""
    if len(values) < 2:
        return None
    ordered = np.sort(values)
    if len(values) >= enough:
        rank = tail * (len(values) + 1)
        return _at_rank(ordered, rank), _at_rank(ordered, len(values) + 1 - rank)
    known = ordered[np.isfinite(ordered)]
    if len(known) < 2:
        return float(ordered[0]), float(ordered[-1])
    reach = float(_students_t(1 - tail, len(known) - 1) * known.std(ddof=1)) * math.sqrt(1 + 1 / len(known))
    mean = float(known.mean())
    low, high = min(float(ordered[0]), mean - reach), max(float(ordered[-1]), mean + reach)
    # Nothing that is measured here can fall below zero, unless it did (clocks of two hosts).
    return (max(low, 0.0) if ordered[0] >= 0 else low), high


def _students_t(probability: float, degrees: int) -> float:
    """Return a quantile of Student's t."""
    from scipy import stats  # a second, which a single run need not wait for

    return float(stats.t.ppf(probability, degrees))


def _at_rank(ordered: NDArray[np.float64], rank: float) -> float:
    """Return the value at a rank from 1, linear between neighbours."""
    place = min(max(rank, 1), len(ordered))
    below = math.floor(place)
    low = float(ordered[below - 1])
    high = float(ordered[min(below, len(ordered) - 1)])
    share = place - below
    return low if share == 0 or low == high else (1 - share) * low + share * high


def _mean_interval(values: NDArray[np.float64]) -> Bounds:
    mean, count = float(values.mean()), len(values)
    reach = float(_students_t(0.975, count - 1) * values.std(ddof=1)) / math.sqrt(count)
    return mean - reach, mean + reach


def _of_series(measured: Sequence[Measurement]) -> Estimate:
    full = [one.series for one in measured if one.series]
    stacked = np.array([one for one in full if len(one) == len(full[0])], np.float64)
    intervals = [_single_runs(column, _TAIL, ENOUGH_FOR_RANKS) for column in stacked.T]
    return Estimate(
        value=None,
        unit=measured[0].unit,
        reason=measured[0].reason,
        series=tuple(_median(column) for column in stacked.T),
        series_interval=tuple(bounds for bounds in intervals if bounds is not None),
        replications=len(measured),
    )
