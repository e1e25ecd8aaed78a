"""What part of a run an indicator covers: everything, a topic, a partition, a producer or a group; and which of its time."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books, Bools
from scenarios.errors import nearest
from scenarios.expectations import BEFORE_FAULTS, INDICATORS, IndicatorName
from scenarios.retries import most_partitions


@dataclass(frozen=True)
class Scope:
    """A resolved `[where, narrowed]`."""

    kind: Literal["all", "topic", "partition", "producer", "group"] = "all"
    number: int = 0
    """Code of the topic, producer or group, or number of the partition over all topics."""
    where: str | None = None
    narrowed: str | None = None

    def __str__(self) -> str:
        return self.where or "the run"

    @property
    def before_faults(self) -> bool:
        """Whether only events intended before the first fault count."""
        return self.narrowed == BEFORE_FAULTS


EVERYTHING = Scope()


def resolve(books: Books, name: IndicatorName) -> Scope:
    """Return the scope of an indicator's name; raise ValueError that says what there is."""
    scope = _place(books, name.where)
    if scope.kind != "all" and scope.kind not in INDICATORS[name.kind].scopes:
        there = " or ".join(f"a {known}" for known in INDICATORS[name.kind].scopes)
        raise ValueError(f"{name.kind} is measured for {there}, and {name.where} is a {scope.kind}")
    if name.narrowed not in (None, BEFORE_FAULTS):
        labels = tuple(dict.fromkeys(planned.label for planned in books.plan.faults))
        if name.narrowed not in labels:
            raise ValueError(
                f"no fault is called {name.narrowed!r}{nearest(str(name.narrowed), labels) if labels else ''}"
            )
    return replace(scope, narrowed=name.narrowed)


def _place(books: Books, where: str | None) -> Scope:
    if where is None:
        return EVERYTHING
    places = {str(scope): scope for scopes in _named(books).values() for scope in scopes}
    if where in places:
        return places[where]
    topic, _, partition = where.rpartition("/")
    owner = places.get(topic)
    if owner is not None and owner.kind == "topic" and partition.isdecimal():
        count = most_partitions(books.scenario, topic)
        if int(partition) >= count:
            raise ValueError(f"{topic} has {count} partitions, so there is no {where}; they count from 0")
        return Scope("partition", int(books.first_partition[owner.number]) + int(partition), where)
    raise ValueError(f"there is no {where!r}{nearest(where, tuple(places))}")


def _named(books: Books) -> dict[str, list[Scope]]:
    """Return the scopes that have names, by their kind."""

    def made() -> dict[str, list[Scope]]:
        return {
            "topic": [Scope("topic", number, name) for number, name in enumerate(books.plan.topics)],
            "producer": [Scope("producer", number, name) for number, name in enumerate(books.scenario.producers)],
            "group": [Scope("group", number, name) for number, name in enumerate(books.groups)],
        }

    return books.once("named scopes", made)


def scopes_of(books: Books, kind: str) -> list[Scope]:
    """Return the scopes for which a run reports an indicator: without where, and each topic, producer and group it applies to."""
    found = [] if INDICATORS[kind].needs_scope else [EVERYTHING]
    for of_kind, scopes in _named(books).items():
        if of_kind in INDICATORS[kind].scopes:
            found += [scope for scope in scopes if of_kind != "topic" or _applies(books, kind, scope)]
    return found


def _applies(books: Books, kind: str, topic: Scope) -> bool:
    """Return whether the indicator says anything about a topic: somebody sends to it, and reads it if that is what counts."""
    sent, read = books.whole.sent, books.whole.read
    there = topic.where in sent and (topic.where in read or "group" not in INDICATORS[kind].scopes)
    return there or kind == "unexpected"


def covers_everything(books: Books, scope: Scope) -> bool:
    """Return whether a scope covers every event and pair, whatever happens: there is no other one of its kind that could have some."""
    scenario, whole = books.scenario, books.whole
    match scope.kind:
        case "topic":
            return whole.sent == {scope.where}
        case "producer":
            return len(scenario.producers) == 1 and not any(group.emits for group in scenario.groups.values())
        case "group":
            return len(scenario.groups) == 1 and whole.sent <= whole.read
        case _:
            return scope.kind == "all"


def events_in(books: Books, scope: Scope) -> Bools | None:
    """Return which events a scope covers, None for all; a group covers those of its topics."""
    match scope.kind:
        case "all":
            return None
        case "topic":
            chosen: Bools = books.plan.topic == scope.number
        case "partition":
            chosen = books.partition == scope.number
        case "producer":
            chosen = books.plan.producer == scope.number
        case "group":
            topics = [
                books.plan.topics.index(topic) for topic in books.scenario.groups[books.groups[scope.number]].topics
            ]
            chosen = np.isin(books.plan.topic, topics)
    return None if bool(chosen.all()) else chosen


def pairs_in(books: Books, scope: Scope) -> Bools | None:
    """Return which pairs a scope covers, None for all."""
    pairs = books.pairs
    match scope.kind:
        case "all":
            return None
        case "topic":
            chosen: Bools = pairs.topic == scope.number
        case "partition":
            chosen = pairs.partition == scope.number
        case "producer":
            chosen = books.plan.producer[pairs.event] == scope.number
        case "group":
            chosen = pairs.group == scope.number
    return None if bool(chosen.all()) else chosen


def first_fault_ns(books: Books) -> int | None:
    """Return when the first fault is planned to begin."""
    return min((planned.begin_ns for planned in books.plan.faults), default=None)


def measured_pairs(books: Books, scope: Scope) -> NDArray[np.bool_]:
    """Return which measured pairs a scope covers, `before faults` heeded."""
    return _narrowed(books, scope, books.pairs.measured, pairs_in(books, scope), books.pairs.intended_ns)


def measured_events(books: Books, scope: Scope) -> NDArray[np.bool_]:
    """Return which measured events a scope covers, `before faults` heeded."""
    return _narrowed(books, scope, books.measured, events_in(books, scope), books.plan.intended_ns)


def _narrowed(
    books: Books, scope: Scope, measured: Bools, chosen: Bools | None, intended_ns: NDArray[np.int64]
) -> Bools:
    if chosen is not None:
        measured = measured & chosen
    first = first_fault_ns(books)
    if scope.before_faults and first is not None:
        measured = measured & (intended_ns < first)
    return measured
