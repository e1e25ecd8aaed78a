"""Instants that a driven run observed and that the simulator takes instead of drawing them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rundata.rows import Kind, Outcome
from rundata.tables import FaultRecord, Incident, RunData
from scenarios import faults as fault_types
from scenarios.clients import producer_settings
from scenarios.quantities import SECOND

_EVER = 2**63 - 1
_AT_ONCE_NS = 5_000_000
"""A member that calls again so soon after its last try has been at work until then; a synchronous commit may lie between."""

_SERVED_NS = 30_000_000
"""So long after leaders go on half of what had waited for them is acknowledged (24 to 49 ms in 23 simulated crashes)."""
_ENOUGH_WAITED = 50
_STALLED_NS = 300_000_000
"""Longer than anything but a follower's wait keeps a producer's next request, which holds all that has been waiting."""


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
    answered_ns: Mapping[int, int] = field(default_factory=dict)
    """By fault: when leaders that had waited with the lost broker in sync answered again."""
    discovered_ns: Mapping[tuple[int, str, str], int] = field(default_factory=dict)
    """By fault, process or member (`shop/1`) and partition (`orders/0`): when it turned to the new leader."""
    session_expired_ns: Mapping[tuple[int, str], int] = field(default_factory=dict)
    """By fault and member: when the coordinator gave the crashed member up."""
    registered_ns: Mapping[int, int] = field(default_factory=dict)
    """By fault: when the restarted broker was registered again."""
    back_in_sync_ns: Mapping[int, int] = field(default_factory=dict)
    """By fault: when the restarted broker was in the in-sync replicas again."""
    send_ns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By producer process: how long after its intended time each of its events was handed to the client, in the order of the plan."""
    assignments: Mapping[str, tuple[Assignment, ...]] = field(default_factory=dict)
    """By group: what was assigned, in the order of time; the first holds from time 0."""

    @classmethod
    def from_run(cls, run: RunData) -> "Observed":
        """Return what a driven run tells of its random instants; what it does not tell stays to be drawn.

        When a client turned to a new leader nobody sees. It is estimated: the first acknowledgement (delivery) of a partition
        that moved, less what such a request typically took that client before the fault; of a member that was at work until
        that delivery, the middle between it and the call before. A client that had nothing to
        send (read) meanwhile seems to be later than it was, which changes nothing for its events.
        """
        found = [_OneFault(run, index, record) for index, record in _begun(run)]
        brokers = [one for one in found if one.node]
        return cls(
            fence_ns=_known(brokers, lambda one: one.fence_ns),
            elected_ns=_known(brokers, lambda one: one.elected_ns),
            answered_ns=_known(brokers, lambda one: one.answered_ns()),
            registered_ns=_known(brokers, lambda one: one.registered_ns),
            back_in_sync_ns=_known(brokers, lambda one: one.back_in_sync_ns),
            discovered_ns={(one.index, who, of): at for one in brokers for who, of, at in one.discovered()},
            session_expired_ns={(one.index, who): at for one in found for who, at in one.expired()},
            assignments=_assigned_at_first(run),
        )


NOTHING_OBSERVED = Observed()


# ---- what a driven run tells ---------------------------------------------------------------------------------------


def _begun(run: RunData) -> Iterator[tuple[int, FaultRecord]]:
    """Yield each fault that was begun with its index into the plan's."""
    records = {(record.label, record.planned_begin_ns): record for record in run.faults}
    for index, planned in enumerate(run.plan.faults):
        if record := records.get((planned.label, planned.begin_ns)):
            yield index, record


class _OneFault:
    """One fault of a driven run: what the incidents after its begin say of it."""

    def __init__(self, run: RunData, index: int, record: FaultRecord) -> None:
        self.run, self.index, self.record = run, index, record
        fault = run.plan.faults[index].fault
        self.crash = isinstance(fault, fault_types.BrokerCrash)
        words = record.target.split()
        is_broker = isinstance(fault, fault_types.BrokerCrash | fault_types.BrokerStop)
        self.node = words[1] if is_broker and words[:1] == ["broker"] and len(words) > 1 else ""
        later = [r.began_ns for r in run.faults if r.began_ns > record.began_ns and r.target.split()[:2] == words[:2]]
        self.until_ns = min(later, default=_EVER)
        """Begin of the next fault of the same broker or member: what comes after it belongs to that one."""
        self.fence_ns = self._first("fence", record.began_ns) if self.crash else None
        moved_from_ns = self.fence_ns if self.crash else record.began_ns
        self.moved = self._moved(moved_from_ns) if self.node and moved_from_ns is not None else {}
        self.elected_ns = max(self.moved.values(), default=None)
        self.registered_ns = self._first("registered", record.ended_ns)
        self.back_in_sync_ns = self._back_in_sync()

    def _incidents(self, kind: str, since_ns: int) -> Iterator[Incident]:
        return (i for i in self.run.incidents if i.kind == kind and since_ns <= i.time_ns < self.until_ns)

    def _first(self, kind: str, since_ns: int) -> int | None:
        own = (i.time_ns for i in self._incidents(kind, since_ns) if i.where == f"broker {self.node}")
        return min(own, default=None)

    def _moved(self, since_ns: int) -> dict[tuple[str, int], int]:
        """Return when each partition got another leader, until the broker was started again."""
        moved: dict[tuple[str, int], int] = {}
        for incident in self._incidents("election", since_ns):
            topic, _, partition = incident.where.rpartition("/")
            other = incident.detail != f"leader {self.node}" and topic in self.run.names.topics
            if other and incident.time_ns < self.record.ended_ns:
                moved.setdefault((topic, int(partition)), incident.time_ns)
        return moved

    def _back_in_sync(self) -> int | None:
        """Return when the last partition had the broker among its replicas in sync again."""
        if self.registered_ns is None:
            return None
        back: dict[str, int] = {}
        for incident in self._incidents("isr", self.registered_ns):
            if incident.where.rpartition("/")[0] in self.run.names.topics and self.node in incident.detail.split(","):
                back.setdefault(incident.where, incident.time_ns)
        return max(back.values(), default=None)

    def answered_ns(self) -> int | None:
        """Return when the leaders that stayed seem to have answered again: half of what waited for them was acknowledged some 30 ms later."""
        if self.elected_ns is None or not self.crash:
            return None
        rows, names = self.run.operations, self.run.names
        waited = (rows["kind"] == Kind.send) & (rows["outcome"] == Outcome.ok)
        waited &= (rows["started_ns"] < self.elected_ns) & (rows["ended_ns"] > self.elected_ns)
        for topic, partition in self.moved:
            waited &= (rows["topic"] != names.topics.index(topic)) | (rows["partition"] != partition)
        ended_ns = rows["ended_ns"][waited]
        if len(ended_ns) < _ENOUGH_WAITED:
            return None
        return max(self.elected_ns, int(np.median(ended_ns)) - _SERVED_NS)

    def discovered(self) -> Iterator[tuple[str, str, int]]:
        """Yield each client of each partition that moved, and when it seems to have turned to the new leader.

        A client asks for all of them at once, and partitions that moved within ms of each other can still fall to different answers.
        """
        if self.elected_ns is None:
            return
        rows, names = self.run.operations, self.run.names
        number = {topic: names.topics.index(topic) for topic, _ in self.moved}
        concerned = {
            f"{topic}/{partition}": (rows["topic"] == number[topic]) & (rows["partition"] == partition)
            for topic, partition in self.moved
        }
        sends = (rows["kind"] == Kind.send) & (rows["outcome"] == Outcome.ok)
        deliveries = (rows["kind"] == Kind.delivery) & (rows["event_id"] >= 0)
        acknowledged_ns = np.full(int(rows["event_id"].max(initial=-1)) + 1, _EVER, np.int64)
        acknowledged_ns[rows["event_id"][sends]] = rows["ended_ns"][sends]
        for code, name in enumerate(names.processes):
            produces = name.rpartition("/")[0] in self.run.plan.producers
            its = rows["process"] == code
            mine = rows[own := its & (sends if produces else deliveries)]
            if produces:
                linger_ns = producer_settings(self.run.plan.scenario, name.rpartition("/")[0]).linger_ns
                took_ns, at_ns = mine["ended_ns"] - mine["started_ns"] - linger_ns, mine["ended_ns"]
            else:
                took_ns, at_ns = mine["started_ns"] - acknowledged_ns[mine["event_id"]], mine["started_ns"]
            worked = rows[its & (rows["kind"] == Kind.try_)]
            for partition, rows_of in concerned.items():
                after = mine[rows_of[own] & (at_ns > self.elected_ns)]
                if len(after):
                    arrived_ns = (
                        _went_on(after) if produces else _arrived(int(after["started_ns"].min()), at_ns, worked)
                    )
                    before = took_ns[at_ns < self.record.began_ns]
                    typical_ns = max(0, int(np.median(before))) if len(before) else 0
                    yield name, partition, max(self.elected_ns, arrived_ns - typical_ns)

    def expired(self) -> Iterator[tuple[str, int]]:
        """Yield the crashed member and when its session ran out."""
        if isinstance(self.run.plan.faults[self.index].fault, fault_types.MemberCrash):
            incidents = self._incidents("session expired", self.record.began_ns)
            own = [i.time_ns for i in incidents if i.where == self.record.target]
            yield from ((self.record.target, at) for at in own[:1])


def _went_on(sends: NDArray[np.void]) -> int:
    """Return when acknowledgements of a partition came again, and went on coming.

    A single one that others who had been waiting did not follow for a long time does not count: what came then waited for
    the new leader's followers, as all of it does when discoveries are given.
    """
    order = np.argsort(sends["ended_ns"], kind="stable")
    ended_ns, started_ns = sends["ended_ns"][order], sends["started_ns"][order]
    soon = ended_ns[:-1] < ended_ns[0] + SECOND
    stalled = soon & (np.diff(ended_ns) > _STALLED_NS) & (started_ns[1:] < ended_ns[:-1])
    return int(ended_ns[np.flatnonzero(stalled)[-1] + 1 if stalled.any() else 0])


def _arrived(first_ns: int, polled_ns: NDArray[np.int64], worked: NDArray[np.void]) -> int:
    """Return when a partition's first record seems to have come to a member that was handed it at `first_ns`.

    One that worked until then was handed it no sooner although it was there: at any time since its call before. Half of that is the least wrong.
    """
    was_busy = bool(((worked["started_ns"] < first_ns) & (worked["ended_ns"] > first_ns - _AT_ONCE_NS)).any())
    earlier_ns = polled_ns[polled_ns < first_ns]
    return (first_ns + int(earlier_ns.max())) // 2 if was_busy and len(earlier_ns) else first_ns


def _known(found: list[_OneFault], instant: Callable[[_OneFault], int | None]) -> dict[int, int]:
    instants = ((one.index, instant(one)) for one in found)
    return {index: at for index, at in instants if at is not None}


def _assigned_at_first(run: RunData) -> dict[str, tuple[Assignment, ...]]:
    """Return what each group's members had at time 0."""
    owners: dict[str, dict[tuple[str, int], str]] = {}
    for incident in run.incidents:
        if incident.kind == "assignment" and incident.time_ns <= 0:
            group = incident.where.rpartition("/")[0]
            for word in incident.detail.split():
                topic, _, partition = word.rpartition("/")
                owners.setdefault(group, {})[topic, int(partition)] = incident.where
    return {group: (Assignment(0, of_group),) for group, of_group in owners.items()}
