"""The active controller: without one nobody is fenced or elected, and nothing of the metadata changes; a new one begins all sessions anew."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from scenarios.clients import broker_setting
from scenarios.quantities import MILLISECOND
from sim.clock import Control, Signal

if TYPE_CHECKING:
    from sim.system import System

Process = Generator[simpy.Event, Any, None]
SEPARATE = 0
"""Stands for the controller that is a process of its own."""


class Controller:
    """Which voter is the active controller, and who waits for one."""

    def __init__(self, system: "System") -> None:
        self.system, self.clock, self.draws = system, system.clock, system.draws
        brokers = system.plan.scenario.brokers
        self.voters = [*range(1, brokers.nodes + 1)] if brokers.controllers == "combined" else [SEPARATE]
        self.active: int | None = self.draws.controller_among(0, self.voters)
        self.since_ns = -1
        """When the active one became that; before time 0 at first."""
        self.session_ns = int(broker_setting(system.plan.scenario, "broker.session.timeout.ms")) * MILLISECOND
        self.out: set[int] = set()
        """Voters that answer nothing."""
        self.elections = self.under_way = 0
        self.news = Signal(self.clock)

    @property
    def is_up(self) -> bool:
        """Whether there is an active controller that a majority follows."""
        return self.active is not None and self.active not in self.out and self._has_majority

    @property
    def _has_majority(self) -> bool:
        return 2 * (len(self.voters) - len(self.out)) > len(self.voters)

    def loses(self, voter: int, how: str) -> None:
        """Let a voter die, stop in good order, or hang: another one is elected if it was the active controller."""
        if voter not in self.voters:
            return
        was_up = self.is_up
        self.out.add(voter)
        if how != "hangs" and voter == self.active:
            self.active = None
        if was_up and not self.is_up:
            self._begin_election(how)
        if was_up and not self._has_majority:
            self.clock.process(self._resign())

    def hears(self, voter: int) -> None:
        """Let a voter answer again."""
        self.out.discard(voter)
        if self.is_up:
            self.news.give()
        elif voter in self.voters and not self.under_way:
            self._begin_election("stops")

    def _resign(self) -> Process:
        """Let an active controller give up when no majority has followed it for 1.5 fetch timeouts."""
        yield self.clock.control(self.clock.now + self.draws.controller_resigns_ns(), Control.election, 0)
        if not self._has_majority:
            self.active = None

    def _begin_election(self, how: str) -> None:
        self.elections += 1
        self.under_way += 1
        self.clock.process(self._elect(self.elections, how))

    def _elect(self, number: int, how: str) -> Process:
        """Elect another voter when the others have noticed, unless the active one is back by then or too few are left."""
        alone = self.voters == [SEPARATE]
        takes_ns = 0 if alone else self.draws.controller_vote_ns(number, orderly=how == "stops")
        yield self.clock.control(self.clock.now + takes_ns, Control.election, 0)
        self.under_way -= 1
        if self.is_up or not self._has_majority:
            return
        self.active = self.draws.controller_among(number, [voter for voter in self.voters if voter not in self.out])
        self.since_ns = self.clock.now
        self.system.incident("controller", f"broker {self.active}" if self.active else "controller")
        self.news.give()

    # ---- who waits for it --------------------------------------------------------------------------------------------

    def at(self, time_ns: int, kind: Control, number: int) -> Process:
        """Wait for an instant, and from then on for a controller."""
        yield self.clock.control(time_ns, kind, number)
        while not self.is_up:
            yield self.news.wait()
            yield self.clock.control(self.clock.now, kind, number)

    def fences(self, fault: int, since_ns: int, until_ns: int | None = None) -> Generator[simpy.Event, Any, int | None]:
        """Wait until a broker that is silent since an instant is fenced, and return when; None where it is heard of in time.

        A controller that was elected meanwhile waits for a whole session.
        """
        due_ns = self.draws.fence_ns(fault)
        while until_ns is None or due_ns < until_ns:
            yield self.clock.control(due_ns, Control.election, 0)
            if not self.is_up:
                over = [] if until_ns is None else [self.clock.control(until_ns, Control.end, fault)]
                yield simpy.AnyOf(self.clock, [self.news.wait(), *over])
                if until_ns is not None and self.clock.now >= until_ns:
                    return None
                due_ns = self.clock.now
            is_given = fault in self.draws.observed.fence_ns
            anew_ns = self.since_ns + self.session_ns if self.since_ns > since_ns and not is_given else 0
            if due_ns >= anew_ns and self.is_up:
                return due_ns
            due_ns = max(due_ns, anew_ns)
        return None
