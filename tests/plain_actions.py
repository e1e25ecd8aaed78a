"""What people do, in the plain model: more members or fewer, other offsets, another version."""

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Control
from rundata.so_far import holds_since
from scenarios.actions import Deploy, Redrive, Replay, ResetOffsets, Scale
from scenarios.targets import LogPosition
from sim.actions import EMPTY_WITHIN_NS
from sim.dependencies import interval_ns
from sim.draws import FIRST_ACTION

if TYPE_CHECKING:
    from plain_brokers import Partition
    from plain_groups import Group
    from plain_members import Member
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


class Actions:
    """The actions of one run; it does not end before they do."""

    def __init__(self, model: "Model") -> None:
        self.model, self.clock = model, model.clock
        for number, planned in enumerate(model.plan.actions):
            self.clock.process(self._act(number, planned.action))

    def _act(self, number: int, action: object) -> Process:
        planned = self.model.plan.actions[number]
        yield self.clock.control(planned.begin_ns, Control.begin, FIRST_ACTION + number)
        self.model.open.add(("action", number))
        self.model.fired[f"action {planned.action.kind}"] += 1
        match action:
            case Scale():
                yield from self._scale(number, self.model.groups[action.group], action.to)
            case ResetOffsets():
                yield from self._reset(number, self.model.groups[action.group], action)
            case Redrive():
                yield from self._redrive(number, action)
            case Replay():
                yield from self._replay(number, action)
            case Deploy():
                yield from self._deploy(number, self.model.groups[action.group], action)
        self.model.open.discard(("action", number))
        if isinstance(action, Scale) and not planned.stays and self.model.rules.scales_back:
            yield self.clock.control(planned.end_ns, Control.end, FIRST_ACTION + number)
            self.model.open.add(("action", number))
            group = self.model.groups[action.group]
            yield from self._scale(number, group, self.model.plan.scenario.groups[group.name].members)
            self.model.open.discard(("action", number))

    def _leave(self, number: int, group: "Group", members: list["Member"]) -> Process:
        for member in members:
            member.must_leave, member.leaves_by = True, FIRST_ACTION + number
            member.duty.give()
        while any(member.alive for member in members):
            yield group.changed.wait()
        yield self.clock.control(self.clock.now, Control.end, FIRST_ACTION + number)

    def _join(self, group: "Group", members: list["Member"]) -> None:
        for member in members:
            self.model.fired["action meets a fault"] += member.alive or member.is_awaited
            if not member.alive and not member.is_awaited and not member.stopped:
                group.bring_in(member)

    def _up(self, group: "Group") -> list["Member"]:
        return [member for member in group.all_members if member.alive and not member.must_leave]

    def _scale(self, number: int, group: "Group", to: int) -> Process:
        up = self._up(group)
        joining = [member for member in group.all_members[:to] if member not in up]
        self.model.fired["scaled down"] += len(up) > to
        self.model.fired["scaled up"] += bool(joining)
        leaving = up[to:] if self.model.rules.last_ones_leave else up[: max(0, len(up) - to)]
        yield from self._leave(number, group, leaving)
        self._join(group, joining)

    def _reset(self, number: int, group: "Group", action: ResetOffsets) -> Process:
        up = self._up(group)
        yield from self._leave(number, group, up)
        gives_up = self.clock.control(self.clock.now + EMPTY_WITHIN_NS, Control.end, FIRST_ACTION + number)
        while not gives_up.processed:
            while self._must_empty(group) and not gives_up.processed:
                self.model.fired["group not empty"] += 1
                yield group.changed.wait() | gives_up
            yield self.clock.control(self.clock.now, Control.end, FIRST_ACTION + number)
            if not self._must_empty(group):
                break
        if not self._must_empty(group):
            self._set_offsets(group, action)
        self._join(group, up)

    def _must_empty(self, group: "Group") -> bool:
        return not self._is_empty(group) and self.model.rules.empty_before_reset

    def _is_empty(self, group: "Group") -> bool:
        return not group.joined and not any(member.alive for member in group.all_members)

    def _set_offsets(self, group: "Group", action: ResetOffsets) -> None:
        for topic in [action.topic] if action.topic else self.model.plan.scenario.groups[group.name].topics:
            for partition in self.model.growth.there(topic):
                group.late.discard(partition)
                offset = self._offset(partition, action.to)
                before = group.committed.get(partition, 0)
                for below in range(before, offset):
                    self.model.fired["offset passed"] += (group, partition, below) in self.model.open
                    self.model.open.discard((group, partition, below))
                for again in range(offset, before) if self.model.rules.offsets_set_back else ():
                    self.model.fired["offset set back"] += 1
                    if not partition.log[again].gone:
                        self.model.open.add((group, partition, again))
                if offset > before or self.model.rules.offsets_set_back:
                    group.committed[partition] = offset

    def _offset(self, partition: "Partition", place: LogPosition) -> int:
        end = partition.visible_end
        match place.place:
            case "earliest":
                return partition.start
            case "latest":
                return end
            case "offset":
                return min(max(partition.number_of(place.value), partition.start), end)
            case "ago":
                since_ns = self.clock.now - place.value
                there = [offset for offset in range(partition.start, end) if not partition.log[offset].gone]
                return min((offset for offset in there if partition.log[offset].stamp_ns >= since_ns), default=end)

    def _replay(self, number: int, action: Replay) -> Process:
        replayer = self.model.replayers[self.model.plan.actions[number].index]
        if replayer.alive and not self.model.rules.replays_take_turns:
            return
        while replayer.alive:
            self.model.fired["replay waits for the one before"] += 1
            yield replayer.ended.wait()
            yield self.clock.control(self.clock.now, Control.end, FIRST_ACTION + number)
        replayer.begin(lambda partition: self._offset(partition, action.from_), action.rate)
        while replayer.alive:
            yield replayer.ended.wait()

    def _redrive(self, number: int, action: Redrive) -> Process:
        there = [
            record
            for partition in self.model.partitions[action.from_]
            for record in partition.log[partition.start : partition.visible_end]
            if not record.gone
        ]
        letters = {record.event: record for record in there}
        if not self.model.rules.last_letter_counts:
            letters |= {record.event: record for record in reversed(there)}
        begin_ns = last_ns = self.clock.now
        sent = 0
        for (of_action, topic), client in self.model.redrivers.items():
            if of_action == self.model.plan.actions[number].index:
                client.hears_of(len(self.model.growth.there(topic)))
        for record in letters.values():
            times, origin = self.model.headers[record.token]
            if times >= action.most:
                self.model.fired["came back too often"] += 1
                if self.model.rules.most_redrives:
                    continue
            client = self.model.redrivers[self.model.plan.actions[number].index, action.to or origin.topic]
            due_ns = begin_ns + sent * interval_ns(action.rate) * self.model.rules.redrive_rate
            last_ns = client.redrive(record.event, due_ns, (times + 1, origin))
            self.model.fired["redriven"] += 1
            self.model.fired["redriven again"] += times > 0
            sent += 1
        yield self.clock.control(last_ns, Control.end, FIRST_ACTION + number)

    def _deploy(self, number: int, group: "Group", action: Deploy) -> Process:
        up = self._up(group)
        is_first = action.canary is not None and self.model.rules.canary_first
        first = up[: max(1, math.ceil((action.canary or 0) * len(up)))] if is_first else up
        yield from self._replace(number, group, first, action)
        if action.canary is None:
            return
        began_ns = self.clock.now
        yield self.clock.control(began_ns + action.watch, Control.end, FIRST_ACTION + number)
        if action.rollback_if is not None and self._holds(action.rollback_if, began_ns):
            self.model.fired["rolled back"] += 1
            if self.model.rules.roll_back:
                yield from self._replace(number, group, first, None)
            return
        self.model.fired["canary passed"] += 1
        yield from self._replace(number, group, up[len(first) :], action)

    def _holds(self, expectation: Any, since_ns: int) -> bool:
        model = self.model
        now_ns = self.clock.now
        return holds_since(
            expectation, model.plan, model.operations(), since_ns=since_ns, now_ns=now_ns, engine="simulated"
        )

    def _replace(self, number: int, group: "Group", members: list["Member"], version: Deploy | None) -> Process:
        if not self.model.rules.one_by_one:
            yield from self._leave(number, group, members)
        for member in members:
            yield from self._leave(number, group, [member])
            member.version = version if self.model.rules.versions else None
            self._join(group, [member])
