"""The client seam: which program a producer or a member of the scenario is, and how its client connects.

Both kinds of program take the same specification, hear the same requests, say the same things and write the same rows.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.admin import public_connection
from loadgen.children import file_name, python_module
from loadgen.clusters.jars import Progress
from loadgen.clusters.java import safepoint_log
from loadgen.clusters.model import Cluster
from loadgen.java.build import JavaClient, prepare_client
from loadgen.java.jvms import Pause, read_pauses
from loadgen.records import filler
from rundata.tables import Names
from scenarios import faults
from scenarios.clients import JAVA_VERSION, producer_settings
from scenarios.schema import Group, Producer, Scenario

PAUSES_SUFFIX = ".pauses"
_PYTHON = {
    "producer": "loadgen.producer_process",
    "member": "loadgen.member_process",
    "relay": "loadgen.outbox_process",
    "replay": "loadgen.replay_process",
    "share member": "loadgen.share_member_process",
}
_JAVA = {
    "producer": "eventdrill.ProducerProcess",
    "member": "eventdrill.MemberProcess",
    "share member": "eventdrill.ShareMemberProcess",
    "relay": "eventdrill.RelayProcess",
    "replay": "eventdrill.ReplayProcess",
}
_PRODUCER_HEAP_MIB, _MEMBER_HEAP_MIB = 96, 192
"""Apart from the producer's buffer; a member's fetched records lie in its heap (50 MiB a fetch at most)."""
_JVM = (
    "-XX:+UseSerialGC",  # the quietest one for a heap this small, and no threads that compete with brokers
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:+DisplayVMOutputToStderr",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",  # brokers that die are no news worth a log line
)


_QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
"""One compiler, which is done within seconds; the other one goes on for minutes, and takes more of two cores than the client itself."""
_WORTH_THE_OTHER_HZ = 10_000.0
"""At such rates of one process the other compiler's code pays."""


@dataclass
class Clients:
    """The programs of one run."""

    scenario: Scenario
    cluster: Cluster
    folder: Path
    """Where specifications lie, and what the programs need beside them."""
    _java: dict[str, JavaClient] = field(default_factory=dict)
    _filler: Path | None = None

    def prepare(self, progress: Progress) -> None:
        """Make ready what has to be made: the Java client's jars and classes."""
        for version in sorted(java_versions(self.scenario)):
            self._java[version] = prepare_client(version, progress)

    def versions(self) -> dict[str, str]:
        """Return by version as it is named the release that runs."""
        return {version: f"{client.version} on Java {client.java.version}" for version, client in self._java.items()}

    def pauses(self) -> list[tuple[str, list[Pause]]]:
        """Return what each JVM has written of its pauses so far, incarnation by incarnation."""
        names = {file_name(name): name for name in Names.of(self.scenario).processes}
        # Names of incarnations end in a number, `work-1.2`; those of a relay and a replay stand for themselves.
        return [
            (names.get(stem) or names.get(stem.rpartition(".")[0], stem), read_pauses(path))
            for path in sorted(self.folder.glob(f"*{PAUSES_SUFFIX}"))
            for stem in [path.name.removesuffix(PAUSES_SUFFIX)]
        ]

    def owner(self, process: str) -> Producer | Group:
        """Return the producer or group of a process such as `shop/1`."""
        name = process.rpartition("/")[0]
        return self.scenario.producers.get(name) or self.scenario.groups[name]

    def is_java(self, process: str) -> bool:
        """Whether a process runs the Java client."""
        return self.owner(process).client == "java"

    def connection(self, process: str) -> dict[str, str | int]:
        """Return the settings with which the client of a process connects."""
        given = public_connection(self.cluster)
        return {"bootstrap.servers": given["bootstrap.servers"]} if self.is_java(process) else given

    def command(self, process: str, log: str, role: str | None = None) -> list[str]:
        """Return the command of a process; its specification's path comes after it. `log` names this incarnation's own files.

        `role` is what works beside a member, with its client: a group's `relay`, a `replay`.
        """
        owner = self.owner(process)
        role = role or _role(owner)
        if owner.client == "librdkafka":
            return python_module(_PYTHON[role])
        client = self._java[java_version(owner)]
        heap_mib = self._heap_mib(process)
        pauses = self.folder / f"{file_name(log)}{PAUSES_SUFFIX}"
        return [
            *python_module("loadgen.java.launch"),
            str(os.getpid()),
            str(client.java.program),
            f"-Xms{heap_mib}m",
            f"-Xmx{heap_mib}m",
            *_JVM,
            *([_QUICK_COMPILER] if self._most_hz(process) < _WORTH_THE_OTHER_HZ else ()),
            *("-Xlog:disable", "-Xlog:all=warning:stderr"),
            safepoint_log(pauses),
            *("-cp", client.class_path, _JAVA[role]),
        ]

    def _most_hz(self, process: str) -> float:
        """Return the highest planned rate of events that a process sends or may read; of a recording it is not known, and taken as high."""
        owner = self.owner(process)
        if isinstance(owner, Producer):
            return self._sent_hz(owner) / owner.count
        return sum(self._sent_hz(each) for each in self.scenario.producers.values() if each.topic in owner.topics)

    def _sent_hz(self, producer: Producer) -> float:
        if producer.recorded is not None:
            return _WORTH_THE_OTHER_HZ
        return max(rate for part in producer.rated(self.scenario.duration) for rate in part.rate)

    def _heap_mib(self, process: str) -> int:
        name = process.rpartition("/")[0]
        if name in self.scenario.groups:
            return _MEMBER_HEAP_MIB
        return _PRODUCER_HEAP_MIB + 2 * (producer_settings(self.scenario, name).buffer_bytes >> 20)

    def extra(self, process: str) -> Mapping[str, Any]:
        """Return what the specification of a process needs beside what both clients take."""
        if not self.is_java(process):
            return {}
        if self._filler is None:
            self._filler = self.folder / "filler.bin"
            self._filler.write_bytes(filler(0))
        return {"filler": str(self._filler)}


def _role(owner: Producer | Group) -> str:
    if isinstance(owner, Producer):
        return "producer"
    return "share member" if owner.share_group else "member"


def client_id(scenario: Scenario, process: str) -> str:
    """Return the client id of a process such as `shop/1`; all of a producer or group have one where a quota is theirs together."""
    owner = process.rpartition("/")[0]
    return owner if _is_throttled(scenario, owner) else file_name(process)


def _is_throttled(scenario: Scenario, owner: str) -> bool:
    return any(isinstance(f, faults.Throttle) and owner in (f.producer, f.group) for f in scenario.faults)


def java_version(owner: Producer | Group) -> str:
    """Return the version of the Java client that a producer or group names."""
    return owner.version or JAVA_VERSION


def java_versions(scenario: Scenario) -> set[str]:
    """Return the versions of the Java client that a scenario needs."""
    owners: list[Producer | Group] = [*scenario.producers.values(), *scenario.groups.values()]
    return {java_version(owner) for owner in owners if owner.client == "java" and not owner.external}
