"""Polls: when a call returns, and with what."""

from sim import world as at
from sim.compiled import compiled, entry, rare
from sim.kernel.commits import commit_if_due, commit_in_between, waits_for_answer
from sim.kernel.fetches import poll_at, raises, send_fetches, skip_unseen, wake_fetches
from sim.kernel.pool import dispatch, free_slot
from sim.kernel.replays import collects_events, collects_for, has_pool, is_through
from sim.kernel.rows import KIND_DELIVERY, new_row
from sim.kernel.stable import shares
from sim.world import (
    BATCH_LEFT,
    CALLED,
    CODE,
    CONTROL,
    DUE,
    DUTY,
    EVICTION,
    FENCED,
    FIRST_WORKER,
    GIVEN,
    GROUP,
    H_NUMBER,
    H_OFFSET,
    H_PART,
    HAS_DUTY,
    INTERVAL,
    L_EVENT,
    LATE,
    LATE_AT,
    LATE_TIMER,
    LIFE,
    MAX_POLL,
    NEVER,
    NONE,
    NOW,
    O_CAME_NS,
    O_ENDED,
    O_NUMBER,
    O_POLL,
    O_STARTED,
    ON_BEGIN,
    ON_LATE,
    POLL_AT,
    POLL_INTERVAL,
    POLLING,
    POLLS,
    RETURNS,
    RG_CAME_NS,
    RG_FROM,
    RG_PART,
    RG_TO,
    RING_COUNT,
    RING_EVENTS,
    RING_HEAD,
    STATE,
    WAKES,
    WHO,
    WHY,
    WK_HAND,
    WORK,
    WORKING,
    World,
    push,
)


@compiled
def poll(w: World, m: int) -> None:
    """Look whether the call returns now; control takes over where the member has a duty."""
    s, member = w.scalars, w.member[m]
    now = s[NOW]
    if member[STATE] != POLLING or member[POLL_AT] != now:
        return
    member[POLL_AT] = NEVER
    group = w.group[member[GROUP]]
    is_pool = has_pool(w, m)
    if is_pool:
        dispatch(w, m)
        if member[at.HELD] >= group[at.IN_HAND] and member[HAS_DUTY] != at.RIGHT_AWAY:
            member[at.NO_ROOM] = 1
            commit_in_between(w, m)
            if group[INTERVAL] > 0 and not group[at.AT_CALLS]:
                poll_at(w, m, member[DUE])
            return
        if member[at.NO_ROOM]:
            member[at.NO_ROOM] = 0
            member[CALLED] = now
            member[RETURNS] = now
    member[LATE_AT] = NEVER
    if member[HAS_DUTY] == at.TO_LEAVE and not member[FENCED] and group[at.AT_CALLS] and collected(w, m) > 0:
        deliver(w, m, collected(w, m))
        send_fetches(w, m)
        wake_fetches(w, m)
        return
    if member[HAS_DUTY] or is_through(w, m):
        s[WHY] = DUTY
        s[WHO] = m
        return
    if group[at.RESETS_TO] == at.TO_NOTHING and raises(w, m):
        s[WHY] = at.RAISED
        s[WHO] = m
        return
    collects, timeout = collects_events(w, m), collects_for(w, m)
    if collects > 0 and group[at.AT_CALLS]:
        call_for_more(w, m, collects)
    else:
        commit_if_due(w, m)
    if member[RETURNS] == NEVER and member[RING_EVENTS] > 0 and collects == 0:
        member[RETURNS] = now + w.wake[m, member[WAKES]]
        member[WAKES] += 1
    if collects > 0:
        most = collects
        takes = member[RING_EVENTS] >= most or now >= member[CALLED] + timeout
    else:
        most = group[MAX_POLL]
        if is_pool:
            most = min(most, group[at.IN_HAND] - member[at.HELD])
        takes = member[RETURNS] <= now
    count = min(most, member[RING_EVENTS]) if takes else 0
    if count > 0:
        deliver(w, m, count)
        if group[at.AHEAD] in (at.OTHER_PARTITIONS, at.OTHER_BROKERS, at.WHEN_CALLED):
            send_fetches(w, m)
            wake_fetches(w, m)
        return
    if member[RING_EVENTS] == 0 or group[at.AHEAD] == at.WHEN_CALLED:
        send_fetches(w, m)
    following = NEVER
    if collects > 0:
        while member[CALLED] + timeout <= now:
            member[CALLED] += timeout
        following = member[CALLED] + timeout
    elif member[RETURNS] <= now:
        member[RETURNS] = NEVER
    else:
        following = member[RETURNS]
    if group[INTERVAL] > 0 and not (member[DUE] <= now and waits_for_answer(w, m)):
        following = min(following, member[DUE])
    if following != NEVER:
        poll_at(w, m, following)


@rare
def collected(w: World, m: int) -> int:
    """Return how many records calls have returned that are not handed over: those that a member collects."""
    member, count = w.member[m], 0
    for n in range(member[RING_COUNT] if w.group[member[GROUP], at.COLLECT_EVENTS] > 0 else 0):
        stretch = w.ring[m, (member[RING_HEAD] + n) % w.ring.shape[1]]
        count += max(0, min(stretch[RG_TO], w.mp[m, stretch[RG_PART], at.COLLECTED]) - stretch[RG_FROM])
    return count


@rare
def call_for_more(w: World, m: int, enough: int) -> None:
    """Call until enough is collected or nothing is there; each call commits first what those before it returned, where that is due (Java's auto commit)."""
    member = w.member[m]
    has = collected(w, m)
    while has < enough:
        commit_if_due(w, m)
        before, has = has, min(has + w.group[member[GROUP], MAX_POLL], member[RING_EVENTS])
        if has == before:
            return
        left = has
        for n in range(member[RING_COUNT]):
            stretch = w.ring[m, (member[RING_HEAD] + n) % w.ring.shape[1]]
            taken = min(left, stretch[RG_TO] - stretch[RG_FROM])
            if taken > 0:
                p = stretch[RG_PART]
                w.mp[m, p, at.COLLECTED] = max(w.mp[m, p, at.COLLECTED], stretch[RG_FROM] + taken)
            left -= taken


@entry
def watch(w: World, m: int) -> None:
    """See to it that a batch which keeps the member from calling for too long puts it out of its group."""
    member = w.member[m]
    member[LATE_AT] = w.scalars[NOW] + w.group[member[GROUP], POLL_INTERVAL]
    if member[LATE_TIMER] == NEVER:
        set_late_timer(w, m)


@compiled
def set_late_timer(w: World, m: int) -> None:
    """Wake at the instant from which the member is late; one timer per member does."""
    member = w.member[m]
    member[LATE_TIMER] = member[LATE_AT]
    if member[LATE_AT] != NEVER:
        push(w, member[LATE_AT], CONTROL, EVICTION, member[CODE], ON_LATE, m, m, 0)


@compiled
def late(w: World, m: int) -> None:
    """Have a member put out of its group if it is late now; else wake again when it may be."""
    s, member = w.scalars, w.member[m]
    if member[LATE_AT] <= s[NOW]:
        member[LATE_AT] = NEVER
        if not member[FENCED]:
            s[WHY] = LATE
            s[WHO] = m
    set_late_timer(w, m)


@compiled
def deliver(w: World, m: int, count: int) -> None:
    """Hand a batch to the application."""
    s, member = w.scalars, w.member[m]
    g, now = member[GROUP], s[NOW]
    member[STATE] = WORKING
    member[BATCH_LEFT] = count
    is_pool, replays = has_pool(w, m), member[at.REPLAYS]
    if not is_pool:
        w.worker[member[FIRST_WORKER], WK_HAND] = 0
    member[RING_EVENTS] -= count
    taken = 0
    while taken < count:
        stretch = w.ring[m, member[RING_HEAD]]
        p = stretch[RG_PART]
        end = min(stretch[RG_TO], stretch[RG_FROM] + count - taken)
        for offset in range(stretch[RG_FROM], end):
            e = w.log[p, offset, L_EVENT]
            w.deliveries[g, e] += 1
            held = w.hand[m, free_slot(w, m) if is_pool else taken]
            held[at.H_POLL] = member[POLLS]
            held[H_PART] = p
            held[H_OFFSET] = offset
            held[at.H_OWNERSHIP] = w.mp[m, p, at.OWNED]
            held[H_NUMBER] = w.deliveries[g, e]
            held[at.H_ACQUISITION] = stretch[at.RG_ACQUISITION]
            held[at.H_RELEASED] = 0
            held[at.H_OWNERSHIP] = w.mp[m, p, at.OWNED]
            if stretch[at.RG_ACQUISITION] == NONE and not replays:
                w.left[g, p, offset] = 1
            taken += 1
            if is_pool:
                held[at.H_STATE] = at.H_COMING
                held[at.H_SERIAL] = member[at.SERIAL]
                member[at.SERIAL] += 1
            row = w.rows[new_row(w, m, KIND_DELIVERY, e, p, offset)]
            row[O_NUMBER] = held[H_NUMBER]
            row[O_STARTED] = now
            row[O_ENDED] = now
            row[O_POLL] = member[POLLS]
            row[O_CAME_NS] = stretch[RG_CAME_NS]
        if stretch[at.RG_ACQUISITION] == NONE:
            w.mp[m, p, GIVEN] = end
        w.mp[m, p, at.QUEUED] -= end - stretch[RG_FROM]
        stretch[RG_FROM] = end
        if end == stretch[RG_TO]:
            member[RING_HEAD] = (member[RING_HEAD] + 1) % w.ring.shape[1]
            member[RING_COUNT] -= 1
        if not shares(w, g):
            skip_unseen(w, m, p)
    member[POLLS] += 1
    if is_pool:
        member[at.HELD] += count
    if not replays and (not is_pool or member[at.HELD] >= w.group[g, at.IN_HAND]):
        watch(w, m)
    push(w, now + w.times[1], WORK, member[CODE], 0, ON_BEGIN, m, m, member[LIFE])
