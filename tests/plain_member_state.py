"""What a member of the plain model has in hand, and what all of its parts need."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simpy

from plain_breaker import Breaker
from plain_clock import Phase, Signal
from rundata.rows import Kind
from scenarios.actions import Deploy

if TYPE_CHECKING:
    from plain_brokers import Partition
    from plain_groups import Group
    from plain_members import Member
    from plain_transactions import Transaction

Process = Generator[simpy.Event, Any, None]


@dataclass(eq=False)
class Seat:
    """A place in a group as the coordinator sees it; it outlasts a crash of its member until the session is over."""

    member: "Member"
    is_live: bool = True
    absences: int = 0
    """How often a static member came back to it."""
    hangs: int = 0
    """Counts begins and ends of pauses."""


@dataclass(frozen=True)
class Read:
    """A record as a member has it."""

    event: int
    partition: "Partition"
    offset: int
    ownership: int
    """Counts how often the partition was given to someone, so that what came for an owner of before is told apart."""
    due_ns: int = 0
    acquisition: Any = None
    """In a share group: by which it is the member's."""


@dataclass
class Delivery:
    """A record handed to the application; it is finished when it has ended and what it emitted is there."""

    read: Read
    poll: int
    number: int
    """Counts the deliveries of the event to the group."""
    released: bool = False
    """In a share group: its handler failed, and somebody may have it again."""
    left: int = 1
    """Its own end, and what it emitted and is not answered."""


class MemberState:
    """What a member has in hand: what it read, handed over, finished, asked to commit; and whether it lives."""

    def __init__(self, group: "Group", number: int, code: int) -> None:
        self.group, self.model, self.number, self.code = group, group.model, number, code
        self.clock = group.model.clock
        self.name = f"{group.name}/{number}"
        self.client_id = f"{group.name}-{number}"
        draws = self.model.draws
        self.wake, self.overshoot, self.commit_time = draws.wake(code), draws.overshoot(code), draws.commit(code)
        self.dead_letter_time = draws.dead_letter(code)
        self.fetched = dict.fromkeys(self.model.brokers, 0)
        self.polls = self.wakes = self.tries = self.commits = self.dead_letters = 0
        self.recorded_of = [0] * group.workers
        """When each worker's latest try was, or will be, recorded."""
        self.life = 0
        """Grows when the member dies, so that what it left behind knows."""
        self.generation = 0
        """Grows when its fetches are dropped."""
        self.transaction: Transaction | None = None
        self.transactions = 0
        self.alive = self.stopped = False
        self.is_awaited = False
        """Whether it is gone and comes back by itself."""
        self.crashes = self.crashes_in_a_row = self.started_ns = 0
        self.version: Deploy | None = None
        self.seat = Seat(self, is_live=False)
        self.leaves_by = 0
        """The fault that makes it leave."""
        self.letters_to = group.failures.dead_letter if group.failures is not None else None
        there = self.model.partitions[self.letters_to] if self.letters_to is not None else []
        self.letters = sum(bool(partition.replicas) for partition in there)
        """How many partitions its client for dead letters knows of."""
        self.duty, self.arrived, self.assigned = Signal(self.clock), Signal(self.clock), Signal(self.clock)
        self.flushed, self.freed = Signal(self.clock), Signal(self.clock)
        self.to_send: dict[int, int] = {}
        """Brokers to which the next call sends a fetch (Java), and the generation of the last one there."""
        self.coming = 0
        """Records on their way from a call to the pool."""
        self.owned: dict[Partition, int] = {}
        """Its partitions, and the ownership under which it has each."""
        self.forget()

    def forget(self) -> None:
        """Have nothing in hand, as a process that has just started."""
        self.queue: deque[Read] = deque()
        self.to_send = {}
        self.answers: list[Delivery] = []
        """What was done since the last acknowledgement (share group)."""
        self.positions: dict[Partition, int] = {}
        self.come: dict[Partition, int] = {}
        """Up to where records have come into the queue, or were passed over."""
        self.handed_over: dict[Partition, int] = {}
        self.collected: dict[Partition, int] = {}
        """What Java's calls have returned to a member that collects."""
        self.finished: dict[Partition, int] = {}
        self.asked: dict[Partition, int] = {}
        self.owned = {}
        self.last_commit: simpy.Event | None = None
        self.must_leave = self.must_rejoin = self.is_back = False
        self.must_give_up: set[Partition] = set()
        self.evicted = self.waits = False
        self.late_ns: int | None = None
        """When it must have called again at the latest."""
        self.paused_ns = self.stalled_ns = 0
        """Until when its process, or its application, hangs."""
        self.emitting = 0
        """Effects that are not recorded yet, and emitted events that are not answered."""
        self.unfinished: dict[Partition, dict[int, Delivery]] = {}
        self.unreadable: set[Partition] = set()
        """Of which nothing says where to read on (auto.offset.reset: none)."""
        self.held: dict[Partition, deque[Read]] = {}
        """Copies in retry topics that are not due yet."""
        self.waking: dict[Partition, int] = {}
        self.waiting: list[Delivery] = []
        """What no worker has begun yet."""
        self.jobs: dict[int, tuple[Delivery, simpy.Process]] = {}
        self.commit_soon = False
        self.batch_left = 0
        """How many events of its batch are not through, where there is one worker."""
        probes = None if self.model.rules.breaker_probes else 1
        self.breakers = [Breaker(call.breaker, probes) for call in self.group.calls]
        if self.model.rules.own_memory_is_lost or not hasattr(self, "marked"):
            self.marked: dict[int, int] = {}
            """By event: when it took effect, in the member's own memory."""

    def letters_know(self, count: int) -> None:
        """Send dead letters to so many partitions from now on."""
        if count != self.letters and self.model.rules.letters_ask:
            self.model.fired["letters go to new partitions"] += 1
            self.letters = count

    def _hang(self, phase: Phase, second: int = 0, *, client: bool = False) -> Process:
        """Wait until nothing hangs that what comes next needs."""
        while (until_ns := self.paused_ns if client else max(self.paused_ns, self.stalled_ns)) > self.clock.now:
            self.model.fired["hung"] += 1
            yield self.clock.at(until_ns, phase, self.code, second)

    def _hang_at_end(self) -> Process:
        while (until_ns := max(self.paused_ns, self.stalled_ns)) > self.clock.now:
            self.model.fired["hung"] += 1
            yield self.clock.at(until_ns, Phase.end)

    def _until_known(self, partition: "Partition") -> Process:
        while not self.model.knows(self.code, partition):
            yield self.model.news.wait()

    def _while_alive(self, process: Process) -> Process:
        """Run something of this life only."""
        life = self.life
        for event in process:
            yield event
            if self.life != life or not self.alive:
                return

    def _row(self, kind: Kind, delivery: Delivery, sent_to: "Partition | None" = None, **fields: int) -> None:
        read = delivery.read
        where = {"group": self.group.code, "offset": read.offset, "event_id": read.event, "poll_id": delivery.poll}
        self.model.row(kind, self.code, sent_to or read.partition, **{**where, **fields})

    def _ended(self, delivery: Delivery) -> None:
        """Note the end of a record; one that takes part in a transaction ends when that is committed."""
        if self.group.is_share:
            return
        if self.group.commit != "transaction" or not self.model.rules.effects_with_the_commit:
            self.model.open.discard((self.group, delivery.read.partition, delivery.read.offset))
