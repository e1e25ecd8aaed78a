"""Where a scenario is driven: brokers that EventDrill starts for it and that end with it."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from loadgen.clusters.embedded import EmbeddedKafka
    from loadgen.clusters.local import LocalKafka
    from loadgen.clusters.model import ClusterSpec
    from scenarios.schema import Scenario

Place = Literal["local", "embedded"]
IMPLEMENTATIONS: "Mapping[Place, str]" = {"local": "apache-kafka", "embedded": "librdkafka-mock"}
"""What runs there, by the name that runs record."""
FOREIGN = "foreign_cluster"
"""In the record of a live run: the id of the cluster, where EventDrill did not start it."""


def spec_of(scenario: "Scenario") -> "ClusterSpec":
    """Return the cluster that a scenario asks for."""
    from loadgen.clusters.model import ClusterSpec
    from scenarios.faults import ClockSkew, Cut, DiskStall, HostCrash, SlowLink

    brokers = scenario.brokers
    return ClusterSpec(
        nodes=brokers.nodes,
        version=brokers.version,
        controllers=brokers.controllers,
        settings={name: _native(value) for name, value in brokers.settings.items()},
        racks=brokers.racks,
        proxied=any(isinstance(fault, Cut | SlowLink) for fault in scenario.faults),
        disks=any(isinstance(fault, DiskStall | HostCrash) for fault in scenario.faults),
        clocks=any(isinstance(fault, ClockSkew) and fault.broker is not None for fault in scenario.faults),
    )


def _native(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def start_cluster(
    place: Place,
    spec: "ClusterSpec",
    progress: Callable[[str], None],
    *,
    log_dir: Path | None = None,
    name: str | None = None,
) -> "LocalKafka | EmbeddedKafka":
    """Start brokers on loopback and return them when they serve; they end with this process.

    A private Kafka's logs go to `log_dir` and stay there, if it is given. Under `name` others can look at it
    (`eventdrill cluster status --name NAME`), if it can be a name and is free.
    """
    from loadgen.clusters import registry
    from loadgen.clusters.embedded import start_embedded
    from loadgen.clusters.local import start_local
    from loadgen.clusters.model import ClusterError

    def start() -> "LocalKafka | EmbeddedKafka":
        if place == "embedded":
            return start_embedded(spec, progress=progress)
        return start_local(spec, progress=progress, log_dir=log_dir)

    cluster = start()
    if name is not None:
        with contextlib.suppress(ClusterError, OSError):  # a convenience, and nothing that a run should fail of
            registry.give_name(name, cluster, spec)
    return cluster
