"""What members have beside their own hands: several workers, memories of ids, copies that wait, dependencies and breakers."""

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadgen.dependency_process import FAILED, OK, REFUSED, Service, Services
from loadgen.member_calls import Breaker
from loadgen.member_dedupe import OwnMemory, SharedMemory, known_events, unrecorded_effects
from loadgen.member_held import Held
from loadgen.member_pool import Pool
from loadgen.member_rows import Event
from loadgen.member_work import clock
from rundata.rows import Kind, Outcome, new_operations
from scenarios.distributions import Constant
from test_loadgen_member import ARRAYS, MS, child_of, event, handler_of, rows

S = 1_000_000_000


def pool_of(folder: Path, workers: int, ordered_by: Any, **spec: Any) -> Pool:
    child = child_of(folder, **spec)
    return Pool(child, handler_of(child), workers, ordered_by)


def work_off(pool: Pool) -> dict[tuple[str, int], int]:
    """Let a pool work until nothing is in hand; return how far each partition has come."""
    reached: dict[tuple[str, int], int] = {}
    until = time.monotonic() + 10
    while pool.in_hand:
        reached.update(pool.advance())
        assert time.monotonic() < until
        time.sleep(0.0001)
    return reached


def at(number: int, *, partition: int = 0, key: bytes | None = None) -> Event:
    return Event(number, number, 0, "orders", partition, number, key, event(number).value)


# ---- several workers -----------------------------------------------------------------------------------------------


@pytest.mark.live
def test_workers_work_side_by_side(tmp_path: Path):
    """Eight events of 5 ms by four workers take 10 ms, and not 40."""
    ARRAYS["work_ns"][:8] = 5 * MS
    pool = pool_of(tmp_path, 4, "none")
    began = clock()

    pool.take([at(n) for n in range(8)], 0, began)
    reached = work_off(pool)
    ARRAYS["work_ns"][:8] = MS

    found = rows(tmp_path)
    span_ms = (found["ended_ns"].max() - found["started_ns"].min()) / MS
    assert 10 <= span_ms < 35
    assert reached == {("orders", 0): 8}


@pytest.mark.live
def test_what_is_ordered_by_key_keeps_its_order_and_the_rest_does_not_wait(tmp_path: Path):
    """Events 0 and 1 share a key and come after one another; event 2 has another one and begins at once."""
    ARRAYS["work_ns"][:3] = 5 * MS
    pool = pool_of(tmp_path, 3, "key")

    pool.take([at(0, key=b"a"), at(1, key=b"a"), at(2, key=b"b")], 0, clock())
    work_off(pool)
    ARRAYS["work_ns"][:3] = MS

    found = {int(row["event_id"]): row for row in rows(tmp_path)}
    assert found[1]["started_ns"] == found[0]["started_ns"] + 5 * MS  # planned, not measured
    assert found[2]["started_ns"] == found[0]["started_ns"]


@pytest.mark.live
def test_committed_is_the_offset_below_which_all_are_finished(tmp_path: Path):
    """The slow event 0 holds the offset back until it is finished, although 1 and 2 are."""
    ARRAYS["work_ns"][:3] = [20 * MS, MS, MS]
    pool = pool_of(tmp_path, 3, "none")
    pool.take([at(n) for n in range(3)], 0, clock())
    moved = []
    while pool.in_hand:
        if reached := pool.advance():
            moved.append((reached, pool.in_hand))
        time.sleep(0.0001)
    ARRAYS["work_ns"][:3] = MS

    assert moved == [({("orders", 0): 3}, 0)]


@pytest.mark.live
def test_a_partition_that_went_to_somebody_else_is_forgotten(tmp_path: Path):
    pool = pool_of(tmp_path, 1, "partition")
    pool.take([at(0), at(1), at(2, partition=1)], 0, clock())
    pool.advance()

    pool.drop({("orders", 0)})
    reached = work_off(pool)

    assert reached == {("orders", 1): 3}
    assert sorted(rows(tmp_path)["event_id"].tolist()) == [0, 2]


# ---- memories ------------------------------------------------------------------------------------------------------


def test_a_member_remembers_for_as_long_as_the_window():
    memory = OwnMemory(10 * S)
    memory.remember(5, 1 * S)
    memory.remember(6, 8 * S)

    assert (memory.knows(5, 11 * S), memory.knows(5, 12 * S)) == (True, False)
    assert not memory.knows(7, 0)
    memory.remember(8, 15 * S)
    assert (memory.knows(5, 1 * S), memory.knows(6, 15 * S)) == (False, True)  # forgotten, not only expired


def test_members_share_a_memory_that_outlives_them(tmp_path: Path):
    path = tmp_path / "ids"
    SharedMemory.create(path, 2000)
    one, other = SharedMemory(path, 10 * S), SharedMemory(path, 10 * S)
    emitted = 2**62 + 12345

    for number in (*range(2000), emitted):
        one.remember(number, number % 7)
    del one

    assert all(other.knows(number, 0) for number in (*range(2000), emitted))
    assert not other.knows(2001, 0)
    assert not other.knows(0, 11 * S)
    ids, at_ns = known_events(path)
    assert sorted(ids.tolist()) == [*range(2000), emitted]
    assert dict(zip(ids.tolist(), at_ns.tolist(), strict=True))[13] == 6


def test_reading_a_memory_takes_what_it_holds_and_not_what_it_has_room_for(tmp_path: Path):
    """A table of 33 MB for a million ids, of which one is there."""
    path = tmp_path / "ids"
    SharedMemory.create(path, 1_000_000)
    SharedMemory(path, 10 * S).remember(7, 5)

    tracemalloc.start()
    ids, at_ns = known_events(path)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (ids.tolist(), at_ns.tolist()) == ([7], [5])
    assert most_bytes < 8_000_000


def test_what_is_remembered_was_done_although_nobody_has_recorded_it():
    """Event 5 was handed over at 1 s and at 9 s, and had its effect at 1.5 s, of which only the memory tells; 6 and 7 are in order."""
    rows = new_operations(5)
    rows["kind"] = [Kind.delivery, Kind.delivery, Kind.try_, Kind.delivery, Kind.delivery]
    rows["event_id"], rows["process"], rows["offset"] = [5, 6, 6, 7, 5], [2, 2, 2, 3, 3], [40, 41, 41, 42, 40]
    rows["group"] = [1, 1, 1, 1, 1]
    rows["started_ns"] = rows["ended_ns"] = np.array([1.0, 1.0, 2.0, 8.0, 9.0]) * S

    found = unrecorded_effects(rows, 1, np.array([6, 5]), np.array([2 * S, 3 * S // 2]))

    assert len(found) == 1
    assert (found["kind"], found["outcome"], found["event_id"]) == (Kind.try_, Outcome.ok, 5)
    assert (found["process"], found["offset"], found["attempt"]) == (2, 40, 1)
    assert (found["started_ns"], found["ended_ns"]) == (S, 3 * S // 2)
    assert not len(unrecorded_effects(rows, 0, np.array([5]), np.array([3 * S // 2])))


def test_a_shared_memory_that_is_full_says_so(tmp_path: Path):
    SharedMemory.create(tmp_path / "ids", 1)
    memory = SharedMemory(tmp_path / "ids", S)

    with pytest.raises(MemoryError, match="memory of event ids is full"):
        for number in range(2000):
            memory.remember(number, 0)


@pytest.mark.live
def test_an_event_whose_effect_is_known_is_passed_over(tmp_path: Path):
    child = child_of(tmp_path)
    handler = handler_of(child)
    handler.memory = OwnMemory(S)

    handler.handle(event(3), 0, handler.start_ns)
    handler.handle(event(3, offset=9), 1, handler.start_ns)

    assert rows(tmp_path)["offset"].tolist() == [3]


# ---- copies that wait ----------------------------------------------------------------------------------------------


class Paused:
    """Stands for the client: which partitions are paused."""

    def __init__(self) -> None:
        self.places: set[tuple[str, int]] = set()

    def pause(self, places: list[Any]) -> None:
        self.places |= {(each.topic, each.partition) for each in places}

    def resume(self, places: list[Any]) -> None:
        self.places -= {(each.topic, each.partition) for each in places}


def copy(number: int, due_ns: int, partition: int = 0) -> Event:
    return Event(number, number, 0, "orders.retry.1", partition, number, None, b"", 2, due_ns, "orders/0/7")


def test_copies_wait_for_their_time_in_the_order_of_their_partition():
    client = Paused()
    held = Held(client)  # type: ignore[arg-type]  # a client by hand
    assert held.must_wait(copy(1, 50), 40)
    held.hold(copy(1, 50), 0)

    assert held.must_wait(copy(2, 10), 40)  # due, and behind one that is not
    held.hold(copy(2, 10), 0)
    held.hold(copy(3, 90, partition=1), 0)

    assert client.places == {("orders.retry.1", 0), ("orders.retry.1", 1)}
    assert (len(held), held.next_due_ns()) == (3, 50)
    assert [each.event_id for each, _ in held.due(49)] == []
    assert [each.event_id for each, _ in held.due(50)] == [1, 2]
    assert client.places == {("orders.retry.1", 1)}
    assert held.next_due_ns() == 90
    held.drop({("orders.retry.1", 1)})
    assert (len(held), held.next_due_ns()) == (0, None)


def test_a_copy_knows_where_its_event_was_first_read():
    assert (copy(1, 0).origin, copy(1, 0).first_topic) == ("orders/0/7", "orders")
    assert (at(4).origin, at(4).first_topic) == ("orders/0/4", "orders")


# ---- dependencies --------------------------------------------------------------------------------------------------


def services(**changes: Any) -> tuple[Services, list[tuple[int, int]]]:
    """Return one dependency of 10 ms a call, and what it answers: (call, outcome)."""
    said: list[tuple[int, int]] = []
    what: dict[str, Any] = {
        "takes": Constant(10 * MS), "rate_hz": None, "burst": 1, "concurrency": None, "refuses": False, "fails": 0.0,
        "down": [], "slow": [], **changes,
    }  # fmt: skip
    return Services([Service(**what)], lambda _caller, call, outcome: said.append((call, outcome))), said


def run_to(dependency: Services, end_ms: int, *calls: tuple[int, int], draws: tuple[float, float] = (0.5, 0.5)) -> None:
    """Let time go on in steps of 1 ms, and calls (number, ms) come."""
    for ms in range(end_ms + 1):
        for call, at_ms in calls:
            if at_ms == ms:
                dependency.call("me", call, 0, draws, ms * MS)
        dependency.advance(ms * MS)


def test_a_dependency_takes_its_time():
    dependency, said = services()
    run_to(dependency, 9, (1, 0))
    assert said == []
    assert dependency.advance(9 * MS) == 10 * MS
    dependency.advance(10 * MS)
    assert said == [(1, OK)]


def test_a_dependency_works_on_so_many_at_a_time():
    dependency, said = services(concurrency=2)
    run_to(dependency, 15, (1, 0), (2, 0), (3, 0))
    assert said == [(1, OK), (2, OK)]
    run_to(dependency, 0)
    dependency.advance(20 * MS)
    assert said == [(1, OK), (2, OK), (3, OK)]


def test_a_dependency_refuses_what_is_beyond_its_limits_where_it_does_not_let_wait():
    dependency, said = services(concurrency=1, refuses=True)
    run_to(dependency, 10, (1, 0), (2, 1))
    assert said == [(2, REFUSED), (1, OK)]


def test_a_rate_limit_lets_a_burst_through_and_then_its_rate():
    """2 at once after a quiet time, then one every 100 ms."""
    dependency, said = services(rate_hz=10.0, burst=2)
    run_to(dependency, 115, (1, 0), (2, 0), (3, 0), (4, 0))
    assert [call for call, _ in said] == [1, 2, 3]
    dependency.advance(200 * MS + 1)
    dependency.advance(215 * MS)
    assert [call for call, _ in said] == [1, 2, 3, 4]


def test_a_dependency_that_is_down_refuses_and_a_slow_one_takes_longer():
    dependency, said = services(down=[(0, 5 * MS)], slow=[(5 * MS, 50 * MS, 3.0, 2 * MS)])
    run_to(dependency, 40, (1, 2), (2, 8))
    assert said == [(1, REFUSED), (2, OK)]
    assert dependency.advance(40 * MS) is None


def test_some_calls_fail_at_their_end():
    dependency, said = services(fails=0.6)
    run_to(dependency, 10, (1, 0))
    assert said == [(1, FAILED)]


def test_a_call_that_is_withdrawn_is_not_answered_and_leaves_the_line():
    dependency, said = services(concurrency=1)
    run_to(dependency, 2, (1, 0), (2, 1), (3, 2))
    dependency.withdraw("me", 1)  # at work: keeps its place
    dependency.withdraw("me", 2)  # in line: gone
    for ms in range(3, 25):
        dependency.advance(ms * MS)
    assert said == [(3, OK)]


def test_a_breaker_opens_asks_again_and_closes():
    breaker = Breaker(opens_after=2, stays_open_ns=10 * S, probes=2, waits=False)

    breaker.ended(False, 1 * S)
    assert breaker.opens_at(1 * S) is None
    breaker.ended(False, 2 * S)
    assert breaker.opens_at(3 * S) == 12 * S
    assert breaker.opens_at(12 * S) is None  # a probe goes through
    breaker.ended(True, 12 * S)
    breaker.ended(False, 13 * S)
    assert breaker.opens_at(14 * S) == 23 * S
    breaker.ended(True, 23 * S)
    breaker.ended(True, 24 * S)
    breaker.ended(False, 25 * S)
    assert breaker.opens_at(25 * S) is None  # closed: one failure is not two in a row


def test_a_try_waits_for_its_stall(tmp_path: Path):
    """poll_stall: the handler hangs until the end of the interval; the try begins there."""
    child = child_of(tmp_path, stalls=[{"begin_ns": 0, "end_ns": 30 * MS}])
    handler = handler_of(child)
    handler.handle(event(1), 0, handler.start_ns)

    found = rows(tmp_path)
    assert found["started_ns"].tolist() == [30 * MS]
    assert found["kind"].tolist() == [Kind.try_]
    assert np.all(found["ended_ns"] >= 31 * MS)
