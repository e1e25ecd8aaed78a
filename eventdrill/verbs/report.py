"""`eventdrill report`: a page from runs that were written before."""

from pathlib import Path
from typing import Annotated

import typer

from eventdrill.errors import HELD, WrongInputError
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import Json, writable_file

NAME = "report"
EXAMPLE = "eventdrill report runs/demo/simulated runs/demo/driven --out both.html"


def verb(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that simulate, drive or verify wrote.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The page; default: report.html in the first folder.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Write a self-contained page from one run, or from several side by side, and print their figures.

    An incomplete run gets its page too; the page says that it is incomplete.
    """
    from eventdrill.tables import run_tables, side_by_side
    from rundata.dataset import open_run

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise WrongInputError("a folder is named twice; name each run once")
    runs = [open_run(folder) for folder in folders]
    page = writable_file("--out", out or folders[0] / "report.html")
    from reports.page import write_page

    write_page(page, runs)
    documents = {str(folder): run.to_json() for folder, run in zip(folders, runs, strict=True)}
    single = next(iter(documents.values())) if len(documents) == 1 else None
    if as_json:
        show_json(single if single is not None else {"runs": documents})
    else:
        show(*(run_tables(single) if single is not None else side_by_side(documents)))
    say(f"page: {page}")
    return HELD
