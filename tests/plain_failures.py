"""Brokers of the plain model that fail and come back, and its controller, which gives them up and elects."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_brokers import COORDINATING, Partition
from plain_clock import Clock, Control, Signal
from scenarios.clients import broker_setting
from scenarios.faults import BrokerCrash, BrokerPause, BrokerStop, DiskFull, DiskStall, HostCrash
from scenarios.quantities import MILLISECOND
from scenarios.targets import BrokerTarget

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]
OfBroker = BrokerCrash | BrokerStop | BrokerPause | HostCrash | DiskFull | DiskStall
SEPARATE = 0
"""The controller that is no broker."""


class Controller:
    """Who is the active controller; without one nobody is fenced or elected, and no metadata changes."""

    def __init__(self, model: "Model") -> None:
        self.model, self.draws = model, model.draws
        self.clock: Clock = model.clock
        brokers = model.plan.scenario.brokers
        self.voters = model.brokers if brokers.controllers == "combined" else [SEPARATE]
        self.active: int | None = self.draws.controller_among(0, self.voters)
        self.since_ns = -1
        self.session_ns = int(broker_setting(model.plan.scenario, "broker.session.timeout.ms")) * MILLISECOND
        self.out: set[int] = set()
        self.elections = self.under_way = 0
        self.news = Signal(self.clock)

    def has_majority(self) -> bool:
        """Whether more than half of the voters answer."""
        return len(self.voters) - len(self.out) > len(self.voters) / 2

    def is_up(self) -> bool:
        """Whether there is an active controller that answers and is followed."""
        if not self.model.rules.controller_lost:
            return True
        return self.active is not None and self.active not in self.out and self.has_majority()

    def loses(self, voter: int, how: str) -> None:
        """Let a voter answer nothing any more."""
        if voter not in self.voters:
            return
        was_up = self.is_up()
        self.out.add(voter)
        if voter == self.active and how != "hangs":
            self.active = None
        if was_up and not self.is_up():
            self.model.fired["controller lost" if self.voters != [SEPARATE] else "separate controller lost"] += 1
            self._begin_election(orderly=how == "stops")
        if was_up and not self.has_majority():
            self.clock.process(self._resign())

    def _resign(self) -> Process:
        yield self.clock.control(self.clock.now + self.draws.controller_resigns_ns(), Control.election, 0)
        if not self.has_majority() and self.model.rules.controller_resigns:
            self.model.fired["controller resigned"] += 1
            self.active = None

    def hears(self, voter: int) -> None:
        """Let a voter answer again."""
        self.out.discard(voter)
        if self.is_up():
            self.news.give()
        elif voter in self.voters and self.under_way == 0:
            self._begin_election(orderly=True)

    def _begin_election(self, *, orderly: bool) -> None:
        self.elections += 1
        self.under_way += 1
        takes_ns = 0 if self.voters == [SEPARATE] else self.draws.controller_vote_ns(self.elections, orderly=orderly)
        self.clock.process(self._elect(self.elections, takes_ns))

    def _elect(self, number: int, takes_ns: int) -> Process:
        yield self.clock.control(self.clock.now + takes_ns, Control.election, 0)
        self.under_way -= 1
        if self.is_up() or not self.has_majority():
            self.model.fired["no controller to elect"] += not self.is_up()
            return
        self.active = self.draws.controller_among(number, [v for v in self.voters if v not in self.out])
        self.since_ns = self.clock.now
        self.model.incident("controller", f"broker {self.active}" if self.active else "controller")
        self.news.give()

    def at(self, time_ns: int, kind: Control, number: int) -> Process:
        """Wait for an instant, and from then on for a controller."""
        yield self.clock.control(time_ns, kind, number)
        while not self.is_up():
            self.model.fired["waits for a controller"] += 1
            yield self.news.wait()
            yield self.clock.control(self.clock.now, kind, number)

    def fences(self, fault: int, since_ns: int, until_ns: int | None = None) -> Generator[simpy.Event, Any, int | None]:
        """Wait until a broker that is silent since an instant is fenced, unless it is heard of before another one."""
        due_ns = self.draws.fence_ns(fault)
        while True:
            if until_ns is not None and until_ns <= due_ns:
                return None
            yield self.clock.control(due_ns, Control.election, 0)
            while not self.is_up():
                over = [self.clock.control(until_ns, Control.end, fault)] if until_ns is not None else []
                yield simpy.AnyOf(self.clock, [self.news.wait(), *over])
                if until_ns is not None and until_ns <= self.clock.now:
                    return None
                due_ns = self.clock.now
            if self.since_ns <= since_ns or not self.model.rules.sessions_begin_anew:
                return due_ns
            if due_ns >= self.since_ns + self.session_ns:
                return due_ns
            self.model.fired["session of a broker began anew"] += 1
            due_ns = self.since_ns + self.session_ns


class Failures:
    """The faults of a model's brokers."""

    def __init__(self, model: "Model") -> None:
        self.model, self.clock, self.draws, self.plan = model, model.clock, model.draws, model.plan
        self.controller = model.controller
        self.fenced_ns: dict[int, int] = {}
        self.elected: set[int] = set()
        self.progress = Signal(model.clock)

    def begin(self, index: int, fault: OfBroker) -> None:
        """Begin a fault of one broker, of each of a rack, or of the controller that is no broker."""
        if fault.target.role == "controller" and self.controller.voters == [SEPARATE]:
            self.clock.process(self._controller_fault(index, fault))
            return
        targets = [fault.target]
        if fault.target.role == "rack":
            racks = self.plan.scenario.brokers.racks or ()
            targets = [BrokerTarget("number", n) for n, rack in enumerate(racks, 1) if rack == fault.target.rack]
            self.model.fired["rack"] += 1
        for k, target in enumerate(targets if self.model.rules.racks else targets[:1]):
            self.clock.process(self._broker_fault(index + k * len(self.plan.faults), index, fault, target))

    def _controller_fault(self, index: int, fault: OfBroker) -> Process:
        planned = self.plan.faults[index]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        if not self.controller.is_up():
            return
        self.controller.loses(SEPARATE, "dies")
        yield self.clock.control(planned.end_ns, Control.end, index)
        if not isinstance(fault, BrokerPause):
            self.model.incident("restart", "controller")
            yield self.clock.control(self.draws.started_ns(index), Control.in_sync, index)
        self.controller.hears(SEPARATE)

    def _broker_fault(self, number: int, index: int, fault: OfBroker, target: BrokerTarget) -> Process:
        begin_ns = self.plan.faults[index].begin_ns
        yield self.clock.control(begin_ns, Control.begin, number)
        broker = self.model.resolve(target)
        if broker is None or broker in self.model.unavailable:
            self.model.fired["broker fault without effect"] += 1
            return
        self.model.unavailable.add(broker)
        match fault:
            case BrokerPause() if self.model.rules.pauses_are_no_crashes:
                yield from self._pause(number, index, broker)
            case DiskStall() if self.model.rules.stalls_are_no_crashes:
                yield from self._stall(index, broker)
            case BrokerStop() if self.model.rules.controlled_shutdown:
                yield from self._stop(number, begin_ns, broker)
            case _:
                yield from self._crash(number, begin_ns, broker)

    def _crash(self, number: int, begin_ns: int, broker: int) -> Process:
        self.model.fired["broker crash"] += 1
        self.clock.process(self._restart(number, broker))
        led = self.model.lose(broker)
        if isinstance(self.plan.faults[number % len(self.plan.faults)].fault, HostCrash):
            for partition in self.model.all_partitions:
                if broker in partition.replicas and partition.topic not in COORDINATING:
                    partition.loses_cache(broker, self.draws.writes_back_ns(broker))
        self.controller.loses(broker, "dies")
        yield from self._session_ends(number, begin_ns)
        self.model.incident("fence", f"broker {broker}")
        yield from self.controller.at(self._elected_ns(number), Control.election, number)
        self._elect(broker, led, number)

    def _stop(self, number: int, begin_ns: int, broker: int) -> Process:
        self.clock.process(self._restart(number, broker))
        self.clock.process(self._session_ends(number, begin_ns))
        yield from self.controller.at(begin_ns, Control.election, number) if not self.controller.is_up() else ()
        takes_ns = self.draws.elected_ns(number) - begin_ns
        yield from self.controller.at(self.clock.now + takes_ns, Control.election, number)
        self.model.fired["broker stop"] += 1
        self._elect(broker, self.model.lose(broker), number)
        self.controller.loses(broker, "stops")

    def _session_ends(self, number: int, since_ns: int) -> Process:
        fence_ns = yield from self.controller.fences(number, since_ns)
        assert fence_ns is not None
        self.fenced_ns[number] = fence_ns
        self.progress.give()

    def _elected_ns(self, number: int) -> int:
        return self.fenced_ns[number] + self.draws.elected_ns(number) - self.draws.fence_ns(number)

    def _elect(self, broker: int, led: list[Partition], number: int) -> None:
        self.model.elect(broker, led, number)
        self.elected.add(number)
        self.progress.give()

    def _when_elected(self, time_ns: int, number: int) -> Process:
        yield from self.controller.at(time_ns, Control.in_sync, number)
        while number not in self.elected:
            yield self.progress.wait()
            yield self.clock.control(self.clock.now, Control.in_sync, number)

    def _restart(self, number: int, broker: int) -> Process:
        yield self.clock.control(self.plan.faults[number % len(self.plan.faults)].end_ns, Control.end, number)
        self.model.incident("restart", f"broker {broker}")
        self.clock.process(self._votes_again(number, broker))
        while number not in self.fenced_ns:
            yield self.progress.wait()
        registered_ns = self.draws.registered_ns(number, self.fenced_ns[number])
        if not self.model.rules.registration_waits:
            registered_ns = max(self.clock.now, self.draws.started_ns(number))
        yield from self.controller.at(registered_ns, Control.in_sync, number)
        self.model.incident("registered", f"broker {broker}")
        is_stop = isinstance(self.plan.faults[number % len(self.plan.faults)].fault, BrokerStop)
        if not is_stop and self.model.rules.crashed_not_eligible:
            for partition in self.model.all_partitions:
                partition.eligible.discard(broker)
        back_ns = self.draws.back_in_sync_ns(number, self.clock.now) if self.model.rules.catch_up else self.clock.now
        yield from self._when_elected(back_ns, number)
        self.model.fired["broker back in sync"] += 1
        self.model.is_back(broker, number)

    def _votes_again(self, number: int, broker: int) -> Process:
        yield self.clock.control(self.draws.started_ns(number), Control.in_sync, number)
        self.controller.hears(broker)

    # ---- a broker that hangs -----------------------------------------------------------------------------------------

    def _pause(self, number: int, index: int, broker: int) -> Process:
        """Let a broker hang: nobody is told, and when its session is over before it goes on, it is fenced."""
        clock, planned, model = self.clock, self.plan.faults[index], self.model
        led = self._falls_silent(broker)
        self.controller.loses(broker, "hangs")
        until_ns = planned.end_ns if model.rules.fence_of_silent else 0
        fence_ns = yield from self.controller.fences(number, planned.begin_ns, until_ns)
        if fence_ns is None:
            model.fired["broker pause"] += 1
            yield clock.control(planned.end_ns, Control.end, number)
            model.goes_on(broker, planned.end_ns - planned.begin_ns)
            self.controller.hears(broker)
            for partition in led:
                partition.leader = broker
                for code in model.knowers if broker not in model.cut_off else ():
                    model.learns(code, partition)
            model.is_back(broker, number)
            return
        model.fired["broker pause, fenced"] += 1
        model.incident("fence", f"broker {broker}")
        self.fenced_ns[number] = fence_ns
        clock.process(self._thaw(number, index, broker, self._elected_ns(number)))
        yield from self.controller.at(self._elected_ns(number), Control.election, number)
        for partition in led:
            partition.leader = None
            if partition.in_sync != [broker]:
                partition.cut_back(clock.now)
        self._elect(broker, led, number)

    def _falls_silent(self, broker: int) -> list[Partition]:
        """Let a broker answer nothing; return what it led. Members wait; producers do not know."""
        self.model.down.add(broker)
        self.model.silent.add(broker)
        self.model.stops(broker)
        led = [partition for partition in self.model.all_partitions if partition.leader == broker]
        for partition in led:
            partition.hangs(broker)
            self.model.members_forget(partition)
            if partition.topic in COORDINATING:
                partition.leader = None
        for partition in self.model.all_partitions:
            if broker in partition.in_sync:
                partition.replicas_changed()
        self.model.news.give()
        return led

    def _thaw(self, number: int, index: int, broker: int, elected_ns: int) -> Process:
        """Let a fenced broker go on, act as a leader for a moment, be told, and catch up."""
        clock, draws, planned = self.clock, self.draws, self.plan.faults[index]
        stale_until_ns = max(draws.stale_until_ns(number), elected_ns)
        yield clock.control(planned.end_ns, Control.end, number)
        self.model.stale_until_ns[broker] = stale_until_ns
        self.model.goes_on(broker, planned.end_ns - planned.begin_ns)
        self.controller.hears(broker)
        for client in self.model.clients:
            told_ns = max(draws.told_ns(self.model.entity(client.code), number), elected_ns)
            clock.process(self.model.told(client, broker, told_ns))
        yield clock.control(stale_until_ns, Control.in_sync, number)
        for client in self.model.clients:
            client.connections[broker].refuse_stale()
        yield from self._when_elected(max(planned.end_ns + draws.catch_up_ns(number), elected_ns), number)
        self.model.is_back(broker, number)

    def _stall(self, index: int, broker: int) -> Process:
        """Let a broker's disk take no writes: it appends nothing, as a leader or as a follower, and is not fenced."""
        planned = self.plan.faults[index]
        self.model.fired["disk stall"] += 1
        self.model.silent.add(broker)
        self.model.stalled.add(broker)
        pairs = {(b, broker) for b in self.model.brokers if b != broker} - self.model.parted
        self.model.parted |= pairs
        for partition in self.model.all_partitions:
            if (partition.leader, broker) in pairs:
                partition.stops(broker)
        for partition in self.model.all_partitions:
            if partition.leader == broker:
                partition.hangs(broker)
            partition.replicas_changed()
        yield self.clock.control(planned.end_ns, Control.end, index)
        self.model.stalled.discard(broker)
        self.model.unavailable.discard(broker)
        self.model.goes_on(broker, planned.end_ns - planned.begin_ns)
        yield from self.model.links.join(index, pairs)
