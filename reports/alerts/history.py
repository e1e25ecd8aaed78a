"""A calm time before a run, so that rules which look back for days can be judged on a drill of minutes: what was before the first fault, prolonged."""

import numpy as np

from reports.alerts.months import is_counter
from reports.alerts.series import NAME, Millis, Series, Store

_FINE_MS, _COARSE_MS, _FINE_FOR_MS = 15_000, 60_000, 3_600_000
_BEGINS_WITHIN_MS = 30_000
"""A series that comes later was not there before."""


def with_calm_before(store: Store, calm_ms: int, history_ms: int, names: set[str] | None = None) -> Store:
    """Return series with so long a history before 0: counters that grew as until `calm_ms`, gauges as they were at first."""
    times = np.concatenate(
        [
            np.arange(-history_ms, -_FINE_FOR_MS, _COARSE_MS, dtype=np.int64),
            np.arange(max(-_FINE_FOR_MS, -history_ms), 0, _FINE_MS, dtype=np.int64),
        ]
    )
    kept = (each for each in store.named(None) if names is None or dict(each.labels)[NAME] in names)
    return Store(_prolonged(each, times, calm_ms) for each in kept)


def _prolonged(series: Series, before_ms: Millis, calm_ms: int) -> Series:
    times, values = series.real
    if not len(times) or times[0] > _BEGINS_WITHIN_MS or not len(before_ms):
        return series
    if is_counter(dict(series.labels)[NAME]):
        slope = _calm_slope(series, calm_ms)
        history = slope * (before_ms - before_ms[0])
        fell = np.flatnonzero(values[1:] < values[:-1])
        first_reset_ms = times[fell[0] + 1] if len(fell) else np.iinfo(np.int64).max
        own = series.values + np.where(series.times_ms < first_reset_ms, -slope * before_ms[0], 0.0)
    else:
        history, own = np.full(len(before_ms), values[0]), series.values
    return Series(
        series.labels,
        np.concatenate([before_ms, series.times_ms]),
        np.concatenate([history, own]),
        np.concatenate([np.zeros(len(before_ms), np.bool_), series.stale]),
    )


def _calm_slope(series: Series, calm_ms: int) -> float:
    """Return how fast a counter grew before the first fault, per millisecond."""
    times, values = series.real
    calm = times <= calm_ms
    if calm.sum() < 2:
        return 0.0
    grew = np.diff(values[calm])
    return float(np.maximum(grew, 0.0).sum() / (times[calm][-1] - times[0]))
