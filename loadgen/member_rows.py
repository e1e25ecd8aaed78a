"""A member's rows: what each operation puts into the row log, given the record that it is about."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loadgen.child import Child
from loadgen.member_lookup import Lookup
from loadgen.records import PoisonError, decode
from rundata.row_log import RowLog
from rundata.rows import MOST_ATTEMPTS, NONE, OPERATION, UNTIMED, Kind, Outcome, new_operations

if TYPE_CHECKING:
    from loadgen.member_batch import Batch
    from loadgen.member_outbox import Stored


@dataclass(frozen=True, slots=True)
class Event:
    """One record that a poll handed over, with what it says about itself."""

    event_id: int
    root_id: int
    intended_ns: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    attempt: int = 1
    """The number of its next try: that of a copy in a retry topic goes on counting."""
    due_ns: int = 0
    """When that try is due, from the start of the run."""
    copy_of: str = ""
    """Of a copy in a retry topic: topic/partition/offset where the event was first read."""
    poison: bool | None = None
    """Whether no handler can ever process it; None where its value tells."""
    headers: tuple[tuple[str, bytes], ...] = ()
    """Those that are about the event, and go with it to whatever topic it is handed on to."""
    delivery: int = 1
    """How often it has been delivered, where the brokers count that: in a share group."""

    @property
    def is_poison(self) -> bool:
        """Whether no handler can ever process it."""
        if self.poison is not None:
            return self.poison
        try:
            decode(self.value)
        except PoisonError:
            return True
        return False

    @property
    def origin(self) -> str:
        """Topic/partition/offset where the event was first read."""
        return self.copy_of or f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def first_topic(self) -> str:
        """The topic where the event was first read."""
        return self.origin.rsplit("/", 2)[0]


class MemberRows:
    """Appends rows; times are instants from the start of the run."""

    def __init__(self, child: Child, lookup: Lookup) -> None:
        spec = child.spec
        codes = spec["codes"]
        log = RowLog.create(spec["rows"], spec["capacity"])
        self._append, self._extend = log.append, log.extend
        self._process: int = codes["process"]
        self._group: int = codes["group"]
        self._topics: dict[str, int] = codes["topics"]
        self._lookup = lookup
        self.transaction = NONE
        """The transaction under way, which tries, sends and commits belong to."""
        empty = new_operations(1)
        empty["process"], empty["group"] = self._process, self._group
        self._empty = empty.view(np.int64)
        self._delivered: tuple[Batch, NDArray[np.void]] | None = None
        """The batch that a poll handed over last, and its rows: effects have most of them in common."""

    def deliveries(self, batch: "Batch", poll_id: int, at_ns: int) -> None:
        """Record that a poll handed these events over."""
        rows = self._rows(batch, poll_id)
        rows["kind"] = Kind.delivery
        rows["started_ns"] = rows["ended_ns"] = at_ns
        self._extend(rows)
        self._delivered = (batch, rows)

    def effects(self, batch: "Batch", first: int, end: int, poll_id: int, at_ns: int) -> None:
        """Record that first tries of some of these events, which need no time, worked."""
        known = self._delivered is not None and self._delivered[0] is batch
        rows = (self._delivered[1] if self._delivered and known else self._rows(batch, poll_id))[first:end].copy()
        rows["kind"], rows["attempt"], rows["transaction_id"] = Kind.try_, 1, self.transaction
        rows["started_ns"] = rows["ended_ns"] = at_ns
        self._extend(rows)

    def _rows(self, batch: "Batch", poll_id: int) -> NDArray[np.void]:
        event = batch.event_id
        words = np.empty((len(event), len(self._empty)), np.int64)
        words[:] = self._empty  # as words, since NumPy copies rows field by field
        rows: NDArray[np.void] = words.view(OPERATION).reshape(-1)
        rows["event_id"], rows["root_id"] = event, batch.root_id
        rows["key"], rows["intended_ns"] = self._lookup.keys(event), batch.intended_ns
        rows["offset"], rows["partition"], rows["topic"] = batch.offset, batch.partition, batch.topic
        rows["event_type"] = self._lookup.types(event)
        rows["poll_id"] = poll_id
        return rows

    def tried(
        self, event: Event, poll_id: int, attempt: int, began_ns: int, ended_ns: int, due_ns: int | None, ok: bool
    ) -> None:
        """Record a handler's try; `due_ns` is when a failed one is due again."""
        outcome, attempt = Outcome.ok if ok else Outcome.failed, min(attempt, MOST_ATTEMPTS)
        self._event(
            event, poll_id, attempt, began_ns, ended_ns, Kind.try_, outcome, UNTIMED if due_ns is None else due_ns
        )

    def skipped(self, event: Event, poll_id: int, attempt: int, at_ns: int) -> None:
        """Record that the handler gave the event up."""
        self._event(event, poll_id, attempt, at_ns, at_ns, Kind.skip, Outcome.ok)

    def _event(
        self, event: Event, poll_id: int, attempt: int, began_ns: int, ended_ns: int, kind: Kind, outcome: Outcome, due_ns: int = UNTIMED
    ) -> None:  # fmt: skip
        facts = self._lookup.facts(event.event_id)
        transaction = self.transaction if kind == Kind.try_ else NONE
        self._append(
            event.event_id, event.root_id, NONE, facts.key, event.offset, poll_id, transaction, due_ns, event.intended_ns, began_ns, ended_ns,
            NONE, event.partition, attempt, 0, 1, facts.event_type, self._process, self._group, self._topics[event.topic],
            0, kind, outcome,
        )  # fmt: skip

    def sent(
        self, child: int, cause: Event, topic: str, partition: int, offset: int, intended_ns: int, began_ns: int, ended_ns: int,
        transaction: int, error: int, outcome: Outcome,
    ) -> None:  # fmt: skip
        """Record an event that an effect emitted, and what became of its send."""
        facts = self._lookup.facts(child)
        self._append(
            child, cause.root_id, cause.event_id, facts.key, offset, NONE, transaction, UNTIMED, intended_ns, began_ns, ended_ns,
            NONE, partition, 1, 0, 1, facts.event_type, self._process, self._group, self._topics[topic], error, Kind.send, outcome,
        )  # fmt: skip

    def relayed(
        self, stored: "Stored", topic: str, partition: int, offset: int, began_ns: int, ended_ns: int, error: int, outcome: Outcome
    ) -> None:  # fmt: skip
        """Record an event that a relay sent for the member that had stored it, and what became of its send."""
        facts = self._lookup.facts(stored.child)
        self._append(
            stored.child, stored.root, stored.cause, facts.key, offset, NONE, NONE, UNTIMED, stored.effect_ns, began_ns, ended_ns,
            NONE, partition, 1, 0, 1, facts.event_type, stored.process, self._group, self._topics[topic], error, Kind.send, outcome,
        )  # fmt: skip

    def dead_lettered(
        self, event: Event, poll_id: int, attempt: int, began_ns: int, ended_ns: int, where: tuple[str, int, int], error: int, outcome: Outcome
    ) -> None:  # fmt: skip
        """Record a dead letter with its own topic, partition and offset."""
        facts = self._lookup.facts(event.event_id)
        topic, partition, offset = where
        self._append(
            event.event_id, event.root_id, NONE, facts.key, offset, poll_id, NONE, UNTIMED, event.intended_ns, began_ns, ended_ns, NONE,
            partition, attempt, 0, 1, facts.event_type, self._process, self._group, self._topics[topic], error,
            Kind.dead_letter, outcome,
        )  # fmt: skip

    def committed(
        self, topic: str, partition: int, offset: int, began_ns: int, ended_ns: int, error: int, outcome: Outcome | None = None
    ) -> None:  # fmt: skip
        """Record the commit of a partition's offset; without `outcome` an error says that it failed."""
        if outcome is None:
            outcome = Outcome.failed if error else Outcome.ok
        self._append(
            NONE, NONE, NONE, NONE, offset, NONE, self.transaction, UNTIMED, 0, began_ns, ended_ns, NONE, partition, 0, 0, 1, 0,
            self._process, self._group, self._topics[topic], error, Kind.commit, outcome,
        )  # fmt: skip
