"""A member's calls of dependencies, and the circuit breakers in front of them."""

import contextlib
import os
import select
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.child import Child
from loadgen.dependency_process import CALL, OK, REPLY
from scenarios.streams import hashed_uniforms

clock = time.perf_counter_ns


@dataclass
class Breaker:
    """Opens after failures in a row; after a while a few calls ask whether it can close."""

    opens_after: int
    stays_open_ns: int
    probes: int
    waits: bool
    """Whether the member waits while it is open, instead of failing."""
    failures: int = 0
    opened_ns: int | None = None
    good_probes: int = 0

    def opens_at(self, now_ns: int) -> int | None:
        """Return when it will let calls through again, None where it does now."""
        if self.opened_ns is None or now_ns >= self.opened_ns + self.stays_open_ns:
            return None
        return self.opened_ns + self.stays_open_ns

    def ended(self, ok: bool, now_ns: int) -> None:
        """Note how a call ended."""
        if self.opened_ns is not None:  # a probe
            self.good_probes = self.good_probes + 1 if ok else 0
            if not ok:
                self.opened_ns = now_ns
            elif self.good_probes >= self.probes:
                self.opened_ns, self.failures, self.good_probes = None, 0, 0
            return
        self.failures = 0 if ok else self.failures + 1
        if self.failures >= self.opens_after:
            self.opened_ns, self.good_probes = now_ns, 0


@dataclass(frozen=True)
class Asked:
    """A call under way: its number, and when it is given up."""

    number: int
    call: int
    """Index into the group's `calls`."""
    until_ns: int | None


class Calls:
    """Calls by datagram; answers come when they come."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self._calls: list[dict[str, Any]] = spec["calls"]
        self._seed: int = spec["seed"]
        self._server: str = spec["dependencies"]
        self._own = Path(self._server).with_name(f"{os.getpid()}.sock")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._own))
        self._socket.setblocking(False)
        self._number = 0
        self._answers: dict[int, int] = {}
        self.breakers = [Breaker(**each["breaker"]) if each["breaker"] else None for each in self._calls]

    def __len__(self) -> int:
        return len(self._calls)

    def fileno(self) -> int:
        """Return the socket's, so that others can wait for it."""
        return self._socket.fileno()

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self._own.unlink()

    def held_until(self, call: int, now_ns: int) -> int | None:
        """Return when the breaker lets this call through, None where it does now or fails it at once."""
        breaker = self.breakers[call]
        return breaker.opens_at(now_ns) if breaker is not None and breaker.waits else None

    def ask(self, call: int, event_id: int, attempt: int, now_ns: int) -> Asked | None:
        """Begin a call; None where an open breaker fails it at once."""
        what, breaker = self._calls[call], self.breakers[call]
        if breaker is not None and breaker.opens_at(now_ns) is not None:
            return None
        self._number += 1
        draws = [float(hashed_uniforms(self._seed, what["stream"], event_id, attempt, each)) for each in (0, 1)]
        try:
            self._socket.sendto(CALL.pack(self._number, what["number"], *draws, 0), self._server)
        except OSError:  # it is gone, or its queue is full: as a service that does not answer
            self._answers[self._number] = 1
        until = None if what["timeout_ns"] is None else now_ns + what["timeout_ns"]
        return Asked(self._number, call, until)

    def answer(self, asked: Asked, now_ns: int) -> bool | None:
        """Return whether a call went well, None while nobody knows."""
        self._receive()
        outcome = self._answers.pop(asked.number, None)
        if outcome is None:
            if asked.until_ns is None or now_ns < asked.until_ns:
                return None
            with contextlib.suppress(OSError):
                self._socket.sendto(CALL.pack(asked.number, 0, 0.0, 0.0, 1), self._server)
        ok = outcome == OK
        breaker = self.breakers[asked.call]
        if breaker is not None:
            breaker.ended(ok, now_ns)
        return ok

    def wait(self, until_ns: int | None, at_most_s: float = 0.1) -> None:
        """Sleep until an answer comes, or it is time."""
        wait_s = at_most_s if until_ns is None else min(at_most_s, max(0.0, (until_ns - clock()) / 1e9))
        select.select([self._socket], [], [], wait_s)

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                number, outcome = REPLY.unpack(self._socket.recv(REPLY.size))
                self._answers[number] = outcome
