"""Producers' processes: queues, batches, connections, answers."""

import numpy as np

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.logs import append, new_request
from sim.world import (
    ACKS,
    ACKS_0,
    ACKS_ALL,
    ACKS_NS,
    BACKOFF_NS,
    BATCH,
    BATCH_BYTES,
    BATCH_EVENTS,
    C_CURRENT,
    C_FAILURES,
    C_HEAD,
    C_LAST_ANSWER,
    C_SERVED,
    C_TAIL,
    C_TIMEOUT,
    C_UNANSWERED,
    CHOICES,
    CHOSEN,
    DELIVERY_NS,
    END,
    EXPIRES,
    FIRST_PART,
    GIVEN_UP,
    HAND_OVER,
    HANDED,
    IDEMPOTENT,
    IN_FLIGHT,
    LAST_EVENT,
    LEADER,
    LINGER,
    MOST_BACKOFF_NS,
    NEVER,
    NEXT,
    NEXT_EVENT,
    NONE,
    NOW,
    OFFSET,
    ON_ANSWER,
    ON_APPENDED,
    ON_BATCH,
    ON_EXPIRY,
    ON_HAND_OVER,
    ON_REFRESHED,
    ON_SERVICE,
    ON_TIMEOUT,
    OPEN,
    PART,
    Q_BYTES,
    Q_COUNT,
    Q_FAILURES,
    Q_HEAD,
    Q_RETRY_NS,
    Q_TAIL,
    R_APPENDED,
    R_BEGUN,
    R_BROKER,
    R_BYTES,
    R_COUNT,
    R_HEAD,
    R_MADE,
    R_N,
    R_NEXT,
    R_PART,
    R_SENDER,
    REQUEST_NS,
    RETRIES,
    SENT_ENDED,
    SENT_OFFSET,
    SENT_PART,
    SERVICE,
    SIZE,
    TIMEOUT,
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
    if n == proc[i, at.FIRST_EVENT]:
        push(w, s[NOW] + proc[i, DELIVERY_NS], TIMEOUT, i, 0, ON_EXPIRY, i, 0, 0)
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
        if must_wait(w, i, p):
            return
        send_batch(w, i, p)


@compiled
def must_wait(w: World, i: int, p: int) -> bool:
    """Whether the client keeps back what is ready: after an error, or as long as too much is unanswered."""
    s, proc, q = w.scalars, w.proc[i], w.queue[i, p]
    if q[Q_RETRY_NS] > s[NOW]:
        return True
    if proc[IDEMPOTENT] and q[Q_FAILURES] > 0 and q[UNANSWERED] > 0:
        return True
    if proc[IN_FLIGHT] == NONE:
        return False
    under_way = q[UNANSWERED] if proc[IDEMPOTENT] else w.conn[i, w.part[p, LEADER], C_UNANSWERED]
    return under_way >= proc[IN_FLIGHT]


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
    c = w.conn[i, b]
    w.request[r, R_MADE] = s[NOW]
    if proc[ACKS] == ACKS_0:
        answered(w, r)
    else:
        c[C_UNANSWERED] += 1
        expect_answer(w, i, b, s[NOW] + proc[REQUEST_NS])
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
    request[R_BEGUN] = w.scalars[NOW]
    n = c[C_SERVED]
    c[C_SERVED] = n + 1
    request[R_N] = n
    per_size_us = w.costs[0] * request[R_BYTES] / 1024 + w.costs[1] * request[R_COUNT]
    duration = w.produce[i, b, n] + np.int64(np.rint(1000 * per_size_us))
    append(w, r, min(w.leader[i, b, n], duration), duration, w.proc[i, IDEMPOTENT] == 1)
    if w.proc[i, ACKS] != ACKS_ALL:
        push(w, request[R_APPENDED], END, 0, 0, ON_APPENDED, r, 0, 0)
    else:
        expect_answer(w, i, b, w.scalars[NOW] + w.proc[i, ACKS_NS])


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
    q[Q_FAILURES] = 0
    acks_0 = w.proc[i, ACKS] == ACKS_0
    if not acks_0:
        c = w.conn[i, request[R_BROKER]]
        c[C_UNANSWERED] -= 1
        c[C_FAILURES] = 0
    e = request[R_HEAD]
    for _ in range(request[R_COUNT]):
        if event[e, SENT_ENDED] == NEVER:
            event[e, SENT_ENDED] = s[NOW]
            event[e, SENT_OFFSET] = NONE if acks_0 else event[e, OFFSET]
            s[OPEN] -= 1
        e = event[e, NEXT]
    if acks_0:
        return
    if w.proc[i, IN_FLIGHT] != NONE and not w.proc[i, IDEMPOTENT]:
        look_again(w, i)
    elif q[Q_COUNT] > 0:
        push(w, s[NOW], BATCH, i, p, ON_BATCH, i, p, 0)


@compiled
def look_again(w: World, i: int) -> None:
    """See which of a process's queues may send now."""
    for p in range(w.queue.shape[1]):
        if w.queue[i, p, Q_COUNT] > 0:
            push(w, w.scalars[NOW], BATCH, i, p, ON_BATCH, i, p, 0)


# ---- what is not answered ------------------------------------------------------------------------------------------


@compiled
def expire(w: World, i: int) -> None:
    """Give up what is older than its time; the oldest of what is left comes next."""
    s, proc, event = w.scalars, w.proc[i], w.event
    while proc[EXPIRES] < proc[NEXT_EVENT]:
        e = w.proc_events[proc[EXPIRES]]
        if event[e, SENT_ENDED] == NEVER:
            due_ns = event[e, HANDED] + proc[DELIVERY_NS]
            if due_ns > s[NOW]:
                push(w, due_ns, TIMEOUT, i, 0, ON_EXPIRY, i, 0, 0)
                return
            give_up(w, i, e)
        proc[EXPIRES] += 1
    if proc[EXPIRES] < proc[LAST_EVENT]:
        due_ns = event[w.proc_events[proc[EXPIRES]], HANDED] + proc[DELIVERY_NS]
        push(w, due_ns, TIMEOUT, i, 0, ON_EXPIRY, i, 0, 0)


@compiled
def give_up(w: World, i: int, e: int) -> None:
    """End a send without an answer; where the event is queued, it is the oldest of its queue."""
    event = w.event
    event[e, SENT_ENDED] = w.scalars[NOW]
    event[e, GIVEN_UP] = 1
    w.scalars[OPEN] -= 1
    q = w.queue[i, event[e, SENT_PART]]
    if q[Q_HEAD] == e:
        q[Q_HEAD] = event[e, NEXT]
        q[Q_COUNT] -= 1
        q[Q_BYTES] -= event[e, SIZE]
        if q[Q_COUNT] == 0:
            q[Q_TAIL] = NONE


@compiled
def expect_answer(w: World, i: int, b: int, by_ns: int) -> None:
    """Look at a connection at an instant, unless that happens earlier anyway."""
    c = w.conn[i, b]
    if by_ns < c[C_TIMEOUT]:
        c[C_TIMEOUT] = by_ns
        push(w, by_ns, TIMEOUT, i, b, ON_TIMEOUT, i, b, 0)


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
        if w.part[p, LEADER] == b:
            w.knows[i, p] = 0
    push(w, s[NOW] + backoff(w, i, c[C_FAILURES]), TIMEOUT, i, 0, ON_REFRESHED, i, 0, 0)
    c[C_FAILURES] += 1


@compiled
def refreshed(w: World, i: int) -> None:
    """Let a process know every leader that there is."""
    for p in range(w.queue.shape[1]):
        if w.part[p, LEADER] != NONE:
            w.knows[i, p] = 1
    look_again(w, i)


@compiled
def fail(w: World, r: int) -> None:
    """Answer the request in service with an error: it is sent again after a while."""
    s, request = w.scalars, w.request[r]
    i, b, p = request[R_SENDER], request[R_BROKER], request[R_PART]
    c, q = w.conn[i, b], w.queue[i, p]
    c[C_CURRENT] = NONE
    c[C_UNANSWERED] -= 1
    if c[C_HEAD] != NONE:
        push(w, s[NOW], SERVICE, i, b, ON_SERVICE, i, b, 0)
    queue_again(w, r)
    q[Q_RETRY_NS] = s[NOW] + backoff(w, i, q[Q_FAILURES])
    q[Q_FAILURES] += 1
    push(w, q[Q_RETRY_NS], BATCH, i, p, ON_BATCH, i, p, 0)
    look_again(w, i)


@compiled
def backoff(w: World, i: int, failures: int) -> int:
    """Return how long a process waits before the retry after so many failures."""
    proc = w.proc[i]
    n = proc[RETRIES]
    proc[RETRIES] = n + 1
    longest_ns = min(proc[BACKOFF_NS] << min(failures, 20), proc[MOST_BACKOFF_NS])
    return longest_ns * w.retry[i, n] // 1_000_000


@entry
def take_out(w: World, b: int, p: int) -> None:
    """Give every process back what a broker that no longer leads a partition had not finished of it."""
    for i in range(w.proc.shape[0]):
        c = w.conn[i, b]
        current = c[C_CURRENT]
        kept_last, r = NONE, c[C_HEAD]
        while r != NONE:
            following = w.request[r, R_NEXT]
            if w.request[r, R_PART] == p:
                if kept_last == NONE:
                    c[C_HEAD] = following
                else:
                    w.request[kept_last, R_NEXT] = following
                w.request[r, R_NEXT] = NONE
                take_back(w, r)
            else:
                kept_last = r
            r = following
        c[C_TAIL] = kept_last
        if current != NONE and w.request[current, R_PART] == p:
            c[C_CURRENT] = NONE
            take_back(w, current)
            if c[C_HEAD] != NONE:
                push(w, w.scalars[NOW], SERVICE, i, b, ON_SERVICE, i, b, 0)


@compiled
def take_back(w: World, r: int) -> None:
    """Queue a request that its broker had not finished again; with acks=0 the process does not know about it."""
    i = w.request[r, R_SENDER]
    if w.proc[i, ACKS] != ACKS_0:
        w.conn[i, w.request[r, R_BROKER], C_UNANSWERED] -= 1
        queue_again(w, r)


@entry
def break_connections(w: World, b: int) -> None:
    """Give every process back what a lost broker had not finished."""
    for i in range(w.proc.shape[0]):
        break_connection(w, i, b)


@compiled
def break_connection(w: World, i: int, b: int) -> None:
    """Give a process back what a broker had not finished; with acks=0 it does not know about it."""
    c = w.conn[i, b]
    r = c[C_CURRENT]
    if r != NONE:
        w.request[r, R_NEXT] = c[C_HEAD]
    else:
        r = c[C_HEAD]
    c[C_CURRENT] = NONE
    c[C_HEAD] = NONE
    c[C_TAIL] = NONE
    while r != NONE:
        following = w.request[r, R_NEXT]
        w.request[r, R_NEXT] = NONE
        take_back(w, r)
        r = following


@compiled
def queue_again(w: World, r: int) -> None:
    """Put a request's events back in the order in which they were handed over, without those given up."""
    request, event = w.request[r], w.event
    q = w.queue[request[R_SENDER], request[R_PART]]
    q[UNANSWERED] -= 1
    again, before, behind = request[R_HEAD], NONE, q[Q_HEAD]
    while again != NONE:
        following = event[again, NEXT]
        if not event[again, GIVEN_UP]:
            while behind != NONE and behind < again:
                before, behind = behind, event[behind, NEXT]
            event[again, NEXT] = behind
            if before == NONE:
                q[Q_HEAD] = again
            else:
                event[before, NEXT] = again
            if behind == NONE:
                q[Q_TAIL] = again
            before = again
            q[Q_COUNT] += 1
            q[Q_BYTES] += event[again, SIZE]
        again = following
