"""The page of a capacity plan: what is needed, what stands in the way, when it is no longer enough, and what it costs."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from reports.document import Cell, Document, Section, Small, Table, Tile
from reports.drawing import LIMIT, PREDICTED, RUNS, Canvas, Drawing, Key, draw
from reports.sections.badges import Badge
from reports.words import DASH, count_text, percent, value_text
from scenarios.quantities import SECOND, format_duration
from scenarios.schema import Scenario

_CONDITIONS = {
    "load": "for the forecast load",
    "one broker lost": "with one broker lost",
    "catch-up": "to catch up after the longest outage",
}
_VERDICTS = {
    "holds": Badge("holds", "✓", "good"),
    "fails": Badge("fails", "✗", "bad"),
    "cannot tell": Badge("cannot tell", "?", "unsure"),
}

_TOLD = {
    "confirmed": "Some loads lie in both intervals: the model's answer is confirmed.",
    "contradicted": "No load lies in both intervals: the model's answer is contradicted. Look at what stood in the way, below.",
    "cannot tell": "Above what held no look was certain, so that this neither confirms nor contradicts the model.",
}
_ANSWER_TOLD = {
    "confirmed": "The least that the search found holds on the running brokers, and what it calls too little does not.",
    "contradicted": "The running brokers contradict the least that the search found.",
    "cannot tell": "Whether the least that the search found is right could not be told on the running brokers.",
}


def capacity_document(scenario: Scenario, plan: Mapping[str, Any]) -> Document:
    """Return the page of the document that `capacity --json` prints."""
    breaks = plan["breaks"]
    sections = [
        Section("needed", "What is needed", (_needed(plan), *_below(plan)), "What is needed"),
        Section("breaks", "What breaks it", (_breaks_sentence(plan), *_figure(plan), *_live(plan)), "What breaks it"),
        Section("outages", "How long an outage is borne", (_outages(plan), Small(
            "By arithmetic from each group's mean work: backlog over what is left of its capacity. Rebalances and timers come on top, "
            "which is why a catch-up is simulated where it is asked for.")), "Outages"),
        *_money(plan),
        Section("how", "How this was found", (_how(plan),), "How"),
    ]  # fmt: skip
    return Document(
        kicker="Capacity, simulated",
        headline=scenario.scenario,
        subtitle=f"{_rate(plan['rate'])} on average, forecast {plan['forecast']:g} times that · {plan['simulations']} simulated runs",
        lead=scenario.about.strip(),
        tiles=(*(_tile(answer) for answer in plan["answers"][:3]), _break_tile(plan, breaks)),
        sections=tuple(sections),
    )


def _rate(hz: float) -> str:
    return f"{count_text(round(hz))} events/s"


def _tile(answer: Mapping[str, Any]) -> Tile:
    least, now = answer["least"], answer["now"]
    question = f"{answer['field']}, {_CONDITIONS[answer['condition']]}?"
    if answer.get("reason"):
        return Tile(question, "not asked", answer["reason"], "needed", "unsure")
    if least is None:
        return Tile(question, "not enough", f"not even {answer['most']}: {answer['bottleneck']}", "needed", "bad")
    detail = "as it is" if least == now else f"it has {now}"
    return Tile(question, str(least), detail, "needed", "good" if least <= now else "bad")


def _break_tile(plan: Mapping[str, Any], breaks: Mapping[str, Any]) -> Tile:
    state = "good" if breaks["headroom"] >= 0 else "bad"
    return Tile("Which load breaks it as it is?", _rate(breaks["rate"]), _headroom(plan), "breaks", state)


def _headroom(plan: Mapping[str, Any]) -> str:
    spare = plan["breaks"]["headroom"] / plan["forecast"]
    return f"{percent(spare)} more than the forecast" if spare >= 0 else f"{percent(-spare)} less than the forecast"


def _needed(plan: Mapping[str, Any]) -> Table:
    rows = []
    for answer in plan["answers"]:
        least, interval = answer["least"], answer["interval"]
        under = ""
        if interval is not None and interval[0] != interval[1]:
            under = f"{interval[0]} to {interval[1]} with 95 %" if interval[1] else f"at least {interval[0]}"
        shown = DASH if answer.get("reason") else "more than " + str(answer["most"]) if least is None else str(least)
        rows.append(
            (
                Cell(answer["field"], under=_CONDITIONS[answer["condition"]]),
                Cell(shown, under=under),
                str(answer["now"]),
                answer.get("reason") or answer["bottleneck"],
            )
        )
    heads = ("Field", "Least", "It has", "With one less, in the way is")
    return Table(heads, tuple(rows), frozenset({1, 2}))


def _below(plan: Mapping[str, Any]) -> tuple[Table, ...]:
    rows = [
        (
            Cell(f"{answer['field']} = {look['value']:g}", under=_CONDITIONS[answer["condition"]]),
            Cell("", _VERDICTS[look["verdict"]]),
            DASH if look["margin"] is None else f"{look['margin'] * 100:+.3g} %",
            str(look["runs"]),
        )
        for answer in plan["answers"]
        for look in answer["looked"]
    ]
    return (Table(("Tried", "Every objective", "Margin", "Runs"), tuple(rows), frozenset({2, 3})),) if rows else ()


def _breaks_sentence(plan: Mapping[str, Any]) -> str:
    breaks = plan["breaks"]
    low, high = breaks["interval"]
    if not breaks["factor"]:
        return f"Not even the smallest load that was tried is borne. In the way is {breaks['bottleneck']}."
    until = f"and surely not at {_rate(high * plan['rate'])}" if high else "and no limit was found"
    days = plan["runs_out_after_days"]
    grows = f" At the growth that was given it is reached in {days:.0f} days." if days is not None else ""
    return (
        f"As it is, every objective surely holds up to {_rate(low * plan['rate'])} ({breaks['factor']:.3g} times the scenario's load), {until}: "
        f"{_headroom(plan)}. In the way of more is {breaks['bottleneck']}.{grows}"
    )


def _figure(plan: Mapping[str, Any]) -> tuple[Drawing, ...]:
    """Return by how much the tightest objective holds at each load that was tried, in the model and on running brokers."""
    tried = {"simulated": plan["breaks"]["looked"], "driven": plan["live"]["looked"] if plan["live"] else []}
    points = {
        name: sorted(
            (each["factor"] * plan["rate"], 100 * each["margin"]) for each in looked if each["margin"] is not None
        )
        for name, looked in tried.items()
    }
    points = {name: found for name, found in points.items() if found}
    if not points:
        return ()
    colours = {"simulated": PREDICTED, "driven": RUNS[0]}

    def panel(axis: Axes, canvas: Canvas) -> None:
        del canvas
        for name, found in points.items():
            axis.plot(*zip(*found, strict=True), "o-", color=colours[name], markersize=5, label=name)
        axis.axhline(0, color=LIMIT, linestyle=":", linewidth=1.2)
        axis.set_yscale("symlog", linthresh=1)  # what just fails, and what fails altogether, in one figure
        axis.set_yticks([-100, -10, -1, 0, 1])
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:+g}" if y else "0"))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_title("margin of the tightest objective, percentage points")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}/s".replace(",", "\u2009")))
        axis.margins(x=0.03, y=0.1)
        axis.tick_params(length=0)

    return (
        draw(
            "capacity", [panel], title="Load against what the objectives bear", height=0.85,
            alt="By how much the tightest objective holds at each load that was tried; below nothing it does not.",
            caption=_figure_caption(plan),
            legend=[*(Key(name, colours[name], "line") for name in points), Key("just held", LIMIT, "dotted")],
        ),
    )  # fmt: skip


def _figure_caption(plan: Mapping[str, Any]) -> str:
    (low, high), rate = plan["breaks"]["interval"], plan["rate"]
    said = f"Above the dotted line every objective holds, below it one is missed: it surely holds up to {_rate(low * rate)}"
    return said + (f", and surely no more from {_rate(high * rate)} on." if high else ", and no limit was found.")


def _live(plan: Mapping[str, Any]) -> tuple[str | Table, ...]:
    live = plan["live"]
    if live is None:
        return ()
    low, high = live["interval"]
    until = f"and not at {_rate(high * plan['rate'])}" if high else "and no limit was found"
    model_low, model_high = live["model"]["interval"]
    ends = f"{_rate(model_low * plan['rate'])} to {_rate(model_high * plan['rate']) if model_high else 'more'}"
    verdict = _TOLD[live["verdict"]]
    said = (
        f"On the running brokers every objective held at {_rate(low * plan['rate'])}, {until}. Of the same short runs, steady and without faults, the "
        f"model says {ends}. {verdict}"
    )
    rows = tuple(
        (f"{_rate(look['factor'] * plan['rate'])}", Cell("", _VERDICTS[look["verdict"]], look["reason"]))
        for look in live["looked"]
    )
    return (said, Table(("Driven live at", "Every objective"), rows), *_answer_live(live["answer"]))


def _answer_live(answer: Mapping[str, Any] | None) -> tuple[str | Table, ...]:
    if answer is None:
        return ()
    rows = tuple(
        (
            f"{answer['field']} = {each['value']}",
            Cell("", _VERDICTS[each["verdict"]], each["reason"]),
        )
        for each in answer["looked"]
    )
    return (_ANSWER_TOLD[answer["verdict"]], Table(("Driven live with", "Every objective"), rows))


def _outages(plan: Mapping[str, Any]) -> Table:
    rows = []
    for name, group in plan["groups"].items():
        longest = group["longest_outage"]
        rows.append(
            (
                name,
                _rate(group["capacity"]),
                value_text(longest, "s") if longest is None or longest < 600 else format_duration(longest * SECOND),
            )
        )
    return Table(
        ("Group", "Its members can finish", "Longest outage that recovers in time"), tuple(rows), frozenset({1, 2})
    )


def _money(plan: Mapping[str, Any]) -> tuple[Section, ...]:
    cost = plan["cost"]
    if cost is None:
        return ()
    rows = [(item, f"{amount:,.2f} {cost['currency']}") for item, amount in cost["month"].items() if amount]
    rows.append(("all", f"{sum(cost['month'].values()):,.2f} {cost['currency']}"))
    table = Table(("Item", "A month"), tuple(rows), frozenset({1}), len(rows) - 1)
    return (
        Section(
            "cost", "What it costs", (table, Small("By the prices that were given, at the forecast load.")), "Cost"
        ),
    )


def _how(plan: Mapping[str, Any]) -> str:
    return (
        f"{plan['simulations']} simulated runs. A value is looked at in runs with events and chance of their own until the mean margin of the "
        "tightest objective is surely above or below nothing (95 %), at most twelve; what cannot be told counts as not enough. Faults of the "
        "scenario are left out, since no number of members helps a partition that has no leader. Losing a broker means the steady state with "
        "one fewer; a catch-up starts after all members have left and come back at once, and must be over in time."
    )
