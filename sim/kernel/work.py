"""Handlers: tries, retries, and what is given up."""

import numpy as np

from sim import world as at
from sim.compiled import compiled
from sim.kernel.commits import begin_commit, commit_if_due, wait_for_commit
from sim.kernel.fetches import enter_poll_loop
from sim.kernel.logs import append, new_request
from sim.kernel.rows import KIND_DEAD_LETTER, KIND_SKIP, KIND_TRY, close, fails, new_row
from sim.world import (
    AFTER_BATCH,
    AFTER_EVENT,
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
    GIVEN,
    GROUP,
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
    POLLS,
    R_DEAD,
    RG_FROM,
    RG_PART,
    RG_TO,
    RING_COUNT,
    RING_EVENTS,
    RING_HEAD,
    ROWS,
    S_BEGIN,
    S_END,
    S_GROUP,
    S_PLUS,
    SERVICE,
    SIZE,
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
    member[ATTEMPT] = 1
    begin_try(w, m)


@compiled
def begin_try(w: World, m: int) -> None:
    """Begin a try of the event at hand."""
    member, now = w.member[m], w.scalars[NOW]
    member[TRY_BEGAN] = now
    stretch = w.ring[m, member[RING_HEAD]]
    e = w.log[stretch[RG_PART], stretch[RG_FROM], L_EVENT]
    work = w.work[member[GROUP], e]
    for f in range(w.slow.shape[0]):
        if w.slow[f, S_GROUP] == member[GROUP] and w.slow[f, S_BEGIN] <= now < w.slow[f, S_END]:
            work = np.int64(np.rint(work * w.slow_factor[f])) + w.slow[f, S_PLUS]
    push(w, now + max(work, w.times[0]), END, 0, 0, ON_TRIED, m, 0, member[LIFE])


@compiled
def tried(w: World, m: int) -> None:
    """End a try: the event is handled, tried again later, or given up."""
    s, member = w.scalars, w.member[m]
    g, now = member[GROUP], s[NOW]
    group = w.group[g]
    stretch = w.ring[m, member[RING_HEAD]]
    p, offset = stretch[RG_PART], stretch[RG_FROM]
    e = w.log[p, offset, L_EVENT]
    attempt = member[ATTEMPT]
    ended = max(now + w.overshoot[m, member[TRIES]], member[at.RECORDED_NS])
    member[at.RECORDED_NS] = ended
    member[TRIES] += 1
    number = w.delivery[g, p, offset]
    failed = fails(w, g, e, attempt, number, member[TRY_BEGAN])
    last = group[ATTEMPTS] > 0 and attempt >= group[ATTEMPTS]
    row = w.rows[new_row(w, m, KIND_TRY, e, p, offset)]
    row[O_NUMBER] = number
    row[O_STARTED] = member[TRY_BEGAN]
    row[O_ENDED] = ended
    row[O_ATTEMPT] = attempt
    row[O_POLL] = member[POLLS] - 1
    row[O_OUTCOME] = 1 if failed else 0
    row[O_VALID] = 0
    backoff = w.backoff[g, min(attempt - 1, w.backoff.shape[1] - 1)]
    if failed and not last:
        row[O_RETRY] = now + backoff
    push(w, ended, END, 0, 0, ON_RECORDED, s[ROWS] - 1, m, member[LIFE])
    if not failed:
        event_done(w, m)
    elif not last:
        member[ATTEMPT] = attempt + 1
        push(w, now + backoff, WORK, member[CODE], 0, ON_TRY, m, 0, member[LIFE])
    elif group[THEN] == DEAD_LETTER:
        member[STATE] = DL_UNKNOWN
        member[DL_BEGAN] = now
        member[DL_OFFSET] = NONE
        member[DL_PART] = w.dead_letter_part[g, e]
        member[DL_LENGTH] = w.dead_letter[m, member[DEAD_LETTERS]]
        member[DEAD_LETTERS] += 1
        if w.knows[member[CODE], member[DL_PART]]:
            push(w, now, SERVICE, member[CODE], 0, ON_DEAD_LETTER, m, 0, member[LIFE])
    elif group[THEN] == SKIP:
        row = w.rows[new_row(w, m, KIND_SKIP, e, p, offset)]
        row[O_NUMBER] = number
        row[O_STARTED] = now
        row[O_ENDED] = now
        row[O_POLL] = member[POLLS] - 1
        close(w, g, p, offset)
        event_done(w, m)
    else:
        s[WHY] = STOPPED
        s[WHO] = m


@compiled
def recorded(w: World, row_number: int, m: int, life: int) -> None:
    """Record a try when its sleep has ended, unless the member was killed before."""
    if w.member[m, LIFE] != life:
        return
    row = w.rows[row_number]
    row[O_VALID] = 1
    if row[O_OUTCOME] == 0:
        close(w, row[O_GROUP], row[O_PART], row[O_OFFSET])


@compiled
def send_dead_letter(w: World, m: int) -> None:
    """Bring the event at hand to its dead-letter topic."""
    member = w.member[m]
    if member[STATE] != DL_UNKNOWN or not w.knows[member[CODE], member[DL_PART]]:
        return
    stretch = w.ring[m, member[RING_HEAD]]
    e = w.log[stretch[RG_PART], stretch[RG_FROM], L_EVENT]
    r = new_request(w, member[CODE], NONE, member[DL_PART], e, 1, w.event[e, SIZE])
    w.request[r, R_DEAD] = m
    member[DL_REQUEST] = r
    member[STATE] = DL_SENT
    append(w, r, member[DL_LENGTH], member[DL_LENGTH], True)


@compiled
def dead_letter_arrived(w: World, m: int) -> None:
    """Record a dead letter; the member goes on."""
    s, member = w.scalars, w.member[m]
    stretch = w.ring[m, member[RING_HEAD]]
    p, offset = stretch[RG_PART], stretch[RG_FROM]
    row = w.rows[new_row(w, m, KIND_DEAD_LETTER, w.log[p, offset, L_EVENT], member[DL_PART], member[DL_OFFSET])]
    row[O_NUMBER] = w.delivery[member[GROUP], p, offset]
    row[O_STARTED] = member[DL_BEGAN]
    row[O_ENDED] = s[NOW]
    row[O_POLL] = member[POLLS] - 1
    member[STATE] = WORKING
    close(w, member[GROUP], p, offset)
    event_done(w, m)


@compiled
def event_done(w: World, m: int) -> None:
    """Note an event as finished; what follows, follows in the order of work."""
    member = w.member[m]
    stretch = w.ring[m, member[RING_HEAD]]
    stretch[RG_FROM] += 1
    w.mp[m, stretch[RG_PART], FINISHED] = stretch[RG_FROM]
    member[RING_EVENTS] -= 1
    member[BATCH_LEFT] -= 1
    if stretch[RG_FROM] == stretch[RG_TO]:
        member[RING_HEAD] = (member[RING_HEAD] + 1) % w.ring.shape[1]
        member[RING_COUNT] -= 1
    push(w, w.scalars[NOW], WORK, member[CODE], 0, ON_HANDLED, m, 0, member[LIFE])


@compiled
def handled(w: World, m: int) -> None:
    """Commit where that is due after an event, and go on."""
    member = w.member[m]
    if w.group[member[GROUP], MODE] == AFTER_EVENT:
        begin_commit(w, m, FINISHED)
        wait_for_commit(w, m, TO_NEXT_EVENT)
        return
    commit_if_due(w, m)
    next_event(w, m)


@compiled
def next_event(w: World, m: int) -> None:
    """Begin the batch's next event, or end the batch."""
    member = w.member[m]
    if member[BATCH_LEFT] > 0:
        member[STATE] = WORKING
        member[ATTEMPT] = 1
        begin_try(w, m)
    elif w.group[member[GROUP], MODE] == AFTER_BATCH:
        begin_commit(w, m, FINISHED)
        wait_for_commit(w, m, TO_POLL)
    else:
        enter_poll_loop(w, m)
