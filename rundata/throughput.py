"""Events per second: acknowledged, taken effect, and taken effect while there was more to do than could be done."""

import numpy as np

from rundata.backlog import STEP_NS, course
from rundata.books import Books
from rundata.measurement import Ints, Measurement, missing
from rundata.scopes import Scope, events_in, pairs_in
from scenarios.quantities import SECOND

Found = dict[str, Measurement]
WINDOW_NS = 5 * SECOND


def produced(books: Books, scope: Scope) -> Found:
    """Measure acknowledged events per second of measured time."""
    chosen = events_in(books, scope)
    acked = books.sends.acked_ns
    return _rates(books, acked if chosen is None else acked[chosen])


def consumed(books: Books, scope: Scope) -> Found:
    """Measure first effects per second of measured time, and per second in which lag stood above one second of arrivals."""
    pairs, chosen = books.pairs, pairs_in(books, scope)
    effects = pairs.effect_ns if chosen is None else pairs.effect_ns[chosen]
    return {**_rates(books, effects), "saturated": _saturated(books, scope)}


def _rates(books: Books, times_ns: Ints) -> Found:
    begin, end = books.scenario.warm_up, books.scenario.duration
    inside = times_ns[(times_ns >= begin) & (times_ns < end)]
    edges = np.append(np.arange(begin, end, WINDOW_NS), end)
    counts, _ = np.histogram(inside, edges)
    rates = counts / (np.diff(edges) / SECOND)
    return {
        "": Measurement(len(inside) * SECOND / (end - begin), "1/s"),
        "windows": Measurement(None, "1/s", None, "is a series, a value per 5 s", tuple(rates.tolist())),
    }


def _saturated(books: Books, scope: Scope) -> Measurement:
    """Return effects per second while lag stood above the arrivals of the second before."""
    done, steps = saturated_steps(books, scope)
    if not steps:
        return missing("1/s", "lag never stayed above one second of arrivals")
    return Measurement(float(done) * SECOND / (steps * STEP_NS), "1/s")


def saturated_steps(books: Books, scope: Scope) -> tuple[int, int]:
    """Return the effects in the 100 ms steps at whose begin and end lag was above the arrivals of the second before, and these steps."""
    times = np.arange(books.scenario.warm_up, books.scenario.duration + 1, STEP_NS)
    own = course(books, scope)
    above = own.at(times) > own.planned_before(times)
    saturated = above[:-1] & above[1:]
    if not saturated.any():
        return 0, 0
    done = np.diff(own.done_until(times))
    return int(done[saturated].sum()), int(saturated.sum())
