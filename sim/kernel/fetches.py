"""Members' fetches, from parked to the member's queue, and when a member looks at it."""

from sim import world as at
from sim.compiled import compiled, entry, rare
from sim.kernel.cores import answer_works
from sim.kernel.links import crosses
from sim.kernel.quotas import SAMPLE_NS, SAMPLES, mutes, take_back
from sim.kernel.rows import close
from sim.kernel.stable import end_for, end_of_locks, first_available, has_holes, is_gone, is_passed_over, shares
from sim.world import (
    A_FROM,
    A_OWNERSHIP,
    A_TO,
    ARRIVAL,
    CALLED,
    CODE,
    END,
    FETCH,
    FETCHED,
    GENERATION,
    LEADER,
    NEVER,
    NONE,
    NOW,
    ON_ARRIVAL,
    ON_FETCH,
    ON_POLL,
    OWNED,
    PARKED,
    POLL,
    POLL_AT,
    POLLING,
    POSITION,
    RETURNS,
    RG_CAME_NS,
    RG_FROM,
    RG_PART,
    RG_TO,
    RING_COUNT,
    RING_EVENTS,
    RING_HEAD,
    STATE,
    World,
    push,
)


@entry
def poll_at(w: World, m: int, time: int) -> None:
    """Have a polling member look again at an instant."""
    member = w.member[m]
    if time < member[POLL_AT]:
        member[POLL_AT] = time
        push(w, time, POLL, member[CODE], 0, ON_POLL, m, 0, 0)


@entry
def enter_poll_loop(w: World, m: int) -> None:
    """Call for records, after a batch or a duty."""
    member, now = w.member[m], w.scalars[NOW]
    member[STATE] = POLLING
    member[CALLED] = now
    member[RETURNS] = now
    member[POLL_AT] = NEVER
    poll_at(w, m, now)


@entry
def wake_fetch(w: World, m: int, p: int) -> None:
    """Answer a member's parked fetch if the partition has something for it."""
    if p >= w.mp.shape[1] or w.mp[m, p, OWNED] == 0 or not has_more(w, m, p):
        return
    b, code = w.part[p, LEADER], w.member[m, CODE]
    if b == NONE or not w.knows[code, p] or w.mb[m, b, PARKED] != at.IS_PARKED or must_be_taken_first(w, m, p):
        return
    push(w, w.scalars[NOW], FETCH, code, b, ON_FETCH, m, b, 0)


@compiled
def has_more(w: World, m: int, p: int) -> bool:
    """Whether there is something of a partition for a member."""
    g = w.member[m, at.GROUP]
    if shares(w, g):
        return first_available(w, g, p) != NONE
    offset, end = w.mp[m, p, POSITION], end_for(w, m, p)
    while w.scalars[at.HOLES] and offset < end and is_gone(w, p, offset):
        offset += 1
    return offset < end


@compiled
def must_be_taken_first(w: World, m: int, p: int) -> bool:
    """Whether a partition is in no fetch because something of it was fetched and not handed over (Java)."""
    ahead = w.group[w.member[m, at.GROUP], at.AHEAD]
    return ahead in (at.OTHER_PARTITIONS, at.OTHER_BROKERS) and w.mp[m, p, at.GIVEN] != w.mp[m, p, POSITION]


@entry
def wake_fetches(w: World, m: int) -> None:
    """See whether any of a member's parked fetches has something to bring."""
    for p in range(w.mp.shape[1]):
        wake_fetch(w, m, p)


@compiled
def fetched(w: World, m: int, b: int) -> None:
    """Answer a fetch with all that is visible."""
    member = w.member[m]
    if w.mb[m, b, PARKED] != at.IS_PARKED:
        return
    reset_positions(w, m, b)
    if not has_enough(w, m, b):
        return
    if shares(w, member[at.GROUP]):
        acquired(w, m, b)
        return
    any_record, left, is_small = False, most_bytes(w, m, b), is_small_answer(w, m, b)
    for p in range(w.mp.shape[1]):
        answer, mp = w.answer[m, b, p], w.mp[m, p]
        answer[A_TO] = answer[A_FROM]
        if is_in_fetch(w, m, b, p):
            answer[A_FROM] = mp[POSITION]
            answer[A_OWNERSHIP] = mp[OWNED]
            if is_small:
                answer[A_TO] = end_for(w, m, p)
            else:
                left = fill(w, m, b, p, left, not any_record)
            while w.scalars[at.HOLES] and answer[A_TO] > answer[A_FROM] and is_gone(w, p, answer[A_TO] - 1):
                answer[A_TO] -= 1
            mp[POSITION] = answer[A_TO]
            any_record = True
    if not any_record or (w.quota[owner_of(w, m), b, at.QT_BYTES_S] and is_kept_back(w, m, b)):
        return
    send_answer(w, m, b)


@compiled
def owner_of(w: World, m: int) -> int:
    """Return whose quota a member's fetches count for."""
    return w.quota.shape[0] - w.group.shape[0] + w.member[m, at.GROUP]


@compiled
def most_bytes(w: World, m: int, b: int) -> int:
    """Return how much an answer holds at most; no more than a quota allows to who had nothing yet."""
    most, quota = w.group[w.member[m, at.GROUP], at.ANSWER_BYTES], w.quota[owner_of(w, m), b, at.QT_BYTES_S]
    if quota:
        most = min(most, quota * (SAMPLES - 1) * SAMPLE_NS // 1_000_000_000)
    return most


@rare
def is_kept_back(w: World, m: int, b: int) -> bool:
    """Whether a broker answers with nothing because the group had too much; the fetch that follows waits until its rate is the quota again."""
    size = answer_bytes(w, m, b)
    mute_ns = mutes(w, owner_of(w, m), b, size)
    if mute_ns == 0:
        return False
    take_back(w, owner_of(w, m), b, size)
    for p in range(w.mp.shape[1]):
        answer = w.answer[m, b, p]
        if answer[A_TO] > answer[A_FROM]:
            w.mp[m, p, POSITION] = answer[A_FROM]
            answer[A_TO] = answer[A_FROM]
    w.mb[m, b, PARKED] = at.ON_ITS_WAY
    push(w, w.scalars[NOW] + mute_ns, END, 0, 0, at.ON_TURNED, m, b, w.member[m, GENERATION])
    return True


@compiled
def send_answer(w: World, m: int, b: int) -> None:
    """Let an answer be on its way."""
    member, n = w.member[m], w.mb[m, b, FETCHED]
    w.mb[m, b, FETCHED] = n + 1
    w.mb[m, b, PARKED] = at.ON_ITS_WAY
    size = answer_bytes(w, m, b) if w.link[b, at.FROM_BROKER, at.LK_BYTES_S] else 0
    due = w.scalars[NOW] + w.fetch[m, b, n] + crosses(w, b, at.FROM_BROKER, size, member[CODE], at.LINK_FETCHED, n)
    if len(w.cores) > 0:
        answer_works(w, m, b, w.fetch[m, b, n])
    push(w, due, ARRIVAL, member[CODE], b, ON_ARRIVAL, m, b, member[GENERATION])


@compiled
def answer_bytes(w: World, m: int, b: int) -> int:
    """Return the size of what an answer holds."""
    size = 0
    for p in range(w.mp.shape[1]):
        for offset in range(w.answer[m, b, p, A_FROM], w.answer[m, b, p, A_TO]):
            size += size_of(w, p, offset)
    return size


@compiled
def turn(w: World, m: int, b: int) -> None:
    """Send the next fetch to a broker."""
    n, code = w.mb[m, b, FETCHED] - 1, w.member[m, CODE]
    due = w.scalars[NOW] + w.turnaround[m, b, n] + crosses(w, b, at.TO_BROKER, 0, code, at.LINK_FETCH, n)
    push(w, due, END, 0, 0, at.ON_TURNED, m, b, w.member[m, GENERATION])


@rare
def acquired(w: World, m: int, b: int) -> None:
    """Answer a share group's fetch with records that are acquired by it: a run of each partition, in all no more than a poll takes."""
    left = w.group[w.member[m, at.GROUP], at.MAX_POLL]
    most = left
    for p in range(w.mp.shape[1]):
        answer = w.answer[m, b, p]
        answer[A_TO] = answer[A_FROM]
        if left > 0 and is_in_fetch(w, m, b, p):
            left -= acquire(w, m, b, p, left)
    if left < most:
        send_answer(w, m, b)


@compiled
def acquire(w: World, m: int, b: int, p: int, most: int) -> int:
    """Let a fetch acquire a run of a partition's records, at most so many; return how many."""
    s, g = w.scalars, w.member[m, at.GROUP]
    begin = first_available(w, g, p)
    if begin == NONE:
        return 0
    q = s[at.ACQUISITIONS]
    s[at.ACQUISITIONS] = q + 1
    end, limit = begin, end_of_locks(w, g, p)
    count = 0
    while end < limit and count < most and (w.share[g, p, end] == at.SH_AVAILABLE or is_given_up(w, g, p, end)):
        if w.share[g, p, end] == at.SH_AVAILABLE:
            w.share[g, p, end] = at.SH_FIRST + q
            w.left[g, p, end] += 1
            count += 1
        end += 1
    acquisition = w.acquisition[q]
    acquisition[at.AQ_MEMBER] = m
    acquisition[at.AQ_PART] = p
    acquisition[at.AQ_FROM] = begin
    acquisition[at.AQ_TO] = end
    answer = w.answer[m, b, p]
    answer[at.A_FROM] = begin
    answer[at.A_TO] = end
    answer[at.A_ACQUISITION] = q
    push(w, s[at.NOW] + w.group[g, at.LOCK_NS], at.END, 0, 0, at.ON_LOCK, q, 0, 0)
    return count


@compiled
def is_given_up(w: World, g: int, p: int, offset: int) -> bool:
    """Whether a share group does not see a record any more that is not in the log."""
    return w.scalars[at.HOLES] > 0 and w.share[g, p, offset] == at.SH_DONE and is_gone(w, p, offset)


@compiled
def is_in_fetch(w: World, m: int, b: int, p: int) -> bool:
    """Whether a broker has something of a partition for the member's fetch."""
    mp = w.mp[m, p]
    if not mp[OWNED] or w.part[p, LEADER] != b or not w.knows[w.member[m, CODE], p]:
        return False
    return has_more(w, m, p) and not must_be_taken_first(w, m, p)


@compiled
def size_of(w: World, p: int, offset: int) -> int:
    """Return the size of a record's value, nothing where the record is gone."""
    if is_gone(w, p, offset):
        return 0
    return w.identity[w.log[p, offset, at.L_EVENT], at.V_SIZE]


@compiled
def is_small_answer(w: World, m: int, b: int) -> bool:
    """Whether all that is visible certainly fits into one answer, even if every record were as large as the largest."""
    group, total = w.group[w.member[m, at.GROUP]], 0
    for p in range(w.mp.shape[1]):
        if is_in_fetch(w, m, b, p):
            size = (end_for(w, m, p) - w.mp[m, p, POSITION]) * w.scalars[at.LARGEST_BYTES]
            if size > group[at.PART_BYTES]:
                return False
            total += size
    return total <= most_bytes(w, m, b)


@rare
def fill(w: World, m: int, b: int, p: int, left: int, is_first: bool) -> int:
    """Fill an answer with what fits of a partition, its first record always if `is_first`; return what room is left."""
    answer = w.answer[m, b, p]
    offset, size, end = answer[A_FROM], 0, end_for(w, m, p)
    most = min(left, w.group[w.member[m, at.GROUP], at.PART_BYTES])
    while offset < end and (size + size_of(w, p, offset) <= most or (is_first and size == 0)):
        size += size_of(w, p, offset)
        offset += 1
    answer[A_TO] = offset
    return left - size


@rare
def has_enough(w: World, m: int, b: int) -> bool:
    """Whether a parked fetch is answered now: with `fetch.min.bytes`, or with less when its wait is over; else look again then."""
    group, mb = w.group[w.member[m, at.GROUP]], w.mb[m, b]
    least = min(group[at.LEAST_BYTES], most_bytes(w, m, b))
    if least <= 1 or group[at.FETCH_WAIT] == 0:
        return True
    found, any_record = 0, False
    for p in range(w.mp.shape[1]):
        if is_in_fetch(w, m, b, p):
            any_record = True
            for offset in range(w.mp[m, p, POSITION], end_for(w, m, p)):
                found += size_of(w, p, offset)
                if found >= least:
                    return True
    waited = w.scalars[NOW] - mb[at.PARKED_NS]
    if waited > 0 and waited % group[at.FETCH_WAIT] == 0:
        return True
    if any_record:
        due = w.scalars[NOW] + group[at.FETCH_WAIT] - waited % group[at.FETCH_WAIT]
        push(w, due, FETCH, w.member[m, CODE], b, ON_FETCH, m, b, 0)
    return False


@rare
def send_fetches(w: World, m: int) -> None:
    """Send the fetches that wait for the application's call (Java), save to brokers of whose partitions records still wait here."""
    member = w.member[m]
    ahead = w.group[member[at.GROUP], at.AHEAD]
    if ahead == at.ANY:
        return
    for b in range(1, w.mb.shape[1]):
        if w.mb[m, b, PARKED] == at.TO_SEND and not (ahead == at.OTHER_BROKERS and has_records_of(w, m, b)):
            w.mb[m, b, PARKED] = at.ON_ITS_WAY
            turn(w, m, b)


@compiled
def has_records_of(w: World, m: int, b: int) -> bool:
    """Whether records wait in the member of a partition that a broker leads."""
    waiting = 0
    for p in range(w.mp.shape[1]):
        if w.part[p, LEADER] == b and w.knows[w.member[m, CODE], p]:
            waiting += w.mp[m, p, at.QUEUED]
    return waiting > 0


@compiled
def reset_position(w: World, m: int, p: int) -> None:
    """Let a member of which the record to read next is deleted go on where auto.offset.reset says; what it leaves out is over."""
    g, mp = w.member[m, at.GROUP], w.mp[m, p]
    to = w.part[p, at.LOG_START]
    if w.member[m, at.REPLAYS]:
        replay_goes_on(w, m, p, to)
        return
    if w.group[g, at.RESETS_TO] == at.TO_NOTHING:
        read_no_further(w, m, p)
        return
    if w.group[g, at.RESETS_TO] == at.TO_LATEST:
        to = max(to, end_for(w, m, p))
    first = min(mp[POSITION], mp[at.HELD_FROM]) if w.tried_before[p] else mp[POSITION]
    mp[at.HELD_FROM] = to
    mp[at.HELD_TO] = to
    for offset in range(first, to):
        w.left[g, p, offset] = 0
        close(w, g, p, offset)
    mp[POSITION] = to
    if w.group[g, at.AHEAD] != at.ANY:
        skip_unseen(w, m, p)


@entry
def read_no_further(w: World, m: int, p: int) -> None:
    """Leave a partition out of all fetches, since nothing says where to go on (auto.offset.reset: none); Java's call raises that."""
    w.mp[m, p, POSITION] = at.OUT_OF_RANGE
    if w.group[w.member[m, at.GROUP], at.AHEAD] != at.ANY and w.member[m, STATE] == POLLING:
        poll_at(w, m, w.scalars[NOW])


@rare
def raises(w: World, m: int) -> bool:
    """Whether a call of a member with auto.offset.reset: none ends its process: with Java's client, where it has a partition that it cannot read."""
    if w.group[w.member[m, at.GROUP], at.AHEAD] == at.ANY or w.member[m, at.REPLAYS]:
        return False
    unreadable = 0
    for p in range(w.mp.shape[1]):
        unreadable += w.mp[m, p, OWNED] != 0 and w.mp[m, p, POSITION] == at.OUT_OF_RANGE
    return unreadable > 0


@rare
def replay_goes_on(w: World, m: int, p: int, to: int) -> None:
    """Let a replay of which the record to read next is deleted go on with the first one that is left; nobody else is concerned."""
    mp = w.mp[m, p]
    mp[POSITION] = to
    mp[at.HELD_FROM] = to
    mp[at.HELD_TO] = to
    skip_unseen(w, m, p)
    if w.member[m, STATE] == POLLING:
        poll_at(w, m, w.scalars[NOW])


@rare
def reset_positions(w: World, m: int, b: int) -> None:
    """Let the positions of a fetch that are out of range be put where something is."""
    if shares(w, w.member[m, at.GROUP]):
        return
    for p in range(w.mp.shape[1]):
        is_low = w.mp[m, p, OWNED] != 0 and w.mp[m, p, POSITION] < w.part[p, at.LOG_START]
        if is_low and w.part[p, LEADER] == b and w.knows[w.member[m, CODE], p] and not must_be_taken_first(w, m, p):
            reset_position(w, m, p)


@compiled
def arrived(w: World, m: int, b: int, generation: int) -> None:
    """Put an answer's records into the member's queue and send the next fetch."""
    s, member = w.scalars, w.member[m]
    if member[GENERATION] != generation:
        return
    for p in range(w.mp.shape[1]):
        answer = w.answer[m, b, p]
        if answer[A_TO] > answer[A_FROM] and shares(w, member[at.GROUP]):
            queue_acquired(w, m, b, p)
        elif answer[A_TO] > answer[A_FROM] and w.mp[m, p, OWNED] == answer[A_OWNERSHIP]:
            if w.tried_before[p]:
                w.mp[m, p, at.HELD_TO] = answer[A_TO]
                release_copies(w, m, p)
            else:
                w.mp[m, p, at.HELD_FROM] = answer[A_TO]
                w.mp[m, p, at.HELD_TO] = answer[A_TO]
                queue_all(w, m, p, answer[A_FROM], answer[A_TO])
    if member[STATE] == POLLING:
        poll_at(w, m, s[NOW])
    if w.group[member[at.GROUP], at.AHEAD] != at.ANY:
        w.mb[m, b, PARKED] = at.TO_SEND
        return
    turn(w, m, b)


@rare
def queue_acquired(w: World, m: int, b: int, p: int) -> None:
    """Put acquired records into the member's queue, without those between them that are not in the log."""
    g, answer = w.member[m, at.GROUP], w.answer[m, b, p]
    first, end = answer[A_FROM], answer[A_TO]
    for offset in range(first, end):
        if is_given_up(w, g, p, offset):
            if offset > first:
                queue_up(w, m, p, first, offset, answer[at.A_ACQUISITION])
            first = offset + 1
    if end > first:
        queue_up(w, m, p, first, end, answer[at.A_ACQUISITION])


@rare
def queue_all(w: World, m: int, p: int, begin: int, end: int) -> None:
    """Put records into the member's queue, those apart that it does not see."""
    g, first = w.member[m, at.GROUP], begin
    for offset in range(begin, end if has_holes(w) else begin):
        if is_passed_over(w, g, p, offset):
            if is_gone(w, p, offset) and not w.member[m, at.REPLAYS]:
                w.left[g, p, offset] = 0
            if offset > first:
                queue_up(w, m, p, first, offset, NONE)
            first = offset + 1
    if end > first:
        queue_up(w, m, p, first, end, NONE)
    skip_unseen(w, m, p)


@compiled
def skip_unseen(w: World, m: int, p: int) -> None:
    """Let the position stand behind what has come, where nothing of it is left to hand over."""
    if w.mp[m, p, at.QUEUED] == 0:
        w.mp[m, p, at.GIVEN] = w.mp[m, p, at.HELD_FROM]
        w.mp[m, p, at.COLLECTED] = max(w.mp[m, p, at.COLLECTED], w.mp[m, p, at.GIVEN])


@compiled
def queue_up(w: World, m: int, p: int, begin: int, end: int, acquisition: int) -> None:
    """Put a stretch of records into the member's queue."""
    member = w.member[m]
    stretch = w.ring[m, (member[RING_HEAD] + member[RING_COUNT]) % w.ring.shape[1]]
    stretch[RG_PART] = p
    stretch[RG_FROM] = begin
    stretch[RG_TO] = end
    stretch[RG_CAME_NS] = w.scalars[NOW]
    stretch[at.RG_ACQUISITION] = acquisition
    member[RING_COUNT] += 1
    member[RING_EVENTS] += end - begin
    w.mp[m, p, at.QUEUED] += end - begin


@compiled
def release_copies(w: World, m: int, p: int) -> None:
    """Let the copies of a retry topic that are due come into the queue, and look again when the next one is."""
    s, mp = w.scalars, w.mp[m, p]
    begin = mp[at.HELD_FROM]
    while mp[at.HELD_FROM] < mp[at.HELD_TO] and (
        w.log[p, mp[at.HELD_FROM], at.L_DUE] <= s[NOW] or is_passed_over(w, w.member[m, at.GROUP], p, mp[at.HELD_FROM])
    ):
        mp[at.HELD_FROM] += 1
    if mp[at.HELD_FROM] > begin:
        queue_all(w, m, p, begin, mp[at.HELD_FROM])
    else:
        skip_unseen(w, m, p)
    if mp[at.HELD_FROM] < mp[at.HELD_TO] and mp[at.WAKING] != mp[OWNED]:
        mp[at.WAKING] = mp[OWNED]
        due_ns = w.log[p, mp[at.HELD_FROM], at.L_DUE]
        push(w, due_ns, ARRIVAL, w.member[m, CODE], (1 << 20) + p, at.ON_DUE, m, p, mp[OWNED])


@compiled
def due(w: World, m: int, p: int, ownership: int) -> None:
    """Let copies come into the queue, if the partition is still the member's."""
    if w.mp[m, p, OWNED] != ownership:
        return
    w.mp[m, p, at.WAKING] = 0
    release_copies(w, m, p)
    if w.member[m, STATE] == POLLING:
        poll_at(w, m, w.scalars[NOW])


@compiled
def turned(w: World, m: int, b: int, generation: int) -> None:
    """Park the next fetch."""
    if w.member[m, GENERATION] == generation:
        w.mb[m, b, PARKED] = at.IS_PARKED
        w.mb[m, b, at.PARKED_NS] = w.scalars[NOW]
        wake_fetches(w, m)


@rare
def read_again(w: World, m: int) -> None:
    """Read everything from what is committed on, after a transaction that was aborted."""
    member = w.member[m]
    member[GENERATION] += 1
    member[RING_COUNT] = 0
    member[RING_EVENTS] = 0
    for p in range(w.mp.shape[1]):
        mp, offset = w.mp[m, p], w.committed[member[at.GROUP], p]
        if mp[POSITION] != at.OUT_OF_RANGE:
            mp[POSITION] = offset
        mp[at.GIVEN] = offset
        mp[at.COLLECTED] = offset
        mp[at.FINISHED] = offset
        mp[at.ASKED] = offset
        mp[at.HELD_FROM] = offset
        mp[at.HELD_TO] = offset
        mp[at.QUEUED] = 0
    for b in range(w.mb.shape[1]):
        w.mb[m, b, PARKED] = at.IS_PARKED
        w.mb[m, b, at.PARKED_NS] = w.scalars[NOW]
    wake_fetches(w, m)
