"""The driver's side of the watchdog."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadgen.clusters.link import Link
from loadgen.watchdog.undoing import COMMAND_WITHIN_S, Connection, Undo, UndoError

GRACE_S = 10.0
"""How much longer than planned a fault may last before the watchdog ends it by itself."""


@dataclass
class Watchdog:
    """A watchdog for one run, in a process that outlives this one just long enough to keep its promises."""

    connection: Connection
    private: bool
    """Whether the system ends with the driver: then nothing but commands is left to do without it."""
    link: Link = field(default_factory=lambda: Link("loadgen.watchdog.server", name="the watchdog", end_within_s=120))

    def __post_init__(self) -> None:
        self.link.ask("connect", connection=dict(self.connection), private=self.private)

    @property
    def pid(self) -> int:
        """Give its process."""
        return self.link.pid

    def promise(self, name: str, undo: Undo, *, for_s: float | None = None) -> None:
        """Let it be done when asked for, and without being asked when `for_s` is over or this process is gone."""
        self.link.ask("promise", id=name, undo=undo, for_s=for_s)

    def keep(self, name: str) -> str:
        """Let it be done now; gives in words what was done."""
        answer = self.link.ask("keep", id=name, answer_within_s=COMMAND_WITHIN_S + GRACE_S)
        if answer["problem"]:
            raise UndoError(answer["problem"])
        done: str = answer["done"]
        return f"{done} (by the watchdog: it was overdue)" if answer["overdue"] else done

    def forget(self, name: str) -> None:
        """Take a promise back: what it was about never came to be."""
        self.link.ask("forget", id=name)

    def close(self) -> None:
        """End it; what is still promised is done first. Again, it does nothing."""
        self.link.close()
