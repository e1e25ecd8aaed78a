"""Compaction in both models: when a log is cleaned, what is left, and what readers see of it; cases worked out by hand."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import by_hand
from rundata.checks import check
from rundata.indicators import measure_one
from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.quantities import SECOND
from sim.refuse import cannot


def compacted(**settings: Any) -> dict[str, Any]:
    """Return ten seconds at 10 events/s of one key, segments of half a second (six events), and cleaners that look each second."""
    return {
        "duration": "10s",
        "topics__a": {"settings": {"cleanup.policy": "compact", "segment.ms": 500, **settings}},
        "brokers__settings": {"log.cleaner.backoff.ms": 1000},
        "producers__p__key": {"uniform": 1},
        "producers__p__share": "keys",
    }


def cleaned(data: RunData) -> list[float]:
    """Return when logs were cleaned."""
    return [i.time_ns / SECOND for i in data.incidents if i.kind == "compacted"]


def delivered(data: RunData) -> list[int]:
    """Return the offsets that were delivered."""
    rows: list[int] = data.operations["offset"][data.operations["kind"] == Kind.delivery].tolist()
    return rows


@in_both_models
def test_full_segments_keep_the_last_record_of_each_key(run: Run) -> None:
    """At 10 s 16 segments of six are full: of their 96 records one is left, and four stand in the one that is written to."""
    data = run(**compacted())

    assert cleaned(data) == [float(second) for second in range(1, 11)]
    assert data.log["offset"].tolist() == [95, 96, 97, 98, 99]
    assert data.extents[0].first == 0
    assert delivered(data) == list(range(100))


@in_both_models
def test_a_reader_that_comes_late_does_not_see_what_is_gone(run: Run) -> None:
    """Away from 3 to 6 s: it had read to 29, and then reads the last one of what was cleaned by 6 s (53), and what follows."""
    away = {"fault": "member_leave", "member": "g/1", "at": "3s", "for": "3s"}
    data = run(**compacted(), faults=[away], groups__g__settings={"group.protocol": "consumer"})

    assert delivered(data) == [*range(30), *range(53, 100)]


@in_both_models
def test_too_little_that_is_dirty_is_left_alone(run: Run) -> None:
    """After the first time one record is clean, so 20 dirty ones are more than 0.95: 18 at 3 s are too few, 30 at 4 s are enough, and so on."""
    assert cleaned(run(**compacted(**{"min.cleanable.dirty.ratio": 0.95}))) == [1.0, 4.0, 7.0, 10.0]


@in_both_models
def test_what_is_younger_than_the_lag_stays_and_what_is_older_than_the_longest_goes(run: Run) -> None:
    """With three seconds' lag the first segment (until 0.55 s) is cleaned at 4 s; a lag of at most 2 s overrules a ratio of 0.95."""
    late = run(**compacted(**{"min.compaction.lag.ms": 3000}))
    forced = run(**compacted(**{"min.cleanable.dirty.ratio": 0.95, "max.compaction.lag.ms": 2000}))

    assert cleaned(late)[0] == 4.0
    assert cleaned(forced) == [1.0, 3.0, 5.0, 7.0, 9.0]


@in_both_models
def test_retention_deletes_only_where_the_policy_says_delete_too(run: Run) -> None:
    """Kept for 2 s: with compact alone the log begins at 0, with both it does not."""
    looks = {"log.cleaner.backoff.ms": 1000, "log.retention.check.interval.ms": 1000}
    alone, both = (
        run(**{**compacted(**{"retention.ms": 2000, "cleanup.policy": policy}), "brokers__settings": looks})
        for policy in ("compact", "compact,delete")
    )

    assert alone.extents[0].first == 0
    assert both.extents[0].first > 50


@in_both_models
def test_events_that_gave_way_are_neither_lost_nor_pending(run: Run) -> None:
    """Conservation holds; the checks name the setting."""
    away = {"fault": "member_leave", "member": "g/1", "at": "3s", "for": "3s"}
    data = run(**compacted(), faults=[away], groups__g__settings={"group.protocol": "consumer"})
    found = check(data)

    assert {name: result.examples for name, result in found.items() if not result.valid} == {}
    assert found["offset_gaps"].allowed == "a is compacted"
    assert measure_one(data, "lost").value == 0
    assert measure_one(data, "pending").value == 0
    assert measure_one(data, "expired").value == 23


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"producers__p__key": "none"}, "topics.a: cleanup.policy is compact, and brokers take no records without a key then"),
        (
            {"faults": [{"fault": "delete_records", "topic": "a", "at": "5s"}]},
            "faults[0] deletes records of a, whose cleanup.policy is compact; brokers refuse that",
        ),
    ],
)  # fmt: skip
def test_what_brokers_refuse_of_a_compacted_topic_is_refused(changes: dict[str, Any], said: str) -> None:
    problems = cannot(by_hand(**{**compacted(), **changes}))

    assert any(problem.startswith(said) for problem in problems)
