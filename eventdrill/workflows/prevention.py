"""What would have prevented it, measured: each measure that a scenario lacks, simulated with the same events and the same chance."""

import math
import os
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from eventdrill.workflows.simulate import Jobs, prepare
from eventdrill.workflows.sources import Source, loaded
from eventdrill.workflows.telling import SILENT, Telling
from eventdrill.workflows.trials import Shown, Trial, show, variant
from scenarios.errors import ScenarioError
from scenarios.files import LoadedScenario
from scenarios.profiles import Profile
from scenarios.schema import Scenario

if TYPE_CHECKING:
    from pathlib import Path

    from reports.prevention import Measure, Prevented

RUNS = 3
"""Runs of the scenario as it is, and with each measure; pairs of them have the same events and the same chance."""
COUNTED = ("lost", "refused", "expired", "passed", "pending", "duplicate_effects", "inversions", "dead_lettered")
"""What a measure may prevent beside late events."""


def what_if(
    scenario: Source,
    *,
    seed: int | None = None,
    profile: "Profile | str | Path | None" = None,
    jobs: Jobs = None,
    telling: Telling = SILENT,
) -> "list[Prevented]":
    """Return what each measure that the scenario lacks buys; none where it lacks none that a field puts there."""
    from reports.prevention import Prevented, lacking
    from sim.crew import Crew

    found = loaded(scenario)
    wanted = lacking(found.scenario)
    if not wanted:
        return []
    work = prepare(found, seed=seed, profile=profile)
    changed = [_changed(found, each) for each in wanted]
    scenarios = [work.loaded.scenario, *(each for each in changed if isinstance(each, Scenario))]
    pieces = [Trial(each, work.profile, work.plan.seed, (number,)) for each in scenarios for number in range(RUNS)]
    shown: list[Shown] = []
    with (
        telling.bar("simulated runs", len(pieces)) as update,
        Crew(jobs or os.cpu_count() or 1) as crew,
        closing(crew.each(show, pieces)) as parts,
    ):
        for part in parts:
            shown += part
            update(len(shown))
    by_scenario = iter([shown[first : first + RUNS] for first in range(0, len(shown), RUNS)])
    base = next(by_scenario)
    return [
        Prevented(each, {}, {}, 0, found) if isinstance(found, str) else compared(each, base, next(by_scenario))
        for each, found in zip(wanted, changed, strict=True)
    ]


def _changed(loaded: LoadedScenario, measure: "Measure") -> Scenario | str:
    """Return the scenario with a measure, or why it cannot be simulated with it."""
    from sim.refuse import cannot

    try:
        found = variant(loaded, {**measure.change, "expect": [], "agreement": {}}).scenario
    except ScenarioError as error:
        return error.problems[0].message
    return next(iter(cannot(found)), found)


def compared(measure: "Measure", before: Sequence[Shown], after: Sequence[Shown]) -> "Prevented":
    """Return what a measure buys, from runs without and with it."""
    from reports.prevention import Prevented

    spent = {
        name: pair
        for name in before[0].spent
        if (pair := _means([one.spent.get(name) for one in before], [one.spent.get(name) for one in after])) is not None
    }
    counts = {}
    for name in COUNTED:
        pair = _means(_values(name, before), _values(name, after))
        if pair is not None and pair[0] != pair[1]:
            counts[name] = pair
    return Prevented(measure, spent, counts, len(before))


def _values(name: str, shown: Sequence[Shown]) -> list[float | None]:
    return [one.measured[name].value if name in one.measured else None for one in shown]


def _means(before: Sequence[float | None], after: Sequence[float | None]) -> tuple[float, float] | None:
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    if not pairs or not all(math.isfinite(a) and math.isfinite(b) for a, b in pairs):
        return None
    return sum(a for a, _ in pairs) / len(pairs), sum(b for _, b in pairs) / len(pairs)
