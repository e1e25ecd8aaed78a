"""Checks of how events flow: emitted events, retry topics, dependencies, and fields of a group that contradict each other."""

from collections.abc import Iterator

from scenarios.errors import Path
from scenarios.finding import Finding, unknown
from scenarios.retries import retry_topic
from scenarios.schema import Group, Producer, Scenario

_MOST_PLACES = 10_000


def flow_findings(scenario: Scenario) -> Iterator[Finding]:
    """Yield what does not fit about what flows between groups and topics."""
    for name, producer in scenario.producers.items():
        yield from _payload(("producers", name), producer)
    for name, group in scenario.groups.items():
        place: Path = ("groups", name)
        yield from _contradictions(place, group)
        for index, call in enumerate(group.calls):
            at = (*place, "calls", index, "dependency")
            yield from unknown("dependency", call.dependency, scenario.dependencies, at)
        for index, emits in enumerate(group.emits):
            yield from unknown("topic", emits.topic, scenario.topics, (*place, "emits", index, "topic"))
    yield from _retry_topics(scenario)
    yield from _storms(scenario)


def _payload(place: Path, producer: Producer) -> Iterator[Finding]:
    if producer.payload is None:
        return
    if "size" in producer.model_fields_set:
        yield Finding(
            (*place, "size"), "is given beside `payload`, whose values have a size of their own; remove one of them"
        )
    if producer.external:
        message = "is given beside `external: true`, and your own program sends values of its own; remove one of them"
        yield Finding((*place, "payload"), message, ((*place, "external"),))


def _contradictions(place: Path, group: Group) -> Iterator[Finding]:
    given = group.model_fields_set
    if "in_hand" in given and group.in_hand < group.workers:
        message = f"is {group.in_hand}, fewer than the {group.workers} workers, so some would never have anything to do; raise it"
        yield Finding((*place, "in_hand"), message, ((*place, "workers"),))
    if group.effects is not None and not group.external:
        yield Finding(
            (*place, "effects"), "is where the user's own program tells its effects; add `external: true`, or remove it"
        )
    if group.share_group:
        yield from _share_group(place, group)
    yield from _release(place, group)
    retry = group.failures.retry if group.failures else None
    if retry is not None and retry.where == "topic" and retry.attempts == 1:
        message = "is 'topic', and there is one try only, so nothing is ever tried again; raise `attempts`"
        yield Finding((*place, "failures", "retry", "where"), message, ((*place, "failures", "retry", "attempts"),))
    scaler = group.autoscaler
    if scaler is not None and not scaler.min <= group.members <= scaler.max:
        message = f"is {group.members}, and the autoscaler keeps {scaler.min} to {scaler.max}; begin with one of these"
        yield Finding((*place, "members"), message, ((*place, "autoscaler"),))


def _release(place: Path, group: Group) -> Iterator[Finding]:
    """Only what a share group has acquired can be given back."""
    if group.failures is not None and group.failures.then == "release" and not group.share_group:
        message = "is 'release', which gives an event back to a share group; write `share_group: true`, or dead_letter, skip or stop"
        yield Finding((*place, "failures", "then"), message, ((*place, "share_group"),))


def _share_group(place: Path, group: Group) -> Iterator[Finding]:
    """A share group acknowledges each event by itself, so there are no offsets to commit and no order to keep."""
    if "commit" in group.model_fields_set and group.commit not in ("after_event", "after_batch"):
        message = (
            "does not go with `share_group: true`, whose members acknowledge events; it is after_event or after_batch"
        )
        yield Finding((*place, "commit"), message, ((*place, "share_group"),))
    if "ordered_by" in group.model_fields_set and group.ordered_by != "none":
        message = f"is {group.ordered_by!r}, and a share group keeps no order; write `ordered_by: none`"
        yield Finding((*place, "ordered_by"), message, ((*place, "share_group"),))
    if str(group.settings.get("group.protocol", "")).lower() == "classic":
        message = "is classic beside `share_group: true`; remove it"
        yield Finding((*place, "settings", "group.protocol"), message, ((*place, "share_group"),))


def _retry_topics(scenario: Scenario) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    for name, group in scenario.groups.items():
        retry = group.failures.retry if group.failures else None
        if retry is None or retry.where != "topic":
            continue
        at: Path = ("groups", name, "failures", "retry", "where")
        for topic in group.topics:
            own = [retry_topic(topic, copy) for copy in range(1, min(retry.attempts, 1001))]
            taken = next((each for each in own if each in scenario.topics), None)
            if taken is not None:
                message = f"makes a topic {taken!r} of its own, and the file has one of that name; rename it"
                yield Finding(at, message, (("topics", "*"),))
            other = next((owners[each] for each in own if each in owners), None)
            if other is not None:
                message = f"makes the topic {own[0]!r}, and so does group {other}, which would try the events of both; use in_place in one of them"
                yield Finding(at, message, (("groups", other, "failures"), ("groups", other, "topics")))
            owners |= dict.fromkeys(own, name)
        if retry.attempts > 101:
            message = (
                f"is {retry.attempts}, and each try but the first has a topic of its own; at most 101, or use in_place"
            )
            yield Finding((*at[:-1], "attempts"), message, (at,))


def _storms(scenario: Scenario) -> Iterator[Finding]:
    """A circle of emitted events is fine as long as less comes round than went in."""
    for name, group in scenario.groups.items():
        for index, emits in enumerate(group.emits):
            if emits.hops is not None:
                continue
            factor = _comes_back(scenario, emits.topic, name, index)
            if factor >= 1:
                message = (
                    f"closes a circle: what {name} emits to {emits.topic} makes {name} emit {factor:.3g} times as much again, "
                    "without end; add `hops: 3`, a smaller `share`, or another topic"
                )
                yield Finding(("groups", name, "emits", index), message, (("groups",),))
    places = sum(emits.per_event for group in scenario.groups.values() for emits in group.emits)
    if places > _MOST_PLACES:
        yield Finding(
            ("groups",), f"emit up to {places:,} events for one; lower `per_event` to {_MOST_PLACES:,} in all"
        )


def _comes_back(scenario: Scenario, topic: str, group: str, emit: int) -> float:
    """Return how many times an emit happens again because of one event that it sent to its topic, along circles through it."""
    total, reached = 0.0, {topic: 1.0}
    what = scenario.groups[group].emits[emit]
    for _ in range(len(scenario.topics) + 1):
        following = dict[str, float]()
        for at, amount in reached.items():
            for name, other in scenario.groups.items():
                if at not in other.topics:
                    continue
                for index, emits in enumerate(other.emits):
                    each = amount * emits.per_event * emits.share
                    if (name, index) == (group, emit):
                        total += each
                    elif emits.hops is None:
                        following[emits.topic] = min(following.get(emits.topic, 0.0) + each, 1e9)
        reached = following
    return total if what.share else 0.0
