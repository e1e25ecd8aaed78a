"""The table `windows`: acknowledgements and effects per second, partition and producer or group, with a latency histogram each."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rundata import parquet
from rundata.books import Books
from rundata.histogram import bin_of
from rundata.measurement import Ints
from rundata.rows import NEVER
from rundata.tables import RunData
from scenarios.quantities import SECOND

STAGES = ("ack", "effect")
WINDOW_NS = SECOND


def windows_table(run: RunData) -> pa.Table:
    """Return the windows of a run; a window holds what was acknowledged or took effect in it."""
    books = Books.of(run)
    stages = [_stage(books, number, *rows, books.first_partition) for number, rows in enumerate(_rows(books))]
    return pa.concat_tables(stages)


def windows_of(run: RunData, begin_ns: int, end_ns: int, window_ns: int) -> pa.Table:
    """Return windows between two instants, counted from the first, of topics as a whole: `partition` is null."""
    books = Books.of(run)
    tables = []
    for number, (at_ns, latency_ns, partition, of) in enumerate(_rows(books)):
        inside = (at_ns >= begin_ns) & (at_ns < end_ns)
        topic = np.searchsorted(books.first_partition, partition[inside], side="right") - 1
        each = np.arange(len(books.first_partition))
        tables.append(
            _stage(books, number, at_ns[inside] - begin_ns, latency_ns[inside], topic, of[inside], each, window_ns)
        )
    whole = pa.concat_tables(tables)
    return whole.set_column(2, "partition", pa.nulls(len(whole), pa.int32()))


def _rows(books: Books) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield instant, latency, partition, and producer or group of what was acknowledged, and then of effects."""
    plan, pairs = books.run.plan, books.pairs
    acked = np.flatnonzero(books.acked & (books.partition >= 0))
    ack_ns = books.sends.acked_ns[acked]
    yield ack_ns, ack_ns - plan.intended_ns[acked], books.partition[acked], plan.producer[acked].astype(np.int64)
    done = np.flatnonzero((pairs.effect_ns != NEVER) & (pairs.partition >= 0))
    effect_ns = pairs.effect_ns[done]
    yield effect_ns, effect_ns - pairs.intended_ns[done], pairs.partition[done], pairs.group[done]


def _stage(
    books: Books,
    stage: int,
    at_ns: Ints,
    latency_ns: Ints,
    partition: Ints,
    of: Ints,
    first_partition: Ints,
    window_ns: int = WINDOW_NS,
) -> pa.Table:
    """Return one stage's windows in the order of time, partition and producer or group."""
    bins, window = bin_of(latency_ns), at_ns // window_ns
    order = _order(window, partition, of, bins)
    bins, of, partition, window = bins[order], of[order], partition[order], window[order]
    new_window = _changes(window, partition, of)
    new_bin = _changes(window, partition, of, bins)
    first_bin, first_window = np.flatnonzero(new_bin), np.flatnonzero(new_window)
    counts = np.diff(first_bin, append=len(order))
    lists = np.append(np.searchsorted(first_bin, first_window), len(first_bin)).astype(np.int32)
    place = partition[first_window]
    topic = np.searchsorted(first_partition, place, side="right") - 1
    names = books.plan.producers if stage == 0 else books.groups
    return pa.table(
        {
            "begin_ns": pa.array(window[first_window] * window_ns),
            "topic": parquet.words(topic, books.plan.topics),
            "partition": pa.array((place - first_partition[topic]).astype(np.int32)),
            "of": parquet.words(of[first_window], names),
            "stage": parquet.words(np.full(len(first_window), stage), STAGES),
            "count": pa.array(np.diff(first_window, append=len(order))),
            "bins": pa.ListArray.from_arrays(lists, pa.array(bins[first_bin])),
            "counts": pa.ListArray.from_arrays(lists, pa.array(counts)),
        },
        schema=parquet.ROW_SCHEMAS["windows"],
    )


def _order(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Return an order by several columns, the first one first; as one number where they fit into it, which is several times as fast."""
    number, room = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        if len(column):
            lowest, values = int(column.min()), int(column.max()) - int(column.min()) + 1
            number, room = number * values + (column - lowest), room * values
    return np.argsort(number) if room < 2**63 else np.lexsort(columns[::-1])


def _changes(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    changed = np.zeros(len(columns[0]), np.bool_)
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    changed[:1] = True
    return changed
