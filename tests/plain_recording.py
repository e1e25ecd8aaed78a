"""What the plain model records: rows, incidents, the log, and what the end of a run waits for."""

from collections import Counter
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from plain_brokers import Partition, Record
from rundata.rows import LOG_RECORD, NEVER, NONE, Kind, Outcome, new_operations
from rundata.tables import Extent, Incident, RunData
from rundata.transactions import settled


class Recording:
    """The part of a model that records."""

    fired: Counter[str]
    rows: list[dict[str, int]]
    incidents: list[Incident]
    over: bool
    open: set[Hashable]

    def incident(self, kind: str, where: str, detail: str = "") -> None:
        """Record something that happened."""
        if not self.over:
            self.incidents.append(Incident(self.clock.now, kind, where, detail))

    def row(self, kind: Kind, process: int, partition: Partition, **fields: int) -> None:
        """Record an operation."""
        if not self.over:
            where = {"topic": self.names.topics.index(partition.topic), "partition": partition.number}
            self.rows.append({"kind": kind, "process": process, **where, **fields})

    def acknowledged(self, process: int, event: int, partition: Partition, offset: int) -> None:
        """Record an answered send."""
        if self.is_open(event):
            self.open.discard(("send", event))
            times = {"started_ns": self.called[event], "ended_ns": self.clock.now}
            event_id = self.event_of(event)
            if (process := self.sent_for.get(event, process)) == NONE:
                return
            where = {"offset": offset, "transaction_id": self._transaction_of(event)}
            self.row(Kind.send, self.entity(process), partition, event_id=event_id, attempt=1, **where, **times)

    def _transaction_of(self, sending: int) -> int:
        transaction = self.transactions.of.get(sending)
        return NONE if transaction is None else transaction.number

    def is_open(self, event: int) -> bool:
        """Whether a send has neither been answered nor given up."""
        return ("send", event) in self.open

    def given_up(self, process: int, event: int, partition: Partition, outcome: Outcome) -> None:
        """Record a send whose time is over, or that the topic does not take."""
        self.open.discard(("send", event))
        times = {"started_ns": self.called[event], "ended_ns": self.clock.now}
        event_id = self.event_of(event)
        self.row(Kind.send, process, partition, event_id=event_id, attempt=1, outcome=outcome, **times)

    def refused(self, process: int, event: int, topic: str, number: int) -> None:
        """Record a send that the client did not take; without a key it has no partition."""
        self.open.discard(("send", event))
        if not self.over:
            times = {"started_ns": self.called[event], "ended_ns": self.clock.now}
            where = {"topic": self.names.topics.index(topic), "partition": number}
            self.rows.append(
                {"kind": Kind.send, "process": process, "event_id": self.event_of(event), "attempt": 1}
                | {"outcome": Outcome.failed}
                | where
                | times
            )

    def became_visible(self, partition: Partition, offset: int) -> None:
        """Let the end wait for the groups to end a record, instead of for the record."""
        self.open.discard(("record", partition, offset))
        for group in self.groups.values():
            if partition in group.partitions and not group.passes_over(partition, offset):
                self.open.add((group, partition, offset))

    def _run_data(self) -> RunData:
        log = self._log()
        operations = settled(self.operations(), log)
        order = np.lexsort([operations[name] for name in ("process", "event_id", "kind", "started_ns")])
        return RunData(
            plan=self.plan,
            engine="simulated",
            operations=operations[order],
            log=log,
            extents=self._extents(),
            incidents=tuple(self.incidents),
            end_ns=self.clock.now,
        )

    def operations(self) -> NDArray[np.void]:
        """Return what is recorded by now."""
        unanswered = [
            {"kind": Kind.send, "process": self.entity(self.sent_for.get(event, client.code))}
            | {"event_id": self.event_of(event), "attempt": 1}
            | {"topic": self.names.topics.index(client.partitions[0].topic), "partition": self._chosen_for(event)}
            | {"started_ns": self.called[event], "ended_ns": NEVER, "outcome": Outcome.unknown}
            | {"transaction_id": self._transaction_of(event)}
            for client in self.clients
            for event in client.events
            if event in self.called
            and self.sent_for.get(event) != NONE
            and (event in self.unheard or self.is_open(event) or client.is_uncommitted(event))
        ]
        rows = [self._with_offset(row) for row in self.rows] + unanswered
        operations = new_operations(len(rows))
        for operation, row in zip(operations, rows, strict=True):
            for name, value in row.items():
                operation[name] = value
        told = operations["event_id"] != NONE
        events = operations["event_id"][told]
        operations["intended_ns"][told] = [self._intended_ns(event) for event in events.tolist()]
        operations["root_id"][told] = self.derived.root_of(events)
        operations["cause_id"][told] = self.derived.cause_of(events)
        return operations

    def _intended_ns(self, event: int) -> int:
        """Return when an event was intended, an emitted one for the first time."""
        if event < len(self.plan):
            return int(self.plan.intended_ns[event])
        return min((at_ns for emitted, at_ns in self.sendings if emitted == event), default=NEVER)

    def _with_offset(self, row: dict[str, int]) -> dict[str, int]:
        """Return a row with an offset instead of a place in the log; a commit is one more than what it covers."""
        if "offset" not in row:
            return row
        partition = self.partitions[self.names.topics[row["topic"]]][row["partition"]]
        behind = row["kind"] == Kind.commit
        return {**row, "offset": partition.offset(row["offset"] - behind) + behind}

    def _chosen_for(self, event: int) -> int:
        return self.handed[event][1].number if event in self.handed else self.planned_number(event)

    def _extents(self) -> tuple[Extent, ...]:
        found = []
        for partition in (p for several in self.partitions.values() for p in several if p.replicas):
            appended = [record for record in partition.log if record.request.appended_ns <= self.clock.now]
            found.append(
                Extent(
                    partition.topic,
                    partition.number,
                    partition.offset(partition.start),
                    partition.offset(max(partition.start, len(appended))),
                )
            )
        return tuple(found)

    def _log(self) -> NDArray[np.void]:
        rows = [
            (
                partition.offset(offset),
                record.event,
                record.stamp_ns,
                partition.number,
                record.leader_epoch,
                code,
                _is_aborted(record),
                b"",
            )
            for code, topic in enumerate(self.names.topics)
            for partition in self.partitions[topic]
            for offset, record in enumerate(partition.log)
            if offset >= partition.start and not record.gone and record.request.appended_ns <= self.clock.now
        ]
        return np.array(rows, LOG_RECORD)


def _is_aborted(record: Record) -> bool:
    """Whether a reader of committed records does not see a record, now that the run is over."""
    return record.transaction is not None and record.transaction.state != "committed"
