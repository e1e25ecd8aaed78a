"""What every process that keeps a cluster shares: it serves its owner, and ends and cleans up when the owner is gone.

Requests come as JSON objects, one a line, on standard input; answers leave on standard output in the same order.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from loadgen.clusters import disks
from loadgen.clusters.processes import Identity, machine, myself

LOOK_S = 0.5
"""How often it looks whether its owner still lives: a child of the owner may hold the other end of the pipe open."""
FINE_S = 0.05
"""Waits shorter than this end to the microsecond."""
_WITH_FILENO = tuple(
    getattr(selectors, name) for name in ("EpollSelector", "KqueueSelector") if hasattr(selectors, name)
)
RECORD = "keeper.json"
PREFIX = "eventdrill-"

Reply = dict[str, Any]


class Service(Protocol):
    """What answers the requests."""

    def serve(self, request: Mapping[str, Any]) -> Reply:
        """Answer one request; a refusal is an answer with an `error`."""

    def look(self) -> float:
        """Notice what has happened; called whenever something may have, and again when the time it gives has passed."""

    def end(self) -> None:
        """End everything that is kept."""


class RefusedError(Exception):
    """A request that makes no sense now; the message goes back to the owner."""


def record(directory: Path, children: Mapping[str, Identity], told: Sequence[str] = ()) -> None:
    """Write who keeps a directory, so that a later run can tell whether it still has an owner; and what is told of it."""
    named = {name: asdict(child) for name, child in children.items()}
    text = json.dumps({"machine": machine(), "keeper": asdict(myself()), "children": named, "told": list(told)})
    fresh = directory / f"{RECORD}.new"
    fresh.write_text(text)
    fresh.replace(directory / RECORD)


def recorded_children(directory: Path) -> dict[str, Identity]:
    """Tell which processes a keeper has started last, by name."""
    kept = json.loads((directory / RECORD).read_text())
    return {name: Identity(**child) for name, child in kept["children"].items()}


def recorded_words(directory: Path) -> list[str]:
    """Tell what a keeper was last told about its cluster."""
    words: list[str] = json.loads((directory / RECORD).read_text()).get("told", [])
    return words


def make_directory(base: Path) -> Path:
    """Make the directory of a cluster; its final name appears together with the record of its keeper."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
    record(fresh, {})
    return fresh.rename(base / fresh.name.removeprefix("."))


def remove_leftovers(bases: list[Path]) -> list[Path]:
    """Remove what dead keepers left behind; a directory whose keeper lives, or is not of this machine, is let alone."""
    removed = []
    for base in bases:
        for directory in base.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                kept = json.loads((directory / RECORD).read_text())
                mine = directory.stat().st_uid == os.getuid() and kept["machine"] == machine()
                if not mine or Identity(**kept["keeper"]).runs():
                    continue
                disks.let_go(directory)
                for child in recorded_children(directory).values():
                    child.signal(signal.SIGKILL)
                disks.release(directory)
                shutil.rmtree(directory)
                removed.append(directory)
    return removed


AnyService = TypeVar("AnyService", bound=Service)


def keep(
    base: Path,
    make: Callable[[Path], AnyService],
    hello: Callable[[AnyService], Reply] = lambda _service: {},
    attach: Callable[[AnyService, selectors.BaseSelector], None] = lambda _service, _selector: None,
) -> None:
    """Serve requests until the owner is gone or ends it, then end the service and remove its directory.

    `attach` is given the selector, in which the service may register sockets of its own: the data is then a function of
    the mask, called when something is ready.
    """
    signals = _Signals()
    owner = os.getppid()
    named_by: list[Path] = []
    directory = make_directory(base)
    try:
        with selectors.DefaultSelector() as selector:
            service = make(directory)
            attach(service, selector)
            try:
                _answer({"directory": str(directory), "pid": os.getpid(), **hello(service)})
                _serve(service, selector, signals, owner, named_by)
            except BrokenPipeError:
                pass  # the owner has just gone
            finally:
                service.end()
    finally:
        for path in named_by:
            path.unlink(missing_ok=True)
        disks.release(directory)
        shutil.rmtree(directory, ignore_errors=True)


class _Signals:
    """SIGTERM ends the loop and SIGCHLD wakes it; Ctrl-C and hanging up are the owner's business."""

    def __init__(self) -> None:
        self.ended = False
        self.wake, woken = socket.socketpair()
        self.wake.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(woken.detach(), warn_on_full_buffer=False)
        # A flag, no exception: one in the middle of a start would lose a process that nobody has noted yet.
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _end(self, _number: int, _frame: object) -> None:
        self.ended = True


def _serve(
    service: Service, selector: selectors.BaseSelector, signals: _Signals, owner: int, named_by: list[Path]
) -> None:
    requests = sys.stdin.fileno()
    pending = b""
    selector.register(requests, selectors.EVENT_READ)
    selector.register(signals.wake, selectors.EVENT_READ)
    wait_s = LOOK_S
    while os.getppid() == owner and not signals.ended:
        for key, mask in _ready(selector, wait_s):
            if key.data is not None:
                key.data(mask)
            elif key.fileobj is signals.wake:
                signals.wake.recv(4096)
            else:
                chunk = os.read(requests, 1 << 16)
                if not chunk:
                    return
                *lines, pending = (pending + chunk).split(b"\n")
                for request in map(json.loads, lines):
                    if request["do"] == "named_by":  # a file that names this cluster, and goes with it
                        named_by.append(Path(request["path"]))
                        _answer({})
                    else:
                        _answer(service.serve(request))
        wait_s = service.look()


def _ready(selector: selectors.BaseSelector, wait_s: float) -> list[tuple[selectors.SelectorKey, int]]:
    """Wait for something; to the microsecond where little time is left, which epoll alone would round up to milliseconds."""
    if 0 < wait_s < FINE_S and isinstance(selector, _WITH_FILENO):
        select.select([selector.fileno()], [], [], wait_s)
        wait_s = 0
    return selector.select(wait_s)


def _answer(reply: Reply) -> None:
    os.write(sys.stdout.fileno(), json.dumps(reply).encode() + b"\n")
