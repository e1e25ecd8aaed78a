"""A year of one topic: 12 partitions, hashed keys, poll loops, commits, 200 consumer crashes and 50 broker outages, 1e9 events under `ideal`.

`python benchmarks/bench_billion.py [EVENTS]`: by default a fiftieth of it, with 4 crashes and an outage; `1e9` is all of it. Each run has a
process of its own, since a peak stays, and takes one core. The peers have the same load, members, poll loops, commits and looks at lag, and
no faults, of which there are too few to matter: a plain SimPy program, and Cimba's Python package where it is installed
(`pip install cimba`). All are measured in CPU time, without what they compile.
"""

import random
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import simpy

from scenarios.files import load_text
from scenarios.profiles import IDEAL
from scenarios.schema import Scenario
from scenarios.yaml_text import write_yaml
from sim.stretches.long_run import simulate_in_stretches

ALL = 1_000_000_000
RATE_HZ, KEYS, PARTITIONS, MEMBERS, WORK_MS = 32, 10_000, 12, 6, 20
CRASHES, OUTAGES = 200, 50
MOST_AT_A_POLL = 500
PEER_EVENTS = 300_000
QUIET_EVENTS = ALL // 10
SHOWN = (
    "produced",
    "delivery",
    "latency.p50",
    "latency.p99",
    "lag.mean",
    "committed_lag.mean",
    "duplicate_effects",
    "gap",
)


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        run(int(float(sys.argv[2])))
        return
    events = int(float(sys.argv[1])) if len(sys.argv) > 1 else ALL // 50
    done = subprocess.run([sys.executable, __file__, "run", str(events)], check=True, capture_output=True, text=True)
    first, *others = done.stdout.splitlines()
    hz, quiet_hz = (float(word) for word in first.split())
    print("\n".join(others), flush=True)
    peers_hz = {"plain SimPy": simpy_hz(looks=True), "plain SimPy without looks at lag": simpy_hz(looks=False)}
    cimba = Path(__file__).with_name("peer_cimba.py")
    if find_spec("cimba"):
        told = subprocess.run([sys.executable, str(cimba)], check=True, capture_output=True, text=True)
        peers_hz["Cimba"] = float(told.stdout.split()[-1])
    else:
        print("Cimba is not installed")
    for name, peer_hz in peers_hz.items():
        print(
            f"{name}: {peer_hz:,.0f} events/s; this is {hz / peer_hz:.1f} times that, and {quiet_hz / peer_hz:.1f} times without faults",
            flush=True,
        )


def run(events: int) -> None:
    scenario = a_year(events)
    simulate_in_stretches(
        a_year(ALL // 50), IDEAL, seed=2, resample=False, windows=False
    )  # compiles, or loads what is compiled
    before_mb, began = peak_mb(), time.process_time()
    long = simulate_in_stretches(scenario, IDEAL, seed=1, resample=False, windows=False)
    seconds = time.process_time() - began
    handled = round(float(long.measured["produced"].value or 0) * scenario.measured_ns / 1e9)
    disturbed = sum(each.how == "disturbed" for each in long.placings)
    quiet_s = without_faults(QUIET_EVENTS)
    print(handled / seconds, QUIET_EVENTS / quiet_s)
    print(
        f"{handled:,} events, {len(long.run.faults)} faults in {disturbed} stretches of {len(long.placings)}: {seconds:.1f} s of CPU, "
        f"{handled / seconds:,.0f} events/s, {seconds / handled * 1e9:.1f} ns each; {peak_mb():.0f} MB at most, {before_mb:.0f} MB before"
    )
    print(f"  without faults: {QUIET_EVENTS / quiet_s:,.0f} events/s, {quiet_s / QUIET_EVENTS * 1e9:.1f} ns each")
    print("  " + ", ".join(f"{name} {long.measured[name].value}" for name in SHOWN))


def without_faults(events: int) -> float:
    """Return the CPU time of as many events without faults."""
    quiet = a_year(events).model_copy(update={"faults": ()})
    began = time.process_time()
    simulate_in_stretches(quiet, IDEAL, seed=1, resample=False, windows=False)
    return time.process_time() - began


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def a_year(events: int) -> Scenario:
    """Return so many events, with faults as in the whole year, four members that crash to each broker."""
    seconds = events // RATE_HZ
    faults = round((CRASHES + OUTAGES) * events / ALL)
    at = [f"{round((number + 0.5) * seconds / faults)}s" for number in range(faults)]
    outages = [each for number, each in enumerate(at) if number % 5 == 4]
    crashes = [each for number, each in enumerate(at) if number % 5 != 4]
    raw: dict[str, Any] = {
        "scenario": "a-year",
        "duration": f"{seconds}s",
        "warm_up": "1m",
        "brokers": {"kind": "kafka", "nodes": 3},
        "topics": {"orders": {"partitions": PARTITIONS}},
        "producers": {
            "shop": {
                "topic": "orders",
                "arrivals": f"{RATE_HZ}/s",
                "key": {"uniform": KEYS},
                "settings": {"linger.ms": 0},
            }
        },
        "groups": {"fulfilment": {"topics": ["orders"], "members": MEMBERS, "work": {"exponential": f"{WORK_MS}ms"}}},
        "faults": [
            {"fault": "member_crash", "member": "fulfilment/1", "at": crashes, "for": "30s"},
            {"fault": "broker_crash", "broker": 2, "at": outages, "for": "60s"},
        ],
    }
    raw["faults"] = [each for each in raw["faults"] if each["at"]]
    return load_text(write_yaml(raw)).scenario


# ---- the peer --------------------------------------------------------------------------------------------------------


def simpy_hz(*, looks: bool) -> float:
    """Return events a second of the plain program."""
    began = time.process_time()
    line = PlainLine(PEER_EVENTS)
    line.env.process(line.produce())
    for member in range(MEMBERS):
        line.env.process(line.read(member))
    if looks:
        line.env.process(line.look())
    line.env.run(until=PEER_EVENTS / RATE_HZ + 1)
    seconds = time.process_time() - began
    assert sum(line.latencies_ms.values()) > 0.99 * PEER_EVENTS
    return PEER_EVENTS / seconds


class PlainLine:
    """The same load, members, poll loops, commits and looks at lag as SimPy processes."""

    def __init__(self, events: int) -> None:
        self.env, self.events, self.random = simpy.Environment(), events, random.Random(1)
        self.logs: list[list[float]] = [[] for _ in range(PARTITIONS)]
        self.given, self.committed = [0] * PARTITIONS, [0] * PARTITIONS
        self.waiting: list[simpy.Event | None] = [None] * MEMBERS
        self.latencies_ms: dict[int, int] = {}
        self.open = self.lag = self.committed_lag = 0

    def produce(self) -> Generator[simpy.Event, Any, None]:
        for _ in range(self.events):
            yield self.env.timeout(self.random.expovariate(RATE_HZ))
            key = self.random.randrange(KEYS)
            partition = zlib.crc32(b"shop-%d" % key) % PARTITIONS
            self.logs[partition].append(self.env.now)
            self.open += 1
            waiting = self.waiting[partition % MEMBERS]
            if waiting is not None:
                self.waiting[partition % MEMBERS] = None
                waiting.succeed()

    def read(self, member: int) -> Generator[simpy.Event, Any, None]:
        own = range(member, PARTITIONS, MEMBERS)
        while True:
            batch = []
            for partition in own:
                new = self.logs[partition][self.given[partition] : self.given[partition] + MOST_AT_A_POLL - len(batch)]
                self.given[partition] += len(new)
                batch += new
            if not batch:
                self.waiting[member] = self.env.event()
                yield self.waiting[member]
                continue
            for intended in batch:
                yield self.env.timeout(self.random.expovariate(1000 / WORK_MS))
                bin_ms = int((self.env.now - intended) * 1000)
                self.latencies_ms[bin_ms] = self.latencies_ms.get(bin_ms, 0) + 1
                self.open -= 1
            for partition in own:
                self.committed[partition] = self.given[partition]

    def look(self) -> Generator[simpy.Event, Any, None]:
        number = 0
        while True:
            self.lag += self.open
            if number % 10 == 0:
                self.committed_lag += sum(map(len, self.logs)) - sum(self.committed)
            number += 1
            yield self.env.timeout(0.1)


if __name__ == "__main__":
    main()
