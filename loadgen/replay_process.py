"""Handles what lies in the log once more: `python -P -m loadgen.replay_process SPEC.json`, for the action `replay`.

It reads beside the group, from given offsets up to what was there when it began, with the handler of the group's members: the same work, the
same failures, the same memory of event ids. It joins no group and commits nothing. Its rows are the group's, of no member.
"""

import contextlib
import time

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from loadgen.child import Child, DriverGone, Leaving
from loadgen.member_batch import Batch
from loadgen.member_calls import Calls
from loadgen.member_letters import Letters
from loadgen.member_lookup import Lookup
from loadgen.member_parts import memory_of
from loadgen.member_rows import MemberRows
from loadgen.member_sends import Clients, Forwarder
from loadgen.member_work import Handler, Stopped

clock = time.perf_counter_ns

_AT_ONCE = 100
_WAIT_S = 0.1


class Replay:
    """The reader, the handler, and where to stop."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self.child = child
        self.rate_hz: float | None = spec["rate_hz"]
        self.topics: dict[str, int] = {topic: spec["codes"]["topics"][topic] for topic in spec["topics"]}
        self.lookup = Lookup(child)
        self.rows = MemberRows(child, self.lookup)
        clients = Clients(child)
        policy = spec["failures"]
        letters = policy is not None and policy["dead_letter"] is not None
        self.clients = clients
        self.handler = Handler(
            child,
            self.rows,
            self.lookup,
            letters=Letters(child, self.rows, Forwarder(clients)) if letters else None,
            calls=Calls(child) if spec.get("calls") else None,
            memory=memory_of(child),
        )
        self.start_ns: int = spec["start_ns"]
        self.handler.start_ns = self.start_ns
        self.consumer = Consumer(
            {
                **spec["settings"],
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        self.left: dict[tuple[str, int], int] = {}
        """By topic and partition: where to stop."""
        self.delivered = self.known = 0

    def run(self) -> None:
        """Read from the given places to what is there now, and handle each event."""
        places = [TopicPartition(*place) for place in self.child.spec["from"]]
        for place in places:
            _, end = self.consumer.get_watermark_offsets(place, timeout=20)
            if end > place.offset:
                self.left[str(place.topic), place.partition] = end
        self.consumer.assign([each for each in places if (each.topic, each.partition) in self.left])
        poll_id, due = 0, float(clock())
        while self.left and not self.child.leaving:
            messages = self._taken(self.consumer.consume(_AT_ONCE, _WAIT_S))
            if not messages:
                continue
            delivered_at = clock()
            spec = self.child.spec
            batch = Batch(
                messages, spec["run_id"], self.topics, in_headers=spec["in_headers"], outside=spec.get("outside")
            )
            self.lookup.prepare(batch.event_id)
            self.rows.deliveries(batch, poll_id, delivered_at - self.start_ns)
            for number in range(len(batch)):
                if self.rate_hz is not None:
                    self.handler.sleep_until(round(due))
                    due = max(due + 1e9 / self.rate_hz, clock() - 1e8)
                self._handle(batch, number, poll_id, delivered_at)
            poll_id += 1
        self.clients.settle(lambda: self.child.leaving)

    def _handle(self, batch: Batch, number: int, poll_id: int, delivered_at: int) -> None:
        event = batch.event(number)
        self.delivered += 1
        self.known += self.handler.knows(event)
        self.handler.worker.busy_until = max(self.handler.worker.busy_until, clock())
        self.handler.handle(event, poll_id, delivered_at)

    def _taken(self, messages: list[Message]) -> list[Message]:
        """Return the records that were there when the replay began; note which partitions are through."""
        found = []
        for message in messages:
            place = (str(message.topic()), int(message.partition() or 0))
            error, offset = message.error(), int(message.offset() or 0)
            end = self.left.get(place)
            if end is None or (error is not None and error.code() != KafkaError._PARTITION_EOF):
                continue
            if error is None and offset < end:
                found.append(message)
            if error is not None or offset + 1 >= end:
                del self.left[place]
        return found


def main() -> None:
    """Replay once, and tell the driver what was done."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        replay = Replay(child)
        with contextlib.suppress(Stopped, Leaving):
            replay.run()
        replay.consumer.close()
        child.say("done", delivered=replay.delivered, known=replay.known, left=len(replay.left))


if __name__ == "__main__":
    main()
