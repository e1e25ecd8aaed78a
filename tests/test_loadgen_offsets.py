"""What coordinators hold of a group that no member has recorded, commits whose answers went down with a killed member; and its lag."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException

from loadgen.admin import AdminError
from loadgen.offsets import BrokersLag, unrecorded
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


class Reader:
    """A client whose brokers know of some topics, and whose leaders answer or do not."""

    def __init__(self, partitions: dict[str, int], end: tuple[int, int] | None = (40, 100)) -> None:
        self._partitions, self._end = partitions, end

    def list_topics(self, timeout: float) -> SimpleNamespace:
        known = {topic: SimpleNamespace(partitions=dict.fromkeys(range(n))) for topic, n in self._partitions.items()}
        return SimpleNamespace(topics=known)

    def get_watermark_offsets(self, _place: object, timeout: float) -> tuple[int, int] | None:
        if self._end is None and timeout == 2:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return self._end


def lag_of(reader: Any, committed: dict[tuple[str, int], int]) -> BrokersLag:
    lag = BrokersLag.__new__(BrokersLag)
    held: Any = SimpleNamespace(group="work", read=lambda _within_s: committed)
    lag._topics, lag._client, lag._offsets = ("orders",), reader, held
    return lag


def test_lag_is_what_lies_beyond_the_committed_offsets_of_all_partitions() -> None:
    """Four partitions that end at 100: one committed at 70, one beyond what is there any more, two never."""
    assert lag_of(Reader({"orders": 4}), {("orders", 0): 70, ("orders", 1): 120}).read(1) == (230, 4)


@pytest.mark.parametrize(
    ("reader", "within_s", "reason"),
    [
        (Reader({}), 1, "a broker does not know orders"),
        (Reader({"orders": 0}), 1, "a broker does not know orders"),
        (Reader({"orders": 4}, None), 1, "the leader of orders/0 does not answer"),
        (Reader({"orders": 4}, None), 2, "the lag of work cannot be read: Local: Timed out"),
    ],
    ids=["a topic that is not there yet", "a topic without partitions yet", "a leader that is away", "with its reason"],
)
def test_a_lag_that_nobody_knows_is_no_lag_of_nought(reader: Reader, within_s: float, reason: str) -> None:
    with pytest.raises(AdminError, match=reason):
        lag_of(reader, {}).read(within_s)
