"""Unclean elections in both models: who leads, what is lost, and what readers and later records have to do with it."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import by_hand, ms
from rundata.checks import check
from rundata.indicators import measure_one
from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from scenarios.quantities import SECOND
from sim.engine import simulate

TWO: dict[str, Any] = {
    "duration": "20s",
    "drain": "60s",
    "brokers": {"kind": "kafka", "nodes": 2, "version": "3.9"},
    "topics__a": {"replication": 2, "settings": {"min.insync.replicas": 1, "unclean.leader.election.enable": True}},
    "producers__p__settings": {"acks": "1"},
    "faults": [
        {"fault": "broker_crash", "broker": 2, "at": "1s", "for": "12s"},
        {"fault": "broker_crash", "broker": 1, "at": "12500ms", "for": "30s"},
    ],
}
"""Broker 2 is gone from 1 to 13 s and given up at 10 s; broker 1, the last one in sync, is gone from 12.5 s on."""


def three(version: str) -> dict[str, Any]:
    """Return three brokers: 2 is out of sync from 2 s on, 3 from 4 s on; 1 leads until it dies at 5 s, and is given up at 6 s."""
    settings = {"replica.lag.time.max.ms": 1000, "broker.session.timeout.ms": 1000, "broker.heartbeat.interval.ms": 500}
    return {
        "duration": "10s",
        "brokers": {"kind": "kafka", "nodes": 3, "version": version, "settings": settings},
        "topics__a": {"replication": 3, "settings": {"min.insync.replicas": 2, "unclean.leader.election.enable": True}},
        "producers__p__settings": {"acks": "1"},
        "faults": [
            {"fault": "cut", "between": ["broker 1", "broker 2"], "at": "1s", "for": "60s"},
            {"fault": "cut", "between": ["broker 1", "broker 3"], "at": "3s", "for": "60s"},
            {"fault": "broker_crash", "broker": 1, "at": "5s", "for": "60s"},
        ],
    }


def leaders(data: RunData) -> list[tuple[float, str]]:
    """Return when who was elected."""
    return [(i.time_ns / SECOND, i.detail) for i in data.incidents if i.kind == "election"]


@in_both_models
def test_a_replica_out_of_sync_leads_with_what_it_had_and_the_rest_is_lost(run: Run) -> None:
    """Broker 2 has the ten events of before 1 s. The 115 until 12.5 s are lost; what comes from 13 s on has offsets from 10 on."""
    data = run(**TWO)

    assert [(i.time_ns / SECOND, i.where) for i in data.incidents if i.kind == "unclean election"] == [(13.0, "a/0")]
    assert data.log["event_id"].tolist() == [*range(10), *range(125, 200)]
    assert data.log["offset"].tolist() == list(range(85))
    assert ms(data, Kind.send, "offset", event_id=124) == [124e-6]


@in_both_models
def test_members_go_on_with_the_first_record_that_differs(run: Run) -> None:
    """All 125 events of before are handled, lost or not; then offsets 10 to 84 come, and are committed below what was."""
    data = run(**TWO)

    assert ms(data, Kind.delivery, "offset") == [offset / 1e6 for offset in [*range(125), *range(10, 85)]]
    assert ms(data, Kind.commit, "offset")[-1] == 85e-6


@in_both_models
def test_without_the_setting_nobody_leads_before_the_last_one_in_sync_is_back(run: Run) -> None:
    """Broker 1 is back at 42.5 s, and nothing is lost."""
    data = run(**{**TWO, "topics__a": {"replication": 2, "settings": {"min.insync.replicas": 1}}})

    assert leaders(data) == [(42.5, "leader 1")]
    assert len(data.log) == 200


@in_both_models
def test_what_is_lost_is_told_with_its_reason(run: Run) -> None:
    """115 events are lost, ended as effects all the same, and no check fails."""
    data = run(**TWO)
    found = check(data)

    assert measure_one(data, "lost").value == 115
    assert measure_one(data, "pending").value == 0
    assert {name: result.examples for name, result in found.items() if not result.valid} == {}
    assert (
        found["lost"].allowed
        == "a is led by a replica out of sync rather than by nobody (unclean.leader.election.enable)"
    )


@in_both_models
@pytest.mark.parametrize(
    ("version", "leader", "left"),
    [("4.2", "leader 3", 30), ("3.9", "leader 2", 10)],
    ids=["since 4.1 an eligible one", "before that the first that is up"],
)
def test_eligible_replicas_come_before_others(run: Run, version: str, leader: str, left: int) -> None:
    """Broker 3 left while too few were in sync, so it has all that is visible (30 events); 2 has what was there at 1 s (10)."""
    data = run(**three(version))

    assert leaders(data)[0] == (6.0, leader)
    assert data.log["event_id"].tolist() == [*range(left), *range(50, 100)]


@in_both_models
def test_what_was_deleted_stays_deleted_after_an_unclean_election(run: Run) -> None:
    """Broker 2 has ten events; those below offset 50 are deleted at 11 s, so it begins anew at offset 50 with what comes from 13 s on."""
    deletes = {"fault": "delete_records", "partition": "a/0", "at": "11s", "up_to": 50}
    data = run(**{**TWO, "faults": [*TWO["faults"], deletes]})

    assert data.log["event_id"].tolist() == [*range(125, 200)]
    assert data.log["offset"].tolist() == list(range(50, 125))
    assert (data.extents[0].first, data.extents[0].end) == (50, 125)


@in_both_models
def test_records_are_deleted_up_to_an_offset_that_was_given_away_once_more(run: Run) -> None:
    """Of what comes from 13 s on, with offsets from 10 on, five records lie below offset 15."""
    deletes = {"fault": "delete_records", "partition": "a/0", "at": "15s", "up_to": 15}
    data = run(**{**TWO, "faults": [*TWO["faults"], deletes]})

    assert data.log["event_id"].tolist() == [*range(130, 200)]
    assert data.log["offset"].tolist() == list(range(15, 85))


def test_the_incident_says_how_much_is_lost() -> None:
    """With the offset from which on."""
    data = simulate(make_plan(by_hand(**TWO)), IDEAL)

    assert [i.detail for i in data.incidents if i.kind == "unclean election"] == ["115 records lost from offset 10 on"]


# ---- machines that die ---------------------------------------------------------------------------------------------


@in_both_models
@pytest.mark.parametrize(("fault", "lost"), [("broker_crash", []), ("host_crash", [*range(350, 500)])])
def test_a_machine_that_dies_takes_what_is_not_on_its_disk(run: Run, fault: str, lost: list[int]) -> None:
    """Ten events a second, in the log 55 ms and so on after time 0; the only replica dies at 50.02 s.

    The kernel wakes every 5 s: the first time when something has waited for 30 s is 35 s, when 350 events are in the log; the second would be 70 s.
    """
    crash = {"fault": fault, "broker": 1, "at": "50.02s", "for": "5s"}
    topics = {"a": {"partitions": 1, "replication": 1}}
    data = run(duration="60s", topics=topics, groups__g__work="0ms", faults=[crash], drain="60s")

    assert sorted({*range(600)} - {*data.log["event_id"].tolist()}) == lost
    assert data.log["offset"].tolist() == [*range(600 - len(lost))]
    assert len(ms(data, Kind.delivery)) == 600
    assert (check(data)["lost"].count, check(data)["lost"].valid) == (len(lost), True)
