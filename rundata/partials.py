"""Indicators of long runs: what each part of the time says is gathered, added up, and becomes the same figures as of a run as a whole.

A part is a run of its own whose measured time (from `warm_up` to `duration`) is that part; what came before led in. One gathered part
may stand for several parts of the time that are alike, so everything is added with a weight. Counts, shares and maxima are exact;
quantiles are those of the log-linear histogram, at most 0.2 % off.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rundata import backlog, counts, gaps, latency, throughput
from rundata.books import Books, End
from rundata.histogram import Histogram
from rundata.indicators import MEASURES
from rundata.measurement import PER_MILLE, Ints, Measurement, missing, seconds, share
from rundata.rows import NEVER
from rundata.scopes import Scope, covers_everything, events_in, measured_events, measured_pairs, pairs_in, scopes_of
from rundata.tables import RunData
from scenarios.expectations import BEFORE_FAULTS, INDICATORS, QUANTILES, IndicatorName
from scenarios.quantities import HOUR, SECOND

_BEFORE_FAULTS = ("latency", "ack_latency")
_BEFORE_FAULTS_STATISTICS = ("p50", "p90", "p95", "p99", "mean")
_AROUND_FAULTS = {"drain_time": "", "gap": "", "write_gap": "", "lag": "max"}
"""Indicators that are reported for each fault by its name, with their statistic."""
_NOT_KEPT = "is not kept of a run that is made of parts"


@dataclass(frozen=True)
class Most:
    """The largest value of several; one that was never reached is larger than any other."""

    value: float | None
    at_least: float | None = None
    reason: str | None = None

    @classmethod
    def of(cls, found: Measurement) -> "Most":
        """Return what a measurement says."""
        return cls(found.value, found.at_least, found.reason)

    def or_more(self, other: "Most") -> "Most":
        """Return the larger one."""
        if self.value is None or other.value is None:
            never = [one for one in (self, other) if one.value is None]
            bounds = [bound for one in (self, other) for bound in (one.value, one.at_least) if bound is not None]
            return Most(None, max(bounds, default=None), never[0].reason)
        return self if self.value >= other.value else other


@dataclass(frozen=True, eq=False)
class Times:
    """Times of which some never came; for those, how long they were waited for."""

    came: Histogram
    waited: Histogram
    total_ns: int
    most_ns: int
    """Of those that came."""
    most_waited_ns: int

    @classmethod
    def of(cls, from_ns: Ints, to_ns: Ints, end_ns: int) -> "Times":
        """Return the times between instants of which some never came by the run's end."""
        came = to_ns != NEVER
        times, waited = to_ns[came] - from_ns[came], np.maximum(end_ns - from_ns[~came], 0)
        return cls(
            Histogram.of(times),
            Histogram.of(waited),
            int(times.sum()) + int(waited.sum()),
            int(times.max(initial=0)),
            int(waited.max(initial=0)),
        )

    def statistics(self, names: Iterable[str], of: str) -> dict[str, Measurement]:
        """Return quantiles, mean and maximum, as `rundata.measurement.time_statistics` defines them."""
        never, count = self.waited.count, self.came.count + self.waited.count
        if count == 0:
            return {name: missing("s", f"no {of}") for name in names}
        reason = f"{never} of {count} never came" if never else None
        bounds = self.came.merge(self.waited)
        most = max(self.most_ns, self.most_waited_ns)
        found = {}
        for name in names:
            if name == "mean":
                value, bound = None if never else self.total_ns / count, self.total_ns / count
            elif name == "max":
                value, bound = None if never else float(self.most_ns), float(most)
            else:
                rank = max(1, -(-PER_MILLE[name] * count // 1000))
                value = _at_rank(self.came, rank, self.most_ns) if rank <= self.came.count else None
                bound = _at_rank(bounds, rank, most)
            if value is not None:
                found[name] = Measurement(seconds(value), "s")
            else:
                found[name] = Measurement(None, "s", seconds(max(0.0, bound)), reason)
        return found


def _at_rank(histogram: Histogram, rank: int, most: int) -> float:
    """Return the middle of the bin that holds a rank, and no more than the largest value."""
    return min(histogram.at_rank(rank), float(most))


@dataclass(frozen=True)
class Level:
    """Something that stands at a height at each instant of a grid."""

    most: int
    total: int
    points: int
    last: int


Value = int | Most | Times | Level | frozenset[int]
Parts = Mapping[str, Value]
Key = tuple[str, Scope]


@dataclass(frozen=True, eq=False)
class Partial:
    """What one part of a run's time says, by indicator and scope."""

    parts: Mapping[Key, Parts]
    length_ns: int
    """Of the measured time."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A part, how many stretches of the time it stands for, and how many of these end before the first fault."""

    partial: Partial
    times: int
    before_faults: int


# ---- gathered ------------------------------------------------------------------------------------------------------


def gather(run: RunData) -> Partial:
    """Return what a run's measured time says."""
    books = Books.of(run)
    parts = {key: one for kind in INDICATORS for key, one in measured_by(books, kind).items()}
    return Partial(parts | around_faults(run), books.scenario.measured_ns)


def scopes_told(books: Books, kind: str) -> list[Scope]:
    """Return the scopes of which an indicator is told."""
    return [*scopes_of(books, kind), *_asked(books, kind)]


def measured_by(books: Books, kind: str) -> dict[Key, Parts]:
    """Return what an indicator says by scope."""
    gathered, scopes = partial(_GATHER[kind], books), scopes_told(books, kind)
    if kind == "unexpected":  # it looks at the log, which holds other topics, too
        return {(kind, scope): gathered(scope) for scope in scopes}
    return {(kind, scope): parts for scope, parts in _of_each(books, scopes, gathered)}


def _of_each(
    books: Books, scopes: Iterable[Scope], measured: Callable[[Scope], Parts]
) -> Iterator[tuple[Scope, Parts]]:
    """Yield scopes and what is measured of each; those that cover everything are measured once."""
    whole: Parts | None = None
    for scope in scopes:
        if not covers_everything(books, scope):
            yield scope, measured(scope)
            continue
        whole = measured(scope) if whole is None else whole
        yield scope, whole


def around_faults(run: RunData) -> dict[Key, Parts]:
    """Return what is reported for each fault by its name."""
    books, parts = Books.of(run), dict[Key, Parts]()
    for kind in _AROUND_FAULTS:
        for label in dict.fromkeys(planned.label for planned in books.plan.faults):
            around = [replace(each, narrowed=label) for each in scopes_of(books, kind) if each.kind != "all"]
            parts |= {(kind, scope): one for scope, one in _of_each(books, around, partial(_most_of, books, kind))}
    return parts


def _most_of(books: Books, kind: str, scope: Scope) -> Parts:
    return {"most": Most.of(MEASURES[kind](books, scope)[_AROUND_FAULTS[kind]])}


def _asked(books: Books, kind: str) -> list[Scope]:
    """Return the partitions that the scenario's expectations name, which are not reported by themselves."""
    from rundata.scopes import resolve

    found = []
    for expectation in books.scenario.expect:
        if expectation.indicator.kind == kind and expectation.indicator.narrowed is None:
            try:
                scope = resolve(books, expectation.indicator)
            except ValueError:
                continue
            if scope.kind == "partition":
                found.append(scope)
    return found


def _delivery(books: Books, scope: Scope) -> Parts:
    chosen = measured_pairs(books, scope)
    return {"done": int((chosen & (books.pairs.effect_ns != NEVER)).sum()), "all": int(chosen.sum())}


def _to_effect(books: Books, scope: Scope, from_ns: Ints) -> Parts:
    pairs = books.pairs
    chosen = measured_pairs(books, scope) & (pairs.end != End.dead_lettered) & (pairs.end != End.skipped)
    return {"times": Times.of(from_ns[chosen], pairs.effect_ns[chosen], books.end_ns)}


def _latency(books: Books, scope: Scope) -> Parts:
    return books.once(("latency", scope), lambda: _to_effect(books, scope, books.pairs.intended_ns))


def _chain_latency(books: Books, scope: Scope) -> Parts:
    if not any(group.emits for group in books.scenario.groups.values()):
        return _latency(books, scope)  # each event is the first of its chain
    return _to_effect(books, scope, books.plan.intended_ns[latency.roots(books)[books.pairs.event]])


def _ack_latency(books: Books, scope: Scope) -> Parts:
    asks = latency.waits_for_acks(books)
    chosen = measured_events(books, scope) & asks
    times = Times.of(books.plan.intended_ns[chosen], books.sends.acked_ns[chosen], books.end_ns)
    return {"times": times, "asks": int(asks.any())}


def _send_lateness(books: Books, scope: Scope) -> Parts:
    handed = books.sends.handed_ns
    chosen = measured_events(books, scope) & (handed != NEVER)
    return {"times": Times.of(books.plan.intended_ns[chosen], handed[chosen], books.end_ns)}


def _measured_grid(books: Books, step_ns: int) -> Ints:
    return np.arange(books.scenario.warm_up, books.scenario.duration + 1, step_ns)


def _lag(books: Books, scope: Scope) -> Parts:
    return {"level": _level(backlog.course(books, scope).at(_measured_grid(books, backlog.STEP_NS)))}


def _level(values: Ints) -> Level:
    # The last point is the next part's first.
    return Level(int(values.max(initial=0)), int(values[:-1].sum()), len(values) - 1, int(values[-1]))


def _lag_age(books: Books, scope: Scope) -> Parts:
    ages = backlog.course(books, scope).age_at(_measured_grid(books, backlog.STEP_NS))
    return {"most": Most(seconds(int(ages.max(initial=0))))}


def _committed_lag(books: Books, scope: Scope) -> Parts:
    return {"level": _level(backlog.committed_lag_at(books, scope, _measured_grid(books, SECOND)))}


def _errors(books: Books, scope: Scope) -> Parts:
    pairs, chosen = books.pairs, measured_pairs(books, scope)
    failed, events = pairs.count("failed_tries"), measured_events(books, scope)
    hit = np.zeros(books.events, np.bool_)
    hit[pairs.event[chosen & (failed > 0)]] = True
    return {
        "failed": int(failed[chosen].sum()),
        "tries": int(pairs.count("tries")[chosen].sum()),
        "hit": int((hit & events).sum()),
        "events": int(events.sum()),
    }


def _dead_lettered(books: Books, scope: Scope) -> Parts:
    chosen = measured_pairs(books, scope)
    return {"count": int((chosen & (books.pairs.end == End.dead_lettered)).sum()), "all": int(chosen.sum())}


def _drain_time(books: Books, scope: Scope) -> Parts:
    """The load of a part does not end where the part does, so only faults count."""
    return {"most": Most.of(backlog.drain_of_faults(books, scope))}


def _produced(books: Books, scope: Scope) -> Parts:
    chosen, acked = events_in(books, scope), books.sends.acked_ns
    return {"count": _inside(books, acked if chosen is None else acked[chosen])}


def _inside(books: Books, times_ns: Ints) -> int:
    return int(((times_ns >= books.scenario.warm_up) & (times_ns < books.scenario.duration)).sum())


def _consumed(books: Books, scope: Scope) -> Parts:
    done, steps = throughput.saturated_steps(books, scope)
    return {"count": effects_in(books, scope), "done": done, "steps": steps}


def effects_in(books: Books, scope: Scope) -> int:
    """Return how many first effects of a scope lie in the measured time."""
    if not books.events:
        return 0
    chosen, effects = pairs_in(books, scope), books.pairs.effect_ns
    return _inside(books, effects if chosen is None else effects[chosen])


def _restarts(books: Books, scope: Scope) -> Parts:
    return {"count": int(counts.restarts(books, scope)["count"].value or 0)}


def _availability(books: Books, scope: Scope) -> Parts:
    found = gaps.unwritable(books, scope)
    closed = int((found.spans.end_ns - found.spans.begin_ns).sum())
    return {"closed_ns": closed, "busy": frozenset(found.busy.tolist())}


def _duplicate_deliveries(books: Books, scope: Scope) -> Parts:
    chosen = measured_pairs(books, scope)
    found = counts.duplicate_deliveries(books, scope)
    whole = int(books.pairs.count("deliveries")[chosen].sum())
    return {"all": whole, **{name: int(found[key].value or 0) for name, key in (("count", ""), ("log", "log"))}}


def _duplicate_effects(books: Books, scope: Scope) -> Parts:
    effects = books.pairs.count("effects")[measured_pairs(books, scope)]
    return {"count": int(np.maximum(effects - 1, 0).sum()), "all": int(effects.sum())}


def _counted(measure: Callable[[Books, Scope], Mapping[str, Measurement]]) -> Callable[[Books, Scope], Parts]:
    def parts(books: Books, scope: Scope) -> Parts:
        return {"count": int(measure(books, scope)[""].value or 0)}

    return parts


def _lost(books: Books, scope: Scope) -> Parts:
    waiting = int((measured_pairs(books, scope) & (books.pairs.end == End.pending)).sum())
    return {"count": int((measured_events(books, scope) & books.lost).sum()), "waiting": waiting}


def _unknown(books: Books, scope: Scope) -> Parts:
    unsure = measured_events(books, scope) & books.unknown
    return {"count": int(unsure.sum()), "settled": int((unsure & books.in_log).sum())}


def _longest(measure: Callable[[Books, Scope], Mapping[str, Measurement]]) -> Callable[[Books, Scope], Parts]:
    def parts(books: Books, scope: Scope) -> Parts:
        return {"most": Most.of(measure(books, scope)[""])}

    return parts


_GATHER: Mapping[str, Callable[[Books, Scope], Parts]] = {
    "delivery": _delivery,
    "latency": _latency,
    "chain_latency": _chain_latency,
    "ack_latency": _ack_latency,
    "lag": _lag,
    "lag_age": _lag_age,
    "committed_lag": _committed_lag,
    "errors": _errors,
    "dead_lettered": _dead_lettered,
    "drain_time": _drain_time,
    "produced": _produced,
    "consumed": _consumed,
    "restarts": _restarts,
    "availability": _availability,
    "duplicate_deliveries": _duplicate_deliveries,
    "duplicate_effects": _duplicate_effects,
    "lost": _lost,
    "passed": _counted(counts.passed),
    "expired": _counted(counts.expired),
    "refused": _counted(counts.refused),
    "pending": _counted(counts.pending),
    "unexpected": _counted(counts.unexpected),
    "unknown": _unknown,
    "write_gap": _longest(gaps.write_gap),
    "gap": _longest(gaps.gap),
    "inversions": _counted(counts.inversions),
    "send_lateness": _send_lateness,
}
assert _GATHER.keys() == INDICATORS.keys()


# ---- added up ------------------------------------------------------------------------------------------------------


def total(placed: Iterable[Placed], *, faults: bool) -> dict[str, Measurement]:
    """Return every indicator over all parts, in the order of time; with `faults` also before the first of them."""
    summed = Total(faults=faults)
    for one in placed:
        summed.add(one)
    return summed.finished()


class Total:
    """Parts that are added up as they come, in the order of time, so that none need be kept."""

    def __init__(self, *, faults: bool) -> None:
        """Begin with nothing; with `faults` what is before the first of them is added up apart, too."""
        self._faults = faults
        self._whole, self._before = Sums(), Sums()
        self._length_ns = 0

    def add(self, placed: Placed) -> None:
        """Add a part as often as it stands for a stretch of the time."""
        if not placed.times:
            return
        parts = placed.partial.parts
        self._length_ns += placed.partial.length_ns * placed.times
        self._whole.add(parts, placed.times)
        if self._faults and placed.before_faults:
            own = {key: one for key, one in parts.items() if key[0] in _BEFORE_FAULTS and key[1].narrowed is None}
            self._before.add(own, placed.before_faults)

    def finished(self) -> dict[str, Measurement]:
        """Return every indicator of what was added so far."""
        found: dict[str, Measurement] = {}
        whole, before = self._whole.summed(), self._before.summed()
        for kind in INDICATORS:
            for scope, parts in ((key[1], parts) for key, parts in whole.items() if key[0] == kind):
                if scope.narrowed is not None:
                    most = parts["most"]
                    name = IndicatorName(kind, scope.where, scope.narrowed, _AROUND_FAULTS[kind])
                    assert isinstance(most, Most)
                    found[str(name)] = Measurement(most.value, name.unit, most.at_least, most.reason)
                    continue
                for statistic, measurement in _finished(kind, parts, self._length_ns).items():
                    found[str(IndicatorName(kind, scope.where, None, statistic))] = measurement
                if self._faults and kind in _BEFORE_FAULTS:
                    found |= _before(kind, scope, before.get((kind, scope)))
        return found


_AT_ONCE = 32
"""So many parts wait to be added up together: sums of two at a time would each sort their bins."""


class Sums:
    """Sums of parts, each with a weight, made as these come."""

    def __init__(self) -> None:
        self._summed: dict[Key, Parts] = {}
        self._waiting: list[tuple[Mapping[Key, Parts], int]] = []

    def add(self, parts: Mapping[Key, Parts], weight: int = 1) -> None:
        """Add what is said by indicator and scope."""
        self._waiting.append((parts, weight))
        if len(self._waiting) == _AT_ONCE:
            self.summed()

    def summed(self) -> dict[Key, Parts]:
        """Return the sums so far."""
        by_key = {key: [(parts, 1)] for key, parts in self._summed.items()}
        for parts, weight in self._waiting:
            for key, one in parts.items():
                by_key.setdefault(key, []).append((one, weight))
        self._summed, self._waiting = {key: _sum(some) for key, some in by_key.items()}, []
        return self._summed


def _before(kind: str, scope: Scope, parts: Parts | None) -> dict[str, Measurement]:
    names = {each: str(IndicatorName(kind, scope.where, BEFORE_FAULTS, each)) for each in _BEFORE_FAULTS_STATISTICS}
    if parts is None:
        return {name: missing("s", "the first fault came at once") for name in names.values()}
    measured = _finished(kind, parts, 1)
    return {name: measured[each] for each, name in names.items()}


def _sum(weighted: Iterable[tuple[Parts, int]]) -> Parts:
    some = list(weighted)
    if len(some) == 1 and some[0][1] == 1:
        return some[0][0]
    by_name: dict[str, list[tuple[Value, int]]] = {}
    for parts, weight in some:
        for name, value in parts.items():
            by_name.setdefault(name, []).append((value, weight))
    return {name: _sum_of(values) for name, values in by_name.items()}


def _sum_of(values: list[tuple[Value, int]]) -> Value:
    first = values[0][0]
    if isinstance(first, int):
        return sum(value * weight for value, weight in values if isinstance(value, int))
    if isinstance(first, Most):
        for value, _ in values[1:]:
            assert isinstance(value, Most)
            first = first.or_more(value)
        return first
    if isinstance(first, Level):
        levels = [(value, weight) for value, weight in values if isinstance(value, Level)]
        return Level(
            max(level.most for level, _ in levels),
            sum(level.total * weight for level, weight in levels),
            sum(level.points * weight for level, weight in levels),
            levels[-1][0].last,
        )
    if isinstance(first, Times):
        times = [(value, weight) for value, weight in values if isinstance(value, Times)]
        return Times(
            Histogram.sum((one.came, weight) for one, weight in times),
            Histogram.sum((one.waited, weight) for one, weight in times),
            sum(one.total_ns * weight for one, weight in times),
            max(one.most_ns for one, _ in times),
            max(one.most_waited_ns for one, _ in times),
        )
    return frozenset().union(*(value for value, _ in values if isinstance(value, frozenset)))


# ---- finished ------------------------------------------------------------------------------------------------------


def _finished(kind: str, parts: Parts, length_ns: int) -> dict[str, Measurement]:
    if "times" in parts:
        times = parts["times"]
        assert isinstance(times, Times)
        if kind == "ack_latency" and not times.came.count and not parts["asks"]:
            return {each: missing("s", "with acks 0 nothing is acknowledged") for each in QUANTILES}
        names = ("p50", "p99", "max") if kind == "send_lateness" else QUANTILES
        of = {"ack_latency": "events", "send_lateness": "events that were sent"}.get(kind, "pairs")
        return times.statistics(names, of)
    if "level" in parts:
        level = parts["level"]
        assert isinstance(level, Level)
        found = {"max": float(level.most), "mean": level.total / max(level.points, 1), "end": float(level.last)}
        return {name: Measurement(value, "events") for name, value in found.items()}
    if "most" in parts:
        most = parts["most"]
        assert isinstance(most, Most)
        statistic = "max" if kind == "lag_age" else ""
        return {statistic: Measurement(most.value, "s", most.at_least, most.reason)}
    if "busy" in parts:
        busy, closed = parts["busy"], parts["closed_ns"]
        assert isinstance(busy, frozenset) and isinstance(closed, int)
        if not busy:
            return {"": missing("share", "no partition had traffic")}
        return {"": Measurement(1 - closed / (len(busy) * length_ns), "share")}
    return _of_counts(kind, {name: value for name, value in parts.items() if isinstance(value, int)}, length_ns)


def _of_counts(kind: str, n: Mapping[str, int], length_ns: int) -> dict[str, Measurement]:
    def events(name: str) -> Measurement:
        return Measurement(float(n[name]), "events")

    match kind:
        case "delivery":
            return {"": share(n["done"], n["all"], "pairs")}
        case "errors":
            return {"": share(n["failed"], n["tries"], "tries"), "events": share(n["hit"], n["events"], "events")}
        case "dead_lettered":
            return {"": events("count"), "share": share(n["count"], n["all"], "pairs")}
        case "produced":
            return {"": Measurement(n["count"] * SECOND / length_ns, "1/s"), "windows": missing("1/s", _NOT_KEPT)}
        case "consumed":
            saturated = missing("1/s", "lag never stayed above one second of arrivals")
            if n["steps"]:
                saturated = Measurement(n["done"] * SECOND / (n["steps"] * backlog.STEP_NS), "1/s")
            found = Measurement(n["count"] * SECOND / length_ns, "1/s")
            return {"": found, "windows": missing("1/s", _NOT_KEPT), "saturated": saturated}
        case "restarts":
            return {"": Measurement(n["count"] / (length_ns / HOUR), "1/h"), "count": events("count")}
        case "duplicate_deliveries":
            redelivered = Measurement(float(n["count"] - n["log"]), "events")
            shared = share(n["count"], n["all"], "deliveries")
            return {"": events("count"), "share": shared, "log": events("log"), "redelivered": redelivered}
        case "duplicate_effects":
            return {"": events("count"), "share": share(n["count"], n["all"], "effects")}
        case "lost" if n["waiting"]:
            pairs = "1 pair was" if n["waiting"] == 1 else f"{n['waiting']} pairs were"
            return {"": missing("events", f"{pairs} still pending when the drain ended")}
        case "unknown":
            return {"": events("count"), "settled": events("settled")}
        case _:
            return {"": events("count")}
