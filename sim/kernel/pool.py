"""Several workers of one member: a pool that polling keeps fed, and what waits for what."""

from sim import world as at
from sim.compiled import compiled
from sim.kernel.fetches import poll_at
from sim.world import World, push


@compiled
def takes_on(w: World, m: int) -> None:
    """Let what a call brought wait for workers, and call again."""
    member = w.member[m]
    for slot in range(w.hand.shape[1]):
        if w.hand[m, slot, at.H_STATE] == at.H_COMING:
            w.hand[m, slot, at.H_STATE] = at.H_WAITS
    member[at.STATE] = at.POLLING
    member[at.CALLED] = w.scalars[at.NOW]
    member[at.RETURNS] = w.scalars[at.NOW]
    member[at.POLL_AT] = at.NEVER
    poll_at(w, m, w.scalars[at.NOW])


@compiled
def free_worker(w: World, k: int) -> None:
    """Let a worker have nothing to do, and its member see what it may begin."""
    m = w.worker[k, at.WK_MEMBER]
    w.hand[m, w.worker[k, at.WK_HAND], at.H_STATE] = at.H_FREE
    w.worker[k, at.WK_HAND] = at.NONE
    w.member[m, at.HELD] -= 1
    if w.member[m, at.STATE] == at.POLLING:
        poll_at(w, m, w.scalars[at.NOW])


@compiled
def dispatch(w: World, m: int) -> None:
    """Let free workers begin what was delivered first, of what has to wait for nothing else."""
    member = w.member[m]
    first = member[at.FIRST_WORKER]
    for k in range(first, first + w.group[member[at.GROUP], at.WORKERS]):
        if w.worker[k, at.WK_HAND] != at.NONE:
            continue
        slot = first_able(w, m)
        if slot == at.NONE:
            return
        w.worker[k, at.WK_HAND] = slot
        w.hand[m, slot, at.H_STATE] = at.H_AT_WORK
        push(w, w.scalars[at.NOW], at.WORK, member[at.CODE], k - first + 1, at.ON_FIRST, k, m, member[at.LIFE])


@compiled
def first_able(w: World, m: int) -> int:
    """Return the event that was delivered first among those that can begin, or NONE."""
    found = at.NONE
    for slot in range(w.hand.shape[1]):
        held = w.hand[m, slot]
        earlier = found == at.NONE or held[at.H_SERIAL] < w.hand[m, found, at.H_SERIAL]
        if held[at.H_STATE] == at.H_WAITS and earlier and not must_wait_its_turn(w, m, slot):
            found = slot
    return found


@compiled
def must_wait_its_turn(w: World, m: int, slot: int) -> bool:
    """Whether somebody works on an event after which this one comes."""
    member, held = w.member[m], w.hand[m, slot]
    order = w.group[member[at.GROUP], at.ORDERED_BY]
    if order == at.BY_NOTHING:
        return False
    key = w.identity[w.log[held[at.H_PART], held[at.H_OFFSET], at.L_EVENT], at.V_KEY]
    if order == at.BY_KEY and key == at.NONE:
        return False
    first = member[at.FIRST_WORKER]
    for k in range(first, first + w.group[member[at.GROUP], at.WORKERS]):
        other = w.worker[k, at.WK_HAND]
        if other == at.NONE:
            continue
        busy = w.hand[m, other]
        if order == at.BY_PARTITION and busy[at.H_PART] == held[at.H_PART]:
            return True
        if order == at.BY_KEY and w.identity[w.log[busy[at.H_PART], busy[at.H_OFFSET], at.L_EVENT], at.V_KEY] == key:
            return True
    return False


@compiled
def free_slot(w: World, m: int) -> int:
    """Return a place in a member's hands; there is one."""
    slot = 0
    while w.hand[m, slot, at.H_STATE] != at.H_FREE:
        slot += 1
    return slot
