"""What happens without an active controller, and under a new one, in both models: cases worked out by hand."""

from typing import Any

from both_models import Run, in_both_models
from by_hand import ms
from rundata.rows import Kind
from test_sim_brokers import SLOWLY, incidents

COMBINED = {"kind": "kafka", "nodes": 3, "controllers": "combined"}
"""Every broker is a voter, and broker 1 the first active controller, where chance has no part."""


def gone(broker: int | str, at: str, lasts: str, fault: str = "broker_crash") -> dict[str, Any]:
    """Return a fault of a broker, or of whoever is the controller."""
    return {"fault": fault, "broker": broker, "at": at, "for": lasts}


@in_both_models
def test_without_a_controller_nobody_is_fenced_and_its_next_one_waits_for_a_whole_session(run: Run) -> None:
    """The controller is gone from 0.1 to 20 s, the leader from 0.22 s on: fenced a session of 9 s after the controller's return."""
    faults = [gone("controller", "100ms", "19900ms"), gone("leader of a/0", "220ms", "60s")]
    data = run(duration="70s", producers__p=SLOWLY, faults=faults)

    assert incidents(data, "controller") == [(20_000, "controller", "")]
    assert incidents(data, "fence") == [(29_000, "broker 1", "")]
    assert incidents(data, "election")[0] == (29_000, "a/0", "leader 2")


@in_both_models
def test_a_broker_that_was_silent_before_the_controller_was_lost_has_its_session_anew_too(run: Run) -> None:
    """The leader dies at 0.22 s and would be fenced at 9.22; the controller is gone from 9 to 12 s: 21 s."""
    faults = [gone("leader of a/0", "220ms", "60s"), gone("controller", "9s", "3s")]
    data = run(duration="70s", producers__p=SLOWLY, faults=faults)

    assert incidents(data, "fence") == [(21_000, "broker 1", "")]


@in_both_models
def test_what_was_decided_before_the_controller_was_lost_stays(run: Run) -> None:
    """Fenced at 9.22 s; the controller is lost at 9.5 s, and the cluster goes on without one."""
    faults = [gone("leader of a/0", "220ms", "60s"), gone("controller", "9500ms", "30s")]
    data = run(duration="30s", producers__p=SLOWLY, faults=faults, drain="60s")

    assert incidents(data, "fence") == [(9220, "broker 1", "")]
    assert ms(data, Kind.send)[9:] == [9505.0 + 1000 * n for n in range(21)]


@in_both_models
def test_a_controller_that_dies_with_what_it_leads_costs_its_failover_and_a_session(run: Run) -> None:
    """Combined: killed at 0.22 s, missed after controller.quorum.fetch.timeout.ms (2 s), and fenced 9 s after the election of another one."""
    data = run(duration="70s", brokers=COMBINED, producers__p=SLOWLY, faults=[gone("controller", "220ms", "60s")])

    assert incidents(data, "controller")[0] == (2220, "broker 2", "")
    assert incidents(data, "fence") == [(11_220, "broker 1", "")]
    assert incidents(data, "election")[0] == (11_220, "a/0", "leader 2")


@in_both_models
def test_a_controller_that_hangs_for_less_than_the_fetch_timeout_stays_what_it_is(run: Run) -> None:
    """1.9 s, of 2."""
    data = run(brokers=COMBINED, faults=[gone("controller", "220ms", "1900ms", "broker_pause")], drain="20s")

    assert incidents(data, "controller") == incidents(data, "fence") == []


@in_both_models
def test_two_of_three_voters_leave_no_controller_until_one_is_back(run: Run) -> None:
    """Brokers 2 and 3 die at 0.22 s; broker 1, the controller, gives up 3 s later. With 2 back at 30.22 s there is one again: sessions end 9 s later."""
    data = run(
        duration="40s", brokers=COMBINED, producers__p={**SLOWLY, "settings": {"acks": "1"}},
        faults=[gone(2, "220ms", "30s"), gone(3, "220ms", "60s")], drain="80s",
    )  # fmt: skip

    assert [(at_ms, where) for at_ms, where, _ in incidents(data, "fence")] == [
        (39_220, "broker 2"),
        (39_220, "broker 3"),
    ]


@in_both_models
def test_leadership_is_not_moved_without_a_controller(run: Run) -> None:
    """Neither by hand nor in good order: the stop waits for the controller's return at 5 s."""
    move = {"fault": "leader_move", "partition": "a/0", "at": "1s"}
    faults = [gone("controller", "100ms", "4900ms"), move, gone("leader of a/0", "2s", "60s", "broker_stop")]
    data = run(duration="10s", producers__p=SLOWLY, faults=faults, drain="80s")

    assert incidents(data, "election")[0] == (5000, "a/0", "leader 2")
