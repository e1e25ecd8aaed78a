"""Events that are not due yet: copies in retry topics, which a member keeps while their partitions are paused."""

from collections import deque
from collections.abc import Iterable, Iterator

from confluent_kafka import Consumer, TopicPartition

from loadgen.member_rows import Event

Place = tuple[str, int]


class Held:
    """By partition, in the order of the log: a later copy never overtakes an earlier one of its partition."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._events: dict[Place, deque[tuple[Event, int]]] = {}

    def __len__(self) -> int:
        return sum(len(each) for each in self._events.values())

    def must_wait(self, event: Event, now_ns: int) -> bool:
        """Whether an event is not due yet, or stands behind one that waits."""
        return event.due_ns > now_ns or (event.topic, event.partition) in self._events

    def hold(self, event: Event, poll_id: int) -> None:
        """Keep an event until it is due; the first one of a partition pauses it."""
        place = (event.topic, event.partition)
        if place not in self._events:
            self._events[place] = deque()
            self._consumer.pause([TopicPartition(*place)])
        self._events[place].append((event, poll_id))

    def next_due_ns(self) -> int | None:
        """Return when the next event is due, from the start of the run; None where none waits."""
        return min((waiting[0][0].due_ns for waiting in self._events.values()), default=None)

    def due(self, now_ns: int) -> Iterator[tuple[Event, int]]:
        """Yield the events that are due, with the number of their poll; a partition with none left goes on being read."""
        for place in list(self._events):
            while (waiting := self._events.get(place)) and waiting[0][0].due_ns <= now_ns:
                yield waiting.popleft()
                if not waiting and self._events.pop(place, None) is not None:
                    self._consumer.resume([TopicPartition(*place)])

    def again(self, places: Iterable[Place]) -> None:
        """Forget what waits in partitions that are read again from before it, and go on reading them."""
        for place in places:
            if self._events.pop(place, None) is not None:
                self._consumer.resume([TopicPartition(*place)])

    def drop(self, places: Iterable[Place]) -> None:
        """Forget what waits in partitions that went to another member."""
        for place in places:
            self._events.pop(place, None)
