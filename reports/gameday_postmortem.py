"""The postmortem of a game day: what was believed and what happened, who noticed when, what it cost, what would have prevented it."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.document import Block, Cell, Document, Listing, Section, Small, Table, Tile
from reports.gameday import Floats
from reports.gameday_live_page import lag_figure
from reports.gameday_page import predicted_interval
from reports.prevention import measures, words_of
from reports.remedies import REMEDIES
from reports.runbooks import runbook_link
from reports.sections.badges import Badge
from reports.words import DASH, count_text, percent, value_text
from scenarios.schema import Scenario

_OUTCOMES = {
    "confirmed": Badge("confirmed", "✓", "good"),
    "refuted": Badge("refuted", "✗", "bad"),
    "inconclusive": Badge("inconclusive", "?", "unsure"),
    "aborted": Badge("aborted", "?", "unsure"),
}


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
    faults = [(d["began"], d["ended"], d["fault"]) for d in score["detection"]]
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
            _noticed_tile(score),
            _cost_tile(score),
            Tile(
                "Would it have been stopped?" if rehearsal else "Did it go to its end?",
                ("yes" if stopped else "no") if rehearsal else "stopped" if stopped else "yes",
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
                (_calibration(score), *lag_figure(seen, low, high, {}, faults)),
                "Prediction",
            ),
            Section("detection", "Who noticed, and when", (_detected(score), *_alerts(score)), "Detection"),
            Section("response", "What people did", _response(score), "Response"),
            Section("cost", "What it cost in error budget", _cost(score), "Cost"),
            Section("prevention", "What would have prevented it", _prevention(scenario, score), "Prevention"),
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
            Cell(value_text(h["predicted"], h["unit"]), under=predicted_interval(h["interval"], h["unit"])),
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


def _noticed_tile(score: Mapping[str, Any]) -> Tile:
    found = score["detection"]
    told = [d["alert"] for d in found if d["alert"] is not None]
    if not found:
        return Tile("Who noticed?", DASH, "no fault began", "detection", "unsure")
    detail = "no alert fired for the others" if told else "no alert fired"
    if told:
        first = min(told, key=lambda each: float(each["after"]))
        detail = f"{first['alert']} first, after {value_text(first['after'], 's')}"
    return Tile(
        "Did an alert tell of each fault?", f"{len(told)} of {len(found)}", detail, "detection",
        "good" if len(told) == len(found) else "bad",
    )  # fmt: skip


def _cost_tile(score: Mapping[str, Any]) -> Tile:
    spent = {name: each["spent"] for name, each in score["budget"].items() if each["spent"] is not None}
    if not spent:
        return Tile("What did it cost?", DASH, "no objective could be judged", "cost", "unsure")
    worst = max(spent, key=lambda name: float(spent[name]))
    return Tile(
        "What did it cost?",
        percent(spent[worst]),
        f"of the period's budget of {worst}",
        "cost",
        "bad" if spent[worst] > 1 else "",
    )


def _detected(score: Mapping[str, Any]) -> Table | str:
    if not score["detection"]:
        return "No fault began, so there was nothing to notice."
    return Table(
        (
            "Fault",
            "Began",
            "First sign in the system",
            "First alert",
            "Message sent",
            "First note",
            "Lag above its band",
        ),
        tuple(_detected_row(d) for d in score["detection"]),
        frozenset({1}),
    )


def _detected_row(d: Mapping[str, Any]) -> tuple[Cell | str, ...]:
    alert = d["alert"]
    return (
        d["fault"],
        _at(d["began"]),
        DASH if d["after"] is None else Cell(_after(d["after"]), under=str(d["first_incident"])),
        "none" if alert is None else Cell(_after(alert["after"]), under=f"{alert['alert']}, {alert['severity']}"),
        DASH if alert is None else _after(alert["message_after"]),
        _after(d["person_after"]),
        _after(d["outside_band_after"]),
    )


def _at(seconds: float) -> str:
    return f"{seconds:.1f} s"


def _after(seconds: float | None) -> str:
    return DASH if seconds is None else f"after {seconds:.1f} s"


def _alerts(score: Mapping[str, Any]) -> tuple[Block, ...]:
    if score["alerts_reason"]:
        return (Small(f"Alerts cannot be judged: {score['alerts_reason']}."),)
    said = Small(
        "Alerts are those of rules.yml, evaluated as Prometheus would on the metrics that kafka_exporter and the service would have shown in this run "
        "(scraped and evaluated every 5 s, messages grouped as Alertmanager does), after a calm time that went on as the run did before its first fault."
    )
    if not score["alerts"]:
        return ("No alert fired.", said)
    rows = tuple(
        (
            Cell(a["alert"], under=", ".join(f"{k} {v}" for k, v in a["labels"].items())),
            a["severity"] or DASH,
            _at(a["fired_at"]),
            DASH if a["message_at"] is None else _at(a["message_at"]),
            "still" if a["ended_at"] is None else _at(a["ended_at"]),
            ", ".join(a["about"]) or "nothing that was wrong",
            Cell(a["runbook"] or DASH, link=runbook_link(a["runbook"])),
        )
        for a in score["alerts"]
    )
    return (
        Table(("Alert", "Severity", "Fired", "Message", "Ended", "About", "Runbook"), rows, frozenset({2, 3, 4})),
        said,
    )


def _response(score: Mapping[str, Any]) -> tuple[Block, ...]:
    if not score["response"]:
        return (
            "Nobody wrote down what was seen or done while it ran, so the response cannot be judged. "
            "`eventdrill gameday note DIR TEXT` writes what was seen, with `--did` what was done.",
        )
    rows = tuple((_at(each["at_s"]), each["kind"], each["text"]) for each in score["response"])
    return (_response_sentence(score), Table(("At", "People", "What"), rows))


def _response_sentence(score: Mapping[str, Any]) -> str:
    said = []
    for d in score["detection"]:
        parts = [f"seen {_after(d['person_after'])}"] if d["person_after"] is not None else ["seen by nobody"]
        parts += [f"acted upon {_after(d['response_after'])}"] if d["response_after"] is not None else []
        said.append(f"{d['fault']} was {' and '.join(parts)}")
    return "; ".join(said) + "." if said else "No fault began."


def _cost(score: Mapping[str, Any]) -> tuple[Block, ...]:
    if not score["budget"]:
        return ("The scenario has no objectives, so there is no budget that could be spent.",)
    rows = tuple(
        (
            Cell(name, under=each["text"]),
            DASH if each["compliance"] is None else percent(each["compliance"]),
            f"{count_text(each['bad'])} of {count_text(each['good'] + each['bad'])}",
            DASH if each["spent"] is None else percent(each["spent"]),
            _spent_by(each),
        )
        for name, each in score["budget"].items()
    )
    return (
        Table(("Objective", "Good", "Bad events", "Budget spent", "By"), rows, frozenset({1, 2, 3})),
        Small(
            "Budget spent: bad events over those that the whole period may have at this load. Of a run that was stopped, what was sent until two "
            "seconds before counts, and what still waited counts as bad."
        ),
    )


def _spent_by(objective: Mapping[str, Any]) -> str:
    owners = [(name, bad) for name, bad in objective["spent_by"].items() if bad]
    return (
        ", ".join(f"{name} {percent(bad / objective['bad'])}" for name, bad in sorted(owners, key=lambda o: -o[1]))
        or "nothing"
    )


def _prevention(scenario: Scenario, score: Mapping[str, Any]) -> tuple[Block, ...]:
    kinds = dict.fromkeys(d["kind"] for d in score["detection"])
    if not kinds:
        return ("No fault began.",)
    planned = {fault.kind: words_of(measures(scenario, fault)) for fault in scenario.faults}
    # A surprise of a rehearsal is none of the scenario's faults.
    rows = tuple(
        (kind.replace("_", " "), planned.get(kind) or "; ".join(REMEDIES[kind].prevents), REMEDIES[kind].sign)
        for kind in kinds
    )
    return (
        Table(("Fault", "What keeps its damage small", "What shows it"), rows),
        Small(
            "What a measure that is missing would have bought: `eventdrill report RUN --for executives --what-if`, which simulates each with the same events."
        ),
    )


def _timeline(score: Mapping[str, Any]) -> Table:
    rows = tuple((_at(each["at_s"]), each["what"], each["detail"] or DASH) for each in score["timeline"])
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
        f"No alert told of {d['fault']}: should one have? `eventdrill alerts suggest` searches for rules that would. Owner: ..."
        for d in score["detection"]
        if d["alert"] is None and not score["alerts_reason"]
    ]
    if score["stopped"]:
        actions.append(
            "Was the stop right? If so, what would have prevented the need; if not, which rule was too tight? Owner: ..."
        )
    return tuple(actions) or (
        "Nothing was refuted. Next time: a harder fault, a higher load, or without a word beforehand.",
    )
