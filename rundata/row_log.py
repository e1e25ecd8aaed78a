"""A log of rows in a memory-mapped file: appended in half a microsecond, readable meanwhile, and still there after SIGKILL.

A log that is full goes on in a new segment beside it (`shop-1.rows`, `shop-1+1.rows`, ...). Imports nothing heavy.
"""

import mmap
import os
import struct
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from rundata.rows import OPERATION, OPERATION_STRUCT

MAGIC = b"EDROWS01"
HEADER = struct.Struct("<8sqqq")
"""Magic, bytes per row, capacity in rows, rows written."""
HEADER_BYTES = 64
SUFFIX = ".rows"
_COUNT_AT = 3  # place of the count among the header's 8-byte words
_MAX_SEGMENTS = 10_000


class RowLogError(Exception):
    """A row log that cannot be written or read; the message names the file and the way out."""


def segment_path(path: Path, number: int) -> Path:
    """Return the file of the log's nth segment, from 0: `shop-1.rows`, `shop-1+1.rows`; no name of an entity has a plus."""
    return path if number == 0 else path.with_name(f"{path.name.removesuffix(SUFFIX)}+{number}{SUFFIX}")


class RowLog:
    """Rows of OPERATION that one process appends and others may read; each segment is allocated before it is used."""

    def __init__(self, path: Path, capacity: int, *, grows: bool) -> None:
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
        path = Path(path)
        if path.suffix != SUFFIX:
            raise RowLogError(f"{path}: a row log's name ends in {SUFFIX}")
        if capacity < 1:
            raise RowLogError(f"{path}: has room for {capacity} rows; it needs at least 1")
        return cls(path, capacity, grows=grows)

    def append(self, *fields: int) -> None:
        """Append one row: the fields of OPERATION in order, without the padding."""
        count = self._count
        if count == self._capacity:
            self._next_segment()
            count = 0
        OPERATION_STRUCT.pack_into(self._buffer, HEADER_BYTES + count * OPERATION_STRUCT.size, *fields)
        # The count is one aligned word, written after the row, so that a reader never sees half a row.
        self._count = self._words[_COUNT_AT] = count + 1

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
        size = HEADER_BYTES + self._capacity * OPERATION_STRUCT.size
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
        HEADER.pack_into(self._map, 0, MAGIC, OPERATION_STRUCT.size, self._capacity, 0)
        self._buffer = memoryview(self._map)
        self._words = self._buffer[:HEADER_BYTES].cast("q")
        self._count = 0


def read_rows(path: Path | str, start: int = 0) -> NDArray[np.void]:
    """Return the rows written so far from row `start` on, over all segments; the writer may be at work or dead."""
    path, parts, number = Path(path), [], 0
    if not path.exists():
        raise RowLogError(f"{path}: is not there; a row log is written by a running member or producer")
    while (segment := segment_path(path, number)).exists() and number < _MAX_SEGMENTS:
        count = _rows_in(segment)
        if start < count:
            parts.append(_read(segment, start, count))
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


def _rows_in(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    if len(head) < HEADER.size or head[:8] == bytes(8):
        return 0  # its writer was killed between creating and heading it
    magic, row_bytes, capacity, count = HEADER.unpack(head)
    if magic != MAGIC or row_bytes != OPERATION.itemsize or not 0 <= count <= capacity:
        raise RowLogError(f"{path}: is no row log of this version; open it with the version that wrote it")
    return int(count)


def _read(path: Path, start: int, count: int) -> NDArray[np.void]:
    offset = HEADER_BYTES + start * OPERATION.itemsize
    return np.fromfile(path, OPERATION, count=count - start, offset=offset)
