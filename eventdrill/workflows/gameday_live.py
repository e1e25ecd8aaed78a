"""The live part of a game day: the driver tells each half second how it goes; a process of its own watches it, shows it, and stops it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.workflows import drive as driving
from eventdrill.workflows.places import start_cluster
from eventdrill.workflows.telling import Telling

if TYPE_CHECKING:
    from eventdrill.workflows.gameday import GameDay
    from loadgen.recorder import Progress

WATCH = "watch.jsonl"
_STOPS_WITHIN_S = 20.0
_ASKS_EVERY_S = 0.2


class StoppedError(KeyboardInterrupt):
    """A stop rule that fired, or a person's word: the driver ends as after Ctrl-C, and undoes its faults."""


class Teller:
    """Takes the driver's progress: writes it down for the watchdog, looks at it with the rules, and holds what waits for a person."""

    def __init__(
        self,
        day: "GameDay",
        folder: Path,
        shown: "Callable[[Progress], None]",
        asked: Sequence[str] = (),
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        from eventdrill.workflows.gameday import GO, STOP
        from reports.gameday import Watch

        self._day, self._file = day, (folder / WATCH).open("a", encoding="utf-8")
        self.stop_file, self._go_file = day.folder / STOP, day.folder / GO
        self._watch, self._shown, self._say = Watch(day.rules), shown, say
        self._asked = frozenset(asked)
        self.stopped: str | None = None
        self.waiting: str | None = None
        """What waits for a person now."""
        self._released: set[str] = set()
        self._held_s, self._held_since_s = 0.0, 0.0
        self._last: dict[str, Any] = {
            "at_s": 0.0, "predicted_s": 0.0, "lag": {}, "failed": 0, "bad": {}, "age_s": {}, "faults": [], "left_s": 0.0, "waiting": None,
        }  # fmt: skip

    def tell(self, state: "Progress") -> None:
        """Write a line, show it, and stop the run where a rule says so."""
        at_s = state.at_ns / 1e9
        predicted_s = self._predicted_s(at_s)
        row = {
            "phase": state.phase, "message": state.message, "at_s": at_s, "predicted_s": predicted_s, "unix_s": time.time(),
            "lag": dict(state.lag), "failed": state.failed, "bad": dict(state.bad), "age_s": dict(state.waiting_s),
            "acknowledged_hz": state.acknowledged_hz, "planned_hz": state.planned_hz, "faults": list(state.faults),
            "left_s": state.left_ns / 1e9, "waiting": self.waiting,
        }  # fmt: skip
        stop = None
        if state.phase in ("running", "draining") and not state.message:
            stop = self._watch.see(predicted_s, state.lag, state.failed, state.bad, state.waiting_s)
            row["outside_s"] = self._watch.outside_s(predicted_s)
        self._last = row
        self._write(row)
        self._shown(state)
        self._heed_stop_file()
        if stop is not None:
            self._stop(f"rule `{stop.rule}`: {stop.text}")

    def _predicted_s(self, at_s: float) -> float:
        """Return the prediction's own time, which stands still while a fault is held."""
        held = self._held_s + (at_s - self._held_since_s if self.waiting not in (None, "load") else 0.0)
        return max(0.0, at_s - held) if at_s > 0 else at_s

    # ---- the gate: what waits for a person -------------------------------------------------------------------------

    def ready(self) -> None:
        """Hold the load until a person lets it begin, where that was asked for."""
        if "load" not in self._asked:
            return
        self._hold("load")
        while not self._let_in():
            self._heed_stop_file()
            time.sleep(_ASKS_EVERY_S)

    def may_begin(self, fault: str) -> bool:
        """Whether a fault may begin: it was not asked about, or a person has said so."""
        if self.waiting not in (None, fault):
            return False  # one after the other, as planned
        if not self._asked & {"faults", fault} or fault in self._released:
            return True
        if self.waiting is None:
            self._held_since_s = self._last["at_s"]
            self._hold(fault)
        if not self._let_in():
            return False
        self._held_s += max(0.0, self._last["at_s"] - self._held_since_s)
        return True

    def missed(self, fault: str) -> None:
        """Note that the load has ended before a person let a fault begin."""
        from eventdrill.workflows.gameday import note

        self.waiting = None if self.waiting == fault else self.waiting
        note(self._day, f"{fault} was never let in: the load had ended")

    def _hold(self, what: str) -> None:
        self.waiting = what
        self._go_file.unlink(missing_ok=True)  # a word that was said before was about something else
        self._say(f"{what} waits for a person: the page's button, or `eventdrill gameday go {self._day.folder}`")
        self._write(
            {
                **self._last,
                "phase": self._last.get("phase", "preparing"),
                "message": f"waiting for a person: {what}",
                "waiting": what,
                "unix_s": time.time(),
            }
        )

    def _let_in(self) -> bool:
        from eventdrill.workflows.gameday import note

        if not self._go_file.exists():
            return False
        said = self._go_file.read_text("utf-8").strip() or "a person's word"
        self._go_file.unlink(missing_ok=True)
        assert self.waiting is not None
        note(self._day, f"{self.waiting} may begin ({said})", "did")
        self._released.add(self.waiting)
        self.waiting = None
        return True

    # ---- the stop --------------------------------------------------------------------------------------------------

    def _heed_stop_file(self) -> None:
        if self.stop_file.exists():
            self._stop(self.stop_file.read_text("utf-8").strip() or "a person's word: the file STOP")

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
        self._write({**self._last, "phase": "stopping", "message": reason, "waiting": None, "unix_s": time.time()})

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def drive_under_watch(
    day: "GameDay", folder: Path, telling: Telling, show: Callable[[str], None], asked: Sequence[str] = ()
) -> str | None:
    """Drive the day's plan; return why it was stopped, None where it went to its end."""
    from loadgen.engine import drive
    from rundata.dataset import RunWriter

    work = driving.prepare(day.loaded, on=day.about["on"], seed=day.about["seed"])
    about = {"profile": day.profile.profile, "prediction": {"sha256": day.about["prediction_sha256"]}}
    writer = RunWriter(folder / "run", work.plan, about, engine="driven", text=day.loaded.text)
    with telling.display() as shown, _watchdog(day.folder, folder) as dog:
        teller = Teller(day, folder, shown, asked, telling.say)
        try:
            show(dog.page)
            with _heeding_signals(teller), start_cluster(work.on, work.spec, telling.say) as cluster:
                drive(day.loaded, work.plan, cluster, writer, progress=teller.tell, gate=teller)
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
