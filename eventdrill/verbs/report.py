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
    from eventdrill.tables import run_tables
    from rundata.dataset import open_run

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise WrongInputError("a folder is named twice; name each run once")
    runs = [open_run(folder) for folder in folders]
    page = writable_file("--out", out or folders[0] / "report.html")
    from reports.page import write_page

    write_page(page, runs)
    documents = [run.to_json() for run in runs]
    if as_json:
        show_json(
            documents[0] if len(documents) == 1 else {"runs": dict(zip(map(str, folders), documents, strict=True))}
        )
    else:
        for folder, document in zip(folders, documents, strict=True):
            show(f"{folder}", *run_tables(document))
    say(f"page: {page}")
    return HELD
