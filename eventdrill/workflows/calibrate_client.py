"""How exactly the threads of librdkafka's clients sleep on this host: how much later than it is asked for a batch leaves that lingers."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from loadgen.child import CLIENT_NICENESS
from scenarios.profiles import Profile

STEP_US = 1000.0
"""librdkafka hands poll(2) what is left of a linger, rounded up to whole milliseconds."""
_SHORT_MS, _LONG_MS, _TIMES = 5, 50, 25
"""What is late by itself, however long a sleep is, is in the answers, which are measured with a linger of 5 ms."""
_MOST = 0.05


def with_sleeps(profile: Profile) -> Profile:
    """Return a profile in which clients sleep as they do on this host."""
    if not hasattr(select, "poll"):
        return profile
    with ThreadPoolExecutor(1) as one:
        return profile.model_copy(update={"sleep_step_us": STEP_US, "oversleep": one.submit(_oversleep).result()})


def _oversleep() -> float:
    """Return by which share of its length a sleep of this thread lasts longer, once it runs with the priority of a client's."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), CLIENT_NICENESS)
    return oversleep_of(_slept_ns)


def oversleep_of(sleep: Callable[[int], int]) -> float:
    """Return by which share longer sleeps last that are asked for so many ms, and return how many ns they were."""
    short_ns, long_ns = (float(np.median([sleep(ms) for _ in range(_TIMES)])) for ms in (_SHORT_MS, _LONG_MS))
    per_ms = (long_ns - short_ns) / (_LONG_MS - _SHORT_MS) / 1e6
    return round(float(np.clip(per_ms - 1, 0.0, _MOST)), 5)


def _slept_ns(ms: int) -> int:
    poll, began_ns = select.poll(), time.perf_counter_ns()
    poll.poll(ms)
    return time.perf_counter_ns() - began_ns
