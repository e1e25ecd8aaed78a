"""Wrong clocks in the plain model: a record's timestamp is its sender's, its age is a matter of the broker that looks."""

from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Control
from scenarios.faults import ClockSkew

if TYPE_CHECKING:
    from plain_model import Model


class WrongClocks:
    """By how much the clocks of a model's producers and brokers are off."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.of_brokers: Counter[int] = Counter()

    def stamped(self, sender: int, handed_ns: int) -> int:
        """Return the timestamp of a record that a sender handed over."""
        names = self.model.names.processes
        for planned in self.model.plan.faults if sender < len(names) and self.model.rules.producer_clock else ():
            fault, own = planned.fault, (names[sender], names[sender].rpartition("/")[0])
            is_its = isinstance(fault, ClockSkew) and fault.producer is not None and str(fault.producer) in own
            if is_its and planned.begin_ns <= handed_ns < planned.end_ns:
                self.model.fired["producer's clock wrong"] += 1
                return handed_ns + fault.by
        return handed_ns

    def now_of(self, broker: int) -> int:
        """Return what time it is by a broker's clock."""
        self.model.fired["broker's clock wrong"] += self.of_brokers[broker] != 0
        return self.model.clock.now + (self.of_brokers[broker] if self.model.rules.broker_clock else 0)

    def set_wrong(self, index: int, fault: ClockSkew) -> Generator[simpy.Event, Any, None]:
        """Let a broker's clock be wrong for a while."""
        clock, planned = self.model.clock, self.model.plan.faults[index]
        if fault.broker is None:
            return
        yield clock.control(planned.begin_ns, Control.begin, index)
        broker = self.model.resolve(fault.broker)
        if broker is not None:
            self.of_brokers[broker] += fault.by
            yield clock.control(planned.end_ns, Control.end, index)
            self.of_brokers[broker] -= fault.by
