"""A quiet stretch in which only work takes time: each event in turn, with the lags and waits that it adds, in memory that does not grow.

Sending, fetching and committing take no time, so an event is in its log and in its member's queue when it is intended, and a member
begins the next event of its queue when the one before is done. So a single pass in the order of time tells all, with the rules and
names of `sim.kernel`: an event belongs to the batch under way if it came before that was called for, otherwise to the next one.

To turn aside at each instant at which lag is looked at took as long as the rest, since whether one lies between two events no processor can
foresee. So events only count themselves where they come and where they end, and the instants of half a minute are looked at together.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim import world as at
from sim.compiled import compiled, entry
from sim.world import NEVER, NONE, Ints

Floats = NDArray[np.float64]
Places = NDArray[np.int16]

# Why these rules do not suffice.
LATE_CALL, FAR_AHEAD, UNMEASURED = range(1, 4)

# what a stretch is like
(Z_WARM_UP, Z_DURATION, Z_HALF_NS, Z_HELD_FROM_NS, Z_SECOND_NS, Z_MODE, Z_INTERVAL, Z_MAX_POLL, Z_POLL_INTERVAL,
 N_SETTINGS) = range(10)  # fmt: skip
# what it has come to; the last lags are not in the sums, nor among the greatest
(S_PROBLEM, S_GRID_NS, S_GRID, S_CAME, S_EFFECTS, S_LAG, S_LAG_MOST, S_LAG_TOTAL, S_AGE_MOST, S_HALF_MOST, S_HELD_MOST,
 S_PLANNED, S_ABOVE, S_DONE, S_SATURATED, S_SATURATED_DONE, S_SECOND_NS, S_SECOND, S_COMMITTED, S_BEHIND, S_BEHIND_MOST,
 S_BEHIND_TOTAL, S_GAP, N_SCALARS) = range(24)  # fmt: skip
# per member; M_COMMITS_NS: when it commits next, where it does so at an interval
M_EFFECT, M_CALL, M_FIRST, M_IN_BATCH, M_DONE, M_COMMITTED, M_COMMITS_NS, N_MEMBER = range(8)
# per partition: the last delivery, the one before, and the last event
L_CUT, L_BEFORE, L_LAST, N_LANE = range(4)
# per instant at which lag is looked at: events that come, and effects, since after the one before; behind them those of just then
W_CAME, W_EFFECTS, W_THEN = range(3)
N_INSTANT = 2 * W_THEN

STEP_NS, SECOND_NS = 100_000_000, 1_000_000_000
"""From one instant to the next, and between looks at commits: to divide by what the compiler knows is to multiply."""
_TOGETHER = 1 << 8
"""So many instants are looked at together."""

PLANNED_STEPS = 10
"""So many steps are a second, in which what is planned is counted."""
_PLANNED_ROOM = 16
# of all events: those measured, effects within the measured time, time to effect in all and at most, the last effect
T_MEASURED, T_EFFECTS, T_TOTAL, T_MOST, T_LAST, N_TIMES = range(6)
BINS = (64 << 8) + 2
_SHIFT = 44
_ONE = 1023 << 8


class Line(NamedTuple):
    """One topic and one group that reads it."""

    settings: Ints
    s: Ints
    owner: Ints
    """By partition: its member."""
    member: Ints
    lane: Ints
    instant: Ints
    """In a ring, as the next ones."""
    planned: Ints
    """By instant: how many events were planned before it."""
    second: Ints
    """By second: how many events more are committed by then."""


def new_line(owner: Ints, members: int, partitions: int, settings: Ints, room: int) -> Line:
    """Return a line before its first event, that looks so many instants ahead."""
    scalars = np.zeros(N_SCALARS, np.int64)
    scalars[S_SECOND_NS] = settings[Z_WARM_UP]
    member = np.zeros((members, N_MEMBER), np.int64)
    member[:, M_CALL] = NONE
    member[:, M_COMMITS_NS] = settings[Z_INTERVAL]
    instant = np.zeros((room, N_INSTANT), np.int64)
    lane = np.full((partitions, N_LANE), NONE, np.int64)
    planned, second = np.zeros(_PLANNED_ROOM, np.int64), np.zeros(room, np.int64)
    return Line(settings, scalars, owner, member, lane, instant, planned, second)


# ---- the plan --------------------------------------------------------------------------------------------------------


@entry
def place(drawn: Floats, sums: Floats, total: float, rate: Floats, limits: Ints, times: Ints) -> int:
    """Place the points of a unit-rate process along the expected number of events; return how many lie below the total.

    `sums`: how far the gaps of this go reach, and those before; `rate`: by knot the expected number up to it, ns for each from it on, and
    its instant; `limits`: the first and the last instant that may be, and the knot that was reached.
    """
    within, reached, j = sums[0], sums[1], limits[2]
    last = rate.shape[1] - 2
    count = 0
    for n in range(drawn.shape[0]):
        within += drawn[n]
        point = reached + within
        if point >= total:
            continue
        while j < last and rate[0, j + 1] <= point:
            j += 1
        time = np.int64(np.rint(rate[1, j] * (point - rate[0, j]) + rate[2, j]))
        times[count] = min(max(time, limits[0]), limits[1])
        count += 1
    sums[0] = within
    limits[2] = j
    return count


@entry
def place_even(first: int, count: int, rate: Floats, limits: Ints, times: Ints) -> None:
    """Place points half-way between whole numbers."""
    j, last = limits[2], rate.shape[1] - 2
    for n in range(count):
        point = np.float64(first + n) + 0.5
        while j < last and rate[0, j + 1] <= point:
            j += 1
        time = np.int64(np.rint(rate[1, j] * (point - rate[0, j]) + rate[2, j]))
        times[n] = min(max(time, limits[0]), limits[1])
    limits[2] = j


@entry
def choose(drawn: Floats, values: float, place_of: Places, part: Places) -> None:
    """Choose among keys that are equally likely, and the partitions that these have."""
    for n in range(drawn.shape[0]):
        part[n] = place_of[np.uintp(drawn[n] * values)]


@entry
def as_work(values: Floats, longest: float, work: Ints) -> None:
    """Write down work in whole ns, none of it longer than the longest."""
    for n in range(values.shape[0]):
        work[n] = np.int64(np.rint(min(values[n], longest)))


@entry
def put_ties_in_order(times: Ints, rank: Ints, part: Places, work: Ints) -> None:
    """Put events of one instant in the order of their ranks, equal ones as they stand; `work` may be one for all."""
    has_own = work.shape[0] > 1
    for n in range(1, times.shape[0]):
        here = n
        while here > 0 and times[here - 1] == times[here] and rank[here - 1] > rank[here]:
            rank[here - 1], rank[here] = rank[here], rank[here - 1]
            part[here - 1], part[here] = part[here], part[here - 1]
            if has_own:
                work[here - 1], work[here] = work[here], work[here - 1]
            here -= 1


# ---- events ----------------------------------------------------------------------------------------------------------


@entry
def read(w: Line, times: Ints, part: Places, work: Ints, latency: Ints) -> None:
    """Let events come, in the order of time, and be handled; tell how long each took until its effect."""
    z, s = w.settings, w.s
    warm_up, mode, interval, max_poll = z[Z_WARM_UP], z[Z_MODE], z[Z_INTERVAL], z[Z_MAX_POLL]
    behind = z[Z_DURATION] // STEP_NS + 1
    own = -1 if work.shape[0] > 1 else 0
    # Numbers without a sign are not looked at for being below zero.
    gap, age, longest, look_ns = s[S_GAP], s[S_AGE_MOST], np.int64(0), s[S_GRID_NS] + _TOGETHER * STEP_NS
    for n in range(times.shape[0]):
        t = times[n]
        if t >= look_ns:
            look_until(w, t)
            look_ns = s[S_GRID_NS] + _TOGETHER * STEP_NS
        p = np.uintp(part[n])
        lane, member = w.lane[p], w.member[np.uintp(w.owner[p])]
        effect_ns = member[M_EFFECT]
        if t <= member[M_CALL] and member[M_IN_BATCH] < max_poll:
            member[M_IN_BATCH] += 1
        else:
            if t <= member[M_CALL] and member[M_FIRST] < warm_up:
                s[S_PROBLEM] = UNMEASURED
            if mode == at.AFTER_BATCH:
                commit(w, member, effect_ns)
            member[M_CALL] = max(effect_ns, t)
            member[M_FIRST] = t
            member[M_IN_BATCH] = 1
        call_ns = member[M_CALL]
        begin_ns = max(effect_ns, t)
        if mode == at.EVERY:
            while member[M_COMMITS_NS] <= begin_ns:
                commit(w, member, member[M_COMMITS_NS])
                member[M_COMMITS_NS] += interval
        effect_ns = begin_ns + work[n & own]
        member[M_EFFECT] = effect_ns
        member[M_DONE] += 1
        if mode == at.AFTER_EVENT:
            commit(w, member, effect_ns)
        elif mode == at.EVERY and effect_ns >= member[M_COMMITS_NS]:
            commit(w, member, effect_ns)
            member[M_COMMITS_NS] = effect_ns + interval
        longest = max(longest, effect_ns - call_ns)
        if call_ns != lane[L_CUT]:
            lane[L_BEFORE] = lane[L_CUT]
            lane[L_CUT] = call_ns
        lane[L_LAST] = t
        if t >= warm_up:
            gap = max(gap, call_ns - max(lane[L_BEFORE], t))
        latency[n] = effect_ns - t
        done = min(steps_to(effect_ns, STEP_NS), behind)
        if done - s[S_GRID] >= w.instant.shape[0]:
            s[S_PROBLEM] = FAR_AHEAD
            return
        note(w, W_CAME, steps_to(t, STEP_NS), t)
        note(w, W_EFFECTS, done, effect_ns)
        last_ns = (done - 1) * STEP_NS  # the last instant at which it waits, if it does at all
        if last_ns >= warm_up:
            age = max(age, last_ns - t)
    s[S_GAP], s[S_AGE_MOST] = gap, age
    if longest >= z[Z_POLL_INTERVAL]:
        s[S_PROBLEM] = LATE_CALL


@compiled
def steps_to(time_ns: int, step_ns: int) -> np.int64:
    """Return how many steps it takes until no time is left."""
    return np.int64((np.uint64(time_ns) + np.uint64(step_ns - 1)) // np.uint64(step_ns))


@compiled
def note(w: Line, what: int, number: int | np.int64, time_ns: int) -> None:
    """Count what happens at the first instant that is not before it."""
    row = w.instant[np.uintp(number & (w.instant.shape[0] - 1))]
    row[what] += 1
    if time_ns == number * STEP_NS:
        row[W_THEN + what] += 1


@compiled
def commit(w: Line, member: Ints, now: int) -> None:
    """Commit what a member has done and not committed: it counts from the first second on that is not before."""
    new, z = member[M_DONE] - member[M_COMMITTED], w.settings
    if new == 0 or now > z[Z_DURATION]:
        return
    member[M_COMMITTED] = member[M_DONE]
    number = steps_to(max(now - z[Z_WARM_UP], 0), SECOND_NS)
    if number - w.s[S_SECOND] >= w.second.shape[0]:
        w.s[S_PROBLEM] = FAR_AHEAD
    else:
        w.second[np.uintp(number & (w.second.shape[0] - 1))] += new


@entry
def look_on(w: Line, until_ns: int) -> None:
    """Look at lag at each instant before one: all events up to there have come."""
    look_until(w, until_ns)


@compiled
def look_until(w: Line, until_ns: int) -> None:
    """Look at lag at each instant before one: all events up to there have come."""
    s, z = w.s, w.settings
    commit_until(w, until_ns)
    while s[S_GRID_NS] < until_ns:
        look(w)
        s[S_GRID] += 1
        s[S_GRID_NS] += STEP_NS
        if s[S_GRID_NS] > z[Z_DURATION]:
            s[S_GRID_NS] = NEVER
            return


@compiled
def commit_until(w: Line, until_ns: int) -> None:
    """Make the commits of batches to which nothing more belongs, and those at intervals that come before an instant."""
    mode = w.settings[Z_MODE]
    for m in range(w.member.shape[0]):
        member = w.member[m]
        if mode == at.EVERY:
            while member[M_COMMITS_NS] < until_ns:
                commit(w, member, member[M_COMMITS_NS])
                member[M_COMMITS_NS] += w.settings[Z_INTERVAL]
        elif mode == at.AFTER_BATCH and member[M_CALL] < until_ns:
            commit(w, member, member[M_EFFECT])


@compiled
def look(w: Line) -> None:
    """Look at lag at the next instant."""
    s, z = w.s, w.settings
    number, now = s[S_GRID], s[S_GRID_NS]
    row = w.instant[np.uintp(number & (w.instant.shape[0] - 1))]
    s[S_CAME] += row[W_CAME]
    s[S_EFFECTS] += row[W_EFFECTS]
    waiting = s[S_CAME] - s[S_EFFECTS]
    done, planned = s[S_EFFECTS] - row[W_THEN + W_EFFECTS], s[S_CAME] - row[W_THEN + W_CAME]
    in_last = (
        planned - w.planned[np.uintp((number - PLANNED_STEPS) & (_PLANNED_ROOM - 1))]
        if number >= PLANNED_STEPS
        else planned
    )
    w.planned[np.uintp(number & (_PLANNED_ROOM - 1))] = planned
    if now >= z[Z_WARM_UP]:
        above = waiting > in_last
        if above and s[S_ABOVE]:
            s[S_SATURATED] += 1
            s[S_SATURATED_DONE] += done - s[S_DONE]
        s[S_ABOVE] = above
        s[S_DONE] = done
        s[S_LAG_MOST] = max(s[S_LAG_MOST], s[S_LAG])
        s[S_LAG_TOTAL] += s[S_LAG]
        s[S_LAG] = waiting
        s[S_PLANNED] = in_last
        if now < z[Z_HALF_NS]:
            s[S_HALF_MOST] = max(s[S_HALF_MOST], waiting)
        if now > z[Z_HELD_FROM_NS]:
            s[S_HELD_MOST] = max(s[S_HELD_MOST], waiting)
    row[W_CAME] = row[W_EFFECTS] = row[W_THEN + W_CAME] = row[W_THEN + W_EFFECTS] = 0
    if now == s[S_SECOND_NS]:
        s[S_BEHIND_MOST] = max(s[S_BEHIND_MOST], s[S_BEHIND])
        s[S_BEHIND_TOTAL] += s[S_BEHIND]
        place = s[S_SECOND] & (w.second.shape[0] - 1)
        s[S_COMMITTED] += w.second[place]
        w.second[place] = 0
        s[S_BEHIND] = s[S_CAME] - s[S_COMMITTED]
        s[S_SECOND] += 1
        s[S_SECOND_NS] += SECOND_NS


# ---- figures ---------------------------------------------------------------------------------------------------------


@entry
def count_times(z: Ints, times: Ints, latency: Ints, size: Floats, bits: Ints, counts: Ints, t: Ints) -> None:
    """Count times to effect of measured events in the bins of a histogram (`rundata.histogram`); `bits` are those of `size`."""
    first, count = 0, times.shape[0]
    while first < count and times[first] < z[Z_WARM_UP]:
        first += 1
    total, most, last, effects = np.int64(0), t[T_MOST], t[T_LAST], np.int64(0)
    for n in range(count):
        effect_ns = times[n] + latency[n]
        last = max(last, effect_ns)
        effects += effect_ns >= z[Z_WARM_UP] and effect_ns < z[Z_DURATION]
    for n in range(first, count):
        size[n] = latency[n]
        total += latency[n]
        most = max(most, latency[n])
    for n in range(first, count):
        counts[np.uintp(max((bits[n] >> _SHIFT) + (1 - _ONE), 0))] += 1
    t[T_MEASURED] += count - first
    t[T_EFFECTS] += effects
    t[T_TOTAL] += total
    t[T_MOST] = most
    t[T_LAST] = last
