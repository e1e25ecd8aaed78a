"""The dependencies of a scenario, and who calls them, as the kernel's arrays."""

import zlib

import numpy as np
from numpy.typing import NDArray

from scenarios.faults import DependencyDown, DependencySlow
from scenarios.plan import Plan
from scenarios.quantities import SECOND
from scenarios.schema import Scenario
from sim import world as at
from sim.world import NEVER, NONE, Ints


def call_stream(index: int, dependency: str) -> int:
    """Return the number of the stream from which a group's n-th call draws; the live driver has the same."""
    return zlib.crc32(f"call {index} of {dependency}".encode())


def interval_ns(rate_hz: float | None) -> int:
    """Return the time between two calls that a rate lets through, 0 without one."""
    return 0 if rate_hz is None else round(SECOND / rate_hz)


def dependency_rows(scenario: Scenario) -> Ints:
    """Return the dependencies at time 0: idle, their buckets full."""
    rows = np.zeros((len(scenario.dependencies), at.N_DEPENDENCY), np.int64)
    for row, what in zip(rows, scenario.dependencies.values(), strict=True):
        row[at.D_INTERVAL_NS], row[at.D_BURST] = interval_ns(what.rate), what.burst
        row[at.D_PLACES], row[at.D_REFUSES] = what.concurrency or 0, what.over == "refuse"
        row[[at.D_HEAD, at.D_TAIL, at.D_LOOK_AT]] = NONE
    return rows


def group_calls(scenario: Scenario) -> Ints:
    """Return the calls that each group's tries make, in order."""
    most = max((len(group.calls) for group in scenario.groups.values()), default=0)
    numbers = {name: number for number, name in enumerate(scenario.dependencies)}
    found = np.zeros((len(scenario.groups), most, at.N_GROUP_CALL), np.int64)
    for code, group in enumerate(scenario.groups.values()):
        for index, call in enumerate(group.calls):
            row = found[code, index]
            row[at.GC_DEPENDENCY], row[at.GC_STREAM] = numbers[call.dependency], call_stream(index, call.dependency)
            row[at.GC_TIMEOUT] = NEVER if call.timeout is None else call.timeout
            if call.breaker is not None:
                row[at.GC_OPENS_AFTER], row[at.GC_STAYS_NS] = call.breaker.opens_after, call.breaker.stays_open
                row[at.GC_PROBES], row[at.GC_WAITS] = call.breaker.probes, call.breaker.while_open == "wait"
    return found


def dependency_faults(plan: Plan) -> tuple[Ints, NDArray[np.float64]]:
    """Return when dependencies are down or slow, and the factors of slow ones."""
    numbers = {name: number for number, name in enumerate(plan.scenario.dependencies)}
    rows, factors = list[tuple[int, ...]](), list[float]()
    for index, planned in enumerate(plan.faults):
        match planned.fault:
            case DependencyDown() as fault:
                rows.append((numbers[fault.dependency], planned.begin_ns, planned.end_ns, 0, 1, 0, index))
                factors.append(1.0)
            case DependencySlow() as fault:
                rows.append((numbers[fault.dependency], planned.begin_ns, planned.end_ns, fault.plus, 0, 0, index))
                factors.append(fault.factor)
            case _:
                pass
    return np.array(rows, np.int64).reshape(len(rows), at.N_DEP_FAULT), np.array(factors, np.float64)


def proof_of(row: Ints) -> str:
    """Return what a fault of a dependency did, as its row tells at the end of a run."""
    return f"calls {'refused' if row[at.DF_DOWN] else 'slowed'}: {row[at.DF_COUNT]}"
