"""What a run shows of its faults, once it is over: in brokers' logs, in what members told, and in what was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from loadgen.lab.applied import Applied, seconds
from loadgen.lab.process_proofs import lost_in_buffer, of_calls, of_events, silence, wrong_timestamps
from rundata.rows import Kind, Outcome
from rundata.tables import Incident
from scenarios import faults
from scenarios.plan import Plan
from scenarios.quantities import SECOND, format_duration

AFTERWARDS_NS = 30 * SECOND
"""What a fault does shows at most so long after its end."""
LONGEST_SESSION_NS = 60 * SECOND
"""What comes later than that after a member's end is about another one; clients' default is 45 s."""

Rows = NDArray[np.void]


def shown(applied: Applied, plan: Plan, incidents: Sequence[Incident], operations: Rows, log: Rows) -> str:
    """Return what shows that a fault had its effect, beyond what was seen when it began and ended."""
    fault = applied.planned.fault
    match fault:
        case faults.DiskStall():
            stalled = [
                _of_brokers(applied, incidents),
                _out_of_sync(applied, incidents),
                _slow_answers(applied, operations),
            ]
            return "; ".join(words for words in stalled if words)
        case faults.BrokerCrash() | faults.BrokerStop() | faults.BrokerPause() | faults.DiskFull() | faults.HostCrash():
            return _of_brokers(applied, incidents)
        case faults.Cut() | faults.SlowLink():
            roles = {end.role for end in fault.between}
            if "clients" in roles or isinstance(fault, faults.SlowLink):
                return ""  # the probe has shown it
            return _of_brokers(applied, incidents) if "controller" in roles else _out_of_sync(applied, incidents)
        case faults.MemberCrash() | faults.MemberLeave():
            return _of_member(applied, fault.member.group, incidents)
        case faults.SlowWork() | faults.FailingWork():
            code = list(plan.scenario.groups).index(fault.group)
            return _of_tries(applied, operations[(operations["kind"] == Kind.try_) & (operations["group"] == code)])
        case faults.Poison():
            inside = _inside(plan, applied) & plan.poison
            failed = (operations["kind"] == Kind.try_) & (operations["outcome"] == Outcome.failed)
            tried = np.intersect1d(np.flatnonzero(inside), operations["event_id"][failed])
            return f"{np.count_nonzero(inside)} poison events, {len(tried)} of them failed a try"
        case faults.SchemaChange():
            return _undecoded(applied, plan, operations, fault)
        case faults.Surge():
            sends = operations["event_id"][operations["kind"] == Kind.send]
            sent = np.count_nonzero(np.isin(np.flatnonzero(_inside(plan, applied)), sends))
            length_s = (applied.planned.end_ns - applied.planned.begin_ns) / SECOND
            return f"{sent} events sent, {sent / length_s:.0f}/s"
        case faults.Retention():
            return _expired(applied, fault.topic, incidents)
        case faults.Throttle():
            return _rates(applied, plan, operations) if fault.producer else ""
        case faults.Hook() | faults.LeaderMove() | faults.DeleteRecords() | faults.Reassign() | faults.AddPartitions():
            return ""  # the brokers' own answers, or the probe, have shown it
        case faults.ProducerCrash():
            return lost_in_buffer(applied, plan, operations, applied.target.split(", "))
        case faults.ProducerPause() | faults.MemberPause() | faults.PollStall():
            return silence(applied, plan, operations, applied.target.split(", "))
        case faults.Duplicates() | faults.Oversized() | faults.Late():
            return of_events(applied, plan, operations)
        case faults.DependencyDown() | faults.DependencySlow():
            return of_calls(applied, plan, operations, fault.dependency)
        case faults.ClockSkew() if fault.broker is not None:
            return _deleted(applied, incidents)  # what time they say it is they were asked for
        case faults.ClockSkew():
            return wrong_timestamps(applied, plan, operations, log, applied.target.split(", "))
        case faults.RollingRestart() | faults.RollingDeploy():
            raise AssertionError(f"{fault.kind} comes in parts")
        case _:
            assert_never(fault)


def _during(applied: Applied, incidents: Sequence[Incident]) -> list[Incident]:
    end_ns = applied.planned.end_ns + AFTERWARDS_NS
    return [each for each in incidents if applied.began_ns <= each.time_ns < end_ns]


def _of_brokers(applied: Applied, incidents: Sequence[Incident]) -> str:
    after = _during(applied, incidents)
    words = []
    for node in applied.nodes:
        who = f"broker {node} " if len(applied.nodes) > 1 else ""
        where = f"broker {node}"
        fence = next((i for i in after if i.kind == "fence" and i.where == where), None)
        if fence is not None:
            words.append(f"{who}fenced at {seconds(fence.time_ns)}")
            back = next((i for i in after if i.kind in ("unfence", "registered") and i.where == where and i.time_ns > fence.time_ns), None)  # fmt: skip
        else:
            back = next((i for i in after if i.kind == "registered" and i.where == where), None)
        if back is not None:
            words.append(
                f"{who}{'registered' if back.kind == 'registered' else 'let in'} again at {seconds(back.time_ns)}"
            )
    moved = [i for i in after if i.kind == "election" and i.detail not in {f"leader {node}" for node in applied.nodes}]
    if moved:
        first = min(moved, key=lambda i: i.time_ns)
        words.append(f"{len(moved)} partitions led by others, {first.where} from {seconds(first.time_ns)}")
    return "; ".join([*words, *_new_controller(applied, after)])


def _new_controller(applied: Applied, after: Sequence[Incident]) -> Iterator[str]:
    """Say who became the active controller: the separate one only where it was what was hurt."""
    active = next((each for each in after if each.kind == "controller"), None)
    if active is None:
        return
    if active.where != "controller":
        yield f"{active.where} became the active controller at {seconds(active.time_ns)}"
    elif applied.target == "controller":
        yield f"it became the active controller at {seconds(active.time_ns)}"


def _out_of_sync(applied: Applied, incidents: Sequence[Incident]) -> str:
    """Say which partitions went on without a replica that the cut link would have kept in sync."""
    lost: dict[str, Incident] = {}
    for each in _during(applied, incidents):
        if each.kind == "isr" and any(str(node) not in each.detail.split(",") for node in applied.nodes):
            lost.setdefault(each.where, each)
    if not lost:
        return ""
    first = min(lost.values(), key=lambda each: each.time_ns)
    return f"{len(lost)} partitions with fewer replicas in sync, {first.where} from {seconds(first.time_ns)}: {first.detail}"


def _of_member(applied: Applied, group: str, incidents: Sequence[Incident]) -> str:
    end_ns = max(applied.planned.end_ns + AFTERWARDS_NS, applied.began_ns + LONGEST_SESSION_NS)
    own = [i for i in incidents if applied.began_ns <= i.time_ns < end_ns and i.where.partition("/")[0] == group]
    expired = next((i for i in own if i.kind == "session expired" and i.where == applied.target), None)
    taken = next((i for i in own if i.kind == "assignment" and i.where != applied.target), None)
    words = [f"session expired at {seconds(expired.time_ns)}"] if expired else []
    return "; ".join(words + ([f"{taken.where} took over at {seconds(taken.time_ns)}"] if taken else []))


def _of_tries(applied: Applied, tries: Rows) -> str:
    inside = (tries["started_ns"] >= applied.planned.begin_ns) & (tries["started_ns"] < applied.planned.end_ns)
    if not inside.any() or inside.all():
        return "no tries to compare"
    took = tries["ended_ns"] - tries["started_ns"]
    failed = tries["outcome"] == Outcome.failed
    if isinstance(applied.planned.fault, faults.SlowWork):
        medians = [format_duration(float(np.median(took[chosen]))) for chosen in (inside, ~inside)]
        return f"median try {medians[0]}, otherwise {medians[1]}"
    return f"{failed[inside].mean():.1%} of {np.count_nonzero(inside)} tries failed, otherwise {failed[~inside].mean():.2%}"


def _slow_answers(applied: Applied, operations: Rows) -> str:
    """Say how long acknowledgements took of what was sent while the fault lasted."""
    sends = operations[(operations["kind"] == Kind.send) & (operations["outcome"] == Outcome.ok)]
    inside = sends[(sends["started_ns"] >= applied.began_ns) & (sends["started_ns"] < applied.planned.end_ns)]
    if not len(inside):
        return "nothing that was sent meanwhile was acknowledged"
    longest = int((inside["ended_ns"] - inside["started_ns"]).max())
    return f"an acknowledgement took up to {format_duration(longest)}"


def _expired(applied: Applied, topic: str, incidents: Sequence[Incident]) -> str:
    gone = [i for i in _during(applied, incidents) if i.kind == "expired" and i.where.rpartition("/")[0] == topic]
    if not gone:
        return (
            "no segment was deleted meanwhile: only those that are full or old go (segment.bytes, segment.ms), and brokers "
            "look every log.retention.check.interval.ms, by default 5 minutes"
        )
    return f"{len(gone)} segments deleted, the first at {seconds(gone[0].time_ns)}"


def _deleted(applied: Applied, incidents: Sequence[Incident]) -> str:
    """Say how many segments were deleted while a clock was wrong, by whatever broker."""
    gone = [i for i in incidents if i.kind == "expired" and applied.began_ns <= i.time_ns < applied.planned.end_ns]
    return f"{len(gone)} segments deleted meanwhile, {gone[0].where} from {seconds(gone[0].time_ns)}" if gone else ""


def _rates(applied: Applied, plan: Plan, operations: Rows) -> str:
    """Compare what was acknowledged of a throttled producer during the fault and before it."""
    fault = applied.planned.fault
    assert isinstance(fault, faults.Throttle)
    acked = operations[(operations["kind"] == Kind.send) & (operations["outcome"] == Outcome.ok)]
    own = acked[plan.producer[acked["event_id"]] == plan.producers.index(fault.producer or "")]
    rates = []
    for begin_ns, end_ns in ((applied.began_ns, applied.planned.end_ns), (0, applied.began_ns)):
        chosen = own[(own["ended_ns"] >= begin_ns) & (own["ended_ns"] < end_ns)]
        rates.append(plan.size_bytes[chosen["event_id"]].sum() / max(1, end_ns - begin_ns) * SECOND / 1000)
    return f"{rates[0]:.1f} kB/s acknowledged meanwhile, {rates[1]:.1f} kB/s before"


def _undecoded(applied: Applied, plan: Plan, operations: NDArray[np.void], fault: faults.SchemaChange) -> str:
    """Say how many events carried the version, and how many of them each group failed to decode."""
    begin_ns, until_ns = applied.planned.begin_ns, applied.planned.until_ns
    changed = (plan.intended_ns >= begin_ns) & (plan.intended_ns < until_ns) & (plan.schema_version == fault.version)
    changed &= plan.producer == plan.producers.index(fault.producer)
    failed = operations[(operations["kind"] == Kind.try_) & (operations["outcome"] == Outcome.failed)]
    said = [f"{np.count_nonzero(changed)} events of version {fault.version}"]
    for code, (group, broken) in enumerate(plan.undecodable.items()):
        mine = np.unique(failed["event_id"][failed["group"] == code])
        if broken.any():
            said.append(
                f"{len(np.intersect1d(np.flatnonzero(changed & broken), mine))} of them failed a try of {group}"
            )
    return ", ".join(said)


def _inside(plan: Plan, applied: Applied) -> NDArray[np.bool_]:
    return (plan.intended_ns >= applied.planned.begin_ns) & (plan.intended_ns < applied.planned.end_ns)
