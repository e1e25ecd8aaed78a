"""Where large arrays lie: in memory, or in a temporary file, so that a long stretch takes no more memory than what it looks at.

Pages of a file that are given back come again from it when somebody looks at them, so nothing that a simulation does depends on
where its arrays lie, nor on when pages are given back. The file has no name, and is gone with its array.
"""

import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from scenarios.load import expected_events_of
from scenarios.plan import Plan, make_plan
from scenarios.plan_blocks import plan_in_blocks
from scenarios.schema import Scenario
from sim.crew import trim

_STEP_BYTES = 1 << 22
"""Far arrays that are larger grow by so much at a time."""
_LEAST_BYTES = 1 << 18
"""Smaller ones stay near."""
_BYTES_PER_EVENT = 2048
_WORTH_IT_BYTES = 1 << 26
_AT_ONCE = 1 << 15
"""So many rows are filled before pages are given back."""


class Near:
    """Arrays in memory."""

    def zeros(self, shape: int | tuple[int, ...], dtype: DTypeLike = np.int64) -> NDArray[Any]:
        """Return an array of zeros."""
        return np.zeros(shape, dtype)

    def full(self, shape: tuple[int, ...], value: int) -> NDArray[np.int64]:
        """Return an array of one value."""
        return np.full(shape, value, np.int64)

    def room_for(self, expected: int, row_bytes: int) -> int:
        """Return for how many rows there should be room at first."""
        return expected

    def grown(self, array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
        """Return an array with zeros behind what it holds: twice as much."""
        return np.concatenate([array, np.zeros_like(array)], axis=axis)

    def parts(self, count: int, at_once: int = _AT_ONCE) -> Iterator[slice]:
        """Yield the parts in which so many rows are to be filled, or read."""
        yield slice(0, count)

    def give_back(self) -> None:
        """Give back the memory of what nobody looks at just now."""


NEAR = Near()


class Far(Near):
    """Arrays in temporary files, where there is something to save."""

    def __init__(self) -> None:
        self._mapped: weakref.WeakSet[_Mapped] = weakref.WeakSet()

    def zeros(self, shape: int | tuple[int, ...], dtype: DTypeLike = np.int64) -> NDArray[Any]:
        """Return an array of zeros; pages come into being when something is written to them."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size < _LEAST_BYTES:
            return np.zeros(shape, dtype)
        return self._array(_Mapped.of(_file_without_a_name(), size), shape, dtype)

    def full(self, shape: tuple[int, ...], value: int) -> NDArray[np.int64]:
        """Return an array of one value."""
        found: NDArray[np.int64] = self.zeros(shape)
        flat = found.reshape(-1)
        for some in self.parts(len(flat)):
            flat[some] = value
        return found

    def _array(self, mapped: "_Mapped", shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        self._mapped.add(mapped)
        return np.frombuffer(mapped, dtype, int(np.prod(shape))).reshape(shape)

    def of_file(self, descriptor: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the array that a file holds."""
        size = os.fstat(descriptor).st_size
        if not size:
            os.close(descriptor)
            return np.zeros(0, dtype)
        return self._array(_Mapped.of(descriptor, size), size // dtype.itemsize, dtype)

    def room_for(self, expected: int, row_bytes: int) -> int:
        """Return a few rows only: there will be more when they are needed, without copying anything."""
        return min(expected, _STEP_BYTES // row_bytes)

    def grown(self, array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
        """Return an array with zeros behind what it holds; along its first axis it stays in its file, which becomes longer."""
        mapped = _mapping_of(array)
        if axis != 0 or mapped is None:
            return self._copied(array, axis)
        more = max(1, min(len(array), _STEP_BYTES // array[0].nbytes))
        longer = _Mapped.of(os.dup(mapped.descriptor), array.nbytes + more * array[0].nbytes)
        self.give_back()
        return self._array(longer, (len(array) + more, *array.shape[1:]), array.dtype)

    def _copied(self, array: NDArray[Any], axis: int) -> NDArray[Any]:
        shape = tuple(2 * length if place == axis else length for place, length in enumerate(array.shape))
        found, held = self.zeros(shape, array.dtype), tuple(slice(0, length) for length in array.shape[1:])
        for place in range(len(array)):
            found[place][held] = array[place]
            self.give_back()
        return found

    def parts(self, count: int, at_once: int = _AT_ONCE) -> Iterator[slice]:
        """Yield parts of some rows, and give back what was looked at in between."""
        for first in range(0, count, at_once):
            yield slice(first, min(first + at_once, count))
            self.give_back()

    def give_back(self) -> None:
        """Give all pages back; the files keep what was written to them. What is free beside them goes, too."""
        for mapped in self._mapped:
            if hasattr(mapped, "madvise"):  # not everywhere
                mapped.madvise(mmap.MADV_DONTNEED)
        trim()


class _Mapped(mmap.mmap):
    """A file in memory, open as long as there is an array of it."""

    descriptor: int

    @classmethod
    def of(cls, descriptor: int, size: int) -> "_Mapped":
        os.ftruncate(descriptor, size)
        mapped = cls(descriptor, size)
        mapped.descriptor = descriptor
        weakref.finalize(mapped, os.close, descriptor)
        return mapped


def _file_without_a_name() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _mapping_of(array: NDArray[Any]) -> _Mapped | None:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    return base if isinstance(base, _Mapped) else None


def place_for(scenario: Scenario) -> Near:
    """Return a place for the arrays of a simulation: files where it is a large one and the folder for temporary files has room for it."""
    size_bytes = _BYTES_PER_EVENT * sum(expected_events_of(scenario, name) for name in scenario.producers)
    if size_bytes < _WORTH_IT_BYTES or shutil.disk_usage(tempfile.gettempdir()).free < 2 * size_bytes:
        return NEAR
    return Far()


def far_plan(room: Near, scenario: Scenario, seed: int, replication: int) -> Plan:
    """Return a scenario's plan, whose columns lie where a simulation's large arrays lie: drawn in blocks, if that is a file."""
    if not isinstance(room, Far):
        return make_plan(scenario, seed, replication)
    columns = _Columns()
    first: Plan | None = None
    for block in plan_in_blocks(scenario, seed, replication):
        first = first or block
        for each in fields(Plan):
            value = getattr(block, each.name)
            for key, column in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(column, np.ndarray):
                    columns.add((each.name, key), column)
    assert first is not None
    changes: dict[str, Any] = {}
    for (name, key), column in columns.arrays(room).items():
        if key:
            changes.setdefault(name, {})[key] = column
        else:
            changes[name] = column
    return replace(first, **changes)


class _Columns:
    """Columns that become longer block by block, each in a file of its own."""

    def __init__(self) -> None:
        self._files = dict[tuple[str, str], tuple[int, np.dtype[Any]]]()

    def add(self, name: tuple[str, str], column: NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name] = _file_without_a_name(), column.dtype
        with open(self._files[name][0], "ab", closefd=False) as file:
            file.write(np.ascontiguousarray(column).data)

    def arrays(self, room: Far) -> dict[tuple[str, str], NDArray[Any]]:
        return {name: room.of_file(descriptor, dtype) for name, (descriptor, dtype) in self._files.items()}
