"""The page for those who decide: was it delivered, how long did users wait, what did it cost, whose is it, what would have prevented it."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from reports.alerts.on_run import alerted
from reports.contents import Contents
from reports.document import Block, Cell, Document, Section, Small, Table, Tile
from reports.drawing import LIMIT, RUNS, Canvas, Drawing, Key, draw, mark_faults, time_axis
from reports.figure_parts import fault_keys, joined, lines_of
from reports.figures import throughput
from reports.latency_figures import latency_over_time, shows_seconds
from reports.sections.costs import budget_text, lasts_text
from reports.views.faults import Broke, bought, bought_blocks, broke, broke_table, prevention_blocks
from reports.views.flows import Fate, Flow, Sent, amounts, delivery_over_time, flows, sent, sums
from reports.words import DASH, count_text, percent, value_text
from scenarios.quantities import SECOND

_QUANTILES = ("p50", "p95", "p99")


def executive_document(contents: Contents) -> Document:
    """Return the page about the main run; with several runs also what each other one buys."""
    main, scenario = contents.main, contents.scenario
    found, told, rows = flows(main.run.data), sent(main.run.data), broke(main, alerted(main.run.data))
    when = f"{count_text(sum(sum(each.count) for each in told))} events, {value_text(scenario.measured_ns / SECOND, 's')} of load measured"
    return Document(
        kicker=f"For those who decide · {main.label}",
        headline=scenario.scenario,
        subtitle=f"{when}" + (f" · owner {scenario.owner}" if scenario.owner else ""),
        lead=scenario.about.strip(),
        notices=tuple(contents.notices),
        tiles=(_delivered_tile(contents, told), _money_tile(told), _wait_tile(contents), _budget_tile(contents), _broke_tile(rows)),
        sections=(
            Section("delivery", "Was it delivered in time?", _delivery(contents, found), "Delivered"),
            Section("flows", "Which business was hurt, and whose is it?", (*_harm(contents), *_flow_blocks(found)), "Flows"),
            Section("waits", "How long did users wait?", _waits(contents), "Waits"),
            Section("broke", "What broke, and who noticed?", broke_table(rows), "What broke"),
            Section("cost", "What did it cost in error budget?", _budgets(contents), "Budget"),
            Section("prevention", "What would have prevented it?", _prevention(contents, rows), "Prevention"),
            Section("volume", "How much went through?", _volume(contents), "Volume"),
        ),
    )  # fmt: skip


# ---- tiles ---------------------------------------------------------------------------------------------------------


def _delivered_tile(contents: Contents, told: Sequence[Sent]) -> Tile:
    events, good = sum(sum(each.count) for each in told), sum(each.count[Fate.in_time] for each in told)
    judged = [r for r in contents.main.objectives.values() if r.met is not None]
    if not events:
        return Tile("Was it delivered in time?", DASH, "no group reads anything", "delivery", "unsure")
    detail = f"{count_text(events - good)} of {count_text(events)} events were late, given up or missing, in some group"
    state = "unsure" if not judged else "good" if all(r.met for r in judged) else "bad"
    return Tile("Was it delivered in time?", percent(good / events), detail, "delivery", state)


def _money_tile(told: Sequence[Sent]) -> Tile:
    if not any(each.worth for each in told):
        said = "no producer says what an event is worth (`worth: 12 EUR`)"
        return Tile("What was it worth?", DASH, said, "flows", "unsure")
    never = sums(amounts(told, Fate.given_up, Fate.missing))
    late = sums(amounts(told, Fate.late)) or "nothing"
    state = "bad" if never else "good"
    return Tile("What business did not happen?", never or "nothing", f"and {late} came late", "flows", state)


def _wait_tile(contents: Contents) -> Tile:
    measured = contents.main.run.estimates.get("latency.p95")
    value = None if measured is None else measured.value
    text = DASH if measured is None else value_text(measured.value, "s", measured.at_least)
    return Tile(
        "How long did 95 of 100 wait at most?",
        text,
        "from the event's intended time to its effect",
        "waits",
        "unsure" if value is None else "",
    )


def _budget_tile(contents: Contents) -> Tile:
    reports = [r for r in contents.main.objectives.values() if r.spent is not None]
    if not reports:
        return Tile("What did it cost?", DASH, "there are no objectives that can be judged", "cost", "unsure")
    worst = max(reports, key=lambda r: r.spent or 0.0)
    return Tile(
        "What did it cost?", budget_text(worst.spent), f"of the error budget of {worst.name}; at this rate it lasts {lasts_text(worst)}",
        "cost", "good" if worst.met else "bad",
    )  # fmt: skip


def _broke_tile(rows: Sequence[Broke]) -> Tile:
    told = sum(not row.told.startswith(("nobody", "cannot")) for row in rows)
    if not rows:
        return Tile("What broke?", "nothing", "no fault began", "broke", "good")
    return Tile(
        "What broke, and was it noticed?",
        f"{told} of {len(rows)} noticed",
        ", ".join(row.label for row in rows[:4]),
        "broke",
        "good" if told == len(rows) else "bad",
    )


# ---- sections ------------------------------------------------------------------------------------------------------


def _delivery(contents: Contents, found: Sequence[Flow]) -> tuple[Block, ...]:
    groups = list(dict.fromkeys(flow.group for flow in found))
    if not groups:
        return ("No group reads anything.",)
    data = contents.main.run.data
    series = {group: delivery_over_time(data, group) for group in groups[: len(RUNS)]}

    def panel(axis: Axes, canvas: Canvas) -> None:
        for number, (group, (at, share)) in enumerate(series.items()):
            axis.step(at, share, where="post", color=RUNS[number], label=group)
        for target in _targets(contents):
            axis.axhline(target, color=LIMIT, linewidth=1.2, linestyle=":")
        axis.set_title("share of events in time")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: percent(round(y, 6))))
        axis.set_ylim(top=1.003)
        time_axis(axis, canvas, contents.scenario.duration)
        mark_faults(axis, contents.faults)

    drawing = draw(
        "delivery",
        [panel],
        title="Delivery over time",
        alt="Share of events that took effect in time, by when they were meant to be sent, of " + joined(groups) + ".",
        caption=_delivery_caption(series),
        legend=[
            *(Key(group, RUNS[number], "line") for number, group in enumerate(series)),
            *([Key("objective", LIMIT, "dotted")] if _targets(contents) else []),
            *fault_keys(contents.faults),
        ],
    )
    return (drawing,)


def _targets(contents: Contents) -> list[float]:
    return sorted({o.target for o in contents.scenario.objectives.values() if o.indicator == "latency"})


def _delivery_caption(series: "dict[str, tuple[np.ndarray, np.ndarray]]") -> str:
    worst = min(series, key=lambda group: float(np.nanmin(series[group][1], initial=1.0)))
    at, share = series[worst]
    low = float(np.nanmin(share, initial=1.0))
    if low >= 1:
        return "Every event took effect in time."
    when = value_text(float(at[int(np.nanargmin(share))]), "s")
    return f"At its worst, {when} into the run, {percent(round(low, 4))} of the events of {worst} took effect in time."


_HARMS = {
    "lost": "acknowledged and lost",
    "refused": "never accepted",
    "expired": "deleted before they were read",
    "passed": "passed over without being handled",
    "duplicate_effects": "done twice",
    "inversions": "done out of order",
}


def _harm(contents: Contents) -> tuple[str, ...]:
    """Return in a sentence what was worse than late."""
    found = {name: contents.main.run.estimates.get(name) for name in _HARMS}
    told = {name: each.value for name, each in found.items() if each is not None and each.value is not None}
    bad = [f"{count_text(round(value))} {_HARMS[name]}" for name, value in told.items() if value]
    said = [f"Worse than late: {joined(bad)}."] if bad else []
    if told and not bad:
        said.append(f"No event was {joined([_HARMS[name] for name in told], 'or')}.")
    unknown = [_HARMS[name] for name, each in found.items() if each is not None and each.value is None]
    if unknown:
        said.append(f"It cannot be told how many were {joined(unknown, 'or')}.")
    return (" ".join(said),) if said else ()


def _flow_blocks(found: Sequence[Flow]) -> tuple[Block, ...]:
    if not found:
        return ("No group reads anything.",)
    rows: tuple[tuple[Cell | str, ...], ...] = tuple(
        (
            Cell(
                flow.name,
                under="in time: "
                + ("any time" if math.isinf(flow.limit_ns) else f"within {value_text(flow.limit_ns / SECOND, 's')}"),
            ),
            count_text(flow.events),
            DASH if flow.share is None else percent(flow.share),
            *(
                Cell(count_text(flow.count[fate]), under=_money(flow, flow.count[fate]))
                for fate in (Fate.late, Fate.given_up, Fate.missing)
            ),
            ", ".join(flow.owners) or "nobody named",
        )
        for flow in found
    )
    heads = ("Flow", "Events", "In time", "Late", "Given up", "Missing", "Owner")
    return (
        Table(heads, rows, frozenset({1, 2, 3, 4, 5})),
        Small(
            "Given up: sent to a dead-letter topic or skipped; somebody has to look at them. Missing: no effect, for whatever reason. "
            "An event that two groups should handle stands in two rows, and is worth what it is worth once."
        ),
    )


def _money(flow: Flow, count: int) -> str:
    amount = flow.amount(count)
    return "" if amount is None or not count else f"{amount.amount:,.2f} {amount.currency}"


def _waits(contents: Contents) -> tuple[Block, ...]:
    estimates = contents.main.run.estimates
    rows = []
    for group in contents.scenario.groups:
        cells = [estimates.get(f"latency[{group}].{q}") or estimates.get(f"latency.{q}") for q in _QUANTILES]
        rows.append((group, *(DASH if e is None else value_text(e.value, "s", e.at_least) for e in cells)))
    table = Table(("Group", "Half wait at most", "95 of 100", "99 of 100"), tuple(rows), frozenset({1, 2, 3}))
    lines = lines_of(None, [(contents.main.label, contents.main.trace)])
    figure: tuple[Drawing, ...] = ()
    if rows and shows_seconds(lines):
        figure = (latency_over_time(contents.scenario, lines, contents.faults),)
    return (table, *figure) if rows else ("No group reads anything.",)


def _budgets(contents: Contents) -> tuple[Block, ...]:
    reports = contents.main.objectives
    if not reports:
        return ("The scenario has no objectives, so there is no budget.",)
    rows = tuple(
        (
            Cell(report.name, under=report.text),
            DASH if report.compliance is None else percent(report.compliance),
            budget_text(report.spent),
            lasts_text(report),
            ", ".join(f"{one.fault} {percent(one.bad / report.bad)}" for one in sorted(report.spent_by, key=lambda o: -o.bad) if one.bad) or "nothing",
        )
        for report in reports.values()
    )  # fmt: skip
    return (
        Table(
            ("Objective", "Good in this run", "Budget spent", "A budget lasts", "Spent by"), rows, frozenset({1, 2, 3})
        ),
    )


def _prevention(contents: Contents, rows: Sequence[Broke]) -> tuple[Block, ...]:
    found = bought(contents)
    return (*prevention_blocks(rows, contents.prevented), *(bought_blocks(found) if found else ()))


def _volume(contents: Contents) -> tuple[Block, ...]:
    scenario, trace = contents.scenario, contents.main.trace
    lines = lines_of(None, [(contents.main.label, trace)])
    measured = trace.produced[scenario.warm_up // SECOND : scenario.duration // SECOND]
    dead = contents.main.run.estimates.get("dead_lettered")
    said = []
    if len(measured) >= 3:
        third = len(measured) // 3
        first, last = float(measured[:third].mean()), float(measured[-third:].mean())
        grew = (
            f", {percent(round(abs(last / first - 1), 3))} {'more' if last >= first else 'less'} in the last third than in the first"
            if first
            else ""
        )
        said.append(f"{count_text(round(float(measured.mean())))} events a second were accepted on average{grew}.")
    if dead is not None and dead.value is not None:
        said.append(
            f"{count_text(dead.value)} events lie in dead-letter topics."
            if dead.value
            else "No event lies in a dead-letter topic."
        )
    figure = (throughput(scenario, lines, contents.faults),) if scenario.groups else ()
    return (" ".join(said) or "The run ended before its measured part began.", *figure)
