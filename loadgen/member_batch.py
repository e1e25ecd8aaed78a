"""The events that one poll handed over, read together: what is common to many is computed once for all of them, in columns."""

from collections.abc import Mapping, Sequence

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from loadgen.member_rows import Event
from loadgen.records import HEADER, POISON, headers_of, ids_in_headers
from scenarios.headers import (
    HEADER_ATTEMPT,
    HEADER_DUE,
    HEADER_ID,
    HEADER_INTENDED,
    HEADER_ORIGIN,
    HEADER_ROOT,
    HEADER_RUN,
    OF_THE_EVENT,
)
from scenarios.outside import FIRST, identity

_FOREIGN = bytes(HEADER.size)
"""In place of a value that is too short for ids: the run id NO_RUN, which is nobody's."""
_MOST_JOINED = 1024
"""Longer values are not copied to cut them."""
_WITHIN = np.arange(HEADER.size)
_COLUMNS = np.dtype([("owner", "<u8"), ("event_id", "<i8"), ("root_id", "<i8"), ("intended_ns", "<i8")])


class Batch:
    """Columns of the records of this run, in the order of the poll; other people's records are left out."""

    def __init__(
        self,
        messages: Sequence[Message],
        run_id: int,
        topics: Mapping[str, int],
        *,
        in_headers: bool = False,
        outside: Mapping[str, int] | None = None,
    ) -> None:
        """Take records; `in_headers` says that values may be the user's own, with ids in headers, `outside` which topics' own programs write."""
        self._in_headers = in_headers
        self._run_id = run_id
        values: list[bytes] = list(map(Message.value, messages))  # type: ignore[arg-type]  # none is None after the next line
        if None in values:
            values = [value or b"" for value in values]
        if in_headers:
            others = outside or {}
            heads = b"".join([_head_of(*each, run_id, others) for each in zip(messages, values, strict=True)])
            columns = np.frombuffer(heads, _COLUMNS)
        else:
            columns = _heads(values)
        owner = columns["owner"] & np.uint64(POISON - 1)
        mine = np.flatnonzero(owner == np.uint64(run_id))
        if len(mine) < len(messages):
            messages, values = [messages[n] for n in mine.tolist()], [values[n] for n in mine.tolist()]
            columns = columns[mine]
        self.messages = messages
        self.values = values
        self.event_id: NDArray[np.int64] = columns["event_id"]
        self.root_id: NDArray[np.int64] = columns["root_id"]
        self.intended_ns: NDArray[np.int64] = columns["intended_ns"]
        self.poison: NDArray[np.bool_] = columns["owner"] >= np.uint64(POISON)
        count = len(messages)  # mapped functions of the client, which take half the time of a loop's calls
        self.offset: NDArray[np.int64] = np.fromiter(map(Message.offset, messages), np.int64, count)
        self.partition: NDArray[np.int64] = np.fromiter(map(Message.partition, messages), np.int64, count)
        self._only = only = next(iter(topics.values())) if len(topics) == 1 else None
        self.topic: NDArray[np.int64] = (
            np.full(len(messages), only, np.int64)
            if only is not None
            else np.asarray([topics[str(each.topic())] for each in messages], np.int64)
        )
        """Codes of their topics."""

    def __len__(self) -> int:
        return len(self.messages)

    def event(self, number: int) -> Event:
        """Return one of them by itself."""
        message = self.messages[number]
        headers = headers_of(message)
        attempt, due_ns, origin = _of_copy(headers)
        return Event(
            int(self.event_id[number]),
            int(self.root_id[number]),
            int(self.intended_ns[number]),
            str(message.topic()),
            int(self.partition[number]),
            int(self.offset[number]),
            message.key(),
            self.values[number],
            attempt,
            due_ns,
            origin,
            bool(self.poison[number]) if self._in_headers else None,
            self._of_the_event(int(self.event_id[number]), headers),
            _deliveries(message),
        )

    def _of_the_event(self, event_id: int, headers: Mapping[str, bytes]) -> tuple[tuple[str, bytes], ...]:
        """Return what goes with an event to whatever topic it is handed on to; one from outside gets what ours carry."""
        own = {name: headers[name] for name in headers if name in OF_THE_EVENT}
        if event_id >= FIRST:
            id_text = str(event_id).encode()
            own |= {
                HEADER_RUN: str(self._run_id).encode(),
                HEADER_ID: id_text,
                HEADER_ROOT: id_text,
                HEADER_INTENDED: b"0",
            }
        return tuple(own.items())

    def firsts(self) -> dict[tuple[int, int], int]:
        """Return the first offset of each topic's code and partition."""
        place = self.topic * (1 << 32) + self.partition
        places, first = np.unique(place, return_index=True)
        return {divmod(p, 1 << 32): o for p, o in zip(places.tolist(), self.offset[first].tolist(), strict=True)}

    def ends(self, first: int, end: int) -> dict[tuple[int, int], int]:
        """Return the offset to go on from after some of them, by topic's code and partition."""
        if self._only is not None and first < end:
            return self._ends_of_one_topic(self._only, self.partition[first:end], self.offset[first:end])
        place = self.topic[first:end] * (1 << 32) + self.partition[first:end]
        # The last one of each place in the order of the poll.
        places, last = np.unique(place[::-1], return_index=True)
        offsets = self.offset[first:end][::-1][last] + 1
        return {divmod(p, 1 << 32): offset for p, offset in zip(places.tolist(), offsets.tolist(), strict=True)}

    @staticmethod
    def _ends_of_one_topic(
        topic: int, partition: NDArray[np.int64], offset: NDArray[np.int64]
    ) -> dict[tuple[int, int], int]:
        """Return the same without sorting: of what is written to one place several times, the last stays."""
        ends = np.zeros(int(partition.max()) + 1, np.int64)
        ends[partition] = offset + 1
        return {(topic, number): end for number, end in enumerate(ends.tolist()) if end}


def _heads(values: Sequence[bytes]) -> NDArray[np.void]:
    """Return what our own values begin with; of ones that are too short for that, what nobody's begins with."""
    most = HEADER.size
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    if not len(values) or sizes.min() < most or sizes.max() > _MOST_JOINED:
        return np.frombuffer(b"".join([v[:most] if len(v) >= most else _FOREIGN for v in values]), _COLUMNS)
    # Joined whole, and cut together: a slice of each would take four times as long.
    joined = np.frombuffer(b"".join(values), np.uint8)
    begins = np.cumsum(sizes) - sizes
    return np.ascontiguousarray(joined[begins[:, None] + _WITHIN]).view(_COLUMNS).reshape(-1)


def _head_of(message: Message, value: bytes, run_id: int, outside: Mapping[str, int]) -> bytes:
    """Return what a value of ours begins with, for one that is the user's own, or comes from a program of the user's."""
    found = ids_in_headers(message.headers(), run_id)
    topic = outside.get(str(message.topic())) if outside else None
    if topic is not None and (found is None or found[0] < FIRST):
        place = (int(message.partition() or 0), int(message.offset() or 0))
        event_id = identity(topic, *place, headers_of(message))
        return HEADER.pack(run_id, event_id, event_id, 0)
    if found is None:
        return value[: HEADER.size] if len(value) >= HEADER.size else _FOREIGN
    event_id, root_id, intended_ns, poison = found
    return HEADER.pack(run_id | POISON if poison else run_id, event_id, root_id, intended_ns)


def _deliveries(message: Message) -> int:
    """Return how often a record was delivered, as the brokers count it for share groups; 1 where nobody counts."""
    counted = getattr(message, "delivery_count", None)  # clients without share groups do not have it
    return (counted() if counted is not None else None) or 1


def _of_copy(headers: Mapping[str, bytes]) -> tuple[int, int, str]:
    """Return try, due time and origin of a copy in a retry topic; of any other record what they are without one."""
    if not headers:
        return 1, 0, ""
    return (
        int(headers.get(HEADER_ATTEMPT, b"1")),
        int(headers.get(HEADER_DUE, b"0")),
        headers.get(HEADER_ORIGIN, b"").decode(),
    )
