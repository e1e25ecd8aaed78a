"""Time series as Prometheus stores them: labels, samples in the order of time, and marks where a series went stale."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

NAME = "__name__"
Labels = tuple[tuple[str, str], ...]
"""Sorted pairs of name and value, the metric's name among them; an empty value is no label."""
Millis = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class AlertError(ValueError):
    """A rule or a query that cannot be evaluated; the message says which part, and what can be done."""


def labels_of(pairs: Mapping[str, str], name: str | None = None) -> Labels:
    """Return labels from a mapping, with a metric's name."""
    named = {**pairs, NAME: name} if name is not None else dict(pairs)
    return tuple(sorted((key, value) for key, value in named.items() if value))


def without(labels: Labels, names: Iterable[str]) -> Labels:
    """Return the labels that are not named."""
    gone = frozenset(names)
    return tuple(pair for pair in labels if pair[0] not in gone)


def only(labels: Labels, names: Iterable[str]) -> Labels:
    """Return the labels that are named."""
    kept = frozenset(names)
    return tuple(pair for pair in labels if pair[0] in kept)


def metric_text(labels: Labels) -> str:
    """Return labels the way Prometheus writes them: `up{job="kafka"}`."""
    inside = ", ".join(f'{key}="{value}"' for key, value in labels if key != NAME)
    name = dict(labels).get(NAME, "")
    return f"{name}{{{inside}}}" if inside or not name else name


@dataclass(frozen=True, eq=False)
class Series:
    """One series. A stale sample says that the series ended there; its value means nothing."""

    labels: Labels
    times_ms: Millis
    """Ascending."""
    values: Floats
    stale: Bools

    def __post_init__(self) -> None:
        assert len(self.times_ms) == len(self.values) == len(self.stale), metric_text(self.labels)

    @classmethod
    def of(cls, name: str, labels: Mapping[str, str], times_ms: Millis, values: Floats) -> "Series":
        """Return a series without stale marks."""
        return cls(labels_of(labels, name), times_ms, values, np.zeros(len(times_ms), np.bool_))

    @cached_property
    def real(self) -> tuple[Millis, Floats]:
        """The samples that are values; ranges see only these."""
        if not self.stale.any():
            return self.times_ms, self.values
        return self.times_ms[~self.stale], self.values[~self.stale]


class Store:
    """Series by name, in the order in which they came."""

    def __init__(self, series: Iterable[Series] = ()) -> None:
        self._by_name: dict[str, list[Series]] = {}
        self._labels: set[Labels] = set()
        for each in series:
            self.add(each)

    def add(self, series: Series) -> None:
        """Add a series; one with the same labels must not be there."""
        if series.labels in self._labels:
            raise AlertError(f"{metric_text(series.labels)} is there twice; a series' labels are its own")
        self._labels.add(series.labels)
        self._by_name.setdefault(dict(series.labels).get(NAME, ""), []).append(series)

    def named(self, name: str | None) -> list[Series]:
        """Return the series of a name; of None all."""
        if name is not None:
            return self._by_name.get(name, [])
        return [each for found in self._by_name.values() for each in found]

    @property
    def names(self) -> list[str]:
        """The metrics' names."""
        return list(self._by_name)

    def copy(self) -> "Store":
        """Return a store with the same series, to which others can be added."""
        return Store(self.named(None))
