"""Instant vectors at many instants at once: a row per series, a column per instant, and a mask of what is there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reports.alerts.series import NAME, AlertError, Bools, Floats, Labels, metric_text, without


@dataclass(frozen=True, eq=False)
class Vector:
    """Values of series at instants; where `present` is False a series has no value, whatever `values` holds."""

    labels: tuple[Labels, ...]
    values: Floats
    present: Bools

    @classmethod
    def empty(cls, instants: int) -> "Vector":
        """Return a vector of no series."""
        return cls((), np.zeros((0, instants)), np.zeros((0, instants), np.bool_))

    @classmethod
    def of(cls, rows: "Sequence[Row]", instants: int) -> "Vector":
        """Return a vector of rows; those that are never there are left out."""
        rows = [row for row in rows if row[2].any()]
        if not rows:
            return cls.empty(instants)
        labels, values, present = zip(*rows, strict=True)
        return cls(tuple(labels), np.stack(values), np.stack(present))

    @property
    def rows(self) -> "list[Row]":
        """The series one by one."""
        return list(zip(self.labels, self.values, self.present, strict=True))

    def with_values(self, values: Floats) -> "Vector":
        """Return the same series with other values, and without their metric's name, which no longer fits."""
        return unique(Vector(tuple(without(each, [NAME]) for each in self.labels), values, self.present))


Row = tuple[Labels, Floats, Bools]


def unique(vector: Vector, why: str = "more than one series has the labels") -> Vector:
    """Return a vector in which each set of labels has one row; refuse two that are there at the same instant."""
    if len(set(vector.labels)) == len(vector.labels):
        return vector
    merged: dict[Labels, tuple[Floats, Bools]] = {}
    for labels, values, present in vector.rows:
        if labels not in merged:
            merged[labels] = (values, present)
            continue
        before, there = merged[labels]
        if bool((there & present).any()):
            raise AlertError(
                f"{why} {metric_text(labels)} at the same instant, which Prometheus refuses; keep a label that tells them apart"
            )
        merged[labels] = (np.where(present, values, before), there | present)
    return Vector.of([(labels, *pair) for labels, pair in merged.items()], vector.values.shape[1])


def anywhere(present: Bools) -> Bools:
    """Return at which instants some series is there."""
    return np.asarray(present.any(axis=0))


# ---- aggregation ----------------------------------------------------------------------------------------------------

Fold = Callable[[Floats, Bools], Floats]
"""Takes values and presence of a group's rows, in order, and returns one row."""


def aggregate(vector: Vector, by: Callable[[Labels], Labels], fold: Fold) -> Vector:
    """Return a row for each group of rows."""
    groups: dict[Labels, list[int]] = {}
    for number, labels in enumerate(vector.labels):
        groups.setdefault(by(labels), []).append(number)
    rows = [
        (labels, fold(vector.values[numbers], vector.present[numbers]), anywhere(vector.present[numbers]))
        for labels, numbers in groups.items()
    ]
    return Vector.of(rows, vector.values.shape[1])


def fold_sum(values: Floats, present: Bools) -> Floats:
    """Add in the order of the series, as Prometheus does: the order decides the last digit."""
    total = np.zeros(values.shape[1])
    for row, there in zip(values, present, strict=True):
        total = np.where(there, total + np.where(there, row, 0.0), total)
    return total


def fold_avg(values: Floats, present: Bools) -> Floats:
    """Move the mean value by value, with its special ways for infinities."""
    mean, count = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for row, there in zip(values, present, strict=True):
        mean, count = moved_mean(mean, count, row, there)
    return mean


def moved_mean(mean: Floats, count: Floats, value: Floats, there: Bools) -> tuple[Floats, Floats]:
    """Return the mean and count after one more value where there is one."""
    count = count + there
    stuck = np.isinf(mean) & ((np.isinf(value) & ((mean > 0) == (value > 0))) | np.isfinite(value))
    later = mean + (value / np.where(there, count, 1.0) - mean / np.where(there, count, 1.0))
    later = np.where(count == 1, value, later)
    return np.where(there & ~stuck, later, mean), count


def fold_min(values: Floats, present: Bools) -> Floats:
    """Return the least; NaN only where nothing else is there."""
    return np.asarray(np.fmin.reduce(np.where(present, values, np.nan), axis=0))


def fold_max(values: Floats, present: Bools) -> Floats:
    """Return the largest; NaN only where nothing else is there."""
    return np.asarray(np.fmax.reduce(np.where(present, values, np.nan), axis=0))


def fold_count(_values: Floats, present: Bools) -> Floats:
    """Return how many are there."""
    return np.asarray(present.sum(axis=0), np.float64)


def fold_group(_values: Floats, present: Bools) -> Floats:
    """Return 1 for whatever is there."""
    return np.ones(present.shape[1])


def fold_stdvar(values: Floats, present: Bools) -> Floats:
    """Return the variance, moved value by value."""
    count, mean, squares = (np.zeros(values.shape[1]) for _ in range(3))
    for row, there in zip(values, present, strict=True):
        count = count + there
        away = row - mean
        mean = np.where(there, mean + away / np.where(there, count, 1.0), mean)
        squares = np.where(there, squares + away * (row - mean), squares)
    return np.asarray(squares / np.maximum(count, 1))


def fold_stddev(values: Floats, present: Bools) -> Floats:
    """Return the standard deviation."""
    return np.sqrt(fold_stdvar(values, present))


FOLDS: dict[str, Fold] = {
    "sum": fold_sum, "avg": fold_avg, "min": fold_min, "max": fold_max, "count": fold_count, "group": fold_group,
    "stddev": fold_stddev, "stdvar": fold_stdvar,
}  # fmt: skip
