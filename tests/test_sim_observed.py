"""The instants that a driven run tells of, taken from runs written down by hand with literal times."""

from dataclasses import replace
from typing import Any

import numpy as np

from runs import Build, ns
from sim.observed import NOTHING_OBSERVED, Assignment, Observed

CRASH: dict[str, Any] = {"faults": [{"fault": "broker_crash", "broker": "leader of orders/0", "at": "3s", "for": "3s"}]}


def aim(build: Build, target: str) -> Build:
    """Let the last fault have had this target."""
    build.faults[-1] = replace(build.faults[-1], target=target)
    return build


def crashed() -> Build:
    """Broker 1 dies at 3 s, is fenced at 5 s, back at 6.5 s; orders/0 moves to broker 2, and orders.dlq stays where it is."""
    build = Build(changes=CRASH)
    for at in (1.0, 1.5, 2.0):
        build.flow(at)
    build.fault(3.0, 6.0)
    aim(build, "broker 1 (leader of orders/0)")
    build.incident(0.0, "assignment", "work/1", "orders/0")
    build.incident(0.0, "assignment", "work/2", "orders/1")
    build.incident(2.0, "fence", "broker 1")  # before the fault: some other story
    build.incident(5.0, "fence", "broker 1")
    build.incident(5.04, "election", "orders/0", "leader 2")
    build.incident(5.05, "election", "orders.dlq/0", "leader 3")
    build.incident(5.06, "election", "__consumer_offsets/3", "leader 3")
    build.incident(5.04, "isr", "orders/0", "2,3")
    build.incident(6.5, "registered", "broker 1")
    build.incident(7.0, "isr", "orders/0", "1,2,3")
    build.incident(7.4, "isr", "orders/1", "1,2,3")
    build.incident(9.0, "election", "orders/0", "leader 1")
    return build


def test_a_crash_tells_of_fence_election_registration_and_replicas_in_sync():
    """What the logs say, from the fault's begin on; the new leaders are known when the last partition has one."""
    seen = Observed.from_run(crashed().run(engine="driven"))

    assert (seen.fence_ns, seen.elected_ns) == ({0: ns(5.0)}, {0: ns(5.05)})
    assert (seen.registered_ns, seen.back_in_sync_ns) == ({0: ns(6.5)}, {0: ns(7.4)})


def test_members_have_what_they_were_assigned_before_time_0():
    """One assignment of the group, made from what each of its members said."""
    seen = Observed.from_run(crashed().run(engine="driven"))

    assert seen.assignments == {"work": (Assignment(0, {("orders", 0): "work/1", ("orders", 1): "work/2"}),)}


def test_a_client_turns_to_the_new_leader_a_request_before_its_first_answer_from_there():
    """An answer takes 10 ms less 5 ms of linger, a delivery 40 ms after the acknowledgement; partition 1 did not move."""
    build = crashed()
    build.send(build.event(3.1), ended=5.805)
    build.deliver(3, 6.0)
    build.send(build.event(3.2, partition=1), ended=5.2)
    build.scenario = build.scenario.model_copy(
        update={
            "producers": {
                "shop": build.scenario.producers["shop"].model_copy(
                    update={"settings": {"linger.ms": 5, "acks": "all"}}
                )
            }
        }
    )

    seen = Observed.from_run(build.run(engine="driven"))

    assert seen.discovered_ns == {(0, "shop/1", "orders/0"): ns(5.8), (0, "work/1", "orders/0"): ns(5.96)}


def test_leaders_that_stayed_answered_again_30_ms_before_half_of_what_had_waited():
    """Sixty events of orders/1, which stays, are acknowledged from 5.101 to 5.160 s, those of orders/0 later; forty tell too little."""
    found = []
    for waited in (60, 40):
        build = crashed()
        for number in range(waited):
            build.send(build.event(4.0 + number / 1e3, partition=1), ended=round(5.101 + number / 1e3, 3))
        for number in range(60):
            build.send(build.event(4.5 + number / 1e3), ended=round(5.9 + number / 1e3, 3))
        found.append(Observed.from_run(build.run(engine="driven")).answered_ns)

    assert found == [{0: ns(5.1305 - 0.03)}, {}]


def test_events_beyond_the_plan_hinder_nothing():
    """What members emitted has numbers beyond the planned ones."""
    run = crashed().run(engine="driven")
    emitted = run.operations.copy()
    emitted["event_id"] += len(run.plan)
    both = replace(run, operations=np.concatenate([run.operations, emitted]))

    assert Observed.from_run(both).fence_ns == {0: ns(5.0)}


def test_an_answer_that_nothing_follows_while_others_wait_tells_of_no_discovery():
    """One event is answered at 5.1 s, the next that had been waiting at 6.1 s: then; had it come at 5.3 s, or been sent later, at once."""
    found = {}
    for name, started, ended in (("waits", 3.2, 6.1), ("goes on", 3.2, 5.3), ("new", 5.5, 6.1)):
        build = crashed()
        build.send(build.event(3.1), ended=5.1)
        build.send(build.event(started), ended=ended)
        found[name] = Observed.from_run(build.run(engine="driven")).discovered_ns[0, "shop/1", "orders/0"]

    assert found["waits"] == found["goes on"] + ns(1.0)
    assert found["new"] == found["goes on"]


def test_a_member_at_work_seems_to_have_turned_in_the_middle_of_it():
    """What it was handed at 6 s came while it worked, from its call at 5.6 s on; the middle less 40 ms."""
    build = crashed()
    build.send(build.event(3.1), ended=5.805)
    build.send(build.event(3.2, partition=1), ended=5.2)
    build.deliver(4, 5.6)
    build.try_(4, 5.6, 5.998)
    build.deliver(3, 6.0)

    seen = Observed.from_run(build.run(engine="driven"))

    assert seen.discovered_ns[0, "work/1", "orders/0"] == ns(5.76)


def test_a_crashed_members_session_is_that_of_its_own_incident():
    """Others' sessions, and the group's, are not it."""
    build = Build(changes={"faults": [{"fault": "member_crash", "member": "work/2", "at": "3s", "for": "3s"}]})
    build.flow(1.0)
    build.fault(3.0, 6.0)
    aim(build, "work/2")
    build.incident(4.0, "session expired", "work/1", "Member a")
    build.incident(5.5, "session expired", "work/2", "Member b")

    seen = Observed.from_run(build.run(engine="driven"))

    assert seen.session_expired_ns == {(0, "work/2"): ns(5.5)}
    assert seen.fence_ns == {}


def test_a_run_that_tells_nothing_leaves_everything_to_be_drawn():
    """No incidents, no instants."""
    build = Build(changes=CRASH)
    build.flow(1.0)
    build.fault(3.0, 6.0)

    assert Observed.from_run(build.run(engine="driven")) == NOTHING_OBSERVED
