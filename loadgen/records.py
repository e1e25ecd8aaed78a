"""What EventDrill's own records hold: ids and intended time first, then filler. Producers write it, members and the audit read it."""

import random
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from scenarios.headers import HEADER_ID, HEADER_INTENDED, HEADER_POISON, HEADER_ROOT, HEADER_RUN

HEADER = struct.Struct("<Qqqq")
"""Run id, event id, root id, intended time in ns from the start of the run."""
POISON = 1 << 63
"""Set in the run id of a value that no handler can decode; the ids stay readable for the bookkeeping."""
NO_RUN = 0
"""Run id of records that belong to no run, such as those of the warm-up."""
UNREADABLE = b"\xff\xfe\x00 no value that anybody can read"
"""In place of a value of the user's own that no handler shall be able to process."""

_BLOCK_BYTES = 1 << 16


class PoisonError(ValueError):
    """A value that cannot be decoded."""


def new_run_id() -> int:
    """Draw the id by which a run knows its own records: 63 bits, never NO_RUN."""
    return random.SystemRandom().randrange(1, POISON)


def filler(size_bytes: int) -> bytes:
    """Return deterministic text of at least `size_bytes` that does not compress to nothing; a value takes a prefix of it."""
    block = random.Random(0).randbytes(_BLOCK_BYTES // 2).hex().encode()
    return block * (size_bytes // len(block) + 1)


def encode(run_id: int, event_id: int, root_id: int, intended_ns: int, body: bytes, *, poison: bool = False) -> bytes:
    """Return a record's value."""
    return HEADER.pack(run_id | POISON if poison else run_id, event_id, root_id, intended_ns) + body


def headers(
    run_id: int, event_id: NDArray[np.int64], intended_ns: NDArray[np.int64], poison: NDArray[np.bool_]
) -> bytes:
    """Return the first HEADER.size bytes of the value of each of some events, one after another."""
    heads = np.empty((len(event_id), 4), np.int64)
    heads.view(np.uint64)[:, 0] = np.where(poison, np.uint64(run_id | POISON), np.uint64(run_id))
    heads[:, 1] = heads[:, 2] = event_id
    heads[:, 3] = intended_ns
    return heads.tobytes()


def read_ids(value: bytes | None, run_id: int) -> tuple[int, int, int] | None:
    """Return event id, root id and intended time of a value of this run, None for any other value."""
    if value is None or len(value) < HEADER.size:
        return None
    owner, event_id, root_id, intended_ns = HEADER.unpack_from(value)
    return (event_id, root_id, intended_ns) if owner & ~POISON == run_id else None


def ids_in_headers(
    headers: Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]] | None, run_id: int
) -> tuple[int, int, int, bool] | None:
    """Return event id, root id, intended time and the poison mark of a record whose value is the user's own; None for any other record."""
    if not headers:
        return None
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    known: dict[str, bytes] = {name: value for name, value in pairs if isinstance(value, bytes)}
    if known.get(HEADER_RUN) != str(run_id).encode():
        return None
    return int(known[HEADER_ID]), int(known[HEADER_ROOT]), int(known[HEADER_INTENDED]), HEADER_POISON in known


def headers_of(message: Message) -> dict[str, bytes]:
    """Return a record's headers; of several with one name the last."""
    found = message.headers()
    return {each[0]: each[1] for each in found if isinstance(each[1], bytes)} if found else {}


def decode(value: bytes) -> bytes:
    """Return what a handler works on; raise PoisonError where the value cannot be decoded."""
    if HEADER.unpack_from(value)[0] & POISON:
        raise PoisonError("the value is no event: its first field carries the poison mark")
    return value[HEADER.size :]
