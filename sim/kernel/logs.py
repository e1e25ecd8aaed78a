"""Partitions' logs: requests that are appended, replicated and timed; what is lost with a leader."""

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.fetches import wake_fetch
from sim.kernel.links import followers_take
from sim.kernel.rows import close
from sim.kernel.shares import give_up_below
from sim.kernel.stable import is_open, shares
from sim.world import (
    DL_BEGAN,
    DL_OFFSET,
    DL_PART,
    END,
    EPOCH,
    HALTED,
    HANDED,
    IDEMPOTENT,
    L_EPOCH,
    L_EVENT,
    L_REQUEST,
    L_TIME,
    LAST_REQ,
    LOG_LEN,
    NEXT,
    NONE,
    NOW,
    OFFSET,
    ON_VISIBLE,
    OPEN,
    PENDING,
    R_AFTER,
    R_APPENDED,
    R_BEFORE,
    R_BROKER,
    R_BYTES,
    R_COUNT,
    R_CUT,
    R_DEAD,
    R_DUE,
    R_END,
    R_HEAD,
    R_LEAD,
    R_LEFT,
    R_MATE,
    R_NEXT,
    R_PART,
    R_REPLICATED,
    R_SENDER,
    R_TIMED,
    R_VERSION,
    REQUESTS,
    STALE_END,
    World,
    push,
)


@compiled
def new_request(w: World, sender: int, b: int, p: int, head: int, count: int, size: int) -> int:
    """Return a new request."""
    r = w.scalars[REQUESTS]
    w.scalars[REQUESTS] = r + 1
    row = w.request[r]
    row[:] = 0
    row[R_SENDER] = sender
    row[R_BROKER] = b
    row[R_PART] = p
    row[R_HEAD] = head
    row[R_COUNT] = count
    row[R_BYTES] = size
    row[R_NEXT] = NONE
    row[R_AFTER] = NONE
    row[R_BEFORE] = NONE
    row[R_DEAD] = NONE
    row[R_MATE] = NONE
    row[R_LEAD] = r
    return r


@compiled
def append(w: World, r: int, leader_ns: int, duration: int, idempotent: bool) -> None:
    """Take a request into its partition's log; it becomes visible after `duration` in which the partition is not halted."""
    s, request, event = w.scalars, w.request[r], w.event
    p = request[R_PART]
    part = w.part[p]
    before = part[LAST_REQ]
    request[R_APPENDED] = s[NOW] + leader_ns
    request[R_BEFORE] = before
    if before != NONE:
        request[R_APPENDED] = max(request[R_APPENDED], w.request[before, R_APPENDED])
        w.request[before, R_AFTER] = r
    follows_ns = followers_take(w, p, request[R_APPENDED], request[R_BYTES])
    request[R_REPLICATED] = s[NOW] + (leader_ns + duration) // 2 + follows_ns
    if before != NONE:
        request[R_REPLICATED] = max(request[R_REPLICATED], w.request[before, R_REPLICATED])
    duration += follows_ns
    part[LAST_REQ] = r
    if part[PENDING] == NONE:
        part[PENDING] = r
    e, dead = request[R_HEAD], request[R_DEAD]
    for _ in range(request[R_COUNT]):
        known = NONE
        if dead != NONE:
            known = w.worker[dead, DL_OFFSET]
        elif idempotent:
            known = event[e, OFFSET]
        if known != NONE and s[at.HOLES] and w.log[p, known, at.L_TXN] == at.TRUNCATED:
            known = NONE
        x = w.member[w.worker[dead, at.WK_MEMBER], at.TXN] if dead != NONE else event[e, at.E_TXN]
        if known == NONE and (x == NONE or is_open(w, x)):
            offset = part[LOG_LEN]
            record = w.log[p, offset]
            record[L_EVENT] = e if dead != NONE else event[e, at.IDENTITY]
            record[at.L_SENDING] = e
            record[L_TIME] = w.worker[dead, DL_BEGAN] if dead != NONE else event[e, HANDED]
            record[L_EPOCH] = part[EPOCH]
            record[at.L_DUE] = w.worker[dead, at.DL_DUE] if dead != NONE else NONE
            note_headers(w, record, dead, e)
            record[L_REQUEST] = r
            record[at.L_TXN] = x
            part[LOG_LEN] = offset + 1
            s[OPEN] += 1
            if dead != NONE:
                w.worker[dead, DL_OFFSET] = offset
            else:
                event[e, OFFSET] = offset
        if dead == NONE:
            e = event[e, NEXT]
    request[R_END] = part[LOG_LEN]
    if part[HALTED]:
        request[R_LEFT] = duration
    else:
        request[R_DUE] = s[NOW] + duration
        push(w, request[R_DUE], END, 0, 0, ON_VISIBLE, r, request[R_VERSION], 0)


@compiled
def note_headers(w: World, record: at.Ints, dead: int, e: int) -> None:
    """Write what a dead letter or a copy takes along: how often its event was redriven, and where it was first read."""
    if dead == NONE:
        record[at.L_TIMES] = w.event[e, at.E_TIMES]
        record[at.L_ORIGIN] = w.event[e, at.E_ORIGIN]
        return
    held = w.hand[w.worker[dead, at.WK_MEMBER], w.worker[dead, at.WK_HAND]]
    source = w.log[held[at.H_PART], held[at.H_OFFSET]]
    record[at.L_TIMES] = source[at.L_TIMES]
    record[at.L_ORIGIN] = held[at.H_PART] if source[at.L_ORIGIN] == NONE else source[at.L_ORIGIN]


@entry
def set_halted(w: World, p: int, halted: int) -> None:
    """Stop or restart the time of what is not visible yet."""
    s, part = w.scalars, w.part[p]
    if part[HALTED] == halted:
        return
    part[HALTED] = halted
    r = part[PENDING]
    while r != NONE:
        request = w.request[r]
        if not request[R_TIMED]:
            if halted:
                request[R_LEFT] = request[R_DUE] - s[NOW]
                request[R_VERSION] += 1
            else:
                request[R_DUE] = s[NOW] + request[R_LEFT]
                push(w, request[R_DUE], END, 0, 0, ON_VISIBLE, r, request[R_VERSION], 0)
        r = request[R_AFTER]


@entry
def delete_below(w: World, p: int, offset: int) -> None:
    """Delete a partition's records before an offset; nobody waits for those any more."""
    for g in range(w.group.shape[0]):
        if w.reads[g, p]:
            for below in range(w.part[p, at.LOG_START], offset):
                close(w, g, p, below)
            if shares(w, g):
                give_up_below(w, g, p, offset)
    w.part[p, at.LOG_START] = offset
    for m in range(w.member.shape[0]):
        wake_fetch(w, m, p)


@entry
def cut_back(w: World, p: int) -> None:
    """Lose what no follower of a partition has."""
    s, part = w.scalars, w.part[p]
    part[STALE_END] = part[LOG_LEN]
    r = part[LAST_REQ]
    while r != NONE and w.request[r, R_REPLICATED] > s[NOW]:
        w.request[r, R_CUT] = 1
        r = w.request[r, R_BEFORE]
    cut_behind(w, p, r)


@entry
def cut_to_visible(w: World, p: int) -> None:
    """Lose what is not visible: a new leader that left the in-sync set has no more for sure."""
    part = w.part[p]
    part[STALE_END] = part[LOG_LEN]
    r = part[LAST_REQ]
    while r != NONE and not w.request[r, at.R_VISIBLE]:
        w.request[r, R_CUT] = 1
        r = w.request[r, R_BEFORE]
    cut_behind(w, p, r)


@compiled
def cut_behind(w: World, p: int, r: int) -> None:
    """Take what was cut of a partition's log, behind a request that stays (or NONE), out of it."""
    s, part = w.scalars, w.part[p]
    if part[PENDING] != NONE and w.request[part[PENDING], R_CUT]:
        part[PENDING] = NONE
    part[LAST_REQ] = r
    if r != NONE:
        w.request[r, R_AFTER] = NONE
    while part[LOG_LEN] > 0:
        record = w.log[p, part[LOG_LEN] - 1]
        request = w.request[record[L_REQUEST]]
        if not request[R_CUT]:
            break
        part[LOG_LEN] -= 1
        s[OPEN] -= 1
        dead = request[R_DEAD]
        if dead == NONE:
            if w.proc[request[R_SENDER], IDEMPOTENT]:
                w.event[record[at.L_SENDING], OFFSET] = NONE
        elif w.worker[dead, DL_PART] == p and w.worker[dead, DL_OFFSET] == part[LOG_LEN]:
            w.worker[dead, DL_OFFSET] = NONE
