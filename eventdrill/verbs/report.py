"""`eventdrill report`: a page from runs that were written before."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eventdrill.errors import HELD, WrongInputError
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import Jobs, Json, Junit, Markdown, Profile, jobs_of, writable_file
from eventdrill.verbs.outcome import Summaries

if TYPE_CHECKING:
    from reports.prevention import Prevented
    from rundata.run import Run

NAME = "report"
EXAMPLE = (
    "eventdrill report runs/demo/simulated runs/demo/driven --out both.html\n"
    "eventdrill report runs/demo/driven --for on-call --csv figures\n"
    "eventdrill report runs/demo/driven --for executives --what-if"
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
    what_if: Annotated[
        bool,
        typer.Option(
            "--what-if",
            help="With --for executives: simulate the first run again with each measure that its scenario lacks, and say what it buys.",
        ),
    ] = False,
    profile: Profile = None,
    jobs: Jobs = None,
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
    if what_if and readers != "executives":
        raise WrongInputError("--what-if fills the page of executives; add --for executives")
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

    drawings = run_page(page, runs, readers, _tried(runs, profile, jobs_of(jobs)) if what_if else ())
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


def _tried(runs: "Sequence[Run]", profile: str | None, jobs: int | str | None) -> "list[Prevented]":
    from eventdrill.workflows.prevention import what_if
    from eventdrill.workflows.telling import on_terminal

    # The page is about the first live run, else about the first.
    main = next((run for run in runs if run.data.engine == "driven"), runs[0])
    plan = main.data.plan
    return what_if(plan.scenario, seed=plan.seed, profile=profile, jobs=jobs, telling=on_terminal())
