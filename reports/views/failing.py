"""What fails most in a run, by event type and group."""

from dataclasses import dataclass

import numpy as np

from reports.words import DASH
from rundata.rows import Kind, Outcome
from rundata.tables import RunData

_MOST_FAILING, _SAMPLES = 12, 3


@dataclass(frozen=True)
class Failing:
    """Failed tries of one event type in one group."""

    event_type: str
    group: str
    tries: int
    of: int
    """All tries of such events."""
    events: int
    error: str
    """The one that most of them ended with."""
    samples: tuple[int, ...]
    """Events to look at, the first ones to fail."""


def failing_events(run: RunData) -> list[Failing]:
    """Return what fails most, by event type and group, with events to look at."""
    rows = run.operations[run.operations["kind"] == Kind.try_]
    failed = rows[rows["outcome"] != Outcome.ok]
    found = []
    for group, kind in sorted(set(zip(failed["group"].tolist(), failed["event_type"].tolist(), strict=True))):
        mine = failed[(failed["group"] == group) & (failed["event_type"] == kind)]
        events, first = np.unique(mine["event_id"], return_index=True)
        found.append(
            Failing(
                event_type=run.names.event_types[kind] if kind >= 0 else DASH,
                group=run.names.groups[group],
                tries=len(mine),
                of=int(np.count_nonzero((rows["group"] == group) & (rows["event_type"] == kind))),
                events=len(events),
                error=error_words(
                    run, int(np.bincount(mine["error"] - mine["error"].min()).argmax() + mine["error"].min())
                ),
                samples=tuple(events[np.argsort(mine["started_ns"][first], kind="stable")][:_SAMPLES].tolist()),
            )
        )
    return sorted(found, key=lambda each: -each.tries)[:_MOST_FAILING]


def error_words(run: RunData, code: int) -> str:
    """Return an error of a try in words."""
    return run.error_names.get(code, str(code)) if code else "the handler failed"
