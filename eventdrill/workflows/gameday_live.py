"""The live part of a game day: the driver tells each half second how it goes; a process of its own watches it, shows it, and stops it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.workflows import drive as driving
from eventdrill.workflows.places import start_cluster
from eventdrill.workflows.telling import Telling

if TYPE_CHECKING:
    from eventdrill.workflows.gameday import GameDay
    from loadgen.recorder import Progress
    from reports.gameday import Watch

WATCH = "watch.jsonl"
_STOPS_WITHIN_S = 20.0


class StoppedError(KeyboardInterrupt):
    """A stop rule that fired, or a person's word: the driver ends as after Ctrl-C, and undoes its faults."""


class Teller:
    """Takes the driver's progress: writes it down for the watchdog, and looks at it with the rules."""

    def __init__(self, folder: Path, stop_file: Path, watch: "Watch", shown: "Callable[[Progress], None]") -> None:
        self._file = (folder / WATCH).open("a", encoding="utf-8")
        self.stop_file, self._watch, self._shown = stop_file, watch, shown
        self.stopped: str | None = None
        self._last: dict[str, Any] = {"at_s": 0.0, "lag": {}, "failed": 0, "faults": [], "left_s": 0.0}

    def tell(self, state: "Progress") -> None:
        """Write a line, show it, and stop the run where a rule says so."""
        row = {
            "phase": state.phase, "message": state.message, "at_s": state.at_ns / 1e9, "unix_s": time.time(),
            "lag": dict(state.lag), "failed": state.failed, "acknowledged_hz": state.acknowledged_hz,
            "planned_hz": state.planned_hz, "faults": list(state.faults), "left_s": state.left_ns / 1e9,
        }  # fmt: skip
        self._last = row
        self._write(row)
        self._shown(state)
        if self.stop_file.exists():
            self._stop(self.stop_file.read_text("utf-8").strip() or "a person's word: the file STOP")
        if state.phase in ("running", "draining") and not state.message:
            stop = self._watch.see(row["at_s"], state.lag, state.failed)  # type: ignore[arg-type]
            if stop is not None:
                self._stop(f"rule `{stop.rule}`: {stop.text}")

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def _stop(self, reason: str) -> None:
        if self.stopped is None:
            self.stopping(reason)
            raise StoppedError(reason)

    def stopping(self, reason: str) -> None:
        """Let the watchdog know that the run ends, so that silence is no reason to worry."""
        self.stopped = reason
        self._write({**self._last, "phase": "stopping", "message": reason, "unix_s": time.time()})

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def drive_under_watch(day: "GameDay", folder: Path, telling: Telling, show: Callable[[str], None]) -> str | None:
    """Drive the day's plan; return why it was stopped, None where it went to its end."""
    from eventdrill.workflows.gameday import STOP
    from loadgen.engine import drive
    from reports.gameday import Watch
    from rundata.dataset import RunWriter

    work = driving.prepare(day.loaded, on=day.about["on"], seed=day.about["seed"])
    about = {"profile": day.profile.profile, "prediction": {"sha256": day.about["prediction_sha256"]}}
    writer = RunWriter(folder / "run", work.plan, about, engine="driven", text=day.loaded.text)
    with telling.display() as shown, _watchdog(day.folder, folder) as dog:
        teller = Teller(folder, day.folder / STOP, Watch(day.rules), shown)
        try:
            show(dog.page)
            with _heeding_signals(teller), start_cluster(work.on, work.spec, telling.say) as cluster:
                drive(day.loaded, work.plan, cluster, writer, progress=teller.tell)
        except KeyboardInterrupt:
            reason = teller.stopped or "a person's word: Ctrl-C"
            writer.state("interrupted", incomplete=[f"stopped: {reason}"])
            return reason
        except BaseException:
            writer.state("interrupted")
            raise
        finally:
            teller.close()
    return None


@contextlib.contextmanager
def _heeding_signals(teller: Teller) -> Iterator[None]:
    """Stop on Ctrl-C, SIGTERM and SIGUSR1, once: a second one would break what undoes the faults."""

    def stop(number: int, _frame: object) -> None:
        if teller.stopped is None:
            name = "Ctrl-C" if number == signal.SIGINT else f"the signal {signal.Signals(number).name}"
            said = teller.stop_file.read_text("utf-8").strip() if teller.stop_file.exists() else ""
            teller.stopping(said or f"a person's word: {name}")
            raise StoppedError

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


# ---- the watchdog --------------------------------------------------------------------------------------------------


class _watchdog:  # noqa: N801 - used as a `with`
    """A process that shows the run, and ends the driver where it has fallen silent or a person wants it."""

    def __init__(self, day: Path, folder: Path) -> None:
        self._command = [
            sys.executable,
            "-P",
            "-m",
            "eventdrill.workflows.gameday_watchdog",
            str(day),
            str(folder),
            str(os.getpid()),
        ]
        self.page = ""

    def __enter__(self) -> "_watchdog":
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        self.page = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends when nobody holds the other end
        try:
            self._process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
