"""Replays: a reader beside a group, with its handler, from given offsets up to what was there. It commits nothing, and is no member."""

from sim import world as at
from sim.compiled import compiled, rare
from sim.kernel.stable import is_gone
from sim.world import World, push

AT_ONCE, WAIT_NS = 100, 100_000_000
"""How many records a replay's call with librdkafka takes at most, and how long it collects them."""
MOST_BEHIND_NS = 100_000_000
"""A replay with a rate that was held up does not catch up by more than this."""


@compiled
def has_pool(w: World, m: int) -> bool:
    """Whether a member has several workers; a replay has one."""
    return w.group[w.member[m, at.GROUP], at.WORKERS] > 1 and not w.member[m, at.REPLAYS]


@compiled
def collects_events(w: World, m: int) -> int:
    """Return how many events a member's calls collect, 0 where they poll."""
    group = w.group[w.member[m, at.GROUP]]
    if w.member[m, at.REPLAYS] and group[at.AHEAD] == at.ANY:
        return AT_ONCE
    return group[at.COLLECT_EVENTS]


@compiled
def collects_for(w: World, m: int) -> int:
    """Return how long a call collects."""
    group = w.group[w.member[m, at.GROUP]]
    return WAIT_NS if w.member[m, at.REPLAYS] and group[at.AHEAD] == at.ANY else group[at.COLLECT_TIMEOUT]


@compiled
def is_through(w: World, m: int) -> bool:
    """Whether a replay has handed over all that was there when it began."""
    if not w.member[m, at.REPLAYS]:
        return False
    for p in range(w.mp.shape[1]):
        mp = w.mp[m, p]
        offset = mp[at.GIVEN]
        while mp[at.OWNED] and w.scalars[at.HOLES] and offset < mp[at.READ_TO] and is_gone(w, p, offset):
            offset += 1
        if mp[at.OWNED] and offset < mp[at.READ_TO]:
            return False
    return True


@rare
def keeps_pace(w: World, k: int) -> bool:
    """Whether a replay's next event is to begin later, by its rate; then it comes again."""
    m = w.worker[k, at.WK_MEMBER]
    member, now = w.member[m], w.scalars[at.NOW]
    if member[at.PACE_NS] == 0:
        return False
    if now < member[at.PACED_NS]:
        push(w, member[at.PACED_NS], at.WORK, member[at.CODE], 0, at.ON_FIRST, k, m, member[at.LIFE])
        return True
    member[at.PACED_NS] = max(member[at.PACED_NS] + member[at.PACE_NS], now - MOST_BEHIND_NS)
    return False
