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
    duration_ns,
    fresh_folder,
    jobs_of,
    place,
    share,
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
    ask_before: Annotated[
        list[str] | None,
        typer.Option(
            "--ask-before",
            metavar="STEP",
            help="Wait for a person before: start, load, faults, or one fault's name; repeat for more. Default: start.",
            show_default=False,
        ),
    ] = None,
    recover: Annotated[
        str | None,
        typer.Option(
            "--recover-within",
            metavar="TIME",
            help="Stop where a backlog would take longer to work off.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget-cap",
            metavar="SHARE",
            help="Stop where the day has spent so much of a budget.",
            show_default=False,
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="FILE",
            help="Prometheus rules that the score judges. Default: the scenario's.",
            show_default=False,
        ),
    ] = None,
    on: On = "local",
    seed: Seed = None,
    settings: Settings = None,
    profile: Profile = None,
    jobs: Jobs = None,
    out: Out = None,
) -> int:
    """Write the plan of a game day from a scenario: hypotheses with predictions, timeline, roles, stop rules, messages.

    Limits that more than one in twenty predicted runs would meet are left out; the plan says which.
    """
    crew, where = jobs_of(jobs), place(on)
    recover_ns = duration_ns("--recover-within", recover) if recover else None
    cap = share("--budget-cap", budget) if budget else None
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
        ask_before=ask_before or ("start",),
        recover_ns=recover_ns,
        budget_share=cap,
        rules=rules,
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
    yes: Annotated[bool, typer.Option("--yes", help="Ask nobody, and let no step wait.")] = False,
    as_json: Json = False,
) -> int:
    """Drive it on real brokers under watch, with a live page, and score it. To stop: Ctrl-C, the page's button, or `touch DIR/STOP`.

    A step that waits for a person goes on with the page's button, or with `eventdrill gameday go DIR`.

    Exit code 1: a hypothesis was refuted. 3: the run says nothing. 130: it was stopped, by a rule or a person.
    """
    from eventdrill.workflows import gameday, gameday_score
    from eventdrill.workflows.telling import on_terminal

    day = gameday.open_day(folder)
    gameday.run(
        day,
        ask=(lambda _question: True) if yes else _ask,
        wait=not yes,
        telling=on_terminal(),
        show=lambda address: say(f"live page: {address}"),
    )
    return _finish(gameday_score.score(day), folder, as_json)


def score(
    folder: Day,
    number: Annotated[
        int | None, typer.Option("--run", min=1, metavar="N", help="Which run; default: the last.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Judge each hypothesis, the detection and the prediction, and write the postmortem."""
    from eventdrill.workflows import gameday, gameday_score

    return _finish(gameday_score.score(gameday.open_day(folder), number), folder, as_json)


def note(
    folder: Day,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What was seen or done, and by whom.")],
    did: Annotated[bool, typer.Option("--did", help="It was done, not seen.")] = False,
) -> int:
    """Add a line with its time to the day's notes; the score tells from them when people saw and did something."""
    from eventdrill.workflows import gameday

    gameday.note(gameday.open_day(folder), text, "did" if did else "saw")
    return HELD


def go(
    folder: Day,
    who: Annotated[
        str | None,
        typer.Option("--who", metavar="NAME", help="Who says so; it goes into the notes.", show_default=False),
    ] = None,
) -> int:
    """Let the step go on that waits for a person."""
    from eventdrill.workflows import gameday

    gameday.go(gameday.open_day(folder), who or "")
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
    noticed = table("who noticed", ("fault", "began", "first alert", "message", "first note"))
    for each in document["detection"]:
        alert = each["alert"]
        noticed.add_row(
            each["fault"], number(each["began"], "s"), "none" if alert is None else f"{alert['alert']} after {number(alert['after'], 's')}",
            number(None if alert is None else alert["message_after"], "s"), number(each["person_after"], "s"),
        )  # fmt: skip
    inside = document["calibration"]["inside_band_90"]
    said = [] if inside is None else [f"{inside:.0%} of the time the lag lay inside its predicted 90 % band"]
    return [shown, noticed, *said, *([f"stopped: {document['stopped']}"] if document["stopped"] else [])]


VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "plan": (plan, "eventdrill gameday plan leader-crash --out days/leader-crash"),
    "rehearse": (rehearse, "eventdrill gameday rehearse days/leader-crash --surprise 2"),
    "run": (run, "eventdrill gameday run days/leader-crash"),
    "go": (go, "eventdrill gameday go days/leader-crash --who Ada"),
    "score": (score, "eventdrill gameday score days/leader-crash"),
    "note": (note, 'eventdrill gameday note days/leader-crash "dashboard shows lag of fulfilment since 14:03"'),
}
