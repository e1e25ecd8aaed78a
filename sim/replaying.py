"""Who replays what lies in the log: one process for each such action of a scenario."""

from dataclasses import dataclass

from rundata.tables import most_members
from scenarios.actions import Replay
from scenarios.schema import Scenario


@dataclass(frozen=True)
class Replaying:
    """Who replays for an action; it reads as a member does, and has a code behind those of all members."""

    code: int
    name: str
    group: str
    number: int
    """Index of the action in the scenario."""


def replaying(scenario: Scenario) -> tuple[Replaying, ...]:
    """Return who replays, in the order of the scenario's actions."""
    first = sum(producer.count for producer in scenario.producers.values())
    first += sum(most_members(scenario, name) for name in scenario.groups)
    found: list[Replaying] = []
    for number, action in enumerate(scenario.actions):
        if isinstance(action, Replay):
            found.append(
                Replaying(first + len(found), f"{action.group}/replay of action {number}", action.group, number)
            )
    return tuple(found)
