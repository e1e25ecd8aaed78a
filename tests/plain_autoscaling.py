"""An autoscaler in the plain model: members by lag, as KEDA's Kafka scaler has it."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Control
from scenarios.around import Autoscaler
from sim.draws import FIRST_SCALER

if TYPE_CHECKING:
    from plain_groups import Group
    from plain_members import Member

Process = Generator[simpy.Event, Any, None]


def autoscale(group: "Group", what: Autoscaler) -> Process:
    """Look at a group's lag every so often, and have as many members as it asks for; fewer only after a while."""
    model, clock, number = group.model, group.clock, FIRST_SCALER + group.code
    asked: list[tuple[int, int]] = []
    while True:
        yield clock.control(clock.now + what.poll, Control.leader_check, number)
        lag = sum(max(0, p.visible_end - group.committed.get(p, 0)) for p in group.partitions)
        wanted = -(-lag // what.lag)
        useful = sum(bool(p.replicas) for p in group.partitions) if model.rules.no_more_than_partitions else what.max
        wanted = max(what.min, min(wanted, what.max, useful))
        asked.append((clock.now, wanted))
        there = [m for m in group.all_members if (m.alive and not m.must_leave) or m.is_awaited]
        recent = [wanted for at_ns, wanted in asked if at_ns > clock.now - what.cooldown or not model.rules.cooldown]
        most = max(recent) if model.rules.cooldown else wanted
        if wanted > len(there):
            model.fired["autoscaled up"] += 1
            absent = [member for member in group.all_members if member not in there]
            for member in absent[: wanted - len(there)]:
                member.is_awaited = True
                clock.process(_start(group, member, what.start_up * model.rules.start_up, number))
        elif most < len(there):
            model.fired["autoscaled down"] += 1
            for member in [member for member in there if member.alive][most:]:
                member.must_leave, member.leaves_by = True, number
                member.duty.give()
        else:
            model.fired["autoscaler waits"] += wanted < len(there)


def _start(group: "Group", member: "Member", wait_ns: int, number: int) -> Process:
    clock = group.clock
    yield clock.control(clock.now + wait_ns, Control.leader_check, number)
    while member.alive:
        yield group.changed.wait()
    yield clock.control(clock.now, Control.leader_check, number)
    member.is_awaited = False
    if not member.stopped:
        group.bring_in(member)
