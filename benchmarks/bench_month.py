"""A month at 1,000 events/s with days, nights and twenty faults, in one process: how long, how much memory, and how far from a day in full.

`python benchmarks/bench_month.py [DAYS] [full]`; with `full` it is compared with a day that has every minute simulated, with a seed of its own.
"""

import resource
import sys
import time
from typing import Any

from rundata.indicators import Measurement
from scenarios.files import load_text
from scenarios.profiles import load_profile
from scenarios.schema import Scenario
from scenarios.yaml_text import write_yaml
from sim.stretches.long_run import simulate_in_stretches

COMPARED = (
    "latency.p50",
    "latency.p95",
    "latency.p99",
    "latency.mean",
    "ack_latency.p99",
    "lag.mean",
    "committed_lag.mean",
    "produced",
)
FAULTS = 20


def main() -> None:
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    before_mb, began = peak_mb(), time.process_time()
    long = simulate_in_stretches(a_month(days, FAULTS), load_profile("local-kafka"), seed=1)
    seconds = time.process_time() - began
    made = long.run.about["stretches"]
    print(
        f"{days} days, {FAULTS} faults: {seconds:.0f} s of CPU, {peak_mb():,.0f} MB at most, {before_mb:,.0f} MB before; {made}",
        flush=True,
    )
    for name in ("delivery", "lost", "lag.max", "drain_time", "gap", "latency.max"):
        print(f"  {name}: {long.measured[name].value}")
    quiet = long.quiet
    for name in COMPARED:
        print(f"  {name} of quiet load: {shown(quiet[name])}", flush=True)
    if sys.argv[-1] != "full":
        return
    began = time.process_time()
    day = simulate_in_stretches(a_month(1, 0), load_profile("local-kafka"), seed=2, resample=False)
    print(f"a day in full: {time.process_time() - began:.0f} s of CPU")
    for name in COMPARED:
        print(f"  {name}: {shown(quiet[name])}, in full {shown(day.measured[name])}")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def shown(found: Measurement) -> str:
    return "none" if found.value is None else f"{found.value:.6g} {found.unit}"


def a_month(days: int, faults: int) -> Scenario:
    """Return some days with a curve from 400 to 1,600 events/s, half the faults brokers that die and half members, spread evenly."""
    apart_h = days * 24 / max(faults, 1)
    at = [f"{round((number + 0.37) * apart_h * 3600)}s" for number in range(faults)]
    raw: dict[str, Any] = {
        "scenario": "a-month",
        "duration": f"{days}d",
        "warm_up": "1m",
        "brokers": {"kind": "kafka", "nodes": 3},
        "topics": {"orders": {"partitions": 12}},
        "producers": {
            "shop": {
                "topic": "orders",
                "count": 2,
                "key": {"uniform": 10_000},
                "settings": {"linger.ms": 5},
                "arrivals": {
                    "daily": [{"for": "12h", "rate": ["400/s", "1600/s"]}, {"for": "12h", "rate": ["1600/s", "400/s"]}]
                },
            }
        },
        "groups": {
            "fulfilment": {"topics": ["orders"], "members": 6, "work": {"lognormal": {"mean": "2ms", "cv": 0.5}}}
        },
    }
    if faults:
        raw["faults"] = [
            {"fault": "broker_crash", "broker": "leader of orders/0", "at": at[::2], "for": "60s"},
            {"fault": "member_crash", "member": "fulfilment/1", "at": at[1::2], "for": "30s"},
        ]
    return load_text(write_yaml(raw)).scenario


if __name__ == "__main__":
    main()
