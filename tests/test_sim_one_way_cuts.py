"""Cuts between clients and a broker in one direction only, in both models, worked out by hand."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import by_hand, ms
from rundata.rows import Kind, Outcome
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from sim.engine import simulate

# Event n is sent at 0.055 + n / 10 s (the client lingers for 5 ms) and takes no time; 3 to 8 meet the cut.
CUT = {"fault": "cut", "between": ["clients", "leader of a/0"], "at": "300ms", "for": "600ms"}
IMPATIENT = {"acks": 1, "enable.idempotence": False, "socket.timeout.ms": 220, "retry.backoff.ms": 10}
"""What is sent at 0.355 s is given up at 0.575 s, with what was sent after it, and again and again until the cut ends."""


def towards(direction: str) -> dict[str, Any]:
    return CUT | {"direction": direction}


@in_both_models
def test_what_reaches_a_broker_that_cannot_answer_is_there_twice_without_idempotence(run: Run) -> None:
    """Events 3 to 5 are appended as they come, given up together and sent again, and then on no connection until 0.9 s."""
    data = run(faults=[towards("from")], producers__p__settings=IMPATIENT)

    assert data.log["event_id"].tolist() == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9]


@in_both_models
@pytest.mark.parametrize("direction", ["to", "both"])
def test_what_does_not_reach_the_broker_is_there_once(run: Run, direction: str) -> None:
    data = run(faults=[towards(direction)], producers__p__settings=IMPATIENT)

    assert data.log["event_id"].tolist() == list(range(10))


@in_both_models
def test_with_idempotence_the_broker_knows_what_it_has_and_answers_late(run: Run) -> None:
    patient = IMPATIENT | {"acks": "all", "enable.idempotence": True}
    data = run(faults=[towards("from")], producers__p__settings=patient)

    assert data.log["event_id"].tolist() == list(range(10))
    assert ms(data, Kind.send)[:3] == [55, 155, 255]
    assert min(ms(data, Kind.send)[3:9]) >= 900


@in_both_models
@pytest.mark.parametrize("direction", ["from", "to"])
def test_answers_that_waited_come_when_the_cut_ends(run: Run, direction: str) -> None:
    data = run(faults=[towards(direction)], producers__p__settings={"enable.idempotence": False})

    assert ms(data, Kind.send)[3:9] == [900] * 6
    sends = data.operations[data.operations["kind"] == Kind.send]
    assert set(sends["outcome"].tolist()) == {Outcome.ok}


@in_both_models
def test_the_second_name_is_where_to_points(run: Run) -> None:
    """The link written the other way round: `to` the clients are the answers."""
    turned = CUT | {"between": ["leader of a/0", "clients"], "direction": "to"}
    data = run(faults=[turned], producers__p__settings=IMPATIENT)

    assert data.log["event_id"].tolist() == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9]


def test_the_proof_says_which_way_was_cut() -> None:
    def proof(direction: str) -> str:
        return simulate(make_plan(by_hand(faults=[towards(direction)])), IDEAL).faults[0].proof

    assert [proof(each) for each in ("to", "from", "both")] == [
        "no client reached broker 1",
        "no client heard from broker 1",
        "no client reached broker 1",
    ]


@in_both_models
def test_what_a_client_gave_up_goes_at_once_to_who_leads_by_then(run: Run) -> None:
    """The first event's request, made at 55 ms, never reaches the broker that leads until 60 ms; 20 ms later it goes to the next one."""
    data = run(
        producers__p__settings={"acks": "1", "enable.idempotence": False, "socket.timeout.ms": 20, "linger.ms": 5},
        faults=[
            {"fault": "cut", "between": ["leader of a/0", "clients"], "direction": "to", "at": "0ms", "for": "5s"},
            {"fault": "leader_move", "partition": "a/0", "at": "60ms"},
        ],
        drain="20s",
    )  # fmt: skip

    assert ms(data, Kind.send)[:2] == [75.0, 155.0]
