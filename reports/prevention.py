"""What keeps the damage of a scenario's faults small: what it has already, what it lacks, and the fields that would put it there."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reports.remedies import REMEDIES
from scenarios import actions, faults
from scenarios.actions import Action
from scenarios.clients import BROKER_DEFAULTS, as_int, consumer_settings, producer_settings, topic_setting
from scenarios.faults import Fault
from scenarios.load import handling_ns, peak_rate_hz
from scenarios.quantities import MILLISECOND, SECOND, format_duration
from scenarios.schema import Scenario

_BUSY = 0.9
"""Members that are busier than this do not keep up with chance."""
_SOON_FENCE_NS, _SOON_SESSION_NS, _SOON_SILENCE_NS = 4_500 * MILLISECOND, 10 * SECOND, 15 * SECOND
_SETTLES_NS = 10 * SECOND
"""From the end of an outage until clients go on, at most."""


@dataclass(frozen=True)
class Measure:
    """One thing that people do against a fault."""

    words: str
    there: bool | None
    """Whether the scenario has it already; None where a file cannot tell."""
    change: Mapping[str, Any] = field(default_factory=dict)
    """Fields and the values that put it there; empty where no field does."""

    @property
    def settings(self) -> str:
        """The change as `--set` takes it."""
        return " ".join(f"--set {_quoted(f'{name}={_flow(value)}')}" for name, value in self.change.items())


@dataclass(frozen=True)
class Prevented:
    """What a measure bought when it was simulated with the same events and the same chance."""

    measure: Measure
    spent: Mapping[str, tuple[float, float]]
    """By objective the share of the period's budget, without and with it; means over the runs."""
    counts: Mapping[str, tuple[float, float]]
    """By indicator how many events were lost, done twice and so on, without and with it; only those that differ."""
    runs: int
    reason: str = ""
    """Why it could not be simulated."""


def measures(scenario: Scenario, fault: Fault | Action) -> tuple[Measure, ...]:
    """Return what helps against a fault, what the scenario lacks first; where nothing can be told from the file, in general words."""
    found = list(_measures(scenario, fault))
    if not found and fault.kind in REMEDIES:
        found = [Measure(words, None) for words in REMEDIES[fault.kind].prevents]
    order = {False: 0, None: 1, True: 2}
    return tuple(sorted(found, key=lambda each: order[each.there]))


def lacking(scenario: Scenario) -> list[Measure]:
    """Return what would help against any of the scenario's faults and can be put there, each once."""
    found: dict[str, Measure] = {}
    for fault in (*scenario.faults, *scenario.actions):
        for each in measures(scenario, fault):
            if each.there is False and each.change:
                found.setdefault(repr(sorted(each.change.items())), each)
    return list(found.values())


def words_of(found: Sequence[Measure], most: int = 3) -> str:
    """Return measures as one sentence: what is missing, what is there, what else helps."""
    kinds = (("Not there: ", False), ("Also helps: ", None), ("Already there: ", True))
    parts = []
    for head, there in kinds:
        said = [each.words for each in found if each.there is there][:most]
        if said:
            parts.append(head + "; ".join(said))
    return ". ".join(parts)


def _measures(scenario: Scenario, fault: Fault | Action) -> Iterator[Measure]:
    lasts = int(getattr(fault, "for_ns", 0) or 0)
    match fault:
        case faults.BrokerCrash() | faults.BrokerPause() | faults.HostCrash() | faults.DiskStall() | faults.DiskFull():
            yield from (_copies(scenario), _idempotent(scenario), _fence(scenario), _patience(scenario, lasts))
            if isinstance(fault, faults.BrokerPause) and lasts > _fence_ns(scenario):
                yield _hears_silence(scenario)
        case faults.BrokerStop() | faults.RollingRestart():
            yield from (_copies(scenario), _idempotent(scenario), _patience(scenario, lasts))
        case faults.MemberCrash(member=who) | faults.MemberPause(member=who):
            yield from (_spare(scenario, who.group), _session(scenario, who.group), _remembers(scenario, who.group))
            yield from _kept(scenario, who.group, lasts)
        case faults.MemberLeave(member=who) | faults.PollStall(member=who):
            yield _spare(scenario, who.group)
            yield from _kept(scenario, who.group, lasts)
        case faults.RollingDeploy(group=name):
            yield from (_spare(scenario, name), _cooperative(scenario, name))
        case faults.SlowWork(group=name):
            yield _members_for(scenario, name, fault.factor + fault.plus / handling_ns(scenario, name))
        case faults.FailingWork(group=name):
            yield from (_retry_topic(scenario, name), _dead_letters(scenario, name))
        case faults.Surge() if fault.factor <= 1:
            yield Measure("an alert on the rate of events, not on errors alone", None)
        case faults.Surge():
            for name in _readers(scenario, fault):
                yield _members_for(scenario, name, fault.factor)
        case faults.Poison():
            for name in _readers(scenario, fault):
                yield from (_dead_letters(scenario, name), _retry_topic(scenario, name))
        case faults.Duplicates():
            yield from (_remembers(scenario, name) for name in _readers(scenario, fault))
        case faults.SchemaChange():
            yield _compatible(scenario, fault)
        case faults.ProducerCrash():
            yield from _short_linger(scenario, fault)
            yield Measure(REMEDIES[fault.kind].prevents[0], None)
        case faults.DependencyDown(dependency=service) | faults.DependencySlow(dependency=service):
            yield from _limited_calls(scenario, service)
        case actions.Deploy():
            yield from (_canary(scenario, fault), _spare(scenario, fault.group))
        case actions.ResetOffsets(group=name):
            yield _remembers(scenario, name)
        case _:
            return


def _readers(scenario: Scenario, fault: Any) -> list[str]:
    """Return the groups that read what a fault's producer sends."""
    name = getattr(fault.producer, "producer", fault.producer)
    topic = scenario.producers[str(name)].topic
    return [group for group, what in scenario.groups.items() if topic in what.topics]


# ---- brokers ---------------------------------------------------------------------------------------------------------


def _copies(scenario: Scenario) -> Measure:
    words = "three replicas, min.insync.replicas 2 and acks all, so that nothing acknowledged is lost"
    change: dict[str, Any] = {}
    for name, producer in scenario.producers.items():
        topic, copies = producer.topic, min(3, scenario.brokers.nodes)
        if scenario.replication_of(topic) < copies:
            change[f"{_at('topics', topic)}.replication"] = copies
        if as_int(topic_setting(scenario, topic, "min.insync.replicas")) < copies - 1:
            change[f"{_at('topics', topic)}.settings['min.insync.replicas']"] = copies - 1
        if producer_settings(scenario, name).acks != "all":
            change[
                f"{_at('producers', name)}.settings['{_own(producer.settings, 'acks', 'request.required.acks')}']"
            ] = "all"
    few = scenario.brokers.nodes < 3
    return Measure(words, not change and not few, {} if few else change)


def _fence(scenario: Scenario) -> Measure:
    name = "broker.session.timeout.ms"
    has_ns = _fence_ns(scenario)
    there = has_ns <= _SOON_FENCE_NS
    words = (
        f"a shorter broker.session.timeout.ms (it is {format_duration(has_ns)}), so that the controller notices sooner"
    )
    change = {f"brokers.settings['{name}']": 3000, "brokers.settings['broker.heartbeat.interval.ms']": 1000}
    return Measure(words, there, {} if there else change)


def _fence_ns(scenario: Scenario) -> int:
    name = "broker.session.timeout.ms"
    return as_int(scenario.brokers.settings.get(name, BROKER_DEFAULTS[name])) * MILLISECOND


def _idempotent(scenario: Scenario) -> Measure:
    change: dict[str, Any] = {}
    for name, producer in scenario.producers.items():
        found = producer_settings(scenario, name)
        if found.idempotence:
            continue
        place = f"{_at('producers', name)}.settings"
        change[f"{place}['enable.idempotence']"] = True
        if found.acks != "all":
            change[f"{place}['{_own(producer.settings, 'acks', 'request.required.acks')}']"] = "all"
    return Measure("idempotent producers, so that what is sent again is stored once and in order", not change, change)


def _hears_silence(scenario: Scenario) -> Measure:
    change: dict[str, Any] = {}
    longest = 0
    clients = [
        *((_at("producers", n), p.client, producer_settings(scenario, n).request_timeout_ns) for n, p in scenario.producers.items()),
        *((_at("groups", n), g.client, consumer_settings(scenario, n).request_timeout_ns) for n, g in scenario.groups.items()),
    ]  # fmt: skip
    for place, client, timeout_ns in clients:
        longest = max(longest, timeout_ns)
        if timeout_ns > _SOON_SILENCE_NS:
            setting = "socket.timeout.ms" if client == "librdkafka" else "request.timeout.ms"
            change[f"{place}.settings['{setting}']"] = 10_000
    words = f"clients that give up a silent connection sooner (they wait for up to {format_duration(longest)}), since a hanging broker closes none"
    return Measure(words, not change, change)


def _patience(scenario: Scenario, lasts_ns: int) -> Measure:
    impatient = {
        name: _own(producer.settings, "delivery.timeout.ms", "message.timeout.ms")
        for name, producer in scenario.producers.items()
        if producer_settings(scenario, name).delivery_timeout_ns < lasts_ns + _SETTLES_NS
    }
    change = {f"{_at('producers', name)}.settings['{own}']": 300_000 for name, own in impatient.items()}
    return Measure("producers that wait the outage out (delivery.timeout.ms above it)", not change, change)


# ---- members ---------------------------------------------------------------------------------------------------------


def _spare(scenario: Scenario, group: str) -> Measure:
    busy, has = _busy_members(scenario, group), scenario.groups[group].members
    there = scenario.groups[group].autoscaler is not None or (has - 1) * _BUSY >= busy
    words = f"one member of {group} more than the load needs, so that the others keep up ({busy:.2g} of {has} are busy at its peak)"
    return Measure(words, there, {} if there else _more_members(scenario, group, math.ceil(busy / _BUSY) + 1))


def _members_for(scenario: Scenario, group: str, factor: float) -> Measure:
    what = scenario.groups[group]
    busy = _busy_members(scenario, group) * factor
    has = what.autoscaler.max if what.autoscaler is not None else what.members
    there = has * _BUSY >= busy
    words = f"members of {group} for the worst case: {busy:.2g} would be busy, it has {what.members}"
    words += f" and scales up to {has}" if what.autoscaler is not None else ""
    partitions = _partitions(scenario, group)
    words += (
        ""
        if there or busy / _BUSY <= partitions
        else f", and {partitions} partitions let no more than {partitions} work: more of these, too"
    )
    return Measure(words, there, {} if there else _more_members(scenario, group, math.ceil(busy / _BUSY)))


def _more_members(scenario: Scenario, group: str, wanted: int) -> dict[str, Any]:
    most = min(wanted, _partitions(scenario, group))
    scaled = {each.to for each in scenario.actions if isinstance(each, actions.Scale) and each.group == group}
    if most <= scenario.groups[group].members or most in scaled:  # people give it so many already
        return {}
    return {f"{_at('groups', group)}.members": most}


def _busy_members(scenario: Scenario, group: str) -> float:
    """Return how many members the peak of the load keeps busy, surges apart."""
    what = scenario.groups[group]
    return peak_rate_hz(scenario, what.topics) * handling_ns(scenario, group) / SECOND / what.workers


def _partitions(scenario: Scenario, group: str) -> int:
    return sum(scenario.topics[topic].partitions for topic in scenario.groups[group].topics)


def _session(scenario: Scenario, group: str) -> Measure:
    found = consumer_settings(scenario, group)
    there = found.session_timeout_ns <= _SOON_SESSION_NS
    words = f"a shorter session of {group} (it is {format_duration(found.session_timeout_ns)}), so that a dead member's partitions move sooner"
    if found.protocol == "consumer":
        names = ("group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms")
        beats = ("group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms")
        change = {f"brokers.settings['{n}']": 6000 for n in names} | {f"brokers.settings['{n}']": 2000 for n in beats}
    else:
        place = f"{_at('groups', group)}.settings"
        change = {f"{place}['session.timeout.ms']": 6000, f"{place}['heartbeat.interval.ms']": 2000}
    return Measure(words, there, {} if there else change)


def _remembers(scenario: Scenario, group: str) -> Measure:
    what = scenario.groups[group]
    there = what.dedupe != "none" or what.commit == "transaction"
    words = f"{group} remembers the ids of events with their effects (dedupe), so that nothing is done twice"
    return Measure(
        words, there, {} if there else {f"{_at('groups', group)}.dedupe": {"window": "10m", "store": "shared"}}
    )


def _cooperative(scenario: Scenario, group: str) -> Measure:
    what = scenario.groups[group]
    eager = "cooperative" not in str(what.settings.get("partition.assignment.strategy", ""))
    there = consumer_settings(scenario, group).protocol == "consumer" or not eager
    words = f"cooperative assignment in {group}, so that a deploy stops only what moves"
    return Measure(words, there, {} if there else {f"{_at('groups', group)}.settings['group.protocol']": "consumer"})


def _kept(scenario: Scenario, group: str, lasts_ns: int) -> Iterator[Measure]:
    """Yield a measure where a topic may forget what the group had not read yet."""
    for topic in scenario.groups[group].topics:
        kept_ms = as_int(topic_setting(scenario, topic, "retention.ms"))
        if 0 <= kept_ms * MILLISECOND < 2 * lasts_ns:
            words = f"retention of {topic} longer than the outage and its catch-up (it is {format_duration(kept_ms * MILLISECOND)})"
            yield Measure(
                words, False, {f"{_at('topics', topic)}.settings['retention.ms']": 10 * lasts_ns // MILLISECOND}
            )


# ---- handlers --------------------------------------------------------------------------------------------------------


def _failures(scenario: Scenario, group: str) -> dict[str, Any]:
    found = scenario.groups[group].failures
    return {"then": "skip"} if found is None else found.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _retry_topic(scenario: Scenario, group: str) -> Measure:
    found = scenario.groups[group].failures
    there = found is not None and found.retry.where == "topic" and found.retry.attempts > 1
    words = f"a bounded number of tries of {group} in a retry topic, so that its partitions go on meanwhile"
    retry = {"attempts": max(3, found.retry.attempts if found else 0), "backoff": "1s", "factor": 2, "where": "topic"}
    failures = {key: value for key, value in _failures(scenario, group).items() if key != "restart"} | {"retry": retry}
    if failures["then"] in ("stop", "crash"):
        failures["then"] = "skip"
    return Measure(words, there, {} if there else {f"{_at('groups', group)}.failures": failures})


def _dead_letters(scenario: Scenario, group: str) -> Measure:
    found = scenario.groups[group].failures
    there = found is not None and found.then == "dead_letter"
    words = f"a dead-letter topic for {group}, so that one event cannot stop a partition"
    if there:
        return Measure(words, True)
    topic = next((name for name in scenario.topics if name.endswith(".dlq")), f"{scenario.groups[group].topics[0]}.dlq")
    failures = {key: value for key, value in _failures(scenario, group).items() if key != "restart"}
    failures = {
        "retry": {"attempts": 3, "backoff": "20ms", "factor": 2},
        **failures,
        "then": "dead_letter",
        "dead_letter": topic,
    }
    made = {} if topic in scenario.topics else {f"{_at('topics', topic)}": {"partitions": 1}}
    return Measure(words, False, {**made, f"{_at('groups', group)}.failures": failures})


def _limited_calls(scenario: Scenario, service: str) -> Iterator[Measure]:
    for name, group in scenario.groups.items():
        calls = [call for call in group.calls if call.dependency == service]
        if not calls:
            continue
        there = all(call.timeout is not None and call.breaker is not None for call in calls)
        words = f"a time limit and a circuit breaker where {name} calls {service}, and tries in a retry topic"
        limit = max(10 * MILLISECOND, 10 * round(float(scenario.dependencies[service].takes.mean)))
        limited = [
            {"dependency": call.dependency, "timeout": format_duration(limit), "breaker": {"opens_after": 5, "stays_open": "2s"}}
            for call in group.calls
        ]  # fmt: skip
        retry = {"attempts": 6, "backoff": "2s", "factor": 2, "where": "topic"}
        failures = _failures(scenario, name) | {"retry": retry}
        change = {f"{_at('groups', name)}.calls": limited, f"{_at('groups', name)}.failures": failures}
        yield Measure(words, there, {} if there else change)


def _canary(scenario: Scenario, deploy: actions.Deploy) -> Measure:
    there = deploy.canary is not None and deploy.rollback_if is not None
    words = f"a canary of {deploy.group} that is watched, and rolled back when its errors rise"
    place = f"actions[{scenario.actions.index(deploy)}]"
    change = {f"{place}.canary": "1%", f"{place}.watch": "8s", f"{place}.rollback_if": f"errors[{deploy.group}] > 2%"}
    return Measure(words, there, {} if there else change)


# ---- producers -------------------------------------------------------------------------------------------------------


def _compatible(scenario: Scenario, fault: faults.SchemaChange) -> Measure:
    there = fault.breaks == ()
    words = "a registry with a compatibility mode, checked in CI, that refuses what old versions cannot read"
    return Measure(words, there, {} if there else {f"faults[{scenario.faults.index(fault)}].breaks": []})


def _short_linger(scenario: Scenario, fault: faults.ProducerCrash) -> Iterator[Measure]:
    name = str(getattr(fault.producer, "producer", fault.producer))
    linger = producer_settings(scenario, name).linger_ns
    own = _own(scenario.producers[name].settings, "linger.ms", "queue.buffering.max.ms")
    there = linger <= 5 * MILLISECOND
    words = f"a shorter linger of {name} (it is {format_duration(linger)}), since what waits in the client dies with it"
    yield Measure(words, there, {} if there else {f"{_at('producers', name)}.settings['{own}']": 5})


# ---- words -----------------------------------------------------------------------------------------------------------


def _own(settings: Mapping[str, Any], *names: str) -> str:
    """Return the name under which a setting is given, the first one where it is not."""
    return next((name for name in names if name in settings), names[0])


def _at(section: str, name: str) -> str:
    return f"{section}['{name}']" if "." in name else f"{section}.{name}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value)


def _quoted(text: str) -> str:
    return f'"{text}"' if set(text) & set(" '[]{}") else text
