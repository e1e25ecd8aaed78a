"""A plan in blocks, one after another in the order of time: as much memory as a block takes, however long the load lasts.

Every stream is drawn on where the block before left off, so the blocks hold what `make_plan` holds, whatever their size.
"""

from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np

from scenarios.arrivals import Ints, arrival_times
from scenarios.faults import Duplicates, Late, Oversized, Poison, SchemaChange
from scenarios.occurrences import PlannedFault, plan_faults
from scenarios.plan import (
    Columns,
    Numbering,
    Plan,
    columns_of,
    in_order_of_time,
    keys_and_sizes,
    make_plan,
    plan_of,
    surges_of,
)
from scenarios.schema import Scenario
from scenarios.streams import stream

BLOCK_EVENTS = 1 << 16


def comes_in_blocks(scenario: Scenario, faults: Sequence[PlannedFault]) -> bool:
    """Whether a block of a plan can be told without the blocks behind it.

    Faults that choose among the events of their interval look at all of those at once, and recordings lie in memory anyway.
    """
    chooses = any(isinstance(each.fault, Poison | Duplicates | Oversized | Late | SchemaChange) for each in faults)
    return not chooses and all(producer.recorded is None for producer in scenario.producers.values())


def plan_in_blocks(scenario: Scenario, seed: int, replication: int = 0, at_once: int = BLOCK_EVENTS) -> Iterator[Plan]:
    """Yield a scenario's plan in blocks of about so many events, at least one; as a whole where it does not come in blocks."""
    faults = plan_faults(scenario, seed, replication)
    if not comes_in_blocks(scenario, faults):
        yield make_plan(scenario, seed, replication)
        return
    draw = cache(partial(_of_group, seed, replication))
    senders = [_Sender(scenario, name, seed, replication, faults, at_once) for name in scenario.producers]
    while True:
        until_ns = min((sender.last_ns for sender in senders if not sender.is_done), default=None)
        parts = [sender.before(until_ns) for sender in senders]
        yield plan_of(scenario, seed, replication, faults, in_order_of_time(parts), draw)
        if until_ns is None:
            return
        for sender in senders:
            sender.go_on(until_ns)


def _of_group(seed: int, replication: int, group: str, purpose: str) -> np.random.Generator:
    return stream(seed, "group", group, purpose, replication=replication)


class _Sender:
    """What a producer sends: the events that are drawn and belong to no block yet."""

    def __init__(
        self,
        scenario: Scenario,
        name: str,
        seed: int,
        replication: int,
        faults: tuple[PlannedFault, ...],
        at_once: int,
    ) -> None:
        self._scenario, self._name, self._faults = scenario, name, faults
        self._producer = scenario.producers[name]
        self._draw = cache(partial(self._stream, seed, replication))
        self._numbering = Numbering()
        surges = surges_of(faults, name)
        self._times = arrival_times(self._producer, scenario.duration, surges, self._draw("arrivals"), at_once)
        self._waiting = self._columns(np.zeros(0, np.int64))
        self.is_done = False
        self._draw_on()

    def _stream(self, seed: int, replication: int, purpose: str) -> np.random.Generator:
        return stream(seed, "producer", self._name, purpose, replication=replication)

    @property
    def last_ns(self) -> int:
        """When the last event that is drawn is intended: every one before that instant is drawn."""
        return int(self._waiting["intended_ns"][-1])

    def go_on(self, until_ns: int) -> None:
        """Draw more if nothing is known beyond an instant; that may take several goes, since bursts come at one instant."""
        while not self.is_done and self.last_ns <= until_ns:
            self._draw_on()

    def _draw_on(self) -> None:
        """Draw at least one event more, or be done."""
        for times in self._times:
            if len(times):
                more = self._columns(times)
                self._waiting = {name: np.concatenate([self._waiting[name], more[name]]) for name in more}
                return
        self.is_done = True

    def _columns(self, intended: Ints) -> Columns:
        key, size = keys_and_sizes(self._producer, len(intended), self._draw, self._numbering)
        return columns_of(self._scenario, self._name, self._faults, intended, key, size, self._draw, self._numbering)

    def before(self, until_ns: int | None) -> Columns:
        """Take what is intended before an instant; everything if there is none."""
        times = self._waiting["intended_ns"]
        count = len(times) if until_ns is None else int(np.searchsorted(times, until_ns))
        taken = {name: column[:count] for name, column in self._waiting.items()}
        self._waiting = {name: column[count:] for name, column in self._waiting.items()}
        return taken
