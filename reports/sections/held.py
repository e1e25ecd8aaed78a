"""What each run was found to be: expectations, checks and indicators, run by run."""

from typing import Any

from reports.contents import Column, Contents
from reports.sections.badges import Badge, badge
from reports.words import DASH, count_text, indicator_words, interval_text, percent, value_text
from rundata.findings import CheckResult
from rundata.replications import Estimate
from scenarios.expectations import parse_expectation


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
        row
        for row in rows
        if row["name"] in _HEADLINES
        or (not contents.verdicts and row["name"].startswith("gap[") and ", " not in row["name"])
    ]
    return main, [row for row in rows if row not in main]


def _is_series(contents: Contents, name: str) -> bool:
    return any(column.run.estimates[name].series for column in contents.columns if name in column.run.estimates)


def _indicator_row(contents: Contents, name: str) -> dict[str, Any]:
    cells = [_indicator_cell(column.run.estimates.get(name)) for column in contents.columns]
    return {"name": name, "words": indicator_words(name), "cells": cells}


def _indicator_cell(estimate: Estimate | None) -> dict[str, str]:
    if estimate is None:
        return {"value": DASH, "interval": "", "reason": ""}
    return {
        "value": value_text(estimate.value, estimate.unit, estimate.at_least),
        "interval": interval_text(estimate.interval, estimate.unit),
        "reason": (estimate.reason or "") if estimate.value is None else "",
    }
