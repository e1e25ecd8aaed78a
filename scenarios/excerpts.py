"""A part of a scenario's time as a scenario of its own: its load, what led in, and the faults that fall into it."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from scenarios.faults import Fault
from scenarios.occurrences import PlannedFault
from scenarios.schema import Arrivals, Scenario


class Loads:
    """The rated arrivals of each producer of a scenario, looked up by time."""

    def __init__(self, scenario: Scenario) -> None:
        self._parts: dict[str, tuple[list[int], list[Arrivals]]] = {}
        for name, producer in scenario.producers.items():
            begins, parts, reached_ns = list[int](), list[Arrivals](), 0
            for part in producer.rated(scenario.duration):
                length_ns = part.for_ns if part.for_ns is not None else scenario.duration - reached_ns
                begins.append(reached_ns)
                parts.append(part.model_copy(update={"for_ns": length_ns}))
                reached_ns += length_ns
            self._parts[name] = begins, parts

    def between(self, producer: str, begin_ns: int, end_ns: int) -> tuple[Arrivals, ...]:
        """Return a producer's arrivals between two instants, counted from the first of them."""
        begins, parts = self._parts[producer]
        found = list[Arrivals]()
        for number in range(max(0, bisect_right(begins, begin_ns) - 1), len(parts)):
            if begins[number] >= end_ns:
                break
            part, from_ns = parts[number], begins[number]
            last_ns = min(end_ns - from_ns, part.for_ns or 0)
            if (first_ns := max(0, begin_ns - from_ns)) < last_ns:
                whole = first_ns == 0 and last_ns == part.for_ns
                found.append(part if whole else part.cut(first_ns, last_ns))
        return tuple(found)

    def shape(self, begin_ns: int, end_ns: int) -> tuple[object, ...]:
        """Return what two stretches of equal load have in common: rates, lengths and spacing of all producers."""
        return tuple(
            tuple((part.rate, part.for_ns, str(part.spacing)) for part in self.between(name, begin_ns, end_ns))
            for name in self._parts
        )


def excerpt(
    scenario: Scenario,
    begin_ns: int,
    end_ns: int,
    *,
    loads: Loads | None = None,
    lead_ns: int = 0,
    faults: Iterable[PlannedFault] = (),
) -> Scenario:
    """Return what lies between two instants, after so much of the load before it as its warm-up, with whole faults that begin in it.

    Its time 0 is `begin_ns - lead_ns`, or that of the scenario where there is less before.
    """
    loads = loads or Loads(scenario)
    start_ns = max(0, begin_ns - lead_ns)
    producers = {
        name: producer.model_copy(update={"arrivals": loads.between(name, start_ns, end_ns)})
        for name, producer in scenario.producers.items()
    }
    return scenario.model_copy(
        update={
            "duration": end_ns - start_ns,
            "warm_up": begin_ns - start_ns,
            "producers": producers,
            "faults": tuple(_moved(each, start_ns) for each in faults),
        }
    )


def _moved(planned: PlannedFault, start_ns: int) -> Fault:
    """Return a fault that has only this occurrence, so much earlier, under the name that the scenario gives it."""
    changes: dict[str, Any] = {
        "name": planned.label,
        "at": (planned.begin_ns - start_ns,),
        "every": None,
        "random": None,
    }
    if not planned.stays and "for_ns" in type(planned.fault).model_fields:
        changes["for_ns"] = planned.end_ns - planned.begin_ns
    return planned.fault.model_copy(update=changes)
