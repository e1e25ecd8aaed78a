"""Virtual time for the plain model: SimPy with a declared order of what happens at one instant, and signals."""

from enum import IntEnum

import simpy
from simpy.events import EventPriority


class Phase(IntEnum):
    """What happens first at one instant: docs/model.md, "One instant"."""

    end = 1
    control = 2
    timeout = 3
    hand_over = 4
    batch = 5
    service = 6
    fetch = 7
    arrival = 8
    poll = 9
    work = 10


class Control(IntEnum):
    """The order of control within one instant."""

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


class Clock(simpy.Environment):
    """An environment whose events carry a phase and a tie-break; what SimPy triggers itself runs at once."""

    now: int

    def at(self, time_ns: int, phase: Phase, tie: int = 0, second_tie: int = 0) -> simpy.Event:
        """Return an event at an instant (now, if that is over) and phase."""
        event = simpy.Event(self)
        event._ok, event._value = True, None
        priority = phase << 48 | tie << 24 | second_tie
        self.schedule(event, EventPriority(priority), max(0, time_ns - self.now))
        return event

    def control(self, time_ns: int, kind: Control, number: int = 0) -> simpy.Event:
        """Return an event of control."""
        return self.at(time_ns, Phase.control, kind, number)

    def next_phase(self) -> int:
        """Return the phase of the next event."""
        return self._queue[0][1] >> 48


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
