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
from scenarios.profiles import KNOTS, Measured, Profile
from scenarios.schema import Scenario
from scenarios.yaml_text import write_yaml
from sim.engine import simulate
from sim.stretches.flow import Flow, _Flowing, as_run, flow, flows

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
    assert compared > CASES // 3


def test_random_inputs_that_run_out_are_drawn_further_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Producers and members stop where they lack one, at any place of theirs, and go on with more of them."""
    cases = [case for case in map(quiet_case, range(40)) if case is not None and flows(case[0].scenario)]
    at_once = [flow(*case) for case in cases]
    draws: list[int] = []
    for name in ("_of_requests", "_of_calls"):
        original = getattr(_Flowing, name)
        monkeypatch.setattr(
            _Flowing, name, lambda self, count, *rest, of=original: draws.append(count) or of(self, count, *rest)
        )
    monkeypatch.setattr("sim.stretches.flow._FIRST_DRAWS", 1)

    for case, expected in zip(cases, at_once, strict=True):
        found = flow(*case)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert parts_of(found) == parts_of(expected), case[0].scenario
    assert draws.count(1) > 20 and draws.count(2) > 20 and max(draws) >= 32


def parts_of(found: Flow) -> list[object]:
    arrays = ("handed_ns", "acked_ns", "partition", "offset", "visible_ns", "delivered_ns", "effect_ns")
    commits = [of_flow(found, group) for group in range(len(found.commits))]
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
