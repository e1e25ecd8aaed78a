"""The plan: what a scenario and a seed fix beforehand, drawn from streams that do not disturb each other."""

import dataclasses
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenario_text import changed, small
from scenarios.files import load_text
from scenarios.occurrences import plan_faults
from scenarios.plan import CLIENT_CHOOSES, NO_KEY, Plan, make_plan, replica_assignment
from scenarios.plan_blocks import plan_in_blocks
from scenarios.quantities import MILLISECOND, SECOND

ARRIVALS = """arrivals:
      - {for: 40s, rate: 200/s}
      - {for: 20s, rate: [200/s, 300/s], spacing: even}
"""


def planned(arrivals: str, *changes: tuple[str, str]) -> Plan:
    """Return the plan of the small scenario with other arrivals for its 60 s."""
    return make_plan(small((ARRIVALS, f"arrivals: {arrivals}\n"), *changes))


def columns(plan: Plan) -> dict[str, list[object]]:
    arrays = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    flat = {name: array.tolist() for name, array in arrays.items() if isinstance(array, np.ndarray)}
    for name in ("work_ns", "failing_tries"):
        flat |= {f"{name} {group}": array.tolist() for group, array in arrays[name].items()}
    return flat


def test_evenly_spaced_events_come_in_the_middle_of_their_turns() -> None:
    """At 2/s an event comes at 0.25 s, 0.75 s, 1.25 s and so on."""
    plan = planned("{rate: 2/s, spacing: even}")

    assert len(plan) == 120
    assert plan.intended_ns[:3].tolist() == [250 * MILLISECOND, 750 * MILLISECOND, 1250 * MILLISECOND]
    assert set(np.diff(plan.intended_ns).tolist()) == {500 * MILLISECOND}


def test_an_even_ramp_follows_the_integral_of_its_rate() -> None:
    """From 0 to 6/s over 60 s event n comes where 0.05 t^2 = n + 1/2."""
    plan = planned("{rate: [0/s, 6/s], spacing: even}")

    exact_s = np.sqrt((np.arange(180) + 0.5) / 0.05)
    assert len(plan) == 180
    assert np.abs(plan.intended_ns / SECOND - exact_s).max() < 0.001


def test_poisson_counts_and_gaps_are_those_of_a_poisson_process() -> None:
    """12,000 events are expected; five standard deviations are 548. Gaps are exponential: mean equals deviation."""
    plan = planned("200/s")

    assert abs(len(plan) - 12_000) < 548
    gaps_s = np.diff(plan.intended_ns) / SECOND
    assert gaps_s.mean() == pytest.approx(0.005, rel=0.05)
    assert gaps_s.std() == pytest.approx(0.005, rel=0.05)


def test_bursts_come_at_one_instant_each() -> None:
    """Of 200/s in bursts of 50 there are about four instants a second, each with 50 events."""
    plan = planned("{rate: 200/s, spacing: {bursts: 50}}")

    instants, sizes = np.unique(plan.intended_ns, return_counts=True)
    assert set(sizes.tolist()) == {50}
    assert abs(len(instants) - 240) < 5 * np.sqrt(240)


def test_a_surge_multiplies_the_arrivals_of_its_interval_only() -> None:
    """Ten times 20/s for 5 s: 100 events become 1,000, exactly, with even spacing."""
    surge = (
        "fault: slow_work, group: fulfilment, factor: 4",
        "fault: surge, producer: shop, name: slow_work, factor: 10",
    )
    plan = planned("{rate: 20/s, spacing: even}", surge)

    inside = (plan.intended_ns >= 45 * SECOND) & (plan.intended_ns < 50 * SECOND)
    assert np.count_nonzero(inside) == 1000
    assert len(plan) == 1200 - 100 + 1000


@pytest.mark.parametrize("replication", [0, 3])
def test_a_plan_is_the_same_whenever_it_is_made(replication: int) -> None:
    assert columns(make_plan(small(), replication=replication)) == columns(make_plan(small(), replication=replication))


def test_another_seed_or_replication_is_another_plan() -> None:
    times = {make_plan(small(), seed, replication).intended_ns.tobytes() for seed in (1, 2) for replication in (0, 1)}

    assert len(times) == 4


@pytest.mark.parametrize(
    "change",
    [
        ("faults:\n", "faults:\n  - {fault: failing_work, group: analytics, share: 50%, at: 10s, for: 5s}\n"),
        (
            "faults:\n",
            "faults:\n  - {fault: broker_stop, broker: 3, random: {mean_between: 10s, mean_for: 1s}, for: 1s}\n",
        ),
        ("members: 2", "members: 5"),
        ("nodes: 3", "nodes: 5"),
    ],
)
def test_a_fault_more_or_a_member_less_changes_no_draw(change: tuple[str, str]) -> None:
    """One stream per entity and purpose: who arrives when, with which key and which work, stays."""
    assert columns(make_plan(small())) == columns(make_plan(small(change)))


def test_another_group_leaves_the_draws_of_the_first_alone() -> None:
    other = small(("  analytics:", "  audit: {topics: [orders], work: {exponential: 1ms}}\n  analytics:"))

    before, after = make_plan(small()), make_plan(other)

    assert before.work_ns["fulfilment"].tolist() == after.work_ns["fulfilment"].tolist()
    assert before.intended_ns.tolist() == after.intended_ns.tolist()


def test_a_fault_of_poison_adds_to_the_base_share_without_moving_it() -> None:
    fault = ("faults:\n", "faults:\n  - {fault: poison, producer: shop, events: 7, at: 10s, for: 5s}\n")

    before, after = make_plan(small()), make_plan(small(fault))

    added = after.poison & ~before.poison
    assert np.count_nonzero(before.poison & ~after.poison) == 0
    assert 0 < np.count_nonzero(added) <= 7
    times = after.intended_ns[added]
    assert times.min() >= 10 * SECOND and times.max() < 15 * SECOND


def test_a_share_of_poison_takes_about_that_share() -> None:
    """1 % of about 13,000 events, within five standard deviations; all of them in a fault's interval at 100 %."""
    plan = make_plan(small(("poison: 0.1%", "poison: 1%")))
    assert abs(np.count_nonzero(plan.poison) - len(plan) * 0.01) < 5 * np.sqrt(len(plan) * 0.01)

    fault = ("faults:\n", "faults:\n  - {fault: poison, producer: shop, share: 100%, at: 10s, for: 5s}\n")
    plan = make_plan(small(fault))
    inside = (plan.intended_ns >= 10 * SECOND) & (plan.intended_ns < 15 * SECOND)
    assert plan.poison[inside].all()


def test_transient_failures_hit_their_share_of_one_group() -> None:
    plan = make_plan(small(("chance: 0.2%, attempts: 1", "chance: 10%, attempts: 2")))

    assert abs(np.count_nonzero(plan.failing_tries["fulfilment"]) / len(plan) - 0.1) < 0.015
    assert set(plan.failing_tries["fulfilment"].tolist()) == {0, 2}
    assert not plan.failing_tries["analytics"].any()


# ---- keys, partitions, processes ------------------------------------------------------------------------------------


def keys_of(key: str, *changes: tuple[str, str]) -> Plan:
    return planned("2000/s", ("key: {zipf: {values: 1000, exponent: 0.5}}", f"key: {key}"), *changes)


def test_zipf_keys_come_by_rank() -> None:
    """With exponent 1 and four keys the chances are 12/25, 6/25, 4/25 and 3/25; key 0 is rank 1."""
    plan = keys_of("{zipf: {values: 4, exponent: 1}}")

    shares = np.bincount(plan.key, minlength=4) / len(plan)
    assert shares == pytest.approx([12 / 25, 6 / 25, 4 / 25, 3 / 25], abs=0.01)


def test_hot_and_uniform_keys_come_by_their_chances() -> None:
    hot = np.bincount(keys_of("{hot: {share: 40%, values: 5}}").key, minlength=5)
    uniform = np.bincount(keys_of("{uniform: 5}").key, minlength=5)

    assert hot / hot.sum() == pytest.approx([0.4, 0.15, 0.15, 0.15, 0.15], abs=0.01)
    assert uniform / uniform.sum() == pytest.approx([0.2] * 5, abs=0.01)


def test_a_sequence_gives_each_event_its_own_key_in_order() -> None:
    plan = keys_of("sequence")

    assert plan.key[:4].tolist() == [0, 1, 2, 3]
    assert plan.key_text(3) == "shop-3"


def test_without_keys_the_client_chooses_unless_there_is_one_partition() -> None:
    plan = keys_of("none")
    assert set(plan.key.tolist()) == {NO_KEY}
    assert set(plan.partition.tolist()) == {CLIENT_CHOOSES}
    assert plan.key_text(0) is None

    one = keys_of("none", ("orders: {partitions: 6", "orders: {partitions: 1"), ("leader of orders/0", "2"))
    assert set(one.partition.tolist()) == {0}


def test_each_key_has_one_partition_and_one_process_and_processes_share_the_keys() -> None:
    plan = keys_of("{uniform: 1000}", ("count: 2", "count: 4"))

    for column in (plan.partition, plan.process):
        pairs = set(zip(plan.key.tolist(), column.tolist(), strict=True))
        assert len(pairs) == len({key for key, _ in pairs})
    shares = np.bincount(plan.process)[1:] / len(plan)
    assert len(shares) == 4
    assert shares == pytest.approx([0.25] * 4, abs=0.05)


def test_plans_that_follow_one_another_do_not_share_their_keys_partitions() -> None:
    """What one has worked out is there for the next one with the same producer, client and number of partitions, and for no other."""
    crc32 = [zlib.crc32(f"shop-{key}".encode()) for key in range(200)]
    for keys, partitions in ((50, 6), (200, 6), (200, 4), (50, 6)):
        plan = keys_of(f"{{uniform: {keys}}}", ("orders: {partitions: 6", f"orders: {{partitions: {partitions}"))
        pairs = set(zip(plan.key.tolist(), plan.partition.tolist(), strict=True))
        assert pairs == {(key, crc32[key] % partitions) for key in range(keys)}
    java = keys_of("{uniform: 50}", ("count: 2", "count: 2\n    client: java"))
    assert dict(zip(java.key.tolist(), java.partition.tolist(), strict=True)) != {
        key: crc32[key] % 6 for key in range(50)
    }


def test_shared_arrivals_go_round_the_processes() -> None:
    plan = keys_of("{uniform: 1000}", ("count: 2", "count: 3\n    share: arrivals"))

    assert plan.process[:6].tolist() == [1, 2, 3, 1, 2, 3]


def test_the_two_clients_put_a_key_into_their_own_partitions() -> None:
    """Key 0 is the text shop-0: crc32 puts it into partition 2, murmur2 into another."""
    librdkafka = keys_of("sequence").partition[:6].tolist()
    java = keys_of("sequence", ("count: 2", "count: 2\n    client: java")).partition[:6].tolist()

    assert librdkafka == [2, 0, 0, 2, 3, 1]
    assert java == [3, 2, 1, 0, 4, 1]


def test_a_small_size_becomes_the_least_and_work_is_none_for_topics_not_read() -> None:
    sizes = ("size: {lognormal: {mean: 400B, cv: 0.5}}", "size: 5B")
    reads = ("  analytics:\n    topics: [orders]", "  analytics:\n    topics: [audit]")
    plan = planned("100/s", sizes, reads, ("  orders.dlq:", "  audit: {}\n  orders.dlq:"))

    assert set(plan.size_bytes.tolist()) == {32}
    assert set(plan.work_ns["analytics"].tolist()) == {0}
    assert plan.work_ns["fulfilment"].min() > 0


def test_replicas_go_round_the_brokers_shifted_by_topic() -> None:
    assert replica_assignment(4, 2, 3) == [[1, 2], [2, 3], [3, 1], [1, 2]]
    assert make_plan(small()).replicas("orders.dlq") == [[2, 3, 1]]


# ---- fault times ----------------------------------------------------------------------------------------------------


def times_s(timing: str) -> list[tuple[float, float]]:
    scenario = small(("at: 20s, for: 15s", timing))
    crashes = [p for p in plan_faults(scenario, 1) if p.label == "broker_crash"]
    return [(p.begin_ns / SECOND, p.end_ns / SECOND) for p in crashes]


def test_faults_come_at_their_times_or_at_each_interval() -> None:
    assert times_s("at: [30s, 10s], for: 5s") == [(10, 15), (30, 35)]
    assert times_s("every: 20s, for: 5s") == [(20, 25), (40, 45)]


def test_random_faults_do_not_overlap_and_lie_in_the_load() -> None:
    times = times_s("random: {mean_between: 2s, mean_for: 1s}, for: 1s")

    assert len(times) > 5
    assert all(end <= begin for (_, end), (begin, _) in pairwise(times))
    assert times[-1][0] < 60


# ---- properties of any plan -----------------------------------------------------------------------------------------

RATES = st.sampled_from(["0/s", "0.5/s", "30/s", "200/s", "[0/s, 90/s]", "[120/s, 0/s]", "3/min"])
SPACINGS = st.sampled_from(["", ", spacing: even", ", spacing: {bursts: 7}"])
KEYS = st.sampled_from(
    ["none", "sequence", "{uniform: 3}", "{zipf: {values: 9, exponent: 2}}", "{hot: {share: 90%, values: 4}}"]
)
SIZES = st.sampled_from(
    ["100B", "{pareto: {min: 10B, shape: 1.1}}", "{mix: [{share: 50%, of: 1B}, {share: 50%, of: 1MiB}]}"]
)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**62))
def test_any_plan_is_sorted_within_the_load_and_fits_its_topic(data: st.DataObject, seed: int) -> None:
    first = data.draw(st.integers(1, 59))
    parts = [f"{{for: {length}s, rate: {data.draw(RATES)}{data.draw(SPACINGS)}}}" for length in (first, 60 - first)]
    text = changed(
        (ARRIVALS, f"arrivals: [{', '.join(parts)}]\n"),
        ("key: {zipf: {values: 1000, exponent: 0.5}}", f"key: {data.draw(KEYS)}"),
        ("size: {lognormal: {mean: 400B, cv: 0.5}}", f"size: {data.draw(SIZES)}"),
    )

    plan = make_plan(load_text(text).scenario, seed)

    assert (np.diff(plan.intended_ns) >= 0).all()
    assert ((plan.intended_ns >= 0) & (plan.intended_ns < 60 * SECOND)).all()
    assert ((plan.partition >= CLIENT_CHOOSES) & (plan.partition < 6)).all()
    assert ((plan.process >= 1) & (plan.process <= 2)).all()
    assert (plan.size_bytes >= 32).all()
    assert all(len(column) == len(plan) for column in columns(plan).values())
    assert columns(plan) == columns(make_plan(load_text(text).scenario, seed))


# ---- in blocks -----------------------------------------------------------------------------------------------------

SEVERAL = """
scenario: several
duration: 20s
brokers: {kind: kafka, nodes: 3}
topics: {orders: {partitions: 4}, visits: {partitions: 2}, audits: {partitions: 1}}
producers:
  shop:
    topic: orders
    count: 2
    key: {zipf: {values: 50, exponent: 1.1}}
    size: {lognormal: {mean: 200B, cv: 0.5}}
    poison: 2%
    arrivals: [{for: 8s, rate: [10/s, 60/s]}, {for: 5s, rate: 0/s}, {for: 7s, rate: 40/s}]
  web: {topic: visits, key: sequence, arrivals: {rate: 90/s, spacing: {bursts: 30}}}
  clock: {topic: audits, count: 3, key: none, arrivals: {rate: 10/s, spacing: even}}
groups:
  work:
    topics: [orders, visits]
    work: {exponential: 2ms}
    failures: {transient: {chance: 20%, attempts: 2}, retry: {attempts: 3, backoff: 10ms}, then: skip}
  audit: {topics: [audits], work: 1ms}
faults:
  - {fault: surge, producer: shop, factor: 3, at: 3s, for: 2s}
  - {fault: broker_crash, broker: 1, at: 5s, for: 5s}
"""


@pytest.mark.parametrize("at_once", [5, 37, 10_000])
def test_blocks_of_any_size_hold_the_whole_plan(at_once: int) -> None:
    """Ramps, pauses, bursts at one instant, a surge, three producers whose events lie between each other, and failing tries."""
    scenario = load_text(SEVERAL).scenario
    whole = make_plan(scenario, 7, 3)

    blocks = list(plan_in_blocks(scenario, 7, 3, at_once))

    assert len(whole) > 2_500
    assert sum(len(block) for block in blocks) == len(whole)
    together = [columns(block) for block in blocks]
    assert {name: [value for one in together for value in one[name]] for name in together[0]} == columns(whole)
    assert (blocks[0].faults, blocks[-1].actions) == (whole.faults, whole.actions)


def test_a_block_holds_no_more_than_was_asked_for_and_what_waits_for_the_slowest() -> None:
    blocks = list(plan_in_blocks(load_text(SEVERAL).scenario, 7, 0, 100))

    assert len(blocks) > 20
    assert max(len(block) for block in blocks) < 600


def test_a_fault_that_chooses_among_its_events_is_planned_as_a_whole() -> None:
    poison = "  - {fault: poison, producer: shop, events: 3, at: 5s, for: 5s}\n"
    scenario = load_text(SEVERAL + poison).scenario

    (block,) = plan_in_blocks(scenario, 7, 0, 100)

    assert columns(block) == columns(make_plan(scenario, 7))
