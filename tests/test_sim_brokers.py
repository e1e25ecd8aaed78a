"""What brokers and their controller do, in both models: cases worked out by hand."""

from typing import Any

from both_models import Run, in_both_models
from by_hand import constant, ms
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.profiles import Profile
from scenarios.quantities import MILLISECOND

SLOWLY = {"topic": "a", "arrivals": {"rate": "1/s", "spacing": "even"}, "share": "arrivals"}


def incidents(data: RunData, kind: str) -> list[tuple[float, str, str]]:
    """Return time in ms, place and detail of each incident of a kind."""
    return [(i.time_ns / MILLISECOND, i.where, i.detail) for i in data.incidents if i.kind == kind]


@in_both_models
def test_leadership_goes_back_to_the_preferred_replica_at_the_controllers_next_look(run: Run) -> None:
    """The leader dies at 220 ms and is back in sync at 10.22 s; the controller looks every 15 s."""
    crash = {"fault": "broker_crash", "broker": "leader of a/0", "at": "220ms", "for": "10s"}
    settings = {"leader.imbalance.check.interval.seconds": 15}
    data = run(duration="20s", brokers__settings=settings, producers__p=SLOWLY, faults=[crash])

    assert incidents(data, "election") == [(9220, "a/0", "leader 2"), (15_000, "a/0", "leader 1")]
    assert data.log["leader_epoch"].tolist() == [1] * 15 + [2] * 5
    assert ms(data, Kind.send)[10:] == [10_505.0 + 1000 * n for n in range(10)]


@in_both_models
def test_leadership_stays_where_it_is_if_the_brokers_are_told_so(run: Run) -> None:
    """With auto.leader.rebalance.enable false nothing moves."""
    crash = {"fault": "broker_crash", "broker": "leader of a/0", "at": "220ms", "for": "10s"}
    settings = {"leader.imbalance.check.interval.seconds": 15, "auto.leader.rebalance.enable": False}
    data = run(duration="20s", brokers__settings=settings, producers__p=SLOWLY, faults=[crash])

    assert incidents(data, "election") == [(9220, "a/0", "leader 2")]


# ---- a broker that hangs -------------------------------------------------------------------------------------------


def pause(at: str, lasts: str) -> dict[str, str]:
    """Return a pause of the leader."""
    return {"fault": "broker_pause", "broker": "leader of a/0", "at": at, "for": lasts}


@in_both_models
def test_a_leader_that_hangs_for_less_than_its_session_only_makes_everybody_wait(run: Run) -> None:
    """From 220 ms to 5220 ms nothing is answered; then everything is, by the same leader."""
    data = run(faults=[pause("220ms", "5s")], drain="20s")

    assert [55, 155, *[5220.0] * 8] == ms(data, Kind.send)
    assert [55, 155, *[5220.0] * 8] == ms(data, Kind.delivery)
    assert incidents(data, "election") == incidents(data, "fence") == []


@in_both_models
def test_a_leader_that_hangs_for_longer_is_fenced_and_its_clients_wait_until_it_refuses_them(run: Run) -> None:
    """Fenced at 9220 ms; producer and member hear of that at the thaw at 20220 ms (with acks=all), and nothing is lost."""
    data = run(faults=[pause("220ms", "20s")], drain="40s")

    assert incidents(data, "election") == [(9220, "a/0", "leader 2")]
    assert set(ms(data, Kind.send)[2:]) == {20_320.0}  # refused at the thaw, and sent again 100 ms later
    assert sorted(data.log["event_id"].tolist()) == list(range(10))


@in_both_models
def test_with_acks_1_a_leader_that_hung_acknowledges_and_loses_what_it_was_sent(run: Run) -> None:
    """It acts on for 255 ms after the thaw (drawn, between 100 and 400): all of the backlog is acknowledged and in no log."""
    profile = Profile(profile="p", produce=constant(2), produce_leader=constant(1), phases="random")
    data = run(profile, faults=[pause("220ms", "20s")], drain="60s", producers__p__settings={"acks": "1"})

    assert len(ms(data, Kind.send, outcome=Outcome.ok)) == 10
    assert data.log["event_id"].tolist() == [0, 1]


@in_both_models
def test_a_client_gives_up_on_a_silent_broker_after_its_own_timeout(run: Run) -> None:
    """librdkafka's requests time out after 60 s, Java's after 30, and Java does not wait before it turns to the new leader; the first was made at 255 ms."""
    java = {"topic": "a", "arrivals": {"rate": "10/s", "spacing": "even"}, "share": "arrivals", "client": "java"}
    rdkafka = run(faults=[pause("220ms", "80s")], drain="100s")
    other = run(faults=[pause("220ms", "80s")], drain="100s", producers__p=java)

    assert ms(rdkafka, Kind.send)[2] == 60_255 + 100
    assert ms(other, Kind.send)[2] == 30_255


@in_both_models
def test_a_rack_fails_as_a_whole(run: Run) -> None:
    """Brokers 1 and 3 are in rack x: partition 0, which they lead and follow with broker 2, has one replica left, and too few in sync."""
    brokers = {"kind": "kafka", "nodes": 3, "racks": ["x", "y", "x"]}
    crash = {"fault": "broker_crash", "rack": "x", "at": "220ms", "for": "20s"}
    data = run(brokers=brokers, faults=[crash], drain="40s")

    # Refused from 9220 ms on, and sent again after 0.1, 0.2, 0.4, 0.8 and then 1 s each.
    assert [55, 155, *[20_720.0] * 8] == ms(data, Kind.send)
    assert [where for _, where, _ in incidents(data, "fence")] == ["broker 1", "broker 3"]


@in_both_models
def test_with_too_few_replicas_in_sync_nothing_is_appended_with_acks_all(run: Run) -> None:
    """Two of three die at 220 ms and are fenced at 9220: one event was appended before, with acks=all; with acks=1 all are, and nobody sees them."""
    crashes = [{"fault": "broker_crash", "broker": b, "at": "220ms", "for": "20s"} for b in (2, 3)]
    settings = {"enable.idempotence": True}
    waits = run(duration="12s", producers__p={**SLOWLY, "settings": settings}, faults=crashes, drain="0s")
    goes_on = run(duration="12s", producers__p={**SLOWLY, "settings": {"acks": "1"}}, faults=crashes, drain="0s")

    # Event 0 is there at 505 ms and fails at 30.5 s; the others up to the fence stand behind it in the connection, where nobody refuses them.
    assert waits.log["event_id"].tolist() == [0]
    assert goes_on.log["event_id"].tolist() == list(range(12))
    assert ms(goes_on, Kind.delivery) == []


@in_both_models
def test_before_3_7_what_the_leader_has_alone_is_seen_and_refused_after_its_append(run: Run) -> None:
    """The same with 3.6: from the fence on consumers see what has one replica; with acks=all event 0 is refused then, and sent again."""
    crashes = [{"fault": "broker_crash", "broker": b, "at": "220ms", "for": "12s"} for b in (2, 3)]
    old = {"kind": "kafka", "nodes": 3, "version": "3.6"}

    def of(settings: dict[str, object]) -> RunData:
        producer = {**SLOWLY, "settings": settings}
        return run(duration="12s", brokers=old, producers__p=producer, faults=crashes, drain="20s")

    goes_on, once, twice = of({"acks": "1"}), of({"enable.idempotence": True}), of({"enable.idempotence": False})

    assert ms(goes_on, Kind.delivery) == [9220.0] * 9 + [9505.0, 10_505.0, 11_505.0]
    assert once.log["event_id"].tolist() == list(range(12))
    assert twice.log["event_id"].tolist().count(0) == 2
    assert sorted(set(twice.log["event_id"].tolist())) == list(range(12))
    assert ms(once, Kind.delivery)[0] == ms(twice, Kind.delivery)[0] == 9220.0
    assert min(ms(once, Kind.send)) > 12_220


@in_both_models
def test_what_is_refused_for_want_of_replicas_is_sent_again_until_they_are_back(run: Run) -> None:
    """The first event comes when both followers are fenced already: refused at 9755 ms, and then after 0.1, 0.2, 0.4, 0.8 s and so on."""
    crashes = [{"fault": "broker_crash", "broker": b, "at": "220ms", "for": "12s"} for b in (2, 3)]
    late = {"topic": "a", "share": "arrivals", "arrivals": [{"for": "9700ms", "rate": "0/s"}, {"for": "300ms", "rate": "10/s", "spacing": "even"}]}  # fmt: skip
    data = run(duration="10s", producers__p=late, faults=crashes, drain="20s")

    assert ms(data, Kind.send) == [12_255.0] * 3
    assert data.log["event_id"].tolist() == [0, 1, 2]


@in_both_models
def test_leadership_is_moved_and_moved_back(run: Run) -> None:
    """To the next replica at 220 ms and back at 520 ms; nothing is lost and nobody waits with the ideal profile."""
    move = {"fault": "leader_move", "partition": "a/0", "at": "220ms", "for": "300ms"}
    data = run(faults=[move])

    assert incidents(data, "election") == [(220, "a/0", "leader 2"), (520, "a/0", "leader 1")]
    assert data.log["leader_epoch"].tolist() == [0] * 2 + [1] * 3 + [2] * 5
    assert ms(data, Kind.send) == [55.0 + 100 * n for n in range(10)]


# ---- links that are cut --------------------------------------------------------------------------------------------


def cut(one: str, other: str, lasts: str, **more: str) -> dict[str, Any]:
    """Return a cut from 220 ms on."""
    return {"fault": "cut", "between": [one, other], "at": "220ms", "for": lasts, **more}


@in_both_models
def test_a_follower_that_cannot_fetch_stalls_the_partition_until_the_leader_gives_it_up(run: Run) -> None:
    """After replica.lag.time.max.ms (30 s; the look comes at once) the other follower is enough; the cut one is back at the end."""
    data = run(faults=[cut("leader of a/0", "follower of a/0", "70s")], drain="100s")

    assert [55, 155, *[30_220.0] * 8] == ms(data, Kind.send)
    assert incidents(data, "election") == []


@in_both_models
def test_one_direction_is_enough_to_keep_a_follower_from_fetching(run: Run) -> None:
    """Its question does not come, or the answer: the same as both."""
    ways = [cut("leader of a/0", "follower of a/0", "5s", direction=way) for way in ("to", "from", "both")]
    sends = [ms(run(faults=[each], drain="20s"), Kind.send) for each in ways]

    assert sends[0] == sends[1] == sends[2] == [55, 155, *[5220.0] * 8]


@in_both_models
def test_a_leader_whose_followers_are_all_cut_off_stalls_until_they_are_back(run: Run) -> None:
    """With min.insync.replicas 2: 70 s for acks=all; with acks=1 the producer sees nothing and the consumers are blind."""
    idempotent = {"enable.idempotence": True}
    everybody = cut("leader of a/0", "brokers", "70s")
    waits = run(faults=[everybody], drain="100s", producers__p__settings=idempotent)
    blind = run(faults=[everybody], drain="100s", producers__p__settings={"acks": "1"})

    # From 30.255 s on too few are in sync, so it is refused; then after 0.1, 0.2, 0.4, 0.8 and 1 s each, last at 70.755 s.
    assert [55, 155, *[70_755.0] * 8] == ms(waits, Kind.send)
    assert waits.log["event_id"].tolist() == list(range(10))
    assert [55.0 + 100 * n for n in range(10)] == ms(blind, Kind.send)
    assert [55, 155, *[70_220.0] * 8] == ms(blind, Kind.delivery)


@in_both_models
def test_a_leader_cut_off_from_the_controller_acknowledges_in_vain_until_it_hears_of_its_end(run: Run) -> None:
    """Fenced at 9220 ms, told at 60220: with acks=1 all that comes between is acknowledged and lost, 51 of 1 event a second."""
    producer = {**SLOWLY, "settings": {"acks": "1"}}
    isolated = cut("leader of a/0", "controller", "60s", channel="both")
    data = run(duration="70s", producers__p=producer, faults=[isolated])

    assert len(ms(data, Kind.send, outcome=Outcome.ok)) == 70
    assert data.log["event_id"].tolist() == [*range(9), *range(60, 70)]
    assert incidents(data, "election")[0] == (9220, "a/0", "leader 2")


@in_both_models
def test_a_leader_that_only_loses_its_heartbeats_steps_down_itself(run: Run) -> None:
    """It hears by metadata that it was fenced: nothing is lost with acks=1 either (nothing takes time here)."""
    producer = {**SLOWLY, "settings": {"acks": "1"}}
    isolated = cut("leader of a/0", "controller", "60s", channel="heartbeat")
    data = run(duration="70s", producers__p=producer, faults=[isolated])

    assert data.log["event_id"].tolist() == list(range(70))
    assert data.log["leader_epoch"].tolist() == [0] * 9 + [1] * 61


@in_both_models
def test_clients_that_cannot_reach_a_leader_wait_and_nobody_is_elected(run: Run) -> None:
    """5 s of silence, or of refused connections."""
    silent = run(faults=[cut("clients", "leader of a/0", "5s")], drain="20s")
    reset = run(faults=[cut("clients", "leader of a/0", "5s", mode="reset")], drain="20s")

    assert [55, 155, *[5220.0] * 8] == ms(silent, Kind.send) == ms(reset, Kind.send)
    assert incidents(silent, "election") == incidents(reset, "election") == []


@in_both_models
def test_a_disk_that_takes_no_writes_stalls_what_its_broker_leads_and_follows(run: Run) -> None:
    """5 s at the leader, or at a follower: acks=all waits, and nobody is fenced."""
    stalls = [
        {"fault": "disk_stall", "broker": f"{role} of a/0", "at": "220ms", "for": "5s"}
        for role in ("leader", "follower")
    ]
    leader, follower = (run(faults=[stall], drain="20s") for stall in stalls)

    assert [55, 155, *[5220.0] * 8] == ms(leader, Kind.send) == ms(follower, Kind.send)
    assert incidents(leader, "fence") == incidents(follower, "fence") == []


@in_both_models
def test_a_follower_whose_disk_stalls_for_long_is_given_up(run: Run) -> None:
    """After replica.lag.time.max.ms the other follower is enough."""
    stall = {"fault": "disk_stall", "broker": "follower of a/0", "at": "220ms", "for": "70s"}

    assert [55, 155, *[30_220.0] * 8] == ms(run(faults=[stall], drain="100s"), Kind.send)


# ---- links that are slow -------------------------------------------------------------------------------------------


def slow(one: str, other: str, **more: str) -> dict[str, Any]:
    """Return a link that is slow from 220 to 720 ms."""
    return {"fault": "slow_link", "between": [one, other], "at": "220ms", "for": "500ms", **more}


@in_both_models
def test_a_slow_link_to_clients_takes_requests_and_answers_so_much_longer(run: Run) -> None:
    """20 ms each way: sends take 40 ms more, and what members read 20 ms to the broker and 20 from it; from 755 ms on all is as before."""
    data = run(faults=[slow("clients", "leader of a/0", delay="20ms")])

    assert ms(data, Kind.send) == [55, 155, *[295.0 + 100 * n for n in range(5)], 755, 855, 955]
    assert ms(data, Kind.delivery) == [55, 155, *[295.0 + 100 * n for n in range(5)], 755, 855, 955]


@in_both_models
def test_a_link_can_be_slow_one_way_only(run: Run) -> None:
    """`to` is towards the second end: requests there, and what the fetch asks for; answers come at once."""
    data = run(faults=[slow("clients", "leader of a/0", delay="20ms", direction="to")])
    back = run(faults=[slow("leader of a/0", "clients", delay="20ms", direction="from")])

    assert ms(data, Kind.send) == ms(back, Kind.send) == [55, 155, *[275.0 + 100 * n for n in range(5)], 755, 855, 955]


@in_both_models
def test_what_goes_over_a_narrow_link_waits_for_what_is_before_it(run: Run) -> None:
    """1000 B/s and events of 200 B: 200 ms each, and 100 ms between two: the five come 200 ms after one another."""
    large = {"topic": "a", "arrivals": {"rate": "10/s", "spacing": "even"}, "share": "arrivals", "size": "200B"}
    data = run(producers__p=large, faults=[slow("clients", "leader of a/0", bandwidth="1000B/s", direction="to")])

    assert ms(data, Kind.send) == [55, 155, 455, 655, 855, 1055, 1255, 1255, 1255, 1255]


@in_both_models
def test_a_slow_link_between_brokers_delays_what_all_in_sync_must_have(run: Run) -> None:
    """30 ms each way: an event is visible when the follower has it and asks for more, 60 ms later; what comes meanwhile goes with its next fetch."""
    followers = slow("leader of a/0", "brokers", delay="30ms")
    once = run(faults=[followers])
    fast = {
        "topic": "a",
        "arrivals": {"rate": "50/s", "spacing": "even"},
        "share": "arrivals",
        "settings": {"acks": "1"},
    }
    often = run(duration="400ms", producers__p=fast, faults=[followers], drain="3s")

    assert ms(once, Kind.send) == [55, 155, *[315.0 + 100 * n for n in range(5)], 755, 855, 955]
    # Appended every 20 ms from 235 ms on: the first leaves at once, and the next fetch is there at 295, with 255, 275 and 295, and so on.
    assert ms(often, Kind.delivery)[11:20] == [295, 355, 355, 355, 415, 415, 415, 475, 475]


# ---- quotas, and who may lead --------------------------------------------------------------------------------------


@in_both_models
def test_a_producer_above_its_quota_has_its_connection_muted(run: Run) -> None:
    """40 records of 200 B in one request are 8726 B, at 500 B/s 17.452 s worth, of which 10 s are free; what comes next is served 7.452 s later."""
    producer = {
        "topic": "a", "share": "arrivals", "size": "200B", "settings": {"linger.ms": 1000},
        "arrivals": [{"for": "1s", "rate": "40/s", "spacing": "even"}, {"for": "1s", "rate": "0/s"}, {"for": "1s", "rate": "1/s", "spacing": "even"}],
    }  # fmt: skip
    throttle = {"fault": "throttle", "producer": "p", "rate": "500B/s", "at": "0s", "for": "30s"}
    data = run(duration="3s", producers__p=producer, faults=[throttle], drain="30s")

    assert ms(data, Kind.send) == [*[1012.5] * 40, 8464.5]


@in_both_models
def test_a_group_above_its_quota_gets_nothing_for_a_while(run: Run) -> None:
    """100 B each 200 ms at 100 B/s: ten events are what ten seconds allow. The look at the 11th waits for 1 s, then (with all that came) 6 and 10 s;

    ten more fill the next ten seconds, and the last five wait until no sample of those is left.
    """
    producer = {"topic": "a", "share": "arrivals", "size": "100B", "arrivals": {"rate": "5/s", "spacing": "even"}}
    throttle = {"fault": "throttle", "group": "g", "rate": "100B/s", "at": "0s", "for": "60s"}
    data = run(duration="5s", producers__p=producer, faults=[throttle], drain="55s")

    assert ms(data, Kind.delivery)[:10] == [105.0 + 200 * n for n in range(10)]
    assert ms(data, Kind.delivery)[10:] == [*[19_105.0] * 10, *[34_105.0] * 5]
    assert ms(data, Kind.send) == [105.0 + 200 * n for n in range(25)]


@in_both_models
def test_a_replica_that_stopped_while_too_few_were_in_sync_leads_when_it_is_back(run: Run) -> None:
    """Two replicas, both must be in sync: 2 stops in good order, then 1 dies: from 4.1 on 2 leads as soon as it is back, before that nobody."""
    topic = {"partitions": 1, "replication": 2, "settings": {"min.insync.replicas": 2}}
    faults = [
        {"fault": "broker_stop", "broker": 2, "at": "220ms", "for": "20s"},
        {"fault": "broker_crash", "broker": 1, "at": "1s", "for": "60s"},
    ]
    new, old = (
        run(duration="30s", brokers={"kind": "kafka", "nodes": 2, "version": version}, topics__a=topic, producers__p=SLOWLY, faults=faults, drain="80s")
        for version in ("4.2", "4.0")
    )  # fmt: skip

    assert incidents(new, "election")[0] == (20_220, "a/0", "leader 2")
    assert incidents(old, "election")[0] == (61_000, "a/0", "leader 1")


@in_both_models
def test_a_replica_that_crashed_is_not_eligible_after_its_return(run: Run) -> None:
    """The same with a crash of 2: nobody knows what it still has, so the partition waits for 1."""
    topic = {"partitions": 1, "replication": 2, "settings": {"min.insync.replicas": 2}}
    faults = [
        {"fault": "broker_crash", "broker": 2, "at": "220ms", "for": "20s"},
        {"fault": "broker_crash", "broker": 1, "at": "10s", "for": "60s"},
    ]
    data = run(
        duration="30s",
        brokers={"kind": "kafka", "nodes": 2},
        topics__a=topic,
        producers__p=SLOWLY,
        faults=faults,
        drain="80s",
    )

    assert incidents(data, "election")[0] == (70_000, "a/0", "leader 1")
