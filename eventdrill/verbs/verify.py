"""`eventdrill verify`: predicts, drives, compares."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import (
    ClientSettings,
    DryRun,
    Jobs,
    Json,
    Junit,
    Markdown,
    OnAnywhere,
    Out,
    Profile,
    ScenarioFile,
    Seed,
    Settings,
    fresh_folder,
    is_address,
    jobs_of,
    only_there,
    place,
    say_acts,
)
from eventdrill.verbs.outcome import NONE_ASKED, Summaries

if TYPE_CHECKING:
    from eventdrill.workflows.verify import Verification

NAME = "verify"
EXAMPLE = "eventdrill verify leader-crash --on local --repeats 2"


def verb(
    file: ScenarioFile,
    on: OnAnywhere = "local",
    client_settings: ClientSettings = None,
    dry_run: DryRun = False,
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

    Brokers that EventDrill did not start are touched only as the scenario's `target` allows, and what is made for a run there is
    removed before the next one; give a profile that was measured there. Exit code 1: an expectation or a check failed, or a verdict is
    `differs`. 3: the run says nothing about the prediction.
    """
    from eventdrill.workflows.verify import prepare

    crew, summaries = jobs_of(jobs), Summaries(junit, markdown)
    if not is_address(on):
        only_there(dry_run=dry_run, client_settings=client_settings)
        on = place(on)
    # What cannot be predicted or driven is refused before a folder is made for it.
    work = prepare(file, on=on, client_settings=client_settings, profile=profile, seed=seed, settings=settings or ())
    if dry_run:
        return say_acts(work.acts(repeats), as_json=as_json)
    folder = fresh_folder(out, f"{work.drive.loaded.scenario.scenario}-verified")
    from eventdrill.workflows.telling import on_terminal

    result = work.run(folder, repeats=repeats, replications=replications, jobs=crew, telling=on_terminal())
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
