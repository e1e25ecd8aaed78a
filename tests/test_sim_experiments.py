"""Replications: equal however many processes work on them, the first one the plan that is driven, nobody left behind."""

import math
import time

import psutil
import pytest

from rundata.indicators import measure
from rundata.rows import Kind
from rundata.tables import RunData
from scenario_text import small
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL, KNOTS, Measured, OneLeader, Profile, SharedCores
from scenarios.schema import Scenario
from sim.engine import simulate
from sim.experiments import Replications, replicate, varied

SLOW = Profile(
    profile="slow",
    produce=Measured(quantiles_us=tuple(1000.0 + 1000 * knot for knot in KNOTS), scale_sd=0.1),
    fetch=Measured(quantiles_us=(500.0,) * len(KNOTS)),
)


def brief() -> Scenario:
    return small(
        ("duration: 60s", "duration: 4s"),
        ("warm_up: 5s", "warm_up: 1s"),
        ("{for: 40s, rate: 200/s}", "{for: 2s, rate: 50/s}"),
        ("{for: 20s, rate: [200/s, 300/s], spacing: even}", "{for: 2s, rate: 50/s}"),
        ("at: 20s, for: 15s", "at: 1s, for: 1s"),
        ("at: 45s, for: 5s", "at: 3s, for: 1s"),
    )


def sends(run: RunData) -> int:
    return int((run.operations["kind"] == Kind.send).sum())


def runs(count: int = 4, *, jobs: int = 1, same_plan: bool = False, vary_profile: bool = True) -> Replications[int]:
    return replicate(
        brief(),
        SLOW,
        seed=5,
        replications=count,
        jobs=jobs,
        same_plan=same_plan,
        vary_profile=vary_profile,
        series=sends,
    )


def test_results_are_equal_however_many_processes_work_on_them():
    """Indicators and series of every replication, in their order."""
    alone, together = runs(jobs=1), runs(jobs=2)

    assert alone.measured == together.measured
    assert alone.series == together.series
    assert alone.first.operations.tobytes() == together.first.operations.tobytes()


def test_no_process_is_left_behind():
    """Neither after the last replication nor after Ctrl-C."""
    runs(jobs=2)
    assert simulating() == []

    def stop(done: int, _total: int) -> None:
        if done > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replicate(brief(), SLOW, seed=5, replications=6, jobs=2, same_plan=True, vary_profile=False, progress=stop)
    assert simulating() == []


def simulating(within_s: float = 5.0) -> list[str]:
    """Return who still simulates when `within_s` is over: on a busy host the ended are taken away late."""
    until = time.monotonic() + within_s
    while (left := _children_at_work()) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _children_at_work() -> list[str]:
    children = psutil.Process().children(recursive=True)
    # An ended process stays a zombie until init takes it away, and has no command any more.
    commands = [" ".join(child.cmdline()) for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [command for command in commands if "loky" in command and "resource_tracker" not in command]


def test_the_first_is_the_plan_that_is_driven_at_the_profiles_own_figures():
    """Whatever else is drawn anew, and however many follow."""
    expected = simulate(make_plan(brief(), 5), SLOW)

    assert runs(2, same_plan=True).first.operations.tobytes() == expected.operations.tobytes()
    assert runs(1).first.operations.tobytes() == expected.operations.tobytes()


def test_with_the_same_plan_only_chance_differs():
    """The same number of events in each, and other latencies."""
    found = runs(4, same_plan=True, vary_profile=False)

    assert set(found.series) == {len(make_plan(brief(), 5))}
    assert len({one["latency.p50"].value for one in found.measured}) > 1


def test_with_new_plans_the_number_of_events_differs():
    """Poisson arrivals, drawn anew for each."""
    assert len(set(runs(4).series)) > 1


def test_operations_that_are_not_kept_are_measured_all_the_same():
    """The run says that it has none; its indicators are the first of `measured`."""
    found: Replications[None] = replicate(
        brief(), IDEAL, seed=5, replications=1, same_plan=False, vary_profile=False, operations="none"
    )

    assert (len(found.first.operations), found.first.about["operations"]) == (0, "none")
    assert found.measured[0]["lost"].value == 0


def test_progress_tells_every_replication_in_the_end():
    """So that a bar reaches its end."""
    told: list[tuple[int, int]] = []
    replicate(
        brief(),
        IDEAL,
        seed=5,
        replications=3,
        same_plan=True,
        vary_profile=False,
        progress=lambda done, total: told.append((done, total)),
    )

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_profile_varies_by_the_scale_of_what_is_uncertain():
    """All quantiles of one distribution by one factor; what is certain stays; replication 0 is the profile itself."""
    third = varied(SLOW, 5, 3)
    factors = {round(a / b, 9) for a, b in zip(third.produce.quantiles_us, SLOW.produce.quantiles_us, strict=True)}

    assert varied(SLOW, 5, 0) == SLOW
    assert third == varied(SLOW, 5, 3)
    assert len(factors) == 1 and factors != {1.0}
    assert third.fetch == SLOW.fetch


def test_one_leader_varies_as_several_do():
    """The brokers are the same: by the same factor, where it is as unsure; what is certain stays."""
    own = OneLeader(produce=SLOW.produce, produce_leader=SLOW.fetch, fetch=SLOW.fetch)
    third = varied(SLOW.model_copy(update={"one_leader": own}), 5, 3)

    assert third.one_leader is not None
    assert third.one_leader.produce == third.produce != SLOW.produce
    assert (third.one_leader.produce_leader, third.one_leader.fetch) == (SLOW.fetch, SLOW.fetch)


def test_the_factors_spread_as_the_profile_says():
    """A standard deviation of 10 % of the logarithm, over 400 replications."""
    logs = [math.log(varied(SLOW, 5, r).produce.quantiles_us[0] / 1000) for r in range(1, 401)]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((each - mean) ** 2 for each in logs) / (len(logs) - 1))

    assert mean == pytest.approx(0, abs=0.015)
    assert spread == pytest.approx(0.1, abs=0.012)


def test_cpu_times_vary_together_and_what_is_taken_at_rest_stays():
    cores = SharedCores(count=2, taken=0.5, request_us=200, event_us=100, scale_sd=0.1)
    third = varied(SLOW.model_copy(update={"cores": cores}), 5, 3).cores
    sure = cores.model_copy(update={"scale_sd": 0.0})

    assert third.request_us / 200 == pytest.approx(third.event_us / 100)
    assert third.request_us != 200
    assert (third.count, third.taken) == (2, 0.5)
    assert varied(SLOW.model_copy(update={"cores": sure}), 5, 3).cores == sure


def test_further_replications_of_a_quiet_scenario_have_the_kernels_figures() -> None:
    """They are simulated with arrays, of which nobody sees more than the figures."""
    quiet = brief().model_copy(update={"faults": ()})
    groups = {name: group.model_copy(update={"failures": None}) for name, group in quiet.groups.items()}
    producers = {name: producer.model_copy(update={"poison": 0.0}) for name, producer in quiet.producers.items()}
    quiet = quiet.model_copy(update={"groups": groups, "producers": producers})

    found = replicate(quiet, SLOW, seed=1, replications=3, same_plan=False, vary_profile=False)

    for number in (1, 2):
        assert found.measured[number] == measure(simulate(make_plan(quiet, 1, number), SLOW, chance=number))
