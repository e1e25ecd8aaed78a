"""Groups with several members in scenarios worked out by hand, and who of them reads what."""

from typing import Any

from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.quantities import MILLISECOND


def readers(data: RunData, from_ms: float = 0, to_ms: float = float("inf")) -> dict[int, set[str]]:
    """Return by partition of the first topic who was handed its events in a stretch of time."""
    found: dict[int, set[str]] = {}
    for row in data.operations[data.operations["kind"] == Kind.delivery]:
        if from_ms <= row["started_ns"] / MILLISECOND < to_ms and row["topic"] == 0:
            found.setdefault(int(row["partition"]), set()).add(data.names.processes[row["process"]])
    return found


def spread(members: int, partitions: int, protocol: str = "classic", **more: Any) -> dict[str, Any]:
    """Return changes: 100 events a second with keys over so many partitions, and so many members."""
    return {
        "topics__a": {"partitions": partitions, "replication": 1},
        "producers__p": {"topic": "a", "key": "sequence", "arrivals": {"rate": "100/s", "spacing": "even"}},
        "groups__g": {"topics": ["a"], "work": "1ms", "members": members, "settings": {"group.protocol": protocol}},
        **more,
    }
