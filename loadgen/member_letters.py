"""Where a member sends what it could not handle: the retry topics, and at the end the dead-letter topic, with the headers that others read."""

import struct
import time
from typing import Any

from loadgen.child import Child
from loadgen.member_rows import Event, MemberRows
from loadgen.member_sends import Forwarder, Header
from loadgen.outcomes import outcome_of
from rundata.rows import Outcome
from scenarios.headers import HEADER_ATTEMPT, HEADER_DUE, HEADER_ORIGIN

clock = time.perf_counter_ns

_MOST_TRIES = 20


class NotSentError(Exception):
    """A retry copy that no broker took, so that its event must be read again."""


class Letters:
    """Retry copies and dead letters of one member."""

    def __init__(self, child: Child, rows: MemberRows, forwarder: Forwarder) -> None:
        spec = child.spec
        policy: dict[str, Any] = spec["failures"]
        self.group: str = spec["group"]
        self.rows = rows
        self._forwarder = forwarder
        self._dead_letter: str | None = policy["dead_letter"]
        self._retry_topics: dict[str, list[str]] = spec.get("retry_topics", {})
        """By topic: the one for each try from the second."""
        self._partitions: dict[str, int] = spec.get("retry_partitions", {})
        """By topic: how many each of them has, also when the topic has become larger."""
        self._by_topic = policy["retry"]["where"] == "topic"
        if self._dead_letter is not None:
            forwarder.connect(self._dead_letter)

    def retry(self, event: Event, tried: int, due_ns: int) -> None:
        """Hand an event on to the topic of its next try, into the partition with the number of its own, modulo how many there are."""
        headers: list[Header] = [
            *event.headers,
            (HEADER_ATTEMPT, str(tried + 1)),
            (HEADER_DUE, str(due_ns)),
            (HEADER_ORIGIN, event.origin),
        ]
        topic = self._retry_topics[event.first_topic][tried - 1]
        for _ in range(_MOST_TRIES):
            partition = event.partition % self._partitions[event.first_topic]
            code, _partition, _offset = self._forwarder.send(topic, event, headers, partition)
            if code == 0:
                return
        raise NotSentError(
            f"the copy of event {event.event_id} for {topic} was refused {_MOST_TRIES} times: error {code}"
        )

    def dead(self, event: Event, poll_id: int, attempt: int, start_ns: int) -> None:
        """Send a dead letter and wait; where the outcome is no success it is recorded, and the event counts as given up all the same."""
        assert self._dead_letter is not None
        began = clock()
        headers = self._spring(event, attempt) if self._by_topic else self._connect(event, attempt)
        code, partition, offset = self._forwarder.send(
            self._dead_letter, event, [*event.headers, *headers, (HEADER_ORIGIN, event.origin)]
        )
        outcome = Outcome.ok if code == 0 else outcome_of(code)
        where = (self._dead_letter, partition, offset)
        self.rows.dead_lettered(event, poll_id, attempt, began - start_ns, clock() - start_ns, where, code, outcome)

    def _connect(self, event: Event, attempt: int) -> list[Header]:
        """Return the headers that Kafka Connect writes, so that tools made for those read ours."""
        poison = event.is_poison
        return [
            ("__connect.errors.topic", event.topic),
            ("__connect.errors.partition", str(event.partition)),
            ("__connect.errors.offset", str(event.offset)),
            ("__connect.errors.connector.name", self.group),
            ("__connect.errors.task.id", "0"),
            ("__connect.errors.stage", "VALUE_CONVERTER" if poison else "TASK_PUT"),
            ("__connect.errors.class.name", "loadgen.member_work.Handler"),
            ("__connect.errors.exception.class.name", _error_name(event)),
            ("__connect.errors.exception.message", _reason(event, attempt)),
            ("__connect.errors.exception.stacktrace", ""),
        ]

    def _spring(self, event: Event, attempt: int) -> list[Header]:
        """Return the headers that Spring's retry topics write; its numbers are big-endian."""
        topic, partition, offset = event.origin.rsplit("/", 2)
        return [
            ("kafka_dlt-original-topic", topic),
            ("kafka_dlt-original-partition", struct.pack(">i", int(partition))),
            ("kafka_dlt-original-offset", struct.pack(">q", int(offset))),
            ("kafka_dlt-original-consumer-group", self.group),
            ("kafka_dlt-exception-fqcn", _error_name(event)),
            ("kafka_dlt-exception-message", _reason(event, attempt)),
            ("kafka_dlt-exception-stacktrace", ""),
            ("retry_topic-attempts", struct.pack(">i", attempt)),
        ]


def _reason(event: Event, attempt: int) -> str:
    reason = "the value is no event" if event.is_poison else "the handler failed"
    return f"{reason}, {attempt} of {attempt} tries"


def _error_name(event: Event) -> str:
    return "PoisonError" if event.is_poison else "HandlerError"
