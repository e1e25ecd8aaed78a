"""When and how a member commits: after each event or batch, before its work, at an interval, or as the client does by itself."""

import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from loadgen.member_rows import MemberRows

clock = time.perf_counter_ns

Place = tuple[str, int]

_WAITING = frozenset({-185, -195, -180, 7, 14, 15, 16})
"""Codes that mean that there is no coordinator just now: timed out, transport, no coordinator, request timed out, loading, not available, not
coordinator. A handler that commits in step with its work tries again; all else (a rebalance has passed it by) is final."""
_AGAIN_S = 0.1


class Commits:
    """The offsets that are finished and those that are committed; `mode` is the scenario's word."""

    def __init__(
        self,
        consumer: Consumer,
        mode: str,
        every_ns: int,
        rows: MemberRows,
        give_up: Callable[[], bool],
        settle: Callable[[], bool] = lambda: False,
    ) -> None:
        self.consumer = consumer
        self.mode = mode
        self.every_ns = every_ns
        self.rows = rows
        self.give_up = give_up
        """Whether the member is leaving, so that it no longer waits for a coordinator that is away."""
        self.settle = settle
        """Waits until what follows from the finished events is in its topics; tells whether that took time."""
        self.start_ns = 0
        self.due_ns = 0
        """When `every` is due next, on the clock."""
        self.finished: dict[Place, int] = {}
        """By partition: the offset to go on from."""
        self.asked: dict[Place, int] = {}
        self._under_way: list[int] = []

    def begin(self, start_ns: int, now: int) -> None:
        """Start the interval of `every`: at the run's start, or when the member joins later."""
        self.start_ns = start_ns
        self.due_ns = max(start_ns, now) + self.every_ns

    def before_work(self, places: Mapping[Place, int]) -> None:
        """Commit a batch that was just handed over, where the scenario wants at-most-once."""
        if self.mode == "before_work":
            self.finished.update(places)
            self.commit_now()

    def events_done(self, places: Mapping[Place, int]) -> bool:
        """Note finished events, by the offset to go on from, commit where the interval is over, and tell whether that took time."""
        if self.mode != "before_work":
            self.finished.update(places)
        return self.at_boundary()

    def event_done(self, topic: str, partition: int, offset: int) -> bool:
        """Note a finished event, commit where that is due, and tell whether that took time."""
        if self.mode != "before_work":
            self.finished[topic, partition] = offset + 1
        if self.mode == "after_event":
            self.commit_now()
            return True
        return self.at_boundary()

    def batch_done(self) -> bool:
        """Commit where that is due after a batch, and tell whether that took time."""
        if self.mode == "after_batch":
            self.commit_now()
            return True
        return False

    def at_boundary(self) -> bool:
        """Commit what is finished where the interval is over; tell whether that took time: not the commit does, but what it waits for."""
        if self.mode != "every" or (now := clock()) < self.due_ns:
            return False
        self.due_ns = now + self.every_ns
        return self.soon()

    def of_pool(self, places: Mapping[Place, int]) -> None:
        """Note what several workers have finished, by the offset to go on from, and commit in the background where that is due."""
        if self.mode != "before_work":
            self.finished.update(places)
        if self.mode in ("after_event", "after_batch") and places:
            self.soon()
        self.at_boundary()

    def soon(self) -> bool:
        """Commit what is finished without waiting for the answer; tell whether there was anything to wait for before."""
        takes_time = False
        if offsets := self._new():
            takes_time = self.settle()
            self._under_way.append(clock())
            self.asked.update(self._places(offsets))
            self.consumer.commit(offsets=offsets, asynchronous=True)
        return takes_time

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Record what came of a commit that the client made in the background (`every`, `auto`)."""
        now = clock()
        began = self._under_way.pop(0) if self._under_way else now
        self._record(began, now, partitions, 0 if error is None else error.code())

    def handing_over(self) -> None:
        """Commit what is finished before partitions go to another member, or on leaving; as `every` does."""
        if self.mode in ("every", "after_batch", "after_event"):
            self.commit_now()

    def forget(self, places: Iterable[Place]) -> None:
        """Drop what is known about partitions that went to another member."""
        for place in places:
            self.finished.pop(place, None)
            self.asked.pop(place, None)

    def commit_now(self) -> None:
        """Commit what is finished and wait for the answer, also for a coordinator that is away."""
        offsets = self._new()
        if not offsets:
            return
        self.settle()
        began = clock()
        while True:
            try:
                answer, code = self.consumer.commit(offsets=offsets, asynchronous=False), 0
            except KafkaException as error:
                answer, code = offsets, error.args[0].code()
            if code not in _WAITING or self.give_up():
                break
            time.sleep(_AGAIN_S)
        self.asked.update(self._places(offsets))
        self._record(began, clock(), answer or [], code)

    def take_new(self) -> dict[Place, int]:
        """Return what is finished and not committed yet, for a transaction that commits it."""
        offsets = self._places(self._new())
        self.asked.update(offsets)
        return offsets

    def _new(self) -> list[TopicPartition]:
        return [
            TopicPartition(topic, partition, offset)
            for (topic, partition), offset in self.finished.items()
            if self.asked.get((topic, partition)) != offset
        ]

    @staticmethod
    def _places(offsets: Iterable[TopicPartition]) -> dict[Place, int]:
        return {(each.topic, each.partition): each.offset for each in offsets}

    def _record(self, began: int, ended: int, partitions: Iterable[TopicPartition], code: int) -> None:
        for each in partitions:
            if each.offset < 0:
                continue  # the client had nothing for it
            own = each.error.code() if each.error is not None else code
            if own:
                self.asked.pop((each.topic, each.partition), None)  # so that the next one takes it up again
            if not self.start_ns:
                continue  # before time 0 nothing is of the run
            self.rows.committed(
                each.topic, each.partition, each.offset, began - self.start_ns, ended - self.start_ns, own
            )
