"""Gives back what libraries take that nobody looks at any more: LLVM's takes 45 MB to be imported, 30 MB to load what is compiled, and none after that.

A page of a library that nothing was written to is what its file holds, so it comes from there again when somebody looks at it: nothing depends on
whether, or when, it was given back.
"""

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding  # noqa: F401  # before what needs it, so that what it took to come is gone when that comes

_MAPPED = Path("/proc/self/smaps")
"""What is mapped, and how much of it was written to; only Linux tells."""
_LOADED = "numba:compiler_lock"
"""What Numba tells of whenever something was compiled, or what is compiled was loaded."""


@contextmanager
def giving_back_code() -> Iterator[None]:
    """Give back what libraries take: what imports took, and what it takes to load a compiled function, which is when that is first called."""
    from numba.core import event  # not before `sim.compiled`, which says where compiled functions are kept

    _give_back_imports()
    with event.install_listener(_LOADED, _listener()):
        yield


@cache
def _give_back_imports() -> None:
    give_back_code()


@cache
def _listener() -> Any:
    from numba.core import compiler_lock, event

    lock: Any = compiler_lock.global_compiler_lock

    class GivesBack(event.Listener):
        def on_start(self, event: Any) -> None:
            """Wait for the end."""

        def on_end(self, event: Any) -> None:
            """Give back what it took, when all is done that one call asks for."""
            if not lock.is_locked():
                give_back_code()

    return GivesBack()


def give_back_code() -> None:
    """Give back the pages of all libraries that nothing was written to."""
    if not _MAPPED.exists() or not hasattr(mmap, "MADV_DONTNEED"):
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for first, end in unwritten(_MAPPED.read_text()):
        advise(first, end - first, mmap.MADV_DONTNEED)


def unwritten(mapped: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the parts of libraries that nothing was written to, nor can be, from what Linux tells of a process's memory."""
    own: tuple[int, int] | None = None
    for line in mapped.splitlines():
        first, *others = line.split()
        # A mapping's begin and end, what may be done with it, offset, device, inode and file; then lines of what is in it.
        if not first.endswith(":"):
            is_library = others[0] in ("r--p", "r-xp") and ".so" in " ".join(others[4:])
            low, _, high = first.partition("-")
            own = (int(low, 16), int(high, 16)) if is_library else None
        elif own is not None and first == "Anonymous:" and others[0] == "0":
            yield own


give_back_code()
