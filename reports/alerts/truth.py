"""What was really wrong in a run: each fault with its aftermath, and how much it mattered, which is what it cost in error budget."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reports.alerts.series import AlertError
from reports.disturbers import disturbers
from reports.slo import assess, drained_ns, fault_labels
from rundata.rows import NEVER
from rundata.tables import RunData

Worth = Literal["page", "ticket", "harmless"]
PAGE_FROM = 0.02
"""A trouble that spends at least this share of an objective's budget was worth a page: the share of the usual fast rule."""
MILLISECOND_NS = 1_000_000


@dataclass(frozen=True)
class Trouble:
    """One thing that was wrong: from its begin until what it had piled up was worked off."""

    label: str
    begin_ms: int
    end_ms: int
    worth: Worth
    spent: float
    """The largest share of an objective's budget that it spent."""
    objective: str = ""
    costs: tuple[tuple[str, float], ...] = ()
    """By objective, what it spent of its budget."""

    def about(self, objective: str, page_from: float) -> "Trouble":
        """Return the same trouble as one objective sees it; what costs only others is still worth a ticket."""
        spent = dict(self.costs).get(objective, 0.0)
        worth = _worth(spent, page_from) if spent or self.worth == "harmless" else "ticket"
        return replace(self, spent=spent, worth=worth, objective=objective if spent else "")

    def later(self, ms: int, label: str = "") -> "Trouble":
        """Return the same trouble at another time."""
        return replace(self, begin_ms=self.begin_ms + ms, end_ms=self.end_ms + ms, label=label or self.label)


def troubles(run: RunData, page_from: float = PAGE_FROM) -> tuple[Trouble, ...]:
    """Return a run's troubles in the order of time."""
    if not run.plan.scenario.objectives:
        raise AlertError(
            f"{run.plan.scenario.scenario} has no objectives, so nobody can say what was worth a page; "
            "add some under `objectives`"
        )
    reports = assess(run).values()
    ends = drained_ns(run, None)
    found = []
    for label, fault, drained in zip(fault_labels(disturbers(run)), disturbers(run), ends, strict=True):
        if fault.began_ns == NEVER:
            continue
        costs = tuple((report.name, one.share) for report in reports for one in report.spent_by if one.fault == label)
        objective, spent = max(costs, key=lambda cost: cost[1], default=("", 0.0))
        end = max(drained, min(fault.ended_ns, run.end_ns))
        begin = fault.began_ns // MILLISECOND_NS
        worth = _worth(spent, page_from)
        found.append(Trouble(label, begin, end // MILLISECOND_NS, worth, spent, objective if spent else "", costs))
    return tuple(sorted(found, key=lambda one: one.begin_ms))


def _worth(spent: float, page_from: float) -> Worth:
    return "page" if spent >= page_from else "ticket" if spent > 0 else "harmless"


def in_progress(found: Iterable[Trouble], begin_ms: int, end_ms: int, grace_ms: int) -> list[Trouble]:
    """Return the troubles that touch a stretch of time, each with its grace after its end."""
    return [one for one in found if one.begin_ms < end_ms and begin_ms <= one.end_ms + grace_ms]


def worst(found: Sequence[Trouble]) -> Worth | None:
    """Return the greatest worth among troubles."""
    ranked: tuple[Worth, ...] = ("page", "ticket", "harmless")
    return next((worth for worth in ranked if any(one.worth == worth for one in found)), None)
