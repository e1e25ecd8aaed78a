"""A plan in blocks beside the whole one: events a second, and what memory grows by.

`python benchmarks/bench_plan.py [MILLIONS]`; each part runs in a process of its own, since a peak stays.
"""

import resource
import subprocess
import sys
import time
from typing import Any

from scenarios.files import load_text
from scenarios.plan import make_plan
from scenarios.plan_blocks import plan_in_blocks
from scenarios.schema import Scenario
from scenarios.yaml_text import write_yaml

RATE_HZ = 20_000


def main() -> None:
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
        return
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    for what, count in (("whole", millions), ("blocks", millions), ("blocks", 4 * millions)):
        subprocess.run([sys.executable, __file__, what, str(count)], check=True)


def measure(what: str, millions: int) -> None:
    scenario, before_mb, began = some(millions * 1_000_000 // RATE_HZ), peak_mb(), time.process_time()
    events = (
        len(make_plan(scenario, 1)) if what == "whole" else sum(len(block) for block in plan_in_blocks(scenario, 1))
    )
    seconds = time.process_time() - began
    print(
        f"{what}: {events:,} events in {seconds:.2f} s of CPU, {events / seconds:,.0f} events/s; "
        f"memory at most {peak_mb():,.0f} MB, {before_mb:,.0f} MB before",
        flush=True,
    )


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def some(seconds: int) -> Scenario:
    """Return two producers with keys, sizes and a ramp, and a group whose work varies."""
    producer: dict[str, Any] = {
        "count": 2,
        "key": {"uniform": 10_000},
        "size": {"lognormal": {"mean": "400B", "cv": 0.5}},
    }
    ramp = [RATE_HZ // 4, 3 * RATE_HZ // 4]
    raw: dict[str, Any] = {
        "scenario": "some",
        "duration": f"{seconds}s",
        "brokers": {"kind": "kafka", "nodes": 3},
        "topics": {"orders": {"partitions": 12}, "visits": {"partitions": 12}},
        "producers": {
            "shop": {"topic": "orders", **producer, "arrivals": f"{RATE_HZ // 2}/s"},
            "web": {"topic": "visits", **producer, "arrivals": {"rate": [f"{each}/s" for each in ramp]}},
        },
        "groups": {"work": {"topics": ["orders", "visits"], "work": {"lognormal": {"mean": "2ms", "cv": 0.5}}}},
    }
    return load_text(write_yaml(raw)).scenario


if __name__ == "__main__":
    main()
