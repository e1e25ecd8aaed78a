"""Row logs: what one process appends another can read, also after the writer was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rundata.row_log import HEADER_BYTES, Events, RowLog, RowLogError, SendLog, logs_in, read_rows, remove, segment_path
from rundata.rows import OPERATION

FIELDS = tuple(range(1, 12)) + tuple(range(12, 22)) + (1, 2)


def row(event: int) -> tuple[int, ...]:
    return (event, *FIELDS[1:])


def test_rows_come_back_as_they_were_appended(tmp_path: Path) -> None:
    """Each field of a row stands in its own column."""
    with RowLog.create(tmp_path / "shop-1.rows", 10) as log:
        log.append(*row(7))
        log.append(*row(8))

        rows = read_rows(tmp_path / "shop-1.rows")

    assert rows["event_id"].tolist() == [7, 8]
    names = [name for name in OPERATION.names or () if name != "padding"]
    assert [int(rows[name][0]) for name in names] == [7, *FIELDS[1:]]


def test_a_reader_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """`start` counts rows over all segments."""
    with RowLog.create(tmp_path / "a.rows", 2) as log:
        for event in range(5):
            log.append(*row(event))
            assert read_rows(tmp_path / "a.rows", event)["event_id"].tolist() == [event]

    assert read_rows(tmp_path / "a.rows", 3)["event_id"].tolist() == [3, 4]
    assert len(read_rows(tmp_path / "a.rows", 5)) == 0


def test_a_full_log_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    """Five rows with room for two fill three files, which count as one log."""
    with RowLog.create(tmp_path / "a.rows", 2) as log:
        for event in range(5):
            log.append(*row(event))

        assert len(log) == 5

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a+1.rows", "a+2.rows", "a.rows"]
    assert logs_in(tmp_path) == [tmp_path / "a.rows"]
    remove(tmp_path / "a.rows")
    assert list(tmp_path.iterdir()) == []


def test_segments_that_were_read_are_not_opened_again(tmp_path: Path) -> None:
    """Of five rows in segments of two the last one is read from the third, whatever has become of the second."""
    with RowLog.create(tmp_path / "shop-1.rows", 2) as log:
        for number in range(5):
            log.append(*row(number))
    segment_path(tmp_path / "shop-1.rows", 1).write_bytes(b"no longer a row log" * 10)

    assert read_rows(tmp_path / "shop-1.rows", 4)["event_id"].tolist() == [4]
    with pytest.raises(RowLogError, match="is no row log of this version"):
        read_rows(tmp_path / "shop-1.rows", 3)


def test_a_log_that_may_not_grow_says_that_it_is_full(tmp_path: Path) -> None:
    """The third row of a log with room for two is refused, and the two stay."""
    with RowLog.create(tmp_path / "a.rows", 2, grows=False) as log:
        log.append(*row(0))
        log.append(*row(1))

        with pytest.raises(RowLogError, match=r"a\.rows: is full with 2 rows and may not grow"):
            log.append(*row(2))

    assert len(read_rows(tmp_path / "a.rows")) == 2


def test_rows_survive_the_writer_being_killed(tmp_path: Path) -> None:
    """A process that appends 1000 rows and is killed at once leaves all of them."""
    program = (
        "import sys; from rundata.row_log import RowLog\n"
        "log = RowLog.create(sys.argv[1], 300)\n"
        "for event in range(1000): log.append(event, *range(22))\n"
        "print('done', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "a.rows")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"done\n"
    assert len(read_rows(tmp_path / "a.rows")) == 1000  # read while it is open elsewhere
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()

    assert read_rows(tmp_path / "a.rows")["event_id"].tolist() == list(range(1000))


def test_a_file_whose_writer_died_before_heading_it_is_empty(tmp_path: Path) -> None:
    """Zeros where the header should be mean no rows, not an error."""
    (tmp_path / "a.rows").write_bytes(bytes(HEADER_BYTES))

    assert len(read_rows(tmp_path / "a.rows")) == 0


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rows").write_bytes(b"PAR1" * 100)

    with pytest.raises(RowLogError, match=r"a\.rows: is no row log of this version"):
        read_rows(tmp_path / "a.rows")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RowLogError, match=r"a\.rows: is not there"):
        read_rows(tmp_path / "a.rows")


def test_a_log_is_never_written_over(tmp_path: Path) -> None:
    RowLog.create(tmp_path / "a.rows", 2).close()

    with pytest.raises(RowLogError, match="exists already"):
        RowLog.create(tmp_path / "a.rows", 2)


def test_a_disk_without_room_is_told_at_the_start(tmp_path: Path) -> None:
    """Room is reserved when the log is created, so that no append fails later."""
    with pytest.raises(RowLogError, match="no room for"):
        RowLog.create(tmp_path / "a.rows", 2**45)

    assert list(tmp_path.iterdir()) == []


def test_appending_imports_nothing_heavy() -> None:
    """Live clients start fast: neither pandas, pyarrow nor pydantic comes along."""
    code = "import sys, rundata.row_log; print([m for m in ('pandas', 'pyarrow', 'pydantic', 'scipy') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


def test_sends_come_back_as_whole_rows(tmp_path: Path) -> None:
    """A producer writes what only it knows; the plan and the log's head add the rest, over segments."""
    events = Events(np.asarray([7, 8, 9]), np.asarray([100, 200, 300]))
    with SendLog(tmp_path / "shop-1.rows", 2, 4, 5, 6) as log:
        log.append_send(2, 310, 350, 41, 3, 0, 0)
        log.append_send(0, 110, 150, 40, 3, 0, 0)
        log.append_send(1, 210, 250, -1, -1, -192, 2)
        rows = read_rows(tmp_path / "shop-1.rows", 0, events)

    assert rows["event_id"].tolist() == rows["root_id"].tolist() == [2, 0, 1]
    assert rows["key"].tolist() == [9, 7, 8]
    assert rows["intended_ns"].tolist() == [300, 100, 200]
    assert rows["started_ns"].tolist() == [310, 110, 210]
    assert rows["ended_ns"].tolist() == [350, 150, 250]
    assert rows["offset"].tolist() == [41, 40, -1]
    assert rows["error"].tolist() == [0, 0, -192]
    assert rows["outcome"].tolist() == [0, 0, 2]
    assert {(int(row["process"]), int(row["topic"]), int(row["event_type"])) for row in rows} == {(4, 5, 6)}
    assert set(rows["kind"].tolist()) == {0}
    assert set(rows["attempt"].tolist()) == {1}
    assert len(read_rows(tmp_path / "shop-1.rows", 2, events)) == 1


def test_sends_without_the_plan_are_refused(tmp_path: Path) -> None:
    with SendLog(tmp_path / "shop-1.rows", 2, 0, 0, 0) as log:
        log.append_send(0, 0, 0, 0, 0, 0, 0)
        with pytest.raises(RowLogError, match="holds sends, which only the run's plan completes"):
            read_rows(tmp_path / "shop-1.rows")


def test_many_rows_are_appended_together_over_segments(tmp_path: Path) -> None:
    rows = np.zeros(7, OPERATION)
    rows["event_id"] = np.arange(7)
    with RowLog.create(tmp_path / "a.rows", 3) as log:
        log.append(*row(99))
        log.extend(rows)
        log.append(*row(98))

        assert len(log) == 9
    assert read_rows(tmp_path / "a.rows")["event_id"].tolist() == [99, 0, 1, 2, 3, 4, 5, 6, 98]
