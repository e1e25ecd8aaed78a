"""The bookkeeping of one run: each pair (event, group) with its acknowledgement, first delivery, first effect and single end.

Computed once per run and shared by all indicators and checks. Of a run that is too large for memory, the checks make books of a part at
a time (`rundata.shards`).
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rundata.chains import with_emitted
from rundata.operations import arranged, in_order
from rundata.pairs import NO_END, Block, HandlingTally, SendTally
from rundata.rows import NEVER, NONE, UNTIMED, Kind
from rundata.tables import RunData
from rundata.whole import Whole
from scenarios.plan import NO_KEY, Plan
from scenarios.schema import Scenario

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
T = TypeVar("T")
_KEPT = "_books"


class End(IntEnum):
    """How a pair ended; the first that applies."""

    effect = 0
    dead_lettered = 1
    skipped = 2
    expired = 3
    passed = 4
    lost = 5
    refused = 6
    pending = 7


class EarliestEffects:
    """By line of events that should take effect in order: the earliest first effect of the events seen so far."""

    def __init__(self) -> None:
        self._lines: Ints = np.zeros(0, np.int64)
        self._effect_ns: Ints = np.zeros(0, np.int64)

    def of(self, lines: Ints) -> Ints:
        """Return the earliest of each line, NEVER where there is none."""
        place = np.searchsorted(self._lines, lines)
        known = np.append(self._lines, NONE)[place] == lines
        return np.where(known, np.append(self._effect_ns, NEVER)[place], NEVER)

    def take(self, lines: Ints, effect_ns: Ints) -> None:
        """Add first effects."""
        lines, effects = np.concatenate([self._lines, lines]), np.concatenate([self._effect_ns, effect_ns])
        order = np.lexsort((effects, lines))
        lines, effects = lines[order], effects[order]
        first = np.diff(lines, prepend=NONE) != 0
        self._lines, self._effect_ns = lines[first], effects[first]


@dataclass(frozen=True, eq=False)
class Records:
    """Records of plan events that are in the log or were before retention took them: event, partition (numbered over all topics), offset."""

    event: Ints
    partition: Ints
    offset: Ints


class Books:
    """What became of each event and pair of a run."""

    def __init__(
        self,
        run: RunData,
        whole: Whole | None = None,
        first_event: int = 0,
        earlier_effects: EarliestEffects | None = None,
    ) -> None:
        """Keep the books of a run, or of a part of one: `whole` then tells of all of it, and `first_event` is the part's first one there."""
        if whole is None:
            run = with_emitted(run)
        self.run = run
        self.whole = whole or Whole(run)
        self.first_event = first_event
        self.plan: Plan = run.plan
        self.scenario: Scenario = run.plan.scenario
        self.events = len(run.plan)
        self.groups = run.names.groups
        self.audited = bool(run.extents)
        """Whether the topics were read back at the end; without that nothing is known to be lost."""
        self.end_ns = run.end_ns
        self.earlier_effects = earlier_effects
        """Of a part of a run: what is known of the first effects of later events."""
        self._kept: dict[Hashable, Any] = {}

    @cached_property
    def block(self) -> Block:
        """The operations by kind."""
        rows = self.run.operations if in_order(self.run.operations) else arranged(self.run.operations)
        return Block(rows, self.events, len(self.scenario.topics))

    @cached_property
    def sends(self) -> SendTally:
        """What became of the sends of each event."""
        return SendTally.of(self.block, self.events)

    @cached_property
    def handling(self) -> HandlingTally:
        """What each group did with each event."""
        return HandlingTally(len(self.groups), self.events).take(self.block)

    @property
    def sent_to(self) -> tuple[Ints, Ints]:
        """Event and topic of each send and dead letter, whatever event they are about."""
        rows = self.run.operations
        sent = (rows["kind"] == Kind.send) | (rows["kind"] == Kind.dead_letter)
        return rows["event_id"][sent], rows["topic"][sent].astype(np.int64)

    @property
    def handed_on(self) -> Ints:
        """Event of each try that is to be followed by another one."""
        rows = self.run.operations
        handed: Ints = rows["event_id"][(rows["kind"] == Kind.try_) & (rows["retry_due_ns"] != UNTIMED)]
        return handed

    @classmethod
    def of(cls, run: RunData) -> "Books":
        """Return the run's books; they are made once."""
        kept = vars(run)
        if _KEPT not in kept:
            kept[_KEPT] = cls(run)
        books: Books = kept[_KEPT]
        return books

    def once(self, key: Hashable, make: "Callable[[], T]") -> "T":
        """Return what `make` returned when it was first asked for under this key."""
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept

    def forget(self) -> None:
        """Let go of everything: what books hold is a ring of references, which would stay in memory until somebody looks for such."""
        vars(self).clear()

    # ---- events -------------------------------------------------------------------------------------------------

    @cached_property
    def measured(self) -> Bools:
        """Which events were intended in the measured part."""
        intended = self.plan.intended_ns
        inside: Bools = (intended >= self.scenario.warm_up) & (intended < self.scenario.duration)
        return inside

    @property
    def first_partition(self) -> Ints:
        """Number of each topic's partition 0 when all partitions are numbered in file order; the last entry is their count."""
        return self.whole.first_partition

    def partition_name(self, number: int) -> str:
        """Return `orders/0` for a partition's number."""
        topic = int(np.searchsorted(self.first_partition, number, side="right")) - 1
        return f"{self.run.names.topics[topic]}/{number - self.first_partition[topic]}"

    @cached_property
    def acked(self) -> Bools:
        """Which events were acknowledged (with acks 0: sent)."""
        acked: Bools = self.sends.acked_ns != NEVER
        return acked

    @cached_property
    def partition(self) -> Ints:
        """Partition of each event, numbered over all topics: the one it was sent to, the plan's, or NONE where none was chosen."""
        own = np.where(self.sends.partition >= 0, self.sends.partition, self.plan.partition)
        missing = own < 0
        if missing.any() and len(self.logged.event):
            at = np.full(self.events, NONE, np.int64)
            at[self.logged.event] = self.logged.partition - self.first_partition[self.plan.topic[self.logged.event]]
            own = np.where(missing, at, own)
        return np.where(own >= 0, own + self.first_partition[self.plan.topic], NONE)

    @cached_property
    def logged(self) -> Records:
        """Records of plan events that the audit found in their own topic, aborted ones apart."""
        log = self.run.log
        event = log["event_id"]
        mine = (event >= 0) & (event < self.events) & (log["aborted"] == 0)
        mine[mine] &= log["topic"][mine] == self.plan.topic[event[mine]]
        partition = self.first_partition[log["topic"][mine]] + log["partition"][mine]
        return Records(event[mine], partition, log["offset"][mine])

    @cached_property
    def in_log(self) -> Bools:
        """Which events the audit found."""
        found = np.zeros(self.events, np.bool_)
        found[self.logged.event] = True
        return found

    @cached_property
    def first_offset(self) -> Ints:
        """First offset that each partition still held at the end."""
        first = np.zeros(int(self.first_partition[-1]), np.int64)
        for extent in self.run.extents:
            first[self.first_partition[self.run.names.topics.index(extent.topic)] + extent.partition] = extent.first
        return first

    @cached_property
    def offset(self) -> Ints:
        """Where each event was appended, as its acknowledgement or else a delivery says; NEVER where nobody knows."""
        offset = self.sends.position.copy()
        if self.first_offset.any():
            unknown = np.full(self.events, NEVER, np.int64)
            np.minimum.at(unknown, self.block.deliveries["event_id"], self.block.deliveries["offset"])
            offset = np.where(offset == NEVER, unknown, offset)
        return offset

    @cached_property
    def taken(self) -> Bools:
        """Which events retention, deletion or compaction took from the log before the audit."""
        gone = self._compacted()
        if not self.first_offset.any():
            return gone
        first = np.where(self.partition >= 0, self.first_offset[self.partition], 0)
        known = self.offset != NEVER
        gone |= ~self.in_log & known & (self.offset < first)
        # Without an offset (acks 0) the time tells: older than the oldest record that is left.
        oldest = self.whole.oldest_left_ns
        before = self.sends.acked_ns < np.where(self.partition >= 0, oldest[self.partition], 0)
        gone |= ~self.in_log & ~known & self.acked & (first > 0) & before
        return gone

    def _compacted(self) -> Bools:
        """Return which acknowledged events of compacted topics gave way to a later record of their key."""
        plan, whole = self.plan, self.whole
        gone = np.zeros(self.events, np.bool_)
        if whole.compacted.any():
            keyed = np.flatnonzero(whole.compacted[plan.topic] & (plan.key != NO_KEY))
            latest = whole.latest_of_key[whole.key_of(plan.producer[keyed], plan.key[keyed])]
            gone[keyed] = (latest > self.first_event + keyed) & ~self.in_log[keyed] & self.acked[keyed]
        return gone

    @cached_property
    def lost(self) -> Bools:
        """Which events were acknowledged and are not in the log, retention and deletion apart."""
        return self.acked & ~self.in_log & ~self.taken if self.audited else np.zeros(self.events, np.bool_)

    @cached_property
    def refused(self) -> Bools:
        """Which events were neither acknowledged nor in the log, whatever the reason."""
        if self.audited:
            return ~self.acked & ~self.in_log & ~self.taken
        closed: Bools = (self.sends.closed_ns != NEVER) & (self.sends.closed_ns != NO_END)
        return ~self.acked & closed & ~self.sends.unknown

    @cached_property
    def unknown(self) -> Bools:
        """Which events were sent and their outcome was never learned."""
        return ~self.acked & self.sends.unknown

    @cached_property
    def records(self) -> Records:
        """Records of plan events that are or were in the log; without an audit those that were acknowledged."""
        apart = self.taken & (self.offset != NEVER) if self.audited else self.sends.position != NEVER
        extra = np.flatnonzero(apart)
        return Records(
            np.concatenate([self.logged.event, extra]),
            np.concatenate([self.logged.partition, self.partition[extra]]),
            np.concatenate([self.logged.offset, self.offset[extra]]),
        )

    @cached_property
    def records_in_order(self) -> Records:
        """The same by partition and offset."""
        records = self.records
        order = np.lexsort((records.offset, records.partition))
        return Records(records.event[order], records.partition[order], records.offset[order])

    # ---- commits ------------------------------------------------------------------------------------------------

    @property
    def commits(self) -> dict[tuple[int, int], tuple[Ints, Ints]]:
        """By group and partition: when each commit ended, and its offset; in the order of time."""
        return self.whole.commits

    def committed(self, group: int) -> Ints:
        """Return the group's last committed offset of each partition; 0 where it never committed."""
        last = np.zeros(int(self.first_partition[-1]), np.int64)
        for (owner, partition), (_, offset) in self.commits.items():
            if owner == group:
                last[partition] = offset[-1]
        return last

    def committed_beyond_ns(self, group: int, partition: Ints, offset: Ints) -> Ints:
        """Return when the group first committed beyond each record; NEVER where it did not."""
        times = np.full(len(partition), NEVER, np.int64)
        for (owner, number), (ended, committed) in self.commits.items():
            if owner != group:
                continue
            mine = np.flatnonzero(partition == number)
            highest = np.maximum.accumulate(committed)
            first = np.searchsorted(highest, offset[mine], side="right")
            times[mine] = np.append(ended, NEVER)[first]
        return times

    # ---- pairs --------------------------------------------------------------------------------------------------

    @cached_property
    def pairs(self) -> "Pairs":
        """Every event with each group that should handle it, warm-up included."""
        return Pairs(self)


class Pairs:
    """Arrays with one entry per pair, group after group, events in the order of the plan."""

    def __init__(self, books: Books) -> None:
        plan, handling = books.plan, books.handling
        topics = {name: code for code, name in enumerate(plan.topics)}
        reads = [
            np.flatnonzero(np.isin(plan.topic, [topics[topic] for topic in books.scenario.groups[group].topics]))
            for group in books.groups
        ]
        self.books = books
        self.event: Ints = np.concatenate(reads) if reads else np.zeros(0, np.int64)
        self.group: Ints = np.repeat(np.arange(len(reads)), [len(events) for events in reads])
        flat = self.group * books.events + self.event
        self.flat: Ints = flat
        self._is_each_event = len(reads) == 1 and len(self.event) == books.events
        """Whether the pairs are the events, one for each."""
        self.intended_ns: Ints = self._of_events(plan.intended_ns)
        self.measured: Bools = self._of_events(books.measured)
        self.acked_ns: Ints = self._of_events(books.sends.acked_ns)
        self.delivered_ns: Ints = self._of_pairs(handling.delivered_ns)
        self.effect_ns: Ints = self._of_pairs(handling.effect_ns)
        self.partition: Ints = self._of_events(books.partition)
        self.topic: Ints = self._of_events(plan.topic).astype(np.int64)
        self.end, self.end_ns = self._ends()

    def count(self, name: str) -> Ints:
        """Return a count of the handling tally by pair."""
        counts: Ints = getattr(self.books.handling, name)
        return self._of_pairs(counts)

    def _of_events(self, column: NDArray[Any]) -> NDArray[Any]:
        return column if self._is_each_event else column[self.event]

    def _of_pairs(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return what a table by group and event says of each pair."""
        if table.size and not any(table.strides):
            return np.broadcast_to(table[0, 0], len(self.event))  # one value for all
        return table.reshape(-1) if self._is_each_event else table.reshape(-1)[self.flat]

    @cached_property
    def handed_on_ns(self) -> Ints:
        """When each pair's group handed its event on to a retry topic, so that what it commits says nothing of it; NEVER where it did not."""
        books = self.books
        by_topic = [
            failures is not None and failures.retry.where == "topic"
            for failures in (books.scenario.groups[group].failures for group in books.groups)
        ]
        if not any(by_topic):
            return np.full(len(self.event), NEVER, np.int64)
        failed_ns = books.handling.failed_ns.reshape(-1)[self.flat]
        return np.where(np.asarray(by_topic, np.bool_)[self.group], failed_ns, NEVER)

    def _ends(self) -> tuple[NDArray[np.int8], Ints]:
        """Return how each pair ended, and when; NEVER for those that are pending, lost or refused."""
        books, handling = self.books, self.books.handling
        if (self.effect_ns != NEVER).all():
            return np.full(len(self.event), End.effect, np.int8), self.effect_ns
        passed, beyond_ns = self._passed()
        passed &= self.handed_on_ns == NEVER
        dead_ns = self._dead_ns().reshape(-1)[self.flat]
        skipped_ns = handling.skipped_ns.reshape(-1)[self.flat]
        taken = books.taken[self.event]
        conditions = [
            self.effect_ns != NEVER,
            dead_ns != NEVER,
            skipped_ns != NEVER,
            taken & (self.delivered_ns == NEVER),
            passed,
            books.lost[self.event],
            books.refused[self.event],
        ]
        end = np.select(conditions, [np.int8(e) for e in End][:-1], default=np.int8(End.pending)).astype(np.int8)
        times = [self.effect_ns, dead_ns, skipped_ns, beyond_ns, beyond_ns]
        return end, np.select(conditions[:5], times, default=NEVER)

    def _dead_ns(self) -> Ints:
        """Return when each pair's dead letter was acknowledged, or sent where only the audit knows that it arrived."""
        books, handling = self.books, self.books.handling
        times = handling.dead_ns
        unsure = (times == NEVER) & (handling.dead_tried_ns != NEVER)
        if not unsure.any():
            return times
        arrived = np.zeros(unsure.shape, np.bool_)
        for number, group in enumerate(books.groups):
            topic = books.scenario.groups[group].topic_of_dead_letters
            if topic is not None:
                log = books.run.log
                there = log["event_id"][(log["topic"] == books.plan.topics.index(topic)) & (log["event_id"] >= 0)]
                arrived[number, there[there < books.events]] = True
        return np.where(unsure & arrived, handling.dead_tried_ns, times)

    def _passed(self) -> tuple[Bools, Ints]:
        """Return which pairs' records all lie below the committed offset, and when the commit came to lie beyond them."""
        books = self.books
        records = books.records
        passed = np.zeros(len(self.event), np.bool_)
        beyond = np.full(len(self.event), NEVER, np.int64)
        copies = np.bincount(records.event, minlength=books.events)
        # Only pairs that nobody handled need it, and those are few.
        open_pair = np.flatnonzero((self.effect_ns == NEVER) & (copies[self.event] > 0))
        for group in range(len(books.groups)):
            mine = open_pair[self.group[open_pair] == group]
            if len(mine) == 0:
                continue
            asked = np.isin(records.event, self.event[mine])
            event, partition, offset = records.event[asked], records.partition[asked], records.offset[asked]
            below = books.committed(group)[partition] > offset
            covered = np.bincount(event[below], minlength=books.events)
            last = np.full(books.events, NO_END, np.int64)
            np.maximum.at(last, event, books.committed_beyond_ns(group, partition, offset))
            passed[mine] = covered[self.event[mine]] == copies[self.event[mine]]
            beyond[mine] = last[self.event[mine]]
        return passed, beyond

    @cached_property
    def key(self) -> Ints:
        """Number of each pair's key, NO_KEY without one."""
        key: Ints = self.books.plan.key[self.event]
        return key

    @cached_property
    def keyed(self) -> Bools:
        """Which pairs have a key."""
        keyed: Bools = self.key != NO_KEY
        return keyed
