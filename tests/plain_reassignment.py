"""Replicas of the plain model that move: new ones copy the log, and when they are in sync those that are not wanted any more are dropped."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_brokers import Partition
from plain_clock import Control, Signal
from scenarios.faults import Reassign

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]
AFTER_OTHERS = 2**20
"""Whether a reassignment may end is looked at when everybody is in sync who comes into sync at that instant."""


class Reassignments:
    """The faults `reassign` of a model."""

    def __init__(self, model: "Model") -> None:
        self.model, self.clock, self.draws = model, model.clock, model.draws
        self.news = Signal(model.clock)
        """Given whenever a partition's replicas in sync, or its leader, may have changed."""

    def reassign(self, index: int, fault: Reassign) -> Process:
        """Give a partition other replicas, and drop the old ones when the new ones have copied it."""
        model, controller = self.model, self.model.controller
        partition = model.partitions[fault.partition.topic][fault.partition.partition]
        yield from controller.at(model.plan.faults[index].begin_ns, Control.begin, index)
        model.fired["reassignment replaced"] += partition.reassigned_by is not None
        partition.reassigned_by = index
        wanted, before = list(fault.to), partition.replicas
        new = [broker for broker in wanted if broker not in before]
        partition.adding = {broker for broker in wanted if broker in new or broker in partition.adding}
        partition.replicas = wanted + sorted(broker for broker in before if broker not in wanted)
        partition.copying.update(dict.fromkeys(new, index))
        partition.kept.update(dict.fromkeys(new, 0))
        if new:
            self.clock.process(self._copy(partition, new, index))
        while partition.reassigned_by == index and not self._may_end(partition, wanted):
            model.fired["reassignment waits"] += 1
            yield self.news.wait() | controller.news.wait()
            yield self.clock.control(self.clock.now, Control.in_sync, AFTER_OTHERS + index)
        if partition.reassigned_by == index and model.rules.old_replicas_leave:
            self._end(partition, wanted, index)

    def _copy(self, partition: Partition, brokers: list[int], index: int) -> Process:
        """Let new replicas have the log after a while; they are in sync then, or when they can fetch."""
        takes_ns = self.draws.catch_up_ns(index) if self.model.rules.new_replicas_copy else 0
        yield from self.model.controller.at(self.clock.now + takes_ns, Control.in_sync, index)
        while partition.leader is None:
            yield self.news.wait()
            yield self.clock.control(self.clock.now, Control.in_sync, AFTER_OTHERS + index)
        for broker in brokers:
            if partition.copying.get(broker) == index:
                del partition.copying[broker]
        self.model.comes_back(-1, partition, index)
        self.model.news.give()

    def _may_end(self, partition: Partition, wanted: list[int]) -> bool:
        """Whether all that were added are in sync, and there is somebody to lead."""
        leader = partition.leader
        if leader is None or leader in self.model.silent or not self.model.controller.is_up():
            return False
        is_copied = partition.adding <= set(partition.in_sync)
        return is_copied and (leader in wanted or self._heir(partition, wanted) is not None)

    def _heir(self, partition: Partition, wanted: list[int]) -> int | None:
        idle = self.model.down | self.model.silent
        return next((broker for broker in wanted if broker in partition.in_sync and broker not in idle), None)

    def _end(self, partition: Partition, wanted: list[int], index: int) -> None:
        """Drop whoever is not wanted any more; a leader that is dropped gives the partition away."""
        model = self.model
        model.fired["reassigned"] += 1
        partition.reassigned_by, partition.adding, partition.replicas = None, set(), wanted
        partition.in_sync = [broker for broker in wanted if broker in partition.in_sync]
        partition.eligible &= set(wanted)
        partition.kept = {broker: end for broker, end in partition.kept.items() if broker in wanted}
        if partition.leader in wanted:
            partition.replicas_changed()
            return
        heir = self._heir(partition, wanted)
        assert heir is not None
        model.fired["reassigned away from its leader"] += 1
        takes_ns = [self.draws.moved_back_ns(model.entity(code), index, back=False) for code in model.knowers]
        model.move(partition, heir, takes_ns)
