"""What readers see of a log: up to where, and what they pass over.

Readers of committed records see all up to the first record of an open transaction (last stable offset), aborted ones apart. Nobody sees what
compaction, or an unclean election, took out.
"""

from sim import world as at
from sim.compiled import compiled
from sim.world import NONE, World


@compiled
def is_open(w: World, x: int) -> bool:
    """Whether a transaction has neither been committed nor aborted."""
    return x >= 0 and w.txn[x, at.TX_STATE] == at.TX_OPEN


@compiled
def end_for(w: World, m: int, p: int) -> int:
    """Return up to which offset a member may read a partition; a replay no further than what was there when it began."""
    end = w.part[p, at.STABLE_END] if w.group[w.member[m, at.GROUP], at.READ_COMMITTED] else w.part[p, at.VISIBLE_END]
    if w.member[m, at.REPLAYS]:
        end = min(end, w.mp[m, p, at.READ_TO])
    return end


@compiled
def is_gone(w: World, p: int, offset: int) -> bool:
    """Whether compaction, or an unclean election, took a record out of the log."""
    return w.log[p, offset, at.L_TXN] < NONE


@compiled
def has_holes(w: World) -> bool:
    """Whether there is anything that readers may pass over."""
    return w.scalars[at.TXNS] > 0 or w.scalars[at.HOLES] > 0


@compiled
def is_passed_over(w: World, g: int, p: int, offset: int) -> bool:
    """Whether a group does not see a record because its transaction was aborted, or the record is gone."""
    x = w.log[p, offset, at.L_TXN]
    if x < NONE:
        return True
    return x != NONE and w.group[g, at.READ_COMMITTED] == 1 and w.txn[x, at.TX_STATE] == at.TX_ABORTED


@compiled
def shares(w: World, g: int) -> bool:
    """Whether a group is a share group."""
    return w.group[g, at.LOCK_NS] > 0


@compiled
def end_of_locks(w: World, g: int, p: int) -> int:
    """Return up to where a share group's locks of a partition reach; what was cut off takes none."""
    offset, end, locks = w.committed[g, p], w.part[p, at.VISIBLE_END], w.group[g, at.MOST_LOCKS]
    if w.scalars[at.HOLES] == 0:
        return min(end, offset + locks)
    while offset < end and locks > 0:
        locks -= w.log[p, offset, at.L_TXN] != at.TRUNCATED
        offset += 1
    return offset


@compiled
def first_available(w: World, g: int, p: int) -> int:
    """Return the first record that a share group can acquire, or NONE; it looks no further than its locks reach."""
    for offset in range(w.committed[g, p], end_of_locks(w, g, p)):
        if w.share[g, p, offset] == at.SH_AVAILABLE:
            return offset
    return NONE


@compiled
def move_stable_end(w: World, p: int) -> None:
    """Let readers of committed records see as much of a partition as they may."""
    part = w.part[p]
    if w.scalars[at.TXNS] == 0:
        part[at.STABLE_END] = part[at.VISIBLE_END]
        return
    while part[at.STABLE_END] < part[at.VISIBLE_END] and not is_open(w, w.log[p, part[at.STABLE_END], at.L_TXN]):
        part[at.STABLE_END] += 1
