"""Quiet stretches in which only work takes time, in a single pass: figure by figure what the kernel says, and arrays where a pass does not suffice."""

import random
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from rundata.backlog import has_settled
from rundata.folding import Folded, fold
from rundata.partials import Partial, Times, gather
from rundata.windows import Cells, Windows, windows_of
from scenarios.files import load_text
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL, KNOTS, Measured, load_profile
from scenarios.quantities import DAY, MINUTE, SECOND
from scenarios.schema import Scenario
from scenarios.streams import uniforms
from scenarios.yaml_text import write_yaml
from sim.engine import simulate
from sim.stretches import ideal, ideal_kernel, long_run
from sim.stretches.flow import InBlocks
from sim.stretches.ideal import Ideal, is_ideal_line
from sim.stretches.long_run import simulate_in_stretches, timeline_of
from sim.stretches.senders import TakesMoreError
from sim.stretches.uniforms_kernel import lanes_of
from sim.stretches.uniforms_kernel import uniforms as draw_at_once

CASES = 150
WINDOW_NS = SECOND


def line(**changes: Any) -> Scenario:
    raw: dict[str, Any] = {
        "scenario": "line",
        "profile": "ideal",
        "duration": "3s",
        "warm_up": "500ms",
        "drain": "10m",
        "brokers": {"kind": "kafka", "nodes": 3},
        "topics": {"a": {"partitions": 4}},
        "producers": {"p": {"topic": "a", "arrivals": "80/s", "key": {"uniform": 40}, "settings": {"linger.ms": 0}}},
        "groups": {"g": {"topics": ["a"], "members": 2, "work": "20ms"}},
    }
    for path, value in changes.items():
        here: Any = raw
        *folders, last = path.split("__")
        for folder in folders:
            here = here.setdefault(folder, {})
        here[last] = value
    return load_text(write_yaml(raw)).scenario


_STEADY = (
    "60/s",
    "300/s",
    {"rate": "5/s", "spacing": "even"},  # on the instants at which lag is looked at
    {"rate": "40/s", "spacing": "even"},
)
_WORK = ("0ms", "1ms", "25ms", "50ms", "100ms", {"exponential": "10ms"}, {"uniform": ["0ms", "60ms"]})
_COMMITS = ("after_batch", "after_event", {"every": "100ms"}, {"every": "250ms"}, {"every": "7s"})
_KEYS = (
    {"uniform": 1},
    {"uniform": 40},
    {"zipf": {"values": 30, "exponent": 1.1}},
    {"hot": {"share": "50%", "values": 9}},
)


def many_at_one_instant(duration_ms: int, times: int = 1) -> list[dict[str, Any]]:
    """Return forty events in a tenth of a microsecond, once or more often."""
    every_ms = 700 // times
    parts = [{"rate": "30/s", "for": f"{every_ms}ms"}, {"rate": "400000000/s", "for": "100ns"}] * times
    return [*parts, {"rate": "20/s", "for": f"{(duration_ms - times * every_ms) * 1_000_000 - times * 100}ns"}]


def silence_and_a_ramp(duration_ms: int) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"rate": "200/s", "for": "800ms"}, {"rate": "0/s", "for": "700ms"}]
    return [*parts, {"rate": ["0/s", "100/s"], "for": f"{duration_ms - 1500}ms"}]


def random_line(number: int) -> Scenario:
    """Return a scenario whose instants tie with one another, with looks at lag, with commits and with the warm-up's end."""
    choose = random.Random(number)
    partitions, duration_ms = choose.choice((1, 2, 4, 7)), choose.choice((2_000, 3_100, 6_000))
    ties = (many_at_one_instant(duration_ms), *[many_at_one_instant(duration_ms, 10)] * 2)
    arrivals = (*_STEADY, *ties, silence_and_a_ramp(duration_ms))
    return line(
        duration=f"{duration_ms}ms",
        warm_up=choose.choice(("0s", "100ms", "1s")),
        brokers__nodes=choose.choice((1, 3)),
        topics__a__partitions=partitions,
        producers__p__arrivals=choose.choice(arrivals),
        producers__p__count=choose.choice((1, 3)),
        producers__p__share="arrivals",
        producers__p__key=choose.choice((*_KEYS, "none") if partitions == 1 else _KEYS),
        groups__g__members=choose.choice((1, 2, 3)),
        groups__g__work=choose.choice(_WORK),
        groups__g__commit=choose.choice(_COMMITS),
        groups__g__settings=choose.choice(({}, {"max.poll.records": 1}, {"max.poll.records": 3})),
    )


def in_blocks(scenario: Scenario, seed: int = 1) -> Folded:
    run = InBlocks(scenario, IDEAL, seed=seed)
    return fold(run.frame, run.parts(), WINDOW_NS, run.at_the_end)


def by_the_kernel(scenario: Scenario, seed: int = 1) -> Folded:
    run = simulate(make_plan(scenario, seed), IDEAL)
    windows = windows_of(run, scenario.warm_up, scenario.duration, WINDOW_NS)
    return Folded(
        gather(run), windows, has_settled(replace(run, incidents=()))
    )  # arrays tell of no assignment at the begin


def in_one_pass(scenario: Scenario, **options: Any) -> Folded | None:
    """Return what a single pass says; None where it says that it takes more."""
    try:
        return Ideal(scenario, IDEAL, 1, **options).told(WINDOW_NS)[1]
    except TakesMoreError:
        return None


def differences(found: Folded, expected: Folded) -> list[str]:
    """Return in what two folded runs differ."""
    told, known = plainly(found.partial), plainly(expected.partial)
    wrong = [
        f"{key}: {told.get(key)} != {known.get(key)}" for key in told.keys() | known if told.get(key) != known.get(key)
    ]
    wrong += [] if cells_of(found.windows) == cells_of(expected.windows) else ["windows"]
    wrong += [] if found.settled == expected.settled else ["settled"]
    return sorted(wrong)


def plainly(partial: Partial) -> dict[str, Any]:
    found: dict[str, Any] = {"length": partial.length_ns}
    for (kind, scope), parts in partial.parts.items():
        for name, value in parts.items():
            found[f"{kind} of {scope}: {name}"] = plain(name, value)
    return found


def plain(name: str, value: Any) -> Any:
    if name == "asks":
        return bool(value)  # of how many parts does not matter
    if not isinstance(value, Times):
        return value
    times = value
    bins = [each.tolist() for one in (times.came, times.waited) for each in (one.bins, one.counts)]
    return [*bins, times.total_ns, times.most_ns, times.most_waited_ns]


def cells_of(windows: Windows) -> list[Any]:
    return [[getattr(stage, one.name).tolist() for one in fields(Cells)] for stage in windows.stages]


# ---- against the other engines -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases() -> list[tuple[Scenario, Folded]]:
    """Return random lines, and what arrays say of each."""
    return [(scenario, in_blocks(scenario)) for scenario in map(random_line, range(CASES))]


def test_a_single_pass_says_what_arrays_and_the_kernel_say(cases: list[tuple[Scenario, Folded]]) -> None:
    """Every figure, histogram and window; instants tie, members fall behind, polls are cut short."""
    compared = 0
    for number, (scenario, expected) in enumerate(cases):
        assert is_ideal_line(scenario, IDEAL), scenario
        found = in_one_pass(scenario)
        if found is None:
            continue
        compared += 1
        assert differences(found, expected) == [], f"line {number}:\n{scenario}"
        if number % 3 == 0:
            assert differences(found, by_the_kernel(scenario)) == [], f"line {number}, the kernel:\n{scenario}"
    assert compared > CASES * 3 // 5


@pytest.mark.parametrize("used", [0, 1, 7])
def test_four_steps_at_once_give_the_generators_own_numbers(used: int) -> None:
    """In pieces of any length, and from where the generator stands."""
    chance = random.Random(used)
    for seed in range(5):
        generator = np.random.Generator(np.random.PCG64(seed))
        generator.random(used)
        lanes = lanes_of(generator)
        for count in (0, 1, 2, 3, 4, 5, *(chance.randrange(40) for _ in range(10))):
            drawn = np.zeros(count)
            draw_at_once(lanes, drawn)
            assert drawn.tolist() == uniforms(generator, count).tolist()


def test_another_generator_has_no_such_steps() -> None:
    with pytest.raises(AssertionError, match="other steps"):
        lanes_of(np.random.Generator(np.random.MT19937(1)))


def test_blocks_of_any_size_change_nothing(cases: list[tuple[Scenario, Folded]]) -> None:
    compared = 0
    for number, (scenario, expected) in enumerate(cases[:60]):
        found = in_one_pass(scenario, at_once=(1, 2, 7, 100)[number % 4])
        if found is not None:
            compared += 1
            assert differences(found, expected) == [], f"line {number}:\n{scenario}"
    assert compared > 35


def test_lines_are_of_all_kinds(cases: list[tuple[Scenario, Folded]]) -> None:
    """Backlogs that are saturated or do not settle, and events at one instant, are among them."""
    assert sum(not expected.settled for _, expected in cases) > 5
    assert sum(plainly(expected.partial)["consumed of the run: steps"] > 0 for _, expected in cases) > 10
    ties = [
        plan for plan in (make_plan(scenario, 1) for scenario, _ in cases) if (np.diff(plan.intended_ns) == 0).any()
    ]
    assert len(ties) > 10


def _with_settings(**wrong: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Return a change of what a pass takes a stretch to be like, by the names of its settings."""

    def change(patch: pytest.MonkeyPatch) -> None:
        made = ideal_kernel.new_line

        def wrongly_made(*arguments: Any) -> Any:
            new = made(*arguments)
            for name, by in wrong.items():
                new.settings[getattr(ideal_kernel, name)] += by
            return new

        patch.setattr(ideal, "new_line", wrongly_made)

    return change


def _as_they_come(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ideal_kernel, "put_ties_in_order", lambda *_: None)


def _no_more_looks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ideal_kernel, "look_on", lambda *_: None)


def _late(patch: pytest.MonkeyPatch) -> None:
    read = ideal_kernel.read

    def later(w: Any, times: Any, part: Any, work: Any, latency: Any) -> None:
        read(w, times, part, work, latency)
        latency[-1:] += 1

    patch.setattr(ideal_kernel, "read", later)


def _other_members(patch: pytest.MonkeyPatch) -> None:
    owners = ideal.owners
    patch.setattr(ideal, "owners", lambda *of: np.roll(owners(*of), 1))


@pytest.mark.parametrize(
    "wrong",
    [
        _with_settings(Z_MAX_POLL=1),
        _with_settings(Z_INTERVAL=50_000_000),
        _with_settings(Z_WARM_UP=100_000_000),
        _with_settings(Z_HALF_NS=-(2**50), Z_HELD_FROM_NS=-(2**50)),
        _with_settings(Z_MODE=10),
        _as_they_come,
        _no_more_looks,
        _late,
        _other_members,
    ],
    ids=["polls", "interval", "warm-up", "settled", "commits", "ties", "end", "a nanosecond", "owners"],
)
def test_each_rule_that_is_left_out_is_noticed(
    wrong: Callable[[pytest.MonkeyPatch], None], cases: list[tuple[Scenario, Folded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong(monkeypatch)

    differ = 0
    for scenario, expected in cases:
        found = in_one_pass(scenario, at_once=64)
        differ += found is not None and differences(found, expected) != []

    assert differ >= 5


# ---- what it is for ------------------------------------------------------------------------------------------------

SLOW = IDEAL.model_copy(update={"commit": Measured(quantiles_us=(1.0,) * len(KNOTS))})


@pytest.mark.parametrize(
    "changes",
    [
        {"producers__p__settings": {"linger.ms": 5}},
        {"producers__p__key": "none"},
        {"producers__p__key": "sequence"},
        {"producers__p__key": {"uniform": 2_000_000}},
        {"producers__p__count": 2},
        {"producers__p__size": {"exponential": "1kB"}},
        {"producers__p__arrivals": {"rate": "80/s", "spacing": {"bursts": 5}}},
        {"producers__p__settings": {"linger.ms": 0, "queue.buffering.max.messages": 5}},
        {"producers__q": {"topic": "a", "arrivals": "1/s"}},
        {"topics__b": {"partitions": 1}},
        {"groups__h": {"topics": ["a"], "work": "1ms"}},
        {"groups__g__commit": "auto"},
        {"groups__g__commit": "before_work"},
        {"groups__g__workers": 2},
        {"duration": "3050ms"},
        {"expect": ["lag[a/0].max < 1000000"]},
        {"faults": [{"fault": "member_crash", "member": "g/1", "at": "1s", "for": "1s"}]},
    ],
)
def test_what_a_single_pass_does_not_know_is_left_to_others(changes: dict[str, Any]) -> None:
    assert is_ideal_line(line(), IDEAL)
    assert not is_ideal_line(line(**changes), IDEAL)


def test_profiles_in_which_more_than_work_takes_time_are_left_to_others() -> None:
    for profile in (SLOW, load_profile("local-kafka"), IDEAL.model_copy(update={"poll_us": 1.0})):
        assert not is_ideal_line(line(), profile)


@pytest.mark.parametrize(
    "changes",
    [
        {"groups__g__work": "301s", "drain": "10h", "producers__p__arrivals": {"rate": "1/s", "spacing": "even"}},
        {"groups__g__work": "10s", "drain": "10h"},
        {"groups__g__work": "500ms", "drain": "1s"},
        {"groups__g__settings": {"max.poll.records": 1}, "groups__g__work": "100ms", "warm_up": "2s"},
    ],
    ids=[
        "a member that calls too late",
        "far ahead",
        "a backlog at the end",
        "cut short in the warm-up",
    ],
)
def test_what_takes_more_than_a_single_pass_is_noticed(changes: dict[str, Any]) -> None:
    scenario = line(**changes)

    assert is_ideal_line(scenario, IDEAL)
    assert in_one_pass(scenario) is None


def test_where_a_single_pass_does_not_suffice_a_long_run_says_what_arrays_say(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = line(duration="2m", warm_up="10s", producers__p__arrivals="20/s")
    known = simulate_in_stretches(scenario, IDEAL, seed=3, resample=False)
    tried: list[None] = []

    def gives_up(*_: object, **__: object) -> None:
        tried.append(None)
        raise TakesMoreError

    monkeypatch.setattr(Ideal, "told", gives_up)

    assert simulate_in_stretches(scenario, IDEAL, seed=3, resample=False).measured == known.measured
    assert tried


# ---- long runs -----------------------------------------------------------------------------------------------------


def test_a_long_exact_run_is_one_stretch_a_day_and_no_plan_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days and a half at 2/s: some 432,000 events, of which each takes at least its 20 ms."""
    monkeypatch.setattr(long_run, "InBlocks", None)
    scenario = line(duration=f"{60 * 60}m", warm_up="0s", producers__p__arrivals="2/s")

    found = simulate_in_stretches(scenario, IDEAL, seed=1, resample=False, windows=False)

    assert [each.end_ns - each.begin_ns for each in found.placings] == [DAY, DAY, DAY // 2]
    assert found.measured["produced"].value == pytest.approx(2, rel=0.01)
    assert found.measured["delivery"].value == 1
    assert found.measured["latency.p50"].value == pytest.approx(0.02, rel=0.003)
    assert 0 < found.measured["lag.mean"].value == pytest.approx(2 * 0.0204, rel=0.05)


def test_stretches_that_stand_for_others_stay_minutes() -> None:
    scenario = line(duration="3h", warm_up="0s")

    exact, resampled = (timeline_of(scenario, IDEAL, 1, 0, resample=resample).placings() for resample in (False, True))

    assert len(exact) == 1
    assert {each.end_ns - each.begin_ns for each in resampled} == {MINUTE}
    slow = timeline_of(scenario, SLOW, 1, 0, resample=False).placings()
    assert {each.end_ns - each.begin_ns for each in slow} == {MINUTE}
