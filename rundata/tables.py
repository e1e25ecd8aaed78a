"""The run dataset's tables in memory: rows with integer codes, equal for both engines. `rundata.parquet` keeps them on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rundata.rows import INSTANT
from scenarios.actions import Scale
from scenarios.plan import Plan
from scenarios.retries import all_topics
from scenarios.schema import Scenario


@dataclass(frozen=True)
class Extent:
    """What a partition held at the end: offsets from `first` up to, not including, `end`."""

    topic: str
    partition: int
    first: int
    end: int


@dataclass(frozen=True)
class FaultRecord:
    """One occurrence of a fault: planned, begun, ended, and the proof that it had its effect."""

    label: str
    kind: str
    target: str
    planned_begin_ns: int
    planned_end_ns: int
    began_ns: int
    ended_ns: int
    proof: str


@dataclass(frozen=True)
class Incident:
    """Something that happened: election, fence, registration, isr, rebalance, restart, eviction; with its cause.

    `where` is a broker ("broker 2"), a partition ("orders/0"), a group or a member ("fulfilment/1").
    """

    time_ns: int
    kind: str
    where: str
    detail: str
    cause: str = ""


@dataclass(frozen=True)
class Phase:
    """A stretch of the run: warm-up, measure, heal, drain."""

    name: Literal["warm-up", "measure", "heal", "drain"]
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Gauge:
    """A sampled figure: `cpu_share` of a process, `rss_bytes`, `own_bytes` (those without pages of files that it maps), `buffer_events`, `members`, `isr`."""

    time_ns: int
    name: str
    where: str
    value: float


@dataclass(frozen=True)
class Names:
    """What the integer codes stand for; derived from the scenario, so equal in both engines."""

    processes: tuple[str, ...]
    groups: tuple[str, ...]
    topics: tuple[str, ...]
    """Those of the file, and then the retry topics."""
    event_types: tuple[str, ...]

    def process(self, code: int) -> str:
        """Return the process that a row is of; rows of a replay and what coordinators were asked are of none."""
        return self.processes[code] if code >= 0 else "no process of the scenario"

    @classmethod
    def of(cls, scenario: Scenario) -> "Names":
        """Return the names of a scenario: producers' processes first (`shop/1`), then members (`fulfilment/1`)."""
        entities = [(name, producer.count) for name, producer in scenario.producers.items()]
        entities += [(name, most_members(scenario, name)) for name in scenario.groups]
        return cls(
            processes=tuple(f"{name}/{number}" for name, count in entities for number in range(1, count + 1)),
            groups=tuple(scenario.groups),
            topics=tuple(all_topics(scenario)),
            event_types=tuple(
                dict.fromkeys(
                    [p.event or name for name, p in scenario.producers.items()]
                    + [e.event or e.topic for group in scenario.groups.values() for e in group.emits]
                )
            ),
        )


def most_members(scenario: Scenario, group: str) -> int:
    """Return how many members a group has at its largest: at the start, after scaling, or by its autoscaler."""
    what = scenario.groups[group]
    scaled = [each.to for each in scenario.actions if isinstance(each, Scale) and each.group == group]
    return max(what.members, *scaled, what.autoscaler.max if what.autoscaler else 0)


@dataclass(frozen=True, eq=False)
class RunData:
    """Everything about one run. Indicators, checks and reports read only this."""

    plan: Plan
    engine: Literal["simulated", "driven"]
    operations: NDArray[np.void]
    """Rows of OPERATION, in the order of started_ns (ties: kind, event_id, process)."""
    log: NDArray[np.void]
    """Rows of LOG_RECORD in the order of topic, partition, offset."""
    extents: tuple[Extent, ...] = ()
    faults: tuple[FaultRecord, ...] = ()
    actions: tuple[FaultRecord, ...] = ()
    """What people did about it."""
    incidents: tuple[Incident, ...] = ()
    phases: tuple[Phase, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    instants: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, INSTANT))
    """Rows of INSTANT, one for each delivery of a simulated run, in the order of delivered_ns (ties: process, event_id)."""
    end_ns: int = 0
    """When the drain ended."""
    error_names: Mapping[int, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    """What run.json holds beside the scenario: state, profile, brokers, versions, host, command line, invalid reasons."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was derived when a run travels to another process."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def names(self) -> Names:
        """What the codes in `operations` and `log` stand for."""
        return Names.of(self.plan.scenario)
