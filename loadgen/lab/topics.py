"""Faults by administration: leaders, retention, records, replicas, partitions and quotas. Each is undone by the watchdog."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported without saying so
    ConfigResource,
    ConfigSource,
    NewPartitions,
    OffsetSpec,
    ResourceType,
)

from loadgen.admin import connection
from loadgen.clients import client_id
from loadgen.lab.applied import Applied, Tools, seconds
from loadgen.watchdog.undoing import WITHIN_S, Undo, UndoError, perform, set_quota, set_replicas, set_topic
from loadgen.wire import WireError, reassign
from scenarios import faults
from scenarios.plan import replica_assignment
from scenarios.quantities import MILLISECOND
from scenarios.targets import LogPosition

COPIED_WITHIN_S = 60.0

TopicFault = (
    faults.LeaderMove
    | faults.Retention
    | faults.DeleteRecords
    | faults.Reassign
    | faults.AddPartitions
    | faults.Throttle
)


class TopicFaultError(Exception):
    """A fault that the brokers refused; the message says why."""


def apply(tools: Tools, applied: Applied, fault: TopicFault) -> None:
    """Do it and note what shows it; takes as long as the brokers take."""
    try:
        match fault:
            case faults.LeaderMove():
                _move_leader(tools, applied, fault)
            case faults.Retention():
                _shorten_retention(tools, applied, fault)
            case faults.DeleteRecords():
                _delete_records(tools, applied, fault)
            case faults.Reassign():
                _reassign(tools, applied, fault)
            case faults.AddPartitions():
                _add_partitions(tools, applied, fault)
            case faults.Throttle():
                _throttle(tools, applied, fault)
    except (KafkaException, KeyError, WireError, UndoError) as error:
        applied.note(f"no effect: {error.args[0].str() if isinstance(error, KafkaException) else error}")


def target_of(fault: TopicFault) -> str:
    """Return what a fault is about, as reports name it."""
    match fault:
        case faults.LeaderMove() | faults.Reassign():
            return str(fault.partition)
        case faults.DeleteRecords():
            return str(fault.partition or fault.topic)
        case faults.Throttle():
            return fault.producer or fault.group or ""
        case faults.Retention() | faults.AddPartitions():
            return fault.topic


def _change(tools: Tools, applied: Applied, change: Undo, back: Undo) -> str:
    """Make a change of which the watchdog knows how it is undone before it is made."""
    assert tools.watchdog is not None
    name = f"{applied.planned.index}.{applied.planned.begin_ns}.{back['kind']}.{back.get('client_id', '')}"
    for_s = tools.expiry_s(applied.planned)
    if for_s is not None:
        tools.watchdog.promise(name, back, for_s=for_s)
    try:
        said = perform(change, connection(tools.cluster))
    except UndoError:
        tools.watchdog.forget(name)
        raise
    applied.began_ns = tools.clock.now_ns()
    if for_s is not None:
        dog, before = tools.watchdog, applied.undo

        def undo() -> str:
            words = [] if before is None else [before()]
            return "; ".join([*words, f"{dog.keep(name)} again at {seconds(tools.clock.now_ns())}"])

        applied.undo = undo
    return said


def _move_leader(tools: Tools, applied: Applied, fault: faults.LeaderMove) -> None:
    topic, partition = fault.partition.topic, fault.partition.partition
    leader, replicas, in_sync = tools.admin.replicas(topic, partition)
    after = [*replicas, *replicas][replicas.index(leader) + 1 :] if leader in replicas else replicas
    heir = fault.to or next((node for node in after if node != leader and node in in_sync), leader)
    if heir == leader or heir not in in_sync:
        applied.note(f"no effect: {heir} cannot take over from {leader}, in sync are {in_sync}")
        return
    order = [heir, *(node for node in replicas if node != heir)]
    _change(tools, applied, set_replicas(topic, partition, order), set_replicas(topic, partition, replicas))
    applied.note(f"led by {heir} instead of {leader} from {seconds(applied.began_ns)}")


def _shorten_retention(tools: Tools, applied: Applied, fault: faults.Retention) -> None:
    wanted = {"retention.ms": str(max(1, fault.to // MILLISECOND))}
    before = own_settings(tools, fault.topic, tuple(wanted))
    _change(tools, applied, set_topic(fault.topic, wanted), set_topic(fault.topic, before))
    applied.note(f"retention.ms {wanted['retention.ms']} from {seconds(applied.began_ns)}")


def own_settings(tools: Tools, topic: str, names: tuple[str, ...]) -> Mapping[str, str | None]:
    """Return a topic's own values of settings, None where the brokers' default holds."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = tools.admin.client.describe_configs([resource])[resource].result(WITHIN_S)
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {name: found[name].value if found[name].source == own else None for name in names}


def _delete_records(tools: Tools, applied: Applied, fault: faults.DeleteRecords) -> None:
    if fault.partition is not None:
        places = [TopicPartition(fault.partition.topic, fault.partition.partition)]
    else:
        assert fault.topic is not None
        count = len(tools.admin.client.list_topics(fault.topic, timeout=2).topics[fault.topic].partitions)
        places = [TopicPartition(fault.topic, number) for number in range(count)]
    wanted = _positions(tools, places, fault.up_to)
    done = tools.admin.client.delete_records(wanted, request_timeout=WITHIN_S)
    firsts = {f"{place.topic}/{place.partition}": each.result(WITHIN_S).low_watermark for place, each in done.items()}
    applied.began_ns = applied.ended_ns = tools.clock.now_ns()
    applied.note("first offset now " + ", ".join(f"{place}: {first}" for place, first in sorted(firsts.items())))


def _positions(tools: Tools, places: list[TopicPartition], up_to: LogPosition) -> list[TopicPartition]:
    """Return the first offset to keep of each partition, never beyond its end."""
    ends = _offsets(tools, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # the client says no types there
    match up_to.place:
        case "offset":
            firsts = {place: min(up_to.value, end) for place, end in ends.items()}
        case "ago":
            at_ms = time.time_ns() // MILLISECOND - up_to.value // MILLISECOND
            found = _offsets(tools, places, OffsetSpec.for_timestamp(at_ms))
            firsts = {place: found[place] if found[place] >= 0 else end for place, end in ends.items()}
        case "latest":
            firsts = ends
        case "earliest":
            firsts = dict.fromkeys(ends, 0)
    return [TopicPartition(topic, partition, first) for (topic, partition), first in firsts.items()]


def _offsets(tools: Tools, places: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    found = tools.admin.client.list_offsets(dict.fromkeys(places, spec), request_timeout=WITHIN_S)
    return {(place.topic, place.partition): int(each.result(WITHIN_S).offset) for place, each in found.items()}


def _reassign(tools: Tools, applied: Applied, fault: faults.Reassign) -> None:
    topic, partition, wanted = fault.partition.topic, fault.partition.partition, list(fault.to)
    _leader, before, _in_sync = tools.admin.replicas(topic, partition)
    reassign(tools.cluster.bootstrap, {(topic, partition): wanted})
    applied.began_ns = applied.ended_ns = tools.clock.now_ns()
    until = time.monotonic() + COPIED_WITHIN_S
    while time.monotonic() < until:
        _leader, replicas, in_sync = tools.admin.replicas(topic, partition)
        if replicas == wanted and set(in_sync) == set(wanted):
            now_ns = tools.clock.now_ns()
            applied.note(f"from {_nodes(before)} to {_nodes(wanted)}, copied and in sync at {seconds(now_ns)}")
            return
        time.sleep(0.1)
    applied.note(f"from {_nodes(before)} to {_nodes(wanted)}, not copied within {COPIED_WITHIN_S:.0f} s")


def _nodes(nodes: list[int]) -> str:
    return ",".join(map(str, nodes))


def _add_partitions(tools: Tools, applied: Applied, fault: faults.AddPartitions) -> None:
    before = len(tools.admin.client.list_topics(fault.topic, timeout=2).topics[fault.topic].partitions)
    replication = tools.plan.scenario.replication_of(fault.topic)
    shift = tools.plan.topics.index(fault.topic)
    added = replica_assignment(fault.to, replication, tools.cluster.nodes, shift=shift)[before:]
    wanted = NewPartitions(fault.topic, fault.to, replica_assignment=added)
    tools.admin.client.create_partitions([wanted], request_timeout=WITHIN_S)[fault.topic].result(WITHIN_S)
    applied.began_ns = applied.ended_ns = tools.clock.now_ns()
    applied.note(f"{fault.to} partitions instead of {before} from {seconds(applied.began_ns)}")


def _throttle(tools: Tools, applied: Applied, fault: faults.Throttle) -> None:
    """Hold all processes of an owner to one rate together: they have one client id where a scenario throttles them."""
    owner = fault.producer or fault.group
    assert owner is not None
    limit = "producer_byte_rate" if fault.producer else "consumer_byte_rate"
    client = client_id(tools.plan.scenario, f"{owner}/1")
    _change(tools, applied, set_quota(client, {limit: float(fault.rate)}), set_quota(client, {limit: None}))
    applied.note(f"{limit} {fault.rate:.0f} for client id {client} from {seconds(applied.began_ns)}")
