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
def test_a_request_waits_for_the_core_that_others_their_followers_and_answers_to_members_hold(run: Run) -> None:
    """30 ms a request and 10 ms an event, so 100 with two followers: from 55 ms on, and from 155 to 195 the answer to a member, which itself waits for
    nobody. Then the request of 155 ms begins."""
    data = run(sharing(count=1, request_us=30_000, event_us=10_000), duration="200ms")

    assert ms(data, Kind.send) == [55.0, 195.0]
    assert ms(data, Kind.delivery) == [55.0, 195.0]


@in_both_models
def test_with_a_second_core_nobody_waits(run: Run) -> None:
    data = run(sharing(count=2, request_us=30_000, event_us=10_000), duration="200ms")

    assert ms(data, Kind.send) == [55.0, 155.0]


@in_both_models
def test_what_is_taken_at_rest_makes_everything_take_longer(run: Run) -> None:
    """Half of the core is taken, so that 70 ms of work hold it for 140."""
    data = run(sharing(count=1, taken=0.5, request_us=15_000, event_us=5_000), duration="200ms")

    assert ms(data, Kind.send) == [55.0, 195.0]


@in_both_models
def test_requests_wait_in_the_order_in_which_their_service_begins(run: Run) -> None:
    """40 ms a request, so 120 with its followers: at 55 ms the first begins, at 175 the member's answer has the core, at 215 the request of 155 ms."""
    data = run(sharing(count=1, request_us=40_000), duration="200ms")

    assert ms(data, Kind.send) == [55.0, 215.0]
    assert ms(data, Kind.delivery) == [55.0, 215.0]


def _producers(*lingers_ms: int, **settings: Any) -> dict[str, Any]:
    """Return producers of one event each 100 ms, at the same instants, whose requests go one after another."""
    return {
        f"p{linger_ms}": {
            "topic": "a",
            "arrivals": {"rate": "10/s", "spacing": "even"},
            "share": "arrivals",
            "settings": {"linger.ms": linger_ms, **settings},
        }
        for linger_ms in lingers_ms
    }


@in_both_models
def test_followers_fetch_together_what_comes_while_their_fetch_is_under_way(run: Run) -> None:
    """Requests at 55, 56, 57 and 58 ms, whose followers take 3 ms: a fetch from 55 to 58, and one from 58 on for all others.

    10 ms each: the core is held until 85, until 115 and, since the third one's followers cost nothing more, until 125.
    """
    profile = sharing(
        Profile(profile="p", produce=constant(4), produce_leader=constant(1), phases="aligned"),
        count=1,
        request_us=10_000,
    )
    data = run(profile, duration="100ms", producers=_producers(5, 6, 7, 8))

    assert ms(data, Kind.send) == [59.0, 89.0, 119.0, 129.0]
    assert ms(data, Kind.delivery) == [59.0, 89.0, 119.0, 129.0]


@in_both_models
def test_the_leader_waits_for_its_share_and_followers_for_the_rest(run: Run) -> None:
    """The request of 56 ms waits 29 ms for the one of 55 ms; its leader has a quarter of its time, so it answers after 1 + 29 / 4 ms."""
    profile = sharing(
        Profile(profile="p", produce=constant(4), produce_leader=constant(1), phases="aligned"),
        count=1,
        request_us=10_000,
    )
    producers = _producers(5, 6, acks=1, **{"enable.idempotence": False})
    data = run(profile, duration="100ms", producers=producers)

    assert ms(data, Kind.send) == [56.0, 64.25]
    assert ms(data, Kind.delivery) == [59.0, 89.0]


@in_both_models
def test_what_takes_longer_by_itself_holds_a_core_for_longer(run: Run) -> None:
    """Requests take 2 to 6 ms; the core is held for three times as long each, since the work of one is 12 ms and its time 4 ms in the mean.

    So a request that comes 1 ms later waits three times what the one before takes, less that ms.
    """
    knots = (2000.0,) * 9 + (6000.0,) * 9
    takes = Measured(quantiles_us=knots)
    plain = Profile(profile="p", produce=takes, phases="aligned")
    producers = _producers(5, 6)
    producers["p6"]["topic"] = "b"
    alone, both = (
        run(profile, producers=producers, topics__b={"partitions": 1, "replication": 3})
        for profile in (plain, sharing(plain, count=1, request_us=takes.mean_us))
    )

    first_ms = [sent - (55.0 + 100 * n) for n, sent in enumerate(ms(both, Kind.send, process=0))]
    waits_ms = [
        held - sent for held, sent in zip(ms(both, Kind.send, process=1), ms(alone, Kind.send, process=1), strict=True)
    ]
    assert min(first_ms) == 2.0
    assert max(first_ms) > 4.0
    assert waits_ms == pytest.approx([3 * each - 1 for each in first_ms], abs=1e-4)


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
