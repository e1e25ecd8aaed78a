"""What people hand in as a scenario, in Python or on the command line, as one thing."""

from collections.abc import Sequence
from pathlib import Path

from scenarios.faults import Hook
from scenarios.files import LoadedScenario, load_scenario, load_text, scenario_text
from scenarios.schema import Scenario

Source = str | Path | Scenario | LoadedScenario
"""A file, a shipped scenario's name, or a scenario made in Python."""


def loaded(source: Source, settings: Sequence[str] = ()) -> LoadedScenario:
    """Return a valid scenario with its text, the settings (`groups.fulfilment.members=6`) put in."""
    match source:
        case LoadedScenario():
            return load_text(source.text, source.source, settings) if settings else source
        case Scenario():
            return load_text(scenario_text(source), source.scenario, settings)
        case _:
            return load_scenario(source, settings)


def as_predicted(found: LoadedScenario) -> LoadedScenario:
    """Return a scenario as engines that run no commands know it: hooks that say what they are like are those faults, under their own names."""
    faults = found.scenario.faults
    if not any(isinstance(each, Hook) and each.predicted for each in faults):
        return found
    known = tuple((each.predicted if isinstance(each, Hook) else None) or each for each in faults)
    return load_text(scenario_text(found.scenario.model_copy(update={"faults": known})), found.source)
