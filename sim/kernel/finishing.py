"""What is finished: as far as records have ended and what they brought about is there."""

from sim import world as at
from sim.compiled import compiled
from sim.kernel.stable import shares
from sim.world import World, push


@compiled
def heard_of(w: World, e: int) -> None:
    """Let a member know that an event that it emitted is there."""
    sending = w.event[e]
    m = sending[at.E_MEMBER]
    if m < 0 or w.member[m, at.LIFE] != sending[at.E_LIFE]:
        return
    w.member[m, at.EMITTING] -= 1
    part_done(w, m, sending[at.E_PART], sending[at.E_OFFSET], sending[at.E_OWNERSHIP])
    flushed_if_all(w, m)


@compiled
def counts(w: World, m: int, p: int, ownership: int) -> bool:
    """Whether what was delivered under an ownership of a partition counts: nobody, the member included, has been given it anew."""
    g = w.member[m, at.GROUP]
    return not shares(w, g) and w.mp[m, p, at.OWNED] == ownership and ownership == w.latest[g, p]


@compiled
def part_done(w: World, m: int, p: int, offset: int, ownership: int) -> None:
    """Note a part of what a record brought as done; offsets are finished as far as nothing before them is left."""
    g, mp = w.member[m, at.GROUP], w.mp[m, p]
    if not counts(w, m, p, ownership):
        return
    w.left[g, p, offset] -= 1
    if w.left[g, p, offset] != 0:
        return
    moved = False
    while mp[at.FINISHED] < mp[at.GIVEN] and w.left[g, p, mp[at.FINISHED]] == 0:
        mp[at.FINISHED] += 1
        moved = True
    group, member = w.group[g], w.member[m]
    by_itself = group[at.MODE] == at.AFTER_BATCH or group[at.MODE] == at.AFTER_EVENT
    if moved and group[at.WORKERS] > 1 and by_itself and not member[at.COMMIT_SOON]:
        member[at.COMMIT_SOON] = 1
        push(w, w.scalars[at.NOW], at.WORK, member[at.CODE], 0, at.ON_SOON, m, m, member[at.LIFE])


@compiled
def flushed_if_all(w: World, m: int) -> None:
    """Let a member that waits for what it emitted go on when all is there."""
    member = w.member[m]
    if member[at.EMITTING] == 0 and member[at.STATE] == at.FLUSHING:
        push(w, w.scalars[at.NOW], at.WORK, member[at.CODE], 0, at.ON_FLUSHED, m, m, member[at.LIFE])
