"""What became of a game day's run: each hypothesis, who noticed what when, what it cost, and how good the prediction was."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eventdrill.errors import WrongInputError
from eventdrill.workflows.gameday import NOTES, REHEARSALS, RULES, GameDay, course, read_watch
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from reports.alerts.on_run import Alerted, Told
    from reports.document import Document
    from reports.gameday import Floats, Rules
    from rundata.run import Run
    from rundata.tables import RunData

Seen = Sequence[tuple[float, Mapping[str, float]]]
"""Lag by group at instants of the prediction's own time."""
_NOTE = re.compile(r"- (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC: (?:(saw|did): )?(.*)")
_AFTERWARDS_S = 30.0
"""A fault is noticed until so long after its begin, or until its end."""
_MOST_ENTRIES = 60
_UNDER_WAY_NS = 2 * SECOND
"""Events of so long before a stop were under way."""


def score(day: GameDay, number: int | None = None) -> dict[str, Any]:
    """Judge a live run, the last one by default, and write score and postmortem beside it."""
    runs = day.folder / "runs"
    numbers = sorted(int(each.name) for each in runs.iterdir() if each.name.isdecimal()) if runs.is_dir() else []
    if not numbers or (number is not None and number not in numbers):
        raise WrongInputError(
            f"{day.folder} has no run {'yet' if number is None else number}; `eventdrill gameday run` drives one"
        )
    folder = runs / str(number if number is not None else numbers[-1])
    try:
        stopped = json.loads((folder / "outcome.json").read_text("utf-8"))["stopped"]
    except OSError:
        stopped = "the driver ended without a word"
    return write_outcome(day, folder, stop=stopped, rehearsal=False)


def write_outcome(
    day: GameDay, folder: Path, *, stop: str | None, rehearsal: bool, stopped_s: float | None = None
) -> dict[str, Any]:
    """Judge a run in its folder, and write score and postmortem there; a rehearsal goes on after the moment at which it would have been stopped."""
    from reports.document import markdown, write_document
    from rundata.dataset import open_run

    document = _score(day, folder, open_run(folder / "run"), stop, stopped_s, rehearsal=rehearsal)
    (folder / "score.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    page = postmortem(day, folder)
    write_document(folder / "postmortem.html", page)
    (folder / "postmortem.md").write_text(markdown(page), "utf-8")
    return document


def postmortem(day: GameDay, folder: Path) -> "Document":
    """Return the page of a run or a rehearsal that was judged."""
    from reports.gameday_postmortem import postmortem_document

    rehearsal = folder.parent.name == REHEARSALS
    score_ = json.loads((folder / "score.json").read_text("utf-8"))
    notes = (day.folder / NOTES).read_text("utf-8") if (day.folder / NOTES).exists() else ""
    seen, (low, high) = _seen(folder, rehearsal=rehearsal), _band(day)
    return postmortem_document(day.loaded.scenario, score_, notes, seen, low, high, rehearsal=rehearsal)


def judged(day: GameDay) -> list[Path]:
    """Return the folders of the runs and rehearsals that were judged, the latest last."""
    found = [path.parent for kind in ("runs", REHEARSALS) for path in (day.folder / kind).glob("*/score.json")]
    return sorted(found, key=lambda folder: (folder / "score.json").stat().st_mtime_ns)


def _band(day: GameDay) -> "tuple[dict[str, Floats], dict[str, Floats]]":
    low, high = (
        {group: np.array(each) for group, each in day.prediction["band_90"][side].items()} for side in ("low", "high")
    )
    return low, high


def _seen(folder: Path, *, rehearsal: bool) -> Seen:
    from rundata.dataset import open_run

    return _simulated(open_run(folder / "run").data) if rehearsal else _watched(folder)


def _watched(folder: Path) -> Seen:
    return [
        (row.get("predicted_s", row["at_s"]), row["lag"])
        for row in read_watch(folder)
        if row["phase"] in ("running", "draining")
    ]


def _simulated(run: "RunData") -> Seen:
    from reports.gameday import STEP_S

    lag = course(run).lag
    return [
        (step * STEP_S, {group: float(values[step]) for group, values in lag.items() if step < len(values)})
        for step in range(max(map(len, lag.values()), default=0))
    ]


def _score(
    day: GameDay, folder: Path, opened: "Run", stop: str | None, stopped_s: float | None, *, rehearsal: bool
) -> dict[str, Any]:
    from reports import gameday
    from reports.slo import assess, objectives_json

    seen, band = _seen(folder, rehearsal=rehearsal), _band(day)
    scored = [
        gameday.score(
            each, opened.measured, invalid=opened.invalid if stop is None else (), stopped=None if rehearsal else stop
        )
        for each in day.hypotheses
    ]
    run = until_the_stop(opened)
    found = alerts_of(day, run)
    alerts = [_alert_json(found, span) for span in found.fired]
    said = [] if rehearsal else people(day, run)
    return {
        "gameday": day.about["gameday"],
        "run": str((folder / "run").relative_to(day.folder)),
        "stopped": stop,
        "data": {"valid": not opened.invalid, "reasons": list(opened.invalid), "state": opened.state},
        "hypotheses": [
            {**asdict(each.hypothesis), "outcome": each.outcome, "observed": each.observed, "inside": each.inside, "reason": each.reason}
            for each in scored
        ],
        "detection": detection(run, seen, day.rules, found, said),
        "alerts": alerts,
        "alerts_reason": found.reason,
        "response": said,
        "budget": objectives_json(assess(run)),
        "calibration": {
            "inside_band_90": gameday.share_inside(seen, *band),
            "inside_interval": [each.inside for each in scored if each.inside is not None],
        },
        "prediction_sha256": day.about["prediction_sha256"],
        "timeline": timeline(run, alerts, said, stop, stopped_s),
    }  # fmt: skip


def until_the_stop(opened: "Run") -> "RunData":
    """Return a run that was stopped as if its load had ended then: what was never sent, or was under way, is nobody's loss."""
    run = opened.data
    scenario = run.plan.scenario
    if opened.complete or run.end_ns >= scenario.duration:
        return run
    ended_ns = max(run.end_ns - _UNDER_WAY_NS, scenario.warm_up + SECOND)
    shorter = scenario.model_copy(update={"duration": ended_ns})
    return replace(run, plan=replace(run.plan, scenario=shorter))


# ---- who noticed ---------------------------------------------------------------------------------------------------


def alerts_of(day: GameDay, run: "RunData") -> "Alerted":
    """Return what the day's alert rules would have done on the run's metrics."""
    from reports.alerts.on_run import Alerted, alerted
    from reports.alerts.rules import read_rules

    if not (day.folder / RULES).exists():
        return Alerted(None, f"there is no {RULES} in the day's folder")
    return alerted(run, read_rules(day.folder / RULES))


def _alert_json(found: "Alerted", span: Any) -> dict[str, Any]:
    sent = found.message_ms(span)
    return {
        "alert": span.rule.name,
        "severity": span.rule.severity,
        "labels": {key: value for key, value in span.labels if key not in ("alertname", "severity")},
        "runbook": span.rule.annotations.get("runbook_url"),
        "fired_at": span.fired_ms / 1000,
        "ended_at": None if span.ended_ms is None else span.ended_ms / 1000,
        "message_at": None if sent is None else sent / 1000,
        "about": [trouble.label for trouble in found.about(span)],
    }


def people(day: GameDay, run: "RunData") -> list[dict[str, Any]]:
    """Return what people wrote down while the run went on, by its clock: what they saw, and what they did."""
    began = run.about.get("clock_start")
    if not began or not (day.folder / NOTES).exists():
        return []
    start = datetime.fromisoformat(str(began)).timestamp()
    found = []
    for line in (day.folder / NOTES).read_text("utf-8").splitlines():
        match = _NOTE.fullmatch(line)
        if match is None or match[2] is None:
            continue
        at_s = datetime.fromisoformat(f"{match[1]}+00:00").timestamp() - start
        if -1 <= at_s <= run.end_ns / SECOND + _AFTERWARDS_S:
            found.append({"at_s": round(max(0.0, at_s), 1), "kind": match[2], "text": match[3]})
    return found


def detection(
    run: "RunData", seen: Seen, rules: "Rules", alerts: "Alerted", said: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return for each fault when the system told of it, when an alert did, when a person did, and when lag left its predicted band."""
    from reports.gameday import Watch
    from reports.slo import fault_labels
    from rundata.rows import NEVER

    watch, found = Watch(rules), []
    for label, fault in zip(fault_labels(run.faults), run.faults, strict=True):
        if fault.began_ns == NEVER:
            continue
        begin, end = fault.began_ns / SECOND, max(fault.ended_ns / SECOND, fault.began_ns / SECOND + _AFTERWARDS_S)
        # When the load has ended members leave, which is no sign of anything.
        until_ns = min(end * SECOND, run.plan.scenario.duration)
        told = [i for i in run.incidents if fault.began_ns <= i.time_ns < until_ns]
        outside = [at for at, lag in seen if begin <= at <= end and any(lag[g] > watch.limit(g, at) for g in lag)]
        noted = {
            kind: [n["at_s"] for n in said if n["kind"] == kind and begin <= n["at_s"] <= end]
            for kind in ("saw", "did")
        }
        found.append(
            {
                "fault": label,
                "kind": fault.kind,
                "began": begin,
                "ended": min(fault.ended_ns, run.end_ns) / SECOND,
                "first_incident": told[0].kind if told else None,
                "after": (told[0].time_ns / SECOND - begin) if told else None,
                "alert": _told_json(alerts.told_of(label)),
                "person_after": noted["saw"][0] - begin if noted["saw"] else None,
                "response_after": noted["did"][0] - begin if noted["did"] else None,
                "outside_band_after": outside[0] - begin if outside else None,
            }
        )
    return found


def _told_json(told: "Told | None") -> dict[str, Any] | None:
    if told is None:
        return None
    return {
        "alert": told.alert,
        "severity": told.severity,
        "after": told.after_s,
        "message_after": told.message_after_s,
    }


def timeline(
    run: "RunData",
    alerts: Sequence[Mapping[str, Any]],
    said: Sequence[Mapping[str, Any]],
    stop: str | None,
    stopped_s: float | None = None,
) -> list[dict[str, Any]]:
    """Return what happened in the order of its times: faults, incidents that came together as one, alerts, notes, the stop."""
    from reports.incidents import story

    faults = sorted(run.faults, key=lambda fault: fault.planned_begin_ns)
    entries: list[dict[str, Any]] = [
        {"at_s": e.time_ns / SECOND, "what": e.sentence, "detail": e.detail, "kind": "fault" if e.fault else "system"}
        for e in story(run.incidents, faults, run.end_ns)[:_MOST_ENTRIES]
    ]
    entries += [
        {
            "at_s": a["fired_at"],
            "what": f"Alert {a['alert']} fires",
            "detail": ", ".join(f"{k} {v}" for k, v in a["labels"].items()),
            "kind": "alert",
        }
        for a in alerts
    ]
    entries += [
        {
            "at_s": n["at_s"],
            "what": "Somebody saw" if n["kind"] == "saw" else "Somebody did",
            "detail": n["text"],
            "kind": "person",
        }
        for n in said
    ]
    if stop is not None:
        at_s = run.end_ns / SECOND if stopped_s is None else stopped_s
        what = "Stopped" if stopped_s is None else "Would have been stopped"
        entries.append({"at_s": at_s, "what": what, "detail": stop, "kind": "stop"})
    return sorted(entries, key=lambda each: float(each["at_s"]))
