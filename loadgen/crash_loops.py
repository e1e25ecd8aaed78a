"""Members that die of events which they cannot handle (`then: crash`), and are started again as an orchestrator does it: later each time."""

from collections.abc import Callable

from loadgen.crew import Crew
from loadgen.run_clock import RunClock
from rundata.tables import Incident

CAUSE = "then: crash"


class CrashLoops:
    """Who has died so far of which group's policy, and when each is due again."""

    def __init__(self, crew: Crew, clock: RunClock, next_poll_id: Callable[[str], int]) -> None:
        self.incidents: list[Incident] = []
        self._crew = crew
        self._clock = clock
        self._next_poll_id = next_poll_id
        self._taken = 0
        """So many of the crashes that the crew has heard of have been taken in."""
        self._in_a_row: dict[str, int] = {}
        self._started_ns: dict[str, int] = {}
        self._due: list[tuple[int, str]] = []

    def look(self) -> None:
        """Take in who has died, and start again who is due."""
        self._crew.hear()
        for at, name in self._crew.crashed[self._taken :]:
            self._died(name, at - self._clock.start_ns)
        self._taken = len(self._crew.crashed)
        due = [each for each in self._due if each[0] <= self._clock.now_ns()]
        for each in due:
            self._due.remove(each)
            self._start_again(each[1])

    def come_back(self) -> set[str]:
        """Return the members that are waiting to be started again."""
        return {name for _, name in self._due}

    def _died(self, name: str, at_ns: int) -> None:
        failures = self._crew.plan.scenario.groups[name.rpartition("/")[0]].failures
        assert failures is not None
        recovered = at_ns - self._started_ns.get(name, 0) >= 2 * failures.restart.most
        self._in_a_row[name] = 1 if recovered else self._in_a_row.get(name, 0) + 1
        self._due.append((at_ns + failures.restart.wait_ns(self._in_a_row[name]), name))
        self.incidents.append(Incident(at_ns, "crash", name, "", CAUSE))

    def _start_again(self, name: str) -> None:
        if self._crew.members[name].running:
            return  # a fault, or somebody's action, has brought it back meanwhile
        self._crew.replace_member(name, self._next_poll_id(name))
        self._started_ns[name] = self._clock.now_ns()
        where = f"process {self._crew.members[name].pid}"
        self.incidents.append(Incident(self._started_ns[name], "restart", name, where, CAUSE))
