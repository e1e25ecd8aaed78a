"""The parent of a cluster's processes: `python -P -m loadgen.clusters.keeper`.

Whatever ends its owner ends the cluster: it kills the nodes and removes their data. Where it is killed itself, the nodes
go with it (Linux), and the next start of a cluster removes the data. What is done to a node for a time ends by itself
when that time is over, whether or not the owner still asks for it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.clusters import clocks, disks
from loadgen.clusters.keeping import LOOK_S, RefusedError, Reply, keep, record
from loadgen.clusters.model import ClusterError
from loadgen.clusters.processes import ends_with_parent, identify

AGAIN_AFTER_S = 0.1


@dataclass
class PowerLoss:
    """What is left to do for a node whose machine lost power: its process has to be gone before its disk can come back."""

    held_bytes: int
    """What its logs held just before."""
    commands: list[list[str]]
    """What brings the disk back, one after another."""
    running: subprocess.Popen[str] | None = None
    trouble: str = ""
    again_at_s: float = 0.0

    def advance(self) -> bool:
        """Go on, without waiting for anything; tells whether the disk is back.

        A command that fails is tried again: whoever looks at a dead process just then keeps its files in use.
        """
        if self.running is not None and (status := self.running.poll()) is not None:
            _, said = self.running.communicate()
            self.running = None
            self.trouble = said.strip() if status else ""
            if status:
                self.again_at_s = time.monotonic() + AGAIN_AFTER_S
                return False
            self.commands.pop(0)
        if self.running is None and self.commands and time.monotonic() >= self.again_at_s:
            self.running = subprocess.Popen(
                self.commands[0], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        return not self.commands


@dataclass
class Node:
    """One process to keep, and how to start it."""

    command: list[str]
    log: Path
    data: Path
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False
    disk_full: bool = False
    disk_stalled: bool = False
    power_lost: PowerLoss | None = None  # of its machine, as long as its disk is not back
    unwritten_bytes: int | None = None  # of its logs, when its machine lost power last and its disk was back
    ending: bool = False  # asked to end in order, and not yet gone
    start_when_gone: bool = False
    mend_at_s: float | None = None  # when what is done to it ends by itself, on the monotonic clock
    clock_right_at_s: float | None = None  # when its clock is set right again, if it is wrong

    @property
    def runs(self) -> bool:
        """Tell whether its process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def output(self) -> int | None:
        """Give the descriptor from which its output comes."""
        return None if self.process is None or self.process.stdout is None else self.process.stdout.fileno()

    def take_output(self) -> bool:
        """Write what it has said to its log; tells whether more may come.

        It does not write there itself: a node whose disk is full shall still be able to say so.
        """
        assert self.process is not None
        assert self.process.stdout is not None
        while True:
            try:
                chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            with contextlib.suppress(OSError), self.log.open("ab") as log:
                log.write(chunk)


@dataclass
class Keeper:
    """The nodes, the directory with their data, and what is asked of them."""

    directory: Path
    nodes: dict[int, Node] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    """What the owner wants known about the cluster: its faults in effect."""
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Watch the nodes' output with the selector of the process."""
        self.selector = selector

    def serve(self, request: Mapping[str, Any]) -> Reply:
        """Answer one request."""
        try:
            match request["do"]:
                case "launch":
                    self._launch(request["nodes"])
                case "status":
                    pass
                case "tell":
                    self.told = list(request["what"])
                    self._record()
                case "start":
                    self._start_again(request["node"])
                case "set_clock":
                    self._set_clock(self._node(request["node"]), request["wrong_by_ms"], request.get("for_s"))
                case (
                    "kill"
                    | "terminate"
                    | "pause"
                    | "resume"
                    | "fill_disk"
                    | "free_disk"
                    | "stall_disk"
                    | "let_disk_go_on"
                    | "crash_host"
                ) as do:
                    node = self._running(request["node"])
                    self._do(do, node)
                    for_s = request.get("for_s")
                    node.mend_at_s = None if for_s is None else time.monotonic() + for_s
                    return self.status()
                case other:
                    raise RefusedError(f"the keeper knows no request {other!r}")
        except (RefusedError, ClusterError, OSError) as error:
            return {"error": str(error)} | self.status()
        return self.status()

    def status(self) -> Reply:
        """Describe the nodes; all that they have said is in their logs then."""
        for node in self.nodes.values():
            self._listen(node)
        return {"nodes": {str(number): self._describe(node) for number, node in self.nodes.items()}}

    def _describe(self, node: Node) -> Reply:
        runs = node.runs
        return {
            "pid": node.process.pid if node.process and runs else None,
            "paused": node.paused and runs,
            "disk_full": node.disk_full and runs,
            "disk_stalled": node.disk_stalled and runs,
            "exit": node.process.returncode if node.process else None,
            "unwritten_bytes": node.unwritten_bytes,
            "trouble": node.power_lost.trouble if node.power_lost else "",
            "clock_wrong_by_ms": clocks.wrong_by_ms(node.data),
        }

    def _launch(self, nodes: Mapping[str, Any]) -> None:
        for number, what in nodes.items():
            self.nodes[int(number)] = node = Node(what["command"], Path(what["log"]), self.directory / f"n{number}")
            self._spawn(node)
        self._record()

    def _spawn(self, node: Node) -> None:
        self._forget_output(node)
        node.log.touch()
        node.process = subprocess.Popen(
            node.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            preexec_fn=ends_with_parent(),  # noqa: PLW1509 - this process has one thread
            start_new_session=True,
        )
        assert node.output is not None
        os.set_blocking(node.output, False)
        self.selector.register(node.output, selectors.EVENT_READ, lambda _mask: self._listen(node))
        node.paused = node.ending = node.start_when_gone = node.disk_full = node.disk_stalled = False
        node.mend_at_s = None

    def _listen(self, node: Node) -> None:
        if node.output is not None and not node.take_output():
            self._forget_output(node)

    def _forget_output(self, node: Node) -> None:
        """Stop listening to a process that has said its last."""
        if node.process is not None and node.process.stdout is not None:
            with contextlib.suppress(KeyError):
                self.selector.unregister(node.process.stdout.fileno())
            node.process.stdout.close()
            node.process.stdout = None

    @staticmethod
    def _do(do: str, node: Node) -> None:
        """Do something to a node."""
        assert node.process is not None
        match do:
            case "stall_disk" | "let_disk_go_on":
                (disks.stall if do == "stall_disk" else disks.go_on)(node.data)
                node.disk_stalled = do == "stall_disk"
            case "crash_host":
                _crash_host(node)
            case "kill":
                node.process.kill()
                node.process.wait()
            case "terminate":
                node.process.terminate()
                node.ending = True
            case "pause" | "resume":
                node.process.send_signal(signal.SIGSTOP if do == "pause" else signal.SIGCONT)
                node.paused = do == "pause"
            case "fill_disk" | "free_disk":
                # No file of the process may grow: every append fails, as on a full disk, and nobody else's does.
                if sys.platform != "linux":
                    raise RefusedError("a node's disk can be filled on Linux only")
                _least, most = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
                limit = 0 if do == "fill_disk" else most
                resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (limit, most))
                node.disk_full = do == "fill_disk"

    def _mend(self, node: Node) -> None:
        """Undo what was done to a node and has lasted longer than it should."""
        node.mend_at_s = None
        for do, in_effect in (
            ("resume", node.paused),
            ("free_disk", node.disk_full),
            ("let_disk_go_on", node.disk_stalled),
        ):
            if in_effect and node.runs:
                self._do(do, node)
        if not node.runs or node.ending or node.power_lost:
            node.start_when_gone = True

    @staticmethod
    def _set_clock(node: Node, wrong_by_ms: int, for_s: float | None) -> None:
        """Set a node's clock; its machine keeps it so while the node is down."""
        clocks.set_wrong(node.data, wrong_by_ms)
        node.clock_right_at_s = None if for_s is None or not wrong_by_ms else time.monotonic() + for_s

    def _running(self, number: int) -> Node:
        node = self._node(number)
        if not node.runs:
            raise RefusedError(f"node {number} does not run: start it first")
        return node

    def _start_again(self, number: int) -> None:
        node = self._node(number)
        if node.runs and not node.ending and not node.power_lost:
            raise RefusedError(f"node {number} runs already")
        node.start_when_gone = True
        node.mend_at_s = None
        self.look()

    def _node(self, number: int) -> Node:
        if number not in self.nodes:
            raise RefusedError(f"there is no node {number}; there are {', '.join(map(str, sorted(self.nodes)))}")
        return self.nodes[number]

    def look(self) -> float:
        """Notice who has gone, mend what is overdue, and start those again that shall be."""
        for node in self.nodes.values():
            if node.mend_at_s is not None and node.mend_at_s <= time.monotonic():
                self._mend(node)
            if node.clock_right_at_s is not None and node.clock_right_at_s <= time.monotonic():
                self._set_clock(node, 0, None)
            if node.power_lost and not node.runs and node.power_lost.advance():
                node.unwritten_bytes = node.power_lost.held_bytes - disks.bytes_in(node.data)
                node.power_lost = None
            if not node.runs and node.start_when_gone and not node.power_lost:
                self._spawn(node)
                self._record()
        dues = [at for node in self.nodes.values() for at in (node.mend_at_s, node.clock_right_at_s) if at is not None]
        due_s = [at - time.monotonic() for at in dues]
        return max(0.0, min([LOOK_S, *due_s]))

    def _record(self) -> None:
        running = {str(number): node.process.pid for number, node in self.nodes.items() if node.process and node.runs}
        identities = {name: identify(pid) for name, pid in running.items()}
        record(self.directory, {name: each for name, each in identities.items() if each}, self.told)

    def end(self) -> None:
        """Kill the nodes."""
        disks.let_go(self.directory)
        running = [node.process for node in self.nodes.values() if node.process and node.runs]
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def _crash_host(node: Node) -> None:
    """Let a node's machine lose power; its disk is back as soon as the process is gone, the node is not."""
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)  # it shall not notice that its disk is gone
    node.power_lost = PowerLoss(disks.bytes_in(node.data), disks.remounting(node.data))
    node.unwritten_bytes = None
    disks.lose_unwritten(node.data)
    node.process.kill()


def main() -> None:
    """Keep the nodes of one cluster; the argument is the directory that shall hold their data."""
    keep(Path(sys.argv[1]), Keeper, attach=Keeper.attach)


if __name__ == "__main__":
    main()
