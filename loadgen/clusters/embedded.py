"""The cluster that librdkafka carries: at hand wherever the client is, and no measure of Kafka.

It has real listeners on loopback and real leaders, groups and errors. It keeps records in memory (5 MB a partition),
replicates nothing, neither enforces idempotence nor isolates transactions, and its coordinators take a session timeout
to rebalance. What differs from a real broker's death:

- after `kill`, leaders move when `move_after_s` has passed (a stand-in for the fence); a broker started before that
  keeps what it led. After `terminate` they move at once. Nothing written is lost, whoever dies;
- `pause` keeps answers back, but requests take effect at once;
- groups known through `place_group` get another coordinator together with the leaders; others wait for the broker.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from loadgen.clusters.layout import Endpoint
from loadgen.clusters.link import Link
from loadgen.clusters.mock_library import SETTINGS
from loadgen.clusters.model import ClusterError, ClusterSpec
from loadgen.proxies.client import Proxies

MOVE_AFTER_S = 9.0
"""Kafka's session timeout of a broker, about what a fence takes."""


class EmbeddedKafka:
    """A running mock cluster, which ends with this process."""

    implementation = "librdkafka-mock"

    def __init__(self, spec: ClusterSpec, what: str) -> None:
        """Start it; `what` is told to the process that carries it."""
        self._spec = spec
        self._what = what
        self.nodes = spec.nodes
        self._begin()

    def _begin(self) -> None:
        with contextlib.ExitStack() as undone:
            link = Link("loadgen.clusters.embedded_server", self._what)
            undone.callback(link.close)
            proxies = Proxies() if self._spec.proxied else None
            if proxies is not None:
                undone.callback(proxies.close)
            self._listen(link, proxies)
            undone.pop_all()

    def _listen(self, link: Link, proxies: Proxies | None) -> None:
        """Take over a process that carries the brokers, and tell it what it does not know yet."""
        spec = self._spec
        self.version: str = link.hello["version"]
        self.cluster_id: str = link.hello["cluster_id"]
        self.log_dir = Path(link.hello["log_dir"])
        self.proxies = proxies
        self._link = link
        self._endpoints = tuple(
            Endpoint(node, "CLIENT", int(address.rpartition(":")[2]))
            for node, address in enumerate(link.hello["bootstrap"].split(","), start=1)
        )
        advertised = {} if proxies is None else proxies.advertise(self._endpoints)
        for endpoint, port in advertised.items():
            link.ask("advertise", node=endpoint.node, port=port)
        for node in range(1, spec.nodes + 1):
            if rack := spec.rack(node):
                link.ask("rack", node=node, rack=rack)
        self.bootstrap = ",".join(f"127.0.0.1:{advertised.get(each, each.port)}" for each in self._endpoints)

    def renew(self) -> None:
        """Begin anew, without topics and groups, which it cannot remove by itself; its addresses are others then."""
        self.close()
        self._begin()

    @property
    def keeper_pid(self) -> int:
        """Give the process that carries the brokers."""
        return self._link.pid

    def pause_logs(self, node: int) -> Sequence[Path]:
        """Give none: there is no JVM."""
        return ()

    @property
    def directory(self) -> Path:
        """Give the directory that goes with the cluster."""
        return self._link.directory

    def endpoints(self) -> tuple[Endpoint, ...]:
        """List where the brokers really listen."""
        return self._endpoints

    def create_topic(
        self, name: str, partitions: int, replication: int, *, leaders: Sequence[int] | None = None
    ) -> None:
        """Create a topic; its partitions are led in turn, or as `leaders` says."""
        self._link.ask(
            "create_topic",
            name=name,
            partitions=partitions,
            replication=replication,
            leaders=None if leaders is None else list(leaders),
        )

    def leader(self, topic: str, partition: int) -> int:
        """Give the broker that leads a partition of a topic created through `create_topic`."""
        leaders: dict[str, int] = self._link.ask("status")["leaders"]
        if f"{topic}/{partition}" not in leaders:
            raise ClusterError(f"there is no partition {topic}/{partition}; create the topic through the cluster first")
        return leaders[f"{topic}/{partition}"]

    def set_leader(self, topic: str, partition: int, node: int) -> None:
        """Let another broker lead a partition."""
        self._link.ask("set_leader", topic=topic, partition=partition, node=node)

    def place_group(self, group: str, node: int) -> None:
        """Let a broker coordinate a group, until it is killed and another one takes over."""
        self._link.ask("place_group", group=group, node=node)

    def pid(self, node: int) -> int | None:
        """Give the process that carries all nodes, None while this one is down."""
        return self._link.pid if self.alive(node) else None

    def alive(self, node: int) -> bool:
        """Tell whether a node is up, paused or not."""
        status: dict[str, Any] = self._link.ask("status")
        return 1 <= node <= self.nodes and node not in status["down"]

    def kill(self, node: int, for_s: float | None = None) -> None:
        """Drop a node's connections and refuse new ones; what it led moves later. It is up again after `for_s` at the latest."""
        self._link.ask("kill", node=node, for_s=for_s)

    def terminate(self, node: int, for_s: float | None = None) -> None:
        """Take a node down, and move what it leads at once."""
        self._link.ask("terminate", node=node, for_s=for_s)

    def pause(self, node: int, for_s: float | None = None) -> None:
        """Let a node keep its answers back."""
        self._link.ask("pause", node=node, for_s=for_s)

    def tell(self, what: Sequence[str]) -> None:
        """Let others who look at the cluster know its faults in effect."""
        self._link.ask("tell", what=list(what))

    def resume(self, node: int) -> None:
        """Let a paused node answer."""
        self._link.ask("resume", node=node)

    def start(self, node: int) -> None:
        """Bring a node up again."""
        self._link.ask("start", node=node)

    def registered(self) -> set[int]:
        """Tell which nodes are up; clients are told of all of them, as the mock never fences."""
        return set(range(1, self.nodes + 1)) - set(self._link.ask("status")["down"])

    def wait_registered(self, brokers: set[int], within_s: float) -> None:
        """Check that these nodes are up: they are so at once, or never by themselves."""
        if late := sorted(brokers - self.registered()):
            raise ClusterError(f"node {late[0]} of the embedded cluster is down, and nothing starts it: start it first")

    def controller(self) -> int:
        """Refuse: nothing here is a controller."""
        raise ClusterError("the embedded cluster has no controller process; a local Kafka has one (--on local)")

    def named_by(self, path: Path) -> None:
        """Let a file that names this cluster go with it, however it ends."""
        self._link.ask("named_by", path=str(path))

    def ended(self) -> bool:
        """Tell whether the cluster has been closed, or was ended by somebody else."""
        return self._link.ended()

    def close(self) -> None:
        """End everything; again, it does nothing."""
        self._link.close()
        if self.proxies is not None:
            self.proxies.close()

    def __enter__(self) -> Self:
        """Give the cluster itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def start_embedded(
    spec: ClusterSpec,
    *,
    progress: Callable[[str], None],
    move_after_s: float = MOVE_AFTER_S,
    log_dir: Path | None = None,
) -> EmbeddedKafka:
    """Start the cluster that librdkafka carries, in a process of its own."""
    if ignored := sorted(spec.settings.keys() - SETTINGS):
        progress(f"the embedded cluster ignores the broker settings {', '.join(ignored)}")
    what = {
        "nodes": spec.nodes,
        "settings": {name: spec.settings[name] for name in SETTINGS & spec.settings.keys()},
        "move_after_s": move_after_s,
        "log_dir": None if log_dir is None else str(log_dir.absolute()),
    }
    cluster = EmbeddedKafka(spec, json.dumps(what))
    progress(f"librdkafka {cluster.version}'s mock cluster of {spec.nodes} brokers ready at {cluster.bootstrap}")
    return cluster
