"""Instants that a scenario's settings do not allow are told, and those that they allow are not; runs written down by hand with literal times."""

from typing import Any

import pytest

from eventdrill.workflows.instants import impossible
from rundata.tables import RunData
from runs import Build
from test_sim_observed import aim


def fenced(at: float, **brokers: Any) -> RunData:
    """Broker 1 dies at 3 s."""
    crash = {"fault": "broker_crash", "broker": "leader of orders/0", "at": "3s", "for": "3s"}
    build = Build(changes={"faults": [crash], "brokers": brokers})
    build.flow(1.0)
    build.fault(3.0, 6.0)
    aim(build, "broker 1 (leader of orders/0)")
    build.incident(at, "fence", "broker 1")
    return build.run(engine="driven")


def given_up(at: float, **settings: Any) -> RunData:
    """Member work/2 dies at 3 s."""
    crash = {"fault": "member_crash", "member": "work/2", "at": "3s", "for": "3s"}
    build = Build(changes={"faults": [crash], "groups": {"work": {"settings": settings}}})
    build.flow(1.0)
    build.fault(3.0, 6.0)
    aim(build, "work/2")
    build.incident(at, "session expired", "work/2", "Member b")
    return build.run(engine="driven")


@pytest.mark.parametrize("at", [9.5, 10.2, 13.0, 14.0])
def test_fences_that_come_by_the_rule_are_chance(at: float):
    """7 to 10.125 s after the crash, and up to a second for timers that are late."""
    assert impossible(fenced(at)) == ()


@pytest.mark.parametrize(("at", "took"), [(5.0, "2s"), (15.0, "12s")])
def test_a_fence_that_no_chance_explains_is_told_with_its_setting(at: float, took: str):
    (said,) = impossible(fenced(at))

    assert said.startswith(
        f"The controller fenced broker 1 (leader of orders/0) {took} after it died, and by broker.session.timeout.ms (9s) and the "
        "heartbeats that takes 7s to 10.1s: the system does not run with the scenario's settings"
    )


def test_the_scenarios_own_setting_counts():
    """With a session of 4 s, 2 to 4.5 s are due; where a controller died with the broker nobody can tell."""
    settings = {"broker.session.timeout.ms": 4000}

    assert impossible(fenced(6.5, settings=settings)) == ()
    assert len(impossible(fenced(12.0, settings=settings))) == 1
    assert impossible(fenced(17.0, controllers="combined")) == ()


def test_a_session_that_no_chance_explains_is_told_with_its_setting():
    """42 to 45 s are due by the classic protocol; of the other one it is the brokers' setting."""
    assert impossible(given_up(46.0)) == ()
    (said,) = impossible(given_up(13.0))
    assert said.startswith(
        "The coordinator gave work/2 up 10s after it died, and by session.timeout.ms (45s) and the heartbeats that"
    )
    (said,) = impossible(given_up(13.0, **{"group.protocol": "consumer"}))
    assert "by group.consumer.session.timeout.ms (45s) and the heartbeats that takes 40s to 45s" in said
