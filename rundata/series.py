"""Series over time that pages and notebooks draw: lag, rates, latencies, outages, histograms."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rundata import backlog
from rundata.books import Books
from rundata.gaps import delivery_waits
from rundata.histogram import Histogram
from rundata.latency import waits_for_acks
from rundata.measurement import PER_MILLE, Ints
from rundata.rows import NEVER
from rundata.scopes import Scope, events_in, measured_events, measured_pairs, pairs_in, resolve
from rundata.tables import RunData
from scenarios.expectations import IndicatorName
from scenarios.quantities import SECOND

Floats = NDArray[np.float64]
RateKind = Literal["planned", "sent", "acknowledged", "delivered", "effect"]


def _scope(books: Books, kind: str, where: str | None) -> Scope:
    return resolve(books, IndicatorName(kind, where))


def lag(run: RunData, where: str | None = None, step_ns: int = backlog.STEP_NS) -> tuple[Ints, Ints]:
    """Return instants from 0 to the end of the drain, and how many pairs of a group, topic or partition waited at each."""
    books = Books.of(run)
    times = np.arange(0, max(run.end_ns, run.plan.scenario.duration) + 1, step_ns)
    return times, backlog.backlog(books, _scope(books, "lag", where)).at(times)


def lag_age(run: RunData, where: str | None = None, step_ns: int = backlog.STEP_NS) -> tuple[Ints, Ints]:
    """Return instants, and how long the oldest waiting pair had waited at each."""
    books = Books.of(run)
    times = np.arange(0, max(run.end_ns, run.plan.scenario.duration) + 1, step_ns)
    return times, backlog.backlog(books, _scope(books, "lag_age", where)).age_at(times)


def rate(run: RunData, kind: RateKind, where: str | None = None, step_ns: int = SECOND) -> tuple[Ints, Floats]:
    """Return the begin of each step and events per second in it; where is a topic, a producer or (delivered, effect) a group."""
    books = Books.of(run)
    edges = np.arange(0, max(run.end_ns, run.plan.scenario.duration) + step_ns, step_ns)
    counts, _ = np.histogram(_instants(books, kind, where), edges)
    return edges[:-1], counts * (SECOND / step_ns)


def _instants(books: Books, kind: RateKind, where: str | None) -> Ints:
    if kind in ("delivered", "effect"):
        pairs = books.pairs
        times = pairs.delivered_ns if kind == "delivered" else pairs.effect_ns
        chosen = pairs_in(books, _scope(books, "consumed", where))
    else:
        of_events = {
            "planned": books.plan.intended_ns,
            "sent": books.sends.handed_ns,
            "acknowledged": books.sends.acked_ns,
        }
        times, chosen = of_events[kind], events_in(books, _scope(books, "produced", where))
    times = times if chosen is None else times[chosen]
    came: Ints = times[times != NEVER]
    return came


@dataclass(frozen=True, eq=False)
class Latencies:
    """Intended times, and how long each took until its effect or acknowledgement; inf where none came."""

    intended_ns: Ints
    latency_ns: Floats

    def histogram(self) -> Histogram:
        """Return the histogram of those that came."""
        return Histogram.of(self.latency_ns[np.isfinite(self.latency_ns)].astype(np.int64))


def latencies(run: RunData, where: str | None = None, stage: Literal["effect", "ack"] = "effect") -> Latencies:
    """Return the measured latencies of a scope, those that count in `latency` or `ack_latency`."""
    from rundata.books import End

    books = Books.of(run)
    if stage == "ack":
        events = measured_events(books, _scope(books, "ack_latency", where)) & waits_for_acks(books)
        intended, came = run.plan.intended_ns[events], books.sends.acked_ns[events]
    else:
        pairs = books.pairs
        chosen = measured_pairs(books, _scope(books, "latency", where))
        chosen &= (pairs.end != End.dead_lettered) & (pairs.end != End.skipped)
        intended, came = pairs.intended_ns[chosen], pairs.effect_ns[chosen]
    return Latencies(intended, np.where(came == NEVER, np.inf, (came - intended).astype(np.float64)))


def latency_over_time(
    run: RunData, where: str | None = None, step_ns: int = SECOND, quantiles: tuple[str, ...] = ("p50", "p99")
) -> tuple[Ints, dict[str, Floats]]:
    """Return the begin of each step of intended time, and quantiles of the latency in it in ns; nan where nothing was intended."""
    found = latencies(run, where)
    steps = np.arange(0, run.plan.scenario.duration, step_ns)
    step = found.intended_ns // step_ns
    order = np.lexsort((found.latency_ns, step))
    values = np.append(found.latency_ns[order], np.nan)
    first = np.searchsorted(step[order], np.arange(len(steps) + 1))
    count = np.diff(first)
    series = {}
    for name in quantiles:
        rank = np.maximum(-(-PER_MILLE[name] * count // 1000), 1)
        series[name] = np.where(count > 0, values[np.where(count > 0, first[:-1] + rank - 1, len(values) - 1)], np.nan)
    return steps, series


@dataclass(frozen=True)
class Outage:
    """A stretch in which a planned event of a partition waited and none was delivered first to a group."""

    group: str
    place: str
    """The partition (`orders/0`), or the topic where no partition was chosen."""
    begin_ns: int
    end_ns: int


def outages(run: RunData, shortest_ns: int = SECOND) -> list[Outage]:
    """Return the waits between first deliveries that lasted at least so long, in the order of time."""
    books = Books.of(run)
    found = []
    for number, group in enumerate(books.groups):
        here = delivery_waits(books, Scope("group", number, group))
        for lane, begin, end in zip(here.lane.tolist(), here.begin_ns.tolist(), here.end_ns.tolist(), strict=True):
            if end - begin >= shortest_ns:
                lanes = int(books.first_partition[-1])
                place = books.partition_name(lane) if lane < lanes else books.plan.topics[lane - lanes]
                found.append(Outage(group, place, begin, end))
    return sorted(found, key=lambda outage: (outage.begin_ns, outage.group, outage.place))
