"""Quotas: how long a broker takes nothing more from a client that was too fast, by Kafka's samples of whole requests."""

from sim import world as at
from sim.compiled import compiled, rare
from sim.world import FRAMED_BATCH, FRAMED_RECORD, NONE, World

SAMPLE_NS = 1_000_000_000
SAMPLES = 11
"""Rates are measured over so many samples: the one that is filled, and whole ones before it."""
PRODUCED_BYTES, PRODUCED_BATCH = 18, 7
"""About what a produce request holds of its own (acks, timeout, the topic's name), and beside each batch."""


@rare
def produced_bytes(w: World, lead: int) -> int:
    """Return what a broker counts of a produce request, without the batches that were taken out of it."""
    size, r = PRODUCED_BYTES, lead
    while r != NONE:
        request = w.request[r]
        if not request[at.R_GONE]:
            size += request[at.R_BYTES] + FRAMED_RECORD * request[at.R_COUNT] + FRAMED_BATCH + PRODUCED_BATCH
        r = request[at.R_MATE]
    return size


@compiled
def take_back(w: World, owner: int, b: int, size: int) -> None:
    """Do not count bytes that were noted last: the broker did not send them."""
    quota = w.quota[owner, b]
    last = (quota[at.QT_FIRST] + quota[at.QT_COUNT] - 1) % at.QT_PLACES
    quota[at.QT_SUMS + last] -= size


@compiled
def mutes_after(w: World, r: int) -> int:
    """Note a produce request that is answered; return for how long its connection is muted."""
    i, b = w.request[r, at.R_SENDER], w.request[r, at.R_BROKER]
    owner = w.proc[i, at.P_OWNER]
    return mutes(w, owner, b, produced_bytes(w, r)) if w.quota[owner, b, at.QT_BYTES_S] else 0


@compiled
def mutes(w: World, owner: int, b: int, size: int) -> int:
    """Note bytes at a broker; return for how long their connection is muted, 0 without a quota."""
    quota = w.quota[owner, b]
    if not quota[at.QT_BYTES_S]:
        return 0
    now = w.scalars[at.NOW]
    while quota[at.QT_COUNT] > 0 and quota[at.QT_STARTS + quota[at.QT_FIRST]] <= now - SAMPLES * SAMPLE_NS:
        quota[at.QT_FIRST] = (quota[at.QT_FIRST] + 1) % at.QT_PLACES
        quota[at.QT_COUNT] -= 1
    last = (quota[at.QT_FIRST] + quota[at.QT_COUNT] - 1) % at.QT_PLACES
    if quota[at.QT_COUNT] == 0 or now - quota[at.QT_STARTS + last] >= SAMPLE_NS:
        last = (quota[at.QT_FIRST] + quota[at.QT_COUNT]) % at.QT_PLACES
        quota[at.QT_STARTS + last] = now
        quota[at.QT_SUMS + last] = 0
        quota[at.QT_COUNT] += 1
    quota[at.QT_SUMS + last] += size
    total = 0
    for n in range(quota[at.QT_COUNT]):
        total += quota[at.QT_SUMS + (quota[at.QT_FIRST] + n) % at.QT_PLACES]
    elapsed_ns = now - quota[at.QT_STARTS + quota[at.QT_FIRST]]
    missing = SAMPLES - 1 - elapsed_ns // SAMPLE_NS
    if missing > 0:
        elapsed_ns += missing * SAMPLE_NS
    return max(0, total * 1_000_000_000 // quota[at.QT_BYTES_S] - elapsed_ns)
