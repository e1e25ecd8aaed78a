"""Share groups: records that members acquire for a while, one by one acknowledged, released or given up on. No order, no owner."""

from sim import world as at
from sim.compiled import compiled, entry, rare
from sim.kernel.fetches import wake_fetch
from sim.kernel.rows import KIND_COMMIT, close, new_row
from sim.kernel.stable import is_gone, shares
from sim.world import NONE, World


@rare
def release(w: World, g: int, p: int, offset: int) -> None:
    """Let a record be acquired again, or be given up on where it was delivered too often, or is not in the log any more."""
    if (
        w.left[g, p, offset] >= w.group[g, at.DELIVERY_LIMIT]
        or offset < w.part[p, at.LOG_START]
        or is_gone(w, p, offset)
    ):
        w.share[g, p, offset] = at.SH_DONE
        close(w, g, p, offset)
    else:
        w.share[g, p, offset] = at.SH_AVAILABLE


@compiled
def release_run(w: World, q: int) -> bool:
    """Release what is still acquired of an acquisition; return whether that was anything."""
    acquisition, any_record = w.acquisition[q], False
    m, p = acquisition[at.AQ_MEMBER], acquisition[at.AQ_PART]
    g = w.member[m, at.GROUP]
    for offset in range(acquisition[at.AQ_FROM], acquisition[at.AQ_TO]):
        if w.share[g, p, offset] == at.SH_FIRST + q:
            release(w, g, p, offset)
            any_record = True
    return any_record


@rare
def pass_known(w: World, p: int, begin: int, end: int) -> None:
    """Pass over what became visible with offsets that were done before a cut."""
    for g in range(w.group.shape[0]):
        if not w.reads[g, p] or not shares(w, g):
            continue
        for offset in range(begin, end):
            if w.share[g, p, offset] == at.SH_DONE:
                close(w, g, p, offset)
        w.committed[g, p] = start_of(w, g, p)


@rare
def lock_over(w: World, q: int) -> None:
    """Release what was not acknowledged in time."""
    if release_run(w, q):
        moved(w, w.acquisition[q, at.AQ_MEMBER], w.acquisition[q, at.AQ_PART], w.scalars[at.NOW])


@compiled
def start_of(w: World, g: int, p: int) -> int:
    """Return where a share group's partition begins: behind all that is done."""
    offset = w.committed[g, p]
    while offset < w.part[p, at.VISIBLE_END] and w.share[g, p, offset] == at.SH_DONE:
        offset += 1
    return offset


@rare
def give_up_below(w: World, g: int, p: int, offset: int) -> None:
    """Give up on what is available before an offset, since it is deleted; what somebody has acquired stays where it is."""
    for below in range(w.part[p, at.LOG_START], offset):
        if w.share[g, p, below] == at.SH_AVAILABLE:
            w.share[g, p, below] = at.SH_DONE
    w.committed[g, p] = start_of(w, g, p)


@entry
def give_up_gone(w: World, p: int) -> None:
    """Give up on what is available of what compaction took out of a partition's log; what somebody has acquired stays where it is."""
    for g in range(w.group.shape[0]):
        if not w.reads[g, p] or not shares(w, g):
            continue
        for offset in range(w.committed[g, p], w.part[p, at.VISIBLE_END]):
            if w.share[g, p, offset] == at.SH_AVAILABLE and is_gone(w, p, offset):
                w.share[g, p, offset] = at.SH_DONE
        w.committed[g, p] = start_of(w, g, p)
    for m in range(w.member.shape[0]):
        if shares(w, w.member[m, at.GROUP]):
            wake_fetch(w, m, p)


@rare
def moved(w: World, m: int, p: int, begun: int) -> None:
    """Let the partition's start move behind what is done, and whoever waits have what is available."""
    g = w.member[m, at.GROUP]
    offset = start_of(w, g, p)
    if offset > w.committed[g, p]:
        row = w.rows[new_row(w, m, KIND_COMMIT, NONE, p, offset)]
        row[at.O_STARTED] = begun
        row[at.O_ENDED] = w.scalars[at.NOW]
        w.committed[g, p] = offset
    for other in range(w.member.shape[0]):
        wake_fetch(w, other, p)


@rare
def note_answers(w: World, m: int) -> None:
    """Put what a member has done of its batch into a commit: since its last one, and how each ended."""
    s, member = w.scalars, w.member[m]
    done = w.worker[member[at.FIRST_WORKER], at.WK_HAND]
    first = done - 1 if w.group[member[at.GROUP], at.MODE] == at.AFTER_EVENT else 0
    for slot in range(first, done):
        held = w.hand[m, slot]
        w.item[s[at.ITEMS], 0] = held[at.H_PART]
        w.item[s[at.ITEMS], 1] = held[at.H_OFFSET]
        w.item[s[at.ITEMS], 2] = held[at.H_ACQUISITION]
        w.item[s[at.ITEMS], 3] = held[at.H_RELEASED]
        s[at.ITEMS] += 1


@rare
def take_answers(w: World, m: int, item: int, items: int, begun: int) -> None:
    """Let acknowledgements count, as far as their records are still acquired from where they were."""
    g = w.member[m, at.GROUP]
    for n in range(item, item + items):
        p, offset = w.item[n, 0], w.item[n, 1]
        if w.share[g, p, offset] != at.SH_FIRST + w.item[n, 2]:
            continue
        if w.item[n, 3]:
            release(w, g, p, offset)
        else:
            w.share[g, p, offset] = at.SH_DONE
            close(w, g, p, offset)
    for p in range(w.mp.shape[1]):
        if w.reads[g, p]:
            moved(w, m, p, begun)


@entry
def release_all(w: World, m: int) -> None:
    """Release all that a member has acquired: it is gone, and its connections with it."""
    for q in range(w.scalars[at.ACQUISITIONS]):
        if w.acquisition[q, at.AQ_MEMBER] == m:
            release_run(w, q)
    for p in range(w.mp.shape[1]):
        if w.reads[w.member[m, at.GROUP], p]:
            moved(w, m, p, w.scalars[at.NOW])


@entry
def release_partition(w: World, p: int) -> None:
    """Release all that is acquired of a partition: its leader, which alone knew of these deliveries, is gone."""
    for q in range(w.scalars[at.ACQUISITIONS]):
        acquisition = w.acquisition[q]
        if acquisition[at.AQ_PART] == p:
            g = w.member[acquisition[at.AQ_MEMBER], at.GROUP]
            for offset in range(acquisition[at.AQ_FROM], acquisition[at.AQ_TO]):
                w.left[g, p, offset] -= w.share[g, p, offset] == at.SH_FIRST + q
            lock_over(w, q)
