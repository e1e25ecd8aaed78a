"""The versions in which groups run: the first one of each, and then those that actions deploy, in the order of the file."""

from scenarios.actions import Deploy
from scenarios.schema import Scenario


def versions(scenario: Scenario) -> tuple[tuple[str, Deploy | None], ...]:
    """Return every version with its group; a version's code is its index, that of a group's first one the group's own."""
    deployed = [(action.group, action) for action in scenario.actions if isinstance(action, Deploy)]
    return (*((name, None) for name in scenario.groups), *deployed)
