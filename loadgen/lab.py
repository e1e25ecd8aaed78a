"""Faults on live brokers and members: each begins at its instant, is undone at its end or when the run ends, and proves its effect."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from confluent_kafka import KafkaException
from numpy.typing import NDArray

from loadgen.admin import Admin
from loadgen.clusters.model import Cluster, ClusterError
from loadgen.crew import Crew
from loadgen.run_clock import RunClock
from rundata.rows import Kind, Outcome
from rundata.tables import FaultRecord, Incident
from scenarios import faults
from scenarios.occurrences import PlannedFault
from scenarios.plan import Plan
from scenarios.quantities import SECOND, format_duration
from scenarios.targets import BrokerTarget

LOOK_AHEAD_NS = 300_000_000
"""A broker's role is looked up so long before a fault, so that the question does not delay it."""


@dataclass
class Applied:
    """A fault that was begun: on what, when, and how to undo it."""

    planned: PlannedFault
    target: str
    began_ns: int
    proof: str
    undo: Callable[[], str] | None
    ended_ns: int | None = None
    node: int | None = None


class Lab:
    """Applies faults; `undo_all` leaves nothing hurt, whatever has happened."""

    def __init__(
        self, cluster: Cluster, crew: Crew, admin: Admin, clock: RunClock, next_poll_id: Callable[[str], int]
    ) -> None:
        self.cluster = cluster
        self.crew = crew
        self.admin = admin
        self.clock = clock
        self.next_poll_id = next_poll_id
        self.applied: dict[int, Applied] = {}
        """By index into the plan's faults."""
        self.incidents: list[Incident] = []
        self._resolved: dict[int, int | None] = {}

    def look_up(self, index: int, planned: PlannedFault) -> None:
        """Find out just before a fault which broker it is about."""
        if isinstance(planned.fault, faults.BrokerCrash | faults.BrokerStop):
            self._resolved[index] = self._broker(planned.fault.target)

    def begin(self, index: int, planned: PlannedFault) -> None:
        """Begin a fault."""
        fault = planned.fault
        match fault:
            case faults.BrokerCrash() | faults.BrokerStop():
                node = self._resolved.get(index)
                node = self._broker(fault.target) if node is None else node
                applied = self._end_broker(planned, node, fault.target)
            case faults.MemberCrash():
                applied = self._end_member(planned, str(fault.member), signal.SIGKILL)
            case faults.MemberLeave():
                applied = self._end_member(planned, str(fault.member), signal.SIGTERM)
            case faults.SlowWork() | faults.FailingWork():
                # Members follow the clock themselves, so that every try is right to the microsecond.
                applied = Applied(planned, fault.group, planned.begin_ns, "", None)
            case faults.Poison() | faults.Surge():
                applied = Applied(planned, fault.producer, planned.begin_ns, "", None)
            case (
                faults.BrokerPause()
                | faults.RollingRestart()
                | faults.Cut()
                | faults.SlowLink()
                | faults.ProducerCrash()
                | faults.ProducerPause()
                | faults.MemberPause()
                | faults.RollingDeploy()
                | faults.PollStall()
                | faults.Duplicates()
                | faults.Oversized()
                | faults.Late()
                | faults.SchemaChange()
                | faults.LeaderMove()
                | faults.Retention()
                | faults.DeleteRecords()
                | faults.Reassign()
                | faults.AddPartitions()
                | faults.DependencyDown()
                | faults.DependencySlow()
                | faults.Throttle()
                | faults.DiskStall()
                | faults.DiskFull()
                | faults.HostCrash()
                | faults.ClockSkew()
            ):
                # Rolling faults come in parts; the others are refused before a run (`loadgen.refuse`).
                raise AssertionError(f"{fault.kind} was not refused")
            case _:
                assert_never(fault)
        self.applied[index] = applied

    def end(self, index: int) -> None:
        """End a fault; one that was not begun, or has ended, is let alone."""
        applied = self.applied.get(index)
        if applied is None or applied.ended_ns is not None:
            return
        applied.ended_ns = applied.planned.end_ns if applied.undo is None else self.clock.now_ns()
        if applied.undo is not None:
            applied.proof = "; ".join(part for part in (applied.proof, applied.undo()) if part)

    def undo_all(self) -> list[str]:
        """End every fault that is in effect; return what went wrong with it."""
        problems = []
        for index in list(self.applied):
            try:
                self.end(index)
            except (ClusterError, OSError) as error:
                problems.append(f"{self.applied[index].planned.label}: not undone: {error}")
        return problems

    def in_effect(self) -> tuple[str, ...]:
        """Return the labels of the faults in effect."""
        return tuple(each.planned.label for each in self.applied.values() if each.ended_ns is None)

    # ---- brokers ---------------------------------------------------------------------------------------------------

    def _broker(self, target: BrokerTarget) -> int | None:
        match target.role:
            case "number":
                return target.number
            case "controller":
                return self.cluster.controller()
            case "leader" | "follower":
                try:
                    leader, replicas, _in_sync = self.admin.replicas(target.topic, target.partition)
                except (KafkaException, KeyError):
                    return None
                if target.role == "leader":
                    return leader if leader > 0 else None
                return next((each for each in replicas if each != leader and self.cluster.alive(each)), None)
            case "rack":
                raise AssertionError("a rack was not refused")
            case _:
                assert_never(target.role)

    def _end_broker(self, planned: PlannedFault, node: int | None, target: BrokerTarget) -> Applied:
        name = f"broker {node}" if target.role == "number" else f"broker {node} ({target})"
        now = self.clock.now_ns()
        if node is None or not self.cluster.alive(node):
            return Applied(planned, str(target), now, "no effect: there was no such broker up", None)
        pid = self.cluster.pid(node)
        began = self.clock.now_ns()
        if isinstance(planned.fault, faults.BrokerCrash):
            self.cluster.kill(node)
            done = f"process {pid} gone at {_seconds(self.clock.now_ns())}"
        else:
            self.cluster.terminate(node)
            done = f"process {pid} asked to end at {_seconds(began)}"

        def undo() -> str:
            self.cluster.start(node)
            self.incidents.append(
                Incident(self.clock.now_ns(), "restart", f"broker {node}", "started again", planned.label)
            )
            return f"started again at {_seconds(self.clock.now_ns())}"

        return Applied(planned, name, began, done, undo, node=node)

    # ---- members ---------------------------------------------------------------------------------------------------

    def _end_member(self, planned: PlannedFault, name: str, number: signal.Signals) -> Applied:
        worker = self.crew.members[name]
        if not worker.running:
            return Applied(planned, name, self.clock.now_ns(), "no effect: the member was not up", None)
        began = self.clock.now_ns()
        self.crew.end_member(name, number)
        word = "gone" if number == signal.SIGKILL else "asked to leave"
        proof = f"process {worker.pid} {word} at {_seconds(self.clock.now_ns())}"

        def undo() -> str:
            self.crew.replace_member(name, self.next_poll_id(name))
            again = self.crew.members[name]
            self.incidents.append(Incident(self.clock.now_ns(), "restart", name, f"process {again.pid}", planned.label))
            return f"back as process {again.pid} at {_seconds(self.clock.now_ns())}"

        return Applied(planned, name, began, proof, undo)

    # ---- what it has shown -----------------------------------------------------------------------------------------

    def records(
        self, plan: Plan, incidents: Sequence[Incident], operations: NDArray[np.void]
    ) -> tuple[FaultRecord, ...]:
        """Return the record of each fault that was begun, with the proof that it had its effect."""
        return tuple(
            FaultRecord(
                label=each.planned.label,
                kind=each.planned.fault.kind,
                target=each.target,
                planned_begin_ns=each.planned.begin_ns,
                planned_end_ns=each.planned.end_ns,
                began_ns=each.began_ns,
                ended_ns=each.planned.end_ns if each.ended_ns is None else each.ended_ns,
                proof="; ".join(part for part in (each.proof, self._shown(each, plan, incidents, operations)) if part),
            )
            for _, each in sorted(self.applied.items())
        )

    def _shown(self, applied: Applied, plan: Plan, incidents: Sequence[Incident], operations: NDArray[np.void]) -> str:
        fault = applied.planned.fault
        match fault:
            case faults.BrokerCrash() | faults.BrokerStop():
                return _broker_shown(applied, incidents)
            case faults.MemberCrash() | faults.MemberLeave():
                return _member_shown(applied, fault.member.group, incidents)
            case faults.SlowWork() | faults.FailingWork():
                code = list(plan.scenario.groups).index(fault.group)
                return _tries_shown(
                    applied, operations[(operations["kind"] == Kind.try_) & (operations["group"] == code)]
                )
            case faults.Poison():
                inside = _inside(plan, applied) & plan.poison
                tried = operations["event_id"][
                    (operations["kind"] == Kind.try_) & (operations["outcome"] == Outcome.failed)
                ]
                return f"{np.count_nonzero(inside)} poison events, {len(np.intersect1d(np.flatnonzero(inside), tried))} of them failed a try"
            case faults.Surge():
                sends = operations["event_id"][operations["kind"] == Kind.send]
                sent = np.isin(np.flatnonzero(_inside(plan, applied)), sends)
                length_s = (applied.planned.end_ns - applied.planned.begin_ns) / SECOND
                return f"{np.count_nonzero(sent)} events sent, {np.count_nonzero(sent) / length_s:.0f}/s"
            case (
                faults.BrokerPause()
                | faults.RollingRestart()
                | faults.Cut()
                | faults.SlowLink()
                | faults.ProducerCrash()
                | faults.ProducerPause()
                | faults.MemberPause()
                | faults.RollingDeploy()
                | faults.PollStall()
                | faults.Duplicates()
                | faults.Oversized()
                | faults.Late()
                | faults.SchemaChange()
                | faults.LeaderMove()
                | faults.Retention()
                | faults.DeleteRecords()
                | faults.Reassign()
                | faults.AddPartitions()
                | faults.DependencyDown()
                | faults.DependencySlow()
                | faults.Throttle()
                | faults.DiskStall()
                | faults.DiskFull()
                | faults.HostCrash()
                | faults.ClockSkew()
            ):
                # Rolling faults come in parts; the others are refused before a run (`loadgen.refuse`).
                raise AssertionError(f"{fault.kind} was not refused")
            case _:
                assert_never(fault)


def _broker_shown(applied: Applied, incidents: Sequence[Incident]) -> str:
    shown = []
    after = [each for each in incidents if applied.began_ns <= each.time_ns < applied.planned.end_ns + 30 * SECOND]
    fence = next((i for i in after if i.kind == "fence" and i.where == f"broker {applied.node}"), None)
    if fence is not None:
        shown.append(f"fenced at {_seconds(fence.time_ns)}")
    moved = [i for i in after if i.kind == "election" and i.detail != f"leader {applied.node}"]
    if moved:
        first = min(moved, key=lambda i: i.time_ns)
        shown.append(f"{len(moved)} partitions led by others, {first.where} from {_seconds(first.time_ns)}")
    back = next((i for i in after if i.kind == "registered" and i.where == f"broker {applied.node}"), None)
    if back is not None:
        shown.append(f"registered again at {_seconds(back.time_ns)}")
    return "; ".join(shown)


def _member_shown(applied: Applied, group: str, incidents: Sequence[Incident]) -> str:
    after = [i for i in incidents if i.time_ns >= applied.began_ns and i.kind in ("session expired", "assignment")]
    own = [i for i in after if i.where.partition("/")[0] == group]
    expired = next((i for i in own if i.kind == "session expired"), None)
    taken = next((i for i in own if i.kind == "assignment" and i.where != applied.target), None)
    shown = [f"session expired at {_seconds(expired.time_ns)}"] if expired else []
    return "; ".join(shown + ([f"{taken.where} took over at {_seconds(taken.time_ns)}"] if taken else []))


def _tries_shown(applied: Applied, tries: NDArray[np.void]) -> str:
    inside = (tries["started_ns"] >= applied.planned.begin_ns) & (tries["started_ns"] < applied.planned.end_ns)
    if not inside.any() or inside.all():
        return "no tries to compare"
    took = tries["ended_ns"] - tries["started_ns"]
    failed = tries["outcome"] == Outcome.failed
    if isinstance(applied.planned.fault, faults.SlowWork):
        medians = [format_duration(float(np.median(took[chosen]))) for chosen in (inside, ~inside)]
        return f"median try {medians[0]}, otherwise {medians[1]}"
    return f"{failed[inside].mean():.1%} of {np.count_nonzero(inside)} tries failed, otherwise {failed[~inside].mean():.2%}"


def _inside(plan: Plan, applied: Applied) -> NDArray[np.bool_]:
    return (plan.intended_ns >= applied.planned.begin_ns) & (plan.intended_ns < applied.planned.end_ns)


def _seconds(ns: int) -> str:
    return f"{ns / SECOND:.3f} s"
