"""`eventdrill verify`: predicts, drives, compares."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import (
    Jobs,
    Json,
    Junit,
    Markdown,
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
from eventdrill.verbs.outcome import NONE_ASKED, Summaries

if TYPE_CHECKING:
    from eventdrill.workflows.verify import Verification

NAME = "verify"
EXAMPLE = "eventdrill verify leader-crash --on local --repeats 2"


def verb(
    file: ScenarioFile,
    on: On = "local",
    profile: Profile = None,
    repeats: Annotated[
        int,
        typer.Option("--repeats", min=1, max=1000, metavar="K", help="Live runs; each takes as long as the scenario."),
    ] = 1,
    replications: Annotated[
        int,
        typer.Option("--replications", min=20, max=100_000, metavar="R", help="Simulated runs behind the intervals."),
    ] = 200,
    seed: Seed = None,
    settings: Settings = None,
    jobs: Jobs = None,
    junit: Junit = None,
    markdown: Markdown = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Predict a scenario, lock the prediction, drive it on real brokers, and say how far the two agree.

    Exit code 1: an expectation or a check failed, or a verdict is `differs`. 3: the run says nothing about the prediction.
    """
    from eventdrill.workflows import drive as driving
    from scenarios.files import load_scenario
    from scenarios.profiles import load_profile

    where, crew, summaries = place(on), jobs_of(jobs), Summaries(junit, markdown)
    loaded = load_scenario(file, settings or ())
    taken = load_profile(profile) if profile is not None else None
    driving.prepare(loaded, on=where, seed=seed)  # what cannot be driven is refused before a folder is made for it
    folder = fresh_folder(out, f"{loaded.scenario.scenario}-verified")
    from eventdrill.workflows.telling import on_terminal
    from eventdrill.workflows.verify import verify

    result = verify(
        loaded,
        on=where,
        profile=taken,
        repeats=repeats,
        replications=replications,
        jobs=crew,
        seed=seed,
        out=folder,
        telling=on_terminal(),
    )
    return finish(result, as_json=as_json, summaries=summaries)


def finish(result: "Verification", *, as_json: bool = False, summaries: Summaries = NONE_ASKED) -> int:
    """Print what came out and where the page lies; return what it means."""
    document = result.to_json()
    runs = {"predicted": result.prediction.run, **{f"observed {n}": run for n, run in enumerate(result.observed, 1)}}
    summaries.write(runs, verdicts=result.agreement, capacity=result.capacity, notices=result.notices)
    if as_json:
        show_json(document)
    else:
        show(*_tables(document))
    say(f"runs: {result.folder}")
    say(f"page: {result.page.absolute()}")
    return result.exit_code


def _tables(document: dict[str, Any]) -> list[Any]:
    from eventdrill.tables import agreement_table, judgement_tables

    sizes = [
        f"{each['group']}: {each['fewest'] or 'no number of'} members meet every objective, it has {each['members_now']}; {each['reason']}"
        for each in document["capacity"]
    ]
    return [
        agreement_table(document["agreement"]),
        *([document["look_first"]] if document["look_first"] else []),
        *judgement_tables(document["observed"]),
        *sizes,
        *document["notices"],
    ]
