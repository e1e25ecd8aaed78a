"""Faults that are commands of the user's: for systems that EventDrill did not start, and whatever it cannot do itself."""

from __future__ import annotations

import os

from loadgen.lab.applied import Applied, Tools, seconds
from loadgen.watchdog.undoing import UndoError, run, run_command
from scenarios import faults
from scenarios.occurrences import PlannedFault

PROBE_WITHIN_S = 20.0
COMMAND_WITHIN_S = 60.0


def begin(tools: Tools, planned: PlannedFault, fault: faults.Hook) -> Applied:
    """Give what is known before the command has run."""
    return Applied(planned, fault.begin, tools.clock.now_ns())


def apply(tools: Tools, applied: Applied, fault: faults.Hook) -> None:
    """Run the command, with the watchdog's promise that the one that ends it is run in any case."""
    assert tools.watchdog is not None
    dog, name = tools.watchdog, f"{applied.planned.index}.{applied.planned.begin_ns}"
    environment = {
        **os.environ,
        "EVENTDRILL_BOOTSTRAP": tools.cluster.bootstrap,
        "EVENTDRILL_FAULT": applied.planned.label,
    }
    before = _probe(fault, environment)
    dog.promise(name, run_command(fault.end, environment), for_s=tools.expiry_s(applied.planned))

    def undo() -> str:
        said = dog.keep(name)
        ended = f"`{fault.end}` at {seconds(tools.clock.now_ns())}" + (f": {said}" if said else "")
        if fault.probe is None:
            return ended
        return f"{ended}; " + (
            "NOT mended: the probe still finds it" if _probe(fault, environment) else "the probe finds it no more"
        )

    applied.undo = undo
    try:
        said = run(fault.begin, environment, COMMAND_WITHIN_S)
    except UndoError as error:
        applied.note(f"no effect: {error}")
        return
    applied.began_ns = tools.clock.now_ns()
    applied.note(f"`{fault.begin}` at {seconds(applied.began_ns)}" + (f": {said}" if said else ""))
    if fault.probe is not None:
        found = _probe(fault, environment)
        words = "the probe found it" if found else "NO effect that the probe finds"
        applied.note(f"{words}, as before the command" if found and before else words)


def _probe(fault: faults.Hook, environment: dict[str, str]) -> bool:
    """Tell whether the probe's command says that the system is hurt."""
    if fault.probe is None:
        return False
    try:
        run(fault.probe, environment, PROBE_WITHIN_S)
    except UndoError:
        return False
    return True
