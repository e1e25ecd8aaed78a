"""Flows of a run: who sends to whom, how many events took effect in time, and what that was worth. The figures of business."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books, End
from rundata.rows import NEVER
from rundata.tables import RunData
from scenarios.around import Money, Owned
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
_FEW_STEPS, _MANY_STEPS = 12, 60
"""So many steps a delivery over time has, at least and at most."""


@dataclass(frozen=True)
class Flow:
    """Events of one sender that one group should handle, of the measured part."""

    source: str
    topic: str
    group: str
    events: int
    in_time: int
    late: int
    """Took effect, but later than the tightest objective allows."""
    given_up: int
    """Dead-lettered or skipped."""
    missing: int
    """No effect and not given up: lost, refused, expired, passed over, or still waiting."""
    limit_ns: float
    """What in time means; infinite where no objective says."""
    worth: Money | None
    owners: tuple[str, ...]

    @property
    def name(self) -> str:
        """The flow in one word."""
        return f"{self.source} → {self.topic} → {self.group}"

    @property
    def share(self) -> float | None:
        """The share that took effect in time."""
        return self.in_time / self.events if self.events else None

    def amount(self, count: float) -> Money | None:
        """Return what so many events are worth."""
        return None if self.worth is None else Money(round(self.worth.amount * count, 2), self.worth.currency)


def flows(run: RunData) -> list[Flow]:
    """Return every flow of a run, planned events first, then those that groups emit."""
    books = Books.of(run)
    pairs, scenario = books.pairs, run.plan.scenario
    found = []
    senders = books.plan.producers
    for number, group in enumerate(books.groups):
        mine = pairs.measured & (pairs.group == number)
        limit = limit_ns(scenario, group)
        took = np.where(pairs.effect_ns == NEVER, np.inf, (pairs.effect_ns - pairs.intended_ns).astype(np.float64))
        for code in np.unique(books.plan.producer[pairs.event[mine]]).tolist():
            chosen = mine & (books.plan.producer[pairs.event] == code)
            end, effects = pairs.end[chosen], np.isfinite(took[chosen])
            given = (end == End.dead_lettered) | (end == End.skipped)
            in_time = effects & ~given & (took[chosen] <= limit)
            topic = books.plan.topics[int(pairs.topic[chosen][0])]
            found.append(
                Flow(
                    senders[code], topic, group, int(chosen.sum()), int(in_time.sum()),
                    int((effects & ~given & ~in_time).sum()), int(given.sum()), int((~effects & ~given).sum()),
                    limit, worth_of(scenario, senders[code]), owners_of(scenario, senders[code], topic, group),
                )
            )  # fmt: skip
    return sorted(found, key=lambda flow: senders.index(flow.source))


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


def amounts(run_flows: "list[Flow]", what: str) -> dict[str, float]:
    """Return by currency what the events of all flows with an end were worth; `what` is a field of the flow."""
    found: dict[str, float] = {}
    for flow in run_flows:
        if flow.worth is not None:
            found[flow.worth.currency] = found.get(flow.worth.currency, 0.0) + flow.worth.amount * getattr(flow, what)
    return found


def delivery_over_time(run: RunData, group: str) -> tuple[Floats, Floats]:
    """Return the begins of equal steps in seconds, and the share of the events intended in each that took effect in time; NaN without events."""
    books = Books.of(run)
    pairs, scenario = books.pairs, run.plan.scenario
    mine = pairs.measured & (pairs.group == books.groups.index(group))
    steps = int(np.clip(mine.sum() // 50, _FEW_STEPS, _MANY_STEPS))
    edges = np.linspace(scenario.warm_up, scenario.duration, steps + 1)
    took = np.where(pairs.effect_ns == NEVER, np.inf, (pairs.effect_ns - pairs.intended_ns).astype(np.float64))
    given = (pairs.end == End.dead_lettered) | (pairs.end == End.skipped)
    good = mine & ~given & np.isfinite(took) & (took <= limit_ns(scenario, group))
    count = np.histogram(pairs.intended_ns[mine], edges)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.histogram(pairs.intended_ns[good], edges)[0] / count
    return edges[:-1] / SECOND, np.asarray(share, np.float64)
