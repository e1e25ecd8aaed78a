"""Random settings of logs, and what else came late, for random scenarios: unclean elections, compaction, replays, quotas of groups."""

import random
from typing import Any

Faults = list[dict[str, Any]]


def add(choose: random.Random, scenario: dict[str, Any], faults: Faults, length_ms: int) -> Faults:
    """Give some topics logs that are cut or compacted, and some groups replays; return the faults then."""
    which = choose.choice(["", "unclean", "compact"])
    if which == "unclean" and scenario["brokers"]["nodes"] > 1:
        faults = _let_anybody_lead(choose, scenario, faults, length_ms)
    elif which == "compact":
        _compact(choose, scenario)
    if choose.random() < 0.75:
        _replay(choose, scenario, length_ms)
    if choose.random() < 0.15:
        group = choose.choice(list(scenario["groups"]))
        at_ms, rate = choose.choice([0, 100]), choose.choice(["30B/s", "100B/s", "1KiB/s"])
        faults.append({"fault": "throttle", "group": group, "rate": rate, "at": f"{at_ms}ms", "for": f"{length_ms}ms"})
    return faults


def reset_nothing(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> Faults:
    """Let groups be told nowhere to go on once records are deleted; return what deletes some, while members are away or not."""
    able = [name for name, group in scenario["groups"].items() if not group.get("share_group")]
    if choose.random() < 0.85 or not able:
        return []
    faults: Faults = []
    for name in able:
        group = scenario["groups"][name]
        group["settings"]["auto.offset.reset"] = "none" if group.get("client") == "java" else "error"
        at_ms = choose.randrange(length_ms // 50) * 50
        kind, for_ms = choose.choice(["member_leave", "member_crash"]), choose.choice([60, 200])
        if choose.random() < 0.7:
            faults.append({"fault": kind, "member": f"{name}/1", "at": f"{at_ms}ms", "for": f"{for_ms}ms"})
        for later_ms in choose.choice([[20], [20, 200]]):
            topic = choose.choice(group["topics"])
            faults.append({"fault": "delete_records", "topic": topic, "up_to": "latest", "at": f"{at_ms + later_ms}ms"})
    return faults


def hold_locks(choose: random.Random, scenario: dict[str, Any], faults: Faults) -> Faults:
    """Return faults with pauses in share groups that outlast the locks of records."""
    return [
        {**fault, "for": choose.choice(["1100ms", "1600ms"])}
        if fault["fault"] in ("member_pause", "poll_stall")
        and scenario["groups"][fault["member"].partition("/")[0]].get("share_group")
        and choose.random() < 0.6
        else fault
        for fault in faults
    ]


def send_again_and_die(choose: random.Random, faults: Faults, length_ms: int) -> Faults:
    """Return crashes of a producer that sends some events twice, so that it is dead when the second time comes."""
    if choose.random() < 0.5 or not any(fault["fault"] == "duplicates" for fault in faults):
        return []
    return [
        {
            "fault": "producer_crash",
            "producer": "p",
            "at": f"{choose.randrange(1, 8) * length_ms // 10}ms",
            "for": "200ms",
        }
    ]


def lose_a_host(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> Faults:
    """Have a machine die that alone has a topic."""
    if choose.random() < 0.96:
        return []
    scenario["topics"]["a"]["replication"] = scenario["topics"]["a"]["settings"]["min.insync.replicas"] = 1
    at_ms = choose.randrange(2, 8) * length_ms // 10
    return [{"fault": "host_crash", "broker": "leader of a/0", "at": f"{at_ms}ms", "for": "200ms"}]


def limit_batches(choose: random.Random, scenario: dict[str, Any]) -> None:
    """Let a topic take no large batches, where librdkafka sends some."""
    producer = scenario["producers"]["p"]
    if choose.random() < 0.1 and producer.get("client") != "java":
        topic = scenario["topics"][producer["topic"]]
        topic["settings"]["max.message.bytes"] = choose.choice([200, 400, 1000])


def send_in_transactions(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> Faults:
    """Let the processes of a producer have transactional ids; return when they die."""
    producer = scenario["producers"]["p"]
    settings, is_java = producer["settings"], producer.get("client") == "java"
    if choose.random() < 0.85:
        return []
    settings.pop("enable.idempotence", None)
    settings |= {"acks": "all", "transactional.id": "p", "transaction.timeout.ms": choose.choice([1000, 2000, 60_000])}
    if is_java:
        settings["transaction.timeout.ms"] = choose.choice([50, 200, 60_000])
    ats_ms = [choose.uniform(0, length_ms) for _ in range(choose.choice([0, 2, 4]))]
    return [{"fault": "producer_crash", "producer": "p", "at": f"{at_ms:.3f}ms", "for": "30ms"} for at_ms in ats_ms]


def break_transactions(choose: random.Random, scenario: dict[str, Any]) -> None:
    """Let clients refuse calls of a producer's transactions (Java), or brokers batches of them (librdkafka), and several events come at an instant."""
    producer = scenario["producers"]["p"]
    if "transactional.id" not in producer["settings"] or choose.random() < 0.4:
        return
    producer["arrivals"]["spacing"] = {"bursts": choose.choice([3, 10])}
    if producer.get("client") == "java":
        producer["settings"] |= {"buffer.memory": choose.choice([300, 500]), "max.block.ms": choose.choice([0, 20])}
    else:
        settings = scenario["topics"][producer["topic"]]["settings"]
        settings["max.message.bytes"] = choose.choice([200, 300, 400])


def skew_clocks(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> Faults:
    """Return faults of clocks: those of producers' processes, and of brokers where no transaction is timed by them."""
    if choose.random() < 0.7:
        return []
    timed = any(group["commit"] == "transaction" for group in scenario["groups"].values())
    timed |= any("transactional.id" in producer["settings"] for producer in scenario["producers"].values())
    found = []
    for _ in range(choose.choice([1, 1, 2, 3])):
        count = scenario["producers"]["p"]["count"]
        targets = [{"producer": "p"}, {"producer": f"p/{choose.randint(1, count)}"}]
        if not timed:
            targets += [{"broker": choose.randint(1, scenario["brokers"]["nodes"])}, {"broker": "leader of a/0"}]
        by = choose.choice(["-1s", "-300ms", "-123.456789ms", "50ms", "300ms", "1s"])
        at_ms, for_ms = choose.randrange(length_ms // 50) * 50, choose.choice([100, 400, 1200])
        found.append(
            {"fault": "clock_skew", **choose.choice(targets), "by": by, "at": f"{at_ms}ms", "for": f"{for_ms}ms"}
        )
    return found


def age_brokers(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> Faults:
    """Let brokers be of a release before 3.7, with topics that need all of their replicas; return a fault that takes one away."""
    is_shared = any(group.get("share_group") for group in scenario["groups"].values())
    if choose.random() < 0.75 or "version" in scenario["brokers"] or is_shared:
        return []
    scenario["brokers"]["version"] = choose.choice(["3.6", "3.3"])
    for topic in scenario["topics"].values():
        topic["settings"]["min.insync.replicas"] = choose.choice([1, topic["replication"], topic["replication"]])
    at_ms = choose.randrange(length_ms // 50) * 50
    return [{"fault": "broker_crash", "broker": "follower of a/0", "at": f"{at_ms}ms", "for": f"{length_ms}ms"}]


def cut_one_way(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> Faults:
    """Return a cut through which clients reach a broker and do not hear from it, or the other way round."""
    if choose.random() < 0.9:
        return []
    number = choose.randint(1, scenario["brokers"]["nodes"])
    ends = ["clients", choose.choice(["leader of a/0", "leader of a/0", f"broker {number}"])]
    return [
        {
            "fault": "cut",
            "between": ends if choose.random() < 0.5 else ends[::-1],
            "direction": choose.choice(["to", "from"]),
            "at": f"{choose.randrange(length_ms // 50) * 50}ms",
            "for": f"{choose.choice([100, 400, 1200])}ms",
        }
    ]


def _let_anybody_lead(choose: random.Random, scenario: dict[str, Any], faults: Faults, length_ms: int) -> Faults:
    """Have elections that lose what is visible: few in sync, often an old release, records that are never deleted."""
    later = random.Random(f"{scenario['seed']}: cut and deleted")
    deletes = later.random() < 0.7
    if later.random() < 0.3:
        _compact(later, scenario)
    for topic in scenario["topics"].values():
        for name in ("retention.ms", "retention.bytes") if not deletes else ():
            topic["settings"].pop(name, None)
        topic["replication"] = max(2, topic["replication"])
        topic["settings"]["unclean.leader.election.enable"] = True
        topic["settings"]["min.insync.replicas"] = choose.choice([1, 1, 2])
    scenario["brokers"]["version"] = choose.choice(["3.9", "3.9", "4.2"])
    if any(group.get("share_group") for group in scenario["groups"].values()):
        _let_offsets_return(later, scenario)
    scenario["brokers"]["settings"]["replica.lag.time.max.ms"] = choose.choice([100, 300])
    faults = [fault for fault in faults if deletes or fault["fault"] not in ("retention", "delete_records")]
    if deletes and later.random() < 0.6:
        at_ms = later.randrange(2, 8) * length_ms // 20
        faults.append({"fault": "delete_records", "topic": "a", "up_to": later.choice([2, 5]), "at": f"{at_ms}ms"})
    if choose.random() < 0.3:
        return faults
    # A follower is gone and given up; others, too; then the leader goes, before or after the first one is back.
    second = length_ms * choose.choice([0.5, 0.7])
    gone = choose.choice(
        [
            [{"fault": "broker_crash", "broker": n, "at": f"{10 * n}ms", "for": f"{second + choose.choice([-200, 50])}ms"}
             for n in range(2, scenario["brokers"]["nodes"] + 1)],
            [{"fault": "cut", "between": ["brokers", "leader of a/0"], "at": "20ms", "for": f"{length_ms}ms"}],
        ]
    )  # fmt: skip
    kind = choose.choice(["broker_crash", "broker_crash", "broker_stop", "broker_pause"])
    target = choose.choice([1, "leader of a/0"])
    return [*gone, {"fault": kind, "broker": target, "at": f"{second}ms", "for": f"{length_ms}ms"}, *faults]


def _let_offsets_return(choose: random.Random, scenario: dict[str, Any]) -> None:
    """Have brokers of a release with share groups, where mostly nobody is eligible."""
    scenario["brokers"]["version"] = "4.2"
    for topic in scenario["topics"].values():
        topic["settings"]["min.insync.replicas"] = choose.choice([1, 1, 1, 1, 2])


def _compact(choose: random.Random, scenario: dict[str, Any]) -> None:
    for producer in scenario["producers"].values():
        if producer["key"] == "none":
            producer |= {"key": choose.choice([{"uniform": 3}, {"uniform": 8}]), "share": "keys"}
    policy = choose.choice(["compact", "compact", "compact,delete", "delete,compact"])
    for name, topic in scenario["topics"].items():
        if name == "dead" or choose.random() < 0.8:
            topic["settings"] |= {
                "cleanup.policy": policy,
                "segment.ms": choose.choice([20, 60, 100]),
                "min.cleanable.dirty.ratio": choose.choice([0.01, 0.3, 0.5, 0.5]),
                "min.compaction.lag.ms": choose.choice([0, 0, 100, 200]),
            }
            if choose.random() < 0.3:
                topic["settings"]["max.compaction.lag.ms"] = choose.choice([50, 300])
    scenario["brokers"]["settings"]["log.cleaner.backoff.ms"] = choose.choice([50, 100, 250])


def _replay(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> None:
    """Replay what a group handled, where its handler does all of the work."""
    able = [
        name
        for name, what in scenario["groups"].items()
        if not what.get("share_group")
        and not what.get("emits")
        and what["commit"] != "transaction"
        and what.get("failures", {}).get("retry", {}).get("where") != "topic"
    ]
    if not able:
        return
    at_ms = choose.randrange(1, length_ms // 50) * 50
    action: dict[str, Any] = {
        "action": "replay", "group": choose.choice(able), "from": choose.choice(["earliest", "earliest", 3, "50ms"]), "at": f"{at_ms}ms",
    }  # fmt: skip
    if choose.random() < 0.3:
        del action["at"]
        action["every"] = f"{length_ms // 4}ms"
    if choose.random() < 0.5:
        action["rate"] = choose.choice(["30/s", "200/s"])
    scenario.setdefault("actions", []).append(action)
