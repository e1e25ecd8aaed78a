"""How a verb ends that made or opened a run: its results, and the exit code that they mean."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.errors import FAILED, HELD, SAYS_NOTHING
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import writable_file

if TYPE_CHECKING:
    from rundata.run import Run


@dataclass(frozen=True)
class Summaries:
    """Files beside the results, for CI and pull requests."""

    junit: Path | None = None
    markdown: Path | None = None

    def __post_init__(self) -> None:
        """Refuse files that cannot be written before anything starts."""
        for option, path in (("--junit", self.junit), ("--markdown", self.markdown)):
            if path is not None:
                writable_file(option, path)

    def write(self, runs: "Mapping[str, Run]", **found: Any) -> None:
        """Write what was asked for; `found` are the verdicts, capacity and notices of a verification."""
        if self.junit is not None:
            from reports.junit import junit_text

            self.junit.write_text(junit_text(runs, found.get("verdicts")), "utf-8")
            say(f"JUnit: {self.junit}")
        if self.markdown is not None:
            from reports.markdown import summary

            self.markdown.write_text(summary(list(runs.values()), **found), "utf-8")
            say(f"summary: {self.markdown}")


NONE_ASKED = Summaries()


def finish(run: "Run", *, as_json: bool, summaries: Summaries = NONE_ASKED) -> int:
    """Print a run's results and return what they mean."""
    document = run.to_json()
    summaries.write({run.data.engine: run})
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
