"""Incidents of a live run: what the brokers' logs and the members told, in the words that both engines use."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from loadgen.admin import OFFSETS_TOPIC
from loadgen.clusters.log_lines import LogIncident, read_incidents
from loadgen.run_clock import RunClock
from rundata.tables import Incident
from scenarios.plan import Plan
from scenarios.retries import all_topics

_IN_SYNC = re.compile(r"(?:\bto |ISR |isr=)\[?(\d[\d,\s]*)\]?")
_LEAD_NS = 1_000_000_000


def from_logs(log_dir: Path, plan: Plan, clock: RunClock, member_ids: Mapping[str, str]) -> list[Incident]:
    """Return what the nodes' logs tell about this run, in order of time; `member_ids` tells who had which id."""
    since = clock.start_unix_ns - _LEAD_NS
    found = [
        incident
        for said in read_incidents(log_dir, since_unix_ns=since)
        for incident in _translate(said, plan, clock, member_ids)
    ]
    return [incident for incident in _told_once(found) if incident.time_ns >= 0]


def _told_once(incidents: Iterable[Incident]) -> Iterator[Incident]:
    """Leave out that the replicas in sync are what they were already: a change is told in up to three ways."""
    in_sync: dict[str, str] = {}
    for incident in incidents:
        if incident.kind == "isr":
            if in_sync.get(incident.where) == incident.detail:
                continue
            in_sync[incident.where] = incident.detail
        yield incident


def _translate(said: LogIncident, plan: Plan, clock: RunClock, member_ids: Mapping[str, str]) -> Iterator[Incident]:
    at_ns = said.time_unix_ns - clock.start_unix_ns
    partition = f"{said.topic}/{said.partition}"
    ours = said.topic == OFFSETS_TOPIC or said.topic in all_topics(plan.scenario)
    node = f"broker {said.node}" if said.node and said.node <= plan.scenario.brokers.nodes else "controller"
    match said.kind:
        case "fence":
            yield Incident(at_ns, "fence", f"broker {said.node}", said.detail)
        case "register":
            yield Incident(at_ns, "registered", f"broker {said.node}", said.detail)
        case "unfence" | "controlled_shutdown" | "controller" | "started" | "register_refused" as kind:
            yield Incident(at_ns, kind.replace("_", " "), node, said.detail)
        case "election" if ours:
            # A leader whose epoch grew with a change of its replicas says the same; it was not elected anew.
            if f"Previous leader Some({said.node})" not in said.detail:
                yield Incident(at_ns, "election", partition, f"leader {said.node}")
            if in_sync := _replicas(said.detail):
                yield Incident(at_ns, "isr", partition, in_sync)
        case "isr" if ours:  # what a leader only wants, its controller may refuse or never hear
            yield Incident(at_ns, "isr", partition, _replicas(said.detail) or said.detail)
        case "rebalance_begin" | "rebalance_end" | "group_epoch" if said.group in plan.scenario.groups:
            yield Incident(at_ns, "rebalance", str(said.group), f"{said.kind.replace('_', ' ')}: {said.detail}")
        case "member_expired" if said.group in plan.scenario.groups:
            yield Incident(at_ns, "session expired", _member(said, member_ids), said.detail)
        case "retention" if ours:
            yield Incident(at_ns, "expired", partition, said.detail)
        case _:
            return


def _replicas(detail: str) -> str | None:
    """Return the in-sync replicas that a line names: `1,3`."""
    found = _IN_SYNC.search(detail)
    return ",".join(sorted(found[1].replace(",", " ").split(), key=int)) if found else None


def _member(said: LogIncident, member_ids: Mapping[str, str]) -> str:
    """Return the member that had the id in the line; the group where nobody is known to have had it."""
    words = said.detail.replace("[", " ").replace("]", " ").split()
    return next((member_ids[word] for word in words if word in member_ids), str(said.group))


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
