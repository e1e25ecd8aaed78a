"""`eventdrill gameday`: plan, rehearse, run and score, in a directory of plain files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from eventdrill.errors import FAILED, HELD, INTERRUPTED, SAYS_NOTHING
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import (
    Jobs,
    Json,
    On,
    Out,
    Profile,
    ScenarioFile,
    Seed,
    Settings,
    fresh_folder,
    jobs_of,
    place,
)

HELP = "Game days: planned from a prediction, rehearsed, run live under watch, scored. Everything is plain files."
EXAMPLE = "eventdrill gameday plan leader-crash --out days/leader-crash\neventdrill gameday run days/leader-crash"

Day = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that `gameday plan` wrote.")]


def plan(
    file: ScenarioFile,
    replications: Annotated[
        int,
        typer.Option("--replications", min=40, max=100_000, metavar="R", help="Simulated runs behind the prediction."),
    ] = 100,
    on: On = "local",
    seed: Seed = None,
    settings: Settings = None,
    profile: Profile = None,
    jobs: Jobs = None,
    out: Out = None,
) -> int:
    """Write the plan of a game day from a scenario: hypotheses with predictions, timeline, roles, stop rules, messages."""
    crew, where = jobs_of(jobs), place(on)
    from eventdrill.workflows import gameday
    from eventdrill.workflows.simulate import prepare
    from eventdrill.workflows.telling import on_terminal

    name = prepare(file, seed=seed, settings=settings or (), profile=profile).loaded.scenario.scenario
    folder = fresh_folder(out, f"{name}-gameday")
    gameday.plan(
        file,
        folder,
        seed=seed,
        settings=settings or (),
        profile=profile,
        replications=replications,
        jobs=crew,
        on=where,
        telling=on_terminal(),
    )
    say(f"plan: {(folder / 'plan.html').absolute()}")
    say(
        f"then: eventdrill gameday rehearse {folder}; eventdrill gameday run {folder}; eventdrill gameday score {folder}"
    )
    return HELD


def rehearse(
    folder: Day,
    surprise: Annotated[
        int, typer.Option("--surprise", min=0, metavar="N", help="Number of the surprise that is drawn.")
    ] = 0,
) -> int:
    """Play it in the simulator, with a surprise that only facilitator.md tells."""
    from eventdrill.workflows import gameday

    made = gameday.rehearse(gameday.open_day(folder), surprise_seed=surprise)
    say(f"for the facilitator only: {made / 'facilitator.md'}")
    say(f"page: {(made / 'postmortem.html').absolute()}")
    return HELD


def run(
    folder: Day,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nobody before it starts.")] = False,
    as_json: Json = False,
) -> int:
    """Drive it on real brokers under watch, with a live page, and score it. To stop: Ctrl-C, the page's button, or `touch DIR/STOP`.

    Exit code 1: a hypothesis was refuted. 3: the run says nothing. 130: it was stopped, by a rule or a person.
    """
    from eventdrill.workflows import gameday
    from eventdrill.workflows.telling import on_terminal

    day = gameday.open_day(folder)
    gameday.run(
        day,
        ask=(lambda _question: True) if yes else _ask,
        telling=on_terminal(),
        show=lambda address: say(f"live page: {address}"),
    )
    return _finish(gameday.score(day), folder, as_json)


def score(
    folder: Day,
    number: Annotated[
        int | None, typer.Option("--run", min=1, metavar="N", help="Which run; default: the last.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Judge each hypothesis, the detection and the prediction, and write the postmortem."""
    from eventdrill.workflows import gameday

    return _finish(gameday.score(gameday.open_day(folder), number), folder, as_json)


def note(folder: Day, text: Annotated[str, typer.Argument(metavar="TEXT", help="What was seen or done.")]) -> int:
    """Add a line with its time to the day's notes."""
    from eventdrill.workflows import gameday

    gameday.note(gameday.open_day(folder), text)
    return HELD


def _ask(question: str) -> bool:
    if not sys.stdin.isatty():
        say(f"{question} nobody is there to answer: start with --yes")
        return False
    return typer.confirm(question, err=True)


def _finish(document: dict[str, Any], folder: Path, as_json: bool) -> int:
    if as_json:
        show_json(document)
    else:
        show(*_tables(document))
    say(f"postmortem: {(folder / document['run']).parent / 'postmortem.html'}")
    if document["stopped"]:
        return INTERRUPTED
    if not document["data"]["valid"]:
        return SAYS_NOTHING
    return FAILED if any(each["outcome"] == "refuted" for each in document["hypotheses"]) else HELD


def _tables(document: dict[str, Any]) -> list[Any]:
    from eventdrill.tables import bounds, number, table

    shown = table("hypotheses", ("", "hypothesis", "predicted", "95 % of runs", "observed"))
    for each in document["hypotheses"]:
        unit = each["unit"]
        cells = number(each["predicted"], unit), bounds(each["interval"], unit), number(each["observed"], unit)
        shown.add_row(each["outcome"], each["text"], *cells)
    inside = document["calibration"]["inside_band_90"]
    said = [] if inside is None else [f"{inside:.0%} of the time the lag lay inside its predicted 90 % band"]
    return [shown, *said, *([f"stopped: {document['stopped']}"] if document["stopped"] else [])]


VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "plan": (plan, "eventdrill gameday plan leader-crash --out days/leader-crash"),
    "rehearse": (rehearse, "eventdrill gameday rehearse days/leader-crash --surprise 2"),
    "run": (run, "eventdrill gameday run days/leader-crash"),
    "score": (score, "eventdrill gameday score days/leader-crash"),
    "note": (note, 'eventdrill gameday note days/leader-crash "dashboard shows lag of fulfilment since 14:03"'),
}
