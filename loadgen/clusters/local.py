"""A real Apache Kafka on loopback, for oneself: several brokers in KRaft mode, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from loadgen.clusters import clocks
from loadgen.clusters.archive import class_path, exercise, prepare_archive, prepare_formatted
from loadgen.clusters.jars import Lock, can_have_jars, prepare_jars, read_lock
from loadgen.clusters.java import Java, find_java, safepoint_log
from loadgen.clusters.layout import Endpoint, Layout, plan_layout, write_log4j, write_node
from loadgen.clusters.link import Link
from loadgen.clusters.model import ClusterError, ClusterSpec
from loadgen.proxies.client import Proxies
from loadgen.proxies.rules import DRIVER_ID

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

READY_WITHIN_S = 90.0
TRIES = 3
_TAKEN = "Address already in use"
"""What a node says, far above the last lines of its log, of a port that somebody has taken."""
CONTROLLER_HEAP_MIB = 96
JVM_OPTIONS = (
    "-XX:+UseSerialGC",  # with C1 alone: quiet within seconds, where G1 and C2 compile for minutes
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",  # leaves a file behind where the JVM is killed
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
)

Progress = Callable[[str], None]


def _pause_log(node: int, process: str) -> str:
    return f"n{node}.{process}.pauses"


class LocalKafka:
    """A running private Kafka, which ends with this process."""

    implementation = "apache-kafka"

    def __init__(
        self,
        layout: Layout,
        link: Link,
        commands: Mapping[int, Sequence[str]],
        lock: Lock,
        log_dir: Path,
        proxies: Proxies | None,
    ):
        self.layout = layout
        self.proxies = proxies
        self.version = lock.version
        self.cluster_id = layout.cluster_id
        self.bootstrap = layout.bootstrap
        self.nodes = layout.spec.nodes
        self.log_dir = log_dir
        self._link = link
        self._link.ask(
            "launch",
            nodes={
                node: {"command": list(command), "log": str(self.log_path(node))} for node, command in commands.items()
            },
        )

    @property
    def keeper_pid(self) -> int:
        """Give the process that keeps the nodes."""
        return self._link.pid

    @property
    def directory(self) -> Path:
        """Give where the nodes keep their data, one directory `n<id>` each."""
        return self._link.directory

    def log_path(self, node: int) -> Path:
        """Give the file to which a node writes its log."""
        return self.log_dir / f"n{node}.log"

    def endpoints(self) -> tuple[Endpoint, ...]:
        """List where the nodes really listen."""
        return self.layout.endpoints

    def pid(self, node: int) -> int | None:
        """Give the process of a node, None while it has none."""
        pid: int | None = self._state(node)["pid"]
        return pid

    def pause_logs(self, node: int) -> list[Path]:
        """List what the JVMs of a node have written of their safepoints, a file for each start."""
        return sorted(self.directory.glob(_pause_log(node, "*")))

    def alive(self, node: int) -> bool:
        """Tell whether the node's process runs, paused or not."""
        return self.pid(node) is not None

    def paused(self, node: int) -> bool:
        """Tell whether the node hangs."""
        return bool(self._state(node)["paused"])

    def exit_status(self, node: int) -> int | None:
        """Tell with which status the node's process has ended, None while it runs."""
        status: int | None = self._state(node)["exit"]
        return status

    def _state(self, node: int) -> dict[str, Any]:
        states: dict[str, dict[str, Any]] = self._link.ask("status")["nodes"]
        if str(node) not in states:
            raise ClusterError(f"there is no node {node}; there are {', '.join(states)}")
        return states[str(node)]

    def kill(self, node: int, for_s: float | None = None) -> None:
        """End a node at once (SIGKILL); it is gone when this returns, and started again after `for_s` if nobody has done so."""
        self._link.ask("kill", node=node, for_s=for_s)

    def terminate(self, node: int, for_s: float | None = None) -> None:
        """Ask a node to end in order (SIGTERM); a broker leaves some 2 s later, and never without a controller."""
        self._link.ask("terminate", node=node, for_s=for_s)

    def pause(self, node: int, for_s: float | None = None) -> None:
        """Make a node hang (SIGSTOP), for `for_s` at most: its connections stay open and silent."""
        self._link.ask("pause", node=node, for_s=for_s)

    def resume(self, node: int) -> None:
        """Let a paused node go on (SIGCONT)."""
        self._link.ask("resume", node=node)

    def fill_disk(self, node: int, for_s: float | None = None) -> None:
        """Let every write of a node fail that would make a file longer, as on a full disk, for `for_s` at most."""
        self._link.ask("fill_disk", node=node, for_s=for_s)

    def free_disk(self, node: int, started_after_s: float | None = None) -> None:
        """Give a node room for its files again; if it ends itself all the same it is started again, `started_after_s` from now at the latest."""
        self._link.ask("free_disk", node=node, for_s=started_after_s)

    @property
    def disks(self) -> bool:
        """Tell whether each node has a disk of its own."""
        return self.layout.spec.disks

    def stall_disk(self, node: int, for_s: float | None = None) -> None:
        """Let every write of a node wait, for `for_s` at most."""
        self._link.ask("stall_disk", node=node, for_s=for_s)

    def let_disk_go_on(self, node: int) -> None:
        """Let a node's writes through again."""
        self._link.ask("let_disk_go_on", node=node)

    def disk_stalled(self, node: int) -> bool:
        """Tell whether a node's writes wait."""
        return bool(self._state(node)["disk_stalled"])

    def crash_host(self, node: int, for_s: float | None = None) -> None:
        """End a node as when its machine loses power, soon after this has returned (`lost_with_host`); see `kill`."""
        self._link.ask("crash_host", node=node, for_s=for_s)

    def lost_with_host(self, node: int) -> int | None:
        """Tell how many bytes of its logs had not been written when its machine lost power last; None as long as its disk is not back."""
        lost: int | None = self._state(node)["unwritten_bytes"]
        return lost

    def trouble(self, node: int) -> str:
        """Tell what keeps the disk of a node whose machine lost power from coming back, "" where nothing does."""
        return str(self._state(node)["trouble"])

    @property
    def clocks(self) -> bool:
        """Tell whether each node has a clock that can be set wrong."""
        return self.layout.spec.clocks

    def set_clock(self, node: int, wrong_by_ms: int, for_s: float | None = None) -> None:
        """Set a node's clock wrong, for `for_s` at most, or right (0)."""
        if not self.clocks:
            raise ClusterError("this cluster was started with nodes whose clocks cannot be set: start it with `clocks`")
        self._link.ask("set_clock", node=node, wrong_by_ms=wrong_by_ms, for_s=for_s)

    def clock_wrong_by_ms(self, node: int) -> int:
        """Tell by how much a node's clock was set wrong."""
        return int(self._state(node)["clock_wrong_by_ms"])

    def tell(self, what: Sequence[str]) -> None:
        """Let others who look at the cluster know its faults in effect."""
        self._link.ask("tell", what=list(what))

    def start(self, node: int) -> None:
        """Start a node again; one that is still ending in order is started as soon as it has gone."""
        self._link.ask("start", node=node)

    def controller(self) -> int:
        """Give the node that is the active controller, as the nodes' own files tell."""
        leaders = []
        for node in self.layout.controllers:
            path = self.directory / f"n{node}" / "__cluster_metadata-0" / "quorum-state"
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # it is replaced at each election
                state = json.loads(path.read_text())
                leaders.append((state["leaderEpoch"], state["leaderId"]))
        leader = max(leaders, default=(0, -1))[1]
        if leader < 0 or not self.alive(leader):
            raise ClusterError("there is no active controller right now; an election takes about 2 s")
        return int(leader)

    def registered(self) -> set[int]:
        """Tell which brokers clients are told of now: those that run and are not fenced."""
        return registered_brokers(self.bootstrap)

    def wait_registered(self, brokers: set[int], within_s: float) -> None:
        """Wait until clients are told of these brokers; a process that ends meanwhile is an error.

        One that was killed and started again before its fence counts from the start: nobody has missed it yet.
        """
        until = time.monotonic() + within_s
        with _quiet_admin(self.bootstrap) as admin:
            while not brokers <= (seen := _brokers(admin)):
                self._check_running(brokers)
                if time.monotonic() > until:
                    late = sorted(brokers - seen)
                    raise ClusterError(
                        f"Kafka {self.version}: broker {late[0]} did not register within {within_s:.0f} s. "
                        f"{self._last_lines(late[0])}"
                    )
                time.sleep(0.05)

    def _check_running(self, brokers: set[int]) -> None:
        states: dict[str, dict[str, Any]] = self._link.ask("status")["nodes"]
        for number in {*brokers, *self.layout.controllers}:
            state = states[str(number)]
            if state["pid"] is None:
                raise NodeEndedError(
                    f"Kafka {self.version}: node {number} ended with status {state['exit']} while it started. "
                    f"{self._last_lines(number)}",
                    self._taken_port(number),
                )

    def _log_lines(self, node: int) -> list[str]:
        path = self.log_path(node)
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def _taken_port(self, node: int) -> str:
        """Return what a node's log says of a port that somebody else has, "" where it says nothing of one."""
        return next((line.strip() for line in self._log_lines(node) if _TAKEN in line), "")

    def _last_lines(self, node: int, count: int = 12) -> str:
        path, lines = self.log_path(node), self._log_lines(node)
        return f"Last lines of {path}:\n" + "\n".join(f"  {line[:400]}" for line in lines[-count:])

    def named_by(self, path: Path) -> None:
        """Let a file that names this cluster go with it, however it ends."""
        self._link.ask("named_by", path=str(path))

    def ended(self) -> bool:
        """Tell whether the cluster has been closed, or was ended by somebody else."""
        return self._link.ended()

    def close(self) -> None:
        """End everything and remove the data; again, it does nothing."""
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


class NodeEndedError(ClusterError):
    """A node that ended while it should have started; `taken_port` is what it said of a port that somebody else has."""

    def __init__(self, words: str, taken_port: str) -> None:
        super().__init__(f"{words}\nIts reason: {taken_port}" if taken_port else words)
        self.port_was_taken = bool(taken_port)


def can_run_local(version: str = ClusterSpec.version) -> str | None:
    """Tell why a local Kafka cannot run here, None where it probably can; starts and fetches nothing."""
    try:
        import confluent_kafka  # noqa: F401 - only whether it is there
    except ImportError:
        return _NO_CLIENT
    try:
        find_java()
        return can_have_jars(read_lock(version))
    except ClusterError as error:
        return str(error)


_NO_CLIENT = "a local Kafka needs the Kafka client to see when it is ready: `pip install 'eventdrill[kafka]'`"


def start_local(
    spec: ClusterSpec,
    *,
    progress: Progress,
    jars: Path | None = None,
    log_dir: Path | None = None,
) -> LocalKafka:
    """Start a private Kafka and wait until all its brokers serve clients.

    `jars` is a directory that may hold its jars. Logs go to `log_dir`, and then stay there, else to the cluster's own
    directory.
    """
    lock = read_lock(spec.version)
    java = find_java()
    libs = prepare_jars(lock, progress, given=jars)
    formatted = prepare_formatted(lock, java, libs, progress)
    parts = _Parts(lock, java, libs, formatted, _wrong_clock(lock, java, libs, progress) if spec.clocks else None)
    # An archive holds for the jars it was made of, and a folder before them makes them others.
    archive = None if spec.clocks else prepare_archive(lock, java, libs, parts.train, progress)
    began = time.monotonic()
    progress(f"Kafka {lock.version}: starting {_nodes_text(spec)}")
    cluster = parts.start(spec, options=_archive_options(archive), log_dir=log_dir)
    behind = "" if cluster.proxies is None else ", behind proxies"
    progress(f"Kafka {lock.version}: ready after {time.monotonic() - began:.1f} s at {cluster.bootstrap}{behind}")
    return cluster


def _wrong_clock(lock: Lock, java: Java, libs: Sequence[Path], progress: Progress) -> Path:
    """Give the folder with the class that reads nodes' own clocks."""
    from loadgen.java.build import prepare_wrong_clock  # a compiler is nothing that other clusters need

    return prepare_wrong_clock(lock, java, libs, progress)


def _nodes_text(spec: ClusterSpec) -> str:
    brokers = f"{spec.nodes} broker{'s' * (spec.nodes != 1)}"
    return f"{brokers}, each a controller too" if spec.controllers == "combined" else f"{brokers} and a controller"


def _archive_options(archive: Path | None) -> list[str]:
    return [] if archive is None else [f"-XX:SharedArchiveFile={archive}"]


@dataclass(frozen=True)
class _Parts:
    """All that a start needs and that stays the same from start to start."""

    lock: Lock
    java: Java
    libs: list[Path]
    formatted: Path
    wrong_clock: Path | None = None
    """Of nodes whose clocks can be set: the folder with the class that reads them."""

    def start(self, spec: ClusterSpec, *, options: Sequence[str], log_dir: Path | None = None) -> LocalKafka:
        """Start the nodes and wait for them; where a port was taken in the meantime, try again with others."""
        for attempt in range(1, TRIES + 1):
            cluster = self._launch(spec, options, log_dir)
            try:
                cluster.wait_registered(set(range(1, spec.nodes + 1)), READY_WITHIN_S)
            except BaseException as error:
                cluster.close()
                if attempt == TRIES or not (isinstance(error, NodeEndedError) and error.port_was_taken):
                    raise
            else:
                return cluster
        raise AssertionError("unreachable")

    def _launch(self, spec: ClusterSpec, options: Sequence[str], log_dir: Path | None) -> LocalKafka:
        with contextlib.ExitStack() as undone:
            proxies = Proxies() if spec.proxied else None
            if proxies is not None:
                undone.callback(proxies.close)
            layout = plan_layout(spec, None if proxies is None else proxies.advertise)
            link = Link("loadgen.clusters.keeper")
            undone.callback(link.close)
            log4j = write_log4j(link.directory)
            logs = (log_dir or link.directory / "logs").absolute()
            logs.mkdir(parents=True, exist_ok=True)
            commands = {}
            for node in layout.node_ids:
                config = write_node(layout, node, link.directory, self.formatted)
                heap_mib = spec.heap_mib if node in layout.brokers else CONTROLLER_HEAP_MIB
                pauses = link.directory / _pause_log(node, "%p")
                own = [f"-Dlog4j2.configurationFile={log4j}", safepoint_log(pauses)]
                if spec.clocks:
                    own.append(f"-D{clocks.PROPERTY}={clocks.make(link.directory / f'n{node}')}")
                commands[node] = self._command(heap_mib, [*options, *own], config)
            cluster = LocalKafka(layout, link, commands, self.lock, logs, proxies)
            undone.pop_all()
            return cluster

    def _command(self, heap_mib: int, options: Sequence[str], config: Path) -> list[str]:
        heap = [f"-Xms{heap_mib}m", f"-Xmx{heap_mib}m"]
        return [
            str(self.java.program),
            *heap,
            *JVM_OPTIONS,
            *options,
            "-cp",
            class_path(self.libs if self.wrong_clock is None else [self.wrong_clock, *self.libs]),
            "kafka.Kafka",
            str(config),
        ]

    def train(self, classes: Path) -> None:
        """Let one node, broker and controller, load the classes that clients make it load, and list them."""
        spec = ClusterSpec(nodes=1, controllers="combined", settings={"group.initial.rebalance.delay.ms": "0"})
        with self.start(spec, options=[f"-XX:DumpLoadedClassList={classes}"]) as cluster:
            exercise(cluster.bootstrap)
            cluster.terminate(1)
            until = time.monotonic() + 30
            while cluster.alive(1) and time.monotonic() < until:
                time.sleep(0.05)


def registered_brokers(bootstrap: str) -> set[int]:
    """Ask any of the brokers which ones clients are told of."""
    with _quiet_admin(bootstrap) as admin:
        return _brokers(admin)


@contextlib.contextmanager
def _quiet_admin(bootstrap: str) -> Iterator[AdminClient]:
    """Open a client that may fail as often as it likes without a word: brokers that start refuse connections."""
    try:
        from confluent_kafka.admin import AdminClient
    except ImportError:
        raise ClusterError(_NO_CLIENT) from None
    silent = logging.getLogger("eventdrill.cluster.silent")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    yield AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "client.id": DRIVER_ID,
            "log_level": 0,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
        },
        logger=silent,
    )


def _brokers(admin: AdminClient) -> set[int]:
    from confluent_kafka import KafkaException

    try:
        return set(admin.list_topics(timeout=1).brokers)
    except KafkaException:  # nobody answers yet
        return set()
