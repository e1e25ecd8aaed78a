"""Pages of a game day: the plan, the live run as it goes, and the postmortem."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from reports.document import Block, Cell, Code, Document, Listing, Section, Small, Table, Tile
from reports.drawing import FAULT, LIMIT, PREDICTED, RUNS, Canvas, Drawing, Key, count_axis, draw, time_axis
from reports.fault_words import fault_words
from reports.gameday import STEP_S, Floats, Hypothesis, Rules, Watch
from reports.sections.badges import Badge
from reports.words import DASH, count_text, duration_text, interval_text, percent, value_text
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

_OUTCOMES = {
    "confirmed": Badge("confirmed", "✓", "good"),
    "refuted": Badge("refuted", "✗", "bad"),
    "inconclusive": Badge("inconclusive", "?", "unsure"),
    "aborted": Badge("aborted", "?", "unsure"),
}
_ROLLBACKS = {
    "broker_crash": "start the broker again; EventDrill does it at the fault's end, and at once on a stop",
    "broker_stop": "start the broker again; EventDrill does it at the fault's end, and at once on a stop",
    "broker_pause": "let the process go on (SIGCONT); EventDrill does it, also when its driver dies",
    "member_crash": "start the member again; its partitions come back with the next rebalance",
    "member_leave": "start the member again; its partitions come back with the next rebalance",
    "member_pause": "let the process go on (SIGCONT)",
    "slow_work": "nothing to undo: handlers are fast again for tries that begin after the end",
    "failing_work": "nothing to undo: tries succeed again after the end; what was given up lies in the dead-letter topic",
    "surge": "nothing to undo: the planned load is what it was",
    "poison": "nothing to undo: poisoned events end in the dead-letter topic",
}
_ELSE = "EventDrill undoes it at its end and at once on a stop, also when its driver dies"


def plan_document(
    scenario: Scenario,
    about: Mapping[str, Any],
    prediction: Mapping[str, Any],
    hypotheses: Sequence[Hypothesis],
    rules: Rules,
    roles: Mapping[str, str],
) -> Document:
    """Return the plan of a game day."""
    return Document(
        kicker="Game day, planned",
        headline=scenario.scenario,
        subtitle=f"Planned {about['planned']} · prediction {about['prediction_sha256'][:12]}, locked · {prediction['replications']} simulated runs",
        lead=scenario.about.strip(),
        tiles=(
            Tile("How many hypotheses?", str(len(hypotheses)), "each with its prediction", "hypotheses"),
            Tile(
                "How likely is a needless stop?",
                percent(rules.chance),
                f"at most {percent(rules.at_most)} with 95 %",
                "stops",
                "good" if rules.chance <= 0.05 else "bad",
            ),
            Tile(
                "How long does it take?",
                duration_text(scenario.duration),
                "and the drain, after brokers are up",
                "timeline",
            ),
        ),
        sections=(
            Section(
                "hypotheses",
                "What we believe will happen",
                (
                    _hypotheses(hypotheses),
                    Small(
                        "Predicted is the median of the simulated runs, and where 95 % of single runs lie; the chance is the share of them in which it holds."
                    ),
                ),
                "Hypotheses",
            ),
            Section("timeline", "When what happens", (_steps(scenario),), "Timeline"),
            Section("blast", "What can be hurt", (Listing(_blast(scenario, about)),), "Blast radius"),
            Section(
                "stops",
                "When we stop",
                (
                    Listing(_stop_words(rules)),
                    Small(
                        "Limits come from one half of the simulated runs; the other half says how often they would stop a run that goes as predicted."
                    ),
                ),
                "Stop rules",
            ),
            Section(
                "roles",
                "Who does what",
                (
                    Table(
                        ("Role", "Who", "Does"),
                        tuple((role, about["roles"].get(role) or DASH, does) for role, does in roles.items()),
                    ),
                    Small("Names go into gameday.json."),
                ),
                "Roles",
            ),
            Section("watch", "What to watch", (Listing(_watch_words(scenario)),), "Watch"),
            Section("messages", "What to send", (Code(_messages(scenario, about)),), "Messages"),
        ),
    )


def _hypotheses(hypotheses: Sequence[Hypothesis]) -> Table:
    rows = tuple(
        (
            Cell(each.id, under=each.text),
            Cell(value_text(each.predicted, each.unit), under=_interval(each.interval, each.unit)),
            percent(each.chance),
        )
        for each in hypotheses
    )
    return Table(("Hypothesis", "Predicted", "Holds in"), rows, frozenset({1, 2}))


def _interval(interval: Any, unit: str) -> str:
    if interval is None:
        return ""
    low, high = interval
    return interval_text((low if low is not None else 0.0, high if high is not None else float("inf")), unit)


def _steps(scenario: Scenario) -> Table:
    rows: list[tuple[int, str, str, str]] = [
        (-1, "before", "everybody is there, the stop was tried, messages are out", ""),
        (
            0,
            "load begins",
            f"the first {duration_text(scenario.warm_up)} are not counted" if scenario.warm_up else "",
            "",
        ),
    ]
    for fault in scenario.faults:
        begins = getattr(fault, "at", ()) or ()
        lasts = int(getattr(fault, "for_ns", 0) or 0)
        for begin in begins if isinstance(begins, tuple | list) else (begins,):
            words = fault_words(fault)
            rows.append((int(begin), fault.label, words[0].upper() + words[1:], _ROLLBACKS.get(fault.kind, _ELSE)))
            if lasts:
                rows.append((int(begin) + lasts, f"{fault.label} ends", "watch the drain", ""))
    rows.append((scenario.duration, "load ends", f"wait up to {duration_text(scenario.drain)} for the groups", ""))
    ordered = sorted(rows, key=lambda row: row[0])
    return Table(
        ("At", "Step", "What", "Rollback"),
        tuple((DASH if at < 0 else duration_text(at), step, what, back or DASH) for at, step, what, back in ordered),
    )


def _blast(scenario: Scenario, about: Mapping[str, Any]) -> tuple[str, ...]:
    where = (
        "a private Kafka that EventDrill starts on loopback and that ends with it"
        if about["on"] == "local"
        else "brokers inside one process of EventDrill's own"
    )
    owners = sorted(
        {
            str(o)
            for o in (
                scenario.owner,
                *(t.owner for t in scenario.topics.values()),
                *(g.owner for g in scenario.groups.values()),
            )
            if o
        }
    )
    return (
        f"It runs on {where}: nothing else is touched.",
        f"Topics: {', '.join(scenario.topics)}. Groups: {', '.join(scenario.groups)}.",
        f"Faults: {', '.join(sorted({f.kind for f in scenario.faults})) or 'none'}.",
        f"Owners to tell: {', '.join(owners) or 'none named in the scenario'}.",
    )


def _stop_words(rules: Rules) -> tuple[str, ...]:
    return (
        *(f"The lag of {group} is above {count_text(limit)} events." for group, limit in rules.lag_above.items()),
        "The lag of a group has been outside its predicted band for 5 s, and is worse than when it left it.",
        f"More than {count_text(rules.failed_above)} sends have failed or are unknown.",
        "Nothing was heard from the driver for 15 s: the watchdog, a process of its own, stops it.",
        "A person says so: Ctrl-C, the page's button, `touch STOP` in this folder, or the signal USR1 or TERM.",
        f"Together these stop {percent(rules.chance)} of the runs that go as predicted (at most {percent(rules.at_most)} with 95 %).",
    )


def _watch_words(scenario: Scenario) -> tuple[str, ...]:
    groups = [
        f"{name}: lag, effects per second, rebalances" + (f" (runbook: {g.runbook})" if g.runbook else "")
        for name, g in scenario.groups.items()
    ]
    return (
        *groups,
        "brokers: which are registered, leaders of each partition, replicas in sync",
        "producers: acknowledged of planned events per second, failed sends",
        "your own dashboards and alerts: note which one told you first, and when",
    )


def _messages(scenario: Scenario, about: Mapping[str, Any]) -> str:
    return (
        f"BEFORE  We play the game day `{scenario.scenario}` today. It touches: {', '.join(scenario.topics)}. It takes about "
        f"{duration_text(scenario.duration)}. To stop it: tell the coordinator, or `touch {about.get('folder', 'DIR')}/STOP`.\n"
        f"BEGIN   `{scenario.scenario}` has begun.\n"
        f"STOP    `{scenario.scenario}` was stopped because ...; its faults are undone, and we watch until the lag is gone.\n"
        f"END     `{scenario.scenario}` is over. First results: ... The postmortem follows in the same folder."
    )


# ---- live ----------------------------------------------------------------------------------------------------------


def live_document(prediction: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], stop_file: str) -> Document:
    """Return the page of a run as it goes."""
    last: Mapping[str, Any] = (
        rows[-1]
        if rows
        else {"phase": "preparing", "message": "", "at_s": 0.0, "lag": {}, "faults": [], "failed": 0, "left_s": 0.0}
    )
    from reports.gameday import rules_of

    rules = rules_of(prediction["stop_rules"])
    seen = [(row["at_s"], row["lag"]) for row in rows if row["phase"] in ("running", "draining") and row["lag"]]
    low, high = ({g: np.array(v) for g, v in prediction["band_90"][side].items()} for side in ("low", "high"))
    over = last["phase"] in ("stopping", "reading back")
    return Document(
        kicker="Game day, live" if not over else "Game day, ending",
        headline=", ".join(last["faults"]) + " in effect" if last["faults"] else "No fault in effect",
        subtitle=f"{last['phase']} {last['message']} · {last['at_s']:.0f} s since the load began · {last['left_s']:.0f} s left",
        refresh_s=None if over else 2,
        tiles=tuple(_live_tile(group, events, last["at_s"], rules) for group, events in last["lag"].items()),
        sections=(
            Section(
                "lag", "Is it going as predicted?", (*_lag_figure(seen, low, high, rules.lag_above),), "As predicted?"
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


def _distances(last: Mapping[str, Any], rules: Rules) -> Table:
    rows = [
        (
            f"lag of {group}",
            count_text(last["lag"].get(group, 0)),
            count_text(limit),
            percent(min(last["lag"].get(group, 0) / limit, 9.99)) if limit else DASH,
        )
        for group, limit in rules.lag_above.items()
    ]
    rows.append(
        (
            "failed sends",
            count_text(last["failed"]),
            count_text(rules.failed_above),
            percent(min(last["failed"] / rules.failed_above, 9.99)),
        )
    )
    return Table(("Rule", "Now", "Stops above", "Used"), tuple(rows), frozenset({1, 2, 3}))


def _lag_figure(
    seen: Sequence[tuple[float, Mapping[str, float]]],
    low: Mapping[str, Floats],
    high: Mapping[str, Floats],
    limits: Mapping[str, float],
    faults: Sequence[tuple[float, float, str]] = (),
) -> list[Drawing]:
    end_s = max([len(band) * STEP_S for band in high.values()] + [at for at, _ in seen] + [1.0])

    def panel(group: str) -> Any:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            at = np.arange(len(high[group])) * STEP_S
            axis.fill_between(at, low[group], high[group], color=PREDICTED, alpha=0.28, linewidth=0)
            points = [(t, lag[group]) for t, lag in seen if group in lag]
            if points:
                axis.plot(*zip(*points, strict=True), color=RUNS[0])
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
            caption="A line inside the band goes as predicted. Outside and rising is what stops a run.",
            legend=keys,
        )
    ]


# ---- postmortem ----------------------------------------------------------------------------------------------------


def postmortem_document(
    scenario: Scenario,
    score: Mapping[str, Any],
    notes: str,
    seen: Sequence[tuple[float, Mapping[str, float]]],
    low: Mapping[str, Floats],
    high: Mapping[str, Floats],
    *,
    rehearsal: bool,
) -> Document:
    """Return what came out of a run: hypotheses, detection, the prediction's own score, timeline, evidence, actions."""
    counts = {o: sum(h["outcome"] == o for h in score["hypotheses"]) for o in _OUTCOMES}
    stopped, inside = score["stopped"], score["calibration"]["inside_band_90"]
    faults = [(d["began"], d["began"] + 1.0, d["fault"]) for d in score["detection"]]
    return Document(
        kicker="Game day, rehearsed in the simulator" if rehearsal else "Game day, postmortem",
        headline=scenario.scenario,
        subtitle=f"{score['run']} · prediction {score['prediction_sha256'][:12]}, locked before",
        lead=scenario.about.strip(),
        notices=(f"The run was stopped: {stopped}.",) if stopped and not rehearsal else (),
        tiles=(
            Tile(
                "What became of the hypotheses?",
                f"{counts['confirmed']} of {len(score['hypotheses'])} confirmed",
                ", ".join(f"{count} {word}" for word, count in counts.items() if count and word != "confirmed")
                or "none refuted",
                "hypotheses",
                "bad" if counts["refuted"] else "unsure" if counts["aborted"] + counts["inconclusive"] else "good",
            ),
            Tile(
                "Was it as predicted?",
                DASH if inside is None else percent(round(inside, 2)),
                "of the time inside the 90 % band",
                "prediction",
                "" if inside is None else "good" if inside >= 0.8 else "bad",
            ),
            Tile(
                "Did it go to its end?",
                "stopped" if stopped else "yes",
                stopped or "no rule fired",
                "timeline",
                "unsure" if stopped else "good",
            ),
        ),
        sections=(
            Section("hypotheses", "What we believed, and what happened", (_scored(score),), "Hypotheses"),
            Section(
                "prediction",
                "How good the prediction was",
                (_calibration(score), *_lag_figure(seen, low, high, {}, faults)),
                "Prediction",
            ),
            Section("detection", "Who noticed, and when", (_detected(score),), "Detection"),
            Section("timeline", "What happened, and when", (_timeline(score),), "Timeline"),
            Section("notes", "What people wrote down", _notes(notes), "Notes"),
            Section("actions", "What follows", (Listing(_actions(score)),), "Actions"),
            Section(
                "evidence",
                "Where it can be checked",
                (
                    Listing(
                        (
                            f"The run's dataset: {score['run']} (opens with `eventdrill report`).",
                            f"The prediction: prediction.json, SHA-256 {score['prediction_sha256']}.",
                            f"The data: {score['data']['state']}"
                            + ("" if score["data"]["valid"] else "; " + "; ".join(score["data"]["reasons"]))
                            + ".",
                        )
                    ),
                ),
                "Evidence",
            ),
        ),
    )


def _scored(score: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            Cell(h["id"], under=h["text"]),
            Cell(value_text(h["predicted"], h["unit"]), under=_interval(h["interval"], h["unit"])),
            value_text(h["observed"], h["unit"]),
            Cell(
                "",
                _OUTCOMES[h["outcome"]],
                h["reason"] or ("outside the predicted interval" if h["inside"] is False else ""),
            ),
        )
        for h in score["hypotheses"]
    )
    return Table(("Hypothesis", "Predicted", "Observed", "Verdict"), rows, frozenset({1, 2}))


def _calibration(score: Mapping[str, Any]) -> str:
    inside, intervals = score["calibration"]["inside_band_90"], score["calibration"]["inside_interval"]
    said = (
        "It cannot be told how the lag went."
        if inside is None
        else f"{percent(round(inside, 3))} of the time the lag lay inside its 90 % band."
    )
    if intervals:
        said += f" {sum(intervals)} of {len(intervals)} figures lay inside their 95 % intervals."
    return said


def _detected(score: Mapping[str, Any]) -> Table | str:
    if not score["detection"]:
        return "No fault began, so there was nothing to notice."
    rows = tuple(
        (
            d["fault"],
            f"{d['began']:.1f} s",
            DASH if d["after"] is None else Cell(f"after {d['after']:.1f} s", under=str(d["first_incident"])),
            DASH if d["outside_band_after"] is None else f"after {d['outside_band_after']:.1f} s",
        )
        for d in score["detection"]
    )
    return Table(("Fault", "Began", "First sign in the system", "Lag above its band"), rows, frozenset({1}))


def _timeline(score: Mapping[str, Any]) -> Table:
    rows = tuple((f"{each['at_s']:.1f} s", each["what"], each["detail"] or DASH) for each in score["timeline"])
    return Table(("At", "What", "Detail"), rows)


def _notes(notes: str) -> tuple[Block, ...]:
    lines = tuple(line[2:] for line in notes.splitlines() if line.startswith("- "))
    return (Listing(lines),) if lines else ("Nobody wrote anything down.",)


def _actions(score: Mapping[str, Any]) -> tuple[str, ...]:
    actions = []
    for h in score["hypotheses"]:
        if h["outcome"] == "refuted":
            actions.append(
                f"{h['id']} ({h['text']}) was refuted: find out why, change the system or the expectation, and play it again. Owner: ..."
            )
        elif h["outcome"] in ("aborted", "inconclusive"):
            actions.append(f"{h['id']} ({h['text']}) is open: {h['reason']}. Play it again. Owner: ...")
        elif h["inside"] is False:
            actions.append(
                f"{h['id']} held, but not as predicted: `eventdrill verify` says whether the model or the machine is off. Owner: ..."
            )
    actions += [
        f"Nothing told of {d['fault']}: which alert should have? `eventdrill alerts backtest` on the run tells. Owner: ..."
        for d in score["detection"]
        if d["after"] is None
    ]
    if score["stopped"]:
        actions.append(
            "Was the stop right? If so, what would have prevented the need; if not, which rule was too tight? Owner: ..."
        )
    return tuple(actions) or (
        "Nothing was refuted. Next time: a harder fault, a higher load, or without a word beforehand.",
    )
