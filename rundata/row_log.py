"""A log of rows in a memory-mapped file: appended in half a microsecond, readable meanwhile, and still there after SIGKILL.

A log that is full goes on in a new segment beside it (`shop-1.rows`, `shop-1+1.rows`, ...). Producer processes write sends, which are a
third as long and cost a third of the time; they become whole rows when they are read. Imports nothing heavy.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.rows import NONE, OPERATION, OPERATION_STRUCT, SEND, SEND_STRUCT, Kind, new_operations

MAGIC = b"EDROWS01"
SENDS_MAGIC = b"EDSENDS1"
HEADER = struct.Struct("<8sqqqqqq")
"""Magic, bytes per row, capacity in rows, rows written; of sends also the codes of process, topic and event type."""
HEADER_BYTES = 64
SUFFIX = ".rows"
_COUNT_AT = 3  # place of the count among the header's 8-byte words
_MAX_SEGMENTS = 10_000


class RowLogError(Exception):
    """A row log that cannot be written or read; the message names the file and the way out."""


def segment_path(path: Path, number: int) -> Path:
    """Return the file of the log's nth segment, from 0: `shop-1.rows`, `shop-1+1.rows`; no name of an entity has a plus."""
    return path if number == 0 else path.with_name(f"{path.name.removesuffix(SUFFIX)}+{number}{SUFFIX}")


@dataclass(frozen=True, eq=False)
class Events:
    """What the plan knows of each event, and a send does not repeat."""

    key: NDArray[Any]
    intended_ns: NDArray[np.int64]


class RowLog:
    """Rows of OPERATION that one process appends and others may read; each segment is allocated before it is used."""

    magic = MAGIC
    row_bytes = OPERATION_STRUCT.size
    codes = (0, 0, 0)

    def __init__(self, path: Path, capacity: int, *, grows: bool = True) -> None:
        if path.suffix != SUFFIX:
            raise RowLogError(f"{path}: a row log's name ends in {SUFFIX}")
        if capacity < 1:
            raise RowLogError(f"{path}: has room for {capacity} rows; it needs at least 1")
        self.path = path
        self._capacity = capacity
        self._grows = grows
        self._segment = -1
        self._before = 0
        self._count: int = 0
        self._map: mmap.mmap | None = None
        self._open_segment()

    @classmethod
    def create(cls, path: Path | str, capacity: int, *, grows: bool = True) -> "RowLog":
        """Create the file with room for `capacity` rows; one that may not grow refuses the row beyond them."""
        return cls(Path(path), capacity, grows=grows)

    def append(self, *fields: int) -> None:
        """Append one row: the fields of OPERATION in order, without the padding."""
        count = self._count
        if count == self._capacity:
            self._next_segment()
            count = 0
        OPERATION_STRUCT.pack_into(self._buffer, HEADER_BYTES + count * OPERATION_STRUCT.size, *fields)
        # The count is one aligned word, written after the row, so that a reader never sees half a row.
        self._count = self._words[_COUNT_AT] = count + 1

    def extend(self, rows: NDArray[np.void]) -> None:
        """Append rows of OPERATION together; a reader sees those of one segment at once."""
        done = 0
        while done < len(rows):
            if self._count == self._capacity:
                self._next_segment()
            many = min(len(rows) - done, self._capacity - self._count)
            at = HEADER_BYTES + self._count * OPERATION_STRUCT.size
            self._buffer[at : at + many * OPERATION_STRUCT.size] = rows[done : done + many].tobytes()
            self._count = self._words[_COUNT_AT] = self._count + many
            done += many

    def __len__(self) -> int:
        return self._before + self._count

    def close(self) -> None:
        """Let go of the file; the rows stay."""
        if self._map is not None:
            self._words.release()
            self._buffer.release()
            self._map.close()
            self._map = None

    def __enter__(self) -> "RowLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_segment(self) -> None:
        if not self._grows:
            raise RowLogError(
                f"{self.path}: is full with {self._capacity} rows and may not grow; create it with more room"
            )
        self.close()
        self._before += self._capacity
        self._open_segment()

    def _open_segment(self) -> None:
        self._segment += 1
        path = segment_path(self.path, self._segment)
        size = HEADER_BYTES + self._capacity * self.row_bytes
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            raise RowLogError(f"{path}: exists already; each run writes its rows into a new folder") from None
        try:
            # Reserved, not only stretched: a full disk shows here as an error and not later as SIGBUS.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)
            else:
                os.ftruncate(handle, size)
            # Populated, so that no append waits for a page fault.
            self._map = mmap.mmap(handle, size, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0))
        except OSError as error:
            path.unlink()
            raise RowLogError(f"{path}: no room for {size:,} bytes ({error.strerror}); free some space") from error
        finally:
            os.close(handle)
        HEADER.pack_into(self._map, 0, self.magic, self.row_bytes, self._capacity, 0, *self.codes)
        self._buffer = memoryview(self._map)
        self._words = self._buffer[:HEADER_BYTES].cast("q")
        self._count = 0


class SendLog(RowLog):
    """The sends of one producer process; its codes are the same in all of them."""

    magic = SENDS_MAGIC
    row_bytes = SEND_STRUCT.size

    def __init__(self, path: Path | str, capacity: int, process: int, topic: int, event_type: int) -> None:
        self.codes = (process, topic, event_type)
        super().__init__(Path(path), capacity)

    def append_send(
        self, event: int, started_ns: int, ended_ns: int, offset: int, partition: int, error: int, outcome: int
    ) -> None:
        """Append one."""
        count = self._count
        if count == self._capacity:
            self._next_segment()
            count = 0
        SEND_STRUCT.pack_into(
            self._buffer, HEADER_BYTES + count * 40, event, started_ns, ended_ns, offset, partition, error, outcome
        )
        self._count = self._words[_COUNT_AT] = count + 1


def read_rows(path: Path | str, start: int = 0, events: Events | None = None) -> NDArray[np.void]:
    """Return the rows written so far from row `start` on, over all segments; the writer may be at work or dead.

    `events` completes sends.
    """
    path, parts = Path(path), list[NDArray[np.void]]()
    if not path.exists():
        raise RowLogError(f"{path}: is not there; a row log is written by a running member or producer")
    # Segments are as large as the first one, and full where there is a next: those that were read before are not opened again.
    number, start = divmod(start, _head(path).capacity)
    while (segment := segment_path(path, number)).exists() and number < _MAX_SEGMENTS:
        count = _head(segment).count
        if start < count:
            parts.append(_read(segment, start, count, events))
        start = max(0, start - count)
        number += 1
    return np.concatenate(parts) if parts else np.zeros(0, OPERATION)


def logs_in(folder: Path) -> list[Path]:
    """Return the first segment of each row log in a folder."""
    return [path for path in sorted(folder.glob(f"*{SUFFIX}")) if "+" not in path.name]


def remove(path: Path) -> None:
    """Delete a row log with all its segments."""
    number = 0
    while (segment := segment_path(path, number)).exists():
        segment.unlink()
        number += 1


@dataclass(frozen=True)
class _Head:
    """What a segment's file begins with."""

    magic: bytes
    row_bytes: int
    capacity: int
    count: int
    codes: tuple[int, int, int]


def _head(path: Path) -> _Head:
    """Return a segment's head; no rows where its writer was killed before it headed the file."""
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    if len(head) < HEADER.size or head[:8] == bytes(8):
        return _Head(MAGIC, OPERATION.itemsize, 1, 0, (0, 0, 0))
    magic, row_bytes, capacity, count, *codes = HEADER.unpack(head)
    right = {MAGIC: OPERATION.itemsize, SENDS_MAGIC: SEND.itemsize}.get(magic)
    if row_bytes != right or not 0 <= count <= capacity:
        raise RowLogError(f"{path}: is no row log of this version; open it with the version that wrote it")
    return _Head(magic, row_bytes, capacity, int(count), (codes[0], codes[1], codes[2]))


def _read(path: Path, start: int, count: int, events: Events | None) -> NDArray[np.void]:
    head = _head(path)
    kind = OPERATION if head.magic == MAGIC else SEND
    rows = np.fromfile(path, kind, count=count - start, offset=HEADER_BYTES + start * head.row_bytes)
    if head.magic == MAGIC:
        return rows
    if events is None:
        raise RowLogError(f"{path}: holds sends, which only the run's plan completes")
    return _completed(rows, head.codes, events)


def _completed(sends: NDArray[np.void], codes: tuple[int, int, int], events: Events) -> NDArray[np.void]:
    """Return sends as rows of OPERATION."""
    rows, event = new_operations(len(sends)), sends["event_id"]
    for name in ("event_id", "started_ns", "ended_ns", "offset", "partition", "error", "outcome"):
        rows[name] = sends[name]
    rows["root_id"], rows["key"], rows["intended_ns"] = event, events.key[event], events.intended_ns[event]
    rows["attempt"], rows["kind"], rows["group"] = 1, Kind.send, NONE
    rows["process"], rows["topic"], rows["event_type"] = codes
    return rows
