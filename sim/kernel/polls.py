"""Polls: when a call returns, and with what."""

from sim.compiled import compiled
from sim.kernel.commits import commit_if_due
from sim.kernel.fetches import poll_at
from sim.kernel.rows import KIND_DELIVERY, new_row
from sim.world import (
    BATCH_LEFT,
    CALLED,
    CODE,
    COLLECT_EVENTS,
    COLLECT_TIMEOUT,
    DUE,
    DUTY,
    GIVEN,
    GROUP,
    HAS_DUTY,
    INTERVAL,
    L_EVENT,
    LIFE,
    MAX_POLL,
    NEVER,
    NOW,
    O_ENDED,
    O_NUMBER,
    O_POLL,
    O_STARTED,
    ON_BEGIN,
    POLL_AT,
    POLLING,
    POLLS,
    RETURNS,
    RG_FROM,
    RG_PART,
    RG_TO,
    RING_EVENTS,
    RING_HEAD,
    STATE,
    WAKES,
    WHO,
    WHY,
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
    if member[HAS_DUTY]:
        s[WHY] = DUTY
        s[WHO] = m
        return
    group = w.group[member[GROUP]]
    commit_if_due(w, m)
    collects = group[COLLECT_EVENTS] > 0
    if member[RETURNS] == NEVER and member[RING_EVENTS] > 0 and not collects:
        member[RETURNS] = now + w.wake[m, member[WAKES]]
        member[WAKES] += 1
    if collects:
        most = group[COLLECT_EVENTS]
        takes = member[RING_EVENTS] >= most or now >= member[CALLED] + group[COLLECT_TIMEOUT]
    else:
        most = group[MAX_POLL]
        takes = member[RETURNS] <= now
    count = min(most, member[RING_EVENTS]) if takes else 0
    if count > 0:
        deliver(w, m, count)
        return
    following = NEVER
    if collects:
        while member[CALLED] + group[COLLECT_TIMEOUT] <= now:
            member[CALLED] += group[COLLECT_TIMEOUT]
        following = member[CALLED] + group[COLLECT_TIMEOUT]
    elif member[RETURNS] <= now:
        member[RETURNS] = NEVER
    else:
        following = member[RETURNS]
    if group[INTERVAL] > 0:
        following = min(following, member[DUE])
    if following != NEVER:
        poll_at(w, m, following)


@compiled
def deliver(w: World, m: int, count: int) -> None:
    """Hand a batch to the application."""
    s, member = w.scalars, w.member[m]
    g, now = member[GROUP], s[NOW]
    member[STATE] = WORKING
    member[BATCH_LEFT] = count
    left, place = count, member[RING_HEAD]
    while left > 0:
        stretch = w.ring[m, place]
        p = stretch[RG_PART]
        take = min(left, stretch[RG_TO] - stretch[RG_FROM])
        for offset in range(stretch[RG_FROM], stretch[RG_FROM] + take):
            e = w.log[p, offset, L_EVENT]
            w.deliveries[g, e] += 1
            w.delivery[g, p, offset] = w.deliveries[g, e]
            row = w.rows[new_row(w, m, KIND_DELIVERY, e, p, offset)]
            row[O_NUMBER] = w.delivery[g, p, offset]
            row[O_STARTED] = now
            row[O_ENDED] = now
            row[O_POLL] = member[POLLS]
        w.mp[m, p, GIVEN] = stretch[RG_FROM] + take
        left -= take
        place = (place + 1) % w.ring.shape[1]
    member[POLLS] += 1
    push(w, now + w.times[1], WORK, member[CODE], 0, ON_BEGIN, m, 0, member[LIFE])
