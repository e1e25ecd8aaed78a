"""What the system was like over time, read from a run's faults and incidents: brokers up, leaders, replicas in sync, members there."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reports.alerts.series import Bools
from rundata.rows import NEVER
from rundata.tables import FaultRecord, Incident, RunData
from scenarios.clients import broker_setting
from scenarios.partitioners import coordinator_partition
from scenarios.plan import replica_assignment
from scenarios.retries import all_topics

Nanos = NDArray[np.int64]
Spans = list[tuple[int, int]]
_BROKER_DOWN = ("broker_crash", "broker_stop", "rolling_restart", "host_crash")
_BROKER_SILENT = ("broker_pause", "cut")
_MEMBER_DOWN = ("member_crash", "member_leave", "rolling_deploy")
_NOTICED = ("session expired", "eviction")
_IN_BRACKETS = re.compile(r"\([^)]*\)")
_GROWN = re.compile(r"(\d+) partitions instead of \d+")
NOT_THERE = -1
"""The leader of a partition that a fault adds later."""
_PROCESS = re.compile(r"broker \d+|[A-Za-z0-9][\w.-]*/\d+")


def inside(spans: Spans, at_ns: Nanos) -> Bools:
    """Return which instants lie in some span; a span's end is outside."""
    found = np.zeros(len(at_ns), np.bool_)
    for begin, end in spans:
        found |= (at_ns >= begin) & (at_ns < end)
    return found


@dataclass(frozen=True, eq=False)
class System:
    """A run's system over time."""

    run: RunData

    # ---- brokers ---------------------------------------------------------------------------------------------------

    def broker_down(self, broker: int) -> Spans:
        """Return when a broker's process was not there."""
        return self._of(_BROKER_DOWN, f"broker {broker}")

    def broker_silent(self, broker: int) -> Spans:
        """Return when a broker was there and did not answer."""
        return self._of(_BROKER_SILENT, f"broker {broker}")

    def unusable(self, broker: int) -> Spans:
        """Return when a broker could not be asked, until it was registered again."""
        down = [
            (
                begin,
                next((i.time_ns for i in self._incidents("registered", f"broker {broker}") if i.time_ns >= end), end),
            )
            for begin, end in self.broker_down(broker)
        ]
        return down + self.broker_silent(broker)

    def fenced(self, broker: int) -> Spans:
        """Return when the cluster's metadata did not list a broker: from its fence (or its orderly end) until it was registered again."""
        found = []
        for begin, end in self.unusable(broker):
            fences = [i.time_ns for i in self._incidents("fence", f"broker {broker}") if i.time_ns >= begin]
            fenced = min(fences, default=begin)
            if fenced < end:
                found.append((fenced, end))
        return found

    def _of(self, kinds: Sequence[str], target: str) -> Spans:
        return [
            (fault.began_ns, min(fault.ended_ns, NEVER))
            for fault in self.run.faults
            if fault.kind in kinds and fault.began_ns != NEVER and target in _targets(fault)
        ]

    def _incidents(self, kind: str, where: str) -> list[Incident]:
        return self._by_place.get((kind, where), [])

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], list[Incident]]:
        found: dict[tuple[str, str], list[Incident]] = {}
        for incident in sorted(self.run.incidents, key=lambda one: one.time_ns):
            found.setdefault((incident.kind, incident.where), []).append(incident)
        return found

    # ---- partitions ------------------------------------------------------------------------------------------------

    def partitions(self, topic: str) -> range:
        """Return the partitions that a topic has at the end; `since_ns` tells from when on."""
        counts = [count for _, count in self._growth(topic)]
        return range(max([self.run.plan.scenario.topics[topic].partitions, *counts]))

    def since_ns(self, topic: str, partition: int) -> int:
        """Return from when on there is a partition: 0, or the instant at which a fault added it."""
        if partition < self.run.plan.scenario.topics[topic].partitions:
            return 0
        return min((at_ns for at_ns, count in self._growth(topic) if partition < count), default=NEVER)

    def _growth(self, topic: str) -> list[tuple[int, int]]:
        """Return when faults gave a topic more partitions, and how many it has since."""
        return [
            (fault.began_ns, int(grown[1]))
            for fault in self.run.faults
            if fault.kind == "add_partitions" and fault.target == topic and (grown := _GROWN.match(fault.proof))
        ]

    def leader(self, topic: str, partition: int, at_ns: Nanos) -> NDArray[np.int64]:
        """Return a partition's leader at each instant; 0 where the leader could not be asked and no other was elected, -1 before it was there."""
        scenario, since_ns = self.run.plan.scenario, self.since_ns(topic, partition)
        shift, nodes = list(all_topics(scenario)).index(topic), scenario.brokers.nodes
        replicas = replica_assignment(partition + 1, scenario.replication_of(topic), nodes, shift=shift)[partition]
        up = [broker for broker in replicas if not inside(self.unusable(broker), np.asarray([since_ns]))[0]]
        first = up[0] if since_ns and up else replicas[0]
        return np.where(at_ns < since_ns, NOT_THERE, self._led(f"{topic}/{partition}", first, at_ns))

    def coordinator(self, group: str, at_ns: Nanos) -> NDArray[np.int64]:
        """Return the broker that answers for a group at each instant; 0 while its offsets partition has no leader that could be asked."""
        scenario = self.run.plan.scenario
        count = int(broker_setting(scenario, "offsets.topic.num.partitions"))
        partition, nodes = coordinator_partition(group, count), scenario.brokers.nodes
        first = replica_assignment(count, min(3, nodes), nodes)[partition][0]
        return self._led(f"__consumer_offsets/{partition}", first, at_ns)

    def _led(self, place: str, first: int, at_ns: Nanos) -> NDArray[np.int64]:
        leaders = [(0, first)]
        for incident in self._incidents("election", place):
            number = incident.detail.removeprefix("leader ").strip()
            leaders.append((incident.time_ns, int(number) if number.isdecimal() else 0))
        found = _steps(leaders, at_ns)
        for broker in range(1, self.run.plan.scenario.brokers.nodes + 1):
            found[(found == broker) & inside(self.unusable(broker), at_ns)] = 0
        return found

    def in_sync(self, topic: str, partition: int, at_ns: Nanos) -> NDArray[np.int64]:
        """Return how many replicas were in sync at each instant."""
        sizes = [(0, self.run.plan.scenario.replication_of(topic))]
        sizes += [
            (incident.time_ns, len([each for each in incident.detail.split(",") if each.strip()]))
            for incident in self._incidents("isr", f"{topic}/{partition}")
        ]
        return _steps(sizes, at_ns)

    # ---- processes -------------------------------------------------------------------------------------------------

    def process_down(self, process: str) -> Spans:
        """Return when a producer's or member's process was not there."""
        return self._of((*_MEMBER_DOWN, "producer_crash"), process)

    def members(self, group: str, at_ns: Nanos) -> NDArray[np.int64]:
        """Return how many members the coordinator counts: one that died counts until its session is over."""
        count = self.run.plan.scenario.groups[group].members
        found = np.full(len(at_ns), count, np.int64)
        for number in range(1, count + 1):
            name = f"{group}/{number}"
            for begin, end in self.process_down(name):
                noticed = [
                    i.time_ns for kind in _NOTICED for i in self._incidents(kind, name) if begin <= i.time_ns < end
                ]
                left = any(
                    f.kind != "member_crash" and f.began_ns == begin and name in _targets(f) for f in self.run.faults
                )
                missing = begin if left else min(noticed, default=end)
                found -= inside([(missing, end)], at_ns)
        return found


def _targets(fault: FaultRecord) -> list[str]:
    """Return the processes that a fault hit, as `broker 1` or `fulfilment/2`; in brackets stands how they were named.

    A cut between brokers alone is none that an exporter, which is a client, would notice.
    """
    target = _IN_BRACKETS.sub("", fault.target)
    if fault.kind == "cut" and "clients" not in target:
        return []
    return _PROCESS.findall(target)


def _steps(changes: Iterable[tuple[int, int]], at_ns: Nanos) -> NDArray[np.int64]:
    """Return a value that changes at given times."""
    times, values = zip(*changes, strict=True)
    return np.asarray(values, np.int64)[np.searchsorted(np.asarray(times), at_ns, side="right") - 1]
