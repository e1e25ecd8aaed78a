"""The child's side of a process that the driver started: its specification, its pipe to the driver, and its end with the driver."""

import gc
import json
import mmap
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from loadgen.clusters.security import of_driver
from loadgen.process_end import end_with_parent

CLIENT_NICENESS = 10
"""How much less urgent the threads of librdkafka are than the brokers."""

Message = dict[str, Any]


class DriverGone(Exception):  # noqa: N818 - an end, no error
    """The driver closed its end of the pipe: nothing is left to do."""


class Leaving(Exception):  # noqa: N818 - an end on request, no error
    """The process was asked to leave while it was waiting, and leaves what it had in hand unfinished."""


class Child:
    """One process of a run: what it shall do, and how it hears from the driver and answers it (JSON, one object a line)."""

    def __init__(self, spec: Message) -> None:
        self.spec = spec
        self.asked = False
        """Whether SIGTERM has asked it to end in good order."""
        self._finish_within_ns = 0
        self._finish_by_ns = 0
        self._pending = b""
        self._inbox: list[Message] = []
        self._poll = select.poll()
        self._poll.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
        signal.signal(signal.SIGTERM, self._leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business

    @classmethod
    def begin(cls) -> "Child":
        """Read the specification named on the command line, and see to it that this process ends with the driver."""
        spec = json.loads(Path(sys.argv[1]).read_text())
        end_with_parent(spec["driver_pid"])
        for settings in ("settings", "connection"):
            spec.get(settings, {}).update(of_driver(os.environ))
        return cls(spec)

    def _leave(self, _number: int, _frame: object) -> None:
        within_ns = 0 if self.asked else self._finish_within_ns  # who is asked twice shall end now
        self._finish_by_ns = time.perf_counter_ns() + within_ns
        self.asked = True

    @property
    def leaving(self) -> bool:
        """Whether it shall end now, and leave what it has in hand unfinished."""
        return self.asked and time.perf_counter_ns() >= self._finish_by_ns

    def finish_within(self, most_ns: int) -> None:
        """Let it finish what it has in hand when it is asked to end, for so long at most; 0 for not at all."""
        self._finish_within_ns = most_ns
        self._finish_by_ns = min(self._finish_by_ns, time.perf_counter_ns() + most_ns)

    def say(self, event: str, **what: Any) -> None:
        """Tell the driver something."""
        try:
            os.write(sys.stdout.fileno(), json.dumps({"event": event, **what}).encode() + b"\n")
        except BrokenPipeError:
            raise DriverGone from None

    def crash(self) -> NoReturn:
        """Die as of a fault in the program, with everything in hand; the driver knows that it was meant so."""
        self.say("crashed", at=time.perf_counter_ns())
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    def hear(self, timeout_s: float = 0.0) -> Message | None:
        """Return the driver's next request, None when there is none within the timeout."""
        if self._inbox:
            return self._inbox.pop(0)
        if self._poll.poll(timeout_s * 1000):
            chunk = os.read(sys.stdin.fileno(), 1 << 16)
            if not chunk:
                raise DriverGone
            *lines, self._pending = (self._pending + chunk).split(b"\n")
            self._inbox += [json.loads(line) for line in lines]
        return self._inbox.pop(0) if self._inbox else None

    def mapped(self, name: str, *, writes: bool = False) -> "Mapped":
        """Map one of the plan's arrays, for blocks and for single values."""
        return Mapped(open_memmap(self.spec["arrays"][name], mode="r+" if writes else "r"))

    def array(self, name: str) -> memoryview:
        """Map one of the plan's arrays; as a memoryview, whose single values are read faster than NumPy's."""
        return open_memmap(self.spec["arrays"][name], mode="r").data


class Mapped:
    """A mapped array of the plan: `array` for blocks, `values` (a memoryview, read faster than NumPy's) for single ones."""

    def __init__(self, array: "np.memmap[Any, Any]") -> None:
        self.array: NDArray[Any] = np.asarray(array)
        self.values: memoryview = array.data
        self._map: mmap.mmap | None = getattr(array, "_mmap", None)

    def release(self) -> None:
        """Give the pages back that were read or written; they come back from the file when they are asked for."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def let_brokers_go_first() -> None:
    """Give the client's own threads less of a busy core than the brokers have, as if they ran on a machine of their own (Linux).

    An idempotent librdkafka producer spins while a request of a partition is under way for longer than `linger.ms` and events wait
    behind it. After an election several of them can take both cores of a small machine, and slow down the brokers they wait for.
    """
    if sys.platform == "linux":
        own = threading.get_native_id()
        for thread in Path("/proc/self/task").iterdir():
            if int(thread.name) != own:
                os.setpriority(os.PRIO_PROCESS, int(thread.name), CLIENT_NICENESS)


def freeze() -> None:
    """Keep the garbage collector out of the measured time; what runs from here on makes no cycles."""
    gc.collect()
    gc.freeze()
    gc.disable()
