"""What a run says, gathered from parts of it that come one after another, so that no run lies in memory as a whole.

Most indicators add up part by part. The others look at a run along its time: of those, what each part adds to that (`Course`,
`Waiters`, `Sent`, `SummedLags`) is kept in books of a run without events, of which they are then measured as usual.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from rundata.backlog import ARRIVALS_NS, STEP_NS, Course, course, disturbances, grid, has_settled
from rundata.books import Books, EarliestEffects
from rundata.committed import CommitRows, SummedLags
from rundata.counts import inverted_pairs
from rundata.gaps import (
    Outages,
    Sent,
    Waiters,
    Waits,
    acknowledgements_waited_for,
    deliveries_waited_for,
    longest_of,
    sent,
    waits,
)
from rundata.measurement import Ints
from rundata.partials import Key, Partial, Parts, Sums, around_faults, effects_in, measured_by, scopes_told
from rundata.rows import NEVER
from rundata.scopes import EVERYTHING, Scope, covers_everything
from rundata.windows import Windows, WindowsSum
from scenarios.expectations import INDICATORS

_ALONG_TIME = (
    "lag", "lag_age", "committed_lag", "drain_time", "consumed", "restarts", "availability", "write_gap", "gap"
)  # fmt: skip
_PLACE = {kind: place for place, kind in enumerate(INDICATORS)}


@dataclass(frozen=True, eq=False)
class Folded:
    """What a run says."""

    partial: Partial
    windows: Windows
    settled: bool


@dataclass(frozen=True, eq=False)
class Part:
    """Some events, one after another, with everything that happened to them."""

    books: Books
    until_ns: int
    """When the first event behind them is intended; NEVER behind the last one."""
    commits: CommitRows | None = None
    """Commits that no part before told, all that end before `until_ns` among them; None where the frame knows all of them beforehand."""
    is_quiet: bool = False
    """Whether each event is sent and delivered once, and no effect comes later than one of a later event of its line, be it in a later part."""


def fold(
    frame: Books,
    parts: Iterable[Part],
    window_ns: int,
    at_the_end: Callable[[], Books] | None = None,
    *,
    windows: bool = True,
) -> Folded:
    """Return what a run says whose parts come in the order of time; `frame` is the books of the same run without events.

    Where it is not known beforehand when the run ends, that frame ends no earlier, and `at_the_end` returns the right one when all
    parts have come. The books are closed then: they forget all that they hold. Without `windows` there is nothing in those.
    """
    along, order, sums = _Along(frame), _Order(frame), Sums()
    found = WindowsSum(frame.scenario.warm_up, frame.scenario.duration, window_ns)
    kinds = [kind for kind in INDICATORS if kind not in _ALONG_TIME]
    for part in parts:
        here = {key: one for kind in kinds for key, one in measured_by(part.books, kind).items()}
        for scope in scopes_told(frame, "consumed"):
            here["consumed", scope] = {"count": effects_in(part.books, scope)}
        sums.add(here)
        if not part.is_quiet:
            sums.add(order.overtaken(part))
        along.take(part)
        if windows:
            found.add(part.books)
        part.books.forget()
    if at_the_end is not None:
        frame.forget()
        frame = at_the_end()
    along.seed(frame)
    for kind in _ALONG_TIME:
        sums.add(measured_by(frame, kind))
    summed = sums.summed()
    in_order = {key: summed[key] for key in sorted(summed, key=lambda key: _PLACE[key[0]])}
    partial = Partial(in_order | around_faults(frame.run), frame.scenario.measured_ns)
    folded = Folded(partial, found.windows(frame), has_settled(frame.run))
    vars(frame.run).pop("_books")
    frame.forget()
    return folded


class _Along:
    """What is kept of the parts along the run's time."""

    def __init__(self, frame: Books) -> None:
        self._frame = frame
        scenario = frame.scenario
        measured = np.arange(scenario.warm_up, scenario.duration + 1, STEP_NS)
        instants = sorted({each.begin_ns for each in disturbances(frame)} | {scenario.duration})
        asked = {scope for kind in ("lag", "lag_age", "drain_time", "consumed") for scope in scopes_told(frame, kind)}
        asked |= {Scope("group", number, name) for number, name in enumerate(frame.groups)}
        grids = {"grid": grid(frame), "measured": measured, "instants": np.asarray(instants, np.int64)}
        whole = _Summed(EVERYTHING, grids)
        self._courses = {
            (scope.kind, scope.number): whole if covers_everything(frame, scope) else _Summed(scope, grids)
            for scope in asked
        }
        self._lags = SummedLags(frame)
        labels = [planned.label for planned in frame.plan.faults]
        self._deliveries, self._writes = _Lanes(frame, labels), _Lanes(frame, labels)
        self._sent = list[Sent]()
        self._undelivered = self._unanswered = False

    def take(self, part: Part) -> None:
        """Add a part."""
        books, reach = part.books, _Reach.of(part.books)
        for summed in dict.fromkeys(self._courses.values()):
            summed.take(books, reach)
        self._lags.take(books, part.until_ns, part.commits)
        came = part.is_quiet and bool((books.pairs.delivered_ns <= books.end_ns).all())
        self._deliveries.take(deliveries_waited_for(books), part.until_ns, all_came=came)
        self._writes.take(acknowledgements_waited_for(books), part.until_ns, all_came=part.is_quiet)
        self._sent = [Sent.joined([*self._sent, sent(books)])]
        outages = Outages(books)
        self._undelivered |= outages.is_undelivered
        self._unanswered |= outages.is_unanswered

    def seed(self, frame: Books) -> None:
        """Let the run without events, which may have ended earlier than was known, know what its parts have shown."""
        vars(frame.run)["_books"] = frame
        for (kind, number), summed in self._courses.items():
            summed.end(grid(frame))
            _keep(frame, ("course", kind, number), summed)
        _keep(frame, "committed lags", self._lags)
        _keep(frame, "sent", Sent.joined(self._sent))
        deliveries, writes = self._deliveries.longest(), self._writes.longest()
        _keep(frame, "outages", _Outages(deliveries, writes, self._undelivered, self._unanswered))


def _keep(books: Books, key: Hashable, value: object) -> None:
    books.once(key, lambda: value)


class _Lanes:
    """The longest waits of lanes, found as parts come; what later parts could still change waits for them."""

    def __init__(self, frame: Books, labels: list[str]) -> None:
        self._frame, self._labels = frame, labels
        self._open = list[Waiters]()
        self._longest = list[Waits]()

    def take(self, waiters: Waiters, until_ns: int, *, all_came: bool) -> None:
        """Add who waited in a part; all that later parts add begins at an instant, or later.

        `all_came`: everyone waited until what he waited for came, which cuts his lane.
        """
        waiters = Waiters.joined([*self._open, waiters])
        if all_came:
            self._take_longer(waiters, until_ns)
            return
        found, cut_ns = waiters.waits(), waiters.last_cut_ns(until_ns)
        if until_ns != NEVER:
            found = found.where(found.end_ns <= cut_ns[found.lane])
        self._longest = [longest_of(self._frame, self._labels, Waits.joined([*self._longest, found]))]
        self._open = [waiters.since(cut_ns)]

    def _take_longer(self, waiters: Waiters, until_ns: int) -> None:
        """Add only waits that are longer than all before in their lanes: none is longer than what the first one in it waited for in all."""
        lanes = int(max(waiters.lane.max(initial=0), waiters.cut_lane.max(initial=0))) + 1
        most = np.zeros(lanes, np.int64)
        for known in self._longest:
            most = np.append(most, np.zeros(max(0, int(known.lane.max(initial=0)) + 1 - lanes), np.int64))
            np.maximum.at(most, known.lane, known.end_ns - known.begin_ns)
        longer = np.zeros(len(most), np.bool_)
        longer[waiters.lane[waiters.end_ns - waiters.begin_ns > most[waiters.lane]]] = True
        own, cuts = longer[waiters.lane], longer[waiters.cut_lane]
        found = waits(
            waiters.lane[own],
            waiters.begin_ns[own],
            waiters.end_ns[own],
            waiters.cut_lane[cuts],
            waiters.cut_ns[cuts],
        )
        found = found.where(found.end_ns < until_ns)
        self._longest = [longest_of(self._frame, self._labels, Waits.joined([*self._longest, found]))]
        self._open = [waiters.after(until_ns)]

    def longest(self) -> Waits:
        """Return the waits that are the longest of something, lane after lane."""
        (found,) = self._longest
        order = np.lexsort((found.begin_ns, found.lane))
        return found.where(order)


class _Order:
    """Effects that come later than one of a later event of their line, where that one lies in a later part."""

    def __init__(self, frame: Books) -> None:
        self._scopes = scopes_told(frame, "inversions")
        self._columns = {name: np.zeros(0, np.int64) for name in ("line", "effect_ns", *_CODES)}

    def overtaken(self, part: Part) -> dict[Key, Parts]:
        """Return by scope how many measured pairs of earlier parts turn out to be late, and remember those of this one that may."""
        pairs, plan = part.books.pairs, part.books.plan
        some = np.flatnonzero(pairs.keyed & (pairs.effect_ns != NEVER))
        # What took effect before anything later was even planned is in order.
        waits = pairs.measured[some] & (pairs.effect_ns[some] > part.until_ns)
        waits &= ~inverted_pairs(part.books)[some]
        late = np.zeros(len(self._columns["effect_ns"]), np.bool_)
        lines = np.zeros(0, np.int64)
        if len(late) or waits.any():
            event = pairs.event[some]
            lines = part.books.whole.line_of(
                pairs.group[some], plan.producer[event], plan.process[event], plan.key[event]
            )
        if len(late):
            earliest = EarliestEffects()
            earliest.take(lines, pairs.effect_ns[some])
            late = self._columns["effect_ns"] > earliest.of(self._columns["line"])
        found: dict[Key, Parts] = {}
        for scope in self._scopes:
            mine = late if scope.kind == "all" else late & (self._columns[scope.kind] == scope.number)
            found["inversions", scope] = {"count": int(mine.sum())}
        own = some[waits]
        more = {
            "line": lines[waits] if len(lines) else lines,
            "effect_ns": pairs.effect_ns[own],
            "topic": pairs.topic[own],
            "partition": pairs.partition[own],
            "producer": plan.producer[pairs.event[own]].astype(np.int64),
            "group": pairs.group[own],
        }
        self._columns = {name: np.concatenate([column[~late], more[name]]) for name, column in self._columns.items()}
        return found


_CODES = ("topic", "partition", "producer", "group")


@dataclass(frozen=True, eq=False)
class _Outages:
    """What `Outages` tells, of a run without events."""

    deliveries: Waits
    writes: Waits
    is_undelivered: bool
    is_unanswered: bool


@dataclass(frozen=True)
class _Reach:
    """The instants from which on, and after which no more, a part changes anything; NEVER where something of it stays open."""

    begin_ns: int
    last_ns: int
    planned_ns: int
    """So long what is planned counts."""

    @classmethod
    def of(cls, part: Books) -> "_Reach":
        """Return how far a part reaches."""
        intended, acked, end_ns = part.plan.intended_ns, part.sends.acked_ns, part.pairs.end_ns
        if not len(intended):
            return cls(NEVER, NEVER, NEVER)
        last_ns = max(int(end_ns.max(initial=0)), int(acked.max()))
        return cls(int(intended[0]), last_ns, int(intended[-1]) + ARRIVALS_NS)

    def within(self, what: str, times_ns: Ints) -> slice:
        """Return which instants lie within, and the first one behind."""
        last_ns = self.planned_ns if what == "planned_before" else self.last_ns
        first, end = np.searchsorted(times_ns, self.begin_ns), np.searchsorted(times_ns, last_ns, side="right")
        return slice(int(first), min(int(max(first, end)) + 1, len(times_ns)))


class _Summed(Course):
    """A course that is the sum of those of parts, at the instants that are asked for."""

    _TOLD = (
        ("at", "grid"), ("at", "measured"), ("age_at", "measured"), ("planned_before", "measured"),
        ("planned_before", "instants"), ("done_until", "measured"),
    )  # fmt: skip

    def __init__(self, scope: Scope, grids: Mapping[str, Ints]) -> None:
        self.scope, self._grids = scope, grids
        self._sums = {(what, which): np.zeros(len(grids[which]), np.int64) for what, which in self._TOLD}

    def take(self, part: Books, reach: _Reach) -> None:
        """Add what a part says of the instants within its reach."""
        own = course(part, self.scope)
        for what, which in self._TOLD:
            so_far, some = self._sums[what, which], reach.within(what, self._grids[which])
            more = getattr(own, what)(self._grids[which][some])
            (np.maximum if what == "age_at" else np.add)(so_far[some], more, out=so_far[some])
            if what == "done_until" and len(more):
                so_far[some.stop :] += more[-1]  # all of it is done

    def end(self, grid_ns: Ints) -> None:
        """Cut off what lies behind the run's end."""
        self._grids = {**self._grids, "grid": grid_ns}
        self._sums["at", "grid"] = self._sums["at", "grid"][: len(grid_ns)]

    def at(self, times_ns: Ints) -> Ints:
        return self._told("at", times_ns)

    def age_at(self, times_ns: Ints) -> Ints:
        return self._told("age_at", times_ns)

    def planned_before(self, times_ns: Ints) -> Ints:
        return self._told("planned_before", times_ns)

    def done_until(self, times_ns: Ints) -> Ints:
        return self._told("done_until", times_ns)

    def _told(self, what: str, times_ns: Ints) -> Ints:
        for name in ("grid", "measured"):
            if (what, name) in self._sums and np.array_equal(self._grids[name], times_ns):
                return self._sums[what, name]
        place = np.searchsorted(self._grids["instants"], times_ns)
        assert np.array_equal(self._grids["instants"][place], times_ns), "nobody said that this would be asked"
        return self._sums[what, "instants"][place]
