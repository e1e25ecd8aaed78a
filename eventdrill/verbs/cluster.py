"""`eventdrill cluster`: brokers for oneself, up as long as the process that started them."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from eventdrill.errors import HELD, INTERRUPTED, WrongInputError
from eventdrill.terminal import say, show, show_json
from eventdrill.verbs.options import Json

if TYPE_CHECKING:
    from loadgen.clusters.log_lines import LogIncident
    from loadgen.clusters.registry import ClusterStatus

HELP = "Start, look at and end brokers of one's own, on loopback only."
EXAMPLE = "eventdrill cluster up --brokers 3\neventdrill cluster status"

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Which cluster; several run side by side.")]


def up(
    name: Name = "default",
    brokers: Annotated[int, typer.Option("--brokers", min=1, max=20, help="How many brokers.")] = 3,
    version: Annotated[
        str, typer.Option("--version", metavar="V", help="Kafka's release line, or a full version.")
    ] = "4.2",
    controllers: Annotated[
        Literal["separate", "combined"], typer.Option("--controllers", help="A process of its own, or in every broker.")
    ] = "separate",
    kind: Annotated[
        Literal["local", "embedded"],
        typer.Option("--kind", help="A real Kafka, or the cluster that librdkafka carries."),
    ] = "local",
) -> int:
    """Start a cluster and keep it until Ctrl-C, or until `eventdrill cluster down`.

    Prints the address for clients when the brokers serve. Where a cluster of this name runs already, its address is
    printed and nothing is started. The brokers end with this process, however that ends.
    """
    from loadgen.clusters import registry
    from loadgen.clusters.model import ClusterError, ClusterSpec

    try:
        _check(name, version, kind)
    except ClusterError as error:
        raise WrongInputError(str(error)) from None
    spec = ClusterSpec(nodes=brokers, version=version, controllers=controllers)
    with registry.up(name, spec, progress=say, kind=kind) as cluster:
        print(cluster.status().bootstrap, flush=True)
        if not cluster.owned:
            return HELD
        say("Ctrl-C, or `eventdrill cluster down` elsewhere, ends it")
        try:
            cluster.wait()
        except KeyboardInterrupt:
            say(f"cluster {name}: ended")
            return INTERRUPTED
    return HELD


def _check(name: str, version: str, kind: str) -> None:
    from loadgen.clusters import registry
    from loadgen.clusters.jars import read_lock

    registry.check_name(name)
    if kind == "local":
        read_lock(version)


def status(name: Name = "default", as_json: Json = False) -> int:
    """Show a cluster's health, its brokers, their processes and ports, and the faults in effect.

    A run's own cluster is named as the run's folder. Exit code 2: no such cluster runs.
    """
    found = _found(name)
    if as_json:
        show_json(_plain(found))
    else:
        show(*_describe(found))
    return HELD


def logs(
    node: Annotated[
        int, typer.Argument(metavar="[NODE]", help="A broker's number, or 100 for the separate controller.")
    ] = 1,
    name: Name = "default",
    last: Annotated[
        int | None, typer.Option("--last", min=0, metavar="N", help="Only the last N lines.", show_default=False)
    ] = None,
    incidents: Annotated[
        bool,
        typer.Option(
            "--incidents",
            help="Only what happened, of all nodes: fences, elections, replicas in sync, groups, deletions.",
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Print what a broker or controller has logged, or what the logs of all nodes tell of things that happened."""
    from loadgen.clusters import registry
    from loadgen.clusters.model import ClusterError

    try:
        if not incidents:
            lines = registry.logs(name, node, last=last)
        else:
            found = registry.incidents(name)
            found = found if last is None else found[-last:] if last else []
            if as_json:
                show_json([asdict(each) for each in found])
                return HELD
            lines = [_told(each) for each in found]
    except ClusterError as error:
        raise WrongInputError(str(error)) from None
    if as_json:
        show_json(lines)
    else:
        show(*lines)
    return HELD


def _told(incident: "LogIncident") -> str:
    """Write an incident on one line: when, what, to whom."""
    at = datetime.fromtimestamp(incident.time_unix_ns / 1e9).isoformat(sep=" ", timespec="milliseconds")
    partition = "" if incident.topic is None else f"{incident.topic}/{incident.partition}"
    node = "" if incident.node is None else f"node {incident.node}"
    who = ", ".join(part for part in (partition, incident.group or "", node) if part)
    return f"{at}  {incident.kind.replace('_', ' ')}: {who}: {incident.detail}".rstrip(": ")


def down(name: Name = "default") -> int:
    """End a cluster and remove its data; no other process is touched. Where none runs, there is nothing to do."""
    from loadgen.clusters import registry
    from loadgen.clusters.model import ClusterError

    try:
        there_was = registry.down(name)
    except ClusterError as error:
        raise WrongInputError(str(error)) from None
    say(f"cluster {name}: ended" if there_was else f"no cluster named {name} runs")
    return HELD


VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "up": (up, "eventdrill cluster up --brokers 3"),
    "status": (status, "eventdrill cluster status --json"),
    "logs": (logs, "eventdrill cluster logs 2 --last 20\neventdrill cluster logs --incidents"),
    "down": (down, "eventdrill cluster down"),
}


def _found(name: str) -> "ClusterStatus":
    from loadgen.clusters import registry
    from loadgen.clusters.model import ClusterError

    try:
        return registry.status(name)
    except ClusterError as error:
        raise WrongInputError(str(error)) from None


def _plain(found: "ClusterStatus") -> dict[str, Any]:
    return {key: str(value) if key in ("log_dir", "directory") else value for key, value in asdict(found).items()}


def _describe(found: "ClusterStatus") -> tuple[Any, ...]:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("node", "process", "ports on 127.0.0.1", "serves clients"):
        table.add_column(column)
    for node in found.nodes:
        process = "none" if node.pid is None else f"{node.pid}, hangs" if node.hangs else str(node.pid)
        ports = ", ".join(f"{name} {port}" for name, port in node.ports.items())
        serves = {True: "yes", False: "no", None: "controller"}[node.registered]
        table.add_row(str(node.node), process, ports, serves)
    head = f"cluster {found.name}: {found.health}, {found.implementation} {found.version}, {found.bootstrap}"
    faults = f"faults in effect: {', '.join(found.faults) or 'none'}"
    return head, table, faults, f"logs: {found.log_dir}"
