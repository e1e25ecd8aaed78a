"""`eventdrill slo`: objectives and error budgets of runs."""

from pathlib import Path
from typing import Annotated

import typer

from eventdrill.errors import HELD, WrongInputError
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import Json, writable_file

NAME = "slo"
EXAMPLE = "eventdrill slo runs/orders-simulated-1 runs/orders-simulated-2 --out slo.html"


def verb(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that simulate, drive or verify wrote.")
    ],
    objectives: Annotated[
        Path | None,
        typer.Option(
            "--objectives",
            metavar="FILE",
            help="Judge an OpenSLO file's objectives instead of the scenario's.",
            show_default=False,
        ),
    ] = None,
    openslo: Annotated[
        Path | None,
        typer.Option(
            "--openslo", metavar="FILE", help="Write the first run's objectives as OpenSLO.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The page; default: slo.html in the first folder.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Judge the objectives of runs: compliance, budget spent and by what, burn rate, how long a budget lasts.

    Of several runs the first is the one that the others are compared with: which change buys how much budget. Runs with equal seeds
    are compared pair by pair. A missed objective is a figure, not a failure.
    """
    from eventdrill.slo_tables import slo_tables
    from eventdrill.workflows.slo import assessed, document

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise WrongInputError("a folder is named twice; name each run once")
    wanted = None
    if objectives is not None:
        from reports.openslo import read_openslo

        wanted = read_openslo(objectives)
    runs = assessed(folders, wanted)
    page = writable_file("--out", out or folders[0] / "slo.html")
    from reports.slo_compare import compare
    from reports.slo_page import write_slo_page

    bought = compare(runs) if len(runs) > 1 else []
    if openslo is not None:
        from reports.openslo import openslo_text

        scenario = runs[0].run.plan.scenario
        writable_file("--openslo", openslo).write_text(openslo_text(scenario.objectives, scenario.scenario), "utf-8")
        say(f"OpenSLO: {openslo}")
    write_slo_page(page, runs, bought)
    found = document(runs, bought)
    if as_json:
        show_json(found)
    else:
        show(*slo_tables(found))
    say(f"page: {page}")
    return HELD
