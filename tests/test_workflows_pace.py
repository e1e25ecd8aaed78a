"""How fast brokers work: their CPU time against what they are asked."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from eventdrill.workflows.calibrate import shipped_base
from eventdrill.workflows.doubts import doubt
from eventdrill.workflows.pace import CPU_SD, asked_hz, broker_drift, calm, cores_of, line_of, served_hz
from rundata.tables import Gauge, RunData
from runs import Build, ns, scenario_with
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL, KNOTS, NO_CORES, Measured, Profile

STEPS = [(ns(5), ns(15)), (ns(15), ns(25))]
STEADY: Mapping[str, Any] = {
    "duration": "25s",
    "warm_up": "5s",
    "topics": {"orders": {"partitions": 2, "replication": 3}},
    "producers": {"shop": {"arrivals": [{"for": "15s", "rate": "10/s"}, {"for": "10s", "rate": "40/s"}], "settings": {"linger.ms": 0}}},
}  # fmt: skip


def working(*cores: float, changes: Mapping[str, Any] = STEADY, brokers: int = 3) -> RunData:
    """A run of 25 s whose brokers together take these cores: until 15 s, and after it."""
    plan = make_plan(scenario_with(changes), 1)
    taken = [Gauge(ns(at), "cpu_share", f"broker {number}", cores[at > 15] / 3) for at in range(1, 26) for number in range(1, brokers + 1)]  # fmt: skip
    others = [Gauge(ns(at), "cpu_share", "shop/1", 0.9) for at in range(1, 26)]
    return dataclasses.replace(Build().run(engine="driven"), plan=plan, gauges=(*taken, *others))


def test_a_request_is_served_once_to_its_producer_each_follower_and_each_group():
    """40 events/s without linger, replication 3, one group: 40 produce requests, 80 fetches of followers, 40 of the group."""
    plan = working(0.2, 0.4).plan
    events = int(((plan.intended_ns >= ns(15)) & (plan.intended_ns < ns(25))).sum())

    assert asked_hz(plan, (ns(15), ns(25))) == pytest.approx(events / 10 * 4)


def test_what_brokers_take_is_a_straight_line_through_two_rates():
    """0.1 cores idle, 2 ms a request."""
    plan = working(0, 0).plan
    rates_hz = [asked_hz(plan, step) for step in STEPS]
    line = line_of(working(*[0.1 + 0.002 * rate_hz for rate_hz in rates_hz]), STEPS)

    assert line == {
        "broker_idle_cores": pytest.approx(0.1),
        "broker_us_per_request": pytest.approx(2000),
        "broker_requests_hz": pytest.approx(sum(rates_hz) / 2, abs=0.1),
    }


@pytest.mark.parametrize(
    "run",
    [working(0.4, 0.2), working(0.2, 4.0), working(0.2, 0.4, brokers=2)],
    ids=["falls with the load", "would be negative at rest", "a broker was not seen"],
)
def test_a_line_that_cannot_be_is_not_told(run: RunData):
    """Then no later run is held against it."""
    assert line_of(run, STEPS) == {}


def profile_of(run: RunData) -> Profile:
    base = shipped_base()
    return base.model_copy(update={"measured_on": {"date": "today", **line_of(run, STEPS)}})


def test_brokers_that_take_more_for_the_same_are_noticed():
    """A fifth more in all."""
    profile = profile_of(working(0.2, 0.4))
    slower = working(0.24, 0.48)

    assert broker_drift(slower, profile) == pytest.approx(0.2, abs=0.001)
    assert broker_drift(working(0.2, 0.4), profile) == pytest.approx(0.0, abs=0.001)
    assert (
        doubt(slower, profile)
        == "the brokers took 20% more CPU time for what they were asked than when the profile was measured"
    )
    assert (
        doubt(working(0.16, 0.32), profile)
        == "the brokers took 20% less CPU time for what they were asked than when the profile was measured"
    )
    assert doubt(working(0.21, 0.42), profile) is None


def test_a_load_far_from_what_was_measured_tells_nothing():
    """Ten times the rate; and a profile without such figures."""
    ten_times = json.loads(json.dumps(STEADY).replace("10/s", "100/s").replace("40/s", "400/s"))

    assert broker_drift(working(4.0, 6.0, changes=ten_times), profile_of(working(0.2, 0.4))) is None
    assert broker_drift(working(0.2, 0.4), shipped_base()) is None


def test_only_what_lies_apart_from_faults_counts():
    """15 s after an end brokers have caught up; 4 s are too few to tell."""
    plan = make_plan(
        scenario_with(
            {
                "duration": "60s",
                "warm_up": "5s",
                "faults": [
                    {"fault": "broker_crash", "broker": 1, "at": "15s", "for": "5s"},
                    {"fault": "broker_pause", "broker": 2, "at": "30s", "for": "1s"},
                ],
                "actions": [{"action": "scale", "group": "work", "to": 1, "at": "40s"}],
            }
        ),
        1,
    )

    assert calm(plan) == [(ns(5), ns(15)), (ns(55), ns(60))]


PROFILE = shipped_base()


def sharing(brokers: tuple[float, float], clients: tuple[float, float]) -> RunData:
    """A run whose brokers and whose producer take these cores in all: until 15 s, and after it."""
    run = working(*brokers)
    kept = [each for each in run.gauges if each.where != "shop/1"]
    own = [Gauge(ns(at), "cpu_share", "shop/1", clients[at > 15]) for at in range(1, 26)]
    host = [Gauge(ns(at), "cpu_share", "host", 0.99) for at in range(1, 26)]
    return dataclasses.replace(run, gauges=(*kept, *own, *host))


def test_what_brokers_take_of_shared_cores_is_a_line_and_what_clients_take_is_gone() -> None:
    """Brokers 0.1 cores and 2 ms a request; clients 0.2 and 0.4 cores, so 0.3 in the mean."""
    plan = working(0, 0).plan
    requests_hz = [served_hz(plan, step, PROFILE) for step in STEPS]
    brokers = [0.1 + 0.002 * hz for hz in requests_hz]
    run = sharing((brokers[0], brokers[1]), (0.2, 0.4))

    assert cores_of(run, STEPS, PROFILE, 2).model_dump() == {
        "count": 2,
        "taken": pytest.approx(0.4, abs=0.001),
        "request_us": pytest.approx(2000, abs=0.1),
        "event_us": 0.0,
        "scale_sd": CPU_SD,
    }
    assert cores_of(run, STEPS, PROFILE, 2, 0.1).scale_sd == 0.1


@pytest.mark.parametrize(
    ("run", "count"),
    [
        (sharing((0.4, 0.2), (0.1, 0.2)), 2),
        (sharing((0.9, 1.2), (0.5, 0.6)), 1),
        (working(0.2, 0.4, brokers=2), 2),
    ],
    ids=["brokers take less with load", "there are not so many cores", "a broker was not seen"],
)
def test_where_lines_cannot_be_nobody_waits_for_cores(run: RunData, count: int) -> None:
    assert cores_of(run, STEPS, PROFILE, count) == NO_CORES


def test_what_comes_while_a_fetch_is_under_way_goes_with_the_next_one() -> None:
    """Two partitions, led by two brokers, of one member: with fetches that take no time each request is fetched by two followers and the member.

    With fetches of 100 ms there are no more than ten a second by each follower and the member, at each of the two brokers.
    """
    plan, step = working(0, 0).plan, STEPS[1]
    slow = Measured(quantiles_us=(100_000.0,) * len(KNOTS))
    slowly = IDEAL.model_copy(update={"produce": slow, "fetch": slow})
    crowded = make_plan(scenario_with({**STEADY, "producers": {"shop": {"arrivals": "1000/s", "settings": {"linger.ms": 0}}}}), 1)  # fmt: skip

    assert served_hz(plan, step, IDEAL) == pytest.approx(asked_hz(plan, step))
    assert served_hz(plan, step, slowly) < served_hz(plan, step, IDEAL)
    assert served_hz(crowded, step, slowly) == pytest.approx(1000 + 2 * (2 * 10 + 10), rel=0.02)
