"""The driver's side of Locust: its process starts and shows the run, and can stop it. Only that process imports Locust."""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadgen.children import ChildError, Worker, listen, python_module, wait_until
from loadgen.crew import Crew
from loadgen.recorder import Progress, Summary
from loadgen.remote import SHOW_AT, RemoteWorker
from scenarios.plan import Plan

JOIN_WITHIN_S = 600.0
READY_WITHIN_S = 60.0
_SHOW_EVERY_NS = 1_000_000_000


@dataclass(frozen=True)
class Fleet:
    """Locust workers that share the load: how many, and where their master listens; at loopback they are started here."""

    count: int
    host: str = "127.0.0.1"
    port: int = 5557

    @property
    def here(self) -> bool:
        """Whether the workers are started on this machine."""
        return self.host == "127.0.0.1"


@dataclass(frozen=True)
class Ui:
    """Locust's page: where it is served, and whether the run starts by itself or with its button."""

    port: int = 8089
    start_by_hand: bool = True


class ControlLink:
    """Starts Locust's process, waits for its start, tells it what happens and hears when it wants the run to end."""

    def __init__(self, plan: Plan, folder: Path, ui: Ui | None, fleet: Fleet | None = None) -> None:
        self.fleet = fleet
        self.clocks: dict[str, tuple[int, int]] = {}
        """By worker: by how much its clock is ahead of ours, and the error of that, in ns."""
        self._remote: dict[str, RemoteWorker] = {}
        self._local: list[Worker] = []
        self._lost: list[str] = []
        self._mirror = _mirror()
        self._plan = plan
        self._folder = folder
        self._ui = ui
        self._worker: Worker | None = None
        self._shown_ns = 0
        self._summaries: list[Summary] = []
        self._stopping = False

    def start(self) -> None:
        """Start the process; its import of Locust takes a while, and the preparation goes on meanwhile."""
        spec = {
            "scenario": self._plan.scenario.scenario,
            "ui": asdict(self._ui) if self._ui else None,
            "workers": asdict(self.fleet) if self.fleet else None,
            "arrays": {},
        }
        self._worker = Worker("locust", python_module("loadgen.control"), spec, self._folder)

    def gather(self, progress: Callable[[str], None]) -> None:
        """Wait until all workers of the fleet are there and their clocks are known."""
        if self.fleet is None:
            return
        worker = self._worker
        assert worker is not None
        wait_until(lambda: "ready" in worker.said, [worker], READY_WITHIN_S, "starting Locust", self._hear)
        if self.fleet.here:
            for number in range(1, self.fleet.count + 1):
                spec = {"scenario": self._plan.scenario.scenario, "master": asdict(self.fleet), "arrays": {}}
                command = python_module("loadgen.control")
                self._local.append(Worker(f"locust-worker-{number}", command, spec, self._folder))
        else:
            progress(f"waiting for {self.fleet.count} Locust workers at {self.fleet.host}:{self.fleet.port}")
        within_s = READY_WITHIN_S if self.fleet.here else JOIN_WITHIN_S
        wait_until(lambda: "workers" in worker.said, [worker, *self._local], within_s, "gathering workers", self._hear)
        self.clocks = {name: (offset, error) for name, (offset, error) in worker.said["workers"]["clocks"].items()}
        for name, (offset, error) in self.clocks.items():
            if error:
                progress(f"the clock of {name} is {offset / 1e6:.3f} ms ahead, give or take {error / 1e6:.3f} ms")

    def start_remote(self, name: str, spec: Mapping[str, Any]) -> RemoteWorker:
        """Start a producer process under one of the workers."""
        worker = self._worker
        assert worker is not None
        self._remote[name] = RemoteWorker(name, spec, lambda message: worker.tell("remote", message=message))
        return self._remote[name]

    def _hear(self) -> None:
        """Pass on what workers say, and notice who is gone."""
        worker = self._worker
        if worker is None:
            return
        for message in worker.hear():
            if message["event"] == "remote":
                self._remote[message["message"]["process"]].take(message["message"])
            elif message["event"] == "worker gone":
                self._lost.append(
                    f"Locust worker {message['worker']} is gone, and with it {', '.join(message['processes'])}"
                )
                for name in message["processes"]:
                    self._remote[name].lost = "its Locust worker is gone"

    def hear(self) -> None:
        """Take in what came from the workers."""
        if self.fleet is not None:
            self._hear()

    def wait_for_start(self, crew: Crew, progress: Callable[[str], None]) -> None:
        """Wait until Locust has started the run: by itself, or when somebody presses its button."""
        worker = self._worker
        assert worker is not None
        if self.fleet is None:
            crew.wait(lambda: bool(worker.hear()) or "ready" in worker.said, READY_WITHIN_S, "starting Locust")
        worker.tell("go")
        if self._ui is not None:
            hint = ": press Start there" if self._ui.start_by_hand else ""
            progress(f"Locust's page is at http://127.0.0.1:{self._ui.port}{hint}")
        while "start" not in worker.said:
            listen([worker], 0.1)
            self._hear()
            for death in crew.deaths():
                raise ChildError(death)
            if not worker.running:
                raise ChildError(worker.obituary())

    def show(self, progress: Progress, summaries: list[Summary]) -> None:
        """Send what happened since the last second."""
        self._summaries += summaries
        if self._worker is None or progress.at_ns - self._shown_ns < _SHOW_EVERY_NS:
            return
        self._shown_ns = progress.at_ns
        told = [asdict(each) for each in self._summaries if each.count or each.failures]
        shown = {"summaries": told, "faults": progress.faults, "lag": dict(progress.lag)}
        if self._worker.running:
            with contextlib.suppress(ChildError):  # it has just died, as `endings` will tell
                self._worker.tell("show", **shown)
        if self._mirror is not None:
            with contextlib.suppress(OSError):
                self._mirror.sendall(json.dumps(shown).encode() + b"\n")
        self._summaries = []

    def endings(self) -> list[str]:
        """Return why the run shall end now: somebody pressed stop, or Locust died."""
        worker = self._worker
        if worker is None or self._stopping:
            return []
        self._hear()
        lost, self._lost = self._lost, []
        if lost:
            return lost
        if "stop" in worker.said:
            self._stopping = True
            return ["stopped through Locust"]
        if not worker.running:
            self._stopping = True
            return [f"Locust's process ended during the run: {worker.obituary()}"]
        return []

    def pids(self) -> dict[str, int]:
        """Return its process, for the gauges."""
        return {"locust": self._worker.pid} if self._worker is not None and self._worker.running else {}

    def close(self) -> None:
        """End the process."""
        if self._worker is None:
            return
        self._worker.expected_to_end = True
        if self._worker.running:
            self._worker.tell("end")
            self._worker.end(3)
        self._worker.close()
        for worker in self._local:
            worker.signal(signal.SIGTERM)
        for worker in self._local:
            worker.end(3)
            worker.close()
        if self._mirror is not None:
            self._mirror.close()


def _mirror() -> socket.socket | None:
    """Return the connection to a Locust that somebody else started and that shows this run; None without one."""
    path = os.environ.get(SHOW_AT)
    if not path:
        return None
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.connect(path)
    return found
