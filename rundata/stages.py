"""What each latency is made of: stages from the plan to the effect that add up exactly, to the nanosecond, in both engines.

A simulated run knows when a batch became a request, the broker began with it, the high watermark passed it and the record was in the
member's queue; of a driven run the producer's and the fetch's parts are known as a whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from rundata.books import Books, Bools, End
from rundata.measurement import Ints
from rundata.rows import NEVER, NONE
from rundata.scopes import EVERYTHING, Scope, measured_pairs
from rundata.tables import RunData

Stage = Literal[
    "sending", "producing", "batching", "connection", "replication", "fetching", "waiting", "outage", "rebalance", "retrying", "working"
]  # fmt: skip
MEANING: dict[Stage, str] = {
    "sending": "planned until handed to the client",
    "producing": "in the client until acknowledged or delivered: batching, connection, replication",
    "batching": "in the client until its batch became a request",
    "connection": "behind other requests on the connection",
    "replication": "with the broker until the high watermark passed it",
    "fetching": "visible until in the member's queue",
    "waiting": "behind other events of its member",
    "outage": "while its partition had no leader, or could not go on",
    "rebalance": "while its partition had no member",
    "retrying": "failed tries and their backoff",
    "working": "the try that worked",
}
"""What an event does in each stage."""
_SPLITS: tuple[Stage, ...] = ("batching", "connection", "replication", "producing", "fetching")
"""Stages from which outages, and then rebalances, are taken out."""
_ENDS_OUTAGE = ("election", "isr")


@dataclass(frozen=True, eq=False)
class Stages:
    """Pairs that took effect, and how long each spent in each stage."""

    event: Ints
    group: Ints
    latency_ns: Ints
    """Effect minus intended time: the sum of all parts."""
    parts: dict[Stage, Ints]


@dataclass(frozen=True)
class Composition:
    """What latencies around a quantile are made of, on average; the parts add up to the latency."""

    statistic: str
    latency_s: float
    parts_s: dict[Stage, float]


def stages(run: RunData, scope: Scope = EVERYTHING) -> Stages:
    """Return the stages of each measured pair of a scope that took effect."""
    books = Books.of(run)
    pairs = books.pairs
    chosen = np.flatnonzero(measured_pairs(books, scope) & (pairs.end == End.effect))
    edges, names = _edges(books, chosen)
    spans = {name: (edges[n], edges[n + 1]) for n, name in enumerate(names) if name in _SPLITS}
    parts: dict[Stage, Ints] = {name: np.zeros(len(chosen), np.int64) for name in (*names, "outage", "rebalance")}
    for number, name in enumerate(names):
        parts[name] = parts[name] + edges[number + 1] - edges[number]
    for where, begin_ns, end_ns in _outages(books):
        _take_out(parts, spans, "outage", where[chosen], begin_ns, end_ns)
    for where, begin_ns, end_ns in _ownerless(books):
        _take_out(parts, {"fetching": spans["fetching"]}, "rebalance", where[chosen], begin_ns, end_ns)
    ordered = {name: parts[name] for name in MEANING if name in parts}
    return Stages(pairs.event[chosen], pairs.group[chosen], edges[-1] - edges[0], ordered)


def compositions(found: Stages, quantiles: Sequence[float] = (0.5, 0.99)) -> list[Composition]:
    """Return what the pairs around each quantile are made of: the hundredth of all pairs (at least one) nearest in rank."""
    count = len(found.latency_ns)
    order = np.argsort(found.latency_ns, kind="stable")
    composed = []
    for quantile in quantiles if count else ():
        width = max(1, count // 100)
        first = min(max(0, round(quantile * count) - width // 2), count - width)
        around = order[first : first + width]
        parts_s = {name: float(part[around].mean()) / 1e9 for name, part in found.parts.items()}
        composed.append(Composition(f"p{quantile * 100:g}", float(found.latency_ns[around].mean()) / 1e9, parts_s))
    return composed


# ---- instants ------------------------------------------------------------------------------------------------------


def _edges(books: Books, chosen: Ints) -> tuple[list[Ints], list[Stage]]:
    """Return the instants between stages for the chosen pairs, rising, and the stages between them."""
    pairs, sends = books.pairs, books.sends
    event, effect = pairs.event[chosen], pairs.effect_ns[chosen]
    delivered, first_try, last_try, process = _tries(books, chosen)
    handed = np.where(sends.handed_ns[event] == NEVER, pairs.intended_ns[chosen], sends.handed_ns[event])
    names: list[Stage]
    if len(books.run.instants):
        batched, served, visible, arrived = _instants(books, chosen, delivered, process)
        edges = [pairs.intended_ns[chosen], handed, batched, served, visible, arrived, first_try, last_try, effect]
        names = ["sending", "batching", "connection", "replication", "fetching", "waiting", "retrying", "working"]
    else:
        acked = np.minimum(sends.acked_ns[event], delivered)
        # Nobody sees a record come into a busy member's queue: until it is done with its batch, the record waits for that.
        freed = np.maximum(acked, np.minimum(_busy_until(books, process, delivered), delivered))
        edges = [pairs.intended_ns[chosen], handed, acked, freed, delivered, first_try, last_try, effect]
        names = ["sending", "producing", "waiting", "fetching", "waiting", "retrying", "working"]
    # A record that was sent again, or delivered before its acknowledgement came, has instants out of order.
    for number in range(1, len(edges)):
        edges[number] = np.minimum(np.maximum(edges[number], edges[number - 1]), effect)
    edges[-1] = effect
    return edges, names


def _tries(books: Books, chosen: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return of each pair's first effect: its delivery, the begins of that delivery's first and last try, and the process."""
    pairs, tries, deliveries = books.pairs, books.block.tries, books.block.deliveries
    effect = pairs.effect_ns[chosen]
    of_pair = pairs.flat[chosen]
    pair = tries["group"] * books.events + tries["event_id"]
    number = tries["delivery_number"].astype(np.int64)
    worked = np.flatnonzero(tries.ok)
    worked = worked[np.lexsort((tries["ended_ns"][worked], pair[worked]))]
    first = worked[np.searchsorted(pair[worked], of_pair)]
    assert (tries["ended_ns"][first] == effect).all(), "an effect is the earliest try that worked"
    at = _keyed(pair, number)
    began = _earliest_by(at, tries["started_ns"], _keyed(of_pair, number[first]))
    delivered_pair = deliveries["group"] * books.events + deliveries["event_id"]
    handed_over = _earliest_by(
        _keyed(delivered_pair, deliveries["delivery_number"].astype(np.int64)),
        deliveries["started_ns"],
        _keyed(of_pair, number[first]),
    )
    last = tries["started_ns"][first]
    return np.minimum(handed_over, last), np.minimum(began, last), last, tries["process"][first].astype(np.int64)


def _busy_until(books: Books, process: Ints, at_ns: Ints) -> Ints:
    """Return when each process ended its last try before an instant; 0 where it had none."""
    tries = books.block.tries
    until = np.zeros(len(at_ns), np.int64)
    for code in np.unique(process):
        ended = np.sort(tries["ended_ns"][tries["process"] == code])
        own = process == code
        before = np.searchsorted(ended, at_ns[own], side="right")
        until[own] = np.where(before > 0, ended[np.maximum(before - 1, 0)], 0)
    return until


def _keyed(pair: Ints, number: Ints) -> Ints:
    keyed: Ints = pair * (1 << 15) + number
    return keyed


def _earliest_by(keys: Ints, times_ns: Ints, wanted: Ints) -> Ints:
    """Return for each wanted key the earliest time of the rows with that key; NEVER where there is none."""
    order = np.lexsort((times_ns, keys))
    place = np.searchsorted(keys[order], wanted)
    found = np.append(keys[order], NONE)[place] == wanted
    return np.where(found, np.append(times_ns[order], NEVER)[place], NEVER)


def _instants(books: Books, chosen: Ints, delivered: Ints, process: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return batched, served, visible and arrived of each pair's delivery."""
    known = books.run.instants
    own = known[(known["event_id"] >= 0) & (known["event_id"] < books.events)]
    pair = own["group"].astype(np.int64) * books.events + own["event_id"]
    order = np.lexsort((own["delivered_ns"], pair))
    own, pair = own[order], pair[order]
    # The last delivery of the pair that is not later than the one with the effect.
    wanted = books.pairs.flat[chosen]
    low, high = np.searchsorted(pair, wanted, "left"), np.searchsorted(pair, wanted, "right")
    at = low.copy()
    for step in range(int((high - low).max(initial=0))):
        candidate = low + step
        inside = candidate < high
        place = np.minimum(candidate, len(own) - 1)
        fits = inside & (own["delivered_ns"][place] <= delivered) & (own["process"][place] == process)
        at = np.where(fits, place, at)
    rows = own[np.minimum(at, len(own) - 1)]
    return tuple(rows[name] for name in ("batched_ns", "served_ns", "visible_ns", "arrived_ns"))  # type: ignore[return-value]  # four


# ---- what stands in the way ----------------------------------------------------------------------------------------


def _take_out(
    parts: dict[Stage, Ints],
    spans: dict[Stage, tuple[Ints, Ints]],
    into: Stage,
    where: Bools,
    begin_ns: int,
    end_ns: int,
) -> None:
    """Move what of the spans lies between two instants into another stage."""
    for name, (begin, end) in spans.items():
        overlap = np.where(where, np.minimum(end, end_ns) - np.maximum(begin, begin_ns), 0)
        overlap = np.minimum(np.maximum(overlap, 0), parts[name])
        parts[name] = parts[name] - overlap
        parts[into] = parts[into] + overlap


def _outages(books: Books) -> Iterator[tuple[Bools, int, int]]:
    """Yield which pairs' partition and group stood still, and from when to when.

    From the begin of a broker's fault until the group's first delivery after the partition had a leader, or a smaller in-sync set.
    """
    run, pairs = books.run, books.pairs
    begins = sorted({fault.began_ns for fault in run.faults if fault.target.startswith("broker")})
    for begin_ns, until_ns in pairwise([*begins, NEVER]):
        moved: dict[str, int] = {}
        for incident in run.incidents:
            if incident.kind in _ENDS_OUTAGE and begin_ns <= incident.time_ns < until_ns:
                moved.setdefault(incident.where, incident.time_ns)
        for partition in range(int(books.first_partition[-1])):
            at_ns = moved.get(books.partition_name(partition))
            if at_ns is None:
                continue
            for group in range(len(books.groups)):
                where = (pairs.partition == partition) & (pairs.group == group)
                after = pairs.delivered_ns[where & (pairs.delivered_ns >= at_ns)]
                if len(after):
                    yield where, begin_ns, min(int(after.min()), until_ns)


def _ownerless(books: Books) -> Iterator[tuple[Bools, int, int]]:
    """Yield which pairs' partition had no member of the group, and from when to when: until it was assigned anew."""
    run = books.run
    owner: dict[tuple[str, str], str] = {}
    since: dict[tuple[str, str], int] = {}
    leaves = [(f.began_ns, "gone", f.target, "") for f in run.faults if f.target in run.names.processes]
    told = [(i.time_ns, i.kind, i.where, i.detail) for i in run.incidents if i.kind in ("assignment", "rebalance")]
    for time_ns, kind, who, detail in sorted(leaves + told, key=lambda each: (each[0], each[1] == "assignment")):
        if kind == "assignment":
            group = who.rpartition("/")[0]
            for name in detail.split():
                key = (group, name)
                if key in since and since[key] < time_ns:
                    yield _pairs_of(books, group, name), since[key], time_ns
                since.pop(key, None)
                owner[key] = who
        else:
            for key, member in owner.items():
                if member == who or (kind == "rebalance" and key[0] == who):
                    since.setdefault(key, time_ns)


def _pairs_of(books: Books, group: str, partition: str) -> Bools:
    topic, _, number = partition.rpartition("/")
    if topic not in books.plan.topics:
        return np.zeros(len(books.pairs.group), np.bool_)
    place = int(books.first_partition[books.plan.topics.index(topic)]) + int(number)
    where: Bools = (books.pairs.group == books.groups.index(group)) & (books.pairs.partition == place)
    return where
