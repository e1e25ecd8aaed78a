"""Virtual time for what changes the system: SimPy with a declared order of what happens at one instant, and signals."""

from enum import IntEnum

import simpy
from simpy.events import EventPriority

from sim.world import CONTROL


class Control(IntEnum):
    """The order of control within one instant (docs/model.md, "One instant")."""

    begin = 0
    end = 1
    election = 2
    in_sync = 3
    expiry = 4
    rebalance = 5
    eviction = 6
    leader_check = 7
    retention = 8
    transactions = 9
    cleaning = 10


def key_of(phase: int, tie: int = 0, second: int = 0) -> int:
    """Return the priority of something at one instant; the kernel's heap orders by the same number."""
    return phase << 48 | tie << 24 | second


class Clock(simpy.Environment):
    """An environment whose events carry a phase and a tie-break; what SimPy triggers itself runs at once."""

    now: int

    def at(self, time_ns: int, phase: int, tie: int = 0, second: int = 0) -> simpy.Event:
        """Return an event at an instant (now, if that is over) and phase."""
        event = simpy.Event(self)
        event._ok, event._value = True, None
        # `timeout` takes no priority, so the event is put on the queue directly.
        self.schedule(event, EventPriority(key_of(phase, tie, second)), max(0, time_ns - self.now))
        return event

    def control(self, time_ns: int, kind: Control, number: int = 0) -> simpy.Event:
        """Return an event of control."""
        return self.at(time_ns, CONTROL, kind, number)

    def next_key(self) -> int:
        """Return the priority of the next event."""
        return int(self._queue[0][1])


class Signal:
    """Something that processes wait for, again and again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = simpy.Event(clock)

    def wait(self) -> simpy.Event:
        """Return the event of the next time that it is given."""
        return self._event

    def give(self) -> None:
        """Resume everyone who waits."""
        given, self._event = self._event, simpy.Event(self._clock)
        given.succeed()
