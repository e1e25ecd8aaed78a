"""The figures of a page: both engines in the same axes, the faults drawn over them, each with a sentence that says what follows."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports.drawing import (
    LIMIT,
    MUTED,
    PREDICTED,
    RUNS,
    Canvas,
    Drawing,
    Key,
    count_axis,
    draw,
    mark_faults,
    time_axis,
)
from reports.figure_data import band
from reports.figure_parts import Line, Panel, during, end_ns, fault_keys, joined, lines_of, time_words
from reports.latency_figures import latency_distribution, latency_over_time, shows_seconds
from reports.slo import ObjectiveReport
from reports.traces import LAG_STEP_NS, Band, Trace
from reports.words import count_text, percent
from rundata.tables import FaultRecord, Incident
from scenarios.quantities import SECOND
from scenarios.retries import most_partitions
from scenarios.schema import Scenario

__all__ = ["all_figures", "budget_burn", "lines_of"]


def all_figures(
    scenario: Scenario, lines: Sequence[Line], bands: Mapping[str, Band], faults: Sequence[FaultRecord]
) -> list[Drawing]:
    """Return every figure that the runs can fill, in the order in which a reader asks; none that would be empty."""
    shared = {name: group for name, group in scenario.groups.items() if all(name in line.trace.lag for line in lines)}
    if not shared or not lines:
        return []
    scenario = scenario.model_copy(update={"groups": shared})
    found = [lag_over_time(scenario, lines, bands, faults)]
    if shows_seconds(lines):
        found.append(latency_over_time(scenario, lines, faults))
    found.append(latency_distribution(scenario, lines))
    if any(line.trace.outages for line in lines):
        found.append(outages(scenario, lines, faults))
    return [*found, throughput(scenario, lines, faults)]


# ---- lag -----------------------------------------------------------------------------------------------------------


def lag_over_time(
    scenario: Scenario, lines: Sequence[Line], bands: Mapping[str, Band], faults: Sequence[FaultRecord]
) -> Drawing:
    """Draw the lag of each group, with the band in which 95 % of single runs were predicted to lie."""

    def panel(group: str) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            if group in bands:
                shown = bands[group]
                t = np.arange(len(shown.low)) * (LAG_STEP_NS / SECOND)
                band(axis, t, shown.low, shown.high, label="95 % of predicted runs", color=PREDICTED, alpha=0.22)
            for line in lines:
                lag = line.trace.lag[group]
                t = np.arange(len(lag)) * (LAG_STEP_NS / SECOND)
                axis.plot(t, lag, line.style, color=line.colour, label=line.label)
            axis.set_title(f"{group}: events waiting")
            time_axis(axis, canvas, end_ns(lines))
            count_axis(axis)
            mark_faults(axis, faults)

        return draw_panel

    keys = [line.key for line in lines]
    if bands:
        keys.append(Key("95 % of predicted runs", PREDICTED, "band"))
    return draw(
        "lag",
        [panel(group) for group in scenario.groups],
        title="Lag over time",
        alt="Lag over time of " + joined(scenario.groups) + ", " + joined([line.label for line in lines]) + ".",
        caption=_lag_caption(scenario, lines, bands, faults),
        legend=keys + fault_keys(faults),
    )


def _lag_caption(
    scenario: Scenario, lines: Sequence[Line], bands: Mapping[str, Band], faults: Sequence[FaultRecord]
) -> str:
    line = lines[-1]
    group = max(scenario.groups, key=lambda name: int(line.trace.lag[name].max(initial=0)))
    lag = line.trace.lag[group]
    if lag.max(initial=0) == 0:
        return "No group ever fell behind."
    peak = int(np.argmax(lag))
    at_ns = peak * LAG_STEP_NS
    said = (
        f"{group} fell behind most: {count_text(int(lag[peak]))} events at {time_words(at_ns)}{during(at_ns, faults)}"
    )
    if len(lines) > 1 and lines[0].dashed:
        said += f"; the simulated run of the same plan peaked at {count_text(int(lines[0].trace.lag[group].max(initial=0)))}"
    if not line.dashed and group in bands:
        said += f". {_share_inside(lag, bands[group])} of the time the observed lag lay inside the predicted band"
    return said + "."


def _share_inside(lag: NDArray[np.int64], band: Band) -> str:
    count = min(len(lag), len(band.low))
    inside = (lag[:count] >= np.floor(band.low[:count])) & (lag[:count] <= np.ceil(band.high[:count]))
    return percent(round(float(inside.mean()), 2))


# ---- outages and throughput ----------------------------------------------------------------------------------------


def outages(scenario: Scenario, lines: Sequence[Line], faults: Sequence[FaultRecord]) -> Drawing:
    """Draw for each partition when nothing reached a group although events waited."""
    rows = [f"{t}/{p}" for t in scenario.topics for p in range(most_partitions(scenario, t)) if _is_read(scenario, t)]
    shown = [row for row in rows if any(_stood(line.trace, row) for line in lines)] if len(rows) > 24 else rows

    def panel(axis: Axes, canvas: Canvas) -> None:
        height = 0.8 / len(lines)
        for y, row in enumerate(shown):
            for i, line in enumerate(lines):
                spans = [((b / SECOND), (e - b) / SECOND) for b, e in _stood(line.trace, row)]
                base = y - 0.4 + i * height
                if line.dashed:
                    axis.broken_barh(
                        spans,
                        (base, height * 0.86),
                        facecolors="none",
                        edgecolors=line.colour,
                        linewidth=1.3,
                        linestyle="--",
                        label=line.label,
                    )
                else:
                    axis.broken_barh(
                        spans, (base, height * 0.86), facecolors=line.colour, linewidth=0, label=line.label
                    )
        axis.set_yticks(range(len(shown)), shown)
        axis.set_ylim(max(len(shown), 1) - 0.5, -0.5)
        axis.grid(visible=False, axis="y")
        axis.set_title("partitions that stood still")
        time_axis(axis, canvas, end_ns(lines))
        mark_faults(axis, faults)

    return draw(
        "outages",
        [panel],
        title="Outage of each partition",
        alt="For each partition, when no event reached a group for a second or more although one waited.",
        caption=_outage_caption(lines, rows),
        legend=[Key(line.label, line.colour, "box" if line.dashed else "bar") for line in lines] + fault_keys(faults),
        height=max(0.7, 0.35 + 0.11 * len(shown)),
    )


def _stood(trace: Trace, row: str) -> list[tuple[int, int]]:
    """Return the merged outages of a partition over all groups."""
    spans = sorted((o.begin_ns, o.end_ns) for o in trace.outages if o.place == row)
    merged: list[tuple[int, int]] = []
    for begin, end in spans:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _outage_caption(lines: Sequence[Line], rows: Sequence[str]) -> str:
    parts = []
    for line in lines:
        shown = [outage for outage in line.trace.outages if outage.place in rows]
        if not shown:
            parts.append(f"none {line.label}")
            continue
        longest = max(outage.end_ns - outage.begin_ns for outage in shown)
        halted = {outage.place for outage in shown}
        parts.append(f"{len(halted)} of {len(rows)} {line.label}, the longest for {time_words(longest)}")
    return (
        "Partitions from which a group got nothing for a second or more while an event waited: "
        + "; ".join(parts)
        + "."
    )


def throughput(scenario: Scenario, lines: Sequence[Line], faults: Sequence[FaultRecord]) -> Drawing:
    """Draw events per second: acknowledged to the producers, and finished by each group."""

    def panel(title: str, of: Callable[[Trace], NDArray[np.float64]]) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            for line in lines:
                rate = of(line.trace)[: max(1, line.trace.end_ns // SECOND)]  # the last second is not a whole one
                t = np.arange(len(rate))
                axis.step(t, rate, line.style, where="post", color=line.colour, linewidth=1.3, label=line.label)
            axis.set_title(title)
            time_axis(axis, canvas, end_ns(lines))
            count_axis(axis)
            mark_faults(axis, faults)

        return draw_panel

    panels = [panel("acknowledged, events/s", lambda one: one.produced)]
    panels += [panel(f"finished by {name}, events/s", _consumed_by(name)) for name in scenario.groups]
    return draw(
        "throughput",
        panels,
        title="Throughput",
        alt="Events per second: acknowledged, and finished by " + joined(scenario.groups) + ".",
        caption=_throughput_caption(scenario, lines),
        legend=[line.key for line in lines] + fault_keys(faults),
        height=0.85,
    )


def _consumed_by(group: str) -> Callable[[Trace], NDArray[np.float64]]:
    return lambda one: one.consumed[group]


def _throughput_caption(scenario: Scenario, lines: Sequence[Line]) -> str:
    line = lines[-1]
    begin, end = scenario.warm_up // SECOND, scenario.duration // SECOND
    group = max(scenario.groups, key=lambda name: float(line.trace.consumed[name].max(initial=0)))
    consumed = line.trace.consumed[group]
    if not len(consumed[begin:end]):
        return "The run ended before its measured part began."
    peak = int(np.argmax(consumed))
    return (
        f"{line.label.capitalize()}: {count_text(round(float(line.trace.produced[begin:end].mean())))} events/s were acknowledged on average; "
        f"{group} worked off its backlog at up to {count_text(round(float(consumed[peak])))} events/s, in the second from {peak} s."
    )


def budget_burn(
    runs: Sequence[tuple[str, Mapping[str, ObjectiveReport]]],
    faults: Sequence[FaultRecord],
    scenario: Scenario,
    *,
    predicted: bool,
    incidents: Sequence[Incident] = (),
) -> Drawing | None:
    """Draw how many times faster than allowed each objective's budget burned; None where nothing ever did."""
    names = [name for name in scenario.objectives if any(_burns(reports.get(name)) for _, reports in runs)]
    if not names:
        return None
    colours = [PREDICTED, *RUNS] if predicted else list(RUNS)

    def panel(name: str) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            for number, (label, reports) in enumerate(runs):
                report = reports.get(name)
                if report is not None and len(report.burn):
                    style, colour = "--" if predicted and number == 0 else "-", colours[number % len(colours)]
                    axis.step(report.burn_at_s, report.burn, style, where="post", color=colour, label=label)
            axis.axhline(1, color=LIMIT, linewidth=1.2, linestyle=":")
            axis.set_title(f"{name}: times the allowed burn")
            time_axis(axis, canvas, scenario.duration)
            count_axis(axis)
            mark_faults(axis, faults)
            for second in sorted({incident.time_ns // SECOND for incident in incidents}):
                axis.axvline(second, ymax=0.06, color=MUTED, linewidth=1)

        return draw_panel

    happened = [Key("incident", MUTED, "thin")] if incidents else []
    keys = [
        Key(label, colours[number % len(colours)], "dashed" if predicted and number == 0 else "line")
        for number, (label, _) in enumerate(runs)
    ]
    burn, label, worst = max(
        (report.worst_burn or 0.0, label, name) for label, reports in runs for name, report in reports.items()
    )
    return draw(
        "burn",
        [panel(name) for name in names],
        title="Burn rate",
        alt="How many times faster than allowed the error budget burned, every 5 seconds, by " + joined(names) + ".",
        caption=f"At 1 a budget lasts exactly its period. The fastest 5 seconds ({label}, {worst}) burned {burn:.3g} times that; "
        "a burn that high is harmless only because it ends.",
        legend=[*keys, Key("allowed", LIMIT, "dotted"), *fault_keys(faults), *happened],
        height=0.85,
        share_y=False,
    )


def _burns(report: ObjectiveReport | None) -> bool:
    return report is not None and bool(np.nansum(report.burn) > 0)


def _is_read(scenario: Scenario, topic: str) -> bool:
    return any(topic in group.topics for group in scenario.groups.values())
