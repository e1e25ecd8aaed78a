"""Emitted events while a run goes on: what effects have emitted, and which groups have yet to end it."""

import numpy as np
from numpy.typing import NDArray

from rundata.rows import Kind, Outcome
from scenarios.derived import Derived
from scenarios.plan import Plan

Ints = NDArray[np.int64]
_ENDS = (int(Kind.skip), int(Kind.dead_letter))


class Emitted:
    """By group that reads them: ids of emitted events that it has not ended; they count from the effect that emits them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._groups = list(plan.scenario.groups)
        self._derived = Derived(plan)
        self._due: dict[str, set[int]] = {name: set() for name in self._groups}
        self._ended: dict[str, set[int]] = {name: set() for name in self._groups}

    def open(self, group: str) -> int:
        """Return how many a group has yet to end."""
        return len(self._due[group])

    def any_open(self) -> bool:
        """Whether any group has any left."""
        return any(self._due.values())

    def take(self, rows: NDArray[np.void]) -> None:
        """Note what has taken effect, and with it what follows; what was ended, and what was refused on its way."""
        if not self._derived.places:
            return
        kind, ok = rows["kind"], rows["outcome"] == Outcome.ok
        effects = (kind == Kind.try_) & ok
        ended = effects | np.isin(kind, _ENDS)
        for code, name in enumerate(self._groups):
            mine = rows["group"] == code
            self._emits(name, np.unique(rows["event_id"][mine & effects]))
            late = rows["event_id"][mine & ended]
            self._end(name, late[late >= len(self._plan)])
        refused = rows["event_id"][(kind == Kind.send) & (rows["outcome"] == Outcome.failed)]
        for name in self._groups:
            self._end(name, refused[refused >= len(self._plan)])

    def _end(self, group: str, ids: Ints) -> None:
        self._ended[group].update(ids.tolist())
        self._due[group] -= self._ended[group]

    def _emits(self, group: str, effects: Ints) -> None:
        if not len(effects):
            return
        derived, scenario = self._derived, self._plan.scenario
        hops = derived.hops_of(effects)
        for number, place in enumerate(derived.places):
            what = scenario.groups[place.group].emits[place.emit]
            if place.group != group or place.k != 0:
                continue
            sends = np.ones(len(effects), np.bool_) if what.hops is None else hops < what.hops
            first = len(self._plan) + effects[sends] * len(derived.places) + number
            first = first[derived.emits(first)]
            ids = {each + k for each in first.tolist() for k in range(what.per_event)}
            for name, other in scenario.groups.items():
                if what.topic in other.topics:
                    self._due[name] |= ids - self._ended[name]
