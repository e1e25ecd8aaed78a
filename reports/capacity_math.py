"""Sums behind a capacity plan: scalability fitted to points, outages that recover, partitions, cluster limits, growth, cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from rundata.replications import Bounds
from scenarios.quantities import SECOND

Floats = NDArray[np.float64]
FEWEST_POINTS = 6
BOOTSTRAPS = 400
_NOTHING = 1e-9
"""What a fit of perfect scaling leaves of alpha and beta."""
_GB = 1e9
_MONTH_S = 30 * 86_400


# ---- scalability ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scalability:
    """The Universal Scalability Law `gamma*N / (1 + alpha*(N-1) + beta*N*(N-1))` fitted to measured points."""

    gamma: float
    """Throughput of one."""
    alpha: float
    """Contention: the share that waits in line."""
    beta: float
    """Crosstalk: what grows with each pair."""
    intervals: Mapping[str, Bounds]
    """95 %, by bootstrap: of gamma, alpha, beta and peak."""
    warnings: tuple[str, ...] = ()

    def at(self, n: float) -> float:
        """Return the throughput of n."""
        return float(self.gamma * n / (1 + self.alpha * (n - 1) + self.beta * n * (n - 1)))

    @property
    def peak(self) -> float:
        """The N beyond which more of them do less; infinite without crosstalk."""
        return math.sqrt((1 - self.alpha) / self.beta) if self.beta > 0 and self.alpha < 1 else math.inf


def fit_scalability(
    points: Sequence[tuple[float, float]], *, seed: int = 0, asked_n: float | None = None
) -> Scalability:
    """Fit the law to (N, throughput); intervals by resampling the relative residuals."""
    n, x = np.array(points, np.float64).T
    gamma, alpha, beta = _fit(n, x)
    fitted = Scalability(gamma, alpha, beta, {})
    predicted = np.array([fitted.at(each) for each in n])
    freedom = max(len(n) - 3, 1)
    residuals = (x / predicted - 1) * math.sqrt(len(n) / freedom)
    rng = np.random.default_rng(np.random.SeedSequence([seed, len(points)]))
    drawn = []
    for _ in range(BOOTSTRAPS):
        again = _fit(n, predicted * (1 + rng.choice(residuals, len(n))))
        drawn.append((*again, Scalability(*again, {}).peak))
    low, high = np.quantile(np.array(drawn), (0.025, 0.975), axis=0, method="nearest")
    names = ("gamma", "alpha", "beta", "peak")
    return Scalability(
        gamma,
        alpha,
        beta,
        {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)},
        tuple(_scalability_warnings(n, fitted.peak, asked_n)),
    )


def _fit(n: Floats, x: Floats) -> tuple[float, float, float]:
    """Return the least relative squares with alpha and beta not below 0: N/X is linear in them."""
    # N / X = (1 + alpha (N - 1) + beta N (N - 1)) / gamma; dividing by N / X makes the residuals relative.
    terms = np.stack([np.ones_like(n), n - 1, n * (n - 1)], axis=1) * (x / n)[:, None]
    scale = np.abs(terms).max(axis=0)
    start = optimize.nnls(terms / scale, np.ones_like(n))[0] / scale
    if start[0] <= 0:
        return float((x / n).max()), 0.0, 0.0
    first = (1 / start[0], start[1] / start[0], start[2] / start[0])

    def apart(parameters: Floats) -> Floats:
        gamma, alpha, beta = parameters
        return np.asarray(gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1)) - x)

    found = optimize.least_squares(apart, first, bounds=([0, 0, 0], [np.inf, 1, np.inf]), x_scale=np.maximum(first, 1e-6),
                                   ftol=1e-12, xtol=1e-12, gtol=1e-12)  # fmt: skip
    gamma, alpha, beta = (float(each) for each in found.x)
    return gamma, alpha if alpha > _NOTHING else 0.0, beta if beta > _NOTHING else 0.0


def _scalability_warnings(n: Floats, peak: float, asked_n: float | None) -> list[str]:
    said = []
    if len(n) < FEWEST_POINTS:
        said.append(f"{len(n)} points are few for three parameters: measure {FEWEST_POINTS} or more")
    most = float(n.max())
    if math.isfinite(peak) and peak > 2 * most:
        said.append(f"the peak at {peak:.3g} lies beyond twice the largest N measured ({most:g}): a guess")
    if asked_n is not None and asked_n > 2 * most:
        said.append(f"{asked_n:g} lies beyond twice the largest N measured ({most:g}): a guess")
    return said


# ---- outages, drains, partitions -----------------------------------------------------------------------------------


def longest_outage_s(recover_within_s: float, capacity_hz: float, rate_hz: float) -> float:
    """Return the longest outage whose backlog is gone within that time after it; infinite without load, 0 without reserve."""
    if rate_hz <= 0:
        return math.inf
    return max(0.0, recover_within_s * (capacity_hz - rate_hz) / rate_hz)


def drain_s(backlog_events: float, capacity_hz: float, rate_hz: float) -> float:
    """Return how long a backlog takes to drain while new events arrive; infinite where it never does."""
    spare = capacity_hz - rate_hz
    return 0.0 if backlog_events <= 0 else backlog_events / spare if spare > 0 else math.inf


def partitions_needed(target_hz: float, produce_hz: float, consume_hz: float, growth: float = 1.0) -> int:
    """Return the partitions that a rate needs by what one can take and one member can handle, with room to grow."""
    return max(1, math.ceil(growth * max(target_hz / produce_hz, target_hz / consume_hz) - 1e-9))


@dataclass(frozen=True)
class ClusterLimit:
    """How much ingress a cluster carries, and what stands in the way of more."""

    bytes_per_s: float
    bottleneck: str
    limits: Mapping[str, float]


def cluster_limit(
    *,
    brokers: int,
    replicas: int,
    groups: int,
    storage: float,
    storage_network: float,
    network: float,
    catching_up: int = 0,
) -> ClusterLimit:
    """Return the ingress limit in bytes/s from each broker's own; groups that catch up read once more."""
    limits = {
        "storage": storage * brokers / replicas,
        "storage network": storage_network * brokers / replicas,
        "network": network * brokers / (groups + catching_up + replicas - 1) if groups + catching_up + replicas > 1 else math.inf,
    }  # fmt: skip
    narrowest = min(limits, key=lambda name: limits[name])
    return ClusterLimit(limits[narrowest], narrowest, limits)


# ---- growth and cost -----------------------------------------------------------------------------------------------


def runs_out_after_days(capacity_hz: float, rate_hz: float, growth_per_month: float) -> float:
    """Return in how many days a load that grows by that share each 30 days reaches the capacity; infinite if never."""
    if rate_hz >= capacity_hz:
        return 0.0
    if growth_per_month <= 0 or rate_hz <= 0:
        return math.inf
    return 30 * math.log(capacity_hz / rate_hz) / math.log1p(growth_per_month)


@dataclass(frozen=True)
class Growth:
    """An exponential growth fitted to measured rates, and when it reaches a capacity."""

    rate_hz: float
    """By the fit, on the last day."""
    growth: float
    """Each 30 days."""
    growth_interval: Bounds
    days: float
    """Until the capacity is reached; infinite if never."""
    interval: Bounds
    """95 %: an end is infinite where the load may not grow at all."""
    points: int
    warnings: tuple[str, ...] = ()


def fit_growth(history: Sequence[tuple[float, float]], capacity_hz: float) -> Growth:
    """Fit a line to the logarithm of rates by day (the last is 0); the interval is that of its slope and its end."""
    days, rates = np.array(history, np.float64).T
    count, mean_day = len(days), float(days.mean())
    spread = float(((days - mean_day) ** 2).sum())
    if count < 3 or spread == 0:
        raise ValueError("a growth needs rates of three or more points in time")
    slope = float(((days - mean_day) * np.log(rates)).sum()) / spread
    height = float(np.log(rates).mean()) - slope * mean_day
    left = np.log(rates) - height - slope * days
    error = math.sqrt(float((left**2).sum()) / (count - 2))
    reach = float(stats.t.ppf(0.975, count - 2))
    slopes = tuple(slope + sign * reach * error / math.sqrt(spread) for sign in (-1, 1))
    # Ends of the line: the slope and the height at the middle of the history are independent, each end keeps the middle.
    middle = height + slope * mean_day
    reached = [_reached(math.log(capacity_hz), middle, each, mean_day) for each in (*slopes, slope)]
    said = [f"the capacity lies beyond as long again as the history of {-days.min():.0f} days: a guess"] if (
        math.isfinite(reached[2]) and reached[2] > -float(days.min())
    ) else []  # fmt: skip
    low, high = sorted((reached[0], reached[1]))
    return Growth(
        math.exp(height), math.expm1(30 * slope), (math.expm1(30 * slopes[0]), math.expm1(30 * slopes[1])), reached[2],
        (low, high), count, tuple(said),
    )  # fmt: skip


def _reached(log_capacity: float, middle: float, slope: float, mean_day: float) -> float:
    """Return in how many days from day 0 a line through the middle of a history reaches a height."""
    if middle - slope * mean_day >= log_capacity:
        return 0.0
    return mean_day + (log_capacity - middle) / slope if slope > 0 else math.inf


@dataclass(frozen=True)
class Prices:
    """The user's own prices; each is per month or per GB (10^9 bytes)."""

    date: str
    currency: str
    broker_month: float = 0.0
    storage_gb_month: float = 0.0
    tiered_gb_month: float = 0.0
    ingress_gb: float = 0.0
    cross_zone_gb: float = 0.0
    retrieval_gb: float = 0.0

    def __post_init__(self) -> None:
        for name in ("broker_month", "storage_gb_month", "tiered_gb_month", "ingress_gb", "cross_zone_gb", "retrieval_gb"):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"{name} is {value!r}; a price is a number of {self.currency}, 0 or more")


def prices_of(value: Any) -> Prices:
    """Return prices from a file's value; raise ValueError with the names that there are."""
    known = list(Prices.__dataclass_fields__)
    if not isinstance(value, dict) or not {"date", "currency"} <= value.keys() <= set(known):
        unknown = sorted(set(value) - set(known)) if isinstance(value, dict) else []
        wrong = f"{unknown[0]!r} is no price; " if unknown else ""
        raise ValueError(f"{wrong}prices hold date and currency, and some of {', '.join(known[2:])}")
    return Prices(**{**value, "date": str(value["date"])})


def monthly_cost(
    prices: Prices,
    *,
    ingress_bytes_s: float,
    retention_ns: int,
    replicas: int,
    brokers: int,
    groups: int,
    hot_ns: int | None = None,
    zones: int = 1,
    replayed_share: float = 0.0,
) -> dict[str, float]:
    """Return what a month costs by item. With `hot_ns` older data is tiered: kept once, and read back for replays."""
    per_month_gb = ingress_bytes_s * _MONTH_S / _GB
    stored, tiered = (each / _GB for each in kept_bytes(ingress_bytes_s, retention_ns, hot_ns, replicas))
    across = (2 / 3 + (replicas - 1) + 2 / 3 * groups) if zones > 1 else 0.0
    return {
        "brokers": prices.broker_month * brokers,
        "storage": prices.storage_gb_month * stored,
        "tiered storage": prices.tiered_gb_month * tiered,
        "ingress": prices.ingress_gb * per_month_gb,
        "between zones": prices.cross_zone_gb * per_month_gb * across,
        "retrieval": prices.retrieval_gb * per_month_gb * replayed_share,
    }


def kept_bytes(bytes_s: float, retention_ns: int, hot_ns: int | None, replicas: int) -> tuple[float, float]:
    """Return what lies on the brokers' disks, all copies, and what lies in tiered storage, once."""
    hot = retention_ns if hot_ns is None else min(hot_ns, retention_ns)
    return bytes_s * hot / SECOND * replicas, bytes_s * (retention_ns - hot) / SECOND
