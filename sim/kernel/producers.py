"""Producers' processes: queues, batches, connections, answers."""

import numpy as np

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.logs import append, new_request
from sim.world import (
    ACKS,
    ACKS_0,
    ACKS_ALL,
    BATCH,
    BATCH_BYTES,
    BATCH_EVENTS,
    C_CURRENT,
    C_HEAD,
    C_LAST_ANSWER,
    C_SERVED,
    C_TAIL,
    CHOICES,
    CHOSEN,
    END,
    FIRST_PART,
    HAND_OVER,
    HANDED,
    IDEMPOTENT,
    IN_FLIGHT,
    LAST_EVENT,
    LEADER,
    LINGER,
    NEVER,
    NEXT,
    NEXT_EVENT,
    NONE,
    NOW,
    OFFSET,
    ON_ANSWER,
    ON_APPENDED,
    ON_BATCH,
    ON_HAND_OVER,
    ON_SERVICE,
    OPEN,
    PART,
    Q_BYTES,
    Q_COUNT,
    Q_HEAD,
    Q_TAIL,
    R_APPENDED,
    R_BROKER,
    R_BYTES,
    R_COUNT,
    R_HEAD,
    R_N,
    R_NEXT,
    R_PART,
    R_SENDER,
    SENT_ENDED,
    SENT_OFFSET,
    SENT_PART,
    SERVICE,
    SIZE,
    UNANSWERED,
    UNTIL,
    World,
    push,
)


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
