"""Runs in parts, and arrays in files: the same as in one piece, whatever the size of the pieces and wherever the arrays lie."""

import random
import shutil
import weakref
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quiet_scenarios import quiet_case
from random_scenarios import _profile, _scenario
from rundata.backlog import has_settled
from rundata.books import Books
from rundata.folding import Folded, fold
from rundata.partials import Placed, gather, total
from rundata.tables import RunData
from rundata.windows import table_of, windows_of
from scenario_text import small
from scenarios.errors import ScenarioError
from scenarios.files import load_scenario, load_text
from scenarios.plan import Plan, make_plan
from scenarios.profiles import Profile, load_profile
from scenarios.quantities import SECOND
from scenarios.schema import Scenario
from scenarios.yaml_text import write_yaml
from sim import world as at
from sim.engine import play, simulate
from sim.far import NEAR, Far, far_plan, place_for
from sim.parts import InParts, comes_in_parts
from sim.refuse import cannot
from sim.stretches.flow import InBlocks, as_run, flow, flows
from sim.stretches.flowing import Events, Flowing, Piece

WINDOW_NS = 5 * SECOND


def crashing() -> Scenario:
    """A broker dies, then a member; handlers fail, events are poison, keys come out of order, and work is slow for a while."""
    return small(
        ("warm_up: 5s", "warm_up: 2050ms"),
        ("duration: 60s", "duration: 30s"),
        ("{for: 40s, rate: 200/s}", "{for: 20s, rate: 100/s}"),
        ("{for: 20s, rate: [200/s, 300/s], spacing: even}", "{for: 10s, rate: 100/s}"),
        ("at: 20s, for: 15s", "at: 4s, for: 6s"),
        ("at: 45s, for: 5s", "at: 20s, for: 2s"),
    )


def in_parts(plan: Plan, profile: Profile, at_once: int) -> Folded:
    run = InParts(play(plan, profile, room=Far()), at_once)
    return fold(run.frame, run.parts(), WINDOW_NS)


def as_a_whole(run: RunData) -> Folded:
    scenario = run.plan.scenario
    return Folded(gather(run), windows_of(run, scenario.warm_up, scenario.duration, WINDOW_NS), has_settled(run))


def told(found: Folded) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    return total([Placed(found.partial, 1, 1)], faults=True), table_of([(7, found.windows)]).to_pylist(), found.settled


@pytest.mark.parametrize("at_once", [1_000_000, 611, 97])
def test_parts_of_any_size_say_what_the_whole_run_says(at_once: int) -> None:
    plan, profile = make_plan(crashing(), 1), load_profile("local-kafka")

    found = in_parts(plan, profile, at_once)

    whole = told(as_a_whole(simulate(plan, profile)))
    assert told(found) == whole
    assert whole[0]["dead_lettered"].value
    assert whole[0]["gap"].value > 5


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("reordering", "inversions"),
        ("member-crash", "duplicate_effects"),
        ("stale-leader", "lost"),
        ("retry-topics", "errors"),
        ("duplicate-sends", "duplicate_deliveries"),
        ("producer-pause", "send_lateness.max"),
    ],
)
def test_shipped_scenarios_say_the_same_in_parts(name: str, shows: str) -> None:
    """Effects out of order across parts, repeated and lost ones, retries by topic, second sends, and a producer that hangs."""
    plan, profile = make_plan(load_scenario(name).scenario, 1), load_profile("local-kafka")

    found = told(in_parts(plan, profile, 1_500))

    assert found == told(as_a_whole(simulate(plan, profile)))
    assert found[0][shows].value


def in_parts_case(number: int) -> tuple[Plan, Profile] | None:
    """Return a random scenario without what keeps it from coming in parts; None where nothing is left that can be simulated."""
    choose = random.Random(number)
    raw = _scenario(choose, number)
    raw.pop("actions", None)
    for topic in raw["topics"].values():
        for name in ("retention.ms", "retention.bytes", "cleanup.policy"):
            topic.get("settings", {}).pop(name, None)
    for group in raw["groups"].values():
        group.pop("emits", None)
        group.pop("share_group", None)
        if group.get("commit") == "transaction":
            group["commit"] = "after_batch"
    try:
        scenario = load_text(write_yaml(raw), f"in parts {number}").scenario
    except ScenarioError:
        return None
    plan = make_plan(scenario)
    return None if cannot(scenario) or not comes_in_parts(scenario) or not len(plan) else (plan, _profile(choose))


def test_random_scenarios_say_the_same_in_parts() -> None:
    """Faults of all kinds, ties and zero delays."""
    cases = [case for case in map(in_parts_case, range(20)) if case is not None]
    for plan, profile in cases:
        found = in_parts(plan, profile, max(1, len(plan) // 5))
        assert told(found) == told(as_a_whole(simulate(plan, profile))), plan.scenario
    assert len(cases) >= 5


def test_no_two_parts_hold_the_same_event_and_none_is_left_out() -> None:
    plan, profile = make_plan(crashing(), 1), load_profile("local-kafka")
    whole = simulate(plan, profile)
    run = InParts(play(plan, profile), 200)

    parts = list(run.parts())

    assert sum(part.books.events for part in parts) == len(plan)
    kinds = ("sends", "deliveries", "tries", "skips", "dead_letters")
    assert sum(len(getattr(part.books.block, kind)) for part in parts for kind in kinds) == np.count_nonzero(
        whole.operations["event_id"] >= 0
    )
    assert sum(len(part.books.run.log) for part in parts) == len(whole.log)
    assert [part.until_ns for part in parts[:-1]] == plan.intended_ns[200::200].tolist()
    commits, expected = run.frame.commits, Books.of(whole).commits
    assert {key: [column.tolist() for column in of] for key, of in commits.items()} == {
        key: [column.tolist() for column in of] for key, of in expected.items()
    }


def test_what_is_answered_is_passed_over_as_answers_come() -> None:
    """Otherwise two minutes of events are looked through when the first could expire, and their pages come back all at once."""
    plan, profile = make_plan(crashing(), 1), load_profile("local-kafka")
    played = play(plan, profile)

    proc = played.system.world.proc[: played.builder.processes]

    assert plan.scenario.duration < int(proc[:, at.DELIVERY_NS].min())
    assert proc[:, at.EXPIRES].tolist() == proc[:, at.NEXT_EVENT].tolist()


def test_arrays_in_files_change_nothing() -> None:
    """Pages are given back each time that an array becomes longer; rows, log and incidents are the same to the last byte."""
    plan, profile = make_plan(crashing(), 1), load_profile("local-kafka")
    near = simulate(plan, profile)
    played = play(plan, profile, room=_Tiny())

    far = played.data(keep_operations=True, keep_instants=True)

    for name in ("operations", "log", "instants"):
        assert getattr(far, name).tobytes() == getattr(near, name).tobytes(), name
    assert (far.incidents, far.faults, far.extents) == (near.incidents, near.faults, near.extents)


class _Tiny(Far):
    """Begins with little room, so that everything grows."""

    def room_for(self, expected: int, row_bytes: int) -> int:
        return min(expected, 300)


def test_a_plan_in_files_is_the_plan() -> None:
    scenario = crashing()
    near, far = make_plan(scenario, 3, 2), far_plan(Far(), scenario, 3, 2)

    for each in fields(Plan):
        one, other = getattr(near, each.name), getattr(far, each.name)
        if isinstance(one, np.ndarray):
            assert (other.dtype, other.tolist()) == (one.dtype, one.tolist()), each.name
        elif isinstance(one, dict):
            assert {key: column.tolist() for key, column in other.items()} == {
                key: column.tolist() for key, column in one.items()
            }, each.name
        else:
            assert other == one, each.name


def test_a_far_array_keeps_what_was_written_when_its_pages_are_given_back() -> None:
    room = Far()
    array = room.zeros((100_000, 3))
    array[:, 1] = np.arange(100_000)

    room.give_back()
    longer = room.grown(array)
    longer[100_000:, 2] = 7
    room.give_back()

    assert longer.shape == (200_000, 3)
    assert longer[:100_000, 1].tolist() == list(range(100_000))
    assert (longer[100_000:, 2] == 7).all()
    assert not longer[:, 0].any()
    assert (longer.flags.c_contiguous, longer.flags.aligned, longer.flags.writeable) == (True, True, True)


def test_a_far_array_grows_along_other_axes_too() -> None:
    room = Far()
    array = room.zeros((3, 40_000))
    array[1] = 5

    wider = room.grown(array, 1)

    assert wider.shape == (3, 80_000)
    assert (wider.sum(axis=1)).tolist() == [0, 200_000, 0]


@pytest.mark.parametrize("at_once", [1_000_000, 173, 19])
def test_quiet_stretches_say_the_same_in_parts(at_once: int) -> None:
    seen = 0
    for number in range(12):
        case = quiet_case(number)
        found = flow(*case) if case is not None and flows(case[0].scenario) else None
        if case is None or found is None:
            continue
        seen += 1
        whole = as_a_whole(as_run(*case, found))
        plan, profile = case
        run = InBlocks(plan.scenario, profile, seed=plan.seed, at_once=at_once)
        assert told(fold(run.frame, run.parts(), WINDOW_NS, run.at_the_end)) == told(whole), number
    assert seen >= 3


@pytest.mark.parametrize("keeps", [False, True])
def test_nothing_of_a_part_is_kept_while_the_next_one_is_made(monkeypatch: pytest.MonkeyPatch, *, keeps: bool) -> None:
    """Who keeps the part before, as planted here, takes the memory of two."""
    plan, profile = next(
        case for case in map(quiet_case, range(12)) if case and flows(case[0].scenario) and flow(*case)
    )
    alive, most, before = weakref.WeakSet[Events](), [0], list[Events]()
    make = Flowing._piece

    def watched(flowing: Flowing, block: Any) -> Piece:
        most.append(len(alive))
        piece = make(flowing, block)
        alive.add(piece.events)
        if keeps:
            before[:] = [piece.events]
        return piece

    monkeypatch.setattr(Flowing, "_piece", watched)
    run = InBlocks(plan.scenario, profile, seed=plan.seed, at_once=19)
    fold(run.frame, run.parts(), WINDOW_NS, run.at_the_end)

    assert len(most) > 3
    assert max(most) == int(keeps)


@pytest.mark.parametrize(
    "change",
    [
        {"commit": "transaction"},
        {"emits": [{"topic": "visits"}]},
    ],
)
def test_what_is_more_than_its_events_does_not_come_in_parts(change: dict[str, Any]) -> None:
    raw: dict[str, Any] = {
        "scenario": "some",
        "duration": "10s",
        "brokers": {"kind": "kafka", "nodes": 3},
        "topics": {"orders": {"partitions": 2}, "visits": {"partitions": 2}},
        "producers": {"shop": {"topic": "orders", "arrivals": "5/s"}},
        "groups": {"work": {"topics": ["orders"], "work": "1ms"}},
    }
    assert comes_in_parts(load_text(write_yaml(raw)).scenario)
    raw["groups"]["work"] |= change
    assert not comes_in_parts(load_text(write_yaml(raw)).scenario)


def test_empty_windows_of_parts_add_up() -> None:
    scenario = small(("{for: 40s, rate: 200/s}", "{for: 40s, rate: 0/s}"), ("rate: [200/s, 300/s]", "rate: [1/s, 1/s]"))
    plan, profile = make_plan(scenario, 1), load_profile("ideal")

    found = in_parts(plan, profile, 1)

    assert told(found) == told(as_a_whole(simulate(plan, profile)))


def test_only_large_simulations_lie_in_files_and_only_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 2 KB an event: 12,500 events are nothing, 100,000 want 400 MB of disk."""
    large = small(("rate: 200/s", "rate: 2000/s"), ("rate: [200/s, 300/s]", "rate: [1000/s, 1000/s]"))

    assert isinstance(place_for(large), Far)
    assert place_for(small()) is NEAR
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=390_000_000))
    assert place_for(large) is NEAR
