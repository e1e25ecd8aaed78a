"""Cores of one machine, for which everybody's requests and answers wait in the order in which they come."""

from sim import world as at
from sim.compiled import compiled, rare
from sim.kernel.stable import is_gone
from sim.world import NONE, World


@compiled
def waits_for_core(w: World, work_ns: int) -> int:
    """Let some work take the core that is free first; return how long it waits for that."""
    cores, first = w.cores, 0
    for n in range(1, len(cores)):
        if cores[n] < cores[first]:
            first = n
    begins_ns = max(cores[first], w.scalars[at.NOW])
    cores[first] = begins_ns + work_ns
    return begins_ns - w.scalars[at.NOW]


@compiled
def in_proportion(work_ns: int, took_ns: int, mean_ns: int) -> int:
    """Return the work of something that takes longer, or shorter, than it does in the mean."""
    return work_ns * took_ns // mean_ns if mean_ns > 0 else work_ns


@rare
def request_waits(w: World, lead: int, took_ns: int, follows_ns: int) -> int:
    """Return how long a produce request waits for a core whose service begins; its followers' fetch is part of its work, or goes with another's.

    `took_ns` is what was drawn for it, to which its work is in proportion; `follows_ns` is how long followers take from then on: what begins
    meanwhile at the same broker goes with their next fetch.
    """
    now, broker = w.scalars[at.NOW], w.broker[w.request[lead, at.R_BROKER]]
    count, most, r = 0, 0, lead
    while r != NONE:
        if not w.request[r, at.R_GONE]:
            count += w.request[r, at.R_COUNT]
            most = max(most, in_sync_count(w, w.request[r, at.R_PART]))
        r = w.request[r, at.R_MATE]
    work_ns = w.core_times[at.OF_REQUEST] + count * w.core_times[at.OF_EVENT]
    if now > broker[at.FOLLOWERS_LEAVE_NS]:
        work_ns += max(0, most - 1) * w.core_times[at.OF_REQUEST]
    waits_ns = waits_for_core(w, in_proportion(work_ns, took_ns, w.core_times[at.MEAN_PRODUCE]))
    if now > broker[at.FOLLOWERS_LEAVE_NS]:
        broker[at.FOLLOWERS_LEAVE_NS] = max(now, broker[at.FOLLOWERS_BACK_NS])
        broker[at.FOLLOWERS_BACK_NS] = broker[at.FOLLOWERS_LEAVE_NS] + waits_ns + follows_ns
    return waits_ns


@compiled
def in_sync_count(w: World, p: int) -> int:
    """Return how many replicas of a partition are in sync, its leader among them."""
    count = 0
    for b in range(w.in_sync.shape[1]):
        count += w.in_sync[p, b]
    return count


@rare
def answer_works(w: World, m: int, b: int, took_ns: int) -> None:
    """Let the answer to a member's fetch take a core, for which others wait; it leaves without, since what it brings has waited.

    The member's own work on its records is part of that.
    """
    count = 0
    for p in range(w.mp.shape[1]):
        for offset in range(w.answer[m, b, p, at.A_FROM], w.answer[m, b, p, at.A_TO]):
            count += 0 if is_gone(w, p, offset) else 1
    work_ns = w.core_times[at.OF_REQUEST] + count * w.core_times[at.OF_EVENT]
    waits_for_core(w, in_proportion(work_ns, took_ns, w.core_times[at.MEAN_FETCH]))
