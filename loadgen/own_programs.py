"""The user's own programs in a run: they are waited for, watched while it goes on, and what they did is written down with the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen.admin import EMBEDDED
from loadgen.external import ExternalGroup, done_by_commits, wait_for_member
from loadgen.outside import Sizes, wait_for_records
from rundata.operations import arranged, joined
from rundata.outside import TwiceError, as_written
from rundata.rows import NONE
from rundata.tables import RunData
from scenarios.following import FIRST_FOLLOWING
from scenarios.outside import outside_topics
from scenarios.plan import Plan

if TYPE_CHECKING:
    from loadgen.admin import Admin

WITHIN_S = 60.0


class AbsentError(Exception):
    """A program that has not come to its topic or group; the message says how to start it."""


class OwnPrograms:
    """Those of one run; a scenario without any costs nothing."""

    def __init__(self, plan: Plan, admin: "Admin", folder: Path, run_id: int) -> None:
        self._plan = plan
        self._admin = admin
        self._folder = folder
        self._run_id = run_id
        self._groups: list[ExternalGroup] = []
        self.producers = outside_topics(plan.scenario)
        """By topic."""
        self.sizes = Sizes(plan)
        """Of what they wrote, as the audit finds it."""

    # ---- while the run goes on

    def wait(self, say: Callable[[str], None]) -> None:
        """Begin to watch the groups, and wait until each has a member and each producer has written something."""
        at = f"bootstrap.servers {self._admin.cluster.bootstrap}"
        for name, group in self._plan.scenario.groups.items():
            if group.external:
                self._groups.append(ExternalGroup(self._plan, self._admin, name, self._folder, self._run_id))
                say(f"waiting for a member of {name}, which is your own program ({at})")
                known = self._admin.cluster.implementation != EMBEDDED
                if known and not wait_for_member(self._admin, name, WITHIN_S):
                    raise AbsentError(self._absent(f"nobody joined group {name}", at))
        for topic, name in self.producers.items():
            say(f"waiting for a record of {name}, which is your own program, in {topic} ({at})")
        if (silent := wait_for_records(self._admin, self._plan, WITHIN_S)) is not None:
            raise AbsentError(self._absent(f"nobody wrote to topic {silent}", at))

    @staticmethod
    def _absent(what: str, at: str) -> str:
        return f"{what} within {WITHIN_S:.0f} s; start your program with {at} before the run, or leave `external` out"

    def begin(self, start_unix_ns: int) -> None:
        """Tell when time 0 is."""
        for group in self._groups:
            group.begin(start_unix_ns)

    def watch(self, now_ns: int) -> None:
        """Take in what the groups have committed and done since the last look."""
        for group in self._groups:
            group.watch(now_ns)

    def close(self) -> None:
        """Let go of what is read and written."""
        for group in self._groups:
            group.close()

    # ---- afterwards

    def written_down(self, operations: Any, log: Any) -> tuple[Plan, Any, Any, str]:
        """Return plan, operations and log with what the programs did in place of what was declared; and why it cannot be had, if so."""
        plan, wrong = self._plan, ""
        if not self._groups and not self.producers:
            return plan, operations, log, wrong  # of a long run they are too large to be copied for nothing
        try:
            run = as_written(RunData(plan, "driven", operations, log), self.sizes.by_place)
            plan, operations, log = run.plan, run.operations, run.log
        except TwiceError as error:
            wrong, log = str(error), log.copy()
            log["event_id"][log["event_id"] >= FIRST_FOLLOWING] = NONE
            operations = operations[operations["event_id"] < FIRST_FOLLOWING]
        # Deliveries are numbered anew, by the ids that events have now.
        return plan, arranged(joined([operations, done_by_commits(plan, operations, log)])), log, wrong
