"""How long all checks of a run take, and in how much memory; against one sort by offset of the same rows in the same run.

`python benchmarks/bench_checks.py [EVENTS]`; each event has a send, a delivery and a try.
"""

import resource
import sys
import time

import numpy as np

from rundata.checks import check
from rundata.rows import LOG_RECORD, Kind, new_operations
from rundata.tables import Extent, RunData
from scenarios.files import load_text
from scenarios.plan import Plan, make_plan
from scenarios.yaml_text import write_yaml

PARTITIONS = 12
HANDED_OVER_NS = 5_000_000


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    run = recorded(plan_of(events))
    rows_gib = run.operations.nbytes / 2**30
    began = time.process_time()
    np.lexsort((run.operations["offset"], run.operations["partition"]))
    peer_s = time.process_time() - began
    began = time.process_time()
    found = check(run)
    seconds = time.process_time() - began
    assert all(result.valid for result in found.values())
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(run.plan):,} events, {len(run.operations):,} operations ({rows_gib:.1f} GiB of rows): {len(found)} checks in {seconds:.1f} s "
        f"of CPU, {peak_gib:.1f} GiB at most; one sort of the rows by offset: {peer_s:.1f} s"
    )


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


def recorded(plan: Plan) -> RunData:
    """Return a run in which everything went well."""
    count, partition = len(plan), plan.partition
    ends = np.bincount(partition, minlength=PARTITIONS)
    offset = np.zeros(count, np.int64)
    offset[np.argsort(partition, kind="stable")] = np.concatenate([np.arange(end) for end in ends])
    rows = new_operations(3 * count)
    for number, kind in enumerate((Kind.send, Kind.delivery, Kind.try_)):
        own = rows[number * count : (number + 1) * count]
        own["event_id"] = own["root_id"] = np.arange(count)
        own["kind"], own["topic"] = kind, 0
        own["key"], own["offset"], own["partition"], own["intended_ns"] = plan.key, offset, partition, plan.intended_ns
        own["started_ns"] = plan.intended_ns + (0 if kind == Kind.send else HANDED_OVER_NS)
        own["ended_ns"] = own["started_ns"] + (0 if kind == Kind.delivery else 3_000_000)
        own["group"] = -1 if kind == Kind.send else 0
        own["process"] = plan.process - 1 if kind == Kind.send else 4 + partition % 4
        own["poll_id"] = -1 if kind == Kind.send else np.arange(count)
    log = np.zeros(count, LOG_RECORD)
    log["offset"], log["event_id"], log["partition"], log["time_ns"] = (
        offset,
        np.arange(count),
        partition,
        plan.intended_ns,
    )
    return RunData(
        plan=plan,
        engine="driven",
        operations=rows[np.argsort(rows["started_ns"], kind="stable")],
        log=log[np.lexsort((offset, partition))],
        extents=tuple(Extent("orders", number, 0, int(end)) for number, end in enumerate(ends)),
        end_ns=plan.scenario.duration + 10**9,
    )


if __name__ == "__main__":
    main()
