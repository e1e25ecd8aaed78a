"""The parent of a cluster's processes: `python -P -m loadgen.clusters.keeper`.

Whatever ends its owner ends the cluster: it kills the nodes and removes their data. Where it is killed itself, the nodes
go with it (Linux), and the next start of a cluster removes the data.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.clusters.keeping import LOOK_S, RefusedError, Reply, keep, record
from loadgen.clusters.processes import ends_with_parent, identify


@dataclass
class Node:
    """One process to keep, and how to start it."""

    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False
    ending: bool = False  # asked to end in order, and not yet gone
    start_when_gone: bool = False

    @property
    def runs(self) -> bool:
        """Tell whether its process runs."""
        return self.process is not None and self.process.poll() is None


@dataclass
class Keeper:
    """The nodes, the directory with their data, and what is asked of them."""

    directory: Path
    nodes: dict[int, Node] = field(default_factory=dict)

    def serve(self, request: Mapping[str, Any]) -> Reply:
        """Answer one request."""
        try:
            match request["do"]:
                case "launch":
                    self._launch(request["nodes"])
                case "status":
                    pass
                case "kill":
                    self._signal(request["node"], signal.SIGKILL)
                case "terminate":
                    self._signal(request["node"], signal.SIGTERM)
                case "pause":
                    self._signal(request["node"], signal.SIGSTOP)
                case "resume":
                    self._signal(request["node"], signal.SIGCONT)
                case "start":
                    self._start_again(request["node"])
                case other:
                    raise RefusedError(f"the keeper knows no request {other!r}")
        except (RefusedError, OSError) as error:
            return {"error": str(error)} | self.status()
        return self.status()

    def status(self) -> Reply:
        """Describe the nodes."""
        return {"nodes": {str(number): self._describe(node) for number, node in self.nodes.items()}}

    def _describe(self, node: Node) -> Reply:
        runs = node.runs
        return {
            "pid": node.process.pid if node.process and runs else None,
            "paused": node.paused and runs,
            "exit": node.process.returncode if node.process else None,
        }

    def _launch(self, nodes: Mapping[str, Any]) -> None:
        for number, what in nodes.items():
            self.nodes[int(number)] = node = Node(what["command"], Path(what["log"]))
            self._spawn(node)
        self._record()

    def _spawn(self, node: Node) -> None:
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                node.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                preexec_fn=ends_with_parent(),  # noqa: PLW1509 - this process has one thread
                start_new_session=True,
            )
        node.paused = node.ending = node.start_when_gone = False

    def _signal(self, number: int, signal_number: signal.Signals) -> None:
        node = self._node(number)
        if node.process is None or not node.runs:
            raise RefusedError(f"node {number} does not run: start it first")
        node.process.send_signal(signal_number)
        node.paused = signal_number == signal.SIGSTOP or (node.paused and signal_number == signal.SIGTERM)
        node.ending = node.ending or signal_number == signal.SIGTERM
        if signal_number == signal.SIGKILL:
            node.process.wait()

    def _start_again(self, number: int) -> None:
        node = self._node(number)
        if node.runs and not node.ending:
            raise RefusedError(f"node {number} runs already")
        node.start_when_gone = True
        self.look()

    def _node(self, number: int) -> Node:
        if number not in self.nodes:
            raise RefusedError(f"there is no node {number}; there are {', '.join(map(str, sorted(self.nodes)))}")
        return self.nodes[number]

    def look(self) -> float:
        """Notice who has gone, and start those again that shall be."""
        for node in self.nodes.values():
            if not node.runs and node.start_when_gone:
                self._spawn(node)
                self._record()
        return LOOK_S

    def _record(self) -> None:
        running = {str(number): node.process.pid for number, node in self.nodes.items() if node.process and node.runs}
        identities = {name: identify(pid) for name, pid in running.items()}
        record(self.directory, {name: each for name, each in identities.items() if each})

    def end(self) -> None:
        """Kill the nodes."""
        running = [node.process for node in self.nodes.values() if node.process and node.runs]
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def main() -> None:
    """Keep the nodes of one cluster; the argument is the directory that shall hold their data."""
    keep(Path(sys.argv[1]), Keeper)


if __name__ == "__main__":
    main()
