"""Things that are put aside in a temporary file: a month keeps windows of two thousand stretches, and reads them when it is written."""

import pickle
import tempfile
import weakref
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Shelf:
    """A temporary file that nobody else sees; it goes with the last thing on it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as there is a shelf
        weakref.finalize(self, self._file.close)
        self._end = 0

    def put(self, what: T) -> "Shelved[T]":
        """Put something aside."""
        written = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
        first, self._end = self._end, self._end + len(written)
        self._file.seek(first)
        self._file.write(written)
        return Shelved(self, first, len(written))

    def read(self, first: int, length: int) -> Any:
        """Return what was put at a place."""
        self._file.seek(first)
        return pickle.loads(self._file.read(length))


@dataclass(frozen=True)
class Shelved(Generic[T]):
    """Something that was put aside."""

    shelf: Shelf
    first: int
    length: int

    def get(self) -> T:
        """Return it."""
        found: T = self.shelf.read(self.first, self.length)
        return found
