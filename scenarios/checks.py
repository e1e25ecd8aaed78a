"""Checks across a scenario's parts: names that exist, numbers that fit each other, times inside the run."""

from collections.abc import Iterator, Mapping, Sequence

from scenarios.check_flow import flow_findings
from scenarios.check_happenings import happening_findings
from scenarios.clients import as_int, topic_setting
from scenarios.errors import Path, and_list, nearest, part_of
from scenarios.expectations import BEFORE_FAULTS, INDICATORS, IndicatorName, parse_indicator
from scenarios.finding import Finding, unknown
from scenarios.load import expected_events_of
from scenarios.quantities import format_duration
from scenarios.retries import most_partitions
from scenarios.schema import Producer, Scenario
from scenarios.settings import setting_findings

MOST_EVENTS = 10**12


def findings(scenario: Scenario) -> Iterator[Finding]:
    """Yield everything that does not fit together in a scenario whose parts are each valid."""
    yield from _names(scenario)
    yield from _topics(scenario)
    yield from _times(scenario)
    for name, producer in scenario.producers.items():
        yield from _producer(scenario, name, producer)
    for name in scenario.groups:
        yield from _group(scenario, name)
    yield from flow_findings(scenario)
    yield from happening_findings(scenario)
    yield from _statements(scenario)
    yield from setting_findings_of(scenario)


def setting_findings_of(scenario: Scenario) -> Iterator[Finding]:
    """Yield what brokers, topics and clients would refuse of their settings, and what contradicts a field."""
    for path, message in setting_findings(scenario):
        yield Finding(path, message)


def _names(scenario: Scenario) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    kinds: tuple[tuple[str, str, Mapping[str, object]], ...] = (
        ("topics", "topic", scenario.topics),
        ("producers", "producer", scenario.producers),
        ("groups", "group", scenario.groups),
        ("dependencies", "dependency", scenario.dependencies),
    )
    for section, kind, names in kinds:
        for name in names:
            if name in seen:
                message = f"has the name of a {seen[name]}; topics, producers, groups and dependencies share one name space, so rename one"
                yield Finding((section, name), message)
            seen.setdefault(name, kind)
    for section, what in (("topics", "topic"), ("producers", "producer")):
        if not getattr(scenario, section):
            yield Finding((section,), f"is empty; a scenario has at least one {what}")


def _topics(scenario: Scenario) -> Iterator[Finding]:
    nodes, racks = scenario.brokers.nodes, scenario.brokers.racks
    if racks and len(racks) != nodes:
        message = f"names {len(racks)} racks for {nodes} nodes; name the rack of each node, or leave racks out"
        yield Finding(("brokers", "racks"), message, (("brokers", "nodes"),))
    for name, topic in scenario.topics.items():
        place: Path = ("topics", name)
        replication = scenario.replication_of(name)
        if replication > nodes:
            message = (
                f"is {replication}, and there are {nodes} nodes; a replica needs a broker of its own: at most {nodes}"
            )
            yield Finding((*place, "replication"), message, (("brokers", "nodes"),))
        try:
            least = as_int(topic_setting(scenario, name, "min.insync.replicas"))
        except ValueError:
            continue  # said by the settings' own check
        if least > replication:
            own = "min.insync.replicas" in topic.settings
            at: Path = (
                (*place, "settings", "min.insync.replicas") if own else ("brokers", "settings", "min.insync.replicas")
            )
            message = f"is {least}, and topic {name} has {replication} replicas; acks=all could never be given: at most {replication}"
            yield Finding(at, message, ((*place, "replication"), ("brokers", "nodes")))


def _times(scenario: Scenario) -> Iterator[Finding]:
    if scenario.warm_up >= scenario.duration:
        message = (
            f"is {format_duration(scenario.warm_up)} of {format_duration(scenario.duration)}, which leaves nothing to measure; "
            "it is shorter than the duration"
        )
        yield Finding(("warm_up",), message, (("duration",),))


# ---- producers and groups -------------------------------------------------------------------------------------------


def _producer(scenario: Scenario, name: str, producer: Producer) -> Iterator[Finding]:
    place: Path = ("producers", name)
    yield from unknown("topic", producer.topic, scenario.topics, (*place, "topic"))
    arrivals = (*place, "arrivals")
    parts = producer.rated(scenario.duration)
    missing = [index for index, part in enumerate(parts) if part.for_ns is None]
    alone = producer.recorded is not None or producer.daily is not None
    if alone or len(parts) < len(producer.arrivals):
        yield from _recorded(place, producer)
    elif len(parts) > 1 and missing:
        for index in missing:
            yield Finding((*arrivals, index), "has no `for`; each part of a list says how long it lasts")
    elif not missing:
        total = sum(part.for_ns or 0 for part in parts)
        difference = total - scenario.duration
        if difference:
            side = "longer" if difference > 0 else "shorter"
            message = (
                f"adds up to {format_duration(total)}, which is {format_duration(abs(difference))} {side} than the duration "
                f"of {format_duration(scenario.duration)}; change a part's `for`, or the duration"
            )
            yield Finding(arrivals, message, (("duration",),))
    events = expected_events_of(scenario, name)
    if events > MOST_EVENTS:
        message = (
            f"makes about {events:.3g} events; a run has at most {MOST_EVENTS:,}, so lower the rate or the duration"
        )
        yield Finding(arrivals, message, (("duration",),))
    if producer.count > 1 and not producer.keyed and "share" in producer.model_fields_set and producer.share == "keys":
        yield Finding(
            (*place, "share"), "is 'keys', and the events have no keys; write `share: arrivals`, or give a `key`"
        )


def _recorded(place: Path, producer: Producer) -> Iterator[Finding]:
    if len(producer.arrivals) > 1:
        message = (
            "mixes a recording or a day with other parts; each stands alone: arrivals: {trace: orders.parquet}, or "
            "arrivals: {daily: [{for: 12h, rate: 300/s}, {for: 12h, rate: 900/s}]}"
        )
        yield Finding((*place, "arrivals"), message)
        return
    if producer.daily is not None:
        return
    recorded = producer.recorded
    assert recorded is not None
    for field in ("key", "size"):
        if getattr(recorded, field) is not None and field in producer.model_fields_set:
            message = f"is given beside the recording's own column {getattr(recorded, field)!r}; remove one of them"
            yield Finding((*place, field), message, ((*place, "arrivals"),))


def _group(scenario: Scenario, name: str) -> Iterator[Finding]:
    group = scenario.groups[name]
    place: Path = ("groups", name)
    for index, topic in enumerate(group.topics):
        yield from unknown("topic", topic, scenario.topics, (*place, "topics", index))
        if topic in group.topics[:index]:
            yield Finding((*place, "topics", index), f"is {topic!r} again; name each topic once")
    dead_letters = group.topic_of_dead_letters
    if dead_letters is not None:
        at = (*place, "failures", "dead_letter")
        yield from unknown("topic", dead_letters, scenario.topics, at)
        if dead_letters in group.topics:
            message = f"is {dead_letters!r}, which the group itself reads: its dead letters would come back for ever; use another topic"
            yield Finding(at, message, ((*place, "topics"),))


# ---- what refers to indicators --------------------------------------------------------------------------------------


def _statements(scenario: Scenario) -> Iterator[Finding]:
    for index, expectation in enumerate(scenario.expect):
        place: Path = ("expect", index)
        yield from _indicator(scenario, place, expectation.indicator, f"is {expectation.text!r}")
        if expectation.indicator.statistic == "windows":
            yield Finding(place, f"is {expectation.text!r}; a series of windows is no number to compare with")
    for text in scenario.agreement:
        place = ("agreement", text)
        try:
            name = parse_indicator(text)
        except ValueError as error:
            yield Finding(place, str(error))
            continue
        yield from _indicator(scenario, place, name, "names an indicator")
    for name_of, objective in scenario.objectives.items():
        if objective.of is not None:
            name = IndicatorName(objective.indicator, objective.of, None, "")
            yield from _indicator(scenario, ("objectives", name_of, "of"), name, f"is {objective.of!r}")


def _indicator(scenario: Scenario, path: Path, name: IndicatorName, said: str) -> Iterator[Finding]:
    if name.where is not None:
        yield from _where(scenario, path, name, said)
    if name.narrowed is None or name.narrowed == BEFORE_FAULTS:
        return
    labels = [fault.label for fault in scenario.faults]
    if name.narrowed not in labels:
        known = list(dict.fromkeys([*labels, BEFORE_FAULTS]))
        message = f"{said}, and no fault is called {name.narrowed!r}{nearest(name.narrowed, known)}"
        yield Finding(path, message, (("faults",),))
    elif labels.count(name.narrowed) > 1:
        message = f"{said}, and {labels.count(name.narrowed)} faults are called {name.narrowed!r}; give each a `name`"
        yield Finding(path, message, (("faults",),))


def _where(scenario: Scenario, path: Path, name: IndicatorName, said: str) -> Iterator[Finding]:
    assert name.where is not None
    scopes = INDICATORS[name.kind].scopes
    kinds: Mapping[str, Mapping[str, object]] = {
        "topic": scenario.topics, "producer": scenario.producers, "group": scenario.groups
    }  # fmt: skip
    reads: tuple[Path, ...] = (("topics", "*"), ("producers", "*"), ("groups", "*"))
    found = next((kind for kind, names in kinds.items() if name.where in names), None)
    if found is not None:
        if found not in scopes:
            message = f"{said}, and {name.where} is a {found}; {name.kind} is measured by {and_list(scopes, 'or')}"
            yield Finding(path, message, reads)
        return
    topic, slash, partition = name.where.rpartition("/")
    if slash and topic in scenario.topics:
        partitions = most_partitions(scenario, topic)
        if "partition" not in scopes:
            message = f"{said}, and {name.kind} is measured by {and_list(scopes, 'or')}, not by partition"
            yield Finding(path, message, reads)
        elif not partition.isascii() or not partition.isdigit() or int(partition[:9]) >= partitions:
            message = f"{said}, and {topic} has the partitions 0 to {partitions - 1}"
            yield Finding(path, message, (("topics", topic, "partitions"), ("faults", "*")))
        return
    known = [known for kind, names in kinds.items() if kind in scopes for known in names]
    yield Finding(
        path,
        f"{said}, and there is no {and_list([s for s in scopes if s != 'partition'], 'or')} {name.where!r}{nearest(name.where, known)}",
        reads,
    )


# ---- with parts that are broken -------------------------------------------------------------------------------------


def apart_from(found: Sequence[Finding], broken: Sequence[Path], value: object) -> list[Finding]:
    """Leave out findings that were concluded from places already known to be broken, or from defaults that a misspelt field hides."""
    return [
        finding
        for finding in found
        if not any(_overlap(read, place) for read in (finding.path, *finding.reads) for place in broken)
        and not any(_hidden(read, place, value) for read in finding.reads for place in broken)
    ]


def _overlap(one: Path, other: Path) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))


def _hidden(read: Path, broken: Path, value: object) -> bool:
    return read[:-1] == broken[:-1] and read[-1] != "*" and not _present(read, value)


def _present(path: Path, value: object) -> bool:
    for part in path:
        value = part_of(value, part)
    return value is not None
