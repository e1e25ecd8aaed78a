"""Groups that follow their lag, live: an autoscaler that looks every so often, as KEDA's Kafka scaler does, and starts or ends members.

Brokers are asked in a thread of its own, since they may take their time; members are started and ended by the driver's loop.
"""

import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from loadgen.admin import AdminError
from loadgen.children import ChildError
from loadgen.offsets import BrokersLag
from rundata.tables import Incident
from scenarios.around import Autoscaler
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from loadgen.admin import Admin
    from loadgen.crew import Crew
    from loadgen.run_clock import RunClock
    from scenarios.schema import Scenario

_WITHIN_S = 5.0
"""A look that takes longer tells nothing, and the next one comes in its turn."""


class Looks:
    """A group's lag as the brokers tell it, at each multiple of `poll` from time 0 on: what lies beyond its committed offsets."""

    def __init__(self, admin: "Admin", scenario: "Scenario", group: str, clock: "RunClock") -> None:
        self._admin = admin
        self._scenario = scenario
        self._group = group
        self._clock = clock
        self._ended = threading.Event()
        self._found: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._look, name=f"autoscaler {group}", daemon=True)
        self._thread.start()

    def new(self) -> list[tuple[int, int]]:
        """Return lag and number of partitions of each look since the last call; raise ChildError where nobody looks any more."""
        if not (self._thread.is_alive() or self._ended.is_set()):
            raise ChildError(
                f"nobody looks at the lag of {self._group} any more: its thread has ended, and says why on standard error"
            )
        return [self._found.get() for _ in range(self._found.qsize())]

    def _look(self) -> None:
        what = self._scenario.groups[self._group].autoscaler
        assert what is not None
        lag = BrokersLag(self._admin, self._scenario, self._group)
        try:
            due_ns = what.poll
            while not self._ended.wait(max(0, due_ns - self._clock.now_ns()) / SECOND):
                with suppress(AdminError):  # nobody knows: members stay as they are
                    self._found.put(lag.read(_WITHIN_S))
                due_ns += what.poll * (1 + max(0, self._clock.now_ns() - due_ns) // what.poll)
        finally:
            lag.close()

    def end(self) -> None:
        """Look no more; a look that is under way comes to its end."""
        self._ended.set()

    def wait(self) -> None:
        """Wait for that end, but not for brokers that are away."""
        self._thread.join(2 * _WITHIN_S)


class Scaler:
    """Starts members of a group at once when lag asks for more, ends them when it has asked for fewer for a while."""

    def __init__(
        self,
        group: str,
        what: Autoscaler,
        crew: "Crew",
        next_poll_id: Callable[[str], int],
        come_back: Callable[[], set[str]],
    ) -> None:
        """Take the group and its crew; `come_back` tells who is gone and will be started again by others."""
        self._group, self._what, self._crew = group, what, crew
        self._next_poll_id = next_poll_id
        self._come_back = come_back
        self._wanted: list[tuple[int, int]] = []
        """When was looked, and how many members the lag asked for."""
        self._joining: dict[str, int] = {}
        """By member that is about to join: when."""
        self.incidents: list[Incident] = []

    def look(self, lag: int, partitions: int, now_ns: int) -> None:
        """Have as many members as a lag asks for."""
        wanted = self._what.wanted(lag, partitions)
        self._wanted = [each for each in self._wanted if each[0] > now_ns - self._what.cooldown] + [(now_ns, wanted)]
        most = max(number for _, number in self._wanted)
        up = self._up()
        there = {*up, *self._joining, *self._own(self._come_back())}
        if wanted > len(there):
            self._tell(now_ns, len(there), wanted, lag)
            absent = [name for name in self._names() if name not in there]
            for name in absent[: wanted - len(there)]:
                self._joining[name] = now_ns + self._what.start_up
        elif most < len(there):
            self._tell(now_ns, len(there), most, lag)
            for name in up[most:]:
                self._crew.end_member(name, signal.SIGTERM)

    def advance(self, now_ns: int) -> None:
        """Start the members that have started up; one that is still on its way out when it has left, and none that somebody else has brought."""
        for name, due_ns in list(self._joining.items()):
            known = self._crew.members.get(name)
            runs = known is not None and known.running
            if due_ns > now_ns or (known is not None and runs and known.expected_to_end):
                continue
            del self._joining[name]
            if runs or name in self._crew.ended_by_policy:
                continue
            if known is None:
                self._crew.start_member(name, self._next_poll_id(name))
            else:
                self._crew.replace_member(name, self._next_poll_id(name))

    def _names(self) -> list[str]:
        return [f"{self._group}/{number}" for number in range(1, self._what.max + 1)]

    def _own(self, names: set[str]) -> set[str]:
        return {name for name in names if name.rpartition("/")[0] == self._group}

    def _up(self) -> list[str]:
        """Return the members that are up and not on their way out, in order."""
        members = self._crew.members
        return [
            name
            for name in self._names()
            if name in members and members[name].running and not members[name].expected_to_end
        ]

    def _tell(self, now_ns: int, before: int, after: int, lag: int) -> None:
        words = f"{before} to {after} members"
        self.incidents.append(Incident(now_ns, "scale", self._group, words, f"autoscaler: lag {lag}"))


class Autoscalers:
    """The autoscalers of one run."""

    def __init__(
        self,
        scenario: "Scenario",
        admin: "Admin",
        crew: "Crew",
        clock: "RunClock",
        next_poll_id: Callable[[str], int],
        come_back: Callable[[], set[str]],
    ) -> None:
        self._clock = clock
        self._scalers = [
            (Looks(admin, scenario, name, clock), Scaler(name, group.autoscaler, crew, next_poll_id, come_back))
            for name, group in scenario.groups.items()
            if group.autoscaler is not None
        ]

    def advance(self) -> None:
        """Act on what was seen, and start who is due."""
        for looks, scaler in self._scalers:
            for lag, partitions in looks.new():
                scaler.look(lag, partitions, self._clock.now_ns())
            scaler.advance(self._clock.now_ns())

    @property
    def incidents(self) -> list[Incident]:
        """What they have done."""
        return [incident for _, scaler in self._scalers for incident in scaler.incidents]

    def end(self) -> None:
        """Look no more; members stay as they are."""
        for looks, _ in self._scalers:
            looks.end()

    def close(self) -> None:
        """Wait for the last looks, which brokers that are away may hold up."""
        self.end()
        for looks, _ in self._scalers:
            looks.wait()
