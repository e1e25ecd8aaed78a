"""One variant of a scenario, simulated some times: what sweeps and searches hand to the processes that share out the work."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scenarios.files import LoadedScenario, load_text
from scenarios.profiles import Profile
from scenarios.schema import Scenario

if TYPE_CHECKING:
    from rundata.measurement import Measurement


@dataclass(frozen=True)
class Trial:
    """A scenario and the replications of it that are wanted; numbers are the same events and chance in every variant."""

    scenario: Scenario
    profile: Profile
    seed: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Shown:
    """What one replication showed."""

    measured: "Mapping[str, Measurement]"
    compliance: Mapping[str, float | None]
    """By objective."""
    spent: Mapping[str, float | None]
    """By objective: share of the period's budget."""


def show(trial: Trial) -> list[Shown]:
    """Simulate a trial's replications."""
    return [_show_one(trial, number) for number in trial.numbers]


def _show_one(trial: Trial, number: int) -> Shown:
    from reports.slo import assess
    from rundata.indicators import measure
    from scenarios.plan import make_plan
    from sim.engine import simulate

    run = simulate(make_plan(trial.scenario, trial.seed, number), trial.profile, chance=number)
    reports = assess(run)
    return Shown(
        measure(run),
        {name: report.compliance for name, report in reports.items()},
        {name: report.spent for name, report in reports.items()},
    )


def variant(loaded: LoadedScenario, changes: Mapping[str, Any]) -> LoadedScenario:
    """Return a scenario with some fields changed, valid as a whole; raise ScenarioError that names the field and the value."""
    settings = [f"{field}={json.dumps(value, default=str)}" for field, value in changes.items()]  # JSON is YAML
    return load_text(loaded.text, loaded.source, [*settings, *(["sweep={}"] if loaded.scenario.sweep else [])])


def measured_of(shown: Sequence[Shown]) -> "list[Mapping[str, Measurement]]":
    """Return the indicators of each replication."""
    return [one.measured for one in shown]
