"""A scenario small enough to be worked out by hand, changed in a few places, and the times of its rows in milliseconds."""

from typing import Any

from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.files import load_text
from scenarios.profiles import KNOTS, Measured
from scenarios.quantities import MILLISECOND
from scenarios.schema import Scenario
from scenarios.yaml_text import write_yaml


def constant(ms: float) -> Measured:
    """Return a time that is always the same."""
    return Measured(quantiles_us=(ms * 1000,) * len(KNOTS))


def by_hand(**changes: Any) -> Scenario:
    """Return one topic, one producer of 10 events a second evenly spaced, one group; `a__b=x` sets b of a."""
    scenario: dict[str, Any] = {
        "scenario": "by-hand",
        "duration": "1s",
        "brokers": {"kind": "kafka", "nodes": 3},
        "topics": {"a": {"partitions": 1, "replication": 3, "settings": {"min.insync.replicas": 2}}},
        "producers": {"p": {"topic": "a", "arrivals": {"rate": "10/s", "spacing": "even"}, "share": "arrivals"}},
        "groups": {"g": {"topics": ["a"], "work": "10ms"}},
    }
    for path, value in changes.items():
        *above, last = path.split("__")
        place = scenario
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return load_text(write_yaml(scenario)).scenario


def ms(run: RunData, kind: Kind, column: str = "ended_ns", **fields: int) -> list[float]:
    """Return one column of the rows of a kind, in ms, where the fields have these values."""
    rows = run.operations[run.operations["kind"] == kind]
    for name, value in fields.items():
        rows = rows[rows[name] == value]
    return [value / MILLISECOND for value in rows[column].tolist()]
