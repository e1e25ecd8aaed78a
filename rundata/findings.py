"""What a check finds: how often, whether the configuration allows it, and short excerpts that show it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books
from rundata.rows import NEVER
from scenarios.quantities import SECOND

MOST_EXAMPLES = 5
NEAR_NS = 2 * SECOND
"""Incidents so close to an example are named beside it."""


@dataclass(frozen=True)
class CheckResult:
    """A check's outcome; what is allowed may have happened in a valid run."""

    valid: bool
    allowed: str
    """Why the configuration allows it; empty where it does not."""
    count: int
    examples: list[str] = field(default_factory=list)
    parts: Mapping[str, int] = field(default_factory=dict)
    """The count by kind, such as prefix, middle and suffix of lost events."""
    note: str = ""
    """Why it was not judged, or what was left out."""
    noted: int = 0
    """The number that the note begins with, where it does."""
    forbidden: int = 0
    """How many of the examples, the first ones, are of what is not allowed."""

    def to_json(self) -> dict[str, Any]:
        """Return the shape of a check in `--json`."""
        said: dict[str, Any] = {"valid": self.valid, "count": self.count, "examples": self.examples}
        more = {"allowed": self.allowed, "parts": dict(self.parts), "note": self.note}
        return said | {key: value for key, value in more.items() if value}


def not_applicable(why: str) -> CheckResult:
    """Return the result of a check that has nothing to judge."""
    return CheckResult(True, "", 0, note=why)


def not_read_back() -> CheckResult:
    """Return the result of a check that needs the audit of a run that has none."""
    return not_applicable("the topics were not read back, because the run did not come to its end")


def judged(
    found: NDArray[np.intp],
    why: Callable[[NDArray[np.intp]], Sequence[str]],
    example: Callable[[int], str],
    *,
    parts: Mapping[str, int] | None = None,
    note: str = "",
    noted: int = 0,
) -> CheckResult:
    """Return a result from the numbers of what was found; `why` says for each why it is allowed, or ""."""
    reasons = np.asarray(list(why(found)), object)
    forbidden = np.asarray([reason == "" for reason in reasons], np.bool_)
    # What is not allowed comes first, in the order of the run.
    shown = np.concatenate([found[forbidden], found[~forbidden]])[:MOST_EXAMPLES]
    return CheckResult(
        valid=not forbidden.any(),
        allowed="; ".join(dict.fromkeys(reason for reason in reasons.tolist() if reason)),
        count=len(found),
        examples=[example(int(number)) for number in shown],
        parts=parts or {},
        note=note,
        noted=noted,
        forbidden=min(int(forbidden.sum()), MOST_EXAMPLES),
    )


def merged(results: Sequence[CheckResult]) -> CheckResult:
    """Return one result from those of the parts of a run, in the order of the run."""
    if len(results) == 1:
        return results[0]
    reasons = [reason for each in results for reason in each.allowed.split("; ") if reason]
    shown = [text for each in results for text in each.examples[: each.forbidden]][:MOST_EXAMPLES]
    forbidden = len(shown)
    shown += [text for each in results for text in each.examples[each.forbidden :]]
    noted = sum(each.noted for each in results)
    notes = [each.note for each in results]
    note = notes[0] if all(each == notes[0] for each in notes) else ""
    if noted:
        note = next(f"{noted}{each.note.removeprefix(str(each.noted))}" for each in results if each.noted)
    names = dict.fromkeys(name for each in results for name in each.parts)
    return CheckResult(
        valid=all(each.valid for each in results),
        allowed="; ".join(dict.fromkeys(reasons)),
        count=sum(each.count for each in results),
        examples=shown[:MOST_EXAMPLES],
        parts={name: sum(each.parts.get(name, 0) for each in results) for name in names},
        note=note,
        noted=noted,
        forbidden=forbidden,
    )


def by_code(reasons: Sequence[str], codes: NDArray[Any]) -> list[str]:
    """Return the reason of each code."""
    return [reasons[code] for code in codes.tolist()]


def never_allowed(found: NDArray[np.intp]) -> list[str]:
    """Say that nothing is allowed."""
    return [""] * len(found)


def time_text(ns: int) -> str:
    """Return an instant of the run as an excerpt shows it."""
    return "never" if ns == NEVER else f"{ns / SECOND:.6f} s"


def event_text(books: Books, event: int) -> str:
    """Return who an event is: its number, process, key and intended time."""
    plan = books.plan
    process = f"{plan.producers[plan.producer[event]]}/{plan.process[event]}"
    key = plan.key_text(event)
    named = f", key {key}" if key else ""
    return f"event {books.first_event + event} ({process}{named}, intended {time_text(int(plan.intended_ns[event]))})"


def send_text(books: Books, event: int) -> str:
    """Return what its producer learned of an event."""
    handed, acked = int(books.sends.handed_ns[event]), int(books.sends.acked_ns[event])
    if handed == NEVER:
        return "was never sent"
    if acked == NEVER:
        return f"sent at {time_text(handed)} without an answer"
    return f"sent at {time_text(handed)}, acknowledged at {time_text(acked)} as {place_text(books, event)}"


def place_text(books: Books, event: int) -> str:
    """Return where an event was appended according to its acknowledgement."""
    partition, offset = int(books.partition[event]), int(books.sends.position[event])
    name = books.partition_name(partition) if partition >= 0 else books.plan.topics[books.plan.topic[event]]
    return f"{name} offset {offset}" if offset != NEVER else f"{name} without an offset"


def pair_text(books: Books, pair: int) -> str:
    """Return what became of a pair."""
    pairs = books.pairs
    event, group = int(pairs.event[pair]), books.groups[pairs.group[pair]]
    delivered, effect = int(pairs.delivered_ns[pair]), int(pairs.effect_ns[pair])
    return (
        f"{event_text(books, event)} in {group}: {send_text(books, event)}; "
        f"first delivered {time_text(delivered)}, first effect {time_text(effect)}"
    )


def nearby(books: Books, at_ns: int) -> str:
    """Return the incidents around an instant, to stand behind an excerpt."""
    close = [i for i in books.run.incidents if abs(i.time_ns - at_ns) <= NEAR_NS] if at_ns != NEVER else []
    return (
        "; near it: " + ", ".join(f"{i.kind} of {i.where} at {time_text(i.time_ns)}" for i in close[:3])
        if close
        else ""
    )


def ranges_text(numbers: Iterable[int]) -> str:
    """Return sorted numbers as `3, 5-7`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
