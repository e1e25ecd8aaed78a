"""Brokers that nobody has asked for a while answer later: by hand in both models, and in quiet stretches."""

import numpy as np
import pytest

from both_models import Run, in_both_models
from by_hand import by_hand, constant, ms
from rundata.indicators import measure
from rundata.rows import Kind
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL, NO_REST, Profile, Rest, load_profile, save_profile
from sim.engine import simulate
from sim.experiments import replicate, varied
from sim.stretches.flow import flow

TAKES = Profile(profile="p", produce=constant(2), produce_leader=constant(1), phases="aligned")
RESTS = TAKES.model_copy(update={"rest": Rest(broker_us=1_200, all_us=2_400)})


@in_both_models
def test_a_request_takes_longer_the_longer_its_broker_rested(run: Run) -> None:
    """Events at 50, 150, 250 ms and so on, 5 ms of linger, requests of 2 ms, and before the first one nobody has asked: 3.6 ms longer.

    Half of that after 32 ms, all of it after 128, so 1.8 + 1.8 * 68 / 96 = 3.075 after 100.
    """
    assert ms(run(RESTS), Kind.send) == [60.6, *[160.075 + 100 * n for n in range(9)]]


@in_both_models
def test_under_load_a_broker_does_not_rest(run: Run) -> None:
    """An event every 8 ms: only the first request takes longer, and those that came meanwhile go with the second."""
    every_8_ms = {"rate": "125/s", "spacing": "even"}
    data = run(RESTS, duration="40ms", producers__p__arrivals=every_8_ms, producers__p__settings={"linger.ms": 0})

    assert ms(data, Kind.send) == [9.6, 14.0, 22.0, 30.0, 38.0]


@in_both_models
def test_a_rest_between_two_points_costs_what_the_line_says(run: Run) -> None:
    """20 ms are half of the way from 8 to 32: a quarter, 0.9 ms, of which the leader's half is in the answer with acks=1."""
    every_20_ms = {"rate": "50/s", "spacing": "even"}
    by_acks = {}
    for acks in ("all", 1):
        settings = {"linger.ms": 0, "acks": acks, "enable.idempotence": acks == "all"}
        by_acks[acks] = run(RESTS, duration="60ms", producers__p__arrivals=every_20_ms, producers__p__settings=settings)

    assert ms(by_acks["all"], Kind.send) == [15.6, 32.9, 52.9]
    assert ms(by_acks[1], Kind.send) == [12.8, 31.45, 51.45]
    assert ms(by_acks[1], Kind.delivery) == [15.6, 32.9, 52.9]


@in_both_models
def test_a_broker_rests_while_another_is_asked(run: Run) -> None:
    """Two producers, of topics that two brokers lead: each asks every 20 ms, which costs 0.3 ms. Nobody had asked anyone for 16 ms (0.4 ms), or for 4."""
    producers = {
        f"to-{name}": {
            "topic": name, "share": "arrivals", "arrivals": {"rate": "50/s", "spacing": "even"}, "settings": {"linger.ms": linger},
        }
        for name, linger in (("a", 0), ("b", 4))
    }  # fmt: skip
    topics = {name: {"partitions": 1, "replication": 3, "settings": {"min.insync.replicas": 2}} for name in ("a", "b")}
    data = run(RESTS, duration="60ms", topics=topics, producers=producers, groups__g__topics=["a", "b"])
    sends = data.operations[data.operations["kind"] == Kind.send]
    leaders = [next(iter(data.plan.replicas(name)))[0] for name in ("a", "b")]

    assert leaders[0] != leaders[1]
    for topic, expected in enumerate(([15.6, 32.7, 52.7], [17.2, 36.3, 56.3])):
        assert (sends["ended_ns"][sends["topic"] == topic] / 1e6).tolist() == expected


def test_without_a_cost_nothing_changes() -> None:
    plan = make_plan(by_hand(duration="3s", producers__p__arrivals="300/s"))
    unsure = TAKES.model_copy(update={"rest": Rest(scale_sd=0.5)})

    assert np.array_equal(simulate(plan, unsure).operations, simulate(plan, TAKES).operations)
    assert (NO_REST.costs_ns, IDEAL.rest) == ((0, 0), NO_REST)


def test_quiet_stretches_have_the_kernel_s_figures() -> None:
    plan = make_plan(by_hand(duration="4s", producers__p__arrivals="60/s"), 3)
    plain = measure(simulate(plan, TAKES))
    for costs in ({"broker_us": 3_600}, {"all_us": 3_600}):
        profile = TAKES.model_copy(update={"rest": Rest(**costs)})
        found = replicate(plan.scenario, profile, seed=3, replications=2, same_plan=True, vary_profile=False)

        assert flow(plan, profile) is not None
        assert found.measured[1] == measure(simulate(plan, profile, chance=1))
        assert found.measured[1] != plain


def test_how_sure_it_is_widens_what_replications_show() -> None:
    """The scale is drawn for both costs together; the first replication keeps it."""
    unsure = TAKES.model_copy(update={"rest": Rest(broker_us=1_200, all_us=2_400, scale_sd=0.2)})
    drawn = [varied(unsure, 1, n).rest for n in range(3)]

    assert drawn[0] == unsure.rest
    assert drawn[1].broker_us != drawn[2].broker_us
    assert drawn[1].all_us == pytest.approx(2 * drawn[1].broker_us)
    assert varied(RESTS, 1, 1).rest == RESTS.rest


def test_a_profile_keeps_it(tmp_path) -> None:
    save_profile(RESTS, tmp_path / "p.yaml")

    assert load_profile(tmp_path / "p.yaml") == RESTS
