"""Events that the user's own programs send, while a run goes on: what could be read of them, and which groups have yet to end it."""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from loadgen.admin import connection
from rundata.rows import UNTIMED, Kind, Outcome
from rundata.tables import Names
from scenarios.outside import FIRST, id_of_place, outside_topics
from scenarios.plan import Plan

if TYPE_CHECKING:
    from loadgen.admin import Admin

_ENDS = (int(Kind.skip), int(Kind.dead_letter))
_WITHIN_S = 5.0

Committed = Mapping[tuple[str, int, int], int]
"""By group, topic's code and partition: the offset to go on from."""


class Outside:
    """Counts what is read of them, and what becomes of it, from the rows of the watcher and of the groups; what was sent outside the load is left out."""

    def __init__(self, plan: Plan) -> None:
        scenario = plan.scenario
        self._duration_ns, self._warm_up_ns = scenario.duration, scenario.warm_up
        topics = outside_topics(scenario)
        self._any = bool(topics)
        names = Names.of(scenario)
        codes = {topic: names.topics.index(topic) for topic in topics}
        self._readers = {
            code: [name for name, group in scenario.groups.items() if topic in group.topics]
            for topic, code in codes.items()
        }
        self._groups = list(scenario.groups)
        self._place: dict[int, tuple[int, int, int]] = {}
        """By event: the topic's code, partition and offset where it was first read."""
        self._intended_ns: dict[int, int] = {}
        self._named: dict[int, int] = {}
        """By place: the event there that has another name."""
        self._open: dict[str, set[int]] = {name: set() for name in self._groups}
        self._ended: dict[str, set[int]] = {name: set() for name in self._groups}
        self._handed_on: dict[str, set[int]] = {
            name: set()
            for name, group in scenario.groups.items()
            if group.failures is not None and group.failures.retry.where == "topic"
        }
        """Of groups that retry by topic: events that went there, so that what is committed says nothing of them."""

    def __len__(self) -> int:
        """How many have been read."""
        return len(self._place)

    def take(self, rows: NDArray[np.void]) -> None:
        """Note what rows say of them."""
        if not self._any:
            return
        rows = rows[rows["event_id"] >= FIRST]
        kind, ok = rows["kind"], rows["outcome"] == Outcome.ok
        for row in rows[(kind == Kind.send) & ok]:
            self._read(row)
        ended = ((kind == Kind.try_) & ok) | np.isin(kind, _ENDS)
        for code, name in enumerate(self._groups):
            mine = rows["event_id"][ended & (rows["group"] == code)]
            self._ended[name].update(self._named.get(each, each) for each in mine.tolist())
            self._open[name] -= self._ended[name]
            if name in self._handed_on:
                again = (kind == Kind.try_) & (rows["group"] == code) & (rows["retry_due_ns"] != UNTIMED)
                self._handed_on[name].update(rows["event_id"][again].tolist())

    def effects(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """Return the effects among rows, with the instants at which their events were meant to be sent; others are not known yet."""
        rows = rows[(rows["event_id"] >= FIRST) & (rows["kind"] == Kind.try_) & (rows["outcome"] == Outcome.ok)]
        ids = [self._named.get(each, each) for each in rows["event_id"].tolist()]
        known = np.asarray([each in self._intended_ns for each in ids], np.bool_)
        rows = rows[known].copy() if len(rows) else rows
        rows["intended_ns"] = [self._intended_ns[each] for each in ids if each in self._intended_ns]
        return rows

    def _read(self, row: np.void) -> None:
        event, intended_ns = int(row["event_id"]), int(row["intended_ns"])
        place = (int(row["topic"]), int(row["partition"]), int(row["offset"]))
        if (by_place := id_of_place(*place)) != event:
            self._named[by_place] = event
        if event in self._place or not 0 <= intended_ns < self._duration_ns:
            return
        self._place[event], self._intended_ns[event] = place, intended_ns
        for group in self._readers.get(place[0], ()):
            if event not in self._ended[group] and by_place not in self._ended[group]:
                self._open[group].add(event)

    # ---- what is left

    def holds(self, event: int) -> bool:
        """Whether one has been read, by whatever name, that was sent during the load."""
        return self._named.get(event, event) in self._place

    def open(self, group: str) -> int:
        """Return how many a group has yet to end."""
        return len(self._open[group])

    def ended(self, group: str) -> int:
        """Return how many a group has ended."""
        return len(self._ended[group])

    def oldest_ns(self, group: str) -> int | None:
        """Return when the oldest of those that a group has not ended was sent."""
        return min((self._intended_ns[each] for each in self._open[group]), default=None)

    def overdue(self, group: str, before_ns: int) -> int:
        """Return how many measured ones a group has not ended that were sent before an instant."""
        sent = (self._intended_ns[each] for each in self._open[group])
        return sum(self._warm_up_ns <= each < before_ns for each in sent)

    def beyond(self, group: str, committed: Committed) -> bool:
        """Whether all that a group has not ended lies below what it has committed."""
        return not (self._open[group] & self._handed_on.get(group, set())) and all(
            self._place[each][2] < committed.get((group, *self._place[each][:2]), 0) for each in self._open[group]
        )


class Sizes:
    """How large values are that the user's own programs wrote, by place, as the audit finds them."""

    def __init__(self, plan: Plan) -> None:
        topics = Names.of(plan.scenario).topics
        self._codes = {topic: topics.index(topic) for topic in outside_topics(plan.scenario)}
        self.by_place: dict[int, int] = {}

    def look(self, message: Message) -> None:
        """Note one, where it is of such a topic."""
        code = self._codes.get(str(message.topic()))
        if code is not None:
            place = id_of_place(code, int(message.partition() or 0), int(message.offset() or 0))
            self.by_place[place] = len(message)


def silent_topics(admin: "Admin", plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield topic and producer where the user's own program has written nothing yet."""
    reader = Consumer({**connection(admin.cluster), "group.id": "eventdrill-watch", "enable.auto.commit": False})
    try:
        for topic, name in outside_topics(plan.scenario).items():
            if not _has_records(reader, topic, plan.scenario.topics[topic].partitions):
                yield topic, name
    finally:
        reader.close()


def _has_records(reader: Consumer, topic: str, partitions: int) -> bool:
    for number in range(partitions):
        try:
            if reader.get_watermark_offsets(TopicPartition(topic, number), timeout=_WITHIN_S)[1] > 0:
                return True
        except KafkaException:
            continue
    return False


def wait_for_records(admin: "Admin", plan: Plan, within_s: float) -> str | None:
    """Wait until the user's own programs have begun to write; return the topic of one that has not."""
    until = time.monotonic() + within_s
    while (silent := next(silent_topics(admin, plan), None)) is not None:
        if time.monotonic() > until:
            return silent[0]
        time.sleep(0.2)
    return None
