"""Quantiles from the buckets of classic histograms, as Prometheus interpolates them."""

import numpy as np

from reports.alerts.series import NAME, Bools, Floats, Labels, without
from reports.alerts.vectors import Vector, anywhere

_BUCKET = "le"


def quantile(q: Floats, vector: Vector) -> Vector:
    """Return the quantile of each histogram at each instant."""
    groups: dict[Labels, list[tuple[float, int]]] = {}
    for number, labels in enumerate(vector.labels):
        bound = _bound(dict(labels).get(_BUCKET, ""))
        if bound is not None:
            groups.setdefault(without(labels, [NAME, _BUCKET]), []).append((bound, number))
    rows = []
    for labels, buckets in groups.items():
        bounds, numbers = zip(*sorted(buckets), strict=True)
        present = vector.present[list(numbers)]
        rows.append(
            (labels, _of_group(q, np.asarray(bounds), vector.values[list(numbers)], present), anywhere(present))
        )
    return Vector.of(rows, vector.values.shape[1])


def _bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _of_group(q: Floats, bounds: Floats, counts: Floats, present: Bools) -> Floats:
    """Return the quantile at each instant; instants with the same buckets are computed together."""
    result = np.full(counts.shape[1], np.nan)
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for number, there in enumerate(patterns.T):
        if there.any():
            here = np.flatnonzero(which.reshape(-1) == number)
            result[here] = _quantile(q[here], *_coalesced(bounds[there], counts[there][:, here]))
    return result


def _coalesced(bounds: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Add up buckets with the same bound, and let no bucket hold less than a smaller one."""
    distinct, place = np.unique(bounds, return_inverse=True)
    added = np.zeros((len(distinct), counts.shape[1]))
    np.add.at(added, place, counts)
    return distinct, np.maximum.accumulate(added, axis=0)


def _quantile(q: Floats, bounds: Floats, counts: Floats) -> Floats:
    size = len(q)
    if len(bounds) < 2 or not np.isposinf(bounds[-1]):
        return _outside(q, np.full(size, np.nan))
    observed = counts[-1]
    rank = q * observed
    reached = counts[:-1] >= rank
    bucket = np.where(reached.any(axis=0), reached.argmax(axis=0), len(bounds) - 1)
    column = np.arange(size)
    lower = np.where(bucket > 0, bounds[np.maximum(bucket - 1, 0)], 0.0)
    before = np.where(bucket > 0, counts[np.maximum(bucket - 1, 0), column], 0.0)
    inside = lower + (bounds[bucket] - lower) * ((rank - before) / (counts[bucket, column] - before))
    result = np.where(bucket == len(bounds) - 1, bounds[-2], inside)
    result = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], result)
    return _outside(q, np.where(observed == 0, np.nan, result))


def _outside(q: Floats, result: Floats) -> Floats:
    result = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, result))
    return np.where(np.isnan(q), np.nan, result)
