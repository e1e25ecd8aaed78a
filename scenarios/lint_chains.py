"""Lint of what flows between groups: effects that come twice, order, schemas, dead letters, dependencies, offsets and replays."""

from collections.abc import Iterator

from scenarios import actions, faults
from scenarios.around import Dependency
from scenarios.clients import as_int, broker_setting, consumer_settings, is_static, topic_setting
from scenarios.errors import Path
from scenarios.finding import Finding
from scenarios.load import handling_ns, peak_rate_hz, poison_share, try_ns
from scenarios.quantities import MILLISECOND, MINUTE, SECOND, format_duration
from scenarios.schema import EveryCommit, Group, Scenario

_MOST_POISON_TIME = 0.1
"""Share of a group's time that poison may take before events should be looked at first."""


# ---- once only ------------------------------------------------------------------------------------------------------


def repeats(scenario: Scenario) -> Iterator[Finding]:
    """At-least-once delivery where effects must not come twice."""
    for name, group in scenario.groups.items():
        if not _at_least_once(group) or group.dedupe != "none":
            continue
        why = _redelivered(scenario, name)
        if why is not None and _expects_once(scenario, name):
            message = (
                f"is at least once, {why}, and duplicate_effects must be 0: what was done and not committed is done again; "
                "add dedupe: {window: 10m, store: shared}, or commit: transaction"
            )
            yield Finding(("groups", name, "commit"), message)


def _at_least_once(group: Group) -> bool:
    return group.commit not in ("before_work", "transaction") and not (
        group.commit == "auto" and group.client == "librdkafka"
    )


def _redelivered(scenario: Scenario, group: str) -> str | None:
    """Return what makes a group get events again."""
    for index, fault in enumerate(scenario.faults):
        where = f"faults[{index}]"
        match fault:
            case faults.MemberCrash() | faults.MemberPause() | faults.PollStall() if fault.member.group == group:
                return f"{where} takes a member away"
            case faults.Duplicates() if scenario.producers[fault.producer].topic in scenario.groups[group].topics:
                return f"{where} sends events twice"
            case _:
                pass
    for index, action in enumerate(scenario.actions):
        if isinstance(action, actions.Replay | actions.ResetOffsets) and action.group == group:
            return f"actions[{index}] brings events again"
    return None


def _expects_once(scenario: Scenario, group: str) -> bool:
    covered = (None, group, *scenario.groups[group].topics)
    return any(
        each.indicator.kind == "duplicate_effects" and each.indicator.where in covered and each.bound == 0
        for each in scenario.expect
    )


def emitted_twice(scenario: Scenario) -> Iterator[Finding]:
    """Emitting in a handler that may run again."""
    for name, group in scenario.groups.items():
        if group.commit == "transaction" or group.dedupe != "none":
            continue
        why = "is tried again when it fails" if group.failures is None or group.failures.retry.attempts > 1 else None
        why = _redelivered(scenario, name) or why
        for index, emits in enumerate(group.emits):
            guarded = [g for g in scenario.groups.values() if emits.topic in g.topics and g.dedupe != "none"]
            if why is None or emits.outbox is not None or guarded:
                continue
            message = (
                f"follows from a handler that may run again ({why}), so {emits.topic} may get its events twice; "
                "add outbox: {every: 200ms}, commit: transaction, or dedupe in the groups that read it"
            )
            yield Finding(("groups", name, "emits", index), message)


# ---- order ----------------------------------------------------------------------------------------------------------


def order_of_keys(scenario: Scenario) -> Iterator[Finding]:
    """Related events that take different ways."""
    for name, producer in scenario.producers.items():
        if producer.keyed and producer.count > 1 and producer.share == "arrivals" and _expects_order(scenario):
            message = "is 'arrivals': events of one key leave from different processes, which keep no order among them; use keys"
            yield Finding(("producers", name, "share"), message)
        others = any(each.keyed for each in scenario.producers.values())
        if (
            others
            and not producer.keyed
            and scenario.topics[producer.topic].partitions > 1
            and _expects_order(scenario)
        ):
            message = f"is none: related events go to different partitions of {producer.topic}; give them a key"
            yield Finding(("producers", name, "key"), message)
    for name, group in scenario.groups.items():
        if group.workers > 1 and group.ordered_by == "none" and _expects_order(scenario):
            message = "is none: workers overtake each other, and inversions must be few; use key"
            yield Finding(("groups", name, "ordered_by"), message)
    yield from _two_partitioners(scenario)


def _expects_order(scenario: Scenario) -> bool:
    return any(each.indicator.kind == "inversions" for each in scenario.expect)


def _two_partitioners(scenario: Scenario) -> Iterator[Finding]:
    for topic in scenario.topics:
        keyed = [(name, p.client) for name, p in scenario.producers.items() if p.topic == topic and p.keyed]
        other = next((each for each in keyed if each[1] != keyed[0][1]), None)
        if other is not None:
            message = (
                f"is {other[1]}, and {keyed[0][0]} sends to {topic} with {keyed[0][1]}: the two put the same key into different "
                "partitions (crc32 against murmur2); use one client, or one partitioner"
            )
            yield Finding(("producers", other[0], "client"), message)


# ---- schemas --------------------------------------------------------------------------------------------------------


def schema_order(scenario: Scenario) -> Iterator[Finding]:
    """A producer that changes its schema before the groups that read it can decode it, and changes that nobody judges."""
    judged = {"errors", "dead_lettered", "delivery", "pending", "lag", "latency"}
    for index, fault in enumerate(scenario.faults):
        if not isinstance(fault, faults.SchemaChange):
            continue
        topic = scenario.producers[fault.producer].topic
        readers = [name for name, group in scenario.groups.items() if topic in group.topics]
        broken = readers if fault.breaks is None else [name for name in fault.breaks if name in readers]
        begin = min(fault.at or (fault.every or 0,))
        late = [name for name in broken if not _deployed_before(scenario, name, fault.version, begin)]
        if late:
            message = (
                f"is {fault.version}, which {', '.join(late)} cannot decode: consumers go first; deploy them before with "
                f"decodes: {fault.version}, or let the change be one that old versions can read (breaks: [])"
            )
            yield Finding(("faults", index, "version"), message)
        if not any(each.indicator.kind in judged for each in scenario.expect):
            message = "changes a schema, and no expectation would notice: expect something of errors, dead_lettered or delivery"
            yield Finding(("faults", index, "fault"), message)


def _deployed_before(scenario: Scenario, group: str, version: int, begin_ns: int) -> bool:
    return any(
        isinstance(action, actions.Deploy)
        and action.group == group
        and (action.decodes or 1) >= version
        and min(action.at or (begin_ns,)) < begin_ns
        for action in scenario.actions
    )


# ---- failures -------------------------------------------------------------------------------------------------------


def validated_first(scenario: Scenario) -> Iterator[Finding]:
    """Events that nobody looks at before they are worked on, again and again."""
    for name, group in scenario.groups.items():
        if group.failures is None or group.failures.retry.attempts == 1:
            continue
        whole, tried_once = handling_ns(scenario, name), try_ns(scenario, name)
        transient = group.failures.transient
        if transient is not None or not poison_share(scenario, name):
            continue
        if whole > 0 and 1 - tried_once / whole > _MOST_POISON_TIME:
            message = (
                f"tries events again that can never be processed, which takes {1 - tried_once / whole:.0%} of the members' time; "
                "look at events before the work, and send what is no event to the dead letters at once (attempts: 1)"
            )
            yield Finding(("groups", name, "failures", "retry"), message)


def dead_letter_loops(scenario: Scenario) -> Iterator[Finding]:
    """Dead letters that come back to where they came from by way of other groups."""
    for name, group in scenario.groups.items():
        way, at = [name], group.topic_of_dead_letters
        while at is not None and len(way) <= len(scenario.groups):
            following = next((n for n, g in scenario.groups.items() if at in g.topics), None)
            if following is None:
                break
            way.append(following)
            if following == name:
                message = f"comes back to {name} ({' -> '.join(way)}): a poison event goes round for ever; end it in a topic for people"
                yield Finding(("groups", name, "failures", "dead_letter"), message)
                break
            at = scenario.groups[following].topic_of_dead_letters


def undrained_dead_letters(scenario: Scenario) -> Iterator[Finding]:
    """Dead letters that nobody reads."""
    read = {topic for group in scenario.groups.values() for topic in group.topics}
    read |= {action.from_ for action in scenario.actions if isinstance(action, actions.Redrive)}
    for name, group in scenario.groups.items():
        topic = group.topic_of_dead_letters
        if topic is not None and topic not in read:
            message = f"is {topic!r}, which no group reads: who looks at what lands there?"
            yield Finding(("groups", name, "failures", "dead_letter"), message)


def dead_letters_by_hand(scenario: Scenario) -> Iterator[Finding]:
    """Offsets that are set back where a replay would do."""
    for index, action in enumerate(scenario.actions):
        if not isinstance(action, actions.ResetOffsets) or action.to.place == "latest":
            continue
        message = (
            f"stops all of {action.group} and does everything since then again at full speed; "
            f"{{action: replay, group: {action.group}, from: ..., rate: 100/s}} does it beside the running group"
        )
        yield Finding(("actions", index, "action"), message)


def no_way_back(scenario: Scenario) -> Iterator[Finding]:
    """Faults and actions after which nothing works again."""
    for index, fault in enumerate(scenario.faults):
        if isinstance(fault, faults.MemberPause) and fault.length_ns is not None:
            resolved = consumer_settings(scenario, fault.member.group)
            alone = scenario.groups[fault.member.group].members == 1
            if alone and fault.length_ns > resolved.session_timeout_ns:
                message = (
                    f"hangs the only member for {format_duration(fault.length_ns)}, longer than its session "
                    f"({format_duration(resolved.session_timeout_ns)}), and nobody is there to take over; use two members"
                )
                yield Finding(("faults", index, "for"), message)
    for index, action in enumerate(scenario.actions):
        if not isinstance(action, actions.Scale) or action.to or action.for_ns is not None:
            continue
        begin = min(action.at or (0,))
        later = (a for a in scenario.actions if isinstance(a, actions.Scale) and a.group == action.group and a.to)
        if not any(min(each.at or (0,)) > begin for each in later):
            message = f"is 0, and nothing brings {action.group} back; add `for: 20s`, or a later scale"
            yield Finding(("actions", index, "to"), message)


# ---- dependencies ---------------------------------------------------------------------------------------------------


def unguarded_calls(scenario: Scenario) -> Iterator[Finding]:
    """More calls than a dependency takes, and calls that wait for one that does not answer."""
    callers: dict[str, float] = {}
    for name, group in scenario.groups.items():
        for index, call in enumerate(group.calls):
            dependency = scenario.dependencies[call.dependency]
            place: Path = ("groups", name, "calls", index)
            hurt = [
                i
                for i, fault in enumerate(scenario.faults)
                if isinstance(fault, faults.DependencyDown | faults.DependencySlow)
                and fault.dependency == call.dependency
            ]
            if hurt and call.timeout is None and call.breaker is None:
                message = (
                    f"has neither `timeout` nor `breaker`, and faults[{hurt[0]}] makes {call.dependency} slow or silent: each member "
                    "waits with it; add timeout: 500ms, breaker: {opens_after: 5}"
                )
                yield Finding(place, message)
            callers[call.dependency] = callers.get(call.dependency, 0.0) + peak_rate_hz(scenario, group.topics)
            limit = _most_calls_hz(dependency)
            if callers[call.dependency] > limit:
                message = (
                    f"sends {call.dependency} up to {callers[call.dependency]:.4g} calls/s, and it takes {limit:.4g}/s; "
                    "limit the rate before it, fewer workers for instance, or let it take more"
                )
                yield Finding(place, message)


def _most_calls_hz(dependency: Dependency) -> float:
    most = dependency.rate or float("inf")
    if dependency.concurrency is None:
        return most
    return min(most, dependency.concurrency * SECOND / max(1.0, float(dependency.takes.mean)))


# ---- offsets --------------------------------------------------------------------------------------------------------


def offsets_past_data(scenario: Scenario) -> Iterator[Finding]:
    """Groups that start at the end when what they wanted to read is gone, and offsets that are forgotten before the data."""
    for name, group in scenario.groups.items():
        resolved = consumer_settings(scenario, name)
        index = _loses_records(scenario, group)
        if index is not None and resolved.auto_offset_reset == "latest":
            message = (
                f"is latest, and faults[{index}] removes records: a group that finds its offset gone skips the whole backlog, "
                "also what is still there; use earliest"
            )
            yield Finding(("groups", name, "settings", "auto.offset.reset"), message)
    kept_ns = as_int(broker_setting(scenario, "offsets.retention.minutes")) * MINUTE
    if "offsets.retention.minutes" in scenario.brokers.settings:
        for name in scenario.topics:
            retention_ns = as_int(topic_setting(scenario, name, "retention.ms")) * MILLISECOND
            if retention_ns > kept_ns:
                message = (
                    f"is {format_duration(kept_ns)}, and {name} keeps records for {format_duration(retention_ns)}: a group that is away "
                    "longer forgets where it was while its events are still there; keep offsets longer than records"
                )
                yield Finding(("brokers", "settings", "offsets.retention.minutes"), message)
                break


def _loses_records(scenario: Scenario, group: Group) -> int | None:
    for index, fault in enumerate(scenario.faults):
        match fault:
            case faults.Retention() if fault.topic in group.topics:
                return index
            case faults.DeleteRecords() if (fault.topic or (fault.partition and fault.partition.topic)) in group.topics:
                return index
            case _:
                pass
    return None


def commits_without_a_pause(scenario: Scenario) -> Iterator[Finding]:
    """An interval that is over before one event is done."""
    for name, group in scenario.groups.items():
        if isinstance(group.commit, EveryCommit) and group.commit.every < try_ns(scenario, name):
            message = (
                f"is {format_duration(group.commit.every)}, and an event takes {format_duration(try_ns(scenario, name))}: the interval is over "
                "before the next event is done, so it never is what it says; make it longer, or write after_event"
            )
            yield Finding(("groups", name, "commit", "every"), message)


def rebalances_on_deploy(scenario: Scenario) -> Iterator[Finding]:
    """Deploys that stop everyone once per member."""
    deployed = {f.group: ("faults", i) for i, f in enumerate(scenario.faults) if isinstance(f, faults.RollingDeploy)}
    deployed |= {a.group: ("actions", i) for i, a in enumerate(scenario.actions) if isinstance(a, actions.Deploy)}
    for name, (section, index) in deployed.items():
        group, resolved = scenario.groups[name], consumer_settings(scenario, name)
        cooperative = "cooperative" in str(group.settings.get("partition.assignment.strategy", ""))
        if resolved.protocol == "classic" and not cooperative and not is_static(scenario, name):
            message = (
                f"leaves group.protocol at classic, and {section}[{index}] replaces {group.members} members: each leave and each return "
                "stops them all; use group.protocol: consumer, partition.assignment.strategy: cooperative-sticky or group.instance.id"
            )
            yield Finding(("groups", name, "settings"), message)
