"""The loop over the heap of what happens next."""

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.commits import commit_soon, commit_timed
from sim.kernel.connections import all_appended, refuse, serve, time_out
from sim.kernel.dependencies import calls_go_on, look, served
from sim.kernel.emits import emitted, relay, relayed
from sim.kernel.fetches import arrived, due, fetched, turned
from sim.kernel.polls import collected, late, poll
from sim.kernel.producers import all_answered, expire, hand_over, is_put_off, make_batches, refreshed
from sim.kernel.replays import has_pool
from sim.kernel.shares import lock_over
from sim.kernel.stable import has_holes
from sim.kernel.transactional import abort_left, commit_ends, commit_heard
from sim.kernel.visibility import timed
from sim.kernel.work import begin_batch, begin_event, begin_try, flushed, handled, recorded, send_dead_letter, tried
from sim.world import (
    C_HEAD,
    C_SERVED,
    COMMITS,
    DEAD_LETTERS,
    DL_PART,
    FETCHED,
    FIRST_PART,
    HEAP,
    ITEMS,
    JAVA,
    LIFE,
    LOG_LEN,
    MOST,
    N_COMMITS,
    NONE,
    NOW,
    ON_ANSWER,
    ON_APPENDED,
    ON_ARRIVAL,
    ON_BATCH,
    ON_BEGIN,
    ON_COMMITTED,
    ON_DEAD_LETTER,
    ON_EXPIRY,
    ON_FETCH,
    ON_HAND_OVER,
    ON_HANDLED,
    ON_LATE,
    ON_POLL,
    ON_RECORDED,
    ON_REFRESHED,
    ON_REFUSED,
    ON_SERVICE,
    ON_TIMEOUT,
    ON_TRIED,
    ON_TRY,
    ON_TURNED,
    ON_VISIBLE,
    OPEN,
    PARTS,
    Q_COUNT,
    R_COUNT,
    R_MATE,
    R_PART,
    R_SENDER,
    REACHED,
    REQUESTS,
    RETRIES,
    RING_COUNT,
    RING_EVENTS,
    ROWS,
    SHORT,
    TRIES,
    WAKES,
    WANT,
    WHY,
    World,
    pop,
    push,
)


@compiled
def is_short(w: World) -> bool:
    """Whether the next thing on the heap might find too little room; WANT says of what."""
    s = w.scalars
    parts, brokers = w.mp.shape[1], w.conn.shape[1]
    members = w.member.shape[0] + w.proc.shape[0]
    if s[HEAP] + 64 + 4 * (members + 1) * (parts + 1) + members * brokers > w.heap.shape[0]:
        s[WANT] = at.WANT_HEAP
    elif s[REQUESTS] + 64 > w.request.shape[0]:
        s[WANT] = at.WANT_REQUESTS
    elif s[ROWS] + parts * 4 + 64 > w.rows.shape[0]:
        s[WANT] = at.WANT_ROWS
    elif s[COMMITS] + 8 > w.commit.shape[0]:
        s[WANT] = at.WANT_COMMITS
    elif s[ITEMS] + 8 * parts + s[MOST] + 8 > w.item.shape[0]:
        s[WANT] = at.WANT_ITEMS
    else:
        s[WANT] = short_of(w)
    return s[WANT] != at.WANT_NOTHING


@compiled
def short_of(w: World) -> int:
    """Return which random input, log or queue the next thing would exhaust, or WANT_NOTHING."""
    what, a, b = w.heap[0, 3], w.heap[0, 4], w.heap[0, 5]
    if what == ON_HAND_OVER:
        return short_of_transactions(w)
    if what == ON_BATCH:
        count = queued(w, a, b)
        if w.scalars[REQUESTS] + count + 64 > w.request.shape[0]:
            return at.WANT_REQUESTS
        if w.scalars[HEAP] + count + 64 > w.heap.shape[0]:
            return at.WANT_HEAP
    elif what == ON_SERVICE:
        if w.conn[a, b, C_SERVED] >= w.produce.shape[2]:
            return at.WANT_SERVICES
        r = w.conn[a, b, C_HEAD]
        while r != NONE:
            if w.part[w.request[r, R_PART], LOG_LEN] + w.request[r, R_COUNT] > w.log.shape[1]:
                return at.WANT_LOGS
            r = w.request[r, R_MATE]
    elif what == ON_DEAD_LETTER:
        if w.part[w.worker[a, DL_PART], LOG_LEN] + 1 > w.log.shape[1]:
            return at.WANT_LOGS
    elif what == ON_FETCH:
        if w.mb[a, b, FETCHED] >= w.fetch.shape[2]:
            return at.WANT_FETCHES
        if w.scalars[at.ACQUISITIONS] + w.mp.shape[1] >= w.acquisition.shape[0]:
            return at.WANT_ACQUISITIONS
    elif what == at.ON_DUE:
        stretches = w.mp[a, b, at.HELD_TO] - w.mp[a, b, at.HELD_FROM] if has_holes(w) else 1
        return at.WANT_RING if w.member[a, RING_COUNT] + stretches >= w.ring.shape[1] else at.WANT_NOTHING
    elif what == ON_ARRIVAL:
        stretches = w.mp.shape[1]
        for p in range(w.mp.shape[1] if has_holes(w) else 0):
            stretches += w.answer[a, b, p, at.A_TO] - w.answer[a, b, p, at.A_FROM]
        if w.member[a, RING_COUNT] + stretches >= w.ring.shape[1]:
            return at.WANT_RING
    elif what == ON_BEGIN and w.scalars[at.TXNS] + 1 >= w.txn.shape[0]:
        return at.WANT_TXNS
    elif what == ON_POLL:
        if w.member[a, WAKES] >= w.wake.shape[1]:
            return at.WANT_WAKES
        if min(w.scalars[MOST], w.member[a, RING_EVENTS]) > w.hand.shape[1]:
            return at.WANT_HAND
        group = w.group[w.member[a, at.GROUP]]
        if has_pool(w, a) and group[at.IN_HAND] > w.hand.shape[1]:
            return at.WANT_HAND
        if w.scalars[ROWS] + min(w.scalars[MOST], w.member[a, RING_EVENTS]) + 64 > w.rows.shape[0]:
            return at.WANT_ROWS
    elif what in (at.ON_CALL, at.ON_LOOK):
        return short_of_calls(w, what, a)
    elif what in (ON_TRIED, at.ON_HEARD, at.ON_GIVES_UP):
        if w.member[b, TRIES] >= w.overshoot.shape[1] or w.member[b, DEAD_LETTERS] >= w.dead_letter.shape[1]:
            return at.WANT_TRIES
    elif what == ON_TIMEOUT and w.proc[a, RETRIES] + w.proc[a, PARTS] >= w.retry.shape[1]:
        return at.WANT_RETRIES
    elif what == ON_RECORDED:
        wanted = short_of_emits(w, a, b)
        if wanted:
            return wanted
    elif what == at.ON_RELAY:
        return at.WANT_HEAP if w.scalars[HEAP] + w.proc[a, at.BOX_COUNT] + 64 > w.heap.shape[0] else at.WANT_NOTHING
    elif what in (at.ON_EMITTED, at.ON_RELAYED):
        return at.WANT_EMIT_STICKY if w.proc[a, at.CHOICES] >= w.emit_sticky.shape[1] else at.WANT_NOTHING
    elif what == ON_REFUSED:
        i = w.request[a, R_SENDER]
        if w.proc[i, RETRIES] + w.proc[i, PARTS] >= w.retry.shape[1]:
            return at.WANT_RETRIES
    if ON_POLL <= what < ON_EXPIRY and what not in (ON_COMMITTED, at.ON_LOCK):
        m = a if what == ON_POLL else b
        if w.member[m, N_COMMITS] + 4 >= w.commit_time.shape[1]:
            return at.WANT_COMMIT_TIMES
    return at.WANT_NOTHING


@compiled
def short_of_transactions(w: World) -> int:
    """Return what a further transaction of a producer would exhaust, or WANT_NOTHING."""
    following = w.scalars[at.TXNS] + 1
    if following >= w.txn.shape[0]:
        return at.WANT_TXNS
    if w.producer_commit.shape[0] and following >= w.producer_commit.shape[1]:
        return at.WANT_PRODUCER_COMMITS
    return at.WANT_NOTHING


@compiled
def queued(w: World, i: int, p: int) -> int:
    """Return how many events a look at a queue may put into requests: of all of the process's queues with the Java client."""
    if not w.proc[i, JAVA]:
        return w.queue[i, p, Q_COUNT]
    count = w.proc[i, PARTS]
    for other in range(w.proc[i, FIRST_PART], w.proc[i, FIRST_PART] + w.proc[i, PARTS]):
        count += w.queue[i, other, Q_COUNT]
    return count


@compiled
def short_of_calls(w: World, what: int, a: int) -> int:
    """Return what a call, or a dependency's look at its line, would exhaust, or WANT_NOTHING."""
    s, d = w.scalars, a
    if what == at.ON_CALL:
        m = w.worker[a, at.WK_MEMBER]
        d = w.group_call[w.member[m, at.GROUP], w.worker[a, at.WK_CALL], at.GC_DEPENDENCY]
        if s[at.FREE_CALL] == NONE and s[at.USED_CALLS] >= w.calling.shape[0]:
            return at.WANT_CALLINGS
        if w.member[m, DEAD_LETTERS] >= w.dead_letter.shape[1]:
            return at.WANT_TRIES
        if w.member[m, N_COMMITS] + 2 >= w.commit_time.shape[1]:
            return at.WANT_COMMIT_TIMES
    waiting = w.dependency[d, at.D_WAITING] + 1
    if s[HEAP] + waiting + 64 > w.heap.shape[0]:
        return at.WANT_HEAP
    return at.WANT_TAKES if w.dependency[d, at.D_BEGUN] + waiting > w.takes.shape[1] else at.WANT_NOTHING


@compiled
def short_of_emits(w: World, row_number: int, m: int) -> int:
    """Return what a recorded effect that emits would exhaust, or WANT_NOTHING."""
    s, row = w.scalars, w.rows[row_number]
    g, v = row[at.O_GROUP], row[at.O_EVENT]
    if row[at.O_OUTCOME] or not w.group[g, at.EMITS]:
        return at.WANT_NOTHING
    if w.child_first[g, v] == NONE:
        return at.WANT_CHILDREN
    count = w.child_count[g, v]
    if s[at.SENDINGS] + count > w.event.shape[0]:
        return at.WANT_EVENTS
    if s[HEAP] + count + 64 > w.heap.shape[0]:
        return at.WANT_HEAP
    for child in range(w.child_first[g, v], w.child_first[g, v] + count):
        i = w.relay[g, w.identity[child, at.V_EMIT]]
        if i == NONE:
            i = w.member[m, at.FIRST_EMITTER] + w.identity[child, at.V_EMIT]
        if w.proc[i, at.NEXT_EVENT] + count > w.emit_send.shape[1]:
            return at.WANT_EMIT_SENDS
    return at.WANT_NOTHING


@compiled
def hangs(w: World, key: int, what: int, a: int, b: int, c: int) -> bool:
    """Whether something must wait because a member's process or application hangs; it is put off, and keeps its turn."""
    of_application = ON_POLL <= what <= ON_HANDLED or what in (
        at.ON_FLUSHED,
        at.ON_FIRST,
        at.ON_SOON,
        at.ON_CALL,
        at.ON_HEARD,
        at.ON_GIVES_UP,
        at.ON_DIES,
    )
    of_client = ON_ARRIVAL <= what <= ON_TURNED or what in (ON_DEAD_LETTER, ON_LATE, at.ON_DUE)
    if not of_application and not of_client:
        return False
    m = a if what <= ON_POLL or what in (ON_LATE, at.ON_DUE) else b
    member, now = w.member[m], w.scalars[NOW]
    until = max(member[at.PAUSED_NS], member[at.STALLED_NS]) if of_application else member[at.PAUSED_NS]
    if until <= now:
        return False
    if what == ON_POLL:
        if member[at.POLL_AT] != now:
            return True
        member[at.POLL_AT] = until
    push(w, until, key >> 48, (key >> 24) & 0xFFFFFF, key & 0xFFFFFF, what, a, b, c)
    return True


@compiled
def step_of_brokers(w: World, what: int, a: int, b: int, c: int) -> bool:
    """Do it if it concerns producers, their requests, or what members fetch; return whether it does."""
    if what == ON_HAND_OVER:
        hand_over(w, a, b)
    elif what == ON_BATCH:
        make_batches(w, a, b)
    elif what == ON_SERVICE:
        serve(w, a, b)
    elif what == ON_APPENDED:
        all_appended(w, a, b)
    elif what == ON_VISIBLE:
        timed(w, a, b)
    elif what == ON_ANSWER:
        all_answered(w, a)
    elif what == ON_FETCH:
        fetched(w, a, b)
    elif what == ON_ARRIVAL:
        arrived(w, a, b, c)
    elif what == ON_TURNED:
        turned(w, a, b, c)
    elif what == ON_EXPIRY:
        expire(w, a)
    elif what == ON_TIMEOUT:
        time_out(w, a, b)
    elif what == ON_REFRESHED:
        refreshed(w, a)
    elif what == ON_REFUSED:
        refuse(w, a, False)
    elif what == at.ON_TXN_ENDS:
        commit_ends(w, a, b, c)
    elif what == at.ON_TXN_HEARD:
        commit_heard(w, a, b)
    elif what == at.ON_TXN_LEFT:
        abort_left(w, b)
    else:
        return False
    return True


@compiled
def step_of_members(w: World, what: int, a: int, b: int, c: int) -> None:
    """Do what concerns members, their work and what that calls and sends."""
    if what == ON_POLL:
        poll(w, a)
    elif what == ON_RECORDED:
        recorded(w, a, b, c)
    elif what == ON_COMMITTED:
        commit_timed(w, a, b)
    elif what == ON_LATE:
        late(w, a)
    elif what == at.ON_EMITTED:
        emitted(w, a, b, c)
    elif what == at.ON_LOCK:
        lock_over(w, a)
    elif what == at.ON_DUE:
        due(w, a, b, c)
    elif what == at.ON_SERVED:
        served(w, a)
    elif what == at.ON_LOOK:
        look(w, a)
    elif what == at.ON_RELAY:
        relay(w, a)
    elif what == at.ON_RELAYED:
        relayed(w, a, b)
    elif w.member[b, LIFE] == c:
        if what == ON_BEGIN:
            begin_batch(w, a)
        elif what == at.ON_FIRST:
            begin_event(w, a)
        elif what == ON_TRY:
            begin_try(w, a)
        elif what == ON_TRIED:
            tried(w, a)
        elif what == ON_HANDLED:
            handled(w, a)
        elif what == at.ON_SOON:
            commit_soon(w, a)
        elif what == at.ON_FLUSHED:
            flushed(w, a)
        elif what in (at.ON_CALL, at.ON_HEARD, at.ON_GIVES_UP):
            calls_go_on(w, what, a)
        elif what == at.ON_DIES:
            w.scalars[WHY] = at.DIED
            w.scalars[at.WHO] = b
        else:
            send_dead_letter(w, a)


@compiled
def step(w: World) -> None:
    """Do the first thing on the heap."""
    s, heap = w.scalars, w.heap
    s[NOW] = heap[0, 0]
    what, a, b, c = heap[0, 3], heap[0, 4], heap[0, 5], heap[0, 6]
    key = heap[0, 1]
    pop(w)
    of_process = what <= ON_BATCH or what == ON_ANSWER or ON_EXPIRY <= what <= ON_REFRESHED or what == at.ON_TXN_HEARD
    if of_process and is_put_off(w, what, a, b):
        return
    if s[at.HANGING] and hangs(w, key, what, a, b, c):
        return
    if not step_of_brokers(w, what, a, b, c):
        step_of_members(w, what, a, b, c)


@entry
def has_in_hand(w: World) -> bool:
    """Whether a member has something in hand of what is committed before it is done (auto, before_work): a run does not end then."""
    for m in range(len(w.member)):
        member = w.member[m]
        group = w.group[member[at.GROUP]]
        if member[at.STATE] == at.IDLE or member[at.REPLAYS] or group[at.MODE] not in (at.AUTO, at.BEFORE_WORK):
            continue
        left = member[at.HELD] if has_pool(w, m) else member[at.BATCH_LEFT] + collected(w, m)
        for k in range(member[at.FIRST_WORKER], member[at.FIRST_WORKER] + group[at.WORKERS]):
            left += w.worker[k, at.WK_RECORDED_NS] > w.scalars[NOW]
        if left > 0:
            return True
    return False


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
        if s[OPEN] == 0 and s[NOW] >= earliest and time > s[NOW] and not has_in_hand(w):
            break
        if is_short(w):
            return SHORT
        s[WHY] = REACHED
        step(w)
        if s[WHY] != REACHED:
            return s[WHY]
    return REACHED
