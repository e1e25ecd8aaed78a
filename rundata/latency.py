"""Latencies: from the plan to the effect, from the chain's root, to the acknowledgement; and how late the driver was."""

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books, End
from rundata.chains import sending_settings
from rundata.measurement import Ints, Measurement, missing, time_statistics
from rundata.rows import NEVER
from rundata.scopes import Scope, measured_events, measured_pairs
from scenarios.expectations import QUANTILES

Found = dict[str, Measurement]


def latency(books: Books, scope: Scope) -> Found:
    """Measure the time from the intended instant to the first effect; pairs without one count as infinite."""
    return _to_effect(books, scope, books.pairs.intended_ns)


def chain_latency(books: Books, scope: Scope) -> Found:
    """Measure the time from the root event's intended instant to the first effect."""
    return _to_effect(books, scope, books.plan.intended_ns[roots(books)[books.pairs.event]])


def roots(books: Books) -> Ints:
    """Return the first event of each event's chain."""
    root = np.arange(books.events)
    rows = books.block.sends
    known = (rows["root_id"] >= 0) & (rows["root_id"] < books.events)
    root[rows["event_id"][known]] = rows["root_id"][known]
    return root


def _to_effect(books: Books, scope: Scope, from_ns: Ints) -> Found:
    pairs = books.pairs
    chosen = measured_pairs(books, scope) & (pairs.end != End.dead_lettered) & (pairs.end != End.skipped)
    return _times(books, from_ns[chosen], pairs.effect_ns[chosen], QUANTILES, "pairs")


def ack_latency(books: Books, scope: Scope) -> Found:
    """Measure the time from the intended instant to the acknowledgement; events without one count as infinite."""
    chosen = measured_events(books, scope) & waits_for_acks(books)
    if not chosen.any() and not waits_for_acks(books).any():
        return {statistic: missing("s", "with acks 0 nothing is acknowledged") for statistic in QUANTILES}
    known = chosen & ~from_outside(books)
    if chosen.any() and not known.any():
        reason = "acknowledgements of the user's own program are known to that program only"
        return {statistic: missing("s", reason) for statistic in QUANTILES}
    chosen = known
    return _times(books, books.plan.intended_ns[chosen], books.sends.acked_ns[chosen], QUANTILES, "events")


def waits_for_acks(books: Books) -> NDArray[np.bool_]:
    """Return which events come from a producer that asks for acknowledgements."""
    asks = [sending_settings(books.scenario, name).acks != "0" for name in books.plan.producers]
    return np.asarray(asks, np.bool_)[books.plan.producer]


def from_outside(books: Books) -> NDArray[np.bool_]:
    """Return which events a driven run's own processes did not send, but a program of the user's."""
    own = [each.external for each in books.scenario.producers.values()]
    # What groups emit is numbered behind the producers.
    theirs = np.flatnonzero(own) if books.run.engine == "driven" else np.zeros(0, np.int64)
    return np.isin(books.plan.producer, theirs)


def send_lateness(books: Books, scope: Scope) -> Found:
    """Measure how long after its intended instant each event was handed to the client; unsent events are left out."""
    handed = books.sends.handed_ns
    chosen = measured_events(books, scope) & (handed != NEVER) & ~from_outside(books)
    return _times(books, books.plan.intended_ns[chosen], handed[chosen], ("p50", "p99", "max"), "events that were sent")


def _times(books: Books, from_ns: Ints, to_ns: Ints, statistics: tuple[str, ...], of: str) -> Found:
    came = to_ns != NEVER
    waited = np.maximum(books.end_ns - from_ns[~came], 0)
    return time_statistics(to_ns[came] - from_ns[came], waited, statistics, of=of)
