"""What the driver knows of a run while it goes on: it turns new rows into Parquet parts and keeps count for the display and the drain."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadgen.emitted import Emitted
from loadgen.outside import Outside
from rundata import row_log
from rundata.dataset import RunWriter
from rundata.rows import NONE, OPERATION, UNTIMED, Kind, Outcome
from rundata.tables import Names
from scenarios.outside import FIRST, outside_topics
from scenarios.plan import Plan
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

_ENDS = (int(Kind.skip), int(Kind.dead_letter))
HISTOGRAM_MS = np.concatenate([np.arange(0, 10, 0.5), np.arange(10, 100, 5), np.geomspace(100, 100_000, 31)])
"""Edges of the latency histogram that goes to Locust's page."""


@dataclass(frozen=True)
class Progress:
    """A run at one moment, for a display."""

    phase: str
    """preparing, warming up, running, draining, reading back."""
    message: str = ""
    at_ns: int = 0
    """Since the clock's start; negative before it."""
    duration_ns: int = 0
    left_ns: int = 0
    """Until the load ends, then until the drain must end."""
    planned: int = 0
    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    """Sends that were refused or whose outcome is unknown."""
    planned_hz: float = 0.0
    acknowledged_hz: float = 0.0
    """Over about the last second."""
    effects_hz: Mapping[str, float] = field(default_factory=dict)
    lag: Mapping[str, int] = field(default_factory=dict)
    """By group: acknowledged and not ended."""
    waiting_s: Mapping[str, float] = field(default_factory=dict)
    """By group: how long ago the oldest of these was meant to be sent."""
    bad: Mapping[str, int] = field(default_factory=dict)
    """By objective on latency or delivery of a group: measured events that were late, or are overdue."""
    faults: tuple[str, ...] = ()
    """Labels of the faults in effect."""


@dataclass(frozen=True)
class Summary:
    """What happened under one name since the last summary: for Locust's page."""

    name: str
    kind: str
    count: int
    failures: int
    histogram: tuple[tuple[float, int], ...]
    """Latency in ms (upper edges) and how many."""


class Recorder:
    """Reads the row logs of all children as they grow."""

    def __init__(self, plan: Plan, writer: RunWriter) -> None:
        self.plan = plan
        self.writer = writer
        self.names = Names.of(plan.scenario)
        self._events = row_log.Events(plan.key, plan.intended_ns)
        self._next_poll: dict[int, int] = {}
        """By process: one more than its highest poll."""
        self.acknowledged = np.zeros(len(plan), np.bool_)
        self.answered = np.zeros(len(plan), np.bool_)
        groups = plan.scenario.groups
        self.ended = {name: np.zeros(len(plan), np.bool_) for name in groups}
        self._reads = {
            name: np.isin(plan.topic, [plan.topics.index(topic) for topic in group.topics])
            for name, group in groups.items()
        }
        ours = [n for n, each in enumerate(plan.scenario.producers.values()) if not each.external]
        self._ours = np.isin(plan.producer, ours)
        """Declared events of the user's own programs are never sent: what these write is counted apart."""
        self._outside = Outside(plan)
        self._emitted = Emitted(plan, self._outside.holds)
        self._handed_on = {
            name: np.zeros(len(plan), np.bool_)
            for name, group in groups.items()
            if group.failures is not None and group.failures.retry.where == "topic"
        }
        """Of groups that retry by topic: events that went there, so that what is committed says nothing of them."""
        self.failed = 0
        self._offset = np.full(len(plan), NONE, np.int64)
        self._partition = np.full(len(plan), NONE, np.int64)
        self._committed: dict[tuple[str, int, int], int] = {}
        """By group, topic's code and partition: the offset to go on from."""
        self.passed_some = False
        """Whether the last look counted pairs as ended only because their group has committed beyond them."""
        self._read: dict[str, int] = {}
        self._recent: list[tuple[int, int, dict[str, int]]] = []
        self._summaries: dict[str, tuple[int, int, NDArray[np.int64]]] = {}
        self._budgets = budgets_of(plan.scenario)
        self._late = dict.fromkeys(self._budgets, 0)

    def take(self) -> None:
        """Read what the children have appended since the last call."""
        for path in row_log.logs_in(self.writer.folder):
            rows = row_log.read_rows(path, self._read.get(path.name, 0), self._events)
            if len(rows):
                self._read[path.name] = self._read.get(path.name, 0) + len(rows)
                self._count(rows, path.name)

    def _count(self, rows: NDArray[np.void], log: str) -> None:
        self._emitted.take(rows, log)
        self._outside.take(rows)
        self._summarise_outside(rows)
        rows = rows[rows["event_id"] < len(self.plan)]
        kind, outcome = rows["kind"], rows["outcome"]
        sends = rows[kind == Kind.send]
        ok = sends["outcome"] == Outcome.ok
        self.answered[sends["event_id"]] = True
        self.acknowledged[sends["event_id"][ok]] = True
        self.failed += int(np.count_nonzero(~ok))
        self._offset[sends["event_id"]] = sends["offset"]
        self._partition[sends["event_id"]] = sends["partition"]
        self._count_commits(rows[(kind == Kind.commit) & (outcome == Outcome.ok)])
        self._count_polls(rows[rows["poll_id"] != NONE])
        effects = (kind == Kind.try_) & (outcome == Outcome.ok)
        done = effects | np.isin(kind, _ENDS)
        for code, name in enumerate(self.names.groups):
            own = done & (rows["group"] == code)
            self._count_late(name, rows[own & effects])
            self.ended[name][rows["event_id"][own]] = True
            if name in self._handed_on:
                again = (kind == Kind.try_) & (rows["group"] == code) & (rows["retry_due_ns"] != UNTIMED)
                self._handed_on[name][rows["event_id"][again]] = True
            self._summarise(f"{name} effect", rows[own & effects], rows[own & ~effects])
        for index, name in enumerate(self.plan.producers):
            own_sends = self.plan.producer[sends["event_id"]] == index
            self._summarise(f"{name} acknowledged", sends[own_sends & ok], sends[own_sends & ~ok])

    def _summarise_outside(self, rows: NDArray[np.void]) -> None:
        """Show what the user's own programs send, and its effects, beside the rest."""
        theirs = outside_topics(self.plan.scenario)
        if not theirs:
            return
        rows = rows[rows["event_id"] >= FIRST]
        for name in theirs.values():
            own = (rows["process"] == self.names.processes.index(f"{name}/1")) & (rows["kind"] == Kind.send)
            self._summarise(f"{name} acknowledged", rows[own], rows[:0])
        effects = self._outside.effects(rows)
        for code, name in enumerate(self.names.groups):
            self._summarise(f"{name} effect", effects[effects["group"] == code], rows[:0])

    def _count_commits(self, commits: NDArray[np.void]) -> None:
        for row in commits:
            place = (self.names.groups[row["group"]], int(row["topic"]), int(row["partition"]))
            self._committed[place] = max(self._committed.get(place, 0), int(row["offset"]))

    def learn_committed(self, group: str, held: Mapping[tuple[str, int], int]) -> None:
        """Take what a group's coordinator holds: members that were killed cannot tell of all that their clients committed."""
        for (topic, partition), offset in held.items():
            place = (group, self.names.topics.index(topic), partition)
            self._committed[place] = max(self._committed.get(place, 0), offset)

    def _count_polls(self, rows: NDArray[np.void]) -> None:
        for process in np.unique(rows["process"]).tolist():
            most = int(rows["poll_id"][rows["process"] == process].max())
            self._next_poll[process] = max(self._next_poll.get(process, 0), most + 1)

    def _summarise(self, name: str, good: NDArray[np.void], bad: NDArray[np.void]) -> None:
        count, failures, histogram = self._summaries.get(name, (0, 0, np.zeros(len(HISTOGRAM_MS) + 1, np.int64)))
        latency_ms = (good["ended_ns"] - good["intended_ns"]) / 1e6
        steps = np.bincount(np.searchsorted(HISTOGRAM_MS, latency_ms), minlength=len(HISTOGRAM_MS) + 1)
        self._summaries[name] = (count + len(good), failures + len(bad), histogram + steps)

    def summaries(self) -> list[Summary]:
        """Return what happened since the last call, by producer and group."""
        taken, self._summaries = self._summaries, {}
        edges = np.append(HISTOGRAM_MS, HISTOGRAM_MS[-1])
        return [
            Summary(
                name=name.rpartition(" ")[0],
                kind=name.rpartition(" ")[2],
                count=count,
                failures=failures,
                histogram=tuple((float(edges[step]), int(histogram[step])) for step in np.flatnonzero(histogram)),
            )
            for name, (count, failures, histogram) in sorted(taken.items())
        ]

    def _count_late(self, group: str, effects: NDArray[np.void]) -> None:
        """Count first effects that came later than an objective allows."""
        for name, (of, limit_ns) in self._budgets.items():
            if of in (None, group) and len(effects):
                events, first = np.unique(effects["event_id"], return_index=True)
                took = effects["ended_ns"][first] - self.plan.intended_ns[events]
                counts = ~self.ended[group][events] & (self.plan.intended_ns[events] >= self.plan.scenario.warm_up)
                self._late[name] += int(np.count_nonzero(counts & (took > limit_ns)))

    def bad(self, at_ns: int) -> dict[str, int]:
        """Return by objective how many measured events were late, or have not ended and are overdue."""
        found = dict(self._late)
        for name, (of, limit_ns) in self._budgets.items():
            first, last = np.searchsorted(self.plan.intended_ns, [self.plan.scenario.warm_up, at_ns - limit_ns])
            for group in self._reads if of is None else (of,):
                due = (self._reads[group] & self._ours)[first:last] & ~self.ended[group][first:last]
                found[name] += int(np.count_nonzero(due)) + self._outside.overdue(group, at_ns - limit_ns)
        return found

    def waiting_s(self, at_ns: int) -> dict[str, float]:
        """Return by group how long ago the oldest acknowledged event that it has not ended was meant to be sent."""
        waited = {}
        for name, reads in self._reads.items():
            waits = self.acknowledged & reads & ~self.ended[name]
            oldest = int(np.argmax(waits)) if len(waits) else 0
            waited[name] = (at_ns - int(self.plan.intended_ns[oldest])) / SECOND if waits.any() else 0.0
            if (since_ns := self._outside.oldest_ns(name)) is not None:
                waited[name] = max(waited[name], (at_ns - since_ns) / SECOND)
        return waited

    def lag(self) -> dict[str, int]:
        """Return by group how many acknowledged events it has not ended."""
        return {
            name: int(np.count_nonzero(self.acknowledged & reads & ~self.ended[name]))
            + self._emitted.open(name)
            + self._outside.open(name)
            for name, reads in self._reads.items()
        }

    def lost(self, group: str, living: Collection[str]) -> set[int]:
        """Return the emitted events of which a group has heard nothing, and that nobody will send any more; `living` are the logs of processes that go on."""
        return self._emitted.lost(group, living)

    def forget(self, group: str, emitted: set[int]) -> None:
        """Wait no longer for some emitted events, which are not in the log."""
        self._emitted.forget(group, emitted)

    def all_ended(self, sent: int) -> bool:
        """Whether each event sent so far has its answer, and each pair has ended or lies below what its group committed."""
        if int(np.count_nonzero(self.answered)) < sent:
            return False
        if self._emitted.any_open():
            return False
        self.passed_some = False
        return all(self._passed_all(name, reads) for name, reads in self._reads.items())

    def _passed_all(self, group: str, reads: NDArray[np.bool_]) -> bool:
        left = np.flatnonzero(self.acknowledged & reads & ~self.ended[group])
        outside = self._outside.open(group)
        self.passed_some |= bool(len(left)) or bool(outside)
        if outside and not self._outside.beyond(group, self._committed):
            return False
        if self.plan.scenario.groups[group].effects is not None:
            return not len(left) and not outside  # what it says of its effects may come later than its commits
        if group in self._handed_on and self._handed_on[group][left].any():
            return False
        places = zip(self.plan.topic[left].tolist(), self._partition[left].tolist(), strict=True)
        committed = [self._committed.get((group, *place), 0) for place in places]
        return bool(np.all(self._offset[left] < committed)) and bool(np.all(self._offset[left] != NONE))

    def progress(self, phase: str, at_ns: int, left_ns: int, faults: tuple[str, ...], message: str = "") -> Progress:
        """Return the figures for a display."""
        effects = {name: int(np.count_nonzero(ended)) + self._outside.ended(name) for name, ended in self.ended.items()}
        acknowledged = int(np.count_nonzero(self.acknowledged)) + len(self._outside)
        self._recent = [each for each in self._recent if each[0] > at_ns - SECOND]
        self._recent.append((at_ns, acknowledged, effects))
        then, acknowledged_then, effects_then = self._recent[0]
        seconds = max(at_ns - then, 1) / SECOND if len(self._recent) > 1 else float("inf")
        return Progress(
            phase=phase,
            message=message,
            at_ns=at_ns,
            duration_ns=self.plan.scenario.duration,
            left_ns=max(0, left_ns),
            planned=len(self.plan),
            sent=int(np.searchsorted(self.plan.intended_ns, at_ns)),
            acknowledged=acknowledged,
            failed=self.failed,
            planned_hz=self._planned_hz(at_ns),
            acknowledged_hz=(acknowledged - acknowledged_then) / seconds,
            effects_hz={name: (count - effects_then[name]) / seconds for name, count in effects.items()},
            lag=self.lag(),
            waiting_s=self.waiting_s(at_ns),
            bad=self.bad(at_ns),
            faults=faults,
        )

    def _planned_hz(self, at_ns: int) -> float:
        first, last = np.searchsorted(self.plan.intended_ns, [at_ns - SECOND, at_ns])
        return float(last - first)

    def operations(self, started_ns: NDArray[np.int64]) -> NDArray[np.void]:
        """Return all rows, with one of unknown outcome for each send that was begun and never answered."""
        open_sends = np.flatnonzero((started_ns != NONE) & ~self.answered)
        logs = [row_log.read_rows(path, 0, self._events) for path in row_log.logs_in(self.writer.folder)]
        return np.concatenate([np.zeros(0, OPERATION), *logs, unanswered(self.plan, open_sends, started_ns)])

    def next_poll_id(self, process: str) -> int:
        """Return the number from which a member that comes back counts its polls."""
        return self._next_poll.get(self.names.processes.index(process), 0)


def budgets_of(scenario: Scenario) -> dict[str, tuple[str | None, int]]:
    """Return the objectives that can be followed while a run goes on: their group (None: every one), and how long an event may take."""
    found = {}
    for name, objective in scenario.objectives.items():
        limit_ns = objective.below if objective.indicator == "latency" else objective.within
        known = objective.of is None or objective.of in scenario.groups
        if objective.indicator in ("latency", "delivery") and limit_ns is not None and known:
            found[name] = (objective.of, limit_ns)
    return found


def unanswered(plan: Plan, events: NDArray[np.intp], started_ns: NDArray[np.int64]) -> NDArray[np.void]:
    """Return rows for sends whose outcome nobody learned, because the process ended first."""
    from rundata.rows import new_operations

    names = Names.of(plan.scenario)
    rows = new_operations(len(events))
    rows["event_id"] = rows["root_id"] = events
    rows["key"] = plan.key[events]
    rows["intended_ns"] = plan.intended_ns[events]
    rows["started_ns"] = started_ns[events]
    rows["partition"] = NONE
    rows["topic"] = plan.topic[events]
    rows["process"] = [
        names.processes.index(f"{plan.producers[p]}/{n}")
        for p, n in zip(plan.producer[events], plan.process[events], strict=True)
    ]
    rows["event_type"] = event_types(plan)[plan.producer[events]]
    rows["kind"] = Kind.send
    rows["outcome"] = Outcome.unknown
    return rows


def event_types(plan: Plan) -> NDArray[np.int16]:
    """Return the code of each producer's event type."""
    names = Names.of(plan.scenario)
    return np.asarray(
        [names.event_types.index(producer.event or name) for name, producer in plan.scenario.producers.items()],
        np.int16,
    )
