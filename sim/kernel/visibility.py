"""What the high watermark lets through, and who knows where a partition's leader is."""

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.commits import commit_takes, is_taken_by, knows_coordinators
from sim.kernel.connections import all_visible
from sim.kernel.fetches import wake_fetch
from sim.kernel.shares import pass_known, release_partition
from sim.kernel.stable import move_stable_end
from sim.kernel.transactional import ask_coordinator
from sim.kernel.transactions import pass_over
from sim.kernel.work import dead_letter_arrived
from sim.world import (
    BATCH,
    CM_DONE,
    CM_MEMBER,
    CM_TIMED,
    CM_VERSION,
    COMMITS,
    COORDINATOR,
    DL_PART,
    DL_REQUEST,
    DL_SENT,
    DL_UNKNOWN,
    END,
    FIRST_WORKER,
    GROUP,
    LEADER,
    LIFE,
    NONE,
    NOW,
    ON_BATCH,
    ON_COMMITTED,
    ON_DEAD_LETTER,
    OPEN,
    PENDING,
    Q_COUNT,
    R_AFTER,
    R_CUT,
    R_DEAD,
    R_END,
    R_PART,
    R_SEEN_NS,
    R_TIMED,
    R_VERSION,
    R_VISIBLE,
    SERVICE,
    VISIBLE_END,
    WK_STATE,
    World,
    push,
)


@compiled
def timed(w: World, r: int, version: int) -> None:
    """A request's time is over: it and those that waited for it become visible in order."""
    request = w.request[r]
    if request[R_CUT] or request[R_VERSION] != version:
        return
    request[R_TIMED] = 1
    p = request[R_PART]
    while True:
        first = w.part[p, PENDING]
        if first == NONE or not w.request[first, R_TIMED]:
            break
        w.part[p, PENDING] = w.request[first, R_AFTER]
        make_visible(w, first)
    for m in range(w.member.shape[0]):
        wake_fetch(w, m, p)


@compiled
def make_visible(w: World, r: int) -> None:
    """Move the high watermark past a request and let it be answered."""
    s, request = w.scalars, w.request[r]
    request[R_VISIBLE] = 1
    request[R_SEEN_NS] = s[NOW]
    p = request[R_PART]
    begin, end = w.part[p, VISIBLE_END], request[R_END]
    if end > begin:
        s[OPEN] -= end - begin
        for g in range(w.group.shape[0]):
            if w.reads[g, p]:
                s[OPEN] += end - begin
        w.part[p, VISIBLE_END] = end
        for offset in range(begin, end if s[at.TXNS] else begin):
            pass_over(w, p, offset)
        if s[at.HOLES] and len(w.share) > 0:
            pass_known(w, p, begin, end)
        move_stable_end(w, p)
    dead = request[R_DEAD]
    if dead != NONE:
        if w.worker[dead, WK_STATE] == DL_SENT and w.worker[dead, DL_REQUEST] == r:
            dead_letter_arrived(w, dead)
    else:
        all_visible(w, r)


@entry
def forget_leader(w: World, p: int) -> None:
    """Let nobody know a partition's leader any more; what depended on it starts again later."""
    w.knows[:, p] = 0
    release_partition(w, p)
    for k in range(w.worker.shape[0]):
        worker = w.worker[k]
        if worker[WK_STATE] == DL_SENT and worker[DL_PART] == p:
            worker[WK_STATE] = DL_UNKNOWN
    for i in range(w.scalars[at.PRODUCERS]):
        if w.proc[i, at.P_COORDINATOR] == p:
            w.proc[i, at.P_TXN_VERSION] += 1
    for c in range(w.scalars[COMMITS]):
        commit = w.commit[c]
        if not commit[CM_DONE] and not commit[CM_TIMED] and is_taken_by(w, c, p):
            commit[CM_VERSION] += 1


@entry
def learned(w: World, code: int, p: int) -> None:
    """Let a process or member know a partition's new leader."""
    s = w.scalars
    w.knows[code, p] = w.part[p, LEADER]
    processes, members = s[at.PRODUCERS], w.member.shape[0]
    if code < processes or code >= processes + members:
        if p < w.queue.shape[1] and w.queue[code, p, Q_COUNT] > 0:
            push(w, s[NOW], BATCH, code, p, ON_BATCH, code, p, 0)
        if code < processes and w.proc[code, at.P_COORDINATOR] == p:
            ask_coordinator(w, code)
        return
    m = code - processes
    member = w.member[m]
    for k in range(member[FIRST_WORKER], member[FIRST_WORKER] + w.group[member[GROUP], at.WORKERS]):
        if w.worker[k, WK_STATE] == DL_UNKNOWN and w.worker[k, DL_PART] == p:
            push(w, s[NOW], SERVICE, code, k - member[FIRST_WORKER], ON_DEAD_LETTER, k, m, member[LIFE])
    if p in (w.group[member[GROUP], COORDINATOR], member[at.TXN_COORDINATOR]):
        for c in range(s[COMMITS]):
            commit = w.commit[c]
            waits = commit[CM_MEMBER] == m and not commit[CM_DONE] and not commit[CM_TIMED]
            if waits and is_taken_by(w, c, p) and knows_coordinators(w, c):
                push(w, s[NOW] + commit_takes(w, c), END, 0, 0, ON_COMMITTED, c, commit[CM_VERSION], 0)
    wake_fetch(w, m, p)
