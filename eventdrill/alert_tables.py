"""What people read of `alerts` on the terminal, made from the documents that `--json` prints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eventdrill.tables import table
from scenarios.quantities import SECOND, format_duration

if TYPE_CHECKING:
    from rich.console import RenderableType


def backtest_tables(document: Mapping[str, Any]) -> "list[RenderableType]":
    """Return the rules' scores, those of all together, and the warnings."""
    shown = table(
        "rules",
        ("alert", "severity", "saw", "time to message", "false a week", "95 %", "needless", "fired", "flaps", "reset"),
    )
    for one in document["rules"]:
        about = ", ".join(value for key, value in one["labels"].items() if key != "severity")
        shown.add_row(
            f"{one['alert']} {about}".strip(), one["severity"] or "-", f"{one['seen']} of {one['of']}",
            _median(one["time_to_message_s"]), *_false(one["false"]), str(one["needless"]), str(one["fired"]),
            str(one["flaps"]), _median(one["reset_s"]),
        )  # fmt: skip
    return [shown, _together(document), *(f"warning: {said}" for said in document["warnings"])]


def _together(document: Mapping[str, Any]) -> "RenderableType":
    shown = table("all rules together", ("", ""))
    troubles, recall = document["troubles"], document["recall"]
    rate, interval = _false(document["false_pages"])
    shown.add_row(
        "length",
        f"{document['weeks']:.3g} weeks in {document['cases']} {'case' if document['cases'] == 1 else 'cases'}",
    )
    shown.add_row(
        "troubles",
        f"{troubles['page']} worth a page (at least {document['page_worthy'] * 100:.4g} % of a budget), {troubles['ticket']} worth a ticket, "
        f"{troubles['harmless']} that cost nothing",
    )
    shown.add_row("paged for", f"{recall['page']['seen']} of {recall['page']['of']} that were worth it")
    shown.add_row("told of", f"{recall['ticket']['seen']} of {recall['ticket']['of']} that were worth a ticket")
    shown.add_row("time to page", _spread(document["time_to_page_s"]))
    shown.add_row("false pages a week", f"{rate}, 95 %: {interval}")
    shown.add_row("needless pages a week", _false(document["needless_pages"])[0])
    shown.add_row(
        "alerts fired",
        f"{document['alerts_fired']}, sent in {document['messages']} messages, of which {document['pages']} are pages",
    )
    return shown


def suggestion_tables(document: Mapping[str, Any]) -> "list[RenderableType]":
    """Return for each objective the suggestion, the usual rules, and the curve."""
    parts: list[RenderableType] = []
    for name, found in document.items():
        shown = table(f"{name}: rules that page", ("", "rules", "saw", "time to page", "false pages a week"))
        shown.add_row("suggested", *_tried(found["best"]))
        shown.add_row("the usual", *_tried(found["usual"]))
        parts.append(shown)
        curve = table("what more false pages would buy", ("rules", "saw", "time to page", "false pages a week"))
        for one in found["curve"]:
            curve.add_row(*_tried(one))
        parts.append(curve)
        if not found["within_limit"]:
            parts.append(
                f"no rule has at most {found['limit_per_week']:g} false pages a week; suggested is the one with the fewest"
            )
        parts += [f"warning: {said}" for said in found["warnings"]]
        parts.append(f"{found['tried']} combinations were tried")
    return parts


def _tried(one: Mapping[str, Any]) -> list[str]:
    took = one["median_time_to_page_s"]
    return [one["rules"], f"{one['seen']} of {one['of']}", _time(took), f"{one['false_pages_per_week']:.3g}"]


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds * SECOND)


def _median(found: Mapping[str, float] | None) -> str:
    return "-" if found is None else _time(found["median"])


def _spread(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "-"
    return f"{_time(found['median'])} (median), {_time(found['least'])} to {_time(found['most'])}"


def _false(found: Mapping[str, Any]) -> tuple[str, str]:
    low, high = found["interval"]
    return f"{found['per_week']:.3g}", f"{low:.3g} to {high:.3g}"
