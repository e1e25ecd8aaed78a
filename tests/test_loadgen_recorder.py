"""What the driver counts while a run goes on, from rows that children append."""

from pathlib import Path

import numpy as np
import pytest

from loadgen.recorder import Recorder
from rundata.dataset import RunWriter
from rundata.row_log import RowLog
from rundata.rows import NEVER, NONE, Kind, Outcome
from rundata.tables import RunData
from runs import Build


def story() -> Build:
    """Four events: one handled, one given up, one acknowledged and not yet delivered, one refused."""
    build = Build({})
    for at in (0.1, 0.2, 0.3, 0.4):
        build.event(at)
    build.send(0)
    build.handle(0, 0.15, 0.2)
    build.send(1)
    build.deliver(1, 0.25)
    build.try_(1, 0.25, 0.26, ok=False)
    build.dead_letter(1, 0.26, 0.27)
    build.send(2)
    build.send(3, outcome=Outcome.failed)
    return build


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Recorder, RunData, RowLog]:
    run = story().run()
    writer = RunWriter(tmp_path / "run", run.plan)
    return Recorder(run.plan, writer), run, RowLog.create(tmp_path / "run" / "shop-1.rows", 100)


def append(log: RowLog, rows: np.ndarray) -> None:
    for row in rows.tolist():
        log.append(*row[:-1])


def test_lag_counts_what_is_acknowledged_and_not_ended(recorded: tuple[Recorder, RunData, RowLog]):
    """An effect and a dead letter end an event; a refused one was never to be handled."""
    recorder, run, log = recorded
    sends = run.operations["kind"] == Kind.send

    append(log, run.operations[sends])
    recorder.take()
    assert recorder.lag() == {"work": 3}
    assert not recorder.all_ended(4)

    append(log, run.operations[~sends])
    recorder.take()
    assert recorder.lag() == {"work": 1}
    assert recorder.failed == 1


def test_what_a_group_committed_beyond_needs_no_waiting_for(recorded: tuple[Recorder, RunData, RowLog]):
    """Event 2 is in nobody's hands any more once offset 3 is committed: it was passed, and will not end."""
    recorder, run, log = recorded
    append(log, run.operations)
    recorder.take()
    assert not recorder.all_ended(4)

    build = Build({})
    build.commit(2, 0.5)
    build.commit(3, 0.6)
    commits = build.run().operations
    append(log, commits[:1])
    recorder.take()
    assert not recorder.all_ended(4)
    append(log, commits[1:])
    recorder.take()
    assert recorder.all_ended(4)


def test_rows_are_read_once_and_all_are_kept(recorded: tuple[Recorder, RunData, RowLog]):
    recorder, run, log = recorded

    for row in run.operations:
        append(log, np.array([row]))
        recorder.take()
    recorder.take()

    started = np.full(4, NONE, np.int64)
    kept = recorder.operations(started)
    assert len(kept) == len(run.operations)
    assert np.sort(kept["started_ns"]).tolist() == np.sort(run.operations["started_ns"]).tolist()


def test_a_send_without_an_answer_is_unknown(recorded: tuple[Recorder, RunData, RowLog]):
    """A process that was killed has left the instant at which it handed the event over, and no more."""
    recorder, run, log = recorded
    append(log, run.operations[(run.operations["kind"] == Kind.send) & (run.operations["event_id"] < 2)])
    recorder.take()

    rows = recorder.operations(np.array([100, 200, 350, NONE]))

    (unknown,) = rows[rows["outcome"] == Outcome.unknown]
    assert (unknown["event_id"], unknown["started_ns"], unknown["ended_ns"]) == (2, 350, NEVER)
    assert (unknown["intended_ns"], unknown["topic"], unknown["process"]) == (300_000_000, 0, 0)


def test_summaries_hold_what_happened_since_the_last_ones(recorded: tuple[Recorder, RunData, RowLog]):
    recorder, run, log = recorded
    append(log, run.operations)
    recorder.take()

    found = {(each.name, each.kind): (each.count, each.failures) for each in recorder.summaries()}
    assert found == {("shop", "acknowledged"): (3, 1), ("work", "effect"): (1, 1)}
    assert recorder.summaries() == []


def test_a_member_that_comes_back_counts_its_polls_on(recorded: tuple[Recorder, RunData, RowLog]):
    recorder, run, log = recorded
    assert recorder.next_poll_id("work/1") == 0

    rows = run.operations.copy()
    rows["poll_id"] = np.where(rows["kind"] == Kind.delivery, 41, NONE)
    append(log, rows)
    recorder.take()

    assert recorder.next_poll_id("work/1") == 42
    assert recorder.next_poll_id("work/2") == 0


def test_the_display_shows_rates_over_the_last_second(recorded: tuple[Recorder, RunData, RowLog]):
    recorder, run, log = recorded
    recorder.progress("running", 0, 0, ())
    append(log, run.operations)
    recorder.take()

    shown = recorder.progress("running", 500_000_000, 9_500_000_000, ("broker_crash",))

    assert shown.acknowledged == 3
    assert shown.acknowledged_hz == 6.0
    assert dict(shown.effects_hz) == {"work": 4.0}
    assert shown.faults == ("broker_crash",)
    assert shown.sent == 4
