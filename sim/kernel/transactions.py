"""Transactions of members (`commit: transaction`): a batch's offsets and what it sent take effect together, or not at all."""

from sim import world as at
from sim.compiled import compiled, entry, rare
from sim.kernel.fetches import read_again, wake_fetch
from sim.kernel.rows import KIND_COMMIT, close, new_row
from sim.kernel.stable import is_open, is_passed_over, move_stable_end
from sim.world import NONE, World


@rare
def begin_transaction(w: World, m: int) -> None:
    """Begin a member's next transaction."""
    member = w.member[m]
    member[at.TXN] = new_transaction(w, member[at.CODE], member[at.N_TXNS])
    member[at.N_TXNS] += 1


@compiled
def new_transaction(w: World, code: int, n: int) -> int:
    """Return the n-th transaction of a process or member, which begins now."""
    s = w.scalars
    x = s[at.TXNS]
    s[at.TXNS] = x + 1
    w.txn[x, at.TX_STATE] = at.TX_OPEN
    w.txn[x, at.TX_BEGUN] = s[at.NOW]
    w.txn[x, at.TX_ID] = (code << 40) + n
    return x


@compiled
def end_transaction(w: World, m: int, state: int) -> None:
    """End a member's transaction, unless the coordinator has aborted it."""
    x = w.member[m, at.TXN]
    w.member[m, at.TXN] = NONE
    if is_open(w, x):
        settle(w, x, state)


@rare
def settle(w: World, x: int, state: int) -> None:
    """Commit or abort an open transaction; readers of committed records go on."""
    w.txn[x, at.TX_STATE] = state
    for p in range(w.mp.shape[1]):
        begin = w.part[p, at.STABLE_END]
        if state == at.TX_ABORTED:
            for offset in range(begin, w.part[p, at.VISIBLE_END]):
                if w.log[p, offset, at.L_TXN] == x:
                    pass_over(w, p, offset)
        move_stable_end(w, p)
        if w.part[p, at.STABLE_END] > begin:
            for m in range(w.member.shape[0]):
                wake_fetch(w, m, p)


@compiled
def pass_over(w: World, p: int, offset: int) -> None:
    """Let an aborted record be over for the groups that do not see it."""
    for g in range(w.group.shape[0]):
        if w.reads[g, p] and is_passed_over(w, g, p, offset):
            close(w, g, p, offset)


@rare
def refuse_transaction(w: World, m: int, item: int, items: int, begun: int) -> None:
    """Let a commit fail, so that the transaction is aborted, and its batch read again if the member is still one."""
    for n in range(item, item + items):
        row = w.rows[new_row(w, m, KIND_COMMIT, NONE, w.item[n, 0], w.item[n, 1])]
        row[at.O_STARTED] = begun
        row[at.O_ENDED] = w.scalars[at.NOW]
        row[at.O_OUTCOME] = 1
        row[at.O_TXN] = transaction_id(w, m)
    end_transaction(w, m, at.TX_ABORTED)
    if not w.member[m, at.FENCED]:
        read_again(w, m)


@compiled
def transaction_id(w: World, m: int) -> int:
    """Return what rows call the member's transaction, or NONE."""
    x = w.member[m, at.TXN]
    return NONE if x == NONE else w.txn[x, at.TX_ID]


@entry
def abort_transaction(w: World, m: int) -> None:
    """Abort what a member has open: it leaves, or is the next incarnation and its producer begins anew."""
    end_transaction(w, m, at.TX_ABORTED)


@entry
def abort_late_transactions(w: World) -> None:
    """Abort what is open for longer than its timeout, as coordinators do that are up; whoever has it open does not know."""
    for m in range(w.member.shape[0]):
        timeout = w.group[w.member[m, at.GROUP], at.TXN_TIMEOUT]
        abort_if_late(w, w.member[m, at.TXN], w.member[m, at.TXN_COORDINATOR], timeout)
    for i in range(w.scalars[at.PRODUCERS]):
        proc = w.proc[i]
        abort_if_late(w, proc[at.P_LATEST_TXN], proc[at.P_COORDINATOR], proc[at.P_TXN_TIMEOUT])


@compiled
def abort_if_late(w: World, x: int, coordinator: int, timeout: int) -> None:
    """Abort a transaction that is open for too long, if its coordinator is up."""
    is_late = is_open(w, x) and w.txn[x, at.TX_BEGUN] + timeout < w.scalars[at.NOW]
    if is_late and w.part[coordinator, at.LEADER] != NONE:
        settle(w, x, at.TX_ABORTED)
