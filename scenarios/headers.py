"""Names of the record headers that EventDrill writes: ids and times beside values that are the user's own, and what retry copies know."""

# Numbers are decimal ASCII text, times are nanoseconds from the start of the run.
HEADER_RUN = "eventdrill-run"
HEADER_ID = "eventdrill-id"
HEADER_ROOT = "eventdrill-root"
HEADER_CAUSE = "eventdrill-cause"
HEADER_INTENDED = "eventdrill-intended"
HEADER_SCHEMA = "eventdrill-schema"
HEADER_POISON = "eventdrill-poison"
"""There, with the value 1, on events that no handler can ever process."""
HEADER_ATTEMPT = "eventdrill-attempt"
"""The next try's number, from 2, on copies in retry topics."""
HEADER_DUE = "eventdrill-due"
"""When that try is due, on copies in retry topics."""
HEADER_ORIGIN = "eventdrill-origin"
"""Topic/partition/offset that a retry copy or dead letter was first read from."""
HEADER_REDRIVEN = "eventdrill-redriven"
"""How often an event was sent again from a dead-letter topic."""
HEADER_AT = "eventdrill-at"
"""When the user's own program meant to send an event, in Unix time as decimal seconds; without it the record's timestamp counts."""
HEADER_FROM = "eventdrill-from"
"""Topic/partition/offset of the event that an effect is of, where that event carries no number."""
OF_THE_EVENT = frozenset(
    {HEADER_RUN, HEADER_ID, HEADER_ROOT, HEADER_CAUSE, HEADER_INTENDED, HEADER_SCHEMA, HEADER_POISON, HEADER_REDRIVEN}
)
"""What is said of an event itself, and goes with it to every topic; the others are of one copy."""
