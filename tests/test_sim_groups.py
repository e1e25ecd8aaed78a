"""Members that come, go and stay away, in both models: cases worked out by hand."""

import pytest

from both_models import Run, in_both_models
from by_hand import constant, ms
from reading_groups import readers, spread
from rundata.indicators import measure_one
from rundata.rows import Kind
from scenarios.profiles import Profile
from scenarios.quantities import MILLISECOND


@in_both_models
def test_a_member_that_does_not_call_in_time_goes_on_and_its_commit_is_refused(run: Run) -> None:
    """A batch of two events of 20 s with 30 s to call again, begun at 5.125 ms: evicted 30 s later, done and back after 40 s.

    Both events are done, so nothing is left to wait for; nothing is committed.
    """
    burst = {"for": "1ms", "rate": "2000/s", "spacing": "even"}
    producer = {"topic": "a", "share": "arrivals", "arrivals": [burst, {"for": "999ms", "rate": "0/s"}]}
    settings = {"max.poll.interval.ms": 30_000, "session.timeout.ms": 10_000}
    data = run(producers__p=producer, groups__g={"topics": ["a"], "work": "20s", "settings": settings}, drain="120s")

    moves = [(i.kind, i.time_ns / MILLISECOND) for i in data.incidents if i.kind in ("eviction", "restart")]
    assert moves == [("eviction", 30_005.25), ("restart", 40_005.25)]
    assert ms(data, Kind.try_) == [20_005.25, 40_005.25]
    assert ms(data, Kind.commit) == []


@in_both_models
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_static_member_that_leaves_and_is_back_in_time_moves_nothing(run: Run, protocol: str) -> None:
    """Member 2 of 2 is away from 300 to 600 ms: its partitions wait, and nobody rebalances."""
    leave = {"fault": "member_leave", "member": "g/2", "at": "300ms", "for": "300ms"}
    changes = spread(2, 4, protocol, faults=[leave])
    changes["groups__g"]["settings"]["group.instance.id"] = "static"
    data = run(**changes)

    assert readers(data, 300, 600) == {0: {"g/1"}, 1: {"g/1"}}
    assert readers(data, 600) == {0: {"g/1"}, 1: {"g/1"}, 2: {"g/2"}, 3: {"g/2"}}
    assert [i.kind for i in data.incidents if i.kind == "rebalance"] == []


@in_both_models
def test_the_round_robin_assignor_deals_one_by_one(run: Run) -> None:
    """Five partitions over three members: 1 has 0 and 3, 2 has 1 and 4, 3 has 2."""
    changes = spread(3, 5)
    changes["groups__g"]["settings"]["partition.assignment.strategy"] = "roundrobin"

    assert readers(run(**changes)) == {0: {"g/1"}, 1: {"g/2"}, 2: {"g/3"}, 3: {"g/1"}, 4: {"g/2"}}


@in_both_models
def test_a_cooperative_rebalance_lets_the_others_read_on(run: Run) -> None:
    """Member 3 of 3 leaves at 300 ms: 1 and 2 keep what they had and share what is free; eager ones drop all and start again."""
    leave = {"fault": "member_leave", "member": "g/3", "at": "300ms", "for": "2s"}
    changes = spread(3, 6, faults=[leave])
    changes["groups__g"]["settings"]["partition.assignment.strategy"] = "cooperative-sticky"
    data = run(**changes)

    before, after = readers(data, 0, 300), readers(data, 300, 1000)
    assert {p: who for p, who in before.items() if who != {"g/3"}} == {
        p: who for p, who in after.items() if before[p] != {"g/3"}
    }
    assert sorted(w for who in after.values() for w in who) == ["g/1"] * 3 + ["g/2"] * 3


@in_both_models
def test_who_lost_its_seat_while_it_waited_for_an_assignment_joins_with_one_rebalance(run: Run) -> None:
    """Member 2 crashes at 1 s, joins at 10 s and hangs from 10.2 s on; member 3 dies at 10.5 s, so nobody is assigned anything until 55.5 s.

    Member 2 is given up at 55.2 s, goes on at 70.2 s and joins; member 1 has the only partition and keeps it, so one rebalance does.
    """
    faults = [
        {"fault": "member_crash", "member": "g/2", "at": "1s", "for": "9s"},
        {"fault": "member_pause", "member": "g/2", "at": "10.2s", "for": "60s"},
        {"fault": "member_crash", "member": "g/3", "at": "10.5s", "for": "200s"},
    ]
    changes = spread(3, 1, duration="80s", drain="200s", faults=faults)
    changes["producers__p"]["arrivals"]["rate"] = "2/s"
    changes["groups__g"]["settings"]["partition.assignment.strategy"] = "cooperative-sticky"
    data = run(**changes)

    assert [i.where for i in data.incidents if i.kind == "session expired"] == ["g/2", "g/2", "g/3"]
    begun = [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "rebalance"]
    assert begun == [10_000.0, 70_200.0, 210_500.0]


@in_both_models
def test_the_session_of_who_died_when_he_went_on_takes_nothing_from_his_successor(run: Run) -> None:
    """The member hangs from 1.15 s to 21.15 s in a try that kills it when it goes on; it is back after 0.5 s.

    Its seat of before is given up at 46.15 s, and the one that is back keeps its own: it gets the partition, dies of the event again, and is back 1 s later.
    """
    changes = spread(1, 1, "consumer", duration="2s", drain="60s")
    changes["producers__p"] = {"topic": "a", "key": "sequence", "arrivals": [
        {"for": "1s", "rate": "0/s"}, {"for": "100ms", "rate": "10/s", "spacing": "even"}, {"for": "900ms", "rate": "0/s"},
    ]}  # fmt: skip
    changes["groups__g"] |= {
        "work": "100ms",
        "failures": {"then": "crash", "restart": {"after": "500ms"}, "transient": {"chance": "100%", "attempts": 1}},
    }
    data = run(**changes, faults=[{"fault": "member_pause", "member": "g/1", "at": "1.15s", "for": "20s"}])

    assert [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "restart"] == [21_650.0, 47_250.0]
    assert [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "session expired"][:1] == [46_150.0]


@in_both_models
def test_a_new_coordinator_begins_the_sessions_anew(run: Run) -> None:
    """The member dies at 0.5 s, 45 s of session; its coordinator dies at 30 s, elected 9 s later: given up at 84 s."""
    crash = {"fault": "member_crash", "member": "g/2", "at": "500ms", "for": "200s"}
    lost = [{"fault": "broker_crash", "broker": number, "at": "30s", "for": "60s"} for number in (1, 2, 3)]
    changes = spread(2, 4, duration="40s", drain="120s")
    changes["producers__p"]["arrivals"]["rate"] = "2/s"
    expired = {
        i.time_ns / MILLISECOND
        for fault in lost
        for i in run(**changes, faults=[crash, fault]).incidents
        if i.kind == "session expired"
    }

    assert expired == {45_500.0, 84_000.0}


def two_readers(fault: dict[str, object], settings: dict[str, object] | None = None) -> dict[str, object]:
    """Return changes: two members, two partitions, two events a second for 40 s, timers aligned, and a fault of member 2."""
    changes = spread(2, 2, duration="40s", drain="120s", faults=[{"member": "g/2", **fault}])
    changes["producers__p"]["arrivals"]["rate"] = "2/s"
    changes["groups__g"]["settings"] |= settings or {}
    return changes


@in_both_models
def test_a_member_that_hangs_for_longer_than_its_session_is_given_up_and_its_commit_is_fenced(run: Run) -> None:
    """It hangs from 10 s on within a try of 5 s, for 60 s: given up at 55 s, it ends the try at 70 s, and joins again.

    The other one has handled the same event meanwhile, so its effect is there twice.
    """
    pause = {"fault": "member_pause", "at": "10s", "for": "60s"}
    changes = two_readers(pause)
    changes["groups__g"]["work"] = "800ms"
    data = run(**changes)

    moves = [
        (i.kind, i.where, i.time_ns / MILLISECOND) for i in data.incidents if i.kind in ("session expired", "restart")
    ]
    assert moves == [("session expired", "g/2", 55_000.0), ("restart", "g/2", 70_000.0)]
    mine = data.operations[(data.operations["process"] == data.names.processes.index("g/2"))]
    ended = [int(t["event_id"]) for t in mine[mine["kind"] == Kind.try_] if t["ended_ns"] == 70_000 * MILLISECOND]
    effects = data.operations[(data.operations["kind"] == Kind.try_) & (data.operations["outcome"] == 0)]
    assert len(ended) == 1
    assert [int(e) for e in effects["event_id"] if e == ended[0]] == ended * 2
    commits = mine[mine["kind"] == Kind.commit]
    assert not ((commits["ended_ns"] >= 55_000 * MILLISECOND) & (commits["ended_ns"] <= 70_000 * MILLISECOND)).any()


@in_both_models
def test_a_short_pause_delays_and_changes_nothing_else(run: Run) -> None:
    """Five seconds are less than the session: nobody moves, and what waited is handed over when the member goes on."""
    data = run(**two_readers({"fault": "member_pause", "at": "10.1s", "for": "5s"}))

    assert [i.kind for i in data.incidents if i.kind in ("session expired", "rebalance", "eviction")] == []
    deliveries = data.operations[data.operations["kind"] == Kind.delivery]
    mine = deliveries[deliveries["process"] == data.names.processes.index("g/2")]["started_ns"] / MILLISECOND
    assert [time for time in mine if 10_100 < time < 15_100] == []
    assert 15_100.0 in mine.tolist()


@in_both_models
def test_a_stalled_handler_keeps_its_session_and_loses_its_place_by_the_poll_interval(run: Run) -> None:
    """It does not call from 10.1 s on; with 30 s to call again it leaves at 40.1 s, and is back when the stall is over."""
    stall = {"fault": "poll_stall", "at": "10.1s", "for": "60s"}
    data = run(**two_readers(stall, {"max.poll.interval.ms": 30_000, "session.timeout.ms": 10_000}))

    moves = [
        (i.kind, i.time_ns / MILLISECOND)
        for i in data.incidents
        if i.kind in ("session expired", "eviction", "restart")
    ]
    assert moves == [("eviction", 40_100.0), ("restart", 70_100.0)]


def pool(**settings: object) -> dict[str, object]:
    """Return changes: twelve events at one instant, a tenth of a millisecond apart, over two keys, and several workers."""
    burst = {"for": "1200us", "rate": "10000/s", "spacing": "even"}
    arrivals = [burst, {"for": "998800us", "rate": "0/s"}]
    return {
        "topics__a": {"partitions": 2, "replication": 3},
        "producers__p": {"topic": "a", "key": "sequence", "arrivals": arrivals, "settings": {"linger.ms": 5}},
        "groups__g": {"topics": ["a"], "work": "100ms", **settings},
    }


def ends_ms(data: object) -> list[float]:
    return sorted(round(end, 1) for end in ms(data, Kind.try_))  # type: ignore[arg-type]  # a run


@in_both_models
def test_a_pool_that_left_before_its_emitted_events_were_answered_can_leave_again(run: Run) -> None:
    """It leaves from 320 to 360 ms, and an effect of 355 ms emits what is there at 410: when it leaves again, at 1500 ms, it does not wait for that."""
    profile = Profile(
        profile="slow", produce=constant(50), produce_leader=constant(1), commit=constant(40), phases="aligned"
    )
    group = {"topics": ["a"], "work": "150ms", "workers": 2, "ordered_by": "none", "commit": {"every": "10s"}}
    data = run(
        profile,
        duration="2s",
        brokers__settings={"group.initial.rebalance.delay.ms": 0},
        topics__b={"partitions": 1, "replication": 3},
        groups__g={**group, "emits": [{"topic": "b"}], "settings": {"auto.offset.reset": "earliest"}},
        faults=[{"fault": "member_leave", "member": "g/1", "at": at, "for": "400ms"} for at in ("320ms", "1500ms")],
    )

    commits_ms = ms(data, Kind.commit, "started_ns")
    assert commits_ms[0] == 320.0
    assert [started for started in commits_ms if 1_500 <= started < 1_700]


@in_both_models
def test_workers_without_an_order_work_side_by_side(run: Run) -> None:
    """Twelve events of 100 ms and four workers: three rounds."""
    ends = ends_ms(run(**pool(workers=4, ordered_by="none")))

    assert len(ends) == 12
    assert [sum(n * 100 <= end - 5 < n * 100 + 50 for end in ends) for n in (1, 2, 3, 4)] == [4, 4, 4, 0]


@in_both_models
def test_workers_in_the_order_of_partitions_are_no_more_than_there_are_partitions(run: Run) -> None:
    """Two partitions: two at a time, whatever the workers, and each partition in the order of its offsets."""
    data = run(**pool(workers=4, ordered_by="partition"))
    tries = data.operations[data.operations["kind"] == Kind.try_]

    for partition in (0, 1):
        own = tries[tries["partition"] == partition]
        assert own["offset"].tolist() == sorted(own["offset"].tolist())
        assert (own["started_ns"][1:] >= own["ended_ns"][:-1]).all()


@in_both_models
def test_what_is_committed_lies_below_everything_unfinished(run: Run) -> None:
    """Event 0 fails twice and works at the third try, long after the others of its partition: nothing is committed before."""
    changes = pool(workers=12, ordered_by="none", commit={"every": "50ms"})
    changes["producers__p"]["poison"] = "0%"
    changes["groups__g"]["failures"] = {"then": "skip", "retry": {"attempts": 2, "backoff": "300ms"}}
    changes["faults"] = [{"fault": "poison", "producer": "p", "events": 1, "at": "0ms", "for": "150us"}]
    data = run(**changes)
    skipped = data.operations[data.operations["kind"] == Kind.skip][0]
    commits = data.operations[
        (data.operations["kind"] == Kind.commit) & (data.operations["partition"] == skipped["partition"])
    ]

    assert skipped["offset"] == 0
    assert (commits["started_ns"] >= skipped["ended_ns"]).all()
    assert len(commits) == 1


@in_both_models
def test_no_more_than_in_hand_is_taken(run: Run) -> None:
    """With three in hand, the fourth is handed over when the first is done."""
    data = run(**pool(workers=2, ordered_by="none", in_hand=3))
    delivered, ended = sorted(ms(data, Kind.delivery)), ends_ms(data)

    assert sum(time < ended[0] - 0.01 for time in delivered) == 3


@in_both_models
def test_workers_begin_what_a_call_brought_when_that_is_committed(run: Run) -> None:
    """Twelve events at 5.05 ms, a commit of 30 ms, four workers; who dies at 100 ms has lost all of them."""
    changes = pool(workers=4, ordered_by="none", commit="before_work")
    changes["topics__a"] = {"partitions": 1, "replication": 3}
    profile = Profile(profile="p", commit=constant(30), phases="aligned")
    crash = {"fault": "member_crash", "member": "g/1", "at": "100ms", "for": "50ms"}
    works, dies = run(profile, **changes), run(profile, **changes, faults=[crash])

    assert ms(works, Kind.delivery) == ms(dies, Kind.delivery) == [5.05] * 12
    assert ms(works, Kind.commit) == ms(dies, Kind.commit) == [35.05]
    assert sorted(ms(works, Kind.try_, "started_ns")) == [35.05] * 4 + [135.05] * 4 + [235.05] * 4
    assert ms(dies, Kind.try_) == []


@in_both_models
def test_a_worker_that_cannot_go_on_has_its_member_leave_though_it_has_no_room(run: Run) -> None:
    """Two workers with two in hand: event 2 of twelve fails at 205.05 ms, beside event 3, and nothing more is handed over."""
    changes = pool(workers=2, ordered_by="none", in_hand=2, failures={"then": "stop"})
    changes["topics__a"] = {"partitions": 1, "replication": 3}
    poison = {"fault": "poison", "producer": "p", "events": 1, "at": "200us", "for": "100us"}
    data = run(**changes, faults=[poison], drain="1s")
    commits = data.operations[data.operations["kind"] == Kind.commit]

    assert ms(data, Kind.delivery) == [5.05, 5.05, 105.05, 105.05]
    assert ms(data, Kind.try_) == [105.05, 105.05, 205.05, 205.05]
    assert commits["offset"].tolist() == [2]
    assert [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "rebalance"] == [205.05]


@in_both_models
def test_who_is_told_to_leave_while_it_commits_for_a_rebalance_commits_what_its_workers_did_meanwhile(run: Run) -> None:
    """An event every 100 ms, 80 ms of work, two workers; a commit takes 100 ms, and there is none before a duty.

    Member 2, which has no partition, leaves at 300 ms. Member 1 hears of it within a millisecond and commits the two events that are done, until 400 ms.
    At 335 ms its worker is done with the third, at 350 ms it is told to leave: so it commits that one, too, until 500 ms, and nobody handles it again.
    """
    settings = {"heartbeat.interval.ms": 1, "session.timeout.ms": 10_000}
    leaves = [
        {"fault": "member_leave", "member": "g/2", "at": "300ms", "for": "10s"},
        {"fault": "member_leave", "member": "g/1", "at": "350ms", "for": "1s"},
    ]
    group = {
        "topics": ["a"], "work": "80ms", "members": 2, "workers": 2, "commit": {"every": "60s"}, "settings": settings,
    }  # fmt: skip
    data = run(
        Profile(profile="slow commits", commit=constant(100)), groups__g=group, faults=leaves, drain="20s",
        brokers__settings={"group.min.session.timeout.ms": 1},
    )  # fmt: skip
    commits = data.operations[data.operations["kind"] == Kind.commit]

    assert commits["offset"].tolist()[:2] == [2, 3]
    assert [round(ended_ns / MILLISECOND) for ended_ns in commits["ended_ns"].tolist()[:2]] == [400, 500]
    assert measure_one(data, "duplicate_deliveries").value == 0


@in_both_models
@pytest.mark.parametrize(("delay_ms", "back_ms"), [(3000, 3600.0), (0, 600.0)])
def test_a_classic_group_that_was_empty_waits_for_others_to_join(run: Run, delay_ms: int, back_ms: float) -> None:
    """The only member leaves at 300 ms and is back at 600 ms: it has its partition again 3 s later, by default."""
    leave = {"fault": "member_leave", "member": "g/1", "at": "300ms", "for": "300ms"}
    data = run(faults=[leave], brokers__settings={"group.initial.rebalance.delay.ms": delay_ms})

    told_ms = [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "assignment"]
    assert told_ms[-1] == back_ms
    assert min(at for at in ms(data, Kind.delivery) if at > 300) == back_ms


@in_both_models
def test_the_new_protocol_waits_for_nobody(run: Run) -> None:
    """The same with `group.protocol: consumer`."""
    leave = {"fault": "member_leave", "member": "g/1", "at": "300ms", "for": "300ms"}
    data = run(faults=[leave], groups__g__settings={"group.protocol": "consumer"})

    assert [i.time_ns / MILLISECOND for i in data.incidents if i.kind == "assignment"][-1] == 600.0


@in_both_models
@pytest.mark.parametrize("commit", ["auto", "before_work"])
def test_a_run_does_not_end_while_a_member_works_on_what_is_committed(run: Run, commit: str) -> None:
    """500 events at once, 20 ms each, committed long before the last one is done, at 10 s: none is passed."""
    parts = [{"for": "1ms", "rate": "500000/s", "spacing": "even"}, {"for": "999ms", "rate": "0/s"}]
    data = run(
        producers__p={"topic": "a", "share": "arrivals", "arrivals": parts},
        groups__g={"topics": ["a"], "work": "20ms", "commit": commit}, duration="1s", drain="100s",
    )  # fmt: skip

    assert data.end_ns // 1_000_000 == 10_005
    assert measure_one(data, "passed").value == 0
