"""Runs written down by hand: `Build` turns literal events and operations into RunData, for tests with literal numbers.

Times are seconds in the arguments, and nanoseconds in the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rundata.operations import arranged
from rundata.rows import LOG_RECORD, NEVER, NONE, Kind, Outcome, new_operations
from rundata.tables import Extent, FaultRecord, Gauge, Incident, Names, Phase, RunData
from scenarios.disturbances import NOT_AGAIN
from scenarios.occurrences import PlannedFault
from scenarios.plan import Plan
from scenarios.schema import Scenario

SCENARIO: Mapping[str, Any] = {
    "scenario": "by-hand",
    "duration": "10s",
    "drain": "10s",
    "brokers": {"kind": "kafka", "nodes": 3},
    "topics": {"orders": {"partitions": 2}, "orders.dlq": {}},
    "producers": {"shop": {"topic": "orders", "count": 2, "arrivals": "1/s", "key": {"uniform": 100}, "settings": {"acks": "all", "enable.idempotence": True}}},
    "groups": {
        "work": {
            "topics": ["orders"], "members": 2, "work": "1ms",
            "failures": {"retry": {"attempts": 2}, "then": "dead_letter", "dead_letter": "orders.dlq"},
        }
    },
}  # fmt: skip


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def scenario_with(changes: Mapping[str, Any] | None = None) -> Scenario:
    return Scenario.model_validate(_merged(SCENARIO, changes or {}))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return {key: value for key, value in merged.items() if value is not None}


@dataclass
class Build:
    """A run under construction; events are numbered in the order in which they are added, which is that of their times."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    end: float = 20.0
    events: list[dict[str, int]] = field(default_factory=list)
    rows: list[dict[str, int]] = field(default_factory=list)
    log: list[dict[str, int]] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    faults: list[FaultRecord] = field(default_factory=list)
    planned_faults: list[tuple[int, float, float]] = field(default_factory=list)
    firsts: dict[tuple[str, int], int] = field(default_factory=dict)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    audited: bool = True

    def __post_init__(self) -> None:
        self.scenario = scenario_with(self.changes)
        self.names = Names.of(self.scenario)

    # ---- what happens ---------------------------------------------------------------------------------------------

    def event(
        self, at: float, *, partition: int = 0, key: int | None = None, process: int = 1, producer: str = "shop"
    ) -> int:
        """Plan an event; keys default to one of its own."""
        number = len(self.events)
        self.events.append(
            {
                "intended_ns": ns(at),
                "producer": list(self.scenario.producers).index(producer),
                "process": process,
                "key": number if key is None else key,
                "partition": partition,
            }
        )
        return number

    def send(
        self,
        event: int,
        started: float | None = None,
        ended: float | None = None,
        *,
        offset: int | None = None,
        outcome: Outcome = Outcome.ok,
        partition: int | None = None,
        logged: bool = True,
        epoch: int = 0,
    ) -> int:
        """Send an event; by default at once, acknowledged 10 ms later, and appended as the partition's next record."""
        plan = self.events[event]
        started_ns = plan["intended_ns"] if started is None else ns(started)
        partition = plan["partition"] if partition is None else partition
        topic = list(self.scenario.producers.values())[plan["producer"]].topic
        if (outcome is Outcome.ok or offset is not None) and logged:
            offset = self.append(topic, partition, event, at=started_ns / 1e9, offset=offset, epoch=epoch)
        never = outcome is Outcome.unknown and ended is None
        ended_ns = NEVER if never else (started_ns + ns(0.01) if ended is None else ns(ended))
        process = f"{list(self.scenario.producers)[plan['producer']]}/{plan['process']}"
        shown = NONE if offset is None or outcome is not Outcome.ok else offset
        self._row(
            Kind.send, event, process, topic, partition, shown, started_ns, ended_ns, outcome=outcome, key=plan["key"]
        )
        return NONE if offset is None else offset

    def append(
        self,
        topic: str,
        partition: int,
        event: int,
        *,
        at: float = 0.0,
        offset: int | None = None,
        epoch: int = 0,
        aborted: bool = False,
    ) -> int:
        """Add a record to the log without anyone's having sent it."""
        code = self.names.topics.index(topic)
        if offset is None:
            taken = [r["offset"] for r in self.log if r["topic"] == code and r["partition"] == partition]
            offset = max(taken, default=-1) + 1
        self.log.append(
            {
                "topic": code,
                "partition": partition,
                "offset": offset,
                "event_id": event,
                "time_ns": ns(at),
                "leader_epoch": epoch,
                "aborted": int(aborted),
            }
        )
        return offset

    def deliver(
        self,
        event: int,
        at: float,
        *,
        group: str = "work",
        member: int = 1,
        offset: int | None = None,
        partition: int | None = None,
        epoch: int = 1,
        poll: int = 0,
    ) -> None:
        """Hand an event to a member, by default from the first offset at which the log has it."""
        where = next((r for r in self.log if r["event_id"] == event and r["topic"] == self._topic_of(event)), None)
        offset = offset if offset is not None else (where["offset"] if where else NONE)
        partition = partition if partition is not None else self.events[event]["partition"]
        if partition < 0 and where:
            partition = where["partition"]
        self._row(
            Kind.delivery, event, f"{group}/{member}", self.names.topics[self._topic_of(event)], partition, offset,
            ns(at), ns(at), group=group, epoch=epoch, poll=poll,
        )  # fmt: skip

    def try_(
        self,
        event: int,
        started: float,
        ended: float | None,
        *,
        group: str = "work",
        member: int = 1,
        ok: bool = True,
        attempt: int = 1,
    ) -> None:
        """Try to handle an event; without an end the member died in it."""
        outcome = Outcome.unknown if ended is None else Outcome.ok if ok else Outcome.failed
        ended_ns = NEVER if ended is None else ns(ended)
        topic = self.names.topics[self._topic_of(event)]
        self._row(
            Kind.try_, event, f"{group}/{member}", topic, self.events[event]["partition"], NONE, ns(started), ended_ns,
            group=group, outcome=outcome, attempt=attempt,
        )  # fmt: skip

    def handle(
        self, event: int, delivered: float, effect: float, *, group: str = "work", member: int = 1, **where: Any
    ) -> None:
        """Deliver an event and have it take effect."""
        self.deliver(event, delivered, group=group, member=member, **where)
        self.try_(event, delivered, effect, group=group, member=member)

    def skip(self, event: int, at: float, *, group: str = "work", member: int = 1) -> None:
        topic = self.names.topics[self._topic_of(event)]
        self._row(
            Kind.skip,
            event,
            f"{group}/{member}",
            topic,
            self.events[event]["partition"],
            NONE,
            ns(at),
            ns(at),
            group=group,
        )

    def dead_letter(
        self,
        event: int,
        started: float,
        ended: float | None,
        *,
        group: str = "work",
        member: int = 1,
        logged: bool = True,
    ) -> None:
        """Send an event to the dead-letter topic; without an end nobody knows whether it arrived."""
        offset = self.append("orders.dlq", 0, event, at=started) if logged else 0
        outcome = Outcome.unknown if ended is None else Outcome.ok
        self._row(
            Kind.dead_letter, event, f"{group}/{member}", "orders.dlq", 0, offset, ns(started),
            NEVER if ended is None else ns(ended), group=group, outcome=outcome,
        )  # fmt: skip

    def commit(
        self,
        offset: int,
        at: float,
        *,
        partition: int = 0,
        group: str = "work",
        member: int = 1,
        topic: str = "orders",
        started: float | None = None,
    ) -> None:
        begin = ns(at if started is None else started)
        self._row(Kind.commit, NONE, f"{group}/{member}", topic, partition, offset, begin, ns(at), group=group)

    def fault(self, begin: float, end: float, *, index: int = 0, proof: str = "seen") -> None:
        """Let the scenario's nth fault happen from `begin` to `end`."""
        fault = self.scenario.faults[index]
        self.planned_faults.append((index, begin, end))
        self.faults.append(
            FaultRecord(fault.label, fault.kind, "target", ns(begin), ns(end), ns(begin), ns(end), proof)
        )

    def incident(self, at: float, kind: str, where: str, detail: str = "", cause: str = "") -> None:
        self.incidents.append(Incident(ns(at), kind, where, detail, cause))

    def flow(self, at: float, *, partition: int = 0, latency: float = 0.1, commit: bool = True, **event: Any) -> int:
        """Plan, send, deliver, handle and commit one event, as everything should go; the effect comes `latency` later."""
        number = self.event(at, partition=partition, **event)
        offset = self.send(number)
        for group, settings in self.scenario.groups.items():
            if (
                self.scenario.producers[list(self.scenario.producers)[self.events[number]["producer"]]].topic
                in settings.topics
            ):
                self.handle(number, at + latency / 2, at + latency, group=group)
                if commit:
                    self.commit(offset + 1, at + latency + 0.01, partition=partition, group=group)
        return number

    # ---- the result -----------------------------------------------------------------------------------------------

    def run(self, *, engine: Any = "simulated", about: Mapping[str, Any] | None = None) -> RunData:
        rows = new_operations(len(self.rows))
        for number, row in enumerate(self.rows):
            for name, value in row.items():
                rows[name][number] = value
        log = np.zeros(len(self.log), LOG_RECORD)
        for number, record in enumerate(sorted(self.log, key=lambda r: (r["topic"], r["partition"], r["offset"]))):
            for name, value in record.items():
                log[name][number] = value
        duration, warm_up, end = self.scenario.duration, self.scenario.warm_up, ns(self.end)
        return RunData(
            plan=self._plan(),
            engine=engine,
            operations=arranged(rows),
            log=log if self.audited else log[:0],
            extents=self._extents() if self.audited else (),
            faults=tuple(self.faults),
            incidents=tuple(self.incidents),
            phases=(Phase("warm-up", 0, warm_up), Phase("measure", warm_up, duration), Phase("drain", duration, end)),
            gauges=(Gauge(0, "cpu_share", "shop/1", 0.25),),
            end_ns=end,
            about=about or {},
        )

    def _plan(self) -> Plan:
        column = {
            name: np.array([event[name] for event in self.events], np.int64)
            for name in ("intended_ns", "producer", "process", "key", "partition")
        }
        count = len(self.events)
        assert list(column["intended_ns"]) == sorted(column["intended_ns"]), (
            "events are added in the order of their times"
        )
        return Plan(
            scenario=self.scenario,
            seed=self.scenario.seed,
            replication=0,
            intended_ns=column["intended_ns"],
            producer=column["producer"].astype(np.int16),
            process=column["process"].astype(np.int16),
            key=column["key"],
            size_bytes=np.full(count, 100, np.int32),
            partition=column["partition"].astype(np.int32),
            poison=np.zeros(count, np.bool_),
            work_ns={group: np.full(count, ns(0.001)) for group in self.scenario.groups},
            failing_tries={group: np.zeros(count, np.int16) for group in self.scenario.groups},
            faults=tuple(
                PlannedFault(self.scenario.faults[i].label, self.scenario.faults[i], ns(a), ns(b), i)
                for i, a, b in self.planned_faults
            ),
            late_ns=np.zeros(count, np.int64),
            again_ns=np.full(count, NOT_AGAIN, np.int64),
            schema_version=np.ones(count, np.int16),
            undecodable={group: np.zeros(count, np.bool_) for group in self.scenario.groups},
        )

    def _extents(self) -> tuple[Extent, ...]:
        found = []
        for code, (topic, settings) in enumerate(self.scenario.topics.items()):
            for partition in range(settings.partitions):
                offsets = [r["offset"] for r in self.log if r["topic"] == code and r["partition"] == partition]
                first = self.firsts.get((topic, partition), 0)
                end = self.ends.get((topic, partition), max(offsets, default=first - 1) + 1)
                found.append(Extent(topic, partition, first, end))
        return tuple(found)

    def _topic_of(self, event: int) -> int:
        return self.names.topics.index(list(self.scenario.producers.values())[self.events[event]["producer"]].topic)

    def _row(
        self, kind: Kind, event: int, process: str, topic: str, partition: int, offset: int, started_ns: int, ended_ns: int, *,
        group: str | None = None, outcome: Outcome = Outcome.ok, attempt: int = 1, epoch: int = NONE, poll: int = NONE, key: int = NONE,
    ) -> None:  # fmt: skip
        self.rows.append(
            {
                "event_id": event,
                "root_id": event,
                "key": key,
                "offset": offset,
                "poll_id": poll,
                "intended_ns": self.events[event]["intended_ns"] if event >= 0 and event < len(self.events) else 0,
                "started_ns": started_ns,
                "ended_ns": ended_ns,
                "group_epoch": epoch,
                "partition": partition,
                "attempt": attempt,
                "process": self.names.processes.index(process),
                "group": NONE if group is None else self.names.groups.index(group),
                "topic": self.names.topics.index(topic),
                "kind": kind,
                "outcome": outcome,
            }
        )


def without_audit(run: RunData) -> RunData:
    """Return the run as it looks when it was cut short before the topics were read back."""
    return replace(run, log=run.log[:0], extents=())


def clean_run(events: int = 20, changes: Mapping[str, Any] | None = None) -> RunData:
    """Return a run in which everything went well: an event each 0.4 s, two partitions in turn."""
    build = Build(changes or {})
    for number in range(events):
        build.flow(0.4 * number, partition=number % 2, key=number % 2, process=1 + number % 2)
    return build.run()


def values(measured: Mapping[str, Any], names: Sequence[str]) -> list[float | None]:
    return [measured[name].value for name in names]
