"""`eventdrill report`: a page from runs that were written before."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from eventdrill.errors import HELD, WrongInputError
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import Json, Junit, Markdown, writable_file
from eventdrill.verbs.outcome import Summaries

NAME = "report"
EXAMPLE = (
    "eventdrill report runs/demo/simulated runs/demo/driven --out both.html\n"
    "eventdrill report runs/demo/driven --for on-call --csv figures"
)
Readers = Literal["engineers", "executives", "on-call", "debugging"]


def verb(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that simulate, drive or verify wrote.")
    ],
    readers: Annotated[
        Readers,
        typer.Option("--for", help="Whose questions the page answers; those of engineers are about everything."),
    ] = "engineers",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The page; default: report.html (for others their name) in the first folder.",
            show_default=False,
        ),
    ] = None,
    numbers: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="DIR",
            help="Also write the numbers of each figure as CSV, into a folder.",
            show_default=False,
        ),
    ] = None,
    junit: Junit = None,
    markdown: Markdown = None,
    as_json: Json = False,
) -> int:
    """Write a self-contained page from one run, or from several side by side, and print their figures.

    An incomplete run gets its page too; the page says that it is incomplete.
    """
    from eventdrill.tables import run_tables, side_by_side
    from rundata.dataset import open_run

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise WrongInputError("a folder is named twice; name each run once")
    summaries = Summaries(junit, markdown)
    runs = [open_run(folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if readers != "engineers" and not run.keeps_operations:
            raise WrongInputError(
                f"{folder}: keeps no operations, so --for {readers} has nothing to look at; simulate it with --operations all"
            )
    if numbers is not None and numbers.is_file():
        raise WrongInputError(f"--csv {numbers} is a file; name a folder")
    name = "report" if readers == "engineers" else readers
    page = writable_file("--out", out or folders[0] / f"{name}.html")
    from eventdrill.workflows.pages import run_page

    drawings = run_page(page, runs, readers)
    if numbers is not None:
        from reports.figure_data import write_csv

        written = write_csv(numbers, drawings)
        say(f"numbers: {len(written)} files in {numbers}")
    names = {str(folder): run for folder, run in zip(folders, runs, strict=True)}
    summaries.write(names)
    documents = {folder: run.to_json() for folder, run in names.items()}
    single = next(iter(documents.values())) if len(documents) == 1 else None
    if as_json:
        show_json(single if single is not None else {"runs": documents})
    else:
        show(*(run_tables(single) if single is not None else side_by_side(documents)))
    say(f"page: {page}")
    return HELD
