"""`eventdrill drive`: the same plan on real brokers."""

import socket
from typing import TYPE_CHECKING, Annotated

import typer

from eventdrill.errors import WrongInputError
from eventdrill.terminal import say
from eventdrill.verbs.options import (
    ClientSettings,
    DryRun,
    Json,
    Junit,
    Markdown,
    OnAnywhere,
    Out,
    ScenarioFile,
    Seed,
    Settings,
    fresh_folder,
    is_address,
    only_there,
    place,
    say_acts,
)
from eventdrill.verbs.outcome import Summaries, dataset_in, finish

if TYPE_CHECKING:
    from loadgen.control_link import Fleet, Ui

NAME = "drive"
EXAMPLE = "eventdrill drive leader-crash --on local --out runs/first"


def verb(
    file: ScenarioFile,
    on: OnAnywhere = "local",
    client_settings: ClientSettings = None,
    dry_run: DryRun = False,
    seed: Seed = None,
    settings: Settings = None,
    ui: Annotated[bool, typer.Option("--ui", help="Show the run in Locust's own page, on loopback.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Locust workers that share the producer processes: started here, or with --join on other machines.",
            show_default=False,
        ),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            "--join",
            metavar="HOST:PORT",
            help="With --workers: do not start them, but wait here for those of `locust -f loadgen/locustfile.py --worker`.",
            show_default=False,
        ),
    ] = None,
    junit: Junit = None,
    markdown: Markdown = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Send the scenario's events to real brokers with its faults, read everything back, and judge it.

    The brokers are started for the run on loopback, and end with it. Brokers that EventDrill did not start are touched only
    as the scenario's `target` allows; topics and groups are made for the run there, and removed after it.
    """
    from eventdrill.live import display
    from eventdrill.workflows.drive import prepare, prepare_foreign
    from loadgen.refuse import fleet_cannot

    fleet, summaries = _fleet(workers, join), Summaries(junit, markdown)
    if is_address(on):
        work = prepare_foreign(file, on=on, client_settings=client_settings, seed=seed, settings=settings or ())
        if dry_run:
            return say_acts(work.acts(), as_json=as_json)
        if fleet is not None and work.system is not None and work.system.security:
            raise WrongInputError(
                "--workers: security settings are not handed to other machines; leave it out to drive from this one"
            )
    else:
        only_there(dry_run=dry_run, client_settings=client_settings)
        work = prepare(file, on=place(on), seed=seed, settings=settings or ())
    if fleet is not None and (refused := fleet_cannot(work.loaded.scenario)):
        raise WrongInputError("\n".join(f"--workers: {reason}" for reason in refused))
    folder = fresh_folder(out, f"{work.loaded.scenario.scenario}-driven")
    with dataset_in(folder), display() as watch:
        run = work.run(folder, ui=_page() if ui else None, fleet=fleet, progress=say, watch=watch)
    return finish(run, as_json=as_json, summaries=summaries)


def _fleet(workers: int | None, join: str | None) -> "Fleet | None":
    """Return the Locust workers that share the load."""
    from loadgen.control_link import Fleet

    if workers is None:
        if join is not None:
            raise WrongInputError("--join says where workers join, and there are none: add --workers N")
        return None
    if join is None:
        return Fleet(workers, port=_free_port())
    host, colon, port = join.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise WrongInputError(f"--join is {join!r}; it is an address of this machine and a port, such as 10.0.0.5:5557")
    return Fleet(workers, host, int(port))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _page() -> "Ui":
    """Return where Locust's page will be: its usual port, or any free one where that is taken."""
    from loadgen.control_link import Ui

    for port in (Ui.port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return Ui(port=probe.getsockname()[1])
    raise WrongInputError("--ui: there is no free port on 127.0.0.1")
