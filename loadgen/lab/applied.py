"""A fault that was begun, and what the parts of the lab work with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadgen.clusters.layout import Listener
from loadgen.clusters.local import LocalKafka
from loadgen.watchdog.client import GRACE_S
from scenarios.occurrences import PlannedFault
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from loadgen.admin import Admin
    from loadgen.clusters.model import Cluster
    from loadgen.crew import Crew
    from loadgen.run_clock import RunClock
    from loadgen.watchdog.client import Watchdog
    from rundata.tables import Incident
    from scenarios.plan import Plan

Ending = Callable[[], str]
"""Undoes a fault and says how that went."""


@dataclass
class Applied:
    """A fault that was begun: on what, when, what shows it, and how to undo it."""

    planned: PlannedFault
    target: str
    began_ns: int
    proof: str = ""
    undo: Ending | None = None
    ended_ns: int | None = None
    nodes: tuple[int, ...] = ()
    """Nodes that it is about."""
    aside: list[Future[None]] = field(default_factory=list)
    """What is still being done about it beside the run's own thread."""

    def note(self, words: str) -> None:
        """Add to what shows it."""
        self.proof = "; ".join(part for part in (self.proof, words) if part)


@dataclass
class Tools:
    """What faults are made with."""

    plan: Plan
    cluster: Cluster
    crew: Crew
    admin: Admin
    clock: RunClock
    watchdog: Watchdog | None
    next_poll_id: Callable[[str], int]
    incidents: list[Incident]
    """What the lab itself makes happen, such as a broker's start."""
    wrong_clocks: dict[int, list[PlannedFault]] = field(default_factory=dict)
    """By node: the faults that set its clock wrong now, which add up."""

    @property
    def controllers(self) -> tuple[int, ...]:
        """The nodes that can be the active controller."""
        return tuple(self.cluster.layout.controllers) if isinstance(self.cluster, LocalKafka) else ()

    def port(self, node: int, listener: Listener) -> int:
        """Return the port that peers of a node are told."""
        if isinstance(self.cluster, LocalKafka):
            return self.cluster.layout.told_port(node, listener)
        return int(self.cluster.bootstrap.split(",")[node - 1].rpartition(":")[2])

    def expiry_s(self, planned: PlannedFault) -> float | None:
        """Return after how long whoever holds a fault ends it by itself; None where it stays."""
        return None if planned.stays else max(0, planned.end_ns - self.clock.now_ns()) / SECOND + GRACE_S


def seconds(ns: int) -> str:
    """Return an instant of the run as proofs name it."""
    return f"{ns / SECOND:.3f} s"
