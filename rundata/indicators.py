"""Every indicator of a run, by its full name; each has one definition, in the module of its theme, for both engines."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from rundata import backlog, counts, gaps, latency, throughput
from rundata.books import Books
from rundata.measurement import Measurement, missing
from rundata.scopes import EVERYTHING, Scope, pairs_in, resolve, scopes_of
from rundata.tables import RunData
from scenarios.expectations import BEFORE_FAULTS, INDICATORS, IndicatorName, parse_indicator

__all__ = ["MEASURES", "Measurement", "measure", "measure_one"]

Measure = Callable[[Books, Scope], Mapping[str, Measurement]]
MEASURES: Mapping[str, Measure] = {
    "delivery": counts.delivery,
    "latency": latency.latency,
    "chain_latency": latency.chain_latency,
    "ack_latency": latency.ack_latency,
    "lag": backlog.lag,
    "lag_age": backlog.lag_age,
    "committed_lag": backlog.committed_lag,
    "errors": counts.errors,
    "dead_lettered": counts.dead_lettered,
    "drain_time": backlog.drain_time,
    "produced": throughput.produced,
    "consumed": throughput.consumed,
    "restarts": counts.restarts,
    "availability": gaps.availability,
    "duplicate_deliveries": counts.duplicate_deliveries,
    "duplicate_effects": counts.duplicate_effects,
    "lost": counts.lost,
    "passed": counts.passed,
    "expired": counts.expired,
    "refused": counts.refused,
    "pending": counts.pending,
    "unexpected": counts.unexpected,
    "unknown": counts.unknown,
    "write_gap": gaps.write_gap,
    "gap": gaps.gap,
    "inversions": counts.inversions,
    "send_lateness": latency.send_lateness,
}
_BEFORE_FAULTS = ("latency", "ack_latency")
_BEFORE_FAULTS_STATISTICS = ("p50", "p90", "p95", "p99", "mean")
_BY_FAULT = {"drain_time": ("",), "gap": ("",), "write_gap": ("",), "lag": ("max",)}
"""Indicators that are reported for each fault by its name, with their statistics."""

assert MEASURES.keys() == INDICATORS.keys()


def measure(run: RunData) -> dict[str, Measurement]:
    """Return every indicator: of everything, of each topic, producer and group it applies to, before and around faults.

    What the scenario expects or agrees on is in it too, whatever its scope.
    """
    books = Books.of(run)
    labels = tuple(dict.fromkeys(planned.label for planned in books.plan.faults))
    found: dict[str, Measurement] = {}
    for kind, measured in MEASURES.items():
        seen: dict[object, Mapping[str, Measurement]] = {}
        for scope in scopes_of(books, kind):
            _add(found, kind, scope, _once(seen, books, measured, scope))
            if labels and kind in _BEFORE_FAULTS:
                before = replace(scope, narrowed=BEFORE_FAULTS)
                _add(found, kind, before, _once(seen, books, measured, before), _BEFORE_FAULTS_STATISTICS)
            if kind in _BY_FAULT and scope.kind != "all":
                for label in labels:
                    around = replace(scope, narrowed=label)
                    _add(found, kind, around, _once(seen, books, measured, around), _BY_FAULT[kind])
    for name in _asked(books):
        if str(name) not in found:
            found[str(name)] = measure_one(run, name)
    return found


def _asked(books: Books) -> list[IndicatorName]:
    """Return the indicators that the scenario names."""
    scenario = books.scenario
    return [expectation.indicator for expectation in scenario.expect] + [parse_indicator(n) for n in scenario.agreement]


def measure_one(run: RunData, name: IndicatorName | str) -> Measurement:
    """Return one indicator; a name that fits nothing in the run yields no value and the reason."""
    books = Books.of(run)
    try:
        name = parse_indicator(name) if isinstance(name, str) else name
    except ValueError as error:
        return missing("events", str(error))
    try:
        scope = resolve(books, name)
    except ValueError as error:
        return missing(name.unit, str(error))
    return MEASURES[name.kind](books, scope)[name.statistic]


def _add(
    found: dict[str, Measurement],
    kind: str,
    scope: Scope,
    measured: Mapping[str, Measurement],
    statistics: tuple[str, ...] | None = None,
) -> None:
    for statistic, measurement in measured.items():
        if statistics is None or statistic in statistics:
            found[str(IndicatorName(kind, scope.where, scope.narrowed, statistic))] = measurement


def _once(
    seen: dict[object, Mapping[str, Measurement]], books: Books, measured: Measure, scope: Scope
) -> Mapping[str, Measurement]:
    """Measure a scope that covers all pairs only once: with one topic it is the same as everything."""
    same = scope.kind == "topic" and measured is not counts.unexpected and _is_everything(books, scope)
    key = replace(EVERYTHING, narrowed=scope.narrowed) if same else scope
    if key not in seen:
        seen[key] = measured(books, scope)
    return seen[key]


def _is_everything(books: Books, scope: Scope) -> bool:
    """Return whether a topic is the only one that anybody sends to, reads or has records in."""
    sent = {producer.topic for producer in books.scenario.producers.values()}
    read = {topic for group in books.scenario.groups.values() for topic in group.topics}
    only = sent | read == {scope.where}
    return only and pairs_in(books, scope) is None
