"""Members' fetches, from parked to the member's queue, and when a member looks at it."""

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.links import crosses
from sim.kernel.rows import close
from sim.world import (
    A_FROM,
    A_OWNERSHIP,
    A_TO,
    ARRIVAL,
    CALLED,
    CODE,
    END,
    FETCH,
    FETCHED,
    GENERATION,
    LEADER,
    NEVER,
    NONE,
    NOW,
    ON_ARRIVAL,
    ON_FETCH,
    ON_POLL,
    OWNED,
    PARKED,
    POLL,
    POLL_AT,
    POLLING,
    POSITION,
    RETURNS,
    RG_CAME_NS,
    RG_FROM,
    RG_PART,
    RG_TO,
    RING_COUNT,
    RING_EVENTS,
    RING_HEAD,
    STATE,
    VISIBLE_END,
    World,
    push,
)


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
        if not mp[OWNED] or w.part[p, LEADER] != b or not w.knows[member[CODE], p]:
            continue
        if mp[POSITION] < w.part[p, at.LOG_START]:
            reset_position(w, m, p)
        if mp[POSITION] < w.part[p, VISIBLE_END]:
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
    size = answer_bytes(w, m, b) if w.link[b, at.FROM_BROKER, at.LK_BYTES_S] else 0
    crossing_ns = crosses(w, b, at.FROM_BROKER, size, member[CODE], at.LINK_FETCHED, n)
    push(w, s[NOW] + w.fetch[m, b, n] + crossing_ns, ARRIVAL, member[CODE], b, ON_ARRIVAL, m, b, member[GENERATION])


@compiled
def answer_bytes(w: World, m: int, b: int) -> int:
    """Return the size of what an answer holds."""
    size = 0
    for p in range(w.mp.shape[1]):
        for offset in range(w.answer[m, b, p, A_FROM], w.answer[m, b, p, A_TO]):
            size += w.identity[w.log[p, offset, at.L_EVENT], at.V_SIZE]
    return size


@compiled
def reset_position(w: World, m: int, p: int) -> None:
    """Let a member of which the record to read next is deleted go on where auto.offset.reset says; what it leaves out is over."""
    g, mp = w.member[m, at.GROUP], w.mp[m, p]
    to = w.part[p, VISIBLE_END] if w.group[g, at.FROM_LATEST] else w.part[p, at.LOG_START]
    first = mp[POSITION]
    if w.tried_before[p]:
        first = min(first, mp[at.HELD_FROM])
        mp[at.HELD_FROM] = to
        mp[at.HELD_TO] = to
    for offset in range(first, to):
        w.left[g, p, offset] = 0
        close(w, g, p, offset)
    mp[POSITION] = to


@compiled
def arrived(w: World, m: int, b: int, generation: int) -> None:
    """Put an answer's records into the member's queue and send the next fetch."""
    s, member = w.scalars, w.member[m]
    if member[GENERATION] != generation:
        return
    for p in range(w.mp.shape[1]):
        answer = w.answer[m, b, p]
        if answer[A_TO] > answer[A_FROM] and w.mp[m, p, OWNED] == answer[A_OWNERSHIP]:
            if w.tried_before[p]:
                w.mp[m, p, at.HELD_TO] = answer[A_TO]
                release_copies(w, m, p)
            else:
                queue_up(w, m, p, answer[A_FROM], answer[A_TO])
    if member[STATE] == POLLING:
        poll_at(w, m, s[NOW])
    n = w.mb[m, b, FETCHED] - 1
    crossing_ns = crosses(w, b, at.TO_BROKER, 0, member[CODE], at.LINK_FETCH, n)
    push(w, s[NOW] + w.turnaround[m, b, n] + crossing_ns, END, 0, 0, at.ON_TURNED, m, b, generation)


@compiled
def queue_up(w: World, m: int, p: int, begin: int, end: int) -> None:
    """Put a stretch of records into the member's queue."""
    member = w.member[m]
    stretch = w.ring[m, (member[RING_HEAD] + member[RING_COUNT]) % w.ring.shape[1]]
    stretch[RG_PART] = p
    stretch[RG_FROM] = begin
    stretch[RG_TO] = end
    stretch[RG_CAME_NS] = w.scalars[NOW]
    member[RING_COUNT] += 1
    member[RING_EVENTS] += end - begin


@compiled
def release_copies(w: World, m: int, p: int) -> None:
    """Let the copies of a retry topic that are due come into the queue, and look again when the next one is."""
    s, mp = w.scalars, w.mp[m, p]
    begin = mp[at.HELD_FROM]
    while mp[at.HELD_FROM] < mp[at.HELD_TO] and w.log[p, mp[at.HELD_FROM], at.L_DUE] <= s[NOW]:
        mp[at.HELD_FROM] += 1
    if mp[at.HELD_FROM] > begin:
        queue_up(w, m, p, begin, mp[at.HELD_FROM])
    if mp[at.HELD_FROM] < mp[at.HELD_TO] and mp[at.WAKING] != mp[OWNED]:
        mp[at.WAKING] = mp[OWNED]
        due_ns = w.log[p, mp[at.HELD_FROM], at.L_DUE]
        push(w, due_ns, ARRIVAL, w.member[m, CODE], (1 << 20) + p, at.ON_DUE, m, p, mp[OWNED])


@compiled
def due(w: World, m: int, p: int, ownership: int) -> None:
    """Let copies come into the queue, if the partition is still the member's."""
    if w.mp[m, p, OWNED] != ownership:
        return
    w.mp[m, p, at.WAKING] = 0
    release_copies(w, m, p)
    if w.member[m, STATE] == POLLING:
        poll_at(w, m, w.scalars[NOW])


@compiled
def turned(w: World, m: int, b: int, generation: int) -> None:
    """Park the next fetch."""
    if w.member[m, GENERATION] == generation:
        w.mb[m, b, PARKED] = 1
        wake_fetches(w, m)
