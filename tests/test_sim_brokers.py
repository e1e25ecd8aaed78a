"""What brokers and their controller do, in both models: cases worked out by hand."""

from both_models import Run, in_both_models
from by_hand import ms
from rundata.rows import Kind
from rundata.tables import RunData
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
