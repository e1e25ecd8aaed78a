"""Actions worked out by hand, in the plain model and in the simulator: more members, other offsets, other versions."""

from typing import Any

from both_models import Run, in_both_models
from by_hand import by_hand, ms
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from sim.engine import simulate

SIX = {"topics__a": {"partitions": 6, "replication": 3}, "producers__p__key": {"uniform": 60}}
AT_ONCE = {"groups__g__settings": {"group.protocol": "consumer"}}


def _act(**action: Any) -> dict[str, Any]:
    return {"actions": [{"group": "g", **action}]}


def _handlers(data: RunData, from_ms: float, to_ms: float) -> list[str]:
    """Return the members with tries that began in a stretch."""
    tries = data.operations[data.operations["kind"] == Kind.try_]
    there = tries[(tries["started_ns"] >= from_ms * 1e6) & (tries["started_ns"] < to_ms * 1e6)]
    return [data.names.processes[code] for code in sorted(set(there["process"].tolist()))]


@in_both_models
def test_a_group_gets_more_members_and_as_many_as_before_after_a_while(run: Run) -> None:
    """One member until 2 s, three until 5 s, then one again."""
    data = run(
        duration="8s",
        producers__p__arrivals={"rate": "40/s", "spacing": "even"},
        **SIX,
        groups__g__work="1ms",
        groups__g__settings={"heartbeat.interval.ms": 100, "session.timeout.ms": 6000},
        **_act(action="scale", to=3, at="2s", **{"for": "3s"}),
    )

    assert _handlers(data, 0, 2000) == ["g/1"]
    assert _handlers(data, 2500, 5000) == ["g/1", "g/2", "g/3"]
    assert _handlers(data, 5500, 8000) == ["g/1"]
    assert len(ms(data, Kind.delivery)) == 320


@in_both_models
def test_nobody_works_where_a_group_is_scaled_to_nothing(run: Run) -> None:
    """From 300 to 700 ms there is no member; what came meanwhile is handled afterwards."""
    data = run(**AT_ONCE, **_act(action="scale", to=0, at="300ms", **{"for": "400ms"}))

    began = ms(data, Kind.try_, "started_ns")
    assert [at for at in began if at < 300] == [55, 155, 255]
    assert [at for at in began if 300 <= at < 700] == []
    assert len(began) == 10


@in_both_models
def test_offsets_set_back_have_events_handled_again_and_the_run_waits_for_it(run: Run) -> None:
    """At 900 ms nine events are handled; offsets are set to 4, so five of them come again."""
    data = run(**AT_ONCE, groups__g__work="80ms", **_act(action="reset_offsets", to=4, at="900ms"))

    assert ms(data, Kind.delivery, "offset")[-6:] == [offset / 1e6 for offset in (4, 5, 6, 7, 8, 9)]
    assert len(ms(data, Kind.try_)) == 15
    assert data.end_ns > 1_000_000_000


@in_both_models
def test_offsets_set_forward_pass_over_what_waits(run: Run) -> None:
    """The batch that is under way, offsets 1 to 3, ends at 1255 ms; the member then leaves, and everything there is passed over."""
    data = run(**AT_ONCE, groups__g__work="300ms", **_act(action="reset_offsets", to="latest", at="650ms"))

    tries = data.operations[data.operations["kind"] == Kind.try_]
    assert tries["offset"].tolist() == [0, 1, 2, 3]
    assert data.end_ns == 1_255_000_000


@in_both_models
def test_offsets_are_set_to_the_first_record_of_the_last_so_much_time(run: Run) -> None:
    """Records are from 50, 150, ... ms: of the last 320 ms before 900 ms those from 650 ms on."""
    data = run(**AT_ONCE, groups__g__work="0ms", **_act(action="reset_offsets", to="320ms", at="900ms"))

    assert ms(data, Kind.delivery, "offset")[-4:] == [offset / 1e6 for offset in (6, 7, 8, 9)]


def test_offsets_are_not_set_while_a_dead_member_has_its_session() -> None:
    """Of two members one dies; the coordinator keeps its place for 45 s, which is more than anybody waits."""
    crash = {"fault": "member_crash", "member": "g/2", "at": "100ms", "for": "60s"}
    data = simulate(
        make_plan(
            by_hand(
                duration="2s",
                drain="80s",
                **SIX,
                groups__g__members=2,
                faults=[crash],
                **_act(action="reset_offsets", to="latest", at="1s"),
            )
        ),
        IDEAL,
    )

    assert data.actions[0].proof == "failed: g still had members at 21.000 s; 1 members back at 21.000 s"


@in_both_models
def test_a_version_is_deployed_member_by_member(run: Run) -> None:
    """From 400 ms on tries take 20 ms instead of 10."""
    data = run(**AT_ONCE, **_act(action="deploy", version="2", work="20ms", at="400ms"))

    took = [ended - began for began, ended in zip(ms(data, Kind.try_, "started_ns"), ms(data, Kind.try_), strict=True)]
    assert took == [10, 10, 10, 10, 20, 20, 20, 20, 20, 20]


@in_both_models
def test_a_canary_that_fails_is_rolled_back(run: Run) -> None:
    """Half of two members get a version whose tries all fail; half a second later the errors bring the old one back."""
    data = run(
        duration="4s",
        producers__p__arrivals={"rate": "50/s", "spacing": "even"},
        **SIX,
        groups__g__members=2,
        groups__g__settings={"heartbeat.interval.ms": 100, "session.timeout.ms": 6000},
        groups__g__failures={"then": "skip"},
        **_act(
            action="deploy",
            version="2",
            fails="100%",
            canary="50%",
            watch="500ms",
            at="1s",
            rollback_if="errors[g] > 5%",
        ),
    )

    tries = data.operations[data.operations["kind"] == Kind.try_]
    failed = tries[tries["outcome"] == Outcome.failed]
    assert {data.names.processes[code] for code in failed["process"].tolist()} == {"g/1"}
    assert 1000 <= failed["started_ns"].min() / 1e6 < 1500
    assert failed["ended_ns"].max() / 1e6 <= 1600


@in_both_models
def test_a_canary_that_holds_is_followed_by_the_others(run: Run) -> None:
    """No errors within 300 ms: the second member gets the version, too."""
    data = run(
        duration="4s",
        producers__p__arrivals={"rate": "50/s", "spacing": "even"},
        **SIX,
        groups__g__members=2,
        groups__g__settings={"heartbeat.interval.ms": 100, "session.timeout.ms": 6000},
        **_act(
            action="deploy", version="2", work="1ms", canary="50%", watch="300ms", at="1s", rollback_if="errors[g] > 5%"
        ),
    )

    tries = data.operations[data.operations["kind"] == Kind.try_]
    late = tries[tries["started_ns"] > 2_000_000_000]
    assert len(set(late["process"].tolist())) == 2
    assert set((late["ended_ns"] - late["started_ns"]).tolist()) == {1_000_000}


@in_both_models
def test_a_version_that_decodes_a_schema_mends_what_could_not_be_read(run: Run) -> None:
    """Version 2 of the schema from 300 ms on breaks the group until members that decode it come at 600 ms."""
    data = run(
        **AT_ONCE,
        groups__g__failures={"then": "skip"},
        faults=[{"fault": "schema_change", "producer": "p", "at": "300ms", "version": 2}],
        **_act(action="deploy", version="2", decodes=2, at="600ms"),
    )

    assert ms(data, Kind.try_, "outcome") == [0, 0, 0, 0.000001, 0.000001, 0.000001, 0, 0, 0, 0]


def test_actions_are_told_with_what_they_did() -> None:
    """Records and incidents of a scale and a deploy."""
    data = simulate(
        make_plan(
            by_hand(
                **AT_ONCE,
                actions=[
                    {"action": "scale", "group": "g", "to": 2, "at": "200ms"},
                    {"action": "deploy", "group": "g", "version": "2", "at": "500ms"},
                ],
            )
        ),
        IDEAL,
    )

    assert [(each.kind, each.target, each.proof) for each in data.actions] == [
        ("scale", "g", "1 members became 2 at 0.200 s"),
        ("deploy", "g", "2 members run version 2 at 0.500 s"),
    ]
    assert [(i.kind, i.where, i.detail) for i in data.incidents if i.kind in ("scale", "deploy")] == [
        ("scale", "g", "1 to 2 members"),
        ("deploy", "g/1", "version 2"),
        ("deploy", "g/2", "version 2"),
    ]
