"""A run that is over, in parts: some events after others, each with all its operations and records."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books
from rundata.folding import Part
from rundata.operations import joined, order_of, taken
from rundata.rows import NEVER, Kind
from rundata.shards import stretch
from rundata.whole import Commits, Told, Whole
from scenarios.clients import is_compacted, may_expire
from scenarios.schema import Scenario
from sim import world as at
from sim.engine import Played
from sim.far import Far
from sim.world import NONE, Ints

PART_EVENTS, FAR_PART_EVENTS = 1 << 14, 1 << 13
"""So many events are looked at at a time; fewer of a run that lies in files, since memory is what that is about."""
_SECTION = 1 << 12
_RELEASE_EVERY = 8


def comes_in_parts(scenario: Scenario) -> bool:
    """Whether each event of a run can be told from its own operations and records, and from what groups have committed.

    What is emitted is no planned event, transactions end operations of others, and what deletes makes absence mean something else.
    """
    return (
        not scenario.actions
        and not may_expire(scenario)
        and not any("transactional.id" in producer.settings for producer in scenario.producers.values())
        and not any(is_compacted(scenario, topic) for topic in scenario.topics)
        and not any(
            group.emits or group.share_group or group.external or group.commit == "transaction"
            for group in scenario.groups.values()
        )
    )


class InParts:
    """The books of a run that is over, in parts."""

    def __init__(self, played: Played, at_once: int | None = None) -> None:
        self._played, self._room = played, played.builder.room
        self._at_once = at_once or (FAR_PART_EVENTS if isinstance(self._room, Far) else PART_EVENTS)
        self._room.give_back()
        self._run = played.data(keep_operations=False, keep_instants=False, keep_log=False)
        world = played.system.world
        self._rows = world.rows[: int(world.scalars[at.ROWS])]
        self._whole = Told(self._run, self._commits)

    @cached_property
    def frame(self) -> Books:
        """The books of the run without events."""
        return Books(replace(self._run, plan=stretch(self._run.plan, 0, 0)), self._whole)

    def _commits(self, whole: Whole) -> Commits:
        played = self._played
        columns: list[list[NDArray[Any]]] = [[np.zeros(0, np.int64)] for _ in range(4)]
        for first in range(0, len(self._rows), _SECTION):
            rows = self._rows[first : first + _SECTION]
            own = np.flatnonzero(
                (rows[:, at.O_KIND] == Kind.commit) & (rows[:, at.O_VALID] == 1) & (rows[:, at.O_OUTCOME] == 0)
            )
            place, offset = rows[own, at.O_PART], rows[own, at.O_OFFSET]
            topic, number = played.topic_and_number(place)
            # A commit is one more than what it covers.
            offset = played.system.log_ends.offsets_of(place, offset - 1) + 1
            partition = whole.first_partition[topic] + number
            told = (rows[own, at.O_GROUP], partition, rows[own, at.O_ENDED], offset)
            for column, values in zip(columns, told, strict=True):
                column.append(values)
            self._give_back(first)
        group, partition, ended_ns, offset = (np.concatenate(columns.pop(0)) for _ in range(4))
        return whole.commits_by_owner(group, partition, ended_ns, offset)

    def parts(self) -> Iterator[Part]:
        """Yield the parts in the order of time."""
        plan = self._run.plan
        rows = _Sections(self._rows[:, at.O_EVENT], self._room.give_back)
        world = self._played.system.world
        logs = []
        for place in range(self._played.builder.users):
            first, end = self._played.extent(place)
            logs.append((first, _Sections(world.log[place, first:end, at.L_EVENT], self._room.give_back)))
        for first in range(0, max(1, len(plan)), self._at_once):
            end = min(first + self._at_once, len(plan))
            until_ns = int(plan.intended_ns[end]) if end < len(plan) else NEVER
            yield Part(self._books(first, end, rows, logs), until_ns)

    def _books(self, first: int, end: int, rows: "_Sections", logs: list[tuple[int, "_Sections"]]) -> Books:
        operations = self._operations(first, end, rows)
        self._room.give_back()
        run = replace(
            self._run,
            plan=stretch(self._run.plan, first, end),
            operations=operations,
            log=self._log(first, end, logs),
            incidents=(),
        )
        self._room.give_back()
        return Books(run, self._whole, first)

    def _operations(self, first: int, end: int, rows: "_Sections") -> NDArray[np.void]:
        """Return the operations of some events in the order of their start."""
        played, world, count = self._played, self._played.system.world, len(self._run.plan)
        again = world.event[count : int(world.scalars[at.SENDINGS])]
        again = again[(again[:, at.IDENTITY] >= first) & (again[:, at.IDENTITY] < end)]
        sent = np.concatenate([world.event[first:end], again])
        sent = sent[sent[:, at.CALLED_NS] != NONE]
        numbers = rows.about(first, end)
        done = self._rows[numbers[self._rows[numbers, at.O_VALID] == 1]]
        events = played.planned_events(first, end)
        found = joined([played.sends(sent, events), played.members_rows(done, events)])
        return taken(found, order_of(found))

    def _log(self, first: int, end: int, logs: list[tuple[int, "_Sections"]]) -> NDArray[np.void]:
        """Return the records of some events in the order of topic, partition and offset."""
        found = [
            self._played.records(place, begin + sections.about(first, end))
            for place, (begin, sections) in enumerate(logs)
        ]
        log = np.concatenate(found)
        log["event_id"] -= first
        return log

    def _give_back(self, first: int) -> None:
        if first // _SECTION % _RELEASE_EVERY == _RELEASE_EVERY - 1:
            self._room.give_back()


class _Sections:
    """Rows in sections, with the first and the last event that each is about, so that those of some events are found quickly."""

    def __init__(self, event: Ints, give_back: Callable[[], None]) -> None:
        self._event = event
        spans = []
        for number, first in enumerate(range(0, len(event), _SECTION)):
            known = event[first : first + _SECTION]
            known = known[known != NONE]
            spans.append((int(known.min()), int(known.max())) if len(known) else (NEVER, NONE))
            if number % _RELEASE_EVERY == _RELEASE_EVERY - 1:
                give_back()
        self._lows, self._highs = np.asarray(spans, np.int64).reshape(-1, 2).T

    def about(self, first: int, end: int) -> NDArray[np.intp]:
        """Return the numbers of the rows that are about events from `first` to before `end`."""
        found = [np.zeros(0, np.intp)]
        for number in np.flatnonzero((self._highs >= first) & (self._lows < end)).tolist():
            event = self._event[number * _SECTION : (number + 1) * _SECTION]
            found.append(number * _SECTION + np.flatnonzero((event >= first) & (event < end)))
        return np.concatenate(found)
