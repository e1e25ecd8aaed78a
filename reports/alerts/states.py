"""Rules over series: what they record, and when their alerts were pending, fired and ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from reports.alerts import promql
from reports.alerts.rules import Rule, RuleFile
from reports.alerts.series import NAME, AlertError, Bools, Floats, Labels, Millis, Series, Store, labels_of, without
from reports.alerts.vectors import Vector, unique
from reports.alerts.windows import Release


@dataclass(frozen=True)
class Span:
    """One stay of an alert: active from a first true evaluation, fired perhaps, ended perhaps."""

    rule: Rule
    labels: Labels
    active_ms: int
    fired_ms: int | None
    ended_ms: int | None
    """The evaluation that found it gone; None where it was still active at the end."""

    def firing_at(self, at_ms: int) -> bool:
        """Whether it fires at an instant."""
        return self.fired_ms is not None and self.fired_ms <= at_ms and (self.ended_ms is None or at_ms < self.ended_ms)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What rules made of series."""

    store: Store
    """The series with those that were recorded."""
    spans: tuple[Span, ...]
    """In the order of rules, series and time."""
    instants_ms: dict[str, Millis] = field(default_factory=dict)
    """By group, when it was evaluated."""

    def of(self, rule: Rule) -> list[Span]:
        """Return one rule's spans."""
        return [span for span in self.spans if span.rule is rule]


def evaluate_rules(
    file: RuleFile, store: Store, begin_ms: int, end_ms: int, *, interval_ms: int = 60_000, release: Release = 2
) -> Evaluated:
    """Evaluate rules from `begin_ms` to `end_ms`, both included; groups and rules in the order of the file."""
    store, spans, when = store.copy(), list[Span](), {}
    for group in file.groups:
        instants = np.arange(begin_ms, end_ms + 1, group.interval or interval_ms)
        when[group.name] = instants
        query = promql.Query(store, instants, release, interval_ms)
        for rule in group.rules:
            vector = _evaluated(rule, query)
            if rule.record is not None:
                for series in recorded(vector, instants):
                    store.add(series)
            else:
                spans += alert_spans(rule, vector, instants)
    return Evaluated(store, tuple(spans), when)


def _evaluated(rule: Rule, query: promql.Query) -> Vector:
    """Return the rule's vector with the rule's labels."""
    try:
        vector = promql.vector_of(rule.tree, query)
        labels = tuple(_labelled(rule, each) for each in vector.labels)
        return unique(
            Vector(labels, vector.values, vector.present), "the rule's labels leave more than one series with"
        )
    except AlertError as error:
        raise AlertError(f"{rule.name}: {error}") from None


def _labelled(rule: Rule, labels: Labels) -> Labels:
    of = dict(labels)
    named = {**dict(without(labels, [NAME])), **rule.label_values(of)}
    return labels_of({**named, "alertname": rule.alert} if rule.alert else named, rule.record)


def recorded(vector: Vector, instants_ms: Millis) -> Iterator[Series]:
    """Yield a vector's rows as series; where a row ends, a stale mark follows."""
    first = [int(present.argmax()) for present in vector.present]
    for number in np.argsort(first, kind="stable").tolist():
        present, values = vector.present[number], vector.values[number]
        gone = np.concatenate([[False], present[:-1] & ~present[1:]])
        kept = present | gone
        yield Series(vector.labels[number], instants_ms[kept], values[kept], gone[kept])


def alert_spans(rule: Rule, vector: Vector, instants_ms: Millis) -> list[Span]:
    """Return an alert's stays, series by series."""
    return [
        span
        for labels, present in zip(vector.labels, vector.present, strict=True)
        for span in _spans(rule, labels, stretches(present), instants_ms)
    ]


def stretches(present: Bools) -> list[tuple[int, int]]:
    """Return begin and end (not included) of each stretch in which something is there."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _spans(rule: Rule, labels: Labels, held: Sequence[tuple[int, int]], instants_ms: Millis) -> Iterator[Span]:
    """Go from stretch to stretch: `for` delays firing, `keep_firing_for` lets it outlast the gaps."""
    number = 0
    while number < len(held):
        begin, end = held[number]
        active = int(instants_ms[begin])
        fires = int(np.searchsorted(instants_ms, active + rule.for_ms))
        if fires >= end:
            ended = int(instants_ms[end]) if end < len(instants_ms) else None
            yield Span(rule, labels, active, None, ended)
            number += 1
            continue
        over = _over(end, rule, instants_ms)
        while number + 1 < len(held) and held[number + 1][0] <= over:
            number += 1
            over = _over(held[number][1], rule, instants_ms)
        ended = int(instants_ms[over]) if over < len(instants_ms) else None
        yield Span(rule, labels, active, int(instants_ms[fires]), ended)
        number += 1


def _over(end: int, rule: Rule, instants_ms: Millis) -> int:
    """Return the evaluation that ends a firing alert whose expression is false from evaluation `end` on."""
    if end >= len(instants_ms):
        return end
    return int(np.searchsorted(instants_ms, int(instants_ms[end]) + rule.keep_firing_for))


def alerts_series(evaluated: Evaluated, rule: Rule, group: str) -> list[Series]:
    """Return the series `ALERTS` of a rule, as Prometheus records them."""
    instants = evaluated.instants_ms[group]
    rows: dict[Labels, Floats] = {}
    for span in evaluated.of(rule):
        last = instants[-1] + 1 if span.ended_ms is None else span.ended_ms
        for state, begin, end in (
            ("pending", span.active_ms, last if span.fired_ms is None else span.fired_ms),
            ("firing", last if span.fired_ms is None else span.fired_ms, last),
        ):
            labels = labels_of({**dict(span.labels), "alertstate": state}, "ALERTS")
            row = rows.setdefault(labels, np.zeros(len(instants)))
            row[(instants >= begin) & (instants < end)] = 1
    vector = Vector.of([(labels, row, row > 0) for labels, row in rows.items()], len(instants))
    return list(recorded(vector, instants))
