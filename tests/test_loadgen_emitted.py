"""Events that a killed member may or may not have sent: the driver writes them down as unknown, and the audit says which got through."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from live_runs import drive_embedded, group_code, load, rows_of
from loadgen.admin import AdminError
from loadgen.emitted import Emitted, unsent
from loadgen.engine import _Run
from rundata.checks import check
from rundata.indicators import measure
from rundata.rows import NEVER, Kind, Outcome, new_operations
from scenarios.derived import Derived
from scenarios.plan import make_plan

SCENARIO = """\
scenario: emitted
seed: 5
duration: 5s
warm_up: 0s
drain: 15s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 2, replication: 1}, mails: {partitions: 1, replication: 1}, notes: {partitions: 4, replication: 1}}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: 100/s, key: {uniform: 50}}
groups:
  work:
    topics: [orders]
    members: 1
    work: 1ms
    commit: {every: 60s}
    dedupe: {window: 10m, store: shared}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
    emits:
      - {topic: mails, event: Mail, outbox: {every: 500ms}, settings: {acks: all, enable.idempotence: true}}
      - {topic: notes, event: Noted, per_event: 2, settings: {acks: all, enable.idempotence: true, linger.ms: 3000}}
  post: {topics: [notes], work: 0ms, commit: {every: 500ms}, settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}}
faults:
  - {fault: member_crash, member: work/1, at: 2300ms, for: 300ms}
"""
MS = 1_000_000
LOADED = load(SCENARIO)
PLAN = make_plan(LOADED.scenario)
DERIVED = Derived(PLAN)
WORK, WORKER = 0, 1


def row(kind: Kind, event: int, ended_ns: int, outcome: Outcome = Outcome.ok) -> NDArray[np.void]:
    """One of the member's rows."""
    found = new_operations(1)
    found["kind"], found["event_id"], found["ended_ns"], found["outcome"] = kind, event, ended_ns, outcome
    found["group"], found["process"] = WORK, WORKER
    return found


def test_each_event_that_nobody_recorded_as_sent_becomes_a_send_of_unknown_outcome():
    """Event 3 took effect at 50 ms; of its two notes the first has its answer. The mail lies in the outbox, which is nobody's send yet."""
    _, first, second = DERIVED.children(3, "work")
    rows = np.concatenate([row(Kind.try_, 3, 50 * MS), row(Kind.send, first, 60 * MS)])

    found = unsent(PLAN, rows)

    assert found["event_id"].tolist() == [second]
    assert (found["kind"], found["outcome"], found["ended_ns"]) == (Kind.send, Outcome.unknown, NEVER)
    assert (found["root_id"], found["cause_id"], found["key"]) == (3, 3, PLAN.key[3])
    assert (found["intended_ns"], found["started_ns"]) == (50 * MS, 50 * MS)
    assert (found["process"], found["group"]) == (WORKER, WORK)
    assert PLAN.topics[found["topic"][0]] == "notes"


def test_what_was_repeated_counts_once_and_a_failed_try_emits_nothing():
    """Event 3 took effect twice, the first time at 50 ms; event 4 only failed; event 5 has the answers of all that it emitted."""
    done = [row(Kind.send, child, 80 * MS) for child in DERIVED.children(5, "work")]
    rows = [row(Kind.try_, 3, 90 * MS), row(Kind.try_, 3, 50 * MS), row(Kind.try_, 4, 60 * MS, Outcome.failed)]

    found = unsent(PLAN, np.concatenate([*rows, row(Kind.try_, 5, 70 * MS), *done]))

    assert found["event_id"].tolist() == DERIVED.children(3, "work")[1:]
    assert found["intended_ns"].tolist() == [50 * MS, 50 * MS]


def test_what_a_process_that_has_ended_has_not_sent_is_lost_unless_another_one_sends_it():
    """Of the two notes of event 3 the first has its answer; the mail is in the outbox, whose relay goes on. Later another member does it again."""
    _, first, second = DERIVED.children(3, "work")
    emitted = Emitted(PLAN)
    emitted.take(np.concatenate([row(Kind.try_, 3, 50 * MS), row(Kind.send, first, 60 * MS)]), "work-1.rows")

    assert emitted.lost("post", {"work-1.rows"}) == set()
    assert emitted.lost("post", set()) == {second}
    emitted.take(row(Kind.try_, 3, 90 * MS), "work-1.2.rows")
    assert emitted.lost("post", {"work-1.2.rows"}) == set()
    emitted.take(np.concatenate([row(Kind.send, each, 95 * MS) for each in (first, second)]), "work-1.2.rows")
    assert emitted.lost("post", set()) == set()


def test_a_group_waits_no_longer_for_what_was_forgotten():
    _, first, second = DERIVED.children(3, "work")
    emitted = Emitted(PLAN)
    emitted.take(np.concatenate([row(Kind.try_, 3, 50 * MS), row(Kind.send, first, 60 * MS)]), "work-1.rows")

    emitted.forget("post", emitted.lost("post", set()))

    assert (emitted.open("post"), emitted.lost("post", set())) == (1, set())
    emitted.take(row(Kind.try_, 3, 90 * MS), "work-1.2.rows")
    assert emitted.open("post") == 1
    assert second not in emitted.lost("post", set())


def test_nothing_is_lost_of_a_group_whose_members_may_do_it_again():
    loaded = load(SCENARIO, ["groups.work.dedupe={window: 10m, store: member}"])
    emitted = Emitted(make_plan(loaded.scenario))
    emitted.take(row(Kind.try_, 3, 50 * MS), "work-1.rows")

    assert (emitted.open("post"), emitted.lost("post", set())) == (2, set())


@pytest.mark.parametrize(
    ("lags", "commit", "left"),
    [
        ([0], "{every: 500ms}", [2, 0]),
        ([5, 0], "{every: 500ms}", [2, 2, 0]),
        ([None, 0], "{every: 500ms}", [2, 2, 0]),
        ([0], "auto", [2, 2]),
    ],
    ids=["it has read all", "something is left to read", "nobody answers", "it commits what it may not have handled"],
)
def test_a_drain_does_not_wait_for_what_nobody_will_send(lags: list[int | None], commit: str, left: list[int]):
    """Both notes of event 3 were with a member that is gone; `post` waits for them until it has read all that is there, and two looks at least."""
    plan = make_plan(load(SCENARIO, [f"groups.post.commit={commit}"]).scenario)
    emitted = Emitted(plan)
    emitted.take(row(Kind.try_, 3, 50 * MS), "work-1.rows")

    def read(_within_s: float) -> tuple[int, int]:
        if (lag := lags.pop(0)) is None:
            raise AdminError("no broker answers")
        return lag, 4

    run: Any = _Run.__new__(_Run)
    run.healed_ns, run.plan, run.lost, run.lags = 1, plan, {}, {"post": SimpleNamespace(read=read)}
    run.crew = SimpleNamespace(living_logs=lambda: {"post-1.rows"})
    run.recorder = SimpleNamespace(take=lambda: None, lost=emitted.lost, forget=emitted.forget)
    seen = []
    for _ in left:
        run._give_up_lost()
        seen.append(emitted.open("post"))

    assert seen == left


@pytest.mark.live
def test_what_a_killed_member_had_in_hand_is_missed(tmp_path: Path):
    """Its client keeps notes for three seconds before it sends them: all that it had emitted in the 2.3 s until it is killed is missed, and nothing else."""
    run = drive_embedded(LOADED, tmp_path / "run")
    effects = np.unique(rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "work"))["event_id"])
    wanted = {child for effect in effects.tolist() for child in DERIVED.children(effect, "work")}
    sends = rows_of(run, Kind.send, group=group_code(run, "work"))
    notes = sends[sends["topic"] == run.names.topics.index("notes")]
    measured = set(notes["event_id"][notes["intended_ns"] < 5000 * MS].tolist())
    unknown = sends["event_id"][sends["outcome"] == Outcome.unknown]
    logged = set(run.log["event_id"][run.log["topic"] == run.names.topics.index("notes")].tolist())
    found = measure(run)

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert set(sends["event_id"].tolist()) == wanted
    gone = set(unknown.tolist()) - logged
    killed = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "work"))
    killed = killed[killed["ended_ns"] < run.faults[0].ended_ns]  # nobody works before it is back
    assert gone == {child for effect in killed["event_id"].tolist() for child in DERIVED.children(effect, "work")[1:]}
    assert len(gone) > 100
    assert found["refused"].value == len(gone)
    assert found["delivery[post]"].value == pytest.approx(1 - len(gone) / len(measured))
    assert {name: each.examples for name, each in check(run).items() if not each.valid} == {}
