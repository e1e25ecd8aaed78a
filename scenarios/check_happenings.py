"""Checks of faults and actions: that their targets exist, that their times lie in the run, and that they go together."""

from collections.abc import Iterator
from itertools import pairwise
from typing import assert_never

from scenarios import actions, faults
from scenarios.actions import Action
from scenarios.errors import Path
from scenarios.expectations import BEFORE_FAULTS
from scenarios.faults import Fault
from scenarios.finding import Finding, unknown
from scenarios.plan import replica_assignment
from scenarios.quantities import format_duration
from scenarios.schema import Scenario
from scenarios.targets import BrokerTarget, LogPosition, MemberTarget, PartitionTarget, ProducerTarget
from scenarios.timing import Timed

MOST_TIMES = 10_000


def happening_findings(scenario: Scenario) -> Iterator[Finding]:
    """Yield what does not fit about faults and actions."""
    for index, fault in enumerate(scenario.faults):
        yield from _times(scenario, ("faults", index), fault, "fault")
        yield from _fault(scenario, ("faults", index), fault)
    for index, action in enumerate(scenario.actions):
        yield from _times(scenario, ("actions", index), action, "action")
        yield from _action(scenario, ("actions", index), action)
    yield from _names(scenario)
    yield from _overlaps(scenario)


def _times(scenario: Scenario, place: Path, timed: Timed, what: str) -> Iterator[Finding]:
    length = format_duration(scenario.duration)
    for number, at in enumerate(timed.at or ()):
        if at >= scenario.duration:
            where = (*place, "at") if len(timed.at or ()) == 1 else (*place, "at", number)
            message = f"is {format_duration(at)}, and the load ends at {length}; {_a(what)} begins before that"
            yield Finding(where, message, (("duration",),))
    if timed.every is not None and timed.every >= scenario.duration:
        message = f"is {format_duration(timed.every)}, and the load ends at {length}; the {what} would never come"
        yield Finding((*place, "every"), message, (("duration",),))
    between = timed.every or (timed.random.mean_between if timed.random else scenario.duration)
    if scenario.duration / between > MOST_TIMES:
        message = (
            f"would come about {scenario.duration / between:.2g} times; {_a(what)} comes at most {MOST_TIMES:,} times"
        )
        yield Finding((*place, "every" if timed.every else "random"), message, (("duration",),))


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


# ---- faults ---------------------------------------------------------------------------------------------------------


def _fault(scenario: Scenario, place: Path, fault: Fault) -> Iterator[Finding]:
    match fault:
        case (
            faults.BrokerCrash()
            | faults.BrokerStop()
            | faults.BrokerPause()
            | faults.DiskStall()
            | faults.DiskFull()
            | faults.HostCrash()
        ):
            yield from _broker(scenario, (*place, "rack" if fault.rack else "broker"), fault.target)
        case faults.RollingRestart():
            yield from _brokers(scenario, (*place, "brokers"), fault.brokers or ())
        case faults.ClockSkew():
            if fault.broker is not None:
                yield from _broker(scenario, (*place, "broker"), fault.broker)
            if fault.producer is not None:
                yield from _processes(scenario, (*place, "producer"), fault.producer)
        case faults.Cut() | faults.SlowLink():
            yield from _link(scenario, place, fault)
        case faults.ProducerCrash() | faults.ProducerPause():
            yield from _processes(scenario, (*place, "producer"), fault.producer)
        case faults.MemberCrash() | faults.MemberPause() | faults.MemberLeave() | faults.PollStall():
            yield from _member(scenario, (*place, "member"), fault.member)
        case faults.RollingDeploy() | faults.SlowWork() | faults.FailingWork():
            yield from unknown("group", fault.group, scenario.groups, (*place, "group"))
        case faults.Poison() | faults.Duplicates() | faults.Late():
            yield from unknown("producer", fault.producer, scenario.producers, (*place, "producer"))
        case faults.Surge():
            yield from unknown("producer", fault.producer, scenario.producers, (*place, "producer"))
            producer = scenario.producers.get(fault.producer)
            if producer is not None and producer.recorded is not None:
                message = f"is {fault.producer!r}, whose arrivals are recorded; a surge changes a rate, so give one, or raise `speed`"
                yield Finding((*place, "producer"), message, (("producers", fault.producer, "arrivals"),))
        case faults.Oversized():
            yield from unknown("producer", fault.producer, scenario.producers, (*place, "producer"))
            if fault.size >= 2**31:
                yield Finding((*place, "size"), "is 2GiB or more, which no record can be; use a few MiB")
        case faults.SchemaChange():
            yield from unknown("producer", fault.producer, scenario.producers, (*place, "producer"))
            for number, group in enumerate(fault.breaks or ()):
                yield from unknown("group", group, scenario.groups, (*place, "breaks", number))
        case faults.LeaderMove():
            yield from _partition(scenario, (*place, "partition"), fault.partition)
            yield from _leader_to(scenario, place, fault)
        case faults.Reassign():
            yield from _partition(scenario, (*place, "partition"), fault.partition)
            yield from _brokers(scenario, (*place, "to"), fault.to)
        case faults.Retention():
            yield from unknown("topic", fault.topic, scenario.topics, (*place, "topic"))
        case faults.AddPartitions():
            yield from unknown("topic", fault.topic, scenario.topics, (*place, "topic"))
            topic = scenario.topics.get(fault.topic)
            if topic is not None and fault.to <= topic.partitions:
                message = f"is {fault.to}, and {fault.topic} has {topic.partitions} partitions; Kafka only adds some, so name more"
                yield Finding((*place, "to"), message, (("topics", fault.topic, "partitions"),))
        case faults.DeleteRecords():
            if fault.partition is not None:
                yield from _partition(scenario, (*place, "partition"), fault.partition)
            if fault.topic is not None:
                yield from unknown("topic", fault.topic, scenario.topics, (*place, "topic"))
            if fault.up_to.place == "earliest":
                yield Finding(
                    (*place, "up_to"), "is earliest, so nothing would be deleted; use latest, an offset or a time ago"
                )
        case faults.DependencyDown() | faults.DependencySlow():
            yield from unknown("dependency", fault.dependency, scenario.dependencies, (*place, "dependency"))
        case faults.Throttle():
            if fault.producer is not None:
                yield from unknown("producer", fault.producer, scenario.producers, (*place, "producer"))
            if fault.group is not None:
                yield from unknown("group", fault.group, scenario.groups, (*place, "group"))
        case faults.Hook():
            if fault.like is not None:  # what a command is about only its owner knows, who may say so
                yield from _broker(scenario, (*place, "like", "broker"), fault.like.broker)
        case _:
            assert_never(fault)


def _broker(scenario: Scenario, path: Path, target: BrokerTarget) -> Iterator[Finding]:
    brokers = scenario.brokers
    if target.role == "rack" and target.rack not in brokers.racks:
        if not brokers.racks:
            message = f"is {target.rack!r}, and the brokers have no racks; add them, such as racks: [a, b, c]"
        else:
            message = (
                f"is {target.rack!r}, and there is no such rack; there is {', '.join(dict.fromkeys(brokers.racks))}"
            )
        yield Finding(path, message, (("brokers", "racks"),))
    if target.role == "number" and not 1 <= target.number <= brokers.nodes:
        message = f"is {target.number}; brokers are numbered from 1 to {brokers.nodes}"
        yield Finding(path, message, (("brokers", "nodes"),))
    if target.role not in ("leader", "follower"):
        return
    found = list(_partition(scenario, path, PartitionTarget(target.topic, target.partition), str(target)))
    yield from found
    if not found and target.role == "follower" and scenario.replication_of(target.topic) < 2:
        message = f"is '{target}', and {target.topic} has one replica, so no follower; name the leader, or raise its replication"
        yield Finding(path, message, (("topics", target.topic, "replication"), ("brokers", "nodes")))


def _partition(
    scenario: Scenario, path: Path, target: PartitionTarget, written: str | None = None
) -> Iterator[Finding]:
    written = written or str(target)
    yield from unknown("topic", target.topic, scenario.topics, path, written)
    topic = scenario.topics.get(target.topic)
    if topic is not None and target.partition >= topic.partitions:
        message = f"is {written!r}, and {target.topic} has the partitions 0 to {topic.partitions - 1}"
        yield Finding(path, message, (("topics", target.topic, "partitions"),))


def _brokers(scenario: Scenario, path: Path, numbers: tuple[int, ...]) -> Iterator[Finding]:
    nodes = scenario.brokers.nodes
    for index, number in enumerate(numbers):
        if number > nodes:
            message = f"is {number}; brokers are numbered from 1 to {nodes}"
            yield Finding((*path, index), message, (("brokers", "nodes"),))
        elif number in numbers[:index]:
            yield Finding((*path, index), f"is {number} again; name each broker once")


def _leader_to(scenario: Scenario, place: Path, fault: faults.LeaderMove) -> Iterator[Finding]:
    target, topics = fault.partition, list(scenario.topics)
    topic = scenario.topics.get(target.topic)
    if topic is None or target.partition >= topic.partitions:
        return
    reads: tuple[Path, ...] = (("topics", target.topic), ("brokers", "nodes"))
    replication, nodes = scenario.replication_of(target.topic), scenario.brokers.nodes
    if replication > nodes:
        return  # said where replication stands
    if replication < 2:
        message = f"is '{target}', which has one replica, so nowhere to go; raise its replication"
        yield Finding((*place, "partition"), message, reads)
        return
    replicas = replica_assignment(topic.partitions, replication, nodes, shift=topics.index(target.topic))
    if fault.to is not None and fault.to not in replicas[target.partition]:
        held = ", ".join(map(str, replicas[target.partition]))
        message = f"is {fault.to}, and {target} has its replicas on {held}; a leader is one of these"
        yield Finding((*place, "to"), message, reads)


def _member(scenario: Scenario, path: Path, target: MemberTarget) -> Iterator[Finding]:
    yield from unknown("group", target.group, scenario.groups, path, str(target))
    group = scenario.groups.get(target.group)
    if group is not None and target.member > group.members:
        message = f"is '{target}', and {target.group} has the members 1 to {group.members}"
        yield Finding(path, message, (("groups", target.group, "members"),))


def _processes(scenario: Scenario, path: Path, target: ProducerTarget) -> Iterator[Finding]:
    yield from unknown("producer", target.producer, scenario.producers, path)
    producer = scenario.producers.get(target.producer)
    if producer is not None and target.process > producer.count:
        message = f"is '{target}', and {target.producer} has the processes 1 to {producer.count}"
        yield Finding(path, message, (("producers", target.producer, "count"),))


def _link(scenario: Scenario, place: Path, fault: faults.Cut | faults.SlowLink) -> Iterator[Finding]:
    path: Path = (*place, "between")
    for index, end in enumerate(fault.between):
        if end.broker is not None:
            yield from _broker(scenario, (*path, index), end.broker)
    one, other = fault.between
    roles = {one.role, other.role}
    written = f"[{one}, {other}]"
    if roles in ({"clients"}, {"clients", "controller"}):
        why = "clients talk to brokers only"
        yield Finding(path, f"is {written}, and there is no such link: {why}; name a broker, or `brokers`")
    elif roles in ({"controller"}, {"brokers"}) or str(one) == str(other):
        yield Finding(path, f"is {written}, which has the same at both ends; name two different ones")
    elif "brokers" in roles and "clients" not in roles and "controller" not in roles and scenario.brokers.nodes < 2:
        yield Finding(path, f"is {written}, and there is one broker only; add nodes", (("brokers", "nodes"),))
    if "channel" in fault.model_fields_set and "controller" not in roles:
        message = f"is {fault.channel!r}, and heartbeats and metadata are what goes between a broker and the controller; remove it"
        yield Finding((*place, "channel"), message, (path,))


# ---- actions --------------------------------------------------------------------------------------------------------


def _action(scenario: Scenario, place: Path, action: Action) -> Iterator[Finding]:
    match action:
        case actions.Replay():
            yield from unknown("group", action.group, scenario.groups, (*place, "group"))
            if action.from_.place == "latest":
                yield Finding(
                    (*place, "from"), "is latest, so there is nothing to replay; use earliest, an offset or a time ago"
                )
            yield from _ago(place, "from", action.from_, action)
        case actions.Redrive():
            yield from _redrive(scenario, place, action)
        case actions.ResetOffsets():
            yield from unknown("group", action.group, scenario.groups, (*place, "group"))
            group = scenario.groups.get(action.group)
            if action.topic is not None and group is not None and action.topic not in group.topics:
                read = ", ".join(group.topics)
                message = (
                    f"is {action.topic!r}, and {action.group} reads {read}; name one of these, or leave `topic` out"
                )
                yield Finding((*place, "topic"), message, (("groups", action.group, "topics"),))
            yield from _ago(place, "to", action.to, action)
        case actions.Scale():
            yield from unknown("group", action.group, scenario.groups, (*place, "group"))
            group = scenario.groups.get(action.group)
            if group is not None and group.members == action.to and len(scenario.actions) == 1:
                message = f"is {action.to}, as many members as {action.group} has; name another number"
                yield Finding((*place, "to"), message, (("groups", action.group, "members"),))
        case actions.Deploy():
            yield from unknown("group", action.group, scenario.groups, (*place, "group"))
        case _:
            assert_never(action)


def _ago(place: Path, field: str, position: LogPosition, action: Action) -> Iterator[Finding]:
    first = min(action.at or (), default=None)
    if position.place == "ago" and first is not None and position.value > first:
        message = (
            f"is {format_duration(position.value)} ago, and the action comes at {format_duration(first)}, so that lies before "
            "the run; write earliest"
        )
        yield Finding((*place, field), message, ((*place, "at"),))


def _redrive(scenario: Scenario, place: Path, action: actions.Redrive) -> Iterator[Finding]:
    yield from unknown("topic", action.from_, scenario.topics, (*place, "from"))
    if action.to is not None:
        yield from unknown("topic", action.to, scenario.topics, (*place, "to"))
    if action.to == action.from_:
        yield Finding(
            (*place, "to"),
            f"is {action.to!r}, where the dead letters lie already; name another topic",
            ((*place, "from"),),
        )
    filled = sorted({group.topic_of_dead_letters or "" for group in scenario.groups.values()} - {""})
    if action.from_ in scenario.topics and action.from_ not in filled:
        message = f"is {action.from_!r}, and no group puts dead letters there; {_there_is(filled)}"
        yield Finding((*place, "from"), message, (("groups",),))


def _there_is(dead_letters: list[str]) -> str:
    return f"there is {', '.join(dead_letters)}" if dead_letters else "none has `dead_letter` under its failures"


# ---- together -------------------------------------------------------------------------------------------------------


def _names(scenario: Scenario) -> Iterator[Finding]:
    names: dict[str, str] = {}
    named: list[tuple[Path, str | None]] = [(("faults", i), fault.name) for i, fault in enumerate(scenario.faults)]
    named += [(("actions", i), action.name) for i, action in enumerate(scenario.actions)]
    for place, name in named:
        if name is None:
            continue
        where = f"{place[0]}[{place[1]}]"
        if name in names:
            message = f"is {name!r}, like that of {names[name]}; indicators refer to faults by name, so choose another"
            yield Finding((*place, "name"), message)
        names.setdefault(name, where)
        if not name.strip() or name == BEFORE_FAULTS or set(name) & set("[],"):
            message = f"is {name!r}; a name has letters, no brackets and no comma, and is not `{BEFORE_FAULTS}`"
            yield Finding((*place, "name"), message)


def _down(fault: Fault) -> str | None:
    """Return what a fault takes down, where that is known beforehand."""
    match fault:
        case faults.MemberCrash() | faults.MemberPause() | faults.MemberLeave():
            return f"member {fault.member}"
        case faults.ProducerCrash() | faults.ProducerPause():
            return f"producer {fault.producer}"
        case faults.BrokerCrash() | faults.BrokerStop() | faults.BrokerPause() | faults.DiskFull() | faults.HostCrash():
            if fault.target.role in ("number", "rack"):  # another broker may lead by then
                return f"{'broker ' if fault.target.role == 'number' else ''}{fault.target}"
    return None


def _overlaps(scenario: Scenario) -> Iterator[Finding]:
    """What is already down cannot be taken down once more."""
    down: dict[str, list[tuple[int, int, int]]] = {}
    for index, fault in enumerate(scenario.faults):
        target, length = _down(fault), fault.length_ns
        if target is None or length is None:
            continue
        times = fault.at or ()
        if fault.every is not None:
            times = tuple(range(fault.every, min(scenario.duration, fault.every * 100), fault.every))
        down.setdefault(target, []).extend((at, at + length, index) for at in times)
    for target, intervals in down.items():
        intervals.sort()
        for (_, end, first), (begin, _, second) in pairwise(intervals):
            if begin < end:
                message = (
                    f"takes {target} down at {format_duration(begin)}, and faults[{first}] has it down until {format_duration(end)}; "
                    "let it come back first"
                )
                yield Finding(("faults", second), message, (("faults", first),))
                break
