"""The run dataset on disk: a folder with `run.json` and Parquet tables, which opens whenever its writer stopped.

`run.json` holds schema_version, state, engine, clock_start, scenario {name, text, sha256}, seed, replication, end_ns, error_names,
and what the caller tells about the run: profile, brokers {implementation, version, nodes}, versions, host, command_line, seconds,
operations (`all`, or `none` where `tallies` is all there is), invalid (reasons why the run says nothing) and incomplete (reasons
why it did not come to its end).
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rundata import parquet, row_log
from rundata.operations import arranged
from rundata.outside import as_written
from rundata.rows import LOG_RECORD, OPERATION
from rundata.tables import Names, RunData
from scenarios.files import load_text, scenario_text
from scenarios.outside import FIRST, outside_topics
from scenarios.plan import Plan
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from rundata.measurement import Measurement
    from rundata.run import Run

State = Literal["preparing", "running", "draining", "complete", "interrupted"]
SCHEMA_VERSION = 2
RUN_FILE = "run.json"
PARTS = "operations.parts"
_COLLECTED = b"eventdrill.collected"
MOST_IN_MEMORY = 5_000_000
"""More operations than these 640 MB are not all in memory at once."""
_ROWS_IN_PART = 500_000
_OWN = ("schema_version", "scenario", "seed", "replication", "engine", "end_ns", "error_names")
"""Keys of run.json that are not part of `RunData.about`."""
_LIBRARIES = ("numpy", "pandas", "pyarrow", "simpy", "numba", "scipy", "locust", "confluent-kafka")


class DatasetError(Exception):
    """A run's folder that cannot be written or opened; the message names it and the way out."""


class RunWriter:
    """Writes a run as it goes: run.json at once, operations in parts, everything else at the end."""

    def __init__(
        self,
        folder: Path | str,
        plan: Plan,
        about: Mapping[str, Any] | None = None,
        *,
        engine: Literal["simulated", "driven"] = "driven",
        text: str | None = None,
    ) -> None:
        """Create the folder, or take an empty one; `text` is the scenario as the user wrote it."""
        self.folder = _claim(Path(folder))
        self._names = Names.of(plan.scenario)
        self._events = row_log.Events(plan.key, plan.intended_ns)
        self._parts = 0
        self._collected: dict[str, int] = {}
        text = text if text is not None else scenario_text(plan.scenario)
        self._facts: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "state": "preparing",
            "engine": engine,
            "clock_start": None,
            "scenario": {
                "name": plan.scenario.scenario,
                "text": text,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
            },
            "seed": plan.seed,
            "replication": plan.replication,
            "profile": plan.scenario.profile,
            "versions": versions(),
            "host": host(),
            "command_line": sys.argv,
            "invalid": [],
            "error_names": {},
            "end_ns": None,
            **(about or {}),
        }
        self._facts["state"] = "preparing"
        self._write_facts()
        parquet.write(parquet.plan_table(plan), self.folder / "plan.parquet")

    def state(self, state: State, **about: Any) -> None:
        """Record a new state, and what else is known by now (`clock_start="2026-05-01T12:00:00Z"`)."""
        self._facts |= {**about, "state": state}
        self._write_facts()

    def write_operations(self, rows: NDArray[np.void]) -> None:
        """Add rows as one complete Parquet part."""
        self._write_part(rows, {})

    def collect(self) -> int:
        """Add what was appended to the folder's row logs since the last call as one part; return how many rows that is."""
        blocks, reached = [], dict(self._collected)
        for path in row_log.logs_in(self.folder):
            block = row_log.read_rows(path, reached.get(path.name, 0), self._events)
            reached[path.name] = reached.get(path.name, 0) + len(block)
            blocks.append(block)
        rows = np.concatenate(blocks) if blocks else np.zeros(0, OPERATION)
        if len(rows):
            self._write_part(rows, reached)
            self._collected = reached
        return len(rows)

    def finish(
        self,
        run: RunData,
        state: State = "complete",
        measured: Sequence[Mapping[str, "Measurement"]] = (),
        *,
        windows: Iterable[Any] | None = None,
        tables: Mapping[str, Any] | None = None,
    ) -> None:
        """Write every table, then remove parts and row logs: what they held is in `run.operations`, sorted.

        `measured` are the indicators of the run's replications, itself the first; their intervals go into `tallies`. A run that is
        made of stretches gives its `windows` in parts, one after another, and further tables.
        """
        about = {key: value for key, value in self._facts.items() if key not in _OWN}
        if outside_topics(run.plan.scenario):  # what was declared has given way to what was written
            parquet.write(parquet.plan_table(run.plan), self.folder / "plan.parquet")
        run = replace(run, operations=arranged(run.operations), about={**about, **run.about, "state": state})
        self._facts |= {"end_ns": run.end_ns, "error_names": {str(k): v for k, v in run.error_names.items()}}
        if windows is not None:
            parquet.write_parts("windows", windows, self.folder / "windows.parquet")
        for name, table in {**_tables(run, measured), **(tables or {})}.items():
            if name != "windows" or windows is None:
                parquet.write(table, self.folder / f"{name}.parquet")
        self._facts |= {key: value for key, value in run.about.items() if key not in _OWN}
        self.state(state)
        self._remove_raw()

    def _write_part(self, rows: NDArray[np.void], reached: Mapping[str, int]) -> None:
        folder = self.folder / PARTS
        folder.mkdir(exist_ok=True)
        errors = {int(code): word for code, word in self._facts["error_names"].items()}
        table = parquet.operations_table(rows, self._names, errors)
        table = table.replace_schema_metadata({_COLLECTED: json.dumps(reached, sort_keys=True).encode()})
        parquet.write(table, folder / f"{self._parts:06d}.parquet")
        self._parts += 1

    def _remove_raw(self) -> None:
        for path in row_log.logs_in(self.folder):
            row_log.remove(path)
        parts = self.folder / PARTS
        if parts.is_dir():
            for path in parts.iterdir():
                path.unlink()
            parts.rmdir()

    def _write_facts(self) -> None:
        """Replace run.json in one step, so that a reader never sees half of it."""
        temporary = self.folder / f"{RUN_FILE}.part"
        temporary.write_text(json.dumps(self._facts, indent=2, default=str, ensure_ascii=False) + "\n", "utf-8")
        temporary.replace(self.folder / RUN_FILE)


def save(run: RunData, folder: Path | str, state: State = "complete", *, text: str | None = None) -> None:
    """Write a finished run into a new or empty folder."""
    RunWriter(folder, run.plan, run.about, engine=run.engine, text=text).finish(run, state)


def open_run(folder: Path | str) -> "Run":
    """Return the run in a folder: a finished one, an interrupted one, or one that is still going on."""
    from rundata.run import Run
    from rundata.tallies import estimates_from, shares_from

    folder = Path(folder)
    facts = _read_facts(folder)
    scenario = load_text(facts["scenario"]["text"], str(folder / RUN_FILE)).scenario
    names = Names.of(scenario)
    errors = {int(code): word for code, word in facts.get("error_names", {}).items()}
    if not (folder / "plan.parquet").exists():
        raise DatasetError(
            f"{folder}: was cut short before its plan was written, so there is nothing to open; run it again"
        )
    plan = parquet.plan_from(parquet.OneByOne(folder / "plan.parquet"), scenario)
    operations = _operations(folder, plan, errors)
    read = {
        name: folder / f"{name}.parquet"
        for name in ("log", "extents", "faults", "actions", "incidents", "phases", "gauges")
    }
    instants = folder / "instants.parquet"
    data = RunData(
        plan=plan,
        engine=facts["engine"],
        operations=operations,
        log=parquet.log_from(parquet.OneByOne(read["log"]), names) if read["log"].exists() else np.zeros(0, LOG_RECORD),
        extents=parquet.extents_from(parquet.read(read["extents"])) if read["extents"].exists() else (),
        faults=parquet.faults_from(parquet.read(read["faults"])) if read["faults"].exists() else (),
        actions=parquet.faults_from(parquet.read(read["actions"])) if read["actions"].exists() else (),
        incidents=parquet.incidents_from(parquet.read(read["incidents"])) if read["incidents"].exists() else (),
        phases=parquet.phases_from(parquet.read(read["phases"])) if read["phases"].exists() else (),
        gauges=parquet.gauges_from(parquet.read(read["gauges"])) if read["gauges"].exists() else (),
        **({"instants": parquet.instants_from(parquet.read(instants), names)} if instants.exists() else {}),
        end_ns=facts["end_ns"] if facts.get("end_ns") is not None else _last_instant(operations),
        error_names=errors,
        about={key: value for key, value in facts.items() if key not in _OWN},
    )
    if outside_topics(scenario) and bool((data.operations["event_id"] >= FIRST).any()):
        data = as_written(data)  # its writer did not come to that
    parquet.give_back()
    tallies = folder / "tallies.parquet"
    if not tallies.exists():
        return Run(data)
    table = parquet.read(tallies)
    estimates = estimates_from(table, single=data.about.get("operations") == "none")
    return Run(data, estimates=estimates, shares_held=shares_from(table))


def versions() -> dict[str, str]:
    """Return the versions of what makes up a run."""
    found = {"python": platform.python_version()}
    for name in ("eventdrill", *_LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def host() -> dict[str, Any]:
    """Return what the machine is."""
    return {"system": platform.platform(), "cores": os.cpu_count()}


def _tables(run: RunData, measured: Sequence[Mapping[str, "Measurement"]]) -> dict[str, Any]:
    from rundata.tallies import tallies_table
    from rundata.windows import windows_table

    return {
        **parquet.plain_tables(run),
        **({"instants": parquet.instants_table(run.instants, run.names)} if len(run.instants) else {}),
        "log": parquet.log_table(run.log, run.names),
        "windows": windows_table(run),
        "tallies": tallies_table(run, measured),
        # Last, because from then on the parts are no longer needed.
        "operations": parquet.operations_table(run.operations, run.names, run.error_names),
    }


def _claim(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder}: is a file; a run needs a new or empty folder, name another one with --out")
    if folder.is_dir() and any(folder.iterdir()):
        raise DatasetError(
            f"{folder}: is not empty, and nothing is ever overwritten; name another folder with --out, or empty it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be created ({error.strerror}); name another folder with --out") from error
    return folder


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    if not path.is_file():
        if not folder.exists():
            raise DatasetError(f"{folder}: there is no such folder; name one that simulate, drive or verify wrote")
        inside = sorted(child.parent.name for child in folder.glob(f"*/{RUN_FILE}"))
        hint = f"; in it there is {', '.join(inside)}" if inside else ""
        raise DatasetError(
            f"{folder}: is no run (it has no {RUN_FILE}); name a folder that simulate or drive wrote{hint}"
        )
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        found = facts["schema_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{path}: is no run's description ({error!r}); the file was changed or belongs elsewhere"
        ) from None
    if found != SCHEMA_VERSION:
        newer = isinstance(found, int) and found > SCHEMA_VERSION
        way = "update EventDrill to open it" if newer else "open it with that version, or run its scenario again"
        age = "a newer" if newer else "an older"
        raise DatasetError(
            f"{folder}: was written by {age} version (schema {found}, this one reads {SCHEMA_VERSION}); {way}"
        )
    return facts


def _operations(folder: Path, plan: Plan, errors: Mapping[int, str]) -> NDArray[np.void]:
    """Return the operations: the sorted table, or, where the run did not get so far, its parts and raw rows."""
    names, events = Names.of(plan.scenario), row_log.Events(plan.key, plan.intended_ns)
    if (folder / "operations.parquet").exists():
        return _finished_operations(folder / "operations.parquet", names, errors)
    blocks, reached = [np.zeros(0, OPERATION)], dict[str, int]()
    for path in sorted((folder / PARTS).glob("*.parquet")):
        table = parquet.read(path)
        for name, count in json.loads((table.schema.metadata or {}).get(_COLLECTED, b"{}")).items():
            reached[name] = max(reached.get(name, 0), count)
        blocks.append(parquet.operations_from(table, names, errors))
    blocks += [row_log.read_rows(path, reached.get(path.name, 0), events) for path in row_log.logs_in(folder)]
    return arranged(np.concatenate(blocks))


def _finished_operations(path: Path, names: Names, errors: Mapping[int, str]) -> NDArray[np.void]:
    """Return the sorted operations; where they are very many they lie in a file beside the table that goes with the process."""
    count = parquet.rows_in(path)
    if count <= MOST_IN_MEMORY:
        return parquet.operations_from(parquet.read(path), names, errors)
    with tempfile.TemporaryFile(dir=path.parent if os.access(path.parent, os.W_OK) else None) as file:
        for table in parquet.read_in_parts(path, _ROWS_IN_PART):
            parquet.operations_from(table, names, errors).tofile(file)
        file.flush()
        parquet.give_back()
        return np.memmap(file, OPERATION, mode="r", shape=(count,))


def _last_instant(operations: NDArray[np.void]) -> int:
    """Return when an unfinished run's last row was begun; rounded up to a second, as a run's end is."""
    return -(-int(operations["started_ns"].max()) // SECOND) * SECOND if len(operations) else 0
