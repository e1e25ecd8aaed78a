"""What the simulator says of groups against what Kafka's timers let one expect: distributions over fixed seeds, against the formula."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from by_hand import by_hand, ms
from rundata.indicators import measure_one
from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import Profile
from sim.engine import simulate

SEEDS = range(40)
MEMBERS = Profile(profile="timers only", phases="random")


def three_members(protocol: str, fault: str, seed: int, **more: Any) -> RunData:
    """Return a run of three members with six partitions; number 3 dies or leaves after a second, for good."""
    return simulate(
        make_plan(
            by_hand(
                topics__a={"partitions": 6, "replication": 3},
                producers__p={"topic": "a", "key": "sequence", "arrivals": {"rate": "30/s", "spacing": "even"}},
                groups__g={"topics": ["a"], "members": 3, "work": "1ms", "settings": {"group.protocol": protocol}},
                faults=[{"fault": fault, "member": "g/3", "at": "1s", "for": "200s"}],
                duration="2s",
                drain="100s",
                seed=seed,
                **more,
            )
        ),
        MEMBERS,
    )


def waits_s(protocol: str, fault: str) -> NDArray[np.float64]:
    """Return by seed how long after the fault the first partition of the lost member was read by another one."""
    found = []
    for seed in SEEDS:
        data = three_members(protocol, fault, seed)
        told = [i.time_ns for i in data.incidents if i.kind == "assignment" and i.time_ns > 0]
        found.append(min(told) / 1e9 - 1.0)
    return np.array(found)


def assert_mean(values: NDArray[np.float64], expected: float, deviation: float) -> None:
    """Assert that a mean is the expected one, to 99.9 %."""
    assert abs(values.mean() - expected) < 3.3 * deviation / np.sqrt(len(values))


# With n members whose heartbeats are spread over h, the last of two to learn does so after max(U, U) h, on average 2/3 h.


def test_a_killed_members_partitions_stand_still_for_the_session_in_a_classic_group() -> None:
    """45 s - U(0, 3) + max of two U(0, 3): 42 to 48 s, 45.5 s on average."""
    waits = waits_s("classic", "member_crash")

    assert waits.min() > 42.0
    assert waits.max() < 48.0
    assert_mean(waits, 45.0 - 1.5 + 2.0, np.sqrt(9 / 12 + 9 / 18))


def test_a_killed_members_partitions_stand_still_for_the_session_in_the_new_protocol() -> None:
    """45 s - U(0, 5) + the earlier of two U(0, 5) for the first partition: 40 to 50 s, 44.2 s on average."""
    waits = waits_s("consumer", "member_crash")

    assert waits.min() > 40.0
    assert waits.max() < 50.0
    assert_mean(waits, 45.0 - 2.5 + 5 / 3, np.sqrt(25 / 12 + 25 / 18))


@pytest.mark.parametrize(("protocol", "heartbeat_s", "expected_s"), [("classic", 3.0, 2.0), ("consumer", 5.0, 5 / 3)])
def test_a_leavers_partitions_move_within_a_heartbeat(protocol: str, heartbeat_s: float, expected_s: float) -> None:
    """Classic: when the last of two has learned; consumer: when the first new owner has."""
    waits = waits_s(protocol, "member_leave")

    assert waits.min() > 0.0
    assert waits.max() < heartbeat_s
    assert_mean(waits, expected_s, heartbeat_s / np.sqrt(18))


def test_a_classic_rebalance_stops_everybody_and_the_new_protocol_only_what_moves() -> None:
    """A member joins: every partition changes hands once or is given again (classic); a third of them moves (consumer)."""
    moved = {}
    for protocol in ("classic", "consumer"):
        fault = {"fault": "member_leave", "member": "g/3", "at": "1s", "for": "10s"}
        plan = make_plan(
            by_hand(
                topics__a={"partitions": 6, "replication": 3},
                producers__p={"topic": "a", "key": "sequence", "arrivals": {"rate": "30/s", "spacing": "even"}},
                groups__g={"topics": ["a"], "members": 3, "work": "1ms", "settings": {"group.protocol": protocol}},
                faults=[fault],
                duration="30s",
            )
        )
        data = simulate(plan, MEMBERS)
        told = [i.detail.split() for i in data.incidents if i.kind == "assignment" and i.time_ns > 11e9]
        moved[protocol] = sorted(partition for partitions in told for partition in partitions)

    assert moved["classic"] == [f"a/{n}" for n in range(6)]
    assert len(moved["consumer"]) == 2


def test_repeats_after_a_crash_are_what_was_done_since_the_last_commit() -> None:
    """Commits each 5 s: on average 2.5 s of the member's events come again, never more than 5 s."""
    again = []
    for seed in range(40):
        at_s = 6 + 5 * seed / 40
        data = simulate(
            make_plan(
                by_hand(
                    producers__p={"topic": "a", "share": "arrivals", "arrivals": {"rate": "20/s", "spacing": "even"}},
                    groups__g={"topics": ["a"], "work": "1ms", "commit": {"every": "5s"}},
                    faults=[{"fault": "member_crash", "member": "g/1", "at": f"{at_s}s", "for": "1s"}],
                    duration="12s", drain="100s", seed=seed,
                )
            ),
            MEMBERS,
        )  # fmt: skip
        again.append(measure_one(data, "duplicate_effects").value)

    assert max(again) <= 100
    assert abs(np.mean(again) - 50) < 3


def test_librdkafkas_own_commits_lose_what_was_handed_over_and_not_done() -> None:
    """500 handed over at once, 20 ms each, committed after 5 s; killed at 4.9 s all come again, at 5.1 s what was not done is lost."""
    found = {}
    for at in ("4.9s", "5.1s"):
        burst = {"for": "1ms", "rate": "500000/s", "spacing": "even"}
        data = simulate(
            make_plan(
                by_hand(
                    producers__p={"topic": "a", "share": "arrivals", "arrivals": [burst, {"for": "5999ms", "rate": "0/s"}]},
                    groups__g={"topics": ["a"], "work": "20ms", "commit": "auto"},
                    faults=[{"fault": "member_crash", "member": "g/1", "at": at, "for": "1s"}],
                    duration="6s", drain="100s",
                )
            ),
            Profile(profile="timers only", phases="aligned"),
        )  # fmt: skip
        done = int((data.operations["ended_ns"][data.operations["kind"] == Kind.try_] < 5.1e9).sum())
        found[at] = (measure_one(data, "duplicate_deliveries").value, measure_one(data, "passed").value, done)

    assert found["4.9s"][0] == 500
    assert found["5.1s"] == (0, 500 - 254, 254)


def test_a_backlog_drains_at_the_rate_that_is_left() -> None:
    """No reader for 5 s at 100/s, then 250/s: (500 - 100) / 150 = 2.7 s until no more is left than one second's arrivals."""
    data = simulate(
        make_plan(
            by_hand(
                producers__p={"topic": "a", "share": "arrivals", "arrivals": {"rate": "100/s", "spacing": "even"}},
                brokers__settings={"group.initial.rebalance.delay.ms": 0},
                groups__g={"topics": ["a"], "work": "4ms", "commit": "after_event"},
                faults=[{"fault": "member_leave", "member": "g/1", "at": "5s", "for": "5s"}],
                duration="20s",
            )
        ),
        Profile(profile="timers only", phases="aligned"),
    )

    assert measure_one(data, "lag.max").value == pytest.approx(500, abs=15)
    assert measure_one(data, "drain_time").value == pytest.approx(400 / 150, rel=0.1)
    assert len(ms(data, Kind.delivery)) == 2000
