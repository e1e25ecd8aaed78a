"""The clients with which members send what they emit: one for each member and each of its group's `emits`."""

from dataclasses import dataclass

from scenarios.clients import ProducerSettings, settings_of_emits
from scenarios.schema import Scenario


@dataclass(frozen=True)
class Emitter:
    """A client of a member; its code comes after those of all processes."""

    code: int
    member: int
    """The member's code."""
    name: str
    group: str
    emit: int
    """Index into the group's `emits`."""
    topic: str
    settings: ProducerSettings


def emitters(scenario: Scenario) -> tuple[Emitter, ...]:
    """Return every emitting client, members in order and their emits in order."""
    found: list[Emitter] = []
    member = sum(producer.count for producer in scenario.producers.values())
    first = member + sum(group.members for group in scenario.groups.values())
    for name, group in scenario.groups.items():
        for number in range(1, group.members + 1):
            for emit, what in enumerate(group.emits):
                settings = settings_of_emits(scenario, name, emit)
                text = f"{name}/{number} emits {emit}"
                found.append(Emitter(first + len(found), member, text, name, emit, what.topic, settings))
            member += 1
    return tuple(found)
