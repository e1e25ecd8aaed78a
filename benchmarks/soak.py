"""A long live run with a fault every minute: nothing lost, nothing leaked, and a report. `make soak` takes an hour, `--minutes 3` a taste of it.

`python benchmarks/soak.py [--minutes M] [--rate EVENTS_PER_S] [--out DIR]`. Memory is judged by each process's own resident pages (those of files that it
maps, as the plan's arrays, belong to the system's cache): the medians of the second and of the last fifth of the run, of the processes that lived
through both.
"""

import argparse
import gc
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from eventdrill.workflows.drive import prepare
from loadgen.clusters.places import scratch_dirs
from reports.page import write_page
from rundata.tables import RunData
from scenarios.files import load_text
from scenarios.yaml_text import write_yaml

MINUTE_S = 60
GROWTH_SHARE = 0.05
GROWTH_BYTES = 16 << 20
"""A process may grow by so much between the two stretches. C's allocator keeps what was free once: members that lived through thirteen faults gave
8 of 33 MiB back to `malloc_trim`, and those of an hour had grown by 8 and 10 MiB, in steps, each with a fault. Five bytes lost per event would be more."""
OF_KAFKA = ("broker", "controller")
"""Whose memory is Kafka's own matter: a JVM's heap grows until it has what it was given."""
FAULTS: tuple[dict[str, Any], ...] = (
    {"fault": "broker_crash", "broker": "leader of orders/0", "for": "15s"},
    {"fault": "member_crash", "member": "fulfilment/1", "for": "5s"},
    {"fault": "leader_move", "partition": "orders/1", "for": "20s"},
    {"fault": "broker_pause", "broker": "leader of orders/2", "for": "6s"},
    {"fault": "slow_work", "group": "fulfilment", "factor": 2, "for": "10s"},
    {"fault": "member_leave", "member": "billing/1", "for": "5s"},
    {"fault": "broker_stop", "broker": "leader of orders/3", "for": "15s"},
    {"fault": "failing_work", "group": "billing", "share": "20%", "for": "10s"},
    {"fault": "surge", "producer": "shop", "factor": 1.5, "for": "10s"},
    {"fault": "producer_pause", "producer": "shop", "for": "2s"},
)
"""One a minute, 20 s into it, in turn."""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=int, default=60)
    asked.add_argument("--rate", type=int, default=1500)
    asked.add_argument("--out", type=Path, default=Path("runs") / "soak")
    options = asked.parse_args()
    folder = _fresh(options.out)
    before, descriptors = _leftovers(), psutil.Process().num_fds()
    loaded = load_text(write_yaml(scenario(options.minutes, options.rate)), "the soak", ())
    began = time.monotonic()
    run = prepare(loaded, on="local").run(folder / "driven", progress=print)
    problems = [
        *(f"check {name}: {'; '.join(found.examples[:2])}" for name, found in run.checks.items() if not found.valid),
        *(f"{each.text}: {each.value}" for each in run.expectations if not each.held),
        *(f"the run is incomplete: {reason}" for reason in run.data.about["incomplete"]),
        *growth(run.data),
        *(f"left behind: {each}" for each in sorted(_leftovers() - before)),
    ]
    write_page(folder / "report.html", [run])
    print(
        f"{options.minutes} min at {options.rate}/s, {len(run.data.plan):,} events, {len(run.data.operations):,} operations, {len(run.data.faults)} faults, "
        f"{time.monotonic() - began:.0f} s in all, driver at most {_peak(run.data, 'driver') / 2**20:.0f} MiB: {folder / 'report.html'}"
    )
    for name, (early, late) in sizes(run.data).items():
        print(f"  {name}: {early / 2**20:.1f} MiB, then {late / 2**20:.1f} MiB")
    for reason in run.invalid:
        print(f"  says nothing about latencies: {reason}")
    del run  # a long one's rows are a file that is mapped
    gc.collect()  # clients that nobody holds any more keep their pipes until then
    if (more := psutil.Process().num_fds() - descriptors) > 0:
        problems.append(f"{more} more open files than before")
    print("\n".join(problems) if problems else "nothing lost, nothing leaked")
    return 1 if problems else 0


def scenario(minutes: int, rate: int) -> dict[str, Any]:
    """Return the soak's scenario; the last minute's fault ends before the load does."""
    faults = [
        {**FAULTS[minute % len(FAULTS)], "name": f"minute {minute + 1}", "at": f"{minute * MINUTE_S + 20}s"}
        for minute in range(minutes)
    ]
    settings = {"broker.session.timeout.ms": 4000, "broker.heartbeat.interval.ms": 500}
    return {
        "scenario": "soak",
        "about": f"{minutes} minutes with a fault in each.",
        "duration": f"{minutes}m",
        "warm_up": "10s",
        "drain": "2m",
        "brokers": {"kind": "kafka", "nodes": 3, "settings": settings},
        "topics": {
            "orders": {
                "partitions": 6,
                "replication": 3,
                "settings": {"min.insync.replicas": 2, "retention.ms": 86_400_000},
            },
            "orders.dlq": {"partitions": 1, "replication": 3},
        },
        "producers": {
            "shop": {
                "topic": "orders",
                "count": 2,
                "arrivals": f"{rate}/s",
                "key": {"uniform": 10_000},
                "size": "200B",
                "settings": {
                    "acks": "all",
                    "enable.idempotence": True,
                    "linger.ms": 20,
                    "delivery.timeout.ms": 120_000,
                },
            }
        },
        "groups": {
            "fulfilment": {
                "topics": ["orders"],
                "members": 2,
                "work": "200us",
                "commit": {"every": "1s"},
                "settings": {"session.timeout.ms": 6000},
            },
            "billing": {
                "topics": ["orders"],
                "members": 2,
                "work": "100us",
                "commit": {"every": "1s"},
                "settings": {"session.timeout.ms": 6000},
                "failures": {
                    "retry": {"attempts": 10, "backoff": "1ms"},
                    "then": "dead_letter",
                    "dead_letter": "orders.dlq",
                },
            },
        },
        "faults": faults,
        "expect": ["lost == 0", "passed == 0", "pending == 0", "unexpected == 0"],
    }


def sizes(run: RunData) -> dict[str, tuple[float, float]]:
    """Return by process its own memory in the second and the last fifth of the load."""
    fifth, found = run.plan.scenario.duration / 5, dict[str, tuple[list[float], list[float]]]()
    for gauge in run.gauges:
        if gauge.name == "own_bytes":
            early, late = found.setdefault(gauge.where, ([], []))
            if fifth <= gauge.time_ns < 2 * fifth:
                early.append(gauge.value)
            elif 4 * fifth <= gauge.time_ns < 5 * fifth:
                late.append(gauge.value)
    return {name: (median(early), median(late)) for name, (early, late) in sorted(found.items()) if early and late}


def growth(run: RunData) -> list[str]:
    """Return which processes have grown."""
    return [
        f"{name} grew from {early / 2**20:.1f} MiB to {late / 2**20:.1f} MiB"
        for name, (early, late) in sizes(run).items()
        if not name.startswith(OF_KAFKA) and late > early * (1 + GROWTH_SHARE) + GROWTH_BYTES
    ]


def _peak(run: RunData, name: str) -> float:
    return max((each.value for each in run.gauges if each.name == "rss_bytes" and each.where == name), default=0.0)


def _leftovers() -> set[str]:
    """Return what a run must not leave: processes below this one, and directories of clusters whose keeper this one started."""
    below = {f"process {each.pid} {each.name()}" for each in psutil.Process().children(recursive=True)}
    own = {f"directory {path}" for base in scratch_dirs() for path in base.glob("eventdrill-*") if _is_mine(path)}
    return below | own


def _is_mine(path: Path) -> bool:
    record = path / "keeper.json"
    return record.exists() and str(psutil.Process().pid) in record.read_text()


def _fresh(out: Path) -> Path:
    number = 1
    while (folder := out.with_name(f"{out.name}-{number}")).exists():
        number += 1
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
