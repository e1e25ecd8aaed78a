"""Quiet stretches by loops over arrays: event by event what the kernel says, and the kernel where arrays do not suffice."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quiet_scenarios import quiet_case
from rundata.indicators import measure
from rundata.partials import Placed, gather, total
from rundata.rows import NEVER, Kind, Outcome
from rundata.tables import RunData
from scenarios.files import load_text
from scenarios.plan import Plan, make_plan
from scenarios.profiles import IDEAL, KNOTS, Measured, Profile, load_profile
from scenarios.schema import Scenario
from scenarios.streams import uniforms
from scenarios.yaml_text import write_yaml
from sim.assignors import Seat, uniform_assignment
from sim.engine import simulate
from sim.stretches import inputs, readers, ring, senders
from sim.stretches.flow import BLOCK_EVENTS, Flow, InBlocks, as_run, flow, flows
from sim.stretches.inputs import Inputs, Times
from sim.stretches.owners import joined_one_by_one
from sim.stretches.readers import Readers

CASES = 120
SLOW = Profile(profile="slow", produce=Measured(quantiles_us=(20_000.0,) * len(KNOTS)))


def differences(plan: Plan, profile: Profile, found: Flow) -> list[str]:
    """Return in what the arrays differ from the rows of the kernel's run."""
    run = simulate(plan, profile)
    rows, wrong = run.operations, []
    sends = rows[rows["kind"] == Kind.send]
    acked, offset = np.full(len(plan), NEVER), np.full(len(plan), -1)
    ok = sends["outcome"] == Outcome.ok
    acked[sends["event_id"][ok]], offset[sends["event_id"]] = sends["ended_ns"][ok], sends["offset"]
    wrong += [] if np.array_equal(acked, found.acked_ns) else ["acknowledgements"]
    wrong += [] if np.array_equal(offset, found.offset) else ["offsets"]
    wrong += [] if run.end_ns == found.end_ns else [f"end {run.end_ns} != {found.end_ns}"]
    for group, name in enumerate(run.names.groups):
        mine = rows[rows["group"] == group]
        for what, kind, column, expected in (
            ("deliveries", Kind.delivery, "started_ns", found.delivered_ns[group]),
            ("effects", Kind.try_, "ended_ns", found.effect_ns[group]),
        ):
            times = np.full(len(plan), NEVER)
            some = mine[mine["kind"] == kind]
            times[some["event_id"]] = some[column]
            wrong += [] if np.array_equal(times, expected) else [f"{what} of {name}"]
        wrong += [] if committed(run, group) == sorted(of_flow(found, group)) else [f"commits of {name}"]
    return wrong


def committed(run: RunData, group: int) -> list[tuple[int, ...]]:
    rows = run.operations[(run.operations["group"] == group) & (run.operations["kind"] == Kind.commit)]
    counts = [topic.partitions for topic in run.plan.scenario.topics.values()]
    partition = np.concatenate([[0], np.cumsum(counts)])[rows["topic"]] + rows["partition"]
    return sorted(
        zip(
            rows["ended_ns"].tolist(),
            partition.tolist(),
            rows["offset"].tolist(),
            rows["started_ns"].tolist(),
            strict=True,
        )
    )


def of_flow(found: Flow, group: int) -> list[tuple[int, ...]]:
    made = found.commits[group]
    columns = (made.ended_ns, made.partition, made.offset, made.begun_ns)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_arrays_say_event_by_event_what_the_kernel_says() -> None:
    """Random scenarios with ties and zero delays, all commit modes, several processes, batches and windows in flight."""
    compared = 0
    for number in range(CASES):
        case = quiet_case(number)
        if case is None or not flows(case[0].scenario):
            continue
        found = flow(*case)
        if found is None:
            continue
        compared += 1
        assert differences(*case, found) == [], f"quiet case {number}:\n{case[0].scenario}"
        runs = [simulate(*case), as_run(*case, found)]
        figures = [total([Placed(gather(run), 1, 0)], faults=False) for run in runs]
        assert figures[0] == figures[1], f"quiet case {number}"
        assert measure(runs[0]) == measure(runs[1]), f"quiet case {number}"
    assert compared > CASES // 4


QUIET_CASES = 60


@pytest.fixture(scope="module")
def flowing() -> list[tuple[Plan, Profile, Flow | None]]:
    """Return random quiet scenarios, and what becomes of each in one piece."""
    cases = [case for case in map(quiet_case, range(QUIET_CASES)) if case is not None and flows(case[0].scenario)]
    return [(*case, flow(*case)) for case in cases]


@pytest.mark.parametrize("first_count", [1, 2, 5])
def test_random_inputs_that_run_out_are_drawn_further_and_nothing_changes(
    first_count: int, flowing: list[tuple[Plan, Profile, Flow | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Producers and members stop where they lack one, at any place of theirs, and go on with more of them."""
    supplied: list[bool] = []
    supply = Inputs.supply
    monkeypatch.setattr(Inputs, "supply", lambda self, *used: supplied.append(grown := supply(self, *used)) or grown)
    monkeypatch.setattr(inputs, "FIRST_COUNT", first_count)

    for plan, profile, expected in flowing[:25]:
        found = flow(plan, profile)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert parts_of(found) == parts_of(expected), plan.scenario
    assert supplied.count(True) > 20 and supplied.count(False) > 1_000


def test_what_flows_in_blocks_of_any_size_is_what_flows_in_one_piece(
    flowing: list[tuple[Plan, Profile, Flow | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the blocks are, and however little room and random inputs there are at first."""
    monkeypatch.setattr(ring, "_LEAST", 4)
    monkeypatch.setattr(senders, "_LEAST_REQUESTS", 1)
    monkeypatch.setattr(senders, "_LEAST_QUEUES", 1)
    monkeypatch.setattr(readers, "_COMMIT_ROWS", 0)
    monkeypatch.setattr(inputs, "FIRST_COUNT", 8)
    compared = 0
    for number, (plan, profile, expected) in enumerate(flowing):
        for at_once in (1 + number % 3, 9, 31, 1 + len(plan) // 2):
            found = flow(plan, profile, at_once=at_once)
            assert (found is None) == (expected is None)
            if found is not None and expected is not None:
                compared += 1
                assert parts_of(found) == parts_of(expected), f"blocks of {at_once}:\n{plan.scenario}"
    assert compared > QUIET_CASES


def test_members_that_look_further_than_is_known_are_noticed(
    flowing: list[tuple[Plan, Profile, Flow | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members that go on to an instant later than producers miss what is appended until then."""
    go_on = Readers.go_on
    monkeypatch.setattr(
        Readers, "go_on", lambda self, more, until_ns: go_on(self, more, min(NEVER, until_ns + 20_000_000))
    )

    differ = [
        plan.scenario.scenario
        for plan, profile, expected in flowing
        if expected is not None and not _same(flow(plan, profile, at_once=3), expected)
    ]

    assert len(differ) > 3


def _same(found: Flow | None, expected: Flow) -> bool:
    return found is not None and parts_of(found) == parts_of(expected)


def test_a_run_four_times_as_long_takes_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand events or eight thousand, in blocks of a hundred: what lies in memory is as much."""
    monkeypatch.setattr(ring, "_LEAST", 4)
    monkeypatch.setattr(senders, "_LEAST_REQUESTS", 4)

    short, long = (
        _rooms(small(duration=duration, producers__p__arrivals={"rate": "100/s", "spacing": "even"}))
        for duration in ("20s", "80s")
    )

    assert short == long
    assert short["events"] == 128


def test_blocks_are_small_where_there_are_few_partitions() -> None:
    """Some twenty thousand events come in blocks of sixteen thousand, and all at once where there are a thousand partitions, which each block looks at."""
    sizes = {}
    for partitions in (12, 1024):
        what = small(
            topics__a__partitions=partitions, duration="10s", producers__p__arrivals="2000/s", groups__g__members=30
        )
        sizes[partitions] = [len(part.books.plan) for part in InBlocks(what, IDEAL, seed=1).parts()]

    assert sum(sizes[12]) == sum(sizes[1024]) > 19_000
    assert max(sizes[12]) <= BLOCK_EVENTS
    assert max(sizes[1024]) > 19_000


def _rooms(scenario: Scenario) -> dict[str, int]:
    """Return how much was in memory at most: columns, what waits and is drawn; whether commits and blocks were forgotten."""
    run, most = InBlocks(scenario, IDEAL, seed=1, at_once=100), dict[str, int]()
    for _ in run.parts():
        flowing = run._flowing
        sent, (read,) = flowing._senders._state, flowing._readers
        now = {
            "events": flowing._ring.room,
            "requests": len(sent.request),
            "heap": len(sent.heap) + len(sent.timer),
            "blocks": int(len(flowing._waiting) > 3),
            "commits": int(sum(len(one.ended_ns) for one in read._open) > 20),
            "drawn": read._fetches._count,
        }
        most = {name: max(count, most.get(name, 0)) for name, count in now.items()}
    return most


def test_members_that_join_one_by_one_get_what_the_uniform_assignor_gives() -> None:
    for partitions, members in ((0, 3), (1, 1), (3, 5), (12, 6), (20, 7), (57, 13), (100, 99)):
        order = [(number * 7) % members if members % 7 else number for number in range(members)]
        seats = [Seat(None) for _ in range(members)]  # type: ignore[arg-type]  # this assignor does not ask who it is
        joined: list[Seat] = []
        target: dict[Seat, list[int]] = {}
        for number in order:
            joined.append(seats[number])
            target = uniform_assignment(joined, target, list(range(partitions)))

        found = joined_one_by_one(order, list(range(partitions)))

        assert found == [sorted(target[seat]) for seat in seats]


def parts_of(found: Flow) -> list[object]:
    arrays = ("handed_ns", "acked_ns", "partition", "offset", "visible_ns", "delivered_ns", "effect_ns")
    commits = [sorted(of_flow(found, group)) for group in range(len(found.commits))]
    return [found.end_ns, *commits, *(getattr(found, name).tolist() for name in arrays)]


def test_a_difference_of_a_nanosecond_is_seen() -> None:
    """One event's effect, or one commit's offset, that is not what the kernel says is a difference."""
    case = next(
        case for case in map(quiet_case, range(100)) if case is not None and flows(case[0].scenario) and flow(*case)
    )
    found = flow(*case)
    assert found is not None
    group = int(np.argmax((found.effect_ns != NEVER).any(axis=1)))
    late = found.effect_ns.copy()
    event = int(np.argmax(late[group] != NEVER))
    late[group, event] += 1

    name = list(case[0].scenario.groups)[group]
    assert differences(*case, replace(found, effect_ns=late)) == [f"effects of {name}"]
    assert differences(
        *case, replace(found, commits=tuple(replace(one, offset=one.offset + 1) for one in found.commits))
    )


# ---- what it is for ------------------------------------------------------------------------------------------------


def small(**changes: Any) -> Scenario:
    raw = {
        "scenario": "flowing",
        "profile": "ideal",
        "duration": "2s",
        "drain": "20s",
        "brokers": {"kind": "kafka", "nodes": 1},
        "topics": {"a": {"partitions": 2}},
        "producers": {"p": {"topic": "a", "arrivals": "50/s", "key": {"uniform": 10}}},
        "groups": {"g": {"topics": ["a"], "work": "1ms"}},
    }
    for path, value in changes.items():
        here: Any = raw
        *folders, last = path.split("__")
        for folder in folders:
            here = here.setdefault(folder, {})
        here[last] = value
    return load_text(write_yaml(raw)).scenario


@pytest.mark.parametrize(
    ("changes", "does"),
    [
        ({}, True),
        ({"groups__g__commit": {"every": "1s"}}, True),
        ({"faults": [{"fault": "slow_work", "group": "g", "factor": 2, "at": "1s", "for": "1s"}]}, False),
        ({"producers__p__client": "java"}, False),
        ({"producers__p__settings": {"acks": 0, "enable.idempotence": False}}, False),
        ({"producers__p__poison": "1%", "groups__g__failures": {"then": "skip"}}, False),
        ({"groups__g__workers": 2}, False),
        ({"groups__g__settings": {"fetch.min.bytes": 1000}}, False),
        ({"groups__g__reads": {"collect": {"events": 10, "timeout": "1s"}}}, False),
        ({"groups__g__dedupe": {"window": "1s"}}, False),
        ({"groups__g__failures": {"transient": {"chance": "1%"}, "then": "skip"}}, False),
    ],
)
def test_what_can_fail_is_left_to_the_kernel(changes: dict[str, Any], does: bool) -> None:
    assert flows(small(**changes)) is does


@pytest.mark.parametrize(
    "changes",
    [
        {"producers__p__settings": {"queue.buffering.max.messages": 1, "linger.ms": 900}},
        {"producers__p__settings": {"message.timeout.ms": 60, "linger.ms": 50}},
        {"groups__g__work": "301s", "drain": "10h", "producers__p__arrivals": {"rate": "1/s", "spacing": "even"}},
        {"groups__g__work": "500ms", "drain": "1s"},
        {
            "producers__p__size": "600kB",
            "producers__p__arrivals": {"rate": "10/s", "spacing": {"bursts": 5}},
            "producers__p__settings": {"batch.size": 9_000_000, "message.max.bytes": 9_000_000},
            "topics__a__settings__max.message.bytes": 10_000_000,
        },
    ],
    ids=[
        "a full buffer",
        "a delivery that is given up",
        "a member that calls too late",
        "a backlog at the end",
        "an answer that may be full",
    ],
)
def test_what_takes_more_than_arrays_is_noticed(changes: dict[str, Any]) -> None:
    scenario = small(**changes)

    assert flows(scenario)
    assert flow(make_plan(scenario), SLOW) is None


def test_compiled_inversion_draws_the_same_times_to_the_last_bit() -> None:
    """A hundred thousand of each measured time of the shipped profile, and of one that stands still for a while."""
    profile = load_profile("local-kafka")
    flat = Measured(quantiles_us=(*(float(each) for each in range(9)), *(20.5,) * 9))
    for measured in (profile.produce, profile.fetch, profile.overshoot, flat):
        table = np.zeros((2, 100_000), np.int64)
        table[1, -1] = 77  # the only one that is not used yet

        drawn = np.random.default_rng(7).random(199_999)
        Times(measured).fill(drawn, table, np.array([0, 1]), np.array([100_000, 99_999]))

        expected = measured.quantile_ns(uniforms(np.random.default_rng(7), 199_999)).tolist()
        assert table[0].tolist() == expected[:100_000]
        assert table[1].tolist() == [77, *expected[100_000:]]
