"""Flows of a run: who sends to whom, how many events took effect in time, and what that was worth. The figures of business."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books, End
from rundata.rows import NEVER
from rundata.tables import RunData
from scenarios.around import Money, Owned
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_FEW_STEPS, _MANY_STEPS = 12, 60
"""So many steps a delivery over time has, at least and at most."""


class Fate(IntEnum):
    """What became of an event in a group that should handle it, the worse the higher."""

    in_time = 0
    late = 1
    """Took effect, but later than the tightest objective allows."""
    given_up = 2
    """Dead-lettered or skipped."""
    missing = 3
    """No effect and not given up: lost, refused, expired, passed over, or still waiting."""


@dataclass(frozen=True)
class Flow:
    """Events of one sender that one group should handle, of the measured part."""

    source: str
    topic: str
    group: str
    count: tuple[int, ...]
    """By fate."""
    limit_ns: float
    """What in time means; infinite where no objective says."""
    worth: Money | None
    owners: tuple[str, ...]

    @property
    def name(self) -> str:
        """The flow in one word."""
        return f"{self.source} → {self.topic} → {self.group}"

    @property
    def events(self) -> int:
        """All of them."""
        return sum(self.count)

    @property
    def share(self) -> float | None:
        """The share that took effect in time."""
        return self.count[Fate.in_time] / self.events if self.events else None

    def amount(self, count: float) -> Money | None:
        """Return what so many events are worth."""
        return None if self.worth is None else Money(round(self.worth.amount * count, 2), self.worth.currency)


@dataclass(frozen=True)
class Sent:
    """Events of one sender, each once, by the worst that became of it in any group."""

    source: str
    count: tuple[int, ...]
    """By fate."""
    worth: Money | None


def flows(run: RunData) -> list[Flow]:
    """Return every flow of a run, planned events first, then those that groups emit."""
    books = Books.of(run)
    pairs, scenario, fate = books.pairs, run.plan.scenario, fates(run)
    found = []
    senders = books.plan.producers
    for number, group in enumerate(books.groups):
        mine = pairs.measured & (pairs.group == number)
        for code in np.unique(books.plan.producer[pairs.event[mine]]).tolist():
            chosen = mine & (books.plan.producer[pairs.event] == code)
            topic = books.plan.topics[int(pairs.topic[chosen][0])]
            owners = owners_of(scenario, senders[code], topic, group)
            worth = worth_of(scenario, senders[code])
            found.append(
                Flow(senders[code], topic, group, _counted(fate[chosen]), limit_ns(scenario, group), worth, owners)
            )
    return sorted(found, key=lambda flow: senders.index(flow.source))


def sent(run: RunData) -> list[Sent]:
    """Return what became of each sender's measured events: two groups that fail the same event lose its worth once."""
    books = Books.of(run)
    pairs, senders = books.pairs, books.plan.producers
    events, place = np.unique(pairs.event[pairs.measured], return_inverse=True)
    worst = np.zeros(len(events), np.int64)
    np.maximum.at(worst, place, fates(run)[pairs.measured])
    by = books.plan.producer[events]
    return [
        Sent(senders[code], _counted(worst[by == code]), worth_of(run.plan.scenario, senders[code]))
        for code in np.unique(by).tolist()
    ]


def fates(run: RunData) -> Ints:
    """Return the fate of each event in each group that should handle it, in the order of the books' pairs."""
    books = Books.of(run)
    pairs = books.pairs
    limits = np.array([limit_ns(run.plan.scenario, group) for group in books.groups])
    effect = pairs.effect_ns != NEVER
    took = np.where(effect, pairs.effect_ns - pairs.intended_ns, 0)
    given = (pairs.end == End.dead_lettered) | (pairs.end == End.skipped)
    late = effect & (took > limits[pairs.group])
    return np.select([given, ~effect, late], [Fate.given_up, Fate.missing, Fate.late], Fate.in_time)


def _counted(fate: Ints) -> tuple[int, ...]:
    return tuple(np.bincount(fate, minlength=len(Fate)).tolist())


def limit_ns(scenario: Scenario, group: str) -> float:
    """Return how long an event of a group may take by the tightest objective on its latency."""
    limits = [
        objective.below
        for objective in scenario.objectives.values()
        if objective.indicator == "latency" and objective.below is not None and objective.of in (None, group)
    ]
    return float(min(limits)) if limits else math.inf


def worth_of(scenario: Scenario, sender: str) -> Money | None:
    """Return what one event of a producer, or of a group's `emits`, is worth."""
    if sender in scenario.producers:
        return scenario.producers[sender].worth
    group, _, rest = sender.partition(".emits[")
    return scenario.groups[group].emits[int(rest.rstrip("]"))].worth


def owners_of(scenario: Scenario, *names: str) -> tuple[str, ...]:
    """Return who owns parts of a scenario; the scenario's owner where none has one of its own."""
    owned: list[Owned | None] = []
    for name in names:
        owned += [scenario.producers.get(name), scenario.topics.get(name), scenario.groups.get(name)]
    found = dict.fromkeys(each.owner for each in owned if each is not None and each.owner)
    return tuple(found) or ((scenario.owner,) if scenario.owner else ())


def sums(found: Mapping[str, float]) -> str:
    """Return amounts by currency in words."""
    return " + ".join(f"{amount:,.2f} {currency}" for currency, amount in found.items() if amount)


def amounts(found: Sequence[Sent], *fates: Fate) -> dict[str, float]:
    """Return by currency what the events with one of these fates are worth."""
    total: dict[str, float] = {}
    for each in found:
        if each.worth is not None:
            count = sum(each.count[fate] for fate in fates)
            total[each.worth.currency] = total.get(each.worth.currency, 0.0) + each.worth.amount * count
    return total


def delivery_over_time(run: RunData, group: str) -> tuple[Floats, Floats]:
    """Return the begins of equal steps in seconds, and the share of the events intended in each that took effect in time; NaN without events."""
    books = Books.of(run)
    pairs, scenario = books.pairs, run.plan.scenario
    mine = pairs.measured & (pairs.group == books.groups.index(group))
    steps = int(np.clip(mine.sum() // 50, _FEW_STEPS, _MANY_STEPS))
    edges = np.linspace(scenario.warm_up, scenario.duration, steps + 1)
    good = mine & (fates(run) == Fate.in_time)
    count = np.histogram(pairs.intended_ns[mine], edges)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.histogram(pairs.intended_ns[good], edges)[0] / count
    return edges[:-1] / SECOND, np.asarray(share, np.float64)
