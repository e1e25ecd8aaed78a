"""Checks of transactions: all of one or nothing of it, and an order in which they could have come one after another."""

import numpy as np

from rundata.books import Books
from rundata.findings import CheckResult, judged, nearby, never_allowed, not_applicable, not_read_back
from rundata.transactions import EDGES, Transactions, place_parts
from scenarios.clients import consumer_settings

NO_TRANSACTIONS = "no producer or group of this scenario uses transactions"
INTERLEAVED = (
    "brokers keep the writes of a transaction together, and put transactions into no order: Kafka promises no more"
)


def _transactions(books: Books) -> Transactions | CheckResult:
    """Return the run's transactions, or why there is nothing to judge."""
    found = books.once("transactions", lambda: Transactions(books.whole.transactional, books.run.log))
    if not len(found):
        return not_applicable(NO_TRANSACTIONS)
    return found if books.audited else not_read_back()


def atomicity(books: Books) -> CheckResult:
    """Find transactions of which a part can be seen: committed and not all of it, aborted and some of it, or neither known and half."""
    found = _transactions(books)
    if isinstance(found, CheckResult):
        return found
    half = found.committed & (found.hidden > 0)
    ghost = found.aborted & (found.shown > 0)
    torn = ~found.committed & ~found.aborted & (found.hidden > 0) & (found.shown > 0)
    parts = {
        "committed in part": int(half.sum()),
        "aborted and seen": int(ghost.sum()),
        "of unknown end, in part": int(torn.sum()),
    }

    def example(number: int) -> str:
        word = "committed" if found.committed[number] else "aborted" if found.aborted[number] else "of unknown end"
        mine = np.flatnonzero(found.write_of == number)
        seen, unseen = mine[found.visible[mine]], mine[~found.visible[mine]]
        return (
            f"transaction {found.ids[number]} of {books.run.names.processes[found.process[number]]}, {word}: "
            f"seen {_writes(books, found, seen) or 'nothing'}; not seen {_writes(books, found, unseen) or 'nothing'}"
            f"{nearby(books, _when(books, int(found.ids[number])))}"
        )

    return judged(np.flatnonzero(half | ghost | torn), never_allowed, example, parts=parts)


def _writes(books: Books, found: Transactions, which: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> str:
    return ", ".join(f"event {found.write_event[n]} at {_place(books, int(found.write_place[n]))}" for n in which[:3])


def _place(books: Books, place: int) -> str:
    topic, partition, offset = place_parts(place)
    return f"{books.run.names.topics[topic]}/{partition} offset {offset}"


def _when(books: Books, transaction: int) -> int:
    rows = books.whole.transactional
    return int(rows["started_ns"][rows["transaction_id"] == transaction].max())


def cycles(books: Books) -> CheckResult:
    """Find transactions that cannot have come one after another: each read or overwrote what a later one did."""
    found = _transactions(books)
    if isinstance(found, CheckResult):
        return found
    of_reads = found.cycles(("wr",))
    of_writes = found.cycles(("ww",))
    mixed = [cycle for cycle in found.cycles(("wr", "ww")) if {kind for _, kind, _ in cycle} == {"wr", "ww"}]
    unseen = [cycle for cycle in found.cycles(EDGES) if any(kind == "rw" for _, kind, _ in cycle)]
    every = [*of_reads, *of_writes, *mixed, *unseen]
    uncommitted = _reads_uncommitted(books)
    parts = {"wr": len(of_reads), "ww": len(of_writes), "wr and ww": len(mixed), "rw": len(unseen)}

    def why(numbers: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> list[str]:
        return [uncommitted if number < len(of_reads) else INTERLEAVED for number in numbers.tolist()]

    def example(number: int) -> str:
        steps = [
            f"transaction {found.ids[node]} {_EDGE_TEXT[kind]} {_place(books, place)}"
            for node, kind, place in every[number]
        ]
        return ", then ".join([*steps, f"and so transaction {found.ids[every[number][0][0]]} again"])

    return judged(np.arange(len(every)), why, example, parts=parts)


_EDGE_TEXT = {
    "wr": "wrote what the next one read:",
    "ww": "wrote before the next one wrote",
    "rw": "read on without seeing what the next one wrote:",
}


def _reads_uncommitted(books: Books) -> str:
    """Return why transactions may read from one that is not committed yet."""
    for name in books.groups:
        if consumer_settings(books.scenario, name).isolation == "read_uncommitted":
            return f"{name} has isolation.level read_uncommitted: it reads what is not committed yet"
    return ""
