"""Random dependencies for random scenarios: who is called, with which limits, and what goes wrong there."""

import random
from typing import Any


def add(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> list[dict[str, Any]]:
    """Let some scenarios have dependencies that groups call; return faults of these."""
    if choose.random() < 0.6:
        return []
    names = ["d", "e"][: choose.choice([1, 1, 2])]
    scenario["dependencies"] = {name: _dependency(choose) for name in names}
    for group in scenario["groups"].values():
        if choose.random() < 0.8:
            group["calls"] = [_call(choose, names) for _ in range(choose.choice([1, 1, 2]))]
            if "failures" not in group:
                group["work"] = {"uniform": ["1ms", "20ms"]}  # endless tries take time
    return [_fault(choose, names, length_ms) for _ in range(choose.choice([0, 0, 1, 2]))]


def _dependency(choose: random.Random) -> dict[str, Any]:
    dependency: dict[str, Any] = {"takes": choose.choice(["0ms", "5ms", "10ms", {"exponential": "4ms"}])}
    if choose.random() < 0.5:
        dependency["rate"] = choose.choice(["50/s", "200/s", "333/s"])
        dependency["burst"] = choose.choice([1, 2, 5])
    if choose.random() < 0.5:
        dependency["concurrency"] = choose.choice([1, 1, 2])
    return {**dependency, "over": choose.choice(["wait", "wait", "refuse"]), "fails": choose.choice(["0%", "20%"])}


def _call(choose: random.Random, names: list[str]) -> dict[str, Any]:
    call: dict[str, Any] = {"dependency": choose.choice(names)}
    if choose.random() < 0.4:
        call["timeout"] = choose.choice(["5ms", "10ms", "30ms"])
    if choose.random() < 0.5:
        call["breaker"] = {
            "opens_after": choose.choice([1, 2, 3]),
            "stays_open": choose.choice(["20ms", "100ms"]),
            "probes": choose.choice([1, 2]),
            "while_open": choose.choice(["fail", "wait"]),
        }
    return call


def _fault(choose: random.Random, names: list[str], length_ms: int) -> dict[str, Any]:
    fault: dict[str, Any] = {
        "fault": choose.choice(["dependency_down", "dependency_slow"]),
        "dependency": choose.choice(names),
        "at": f"{choose.randrange(length_ms // 50) * 50}ms",
        "for": choose.choice(["50ms", "100ms", "300ms"]),
    }
    if fault["fault"] == "dependency_slow":
        fault |= {"factor": choose.choice([1, 2.5, 4]), "plus": choose.choice(["0ms", "10ms"])}
    return fault
