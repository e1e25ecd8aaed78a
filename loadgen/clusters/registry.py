"""Clusters with names: brought up by one process, and seen, read and ended from others."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psutil

from loadgen.clusters.embedded import EmbeddedKafka, start_embedded
from loadgen.clusters.keeping import recorded_children, recorded_words, remove_leftovers
from loadgen.clusters.local import LocalKafka, registered_brokers, start_local
from loadgen.clusters.log_lines import LogIncident, read_incidents
from loadgen.clusters.model import ClusterError, ClusterSpec
from loadgen.clusters.places import scratch_dirs, state_dir
from loadgen.clusters.processes import Identity, identify, machine, myself

DOWN_WITHIN_S = 20.0
Health = Literal["ready", "degraded", "down"]
Kind = Literal["local", "embedded"]


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """One node of a named cluster."""

    node: int
    pid: int | None  # None while it has no process
    ports: dict[str, int]  # of its listeners, on 127.0.0.1
    registered: bool | None  # whether clients are told of it; None for a mere controller
    hangs: bool = False  # its process is stopped: connections stay open, and nothing answers


@dataclass(frozen=True, kw_only=True)
class ClusterStatus:
    """A named cluster as it is now."""

    name: str
    health: Health  # ready: all brokers serve; degraded: some do; down: none does
    implementation: str
    version: str
    cluster_id: str
    bootstrap: str
    nodes: tuple[NodeStatus, ...]
    keeper_pid: int
    owner_pid: int
    log_dir: Path
    directory: Path
    faults: tuple[str, ...] = ()  # in effect now, as the run that drives it tells


class NamedCluster:
    """A named cluster, brought up by this process or found running."""

    def __init__(self, name: str, cluster: LocalKafka | EmbeddedKafka | None) -> None:
        self.name = name
        self.cluster = cluster  # None where another process owns it

    @property
    def owned(self) -> bool:
        """Tell whether it ends with this process."""
        return self.cluster is not None

    def status(self) -> ClusterStatus:
        """Describe it."""
        return status(self.name)

    def wait(self) -> None:
        """Wait until somebody ends it."""
        while _find(self.name) is not None:
            time.sleep(0.2)

    def close(self) -> None:
        """End it if it is this process's own."""
        if self.cluster is not None:
            self.cluster.close()

    def __enter__(self) -> Self:
        """Give the cluster itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def up(
    name: str,
    spec: ClusterSpec,
    *,
    progress: Callable[[str], None],
    kind: Kind = "local",
    jars: Path | None = None,
) -> NamedCluster:
    """Bring a cluster up that ends with this process; where one of this name runs, that one is given."""
    with _locked(name):
        found = _find(name)
        if found is not None:
            same = found["spec"] == _plain(spec) and found["kind"] == kind
            other = "" if same else ", with other settings than asked for; end it first to have those"
            progress(f"cluster {name} runs already at {found['bootstrap']}{other}")
            return NamedCluster(name, None)
        cluster = (
            start_embedded(spec, progress=progress)
            if kind == "embedded"
            else start_local(spec, progress=progress, jars=jars)
        )
        try:
            _register(name, cluster, spec, kind)
        except BaseException:
            cluster.close()
            raise
        return NamedCluster(name, cluster)


def give_name(name: str, cluster: LocalKafka | EmbeddedKafka, spec: ClusterSpec) -> str | None:
    """Let others see a cluster of this process under a name, while it runs; gives the name, None where that is taken."""
    with _locked(name):
        if _find(name) is not None:
            return None
        _register(name, cluster, spec, "local" if isinstance(cluster, LocalKafka) else "embedded")
        return name


def _register(name: str, cluster: LocalKafka | EmbeddedKafka, spec: ClusterSpec, kind: Kind) -> None:
    cluster.named_by(_path(name))
    _write(name, cluster, spec, kind)


def status(name: str) -> ClusterStatus:
    """Describe a running cluster."""
    state = _find(name)
    if state is None:
        names = running()
        raise ClusterError(f"no cluster named {name} runs; {'these do: ' + ', '.join(names) if names else 'none does'}")
    directory = Path(state["directory"])
    children = recorded_children(directory)
    seen = registered_brokers(state["bootstrap"])
    nodes = tuple(_node_status(int(node), ports, children, seen, state) for node, ports in state["ports"].items())
    serving = sum(each.registered or False for each in nodes)
    brokers = sum(each.registered is not None for each in nodes)
    return ClusterStatus(
        name=name,
        health="ready" if serving == brokers else "degraded" if serving else "down",
        nodes=nodes,
        keeper_pid=state["keeper"]["pid"],
        owner_pid=state["owner"]["pid"],
        log_dir=Path(state["log_dir"]),
        directory=directory,
        faults=tuple(recorded_words(directory)),
        **{key: state[key] for key in ("implementation", "version", "cluster_id", "bootstrap")},
    )


def _node_status(
    node: int, ports: dict[str, int], children: dict[str, Identity], seen: set[int], state: dict[str, Any]
) -> NodeStatus:
    if state["kind"] == "embedded":  # its brokers are threads of one process
        return NodeStatus(node=node, pid=state["keeper"]["pid"], ports=ports, registered=True)
    child = children.get(str(node))
    pid = child.pid if child is not None and child.runs() else None
    registered = node in seen and pid is not None if "CLIENT" in ports else None
    return NodeStatus(node=node, pid=pid, ports=ports, registered=registered, hangs=_hangs(pid))


def _hangs(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:  # it has just ended
        return False


def running() -> list[str]:
    """List the names of the clusters that run."""
    return sorted(path.stem for path in state_dir().glob("*.json") if _find(path.stem) is not None)


def logs(name: str, node: int, *, last: int | None = None) -> list[str]:
    """Give the lines that a node has logged, all or the last ones."""
    found = status(name)
    path = found.log_dir / ("mock.log" if found.implementation == "librdkafka-mock" else f"n{node}.log")
    if not any(each.node == node for each in found.nodes):
        there = ", ".join(str(each.node) for each in found.nodes)
        raise ClusterError(f"cluster {name} has no node {node}; it has {there}")
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return lines if last is None else lines[-last:] if last else []


def incidents(name: str) -> list[LogIncident]:
    """Give what the nodes' logs tell of things that happened, in order of time."""
    return read_incidents(status(name).log_dir)


def down(name: str) -> bool:
    """End a cluster, whoever owns it; tells whether there was one. No process but its own keeper is touched."""
    state = _find(name)
    if state is None:
        return False
    keeper = Identity(**state["keeper"])
    keeper.signal(signal.SIGTERM)
    until = time.monotonic() + DOWN_WITHIN_S
    while keeper.runs() and time.monotonic() < until:
        time.sleep(0.02)
    keeper.signal(signal.SIGKILL)
    while keeper.runs():
        time.sleep(0.02)
    remove_leftovers(scratch_dirs())
    _path(name).unlink(missing_ok=True)
    return True


def check_name(name: str) -> None:
    """Refuse what cannot name a cluster."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ClusterError(f"a cluster cannot be named {name!r}: use letters, digits, dots, dashes and underscores")


def _path(name: str) -> Path:
    check_name(name)
    return state_dir() / f"{name}.json"


def _find(name: str) -> dict[str, Any] | None:
    """Read the state of a cluster whose keeper lives; that of a dead one is removed."""
    path = _path(name)
    try:
        state: dict[str, Any] = json.loads(path.read_text())
        if state["machine"] != machine():
            return None
        if Identity(**state["keeper"]).runs():
            return state
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{path} is no state of a cluster ({error}): remove it") from error
    path.unlink(missing_ok=True)
    return None


def _plain(spec: ClusterSpec) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(spec)))
    return plain


def _write(name: str, cluster: LocalKafka | EmbeddedKafka, spec: ClusterSpec, kind: Kind) -> None:
    ports: dict[int, dict[str, int]] = {}
    for endpoint in cluster.endpoints():
        ports.setdefault(endpoint.node, {})[endpoint.listener] = endpoint.port
    keeper = identify(cluster.keeper_pid)
    if keeper is None:
        raise ClusterError(f"cluster {name} has ended while it was brought up")
    state = {
        "machine": machine(),
        "kind": kind,
        "implementation": cluster.implementation,
        "version": cluster.version,
        "cluster_id": cluster.cluster_id,
        "bootstrap": cluster.bootstrap,
        "ports": ports,
        "keeper": asdict(keeper),
        "owner": asdict(myself()),
        "log_dir": str(cluster.log_dir),
        "directory": str(cluster.directory),
        "spec": _plain(spec),
    }
    fresh = _path(name).with_suffix(".new")
    fresh.write_text(json.dumps(state, indent=1))
    fresh.replace(_path(name))


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let one process at a time bring a name up; a second one waits and finds it running."""
    path = _path(name).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
