"""Events that the user's own programs sent become rows of the plan: what was declared gives way to what was written, in every table."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.rows import LEFT_OUT, NEVER, NONE, Kind, Outcome, new_operations
from rundata.tables import Names, RunData
from scenarios.derived import Derived
from scenarios.disturbances import NOT_AGAIN
from scenarios.following import FIRST_FOLLOWING, chain_of, onwards, with_stand_ins
from scenarios.outside import (
    FIRST,
    ids_of_places,
    is_numbered,
    numbers_of,
    outside_producers,
    outside_topics,
    stand_ins,
)
from scenarios.plan import HEADER_BYTES, Plan

Ints = NDArray[np.int64]
Rows = NDArray[np.void]

_MOST_MISSING = 1_000_000


class TwiceError(ValueError):
    """A number that two of the user's programs gave to an event."""


@dataclass(frozen=True, eq=False)
class Written:
    """What the user's programs wrote: one entry per record, in the order of topics, partitions and offsets."""

    event_id: Ints
    place_id: Ints
    topic: Ints
    partition: Ints
    offset: Ints
    key: Ints
    intended_ns: Ints


def as_written(run: RunData, sizes: dict[int, int] | None = None) -> RunData:
    """Return a run whose plan holds the events that were written in place of those that were declared.

    `sizes` are those of values, by place. What was sent before time 0 or after the load is left out, and what follows from it, in every table but
    the log, where the one is a record of nobody and the other LEFT_OUT. Where programs number their events, numbers that never came are sends of
    unknown outcome.
    """
    scenario = run.plan.scenario
    if not outside_topics(scenario):
        return run
    written = _written(run)
    renumbered = _Renumbered.of(run.plan, written, sizes or {})
    rows = renumbered.operations(run.operations)
    rows = np.concatenate([rows, renumbered.missing_sends()])
    log = run.log.copy()
    ids = _log_ids(run, log)
    log["event_id"] = renumbered(ids)
    nobodys = (log["event_id"] < 0) & ((ids < FIRST_FOLLOWING) | np.isin(log["topic"], _codes(run)))
    log["event_id"][nobodys] = NONE
    log["event_id"][(log["event_id"] < 0) & ~nobodys] = LEFT_OUT
    return replace(run, plan=renumbered.plan, operations=rows, log=log)


def _codes(run: RunData) -> list[int]:
    return [run.names.topics.index(topic) for topic in outside_topics(run.plan.scenario)]


def _log_ids(run: RunData, log: Rows) -> Ints:
    """Return the ids of records in the log: those in topics of the user's programs are called by their places, if by nothing else."""
    ids = log["event_id"].astype(np.int64)
    theirs = np.isin(log["topic"], _codes(run)) & (ids < FIRST)
    ids[theirs] = ids_of_places(log["topic"][theirs], log["partition"][theirs], log["offset"][theirs])
    return ids


def _written(run: RunData) -> Written:
    """Return all records that were seen while the run went on, and those that only the audit found."""
    rows = run.operations
    seen = rows[(rows["kind"] == Kind.send) & (rows["event_id"] >= FIRST)]
    log = run.log[np.isin(run.log["topic"], _codes(run)) & (run.log["aborted"] == 0)]
    places = ids_of_places(seen["topic"], seen["partition"], seen["offset"])
    in_log = ids_of_places(log["topic"], log["partition"], log["offset"])
    late = np.flatnonzero(~np.isin(in_log, places) & ((log["event_id"] < 0) | (log["event_id"] >= FIRST)))
    columns = {
        "event_id": np.concatenate([seen["event_id"], _log_ids(run, log)[late]]),
        "place_id": np.concatenate([places, in_log[late]]),
        "topic": np.concatenate([seen["topic"], log["topic"][late]]),
        "partition": np.concatenate([seen["partition"], log["partition"][late]]),
        "offset": np.concatenate([seen["offset"], log["offset"][late]]),
        "key": np.concatenate([seen["key"], np.full(len(late), NONE)]),
        "intended_ns": np.concatenate([seen["intended_ns"], log["time_ns"][late]]),
    }
    order = np.argsort(columns["place_id"], kind="stable")
    return Written(**{name: column[order].astype(np.int64) for name, column in columns.items()})


@dataclass(frozen=True, eq=False)
class _Renumbered:
    """The new plan, and what the ids of events are in it: NONE for those that are left out."""

    plan: Plan
    declared: Derived
    """The declared plan, and what its events make groups emit."""
    planned: Ints
    """By row of the declared plan."""
    names: Ints
    """Ids of events from outside, sorted: by number and by place."""
    rows: Ints
    """The row of each of them."""
    missing: Ints
    """Rows of events of which only their number is known."""

    @classmethod
    def of(cls, plan: Plan, written: Written, sizes: dict[int, int]) -> "_Renumbered":
        """Merge what was written into a plan, in the order of intended times; ties in the order of their places."""
        first = _first_of_each(written)
        inside = (written.intended_ns[first] >= 0) & (written.intended_ns[first] < plan.scenario.duration)
        first = first[inside]
        absent = _absent(plan, written, first)
        kept = np.flatnonzero(~np.isin(plan.producer, _outside_codes(plan)))
        columns = _columns(plan, written, first, absent, kept, sizes)
        order = np.argsort(columns["intended_ns"], kind="stable")
        at = np.empty(len(order), np.int64)
        at[order] = np.arange(len(order))
        planned = np.full(len(plan), NONE, np.int64)
        planned[kept] = at[: len(kept)]
        own = at[len(kept) : len(kept) + len(first)]
        names, rows = _named(written, first, own)
        merged = _plan(plan, columns, order)
        return cls(merged, chain_of(plan), planned, names, rows, at[len(kept) + len(first) :])

    def __call__(self, ids: Ints) -> Ints:
        """Return the row of each id."""
        ids = np.asarray(ids, np.int64)
        found = ids.copy()
        inner = (found >= 0) & (found < len(self.planned))
        outer = found >= FIRST
        place = np.minimum(np.searchsorted(self.names, found[outer]), max(0, len(self.names) - 1))
        found[inner] = self.planned[found[inner]]
        if len(self.names):
            known = self.names[place] == ids[outer]
            found[outer] = np.where(known, self.rows[place], NONE)
        else:
            found[outer] = NONE
        emitted = (ids >= len(self.planned)) & (ids < FIRST)
        if self.declared.places and emitted.any():
            found[emitted] = self._emitted(ids[emitted])
        return found

    def _emitted(self, ids: Ints) -> Ints:
        """Return the new ids of emitted events: they count from where the first event of their chain has come to stand."""
        roots, steps = self.declared.trace(ids)
        roots = self(roots)
        found = onwards(np.maximum(roots, 0), steps, len(self.plan), len(self.declared.places))
        if (found >= FIRST).any():
            raise OverflowError("a chain of emitted events has too many emissions behind it for another id in 64 bits")
        return np.where(roots == NONE, NONE, found)

    def operations(self, rows: Rows) -> Rows:
        """Return the operations that are about events of the plan, or about none."""
        ids = self(rows["event_id"])
        stays = (rows["event_id"] == NONE) | (ids != NONE)
        outer = (rows["event_id"] >= FIRST)[stays]
        later = (rows["event_id"] >= FIRST_FOLLOWING)[stays] & ~outer
        found: Rows = rows[stays]
        found["event_id"] = ids[stays]
        found["cause_id"] = self(found["cause_id"])
        root = self(found["root_id"])
        # A chain whose first event is left out begins with the event itself.
        found["root_id"] = np.where(root == NONE, found["event_id"], root)
        event = found["event_id"][outer]
        found["key"][outer], found["intended_ns"][outer] = self.plan.key[event], self.plan.intended_ns[event]
        found["key"][later] = self.plan.key[found["root_id"][later]]
        nowhere = outer & (found["topic"] == NONE)
        found["topic"][nowhere] = self.plan.topic[found["event_id"][nowhere]]
        self._no_earlier(found, outer & (found["offset"] == NONE) & (found["kind"] != Kind.send))
        return found

    def _no_earlier(self, rows: Rows, told: NDArray[np.bool_]) -> None:
        """Let no effect that a program has told of be earlier than its event: clocks of other machines may differ."""
        intended = self.plan.intended_ns[rows["event_id"][told]]
        for column in ("started_ns", "ended_ns"):
            rows[column][told] = np.maximum(rows[column][told], intended)

    def missing_sends(self) -> Rows:
        """Return a send of unknown outcome for each event of which only the number is known."""
        rows, plan = new_operations(len(self.missing)), self.plan
        names = Names.of(plan.scenario)
        rows["event_id"] = rows["root_id"] = self.missing
        rows["intended_ns"] = rows["started_ns"] = plan.intended_ns[self.missing]
        rows["topic"] = plan.topic[self.missing]
        first = [names.processes.index(f"{name}/1") for name in plan.producers]
        rows["process"] = np.asarray(first, np.int16)[plan.producer[self.missing]]
        rows["kind"], rows["outcome"], rows["attempt"], rows["ended_ns"] = Kind.send, Outcome.unknown, 1, NEVER
        return rows


def _outside_codes(plan: Plan) -> list[int]:
    return [number for number, each in enumerate(plan.scenario.producers.values()) if each.external]


def _producer_of(plan: Plan) -> dict[int, int]:
    """Return by topic's number which producer writes to it."""
    names = Names.of(plan.scenario).topics
    return {names.index(topic): plan.producers.index(name) for topic, name in outside_topics(plan.scenario).items()}


def _first_of_each(written: Written) -> Ints:
    """Return the first record of each event; raise TwiceError where one number stands in two topics."""
    order = np.lexsort((written.place_id, written.intended_ns, written.event_id))
    ids, first = np.unique(written.event_id[order], return_index=True)
    chosen = order[first]
    topic_of = written.topic[chosen][np.searchsorted(ids, written.event_id)]
    twice = np.flatnonzero((topic_of != written.topic) & is_numbered(written.event_id))
    if len(twice):
        number = int(numbers_of(written.event_id[twice[:1]])[0])
        raise TwiceError(
            f"number {number} stands in two topics: numbers of your own programs' events (header eventdrill-id) are unique in a scenario"
        )
    found: Ints = np.sort(chosen)
    return found


@dataclass(frozen=True, eq=False)
class _Absent:
    """Events of which only their number is known."""

    producer: Ints
    intended_ns: Ints


def _absent(plan: Plan, written: Written, first: Ints) -> _Absent:
    """Return what is missing between the lowest and the highest number of each producer; its time is that of the next one that came."""
    producers, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for topic, producer in _producer_of(plan).items():
        own = first[(written.topic[first] == topic) & is_numbered(written.event_id[first])]
        if not len(own):
            continue
        numbers = numbers_of(written.event_id[own])
        order = np.argsort(numbers)
        numbers, intended = numbers[order], written.intended_ns[own][order]
        gaps = np.diff(numbers) - 1
        if not 0 < gaps.sum() <= min(_MOST_MISSING, len(numbers)):
            continue  # none is missing, or they do not count one by one
        times.append(np.repeat(intended[1:], gaps))
        producers.append(np.full(int(gaps.sum()), producer, np.int64))
    return _Absent(np.concatenate(producers), np.concatenate(times))


def _columns(
    plan: Plan, written: Written, first: Ints, absent: _Absent, kept: Ints, sizes: dict[int, int]
) -> dict[str, Any]:
    """Return the columns of the new plan before it is in order: planned events, written ones, and those that never came."""
    producer_of, count = _producer_of(plan), len(absent.producer)
    producer = np.asarray([producer_of[topic] for topic in written.topic[first].tolist()], np.int64)
    fallback = [max(HEADER_BYTES, int(each.size.mean)) for each in plan.scenario.producers.values()]
    size = [
        sizes.get(place, fallback[who])
        for place, who in zip(written.place_id[first].tolist(), producer.tolist(), strict=True)
    ]
    none = np.full(count, NONE, np.int64)
    columns: dict[str, list[NDArray[Any]]] = {
        "intended_ns": [plan.intended_ns[kept], written.intended_ns[first], absent.intended_ns],
        "producer": [plan.producer[kept], producer, absent.producer],
        "process": [plan.process[kept], np.ones(len(first) + count, np.int16)],
        "key": [plan.key[kept], written.key[first], none],
        "size_bytes": [plan.size_bytes[kept], np.asarray(size, np.int32), np.full(count, HEADER_BYTES, np.int32)],
        "partition": [plan.partition[kept], written.partition[first], none],
        "ids": [kept, written.event_id[first], none],
    }
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _named(written: Written, first: Ints, own: Ints) -> tuple[Ints, Ints]:
    """Return every name that the events have, sorted, and the row of each: the number, and the place of each copy."""
    ids = written.event_id[first]
    order = np.argsort(ids)
    ids, rows = ids[order], own[order]
    if not len(ids):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.minimum(np.searchsorted(ids, written.event_id), len(ids) - 1)
    copies = np.flatnonzero((ids[at] == written.event_id) & (written.place_id != written.event_id))
    names = np.concatenate([ids, written.place_id[copies]])
    order = np.argsort(names, kind="stable")
    return names[order], np.concatenate([rows, rows[at[copies]]])[order]


def _plan(plan: Plan, columns: dict[str, Any], order: Ints) -> Plan:
    """Return the plan with these events; what handlers do with written ones is what they do with the declared ones that stand for them."""
    ids = columns["ids"][order]
    topic_of = np.asarray([plan.topics.index(each.topic) for each in plan.scenario.producers.values()], np.int64)
    topic = topic_of[columns["producer"][order].astype(np.int64)]
    work, failing, undecodable, drawn_as = {}, {}, {}, {}
    for group, what in plan.scenario.groups.items():
        declared = np.flatnonzero(np.isin(plan.producer, outside_producers(plan.scenario, group))).astype(np.int64)
        like = stand_ins(declared, ids)
        known = (like >= 0) & (like < len(plan))
        like = np.where(known, like, 0)
        if what.emits:
            drawn_as[group] = like
        known &= np.isin(topic, [plan.topics.index(each) for each in what.topics])
        work[group] = np.where(known, plan.work_ns[group][like], 0)
        failing[group] = np.where(known, plan.failing_tries[group][like], 0).astype(np.int16)
        undecodable[group] = known & plan.undecodable[group][like]
    planned = (ids >= 0) & (ids < len(plan))
    row = np.where(planned, ids, 0)

    def of_plan(values: NDArray[Any], otherwise: int) -> NDArray[Any]:
        return np.where(planned, values[row], otherwise).astype(values.dtype)

    merged = replace(
        plan,
        intended_ns=columns["intended_ns"][order].astype(np.int64),
        producer=columns["producer"][order].astype(np.int16),
        process=columns["process"][order].astype(np.int16),
        key=columns["key"][order].astype(np.int64),
        size_bytes=columns["size_bytes"][order].astype(np.int32),
        partition=columns["partition"][order].astype(np.int32),
        poison=of_plan(plan.poison, 0),
        work_ns=work,
        failing_tries=failing,
        late_ns=of_plan(plan.late_ns, 0),
        again_ns=of_plan(plan.again_ns, NOT_AGAIN),
        schema_version=of_plan(plan.schema_version, 1),
        undecodable=undecodable,
    )
    return with_stand_ins(merged, drawn_as, len(plan)) if drawn_as else merged
