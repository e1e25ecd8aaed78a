"""Incidents of a live run: what the brokers' logs and the members told, in the words that both engines use."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from loadgen.clusters.log_lines import LogIncident, read_incidents
from loadgen.run_clock import RunClock
from rundata.tables import Incident
from scenarios.plan import Plan

_ISR = re.compile(r"to \[?([\d,\s]+)\]?")
_PREVIOUS_LEADER = re.compile(r"previous leader (?:Some\()?(\d+)", re.IGNORECASE)
_LEAD_NS = 1_000_000_000


def from_logs(log_dir: Path, plan: Plan, clock: RunClock) -> list[Incident]:
    """Return what the nodes' logs tell about this run, in order of time."""
    since = clock.start_unix_ns - _LEAD_NS
    found = (_translate(each, plan, clock) for each in read_incidents(log_dir, since_unix_ns=since))
    return [incident for incident in found if incident is not None and incident.time_ns >= 0]


def _translate(said: LogIncident, plan: Plan, clock: RunClock) -> Incident | None:
    at_ns = said.time_unix_ns - clock.start_unix_ns
    partition = f"{said.topic}/{said.partition}"
    ours = said.topic in plan.scenario.topics or said.topic == "__consumer_offsets"
    match said.kind:
        case "fence":
            return Incident(at_ns, "fence", f"broker {said.node}", said.detail)
        case "register":
            return Incident(at_ns, "registered", f"broker {said.node}", said.detail)
        case "unfence" | "controlled_shutdown" | "controller" | "started" | "register_refused" as kind:
            return Incident(
                at_ns, kind.replace("_", " "), f"broker {said.node}" if said.node else "controller", said.detail
            )
        case "election" if ours:
            return Incident(at_ns, "election", partition, f"leader {said.node}", said.detail)
        case "isr_shrink" | "isr_expand" | "isr" if ours:
            members = _ISR.search(said.detail)
            detail = ",".join(members[1].replace(",", " ").split()) if members else said.detail
            return Incident(at_ns, "isr", partition, detail)
        case "rebalance_begin" | "rebalance_end" | "group_epoch" if said.group in plan.scenario.groups:
            return Incident(at_ns, "rebalance", str(said.group), f"{said.kind.replace('_', ' ')}: {said.detail}")
        case "member_expired" if said.group in plan.scenario.groups:
            return Incident(at_ns, "session expired", _member(said, plan), said.detail)
        case "retention" if ours:
            return Incident(at_ns, "expired", partition, said.detail)
        case _:
            return None


def _member(said: LogIncident, plan: Plan) -> str:
    """Return the member in `fulfilment-2-8a7c...`: a classic member's id begins with its client id."""
    for number in range(1, plan.scenario.groups[str(said.group)].members + 1):
        if f"{said.group}-{number}-" in said.detail:
            return f"{said.group}/{number}"
    return str(said.group)


def from_members(heard: Iterable[tuple[int, str, str, str]], clock: RunClock) -> Iterator[Incident]:
    """Yield what the members said; what they were assigned before the clock started holds from time 0."""
    before: dict[str, Incident] = {}
    for at, kind, who, detail in heard:
        at_ns = at - clock.start_ns
        if at_ns > 0:
            yield Incident(at_ns, kind, who, detail)
        elif kind in ("assignment", "revocation"):
            before[who] = Incident(0, "assignment", who, detail)
    yield from before.values()
