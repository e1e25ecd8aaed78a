"""Dependencies: services that handlers call after their work, with limits of their own, and members' circuit breakers before them."""

import numpy as np

from sim import world as at
from sim.compiled import compiled
from sim.kernel.rows import mixed
from sim.kernel.work import try_over
from sim.world import END, NEVER, NONE, NOW, SERVICE, TIMEOUT, WORK, World, push

PENDING, WENT_WELL, FAILED, NOT_MADE = range(4)
"""How a call stands: not made is one that an open breaker failed."""


@compiled
def calls_go_on(w: World, what: int, k: int) -> None:
    """Let a worker's call begin, hear its answer or give it up; then the next call follows, or the try is over."""
    worker, now = w.worker[k], w.scalars[NOW]
    m = worker[at.WK_MEMBER]
    member = w.member[m]
    if what == at.ON_CALL:
        outcome = call(w, k)
    elif what == at.ON_HEARD:
        outcome = worker[at.WK_ANSWER]
    else:
        outcome = give_up_waiting(w, k)
    if outcome == PENDING:
        return
    if outcome != NOT_MADE:
        note_answer(w, m, worker[at.WK_CALL], outcome == WENT_WELL)
    worker[at.WK_GIVES_UP] = NEVER
    if outcome == WENT_WELL and worker[at.WK_CALL] + 1 < w.group[member[at.GROUP], at.CALLS]:
        worker[at.WK_CALL] += 1
        push(w, now, WORK, member[at.CODE], k - member[at.FIRST_WORKER] + 1, at.ON_CALL, k, m, member[at.LIFE])
    else:
        try_over(w, k, now, outcome == WENT_WELL)


@compiled
def call(w: World, k: int) -> int:
    """Begin the call whose turn it is, as far as the member's breaker lets it."""
    now, worker = w.scalars[NOW], w.worker[k]
    m = worker[at.WK_MEMBER]
    member = w.member[m]
    what, breaker = w.group_call[member[at.GROUP], worker[at.WK_CALL]], w.breaker[m, worker[at.WK_CALL]]
    lets_through_ns = breaker[at.B_OPENED_NS] + what[at.GC_STAYS_NS]
    if not breaker[at.B_IS_OPEN] or now >= lets_through_ns:
        return ask(w, k)
    if not what[at.GC_WAITS]:
        return NOT_MADE
    push(w, lets_through_ns, WORK, member[at.CODE], k - member[at.FIRST_WORKER] + 1, at.ON_CALL, k, m, member[at.LIFE])
    return PENDING


@compiled
def ask(w: World, k: int) -> int:
    """Call a dependency, which refuses, or takes the call into its line."""
    now, worker = w.scalars[NOW], w.worker[k]
    m = worker[at.WK_MEMBER]
    member = w.member[m]
    what = w.group_call[member[at.GROUP], worker[at.WK_CALL]]
    d = what[at.GC_DEPENDENCY]
    dependency = w.dependency[d]
    if is_down(w, d) or (dependency[at.D_REFUSES] and not (has_place(w, d) and now >= token_ns(w, d))):
        return FAILED
    c = new_call(w)
    held = w.hand[m, worker[at.WK_HAND]]
    event = w.identity[w.log[held[at.H_PART], held[at.H_OFFSET], at.L_EVENT], at.V_ID]
    row = w.calling[c]
    row[at.K_DEPENDENCY] = d
    row[at.K_WORKER] = k
    row[at.K_MEMBER] = m
    row[at.K_LIFE] = member[at.LIFE]
    row[at.K_FAILS] = chance_of_call(w, what[at.GC_STREAM], event, worker[at.ATTEMPT]) < w.dependency_fails[d]
    row[at.K_WITHDRAWN] = 0
    row[at.K_NEXT] = NONE
    worker[at.WK_ASKED] = c
    if what[at.GC_TIMEOUT] != NEVER:
        worker[at.WK_GIVES_UP] = now + what[at.GC_TIMEOUT]
        second = k - member[at.FIRST_WORKER]
        push(w, now + what[at.GC_TIMEOUT], TIMEOUT, member[at.CODE], second, at.ON_GIVES_UP, k, m, member[at.LIFE])
    if dependency[at.D_TAIL] == NONE:
        dependency[at.D_HEAD] = c
    else:
        w.calling[dependency[at.D_TAIL], at.K_NEXT] = c
    dependency[at.D_TAIL] = c
    dependency[at.D_WAITING] += 1
    admit(w, d)
    return PENDING


@compiled
def new_call(w: World) -> int:
    """Return the number of a row for a call; there is one."""
    s = w.scalars
    c = s[at.FREE_CALL]
    if c == NONE:
        c = s[at.USED_CALLS]
        s[at.USED_CALLS] = c + 1
    else:
        s[at.FREE_CALL] = w.calling[c, at.K_NEXT]
    return c


@compiled
def forget_call(w: World, c: int) -> None:
    """Let a call's row be used again."""
    w.calling[c, at.K_NEXT] = w.scalars[at.FREE_CALL]
    w.scalars[at.FREE_CALL] = c


@compiled
def chance_of_call(w: World, stream: int, event: int, attempt: int) -> float:
    """Return scenarios.streams.hashed_uniforms of a call: it fails when that is below the dependency's share."""
    state = np.uint64(w.scalars[at.SEED])
    for word in (stream, event, attempt, 1 + 2 * w.scalars[at.CHANCE]):
        state = mixed(state ^ mixed(np.uint64(word) + np.uint64(0x9E3779B97F4A7C15)))
    return (np.float64(state >> np.uint64(11)) + 0.5) * 2.0**-53


@compiled
def is_down(w: World, d: int) -> bool:
    """Whether a fault has a dependency refuse every call; such calls are counted."""
    now, down = w.scalars[NOW], False
    for f in range(w.dep_fault.shape[0]):
        fault = w.dep_fault[f]
        if fault[at.DF_DEPENDENCY] == d and fault[at.DF_DOWN] and fault[at.DF_BEGIN] <= now < fault[at.DF_END]:
            fault[at.DF_COUNT] += 1
            down = True
    return down


@compiled
def has_place(w: World, d: int) -> bool:
    """Whether a dependency works on fewer calls than it can."""
    places = w.dependency[d, at.D_PLACES]
    return places == 0 or w.dependency[d, at.D_BUSY] < places


@compiled
def token_ns(w: World, d: int) -> int:
    """Return from when on the rate limit lets the next call through: as long before the bucket is full as it holds more than one."""
    dependency = w.dependency[d]
    return dependency[at.D_FULL_NS] - (dependency[at.D_BURST] - 1) * dependency[at.D_INTERVAL_NS]


@compiled
def admit(w: World, d: int) -> None:
    """Begin the calls in line for which there are places and tokens."""
    now, dependency = w.scalars[NOW], w.dependency[d]
    while dependency[at.D_HEAD] != NONE:
        c = dependency[at.D_HEAD]
        is_wanted = not w.calling[c, at.K_WITHDRAWN]
        if is_wanted and not has_place(w, d):
            return
        at_ns = token_ns(w, d)
        if is_wanted and now < at_ns:
            look_at(w, d, at_ns)
            return
        dependency[at.D_HEAD] = w.calling[c, at.K_NEXT]
        dependency[at.D_WAITING] -= 1
        if dependency[at.D_HEAD] == NONE:
            dependency[at.D_TAIL] = NONE
        if is_wanted:
            begin_call(w, d, c)
        else:
            forget_call(w, c)


@compiled
def look_at(w: World, d: int, time: int) -> None:
    """Have a dependency look at its line at an instant."""
    if w.dependency[d, at.D_LOOK_AT] != time:
        w.dependency[d, at.D_LOOK_AT] = time
        push(w, time, SERVICE, w.knows.shape[0] + d, 0, at.ON_LOOK, d, 0, 0)


@compiled
def begin_call(w: World, d: int, c: int) -> None:
    """Let a dependency work on a call."""
    now, dependency = w.scalars[NOW], w.dependency[d]
    takes = w.takes[d, dependency[at.D_BEGUN]]
    for f in range(w.dep_fault.shape[0]):
        fault = w.dep_fault[f]
        if fault[at.DF_DEPENDENCY] == d and not fault[at.DF_DOWN] and fault[at.DF_BEGIN] <= now < fault[at.DF_END]:
            fault[at.DF_COUNT] += 1
            takes = np.int64(np.rint(takes * w.dep_factor[f])) + fault[at.DF_PLUS]
    dependency[at.D_BEGUN] += 1
    dependency[at.D_BUSY] += 1
    dependency[at.D_FULL_NS] = max(dependency[at.D_FULL_NS], now) + dependency[at.D_INTERVAL_NS]
    push(w, now + takes, END, 0, 0, at.ON_SERVED, c, 0, 0)


@compiled
def served(w: World, c: int) -> None:
    """End a call at its dependency; whoever waits for it hears."""
    row, now = w.calling[c], w.scalars[NOW]
    d, k, m = row[at.K_DEPENDENCY], row[at.K_WORKER], row[at.K_MEMBER]
    member = w.member[m]
    w.dependency[d, at.D_BUSY] -= 1
    look_at(w, d, now)
    if not row[at.K_WITHDRAWN] and row[at.K_LIFE] == member[at.LIFE]:
        w.worker[k, at.WK_ANSWER] = FAILED if row[at.K_FAILS] else WENT_WELL
        push(w, now, END, member[at.CODE], k - member[at.FIRST_WORKER], at.ON_HEARD, k, m, member[at.LIFE])
    forget_call(w, c)


@compiled
def look(w: World, d: int) -> None:
    """Look at a dependency's line."""
    if w.dependency[d, at.D_LOOK_AT] == w.scalars[NOW]:
        w.dependency[d, at.D_LOOK_AT] = NONE
    admit(w, d)


@compiled
def give_up_waiting(w: World, k: int) -> int:
    """Have a call count as failed whose time is over; where it is worked on it keeps its place until its end."""
    worker = w.worker[k]
    if worker[at.WK_GIVES_UP] > w.scalars[NOW]:
        return PENDING
    w.calling[worker[at.WK_ASKED], at.K_WITHDRAWN] = 1
    return FAILED


@compiled
def note_answer(w: World, m: int, index: int, ok: bool) -> None:
    """Let a member's breaker know how a call ended."""
    what, breaker, now = w.group_call[w.member[m, at.GROUP], index], w.breaker[m, index], w.scalars[NOW]
    if what[at.GC_OPENS_AFTER] == 0:
        return
    if breaker[at.B_IS_OPEN]:
        breaker[at.B_GOOD] = breaker[at.B_GOOD] + 1 if ok else 0
        if not ok:
            breaker[at.B_OPENED_NS] = now
        elif breaker[at.B_GOOD] >= what[at.GC_PROBES]:
            breaker[:] = 0
        return
    breaker[at.B_FAILURES] = 0 if ok else breaker[at.B_FAILURES] + 1
    if breaker[at.B_FAILURES] >= what[at.GC_OPENS_AFTER]:
        breaker[at.B_IS_OPEN] = 1
        breaker[at.B_OPENED_NS] = now
        breaker[at.B_GOOD] = 0
