"""Processes told apart for certain: a process id is used again, a process id with its time of birth is not."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Identity:
    """One process of this machine, not merely a number that may pass to another one."""

    pid: int
    born: str  # in the machine's own measure; compared, never calculated with

    def runs(self) -> bool:
        """Tell whether this very process still runs; one that only waits to be reaped does not."""
        return born(self.pid) == self.born

    def signal(self, number: int) -> bool:
        """Send a signal, if this very process still runs."""
        if not self.runs():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def identify(pid: int) -> Identity | None:
    """Identify a running process by its number."""
    at = born(pid)
    return None if at is None else Identity(pid, at)


def myself() -> Identity:
    """Identify this process."""
    mine = identify(os.getpid())
    assert mine is not None
    return mine


def born(pid: int) -> str | None:
    """Tell when a process began, None if it does not run."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat[stat.rindex(")") + 2 :].split()  # the name before it may hold blanks
        return None if fields[0] in "ZX" else fields[19]  # clock ticks since boot: wall clock changes cannot move it
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None


def machine() -> str:
    """Name what process ids here are relative to: this boot, and this namespace of processes."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return repr(psutil.boot_time())


def ends_with_parent() -> Callable[[], None] | None:
    """Build what a child runs before its program, so that it is killed when its parent is (Linux only).

    The parent's *thread* counts, so only a thread that lasts as long as the process may start such children.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_for_it() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask_for_it
