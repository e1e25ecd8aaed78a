"""The figures of latency: over time, and how many events took longer than what."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from reports.drawing import LIMIT, Canvas, Drawing, Key, draw, duration_axis, mark_faults, time_axis
from reports.figure_parts import Line, Panel, during, end_ns, fault_keys, joined, time_words
from reports.traces import Latencies
from reports.words import difference_text, percent
from rundata.tables import FaultRecord
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

ENOUGH_EVENTS = 5
"""Fewer in a second say nothing about that second's quantiles."""


def latency_over_time(scenario: Scenario, lines: Sequence[Line], faults: Sequence[FaultRecord]) -> Drawing:
    """Draw the median and the 95th percentile of each second's events."""
    limits = _limits(scenario)

    def panel(group: str) -> Panel:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            for line in lines:
                for q, name, width in ((0.5, "p50", 0.9), (0.95, "p95", 1.9)):
                    t, values = per_second(line.trace.latencies[group], q)
                    axis.plot(
                        t + 0.5, values, line.style, color=line.colour, linewidth=width, label=f"{line.label} {name}, s"
                    )
            _limit(axis, limits.get(group), vertical=False)
            axis.set_yscale("log")
            duration_axis(axis.yaxis)
            axis.set_title(f"{group}: intended time to effect")
            time_axis(axis, canvas, end_ns(lines))
            mark_faults(axis, faults)

        return draw_panel

    keys = [Key(f"{line.label}, p95", line.colour, line.key.look) for line in lines]
    keys += [Key(f"{line.label}, p50", line.colour, "thin-dashed" if line.dashed else "thin") for line in lines]
    return draw(
        "latency-over-time",
        [panel(group) for group in scenario.groups],
        title="Latency over time",
        alt="Median and 95th percentile of latency for each second, by " + joined(scenario.groups) + ".",
        caption=_latency_caption(scenario, lines, faults),
        legend=keys + _limit_keys(limits) + fault_keys(faults),
    )


def shows_seconds(lines: Sequence[Line]) -> bool:
    """Whether any second of any run held enough events for `latency_over_time`."""
    series = (per_second(latencies, 0.5)[1] for line in lines for latencies in line.trace.latencies.values())
    return any(np.isfinite(values).any() for values in series)


def per_second(latencies: Latencies, q: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return seconds, and the quantile (in s) of the events intended in each; NaN where few were, or it is never reached."""
    second = latencies.intended_ns // SECOND
    if len(second) == 0:
        return np.zeros(0), np.zeros(0)
    edges = np.searchsorted(second, np.arange(second[0], second[-1] + 2))
    values = np.full(len(edges) - 1, np.nan)
    for i, (begin, end) in enumerate(pairwise(edges.tolist())):
        if end - begin >= ENOUGH_EVENTS:
            value = quantile(latencies.latency_ns[begin:end], q) / SECOND
            values[i] = value if math.isfinite(value) else np.nan
    return np.arange(second[0], second[0] + len(values), dtype=np.float64), values


def quantile(values: NDArray[np.float64], q: float) -> float:
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
    calm = quantile(line.trace.latencies[group].latency_ns, 0.5)
    at_ns = round(at_s * SECOND)
    return (
        f"The worst second began at {time_words(at_ns)}{during(at_ns, faults)}: events of {group} intended then took up to "
        f"{time_words(value * SECOND)} (p95), where the run's median is {time_words(calm)}."
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
                axis.step(t, share, line.style, where="post", color=line.colour, label=f"{line.label}, share slower")
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
        alt="Share of events that took longer than a time, both axes logarithmic, by " + joined(scenario.groups) + ".",
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
            slowest = quantile(latency, 0.99)
            said = f"took longer than {time_words(slowest)}" if math.isfinite(slowest) else "never took effect"
            parts.append(f"{said} ({line.label})")
    if not parts:
        return "No event was measured."
    if group in limits:
        return f"Events of {group} later than the objective of {time_words(limits[group] * SECOND)}: {joined(parts)}.{_apart(lines, group)}"
    return f"One event of {group} in a hundred {joined(parts)}.{_apart(lines, group)}"


def _apart(lines: Sequence[Line], group: str) -> str:
    """Say at which share the two curves of a prediction and a run lie furthest apart."""
    if len(lines) < 2 or not lines[0].dashed:
        return ""
    apart = {}
    for q, words in ((0.5, "median"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")):
        here, there = (quantile(line.trace.latencies[group].latency_ns, q) for line in (lines[0], lines[-1]))
        if math.isfinite(here) and math.isfinite(there) and here > 0:
            apart[words] = there / here - 1
    if not apart:
        return ""
    worst = max(apart, key=lambda words: abs(apart[words]))
    return f" The curves lie furthest apart at the {worst}: {difference_text(apart[worst], count=False)}."


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
