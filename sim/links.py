"""Links that are cut or slow: between brokers, between clients and brokers, between a broker and the controller."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simpy

from scenarios import faults
from scenarios.targets import LinkEnd
from sim import kernel
from sim.clock import Control
from sim.world import (
    BY_RESET,
    FROM_BROKER,
    LEADER,
    LK_BYTES_S,
    LK_DELAY,
    LK_FREE_NS,
    LK_JITTER,
    LK_SLOW,
    NEVER,
    NO_ANSWERS,
    NO_REQUESTS,
    NONE,
    PR_BACK_NS,
    PR_BYTES_S,
    PR_LEAVES_NS,
    PR_PARKED_NS,
    PR_SLOW,
    PR_THERE_NS,
    SILENTLY,
    SLOWED,
    STALE_UNTIL,
    TO_BROKER,
)

if TYPE_CHECKING:
    from sim.system import System

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Slowed:
    """What one fault slows: ways between clients and brokers, and what passes from one broker to another."""

    fault: faults.SlowLink
    ways: frozenset[tuple[int, int]]
    pairs: frozenset[tuple[int, int]]


def _ways(direction: str, *, reverse: bool) -> list[int]:
    """Return which ways between clients and a broker are meant; `to` is towards the second end."""
    towards = FROM_BROKER if reverse else TO_BROKER
    return [TO_BROKER, FROM_BROKER] if direction == "both" else [towards if direction == "to" else 1 - towards]


def _directed(first: set[int], second: set[int], direction: str) -> set[tuple[int, int]]:
    """Return the pairs of brokers of which the first one's bytes to the second are meant."""
    there = {(a, b) for a in first for b in second if a != b}
    back = {(b, a) for a, b in there}
    return there | back if direction == "both" else there if direction == "to" else back


def _together(slowing: list[faults.SlowLink]) -> tuple[int, int, int]:
    """Return delay, jitter and bytes per second (0 without a limit) of several faults on one link."""
    limits = [max(1, round(fault.bandwidth)) for fault in slowing if fault.bandwidth is not None]
    return sum(fault.delay for fault in slowing), sum(fault.jitter for fault in slowing), min(limits, default=0)


class Links:
    """The faults of a system's links."""

    def __init__(self, system: "System") -> None:
        self.system, self.clock, self.draws, self.controller = system, system.clock, system.draws, system.controller
        self.slowed: list[Slowed] = []

    def cut(self, index: int, fault: faults.Cut) -> Process:
        """Cut the links between two ends."""
        planned = self.system.plan.faults[index]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        first, second = (self._ends(end) for end in fault.between)
        roles = {end.role for end in fault.between}
        brokers = sorted(second if fault.between[0].role in ("clients", "controller") else first)
        if "clients" in roles:
            for broker in brokers:
                self.clock.process(self._cut_off(index, broker, fault))
        elif "controller" in roles:
            for k, broker in enumerate(brokers):
                self.clock.process(
                    self._isolate(index + k * len(self.system.plan.faults), index, broker, fault.channel)
                )
        else:
            yield from self._part(
                index, {(a, b) for a in first for b in second} | {(b, a) for a in first for b in second}
            )

    # ---- links that are slow -----------------------------------------------------------------------------------------

    def slow(self, index: int, fault: faults.SlowLink) -> Process:
        """Slow the links between two ends down."""
        yield self.clock.control(self.system.plan.faults[index].begin_ns, Control.begin, index)
        first, second = (self._ends(end) for end in fault.between)
        if fault.between[1].role == "clients":
            ways = [(b, way) for b in first for way in _ways(fault.direction, reverse=True)]
        elif fault.between[0].role == "clients":
            ways = [(b, way) for b in second for way in _ways(fault.direction, reverse=False)]
        else:
            ways = []
        pairs = _directed(first, second, fault.direction) if not ways else set()
        slowed = Slowed(fault, frozenset(ways), frozenset(pairs))
        self.slowed.append(slowed)
        self._set_slow()
        self.system.prove(index, f"{len(ways) or len(pairs)} ways were slow")
        yield self.clock.control(self.system.plan.faults[index].end_ns, Control.end, index)
        self.slowed.remove(slowed)
        self._set_slow()

    def _set_slow(self) -> None:
        """Tell the kernel what slows each link now: delays add up, and the narrowest bandwidth counts."""
        world = self.system.at_now()
        world.scalars[SLOWED] = bool(self.slowed)
        nodes = range(1, self.system.plan.scenario.brokers.nodes + 1)
        for b in nodes:
            for way in (TO_BROKER, FROM_BROKER):
                found = [slowed.fault for slowed in self.slowed if (b, way) in slowed.ways]
                link = world.link[b, way]
                link[[LK_SLOW, LK_DELAY, LK_JITTER, LK_BYTES_S]] = (bool(found), *_together(found))
                link[LK_FREE_NS] *= bool(found)
            for other in nodes:
                there = [slowed.fault for slowed in self.slowed if (b, other) in slowed.pairs]
                back = [slowed.fault for slowed in self.slowed if (other, b) in slowed.pairs]
                pair = world.pair[b, other]
                pair[PR_SLOW] = bool(there or back)
                pair[[PR_THERE_NS, PR_BACK_NS, PR_BYTES_S]] = (
                    _together(there)[0],
                    _together(back)[0],
                    _together(there)[2],
                )
                pair[[PR_LEAVES_NS, PR_PARKED_NS]] *= bool(there or back)

    def _ends(self, end: LinkEnd) -> set[int]:
        """Return an end's brokers; all of them where it is all others."""
        nodes = range(1, self.system.plan.scenario.brokers.nodes + 1)
        if end.broker is None:
            return set(nodes)
        if end.broker.role == "rack":
            racks = self.system.plan.scenario.brokers.racks or ()
            return {n for n, rack in enumerate(racks, 1) if rack == end.broker.rack}
        broker = self.system.resolve(end.broker)
        return set() if broker is None else {broker}

    def _part(self, index: int, pairs: set[tuple[int, int]]) -> Process:
        """Let brokers not fetch from one another: the high watermark waits until the leader gives the others up."""
        pairs = {pair for pair in pairs if pair[0] != pair[1]} - self.system.parted
        self.system.prove(index, "cut: " + (", ".join(f"{a}-{b}" for a, b in sorted(pairs) if a < b) or "nothing"))
        self.system.parted |= pairs
        for leader, follower in sorted(pairs):
            self.system.log_ends.stops(follower, {leader})
        for partition in self.system.partitions:
            self.system.replicas_changed(partition)
        yield self.clock.control(self.system.plan.faults[index].end_ns, Control.end, index)
        yield from self.join(index, pairs)

    def join(self, index: int, pairs: set[tuple[int, int]]) -> Process:
        """Let brokers fetch from one another again, and be in sync."""
        self.system.parted -= pairs
        self.system.watched = {watch for watch in self.system.watched if watch[1:] in self.system.parted}
        for partition in self.system.partitions:
            self.system.replicas_changed(partition)
        yield from self.controller.at(self.clock.now + self.draws.heals_ns(index), Control.in_sync, index)
        for partition in self.system.partitions:
            self.system.comes_back(NONE, partition, index)

    def _cut_off(self, index: int, broker: int, fault: faults.Cut) -> Process:
        """Let no client reach a broker that goes on as it was, or hear from it; resets break both ways."""
        planned, world = self.system.plan.faults[index], self.system.at_now()
        if broker in self.system.cut_off or broker in self.system.unavailable:
            self.system.prove(index, f"no effect: broker {broker} was not up and reachable")
            return
        self.system.cut_off.add(broker)
        mode, ways = fault.mode, _ways(fault.direction, reverse=fault.between[1].role == "clients")
        how = SILENTLY if len(ways) > 1 else NO_REQUESTS if ways == [TO_BROKER] else NO_ANSWERS
        kernel.cut_off(world, broker, BY_RESET if mode == "reset" else how)
        for partition in self.system.partitions:
            if world.part[partition.number, LEADER] == broker:
                if mode == "reset":
                    kernel.forget_leader(world, partition.number)
                else:
                    self.system.members_forget(partition)
        self.system.news.give()
        words = f"heard from broker {broker}" if how == NO_ANSWERS and mode != "reset" else f"reached broker {broker}"
        self.system.prove(index, f"no client {words}")
        yield self.clock.control(planned.end_ns, Control.end, index)
        self.system.cut_off.discard(broker)
        kernel.reconnect(self.system.at_now(), broker)
        for code, entity in enumerate(self.system.knowers):
            wait_ns = self.draws.moved_back_ns(entity, index, back=True) if mode == "reset" else 0
            self.clock.process(self._reach(code, broker, planned.end_ns + wait_ns))

    def _reach(self, code: int, broker: int, at_ns: int) -> Process:
        """Let a client turn to a broker that it could not reach, for what that leads."""
        yield self.clock.control(at_ns, Control.election, code)
        for partition in self.system.partitions:
            leads = (
                int(self.system.world.part[partition.number, LEADER]) == broker and broker not in self.system.cut_off
            )
            if leads and self.system.world.knows[code, partition.number] == 0 and broker not in self.system.unavailable:
                kernel.learned(self.system.at_now(), code, partition.number)
        self.system.news.give()

    def _isolate(self, number: int, index: int, broker: int, channel: str) -> Process:
        """Cut a broker off the controller, which fences it; without metadata it goes on as the leader that it was."""
        system, planned = self.system, self.system.plan.faults[index]
        is_itself = broker == self.controller.active
        if broker in system.unavailable or channel == "metadata" or is_itself:
            system.prove(
                index, f"no effect: broker {broker} was not up, its heartbeats went on, or it is the controller"
            )
            return
        fence_ns = yield from self._is_missed(number, broker)
        if fence_ns is None:
            system.prove(index, f"no effect: broker {broker} was not fenced")
            return
        system.incident("fence", f"broker {broker}", cause=planned.label)
        elected_ns = fence_ns + self.draws.elected_ns(number) - self.draws.fence_ns(number)
        yield from self.controller.at(elected_ns, Control.election, number)
        self.clock.process(self._hears_again(number, index, broker, channel))
        world = system.at_now()
        led = [partition for partition in system.partitions if world.part[partition.number, LEADER] == broker]
        system.prove_moves(index, broker, led)
        world.broker[broker, STALE_UNTIL] = 0 if channel == "heartbeat" else NEVER
        for partition in led:
            if channel == "heartbeat" or not partition.is_users:
                kernel.take_out(world, broker, partition.number)
                kernel.forget_leader(world, partition.number)
            else:
                system.members_forget(partition)
            system.deposes(broker, partition)
        system.news.give()
        system.elect(broker, led, number)

    def _is_missed(self, number: int, broker: int) -> Generator[simpy.Event, Any, int | None]:
        """Wait until a broker without heartbeats is fenced; nothing else happens to it meanwhile."""
        planned = self.system.plan.faults[number % len(self.system.plan.faults)]
        if planned.end_ns <= self.draws.fence_ns(number):
            return None
        self.system.unavailable.add(broker)
        fence_ns = yield from self.controller.fences(number, planned.begin_ns, planned.end_ns)
        if fence_ns is None:
            self.system.unavailable.discard(broker)
        return fence_ns

    def _hears_again(self, number: int, index: int, broker: int, channel: str) -> Process:
        """Let a fenced broker hear from the controller again, and catch up."""
        clock, draws, planned, elected_ns = self.clock, self.draws, self.system.plan.faults[index], self.clock.now
        end_ns = max(planned.end_ns, elected_ns)
        if channel != "heartbeat":
            stale_until_ns = max(draws.stale_until_ns(number), elected_ns)
            for code, entity in enumerate(self.system.knowers):
                if not self.system.is_member(code):
                    at_ns = max(draws.told_ns(entity, number), elected_ns)
                    clock.process(self.system.told(code, broker, at_ns))
            yield clock.control(stale_until_ns, Control.in_sync, number)
            self.system.world.broker[broker, STALE_UNTIL] = stale_until_ns
            kernel.refuse_stale(self.system.at_now(), broker)
            end_ns = max(end_ns, stale_until_ns)
        yield from self.controller.at(end_ns + draws.catch_up_ns(number), Control.in_sync, number)
        self.system.unavailable.discard(broker)
        for partition in self.system.partitions:
            self.system.comes_back(broker, partition, number)
