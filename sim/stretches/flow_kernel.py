"""Quiet stretches as loops over arrays: nothing fails, so what producers do never depends on members, nor one member on another.

The rules are those of `sim.kernel`, and so are the names; a test compares the two event by event. Producers' processes share
partitions, so they go through one heap, with an entry for each thing that waits; each member is a plain loop.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim import world as at
from sim.compiled import compiled, entry
from sim.world import NEVER, NONE, Ints

# per process and partition
(F_HEAD, F_TAIL, F_COUNT, F_BYTES, F_UNDER_WAY, F_BLOCKED, N_FLOW_QUEUE) = range(7)
# per process and broker
(L_HEAD, L_TAIL, L_FREE_NS, L_SERVED, L_LAST_ANSWER, L_UNANSWERED, L_EXPECTED, N_LINK) = range(8)
# per request
(B_SENDER, B_BROKER, B_PART, B_HEAD, B_COUNT, B_BYTES, B_NEXT, B_MADE, N_BATCH) = range(9)
# per process
(T_NEXT, T_LAST, T_UNTIL, T_CHOSEN, T_CHOICES, T_HELD, T_HELD_BYTES, N_SENDER) = range(8)
# of all
(S_HEAP, S_REQUESTS, S_PROBLEM, S_BEGUN, S_APPENDED, N_SCALARS) = range(6)
# Why the rules of quiet stretches do not suffice; and that random inputs ran out, with more of which it goes on.
BUFFER_FULL, TIMED_OUT, LATE_CALL, FULL_ANSWER, SHORT = range(1, 6)


class Sending(NamedTuple):
    """All that producers need, and what becomes of what they send."""

    s: Ints
    heap: Ints
    proc: Ints
    """The processes' settings, as in a world."""
    sender: Ints
    queue: Ints
    link: Ints
    request: Ints
    leads: Ints
    """By partition: its leader."""
    log_end: Ints
    last_appended: Ints
    last_visible: Ints
    order: Ints
    """The events of each process, in the order in which they are handed over."""
    sticky: Ints
    handed: Ints
    size: Ints
    part: Ints
    """By event: its partition; NONE where the client is still to choose."""
    following: Ints
    acked: Ints
    offset: Ints
    visible: Ints
    appended: Ints
    """The events in the order in which they come into their logs."""
    produce: Ints
    leader: Ints
    acknowledge: Ints
    costs: NDArray[np.float64]


@compiled
def put(w: Sending, time: int, phase: int, tie: int, second: int, a: int, b: int) -> None:
    """Put something on the heap."""
    s, heap = w.s, w.heap
    key = (phase << 48) | (tie << 24) | second
    place = s[S_HEAP]
    s[S_HEAP] = place + 1
    while place > 0:
        up = (place - 1) >> 1
        if heap[up, 0] < time or (heap[up, 0] == time and heap[up, 1] <= key):
            break
        for column in range(4):
            heap[place, column] = heap[up, column]
        place = up
    heap[place, 0] = time
    heap[place, 1] = key
    heap[place, 2] = a
    heap[place, 3] = b


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
        for column in range(4):
            heap[place, column] = heap[child, column]
        place = child
    for column in range(4):
        heap[place, column] = heap[last, column]


@entry
def produce_all(w: Sending) -> None:
    """Send every event: when it is acknowledged, where it stands in its log, and when members can read it.

    Where random inputs run out it stops, and goes on when it is called again with more of them.
    """
    s, heap, sender = w.s, w.heap, w.sender
    if not s[S_BEGUN]:
        s[S_BEGUN] = 1
        for i in range(sender.shape[0]):
            if sender[i, T_NEXT] < sender[i, T_LAST]:
                put(w, w.handed[w.order[sender[i, T_NEXT]]], at.HAND_OVER, i, 0, i, 0)
    while s[S_HEAP] > 0 and s[S_PROBLEM] == 0:
        now, phase, a, b = heap[0, 0], heap[0, 1] >> 48, heap[0, 2], heap[0, 3]
        if phase == at.SERVICE and w.link[a, b, L_SERVED] >= w.produce.shape[2]:
            s[S_PROBLEM] = SHORT
            return
        take(w)
        if phase == at.HAND_OVER:
            hand_over(w, now, a)
        elif phase == at.BATCH:
            make_batches(w, now, a, b)
        elif phase == at.SERVICE:
            serve(w, now, a, b)
        else:
            answer(w, now, a)


@compiled
def hand_over(w: Sending, now: int, i: int) -> None:
    """Let the next event of a process reach the client."""
    t, proc = w.sender[i], w.proc[i]
    e = w.order[t[T_NEXT]]
    t[T_NEXT] += 1
    if t[T_NEXT] < t[T_LAST]:
        put(w, w.handed[w.order[t[T_NEXT]]], at.HAND_OVER, i, 0, i, 0)
    size = w.size[e]
    t[T_HELD] += 1
    t[T_HELD_BYTES] += size
    if t[T_HELD] > proc[at.BUFFER_EVENTS] or t[T_HELD_BYTES] > proc[at.BUFFER_BYTES] or size > proc[at.LARGEST]:
        w.s[S_PROBLEM] = BUFFER_FULL
    if w.part[e] == NONE:
        if now >= t[T_UNTIL]:
            t[T_CHOSEN] = w.sticky[proc[at.FIRST_EVENT] + t[T_CHOICES]]
            t[T_CHOICES] += 1
            t[T_UNTIL] = now + 2 * proc[at.LINGER]
        w.part[e] = proc[at.FIRST_PART] + t[T_CHOSEN]
    p = w.part[e]
    q = w.queue[i, p]
    w.following[e] = NONE
    if q[F_COUNT] == 0:
        q[F_HEAD] = e
        put(w, now + proc[at.LINGER], at.BATCH, i, p, i, p)
    else:
        w.following[q[F_TAIL]] = e
    q[F_TAIL] = e
    q[F_COUNT] += 1
    q[F_BYTES] += size
    if (q[F_COUNT] >= proc[at.BATCH_EVENTS] or q[F_BYTES] >= proc[at.BATCH_BYTES]) and not q[F_BLOCKED]:
        put(w, now, at.BATCH, i, p, i, p)


@compiled
def make_batches(w: Sending, now: int, i: int, p: int) -> None:
    """Turn what is ready in a queue into requests; look again when the rest has waited long enough."""
    q, proc, b = w.queue[i, p], w.proc[i], w.leads[p]
    c = w.link[i, b]
    q[F_BLOCKED] = 0
    while q[F_COUNT] > 0:
        full = q[F_COUNT] >= proc[at.BATCH_EVENTS] or q[F_BYTES] >= proc[at.BATCH_BYTES]
        ripe_ns = w.handed[q[F_HEAD]] + proc[at.LINGER]
        if not full and ripe_ns > now:
            put(w, ripe_ns, at.BATCH, i, p, i, p)
            return
        if proc[at.IN_FLIGHT] != NONE:
            under_way = q[F_UNDER_WAY] if proc[at.IDEMPOTENT] else c[L_UNANSWERED]
            if under_way >= proc[at.IN_FLIGHT]:
                q[F_BLOCKED] = 1
                return
        send_batch(w, now, i, p)


@compiled
def send_batch(w: Sending, now: int, i: int, p: int) -> None:
    """Put the oldest events of a queue into a request of their own, and hand it to the leader's connection."""
    q, proc, b = w.queue[i, p], w.proc[i], w.leads[p]
    c = w.link[i, b]
    head = q[F_HEAD]
    count, size, last = 1, w.size[head], head
    while count < q[F_COUNT] and count < proc[at.BATCH_EVENTS]:
        e = w.following[last]
        if size + w.size[e] > proc[at.BATCH_BYTES]:
            break
        size += w.size[e]
        count += 1
        last = e
    q[F_HEAD] = w.following[last]
    w.following[last] = NONE
    q[F_COUNT] -= count
    q[F_BYTES] -= size
    q[F_UNDER_WAY] += count
    c[L_UNANSWERED] += 1
    r = w.s[S_REQUESTS] % w.request.shape[0]
    w.s[S_REQUESTS] += 1
    batch = w.request[r]
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
        put(w, max(now, c[L_FREE_NS]), at.SERVICE, i, b, i, b)


@compiled
def serve(w: Sending, now: int, i: int, b: int) -> None:
    """Begin the next request of an idle connection; what becomes of it is known then."""
    c, proc = w.link[i, b], w.proc[i]
    r = c[L_HEAD]
    batch = w.request[r]
    c[L_HEAD] = batch[B_NEXT]
    n = c[L_SERVED]
    c[L_SERVED] = n + 1
    per_size_us = w.costs[0] * batch[B_BYTES] / 1024 + w.costs[1] * batch[B_COUNT]
    duration = w.produce[i, b, n] + np.int64(np.rint(1000 * per_size_us))
    p = batch[B_PART]
    appended_ns = max(now + min(w.leader[i, b, n], duration), w.last_appended[p])
    visible_ns = max(now + duration, w.last_visible[p])
    w.last_appended[p] = appended_ns
    w.last_visible[p] = visible_ns
    e = batch[B_HEAD]
    for _ in range(batch[B_COUNT]):
        w.offset[e] = w.log_end[p]
        w.log_end[p] += 1
        w.appended[w.s[S_APPENDED]] = e
        w.s[S_APPENDED] += 1
        w.visible[e] = visible_ns
        e = w.following[e]
    c[L_FREE_NS] = visible_ns if proc[at.ACKS] == at.ACKS_ALL else appended_ns
    answer_ns = max(c[L_FREE_NS] + w.acknowledge[i, b, n], c[L_LAST_ANSWER])
    c[L_LAST_ANSWER] = answer_ns
    if answer_ns - batch[B_MADE] >= min(proc[at.REQUEST_NS], proc[at.ACKS_NS]):
        w.s[S_PROBLEM] = TIMED_OUT
    put(w, answer_ns, at.END, 0, 0, r, 0)
    c[L_EXPECTED] = 0
    if c[L_HEAD] != NONE:
        c[L_EXPECTED] = 1
        put(w, c[L_FREE_NS], at.SERVICE, i, b, i, b)


@compiled
def answer(w: Sending, now: int, r: int) -> None:
    """Tell a process what became of a request; what waited for that goes on."""
    batch = w.request[r]
    i, p = batch[B_SENDER], batch[B_PART]
    proc = w.proc[i]
    w.queue[i, p, F_UNDER_WAY] -= batch[B_COUNT]
    w.link[i, batch[B_BROKER], L_UNANSWERED] -= 1
    e = batch[B_HEAD]
    if now - w.handed[e] >= proc[at.DELIVERY_NS]:
        w.s[S_PROBLEM] = TIMED_OUT
    for _ in range(batch[B_COUNT]):
        w.acked[e] = now
        w.sender[i, T_HELD] -= 1
        w.sender[i, T_HELD_BYTES] -= w.size[e]
        e = w.following[e]
    if proc[at.IN_FLIGHT] == NONE:
        return
    first, end = p, p + 1
    if not proc[at.IDEMPOTENT]:
        first, end = proc[at.FIRST_PART], proc[at.FIRST_PART] + proc[at.PARTS]
    for other in range(first, end):
        if w.queue[i, other, F_BLOCKED]:
            w.queue[i, other, F_BLOCKED] = 0
            put(w, now, at.BATCH, i, other, i, other)


# ---- members ---------------------------------------------------------------------------------------------------------

# per member and broker
(G_NEXT, G_END, G_PARKED_NS, G_FETCHED, G_FROM, G_TO, G_ARRIVES_NS, N_LANE) = range(8)
# per member
(M_RETURNS, M_DUE, M_WAKES, M_TRIES, M_COMMITS, M_RECORDED_NS, M_COMMITTED_NS, M_DONE, M_CAME, M_NOW, M_BEGUN,
 N_READER) = range(12)  # fmt: skip
# of a group
(C_ROWS, C_PROBLEM, C_LARGEST_BYTES, C_MEMBER, N_READING) = range(5)
# per commit and partition
(K_ENDED_NS, K_PART, K_OFFSET, K_BEGUN_NS, N_COMMIT_ROW) = range(5)

_SHORT = 24
"""Up to so many records of an answer are sorted by insertion."""


class Reading(NamedTuple):
    """All that the members of a group need, and what becomes of what they read.

    Records stand by member and broker, and in each of these lanes by the instant at which they can be read (`seen`).
    """

    s: Ints
    group: Ints
    """The group's settings, as in a world."""
    times: Ints
    lane: Ints
    reader: Ints
    own: Ints
    """The partitions of each member, from `own_first` on."""
    own_first: Ints
    given: Ints
    finished: Ints
    asked: Ints
    came: Ints
    """The records in the order in which they came into their member's queue."""
    seen: Ints
    event: Ints
    part: Ints
    work: Ints
    delivered: Ints
    effect: Ints
    commits: Ints
    fetch: Ints
    turnaround: Ints
    wake: Ints
    overshoot: Ints
    commit_time: Ints


@entry
def lay_out(appended: Ints, part: Ints, visible: Ints, lane_of: Ints, first: Ints, ends: Ints, laid: Ints) -> None:
    """Put records into their partition's lane, in the order in which they can be read; ties as in the log.

    They come in the order of appends, which is nearly that one. `ends` begins as `first`, and ends as the lanes' ends.
    """
    for e in appended:
        lane = lane_of[part[e]]
        if lane == NONE:
            continue
        place, seen_ns = ends[lane], visible[e]
        ends[lane] = place + 1
        while place > first[lane] and visible[laid[place - 1]] > seen_ns:
            laid[place] = laid[place - 1]
            place -= 1
        laid[place] = e


@entry
def read_all(w: Reading) -> None:
    """Let the members of a group read everything: when each event is delivered and has its effect, and what is committed when.

    Where random inputs run out it stops, and goes on when it is called again with more of them.
    """
    s = w.s
    while s[C_MEMBER] < w.reader.shape[0]:
        m = s[C_MEMBER]
        if not w.reader[m, M_BEGUN]:
            w.reader[m, M_BEGUN] = 1
            for b in range(w.lane.shape[1]):
                fetch_next(w, m, b)
        read(w, m)
        if s[C_PROBLEM] != 0:
            return
        s[C_MEMBER] += 1


@compiled
def read(w: Reading, m: int) -> None:
    """Let one member call, wait, work and commit until nothing comes any more."""
    member, group = w.reader[m], w.group
    mode, interval = group[at.MODE], group[at.INTERVAL]
    now: int = member[M_NOW]
    while True:
        member[M_NOW] = now
        next_ns = arrive(w, m, now)
        waiting = member[M_CAME] - member[M_DONE]
        if (
            member[M_WAKES] >= w.wake.shape[1]
            or member[M_COMMITS] + min(waiting, group[at.MAX_POLL]) + 2 > w.commit_time.shape[1]
        ):
            w.s[C_PROBLEM] = SHORT
        if w.s[C_PROBLEM] == SHORT:
            return
        if interval > 0:
            commit_if_due(w, m, now)
        if member[M_RETURNS] == NEVER and waiting > 0:
            member[M_RETURNS] = now + w.wake[m, member[M_WAKES]]
            member[M_WAKES] += 1
        if member[M_RETURNS] <= now and waiting > 0:
            now = handle_batch(w, m, now, min(waiting, group[at.MAX_POLL]))
            member[M_RETURNS] = now
            continue
        if member[M_RETURNS] <= now:
            member[M_RETURNS] = NEVER
        following = min(next_ns, member[M_RETURNS])
        # Where nothing comes any more, what is done is committed when that is due.
        if following == NEVER and (interval == 0 or not is_something_new(w, m, mode == at.AUTO)):
            return
        if interval > 0:
            following = min(following, member[M_DUE])
        now = following


@compiled
def fetch_next(w: Reading, m: int, b: int) -> None:
    """Answer a member's next fetch at a broker with all that is visible then, and park the one after it; or none, if nothing comes."""
    f, seen = w.lane[m, b], w.seen
    first = f[G_NEXT]
    f[G_FROM] = first
    if first == f[G_END]:
        f[G_ARRIVES_NS] = NEVER
        return
    answered_ns = max(f[G_PARKED_NS], seen[first])
    last = first + 1
    while last < f[G_END] and seen[last] <= answered_ns:
        last += 1
    if (last - first) * w.s[C_LARGEST_BYTES] > w.group[at.PART_BYTES]:
        w.s[C_PROBLEM] = FULL_ANSWER
    n = f[G_FETCHED]
    f[G_FETCHED] = n + 1
    f[G_NEXT] = last
    f[G_TO] = last
    f[G_ARRIVES_NS] = answered_ns + w.fetch[m, b, n]
    f[G_PARKED_NS] = f[G_ARRIVES_NS] + w.turnaround[m, b, n]


@compiled
def arrive(w: Reading, m: int, until_ns: int) -> int:
    """Put everything that arrives up to an instant into the member's queue; return when the next answer arrives."""
    while True:
        b, first_ns = NONE, NEVER
        for other in range(w.lane.shape[1]):
            if w.lane[m, other, G_ARRIVES_NS] < first_ns:
                b, first_ns = other, w.lane[m, other, G_ARRIVES_NS]
        if b == NONE or first_ns > until_ns:
            return first_ns
        if w.lane[m, b, G_FETCHED] >= w.fetch.shape[2]:
            w.s[C_PROBLEM] = SHORT
            return first_ns
        queue_up(w, m, w.lane[m, b, G_FROM], w.lane[m, b, G_TO])
        fetch_next(w, m, b)


@compiled
def queue_up(w: Reading, m: int, begin: int, end: int) -> None:
    """Put an answer's records into the member's queue: by partition, and in each as in its log."""
    came, part = w.came, w.part
    place = w.reader[m, M_CAME]
    w.reader[m, M_CAME] = place + end - begin
    if end - begin <= _SHORT:
        for n in range(begin, end):
            here = place + n - begin
            while here > place and part[came[here - 1]] > part[n]:
                came[here] = came[here - 1]
                here -= 1
            came[here] = n
        return
    here = place
    for k in range(w.own_first[m], w.own_first[m + 1]):
        for n in range(begin, end):
            if part[n] == w.own[k]:
                came[here] = n
                here += 1


@compiled
def handle_batch(w: Reading, m: int, delivery_ns: int, count: int) -> int:
    """Work on a batch from its delivery on; return when the member calls again."""
    member, mode, interval = w.reader[m], w.group[at.MODE], w.group[at.INTERVAL]
    first = member[M_DONE]
    member[M_DONE] = first + count
    for n in range(first, first + count):
        w.delivered[w.event[w.came[n]]] = delivery_ns
        w.given[w.part[w.came[n]]] += 1
    now: int = delivery_ns + w.times[1]
    if mode == at.BEFORE_WORK:
        now = commit(w, m, now, True)
    for n in range(first, first + count):
        e = w.event[w.came[n]]
        now += max(w.work[e], w.times[0])
        recorded_ns = max(now + w.overshoot[m, member[M_TRIES]], member[M_RECORDED_NS])
        member[M_TRIES] += 1
        member[M_RECORDED_NS] = recorded_ns
        w.effect[e] = recorded_ns
        w.finished[w.part[w.came[n]]] += 1
        if mode == at.AFTER_EVENT:
            now = commit(w, m, now, False)
        elif interval > 0:
            commit_if_due(w, m, now)
    if mode == at.AFTER_BATCH:
        now = commit(w, m, now, False)
    if now - delivery_ns >= w.group[at.POLL_INTERVAL]:
        w.s[C_PROBLEM] = LATE_CALL
    return now


@compiled
def commit_if_due(w: Reading, m: int, now: int) -> None:
    """Commit what is done if the interval is over."""
    if now >= w.reader[m, M_DUE]:
        commit(w, m, now, w.group[at.MODE] == at.AUTO)
        w.reader[m, M_DUE] = now + w.group[at.INTERVAL]


@compiled
def is_something_new(w: Reading, m: int, of_given: bool) -> bool:
    """Whether a member has something to commit."""
    progress = w.given if of_given else w.finished
    for k in range(w.own_first[m], w.own_first[m + 1]):  # noqa: SIM110  # compiled: a generator would be an object
        if progress[w.own[k]] != w.asked[w.own[k]]:
            return True
    return False


@compiled
def commit(w: Reading, m: int, now: int, of_given: bool) -> int:
    """Begin a commit of what is new; return when it ends, or now if there is nothing."""
    if not is_something_new(w, m, of_given):
        return now
    progress, member = w.given if of_given else w.finished, w.reader[m]
    length = max(w.commit_time[m, member[M_COMMITS]], member[M_RECORDED_NS] - now)
    member[M_COMMITS] += 1
    ended_ns: int = max(now + length, member[M_COMMITTED_NS])
    member[M_COMMITTED_NS] = ended_ns
    for k in range(w.own_first[m], w.own_first[m + 1]):
        p = w.own[k]
        if progress[p] != w.asked[p]:
            w.asked[p] = progress[p]
            row = w.commits[w.s[C_ROWS]]
            w.s[C_ROWS] += 1
            row[K_ENDED_NS] = ended_ns
            row[K_PART] = p
            row[K_OFFSET] = progress[p]
            row[K_BEGUN_NS] = now
    return ended_ns
