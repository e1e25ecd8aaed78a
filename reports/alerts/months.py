"""Time longer than a run: runs one after the other, a quiet one again and again, with the faulty ones at times drawn at random.

A counter goes on from where it was, a process that starts again counts from zero, and a series that is missing ends.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from reports.alerts.backtest import Case
from reports.alerts.series import NAME, AlertError, Bools, Floats, Labels, Millis, Series, Store
from reports.alerts.truth import Trouble
from scenarios.streams import stream

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


def chained(stores: Sequence[Store], length_ms: int, names: Iterable[str] | None = None) -> Store:
    """Return stores one after the other, each so long."""
    kept = None if names is None else set(names)
    distinct = {id(store): store for store in stores}
    labels = dict.fromkeys(
        series.labels
        for store in distinct.values()
        for series in store.named(None)
        if kept is None or dict(series.labels)[NAME] in kept
    )
    by_store = {key: {series.labels: series for series in store.named(None)} for key, store in distinct.items()}
    order = [id(store) for store in stores]
    return Store(_chained(each, [by_store[key].get(each) for key in order], length_ms) for each in labels)


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


def _part(series: Series, length_ms: int) -> _Part:
    real = np.flatnonzero(~series.stale)
    values = series.values[real]
    fell = np.flatnonzero(values[1:] < values[:-1])
    inside = series.times_ms < length_ms
    first = int(real[fell[0] + 1]) if len(fell) else len(series.values)
    end = float(values[-1]) if len(values) else 0.0
    return _Part(series.times_ms[inside], series.values[inside], series.stale[inside], first, end, bool(len(fell)))


def _chained(labels: Labels, pieces: Sequence[Series | None], length_ms: int) -> Series:
    grows = is_counter(dict(labels)[NAME])
    parts = {id(piece): _part(piece, length_ms) for piece in pieces if piece is not None}
    times, values, stale, base = [], [], [], 0.0
    begin_ms, number = 0, 0
    while number < len(pieces):
        piece, repeat = pieces[number], 1
        while number + repeat < len(pieces) and pieces[number + repeat] is piece:
            repeat += 1
        if piece is None:
            times.append(np.asarray([begin_ms], np.int64)[: 1 if number else 0])
            values.append(np.zeros(len(times[-1])))
            stale.append(np.ones(len(times[-1]), np.bool_))
        else:
            part = parts[id(piece)]
            begins = begin_ms + np.arange(repeat, dtype=np.int64) * length_ms
            times.append((begins[:, None] + part.times_ms).reshape(-1))
            bases = _bases(part, base, repeat) if grows else np.zeros(repeat)
            going_on = np.arange(len(part.values)) < part.before_reset
            values.append((part.values + np.where(going_on, bases[:, None], 0.0)).reshape(-1))
            stale.append(np.tile(part.stale, repeat))
            base = part.end + (0.0 if part.was_reset else float(bases[-1]))
        number, begin_ms = number + repeat, begin_ms + repeat * length_ms
    return Series(labels, np.concatenate(times), np.concatenate(values), np.concatenate(stale))


def _bases(part: _Part, base: float, repeat: int) -> Floats:
    """Return what a counter had at the begin of each repetition."""
    if part.was_reset:
        return np.concatenate([[base], np.full(repeat - 1, part.end)])
    return np.asarray(base + part.end * np.arange(repeat), np.float64)
