"""When faults begin in a live run: on time, held by a person, or too late because something held the driver up, which is said."""

from dataclasses import dataclass, field
from typing import Any

from loadgen.gate import Open
from loadgen.schedule import Schedule
from runs import scenario_with
from scenarios.plan import make_plan
from scenarios.quantities import SECOND

FAULTS = {
    "faults": [
        {"fault": "broker_crash", "broker": 1, "at": "2s", "for": "1s"},
        {"fault": "broker_pause", "broker": 2, "at": "5s", "for": "1s"},
        {"fault": "slow_work", "group": "work", "factor": 2, "at": "6s", "for": "1s"},
    ]
}


@dataclass
class Told:
    """A clock that a test sets, and what was begun and ended by it."""

    at_s: float = 0.0
    did: list[tuple[str, int, float]] = field(default_factory=list)
    blocks_s: dict[int, float] = field(default_factory=dict)
    """By fault: how long its beginning takes the driver."""

    def now_ns(self) -> int:
        return round(self.at_s * SECOND)

    def look_up(self, index: int, planned: Any) -> None:
        self.did.append(("looked up", index, self.at_s))

    def begin(self, index: int, planned: Any) -> None:
        self.did.append(("began", index, self.at_s))
        self.at_s += self.blocks_s.get(index, 0.0)

    def end(self, index: int) -> None:
        self.did.append(("ended", index, self.at_s))


class Person(Open):
    """Lets a fault in from an instant on."""

    def __init__(self, told: Told, from_s: float) -> None:
        self.told, self.from_s, self.heard = told, from_s, list[str]()

    def may_begin(self, fault: str) -> bool:
        return self.told.at_s >= self.from_s

    def missed(self, fault: str) -> None:
        self.heard.append(fault)


def run_through(told: Told, gate: Open, until_s: float = 12.0) -> tuple[Schedule, list[str]]:
    """Do what is due, a look each tenth of a second."""
    missed = list[str]()
    schedule = Schedule(make_plan(scenario_with(FAULTS)), told, told, gate, told.now_ns, missed.append)
    while told.at_s < until_s and schedule.left:
        schedule.do_what_is_due()
        told.at_s = round(told.at_s + 0.1, 3)
    return schedule, missed


def test_each_fault_begins_and_ends_at_its_instant():
    told = Told()
    schedule, missed = run_through(told, Open())

    assert [(what, which, at) for what, which, at in told.did if what != "looked up"] == [
        ("began", 0, 2.0), ("ended", 0, 3.0), ("began", 1, 5.0), ("ended", 1, 6.0), ("began", 2, 6.0), ("ended", 2, 7.0),
    ]  # fmt: skip
    assert [(which, at) for what, which, at in told.did if what == "looked up"] == [(0, 1.7), (1, 4.7), (2, 5.7)]
    assert (schedule.late, missed) == ([], [])


def test_a_fault_that_never_began_because_the_driver_was_held_up_is_said():
    """The first one takes the driver until the load of 10 s is over. What members follow by the clock was there all the same."""
    told = Told(blocks_s={0: 9.0})
    schedule, missed = run_through(told, Open())

    assert [which for what, which, _ in told.did if what == "began"] == [0, 2]
    assert len(missed) == 1
    assert (
        "never began: it was due at 5.000 s, and at 11.100 s the load was over; something held the driver up"
        in missed[0]
    )
    assert schedule.late == []


def test_a_fault_that_began_late_is_said():
    told = Told(blocks_s={0: 4.5})
    schedule, missed = run_through(told, Open())

    assert missed == []
    assert len(schedule.late) == 1
    assert "began 1.6s late: something held the driver up, or its whole machine" in schedule.late[0]


def test_what_a_person_held_back_is_no_lateness_and_moves_all_that_comes_after_it():
    told = Told()
    schedule, missed = run_through(told, Person(told, 3.0))

    began = {which: at for what, which, at in told.did if what == "began"}
    assert began == {0: 3.0, 1: 6.0, 2: 6.0}
    assert (schedule.late, missed) == ([], [])


def test_what_a_person_never_let_in_is_the_persons_to_hear():
    told = Told()
    person = Person(told, 99.0)
    _, missed = run_through(told, person)

    assert len(person.heard) == 2
    assert missed == []
