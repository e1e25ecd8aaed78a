"""`eventdrill capacity`: how much a scenario needs, and how much it bears."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventdrill.errors import FAILED, HELD, WrongInputError
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import (
    Jobs,
    Json,
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

if TYPE_CHECKING:
    from reports.capacity_math import Prices

NAME = "search"
EXAMPLE = "eventdrill capacity leader-crash\neventdrill capacity leader-crash --forecast 1.5 --field brokers.nodes"

_CONDITIONS: dict[str, Any] = {"load": "load", "broker-lost": "one broker lost", "catch-up": "catch-up"}
PricesFile = Annotated[
    Path | None,
    typer.Option("--prices", metavar="FILE", help="YAML with date, currency and your prices.", show_default=False),
]
Zones = Annotated[int, typer.Option("--zones", min=1, metavar="Z", help="Zones that brokers and clients lie in.")]


def verb(
    file: ScenarioFile,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="K",
            help="What to find the least of; repeat for more. Default: the members of each group.",
            show_default=False,
        ),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar="WORD",
            help="load, broker-lost or catch-up: under which it must hold; repeat for more. Default: all three.",
            show_default=False,
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            min=1,
            metavar="N",
            help="Search up to N. Default: as many members as partitions.",
            show_default=False,
        ),
    ] = None,
    forecast: Annotated[
        float,
        typer.Option("--forecast", min=0.001, metavar="X", help="How many times the scenario's load is expected."),
    ] = 1.0,
    outage: Annotated[
        str | None,
        typer.Option(
            "--outage",
            metavar="TIME",
            help="The longest outage to catch up after. Default: the scenario's longest fault.",
            show_default=False,
        ),
    ] = None,
    recover: Annotated[
        str, typer.Option("--recover-within", metavar="TIME", help="How long a catch-up may take.")
    ] = "60s",
    growth: Annotated[
        str | None,
        typer.Option(
            "--growth", metavar="SHARE", help="Growth of the load each 30 days, such as 5%.", show_default=False
        ),
    ] = None,
    prices: PricesFile = None,
    zones: Zones = 1,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="WHERE",
            help="Also confirm it on running brokers (local, or embedded): the first answer, and the highest rate.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = None,
    settings: Settings = None,
    profile: Profile = None,
    jobs: Jobs = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Find the least of a field at which every objective holds for the load, with a broker lost and in catch-up; and what breaks it.

    Exit code 1: what the scenario has is not enough.
    """
    crew, where = jobs_of(jobs), None if on is None else place(on)
    from eventdrill.workflows import capacity, capacity_live
    from eventdrill.workflows.telling import on_terminal

    for each in conditions or ():
        if each not in _CONDITIONS:
            raise WrongInputError(f"--condition {each!r} is none; there is {', '.join(_CONDITIONS)}")
    asked = tuple(_CONDITIONS[each] for each in dict.fromkeys(conditions)) if conditions else capacity.CONDITIONS
    work = capacity.prepare(
        file, fields=fields or (), most=most, conditions=asked, seed=seed, settings=settings or (), profile=profile
    )
    demand = capacity.Demand(
        forecast,
        duration_ns("--outage", outage) if outage else work.demand.outage_ns,
        duration_ns("--recover-within", recover),
    )
    work = replace(work, demand=demand)
    paid = prices_in(prices) if prices else None
    grows = share("--growth", growth) if growth else 0.0
    if where is not None:
        capacity_live.check(work.loaded.scenario, where)
    folder = fresh_folder(out, f"{work.loaded.scenario.scenario}-capacity")
    telling = on_terminal()
    plan = work.run(jobs=crew, telling=telling, prices=paid, zones=zones, growth=grows)
    if where is not None:
        plan = replace(plan, live=capacity_live.confirm(work, plan, where, folder, telling))
    page = capacity.write(plan, folder)
    document = plan.to_json()
    if as_json:
        show_json(document)
    else:
        show(*_tables(document))
    say(f"page: {page.absolute()}")
    enough = all(
        each["least"] is not None and each["least"] <= each["now"]
        for each in document["answers"]
        if "reason" not in each
    )
    return HELD if enough and document["breaks"]["headroom"] >= 0 else FAILED


def prices_in(path: Path) -> "Prices":
    """Return the prices of a file."""
    from reports.capacity_math import prices_of
    from scenarios.files import read_text
    from scenarios.yaml_text import read_yaml

    try:
        return prices_of(read_yaml(read_text(path, str(path)), str(path)).value)
    except ValueError as error:
        raise WrongInputError(f"--prices {path}: {error}") from None


def live_lines(live: dict[str, Any]) -> list[str]:
    """Return what running brokers said, a line for the load and one for the least."""
    model, answer = live["model"], live["answer"]
    said = [
        f"on the running brokers {live['rate']:.4g}/s held ({live['interval'][0]:.3g} to {_or_more(live['interval'][1])} times the load); the model of "
        f"the same short runs says {model['interval'][0]:.3g} to {_or_more(model['interval'][1])}: " + live["verdict"]
    ]
    if answer is not None:
        tried = ", ".join(_tried_live(each) for each in answer["looked"])
        said.append(f"{answer['field']} on the running brokers: {tried}: {answer['verdict']}")
    return said


def _tried_live(look: dict[str, Any]) -> str:
    return f"{look['value']} {look['verdict']}" + (f" ({look['reason']})" if look["reason"] else "")


def _or_more(value: float | None) -> str:
    return "more" if value is None else f"{value:.3g}"


def _tables(document: dict[str, Any]) -> list[Any]:
    from eventdrill.tables import table

    shown = table(
        "the least at which every objective holds",
        ("field", "condition", "least", "it has", "in the way with one less"),
    )
    for each in document["answers"]:
        least = (each.get("reason") and "-") or (
            f"over {each['most']}" if each["least"] is None else str(each["least"])
        )
        interval = each["interval"]
        if interval and interval[0] != interval[1] and each["least"] is not None:
            least += f" ({interval[0]} to {interval[1]})"
        shown.add_row(
            each["field"], each["condition"], least, str(each["now"]), each.get("reason") or each["bottleneck"]
        )
    breaks = document["breaks"]
    parts: list[Any] = [
        shown,
        f"as it is, it bears {breaks['rate']:.4g}/s ({breaks['factor']:.3g} times the load); in the way of more: {breaks['bottleneck']}",
    ]
    if document["live"] is not None:
        live = document["live"]
        parts += live_lines(live)
    if document["runs_out_after_days"] is not None:
        parts.append(f"at this growth that is reached in {document['runs_out_after_days']:.0f} days")
    if document["cost"]:
        parts.append(f"a month costs {sum(document['cost']['month'].values()):,.2f} {document['cost']['currency']}")
    return parts
