"""Links of the plain model that are cut: between brokers, between clients and brokers, between a broker and the controller."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_brokers import OFFSETS
from plain_clock import Control
from rundata.rows import NEVER
from scenarios.faults import Cut
from scenarios.targets import LinkEnd

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


class Links:
    """The faults of a model's links."""

    def __init__(self, model: "Model") -> None:
        self.model, self.clock, self.draws, self.plan = model, model.clock, model.draws, model.plan
        self.controller = model.controller

    def cut(self, index: int, fault: Cut) -> Process:
        planned = self.plan.faults[index]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        one, other = fault.between
        first, second = self._ends(one), self._ends(other)
        brokers = sorted(second if one.role in ("clients", "controller") else first)
        if "clients" in (one.role, other.role):
            for broker in brokers:
                self.clock.process(self._cut_off(index, broker, fault.mode))
        elif "controller" in (one.role, other.role):
            for k, broker in enumerate(brokers):
                self.clock.process(self._isolate(index + k * len(self.plan.faults), index, broker, fault.channel))
        else:
            both = {(a, b) for a in first for b in second} | {(b, a) for a in first for b in second}
            yield from self._part(index, {(a, b) for a, b in both if a != b} - self.model.parted)

    def _ends(self, end: LinkEnd) -> set[int]:
        if end.broker is None:
            return set(self.model.brokers)
        if end.broker.role == "rack":
            racks = self.plan.scenario.brokers.racks or ()
            return {n for n, rack in enumerate(racks, 1) if rack == end.broker.rack}
        broker = self.model.resolve(end.broker)
        return set() if broker is None else {broker}

    def _part(self, index: int, pairs: set[tuple[int, int]]) -> Process:
        """Let brokers not fetch from one another: the high watermark waits until the leader gives the others up."""
        self.model.fired["brokers parted"] += bool(pairs)
        self.model.parted |= pairs
        for partition in self.model.all_partitions:
            partition.replicas_changed()
        yield self.clock.control(self.plan.faults[index].end_ns, Control.end, index)
        yield from self.join(index, pairs)

    def join(self, index: int, pairs: set[tuple[int, int]]) -> Process:
        self.model.parted -= pairs
        for partition in self.model.all_partitions:
            partition.watched = {watch for watch in partition.watched if watch in self.model.parted}
            partition.replicas_changed()
        yield from self.controller.at(self.clock.now + self.draws.catch_up_ns(index), Control.in_sync, index)
        self.model.is_back(-1, index)

    def _cut_off(self, index: int, broker: int, mode: str) -> Process:
        """Let no client reach a broker that goes on as it was."""
        planned = self.plan.faults[index]
        if broker in self.model.cut_off or broker in self.model.unavailable:
            return
        self.model.fired[f"clients cut off, {mode}"] += 1
        self.model.cut_off.add(broker)
        if mode == "reset":
            self.model.reset.add(broker)
            for client in self.model.clients:
                client.lost_broker(broker)
        for partition in self.model.all_partitions:
            if partition.leader == broker and mode == "reset":
                self.model.forget(partition)
            elif partition.leader == broker:
                self.model.members_forget(partition)
        self.model.news.give()
        yield self.clock.control(planned.end_ns, Control.end, index)
        self.model.cut_off.discard(broker)
        self.model.reset.discard(broker)
        self.model.news.give()
        for code in self.model.knowers:
            wait_ns = self.draws.moved_back_ns(self.model.entity(code), index, back=True) if mode == "reset" else 0
            self.clock.process(self._reach(code, broker, planned.end_ns + wait_ns))

    def _reach(self, code: int, broker: int, at_ns: int) -> Process:
        yield self.clock.control(at_ns, Control.election, code)
        for partition in self.model.all_partitions:
            if partition.leader == broker and broker not in self.model.cut_off | self.model.unavailable:
                self.model.learns(code, partition)

    def _isolate(self, number: int, index: int, broker: int, channel: str) -> Process:
        """Cut a broker off the controller, which fences it; without metadata it goes on as the leader that it was."""
        model, clock, planned = self.model, self.clock, self.plan.faults[index]
        elected_after_ns = self.draws.elected_ns(number) - self.draws.fence_ns(number)
        is_itself = broker == self.controller.active
        if broker in model.unavailable or channel == "metadata" or is_itself:
            return
        if planned.end_ns <= self.draws.fence_ns(number):
            return
        model.unavailable.add(broker)
        fence_ns = yield from self.controller.fences(number, planned.begin_ns, planned.end_ns)
        if fence_ns is None:
            model.unavailable.discard(broker)
            return
        model.fired[f"isolated, {channel}"] += 1
        model.incident("fence", f"broker {broker}")
        yield from self.controller.at(fence_ns + elected_after_ns, Control.election, number)
        clock.process(self._hears_again(number, index, broker, clock.now, channel))
        led = [partition for partition in model.all_partitions if partition.leader == broker]
        model.stale_until_ns[broker] = 0 if channel == "heartbeat" else NEVER
        for partition in led:
            if channel == "heartbeat" or partition.topic == OFFSETS:
                for client in model.clients:
                    client.refused(broker, partition)
                model.forget(partition)
            else:
                model.members_forget(partition)
            partition.leader = None
            if partition.in_sync != [broker]:
                partition.cut_back(clock.now)
        model.elect(broker, led, number)

    def _hears_again(self, number: int, index: int, broker: int, elected_ns: int, channel: str) -> Process:
        clock, draws, planned = self.clock, self.draws, self.plan.faults[index]
        end_ns = max(planned.end_ns, elected_ns)
        if channel != "heartbeat":
            stale_until_ns = max(draws.stale_until_ns(number), elected_ns)
            for client in self.model.clients:
                clock.process(
                    self.model.told(
                        client, broker, max(draws.told_ns(self.model.entity(client.code), number), elected_ns)
                    )
                )
            yield clock.control(stale_until_ns, Control.in_sync, number)
            self.model.stale_until_ns[broker] = stale_until_ns
            for client in self.model.clients:
                client.connections[broker].refuse_stale()
            end_ns = max(end_ns, stale_until_ns)
        yield from self.controller.at(end_ns + draws.catch_up_ns(number), Control.in_sync, number)
        self.model.is_back(broker, number)
