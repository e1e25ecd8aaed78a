"""Processes that share out work: on this machine, or on a Dask or Ray cluster through the backends that these give joblib."""

import ctypes
import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

A = TypeVar("A")
T = TypeVar("T")
_PARENT_EVERY_S = 1.0
_SLICES_PER_PROCESS = 2
"""A cluster's backends hand back whole lists, so the work goes out in slices: what has come is kept, and a display moves."""


class CrewError(Exception):
    """A cluster that cannot be used: says what is missing and the way out."""


class Crew:
    """Processes that work side by side; used in a `with`, they stay from one piece of work to the next."""

    def __init__(self, jobs: int | str = 1) -> None:
        """Take a number of processes here, `dask:ADDRESS` or `ray:ADDRESS`; `dask` and `ray` alone join what runs already."""
        self._cluster = _Cluster(jobs) if isinstance(jobs, str) else None
        self.size = jobs if isinstance(jobs, int) else 0
        self._stays = False
        self._has_started = False

    def each(self, function: Callable[[A], T], work: Sequence[A]) -> Generator[T, None, None]:
        """Yield the function of each piece of work in their order; close the generator to give up what is left."""
        if self._cluster is not None:
            yield from self._cluster.each(function, work)
        elif self.size == 1 or len(work) < 2:
            yield from map(function, work)
        else:
            yield from self._here(function, work)

    def _here(self, function: Callable[[A], T], work: Sequence[A]) -> Generator[T, None, None]:
        from joblib import Parallel, delayed

        self._has_started = True
        parallel = Parallel(n_jobs=self.size, backend="loky", return_as="generator", max_nbytes=None)
        with _deaf_to_ctrl_c():
            parts = parallel(delayed(_in_a_process)(function, piece, os.getpid()) for piece in work)
        try:
            for part in parts:  # noqa: UP028  # `yield from` would close the parts too, before the warning is silenced
                yield part
        finally:
            # After Ctrl-C they would work on; closing what is not finished ends them.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that work was given up, which is what is meant
                parts.close()
                if not self._stays:
                    self.close()

    def close(self) -> None:
        """End the processes: idle ones would hold memory, and wake up while real brokers are measured."""
        if self._has_started:
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)
            self._has_started = False
        if self._cluster is not None:
            self._cluster.close()

    def __enter__(self) -> Self:
        """Let the processes stay until the end of the `with`."""
        self._stays = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""
        self._stays = False
        self.close()


def of_size(jobs: "int | str | Crew") -> AbstractContextManager[Crew]:
    """Return a crew to work with: the one that is given, whose owner ends it, or one of that size."""
    return nullcontext(jobs) if isinstance(jobs, Crew) else Crew(jobs)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes that start now never hear Ctrl-C: this one does and ends them, and they would each print a traceback.

    They inherit the blocked signal; one that comes meanwhile waits here until the end, and is not lost.
    """
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as loky_tracker

    # Those start with the first process, and Python's own unblocks the signal then, whoever has blocked it.
    loky_tracker.ensure_running()
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- in a process of the crew --------------------------------------------------------------------------------------


def _in_a_process(function: Callable[[A], T], piece: A, parent: int) -> T:
    end_with(parent)
    found = function(piece)
    give_back()
    return found


@cache
def end_with(parent: int) -> None:
    """Let this process end when its parent does, which a killed one cannot tell."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name="ends with its parent", daemon=True).start()


def forget() -> None:
    """Let go of what is over: a simulated world is a ring of references. Its memory is there for the next one."""
    _leave_imports_alone()
    gc.collect()


def give_back() -> None:
    """Return to the system the memory of what is over.

    The C library keeps what it got: processes would seem to leak, and joblib replaces one that has grown by 300 MB, with a warning, and
    with the seconds that a new one takes to start.
    """
    forget()
    trim()


def trim() -> None:
    """Return to the system what the C library keeps of memory that is free."""
    _trim()(0)


@cache
def _leave_imports_alone() -> None:
    gc.collect()
    gc.freeze()  # modules stay: to look through them each time would take longer than a simulation


@cache
def _trim() -> Callable[[int], Any]:
    trim: Callable[[int], Any] = getattr(ctypes.CDLL(None), "malloc_trim", lambda _keep: 0)  # glibc's
    return trim


# ---- clusters ------------------------------------------------------------------------------------------------------


class _Cluster:
    """A Dask or Ray cluster that takes work through joblib."""

    def __init__(self, where: str) -> None:
        self.kind, _, self.address = where.partition(":")
        if self.kind not in ("dask", "ray"):
            raise CrewError(f"{where!r} is no crew; it is a number of processes, dask:ADDRESS or ray:ADDRESS")
        self._joined: Callable[[], Any] | None = None

    def each(self, function: Callable[[A], T], work: Sequence[A]) -> Generator[T, None, None]:
        from joblib import Parallel, delayed, parallel_config

        self._join()
        with parallel_config(backend=self.kind):
            size = max(1, Parallel(n_jobs=-1)._effective_n_jobs()) * _SLICES_PER_PROCESS
        for begin in range(0, len(work), size):
            with parallel_config(backend=self.kind):
                found = Parallel(n_jobs=-1)(delayed(function)(piece) for piece in work[begin : begin + size])
            yield from found

    def _join(self) -> None:
        if self._joined is None:
            self._joined = self._join_dask() if self.kind == "dask" else self._join_ray()

    def _join_dask(self) -> Callable[[], Any]:
        try:
            from distributed import Client, get_client
        except ImportError:
            raise CrewError("Dask is not installed: pip install 'eventdrill[dask]'") from None
        if not self.address:
            try:
                get_client()
            except ValueError:
                raise CrewError("no Dask client is open here: open one, or name its scheduler, dask:ADDRESS") from None
            return lambda: None
        try:
            client = Client(self.address, timeout=_JOIN_WITHIN_S)
        except (OSError, ValueError) as error:
            raise CrewError(f"no Dask scheduler answers at {self.address} ({error})") from None
        leave: Callable[[], Any] = client.close
        return leave

    def _join_ray(self) -> Callable[[], Any]:
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError:
            raise CrewError("Ray is not installed: pip install 'eventdrill[ray]'") from None
        register_ray()
        if ray.is_initialized():
            return lambda: None
        try:
            ray.init(address=self.address or "auto", log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, OSError) as error:
            raise CrewError(f"no Ray cluster answers at {self.address or 'auto'} ({error})") from None
        leave: Callable[[], Any] = ray.shutdown
        return leave

    def close(self) -> None:
        if self._joined is not None:
            self._joined()
            self._joined = None


_JOIN_WITHIN_S = 10
