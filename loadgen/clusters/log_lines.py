"""What brokers and controllers say in their logs about things that happened, with the instant at which they said it.

The texts are those of Kafka 4.0 to 4.4; the instant is the line's first field, milliseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal[
    "fence",  # the controller takes a broker for dead
    "unfence",  # the controller lets it serve (again)
    "register",  # a broker's new process has introduced itself
    "register_refused",  # ... and was refused: the session of the process before it still runs
    "controlled_shutdown",  # a broker leaves in order, and hands its partitions over
    "election",  # a partition has a new leader
    "isr_shrink",  # the leader drops replicas that lag; those of a fenced broker go with the election
    "isr_expand",
    "isr",  # the change has taken effect; told once or twice
    "controller",  # a node has become the active controller
    "started",  # a broker is ready to serve
    "rebalance_begin",  # of a classic group
    "rebalance_end",
    "group_epoch",  # the `consumer` protocol: the group has a new epoch
    "assignment",  # ... and a new target assignment for it
    "member_expired",  # a member's session has run out, in either protocol
    "retention",  # a segment is deleted
]


@dataclass(frozen=True, kw_only=True)
class LogIncident:
    """One thing that a node says has happened."""

    time_unix_ns: int
    kind: Kind
    node: int | None  # whom it happened to: the broker fenced, the new leader, the coordinator of the group
    topic: str | None = None
    partition: int | None = None
    group: str | None = None
    detail: str = ""


_HEAD = re.compile(r"(?P<at>\d{13}) \[[^\]]*\] [A-Z]+ (?P<text>.*) \([\w.$]+\)$")
_GROUP = r"\[GroupCoordinator id=(?P<node>\d+)[^\]]*\] "
_NEW_GROUP = rf"{_GROUP}\[GroupId(?:=| )(?P<group>.+?)\] "
_PARTITION = r"(?P<topic>\S+)-(?P<partition>\d+)"

# What a line must hold (tried first, since most lines hold none of it), what it means, and where its parts are.
_TEXTS: tuple[tuple[str, Kind, str], ...] = (
    ("Fencing broker", "fence", r".*Fencing broker (?P<node>\d+) at (?P<detail>epoch .*?)\.?$"),
    (
        "to unfence has been granted",
        "unfence",
        r".*request from broker (?P<node>\d+) to (?P<detail>unfence has .*?)\.?$",
    ),
    ("Replayed initial RegisterBroker", "register", r".*for broker (?P<node>\d+):(?P<detail>)"),
    (
        "Registering a new incarnation",
        "register",
        r".*of broker (?P<node>\d+)\. (?P<detail>Previous incarnation.*?)\.?$",
    ),
    ("DuplicateBrokerRegistrationException", "register_refused", r"\[QuorumController id=\d+\] (?P<detail>.*)"),
    (
        "enterControlledShutdown[",
        "controlled_shutdown",
        r".*enterControlledShutdown\[(?P<node>\d+)\]: (?P<detail>.*)",
    ),
    (
        " starts at leader epoch ",
        "election",
        # At epoch 0 it is the first leader ever, and no election.
        rf"\[Broker id=(?P<node>\d+)\] Leader {_PARTITION} (?:.* )?starts at (?P<detail>leader epoch [1-9].*?)\.?$",
    ),
    (
        "Shrinking ISR from",
        "isr_shrink",
        rf"\[Partition {_PARTITION} broker=(?P<node>\d+)\] Shrinking ISR (?P<detail>from .*?)\.? *$",
    ),
    (
        "Expanding ISR from",
        "isr_expand",
        rf"\[Partition {_PARTITION} broker=(?P<node>\d+)\] Expanding ISR (?P<detail>from .*?)\.? *$",
    ),
    (
        "ISR updated to",
        "isr",
        rf"\[Partition {_PARTITION} broker=(?P<node>\d+)\] ISR updated (?P<detail>to .*)",
    ),
    (
        # The leader hears of a change twice: from the controller's answer ("ISR updated to"), and in the metadata. Where
        # the metadata comes first, as it mostly does when replicas come back, only this line tells of it.
        "Skipped the become-leader state change",
        "isr",
        rf"\[Broker id=(?P<node>\d+)\] Skipped the become-leader state change for {_PARTITION} with .*?\b(?P<detail>isr=\[[\d, ]*\])",
    ),
    (
        "Becoming the active controller",
        "controller",
        r"\[QuorumController id=(?P<node>\d+)\] (?P<detail>Becoming .*?)\.?$",
    ),
    (
        "Kafka Server started",
        "started",
        r"\[KafkaRaftServer nodeId=(?P<node>\d+)\] (?P<detail>Kafka Server started)",
    ),
    (
        "Preparing to rebalance group",
        "rebalance_begin",
        rf"{_GROUP}Preparing to rebalance group (?P<group>.+?) in state (?P<detail>.*?)\.?$",
    ),
    (
        "Stabilized group",
        "rebalance_end",
        rf"{_GROUP}Stabilized group (?P<group>.+?) (?P<detail>generation .*?)\.?$",
    ),
    ("Bumped group epoch to", "group_epoch", rf"{_NEW_GROUP}Bumped group (?P<detail>epoch to \d+)"),
    ("Computed a new target assignment", "assignment", rf"{_NEW_GROUP}Computed .* for (?P<detail>epoch \d+)"),
    ("session expired", "member_expired", rf"{_NEW_GROUP}(?P<detail>Member .*? fenced .* session expired)"),
    (
        "has failed, removing it",
        "member_expired",
        rf"{_GROUP}(?P<detail>Member \S+) in group (?P<group>.+?) has failed",
    ),
    (
        "Deleting segment LogSegment",
        "retention",
        rf"\[UnifiedLog partition={_PARTITION}, dir=[^\]]*/n(?P<node>\d+)\] Deleting segment (?P<detail>.*)",
    ),
)
_PATTERNS = tuple((key, kind, re.compile(text)) for key, kind, text in _TEXTS)


def parse_log(path: Path, *, since_unix_ns: int = 0) -> Iterator[LogIncident]:
    """Read what one node's log tells, in its order; lines that tell nothing known are passed over.

    The same fence or election is told by several nodes' logs only where controllers change; each log is one view.
    """
    with path.open(encoding="utf-8", errors="replace") as lines:
        for incident in parse_lines(lines):
            if incident.time_unix_ns >= since_unix_ns:
                yield incident


def parse_lines(lines: Iterable[str]) -> Iterator[LogIncident]:
    """Read what log lines tell."""
    for line in lines:
        for key, kind, pattern in _PATTERNS:
            if key in line:
                incident = _parse(line.rstrip("\r\n"), kind, pattern)
                if incident is not None:
                    yield incident
                break


def _parse(line: str, kind: Kind, pattern: re.Pattern[str]) -> LogIncident | None:
    head = _HEAD.match(line)
    found = head and pattern.match(head["text"])
    if not (head and found):
        return None
    parts = found.groupdict()
    partition = parts.get("partition")
    node = parts.get("node")
    return LogIncident(
        time_unix_ns=int(head["at"]) * 1_000_000,
        kind=kind,
        node=int(node) if node else None,
        topic=parts.get("topic"),
        partition=int(partition) if partition else None,
        group=parts.get("group"),
        detail=parts["detail"].strip(),
    )


def read_incidents(log_dir: Path, *, since_unix_ns: int = 0) -> list[LogIncident]:
    """Read the logs of all nodes of a cluster, in order of time."""
    found = [each for path in sorted(log_dir.glob("*.log")) for each in parse_log(path, since_unix_ns=since_unix_ns)]
    return sorted(found, key=lambda each: each.time_unix_ns)
