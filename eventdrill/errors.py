"""What a verb's error means for the person who typed it: one message and an exit code, decided at one place."""

import sys

HELD, FAILED, WRONG_INPUT, SAYS_NOTHING, INTERRUPTED = 0, 1, 2, 3, 130


class EventDrillError(Exception):
    """An error with a message for the user, and the exit code that goes with it."""

    exit_code = SAYS_NOTHING


class WrongInputError(EventDrillError):
    """Something typed or written that cannot be meant; nothing was started."""

    exit_code = WRONG_INPUT


class SaysNothingError(EventDrillError):
    """A run that came to nothing: no brokers, a driver too slow, a machine too noisy."""


def exit_code_of(error: Exception) -> int | None:
    """Return the exit code of an error that users can do something about; None for a defect of ours."""
    if isinstance(error, EventDrillError):
        return error.exit_code
    for (module, name), code in _FROM_BELOW.items():
        # An error can only be of a class whose module has been imported, and importing them all would take a second.
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return code
    return SAYS_NOTHING if isinstance(error, OSError) else None


_FROM_BELOW = {
    ("scenarios.errors", "ScenarioError"): WRONG_INPUT,
    ("scenarios.plan", "PlanError"): WRONG_INPUT,
    ("rundata.dataset", "DatasetError"): WRONG_INPUT,
    ("reports.alerts.series", "AlertError"): WRONG_INPUT,
    ("loadgen.clusters.model", "ClusterError"): SAYS_NOTHING,
    ("loadgen.engine", "DriveError"): SAYS_NOTHING,
    ("loadgen.children", "ChildError"): SAYS_NOTHING,
    ("loadgen.admin", "AdminError"): SAYS_NOTHING,
    ("loadgen.audit", "AuditError"): SAYS_NOTHING,
    ("sim.crew", "CrewError"): SAYS_NOTHING,
}
