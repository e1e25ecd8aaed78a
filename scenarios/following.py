"""Events that groups emit beside the user's own programs (`external: true` of a producer), whose events no plan knows beforehand.

An effect of such an event emits what one of the declared event that stands for it would, and so on along the chain: how many, how large, how
long each takes. While a run goes on, the id of what follows says the place or number of the event that the chain began with, and the places of
`emits` on the way, so that each process can tell it by itself. When the run is over its first event is a row of the plan, and ids count from there
like all others; what they hold is still drawn as for the declared events (`WrittenPlan`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scenarios.derived import NO_CAUSE, Derived, Ints, Place
from scenarios.outside import (
    FIRST,
    id_of_number,
    ids_of_places,
    is_numbered,
    numbers_of,
    outside_producers,
    outside_topics,
    parts_of_places,
    stand_ins,
)
from scenarios.plan import Plan

FIRST_FOLLOWING = 1 << 61
"""Ids of what follows from own programs' events begin here and end where those of these events begin."""
_PATH_AT, _PATH_BITS = 46, 15
_NUMBERED = 1 << 45
_RANK_AT, _PARTITION_AT = 42, 32
MOST_PATHS = 1 << _PATH_BITS
MOST_TOPICS = 1 << _NUMBERED.bit_length() - 1 - _RANK_AT
MOST_PARTITIONS = 1 << _RANK_AT - _PARTITION_AT
_MOST_OFFSET = 1 << _PARTITION_AT


@dataclass(frozen=True, eq=False, kw_only=True)
class WrittenPlan(Plan):
    """A plan in which events of the user's own programs stand in place of those that were declared."""

    stand_ins: Mapping[str, Ints]
    """By group that emits: the event of the declared plan as which each event's chain is drawn."""
    declared: int
    """How many events the declared plan has."""


def with_stand_ins(plan: Plan, stand_ins: Mapping[str, Ints], declared: int) -> WrittenPlan:
    """Return a plan with the declared events as which its chains are drawn."""
    same = {each.name: getattr(plan, each.name) for each in fields(Plan)}
    return WrittenPlan(**same, stand_ins=stand_ins, declared=declared)


def chain_of(plan: Plan) -> Derived:
    """Return what tells of emitted events: before and while a run goes on, or when it is over."""
    if isinstance(plan, WrittenPlan) or not outside_topics(plan.scenario):
        return derived_of(plan)
    return Following(plan)


def derived_of(plan: Plan) -> Derived:
    """Return what tells of emitted events where every event that they can follow from is in the plan."""
    return _Written(plan) if isinstance(plan, WrittenPlan) else Derived(plan)


@dataclass(frozen=True, eq=False)
class Following(Derived):
    """Emitted events of a declared plan, with those that follow from events that are in no plan; arrays of ids may mix all of them."""

    @cached_property
    def codes(self) -> Ints:
        """Numbers of the topics that own programs write to."""
        topics = list(self.plan.scenario.topics)
        return np.sort(np.asarray([topics.index(topic) for topic in outside_topics(self.plan.scenario)], np.int64))

    @cached_property
    def pools(self) -> tuple[Ints, ...]:
        """By place: declared events that stand for those whose effects emit there."""
        scenario, producer = self.plan.scenario, self.plan.producer
        return tuple(
            np.flatnonzero(np.isin(producer, outside_producers(scenario, place.group))).astype(np.int64)
            for place in self.places
        )

    def child(self, cause: int, group: str, emit: int, k: int) -> int:
        """Return the id of what an effect of `cause` in a group emits; raise OverflowError for a chain that 64 bits cannot count."""
        if cause >= FIRST_FOLLOWING:
            number = np.asarray([self._number_of[Place(group, emit, k)]], np.int64)
            return int(self.follow(np.asarray([cause], np.int64), number)[0])
        child = super().child(cause, group, emit, k)
        if child >= FIRST_FOLLOWING:
            raise OverflowError(f"event {cause} has too many emissions behind it for another id beside own programs")
        return child

    def follow(self, causes: Ints, numbers: Ints) -> Ints:
        """Return the ids of what effects of events emit at places, by their numbers; the causes are own programs' events, or follow from them."""
        path, root = np.zeros(len(causes), np.int64), np.asarray(causes, np.int64).copy()
        later = root < FIRST
        path[later] = root[later] >> _PATH_AT & (MOST_PATHS - 1)
        root[later] &= (1 << _PATH_AT) - 1
        root[~later] = self._short(root[~later])
        path = path * (len(self.places) + 1) + numbers + 1
        if (path >= MOST_PATHS).any():
            raise OverflowError(
                f"event {causes[path.argmax()]} has too many emissions behind it for another id beside own programs"
            )
        return FIRST_FOLLOWING | path << _PATH_AT | root

    def _short(self, ids: Ints) -> Ints:
        """Return the places or numbers of own programs' events in fewer bits."""
        numbered = is_numbered(ids)
        numbers = numbers_of(ids)
        topic, partition, offset = parts_of_places(ids)
        if (numbers[numbered] >= _NUMBERED).any():
            raise OverflowError(
                f"the number {numbers[numbered].max()} of an event of your own program is too large where a group emits: below {_NUMBERED}"
            )
        if ((partition >= MOST_PARTITIONS) | (offset >= _MOST_OFFSET))[~numbered].any():
            raise OverflowError(
                f"events of your own program lie at partition {partition[~numbered].max()}, offset {offset[~numbered].max()}, which is too far "
                f"where a group emits: below {MOST_PARTITIONS} and {_MOST_OFFSET}; number them (header eventdrill-id)"
            )
        rank = np.searchsorted(self.codes, topic)
        return np.where(numbered, _NUMBERED | numbers, rank << _RANK_AT | partition << _PARTITION_AT | offset)

    def _long(self, short: Ints) -> Ints:
        """Return the ids that were shortened."""
        rank = np.minimum(short >> _RANK_AT & (MOST_TOPICS - 1), len(self.codes) - 1)
        partition = short >> _PARTITION_AT & (MOST_PARTITIONS - 1)
        places = ids_of_places(self.codes[rank], partition, short & (_MOST_OFFSET - 1))
        return np.where(short & _NUMBERED != 0, id_of_number(0) | short & (_NUMBERED - 1), places)

    def trace(self, ids: Ints) -> tuple[Ints, list[Ints]]:
        """Return the event that each chain began with, and the places on the way, the last one first and NO_CAUSE where there is none."""
        ids = np.asarray(ids, np.int64)
        later = (ids >= FIRST_FOLLOWING) & (ids < FIRST)
        roots, steps = super().trace(np.where(ids >= FIRST_FOLLOWING, 0, ids))
        path = np.where(later, ids >> _PATH_AT & (MOST_PATHS - 1), 0)
        found = list[Ints]()
        while (path > 0).any():
            found.append(path % (len(self.places) + 1) - 1)
            path = path // (len(self.places) + 1)
        most, none = max(len(steps), len(found)), np.full(ids.shape, NO_CAUSE, np.int64)
        steps += [none] * (most - len(steps))
        found += [none] * (most - len(found))
        roots = np.where(ids >= FIRST, ids, roots)
        if later.any():
            roots[later] = self._long(ids[later] & ((1 << _PATH_AT) - 1))
        return roots, [np.maximum(*both) for both in zip(steps, found, strict=True)]

    def is_emitted(self, ids: Ints) -> NDArray[np.bool_]:
        """Whether each event was emitted, not sent by a producer."""
        return (np.asarray(ids) >= self.planned) & (np.asarray(ids) < FIRST)

    def cause_of(self, ids: Ints) -> Ints:
        """Return the event whose effect emitted each, or NO_CAUSE for those of producers."""
        roots, steps = self.trace(ids)
        causes = np.asarray(super().cause_of(ids), np.int64)
        causes = np.where(np.asarray(ids) >= FIRST_FOLLOWING, roots, causes)
        for step in reversed(steps[1:]):
            on = (np.asarray(ids) >= FIRST_FOLLOWING) & (step != NO_CAUSE)
            causes[on] = self.follow(causes[on], step[on])
        return np.where(self.is_emitted(ids), causes, NO_CAUSE)

    def place_of(self, ids: Ints) -> Ints:
        """Return the number of the place that each was emitted at, or NO_CAUSE for those of producers."""
        _, steps = self.trace(ids)
        return steps[0] if steps else np.full(np.shape(ids), NO_CAUSE, np.int64)

    def children_of(self, causes: Ints, group: str) -> tuple[Ints, Ints]:
        """Return how many events an effect of each cause emits in a group, and all their ids, cause by cause."""
        causes = np.asarray(causes, np.int64)
        own = next((pool for place, pool in zip(self.places, self.pools, strict=True) if place.group == group), None)
        like = self.like(causes) if own is None else stand_ins(own, self.like(causes))
        counts, ids = super().children_of(like, group)
        parents = np.repeat(causes, counts)
        later = parents >= FIRST_FOLLOWING
        ids[later] = self.follow(parents[later], super().place_of(ids[later]))
        return counts, ids

    def like(self, ids: Ints) -> Ints:
        """Return ids with those that follow from own programs' events replaced by those of the declared chain that each is drawn as."""
        found = np.asarray(ids, np.int64).copy()
        later = (found >= FIRST_FOLLOWING) & (found < FIRST)
        if not later.any():
            return found
        roots, steps = self.trace(found[later])
        first = np.full(roots.shape, NO_CAUSE, np.int64)
        for step in steps:
            first = np.where(step != NO_CAUSE, step, first)
        for number in np.unique(first).tolist():
            roots = np.where(first == number, stand_ins(self.pools[number], roots), roots)
        found[later] = onwards(roots, steps, self.planned, len(self.places))
        return found

    def key_of(self, ids: Ints) -> Ints:
        """Return the number of each event's key, as far as it is known before the run is over: that of what stands for its root."""
        return super().key_of(self.like(ids))

    def _uniforms(self, purpose: str, ids: Ints, group: str = "") -> NDArray[np.float64]:
        return super()._uniforms(purpose, self.like(ids), group)


@dataclass(frozen=True, eq=False)
class _Written(Derived):
    """Emitted events of a run that is over: drawn as those of the declared plan."""

    plan: WrittenPlan

    def _uniforms(self, purpose: str, ids: Ints, group: str = "") -> NDArray[np.float64]:
        return super()._uniforms(purpose, self._like(ids), group)

    def _like(self, ids: Ints) -> Ints:
        roots, steps = self.trace(ids)
        first = np.full(roots.shape, NO_CAUSE, np.int64)
        for step in steps:
            first = np.where(step != NO_CAUSE, step, first)
        like = roots.copy()
        for number in np.unique(first[first != NO_CAUSE]).tolist():
            own = first == number
            like[own] = self.plan.stand_ins[self.places[number].group][roots[own]]
        return onwards(like, steps, self.plan.declared, len(self.places))


def most_emissions(places: int) -> int:
    """Return how many emissions in a row an id tells of, where effects emit at so many places."""
    most = 0
    while (places + 1) ** (most + 1) <= MOST_PATHS:
        most += 1
    return most


def onwards(roots: Ints, steps: list[Ints], planned: int, places: int) -> Ints:
    """Return the ids of what follows from planned events by way of some places, the last one first, in a plan of so many events."""
    found = roots
    for step in reversed(steps):
        found = np.where(step != NO_CAUSE, planned + found * places + step, found)
    return found
