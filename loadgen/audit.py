"""The audit: reads every topic from first to last offset when the run is over, so that nobody's word is needed for what was kept."""

import time
from collections.abc import Callable

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from loadgen.records import ids_in_headers, read_ids
from rundata.rows import LOG_RECORD, NONE
from rundata.tables import Extent
from rundata.transactions import places

_STUCK_S = 20.0
_BLOCK = 2000


class AuditError(Exception):
    """A topic that cannot be read to its end."""


def audit(
    connection: dict[str, str | int],
    topics: dict[str, int],
    run_id: int,
    start_unix_ns: int,
    *,
    transactional: bool = False,
    progress: Callable[[int, int], None] = lambda read, of: None,
    look: Callable[[Message], None] | None = None,
) -> tuple[NDArray[np.void], tuple[Extent, ...]]:
    """Return every record of the topics (name to number of partitions) in order, and what each partition held; `look` is shown each.

    Where transactions wrote, the topics are read a second time: what a reader of committed records does not see was aborted.
    """
    log, extents = _read_all(connection, topics, run_id, start_unix_ns, progress, "read_uncommitted", look)
    if transactional:
        seen, _ = _read_all(connection, topics, run_id, start_unix_ns, progress, "read_committed")
        log["aborted"] = ~np.isin(places(log), places(seen))
    return log, extents


def _read_all(
    connection: dict[str, str | int],
    topics: dict[str, int],
    run_id: int,
    start_unix_ns: int,
    progress: Callable[[int, int], None],
    isolation: str,
    look: Callable[[Message], None] | None = None,
) -> tuple[NDArray[np.void], tuple[Extent, ...]]:
    consumer = Consumer(
        {
            **connection,
            "group.id": "eventdrill-audit",  # asked for by the client; nothing is committed
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "check.crcs": True,
        }
    )
    try:
        extents = tuple(
            Extent(topic, partition, *_watermarks(consumer, topic, partition))
            for topic, partitions in topics.items()
            for partition in range(partitions)
        )
        return _read(consumer, extents, list(topics), run_id, start_unix_ns, progress, look), extents
    finally:
        consumer.close()


def _watermarks(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    until = time.monotonic() + _STUCK_S
    while True:
        try:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=5)
            return int(first), int(end)
        except KafkaException as error:
            if time.monotonic() > until:
                raise AuditError(
                    f"the extent of {topic}/{partition} cannot be read: {error.args[0].str()}; is its leader up?"
                ) from None
            time.sleep(0.1)


def _read(
    consumer: Consumer,
    extents: tuple[Extent, ...],
    topics: list[str],
    run_id: int,
    start_unix_ns: int,
    progress: Callable[[int, int], None],
    look: Callable[[Message], None] | None,
) -> NDArray[np.void]:
    open_places = {(each.topic, each.partition): each.end for each in extents if each.end > each.first}
    consumer.assign([TopicPartition(e.topic, e.partition, e.first) for e in extents if e.end > e.first])
    total = sum(each.end - each.first for each in extents)
    blocks, count = [np.zeros(0, LOG_RECORD)], 0
    quiet_since = time.monotonic()
    while open_places:
        messages, rows = consumer.consume(_BLOCK, 0.2), list[tuple[int, ...]]()
        for message in messages:
            place = (message.topic() or "", int(message.partition() or 0))
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    open_places.pop(place, None)
                continue
            quiet_since = time.monotonic()
            offset = int(message.offset() or 0)
            if offset < open_places.get(place, -1):
                rows.append(_row(message, topics.index(place[0]), run_id, start_unix_ns))
                if look is not None:
                    look(message)
            if offset + 1 >= open_places.get(place, -1):
                open_places.pop(place, None)
        blocks.append(_table(rows))
        count += len(rows)
        progress(count, total)
        if time.monotonic() - quiet_since > _STUCK_S:
            places = ", ".join(f"{topic}/{partition}" for topic, partition in open_places)
            raise AuditError(f"{places} cannot be read to the end; is the leader up?")
    table = np.concatenate(blocks)
    return table[np.lexsort((table["offset"], table["partition"], table["topic"]))]


def _table(rows: list[tuple[int, ...]]) -> NDArray[np.void]:
    """Return rows as a table: as tuples those of an hour would take a gigabyte."""
    table = np.zeros(len(rows), LOG_RECORD)
    if rows:
        columns = ("offset", "event_id", "time_ns", "partition", "leader_epoch", "topic")
        for name, column in zip(columns, zip(*rows, strict=True), strict=True):
            table[name] = column
    return table


def _row(message: Message, topic: int, run_id: int, start_unix_ns: int) -> tuple[int, ...]:
    ids = read_ids(message.value(), run_id) or ids_in_headers(message.headers(), run_id)
    epoch = message.leader_epoch()
    _kind, time_ms = message.timestamp()
    return (
        int(message.offset() or 0),
        NONE if ids is None else ids[0],
        time_ms * 1_000_000 - start_unix_ns,
        int(message.partition() or 0),
        NONE if epoch is None else epoch,
        topic,
    )
