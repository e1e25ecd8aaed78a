"""`eventdrill explain`: one event's story."""

from pathlib import Path
from typing import Annotated

import typer

from eventdrill.errors import HELD, WrongInputError
from eventdrill.terminal import show, show_json
from eventdrill.verbs.options import Json

NAME = "explain"
EXAMPLE = "eventdrill explain runs/demo/driven slowest"


def verb(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that simulate, drive or verify wrote.")],
    event: Annotated[
        str,
        typer.Argument(metavar="EVENT", help="An event's number (17), its place in a log (orders/0:17), or slowest."),
    ],
    as_json: Json = False,
) -> int:
    """Tell one event's story: what happened to it when, what was wrong around it, and where its time went.

    The stages of each group add up to the latency exactly. A simulated run knows more of them than a driven one.
    """
    from dataclasses import asdict

    from rundata.dataset import open_run
    from rundata.story import find, lines, tell

    run = open_run(folder).data
    if not len(run.operations):
        raise WrongInputError(
            f"{folder} was written without operations, so no event can be told; simulate it again with all"
        )
    try:
        story = tell(run, find(run, event))
    except ValueError as error:
        raise WrongInputError(f"{folder}: {error}") from None
    if as_json:
        show_json(asdict(story))
    else:
        show("\n".join(lines(story)))
    return HELD
