"""What measuring an indicator yields: a value with its unit, or why there is none; and quantiles as indicators define them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenarios.expectations import IndicatorUnit
from scenarios.quantities import SECOND

Ints = NDArray[np.int64]
PER_MILLE = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p999": 999}


@dataclass(frozen=True)
class Measurement:
    """A measured indicator; without a value either `at_least` tells how far it got, or `reason` why it cannot be measured."""

    value: float | None
    unit: IndicatorUnit
    at_least: float | None = None
    """The bound that the run proves where the value was never reached."""
    reason: str | None = None
    """Why there is no value; with a value a remark, such as which partitions were silent."""
    series: tuple[float, ...] = ()
    """Of `.windows`: the value in each window."""


def missing(unit: IndicatorUnit, reason: str) -> Measurement:
    """Return a measurement that could not be made."""
    return Measurement(None, unit, None, reason)


def distinct(values: Ints) -> Ints:
    """Return the distinct values in rising order (sorting is faster here than the hashing of np.unique)."""
    ordered = np.sort(values)
    kept: Ints = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered
    return kept


def among(values: Ints, known: Ints) -> NDArray[np.bool_]:
    """Return which values are among some known ones: by a table where they lie close together, which takes a tenth of the time of sorting."""
    if len(known) == 0:
        return np.zeros(len(values), np.bool_)
    first, last = int(known.min()), int(known.max())
    if last - first < 8 * (len(known) + len(values)):
        table = np.zeros(last - first + 1, np.bool_)
        table[known - first] = True
        inside = (values >= first) & (values <= last)
        return inside & table[np.where(inside, values - first, 0)]
    ordered = distinct(known)
    found: NDArray[np.bool_] = ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values
    return found


def share(part: int, whole: int, of: str) -> Measurement:
    """Return part / whole; without a whole there is no share."""
    return Measurement(part / whole, "share") if whole else missing("share", f"no {of}")


def seconds(ns: int | float) -> float:
    """Return nanoseconds in seconds."""
    return float(ns) / SECOND


def time_statistics(
    finite_ns: Ints, censored_ns: Ints, statistics: tuple[str, ...], *, of: str
) -> dict[str, Measurement]:
    """Return quantiles, mean and maximum of times of which some never came (`censored_ns`: how long they were waited for).

    A quantile is the inverse of the distribution function, so one of the values. Those that never came count as infinite.
    """
    ended = np.sort(finite_ns)
    count = len(ended) + len(censored_ns)
    if count == 0:
        return {statistic: missing("s", f"no {of}") for statistic in statistics}
    reason = f"{len(censored_ns)} of {count} never came" if len(censored_ns) else None
    bounds = np.sort(np.concatenate([ended, censored_ns])) if len(censored_ns) else ended
    found = {}
    for statistic in statistics:
        if statistic == "mean":
            mean = math.fsum(bounds.tolist()) / count if count < 64 else float(bounds.mean(dtype=np.float64))
            found[statistic] = _time(None if reason else mean, mean, reason)
            continue
        place = count if statistic == "max" else max(1, -(-PER_MILLE[statistic] * count // 1000))
        value = int(ended[place - 1]) if place <= len(ended) else None
        found[statistic] = _time(value, int(bounds[place - 1]), reason)
    return found


def _time(value_ns: float | None, bound_ns: float, reason: str | None) -> Measurement:
    if value_ns is not None:
        return Measurement(seconds(value_ns), "s")
    return Measurement(None, "s", seconds(max(0, bound_ns)), reason)
