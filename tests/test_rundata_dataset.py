"""The run dataset: what was written opens again as it was, whenever the writing stopped."""

import filecmp
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rundata.dataset import DatasetError, RunWriter, open_run, save
from rundata.row_log import RowLog
from rundata.rows import Kind
from rundata.tables import RunData
from runs import Build, clean_run

TABLES = (
    "actions", "extents", "faults", "gauges", "incidents", "log", "operations", "phases", "plan", "tallies", "windows",
)  # fmt: skip
CRASH = {"faults": [{"fault": "broker_crash", "broker": 1, "at": "2s", "for": "3s"}]}


def faulty_run() -> RunData:
    build = Build(CRASH)
    for number in range(10):
        build.flow(0.5 * number, partition=number % 2)
    build.fault(2.0, 5.0)
    build.incident(4.5, "election", "orders/0", "leader 2", "broker 1 fenced")
    return build.run(about={"profile": "ideal", "command_line": ["eventdrill", "simulate"]})


def append(log: RowLog, rows: np.ndarray) -> None:
    for one in rows:
        log.append(*one.tolist()[:-1])


# ---- there and back ------------------------------------------------------------------------------------------------


def test_a_saved_run_opens_as_it_was(tmp_path: Path) -> None:
    """Every array, fault, incident, phase and gauge comes back; the plan is not drawn again."""
    data = faulty_run()
    save(data, tmp_path / "run")

    opened = open_run(tmp_path / "run")

    assert np.array_equal(opened.data.operations, data.operations)
    assert np.array_equal(opened.data.log, data.log)
    for name in ("extents", "faults", "incidents", "phases", "gauges", "end_ns"):
        assert getattr(opened.data, name) == getattr(data, name)
    for name in ("intended_ns", "producer", "process", "key", "size_bytes", "partition", "poison"):
        assert np.array_equal(getattr(opened.data.plan, name), getattr(data.plan, name))
    assert np.array_equal(opened.data.plan.work_ns["work"], data.plan.work_ns["work"])
    assert opened.data.plan.faults == data.plan.faults
    assert opened.data.plan.scenario == data.plan.scenario
    assert (opened.state, opened.complete, opened.data.about["profile"]) == ("complete", True, "ideal")


def test_two_equal_runs_write_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(faulty_run(), tmp_path / name)

    same, different, errors = filecmp.cmpfiles(
        tmp_path / "one", tmp_path / "two", [f"{table}.parquet" for table in TABLES], shallow=False
    )
    assert (len(same), different, errors) == (len(TABLES), [], [])


def test_tables_hold_words_and_nulls(tmp_path: Path) -> None:
    """Codes become dictionary words, and NONE, NEVER and UNTIMED become nulls."""
    build = Build()
    event = build.event(1.0)
    build.send(event)
    build.deliver(event, 1.5)
    build.try_(event, 1.5, None)
    save(build.run(), tmp_path / "run")

    table = pq.read_table(tmp_path / "run" / "operations.parquet")

    assert table.column("kind").to_pylist() == ["send", "delivery", "try"]
    assert table.column("process").to_pylist() == ["shop/1", "work/1", "work/1"]
    assert table.column("group").to_pylist() == [None, "work", "work"]
    assert table.column("ended_ns").to_pylist() == [1_010_000_000, 1_500_000_000, None]
    assert table.column("retry_due_ns").null_count == 3
    assert table.column("delivery_number").to_pylist() == [None, 1, 1]


def test_run_json_tells_what_ran(tmp_path: Path) -> None:
    data = faulty_run()
    save(data, tmp_path / "run", text=None)

    facts = json.loads((tmp_path / "run" / "run.json").read_text())

    assert (facts["schema_version"], facts["state"], facts["engine"], facts["seed"]) == (2, "complete", "simulated", 0)
    assert facts["scenario"]["sha256"] == hashlib.sha256(facts["scenario"]["text"].encode()).hexdigest()
    assert facts["command_line"] == ["eventdrill", "simulate"]
    assert {"python", "numpy", "pyarrow"} <= facts["versions"].keys()


def test_errors_keep_their_names_and_codes(tmp_path: Path) -> None:
    """An error with a name and one without are both told apart, on disk and when opened."""
    data = clean_run(3)
    rows = data.operations.copy()
    rows["error"][:2] = [-185, 7]
    save(replace(data, operations=rows, error_names={-185: "_TIMED_OUT"}), tmp_path / "run")

    opened = open_run(tmp_path / "run")

    assert pq.read_table(tmp_path / "run" / "operations.parquet").column("error").to_pylist()[:3] == [
        "_TIMED_OUT",
        "7",
        None,
    ]
    assert opened.data.operations["error"].tolist()[:3] == [-185, 7, 0]
    assert opened.operations["error"].astype(object).tolist()[:2] == ["_TIMED_OUT", "7"]


def test_deliveries_are_numbered_when_the_run_is_complete(tmp_path: Path) -> None:
    """The second delivery of a pair, to another member, is number 2."""
    build = Build()
    event = build.event(1.0)
    build.send(event)
    build.deliver(event, 1.1, member=1)
    build.handle(event, 3.0, 3.1, member=2)
    save(build.run(), tmp_path / "run")

    rows = open_run(tmp_path / "run").data.operations

    assert rows["delivery_number"][rows["kind"] == Kind.delivery].tolist() == [1, 2]


# ---- cut short -----------------------------------------------------------------------------------------------------


def test_a_run_is_described_before_anything_happens(tmp_path: Path) -> None:
    data = clean_run(4)
    RunWriter(tmp_path / "run", data.plan, engine="driven")

    opened = open_run(tmp_path / "run")

    assert (opened.state, opened.complete, len(opened.data.operations)) == ("preparing", False, 0)
    assert opened.invalid == ("the run is incomplete: its state is 'preparing'",)


def test_a_run_that_goes_on_opens_with_its_parts_and_raw_rows(tmp_path: Path) -> None:
    """Rows that were collected into parts are not read a second time from the row log."""
    data = clean_run(8)
    rows = data.operations
    writer = RunWriter(tmp_path / "run", data.plan)
    writer.state("running", clock_start="2026-05-01T12:00:00Z")
    with RowLog.create(tmp_path / "run" / "shop-1.rows", 5) as log:
        append(log, rows[:7])
        assert writer.collect() == 7
        append(log, rows[7:11])
        assert writer.collect() == 4
        assert writer.collect() == 0
        append(log, rows[11:])

        opened = open_run(tmp_path / "run")

    assert np.array_equal(opened.data.operations, data.operations)
    assert (opened.state, opened.data.about["clock_start"]) == ("running", "2026-05-01T12:00:00Z")
    assert opened.data.end_ns == 3_000_000_000  # the last row begins at 2.91 s
    assert opened.measured["lost"].value is None
    assert opened.to_json()["valid"]["ok"] is False


def test_finishing_replaces_parts_and_row_logs_by_one_table(tmp_path: Path) -> None:
    data = clean_run(8)
    writer = RunWriter(tmp_path / "run", data.plan)
    writer.write_operations(data.operations[10:])
    writer.write_operations(data.operations[:10])
    RowLog.create(tmp_path / "run" / "shop-1.rows", 5).close()

    writer.finish(replace(data, engine="driven", operations=data.operations[::-1].copy()))

    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == sorted([f"{table}.parquet" for table in TABLES] + ["run.json"])
    assert np.array_equal(open_run(tmp_path / "run").data.operations["started_ns"], data.operations["started_ns"])


def test_a_half_written_part_is_not_seen(tmp_path: Path) -> None:
    """A part has its name only when it is complete; what a killed writer left is passed over."""
    data = clean_run(4)
    writer = RunWriter(tmp_path / "run", data.plan)
    writer.write_operations(data.operations[:3])
    (tmp_path / "run" / "operations.parts" / "000001.parquet.part").write_bytes(b"PAR1 half")

    assert len(open_run(tmp_path / "run").data.operations) == 3


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    data = clean_run(4)
    RunWriter(tmp_path / "run", data.plan).finish(data, "interrupted")

    opened = open_run(tmp_path / "run")

    assert (opened.state, opened.complete) == ("interrupted", False)


# ---- refusals ------------------------------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(
        DatasetError, match=r"is not empty, and nothing is ever overwritten; name another folder with --out"
    ):
        RunWriter(tmp_path, clean_run(1).plan)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")

    with pytest.raises(DatasetError, match="is a file; a run needs a new or empty folder"):
        RunWriter(tmp_path / "run", clean_run(1).plan)


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    save(clean_run(2), tmp_path)

    assert open_run(tmp_path).complete


def test_a_folder_that_is_no_run_names_the_runs_in_it(tmp_path: Path) -> None:
    save(clean_run(1), tmp_path / "driven")

    with pytest.raises(DatasetError, match=r"is no run \(it has no run.json\).*in it there is driven"):
        open_run(tmp_path)


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no such folder"):
        open_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("version", "said"),
    [(3, "a newer version .*update EventDrill"), (1, "an older version .*open it with that version")],
)
def test_an_unknown_schema_is_refused(tmp_path: Path, version: int, said: str) -> None:
    save(clean_run(1), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))

    with pytest.raises(DatasetError, match=said):
        open_run(tmp_path / "run")


def test_a_changed_description_is_refused(tmp_path: Path) -> None:
    save(clean_run(1), tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("[]")

    with pytest.raises(DatasetError, match="is no run's description"):
        open_run(tmp_path / "run")
