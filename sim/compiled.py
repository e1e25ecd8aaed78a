"""Numba's compiler with its cache where the user's caches lie; with NUMBA_DISABLE_JIT=1 the same functions run as they are written."""

import os
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from llvmlite import binding, ir

Function = TypeVar("Function", bound=Callable[..., Any])

_HERE = Path(__file__).resolve().parent
_SOURCES = ("compiled.py", "world.py", "kernel/*.py", "stretches/*_kernel.py")


def cache_folder() -> Path:
    """Return where compiled functions are kept: in XDG_CACHE_HOME/eventdrill/numba, or the same below ~/.cache.

    Each state of the sources has its own folder: Numba looks at a function's own file only, and would go on using what it took
    from another file that has changed since.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    state = 0
    for path in (path for pattern in _SOURCES for path in sorted(_HERE.glob(pattern))):
        state = zlib.crc32(path.read_bytes(), state)
    return Path(root) / "eventdrill" / "numba" / f"{state:08x}"


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))

import numba  # noqa: E402  # reads the folder above when it is imported
from numba.core import caching, types  # noqa: E402  # likewise
from numba.core.extending import intrinsic  # noqa: E402  # likewise

_LOCATORS = ("UserProvidedCacheLocator", "InTreeCacheLocator", "UserWideCacheLocator", "IPythonCacheLocator", "ZipCacheLocator")  # fmt: skip
"""Numba's own, for functions of others."""


class OwnCacheLocator(caching.UserProvidedCacheLocator):
    """Keeps what is compiled of this package by the names of its files, so that another copy of the same sources finds it."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        """Return the folder for a file's functions, below that of the state of the sources."""
        return Path(py_file).resolve().parent.relative_to(_HERE.parent).as_posix()

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "OwnCacheLocator | None":
        """Return where a function is kept, if it is one of this package."""
        if not Path(py_file).resolve().is_relative_to(_HERE):
            return None
        parent: Any = super()
        found: OwnCacheLocator | None = parent.from_function(py_func, py_file)
        return found


class LeanResults(caching.CompileResultCacheImpl):
    """Keeps apart what a function needs to be put into another one: as modules of LLVM that takes ten times its size, and only who compiles asks for it."""

    def reduce(self, result: Any) -> Any:
        """Return what is kept of a compiled function: its code with the names of what can be called, and what others are made from."""
        parent: Any = super()
        (name, kind, (code, whole)), *others = parent.reduce(result)
        names = {result.fndesc.llvm_func_name, result.fndesc.llvm_cpython_wrapper_name}
        return ((name, kind, (code, _names_alone(whole, names))), *others), zlib.compress(whole)

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        """Return a compiled function that can be called, and makes of itself what others are made from when that is asked for."""
        usual, whole = payload
        parent: Any = super()
        result = parent.rebuild(target_context, usual)
        result.library._get_module_for_linking = cache(lambda: binding.parse_bitcode(zlib.decompress(whole)))
        return result


def _names_alone(whole: bytes, names: set[str]) -> bytes:
    """Return a module that has those of some functions that another one has, without what they do."""
    module = ir.Module()
    for function in binding.parse_bitcode(whole).functions:
        if function.name in names and not function.is_declaration:
            empty = ir.Function(module, ir.FunctionType(ir.VoidType(), ()), function.name)
            ir.IRBuilder(empty.append_basic_block()).unreachable()
    alone: bytes = binding.parse_assembly(str(module)).as_bitcode()
    return alone


class _LeanCache(caching.FunctionCache):
    _impl_class = LeanResults

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept of a function. To prepare for compiling, as Numba does here, takes 0.3 s and 50 MB; who compiles does it then."""
        cache: Any = self
        with cache._guard_against_spurious_io_errors():
            return cache._load_overload(sig, target_context)


_CONFIG: Any = numba.config
if not _CONFIG.CACHE_LOCATOR_CLASSES:
    _CONFIG.CACHE_LOCATOR_CLASSES = ",".join((f"{__name__}.{OwnCacheLocator.__name__}", *_LOCATORS))

_OPTIONS: dict[str, Any] = {"_nrt": False, "no_cfunc_wrapper": True}
"""The kernel allocates nothing, so it needs none of Numba's reference counts."""
# A world is forty arrays, of which a call copies three hundred words: so everything is inlined into `advance`. Each function that
# Python calls costs a wrapper that takes a world apart, half a second to compile: so only these have one.
_INNER: dict[str, Any] = {**_OPTIONS, "forceinline": True, "no_cpython_wrapper": True}


def compiled(function: Function) -> Function:
    """Compile a function for compiled ones that call it, when it is first needed, and keep the result for the next process."""
    return _made(function, _INNER)


def rare(function: Function) -> Function:
    """Compile a function for compiled ones that call it seldom: it stays one, where inlining it everywhere would cost a first compile much."""
    return _made(function, {**_OPTIONS, "no_cpython_wrapper": True})


def entry(function: Function) -> Function:
    """Compile a function that Python calls, too."""
    return _made(function, _OPTIONS)


def _made(function: Function, options: dict[str, Any]) -> Function:
    made: Any = numba.njit(**options)(function)
    if made is not function:
        lean_cache: Any = _LeanCache
        made._cache = lean_cache(function)
    compiled_function: Function = made
    return compiled_function


def _multiply_add_as_written(high: int, low: int, fh: int, fl: int, sh: int, sl: int) -> tuple[Any, Any]:
    number = (int(high) << 64 | int(low)) * (int(fh) << 64 | int(fl)) + (int(sh) << 64 | int(sl))
    return np.uint64(number >> 64 & 2**64 - 1), np.uint64(number & 2**64 - 1)


def _multiply_add(_typing: Any, high: Any, low: Any, fh: Any, fl: Any, sh: Any, sl: Any) -> tuple[Any, Any]:
    of_numba: Any = types
    two = of_numba.UniTuple(types.uint64, 2)
    wide, narrow = ir.IntType(128), ir.IntType(64)

    def made(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        by = ir.Constant(wide, 64)
        number, factor, summand = (
            builder.or_(builder.shl(builder.zext(above, wide), by), builder.zext(below, wide))
            for above, below in zip(values[::2], values[1::2], strict=True)
        )
        found = builder.add(builder.mul(number, factor), summand)
        return context.make_tuple(
            builder, two, (builder.trunc(builder.lshr(found, by), narrow), builder.trunc(found, narrow))
        )

    return two(*[types.uint64] * len((high, low, fh, fl, sh, sl))), made


multiply_add: Any = _multiply_add_as_written if _CONFIG.DISABLE_JIT else intrinsic(_multiply_add)
"""Return high and low word of a number of 128 bits times a factor plus a summand, each given as its two words: Numba has no such numbers."""


def must_compile() -> bool:
    """Whether this state of the simulator is still to be compiled on this machine, for this Python."""
    is_as_written = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
    return not is_as_written and not any(
        Path(os.environ["NUMBA_CACHE_DIR"]).rglob(f"*.py{sys.version_info.major}{sys.version_info.minor}*.nbi")
    )
