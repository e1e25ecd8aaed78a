"""Ten thousand partitions, five hundred members and twelve brokers at a million events a second: how long a simulated minute takes, and memory.

`python benchmarks/bench_wide.py [MINUTES...]`; each length runs in a process of its own, since a peak stays. All figures are measured, those of
windows included. The peer is a plain SimPy program of a queue, as in bench_simulator.
"""

import subprocess
import sys
import time
from typing import Any

from bench_month import peak_mb
from bench_simulator import best, one_queue, plain_queue

from rundata.folding import Folded, fold
from rundata.partials import Placed, total
from scenarios.files import load_text
from scenarios.profiles import load_profile
from scenarios.quantities import MINUTE
from scenarios.schema import Scenario
from scenarios.yaml_text import write_yaml
from sim.stretches.flow import InBlocks

RATE_HZ = 1_000_000
KINDS: dict[str, dict[str, Any]] = {
    "keys hashed": {"count": 400, "key": {"uniform": 100_000}},
    "no keys": {"count": 40},
}
"""With keys hashed over ten thousand partitions hardly two records share a batch; without keys a client fills one partition at a time."""


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] in KINDS:
        measure(sys.argv[1], int(sys.argv[2]))
        return
    queue = one_queue()
    peer_hz = len(queue) / best(lambda: plain_queue(queue))
    print(f"plain SimPy, M/M/1 at 0.8: {peer_hz:,.0f} events/s", flush=True)
    minutes = [int(each) for each in sys.argv[1:]] or [1, 3]
    for kind in KINDS:
        for each in minutes:
            done = subprocess.run(
                [sys.executable, __file__, kind, str(each)], check=True, capture_output=True, text=True
            )
            events, seconds = (float(word) for word in done.stdout.splitlines()[0].split())
            print(f"{kind}, {each} min: {events / seconds / peer_hz:.1f} times plain SimPy")
            print("\n".join(done.stdout.splitlines()[1:]), flush=True)


def measure(kind: str, minutes: int) -> None:
    profile = load_profile("local-kafka")
    simulated("10000/s", 1, KINDS[kind])  # compiles, where that is still to be done
    before_mb, began, began_cpu = peak_mb(), time.perf_counter(), time.process_time()
    run = InBlocks(wide(f"{RATE_HZ}/s", 60 * minutes, KINDS[kind]), profile, seed=1)
    ready_s = time.process_time() - began_cpu
    found = fold(run.frame, run.parts(), MINUTE, run.at_the_end)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    figures = total([Placed(found.partial, 1, 0)], faults=False)
    events = RATE_HZ * 60 * minutes
    print(events, cpu_s)
    print(
        f"  {cpu_s:.1f} s of CPU ({seconds:.1f} s) for {minutes} simulated min, {cpu_s / minutes:.1f} s a minute, {events / cpu_s:,.0f} events/s; "
        f"{ready_s:.1f} s until it begins; memory at most {peak_mb():,.0f} MB, {before_mb:,.0f} MB before"
    )
    names = (
        "produced",
        "consumed",
        "delivery",
        "latency.p50",
        "latency.p99",
        "lag.max",
        "committed_lag.mean",
        "inversions",
    )
    print("  " + ", ".join(f"{name} {figures[name].value:.6g}" for name in names))


def simulated(rate: str, seconds: int, producer: dict[str, Any]) -> Folded:
    run = InBlocks(wide(rate, seconds, producer), load_profile("local-kafka"), seed=1)
    return fold(run.frame, run.parts(), MINUTE, run.at_the_end)


def wide(rate: str, seconds: int, producer: dict[str, Any]) -> Scenario:
    raw = {
        "scenario": "wide",
        "duration": f"{seconds}s",
        "brokers": {"kind": "kafka", "nodes": 12},
        "topics": {"events": {"partitions": 10_000}},
        "producers": {"shop": {"topic": "events", "arrivals": rate, **producer}},
        "groups": {"work": {"topics": ["events"], "members": 500, "work": "100us", "commit": "auto"}},
    }
    return load_text(write_yaml(raw)).scenario


if __name__ == "__main__":
    main()
