"""A member's rows: what each operation puts into the row log, given the record that it is about."""

from dataclasses import dataclass

from loadgen.child import Child
from rundata.row_log import RowLog
from rundata.rows import MOST_ATTEMPTS, NONE, UNTIMED, Kind, Outcome


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


class MemberRows:
    """Appends rows; times are instants from the start of the run."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        codes = spec["codes"]
        self._append = RowLog.create(spec["rows"], spec["capacity"]).append
        self._process: int = codes["process"]
        self._group: int = codes["group"]
        self._topics: dict[str, int] = codes["topics"]
        self._types: list[int] = codes["event_type_of_producer"]
        self._key = child.array("key")
        self._producer = child.array("producer")

    def delivery(self, event: Event, poll_id: int, at_ns: int) -> None:
        """Record that a poll handed the event over."""
        self._event(event, poll_id, 0, at_ns, at_ns, Kind.delivery, Outcome.ok)

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
        number = event.event_id
        self._append(
            number, event.root_id, NONE, self._key[number], event.offset, poll_id, NONE, due_ns, event.intended_ns, began_ns, ended_ns,
            NONE, event.partition, attempt, 0, 1, self._types[self._producer[number]], self._process, self._group, self._topics[event.topic],
            0, kind, outcome,
        )  # fmt: skip

    def dead_lettered(
        self, event: Event, poll_id: int, attempt: int, began_ns: int, ended_ns: int, where: tuple[str, int, int], error: int, outcome: Outcome
    ) -> None:  # fmt: skip
        """Record a dead letter with its own topic, partition and offset."""
        number = event.event_id
        topic, partition, offset = where
        self._append(
            number, event.root_id, NONE, self._key[number], offset, poll_id, NONE, UNTIMED, event.intended_ns, began_ns, ended_ns, NONE,
            partition, attempt, 0, 1, self._types[self._producer[number]], self._process, self._group, self._topics[topic], error,
            Kind.dead_letter, outcome,
        )  # fmt: skip

    def committed(self, topic: str, partition: int, offset: int, began_ns: int, ended_ns: int, error: int) -> None:
        """Record the commit of a partition's offset."""
        self._append(
            NONE, NONE, NONE, NONE, offset, NONE, NONE, UNTIMED, 0, began_ns, ended_ns, NONE, partition, 0, 0, 1, 0,
            self._process, self._group, self._topics[topic], error, Kind.commit, Outcome.failed if error else Outcome.ok,
        )  # fmt: skip
