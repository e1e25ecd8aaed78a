"""The watchdog's process: `python -P -m loadgen.watchdog.server DIRECTORY`.

It holds promises: what to do when the driver asks for it, when a time is over, or when the driver is gone, whichever is
first. What it has to know of a system, its security settings included, comes through the pipe and is written nowhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.clusters.keeping import LOOK_S, RefusedError, Reply, keep
from loadgen.watchdog.undoing import Connection, Undo, UndoError, perform


@dataclass(frozen=True)
class Promise:
    """What is to be done, and when at the latest."""

    undo: Undo
    due_s: float | None  # on the monotonic clock; None: when the driver is gone


@dataclass
class Watchdog:
    """The promises of one driver."""

    directory: Path
    connection: Connection = field(default_factory=dict)
    private: bool = False
    """Whether the system is gone with the driver."""
    promises: dict[str, Promise] = field(default_factory=dict)
    kept: dict[str, Reply] = field(default_factory=dict)
    """What came of those that fell due before anybody asked."""

    def serve(self, request: Mapping[str, Any]) -> Reply:
        """Answer one request."""
        try:
            match request["do"]:
                case "connect":
                    self.connection, self.private = request["connection"], request["private"]
                    return {}
                case "promise":
                    for_s = request["for_s"]
                    due_s = None if for_s is None else time.monotonic() + for_s
                    self.promises[request["id"]] = Promise(request["undo"], due_s)
                    return {}
                case "keep":
                    return self._keep_now(request["id"])
                case "forget":
                    self.promises.pop(request["id"], None)
                    return {}
                case other:
                    raise RefusedError(f"the watchdog knows no request {other!r}")
        except RefusedError as error:
            return {"error": str(error)}

    def _keep_now(self, name: str) -> Reply:
        if name in self.kept:
            return {**self.kept.pop(name), "overdue": True}
        if name not in self.promises:
            raise RefusedError(f"nothing named {name} was promised")
        return {**self._keep(name), "overdue": False}

    def _keep(self, name: str) -> Reply:
        promise = self.promises.pop(name)
        try:
            return {"done": perform(promise.undo, self.connection), "problem": None}
        except UndoError as error:
            return {"done": "", "problem": str(error)}
        except Exception as error:  # whatever it is: the promises beside this one are kept
            return {"done": "", "problem": f"{name}: {type(error).__name__}: {error}"}

    def look(self) -> float:
        """Keep what is overdue; gives the time until more is."""
        now = time.monotonic()
        for name in [n for n, each in self.promises.items() if each.due_s is not None and each.due_s <= now]:
            self.kept[name] = self._keep(name)
        due_s = [each.due_s for each in self.promises.values() if each.due_s is not None]
        return max(0.0, min([LOOK_S, *(at - time.monotonic() for at in due_s)]))

    def end(self) -> None:
        """Keep all that is left, the last promise first, as changes are undone."""
        for name in reversed(list(self.promises)):
            if self.private and self.promises[name].undo["kind"] != "command":
                continue
            problem = self._keep(name)["problem"]
            if problem:
                print(f"eventdrill: not undone: {problem}", file=sys.stderr, flush=True)


def main() -> None:
    """Serve the driver; the argument is the directory for this process's record."""
    keep(Path(sys.argv[1]), Watchdog)


if __name__ == "__main__":
    main()
