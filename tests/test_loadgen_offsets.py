"""What coordinators hold of a group that no member has recorded: commits whose answers went down with a killed member."""

import numpy as np

from loadgen.offsets import unrecorded
from rundata.rows import NONE, Kind, Outcome, new_operations
from rundata.tables import Names

NAMES = Names(("shop/1", "work/1"), ("work", "audit"), ("orders", "orders.dlq"), ("shop",))


def recorded(*commits: tuple[int, int, int, Outcome]) -> np.ndarray:
    """Commits of group work in partitions of orders: partition, offset, instant, outcome."""
    rows = new_operations(len(commits))
    rows["kind"], rows["group"], rows["topic"] = Kind.commit, 0, 0
    for row, (partition, offset, at_ns, outcome) in zip(rows, commits, strict=True):
        row["partition"], row["offset"], row["started_ns"], row["ended_ns"] = partition, offset, at_ns, at_ns
        row["outcome"] = outcome
    return rows


def offsets(rows: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(int(row[name]) for name in ("group", "topic", "partition", "offset", "ended_ns")) for row in rows]


def test_a_commit_that_nobody_recorded_becomes_a_row() -> None:
    """Partition 0 was committed as recorded, 1 further than anybody knows; audit never told of its commit."""
    rows = recorded((0, 10, 5, Outcome.ok), (1, 10, 5, Outcome.ok))
    held = {"work": {("orders", 0): 10, ("orders", 1): 63}, "audit": {("orders.dlq", 0): 4}}

    found = unrecorded(rows, NAMES, held, 99)

    assert offsets(found) == [(0, 0, 1, 63, 99), (1, 1, 0, 4, 99)]
    assert set(found["kind"].tolist()) == {Kind.commit}
    assert set(found["outcome"].tolist()) == {Outcome.ok}
    assert set(found["process"].tolist()) == {NONE}


def test_the_last_commit_counts_and_not_the_highest_or_a_failed_one() -> None:
    """Offsets were set back from 50 to 20; a later commit of 60 failed as its member knew, and was made all the same."""
    rows = recorded((0, 50, 5, Outcome.ok), (0, 20, 6, Outcome.ok), (0, 60, 7, Outcome.failed))

    assert offsets(unrecorded(rows, NAMES, {"work": {("orders", 0): 20}}, 99)) == []
    assert offsets(unrecorded(rows, NAMES, {"work": {("orders", 0): 60}}, 99)) == [(0, 0, 0, 60, 99)]


def test_a_group_that_is_where_it_began_has_nothing_to_tell() -> None:
    assert offsets(unrecorded(recorded(), NAMES, {"work": {("orders", 0): 0}, "audit": {}}, 99)) == []
