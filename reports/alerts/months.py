"""Time longer than a run: runs one after the other, a quiet one again and again, with the faulty ones at times drawn at random.

A counter goes on from where it was, a process that starts again counts from zero, and a series that is missing ends.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.alerts.backtest import Case
from reports.alerts.series import NAME, AlertError, Bools, Floats, Labels, Millis, Series, Store
from reports.alerts.truth import Trouble
from scenarios.streams import stream

Ints = NDArray[np.int64]
_COUNTS = ("_total", "_count", "_sum", "_bucket", "_offset", "_high_water_mark")


def is_counter(name: str) -> bool:
    """Whether a metric only grows while its process lives, as its name tells."""
    return name.endswith(_COUNTS)


@dataclass(frozen=True, eq=False)
class Piece:
    """Series of a stretch that begins at 0, closed by a sample at its end where counters go on, and what was wrong in it."""

    store: Store
    troubles: tuple[Trouble, ...] = ()


def placed(slots: int, faulty: int, seed: int, *, apart: int = 1) -> list[int]:
    """Return slots for the faulty pieces, in order, drawn at random, with at least `apart` quiet ones before each."""
    room = slots - faulty * apart
    if room < faulty:
        raise AlertError(f"{faulty} faults do not fit into {slots} stretches; ask for fewer, or for a longer time")
    chosen = np.sort(stream(seed, "month", "faults", "place").choice(room, faulty, replace=False))
    return [int(slot) + apart * (number + 1) for number, slot in enumerate(chosen)]


def month(
    name: str,
    quiet: Piece,
    faulty: Sequence[Piece],
    *,
    piece_ms: int,
    length_ms: int,
    faults: int,
    seed: int,
    names: Iterable[str],
) -> Case:
    """Return a case of quiet pieces with so many faulty ones (taken in turn) at random times; `names` are the metrics to keep."""
    slots = length_ms // piece_ms
    apart = max(1, min(3_600_000 // piece_ms, slots // (2 * faults) if faults else 1))
    order, troubles = [quiet] * slots, list[Trouble]()
    for number, slot in enumerate(placed(slots, faults, seed, apart=apart)):
        piece = faulty[number % len(faulty)]
        order[slot] = piece
        troubles += [one.later(slot * piece_ms, f"{one.label} {number + 1}") for one in piece.troubles]
    return Case(name, chained([piece.store for piece in order], piece_ms, names), tuple(troubles), slots * piece_ms)


def chained(stores: Sequence[Store], length_ms: int | Sequence[int], names: Iterable[str] | None = None) -> Store:
    """Return stores one after the other, each so long; a store that stands in several places has one length."""
    lengths = [length_ms] * len(stores) if isinstance(length_ms, int) else list(length_ms)
    kept = None if names is None else set(names)
    distinct = {id(store): (store, length) for store, length in zip(stores, lengths, strict=True)}
    labels = dict.fromkeys(
        series.labels
        for store, _ in distinct.values()
        for series in store.named(None)
        if kept is None or dict(series.labels)[NAME] in kept
    )
    places = {key: number for number, key in enumerate(distinct)}
    which = np.asarray([places[id(store)] for store in stores], np.int64)
    begins = np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(np.int64)
    by_store = [{series.labels: series for series in store.named(None)} for store, _ in distinct.values()]
    spans = [length for _, length in distinct.values()]
    return Store(_chained(each, [found.get(each) for found in by_store], spans, which, begins) for each in labels)


@dataclass(frozen=True, eq=False)
class _Part:
    """A series within one piece: its samples, and how a counter goes on from it."""

    times_ms: Millis
    values: Floats
    stale: Bools
    before_reset: int
    """How many samples come before the first reset; those go on from the piece before."""
    end: float
    was_reset: bool


def _part(series: Series | None, length_ms: int) -> _Part:
    if series is None:  # where a series is missing it ends
        return _Part(np.zeros(1, np.int64), np.zeros(1), np.ones(1, np.bool_), 0, 0.0, False)
    real = np.flatnonzero(~series.stale)
    values = series.values[real]
    fell = np.flatnonzero(values[1:] < values[:-1])
    inside = series.times_ms < length_ms
    first = int(real[fell[0] + 1]) if len(fell) else len(series.values)
    end = float(values[-1]) if len(values) else 0.0
    return _Part(series.times_ms[inside], series.values[inside], series.stale[inside], first, end, bool(len(fell)))


def _chained(
    labels: Labels, pieces: Sequence[Series | None], lengths: Sequence[int], which: Ints, begins_ms: Millis
) -> Series:
    """Return a series of pieces, of which number `which[i]` begins at `begins_ms[i]`."""
    parts = [_part(piece, length) for piece, length in zip(pieces, lengths, strict=True)]
    most = max(len(part.times_ms) for part in parts)
    size = (len(parts), most)
    times, values = np.zeros(size, np.int64), np.zeros(size, np.float64)
    stale, there = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    for number, part in enumerate(parts):
        count = len(part.times_ms)
        times[number, :count], values[number, :count], stale[number, :count] = part.times_ms, part.values, part.stale
        there[number, :count] = True
    shown = there[which]
    missing = np.asarray([piece is None for piece in pieces], np.bool_)
    if len(which) and missing[which[0]]:
        shown[0] = False  # what was never there does not end
    placed = values[which]
    if is_counter(dict(labels)[NAME]):
        going_on = np.arange(most) < np.asarray([part.before_reset for part in parts])[:, None]
        placed = placed + np.where(going_on[which], _bases(parts, which)[:, None], 0.0)
    return Series(labels, (begins_ms[:, None] + times[which])[shown], placed[shown], stale[which][shown])


def _bases(parts: Sequence[_Part], which: Ints) -> Floats:
    """Return what a counter had at the begin of each place: all ends since the last piece in which it was reset, that one's included."""
    ends = np.concatenate([[0.0], np.cumsum(np.asarray([part.end for part in parts])[which])])
    reset = np.asarray([part.was_reset for part in parts])[which]
    last = np.concatenate([[-1], np.maximum.accumulate(np.where(reset, np.arange(len(which)), -1))])[:-1]
    return np.asarray(ends[:-1] - np.where(last >= 0, ends[np.maximum(last, 0)], 0.0), np.float64)


def cut(store: Store, begin_ms: int, length_ms: int) -> Store:
    """Return a stretch of series as a piece of its own: it begins at 0, and counters count what came since."""
    return Store(found for each in store.named(None) if (found := _cut(each, begin_ms, length_ms)) is not None)


def _cut(series: Series, begin_ms: int, length_ms: int) -> Series | None:
    inside = (series.times_ms >= begin_ms) & (series.times_ms <= begin_ms + length_ms)
    if not inside.any():
        return None
    values = series.values[inside]
    if is_counter(dict(series.labels)[NAME]):
        before = np.flatnonzero((series.times_ms < begin_ms) & ~series.stale)
        base = float(series.values[before[-1]]) if len(before) else 0.0
        real = np.flatnonzero(~series.stale[inside])
        fell = np.flatnonzero(values[real] < np.concatenate([[base], values[real][:-1]]))
        going_on = np.arange(len(values)) < (real[fell[0]] if len(fell) else len(values))
        values = np.where(going_on, values - base, values)
    return Series(series.labels, series.times_ms[inside] - begin_ms, values, series.stale[inside])
