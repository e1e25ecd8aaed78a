"""Dependencies in the plain model: a station that many members call, with a rate, places and a line."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Phase
from plain_committing import Committing
from scenarios.faults import DependencyDown, DependencySlow
from sim.dependencies import interval_ns

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]
Answer = Generator[simpy.Event, Any, bool]


@dataclass(eq=False)
class Asked:
    """A call under way."""

    fails: bool
    answered: simpy.Event
    withdrawn: bool = False


class Service:
    """A dependency: how many calls it lets through and works on, and who waits."""

    def __init__(self, model: "Model", name: str, number: int) -> None:
        self.model, self.clock, self.name = model, model.clock, name
        self.what = model.plan.scenario.dependencies[name]
        self.tie = len(model.knowers) + number
        self.takes = model.draws.takes(name)
        self.begun = self.busy = 0
        self.line: deque[Asked] = deque()
        self.interval_ns = interval_ns(self.what.rate)
        self.level_ns, self.filled_ns = self.what.burst * self.interval_ns * model.rules.full_bucket, 0
        """What its bucket holds, in the time that it took to come there; a call takes out an interval."""
        self.faults = [p for p in model.plan.faults if getattr(p.fault, "dependency", None) == name]

    def ask(self, fails: bool) -> Asked | None:
        """Take a call, or refuse it."""
        if self._is_down():
            self.model.fired["dependency down"] += 1
            return None
        if (
            self.what.over == "refuse"
            and self.model.rules.refused_beyond
            and not (self._has_place() and self._missing_ns() <= 0)
        ):
            self.model.fired["call refused"] += 1
            return None
        asked = Asked(fails, simpy.Event(self.clock))
        self.line.append(asked)
        self._admit()
        self.model.fired["call in line"] += asked in self.line
        return asked

    def withdraw(self, asked: Asked) -> None:
        """Forget a call that nobody waits for; where it is worked on it keeps its place until its end."""
        asked.withdrawn = True
        if asked in self.line and self.model.rules.given_up_leave_the_line:
            self.line.remove(asked)

    def _is_down(self) -> bool:
        downs = [p for p in self.faults if isinstance(p.fault, DependencyDown)]
        return self.model.rules.dependency_down and any(p.begin_ns <= self.clock.now < p.end_ns for p in downs)

    def _has_place(self) -> bool:
        places = self.what.concurrency
        return places is None or self.busy < places or not self.model.rules.dependency_places

    def _missing_ns(self) -> int:
        """Return how long it takes until the bucket holds what a call needs."""
        if not self.model.rules.dependency_rate:
            return 0
        came_ns = self.clock.now - self.filled_ns
        self.level_ns = min(self.what.burst * self.interval_ns, self.level_ns + came_ns)
        self.filled_ns = self.clock.now
        return self.interval_ns - self.level_ns

    def _admit(self) -> None:
        """Begin the calls in line for which there are places and tokens."""
        while self.line and self._has_place():
            if (missing_ns := self._missing_ns()) > 0:
                self.model.fired["call waits for its token"] += 1
                self.clock.process(self._look(self.clock.now + missing_ns))
                return
            self.level_ns -= self.interval_ns
            self.busy += 1
            self.clock.process(self._serve(self.line.popleft(), self._takes_ns()))

    def _takes_ns(self) -> int:
        takes_ns, self.begun = self.takes[self.begun], self.begun + 1
        for planned in self.faults:
            fault = planned.fault
            is_now = planned.begin_ns <= self.clock.now < planned.end_ns and self.model.rules.dependency_slow
            if isinstance(fault, DependencySlow) and is_now:
                self.model.fired["dependency slow"] += 1
                takes_ns = round(takes_ns * fault.factor) + fault.plus
        return takes_ns

    def _look(self, at_ns: int) -> Process:
        yield self.clock.at(at_ns, Phase.service, self.tie)
        self._admit()

    def _serve(self, asked: Asked, takes_ns: int) -> Process:
        yield self.clock.at(self.clock.now + takes_ns, Phase.end)
        self.busy -= 1
        if not asked.withdrawn:
            asked.answered.succeed()
        yield self.clock.at(self.clock.now, Phase.service, self.tie)
        self._admit()


class Calling(Committing):
    """Calls dependencies after the work of a try."""

    def _call_all(self, event: int, attempt: int, worker: int, begins_ns: int) -> Answer:
        """Call each dependency in turn; tell whether all went well."""
        model, clock = self.model, self.clock
        for index, call in enumerate(self.group.calls):
            breaker = self.breakers[index]
            while True:
                yield clock.at(begins_ns, Phase.work, self.code, worker + 1)
                yield from self._hang(Phase.work, worker + 1)
                begins_ns = breaker.lets_through_ns()
                if clock.now >= begins_ns or not model.rules.breaker:
                    break
                assert call.breaker is not None
                model.fired[f"breaker open, {call.breaker.while_open}"] += 1
                if call.breaker.while_open == "fail" and model.rules.open_breakers_fail:
                    return False
            share = model.plan.scenario.dependencies[call.dependency].fails
            fails = model.draws.call_fails(index, call.dependency, event, attempt) < share * model.rules.call_chance
            service = model.services[call.dependency]
            asked = service.ask(fails)
            ok = asked is not None and (yield from self._wait_for_answer(service, asked, call.timeout, worker))
            model.fired["breaker opened"] += breaker.ended(ok, clock.now)
            if not ok:
                return False
            begins_ns = clock.now
        return True

    def _wait_for_answer(self, service: Service, asked: Asked, timeout_ns: int | None, worker: int) -> Answer:
        """Wait for an answer as long as one has patience."""
        clock = self.clock
        gives_up = simpy.Event(clock)
        if timeout_ns is not None and self.model.rules.call_timeout:
            gives_up = clock.at(clock.now + timeout_ns, Phase.timeout, self.code, worker)
        yield asked.answered | gives_up
        while not asked.answered.triggered:
            until_ns = max(self.paused_ns, self.stalled_ns)
            if until_ns <= clock.now:
                self.model.fired["call given up"] += 1
                service.withdraw(asked)
                return False
            self.model.fired["hung"] += 1
            yield asked.answered | clock.at(until_ns, Phase.timeout, self.code, worker)
        yield clock.at(clock.now, Phase.end, self.code, worker)
        yield from self._hang(Phase.end, worker)
        self.model.fired["call failed"] += asked.fails
        return not asked.fails
