"""Members that die of an event and are started again, later each time: by hand, and on the embedded cluster."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from live_runs import drive_embedded, group_code, load, rows_of
from loadgen.crash_loops import CrashLoops
from loadgen.refuse import cannot
from rundata.checks import check
from rundata.rows import Kind, Outcome

SCENARIO = """\
scenario: dying
seed: 5
duration: 6s
drain: 4s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 2, replication: 1}}
producers:
  shop: {topic: orders, arrivals: 100/s, key: {uniform: 50}, settings: {acks: all, enable.idempotence: true}}
groups:
  work:
    topics: [orders]
    work: 1ms
    commit: {every: 200ms}
    settings: {session.timeout.ms: 1000, heartbeat.interval.ms: 200}
    failures: {retry: {attempts: 2, backoff: 5ms}, then: crash, restart: {after: 200ms, factor: 2, most: 1s}}
faults:
  - {fault: poison, producer: shop, events: 1, at: 1s, for: 500ms}
"""
MS = 1_000_000


class Crew:
    """A crew of one member, which dies when the test says so and comes back at once."""

    def __init__(self) -> None:
        self.plan = SimpleNamespace(scenario=load(SCENARIO).scenario)
        self.crashed: list[tuple[int, str]] = []
        self.members = {"work/1": SimpleNamespace(running=True, pid=77)}
        self.replaced: list[int] = []

    def hear(self) -> None:
        pass

    def replace_member(self, name: str, first_poll_id: int) -> None:
        self.members[name].running = True
        self.replaced.append(first_poll_id)


def test_each_crash_keeps_a_member_away_longer_up_to_a_most_and_a_long_life_begins_anew() -> None:
    """After 0.2, 0.4, 0.8 and 1 s; having run for two seconds, twice the most, again after 0.2."""
    crew, clock = Crew(), SimpleNamespace(start_ns=1000 * MS, now=0)
    clock.now_ns = lambda: clock.now
    loops = CrashLoops(crew, clock, lambda name: 5)  # type: ignore[arg-type]  # stand-ins
    waited = list[int]()
    for lived_ms in (100, 100, 100, 100, 2000):
        died = clock.now + lived_ms * MS
        crew.members["work/1"].running = False
        crew.crashed.append((clock.start_ns + died, "work/1"))
        clock.now = died
        while not crew.members["work/1"].running:
            loops.look()
            clock.now += 100 * MS
        clock.now -= 100 * MS
        waited.append((clock.now - died) // MS)

    assert waited == [200, 400, 800, 1000, 200]
    assert crew.replaced == [5] * 5
    assert [each.kind for each in loops.incidents] == ["crash", "restart"] * 5
    assert {(each.where, each.cause) for each in loops.incidents} == {("work/1", "then: crash")}


def test_a_member_that_somebody_has_brought_back_is_left_alone() -> None:
    crew, clock = Crew(), SimpleNamespace(start_ns=0, now_ns=lambda: 10_000 * MS)
    crew.crashed.append((0, "work/1"))
    loops = CrashLoops(crew, clock, lambda name: 0)  # type: ignore[arg-type]  # stand-ins
    loops.look()

    assert crew.replaced == []


def test_java_members_do_not_die_of_events() -> None:
    assert cannot(load(SCENARIO, ("groups.work.client=java",)).scenario) == [
        "groups.work.failures.then is crash; the Java client that is driven cannot do that yet: leave `client` out"
    ]


@pytest.mark.live
def test_one_event_kills_its_member_again_and_again_and_keeps_back_what_lies_behind_it(tmp_path: Path) -> None:
    """The poison event is tried twice in each life; nothing behind it in its partition is ever handled, everything in the other one is."""
    run = drive_embedded(load(SCENARIO), tmp_path / "run")
    poison = int(np.flatnonzero(run.plan.poison)[0])
    tries = rows_of(run, Kind.try_, group=group_code(run, "work"))
    crashes, restarts = ([i for i in run.incidents if i.kind == kind] for kind in ("crash", "restart"))
    of_poison = tries[tries["event_id"] == poison]
    done = np.unique(tries["event_id"][tries["outcome"] == Outcome.ok])
    behind = np.flatnonzero((run.plan.partition == run.plan.partition[poison]) & (np.arange(len(run.plan)) > poison))

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert len(crashes) >= 2
    assert len(crashes) - len(restarts) in (0, 1)
    assert len(of_poison) == 2 * len(crashes)
    assert not np.isin(behind, done).any()
    waits, began_ns = 200, 0
    for gone, back in zip(crashes, restarts, strict=False):
        lived_long = gone.time_ns - began_ns >= 2000 * MS  # one that was slow to join has lived for twice the most
        waits = 200 if lived_long else waits
        assert waits <= (back.time_ns - gone.time_ns) // MS < waits + 2000
        waits, began_ns = min(2 * waits, 1000), back.time_ns
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
