"""Emitted events: what effects have emitted, which groups have yet to end it, and what of it nobody has recorded as sent."""

from collections.abc import Callable, Collection
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from rundata.allowed import remembers
from rundata.chains import types_of_places
from rundata.rows import Kind, Outcome, new_operations
from scenarios.derived import Derived
from scenarios.following import FIRST_FOLLOWING, chain_of
from scenarios.plan import Plan

Ints = NDArray[np.int64]
_ENDS = (int(Kind.skip), int(Kind.dead_letter))


class Emitted:
    """By group that reads them: ids of emitted events that it has not ended; they count from the effect that emits them."""

    def __init__(self, plan: Plan, counts: Callable[[int], bool] = lambda _event: True) -> None:
        """Take the plan; `counts` tells of an event of the user's own programs whether it is one of the load's."""
        self._plan = plan
        self._counts = counts
        self._groups = list(plan.scenario.groups)
        self._derived = chain_of(plan)
        topics = list(plan.topics)
        self._reads = {
            name: [topics.index(topic) for topic in group.topics] for name, group in plan.scenario.groups.items()
        }
        self._due: dict[str, set[int]] = {name: set() for name in self._groups}
        self._ended: dict[str, set[int]] = {name: set() for name in self._groups}
        self._once = {name for name, group in plan.scenario.groups.items() if remembers(group)}
        self._at_once = _sent_at_once(plan, self._derived)
        self._unsent: dict[str, set[int]] = {}
        """By log of rows: what effects in it have emitted at once, and nobody tells of as sent; of groups that never repeat an effect."""

    def open(self, group: str) -> int:
        """Return how many a group has yet to end."""
        later = [each for each in self._due[group] if each >= FIRST_FOLLOWING]
        if not later:
            return len(self._due[group])
        roots = self._derived.root_of(np.asarray(later, np.int64)).tolist()
        return len(self._due[group]) - sum(not self._counts(root) for root in roots)

    def any_open(self) -> bool:
        """Whether any group has any left."""
        return any(self.open(name) for name in self._groups)

    def lost(self, group: str, living: Collection[str]) -> set[int]:
        """Return what a group waits for in vain, unless it is in the log: who emitted it has ended, so that its log of rows is none of the living ones.

        In groups whose members may repeat an effect somebody else may send it yet.
        """
        gone = set[int]().union(*(ids for log, ids in self._unsent.items() if log not in living))
        return self._due[group] & gone.difference(*(ids for log, ids in self._unsent.items() if log in living))

    def forget(self, group: str, ids: set[int]) -> None:
        """Have a group wait for some events no longer."""
        self._ended[group] |= ids
        self._due[group] -= ids

    def take(self, rows: NDArray[np.void], log: str = "") -> None:
        """Note what has taken effect, and with it what follows; what was ended, and what was refused on its way. All is of one log."""
        if not self._derived.places:
            return
        kind, ok = rows["kind"], rows["outcome"] == Outcome.ok
        effects = (kind == Kind.try_) & ok
        ended = effects | np.isin(kind, _ENDS)
        for code, name in enumerate(self._groups):
            mine = rows["group"] == code
            self._emits(name, np.unique(rows["event_id"][mine & effects]), log)
            self._end(name, rows["event_id"][mine & ended])
        if self._once:
            sent = rows["event_id"][kind == Kind.send]
            told = sent[self._derived.is_emitted(sent)].tolist()
            for ids in self._unsent.values():  # whoever has sent it
                ids.difference_update(told)
        refused = rows["event_id"][(kind == Kind.send) & (rows["outcome"] == Outcome.failed)]
        for name in self._groups:
            self._end(name, refused)

    def _end(self, group: str, ids: Ints) -> None:
        self._ended[group].update(ids[self._derived.is_emitted(ids)].tolist())
        self._due[group] -= self._ended[group]

    def _emits(self, group: str, effects: Ints, log: str) -> None:
        try:
            _, ids = self._derived.children_of(effects, group)
        except OverflowError:  # the member that has it in hand ends with this, and says so
            return
        if not len(ids):
            return
        if group in self._once:
            at_once = ids[self._at_once[self._derived.place_of(ids)]]
            self._unsent.setdefault(log, set()).update(at_once.tolist())
        topics = self._derived.topic_of(ids)
        for name, read in self._reads.items():
            self._due[name] |= set(ids[np.isin(topics, read)].tolist()) - self._ended[name]


def unsent(plan: Plan, operations: NDArray[np.void]) -> NDArray[np.void]:
    """Return a row of unknown outcome for each event that follows from an effect, where nobody has recorded that it was sent.

    A member that is killed takes with it the answers that its clients had not handed over, and what it had not come to send. What goes
    through an outbox is none of its business: that is on disk, and its relay sends it.
    """
    derived, scenario = chain_of(plan), plan.scenario
    found = [new_operations(0)]
    if not derived.places:
        return found[0]
    effects = operations[(operations["kind"] == Kind.try_) & (operations["outcome"] == Outcome.ok)]
    effects = effects[np.argsort(effects["ended_ns"], kind="stable")]
    sent = operations["event_id"][operations["kind"] == Kind.send]
    at_once = _sent_at_once(plan, derived)
    types = np.asarray(types_of_places(scenario))
    for code, group in enumerate(scenario.groups):
        own = effects[effects["group"] == code]
        own = own[np.unique(own["event_id"], return_index=True)[1]]
        with suppress(OverflowError):  # its member has ended with it
            counts, ids = derived.children_of(own["event_id"], group)
            left = ~np.isin(ids, sent) & at_once[derived.place_of(ids)]
            found.append(_unanswered(derived, ids[left], np.repeat(own, counts)[left], types))
    return np.concatenate(found)


def _sent_at_once(plan: Plan, derived: Derived) -> NDArray[np.bool_]:
    """Return of each place whether what it emits is sent with the effect, and does not go through an outbox."""
    groups = plan.scenario.groups
    return np.asarray([groups[place.group].emits[place.emit].outbox is None for place in derived.places], np.bool_)


def _unanswered(derived: Derived, ids: Ints, effects: NDArray[np.void], types: Ints) -> NDArray[np.void]:
    """Return rows for sends of which nobody learned what became, one for each event and the effect that it follows from."""
    rows = new_operations(len(ids))
    rows["kind"], rows["outcome"], rows["attempt"] = Kind.send, Outcome.unknown, 1
    rows["event_id"], rows["root_id"], rows["cause_id"] = ids, derived.root_of(ids), derived.cause_of(ids)
    rows["key"], rows["topic"] = derived.key_of(ids), derived.topic_of(ids)
    rows["event_type"] = types[derived.place_of(ids)]
    for name in ("process", "group", "transaction_id"):
        rows[name] = effects[name]
    rows["intended_ns"] = rows["started_ns"] = effects["ended_ns"]
    return rows
