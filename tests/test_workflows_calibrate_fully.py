"""The whole calibration, on simulated runs of a system whose figures are known: the fit finds them again, and says how well it predicts."""

import dataclasses

import numpy as np
import pytest

from eventdrill.workflows.calibrate import answers, constant, of_topic, residuals
from eventdrill.workflows.calibrate_failing import failover, pooled, rejoins
from eventdrill.workflows.calibrate_fully import (
    _STEADY_STEPS,
    LEAST_SCALE_SD,
    SEEDS,
    _calm_stretches,
    _scale_sd,
    _Step,
    as_sure_as,
    borne_steps,
    drift_of,
    fit_fully,
    fit_steady,
    held_back,
    load_of,
    names_on,
    scenario,
    size_cost,
    with_cores_taken,
)
from eventdrill.workflows.calibrate_one_leader import with_one_leader
from eventdrill.workflows.calibrate_there import Ground
from eventdrill.workflows.pace import served_hz
from rundata.rows import Kind
from rundata.tables import Gauge, RunData
from runs import Build
from scenarios.plan import make_plan
from scenarios.profiles import KNOTS, NO_CORES, NOTHING, Measured, OneLeader, Profile, SharedCores, load_profile
from scenarios.quantities import SECOND
from sim.draws import requests_by_producer
from sim.engine import simulate

BASE = load_profile("local-kafka")


def scaled(part: Measured, factor: float) -> Measured:
    return part.model_copy(update={"quantiles_us": tuple(factor * q for q in part.quantiles_us)})


TRUE = BASE.model_copy(
    update={
        "produce": scaled(BASE.produce, 1.5),
        "produce_leader": scaled(BASE.produce_leader, 0.8),
        "fetch": scaled(BASE.fetch, 0.7),
        "commit": scaled(BASE.commit, 0.5),
        "produce_us_per_kib": 60.0,
        "load_slope": 0.02,
        "load_base_hz": 100.0,
        "member_discovery": scaled(BASE.member_discovery, 0.3),
    }
)
"""A system that is unlike the shipped profile in every part that the calibration measures."""


def driven(name: str, profile: Profile = TRUE) -> RunData:
    run = simulate(make_plan(scenario(name).scenario, SEEDS[name]), profile)
    return dataclasses.replace(run, engine="driven")


@pytest.fixture(scope="module")
def fitted() -> Profile:
    return fit_fully({name: driven(name) for name in SEEDS}, BASE)


def test_the_fit_finds_the_system_that_was_measured(fitted: Profile):
    """Each part within a tenth of what it is, at most a fifth where a client sees it only through others."""
    both = {
        name: (getattr(fitted, name).median_us, getattr(TRUE, name).median_us) for name in ("produce_leader", "commit")
    }
    answer = fitted.produce.median_us + fitted.acknowledge.median_us
    fetch = fitted.fetch.median_us - fitted.acknowledge.median_us

    assert answer == pytest.approx(TRUE.produce.median_us + TRUE.acknowledge.median_us, rel=0.15)
    assert fetch == pytest.approx(TRUE.fetch.median_us - TRUE.acknowledge.median_us, abs=150)
    assert both["produce_leader"][0] == pytest.approx(both["produce_leader"][1], rel=0.2)
    assert both["commit"][0] == pytest.approx(both["commit"][1], rel=0.2)


def test_the_profile_says_how_well_it_predicts_a_run_that_it_was_not_fitted_to(fitted: Profile):
    """Median within 5 %, p95 within 10 %, p99 within 15 %; and a wrong profile is told by the same errors."""
    errors = {name: abs(float(fitted.measured_on[f"held_back_error_{name}"])) for name in ("p50", "p95", "p99")}
    wrong = held_back(driven("held back"), fitted.model_copy(update={"produce": scaled(fitted.produce, 2.0)}))

    assert errors["p50"] < 0.05
    assert errors["p95"] < 0.10
    assert errors["p99"] < 0.15
    assert float(wrong["held_back_error_p50"]) > 0.1


def test_a_profile_is_no_surer_than_its_brokers_stayed_the_same(fitted: Profile):
    """0.12, where the run that was held back is as predicted; of brokers that have become slower by half, as far as its answers lie off."""
    slower = driven("held back", TRUE.model_copy(update={"produce": scaled(TRUE.produce, 1.5)}))
    drift = drift_of(slower, fitted)
    unsure = as_sure_as(drift, fitted)

    assert fitted.produce.scale_sd == fitted.fetch.scale_sd == pytest.approx(0.12, abs=0.03)
    assert drift > 0.25
    assert unsure.produce.scale_sd == unsure.fetch.scale_sd == pytest.approx(drift, abs=1e-4)
    assert as_sure_as(0.01, unsure) == unsure


def test_what_a_request_takes_longer_for_its_size_is_found():
    """60 us for each KiB, of requests from some 100 B to many KiB; where size costs nothing, nothing is found."""
    steps = [_Step(11_000_000_000, 22_000_000_000), _Step(23_000_000_000, 34_000_000_000)]

    assert size_cost(of_topic(driven("steady"), "steady"), steps) == pytest.approx(60.0, rel=0.5)
    assert size_cost(of_topic(driven("steady", BASE), "steady"), steps) == 0.0


def test_load_is_a_line_through_the_steps_that_the_brokers_bear():
    """Answers of 1.0, 1.2 and 1.4 ms at 100, 200 and 300 requests/s; at 900 it took 9 ms, which is beyond them."""
    slope, base_hz, about = load_of([(100, 1.0e6), (200, 1.2e6), (300, 1.4e6)], [(900, 9.0e6)])

    assert (slope, base_hz) == (pytest.approx(0.2 / 1.2, abs=1e-4), 200.0)
    assert about == {"saturated_requests_hz": 900.0}


def test_load_without_saturation_says_nothing_of_it():
    """Two calm steps."""
    assert load_of([(100, 1.0e6), (300, 1.0e6), (800, 1.0e6)], [(1500, 2.0e6)]) == (0.0, 300.0, {})


def test_load_is_relative_to_the_middle_rate():
    """1.0, 1.2 and 2.0 ms at 100, 200 and 600 requests/s: 0.2 ms for each hundred, which is a sixth of what the middle one takes."""
    assert load_of([(100, 1.0e6), (200, 1.2e6), (600, 2.0e6)]) == (pytest.approx(0.2 / 1.2, abs=1e-4), 200.0, {})


def test_load_counts_all_requests_of_the_middle_rate(fitted: Profile):
    """Those with acks=1 too, a sixth of them: brokers serve both, and a scenario's load counts all of its own."""
    plan = make_plan(scenario("steady").scenario, SEEDS["steady"])
    safe_hz, leader_hz = requests_by_producer(plan, 23_000_000_000, 34_000_000_000)

    assert leader_hz > 0.15 * safe_hz
    assert fitted.load_base_hz == pytest.approx(safe_hz + leader_hz, rel=0.05)


def test_crashes_tell_how_long_clients_look_for_new_leaders():
    """Members of the system find them in a third of the base's time; with the base's samples in the pool, in less than that."""
    found = failover(driven("failing"), BASE)

    assert found["member_discovery"].median_us < 0.75 * BASE.member_discovery.median_us
    assert 10 < found["discovery"].samples <= 12
    assert {
        "election",
        "discovery",
        "member_discovery",
        "early_followers",
        "parked_followers",
        "takeover",
        "catch_up",
        "rejoin",
    } == found.keys()


def test_a_members_crash_tells_how_long_a_group_takes_from_having_all_back_to_new_assignments():
    """Two rebalances of 4 and 8 ms (the median member's); not the one before time 0, nor what another group or a later rebalance brings."""
    build = Build({"groups": {"work": {"members": 3}, "other": {"topics": ["orders"], "work": "1ms"}}}, end=40.0)
    build.incident(-1.0, "rebalance", "work", "rebalance end: generation 1")
    build.incident(10.0, "rebalance", "work", "rebalance begin: Stable")
    build.incident(12.0, "rebalance", "work", "rebalance end: generation 2")
    build.incident(12.001, "assignment", "other/1", "orders/0")
    for number, at in ((1, 12.003), (2, 12.005), (1, 12.9)):
        build.incident(at, "assignment", f"work/{number}", "orders/0")
    build.incident(20.0, "rebalance", "work", "rebalance end: generation 3")
    for number, at in ((1, 20.007), (2, 20.008), (3, 20.03)):
        build.incident(at, "assignment", f"work/{number}", "orders/0")
    build.incident(30.0, "rebalance", "work", "rebalance end: generation 4")
    build.incident(30.5, "rebalance", "work", "rebalance begin: Stable")
    build.incident(30.6, "assignment", "work/1", "orders/0")

    assert rejoins(build.run()) == [4_000_000, 8_000_000]
    assert driven("failing").plan.scenario.faults[1].fault == "member_crash"


def test_where_no_rebalance_was_measured_it_takes_as_long_as_a_commit():
    slow = Measured(quantiles_us=(70_000.0,) * len(KNOTS))

    assert BASE.rejoining == BASE.commit
    assert BASE.model_copy(update={"rejoin": slow}).rejoining == slow
    assert failover(driven("failing"), BASE)["rejoin"] == NOTHING, (
        "the simulator's incidents do not tell when all were back"
    )


def test_crashes_tell_when_leaders_that_stay_answer_again():
    """Two crashes of a system that takes 200 ms, and of one that answers at once; the base knows nothing."""
    slow = TRUE.model_copy(update={"takeover": Measured(quantiles_us=(200_000.0,) * len(KNOTS))})
    found = failover(driven("failing", slow), BASE.model_copy(update={"takeover": NOTHING}))
    at_once = failover(
        driven("failing", TRUE.model_copy(update={"takeover": NOTHING})), BASE.model_copy(update={"takeover": NOTHING})
    )

    assert found["takeover"].median_us == pytest.approx(200_000, abs=15_000)
    assert at_once["takeover"].median_us < 15_000


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["never", "always"])
@pytest.mark.parametrize(("kind", "other"), [("early", "parked"), ("parked", "early")])
def test_crashes_tell_of_followers_that_came_late(kind: str, other: str, share: float):
    """Three new leaders beside ten of the base with 0.5; a second (or half of one) for followers is no discovery, nor the other kind."""
    base = BASE.model_copy(update={f"{kind}_followers": 0.5, f"{other}_followers": 0.0})
    true = TRUE.model_copy(update={f"{kind}_followers": share, f"{other}_followers": 0.0})

    found = failover(driven("failing", true), base)

    assert found[f"{kind}_followers"] == round((5 + 3 * share) / 13, 3)
    assert found[f"{other}_followers"] == 0.0
    assert found["discovery"].quantile_ns(np.asarray([1.0]))[0] < 300_000_000  # type: ignore[union-attr]  # a distribution


def test_new_samples_join_those_of_the_base():
    """The base's ten count as ten; three new ones beside them."""
    base = Measured(quantiles_us=(1000.0,) * len(KNOTS), samples=40)

    together = pooled(base, [5_000_000] * 10)

    assert together.samples == 20
    assert together.quantile_ns(np.asarray([0.2, 0.8])).tolist() == [1_000_000, 5_000_000]
    assert pooled(base, []) is base


def test_a_calibrations_plans_are_its_own():
    """Topics and seeds that no scenario shares; together some three and a half minutes."""
    loaded = {name: scenario(name).scenario for name in SEEDS}

    assert sum(one.duration for one in loaded.values()) / 1e9 == 203
    assert len(set(SEEDS.values())) == len(SEEDS)
    assert not {"orders", "calibration"} & {topic for one in loaded.values() for topic in one.topics}


def test_a_calibration_on_a_busy_host_says_that_it_is_doubtful(fitted: Profile):
    """What made a run say nothing stands in the profile; the rising run may drive brokers and driver to their limits."""
    runs = {name: driven(name) for name in SEEDS}
    busy = {"invalid": ["the host stood still for 2.5 s"]}
    runs["held back"] = dataclasses.replace(runs["held back"], about=busy)

    assert fit_fully(runs, BASE).measured_on["doubtful"] == "the host stood still for 2.5 s"
    assert "doubtful" not in fitted.measured_on


SHARED = SharedCores(count=2, taken=1.0, request_us=220.0)


def sharing(name: str, profile: Profile) -> RunData:
    """Return a run of a system that shares cores, with what its processes take of them."""
    run, gauges = driven(name, profile), list[Gauge]()
    for second in range(1, run.plan.scenario.duration // SECOND):
        around = ((second - 1) * SECOND, (second + 1) * SECOND)
        brokers = 0.4 + profile.cores.request_us / 1e6 * served_hz(run.plan, around, profile)
        gauges += [Gauge(second * SECOND, "cpu_share", f"broker {number}", brokers / 3) for number in (1, 2, 3)]
        gauges.append(Gauge(second * SECOND, "cpu_share", "source/1", 0.6))
    return dataclasses.replace(run, gauges=tuple(gauges))


def test_that_answers_slow_from_rate_to_rate_is_no_drift():
    """At 800 events/s brokers answer twice as late as at 300: no window of the middle rate reaches into that."""
    crowded = SharedCores(count=2, taken=1.05, request_us=385.0)
    run = driven("steady", TRUE.model_copy(update={"load_slope": 0.0, "cores": crowded}))

    assert _scale_sd(run) == LEAST_SCALE_SD


def stalled(run: RunData, begin_s: int, by_ms: int) -> RunData:
    """Return a run in which brokers do not keep up from an instant on: each answer to what is sent later comes so much later."""
    rows = run.operations.copy()
    late = (rows["kind"] == Kind.send) & (rows["started_ns"] >= begin_s * SECOND)
    rows["ended_ns"][late] += by_ms * 1_000_000
    return dataclasses.replace(run, operations=rows)


def test_a_rate_that_brokers_do_not_bear_tells_nothing_of_cores(monkeypatch: pytest.MonkeyPatch):
    """Where 800 events/s are more than two cores can do, what is taken of them is told by 300/s, and no more unsure.

    By the backlog's answers all that may be taken would be.
    """
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    run = sharing("steady", TRUE.model_copy(update={"load_slope": 0.0, "cores": SHARED}))
    beyond = stalled(run, _STEADY_STEPS[2].begin_ns // SECOND, 60)
    own, beyond_own = (of_topic(each, "steady") for each in (run, beyond))
    found, _ = fit_steady(beyond, None, BASE)
    blamed = with_cores_taken(beyond, beyond_own, found, _STEADY_STEPS[2])

    assert borne_steps(own) == _STEADY_STEPS
    assert borne_steps(beyond_own) == _STEADY_STEPS[:2]
    unanswered = own.operations[own.operations["started_ns"] < _STEADY_STEPS[2].begin_ns]
    assert borne_steps(dataclasses.replace(own, operations=unanswered)) == _STEADY_STEPS[:2]
    assert found.cores.taken == pytest.approx(SHARED.taken, abs=0.12)
    assert blamed.cores.taken == pytest.approx(1.2)
    assert found.produce.scale_sd == LEAST_SCALE_SD
    assert found.load_slope < 0.02


def test_answers_that_wait_for_cores_are_not_taken_for_slower_brokers(monkeypatch: pytest.MonkeyPatch):
    """A system whose answers slow for nothing but the wait: its cores are found, and a slope of next to nothing beside them.

    A profile without cores takes the wait for slower answers.
    """
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    true = TRUE.model_copy(update={"load_slope": 0.0, "cores": SHARED})
    found, _ = fit_steady(sharing("steady", true), None, BASE)
    blind, _ = fit_steady(driven("steady", true), None, BASE)

    assert found.cores.count == 2
    assert found.cores.taken == pytest.approx(SHARED.taken, abs=0.05)
    assert found.cores.request_us == pytest.approx(SHARED.request_us, rel=0.05)
    assert found.cores.event_us == 0
    assert found.load_slope < blind.load_slope / 3
    assert blind.load_slope > 0.02
    assert blind.cores == NO_CORES


def test_where_cores_explain_the_load_the_lowest_rate_is_shown_as_it_came_too(monkeypatch: pytest.MonkeyPatch):
    """Where they do not, the times are those of the middle rate, to which the slope is relative."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    true = TRUE.model_copy(update={"load_slope": 0.0, "cores": SHARED})
    run = sharing("steady", true)
    found, _ = fit_steady(run, None, BASE)
    again = simulate(run.plan, found)

    (low, middle), (alone,) = _calm_stretches(found), _calm_stretches(found.model_copy(update={"cores": NO_CORES}))
    assert alone == middle
    for stretch in (low, middle):
        seen, shown = (np.quantile(answers(each, *stretch), (0.5, 0.9)) for each in (run, again))
        assert shown == pytest.approx(seen, rel=0.05)


LATE = Measured(quantiles_us=tuple(np.where(np.asarray(KNOTS) < 0.8, 500.0, 500.0 + 6_000 * (np.asarray(KNOTS) - 0.8))))
"""A tenth of the answers is heard more than 0.6 ms late, of which members do not know."""


def test_producers_that_hear_late_delay_nobody_else() -> None:
    """Members are as far ahead of the late ones in the fitted system as in the true one; with one way back for all answers, they would not be."""
    true = TRUE.model_copy(update={"acknowledge": LATE})
    steady = driven("steady", true)
    found, _ = fit_steady(steady, None, BASE)
    always = found.model_copy(update={"acknowledge": constant(500_000)})

    def ahead_us(profile: Profile) -> float:
        run = of_topic(simulate(steady.plan, profile), "steady")
        return -float(np.quantile(residuals(run, *_calm_stretches(profile)[-1]).delivery, 0.05)) / 1e3

    assert ahead_us(true) > 900
    assert ahead_us(found) == pytest.approx(ahead_us(true), rel=0.1)
    assert ahead_us(always) < 600
    assert found.acknowledge.median_us == pytest.approx(500, rel=0.1)


def test_a_single_partition_has_a_way_back_of_its_own(fitted: Profile) -> None:
    """Producers hear late where several lead, and not where one does."""
    late = fitted.model_copy(update={"acknowledge": LATE})
    own = with_one_leader(driven("one leader", TRUE), late).where_one_leads().acknowledge

    assert own.quantiles_us[-2] == pytest.approx(own.median_us, rel=0.1)
    assert own.median_us == LATE.median_us


def test_a_single_partition_tells_what_one_leader_takes(fitted: Profile):
    """Half of the requests' times and of the leader's, and a quarter more of the fetches' than where several lead; the times of several stay."""
    own = OneLeader(
        produce=scaled(TRUE.produce, 0.5),
        produce_leader=scaled(TRUE.produce_leader, 0.5),
        fetch=scaled(TRUE.fetch, 1.25),
    )
    true = TRUE.model_copy(update={"one_leader": own})
    found = with_one_leader(driven("one leader", true), fitted)
    shown = found.where_one_leads()

    assert found.model_copy(update={"one_leader": None}) == fitted.model_copy(update={"one_leader": None})
    assert shown.produce.median_us + shown.acknowledge.median_us == pytest.approx(
        own.produce.median_us + TRUE.acknowledge.median_us, rel=0.1
    )
    assert shown.produce_leader.median_us + shown.acknowledge.median_us == pytest.approx(
        own.produce_leader.median_us + TRUE.acknowledge.median_us, rel=0.1
    )
    assert shown.fetch.median_us - shown.acknowledge.median_us == pytest.approx(
        own.fetch.median_us - TRUE.acknowledge.median_us, abs=150
    )


def test_one_leader_is_as_unsure_as_several(fitted: Profile):
    unsure = as_sure_as(0.4, fitted)

    assert fitted.one_leader is not None
    assert unsure.one_leader is not None
    assert unsure.one_leader.produce.scale_sd == unsure.one_leader.fetch.scale_sd == unsure.produce.scale_sd == 0.4


def test_where_there_is_one_broker_no_single_partition_is_driven():
    """All runs tell of one leader there."""
    assert "one leader" in names_on(Ground())
    assert "one leader" not in names_on(Ground(nodes=1))
