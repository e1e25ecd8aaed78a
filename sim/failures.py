"""Brokers that fail: crashes, stops, pauses and stalled disks, and how they come back; and the controller, where that is no broker."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from scenarios.faults import BrokerCrash, BrokerPause, BrokerStop, DiskFull, DiskStall, HostCrash
from scenarios.targets import BrokerTarget
from sim import kernel
from sim.clock import Control, Signal
from sim.controller import SEPARATE
from sim.world import LEADER, NONE, STALE_UNTIL

if TYPE_CHECKING:
    from sim.replicas import Replicas
    from sim.system import System

Process = Generator[simpy.Event, Any, None]
OfBroker = BrokerCrash | BrokerStop | BrokerPause | HostCrash | DiskFull | DiskStall


class Failures:
    """The faults of a system's brokers."""

    def __init__(self, system: "System") -> None:
        self.system, self.clock, self.draws, self.controller = system, system.clock, system.draws, system.controller
        self.faults = system.plan.faults
        self.fenced_ns: dict[int, int] = {}
        """By fault: when the broker's session was over."""
        self.elected: set[int] = set()
        """Faults after which all new leaders are elected."""
        self.progress = Signal(system.clock)

    def begin(self, index: int, fault: OfBroker) -> None:
        """Begin a fault of one broker, or of each broker of a rack; the k-th of a rack has a number of its own for what is drawn."""
        self.system.targets[index] = str(fault.target)
        if fault.target.role == "controller" and self.controller.voters == [SEPARATE]:
            self.clock.process(self._controller_fault(index, fault))
            return
        targets = [fault.target]
        if fault.target.role == "rack":
            racks = self.system.plan.scenario.brokers.racks or ()
            targets = [BrokerTarget("number", number=n) for n, rack in enumerate(racks, 1) if rack == fault.target.rack]
        for k, target in enumerate(targets):
            self.clock.process(self._broker_fault(index + k * len(self.faults), index, fault, target))

    def _controller_fault(self, index: int, fault: OfBroker) -> Process:
        """Let the controller's own process die or hang: until it is back nobody is fenced, elected or registered."""
        planned = self.faults[index]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        if not self.controller.is_up:
            self.system.prove(index, "no effect: there was no controller")
            return
        self.controller.loses(SEPARATE, "dies")
        self.system.prove(index, "nobody was fenced, elected or registered meanwhile")
        yield self.clock.control(planned.end_ns, Control.end, index)
        if not isinstance(fault, BrokerPause):
            self.system.incident("restart", "controller", cause=planned.label)
            yield self.clock.control(self.draws.started_ns(index), Control.in_sync, index)
        self.controller.hears(SEPARATE)

    def _broker_fault(self, number: int, index: int, fault: OfBroker, target: BrokerTarget) -> Process:
        clock, planned = self.clock, self.faults[index]
        yield clock.control(planned.begin_ns, Control.begin, number)
        broker = self.system.resolve(target)
        if broker is None or broker in self.system.unavailable:
            self.system.prove(index, "no effect: there was no such broker up and in sync")
            return
        if fault.target.role != "rack":
            self.system.targets[index] = f"broker {broker}"
        self.system.unavailable.add(broker)
        match fault:
            case BrokerCrash() | HostCrash() | DiskFull():
                yield from self._crash(number, index, broker)
            case BrokerStop():
                yield from self._stop(number, index, broker)
            case BrokerPause():
                yield from self._pause(number, index, broker)
            case DiskStall():
                yield from self._stall(index, broker)

    def _crash(self, number: int, index: int, broker: int) -> Process:
        planned = self.faults[index]
        self.clock.process(self._restart(number, broker))
        led = self.system.lose(broker)
        if isinstance(planned.fault, HostCrash):
            self.system.log_ends.loses_cache(broker)
        self.controller.loses(broker, "dies")
        fence_ns = yield from self.controller.fences(number, planned.begin_ns)
        assert fence_ns is not None
        self._is_fenced(number, fence_ns, broker)
        yield from self.controller.at(fence_ns + self._election_ns(number), Control.election, number)
        self.system.prove_moves(index, broker, led)
        self.system.elect(broker, led, number)
        self._is_elected(number)

    def _stop(self, number: int, index: int, broker: int) -> Process:
        planned = self.faults[index]
        self.clock.process(self._restart(number, broker))
        self.clock.process(self._session_ends(number, planned.begin_ns))
        begin_ns = planned.begin_ns
        if not self.controller.is_up:
            yield from self.controller.at(begin_ns, Control.election, number)
            begin_ns = self.clock.now
        takes_ns = self.draws.elected_ns(number) - planned.begin_ns
        yield from self.controller.at(begin_ns + takes_ns, Control.election, number)
        led = self.system.lose(broker)
        self.system.prove_moves(index, broker, led)
        self.system.elect(broker, led, number)
        self._is_elected(number)
        self.controller.loses(broker, "stops")

    def _session_ends(self, number: int, since_ns: int) -> Process:
        """Note when the session of a stopped broker is over, until which its new incarnation is refused."""
        fence_ns = yield from self.controller.fences(number, since_ns)
        assert fence_ns is not None
        self.fenced_ns[number] = fence_ns
        self.progress.give()

    def _election_ns(self, number: int) -> int:
        """Return how long new leaders take after the fence."""
        return self.draws.elected_ns(number) - self.draws.fence_ns(number)

    def _is_fenced(self, number: int, fence_ns: int, broker: int) -> None:
        self.system.incident("fence", f"broker {broker}", cause=self.system.label(number))
        self.fenced_ns[number] = fence_ns
        self.progress.give()

    def _is_elected(self, number: int) -> None:
        self.elected.add(number)
        self.progress.give()

    def _is_back(self, broker: int, number: int) -> None:
        """Let a broker be up and caught up again."""
        self.system.unavailable.discard(broker)
        self.system.down.discard(broker)
        for partition in self.system.partitions:
            self.system.comes_back(broker, partition, number)

    def _when_elected(self, time_ns: int, number: int) -> Process:
        """Wait for an instant, for a controller, and for the leaders that a fault made necessary."""
        yield from self.controller.at(time_ns, Control.in_sync, number)
        while number not in self.elected:
            yield self.progress.wait()
            yield self.clock.control(self.clock.now, Control.in_sync, number)

    # ---- a broker that hangs -------------------------------------------------------------------------------------

    def _pause(self, number: int, index: int, broker: int) -> Process:
        """Let a broker hang: nobody is told, and when its session is over before it goes on, it is fenced."""
        clock, planned = self.clock, self.faults[index]
        led = self._falls_silent(broker)
        self.controller.loses(broker, "hangs")
        fence_ns = yield from self.controller.fences(number, planned.begin_ns, planned.end_ns)
        if fence_ns is None:
            yield clock.control(planned.end_ns, Control.end, number)
            self.system.prove(index, f"broker {broker} hung and was not fenced")
            self.system.goes_on(broker, planned.end_ns - planned.begin_ns)
            self.controller.hears(broker)
            for partition in led:
                self._still_leads(broker, partition)
            self._is_back(broker, number)
            return
        self._is_fenced(number, fence_ns, broker)
        clock.process(self._thaw(number, broker, fence_ns + self._election_ns(number)))
        yield from self.controller.at(fence_ns + self._election_ns(number), Control.election, number)
        self.system.prove_moves(index, broker, led)
        for partition in led:
            self.system.deposes(broker, partition)
        self.system.elect(broker, led, number)
        self._is_elected(number)

    def _falls_silent(self, broker: int) -> list["Replicas"]:
        """Let a broker answer nothing; return what it led. Members wait; producers do not know."""
        world = self.system.at_now()
        self.system.down.add(broker)
        self.system.log_ends.stops(broker)
        led = [partition for partition in self.system.partitions if world.part[partition.number, LEADER] == broker]
        kernel.set_silent(world, broker)
        for partition in led:
            self.system.members_forget(partition)
            if not partition.is_users:
                world.part[partition.number, LEADER] = NONE
        for partition in self.system.partitions:
            if broker in partition.in_sync:
                self.system.replicas_changed(partition)
        self.system.news.give()
        return led

    def _still_leads(self, broker: int, partition: "Replicas") -> None:
        """Let members find the leader that had only been silent."""
        self.system.world.part[partition.number, LEADER] = broker
        for code in range(len(self.system.knowers)):
            if self.system.world.knows[code, partition.number] == 0 and broker not in self.system.cut_off:
                kernel.learned(self.system.at_now(), code, partition.number)

    def _thaw(self, number: int, broker: int, elected_ns: int) -> Process:
        """Let a fenced broker go on, act as a leader for a moment, be told, and catch up."""
        clock, draws, planned = self.clock, self.draws, self.faults[number % len(self.faults)]
        stale_until_ns = max(draws.stale_until_ns(number), elected_ns)
        yield clock.control(planned.end_ns, Control.end, number)
        self.system.world.broker[broker, STALE_UNTIL] = stale_until_ns
        self.system.goes_on(broker, planned.end_ns - planned.begin_ns)
        self.controller.hears(broker)
        for code, entity in enumerate(self.system.knowers):
            if not self.system.is_member(code):
                clock.process(self.system.told(code, broker, max(draws.told_ns(entity, number), elected_ns)))
        yield clock.control(stale_until_ns, Control.in_sync, number)
        kernel.refuse_stale(self.system.at_now(), broker)
        yield from self._when_elected(max(planned.end_ns + draws.catch_up_ns(number), elected_ns), number)
        self._is_back(broker, number)

    def _stall(self, index: int, broker: int) -> Process:
        """Let a broker's disk take no writes: it appends nothing, as a leader or as a follower, and is not fenced."""
        planned = self.faults[index]
        self.system.prove(index, f"broker {broker} appended nothing")
        kernel.set_silent(self.system.at_now(), broker)
        self.system.stalled.add(broker)
        pairs = {
            (b, broker) for b in range(1, self.system.plan.scenario.brokers.nodes + 1) if b != broker
        } - self.system.parted
        self.system.parted |= pairs
        self.system.log_ends.stops(broker, {leader for leader, _ in pairs})
        for partition in self.system.partitions:
            self.system.replicas_changed(partition)
        yield self.clock.control(planned.end_ns, Control.end, index)
        self.system.stalled.discard(broker)
        self.system.unavailable.discard(broker)
        self.system.goes_on(broker, planned.end_ns - planned.begin_ns)
        yield from self.system.links.join(index, pairs)

    def _restart(self, number: int, broker: int) -> Process:
        """Start a broker again: it is registered when its old session is over, and in sync again later."""
        clock, label, end_ns = self.clock, self.system.label(number), self.faults[number % len(self.faults)].end_ns
        yield clock.control(end_ns, Control.end, number)
        self.system.incident("restart", f"broker {broker}", cause=label)
        clock.process(self._votes_again(number, broker))
        while number not in self.fenced_ns:
            yield self.progress.wait()
        registered_ns = self.draws.registered_ns(number, self.fenced_ns[number])
        yield from self.controller.at(registered_ns, Control.in_sync, number)
        self.system.incident("registered", f"broker {broker}", cause=label)
        if not isinstance(self.faults[number % len(self.faults)].fault, BrokerStop):
            for partition in self.system.partitions:  # after an unclean end nobody knows what a broker has
                partition.eligible.discard(broker)
        yield from self._when_elected(self.draws.back_in_sync_ns(number, clock.now), number)
        self._is_back(broker, number)

    def _votes_again(self, number: int, broker: int) -> Process:
        """Let a broker's own controller vote again as soon as the process has started."""
        yield self.clock.control(self.draws.started_ns(number), Control.in_sync, number)
        self.controller.hears(broker)
