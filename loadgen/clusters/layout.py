"""How a private Kafka is laid out: its nodes, their ports and the files that each of them starts from."""

from __future__ import annotations

import base64
import contextlib
import random
import shutil
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loadgen.clusters import disks
from loadgen.clusters.model import CONTROLLER_ID, ClusterError, ClusterSpec

Listener = Literal["CLIENT", "INTERNAL", "CONTROLLER"]
PORTS = range(10_000, 32_000)
"""Below the ports that systems hand out by themselves: a dead broker's port must still be free when it returns."""

OURS = frozenset(
    {
        "process.roles",
        "node.id",
        "broker.id",
        "listeners",
        "advertised.listeners",
        "inter.broker.listener.name",
        "controller.listener.names",
        "listener.security.protocol.map",
        "controller.quorum.voters",
        "controller.quorum.bootstrap.servers",
        "log.dir",
        "log.dirs",
        "metadata.log.dir",
        "broker.rack",
    }
)
"""Settings that follow from the layout; others cannot be set without breaking it."""


@dataclass(frozen=True)
class Endpoint:
    """Where one node listens for one kind of peer."""

    node: int
    listener: Listener
    port: int


Advertise = Callable[[tuple[Endpoint, ...]], Mapping[Endpoint, int]]
"""Tells for real endpoints which port peers shall be told instead; those left out are told as they are."""


@dataclass(frozen=True)
class Layout:
    """The nodes of one cluster and where they listen."""

    spec: ClusterSpec
    cluster_id: str
    endpoints: tuple[Endpoint, ...]
    advertised: Mapping[Endpoint, int]

    @property
    def brokers(self) -> range:
        """Give the ids of the brokers."""
        return range(1, self.spec.nodes + 1)

    @property
    def controllers(self) -> list[int]:
        """Give the ids of the nodes that can be the active controller."""
        return [each.node for each in self.endpoints if each.listener == "CONTROLLER"]

    @property
    def node_ids(self) -> list[int]:
        """Give all nodes, controllers first."""
        return sorted({each.node for each in self.endpoints}, reverse=self.spec.controllers == "separate")

    def port(self, node: int, listener: Listener) -> int:
        """Give the port on which a node really listens."""
        return next(each.port for each in self.endpoints if (each.node, each.listener) == (node, listener))

    def told_port(self, node: int, listener: Listener) -> int:
        """Give the port that peers of a node are told."""
        endpoint = next(each for each in self.endpoints if (each.node, each.listener) == (node, listener))
        return self.advertised.get(endpoint, endpoint.port)

    @property
    def bootstrap(self) -> str:
        """List where clients find the brokers."""
        clients = [each for each in self.endpoints if each.listener == "CLIENT"]
        return ",".join(f"127.0.0.1:{self.advertised.get(each, each.port)}" for each in clients)


def plan_layout(spec: ClusterSpec, advertise: Advertise | None = None) -> Layout:
    """Choose ports and a cluster id; `advertise` may put proxies before the ports."""
    _check(spec)
    wanted: list[tuple[int, Listener]] = [] if spec.controllers == "combined" else [(CONTROLLER_ID, "CONTROLLER")]
    for node in range(1, spec.nodes + 1):
        wanted += [(node, "CLIENT"), (node, "INTERNAL")]
        wanted += [(node, "CONTROLLER")] if spec.controllers == "combined" else []
    ports = free_ports(len(wanted))
    endpoints = tuple(Endpoint(node, listener, port) for (node, listener), port in zip(wanted, ports, strict=True))
    return Layout(spec, draw_id(), endpoints, dict(advertise(endpoints)) if advertise else {})


def _check(spec: ClusterSpec) -> None:
    if not 1 <= spec.nodes < CONTROLLER_ID:
        raise ClusterError(f"brokers.nodes is {spec.nodes}; a local cluster has 1 to {CONTROLLER_ID - 1} brokers")
    if taken := sorted(OURS & spec.settings.keys()):
        raise ClusterError(
            f"brokers.settings.{taken[0]} is {spec.settings[taken[0]]}; a local cluster sets {', '.join(taken)} itself: "
            "leave it out"
        )


def free_ports(count: int) -> list[int]:
    """Find ports on loopback that nothing is bound to, all different."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            if len(ports) == count:
                break
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def draw_id() -> str:
    """Draw an id as Kafka does: never one that begins with a dash, which its tools take for an option."""
    while True:
        drawn = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn


def write_node(layout: Layout, node: int, directory: Path, formatted: Path) -> Path:
    """Write what a node starts from, its formatted data directory included; gives its properties file."""
    data = directory / f"n{node}"
    if layout.spec.disks:
        disks.make(data)
    if node in layout.controllers:
        shutil.copytree(formatted, data, dirs_exist_ok=layout.spec.disks)
    elif not layout.spec.disks:  # a broker fetches all the rest from its controller
        data.mkdir()
    meta = {"version": "1", "cluster.id": layout.cluster_id, "node.id": str(node), "directory.id": draw_id()}
    _write_properties(data / "meta.properties", meta)
    if layout.spec.disks:
        disks.flush(data)
    return _write_properties(directory / f"n{node}.properties", properties(layout, node, data))


def properties(layout: Layout, node: int, data: Path) -> dict[str, str]:
    """Give the settings of one node: ours, those of the user on top."""
    spec = layout.spec
    mine = [each for each in layout.endpoints if each.node == node]
    roles = ["broker"] * (node in layout.brokers) + ["controller"] * (node in layout.controllers)
    settings = {
        "process.roles": ",".join(roles),
        "node.id": str(node),
        "listeners": ",".join(f"{each.listener}://127.0.0.1:{each.port}" for each in mine),
        "advertised.listeners": _advertised(layout, mine),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT",
        "controller.quorum.voters": _voters(layout),
        "log.dirs": str(data),
    }
    if node in layout.brokers:
        settings["inter.broker.listener.name"] = "INTERNAL"
        rack = spec.rack(node)
        settings |= {} if rack is None else {"broker.rack": rack}
    return {**settings, **small_and_strict(spec.nodes), **spec.settings}


def _advertised(layout: Layout, mine: Iterable[Endpoint]) -> str:
    return ",".join(f"{each.listener}://127.0.0.1:{layout.advertised.get(each, each.port)}" for each in mine)


def _voters(layout: Layout) -> str:
    controllers = [each for each in layout.endpoints if each.listener == "CONTROLLER"]
    return ",".join(f"{each.node}@127.0.0.1:{layout.advertised.get(each, each.port)}" for each in controllers)


def small_and_strict(nodes: int) -> dict[str, str]:
    """Give the defaults of ours: small enough for a laptop, replicated as a real cluster is."""
    copies = str(min(3, nodes))
    in_sync = str(min(2, nodes))
    return {
        "auto.create.topics.enable": "false",
        "log.cleaner.dedupe.buffer.size": "2097152",  # the default of 128 MiB is touched at the start
        "offsets.topic.num.partitions": "5",
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": "5",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": "5",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def _write_properties(path: Path, settings: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{name}={_escape(value)}\n" for name, value in settings.items()), encoding="latin-1")
    return path


def _escape(value: str) -> str:
    """Write a value as Java's properties files need it, so that every text arrives as it is."""
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return "".join(char if " " < char < "\x7f" else f"\\u{ord(char):04x}" for char in escaped)


LOG4J = """\
# One stream per node, in order; the first field is the time in milliseconds since 1970, exact for programs.
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{UNIX_MILLIS} [%d{ISO8601}] %p %m (%c{1})%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
logger.requests.name=kafka.request.logger
logger.requests.level=warn
logger.channel.name=kafka.network.RequestChannel$
logger.channel.level=warn
logger.authorizer.name=kafka.authorizer.logger
logger.authorizer.level=warn
"""


def write_log4j(directory: Path) -> Path:
    """Write what and how the nodes log."""
    path = directory / "log4j2.properties"
    path.write_text(LOG4J)
    return path
