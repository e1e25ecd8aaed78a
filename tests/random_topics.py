"""What came late for random scenarios: replicas that move, partitions that are added."""

import random
from typing import Any

Faults = list[dict[str, Any]]


def add(choose: random.Random, scenario: dict[str, Any], faults: Faults, length_ms: int) -> Faults:
    """Let replicas of some partitions move, and some topics get more partitions; return the faults then."""
    if choose.random() < 0.3:
        faults = [*faults, *(_reassign(choose, scenario, length_ms) for _ in range(choose.choice([1, 1, 2, 4])))]
    if choose.random() < 0.3:
        faults = _grow(choose, scenario, faults, length_ms)
    return faults


def _reassign(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> dict[str, Any]:
    topic = choose.choice(["a", "a", *scenario["topics"]])
    number = choose.choice([0, 0, choose.randrange(scenario["topics"][topic]["partitions"])])
    nodes = scenario["brokers"]["nodes"]
    to = choose.sample(range(1, nodes + 1), choose.randint(1, min(3, nodes)))
    at_ms = choose.randrange(length_ms // 10) * 10
    return {"fault": "reassign", "partition": f"{topic}/{number}", "to": to, "at": f"{at_ms}ms"}


def _grow(choose: random.Random, scenario: dict[str, Any], faults: Faults, length_ms: int) -> Faults:
    """Add partitions to a topic that only producers write to; clients ask often for what there is."""
    groups = scenario["groups"].values()
    written = {emits["topic"] for group in groups for emits in group.get("emits", ())} | {"dead"}
    refused = {
        topic
        for group in groups
        for topic in group["topics"]
        if group.get("failures", {}).get("retry", {}).get("where") == "topic"
    }
    redrives = any(action["action"] == "redrive" for action in scenario.get("actions", ()))
    able = [topic for topic in scenario["topics"] if topic not in written | refused]
    if not able or redrives:
        return faults
    for what in [*scenario["producers"].values(), *groups]:
        name = "metadata.max.age.ms" if what.get("client") == "java" else "topic.metadata.refresh.interval.ms"
        if choose.random() < 0.9:
            what["settings"][name] = choose.choice([20, 50, 150, 400])
    topic = choose.choice(able)
    count = scenario["topics"][topic]["partitions"]
    for _ in range(choose.choice([1, 1, 2])):
        count += choose.choice([1, 1, 2, 4])
        at_ms = choose.randrange(length_ms // 10) * 10
        faults = [*faults, {"fault": "add_partitions", "topic": topic, "to": count, "at": f"{at_ms}ms"}]
    return faults
