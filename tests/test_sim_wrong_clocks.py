"""Wrong clocks: the timestamps of a producer's records and their ages to a broker, in both models, worked out by hand."""

import pytest

from both_models import Run, in_both_models
from by_hand import by_hand
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from scenarios.quantities import SECOND
from sim.engine import simulate
from sim.refuse import cannot

# Event n is handed over at 0.05 + n / 10 s. Two events of 400 KiB fill a segment of 1 MiB, brokers look every 0.7 s.
LARGE = {"topic": "a", "arrivals": {"rate": "10/s", "spacing": "even"}, "share": "arrivals", "size": "400KiB"}
KEPT = {"retention.ms": 1500, "segment.bytes": 2**20, "min.insync.replicas": 2}
LOOKS = {"log.retention.check.interval.ms": 700}
BEHIND = {"fault": "clock_skew", "producer": "p", "by": "-1s", "at": "600ms", "for": "700ms"}
AHEAD = {"fault": "clock_skew", "broker": "leader of a/0", "by": "1s", "at": "0s", "for": "3s"}


def expired(data: RunData) -> list[tuple[float, str]]:
    """Return when what was deleted."""
    return [(i.time_ns / SECOND, i.detail) for i in data.incidents if i.kind == "expired"]


@in_both_models
def test_records_get_the_timestamps_of_their_producers_clock(run: Run) -> None:
    """From 0.6 to 1.3 s a second behind: events 6 to 12."""
    data = run(duration="1.5s", faults=[BEHIND])

    late = [n for n in range(15) if data.log["time_ns"][n] != 50_000_000 + n * 100_000_000]
    assert late == [6, 7, 8, 9, 10, 11, 12]
    assert data.log["time_ns"][6:13].tolist() == [n * 100_000_000 - 950_000_000 for n in range(6, 13)]


@in_both_models
def test_one_process_with_a_wrong_clock_leaves_the_others_alone(run: Run) -> None:
    """Of two processes that send in turn; of two faults at once the first counts."""
    two = {"topic": "a", "arrivals": {"rate": "10/s", "spacing": "even"}, "share": "arrivals", "count": 2}
    second = BEHIND | {"producer": "p/2"}
    data = run(duration="1.5s", producers__p=two, faults=[second, second | {"by": "9s"}])

    off = [int(data.log["time_ns"][n]) - 50_000_000 - n * 100_000_000 for n in range(15)]
    assert {off[n] for n in range(6, 13)} == {0, -1_000_000_000}
    assert {off[n] for n in [*range(6), 13, 14]} == {0}


@in_both_models
def test_records_of_a_clock_behind_expire_early(run: Run) -> None:
    """At 2.1 s events 0 to 5 would go alone; 6 to 11 are taken for a second older than they are, 12 shares a segment with 13."""
    data = run(
        duration="4s",
        producers__p=LARGE,
        topics__a__settings=KEPT,
        brokers__settings=LOOKS,
        drain="0s",
        faults=[BEHIND],
    )

    assert expired(data) == [(2.1, "first offset 12"), (3.5, "first offset 20")]


@in_both_models
def test_a_broker_ahead_takes_its_records_for_older_until_its_clock_is_right(run: Run) -> None:
    """A second ahead until 3 s it keeps half a second of what it leads; at 3.5 s nothing is old enough."""
    data = run(
        duration="4s", producers__p=LARGE, topics__a__settings=KEPT, brokers__settings=LOOKS, drain="0s", faults=[AHEAD]
    )

    assert expired(data) == [
        (0.7, "first offset 2"),
        (1.4, "first offset 8"),
        (2.1, "first offset 16"),
        (2.8, "first offset 22"),
    ]


@in_both_models
def test_an_offset_by_time_is_the_first_record_that_claims_to_be_so_young(run: Run) -> None:
    """At 1.4 s all before the last half second goes: 9 is the first by the right clock; a second ahead event 2 claims to be young enough."""
    deletes = {"fault": "delete_records", "topic": "a", "at": "1.4s", "up_to": "500ms"}
    ahead = BEHIND | {"by": "1s", "at": "200ms", "for": "100ms"}

    assert expired(run(duration="2s", faults=[deletes])) == [(1.4, "first offset 9")]
    assert expired(run(duration="2s", faults=[deletes, ahead])) == [(1.4, "first offset 2")]


def test_what_was_off_is_told_with_the_fault() -> None:
    run = simulate(make_plan(by_hand(duration="1.5s", faults=[BEHIND, AHEAD])), IDEAL)

    assert [(fault.target, fault.proof) for fault in run.faults] == [
        ("broker 1", "broker 1's clock was off by +1 s"),
        ("p", "timestamps of 7 records were off by -1 s"),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"faults": [BEHIND | {"by": "1h"}]}, None),
        ({"faults": [BEHIND | {"by": "-2h"}]}, None),
        (
            {"faults": [BEHIND | {"by": "61m"}]},
            "faults[0].by is 1h 1m; brokers refuse records more than an hour ahead of their clocks (message.timestamp.after.max.ms)",
        ),
        ({"faults": [AHEAD | {"by": "2h"}]}, None),
        ({"faults": [AHEAD | {"by": "-2h"}]}, "faults[0].by is -2h; brokers refuse records more than an hour ahead"),
        (
            {"faults": [AHEAD], "groups__g__commit": "transaction"},
            "faults[0].broker is leader of a/0, whose clock also times the transactions of g, which the simulator does not model",
        ),
    ],
)  # fmt: skip
def test_clocks_that_change_more_than_timestamps_and_ages_are_refused(
    changes: dict[str, object], said: str | None
) -> None:
    problems = cannot(by_hand(**changes))

    assert [problem[: len(said or "")] for problem in problems] == ([] if said is None else [said])
