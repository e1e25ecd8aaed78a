"""Functions of ranges, digit for digit as Prometheus computes them: rates with extrapolation, and aggregates over time.

Each takes ranges that hold at least one sample, and returns values and which of them there are (None: all).
"""

from collections.abc import Callable

import numpy as np

from reports.alerts.series import Bools, Floats, Millis
from reports.alerts.windows import Release, Windows

Computed = tuple[Floats, Bools | None]
_EXACT_BELOW = 2.0**53
"""Whole numbers below it add up without rounding, in whatever order."""


# ---- counters and differences ----------------------------------------------------------------------------------------


def extrapolated(windows: Windows, release: Release, *, counter: bool, rate: bool) -> Computed:
    """Return `rate` or `increase` (of counters), or `delta`: the change between first and last sample, extrapolated to the edges."""
    enough = windows.count >= 2
    some = windows.chosen(enough)
    first_value, last_value = some.values[some.first], some.values[some.end - 1]
    change = last_value - first_value
    if counter:
        change = _add_resets(some, change)
    first_ms, last_ms = some.times_ms[some.first], some.times_ms[some.end - 1]
    to_start = (first_ms - (some.until_ms - some.range_ms)) / 1000
    to_end = (some.until_ms - last_ms) / 1000
    sampled = (last_ms - first_ms) / 1000
    spacing = sampled / (some.count - 1)
    whole = sampled + _reach_back(to_start, spacing, sampled, change, first_value, release, counter=counter)
    whole = whole + np.where(to_end < spacing * 1.1, to_end, spacing / 2)
    factor = whole / sampled
    if rate:
        factor = factor / (windows.range_ms / 1000)
    result = np.zeros(len(enough))
    result[enough] = change * factor
    return result, enough


def _reach_back(
    to_start: Floats,
    spacing: Floats,
    sampled: Floats,
    change: Floats,
    first: Floats,
    release: Release,
    *,
    counter: bool,
) -> Floats:
    """Return how far before the first sample the change is extrapolated; a counter not beyond where it would be zero."""
    near = spacing * 1.1
    to_zero = np.full(len(sampled), np.inf)
    if counter:
        rises = (change > 0) & (first >= 0)
        to_zero[rises] = sampled[rises] * (first[rises] / change[rises])
    if release == 2:
        to_start = np.where(to_zero < to_start, to_zero, to_start)
        return np.where(to_start < near, to_start, spacing / 2)
    to_start = np.where(to_start >= near, spacing / 2, to_start)
    return np.where(to_zero < to_start, to_zero, to_start)


def _add_resets(some: Windows, change: Floats) -> Floats:
    """Add, for each reset in a range, the value that the counter had before it; in order, for the sake of the last digit."""
    resets = np.flatnonzero(some.values[1:] < some.values[:-1]) + 1
    if not len(resets):
        return change
    low = np.searchsorted(resets, some.first, side="right")
    high = np.searchsorted(resets, some.end, side="left")
    for number in range(int((high - low).max(initial=0))):
        which = high - low > number
        change[which] += some.values[resets[low[which] + number] - 1]
    return change


def instant_change(windows: Windows, *, counter: bool) -> Computed:
    """Return `irate` (of counters) or `idelta`: from the last two samples."""
    enough = windows.count >= 2
    some = windows.chosen(enough)
    last, before = some.values[some.end - 1], some.values[some.end - 2]
    change = last - before
    if counter:
        change = np.where(last < before, last, change)
        change = change / ((some.times_ms[some.end - 1] - some.times_ms[some.end - 2]) / 1000)
    result = np.zeros(len(enough))
    result[enough] = change
    return result, enough


def counted_changes(windows: Windows, changed: Bools) -> Floats:
    """Return how many of the steps between samples in each range are marked; `changed[i]` is the step to sample i."""
    before = np.concatenate([[0], np.cumsum(changed)])
    return np.asarray(before[windows.end] - before[windows.first + 1], np.float64)


def changes(windows: Windows) -> Computed:
    """Return how often the value changed; from NaN to NaN is no change."""
    both_nan = np.isnan(windows.values[1:]) & np.isnan(windows.values[:-1])
    changed = (windows.values[1:] != windows.values[:-1]) & ~both_nan
    return counted_changes(windows, np.concatenate([[False], changed])), None


def resets(windows: Windows) -> Computed:
    """Return how often the value fell."""
    fell = np.concatenate([[False], windows.values[1:] < windows.values[:-1]])
    return counted_changes(windows, fell), None


# ---- aggregates over time --------------------------------------------------------------------------------------------


def kahan(value: Floats, total: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """Add with Neumaier's correction: return the sum and what rounding lost."""
    new = total + value
    larger = np.abs(total) >= np.abs(value)
    return new, lost + np.where(larger, (total - new) + value, (value - new) + total)


def sum_over_time(windows: Windows) -> Computed:
    """Return the sums."""
    values = windows.values
    whole = bool(np.all(np.isfinite(values))) and bool(np.all(values == np.trunc(values)))
    if whole and float(np.abs(values).sum()) < _EXACT_BELOW:
        before = np.concatenate([[0.0], np.cumsum(values)])
        return before[windows.end] - before[windows.first], None
    total, lost = np.zeros(len(windows.first)), np.zeros(len(windows.first))
    with np.errstate(invalid="ignore"):
        for which, _, value in windows.positions():
            total[which], lost[which] = kahan(value, total[which], lost[which])
        return np.where(np.isinf(total), total, total + lost), None


def avg_over_time(windows: Windows) -> Computed:
    """Return the means, moved sample by sample."""
    mean, lost = np.zeros(len(windows.first)), np.zeros(len(windows.first))
    count = 0.0
    with np.errstate(invalid="ignore"):
        for which, _, value in windows.positions():
            count += 1
            now = mean[which]
            stuck = np.isinf(now) & ((np.isinf(value) & ((now > 0) == (value > 0))) | np.isfinite(value))
            new, new_lost = kahan(value / count - now / count, now, lost[which])
            mean[which], lost[which] = np.where(stuck, now, new), np.where(stuck, lost[which], new_lost)
        return np.where(np.isinf(mean), mean, mean + lost), None


def stdvar_over_time(windows: Windows) -> Computed:
    """Return the variances, moved sample by sample."""
    size = len(windows.first)
    mean, mean_lost, squares, squares_lost = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    count = 0.0
    with np.errstate(invalid="ignore"):
        for which, _, value in windows.positions():
            count += 1
            away = value - (mean[which] + mean_lost[which])
            mean[which], mean_lost[which] = kahan(away / count, mean[which], mean_lost[which])
            further = away * (value - (mean[which] + mean_lost[which]))
            squares[which], squares_lost[which] = kahan(further, squares[which], squares_lost[which])
        return (squares + squares_lost) / windows.count, None


def stddev_over_time(windows: Windows) -> Computed:
    """Return the standard deviations."""
    return np.sqrt(stdvar_over_time(windows)[0]), None


def _extreme(windows: Windows, better: np.ufunc) -> Floats:
    """Return the least or largest value of each range from doubling tables: two lookups for each."""
    tables = [windows.values]
    longest = int(windows.count.max(initial=1))
    while 2 ** len(tables) <= longest:
        half = 2 ** (len(tables) - 1)
        tables.append(better(tables[-1][:-half], tables[-1][half:]))
    level = np.frexp(windows.count.astype(np.float64))[1] - 1
    result = np.zeros(len(level))
    for number, table in enumerate(tables):
        which = level == number
        result[which] = better(table[windows.first[which]], table[windows.end[which] - 2**number])
    return result


def min_over_time(windows: Windows) -> Computed:
    """Return the least values."""
    return _extreme(windows, np.fmin), None


def max_over_time(windows: Windows) -> Computed:
    """Return the largest values."""
    return _extreme(windows, np.fmax), None


def count_over_time(windows: Windows) -> Computed:
    """Return how many samples there are."""
    return windows.count.astype(np.float64), None


def last_over_time(windows: Windows) -> Computed:
    """Return the last values."""
    return windows.values[windows.end - 1], None


def present_over_time(windows: Windows) -> Computed:
    """Return 1 wherever there is a sample."""
    return np.ones(len(windows.first)), None


def quantile_over_time(windows: Windows, q: Floats) -> Computed:
    """Return quantiles, interpolated between the two nearest samples."""
    found = [
        quantile_of(float(share), windows.values[first:end])
        for share, first, end in zip(q, windows.first, windows.end, strict=True)
    ]
    return np.asarray(found, np.float64), None


def quantile_of(q: float, values: Floats) -> float:
    """Return a quantile of some values as Prometheus interpolates it."""
    ordered = np.sort(values)
    if np.isnan(q) or not len(ordered):
        return np.nan
    if not 0 <= q <= 1:
        return np.inf if q > 1 else -np.inf
    ordered = np.concatenate([ordered[np.isnan(ordered)], ordered[~np.isnan(ordered)]])  # Prometheus sorts NaN first
    rank = q * (len(ordered) - 1)
    low = max(0, int(np.floor(rank)))
    high = min(len(ordered) - 1, low + 1)
    weight = rank - np.floor(rank)
    return float(ordered[low] * (1 - weight) + ordered[high] * weight)


# ---- regression ------------------------------------------------------------------------------------------------------


def deriv(windows: Windows) -> Computed:
    """Return the slope per second of the line through the samples."""
    enough = windows.count >= 2
    some = windows.chosen(enough)
    result = np.zeros(len(enough))
    result[enough] = _regression(some, some.times_ms[some.first])[0]
    return result, enough


def predict_linear(windows: Windows, ahead_s: Floats) -> Computed:
    """Return where the line through the samples will be."""
    enough = windows.count >= 2
    some = windows.chosen(enough)
    slope, intercept = _regression(some, some.at_ms)
    result = np.zeros(len(enough))
    result[enough] = slope * ahead_s[enough] + intercept
    return result, enough


def _regression(some: Windows, zero_ms: Millis) -> tuple[Floats, Floats]:
    size = len(some.first)
    sums, lost = np.zeros((4, size)), np.zeros((4, size))
    constant = np.ones(size, np.bool_)
    begin = some.values[some.first]
    for which, times_ms, y in some.positions():
        x = (times_ms - zero_ms[which]) / 1000
        for number, value in enumerate((x, y, x * y, x * x)):
            sums[number][which], lost[number][which] = kahan(value, sums[number][which], lost[number][which])
        constant[which] &= y == begin[which]
    x_sum, y_sum, xy_sum, xx_sum = sums + lost
    count = some.count.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (xy_sum - x_sum * y_sum / count) / (xx_sum - x_sum * x_sum / count)
        intercept = y_sum / count - slope * x_sum / count
    flat_slope, flat = np.where(np.isinf(begin), np.nan, 0.0), np.where(np.isinf(begin), np.nan, begin)
    return np.where(constant, flat_slope, slope), np.where(constant, flat, intercept)


PLAIN: dict[str, Callable[[Windows], Computed]] = {
    "sum_over_time": sum_over_time, "avg_over_time": avg_over_time, "min_over_time": min_over_time,
    "max_over_time": max_over_time, "count_over_time": count_over_time, "last_over_time": last_over_time,
    "present_over_time": present_over_time, "stddev_over_time": stddev_over_time, "stdvar_over_time": stdvar_over_time,
    "changes": changes, "resets": resets, "deriv": deriv,
    "irate": lambda windows: instant_change(windows, counter=True),
    "idelta": lambda windows: instant_change(windows, counter=False),
}  # fmt: skip
"""Functions of a range alone."""

EXTRAPOLATED: dict[str, dict[str, bool]] = {
    "rate": {"counter": True, "rate": True},
    "increase": {"counter": True, "rate": False},
    "delta": {"counter": False, "rate": False},
}
