"""What a quiet stretch says in which only work takes time, from what its single pass has counted: figures as `rundata.partials` defines them."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from rundata.backlog import FEW_EVENTS, STEP_NS
from rundata.books import Books
from rundata.histogram import Histogram
from rundata.measurement import seconds
from rundata.partials import Level, Most, Partial, Parts, Times, scopes_told
from scenarios.expectations import INDICATORS
from scenarios.quantities import SECOND
from sim import world as at
from sim.stretches import ideal_kernel as kernel
from sim.stretches.ideal_kernel import Line
from sim.world import Ints

_NOTHING = Histogram.of(np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Counted:
    """Times to effect."""

    bins: Ints
    """How many measured ones each bin of a histogram holds."""
    times: Ints

    @classmethod
    def nothing(cls) -> Self:
        """Return what is counted before the first event."""
        return cls(np.zeros(kernel.BINS, np.int64), np.zeros(kernel.N_TIMES, np.int64))


def partial_of(frame: Books, line: Line, counted: Counted) -> Partial:
    """Return what a stretch says when all of it is over; `frame` is the books of its run without events."""
    told = _told(frame, line, counted)
    parts = {(kind, scope): told[kind] for kind in INDICATORS for scope in scopes_told(frame, kind)}
    return Partial(parts, frame.scenario.measured_ns)


def settled(line: Line) -> bool:
    """Return whether the load ends with no more waiting than before, as `rundata.backlog.has_settled` sees it."""
    s = line.s
    return bool(s[kernel.S_HELD_MOST] <= max(s[kernel.S_HALF_MOST], s[kernel.S_PLANNED], FEW_EVENTS))


def _told(frame: Books, line: Line, counted: Counted) -> dict[str, Parts]:
    """Return what each indicator says: everything is sent, delivered and done once, in order, and what is sent is there at once."""
    s = line.s
    events = int(counted.times[kernel.T_MEASURED])
    nothing: Parts = {"count": 0}
    none_of_all: Parts = {"count": 0, "all": events}
    latency: Parts = {"times": _latency(counted)}
    at_once: Parts = {"times": _at_once(events)}
    never: Parts = {"most": Most(0.0)}
    return {
        "delivery": {"done": events, "all": events},
        "latency": latency,
        "chain_latency": latency,
        "ack_latency": {**at_once, "asks": 1},
        "lag": {"level": _lag(frame, line)},
        "lag_age": {"most": Most(seconds(int(s[kernel.S_AGE_MOST])))},
        "committed_lag": {"level": _committed_lag(frame, line, counted)},
        "errors": {"failed": 0, "tries": events, "hit": 0, "events": events},
        "dead_lettered": none_of_all,
        "drain_time": never,
        "produced": {"count": events},
        "consumed": {
            "count": int(counted.times[kernel.T_EFFECTS]),
            "done": int(s[kernel.S_SATURATED_DONE]),
            "steps": int(s[kernel.S_SATURATED]),
        },
        "restarts": nothing,
        "availability": {"closed_ns": 0, "busy": _busy(frame, line)},
        "duplicate_deliveries": {**none_of_all, "log": 0},
        "duplicate_effects": none_of_all,
        "lost": {"count": 0, "waiting": 0},
        "passed": nothing,
        "expired": nothing,
        "refused": nothing,
        "pending": nothing,
        "unexpected": nothing,
        "unknown": {"count": 0, "settled": 0},
        "write_gap": never,
        "gap": {"most": Most(seconds(int(s[kernel.S_GAP])))},
        "inversions": nothing,
        "send_lateness": at_once,
    }


def _latency(counted: Counted) -> Times:
    bins = np.flatnonzero(counted.bins)
    total, most = (int(counted.times[each]) for each in (kernel.T_TOTAL, kernel.T_MOST))
    return Times(Histogram(bins.astype(np.int32), counted.bins[bins]), _NOTHING, total, most, 0)


def _at_once(events: int) -> Times:
    """Return so many times of 0."""
    came = Histogram(np.zeros(1, np.int32), np.array([events])) if events else _NOTHING
    return Times(came, _NOTHING, 0, 0, 0)


def _lag(frame: Books, line: Line) -> Level:
    most, total, last = (int(line.s[each]) for each in (kernel.S_LAG_MOST, kernel.S_LAG_TOTAL, kernel.S_LAG))
    return Level(max(most, last), total, frame.scenario.measured_ns // STEP_NS, last)


def _committed_lag(frame: Books, line: Line, counted: Counted) -> Level:
    s = line.s
    most, total, last = (int(s[each]) for each in (kernel.S_BEHIND_MOST, kernel.S_BEHIND_TOTAL, kernel.S_BEHIND))
    points, rest_ns = divmod(frame.scenario.measured_ns, SECOND)
    # Members that commit at an interval do so at the run's end, too.
    if line.settings[kernel.Z_MODE] == at.EVERY and not rest_ns and frame.end_ns == frame.scenario.duration:
        last = 0
    return Level(max(most, last), total, points, last)


def _busy(frame: Books, line: Line) -> frozenset[int]:
    """Return the partitions to which something was sent in the measured time."""
    return frozenset(np.flatnonzero(line.lane[:, kernel.L_LAST] > frame.scenario.warm_up).tolist())
