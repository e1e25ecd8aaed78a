"""Faults of processes: members crash, leave in good order or hang, and producers crash or hang."""

from __future__ import annotations

import signal
import time

import psutil

from loadgen.lab.applied import Applied, Tools, seconds
from rundata.tables import Incident
from scenarios import faults
from scenarios.occurrences import PlannedFault
from scenarios.targets import ProducerTarget

_STOPS_WITHIN_S = 0.1


def end_member(tools: Tools, planned: PlannedFault, fault: faults.MemberCrash | faults.MemberLeave) -> Applied:
    """End a member's process, and start it again when the fault is over, or when it has left where that takes longer."""
    name, crew = str(fault.member), tools.crew
    number = signal.SIGKILL if isinstance(fault, faults.MemberCrash) else signal.SIGTERM
    worker = crew.members.get(name)
    if worker is None or not worker.running or worker.expected_to_end:
        return Applied(planned, name, tools.clock.now_ns(), "no effect: the member was not up, or on its way out")
    began = tools.clock.now_ns()
    crew.end_member(name, number)
    word = "gone" if number == signal.SIGKILL else "asked to leave"
    applied = Applied(planned, name, began, f"process {worker.pid} {word} at {seconds(tools.clock.now_ns())}")

    def back() -> None:
        crew.hear()
        if name in crew.ended_by_policy:
            applied.note("stays away: its handler's policy has ended it")
            return
        crew.replace_member(name, tools.next_poll_id(name))
        again, now_ns = crew.members[name], tools.clock.now_ns()
        tools.incidents.append(Incident(now_ns, "restart", name, f"process {again.pid}", planned.label))
        applied.note(f"back as process {again.pid} at {seconds(now_ns)}")

    def undo() -> str:
        if crew.members[name] is not worker:
            return "brought back by something else before"
        crew.when_left(name, back)
        return f"on its way out at {seconds(tools.clock.now_ns())} still" if name in crew.come_back() else ""

    applied.undo = undo
    return applied


def pause(tools: Tools, planned: PlannedFault, names: list[str]) -> Applied:
    """Stop processes where they are, and let them go on when the fault is over; they end with the driver, stopped or not."""
    crew, began = tools.crew, tools.clock.now_ns()
    workers = [
        each for name in names if (each := (crew.members | crew.producers).get(name)) is not None and each.running
    ]
    target = ", ".join(names)
    if not workers:
        return Applied(planned, target, began, "no effect: no such process was up")
    for worker in workers:
        worker.process.send_signal(signal.SIGSTOP)
    stopped = [worker for worker in workers if _is_stopped(worker.pid)]
    pids = ", ".join(str(worker.pid) for worker in stopped)
    proof = f"process {pids} stopped at {seconds(tools.clock.now_ns())}" if stopped else "not stopped"

    def undo() -> str:
        for worker in workers:
            if worker.running:
                worker.process.send_signal(signal.SIGCONT)
        return f"goes on at {seconds(tools.clock.now_ns())}"

    return Applied(planned, target, began, proof, undo)


def _is_stopped(pid: int) -> bool:
    """Whether the kernel shows a process as stopped; it takes a moment to become so."""
    until = time.monotonic() + _STOPS_WITHIN_S
    while time.monotonic() < until:
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
            return True
        time.sleep(0.001)
    return False


def crash_producers(tools: Tools, planned: PlannedFault, names: list[str]) -> Applied:
    """Kill producer processes with what their clients had not sent, and start them again when the fault is over."""
    crew, began = tools.crew, tools.clock.now_ns()
    up = [name for name in names if crew.producers[name].running]
    target = ", ".join(names)
    if not up:
        return Applied(planned, target, began, "no effect: no such process was up")
    pids = ", ".join(str(crew.producers[name].pid) for name in up)
    for name in up:
        crew.crash_producer(name)
    proof = f"process {pids} gone at {seconds(tools.clock.now_ns())}"

    def undo() -> str:
        for name in up:
            crew.restart_producer(name)
        return f"back at {seconds(tools.clock.now_ns())}"

    return Applied(planned, target, began, proof, undo)


def processes(tools: Tools, target: ProducerTarget) -> list[str]:
    """Return the processes that a target names: one, or all of a producer."""
    if target.process:
        return [str(target)]
    return [name for name in tools.crew.producers if name.rpartition("/")[0] == target.producer]
