"""What people do about faults, as SimPy processes: more members or fewer, other offsets, another version."""

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import simpy

from rundata.tables import FaultRecord, Incident
from scenarios import actions
from scenarios.actions import Action
from scenarios.expectations import Expectation
from scenarios.occurrences import PlannedAction
from scenarios.quantities import SECOND
from sim import world as at
from sim.clock import Control
from sim.dependencies import interval_ns
from sim.draws import FIRST_ACTION, Values
from sim.replaying import replaying
from sim.replays import Replayer
from sim.versions import versions
from sim.world import L_EVENT, L_ORIGIN, L_TIMES, L_TXN, LOG_START, NEVER, NONE, OPEN, VERSION, VISIBLE_END, Ints

if TYPE_CHECKING:
    from sim.groups import Group
    from sim.members import Member
    from sim.system import System

EMPTY_WITHIN_NS = 20 * SECOND
"""How long offsets wait to be set for a group to be empty, as a coordinator takes them only then."""
Process = Generator[simpy.Event, Any, None]


@dataclass
class Redriver:
    """A client that sends dead letters to a topic once more; its place among all that send, and what it has sent."""

    code: int
    send: Values
    partition_of: Callable[[int, int], int]
    """Where an event goes by its key and the number of partitions, or NONE."""
    sent: int = 0
    last_ns: int = 0


class Actions:
    """The actions of one run; while one is under way the run does not end."""

    def __init__(
        self,
        system: "System",
        redrivers: dict[tuple[int, str], Redriver],
        *,
        judge: Callable[[Expectation, int], bool],
        reserve: Callable[[int], None],
    ) -> None:
        self.system, self.clock, self.plan = system, system.clock, system.plan
        self.judge = judge
        """Whether an expectation holds of what was intended since an instant."""
        self.replayers = {what.number: Replayer(system, what) for what in replaying(self.plan.scenario)}
        """By action of the scenario."""
        system.replayers = [*self.replayers.values()]
        self.redrivers, self.reserve = redrivers, reserve
        """By action of the scenario and topic; and how room is made for so many sendings."""
        self.versions = versions(system.plan.scenario)
        self.words: dict[int, list[str]] = {}
        self.ended_ns: dict[int, int] = {}
        for number, planned in enumerate(system.plan.actions):
            system.clock.process(self._act(number, planned))

    def _act(self, number: int, planned: PlannedAction) -> Process:
        """Do what is planned, and undo it where that is planned, too."""
        action = planned.action
        yield self.clock.control(planned.begin_ns, Control.begin, FIRST_ACTION + number)
        self.words[number] = []
        yield from self._open(number, self._script(number, action))
        if planned.stays:
            return
        assert isinstance(action, actions.Scale)
        yield self.clock.control(planned.end_ns, Control.end, FIRST_ACTION + number)
        before = self.plan.scenario.groups[action.group].members
        yield from self._open(number, self._scale(number, self.system.groups[action.group], before))

    def _open(self, number: int, script: Process) -> Process:
        """Keep the run from ending while a script is under way."""
        self.ended_ns.pop(number, None)
        self.system.world.scalars[OPEN] += 1
        yield from script
        self.system.world.scalars[OPEN] -= 1
        self.ended_ns[number] = self.clock.now

    def _script(self, number: int, action: Action) -> Process:
        match action:
            case actions.Scale():
                return self._scale(number, self.system.groups[action.group], action.to)
            case actions.ResetOffsets():
                return self._reset(number, self.system.groups[action.group], action)
            case actions.Deploy():
                return self._deploy(number, self.system.groups[action.group], action)
            case actions.Redrive():
                return self._redrive(number, action)
            case actions.Replay():
                return self._replay(number, action)
            case _:
                assert_never(action)

    # ---- steps -----------------------------------------------------------------------------------------------------

    def _up(self, group: "Group") -> list["Member"]:
        """Return the members that are there to stay, in order."""
        return [member for member in group.members if member.alive and not member.must_leave]

    def _leave(self, number: int, group: "Group", members: list["Member"]) -> Process:
        """Have members leave in good order, and wait until they have."""
        for member in members:
            group.ask_to_leave(member, FIRST_ACTION + number)
        while any(member.alive for member in members):
            yield group.changed.wait()
        yield self._afterwards(number)

    def _afterwards(self, number: int) -> simpy.Event:
        """Return an event of this instant at which a group has turned to what it waited for, too."""
        return self.clock.control(self.clock.now, Control.end, FIRST_ACTION + number)

    def _join(self, number: int, group: "Group", members: list["Member"]) -> None:
        """Start members; one that a fault has gone comes back by itself."""
        for member in members:
            if not member.alive and not member.is_awaited and not member.stopped:
                group.bring_in(member, self.plan.actions[number].label)

    # ---- scripts ---------------------------------------------------------------------------------------------------

    def _scale(self, number: int, group: "Group", to: int) -> Process:
        up = self._up(group)
        joining = [member for member in group.members[:to] if member not in up]
        yield from self._leave(number, group, up[to:])
        self._join(number, group, joining)
        self._note(number, f"{len(up)} members became {len(self._up(group))}")
        self._happened(number, group.name, f"{len(up)} to {to} members")

    def _reset(self, number: int, group: "Group", action: actions.ResetOffsets) -> Process:
        up = self._up(group)
        yield from self._leave(number, group, up)
        gives_up = self.clock.control(self.clock.now + EMPTY_WITHIN_NS, Control.end, FIRST_ACTION + number)
        while not gives_up.processed:
            while not gives_up.processed and not group.is_empty():
                yield group.changed.wait() | gives_up
            yield self._afterwards(number)
            if group.is_empty():
                break
        if group.is_empty():
            self._set_offsets(number, group, action)
        else:
            self._note(number, f"failed: {group.name} still had members")
        self._join(number, group, up)
        self._note(number, f"{len(up)} members back")

    def _set_offsets(self, number: int, group: "Group", action: actions.ResetOffsets) -> None:
        places = []
        for topic in [action.topic] if action.topic else self.plan.scenario.groups[group.name].topics:
            for index in range(self.system.growth.counts[topic]):
                partition = self.system.places[f"{topic}/{index}"]
                offset = self.system.log_ends.number_at(partition, action.to)
                group.set_offset(partition, offset)
                places.append(f"{topic}/{index} offset {self.system.log_ends.offset_of(partition, offset)}")
        self._note(number, f"committed {', '.join(places)}")
        self._happened(number, group.name, f"offsets set to {action.to.written()}")

    def _deploy(self, number: int, group: "Group", action: actions.Deploy) -> Process:
        up = self._up(group)
        first = up if action.canary is None else up[: max(1, math.ceil(action.canary * len(up)))]
        yield from self._replace(number, group, first, action)
        if action.canary is not None:
            began_ns = self.clock.now
            yield self.clock.control(began_ns + action.watch, Control.end, FIRST_ACTION + number)
            if action.rollback_if is not None and self.judge(action.rollback_if, began_ns):
                self._note(number, f"{action.rollback_if.text}: rolled back")
                yield from self._replace(number, group, first, None)
                self._happened(number, group.name, f"version {action.version} rolled back")
                return
            yield from self._replace(number, group, up[len(first) :], action)
        self._note(number, f"{len(up)} members run version {action.version}")

    def _redrive(self, number: int, action: actions.Redrive) -> Process:
        """Send the dead letters that are there once more, each event by its last letter."""
        world, index = self.system.world, self.plan.actions[number].index
        letters: dict[int, Ints] = {}
        for partition in range(self.system.growth.counts[action.from_]):
            place = self.system.places[f"{action.from_}/{partition}"]
            for letter in world.log[place, world.part[place, LOG_START] : world.part[place, VISIBLE_END]]:
                if letter[L_TXN] >= NONE:
                    letters[int(letter[L_EVENT])] = letter
        sent = [letter for letter in letters.values() if letter[L_TIMES] < action.most]
        for (of_action, topic), redriver in self.redrivers.items():
            if of_action == index:
                self.system.growth.redrive_starts(redriver.code, topic)
        step_ns = interval_ns(action.rate)
        self.reserve(len(sent))
        last_ns = self.clock.now
        for n, letter in enumerate(sent):
            topic = action.to or self.system.topic_of(int(letter[L_ORIGIN]))
            last_ns = self._send_again(self.redrivers[index, topic], letter, self.clock.now + n * step_ns)
        yield self.clock.control(last_ns, Control.end, FIRST_ACTION + number)
        kept = len(letters) - len(sent)
        self._note(number, f"{len(sent)} of {len(letters)} dead letters sent, {kept} had come back too often")
        self._happened(number, action.from_, f"{len(sent)} dead letters sent")

    def _replay(self, number: int, action: actions.Replay) -> Process:
        """Have what is there handled once more, after what the same action still has under way."""
        replayer = self.replayers[self.plan.actions[number].index]
        while replayer.is_busy:
            yield replayer.ended.wait()
            yield self._afterwards(number)
        replayer.begin(lambda partition: self.system.log_ends.number_at(partition, action.from_), action.rate)
        yield replayer.ended.wait()
        self._note(number, replayer.words())
        self._happened(number, action.group, replayer.words().split(" handed")[0] + " replayed")

    def _send_again(self, redriver: "Redriver", letter: Ints, due_ns: int) -> int:
        """Have a letter reach a redriver's client; return when it does."""
        world = self.system.at_now()
        due_ns = max(due_ns + redriver.send[redriver.sent], redriver.last_ns)
        redriver.sent, redriver.last_ns = redriver.sent + 1, due_ns
        e = int(world.scalars[at.SENDINGS])
        world.scalars[at.SENDINGS] += 1
        world.scalars[OPEN] += 1
        sending = world.event[e]
        sending[:] = NONE
        sending[at.HANDED], sending[at.IDENTITY] = due_ns, letter[L_EVENT]
        sending[at.INTENDED] = sending[at.SENT_ENDED] = NEVER
        sending[at.SIZE] = world.identity[letter[L_EVENT], at.V_SIZE]
        sending[at.PART] = redriver.partition_of(
            int(world.identity[letter[L_EVENT], at.V_ID]), int(world.proc[redriver.code, at.P_KNOWS])
        )
        sending[at.GIVEN_UP], sending[at.E_MEMBER] = 0, at.REDRIVER
        sending[at.E_TIMES], sending[at.E_ORIGIN] = max(0, letter[L_TIMES]) + 1, letter[L_ORIGIN]
        at.push(world, due_ns, at.HAND_OVER, redriver.code, 0, at.ON_RELAYED, redriver.code, e, 0)
        return due_ns

    def _replace(self, number: int, group: "Group", members: list["Member"], action: actions.Deploy | None) -> Process:
        """Replace members one by one by another version, None for the first one."""
        for member in members:
            yield from self._leave(number, group, [member])
            version = self.versions.index((group.name, action))
            self.system.world.member[member.index, VERSION] = version
            self._join(number, group, [member])
            words = f"version {action.version}" if action else "the version before"
            self._happened(number, member.name, words)

    # ---- what is told ----------------------------------------------------------------------------------------------

    def _note(self, number: int, words: str) -> None:
        self.words[number].append(f"{words} at {self.clock.now / SECOND:.3f} s")

    def _happened(self, number: int, where: str, detail: str) -> None:
        planned = self.plan.actions[number]
        self.system.incidents.append(Incident(self.clock.now, planned.action.kind, where, detail, planned.label))

    def records(self, end_ns: int) -> Iterator[FaultRecord]:
        """Yield the record of each action that was begun, with what shows its effect."""
        for number, planned in enumerate(self.plan.actions):
            if number not in self.words:
                continue
            action, ended_ns = planned.action, self.ended_ns.get(number)
            words = [*self.words[number], *(["not finished"] if ended_ns is None else [])]
            yield FaultRecord(
                label=planned.label,
                kind=action.kind,
                target=action.from_ if isinstance(action, actions.Redrive) else action.group,
                planned_begin_ns=planned.begin_ns,
                planned_end_ns=planned.end_ns,
                began_ns=planned.begin_ns,
                ended_ns=end_ns if ended_ns is None else ended_ns,
                proof="; ".join(words),
            )
