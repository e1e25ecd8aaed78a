"""When the faults and actions of a live run begin and end: at the plan's instants, or later where somebody holds a fault back.

What the driver itself was too late for is said: a fault that never began makes a run incomplete, one that began late makes it say nothing.
"""

from bisect import insort
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from loadgen.gate import Gate, can_wait
from loadgen.lab import LOOK_AHEAD_NS
from scenarios.occurrences import PlannedAction, PlannedFault
from scenarios.plan import Plan
from scenarios.quantities import MILLISECOND, SECOND, format_duration

EXACT_NS = 250 * MILLISECOND
"""Nothing that may take long is begun so shortly before a fault."""
HELD_TICK_NS = 2 * EXACT_NS
"""So often the gate is asked again about a fault that it holds; what may take long is done in between."""
LATE_NS = SECOND
"""A fault that begins so much later than planned is another one than the prediction's."""


class Faults(Protocol):
    """What begins and ends faults, by their index into the plan's."""

    def look_up(self, index: int, planned: PlannedFault) -> None:
        """Find out just before a fault which broker it is about."""

    def begin(self, index: int, planned: PlannedFault) -> None:
        """Begin a fault."""

    def end(self, index: int) -> None:
        """End a fault."""


class People(Protocol):
    """What begins and ends actions, by their index into the plan's."""

    def begin(self, index: int, planned: PlannedAction) -> None:
        """Begin an action."""

    def end(self, index: int) -> None:
        """End an action."""


class Schedule:
    """What is to be done, in order of time."""

    def __init__(
        self,
        plan: Plan,
        lab: Faults,
        people: People,
        gate: Gate,
        now_ns: Callable[[], int],
        missed: Callable[[str], None],
    ) -> None:
        """Take what there is to do; `missed` is told of each fault that never began because the driver was held up."""
        self._plan = plan
        self._lab = lab
        self._gate = gate
        self._now_ns = now_ns
        self._missed = missed
        self._held: set[int] = set()
        """Faults that the gate held back, by index."""
        self._shift_ns = 0
        """How much later than planned faults come, because of those that were held."""
        self.late: list[str] = []
        """Faults that began late because the driver was held up, in words."""
        self._due: list[tuple[int, Callable[[], None]]] = []
        for index, planned in enumerate(plan.faults):
            self._due += [
                (planned.begin_ns - LOOK_AHEAD_NS, lambda i=index, p=planned: lab.look_up(i, p)),  # type: ignore[misc]  # a default's type
                (planned.begin_ns, lambda i=index, p=planned: self._begin(i, p)),  # type: ignore[misc]  # a default's type
                (planned.end_ns, lambda i=index: self._end_on_time(i)),  # type: ignore[misc]  # a default's type
            ]
        for index, act in enumerate(plan.actions):
            self._due.append((act.begin_ns, lambda i=index, p=act: people.begin(i, p)))  # type: ignore[misc]  # a default's type
            if not act.stays:
                self._due.append((act.end_ns, lambda i=index: people.end(i)))  # type: ignore[misc]  # a default's type
        self._due.sort(key=lambda action: action[0])

    @property
    def left(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._due)

    def next_ns(self, otherwise: int) -> int:
        """Return when something is to be done next."""
        return self._due[0][0] if self._due else otherwise

    def do_what_is_due(self) -> None:
        """Do all whose instant has come by now."""
        now_ns = self._now_ns()
        while self._due and self._due[0][0] <= now_ns:
            self._due.pop(0)[1]()

    def _begin(self, index: int, planned: PlannedFault) -> None:
        """Begin a fault, or ask again a moment later where the gate holds it; what was held shifts its end, and every fault after it."""
        now_ns = self._now_ns()
        due_ns = planned.begin_ns + self._shift_ns
        if not can_wait(planned.fault):  # processes follow it by the clock, whatever the driver does
            self._lab.begin(index, planned)
        elif now_ns >= self._plan.scenario.duration:
            self._never_began(index, planned, due_ns, now_ns)
        elif now_ns < due_ns or not self._gate.may_begin(planned.label):
            self._held.add(index)
            self._do_at(max(due_ns, now_ns + HELD_TICK_NS), lambda: self._begin(index, planned))
        elif index in self._held:
            self._shift_ns += now_ns - due_ns
            self._lab.look_up(index, planned)  # roles may have moved meanwhile
            later = replace(planned, begin_ns=now_ns, end_ns=planned.end_ns - planned.begin_ns + now_ns)
            self._lab.begin(index, later)
            self._do_at(later.end_ns, lambda: self._lab.end(index))
        else:
            if now_ns - due_ns > LATE_NS:
                self.late.append(f"{planned.label} began {format_duration(now_ns - due_ns)} late: {_HELD_UP}")
            self._lab.begin(index, planned)

    def _never_began(self, index: int, planned: PlannedFault, due_ns: int, now_ns: int) -> None:
        if index in self._held or due_ns >= self._plan.scenario.duration:
            self._gate.missed(planned.label)
        else:
            words = f"{planned.label} never began: it was due at {due_ns / SECOND:.3f} s, and at {now_ns / SECOND:.3f} s the load was over"
            self._missed(f"{words}; {_HELD_UP}")

    def _end_on_time(self, index: int) -> None:
        if index not in self._held:  # that has an end of its own
            self._lab.end(index)

    def _do_at(self, at_ns: int, do: Callable[[], None]) -> None:
        insort(self._due, (at_ns, do), key=lambda action: action[0])


_HELD_UP = "something held the driver up, or its whole machine"
