"""What follows from planned events without a row of the plan: emitted events. Pure functions of their ids, equal in both engines.

An emitted event's id says where it comes from: planned events have the ids 0 to N-1, each event has F places for what its
effects may emit, and what event c emits at place s is event N + c * F + s. So no id is given twice, an effect that is
repeated emits the same ids again, and cause, root and place can be read from the id alone.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scenarios.actions import Deploy
from scenarios.distributions import Distribution
from scenarios.plan import HEADER_BYTES, LONGEST_WORK_NS, Plan
from scenarios.schema import Emits, Scenario
from scenarios.streams import hashed_uniforms, stream, uniforms

Ints = NDArray[np.int64]
NO_CAUSE = -1
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Place:
    """One of the events that an effect of a group emits: the k-th of its emit."""

    group: str
    emit: int
    """Index into the group's `emits`."""
    k: int
    """From 0 to per_event - 1."""


def places(scenario: Scenario) -> tuple[Place, ...]:
    """Return every place there is, in the order of the file; a place's number is its index."""
    return tuple(
        Place(name, emit, k)
        for name, group in scenario.groups.items()
        for emit, what in enumerate(group.emits)
        for k in range(what.per_event)
    )


@dataclass(frozen=True, eq=False)
class Derived:
    """Emitted events of a plan, by id; arrays of ids may mix planned and emitted ones."""

    plan: Plan

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where events can come from."""
        return places(self.plan.scenario)

    @cached_property
    def _number_of(self) -> dict[Place, int]:
        return {place: number for number, place in enumerate(self.places)}

    @property
    def planned(self) -> int:
        """How many events the plan has; emitted ids begin here."""
        return len(self.plan)

    # ---- ids

    def child(self, cause: int, group: str, emit: int, k: int) -> int:
        """Return the id of what an effect of `cause` in a group emits; raise OverflowError for a chain that 64 bits cannot count."""
        number = self._number_of[Place(group, emit, k)]
        child = self.planned + cause * len(self.places) + number
        if child > LARGEST_ID:
            raise OverflowError(f"event {cause} has too many emissions behind it for another id in 64 bits")
        return child

    def is_emitted(self, ids: Ints) -> NDArray[np.bool_]:
        """Whether each event was emitted, not planned."""
        return np.asarray(ids) >= self.planned

    def cause_of(self, ids: Ints) -> Ints:
        """Return the event whose effect emitted each, or NO_CAUSE for planned ones."""
        ids = np.asarray(ids, np.int64)
        return np.where(ids < self.planned, NO_CAUSE, (ids - self.planned) // max(1, len(self.places)))

    def place_of(self, ids: Ints) -> Ints:
        """Return the number of the place that each was emitted at, or NO_CAUSE for planned ones."""
        ids = np.asarray(ids, np.int64)
        return np.where(ids < self.planned, NO_CAUSE, (ids - self.planned) % max(1, len(self.places)))

    def root_of(self, ids: Ints) -> Ints:
        """Return the planned event that each chain began with."""
        return self._climb(ids)[0]

    def hops_of(self, ids: Ints) -> Ints:
        """Return how many emissions lie behind each; 0 for planned ones."""
        return self._climb(ids)[1]

    def _climb(self, ids: Ints) -> tuple[Ints, Ints]:
        roots, steps = self.trace(ids)
        hops = np.zeros(roots.shape, np.int64)
        for step in steps:
            hops += step != NO_CAUSE
        return roots, hops

    def trace(self, ids: Ints) -> tuple[Ints, list[Ints]]:
        """Return the planned event that each chain began with, and the places on the way, the last one first and NO_CAUSE where there is none."""
        roots = np.array(ids, np.int64, copy=True)
        steps, places = list[Ints](), max(1, len(self.places))
        while (above := roots >= self.planned).any():
            steps.append(np.where(above, (roots - self.planned) % places, NO_CAUSE))
            roots = np.where(above, (roots - self.planned) // places, roots)
        return roots, steps

    def children(self, cause: int, group: str) -> list[int]:
        """Return the ids that an effect of an event in a group emits, in order; the same whenever the effect is repeated."""
        _, ids = self.children_of(np.array([cause], np.int64), group)
        children: list[int] = ids.tolist()
        return children

    def children_of(self, causes: Ints, group: str) -> tuple[Ints, Ints]:
        """Return how many events an effect of each cause emits in a group, and all their ids, cause by cause."""
        emits = self.plan.scenario.groups[group].emits
        if not len(causes) or not emits:
            return np.zeros(len(causes), np.int64), np.zeros(0, np.int64)
        last = len(emits) - 1
        self.child(int(causes.max()), group, last, emits[last].per_event - 1)  # so that no id overflows in silence
        hops, columns = self.hops_of(causes), list[Ints]()
        for emit, what in enumerate(emits):
            first = self.planned + causes * len(self.places) + self._number_of[Place(group, emit, 0)]
            there = self.emits(first)
            if what.hops is not None:
                there &= hops < what.hops
            columns += [np.where(there, first + k, NO_CAUSE) for k in range(what.per_event)]
        grid = np.stack(columns, axis=1)
        return (grid != NO_CAUSE).sum(axis=1), grid[grid != NO_CAUSE]

    # ---- what they hold: keyed draws, so that no plan row is needed

    def emits(self, first: Ints) -> NDArray[np.bool_]:
        """Whether an effect emits at all, by the id of the first event that it would emit there (the share of effects that do)."""
        share = self._of_emit(first, lambda what: what.share)
        drawn: NDArray[np.bool_] = self._uniforms("emits", first) < share
        return drawn

    def topic_of(self, ids: Ints) -> NDArray[np.int16]:
        """Return the index of each event's topic into the plan's."""
        topics = self.plan.topics

        def emitted(ids: Ints) -> NDArray[np.float64]:
            return self._of_emit(ids, lambda what: topics.index(what.topic))

        return self._either(ids, self.plan.topic, emitted).astype(np.int16)

    def event_type_of(self, event_id: int) -> str:
        """Return an event's type, or an empty text."""
        scenario = self.plan.scenario
        if event_id < self.planned:
            return scenario.producers[self.plan.producers[self.plan.producer[event_id]]].event or ""
        place = self.places[int(self.place_of(np.array([event_id]))[0])]
        return scenario.groups[place.group].emits[place.emit].event or ""

    def key_text(self, event_id: int) -> str | None:
        """Return an event's key: an emitted one has its root's."""
        return self.plan.key_text(int(self.root_of(np.array([event_id]))[0]))

    def key_of(self, ids: Ints) -> Ints:
        """Return the number of each event's key, that of its root, or NO_KEY; it counts within the root's producer."""
        return self.plan.key[self.root_of(ids)]

    def size_bytes(self, ids: Ints) -> Ints:
        """Return the size of each event's value."""

        def emitted(ids: Ints) -> NDArray[np.float64]:
            drawn = np.zeros(np.shape(ids))
            for number, what in self._emits_by_place(ids):
                here = self.place_of(ids) == number
                drawn[here] = what.size.quantile(self._uniforms("size", ids[here]))
            return np.minimum(np.maximum(np.rint(drawn), HEADER_BYTES), 2**31 - 1)

        return self._either(ids, self.plan.size_bytes, emitted).astype(np.int64)

    def poison(self, ids: Ints) -> NDArray[np.bool_]:
        """Whether no handler can ever process each."""

        def emitted(ids: Ints) -> NDArray[np.bool_]:
            return self._uniforms("poison", ids) < self._of_emit(ids, lambda what: what.poison)

        return self._either(ids, self.plan.poison, emitted).astype(np.bool_)

    def work_ns(self, group: str, ids: Ints, version: Deploy | None = None) -> Ints:
        """Return how long a handler of a group, or of a later version of it, works on each per try."""
        own = version.work if version is not None else None
        work = own or self.plan.scenario.groups[group].work
        of_plan = self.plan.work_ns[group] if own is None else self._planned_work_ns(group, own)

        def emitted(ids: Ints) -> NDArray[np.float64]:
            return np.rint(np.minimum(work.quantile(self._uniforms("work", ids, group)), LONGEST_WORK_NS))

        return self._either(ids, of_plan, emitted).astype(np.int64)

    def _planned_work_ns(self, group: str, work: Distribution) -> Ints:
        """Return how long each planned event takes a version: drawn with the plan's own numbers, where it takes any time."""
        plan = self.plan
        draws = uniforms(stream(plan.seed, "group", group, "work", replication=plan.replication), self.planned)
        drawn = np.rint(np.minimum(work.quantile(draws), LONGEST_WORK_NS)).astype(np.int64)
        return np.where(plan.work_ns[group] > 0, drawn, 0)

    def failing_tries(self, group: str, ids: Ints, version: Deploy | None = None) -> Ints:
        """Return how many tries of a group, or of a later version of it, fail before one works, poison apart."""
        failures = self.plan.scenario.groups[group].failures
        transient = failures.transient if failures else None
        of_plan = self.plan.failing_tries[group].astype(np.int64)
        if version is not None and version.decodes is not None:
            of_plan = self._decoded(group, of_plan, version.decodes)

        def emitted(ids: Ints) -> Ints:
            drawn = np.zeros(np.shape(ids), np.int64)
            if transient is not None:
                drawn[self._uniforms("transient", ids, group) < transient.chance] = transient.attempts
            return drawn

        return self._either(ids, of_plan, emitted).astype(np.int64)

    def _decoded(self, group: str, failing: Ints, decodes: int) -> Ints:
        """Return how many tries of planned events fail where schema versions up to one can be decoded."""
        plan = self.plan
        failures = plan.scenario.groups[group].failures
        transient = failures.transient if failures else None
        usual = np.zeros(self.planned, np.int64)
        if transient is not None:
            draws = uniforms(stream(plan.seed, "group", group, "transient", replication=plan.replication), self.planned)
            usual[draws < transient.chance] = transient.attempts
        return np.where(plan.undecodable[group] & (plan.schema_version <= decodes), usual, failing)

    # ---- helpers

    def _uniforms(self, purpose: str, ids: Ints, group: str = "") -> NDArray[np.float64]:
        words = [zlib.crc32(word.encode()) for word in ("emitted", purpose, group)]
        return hashed_uniforms(self.plan.seed, self.plan.replication, *words, np.asarray(ids, np.int64))

    def _either(
        self, ids: Ints, of_plan: NDArray[np.generic], emitted: Callable[[Ints], NDArray[np.generic]]
    ) -> NDArray[np.generic]:
        """Take the plan's value for planned events, and make one for emitted ones; as a rule all are of one kind."""
        ids = np.asarray(ids, np.int64)
        is_planned = ids < self.planned
        if is_planned.all():
            return of_plan[ids]
        otherwise = emitted(ids)
        return (
            np.where(is_planned, of_plan[np.minimum(ids, self.planned - 1)], otherwise) if self.planned else otherwise
        )

    def _emits_by_place(self, ids: Ints) -> Sequence[tuple[int, Emits]]:
        there = np.unique(self.place_of(ids))
        groups = self.plan.scenario.groups
        return [(int(n), groups[self.places[n].group].emits[self.places[n].emit]) for n in there.tolist() if n >= 0]

    def _of_emit(self, ids: Ints, value: Callable[[Emits], float]) -> NDArray[np.float64]:
        """Return something that the scenario says of the emit of each; 0 for planned ones."""
        groups = self.plan.scenario.groups
        of_place = [value(groups[place.group].emits[place.emit]) for place in self.places]
        return np.array([*of_place, 0.0])[self.place_of(ids)]
