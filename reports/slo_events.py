"""What an objective judges: each event (of `availability` each second of a partition), how bad it was, and when that was known."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rundata import series
from rundata.books import Books, End
from rundata.gaps import unwritable
from rundata.latency import roots
from rundata.rows import NEVER
from rundata.scopes import measured_pairs, resolve
from rundata.tables import RunData
from scenarios.expectations import IndicatorName
from scenarios.quantities import SECOND
from scenarios.schema import Objective

Nanos = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class JudgedEvents:
    """The events that count for an objective, in the order of their intended times."""

    intended_ns: Nanos
    bad_share: Floats
    """0 for a good one, 1 for a bad one; a partition's second may be bad in part."""
    known_ns: Nanos
    """When it was known: at its end, or at its deadline."""
    given_up: Bools
    """Whether the group's policy gave it up."""
    unit: float = 1.0
    """What one counts; of `availability` its seconds."""

    @property
    def bad(self) -> Bools:
        """Which are bad, at least in part."""
        return self.bad_share > 0


def limit_ns(objective: Objective) -> float:
    """Return how long an event may take."""
    limit = objective.below if objective.below is not None else objective.within
    return math.inf if limit is None else float(limit)


def judged_events(run: RunData, objective: Objective) -> JudgedEvents:
    """Return what an objective judges in a run."""
    match objective.indicator:
        case "availability":
            return _partition_seconds(run, objective)
        case "ack_latency":
            found = series.latencies(run, objective.of, "ack")
            nothing = np.zeros(len(found.intended_ns), np.bool_)
            return _judged(run, objective, found.intended_ns, found.latency_ns, nothing)
        case _:
            return _of_pairs(run, objective)


def _judged(run: RunData, objective: Objective, intended: Nanos, took: Floats, given: Bools) -> JudgedEvents:
    """Return events as good or bad by how long they took (inf: never)."""
    order = np.argsort(intended, kind="stable")
    intended, took, given = intended[order], took[order], given[order]
    limit = limit_ns(objective)
    bad = (took > limit) | np.isinf(took)
    known = intended + np.minimum(np.where(np.isinf(took), limit, took), limit)
    known = np.where(np.isinf(known), run.end_ns, known)
    return JudgedEvents(intended, bad.astype(np.float64), known.astype(np.int64), given)


def _of_pairs(run: RunData, objective: Objective) -> JudgedEvents:
    books = Books.of(run)
    pairs = books.pairs
    given = (pairs.end == End.dead_lettered) | (pairs.end == End.skipped)
    counted = measured_pairs(books, resolve(books, IndicatorName(objective.indicator, objective.of)))
    if objective.indicator != "delivery":  # an event that the group's policy gave up has no latency
        counted = counted & ~given
    began = pairs.intended_ns
    if objective.indicator == "chain_latency":
        began = books.plan.intended_ns[roots(books)[pairs.event]]
    came = pairs.effect_ns[counted]
    took = np.where(came == NEVER, np.inf, (came - began[counted]).astype(np.float64))
    return _judged(run, objective, began[counted], took, given[counted])


def _partition_seconds(run: RunData, objective: Objective) -> JudgedEvents:
    """Return the measured seconds of each partition that had traffic, and the share of each in which it could not be written."""
    books = Books.of(run)
    found = unwritable(books, resolve(books, IndicatorName("availability", objective.of)))
    scenario = run.plan.scenario
    pieces = max(1, -(-scenario.measured_ns // SECOND))
    edges = scenario.warm_up + np.arange(pieces + 1) * scenario.measured_ns // pieces
    begins, ends = edges[:-1], edges[1:]
    shares = []
    for partition in found.busy.tolist():
        mine = found.spans.where(found.spans.lane == partition)
        closed = np.zeros(pieces)
        for begin, end in zip(mine.begin_ns.tolist(), mine.end_ns.tolist(), strict=True):
            closed += np.maximum(np.minimum(ends, end) - np.maximum(begins, begin), 0)
        shares.append(closed / (ends - begins))
    count = len(found.busy)
    share = np.stack(shares, axis=1).reshape(-1) if shares else np.zeros(0)
    intended, known = np.repeat(begins, count), np.repeat(ends, count)
    unit = scenario.measured_ns / pieces / SECOND
    return JudgedEvents(intended, share, known, np.zeros(len(share), np.bool_), unit)
