"""A log-linear histogram of integers: 256 bins per doubling, at most 0.2 % off, and merged exactly in any order."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_SHIFT = 44  # of the 52 bits of a double's fraction; 8 are left
_ONE = 1023 << 8


def bin_of(values: Ints) -> NDArray[np.int32]:
    """Return each value's bin: 0 for 0, from 1 for 1, and mirrored below zero, so that no value is dropped or folded."""
    if not len(values) or int(values.min()) >= 0:
        bits = (values.astype(np.float64).view(np.int64) >> _SHIFT) + (1 - _ONE)
        found: NDArray[np.int32] = np.maximum(bits, 0).astype(np.int32)
        return found
    size = np.abs(values).astype(np.float64)
    bits = (size.view(np.int64) >> _SHIFT) - _ONE + 1
    return np.where(values == 0, 0, np.sign(values) * bits).astype(np.int32)


def middle_of(bins: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the middle of each bin's integers; exact below 512."""
    size = np.abs(bins).astype(np.int64)
    low = ((size - 1 + _ONE) << _SHIFT).view(np.float64)
    high = ((size + _ONE) << _SHIFT).view(np.float64)
    # A bin holds the integers from ceil(low) to ceil(high) - 1.
    middle = (np.ceil(low) + np.ceil(high) - 1) / 2
    return np.where(size == 0, 0.0, np.sign(bins) * middle)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Bins in rising order, and how many values each holds."""

    bins: NDArray[np.int32]
    counts: Ints

    @classmethod
    def of(cls, values: Ints) -> "Histogram":
        """Return the histogram of some values."""
        bins = bin_of(np.asarray(values, np.int64))
        lowest = int(bins.min(initial=0))
        counts = np.bincount(bins - lowest)  # of some ten thousand bins at most, so that nothing need be sorted
        found = np.flatnonzero(counts)
        return cls((found + lowest).astype(np.int32), counts[found].astype(np.int64))

    def merge(self, other: "Histogram") -> "Histogram":
        """Return the histogram of both's values."""
        return self.sum([(self, 1), (other, 1)])

    @classmethod
    def sum(cls, weighted: "Iterable[tuple[Histogram, int]]") -> "Histogram":
        """Return the histogram of all values, each histogram's as often as its weight says."""
        some = list(weighted)
        bins, place = np.unique(np.concatenate([one.bins for one, _ in some]), return_inverse=True)
        counts = np.zeros(len(bins), np.int64)
        np.add.at(counts, place, np.concatenate([one.counts * weight for one, weight in some]))
        return cls(bins, counts)

    @property
    def count(self) -> int:
        """How many values it holds."""
        return int(self.counts.sum())

    def quantile(self, per_mille: int) -> float:
        """Return the middle of the bin in which the inverse distribution function lies; at least one value is needed."""
        return self.at_rank(max(1, -(-per_mille * self.count // 1000)))

    def at_rank(self, rank: int) -> float:
        """Return the middle of the bin that holds the value of a rank, counted from 1."""
        return float(middle_of(self.bins)[np.searchsorted(np.cumsum(self.counts), rank)])

    def share_at_most(self, value: int) -> float:
        """Return the share of values up to one; those in its own bin count wholly."""
        return float(self.counts[self.bins <= bin_of(np.array([value]))[0]].sum()) / self.count
