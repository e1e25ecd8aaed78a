"""Several workers of one member, in one thread: each waits for planned instants and answers, so that waiting side by side is enough."""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from loadgen.child import Child, Leaving
from loadgen.member_calls import Asked
from loadgen.member_rows import Event
from loadgen.member_work import Handler, Steps, Until, Worker

clock = time.perf_counter_ns

Place = tuple[str, int]
Lane = tuple[str | int | bytes | None, ...]


@dataclass
class _Progress:
    """What of a partition is finished: offsets in order, each with whether it is done."""

    offsets: deque[int] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)

    def finish(self, offset: int) -> int | None:
        """Note a finished offset; return the one to go on from where that has moved."""
        self.done.add(offset)
        end = None
        while self.offsets and self.offsets[0] in self.done:
            first = self.offsets.popleft()
            self.done.discard(first)
            end = first + 1
        return end


@dataclass
class _Task:
    event: Event
    poll_id: int
    delivered_at: int
    lane: Lane


@dataclass
class _Job:
    """A task in somebody's hands."""

    task: _Task
    worker: Worker
    steps: Steps


class Pool:
    """Takes the steps of as many events as there are workers; what is ordered waits for its turn."""

    def __init__(
        self, child: Child, handler: Handler, workers: int, ordered_by: Literal["none", "key", "partition"]
    ) -> None:
        self._child = child
        self._handler = handler
        self._ordered_by = ordered_by
        self._free = [Worker() for _ in range(workers)]
        self._lanes: dict[Lane, deque[_Task]] = {}
        self._ready: deque[Lane] = deque()
        """Lanes whose first task can begin."""
        self._lane_free_at: dict[Lane, int] = {}
        self._timed: list[tuple[int, int, _Job]] = []
        self._asked: dict[int, tuple[Asked, _Job]] = {}
        self._progress: dict[Place, _Progress] = {}
        self._serial = 0
        self.in_hand = 0
        """Events that are not finished."""
        self.finished: Callable[[Event], object] = lambda event: None
        """Is told of each event that comes to its end."""

    # ---- what comes in

    def take(self, events: Iterable[Event], poll_id: int, delivered_at: int) -> None:
        """Take events that a poll handed over."""
        for event in events:
            self._serial += 1
            lane: Lane = (self._serial,)
            if self._ordered_by == "partition":
                lane = (event.topic, event.partition)
            elif self._ordered_by == "key" and event.key is not None:
                lane = (event.key,)
            self._progress.setdefault((event.topic, event.partition), _Progress()).offsets.append(event.offset)
            waiting = self._lanes.setdefault(lane, deque())
            waiting.append(_Task(event, poll_id, delivered_at, lane))
            self.in_hand += 1
            if len(waiting) == 1:
                self._ready.append(lane)

    def drop(self, places: Iterable[Place]) -> None:
        """Forget what waits of partitions that went to another member; what somebody works on comes to its end, and counts no more."""
        gone = set(places)
        working = {job.task.lane: job.task for job in self._jobs()}
        for lane, waiting in list(self._lanes.items()):
            kept = [t for t in waiting if (t.event.topic, t.event.partition) not in gone or working.get(lane) is t]
            self.in_hand -= len(waiting) - len(kept)
            if kept:
                self._lanes[lane] = deque(kept)
            else:
                del self._lanes[lane]
        self._ready = deque(lane for lane in self._ready if lane in self._lanes)
        for place in gone:
            self._progress.pop(place, None)

    def _jobs(self) -> Iterator[_Job]:
        yield from (job for _, _, job in self._timed)
        yield from (job for _, job in self._asked.values())

    # ---- time

    def next_at(self) -> int | None:
        """Return the next instant at which there is something to do; None where only answers or events are waited for."""
        return self._timed[0][0] if self._timed else None

    @property
    def waits_for_answers(self) -> bool:
        """Whether a call is under way."""
        return bool(self._asked)

    def advance(self) -> dict[Place, int]:
        """Do what is due; return the offsets to go on from, of partitions where they have moved."""
        moved: dict[Place, int] = {}
        while True:
            job, answer = self._next_due()
            if job is None and (job := self._begin()) is None:
                return moved
            self._step(job, answer, moved)

    def _next_due(self) -> tuple[_Job | None, bool | None]:
        now = clock()
        if self._timed and self._timed[0][0] <= now:
            return heapq.heappop(self._timed)[2], None
        for number, (asked, job) in list(self._asked.items()):
            assert self._handler.calls is not None
            ok = self._handler.calls.answer(asked, now)
            if ok is not None:
                del self._asked[number]
                return job, ok
        return None, None

    def _begin(self) -> _Job | None:
        """Put the next task that can begin into free hands."""
        if not self._free or not self._ready or self._child.leaving:
            return None
        lane = self._ready.popleft()
        task = self._lanes[lane][0]
        # The hands that were free first: their planned end, not the moment at which that was noticed.
        worker = min(self._free, key=lambda each: each.busy_until)
        self._free.remove(worker)
        worker.busy_until = max(worker.busy_until, task.delivered_at, self._lane_free_at.pop(lane, 0))
        return _Job(task, worker, self._handler.steps(task.event, task.poll_id, task.delivered_at, worker))

    def _step(self, job: _Job, answer: bool | None, moved: dict[Place, int]) -> None:
        try:
            wait = next(job.steps) if answer is None else job.steps.send(answer)
        except StopIteration:
            self._finished(job, moved)
            return
        except Leaving:
            return
        if isinstance(wait, Until):
            self._serial += 1
            heapq.heappush(self._timed, (wait.at, self._serial, job))
        else:
            self._asked[wait.number] = (wait, job)

    def _finished(self, job: _Job, moved: dict[Place, int]) -> None:
        self._free.append(job.worker)
        lane, event = job.task.lane, job.task.event
        self.finished(event)
        waiting = self._lanes.get(lane)
        if waiting and waiting[0] is job.task:
            waiting.popleft()
            self.in_hand -= 1
            if waiting:
                self._ready.append(lane)
                self._lane_free_at[lane] = job.worker.busy_until
            else:
                del self._lanes[lane]
        place = (event.topic, event.partition)
        progress = self._progress.get(place)
        if progress is not None and (end := progress.finish(event.offset)) is not None:
            moved[place] = end
