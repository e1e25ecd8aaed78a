"""Replicas that move: new ones copy the log, and when they are in sync the controller drops those that are not wanted any more."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from scenarios.faults import Reassign
from sim.clock import Control, Signal
from sim.world import LEADER, NONE, SILENT

if TYPE_CHECKING:
    from sim.replicas import Replicas
    from sim.system import System

Process = Generator[simpy.Event, Any, None]
AFTER_OTHERS = 2**20
"""Whether a reassignment may end is looked at when everybody is in sync who comes into sync at that instant."""


class Reassignments:
    """The faults `reassign` of a system."""

    def __init__(self, system: "System") -> None:
        self.system, self.clock, self.draws = system, system.clock, system.draws
        self.under_way = 0
        self.news = Signal(system.clock)
        """Given whenever a partition's replicas in sync, or its leader, may have changed, while a reassignment is under way."""

    def begin(self, index: int, fault: Reassign) -> None:
        """Begin a fault at its time."""
        self.system.targets[index] = str(fault.partition)
        self.clock.process(self._reassign(index, fault))

    def notes(self) -> None:
        """Note that replicas in sync or a leader may have changed."""
        if self.under_way:
            self.news.give()

    def _reassign(self, index: int, fault: Reassign) -> Process:
        """Give a partition other replicas, and drop the old ones when the new ones have copied it."""
        system, controller = self.system, self.system.controller
        partition = system.partitions[system.places[str(fault.partition)]]
        yield from controller.at(system.plan.faults[index].begin_ns, Control.begin, index)
        wanted, before = list(fault.to), partition.replicas
        words = f"from {_nodes(before)} to {_nodes(wanted)}"
        system.proofs[index] = f"{words}, not copied by the end"
        self.under_way += 1
        partition.reassigned_by = index
        new = [broker for broker in wanted if broker not in before]
        partition.adding = {broker for broker in wanted if broker in new or broker in partition.adding}
        partition.replicas = wanted + sorted(broker for broker in before if broker not in wanted)
        partition.copying.update(dict.fromkeys(new, index))
        system.log_ends.begins_empty(partition, new)
        if new:
            self.clock.process(self._copy(partition, new, index))
        while partition.reassigned_by == index and not self._may_end(partition, wanted):
            yield self.news.wait() | controller.news.wait()
            yield self.clock.control(self.clock.now, Control.in_sync, AFTER_OTHERS + index)
        if partition.reassigned_by == index:
            system.proofs[index] = f"{words}, copied and in sync at {self.clock.now / 1e9:.3f} s"
            self._end(partition, wanted, index)
        else:
            system.proofs[index] = f"{words}, replaced by another one before it was done"
        self.under_way -= 1

    def _copy(self, partition: "Replicas", brokers: list[int], index: int) -> Process:
        """Let new replicas have the log after a while; they are in sync then, or when they can fetch."""
        self.under_way += 1
        takes_ns = self.draws.catch_up_ns(index)
        yield from self.system.controller.at(self.clock.now + takes_ns, Control.in_sync, index)
        while self._leader_of(partition) == NONE:
            yield self.news.wait()
            yield self.clock.control(self.clock.now, Control.in_sync, AFTER_OTHERS + index)
        self.under_way -= 1
        for broker in brokers:
            if partition.copying.get(broker) == index:
                del partition.copying[broker]
        self.system.comes_back(NONE, partition, index)

    def _leader_of(self, partition: "Replicas") -> int:
        return int(self.system.world.part[partition.number, LEADER])

    def _may_end(self, partition: "Replicas", wanted: list[int]) -> bool:
        """Whether all that were added are in sync, and there is somebody to lead."""
        leader = self._leader_of(partition)
        if leader == NONE or self.system.world.broker[leader, SILENT] or not self.system.controller.is_up:
            return False
        is_copied = partition.adding <= set(partition.in_sync)
        return is_copied and (leader in wanted or self._heir(partition, wanted) is not None)

    def _heir(self, partition: "Replicas", wanted: list[int]) -> int | None:
        """Return who leads in place of a replica that is dropped: the first one in sync that answers."""
        hangs, down = self.system.world.broker[:, SILENT], self.system.down
        able = (broker for broker in wanted if broker in partition.in_sync and broker not in down and not hangs[broker])
        return next(able, None)

    def _end(self, partition: "Replicas", wanted: list[int], index: int) -> None:
        """Drop whoever is not wanted any more; a leader that is dropped gives the partition away."""
        system, label = self.system, self.system.label(index)
        partition.reassigned_by, partition.adding, partition.replicas = NONE, set(), wanted
        partition.in_sync = [broker for broker in wanted if broker in partition.in_sync]
        partition.eligible &= set(wanted)
        system.log_ends.drops(partition)
        if partition.is_users:
            system.incident("isr", partition.name, _nodes(partition.in_sync), label)
        if self._leader_of(partition) in wanted:
            system.replicas_changed(partition)
            return
        heir = self._heir(partition, wanted)
        assert heir is not None
        takes_ns = [self.draws.moved_back_ns(entity, index, back=False) for entity in system.knowers]
        system.move(partition, heir, label, takes_ns)


def _nodes(brokers: list[int]) -> str:
    return ",".join(map(str, brokers))
