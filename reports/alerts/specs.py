"""Objectives as Sloth and Pyrra specs, for those who let these tools make the rules; queries are those of the objective counters."""

from typing import Any

from reports.alerts.burn import bad_share
from reports.slo import objective_text
from scenarios.quantities import DAY
from scenarios.schema import Objective, Scenario
from scenarios.yaml_text import write_yaml

_PERCENT_DIGITS = 10


def sloth_text(scenario: Scenario) -> str:
    """Return a Sloth spec (`sloth generate` makes rules of it)."""
    document: dict[str, Any] = {
        "version": "prometheus/v1",
        "service": scenario.scenario,
        "labels": {"owner": scenario.owner} if scenario.owner else {},
        "slos": [_sloth(scenario, name, objective) for name, objective in scenario.objectives.items()],
    }
    return write_yaml({key: value for key, value in document.items() if value})


def _sloth(scenario: Scenario, name: str, objective: Objective) -> dict[str, Any]:
    links = {"runbook": scenario.runbook} if scenario.runbook else {}
    alerting: dict[str, Any] = {
        "name": "ErrorBudgetBurn",
        "labels": {"objective": name},
        "page_alert": {"labels": {"severity": "page"}},
        "ticket_alert": {"labels": {"severity": "ticket"}},
    }
    if links:
        alerting["annotations"] = links
    # Sloth fills its windows in where its template says so.
    query = bad_share(name, 1000).replace("[1s]", "[{{.window}}]")
    return {
        "name": name,
        "objective": float(f"{objective.target * 100:.{_PERCENT_DIGITS}g}"),
        "description": objective_text(objective),
        "sli": {"raw": {"error_ratio_query": query}},
        "alerting": alerting,
    }


def pyrra_text(scenario: Scenario) -> str:
    """Return ServiceLevelObjectives of Pyrra, a document for each."""
    return "---\n".join(write_yaml(_pyrra(name, objective)) for name, objective in scenario.objectives.items())


def _pyrra(name: str, objective: Objective) -> dict[str, Any]:
    def metric(which: str) -> dict[str, str]:
        return {"metric": f'{which}{{objective="{name}"}}'}

    return {
        "apiVersion": "pyrra.dev/v1alpha1",
        "kind": "ServiceLevelObjective",
        "metadata": {"name": name, "labels": {"prometheus": "k8s", "role": "alert-rules"}},
        "spec": {
            "target": f"{objective.target * 100:.{_PERCENT_DIGITS}g}",
            "window": f"{objective.period / DAY:g}d",
            "description": objective_text(objective),
            "indicator": {
                "ratio": {"errors": metric("objective_bad_events_total"), "total": metric("objective_events_total")}
            },
        },
    }
