"""The lab: begins and ends the faults of a plan, and leaves nothing hurt, whatever has happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from loadgen.admin import Admin
from loadgen.clusters.model import Cluster, ClusterError
from loadgen.crew import Crew
from loadgen.lab import brokers, clocks, hooks, links, members, topics
from loadgen.lab.applied import Applied, Tools
from loadgen.lab.proofs import shown
from loadgen.run_clock import RunClock
from loadgen.watchdog.client import Watchdog
from loadgen.watchdog.undoing import UndoError
from rundata.tables import FaultRecord, Incident
from scenarios import faults
from scenarios.occurrences import PlannedFault
from scenarios.plan import Plan
from scenarios.schema import Scenario

LOOK_AHEAD_NS = 300_000_000
"""A broker's role is looked up so long before a fault, so that the question does not delay it."""
ASIDE_WITHIN_S = 90.0
"""What is done to a system beside the run's own thread takes no longer."""
_THREADS = 4


def needs_watchdog(scenario: Scenario) -> bool:
    """Tell whether a scenario has faults that only a watchdog can be trusted to undo."""
    return any(isinstance(fault, topics.TopicFault | faults.Hook) for fault in scenario.faults)


class Lab:
    """Applies faults; `undo_all` leaves nothing hurt, whatever has happened."""

    def __init__(
        self,
        plan: Plan,
        cluster: Cluster,
        crew: Crew,
        admin: Admin,
        clock: RunClock,
        next_poll_id: Callable[[str], int],
        watchdog: Watchdog | None = None,
    ) -> None:
        self.incidents: list[Incident] = []
        self.tools = Tools(plan, cluster, crew, admin, clock, watchdog, next_poll_id, self.incidents)
        self.applied: dict[int, Applied] = {}
        """By index into the plan's faults."""
        self._resolved: dict[int, tuple[int, ...]] = {}
        # What brokers take their time for must not delay the next fault.
        self._aside = ThreadPoolExecutor(_THREADS, thread_name_prefix="lab")

    def look_up(self, index: int, planned: PlannedFault) -> None:
        """Find out just before a fault which broker it is about."""
        if isinstance(planned.fault, brokers.BrokerFault):
            self._resolved[index] = brokers.resolve(self.tools, planned.fault.target)
        elif isinstance(planned.fault, faults.ClockSkew) and planned.fault.broker is not None:
            self._resolved[index] = brokers.resolve(self.tools, planned.fault.broker)

    def begin(self, index: int, planned: PlannedFault) -> None:
        """Begin a fault."""
        self.applied[index] = self._begun(index, planned)
        self._tell()

    def _begun(self, index: int, planned: PlannedFault) -> Applied:
        fault, tools = planned.fault, self.tools
        match fault:
            case (
                faults.BrokerCrash()
                | faults.BrokerStop()
                | faults.BrokerPause()
                | faults.DiskFull()
                | faults.DiskStall()
                | faults.HostCrash()
            ):
                nodes = self._resolved.get(index) or brokers.resolve(tools, fault.target)
                hurt = brokers.begin(tools, planned, fault, nodes)
                if isinstance(fault, faults.HostCrash) and hurt.nodes:
                    self._do_aside(hurt, lambda: brokers.gone_with_host(tools, hurt))
                return hurt
            case faults.Cut() | faults.SlowLink():
                applied = links.begin(tools, planned, fault)
                self._do_aside(applied, lambda: applied.note(links.probe(tools, fault)))
                return applied
            case faults.MemberCrash() | faults.MemberLeave():
                return members.end_member(tools, planned, fault)
            case faults.MemberPause():
                return members.pause(tools, planned, [str(fault.member)])
            case faults.ProducerPause():
                return members.pause(tools, planned, members.processes(tools, fault.producer))
            case faults.ProducerCrash():
                return members.crash_producers(tools, planned, members.processes(tools, fault.producer))
            case faults.PollStall():
                return Applied(planned, str(fault.member), planned.begin_ns)
            case faults.DependencyDown() | faults.DependencySlow():
                return Applied(planned, fault.dependency, planned.begin_ns)
            case faults.SlowWork() | faults.FailingWork():
                # Members follow the clock themselves, so that every try is right to the microsecond.
                return Applied(planned, fault.group, planned.begin_ns)
            case (
                faults.Poison()
                | faults.Surge()
                | faults.Duplicates()
                | faults.Oversized()
                | faults.Late()
                | faults.SchemaChange()
            ):
                return Applied(planned, fault.producer, planned.begin_ns)
            case (
                faults.LeaderMove()
                | faults.Retention()
                | faults.DeleteRecords()
                | faults.Reassign()
                | faults.AddPartitions()
                | faults.Throttle()
            ):
                changed = Applied(planned, topics.target_of(fault), tools.clock.now_ns())
                self._do_aside(changed, lambda: topics.apply(tools, changed, fault))
                return changed
            case faults.ClockSkew() if fault.producer is not None:
                return Applied(planned, ", ".join(members.processes(tools, fault.producer)), planned.begin_ns)
            case faults.ClockSkew():
                assert fault.broker is not None
                nodes = self._resolved.get(index) or brokers.resolve(tools, fault.broker)
                wrong = clocks.begin(tools, planned, fault, nodes)
                if wrong.nodes:
                    self._do_aside(wrong, lambda: wrong.note(clocks.said_by(tools, wrong.nodes)))
                return wrong
            case faults.Hook():
                hooked = hooks.begin(tools, planned, fault)
                self._do_aside(hooked, lambda: hooks.apply(tools, hooked, fault))
                return hooked
            case faults.RollingRestart() | faults.RollingDeploy():
                raise AssertionError(f"{fault.kind} comes in parts")
            case _:
                assert_never(fault)

    def _do_aside(self, applied: Applied, what: Callable[[], None]) -> None:
        """Do something about a fault in another thread, after what is being done about it already."""
        before = list(applied.aside)

        def in_turn() -> None:
            for each in before:
                each.result(ASIDE_WITHIN_S)
            what()

        applied.aside.append(self._aside.submit(in_turn))

    def end(self, index: int) -> None:
        """End a fault; one that was not begun, or has ended, is let alone."""
        applied = self.applied.get(index)
        if applied is None or applied.ended_ns is not None or applied.planned.stays:
            return
        if applied.aside or isinstance(applied.planned.fault, faults.DiskFull):
            applied.ended_ns = self.tools.clock.now_ns()
            self._do_aside(applied, lambda: self._undo(applied))
        else:
            self._undo(applied)
        self._tell()

    def _undo(self, applied: Applied) -> None:
        if applied.undo is None:
            applied.ended_ns = applied.ended_ns or applied.planned.end_ns
            return
        undo, applied.undo = applied.undo, None
        applied.ended_ns = self.tools.clock.now_ns()
        applied.note(undo())

    def undo_all(self) -> list[str]:
        """End every fault that is in effect; return what went wrong with it, and with those that ended before."""
        problems = []
        for index, applied in list(self.applied.items()):
            try:
                self.end(index)
                for each in applied.aside:
                    each.result(ASIDE_WITHIN_S)
            except (ClusterError, UndoError, TimeoutError, OSError) as error:
                problems.append(f"{applied.planned.label}: not undone: {error}")
            applied.aside.clear()
        return problems

    def close(self) -> None:
        """End the lab's threads."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    def in_effect(self) -> tuple[str, ...]:
        """Return the labels of the faults in effect."""
        return tuple(each.planned.label for each in self.applied.values() if each.ended_ns is None)

    def come_back(self) -> set[str]:
        """Return the members that faults in effect have ended, and will start again."""
        return {
            each.target
            for each in self.applied.values()
            if isinstance(each.planned.fault, faults.MemberCrash | faults.MemberLeave)
            and each.undo is not None
            and not each.planned.stays
        }

    def hurt(self) -> set[int]:
        """Return the nodes whose process a fault may have ended."""
        ended = [each for each in self.applied.values() if isinstance(each.planned.fault, brokers.BrokerFault)]
        return {node for each in ended for node in each.nodes}

    def _tell(self) -> None:
        """Let `eventdrill cluster status` show what is in effect."""
        words = [
            f"{each.planned.label} ({each.target})" if each.target else each.planned.label
            for each in self.applied.values()
            if each.ended_ns is None and each.planned.end_ns > each.planned.begin_ns
        ]
        self.tools.cluster.tell(words)

    def records(
        self, plan: Plan, incidents: Sequence[Incident], operations: NDArray[np.void], log: NDArray[np.void]
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
                proof="; ".join(part for part in (each.proof, shown(each, plan, incidents, operations, log)) if part),
            )
            for _, each in sorted(self.applied.items())
        )
