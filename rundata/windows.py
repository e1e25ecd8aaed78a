"""The table `windows`: acknowledgements and effects per second, partition and producer or group, with a latency histogram each."""

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
    run = books.run
    acked = np.flatnonzero(books.acked & (books.partition >= 0))
    ack_ns = books.sends.acked_ns[acked]
    ack_table = _stage(
        books,
        0,
        ack_ns,
        ack_ns - run.plan.intended_ns[acked],
        books.partition[acked],
        run.plan.producer[acked].astype(np.int64),
    )
    pairs = books.pairs
    done = np.flatnonzero((pairs.effect_ns != NEVER) & (pairs.partition >= 0))
    effect_ns = pairs.effect_ns[done]
    latency_ns = effect_ns - pairs.intended_ns[done]
    effect_table = _stage(books, 1, effect_ns, latency_ns, pairs.partition[done], pairs.group[done])
    return pa.concat_tables([ack_table, effect_table])


def _stage(books: Books, stage: int, at_ns: Ints, latency_ns: Ints, partition: Ints, of: Ints) -> pa.Table:
    """Return one stage's windows in the order of time, partition and producer or group."""
    bins, window = bin_of(latency_ns), at_ns // WINDOW_NS
    order = np.lexsort((bins, of, partition, window))
    bins, of, partition, window = bins[order], of[order], partition[order], window[order]
    new_window = _changes(window, partition, of)
    new_bin = _changes(window, partition, of, bins)
    first_bin, first_window = np.flatnonzero(new_bin), np.flatnonzero(new_window)
    counts = np.diff(first_bin, append=len(order))
    lists = np.append(np.searchsorted(first_bin, first_window), len(first_bin)).astype(np.int32)
    place = partition[first_window]
    topic = np.searchsorted(books.first_partition, place, side="right") - 1
    names = books.plan.producers if stage == 0 else books.groups
    return pa.table(
        {
            "begin_ns": pa.array(window[first_window] * WINDOW_NS),
            "topic": parquet.words(topic, books.plan.topics),
            "partition": pa.array((place - books.first_partition[topic]).astype(np.int32)),
            "of": parquet.words(of[first_window], names),
            "stage": parquet.words(np.full(len(first_window), stage), STAGES),
            "count": pa.array(np.diff(first_window, append=len(order))),
            "bins": pa.ListArray.from_arrays(lists, pa.array(bins[first_bin])),
            "counts": pa.ListArray.from_arrays(lists, pa.array(counts)),
        },
        schema=parquet.ROW_SCHEMAS["windows"],
    )


def _changes(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    changed = np.zeros(len(columns[0]), np.bool_)
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    changed[:1] = True
    return changed
