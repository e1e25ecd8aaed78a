"""Producers' processes: the events that come in, their queues, and the batches that go out."""

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.finishing import heard_of
from sim.kernel.lingering import AWAKE, fills_a_batch, look_at, ripe_ns, sleeps_until, wake
from sim.kernel.links import crosses
from sim.kernel.logs import new_request
from sim.kernel.transactional import (
    breaks,
    end_if_all,
    is_broken,
    is_transactional,
    leave_open,
    must_wait,
    note_gap,
    take_part,
)
from sim.world import (
    ABANDONED,
    ACKS,
    ACKS_0,
    ASLEEP_UNTIL,
    BACK_NS,
    BACKOFF_NS,
    BATCH,
    BATCH_BYTES,
    BATCH_EVENTS,
    BLOCKED_UNTIL,
    BUFFER_BYTES,
    BUFFER_EVENTS,
    BY_RESET,
    C_CURRENT,
    C_DRAIN,
    C_FAILURES,
    C_HEAD,
    C_IS_LATE,
    C_TAIL,
    C_TIMEOUT,
    C_UNANSWERED,
    C_WOKE_NS,
    CALLED_NS,
    CHOICES,
    CHOSEN,
    CUT_OFF,
    DELIVERY_NS,
    E_MEMBER,
    END,
    EXPIRED,
    EXPIRES,
    EXPIRY_SET,
    FIRST_PART,
    GIVEN_UP,
    HAND_OVER,
    HANDED,
    HELD_BYTES,
    HELD_EVENTS,
    IDEMPOTENT,
    IDENTITY,
    IN_FLIGHT,
    JAVA,
    LARGEST,
    LAST_EVENT,
    LEADER,
    LINGER,
    LIVES,
    MAX_BLOCK_NS,
    MOST_BACKOFF_NS,
    NEVER,
    NEXT,
    NEXT_EVENT,
    NONE,
    NOW,
    OFFSET,
    ON_ANSWER,
    ON_BATCH,
    ON_EXPIRY,
    ON_HAND_OVER,
    ON_REFRESHED,
    ON_SERVICE,
    ON_TIMEOUT,
    OPEN,
    PART,
    PARTS,
    Q_BYTES,
    Q_COUNT,
    Q_FAILURES,
    Q_HEAD,
    Q_RETRY_NS,
    Q_TAIL,
    Q_UNDER_WAY,
    R_BROKER,
    R_COUNT,
    R_GONE,
    R_HEAD,
    R_LEAD,
    R_MADE,
    R_MATE,
    R_NEXT,
    R_PART,
    R_SENDER,
    RANK,
    REFUSED,
    REQUEST_BYTES,
    REQUEST_NS,
    RETRIES,
    SENT_ENDED,
    SENT_OFFSET,
    SENT_PART,
    SERVICE,
    SIZE,
    STICKY_BYTES,
    TIMEOUT,
    UNANSWERED,
    UNTIL,
    WOKEN,
    World,
    push,
)


@compiled
def hand_over(w: World, i: int, n: int) -> None:
    """Let a process's n-th event reach the client, if there is room for it, and its next one be expected."""
    s, proc, event = w.scalars, w.proc[i], w.event
    if proc[NEXT_EVENT] != n:
        return
    proc[WOKEN] = 0
    e = w.proc_events[n]
    if is_transactional(w, i) and must_wait(w, i, e):
        return
    if event[e, HANDED] <= proc[BACK_NS] and goes_again(w, e):
        event[e, GIVEN_UP] = ABANDONED
        s[OPEN] -= 1
        expect_next(w, i, n + 1)
        return
    if event[e, CALLED_NS] == NONE:
        event[e, CALLED_NS] = s[NOW]
        proc[BLOCKED_UNTIL] = NONE
    if is_broken(w, i) or not has_room(w, i, e):
        waited = proc[BLOCKED_UNTIL] != NONE and proc[BLOCKED_UNTIL] <= s[NOW]
        if proc[MAX_BLOCK_NS] == NONE or waited or event[e, SIZE] > proc[LARGEST] or is_broken(w, i):
            event[e, SENT_ENDED] = s[NOW]
            event[e, GIVEN_UP] = REFUSED
            event[e, SENT_PART] = event[e, PART]
            s[OPEN] -= 1
            expect_next(w, i, n + 1)
            if is_transactional(w, i):
                breaks(w, i, e)
                end_if_all(w, i)
        elif proc[BLOCKED_UNTIL] == NONE:
            proc[BLOCKED_UNTIL] = s[NOW] + proc[MAX_BLOCK_NS]
            push(w, proc[BLOCKED_UNTIL], HAND_OVER, i, 0, ON_HAND_OVER, i, n, 0)
        return
    event[e, HANDED] = s[NOW]
    proc[HELD_EVENTS] += 1
    proc[HELD_BYTES] += event[e, SIZE]
    expect_next(w, i, n + 1)
    if not proc[EXPIRY_SET]:
        proc[EXPIRY_SET] = 1
        push(w, s[NOW] + proc[DELIVERY_NS], TIMEOUT, i, 0, ON_EXPIRY, i, 0, 0)
    if is_transactional(w, i):
        take_part(w, i, n)
    enqueue(w, i, e)


@compiled
def goes_again(w: World, e: int) -> bool:
    """Whether a producer sends an event for the second time."""
    return w.event[e, IDENTITY] != e and w.event[e, E_MEMBER] == NONE


@compiled
def expect_next(w: World, i: int, n: int) -> None:
    """Expect a process's next event, at the earliest now."""
    w.proc[i, NEXT_EVENT] = n
    w.proc[i, BLOCKED_UNTIL] = NONE
    if n < w.proc[i, LAST_EVENT]:
        push(w, w.event[w.proc_events[n], HANDED], HAND_OVER, i, 0, ON_HAND_OVER, i, n, 0)


@compiled
def has_room(w: World, i: int, e: int) -> bool:
    """Whether the client takes an event: it is not too large, and the buffer has room."""
    proc = w.proc[i]
    if w.event[e, SIZE] > proc[LARGEST]:
        return False
    return proc[HELD_EVENTS] < proc[BUFFER_EVENTS] and proc[HELD_BYTES] + w.event[e, SIZE] <= proc[BUFFER_BYTES]


@compiled
def release(w: World, i: int, e: int) -> None:
    """Take an event out of the client's buffer; a call that waits for room goes on."""
    proc = w.proc[i]
    proc[HELD_EVENTS] -= 1
    proc[HELD_BYTES] -= w.event[e, SIZE]
    n = proc[NEXT_EVENT]
    if proc[BLOCKED_UNTIL] != NONE and not proc[WOKEN] and has_room(w, i, w.proc_events[n]):
        proc[WOKEN] = 1
        push(w, w.scalars[NOW], HAND_OVER, i, 0, ON_HAND_OVER, i, n, 0)


@compiled
def enqueue(w: World, i: int, e: int) -> None:
    """Put an event at the end of its partition's queue."""
    s, proc, event = w.scalars, w.proc[i], w.event
    p = event[e, PART]
    if p == NONE:
        p = chosen(w, i, event[e, SIZE])
    event[e, SENT_PART] = p
    q = w.queue[i, p]
    event[e, NEXT] = NONE
    if q[Q_COUNT] == 0:
        q[Q_HEAD] = e
        look_at(w, i, p, s[NOW] + proc[LINGER])
    else:
        event[q[Q_TAIL], NEXT] = e
    q[Q_TAIL] = e
    q[Q_COUNT] += 1
    q[Q_BYTES] += event[e, SIZE]
    is_filled = fills_a_batch(w, i, p)
    if is_filled:
        push(w, s[NOW], BATCH, i, p, ON_BATCH, i, p, 0)
    if q[Q_COUNT] == 1 or is_filled or ripe_ns(w, i, p) <= s[NOW]:
        wake(w, i, w.knows[i, p])


@compiled
def chosen(w: World, i: int, size: int) -> int:
    """Return the partition of an event without a key: librdkafka changes it by time, Java by bytes."""
    s, proc = w.scalars, w.proc[i]
    if proc[STICKY_BYTES] <= 0 if proc[JAVA] else s[NOW] >= proc[UNTIL]:
        if i < s[at.FIRST_EMITTING]:
            proc[CHOSEN] = w.sticky[proc[at.FIRST_EVENT] + proc[CHOICES]]
        else:
            proc[CHOSEN] = w.emit_sticky[i - s[at.FIRST_EMITTING], proc[CHOICES]]
        proc[CHOICES] += 1
        proc[UNTIL] = s[NOW] + 2 * proc[LINGER]
        proc[STICKY_BYTES] = proc[BATCH_BYTES]
    proc[STICKY_BYTES] -= size
    return proc[FIRST_PART] + proc[CHOSEN]


# ---- batches that go out -------------------------------------------------------------------------------------------


@compiled
def make_batches(w: World, i: int, p: int) -> None:
    """Turn what is ready in a queue into requests; see again to what is still to linger."""
    if w.knows[i, p] == 0:
        return
    if w.proc[i, JAVA]:
        if is_ready(w, i, p) and not is_full(w, i, p):
            drain(w, i, w.knows[i, p])
        else:
            see_again(w, i, p)
        return
    b = w.knows[i, p]
    while is_ready(w, i, p) and not is_full(w, i, p):
        until_ns = sleeps_until(w, i, p)
        if until_ns > w.scalars[NOW]:
            w.conn[i, b, C_IS_LATE] = 1
            look_at(w, i, p, until_ns)
            return
        if until_ns != AWAKE:
            wake(w, i, b)
        send(w, i, b, batch_of(w, i, b, p))
    see_again(w, i, p)


@compiled
def see_again(w: World, i: int, p: int) -> None:
    """Look at a queue when its oldest event has waited long enough."""
    if w.queue[i, p, Q_COUNT] > 0 and ripe_ns(w, i, p) > w.scalars[NOW]:
        look_at(w, i, p, ripe_ns(w, i, p))


@compiled
def is_ready(w: World, i: int, p: int) -> bool:
    """Whether a queue has a batch that is full or has waited long enough."""
    if w.queue[i, p, Q_COUNT] == 0 or keeps_back(w, i, p):
        return False
    return fills_a_batch(w, i, p) or ripe_ns(w, i, p) <= w.scalars[NOW]


@compiled
def keeps_back(w: World, i: int, p: int) -> bool:
    """Whether the client sends nothing of a partition for a while after an error."""
    q = w.queue[i, p]
    alone = w.proc[i, IDEMPOTENT] and q[Q_FAILURES] > 0 and q[UNANSWERED] > 0
    return alone or q[Q_RETRY_NS] > w.scalars[NOW]


@compiled
def is_full(w: World, i: int, p: int) -> bool:
    """Whether too much is unanswered: events of the partition (idempotent librdkafka) or requests of the connection."""
    proc = w.proc[i]
    if proc[IN_FLIGHT] == NONE:
        return False
    of_partition = proc[IDEMPOTENT] and not proc[JAVA]
    under_way = w.queue[i, p, Q_UNDER_WAY] if of_partition else w.conn[i, w.knows[i, p], C_UNANSWERED]
    return under_way >= proc[IN_FLIGHT]


@compiled
def drain(w: World, i: int, b: int) -> None:
    """Java: when one partition of a broker is ready, the oldest batch of each goes along, up to max.request.size."""
    proc, c = w.proc[i], w.conn[i, b]
    begin, end = proc[FIRST_PART], proc[FIRST_PART] + proc[PARTS]
    ready = True
    while ready:
        ready = False
        for p in range(begin, end):
            if w.knows[i, p] == b and is_ready(w, i, p) and not is_full(w, i, p):
                ready = True
                break
        if not ready:
            break
        first = max(c[C_DRAIN], begin)
        head, last, size = NONE, NONE, 0
        for n in range(end - begin):
            p = first + n if first + n < end else first + n - (end - begin)
            if w.knows[i, p] != b or w.queue[i, p, Q_COUNT] == 0 or keeps_back(w, i, p):
                continue
            more = oldest_bytes(w, i, p)
            if head != NONE and size + more > proc[REQUEST_BYTES]:
                c[C_DRAIN] = p
                break
            size += more
            r = batch_of(w, i, b, p)
            if head == NONE:
                head = r
            else:
                w.request[last, R_MATE] = r
            w.request[r, R_LEAD] = head
            last = r
        send(w, i, b, head)
    for p in range(begin, end):
        if w.knows[i, p] == b:
            see_again(w, i, p)


@compiled
def oldest_bytes(w: World, i: int, p: int) -> int:
    """Return the size of what goes into a queue's next batch."""
    proc, event, q = w.proc[i], w.event, w.queue[i, p]
    e = q[Q_HEAD]
    count, size = 1, event[e, SIZE]
    while count < q[Q_COUNT] and count < proc[BATCH_EVENTS] and size + event[event[e, NEXT], SIZE] <= proc[BATCH_BYTES]:
        e = event[e, NEXT]
        size += event[e, SIZE]
        count += 1
    return size


@compiled
def batch_of(w: World, i: int, b: int, p: int) -> int:
    """Put the oldest events of a queue into a request of their own."""
    event, q = w.event, w.queue[i, p]
    head, size = q[Q_HEAD], oldest_bytes(w, i, p)
    count, last, left = 1, head, size - event[head, SIZE]
    while left > 0:
        last = event[last, NEXT]
        left -= event[last, SIZE]
        count += 1
    q[Q_HEAD] = event[last, NEXT]
    event[last, NEXT] = NONE
    q[Q_COUNT] -= count
    q[Q_BYTES] -= size
    q[UNANSWERED] += 1
    q[Q_UNDER_WAY] += count
    if q[Q_COUNT] == 0:
        q[Q_HEAD] = NONE
        q[Q_TAIL] = NONE
    return new_request(w, i, b, p, head, count, size)


@compiled
def send(w: World, i: int, b: int, r: int) -> None:
    """Hand a request to the leader's connection."""
    s, c = w.scalars, w.conn[i, b]
    mate, size = r, 0
    while mate != NONE:
        size += w.request[mate, at.R_BYTES]
        w.request[mate, R_MADE] = s[NOW]
        w.request[mate, at.R_LIFE] = w.proc[i, at.LIVES]
        if w.proc[i, ACKS] == ACKS_0:
            answered(w, mate)
        mate = w.request[mate, R_MATE]
    if w.proc[i, ACKS] != ACKS_0:
        c[C_UNANSWERED] += 1
        expect_answer(w, i, b, given_up_ns(w, i, b, s[NOW]))
    c[at.C_CAME_NS] = max(s[NOW] + crosses(w, b, at.TO_BROKER, size, i, at.LINK_REQUEST, c[at.C_SENT]), c[at.C_CAME_NS])
    c[at.C_SENT] += 1
    w.request[r, at.R_CAME_NS] = c[at.C_CAME_NS]
    if c[C_HEAD] == NONE:
        c[C_HEAD] = r
    else:
        w.request[c[C_TAIL], R_NEXT] = r
    c[C_TAIL] = r
    if c[C_CURRENT] == NONE:
        push(w, w.request[c[C_HEAD], at.R_CAME_NS], SERVICE, i, b, ON_SERVICE, i, b, 0)


# ---- answers, or none ----------------------------------------------------------------------------------------------


@compiled
def all_answered(w: World, r: int) -> None:
    """Tell a process what became of a produce request."""
    i = w.request[r, R_SENDER]
    if w.request[r, at.R_LIFE] != w.proc[i, at.LIVES]:
        return
    c = w.conn[i, w.request[r, R_BROKER]]
    c[C_UNANSWERED] -= 1
    c[C_FAILURES] = 0
    c[C_WOKE_NS] = w.scalars[NOW]
    while r != NONE:
        if not w.request[r, R_GONE]:
            answered(w, r)
        r = w.request[r, R_MATE]
    look_again(w, i)


@compiled
def answered(w: World, r: int) -> None:
    """Tell a process what became of a batch's events."""
    s, request, event = w.scalars, w.request[r], w.event
    i = request[R_SENDER]
    q = w.queue[i, request[R_PART]]
    q[UNANSWERED] -= 1
    q[Q_UNDER_WAY] -= request[R_COUNT]
    q[Q_FAILURES] = 0
    e = request[R_HEAD]
    for _ in range(request[R_COUNT]):
        if event[e, SENT_ENDED] == NEVER:
            event[e, SENT_ENDED] = s[NOW]
            event[e, SENT_OFFSET] = NONE if w.proc[i, ACKS] == ACKS_0 else event[e, OFFSET]
            s[OPEN] -= 1
            release(w, i, e)
            heard_of(w, e)
            w.proc[i, at.P_TXN_LEFT] -= 1
        e = event[e, NEXT]
    pass_over(w, i)
    if is_transactional(w, i):
        end_if_all(w, i)


@compiled
def refused_for_good(w: World, r: int) -> None:
    """Tell a process that a batch is too large for its topic, or out of order: its events have failed. With acks=0 nobody hears it."""
    s, request, event = w.scalars, w.request[r], w.event
    i = request[R_SENDER]
    if w.proc[i, ACKS] == ACKS_0:
        return
    q = w.queue[i, request[R_PART]]
    q[UNANSWERED] -= 1
    q[Q_UNDER_WAY] -= request[R_COUNT]
    if is_transactional(w, i) and not w.proc[i, JAVA]:
        note_gap(w, i, request[R_PART], request[at.R_STALE] == at.TOO_LARGE)
    e = request[R_HEAD]
    for _ in range(request[R_COUNT]):
        if event[e, SENT_ENDED] == NEVER:
            event[e, SENT_ENDED] = s[NOW]
            event[e, GIVEN_UP] = REFUSED
            s[OPEN] -= 1
            release(w, i, e)
            w.proc[i, at.P_TXN_LEFT] -= 1
            w.proc[i, at.P_TXN_FAILED] = 1
        e = event[e, NEXT]
    if is_transactional(w, i):
        end_if_all(w, i)


@compiled
def look_again(w: World, i: int) -> None:
    """See which of a process's queues may send now."""
    for p in range(w.proc[i, FIRST_PART], w.proc[i, FIRST_PART] + w.proc[i, PARTS]):
        if w.queue[i, p, Q_COUNT] > 0:
            push(w, w.scalars[NOW], BATCH, i, p, ON_BATCH, i, p, 0)


@compiled
def pass_over(w: World, i: int) -> None:
    """Let what expires first be the oldest event without an answer: to look through two minutes of answered ones at once takes their memory."""
    proc, event = w.proc[i], w.event
    while proc[EXPIRY_SET] and proc[EXPIRES] < proc[NEXT_EVENT]:
        e = w.proc_events[proc[EXPIRES]]
        if event[e, SENT_ENDED] == NEVER and not event[e, GIVEN_UP]:
            return
        proc[EXPIRES] += 1


@compiled
def expire(w: World, i: int) -> None:
    """Give up what is older than its time; the oldest of what is left comes next."""
    s, proc, event = w.scalars, w.proc[i], w.event
    while proc[EXPIRES] < proc[NEXT_EVENT]:
        e = w.proc_events[proc[EXPIRES]]
        if event[e, SENT_ENDED] == NEVER and not event[e, GIVEN_UP]:
            due_ns = event[e, HANDED] + proc[DELIVERY_NS]
            if due_ns > s[NOW]:
                push(w, due_ns, TIMEOUT, i, 0, ON_EXPIRY, i, 0, 0)
                return
            give_up(w, i, e)
        proc[EXPIRES] += 1
    proc[EXPIRY_SET] = 0


@compiled
def give_up(w: World, i: int, e: int) -> None:
    """End a send without an answer; where the event is queued, it is the oldest of its queue."""
    event = w.event
    event[e, SENT_ENDED] = w.scalars[NOW]
    event[e, GIVEN_UP] = EXPIRED
    w.scalars[OPEN] -= 1
    q = w.queue[i, event[e, SENT_PART]]
    if q[Q_HEAD] == e:
        q[Q_HEAD] = event[e, NEXT]
        q[Q_COUNT] -= 1
        q[Q_BYTES] -= event[e, SIZE]
        if q[Q_COUNT] == 0:
            q[Q_TAIL] = NONE
    release(w, i, e)
    if is_transactional(w, i):
        w.proc[i, at.P_TXN_LEFT] -= 1
        w.proc[i, at.P_TXN_FAILED] = 1
        end_if_all(w, i)


@compiled
def given_up_ns(w: World, i: int, b: int, made_ns: int) -> int:
    """Return when a process gives up on a request: Java when its time is over, librdkafka when it looks for such requests next, once a second."""
    over_ns, scan_ns = made_ns + w.proc[i, REQUEST_NS], w.conn[i, b, at.C_SCAN]
    return over_ns if scan_ns == NONE else over_ns + (scan_ns - over_ns) % at.REQUEST_SCAN_NS


@compiled
def expect_answer(w: World, i: int, b: int, by_ns: int) -> None:
    """Look at a connection at an instant, unless that happens earlier anyway."""
    c = w.conn[i, b]
    if by_ns < c[C_TIMEOUT]:
        c[C_TIMEOUT] = by_ns
        push(w, by_ns, TIMEOUT, i, b, ON_TIMEOUT, i, b, 0)


@compiled
def refreshed(w: World, i: int) -> None:
    """Let a process know every leader that there is."""
    for p in range(w.queue.shape[1]):
        leader = w.part[p, LEADER]
        if w.knows[i, p] == 0 and leader != NONE and w.broker[leader, CUT_OFF] != BY_RESET:
            w.knows[i, p] = w.part[p, LEADER]
    look_again(w, i)


@compiled
def backoff(w: World, i: int, failures: int) -> int:
    """Return how long a process waits before the retry after so many failures."""
    proc = w.proc[i]
    n = proc[RETRIES]
    proc[RETRIES] = n + 1
    longest_ns = min(proc[BACKOFF_NS] << min(failures, 20), proc[MOST_BACKOFF_NS])
    return longest_ns * w.retry[i, n] // 1_000_000


@compiled
def is_before(w: World, a: int, b: int) -> bool:
    """Whether an event was handed to the client before another one."""
    rank_a, rank_b = w.event[a, RANK], w.event[b, RANK]
    return a < b if rank_a == NONE else rank_a < rank_b


@compiled
def queue_again(w: World, r: int) -> None:
    """Put a request's events back in the order in which they were handed over, without those given up."""
    request, event = w.request[r], w.event
    q = w.queue[request[R_SENDER], request[R_PART]]
    q[UNANSWERED] -= 1
    q[Q_UNDER_WAY] -= request[R_COUNT]
    again, before, behind = request[R_HEAD], NONE, q[Q_HEAD]
    while again != NONE:
        following = event[again, NEXT]
        if not event[again, GIVEN_UP]:
            while behind != NONE and is_before(w, behind, again):
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


# ---- processes that hang or die ------------------------------------------------------------------------------------


@compiled
def is_put_off(w: World, what: int, a: int, b: int) -> bool:
    """Whether what a process would do now waits until it is awake; then it is put off until that instant."""
    i = w.request[a, R_SENDER] if what == ON_ANSWER else a
    until_ns = w.proc[i, ASLEEP_UNTIL]
    if until_ns <= w.scalars[NOW]:
        return False
    if what == ON_HAND_OVER:
        push(w, until_ns, HAND_OVER, i, 0, what, a, b, 0)
    elif what == ON_BATCH:
        push(w, until_ns, BATCH, i, b, what, a, b, 0)
    elif what in (ON_ANSWER, at.ON_TXN_HEARD):
        push(w, until_ns, END, 0, 0, what, a, b, 0)
    elif what != ON_TIMEOUT:
        push(w, until_ns, TIMEOUT, i, 0, what, a, b, 0)
    elif w.conn[i, b, C_TIMEOUT] == w.scalars[NOW]:
        w.conn[i, b, C_TIMEOUT] = until_ns
        push(w, until_ns, TIMEOUT, i, b, what, a, b, 0)
    return True


@entry
def fall_asleep(w: World, i: int, until_ns: int) -> None:
    """Let a process hang: it does nothing and hears nothing before an instant."""
    w.proc[i, ASLEEP_UNTIL] = max(w.proc[i, ASLEEP_UNTIL], until_ns)


@entry
def die(w: World, i: int, back_ns: int) -> None:
    """Let a producer's process die with all that was not answered, and come back: what is due meanwhile is handed over then."""
    s, proc, event = w.scalars, w.proc[i], w.event
    if proc[at.P_TXN] != NONE:
        leave_open(w, i, back_ns)
    forget_client(w, i)
    for n in range(proc[at.FIRST_EVENT], min(proc[NEXT_EVENT] + 1, proc[LAST_EVENT])):
        e = w.proc_events[n]
        if event[e, CALLED_NS] != NONE and event[e, SENT_ENDED] == NEVER and not event[e, GIVEN_UP]:
            event[e, GIVEN_UP] = ABANDONED
            s[OPEN] -= 1
            if n == proc[NEXT_EVENT]:
                expect_next(w, i, n + 1)
    proc[BLOCKED_UNTIL] = NONE
    proc[BACK_NS] = max(proc[BACK_NS], back_ns)
    fall_asleep(w, i, back_ns)
    for p in range(w.queue.shape[1]):
        w.knows[i, p] = 0
    push(w, back_ns, TIMEOUT, i, 0, ON_REFRESHED, i, 0, 0)


@compiled
def forget_connection(c: at.Ints) -> None:
    """Let a connection begin anew, with nothing on it."""
    c[C_HEAD] = c[C_TAIL] = c[C_CURRENT] = NONE
    c[at.C_HELD] = c[at.C_HELD_LAST] = NONE
    c[at.C_MUTED_NS] = 0
    c[at.C_NEW] = 1


@compiled
def forget_client(w: World, i: int) -> None:
    """Let a client die: what was not sent is gone, and nobody hears what becomes of the rest."""
    for b in range(w.conn.shape[1]):
        c = w.conn[i, b]
        forget_connection(c)
        c[C_UNANSWERED] = 0
        c[C_FAILURES] = 0
        c[C_DRAIN] = 0
    for p in range(w.queue.shape[1]):
        q = w.queue[i, p]
        q[:] = 0
        q[Q_HEAD] = NONE
        q[Q_TAIL] = NONE
    proc = w.proc[i]
    proc[UNTIL] = -1
    proc[CHOSEN] = 0
    proc[STICKY_BYTES] = 0
    proc[HELD_EVENTS] = 0
    proc[HELD_BYTES] = 0
    proc[LIVES] += 1
