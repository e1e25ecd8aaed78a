"""The figures of a page: both engines in the same axes, the faults drawn over them, each with a sentence that says what follows."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from reports.drawing import (
    FAULT,
    LIMIT,
    PREDICTED,
    RUNS,
    Canvas,
    Drawing,
    Key,
    count_axis,
    draw,
    duration_axis,
    mark_faults,
    time_axis,
)
from reports.slo import ObjectiveReport
from reports.traces import LAG_STEP_NS, Band, Latencies, Trace
from reports.words import count_text, difference_text, percent, value_text
from rundata.tables import FaultRecord
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

Panel = Callable[[Axes, Canvas], None]
ENOUGH_EVENTS = 5
"""Fewer in a second say nothing about that second's quantiles."""


@dataclass(frozen=True, eq=False)
class Line:
    """One run in a figure: its name, its series, and how it is drawn."""

    label: str
    trace: Trace
    colour: str
    dashed: bool = False

    @property
    def style(self) -> str:
        """The line style that matplotlib knows it by."""
        return "--" if self.dashed else "-"

    @property
    def key(self) -> Key:
        """Its entry in the legend."""
        return Key(self.label, self.colour, "dashed" if self.dashed else "line")


def lines_of(predicted: Trace | None, observed: Sequence[tuple[str, Trace]]) -> list[Line]:
    """Return the runs of a page as lines: the prediction dashed in its own colour, the others solid."""
    found = [Line("predicted", predicted, PREDICTED, dashed=True)] if predicted else []
    return found + [Line(label, one, RUNS[i % len(RUNS)]) for i, (label, one) in enumerate(observed)]


def all_figures(
    scenario: Scenario, lines: Sequence[Line], bands: Mapping[str, Band], faults: Sequence[FaultRecord]
) -> list[Drawing]:
    """Return every figure that the runs can fill, in the order in which a reader asks."""
    shared = {name: group for name, group in scenario.groups.items() if all(name in line.trace.lag for line in lines)}
    if not shared or not lines:
        return []
    scenario = scenario.model_copy(update={"groups": shared})
    return [
        lag_over_time(scenario, lines, bands, faults),
        latency_over_time(scenario, lines, faults),
        latency_distribution(scenario, lines),
        outages(scenario, lines, faults),
        throughput(scenario, lines, faults),
    ]


# ---- lag -----------------------------------------------------------------------------------------------------------


def lag_over_time(
    scenario: Scenario, lines: Sequence[Line], bands: Mapping[str, Band], faults: Sequence[FaultRecord]
) -> Drawing:
    """Draw the lag of each group, with the band in which 95 % of single runs were predicted to lie."""

    def panel(group: str) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            if group in bands:
                band = bands[group]
                t = np.arange(len(band.low)) * (LAG_STEP_NS / SECOND)
                axis.fill_between(t, band.low, band.high, color=PREDICTED, alpha=0.22, linewidth=0)
            for line in lines:
                lag = line.trace.lag[group]
                axis.plot(np.arange(len(lag)) * (LAG_STEP_NS / SECOND), lag, line.style, color=line.colour)
            axis.set_title(f"{group}: events waiting")
            time_axis(axis, canvas, _end_ns(lines))
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
        alt="Lag over time of " + _and(scenario.groups) + ", " + _and([line.label for line in lines]) + ".",
        caption=_lag_caption(scenario, lines, bands, faults),
        legend=keys + _fault_keys(faults),
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
    said = f"{group} fell behind most: {count_text(int(lag[peak]))} events at {_time(at_ns)}{_during(at_ns, faults)}"
    if len(lines) > 1 and lines[0].dashed:
        said += f"; the simulated run of the same plan peaked at {count_text(int(lines[0].trace.lag[group].max(initial=0)))}"
    if not line.dashed and group in bands:
        said += f". {_share_inside(lag, bands[group])} of the time the observed lag lay inside the predicted band"
    return said + "."


def _share_inside(lag: NDArray[np.int64], band: Band) -> str:
    count = min(len(lag), len(band.low))
    inside = (lag[:count] >= np.floor(band.low[:count])) & (lag[:count] <= np.ceil(band.high[:count]))
    return percent(round(float(inside.mean()), 2))


# ---- latency -------------------------------------------------------------------------------------------------------


def latency_over_time(scenario: Scenario, lines: Sequence[Line], faults: Sequence[FaultRecord]) -> Drawing:
    """Draw the median and the 95th percentile of each second's events."""
    limits = _limits(scenario)

    def panel(group: str) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            for line in lines:
                for q, width in ((0.5, 0.9), (0.95, 1.9)):
                    t, values = per_second(line.trace.latencies[group], q)
                    axis.plot(t + 0.5, values, line.style, color=line.colour, linewidth=width)
            _limit(axis, limits.get(group), vertical=False)
            axis.set_yscale("log")
            duration_axis(axis.yaxis)
            axis.set_title(f"{group}: intended time to effect")
            time_axis(axis, canvas, _end_ns(lines))
            mark_faults(axis, faults)

        return draw_panel

    keys = [Key(f"{line.label}, p95", line.colour, line.key.look) for line in lines]
    keys += [Key(f"{line.label}, p50", line.colour, "thin-dashed" if line.dashed else "thin") for line in lines]
    return draw(
        "latency-over-time",
        [panel(group) for group in scenario.groups],
        title="Latency over time",
        alt="Median and 95th percentile of latency for each second, by " + _and(scenario.groups) + ".",
        caption=_latency_caption(scenario, lines, faults),
        legend=keys + _limit_keys(limits) + _fault_keys(faults),
    )


def per_second(latencies: Latencies, q: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return seconds, and the quantile (in s) of the events intended in each; NaN where few were, or it is never reached."""
    second = latencies.intended_ns // SECOND
    if len(second) == 0:
        return np.zeros(0), np.zeros(0)
    edges = np.searchsorted(second, np.arange(second[0], second[-1] + 2))
    values = np.full(len(edges) - 1, np.nan)
    for i, (begin, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        if end - begin >= ENOUGH_EVENTS:
            value = _quantile(latencies.latency_ns[begin:end], q) / SECOND
            values[i] = value if math.isfinite(value) else np.nan
    return np.arange(second[0], second[0] + len(values), dtype=np.float64), values


def _quantile(values: NDArray[np.float64], q: float) -> float:
    """Return the inverse of the distribution function, which stays defined when some values are infinite."""
    ordered = np.sort(values)
    return float(ordered[max(0, math.ceil(q * len(ordered)) - 1)])


def _latency_caption(scenario: Scenario, lines: Sequence[Line], faults: Sequence[FaultRecord]) -> str:
    line = lines[-1]
    worst: tuple[float, float, str] | None = None
    for group in scenario.groups:
        t, values = per_second(line.trace.latencies[group], 0.95)
        if len(values) and np.isfinite(values).any():
            at = int(np.nanargmax(values))
            worst = max(worst or (0.0, 0.0, ""), (float(values[at]), float(t[at]), group))
    if worst is None:
        return "No second held enough events to tell."
    value, at_s, group = worst
    calm = _quantile(line.trace.latencies[group].latency_ns, 0.5)
    at_ns = round(at_s * SECOND)
    return (
        f"The worst second began at {_time(at_ns)}{_during(at_ns, faults)}: events of {group} intended then took up to "
        f"{_time(value * SECOND)} (p95), where the run's median is {_time(calm)}."
    )


def latency_distribution(scenario: Scenario, lines: Sequence[Line]) -> Drawing:
    """Draw which share of events took longer than a time, so that rare slow ones show."""
    limits = _limits(scenario)

    def panel(group: str) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            low, high = math.inf, 0.0
            for line in lines:
                t, share = slower_than(line.trace.latencies[group])
                if len(t) == 0:
                    continue
                low, high = min(low, float(t[0])), max(high, float(t[-1]))
                axis.step(t, share, line.style, where="post", color=line.colour)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_ylim(bottom=1e-4, top=1.15)
            if high > 0:
                axis.set_xlim(low * 0.8, high * 1.3)
            duration_axis(axis.xaxis)
            axis.yaxis.set_major_locator(LogLocator(base=10))
            axis.yaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y * 100:g} %"))
            axis.tick_params(length=0)
            _limit(axis, limits.get(group), vertical=True)
            axis.set_title(f"{group}: share of events slower than")

        return draw_panel

    return draw(
        "latency-distribution",
        [panel(group) for group in scenario.groups],
        title="Latency distribution",
        alt="Share of events that took longer than a time, both axes logarithmic, by " + _and(scenario.groups) + ".",
        caption=_distribution_caption(scenario, lines, limits),
        legend=[line.key for line in lines] + _limit_keys(limits),
    )


def slower_than(latencies: Latencies, points: int = 400) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times in s and the share of events that took longer, thinned out evenly on both logarithmic axes."""
    ordered = np.sort(latencies.latency_ns)
    finite = ordered[np.isfinite(ordered)]
    if len(finite) == 0:
        return np.zeros(0), np.zeros(0)
    share = 1 - np.arange(1, len(finite) + 1) / len(ordered)
    from_left = np.linspace(0, len(finite) - 1, points // 2)
    from_right = len(finite) - np.geomspace(1, len(finite), points // 2)
    chosen = np.unique(np.concatenate([from_left, from_right]).astype(np.int64))
    return finite[chosen] / SECOND, np.maximum(share[chosen], 1e-9)


def _distribution_caption(scenario: Scenario, lines: Sequence[Line], limits: Mapping[str, float]) -> str:
    group = next((name for name in scenario.groups if name in limits), next(iter(scenario.groups)))
    parts = []
    for line in lines:
        latency = line.trace.latencies[group].latency_ns
        if len(latency) == 0:
            continue
        if group in limits:
            late = float((latency > limits[group] * SECOND).mean())
            parts.append(f"{percent(late)} {line.label}")
        else:
            parts.append(f"{_time(_quantile(latency, 0.99))} {line.label}")
    if not parts:
        return "No event was measured."
    if group in limits:
        return f"Events of {group} later than the objective of {_time(limits[group] * SECOND)}: {_and(parts)}.{_apart(lines, group)}"
    return f"One event of {group} in a hundred took longer than {_and(parts)}.{_apart(lines, group)}"


def _apart(lines: Sequence[Line], group: str) -> str:
    """Say at which share the two curves of a prediction and a run lie furthest apart."""
    if len(lines) < 2 or not lines[0].dashed:
        return ""
    apart = {}
    for q, words in ((0.5, "median"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")):
        here, there = (_quantile(line.trace.latencies[group].latency_ns, q) for line in (lines[0], lines[-1]))
        if math.isfinite(here) and math.isfinite(there) and here > 0:
            apart[words] = there / here - 1
    if not apart:
        return ""
    worst = max(apart, key=lambda words: abs(apart[words]))
    return f" The curves lie furthest apart at the {worst}: {difference_text(apart[worst], count=False)}."


# ---- outages and throughput ----------------------------------------------------------------------------------------


def outages(scenario: Scenario, lines: Sequence[Line], faults: Sequence[FaultRecord]) -> Drawing:
    """Draw for each partition when nothing reached a group although events waited."""
    rows = [f"{t}/{p}" for t in scenario.topics for p in range(scenario.topics[t].partitions) if _is_read(scenario, t)]
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
                    )
                else:
                    axis.broken_barh(spans, (base, height * 0.86), facecolors=line.colour, linewidth=0)
        axis.set_yticks(range(len(shown)), shown)
        axis.set_ylim(max(len(shown), 1) - 0.5, -0.5)
        axis.grid(visible=False, axis="y")
        axis.set_title("partitions that stood still")
        time_axis(axis, canvas, _end_ns(lines))
        mark_faults(axis, faults)

    return draw(
        "outages",
        [panel],
        title="Outage of each partition",
        alt="For each partition, when no event reached a group for a second or more although one waited.",
        caption=_outage_caption(lines, rows),
        legend=[Key(line.label, line.colour, "box" if line.dashed else "bar") for line in lines] + _fault_keys(faults),
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
        stood = {row: _stood(line.trace, row) for row in rows}
        halted = [row for row in rows if stood[row]]
        if not halted:
            parts.append(f"none {line.label}")
            continue
        longest = max(end - begin for row in halted for begin, end in stood[row])
        parts.append(f"{len(halted)} of {len(rows)} {line.label}, the longest for {_time(longest)}")
    return (
        "Partitions from which nothing was delivered for a second or more while an event waited: "
        + "; ".join(parts)
        + "."
    )


def throughput(scenario: Scenario, lines: Sequence[Line], faults: Sequence[FaultRecord]) -> Drawing:
    """Draw events per second: acknowledged to the producers, and finished by each group."""

    def panel(title: str, of: Callable[[Trace], NDArray[np.float64]]) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            for line in lines:
                rate = of(line.trace)[: max(1, line.trace.end_ns // SECOND)]  # the last second is not a whole one
                axis.step(np.arange(len(rate)), rate, line.style, where="post", color=line.colour, linewidth=1.3)
            axis.set_title(title)
            time_axis(axis, canvas, _end_ns(lines))
            count_axis(axis)
            mark_faults(axis, faults)

        return draw_panel

    panels = [panel("acknowledged, events/s", lambda one: one.produced)]
    for name in scenario.groups:
        panels.append(panel(f"finished by {name}, events/s", lambda one, name=name: one.consumed[name]))  # type: ignore[misc]  # mypy cannot type a lambda's default
    return draw(
        "throughput",
        panels,
        title="Throughput",
        alt="Events per second: acknowledged, and finished by " + _and(scenario.groups) + ".",
        caption=_throughput_caption(scenario, lines),
        legend=[line.key for line in lines] + _fault_keys(faults),
        height=0.85,
    )


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
) -> Drawing | None:
    """Draw how many times faster than allowed each objective's budget burned; None where nothing ever did."""
    names = [name for name in scenario.objectives if any(_burns(reports.get(name)) for _, reports in runs)]
    if not names:
        return None
    colours = [PREDICTED, *RUNS] if predicted else list(RUNS)

    def panel(name: str) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            for number, (_, reports) in enumerate(runs):
                report = reports.get(name)
                if report is not None and len(report.burn):
                    style = "--" if predicted and number == 0 else "-"
                    axis.step(report.burn_at_s, report.burn, style, where="post", color=colours[number % len(colours)])
            axis.axhline(1, color=LIMIT, linewidth=1.2, linestyle=":")
            axis.set_title(f"{name}: times the allowed burn")
            time_axis(axis, canvas, scenario.duration)
            count_axis(axis)
            mark_faults(axis, faults)

        return draw_panel

    keys = [
        Key(label, colours[number % len(colours)], "dashed" if predicted and number == 0 else "line")
        for number, (label, _) in enumerate(runs)
    ]
    label, reports = runs[-1]
    worst = max(names, key=lambda name: (reports[name].worst_burn or 0.0) if name in reports else 0.0)
    burn = reports[worst].worst_burn or 0.0
    return draw(
        "burn",
        [panel(name) for name in names],
        title="Burn rate",
        alt="How many times faster than allowed the error budget burned, every 5 seconds, by " + _and(names) + ".",
        caption=f"At 1 a budget lasts exactly its period. The fastest 5 seconds ({label}, {worst}) burned {burn:.3g} times that; "
        "a burn that high is harmless only because it ends.",
        legend=[*keys, Key("allowed", LIMIT, "dotted"), *_fault_keys(faults)],
        height=0.85,
        share_y=False,
    )


def _burns(report: ObjectiveReport | None) -> bool:
    return report is not None and bool(np.nansum(report.burn) > 0)


# ---- shared --------------------------------------------------------------------------------------------------------


def _limits(scenario: Scenario) -> dict[str, float]:
    """Return the strictest latency objective of each group, in seconds."""
    limits: dict[str, float] = {}
    for objective in scenario.objectives.values():
        if objective.indicator != "latency" or objective.below is None:
            continue
        for group in [objective.of] if objective.of in scenario.groups else scenario.groups:
            assert group is not None
            limits[group] = min(limits.get(group, math.inf), objective.below / SECOND)
    return limits


def _limit(axis: Axes, limit_s: float | None, *, vertical: bool) -> None:
    if limit_s is not None:
        (axis.axvline if vertical else axis.axhline)(limit_s, color=LIMIT, linewidth=1.2, linestyle=":")


def _limit_keys(limits: Mapping[str, float]) -> list[Key]:
    return [Key("objective", LIMIT, "dotted")] if limits else []


def _fault_keys(faults: Sequence[FaultRecord]) -> list[Key]:
    return [Key("fault in effect", FAULT, "shade")] if faults else []


def _during(at_ns: int, faults: Sequence[FaultRecord]) -> str:
    """Say which fault was in effect, or had begun before."""
    inside = [fault for fault in faults if fault.began_ns - SECOND <= at_ns <= fault.ended_ns]
    before = [fault for fault in faults if fault.began_ns <= at_ns]
    if inside:
        return f", during {inside[-1].label}"
    return f", {_time(at_ns - before[-1].ended_ns)} after {before[-1].label} ended" if before else ""


def _end_ns(lines: Sequence[Line]) -> int:
    return max(max(line.trace.end_ns for line in lines), SECOND)


def _is_read(scenario: Scenario, topic: str) -> bool:
    return any(topic in group.topics for group in scenario.groups.values())


def _time(ns: float) -> str:
    return value_text(ns / SECOND, "s")


def _and(words: Sequence[str] | Mapping[str, object]) -> str:
    listed = list(words)
    return listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + " and " + listed[-1]
