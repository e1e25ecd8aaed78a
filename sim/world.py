"""The simulator's state as a few int64 arrays, one row per entity, and the heap of what happens next."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.compiled import compiled, entry

Ints = NDArray[np.int64]
NONE = -1
NEVER = 2**63 - 1

# What happens first at one instant (docs/model.md, "One instant"); control (2) is SimPy's.
END, CONTROL, TIMEOUT, HAND_OVER, BATCH, SERVICE, FETCH, ARRIVAL, POLL, WORK = range(1, 11)
EVICTION = 6
"""The kernel's own kind of control (sim.clock.Control)."""

# What is on the heap.
(
    ON_HAND_OVER,  # a: process, b: the event's number in proc_events
    ON_BATCH,  # a: process, b: partition
    ON_SERVICE,  # a: process, b: broker
    ON_APPENDED,  # a: request
    ON_VISIBLE,  # a: request, b: version of its timer
    ON_ANSWER,  # a: request
    ON_FETCH,  # a: member, b: broker
    ON_ARRIVAL,  # a: member, b: broker, c: generation
    ON_TURNED,  # a: member, b: broker, c: generation
    ON_POLL,  # a: member
    ON_BEGIN,  # a: member, b: member, c: life (the batch begins)
    ON_TRY,  # a: worker, b: member, c: life
    ON_TRIED,  # a: worker, b: member, c: life
    ON_RECORDED,  # a: row, b: member, c: life
    ON_HANDLED,  # a: worker, b: member, c: life
    ON_DEAD_LETTER,  # a: worker, b: member, c: life
    ON_COMMITTED,  # a: commit, b: version of its timer
    ON_LATE,  # a: member, b: member
    ON_FLUSHED,  # a: member, b: member, c: life
    ON_EMITTED,  # a: process, b: sending, c: life of its member
    ON_FIRST,  # a: worker, b: member, c: life
    ON_DUE,  # a: member, b: partition, c: ownership
    ON_SOON,  # a: member, b: member, c: life (a commit)
    ON_CALL,  # a: worker, b: member, c: life
    ON_HEARD,  # a: worker, b: member, c: life
    ON_GIVES_UP,  # a: worker, b: member, c: life
    ON_DIES,  # a: worker, b: member, c: life
    ON_LOCK,  # a: acquisition
) = range(28)
# The same, of producers and brokers.
(
    ON_EXPIRY,  # a: process
    ON_TIMEOUT,  # a: process, b: broker
    ON_REFRESHED,  # a: process
    ON_REFUSED,  # a: request
) = range(32, 36)
# The same, of dependencies.
(
    ON_SERVED,  # a: call
    ON_LOOK,  # a: dependency
) = range(36, 38)
# The same, of relays and redrives.
(
    ON_RELAY,  # a: process
    ON_RELAYED,  # a: process, b: sending
) = range(38, 40)
# The same, of producers' transactions.
(
    ON_TXN_ENDS,  # a: process, b: version of its timer, c: transaction
    ON_TXN_HEARD,  # a: process, b: transaction
    ON_TXN_LEFT,  # a: process, b: transaction
) = range(40, 43)

# Why `advance` returned.
REACHED, DUTY, SETTLED, STOPPED, SHORT, LATE, DIED, RAISED = range(8)

# scalars
(NOW, SEQ, HEAP, REQUESTS, ROWS, COMMITS, ITEMS, OPEN, WHY, WHO, CHANCE, SEED, MOST, WANT, SENDINGS,
 FIRST_EMITTING, PRODUCERS, HANGING, SLOWED, FREE_CALL, USED_CALLS, LARGEST_BYTES, TXNS, ACQUISITIONS, HOLES,
 AFTER_APPEND, N_SCALARS) = range(27)  # fmt: skip

# of what there is too little: room, or random inputs
(WANT_NOTHING, WANT_HEAP, WANT_REQUESTS, WANT_ROWS, WANT_COMMITS, WANT_ITEMS, WANT_SERVICES, WANT_LOGS, WANT_FETCHES, WANT_RING,
 WANT_WAKES, WANT_TRIES, WANT_COMMIT_TIMES, WANT_HAND, WANT_EMIT_SENDS, WANT_CHILDREN, WANT_EVENTS, WANT_EMIT_STICKY,
 WANT_CALLINGS, WANT_TAKES, WANT_TXNS, WANT_ACQUISITIONS, WANT_RETRIES, WANT_PRODUCER_COMMITS) = range(24)  # fmt: skip

# per producer process
(LINGER, BATCH_BYTES, BATCH_EVENTS, IN_FLIGHT, ACKS, IDEMPOTENT, FIRST_PART, PARTS, FIRST_EVENT, LAST_EVENT, NEXT_EVENT,
 CHOSEN, CHOICES, UNTIL, DELIVERY_NS, REQUEST_NS, ACKS_NS, BACKOFF_NS, MOST_BACKOFF_NS, EXPIRES, RETRIES,
 JAVA, STICKY_BYTES, REQUEST_BYTES, BUFFER_EVENTS, BUFFER_BYTES, HELD_EVENTS, HELD_BYTES, MAX_BLOCK_NS, BLOCKED_UNTIL, EXPIRY_SET,
 LAST_NS, P_MEMBER, P_EMIT, LIVES, WOKEN, LARGEST,
 ASLEEP_UNTIL, BACK_NS, P_OWNER, BOX_HEAD, BOX_TAIL, BOX_COUNT, LOOKS_EVERY, LOOKS_AT, RELAYED,
 P_COORDINATOR, P_TXN, P_LATEST_TXN, P_TXNS, P_TXN_FIRST, P_TXN_LEFT, P_TXN_FAILED, P_TXN_TIMEOUT, P_TXN_VERSION,
 P_COMMIT_BEGUN, P_COMMIT_NS, P_WAITS, P_KNOWS, P_BROKEN_NS, N_PROC) = range(61)  # fmt: skip
ACKS_0, ACKS_1, ACKS_ALL = range(3)

# per sending of an event
(HANDED, SIZE, PART, NEXT, OFFSET, SENT_ENDED, SENT_OFFSET, SENT_PART, GIVEN_UP, CALLED_NS, IDENTITY, INTENDED, E_MEMBER,
 E_LIFE, E_PART, E_OFFSET, E_OWNERSHIP, RANK, E_TIMES, E_ORIGIN, E_TXN, N_EVENT) = range(22)  # fmt: skip
REDRIVER = -2
"""In place of the member that sends."""
EXPIRED, REFUSED, ABANDONED, ABORTED = 1, 2, 3, 4

# per event that there is or may come to be: planned ones first, each its own sending
# V_HASH is that of the key by which the client of an emitted event finds its partition, NONE without one; nobody asks for that of a planned event
(V_ID, V_EMIT, V_SIZE, V_HASH, V_KEY, N_IDENTITY) = range(6)

# per process and partition
(Q_HEAD, Q_TAIL, Q_COUNT, Q_BYTES, UNANSWERED, Q_FAILURES, Q_RETRY_NS, Q_UNDER_WAY, Q_LOOK_NS, Q_GAP, N_QUEUE) = range(
    11
)

# per process and broker
(C_HEAD, C_TAIL, C_CURRENT, C_SERVED, C_LAST_ANSWER, C_UNANSWERED, C_FAILURES, C_TIMEOUT, C_DRAIN,
 C_SENT, C_CAME_NS, C_MUTED_NS, C_HELD, C_HELD_LAST, C_NEW, C_WOKE_NS, C_IS_LATE, C_SCAN, N_CONN) = range(19)  # fmt: skip

# per request
(R_SENDER, R_BROKER, R_PART, R_HEAD, R_COUNT, R_BYTES, R_APPENDED, R_REPLICATED, R_VISIBLE, R_CUT, R_NEXT, R_AFTER, R_BEFORE,
 R_LEFT, R_DUE, R_VERSION, R_TIMED, R_N, R_END, R_DEAD, R_MADE, R_BEGUN, R_SEEN_NS, R_MATE, R_LEAD, R_WAITS, R_GONE,
 R_LIFE, R_STALE, R_DONE, R_HELD_BACK, R_CAME_NS, N_REQ) = range(33)  # fmt: skip

# per partition (those of the offsets topic come last)
(LEADER, HALTED, EPOCH, VISIBLE_END, LAST_REQ, PENDING, LOG_LEN, HUNG_AT, STALE_END, TOO_FEW, LOG_START, STABLE_END,
 MOST_BATCH, N_PART) = range(14)  # fmt: skip

# per broker: whether it hangs, until when it takes itself for the leader of what it led, and (with cores that all share) when the latest fetch
# of its followers leaves and is back
(SILENT, STALE_UNTIL, CUT_OFF, FOLLOWERS_LEAVE_NS, FOLLOWERS_BACK_NS, N_BROKER) = range(6)
SILENTLY, BY_RESET, NO_REQUESTS, NO_ANSWERS = range(1, 5)
IN_VAIN, WITH_TOO_FEW, TOO_LARGE, OUT_OF_ORDER = range(1, 5)
"""Why a broker refuses a batch (R_STALE): it does not lead the partition, fewer than min.insync.replicas have it, or the topic takes no such batch."""
REQUEST_SCAN_NS = 1_000_000_000
"""How often librdkafka's thread for a broker looks for requests that are over (`rd_kafka_broker_timeout_scan`)."""
HANGS_NS = 2**61
"""Added to instants that a broker which hangs does not reach."""

# per broker and way between it and clients
(LK_SLOW, LK_DELAY, LK_JITTER, LK_BYTES_S, LK_FREE_NS, N_LINK) = range(6)
TO_BROKER, FROM_BROKER = range(2)
# per leader and follower
(PR_SLOW, PR_THERE_NS, PR_BACK_NS, PR_BYTES_S, PR_LEAVES_NS, PR_PARKED_NS, N_PAIR) = range(7)
# What crosses a link, for its jitter's chance; apart from the attempts that failing_work asks about.
LINK_REQUEST, LINK_ANSWER, LINK_FETCH, LINK_FETCHED, LINK_COMMIT, LINK_LETTER = range(100_000, 100_012, 2)

# per producer or group, and broker: a quota, and samples of what came or was fetched, in a ring
QT_PLACES = 13
QT_BYTES_S, QT_FIRST, QT_COUNT, QT_STARTS = range(4)
QT_SUMS, N_QUOTA = QT_STARTS + QT_PLACES, QT_STARTS + 2 * QT_PLACES

FRAMED_BATCH, FRAMED_RECORD = 61, 16
"""What a batch, and about what a record with its key, adds to the sizes of values."""

# per group
(MODE, INTERVAL, COLLECT_EVENTS, COLLECT_TIMEOUT, MAX_POLL, ATTEMPTS, THEN, COORDINATOR, POLL_INTERVAL, EMITS,
 BY_TOPIC, DEDUPE_NS, DEDUPE_OWN, WORKERS, IN_HAND, ORDERED_BY, RESETS_TO, CALLS, AHEAD, AT_CALLS, ONE_COMMIT, LEAST_BYTES, FETCH_WAIT,
 PART_BYTES, ANSWER_BYTES, READ_COMMITTED, TXN_TIMEOUT, LOCK_NS, DELIVERY_LIMIT, MOST_LOCKS, N_GROUP) = range(31)  # fmt: skip
AFTER_BATCH, BEFORE_WORK, AFTER_EVENT, EVERY, AUTO, TRANSACTION = range(6)
FOREVER, DEAD_LETTER, SKIP, STOP, CRASH, RELEASE = range(6)
BY_NOTHING, BY_KEY, BY_PARTITION = range(3)
TO_EARLIEST, TO_LATEST, TO_NOTHING = range(3)
OUT_OF_RANGE = 2**62
"""In place of a position: nothing says where to go on, and the partition is in no fetch any more."""
ANY, OTHER_PARTITIONS, OTHER_BROKERS, NOTHING_AHEAD, WHEN_CALLED = range(5)
"""What a member fetches while it has records that the application did not take yet: librdkafka, Java until 3.9 and since 4.0, share groups,
and Java members that collect."""

# per member
(GROUP, CODE, STATE, LIFE, GENERATION, HAS_DUTY, CALLED, RETURNS, DUE, POLL_AT, POLLS, WAKES, TRIES, N_COMMITS, DEAD_LETTERS,
 LAST_COMMIT, GOES_ON, BATCH_LEFT, FIRST_WORKER, RING_HEAD, RING_COUNT, RING_EVENTS, RECORDED_NS, LATE_AT, LATE_TIMER,
 SEAT, FENCED, EMITTING, FIRST_EMITTER, PAUSED_NS, STALLED_NS, HELD, NO_ROOM, SERIAL,
 COMMIT_SOON, VERSION, TXN, N_TXNS, TXN_COORDINATOR, REPLAYS, PACE_NS, PACED_NS, LETTERS, N_MEMBER) = range(44)  # fmt: skip
IDLE, POLLING, WORKING, COMMITTING, SETTLING, WAITING, FLUSHING = range(7)
TO_FIRST_TRY, TO_NEXT_EVENT, TO_POLL, TO_DUTY = range(4)
WHEN_CALLING, RIGHT_AWAY, TO_LEAVE = range(1, 4)
"""How soon a member turns to its duty: at its next call, or also where it has no room for what that brings."""

# per event in a member's hands: those of a batch, in order
(H_PART, H_OFFSET, H_NUMBER, H_POLL, H_STATE, H_SERIAL, H_ACQUISITION, H_RELEASED, H_OWNERSHIP, N_HAND) = range(10)
H_FREE, H_COMING, H_WAITS, H_AT_WORK = range(4)

# per worker of a member; what it works on is a place in the member's hands
(WK_MEMBER, WK_HAND, WK_STATE, ATTEMPT, TRY_BEGAN, DL_BEGAN, DL_OFFSET, DL_PART, DL_LENGTH, DL_REQUEST, DL_DUE,
 WK_RECORDED_NS, WK_CALL, WK_ASKED, WK_GIVES_UP, WK_ANSWER, N_WORKER) = range(17)  # fmt: skip
AT_WORK, DL_UNKNOWN, DL_SENT = range(3)

# per member and partition
(OWNED, POSITION, GIVEN, FINISHED, ASKED, HELD_FROM, HELD_TO, WAKING, QUEUED, READ_TO, COLLECTED, N_MP) = range(12)

# per member and broker
(PARKED, FETCHED, PARKED_NS, N_MB) = range(4)
ON_ITS_WAY, IS_PARKED, TO_SEND = range(3)
"""A fetch is sent again by the client, or (Java) by the application's next call."""

# an answer on its way: per member, broker, partition
(A_FROM, A_TO, A_OWNERSHIP, A_ACQUISITION, N_ANSWER) = range(5)

# a stretch of records in a member's queue
(RG_PART, RG_FROM, RG_TO, RG_CAME_NS, RG_ACQUISITION, N_RANGE) = range(6)

# per commit
(CM_MEMBER, CM_LIFE, CM_BEGUN, CM_LENGTH, CM_ITEM, CM_ITEMS, CM_BEFORE, CM_AFTER, CM_VERSION, CM_TIMED, CM_DONE, CM_SEAT,
 CM_TXN, N_COMMIT) = range(14)  # fmt: skip

# per row of operations
(O_KIND, O_PROCESS, O_GROUP, O_EVENT, O_PART, O_OFFSET, O_STARTED, O_ENDED, O_ATTEMPT, O_POLL, O_NUMBER, O_RETRY, O_OUTCOME,
 O_VALID, O_CAME_NS, O_TXN, O_OWNERSHIP, N_ROW) = range(18)  # fmt: skip

# per record in a log
# how often it was redriven, and the partition where it was first read, are NONE for what was never a dead letter or a copy
(L_EVENT, L_TIME, L_EPOCH, L_REQUEST, L_SENDING, L_DUE, L_TIMES, L_ORIGIN, L_TXN, N_LOG) = range(10)

# in place of a record's transaction: it is not in the log any more, and readers pass over it
TRUNCATED, COMPACTED = -2, -3

# per transaction
(TX_STATE, TX_BEGUN, TX_ID, N_TXN) = range(4)
TX_OPEN, TX_COMMITTED, TX_ABORTED = range(3)

# figures of the profile: `costs` and `times`
PER_KIB, PER_RECORD, OVERSLEEP = range(3)
LEAST_WORK, PER_POLL, SLEEP_STEP = range(3)

# CPU times, and the means of the times to which they are in proportion
OF_REQUEST, OF_EVENT, MEAN_PRODUCE, MEAN_FETCH = range(4)

# per acquisition: a run of records that a member of a share group has for a while
(AQ_MEMBER, AQ_PART, AQ_FROM, AQ_TO, N_ACQUISITION) = range(5)
# by group, partition and offset: what a share group has of a record; from SH_FIRST on it is the number of an acquisition
SH_AVAILABLE, SH_DONE, SH_FIRST = range(3)

# per slow_work or failing_work fault, or version whose tries fail
(S_GROUP, S_BEGIN, S_END, S_PLUS, S_VERSION, N_SLOW) = range(6)

# per call that a group's tries make, in their order
(GC_DEPENDENCY, GC_TIMEOUT, GC_STREAM, GC_OPENS_AFTER, GC_STAYS_NS, GC_PROBES, GC_WAITS, N_GROUP_CALL) = range(8)

# per member and call: its breaker
(B_IS_OPEN, B_OPENED_NS, B_FAILURES, B_GOOD, N_BREAKER) = range(5)

# per dependency
(D_INTERVAL_NS, D_BURST, D_PLACES, D_REFUSES, D_FULL_NS, D_BUSY, D_HEAD, D_TAIL, D_WAITING, D_BEGUN, D_LOOK_AT,
 N_DEPENDENCY) = range(12)  # fmt: skip

# per call under way: in line, or being served
(K_DEPENDENCY, K_WORKER, K_MEMBER, K_LIFE, K_FAILS, K_WITHDRAWN, K_NEXT, N_CALLING) = range(8)

# per dependency_down or dependency_slow fault
(DF_DEPENDENCY, DF_BEGIN, DF_END, DF_PLUS, DF_DOWN, DF_COUNT, DF_FAULT, N_DEP_FAULT) = range(8)


class World(NamedTuple):
    """Everything that the kernel reads and writes."""

    scalars: Ints
    heap: Ints
    proc: Ints
    proc_events: Ints
    sticky: Ints
    event: Ints
    identity: Ints
    relay: Ints
    """By group and emit: the process that relays from the outbox; NONE where members send by themselves."""
    child_first: Ints
    """By group and event: the first event that an effect emits; NONE where that is not worked out yet."""
    child_count: Ints
    left: NDArray[np.int16]
    """By group, partition and offset: what of the last delivery is not done, its own end and what it emitted."""
    queue: Ints
    conn: Ints
    request: Ints
    part: Ints
    broker: Ints
    link: Ints
    """By broker and way: what slows what passes between it and clients."""
    pair: Ints
    """By leader and follower: the same, and the follower's fetch."""
    quota: Ints
    in_sync: NDArray[np.uint8]
    """By partition and broker."""
    log: Ints
    knows: Ints
    """By process or member and partition: whom it takes for the leader; 0 is nobody."""
    group: Ints
    reads: NDArray[np.uint8]
    committed: Ints
    latest: Ints
    """By group and partition: the latest ownership, as in OWNED."""
    closed: NDArray[np.uint8]
    deliveries: Ints
    """By group and event: how often it was delivered."""
    work: Ints
    """By version and event: those with which groups begin come first, then those that are deployed."""
    failing: NDArray[np.int16]
    """The same."""
    backoff: Ints
    dead_letter_part: NDArray[np.int32]
    """By row and event: a row for each group, and as many again for each number of partitions to which topics of dead letters grow."""
    retry_part: Ints
    """By group and partition: where copies for the next try go; NONE where there is no such try."""
    tried_before: Ints
    """By partition: in a retry topic how many tries have failed of what it holds, else 0."""
    marked: Ints
    """By group and event: when its latest effect was, in the memory that members share; NONE where there was none."""
    own_marked: Ints
    """By member and event: the same in the member's own memory."""
    slow: Ints
    slow_factor: NDArray[np.float64]
    fail: Ints
    fail_share: NDArray[np.float64]
    member: Ints
    mp: Ints
    mb: Ints
    answer: Ints
    ring: Ints
    hand: Ints
    worker: Ints
    commit: Ints
    item: Ints
    txn: Ints
    share: NDArray[np.int32]
    acquisition: Ints
    rows: Ints
    # random inputs: by process and broker, member and broker, or member; then by number
    produce: Ints
    leader: Ints
    acknowledge: Ints
    retry: Ints
    fetch: Ints
    turnaround: Ints
    wake: Ints
    overshoot: Ints
    commit_time: Ints
    producer_commit: Ints
    dead_letter: Ints
    emit_send: Ints
    emit_sticky: Ints
    takes: Ints
    """By dependency and the calls that it has begun: how long each takes."""
    group_call: Ints
    breaker: Ints
    dependency: Ints
    dependency_fails: NDArray[np.float64]
    calling: Ints
    dep_fault: Ints
    dep_factor: NDArray[np.float64]
    # figures of the profile
    costs: NDArray[np.float64]
    """us per KiB and per record of a request, and by which share of it a sleep of a client's thread takes longer."""
    times: Ints
    """In ns: least time per event, time per poll, and of what sleeps of a client's threads are multiples (0: they are exact)."""
    core_times: Ints
    """In ns: CPU time of a request and of an event; how long a produce request and a fetch take in the mean."""
    cores: Ints
    """When each core that all share is free; none where nobody waits for one."""
    rest: Ints
    """In ns: how much longer a request takes after a long rest of its broker, and of all brokers."""
    asked: Ints
    """By broker: when the service of its latest produce request began; first when that of any did."""


@compiled
def copied(heap: Ints, source: int, target: int) -> None:
    """Copy a row of the heap; element by element, since a slice costs the kernel a temporary array."""
    heap[target, 0] = heap[source, 0]
    heap[target, 1] = heap[source, 1]
    heap[target, 2] = heap[source, 2]
    heap[target, 3] = heap[source, 3]
    heap[target, 4] = heap[source, 4]
    heap[target, 5] = heap[source, 5]
    heap[target, 6] = heap[source, 6]


@entry
def push(w: World, time: int, phase: int, tie: int, second: int, what: int, a: int, b: int, c: int) -> None:
    """Put something on the heap; what lies in the past happens now."""
    s, heap = w.scalars, w.heap
    time = max(time, s[NOW])
    key = (phase << 48) | (tie << 24) | second
    s[SEQ] += 1
    seq = s[SEQ]
    at = s[HEAP]
    s[HEAP] = at + 1
    while at > 0:
        up = (at - 1) >> 1
        t = heap[up, 0]
        if t < time or (t == time and heap[up, 1] <= key):
            break
        copied(heap, up, at)
        at = up
    heap[at, 0] = time
    heap[at, 1] = key
    heap[at, 2] = seq
    heap[at, 3] = what
    heap[at, 4] = a
    heap[at, 5] = b
    heap[at, 6] = c


@compiled
def pop(w: World) -> None:
    """Take the first thing off the heap; its fields must have been read."""
    s, heap = w.scalars, w.heap
    last = s[HEAP] - 1
    s[HEAP] = last
    if last == 0:
        return
    time, key, seq = heap[last, 0], heap[last, 1], heap[last, 2]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= last:
            break
        right = child + 1
        if right < last and (
            heap[right, 0] < heap[child, 0]
            or (
                heap[right, 0] == heap[child, 0]
                and (
                    heap[right, 1] < heap[child, 1]
                    or (heap[right, 1] == heap[child, 1] and heap[right, 2] < heap[child, 2])
                )
            )
        ):
            child = right
        t, k, q = heap[child, 0], heap[child, 1], heap[child, 2]
        if time < t or (time == t and (key < k or (key == k and seq < q))):
            break
        copied(heap, child, at)
        at = child
    copied(heap, last, at)
