"""A live run while it goes: rate, lag, faults in effect and time left; one line now and then where there is no terminal."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eventdrill.terminal import is_plain, progress, say
from scenarios.quantities import SECOND, format_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from loadgen.recorder import Progress

PLAIN_EVERY_S = 10.0
"""So often a line goes to a log."""


@contextlib.contextmanager
def display() -> "Iterator[Callable[[Progress], None]]":
    """Show the progress that a live run tells, until it ends."""
    if is_plain(sys.stderr):
        yield _Lines().tell
        return
    from rich.live import Live

    with Live(console=progress(), refresh_per_second=4, transient=True) as shown:
        yield lambda state: shown.update(picture(state))


class _Lines:
    """A line for each change of phase or fault, and one now and then."""

    def __init__(self) -> None:
        self._last: tuple[str, str, tuple[str, ...]] = ("", "", ())
        self._said_s = 0.0

    def tell(self, state: "Progress") -> None:
        """Say what has changed, or how it goes."""
        words = re.sub(r"\d.*", "", state.message)  # a count that goes up is no news
        now = (state.phase, words, tuple(state.faults))
        if now == self._last and time.monotonic() - self._said_s < PLAIN_EVERY_S:
            return
        self._last, self._said_s = now, time.monotonic()
        say(line(state))


def line(state: "Progress") -> str:
    """Return a run's moment as one line."""
    if state.message:
        return f"{state.phase}: {state.message}"
    parts = [
        f"{state.phase} {format_duration(max(0, state.at_ns))}",
        f"{state.acknowledged_hz:.0f} of {state.planned_hz:.0f} events/s",
        *(f"lag {group} {count:,}" for group, count in state.lag.items()),
    ]
    if state.faults:
        parts.append("fault: " + ", ".join(state.faults))
    return " | ".join([*parts, f"{_left(state)} left"])


def _left(state: "Progress") -> str:
    return format_duration(round(max(0, state.left_ns) / SECOND) * SECOND)


def picture(state: "Progress") -> "RenderableType":
    """Return a run's moment for a terminal: a bar for the time, a table of who does what."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if state.message:
        return Text(f"{state.phase}: {state.message}", style="dim")
    rows = Table.grid(padding=(0, 2))
    rows.add_row(
        "sent",
        f"{state.sent:,} of {state.planned:,}",
        f"{state.acknowledged_hz:.0f}/s acknowledged, {state.planned_hz:.0f}/s planned",
    )
    for group, lag in state.lag.items():
        rows.add_row(group, f"lag {lag:,}", f"{state.effects_hz.get(group, 0.0):.0f}/s done")
    fault = (
        Text("fault in effect: " + ", ".join(state.faults), style="bold red")
        if state.faults
        else Text("no fault in effect", style="dim")
    )
    done = ProgressBar(total=max(1, state.duration_ns), completed=min(state.duration_ns, max(0, state.at_ns)), width=40)
    return Group(Text(f"{state.phase}: {_left(state)} left"), done, rows, fault)
