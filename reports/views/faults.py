"""What broke, when, who noticed, what it cost, what would have prevented it: one row for each fault, on every page that asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.alerts.on_run import Alerted
from reports.contents import Column, Contents
from reports.disturbers import HARMFUL_ACTIONS, action_of, disturbers
from reports.document import Block, Cell, Small, Table
from reports.drawing import letters as fault_letters
from reports.prevention import Measure, Prevented, measures, words_of
from reports.sections.badges import Badge
from reports.slo import fault_labels
from reports.slo_compare import Assessed, Bought, compare
from reports.words import DASH, count_text, percent, value_text
from rundata.rows import NEVER
from scenarios.quantities import SECOND


@dataclass(frozen=True)
class Broke:
    """One fault of a run, or one thing that people did to it, and what became of it."""

    letter: str
    """As in the figures; an action has none."""
    label: str
    kind: str
    began_s: float
    lasted_s: float
    told: str
    """Which alert told of it, how soon."""
    costs: Mapping[str, float]
    """By objective: the share of the period's budget."""
    helps: tuple[Measure, ...]
    """What keeps its damage small, what the scenario lacks first."""


def broke(column: Column, alerts: Alerted) -> list[Broke]:
    """Return a row for each fault that began, and each deploy or reset of offsets, in the order of time."""
    run = column.run.data
    planned = {each.label: each.fault for each in run.plan.faults}
    hurt = disturbers(run)
    labels = dict(zip(fault_labels(hurt), hurt, strict=True))
    ordered = sorted(labels.items(), key=lambda item: item[1].planned_begin_ns)
    letters = fault_letters()
    rows = []
    for label, fault in ordered:
        letter = "" if fault.kind in HARMFUL_ACTIONS else next(letters)
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
        lasted_s = (end - fault.began_ns) / SECOND
        helps = measures(run.plan.scenario, action_of(run, fault) or planned[fault.label])
        rows.append(Broke(letter, label, fault.kind, fault.began_ns / SECOND, lasted_s, told, costs, helps))
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
        return ("Nothing broke: no fault or deploy was planned, or none began.",)
    shown = tuple(
        (
            Cell(f"{row.letter} {row.label}".strip()),
            f"at {value_text(row.began_s, 's')} for {value_text(row.lasted_s, 's')}" if row.lasted_s else f"at {value_text(row.began_s, 's')}",
            row.told,
            ", ".join(f"{percent(share)} of {name}" for name, share in row.costs.items()) or "nothing",
            words_of(row.helps, 2),
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


# ---- what would have prevented it ----------------------------------------------------------------------------------

_THERE = {
    True: Badge("there", "✓", "good"),
    False: Badge("missing", "✗", "bad"),
    None: Badge("not told by the file", "?", "unsure"),
}


def prevention_blocks(rows: Sequence[Broke], tried: Sequence[Prevented]) -> tuple[Block, ...]:
    """Return each measure against what broke: whether the scenario has it, which fields put it there, and what it bought where it was simulated."""
    if not rows:
        return ("Nothing broke, so there was nothing to prevent.",)
    against: dict[str, tuple[Measure, list[str]]] = {}
    for row in rows:
        for each in row.helps:
            against.setdefault(each.words, (each, []))[1].append(row.letter or row.label)
    bought = {each.measure.words: each for each in tried}
    shown = tuple(
        (
            Cell(each.words, under="against " + ", ".join(dict.fromkeys(letters))),
            Cell("", _THERE[each.there]),
            Cell(f"`{each.settings}`" if each.change else DASH),
            *((_bought_cell(bought.get(each.words)),) if tried else ()),
        )
        for each, letters in sorted(against.values(), key=lambda found: _order(found[0], bought))
    )
    heads = ("Measure", "In the scenario", "Puts it there", *(("What it would have bought",) if tried else ()))
    said = (
        f"Simulated with the same events and the same chance, without and with each measure, {max(each.runs for each in tried)} runs each (means). The model's "
        "word, also where the run was a live one."
        if tried
        else "None of this was tried here: `eventdrill report DIR --for executives --what-if` simulates each measure that is missing, with the same events."
    )
    return (*_best_sentence(tried), Table(heads, shown), Small(said))


def _order(measure: Measure, bought: Mapping[str, Prevented]) -> tuple[float, int]:
    tried = bought.get(measure.words)
    gain = sum(before - after for before, after in tried.spent.values()) if tried is not None else 0.0
    return -gain, {False: 0, None: 1, True: 2}[measure.there]


def _best_sentence(tried: Sequence[Prevented]) -> tuple[str, ...]:
    """Return which measure would have saved most of which budget."""
    gains = [
        (before - after, before, name, each)
        for each in tried
        for name, (before, after) in each.spent.items()
        if before > after
    ]
    if not gains:
        return ("No measure that is missing would have saved any budget.",) if tried else ()
    gain, before, name, best = max(gains, key=lambda found: found[0])
    return (
        f"Of what was spent of the budget of {name}, {percent(gain / before)} would have been saved by this: {best.measure.words}.",
    )


def _bought_cell(tried: Prevented | None) -> Cell:
    if tried is None:
        return Cell(DASH)
    if tried.reason:
        return Cell("cannot be simulated", under=tried.reason)
    parts = [
        f"{percent(before)} → {percent(after)} of the budget of {name}"
        for name, (before, after) in tried.spent.items()
        if before != after
    ]
    parts += [
        f"{name.replace('_', ' ')} {_count(before)} → {_count(after)}" for name, (before, after) in tried.counts.items()
    ]
    return Cell("; ".join(parts) or "nothing")


def _count(value: float) -> str:
    return count_text(round(value)) if value >= 10 or value == round(value) else f"{value:.1f}"
