"""What may be done to a system that EventDrill did not start, and what will be: refusals and the list of acts, before any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from loadgen.admin import SCRATCH_TOPIC
from loadgen.clusters.foreign import ForeignKafka
from loadgen.wire import CONSUMER_GROUP_HEARTBEAT, WireError, request_kinds
from scenarios import faults
from scenarios.around import ForeignTarget
from scenarios.clients import consumer_settings
from scenarios.faults import Fault
from scenarios.plan import Plan
from scenarios.quantities import format_duration
from scenarios.retries import all_topics
from scenarios.schema import Group, Scenario

_OF_OURS = (
    faults.ProducerCrash | faults.ProducerPause | faults.Surge | faults.MemberCrash | faults.MemberPause
    | faults.MemberLeave | faults.RollingDeploy | faults.SlowWork | faults.FailingWork | faults.PollStall | faults.Poison
    | faults.Duplicates | faults.Oversized | faults.Late | faults.SchemaChange | faults.DependencyDown | faults.DependencySlow
)  # fmt: skip
"""They hurt nothing but the processes and events that EventDrill brings along."""
_OF_TOPICS = faults.Retention | faults.DeleteRecords | faults.AddPartitions
_BY_PLAIN_WIRE = faults.LeaderMove | faults.Reassign | faults.Throttle


def forbidden(scenario: Scenario) -> list[str]:
    """Return what the scenario does not allow itself on a system that EventDrill did not start."""
    target = scenario.target
    if target is None:
        return [
            "target is left out, so nothing may be touched on a system that EventDrill did not start; name it: "
            "target: {cluster_id: ..., topics: [drill-*], harm: allowed}"
        ]
    return [*_names(scenario, target), *_clients(scenario), *_faults(scenario, target)]


def _names(scenario: Scenario, target: ForeignTarget) -> Iterator[str]:
    patterns = ", ".join(target.topics)
    if scratch_topic(target) is None:
        yield f"target.topics is {patterns}; one of them must be a beginning such as drill-*: the warm-up's topic gets such a name"
    for place, names in (("topics", all_topics(scenario)), ("groups", scenario.groups)):
        for name in names:
            if not any(fnmatchcase(name, pattern) for pattern in target.topics):
                yield f"{place}.{name} is none of target.topics ({patterns}); rename it, or add it there"
    for name, producer in scenario.producers.items():
        own_id = str(producer.settings.get("transactional.id", ""))
        if own_id and not producer.external and not any(fnmatchcase(own_id, pattern) for pattern in target.topics):
            yield (
                f"producers.{name}.settings['transactional.id'] is {own_id}, which is none of target.topics ({patterns}): whoever sends under that "
                "id there would be shut out; give it such a name"
            )


def scratch_topic(target: ForeignTarget) -> str | None:
    """Return the name of the warm-up's topic: under the first beginning that the target allows."""
    beginning = next((each for each in target.topics if each.endswith("*")), None)
    return None if beginning is None else beginning.rstrip("*") + SCRATCH_TOPIC


def _clients(scenario: Scenario) -> Iterator[str]:
    for place, owners in (("producers", scenario.producers), ("groups", scenario.groups)):
        for name, owner in owners.items():
            if owner.client == "java" and not owner.external:
                yield f"{place}.{name}.client is java; on a system that EventDrill did not start it has librdkafka only"


def _faults(scenario: Scenario, target: ForeignTarget) -> Iterator[str]:
    for index, fault in enumerate(scenario.faults):
        if isinstance(fault, _OF_OURS):
            continue
        if not isinstance(fault, _OF_TOPICS | faults.Hook):
            yield (
                f"faults[{index}].fault is {fault.kind}; EventDrill did not start these brokers and has no hold of them. "
                "Use a hook: {fault: hook, begin: COMMAND, end: COMMAND, probe: COMMAND}"
            )
        elif target.harm != "allowed":
            yield f"faults[{index}].fault is {fault.kind}, and target.harm is {target.harm}; write harm: allowed if it may be hurt"


def mismatches(scenario: Scenario, cluster: ForeignKafka) -> list[str]:
    """Return in what the system that answers is not the one that the scenario names."""
    target = scenario.target
    assert target is not None
    if cluster.cluster_id != target.cluster_id:
        return [
            f"target.cluster_id is {target.cluster_id}, and the system at {cluster.bootstrap} is {cluster.cluster_id}: "
            "nothing was touched there"
        ]
    return []


def too_old(scenario: Scenario, cluster: ForeignKafka) -> list[str]:
    """Return what the brokers there are too old for; asked over plain connections only, since a client alone does not tell."""
    groups = [name for name in scenario.groups if consumer_settings(scenario, name).protocol == "consumer"]
    if not groups or cluster.security:
        return []
    try:
        known = request_kinds(cluster.bootstrap)
    except WireError as error:
        return [str(error)]
    return [
        f"groups.{name}.settings: group.protocol is consumer, which the brokers at {cluster.bootstrap} do not know; its members "
        "would wait for ever: Kafka has it from 4.0, and group.protocol: classic works with all"
        for name in groups
        if CONSUMER_GROUP_HEARTBEAT not in known
    ]


def acts(plan: Plan, cluster: ForeignKafka) -> list[str]:
    """Return all that a run would do there, one act a line, in the order of time."""
    scenario, target = plan.scenario, plan.scenario.target
    assert target is not None
    made = [*all_topics(scenario), str(scratch_topic(target))]
    return [
        *(_creation(plan, topic) for topic in all_topics(scenario)),
        f"create topic {made[-1]} for the warm-up",
        *(_reading(name, group) for name, group in scenario.groups.items()),
        *(_writing(plan, name) for name in scenario.producers),
        *(_fault(planned.begin_ns, planned.end_ns, planned.label, planned.fault) for planned in plan.faults),
        "read every topic of the scenario from its first to its last record",
        f"remove the topics {_list(made)}",
        *([f"remove the groups {_list(own_groups(scenario))}"] if own_groups(scenario) else []),
    ]  # fmt: skip


def _creation(plan: Plan, name: str) -> str:
    topic, copies = all_topics(plan.scenario)[name], len(plan.replicas(name)[0])
    settings = "".join(f", {key}={value}" for key, value in topic.settings.items())
    return f"create topic {name}: {topic.partitions} partitions, replication {copies}{settings}"


def _reading(name: str, group: Group) -> str:
    if group.external:
        return f"watch what group {name}, your own program, commits for {_list(group.topics)}"
    return f"commit offset 0 for group {name}, then read {_list(group.topics)} with {group.members} members"


def _writing(plan: Plan, name: str) -> str:
    producer = plan.scenario.producers[name]
    if producer.external:
        return f"read what {name}, your own program, writes to {producer.topic}"
    count = int((plan.producer == plan.producers.index(name)).sum())
    return f"write {count} events to {producer.topic} with {producer.count} processes"


def own_groups(scenario: Scenario) -> tuple[str, ...]:
    """Return the groups whose members EventDrill brings along; others are somebody's own, before and after the run."""
    return tuple(name for name, group in scenario.groups.items() if not group.external)


def _fault(begin_ns: int, end_ns: int, label: str, fault: Fault) -> str:
    at = f"at {format_duration(begin_ns)}"
    if isinstance(fault, faults.Hook):
        return f"{at} run `{fault.begin}`, at {format_duration(end_ns)} or when anything goes wrong `{fault.end}` ({label})"
    match fault:
        case faults.DeleteRecords():
            return f"{at} {label} of {fault.topic or fault.partition}"
        case faults.Retention() | faults.AddPartitions():
            return f"{at} {label} of {fault.topic}"
        case _:
            return f"{at} {label}, to EventDrill's own processes"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
