"""Where words go: results to standard output, progress to standard error, colours and bars only to a terminal that wants them."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_OF_FILES = 140
"""Columns of a table that goes into a file or a pipe."""


def results() -> "Console":
    """Return the console of standard output."""
    return _console(sys.stdout)


def progress() -> "Console":
    """Return the console of standard error."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    if is_plain(stream):
        width = int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdecimal() else WIDTH_OF_FILES
        return Console(file=stream, force_terminal=False, color_system=None, highlight=False, markup=False, width=width)
    return Console(file=stream, highlight=False, markup=False)


def is_plain(stream: TextIO) -> bool:
    """Whether colours and bars are unwelcome there."""
    return not stream.isatty() or bool(os.environ.get("NO_COLOR"))


def say(text: str) -> None:
    """Write one line of progress."""
    print(text, file=sys.stderr, flush=True)


def show(*renderables: "RenderableType") -> None:
    """Print results for people."""
    console = results()
    with console.capture() as captured:
        for renderable in renderables:
            console.print(renderable)
    _print(captured.get())


def show_json(document: Any) -> None:
    """Print results for programs: one document, in which a figure that is none is null."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)
    _print(text + "\n")


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more (`| head`): the exit code stays the run's, and what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` are done, with the time left; on a plain terminal say so at every quarter."""
    if is_plain(sys.stderr):
        yield _quarters(title, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress(), transient=True) as shown:
        task = shown.add_task(title, total=total)
        yield lambda done: shown.update(task, completed=done)


def _quarters(title: str, total: int) -> Callable[[int], None]:
    last = 0

    def update(done: int) -> None:
        nonlocal last
        if total > 1 and (done * 4 // total > last * 4 // total or done == total):
            say(f"{title}: {done} of {total}")
            last = done

    return update
