"""What people do about a fault, live: scale, deploy with a canary, reset offsets, redrive dead letters, replay what lies in the log.

Each action is a script that yields while something has to come true; the driver's loop takes its steps between everything else.
"""

import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

from confluent_kafka import KafkaException

from loadgen.admin import AdminError
from loadgen.children import Worker
from loadgen.offsets import positions
from rundata.tables import FaultRecord, Incident
from scenarios import actions
from scenarios.occurrences import PlannedAction
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from loadgen.admin import Admin
    from loadgen.crew import Crew
    from loadgen.run_clock import RunClock
    from scenarios.expectations import Expectation
    from scenarios.plan import Plan

_EMPTY_WITHIN_NS = 20 * SECOND
_AGAIN_NS = SECOND // 4

Step = Callable[[], bool]
"""Whether a script can go on."""
Script = Iterator[Step]


@dataclass
class Done:
    """An action that was begun, and what it has come to."""

    planned: PlannedAction
    target: str
    began_ns: int
    script: Script
    waiting: Step = field(default=lambda: True)
    ended_ns: int | None = None
    words: list[str] = field(default_factory=list)


class Actions:
    """The actions of one run."""

    def __init__(
        self,
        plan: "Plan",
        crew: "Crew",
        admin: "Admin",
        clock: "RunClock",
        next_poll_id: Callable[[str], int],
        judge: "Callable[[Expectation, int], bool]",
        come_back: Callable[[], set[str]],
    ) -> None:
        self._plan = plan
        self._crew = crew
        self._admin = admin
        self._clock = clock
        self._next_poll_id = next_poll_id
        self._judge = judge
        """Whether an expectation holds of what was intended since an instant."""
        self._come_back = come_back
        """Tells which members are gone and will be started again by others."""
        self.begun: dict[int, Done] = {}
        self.incidents: list[Incident] = []
        self._helpers: list[Worker] = []
        self._away: set[str] = set()
        """Members that an action has ended, and starts again."""

    def begin(self, index: int, planned: PlannedAction) -> None:
        """Begin an action."""
        action, now_ns = planned.action, self._clock.now_ns()
        done = Done(planned, _target(action), now_ns, iter(()))
        done.script = self._script(done, action)
        self.begun[index] = done
        self.advance()

    def end(self, index: int) -> None:
        """Undo an action that lasts a while."""
        done = self.begun[index]
        match done.planned.action:
            case actions.Scale() as action:
                before = self._plan.scenario.groups[action.group].members
                done.script, done.waiting, done.ended_ns = self._scale(done, action.group, before), lambda: True, None
                self.advance()
            case _:
                raise AssertionError(f"{done.planned.action.kind} is never undone")

    def advance(self) -> None:
        """Take the steps that can be taken."""
        for done in self.begun.values():
            while done.ended_ns is None and done.waiting():
                step = self._next(done)
                if step is None:
                    done.ended_ns = self._clock.now_ns()
                else:
                    done.waiting = step

    def _next(self, done: Done) -> Step | None:
        """Take a step; an action that the brokers refuse ends there, and its record says why."""
        try:
            return next(done.script, None)
        except (AdminError, KafkaException) as error:
            self._note(done, f"failed: {error}")
            return None

    def busy(self) -> bool:
        """Whether any is under way."""
        return any(done.ended_ns is None for done in self.begun.values())

    def come_back(self) -> set[str]:
        """Return the members that actions have ended, and will start again."""
        return set(self._away)

    def records(self) -> tuple[FaultRecord, ...]:
        """Return the record of each action that was begun, with what shows its effect."""
        return tuple(
            FaultRecord(
                label=done.planned.label,
                kind=done.planned.action.kind,
                target=done.target,
                planned_begin_ns=done.planned.begin_ns,
                planned_end_ns=done.planned.end_ns,
                began_ns=done.began_ns,
                ended_ns=self._clock.now_ns() if done.ended_ns is None else done.ended_ns,
                proof="; ".join([*done.words, *(["not finished"] if done.ended_ns is None else [])]),
            )
            for _, done in sorted(self.begun.items())
        )

    def close(self) -> None:
        """End the processes that actions have started."""
        for helper in self._helpers:
            helper.close()

    # ---- scripts ---------------------------------------------------------------------------------------------------

    def _script(self, done: Done, action: actions.Action) -> Script:
        match action:
            case actions.Scale():
                return self._scale(done, action.group, action.to)
            case actions.ResetOffsets():
                return self._reset(done, action)
            case actions.Redrive():
                return self._redrive(done, action)
            case actions.Deploy():
                return self._deploy(done, action)
            case actions.Replay():
                return self._replay(done, action)
            case _:
                assert_never(action)

    def _note(self, done: Done, words: str) -> None:
        done.words.append(f"{words} at {self._clock.now_ns() / SECOND:.3f} s")

    def _happened(self, done: Done, where: str, detail: str) -> None:
        self.incidents.append(
            Incident(self._clock.now_ns(), done.planned.action.kind, where, detail, done.planned.label)
        )

    def _members(self, group: str) -> list[str]:
        """Return the members that are up, in order."""
        up = [name for name, worker in self._crew.members.items() if worker.running and not worker.expected_to_end]
        return sorted(
            (name for name in up if name.rpartition("/")[0] == group), key=lambda name: int(name.rpartition("/")[2])
        )

    def _leave(self, names: list[str]) -> Step:
        for name in names:
            self._crew.end_member(name, signal.SIGTERM)
        return lambda: not any(self._crew.members[name].running for name in names)

    def _leave_for_a_while(self, names: list[str]) -> Step:
        self._away |= set(names)
        return self._leave(names)

    def _join(self, names: list[str]) -> Step:
        self._away -= set(names)
        for name in names:
            if name in self._crew.members:
                self._crew.replace_member(name, self._next_poll_id(name))
            else:
                self._crew.start_member(name, self._next_poll_id(name))

        def ready() -> bool:
            self._crew.hear()
            return all("ready" in self._crew.members[name].said for name in names)

        return ready

    def _scale(self, done: Done, group: str, to: int) -> Script:
        up = self._members(group)
        gone = self._come_back() | self._crew.ended_by_policy
        named = [f"{group}/{number}" for number in range(1, to + 1)]
        leaving, joining = up[to:], [name for name in named if name not in up and name not in gone]
        if leaving:
            yield self._leave(leaving)
        if joining:
            yield self._join(joining)
        self._note(done, f"{len(up)} members became {len(self._members(group))}")
        self._happened(done, group, f"{len(up)} to {to} members")

    def _reset(self, done: Done, action: actions.ResetOffsets) -> Script:
        group, names = action.group, self._members(action.group)
        yield self._leave_for_a_while(names)
        try:
            yield from self._set_offsets(done, group, action)
        except (AdminError, KafkaException):  # whatever the brokers say, its members come back
            yield self._join(names)
            raise
        yield self._join(names)
        self._note(done, f"{len(names)} members back")

    def _set_offsets(self, done: Done, group: str, action: actions.ResetOffsets) -> Script:
        """Set what a group has committed, as soon as the brokers count nobody among its members: one that was killed stays for its session."""
        topics = [action.topic] if action.topic else list(self._plan.scenario.groups[group].topics)
        places = positions(self._admin, topics, action.to)
        until_ns = self._clock.now_ns() + _EMPTY_WITHIN_NS
        while reason := self._admin.commit_offsets(group, places):
            now_ns = self._clock.now_ns()
            if now_ns > until_ns:
                raise AdminError(f"the offsets of {group} cannot be set: {reason}")
            yield lambda: self._clock.now_ns() >= now_ns + _AGAIN_NS  # noqa: B023 - waited for before the next one
        self._note(done, "committed " + ", ".join(f"{p.topic}/{p.partition} offset {p.offset}" for p in places))
        self._happened(done, group, f"offsets set to {action.to.written()}")

    def _redrive(self, done: Done, action: actions.Redrive) -> Script:
        helper = self._crew.helper(
            f"redrive-{len(self._helpers) + 1}",
            "loadgen.redrive_process",
            {"topic": action.from_, "to": action.to, "rate_hz": action.rate, "most": action.most},
        )
        self._helpers.append(helper)
        yield from self._wait_for(helper)
        if "done" not in helper.said:
            self._note(done, f"failed: {helper.obituary()}")
            return
        said: dict[str, Any] = helper.said["done"]
        self._note(done, f"{said['sent']} of {said['read']} dead letters sent, {said['kept']} had come back too often")
        self._happened(done, action.from_, f"{said['sent']} dead letters sent")

    def _replay(self, done: Done, action: actions.Replay) -> Script:
        topics = list(self._plan.scenario.groups[action.group].topics)
        places = positions(self._admin, topics, action.from_)
        name = f"{action.group}-replay-{len(self._helpers) + 1}"
        helper = self._crew.replayer(action.group, name, places, action.rate)
        self._helpers.append(helper)
        yield from self._wait_for(helper)
        if "done" not in helper.said:
            self._note(done, f"failed: {helper.obituary()}")
            return
        said: dict[str, Any] = helper.said["done"]
        words = f"{said['delivered']} events handed over once more"
        words += f", {said['known']} of them passed over as known" if said["known"] else ""
        words += ", and stopped there by the handler's policy" if said["left"] else ""
        self._note(done, words)
        self._happened(done, action.group, f"{said['delivered']} events replayed")

    @staticmethod
    def _wait_for(helper: Worker) -> Script:
        def over() -> bool:
            helper.hear()
            return "done" in helper.said or not helper.running

        yield over

    def _deploy(self, done: Done, action: actions.Deploy) -> Script:
        names = self._members(action.group)
        first = names if action.canary is None else names[: max(1, math.ceil(action.canary * len(names)))]
        yield from self._replace(done, first, action)
        if action.canary is not None:
            began_ns = self._clock.now_ns()
            yield lambda: self._clock.now_ns() >= began_ns + action.watch
            if action.rollback_if is not None and self._judge(action.rollback_if, began_ns):
                self._note(done, f"{action.rollback_if.text}: rolled back")
                yield from self._replace(done, first, None)
                self._happened(done, action.group, f"version {action.version} rolled back")
                return
            yield from self._replace(done, names[len(first) :], action)
        self._note(done, f"{len(names)} members run version {action.version}")

    def _replace(self, done: Done, names: list[str], action: actions.Deploy | None) -> Script:
        """Replace members one by one by another version, None for the first one."""
        for name in names:
            yield self._leave_for_a_while([name])
            self._crew.versions[name] = action
            yield self._join([name])
            self._happened(done, name, f"version {action.version}" if action else "the version before")


def _target(action: actions.Action) -> str:
    return action.from_ if isinstance(action, actions.Redrive) else action.group
