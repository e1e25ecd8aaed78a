"""Objectives of runs that were written before: their own, or those of an OpenSLO file; what each cost, and what a change buys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.errors import WrongInputError

if TYPE_CHECKING:
    from reports.slo_compare import Assessed, Bought
    from scenarios.schema import Objective


def assessed(folders: Sequence[Path], objectives: "Mapping[str, Objective] | None" = None) -> "list[Assessed]":
    """Open runs and judge their objectives; refuse runs that have none, or of which too little was kept."""
    from reports.slo import assess_objective
    from reports.slo_compare import Assessed
    from rundata.dataset import open_run

    found = []
    for folder in folders:
        run = open_run(folder)
        if not run.keeps_operations:
            raise WrongInputError(
                f"{folder}: keeps no operations, so its objectives cannot be judged; simulate it with --operations all"
            )
        wanted = run.data.plan.scenario.objectives if objectives is None else objectives
        if not wanted:
            raise WrongInputError(
                f"{folder}: its scenario has no objectives; add some under `objectives` and run it again, or name a file with --objectives"
            )
        _check_scopes(folder, run.data.plan.scenario, wanted)
        scenario = run.data.plan.scenario.model_copy(update={"objectives": dict(wanted)})
        data = run.data if objectives is None else _with_scenario(run.data, scenario)
        reports = {name: assess_objective(data, name, objective) for name, objective in wanted.items()}
        found.append(Assessed(str(folder), data, reports))
    return found


def _with_scenario(data: Any, scenario: Any) -> Any:
    from dataclasses import replace

    return replace(data, plan=replace(data.plan, scenario=scenario))


def _check_scopes(folder: Path, scenario: Any, wanted: "Mapping[str, Objective]") -> None:
    known = [*scenario.topics, *scenario.groups, *scenario.producers]
    for name, objective in wanted.items():
        if objective.of is not None and objective.of not in known:
            raise WrongInputError(
                f"{folder}: objective {name} is about {objective.of!r}; the run has {', '.join(known)}"
            )


def document(runs: "Sequence[Assessed]", bought: "Sequence[Bought]") -> dict[str, Any]:
    """Return what `slo --json` prints."""
    from reports.slo import objectives_json

    return {
        "runs": {one.name: objectives_json(one.reports) for one in runs},
        "bought": [
            {
                "variant": each.variant,
                "objective": each.objective,
                "spent_before": each.spent_before,
                "spent_after": each.spent_after,
                "bought": each.bought,
                "interval": each.interval,
                "pairs": each.pairs,
                "same_events": each.same_events,
            }
            for each in bought
        ],
    }
