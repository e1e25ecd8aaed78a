"""Makes plausible runs of `leader-crash` for tests of pages and figures, without an engine: a rough queue with one halt."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from rundata.rows import LOG_RECORD, Kind, Outcome, new_operations
from rundata.tables import Extent, FaultRecord, Incident, Names, Phase, RunData
from scenarios.plan import Plan, make_plan
from scenarios.quantities import MILLISECOND, SECOND
from scenarios.schema import Scenario

LIBRARY = Path(__file__).parent.parent / "scenarios" / "library"


def leader_crash(**changes: Any) -> Scenario:
    """Return the shipped scenario, with top-level fields changed."""
    raw = YAML(typ="safe").load((LIBRARY / "leader-crash.yaml").read_text())
    return Scenario.model_validate({**raw, **changes})


def made_up_run(
    scenario: Scenario,
    *,
    engine: Literal["simulated", "driven"] = "simulated",
    chance: int = 0,
    fence_after_ns: int = 8_700 * MILLISECOND,
    slower: float = 1.0,
    about: dict[str, Any] | None = None,
    keep_until_ns: int | None = None,
) -> RunData:
    """Return a run in which the crashed broker's partitions halt until it is fenced."""
    plan = make_plan(scenario)
    rng = np.random.default_rng((7, chance))
    names = Names.of(scenario)
    halted = _halt(plan, fence_after_ns)
    acked = _acknowledged(plan, halted, rng, slower)
    rows = [_sends(plan, names, acked)]
    for group in scenario.groups:
        rows += _group_rows(plan, names, group, acked, rng, slower)
    operations = np.concatenate(rows)
    if keep_until_ns is not None:
        operations = operations[operations["started_ns"] < keep_until_ns]
    operations = operations[
        np.lexsort((operations["process"], operations["event_id"], operations["kind"], operations["started_ns"]))
    ]
    end_ns = int(min(operations["ended_ns"].max() + SECOND, keep_until_ns or 2**62))
    log = _log(plan, acked)
    return RunData(
        plan=plan,
        engine=engine,
        operations=operations,
        log=log if keep_until_ns is None else log[:0],
        extents=_extents(plan, log) if keep_until_ns is None else (),
        faults=tuple(_fault_record(f.label, f.fault.kind, _target(f.fault), f.begin_ns, f.end_ns) for f in plan.faults),
        incidents=_incidents(plan, halted),
        phases=_phases(scenario, end_ns),
        end_ns=end_ns,
        about={"state": "complete" if keep_until_ns is None else "interrupted", **(about or {})},
    )


def _target(fault: Any) -> str:
    return "broker 1" if hasattr(fault, "broker") else str(getattr(fault, "group", ""))


def _fault_record(label: str, kind: str, target: str, begin: int, end: int) -> FaultRecord:
    proof = "process 4242 is gone" if kind == "broker_crash" else "work measured at 4.0 times the plan"
    return FaultRecord(label, kind, target, begin, end, begin + 2 * MILLISECOND, end + 3 * MILLISECOND, proof)


def _halt(plan: Plan, fence_after_ns: int) -> dict[int, tuple[int, int]]:
    crash = [f for f in plan.faults if f.fault.kind == "broker_crash"]
    if not crash:
        return {}
    led = [p for p, replicas in enumerate(plan.replicas("orders")) if replicas[0] == 1]
    return {p: (crash[0].begin_ns, crash[0].begin_ns + fence_after_ns + 40 * p * MILLISECOND) for p in led}


def _acknowledged(
    plan: Plan, halted: dict[int, tuple[int, int]], rng: np.random.Generator, slower: float
) -> NDArray[np.int64]:
    acked = plan.intended_ns + (5e6 + slower * rng.gamma(4, 1.1e6, len(plan))).astype(np.int64)
    for partition, (begin, end) in halted.items():
        inside = (plan.partition == partition) & (acked >= begin) & (plan.intended_ns < end)
        acked[inside] = end + (0.4e9 + rng.uniform(0, 0.05e9, int(inside.sum()))).astype(np.int64)
    return _in_order(plan, acked)


def _in_order(plan: Plan, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Let no event of a partition overtake an earlier one."""
    for partition in np.unique(plan.partition):
        here = np.flatnonzero(plan.partition == partition)
        times[here] = np.maximum.accumulate(times[here]) + np.arange(len(here))
    return times


def _sends(plan: Plan, names: Names, acked: NDArray[np.int64]) -> NDArray[np.void]:
    rows = new_operations(len(plan))
    rows["event_id"] = rows["root_id"] = np.arange(len(plan))
    rows["key"], rows["partition"], rows["topic"] = plan.key, plan.partition, plan.topic
    rows["process"], rows["kind"] = plan.process - 1, Kind.send
    rows["intended_ns"], rows["started_ns"], rows["ended_ns"] = plan.intended_ns, plan.intended_ns + 90_000, acked
    rows["offset"] = _offsets(plan, acked)
    return rows


def _offsets(plan: Plan, acked: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(plan), np.int64)
    for partition in np.unique(plan.partition):
        here = np.flatnonzero(plan.partition == partition)
        offsets[here[np.argsort(acked[here], kind="stable")]] = np.arange(len(here))
    return offsets


def _group_rows(
    plan: Plan, names: Names, group: str, acked: NDArray[np.int64], rng: np.random.Generator, slower: float
) -> list[NDArray[np.void]]:
    members = plan.scenario.groups[group].members
    delivered = _in_order(plan, acked + (slower * rng.gamma(3, 0.7e6, len(plan))).astype(np.int64))
    effects = np.zeros(len(plan), np.int64)
    for member in range(members):
        free = 0
        mine = np.flatnonzero(plan.partition % members == member)
        for event in mine[np.argsort(delivered[mine], kind="stable")].tolist():
            begin = max(free, int(delivered[event]))
            delivered[event] = begin if begin - delivered[event] > 50 * MILLISECOND else delivered[event]
            free = begin + round(int(plan.work_ns[group][event]) * _slowing(plan, group, begin))
            effects[event] = free
    rows = []
    base = new_operations(len(plan))
    base["event_id"] = base["root_id"] = np.arange(len(plan))
    base["key"], base["partition"], base["topic"] = plan.key, plan.partition, plan.topic
    base["group"], base["intended_ns"] = names.groups.index(group), plan.intended_ns
    base["offset"], base["attempt"], base["delivery_number"] = _offsets(plan, acked), 1, 1
    first = names.processes.index(f"{group}/1")
    base["process"] = first + plan.partition % members
    delivery = base.copy()
    delivery["kind"], delivery["started_ns"], delivery["ended_ns"] = Kind.delivery, delivered, delivered
    rows.append(delivery)
    tried = base.copy()
    tried["kind"], tried["started_ns"], tried["ended_ns"] = Kind.try_, effects - plan.work_ns[group], effects
    tried["outcome"] = np.where(plan.poison, Outcome.failed, Outcome.ok)
    rows.append(tried)
    dead = base[plan.poison].copy()
    dead["kind"] = Kind.dead_letter if plan.scenario.groups[group].topic_of_dead_letters else Kind.skip
    dead["started_ns"] = dead["ended_ns"] = effects[plan.poison] + 5 * MILLISECOND
    if plan.scenario.groups[group].topic_of_dead_letters:
        dead["topic"], dead["partition"] = names.topics.index("orders.dlq"), 0
    rows.append(dead)
    return rows


def _slowing(plan: Plan, group: str, at_ns: int) -> float:
    for fault in plan.faults:
        if fault.fault.kind == "slow_work" and fault.fault.group == group and fault.begin_ns <= at_ns < fault.end_ns:
            return float(fault.fault.factor)
    return 1.0


def _log(plan: Plan, acked: NDArray[np.int64]) -> NDArray[np.void]:
    log = np.zeros(len(plan), LOG_RECORD)
    log["event_id"], log["offset"] = np.arange(len(plan)), _offsets(plan, acked)
    log["partition"], log["topic"], log["time_ns"] = plan.partition, plan.topic, plan.intended_ns
    return log[np.lexsort((log["offset"], log["partition"], log["topic"]))]


def _extents(plan: Plan, log: NDArray[np.void]) -> tuple[Extent, ...]:
    counts = [int((log["partition"] == p).sum()) for p in range(plan.scenario.topics["orders"].partitions)]
    return tuple(Extent("orders", p, 0, count) for p, count in enumerate(counts))


def _incidents(plan: Plan, halted: dict[int, tuple[int, int]]) -> tuple[Incident, ...]:
    if not halted:
        return ()
    fence = min(end for _, end in halted.values())
    found = [Incident(fence - 30 * MILLISECOND, "fence", "broker 1", "", "broker_crash")]
    found += [
        Incident(end, "election", f"orders/{p}", "leader 2", "fence of broker 1") for p, (_, end) in halted.items()
    ]
    found += [Incident(end, "isr", f"orders/{p}", "2,3", "fence of broker 1") for p, (_, end) in halted.items()]
    crash = next(f for f in plan.faults if f.fault.kind == "broker_crash")
    found += [
        Incident(crash.end_ns + 1900 * MILLISECOND, "restart", "broker 1", "", "broker_crash ended"),
        Incident(crash.end_ns + 2400 * MILLISECOND, "registered", "broker 1", "", ""),
        *(Incident(crash.end_ns + 2900 * MILLISECOND, "isr", f"orders/{p}", "1,2,3", "caught up") for p in halted),
        *(
            Incident(-50 * MILLISECOND, "assignment", f"fulfilment/{m}", f"orders/{m - 1} orders/{m + 2}", "")
            for m in (1, 2, 3)
        ),
    ]
    return tuple(sorted(found, key=lambda incident: incident.time_ns))


def _phases(scenario: Scenario, end_ns: int) -> tuple[Phase, ...]:
    return (
        Phase("warm-up", 0, scenario.warm_up),
        Phase("measure", scenario.warm_up, scenario.duration),
        Phase("drain", scenario.duration, max(end_ns, scenario.duration)),
    )
