"""What brokers and their controller do, in both models: cases worked out by hand."""

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
    """librdkafka's requests time out after 60 s, Java's after 30; the first was made at 255 ms."""
    java = {"topic": "a", "arrivals": {"rate": "10/s", "spacing": "even"}, "share": "arrivals", "client": "java"}
    rdkafka = run(faults=[pause("220ms", "80s")], drain="100s")
    other = run(faults=[pause("220ms", "80s")], drain="100s", producers__p=java)

    assert ms(rdkafka, Kind.send)[2] == 60_255 + 100
    assert ms(other, Kind.send)[2] == 30_255 + 100


@in_both_models
def test_a_rack_fails_as_a_whole(run: Run) -> None:
    """Brokers 1 and 3 are in rack x: partition 0, which they lead and follow with broker 2, has one replica left, and too few in sync."""
    brokers = {"kind": "kafka", "nodes": 3, "racks": ["x", "y", "x"]}
    crash = {"fault": "broker_crash", "rack": "x", "at": "220ms", "for": "20s"}
    data = run(brokers=brokers, faults=[crash], drain="40s")

    assert [55, 155, *[20_220.0] * 8] == ms(data, Kind.send)
    assert [where for _, where, _ in incidents(data, "fence")] == ["broker 1", "broker 3"]


@in_both_models
def test_leadership_is_moved_and_moved_back(run: Run) -> None:
    """To the next replica at 220 ms and back at 520 ms; nothing is lost and nobody waits with the ideal profile."""
    move = {"fault": "leader_move", "partition": "a/0", "at": "220ms", "for": "300ms"}
    data = run(faults=[move])

    assert incidents(data, "election") == [(220, "a/0", "leader 2"), (520, "a/0", "leader 1")]
    assert data.log["leader_epoch"].tolist() == [0] * 2 + [1] * 3 + [2] * 5
    assert ms(data, Kind.send) == [55.0 + 100 * n for n in range(10)]
