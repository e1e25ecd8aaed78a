"""Crash loops, outboxes and dead letters that are sent once more, worked out by hand, in the plain model and in the simulator."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import ms
from rundata.rows import Kind
from rundata.tables import RunData

AT_ONCE = {"groups__g__settings": {"group.protocol": "consumer"}}
STATIC = {"groups__g__settings": {"group.instance.id": "static"}}
"""A member that comes back within its session goes on with what it had."""
POISON = {"fault": "poison", "producer": "p", "events": 1, "at": "200ms", "for": "100ms"}
DEAD = {
    "topics__dead": {"partitions": 1, "replication": 3},
    "groups__g__failures": {"then": "dead_letter", "dead_letter": "dead"},
}


def _offsets(data: RunData, kind: Kind, topic: str) -> list[int]:
    rows = data.operations[
        (data.operations["kind"] == kind) & (data.operations["topic"] == data.names.topics.index(topic))
    ]
    return [int(offset) for offset in rows["offset"]]


# ---- crash loops -----------------------------------------------------------------------------------------------------


@in_both_models
def test_a_member_dies_of_an_event_again_and_again_and_later_each_time(run: Run) -> None:
    """The event of 250 ms kills the member at 265 ms, 50 ms later again, then after 100, 200, 200 ms; each try takes 10 ms."""
    restart = {"after": "50ms", "factor": 2, "most": "200ms"}
    data = run(**STATIC, groups__g__failures={"then": "crash", "restart": restart}, faults=[POISON], drain="0s")

    assert ms(data, Kind.try_, offset=2) == [265, 325, 435, 645, 855]
    assert ms(data, Kind.try_, offset=3) == []
    restarts = [incident.time_ns / 1e6 for incident in data.incidents if incident.kind == "restart"]
    assert restarts == [315, 425, 635, 845]


@in_both_models
def test_a_member_that_ran_long_enough_begins_its_waits_anew(run: Run) -> None:
    """Transient failures kill it 300 ms apart, which is twice the longest wait of 50 ms: it is back after 10 ms each time."""
    restart = {"after": "10ms", "factor": 5, "most": "50ms"}
    failing = {"fault": "failing_work", "group": "g", "share": "100%", "at": "200ms", "for": "60ms"}
    again = {"fault": "failing_work", "group": "g", "share": "100%", "at": "700ms", "for": "60ms"}
    data = run(**STATIC, groups__g__failures={"then": "crash", "restart": restart}, faults=[failing, again])

    restarts = [incident.time_ns / 1e6 for incident in data.incidents if incident.kind == "restart"]
    assert restarts == [275, 775]
    assert len(set(ms(data, Kind.try_, "offset"))) == 10


@in_both_models
def test_a_dying_member_takes_its_partitions_along_for_a_session(run: Run) -> None:
    """Of two members with a partition each one dies at once again and again; the other one is not concerned."""
    data = run(
        topics__a={"partitions": 2, "replication": 3},
        producers__p__key={"uniform": 40},
        groups__g__members=2,
        groups__g__failures={"then": "crash", "restart": {"after": "100ms", "factor": 1}},
        groups__g__settings={"group.instance.id": "static"},
        faults=[POISON],
        drain="0s",
    )

    crashed = {incident.where for incident in data.incidents if incident.kind == "restart"}
    tries = data.operations[data.operations["kind"] == Kind.try_]
    late = tries[tries["started_ns"] > 500_000_000]
    well = late[late["outcome"] == 0]
    assert len(crashed) == 1
    assert {data.names.processes[code] for code in well["process"].tolist()}.isdisjoint(crashed)


# ---- outboxes --------------------------------------------------------------------------------------------------------

EMITS = {"topics__out": {"partitions": 1, "replication": 3}}


def _emits(**more: Any) -> dict[str, Any]:
    return {"topic": "out", "settings": {"linger.ms": 0}, **more}


@in_both_models
def test_a_relay_sends_what_is_in_the_outbox_when_it_looks(run: Run) -> None:
    """Effects at 65, 165, ... ms are stored, and sent at the next multiple of 150 ms."""
    data = run(**EMITS, groups__g__emits=_emits(outbox={"every": "150ms"}))

    sends = data.operations[(data.operations["kind"] == Kind.send) & (data.operations["topic"] == 1)]
    assert sorted((sends["started_ns"] / 1e6).tolist()) == [150, 300, 300, 450, 600, 600, 750, 900, 900, 1050]
    assert {round(at % 150, 6) for at in (sends["started_ns"] / 1e6).tolist()} == {0}
    assert {data.names.processes[code] for code in sends["process"].tolist()} == {"g/1"}


@in_both_models
def test_a_commit_does_not_wait_for_what_is_stored(run: Run) -> None:
    """Without an outbox the commit waits for the answer, with it the event is finished with its effect."""
    with_outbox = run(**EMITS, groups__g__emits=_emits(outbox={"every": "10s"}), drain="20s")
    without = run(**EMITS, groups__g__emits=_emits(settings={"linger.ms": 20}))

    assert ms(with_outbox, Kind.commit)[0] == 65
    assert ms(without, Kind.commit)[0] == 85


@in_both_models
@pytest.mark.parametrize(("outbox", "arrived"), [({"every": "500ms"}, 10), (None, 9)])
def test_what_is_in_an_outbox_survives_its_member(run: Run, outbox: dict[str, str] | None, arrived: int) -> None:
    """The member dies at 270 ms, 5 ms after an effect, and comes back; its own client still lingered, and the offset is committed."""
    emits = _emits(settings={"linger.ms": 50}, **({"outbox": outbox} if outbox else {}))
    crash = {"fault": "member_crash", "member": "g/1", "at": "270ms", "for": "30ms"}
    data = run(**STATIC, **EMITS, groups__g__emits=emits, groups__g__commit="before_work", faults=[crash])

    assert len(data.log[data.log["topic"] == 1]) == arrived


# ---- redrives --------------------------------------------------------------------------------------------------------


@in_both_models
def test_dead_letters_are_sent_to_where_they_were_first_read(run: Run) -> None:
    """All events fail until 400 ms; at 500 ms the four letters are sent once more, 100 ms apart, and take effect."""
    failing = {"fault": "failing_work", "group": "g", "share": "100%", "at": "0ms", "for": "400ms"}
    data = run(
        **AT_ONCE,
        **DEAD,
        faults=[failing],
        actions=[{"action": "redrive", "from": "dead", "rate": "10/s", "at": "500ms"}],
    )

    assert ms(data, Kind.dead_letter) == [65, 165, 265, 365]
    again = data.log[(data.log["topic"] == 0) & (data.log["offset"] > 4)]
    assert [event for event in again["event_id"].tolist() if event < 4] == [0, 1, 2, 3]
    redriven = [
        at / 1e6 for at, event in zip(again["time_ns"].tolist(), again["event_id"].tolist(), strict=True) if event < 4
    ]
    assert redriven == [500, 600, 700, 800]
    assert len(ms(data, Kind.try_, outcome=0)) == 10


@in_both_models
def test_an_event_that_came_back_too_often_stays(run: Run) -> None:
    """A poison event is redriven at 400, 600 and 800 ms, at most twice."""
    redrive = {"action": "redrive", "from": "dead", "every": "200ms", "most": 2}
    data = run(**AT_ONCE, **DEAD, faults=[POISON], actions=[redrive])

    assert len(_offsets(data, Kind.dead_letter, "dead")) == 3
    assert len(data.log[data.log["topic"] == 1]) == 3


@in_both_models
def test_a_redrive_may_name_another_topic(run: Run) -> None:
    """The letter goes to `mended`, which nobody reads."""
    redrive = {"action": "redrive", "from": "dead", "to": "mended", "at": "500ms"}
    data = run(
        **AT_ONCE, **DEAD, topics__mended={"partitions": 3, "replication": 3}, faults=[POISON], actions=[redrive]
    )

    assert len(data.log[data.log["topic"] == data.names.topics.index("mended")]) == 1
    assert len(_offsets(data, Kind.dead_letter, "dead")) == 1
