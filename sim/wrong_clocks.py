"""Clocks that are wrong: which timestamps records get from their producers, and how old a broker takes its records for."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from scenarios.faults import ClockSkew
from scenarios.quantities import SECOND
from sim.clock import Control
from sim.world import L_REQUEST, L_TIME, LOG_LEN, R_SENDER, Ints

if TYPE_CHECKING:
    from sim.system import System

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Skew:
    """A stretch in which a producer's processes give records wrong timestamps."""

    codes: Sequence[int]
    begin_ns: int
    end_ns: int
    by_ns: int

    def meets(self, senders: Ints, handed_ns: Ints) -> Any:
        """Return which records were handed over by these processes in this stretch."""
        return np.isin(senders, self.codes) & (handed_ns >= self.begin_ns) & (handed_ns < self.end_ns)


class WrongClocks:
    """The faults `clock_skew` of a system: timestamps are all that clients use that clock for, ages of records what brokers do."""

    def __init__(self, system: "System") -> None:
        self.system = system
        self._of_producers: list[Skew] = []
        self._of_brokers: dict[int, dict[int, int]] = {}
        """By broker: by how much each fault that lasts sets its clock."""

    def begin(self, index: int, fault: ClockSkew) -> None:
        """Let a producer's clock, or a broker's, be wrong for a while."""
        if fault.producer is None:
            self.system.clock.process(self._of_broker(index, fault))
            return
        planned, target = self.system.plan.faults[index], fault.producer
        count = self.system.plan.scenario.producers[target.producer].count
        numbers = [target.process] if target.process else range(1, count + 1)
        codes = [self.system.names.processes.index(f"{target.producer}/{number}") for number in numbers]
        skew = Skew(codes, planned.begin_ns, planned.end_ns, fault.by)
        self._of_producers.append(skew)
        self.system.targets[index] = str(target)
        self.system.clock.process(self._prove(index, skew))

    def times_of(self, records: Ints) -> Ints:
        """Return the timestamps of rows of a log: when they were handed over, by their senders' clocks; the first of several faults counts."""
        times = records[:, L_TIME].copy()
        if self._of_producers:
            senders = self.system.world.request[records[:, L_REQUEST], R_SENDER]
            for skew in reversed(self._of_producers):
                wrong = skew.meets(senders, records[:, L_TIME])
                times[wrong] = records[wrong, L_TIME] + skew.by_ns
        return times

    def now_of(self, broker: int) -> int:
        """Return what time it is by a broker's clock."""
        return self.system.clock.now + sum(self._of_brokers.get(broker, {}).values())

    def _prove(self, index: int, skew: Skew) -> Process:
        yield self.system.clock.control(skew.end_ns, Control.end, index)
        world, count = self.system.world, 0
        for partition in self.system.partitions:
            if partition.is_users:
                records = world.log[partition.number, : int(world.part[partition.number, LOG_LEN])]
                senders = world.request[records[:, L_REQUEST], R_SENDER]
                count += int(np.count_nonzero(skew.meets(senders, records[:, L_TIME])))
        self.system.prove(index, f"timestamps of {count} records were off by {skew.by_ns / SECOND:+g} s")

    def _of_broker(self, index: int, fault: ClockSkew) -> Process:
        assert fault.broker is not None
        planned = self.system.plan.faults[index]
        yield self.system.clock.control(planned.begin_ns, Control.begin, index)
        broker = self.system.resolve(fault.broker)
        if broker is None:
            self.system.prove(index, "no effect: nobody led it")
            return
        self.system.targets[index] = f"broker {broker}"
        self._of_brokers.setdefault(broker, {})[index] = fault.by
        self.system.prove(index, f"broker {broker}'s clock was off by {fault.by / SECOND:+g} s")
        yield self.system.clock.control(planned.end_ns, Control.end, index)
        del self._of_brokers[broker][index]
