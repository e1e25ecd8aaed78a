"""Topics that are changed while they are used, in both models: cases worked out by hand."""

from typing import Any

from both_models import Run, in_both_models, simulated
from by_hand import constant, ms
from rundata.checks import check
from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.profiles import Profile
from scenarios.quantities import MILLISECOND

COPIES = Profile(profile="p", catch_up=constant(100), wake=constant(1), phases="aligned")
"""A new replica has the log after 100 ms, and clients find a leader that was moved after 100 ms."""
SLOWLY = {"topic": "a", "arrivals": {"rate": "1/s", "spacing": "even"}, "share": "arrivals"}


def elections(data: RunData) -> list[tuple[float, str, str]]:
    """Return when which partition got which leader, in ms."""
    return [(i.time_ns / MILLISECOND, i.where, i.detail) for i in data.incidents if i.kind == "election"]


# ---- replicas that move --------------------------------------------------------------------------------------------


def moved(at: str, *to: int) -> dict[str, Any]:
    """Return a reassignment of the only partition, whose replicas are 1, 2 and 3 of four brokers at first."""
    return {"fault": "reassign", "partition": "a/0", "to": list(to), "at": at}


def crash(broker: int, at: str, lasts: str) -> dict[str, Any]:
    """Return a crash."""
    return {"fault": "broker_crash", "broker": broker, "at": at, "for": lasts}


@in_both_models
def test_a_leader_that_is_no_replica_any_more_goes_on_until_the_new_ones_have_copied(run: Run) -> None:
    """From 220 ms on broker 4 copies; at 320 ms it leads instead of 1, and the client finds it 100 ms later."""
    data = run(COPIES, brokers__nodes=4, faults=[moved("220ms", 4, 2, 3)])

    assert elections(data) == [(320, "a/0", "leader 4")]
    assert ms(data, Kind.send) == [55, 155, 255, 420, 455, 555, 655, 755, 855, 955]
    assert data.log["leader_epoch"].tolist() == [0, 0, 0, *[1] * 7]


@in_both_models
def test_a_leader_that_stays_notices_nothing_and_waits_for_the_new_replica_instead_of_the_old(run: Run) -> None:
    """Broker 4 has replaced 3 at 320 ms: the crash of 3 at 400 ms concerns nobody, that of 4 at 620 ms stalls until it is fenced."""
    faults = [moved("220ms", 1, 2, 4), crash(3, "400ms", "30s"), crash(4, "620ms", "30s")]
    data = run(COPIES, brokers__nodes=4, faults=faults, drain="40s")

    assert elections(data) == []
    assert ms(data, Kind.send) == [55, 155, 255, 355, 455, 555, *[9620.0] * 4]


@in_both_models
def test_a_reassignment_waits_for_a_new_replica_that_is_down(run: Run) -> None:
    """Broker 4 dies before it can copy, and is back in sync at 12.2 s; until then the old replicas serve."""
    data = run(
        COPIES, duration="13s", brokers__nodes=4, producers__p=SLOWLY, faults=[crash(4, "100ms", "12s"), moved("220ms", 4, 2, 3)],
    )  # fmt: skip

    assert elections(data) == [(12_200, "a/0", "leader 4")]
    assert ms(data, Kind.send) == [505.0 + 1000 * n for n in range(13)]


@in_both_models
def test_too_few_replicas_are_too_few_in_sync(run: Run) -> None:
    """Given one replica at 220 ms, a topic with min.insync.replicas 2 takes nothing more with acks=all."""
    data = run(COPIES, brokers__nodes=4, faults=[moved("220ms", 1)], drain="2s")

    assert data.log["event_id"].tolist() == [0, 1]
    assert data.end_ns == 3000 * MILLISECOND


@in_both_models
def test_a_second_reassignment_takes_the_place_of_one_under_way(run: Run) -> None:
    """At 270 ms, while broker 4 copies, the old replicas are wanted again: there is nothing to copy, and nobody else leads."""
    data = run(COPIES, brokers__nodes=4, faults=[moved("220ms", 4, 2, 3), moved("270ms", 1, 2, 3)])

    assert elections(data) == []
    assert ms(data, Kind.send) == [55.0 + 100 * n for n in range(10)]


# ---- partitions that are added -------------------------------------------------------------------------------------

ASKS = "topic.metadata.refresh.interval.ms"
"""How often librdkafka asks by itself what there is of topics."""


def grown(to: int, *, partitions: int = 2, replication: int = 3, producer: Any = None, **more: Any) -> dict[str, Any]:
    """Return changes: ten keys over some partitions, of which there are more from 220 ms on."""
    return {
        "topics__a": {"partitions": partitions, "replication": replication},
        "producers__p": {"topic": "a", "key": "sequence", "arrivals": {"rate": "10/s", "spacing": "even"}, "settings": producer or {}},
        "faults": [{"fault": "add_partitions", "topic": "a", "to": to, "at": "220ms"}],
        **more,
    }  # fmt: skip


def group(reset: str, **settings: Any) -> dict[str, Any]:
    """Return a group that begins in a partition that it did not know where `reset` says."""
    return {"topics": ["a"], "work": "10ms", "settings": {"auto.offset.reset": reset, **settings}}


def sent_to(data: RunData) -> list[int]:
    """Return the partition of each event that was sent, by event."""
    sends = data.operations[data.operations["kind"] == Kind.send]
    return [int(partition) for _, partition in sorted(zip(sends["event_id"], sends["partition"], strict=True))]


@in_both_models
def test_keys_move_when_their_producer_asks_how_many_partitions_there_are(run: Run) -> None:
    """crc32 of p-0 to p-9, first modulo 2; from the client's next question at 500 ms on modulo 4."""
    data = run(**grown(4, producer={ASKS: 500}, drain="0s"))

    assert sent_to(data) == [1, 1, 1, 1, 0, 2, 0, 2, 3, 1]


@in_both_models
def test_a_producer_that_never_asks_goes_on_with_what_it_knows(run: Run) -> None:
    """-1 turns librdkafka's own questions off, and 5 minutes are longer than the run."""
    assert sent_to(run(**grown(4, producer={ASKS: -1}))) == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    assert sent_to(run(**grown(4))) == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1]


@in_both_models
def test_a_producer_that_starts_again_knows_all_partitions(run: Run) -> None:
    """Dead from 300 to 400 ms; what was due meanwhile goes to one of four partitions already."""
    changes = grown(4, drain="0s")
    changes["faults"].append({"fault": "producer_crash", "producer": "p", "at": "300ms", "for": "100ms"})

    assert sent_to(run(**changes)) == [1, 1, 1, 3, 0, 2, 0, 2, 3, 1]


@in_both_models
def test_a_classic_group_reads_new_partitions_when_a_member_has_asked(run: Run) -> None:
    """Event 5 is in the new partition 2 at 555 ms; the member asks at 700 ms, the group rebalances, and it is read from its beginning."""
    data = run(**grown(4, producer={ASKS: 500}, groups__g=group("earliest", **{ASKS: 700})))

    assert ms(data, Kind.delivery) == [55, 155, 255, 355, 455, 655, 700, 755, 855, 955]
    assert [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "rebalance"] == [700]


@in_both_models
def test_what_was_sent_before_a_group_reads_new_partitions_is_passed_over_with_latest(run: Run) -> None:
    """The same with Kafka's default: event 5 is never read, and nobody waits for it."""
    data = run(**grown(4, producer={ASKS: 500}, groups__g=group("latest", **{ASKS: 700})))

    assert ms(data, Kind.delivery) == [55, 155, 255, 355, 455, 655, 755, 855, 955]
    assert data.end_ns == 1000 * MILLISECOND


@in_both_models
def test_the_coordinator_of_the_consumer_protocol_sees_new_partitions_itself(run: Run) -> None:
    """The member has them at its next heartbeat (at once, timers aligned), before anything is in them."""
    data = run(**grown(4, producer={ASKS: 500}, groups__g=group("latest", **{"group.protocol": "consumer"})))

    assert ms(data, Kind.delivery) == [55.0 + 100 * n for n in range(10)]
    assert [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "rebalance"] == [220]


@in_both_models
def test_no_partition_is_added_where_none_of_its_brokers_is_up(run: Run) -> None:
    """With one replica each, partition 2 would be broker 3's, which is down."""
    changes = grown(3, replication=1, producer={ASKS: 500}, drain="0s")
    changes["faults"].insert(0, crash(3, "100ms", "300ms"))

    assert sent_to(run(**changes)) == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1]


def test_checks_say_that_new_partitions_may_be_read_late_and_move_keys() -> None:
    """With latest event 5 is unseen; of three keys those move, and later events of a key are handled before earlier ones."""
    passes = check(simulated(**grown(4, producer={ASKS: 500}, groups__g=group("latest", **{ASKS: 700}))))["unseen"]
    keys = {
        "topic": "a",
        "key": {"uniform": 3},
        "arrivals": {"rate": "200/s", "spacing": "even"},
        "settings": {"enable.idempotence": True, ASKS: 300},
    }
    slow = {**group("earliest", **{"group.protocol": "consumer"}), "members": 4, "work": "8ms"}
    order = check(simulated(**{**grown(4, partitions=1), "producers__p": keys, "groups__g": slow}))["key_order"]

    assert (passes.valid, passes.parts["passed over"]) == (True, 1)
    assert (
        passes.allowed
        == "g begins at the end of partitions that came late (fault add_partitions, auto.offset.reset: latest)"
    )
    assert (order.valid, order.count > 0) == (True, True)
    assert "p sends to a, where keys move to other partitions (fault add_partitions)" in order.allowed


@in_both_models
def test_a_share_group_reads_new_partitions_from_their_beginning(run: Run) -> None:
    """The coordinator sees them at once, as for the consumer protocol, and nothing is passed over."""
    shares = {"topics": ["a"], "work": "10ms", "share_group": True, "ordered_by": "none"}
    data = run(**grown(4, producer={ASKS: 500}, groups={"g": shares}))

    assert sorted(data.operations["event_id"][data.operations["kind"] == Kind.delivery].tolist()) == list(range(10))


# ---- partitions that are added where members send --------------------------------------------------------------------


def chained(emits: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return changes: what follows from each of ten events goes to a topic that has four partitions instead of two from 220 ms on."""
    return {
        "topics__b": {"partitions": 2, "replication": 3},
        "producers__p": {"topic": "a", "key": "sequence", "arrivals": {"rate": "10/s", "spacing": "even"}},
        "groups__g": {
            "topics": ["a"],
            "work": "10ms",
            "settings": {"group.protocol": "consumer"},
            "emits": {"topic": "b", "settings": emits},
        },
        "faults": [{"fault": "add_partitions", "topic": "b", "to": 4, "at": "220ms"}],
        **more,
    }


def placed(data: RunData, kind: Kind, topic: str) -> list[int]:
    """Return the partitions of a topic to which rows of a kind went, in the order of the events that they follow from."""
    rows = data.operations
    found = rows[(rows["kind"] == kind) & (rows["topic"] == data.names.topics.index(topic))]
    return [int(partition) for _, partition in sorted(zip(found["root_id"], found["partition"], strict=True))]


@in_both_models
def test_what_members_emit_goes_to_new_partitions_when_their_client_has_asked(run: Run) -> None:
    """The same keys as above, each 10 ms later: the fifth before the client's question at 500 ms, the sixth behind it."""
    assert placed(run(**chained({ASKS: 500})), Kind.send, "b") == [1, 1, 1, 1, 0, 2, 0, 2, 3, 1]
    assert placed(run(**chained({})), Kind.send, "b") == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1]


@in_both_models
def test_clients_of_a_member_that_starts_again_know_all_partitions(run: Run) -> None:
    """Away from 300 to 400 ms: the fourth event is handled then, and what follows from it goes to one of four partitions."""
    changes = chained({})
    changes["faults"].append({"fault": "member_leave", "member": "g/1", "at": "300ms", "for": "100ms"})

    assert placed(run(**changes), Kind.send, "b") == [1, 1, 1, 3, 0, 2, 0, 2, 3, 1]


@in_both_models
def test_a_relay_asks_as_its_settings_say(run: Run) -> None:
    """It looks into the outbox every 200 ms: events 0 to 3 before its question at 450 ms, the others behind it."""
    changes = chained({ASKS: 450})
    changes["groups__g"]["emits"]["outbox"] = {"every": "200ms"}

    assert placed(run(**changes), Kind.send, "b") == [1, 1, 1, 1, 0, 2, 0, 2, 3, 1]


@in_both_models
def test_dead_letters_go_to_new_partitions_when_the_member_has_started_again(run: Run) -> None:
    """Their client asks every five minutes, so that it goes on with two partitions; a new one knows four."""
    changes = chained({}, topics__dead={"partitions": 2, "replication": 3})
    del changes["groups__g"]["emits"]
    changes["producers__p"]["poison"] = "100%"
    changes["groups__g"]["failures"] = {"then": "dead_letter", "dead_letter": "dead"}
    changes["faults"] = [{"fault": "add_partitions", "topic": "dead", "to": 4, "at": "220ms"}]
    away = {"fault": "member_leave", "member": "g/1", "at": "300ms", "for": "100ms"}

    assert placed(run(**changes), Kind.dead_letter, "dead") == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    changes["faults"].append(away)
    assert placed(run(**changes), Kind.dead_letter, "dead") == [1, 1, 1, 3, 0, 2, 0, 2, 3, 1]


@in_both_models
def test_a_redrive_knows_all_partitions_that_there_are_when_it_begins(run: Run) -> None:
    """Eight letters of keys that were sent to one of two partitions come back into one of four."""
    changes = grown(4, topics__dead={"partitions": 1, "replication": 3})
    changes["producers__p"]["poison"] = "100%"
    changes["groups__g"] = {
        "topics": ["a"],
        "work": "10ms",
        "settings": {"group.protocol": "consumer"},
        "failures": {"then": "dead_letter", "dead_letter": "dead"},
    }
    changes["actions"] = [{"action": "redrive", "from": "dead", "at": "800ms", "rate": "1000/s"}]
    data = run(**changes)
    back = data.log[(data.log["topic"] == 0) & (data.log["time_ns"] >= 800 * MILLISECOND) & (data.log["event_id"] < 8)]

    assert sorted(zip(back["event_id"].tolist(), back["partition"].tolist(), strict=True)) == [
        (0, 1), (1, 3), (2, 1), (3, 3), (4, 0), (5, 2), (6, 0), (7, 2)
    ]  # fmt: skip


@in_both_models
def test_new_partitions_without_an_offset_are_read_by_nobody_where_nothing_is_to_be_reset(run: Run) -> None:
    """With librdkafka's `error` events 5, 7 and 8 stay in the new partitions; with Java's `none` the member that gets these dies at 700 ms."""
    stays = run(**grown(4, producer={ASKS: 500}, groups__g=group("error", **{ASKS: 700}), drain="1s"))
    java = {
        "topics": ["a"],
        "work": "10ms",
        "client": "java",
        "settings": {"auto.offset.reset": "none", "metadata.max.age.ms": 700},
    }
    dies = run(**grown(4, producer={ASKS: 500}, groups__g=java, drain="1s"))

    assert ms(stays, Kind.delivery) == [55, 155, 255, 355, 455, 655, 955]
    assert ms(dies, Kind.delivery) == [55, 155, 255, 355, 455, 655]
