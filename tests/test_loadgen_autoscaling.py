"""A driven autoscaler: members by lag, the missing ones at once, fewer only after a while, and nobody whom others bring back."""

import queue
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from live_runs import drive_embedded, group_code, load, rows_of
from loadgen.autoscaling import Looks, Scaler
from loadgen.children import ChildError
from loadgen.refuse import cannot
from rundata.checks import check
from rundata.rows import Kind, Outcome
from scenarios.around import Autoscaler

S = 1_000_000_000
WHAT = Autoscaler.model_validate({"lag": 100, "min": 1, "max": 4, "poll": "1s", "cooldown": "10s", "start_up": "2s"})

SCENARIO = """\
scenario: scaled
seed: 5
duration: 11s
drain: 30s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 4, replication: 1}}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true}, arrivals: [{for: 3s, rate: 200/s}, {for: 8s, rate: 5/s}], key: {uniform: 500}}
groups:
  work:
    topics: [orders]
    members: 1
    work: 10ms
    commit: {every: 200ms}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300, max.poll.records: 20}
    autoscaler: {lag: 100, min: 1, max: 3, poll: 500ms, cooldown: 2s, start_up: 200ms}
"""


class Crew:
    """Members of a group as the scaler sees them; a member that is asked to leave is up until it has left."""

    def __init__(self, up: int) -> None:
        self.members: dict[str, Any] = {}
        self.ended_by_policy: set[str] = set()
        self.told: list[tuple[str, str]] = []
        for number in range(1, up + 1):
            self.start_member(f"work/{number}", 0)
        self.told.clear()

    def start_member(self, name: str, first_poll_id: int) -> None:
        self.members[name] = SimpleNamespace(running=True, expected_to_end=False)
        self.told.append(("start", f"{name} from {first_poll_id}"))

    replace_member = start_member

    def end_member(self, name: str, number: signal.Signals) -> None:
        self.members[name].expected_to_end = True
        self.told.append((number.name, name))


def scaler_of(crew: Crew, come_back: set[str] | None = None) -> Scaler:
    return Scaler("work", WHAT, crew, lambda _name: 7, lambda: come_back or set())  # type: ignore[arg-type]  # a crew by hand


def test_members_that_lag_asks_for_join_when_they_have_started_up():
    """A lag of 250 at 1 s asks for three; the second look finds them on their way; they join at 3 s."""
    crew = Crew(1)
    scaler = scaler_of(crew)
    scaler.look(250, 6, 1 * S)
    scaler.advance(int(2.9 * S))
    scaler.look(250, 6, 2 * S)
    assert crew.told == []

    scaler.advance(3 * S)

    assert crew.told == [("start", "work/2 from 7"), ("start", "work/3 from 7")]
    assert [(each.kind, each.detail, each.cause) for each in scaler.incidents] == [
        ("scale", "1 to 3 members", "autoscaler: lag 250")
    ]


@pytest.mark.parametrize(
    ("lag", "partitions", "wanted"), [(0, 6, 1), (100, 6, 1), (101, 6, 2), (9999, 6, 4), (9999, 3, 3)]
)
def test_a_lag_asks_for_members_between_its_bounds_and_no_more_than_partitions(lag: int, partitions: int, wanted: int):
    assert WHAT.wanted(lag, partitions) == wanted


def test_members_go_when_lag_has_asked_for_fewer_throughout_the_cooldown():
    """Three are asked for at 1 s, one from 2 s on: the last ones go at the first look at which 1 s is 10 s ago."""
    crew = Crew(3)
    scaler = scaler_of(crew)
    scaler.look(250, 6, 1 * S)
    for second in range(2, 11):
        scaler.look(50, 6, second * S)
    assert crew.told == []

    scaler.look(50, 6, 11 * S)

    assert crew.told == [("SIGTERM", "work/2"), ("SIGTERM", "work/3")]


def test_who_is_on_its_way_out_is_started_again_only_when_it_has_left():
    crew = Crew(2)
    scaler = scaler_of(crew)
    scaler.look(0, 6, 1 * S)
    assert crew.told == [("SIGTERM", "work/2")]
    scaler.look(150, 6, 2 * S)
    scaler.advance(5 * S)
    assert crew.told == [("SIGTERM", "work/2")]

    crew.members["work/2"].running = False
    scaler.advance(6 * S)

    assert crew.told == [("SIGTERM", "work/2"), ("start", "work/2 from 7")]


def test_who_comes_back_by_itself_counts_and_who_has_stopped_stays_away():
    """Member 2 is gone for a while by a fault; member 3 was ended by its handler's policy, and is chosen in vain."""
    crew = Crew(3)
    crew.members["work/2"].running = crew.members["work/3"].running = False
    crew.ended_by_policy = {"work/3"}
    scaler = scaler_of(crew, {"work/2", "other/1"})
    scaler.look(350, 6, 1 * S)

    scaler.advance(3 * S)

    assert crew.told == [("start", "work/4 from 7")]


def test_the_users_own_program_is_not_scaled():
    loaded = load(SCENARIO, ["groups.work.external=true", "groups.work.effects={topic: orders}"])

    reasons = cannot(loaded.scenario, implementation="librdkafka-mock")

    assert any("groups.work.autoscaler is given, and work is your own program" in reason for reason in reasons)


def test_who_was_brought_by_somebody_else_meanwhile_is_not_started_again():
    """A deploy has member 2 out when lag asks for two, and brings it back before it has started up; when it is to go it goes for good."""
    crew = Crew(2)
    crew.members["work/2"].running = False
    scaler = scaler_of(crew)
    scaler.look(150, 6, 1 * S)
    crew.replace_member("work/2", 0)
    crew.told.clear()

    scaler.advance(3 * S)
    scaler.look(0, 6, 12 * S)
    crew.members["work/2"].running = False
    scaler.advance(13 * S)

    assert crew.told == [("SIGTERM", "work/2")]


def looks_of(reads: Any) -> Looks:
    looks = Looks.__new__(Looks)
    looks._group, looks._ended, looks._found = "work", threading.Event(), queue.SimpleQueue()
    looks._thread = threading.Thread(target=reads, daemon=True)
    return looks


def test_a_group_that_nobody_looks_at_any_more_is_said():
    """Where its thread has failed; one that was asked to end is no failure."""
    looks = looks_of(lambda: None)
    looks._thread.start()
    looks._thread.join()
    with pytest.raises(ChildError, match="nobody looks at the lag of work any more"):
        looks.new()

    looks.end()
    looks.wait()

    assert looks.new() == []


@pytest.mark.live
def test_a_group_grows_with_its_lag_and_shrinks_when_it_has_caught_up(tmp_path: Path):
    """200/s for one member that takes 100: behind by a hundred after one second. Others join; in the quiet time after it all but one go."""
    run = drive_embedded(load(SCENARIO), tmp_path / "run")
    scaled = [each.detail for each in run.incidents if each.kind == "scale"]
    handled = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "work"))

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert scaled[0].startswith("1 to ")
    # A machine that stood still for some seconds may have had no quiet time.
    stood_still_s = max(each.value for each in run.gauges if each.name == "oversleep_s")
    assert any(each.endswith(" to 1 members") for each in scaled) or stood_still_s > 2
    assert len(set(handled["process"].tolist())) >= 2
    assert len(handled) >= len(run.plan)
    assert {name: each.examples for name, each in check(run).items() if not each.valid} == {}
