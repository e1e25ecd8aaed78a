"""The driver's side of Locust: its process starts and shows the run, and can stop it. Only that process imports Locust."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from loadgen.children import ChildError, Worker, listen, python_module
from loadgen.crew import Crew
from loadgen.recorder import Progress, Summary
from scenarios.plan import Plan

READY_WITHIN_S = 60.0
_SHOW_EVERY_NS = 1_000_000_000


@dataclass(frozen=True)
class Ui:
    """Locust's page: where it is served, and whether the run starts by itself or with its button."""

    port: int = 8089
    start_by_hand: bool = True


class ControlLink:
    """Starts Locust's process, waits for its start, tells it what happens and hears when it wants the run to end."""

    def __init__(self, plan: Plan, folder: Path, ui: Ui | None) -> None:
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
            "arrays": {},
        }
        self._worker = Worker("locust", python_module("loadgen.control"), spec, self._folder)

    def wait_for_start(self, crew: Crew, progress: Callable[[str], None]) -> None:
        """Wait until Locust has started the run: by itself, or when somebody presses its button."""
        worker = self._worker
        assert worker is not None
        crew.wait(lambda: bool(worker.hear()) or "ready" in worker.said, READY_WITHIN_S, "starting Locust")
        worker.tell("go")
        if self._ui is not None:
            hint = ": press Start there" if self._ui.start_by_hand else ""
            progress(f"Locust's page is at http://127.0.0.1:{self._ui.port}{hint}")
        while "start" not in worker.said:
            listen([worker], 0.1)
            worker.hear()
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
        if self._worker.running:
            told = [asdict(each) for each in self._summaries if each.count or each.failures]
            self._worker.tell("show", summaries=told, faults=progress.faults, lag=dict(progress.lag))
        self._summaries = []

    def endings(self) -> list[str]:
        """Return why the run shall end now: somebody pressed stop, or Locust died."""
        worker = self._worker
        if worker is None or self._stopping:
            return []
        worker.hear()
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
