"""What the members of a group do in a quiet stretch: none depends on another, so each is a plain loop, of the rules and names of `sim.kernel`.

Like that of producers it stops at an instant, and goes on from it when it is known what was appended later.
"""

from typing import NamedTuple

from sim import world as at
from sim.compiled import compiled, entry
from sim.stretches.sending_kernel import ROOM, SHORT
from sim.world import NEVER, NONE, Ints

# Why the rules of quiet stretches do not suffice.
LATE_CALL, FULL_ANSWER = 5, 6

# per member and broker: what was fetched and is on its way, and up to where there is more
(G_NEXT, G_END, G_PARKED_NS, G_FETCHED, G_FROM, G_TO, G_ARRIVES_NS, N_LANE) = range(8)
# per member; M_WAITS: everything at M_NOW is done, otherwise nothing
(M_RETURNS, M_DUE, M_WAKES, M_TRIES, M_COMMITS, M_RECORDED_NS, M_COMMITTED_NS, M_DONE, M_CAME, M_NOW, M_WAITS,
 N_READER) = range(12)  # fmt: skip
# of a group
(C_ROWS, C_PROBLEM, C_LARGEST_BYTES, C_MEMBER, C_MASK, C_LAST_NS, N_READING) = range(7)
# per commit and partition
(K_ENDED_NS, K_PART, K_OFFSET, K_BEGUN_NS, N_COMMIT_ROW) = range(5)

_SHORT = 24
"""Up to so many records of an answer are sorted by insertion."""


class Reading(NamedTuple):
    """All that the members of a group need, and what becomes of what they read.

    Records stand by member: first those that have come and wait for it, then by broker those that it has not got yet, and in each of
    these lanes by the instant at which they can be read (`seen`).
    """

    s: Ints
    group: Ints
    """The group's settings, as in a world."""
    times: Ints
    lane: Ints
    reader: Ints
    own: Ints
    """The partitions of each member, from `own_first` on."""
    own_first: Ints
    given: Ints
    finished: Ints
    in_time: Ints
    """By partition: how many effects lie within the load's time."""
    asked: Ints
    came: Ints
    """The records in the order in which they came into their member's queue."""
    seen: Ints
    event: Ints
    part: Ints
    work: Ints
    delivered: Ints
    effect: Ints
    commits: Ints
    fetch: Ints
    turnaround: Ints
    wake: Ints
    overshoot: Ints
    commit_time: Ints


@compiled
def move(w: Reading, n: int, event: Ints, seen: Ints, part: Ints, place: int) -> None:
    """Move a record to a place in other arrays."""
    event[place] = w.event[n]
    seen[place] = w.seen[n]
    part[place] = w.part[n]


@entry
def make_room(w: Reading, came: Ints, event: Ints, seen: Ints, part: Ints, more: Ints) -> None:
    """Move what members have not handled into other arrays, with room behind each lane for as many records more."""
    place = 0
    for m in range(w.reader.shape[0]):
        member, first = w.reader[m], place
        for k in range(member[M_DONE], member[M_CAME]):
            move(w, w.came[k], event, seen, part, place)
            came[place] = place
            place += 1
        member[M_DONE] = first
        member[M_CAME] = place
        for b in range(w.lane.shape[1]):
            f = w.lane[m, b]
            moved = place - f[G_FROM]
            for n in range(f[G_FROM], f[G_END]):
                move(w, n, event, seen, part, place)
                place += 1
            f[G_FROM] += moved
            f[G_TO] += moved
            f[G_NEXT] += moved
            f[G_END] = place
            place += more[m, b]


@entry
def lay_out(w: Reading, appended: Ints, part: Ints, visible: Ints, lane_of: Ints) -> None:
    """Put records into their partition's lane, in the order in which they can be read; ties as in the log.

    They come in the order of appends, which is nearly that one.
    """
    mask, lanes = w.s[C_MASK], w.lane.shape[1]
    for e in appended:
        p = part[e & mask]
        number = lane_of[p]
        if number == NONE:
            continue
        f = w.lane[number // lanes, number % lanes]
        place, seen_ns = f[G_END], visible[e & mask]
        f[G_END] = place + 1
        while place > f[G_NEXT] and w.seen[place - 1] > seen_ns:
            move(w, place - 1, w.event, w.seen, w.part, place)
            place -= 1
        w.event[place] = e
        w.seen[place] = seen_ns
        w.part[place] = p


@entry
def read_all(w: Reading, until_ns: int) -> None:
    """Let the members of a group read until an instant: when each event is delivered and has its effect, and what is committed when.

    Where random inputs or room run out it stops, and goes on when it is called again with more.
    """
    s = w.s
    while s[C_MEMBER] < w.reader.shape[0]:
        m = s[C_MEMBER]
        for b in range(w.lane.shape[1]):
            if w.lane[m, b, G_ARRIVES_NS] == NEVER:
                fetch_next(w, m, b, until_ns)
        if s[C_PROBLEM] == 0:
            read(w, m, until_ns)
        if s[C_PROBLEM] != 0:
            return
        s[C_MEMBER] += 1


@compiled
def next_arrival(w: Reading, m: int) -> int:
    """Return when the next answer arrives at a member."""
    first_ns = NEVER
    for b in range(w.lane.shape[1]):
        first_ns = min(first_ns, w.lane[m, b, G_ARRIVES_NS])
    return first_ns


@compiled
def is_short(w: Reading, m: int, waiting: int) -> bool:
    """Whether a member may lack random inputs, or room for its commits, before it calls the next time."""
    member, most = w.reader[m], min(waiting, w.group[at.MAX_POLL])
    own = w.own_first[m + 1] - w.own_first[m]
    if w.s[C_PROBLEM] != 0:
        return True
    if w.s[C_ROWS] + most + 2 * own + 2 > w.commits.shape[0]:
        w.s[C_PROBLEM] = ROOM
    elif (
        member[M_WAKES] >= w.wake.shape[1]
        or member[M_COMMITS] + most + 2 > w.commit_time.shape[1]
        or member[M_TRIES] + most > w.overshoot.shape[1]
    ):
        w.s[C_PROBLEM] = SHORT
    return bool(w.s[C_PROBLEM] != 0)


@compiled
def read(w: Reading, m: int, until_ns: int) -> None:
    """Let one member call, wait, work and commit until an instant; without one, until nothing comes any more."""
    member, group = w.reader[m], w.group
    mode, interval = group[at.MODE], group[at.INTERVAL]
    now: int = member[M_NOW]
    next_ns = next_arrival(w, m)
    while True:
        if member[M_WAITS]:
            following = min(next_ns, member[M_RETURNS])
            # Where nothing comes any more, what is done is committed when that is due.
            is_over = until_ns == NEVER and following == NEVER
            if is_over and (interval == 0 or not is_something_new(w, m, mode == at.AUTO)):
                return
            if interval > 0:
                following = min(following, member[M_DUE])
            if following >= until_ns:
                return
            now = following
            member[M_WAITS] = 0
        member[M_NOW] = now
        if now >= until_ns:
            return
        next_ns = arrive(w, m, now, until_ns)
        waiting = member[M_CAME] - member[M_DONE]
        if is_short(w, m, waiting):
            return
        if interval > 0:
            commit_if_due(w, m, now)
        if member[M_RETURNS] == NEVER and waiting > 0:
            member[M_RETURNS] = now + w.wake[m, member[M_WAKES]]
            member[M_WAKES] += 1
        if member[M_RETURNS] <= now and waiting > 0:
            now = handle_batch(w, m, now, min(waiting, group[at.MAX_POLL]))
            member[M_RETURNS] = now
            continue
        if member[M_RETURNS] <= now:
            member[M_RETURNS] = NEVER
        member[M_WAITS] = 1


@compiled
def fetch_next(w: Reading, m: int, b: int, until_ns: int) -> None:
    """Answer a member's next fetch at a broker with all that is visible then, and park the one after it.

    There is no answer yet where nothing comes, or where it is not before an instant beyond which more may come.
    """
    f, seen = w.lane[m, b], w.seen
    first = f[G_NEXT]
    f[G_FROM] = first
    f[G_ARRIVES_NS] = NEVER
    if first == f[G_END]:
        return
    answered_ns = max(f[G_PARKED_NS], seen[first])
    if answered_ns >= until_ns:
        return
    n = f[G_FETCHED]
    if n >= w.fetch.shape[2]:
        w.s[C_PROBLEM] = w.s[C_PROBLEM] or SHORT
        return
    last = first + 1
    while last < f[G_END] and seen[last] <= answered_ns:
        last += 1
    if (last - first) * w.s[C_LARGEST_BYTES] > w.group[at.PART_BYTES]:
        w.s[C_PROBLEM] = FULL_ANSWER
    f[G_FETCHED] = n + 1
    f[G_NEXT] = last
    f[G_TO] = last
    f[G_ARRIVES_NS] = answered_ns + w.fetch[m, b, n]
    f[G_PARKED_NS] = f[G_ARRIVES_NS] + w.turnaround[m, b, min(n, w.turnaround.shape[2] - 1)]


@compiled
def arrive(w: Reading, m: int, now: int, until_ns: int) -> int:
    """Put everything that has arrived into the member's queue; return when the next answer arrives."""
    while True:
        b, first_ns = NONE, NEVER
        for other in range(w.lane.shape[1]):
            if w.lane[m, other, G_ARRIVES_NS] < first_ns:
                b, first_ns = other, w.lane[m, other, G_ARRIVES_NS]
        if b == NONE or first_ns > now:
            return first_ns
        if w.lane[m, b, G_FETCHED] >= w.fetch.shape[2]:
            w.s[C_PROBLEM] = w.s[C_PROBLEM] or SHORT
            return first_ns
        queue_up(w, m, w.lane[m, b, G_FROM], w.lane[m, b, G_TO])
        fetch_next(w, m, b, until_ns)


@compiled
def queue_up(w: Reading, m: int, begin: int, end: int) -> None:
    """Put an answer's records into the member's queue: by partition, and in each as in its log."""
    came, part = w.came, w.part
    place = w.reader[m, M_CAME]
    w.reader[m, M_CAME] = place + end - begin
    if end - begin <= _SHORT:
        for n in range(begin, end):
            here = place + n - begin
            while here > place and part[came[here - 1]] > part[n]:
                came[here] = came[here - 1]
                here -= 1
            came[here] = n
        return
    here = place
    for k in range(w.own_first[m], w.own_first[m + 1]):
        for n in range(begin, end):
            if part[n] == w.own[k]:
                came[here] = n
                here += 1


@compiled
def handle_batch(w: Reading, m: int, delivery_ns: int, count: int) -> int:
    """Work on a batch from its delivery on; return when the member calls again."""
    member, mode, interval, mask = w.reader[m], w.group[at.MODE], w.group[at.INTERVAL], w.s[C_MASK]
    first = member[M_DONE]
    member[M_DONE] = first + count
    for n in range(first, first + count):
        w.delivered[w.event[w.came[n]] & mask] = delivery_ns
        w.given[w.part[w.came[n]]] += 1
    now: int = delivery_ns + w.times[1]
    if mode == at.BEFORE_WORK:
        now = commit(w, m, now, True)
    for n in range(first, first + count):
        e, p = w.event[w.came[n]], w.part[w.came[n]]
        now += max(w.work[e & mask], w.times[0])
        recorded_ns = max(now + w.overshoot[m, member[M_TRIES]], member[M_RECORDED_NS])
        member[M_TRIES] += 1
        member[M_RECORDED_NS] = recorded_ns
        w.effect[e & mask] = recorded_ns
        w.finished[p] += 1
        if recorded_ns <= w.s[C_LAST_NS]:
            w.in_time[p] += 1
        if mode == at.AFTER_EVENT:
            now = commit(w, m, now, False)
        elif interval > 0:
            commit_if_due(w, m, now)
    if mode == at.AFTER_BATCH:
        now = commit(w, m, now, False)
    if now - delivery_ns >= w.group[at.POLL_INTERVAL]:
        w.s[C_PROBLEM] = LATE_CALL
    return now


@compiled
def commit_if_due(w: Reading, m: int, now: int) -> None:
    """Commit what is done if the interval is over."""
    if now >= w.reader[m, M_DUE]:
        commit(w, m, now, w.group[at.MODE] == at.AUTO)
        w.reader[m, M_DUE] = now + w.group[at.INTERVAL]


@compiled
def is_something_new(w: Reading, m: int, of_given: bool) -> bool:
    """Whether a member has something to commit."""
    progress = w.given if of_given else w.finished
    for k in range(w.own_first[m], w.own_first[m + 1]):  # noqa: SIM110  # compiled: a generator would be an object
        if progress[w.own[k]] != w.asked[w.own[k]]:
            return True
    return False


@compiled
def commit(w: Reading, m: int, now: int, of_given: bool) -> int:
    """Begin a commit of what is new; return when it ends, or now if there is nothing."""
    if not is_something_new(w, m, of_given):
        return now
    progress, member = w.given if of_given else w.finished, w.reader[m]
    length = max(w.commit_time[m, member[M_COMMITS]], member[M_RECORDED_NS] - now)
    member[M_COMMITS] += 1
    ended_ns: int = max(now + length, member[M_COMMITTED_NS])
    member[M_COMMITTED_NS] = ended_ns
    for k in range(w.own_first[m], w.own_first[m + 1]):
        p = w.own[k]
        if progress[p] != w.asked[p]:
            w.asked[p] = progress[p]
            row = w.commits[w.s[C_ROWS]]
            w.s[C_ROWS] += 1
            row[K_ENDED_NS] = ended_ns
            row[K_PART] = p
            row[K_OFFSET] = progress[p]
            row[K_BEGUN_NS] = now
    return ended_ns
