"""The page of a game day as it goes: what is in effect, the predicted band with the observed line, how far each stop is, what waits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from reports.document import Document, Section, Small, Table, Tile
from reports.drawing import FAULT, LIMIT, PREDICTED, RUNS, Canvas, Drawing, Key, count_axis, draw, time_axis
from reports.figure_data import band
from reports.gameday import STEP_S, WORSENS_S, Floats, Rules, Watch, rules_of, share_inside
from reports.words import count_text, percent, value_text
from scenarios.quantities import SECOND


def live_document(prediction: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], stop_file: str) -> Document:
    """Return the page of a run as it goes."""
    last: Mapping[str, Any] = (
        rows[-1]
        if rows
        else {"phase": "preparing", "message": "", "at_s": 0.0, "lag": {}, "faults": [], "failed": 0, "left_s": 0.0}
    )
    rules = rules_of(prediction["stop_rules"])
    loaded = [row for row in rows if row["phase"] in ("running", "draining") and row["lag"]]
    seen = [(row.get("predicted_s", row["at_s"]), row["lag"]) for row in loaded]
    waiting = last.get("waiting")
    low, high = ({g: np.array(v) for g, v in prediction["band_90"][side].items()} for side in ("low", "high"))
    over = last["phase"] in ("stopping", "reading back")
    return Document(
        kicker="Game day, live" if not over else "Game day, ending",
        headline=_headline(last, waiting),
        subtitle=f"{_phase(last)} · {last['at_s']:.0f} s since the load began · {last['left_s']:.0f} s left",
        refresh_s=None if over else 2,
        notices=(f"{waiting} waits for a person.",) if waiting else (),
        tiles=(
            *(
                _live_tile(group, events, last.get("predicted_s", last["at_s"]), rules)
                for group, events in last["lag"].items()
            ),
            *(() if not loaded else (_nearest_tile(last, rules), _rate_tile(last))),
        ),
        sections=(
            Section(
                "lag",
                "Is it going as predicted?",
                tuple(lag_figure(seen, low, high, rules.lag_above, _in_effect(loaded))) or ("The load has not begun.",),
                "As predicted?",
            ),
            Section(
                "stops",
                "How far is each stop?",
                (
                    _distances(last, rules),
                    Small(
                        f"To stop by hand: Ctrl-C, the button above where this page is served, or: touch {stop_file}"
                    ),
                ),
                "Stops",
            ),
        ),
    )


def _live_tile(group: str, events: float, at_s: float, rules: Rules) -> Tile:
    limit = Watch(rules).limit(group, at_s)
    outside = events > limit
    return Tile(
        f"Lag of {group}",
        count_text(events),
        "OUTSIDE the band" if outside else f"inside the band, up to {count_text(round(limit))}",
        "lag",
        "bad" if outside else "good",
    )


def _phase(last: Mapping[str, Any]) -> str:
    return str(last["phase"]) if last["phase"] == "stopping" else f"{last['phase']} {last['message']}".strip()


def _headline(last: Mapping[str, Any], waiting: str | None) -> str:
    if last["phase"] == "stopping":
        return f"Stopping: {last['message']}"
    if waiting:
        return f"Waiting for a person: {waiting}"
    return ", ".join(last["faults"]) + " in effect" if last["faults"] else "No fault in effect"


def _in_effect(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, str]]:
    """Return when each fault was in effect, in the prediction's time."""
    spans: dict[str, tuple[float, float]] = {}
    for row in rows:
        at_s = row.get("predicted_s", row["at_s"])
        for fault in row["faults"]:
            spans[fault] = (spans.get(fault, (at_s, at_s))[0], at_s)
    return [(begin, end, fault) for fault, (begin, end) in spans.items()]


Distance = tuple[str, str, str, float]
"""A rule, its figure now, its limit, and the share of the limit that is used."""


def distances(last: Mapping[str, Any], rules: Rules) -> list[Distance]:
    """Return how far each stop is, the nearest first."""
    found: list[Distance] = []
    lag, age, outside = last["lag"], last.get("age_s", {}), last.get("outside_s", {})
    found += [
        (
            f"{group} outside its band",
            value_text(outside.get(group, 0.0), "s"),
            f"{WORSENS_S:g} s, and worsening",
            _used(outside.get(group, 0.0), WORSENS_S),
        )
        for group in rules.band_high
    ]
    for words, limits in (
        ("lag of {}", rules.lag_above),
        (f"backlog of {{}} for {rules.recover_s:g} s", rules.drain_lag),
    ):
        found += [
            (
                words.format(group),
                count_text(lag.get(group, 0)),
                count_text(round(limit)),
                _used(lag.get(group, 0), limit),
            )
            for group, limit in limits.items()
        ]
    found += [
        (
            f"oldest event of {group}",
            value_text(age.get(group, 0.0), "s"),
            value_text(limit, "s"),
            _used(age.get(group, 0.0), limit),
        )
        for group, limit in rules.waiting_above_s.items()
    ]
    counts = {
        f"bad events of {name}": (last.get("bad", {}).get(name, 0), limit) for name, limit in rules.bad_above.items()
    }
    counts["failed sends"] = (last["failed"], rules.failed_above)
    found += [(name, count_text(now), count_text(limit), _used(now, limit)) for name, (now, limit) in counts.items()]
    return sorted(found, key=lambda each: -each[3])


def _used(now: float, limit: float) -> float:
    return min(now / limit, 9.99) if limit else 0.0


def _nearest_tile(last: Mapping[str, Any], rules: Rules) -> Tile:
    name, now, limit, used = distances(last, rules)[0]
    return Tile(
        "How near is a stop?",
        percent(round(used, 2)),
        f"{name}: {now} of {limit}",
        "stops",
        "bad" if used > 0.8 else "good",
    )


def _rate_tile(last: Mapping[str, Any]) -> Tile:
    planned, came = last.get("planned_hz", 0.0), last.get("acknowledged_hz", 0.0)
    state = "" if not planned else "good" if came >= 0.9 * planned else "bad"
    return Tile(
        "Are events accepted?",
        f"{count_text(round(came))}/s",
        f"of {count_text(round(planned))}/s planned",
        "lag",
        state,
    )


def _distances(last: Mapping[str, Any], rules: Rules) -> Table:
    rows = tuple((name, now, limit, percent(round(used, 3))) for name, now, limit, used in distances(last, rules))
    return Table(("Rule", "Now", "Stops above", "Used"), rows, frozenset({1, 2, 3}))


def lag_figure(
    seen: Sequence[tuple[float, Mapping[str, float]]],
    low: Mapping[str, Floats],
    high: Mapping[str, Floats],
    limits: Mapping[str, float],
    faults: Sequence[tuple[float, float, str]] = (),
) -> list[Drawing]:
    """Return the observed lag of each group over the band in which 90 % of predicted runs lie."""
    end_s = max([len(band) * STEP_S for band in high.values()] + [at for at, _ in seen] + [1.0])

    def panel(group: str) -> Any:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            at = np.arange(len(high[group])) * STEP_S
            band(axis, at, low[group], high[group], label="90 % of predicted runs", color=PREDICTED, alpha=0.28)
            points = [(t, lag[group]) for t, lag in seen if group in lag]
            if points:
                axis.plot(*zip(*points, strict=True), color=RUNS[0], label="observed")
            highest = max([*(y for _, y in points), float(np.max(high[group], initial=0.0)), 1.0])
            if group in limits and limits[group] < 2.5 * highest:
                axis.axhline(limits[group], color=LIMIT, linestyle=":", linewidth=1.2)
            for begin, end, _ in faults:
                axis.axvspan(begin, end, color=FAULT, alpha=0.13, linewidth=0)
            axis.set_title(f"lag of {group}, events")
            time_axis(axis, canvas, int(end_s * SECOND))
            count_axis(axis)

        return draw_panel

    if not high:
        return []
    keys = [
        Key("90 % of predicted runs", PREDICTED, "band"),
        Key("observed", RUNS[0], "line"),
        Key("stop above", LIMIT, "dotted"),
    ]
    if faults:
        keys.append(Key("fault in effect", FAULT, "shade"))
    return [
        draw(
            "gameday-lag",
            [panel(group) for group in high],
            title="Lag against its prediction",
            alt="Observed lag of each group over time, over the band in which 90 % of predicted runs lie.",
            caption=_lag_caption(seen, low, high),
            legend=keys,
        )
    ]


def _lag_caption(
    seen: Sequence[tuple[float, Mapping[str, float]]], low: Mapping[str, Floats], high: Mapping[str, Floats]
) -> str:
    """Return how much of the time the lines lay inside their bands, and where one was furthest outside."""
    share = share_inside(seen, low, high)
    if share is None:
        return "A line inside the band goes as predicted. Outside and rising is what stops a run."
    said = f"{percent(round(share, 3))} of the time the lines lay inside their bands"
    above = [
        (events - band_high, at_s, group, events, band_high)
        for at_s, lag in seen
        for group, events in lag.items()
        if group in high and 0 <= int(at_s / STEP_S) < len(high[group])
        for band_high in (float(high[group][int(at_s / STEP_S)]),)
    ]
    most, at_s, group, events, top = max(above)
    if most < 1:
        return f"{said}, and no line was above its band."
    return f"{said}. Furthest above was {group}, at {at_s:g} s: {count_text(round(events))} events, of at most {count_text(round(top))} predicted."
