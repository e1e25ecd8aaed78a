"""One event's story: everything that the run's tables know of it, in the order of time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rundata.books import Books, End
from rundata.rows import NEVER, UNTIMED, Kind, Outcome
from rundata.scopes import Scope
from rundata.stages import MEANING, Stage, stages
from rundata.tables import RunData
from scenarios.quantities import format_duration


@dataclass(frozen=True)
class Moment:
    """Something that happened to an event, or around it."""

    time_ns: int
    text: str
    about: str
    """`event` for its own moments, `around` for faults and incidents in between."""


@dataclass(frozen=True)
class GroupStory:
    """How an event ended for a group, and where its time went."""

    group: str
    end: str
    latency_ns: int | None
    parts_ns: dict[Stage, int]


@dataclass(frozen=True)
class Story:
    """What became of one event."""

    event: int
    summary: str
    moments: tuple[Moment, ...]
    groups: tuple[GroupStory, ...]


def find(run: RunData, text: str) -> int:
    """Return the event that a text names: its id, `slowest`, or where it lies: `orders/0:17`; raise ValueError with the way out."""
    if text.isdecimal():
        return int(text)
    if text == "slowest":
        found = stages(run)
        if not len(found.event):
            raise ValueError("no measured event took effect, so there is no slowest one; name an event by its number")
        return int(found.event[np.argmax(found.latency_ns)])
    place, _, offset = text.rpartition(":")
    topic, _, partition = place.rpartition("/")
    if topic in run.names.topics and partition.isdecimal() and offset.isdecimal():
        log = run.log
        there = (log["topic"] == run.names.topics.index(topic)) & (log["partition"] == int(partition))
        ids = log["event_id"][there & (log["offset"] == int(offset))]
        if not len(ids):
            raise ValueError(f"nothing lies at offset {offset} of {place}; the log of this run ends before it")
        return int(ids[0])
    raise ValueError(f"{text!r} is no event; name it by its number (17), by its place (orders/0:17), or say slowest")


def tell(run: RunData, event: int) -> Story:
    """Return an event's story; raise ValueError with the way out where the run has no such event."""
    if not 0 <= event < len(run.plan):
        raise ValueError(f"there is no event {event}; this run has {len(run.plan):,}, numbered from 0")
    own = sorted(_own(run, event), key=lambda moment: moment.time_ns)
    first, last = own[0].time_ns, own[-1].time_ns
    moments = sorted([*own, *_around(run, event, first, last)], key=lambda moment: moment.time_ns)
    return Story(event, _summary(run, event), tuple(moments), tuple(_groups(run, event)))


def _summary(run: RunData, event: int) -> str:
    plan = run.plan
    key = plan.key_text(event)
    parts = [f"event {event} of {plan.producers[plan.producer[event]]}/{plan.process[event]}"]
    parts.append(f"key {key}" if key is not None else "no key")
    parts.append(f"{plan.size_bytes[event]} B")
    if plan.poison[event]:
        parts.append("poison: no handler can ever process it")
    return ", ".join(parts)


def _own(run: RunData, event: int) -> Iterator[Moment]:
    yield Moment(int(run.plan.intended_ns[event]), "planned", "event")
    rows = run.operations[run.operations["event_id"] == event]
    for row in rows:
        yield from _of_row(run, row)
    known = run.instants[run.instants["event_id"] == event]
    for batched, served, visible in sorted(set(known[["batched_ns", "served_ns", "visible_ns"]].tolist())):
        if batched > 0:  # of what a member sends to a retry topic only the end is known
            yield Moment(batched, "its batch becomes a request", "event")
            yield Moment(served, "the broker begins with the request", "event")
        yield Moment(visible, "the high watermark passes it", "event")
    for instant in known:
        yield Moment(int(instant["arrived_ns"]), f"in the queue of {run.names.processes[instant['process']]}", "event")


def _of_row(run: RunData, row: np.void) -> Iterator[Moment]:
    who = run.names.process(int(row["process"]))
    where = f"{run.names.topics[row['topic']]}/{row['partition']}" if row["topic"] >= 0 else ""
    begun, ended = int(row["started_ns"]), int(row["ended_ns"])
    at = f" at offset {row['offset']} of {where}" if row["offset"] >= 0 else f" to {where}"
    match Kind(int(row["kind"])):
        case Kind.send:
            yield Moment(begun, f"{who} hands it to the client", "event")
            if ended != NEVER:
                yield Moment(ended, f"{_outcome(run, row, 'acknowledged')}{at}", "event")
        case Kind.delivery:
            nth = f", delivery {row['delivery_number']}" if row["delivery_number"] > 1 else ""
            yield Moment(begun, f"a poll of {who} returns it{at}{nth}", "event")
        case Kind.try_:
            yield Moment(begun, f"{who} begins try {row['attempt']}", "event")
            if ended != NEVER:
                due = row["retry_due_ns"]
                again = f", to be tried again at {_clock(int(due))}" if due != UNTIMED else ""
                yield Moment(
                    ended,
                    f"try {row['attempt']} {'works' if row['outcome'] == Outcome.ok else 'fails'}{again}",
                    "event",
                )
        case Kind.skip:
            yield Moment(begun, f"{who} skips it", "event")
        case Kind.dead_letter:
            if ended != NEVER:
                yield Moment(ended, f"{_outcome(run, row, 'dead letter acknowledged')}{at}", "event")
        case other:
            yield Moment(begun, f"{who}: {other.name.rstrip('_')}{at}", "event")


def _outcome(run: RunData, row: np.void, fine: str) -> str:
    match Outcome(int(row["outcome"])):
        case Outcome.ok:
            return fine
        case Outcome.failed:
            return f"failed ({run.error_names.get(int(row['error']), row['error'])})"
        case Outcome.unknown:
            return "outcome never learned"


def _around(run: RunData, event: int, first_ns: int, last_ns: int) -> Iterator[Moment]:
    """Yield faults in effect and incidents of the event's partition, group or members while it was under way."""
    partition = Books.of(run).partition[event]
    own = {Books.of(run).partition_name(int(partition))} if partition >= 0 else set()
    for fault in run.faults:
        if fault.began_ns <= last_ns and fault.ended_ns >= first_ns:
            yield Moment(max(fault.began_ns, first_ns), f"fault {fault.label} on {fault.target} in effect", "around")
    for incident in run.incidents:
        if not first_ns <= incident.time_ns <= last_ns:
            continue
        whole = incident.where in own or incident.where.startswith("broker") or incident.where in run.names.groups
        if whole or (incident.kind == "assignment" and own & set(incident.detail.split())):
            told = f"{incident.kind} of {incident.where}" + (f": {incident.detail}" if incident.detail else "")
            yield Moment(incident.time_ns, told, "around")


def _groups(run: RunData, event: int) -> Iterator[GroupStory]:
    books = Books.of(run)
    pairs = books.pairs
    for place in np.flatnonzero(pairs.event == event):
        number = int(pairs.group[place])
        end = End(int(pairs.end[place]))
        parts: dict[Stage, int] = {}
        latency = None
        if end is End.effect:
            latency = int(pairs.effect_ns[place] - pairs.intended_ns[place])
            found = stages(run, Scope("group", number, books.groups[number]))
            mine = np.flatnonzero(found.event == event)
            if len(mine):  # an event of the warm-up has no measured pair
                parts = {name: int(part[mine[0]]) for name, part in found.parts.items()}
        yield GroupStory(books.groups[number], end.name.replace("_", "-"), latency, parts)


# ---- in words ------------------------------------------------------------------------------------------------------


def lines(story: Story) -> Iterator[str]:
    """Yield the story as text."""
    yield story.summary
    yield ""
    start_ns = story.moments[0].time_ns
    for moment in story.moments:
        since = f"+{format_duration(moment.time_ns - start_ns)}" if moment.time_ns > start_ns else ""
        mark = "  " if moment.about == "event" else "! "
        yield f"{_clock(moment.time_ns):>12}  {since:>12}  {mark}{moment.text}"
    for group in story.groups:
        yield ""
        if group.latency_ns is None:
            yield f"{group.group}: {group.end}"
            continue
        yield f"{group.group}: took effect after {format_duration(group.latency_ns)}" + (
            ", of which" if group.parts_ns else ""
        )
        for name, part in group.parts_ns.items():
            if part:
                yield f"{format_duration(part):>14}  {part / group.latency_ns:>4.0%}  {name}: {MEANING[name]}"


def _clock(time_ns: int) -> str:
    return f"{time_ns / 1e9:.6f} s"
