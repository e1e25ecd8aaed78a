"""Commits: what they cover, when they end, and who goes on then."""

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.fetches import enter_poll_loop, poll_at
from sim.kernel.links import there_and_back
from sim.kernel.pool import takes_on
from sim.kernel.replays import has_pool
from sim.kernel.rows import KIND_COMMIT, close, new_row
from sim.kernel.shares import note_answers, take_answers
from sim.kernel.stable import is_open, shares
from sim.kernel.transactions import end_transaction, refuse_transaction, transaction_id
from sim.world import (
    ASKED,
    AUTO,
    BATCH_LEFT,
    CM_AFTER,
    CM_BEFORE,
    CM_BEGUN,
    CM_DONE,
    CM_ITEM,
    CM_ITEMS,
    CM_LENGTH,
    CM_LIFE,
    CM_MEMBER,
    CM_SEAT,
    CM_TIMED,
    CM_VERSION,
    CODE,
    COMMITS,
    COMMITTING,
    COORDINATOR,
    DUE,
    END,
    FENCED,
    FINISHED,
    FIRST_WORKER,
    GIVEN,
    GOES_ON,
    GROUP,
    INTERVAL,
    ITEMS,
    LAST_COMMIT,
    LIFE,
    MODE,
    N_COMMITS,
    NONE,
    NOW,
    O_ENDED,
    O_STARTED,
    ON_COMMITTED,
    OPEN,
    OWNED,
    POLLING,
    SEAT,
    SETTLED,
    SETTLING,
    STATE,
    TO_DUTY,
    TO_FIRST_TRY,
    TO_NEXT_EVENT,
    TO_POLL,
    WHO,
    WHY,
    WORK,
    WORKING,
    World,
    push,
)


@compiled
def commit_if_due(w: World, m: int) -> None:
    """Commit what is done if the interval is over; Java's members of a `consumer` group let one auto commit end before the next."""
    member, now = w.member[m], w.scalars[NOW]
    interval = w.group[member[GROUP], INTERVAL]
    if interval > 0 and now >= member[DUE] and not waits_for_answer(w, m):
        commit_what_is_done(w, m)
        member[DUE] = now + interval


@entry
def waits_for_answer(w: World, m: int) -> bool:
    """Whether the member's client makes no auto commit, due or not, as long as one is under way."""
    return w.group[w.member[m, GROUP], at.ONE_COMMIT] != 0 and has_commit_under_way(w, m)


@compiled
def commit_in_between(w: World, m: int) -> None:
    """Commit what is done if the interval is over and the client commits without being called (not Java's auto commit)."""
    if not w.group[w.member[m, GROUP], at.AT_CALLS]:
        commit_if_due(w, m)


@entry
def commit_what_is_done(w: World, m: int) -> None:
    """Begin the commit of a group that commits at an interval."""
    begin_commit(w, m, what_is_done(w, w.member[m, GROUP]))


@entry
def what_is_done(w: World, g: int) -> int:
    """Return which progress a group that commits at an interval commits: with Java's auto commit all that calls have returned."""
    group = w.group[g]
    if group[at.AT_CALLS] and group[at.COLLECT_EVENTS] > 0:
        return at.COLLECTED
    return GIVEN if group[MODE] in (AUTO, at.BEFORE_WORK) else FINISHED


@compiled
def begin_commit(w: World, m: int, progress: int) -> None:
    """Begin a commit of all partitions with something new, if there are any."""
    s, member = w.scalars, w.member[m]
    x = member[at.TXN]
    if (member[FENCED] and x == NONE) or member[at.REPLAYS]:
        return
    if x != NONE:  # all of its batch, also where somebody else has the partition meanwhile
        progress = GIVEN
    first = s[ITEMS]
    if shares(w, member[GROUP]):
        note_answers(w, m)
    for p in range(w.mp.shape[1]):
        mp = w.mp[m, p]
        if mp[OWNED] and mp[progress] != mp[ASKED] and not shares(w, member[GROUP]):
            mp[ASKED] = mp[progress]
            w.item[s[ITEMS], 0] = p
            w.item[s[ITEMS], 1] = mp[progress]
            s[ITEMS] += 1
    if x != NONE and (member[FENCED] or not is_open(w, x)):
        refuse_transaction(w, m, first, s[ITEMS] - first, s[NOW])
        return
    if s[ITEMS] == first and x == NONE:
        return
    c = s[COMMITS]
    s[COMMITS] = c + 1
    commit = w.commit[c]
    commit[:] = 0
    commit[CM_MEMBER] = m
    commit[CM_LIFE] = member[LIFE]
    commit[CM_SEAT] = member[SEAT]
    commit[CM_BEGUN] = s[NOW]
    length = w.commit_time[m, member[N_COMMITS]]
    if x != NONE:  # its offsets, then its end
        member[N_COMMITS] += 1
        length += w.commit_time[m, member[N_COMMITS]]
    commit[at.CM_TXN] = x
    commit[CM_LENGTH] = max(length, member[at.RECORDED_NS] - s[NOW])
    commit[CM_ITEM] = first
    commit[CM_ITEMS] = s[ITEMS] - first
    commit[CM_BEFORE] = member[LAST_COMMIT]
    commit[CM_AFTER] = NONE
    if member[LAST_COMMIT] != NONE:
        w.commit[member[LAST_COMMIT], CM_AFTER] = c
    member[LAST_COMMIT] = c
    member[N_COMMITS] += 1
    s[OPEN] += 1
    if knows_coordinators(w, c):
        push(w, s[NOW] + commit_takes(w, c), END, 0, 0, ON_COMMITTED, c, 0, 0)


@compiled
def is_taken_by(w: World, c: int, p: int) -> bool:
    """Whether a commit needs a partition's leader: the coordinator of its group, or that of its transaction."""
    member = w.member[w.commit[c, CM_MEMBER]]
    of_transaction = w.commit[c, at.CM_TXN] != NONE and member[at.TXN_COORDINATOR] == p
    return of_transaction or w.group[member[GROUP], COORDINATOR] == p


@compiled
def knows_coordinators(w: World, c: int) -> bool:
    """Whether a member knows all who take its commit."""
    member = w.member[w.commit[c, CM_MEMBER]]
    known = w.knows[member[CODE]]
    if w.commit[c, at.CM_TXN] != NONE and not known[member[at.TXN_COORDINATOR]]:
        return False
    return known[w.group[member[GROUP], COORDINATOR]] != 0


@compiled
def commit_takes(w: World, c: int) -> int:
    """Return how long a commit that begins, or begins again, takes."""
    commit = w.commit[c]
    member = w.member[commit[CM_MEMBER]]
    coordinator = w.group[member[GROUP], COORDINATOR]
    return commit[CM_LENGTH] + there_and_back(w, coordinator, member[CODE], at.LINK_COMMIT, commit[CM_BEGUN])


@compiled
def commit_soon(w: World, m: int) -> None:
    """Commit in the background what several workers have finished."""
    w.member[m, at.COMMIT_SOON] = 0
    begin_commit(w, m, FINISHED)


@entry
def has_commit_under_way(w: World, m: int) -> bool:
    """Whether the member's last commit has not ended."""
    last = w.member[m, LAST_COMMIT]
    return last != NONE and not w.commit[last, CM_DONE]


@entry
def wait_for_commit(w: World, m: int, goes_on: int) -> None:
    """Go on when the last commit has ended."""
    member = w.member[m]
    member[GOES_ON] = goes_on
    member[STATE] = SETTLING if goes_on == TO_DUTY else COMMITTING
    if not has_commit_under_way(w, m):
        go_on(w, m)


@compiled
def go_on(w: World, m: int) -> None:
    """Go on after a commit that was waited for."""
    s, member = w.scalars, w.member[m]
    goes_on = member[GOES_ON]
    if goes_on == TO_FIRST_TRY and has_pool(w, m):
        takes_on(w, m)
    elif goes_on == TO_FIRST_TRY:
        try_first(w, m)
    elif goes_on == TO_NEXT_EVENT:
        next_event_later(w, m)
    elif goes_on == TO_POLL:
        enter_poll_loop(w, m)
    else:
        s[WHY] = SETTLED
        s[WHO] = m


@compiled
def next_event_later(w: World, m: int) -> None:
    """Begin the next event in the order of work, after a commit."""
    if w.member[m, BATCH_LEFT] > 0:
        try_first(w, m)
    else:
        enter_poll_loop(w, m)


@compiled
def try_first(w: World, m: int) -> None:
    """Have the event at hand tried for the first time, in the order of work."""
    member = w.member[m]
    k = member[FIRST_WORKER]
    member[STATE] = WORKING
    push(w, w.scalars[NOW], WORK, member[CODE], 1, at.ON_FIRST, k, m, member[LIFE])


@compiled
def commit_timed(w: World, c: int, version: int) -> None:
    """A commit's time is over; it ends no earlier than the one before."""
    if w.commit[c, CM_VERSION] != version or w.commit[c, CM_TIMED]:
        return
    w.commit[c, CM_TIMED] = 1
    before = w.commit[c, CM_BEFORE]
    if before != NONE and not w.commit[before, CM_DONE]:
        return
    while c != NONE and w.commit[c, CM_TIMED]:
        end_commit(w, c)
        c = w.commit[c, CM_AFTER]


@compiled
def end_commit(w: World, c: int) -> None:
    """Note what was committed, and let a member that waited go on."""
    s, commit = w.scalars, w.commit[c]
    commit[CM_DONE] = 1
    s[OPEN] -= 1
    m = commit[CM_MEMBER]
    member = w.member[m]
    if member[LIFE] == commit[CM_LIFE]:
        counts, x = member[SEAT] == commit[CM_SEAT], commit[at.CM_TXN]
        if x != NONE and not (counts and is_open(w, x)):
            refuse_transaction(w, m, commit[CM_ITEM], commit[CM_ITEMS], commit[CM_BEGUN])
        elif counts and shares(w, member[GROUP]):
            take_answers(w, m, commit[CM_ITEM], commit[CM_ITEMS], commit[CM_BEGUN])
        elif counts:
            for n in range(commit[CM_ITEM], commit[CM_ITEM] + commit[CM_ITEMS]):
                note_commit(w, m, w.item[n, 0], w.item[n, 1], commit[CM_BEGUN])
            end_transaction(w, m, at.TX_COMMITTED)
        if member[LAST_COMMIT] == c and (member[STATE] == COMMITTING or member[STATE] == SETTLING):
            go_on(w, m)
        elif w.group[member[GROUP], at.ONE_COMMIT] and member[STATE] == POLLING and not member[at.NO_ROOM]:
            commit_that_waited(w, m)


@compiled
def commit_that_waited(w: World, m: int) -> None:
    """Have a member that is in a call commit what is due, and was kept back by a commit under way."""
    if w.scalars[NOW] >= w.member[m, DUE] and not has_commit_under_way(w, m):
        poll_at(w, m, w.scalars[NOW])


@entry
def note_commit(w: World, m: int, p: int, offset: int, begun: int) -> None:
    """Record a committed offset; what lies below has ended for the group."""
    g = w.member[m, GROUP]
    row = w.rows[new_row(w, m, KIND_COMMIT, NONE, p, offset)]
    row[O_STARTED] = begun
    row[O_ENDED] = w.scalars[NOW]
    row[at.O_TXN] = transaction_id(w, m)
    for below in range(w.committed[g, p], offset):
        close(w, g, p, below)
    w.committed[g, p] = offset
