"""Clients that send what is no producer's: those of members (one for each of a group's `emits`), outbox relays, and redrives of dead letters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from rundata.tables import most_members
from scenarios.actions import Redrive
from scenarios.clients import ProducerSettings, Value, sending_settings_of, settings_of_emits
from scenarios.schema import Scenario
from sim.replaying import replaying

REDRIVES: Mapping[str, Value] = {"acks": "all", "enable.idempotence": True, "linger.ms": 5}
"""Settings with which dead letters are sent once more."""


@dataclass(frozen=True)
class Emitter:
    """A client; its code comes after those of all processes, and of all who replay."""

    code: int
    entity: int
    """The code of the process that it belongs to: a member's, or its own."""
    name: str
    kind: Literal["member", "relay", "redrive"]
    group: str
    """Whose `emits` it sends; empty for a redrive."""
    number: int
    """Index into the group's `emits`, or of the action in the scenario."""
    topic: str
    settings: ProducerSettings
    is_java: bool = False


def emitters(scenario: Scenario) -> tuple[Emitter, ...]:
    """Return every such client: members' in the order of members and their emits, then relays, then redrives by their topics."""
    member = sum(producer.count for producer in scenario.producers.values())
    first = member + sum(most_members(scenario, name) for name in scenario.groups) + len(replaying(scenario))
    found: list[Emitter] = []
    for name, group in scenario.groups.items():
        is_java = group.client == "java"
        for number in range(1, most_members(scenario, name) + 1):
            for emit, what in enumerate(group.emits):
                settings, text = settings_of_emits(scenario, name, emit), f"{name}/{number} emits {emit}"
                code = first + len(found)
                found.append(Emitter(code, member, text, "member", name, emit, what.topic, settings, is_java))
            member += 1
    for name, group in scenario.groups.items():
        for emit, what in enumerate(group.emits):
            if what.outbox is not None:
                settings, code = settings_of_emits(scenario, name, emit), first + len(found)
                text, is_java = f"{name} relays {emit}", group.client == "java"
                found.append(Emitter(code, code, text, "relay", name, emit, what.topic, settings, is_java))
    for number, topic in redriven_to(scenario):
        code, settings = first + len(found), sending_settings_of(REDRIVES)
        found.append(Emitter(code, code, f"action {number} to {topic}", "redrive", "", number, topic, settings))
    return tuple(found)


def redriven_to(scenario: Scenario) -> Iterator[tuple[int, str]]:
    """Yield each action that redrives, with each topic to which it may send: one that is named, or where dead letters came from."""
    for number, action in enumerate(scenario.actions):
        if not isinstance(action, Redrive):
            continue
        if action.to is not None:
            yield number, action.to
            continue
        filled = [group for group in scenario.groups.values() if group.topic_of_dead_letters == action.from_]
        yield from ((number, topic) for topic in dict.fromkeys(topic for group in filled for topic in group.topics))
