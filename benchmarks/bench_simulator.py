"""How many events the simulator moves in a second of CPU, against a plain SimPy program of a queue in the same run."""

import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from rundata.indicators import measure
from rundata.partials import Partial, gather
from scenarios.files import load_scenario, load_text
from scenarios.plan import Plan, make_plan
from scenarios.profiles import IDEAL, Profile, load_profile
from scenarios.yaml_text import write_yaml
from sim.engine import simulate
from sim.stretches.flow import as_run, flow

TIMES = 5


def main() -> None:
    queue = one_queue()
    events = len(queue)
    simulate(queue, IDEAL)  # compiles, where that is still to be done
    peer_s = best(lambda: plain_queue(queue))
    print(f"plain SimPy, M/M/1 at 0.8: {events / peer_s:,.0f} events/s")
    report("simulate, M/M/1 at 0.8, ideal", events, best(lambda: simulate(queue, IDEAL)), events / peer_s)

    crash, profile = make_plan(load_scenario("leader-crash").scenario), load_profile("local-kafka")
    moved = 2 * len(crash)  # two groups read each event
    report("simulate, leader-crash", moved, best(lambda: simulate(crash, profile)), events / peer_s)
    run = simulate(crash, profile)
    print(f"measure all indicators, leader-crash: {best(lambda: measure(run)):.3f} s")

    for name, rate, linger_ms in (("one record a batch", "1000/s", 1), ("some 27 records a batch", "60000/s", 5)):
        quiet = quiet_minute(rate, linger_ms)
        arrays_s = best(lambda plan=quiet: flow(plan, profile))  # type: ignore[misc]  # inferred
        with_figures_s = best(lambda plan=quiet: figures(plan, profile))  # type: ignore[misc]  # as above
        kernel_s = best(lambda plan=quiet: simulate(plan, profile, operations="none"))  # type: ignore[misc]  # as above
        each = f"{len(quiet):,} events, {name}"
        report(f"arrays, {each}", len(quiet), arrays_s, events / peer_s)
        report(f"arrays with all figures, {each}", len(quiet), with_figures_s, events / peer_s)
        report(f"kernel without rows or figures, {each}", len(quiet), kernel_s, events / peer_s)


def quiet_minute(rate: str, linger_ms: int) -> Plan:
    """Return about 60,000 events, or 120,000, through producers, three brokers and twelve partitions to six members."""
    scenario = {
        "scenario": "quiet",
        "duration": "60s" if rate == "1000/s" else "2s",
        "brokers": {"kind": "kafka", "nodes": 3},
        "topics": {"orders": {"partitions": 12}},
        "producers": {
            "shop": {
                "topic": "orders",
                "arrivals": rate,
                "key": {"uniform": 10_000},
                "settings": {"linger.ms": linger_ms},
            }
        },
        "groups": {"fulfilment": {"topics": ["orders"], "members": 6, "work": "50us"}},
    }
    return make_plan(load_text(write_yaml(scenario)).scenario, 1)


def figures(plan: Plan, profile: Profile) -> Partial:
    """Return all that a long run takes from a quiet stretch."""
    found = flow(plan, profile)
    assert found is not None
    return gather(as_run(plan, profile, found))


def one_queue() -> Plan:
    """Return 100,000 events through one partition to one member that works 0.8 of the time."""
    scenario = {
        "scenario": "one-queue",
        "duration": "125s",
        "brokers": {"kind": "kafka", "nodes": 1},
        "topics": {"jobs": {"partitions": 1}},
        "producers": {"source": {"topic": "jobs", "arrivals": "800/s", "settings": {"linger.ms": 0}}},
        "groups": {"workers": {"topics": ["jobs"], "work": {"exponential": "1ms"}, "commit": {"every": "1s"}}},
    }
    return make_plan(load_text(write_yaml(scenario)).scenario, 1)


def plain_queue(plan: Plan) -> float:
    """Return the mean latency in ms of the same queue as two SimPy processes and a store."""
    env = simpy.Environment()
    store = simpy.Store(env)
    latencies = np.zeros(len(plan))
    intended, work = plan.intended_ns.tolist(), plan.work_ns["workers"].tolist()

    def produce() -> Generator[simpy.Event, Any, None]:
        for event, at in enumerate(intended):
            yield env.timeout(at - env.now)
            store.put(event)

    def consume() -> Generator[simpy.Event, Any, None]:
        for _ in intended:
            event = yield store.get()
            yield env.timeout(work[event])
            latencies[event] = env.now - intended[event]

    env.process(produce())
    env.process(consume())
    env.run()
    return float(latencies.mean()) / 1e6


def report(what: str, events: int, seconds: float, peer_hz: float) -> None:
    hz = events / seconds
    print(f"{what}: {seconds:.3f} s, {hz:,.0f} events/s and group, {hz / peer_hz:.1f} times plain SimPy")


def best(work: Callable[[], object]) -> float:
    """Return the least CPU time of several goes."""
    times = []
    for _ in range(TIMES):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
