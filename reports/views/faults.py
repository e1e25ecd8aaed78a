"""What broke, when, who noticed, what it cost, what would have prevented it: one row for each fault, on every page that asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.alerts.on_run import Alerted
from reports.contents import Column, Contents
from reports.document import Block, Cell, Small, Table
from reports.drawing import LETTERS
from reports.remedies import REMEDIES
from reports.slo import fault_labels
from reports.slo_compare import Assessed, Bought, compare
from reports.words import DASH, percent, value_text
from rundata.rows import NEVER
from scenarios.quantities import SECOND


@dataclass(frozen=True)
class Broke:
    """One fault of a run, and what became of it."""

    letter: str
    label: str
    kind: str
    began_s: float
    lasted_s: float
    told: str
    """Which alert told of it, how soon."""
    costs: Mapping[str, float]
    """By objective: the share of the period's budget."""


def broke(column: Column, alerts: Alerted) -> list[Broke]:
    """Return a row for each fault that began, in the order of time."""
    run = column.run.data
    labels = dict(zip(fault_labels(run.faults), run.faults, strict=True))
    ordered = sorted(labels.items(), key=lambda item: item[1].planned_begin_ns)
    rows = []
    for letter, (label, fault) in zip(LETTERS, ordered, strict=False):
        if fault.began_ns == NEVER:
            continue
        costs = {
            name: one.share
            for name, report in column.objectives.items()
            for one in report.spent_by
            if one.fault == label and one.bad
        }
        end = min(fault.ended_ns, run.end_ns)
        told = _told(alerts, label)
        rows.append(
            Broke(letter, label, fault.kind, fault.began_ns / SECOND, (end - fault.began_ns) / SECOND, told, costs)
        )
    return rows


def _told(alerts: Alerted, label: str) -> str:
    if alerts.judged is None:
        return "cannot be told"
    told = alerts.told_of(label)
    if told is None:
        return "nobody: no alert fired"
    sent = "" if told.message_after_s is None else f", message after {value_text(told.message_after_s, 's')}"
    return f"{told.alert} ({told.severity}) after {value_text(told.after_s, 's')}{sent}"


def broke_table(rows: Sequence[Broke]) -> tuple[Block, ...]:
    """Return the rows as a table, with what would have prevented each."""
    if not rows:
        return ("Nothing broke: no fault was planned, or none began.",)
    shown = tuple(
        (
            Cell(f"{row.letter} {row.label}"),
            f"at {value_text(row.began_s, 's')} for {value_text(row.lasted_s, 's')}" if row.lasted_s else f"at {value_text(row.began_s, 's')}",
            row.told,
            ", ".join(f"{percent(share)} of {name}" for name, share in row.costs.items()) or "nothing",
            "; ".join(REMEDIES[row.kind].prevents[:2]),
        )
        for row in rows
    )  # fmt: skip
    heads = ("What broke", "When", "Who noticed", "What it cost of the budget", "What would have prevented it")
    return (
        Table(heads, shown),
        Small(
            "Noticed: by the alert rules that the scenario makes (`eventdrill alerts rules`), on the metrics of this run after a calm time; rules "
            "that wait for minutes do not see what is over within one. Cost: bad events over those that the whole period may have."
        ),
    )


def bought(contents: Contents) -> list[Bought]:
    """Return what each other run of a page buys against the main one, where their scenarios differ."""
    same = [column for column in contents.columns if column.run.keeps_operations]
    if contents.verdicts or len(same) < 2:
        return []
    return compare([Assessed(column.label, column.run.data, column.objectives) for column in same])


def bought_blocks(found: Sequence[Bought]) -> tuple[Block, ...]:
    """Return what was tried against the faults, measured; or how to measure it."""
    if not found:
        return (
            Small(
                "None of this was measured here. `eventdrill simulate FILE --set groups.NAME.members=6`, then `eventdrill report` or `eventdrill slo` on both "
                "runs, says what a change buys."
            ),
        )
    rows = tuple(
        (
            Cell(each.variant or "the same scenario again", under=each.objective),
            percent(each.spent_before),
            percent(each.spent_after),
            percent(each.bought),
            DASH if each.interval is None else f"{percent(each.interval[0])} to {percent(each.interval[1])}",
        )
        for each in found
    )
    return (
        Table(("Change", "Budget spent before", "After", "Bought", "95 %"), rows, frozenset({1, 2, 3, 4})),
        Small(
            "Runs with the same seed have the same events at the same times, so what differs between them is the change."
        ),
    )
