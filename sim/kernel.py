"""What moves the events between two instants of control: one scalar loop over arrays, compiled by Numba, runnable as it is written.

No random draws inside: random inputs are arrays, and `advance` returns SHORT when something must grow. The rules are docs/model.md's.
"""

import numpy as np

from sim import world as at
from sim.compiled import compiled, entry
from sim.world import (
    A_FROM,
    A_OWNERSHIP,
    A_TO,
    ACKS,
    ACKS_0,
    ACKS_ALL,
    AFTER_BATCH,
    AFTER_EVENT,
    ARRIVAL,
    ASKED,
    ATTEMPT,
    ATTEMPTS,
    AUTO,
    BATCH,
    BATCH_BYTES,
    BATCH_EVENTS,
    BATCH_LEFT,
    BEFORE_WORK,
    C_CURRENT,
    C_HEAD,
    C_LAST_ANSWER,
    C_SERVED,
    C_TAIL,
    CALLED,
    CHANCE,
    CHOICES,
    CHOSEN,
    CM_AFTER,
    CM_BEFORE,
    CM_BEGUN,
    CM_DONE,
    CM_ITEM,
    CM_ITEMS,
    CM_LENGTH,
    CM_LIFE,
    CM_MEMBER,
    CM_TIMED,
    CM_VERSION,
    CODE,
    COLLECT_EVENTS,
    COLLECT_TIMEOUT,
    COMMITS,
    COMMITTING,
    COORDINATOR,
    DEAD_LETTER,
    DEAD_LETTERS,
    DL_BEGAN,
    DL_LENGTH,
    DL_OFFSET,
    DL_PART,
    DL_REQUEST,
    DL_SENT,
    DL_UNKNOWN,
    DUE,
    DUTY,
    END,
    EPOCH,
    FETCH,
    FETCHED,
    FINISHED,
    FIRST_PART,
    GENERATION,
    GIVEN,
    GOES_ON,
    GROUP,
    HALTED,
    HAND_OVER,
    HANDED,
    HAS_DUTY,
    HEAP,
    IDEMPOTENT,
    IN_FLIGHT,
    INTERVAL,
    ITEMS,
    L_EPOCH,
    L_EVENT,
    L_REQUEST,
    L_TIME,
    LAST_COMMIT,
    LAST_EVENT,
    LAST_REQ,
    LEADER,
    LIFE,
    LINGER,
    LOG_LEN,
    MAX_POLL,
    MODE,
    MOST,
    N_COMMITS,
    NEVER,
    NEXT,
    NEXT_EVENT,
    NONE,
    NOW,
    O_ATTEMPT,
    O_ENDED,
    O_EVENT,
    O_GROUP,
    O_KIND,
    O_NUMBER,
    O_OFFSET,
    O_OUTCOME,
    O_PART,
    O_POLL,
    O_PROCESS,
    O_RETRY,
    O_STARTED,
    O_VALID,
    OFFSET,
    ON_ANSWER,
    ON_APPENDED,
    ON_ARRIVAL,
    ON_BATCH,
    ON_BEGIN,
    ON_COMMITTED,
    ON_DEAD_LETTER,
    ON_FETCH,
    ON_HAND_OVER,
    ON_HANDLED,
    ON_POLL,
    ON_RECORDED,
    ON_SERVICE,
    ON_TRIED,
    ON_TRY,
    ON_TURNED,
    ON_VISIBLE,
    OPEN,
    OWNED,
    PARKED,
    PART,
    PENDING,
    POLL,
    POLL_AT,
    POLLING,
    POLLS,
    POSITION,
    Q_BYTES,
    Q_COUNT,
    Q_HEAD,
    Q_TAIL,
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
    R_LEFT,
    R_N,
    R_NEXT,
    R_PART,
    R_REPLICATED,
    R_SENDER,
    R_TIMED,
    R_VERSION,
    R_VISIBLE,
    REACHED,
    REQUESTS,
    RETURNS,
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
    SEED,
    SENT_ENDED,
    SENT_OFFSET,
    SENT_PART,
    SERVICE,
    SETTLED,
    SETTLING,
    SHORT,
    SIZE,
    SKIP,
    STATE,
    STOPPED,
    THEN,
    TO_DUTY,
    TO_FIRST_TRY,
    TO_NEXT_EVENT,
    TO_POLL,
    TRIES,
    TRY_BEGAN,
    UNANSWERED,
    UNTIL,
    VISIBLE_END,
    WAKES,
    WANT,
    WHO,
    WHY,
    WORK,
    WORKING,
    World,
    pop,
    push,
)  # fmt: skip

KIND_DELIVERY, KIND_TRY, KIND_SKIP, KIND_DEAD_LETTER, KIND_COMMIT = 1, 2, 3, 4, 5
"""Codes of rundata.rows.Kind."""
UNTIMED = -(2**63)
_ALWAYS_FAILS = 32767


# ---- producers -----------------------------------------------------------------------------------------------------


@compiled
def hand_over(w: World, i: int) -> None:
    """Let an event reach the client, and the process's next one be expected."""
    s, proc, event = w.scalars, w.proc, w.event
    n = proc[i, NEXT_EVENT]
    e = w.proc_events[n]
    proc[i, NEXT_EVENT] = n + 1
    if n + 1 < proc[i, LAST_EVENT]:
        push(w, event[w.proc_events[n + 1], HANDED], HAND_OVER, i, 0, ON_HAND_OVER, i, 0, 0)
    p = event[e, PART]
    if p == NONE:
        if s[NOW] >= proc[i, UNTIL]:
            proc[i, CHOSEN] = w.sticky[proc[i, at.FIRST_EVENT] + proc[i, CHOICES]]
            proc[i, CHOICES] += 1
            proc[i, UNTIL] = s[NOW] + 2 * proc[i, LINGER]
        p = proc[i, FIRST_PART] + proc[i, CHOSEN]
    event[e, SENT_PART] = p
    q = w.queue[i, p]
    event[e, NEXT] = NONE
    if q[Q_COUNT] == 0:
        q[Q_HEAD] = e
        push(w, s[NOW] + proc[i, LINGER], BATCH, i, p, ON_BATCH, i, p, 0)
    else:
        event[q[Q_TAIL], NEXT] = e
    q[Q_TAIL] = e
    q[Q_COUNT] += 1
    q[Q_BYTES] += event[e, SIZE]
    if q[Q_COUNT] >= proc[i, BATCH_EVENTS] or q[Q_BYTES] >= proc[i, BATCH_BYTES]:
        push(w, s[NOW], BATCH, i, p, ON_BATCH, i, p, 0)


@compiled
def make_batches(w: World, i: int, p: int) -> None:
    """Turn what is ready in a queue into requests; see again to what is still to linger."""
    s, proc, q = w.scalars, w.proc[i], w.queue[i, p]
    while q[Q_COUNT] > 0 and w.knows[i, p]:
        ripe_ns = w.event[q[Q_HEAD], HANDED] + proc[LINGER]
        full = q[Q_COUNT] >= proc[BATCH_EVENTS] or q[Q_BYTES] >= proc[BATCH_BYTES]
        if ripe_ns > s[NOW] and not full:
            push(w, ripe_ns, BATCH, i, p, ON_BATCH, i, p, 0)
            return
        if proc[IN_FLIGHT] != NONE and q[UNANSWERED] >= proc[IN_FLIGHT]:
            return
        send_batch(w, i, p)


@compiled
def send_batch(w: World, i: int, p: int) -> None:
    """Put the oldest events of a queue into a request and hand it to the leader's connection."""
    s, proc, event, q = w.scalars, w.proc[i], w.event, w.queue[i, p]
    head = q[Q_HEAD]
    count, size, last = 1, event[head, SIZE], head
    while (
        count < q[Q_COUNT] and count < proc[BATCH_EVENTS] and size + event[event[last, NEXT], SIZE] <= proc[BATCH_BYTES]
    ):
        last = event[last, NEXT]
        size += event[last, SIZE]
        count += 1
    q[Q_HEAD] = event[last, NEXT]
    event[last, NEXT] = NONE
    q[Q_COUNT] -= count
    q[Q_BYTES] -= size
    if q[Q_COUNT] == 0:
        q[Q_HEAD] = NONE
        q[Q_TAIL] = NONE
    b = w.part[p, LEADER]
    r = new_request(w, i, b, p, head, count, size)
    q[UNANSWERED] += 1
    if proc[ACKS] == ACKS_0:
        answered(w, r)
    c = w.conn[i, b]
    if c[C_HEAD] == NONE:
        c[C_HEAD] = r
    else:
        w.request[c[C_TAIL], R_NEXT] = r
    c[C_TAIL] = r
    if c[C_CURRENT] == NONE:
        push(w, s[NOW], SERVICE, i, b, ON_SERVICE, i, b, 0)


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
    return r


@compiled
def serve(w: World, i: int, b: int) -> None:
    """Begin the next request of an idle connection."""
    c = w.conn[i, b]
    r = c[C_HEAD]
    if c[C_CURRENT] != NONE or r == NONE:
        return
    request = w.request[r]
    c[C_HEAD] = request[R_NEXT]
    request[R_NEXT] = NONE
    if c[C_HEAD] == NONE:
        c[C_TAIL] = NONE
    c[C_CURRENT] = r
    n = c[C_SERVED]
    c[C_SERVED] = n + 1
    request[R_N] = n
    per_size_us = w.costs[0] * request[R_BYTES] / 1024 + w.costs[1] * request[R_COUNT]
    duration = w.produce[i, b, n] + np.int64(np.rint(1000 * per_size_us))
    append(w, r, min(w.leader[i, b, n], duration), duration, w.proc[i, IDEMPOTENT] == 1)
    if w.proc[i, ACKS] != ACKS_ALL:
        push(w, request[R_APPENDED], END, 0, 0, ON_APPENDED, r, 0, 0)


@compiled
def free_connection(w: World, r: int) -> None:
    """Let a connection answer its request and take the next."""
    s, request = w.scalars, w.request[r]
    i, b = request[R_SENDER], request[R_BROKER]
    c = w.conn[i, b]
    if c[C_CURRENT] != r:
        return
    c[C_CURRENT] = NONE
    if w.proc[i, ACKS] != ACKS_0:
        answer_ns = max(s[NOW] + w.acknowledge[i, b, request[R_N]], c[C_LAST_ANSWER])
        c[C_LAST_ANSWER] = answer_ns
        push(w, answer_ns, END, 0, 0, ON_ANSWER, r, 0, 0)
    if c[C_HEAD] != NONE:
        push(w, s[NOW], SERVICE, i, b, ON_SERVICE, i, b, 0)


@compiled
def answered(w: World, r: int) -> None:
    """Tell a process what became of a request's events."""
    s, request, event = w.scalars, w.request[r], w.event
    i, p = request[R_SENDER], request[R_PART]
    q = w.queue[i, p]
    q[UNANSWERED] -= 1
    acks_0 = w.proc[i, ACKS] == ACKS_0
    e = request[R_HEAD]
    for _ in range(request[R_COUNT]):
        if event[e, SENT_ENDED] == NEVER:
            event[e, SENT_ENDED] = s[NOW]
            event[e, SENT_OFFSET] = NONE if acks_0 else event[e, OFFSET]
            s[OPEN] -= 1
        e = event[e, NEXT]
    if q[Q_COUNT] > 0 and not acks_0:
        push(w, s[NOW], BATCH, i, p, ON_BATCH, i, p, 0)


# ---- logs ----------------------------------------------------------------------------------------------------------


@compiled
def append(w: World, r: int, leader_ns: int, duration: int, idempotent: bool) -> None:
    """Take a request into its partition's log; it becomes visible after `duration` in which the partition is not halted."""
    s, request, event = w.scalars, w.request[r], w.event
    p = request[R_PART]
    part = w.part[p]
    before = part[LAST_REQ]
    request[R_APPENDED] = s[NOW] + leader_ns
    request[R_REPLICATED] = s[NOW] + (leader_ns + duration) // 2
    request[R_BEFORE] = before
    if before != NONE:
        request[R_APPENDED] = max(request[R_APPENDED], w.request[before, R_APPENDED])
        request[R_REPLICATED] = max(request[R_REPLICATED], w.request[before, R_REPLICATED])
        w.request[before, R_AFTER] = r
    part[LAST_REQ] = r
    if part[PENDING] == NONE:
        part[PENDING] = r
    e, dead = request[R_HEAD], request[R_DEAD]
    for _ in range(request[R_COUNT]):
        known = NONE
        if dead != NONE:
            known = w.member[dead, DL_OFFSET]
        elif idempotent:
            known = event[e, OFFSET]
        if known == NONE:
            offset = part[LOG_LEN]
            record = w.log[p, offset]
            record[L_EVENT] = e
            record[L_TIME] = w.member[dead, DL_BEGAN] if dead != NONE else event[e, HANDED]
            record[L_EPOCH] = part[EPOCH]
            record[L_REQUEST] = r
            part[LOG_LEN] = offset + 1
            s[OPEN] += 1
            if dead != NONE:
                w.member[dead, DL_OFFSET] = offset
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
    p = request[R_PART]
    begin, end = w.part[p, VISIBLE_END], request[R_END]
    if end > begin:
        s[OPEN] -= end - begin
        for g in range(w.group.shape[0]):
            if w.reads[g, p]:
                s[OPEN] += end - begin
        w.part[p, VISIBLE_END] = end
    dead = request[R_DEAD]
    if dead != NONE:
        if w.member[dead, STATE] == DL_SENT and w.member[dead, DL_REQUEST] == r:
            dead_letter_arrived(w, dead)
    elif w.proc[request[R_SENDER], ACKS] == ACKS_ALL:
        free_connection(w, r)


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
def cut_back(w: World, p: int) -> None:
    """Lose what no follower of a partition has."""
    s, part = w.scalars, w.part[p]
    r = part[LAST_REQ]
    while r != NONE and w.request[r, R_REPLICATED] > s[NOW]:
        w.request[r, R_CUT] = 1
        r = w.request[r, R_BEFORE]
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
                w.event[record[L_EVENT], OFFSET] = NONE
        elif w.member[dead, DL_PART] == p and w.member[dead, DL_OFFSET] == part[LOG_LEN]:
            w.member[dead, DL_OFFSET] = NONE


@entry
def break_connections(w: World, b: int) -> None:
    """Give every process back what a lost broker had not finished; with acks=0 nobody knows about it."""
    for i in range(w.proc.shape[0]):
        c = w.conn[i, b]
        # Newest first, so that prepending keeps the order: walk the chain once to turn it round.
        newest = NONE
        r = c[C_CURRENT]
        if r != NONE:
            w.request[r, R_NEXT] = c[C_HEAD]
        else:
            r = c[C_HEAD]
        while r != NONE:
            following = w.request[r, R_NEXT]
            w.request[r, R_NEXT] = newest
            newest = r
            r = following
        c[C_CURRENT] = NONE
        c[C_HEAD] = NONE
        c[C_TAIL] = NONE
        r = newest
        while r != NONE:
            if w.proc[i, ACKS] != ACKS_0:
                queue_again(w, r)
            following = w.request[r, R_NEXT]
            w.request[r, R_NEXT] = NONE
            r = following


@compiled
def queue_again(w: World, r: int) -> None:
    """Put a request's events back ahead of the newer ones."""
    request, event = w.request[r], w.event
    q = w.queue[request[R_SENDER], request[R_PART]]
    q[UNANSWERED] -= 1
    last = request[R_HEAD]
    for _ in range(request[R_COUNT] - 1):
        last = event[last, NEXT]
    event[last, NEXT] = q[Q_HEAD]
    q[Q_HEAD] = request[R_HEAD]
    if q[Q_COUNT] == 0:
        q[Q_TAIL] = last
    q[Q_COUNT] += request[R_COUNT]
    q[Q_BYTES] += request[R_BYTES]


@entry
def forget_leader(w: World, p: int) -> None:
    """Let nobody know a partition's leader any more; what depended on it starts again later."""
    w.knows[:, p] = 0
    for m in range(w.member.shape[0]):
        member = w.member[m]
        if member[STATE] == DL_SENT and member[DL_PART] == p:
            member[STATE] = DL_UNKNOWN
    for c in range(w.scalars[COMMITS]):
        commit = w.commit[c]
        if (
            not commit[CM_DONE]
            and not commit[CM_TIMED]
            and w.group[w.member[commit[CM_MEMBER], GROUP], COORDINATOR] == p
        ):
            commit[CM_VERSION] += 1


@entry
def learned(w: World, code: int, p: int) -> None:
    """Let a process or member know a partition's new leader."""
    s = w.scalars
    w.knows[code, p] = 1
    processes = w.proc.shape[0]
    if code < processes:
        if p < w.queue.shape[1] and w.queue[code, p, Q_COUNT] > 0:
            push(w, s[NOW], BATCH, code, p, ON_BATCH, code, p, 0)
        return
    m = code - processes
    member = w.member[m]
    if member[STATE] == DL_UNKNOWN and member[DL_PART] == p:
        push(w, s[NOW], SERVICE, code, 0, ON_DEAD_LETTER, m, 0, member[LIFE])
    if w.group[member[GROUP], COORDINATOR] == p:
        for c in range(s[COMMITS]):
            commit = w.commit[c]
            if commit[CM_MEMBER] == m and not commit[CM_DONE] and not commit[CM_TIMED]:
                push(w, s[NOW] + commit[CM_LENGTH], END, 0, 0, ON_COMMITTED, c, commit[CM_VERSION], 0)
    wake_fetch(w, m, p)


# ---- fetches -------------------------------------------------------------------------------------------------------


@entry
def wake_fetch(w: World, m: int, p: int) -> None:
    """Answer a member's parked fetch if the partition has something for it."""
    if p >= w.mp.shape[1] or w.mp[m, p, OWNED] == 0 or w.mp[m, p, POSITION] >= w.part[p, VISIBLE_END]:
        return
    b, code = w.part[p, LEADER], w.member[m, CODE]
    if b == NONE or not w.knows[code, p] or not w.mb[m, b, PARKED]:
        return
    push(w, w.scalars[NOW], FETCH, code, b, ON_FETCH, m, b, 0)


@entry
def wake_fetches(w: World, m: int) -> None:
    """See whether any of a member's parked fetches has something to bring."""
    for p in range(w.mp.shape[1]):
        wake_fetch(w, m, p)


@compiled
def fetched(w: World, m: int, b: int) -> None:
    """Answer a fetch with all that is visible."""
    s, member = w.scalars, w.member[m]
    if not w.mb[m, b, PARKED]:
        return
    any_record = False
    for p in range(w.mp.shape[1]):
        answer, mp = w.answer[m, b, p], w.mp[m, p]
        answer[A_TO] = answer[A_FROM]
        if mp[OWNED] and w.part[p, LEADER] == b and w.knows[member[CODE], p] and mp[POSITION] < w.part[p, VISIBLE_END]:
            answer[A_FROM] = mp[POSITION]
            answer[A_TO] = w.part[p, VISIBLE_END]
            answer[A_OWNERSHIP] = mp[OWNED]
            mp[POSITION] = answer[A_TO]
            any_record = True
    if not any_record:
        return
    n = w.mb[m, b, FETCHED]
    w.mb[m, b, FETCHED] = n + 1
    w.mb[m, b, PARKED] = 0
    push(w, s[NOW] + w.fetch[m, b, n], ARRIVAL, member[CODE], b, ON_ARRIVAL, m, b, member[GENERATION])


@compiled
def arrived(w: World, m: int, b: int, generation: int) -> None:
    """Put an answer's records into the member's queue and send the next fetch."""
    s, member = w.scalars, w.member[m]
    if member[GENERATION] != generation:
        return
    for p in range(w.mp.shape[1]):
        answer = w.answer[m, b, p]
        if answer[A_TO] > answer[A_FROM] and w.mp[m, p, OWNED] == answer[A_OWNERSHIP]:
            place = (member[RING_HEAD] + member[RING_COUNT]) % w.ring.shape[1]
            w.ring[m, place, RG_PART] = p
            w.ring[m, place, RG_FROM] = answer[A_FROM]
            w.ring[m, place, RG_TO] = answer[A_TO]
            member[RING_COUNT] += 1
            member[RING_EVENTS] += answer[A_TO] - answer[A_FROM]
    if member[STATE] == POLLING:
        poll_at(w, m, s[NOW])
    n = w.mb[m, b, FETCHED] - 1
    push(w, s[NOW] + w.turnaround[m, b, n], END, 0, 0, at.ON_TURNED, m, b, generation)


@compiled
def turned(w: World, m: int, b: int, generation: int) -> None:
    """Park the next fetch."""
    if w.member[m, GENERATION] == generation:
        w.mb[m, b, PARKED] = 1
        wake_fetches(w, m)


# ---- polls ---------------------------------------------------------------------------------------------------------


@entry
def poll_at(w: World, m: int, time: int) -> None:
    """Have a polling member look again at an instant."""
    member = w.member[m]
    if time < member[POLL_AT]:
        member[POLL_AT] = time
        push(w, time, POLL, member[CODE], 0, ON_POLL, m, 0, 0)


@entry
def enter_poll_loop(w: World, m: int) -> None:
    """Call for records, after a batch or a duty."""
    member, now = w.member[m], w.scalars[NOW]
    member[STATE] = POLLING
    member[CALLED] = now
    member[RETURNS] = now
    member[POLL_AT] = NEVER
    poll_at(w, m, now)


@compiled
def poll(w: World, m: int) -> None:
    """Look whether the call returns now; control takes over where the member has a duty."""
    s, member = w.scalars, w.member[m]
    now = s[NOW]
    if member[STATE] != POLLING or member[POLL_AT] != now:
        return
    member[POLL_AT] = NEVER
    if member[HAS_DUTY]:
        s[WHY] = DUTY
        s[WHO] = m
        return
    group = w.group[member[GROUP]]
    commit_if_due(w, m)
    collects = group[COLLECT_EVENTS] > 0
    if member[RETURNS] == NEVER and member[RING_EVENTS] > 0 and not collects:
        member[RETURNS] = now + w.wake[m, member[WAKES]]
        member[WAKES] += 1
    if collects:
        most = group[COLLECT_EVENTS]
        takes = member[RING_EVENTS] >= most or now >= member[CALLED] + group[COLLECT_TIMEOUT]
    else:
        most = group[MAX_POLL]
        takes = member[RETURNS] <= now
    count = min(most, member[RING_EVENTS]) if takes else 0
    if count > 0:
        deliver(w, m, count)
        return
    following = NEVER
    if collects:
        while member[CALLED] + group[COLLECT_TIMEOUT] <= now:
            member[CALLED] += group[COLLECT_TIMEOUT]
        following = member[CALLED] + group[COLLECT_TIMEOUT]
    elif member[RETURNS] <= now:
        member[RETURNS] = NEVER
    else:
        following = member[RETURNS]
    if group[INTERVAL] > 0:
        following = min(following, member[DUE])
    if following != NEVER:
        poll_at(w, m, following)


@compiled
def deliver(w: World, m: int, count: int) -> None:
    """Hand a batch to the application."""
    s, member = w.scalars, w.member[m]
    g, now = member[GROUP], s[NOW]
    member[STATE] = WORKING
    member[BATCH_LEFT] = count
    left, place = count, member[RING_HEAD]
    while left > 0:
        stretch = w.ring[m, place]
        p = stretch[RG_PART]
        take = min(left, stretch[RG_TO] - stretch[RG_FROM])
        for offset in range(stretch[RG_FROM], stretch[RG_FROM] + take):
            e = w.log[p, offset, L_EVENT]
            w.deliveries[g, e] += 1
            w.delivery[g, p, offset] = w.deliveries[g, e]
            row = w.rows[new_row(w, m, KIND_DELIVERY, e, p, offset)]
            row[O_NUMBER] = w.delivery[g, p, offset]
            row[O_STARTED] = now
            row[O_ENDED] = now
            row[O_POLL] = member[POLLS]
        w.mp[m, p, GIVEN] = stretch[RG_FROM] + take
        left -= take
        place = (place + 1) % w.ring.shape[1]
    member[POLLS] += 1
    push(w, now + w.times[1], WORK, member[CODE], 0, ON_BEGIN, m, 0, member[LIFE])


@compiled
def new_row(w: World, m: int, kind: int, e: int, p: int, offset: int) -> int:
    """Return the number of a new row of operations."""
    s, member = w.scalars, w.member[m]
    number = s[ROWS]
    s[ROWS] = number + 1
    row = w.rows[number]
    row[O_KIND] = kind
    row[O_PROCESS] = member[CODE]
    row[O_GROUP] = member[GROUP]
    row[O_EVENT] = e
    row[O_PART] = p
    row[O_OFFSET] = offset
    row[O_ATTEMPT] = 0
    row[O_POLL] = NONE
    row[O_NUMBER] = 0
    row[O_RETRY] = UNTIMED
    row[O_OUTCOME] = 0
    row[O_VALID] = 1
    return number


# ---- work ----------------------------------------------------------------------------------------------------------


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
def fails(w: World, g: int, e: int, attempt: int, number: int, began: int) -> bool:
    """Whether a try fails: poison and transient failures by the plan, failing_work by chance."""
    planned = w.failing[g, e]
    if planned == _ALWAYS_FAILS or attempt <= planned:
        return True
    for f in range(w.fail.shape[0]):
        hit = w.fail[f, S_GROUP] == g and w.fail[f, S_BEGIN] <= began < w.fail[f, S_END]
        if hit and hashed(w.scalars[SEED], w.scalars[CHANCE], g, e, attempt, number) < w.fail_share[f]:
            return True
    return False


@compiled
def hashed(seed: int, chance: int, g: int, e: int, attempt: int, number: int) -> float:
    """Return scenarios.streams.hashed_uniforms of one row."""
    state = np.uint64(seed)
    for word in (chance, g, e, attempt, number):
        state = mixed(state ^ mixed(np.uint64(word) + np.uint64(0x9E3779B97F4A7C15)))
    return (np.float64(state >> np.uint64(11)) + 0.5) * 2.0**-53


@compiled
def mixed(z: np.uint64) -> np.uint64:
    """Return SplitMix64's finaliser."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


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
def close(w: World, g: int, p: int, offset: int) -> None:
    """A pair of a record and a group has ended."""
    s = w.scalars
    if not w.closed[g, p, offset]:
        w.closed[g, p, offset] = 1
        s[OPEN] -= 1


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


# ---- commits -------------------------------------------------------------------------------------------------------


@compiled
def commit_if_due(w: World, m: int) -> None:
    """Commit what is done if the interval is over."""
    member, now = w.member[m], w.scalars[NOW]
    interval = w.group[member[GROUP], INTERVAL]
    if interval > 0 and now >= member[DUE]:
        commit_what_is_done(w, m)
        member[DUE] = now + interval


@entry
def commit_what_is_done(w: World, m: int) -> None:
    """Begin the commit of a group that commits at an interval."""
    begin_commit(w, m, GIVEN if w.group[w.member[m, GROUP], MODE] == AUTO else FINISHED)


@compiled
def begin_commit(w: World, m: int, progress: int) -> None:
    """Begin a commit of all partitions with something new, if there are any."""
    s, member = w.scalars, w.member[m]
    first = s[ITEMS]
    for p in range(w.mp.shape[1]):
        mp = w.mp[m, p]
        if mp[OWNED] and mp[progress] != mp[ASKED]:
            mp[ASKED] = mp[progress]
            w.item[s[ITEMS], 0] = p
            w.item[s[ITEMS], 1] = mp[progress]
            s[ITEMS] += 1
    if s[ITEMS] == first:
        return
    c = s[COMMITS]
    s[COMMITS] = c + 1
    commit = w.commit[c]
    commit[:] = 0
    commit[CM_MEMBER] = m
    commit[CM_LIFE] = member[LIFE]
    commit[CM_BEGUN] = s[NOW]
    commit[CM_LENGTH] = max(w.commit_time[m, member[N_COMMITS]], member[at.RECORDED_NS] - s[NOW])
    commit[CM_ITEM] = first
    commit[CM_ITEMS] = s[ITEMS] - first
    commit[CM_BEFORE] = member[LAST_COMMIT]
    commit[CM_AFTER] = NONE
    if member[LAST_COMMIT] != NONE:
        w.commit[member[LAST_COMMIT], CM_AFTER] = c
    member[LAST_COMMIT] = c
    member[N_COMMITS] += 1
    s[OPEN] += 1
    if w.knows[member[CODE], w.group[member[GROUP], COORDINATOR]]:
        push(w, s[NOW] + commit[CM_LENGTH], END, 0, 0, ON_COMMITTED, c, 0, 0)


@entry
def has_commit_under_way(w: World, m: int) -> bool:
    """Whether the member's last commit has not ended."""
    last = w.member[m, LAST_COMMIT]
    return last != NONE and not w.commit[last, CM_DONE]


@entry
def wait_for_commit(w: World, m: int, goes_on: int) -> None:
    """Go on when the last commit has ended."""
    member = w.member[m]
    member[GOES_ON] = goes_on
    member[STATE] = SETTLING if goes_on == TO_DUTY else COMMITTING
    if not has_commit_under_way(w, m):
        go_on(w, m)


@compiled
def go_on(w: World, m: int) -> None:
    """Go on after a commit that was waited for."""
    s, member = w.scalars, w.member[m]
    goes_on = member[GOES_ON]
    if goes_on == TO_FIRST_TRY:
        member[STATE] = WORKING
        member[ATTEMPT] = 1
        push(w, s[NOW], WORK, member[CODE], 0, ON_TRY, m, 0, member[LIFE])
    elif goes_on == TO_NEXT_EVENT:
        next_event_later(w, m)
    elif goes_on == TO_POLL:
        enter_poll_loop(w, m)
    else:
        s[WHY] = SETTLED
        s[WHO] = m


@compiled
def next_event_later(w: World, m: int) -> None:
    """Begin the next event in the order of work, after a commit."""
    member = w.member[m]
    if member[BATCH_LEFT] > 0:
        member[STATE] = WORKING
        member[ATTEMPT] = 1
        push(w, w.scalars[NOW], WORK, member[CODE], 0, ON_TRY, m, 0, member[LIFE])
    else:
        enter_poll_loop(w, m)


@compiled
def commit_timed(w: World, c: int, version: int) -> None:
    """A commit's time is over; it ends no earlier than the one before."""
    if w.commit[c, CM_VERSION] != version or w.commit[c, CM_TIMED]:
        return
    w.commit[c, CM_TIMED] = 1
    before = w.commit[c, CM_BEFORE]
    if before != NONE and not w.commit[before, CM_DONE]:
        return
    while c != NONE and w.commit[c, CM_TIMED]:
        end_commit(w, c)
        c = w.commit[c, CM_AFTER]


@compiled
def end_commit(w: World, c: int) -> None:
    """Note what was committed, and let a member that waited go on."""
    s, commit = w.scalars, w.commit[c]
    commit[CM_DONE] = 1
    s[OPEN] -= 1
    m = commit[CM_MEMBER]
    member = w.member[m]
    if member[LIFE] == commit[CM_LIFE]:
        for n in range(commit[CM_ITEM], commit[CM_ITEM] + commit[CM_ITEMS]):
            note_commit(w, m, w.item[n, 0], w.item[n, 1], commit[CM_BEGUN])
        if member[LAST_COMMIT] == c and (member[STATE] == COMMITTING or member[STATE] == SETTLING):
            go_on(w, m)


@entry
def note_commit(w: World, m: int, p: int, offset: int, begun: int) -> None:
    """Record a committed offset; what lies below has ended for the group."""
    g = w.member[m, GROUP]
    row = w.rows[new_row(w, m, KIND_COMMIT, NONE, p, offset)]
    row[O_STARTED] = begun
    row[O_ENDED] = w.scalars[NOW]
    for below in range(w.committed[g, p], offset):
        close(w, g, p, below)
    w.committed[g, p] = offset


# ---- the loop ------------------------------------------------------------------------------------------------------


@compiled
def is_short(w: World) -> bool:
    """Whether the next thing on the heap might find too little room; WANT says of what."""
    s = w.scalars
    parts, brokers = w.mp.shape[1], w.conn.shape[1]
    members = w.member.shape[0]
    if s[HEAP] + 64 + 4 * (members + 1) * (parts + 1) + members * brokers > w.heap.shape[0]:
        s[WANT] = 1
    elif s[REQUESTS] + 64 > w.request.shape[0]:
        s[WANT] = 2
    elif s[ROWS] + s[MOST] + parts * 4 + 64 > w.rows.shape[0]:
        s[WANT] = 3
    elif s[COMMITS] + 8 > w.commit.shape[0]:
        s[WANT] = 4
    elif s[ITEMS] + 8 * parts + 8 > w.item.shape[0]:
        s[WANT] = 5
    else:
        s[WANT] = short_of(w)
    return s[WANT] != 0


@compiled
def short_of(w: World) -> int:
    """Return which random input, log or queue the next thing would exhaust, or 0."""
    what, a, b = w.heap[0, 3], w.heap[0, 4], w.heap[0, 5]
    if what == ON_BATCH:
        count = w.queue[a, b, Q_COUNT]
        if w.scalars[REQUESTS] + count + 64 > w.request.shape[0]:
            return 2
        if w.scalars[HEAP] + count + 64 > w.heap.shape[0]:
            return 1
    elif what == ON_SERVICE:
        if w.conn[a, b, C_SERVED] >= w.produce.shape[2]:
            return 6
        r = w.conn[a, b, C_HEAD]
        if r != NONE and w.part[w.request[r, R_PART], LOG_LEN] + w.request[r, R_COUNT] > w.log.shape[1]:
            return 7
    elif what == ON_DEAD_LETTER:
        if w.part[w.member[a, DL_PART], LOG_LEN] + 1 > w.log.shape[1]:
            return 7
    elif what == ON_FETCH:
        if w.mb[a, b, FETCHED] >= w.fetch.shape[2]:
            return 8
    elif what == ON_ARRIVAL:
        if w.member[a, RING_COUNT] + w.mp.shape[1] >= w.ring.shape[1]:
            return 9
    elif what == ON_POLL:
        if w.member[a, WAKES] >= w.wake.shape[1]:
            return 10
    elif what == ON_TRIED and (
        w.member[a, TRIES] >= w.overshoot.shape[1] or w.member[a, DEAD_LETTERS] >= w.dead_letter.shape[1]
    ):
        return 11
    if what >= ON_POLL and what != ON_COMMITTED:
        m = b if what == ON_RECORDED else a
        if w.member[m, N_COMMITS] + 2 >= w.commit_time.shape[1]:
            return 12
    return 0


@compiled
def step(w: World) -> None:
    """Do the first thing on the heap."""
    s, heap = w.scalars, w.heap
    s[NOW] = heap[0, 0]
    what, a, b, c = heap[0, 3], heap[0, 4], heap[0, 5], heap[0, 6]
    pop(w)
    if what == ON_HAND_OVER:
        hand_over(w, a)
    elif what == ON_BATCH:
        make_batches(w, a, b)
    elif what == ON_SERVICE:
        serve(w, a, b)
    elif what == ON_APPENDED:
        free_connection(w, a)
    elif what == ON_VISIBLE:
        timed(w, a, b)
    elif what == ON_ANSWER:
        answered(w, a)
    elif what == ON_FETCH:
        fetched(w, a, b)
    elif what == ON_ARRIVAL:
        arrived(w, a, b, c)
    elif what == ON_TURNED:
        turned(w, a, b, c)
    elif what == ON_POLL:
        poll(w, a)
    elif what == ON_RECORDED:
        recorded(w, a, b, c)
    elif what == ON_COMMITTED:
        commit_timed(w, a, b)
    elif w.member[a, LIFE] == c:
        if what == ON_BEGIN:
            begin_batch(w, a)
        elif what == ON_TRY:
            begin_try(w, a)
        elif what == ON_TRIED:
            tried(w, a)
        elif what == ON_HANDLED:
            handled(w, a)
        else:
            send_dead_letter(w, a)


@entry
def advance(w: World, until: int, key: int, earliest: int) -> int:
    """Do everything before (until, key); return why it stopped: control is next, a member needs it, or room ran short.

    From `earliest` on it also stops where nothing is open any more: at the end of that instant.
    """
    s, heap = w.scalars, w.heap
    while s[HEAP] > 0:
        time = heap[0, 0]
        if time > until or (time == until and heap[0, 1] >= key):
            break
        if s[OPEN] == 0 and s[NOW] >= earliest and time > s[NOW]:
            break
        if is_short(w):
            return SHORT
        s[WHY] = REACHED
        step(w)
        if s[WHY] != REACHED:
            return s[WHY]
    return REACHED
