"""Links of the plain model that are cut or slow: between brokers, between clients and brokers, between a broker and the controller."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from plain_brokers import COORDINATING, Partition
from plain_clock import Control
from rundata.rows import NEVER
from scenarios.faults import Cut, SlowLink
from scenarios.quantities import SECOND
from scenarios.targets import LinkEnd

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


REQUEST, ANSWER, FETCH, FETCHED, COMMIT, LETTER = range(100_000, 100_012, 2)
"""What crosses a link, for its jitter's chance."""


@dataclass
class Pair:
    """A slow pair of leader and follower: when the follower's fetch was answered last, and when the next is there."""

    leaves_ns: int = 0
    parked_ns: int = 0


class Links:
    """The faults of a model's links."""

    def __init__(self, model: "Model") -> None:
        self.model, self.clock, self.draws, self.plan = model, model.clock, model.draws, model.plan
        self.controller = model.controller
        self.slowed: list[tuple[SlowLink, set[tuple[int, str]], set[tuple[int, int]]]] = []
        """Faults in effect: which ways to and from brokers, and which pairs of brokers, each from the first to the second."""
        self.free_ns: dict[tuple[int, str], int] = {}
        self.pairs: dict[tuple[int, int], Pair] = {}

    def slow(self, index: int, fault: SlowLink) -> Process:
        """Slow the links between two ends down."""
        yield self.clock.control(self.plan.faults[index].begin_ns, Control.begin, index)
        first, second = (self._ends(end) for end in fault.between)
        towards, back = fault.direction in ("both", "to"), fault.direction in ("both", "from")
        ways: set[tuple[int, str]] = set()
        pairs: set[tuple[int, int]] = set()
        if fault.between[1].role == "clients":
            ways = {(b, way) for b in first for way, meant in (("from", towards), ("to", back)) if meant}
        elif fault.between[0].role == "clients":
            ways = {(b, way) for b in second for way, meant in (("to", towards), ("from", back)) if meant}
        else:
            pairs = {(a, b) for a in first for b in second if a != b and towards}
            pairs |= {(b, a) for a in first for b in second if a != b and back}
        slowed = (fault, ways, pairs)
        self.slowed.append(slowed)
        yield self.clock.control(self.plan.faults[index].end_ns, Control.end, index)
        self.slowed.remove(slowed)
        still = {way for _, ways, _ in self.slowed for way in ways}
        self.free_ns = {way: free_ns for way, free_ns in self.free_ns.items() if way in still}
        paired = {pair for _, _, pairs in self.slowed for pair in pairs}
        self.pairs = {(a, b): pair for (a, b), pair in self.pairs.items() if (a, b) in paired or (b, a) in paired}

    def crosses(self, broker: int, way: str, size: int, code: int, kind: int, number: int) -> int:
        """Return how much longer bytes take between a client and a broker."""
        slowing = [fault for fault, ways, _ in self.slowed if (broker, way) in ways]
        if not slowing or not self.model.rules.slow_links:
            return 0
        takes_ns = sum(fault.delay for fault in slowing)
        self.model.fired["slow link to clients"] += 1
        if jitter_ns := sum(fault.jitter for fault in slowing):
            u = self.draws.link_jitter(code, broker, kind, number)
            takes_ns += int(np.rint((2 * u - 1) * jitter_ns)) if self.model.rules.jitter else 0
        if (limit := self._bytes_per_s(slowing)) and self.model.rules.narrow_links:
            now = self.clock.now
            ready_ns = max(self.free_ns.get((broker, way), 0), now) + size * SECOND // limit
            if size:
                self.model.fired["narrow link"] += ready_ns > now
                self.free_ns[broker, way] = ready_ns
            takes_ns += ready_ns - now
        return takes_ns

    def there_and_back(self, broker: int | None, code: int, kind: int, number: int) -> int:
        """Return how much longer a short question to a broker and its answer take."""
        if broker is None:
            return 0
        to = self.crosses(broker, "to", 0, code, kind, number)
        return to + self.crosses(broker, "from", 0, code, kind + 1, number)

    def _bytes_per_s(self, slowing: list[SlowLink]) -> int:
        return min([max(1, round(fault.bandwidth)) for fault in slowing if fault.bandwidth is not None], default=0)

    def followers_take(self, partition: Partition, appended_ns: int, size: int) -> int:
        """Return how long the slowest follower takes to fetch what is appended at an instant, and to ask for more."""
        longest_ns, leader = 0, partition.leader
        for follower in partition.in_sync if leader is not None and self.model.rules.slow_followers else ():
            there = [fault for fault, _, pairs in self.slowed if (leader, follower) in pairs]
            back = [fault for fault, _, pairs in self.slowed if (follower, leader) in pairs]
            if follower == leader or not there + back:
                continue
            self.model.fired["slow follower"] += 1
            assert leader is not None
            limit = self._bytes_per_s(there)
            carried_ns = size * SECOND // limit if limit else 0
            pair = self.pairs.setdefault((leader, follower), Pair())
            if appended_ns <= pair.leaves_ns:
                pair.parked_ns += carried_ns
            else:
                pair.leaves_ns = max(appended_ns, pair.parked_ns)
                round_ns = sum(fault.delay for fault in there) + sum(fault.delay for fault in back)
                pair.parked_ns = pair.leaves_ns + round_ns + carried_ns
            longest_ns = max(longest_ns, pair.parked_ns - appended_ns)
        return longest_ns

    def cut(self, index: int, fault: Cut) -> Process:
        planned = self.plan.faults[index]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        one, other = fault.between
        first, second = self._ends(one), self._ends(other)
        brokers = sorted(second if one.role in ("clients", "controller") else first)
        if "clients" in (one.role, other.role):
            for broker in brokers:
                self.clock.process(self._cut_off(index, broker, fault))
        elif "controller" in (one.role, other.role):
            for k, broker in enumerate(brokers) if self.model.rules.cuts_off_the_controller else ():
                self.clock.process(self._isolate(index + k * len(self.plan.faults), index, broker, fault.channel))
        elif self.model.rules.cuts_between_brokers:
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
        for leader, follower in sorted(pairs):
            for partition in self.model.all_partitions:
                if partition.leader == leader:
                    partition.stops(follower)
        for partition in self.model.all_partitions:
            partition.replicas_changed()
        yield self.clock.control(self.plan.faults[index].end_ns, Control.end, index)
        yield from self.join(index, pairs)

    def join(self, index: int, pairs: set[tuple[int, int]]) -> Process:
        self.model.parted -= pairs
        for partition in self.model.all_partitions:
            partition.watched = {watch for watch in partition.watched if watch in self.model.parted}
            partition.replicas_changed()
        yield from self.controller.at(self.clock.now + self.draws.heals_ns(index), Control.in_sync, index)
        self.model.is_back(-1, index)

    def _cut_off(self, index: int, broker: int, fault: Cut) -> Process:
        """Let no client reach a broker that goes on as it was, or none hear from it."""
        planned, mode = self.plan.faults[index], fault.mode if self.model.rules.resets_break_connections else "silent"
        if broker in self.model.cut_off | self.model.unavailable or not self.model.rules.cuts_off_clients:
            return
        self.model.fired[f"clients cut off, {mode}"] += 1
        self.model.cut_off.add(broker)
        is_towards = (fault.between[1].role == "clients") == (fault.direction == "from")
        if mode == "silent" and fault.direction != "both":
            (self.model.no_requests if is_towards else self.model.no_answers).add(broker)
            self.model.fired["no requests get through" if is_towards else "no answers get through"] += 1
        for client in self.model.clients:
            client.connections[broker].is_new = False
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
        for brokers in (self.model.cut_off, self.model.reset, self.model.no_requests, self.model.no_answers):
            brokers.discard(broker)
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
        channel = "both" if channel == "heartbeat" and not model.rules.steps_down else channel
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
            if channel == "heartbeat" or partition.topic in COORDINATING:
                for client in model.clients:
                    client.refused(broker, partition)
                model.forget(partition)
            else:
                model.members_forget(partition)
            partition.leader = None
            if partition.in_sync != [broker]:
                partition.cut_back(clock.now)
        model.news.give()
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
