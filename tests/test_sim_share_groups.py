"""Share groups in both models: who gets what, what comes again, and what is given up. Cases worked out by hand."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import constant, ms
from rundata.checks import check
from rundata.indicators import measure_one
from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.profiles import Profile


def sharing(events: int, members: int, **changes: Any) -> dict[str, Any]:
    """Return a burst of events at 5 ms for a share group, 10 ms of work each, five a call."""
    parts = [{"for": "1ms", "rate": f"{events}000/s", "spacing": "even"}, {"for": "999ms", "rate": "0/s"}]
    group = {"topics": ["a"], "share_group": True, "ordered_by": "none", "members": members, "work": "10ms"}
    group["settings"] = {"max.poll.records": 5}
    return {
        "producers__p": {"topic": "a", "share": "arrivals", "arrivals": parts},
        "groups": {"g": {**group, **changes.pop("group", {})}},
        **changes,
    }


def deliveries(run: RunData) -> list[tuple[float, str, int]]:
    """Return when which member got which event."""
    rows = run.operations[run.operations["kind"] == Kind.delivery]
    found = [(row["started_ns"] / 1e6, run.names.processes[row["process"]], int(row["event_id"])) for row in rows]
    return sorted(found)


@in_both_models
def test_members_beyond_the_partitions_get_their_part(run: Run) -> None:
    """Ten events of one partition: each of two members acquires five at 5.05 ms."""
    data = run(**sharing(10, 2))

    assert deliveries(data) == [(5.05, "g/1", n) for n in range(5)] + [(5.05, "g/2", n) for n in range(5, 10)]
    assert max(ms(data, Kind.try_)) == 55.05


@in_both_models
def test_what_a_killed_member_had_is_delivered_again_at_once(run: Run) -> None:
    """Member 1 is killed at 30 ms with two of its five events done and none acknowledged: member 2 has all five when it is free."""
    crash = {"fault": "member_crash", "member": "g/1", "at": "30ms", "for": "900ms"}
    data = run(**sharing(10, 2, faults=[crash]))

    assert deliveries(data)[10:] == [(55.05, "g/2", n) for n in range(5)]
    assert measure_one(data, "duplicate_effects").value == 2
    assert measure_one(data, "pending").value == 0


@in_both_models
def test_what_a_hanging_member_has_is_delivered_again_when_its_locks_end(run: Run) -> None:
    """It hangs from 30 ms to 40 s, its five locks end at 30.00505 s. Twice done: two events before that, and one as it goes on."""
    pause = {"fault": "member_pause", "member": "g/1", "at": "30ms", "for": "40s"}
    data = run(**sharing(10, 2, faults=[pause], drain="60s"))

    assert deliveries(data)[10:] == [(30_005.05, "g/2", n) for n in range(5)]
    assert measure_one(data, "duplicate_effects").value == 3
    assert measure_one(data, "passed").value == 0


@in_both_models
@pytest.mark.parametrize("limit", [2, 5])
def test_a_released_event_is_given_up_after_its_last_delivery(run: Run, limit: int) -> None:
    """An event that never works and is given back: as many deliveries as the limit, one after another, then it has passed."""
    poison = {"fault": "poison", "producer": "p", "events": 1, "at": "0ms", "for": "1ms"}
    settings = {"group.share.delivery.count.limit": limit}
    release = {"failures": {"then": "release"}}
    data = run(**sharing(1, 1, faults=[poison], brokers__settings=settings, group=release))

    assert ms(data, Kind.delivery) == [pytest.approx(5.5 + 10 * n) for n in range(limit)]
    assert measure_one(data, "passed").value == 1
    assert ms(data, Kind.commit) == [pytest.approx(5.5 + 10 * limit)]


@in_both_models
def test_acknowledgements_take_time_and_no_fetch_goes_ahead_of_them(run: Run) -> None:
    """Six events, five a call, a commit of 4 ms: the sixth is acquired after the five were acknowledged at 59.08 ms."""
    profile = Profile(profile="commits take time", commit=constant(4), phases="aligned")
    data = run(profile, **sharing(6, 1))

    assert [round(at, 2) for at in ms(data, Kind.delivery)] == [5.08] * 5 + [59.08]
    assert [round(at, 2) for at in ms(data, Kind.commit)] == [59.08, 73.08]


@in_both_models
def test_a_share_group_keeps_its_books(run: Run) -> None:
    """A member dies, another one hangs, and events fail: everything ends once, and checks find no more than they may."""
    faults = [
        {"fault": "member_crash", "member": "g/1", "at": "30ms", "for": "300ms"},
        {"fault": "member_pause", "member": "g/2", "at": "20ms", "for": "200ms"},
        {"fault": "poison", "producer": "p", "events": 2, "at": "0ms", "for": "1ms"},
    ]
    data = run(**sharing(40, 3, faults=faults, drain="60s", group={"failures": {"then": "release"}}))

    assert [name for name, result in check(data).items() if not result.valid] == []
    assert measure_one(data, "passed").value == 2


@in_both_models
def test_what_is_deleted_cannot_be_acquired_any_more(run: Run) -> None:
    """Ten events at 5.05 ms, five acquired; at 20 ms all are deleted, and the five in hand are handled all the same."""
    delete = {"fault": "delete_records", "topic": "a", "at": "20ms"}
    data = run(**sharing(10, 1, faults=[delete]))
    tries = data.operations[data.operations["kind"] == Kind.try_]

    assert deliveries(data) == [(5.05, "g/1", n) for n in range(5)]
    assert [round(ended / 1e6, 2) for ended in tries["ended_ns"].tolist()] == [15.05, 25.05, 35.05, 45.05, 55.05]
    assert [(each.first, each.end) for each in data.extents] == [(10, 10)]
    assert data.end_ns == 1_000_000_000


@in_both_models
def test_a_deleted_record_that_is_released_is_given_up(run: Run) -> None:
    """The member dies at 30 ms with five deleted events that it has not acknowledged: nobody gets them again."""
    faults = [
        {"fault": "delete_records", "topic": "a", "at": "20ms"},
        {"fault": "member_crash", "member": "g/1", "at": "30ms", "for": "50ms"},
    ]
    data = run(**sharing(10, 2, faults=faults))

    assert deliveries(data) == [(5.05, "g/1", n) for n in range(5)] + [(5.05, "g/2", n) for n in range(5, 10)]
    assert data.end_ns == 1_000_000_000


@in_both_models
def test_what_compaction_took_out_cannot_be_acquired_any_more(run: Run) -> None:
    """One key, cleaned each second: away from 3 to 6 s, the only member has read to 29, then gets the last one that is left (53), and what follows."""
    away = {"fault": "member_leave", "member": "g/1", "at": "3s", "for": "3s"}
    changes = {
        "duration": "10s",
        "topics__a": {"settings": {"cleanup.policy": "compact", "segment.ms": 500}},
        "brokers__settings": {"log.cleaner.backoff.ms": 1000},
        "producers__p__key": {"uniform": 1},
        "producers__p__share": "keys",
    }
    group = {"topics": ["a"], "share_group": True, "ordered_by": "none", "work": "10ms"}
    data = run(**changes, faults=[away], groups={"g": group})

    assert [event for _, _, event in deliveries(data)] == [*range(30), *range(53, 100)]
    assert measure_one(data, "pending").value == 0


@in_both_models
def test_deliveries_by_a_leader_that_is_lost_do_not_count(run: Run) -> None:
    """An event takes 40 s and has two deliveries; its leader dies in the first and in the second, and the third one is acknowledged."""
    crash = {"fault": "broker_crash", "broker": "leader of a/0", "for": "20s"}
    settings = {"group.share.delivery.count.limit": 2, "group.share.record.lock.duration.ms": 60_000}
    faults = [{**crash, "at": "1s"}, {**crash, "at": "45s"}]
    changes = sharing(
        1, 1, faults=faults, brokers__settings=settings, group={"work": "40s"}, duration="60s", drain="200s"
    )
    changes["producers__p"]["arrivals"][1]["for"] = "59999ms"
    data = run(**changes)

    assert ms(data, Kind.delivery) == [pytest.approx(5.5 + 40_000 * n) for n in range(3)]
    assert ms(data, Kind.commit) == [pytest.approx(120_005.5)]
    assert measure_one(data, "passed").value == 0


def cut_back(**group: Any) -> dict[str, Any]:
    """Return ten events a second for a share group; broker 2, which has ten of them, leads from 13 s on, and 115 are lost."""
    settings = {"min.insync.replicas": 1, "unclean.leader.election.enable": True}
    return {
        "duration": "30s",
        "drain": "60s",
        "brokers": {"kind": "kafka", "nodes": 2, "settings": {"group.share.partition.max.record.locks": 100}},
        "topics__a": {"replication": 2, "settings": settings},
        "producers__p__settings": {"acks": "1"},
        "groups__g": {"topics": ["a"], "share_group": True, "ordered_by": "none", "work": "10ms", **group},
        "faults": [
            {"fault": "broker_crash", "broker": 2, "at": "1s", "for": "12s"},
            {"fault": "broker_crash", "broker": 1, "at": "12500ms", "for": "30s"},
        ],
    }


@in_both_models
def test_offsets_that_were_acknowledged_before_a_cut_are_not_delivered_again(run: Run) -> None:
    """Offsets below 125 were done, so nobody gets the next 115 events, which have offsets from 10 on; those from offset 125 on are as before."""
    data = run(**cut_back())

    assert [event for _, _, event in deliveries(data)] == [*range(125), *range(240, 300)]
    assert data.log["offset"].tolist() == list(range(185))
    assert measure_one(data, "passed").value == 115
    assert measure_one(data, "pending").value == 0
    assert {name: result.examples for name, result in check(data).items() if not result.valid} == {}


@in_both_models
def test_what_was_cut_off_takes_no_locks(run: Run) -> None:
    """Three members, 5 s an event: one begins the last of the ten that are left, and the others the next ones, which came after 115 that are gone."""
    settings = {"max.poll.records": 1}
    data = run(**cut_back(members=3, work="5s", settings=settings))

    assert [(who, event) for at, who, event in deliveries(data) if at == 57_500] == [
        ("g/1", 9),
        ("g/2", 125),
        ("g/3", 126),
    ]
