"""Recorded arrivals: a Parquet file with a row per event as times, keys and sizes."""

import numpy as np
from numpy.typing import NDArray

from scenarios.distributions import read_column
from scenarios.quantities import SECOND
from scenarios.schema import Recorded

Ints = NDArray[np.int64]


def recorded_times_ns(recorded: Recorded) -> Ints:
    """Return the time of each row, from the begin of the load."""
    seconds = read_column(recorded.trace, recorded.column).astype(np.float64)
    return np.rint(seconds / recorded.speed * SECOND).astype(np.int64)


def rows_in_order(recorded: Recorded, duration_ns: int) -> tuple[Ints, Ints]:
    """Return the rows within the duration in the order of their times, and those times."""
    times = recorded_times_ns(recorded)
    rows = np.argsort(times, kind="stable")
    rows = rows[(times[rows] >= 0) & (times[rows] < duration_ns)]
    return rows, times[rows]


def recorded_keys(recorded: Recorded, rows: Ints) -> Ints:
    """Return a number for each row's key; equal values have equal numbers."""
    assert recorded.key is not None
    values = read_column(recorded.trace, recorded.key).astype(np.str_)
    return np.unique(values, return_inverse=True)[1].astype(np.int64)[rows]


def recorded_sizes(recorded: Recorded, rows: Ints) -> NDArray[np.float64]:
    """Return each row's size in bytes."""
    assert recorded.size is not None
    return read_column(recorded.trace, recorded.size).astype(np.float64)[rows]
