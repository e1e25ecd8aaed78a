"""The rows of `operations` and `log`: one fixed layout that a live client packs and NumPy reads. Imports nothing heavy."""

import struct
from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

NONE = -1
"""No id, offset, partition or code."""
LEFT_OUT = -2
"""In place of an event in the log: a record that follows from what the user's own program sent before time 0 or after the load."""
NEVER = 2**63 - 1
"""A time that did not come."""
UNTIMED = -(2**63)
"""A time that the operation does not have."""
MOST_ATTEMPTS = 2**15 - 1
"""The largest `attempt` that a row can hold; without a `failures` policy tries go on, and later ones are recorded as this one."""


class Kind(IntEnum):
    """What a client did; each row of `operations` is one of these.

    send: an event handed to the client (started) until its acknowledgement (ended).
    delivery: a poll handed the event to the application (started = ended).
    try_: a handler's try (attempt from 1 within one delivery); an ok one is an effect, at `ended`.
    skip: the handler gave the event up without a dead letter.
    dead_letter: the event was sent to the dead-letter topic (topic, partition, offset are the dead letter's).
    commit: a partition's offset was committed (offset = next one to read; event_id NONE).
    """

    send = 0
    delivery = 1
    try_ = 2
    skip = 3
    dead_letter = 4
    commit = 5


KIND_TEXT: Mapping[Kind, str] = {kind: kind.name.rstrip("_") for kind in Kind}


class Outcome(IntEnum):
    """How an operation ended; a timeout is unknown, since the broker may have kept the record."""

    ok = 0
    failed = 1
    unknown = 2


OPERATION = np.dtype(
    [
        ("event_id", "<i8"),  # row of the plan; NONE for commits
        ("root_id", "<i8"),  # first event of the chain
        ("cause_id", "<i8"),  # event whose effect emitted this one, or NONE
        ("key", "<i8"),  # number of the producer's key, or NONE
        ("offset", "<i8"),  # of a send: where it was appended; of a delivery: where it was read
        ("poll_id", "<i8"),  # counts a process's polls from 0
        (
            "transaction_id",
            "<i8",
        ),  # shared by a transaction's sends, tries and commits; the commits' outcome is its own
        ("retry_due_ns", "<i8"),  # when a failed try is due again, or UNTIMED
        ("intended_ns", "<i8"),
        ("started_ns", "<i8"),
        ("ended_ns", "<i8"),  # NEVER if it did not end
        ("group_epoch", "<i4"),
        ("partition", "<i4"),
        ("attempt", "<i2"),
        ("delivery_number", "<i2"),  # nth delivery of the pair, from 1; 0 until the run is complete
        ("schema_version", "<i2"),
        ("event_type", "<i2"),
        ("process", "<i2"),
        ("group", "<i2"),
        ("topic", "<i2"),
        ("error", "<i2"),  # client's error code, 0 is none
        ("kind", "<i1"),
        ("outcome", "<i1"),
        ("padding", "V6"),
    ]
)
OPERATION_STRUCT = struct.Struct("<11q2i8h2b6x")
"""The same row for `pack_into`, which is how a live client writes it."""

SEND = np.dtype(
    [
        ("event_id", "<i8"),
        ("started_ns", "<i8"),
        ("ended_ns", "<i8"),
        ("offset", "<i8"),
        ("partition", "<i4"),
        ("error", "<i2"),
        ("outcome", "<i1"),
        ("padding", "V1"),
    ]
)
"""What a producer process says of a send; the plan and the process know the rest of its row in `operations`."""
SEND_STRUCT = struct.Struct("<4qihbx")

LOG_RECORD = np.dtype(
    [
        ("offset", "<i8"),
        ("event_id", "<i8"),  # NONE where the record carries no id of this run
        ("time_ns", "<i8"),  # the record's timestamp, from the start of the run
        ("partition", "<i4"),
        ("leader_epoch", "<i4"),
        ("topic", "<i2"),
        ("aborted", "<i1"),
        ("padding", "V5"),
    ]
)


INSTANT = np.dtype(
    [
        ("event_id", "<i8"),
        ("batched_ns", "<i8"),  # its batch became a request
        ("served_ns", "<i8"),  # the broker began with the request
        ("visible_ns", "<i8"),  # the high watermark passed it
        ("arrived_ns", "<i8"),  # it was in the member's queue
        ("delivered_ns", "<i8"),
        ("process", "<i2"),
        ("group", "<i2"),
        ("padding", "V4"),
    ]
)
"""What only a simulated run knows of each delivery: the instants between the client's call and the handler."""


def new_operations(count: int) -> NDArray[np.void]:
    """Return `count` rows with every field at its empty value."""
    rows = np.empty(count, OPERATION)
    rows.view(np.int64).reshape(count, OPERATION.itemsize // 8)[:] = _EMPTY_OPERATION.view(
        np.int64
    )  # whole words at a time
    return rows


def _empty_operation() -> NDArray[np.void]:
    row = np.zeros(1, OPERATION)
    for name in (
        "event_id",
        "root_id",
        "cause_id",
        "key",
        "offset",
        "poll_id",
        "transaction_id",
        "partition",
        "group",
        "topic",
    ):
        row[name] = NONE
    row["retry_due_ns"] = UNTIMED
    row["ended_ns"] = NEVER
    row["group_epoch"] = NONE
    row["schema_version"] = 1
    return row


_EMPTY_OPERATION = _empty_operation()
assert OPERATION.itemsize == OPERATION_STRUCT.size
assert SEND.itemsize == SEND_STRUCT.size
