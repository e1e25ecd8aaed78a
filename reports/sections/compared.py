"""How runs of different files differ: what the files say, what their clients do because of it, and the figures that came out otherwise."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from reports.contents import Column, Contents
from reports.words import DASH, TIMES, duration_text, indicator_words, percent, value_text
from rundata.replications import Estimate
from scenarios.clients import ProducerSettings, consumer_settings, producer_settings
from scenarios.expectations import parse_expectation
from scenarios.plan import CLIENT_CHOOSES, NO_KEY
from scenarios.schema import Scenario

_MOST_FIGURES = 16
_MOST_RATIO = 1000
_LEAST_RATIO = 1.1
"""Figures that are closer to each other than this are not said to differ."""
_PARTITIONERS = {"java": "murmur2", "librdkafka": "crc32"}
_COMMITS = {"java": "what earlier polls handed over", "librdkafka": "what was handed over, finished or not"}


def compared(contents: Contents) -> dict[str, Any] | None:
    """Return the section's rows; None for a verification, for a single run, and where all runs are of one scenario."""
    scenarios = [column.run.data.plan.scenario for column in contents.columns]
    if contents.kind != "comparison" or all(scenario == scenarios[0] for scenario in scenarios):
        return None
    return {
        "file": _rows(_written(scenario) for scenario in scenarios),
        "clients": _rows(_behaviour(scenario) for scenario in scenarios),
        "moved": _moved_sentence(contents.columns),
        "figures": _figures(contents.columns),
    }


def _rows(columns: Iterator[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return what is not the same in all columns, in the order of the first one that has it."""
    known = list(columns)
    names = dict.fromkeys(name for each in known for name in each)
    rows = [{"name": name, "cells": [each.get(name, DASH) for each in known]} for name in names]
    return [row for row in rows if len(set(row["cells"])) > 1]


# ---- what the files say --------------------------------------------------------------------------------------------


def _written(scenario: Scenario) -> dict[str, str]:
    """Return the fields of a file by their dotted names."""
    return dict(_leaves("", scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)))


def _leaves(place: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case Mapping() if value:
            for name, inner in value.items():
                own = f"['{name}']" if "." in str(name) else f".{name}" if place else str(name)
                yield from _leaves(place + own, inner)
        case list() | tuple() if any(isinstance(each, Mapping) for each in value):
            for number, inner in enumerate(value):
                yield from _leaves(f"{place}[{number}]", inner)
        case _:
            yield place, _plain(value)


def _plain(value: object) -> str:
    match value:
        case None:
            return DASH
        case bool():
            return str(value).lower()
        case list() | tuple():
            return ", ".join(map(_plain, value))
        case _:
            return str(value)


# ---- what clients do because of it ---------------------------------------------------------------------------------


def _behaviour(scenario: Scenario) -> dict[str, str]:
    """Return how the client of each producer and group behaves, its own defaults filled in."""
    found: dict[str, str] = {}
    for name, producer in scenario.producers.items():
        found |= _sends(name, producer_settings(scenario, name), _PARTITIONERS[producer.client])
    for name in scenario.groups:
        found |= _reads(name, scenario)
    return found


def _sends(name: str, settings: ProducerSettings, partitioner: str) -> dict[str, str]:
    in_flight = "no limit" if settings.in_flight is None else str(settings.in_flight)
    full = "the event is refused at once"
    if settings.max_block_ns is not None:
        full = f"send() blocks, for {duration_text(settings.max_block_ns)} at most"
    return {
        f"{name}: acks": settings.acks,
        f"{name}: idempotent": "yes" if settings.idempotence else "no",
        f"{name}: linger": duration_text(settings.linger_ns),
        f"{name}: a batch holds": f"{settings.batch_bytes:,} B",
        f"{name}: requests in flight": in_flight,
        f"{name}: waits for a silent leader": duration_text(settings.request_timeout_ns),
        f"{name}: when its buffer is full": full,
        f"{name}: a key's partition is its": partitioner,
    }


def _reads(name: str, scenario: Scenario) -> dict[str, str]:
    settings = consumer_settings(scenario, name)
    found = {
        f"{name}: protocol": settings.protocol,
        f"{name}: waits for a silent leader": duration_text(settings.request_timeout_ns),
        f"{name}: isolation": settings.isolation.replace("_", " "),
    }
    if scenario.groups[name].commit == "auto":
        found[f"{name}: commits every {duration_text(settings.auto_commit_interval_ns)}"] = _COMMITS[
            scenario.groups[name].client
        ]
    return found


def _moved_sentence(columns: tuple[Column, ...]) -> str:
    """Return how many events go to another partition than in the first run, where the runs have the same events."""
    first, last = columns[0].run.data.plan, columns[-1].run.data.plan
    if len(first) != len(last) or not (first.key == last.key).all():
        return ""
    known = (first.key != NO_KEY) & (first.partition != CLIENT_CHOOSES) & (last.partition != CLIENT_CHOOSES)
    if not known.any():
        return ""
    moved = float(np.count_nonzero((first.partition != last.partition) & known) / np.count_nonzero(known))
    if not moved:
        return ""
    return f"{percent(moved)} of the events with keys lie in another partition in {columns[-1].label} than in {columns[0].label}."


# ---- what came out -------------------------------------------------------------------------------------------------


def _figures(columns: tuple[Column, ...]) -> list[dict[str, Any]]:
    """Return the figures that differ most, with what the last run has for each unit of the first."""
    names = dict.fromkeys(name for column in columns for name in column.run.estimates)
    rows = []
    for name in names:
        known = [column.run.estimates.get(name) for column in columns]
        if all(each is not None and each.value is not None and not each.series for each in known):
            rows.append(_figure(name, [each for each in known if each is not None]))
    asked = [str(parse_expectation(each.text).indicator) for each in columns[0].run.expectations]
    differing = [row for row in rows if row["size"] > math.log(_LEAST_RATIO)]
    differing.sort(key=lambda row: (row["name"] not in asked, -row["size"], len(row["name"]), row["name"]))
    # Of what is the same figure under several names (of all groups, of the only one), the first stands for all.
    distinct = {tuple(row["cells"]): row for row in reversed(differing)}
    return [row for row in differing if distinct[tuple(row["cells"])] is row][:_MOST_FIGURES]


def _figure(name: str, known: list[Estimate]) -> dict[str, Any]:
    values = [float(each.value or 0.0) for each in known]
    first, last = values[0], values[-1]
    size, ratio = abs(last - first), DASH
    if first > 0 and last > 0:
        size, ratio = abs(math.log(last / first)), _ratio(last / first)
    cells = [value_text(each.value, each.unit) for each in known]
    return {"name": name, "words": indicator_words(name), "cells": cells, "ratio": ratio, "size": size}


def _ratio(value: float) -> str:
    """Return how many times as much; beyond a thousand the number says no more than that."""
    if value > _MOST_RATIO:
        return f"over {TIMES}{_MOST_RATIO:,}"
    if value < 1 / _MOST_RATIO:
        return f"under {TIMES}{1 / _MOST_RATIO:g}"
    return f"{TIMES}{value:.3g}"
