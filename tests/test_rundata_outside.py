"""Events that the user's own programs sent: ids that need no plan, and how they become rows of the plan when the run is over."""

from typing import Any

import numpy as np
import pytest

from loadgen.external import done_by_commits
from loadgen.refuse import cannot
from loadgen.refuse_own import undeclared
from rundata.indicators import measure
from rundata.outside import TwiceError, as_written
from rundata.rows import LOG_RECORD, NEVER, NONE, Kind, Outcome, new_operations
from rundata.tables import RunData
from runs import scenario_with
from scenarios.errors import ScenarioError
from scenarios.files import load_text
from scenarios.outside import (
    FIRST,
    PlaceError,
    id_of_number,
    id_of_place,
    identity,
    ids_of_places,
    is_numbered,
    numbers_of,
    place_of,
    stand_ins,
)
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from sim.engine import simulate
from sim.refuse import cannot as simulator_cannot

MS = 1_000_000
OUTSIDE = {
    "duration": "4s",
    "topics": {"orders": {"partitions": 2}, "mails": {}, "orders.dlq": None},
    "producers": {
        "shop": {"count": 1, "topic": "orders", "external": True, "arrivals": "5/s"},
        "post": {"topic": "mails", "arrivals": {"rate": "1/s", "spacing": "even"}},
    },
    "groups": {"work": {"topics": ["orders", "mails"], "failures": None, "work": {"uniform": ["1ms", "9ms"]}}},
}
ORDERS, MAILS = 0, 1


def operation(kind: Kind, event: int, at_ms: int, **fields: Any) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    row = new_operations(1)
    row["event_id"] = row["root_id"] = event
    row["kind"], row["outcome"] = kind, Outcome.ok
    row["intended_ns"] = row["started_ns"] = row["ended_ns"] = at_ms * MS
    for name, value in fields.items():
        row[name] = value
    return row


def seen(
    event: int, at_ms: int, partition: int, offset: int, **fields: Any
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """A record of the shop that was read 5 ms after it was sent."""
    ended = (at_ms + 5) * MS
    return operation(
        Kind.send, event, at_ms, topic=ORDERS, partition=partition, offset=offset, ended_ns=ended, **fields
    )


def record(
    event: int, at_ms: int, partition: int, offset: int, topic: int = ORDERS
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    row = np.zeros(1, LOG_RECORD)
    row["event_id"], row["time_ns"], row["partition"], row["offset"], row["topic"] = (
        event,
        at_ms * MS,
        partition,
        offset,
        topic,
    )
    return row


def written(rows: list[Any], log: list[Any], sizes: dict[int, int] | None = None) -> RunData:
    plan = make_plan(scenario_with(OUTSIDE))
    empty = [new_operations(0)], [np.zeros(0, LOG_RECORD)]
    run = RunData(plan, "driven", np.concatenate([*empty[0], *rows]), np.concatenate([*empty[1], *log]))
    return as_written(run, sizes)


# ---- ids -----------------------------------------------------------------------------------------------------------


def test_an_id_says_a_place_or_a_number():
    assert id_of_place(0, 0, 0) == FIRST == 2**62
    assert id_of_place(3, 2, 17) == 2**62 + 3 * 2**52 + 2 * 2**35 + 17
    assert ids_of_places(np.array([3]), np.array([2]), np.array([17])).tolist() == [id_of_place(3, 2, 17)]
    assert id_of_number(17) == 2**62 + 2**61 + 17
    both = np.array([id_of_place(511, 99_999, 2**35 - 1), id_of_number(0)])
    assert is_numbered(both).tolist() == [False, True]
    assert numbers_of(both[1:]).tolist() == [0]
    with pytest.raises(ValueError, match="-1 is no number"):
        id_of_number(-1)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"eventdrill-id": b"17"}, id_of_number(17)),
        ({"eventdrill-id": b"A-17"}, id_of_place(1, 2, 3)),
        ({"eventdrill-id": b"17", "eventdrill-run": b"5"}, id_of_place(1, 2, 3)),
        ({}, id_of_place(1, 2, 3)),
    ],
)
def test_a_record_is_known_by_its_number_or_by_its_place(headers: dict[str, bytes], expected: int):
    """Beside a run's id the number is that of the event that the record follows from."""
    assert identity(1, 2, 3, headers) == expected


def test_a_place_is_written_with_its_topic():
    assert place_of("orders.new/1/17", ("mails", "orders.new")) == id_of_place(1, 1, 17)
    for wrong in ("orders/17", "orders.new/1/x", "other/1/17"):
        with pytest.raises(PlaceError, match="TOPIC/PARTITION/OFFSET, such as mails/0/17"):
            place_of(wrong, ("mails", "orders.new"))


def test_each_event_has_one_stand_in_and_all_stand_ins_are_used():
    declared = np.array([2, 3, 5, 7, 11])
    ids = ids_of_places(np.zeros(1000, np.int64), np.zeros(1000, np.int64), np.arange(1000))
    found = stand_ins(declared, ids)

    assert found.tolist() == stand_ins(declared, ids).tolist()
    assert np.unique(found, return_counts=True)[1].min() > 150
    assert np.unique(found).tolist() == declared.tolist()
    assert stand_ins(declared, np.array([4, 9])).tolist() == [4, 9]


# ---- the plan ------------------------------------------------------------------------------------------------------


def test_what_was_written_takes_the_place_of_what_was_declared():
    """Orders at 0.2 s and 3.9 s stand among the mails of 0.5, 1.5, 2.5 and 3.5 s; one before time 0 and one after the load are left out."""
    places = [(-100, 0, 0), (200, 0, 1), (3900, 1, 0), (4000, 1, 1)]
    ids = [id_of_place(ORDERS, partition, offset) for _, partition, offset in places]
    rows = [seen(event, *place, key=key) for event, place, key in zip(ids, places, (0, 1, 0, 2), strict=True)]
    handled = [
        operation(Kind.try_, event, 3950, group=0, topic=ORDERS, partition=place[1], offset=place[2])
        for event, place in zip(ids, places, strict=True)
    ]
    commit = operation(Kind.commit, NONE, 3960, group=0, topic=ORDERS, offset=2)
    run = written([*rows, *handled, commit], [record(NONE, *place) for place in places], {ids[1]: 77})
    plan = run.plan

    assert plan.intended_ns.tolist() == [200 * MS, 500 * MS, 1500 * MS, 2500 * MS, 3500 * MS, 3900 * MS]
    assert plan.producer.tolist() == [0, 1, 1, 1, 1, 0]
    assert plan.partition[[0, 5]].tolist() == [0, 1]
    assert plan.key[[0, 5]].tolist() == [1, 0]
    assert plan.size_bytes[[0, 5]].tolist() == [77, 100]
    assert run.log["event_id"].tolist() == [NONE, 0, 5, NONE]
    of_events = run.operations[run.operations["event_id"] != NONE]
    assert of_events["event_id"].tolist() == [0, 5, 0, 5]
    assert of_events["root_id"].tolist() == [0, 5, 0, 5]
    assert of_events["intended_ns"].tolist() == [200 * MS, 3900 * MS] * 2
    assert int((run.operations["kind"] == Kind.commit).sum()) == 1


def test_handlers_work_on_a_written_event_as_on_the_declared_one_that_stands_for_it():
    declared = make_plan(scenario_with(OUTSIDE))
    event = id_of_place(ORDERS, 0, 9)
    run = written([seen(event, 200, 0, 9)], [])
    like = int(stand_ins(np.flatnonzero(declared.producer == 0), np.array([event]))[0])

    assert declared.work_ns["work"][like] > 0
    assert run.plan.work_ns["work"][0] == declared.work_ns["work"][like]
    mails = declared.work_ns["work"][declared.producer == 1]
    assert run.plan.work_ns["work"][1:].tolist() == mails.tolist()


def test_numbers_tell_copies_and_what_never_came():
    """Number 2 came twice, 4 and 5 never; 6 says by when they should have."""
    rows = [seen(id_of_number(n), 100 * n, 0, place) for place, n in enumerate((1, 2, 2, 3, 6))]
    effect = operation(Kind.try_, id_of_place(ORDERS, 0, 2), 250, group=0)  # told by the place of the copy
    run = written([*rows, effect], [record(NONE, 100, 0, place) for place in range(5)])
    orders = np.flatnonzero(run.plan.producer == 0)
    lacking = run.operations[run.operations["outcome"] == Outcome.unknown]

    assert run.plan.intended_ns[orders].tolist() == [100 * MS, 200 * MS, 300 * MS, 600 * MS, 600 * MS, 600 * MS]
    assert len(lacking) == 2
    assert lacking["ended_ns"].tolist() == [NEVER, NEVER]
    two = int(orders[1])
    assert run.operations["event_id"][run.operations["kind"] == Kind.try_].tolist() == [two]
    assert run.operations["topic"][run.operations["kind"] == Kind.try_].tolist() == [ORDERS]
    assert (run.log["event_id"] == two).sum() == 2


def test_numbers_that_do_not_count_one_by_one_say_nothing_of_what_is_missing():
    rows = [seen(id_of_number(n), n, 0, place) for place, n in enumerate((10, 2000, 3000))]

    assert len(written(rows, []).operations) == 3


def test_one_number_in_two_topics_is_an_error():
    two = {
        **OUTSIDE,
        "producers": {**OUTSIDE["producers"], "post": {"topic": "mails", "external": True, "arrivals": "1/s"}},
    }
    rows = [seen(id_of_number(7), 100, 0, 0), seen(id_of_number(7), 100, 0, 0)]
    rows[1]["topic"] = MAILS
    run = RunData(make_plan(scenario_with(two)), "driven", np.concatenate(rows), np.zeros(0, LOG_RECORD))

    with pytest.raises(TwiceError, match="number 7 stands in two topics"):
        as_written(run)


def test_a_record_that_only_the_audit_found_counts_from_its_timestamp():
    run = written([seen(id_of_place(ORDERS, 0, 0), 100, 0, 0)], [record(NONE, 100, 0, 0), record(NONE, 700, 0, 1)])

    assert run.plan.intended_ns[run.plan.producer == 0].tolist() == [100 * MS, 700 * MS]
    assert run.log["event_id"].tolist() == [0, 2]


def test_what_follows_from_an_event_of_ours_keeps_its_root():
    """A program that copied our headers: its record at 0.9 s stems from the mail of 0.5 s."""
    rows = [seen(id_of_place(ORDERS, 0, 0), 900, 0, 0)]
    declared = make_plan(scenario_with(OUTSIDE))
    rows[0]["root_id"] = int(np.flatnonzero(declared.producer == 1)[0])
    run = written(rows, [])

    assert run.plan.producer.tolist() == [1, 0, 1, 1, 1]
    assert run.operations["root_id"].tolist() == [0]
    assert run.operations["event_id"].tolist() == [1]


# ---- groups ----------------------------------------------------------------------------------------------------------


def test_what_a_silent_program_has_committed_beyond_counts_as_done():
    """Offsets 0 to 2 of partition 0; it commits 1 at 1 s and 2 at 2 s, so the third is not done. The log alone knows of the second."""
    scenario = scenario_with(
        {
            "duration": "4s",
            "producers": {"shop": {"arrivals": {"rate": "1/s", "spacing": "even"}}},
            "groups": {"work": {"external": True}},
        }
    )
    plan = make_plan(scenario)
    sends = [operation(Kind.send, event, 500, topic=0, partition=0, offset=event) for event in (0, 2)]
    commits = [
        operation(Kind.commit, NONE, at, group=0, topic=0, partition=0, offset=offset)
        for at, offset in ((1000, 1), (2000, 2))
    ]
    rows = done_by_commits(plan, np.concatenate([*sends, *commits]), record(1, 600, 0, 1))

    assert rows["event_id"].tolist() == [0, 1, 0, 1]
    assert rows["kind"].tolist() == [Kind.delivery] * 2 + [Kind.try_] * 2
    assert rows["ended_ns"].tolist() == [1000 * MS, 2000 * MS] * 2
    assert plan.intended_ns[:2].tolist() == [500 * MS, 1500 * MS]


# ---- refusals ------------------------------------------------------------------------------------------------------

FILE = """\
scenario: own
duration: 5s
brokers: {kind: kafka, nodes: 1}
topics: {orders: {}, mails: {}, done: {}}
producers:
  shop: {topic: orders, external: true, arrivals: 10/s}
  post: {topic: mails, arrivals: 10/s}
groups:
  app: {topics: [mails], work: 1ms, external: true, effects: {topic: done}}
  work: {topics: [orders], work: 1ms}
"""


def test_own_programs_are_driven_and_simulated():
    """The simulator takes both as they are declared."""
    scenario = load_text(FILE, "own.yaml").scenario

    assert cannot(scenario, implementation="librdkafka-mock") == []
    assert simulator_cannot(scenario) == []
    run = simulate(make_plan(scenario), IDEAL)
    effects = run.operations[(run.operations["kind"] == Kind.try_) & (run.operations["outcome"] == Outcome.ok)]
    assert np.sort(effects["event_id"]).tolist() == list(range(len(run.plan)))
    assert measure(run)["ack_latency[orders].p50"].value is not None


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("faults=[{fault: producer_crash, producer: shop, at: 1s, for: 1s}]", "faults[0] is producer_crash of shop, which is your own program"),
        ("faults=[{fault: surge, producer: shop, factor: 2, at: 1s, for: 1s}]", "faults[0] is surge of shop"),
        ("faults=[{fault: slow_work, group: app, factor: 2, at: 1s, for: 1s}]", "faults[0] is slow_work of app"),
        ("faults=[{fault: member_crash, member: app/1, at: 1s, for: 1s}]", "faults[0] is member_crash of app"),
        ("actions=[{action: scale, group: app, to: 2, at: 1s}]", "actions[0] is scale of app"),
        ("producers.post.topic=orders", "topics.orders is written by shop, your own program, and by producers.post"),
        ("producers.shop.poison=1%", "producers.shop.poison is 0.01, and shop is your own program"),
        ("groups.app.emits={topic: done}", "groups.app.emits[0] is what your own program sends"),
        ("groups.app.topics=[mails, orders]", "groups.app.topics holds orders, which shop writes, and mails"),
    ],
)  # fmt: skip
def test_what_own_programs_cannot_be_asked_is_refused(setting: str, reason: str):
    found = cannot(load_text(FILE, "own.yaml", [setting]).scenario)

    assert any(each.startswith(reason) for each in found), found


def test_a_program_that_is_expected_to_send_nothing_is_refused():
    scenario = load_text(FILE, "own.yaml", ["producers.shop.arrivals=0.001/s"]).scenario

    assert list(undeclared(make_plan(scenario))) == [
        "producers.shop.arrivals make no event at all; give the rate that your program has, about"
    ]


def test_a_payload_for_a_program_that_sends_its_own_is_wrong_input():
    with pytest.raises(ScenarioError, match="payload is given beside `external: true`"):
        load_text(FILE, "own.yaml", ["producers.shop.payload={file: x}"])
