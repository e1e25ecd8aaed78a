"""Wrong clocks of brokers: set, and proven by the timestamp that the broker itself gives a record."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Message, Producer

from loadgen.admin import CLOCKS_TOPIC, connection
from loadgen.clusters.local import LocalKafka
from loadgen.lab.applied import Applied, Tools, seconds
from loadgen.lab.brokers import name_of
from loadgen.proxies.rules import DRIVER_ID
from scenarios import faults
from scenarios.occurrences import PlannedFault
from scenarios.quantities import MILLISECOND, SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWERS_WITHIN_S = 10.0


def begin(tools: Tools, planned: PlannedFault, fault: faults.ClockSkew, nodes: tuple[int, ...]) -> Applied:
    """Set the clocks of nodes wrong, whether they are up or not: a machine keeps its clock."""
    began_ns = tools.clock.now_ns()
    if not nodes:
        return Applied(planned, str(fault.broker), began_ns, "no effect: there was no such broker")
    names = ", ".join(name_of(node, tools) for node in nodes)
    target = names if names == str(fault.broker) else f"{names} ({fault.broker})"
    applied = Applied(planned, target, began_ns, nodes=nodes)
    for node in nodes:
        tools.wrong_clocks.setdefault(node, []).append(planned)
        _set(tools, node)
    applied.note(f"clock set {fault.by / SECOND:+g} s at {seconds(tools.clock.now_ns())}")

    def undo() -> str:
        for node in nodes:
            tools.wrong_clocks[node].remove(planned)
            _set(tools, node)
        return f"set right at {seconds(tools.clock.now_ns())}; {said_by(tools, nodes)}"

    applied.undo = undo
    return applied


def _set(tools: Tools, node: int) -> None:
    """Set a node's clock as its faults of now say, until the last of them ends at the latest."""
    assert isinstance(tools.cluster, LocalKafka)
    planned = tools.wrong_clocks[node]
    by_ns = sum(each.fault.by for each in planned if isinstance(each.fault, faults.ClockSkew))
    ends_s = [tools.expiry_s(each) for each in planned]
    for_s = None if None in ends_s else max((each for each in ends_s if each is not None), default=None)
    tools.cluster.set_clock(node, round(by_ns / MILLISECOND), for_s)


def said_by(tools: Tools, nodes: tuple[int, ...]) -> str:
    """Return what time brokers say it is, compared with this machine's, in words."""
    words = []
    for node in nodes:
        found = off_s(connection(tools.cluster), node)
        who = name_of(node, tools)
        words.append(f"{who} {found}" if isinstance(found, str) else f"{who} stamped a record {found:+.1f} s off")
    return ", ".join(words)


def off_s(settings: Mapping[str, str | int], node: int) -> float | str:
    """Return by how much the time that a broker gives a record differs from this machine's, or why nobody can say."""
    told: list[tuple[KafkaError | None, int]] = []

    def answered(error: KafkaError | None, message: Message) -> None:
        told.append((error, message.timestamp()[1]))

    within_ms = round(ANSWERS_WITHIN_S * 1000)
    producer = Producer(
        {**settings, "client.id": DRIVER_ID, "acks": 1, "linger.ms": 0, "message.timeout.ms": within_ms}
    )
    for _ in range(2):  # the first one finds the way
        before = time.time()
        producer.produce(CLOCKS_TOPIC, b"what time is it?", partition=node - 1, on_delivery=answered)
        producer.flush(ANSWERS_WITHIN_S + 1)
        after = time.time()
    if len(told) < 2 or told[1][0] is not None:
        return f"did not say what time it is: {told[-1][0].str() if told and told[-1][0] else 'no answer'}"
    return told[1][1] / 1000 - (before + after) / 2
