"""Emitted events beside the planned ones: for the books, what was emitted in a run follows the plan as further rows of it."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rundata.rows import Kind
from rundata.tables import Names, RunData
from scenarios.clients import ProducerSettings, producer_settings, settings_of_emits
from scenarios.derived import Derived, places
from scenarios.disturbances import NOT_AGAIN
from scenarios.following import chain_of
from scenarios.plan import CLIENT_CHOOSES, Ints, Plan
from scenarios.schema import Scenario


@dataclass(frozen=True, eq=False, kw_only=True)
class ChainPlan(Plan):
    """A plan with the events that were emitted in a run: numbered on, in the order of their ids."""

    ids: Ints
    """Of each event; the number itself for planned ones."""
    derived: Derived
    """What the plan alone says of emitted events."""

    @cached_property
    def producers(self) -> tuple[str, ...]:
        """Producers in file order, and then what stands for each group's `emits`."""
        return (*self.scenario.producers, *(emits_name(group, emit) for group, emit, _ in emitting(self.scenario)))

    @cached_property
    def topic(self) -> NDArray[np.int16]:
        """Index into `topics` of each event."""
        of_producer = [producer.topic for producer in self.scenario.producers.values()]
        of_producer += [topic for _, _, topic in emitting(self.scenario)]
        return np.asarray([self.topics.index(topic) for topic in of_producer], np.int16)[self.producer]

    def key_text(self, event: int) -> str | None:
        """Return the event's key as it goes over the wire; an emitted one has its root's."""
        return self.derived.key_text(int(self.ids[event]))


def emitting(scenario: Scenario) -> list[tuple[str, int, str]]:
    """Return each group's `emits`: the group, the index, the topic."""
    return [
        (name, emit, what.topic) for name, group in scenario.groups.items() for emit, what in enumerate(group.emits)
    ]


def types_of_places(scenario: Scenario) -> list[int]:
    """Return the code of the type of what each place emits."""
    types = Names.of(scenario).event_types
    emits = [scenario.groups[place.group].emits[place.emit] for place in places(scenario)]
    return [types.index(what.event or what.topic) for what in emits]


def emits_name(group: str, emit: int) -> str:
    """Return what stands for a group's emit among the producers."""
    return f"{group}.emits[{emit}]"


def sending_settings(scenario: Scenario, producer: str) -> ProducerSettings:
    """Return how a producer's client sends, or the client with which a group's members emit."""
    for group, emit, _ in emitting(scenario):
        if producer == emits_name(group, emit):
            return settings_of_emits(scenario, group, emit)
    return producer_settings(scenario, producer)


def sent_to(scenario: Scenario, producer: str) -> str:
    """Return the topic of a producer, or of a group's emit."""
    emits = {emits_name(group, emit): topic for group, emit, topic in emitting(scenario)}
    return emits[producer] if producer in emits else scenario.producers[producer].topic


def with_emitted(run: RunData) -> RunData:
    """Return the run with the events that its members emitted numbered on behind the planned ones, in every table."""
    plan, rows = run.plan, run.operations
    planned = len(plan)
    if not any(group.emits for group in plan.scenario.groups.values()):
        return run  # its operations are not even looked at: they may be more than memory holds
    sends = rows[(rows["kind"] == Kind.send) & (rows["event_id"] >= planned)]
    if not len(sends):
        return run
    derived = chain_of(plan)
    ids, first, which = np.unique(sends["event_id"], return_index=True, return_inverse=True)
    intended = np.full(len(ids), np.iinfo(np.int64).max)
    np.minimum.at(intended, which, sends["intended_ns"])
    numbered = _Numbered(ids, planned)
    operations = rows.copy()
    for column in ("event_id", "root_id", "cause_id"):
        operations[column] = numbered(rows[column])
    log = run.log.copy()
    log["event_id"] = numbered(log["event_id"])
    return replace(run, plan=_longer(plan, derived, ids, intended, run, sends[first]), operations=operations, log=log)


@dataclass(frozen=True, eq=False)
class _Numbered:
    """Turns ids into numbers of events; what was never emitted gets one beyond all."""

    ids: Ints
    planned: int

    def __call__(self, events: Ints) -> Ints:
        """Return the number of each id."""
        place = np.searchsorted(self.ids, events)
        known = np.append(self.ids, -2)[place] == events
        emitted = np.where(known, self.planned + place, self.planned + len(self.ids))
        return np.where(events < self.planned, events, emitted)


def _longer(
    plan: Plan, derived: Derived, ids: Ints, intended: Ints, run: RunData, sends: NDArray[np.void]
) -> ChainPlan:
    """Return the plan with a row for each emitted event."""
    scenario, count = plan.scenario, len(ids)
    emits = {(group, emit): number for number, (group, emit, _) in enumerate(emitting(scenario))}
    of_place = np.array([emits[place.group, place.emit] for place in derived.places], np.int64)
    roots = derived.root_of(ids)
    number = np.array([int(name.rpartition("/")[2]) for name in run.names.processes], np.int64)
    key = derived.key_of(ids)
    several = len(scenario.producers)
    more = {
        "intended_ns": intended,
        "producer": several + of_place[derived.place_of(ids)],
        "process": number[sends["process"]],
        # Keys count within a producer, so those of several roots are told apart.
        "key": np.where(key < 0, key, key * several + plan.producer[roots]),
        "size_bytes": derived.size_bytes(ids),
        "partition": np.full(count, CLIENT_CHOOSES),
        "poison": derived.poison(ids),
        "late_ns": np.zeros(count),
        "again_ns": np.full(count, NOT_AGAIN),
        "schema_version": np.ones(count),
    }
    columns = {each.name: getattr(plan, each.name) for each in fields(Plan)}
    for name, values in more.items():
        old = columns[name]
        columns[name] = np.concatenate([old, np.asarray(values).astype(old.dtype)])
    groups = tuple(scenario.groups)
    columns["work_ns"] = {g: np.concatenate([plan.work_ns[g], derived.work_ns(g, ids)]) for g in groups}
    columns["failing_tries"] = {
        g: np.concatenate([plan.failing_tries[g], derived.failing_tries(g, ids).astype(np.int16)]) for g in groups
    }
    columns["undecodable"] = {g: np.concatenate([plan.undecodable[g], np.zeros(count, np.bool_)]) for g in groups}
    return ChainPlan(**columns, ids=np.concatenate([np.arange(len(plan)), ids]), derived=derived)
