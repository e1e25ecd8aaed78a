"""Cores that brokers and clients of one machine share: by hand in both models, against queueing theory, and what arrays leave to the kernel."""

from typing import Any

import numpy as np
import pytest

from both_models import Run, in_both_models
from by_hand import by_hand, constant, ms
from rundata.indicators import measure
from rundata.rows import Kind
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL, Measured, Profile, SharedCores
from scenarios.quantities import MILLISECOND
from sim.engine import simulate
from sim.experiments import replicate
from sim.stretches.flow import flow, flows


def sharing(base: Profile = IDEAL, **cores: Any) -> Profile:
    """Return a profile whose brokers and clients share cores."""
    return base.model_copy(update={"cores": SharedCores(**cores)})


@in_both_models
def test_an_answer_waits_for_the_core_that_its_request_and_the_followers_of_it_hold(run: Run) -> None:
    """1 ms for the producer's request and for each of two followers' fetches, 0.5 ms for the event: the member's fetch waits 3.5 ms."""
    data = run(sharing(count=1, request_us=1000, event_us=500))

    assert ms(data, Kind.send) == [55.0 + 100 * n for n in range(10)]
    assert ms(data, Kind.delivery) == [58.5 + 100 * n for n in range(10)]


@in_both_models
def test_with_a_second_core_nobody_waits(run: Run) -> None:
    data = run(sharing(count=2, request_us=1000, event_us=500))

    assert ms(data, Kind.delivery) == [55.0 + 100 * n for n in range(10)]


@in_both_models
def test_what_is_taken_at_rest_makes_everything_take_longer(run: Run) -> None:
    """Half of the core is taken, so that 3.5 ms of work hold it for 7."""
    data = run(sharing(count=1, taken=0.5, request_us=1000, event_us=500))

    assert ms(data, Kind.delivery) == [62.0 + 100 * n for n in range(10)]


@in_both_models
def test_requests_wait_in_the_order_in_which_their_service_begins(run: Run) -> None:
    """40 ms a request, so 120 with its followers: at 55 ms the first begins, at 175 the member's fetch, at 215 the request of 155 ms."""
    data = run(sharing(count=1, request_us=40_000), duration="200ms")

    assert ms(data, Kind.send) == [55.0, 215.0]
    assert ms(data, Kind.delivery) == [175.0, 335.0]


@in_both_models
def test_followers_fetch_together_what_comes_while_their_fetch_is_under_way(run: Run) -> None:
    """Requests at 55, 56 and 57 ms, whose followers take 3 ms: a fetch from 55 to 58, and one from 58 on for both of the others.

    10 ms each: the core is held until 85, until 115 and, since the third one's followers cost nothing more, until 125. There the member's
    fetch of 59 ms begins; the next one, of 125 ms, waits for it.
    """
    producers = {
        name: {
            "topic": "a",
            "arrivals": {"rate": "10/s", "spacing": "even"},
            "share": "arrivals",
            "settings": {"linger.ms": linger},
        }
        for name, linger in (("p", 5), ("q", 6), ("r", 7))
    }
    profile = sharing(
        Profile(profile="p", produce=constant(4), produce_leader=constant(1), phases="aligned"),
        count=1,
        request_us=10_000,
    )
    data = run(profile, duration="100ms", producers=producers)

    assert ms(data, Kind.send) == [59.0, 89.0, 119.0]
    assert ms(data, Kind.delivery) == [125.0, 135.0, 135.0]


@in_both_models
def test_what_takes_longer_by_itself_holds_a_core_for_longer(run: Run) -> None:
    """Requests take 2 to 6 ms; the core is held for three times as long each, since the work of one is 12 ms and its time 4 ms in the mean."""
    knots = (2000.0,) * 9 + (6000.0,) * 9
    takes = Measured(quantiles_us=knots)
    profile = sharing(Profile(profile="p", produce=takes, phases="aligned"), count=1, request_us=takes.mean_us)
    data = run(profile)

    took_ms = [sent - (55.0 + 100 * n) for n, sent in enumerate(ms(data, Kind.send))]
    free_ms = [delivered - (55.0 + 100 * n) for n, delivered in enumerate(ms(data, Kind.delivery))]
    assert min(took_ms) == 2.0
    assert max(took_ms) == 6.0
    assert free_ms == pytest.approx([3 * each for each in took_ms], abs=1e-4)


def test_without_cores_nothing_is_as_with_a_core_that_nothing_takes() -> None:
    """However many requests there are, work of no length holds nobody up."""
    plan = make_plan(by_hand(duration="3s", producers__p__arrivals="300/s"))

    without, idle = simulate(plan, IDEAL), simulate(plan, sharing(count=1))

    assert np.array_equal(without.operations, idle.operations)


# ---- theory ----------------------------------------------------------------------------------------------------------

WORK_MS, CORES, LOAD = 2.0, 2, 0.8
REPLICATIONS, FIRST_EVENTS = 10, 500
T_99_9 = 4.781
"""Student's t for a two-sided 99.9 % interval with 9 degrees of freedom."""


def mean_wait_ms() -> float:
    """Return the mean wait of M/D/c, by Crommelin: whoever is there a service time later was not among the first c now, or came since."""
    most = 400
    numbers = np.arange(most)
    arrivals = np.exp(numbers * np.log(LOAD * CORES) - LOAD * CORES - np.cumsum(np.log(np.maximum(numbers, 1))))
    there = np.zeros(most)
    there[0] = 1.0
    for _ in range(2000):
        left = np.concatenate([[there[: CORES + 1].sum()], there[CORES + 1 :], np.zeros(CORES)])
        there = np.convolve(left, arrivals)[:most]
    waiting = float((there * np.maximum(numbers - CORES, 0)).sum())
    return waiting / (LOAD * CORES / WORK_MS)


def test_the_mean_wait_for_two_cores_is_that_of_theory() -> None:
    """Poisson requests of one record without followers, each of which holds a core for 2 ms; nobody reads them."""
    producer = {
        "topic": "a",
        "share": "arrivals",
        "arrivals": f"{LOAD * CORES / WORK_MS * 1000:g}/s",
        "settings": {"linger.ms": 0, "acks": 1, "enable.idempotence": False},
    }
    once = {"topic": "b", "share": "arrivals", "arrivals": {"rate": "1/s", "spacing": "even"}}
    scenario = by_hand(
        duration="30s",
        topics={"a": {"partitions": 12, "replication": 1}, "b": {"partitions": 1, "replication": 1}},
        producers={"p": producer, "q": once},
        groups__g__topics=["b"],
    )
    profile = sharing(count=CORES, request_us=1000 * WORK_MS)
    waits = []
    for replication in range(REPLICATIONS):
        plan = make_plan(scenario, 11, replication)
        rows = simulate(plan, profile, chance=replication).operations
        sends = rows[(rows["kind"] == Kind.send) & (rows["topic"] == 0) & (rows["event_id"] >= FIRST_EVENTS)]
        waits.append(float((sends["ended_ns"] - plan.intended_ns[sends["event_id"]]).mean()) / MILLISECOND)

    half_width = T_99_9 * np.std(waits, ddof=1) / np.sqrt(REPLICATIONS)
    assert mean_wait_ms() == pytest.approx(1.7, abs=0.3)
    assert abs(np.mean(waits) - mean_wait_ms()) < half_width
    assert half_width < 0.15 * mean_wait_ms()


# ---- quiet stretches -------------------------------------------------------------------------------------------------


def test_arrays_leave_to_the_kernel_what_waits_for_cores() -> None:
    """A scenario that flows without them: its further replications have the kernel's figures all the same, which are others."""
    scenario = by_hand(duration="4s", producers__p__arrivals="100/s")
    plan, profile = make_plan(scenario, 3), sharing(count=1, request_us=2000)

    assert flows(scenario)
    assert flow(plan, IDEAL) is not None
    assert flow(plan, profile) is None
    found = replicate(scenario, profile, seed=3, replications=2, same_plan=True, vary_profile=False)
    assert found.measured[1] == measure(simulate(plan, profile, chance=1))
    assert found.measured[1] != measure(simulate(plan, IDEAL, chance=1))
