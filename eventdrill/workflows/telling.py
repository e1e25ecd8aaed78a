"""How a long piece of work tells what it is at: nothing from Python, lines and bars on a terminal."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadgen.recorder import Progress


@contextlib.contextmanager
def _no_bar(_title: str, _total: int) -> Iterator[Callable[[int], None]]:
    yield lambda _done: None


@contextlib.contextmanager
def _no_display() -> "Iterator[Callable[[Progress], None]]":
    yield lambda _state: None


@dataclass(frozen=True)
class Telling:
    """Where words, counts and a live run's moments go."""

    say: Callable[[str], None] = lambda _text: None
    bar: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = _no_bar
    display: "Callable[[], AbstractContextManager[Callable[[Progress], None]]]" = _no_display


SILENT = Telling()


def on_terminal() -> Telling:
    """Return the telling of the command line."""
    from eventdrill.live import display
    from eventdrill.terminal import bar, say

    return Telling(say, bar, display)
