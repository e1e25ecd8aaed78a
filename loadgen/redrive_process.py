"""Sends dead letters to where they came from: `python -P -m loadgen.redrive_process SPEC.json`, for the action `redrive`.

It reads what is there when it begins, counts in a header how often an event has come back, and leaves those that did too often.
"""

import contextlib
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from loadgen.child import Child, DriverGone
from loadgen.records import headers_of
from scenarios.headers import HEADER_ID, HEADER_ORIGIN, HEADER_REDRIVEN

_WITHIN_S = 20.0


def main() -> None:
    """Redrive once, and tell the driver what was done."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        spec = child.spec
        letters = read_all(spec["connection"], spec["topic"])
        sent = kept = 0
        producer = Producer({**spec["connection"], "acks": "all", "enable.idempotence": True, "linger.ms": 5})
        step_s = 1 / spec["rate_hz"] if spec["rate_hz"] else 0.0
        began = time.monotonic()
        for letter in letters:
            headers = headers_of(letter)
            times = int(headers.get(HEADER_REDRIVEN, b"0"))
            if times >= spec["most"]:
                kept += 1
                continue
            time.sleep(max(0.0, began + sent * step_s - time.monotonic()))
            to = spec["to"] or origin_topic(headers)
            producer.produce(
                to, letter.value(), letter.key(), headers={**headers, HEADER_REDRIVEN: str(times + 1).encode()}
            )
            producer.poll(0)
            sent += 1
        producer.flush(_WITHIN_S)
        child.say("done", read=len(letters), sent=sent, kept=kept)


def read_all(connection: dict[str, Any], topic: str) -> list[Message]:
    """Return the records of a topic that are there now, those redriven before and come back again each by its last letter."""
    consumer = Consumer(
        {**connection, "group.id": "eventdrill-redrive", "enable.auto.commit": False, "enable.partition.eof": True}
    )
    found: list[Message] = []
    try:
        partitions = consumer.list_topics(topic, timeout=_WITHIN_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        left = set(partitions)
        until = time.monotonic() + _WITHIN_S
        while left and time.monotonic() < until:
            for message in consumer.consume(1000, 0.5):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(int(message.partition() or 0))
    finally:
        consumer.close()
    # A value of the user's own may be that of several events; then headers tell them apart.
    latest = {headers_of(message).get(HEADER_ID) or message.value(): message for message in found}
    return list(latest.values())


def origin_topic(headers: dict[str, bytes]) -> str:
    """Return the topic where an event was first read, as its dead letter says."""
    if HEADER_ORIGIN in headers:
        return headers[HEADER_ORIGIN].decode().rsplit("/", 2)[0]
    for name in ("__connect.errors.topic", "kafka_dlt-original-topic"):
        if name in headers:
            return headers[name].decode()
    raise ValueError("a dead letter does not say where it came from; name a topic with `to`")


if __name__ == "__main__":
    main()
