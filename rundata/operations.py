"""Rows of `operations` put into their canonical order, with the number of each delivery filled in; and read in blocks."""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.rows import Kind

BLOCK_ROWS = 1 << 16
"""Small enough that the rows of a stretch of events lie in few of them."""
_RELEASE_EVERY = 16


def arranged(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Return the rows in the order of their start (ties: kind, event, process, partition, offset, end), deliveries numbered."""
    order = order_of(rows)
    in_place = rows.flags.writeable and bool((order[1:] > order[:-1]).all())
    rows = rows if in_place else taken(np.ascontiguousarray(rows), order)
    number_deliveries(rows)
    return rows


TIES = ("kind", "event_id", "process", "partition", "offset", "ended_ns")


def order_of(rows: NDArray[np.void] | Mapping[str, NDArray[np.int64]], ties: Sequence[str] = TIES) -> NDArray[np.intp]:
    """Return the places of rows, or of their columns, in the order of their start: quickly where logs lie one after another.

    Of those that start at one instant the columns `ties` decide, the first one first, and then where they lie.
    """
    started = np.ascontiguousarray(rows["started_ns"])
    order = np.argsort(started, kind="stable")
    started = started[order]
    follows = np.concatenate([[False], started[1:] == started[:-1]])[: len(started)]
    tied = follows.copy()
    tied[:-1] |= follows[1:]
    places = np.flatnonzero(tied)
    if len(places):
        some = order[places]
        keys = [rows[name][some] for name in reversed(ties)]
        order[places] = some[np.lexsort((*keys, np.cumsum(~follows)[places]))]
    return order


def number_deliveries(rows: NDArray[np.void]) -> None:
    """Set `delivery_number`: from 1 for the first delivery of a pair; tries carry the number of the delivery they belong to."""
    kind = rows["kind"]
    of_pair = np.flatnonzero(
        (kind == Kind.delivery) | (kind == Kind.try_) | (kind == Kind.skip) | (kind == Kind.dead_letter)
    )
    if len(of_pair) == 0:
        return
    event, group = rows["event_id"][of_pair], rows["group"][of_pair].astype(np.int64)
    pair = event * (int(group.max()) + 2) + group
    order = np.argsort(pair, kind="stable")
    delivered = (kind[of_pair] == Kind.delivery)[order].astype(np.int64)
    so_far = np.cumsum(delivered)
    together = pair[order]  # of events of own programs beyond 64 bits, so that they are compared and never subtracted
    first = np.flatnonzero(np.append(True, together[1:] != together[:-1]))
    before = np.repeat(so_far[first] - delivered[first], np.diff(first, append=len(order)))
    rows["delivery_number"][of_pair[order]] = np.minimum(so_far - before, np.iinfo(np.int16).max)


def blocks(rows: NDArray[np.void]) -> Iterator[NDArray[np.void]]:
    """Yield rows in blocks; pages of a mapped file that are done with are given back."""
    for number, first in enumerate(range(0, len(rows), BLOCK_ROWS)):
        yield rows[first : first + BLOCK_ROWS]
        if number % _RELEASE_EVERY == _RELEASE_EVERY - 1:
            release(rows)
    release(rows)


def taken(rows: NDArray[np.void], numbers: NDArray[np.intp]) -> NDArray[np.void]:
    """Return some rows, copied a whole row at a time and not field by field, as NumPy would."""
    return words(rows)[numbers].view(rows.dtype).reshape(-1)


def joined(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """Return rows one after another, at least one part of them, copied as they lie in memory."""
    return np.concatenate([words(each) for each in parts]).view(parts[0].dtype).reshape(-1)


def words(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Return rows as whole words, which NumPy copies several times as fast as rows of fields; the same memory."""
    return np.asarray(rows).view(np.int64).reshape(-1, rows.dtype.itemsize // 8)


def release(rows: NDArray[np.void]) -> None:
    """Give back the memory of rows that lie in a mapped file; the file keeps them."""
    base: Any = rows
    while isinstance(base, np.ndarray) and isinstance(base.base, np.ndarray):
        base = base.base
    # Only of a file that is read: what was changed in memory alone would be gone.
    if isinstance(base, np.memmap) and base.mode == "r" and isinstance(base.base, mmap.mmap):
        base.base.madvise(mmap.MADV_DONTNEED)


def in_order(rows: NDArray[np.void]) -> bool:
    """Return whether rows are in the order of their start."""
    last = -(2**63)
    for block in blocks(rows):
        started = np.ascontiguousarray(block["started_ns"])
        if started[0] < last or bool(np.any(started[1:] < started[:-1])):
            return False
        last = int(started[-1])
    return True
