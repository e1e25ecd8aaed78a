"""OpenSLO files and a scenario's `objectives`: the same meaning in both directions; what the other cannot say is refused.

What an objective is about stands in annotations (`eventdrill/indicator`, `of`, `below`, `within`), because OpenSLO itself knows only
queries; the queries are those of the counters that `eventdrill alerts` evaluates, so that other tools can use the file as it is.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from reports.slo import objective_text
from scenarios.errors import Problem, ScenarioError, nearest, show
from scenarios.files import read_text, validated
from scenarios.model import Frozen
from scenarios.quantities import DAY, HOUR, MINUTE, exact_duration
from scenarios.schema import Objective
from scenarios.yaml_text import Marked, read_yaml, write_yaml

API = "openslo/v1"
PREFIX = "eventdrill/"
_FIELDS = ("indicator", "of", "below", "within")
_WINDOW = re.compile(r"(\d+)([mhdw])\Z")
_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


class _Open(Frozen):
    """A part of OpenSLO that may hold more than is read here (descriptions, labels, policies of alerts)."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, validate_by_alias=True, validate_by_name=True)


def _number(raw: object) -> object:
    return float(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw


class _Metadata(_Open):
    name: str
    annotations: Mapping[str, str] = {}


class _TimeWindow(_Open):
    duration: str
    isRolling: bool  # noqa: N815  # OpenSLO's own name


class _Target(_Open):
    target: Annotated[float | None, BeforeValidator(_number)] = None
    targetPercent: Annotated[float | None, BeforeValidator(_number)] = None  # noqa: N815 - OpenSLO's own name
    op: str | None = None
    value: Annotated[float | None, BeforeValidator(_number)] = None


class _Spec(_Open):
    budgetingMethod: Literal["Occurrences", "Timeslices", "RatioTimeslices"]  # noqa: N815 - OpenSLO's own name
    timeWindow: Annotated[tuple[_TimeWindow, ...], Field(min_length=1, max_length=1)]  # noqa: N815 - OpenSLO's own name
    objectives: Annotated[tuple[_Target, ...], Field(min_length=1)]


class _Slo(_Open):
    apiVersion: Literal["openslo/v1"]  # noqa: N815 - OpenSLO's own name
    kind: Literal["SLO"]
    metadata: _Metadata
    spec: _Spec


# ---- in --------------------------------------------------------------------------------------------------------------


def read_openslo(path: Path | str) -> dict[str, Objective]:
    """Read a file's SLOs as objectives; raise ScenarioError with every mistake."""
    return parse_openslo(read_text(Path(path), str(path)), str(path))


def parse_openslo(text: str, source: str) -> dict[str, Objective]:
    """Read the SLOs of a text of one or more documents; other kinds of OpenSLO are left alone."""
    found: dict[str, Objective] = {}
    problems: list[Problem] = []
    for marked in _documents(text, source):
        kind = marked.value.get("kind") if isinstance(marked.value, dict) else None
        if kind in ("Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "SLI"):
            continue
        slo = validated(_Slo, marked, source)
        problems += [Problem(place, said, *marked.mark(tuple(place.split(".")))) for place, said in _unsayable(slo)]
        for name, fields in _objectives(slo):
            if name in found:
                problems.append(
                    Problem("metadata.name", f"is {show(name)} a second time", *marked.mark(("metadata", "name")))
                )
            elif "indicator" in fields:
                where = {("objectives", name): marked.mark(("metadata", "annotations"))}
                found[name] = validated(Objective, Marked(fields, {(): _place(where, marked)}), source)
    if problems:
        raise ScenarioError(source, problems)
    if not found:
        raise ScenarioError(source, [Problem("", "holds no document of kind SLO")])
    return found


def _place(where: Mapping[Any, Any], marked: Marked) -> tuple[int, int]:
    line, column = next(iter(where.values()))
    return (line, column) if line is not None else marked.marks.get((), (1, 1))


def _documents(text: str, source: str) -> Iterator[Marked]:
    """Yield the documents of a text; each is read behind as many empty lines as came before it, so that lines are right."""
    parts, begin = re.split(r"^---[^\n]*$", text, flags=re.M), 0
    for part in parts:
        if part.strip() and not all(line.startswith("#") or not line.strip() for line in part.splitlines()):
            yield read_yaml("\n" * begin + part, source)
        begin += part.count("\n")


def _unsayable(slo: _Slo) -> Iterator[tuple[str, str]]:
    """Yield what a scenario's objectives cannot say."""
    if slo.spec.budgetingMethod != "Occurrences":
        yield (
            "spec.budgetingMethod",
            f"is {slo.spec.budgetingMethod}; an objective counts Occurrences, and the other methods are shown beside it",
        )
    window = slo.spec.timeWindow[0]
    if not window.isRolling:
        yield "spec.timeWindow", "is a calendar's; an objective has a rolling period: isRolling: true"
    if not _WINDOW.match(window.duration):
        yield "spec.timeWindow", f"has the duration {show(window.duration)}; it is written like 30d, 4w or 12h"
    given = {key.removeprefix(PREFIX) for key in slo.metadata.annotations if key.startswith(PREFIX)}
    if "indicator" not in given:
        yield (
            "metadata.annotations",
            f"say nothing of {PREFIX}indicator; a query alone cannot be asked of a run: add "
            f"{PREFIX}indicator: latency, {PREFIX}of: GROUP, {PREFIX}below: 500ms",
        )
    for unknown in sorted(given - set(_FIELDS)):
        yield "metadata.annotations", f"hold {PREFIX}{unknown}{nearest(unknown, _FIELDS)}"
    for each in slo.spec.objectives:
        if each.op is not None or each.value is not None:
            yield "spec.objectives", f"has a threshold in op and value; write it as the annotation {PREFIX}below"
        if (each.target is None) == (each.targetPercent is None):
            yield "spec.objectives", "needs one of target (0.99) and targetPercent (99)"


def _objectives(slo: _Slo) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield an objective's fields for each target; several are numbered."""
    fields = {
        key: slo.metadata.annotations[PREFIX + key] for key in _FIELDS if PREFIX + key in slo.metadata.annotations
    }
    window = _WINDOW.match(slo.spec.timeWindow[0].duration)
    period = {"period": exact_duration(int(window[1]) * _UNITS[window[2]])} if window else {}
    for number, each in enumerate(slo.spec.objectives, 1):
        percent = each.targetPercent if each.targetPercent is not None else (each.target or 0.0) * 100
        name = slo.metadata.name if len(slo.spec.objectives) == 1 else f"{slo.metadata.name}-{number}"
        yield name, {**fields, "target": f"{percent:.10g}%", **period}


# ---- out -------------------------------------------------------------------------------------------------------------


def openslo_text(objectives: Mapping[str, Objective], service: str) -> str:
    """Return objectives as OpenSLO, a document for each; `parse_openslo` reads the same objectives from it."""
    documents = [write_yaml(_document(name, objective, service)) for name, objective in objectives.items()]
    return "---\n".join(documents)


def _document(name: str, objective: Objective, service: str) -> dict[str, Any]:
    fields = objective.model_dump(mode="json", exclude_none=True)
    annotations = {PREFIX + key: str(fields[key]) for key in _FIELDS if key in fields}
    return {
        "apiVersion": API,
        "kind": "SLO",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "description": objective_text(objective),
            "service": service,
            "budgetingMethod": "Occurrences",
            "timeWindow": [{"duration": _window(objective.period), "isRolling": True}],
            "indicator": {"metadata": {"name": name}, "spec": {"ratioMetric": _ratio(name)}},
            "objectives": [{"target": float(f"{objective.target:.12g}")}],
        },
    }


def _window(period_ns: int) -> str:
    for unit in ("d", "h", "m"):
        if period_ns % _UNITS[unit] == 0:
            return f"{period_ns // _UNITS[unit]}{unit}"
    raise ScenarioError("objectives", [Problem("period", "is no whole number of minutes, which OpenSLO needs")])


def _ratio(name: str) -> dict[str, Any]:
    def source(metric: str) -> dict[str, Any]:
        return {"metricSource": {"type": "Prometheus", "spec": {"query": f'{metric}{{objective="{name}"}}'}}}

    return {"counter": True, "bad": source("objective_bad_events_total"), "total": source("objective_events_total")}
