"""Dependencies and circuit breakers worked out by hand, in the plain model and in the simulator."""

from itertools import pairwise
from typing import Any

from both_models import Run, in_both_models
from by_hand import by_hand, constant, ms
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL, Profile
from sim.engine import simulate


def _calling(dependency: dict[str, Any], call: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return changes of the scenario by hand: its group calls a dependency, and skips what fails twice."""
    return {
        "dependencies": {"payments": dependency},
        "groups__g__calls": [{"dependency": "payments", **(call or {})}],
        "groups__g__failures": {"retry": {"attempts": 2}, "then": "skip"},
        **changes,
    }


def _outcomes(data: RunData) -> list[tuple[float, bool]]:
    """Return when each try ended, in ms, and whether it worked."""
    worked = ms(data, Kind.try_, "outcome")
    return [(ended, not failed) for ended, failed in zip(ms(data, Kind.try_), worked, strict=True)]


@in_both_models
def test_a_try_ends_with_the_answer_of_its_last_call(run: Run) -> None:
    """Delivered at 55 ms, 10 ms of work, calls of 20 and 5 ms; the commit comes behind them."""
    data = run(
        dependencies={"payments": {"takes": "20ms"}, "stock": {"takes": "5ms"}}, groups__g__calls=["payments", "stock"]
    )

    assert ms(data, Kind.try_) == [55 + 10 + 20 + 5 + 100.0 * n for n in range(10)]
    assert ms(data, Kind.commit)[0] == 90


@in_both_models
def test_calls_begin_when_the_sleep_of_the_work_has_ended(run: Run) -> None:
    """A sleep that wakes 3 ms late delays the call, other than the next event of a handler without calls."""
    data = run(
        Profile(profile="p", overshoot=constant(3)),
        producers__p__arrivals={"rate": "10/s", "spacing": {"bursts": 10}},
        **_calling({"takes": "20ms"}),
    )

    ended = ms(data, Kind.try_)
    assert [round(later - ended[0], 3) for later in ended[:3]] == [0, 33, 66]


@in_both_models
def test_one_place_serves_two_members_one_after_the_other(run: Run) -> None:
    """Bursts reach two members at once; the dependency works on one call at a time, 20 ms each."""
    data = run(
        topics__a={"partitions": 2, "replication": 3},
        groups__g__members=2,
        producers__p__key={"uniform": 8},
        producers__p__arrivals={"rate": "40/s", "spacing": {"bursts": 40}},
        **_calling({"takes": "20ms", "concurrency": 1}),
    )

    ended = sorted(ms(data, Kind.try_))
    assert len(ended) > 20
    assert {round(later - before, 3) for before, later in pairwise(ended[:11])} == {20}


@in_both_models
def test_a_rate_lets_a_burst_through_and_then_one_call_per_interval(run: Run) -> None:
    """At 10 calls/s with a burst of 3, of ten events at once: three at once, then one each 100 ms."""
    data = run(
        groups__g__workers=20,
        groups__g__in_hand=20,
        groups__g__ordered_by="none",
        groups__g__work="0ms",
        producers__p__arrivals={"rate": "100/s", "spacing": {"bursts": 100}},
        producers__p__settings={"linger.ms": 0},
        seed=2,
        **_calling({"takes": "1ms", "rate": "10/s", "burst": 3}),
    )

    ended = ms(data, Kind.try_)
    assert [round(later - ended[0], 3) for later in ended[:6]] == [0, 0, 0, 100, 200, 300]


@in_both_models
def test_a_call_beyond_the_limits_is_refused_where_nobody_waits(run: Run) -> None:
    """One call each 250 ms: the tries in between fail as soon as their work is done, and both tries of an event do."""
    data = run(**_calling({"takes": "0ms", "rate": "4/s", "over": "refuse"}))

    assert _outcomes(data)[:7] == [
        (65, True), (165, False), (175, False), (265, False), (275, False), (365, True), (465, False),
    ]  # fmt: skip


@in_both_models
def test_a_caller_gives_up_and_the_call_keeps_its_place(run: Run) -> None:
    """Calls of 80 ms, given up after 30: the second try's call waits in line behind the first and leaves it in time."""
    data = run(**_calling({"takes": "80ms", "concurrency": 1}, {"timeout": "30ms"}))

    assert _outcomes(data)[:4] == [(95, False), (135, False), (195, False), (235, False)]
    assert data.end_ns == 1_035_000_000


@in_both_models
def test_an_answer_at_the_last_instant_of_patience_counts(run: Run) -> None:
    """A call of 30 ms with a timeout of 30 ms."""
    assert _outcomes(run(**_calling({"takes": "30ms"}, {"timeout": "30ms"})))[0] == (95, True)


@in_both_models
def test_a_dependency_that_is_down_refuses_and_a_slow_one_takes_longer(run: Run) -> None:
    """Down from 100 to 200 ms, three times as slow and 5 ms more from 300 to 400 ms."""
    faults = [
        {"fault": "dependency_down", "dependency": "payments", "at": "100ms", "for": "100ms"},
        {"fault": "dependency_slow", "dependency": "payments", "factor": 3, "plus": "5ms", "at": "300ms", "for": "100ms"},
    ]  # fmt: skip
    data = run(**_calling({"takes": "10ms"}, faults=faults))

    assert _outcomes(data) == [
        (75, True), (165, False), (175, False), (275, True), (400, True), (475, True), (575, True), (675, True), (775, True),
        (875, True), (975, True),
    ]  # fmt: skip


def test_faults_of_dependencies_tell_how_many_calls_they_met() -> None:
    """Two tries of one event are refused, one call is slow."""
    faults = [
        {"fault": "dependency_down", "dependency": "payments", "at": "100ms", "for": "100ms"},
        {"fault": "dependency_slow", "dependency": "payments", "factor": 3, "at": "300ms", "for": "100ms"},
    ]
    data = simulate(make_plan(by_hand(**_calling({"takes": "10ms"}, faults=faults))), IDEAL)

    assert [(fault.target, fault.proof) for fault in data.faults] == [
        ("payments", "calls refused: 2"),
        ("payments", "calls slowed: 1"),
    ]


@in_both_models
def test_a_breaker_opens_after_failures_in_a_row_and_a_probe_closes_it(run: Run) -> None:
    """Down until 250 ms. Two failed calls open it for 200 ms: tries fail without a call; the probe at 365 ms works."""
    breaker = {"opens_after": 2, "stays_open": "200ms"}
    down = {"fault": "dependency_down", "dependency": "payments", "at": "0ms", "for": "250ms"}
    data = run(**_calling({"takes": "10ms"}, {"breaker": breaker}, faults=[down]))

    assert _outcomes(data)[:9] == [
        (65, False), (75, False), (165, False), (175, False), (265, False), (285, True), (375, True), (475, True), (575, True),
    ]  # fmt: skip


@in_both_models
def test_a_failed_probe_keeps_the_breaker_open_and_it_takes_so_many_good_ones(run: Run) -> None:
    """Down until 150 ms, open after the first failure for 50 ms: the probe at 165 ms works, that at 175 ms closes it."""
    breaker = {"opens_after": 1, "stays_open": "50ms", "probes": 2}
    down = {"fault": "dependency_down", "dependency": "payments", "at": "0ms", "for": "250ms"}
    data = run(**_calling({"takes": "0ms"}, {"breaker": breaker}, faults=[down]))

    assert _outcomes(data)[:7] == [
        (65, False), (75, False), (165, False), (175, False), (265, True), (365, True), (465, True),
    ]  # fmt: skip


@in_both_models
def test_a_worker_waits_with_its_call_where_the_breaker_says_so(run: Run) -> None:
    """Down until 100 ms; the breaker opens at 65 ms for 200 ms, and the second try waits until 265 ms instead of failing."""
    breaker = {"opens_after": 1, "stays_open": "200ms", "while_open": "wait"}
    down = {"fault": "dependency_down", "dependency": "payments", "at": "0ms", "for": "100ms"}
    data = run(**_calling({"takes": "10ms"}, {"breaker": breaker}, faults=[down]))

    assert _outcomes(data)[:3] == [(65, False), (275, True), (295, True)]
    assert ms(data, Kind.try_, "started_ns")[:3] == [55, 65, 275]


@in_both_models
def test_a_member_that_comes_back_has_a_closed_breaker(run: Run) -> None:
    """It opened for a minute; the crash at 500 ms forgets it, and the next try's call is made."""
    breaker = {"opens_after": 1, "stays_open": "1m"}
    faults = [
        {"fault": "dependency_down", "dependency": "payments", "at": "0ms", "for": "100ms"},
        {"fault": "member_crash", "member": "g/1", "at": "500ms", "for": "100ms"},
    ]
    data = run(
        **_calling({"takes": "10ms"}, {"breaker": breaker}, faults=faults),
        groups__g__settings={"session.timeout.ms": 6000},
        drain="30s",
    )

    tries = _outcomes(data)
    assert {worked for ended, worked in tries if ended < 500} == {False}
    assert {worked for ended, worked in tries if ended > 600} == {True}


@in_both_models
def test_a_hanging_member_hears_the_answer_when_it_goes_on(run: Run) -> None:
    """The answer comes at 75 ms and patience ends at 85 ms; the process hangs from 70 to 200 ms and then hears the answer."""
    data = run(
        **_calling(
            {"takes": "10ms"},
            {"timeout": "20ms"},
            faults=[{"fault": "member_pause", "member": "g/1", "at": "70ms", "for": "130ms"}],
        )
    )

    assert _outcomes(data)[0] == (200, True)


@in_both_models
def test_a_share_of_calls_fails_and_an_event_fails_alike_in_each_run(run: Run) -> None:
    """At 50 % some of 100 events fail both tries; which ones follows from the seed alone."""
    data = run(**_calling({"takes": "0ms", "fails": "50%"}), producers__p__arrivals="100/s", groups__g__work="1ms")

    tries = data.operations[data.operations["kind"] == Kind.try_]
    failed = int((tries["outcome"] == Outcome.failed).sum())
    assert 0.4 < failed / len(tries) < 0.6
    assert len(ms(data, Kind.skip)) == len(
        set(tries["event_id"][(tries["attempt"] == 2) & (tries["outcome"] == Outcome.failed)])
    )
