"""The driver's side of its child processes: starting them, telling them, hearing them, and noticing that one has died."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Message = dict[str, Any]
_LAST_LINES = 8


class ChildError(Exception):
    """A child that died or does not answer; the message holds its last words."""


class Worker:
    """One child process and its pipe."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        spec: Mapping[str, Any],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `COMMAND SPEC.json`; what it writes to standard error goes to a file beside its specification."""
        self.name = name
        self.log = folder / f"{file_name(name)}.log"
        spec_path = folder / f"{file_name(name)}.json"
        spec_path.write_text(json.dumps({**spec, "driver_pid": os.getpid()}))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(spec_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **_ENVIRONMENT, **(environment or {})},
            )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.expected_to_end = False
        self.said: dict[str, Message] = {}
        """The last message of each kind."""
        self._pending = b""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def tell(self, do: str, **what: Any) -> None:
        """Send a request; one that has ended hears nothing."""
        assert self.process.stdin is not None
        try:
            os.write(self.process.stdin.fileno(), json.dumps({"do": do, **what}).encode() + b"\n")
        except BrokenPipeError:
            if not self.expected_to_end:
                raise ChildError(self.obituary()) from None

    def hear(self) -> list[Message]:
        """Return what it has said since the last call."""
        assert self.process.stdout is not None
        while True:
            try:
                chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                break
            if not chunk:
                break
            self._pending += chunk
        *lines, self._pending = self._pending.split(b"\n")
        messages: list[Message] = [json.loads(line) for line in lines]
        for message in messages:
            self.said[message["event"]] = message
        return messages

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, after which its end is no surprise."""
        self.expected_to_end = True
        if self.running:
            self.process.send_signal(number)

    def end(self, within_s: float) -> None:
        """Wait for its end, and kill it when the time is over."""
        try:
            self.process.wait(max(0.0, within_s))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Kill it if it still runs, and close its pipe."""
        self.expected_to_end = True
        if self.running:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def obituary(self) -> str:
        """Say how it ended, with its last words."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if self.log.exists() else []
        words = "".join(f"\n  {line[:300]}" for line in lines)
        return f"{self.name} (process {self.pid}) ended with status {self.process.poll()}" + (
            f"; its last words:{words}" if words else ""
        )


def python_module(name: str) -> list[str]:
    """Return the command that runs one of our modules."""
    # -P: a folder named like one of ours, where the user happens to work, must not be imported instead.
    return [sys.executable, "-P", "-m", name]


# One thread each: NumPy's own pool would start a thread per core in every child.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def file_name(process: str) -> str:
    """Return a process's name as it goes into file names: `shop-1` for `shop/1`."""
    return process.replace("/", "-")


def wait_until(
    done: Callable[[], bool], workers: Iterable[Worker], within_s: float, what: str, hear: Callable[[], None]
) -> None:
    """Hear the workers until something is so; raise ChildError when one dies or the time is over."""
    until = time.monotonic() + within_s
    workers = list(workers)
    while True:
        hear()
        if done():
            return
        dead = next((worker for worker in workers if not worker.running and not worker.expected_to_end), None)
        if dead is not None:
            raise ChildError(dead.obituary())
        if time.monotonic() > until:
            raise ChildError(f"{what} took more than {within_s:.0f} s")
        listen(workers, 0.05)


def listen(workers: Iterable[Worker], timeout_s: float) -> None:
    """Sleep until one of the workers says something, or the timeout is over."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            if worker.running and worker.process.stdout is not None:
                selector.register(worker.process.stdout, selectors.EVENT_READ)
        if selector.get_map():
            selector.select(timeout_s)
        else:
            time.sleep(timeout_s)
