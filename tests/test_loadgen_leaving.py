"""Members that are asked to leave: they finish what they have in hand, and nobody stands still for them meanwhile."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import TopicPartition

from live_runs import drive_embedded, load, rows_of
from loadgen.actions import Actions
from loadgen.admin import AdminError
from loadgen.child import Child
from loadgen.crew import Crew
from loadgen.lab import members
from loadgen.lab.applied import Applied
from loadgen.member_process import MemberProcess
from rundata.checks import check
from rundata.rows import Kind, Outcome
from scenarios.occurrences import PlannedAction, PlannedFault
from scenarios.plan import make_plan

S = 1_000_000_000
SCENARIO = """\
scenario: leaving
seed: 5
duration: 4s
drain: 30s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 1, replication: 1}}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: [{for: 1s, rate: 40/s}, {for: 3s, rate: 1/s}], key: {uniform: 50}}
groups:
  work:
    topics: [orders]
    work: 100ms
    commit: auto
    settings: {session.timeout.ms: 4000, heartbeat.interval.ms: 300}
faults:
  - {fault: member_leave, member: work/1, at: 2s, for: 100ms}
actions:
  - {action: reset_offsets, group: work, to: earliest, at: 3s}
"""


# ---- the process that is asked -------------------------------------------------------------------------------------


class Moments:
    """A clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.now = 0

    def perf_counter_ns(self) -> int:
        return self.now


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    clock = Moments()
    monkeypatch.setattr("loadgen.child.time", clock)
    return clock


def child_of() -> Child:
    """A process without pipes."""
    child = Child.__new__(Child)
    child.asked, child._finish_within_ns, child._finish_by_ns = False, 0, 0
    return child


def test_who_is_asked_to_end_goes_on_with_what_it_has_in_hand_for_so_long_as_it_may(moments: Moments):
    child = child_of()
    child.finish_within(10 * S)
    moments.now = 50 * S
    assert not child.leaving

    child._leave(signal.SIGTERM, None)

    assert (child.asked, child.leaving) == (True, False)
    moments.now = 60 * S - 1
    assert not child.leaving
    moments.now = 60 * S
    assert child.leaving


def test_who_is_asked_twice_has_no_time_left(moments: Moments):
    """A member that is on its way out when the run ends is asked with all others: that gives it no more time, but none."""
    child = child_of()
    child.finish_within(10 * S)
    child._leave(signal.SIGTERM, None)
    moments.now = 3 * S

    child._leave(signal.SIGTERM, None)

    assert child.leaving


@pytest.mark.parametrize("first", ["the run is over", "asked"])
def test_who_hears_that_the_run_is_over_finishes_nothing_more(moments: Moments, first: str):
    """Whichever it hears first; and a process that was never given any time has none."""
    child = child_of()
    child.finish_within(10 * S)
    moments.now = 50 * S
    steps = [lambda: child.finish_within(0), lambda: child._leave(signal.SIGTERM, None)]
    for step in steps if first == "the run is over" else steps[::-1]:
        step()

    assert child.leaving

    other = child_of()
    other._leave(signal.SIGTERM, None)
    assert other.leaving


def member_of(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> MemberProcess:
    """A member without a client; what is not given does nothing."""
    monkeypatch.setattr("loadgen.member_process.freeze", lambda: None)
    member = MemberProcess.__new__(MemberProcess)
    nothing: Any = SimpleNamespace(
        child=SimpleNamespace(asked=False, leaving=False, spec={}),
        _listen=lambda: None,
        pool=None,
        held=[],
        reads={},
        transactions=None,
        poll_id=0,
        delivered_at=0,
        start_ns=1,
    )
    vars(member).update({**vars(nothing), **parts})
    return member


def test_a_member_finishes_the_batch_that_a_poll_handed_over_and_polls_no_more(monkeypatch: pytest.MonkeyPatch):
    """It is asked to leave while it works on the first of three events."""
    polls, handled = [["a", "b", "c"], ["d"]], list[str]()

    def handle(event: Any, _poll_id: int, _delivered_at: int) -> None:
        handled.append(event.name)
        member.child.asked = True

    def batch(messages: Any) -> Any:
        events = [SimpleNamespace(name=each, topic="orders", partition=0, offset=0) for each in messages]
        return type("Batch", (), {"__len__": lambda _: len(events), "event": lambda _, number: events[number]})()

    held: Any = type("Held", (list,), {"must_wait": lambda *_: False})()
    handler = SimpleNamespace(stalled_until=lambda _now: None, instant=lambda _batch: None, handle=handle)
    commits = SimpleNamespace(mode="auto", event_done=lambda *_: False, batch_done=lambda: False)
    client = {"_poll": lambda: polls.pop(0), "_delivered_batch": batch}
    member = member_of(monkeypatch, handler=handler, commits=commits, held=held, **client)

    member.run()

    assert (handled, polls) == (["a", "b", "c"], [["d"]])


def test_several_workers_finish_what_is_in_hand_and_are_given_no_more(monkeypatch: pytest.MonkeyPatch):
    """Three events are in hand when the member is asked; each look finds one finished."""
    finished = list[dict[tuple[str, int], int]]()

    class Pool:
        in_hand, waits_for_answers = 3, False

        def next_at(self) -> None:
            return None

        def advance(self) -> dict[tuple[str, int], int]:
            self.in_hand -= 1
            return {("orders", 0): 3 - self.in_hand}

    child: Any = SimpleNamespace(asked=True, leaving=False, spec={})
    commits = SimpleNamespace(mode="auto", of_pool=finished.append)
    clients = SimpleNamespace(serve=lambda: None, waiting=lambda: 0)
    held = SimpleNamespace(next_due_ns=lambda: None)
    member = member_of(monkeypatch, child=child, pool=Pool(), commits=commits, clients=clients, held=held)

    member.run()

    assert finished == [{("orders", 0): 1}, {("orders", 0): 2}, {("orders", 0): 3}]


# ---- who waits for it ----------------------------------------------------------------------------------------------


class Process:
    """A member's process as its driver sees it: it has left when the test says so, or when somebody kills it."""

    def __init__(self, pid: int) -> None:
        self.pid, self.running, self.expected_to_end = pid, True, False
        self.killed = False
        self.signals: list[signal.Signals] = []
        self.said: dict[str, Any] = {}

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        self.expected_to_end = True

    def end(self, within_s: float) -> None:
        assert not self.running or within_s == 0, "the driver stands still for as long as this takes"
        self.killed |= self.running
        self.running = False

    def hear(self) -> list[Any]:
        return []


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Crew:
    """A crew of one member, whose processes are numbered from 1 on."""
    crew = Crew.__new__(Crew)
    crew.members, crew.gone, crew._leaving, crew.ended_by_policy = {}, [], {}, set()
    pids = iter(range(1, 9))

    def start(name: str, _first_poll_id: int) -> None:
        crew.members[name] = Process(next(pids))  # type: ignore[assignment]  # a process by hand

    monkeypatch.setattr(crew, "start_member", start)
    monkeypatch.setattr(crew, "hear", lambda: None)
    crew.start_member("work/1", 0)
    return crew


def process(crew: Crew) -> Process:
    found: Any = crew.members["work/1"]
    return found


PLAN = make_plan(load(SCENARIO).scenario)


def leave(crew: Crew) -> Applied:
    """Begin the fault by which the member leaves."""
    planned: PlannedFault = PLAN.faults[0]
    tools: Any = SimpleNamespace(
        crew=crew, clock=SimpleNamespace(now_ns=lambda: 2 * S), next_poll_id=lambda _name: 7, incidents=[]
    )
    fault: Any = planned.fault
    return members.end_member(tools, planned, fault)


def undo(applied: Applied) -> None:
    assert applied.undo is not None
    applied.note(applied.undo())


def test_a_member_that_has_left_is_back_at_the_end_of_its_fault(crew: Crew):
    left = leave(crew)
    process(crew).running = False

    undo(left)

    assert (process(crew).pid, crew.come_back()) == (2, set())
    assert left.proof == "process 1 asked to leave at 2.000 s; back as process 2 at 2.000 s"


def test_a_member_that_takes_longer_to_leave_holds_up_nobody_and_is_back_when_it_has_left(crew: Crew):
    left = leave(crew)

    undo(left)
    crew.look()
    assert (process(crew).pid, crew.come_back()) == (1, {"work/1"})
    process(crew).running = False
    crew.look()

    assert (process(crew).pid, crew.come_back()) == (2, set())
    assert left.proof == (
        "process 1 asked to leave at 2.000 s; on its way out at 2.000 s still; back as process 2 at 2.000 s"
    )


def test_a_member_that_never_leaves_is_killed_after_a_while(crew: Crew, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loadgen.crew.LEAVE_WITHIN_S", 0)
    first = process(crew)

    undo(leave(crew))
    crew.look()

    assert (first.killed, process(crew).pid) == (True, 2)


@pytest.mark.parametrize("when", ["before the end of its fault", "while it was on its way out"])
def test_a_member_that_others_have_brought_back_is_let_alone(crew: Crew, when: str):
    left = leave(crew)
    if when == "while it was on its way out":
        undo(left)
    process(crew).running = False
    crew.replace_member("work/1", 0)
    if when == "before the end of its fault":
        undo(left)
    crew.look()

    assert (process(crew).pid, process(crew).running, crew.come_back()) == (2, True, set())


def test_a_member_whose_policy_ended_it_on_its_way_out_stays_away(crew: Crew):
    left = leave(crew)
    undo(left)
    process(crew).running = False
    crew.ended_by_policy = {"work/1"}
    crew.look()

    assert (process(crew).pid, process(crew).running) == (1, False)
    assert left.proof.endswith("stays away: its handler's policy has ended it")


def test_who_is_on_its_way_out_cannot_be_asked_again(crew: Crew):
    leave(crew)

    again = leave(crew)
    crew.end_member("work/1", signal.SIGTERM)

    assert (again.undo, again.proof) == (None, "no effect: the member was not up, or on its way out")
    assert process(crew).signals == [signal.SIGTERM]


def test_members_that_an_action_has_ended_come_back_whatever_brokers_say(crew: Crew, monkeypatch: pytest.MonkeyPatch):
    """While its offsets are set nobody else starts the member, and where that is refused it is back all the same."""

    def refuse(*_: Any) -> Any:
        raise AdminError("no broker answers")

    monkeypatch.setattr("loadgen.actions.positions", refuse)
    nobody: Any = SimpleNamespace(now_ns=lambda: 3 * S)
    people = Actions(PLAN, crew, nobody, nobody, lambda _name: 7, nobody, set)
    planned: PlannedAction = PLAN.actions[0]
    people.begin(0, planned)
    away = people.come_back()
    process(crew).running = False
    people.advance()
    process(crew).said["ready"] = {}
    people.advance()

    assert away == {"work/1"}
    assert (process(crew).pid, people.come_back(), people.busy()) == (2, set(), False)
    assert people.records()[0].proof == "failed: no broker answers at 3.000 s"


@pytest.mark.parametrize(
    ("refusals", "proof"),
    [
        (3, "committed orders/0 offset 0 at 3.750 s; 1 members back at 3.750 s"),
        (99, "failed: the offsets of work cannot be set: the group is not empty at 23.250 s"),
    ],
    ids=["its session is over", "it never is"],
)
def test_offsets_are_set_when_the_brokers_count_nobody_any_more_and_nobody_waits_for_that(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, refusals: int, proof: str
):
    """A member that was killed counts until its session is over. The driver's loop asks again each quarter of a second, and goes on in between."""
    now, asked = [3 * S], list[int]()

    def commit_offsets(_group: str, _places: list[TopicPartition]) -> str:
        asked.append(now[0])
        return "the group is not empty" if len(asked) <= refusals else ""

    monkeypatch.setattr("loadgen.actions.positions", lambda *_: [TopicPartition("orders", 0, 0)])
    admin: Any = SimpleNamespace(commit_offsets=commit_offsets)
    clock: Any = SimpleNamespace(now_ns=lambda: now[0])
    people = Actions(PLAN, crew, admin, clock, lambda _name: 7, clock, set)
    people.begin(0, PLAN.actions[0])
    process(crew).running = False
    while now[0] < 30 * S and people.busy():
        people.advance()
        if process(crew).pid == 2:
            process(crew).said["ready"] = {}
        else:
            now[0] += S // 20
    people.advance()

    assert np.diff(asked).tolist() == [S // 4] * (len(asked) - 1)
    assert (process(crew).pid, people.busy()) == (2, False)
    assert people.records()[0].proof == proof


@pytest.mark.live
def test_a_member_leaves_nothing_undone_of_what_it_was_handed(tmp_path: Path):
    """Forty events of 100 ms, and what is handed over counts as committed: it goes on for some 2 s after it is asked, and then comes back."""
    loaded = load(SCENARIO, ["actions=[]"])
    run = drive_embedded(loaded, tmp_path / "run")
    (left,) = run.faults
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok)

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert "back as process" in left.proof
    assert np.unique(effects["event_id"]).tolist() == list(range(len(run.plan)))
    assert check(run)["passed"].parts["for good"] == 0
