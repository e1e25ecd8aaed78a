"""The services that groups call: `python -P -m loadgen.dependency_process SPEC.json`. One process for all of a scenario's dependencies.

Members call it with datagrams: on a local socket, or on loopback, since Java has no datagrams on local sockets. Each dependency has its
own rate limit (a token bucket), its own places at which it works (the rest waits in line or is refused), takes its time, and fails for some.
"""

import contextlib
import heapq
import pickle
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loadgen.child import Child, DriverGone, freeze

clock = time.perf_counter_ns

CALL = struct.Struct("<qiddi")
"""Number of the call, number of the dependency, two draws in (0, 1): of its time and of its failure; 1 where the caller withdraws."""
REPLY = struct.Struct("<qi")
"""Number of the call, and how it ended."""
OK, FAILED, REFUSED = 0, 1, 2
_IDLE_S = 0.05
Caller = str | tuple[str, int]
"""Where a caller gets its answer: a local socket's path, or an address on loopback."""
PORT_SUFFIX = ".port"
"""A file beside the local socket names the port on loopback."""


@dataclass(order=True)
class _Due:
    at_ns: int
    number: int
    service: int = field(compare=False)
    caller: Caller = field(compare=False)
    call: int = field(compare=False)
    outcome: int = field(compare=False)


@dataclass
class Service:
    """One dependency: its limits, and who waits or is being served."""

    takes: Any
    """Distribution of the time of a call."""
    rate_hz: float | None
    burst: int
    concurrency: int | None
    refuses: bool
    fails: float
    down: list[tuple[int, int]]
    slow: list[tuple[int, int, float, int]]
    tokens: float = 0.0
    filled_ns: int = 0
    busy: int = 0
    waiting: deque[tuple[Caller, int, float, float]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.tokens = float(self.burst)

    def is_down(self, at_ns: int) -> bool:
        """Whether it refuses every call."""
        return any(begin <= at_ns < end for begin, end in self.down)

    def fill(self, at_ns: int) -> None:
        """Put in the tokens that have come since the last time."""
        if self.rate_hz is not None:
            self.tokens = min(self.burst, self.tokens + (at_ns - self.filled_ns) * self.rate_hz / 1e9)
            self.filled_ns = at_ns

    def has_room(self) -> bool:
        """Whether a call can begin now."""
        return (self.concurrency is None or self.busy < self.concurrency) and (self.rate_hz is None or self.tokens >= 1)

    def begin(self) -> None:
        """Take the place and the token of one call."""
        self.busy += 1
        if self.rate_hz is not None:
            self.tokens -= 1

    def takes_ns(self, at_ns: int, draw: float) -> int:
        """Return how long a call that begins now takes."""
        takes = float(self.takes.quantile(np.asarray([draw]))[0])
        for begin, end, factor, plus_ns in self.slow:
            if begin <= at_ns < end:
                takes = takes * factor + plus_ns
        return round(takes)

    def next_token_ns(self, at_ns: int) -> int | None:
        """Return when the first in line may begin for its token's sake; None where it waits for a place."""
        if not self.waiting or self.rate_hz is None or self.tokens >= 1:
            return None
        return at_ns + round((1 - self.tokens) * 1e9 / self.rate_hz) + 1


class Services:
    """All dependencies, as a queueing model that lives in real time."""

    def __init__(self, services: list[Service], reply: Any) -> None:
        self._services = services
        self._reply = reply
        self._due: list[_Due] = []
        self._number = 0
        self._withdrawn: set[tuple[Caller, int]] = set()

    def call(self, caller: Caller, call: int, service: int, draws: tuple[float, float], at_ns: int) -> None:
        """Take a call."""
        what = self._services[service]
        what.fill(at_ns)
        if what.is_down(at_ns) or (what.refuses and (what.waiting or not what.has_room())):
            self._reply(caller, call, REFUSED)
            return
        what.waiting.append((caller, call, *draws))
        self._admit(service, at_ns)

    def withdraw(self, caller: Caller, call: int) -> None:
        """Forget a call whose caller no longer waits; where it is being worked on it keeps its place until its end."""
        for what in self._services:
            what.waiting = deque(each for each in what.waiting if each[:2] != (caller, call))
        self._withdrawn.add((caller, call))

    def _admit(self, service: int, at_ns: int) -> None:
        what = self._services[service]
        what.fill(at_ns)
        while what.waiting and what.has_room():
            caller, call, time_draw, failure_draw = what.waiting.popleft()
            what.begin()
            self._number += 1
            outcome = FAILED if failure_draw < what.fails else OK
            ends_ns = at_ns + what.takes_ns(at_ns, time_draw)
            heapq.heappush(self._due, _Due(ends_ns, self._number, service, caller, call, outcome))

    def advance(self, at_ns: int) -> int | None:
        """Answer what is done by now; return when to come again."""
        while self._due and self._due[0].at_ns <= at_ns:
            done = heapq.heappop(self._due)
            self._services[done.service].busy -= 1
            if (done.caller, done.call) in self._withdrawn:
                self._withdrawn.discard((done.caller, done.call))
            else:
                self._reply(done.caller, done.call, done.outcome)
            self._admit(done.service, at_ns)
        for number in range(len(self._services)):
            self._admit(number, at_ns)
        times = [self._due[0].at_ns] if self._due else []
        times += [at for each in self._services if (at := each.next_token_ns(at_ns)) is not None]
        return min(times, default=None)


def main() -> None:
    """Serve calls until the driver ends the process."""
    child = Child.begin()
    spec = child.spec
    start_ns = 0
    with contextlib.ExitStack() as closing, contextlib.suppress(DriverGone):
        servers = [closing.enter_context(each) for each in _sockets(Path(spec["socket"]), spec["datagrams"])]

        def reply(caller: Caller, call: int, outcome: int) -> None:
            server = servers[0] if isinstance(caller, str) else servers[1]
            with contextlib.suppress(OSError):  # a caller that died wants no answer
                server.sendto(REPLY.pack(call, outcome), caller)

        services = Services([Service(**each) for each in pickle.loads(Path(spec["services"]).read_bytes())], reply)
        freeze()
        child.say("ready")
        while not child.leaving:
            while request := child.hear():
                match request["do"]:
                    case "start":
                        start_ns = request["at_ns"]
                    case "stop":
                        child.asked = True
                    case other:
                        raise ValueError(f"a dependency knows no request {other!r}")
            again = services.advance(clock() - start_ns) if start_ns else None
            wait_s = _IDLE_S if again is None else min(_IDLE_S, max(0.0, (again + start_ns - clock()) / 1e9))
            _wait(servers, wait_s)
            if start_ns:  # nobody has a reason to call before
                for server in servers:
                    _take(server, services, start_ns)
        child.say("bye", cpu_s=time.process_time())


def _sockets(address: Path, datagrams: bool) -> Iterator[socket.socket]:
    """Yield the sockets on which calls come: the local one, and one on loopback where Java members call."""
    local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    local.bind(str(address))
    local.setblocking(False)
    yield local
    if datagrams:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        address.with_name(address.name + PORT_SUFFIX).write_text(str(server.getsockname()[1]))
        yield server


def _wait(servers: list[socket.socket], wait_s: float) -> None:
    """Sleep until a call comes, or it is time; `select` rounds nothing up, other than `poll`."""
    if wait_s > 0:
        select.select(servers, [], [], wait_s)


def _take(server: socket.socket, services: Services, start_ns: int) -> None:
    while True:
        try:
            raw, caller = server.recvfrom(CALL.size)
        except BlockingIOError:
            return
        call, service, time_draw, failure_draw, withdraws = CALL.unpack(raw)
        if withdraws:
            services.withdraw(caller, call)
        else:
            services.call(caller, call, service, (time_draw, failure_draw), clock() - start_ns)


if __name__ == "__main__":
    main()
