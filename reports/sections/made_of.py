"""What latencies are made of: for each group, around p50 and p99, how long was spent in each stage, run beside run."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.contents import Column, Contents
from reports.words import DASH, value_text
from rundata.books import Books
from rundata.scopes import Scope
from rundata.stages import MEANING, Composition, Stage, compositions, stages

QUANTILES = (0.5, 0.99)
_PARTS_OF_PRODUCING: tuple[Stage, ...] = ("batching", "connection", "replication")
_LEAST_SHARE = 0.0005
"""Stages below it in every cell are left out."""


def made_of_cards(contents: Contents) -> list[dict[str, Any]]:
    """Return a table for each group: a row for each stage, a column for each quantile of each run."""
    cards = []
    for group in contents.scenario.groups:
        by_run = [(column, _of(column, group)) for column in contents.columns]
        columns = [(column, found[n]) for n in range(len(QUANTILES)) for column, found in by_run if found]
        if columns:
            cards.append(_card(group, columns))
    return cards


def _of(column: Column, group: str) -> list[Composition]:
    run = column.run.data
    if not len(run.operations) or group not in run.plan.scenario.groups:
        return []
    number = Books.of(run).groups.index(group)
    return compositions(stages(run, Scope("group", number, group)), QUANTILES)


def _card(group: str, columns: Sequence[tuple[Column, Composition]]) -> dict[str, Any]:
    parts = [_with_producing(found.parts_s) for _, found in columns]
    totals = [found.latency_s for _, found in columns]
    names = [name for name in MEANING if any(name in one for one in parts)]
    rows = [
        _row(name, [one.get(name) for one in parts], totals)
        for name in names
        if any(one.get(name, 0.0) > _LEAST_SHARE * total for one, total in zip(parts, totals, strict=True))
    ]
    heads = [f"{found.statistic}, {column.label}" for column, found in columns]
    return {
        "group": group,
        "heads": heads,
        "rows": rows,
        "totals": [value_text(total, "s") for total in totals],
        "sentence": _sentence(group, columns, parts),
    }


def _with_producing(parts: Mapping[Stage, float]) -> dict[Stage, float]:
    """Return the parts with the producer's as a whole besides its own, so that both engines have it."""
    if "producing" in parts:
        return dict(parts)
    return {**parts, "producing": sum(parts.get(name, 0.0) for name in _PARTS_OF_PRODUCING)}


def _row(name: Stage, values: Sequence[float | None], totals: Sequence[float]) -> dict[str, Any]:
    cells = [
        {"text": value_text(value, "s"), "share": round(100 * value / total, 1) if total else 0.0}
        if value is not None
        else {"text": DASH, "share": 0.0}
        for value, total in zip(values, totals, strict=True)
    ]
    return {"name": name, "meaning": MEANING[name], "cells": cells, "within": name in _PARTS_OF_PRODUCING}


def _sentence(group: str, columns: Sequence[tuple[Column, Composition]], parts: Sequence[Mapping[Stage, float]]) -> str:
    """Say where the last run's slowest events spent most of their time."""
    column, slowest = columns[-1]
    whole = {name: value for name, value in parts[-1].items() if name not in _PARTS_OF_PRODUCING}
    longest = max(whole, key=lambda name: whole[name])
    share = whole[longest] / slowest.latency_s if slowest.latency_s else 0.0
    return f"{group}: {share:.0%} of what {slowest.statistic} took in the {column.label} run was {longest} ({MEANING[longest]})."
