"""The run dataset's tables as Parquet: codes become words, empty values become nulls, and equal runs become equal bytes."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rundata.rows import INSTANT, KIND_TEXT, LOG_RECORD, NEVER, NONE, OPERATION, UNTIMED, Kind, Outcome
from rundata.tables import Extent, FaultRecord, Gauge, Incident, Names, Phase, RunData
from scenarios.disturbances import NOT_AGAIN
from scenarios.following import WrittenPlan, with_stand_ins
from scenarios.occurrences import PlannedAction, PlannedFault, part_of
from scenarios.plan import CLIENT_CHOOSES, NO_KEY, Plan
from scenarios.schema import Scenario

WORD = pa.dictionary(pa.int16(), pa.string())
_PLAN_FACTS = b"eventdrill.plan"
_WORK, _FAILING, _UNDECODABLE, _STAND_IN = "work_ns.", "failing_tries.", "undecodable.", "stand_in."
_KINDS = tuple(KIND_TEXT[kind] for kind in Kind)
_OUTCOMES = tuple(outcome.name for outcome in Outcome)
_EMPTY: Mapping[str, int] = {
    **dict.fromkeys(("event_id", "root_id", "cause_id", "key", "offset", "poll_id", "transaction_id"), NONE),
    **dict.fromkeys(("group_epoch", "partition", "leader_epoch"), NONE),
    **dict.fromkeys(("attempt", "delivery_number"), 0),
    "retry_due_ns": UNTIMED,
    "ended_ns": NEVER,
}
"""The value that stands for a null, by column."""
_COLUMNS = (
    "event_id", "root_id", "cause_id", "event_type", "schema_version", "kind", "process", "group", "topic", "partition",
    "offset", "key", "attempt", "delivery_number", "poll_id", "group_epoch", "transaction_id", "retry_due_ns",
    "intended_ns", "started_ns", "ended_ns", "outcome", "error",
)  # fmt: skip
_INSTANTS = ("event_id", "batched_ns", "served_ns", "visible_ns", "arrived_ns", "delivered_ns")
ROW_SCHEMAS: Mapping[str, pa.Schema] = {
    "extents": pa.schema([("topic", WORD), ("partition", pa.int32()), ("first", pa.int64()), ("end", pa.int64())]),
    "faults": pa.schema(
        [("label", pa.string()), ("kind", WORD), ("target", pa.string()), ("planned_begin_ns", pa.int64()),
         ("planned_end_ns", pa.int64()), ("began_ns", pa.int64()), ("ended_ns", pa.int64()), ("proof", pa.string())]
    ),
    "actions": pa.schema(
        [("label", pa.string()), ("kind", WORD), ("target", pa.string()), ("planned_begin_ns", pa.int64()),
         ("planned_end_ns", pa.int64()), ("began_ns", pa.int64()), ("ended_ns", pa.int64()), ("proof", pa.string())]
    ),
    "incidents": pa.schema(
        [("time_ns", pa.int64()), ("kind", WORD), ("where", WORD), ("detail", pa.string()), ("cause", pa.string())]
    ),
    "phases": pa.schema([("name", WORD), ("begin_ns", pa.int64()), ("end_ns", pa.int64())]),
    "gauges": pa.schema([("time_ns", pa.int64()), ("name", WORD), ("where", WORD), ("value", pa.float64())]),
    "stretches": pa.schema(
        [("begin_ns", pa.int64()), ("end_ns", pa.int64()), ("how", WORD), ("source_ns", pa.int64())]
    ),
    "windows": pa.schema(
        [("begin_ns", pa.int64()), ("topic", WORD), ("partition", pa.int32()), ("of", WORD), ("stage", WORD),
         ("count", pa.int64()), ("bins", pa.list_(pa.int32())), ("counts", pa.list_(pa.int64()))]
    ),
    "tallies": pa.schema(
        [("name", pa.string()), ("what", WORD), ("value", pa.float64()), ("unit", WORD), ("at_least", pa.float64()),
         ("interval_low", pa.float64()), ("interval_high", pa.float64()), ("interval999_low", pa.float64()),
         ("interval999_high", pa.float64()), ("mean_interval_low", pa.float64()), ("mean_interval_high", pa.float64()),
         ("replications", pa.int64()), ("share_held", pa.float64()), ("series", pa.list_(pa.float64())),
         ("series_low", pa.list_(pa.float64())), ("series_high", pa.list_(pa.float64())),
         ("valid", pa.bool_()), ("examples", pa.list_(pa.string())), ("text", pa.string())]
    ),
}  # fmt: skip
"""Tables of plain rows, by name."""


def write(table: pa.Table, path: Path) -> None:
    """Write a table under a temporary name and rename it, so that no half-written file ever has the table's name."""
    temporary = path.with_name(path.name + ".part")
    try:
        pq.write_table(table, temporary, compression="zstd", version="2.6")
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(
            f"{path}: cannot be written ({reason}); free some space, or write runs elsewhere with --out. What was recorded before stays"
        ) from None
    temporary.replace(path)


def write_parts(name: str, parts: Iterable[pa.Table], path: Path) -> None:
    """Write the parts of the table `name` one after another, so that never more than one is held; else as `write` does."""
    temporary = path.with_name(path.name + ".part")
    with pq.ParquetWriter(temporary, ROW_SCHEMAS[name], compression="zstd", version="2.6") as writer:
        for part in parts:
            writer.write_table(part)
    temporary.replace(path)


def read(path: Path) -> pa.Table:
    """Return a table as it was written."""
    return pq.read_table(path, partitioning=None)


def rows_in(path: Path) -> int:
    """Return how many rows a table in a file has."""
    count: int = pq.read_metadata(path).num_rows
    return count


class OneByOne:
    """A table in a file of which columns are read one at a time, so that no two copies of all of it are in memory."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self.schema = self._file.schema_arrow
        self.column_names: list[str] = self.schema.names
        self.num_rows: int = self._file.metadata.num_rows

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one."""
        return self._file.read(columns=[name]).column(name)


def read_in_parts(path: Path, rows: int) -> Iterator[pa.Table]:
    """Yield a table of a file in parts of so many rows."""
    for batch in pq.ParquetFile(path).iter_batches(batch_size=rows):
        yield pa.Table.from_batches([batch])


# ---- plain rows ----------------------------------------------------------------------------------------------------


def rows_table(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return plain rows as the table `name`."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=ROW_SCHEMAS[name])


def plain_tables(run: RunData) -> dict[str, pa.Table]:
    """Return the tables of a run that hold few rows: extents, faults, actions, incidents, phases, gauges."""
    rows: dict[str, Sequence[Any]] = {
        "extents": run.extents,
        "faults": run.faults,
        "actions": run.actions,
        "incidents": run.incidents,
        "phases": run.phases,
        "gauges": run.gauges,
    }
    return {name: rows_table(name, (_nulled(asdict(row)) for row in some)) for name, some in rows.items()}


def _nulled(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value in (NEVER, UNTIMED) else value for key, value in row.items()}


def give_back() -> None:
    """Return to the system what reading has taken and no longer needs."""
    pa.default_memory_pool().release_unused()


def extents_from(table: pa.Table) -> tuple[Extent, ...]:
    """Return the extents that a table holds."""
    return tuple(Extent(**row) for row in table.to_pylist())


def faults_from(table: pa.Table) -> tuple[FaultRecord, ...]:
    """Return the faults that a table holds."""
    return tuple(FaultRecord(**_healed(row)) for row in table.to_pylist())


def _healed(row: dict[str, Any]) -> dict[str, Any]:
    return {key: NEVER if value is None else value for key, value in row.items()}


def incidents_from(table: pa.Table) -> tuple[Incident, ...]:
    """Return the incidents that a table holds."""
    return tuple(Incident(**row) for row in table.to_pylist())


def phases_from(table: pa.Table) -> tuple[Phase, ...]:
    """Return the phases that a table holds."""
    return tuple(Phase(**row) for row in table.to_pylist())


def gauges_from(table: pa.Table) -> tuple[Gauge, ...]:
    """Return the gauges that a table holds."""
    return tuple(Gauge(**row) for row in table.to_pylist())


# ---- operations and log --------------------------------------------------------------------------------------------


def operations_table(rows: NDArray[np.void], names: Names, error_names: Mapping[int, str]) -> pa.Table:
    """Return operations as a table."""
    codes = np.unique(rows["error"]).tolist()
    coded: Mapping[str, tuple[str, ...]] = {
        "event_type": names.event_types,
        "kind": _KINDS,
        "process": names.processes,
        "group": names.groups,
        "topic": names.topics,
        "outcome": _OUTCOMES,
    }
    columns = {name: words(rows[name], coded[name]) if name in coded else _numbers(rows, name) for name in _COLUMNS}
    place = {code: number for number, code in enumerate(code for code in codes if code != 0)}
    placed = np.asarray([place.get(code, NONE) for code in codes], np.int16)[np.searchsorted(codes, rows["error"])]
    columns["error"] = words(placed, tuple(error_names.get(code, str(code)) for code in place))
    return pa.table(columns)


def operations_from(table: pa.Table, names: Names, error_names: Mapping[int, str]) -> NDArray[np.void]:
    """Return the rows that a table of operations holds."""
    rows = np.zeros(table.num_rows, OPERATION)
    coded: Mapping[str, tuple[str, ...]] = {
        "event_type": names.event_types,
        "kind": _KINDS,
        "process": names.processes,
        "group": names.groups,
        "topic": names.topics,
        "outcome": _OUTCOMES,
    }
    for name in _COLUMNS:
        if name in coded:
            rows[name] = _codes(table.column(name), {word: code for code, word in enumerate(coded[name])})
        elif name == "error":
            known = {word: code for code, word in error_names.items()}
            rows[name] = _codes(table.column(name), known, empty=0)
        else:
            rows[name] = _filled(table.column(name), _EMPTY.get(name))
    return rows


def log_table(rows: NDArray[np.void], names: Names) -> pa.Table:
    """Return the log as a table."""
    return pa.table(
        {
            "topic": words(rows["topic"], names.topics),
            **{name: _numbers(rows, name) for name in ("partition", "offset", "event_id", "leader_epoch", "time_ns")},
            "aborted": pa.array(rows["aborted"].astype(bool)),
        }
    )


def log_from(table: "pa.Table | OneByOne", names: Names) -> NDArray[np.void]:
    """Return the rows that a table of the log holds."""
    rows = np.zeros(table.num_rows, LOG_RECORD)
    rows["topic"] = _codes(table.column("topic"), {word: code for code, word in enumerate(names.topics)})
    for name in ("partition", "offset", "event_id", "leader_epoch", "time_ns"):
        rows[name] = _filled(table.column(name), _EMPTY.get(name))
    rows["aborted"] = _filled(table.column("aborted"), None)
    return rows


def instants_table(rows: NDArray[np.void], names: Names) -> pa.Table:
    """Return the instants of deliveries as a table."""
    coded = {"process": words(rows["process"], names.processes), "group": words(rows["group"], names.groups)}
    return pa.table({name: pa.array(np.ascontiguousarray(rows[name])) for name in _INSTANTS} | coded)


def instants_from(table: pa.Table, names: Names) -> NDArray[np.void]:
    """Return the rows that a table of instants holds."""
    rows = np.zeros(table.num_rows, INSTANT)
    for name in _INSTANTS:
        rows[name] = _filled(table.column(name), None)
    for name, known in (("process", names.processes), ("group", names.groups)):
        rows[name] = _codes(table.column(name), {word: code for code, word in enumerate(known)})
    return rows


def _numbers(rows: NDArray[np.void], name: str) -> pa.Array:
    values = np.ascontiguousarray(rows[name])
    return pa.array(values, mask=values == _EMPTY[name]) if name in _EMPTY else pa.array(values)


def words(codes: NDArray[Any], known: Sequence[str]) -> pa.Array:
    """Return codes as the words they stand for; a negative one is null."""
    codes = np.ascontiguousarray(codes).astype(np.int16)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(known, pa.string()))


def _filled(column: pa.ChunkedArray, empty: int | None) -> NDArray[Any]:
    if empty is not None:
        column = column.fill_null(empty)
    values: NDArray[Any] = column.to_numpy()
    return values


def _codes(column: pa.ChunkedArray, known: Mapping[str, int], *, empty: int = NONE) -> NDArray[Any]:
    """Return each word's code; a word that is unknown is a number itself (an error without a name)."""
    if len(column) == 0:
        return np.zeros(0, np.int64)
    array = column.unify_dictionaries().combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    found = array.dictionary.to_pylist()
    codes = np.asarray([known[word] if word in known else int(word) for word in found] + [empty], np.int64)
    indices: NDArray[Any] = array.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)
    values: NDArray[Any] = codes[indices]
    return values


# ---- the plan ------------------------------------------------------------------------------------------------------


def plan_table(plan: Plan) -> pa.Table:
    """Return the plan as a table; what is no column (seed, replication, the faults' instants) lies in its metadata."""
    faults = [
        {
            "index": planned.index,
            "part": planned.part,
            "stays": planned.stays,
            "label": planned.label,
            "begin_ns": planned.begin_ns,
            "end_ns": planned.end_ns,
        }
        for planned in plan.faults
    ]
    actions = [
        {key: getattr(planned, key) for key in ("index", "label", "begin_ns", "end_ns", "stays")}
        for planned in plan.actions
    ]
    facts = {"seed": plan.seed, "replication": plan.replication, "faults": faults, "actions": actions}
    columns = {
        "intended_ns": pa.array(plan.intended_ns),
        "producer": words(plan.producer, plan.producers),
        "process": pa.array(plan.process),
        "key": pa.array(plan.key, mask=plan.key == NO_KEY),
        "size_bytes": pa.array(plan.size_bytes),
        "partition": pa.array(plan.partition, mask=plan.partition == CLIENT_CHOOSES),
        "poison": pa.array(plan.poison),
        "late_ns": pa.array(plan.late_ns),
        "again_ns": pa.array(plan.again_ns, mask=plan.again_ns == NOT_AGAIN),
        "schema_version": pa.array(plan.schema_version),
        **{_WORK + group: pa.array(work) for group, work in plan.work_ns.items()},
        **{_FAILING + group: pa.array(tries) for group, tries in plan.failing_tries.items()},
        **{_UNDECODABLE + group: pa.array(events) for group, events in plan.undecodable.items()},
    }
    if isinstance(plan, WrittenPlan):
        facts["declared"] = plan.declared
        columns |= {_STAND_IN + group: pa.array(events) for group, events in plan.stand_ins.items()}
    return pa.table(columns).replace_schema_metadata({_PLAN_FACTS: json.dumps(facts, sort_keys=True).encode()})


def plan_from(table: "pa.Table | OneByOne", scenario: Scenario) -> Plan:
    """Return the plan that a table holds; nothing is drawn again."""
    facts = json.loads((table.schema.metadata or {})[_PLAN_FACTS])
    columns = table.column_names
    codes = {name: code for code, name in enumerate(scenario.producers)}
    plan = Plan(
        scenario=scenario,
        seed=facts["seed"],
        replication=facts["replication"],
        intended_ns=_filled(table.column("intended_ns"), None),
        producer=_codes(table.column("producer"), codes).astype(np.int16),
        process=_filled(table.column("process"), None).astype(np.int16),
        key=_filled(table.column("key"), NO_KEY),
        size_bytes=_filled(table.column("size_bytes"), None).astype(np.int32),
        partition=_filled(table.column("partition"), CLIENT_CHOOSES).astype(np.int32),
        poison=_filled(table.column("poison"), None).astype(bool),
        work_ns={c.removeprefix(_WORK): _filled(table.column(c), None) for c in columns if c.startswith(_WORK)},
        failing_tries={
            c.removeprefix(_FAILING): _filled(table.column(c), None) for c in columns if c.startswith(_FAILING)
        },
        faults=tuple(
            PlannedFault(**{**fault, "fault": part_of(scenario.faults[fault["index"]], fault["part"])})
            for fault in facts["faults"]
        ),
        late_ns=_filled(table.column("late_ns"), None),
        again_ns=_filled(table.column("again_ns"), NOT_AGAIN),
        schema_version=_filled(table.column("schema_version"), None).astype(np.int16),
        undecodable={
            c.removeprefix(_UNDECODABLE): _filled(table.column(c), None).astype(bool)
            for c in columns
            if c.startswith(_UNDECODABLE)
        },
        actions=tuple(
            PlannedAction(**{**action, "action": scenario.actions[action["index"]]}) for action in facts["actions"]
        ),
    )
    if "declared" not in facts:
        return plan
    stand_ins = {c.removeprefix(_STAND_IN): _filled(table.column(c), None) for c in columns if c.startswith(_STAND_IN)}
    return with_stand_ins(plan, stand_ins, facts["declared"])
