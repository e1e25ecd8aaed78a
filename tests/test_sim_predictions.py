"""What is known of Kafka, predicted: distributions over seeds and closed forms, measured on real clusters before (fixed seeds)."""

from typing import Any

import numpy as np
import pytest

from by_hand import by_hand, constant
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import Profile
from scenarios.quantities import MILLISECOND, SECOND
from sim.engine import simulate

ONE_PARTITION = {"partitions": 1, "replication": 1}


def commits_in(ms: float) -> Profile:
    """Return a profile in which a produce request takes so long, and nothing else takes time."""
    return Profile(profile="p", produce=constant(ms), produce_leader=constant(ms))


def sends(run: RunData) -> Any:
    """Return the rows of sends that were acknowledged."""
    rows = run.operations
    return rows[(rows["kind"] == Kind.send) & (rows["outcome"] == Outcome.ok)]


def ack_latency_ms(run: RunData) -> Any:
    """Return intended time to acknowledgement, by event."""
    rows = sends(run)
    return (rows["ended_ns"] - rows["intended_ns"]) / MILLISECOND


def steady(linger_ms: float, arrivals: Any, profile: Profile) -> RunData:
    """Return a Java producer's run into one partition."""
    producer = {"topic": "a", "client": "java", "settings": {"linger.ms": linger_ms}, "arrivals": arrivals}
    return simulate(make_plan(by_hand(duration="60s", topics__a=ONE_PARTITION, producers__p=producer)), profile)


def test_with_a_long_linger_the_first_of_a_batch_waits_it_out_and_the_others_evenly_less():
    """167/s and 50 ms: p50 27 to 31 ms and p90 51 (measured 30.3 and 51.4)."""
    latency = ack_latency_ms(steady(50, "167/s", commits_in(0.8)))

    assert 27 < np.quantile(latency, 0.5) < 31
    assert 50 < np.quantile(latency, 0.9) < 51


def test_without_linger_only_the_commit_is_left():
    """167/s: p50 is the commit's 0.8 ms (measured 0.64)."""
    assert np.quantile(ack_latency_ms(steady(0, "167/s", commits_in(0.8))), 0.5) == pytest.approx(0.8, abs=0.01)


def test_evenly_spaced_events_wait_5_3_and_1_ms():
    """500/s into one partition with a linger of 5 ms: p50 3 ms and the commit (measured 3.85)."""
    latency = ack_latency_ms(steady(5, {"rate": "500/s", "spacing": "even"}, commits_in(0.8)))

    assert sorted(set(np.round(latency, 3).tolist())) == [1.8, 3.8, 5.8]


def test_a_saturated_java_producers_latency_is_its_buffer_over_its_throughput():
    """Batches of 16 KiB in 4 ms are 4 MiB/s; a buffer of 320 KiB is 78 ms of that (measured at 32 MiB: 1.01 s at 33.4 MB/s)."""
    settings = {"buffer.memory": 320 * 1024, "linger.ms": 5}
    producer = {"topic": "a", "client": "java", "settings": settings, "arrivals": "6000/s", "size": "1KiB"}
    scenario = by_hand(
        duration="2s", topics__a=ONE_PARTITION, producers__p=producer, groups__g={"topics": ["a"], "work": "0s"}
    )
    run = simulate(make_plan(scenario), commits_in(4))
    rows = sends(run)
    late = rows[rows["started_ns"] > SECOND]

    assert np.median(late["ended_ns"] - late["started_ns"]) / MILLISECOND == pytest.approx(80, abs=4)


def default_librdkafka(**settings: Any) -> RunData:
    """Return a producer into six partitions of one broker whose commits take 2 ms: 12 ms of work for each 5 ms of linger."""
    producer = {
        "topic": "a",
        "share": "arrivals",
        "settings": settings,
        "key": {"uniform": 5000},
        "arrivals": {"rate": "6000/s", "spacing": "even"},
    }
    scenario = by_hand(
        duration="3s", brokers={"kind": "kafka", "nodes": 1}, topics__a={"partitions": 6, "replication": 1}, producers__p=producer,
        groups__g={"topics": ["a"], "work": "0s"},
    )  # fmt: skip
    return simulate(make_plan(scenario), commits_in(2))


def test_librdkafkas_default_producer_diverges_when_the_commits_of_a_linger_take_longer():
    """d(latency)/dt is 1 - cycle / (partitions * commit): six requests of 2 ms each cycle, which is the linger of 5 ms and 1 ms to the next event."""
    rows = sends(default_librdkafka())
    slope = np.polyfit(rows["ended_ns"], rows["ended_ns"] - rows["intended_ns"], 1)[0]

    assert slope == pytest.approx(1 - 6 / 12, abs=0.02)


def test_an_idempotent_producer_stays_bounded_under_the_same_load():
    """At most five requests per partition are under way, so batches grow instead."""
    assert ack_latency_ms(default_librdkafka(**{"enable.idempotence": True})).max() < 120
