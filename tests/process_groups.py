"""Which processes of a group still run."""

import os
import time

import psutil


def left_of_group(group: int, within_s: float = 5.0) -> list[str]:
    """Return the processes of a group that still run when `within_s` is over; the dead that nobody has buried yet do not count."""
    until = time.monotonic() + within_s
    while (left := _running(group)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _running(group: int) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
