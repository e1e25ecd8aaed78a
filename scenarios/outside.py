"""Events that the user's own programs send (`external: true` of a producer).

No plan knows them beforehand. While a run goes on, each is called by the number that its program gave it, in the header `eventdrill-id`, or
else by its place in the log; both are ids beyond all others, and can be told without asking anybody. When the run is over they become rows of
its plan like all other events (`rundata.outside`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scenarios.headers import HEADER_ID, HEADER_RUN

if TYPE_CHECKING:
    from scenarios.schema import Scenario

Ints = NDArray[np.int64]

FIRST = 1 << 62
"""Ids of such events begin here."""
_NUMBERED = FIRST | 1 << 61
_TOPIC_AT, _PARTITION_AT = 52, 35
MOST_TOPICS = 1 << 9
MOST_NUMBER = (1 << 61) - 1
_SPREAD = 0x9E3779B97F4A7C15


class PlaceError(ValueError):
    """A text that names no place in a log."""


def outside_topics(scenario: "Scenario") -> dict[str, str]:
    """Return the topics that the user's own programs write to, and which producer each of them is."""
    return {producer.topic: name for name, producer in scenario.producers.items() if producer.external}


def id_of_place(topic: int, partition: int, offset: int) -> int:
    """Return the id of what lies at a place; `topic` is its number in the file."""
    return FIRST | topic << _TOPIC_AT | partition << _PARTITION_AT | offset


def ids_of_places(topic: Ints, partition: Ints, offset: Ints) -> Ints:
    """Return the same of many."""
    found: Ints = FIRST | topic.astype(np.int64) << _TOPIC_AT | partition.astype(np.int64) << _PARTITION_AT | offset
    return found


def parts_of_places(ids: Ints) -> tuple[Ints, Ints, Ints]:
    """Return topic (its number in the file), partition and offset of ids that say a place."""
    partition = ids >> _PARTITION_AT & (1 << _TOPIC_AT - _PARTITION_AT) - 1
    return ids >> _TOPIC_AT & MOST_TOPICS - 1, partition, ids & (1 << _PARTITION_AT) - 1


def id_of_number(number: int) -> int:
    """Return the id of the event that carries a number."""
    if not 0 <= number <= MOST_NUMBER:
        raise ValueError(f"{number} is no number of an event; they count from 0")
    return _NUMBERED | number


def is_numbered(ids: Ints) -> NDArray[np.bool_]:
    """Whether each id says a number, not a place."""
    return np.asarray(ids) >= _NUMBERED


def numbers_of(ids: Ints) -> Ints:
    """Return the numbers that such ids say."""
    return np.asarray(ids, np.int64) & np.int64(MOST_NUMBER)


def identity(topic: int, partition: int, offset: int, headers: Mapping[str, bytes]) -> int:
    """Return the id of a record: by the number that its program gave it, or by its place where it gave none."""
    written = headers.get(HEADER_ID, b"")
    # With our run's header beside it the number is that of the event that the record follows from.
    if HEADER_RUN not in headers and written.isdigit() and len(written) < 19:
        return id_of_number(int(written))
    return id_of_place(topic, partition, offset)


def place_of(text: str, topics: tuple[str, ...]) -> int:
    """Return the id of what lies at a place written as `orders/0/17`: topic, partition and offset."""
    topic, *numbers = text.rsplit("/", 2)
    if topic not in topics or len(numbers) != 2 or not all(each.isdigit() for each in numbers):
        raise PlaceError(f"{text!r} is no place in a log; one is TOPIC/PARTITION/OFFSET, such as {topics[0]}/0/17")
    return id_of_place(topics.index(topic), int(numbers[0]), int(numbers[1]))


def outside_producers(scenario: "Scenario", group: str) -> list[int]:
    """Return the numbers of the producers that are the user's own programs and write what a group reads."""
    read = scenario.groups[group].topics
    return [n for n, each in enumerate(scenario.producers.values()) if each.external and each.topic in read]


def stand_ins(declared: Ints, ids: Ints) -> Ints:
    """Return ids with those from outside replaced by one of the declared events each.

    It is a pure function of the id, so that every try of an event, by whatever member, is handled like the same declared one.
    """
    if not len(declared):
        return ids
    # The golden ratio spreads ids that count up evenly over all of them; a remainder would meet some often and others never.
    spread = np.asarray(ids, np.int64).astype(np.uint64) * np.uint64(_SPREAD) >> np.uint64(32)
    chosen = declared[(spread * np.uint64(len(declared)) >> np.uint64(32)).astype(np.int64)]
    found: Ints = np.where(np.asarray(ids) >= FIRST, chosen, ids)
    return found
