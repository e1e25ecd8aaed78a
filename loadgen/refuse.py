"""What this driver cannot do for a scenario on a cluster, said before anything starts."""

from collections.abc import Iterator

from confluent_kafka import libversion

from loadgen.admin import EMBEDDED
from loadgen.clients import java_version
from loadgen.clusters.model import Cluster
from loadgen.java.build import can_run_java, unknown_version
from loadgen.payloads import PayloadError, values_of
from scenarios import faults
from scenarios.actions import ResetOffsets
from scenarios.clients import consumer_settings, release
from scenarios.faults import Fault
from scenarios.features import features, refused
from scenarios.schema import CollectReads, Group, Producer, Scenario

CAN = frozenset(
    {
        "recorded arrivals",
        "broker_crash",
        "broker_stop",
        "broker_pause",
        "rolling_restart",
        "disk_full",
        "hook",
        "cut",
        "slow_link",
        "leader_move",
        "retention",
        "delete_records",
        "reassign",
        "add_partitions",
        "throttle",
        "member_crash",
        "member_leave",
        "rolling_deploy",
        "slow_work",
        "failing_work",
        "poison",
        "surge",
        "workers",
        "ordered_by none",
        "ordered_by key",
        "ordered_by partition",
        "commit transaction",
        "retry topics",
        "dedupe",
        "calls",
        "breaker",
        "emits",
        "scale",
        "reset_offsets",
        "redrive",
        "deploy",
        "payload",
        "external group",
        "producer_crash",
        "producer_pause",
        "member_pause",
        "poll_stall",
        "duplicates",
        "oversized",
        "late",
        "dependency_down",
        "dependency_slow",
    }
)
"""What this driver can do, by the names of `scenarios.features`."""
_JAVA_CAN = frozenset({"recorded arrivals", "commit transaction", "retry topics", "dedupe"})


def cannot(scenario: Scenario, cluster: Cluster | None = None, *, implementation: str | None = None) -> list[str]:
    """Return what cannot be done, in words; `implementation` stands for a cluster that does not run yet."""
    kind = cluster.implementation if cluster is not None else implementation or "apache-kafka"
    embedded = kind == EMBEDDED
    return [
        *_clients(scenario, embedded),
        *(_embedded(scenario) if embedded else ()),
        *refused(scenario, "the live driver", CAN),
        *_java_features(scenario),
        *_java_faults(scenario),
        *_payloads(scenario),
        *_size(scenario, cluster),
        *(_protocols(scenario) if embedded else ()),
        *(
            f"faults[{index}]: {problem}"
            for index, fault in enumerate(scenario.faults)
            for problem in _fault(fault, embedded, cluster is None or cluster.proxies is not None)
        ),
    ]


def _embedded(scenario: Scenario) -> Iterator[str]:
    """Yield what librdkafka's cluster cannot do of what the driver can."""
    for index, action in enumerate(scenario.actions):
        if isinstance(action, ResetOffsets):
            yield f"actions[{index}].action is reset_offsets; the embedded cluster never lets a group be empty: use --on local"
    for name, group in scenario.groups.items():
        if group.commit == "transaction":
            yield f"groups.{name}.commit is transaction; the embedded cluster keeps none apart: use --on local"


def _payloads(scenario: Scenario) -> Iterator[str]:
    """Yield which of the user's own values cannot be had."""
    for name, producer in scenario.producers.items():
        if producer.payload is not None:
            try:
                values_of(producer.payload, scenario.seed)
            except PayloadError as error:
                yield f"producers.{name}.payload: {error}"


_NOT_JAVA_PRODUCER = faults.ProducerCrash | faults.Duplicates | faults.Oversized | faults.Late


def _java_faults(scenario: Scenario) -> Iterator[str]:
    """Yield faults that the Java programs do not follow yet."""
    for index, fault in enumerate(scenario.faults):
        owner: Producer | Group | None = None
        if isinstance(fault, faults.ProducerCrash):
            owner = scenario.producers[fault.producer.producer]
        elif isinstance(fault, _NOT_JAVA_PRODUCER):
            owner = scenario.producers[fault.producer]
        elif isinstance(fault, faults.PollStall):
            owner = scenario.groups[fault.member.group]
        if owner is not None and owner.client == "java":
            yield f"faults[{index}].fault is {fault.kind}; the Java client that is driven cannot do that yet: leave `client` out"


def _java_features(scenario: Scenario) -> Iterator[str]:
    """Yield what the driver can do, and its Java programs cannot."""
    java = {
        *(f"producers.{name}" for name, producer in scenario.producers.items() if producer.client == "java"),
        *(f"groups.{name}" for name, group in scenario.groups.items() if group.client == "java"),
    }
    for feature in features(scenario):
        owner = ".".join(feature.place.split(".")[:2])
        if owner in java and feature.name not in _JAVA_CAN:
            yield f"{feature.place} is {feature.written}; the Java client that is driven cannot do that yet: leave `client` out"


def _clients(scenario: Scenario, embedded: bool) -> list[str]:
    owners: list[tuple[str, Producer | Group]] = [
        *((f"producers.{name}", producer) for name, producer in scenario.producers.items()),
        *((f"groups.{name}", group) for name, group in scenario.groups.items()),
    ]
    return [
        f"{place}.{problem}"
        for place, owner in owners
        for problem in (_librdkafka(owner) if owner.client == "librdkafka" else _java(owner, embedded))
    ]


def _librdkafka(owner: Producer | Group) -> Iterator[str]:
    installed = libversion()[0]
    if owner.version is not None and release(owner.version) != release(installed):
        yield f"version is {owner.version}; the librdkafka that is installed here is {installed}: leave it out"


def _java(owner: Producer | Group, embedded: bool) -> Iterator[str]:
    version = java_version(owner)
    if embedded:
        yield "client is java; the embedded cluster speaks with librdkafka only: use --on local"
    elif reason := unknown_version(version):
        yield f"version is {version}; {reason}"
    elif reason := can_run_java(version):
        yield f"client is java; {reason}"
    if isinstance(owner, Group) and isinstance(owner.reads, CollectReads):
        yield "reads is collect, which is librdkafka's consume(n, timeout); the Java client polls: leave `reads` out"


def _size(scenario: Scenario, cluster: Cluster | None) -> list[str]:
    if cluster is None or cluster.nodes == scenario.brokers.nodes:
        return []
    return [
        f"brokers.nodes is {scenario.brokers.nodes}, and this cluster has {cluster.nodes}: set brokers.nodes={cluster.nodes}"
    ]


def _protocols(scenario: Scenario) -> list[str]:
    return [
        f"groups.{name}.settings: group.protocol is consumer; the embedded cluster has classic groups only: use --on local"
        for name in scenario.groups
        if consumer_settings(scenario, name).protocol == "consumer"
    ]


def _fault(fault: Fault, embedded: bool, proxied: bool) -> Iterator[str]:
    match fault:
        case faults.BrokerCrash() | faults.BrokerStop() | faults.BrokerPause():
            if embedded and fault.target.role == "controller":
                yield "broker is controller, and the embedded cluster has no controller: use --on local"
        case faults.Cut() | faults.SlowLink():
            if embedded and {end.role for end in fault.between} & {"controller", "brokers"}:
                yield f"between is {', '.join(map(str, fault.between))}; in the embedded cluster only clients have links: use --on local"
            if not proxied:
                yield f"{fault.kind} needs proxies before the listeners, and this cluster was started without"
        case faults.DiskStall():
            yield (
                "disk_stall: without root no process can make another one's disk wait. A broker_pause is the nearest that "
                "can be done live, disk_full makes its writes fail, and the simulator takes disk_stall"
            )
        case (
            faults.DiskFull()
            | faults.LeaderMove()
            | faults.Retention()
            | faults.DeleteRecords()
            | faults.Reassign()
            | faults.AddPartitions()
            | faults.Throttle()
        ) if embedded:
            yield f"{fault.kind}: the embedded cluster cannot do it: use --on local"
        case _:
            pass
