"""Reads what the user's own programs write: `python -P -m loadgen.watch_process SPEC.json`, for producers with `external: true`.

Each record becomes the row of a send: intended when its header `eventdrill-at` says, or else its timestamp, and acknowledged at the
instant at which it could be read here, since what the program's own client was told only the program knows. The watcher joins no group and
commits nothing.
"""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from loadgen.child import Child, DriverGone, freeze
from loadgen.proxies.rules import DRIVER_ID
from loadgen.records import headers_of
from rundata.row_log import RowLog
from rundata.rows import Kind, Outcome, new_operations
from scenarios.headers import HEADER_AT, HEADER_ID, HEADER_RUN
from scenarios.outside import FIRST, identity

clock = time.perf_counter_ns

_AT_ONCE = 5_000
_WAIT_S = 0.05
_LOOK_EVERY_NS = 1_000_000_000
_WITHIN_S = 2.0
_SETTLE_NS = 500_000_000
"""Asked to end, it reads on until nothing has come for so long."""
_MOST_SETTLE_NS = 5_000_000_000


class Watch:
    """The reader, what it knows of keys, and where its rows go."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self._child = child
        self._run = str(spec["run_id"]).encode()
        self._topics: dict[str, dict[str, int]] = spec["topics"]
        self._log = RowLog.create(spec["rows"], spec["capacity"])
        self._keys: dict[str, dict[bytes, int]] = {topic: {} for topic in self._topics}
        """By topic: keys, numbered in the order in which they first came."""
        self._consumer = Consumer(
            {
                **spec["connection"],
                "client.id": DRIVER_ID,  # no fault of links concerns it
                "group.id": "eventdrill-watch",  # asked for by the client; nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 50,
            }
        )
        self._assigned: set[tuple[str, int]] = set()
        self._grows: bool = spec["grows"]
        """Whether partitions are added while the run goes on."""
        self.start_ns = self._unix_ns = 0
        self.records = self.odd = 0

    def run(self) -> None:
        """Wait for time 0, then read until asked to end."""
        freeze()
        self._look()
        self._child.say("ready")
        while not self.start_ns and not self._child.leaving:
            if (request := self._child.hear(0.2)) is not None and request["do"] == "start":
                self.start_ns, self._unix_ns = request["at_ns"], request["unix_ns"]
        look_at = quiet_since = clock()
        end_at: int | None = None
        while end_at is None or (clock() - quiet_since < _SETTLE_NS and clock() < end_at):
            if clock() >= look_at:
                self._child.hear()
                if self._grows or not self._assigned:
                    self._look()
                look_at = clock() + _LOOK_EVERY_NS
            if (first := self._consumer.poll(_WAIT_S)) is not None:
                seen_at = clock()
                found = [first, *self._consumer.consume(_AT_ONCE, 0)]
                messages = [each for each in found if each.error() is None]
                quiet_since = seen_at if messages else quiet_since
                self._take(messages, seen_at)
            if self._child.leaving and end_at is None:
                quiet_since, end_at = clock(), clock() + _MOST_SETTLE_NS

    def _look(self) -> None:
        """Begin to read partitions that are new, from their first record on."""
        for topic in self._topics:
            with contextlib.suppress(KafkaException):  # nobody answers just now: the next look will tell
                partitions = self._consumer.list_topics(topic, timeout=_WITHIN_S).topics[topic].partitions
                new = [each for each in partitions if (topic, each) not in self._assigned]
                if new:
                    self._consumer.incremental_assign([TopicPartition(topic, number, 0) for number in new])
                    self._assigned |= {(topic, number) for number in new}

    def _take(self, messages: list[Message], seen_at: int) -> None:
        rows = new_operations(len(messages))
        for row, message in zip(rows, messages, strict=True):
            self._describe(row, message)
        rows["ended_ns"] = seen_at - self.start_ns
        rows["kind"], rows["outcome"], rows["attempt"] = Kind.send, Outcome.ok, 1
        self._log.extend(rows)
        self.records += len(rows)

    def _describe(self, row: Any, message: Message) -> None:
        topic, partition, offset = str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)
        known, headers = self._topics[topic], headers_of(message)
        event_id, root_id = self._ids(known["code"], partition, offset, headers)
        row["event_id"], row["root_id"] = event_id, root_id
        row["topic"], row["process"], row["event_type"] = known["code"], known["process"], known["event_type"]
        row["partition"], row["offset"] = partition, offset
        if (key := message.key()) is not None:
            keys = self._keys[topic]
            row["key"] = keys.setdefault(key.encode() if isinstance(key, str) else key, len(keys))
        row["intended_ns"] = row["started_ns"] = self._meant_ns(message, headers) - self._unix_ns

    def _ids(self, topic: int, partition: int, offset: int, headers: Mapping[str, bytes]) -> tuple[int, int]:
        """Return a record's id, and that of the event that its chain began with."""
        if headers.get(HEADER_RUN) == self._run:
            of_run = int(headers[HEADER_ID])
            if of_run >= FIRST:  # one of the program's own, sent again by an action
                return of_run, of_run
            return identity(topic, partition, offset, headers), of_run
        event_id = identity(topic, partition, offset, headers)
        self.odd += HEADER_ID in headers and event_id == identity(topic, partition, offset, {})
        return event_id, event_id

    def _meant_ns(self, message: Message, headers: Mapping[str, bytes]) -> int:
        """Return when the program meant to send a record, in Unix time."""
        if HEADER_AT in headers:
            try:
                return round(float(headers[HEADER_AT]) * 1e9)
            except ValueError:
                self.odd += 1
        return int(message.timestamp()[1]) * 1_000_000

    def close(self) -> None:
        """Let go of the client and the file."""
        self._consumer.close()
        self._log.close()


def main() -> None:
    """Watch until the driver ends it, and say what was odd."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        watch = Watch(child)
        watch.run()
        watch.close()
        child.say("bye", at=clock(), records=watch.records, odd=watch.odd, cpu_s=time.process_time())


if __name__ == "__main__":
    main()
