"""Producers' connections: one produce request at a time, and what becomes of it."""

import numpy as np

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.cores import in_proportion, request_waits
from sim.kernel.links import crosses
from sim.kernel.logs import append
from sim.kernel.producers import (
    answered,
    backoff,
    expect_answer,
    forget_connection,
    given_up_ns,
    look_again,
    queue_again,
    refused_for_good,
)
from sim.kernel.quotas import mutes_after
from sim.kernel.resting import takes_longer
from sim.kernel.transactional import is_out_of_order
from sim.world import (
    ACKS,
    ACKS_0,
    ACKS_ALL,
    ACKS_NS,
    BATCH,
    BY_RESET,
    C_CURRENT,
    C_FAILURES,
    C_HEAD,
    C_HELD,
    C_HELD_LAST,
    C_LAST_ANSWER,
    C_NEW,
    C_SERVED,
    C_TAIL,
    C_TIMEOUT,
    C_UNANSWERED,
    CUT_OFF,
    END,
    HANGS_NS,
    HUNG_AT,
    IDEMPOTENT,
    IN_VAIN,
    JAVA,
    LAST_REQ,
    LEADER,
    NEVER,
    NEXT,
    NO_ANSWERS,
    NO_REQUESTS,
    NONE,
    NOW,
    OFFSET,
    ON_ANSWER,
    ON_APPENDED,
    ON_BATCH,
    ON_REFRESHED,
    ON_REFUSED,
    ON_SERVICE,
    Q_FAILURES,
    Q_RETRY_NS,
    R_APPENDED,
    R_BEFORE,
    R_BEGUN,
    R_BROKER,
    R_BYTES,
    R_COUNT,
    R_DONE,
    R_GONE,
    R_HEAD,
    R_HELD_BACK,
    R_LEAD,
    R_MADE,
    R_MATE,
    R_N,
    R_NEXT,
    R_PART,
    R_REPLICATED,
    R_SENDER,
    R_STALE,
    R_WAITS,
    SERVICE,
    SILENT,
    SILENTLY,
    STALE_END,
    STALE_UNTIL,
    TIMEOUT,
    TOO_FEW,
    WITH_TOO_FEW,
    World,
    push,
)


@compiled
def serve(w: World, i: int, b: int) -> None:
    """Begin the next request of an idle connection."""
    s, c = w.scalars, w.conn[i, b]
    lead = c[C_HEAD]
    if c[C_CURRENT] != NONE or lead == NONE or w.broker[b, SILENT] or not hears(w, i, b):
        return
    begins_ns = max(w.request[lead, at.R_CAME_NS], c[at.C_MUTED_NS])
    if begins_ns > s[NOW]:
        push(w, begins_ns, SERVICE, i, b, ON_SERVICE, i, b, 0)
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
    leader_ns = min(w.leader[i, b, n], duration)
    rested_ns = takes_longer(w.rest, w.asked, b, s[NOW])
    leader_ns += in_proportion(rested_ns, leader_ns, duration)
    duration += rested_ns
    if len(w.cores) > 0:
        waits_ns = request_waits(w, lead, w.produce[i, b, n], duration - leader_ns)
        leader_ns += in_proportion(waits_ns, leader_ns, duration)
        duration += waits_ns
    refused = False
    r = lead
    while r != NONE:
        if not w.request[r, R_GONE]:
            p = w.request[r, R_PART]
            if w.part[p, LEADER] != b:
                refused = append_in_vain(w, r, leader_ns) or refused
            elif (w.part[p, TOO_FEW] and w.proc[i, ACKS] == ACKS_ALL) or is_too_large(w, r) or is_out_of_order(w, i, p):
                too_few = w.part[p, TOO_FEW] and w.proc[i, ACKS] == ACKS_ALL
                for_good = at.TOO_LARGE if is_too_large(w, r) else at.OUT_OF_ORDER
                w.request[r, R_STALE] = WITH_TOO_FEW if too_few else for_good
                w.request[r, R_APPENDED] = HANGS_NS
                refused = True
            else:
                append(w, r, leader_ns, duration, w.proc[i, IDEMPOTENT] == 1)
        r = w.request[r, R_MATE]
    if refused:
        push(w, s[NOW] + leader_ns, END, 0, 0, ON_REFUSED, lead, 0, 0)
    if w.proc[i, ACKS] != ACKS_ALL:
        expect_append(w, lead)
    else:
        expect_answer(w, i, b, s[NOW] + w.proc[i, ACKS_NS])


@compiled
def is_too_large(w: World, r: int) -> bool:
    """Whether a topic does not take a producer's batch; of the Java client those of several records are not too large (`sim.refuse`)."""
    request = w.request[r]
    if request[R_SENDER] >= w.scalars[at.PRODUCERS]:
        return False
    size = request[R_BYTES] + at.FRAMED_BATCH + at.FRAMED_RECORD
    is_alone = request[R_COUNT] == 1 or not w.proc[request[R_SENDER], JAVA]
    return is_alone and size > w.part[request[R_PART], at.MOST_BATCH]


@compiled
def hears(w: World, i: int, b: int) -> bool:
    """Return whether a process's requests reach a broker; a connection begun while no answers come is never set up."""
    how = w.broker[b, CUT_OFF]
    return how == 0 or (how == NO_ANSWERS and not w.conn[i, b, C_NEW])


@compiled
def append_in_vain(w: World, r: int, leader_ns: int) -> bool:
    """Take a batch into the log of a broker that only takes itself for the leader; return whether it knows better.

    What it acknowledges with acks=1 is lost: it will cut its log back to the real leader's.
    """
    s, request, event = w.scalars, w.request[r], w.event
    i, p = request[R_SENDER], request[R_PART]
    request[R_STALE] = IN_VAIN
    if s[NOW] >= w.broker[request[R_BROKER], STALE_UNTIL] or w.part[p, LEADER] == NONE:
        request[R_APPENDED] = HANGS_NS
        return True
    request[R_APPENDED] = s[NOW] + leader_ns
    if w.proc[i, ACKS] != ACKS_ALL:
        e = request[R_HEAD]
        for _ in range(request[R_COUNT]):
            event[e, OFFSET] = w.part[p, STALE_END]
            w.part[p, STALE_END] += 1
            e = event[e, NEXT]
    return False


@compiled
def expect_append(w: World, lead: int) -> None:
    """Look at a request with acks=1 or 0 when the last of its batches is appended."""
    due_ns = w.scalars[NOW]
    r = lead
    while r != NONE:
        if not w.request[r, R_GONE]:
            due_ns = max(due_ns, w.request[r, R_APPENDED])
        r = w.request[r, R_MATE]
    if due_ns < HANGS_NS:
        push(w, due_ns, END, 0, 0, ON_APPENDED, lead, due_ns, 0)


@compiled
def all_appended(w: World, lead: int, due_ns: int) -> None:
    """Answer a request with acks=1 or 0 unless its broker hangs, or refuses some of it."""
    r = lead
    while r != NONE:
        if not w.request[r, R_GONE] and w.request[r, R_APPENDED] > due_ns:
            return
        r = w.request[r, R_MATE]
    free_connection(w, lead)


@compiled
def refuse(w: World, lead: int, is_deposed: bool) -> None:
    """Refuse of the request in service, if it is still that, what was not appended, and where the broker was deposed what was in vain.

    A broker that hangs or cannot be reached says so when that is over.
    """
    i, b = w.request[lead, R_SENDER], w.request[lead, R_BROKER]
    if w.conn[i, b, C_CURRENT] != lead:
        return
    if not is_deposed and (w.broker[b, SILENT] or w.broker[b, CUT_OFF] not in (0, NO_REQUESTS)):
        w.request[lead, R_HELD_BACK] = 1
        return
    r = lead
    while r != NONE:
        is_known = is_deposed or w.request[r, R_APPENDED] == HANGS_NS
        why = w.request[r, R_STALE]
        if not w.request[r, R_GONE] and (
            why in (WITH_TOO_FEW, at.TOO_LARGE, at.OUT_OF_ORDER) or (why == IN_VAIN and is_known)
        ):
            if why in (at.TOO_LARGE, at.OUT_OF_ORDER):
                refused_for_good(w, r)
            else:
                fail_batch(w, r)
            w.request[r, R_GONE] = 1
            w.request[lead, R_WAITS] -= 1
        r = w.request[r, R_MATE]
    end_if_done(w, lead)
    look_again(w, i)


@entry
def refuse_stale(w: World, b: int) -> None:
    """Let a broker learn that it leads nothing any more: it refuses what it has in service."""
    for i in range(w.proc.shape[0]):
        lead = w.conn[i, b, C_CURRENT]
        if lead == NONE:
            continue
        r = lead
        while r != NONE:
            if w.part[w.request[r, R_PART], LEADER] != b and not w.request[r, R_DONE]:
                w.request[r, R_STALE] = IN_VAIN
            r = w.request[r, R_MATE]
        refuse(w, lead, True)


@compiled
def end_if_done(w: World, lead: int) -> None:
    """End the request in service when nothing of it is left, or when what is left has been done."""
    i, b = w.request[lead, R_SENDER], w.request[lead, R_BROKER]
    is_left = False
    r = lead
    while r != NONE:
        is_left = is_left or not w.request[r, R_GONE]
        r = w.request[r, R_MATE]
    if not is_left:
        w.conn[i, b, C_CURRENT] = NONE
        if w.proc[i, ACKS] != ACKS_0:
            w.conn[i, b, C_UNANSWERED] -= 1
        go_on_serving(w, i, b)
    elif w.proc[i, ACKS] != ACKS_ALL:
        expect_append(w, lead)
    elif w.request[lead, R_WAITS] == 0:
        free_connection(w, lead)


@compiled
def fail_batch(w: World, r: int) -> None:
    """Let a process hear that a batch failed: it is sent again when the partition's wait is over; with acks=0 it does not hear it."""
    i, p = w.request[r, R_SENDER], w.request[r, R_PART]
    q = w.queue[i, p]
    if w.proc[i, ACKS] == ACKS_0:
        return
    queue_again(w, r)
    if w.proc[i, JAVA] and turns_to_new_leader(w, i, p, w.request[r, R_BROKER]):
        q[Q_FAILURES] += 1
        q[Q_RETRY_NS] = w.scalars[NOW]
        return
    if q[Q_RETRY_NS] > w.scalars[NOW]:
        return
    q[Q_RETRY_NS] = w.scalars[NOW] + backoff(w, i, q[Q_FAILURES])
    q[Q_FAILURES] += 1
    push(w, q[Q_RETRY_NS], BATCH, i, p, ON_BATCH, i, p, 0)
    if w.proc[i, JAVA]:
        w.knows[i, p] = 0
        push(w, q[Q_RETRY_NS], TIMEOUT, i, 0, ON_REFRESHED, i, 0, 0)


@compiled
def turns_to_new_leader(w: World, i: int, p: int, b: int) -> bool:
    """Let a process know that a partition is led by another broker than it sent to, and return whether it is: Java sends there without a backoff."""
    leader = w.part[p, LEADER]
    if leader in (NONE, b) or w.broker[leader, CUT_OFF] == BY_RESET:
        return False
    w.knows[i, p] = leader
    return True


@entry
def set_silent(w: World, b: int) -> None:
    """Let a broker hang: what it has not appended or replicated waits."""
    w.broker[b, SILENT] = 1
    for p in range(w.part.shape[0]):
        if w.part[p, LEADER] == b:
            w.part[p, HUNG_AT] = b
            r = w.part[p, LAST_REQ]
            while r != NONE and w.request[r, R_REPLICATED] > w.scalars[NOW]:
                if w.request[r, R_APPENDED] > w.scalars[NOW]:
                    w.request[r, R_APPENDED] += HANGS_NS
                w.request[r, R_REPLICATED] += HANGS_NS
                r = w.request[r, R_BEFORE]


@entry
def end_silence(w: World, b: int, length_ns: int) -> None:
    """Let a broker go on where it was."""
    w.broker[b, SILENT] = 0
    for p in range(w.part.shape[0]):
        if w.part[p, HUNG_AT] == b:
            w.part[p, HUNG_AT] = 0
            r = w.part[p, LAST_REQ]
            while r != NONE and w.request[r, R_REPLICATED] >= HANGS_NS:
                go_on_appending(w, r, length_ns)
                r = w.request[r, R_BEFORE]
    for i in range(w.proc.shape[0]):
        lead = w.conn[i, b, C_CURRENT]
        r = lead
        while r != NONE:
            go_on_appending(w, r, length_ns)
            r = w.request[r, R_MATE]
        if lead != NONE and w.proc[i, ACKS] != ACKS_ALL:
            expect_append(w, lead)
        say_what_was_held_back(w, lead)
        go_on_serving(w, i, b)


@compiled
def go_on_appending(w: World, r: int, length_ns: int) -> None:
    """Let what a hanging broker had not done with a batch be done so much later."""
    if w.request[r, R_STALE]:
        return
    if w.request[r, R_APPENDED] >= HANGS_NS:
        w.request[r, R_APPENDED] += length_ns - HANGS_NS
    if w.request[r, R_REPLICATED] >= HANGS_NS:
        w.request[r, R_REPLICATED] += length_ns - HANGS_NS


@entry
def cut_off(w: World, b: int, how: int) -> None:
    """Let no client reach a broker: silently, so that everything on its connections waits, one way or both, or by resets."""
    w.broker[b, CUT_OFF] = how
    for i in range(w.proc.shape[0]):
        w.conn[i, b, C_NEW] = 0
    if how == BY_RESET:
        break_connections(w, b)


@entry
def reconnect(w: World, b: int) -> None:
    """Let clients reach a broker again: what it has done meanwhile is answered now."""
    w.broker[b, CUT_OFF] = 0
    for i in range(w.proc.shape[0]):
        let_answers_through(w, i, b)
        lead = w.conn[i, b, C_CURRENT]
        if lead == NONE:
            go_on_serving(w, i, b)
        elif w.proc[i, ACKS] != ACKS_ALL:
            expect_append(w, lead)
        elif w.request[lead, R_WAITS] == 0:
            free_connection(w, lead)
        say_what_was_held_back(w, lead)


@compiled
def let_answers_through(w: World, i: int, b: int) -> None:
    """Let the answers that a connection holds be on their way."""
    c = w.conn[i, b]
    lead = c[C_HELD]
    c[C_HELD] = c[C_HELD_LAST] = NONE
    while lead != NONE:
        following = w.request[lead, R_NEXT]
        w.request[lead, R_NEXT] = NONE
        answer(w, lead)
        lead = following


@compiled
def say_what_was_held_back(w: World, lead: int) -> None:
    """Let a broker that hung or could not be reached refuse what it would have refused meanwhile."""
    if lead != NONE and w.request[lead, R_HELD_BACK]:
        w.request[lead, R_HELD_BACK] = 0
        push(w, w.scalars[NOW], END, 0, 0, ON_REFUSED, lead, 0, 0)


@entry
def told(w: World, i: int, b: int) -> None:
    """Let a process that took a broker for the leader of partitions know who leads them, if anyone does."""
    for p in range(w.queue.shape[1]):
        if w.knows[i, p] == b:
            w.knows[i, p] = max(w.part[p, LEADER], 0)
    look_again(w, i)


@compiled
def all_visible(w: World, r: int) -> None:
    """Note that a batch is visible; its request is answered when all of its batches are, by who led the partition then."""
    if w.request[r, R_GONE] or w.part[w.request[r, R_PART], LEADER] != w.request[r, R_BROKER]:
        return
    lead = w.request[r, R_LEAD]
    if w.scalars[at.AFTER_APPEND] and w.part[w.request[r, R_PART], TOO_FEW] and is_for_all(w, lead):
        w.request[r, R_STALE] = WITH_TOO_FEW
        refuse(w, lead, False)
        return
    w.request[r, R_DONE] = 1
    w.request[lead, R_WAITS] -= 1
    if w.request[lead, R_WAITS] == 0 and w.proc[w.request[r, R_SENDER], ACKS] == ACKS_ALL:
        free_connection(w, lead)


@compiled
def is_for_all(w: World, lead: int) -> bool:
    """Return whether a request is in service that all in sync must have before it is answered."""
    i, b = w.request[lead, R_SENDER], w.request[lead, R_BROKER]
    return w.conn[i, b, C_CURRENT] == lead and w.proc[i, ACKS] == ACKS_ALL


@compiled
def free_connection(w: World, r: int) -> None:
    """Let a connection answer its request and take the next."""
    s, request = w.scalars, w.request[r]
    i, b = request[R_SENDER], request[R_BROKER]
    c = w.conn[i, b]
    how = w.broker[b, CUT_OFF]
    if c[C_CURRENT] != r or how in (SILENTLY, BY_RESET):
        return
    c[C_CURRENT] = NONE
    c[at.C_MUTED_NS] = s[NOW] + mutes_after(w, r)
    if w.proc[i, ACKS] != ACKS_0:
        if how == NO_ANSWERS:
            hold_answer(w, c, r)
        else:
            answer(w, r)
    go_on_serving(w, i, b)


@compiled
def answer(w: World, r: int) -> None:
    """Let the answer to a request be on its way, behind those before it."""
    s, request = w.scalars, w.request[r]
    i, b = request[R_SENDER], request[R_BROKER]
    c = w.conn[i, b]
    crossing_ns = crosses(w, b, at.FROM_BROKER, 0, i, at.LINK_ANSWER, request[R_N])
    answer_ns = max(s[NOW] + w.acknowledge[i, b, request[R_N]] + crossing_ns, c[C_LAST_ANSWER])
    c[C_LAST_ANSWER] = answer_ns
    push(w, answer_ns, END, 0, 0, ON_ANSWER, r, 0, 0)


@compiled
def hold_answer(w: World, c: at.Ints, r: int) -> None:
    """Keep an answer for which there is no way back."""
    if c[C_HELD] == NONE:
        c[C_HELD] = r
    else:
        w.request[c[C_HELD_LAST], R_NEXT] = r
    c[C_HELD_LAST] = r


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
    oldest = oldest_unanswered(c)
    if oldest != NONE and given_up_ns(w, i, b, w.request[oldest, R_MADE]) <= s[NOW]:
        disconnect(w, i, b)
        return
    waits = c[C_CURRENT] != NONE and proc[ACKS] == ACKS_ALL
    if waits and w.request[c[C_CURRENT], R_BEGUN] + proc[ACKS_NS] <= s[NOW]:
        fail(w, c[C_CURRENT])
    elif waits:
        expect_answer(w, i, b, w.request[c[C_CURRENT], R_BEGUN] + proc[ACKS_NS])
    oldest = oldest_unanswered(c)
    if oldest != NONE:
        expect_answer(w, i, b, given_up_ns(w, i, b, w.request[oldest, R_MADE]))


@compiled
def oldest_unanswered(c: at.Ints) -> int:
    """Return a connection's oldest request whose answer is not on its way, or NONE."""
    if c[C_HELD] != NONE:
        return c[C_HELD]
    return c[C_CURRENT] if c[C_CURRENT] != NONE else c[C_HEAD]


@compiled
def disconnect(w: World, i: int, b: int) -> None:
    """Give up on a silent broker: everything is sent again, when the client has asked who leads what it led."""
    s, c = w.scalars, w.conn[i, b]
    break_connection(w, i, b)
    for p in range(w.queue.shape[1]):
        if w.knows[i, p] == b and not (w.proc[i, JAVA] and turns_to_new_leader(w, i, p, b)):
            w.knows[i, p] = 0
    push(w, s[NOW] + backoff(w, i, c[C_FAILURES]), TIMEOUT, i, 0, ON_REFRESHED, i, 0, 0)
    c[C_FAILURES] += 1


@compiled
def fail(w: World, lead: int) -> None:
    """Answer the request in service with an error for what is not visible of it: that is sent again after a while."""
    i, b = w.request[lead, R_SENDER], w.request[lead, R_BROKER]
    w.conn[i, b, C_CURRENT] = NONE
    w.conn[i, b, C_UNANSWERED] -= 1
    go_on_serving(w, i, b)
    r = lead
    while r != NONE:
        if w.request[r, R_DONE] and not w.request[r, R_GONE]:
            answered(w, r)
        elif not w.request[r, R_GONE]:
            fail_batch(w, r)
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
            if w.request[r, R_PART] == p and not w.request[r, R_DONE]:
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
    if c[C_HELD] != NONE:
        w.request[c[C_HELD_LAST], R_NEXT] = lead
        lead = c[C_HELD]
    forget_connection(c)
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
