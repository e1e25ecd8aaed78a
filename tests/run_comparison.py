"""Two runs compared row by row: the earliest difference, with what both runs tell about that event."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.rows import KIND_TEXT, NEVER, NONE, UNTIMED, Kind
from rundata.tables import RunData

_COMPARED = (
    "started_ns", "ended_ns", "kind", "process", "event_id", "group", "topic", "partition", "offset", "attempt",
    "poll_id", "retry_due_ns", "outcome", "transaction_id",
)  # fmt: skip
_LOGGED = ("topic", "partition", "offset", "event_id", "time_ns", "leader_epoch", "aborted")
_INCIDENTS = (
    "fence",
    "election",
    "registered",
    "restart",
    "session expired",
    "rebalance",
    "assignment",
    "expired",
    "controller",
    "unclean election",
    "lost with its host",
    "compacted",
)


def first_difference(plain: RunData, other: RunData) -> str | None:
    """Return a text about the earliest difference between two runs, or None where there is none."""
    for find in (_different_operation, _different_incident, _different_log):
        if text := find(plain, other):
            return text
    if plain.extents and plain.extents != other.extents:
        return f"the plain model's partitions are {plain.extents}, the other's {other.extents}"
    if plain.end_ns != other.end_ns:
        return f"the plain model ends at {plain.end_ns}, the other at {other.end_ns}"
    return None


def _rows(table: NDArray[np.void], names: tuple[str, ...]) -> Counter[tuple[int, ...]]:
    return Counter(zip(*(table[name].tolist() for name in names), strict=True))


def _only(a: Counter[Any], b: Counter[Any]) -> list[Any]:
    return sorted((a - b).elements())


def _moment(row: tuple[int, ...]) -> int:
    """Return when a difference shows: where two rows begin alike, at the end."""
    return min(row[1], NEVER - 1) if row[1] != UNTIMED else row[0]


def _different_operation(plain: RunData, other: RunData) -> str | None:
    ours, theirs = _rows(plain.operations, _COMPARED), _rows(other.operations, _COMPARED)
    rows = _only(ours, theirs) + _only(theirs, ours)
    if not rows:
        return None
    first = min(rows, key=lambda row: (row[0], _moment(row)))
    told = "in the plain model only" if first in ours else "in the other run only"
    event = first[_COMPARED.index("event_id")]
    lines = [f"{len(rows)} operations differ; the first, {told}: {_text(first)}"]
    for name, run in (("plain", plain), ("other", other)):
        lines += [f"{name}: {_text(row)}" for row in _story(run, event, first)]
    return "\n".join(lines)


def _story(run: RunData, event: int, first: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the rows of one event, or for a commit those of its process and partition."""
    rows = sorted(_rows(run.operations, _COMPARED).elements())
    if event != NONE:
        return [row for row in rows if row[4] == event]
    return [row for row in rows if row[4] == NONE and row[3] == first[3] and row[6:8] == first[6:8]]


def _text(row: tuple[int, ...]) -> str:
    fields = dict(zip(_COMPARED, row, strict=True))
    kind = KIND_TEXT[Kind(fields.pop("kind"))]
    empty = (NONE, UNTIMED)
    return kind + " " + " ".join(f"{name}={value}" for name, value in fields.items() if value not in empty)


def _different_log(plain: RunData, other: RunData) -> str | None:
    ours, theirs = _rows(plain.log, _LOGGED), _rows(other.log, _LOGGED)
    rows = _only(ours, theirs) + _only(theirs, ours)
    if not rows:
        return None
    told = "in the plain model only" if rows[0] in ours else "in the other run only"
    fields = zip(_LOGGED, min(rows), strict=True)
    return f"{len(rows)} records of the log differ; {told}: {dict(fields)}"


def _different_incident(plain: RunData, other: RunData) -> str | None:
    ours, theirs = (
        Counter(
            (incident.time_ns, incident.kind, incident.where) for incident in run.incidents if _is_compared(incident)
        )
        for run in (plain, other)
    )
    rows = _only(ours, theirs) + _only(theirs, ours)
    if not rows:
        return None
    told = "in the plain model only" if min(rows) in ours else "in the other run only"
    return f"{len(rows)} incidents differ; the first, {told}: {min(rows)}"


def _is_compared(incident: Any) -> bool:
    return incident.kind in _INCIDENTS and incident.time_ns > 0
