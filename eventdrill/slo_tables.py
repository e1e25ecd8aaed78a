"""What people read of `slo` on the terminal, made from the document that `--json` prints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eventdrill.tables import bounds, number, table
from scenarios.quantities import SECOND, format_duration

if TYPE_CHECKING:
    from rich.console import RenderableType


def slo_tables(document: Mapping[str, Any]) -> "list[RenderableType]":
    """Return the objectives of each run, what spent their budgets, and what changes buy."""
    parts: list[RenderableType] = []
    several = len(document["runs"]) > 1
    texts = {name: each["text"] for objectives in document["runs"].values() for name, each in objectives.items()}
    parts += [f"{name}: {text}" for name, text in texts.items()]
    for name, objectives in document["runs"].items():
        shown = table(
            name if several else "objectives",
            ("objective", "compliance", "95 %", "bad", "budget spent", "burn", "a budget lasts", "spent by"),
        )
        for objective, each in objectives.items():
            shown.add_row(objective, *_cells(each))
        parts.append(shown)
        parts += _methods(objectives)
    if document["bought"]:
        parts.append(_bought(document["bought"]))
    return parts


def _cells(each: Mapping[str, Any]) -> list[str]:
    if each["reason"] is not None:
        return [f"cannot be told: {each['reason']}", "", "", "", "", "", ""]
    spent = number(each["spent"], "share") if each["spent"] is not None else "all of it" if each["bad"] else "0 %"
    burn, lasts = each["burn"]["average"], each["gone_after_s"]
    by = sorted(((bad, fault) for fault, bad in each["spent_by"].items() if bad), reverse=True)
    met = "" if each["compliance"] >= each["target"] else " (missed)"
    return [
        number(each["compliance"], "share") + met,
        bounds(each["interval"], "share"),
        number(each["bad"], "events"),
        spent,
        "-" if burn is None else f"{burn:.3g}x",
        "for ever" if lasts is None else format_duration(lasts * SECOND),
        ", ".join(f"{fault} {bad / each['bad']:.0%}" for bad, fault in by),
    ]


def _methods(objectives: Mapping[str, Any]) -> "list[RenderableType]":
    """Return the three ways of counting where they differ."""
    shown = table("counted otherwise", ("objective", "occurrences", "timeslices of 5 s", "mean of timeslices"))
    for name, each in objectives.items():
        methods = each["methods"]
        if len({None if value is None else round(value, 12) for value in methods.values()}) > 1:
            shown.add_row(
                name, *(number(methods[key], "share") for key in ("occurrences", "timeslices", "mean_of_timeslices"))
            )
    return [shown] if shown.row_count else []


def _bought(found: Any) -> "RenderableType":
    shown = table(
        "what a change buys", ("change", "objective", "spent before", "spent after", "bought", "95 %", "pairs")
    )
    for each in found:
        pairs = f"{each['pairs']}{'' if each['same_events'] else ', other events'}"
        shares = [number(each[key], "share") for key in ("spent_before", "spent_after", "bought")]
        shown.add_row(each["variant"], each["objective"], *shares, bounds(each["interval"], "share"), pairs)
    return shown
