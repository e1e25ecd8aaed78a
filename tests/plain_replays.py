"""Replays in the plain model: a reader beside a group, with its handler, from given offsets up to what was there."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plain_clock import Phase, Signal
from plain_groups import Group
from plain_member_state import Delivery, Process
from plain_members import Member
from rundata.rows import NONE, Kind
from scenarios.quantities import MILLISECOND
from sim.dependencies import interval_ns
from sim.replaying import Replaying

if TYPE_CHECKING:
    from plain_brokers import Partition


class Beside:
    """A group as who replays sees it: one worker, calls of its own, nothing to commit, and no more than was there."""

    def __init__(self, group: Group) -> None:
        self.of = group
        self.workers, self.is_pool, self.interval_ns = 1, False, 0
        self.finishes_later = group.emit_count > 0
        self.collect = (100, 100 * MILLISECOND) if group.settings.fetches_ahead == "any" else group.collect
        self.settings = replace(group.settings, auto_offset_reset="earliest")
        self.ends: dict[Partition, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)

    def may_read_to(self, partition: "Partition") -> int:
        """Return up to which offset may be read."""
        return min(self.of.may_read_to(partition), self.ends.get(partition, 0))

    def has_no_offset_of(self, partition: "Partition") -> bool:
        """Whether nothing says where to begin: a replay is told."""
        return False

    def dies(self, replayer: "Replayer") -> Process:
        """Let a replay die of an event; nobody starts it again."""
        replayer.life += 1
        replayer.end()
        return
        yield


class Replayer(Member):
    """Handles what is there once more; it is no member, and commits nothing."""

    def __init__(self, group: Group, what: Replaying) -> None:
        self.beside = Beside(group)
        super().__init__(self.beside, 0, what.code)  # type: ignore[arg-type]  # it hands on what it does not change of a group
        self.name = what.name
        self.pace_ns = self.paced_ns = 0
        self.ended = Signal(self.clock)

    @property
    def must_leave(self) -> bool:
        """Whether everything is through."""
        return all(self._next(partition) >= self.beside.ends[partition] for partition in self.owned)

    @must_leave.setter
    def must_leave(self, value: bool) -> None:
        pass

    def _next(self, partition: "Partition") -> int:
        offset = self.handed_over[partition]
        while offset < self.beside.ends[partition] and partition.log[offset].gone:
            offset += 1
        return offset

    def begin(self, start_of: "Callable[[Partition], int]", rate_hz: float | None) -> None:
        """Read each partition of the group's own topics from an offset up to what is visible now."""
        group = self.beside.of
        own = [p for p in group.partitions if not p.copy]
        starts = {p: start_of(p) if self.model.rules.replays_from_there else p.start for p in own}
        self.version = group.all_members[0].version
        self.pace_ns = 0 if rate_hz is None else interval_ns(rate_hz)
        self.paced_ns = self.clock.now
        self.stopped = False
        self.start(assigned=True)
        self.beside.ends = {p: p.visible_end for p in own if p.visible_end > starts[p]}
        if not self.model.rules.replays_up_to_then:
            self.beside.ends = {p: end + 1 for p, end in self.beside.ends.items()}
        for partition in self.beside.ends:
            self.owns(partition, starts[partition])
        self.start_fetching()

    def end(self) -> None:
        """Read and handle nothing more."""
        self.generation += 1
        self.queue.clear()
        self.owned = {}
        self.alive = False
        self.model.news.give()
        self.ended.give()

    def _leave(self) -> Process:
        self.model.fired["replay stopped"] += self.stopped
        self.end()
        return
        yield

    def _handle(self, delivery: Delivery, worker: int = 0, turn: Any = None) -> Process:
        if self.pace_ns and self.model.rules.replay_rate:
            yield self.clock.at(self.clock.now, Phase.work, self.code)
            self.model.fired["replay keeps its rate"] += self.clock.now < self.paced_ns
            while self.clock.now < self.paced_ns:
                yield self.clock.at(self.paced_ns, Phase.work, self.code)
            self.paced_ns = max(self.paced_ns + self.pace_ns, self.clock.now - 100 * MILLISECOND)
        yield from super()._handle(delivery, worker, turn)

    def _reset_positions(self, broker: int) -> None:
        for partition in self.owned:
            is_led = partition.leader == broker and self.model.knows(self.code, partition)
            is_taken = not self.takes_first or self.positions[partition] == self.handed_over[partition]
            if is_led and is_taken and self.positions[partition] < partition.start:
                self.model.fired["replay of what is deleted"] += 1
                self.positions[partition] = self.come[partition] = partition.start
                self._skip_unseen(partition)
                self.arrived.give()

    def looks_again(self) -> None:
        """See whether anything is left to read."""
        self.arrived.give()

    def _begin_commit(self, offsets: Any) -> None:
        pass

    def _part_done(self, delivery: Delivery) -> None:
        pass

    def _must_call_again(self) -> None:
        pass

    def _ended(self, delivery: Delivery) -> None:
        self.model.fired["replayed"] += 1
        self.model.open.discard((self.beside.of, delivery.read.partition, delivery.read.offset))

    def _row(self, kind: Kind, delivery: Delivery, sent_to: "Partition | None" = None, **fields: int) -> None:
        code, self.code = self.code, NONE
        super()._row(kind, delivery, sent_to, **fields)
        self.code = code
