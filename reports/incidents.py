"""What happened in a run, told in sentences: incidents of one kind that came together are one entry."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reports.drawing import letters
from reports.words import duration_text, time_text
from rundata.rows import NEVER
from rundata.tables import FaultRecord, Incident
from scenarios.quantities import MILLISECOND

TOGETHER_NS = 250 * MILLISECOND
_MOST_PLACES = 4
_MOST_DETAILS = 2
_SENTENCES = {
    "fence": "The controller fenced {where}: its session had run out",
    "registered": "Registered again: {where}",
    "restart": "Started again: {where}",
    "election": "New leader: {where}",
    "isr": "In-sync replicas changed: {where}",
    "assignment": "New assignment: {where}",
    "revocation": "Partitions taken from {where}",
    "rebalance": "Rebalance of {where}",
    "session expired": "Session expired: {where}",
    "eviction": "Evicted: {where}",
    "unclean election": "Led by a replica out of sync: {where}",
    "lost with its host": "What was not on the disk is lost: {where}",
    "compacted": "Compacted: {where}",
}
_MINOR = ("unfence", "started")
_DETAILED = ("election", "isr", "assignment", "unclean election", "lost with its host", "compacted")


@dataclass(frozen=True)
class Entry:
    """One line of the story."""

    time_ns: int
    time: str
    sentence: str
    detail: str
    since: str
    """How long after the latest fault's begin or end it came."""
    kind: str
    fault: str = ""
    """The fault's letter, where the entry is a fault's begin or end."""


def story(incidents: Sequence[Incident], faults: Sequence[FaultRecord], duration_ns: int) -> list[Entry]:
    """Return the faults and incidents of a run in the order of time, from its begin to the end of the load."""
    inside = [i for i in incidents if 0 < i.time_ns <= duration_ns and i.kind not in _MINOR]
    inside = [i for i in inside if not i.where.startswith("__")]
    entries = [_entry(together, faults) for together in _together(inside)]
    for letter, fault in zip(letters(), faults, strict=False):
        if fault.began_ns == NEVER:
            continue
        entries.append(
            Entry(fault.began_ns, time_text(fault.began_ns), f"{fault.label} begins", fault.target, "", "fault", letter)
        )
        if fault.ended_ns <= duration_ns:
            entries.append(
                Entry(fault.ended_ns, time_text(fault.ended_ns), f"{fault.label} ends", "", "", "fault", letter)
            )
    return sorted(entries, key=lambda entry: (entry.time_ns, entry.kind != "fault"))


def _together(incidents: Sequence[Incident]) -> list[list[Incident]]:
    """Return incidents of one kind that follow each other closely as one."""
    groups: list[list[Incident]] = []
    latest: dict[str, list[Incident]] = {}
    for incident in sorted(incidents, key=lambda one: one.time_ns):
        open_group = latest.get(incident.kind)
        if open_group is not None and incident.time_ns - open_group[-1].time_ns <= TOGETHER_NS:
            open_group.append(incident)
            continue
        latest[incident.kind] = [incident]
        groups.append(latest[incident.kind])
    return groups


def _entry(together: Sequence[Incident], faults: Sequence[FaultRecord]) -> Entry:
    first = together[0]
    places = list(dict.fromkeys(incident.where for incident in together))
    where = ", ".join(places) if len(places) <= _MOST_PLACES else _counted(places)
    sentence = _SENTENCES.get(first.kind, f"{first.kind.capitalize()}: {{where}}").format(where=where)
    return Entry(
        time_ns=first.time_ns,
        time=time_text(first.time_ns),
        sentence=sentence,
        detail=_detail(together) if first.kind in _DETAILED else "",
        since=_since(first.time_ns, faults),
        kind=first.kind,
    )


def _counted(places: Sequence[str]) -> str:
    topics = list(dict.fromkeys(re.sub(r"/\d+$", "", place) for place in places))
    return f"{len(places)} in {', '.join(topics)}"


def _detail(together: Sequence[Incident]) -> str:
    details = list(dict.fromkeys(incident.detail for incident in together if incident.detail))
    if len(details) == 1:
        return details[0]
    more = " …" if len(details) > _MOST_DETAILS else ""
    return "; ".join(f"{i.where}: {i.detail}" for i in together[:_MOST_DETAILS] if i.detail) + more


def _since(at_ns: int, faults: Sequence[FaultRecord]) -> str:
    instants = [(f.began_ns, letter, "began") for letter, f in zip(letters(), faults, strict=False)]
    instants += [(f.ended_ns, letter, "ended") for letter, f in zip(letters(), faults, strict=False)]
    before = [instant for instant in instants if instant[0] <= at_ns]
    if not before:
        return ""
    came, letter, verb = max(before)
    rounded = (at_ns - came) // (10 * MILLISECOND) * (10 * MILLISECOND)
    return f"{duration_text(rounded)} after {letter} {verb}"
