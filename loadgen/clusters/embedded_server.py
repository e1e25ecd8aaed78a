"""The process that carries an embedded cluster: `python -P -m loadgen.clusters.embedded_server`.

A mock broker that goes down keeps the leadership of its partitions; here they move after a while, as a fence would
make them, so that a drill can go on.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.clusters.keeping import LOOK_S, RefusedError, Reply, keep, record
from loadgen.clusters.mock_library import MockCluster
from loadgen.clusters.model import ClusterError


@dataclass
class Partition:
    """One partition, and who may lead it."""

    topic: str
    number: int
    replicas: list[int]
    leader: int
    epoch: int = 1  # the mock's own, after we chose its first leader


@dataclass
class EmbeddedServer:
    """The mock cluster, with what it forgets: who led what, and who is down since when."""

    directory: Path
    nodes: int
    settings: Mapping[str, str]
    move_after_s: float
    log: Path
    down: dict[int, float] = field(default_factory=dict)  # node: when its partitions move
    fenced: set[int] = field(default_factory=set)
    partitions: dict[tuple[str, int], Partition] = field(default_factory=dict)
    coordinators: dict[str, int] = field(default_factory=dict)
    mend_at_s: dict[int, float] = field(default_factory=dict)
    """When what is done to a node ends by itself, on the monotonic clock."""

    def __post_init__(self) -> None:
        # The mock's thread may see an order half a second late; orders given side by side wait only once.
        self.pool = ThreadPoolExecutor(32)
        self.mock = MockCluster(self.nodes, self.settings)

    def serve(self, request: Mapping[str, Any]) -> Reply:
        """Answer one request."""
        try:
            self._obey(request)
        except (RefusedError, ClusterError, OSError) as error:
            return {"error": str(error)}
        return self.status()

    def _obey(self, request: Mapping[str, Any]) -> None:
        match request["do"]:
            case "status":
                pass
            case "create_topic":
                self._create(request["name"], request["partitions"], request["replication"], request["leaders"])
            case "set_leader":
                self._move(self._partition(request["topic"], request["partition"]), self._node(request))
            case "place_group":
                self.mock.set_coordinator(request["group"], self._node(request))
                self.coordinators[request["group"]] = request["node"]
            case "rack":
                self.mock.set_rack(self._node(request), request["rack"])
            case "advertise":
                self.mock.advertise(self._node(request), request["port"])
            case "tell":
                record(self.directory, {}, request["what"])
            case "kill" | "terminate" | "start" | "pause" | "resume" as do:
                node = self._node(request)
                self._do(do, node)
                self.mend_at_s.pop(node, None)
                if request.get("for_s") is not None:
                    self.mend_at_s[node] = time.monotonic() + request["for_s"]
            case other:
                raise RefusedError(f"the embedded cluster knows no request {other!r}")

    def _do(self, do: str, node: int) -> None:
        match do:
            case "kill":
                self._take_down(node, self.move_after_s, "because it was killed")
            case "terminate":
                self._take_down(node, 0.0, "because it leaves in order")
            case "start":
                self._bring_up(node)
            case "pause" | "resume":
                self._pause(node, do == "pause")

    def status(self) -> Reply:
        """Describe the cluster."""
        return {
            "bootstrap": self.mock.bootstrap,
            "down": sorted(self.down),
            "leaders": {f"{topic}/{number}": each.leader for (topic, number), each in self.partitions.items()},
        }

    def _node(self, request: Mapping[str, Any]) -> int:
        node: int = request["node"]
        if not 1 <= node <= self.nodes:
            raise RefusedError(f"there is no node {node}; there are 1 to {self.nodes}")
        return node

    def _partition(self, topic: str, number: int) -> Partition:
        if (topic, number) not in self.partitions:
            raise RefusedError(f"there is no partition {topic}/{number}; create the topic through the cluster first")
        return self.partitions[topic, number]

    def _create(self, name: str, partitions: int, replication: int, leaders: list[int] | None) -> None:
        self.mock.create_topic(name, partitions, replication)
        for number in range(partitions):
            # As the mock deals out replicas: by number, round and round.
            replicas = [(number * replication + i) % self.nodes + 1 for i in range(min(replication, self.nodes))]
            leader = leaders[number] if leaders else replicas[number % len(replicas)]
            if leader not in replicas:
                raise RefusedError(f"node {leader} cannot lead {name}/{number}: its replicas are {replicas}")
            self.partitions[name, number] = Partition(name, number, replicas, leader)
        list(
            self.pool.map(
                lambda number: self.mock.set_leader(name, number, self.leader(name, number)), range(partitions)
            )
        )

    def leader(self, topic: str, number: int) -> int:
        """Tell who leads a partition."""
        return self.partitions[topic, number].leader

    def _take_down(self, node: int, move_after_s: float, why: str) -> None:
        if node in self.down:
            raise RefusedError(f"node {node} does not run: start it first")
        self.mock.set_up(node, up=False)
        self._pause(node, paused=False)
        self.down[node] = time.monotonic() + move_after_s
        self._say(f"[Mock] broker {node} is down {why}")
        self.look()

    def _bring_up(self, node: int) -> None:
        if node not in self.down:
            raise RefusedError(f"node {node} runs already")
        self.mock.set_up(node, up=True)
        del self.down[node]
        if node in self.fenced:
            self.fenced.discard(node)
            self._say(f"[QuorumController id=0] The request from broker {node} to unfence has been granted: it is up.")

    def _pause(self, node: int, paused: bool) -> None:
        if node in self.down and paused:
            raise RefusedError(f"node {node} does not run: start it first")
        self.mock.set_paused(node, paused)

    def look(self) -> float:
        """Move what a dead broker led when its time has come, and mend what is overdue; gives how long nothing will be due."""
        now = time.monotonic()
        for node in [node for node, due in self.mend_at_s.items() if due <= now]:
            del self.mend_at_s[node]
            self._do("start" if node in self.down else "resume", node)
        for node, due in self.down.items():
            if due <= now:
                self._move_all_from(node)
        return min([LOOK_S, *(due - now for due in (*self.down.values(), *self.mend_at_s.values()) if due > now)])

    def _move_all_from(self, node: int) -> None:
        led = [each for each in self.partitions.values() if each.leader == node]
        groups = [group for group, coordinator in self.coordinators.items() if coordinator == node]
        heirs = [each for each in range(1, self.nodes + 1) if each not in self.down]
        if node not in self.fenced:
            self.fenced.add(node)
            self._say(f"[QuorumController id=0] Fencing broker {node} at epoch 0 because it is down.")
        heirs_of = [(each, next((node for node in each.replicas if node not in self.down), None)) for each in led]
        list(self.pool.map(lambda pair: self._move(pair[0], pair[1]) if pair[1] else None, heirs_of))
        for group in groups if heirs else ():
            self.mock.set_coordinator(group, heirs[0])
            self.coordinators[group] = heirs[0]

    def _move(self, partition: Partition, leader: int) -> None:
        before = partition.leader
        self.mock.set_leader(partition.topic, partition.number, leader)
        partition.leader = leader
        partition.epoch += 1
        self._say(
            f"[Broker id={leader}] Leader {partition.topic}-{partition.number} starts at leader epoch {partition.epoch} "
            f"after broker {before}."
        )

    def _say(self, text: str) -> None:
        """Log in the form of Kafka's own lines, so that the same reader understands them."""
        now_ms = time.time_ns() // 1_000_000
        at = datetime.datetime.fromtimestamp(now_ms / 1000).isoformat(timespec="milliseconds").replace(".", ",")
        with self.log.open("a") as log:
            log.write(f"{now_ms} [{at}] INFO {text} (Mock)\n")

    def end(self) -> None:
        """Nothing to do: the brokers are threads of this process, and leave with it."""


def main() -> None:
    """Carry an embedded cluster; the arguments are the directory for its data and, as JSON, what it is to be."""
    what = json.loads(sys.argv[2])

    def make(directory: Path) -> EmbeddedServer:
        logs = Path(what["log_dir"] or directory / "logs")
        logs.mkdir(parents=True, exist_ok=True)
        return EmbeddedServer(directory, what["nodes"], what["settings"], what["move_after_s"], logs / "mock.log")

    def hello(server: EmbeddedServer) -> Reply:
        return server.status() | {
            "version": server.mock.version,
            "cluster_id": server.mock.cluster_id(),
            "log_dir": str(server.log.parent),
        }

    keep(Path(sys.argv[1]), make, hello)
    os._exit(0)  # the library's threads would wait for connections to end


if __name__ == "__main__":
    main()
