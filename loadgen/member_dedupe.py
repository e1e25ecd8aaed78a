"""Memories of event ids, so that an effect comes once: of one member, lost with it, or shared by a group's members."""

import fcntl
import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rundata.rows import Kind, Outcome

Ints = NDArray[np.int64]

_ROW_WORDS = 2
"""Event id + 1 and the effect's instant."""
_SPREAD = 0x9E3779B97F4A7C15


class Memory(Protocol):
    """Remembers event ids for a while."""

    def knows(self, event_id: int, now_ns: int) -> bool:
        """Whether the event took effect within the window."""

    def remember(self, event_id: int, at_ns: int) -> None:
        """Note the effect of an event."""


class OwnMemory:
    """In this process; a crash takes it along."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._at: OrderedDict[int, int] = OrderedDict()

    def knows(self, event_id: int, now_ns: int) -> bool:
        """Whether the event took effect within the window."""
        at = self._at.get(event_id)
        return at is not None and now_ns - at <= self._window_ns

    def remember(self, event_id: int, at_ns: int) -> None:
        """Note the effect of an event, and forget what is older than the window."""
        self._at[event_id] = at_ns
        self._at.move_to_end(event_id)
        while (oldest := next(iter(self._at.values()))) < at_ns - self._window_ns:
            assert oldest <= at_ns
            self._at.popitem(last=False)


class SharedMemory:
    """A table in a file that all members of a group map: found without a lock, written under one, and still there when a member dies."""

    def __init__(self, path: Path, window_ns: int) -> None:
        self._window_ns = window_ns
        self._handle = os.open(path, os.O_RDWR)
        size = os.fstat(self._handle).st_size
        self._map = mmap.mmap(self._handle, size)
        self._words = memoryview(self._map).cast("q")
        self._rows = size // 8 // _ROW_WORDS

    @staticmethod
    def create(path: Path, most_ids: int) -> None:
        """Make a table with room for so many ids; what is not used of it takes no place."""
        rows = 1 << max(10, int(2 * most_ids - 1).bit_length())
        with path.open("wb") as file:
            file.truncate(rows * _ROW_WORDS * 8)

    def knows(self, event_id: int, now_ns: int) -> bool:
        """Whether the event took effect within the window."""
        row = self._row(event_id)
        return self._words[row] == event_id + 1 and now_ns - self._words[row + 1] <= self._window_ns

    def remember(self, event_id: int, at_ns: int) -> None:
        """Note the effect of an event."""
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            row = self._row(event_id)
            self._words[row + 1] = at_ns  # before the id, so that a reader never finds the id with an old instant
            self._words[row] = event_id + 1
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _row(self, event_id: int) -> int:
        """Return where an id stands, or would stand."""
        words, rows = self._words, self._rows
        at = (event_id * _SPREAD & 0xFFFFFFFFFFFFFFFF) % rows
        for _ in range(rows):
            found = words[at * _ROW_WORDS]
            if found in (0, event_id + 1):
                return at * _ROW_WORDS
            at = (at + 1) % rows
        raise MemoryError("the group's memory of event ids is full")


def known_events(path: Path) -> tuple[Ints, Ints]:
    """Return the ids that a shared memory holds, and the instants of their effects."""
    words = np.memmap(path, np.int64, mode="r").reshape(-1, _ROW_WORDS)  # most of it was never written
    used = words[:, 0] != 0
    return np.asarray(words[used, 0]) - 1, np.asarray(words[used, 1])


def unrecorded_effects(operations: NDArray[np.void], group: int, ids: Ints, at_ns: Ints) -> NDArray[np.void]:
    """Return rows for effects that a group remembers and nobody has recorded: their members were killed in between.

    Each is that of the last delivery before it. `group` is its code.
    """
    own = operations[operations["group"] == group]
    effects = own["event_id"][(own["kind"] == Kind.try_) & (own["outcome"] == Outcome.ok)]
    found = []
    for event in np.flatnonzero(~np.isin(ids, effects)).tolist():
        handed = (own["kind"] == Kind.delivery) & (own["event_id"] == ids[event]) & (own["ended_ns"] <= at_ns[event])
        if handed.any():
            row = own[handed][np.argmax(own["ended_ns"][handed])].copy()
            row["kind"], row["attempt"], row["ended_ns"] = Kind.try_, 1, at_ns[event]
            found.append(row)
    return np.asarray(found, operations.dtype)
