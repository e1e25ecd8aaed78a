"""Both models against cases worked out by hand and against queueing theory: agreement of the two alone would not tell what both have wrong."""

import numpy as np
import pytest
from numpy.typing import NDArray

from both_models import Run, in_both_models
from by_hand import constant, ms
from plain_model import simulate_plainly
from random_scenarios import random_case
from reading_groups import readers, spread
from rundata.rows import NONE, Kind, Outcome
from rundata.tables import RunData
from scenarios.disturbances import NOT_AGAIN
from scenarios.profiles import Profile
from scenarios.quantities import MILLISECOND


@in_both_models
def test_an_event_takes_the_linger_and_its_work(run: Run) -> None:
    """Ten events, 50 ms after each tenth of a second; librdkafka lingers 5 ms, the handler works 10 ms."""
    data = run()

    assert [50.0 + 100 * n for n in range(10)] == ms(data, Kind.send, "started_ns")
    assert [55.0 + 100 * n for n in range(10)] == ms(data, Kind.send)
    assert [55.0 + 100 * n for n in range(10)] == ms(data, Kind.delivery)
    assert [65.0 + 100 * n for n in range(10)] == ms(data, Kind.try_)
    assert [65.0 + 100 * n for n in range(10)] == ms(data, Kind.commit)
    assert data.end_ns == 1000 * MILLISECOND


@in_both_models
def test_a_profile_adds_its_times_one_after_another(run: Run) -> None:
    """Send 1, linger 5, produce 4 (visible), acknowledge 1; fetch 2, wake 1, work 10, overshoot 1, commit 3."""
    profile = Profile(
        profile="constant", send=constant(1), produce=constant(4), produce_leader=constant(2), acknowledge=constant(1),
        fetch=constant(2), fetch_turnaround=constant(1), wake=constant(1), overshoot=constant(1), commit=constant(3),
    )  # fmt: skip
    data = run(profile)

    assert ms(data, Kind.send, "started_ns")[0] == 51
    assert ms(data, Kind.send)[0] == 51 + 5 + 4 + 1
    assert ms(data, Kind.delivery)[0] == 51 + 5 + 4 + 2 + 1
    assert ms(data, Kind.try_)[0] == 63 + 10 + 1
    assert ms(data, Kind.commit)[0] == 63 + 10 + 3


@in_both_models
def test_an_idempotent_producer_has_five_requests_under_way(run: Run) -> None:
    """Seven events 1 ms apart, each a batch of its own, requests of 100 ms: the sixth waits for the first answer."""
    producer = {
        "topic": "a", "share": "arrivals", "arrivals": [{"for": "7ms", "rate": "1000/s", "spacing": "even"}, {"for": "993ms", "rate": "0/s"}],
        "settings": {"enable.idempotence": True, "linger.ms": 0},
    }  # fmt: skip
    data = run(Profile(profile="slow", produce=constant(100), produce_leader=constant(100)), producers__p=producer)

    assert ms(data, Kind.send) == [100.5, 200.5, 300.5, 400.5, 500.5, 600.5, 600.5]


@in_both_models
def test_a_leader_crash_stalls_until_the_election_and_loses_nothing(run: Run) -> None:
    """The leader dies at 220 ms, is fenced 9 s later; events from 250 ms on wait in the client and are sent together."""
    crash = {"fault": "broker_crash", "broker": "leader of a/0", "at": "220ms", "for": "10s"}
    data = run(faults=[crash], drain="20s")

    assert [55, 155, *[9220.0] * 8] == ms(data, Kind.send)
    assert sorted(
        (incident.kind, incident.time_ns / MILLISECOND)
        for incident in data.incidents
        if incident.kind in ("fence", "election")
    ) == [("election", 9220.0), ("fence", 9220.0)]
    assert data.log["leader_epoch"].tolist() == [0, 0, *[1] * 8]


@in_both_models
def test_a_follower_crash_stalls_the_high_watermark_for_producers_and_consumers(run: Run) -> None:
    """A request of 4 ms, begun 1 ms before the follower dies, is visible 3 ms after the fence."""
    crash = {"fault": "broker_crash", "broker": "follower of a/0", "at": "56ms", "for": "10s"}
    data = run(Profile(profile="p", produce=constant(4), phases="aligned"), faults=[crash], drain="20s")

    assert ms(data, Kind.send)[0] == 9056 + 3
    assert ms(data, Kind.delivery)[0] == 9056 + 3
    assert ms(data, Kind.send)[1:] == [9059.0 + 4 * n for n in range(1, 10)]


@in_both_models
def test_acks_1_loses_what_no_follower_had(run: Run) -> None:
    """At the crash (58 ms) the leader has the first event and has acknowledged it, the followers have not."""
    crash = {"fault": "broker_crash", "broker": "leader of a/0", "at": "58ms", "for": "10s"}
    profile = Profile(profile="p", produce=constant(10), produce_leader=constant(1), phases="aligned")
    data = run(profile, faults=[crash], drain="20s", producers__p__settings={"acks": "1"})

    assert ms(data, Kind.send)[0] == 56
    assert list(range(1, 10)) == data.log["event_id"].tolist()


@in_both_models
def test_without_idempotence_what_the_followers_had_is_there_twice(run: Run) -> None:
    """At the crash (63 ms) the followers have had the first event for 2.5 ms, and nobody has answered."""
    crash = {"fault": "broker_crash", "broker": "leader of a/0", "at": "63ms", "for": "10s"}
    profile = Profile(profile="p", produce=constant(10), produce_leader=constant(1), phases="aligned")

    twice = run(profile, faults=[crash], drain="20s")
    once = run(profile, faults=[crash], drain="20s", producers__p__settings={"enable.idempotence": True})

    assert twice.log["event_id"].tolist()[:4] == [0, 0, 1, 2]
    assert twice.operations["offset"][twice.operations["kind"] == Kind.send].tolist()[:2] == [1, 2]
    assert list(range(10)) == once.log["event_id"].tolist()


@in_both_models
def test_a_member_crash_brings_back_what_was_not_committed(run: Run) -> None:
    """Ten events within 1 ms are one batch at 5.05 ms; the member dies at 40 ms after three, and starts over 45 s later."""
    first_ms = {"for": "1ms", "rate": "10000/s", "spacing": "even"}
    producer = {"topic": "a", "share": "arrivals", "arrivals": [first_ms, {"for": "999ms", "rate": "0/s"}]}
    crash = {"fault": "member_crash", "member": "g/1", "at": "40ms", "for": "50ms"}
    data = run(producers__p=producer, faults=[crash], drain="60s")

    assert ms(data, Kind.delivery) == [5.05] * 10 + [45_040.0] * 10
    assert [15.05, 25.05, 35.05, *[45_050.0 + 10 * n for n in range(10)]] == ms(data, Kind.try_)
    assert [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "session expired"] == [45_040.0]


@in_both_models
def test_a_poison_event_is_tried_with_backoff_and_then_a_dead_letter(run: Run) -> None:
    """Three tries of 10 ms with 20 and 40 ms between them; the dead letter is there at once with the ideal profile."""
    group = {
        "topics": ["a"], "work": "10ms",
        "failures": {"then": "dead_letter", "dead_letter": "dead", "retry": {"attempts": 3, "backoff": "20ms", "factor": 2}},
    }  # fmt: skip
    fault = {"fault": "poison", "producer": "p", "events": 1, "at": "0ms", "for": "100ms"}
    data = run(topics__dead={"partitions": 1}, groups__g=group, faults=[fault])

    assert ms(data, Kind.try_, outcome=Outcome.failed) == [65.0, 95.0, 145.0]
    assert ms(data, Kind.try_, "retry_due_ns", event_id=0)[:2] == [85.0, 135.0]
    assert ms(data, Kind.dead_letter) == [145.0]
    assert [(t, e) for t, e in data.log[["topic", "event_id"]].tolist() if t == 1 or e == 9] == [(0, 9), (1, 0)]


@in_both_models
def test_endless_tries_are_counted_as_far_as_a_row_can_count(run: Run) -> None:
    """A poison event of 100 us per try and no policy: 40 000 tries by the end, the last ones recorded as number 32 767."""
    fault = {"fault": "poison", "producer": "p", "events": 1, "at": "0ms", "for": "100ms"}
    data = run(groups__g={"topics": ["a"], "work": "100us"}, faults=[fault], drain="3055ms")

    attempts = data.operations["attempt"][data.operations["kind"] == Kind.try_].tolist()
    assert attempts == [*range(1, 32_768), *[32_767] * (40_000 - 32_767)]


@in_both_models
def test_collect_waits_for_its_events_or_its_timeout(run: Run) -> None:
    """Calls of up to 2 events or 150 ms, the first at 0: nothing, then what came by 300 ms, and so on."""
    group = {"topics": ["a"], "work": "0ms", "reads": {"collect": {"events": 2, "timeout": "150ms"}}}
    data = run(groups__g=group)

    assert ms(data, Kind.delivery) == [150.0, 255.0, 255.0, 405.0, 555.0, 555.0, 705.0, 855.0, 855.0, 1005.0]
    assert data.operations["poll_id"][data.operations["kind"] == Kind.delivery].tolist() == [
        0,
        1,
        1,
        2,
        3,
        3,
        4,
        5,
        5,
        6,
    ]


@in_both_models
def test_a_stopped_broker_moves_its_leaders_at_once_and_is_registered_when_its_session_is_over(run: Run) -> None:
    """Stopped at 220 ms and started at 1220 ms, it tries every 2 s, and the session of 9 s is over at 9220 ms."""
    stop = {"fault": "broker_stop", "broker": "leader of a/0", "at": "220ms", "for": "1s"}
    # The second group's event of 10 s keeps the run going until then.
    data = run(faults=[stop], drain="20s", groups__h={"topics": ["a"], "work": "10s"})

    assert ms(data, Kind.send) == [55.0 + 100 * n for n in range(10)]
    assert data.log["leader_epoch"].tolist() == [0, 0, *[1] * 8]
    assert [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "registered"] == [9220.0]


# ---- who reads what ------------------------------------------------------------------------------------------------


@in_both_models
def test_the_range_assignor_gives_the_first_members_one_more(run: Run) -> None:
    """Kafka's example: 5 partitions over 3 members are 2, 2 and 1 in a row."""
    assert readers(run(**spread(3, 5))) == {0: {"g/1"}, 1: {"g/1"}, 2: {"g/2"}, 3: {"g/2"}, 4: {"g/3"}}


@in_both_models
def test_the_range_assignor_orders_client_ids_as_text(run: Run) -> None:
    """g-10 comes before g-2."""
    assert readers(run(**spread(10, 10))) == {
        partition: {f"g/{member}"} for partition, member in enumerate([1, 10, 2, 3, 4, 5, 6, 7, 8, 9])
    }


@in_both_models
def test_the_uniform_assignor_lets_early_members_keep_their_first_partitions(run: Run) -> None:
    """Six partitions; 1 has all; 2 joins: 0-2 and 3-5; 3 joins: each keeps two, and 3 gets what is over, 2 and 5."""
    wanted = {0: {"g/1"}, 1: {"g/1"}, 2: {"g/3"}, 3: {"g/2"}, 4: {"g/2"}, 5: {"g/3"}}

    assert readers(run(**spread(3, 6, "consumer"))) == wanted


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@in_both_models
def test_a_dead_members_partitions_stand_still_for_a_session(run: Run, protocol: str) -> None:
    """Member 2 of 2 dies at 500 ms for good; after 45 s (timers aligned) the other has everything, from what was committed on."""
    crash = {"fault": "member_crash", "member": "g/2", "at": "500ms", "for": "200s"}
    data = run(**spread(2, 4, protocol, faults=[crash], drain="60s"))

    assert readers(data, 0, 500) == {0: {"g/1"}, 1: {"g/1"}, 2: {"g/2"}, 3: {"g/2"}}
    assert readers(data, 500, 45_500) == {0: {"g/1"}, 1: {"g/1"}}
    assert readers(data, 45_500) == {2: {"g/1"}, 3: {"g/1"}}
    deliveries = data.operations[data.operations["kind"] == Kind.delivery]
    assert set(deliveries["event_id"].tolist()) == set(range(100))


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@in_both_models
def test_a_member_that_leaves_hands_over_at_once_and_gets_its_share_back(run: Run, protocol: str) -> None:
    """Timers aligned: from 300 ms to 600 ms member 1 reads alone, then two of four partitions are member 2's again."""
    leave = {"fault": "member_leave", "member": "g/2", "at": "300ms", "for": "300ms"}
    data = run(**spread(2, 4, protocol, faults=[leave]))

    assert readers(data, 0, 300) == {0: {"g/1"}, 1: {"g/1"}, 2: {"g/2"}, 3: {"g/2"}}
    assert readers(data, 300, 600) == {partition: {"g/1"} for partition in range(4)}
    assert readers(data, 600) == {0: {"g/1"}, 1: {"g/1"}, 2: {"g/2"}, 3: {"g/2"}}
    assert len(ms(data, Kind.delivery)) == 100


@in_both_models
def test_a_classic_rebalance_waits_for_the_member_that_works_longest(run: Run) -> None:
    """Member 2 leaves at 300 ms; member 1 is in an event of 400 ms begun at 55 ms, so everything is assigned at 455 ms."""
    leave = {"fault": "member_leave", "member": "g/2", "at": "300ms", "for": "1s"}
    group = {"topics": ["a"], "work": "400ms", "members": 2}
    data = run(
        topics__a={"partitions": 1, "replication": 1}, groups__g=group, faults=[leave], drain="9s",
    )  # fmt: skip

    begins = ms(data, Kind.try_, "started_ns")
    assert begins[:2] == [55.0, 455.0]
    assert next(i.time_ns / MILLISECOND for i in data.incidents if i.kind == "assignment" and i.time_ns) == 455.0


@in_both_models
def test_a_rebalance_is_learned_at_the_next_heartbeat(run: Run) -> None:
    """With random phases the survivor learns within 3 s (classic) of the leave, not at once, and at another time for each seed."""
    leave = {"fault": "member_leave", "member": "g/2", "at": "300ms", "for": "20s"}
    changes = spread(2, 2, faults=[leave], drain="30s")
    profile = Profile(profile="p", phases="random")
    times = [
        next(i.time_ns for i in run(profile, **changes, seed=seed).incidents if i.kind == "assignment" and i.time_ns)
        / MILLISECOND
        for seed in range(12)
    ]

    assert all(300 <= time <= 3300 for time in times)
    assert len(set(times)) == 12
    assert max(times) - min(times) > 1000


@in_both_models
def test_waiting_times_are_those_of_an_m_d_1_queue(run: Run) -> None:
    """Poisson arrivals, constant work, utilisation 0.8: the mean wait is rho / (2 (1 - rho)) of the work, 4 ms of 2 ms."""
    producer = {"topic": "a", "share": "arrivals", "arrivals": "400/s", "settings": {"linger.ms": 0}}
    waits = [
        _waits_ms(run(duration="10s", producers__p=producer, groups__g={"topics": ["a"], "work": "2ms"}, seed=seed))
        for seed in range(5)
    ]
    means = np.array([wait.mean() for wait in waits])

    half_width = 3.5 * means.std(ddof=1) / np.sqrt(len(means))
    assert abs(means.mean() - 4.0) < half_width
    assert half_width < 1.5


def _waits_ms(data: RunData) -> NDArray[np.float64]:
    effects = data.operations[data.operations["kind"] == Kind.try_]
    intended = data.plan.intended_ns[effects["event_id"]]
    return np.asarray((effects["started_ns"] - intended) / MILLISECOND, np.float64)


@pytest.mark.parametrize("number", range(30))
def test_every_run_of_the_plain_model_keeps_its_books(number: int) -> None:
    """Offsets are contiguous unless compacted, no try overlaps another of its member, and nothing is delivered before it is appended."""
    case = random_case(number)
    data, _ = simulate_plainly(case.plan, case.profile)

    first = {(data.names.topics.index(each.topic), each.partition): each.first for each in data.extents}
    for topic, partition in {(row["topic"], row["partition"]) for row in data.log}:
        here = data.log[(data.log["topic"] == topic) & (data.log["partition"] == partition)]
        if "compact" in case.text:
            assert (np.diff(here["offset"]) > 0).all()
        else:
            assert here["offset"].tolist() == [first[topic, partition] + n for n in range(len(here))]
    tries = data.operations[data.operations["kind"] == Kind.try_]
    for process in set(tries["process"].tolist()):
        begins = tries["started_ns"][tries["process"] == process]
        assert (np.diff(np.sort(begins)) >= 0).all()
    sends = data.operations[(data.operations["kind"] == Kind.send) & (data.operations["outcome"] == Outcome.ok)]
    sends = sends[sends["event_id"] < len(data.plan)]  # an effect that is repeated emits its events again
    times = np.bincount(sends["event_id"], minlength=len(data.plan))
    assert (times <= 1 + (data.plan.again_ns != NOT_AGAIN)).all()  # the fault `duplicates` sends some once more
    acks_all = [p for p in case.plan.scenario.producers.values() if p.settings["acks"] == "all"]
    keeps_all = "compact" not in case.text and "unclean" not in case.text
    if keeps_all and len(acks_all) == len(case.plan.scenario.producers):
        logged = set(
            zip(data.log["topic"], data.log["partition"], data.log["offset"], data.log["event_id"], strict=True)
        )
        for send in sends[[send["offset"] >= first[send["topic"], send["partition"]] for send in sends]]:
            assert (send["topic"], send["partition"], send["offset"], send["event_id"]) in logged
    deliveries = data.operations[data.operations["kind"] == Kind.delivery]
    planned = deliveries[deliveries["event_id"] < len(data.plan)]
    assert (planned["started_ns"] >= data.plan.intended_ns[planned["event_id"]]).all()
    assert NONE not in deliveries["offset"].tolist()
