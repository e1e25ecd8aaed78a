"""Handlers: tries, retries, and what is given up."""

import numpy as np

from sim import world as at
from sim.compiled import compiled
from sim.kernel.commits import begin_commit, commit_in_between, wait_for_commit
from sim.kernel.emits import emit, wait_for_emitted
from sim.kernel.fetches import enter_poll_loop
from sim.kernel.finishing import part_done
from sim.kernel.links import there_and_back
from sim.kernel.logs import append, new_request
from sim.kernel.pool import free_worker, takes_on
from sim.kernel.replays import has_pool, keeps_pace
from sim.kernel.rows import KIND_DEAD_LETTER, KIND_SKIP, KIND_TRY, done_with, fails, new_row
from sim.kernel.transactions import begin_transaction, transaction_id
from sim.world import (
    AFTER_BATCH,
    AFTER_EVENT,
    AT_WORK,
    ATTEMPT,
    ATTEMPTS,
    BATCH_LEFT,
    BEFORE_WORK,
    CODE,
    DEAD_LETTER,
    DEAD_LETTERS,
    DL_BEGAN,
    DL_LENGTH,
    DL_OFFSET,
    DL_PART,
    DL_REQUEST,
    DL_SENT,
    DL_UNKNOWN,
    END,
    FINISHED,
    FIRST_WORKER,
    GIVEN,
    GROUP,
    H_NUMBER,
    H_OFFSET,
    H_PART,
    L_EVENT,
    LIFE,
    MODE,
    NONE,
    NOW,
    O_ATTEMPT,
    O_ENDED,
    O_GROUP,
    O_NUMBER,
    O_OFFSET,
    O_OUTCOME,
    O_PART,
    O_POLL,
    O_RETRY,
    O_STARTED,
    O_VALID,
    ON_DEAD_LETTER,
    ON_HANDLED,
    ON_RECORDED,
    ON_TRIED,
    ON_TRY,
    R_DEAD,
    ROWS,
    S_BEGIN,
    S_END,
    S_GROUP,
    S_PLUS,
    SERVICE,
    SKIP,
    STATE,
    STOPPED,
    THEN,
    TO_FIRST_TRY,
    TO_NEXT_EVENT,
    TO_POLL,
    TRIES,
    TRY_BEGAN,
    WHO,
    WHY,
    WK_HAND,
    WK_MEMBER,
    WK_STATE,
    WORK,
    WORKING,
    World,
    push,
)


@compiled
def begin_batch(w: World, m: int) -> None:
    """Begin a batch: with the commit where that comes before the work."""
    member = w.member[m]
    if w.group[member[GROUP], MODE] == BEFORE_WORK:
        begin_commit(w, m, GIVEN)
        wait_for_commit(w, m, TO_FIRST_TRY)
        return
    if has_pool(w, m):
        takes_on(w, m)
        return
    if w.group[member[GROUP], MODE] == at.TRANSACTION:
        begin_transaction(w, m)
    begin_event(w, member[FIRST_WORKER])


@compiled
def begin_event(w: World, k: int) -> None:
    """Let a worker begin its event's first try, unless the event is known to have had its effect."""
    worker = w.worker[k]
    m = worker[WK_MEMBER]
    if w.member[m, at.REPLAYS] and keeps_pace(w, k):
        return
    g, held = w.member[m, GROUP], w.hand[m, worker[WK_HAND]]
    if knows(w, m, w.log[held[H_PART], held[H_OFFSET], L_EVENT]):
        done_with(w, g, held[H_PART], held[H_OFFSET])
        event_done(w, k)
        return
    worker[ATTEMPT] = w.tried_before[held[H_PART]] + 1
    begin_try(w, k)


@compiled
def knows(w: World, m: int, v: int) -> bool:
    """Whether an event has had its effect, as far as the group's or the member's memory goes."""
    group = w.group[w.member[m, GROUP]]
    if group[at.DEDUPE_NS] == 0:
        return False
    marked = w.own_marked[m, v] if group[at.DEDUPE_OWN] else w.marked[w.member[m, GROUP], v]
    return marked != NONE and w.scalars[NOW] - marked <= group[at.DEDUPE_NS]


@compiled
def mark(w: World, m: int, v: int) -> None:
    """Remember an effect."""
    g = w.member[m, GROUP]
    if w.group[g, at.DEDUPE_OWN]:
        w.own_marked[m, v] = w.scalars[NOW]
    elif w.group[g, at.DEDUPE_NS]:
        w.marked[g, v] = w.scalars[NOW]


@compiled
def begin_try(w: World, k: int) -> None:
    """Begin a try of the event at hand."""
    worker, now = w.worker[k], w.scalars[NOW]
    m = worker[WK_MEMBER]
    g = w.member[m, GROUP]
    worker[TRY_BEGAN] = now
    held = w.hand[m, worker[WK_HAND]]
    e = w.log[held[H_PART], held[H_OFFSET], L_EVENT]
    work = w.work[w.member[m, at.VERSION], e]
    for f in range(w.slow.shape[0]):
        if w.slow[f, S_GROUP] == g and w.slow[f, S_BEGIN] <= now < w.slow[f, S_END]:
            work = np.int64(np.rint(work * w.slow_factor[f])) + w.slow[f, S_PLUS]
    push(w, now + max(work, w.times[0]), END, 0, 0, ON_TRIED, k, m, w.member[m, LIFE])


@compiled
def tried(w: World, k: int) -> None:
    """End the work of a try: its calls follow, or it is over."""
    worker = w.worker[k]
    m = worker[WK_MEMBER]
    member = w.member[m]
    ended = max(w.scalars[NOW] + w.overshoot[m, member[TRIES]], worker[at.WK_RECORDED_NS])
    member[TRIES] += 1
    if w.group[member[GROUP], at.CALLS]:
        worker[at.WK_CALL] = 0
        push(w, ended, WORK, member[CODE], k - member[FIRST_WORKER] + 1, at.ON_CALL, k, m, member[LIFE])
    else:
        try_over(w, k, ended, True)


@compiled
def try_over(w: World, k: int, ended: int, called: bool) -> None:
    """End a try: the event is handled, tried again later, or given up; `called` says whether all calls went well."""
    s, worker = w.scalars, w.worker[k]
    m = worker[WK_MEMBER]
    member, held = w.member[m], w.hand[m, worker[WK_HAND]]
    g, now = member[GROUP], s[NOW]
    group = w.group[g]
    p, offset, number = held[H_PART], held[H_OFFSET], held[H_NUMBER]
    e = w.log[p, offset, L_EVENT]
    attempt = worker[ATTEMPT]
    worker[at.WK_RECORDED_NS] = ended
    if group[at.WORKERS] == 1:
        member[at.RECORDED_NS] = ended
    failed = not called or fails(w, m, e, attempt, number, worker[TRY_BEGAN])
    last = group[ATTEMPTS] > 0 and attempt >= group[ATTEMPTS]
    row = w.rows[new_row(w, m, KIND_TRY, e, p, offset)]
    row[O_NUMBER] = number
    row[O_STARTED] = worker[TRY_BEGAN]
    row[O_ENDED] = ended
    row[O_ATTEMPT] = attempt
    row[O_POLL] = held[at.H_POLL]
    row[O_OUTCOME] = 1 if failed else 0
    row[at.O_OWNERSHIP] = held[at.H_OWNERSHIP]
    row[O_VALID] = 0
    row[at.O_TXN] = transaction_id(w, m)
    row[at.O_OWNERSHIP] = held[at.H_OWNERSHIP]
    backoff = w.backoff[g, min(attempt - 1, w.backoff.shape[1] - 1)]
    if failed and not last:
        row[O_RETRY] = now + backoff
    push(w, ended, END, 0, 0, ON_RECORDED, s[ROWS] - 1, m, member[LIFE])
    if not failed:
        if group[at.EMITS] or has_pool(w, m):
            member[at.EMITTING] += 1
            next_comes(w, k)
        else:
            event_done(w, k)
    elif not last and group[at.BY_TOPIC]:
        begin_letter(w, k, w.retry_part[g, p], now + backoff)
    elif not last:
        worker[ATTEMPT] = attempt + 1
        push(w, now + backoff, WORK, member[CODE], k - member[FIRST_WORKER] + 1, ON_TRY, k, m, member[LIFE])
    elif group[THEN] == DEAD_LETTER:
        begin_letter(w, k, w.dead_letter_part[member[at.LETTERS], e], NONE)
    elif group[THEN] == SKIP:
        row = w.rows[new_row(w, m, KIND_SKIP, e, p, offset)]
        row[O_NUMBER] = number
        row[O_STARTED] = now
        row[O_ENDED] = now
        row[O_POLL] = held[at.H_POLL]
        done_with(w, g, p, offset)
        event_done(w, k)
    elif group[THEN] == at.RELEASE:
        held[at.H_RELEASED] = 1
        event_done(w, k)
    elif group[THEN] == at.CRASH:
        push(w, ended, END, member[CODE], k - member[FIRST_WORKER], at.ON_DIES, k, m, member[LIFE])
    else:
        s[WHY] = STOPPED
        s[WHO] = m


@compiled
def begin_letter(w: World, k: int, p: int, due_ns: int) -> None:
    """Have the event at hand sent on: a copy for the next try, due at an instant, or a dead letter (NONE)."""
    worker = w.worker[k]
    m = worker[WK_MEMBER]
    member, now = w.member[m], w.scalars[NOW]
    worker[WK_STATE] = DL_UNKNOWN
    worker[DL_BEGAN] = now
    worker[DL_OFFSET] = NONE
    worker[DL_PART] = p
    worker[DL_LENGTH] = w.dead_letter[m, member[DEAD_LETTERS]]
    worker[at.DL_DUE] = due_ns
    member[DEAD_LETTERS] += 1
    if w.knows[member[CODE], p]:
        push(w, now, SERVICE, member[CODE], k - member[FIRST_WORKER], ON_DEAD_LETTER, k, m, member[LIFE])


@compiled
def recorded(w: World, row_number: int, m: int, life: int) -> None:
    """Record a try when its sleep has ended, unless the member was killed before."""
    if w.member[m, LIFE] != life:
        return
    row = w.rows[row_number]
    row[O_VALID] = 1
    if row[O_OUTCOME] == 0:
        done_with(w, row[O_GROUP], row[O_PART], row[O_OFFSET])
        mark(w, m, row[at.O_EVENT])
        if w.group[row[O_GROUP], at.EMITS] or has_pool(w, m):
            emit(w, m, row_number)


@compiled
def send_dead_letter(w: World, k: int) -> None:
    """Bring the event at hand to its dead-letter topic."""
    worker = w.worker[k]
    m = worker[WK_MEMBER]
    code = w.member[m, CODE]
    if worker[WK_STATE] != DL_UNKNOWN or not w.knows[code, worker[DL_PART]]:
        return
    held = w.hand[m, worker[WK_HAND]]
    e = w.log[held[H_PART], held[H_OFFSET], L_EVENT]
    r = new_request(w, code, NONE, worker[DL_PART], e, 1, w.identity[e, at.V_SIZE])
    w.request[r, R_DEAD] = k
    worker[DL_REQUEST] = r
    worker[WK_STATE] = DL_SENT
    takes_ns = worker[DL_LENGTH] + there_and_back(w, worker[DL_PART], code, at.LINK_LETTER, worker[DL_BEGAN])
    append(w, r, takes_ns, takes_ns, True)


@compiled
def dead_letter_arrived(w: World, k: int) -> None:
    """Record a dead letter, or have a copy for the next try where it belongs; the member goes on."""
    worker = w.worker[k]
    m = worker[WK_MEMBER]
    member, held = w.member[m], w.hand[m, worker[WK_HAND]]
    p, offset = held[H_PART], held[H_OFFSET]
    if worker[at.DL_DUE] == NONE:
        row = w.rows[new_row(w, m, KIND_DEAD_LETTER, w.log[p, offset, L_EVENT], worker[DL_PART], worker[DL_OFFSET])]
        row[O_NUMBER] = held[H_NUMBER]
        row[O_STARTED] = worker[DL_BEGAN]
        row[O_ENDED] = w.scalars[NOW]
        row[O_POLL] = held[at.H_POLL]
        row[O_OUTCOME] = 1 if worker[DL_OFFSET] == NONE else 0
    worker[WK_STATE] = AT_WORK
    done_with(w, member[GROUP], p, offset)
    event_done(w, k)


@compiled
def event_done(w: World, k: int) -> None:
    """Note an event as finished, and go on."""
    m = w.worker[k, WK_MEMBER]
    held = w.hand[m, w.worker[k, WK_HAND]]
    next_comes(w, k)
    part_done(w, m, held[H_PART], held[H_OFFSET], held[at.H_OWNERSHIP])


@compiled
def next_comes(w: World, k: int) -> None:
    """Let what follows an event follow in the order of work."""
    m = w.worker[k, WK_MEMBER]
    member = w.member[m]
    member[BATCH_LEFT] -= 1
    push(w, w.scalars[NOW], WORK, member[CODE], k - member[FIRST_WORKER] + 1, ON_HANDLED, k, m, member[LIFE])


@compiled
def handled(w: World, k: int) -> None:
    """Commit where that is due after an event, and go on."""
    m = w.worker[k, WK_MEMBER]
    if has_pool(w, m):
        free_worker(w, k)
        return
    w.worker[k, WK_HAND] += 1
    if w.group[w.member[m, GROUP], MODE] == AFTER_EVENT:
        if not wait_for_emitted(w, m, TO_NEXT_EVENT):
            begin_commit(w, m, FINISHED)
            wait_for_commit(w, m, TO_NEXT_EVENT)
        return
    commit_in_between(w, m)
    next_event(w, m)


@compiled
def flushed(w: World, m: int) -> None:
    """Go on with what waited until everything emitted is there: a commit, or a duty, which is control's."""
    s, member = w.scalars, w.member[m]
    if member[STATE] != at.FLUSHING or member[at.EMITTING] > 0:
        return
    if member[at.GOES_ON] == at.TO_DUTY:
        s[WHY] = at.DUTY
        s[WHO] = m
        return
    begin_commit(w, m, FINISHED)
    wait_for_commit(w, m, member[at.GOES_ON])


@compiled
def next_event(w: World, m: int) -> None:
    """Begin the batch's next event, or end the batch."""
    member = w.member[m]
    if member[BATCH_LEFT] > 0:
        member[STATE] = WORKING
        begin_event(w, member[FIRST_WORKER])
    elif w.group[member[GROUP], MODE] in (AFTER_BATCH, at.TRANSACTION):
        if not wait_for_emitted(w, m, TO_POLL):
            begin_commit(w, m, FINISHED)
            wait_for_commit(w, m, TO_POLL)
    else:
        enter_poll_loop(w, m)
