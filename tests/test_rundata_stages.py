"""Stages of latency: literal ones of driven rows, exact sums of simulated ones, outages and rebalances taken out of what they interrupted."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from random_scenarios import random_case
from rundata.dataset import open_run, save
from rundata.stages import Stages, compositions, stages
from rundata.tables import FaultRecord, RunData
from runs import Build, ns
from sim.engine import simulate

MS = 1_000_000


def parts_ms(found: Stages, event: int = 0) -> dict[str, float]:
    place = int(np.flatnonzero(found.event == event)[0])
    return {name: float(part[place]) / MS for name, part in found.parts.items() if part[place]}


def test_a_driven_events_latency_is_what_its_rows_say():
    """Planned at 1 s, handed over 1 ms later, acknowledged at 1.010, polled at 1.012, two tries from 1.015 on, the second works at 1.040."""
    build = Build()
    event = build.event(1.0)
    build.send(event, started=1.001, ended=1.010)
    build.deliver(event, 1.012)
    build.try_(event, 1.015, 1.020, ok=False)
    build.try_(event, 1.035, 1.040, attempt=2)

    found = stages(build.run(engine="driven"))

    assert parts_ms(found) == {
        "sending": 1, "producing": 9, "fetching": 2, "waiting": 3, "retrying": 20, "working": 5,
    }  # fmt: skip
    assert found.latency_ns.tolist() == [40 * MS]


def test_a_record_that_comes_while_its_member_is_busy_waits_for_that():
    """The member works on another event until 1.100; this one was acknowledged at 1.010 and polled at 1.103."""
    build = Build()
    other, event = build.event(0.9), build.event(1.0)
    build.send(other, ended=0.91)
    build.handle(other, 0.95, 1.100)
    build.send(event, ended=1.010)
    build.deliver(event, 1.103)
    build.try_(event, 1.103, 1.105)

    assert parts_ms(stages(build.run(engine="driven")), event) == {
        "producing": 10, "waiting": 90, "fetching": 3, "working": 2,
    }  # fmt: skip


def crashed() -> RunData:
    """Broker 1 dies at 3 s and leads orders/0 until 5 s; an event of 2.99 s waits in the producer, and is polled at 5.2 s."""
    build = Build(changes={"faults": [{"fault": "broker_crash", "broker": 1, "at": "3s", "for": "4s"}]})
    build.flow(2.0)
    build.fault(3.0, 7.0)
    event = build.event(2.99)
    build.send(event, ended=5.1)
    build.handle(event, 5.2, 5.3)
    build.incident(5.0, "election", "orders/0", "leader 2")
    run = build.run(engine="driven")
    record: FaultRecord = dataclasses.replace(run.faults[0], target="broker 1 (leader of orders/0)")
    return dataclasses.replace(run, faults=(record,))


def test_an_outage_is_taken_out_of_what_it_interrupted():
    """From the crash to the group's first delivery after the election: 2.2 s, of which 2.1 were spent in the producer."""
    found = stages(crashed())

    assert parts_ms(found, 1) == {"producing": 10, "outage": 2200, "working": 100}


def test_without_an_election_nothing_is_an_outage():
    """The same rows, and nothing that says that the partition stood still."""
    run = dataclasses.replace(crashed(), incidents=())

    assert parts_ms(stages(run), 1) == {"producing": 2110, "fetching": 100, "working": 100}


def test_time_without_a_member_is_a_rebalance():
    """Member 1 is gone at 3 s; its partition is assigned to member 2 at 8 s, and the event of 4 s polled at 8.1 s."""
    build = Build(changes={"faults": [{"fault": "member_crash", "member": "work/1", "at": "3s", "for": "60s"}]})
    build.incident(0.0, "assignment", "work/1", "orders/0")
    build.fault(3.0, 9.0)
    event = build.event(4.0)
    build.send(event, ended=4.01)
    build.incident(8.0, "assignment", "work/2", "orders/0 orders/1")
    build.handle(event, 8.1, 8.2, member=2)
    run = build.run(engine="driven")
    run = dataclasses.replace(run, faults=(dataclasses.replace(run.faults[0], target="work/1"),))

    assert parts_ms(stages(run), event) == {"producing": 10, "fetching": 100, "rebalance": 3990, "working": 100}


@pytest.mark.parametrize("number", range(12))
def test_stages_add_up_to_the_nanosecond_in_random_scenarios(number: int):
    """Whatever happened to it, no stage of a pair is negative, and together they are its latency."""
    case = random_case(number)

    found = stages(simulate(case.plan, case.profile))

    assert all((part >= 0).all() for part in found.parts.values())
    assert (sum(found.parts.values(), np.zeros(len(found.event), np.int64)) == found.latency_ns).all()


def test_a_simulated_run_keeps_its_stages_on_disk(tmp_path: Path):
    """Instants come back as they were written, and so do the stages."""
    runs = (simulate(case.plan, case.profile) for case in map(random_case, range(20)))
    run = next(run for run in runs if len(run.instants))

    save(run, tmp_path / "run")
    again = open_run(tmp_path / "run").data

    assert (again.instants == run.instants).all()
    assert {name: part.tolist() for name, part in stages(again).parts.items()} == {
        name: part.tolist() for name, part in stages(run).parts.items()
    }


def test_a_quantiles_composition_is_the_mean_of_its_nearest_hundredth():
    """Of 200 pairs with 1 to 200 ms of work, p50 is that of ranks 99 and 100, p99 of 197 and 198."""
    work = np.arange(1, 201) * MS
    found = Stages(np.arange(200), np.zeros(200, np.int64), work, {"working": work})

    middle, slow = compositions(found)

    assert (middle.statistic, middle.latency_s, middle.parts_s) == ("p50", 0.1005, {"working": 0.1005})
    assert (slow.statistic, slow.latency_s) == ("p99", 0.1985)
    assert compositions(Stages(work[:0], work[:0], work[:0], {"working": work[:0]})) == []


def test_warm_up_is_no_part_of_it():
    """Only measured pairs have stages."""
    build = Build(changes={"warm_up": "2s"})
    build.flow(1.0)
    build.flow(3.0)

    assert stages(build.run(engine="driven")).event.tolist() == [1]
    assert ns(1.0) == 1_000_000_000
