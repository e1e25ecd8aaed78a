"""Places in logs as offsets: the first record, the end, an offset, or the first record of the last so many seconds."""

import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from loadgen.admin import connection
from scenarios.schema import Scenario
from scenarios.targets import LogPosition

if TYPE_CHECKING:
    from loadgen.admin import Admin

_WITHIN_S = 20.0


def positions(admin: "Admin", scenario: Scenario, topics: list[str], place: LogPosition) -> list[TopicPartition]:
    """Return the offset of a place in every partition of some topics."""
    consumer = Consumer({**connection(admin.cluster), "group.id": "eventdrill-offsets", "enable.auto.commit": False})
    try:
        return [
            TopicPartition(topic, partition, _offset(consumer, topic, partition, place))
            for topic in topics
            for partition in range(scenario.topics[topic].partitions)
        ]
    finally:
        consumer.close()


def _offset(consumer: Consumer, topic: str, partition: int, place: LogPosition) -> int:
    first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_WITHIN_S)
    match place.place:
        case "earliest":
            return int(first)
        case "latest":
            return int(end)
        case "offset":
            return min(max(place.value, int(first)), int(end))
        case "ago":
            at_ms = round(time.time() * 1000 - place.value / 1e6)
            found = consumer.offsets_for_times([TopicPartition(topic, partition, at_ms)], timeout=_WITHIN_S)[0]
            return int(end) if found.offset < 0 else int(found.offset)
