"""`eventdrill simulate`: a scenario in virtual time."""

from typing import Annotated, Literal

import typer

from eventdrill.errors import WrongInputError
from eventdrill.terminal import bar
from eventdrill.verbs.light import without_pandas
from eventdrill.verbs.options import (
    Jobs,
    Json,
    Junit,
    Markdown,
    Out,
    Profile,
    ScenarioFile,
    Seed,
    Settings,
    fresh_folder,
    jobs_of,
    share,
)
from eventdrill.verbs.outcome import Summaries, dataset_in, finish

NAME = "simulate"
EXAMPLE = "eventdrill simulate leader-crash --seed 2 --set groups.fulfilment.members=6"


def verb(
    file: ScenarioFile,
    seed: Seed = None,
    settings: Settings = None,
    profile: Profile = None,
    replications: Annotated[
        int | None,
        typer.Option(
            "--replications",
            min=1,
            max=100_000,
            metavar="R",
            help="Runs with plans drawn anew, for intervals. Default: 1.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="SHARE",
            help="Add runs until the means of what the scenario expects are known this well, such as 5%; at most R, or 1000.",
            show_default=False,
        ),
    ] = None,
    jobs: Jobs = None,
    operations: Annotated[
        Literal["all", "sample", "none"] | None,
        typer.Option(
            "--operations",
            help="Which operations the dataset keeps. Default: all up to 1 million planned events, then none.",
            show_default=False,
        ),
    ] = None,
    stretches: Annotated[
        Literal["whole", "exact", "resampled"] | None,
        typer.Option(
            "--stretches",
            help="Simulate a long run as a whole, or in stretches: every minute of quiet load (exact), or some that stand for others of "
            "equal load (resampled). Default: whole up to 3 million planned events, then resampled.",
            show_default=False,
        ),
    ] = None,
    junit: Junit = None,
    markdown: Markdown = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Run a scenario in the simulator, write a run dataset, and judge its expectations.

    Equal scenario, seed and profile give equal tables, however many processes work on them.
    """
    from eventdrill.workflows.simulate import MOST_REPLICATIONS, prepare

    without_pandas()

    if operations == "sample":
        raise WrongInputError("--operations sample is not there yet; choose all or none")
    wanted = share("--precision", precision) if precision is not None else None
    crew, summaries = jobs_of(jobs), Summaries(junit, markdown)
    most = replications or (MOST_REPLICATIONS if wanted else 1)
    work = prepare(file, seed=seed, settings=settings or (), profile=profile, stretches=stretches)
    folder = fresh_folder(out, f"{work.loaded.scenario.scenario}-simulated")
    what = "simulated runs" if work.stretches == "whole" else "simulated stretches"
    with dataset_in(folder), bar(what, work.steps(most)) as update:
        run = work.run(folder, replications=most, precision=wanted, jobs=crew, operations=operations, progress=update)
    return finish(run, as_json=as_json, summaries=summaries)
