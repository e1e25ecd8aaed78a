"""A run that is over, in parts: some events after others, each with all its operations and records."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books
from rundata.folding import Part
from rundata.pairs import Block, Made, Rows
from rundata.rows import NEVER, UNTIMED, Kind
from rundata.shards import stretch
from rundata.tables import RunData
from rundata.whole import Commits, Told, Whole
from scenarios.clients import is_compacted, may_expire
from scenarios.schema import Scenario
from sim import world as at
from sim.engine import Columns, Played
from sim.far import Far
from sim.world import NONE, Ints

PART_EVENTS, FAR_PART_EVENTS = 1 << 15, 1 << 13
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
        firsts = [*played.builder.first_place.tolist(), played.builder.users]
        self._own_places = firsts[len(played.plan.scenario.topics)]
        self._whole = Told(self._run, self._commits)

    @cached_property
    def frame(self) -> Books:
        """The books of the run without events."""
        return Books(replace(self._run, plan=stretch(self._run.plan, 0, 0)), self._whole)

    def _commits(self, whole: Whole) -> Commits:
        played = self._played
        self._room.give_back()
        columns: list[list[NDArray[Any]]] = [[np.zeros(0, dtype)] for dtype in (np.int32, np.int32, np.int64, np.int64)]
        for some in self._room.parts(len(self._rows)):
            rows = self._rows[some]
            own = np.flatnonzero(rows[:, at.O_KIND] == Kind.commit)
            own = own[(rows[own, at.O_VALID] == 1) & (rows[own, at.O_OUTCOME] == 0)]
            place = rows[:, at.O_PART][own]
            topic, number = played.topic_and_number(place)
            # A commit is one more than what it covers.
            offset = played.system.log_ends.offsets_of(place, rows[:, at.O_OFFSET][own] - 1) + 1
            told: tuple[NDArray[Any], ...] = (
                rows[:, at.O_GROUP][own].astype(np.int32),
                (whole.first_partition[topic] + number).astype(np.int32),
                rows[:, at.O_ENDED][own],
                offset,
            )
            for column, values in zip(columns, told, strict=True):
                column.append(values)
        group, partition, ended_ns, offset = (np.concatenate(columns.pop(0)) for _ in range(4))
        return whole.commits_by_owner(group, partition, ended_ns, offset)

    def parts(self) -> Iterator[Part]:
        """Yield the parts in the order of time."""
        plan = self._run.plan
        rows = _Sections(self._rows[:, at.O_EVENT], len(plan), self._room.give_back)
        world = self._played.system.world
        logs = []
        for place in range(self._played.builder.users):
            first, end = self._played.extent(place)
            logs.append((first, _Sections(world.log[place, first:end, at.L_EVENT], len(plan), self._room.give_back)))
        for first in range(0, max(1, len(plan)), self._at_once):
            end = min(first + self._at_once, len(plan))
            until_ns = int(plan.intended_ns[end]) if end < len(plan) else NEVER
            yield Part(self._books(first, end, rows, logs), until_ns)

    def _books(self, first: int, end: int, rows: "_Sections", logs: list[tuple[int, "_Sections"]]) -> Books:
        self._room.give_back()
        block = self._block(first, end, rows)
        self._room.give_back()
        run = replace(
            self._run,
            plan=stretch(self._run.plan, first, end),
            log=self._log(first, end, logs),
            incidents=(),
        )
        self._room.give_back()
        return _PlayedBooks(run, self._whole, first, block)

    def _block(self, first: int, end: int, rows: "_Sections") -> Block:
        """Return the operations of some events by kind, as columns: to make rows of them takes longer than all that is asked of those."""
        played, world, count = self._played, self._played.system.world, len(self._run.plan)
        again = world.event[count : int(world.scalars[at.SENDINGS])]
        again = again[(again[:, at.IDENTITY] >= first) & (again[:, at.IDENTITY] < end)]
        sent = np.concatenate([world.event[first:end], again]) if len(again) else world.event[first:end]
        called = sent[:, at.CALLED_NS] != NONE
        sent = sent if called.all() else sent[called]
        kinds: dict[Kind, Rows] = {
            Kind.send: _made(sent[:, at.IDENTITY] - first, played.told_of_sends(lambda number: sent[:, number]))
        }
        numbers = rows.about(first, end)
        kind = np.where(self._column(numbers, at.O_VALID) == 1, self._column(numbers, at.O_KIND), NONE)
        for each in (Kind.delivery, Kind.try_, Kind.skip, Kind.dead_letter, Kind.commit):
            of_kind = numbers[kind == each]
            if each == Kind.delivery:  # those of copies for retries are left out
                of_kind = of_kind[self._column(of_kind, at.O_PART) < self._own_places]
            column = partial(self._column, of_kind)
            kinds[each] = _made(column(at.O_EVENT) - first, played.told_of_members(column))
        return Block.made(kinds)

    def _column(self, numbers: NDArray[np.intp], which: int) -> Ints:
        column: Ints = self._rows[:, which][numbers]  # a third of the time of both at once
        return column

    def _log(self, first: int, end: int, logs: list[tuple[int, "_Sections"]]) -> NDArray[np.void]:
        """Return the records of some events in the order of topic, partition and offset."""
        numbers = [begin + sections.about(first, end) for begin, sections in logs]
        places = np.repeat(np.arange(len(logs)), [len(some) for some in numbers])
        log = self._played.records(places, np.concatenate(numbers))
        log["event_id"] -= first
        return log


def _made(event: Ints, columns: Columns) -> Rows:
    """Return rows about some events of a part, none of which was caused by another one."""
    return Made(len(event), {**columns, "event_id": lambda: event, "root_id": lambda: event})


class _PlayedBooks(Books):
    """The books of a part of a run whose operations are columns."""

    def __init__(self, run: RunData, whole: Whole, first_event: int, block: Block) -> None:
        super().__init__(run, whole, first_event)
        self.block = block

    @property
    def sent_to(self) -> tuple[Ints, Ints]:
        """Event and topic of each send and dead letter."""
        both = self.block.sends, self.block.dead_letters
        event, topic = (np.concatenate([rows[name] for rows in both]) for name in ("event_id", "topic"))
        return event, topic

    @property
    def handed_on(self) -> Ints:
        """Event of each try that is to be followed by another one."""
        tries = self.block.tries
        handed: Ints = tries["event_id"][tries["retry_due_ns"] != UNTIMED]
        return handed


class _Sections:
    """Rows in sections, with the first and the last event that each is about, so that those of some events are found quickly."""

    def __init__(self, event: Ints, events: int, give_back: Callable[[], None]) -> None:
        """Take the event of each row, NONE where it is about none, and how many events there are."""
        self._event, self._events, self._give_back = event, events, give_back

    @cached_property
    def _spans(self) -> tuple[Ints, Ints]:
        spans = []
        for number, first in enumerate(range(0, len(self._event), _SECTION)):
            known = self._event[first : first + _SECTION]
            known = known[known != NONE]
            spans.append((int(known.min()), int(known.max())) if len(known) else (NEVER, NONE))
            if number % _RELEASE_EVERY == _RELEASE_EVERY - 1:
                self._give_back()
        lows, highs = np.asarray(spans, np.int64).reshape(-1, 2).T
        return lows, highs

    def about(self, first: int, end: int) -> NDArray[np.intp]:
        """Return the numbers of the rows that are about events from `first` to before `end`."""
        if (first, end) == (0, self._events):
            return np.flatnonzero(self._event != NONE)
        lows, highs = self._spans
        found = [np.zeros(0, np.intp)]
        for number in np.flatnonzero((highs >= first) & (lows < end)).tolist():
            event = self._event[number * _SECTION : (number + 1) * _SECTION]
            found.append(number * _SECTION + np.flatnonzero((event >= first) & (event < end)))
        return np.concatenate(found)
