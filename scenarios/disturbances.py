"""What faults do to the events of a producer: poison, size, lateness, second sends and schema versions, drawn for the plan."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenarios.faults import Duplicates, Late, Oversized, Poison, SchemaChange
from scenarios.occurrences import PlannedFault
from scenarios.schema import Scenario
from scenarios.streams import uniforms

Ints = NDArray[np.int64]
NOT_AGAIN = -1
"""The producer does not send the event once more."""
UNCHANGED = -1
"""No schema change concerns the event."""
_LATEST_NS = 2**60
_OfEvents = Poison | Duplicates | Oversized | Late | SchemaChange


@dataclass(frozen=True)
class Disturbances:
    """The faults of one producer's events, which are in the order of their intended times."""

    producer: str
    intended: Ints
    faults: tuple[PlannedFault, ...]
    draw: Callable[[str], np.random.Generator]

    def poison(self, base: float) -> NDArray[np.bool_]:
        """Return which events no handler can ever process."""
        poison = np.zeros(len(self.intended), np.bool_)
        if base > 0:
            poison = uniforms(self.draw("poison"), len(self.intended)) < base
        for _, chosen in self._chosen(Poison):
            poison[chosen] = True
        return poison

    def size_bytes(self, usual: NDArray[np.float64]) -> Ints:
        """Return the sizes with those that are too large."""
        size = usual.astype(np.int64)
        for planned, chosen in self._chosen(Oversized):
            assert isinstance(planned.fault, Oversized)
            size[chosen] = planned.fault.size
        return size

    def late_ns(self) -> Ints:
        """Return how much later than intended each event is handed to the client."""
        late = np.zeros(len(self.intended), np.int64)
        for planned, chosen in self._chosen(Late):
            assert isinstance(planned.fault, Late)
            u = uniforms(self.draw(f"late by fault {self.faults.index(planned)}"), len(chosen))
            late[chosen] = np.rint(np.minimum(planned.fault.by.quantile(u), _LATEST_NS)).astype(np.int64)
        return late

    def again_ns(self) -> Ints:
        """Return when each event is sent once more, or NOT_AGAIN."""
        again = np.full(len(self.intended), NOT_AGAIN, np.int64)
        late = self.late_ns()
        for planned, chosen in self._chosen(Duplicates):
            assert isinstance(planned.fault, Duplicates)
            again[chosen] = self.intended[chosen] + late[chosen] + planned.fault.after
        return again

    def schema_change(self) -> Ints:
        """Return the number of the planned schema change that each event carries, or UNCHANGED; the latest begun counts."""
        changed = np.full(len(self.intended), UNCHANGED, np.int64)
        for number, planned in self._of(SchemaChange):
            assert isinstance(planned.fault, SchemaChange)
            inside = self._inside(planned)
            u = uniforms(self.draw(f"schema fault {number}"), len(inside))
            changed[inside[u < planned.fault.share]] = number
        return changed

    def _of(self, kind: type[_OfEvents]) -> Iterator[tuple[int, PlannedFault]]:
        for number, planned in enumerate(self.faults):
            if isinstance(planned.fault, kind) and planned.fault.producer == self.producer:
                yield number, planned

    def _inside(self, planned: PlannedFault) -> Ints:
        return np.flatnonzero((self.intended >= planned.begin_ns) & (self.intended < planned.until_ns))

    def _chosen(self, kind: type[_OfEvents]) -> Iterator[tuple[PlannedFault, Ints]]:
        """Yield each fault of a kind with the rows that it concerns: a share of those in its interval, or so many."""
        for number, planned in self._of(kind):
            fault = planned.fault
            assert isinstance(fault, Poison | Duplicates | Oversized | Late)
            inside = self._inside(planned)
            u = uniforms(self.draw(f"{fault.fault} fault {number}"), len(inside))
            if fault.share is not None:
                yield planned, inside[u < fault.share]
            else:
                yield planned, inside[np.argsort(u, kind="stable")[: fault.events]]


def schema_versions(faults: tuple[PlannedFault, ...], change: Ints) -> NDArray[np.int16]:
    """Return each event's schema version from the number of the change that it carries."""
    of_fault = [planned.fault.version if isinstance(planned.fault, SchemaChange) else 1 for planned in faults]
    return np.array([*of_fault, 1], np.int16)[change]


def undecodable(
    scenario: Scenario, faults: tuple[PlannedFault, ...], change: Ints, topic: Ints
) -> Mapping[str, NDArray[np.bool_]]:
    """Return by group which events it cannot decode before it is deployed anew."""
    topics = list(scenario.topics)
    found = {}
    for name, group in scenario.groups.items():
        breaks = np.zeros(len(faults) + 1, np.bool_)
        for number, planned in enumerate(faults):
            if isinstance(planned.fault, SchemaChange):
                breaks[number] = planned.fault.breaks is None or name in planned.fault.breaks
        if not breaks.any():
            found[name] = np.zeros(len(topic), np.bool_)
            continue
        reads = np.isin(topic, [topics.index(each) for each in group.topics])
        found[name] = breaks[change] & reads
    return found
