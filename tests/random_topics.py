"""What came late for random scenarios: replicas that move, partitions that are added, workers that wait for a commit."""

import random
from collections.abc import Iterable
from typing import Any

Faults = list[dict[str, Any]]


def add(choose: random.Random, scenario: dict[str, Any], faults: Faults, length_ms: int) -> Faults:
    """Let replicas of some partitions move, and some topics get more partitions; return the faults then."""
    _give_workers(choose, scenario["groups"])
    if choose.random() < 0.3:
        faults = [*faults, *(_reassign(choose, scenario, length_ms) for _ in range(choose.choice([1, 1, 2, 4])))]
    if choose.random() < 0.4:
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
    """Add partitions to a topic; clients ask often for what there is."""
    groups = scenario["groups"].values()
    for what in [*scenario["producers"].values(), *groups]:
        name = "metadata.max.age.ms" if what.get("client") == "java" else "topic.metadata.refresh.interval.ms"
        for sends_or_reads in [what, *what.get("emits", ())]:
            if choose.random() < 0.9:
                sends_or_reads["settings"][name] = choose.choice([20, 50, 150, 400])
    topic = choose.choice(list(scenario["topics"]))
    count = scenario["topics"][topic]["partitions"]
    if choose.random() < 0.4:
        _hear_late(groups, topic)
    for _ in range(choose.choice([1, 1, 2])):
        count += choose.choice([1, 1, 2, 4])
        at_ms = choose.randrange(length_ms // 10) * 10
        faults = [*faults, {"fault": "add_partitions", "topic": topic, "to": count, "at": f"{at_ms}ms"}]
    return faults


def copy_from_new_partitions(choose: random.Random, scenario: dict[str, Any], faults: Faults, length_ms: int) -> Faults:
    """Return how a topic grows of which copies wait in retry topics; many events fail, and everybody hears of new partitions soon."""
    able = [
        group
        for group in scenario["groups"].values()
        if group.get("failures", {}).get("retry", {}).get("where") == "topic" and not group.get("share_group")
    ]
    grown = {fault["topic"] for fault in faults if fault["fault"] == "add_partitions"}
    if not able or choose.random() < 0.5 or able[0]["topics"][0] in grown:
        return []
    group, topic = able[0], able[0]["topics"][0]
    group["failures"]["transient"] = {"chance": "50%", "attempts": choose.choice([1, 2])}
    for what in [*scenario["producers"].values(), *scenario["groups"].values()]:
        name = "metadata.max.age.ms" if what.get("client") == "java" else "topic.metadata.refresh.interval.ms"
        what["settings"][name] = 20
    count = scenario["topics"][topic]["partitions"] + choose.choice([1, 2, 4])
    return [{"fault": "add_partitions", "topic": topic, "to": count, "at": f"{choose.randrange(length_ms // 20)}ms"}]


def _hear_late(groups: Iterable[dict[str, Any]], topic: str) -> None:
    """Have groups hear of new partitions when something is in them, and begin behind it."""
    for group in (group for group in groups if topic in group["topics"] and not group.get("share_group")):
        group["settings"]["auto.offset.reset"] = "latest"
        for name in ("metadata.max.age.ms", "topic.metadata.refresh.interval.ms"):
            if name in group["settings"]:
                group["settings"][name] = 400


def move_leaders(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> Faults:
    """Return moves of leaders for a while, at the end of which they move back."""
    if choose.random() < 0.93:
        return []
    able = [name for name, topic in scenario["topics"].items() if topic["replication"] > 1]
    at_ms = choose.randrange(1, length_ms // 20) * 10
    return [
        {"fault": "leader_move", "partition": f"{name}/0", "at": f"{at_ms}ms", "for": choose.choice(["50ms", "150ms"])}
        for name in able[:1]
    ]


def _give_workers(choose: random.Random, groups: dict[str, Any]) -> None:
    """Let some groups have several workers that commit before they work, or stop at what they cannot handle."""
    for group in groups.values():
        able = group["reads"] == "poll" and not group.get("share_group") and "workers" not in group
        able = able and group["commit"] != "transaction"
        new = group["commit"] == "before_work" or group.get("failures", {}).get("then") == "stop"
        if able and new and choose.random() < 0.6:
            workers = choose.choice([2, 3, 5])
            group |= {"workers": workers, "in_hand": choose.choice([workers, 2 * workers, 50])}
            group["ordered_by"] = choose.choice(["none", "key", "partition"])


def collect_by_calls(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> Faults:
    """Let Java's client commit by itself what a member still collects; return a leave of such a member, in the midst of it."""
    able = [
        name
        for name, group in scenario["groups"].items()
        if group.get("client") == "java" and not group.get("share_group") and "workers" not in group
        if group["commit"] != "transaction"
    ]
    if not able or choose.random() < 0.6:
        return []
    group = scenario["groups"][able[0]]
    timeout = choose.choice(["30ms", "50ms", "200ms"])
    group |= {"commit": "auto", "reads": {"collect": {"events": choose.choice([2, 5, 20]), "timeout": timeout}}}
    group["settings"]["auto.commit.interval.ms"] = choose.choice([10, 20, 50])
    if choose.random() < 0.3:
        return []
    group["reads"] = {"collect": {"events": 20, "timeout": "200ms"}}
    at_ms = choose.randrange(1, length_ms // 10) * 10
    kind = choose.choice(["member_leave", "member_leave", "member_leave", "member_crash"])
    return [{"fault": kind, "member": f"{able[0]}/1", "at": f"{at_ms}ms", "for": "100ms"}]
