"""When a producer means to send: intended times along its rates, drawn in blocks of any size, which never change them."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from scenarios import faults as fault_types
from scenarios.occurrences import PlannedFault
from scenarios.quantities import SECOND
from scenarios.schema import Arrivals, Bursts, Producer

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def arrival_times(
    producer: Producer, duration_ns: int, surges: Sequence[PlannedFault], generator: np.random.Generator, at_once: int
) -> Iterator[Ints]:
    """Yield intended times in [0, duration), sorted, in blocks of about so many: each part by its own spacing along its (surged) rate."""
    begin_ns = 0
    for arrivals in producer.rated(duration_ns):
        end_ns = begin_ns + (arrivals.for_ns if arrivals.for_ns is not None else duration_ns - begin_ns)
        yield from _part_times(arrivals, begin_ns, min(end_ns, duration_ns), surges, generator, at_once)
        begin_ns = end_ns


def _part_times(
    arrivals: Arrivals,
    begin_ns: int,
    end_ns: int,
    surges: Sequence[PlannedFault],
    generator: np.random.Generator,
    at_once: int,
) -> Iterator[Ints]:
    """Yield times at which the cumulative rate passes the points of a unit-rate process (exact time change)."""
    knots_ns, expected = cumulative_rate(arrivals, begin_ns, end_ns, surges)
    total = float(expected[-1])
    match arrivals.spacing:
        case "even":
            blocks = _even_points(total, at_once)
        case "poisson":
            blocks = _poisson_points(total, generator, at_once)
        case Bursts(bursts=size):
            bursts = _poisson_points(total / size, generator, max(1, at_once // size))
            blocks = (np.repeat(points * size, size) for points in bursts)
    for points in blocks:
        times = np.interp(points, expected, knots_ns)
        clipped: Ints = np.clip(np.rint(times).astype(np.int64), begin_ns, end_ns - 1)
        yield clipped


def _even_points(total: float, at_once: int) -> Iterator[Floats]:
    count = max(0, int(np.ceil(total - 0.5)))
    for first in range(0, count, at_once):
        yield np.arange(first, min(first + at_once, count), dtype=np.float64) + 0.5


def _poisson_points(total: float, generator: np.random.Generator, at_once: int) -> Iterator[Floats]:
    """Yield the points of a unit-rate Poisson process below a total.

    Sums go on from block to block as if there were one, rounding included, and what is drawn beyond the total is the same, too.
    """
    reached = 0.0
    while reached < total:
        left, within = int((total - reached) * 1.02) + 64, 0.0
        while left:
            some = min(left, at_once)
            sums = np.cumsum(np.append(within, generator.exponential(size=some)))[1:]
            within, left = float(sums[-1]), left - some
            points = reached + sums
            yield points[points < total]
        reached += within


def cumulative_rate(
    arrivals: Arrivals, begin_ns: int, end_ns: int, surges: Sequence[PlannedFault]
) -> tuple[Floats, Floats]:
    """Return knots in time and the expected number of events up to each; ramps are cut finely enough to be straight."""
    low, high = arrivals.rate
    edges = {begin_ns, end_ns}
    for surge in surges:
        edges |= {edge for edge in (surge.begin_ns, surge.end_ns) if begin_ns < edge < end_ns}
    if low != high:
        edges |= set(range(begin_ns, end_ns, max(1, (end_ns - begin_ns) // 4096)))
    knots = np.array(sorted(edges), dtype=np.float64)
    middle = (knots[1:] + knots[:-1]) / 2
    rate = low + (high - low) * (middle - begin_ns) / max(1, end_ns - begin_ns)
    for surge in surges:
        assert isinstance(surge.fault, fault_types.Surge)
        rate = np.where((middle >= surge.begin_ns) & (middle < surge.end_ns), rate * surge.fault.factor, rate)
    expected = np.concatenate([[0.0], np.cumsum(rate * np.diff(knots) / SECOND)])
    return knots, expected
