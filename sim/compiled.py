"""Numba's compiler with its cache where the user's caches lie; with NUMBA_DISABLE_JIT=1 the same functions run as they are written."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_SOURCES = ("compiled.py", "world.py", "kernel/*.py", "stretches/*_kernel.py")


def cache_folder() -> Path:
    """Return where compiled functions are kept: in XDG_CACHE_HOME/eventdrill/numba, or the same below ~/.cache.

    Each state of the sources has its own folder: Numba looks at one file's date only, and would go on using what it took
    from another file that has changed since.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    state = 0
    here = Path(__file__).parent
    for path in (path for pattern in _SOURCES for path in sorted(here.glob(pattern))):
        state = zlib.crc32(path.read_bytes(), state)
    return Path(root) / "eventdrill" / "numba" / f"{state:08x}"


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))

import numba  # noqa: E402  # reads the folder above when it is imported

_OPTIONS: dict[str, Any] = {"cache": True, "_nrt": False, "no_cfunc_wrapper": True}
"""The kernel allocates nothing, so it needs none of Numba's reference counts."""
# A world is forty arrays, of which a call copies three hundred words: so everything is inlined into `advance`. Each function that
# Python calls costs a wrapper that takes a world apart, half a second to compile: so only these have one.
_INNER: dict[str, Any] = {**_OPTIONS, "forceinline": True, "no_cpython_wrapper": True}


def compiled(function: Function) -> Function:
    """Compile a function for compiled ones that call it, when it is first needed, and keep the result for the next process."""
    made: Function = numba.njit(**_INNER)(function)
    return made


def rare(function: Function) -> Function:
    """Compile a function for compiled ones that call it seldom: it stays one, where inlining it everywhere would cost a first compile much."""
    made: Function = numba.njit(**{**_OPTIONS, "no_cpython_wrapper": True})(function)
    return made


def entry(function: Function) -> Function:
    """Compile a function that Python calls, too."""
    made: Function = numba.njit(**_OPTIONS)(function)
    return made


def must_compile() -> bool:
    """Whether this state of the simulator is still to be compiled on this machine."""
    is_as_written = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
    return not is_as_written and not any(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi"))
