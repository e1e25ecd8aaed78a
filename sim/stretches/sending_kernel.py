"""What producers do in a quiet stretch, as a loop over arrays: nothing fails, so it never depends on members.

The rules are those of `sim.kernel`, and so are the names; a test compares the two event by event. Processes share partitions, so they
go through one heap, with an entry for each thing that waits. The loop stops at an instant and goes on from it later, when more events are
known; what it says does not depend on where that is. Events go by their ids, and lie in columns of which the length is a power of two,
each at its id modulo that (`MASK` is the length less one).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.cores import in_proportion
from sim.kernel.resting import takes_longer
from sim.world import NEVER, NONE, Ints

# per process and partition that it has something of, which is not sent or not answered; one that is free is followed by the next free one
(F_HEAD, F_TAIL, F_COUNT, F_BYTES, F_UNDER_WAY, F_BLOCKED, F_SENDER, F_PART, F_NEXT, F_LOOK_NS, N_FLOW_QUEUE) = range(
    11
)
# per process and broker
(L_HEAD, L_TAIL, L_FREE_NS, L_SERVED, L_LAST_ANSWER, L_UNANSWERED, L_EXPECTED, L_WOKE_NS, L_IS_LATE, N_LINK) = range(10)
# per request; one that is free is followed by the next free one, and one of which only the buffer is to hear by the next one of its process
(B_SENDER, B_BROKER, B_PART, B_HEAD, B_COUNT, B_BYTES, B_NEXT, B_MADE, B_ANSWERED, N_BATCH) = range(10)
# per process
(T_UNTIL, T_CHOSEN, T_CHOICES, T_HELD, T_HELD_BYTES, T_SENDS, T_HANDED, T_BLOCKED, T_SERVED, T_SERVED_COUNT, T_LOOKS_AT,
 N_SENDER) = range(12)  # fmt: skip
# of all
(S_HEAP, S_FREE, S_FREE_COUNT, S_PROBLEM, S_APPENDED, S_MASK, S_SPARE, S_FREE_QUEUE, S_TIMER, S_TIMERS,
 S_NEXT, S_NOW_NS, S_NOW_KEY, S_SLEEP_STEP, N_SCALARS) = range(15)  # fmt: skip
# Why it stops before its instant: what it lacks to go on, random inputs or room; or why the rules of quiet stretches do not suffice.
SHORT, ROOM, BUFFER_FULL, TIMED_OUT = range(1, 5)

_PLACES = 24
_PLACE = (1 << _PLACES) - 1


class Sending(NamedTuple):
    """All that producers need, and what becomes of what they send."""

    s: Ints
    heap: Ints
    timer: Ints
    """What waits for a linger, in the order of time, in a ring of which the length is a power of two: most of what waits comes in that order."""
    proc: Ints
    """The processes' settings, as in a world."""
    sender: Ints
    queue: Ints
    bucket: Ints
    """By a number that is made of process and partition: the first of the queues that share it."""
    link: Ints
    request: Ints
    leads: Ints
    """By partition: its leader."""
    log_end: Ints
    last_appended: Ints
    last_visible: Ints
    order: Ints
    """The events that are not handed over yet, in the order in which they will be; the next one has the place S_NEXT."""
    process: Ints
    handed: Ints
    size: Ints
    part: Ints
    """By event: its partition; NONE where the client is still to choose."""
    following: Ints
    acked: Ints
    offset: Ints
    visible: Ints
    appended: Ints
    """The events in the order in which they came into their logs since the loop last stopped at an instant."""
    send: Ints
    sticky: Ints
    produce: Ints
    leader: Ints
    acknowledge: Ints
    costs: NDArray[np.float64]
    rest: Ints
    asked: Ints
    """As in a world."""


@compiled
def put(w: Sending, time: int, phase: int, a: int, b: int) -> None:
    """Put something on the heap: what it is about also orders what happens at one instant."""
    s, heap = w.s, w.heap
    key = (phase << 48) | (a << _PLACES) | b
    place = s[S_HEAP]
    s[S_HEAP] = place + 1
    while place > 0:
        up = (place - 1) >> 1
        if heap[up, 0] < time or (heap[up, 0] == time and heap[up, 1] <= key):
            break
        heap[place, 0] = heap[up, 0]
        heap[place, 1] = heap[up, 1]
        place = up
    heap[place, 0] = time
    heap[place, 1] = key


@compiled
def put_now(w: Sending, now: int, phase: int, a: int, b: int) -> None:
    """Have something happen at this instant: most often it is the next thing, for which the heap would be a detour."""
    if w.s[S_NOW_NS] == NEVER:
        w.s[S_NOW_NS] = now
        w.s[S_NOW_KEY] = (phase << 48) | (a << _PLACES) | b
    else:
        put(w, now, phase, a, b)


@compiled
def put_timer(w: Sending, time: int, i: int, p: int) -> None:
    """Look at a queue later: behind all other timers, where it comes last."""
    s, timer = w.s, w.timer
    key, mask = (at.BATCH << 48) | (i << _PLACES) | p, timer.shape[0] - 1
    if s[S_TIMERS] > 0:
        last = timer[(s[S_TIMER] + s[S_TIMERS] - 1) & mask]
        if last[0] > time or (last[0] == time and last[1] > key):
            put(w, time, at.BATCH, i, p)
            return
    row = timer[(s[S_TIMER] + s[S_TIMERS]) & mask]
    row[0] = time
    row[1] = key
    s[S_TIMERS] += 1


@compiled
def take(w: Sending) -> None:
    """Take the first thing off the heap."""
    s, heap = w.s, w.heap
    last = s[S_HEAP] - 1
    s[S_HEAP] = last
    time, key = heap[last, 0], heap[last, 1]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= last:
            break
        right = child + 1
        if right < last and (
            heap[right, 0] < heap[child, 0] or (heap[right, 0] == heap[child, 0] and heap[right, 1] < heap[child, 1])
        ):
            child = right
        if time < heap[child, 0] or (time == heap[child, 0] and key <= heap[child, 1]):
            break
        heap[place, 0] = heap[child, 0]
        heap[place, 1] = heap[child, 1]
        place = child
    heap[place, 0] = time
    heap[place, 1] = key


@compiled
def bucket_of(w: Sending, i: int, p: int) -> int:
    """Return where queues of a process and partition are looked for."""
    place: int = (i * 40_503 + p) & (w.bucket.shape[0] - 1)
    return place


@compiled
def find(w: Sending, i: int, p: int) -> int:
    """Return the queue of a process and partition, NONE where there is nothing of it."""
    q: int = w.bucket[bucket_of(w, i, p)]
    while q != NONE and (w.queue[q, F_SENDER] != i or w.queue[q, F_PART] != p):
        q = w.queue[q, F_NEXT]
    return q


@compiled
def find_or_make(w: Sending, i: int, p: int) -> int:
    """Return the queue of a process and partition."""
    q = find(w, i, p)
    if q == NONE:
        q = w.s[S_FREE_QUEUE]
        row, place = w.queue[q], bucket_of(w, i, p)
        w.s[S_FREE_QUEUE] = row[F_NEXT]
        row[F_SENDER] = i
        row[F_PART] = p
        row[F_LOOK_NS] = 0
        row[F_NEXT] = w.bucket[place]
        w.bucket[place] = q
    return q


@compiled
def let_go(w: Sending, q: int) -> None:
    """Let a queue go of which nothing is left: it is as one that never was."""
    row = w.queue[q]
    place = bucket_of(w, row[F_SENDER], row[F_PART])
    if w.bucket[place] == q:
        w.bucket[place] = row[F_NEXT]
    else:
        before = w.bucket[place]
        while w.queue[before, F_NEXT] != q:
            before = w.queue[before, F_NEXT]
        w.queue[before, F_NEXT] = row[F_NEXT]
    row[F_NEXT] = w.s[S_FREE_QUEUE]
    w.s[S_FREE_QUEUE] = q


@entry
def fill_buckets(w: Sending) -> None:
    """Find the queues anew, in other buckets; those that are free come in no order."""
    w.s[S_FREE_QUEUE] = NONE
    for q in range(w.queue.shape[0]):
        row = w.queue[q]
        if row[F_COUNT] == 0 and row[F_UNDER_WAY] == 0:
            row[F_NEXT] = w.s[S_FREE_QUEUE]
            w.s[S_FREE_QUEUE] = q
        else:
            place = bucket_of(w, row[F_SENDER], row[F_PART])
            row[F_NEXT] = w.bucket[place]
            w.bucket[place] = q


@compiled
def unblock(w: Sending, q: int) -> None:
    """Let a queue go on that waited for an answer."""
    row = w.queue[q]
    if row[F_BLOCKED]:
        row[F_BLOCKED] = 0
        w.sender[row[F_SENDER], T_BLOCKED] -= 1


NEXT_HAND_OVER, NEXT_TIMER, NEXT_NOW, NEXT_ON_HEAP = range(1, 5)


@entry
def line_up(w: Sending, events: Ints, intended: Ints, first: int) -> None:
    """Work out when the events of a block are handed over, the first of which has the id `first`; each process's come in its order."""
    mask = w.s[S_MASK]
    for e in events:
        if e >= first:
            i = w.process[e & mask]
            t = w.sender[i]
            t[T_HANDED] = max(t[T_HANDED], intended[e - first] + w.send[i, t[T_SENDS]])
            t[T_SENDS] += 1
            w.handed[e & mask] = t[T_HANDED]


@entry
def produce_all(w: Sending, until_ns: int) -> None:
    """Send everything until an instant: when it is acknowledged, where it stands in its log, and when members can read it.

    Where random inputs or room run out it stops, and goes on when it is called again with more.
    """
    s, heap, timer, mask = w.s, w.heap, w.timer, w.s[S_MASK]
    while s[S_PROBLEM] == 0:
        now, key, source = NEVER, 0, 0
        if s[S_NEXT] < w.order.shape[0]:
            e = w.order[s[S_NEXT]]
            now, key, source = (
                w.handed[e & mask],
                (at.HAND_OVER << 48) | (w.process[e & mask] << _PLACES),
                NEXT_HAND_OVER,
            )
        if s[S_TIMERS] > 0:
            row = timer[s[S_TIMER] & (timer.shape[0] - 1)]
            if row[0] < now or (row[0] == now and row[1] < key):
                now, key, source = row[0], row[1], NEXT_TIMER
        if s[S_NOW_NS] < now or (s[S_NOW_NS] == now and s[S_NOW_KEY] < key):
            now, key, source = s[S_NOW_NS], s[S_NOW_KEY], NEXT_NOW
        if s[S_HEAP] > 0 and (heap[0, 0] < now or (heap[0, 0] == now and heap[0, 1] < key)):
            now, key, source = heap[0, 0], heap[0, 1], NEXT_ON_HEAP
        if source == 0 or now >= until_ns:
            return
        phase, a, b = key >> 48, (key >> _PLACES) & _PLACE, key & _PLACE
        is_full = s[S_HEAP] + s[S_SPARE] > heap.shape[0] or s[S_TIMERS] == timer.shape[0]
        if is_full or s[S_FREE_QUEUE] == NONE:
            s[S_PROBLEM] = ROOM
            return
        q = find(w, a, b) if phase == at.BATCH else NONE
        if q != NONE and w.queue[q, F_COUNT] > s[S_FREE_COUNT]:
            s[S_PROBLEM] = ROOM
            return
        if (phase == at.SERVICE and w.link[a, b, L_SERVED] >= w.produce.shape[2]) or (
            phase == at.HAND_OVER and w.sender[a, T_CHOICES] >= w.sticky.shape[1]
        ):
            s[S_PROBLEM] = SHORT
            return
        if source == NEXT_HAND_OVER:
            s[S_NEXT] += 1
        elif source == NEXT_TIMER:
            s[S_TIMER] += 1
            s[S_TIMERS] -= 1
        elif source == NEXT_NOW:
            s[S_NOW_NS] = NEVER
        else:
            take(w)
        if phase == at.HAND_OVER:
            hand_over(w, now, w.order[s[S_NEXT] - 1])
        elif phase == at.BATCH:
            if q != NONE:
                make_batches(w, now, q)
        elif phase == at.SERVICE:
            serve(w, now, a, b)
        else:
            answer(w, now, (a << _PLACES) | b)


@compiled
def hand_over(w: Sending, now: int, e: int) -> None:
    """Let an event reach the client."""
    mask = w.s[S_MASK]
    i = w.process[e & mask]
    t, proc = w.sender[i], w.proc[i]
    size = w.size[e & mask]
    t[T_HELD] += 1
    t[T_HELD_BYTES] += size
    if t[T_HELD] > proc[at.BUFFER_EVENTS] or t[T_HELD_BYTES] > proc[at.BUFFER_BYTES]:
        hear(w, now, i)
        if t[T_HELD] > proc[at.BUFFER_EVENTS] or t[T_HELD_BYTES] > proc[at.BUFFER_BYTES]:
            w.s[S_PROBLEM] = BUFFER_FULL
    if size > proc[at.LARGEST]:
        w.s[S_PROBLEM] = BUFFER_FULL
    if w.part[e & mask] == NONE:
        if now >= t[T_UNTIL]:
            t[T_CHOSEN] = w.sticky[i, t[T_CHOICES]]
            t[T_CHOICES] += 1
            t[T_UNTIL] = now + 2 * proc[at.LINGER]
        w.part[e & mask] = proc[at.FIRST_PART] + t[T_CHOSEN]
    p = w.part[e & mask]
    q = w.queue[find_or_make(w, i, p)]
    w.following[e & mask] = NONE
    if q[F_COUNT] == 0:
        q[F_HEAD] = e
        if looks_then(q, now, now + proc[at.LINGER]):
            put_timer(w, now + proc[at.LINGER], i, p)
    else:
        w.following[q[F_TAIL] & mask] = e
    q[F_TAIL] = e
    q[F_COUNT] += 1
    q[F_BYTES] += size
    is_filled = q[F_COUNT] >= proc[at.BATCH_EVENTS] or q[F_BYTES] >= proc[at.BATCH_BYTES]
    if is_filled and not q[F_BLOCKED]:
        put_now(w, now, at.BATCH, i, p)
    if w.s[S_SLEEP_STEP] > 0 and (q[F_COUNT] == 1 or is_filled or w.handed[q[F_HEAD] & mask] + proc[at.LINGER] <= now):
        wake(w, now, i, w.leads[p])


@compiled
def looks_then(q: Ints, now: int, then_ns: int) -> bool:
    """Note that a queue is looked at at an instant, unless it is looked at before that anyway, which goes on to it; tell whether that is news."""
    if now < q[F_LOOK_NS] <= then_ns:
        return False
    q[F_LOOK_NS] = then_ns
    return True


@compiled
def wake(w: Sending, now: int, i: int, b: int) -> None:
    """Let the thread that sends to a broker look at its queues; what was ready while it slept goes now."""
    c, proc = w.link[i, b], w.proc[i]
    c[L_WOKE_NS] = now
    if not c[L_IS_LATE]:
        return
    c[L_IS_LATE] = 0
    for p in range(proc[at.FIRST_PART], proc[at.FIRST_PART] + proc[at.PARTS]):
        number = find(w, i, p) if w.leads[p] == b else NONE
        if number == NONE or w.queue[number, F_COUNT] == 0:
            continue
        if w.handed[w.queue[number, F_HEAD] & w.s[S_MASK]] + proc[at.LINGER] <= now:
            put(w, now, at.BATCH, i, p)


@compiled
def is_heard(w: Sending, i: int) -> bool:
    """Whether a process does something when an answer comes: something waits for that, or its thread wakes."""
    heard: bool = w.proc[i, at.IN_FLIGHT] != NONE or (w.s[S_SLEEP_STEP] > 0 and w.proc[i, at.LINGER] > 0)
    return heard


@compiled
def make_batches(w: Sending, now: int, number: int) -> None:
    """Turn what is ready in a queue into requests; look again when the rest has waited long enough."""
    q = w.queue[number]
    i, p = q[F_SENDER], q[F_PART]
    proc, b = w.proc[i], w.leads[p]
    c = w.link[i, b]
    unblock(w, number)
    while q[F_COUNT] > 0:
        full = q[F_COUNT] >= proc[at.BATCH_EVENTS] or q[F_BYTES] >= proc[at.BATCH_BYTES]
        ripe_ns = w.handed[q[F_HEAD] & w.s[S_MASK]] + proc[at.LINGER]
        if not full and ripe_ns > now:
            if looks_then(q, now, ripe_ns):
                put(w, ripe_ns, at.BATCH, i, p)
            return
        if proc[at.IN_FLIGHT] != NONE:
            under_way = q[F_UNDER_WAY] if proc[at.IDEMPOTENT] else c[L_UNANSWERED]
            if under_way >= proc[at.IN_FLIGHT]:
                q[F_BLOCKED] = 1
                w.sender[i, T_BLOCKED] += 1
                return
        if w.s[S_SLEEP_STEP] > 0 and not full and ripe_ns > c[L_WOKE_NS]:
            until_ns = sleeps_until(w, c[L_WOKE_NS], ripe_ns)
            if until_ns > now:
                c[L_IS_LATE] = 1
                if looks_then(q, now, until_ns):
                    put(w, until_ns, at.BATCH, i, p)
                return
            wake(w, now, i, b)
        send_batch(w, now, number)
    if q[F_UNDER_WAY] == 0:
        let_go(w, number)


@compiled
def sleeps_until(w: Sending, woke_ns: int, ripe_ns: int) -> int:
    """Return when a thread that fell asleep at an instant looks by itself at what is ready at another."""
    asked_ns = (ripe_ns - woke_ns + w.s[S_SLEEP_STEP] - 1) // w.s[S_SLEEP_STEP] * w.s[S_SLEEP_STEP]
    until_ns: int = woke_ns + asked_ns + np.int64(np.rint(w.costs[at.OVERSLEEP] * asked_ns))
    return until_ns


@compiled
def send_batch(w: Sending, now: int, number: int) -> None:
    """Put the oldest events of a queue into a request of their own, and hand it to the leader's connection."""
    q, mask = w.queue[number], w.s[S_MASK]
    i, p = q[F_SENDER], q[F_PART]
    proc, b = w.proc[i], w.leads[p]
    c = w.link[i, b]
    head = q[F_HEAD]
    count, size, last = 1, w.size[head & mask], head
    while count < q[F_COUNT] and count < proc[at.BATCH_EVENTS]:
        e = w.following[last & mask]
        if size + w.size[e & mask] > proc[at.BATCH_BYTES]:
            break
        size += w.size[e & mask]
        count += 1
        last = e
    q[F_HEAD] = w.following[last & mask]
    w.following[last & mask] = NONE
    q[F_COUNT] -= count
    q[F_BYTES] -= size
    if is_heard(w, i):
        q[F_UNDER_WAY] += count
        c[L_UNANSWERED] += 1
    r = w.s[S_FREE]
    batch = w.request[r]
    w.s[S_FREE] = batch[B_NEXT]
    w.s[S_FREE_COUNT] -= 1
    batch[B_SENDER] = i
    batch[B_BROKER] = b
    batch[B_PART] = p
    batch[B_HEAD] = head
    batch[B_COUNT] = count
    batch[B_BYTES] = size
    batch[B_NEXT] = NONE
    batch[B_MADE] = now
    if c[L_HEAD] == NONE:
        c[L_HEAD] = r
    else:
        w.request[c[L_TAIL], B_NEXT] = r
    c[L_TAIL] = r
    if not c[L_EXPECTED]:
        c[L_EXPECTED] = 1
        if c[L_FREE_NS] <= now:
            put_now(w, now, at.SERVICE, i, b)
        else:
            put(w, c[L_FREE_NS], at.SERVICE, i, b)


@compiled
def serve(w: Sending, now: int, i: int, b: int) -> None:
    """Begin the next request of an idle connection; what becomes of it is known then."""
    c, proc, mask = w.link[i, b], w.proc[i], w.s[S_MASK]
    r = c[L_HEAD]
    batch = w.request[r]
    c[L_HEAD] = batch[B_NEXT]
    n = c[L_SERVED]
    c[L_SERVED] = n + 1
    per_size_us = w.costs[0] * batch[B_BYTES] / 1024 + w.costs[1] * batch[B_COUNT]
    duration = w.produce[i, b, n] + np.int64(np.rint(1000 * per_size_us))
    p = batch[B_PART]
    leader_ns = min(w.leader[i, b, min(n, w.leader.shape[2] - 1)], duration)
    rested_ns = takes_longer(w.rest, w.asked, b, now)
    leader_ns += in_proportion(rested_ns, leader_ns, duration)
    duration += rested_ns
    appended_ns = max(now + leader_ns, w.last_appended[p])
    visible_ns = max(now + duration, w.last_visible[p])
    w.last_appended[p] = appended_ns
    w.last_visible[p] = visible_ns
    e = batch[B_HEAD]
    for _ in range(batch[B_COUNT]):
        w.offset[e & mask] = w.log_end[p]
        w.log_end[p] += 1
        w.appended[w.s[S_APPENDED]] = e
        w.s[S_APPENDED] += 1
        w.visible[e & mask] = visible_ns
        e = w.following[e & mask]
    c[L_FREE_NS] = visible_ns if proc[at.ACKS] == at.ACKS_ALL else appended_ns
    answer_ns = max(c[L_FREE_NS] + w.acknowledge[i, b, min(n, w.acknowledge.shape[2] - 1)], c[L_LAST_ANSWER])
    c[L_LAST_ANSWER] = answer_ns
    if answer_ns - batch[B_MADE] >= min(proc[at.REQUEST_NS], proc[at.ACKS_NS]):
        w.s[S_PROBLEM] = TIMED_OUT
    if is_heard(w, i):
        put(w, answer_ns, at.END, r >> _PLACES, r & _PLACE)
    else:
        answer_later(w, now, r, answer_ns)
    c[L_EXPECTED] = 0
    if c[L_HEAD] != NONE:
        c[L_EXPECTED] = 1
        put(w, c[L_FREE_NS], at.SERVICE, i, b)


@compiled
def answer_later(w: Sending, now: int, r: int, answer_ns: int) -> None:
    """Tell a process beforehand what becomes of a request for which nothing waits; only its buffer is to hear of it in time."""
    batch, mask = w.request[r], w.s[S_MASK]
    i, e = batch[B_SENDER], batch[B_HEAD]
    t = w.sender[i]
    if answer_ns - w.handed[e & mask] >= w.proc[i, at.DELIVERY_NS]:
        w.s[S_PROBLEM] = TIMED_OUT
    for _ in range(batch[B_COUNT]):
        w.acked[e & mask] = answer_ns
        e = w.following[e & mask]
    batch[B_ANSWERED] = answer_ns
    batch[B_NEXT] = t[T_SERVED]
    t[T_SERVED] = r
    t[T_SERVED_COUNT] += 1
    if t[T_SERVED_COUNT] >= t[T_LOOKS_AT]:
        hear(w, now, i)


@compiled
def hear(w: Sending, now: int, i: int) -> None:
    """Let a process's buffer go of what is answered by now; it looks again when twice as many as are left then are under way."""
    t = w.sender[i]
    r: int = t[T_SERVED]
    t[T_SERVED] = NONE
    t[T_SERVED_COUNT] = 0
    while r != NONE:
        batch = w.request[r]
        following = batch[B_NEXT]
        if batch[B_ANSWERED] <= now:
            t[T_HELD] -= batch[B_COUNT]
            t[T_HELD_BYTES] -= batch[B_BYTES]
            batch[B_NEXT] = w.s[S_FREE]
            w.s[S_FREE] = r
            w.s[S_FREE_COUNT] += 1
        else:
            batch[B_NEXT] = t[T_SERVED]
            t[T_SERVED] = r
            t[T_SERVED_COUNT] += 1
        r = following
    t[T_LOOKS_AT] = 2 * t[T_SERVED_COUNT] + 16


@compiled
def answer(w: Sending, now: int, r: int) -> None:
    """Tell a process what became of a request; what waited for that goes on."""
    batch, mask = w.request[r], w.s[S_MASK]
    i, p = batch[B_SENDER], batch[B_PART]
    proc = w.proc[i]
    q = find(w, i, p)
    w.queue[q, F_UNDER_WAY] -= batch[B_COUNT]
    w.link[i, batch[B_BROKER], L_UNANSWERED] -= 1
    e = batch[B_HEAD]
    if now - w.handed[e & mask] >= proc[at.DELIVERY_NS]:
        w.s[S_PROBLEM] = TIMED_OUT
    for _ in range(batch[B_COUNT]):
        w.acked[e & mask] = now
        w.sender[i, T_HELD] -= 1
        w.sender[i, T_HELD_BYTES] -= w.size[e & mask]
        e = w.following[e & mask]
    b = batch[B_BROKER]
    batch[B_NEXT] = w.s[S_FREE]
    w.s[S_FREE] = r
    w.s[S_FREE_COUNT] += 1
    if w.s[S_SLEEP_STEP] > 0:
        wake(w, now, i, b)
    if w.sender[i, T_BLOCKED] > 0:
        first, end = p, p + 1
        if not proc[at.IDEMPOTENT]:
            first, end = proc[at.FIRST_PART], proc[at.FIRST_PART] + proc[at.PARTS]
        for other in range(first, end):
            number = find(w, i, other)
            if number != NONE and w.queue[number, F_BLOCKED]:
                unblock(w, number)
                put(w, now, at.BATCH, i, other)
    if w.queue[q, F_COUNT] == 0 and w.queue[q, F_UNDER_WAY] == 0:
        let_go(w, q)
