"""Figures of alerts: what was wrong over time with what fired, and what more false pages would buy."""

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.alerts.backtest import Judged, wakes
from reports.alerts.rules import Rule
from reports.alerts.suggest import Suggestion
from reports.drawing import FAULT, LIMIT, MUTED, PREDICTED, RUNS, Canvas, Drawing, Key, draw, long_time_axis
from reports.figure_data import rows_csv
from reports.words import count_text, percent, wait_text

_MOST_ROWS = 14
_LEAST_SHOWN = 0.004
"""A stay is drawn at least so wide, as a share of the axis: minutes in a month would be invisible."""


def timeline(judged: Judged) -> Drawing:
    """Draw the troubles of a case as bands, each rule that fired as a row of bars, and the pages as ticks below."""
    end_s = judged.case.end_ms / 1000
    rules = [rule for rule in _rules(judged) if any(span.fired_ms is not None for span in judged.evaluated.of(rule))][
        :_MOST_ROWS
    ]

    def panel(axis: Axes, canvas: Canvas) -> None:
        for trouble in judged.case.troubles:
            width = max((trouble.end_ms - trouble.begin_ms) / 1000, _LEAST_SHOWN * end_s)
            strength = {"page": 0.32, "ticket": 0.16, "harmless": 0.07}[trouble.worth]
            axis.axvspan(
                trouble.begin_ms / 1000, trouble.begin_ms / 1000 + width, color=FAULT, alpha=strength, linewidth=0
            )
        for row, rule in enumerate(rules):
            colour = RUNS[0] if wakes(rule) else RUNS[1]
            for span in judged.evaluated.of(rule):
                if span.fired_ms is not None:
                    begin = span.fired_ms / 1000
                    end = end_s if span.ended_ms is None else span.ended_ms / 1000
                    axis.barh(row, max(end - begin, _LEAST_SHOWN * end_s), left=begin, height=0.55, color=colour)
        pages = [page.at_ms / 1000 for page in judged.pages]
        false = [page.at_ms / 1000 for page in judged.pages if judged.worth_of(page) is None]
        axis.plot(pages, [len(rules)] * len(pages), "|", color=LIMIT, markersize=9, markeredgewidth=1.6)
        axis.plot(false, [len(rules)] * len(false), "x", color=LIMIT, markersize=6, markeredgewidth=1.6)
        axis.set_yticks(range(len(rules) + 1), [*(_row_name(rule, canvas) for rule in rules), "pages"])
        axis.set_ylim(len(rules) + 0.6, -0.6)
        long_time_axis(axis, canvas, end_s)

    legend = [
        Key("something was wrong; darker: it cost more", FAULT, "shade"),
        Key("an alert that pages fired", RUNS[0], "bar"),
        Key("a ticket fired", RUNS[1], "bar"),
        Key("page; a cross where nothing was wrong", LIMIT, "line"),
    ]
    return draw(
        "timeline",
        [panel],
        title="Over time",
        alt=f"{len(judged.case.troubles)} troubles as bands over time, {len(rules)} rules that fired as rows, and the pages.",
        caption=_timeline_caption(judged, len(rules)),
        legend=legend,
        height=max(0.7, 0.16 * (len(rules) + 2)),
        numbers=_timeline_numbers(judged),
    )


def _timeline_numbers(judged: Judged) -> str:
    """Return what the timeline shows: troubles, stays of alerts, pages, with their times in seconds."""
    rows: list[tuple[object, ...]] = [
        ("trouble", one.label, one.worth, one.begin_ms / 1000, one.end_ms / 1000) for one in judged.case.troubles
    ]
    rows += [
        (
            "alert",
            span.rule.name,
            span.rule.severity,
            span.fired_ms / 1000,
            "" if span.ended_ms is None else span.ended_ms / 1000,
        )
        for span in judged.evaluated.spans
        if span.fired_ms is not None
    ]
    rows += [("page", "", judged.worth_of(page) or "nothing", page.at_ms / 1000, "") for page in judged.pages]
    return rows_csv(("kind", "name", "worth", "begin_s", "end_s"), rows)


def _rules(judged: Judged) -> list[Rule]:
    found: dict[int, Rule] = {}
    for span in judged.evaluated.spans:
        found.setdefault(id(span.rule), span.rule)
    return sorted(found.values(), key=lambda rule: not wakes(rule))


def _row_name(rule: Rule, canvas: Canvas) -> str:
    about = " ".join(value for key, value in rule.labels.items() if key != "severity")
    wide = canvas.side_by_side > 1
    text = f"{rule.name} {about}".strip() if wide else f"{about} {rule.name}".strip()
    most = 34 if wide else 20
    return text if len(text) <= most else text[: most - 1] + "…"


def _timeline_caption(judged: Judged, fired: int) -> str:
    worth = sum(trouble.worth == "page" for trouble in judged.case.troubles)
    false = sum(judged.worth_of(page) is None for page in judged.pages)
    said = (
        f"{judged.case.name}: {len(judged.case.troubles)} troubles, {worth} of them worth a page; {fired} rules fired, "
    )
    said += f"and somebody was woken {len(judged.pages)} times"
    return said + (f", {false} of them for nothing." if false else ".")


def trade_off(found: Suggestion) -> Drawing:
    """Draw recall and time to page against false pages a week, with the suggestion and the usual rules."""
    curve = found.curve

    def recall(axis: Axes, canvas: Canvas) -> None:
        axis.step([each.false_per_week for each in curve], [each.recall for each in curve], where="post", color=RUNS[0])
        axis.plot(
            [each.false_per_week for each in curve],
            [each.recall for each in curve],
            "o",
            color=RUNS[0],
            markersize=4,
            label="curve",
        )
        axis.plot(
            found.usual.false_per_week,
            found.usual.recall,
            "s",
            color=PREDICTED,
            markersize=11,
            fillstyle="none",
            label="usual",
        )
        axis.plot(found.best.false_per_week, found.best.recall, "D", color=LIMIT, markersize=8, label="suggested")
        axis.axvline(found.limit, color=MUTED, linewidth=1, linestyle=":")
        axis.set_title("troubles seen")
        axis.set_ylim(-0.03, 1.1)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: percent(y)))
        _false_axis(axis, canvas, found)

    def speed(axis: Axes, canvas: Canvas) -> None:
        points = [(each.false_per_week, each.median_s / 60) for each in curve if each.median_s is not None]
        axis.step([x for x, _ in points], [y for _, y in points], where="post", color=RUNS[0])
        axis.plot([x for x, _ in points], [y for _, y in points], "o", color=RUNS[0], markersize=4, label="curve")
        marks = ((found.usual, "s", PREDICTED, "usual", 11, "none"), (found.best, "D", LIMIT, "suggested", 8, "full"))
        for one, mark, colour, name, size, fill in marks:
            if one.median_s is not None:
                minutes = one.median_s / 60
                axis.plot(one.false_per_week, minutes, mark, color=colour, markersize=size, fillstyle=fill, label=name)
        axis.axvline(found.limit, color=MUTED, linewidth=1, linestyle=":")
        axis.set_title("minutes to the page (median)")
        axis.margins(y=0.15)
        axis.set_ylim(bottom=0)
        _false_axis(axis, canvas, found)

    return draw(
        f"trade-off-{found.objective}",
        [recall, speed],
        title="What more false pages would buy",
        alt="Share of troubles seen, and minutes to the page, against false pages a week.",
        caption=_trade_off_caption(found),
        legend=[
            Key("nothing with as few false pages is better", RUNS[0], "line"),
            Key("suggested (diamond)", LIMIT, "line"),
            Key("the usual rules (square)", PREDICTED, "line"),
            Key("the limit", MUTED, "dotted"),
        ],
        share_y=False,
        height=0.95,
    )


def _false_axis(axis: Axes, canvas: Canvas, found: Suggestion) -> None:
    axis.set_xlim(left=-0.02 * max(found.limit, 1), right=max(found.limit * 1.3, found.best.false_per_week * 1.1, 0.5))
    axis.xaxis.set_major_locator(MaxNLocator(canvas.ticks))
    axis.set_xlabel("false pages a week")
    axis.tick_params(length=0)


def _trade_off_caption(found: Suggestion) -> str:
    best, usual = found.best, found.usual
    took = "" if best.median_s is None else f", in {wait_text(best.median_s)} as a rule"
    said = f"Of {count_text(best.worthy)} troubles worth a page the suggestion sees {count_text(best.seen)}{took}; "
    said += f"the usual rules see {count_text(usual.seen)}"
    said += "" if usual.median_s is None else f", in {wait_text(usual.median_s)}"
    more = [one for one in found.curve if one.false_per_week > best.false_per_week]
    if not more:
        return said + ". No rule that was tried sees more, or sees it sooner, for more false pages."
    last = max(more, key=lambda one: (one.recall, -(one.median_s or 0)))
    return (
        said
        + f". With {last.false_per_week:.3g} false pages a week {count_text(last.seen)} would be seen, in {wait_text(last.median_s or 0)}."
    )
