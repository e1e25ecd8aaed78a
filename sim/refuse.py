"""What the simulator cannot do, in words, so that a run is refused before it starts."""

from collections.abc import Iterator

from scenarios import faults
from scenarios.actions import Action, Replay, ResetOffsets
from scenarios.clients import (
    is_compacted,
    is_static,
    producer_settings,
    release,
    topic_setting,
)
from scenarios.distributions import Constant
from scenarios.faults import Fault
from scenarios.features import follows_a_handler, refused
from scenarios.quantities import SECOND, format_duration
from scenarios.schema import CollectReads, Group, Scenario
from sim.transactional import coordinated

OfBroker = (
    faults.BrokerCrash | faults.BrokerStop | faults.BrokerPause | faults.HostCrash | faults.DiskFull | faults.DiskStall
)
_OLDEST_RELEASE = (3, 3)
"""The first one for production without ZooKeeper, whose controllers fence and elect in another way."""

_MOST_AHEAD_NS = 3600 * SECOND
"""Kafka's default of message.timestamp.after.max.ms."""

CAN = frozenset(
    {
        "recorded arrivals",
        "payload",
        "external producer",
        "transactional producer",
        "external group",
        "broker_crash",
        "broker_stop",
        "broker_pause",
        "cut",
        "slow_link",
        "throttle",
        "disk_full",
        "disk_stall",
        "host_crash",
        "leader_move",
        "reassign",
        "add_partitions",
        "retention",
        "delete_records",
        "producer_crash",
        "producer_pause",
        "duplicates",
        "oversized",
        "late",
        "clock_skew",
        "rolling_restart",
        "member_crash",
        "member_leave",
        "rolling_deploy",
        "member_pause",
        "poll_stall",
        "slow_work",
        "failing_work",
        "poison",
        "surge",
        "emits",
        "outbox",
        "workers",
        "ordered_by none",
        "ordered_by key",
        "ordered_by partition",
        "schema_change",
        "retry topics",
        "dedupe",
        "then crash",
        "autoscaler",
        "calls",
        "breaker",
        "dependency_down",
        "dependency_slow",
        "scale",
        "reset_offsets",
        "replay",
        "deploy",
        "redrive",
        "commit transaction",
        "share_group",
        "then release",
    }
)
"""What the simulator can do, by the names of `scenarios.features`."""


def cannot(scenario: Scenario) -> list[str]:
    """Return what of a scenario the simulator does not model: the place, the value, and what it can do instead."""
    return [
        *refused(scenario, "the simulator", CAN),
        *_brokers(scenario),
        *(problem for name in scenario.topics for problem in _topic(scenario, name)),
        *(problem for name in scenario.producers for problem in _producer(scenario, name)),
        *(problem for name in scenario.groups for problem in _group(scenario, name)),
        *(problem for index, action in enumerate(scenario.actions) for problem in _action(scenario, index, action)),
        *(
            f"faults[{index}].{problem}"
            for index, fault in enumerate(scenario.faults)
            for problem in _fault(scenario, fault)
        ),
    ]


def _brokers(scenario: Scenario) -> Iterator[str]:
    brokers = scenario.brokers
    if release(brokers.version) < _OLDEST_RELEASE:
        yield f"brokers.version is {brokers.version}; the simulator models KRaft, which is made for production since 3.3: write a later one"


def _topic(scenario: Scenario, name: str) -> Iterator[str]:
    if is_compacted(scenario, name):
        yield from _compacted(scenario, name)


def _compacted(scenario: Scenario, name: str) -> Iterator[str]:
    """Yield what brokers refuse of a compacted topic, by Kafka's own rules."""
    place, policy = f"topics.{name}", str(topic_setting(scenario, name, "cleanup.policy"))
    for key, producer in scenario.producers.items():
        if producer.key == "none" and name in _reached_from(scenario, producer.topic):
            yield f"{place}: cleanup.policy is {policy}, and brokers take no records without a key then, but producers.{key}.key is none: give it a key"
    for index, fault in enumerate(scenario.faults):
        if isinstance(fault, faults.DeleteRecords) and "delete" not in policy:
            topic = fault.topic if fault.partition is None else fault.partition.topic
            if topic == name:
                yield f"faults[{index}] deletes records of {name}, whose cleanup.policy is {policy}; brokers refuse that: make it compact,delete"


def _reached_from(scenario: Scenario, topic: str) -> set[str]:
    """Return a topic and all to which its events, or what follows from them, may be sent."""
    reached, left = set[str](), [topic]
    while left:
        reached.add(one := left.pop())
        for group in (group for group in scenario.groups.values() if one in group.topics):
            sent = [emits.topic for emits in group.emits]
            sent += [group.topic_of_dead_letters] if group.topic_of_dead_letters is not None else []
            left += set(sent) - reached
    return reached


def _producer(scenario: Scenario, name: str) -> Iterator[str]:
    settings = producer_settings(scenario, name)
    topic = scenario.producers[name].topic
    most_bytes = int(topic_setting(scenario, topic, "max.message.bytes"))
    if scenario.producers[name].client == "java" and settings.batch_bytes > most_bytes:
        yield (
            f"producers.{name}: batch.size is {settings.batch_bytes} and topic {topic} takes no batch of more than {most_bytes} B (max.message.bytes), which "
            "the Java client sends again and again, split into the same; the simulator does not model that: make batch.size no larger than that"
        )


def _group(scenario: Scenario, name: str) -> Iterator[str]:
    group = scenario.groups[name]
    if group.share_group:
        yield from _share_group(f"groups.{name}", group)
    if group.workers > 1:
        if isinstance(group.reads, CollectReads):
            yield f"groups.{name}.reads collects beside workers: {group.workers}; the simulator's workers are fed by polls: leave it at poll"
        if group.commit == "transaction":
            yield (
                f"groups.{name}.commit is {group.commit} beside workers: {group.workers}, which the simulator does not model: "
                "it is after_event, after_batch, before_work, auto or {every: 1s}"
            )
    if group.failures is None and _takes_no_time(group) and _may_fail(scenario, name):
        yield (
            f"groups.{name}: without `failures` an event that cannot be processed is tried again without end, and work is 0 s, so the "
            "simulated clock would stand still: add `failures: {then: skip}`, or work that takes time"
        )


def _share_group(place: str, group: Group) -> Iterator[str]:
    """Yield what the simulator does not combine with share groups."""
    if group.workers > 1:
        yield f"{place}.workers is {group.workers} beside share_group, which the simulator does not model: write more members"
    if isinstance(group.reads, CollectReads):
        yield f"{place}.reads is collect beside share_group, whose client polls: leave `reads` out"
    if group.failures is not None and group.failures.retry.where == "topic":
        yield f"{place}.failures.retry.where is topic beside share_group, whose members cannot keep a copy until it is due: it is in_place"
    if "group.instance.id" in group.settings:
        yield f"{place}.settings['group.instance.id'] keeps a place over a restart, which share groups do not know: leave it out"


def _clock_skew(scenario: Scenario, fault: faults.ClockSkew) -> Iterator[str]:
    """Yield which wrong clocks brokers would do more about than to take records for older or younger."""
    skews = [other for other in scenario.faults if isinstance(other, faults.ClockSkew)]
    ahead_ns = max([0, *(other.by for other in skews if other.producer is not None)])
    behind_ns = max([0, *(-other.by for other in skews if other.broker is not None)])
    if (fault.by > 0) == (fault.producer is not None) and ahead_ns + behind_ns > _MOST_AHEAD_NS:
        yield (
            f"by is {format_duration(fault.by)}; brokers refuse records more than an hour ahead of their clocks (message.timestamp.after.max.ms), "
            "which the simulator does not model: let clocks differ by less"
        )
    timed = next((name.rpartition("/")[0] for name in coordinated(scenario)), None)
    if fault.broker is not None and timed is not None:
        yield (
            f"broker is {fault.broker}, whose clock also times the transactions of {timed}, which the simulator does not model: "
            "name a producer, or leave transactions out"
        )


def _takes_no_time(group: Group) -> bool:
    return isinstance(group.work, Constant) and group.work.value == 0


def _may_fail(scenario: Scenario, name: str) -> bool:
    topics = scenario.groups[name].topics
    broken = faults.Poison | faults.SchemaChange
    poisoned = {fault.producer for fault in scenario.faults if isinstance(fault, broken)}
    failing = any(isinstance(fault, faults.FailingWork) and fault.group == name for fault in scenario.faults)
    read = {key: producer for key, producer in scenario.producers.items() if producer.topic in topics}
    return (
        failing
        or bool(scenario.groups[name].calls)
        or any(producer.poison > 0 or key in poisoned for key, producer in read.items())
    )


def _action(scenario: Scenario, index: int, action: Action) -> Iterator[str]:
    if isinstance(action, Replay) and (reasons := follows_a_handler(scenario.groups[action.group])):
        yield (
            f"actions[{index}].action is replay of {action.group}, which {reasons[0]}; the simulator replays groups whose handlers do all "
            "of the work, as the live driver does: use reset_offsets"
        )
    if isinstance(action, ResetOffsets) and scenario.groups[action.group].share_group:
        yield f"actions[{index}].group is {action.group}, a share group, which has no offsets to set: leave the action out"
    if isinstance(action, ResetOffsets) and is_static(scenario, action.group):
        yield (
            f"actions[{index}].group is {action.group}, whose members are static (group.instance.id) and keep their places for a session "
            "after they left; offsets are set where a group is empty: remove group.instance.id"
        )


def _fault(scenario: Scenario, fault: Fault) -> Iterator[str]:
    if isinstance(fault, faults.Cut) and fault.direction != "both" and "controller" in {e.role for e in fault.between}:
        yield f"direction is {fault.direction}; the simulator cuts both directions of links to the controller: leave it out"
    if isinstance(fault, faults.ClockSkew):
        yield from _clock_skew(scenario, fault)
    if isinstance(fault, faults.SlowLink) and "controller" in {end.role for end in fault.between}:
        yield "between names the controller; the simulator's heartbeats and metadata take no time, and cannot be slowed: name clients or brokers"
    if isinstance(fault, faults.Throttle) and fault.group is not None and scenario.groups[fault.group].share_group:
        yield f"group is {fault.group}, a share group; the simulator models quotas of producers and of other groups: name one of these"
    if not isinstance(fault, OfBroker):
        return
    of_disk = isinstance(fault, faults.DiskFull | faults.DiskStall)
    if fault.target.role == "controller" and of_disk and scenario.brokers.controllers == "separate":
        yield (
            "broker is controller, which is no broker here, and the simulator has no disk of it: name a broker, "
            "or let it crash, stop or pause"
        )
