"""Slow links: how much longer something takes between clients and a broker, and between a leader and its followers."""

import numpy as np

from sim import world as at
from sim.compiled import compiled
from sim.kernel.rows import hashed
from sim.world import TO_BROKER, World


@compiled
def crosses(w: World, b: int, way: int, size: int, code: int, kind: int, n: int) -> int:
    """Return how much longer so many bytes take between a client and a broker: the wait for the link, its delay and jitter."""
    link = w.link[b, way]
    if not link[at.LK_SLOW]:
        return 0
    now, takes = w.scalars[at.NOW], link[at.LK_DELAY]
    if link[at.LK_JITTER]:
        u = hashed(w.scalars[at.SEED], w.scalars[at.CHANCE], code, b, kind, n)
        takes += np.int64(np.rint((2 * u - 1) * link[at.LK_JITTER]))
    if link[at.LK_BYTES_S]:
        ready = max(link[at.LK_FREE_NS], now) + size * 1_000_000_000 // link[at.LK_BYTES_S]
        if size > 0:
            link[at.LK_FREE_NS] = ready
        takes += ready - now
    return takes


@compiled
def there_and_back(w: World, p: int, code: int, kind: int, n: int) -> int:
    """Return how much longer a question to a partition's leader and its answer take; neither has many bytes."""
    b = w.part[p, at.LEADER]
    if b <= 0:
        return 0
    return crosses(w, b, TO_BROKER, 0, code, kind, n) + crosses(w, b, at.FROM_BROKER, 0, code, kind + 1, n)


@compiled
def followers_take(w: World, p: int, appended_ns: int, size: int) -> int:
    """Return how long the slowest follower in sync takes to fetch what is appended and to ask for more, 0 where no link is slow.

    A follower has one fetch under way: what comes after its answer has left waits for the next one.
    """
    if not w.scalars[at.SLOWED]:
        return 0
    leader, longest = w.part[p, at.LEADER], 0
    for b in range(w.pair.shape[0]):
        pair = w.pair[leader, b]
        if not pair[at.PR_SLOW] or not w.in_sync[p, b] or b == leader:
            continue
        carried_ns = size * 1_000_000_000 // pair[at.PR_BYTES_S] if pair[at.PR_BYTES_S] else 0
        if appended_ns <= pair[at.PR_LEAVES_NS]:
            pair[at.PR_PARKED_NS] += carried_ns
        else:
            pair[at.PR_LEAVES_NS] = max(appended_ns, pair[at.PR_PARKED_NS])
            pair[at.PR_PARKED_NS] = pair[at.PR_LEAVES_NS] + pair[at.PR_THERE_NS] + pair[at.PR_BACK_NS] + carried_ns
        longest = max(longest, pair[at.PR_PARKED_NS] - appended_ns)
    return longest
