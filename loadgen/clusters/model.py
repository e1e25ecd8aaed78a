"""What a private cluster is, whoever plays it: how it is asked for, and what can be done to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

if TYPE_CHECKING:
    from loadgen.proxies.client import Proxies

CONTROLLER_ID = 100
"""Node id of the separate controller, out of the brokers' range."""


class ClusterError(Exception):
    """A cluster that cannot be had or does not do as told: says what is missing and the way out."""


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """What to start."""

    nodes: int = 3  # brokers, counted from 1
    version: str = "4.2"  # a release line, or a full version
    controllers: Literal["separate", "combined"] = "separate"  # one process with id 100, or in every broker
    settings: Mapping[str, str] = field(default_factory=dict)  # of the brokers, native names
    racks: tuple[str, ...] = ()  # of the brokers, dealt out in turn
    heap_mib: int = 192  # of each broker's JVM; 256 to 384 for heavy load
    proxied: bool = False  # whether proxies stand before all listeners, so that links can be cut
    disks: bool = False  # whether each node has a disk of its own, which can stall or lose what was not written
    clocks: bool = False  # whether each node has a clock that can be set wrong

    def rack(self, node: int) -> str | None:
        """Give the rack of broker `node`, if there are any."""
        return self.racks[(node - 1) % len(self.racks)] if self.racks else None


class Cluster(Protocol):
    """Running brokers on loopback, which end with the process that started them."""

    @property
    def implementation(self) -> str:
        """Name what runs: `apache-kafka` or `librdkafka-mock`."""

    @property
    def version(self) -> str:
        """Give its full version."""

    @property
    def cluster_id(self) -> str:
        """Give the id by which clients know it."""

    @property
    def bootstrap(self) -> str:
        """List the brokers' addresses for clients, separated by commas."""

    @property
    def nodes(self) -> int:
        """Count the brokers; their ids count from 1."""

    @property
    def proxies(self) -> Proxies | None:
        """Give the proxies before its listeners, if there are any."""

    @property
    def log_dir(self) -> Path:
        """Give the directory to which the nodes write their logs."""

    def pid(self, node: int) -> int | None:
        """Give the process of a node, None while it has none."""

    def pause_logs(self, node: int) -> Sequence[Path]:
        """List what the JVMs of a node have written of their safepoints, a file each; none where it has no JVM of ours."""

    def kill(self, node: int, for_s: float | None = None) -> None:
        """End a node at once (SIGKILL). This and the next two end by themselves after `for_s`, if nobody ends them."""

    def terminate(self, node: int, for_s: float | None = None) -> None:
        """Ask a node to end in order (SIGTERM); returns at once."""

    def pause(self, node: int, for_s: float | None = None) -> None:
        """Make a node hang (SIGSTOP)."""

    def resume(self, node: int) -> None:
        """Let a paused node go on (SIGCONT)."""

    def start(self, node: int) -> None:
        """Start a node again after `kill` or `terminate`; returns at once."""

    def tell(self, what: Sequence[str]) -> None:
        """Let others who look at the cluster know its faults in effect."""

    def controller(self) -> int:
        """Give the id of the active controller process."""

    def alive(self, node: int) -> bool:
        """Tell whether the node's process runs, paused or not."""

    def registered(self) -> set[int]:
        """Tell which brokers clients are told of now."""

    def wait_registered(self, brokers: set[int], within_s: float) -> None:
        """Wait until clients are told of these brokers, or raise `ClusterError`."""

    def close(self) -> None:
        """End everything and remove the data; again, it does nothing."""

    def __enter__(self) -> Self:
        """Give the cluster itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
