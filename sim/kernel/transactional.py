"""Producers that send in transactions (`transactional.id`): what is due at an instant takes effect together, or not at all."""

from sim import world as at
from sim.compiled import compiled, rare
from sim.kernel.links import there_and_back
from sim.kernel.stable import is_open
from sim.kernel.transactions import new_transaction, settle
from sim.world import NONE, NOW, World, push


@compiled
def is_transactional(w: World, i: int) -> bool:
    """Whether a client sends in transactions of its own."""
    return w.proc[i, at.P_COORDINATOR] != NONE


@compiled
def must_wait(w: World, i: int, e: int) -> bool:
    """Whether an event waits until the process's transaction has ended, which takes what was due when it began."""
    proc = w.proc[i]
    x = proc[at.P_TXN]
    if x == NONE or w.event[e, at.CALLED_NS] != NONE:
        return False
    if proc[at.P_COMMIT_BEGUN] == NONE and w.txn[x, at.TX_BEGUN] == w.scalars[NOW]:
        return False
    proc[at.P_WAITS] = 1
    return True


@compiled
def is_broken(w: World, i: int) -> bool:
    """Whether the Java client refused something that was handed over at this instant: its transaction can only be aborted, and takes nothing more."""
    return w.proc[i, at.P_BROKEN_NS] == w.scalars[NOW]


@rare
def breaks(w: World, i: int, e: int) -> None:
    """Let the Java client, which has refused an event, abort its transaction; librdkafka's goes on without it."""
    proc = w.proc[i]
    if proc[at.JAVA]:
        proc[at.P_BROKEN_NS] = w.event[e, at.CALLED_NS]
        proc[at.P_TXN_FAILED] = 1


@rare
def note_gap(w: World, i: int, p: int, too_large: bool) -> None:
    """Let librdkafka count on behind a batch that was refused as too large: what it sends next there is out of order, and only after that it begins anew."""
    w.queue[i, p, at.Q_GAP] = w.proc[i, at.P_TXNS] if too_large else -w.proc[i, at.P_TXNS]


@compiled
def is_out_of_order(w: World, i: int, p: int) -> bool:
    """Whether brokers refuse a producer's batch of a partition because one before it is missing (OUT_OF_ORDER_SEQUENCE_NUMBER)."""
    gap = w.queue[i, p, at.Q_GAP]
    return gap > 0 or (gap < 0 and gap == -w.proc[i, at.P_TXNS])


@rare
def take_part(w: World, i: int, n: int) -> None:
    """Let a process's n-th event be part of its transaction, the first one begin it."""
    s, proc = w.scalars, w.proc[i]
    if proc[at.P_TXN] == NONE:
        x = new_transaction(w, i, proc[at.P_TXNS])
        proc[at.P_TXN] = x
        proc[at.P_LATEST_TXN] = x
        proc[at.P_TXNS] += 1
        proc[at.P_TXN_FIRST] = n
        proc[at.P_TXN_LEFT] = 0
        proc[at.P_TXN_FAILED] = 0
        s[at.OPEN] += 1
    w.event[w.proc_events[n], at.E_TXN] = proc[at.P_TXN]
    proc[at.P_TXN_LEFT] += 1


@rare
def end_if_all(w: World, i: int) -> None:
    """End a process's transaction when nothing of it is under way: by a commit, or at once where something of it was given up."""
    s, proc = w.scalars, w.proc[i]
    x = proc[at.P_TXN]
    is_under_way = proc[at.P_TXN_LEFT] > 0 or proc[at.BLOCKED_UNTIL] != NONE or proc[at.P_COMMIT_BEGUN] != NONE
    if x == NONE or is_under_way:
        return
    if proc[at.P_TXN_FAILED] or not is_open(w, x):
        if is_open(w, x):
            settle(w, x, at.TX_ABORTED)
        finish(w, i)
        return
    proc[at.P_COMMIT_BEGUN] = s[NOW]
    proc[at.P_COMMIT_NS] = w.producer_commit[i, proc[at.P_TXNS] - 1]
    ask_coordinator(w, i)


@compiled
def ask_coordinator(w: World, i: int) -> None:
    """Let a commit begin, or begin again, if its coordinator is known."""
    proc = w.proc[i]
    p, begun = proc[at.P_COORDINATOR], proc[at.P_COMMIT_BEGUN]
    if begun != NONE and w.knows[i, p]:
        takes = proc[at.P_COMMIT_NS] + there_and_back(w, p, i, at.LINK_COMMIT, begun)
        push(w, w.scalars[NOW] + takes, at.END, 0, 0, at.ON_TXN_ENDS, i, proc[at.P_TXN_VERSION], proc[at.P_TXN])


@rare
def commit_ends(w: World, i: int, version: int, x: int) -> None:
    """A commit's time is over: it counts, unless the coordinator has aborted the transaction; the process hears of it."""
    if w.proc[i, at.P_TXN_VERSION] != version:
        return
    if is_open(w, x):
        settle(w, x, at.TX_COMMITTED)
    if w.proc[i, at.P_TXN] == x:
        push(w, w.scalars[NOW], at.END, 0, 0, at.ON_TXN_HEARD, i, x, 0)


@rare
def commit_heard(w: World, i: int, x: int) -> None:
    """Let a process hear of its transaction's end."""
    if w.proc[i, at.P_TXN] == x:
        finish(w, i)


@rare
def finish(w: World, i: int) -> None:
    """Answer the events of a process's transaction, which has ended, and let it go on with what was due meanwhile."""
    s, proc, event = w.scalars, w.proc[i], w.event
    x = proc[at.P_TXN]
    for n in range(proc[at.P_TXN_FIRST], proc[at.NEXT_EVENT]):
        e = w.proc_events[n]
        if event[e, at.E_TXN] == x:
            event[e, at.SENT_ENDED] = s[NOW]
            if w.txn[x, at.TX_STATE] != at.TX_COMMITTED:
                event[e, at.SENT_OFFSET] = NONE
                event[e, at.GIVEN_UP] = at.ABORTED
    leave(w, i, s[NOW])


@compiled
def leave(w: World, i: int, goes_on_ns: int) -> None:
    """Have no transaction any more; what waited for its end is handed over at an instant."""
    proc = w.proc[i]
    proc[at.P_TXN] = NONE
    proc[at.P_COMMIT_BEGUN] = NONE
    w.scalars[at.OPEN] -= 1
    if proc[at.P_WAITS]:
        proc[at.P_WAITS] = 0
        push(w, goes_on_ns, at.HAND_OVER, i, 0, at.ON_HAND_OVER, i, proc[at.NEXT_EVENT], 0)


@rare
def leave_open(w: World, i: int, back_ns: int) -> None:
    """Let a process die in a transaction: nobody knows what becomes of its events, and the next incarnation aborts it."""
    proc, event = w.proc[i], w.event
    x = proc[at.P_TXN]
    for n in range(proc[at.P_TXN_FIRST], proc[at.NEXT_EVENT]):
        e = w.proc_events[n]
        if event[e, at.E_TXN] == x and event[e, at.SENT_ENDED] != at.NEVER:
            event[e, at.SENT_ENDED] = at.NEVER
            event[e, at.SENT_OFFSET] = NONE
            event[e, at.GIVEN_UP] = at.ABANDONED
    leave(w, i, back_ns)
    push(w, back_ns, at.TIMEOUT, i, 0, at.ON_TXN_LEFT, i, x, 0)


@rare
def abort_left(w: World, x: int) -> None:
    """Abort what a process of before had open."""
    if is_open(w, x):
        settle(w, x, at.TX_ABORTED)
