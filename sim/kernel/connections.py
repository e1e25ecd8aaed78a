"""Producers' connections: one produce request at a time, and what becomes of it."""

import numpy as np

from sim.compiled import compiled, entry
from sim.kernel.logs import append
from sim.kernel.producers import answered, backoff, expect_answer, look_again, queue_again
from sim.world import (
    ACKS,
    ACKS_0,
    ACKS_ALL,
    ACKS_NS,
    BATCH,
    C_CURRENT,
    C_FAILURES,
    C_HEAD,
    C_LAST_ANSWER,
    C_SERVED,
    C_TAIL,
    C_TIMEOUT,
    C_UNANSWERED,
    END,
    IDEMPOTENT,
    NEVER,
    NONE,
    NOW,
    ON_ANSWER,
    ON_APPENDED,
    ON_BATCH,
    ON_REFRESHED,
    ON_SERVICE,
    Q_FAILURES,
    Q_RETRY_NS,
    R_APPENDED,
    R_BEGUN,
    R_BROKER,
    R_BYTES,
    R_COUNT,
    R_GONE,
    R_LEAD,
    R_MADE,
    R_MATE,
    R_N,
    R_NEXT,
    R_PART,
    R_SENDER,
    R_VISIBLE,
    R_WAITS,
    REQUEST_NS,
    SERVICE,
    TIMEOUT,
    World,
    push,
)


@compiled
def serve(w: World, i: int, b: int) -> None:
    """Begin the next request of an idle connection."""
    s, c = w.scalars, w.conn[i, b]
    lead = c[C_HEAD]
    if c[C_CURRENT] != NONE or lead == NONE:
        return
    c[C_HEAD] = w.request[lead, R_NEXT]
    w.request[lead, R_NEXT] = NONE
    if c[C_HEAD] == NONE:
        c[C_TAIL] = NONE
    c[C_CURRENT] = lead
    n = c[C_SERVED]
    c[C_SERVED] = n + 1
    w.request[lead, R_N] = n
    size, count = 0, 0
    r = lead
    while r != NONE:
        w.request[r, R_BEGUN] = s[NOW]
        if not w.request[r, R_GONE]:
            size += w.request[r, R_BYTES]
            count += w.request[r, R_COUNT]
            w.request[lead, R_WAITS] += 1
        r = w.request[r, R_MATE]
    per_size_us = w.costs[0] * size / 1024 + w.costs[1] * count
    duration = w.produce[i, b, n] + np.int64(np.rint(1000 * per_size_us))
    appended = s[NOW]
    r = lead
    while r != NONE:
        if not w.request[r, R_GONE]:
            append(w, r, min(w.leader[i, b, n], duration), duration, w.proc[i, IDEMPOTENT] == 1)
            appended = max(appended, w.request[r, R_APPENDED])
        r = w.request[r, R_MATE]
    if w.proc[i, ACKS] != ACKS_ALL:
        push(w, appended, END, 0, 0, ON_APPENDED, lead, 0, 0)
    else:
        expect_answer(w, i, b, s[NOW] + w.proc[i, ACKS_NS])


@compiled
def all_visible(w: World, r: int) -> None:
    """Note that a batch is visible; its request is answered when all of its batches are."""
    if w.request[r, R_GONE]:
        return
    lead = w.request[r, R_LEAD]
    w.request[lead, R_WAITS] -= 1
    if w.request[lead, R_WAITS] == 0 and w.proc[w.request[r, R_SENDER], ACKS] == ACKS_ALL:
        free_connection(w, lead)


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
    go_on_serving(w, i, b)


@compiled
def go_on_serving(w: World, i: int, b: int) -> None:
    """Let an idle connection take its next request."""
    if w.conn[i, b, C_HEAD] != NONE:
        push(w, w.scalars[NOW], SERVICE, i, b, ON_SERVICE, i, b, 0)


# ---- what is not answered ------------------------------------------------------------------------------------------


@compiled
def time_out(w: World, i: int, b: int) -> None:
    """Give up on a connection whose oldest request is unanswered for too long, or let the broker answer one with an error."""
    s, proc, c = w.scalars, w.proc[i], w.conn[i, b]
    if c[C_TIMEOUT] != s[NOW]:
        return
    c[C_TIMEOUT] = NEVER
    oldest = c[C_CURRENT] if c[C_CURRENT] != NONE else c[C_HEAD]
    if oldest != NONE and w.request[oldest, R_MADE] + proc[REQUEST_NS] <= s[NOW]:
        disconnect(w, i, b)
        return
    waits = c[C_CURRENT] != NONE and proc[ACKS] == ACKS_ALL
    if waits and w.request[c[C_CURRENT], R_BEGUN] + proc[ACKS_NS] <= s[NOW]:
        fail(w, c[C_CURRENT])
    elif waits:
        expect_answer(w, i, b, w.request[c[C_CURRENT], R_BEGUN] + proc[ACKS_NS])
    oldest = c[C_CURRENT] if c[C_CURRENT] != NONE else c[C_HEAD]
    if oldest != NONE:
        expect_answer(w, i, b, w.request[oldest, R_MADE] + proc[REQUEST_NS])


@compiled
def disconnect(w: World, i: int, b: int) -> None:
    """Give up on a silent broker: everything is sent again, when the client has asked who leads what it led."""
    s, c = w.scalars, w.conn[i, b]
    break_connection(w, i, b)
    for p in range(w.queue.shape[1]):
        if w.knows[i, p] == b:
            w.knows[i, p] = 0
    push(w, s[NOW] + backoff(w, i, c[C_FAILURES]), TIMEOUT, i, 0, ON_REFRESHED, i, 0, 0)
    c[C_FAILURES] += 1


@compiled
def fail(w: World, lead: int) -> None:
    """Answer the request in service with an error for what is not visible of it: that is sent again after a while."""
    s = w.scalars
    i, b = w.request[lead, R_SENDER], w.request[lead, R_BROKER]
    w.conn[i, b, C_CURRENT] = NONE
    w.conn[i, b, C_UNANSWERED] -= 1
    go_on_serving(w, i, b)
    r = lead
    while r != NONE:
        if w.request[r, R_VISIBLE] and not w.request[r, R_GONE]:
            answered(w, r)
        elif not w.request[r, R_GONE]:
            p = w.request[r, R_PART]
            q = w.queue[i, p]
            queue_again(w, r)
            q[Q_RETRY_NS] = s[NOW] + backoff(w, i, q[Q_FAILURES])
            q[Q_FAILURES] += 1
            push(w, q[Q_RETRY_NS], BATCH, i, p, ON_BATCH, i, p, 0)
        r = w.request[r, R_MATE]
    look_again(w, i)


@entry
def take_out(w: World, b: int, p: int) -> None:
    """Give every process back what a broker that no longer leads a partition had not finished of it."""
    for i in range(w.proc.shape[0]):
        c = w.conn[i, b]
        kept_last, lead = NONE, c[C_HEAD]
        while lead != NONE:
            following = w.request[lead, R_NEXT]
            if take_batch_out(w, lead, p):
                kept_last = lead
            elif kept_last == NONE:
                c[C_HEAD] = following
            else:
                w.request[kept_last, R_NEXT] = following
            lead = following
        c[C_TAIL] = kept_last
        current = c[C_CURRENT]
        if current == NONE:
            continue
        if not take_batch_out(w, current, p):
            c[C_CURRENT] = NONE
            go_on_serving(w, i, b)
        elif w.proc[i, ACKS] == ACKS_ALL and w.request[current, R_WAITS] == 0:
            free_connection(w, current)


@compiled
def take_batch_out(w: World, lead: int, p: int) -> bool:
    """Take a partition's unfinished batch out of a produce request; return whether anything is left of that."""
    i = w.request[lead, R_SENDER]
    took, is_left = False, False
    r = lead
    while r != NONE:
        if not w.request[r, R_GONE]:
            if w.request[r, R_PART] == p and not w.request[r, R_VISIBLE]:
                took = True
                w.request[r, R_GONE] = 1
                if w.conn[i, w.request[lead, R_BROKER], C_CURRENT] == lead:
                    w.request[lead, R_WAITS] -= 1
                if w.proc[i, ACKS] != ACKS_0:
                    queue_again(w, r)
            else:
                is_left = True
        r = w.request[r, R_MATE]
    if took:
        look_again(w, i)
        if not is_left and w.proc[i, ACKS] != ACKS_0:
            w.conn[i, w.request[lead, R_BROKER], C_UNANSWERED] -= 1
    return is_left


@entry
def break_connections(w: World, b: int) -> None:
    """Give every process back what a lost broker had not finished."""
    for i in range(w.proc.shape[0]):
        break_connection(w, i, b)


@compiled
def break_connection(w: World, i: int, b: int) -> None:
    """Give a process back what a broker had not finished; with acks=0 it does not know about it."""
    c = w.conn[i, b]
    lead = c[C_CURRENT]
    if lead != NONE:
        w.request[lead, R_NEXT] = c[C_HEAD]
    else:
        lead = c[C_HEAD]
    c[C_CURRENT] = NONE
    c[C_HEAD] = NONE
    c[C_TAIL] = NONE
    while lead != NONE:
        following = w.request[lead, R_NEXT]
        w.request[lead, R_NEXT] = NONE
        if w.proc[i, ACKS] != ACKS_0:
            c[C_UNANSWERED] -= 1
            r = lead
            while r != NONE:
                if not w.request[r, R_GONE]:
                    queue_again(w, r)
                r = w.request[r, R_MATE]
        lead = following
    look_again(w, i)
