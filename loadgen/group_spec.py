"""What a group's members are told: how they behave, by the scenario, and when they are disturbed, by the plan's faults."""

import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from loadgen.member_work import Interval
from scenarios import faults
from scenarios.clients import Value
from scenarios.plan import Plan
from scenarios.retries import retry_topic, retry_topics
from scenarios.schema import CollectReads, Dedupe, EveryCommit, Failures, Group, Scenario


def behaviour(scenario: Scenario, name: str) -> dict[str, Any]:
    """Return how the members of a group read, work, commit and give up."""
    group = scenario.groups[name]
    reads, commit = group.reads, group.commit
    return {
        "reads": {"events": reads.collect.events, "timeout_ns": reads.collect.timeout} if isinstance(reads, CollectReads) else {},
        "busy": group.busy,
        "warm_up_ns": scenario.warm_up,
        "commit": "every" if isinstance(commit, EveryCommit) else commit,
        "every_ns": commit.every if isinstance(commit, EveryCommit) else 0,
        "workers": group.workers,
        "in_hand": group.in_hand,
        "ordered_by": group.ordered_by,
        "failures": None if group.failures is None else _failures(group.failures),
        "retry_topics": _retry_topics(group),
        "retry_partitions": {topic: scenario.topics[topic].partitions for topic in _retry_topics(group)},
        "topics": [*group.topics, *retry_topics(scenario, name)],
        "emits": [{"topic": what.topic, "settings": dict(what.settings), "outbox": what.outbox.every if what.outbox else 0} for what in group.emits],
        "calls": _calls(scenario, group),
    }  # fmt: skip


def _failures(failures: Failures) -> dict[str, Any]:
    retry = failures.retry
    return {
        "retry": {
            "attempts": retry.attempts,
            "backoff_ns": retry.backoff,
            "factor": retry.factor,
            "where": retry.where,
        },
        "then": failures.then,
        "dead_letter": failures.dead_letter,
    }


def _retry_topics(group: Group) -> dict[str, list[str]]:
    if group.failures is None or group.failures.retry.where != "topic":
        return {}
    copies = range(1, group.failures.retry.attempts)
    return {topic: [retry_topic(topic, copy) for copy in copies] for topic in group.topics}


def _calls(scenario: Scenario, group: Group) -> list[dict[str, Any]]:
    numbers = {name: number for number, name in enumerate(scenario.dependencies)}
    return [
        {
            "number": numbers[call.dependency],
            "stream": zlib.crc32(f"call {index} of {call.dependency}".encode()),
            "timeout_ns": call.timeout,
            "breaker": None
            if call.breaker is None
            else {
                "opens_after": call.breaker.opens_after,
                "stays_open_ns": call.breaker.stays_open,
                "probes": call.breaker.probes,
                "waits": call.breaker.while_open == "wait",
            },
        }
        for index, call in enumerate(group.calls)
    ]


def dedupe(group: Group, shared: str) -> dict[str, Any] | None:
    """Return how event ids are remembered; `shared` is the file of the group's memory."""
    if not isinstance(group.dedupe, Dedupe):
        return None
    return {"store": group.dedupe.store, "window_ns": group.dedupe.window, "file": shared}


def intervals(plan: Plan, member: str) -> dict[str, Any]:
    """Return the stretches in which a member's handlers are slow, fail or hang: members follow them by the clock."""
    group = member.rpartition("/")[0]
    slow, failing, stalls = [], [], []
    for planned in plan.faults:
        match planned.fault:
            case faults.SlowWork() as fault if fault.group == group:
                slow.append(Interval(planned.begin_ns, planned.end_ns, fault.factor, fault.plus))
            case faults.FailingWork() as fault if fault.group == group:
                failing.append(Interval(planned.begin_ns, planned.end_ns, share=fault.share))
            case faults.PollStall() as fault if str(fault.member) == member:
                stalls.append(Interval(planned.begin_ns, planned.end_ns))
            case _:
                pass
    return {
        "slow": [asdict(each) for each in slow],
        "failing": [asdict(each) for each in failing],
        "stalls": [asdict(each) for each in stalls],
    }


def skews(plan: Plan, process: str) -> list[tuple[int, int, int]]:
    """Return the stretches in which a producer process's clock is wrong, and by how much."""
    owner = process.rpartition("/")[0]
    return [
        (planned.begin_ns, planned.end_ns, planned.fault.by)
        for planned in plan.faults
        if isinstance(planned.fault, faults.ClockSkew)
        and planned.fault.producer is not None
        and str(planned.fault.producer) in (owner, process)
    ]


def services(plan: Plan) -> list[dict[str, Any]]:
    """Return the scenario's dependencies with what disturbs them, in the order of the file."""
    found = []
    for name, what in plan.scenario.dependencies.items():
        down, slow = list[tuple[int, int]](), list[tuple[int, int, float, int]]()
        for planned in plan.faults:
            match planned.fault:
                case faults.DependencyDown() as fault if fault.dependency == name:
                    down.append((planned.begin_ns, planned.end_ns))
                case faults.DependencySlow() as fault if fault.dependency == name:
                    slow.append((planned.begin_ns, planned.end_ns, fault.factor, fault.plus))
                case _:
                    pass
        found.append(
            {
                "takes": what.takes,
                "rate_hz": what.rate,
                "burst": what.burst,
                "concurrency": what.concurrency,
                "refuses": what.over == "refuse",
                "fails": what.fails,
                "down": down,
                "slow": slow,
            }
        )
    return found


def of_member(native: Mapping[str, Value], name: str) -> dict[str, Value]:
    """Return a member's settings; a static one's instance id is the group's with the member's number."""
    given = native.get("group.instance.id")
    return dict(native) if given is None else {**native, "group.instance.id": f"{given}-{name.rpartition('/')[2]}"}
