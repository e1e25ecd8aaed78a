"""How long batches linger: until the oldest event has waited long enough, and the client's thread that sends to the broker looks."""

import numpy as np

from sim import world as at
from sim.compiled import compiled
from sim.world import (
    BATCH,
    BATCH_BYTES,
    BATCH_EVENTS,
    C_IS_LATE,
    C_WOKE_NS,
    FIRST_PART,
    HANDED,
    JAVA,
    LINGER,
    NOW,
    ON_BATCH,
    PARTS,
    Q_BYTES,
    Q_COUNT,
    Q_HEAD,
    Q_LOOK_NS,
    World,
    push,
)

AWAKE = 0
"""In place of when a sleep is over."""


@compiled
def look_at(w: World, i: int, p: int, then_ns: int) -> None:
    """Look at a queue at an instant, unless it is looked at before that anyway, which goes on to it."""
    q = w.queue[i, p]
    if not w.scalars[NOW] < q[Q_LOOK_NS] <= then_ns:
        q[Q_LOOK_NS] = then_ns
        push(w, then_ns, BATCH, i, p, ON_BATCH, i, p, 0)


@compiled
def ripe_ns(w: World, i: int, p: int) -> int:
    """Return when the oldest event of a queue has waited long enough."""
    ripe: int = w.event[w.queue[i, p, Q_HEAD], HANDED] + w.proc[i, LINGER]
    return ripe


@compiled
def fills_a_batch(w: World, i: int, p: int) -> bool:
    """Whether a queue has as much as a batch takes."""
    proc, q = w.proc[i], w.queue[i, p]
    filled: bool = q[Q_COUNT] >= proc[BATCH_EVENTS] or q[Q_BYTES] >= proc[BATCH_BYTES]
    return filled


@compiled
def sleeps_until(w: World, i: int, p: int) -> int:
    """Return when the client's thread looks at what is ready of a partition, if nothing wakes it before; AWAKE where it has seen it.

    It fell asleep when it last looked, and its sleeps are whole steps.
    """
    step_ns, woke_ns = w.times[at.SLEEP_STEP], w.conn[i, w.knows[i, p], C_WOKE_NS]
    if step_ns == 0 or w.proc[i, JAVA] or ripe_ns(w, i, p) <= woke_ns or fills_a_batch(w, i, p):
        return AWAKE
    asked_ns = (ripe_ns(w, i, p) - woke_ns + step_ns - 1) // step_ns * step_ns
    until_ns: int = woke_ns + asked_ns + np.int64(np.rint(w.costs[at.OVERSLEEP] * asked_ns))
    return until_ns


@compiled
def wake(w: World, i: int, b: int) -> None:
    """Let the thread that sends to a broker look at its queues; what was ready while it slept goes now."""
    c = w.conn[i, b]
    c[C_WOKE_NS] = w.scalars[NOW]
    if not c[C_IS_LATE]:
        return
    c[C_IS_LATE] = 0
    for p in range(w.proc[i, FIRST_PART], w.proc[i, FIRST_PART] + w.proc[i, PARTS]):
        if w.knows[i, p] == b and w.queue[i, p, Q_COUNT] > 0 and ripe_ns(w, i, p) <= w.scalars[NOW]:
            push(w, w.scalars[NOW], BATCH, i, p, ON_BATCH, i, p, 0)
