"""Random actions for random scenarios."""

import random
from typing import Any


def add(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> None:
    """Let people act in some scenarios."""
    if choose.random() < 0.6:
        return
    acted = [_action(choose, scenario, length_ms) for _ in range(choose.choice([1, 1, 2, 3]))]
    scenario["actions"] = [action for action in acted if action is not None]


def add_autoscalers(choose: random.Random, groups: dict[str, Any]) -> None:
    """Let some groups follow their lag."""
    for group in groups.values():
        if choose.random() < 0.15:
            low = choose.choice([0, 1, group["members"]])
            group["autoscaler"] = {
                "lag": choose.choice([3, 10]), "min": min(low, group["members"]), "max": max(4, group["members"]),
                "poll": choose.choice(["50ms", "100ms"]), "cooldown": choose.choice(["100ms", "300ms"]),
                "start_up": choose.choice(["10ms", "70ms"]),
            }  # fmt: skip


def add_absences(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> list[dict[str, Any]]:
    """Let members that keep their places miss that the group became larger or smaller; return when they are away."""
    if choose.random() < 0.88:
        return []
    group = scenario["groups"]["g"]
    resets = any(action["action"] == "reset_offsets" for action in scenario.get("actions", ()))
    if group.get("share_group") or "autoscaler" in group or resets:
        return []
    members = max(2, group["members"])
    if any((action["action"], action.get("to")) == ("scale", members) for action in scenario.get("actions", ())):
        return []
    group["settings"] |= {"group.instance.id": "static", "group.protocol": "consumer"}
    for name in ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"):
        group["settings"].pop(name, None)
    group["members"] = members
    session_ms = scenario["brokers"]["settings"]["group.consumer.session.timeout.ms"]
    at_ms = session_ms + choose.randrange(1, length_ms // 50) * 10
    if at_ms + 50 >= length_ms:
        return []
    away = {"fault": "member_leave", "member": "g/1", "at": f"{at_ms}ms", "for": choose.choice(["60ms", "90ms"])}
    if choose.random() < 0.6:  # another one is given up meanwhile
        gone_ms = at_ms - session_ms + choose.choice([10, 40])
        return [{**away, "member": "g/2", "at": f"{gone_ms}ms", "for": "800ms"}, away]
    to = choose.choice([group["members"] - 1, group["members"] + 1, group["members"] + 2])
    scale = {"action": "scale", "group": "g", "to": to, "at": f"{at_ms + choose.choice([10, 30])}ms"}
    scenario.setdefault("actions", []).append(scale)
    return [away]


def _action(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> dict[str, Any] | None:
    group = choose.choice(list(scenario["groups"]))
    what = scenario["groups"][group]
    kind = choose.choice(
        ["scale", "scale", "reset_offsets", "deploy", *["redrive"] * 8 * ("dead" in str(what.get("failures")))]
    )
    if kind == "redrive":
        return _redrive(choose, length_ms)
    at_ms = choose.randrange(length_ms // 50) * 50
    action: dict[str, Any] = {"action": kind, "at": f"{at_ms}ms", "group": group}
    match kind:
        case "scale":
            action["to"] = choose.choice([n for n in (0, 1, 2, 3, 4) if n != what["members"]])
            if choose.random() < 0.6:
                action["for"] = choose.choice(["50ms", "200ms", "400ms"])
        case "reset_offsets":
            if "group.instance.id" in what["settings"]:
                return None
            ago_ms = choose.choice([50, 150])
            ago = f"{ago_ms}ms" if ago_ms <= at_ms else "earliest"
            action["to"] = choose.choice(["earliest", "latest", 3, ago])
            if choose.random() < 0.3:
                action["topic"] = what["topics"][0]
        case "deploy":
            action |= {"version": choose.choice(["2", "3"]), "fails": choose.choice(["0%", "30%"])}
            if choose.random() < 0.6:
                action["work"] = choose.choice(["2ms", {"uniform": ["1ms", "20ms"]}])
            if choose.random() < 0.6:
                action |= {"canary": choose.choice(["10%", "50%"]), "watch": choose.choice(["50ms", "200ms"])}
                action["rollback_if"] = f"errors[{group}] > {choose.choice(['0%', '20%'])}"
    return action


def _redrive(choose: random.Random, length_ms: int) -> dict[str, Any]:
    action: dict[str, Any] = {"action": "redrive", "from": "dead", "most": choose.choice([1, 2, 2])}
    if choose.random() < 0.25:
        action["at"] = f"{choose.randrange(length_ms // 50) * 50}ms"
    else:
        action["every"] = f"{length_ms // choose.choice([4, 8])}ms"
    if choose.random() < 0.5:
        action["rate"] = choose.choice(["50/s", "300/s"])
    if choose.random() < 0.3:
        action["to"] = "a"
    return action
