"""Turns a page's contents into what the template shows: texts, rows and places in percent. No template computes anything."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.agreement import Verdict, is_count
from reports.capacity import Capacity
from reports.contents import Column, Contents, implementation
from reports.drawing import LETTERS, RUNS, css_variable
from reports.slo import ObjectiveReport
from reports.words import (
    SYMBOLS,
    arrivals_words,
    cluster_words,
    count_text,
    difference_text,
    duration_text,
    fault_words,
    group_words,
    indicator_words,
    interval_text,
    percent,
    producer_words,
    topic_words,
    value_text,
)
from rundata.findings import CheckResult
from rundata.replications import Estimate
from scenarios.expectations import BEFORE_FAULTS, parse_expectation, parse_indicator
from scenarios.quantities import DAY, SECOND
from scenarios.schema import Scenario

_STATES = {"agrees": "good", "differs": "bad", "cannot tell": "unsure"}
_STRIP_POINTS = 150
_PLAIN = ("inside the 95 % interval", "inside the 99.9 % bounds")
"""Reasons that the interval beside them shows."""


@dataclass(frozen=True)
class Badge:
    """A verdict as word, symbol and colour."""

    word: str
    symbol: str
    state: str


@dataclass(frozen=True)
class Tile:
    """One question of the page's head, with its answer."""

    question: str
    answer: str
    detail: str
    state: str
    href: str


@dataclass(frozen=True)
class Dots:
    """An interval with the predicted and the observed value on it, in percent of the width."""

    low: float
    high: float
    predicted: float
    observed: tuple[float, ...]


@dataclass(frozen=True)
class JudgedRow:
    """One predicted figure and its verdict."""

    words: str
    name: str
    predicted: str
    interval: str
    observed: str
    repeats: str
    difference: str
    badge: Badge
    reason: str
    dots: Dots | None
    given: str
    given_difference: str
    given_badge: Badge | None


def badge(outcome: str) -> Badge:
    """Return a verdict's word, symbol and colour."""
    return Badge(
        outcome, SYMBOLS[outcome], _STATES.get(outcome, {"held": "good", "missed": "bad"}.get(outcome, "unsure"))
    )


# ---- what was tried ------------------------------------------------------------------------------------------------


def tried(contents: Contents) -> dict[str, Any]:
    """Return the scenario in words, and its timeline strip."""
    scenario = contents.scenario
    facts = [("Cluster", "", cluster_words(scenario))]
    facts += [("Topic", name, topic_words(scenario, name)) for name in scenario.topics]
    facts += [("Producer", name, producer_words(producer)) for name, producer in scenario.producers.items()]
    facts += [("Group", name, group_words(group)) for name, group in scenario.groups.items()]
    return {
        "about": scenario.about.strip(),
        "facts": [fact for fact in facts if fact[2]],
        "strip": _strip(contents),
        "faults": _fault_rows(contents),
        "load": "; ".join(f"{name}: {arrivals_words(p.arrivals)}" for name, p in scenario.producers.items()),
    }


def _strip(contents: Contents) -> dict[str, Any]:
    scenario, plan = contents.scenario, contents.plan
    end = max(scenario.duration, *(column.run.data.end_ns for column in contents.columns))
    edges = np.linspace(0, scenario.duration, _STRIP_POINTS // 3 + 1)
    rate = np.histogram(plan.intended_ns, edges)[0] / np.diff(edges) * SECOND
    top = float(rate.max(initial=0)) or 1.0
    middle = (edges[1:] + edges[:-1]) / 2
    points = " ".join(f"{x / end * 100:.2f},{36 - y / top * 32:.1f}" for x, y in zip(middle, rate, strict=True))
    last = scenario.duration / end * 100
    return {
        "area": f"0,36 0,{36 - rate[0] / top * 32:.1f} {points} {last:.2f},{36 - rate[-1] / top * 32:.1f} {last:.2f},36"
        if len(rate)
        else "",
        "top": f"{count_text(round(top))}/s",
        "warm_up": _percent_of(scenario.warm_up, end),
        "load_end": _percent_of(scenario.duration, end),
        "faults": [
            {
                "letter": letter,
                "left": _percent_of(f.began_ns, end),
                "width": max(0.6, _percent_of(min(f.ended_ns, end) - f.began_ns, end)),
                "label": f.label,
            }
            for letter, f in zip(LETTERS, contents.faults, strict=False)
        ],
        "ticks": [(_percent_of(t, end), duration_text(t)) for t in _ticks(end)],
        "end": duration_text(round(end / SECOND) * SECOND),
    }


def _ticks(end_ns: int) -> list[int]:
    steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400, 7 * 86400]
    step = next((s for s in steps if end_ns / SECOND / s <= 5.5), 30 * 86400) * SECOND
    return list(range(0, end_ns + 1, step))


def _percent_of(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _fault_rows(contents: Contents) -> list[dict[str, str]]:
    planned = {(f.label, f.begin_ns): f for f in contents.plan.faults}
    rows = []
    for letter, record in zip(LETTERS, contents.faults, strict=False):
        plan = planned.get((record.label, record.planned_begin_ns))
        words = fault_words(plan.fault) if plan else record.kind.replace("_", " ")
        rows.append(
            {
                "letter": letter,
                "label": record.label,
                "words": words[0].upper() + words[1:],
                "planned": f"{duration_text(record.planned_begin_ns)} – {duration_text(record.planned_end_ns)}",
                "target": record.target,
                "proof": record.proof,
            }
        )
    return rows


# ---- the head ------------------------------------------------------------------------------------------------------


def tiles(contents: Contents) -> list[Tile]:
    """Return the questions of the page's head with their answers."""
    judged = _verdict_tile(contents) if contents.verdicts else None
    found = (judged, _expectation_tile(contents), _check_tile(contents), _budget_tile(contents))
    return [tile for tile in found if tile is not None]


def _verdict_tile(contents: Contents) -> Tile:
    counts = verdict_counts(contents.verdicts)
    total = len(contents.verdicts)
    if not counts["agrees"] and not counts["differs"]:
        return Tile(
            "Did the prediction hold?", "Cannot tell", f"no verdict on any of {total} figures", "unsure", "#prediction"
        )
    words = [f"{counts['cannot tell']} cannot be told"] if counts["cannot tell"] else []
    words += [f"{counts['differs']} differ" if counts["differs"] != 1 else "1 differs"] if counts["differs"] else []
    answer = "Yes" if not counts["differs"] else ("Mostly" if counts["differs"] <= total / 4 else "No")
    return Tile(
        "Did the prediction hold?",
        answer,
        f"{counts['agrees']} of {total} figures agree" + (", " + ", ".join(words) if words else ""),
        "bad" if counts["differs"] else "good",
        "#prediction",
    )


def _expectation_tile(contents: Contents) -> Tile | None:
    results = contents.main.run.expectations
    if not results:
        return None
    held = sum(result.held for result in results)
    missed = [result.text for result in results if not result.held]
    return Tile(
        "Did the expectations hold?",
        "Yes" if held == len(results) else "No",
        f"all {held} held"
        if not missed
        else f"{held} of {len(results)} held; not {', '.join(missed[:2])}" + (" …" if len(missed) > 2 else ""),
        "good" if not missed else "bad",
        "#expectations",
    )


def _check_tile(contents: Contents) -> Tile:
    checks = contents.main.run.checks
    failed = [name for name, check in checks.items() if not check.valid]
    return Tile(
        "Was anything lost, doubled or out of order?",
        "Yes" if failed else "No",
        f"{len(failed)} of {len(checks)} checks failed: {', '.join(map(check_words, failed[:3]))}"
        if failed
        else f"{len(checks)} checks, none failed",
        "bad" if failed else "good",
        "#checks",
    )


def _budget_tile(contents: Contents) -> Tile | None:
    spent = {name: one.spent for name, one in contents.main.objectives.items() if one.spent is not None}
    if not spent:
        return None
    worst = max(spent, key=lambda name: spent[name] or 0.0)
    share, report = spent[worst] or 0.0, contents.main.objectives[worst]
    owner = max(report.spent_by, key=lambda one: one.bad, default=None)
    by = f", most by {owner.fault}" if owner and owner.bad else ""
    return Tile(
        "What did it cost in error budget?",
        percent(share) if math.isfinite(share) else "All of it",
        f"of {_period(report.period_ns)} for “{worst}”{by}",
        "bad" if share > 1 else "plain",
        "#objectives",
    )


def verdict_counts(verdicts: Mapping[str, Verdict]) -> dict[str, int]:
    """Return how many figures got each verdict."""
    found = [verdict.verdict for verdict in verdicts.values()]
    return {outcome: found.count(outcome) for outcome in ("agrees", "cannot tell", "differs")}


def verdict_sentence(verdicts: Mapping[str, Verdict]) -> str:
    """Say in a sentence how the prediction did, and what chance alone would have done."""
    counts, total = verdict_counts(verdicts), len(verdicts)
    differing = [indicator_words(name) for name, verdict in verdicts.items() if verdict.verdict == "differs"]
    said = f"Of {total} figures that were predicted before the run, {counts['agrees']} agree with what was observed"
    if counts["cannot tell"]:
        said += f", {counts['cannot tell']} cannot be told"
    said += (
        f", and {counts['differs']} {'differs' if counts['differs'] == 1 else 'differ'}"
        if differing
        else ", and none differs"
    )
    said += (
        f": {'; '.join(differing[:4])}{f'; and {len(differing) - 4} more' if len(differing) > 4 else ''}."
        if differing
        else "."
    )
    by_interval = sum(verdict.verdict != "cannot tell" or verdict.observed is not None for verdict in verdicts.values())
    chance = round(by_interval * 0.05)
    if chance:
        said += (
            f" Chance alone puts about {chance} of {by_interval} outside their 95 % intervals, even of a perfect model."
        )
    return said


# ---- the agreement -------------------------------------------------------------------------------------------------


def judged_sections(contents: Contents) -> list[dict[str, Any]]:
    """Return the judged figures: before faults, then all of the run, then each group's, folded away unless one differs."""
    sections: dict[str, list[Verdict]] = {}
    for name, verdict in contents.verdicts.items():
        indicator = parse_indicator(name)
        if indicator.where in contents.scenario.groups:
            title = f"Group {indicator.where}"
        elif indicator.narrowed == BEFORE_FAULTS:
            title = "Before the first fault"
        else:
            title = "The whole run, faults included" if contents.scenario.faults else "The whole run"
        sections.setdefault(title, []).append(verdict)
    return [_judged_section(title, found) for title, found in sections.items()]


def _judged_section(title: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    counts = verdict_counts({verdict.name: verdict for verdict in verdicts})
    summary = ", ".join(
        f"{count} {word}"
        for word, count in (
            ("agree", counts["agrees"]),
            ("cannot be told", counts["cannot tell"]),
            ("differ", counts["differs"]),
        )
        if count
    )
    group = title.removeprefix("Group ") if title.startswith("Group ") else ""
    return {
        "title": title,
        "rows": [judged_row(verdict, group) for verdict in verdicts],
        "given": any(verdict.given for verdict in verdicts),
        "folded": bool(group),
        "open": bool(counts["differs"]),
        "summary": summary,
    }


def judged_row(verdict: Verdict, group: str = "") -> JudgedRow:
    """Return a verdict as its row shows it; the group whose section it is in goes without saying."""
    count = is_count(parse_indicator(verdict.name))
    values = [value for value in verdict.repeats if value is not None]
    repeats = (
        f"{len(verdict.repeats)} runs: {interval_text((min(values), max(values)), verdict.unit)}"
        if len(values) > 1
        else ""
    )
    return JudgedRow(
        words=_words_within(verdict.name, group),
        name=verdict.name,
        predicted=value_text(verdict.predicted, verdict.unit),
        interval=interval_text(verdict.interval, verdict.unit),
        observed=value_text(verdict.observed, verdict.unit),
        repeats=repeats,
        difference=difference_text(verdict.difference, count=count),
        badge=badge(verdict.verdict),
        reason="" if verdict.reason in _PLAIN else verdict.reason,
        dots=_dots(verdict),
        given=value_text(verdict.given.predicted, verdict.unit) if verdict.given else "",
        given_difference=difference_text(verdict.given.difference, count=count) if verdict.given else "",
        given_badge=badge(verdict.given.verdict) if verdict.given else None,
    )


def _words_within(name: str, group: str) -> str:
    words = indicator_words(name)
    return words.replace(f" of {group}", "", 1) if group else words


def _dots(verdict: Verdict) -> Dots | None:
    if verdict.interval is None or verdict.predicted is None or verdict.observed is None:
        return None
    values = [
        *verdict.interval,
        verdict.predicted,
        *(value for value in verdict.repeats if value is not None),
        verdict.observed,
    ]
    if not all(math.isfinite(value) for value in values):
        return None
    low, high = min(values), max(values)
    if low == high:
        return None
    room = (high - low) * 0.12
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    # The first run is drawn last, above the others.
    others = [value for value in verdict.repeats[1:] if value is not None]
    return Dots(
        place(verdict.interval[0]),
        place(verdict.interval[1]),
        place(verdict.predicted),
        tuple(map(place, [*others, verdict.observed])),
    )


# ---- expectations, checks, indicators ------------------------------------------------------------------------------


def expectation_rows(contents: Contents) -> list[dict[str, Any]]:
    """Return each expectation with its value and outcome in every run that has it."""
    texts = dict.fromkeys(result.text for column in contents.columns for result in column.run.expectations)
    return [
        {
            "text": text,
            "words": indicator_words(str(parse_expectation(text).indicator)),
            "cells": [_expectation_cell(column, text) for column in contents.columns],
        }
        for text in texts
    ]


def _expectation_cell(column: Column, text: str) -> dict[str, Any] | None:
    result = next((one for one in column.run.expectations if one.text == text), None)
    if result is None:
        return None
    unit = parse_expectation(text).indicator.unit
    replications = max((e.replications for e in column.run.estimates.values()), default=1)
    note = result.reason or ""
    if replications > 1:
        note = f"held in {percent(result.share_held)} of {replications} runs"
    return {"value": value_text(result.value, unit), "badge": badge("held" if result.held else "missed"), "note": note}


def check_rows(contents: Contents) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Return the checks that found something, the names of those that found nothing, and of those without anything to judge."""
    found, clean, idle = [], [], []
    names = dict.fromkeys(name for column in contents.columns for name in column.run.checks)
    for name in names:
        results = [column.run.checks.get(name) for column in contents.columns]
        if any(result and (result.count or not result.valid) for result in results):
            found.append(
                {
                    "words": check_words(name),
                    "cells": [
                        _check_cell(column, result) for column, result in zip(contents.columns, results, strict=True)
                    ],
                }
            )
        elif all(result is None or (result.note and not result.count) for result in results):
            note = next((result.note for result in results if result), "")
            idle.append(f"{check_words(name)} ({note})")
        else:
            clean.append(check_words(name))
    return found, clean, idle


def _check_cell(column: Column, result: CheckResult | None) -> dict[str, Any] | None:
    if result is None:
        return None
    outcome = (
        Badge("failed", "✗", "bad")
        if not result.valid
        else Badge("allowed", "✓", "good")
        if result.count
        else Badge("none", "✓", "good")
    )
    return {
        "label": column.label,
        "count": count_text(result.count),
        "badge": outcome,
        "allowed": result.allowed,
        "examples": result.examples,
        "parts": ", ".join(f"{count_text(count)} {part}" for part, count in result.parts.items() if count),
    }


def check_words(name: str) -> str:
    """Return a check's name in words."""
    return {
        "lost": "lost events",
        "unexpected": "events nobody sent",
        "recovered": "events recovered after an unknown outcome",
        "nonmonotonic_sends": "sends out of order",
        "nonmonotonic_polls": "polls out of order",
        "key_order": "order of each key",
        "passed": "events passed over",
        "processed_once": "each event processed once",
        "unseen": "events never delivered",
        "contiguous_appends": "contiguous appends",
    }.get(name, name.replace("_", " "))


_HEADLINES = (
    "latency.p50", "latency.p95", "latency.p99", "latency.max", "ack_latency.p50", "ack_latency.p99", "lag.max", "lag_age.max",
    "drain_time", "gap", "write_gap", "produced", "consumed", "delivery", "availability", "lost", "passed", "refused",
    "duplicate_effects", "duplicate_deliveries", "dead_lettered", "errors", "inversions", "restarts.count", "send_lateness.p99",
)  # fmt: skip


def indicator_rows(contents: Contents) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the main indicators of every run, and all others."""
    names = dict.fromkeys(name for column in contents.columns for name in column.run.estimates)
    rows = [_indicator_row(contents, name) for name in names if not _is_series(contents, name)]
    main = [
        row for row in rows if row["name"] in _HEADLINES or (not contents.verdicts and row["name"].startswith("gap["))
    ]
    return main, [row for row in rows if row not in main]


def _is_series(contents: Contents, name: str) -> bool:
    return any(column.run.estimates[name].series for column in contents.columns if name in column.run.estimates)


def _indicator_row(contents: Contents, name: str) -> dict[str, Any]:
    cells = [_indicator_cell(column.run.estimates.get(name)) for column in contents.columns]
    return {"name": name, "words": indicator_words(name), "cells": cells}


def _indicator_cell(estimate: Estimate | None) -> dict[str, str]:
    if estimate is None:
        return {"value": "–", "interval": "", "reason": ""}
    return {
        "value": value_text(estimate.value, estimate.unit, estimate.at_least),
        "interval": interval_text(estimate.interval, estimate.unit),
        "reason": (estimate.reason or "") if estimate.value is None else "",
    }


# ---- objectives and members ----------------------------------------------------------------------------------------


def objective_cards(contents: Contents) -> list[dict[str, Any]]:
    """Return each objective with its figures in every run."""
    names = dict.fromkeys(name for column in contents.columns for name in column.objectives)
    cards = []
    for name in names:
        reports = [(column, column.objectives[name]) for column in contents.columns if name in column.objectives]
        cards.append(
            {
                "name": name,
                "text": reports[0][1].text,
                "sentence": objective_sentence(contents.main.objectives.get(name)),
                "rows": [_objective_row(column, report) for column, report in reports],
            }
        )
    return cards


def _objective_row(column: Column, report: ObjectiveReport) -> dict[str, Any]:
    spent = report.spent
    burn = report.worst_burn
    return {
        "label": column.label,
        "compliance": percent(report.compliance) if report.compliance is not None else "–",
        "badge": badge("unknown" if report.met is None else "held" if report.met else "missed"),
        "bad": f"{count_text(report.bad)} of {count_text(report.good + report.bad)}",
        "spent": "–" if spent is None else percent(spent) if math.isfinite(spent) else "all of it",
        "burn": f"{burn:.3g}×" if burn is not None else "–",
        "by": [
            (one.fault, percent(one.share) if math.isfinite(one.share) else "all", count_text(one.bad))
            for one in report.spent_by
            if one.bad
        ],
        "reason": report.reason or "",
    }


def objective_sentence(report: ObjectiveReport | None) -> str:
    """Say what a run cost an objective, and by what."""
    if report is None:
        return ""
    if report.reason is not None or report.spent is None:
        return f"It cannot be told: {report.reason}."
    period = _period(report.period_ns)
    budget = f"At this load {period} bring {count_text(round(report.forecast))} events, of which {count_text(round(report.budget))} may be bad."
    if not report.bad:
        return f"Nothing was spent. {budget}"
    spent = percent(report.spent) if math.isfinite(report.spent) else "all"
    owners = sorted((one for one in report.spent_by if one.bad), key=lambda one: -one.bad)
    by = f", {percent(owners[0].bad / report.bad)} of it by {owners[0].fault}" if owners else ""
    return f"{budget} This run spent {spent} of that{by}."


def _period(ns: int) -> str:
    days = ns / DAY
    return f"{days:g} days" if days != 1 and days >= 1 else "a day" if days == 1 else duration_text(ns)


def capacity_cards(contents: Contents) -> list[dict[str, Any]]:
    """Return for each group how many members the load needs, with what was tried."""
    return [_capacity_card(one) for one in contents.capacity]


def _capacity_card(found: Capacity) -> dict[str, Any]:
    objectives = list(found.tried[0].compliance) if found.tried else []
    drills = list(found.tried[0].spent_by_drill) if found.tried else []
    return {
        "group": found.group,
        "sentence": capacity_sentence(found),
        "objectives": objectives,
        "drills": drills,
        "rows": [
            {
                "members": one.members,
                "now": one.members == found.members_now,
                "fewest": one.members == found.fewest,
                "badge": badge("held" if one.holds else "missed"),
                "busy": percent(one.busy),
                "p99": value_text(one.p99_s, "s") if one.p99_s is not None else "never",
                "lag": count_text(one.peak_lag),
                "compliance": [_share_text(one.compliance.get(name)) for name in objectives],
                "spent": [_share_text(one.spent_by_drill.get(name)) for name in drills],
            }
            for one in found.tried
        ],
    }


def _share_text(share: float | None) -> str:
    return "–" if share is None else percent(share) if math.isfinite(share) else "all"


def capacity_sentence(found: Capacity) -> str:
    """Say how many members a group needs, and what follows."""
    if found.fewest is None:
        return f"{found.group}: {found.reason}."
    members = "1 member" if found.fewest == 1 else f"{found.fewest} members"
    said = f"The load alone needs {members} of {found.group}: {found.reason}."
    spare = found.members_now - found.fewest
    if spare < 0:
        said += f" It has {found.members_now}: {-spare} too few."
    elif spare > 0:
        said += f" It has {found.members_now}.{_what_more_buy(found)}"
    return said


def _what_more_buy(found: Capacity) -> str:
    """Say what the members beyond the fewest save of the budget when the drill strikes."""
    by_members = {one.members: one for one in found.tried}
    few, now = by_members.get(found.fewest or 0), by_members.get(found.members_now)
    if few is None or now is None or not few.spent_by_drill:
        return ""
    known = {name: share for name, share in few.spent_by_drill.items() if share is not None and math.isfinite(share)}
    if not known:
        return ""
    name = max(known, key=lambda one: known[one])
    with_few, with_now = _share_text(known[name]), _share_text(now.spent_by_drill.get(name))
    if with_few == with_now:
        return f" The others do not help in the drill: it spends {with_now} of “{name}” either way."
    return f" The others help when the faults strike: the drill spends {with_now} of the budget of “{name}”, with {found.fewest} it would be {with_few}."


# ---- provenance ----------------------------------------------------------------------------------------------------

_ABOUT: Sequence[tuple[str, Callable[[Column], str]]] = (
    ("Engine", lambda c: {"simulated": "simulator", "driven": "live driver"}[c.run.data.engine]),
    ("State", lambda c: c.run.state),
    ("Scenario", lambda c: c.run.data.plan.scenario.scenario),
    ("Seed", lambda c: str(c.run.data.plan.seed)),
    ("Replications", lambda c: str(max((e.replications for e in c.run.estimates.values()), default=1))),
    ("Events planned", lambda c: count_text(len(c.run.data.plan))),
    ("Operations kept", lambda c: count_text(len(c.run.data.operations))),
    ("Brokers", lambda c: brokers_of(c)),
    ("Profile", lambda c: str(c.run.data.about.get("profile", c.run.data.plan.scenario.profile))),
    ("Clock started", lambda c: str(c.run.data.about.get("clock_start", ""))),
    (
        "Took",
        lambda c: (
            duration_text(round(float(c.run.data.about["seconds"])) * SECOND) if "seconds" in c.run.data.about else ""
        ),
    ),
    ("Host", lambda c: _flat(c.run.data.about.get("host"))),
    ("Versions", lambda c: _flat(c.run.data.about.get("versions"))),
    ("Command", lambda c: _flat(c.run.data.about.get("command_line"))),
    ("Driver", lambda c: _driver(c)),
    ("Notes", lambda c: _flat(c.run.data.about.get("notes"))),
)


def provenance_rows(contents: Contents) -> list[dict[str, Any]]:
    """Return what ran, on what, with which settings, run by run."""
    rows = [{"label": label, "cells": [say(column) for column in contents.columns]} for label, say in _ABOUT]
    rows = [row for row in rows if any(row["cells"])]
    if contents.prediction_sha256:
        cells = [contents.prediction_sha256 if column.is_prediction else "" for column in contents.columns]
        rows.append({"label": "Locked prediction (SHA-256)", "cells": cells})
    return rows


def brokers_of(column: Column) -> str:
    """Return what played the brokers, in words."""
    brokers = column.run.data.about.get("brokers") or {}
    names = {
        "apache-kafka": "Apache Kafka",
        "librdkafka-mock": "librdkafka's mock cluster",
        "simulated": "simulated Kafka",
    }
    name = names.get(implementation(column.run), implementation(column.run))
    return f"{brokers.get('nodes', column.run.data.plan.scenario.brokers.nodes)} × {name} {brokers.get('version', '')}".strip()


def _driver(column: Column) -> str:
    driver = column.run.data.about.get("driver")
    if not isinstance(driver, Mapping) or "lateness_p99_ns" not in driver:
        return ""
    p50, p99, most = (value_text(float(driver[f"lateness_{q}_ns"]) / SECOND, "s") for q in ("p50", "p99", "max"))
    return f"senders ran {p50} behind the plan (median), {p99} (p99), {most} at most"


def _flat(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case Mapping():
            return ", ".join(f"{key} {_flat(one)}" for key, one in value.items() if one not in (None, "", [], {}))
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return json.dumps(value)


def profile_rows(contents: Contents) -> list[tuple[str, str]]:
    """Return the main figures of the profile that the prediction used."""
    profile = contents.profile
    if profile is None:
        return []
    names = ("send", "produce", "fetch", "wake", "commit", "election", "discovery", "restart", "catch_up")
    rows = [("About", profile.about)] if profile.about else []
    rows += [("Measured on", _flat(profile.measured_on))] if profile.measured_on else []
    for name in names:
        measured = getattr(profile, name)
        if measured.quantiles_us[-1] > 0:
            sd = f", its scale sure to {percent(measured.scale_sd)}" if measured.scale_sd else ""
            rows.append((name.replace("_", " "), f"median {value_text(measured.median_us / 1e6, 's')}{sd}"))
    return rows


def limits(contents: Contents) -> list[str]:
    """Return what the page's runs do not prove."""
    said = []
    scenario: Scenario = contents.scenario
    live = [column for column in contents.live if column.run.data.engine == "driven"]
    if not live:
        said.append(
            "Nothing here ran on real brokers: the figures are as good as the model and the profile. `verify` holds both against a live run."
        )
    if contents.verdicts and len(live) == 1:
        said.append(
            "One live run was compared. A gap or a peak is itself a random draw: several runs (`--repeats`) tell chance from a difference."
        )
    if live and all(implementation(column.run) == "apache-kafka" for column in live):
        said.append(
            "Brokers, producers and members shared one machine and its loopback network: times of your own network, disks and noisy neighbours are not in these figures."
        )
    kinds = sorted({fault.kind for fault in scenario.faults})
    if kinds:
        said.append(
            f"Only {', '.join(kinds)} was tried, each once at a planned instant; nothing follows for other faults, or for two at a time.".replace(
                "was tried", "was tried" if len(kinds) == 1 else "were tried"
            )
        )
    said.append(
        f"The load lasted {duration_text(scenario.duration)}: slow leaks, retention and anything that takes hours did not get the time to show."
    )
    return said


def colour_of(contents: Contents, column: Column) -> str:
    """Return a run's colour as a CSS value."""
    if column.is_prediction:
        return "var(--predicted)"
    return css_variable(RUNS[contents.live.index(column) % len(RUNS)])
