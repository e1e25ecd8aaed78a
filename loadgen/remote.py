"""Producer processes that run under a Locust worker, here or on another machine: the driver's side, and the worker's.

The driver sends each worker the specifications of its processes with their part of the plan, so that each event is sent by one process
only, wherever that runs. What the processes say and what they record comes back through Locust's own connection.
"""

import base64
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loadgen.children import ChildError, Message, Worker, file_name, python_module
from loadgen.row_stream import Piece, Reading, write

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PINGS = 20
SHOW_AT = "EVENTDRILL_SHOW_AT"
"""Environment variable: the socket to which a driver sends its summaries, when a Locust that is not its child shows them."""


class RemoteWorker:
    """A producer process under a Locust worker, as the driver sees it."""

    def __init__(self, name: str, spec: Mapping[str, Any], send: Callable[[Message], None]) -> None:
        self.name = name
        self.pid = 0
        self.said: dict[str, Message] = {}
        self.expected_to_end = False
        self.lost: str | None = None
        """Why nothing more will be heard of it."""
        self._rows = Path(spec["rows"])
        self._send = send
        self._heard: list[Message] = []
        self._ended = False
        send({"start": name, "spec": _carried(spec)})

    @property
    def running(self) -> bool:
        """Whether it has not ended, and its worker is there."""
        return not self._ended and self.lost is None

    @property
    def process(self) -> "RemoteWorker":
        """Itself: it has no pipe that one could wait for."""
        return self

    stdout = None

    def tell(self, do: str, **what: Any) -> None:
        """Send a request."""
        if self.running:
            self._send({"tell": self.name, "message": {"do": do, **what}})

    def take(self, message: Message) -> None:
        """Take in what came from the worker."""
        for said in message.get("said", ()):
            self.said[said["event"]] = said
            self._heard.append(said)
        for piece in message.get("rows", ()):
            body, head = base64.b64decode(piece["body"]), base64.b64decode(piece["head"])
            write(self._rows, Piece(piece["segment"], piece["at"], body, head))
        self._ended = self._ended or message.get("ended", False)

    def hear(self) -> list[Message]:
        """Return what it has said since the last call."""
        heard, self._heard = self._heard, []
        return heard

    def signal(self, number: int) -> None:
        """Signals go through its worker."""
        self.expected_to_end = True
        self._send({"signal": self.name, "number": int(number)})

    def end(self, _within_s: float) -> None:
        """Forget it."""
        self._ended = True

    def close(self) -> None:
        """Let its worker kill it if it still runs."""
        self.expected_to_end = True
        if self.running:
            self._send({"signal": self.name, "number": 9})
            self._ended = True

    def obituary(self) -> str:
        """Say how it ended."""
        return f"{self.name} is gone: {self.lost or 'it ended'}"


def _carried(spec: Mapping[str, Any]) -> Message:
    """Return a specification with the arrays that it names, as text."""
    arrays = {name: base64.b64encode(Path(path).read_bytes()).decode() for name, path in spec["arrays"].items()}
    return {**spec, "arrays": arrays}


class Host:
    """The processes of one Locust worker."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="eventdrill-worker-")
        self._workers: dict[str, Worker] = {}
        self._readings: dict[str, Reading] = {}
        self._ended: set[str] = set()
        self.offset_ns = 0
        """What this host's clock shows beyond the driver's."""

    def take(self, message: Message) -> None:
        """Do what the driver asks."""
        if "start" in message:
            self._start(message["start"], message["spec"])
        elif "tell" in message:
            asked = dict(message["message"])
            if asked["do"] == "start":
                asked["at_ns"] += self.offset_ns
            with_suppressed(lambda: self._workers[message["tell"]].tell(asked.pop("do"), **asked))
        elif "signal" in message:
            worker = self._workers.get(message["signal"])
            if worker is not None and worker.running:
                worker.process.send_signal(message["number"])

    def _start(self, name: str, spec: Message) -> None:
        folder = Path(self._folder.name)
        for array, text in spec["arrays"].items():
            path = folder / f"{file_name(name)}.{array}.npy"
            path.write_bytes(base64.b64decode(text))
            spec["arrays"][array] = str(path)
        rows = folder / Path(spec["rows"]).name
        spec["rows"] = str(rows)
        self._workers[name] = Worker(name, python_module("loadgen.producer_process"), spec, folder)
        self._readings[name] = Reading(rows)

    def report(self) -> list[Message]:
        """Return what the processes have said and recorded since the last call."""
        found = []
        for name, worker in self._workers.items():
            running = worker.running
            said = worker.hear()
            rows = [_as_text(piece) for piece in self._readings[name].take()]
            ended = not running and not rows and name not in self._ended
            if ended:
                self._ended.add(name)
            if said or rows or ended:
                found.append({"process": name, "said": said, "rows": rows, "ended": ended})
        return found

    def close(self) -> None:
        """End all processes, and remove what they left."""
        for worker in self._workers.values():
            worker.close()
        self._folder.cleanup()


def with_suppressed(do: Callable[[], None]) -> None:
    """Do something with a process that may have ended; its end is told anyway."""
    try:
        do()
    except ChildError:
        return


def _as_text(piece: Piece) -> Message:
    body, head = base64.b64encode(piece.body).decode(), base64.b64encode(piece.head).decode()
    return {"segment": piece.segment, "at": piece.at, "body": body, "head": head}


# ---- clocks --------------------------------------------------------------------------------------------------------


def boot() -> str:
    """Return what tells machines apart whose clocks differ; all processes of one share its clock."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else json.dumps(time.time())


class Pings:
    """Measures by how much another machine's clock is ahead: half a round trip is the error, and the shortest one counts."""

    def __init__(self) -> None:
        self.count = 0
        self.offset_ns = 0
        self.error_ns = 2**62

    def take(self, sent_ns: int, there_ns: int, back_ns: int) -> None:
        """Take in one answer."""
        self.count += 1
        error_ns = (back_ns - sent_ns) // 2
        if error_ns < self.error_ns:
            self.error_ns, self.offset_ns = error_ns, there_ns - (sent_ns + back_ns) // 2

    @property
    def enough(self) -> bool:
        """Whether no more are needed."""
        return self.count >= _PINGS
