"""Groups that follow their lag: an autoscaler that looks every so often, as KEDA's Kafka scaler has it, as SimPy processes."""

import itertools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from scenarios.around import Autoscaler
from sim.clock import Control
from sim.draws import FIRST_SCALER
from sim.world import VISIBLE_END

if TYPE_CHECKING:
    from sim.groups import Group
    from sim.members import Member
    from sim.system import System

Process = Generator[simpy.Event, Any, None]


class Scaler:
    """One group's autoscaler: starts members at once when lag asks for more, ends them when it has asked for fewer for a while."""

    def __init__(self, system: "System", group: "Group", what: Autoscaler) -> None:
        self.system, self.group, self.what, self.clock = system, group, what, system.clock
        self.number = FIRST_SCALER + group.code
        self.recommended: list[tuple[int, int]] = []
        """When it looked, and how many members the lag asked for."""
        system.clock.process(self._look())

    def _look(self) -> Process:
        for look in itertools.count(1):
            yield self.clock.control(look * self.what.poll, Control.leader_check, self.number)
            lag = self._lag()
            readable = sum(bool(self.system.partitions[partition].replicas) for partition in self.group.partitions)
            wanted = self.what.wanted(lag, readable)
            self.recommended.append((self.clock.now, wanted))
            there = [m for m in self.group.members if (m.alive and not m.must_leave) or m.is_awaited]
            most = max(number for at_ns, number in self.recommended if at_ns > self.clock.now - self.what.cooldown)
            if wanted > len(there):
                absent = [member for member in self.group.members if member not in there]
                self._tell(len(there), wanted, lag)
                for member in absent[: wanted - len(there)]:
                    member.is_awaited = True
                    self.clock.process(self._start(member))
            elif most < len(there):
                self._tell(len(there), most, lag)
                for member in [member for member in there if member.alive][most:]:
                    self.group.ask_to_leave(member, self.number)

    def _lag(self) -> int:
        """Return what the group has not committed, as exporters show it."""
        world = self.system.world
        committed = world.committed[self.group.code]
        return sum(max(0, int(world.part[p, VISIBLE_END]) - int(committed[p])) for p in self.group.partitions)

    def _start(self, member: "Member") -> Process:
        """Let a member join once it has started up; one that was still on its way out does when it has left."""
        yield self.clock.control(self.clock.now + self.what.start_up, Control.leader_check, self.number)
        while member.alive:
            yield self.group.changed.wait()
        yield self.clock.control(self.clock.now, Control.leader_check, self.number)
        member.is_awaited = False
        if not member.stopped:
            self.group.bring_in(member, "autoscaler")

    def _tell(self, before: int, after: int, lag: int) -> None:
        self.system.incident("scale", self.group.name, f"{before} to {after} members", f"autoscaler: lag {lag}")
