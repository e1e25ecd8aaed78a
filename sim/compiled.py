"""Numba's compiler with its cache where the user's caches lie; with NUMBA_DISABLE_JIT=1 the same functions run as they are written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def cache_folder() -> Path:
    """Return where compiled functions are kept: XDG_CACHE_HOME/eventdrill/numba, or the same below ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "eventdrill" / "numba"


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))

import numba  # noqa: E402  # reads the folder above when it is imported


def compiled(function: Function) -> Function:
    """Compile a function when it is first called, and keep the result for the next process."""
    # The kernel allocates nothing: without Numba's reference counts a call costs a tenth, since a world is forty arrays.
    options: dict[str, Any] = {"cache": True, "_nrt": False}
    made: Function = numba.njit(**options)(function)
    return made


def is_cached() -> bool:
    """Whether something was compiled on this machine before."""
    return any(cache_folder().rglob("*.nbi"))
