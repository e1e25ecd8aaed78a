"""Faults of brokers: their processes die, end in order or hang, their disk stalls or is full, their machine loses power.

A rack's brokers are met together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import psutil
from confluent_kafka import KafkaException

from loadgen.clusters.local import LocalKafka
from loadgen.clusters.model import ClusterError
from loadgen.lab.applied import Applied, Tools, seconds
from loadgen.watchdog.client import GRACE_S
from rundata.tables import Incident
from scenarios import faults
from scenarios.occurrences import PlannedFault
from scenarios.targets import BrokerTarget

STOPPED_WITHIN_S = 0.5
DIES_WITHIN_S = 3.0
"""A broker that could not write ends itself; it may be about to when there is room again. Counted in looks, since a machine that stands still ends nobody."""
_LOOK_S = 0.05
GONE_WITHIN_S = 60.0
"""A process that is killed is gone in a moment, but for a kernel that has to do with its files."""

BrokerFault = (
    faults.BrokerCrash | faults.BrokerStop | faults.BrokerPause | faults.DiskFull | faults.DiskStall | faults.HostCrash
)


def resolve(tools: Tools, target: BrokerTarget) -> tuple[int, ...]:
    """Return the nodes that a target means now; none where nobody has that role."""
    match target.role:
        case "number":
            return (target.number,)
        case "rack":
            racks = tools.plan.scenario.brokers.racks
            return tuple(n for n in range(1, tools.cluster.nodes + 1) if racks[(n - 1) % len(racks)] == target.rack)
        case "controller":
            try:
                return (tools.cluster.controller(),)
            except ClusterError:
                return ()
        case "leader" | "follower":
            try:
                leader, replicas, _in_sync = tools.admin.replicas(target.topic, target.partition)
            except (KafkaException, KeyError):
                return ()
            if target.role == "leader":
                return (leader,) if leader >= 0 else ()
            return tuple(n for n in replicas if n != leader and tools.cluster.alive(n))[:1]


def name_of(node: int, tools: Tools) -> str:
    """Return what a node is called: a broker, or the separate controller."""
    return f"broker {node}" if 1 <= node <= tools.cluster.nodes else "controller"


def begin(tools: Tools, planned: PlannedFault, fault: BrokerFault, nodes: tuple[int, ...]) -> Applied:
    """Do it to all nodes that are up."""
    began_ns = tools.clock.now_ns()
    up = tuple(node for node in nodes if tools.cluster.alive(node))
    if not up:
        return Applied(planned, str(fault.target), began_ns, "no effect: there was no such broker up")
    names = ", ".join(name_of(node, tools) for node in up)
    target = names if fault.target.role == "number" or names == str(fault.target) else f"{names} ({fault.target})"
    applied = Applied(planned, target, began_ns, nodes=up)
    pids = {node: tools.cluster.pid(node) for node in up}
    for_s = tools.expiry_s(planned)
    for node in up:
        applied.note(_BEGIN[type(fault)](tools, node, pids[node] or 0, for_s))
    applied.undo = lambda: "; ".join(_END[type(fault)](tools, planned, node) for node in up)
    return applied


# ---- beginning and ending, on one node -----------------------------------------------------------------------------


def _kill(tools: Tools, node: int, pid: int, for_s: float | None) -> str:
    tools.cluster.kill(node, for_s)
    return f"process {pid} gone at {seconds(tools.clock.now_ns())}"


def _terminate(tools: Tools, node: int, pid: int, for_s: float | None) -> str:
    began_ns = tools.clock.now_ns()
    tools.cluster.terminate(node, for_s)
    return f"process {pid} asked to end at {seconds(began_ns)}"


def _pause(tools: Tools, node: int, pid: int, for_s: float | None) -> str:
    tools.cluster.pause(node, for_s)
    if not isinstance(tools.cluster, LocalKafka):
        return f"answers held back from {seconds(tools.clock.now_ns())}"
    until = time.monotonic() + STOPPED_WITHIN_S
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED and time.monotonic() < until:
        time.sleep(0.001)
    stopped = psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return f"process {pid} {'stopped' if stopped else 'NOT stopped'} at {seconds(tools.clock.now_ns())}"


def _fill_disk(tools: Tools, node: int, pid: int, for_s: float | None) -> str:
    assert isinstance(tools.cluster, LocalKafka)
    tools.cluster.fill_disk(node, for_s)
    return f"process {pid} could write no more from {seconds(tools.clock.now_ns())}"


def _stall_disk(tools: Tools, node: int, pid: int, for_s: float | None) -> str:
    assert isinstance(tools.cluster, LocalKafka)
    tools.cluster.stall_disk(node, for_s)
    return f"writes of process {pid} wait from {seconds(tools.clock.now_ns())}"


def _crash_host(tools: Tools, node: int, pid: int, for_s: float | None) -> str:
    assert isinstance(tools.cluster, LocalKafka)
    began_ns = tools.clock.now_ns()
    tools.cluster.crash_host(node, for_s)
    return f"power of process {pid} lost at {seconds(began_ns)}"


def gone_with_host(tools: Tools, applied: Applied) -> None:
    """Wait until processes whose machines lost power are gone, and note what was lost with them."""
    assert isinstance(tools.cluster, LocalKafka)
    for node in applied.nodes:
        until = time.monotonic() + GONE_WITHIN_S
        while (lost_bytes := tools.cluster.lost_with_host(node)) is None and time.monotonic() < until:
            time.sleep(0.02)
        at = seconds(tools.clock.now_ns())
        if lost_bytes is None:
            said = tools.cluster.trouble(node) or "its process has not ended"
            applied.note(f"NOT gone at {at}: {said}")
        else:
            applied.note(f"gone at {at} with {lost_bytes} bytes of its logs that were not on its disk")


def _start(tools: Tools, planned: PlannedFault, node: int) -> str:
    if tools.cluster.alive(node) and not _is_going(tools, planned, node):
        return "it was started before"
    tools.cluster.start(node)
    now_ns = tools.clock.now_ns()
    tools.incidents.append(Incident(now_ns, "restart", name_of(node, tools), "started again", planned.label))
    return f"started again at {seconds(now_ns)}"


def _is_going(tools: Tools, planned: PlannedFault, node: int) -> bool:
    """Whether a process that still runs is about to end by the fault."""
    match planned.fault:
        case faults.BrokerStop():
            return True
        case faults.HostCrash():
            assert isinstance(tools.cluster, LocalKafka)
            return tools.cluster.lost_with_host(node) is None
        case _:
            return False


def _resume(tools: Tools, planned: PlannedFault, node: int) -> str:
    if not tools.cluster.alive(node):  # another fault has killed it meanwhile
        return "it was no longer there to go on"
    tools.cluster.resume(node)
    return f"went on at {seconds(tools.clock.now_ns())}"


def _let_disk_go_on(tools: Tools, planned: PlannedFault, node: int) -> str:
    assert isinstance(tools.cluster, LocalKafka)
    if not tools.cluster.alive(node):
        return "it was no longer there to go on"
    tools.cluster.let_disk_go_on(node)
    return f"writes went on at {seconds(tools.clock.now_ns())}"


def _free_disk(tools: Tools, planned: PlannedFault, node: int) -> str:
    assert isinstance(tools.cluster, LocalKafka)
    if tools.cluster.alive(node):
        with suppress(ClusterError):  # it may end itself just now, as the next look tells
            tools.cluster.free_disk(node, GRACE_S)
        for _ in range(round(DIES_WITHIN_S / _LOOK_S)):
            if not tools.cluster.alive(node):
                break
            time.sleep(_LOOK_S)
    status = tools.cluster.exit_status(node)
    if status is None:
        return f"room again at {seconds(tools.clock.now_ns())}; it had not had to write and stayed up"
    return f"it ended itself with status {status}; room again, {_start(tools, planned, node)}"


_BEGIN: dict[type[BrokerFault], Callable[[Tools, int, int, float | None], str]] = {
    faults.BrokerCrash: _kill,
    faults.BrokerStop: _terminate,
    faults.BrokerPause: _pause,
    faults.DiskFull: _fill_disk,
    faults.DiskStall: _stall_disk,
    faults.HostCrash: _crash_host,
}
_END: dict[type[BrokerFault], Callable[[Tools, PlannedFault, int], str]] = {
    faults.BrokerCrash: _start,
    faults.BrokerStop: _start,
    faults.BrokerPause: _resume,
    faults.DiskFull: _free_disk,
    faults.DiskStall: _let_disk_go_on,
    faults.HostCrash: _start,
}
