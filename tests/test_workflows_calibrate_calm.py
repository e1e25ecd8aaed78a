"""What rests of brokers and further events of a request cost, on simulated calm runs of systems whose figures are known."""

import dataclasses

import numpy as np
import pytest

from eventdrill.workflows.calibrate_calm import Requests, costs_of_rests, record_cost, requests_of, with_calm
from eventdrill.workflows.calibrate_fully import SEEDS, scenario
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import NO_REST, Profile, Rest, load_profile
from sim.engine import simulate

TRUE = load_profile("local-kafka")
RESTS = TRUE.model_copy(update={"rest": Rest(broker_us=900, all_us=1_100)})


def driven(profile: Profile) -> RunData:
    run = simulate(make_plan(scenario("calm").scenario, SEEDS["calm"]), profile, chance=1)
    return dataclasses.replace(run, engine="driven")


def some(rest_ms: list[float], took_us: list[float], counts: list[int] | None = None) -> Requests:
    each = np.asarray(rest_ms, np.float64)
    return Requests(
        np.asarray(took_us, np.float64),
        each,
        each / 2,
        np.asarray(counts or [1] * len(each), np.int64),
        np.zeros(len(each)),
        np.zeros(len(each), np.int64),
    )


def test_what_rests_cost_is_found_by_what_the_simulated_run_shows_less() -> None:
    """Both costs together within a fifth, though requests wait for each other in both runs; where rests cost nothing next to nothing is found."""
    found, free = (with_calm(driven(true), TRUE, lambda profile: profile).rest for true in (RESTS, TRUE))

    assert found.broker_us + found.all_us == pytest.approx(2_000, rel=0.2)
    assert free.broker_us + free.all_us < 400
    assert 0 < found.scale_sd < 0.2


def test_the_other_times_are_fitted_anew_with_what_rests_cost() -> None:
    """The last one that is fitted has the costs that are returned."""
    asked: list[Rest] = []

    def again(profile: Profile) -> Profile:
        asked.append(profile.rest)
        return profile

    found = with_calm(driven(RESTS), TRUE, again)

    assert asked[0].broker_us == 0
    assert asked[-1] == found.rest


def test_costs_are_those_of_the_line() -> None:
    """Half after 32 ms, all after 128, of the broker; of all brokers, who rest half as long, by their own rest. The slowest do not count."""
    rest_ms = [float(each) for each in np.linspace(5, 300, 400)]
    took_us = [
        2_000 + 800 * np.interp(each, (8, 32, 128), (0, 0.5, 1)) + 400 * np.interp(each / 2, (8, 32, 128), (0, 0.5, 1))
        for each in rest_ms
    ]
    took_us[10] = took_us[200] = 90_000
    found = costs_of_rests(some(rest_ms, took_us))

    assert found is not None
    assert found[0].tolist() == pytest.approx([800, 400])


def test_few_requests_tell_nothing() -> None:
    """Ninety-nine; the profile then has no rests."""
    few = some([50.0] * 99, [2_000.0] * 99)

    assert costs_of_rests(few) is None
    assert record_cost(few, TRUE) == 0


def test_what_a_further_event_costs_is_told_where_it_is_sure() -> None:
    """150 us each; without a cost nothing is."""
    costly = TRUE.model_copy(update={"produce_us_per_record": 150.0})

    assert record_cost(requests_of(driven(costly)), TRUE) == pytest.approx(150, rel=0.4)
    assert record_cost(requests_of(driven(TRUE)), TRUE) < 60


def test_a_profile_that_knew_rests_forgets_them_where_none_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base's rests are those of another system."""
    monkeypatch.setattr("eventdrill.workflows.calibrate_calm._ENOUGH", 10_000)

    assert with_calm(driven(TRUE), RESTS, lambda profile: profile).rest == NO_REST
