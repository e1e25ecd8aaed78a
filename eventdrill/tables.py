"""What people read on the terminal, made from the documents that `--json` prints: one source for both."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scenarios.quantities import SECOND, format_duration

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_HEADLINES = (
    "latency", "ack_latency", "lag", "gap", "write_gap", "drain_time", "delivery", "consumed", "produced", "lost", "passed",
    "expired", "refused", "pending", "unexpected", "unknown", "duplicate_deliveries", "duplicate_effects", "dead_lettered",
    "errors", "availability", "inversions", "restarts", "send_lateness",
)  # fmt: skip
_STATISTICS = ("", "p50", "p95", "p99", "max")
"""The ones a table shows; `--json` and the page hold all."""


def run_tables(document: Mapping[str, Any]) -> "list[RenderableType]":
    """Return a run's indicators, checks and expectations, the last word last."""
    found = document["indicators"]
    several = any(each["interval"] is not None for each in found.values())
    columns = ("indicator", "value", "95 % of single runs", "mean, 95 % sure") if several else ("indicator", "value")
    shown = table("indicators", columns)
    for name, each in found.items():
        if _is_headline(name) and not _is_zero(each) and not _says_the_same(name, found):
            intervals = [bounds(each[key], each["unit"]) for key in ("interval", "mean_interval")] if several else []
            shown.add_row(name, figure(each), *intervals)
    zero = [name for name, each in found.items() if name in _HEADLINES and _is_zero(each)]
    return [
        shown,
        "zero: " + ", ".join(zero),
        *_settling(document["run"].get("warm_up", {})),
        *_stretches(document["run"].get("stretches")),
        *judgement_tables(document),
    ]


def _settling(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line on the warm-up: what the data say against what was planned."""
    said = [
        f"{group} {each['reason'] if each['found'] is None else 'settled after ' + number(each['found'], 's')}"
        + (", WHICH IS LONGER" if each["enough"] is False else "")
        for group, each in found.items()
    ]
    planned = next((number(each["planned"], "s") for each in found.values()), "")
    return [f"warm-up of {planned}, by MSER-5: {'; '.join(said)}"] if said else []


def _stretches(found: Mapping[str, Any] | None) -> list[str]:
    """Return one line on what a long run is made of."""
    if found is None:
        return []
    return [
        f"in stretches: {found['disturbed']} around faults and {found['exact']} of quiet load were simulated; "
        f"{found['resampled_share']:.1%} of the time is resampled: minutes drawn from those of equal load"
    ]


def side_by_side(documents: Mapping[str, Mapping[str, Any]]) -> "list[RenderableType]":
    """Return several runs' indicators in one table, a column for each, and whether their expectations held."""
    figures = {name: document["indicators"] for name, document in documents.items()}
    shown = table("indicators", ("indicator", *documents))
    for indicator in dict.fromkeys(name for found in figures.values() for name in found):
        cells = [found.get(indicator) for found in figures.values()]
        known = [cell for cell in cells if cell is not None]
        same = all(_says_the_same(indicator, found) for found in figures.values() if indicator in found)
        if _is_headline(indicator) and not same and not all(map(_is_zero, known)):
            shown.add_row(indicator, *("" if cell is None else figure(cell) for cell in cells))
    parts: list[RenderableType] = [shown]
    for name, document in documents.items():
        parts += [name, *judgement_tables(document)]
    return parts


def _is_zero(found: Mapping[str, Any]) -> bool:
    return found["value"] == 0 and found["interval"] in (None, [0.0, 0.0])


def _says_the_same(name: str, found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a scope's figure is that of the whole, as with a single topic."""
    before, bracket, rest = name.partition("[")
    whole = found.get(before + rest.partition("]")[2]) if bracket else None
    return whole == found[name]


def judgement_tables(document: Mapping[str, Any]) -> "list[RenderableType]":
    """Return the checks that found something, the expectations, and why a run says nothing."""
    parts: list[RenderableType] = []
    wrong = {name: check for name, check in document["checks"].items() if not check["valid"]}
    if wrong:
        checks = table("checks that failed", ("check", "count", "for example"))
        for name, check in wrong.items():
            checks.add_row(name, str(check["count"]), "; ".join(map(str, check["examples"][:2])))
        parts.append(checks)
    else:
        parts.append(f"{len(document['checks'])} checks passed")
    if document["expect"]:
        parts.append(expectation_table(document["expect"], several=document["run"].get("replications", 1) > 1))
    if not document["valid"]["ok"]:
        parts.append("this run says nothing: " + "; ".join(document["valid"]["reasons"]))
    return parts


def expectation_table(expect: Iterable[Mapping[str, Any]], *, several: bool = False) -> "Table":
    """Return the expectations with what was found; with several replications also how often they held."""
    from scenarios.expectations import parse_expectation

    shown = table("expectations", ("", "expectation", "value", "held in") if several else ("", "expectation", "value"))
    for each in expect:
        unit = parse_expectation(each["text"]).indicator.unit
        value = each.get("reason", "cannot be measured") if each["value"] is None else number(each["value"], unit)
        held_in = [f"{each['share_held']:.0%} of runs"] if several else []
        shown.add_row("held" if each["held"] else "FAILED", each["text"], value, *held_in)
    return shown


def agreement_table(agreement: Mapping[str, Mapping[str, Any]]) -> "Table":
    """Return the verdicts, those that differ first."""
    shown = table(
        "prediction against observation",
        ("verdict", "indicator", "predicted", "95 % of runs", "observed", "given the observed instants"),
    )
    order = ("differs", "cannot tell", "agrees")
    for name, each in sorted(agreement.items(), key=lambda item: order.index(item[1]["verdict"])):
        unit = each.get("unit", _unit_of(name))
        given = each["given"]
        again = "" if given is None else f"{number(given['predicted'], unit)}: {given['verdict']}"
        predicted, observed = (number(each[key], unit) for key in ("predicted", "observed"))
        shown.add_row(each["verdict"], name, predicted, bounds(each["interval"], unit), observed, again)
    return shown


def _unit_of(name: str) -> str:
    from scenarios.expectations import parse_indicator

    return parse_indicator(name).unit


def table(title: str, columns: Iterable[str]) -> "Table":
    """Return an empty table in the one look that all have."""
    from rich import box
    from rich.table import Table

    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    return shown


def figure(found: Mapping[str, Any]) -> str:
    """Return an indicator's value, or how far it got, or that there is none."""
    if found["value"] is None and found.get("at_least") is not None:
        return f"over {number(found['at_least'], found['unit'])}"
    return number(found["value"], found["unit"])


def bounds(interval: tuple[float | None, float | None] | None, unit: str) -> str:
    """Return an interval, empty where there is none; an end that is null is open."""
    if interval is None:
        return ""
    low, high = interval
    return f"{number(low, unit)} to {'never' if high is None else number(high, unit)}"


def number(value: float | None, unit: str) -> str:
    """Return a figure the way people write it in its unit."""
    if value is None or not math.isfinite(value):
        return "-"
    match unit:
        case "s":
            return format_duration(value * SECOND)
        case "share":
            return f"{value * 100:.4g} %"
        case "events":
            return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
        case _:
            return f"{value:.4g}{unit.removeprefix('1')}"


def _is_headline(name: str) -> bool:
    kind, _, rest = name.partition("[")
    kind, _, statistic = kind.partition(".")
    where, _, scoped_statistic = rest.partition("].")
    partition = "/" in where.split(",")[0]
    return kind in _HEADLINES and (scoped_statistic if rest else statistic).rstrip("]") in _STATISTICS and not partition
