"""Simulates a quiet stretch with loops over arrays in place of the kernel; where something could fail, or time out, it says so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from rundata.books import Books, Records
from rundata.committed import CommitRows
from rundata.folding import Part
from rundata.pairs import HandlingTally, SendTally
from rundata.rows import LOG_RECORD, NEVER, new_operations
from rundata.shards import stretch
from rundata.tables import Extent, Phase, RunData
from rundata.whole import Commits, Told, Whole
from scenarios.clients import is_compacted, may_expire, producer_settings, topic_setting
from scenarios.plan import Plan, empty_plan
from scenarios.plan_blocks import plan_in_blocks
from scenarios.profiles import Profile
from scenarios.schema import Group, Scenario
from sim import draws
from sim.stretches.flowing import Ended, Events, Flowing, Piece, requests_hz
from sim.stretches.readers import Committed
from sim.stretches.senders import TakesMoreError
from sim.world import FRAMED_BATCH, FRAMED_RECORD, Ints

BLOCK_EVENTS, WIDE_BLOCK_EVENTS = 1 << 14, 1 << 16
"""So many events of a stretch are made, and looked at, at a time; more where there are so many partitions that each block takes long by itself."""
_MANY_PARTITIONS = 1 << 10


def flows(scenario: Scenario) -> bool:
    """Whether nothing in a scenario can fail or change who leads, reads or sends, so that its stretches are quiet."""
    return (
        not scenario.faults
        and not scenario.actions
        and not may_expire(scenario)
        and not any(is_compacted(scenario, topic) for topic in scenario.topics)
        and all(
            each.client == "librdkafka"
            and each.poison == 0
            and str(each.settings.get("acks", "all")) != "0"
            and "transactional.id" not in each.settings
            and _fits(scenario, name)
            for name, each in scenario.producers.items()
        )
        and all(_flows(group) for group in scenario.groups.values())
    )


def _fits(scenario: Scenario, producer: str) -> bool:
    """Whether the topic takes every batch that the producer can make."""
    most = int(topic_setting(scenario, scenario.producers[producer].topic, "max.message.bytes"))
    return producer_settings(scenario, producer).batch_bytes + FRAMED_BATCH + FRAMED_RECORD <= most


def _flows(group: Group) -> bool:
    failures = group.failures
    return (
        group.client == "librdkafka"
        and group.reads == "poll"
        and group.workers == 1
        and group.commit != "transaction"
        and group.dedupe == "none"
        and not any(name in _OF_FETCHES for name in group.settings)
        and not (group.emits or group.calls or group.share_group or group.external or group.autoscaler)
        and (failures is None or (failures.transient is None and failures.retry.where == "in_place"))
    )


_OF_FETCHES = frozenset(
    {"fetch.min.bytes", "fetch.max.bytes", "fetch.message.max.bytes", "max.partition.fetch.bytes", "isolation.level"}
)
"""Settings by which an answer holds something else than all that is visible."""


@dataclass(frozen=True, eq=False)
class Flow(Events):
    """What became of every event of a quiet stretch."""

    commits: tuple[Committed, ...]
    end_ns: int

    @classmethod
    def of(cls, pieces: Sequence[Piece], end_ns: int) -> "Flow":
        """Return what pieces tell, of which there is one at least."""
        parts = {one.name: [getattr(piece.events, one.name) for piece in pieces] for one in fields(Events)}
        columns: dict[str, Any] = {
            name: some[0] if len(some) == 1 else np.concatenate(some, axis=-1) for name, some in parts.items()
        }
        groups = range(len(pieces[0].commits))
        commits = tuple(Committed.joined([piece.commits[group] for piece in pieces]) for group in groups)
        return cls(**columns, commits=commits, end_ns=end_ns)

    def commits_of(self, _whole: Whole) -> Commits:
        """Return the commits by group and partition, in the order of time."""
        return _by_partition(self.commits)


def _by_partition(commits: Sequence[Committed]) -> Commits:
    found: Commits = {}
    for group, made in enumerate(commits):
        # Those of a partition come in the order of time.
        order = np.argsort(made.partition.astype(np.int32), kind="stable")
        partition = made.partition[order]
        firsts = np.flatnonzero(np.diff(partition, prepend=-1))
        for first, end in zip(firsts, np.append(firsts, len(order))[1:], strict=True):
            found[group, int(partition[first])] = made.ended_ns[order[first:end]], made.offset[order[first:end]]
    return found


def flow(plan: Plan, profile: Profile, *, chance: int = 0, at_once: int | None = None) -> Flow | None:
    """Return what happens to the plan of a scenario that flows, as `simulate` would; None where it takes more than that after all.

    With `at_once` so many events are looked at at a time, which changes nothing.
    """
    nothing = empty_plan(plan.scenario, plan.seed, plan.replication)
    flowing = Flowing(nothing, profile, chance, draws.requests_hz(plan) if profile.load_slope else 0.0)
    size = at_once or max(1, len(plan))
    blocks = (stretch(plan, first, min(first + size, len(plan))) for first in range(0, max(1, len(plan)), size))
    try:
        pieces = list(flowing.pieces(blocks))
    except TakesMoreError:
        return None
    assert flowing.ended is not None
    return Flow.of(pieces, flowing.ended.end_ns)


# ---- as a run --------------------------------------------------------------------------------------------------------


def as_run(plan: Plan, profile: Profile, found: Flow) -> RunData:
    """Return a run without rows, whose books are those of a quiet stretch: its indicators are measured like any other's."""
    partitions = sum(topic.partitions for topic in plan.scenario.topics.values())
    run = run_of(plan, profile, np.bincount(found.partition, minlength=partitions), found.end_ns)
    vars(run)["_books"] = FlowBooks(run, found, Told(run, found.commits_of))
    return run


class InBlocks:
    """The books of a quiet stretch in parts, which come as it flows, from a plan that comes in blocks: in memory is what is open."""

    def __init__(
        self,
        scenario: Scenario,
        profile: Profile,
        *,
        seed: int,
        replication: int = 0,
        chance: int = 0,
        at_once: int | None = None,
    ) -> None:
        partitions = sum(topic.partitions for topic in scenario.topics.values())
        at_once = at_once or (BLOCK_EVENTS if partitions < _MANY_PARTITIONS else WIDE_BLOCK_EVENTS)

        def blocks() -> Iterator[Plan]:
            return plan_in_blocks(scenario, seed, replication, at_once)

        self._blocks, self._profile = blocks, profile
        self._nothing = empty_plan(scenario, seed, replication)
        # Where the profile's times depend on the load, the plan is made twice.
        self._flowing = Flowing(self._nothing, profile, chance, requests_hz(blocks()) if profile.load_slope else 0.0)
        latest_ns = scenario.duration + scenario.drain
        self.frame = self._frame(Ended(latest_ns, np.zeros(partitions, np.int64), ()))
        """The books of the run without events, as if it ended as late as it may."""

    def _frame(self, ended: Ended) -> Books:
        run = run_of(self._nothing, self._profile, ended.log_end, ended.end_ns)
        return Books(run, Told(run, lambda _whole: _by_partition(ended.commits)))

    def at_the_end(self) -> Books:
        """Return the books of the run without events, when all parts have come."""
        assert self._flowing.ended is not None
        return self._frame(self._flowing.ended)

    def parts(self) -> Iterator[Part]:
        """Yield the parts in the order of time; raise TakesMoreError where it takes more than quiet rules."""
        run, whole, is_known = self.frame.run, self.frame.whole, False
        for piece in self._flowing.pieces(self._blocks()):
            if self._flowing.ended is not None and not is_known:
                at_the_end, is_known = self.at_the_end(), True
                run, whole = at_the_end.run, at_the_end.whole
            books = FlowBooks(replace(run, plan=piece.plan), piece.events, whole, piece.first)
            part = Part(books, piece.until_ns, _rows_of(piece.commits), is_quiet=True)
            del piece, books  # nothing of it is kept while the next one is made
            yield part
            del part


def _rows_of(commits: Sequence[Committed]) -> CommitRows:
    found = Committed.joined(list(commits))
    counts = np.array([len(one.partition) for one in commits], np.int64)
    group = np.repeat(np.arange(len(commits)), counts)
    return CommitRows(group, found.partition, found.ended_ns, found.offset)


def run_of(plan: Plan, profile: Profile, log_end: Ints, end_ns: int) -> RunData:
    """Return a run without rows, of which each partition holds so many records."""
    scenario = plan.scenario
    places = [(name, number) for name, topic in scenario.topics.items() for number in range(topic.partitions)]
    return RunData(
        plan=plan,
        engine="simulated",
        operations=new_operations(0),
        log=np.zeros(0, LOG_RECORD),
        extents=tuple(Extent(*place, 0, end) for place, end in zip(places, log_end.tolist(), strict=True)),
        phases=(
            Phase("warm-up", 0, scenario.warm_up),
            Phase("measure", scenario.warm_up, scenario.duration),
            Phase("drain", scenario.duration, end_ns),
        ),
        end_ns=end_ns,
        about={"profile": profile.profile, "operations": "none"},
    )


class FlowBooks(Books):
    """The books of a run, or of a part of one, in which everything came once and in order: from its arrays, without rows."""

    def __init__(self, run: RunData, found: Events, whole: Whole, first_event: int = 0) -> None:
        super().__init__(run, whole, first_event)
        self._found = found
        self.first_offset = np.zeros(whole.partitions, np.int64)
        self.partition = found.partition
        self.in_log = np.broadcast_to(np.True_, self.events)
        sends = self.sends = SendTally(0)
        sends.handed_ns, sends.acked_ns, sends.closed_ns = found.handed_ns, found.acked_ns, found.acked_ns
        sends.position, sends.sends = found.offset, np.broadcast_to(np.int64(1), self.events)
        sends.partition = found.partition - self.first_partition[self.plan.topic]
        sends.unknown = np.broadcast_to(np.False_, self.events)
        handling = self.handling = HandlingTally.of_one_value(len(self.groups), self.events)
        once = (found.delivered_ns != NEVER).astype(np.int64)
        handling.delivered_ns, handling.effect_ns = found.delivered_ns, found.effect_ns
        handling.deliveries = once
        handling.effects = handling.tries = (found.effect_ns != NEVER).astype(np.int64)
        self.block.sends = _Sends(found)  # type: ignore[assignment]  # the columns that are asked for
        # A process hands a key's events over in order, to one partition, which one member handles in order.
        self.once("inverted pairs", lambda: np.zeros(len(self.pairs.event), np.bool_))

    @cached_property
    def logged(self) -> Records:
        """Every event is in its log once."""
        return Records(np.arange(self.events), self._found.partition, self._found.offset)

    @cached_property
    def records(self) -> Records:
        """The same."""
        return self.logged

    @cached_property
    def records_in_order(self) -> Records:
        """In a whole run offsets count from 0 in each partition, so each record has its place."""
        found = self._found
        if self.run.plan is not self.whole.plan:
            return super().records_in_order
        counts = np.bincount(found.partition, minlength=int(self.first_partition[-1]))
        event, first = np.zeros(self.events, np.int64), np.cumsum(counts) - counts
        event[first[found.partition] + found.offset] = np.arange(self.events)
        return Records(event, found.partition[event], found.offset[event])


class _Sends:
    """The sends of a quiet stretch as rows: one for each event, and each of them answered."""

    def __init__(self, found: Events) -> None:
        count = len(found.handed_ns)
        self._columns = {
            "event_id": np.arange(count),
            "started_ns": found.handed_ns,
            "ended_ns": found.acked_ns,
            "root_id": np.arange(count),
        }
        self.ok = np.ones(count, np.bool_)

    def __len__(self) -> int:
        return len(self.ok)

    def __getitem__(self, name: str) -> Ints:
        return self._columns[name]
