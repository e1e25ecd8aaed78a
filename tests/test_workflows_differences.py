"""Where a difference comes from: planted ones of each kind are blamed on what they are, by simulated runs that stand for driven ones."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from eventdrill.workflows.differences import sources_of
from reports.agreement import Verdict
from reports.sources import ADVICE, main_source, source_text, sources_sentence
from rundata.indicators import measure
from rundata.replications import Estimate
from rundata.tables import RunData
from scenarios.files import load_text
from scenarios.plan import Plan, make_plan
from scenarios.profiles import Measured, Profile, load_profile
from sim.engine import simulate
from sim.observed import Observed

SCENARIO = """
scenario: planted
duration: 24s
warm_up: 2s
drain: 20s
brokers: {kind: kafka, nodes: 3}
topics: {orders: {partitions: 3, settings: {min.insync.replicas: 2}}}
producers:
  shop: {topic: orders, count: 2, arrivals: 150/s, key: {uniform: 500}, settings: {enable.idempotence: true}}
groups:
  work: {topics: [orders], members: 2, work: 1ms, commit: {every: 1s}}
faults: [{fault: broker_crash, broker: leader of orders/0, at: 10s, for: 12s}]
"""
PLAN = make_plan(load_text(SCENARIO, "planted").scenario)
PROFILE = load_profile("local-kafka")
P50, LAG = "latency[before faults].p50", "lag.max"


def predicted(plan: Plan = PLAN) -> dict[str, Estimate]:
    """Return the median run as the prediction."""
    runs = [measure(simulate(plan, PROFILE, chance=chance)) for chance in range(15)]
    found = {}
    for name in (P50, LAG):
        values = [one[name].value for one in runs]
        found[name] = Estimate(float(np.median(values)), "s", (0.0, 1e9), (0.0, 1e9), replications=15)  # type: ignore[arg-type]  # all reached
    return found


def sources(driven: RunData) -> dict[str, dict[str, float]]:
    return sources_of(predicted(), PLAN, PROFILE, dataclasses.replace(driven, engine="driven"), [P50, LAG])


def changed(times: float, *names: str) -> Profile:
    slower: dict[str, Any] = {}
    for name in names:
        part: Measured = getattr(PROFILE, name)
        slower[name] = part.model_copy(update={"quantiles_us": tuple(times * q for q in part.quantiles_us)})
    return PROFILE.model_copy(update=slower)


def main_one(shares: dict[str, float]) -> str:
    assert sum(shares.values()) == pytest.approx(1)
    return max(shares, key=lambda source: shares[source])


def test_slower_brokers_are_the_profiles_fault():
    """Requests and fetches take twice as long as when they were measured."""
    found = sources(simulate(PLAN, changed(2.0, "produce", "produce_leader", "fetch"), chance=20))

    assert main_one(found[P50]) == "profile"
    assert found[P50]["profile"] > 0.7


def test_a_late_fence_is_chance():
    """The controller fences at 20.1 s, the latest that it can, and clients are slow to find the new leader."""
    late = Observed(fence_ns={0: 20_100_000_000}, elected_ns={0: 20_200_000_000})

    found = sources(simulate(PLAN, PROFILE, chance=20, observed=late))

    assert main_one(found[LAG]) == "chance"


def test_handlers_that_take_longer_than_planned_are_the_workloads_fault():
    """Work of 1 ms in the plan took 4 ms."""
    slow = dataclasses.replace(PLAN, work_ns={"work": np.where(PLAN.work_ns["work"] > 0, 4_000_000, 0)})

    found = sources(simulate(slow, PROFILE, chance=20))

    assert main_one(found[P50]) == "workload"


def test_own_programs_that_send_more_than_was_declared_are_the_workloads_fault():
    """The shop is the user's own program, and sends 300 events a second where 150 were declared."""
    shop = "producers.shop={topic: orders, external: true, arrivals: RATE, key: {uniform: 500}}"
    declared, sent = (
        make_plan(load_text(SCENARIO, "planted", [shop.replace("RATE", rate)]).scenario) for rate in ("150/s", "300/s")
    )
    driven = dataclasses.replace(simulate(sent, PROFILE, chance=20), engine="driven")

    found = sources_of(predicted(declared), declared, PROFILE, driven, [LAG])

    assert main_one(found[LAG]) == "workload"
    assert found[LAG]["workload"] > 0.7


def test_what_nothing_observed_explains_is_left_to_the_model():
    """Members wait 1.5 s in each poll, which no part that is put in can tell; without that the lag would be the predicted one."""
    elected_ns = 18_640_000_000
    takes_ns = {"shop/1": 160_000_000, "shop/2": 160_000_000, "work/1": 1_000_000_000, "work/2": 1_000_000_000}
    middle = Observed(
        fence_ns={0: 18_560_000_000},
        elected_ns={0: elected_ns},
        answered_ns={0: elected_ns + 64_000_000},
        discovered_ns={(0, who, "orders/0"): elected_ns + ns for who, ns in takes_ns.items()},
    )

    found = sources(simulate(PLAN, PROFILE.model_copy(update={"poll_us": 1_500_000.0}), chance=20, observed=middle))

    assert main_one(found[LAG]) == "model"


def test_brokers_with_another_setting_are_the_models_input():
    """They fence after 3 s where the scenario says 9: no chance of the scenario's own explains that, though its instant explains the lag."""
    other = make_plan(load_text(SCENARIO, "planted", ["brokers.settings={broker.session.timeout.ms: 3000}"]).scenario)

    found = sources(dataclasses.replace(simulate(other, PROFILE, chance=20), plan=PLAN))

    assert main_one(found[LAG]) == "model"
    assert found[LAG]["model"] > 0.7


def test_a_difference_of_next_to_nothing_has_no_source():
    """The prediction itself as the observation leaves nothing to explain."""
    driven = simulate(PLAN, PROFILE)
    value = measure(driven)[P50].value
    assert value is not None
    same = {P50: Estimate(value * 1.004, "s", (0.0, 1.0), (0.0, 1.0), replications=15)}

    assert sources_of(same, PLAN, PROFILE, dataclasses.replace(driven, engine="driven"), [P50]) == {}


# ---- in words ------------------------------------------------------------------------------------------------------


def verdict(outcome: Any, shares: dict[str, float] | None) -> Verdict:
    return Verdict(
        "lag.max", "events", 1.0, (0.0, 2.0), 3.0, (3.0,), 2.0, None, outcome, "why", affected=True, sources=shares
    )


def test_the_sentence_is_about_what_does_not_agree():
    """Of two figures the one that differs counts."""
    verdicts = {
        "a": verdict("agrees", {"chance": 0.9, "model": 0.1}),
        "b": verdict("differs", {"profile": 0.8, "chance": 0.2}),
    }

    assert sources_sentence(verdicts) == f"Most of what does not agree comes from the profile: {ADVICE['profile']}."
    assert sources_sentence({"a": verdicts["a"]}).startswith("Most of the differences that are left")
    assert sources_sentence({"a": verdict("agrees", None)}) == ""


def test_a_figures_source_is_its_largest_share():
    """As it stands under the difference in the table."""
    assert source_text({"workload": 0.1, "chance": 0.9}) == "90 % chance"
    assert source_text(None) == ""
    assert main_source([]) is None


def test_plans_are_left_as_they_were():
    """Work as done goes into a copy."""
    before = {name: work.copy() for name, work in PLAN.work_ns.items()}

    sources(simulate(PLAN, PROFILE, chance=20))

    assert isinstance(PLAN, Plan)
    assert all((before[name] == PLAN.work_ns[name]).all() for name in before)
