"""What cannot be asked of the user's own programs (`external: true`), said before anything starts."""

from collections.abc import Iterator

from scenarios.following import MOST_PARTITIONS, most_emissions
from scenarios.following import MOST_TOPICS as MOST_CHAINED_TOPICS
from scenarios.outside import MOST_TOPICS, outside_topics
from scenarios.plan import Plan
from scenarios.retries import most_partitions
from scenarios.schema import Group, Producer, Scenario
from scenarios.targets import MemberTarget, ProducerTarget


def own_programs(scenario: Scenario) -> Iterator[str]:
    """Yield what a scenario asks of the user's own programs that EventDrill has no hold of."""
    owners: list[tuple[str, Producer | Group]] = [*scenario.producers.items(), *scenario.groups.items()]
    own = {name for name, each in owners if each.external}
    if not own:
        return
    yield from _happenings(scenario, own)
    yield from _producers(scenario)
    yield from _chains(scenario)
    for name, group in scenario.groups.items():
        yield from _group(scenario, name, group)


def _happenings(scenario: Scenario, own: set[str]) -> Iterator[str]:
    for what, happenings in (("faults", scenario.faults), ("actions", scenario.actions)):
        for index, each in enumerate(happenings):
            if each.kind == "replay":
                continue  # refused together with other groups that it cannot be of
            met = [
                name for field in ("producer", "group", "member") if (name := _owner(getattr(each, field, None))) in own
            ]
            if met:
                yield (
                    f"{what}[{index}] is {each.kind} of {met[0]}, which is your own program, so EventDrill has no hold of it: hurt brokers, links "
                    "and topics instead, or let a command of yours do it (fault hook)"
                )


def _owner(target: object) -> str | None:
    match target:
        case ProducerTarget():
            return target.producer
        case MemberTarget():
            return target.group
        case str():
            return target
        case _:
            return None


def _producers(scenario: Scenario) -> Iterator[str]:
    topics = outside_topics(scenario)
    for name, producer in scenario.producers.items():
        if not producer.external:
            if producer.topic in topics:
                yield _mixed(producer.topic, topics[producer.topic], f"producers.{name}")
            continue
        if topics[producer.topic] != name:
            yield _mixed(producer.topic, topics[producer.topic], f"producers.{name}")
        if producer.poison:
            yield (
                f"producers.{name}.poison is {producer.poison:.4g}, and {name} is your own program, which sends what it sends; leave it out "
                f"(--set producers.{name}.poison=0%)"
            )
        if list(scenario.topics).index(producer.topic) >= MOST_TOPICS:
            yield f"producers.{name}.topic is {producer.topic}, which stands behind {MOST_TOPICS} others: move it up in `topics`"


def _mixed(topic: str, program: str, other: str) -> str:
    return (
        f"topics.{topic} is written by {program}, your own program, and by {other}; whose an event is can be told by its topic only: give one of "
        "them a topic of its own"
    )


def _chains(scenario: Scenario) -> Iterator[str]:
    """Yield why what follows from events of own programs would get no ids."""
    topics = outside_topics(scenario)
    if not any(group.emits and topics.keys() & set(group.topics) for group in scenario.groups.values()):
        return
    if len(topics) > MOST_CHAINED_TOPICS:
        yield (
            f"producers hold {len(topics)} programs of your own beside groups that emit, whose ids have room for {MOST_CHAINED_TOPICS}; leave some out"
        )
    for topic, name in topics.items():
        if (count := most_partitions(scenario, topic)) > MOST_PARTITIONS:
            yield (
                f"topics.{topic}.partitions is {count}, and {name}, which writes there, is your own program, whose events groups answer with others: "
                f"their ids have room for {MOST_PARTITIONS} partitions"
            )
    most = most_emissions(sum(emits.per_event for group in scenario.groups.values() for emits in group.emits))
    if _emit_after(scenario, most):
        yield (
            f"groups emit more than {most} times in a row what follows from an event of {next(iter(topics.values()))}, which is your own program, and "
            f"ids have no room for that: give `hops: {most}`, or lower `per_event`"
        )


def _emit_after(scenario: Scenario, emissions: int) -> bool:
    """Whether events of own programs can be followed by more emissions in a row than so many."""
    reached = set(outside_topics(scenario))
    for hops in range(emissions + 1):
        reached = {
            emits.topic
            for group in scenario.groups.values()
            if reached & set(group.topics)
            for emits in group.emits
            if emits.hops is None or hops < emits.hops
        }
    return bool(reached)


def _group(scenario: Scenario, name: str, group: Group) -> Iterator[str]:
    topics, place = outside_topics(scenario), f"groups.{name}"
    theirs = [topic for topic in group.topics if topic in topics]
    if group.external and group.autoscaler is not None:
        yield f"{place}.autoscaler is given, and {name} is your own program, whose processes EventDrill does not start: leave one of the two out"
    for index, emits in enumerate(group.emits):
        if group.external:
            yield (
                f"{place}.emits[{index}] is what your own program sends, which EventDrill does not see there: declare it as a producer with "
                f"`external: true` of topic {emits.topic}"
            )
        if emits.topic in topics:
            yield _mixed(emits.topic, topics[emits.topic], f"{place}.emits[{index}]")
    if group.topic_of_dead_letters in topics:
        yield _mixed(
            str(group.topic_of_dead_letters), topics[str(group.topic_of_dead_letters)], f"{place}.failures.dead_letter"
        )
    if theirs and group.external and len(theirs) < len(group.topics):
        ours = next(topic for topic in group.topics if topic not in topics)
        yield (
            f"{place}.topics holds {theirs[0]}, which {topics[theirs[0]]} writes, and {ours}, which EventDrill does; a number in its effects could "
            "mean an event of either: make it two groups"
        )


def undeclared(plan: Plan) -> Iterator[str]:
    """Yield programs of the user's of which not a single event is declared, so that nothing says how one is handled."""
    for number, (name, producer) in enumerate(plan.scenario.producers.items()):
        if producer.external and not (plan.producer == number).any():
            yield f"producers.{name}.arrivals make no event at all; give the rate that your program has, about"
