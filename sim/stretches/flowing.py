"""A quiet stretch as it flows: producers and members go on from block to block of the plan, and what is over is told in the order of ids.

An event of a later block is intended, and so handed over, at or after an instant that is known when a block comes. Up to there producers
go on; then members, since what is appended later can be read later. All that outlasts a block is listed where it is kept (`ring`, `senders`,
`readers`); here it is the blocks that are not over yet: the events of which something is open, and all behind them. So a stretch takes the
memory of a block and of what is open, however long it is, and what it tells does not depend on the blocks.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rundata.rows import NEVER
from scenarios.clients import producer_settings
from scenarios.disturbances import NOT_AGAIN
from scenarios.plan import Plan
from scenarios.profiles import Profile
from scenarios.quantities import SECOND
from sim.building import Builder
from sim.stretches.inputs import LoadedDraws
from sim.stretches.owners import has_enough_replicas, leaders, owners
from sim.stretches.readers import Committed, Readers
from sim.stretches.ring import Ring
from sim.stretches.senders import Senders, TakesMoreError
from sim.world import NONE, Ints


@dataclass(frozen=True, eq=False)
class Events:
    """What became of some events, one after another."""

    handed_ns: Ints
    acked_ns: Ints
    partition: Ints
    """Numbered over all topics."""
    offset: Ints
    visible_ns: Ints
    delivered_ns: Ints
    """By group and event; NEVER where the group does not read it."""
    effect_ns: Ints

    def __len__(self) -> int:
        return len(self.handed_ns)


@dataclass(frozen=True, eq=False)
class Piece:
    """A block of the plan, and what became of its events."""

    plan: Plan
    first: int
    """The id of its first event."""
    until_ns: int
    """When the first event behind them is intended; NEVER behind the last one."""
    events: Events
    commits: tuple[Committed, ...]
    """By group: commits that were made since the piece before; those that end before `until_ns` at the latest now."""


@dataclass(frozen=True, eq=False)
class Ended:
    """How a stretch ended."""

    end_ns: int
    log_end: Ints
    """By partition: how many records it holds."""
    commits: tuple[Committed, ...]
    """By group: those that cover an event which took effect after the load's end, or not at all."""


@dataclass(frozen=True)
class _Block:
    plan: Plan
    first: int
    until_ns: int

    @property
    def end(self) -> int:
        return self.first + len(self.plan)


class Flowing:
    """One quiet stretch."""

    def __init__(self, nothing: Plan, profile: Profile, chance: int, requests_hz: float) -> None:
        """Take a plan without events, and how many requests a second that with its events makes, where it matters to the profile."""
        scenario = nothing.scenario
        counts = [scenario.topics[topic].partitions for topic in nothing.topics]
        self._first_place = (
            np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64) if counts else np.zeros(0, np.int64)
        )
        places = {
            f"{topic}/{number}": int(first) + number
            for topic, first, count in zip(nothing.topics, self._first_place, counts, strict=True)
            for number in range(count)
        }
        draws = LoadedDraws(nothing, profile, chance, requests_hz)
        groups = tuple(scenario.groups)
        builder = Builder(nothing, draws, chance, places, [0] * len(groups))
        leads = leaders(nothing)
        self._ring = Ring(groups)
        self._senders = Senders(nothing, builder, draws, leads, self._ring)
        self._readers = [
            Readers(nothing, builder, draws, group, owners(nothing, draws, group, self._first_place), leads, self._ring)
            for group in range(len(groups))
        ]
        self._scenario, self._is_writable = scenario, has_enough_replicas(nothing)
        self._shares_cores = profile.cores.count > 0
        """Whether everybody waits for everybody, which only the kernel can follow."""
        self._waiting = deque[_Block]()
        self._last_ack_ns = 0
        self.ended: Ended | None = None
        """Known when all pieces were told."""

    def pieces(self, blocks: Iterable[Plan]) -> Iterator[Piece]:
        """Yield what becomes of a plan's events, block after block; raise TakesMoreError where it takes more than quiet rules."""
        if not self._is_writable or self._shares_cores:
            raise TakesMoreError
        for plan, until_ns in with_ends(blocks):
            self._take(plan, until_ns)
            self._senders.go_on(until_ns)
            for readers in self._readers:
                readers.go_on(self._senders.appended, until_ns)
            while self._waiting and self._is_over(self._waiting[0]):
                yield self._piece(self._waiting.popleft())
        self._end()
        while self._waiting:
            yield self._piece(self._waiting.popleft())

    def _take(self, plan: Plan, until_ns: int) -> None:
        if (plan.again_ns != NOT_AGAIN).any() or plan.late_ns.any():
            raise TakesMoreError
        part = np.where(plan.partition == NONE, NONE, self._first_place[plan.topic] + plan.partition)
        block = _Block(plan, self._ring.end, until_ns)
        has_grown = self._ring.take(plan, part)
        self._senders.take(plan, block.first, has_grown=has_grown)
        for readers in self._readers:
            readers.take(plan, has_grown=has_grown)
        self._waiting.append(block)

    def _is_over(self, block: _Block) -> bool:
        """Whether all that becomes of a block is known whenever the run ends, which is after its load; the last one tells of the end."""
        if block.until_ns == NEVER or (self._ring.of("acked", block.first, block.end) == NEVER).any():
            return False
        effect, part = (self._ring.of(name, block.first, block.end) for name in ("effect", "part"))
        for own, readers in zip(effect, self._readers, strict=True):
            late = own > self._scenario.duration
            if late.any() and readers.reads[part[late]].any():
                return False
        return True

    def _piece(self, block: _Block) -> Piece:
        names = ("handed", "acked", "part", "offset", "visible", "delivered", "effect")
        column = self._ring.last_of if block.until_ns == NEVER else self._ring.of
        events = Events(*(column(name, block.first, block.end) for name in names))
        self._last_ack_ns = max(self._last_ack_ns, int(events.acked_ns.max(initial=0)))
        self._ring.leave(block.end)
        commits = tuple(readers.new_commits() for readers in self._readers)
        return Piece(block.plan, block.first, block.until_ns, events, commits)

    # ---- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """See when the run ends: everything is answered and has ended, and no commit is under way. What comes after that is not told."""
        ring, duration_ns = self._ring, self._scenario.duration
        first, end = ring.first, ring.end
        acked, effect = (ring.of(name, first, end) for name in ("acked", "effect"))
        end_ns = max(duration_ns, self._last_ack_ns, int(acked.max(initial=0)))
        end_ns = max(end_ns, int(effect[effect != NEVER].max(initial=0)))
        while under_way_ns := max((readers.under_way_at(end_ns) for readers in self._readers), default=0):
            end_ns = under_way_ns
        if end_ns > duration_ns + self._scenario.drain:
            raise TakesMoreError
        effect[effect > end_ns] = NEVER
        ring.put("effect", first, effect)
        log_end = self._senders.log_end
        self.ended = Ended(end_ns, log_end, tuple(readers.end(end_ns, log_end) for readers in self._readers))


def with_ends(blocks: Iterable[Plan]) -> Iterator[tuple[Plan, int]]:
    """Yield blocks with the instant at which the first event behind each is intended; NEVER behind the last one. Empty ones are left out."""
    before: Plan | None = None
    for plan in blocks:
        if before is None or not len(before):
            before = plan
        elif len(plan):
            yield before, int(plan.intended_ns[0])
            before = plan
    if before is not None:
        yield before, NEVER


def requests_hz(blocks: Iterable[Plan]) -> float:
    """Return about how many produce requests a second a plan makes that comes in blocks, as `sim.draws.requests_hz` does for one as a whole."""
    counts: list[Ints] = []
    length_s = 1.0
    lingers_s: list[float] = []
    for plan in blocks:
        scenario = plan.scenario
        if not counts:
            counts = [np.zeros(0, np.int64) for _ in plan.producers]
            lingers_s = [producer_settings(scenario, name).linger_ns / SECOND for name in plan.producers]
            length_s = max(scenario.measured_ns, 1) / SECOND
        measured = (plan.intended_ns >= scenario.warm_up) & (plan.intended_ns < scenario.duration)
        for index, name in enumerate(plan.producers):
            own = measured & (plan.producer == index)
            partitions = scenario.topics[scenario.producers[name].topic].partitions
            lanes = plan.process[own].astype(np.int64) * (partitions + 1) + plan.partition[own] + 1
            more = np.bincount(lanes, minlength=len(counts[index]))
            more[: len(counts[index])] += counts[index]
            counts[index] = more
    found = []
    for count, linger_s in zip(counts, lingers_s, strict=True):
        rates_hz = count / length_s
        found.append(float((rates_hz / (1 + rates_hz * linger_s)).sum()))
    return sum(found)
