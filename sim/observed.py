"""Instants that a driven run observed and that the simulator takes instead of drawing them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Assignment:
    """Which partitions (topic, number) each member of a group had from an instant on."""

    time_ns: int
    owners: Mapping[tuple[str, int], str]
    """By topic and partition: the member's name (`fulfilment/1`)."""


@dataclass(frozen=True)
class Observed:
    """Instants from time 0 that replace drawn ones; whatever is missing is drawn. Faults are indices into `plan.faults`."""

    fence_ns: Mapping[int, int] = field(default_factory=dict)
    """By fault: when the controller fenced the broker."""
    elected_ns: Mapping[int, int] = field(default_factory=dict)
    """By fault: when the new leaders were known."""
    discovered_ns: Mapping[tuple[int, str], int] = field(default_factory=dict)
    """By fault and process or member (`shop/1`): when it turned to the new leaders."""
    session_expired_ns: Mapping[tuple[int, str], int] = field(default_factory=dict)
    """By fault and member: when the coordinator gave the crashed member up."""
    registered_ns: Mapping[int, int] = field(default_factory=dict)
    """By fault: when the restarted broker was registered again."""
    back_in_sync_ns: Mapping[int, int] = field(default_factory=dict)
    """By fault: when the restarted broker was in the in-sync replicas again."""
    assignments: Mapping[str, tuple[Assignment, ...]] = field(default_factory=dict)
    """By group: what was assigned, in the order of time; the first holds from time 0."""


NOTHING_OBSERVED = Observed()
