"""Rows of `operations` put into their canonical order, with the number of each delivery filled in."""

import numpy as np
from numpy.typing import NDArray

from rundata.rows import Kind


def arranged(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Return the rows in the order of their start (ties: kind, event, process, partition, offset, end), deliveries numbered."""
    ties = ("ended_ns", "offset", "partition", "process", "event_id", "kind")
    order = np.lexsort((*(rows[name] for name in ties), rows["started_ns"]))
    rows = rows[order]
    number_deliveries(rows)
    return rows


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
    first = np.flatnonzero(np.diff(pair[order], prepend=pair[order][0] - 1))
    before = np.repeat(so_far[first] - delivered[first], np.diff(first, append=len(order)))
    rows["delivery_number"][of_pair[order]] = np.minimum(so_far - before, np.iinfo(np.int16).max)


def in_order(rows: NDArray[np.void]) -> bool:
    """Return whether the rows are in the order of their start."""
    started = rows["started_ns"]
    return bool(np.all(started[1:] >= started[:-1]))
