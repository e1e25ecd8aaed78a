"""What this driver cannot do for a scenario on a cluster, said before anything starts."""

from collections.abc import Iterator

import confluent_kafka
from confluent_kafka import libversion

from loadgen.admin import EMBEDDED, security_of
from loadgen.clients import java_version
from loadgen.clusters import disks
from loadgen.clusters.foreign import ForeignKafka
from loadgen.clusters.local import LocalKafka
from loadgen.clusters.model import Cluster
from loadgen.java.build import can_run_java, cannot_compile, unknown_version
from loadgen.java.security import untranslatable
from loadgen.payloads import PayloadError, values_of
from loadgen.refuse_own import own_programs
from scenarios import faults
from scenarios.actions import Replay, ResetOffsets
from scenarios.clients import consumer_settings, release
from scenarios.faults import Fault
from scenarios.features import follows_a_handler, refused
from scenarios.schema import CollectReads, Group, Producer, Scenario

CAN = frozenset(
    {
        "recorded arrivals",
        "broker_crash",
        "broker_stop",
        "broker_pause",
        "rolling_restart",
        "disk_full",
        "disk_stall",
        "host_crash",
        "clock_skew",
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
        "schema_change",
        "workers",
        "ordered_by none",
        "ordered_by key",
        "ordered_by partition",
        "commit transaction",
        "retry topics",
        "dedupe",
        "calls",
        "breaker",
        "then crash",
        "then release",
        "emits",
        "outbox",
        "share_group",
        "autoscaler",
        "scale",
        "reset_offsets",
        "redrive",
        "replay",
        "deploy",
        "payload",
        "external group",
        "external producer",
        "transactional producer",
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


def cannot(scenario: Scenario, cluster: Cluster | None = None, *, implementation: str | None = None) -> list[str]:
    """Return what cannot be done, in words; `implementation` stands for a cluster that does not run yet."""
    kind = cluster.implementation if cluster is not None else implementation or "apache-kafka"
    embedded = kind == EMBEDDED
    return [
        *_clients(scenario, embedded, cluster),
        *(_embedded(scenario) if embedded else ()),
        *refused(scenario, "the live driver", CAN),
        *(problem for name in scenario.groups for problem in _workers(scenario, name)),
        *(
            f"groups.{name}.{why}"
            for name, g in scenario.groups.items()
            if g.share_group
            for why in _shares(scenario, name, cluster)
        ),
        *own_programs(scenario),
        *_payloads(scenario),
        *_replays(scenario),
        *_crash_loops(scenario),
        *_size(scenario, cluster),
        *(_protocols(scenario) if embedded else ()),
        *(
            f"faults[{index}]: {problem}"
            for index, fault in enumerate(scenario.faults)
            for problem in _fault(scenario, fault, cluster, embedded)
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
    for name, producer in scenario.producers.items():
        if "transactional.id" in producer.settings and not producer.external:
            yield f"producers.{name}.settings has transactional.id; the embedded cluster keeps no transactions apart: use --on local"


def _payloads(scenario: Scenario) -> Iterator[str]:
    """Yield which of the user's own values cannot be had."""
    for name, producer in scenario.producers.items():
        if producer.payload is not None:
            try:
                values_of(producer.payload, scenario.seed)
            except PayloadError as error:
                yield f"producers.{name}.payload: {error}"


def _no_disks(cluster: Cluster | None) -> str | None:
    """Return why the nodes have no disks of their own, None where they have or will have."""
    if cluster is None:
        return disks.cannot_have()
    had = isinstance(cluster, LocalKafka) and cluster.disks
    return None if had else "this cluster was started without disks of the brokers' own"


def _no_clocks(cluster: Cluster | None) -> str | None:
    """Return why the clocks of brokers cannot be set wrong, None where they can."""
    if cluster is None:
        reason = cannot_compile()
        return f"the class that gives brokers a clock of their own has to be compiled, and {reason}" if reason else None
    had = isinstance(cluster, LocalKafka) and cluster.clocks
    return None if had else "this cluster was started with brokers that share this machine's clock"


def _replays(scenario: Scenario) -> Iterator[str]:
    """Yield replays of groups whose events are not done when their handler is: what follows from them would come twice too."""
    for index, action in enumerate(scenario.actions):
        if not isinstance(action, Replay):
            continue
        group = scenario.groups[action.group]
        if reasons := [*(["is your own program"] if group.external else []), *follows_a_handler(group)]:
            yield (
                f"actions[{index}].action is replay of {action.group}, which {reasons[0]}; the live driver replays groups whose "
                "handlers do all of the work: use reset_offsets"
            )


def _crash_loops(scenario: Scenario) -> Iterator[str]:
    """Yield groups whose members cannot die of an event, since their client's program does not."""
    for name, group in scenario.groups.items():
        if group.failures is not None and group.failures.then == "crash" and group.client == "java":
            yield f"groups.{name}.failures.then is crash; the Java client that is driven cannot do that yet: leave `client` out"


def _workers(scenario: Scenario, name: str) -> Iterator[str]:
    """Yield what several workers of a member cannot be combined with."""
    group = scenario.groups[name]
    if group.workers == 1:
        return
    if group.commit == "transaction":
        yield (
            f"groups.{name}.commit is transaction beside workers: {group.workers}; a member's transaction holds one batch, which one "
            "worker handles: leave `workers` out, or commit after_batch"
        )
    if isinstance(group.reads, CollectReads):
        yield f"groups.{name}.reads collects beside workers: {group.workers}, which polling keeps fed: leave `reads` at poll"


_SHARES_SINCE = (4, 2)
_NOT_OF_SHARES = frozenset(
    {
        "auto.offset.reset",
        "enable.auto.commit",
        "group.instance.id",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "interceptor.classes",
        "isolation.level",
        "partition.assignment.strategy",
        "session.timeout.ms",
    }
)
"""Settings that share consumers refuse."""


def _shares(scenario: Scenario, name: str, cluster: Cluster | None) -> Iterator[str]:
    """Yield what keeps a share group from being driven."""
    group = scenario.groups[name]
    if group.client != "java":
        if not hasattr(confluent_kafka, "ShareConsumer"):
            yield (
                f"share_group is true, and the confluent-kafka that is installed here ({confluent_kafka.__version__}) has no share consumer: write "
                "`client: java`, or install a later one"
            )
    elif release(java_version(group)) < _SHARES_SINCE:
        yield f"version is {group.version}; the Java client has share groups since 4.2"
    if release(scenario.brokers.version) < _SHARES_SINCE:
        yield f"share_group is true, and brokers.version is {scenario.brokers.version}; Kafka has share groups since 4.2"
    if isinstance(cluster, ForeignKafka):
        yield "share_group is true; on a system that EventDrill did not start share groups are not driven: use --on local"
    if group.failures is not None and group.failures.retry.where == "topic":
        yield "failures.retry.where is topic; a share group cannot keep a copy until it is due: use in_place"
    if isinstance(group.reads, CollectReads):
        yield "reads is collect; members of share groups take what is there: leave `reads` out"
    for setting in sorted(_NOT_OF_SHARES & set(group.settings)):
        yield f"settings: {setting} is none of a share consumer's: leave it out"
    for index, action in enumerate(scenario.actions):
        if isinstance(action, ResetOffsets) and action.group == name:
            yield f"share_group is true, and actions[{index}] sets its offsets, which a share group does not have: leave it out"


def _clients(scenario: Scenario, embedded: bool, cluster: Cluster | None) -> list[str]:
    owners: list[tuple[str, Producer | Group]] = [
        *((f"producers.{name}", producer) for name, producer in scenario.producers.items()),
        *((f"groups.{name}", group) for name, group in scenario.groups.items()),
    ]
    return [
        f"{place}.{problem}"
        for place, owner in owners
        if not owner.external
        for problem in (_librdkafka(owner) if owner.client == "librdkafka" else _java(owner, embedded, cluster))
    ]


def fleet_cannot(scenario: Scenario) -> list[str]:
    """Return what Locust workers on other machines cannot do."""
    return [
        f"producers.{name}.client is java; Locust workers run librdkafka: leave `client` out, or drive without --workers"
        for name, producer in scenario.producers.items()
        if producer.client == "java"
    ]


def _librdkafka(owner: Producer | Group) -> Iterator[str]:
    installed = libversion()[0]
    if owner.version is not None and release(owner.version) != release(installed):
        yield f"version is {owner.version}; the librdkafka that is installed here is {installed}: leave it out"


def _java(owner: Producer | Group, embedded: bool, cluster: Cluster | None) -> Iterator[str]:
    version = java_version(owner)
    if embedded:
        yield "client is java; the embedded cluster speaks with librdkafka only: use --on local"
    elif reason := unknown_version(version):
        yield f"version is {version}; {reason}"
    elif reason := can_run_java(version):
        yield f"client is java; {reason}"
    if cluster is not None:
        yield from (f"client is java; {reason}: leave `client` out" for reason in untranslatable(security_of(cluster)))


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


def _fault(scenario: Scenario, fault: Fault, cluster: Cluster | None, embedded: bool) -> Iterator[str]:
    proxied = cluster is None or cluster.proxies is not None
    no_disks = _no_disks(cluster)
    match fault:
        case faults.BrokerCrash() | faults.BrokerStop() | faults.BrokerPause():
            if embedded and fault.target.role == "controller":
                yield "broker is controller, and the embedded cluster has no controller: use --on local"
        case faults.Cut() | faults.SlowLink():
            if embedded and {end.role for end in fault.between} & {"controller", "brokers"}:
                yield f"between is {', '.join(map(str, fault.between))}; in the embedded cluster only clients have links: use --on local"
            if not proxied:
                yield f"{fault.kind} needs proxies before the listeners, and this cluster was started without"
        case faults.DiskStall() if no_disks and not embedded:
            yield f"disk_stall: {no_disks}. Without it broker_pause is the nearest, and disk_full makes its writes fail"
        case faults.HostCrash() if no_disks and not embedded:
            yield f"host_crash: {no_disks}. Without it broker_crash is the nearest: the process dies, and the kernel writes what it had written"
        case faults.ClockSkew() if fault.broker is not None:
            if embedded:
                yield "clock_skew: the embedded cluster cannot do it: use --on local, or name a producer"
            elif no_clocks := _no_clocks(cluster):
                yield f"clock_skew: {no_clocks}. What can be had is the wrong clock of a producer: write `producer: NAME`"
            elif fault.broker.role == "controller" and scenario.brokers.controllers == "separate":
                yield "clock_skew: broker is controller, which is no broker here, and stamps no records that could tell of its clock: name a broker"
        case (
            faults.DiskFull()
            | faults.DiskStall()
            | faults.HostCrash()
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
