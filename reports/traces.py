"""The series that pages draw, taken from one run once: latencies, lag, rates and outages; and bands over many runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rundata import series
from rundata.backlog import STEP_NS as LAG_STEP_NS
from rundata.series import Latencies, Outage
from rundata.tables import RunData

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trace:
    """What a page draws of one run; small enough to keep one for each replication."""

    end_ns: int
    latencies: Mapping[str, Latencies]
    """By group, in the order of intended times."""
    lag: Mapping[str, Ints]
    """By group, every 100 ms from 0."""
    produced: Floats
    """Acknowledged events in each second."""
    consumed: Mapping[str, Floats]
    """By group: first effects in each second."""
    outages: tuple[Outage, ...]
    """Waits of a second or more between first deliveries of a partition."""


@dataclass(frozen=True, eq=False)
class Band:
    """Where 95 % of single runs lie at each instant, every 100 ms from 0."""

    low: Floats
    median: Floats
    high: Floats


def trace(run: RunData) -> Trace:
    """Return the series of one run."""
    groups = tuple(run.plan.scenario.groups)
    return Trace(
        end_ns=run.end_ns,
        latencies={group: series.latencies(run, group) for group in groups},
        lag=lag_by_group(run),
        produced=series.rate(run, "acknowledged")[1],
        consumed={group: series.rate(run, "effect", group)[1] for group in groups},
        outages=tuple(series.outages(run)),
    )


def lag_by_group(run: RunData) -> dict[str, Ints]:
    """Return each group's lag every 100 ms from 0: of one replication what a band needs."""
    return {group: series.lag(run, group)[1] for group in run.plan.scenario.groups}


def lag_bands(lags: Sequence[Mapping[str, Ints]]) -> dict[str, Band]:
    """Return the band of each group's lag over replications; a run that ended early has no lag afterwards."""
    if len(lags) < 2:
        return {}
    bands = {}
    for group in lags[0]:
        longest = max(len(one[group]) for one in lags)
        stacked = np.stack([np.pad(one[group], (0, longest - len(one[group]))) for one in lags])
        low, median, high = np.quantile(stacked, (0.025, 0.5, 0.975), axis=0)
        bands[group] = Band(low, median, high)
    return bands


__all__ = ["LAG_STEP_NS", "Band", "Latencies", "Outage", "Trace", "lag_bands", "lag_by_group", "trace"]
