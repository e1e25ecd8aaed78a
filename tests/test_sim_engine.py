"""The simulator's runs: equal whenever they should be, and doing what a scenario's faults and failures say, in literal times."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from by_hand import by_hand, constant, ms
from random_scenarios import random_case
from rundata.dataset import save
from rundata.indicators import measure_one
from rundata.rows import NEVER, Kind, Outcome
from rundata.tables import RunData
from scenarios.plan import Plan, make_plan
from scenarios.profiles import IDEAL, Profile
from scenarios.quantities import MILLISECOND
from sim import building
from sim import world as at
from sim.engine import simulate
from sim.observed import NOTHING_OBSERVED, Observed
from sim.world import World
from tight_arrays import simulate_in_tight_arrays

FEW = range(8)
"""Random scenarios that are run again in another way."""


def run(profile: Profile = IDEAL, observed: Observed = NOTHING_OBSERVED, **changes: Any) -> RunData:
    return simulate(make_plan(by_hand(**changes)), profile, observed=observed)


def run_case(number: int, chance: int = 0) -> RunData:
    case = random_case(number)
    return simulate(case.plan, case.profile, chance=chance)


def digest(numbers: range, simulated: Callable[[Plan, Profile], RunData] = simulate) -> str:
    """Return one hash of the operations and logs of several random scenarios."""
    found = hashlib.sha256()
    for number in numbers:
        case = random_case(number)
        data = simulated(case.plan, case.profile)
        found.update(data.operations.tobytes() + data.log.tobytes())
    return found.hexdigest()


# ---- equal runs ----------------------------------------------------------------------------------------------------


def test_one_seed_gives_one_run_byte_for_byte():
    """Operations, log and incidents."""
    first, second = run_case(4), run_case(4)

    assert first.operations.tobytes() == second.operations.tobytes()
    assert first.log.tobytes() == second.log.tobytes()
    assert first.incidents == second.incidents


def test_another_number_of_chance_gives_another_run():
    """Not where every time is a constant, but in many of twenty cases."""
    others = [run_case(n).operations.tobytes() != run_case(n, chance=1).operations.tobytes() for n in range(20)]

    assert sum(others) > 5


def test_datasets_of_equal_runs_have_identical_files(tmp_path: Path):
    """Each Parquet file, by its bytes."""
    for name in ("one", "two"):
        save(run_case(4), tmp_path / name)

    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")}
        for name in ("one", "two")
    )
    assert len(one) >= 5
    assert one == two


def test_the_kernel_does_the_same_compiled_and_as_it_is_written():
    """A process without Numba's compiler finds the same rows."""
    folder = Path(__file__).parent
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": os.pathsep.join([str(folder), str(folder.parent)]),
    }
    command = "import numba, test_sim_engine as t; print(numba.config.DISABLE_JIT, t.digest(t.FEW))"

    told = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True, timeout=200
    )

    assert told.stdout.split() == ["1", digest(FEW)]


def test_results_do_not_depend_on_the_first_sizes_of_arrays(monkeypatch: pytest.MonkeyPatch):
    """Every array that can grow begins with next to nothing and has to grow."""
    wanted: set[int] = set()
    grown_of = building.Builder.grown

    def noted(builder: building.Builder, world: World) -> World:
        wanted.add(int(world.scalars[at.WANT]))
        return grown_of(builder, world)

    monkeypatch.setattr(building, "_FIRST_DRAWS", 2)
    monkeypatch.setattr(building.Builder, "grown", noted)

    assert digest(FEW, simulate_in_tight_arrays) == digest(FEW)
    assert wanted >= {*range(at.WANT_HEAP, at.WANT_EVENTS + 1), at.WANT_RETRIES}


# ---- what happens --------------------------------------------------------------------------------------------------


def test_a_crashed_leaders_gap_is_election_and_discovery():
    """The leader dies at 220 ms; observed: new leaders at 3 s, producer at 3.1 s, member at 3.2 s; an event of 250 ms waits."""
    crash = {"fault": "broker_crash", "broker": "leader of a/0", "at": "220ms", "for": "10s"}
    seen = Observed(
        fence_ns={0: 2900 * MILLISECOND},
        elected_ns={0: 3000 * MILLISECOND},
        discovered_ns={(0, "p/1", "a/0"): 3100 * MILLISECOND, (0, "g/1", "a/0"): 3200 * MILLISECOND},
    )
    data = run(observed=seen, faults=[crash], drain="20s")

    assert ms(data, Kind.send) == [55, 155, *[3100.0] * 8]
    assert ms(data, Kind.delivery) == [55, 155, *[3200.0] * 8]
    assert ms(data, Kind.try_)[2:] == [3210.0 + 10 * n for n in range(8)]
    told = [(i.kind, i.time_ns / MILLISECOND) for i in data.incidents if i.kind in ("fence", "election")]
    assert told == [("fence", 2900), ("election", 3000)]
    assert (measure_one(data, "gap[a]").value, measure_one(data, "write_gap[a]").value) == (2.95, 2.85)


def test_a_poison_event_is_a_dead_letter_after_its_attempts_and_backoffs():
    """Four tries of 10 ms, 10, 30 and 90 ms apart; the dead letter's request takes 4 ms and holds the member."""
    group = {
        "topics": ["a"], "work": "10ms",
        "failures": {"then": "dead_letter", "dead_letter": "dead", "retry": {"attempts": 4, "backoff": "10ms", "factor": 3}},
    }  # fmt: skip
    fault = {"fault": "poison", "producer": "p", "events": 1, "at": "0ms", "for": "100ms"}
    profile = Profile(profile="p", produce=constant(4), phases="aligned")
    data = run(profile, topics__dead={"partitions": 1}, groups__g=group, faults=[fault])

    assert ms(data, Kind.try_, outcome=Outcome.failed) == [69.0, 89.0, 129.0, 229.0]
    assert ms(data, Kind.try_, "retry_due_ns", event_id=0)[:3] == [79.0, 119.0, 219.0]
    assert (ms(data, Kind.dead_letter, "started_ns"), ms(data, Kind.dead_letter)) == ([229.0], [233.0])
    assert ms(data, Kind.try_, outcome=Outcome.ok)[:3] == [243.0, 269.0, 369.0]


def test_slow_work_multiplies_and_adds():
    """From 200 to 400 ms work of 10 ms takes 4 times that and 3 ms."""
    slow = {"fault": "slow_work", "group": "g", "factor": 4, "plus": "3ms", "at": "200ms", "for": "200ms"}
    data = run(faults=[slow])

    assert ms(data, Kind.try_) == [65, 165, 298, 398, 465, 565, 665, 765, 865, 965]


@pytest.mark.parametrize(("commit", "again"), [("after_batch", 10), ("after_event", 7)])
def test_a_crashed_members_uncommitted_events_are_delivered_again(commit: str, again: int):
    """Ten events are delivered at 5.05 ms; the member dies at 40 ms with three done and starts over 45 s later."""
    first_ms = {"for": "1ms", "rate": "10000/s", "spacing": "even"}
    producer = {"topic": "a", "share": "arrivals", "arrivals": [first_ms, {"for": "999ms", "rate": "0/s"}]}
    crash = {"fault": "member_crash", "member": "g/1", "at": "40ms", "for": "50ms"}
    data = run(producers__p=producer, groups__g__commit=commit, faults=[crash], drain="60s")

    assert ms(data, Kind.delivery) == [5.05] * 10 + [45_040.0] * again
    assert ms(data, Kind.try_) == [15.05, 25.05, 35.05, *[45_050.0 + 10 * n for n in range(again)]]
    deliveries = data.operations[data.operations["kind"] == Kind.delivery]
    assert deliveries["event_id"][10:].tolist() == list(range(10 - again, 10))
    assert deliveries["delivery_number"].tolist() == [1] * 10 + [2] * again


def test_a_try_is_numbered_like_its_own_delivery():
    """A group that reads a topic and its dead letters may be given the second copy while it works on the first one."""
    own = ["process", "event_id", "topic", "partition", "offset", "poll_id"]
    overtaken = 0
    for case in range(30):
        data = run_case(case).operations
        deliveries = data[data["kind"] == Kind.delivery]
        number = {tuple(row[own].tolist()): int(row["delivery_number"]) for row in deliveries}
        tries = data[data["kind"] == Kind.try_]

        assert tries["delivery_number"].tolist() == [number[tuple(row[own].tolist())] for row in tries]
        second = deliveries[deliveries["delivery_number"] == 2]
        given_ns = {tuple(row[["group", "event_id"]].tolist()): int(row["started_ns"]) for row in second}
        for row in tries[tries["delivery_number"] == 1]:
            overtaken += row["started_ns"] > given_ns.get(tuple(row[["group", "event_id"]].tolist()), NEVER)
    assert overtaken > 0


def test_a_stopped_broker_loses_and_doubles_nothing():
    """Each of 200 events is in the log once, half of them by the new leader, and ends once."""
    stop = {"fault": "broker_stop", "broker": "leader of a/0", "at": "500ms", "for": "2s"}
    producer = {"topic": "a", "share": "arrivals", "arrivals": {"rate": "200/s", "spacing": "even"},
                "settings": {"enable.idempotence": True}}  # fmt: skip
    profile = Profile(profile="p", produce=constant(8), fetch=constant(1), wake=constant(1))
    data = run(profile, producers__p=producer, groups__g__work="1ms", faults=[stop], drain="20s")

    assert np.sort(data.log["event_id"]).tolist() == list(range(200))
    assert set(data.log["leader_epoch"].tolist()) == {0, 1}
    assert len(ms(data, Kind.send, outcome=Outcome.ok)) == 200
    assert len(ms(data, Kind.try_, outcome=Outcome.ok)) == 200
    assert measure_one(data, "lost").value == 0


# ---- chains --------------------------------------------------------------------------------------------------------


def chain(**changes: Any) -> RunData:
    """Return ten events, each of which makes `g` emit one to `b`, which `h` reads."""
    return run(
        topics__b={"partitions": 1, "replication": 3},
        groups={"g": {"topics": ["a"], "work": "10ms", "emits": {"topic": "b", "event": "Done"}}, "h": {"topics": ["b"], "work": "1ms"}},
        **changes,
    )  # fmt: skip


def test_an_effect_emits_an_event_that_tells_where_it_comes_from():
    """Event 0 takes effect at 65 ms; event 10, emitted then, lingers 5 ms and takes effect at 71 ms."""
    data = chain()
    rows = data.operations[data.operations["event_id"] == 10]

    assert [(r["kind"], r["started_ns"] / 1e6, r["ended_ns"] / 1e6) for r in rows] == [
        (Kind.send, 65.0, 70.0), (Kind.delivery, 70.0, 70.0), (Kind.try_, 70.0, 71.0),
    ]  # fmt: skip
    assert {(r["root_id"], r["cause_id"], r["intended_ns"]) for r in rows} == {(0, 0, 65 * MILLISECOND)}
    assert {data.names.event_types[r["event_type"]] for r in rows} == {"Done"}
    assert data.names.processes[rows[0]["process"]] == "g/1"
    assert data.log["event_id"].tolist() == [*range(10), *range(10, 20)]


def test_nothing_is_committed_before_what_it_emitted_is_there():
    """The effect is at 65 ms, its event answered at 70: so is the commit; `before_work` committed at 55 already."""
    assert ms(chain(), Kind.commit, group=0)[0] == 70.0
    assert ms(chain(groups__g__commit="before_work"), Kind.commit, group=0)[0] == 55.0


def test_what_a_member_had_not_sent_dies_with_it_and_is_emitted_again():
    """It dies at 67 ms, before the linger of event 10 is over; a session later event 0 is handled and event 10 sent again."""
    crash = {"fault": "member_crash", "member": "g/1", "at": "67ms", "for": "1s"}
    data = chain(faults=[crash], drain="100s")
    sends = data.operations[(data.operations["kind"] == Kind.send) & (data.operations["event_id"] == 10)]

    assert [(r["started_ns"] / 1e6, int(r["outcome"])) for r in sends] == [
        (65.0, Outcome.unknown),
        (45_077.0, Outcome.ok),
    ]
    assert len(data.log) == 20


def test_a_circle_of_events_goes_round_as_often_as_it_may():
    """Each event of `a` emits one to `a`, up to two emissions behind one another: 10 planned, 20 emitted."""
    data = run(groups={"g": {"topics": ["a"], "work": "1ms", "emits": {"topic": "a", "hops": 2}}})

    assert sorted(data.log["event_id"].tolist()) == list(range(30))


def test_emitted_events_are_counted_like_planned_ones():
    """Effect of the first group 15 ms after the plan, of the second 6 ms after that; what is missing in the log is lost."""
    data = chain()

    assert measure_one(data, "latency[h].p50").value == 0.006
    assert measure_one(data, "chain_latency[h].p50").value == 0.021
    assert measure_one(data, "produced[b]").value == 10.0
    assert [measure_one(data, name).value for name in ("lost", "unexpected", "pending", "inversions")] == [0, 0, 0, 0]
    cut = replace(data, log=data.log[data.log["event_id"] != 13])
    assert [measure_one(cut, name).value for name in ("lost", "lost[a]", "lost[b]")] == [1, 0, 1]
    forged = data.log.copy()
    forged["event_id"][-1] = 10_000
    assert measure_one(replace(data, log=forged), "unexpected").value == 1


# ---- retry topics and memories ---------------------------------------------------------------------------------------


def by_topic(**changes: Any) -> dict[str, Any]:
    """Return changes: the fifth event is poison and tried three times, by topic, 300 and 600 ms after the tries before."""
    retry = {"attempts": 3, "backoff": "300ms", "factor": 2, "where": "topic"}
    failures = {"then": "dead_letter", "dead_letter": "dead", "retry": retry}
    return {
        "topics__dead": {"partitions": 1},
        "groups__g": {"topics": ["a"], "work": "10ms", "failures": failures},
        "faults": [{"fault": "poison", "producer": "p", "share": "100%", "at": "400ms", "for": "100ms"}],
        "drain": "5s",
        **changes,
    }


def test_a_retry_topic_lets_the_others_pass_and_holds_its_copy_until_it_is_due():
    """Event 4 fails at 465 ms, and again 300 ms and 600 ms later plus the 10 ms of each try; nobody else waits."""
    data = run(**by_topic())
    tries = data.operations[(data.operations["kind"] == Kind.try_) & (data.operations["event_id"] == 4)]
    others = data.operations[(data.operations["kind"] == Kind.try_) & (data.operations["event_id"] != 4)]

    assert [(t["attempt"], t["ended_ns"] / 1e6, data.names.topics[t["topic"]]) for t in tries] == [
        (1, 465.0, "a"), (2, 775.0, "a.retry.1"), (3, 1385.0, "a.retry.2"),
    ]  # fmt: skip
    assert [t["retry_due_ns"] / 1e6 for t in tries[:2]] == [765.0, 1375.0]
    assert ms(data, Kind.dead_letter) == [1385.0]
    assert (others["ended_ns"] / 1e6).tolist() == [65.0 + 100 * n for n in range(10) if n != 4]
    assert {data.names.topics[r["topic"]] for r in data.log if r["event_id"] == 4} == {
        "a",
        "a.retry.1",
        "a.retry.2",
        "dead",
    }
    assert [measure_one(data, name).value for name in ("lost", "passed", "pending", "dead_lettered", "unexpected")] == [
        0,
        0,
        0,
        1,
        0,
    ]


def test_what_still_waits_in_a_retry_topic_is_pending_and_not_passed():
    """With 1 s of drain the third try, due at 1375 ms, takes place; with 100 ms it does not."""
    data = run(**by_topic(drain="100ms"))

    assert [measure_one(data, name).value for name in ("passed", "pending", "dead_lettered")] == [0, 1, 0]


@pytest.mark.parametrize(("store", "effects_again"), [("none", 3), ("shared", 0), ("member", 3)])
def test_a_memory_of_event_ids_keeps_effects_from_coming_twice(store: str, effects_again: int):
    """Ten events in one batch; the member dies after three, whose effects only a shared memory still knows a session later."""
    first_ms = {"for": "1ms", "rate": "10000/s", "spacing": "even"}
    producer = {"topic": "a", "share": "arrivals", "arrivals": [first_ms, {"for": "999ms", "rate": "0/s"}]}
    crash = {"fault": "member_crash", "member": "g/1", "at": "40ms", "for": "50ms"}
    dedupe = "none" if store == "none" else {"window": "10m", "store": store}
    group = {"topics": ["a"], "work": "10ms", "dedupe": dedupe}
    data = run(producers__p=producer, groups__g=group, faults=[crash], drain="60s")

    assert measure_one(data, "duplicate_effects").value == effects_again
    assert measure_one(data, "duplicate_deliveries").value == 10
    assert measure_one(data, "pending").value == 0


def test_a_memory_forgets_after_its_window():
    """The same with a window of 10 s, and 45 s between effect and redelivery."""
    first_ms = {"for": "1ms", "rate": "10000/s", "spacing": "even"}
    producer = {"topic": "a", "share": "arrivals", "arrivals": [first_ms, {"for": "999ms", "rate": "0/s"}]}
    crash = {"fault": "member_crash", "member": "g/1", "at": "40ms", "for": "50ms"}
    group = {"topics": ["a"], "work": "10ms", "dedupe": {"window": "10s"}}

    assert (
        measure_one(run(producers__p=producer, groups__g=group, faults=[crash], drain="60s"), "duplicate_effects").value
        == 3
    )
