"""A person's word that a live run may go on: before the load, and before faults that can wait."""

from typing import Protocol

from scenarios import faults
from scenarios.faults import Fault

IN_THE_EVENTS = (
    faults.SlowWork,
    faults.FailingWork,
    faults.Poison,
    faults.Surge,
    faults.Duplicates,
    faults.Oversized,
    faults.Late,
    faults.SchemaChange,
    faults.PollStall,
    faults.DependencyDown,
    faults.DependencySlow,
)
"""Their instants are part of the plan that producers and members follow by the clock, so nothing can hold them."""


class Gate(Protocol):
    """Says when a run may go on."""

    def ready(self) -> None:
        """Return when the load may begin; everything is prepared and waits."""

    def may_begin(self, fault: str) -> bool:
        """Whether a fault whose instant has come may begin; it is asked again and again while the load goes on."""

    def missed(self, fault: str) -> None:
        """Hear that the load has ended and a fault was never let in."""


class Open:
    """The gate that holds nothing."""

    def ready(self) -> None:
        """Return at once."""

    def may_begin(self, fault: str) -> bool:
        """Let every fault in."""
        return True

    def missed(self, fault: str) -> None:
        """Never happens."""


def can_wait(fault: Fault) -> bool:
    """Tell whether a fault can be held back while the load goes on."""
    of_a_producer = isinstance(fault, faults.ClockSkew) and fault.producer is not None
    return not isinstance(fault, IN_THE_EVENTS) and not of_a_producer
