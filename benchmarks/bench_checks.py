"""How long all checks of a run take, and in how much memory; against one sort by offset of the same rows in the same run.

`python benchmarks/bench_checks.py [EVENTS [FOLDER]]`; each event has a send, a delivery and a try. The run lies on disk as any other (in FOLDER,
which is written where it is not there), and is opened and judged in a process of its own, whose memory is told.
"""

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rundata import parquet
from rundata.checks import check
from rundata.dataset import RunWriter, open_run
from rundata.rows import LOG_RECORD, Kind, new_operations
from rundata.tables import Extent, Names, RunData
from scenarios.files import load_text
from scenarios.plan import Plan, make_plan
from scenarios.yaml_text import write_yaml

PARTITIONS = 12
HANDED_OVER_NS = 5_000_000
EVENTS_BETWEEN = 5
"""So many events are sent until one is handed over, at one a millisecond."""
AT_ONCE = 200_000


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "run"
        if not path.exists():
            record(plan_of(events), path)
        with multiprocessing.get_context("spawn").Pool(1) as process:
            print(process.apply(measured, (path,)))


def measured(folder: Path) -> str:
    """Open and check a run; return what that took."""
    began = time.process_time()
    run = open_run(folder).data
    opened_s = time.process_time() - began
    opened_gib = peak_gib()
    began, began_s = time.process_time(), time.monotonic()
    found = check(run)
    cpu_s, seconds = time.process_time() - began, time.monotonic() - began_s
    wrong = {name: result.examples for name, result in found.items() if not result.valid}
    assert not wrong, wrong
    gib = peak_gib()
    began = time.process_time()
    np.lexsort((run.operations["offset"], run.operations["partition"]))
    peer_s = time.process_time() - began
    return (
        f"{len(run.plan):,} events, {len(run.operations):,} operations ({run.operations.nbytes / 2**30:.1f} GiB of rows): {len(found)} "
        f"checks in {cpu_s:.1f} s of CPU, {seconds:.1f} s, {gib:.1f} GiB at most; reading the run: {opened_s:.1f} s of CPU, "
        f"{opened_gib:.1f} GiB at most; one sort of the rows by offset: {peer_s:.1f} s"
    )


def peak_gib() -> float:
    """Return the most that this process has had in memory; what `getrusage` says of a child begins with what its parent had."""
    said = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(said["VmHWM"].split()[0]) / 2**20


def plan_of(events: int) -> Plan:
    scenario = {
        "scenario": "checked",
        "duration": f"{events // 1000}s",
        "brokers": {"kind": "kafka", "nodes": 3},
        "topics": {"orders": {"partitions": PARTITIONS}},
        "producers": {
            "shop": {
                "topic": "orders",
                "count": 4,
                "arrivals": {"rate": "1000/s", "spacing": "even"},
                "key": {"uniform": 10_000},
                "settings": {"acks": "all", "enable.idempotence": True},
            }
        },
        "groups": {"work": {"topics": ["orders"], "members": 4, "work": "0ms", "commit": {"every": "1s"}}},
    }
    return make_plan(load_text(write_yaml(scenario)).scenario, 1)


def record(plan: Plan, folder: Path) -> None:
    """Write a run in which everything went well."""
    count, partition, names = len(plan), plan.partition, Names.of(plan.scenario)
    ends = np.bincount(partition, minlength=PARTITIONS)
    offset = np.zeros(count, np.int64)
    offset[np.argsort(partition, kind="stable")] = np.concatenate([np.arange(end) for end in ends])
    log = np.zeros(count, LOG_RECORD)
    log["offset"], log["event_id"], log["partition"] = offset, np.arange(count), partition
    log["time_ns"] = plan.intended_ns
    run = RunData(
        plan=plan,
        engine="driven",
        operations=new_operations(0),
        log=log[np.lexsort((offset, partition))],
        extents=tuple(Extent("orders", number, 0, int(end)) for number, end in enumerate(ends)),
        end_ns=plan.scenario.duration + 10**9,
    )
    writer = RunWriter(folder, plan)
    writer.state("complete", end_ns=run.end_ns)
    for name, table in {**parquet.plain_tables(run), "log": parquet.log_table(run.log, names)}.items():
        parquet.write(table, folder / f"{name}.parquet")
    schema = parquet.operations_table(new_operations(0), names, {}).schema
    with pq.ParquetWriter(folder / "operations.parquet", schema, compression="zstd") as file:
        for first in range(0, count + EVENTS_BETWEEN, AT_ONCE):
            rows = operations(plan, offset, first, first + AT_ONCE)
            file.write_table(parquet.operations_table(rows, names, {}))


def operations(plan: Plan, offset: NDArray[np.int64], first: int, end: int) -> NDArray[np.void]:
    """Return the rows that begin from when an event is sent until another one is."""
    sent = np.arange(min(first, len(plan)), min(end, len(plan)))
    done = np.arange(max(0, first - EVENTS_BETWEEN), min(end - EVENTS_BETWEEN, len(plan)))
    parts = [(Kind.send, sent), (Kind.delivery, done), (Kind.try_, done)]
    rows = new_operations(sum(len(events) for _, events in parts))
    at = 0
    for kind, events in parts:
        own = rows[at : at + len(events)]
        at += len(events)
        partition = plan.partition[events]
        own["event_id"] = own["root_id"] = events
        own["kind"], own["topic"], own["key"], own["intended_ns"] = kind, 0, plan.key[events], plan.intended_ns[events]
        own["offset"], own["partition"] = offset[events], partition
        own["started_ns"] = plan.intended_ns[events] + (0 if kind == Kind.send else HANDED_OVER_NS)
        own["ended_ns"] = own["started_ns"] + (0 if kind == Kind.delivery else 3_000_000)
        own["group"] = -1 if kind == Kind.send else 0
        own["process"] = plan.process[events] - 1 if kind == Kind.send else 4 + partition % 4
        own["poll_id"] = -1 if kind == Kind.send else events
    return rows[np.argsort(rows["started_ns"], kind="stable")]


if __name__ == "__main__":
    main()
