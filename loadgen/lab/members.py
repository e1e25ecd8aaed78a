"""Faults of members: their processes crash, or leave in good order."""

from __future__ import annotations

import signal

from loadgen.lab.applied import Applied, Tools, seconds
from rundata.tables import Incident
from scenarios import faults
from scenarios.occurrences import PlannedFault


def end_member(tools: Tools, planned: PlannedFault, fault: faults.MemberCrash | faults.MemberLeave) -> Applied:
    """End a member's process, and start it again when the fault is over."""
    name = str(fault.member)
    number = signal.SIGKILL if isinstance(fault, faults.MemberCrash) else signal.SIGTERM
    worker = tools.crew.members[name]
    if not worker.running:
        return Applied(planned, name, tools.clock.now_ns(), "no effect: the member was not up")
    began = tools.clock.now_ns()
    tools.crew.end_member(name, number)
    word = "gone" if number == signal.SIGKILL else "asked to leave"
    proof = f"process {worker.pid} {word} at {seconds(tools.clock.now_ns())}"

    def undo() -> str:
        tools.crew.replace_member(name, tools.next_poll_id(name))
        again = tools.crew.members[name]
        now_ns = tools.clock.now_ns()
        tools.incidents.append(Incident(now_ns, "restart", name, f"process {again.pid}", planned.label))
        return f"back as process {again.pid} at {seconds(now_ns)}"

    return Applied(planned, name, began, proof, undo)
