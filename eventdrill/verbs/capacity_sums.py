"""`eventdrill capacity scaling`, `drain`, `outage`, `forecast`, `retention`, `partitions` and `limit`: sums that need no simulation."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventdrill.errors import FAILED, HELD, WrongInputError
from eventdrill.terminal import show, show_json
from eventdrill.verbs.capacity import PricesFile, Zones, prices_in
from eventdrill.verbs.options import Json, ScenarioFile, Seed, Settings, duration_ns, rate_hz, share

if TYPE_CHECKING:
    from eventdrill.workflows.capacity_sums import Rates

HELP = "How much a scenario needs and bears, by search in the simulator: eventdrill capacity FILE. Beside it, sums that need no simulation."
EXAMPLE = """\
eventdrill capacity leader-crash
eventdrill capacity scaling measured.csv --at 24
eventdrill capacity drain leader-crash --group fulfilment --outage 10m"""

SomeScenario = Annotated[
    str | None, typer.Argument(metavar="[FILE]", help="A scenario, of which both rates are taken.", show_default=False)
]
GroupOption = Annotated[
    str | None, typer.Option("--group", metavar="NAME", help="Which group of the scenario.", show_default=False)
]
CapacityOption = Annotated[
    str | None,
    typer.Option(
        "--capacity", metavar="RATE", help="What can be finished, such as 900/s. Default: FILE's.", show_default=False
    ),
]
RateOption = Annotated[
    str | None,
    typer.Option("--rate", metavar="RATE", help="What arrives, such as 600/s. Default: FILE's.", show_default=False),
]


def scaling(
    file: Annotated[Path, typer.Argument(metavar="POINTS", help="A CSV file of measured points.")],
    n: Annotated[str, typer.Option("--n", metavar="COLUMN", help="How many members, brokers or processes.")] = "n",
    x: Annotated[str, typer.Option("--x", metavar="COLUMN", help="The throughput that was measured.")] = "x",
    at: Annotated[
        float | None, typer.Option("--at", min=1, metavar="N", help="Also say what so many do.", show_default=False)
    ] = None,
    seed: Seed = None,
    as_json: Json = False,
) -> int:
    """Fit the Universal Scalability Law to measured points: contention, crosstalk, and the N beyond which more do less.

    The results.csv of a sweep fits too: --n groups.fulfilment.members --x consumed.
    """
    from eventdrill.workflows import capacity_sums

    found = capacity_sums.scaling(capacity_sums.read_points(file, n, x), at, seed or 0)
    return _tell(found, as_json, _scaling_lines)


def drain(
    file: SomeScenario = None,
    backlog: Annotated[
        float | None, typer.Option("--backlog", min=0, metavar="N", help="Events that wait.", show_default=False)
    ] = None,
    outage: Annotated[
        str | None,
        typer.Option("--outage", metavar="TIME", help="Nothing was handled for so long.", show_default=False),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option("--replay", metavar="TIME", help="What arrived since then is read again.", show_default=False),
    ] = None,
    group: GroupOption = None,
    capacity: CapacityOption = None,
    rate: RateOption = None,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Tell how long a backlog or a replay takes to drain while new events arrive, and what retention takes meanwhile.

    Exit code 1: it never drains, or events expire unread.
    """
    from eventdrill.workflows import capacity_sums

    found = capacity_sums.drain(
        _rates(file, group, capacity, rate, settings), backlog=backlog,
        outage_s=_seconds("--outage", outage), replay_s=_seconds("--replay", replay),
    )  # fmt: skip
    _tell(found, as_json, _drain_lines)
    return FAILED if found["drain"] is None or found["expired"] else HELD


def outage(
    file: SomeScenario = None,
    recover: Annotated[
        str, typer.Option("--recover-within", metavar="TIME", help="How long a catch-up may take.")
    ] = "60s",
    group: GroupOption = None,
    capacity: CapacityOption = None,
    rate: RateOption = None,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Tell the longest outage whose backlog is gone within the objective, and whether retention ends it first.

    Exit code 1: there is no reserve, so that no outage recovers.
    """
    from eventdrill.workflows import capacity_sums

    wanted = _seconds("--recover-within", recover) or 0.0
    found = capacity_sums.outage(_rates(file, group, capacity, rate, settings), wanted)
    _tell(found, as_json, _outage_lines)
    return FAILED if found["longest_outage"] == 0 else HELD


def forecast(
    capacity: Annotated[str, typer.Option("--capacity", metavar="RATE", help="What is borne, such as 900/s.")],
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="RATE", help="The load of today.", show_default=False)
    ] = None,
    growth: Annotated[
        str | None,
        typer.Option(
            "--growth", metavar="SHARE", help="Growth of the load each 30 days, such as 5%.", show_default=False
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            "--history", metavar="CSV", help="Measured loads: columns date and rate (events/s).", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Tell when a growing load reaches what is borne: by a growth that you name, or one fitted to what was measured."""
    from eventdrill.workflows import capacity_sums

    try:
        found = capacity_sums.forecast(
            rate_hz("--capacity", capacity), rate_hz("--rate", rate) if rate else None,
            share("--growth", growth) if growth else None, history,
        )  # fmt: skip
    except ValueError as error:
        raise WrongInputError(f"{history}: {error}") from None
    return _tell(found, as_json, _forecast_lines)


def retention(
    file: ScenarioFile,
    kept: Annotated[
        list[str] | None,
        typer.Option("--retention", metavar="TIME", help="Another retention; repeat for more.", show_default=False),
    ] = None,
    hot: Annotated[
        str | None,
        typer.Option(
            "--hot", metavar="TIME", help="So long on the brokers' disks, then tiered, once.", show_default=False
        ),
    ] = None,
    more: Annotated[
        float,
        typer.Option("--forecast", min=0.001, metavar="X", help="How many times the scenario's load is expected."),
    ] = 1.0,
    replayed: Annotated[
        str | None,
        typer.Option(
            "--replayed", metavar="SHARE", help="Share of the data read back from tiered storage.", show_default=False
        ),
    ] = None,
    prices: PricesFile = None,
    zones: Zones = 1,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Tell what each topic stores and costs a month, as it is and with other retentions, hot or tiered.

    Bytes are those of values, uncompressed; keys, headers and batch overhead come on top, compression takes off.
    """
    from eventdrill.workflows import capacity_sums
    from scenarios.files import load_scenario

    scenario = load_scenario(file, settings or ()).scenario
    hot_ns = duration_ns("--hot", hot) if hot else None
    times = [duration_ns("--retention", each) for each in kept or ()]
    choices = [capacity_sums.Kept(each, part) for each in times for part in dict.fromkeys((None, hot_ns))]
    if hot_ns is not None and not times:
        raise WrongInputError("--hot says how much of a --retention stays on the brokers; name one")
    found = capacity_sums.retention(
        scenario, choices, forecast=more, prices=prices_in(prices) if prices else None, zones=zones,
        replayed_share=share("--replayed", replayed) if replayed else 0.0,
    )  # fmt: skip
    return _tell(found, as_json, _retention_tables)


def partitions(
    target: Annotated[str, typer.Option("--target", metavar="RATE", help="What the topic has to carry.")],
    produce: Annotated[str, typer.Option("--produce", metavar="RATE", help="Measured: what one partition takes.")],
    consume: Annotated[str, typer.Option("--consume", metavar="RATE", help="Measured: what one member handles.")],
    growth: Annotated[
        float, typer.Option("--growth", min=1, metavar="X", help="Room: adding partitions later moves keys.")
    ] = 1.0,
    as_json: Json = False,
) -> int:
    """Tell how many partitions a rate needs, by the slower of what one takes and what one member handles."""
    from reports.capacity_math import partitions_needed

    goal, takes, handles = (
        rate_hz(option, text) for option, text in (("--target", target), ("--produce", produce), ("--consume", consume))
    )
    for option, value in (("--target", goal), ("--produce", takes), ("--consume", handles)):
        if value <= 0:
            raise WrongInputError(f"{option} is {value:g}/s; a rate above 0 is needed")
    needed = partitions_needed(goal, takes, handles, growth)
    found = {"partitions": needed, "slower": "produce" if takes < handles else "consume", "growth": growth}
    return _tell(found, as_json, lambda each: [f"{each['partitions']} partitions; the slower side is {each['slower']}"])


def limit(
    brokers: Annotated[int, typer.Option("--brokers", min=1, metavar="N", help="How many there are.")],
    storage: Annotated[str, typer.Option("--storage", metavar="RATE", help="What one's disks write: 400MiB/s.")],
    network: Annotated[str, typer.Option("--network", metavar="RATE", help="What one's network sends.")],
    storage_network: Annotated[
        str | None,
        typer.Option(
            "--storage-network", metavar="RATE", help="What one's network to its disks carries.", show_default=False
        ),
    ] = None,
    replicas: Annotated[int, typer.Option("--replicas", min=1, metavar="R", help="Copies of each event.")] = 3,
    groups: Annotated[int, typer.Option("--groups", min=0, metavar="G", help="Groups that read everything.")] = 1,
    catching_up: Annotated[
        int, typer.Option("--catching-up", min=0, metavar="G", help="Groups that read it once more, in a replay.")
    ] = 0,
    lost: Annotated[int, typer.Option("--lost", min=0, metavar="N", help="Brokers that are away.")] = 0,
    as_json: Json = False,
) -> int:
    """Tell how many bytes a second a cluster takes in, and whether disks or network stand in the way of more."""
    from reports.capacity_math import cluster_limit
    from scenarios import quantities

    if lost >= brokers:
        raise WrongInputError(f"--lost is {lost}; of {brokers} brokers at least one must be left")
    if replicas > brokers - lost:
        raise WrongInputError(f"--replicas is {replicas}; {brokers - lost} brokers hold at most so many copies")
    speeds = {}
    for option, text in (("--storage", storage), ("--storage-network", storage_network), ("--network", network)):
        try:
            speeds[option] = float("inf") if text is None else quantities.bandwidth(text)
        except ValueError as error:
            raise WrongInputError(f"{option} {error}") from None
    found = cluster_limit(
        brokers=brokers - lost, replicas=replicas, groups=groups, storage=speeds["--storage"],
        storage_network=speeds["--storage-network"], network=speeds["--network"], catching_up=catching_up,
    )  # fmt: skip
    from eventdrill.workflows.capacity_sums import finite

    document = {
        "bytes_per_s": found.bytes_per_s, "bottleneck": found.bottleneck,
        "limits": {name: finite(value) for name, value in found.limits.items()},
    }  # fmt: skip
    return _tell(document, as_json, _limit_lines)


# ---- shared --------------------------------------------------------------------------------------------------------


def _rates(
    file: str | None, group: str | None, capacity: str | None, rate: str | None, settings: list[str] | None
) -> "Rates":
    """Return both rates: those that are named, else those of the scenario."""
    from dataclasses import replace

    from eventdrill.workflows.capacity_sums import Rates, rates_of

    given_capacity = rate_hz("--capacity", capacity) if capacity else None
    given_rate = rate_hz("--rate", rate) if rate else None
    if file is None:
        if given_capacity is None or given_rate is None:
            raise WrongInputError("name a scenario FILE, or both --capacity and --rate")
        if group is not None or settings:
            raise WrongInputError("--group and --set belong to a scenario; name its FILE too")
        return Rates(given_rate, given_capacity, "as given")
    from scenarios.files import load_scenario

    found = rates_of(load_scenario(file, settings or ()).scenario, group)
    found = found if given_rate is None else replace(found, rate_hz=given_rate)
    return found if given_capacity is None else replace(found, capacity_hz=given_capacity)


def _seconds(option: str, text: str | None) -> float | None:
    return None if text is None else duration_ns(option, text) / 1e9


def _tell(document: dict[str, Any], as_json: bool, words: Callable[[dict[str, Any]], list[Any]]) -> int:
    if as_json:
        show_json(document)
    else:
        show(*words(document))
    return HELD


def _s(value: float | None, otherwise: str = "never") -> str:
    from eventdrill.tables import number

    return otherwise if value is None else number(value, "s")


def _scaling_lines(found: dict[str, Any]) -> list[Any]:
    from eventdrill.tables import table

    words = {
        "gamma": "throughput of one", "alpha": "contention: waits in line", "beta": "crosstalk: each with each",
        "peak": "more than so many do less",
    }  # fmt: skip
    shown = table("Universal Scalability Law", ("", "means", "value", "95 %"))
    for name, meaning in words.items():
        value, (low, high) = found[name]["value"], found[name]["interval"]
        ends = [("no end" if each is None else f"{each:.4g}") for each in (low, high)]
        shown.add_row(name, meaning, "none" if value is None else f"{value:.5g}", f"{ends[0]} to {ends[1]}")
    said: list[Any] = [shown]
    if found["at_peak"] is not None:
        said.append(f"at the peak: {found['at_peak']:.5g}")
    if found["asked"]:
        said.append(f"{found['asked']['n']:g} do {found['asked']['x']:.5g}")
    return [*said, *(f"warning: {each}" for each in found["warnings"])]


def _rate_line(found: dict[str, Any]) -> str:
    able = "without end" if found["capacity"] is None else f"{found['capacity']:.4g}/s"
    return f"{found['source']}: {found['rate']:.4g}/s arrive, {able} can be finished"


def _drain_lines(found: dict[str, Any]) -> list[Any]:
    said = [_rate_line(found), f"{found['backlog']:,.0f} events wait, and are worked off after {_s(found['drain'])}"]
    if found["retention"] is not None:
        said.append(
            f"the oldest is {_s(found['oldest_event'])} old of {_s(found['retention'])} retention: "
            + (
                f"{found['expired']:,.0f} events expire unread"
                if found["expired"]
                else f"{_s(found['time_left_until_loss'])} are left until events are lost"
            )
        )
    return said


def _outage_lines(found: dict[str, Any]) -> list[Any]:
    if found["longest_outage"] == 0:
        return [_rate_line(found), "there is no reserve: no outage recovers"]
    said = [
        _rate_line(found),
        f"the longest outage that recovers within {_s(found['recover_within'])} lasts {_s(found['longest_outage'], 'for ever')}",
    ]
    if found["backlog"] is not None:
        said.append(f"it piles up {found['backlog']:,.0f} events")
    if found["expires_first"]:
        said.append(f"but events expire after {_s(found['retention'])}, which is shorter")
    return said


def _forecast_lines(found: dict[str, Any]) -> list[Any]:
    days = found["runs_out_after_days"]
    said = f"{found['rate']:.4g}/s, growing by {found['growth']:.3%} each 30 days"
    if found["growth_interval"]:
        low, high = found["growth_interval"]
        said += f" ({low:.3%} to {high:.3%} with 95 %, from {found['points']} points)"
    until = "is never reached" if days is None else f"is reached in {days:.0f} days"
    if found["interval"]:
        ends = ["never" if each is None else f"{each:.0f}" for each in found["interval"]]
        until += f" ({ends[0]} to {ends[1]})"
    return [said, f"{found['capacity']:.4g}/s {until}", *(f"warning: {each}" for each in found["warnings"])]


def _retention_tables(found: dict[str, Any]) -> list[Any]:
    from eventdrill.tables import table

    shown = []
    for name, topic in found["topics"].items():
        priced = found["currency"] is not None
        columns = ("kept", "of it hot", "on disks", "on each broker", "tiered", *(("a month",) if priced else ()))
        one = table(f"{name}: {topic['bytes_per_s']:,.0f} B/s, {topic['replicas']} copies", columns)
        for row in topic["kept"]:
            hot = "all" if row["hot"] is None else _s(row["hot"])
            sizes = [_bytes(row[key]) for key in ("hot_bytes", "hot_bytes_per_broker", "tiered_bytes")]
            cost = [f"{row['month_total']:,.2f} {found['currency']}"] if priced else []
            one.add_row(_s(row["retention"]) + (" (as it is)" if row["as_configured"] else ""), hot, *sizes, *cost)
        shown.append(one)
    return shown


def _bytes(count: float) -> str:
    for size, word in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= size:
            return f"{count / size:.4g} {word}"
    return f"{count:.0f} B"


def _limit_lines(found: dict[str, Any]) -> list[Any]:
    ends = ", ".join(
        f"{name} {'no limit' if value is None else _bytes(value) + '/s'}" for name, value in found["limits"].items()
    )
    return [
        f"{_bytes(found['bytes_per_s'])}/s come in; in the way of more is the {found['bottleneck']}",
        f"limits: {ends}",
    ]


VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "scaling": (scaling, "eventdrill capacity scaling measured.csv --n members --x throughput --at 24"),
    "drain": (drain, "eventdrill capacity drain --capacity 900/s --rate 600/s --outage 10m"),
    "outage": (outage, "eventdrill capacity outage leader-crash --group fulfilment --recover-within 5m"),
    "forecast": (forecast, "eventdrill capacity forecast --capacity 900/s --history loads.csv"),
    "retention": (
        retention,
        "eventdrill capacity retention leader-crash --retention 30d --hot 1d --prices prices.yaml",
    ),
    "partitions": (partitions, "eventdrill capacity partitions --target 9000/s --produce 2000/s --consume 800/s"),
    "limit": (limit, "eventdrill capacity limit --brokers 6 --storage 400MiB/s --network 1GiB/s --lost 1"),
}
