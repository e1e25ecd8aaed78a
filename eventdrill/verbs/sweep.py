"""`eventdrill sweep`: many variants of a scenario in virtual time."""

from pathlib import Path
from typing import Annotated, Any

import typer

from eventdrill.errors import HELD, WrongInputError
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import Jobs, Json, Profile, ScenarioFile, Seed, Settings, fresh_folder, jobs_of

NAME = "sweep"
EXAMPLE = 'eventdrill sweep leader-crash --over "groups.fulfilment.members=[2, 3, 6]"'


def verb(
    file: ScenarioFile,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="K=[V,...]",
            help="A field and its values; repeat for more. Default: the file's `sweep`.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=1,
            metavar="N",
            help="Only N combinations, spread evenly (quasi-random).",
            show_default=False,
        ),
    ] = None,
    replications: Annotated[
        int, typer.Option("--replications", min=2, max=100_000, metavar="R", help="Simulated runs of each variant.")
    ] = 10,
    seed: Seed = None,
    settings: Settings = None,
    profile: Profile = None,
    jobs: Jobs = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the results: new, empty, or of the same sweep, which then goes on. Default: a new one under runs/.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Simulate every combination of some fields' values, compare each with the first, and write a page and a table.

    All variants meet the same events and the same chance. Ctrl-C keeps what is finished; the same command with --out goes on.
    """
    crew = jobs_of(jobs)
    from eventdrill.workflows.sweep import FILE, prepare
    from eventdrill.workflows.telling import on_terminal

    work = prepare(
        file,
        _values(over),
        sample=sample,
        replications=replications,
        seed=seed,
        settings=settings or (),
        profile=profile,
    )
    goes_on = out is not None and (out / FILE).is_file()
    folder = out if goes_on and out is not None else fresh_folder(out, f"{work.loaded.scenario.scenario}-sweep")
    try:
        result = work.run(folder, jobs=crew, telling=on_terminal())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{folder} keeps what is finished; the same with --out {folder} goes on") from None
    document = result.to_json()
    if as_json:
        show_json(document)
    else:
        show(_table(document))
    say(f"results: {folder}")
    say(f"page: {result.page.absolute()}")
    return HELD


def _values(over: list[str] | None) -> dict[str, list[Any]] | None:
    from scenarios.assignments import parse_assignment

    found = {}
    for text in over or ():
        try:
            value = parse_assignment(text).value
        except ValueError as error:
            raise WrongInputError(f"--over {text}: {error}") from None
        if not isinstance(value, list) or not value:
            raise WrongInputError(f"--over {text}: the values are a list, such as groups.fulfilment.members=[1, 2, 3]")
        found[text.partition("=")[0].strip()] = value
    return found or None


def _table(document: dict[str, Any]) -> Any:
    from eventdrill.tables import bounds, figure, table

    fields = document["fields"]
    names = dict.fromkeys(text.split()[0] for point in document["points"] for text in point["expect"])
    figures = [point["indicators"] for point in document["points"]]
    shown_names = dict.fromkeys(
        name for name in [*names, "latency.p99", "lag.max"] if any(f.get(name, {}).get("value") for f in figures)
    )
    shown = table("variants", (*fields, "expectations", *shown_names))
    for point in document["points"]:
        cells = []
        for name in shown_names:
            found = point["indicators"].get(name)
            against = point["against_first"].get(name, {}).get("verdict")
            marked = f" ({against})" if against in ("better", "worse") else ""
            cells.append(
                "" if found is None else f"{figure(found)}{marked}\n{bounds(found['interval'], found['unit'])}"
            )
        failed = [text for text, share in point["expect"].items() if share < 0.95]
        said = "FAILED " + "; ".join(failed) if failed else "held" if point["expect"] else "-"
        shown.add_row(*(str(point["changes"][field]) for field in fields), said, *cells)
    return shown
