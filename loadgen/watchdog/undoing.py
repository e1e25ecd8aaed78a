"""How each change of a running system is undone; plain data says what, so that another process can do it."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loadgen.proxies.rules import DRIVER_ID
from loadgen.wire import WireError, alter_quotas, reassign

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

WITHIN_S = 10.0
COMMAND_WITHIN_S = 60.0
GROUP_WITHIN_S = 60.0

Undo = Mapping[str, Any]
Connection = Mapping[str, Any]


class UndoError(Exception):
    """A change that could not be undone; the message says what is left as it was changed, and why."""


def set_topic(topic: str, settings: Mapping[str, str | None]) -> Undo:
    """Give a topic these settings; None lets the brokers' default hold."""
    return {"kind": "topic settings", "topic": topic, "settings": dict(settings)}


def set_quota(client_id: str | None, limits: Mapping[str, float | None]) -> Undo:
    """Give client ids these quotas; None removes one."""
    return {"kind": "quota", "client_id": client_id, "limits": dict(limits)}


def set_replicas(topic: str, partition: int, nodes: list[int]) -> Undo:
    """Let these nodes, the first as leader, hold a partition."""
    return {"kind": "replicas", "topic": topic, "partition": partition, "nodes": nodes}


def run_command(command: str, environment: Mapping[str, str]) -> Undo:
    """Run a command of the user's in a shell."""
    return {"kind": "command", "command": command, "environment": dict(environment)}


def delete_topics(topics: list[str]) -> Undo:
    """Remove topics that were made for a run."""
    return {"kind": "delete topics", "topics": topics}


def delete_groups(groups: list[str]) -> Undo:
    """Remove consumer groups that were made for a run."""
    return {"kind": "delete groups", "groups": groups}


def perform(undo: Undo, connection: Connection) -> str:
    """Do it; gives what was done, in words."""
    match undo["kind"]:
        case "topic settings":
            _alter_topic(connection, undo["topic"], undo["settings"])
            words = ", ".join(
                f"{name} {'default' if value is None else value}" for name, value in undo["settings"].items()
            )
            return f"{undo['topic']}: {words}"
        case "quota":
            try:
                alter_quotas(connection["bootstrap.servers"], undo["client_id"], undo["limits"])
            except WireError as error:
                raise UndoError(f"quota of {undo['client_id'] or 'all clients'}: {error}") from None
            return "quota removed"
        case "replicas":
            return _place(connection, undo["topic"], undo["partition"], undo["nodes"])
        case "command":
            return run(undo["command"], undo["environment"])
        case "delete topics":
            _delete(connection, undo["topics"])
            return f"removed {', '.join(undo['topics'])}"
        case "delete groups":
            _delete_groups(connection, undo["groups"])
            return f"removed {', '.join(undo['groups'])}"
        case other:
            raise UndoError(f"nothing is known of undoing {other!r}")


def run(command: str, environment: Mapping[str, str], within_s: float = COMMAND_WITHIN_S) -> str:
    """Run a command of the user's; gives the last line that it prints."""
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within_s,
            check=False,
            env=dict(environment),
        )
    except subprocess.TimeoutExpired:
        raise UndoError(f"`{command}` took more than {within_s:.0f} s") from None
    except OSError as error:
        raise UndoError(f"`{command}`: {error}") from None
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    last = said[-1][:300] if said else ""
    if done.returncode:
        raise UndoError(f"`{command}` ended with status {done.returncode}" + (f": {last}" if last else ""))
    return last


def silent_logger() -> logging.Logger:
    """Give a logger that says nothing: brokers that are down are no news worth a line."""
    silent = logging.getLogger("eventdrill.admin.silent")
    if not silent.handlers:
        silent.addHandler(logging.NullHandler())
    silent.propagate = False
    return silent


def admin(connection: Connection) -> AdminClient:
    """Open a client for administration that is silent about brokers that are down."""
    from confluent_kafka.admin import AdminClient

    fast = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "client.id": DRIVER_ID, "log_level": 0}
    settings: dict[str, str | int | float] = {**connection, **fast}  # type: ignore[dict-item]  # texts and numbers
    return AdminClient(settings, logger=silent_logger())


def _alter_topic(connection: Connection, topic: str, settings: Mapping[str, str | None]) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported without saying so
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    entries = [
        ConfigEntry(
            name,
            "" if value is None else value,
            incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
        )
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    client = admin(connection)  # kept until the answer has come: it takes its requests with it
    try:
        client.incremental_alter_configs([resource], request_timeout=WITHIN_S)[resource].result(WITHIN_S)
    except KafkaException as error:
        raise UndoError(f"settings of {topic}: {error.args[0].str()}") from None


def _place(connection: Connection, topic: str, partition: int, nodes: list[int]) -> str:
    """Give a partition its replicas, and its leadership to the first of them when that is in sync."""
    from confluent_kafka import ElectionType, KafkaException, TopicPartition

    client = admin(connection)
    try:
        reassign(connection["bootstrap.servers"], {(topic, partition): nodes})
        until = time.monotonic() + WITHIN_S
        while time.monotonic() < until:
            now = client.list_topics(topic, timeout=2).topics[topic].partitions[partition]
            if now.replicas == nodes and nodes[0] in now.isrs:
                if now.leader != nodes[0]:
                    client.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, partition)]).result(WITHIN_S)
                return f"{topic}/{partition} on {', '.join(map(str, nodes))}"
            time.sleep(0.05)
    except (WireError, KafkaException) as error:
        raise UndoError(f"replicas of {topic}/{partition}: {error}") from None
    raise UndoError(f"replicas of {topic}/{partition}: {nodes} were not in sync after {WITHIN_S:.0f} s")


def _delete(connection: Connection, topics: list[str]) -> None:
    from confluent_kafka import KafkaError, KafkaException

    client = admin(connection)
    for name, done in client.delete_topics(topics, request_timeout=WITHIN_S).items():
        try:
            done.result(WITHIN_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise UndoError(f"topic {name} is still there: {error.args[0].str()}") from None


def _delete_groups(connection: Connection, groups: list[str]) -> None:
    """Remove groups; members that are about to leave, or were killed, may still be in them for their session's length."""
    from confluent_kafka import KafkaError, KafkaException

    client = admin(connection)
    for group in groups:
        until = time.monotonic() + GROUP_WITHIN_S
        while True:
            try:
                client.delete_consumer_groups([group], request_timeout=WITHIN_S)[group].result(WITHIN_S)
                break
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.GROUP_ID_NOT_FOUND:
                    break
                if code != KafkaError.NON_EMPTY_GROUP or time.monotonic() > until:
                    raise UndoError(f"group {group} is still there: {error.args[0].str()}") from None
                time.sleep(0.5)
