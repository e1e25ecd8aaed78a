"""How a verb ends that made or opened a run: its results, and the exit code that they mean."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.errors import FAILED, HELD, SAYS_NOTHING
from eventdrill.terminal import say, show, show_json

if TYPE_CHECKING:
    from rundata.run import Run


def finish(run: "Run", *, as_json: bool) -> int:
    """Print a run's results and return what they mean."""
    document = run.to_json()
    if as_json:
        show_json(document)
    else:
        from eventdrill.tables import run_tables

        show(*run_tables(document))
    return exit_code(document)


def exit_code(document: Mapping[str, Any]) -> int:
    """Return 3 for a run that says nothing, 1 where an expectation or a check failed, else 0."""
    if not document["valid"]["ok"]:
        return SAYS_NOTHING
    held = all(each["held"] for each in document["expect"])
    return HELD if held and all(check["valid"] for check in document["checks"].values()) else FAILED


@contextlib.contextmanager
def dataset_in(folder: Path) -> Iterator[None]:
    """Tell, where Ctrl-C ends a run, what is left of it."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{folder} opens, and says that it is incomplete") from None
    say(f"run: {folder}")
