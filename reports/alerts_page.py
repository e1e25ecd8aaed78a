"""The pages of alerts: a back-test, and a search for better rules."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.alert_figures import timeline, trade_off
from reports.alerts.backtest import Backtest, Judged
from reports.alerts.suggest import Suggestion
from reports.alerts.truth import Trouble
from reports.rendering import write_template
from reports.runbooks import runbook_link
from reports.sections.badges import Badge
from reports.words import DASH, count_text, percent, wait_text
from scenarios.quantities import SECOND, format_duration
from scenarios.schema import Scenario

_MOST_TROUBLES = 60
_MOST_TIMELINES = 3
_WORTHS = {
    "page": Badge("a page", "!", "bad"),
    "ticket": Badge("a ticket", "–", "unsure"),
    "harmless": Badge("nothing", "✓", "good"),
}
_LIMITS = (
    "What a trouble was worth is what it cost in error budget; a fault that endangers without costing anything counts as harmless.",
    "Metrics are those that the modelled exporters would show; a user's own exporter may err otherwise.",
    "A month is made of runs of one scenario: its load has no nights and no weekends unless the scenario has them.",
    "A message that Alertmanager sends is taken as read.",
)
_SEARCH_LIMITS = (
    "A page for a trouble that was not worth one counts as false here.",
    "Rules that fit these troubles may not fit others: keep some months apart, and judge the rules on them.",
)


def write_alerts_page(
    path: Path, scenario: Scenario, scores: Backtest, judged: Sequence[Judged], document: Mapping[str, Any]
) -> None:
    """Write the page of a back-test."""
    troubles = [(one, trouble) for one in judged for trouble in one.case.troubles]
    shared = _shared(document["rules"])
    sections = [("when", "Over time"), ("rules", "Rules"), ("troubles", "Troubles")]
    sections += [("warnings", "Warnings")] if document["warnings"] else []
    write_template(
        path,
        "alerts.html",
        {
            "kicker": "Alert rules judged where the truth is known",
            "headline": scenario.scenario,
            "subtitle": f"{document['weeks']:.3g} weeks in {document['cases']} {'case' if document['cases'] == 1 else 'cases'} · "
            f"{len(troubles)} troubles · {len(document['rules'])} alerts",
            "tiles": _tiles(document),
            "sections": [*sections, ("limits", "Limits")],
            "drawings": [timeline(one) for one in judged[:_MOST_TIMELINES]],
            "rules": [_rule_row(row, shared) for row in document["rules"]],
            "rules_sentence": _rules_sentence(scores),
            "shared": None
            if shared is None
            else {"owner": shared[0], "runbook": shared[1], "link": runbook_link(shared[1])},
            "unseen": _unseen_sentence(judged),
            "troubles": [_trouble_row(one, trouble) for one, trouble in troubles[:_MOST_TROUBLES]],
            "more_troubles": max(0, len(troubles) - _MOST_TROUBLES),
            "warnings": document["warnings"],
            "limits": _LIMITS,
        },
    )


def _tiles(document: Mapping[str, Any]) -> list[dict[str, str]]:
    recall, false, needless = document["recall"]["page"], document["false_pages"], document["needless_pages"]
    took = document["time_to_page_s"]
    every = recall["seen"] == recall["of"]
    return [
        {
            "question": "Was somebody woken when it was worth it?",
            "answer": f"{recall['seen']} of {recall['of']}" if recall["of"] else DASH,
            "detail": f"troubles that spent at least {percent(document['page_worthy'])} of a budget",
            "state": "unsure" if not recall["of"] else "good" if every else "bad",
            "href": "#troubles",
        },
        {
            "question": "How soon?",
            "answer": DASH if took is None else wait_text(took["median"]),
            "detail": "nobody was woken"
            if took is None
            else f"{wait_text(took['least'])} to {wait_text(took['most'])}, group's wait included",
            "state": "unsure",
            "href": "#rules",
        },
        {
            "question": "How often for nothing?",
            "answer": f"{false['per_week']:.3g} a week",
            "detail": f"95\u202f%: {false['interval'][0]:.2g} to {false['interval'][1]:.3g}; and {needless['per_week']:.3g} for what cost nothing",
            "state": "good" if not false["count"] else "bad",
            "href": "#when",
        },
        {
            "question": "How many messages?",
            "answer": count_text(document["messages"]),
            "detail": f"made of {count_text(document['alerts_fired'])} alerts by grouping and inhibition; {count_text(document['pages'])} woke somebody",
            "state": "unsure",
            "href": "#rules",
        },
    ]


def _rule_row(row: Mapping[str, Any], shared: tuple[str, str] | None) -> dict[str, Any]:
    low, high = row["false"]["interval"]
    badge = None
    if row["never_active"]:
        badge = Badge("never active", "–", "unsure")
    elif row["of"] and row["seen"] == row["of"]:
        badge = Badge("all", "✓", "good")
    return {
        "alert": alert_name(row["alert"], row["labels"]),
        "about": f"a {row['severity']}" if row["severity"] else "",
        "owner": "" if shared else row["owner"] or "",
        "runbook": "" if shared else row["runbook"] or "",
        "link": runbook_link(row["runbook"]),
        "saw": f"{row['seen']} of {row['of']}" if row["of"] else DASH,
        "badge": badge,
        "time": _median(row["time_to_message_s"]),
        "false": f"{row['false']['per_week']:.3g}",
        "interval": f"{low:.2g} to {high:.3g}",
        "needless": str(row["needless"]),
        "fired": str(row["fired"]),
        "flaps": str(row["flaps"]),
        "reset": _median(row["reset_s"]),
    }


def _median(found: Mapping[str, float] | None) -> str:
    return DASH if found is None else wait_text(found["median"])


def _rules_sentence(scores: Backtest) -> str:
    never = [alert_name(one.rule.name, one.rule.labels) for one in scores.rules if one.never]
    best = max(scores.rules, key=lambda one: (one.seen, -one.false.per_week), default=None)
    if best is None:
        return "There is no alert among the rules."
    said = (
        f"{alert_name(best.rule.name, best.rule.labels)} saw most: {best.seen} of {best.worthy}. "
        if best.seen
        else "No rule saw what was worth its severity. "
    )
    if not never:
        return said + "Every rule was active at least once."
    return said + f"Never active, and so not tried: {', '.join(never)}."


def alert_name(name: str, labels: Mapping[str, str]) -> str:
    """Return an alert's name with what tells it from others of that name: `ErrorBudgetBurn fast, 1h`."""
    return f"{name} {', '.join(value for key, value in labels.items() if key != 'severity')}".strip()


def _shared(rules: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return owner and runbook where all rules have the same ones."""
    found = {(row["owner"] or "", row["runbook"] or "") for row in rules}
    return next(iter(found)) if len(found) == 1 and any(next(iter(found))) else None


def _unseen_sentence(judged: Sequence[Judged]) -> str:
    """Return which troubles that were worth a page woke nobody."""
    worthy = [(one, trouble) for one in judged for trouble in one.case.troubles if trouble.worth == "page"]
    unseen = [trouble for one, trouble in worthy if not one.paged(trouble)]
    if not worthy:
        return "Nothing that happened was worth a page."
    if not unseen:
        return "Somebody was woken for everything that was worth it."
    kinds: dict[str, list[Trouble]] = {}
    for trouble in unseen:
        kinds.setdefault(re.sub(r" \d+$", "", trouble.label), []).append(trouble)
    said = [
        f"{kind} ({len(found)} times, up to {percent(max(t.spent for t in found))} of a budget)"
        for kind, found in kinds.items()
    ]
    return f"Nobody was woken for {', '.join(said)}: a rule is missing there, or looks back too far. `eventdrill alerts suggest` searches for one."


def _trouble_row(one: Judged, trouble: Trouble) -> dict[str, Any]:
    told: dict[str, int] = {}
    for rule in {id(span.rule): span.rule for span in one.evaluated.spans}.values():
        after = one.first_message(trouble, [rule])
        if after is not None:
            name = alert_name(rule.name, rule.labels)
            told[name] = min(after, told.get(name, after))
    return {
        "label": trouble.label,
        "case": one.case.name,
        "badge": _WORTHS[trouble.worth],
        "begin": format_duration(trouble.begin_ms / 1000 * SECOND),
        "lasted": wait_text((trouble.end_ms - trouble.begin_ms) / 1000),
        "cost": f"{percent(trouble.spent)} of {trouble.objective}" if trouble.objective else DASH,
        "told": [(name, wait_text(after / 1000)) for name, after in sorted(told.items(), key=lambda item: item[1])],
    }


# ---- search ----------------------------------------------------------------------------------------------------------


def write_suggestions_page(
    path: Path, scenario: Scenario, found: Sequence[Suggestion], document: Mapping[str, Any]
) -> None:
    """Write the page of a search."""
    cards = [_suggestion_card(each, document[each.objective]) for each in found]
    write_template(
        path,
        "suggestions.html",
        {
            "kicker": "Burn-rate rules searched",
            "headline": scenario.scenario,
            "subtitle": f"{sum(each.tried for each in found)} combinations of windows, factors and waits tried",
            "tiles": [_suggestion_tile(each) for each in found],
            "sections": [*((f"objective-{card['id']}", card["name"]) for card in cards), ("limits", "Limits")],
            "cards": cards,
            "limits": (*_LIMITS[:3], *_SEARCH_LIMITS),
        },
    )


def _suggestion_card(found: Suggestion, document: Mapping[str, Any]) -> dict[str, Any]:
    best, usual = document["best"], document["usual"]
    rows = [
        _tried_row(best, "suggested", best=True),
        _tried_row(usual, "the usual two that page"),
        *(_tried_row(one, "") for one in document["curve"] if one != best),
    ]
    within = (
        ""
        if document["within_limit"]
        else f" No rule keeps to {found.limit:g} false pages a week; this one has the fewest."
    )
    return {
        "id": re.sub(r"[^A-Za-z0-9]+", "-", found.objective),
        "name": found.objective,
        "sentence": f"Page at {found.best.text}.{within}",
        "drawings": [trade_off(found)],
        "rows": rows,
        "warnings": document["warnings"],
    }


def _tried_row(one: Mapping[str, Any], note: str, *, best: bool = False) -> dict[str, Any]:
    took = one["median_time_to_page_s"]
    return {
        "rules": one["rules"],
        "note": note,
        "saw": f"{one['seen']} of {one['of']}",
        "time": DASH if took is None else wait_text(took),
        "false": f"{one['false_pages_per_week']:.3g}",
        "best": best,
    }


def _suggestion_tile(found: Suggestion) -> dict[str, str]:
    every = found.best.seen == found.best.worthy
    return {
        "question": f"{found.objective}: troubles that page",
        "answer": f"{found.best.seen} of {found.best.worthy}",
        "detail": f"with {found.best.false_per_week:.3g} false pages a week; the usual rules: {found.usual.seen}, with {found.usual.false_per_week:.3g}",
        "state": "good" if every else "unsure",
        "href": f"#objective-{re.sub(r'[^A-Za-z0-9]+', '-', found.objective)}",
    }
