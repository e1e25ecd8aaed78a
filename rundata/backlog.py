"""What has piled up: lag and its age on a 100 ms grid, the lag that exporters show, and how long disturbances take to drain."""

from dataclasses import dataclass

import numpy as np

from rundata.books import Books, Bools, End
from rundata.measurement import Ints, Measurement, missing, seconds
from rundata.rows import NEVER
from rundata.scopes import Scope, pairs_in
from rundata.tables import RunData
from scenarios.expectations import BEFORE_FAULTS
from scenarios.quantities import MILLISECOND, SECOND

Found = dict[str, Measurement]
STEP_NS = 100 * MILLISECOND
MERGED_BELOW_NS = 5 * SECOND
"""Faults less than this apart form one disturbance."""
AFTERMATH_NS = 5 * SECOND
"""The lag's maximum is looked for until so long after a disturbance."""
BEFORE_NS = 10 * SECOND
ARRIVALS_NS = SECOND
HELD_NS = SECOND
QUIET_NS = 20 * SECOND
"""Without elections, rebalances and the like for so long a system has settled."""
FEW_EVENTS = 5
"""So many may wait at any time, however few arrive."""
_FEW_INSTANTS = 8
"""To look at so many takes less time than to sort."""
LOAD_END = "load end"
"""The label of the load's end as a disturbance."""


@dataclass(frozen=True, eq=False)
class Backlog:
    """Pairs that wait: acknowledged at some time, and ended at a later one."""

    came_ns: Ints
    """Acknowledgements, sorted."""
    left_ns: Ints
    """Ends, sorted; never before the acknowledgement."""
    longest_ns: Ints
    """Running maximum of the ends in the order of `came_ns`."""

    def at(self, times_ns: Ints) -> Ints:
        """Return how many wait at each instant; an end counts from its own instant on."""
        came = np.searchsorted(self.came_ns, times_ns, side="right")
        return came - np.searchsorted(self.left_ns, times_ns, side="right")

    def age_at(self, times_ns: Ints) -> Ints:
        """Return how long the oldest one has waited at each instant; 0 where none waits."""
        # The running maximum first exceeds t at a pair whose own end does, and that is the oldest that still waits.
        oldest = np.searchsorted(self.longest_ns, times_ns, side="right")
        came = np.append(self.came_ns, NEVER)[oldest]
        return np.where(came <= times_ns, times_ns - np.minimum(came, times_ns), 0)


def backlog(books: Books, scope: Scope) -> Backlog:
    """Return the waiting pairs of a scope: acknowledged, not lost, warm-up included."""
    chosen = pairs_in(books, scope)
    key = ("backlog", None if chosen is None else (scope.kind, scope.number))
    return books.once(key, lambda: _backlog(books, chosen))


def _backlog(books: Books, chosen: Bools | None) -> Backlog:
    came, left = _waiting(books, chosen)
    order = np.argsort(came)  # ties may come in any order: the oldest of them came at one instant
    return Backlog(came[order], np.sort(left), np.maximum.accumulate(left[order]))


def _waiting(books: Books, chosen: Bools | None) -> tuple[Ints, Ints]:
    """Return when each pair began to wait, and when no more."""
    pairs = books.pairs
    waits = (pairs.acked_ns != NEVER) & (pairs.end != End.lost)
    if chosen is not None:
        waits &= chosen
    came, end_ns = (pairs.acked_ns, pairs.end_ns) if waits.all() else (pairs.acked_ns[waits], pairs.end_ns[waits])
    return came, np.maximum(end_ns, came)


class Course:
    """How what waits in a scope rises and falls along a run. All of it adds up: that of a run is the sum of those of its parts."""

    def __init__(self, books: Books, scope: Scope) -> None:
        self._books, self._scope = books, scope

    def at(self, times_ns: Ints) -> Ints:
        """Return how many pairs wait at each instant."""
        if len(times_ns) > _FEW_INSTANTS:
            return backlog(self._books, self._scope).at(times_ns)
        came, left = self._waiting()
        return np.array([np.count_nonzero(came <= t) - np.count_nonzero(left <= t) for t in times_ns], np.int64)

    def age_at(self, times_ns: Ints) -> Ints:
        """Return how long the oldest one has waited at each instant; of several parts the greatest counts."""
        if len(times_ns) > _FEW_INSTANTS:
            return backlog(self._books, self._scope).age_at(times_ns)
        came, left = self._waiting()
        return np.array([max(0, t - int(came[left > t].min(initial=NEVER))) for t in times_ns.tolist()], np.int64)

    def _waiting(self) -> tuple[Ints, Ints]:
        chosen = pairs_in(self._books, self._scope)
        key = ("waiting", None if chosen is None else (self._scope.kind, self._scope.number))
        return self._books.once(key, lambda: _waiting(self._books, chosen))

    def _times(self, what: str) -> Ints:
        """Return instants of the scope's pairs, those that did not come apart."""
        chosen, of_pairs = pairs_in(self._books, self._scope), self._books.pairs
        times: Ints = of_pairs.intended_ns if what == "intended" else of_pairs.effect_ns
        some = times if chosen is None else times[chosen]
        came = some != NEVER
        return some if came.all() else some[came]

    def _in_order(self, what: str) -> Ints:
        """Return the same in their order."""
        chosen = pairs_in(self._books, self._scope)
        key = ("in order", what, None if chosen is None else (self._scope.kind, self._scope.number))
        return self._books.once(key, lambda: np.sort(self._times(what)))

    def planned_before(self, times_ns: Ints) -> Ints:
        """Return how many pairs were planned for the second before each instant."""
        if len(times_ns) <= _FEW_INSTANTS:
            some = self._times("intended")
            return np.array([np.count_nonzero((some < t) & (some >= t - ARRIVALS_NS)) for t in times_ns], np.int64)
        intended = self._in_order("intended")
        return np.searchsorted(intended, times_ns) - np.searchsorted(intended, times_ns - ARRIVALS_NS)

    def done_until(self, times_ns: Ints) -> Ints:
        """Return how many pairs had taken effect before each instant."""
        if len(times_ns) <= _FEW_INSTANTS:
            some = self._times("effects")
            return np.array([np.count_nonzero(some < t) for t in times_ns], np.int64)
        return np.searchsorted(self._in_order("effects"), times_ns)


def course(books: Books, scope: Scope) -> Course:
    """Return the course of a scope, whatever part of the time it is narrowed to."""
    return books.once(("course", scope.kind, scope.number), lambda: Course(books, scope))


def grid(books: Books) -> Ints:
    """Return the instants at which lag is looked at: every 100 ms from 0 to the end of the drain."""
    return np.arange(0, max(books.end_ns, books.scenario.duration) + 1, STEP_NS)


def lag(books: Books, scope: Scope) -> Found:
    """Measure lag: the maximum up to the end of the drain, the mean over the load, and what is left when the load ends."""
    times, values = grid(books), course(books, scope).at(grid(books))
    if scope.narrowed is not None:
        around = _around(books, scope, times)
        if not around.any():
            return {key: missing("events", f"{scope.narrowed} did not happen") for key in ("max", "mean", "end")}
        times, values = times[around], values[around]
        return _levels(values, values)
    return _levels(values, values[times <= books.scenario.duration])


def lag_age(books: Books, scope: Scope) -> Found:
    """Measure the greatest age of the oldest waiting pair."""
    times = grid(books)
    return {"max": Measurement(seconds(int(course(books, scope).age_at(times).max(initial=0))), "s")}


def _around(books: Books, scope: Scope, times: Ints) -> Bools:
    """Return the instants that belong to the narrowed part: from a fault's begin to 5 s after its end, or before all faults."""
    if scope.narrowed == BEFORE_FAULTS:
        first = min((planned.begin_ns for planned in books.plan.faults), default=books.scenario.duration)
        return np.asarray(times < first)
    inside = np.zeros(len(times), np.bool_)
    for begin, end, label in fault_spans(books):
        if label == scope.narrowed:
            inside |= (times >= begin) & (times <= end + AFTERMATH_NS)
    return inside


def _levels(everywhere: Ints, in_load: Ints) -> Found:
    return {
        "max": Measurement(float(everywhere.max(initial=0)), "events"),
        "mean": Measurement(float(in_load.mean()), "events"),
        "end": Measurement(float(in_load[-1]), "events"),
    }


# ---- committed lag -------------------------------------------------------------------------------------------------


def committed_lag(books: Books, scope: Scope) -> Found:
    """Measure the high watermark minus the committed offset each second, summed over the scope's groups and partitions."""
    times = np.arange(0, max(books.end_ns, books.scenario.duration) + 1, SECOND)
    total = committed_lag_at(books, scope, times)
    return _levels(total, total[times <= books.scenario.duration])


def committed_lag_at(books: Books, scope: Scope, times: Ints) -> Ints:
    """Return at each instant how far a scope's groups had committed less than could be read."""
    return books.once("committed lags", lambda: CommittedLags(books)).at(scope, times)


class CommittedLags:
    """How far groups had committed less than could be read."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def at(self, scope: Scope, times_ns: Ints) -> Ints:
        """Return a scope's sum at each instant."""
        books, total = self._books, np.zeros(len(times_ns), np.int64)
        for group, name in enumerate(books.groups):
            if scope.kind == "group" and scope.number != group:
                continue
            for topic in books.scenario.groups[name].topics:
                for partition in _partitions(books, topic, scope):
                    high = high_watermark(books, partition, times_ns)
                    total += np.maximum(high - _committed(books, group, partition, times_ns), 0)
        return total


def _partitions(books: Books, topic: str, scope: Scope) -> range:
    number = books.plan.topics.index(topic)
    first, end = int(books.first_partition[number]), int(books.first_partition[number + 1])
    if scope.kind == "topic" and scope.number != number:
        return range(0)
    if scope.kind == "partition":
        return range(scope.number, scope.number + 1) if first <= scope.number < end else range(0)
    return range(first, end)


def high_watermark(books: Books, partition: int, times_ns: Ints) -> Ints:
    """Return the offset below which records could be read at each instant.

    A record was visible at its acknowledgement or first delivery at the latest; and so was every record before it.
    """
    logs = books.once("logs", lambda: _Logs(books))
    offset, visible = logs.of(partition)
    passed = np.searchsorted(visible, times_ns, side="right")
    return np.concatenate([[0], offset + 1])[passed]


class _Logs:
    """Records by partition in the order of their offsets, with the instant by which each could be read."""

    def __init__(self, books: Books) -> None:
        records = books.records_in_order
        self._offset = records.offset
        self._ends = np.searchsorted(records.partition, np.arange(int(books.first_partition[-1])), side="right")
        self._seen = books.sends.acked_ns[records.event]
        if len(books.groups):
            self._seen = np.minimum(self._seen, books.handling.delivered_ns.min(axis=0)[records.event])

    def of(self, partition: int) -> tuple[Ints, Ints]:
        """Return a partition's offsets and instants."""
        mine = slice(int(self._ends[partition - 1]) if partition else 0, int(self._ends[partition]))
        return self._offset[mine], np.minimum.accumulate(self._seen[mine][::-1])[::-1]


def _committed(books: Books, group: int, partition: int, times_ns: Ints) -> Ints:
    ended, offset = books.commits.get((group, partition), (np.zeros(0, np.int64), np.zeros(0, np.int64)))
    return np.concatenate([[0], offset])[np.searchsorted(ended, times_ns, side="right")]


# ---- drain time ----------------------------------------------------------------------------------------------------


def has_settled(run: RunData) -> bool:
    """Return whether a run's load ends with no more waiting than before its faults, or than arrives in a second, and with nothing under way.

    Without faults the first half of the measured time is what came before.
    """
    books = Books.of(run)
    times, begin_ns, end_ns = grid(books), books.scenario.warm_up, books.scenario.duration
    first_ns = min((planned.begin_ns for planned in books.plan.faults), default=0)
    since_ns, until_ns = (first_ns - BEFORE_NS, first_ns) if books.plan.faults else (begin_ns, (begin_ns + end_ns) // 2)
    for number in range(len(books.groups)):
        scope = Scope("group", number, books.groups[number])
        own = course(books, scope)
        values = own.at(times)
        before = values[(times >= since_ns) & (times < until_ns)]
        base = max(int(before.max(initial=0)), _planned_before(own, end_ns), FEW_EVENTS)
        if values[(times > end_ns - HELD_NS) & (times <= end_ns)].max(initial=0) > base:
            return False
    return not any(end_ns - QUIET_NS <= incident.time_ns <= end_ns for incident in run.incidents)


@dataclass(frozen=True)
class Disturbance:
    """Faults less than 5 s apart, or the load's end with a backlog."""

    begin_ns: int
    end_ns: int
    labels: tuple[str, ...]


def fault_spans(books: Books) -> list[tuple[int, int, str]]:
    """Return begin, end and label of each fault: as it happened, or as planned where nothing was recorded."""
    run = books.run
    if run.faults:
        return [
            (
                fault.began_ns if fault.began_ns != NEVER else fault.planned_begin_ns,
                fault.ended_ns if fault.ended_ns != NEVER else fault.planned_end_ns,
                fault.label,
            )
            for fault in run.faults
        ]
    return [(planned.begin_ns, planned.end_ns, planned.label) for planned in books.plan.faults]


def disturbances(books: Books) -> list[Disturbance]:
    """Return the faults in the order of time, those less than 5 s apart as one."""
    merged: list[Disturbance] = []
    for begin, end, label in sorted(fault_spans(books)):
        if merged and begin - merged[-1].end_ns < MERGED_BELOW_NS:
            last = merged[-1]
            labels = tuple(dict.fromkeys((*last.labels, label)))
            merged[-1] = Disturbance(last.begin_ns, max(last.end_ns, end), labels)
        else:
            merged.append(Disturbance(begin, end, (label,)))
    return merged


def drain_time(books: Books, scope: Scope) -> Found:
    """Measure the longest time that lag took from its maximum in a disturbance until it was back at base for good."""
    drains = _fault_drains(books, scope)
    if scope.narrowed is None:
        times, own = grid(books), course(books, scope)
        drains += [_load_end_drain(books.scenario.duration, times, own.at(times), own)]
    if not drains:
        return {"": missing("s", f"{scope.narrowed} did not happen")}
    return {"": _longest_drain(drains)}


def drain_of_faults(books: Books, scope: Scope) -> Measurement:
    """Return the longest time that lag took after a fault; 0 s where there was none."""
    return _longest_drain(_fault_drains(books, scope) or [Measurement(0.0, "s")])


def _fault_drains(books: Books, scope: Scope) -> list[Measurement]:
    asked = [each for each in disturbances(books) if scope.narrowed is None or scope.narrowed in each.labels]
    if not asked:
        return []
    times, own = grid(books), course(books, scope)
    values = own.at(times)
    return [_drain_of(disturbance, times, values, own) for disturbance in asked]


def _longest_drain(drains: list[Measurement]) -> Measurement:
    unreached = [drain for drain in drains if drain.value is None]
    longest = max(drain.value if drain.value is not None else drain.at_least or 0.0 for drain in drains)
    return Measurement(None, "s", longest, unreached[0].reason) if unreached else Measurement(longest, "s")


def _planned_before(of: Course, at_ns: int) -> int:
    return int(of.planned_before(np.asarray([at_ns]))[0])


def _drain_of(disturbance: Disturbance, times: Ints, values: Ints, of: Course) -> Measurement:
    before = values[(times >= disturbance.begin_ns - BEFORE_NS) & (times < disturbance.begin_ns)]
    base = max(int(before.max(initial=0)), _planned_before(of, disturbance.begin_ns))
    first, last = np.searchsorted(times, [disturbance.begin_ns, disturbance.end_ns + AFTERMATH_NS + 1])
    if first >= len(times):
        return Measurement(0.0, "s")  # it began after the drain had ended
    top = int(first + np.argmax(values[first : max(last, first + 1)]))
    return _until_base(top, base, times, values)


def _load_end_drain(duration_ns: int, times: Ints, values: Ints, of: Course) -> Measurement:
    base, at_end = _planned_before(of, duration_ns), int(np.searchsorted(times, duration_ns))
    return _until_base(at_end, base, times, values) if values[at_end] > base else Measurement(0.0, "s")


def _until_base(top: int, base: int, times: Ints, values: Ints) -> Measurement:
    """Return the time from grid point `top` to the first from which lag stays at or below base for 1 s.

    After the last grid point nothing changes any more: what ended stays ended.
    """
    above = np.flatnonzero(values[top:] > base)
    if len(above) == 0:
        return Measurement(0.0, "s")
    held = HELD_NS // STEP_NS
    breaks = np.concatenate([[-1], above, [len(values) - top + held + 1]])
    gaps = np.flatnonzero(np.diff(breaks) > held + 1)
    at = int(breaks[gaps[0]]) + 1 + top
    if at >= len(times):
        reason = f"lag was still {int(values[-1])} when the run ended, above the base of {base}"
        return Measurement(None, "s", seconds(int(times[-1] - times[top])), reason)
    return Measurement(seconds(int(times[at] - times[top])), "s")
