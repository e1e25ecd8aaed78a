"""Quotas in the plain model: a broker that got more of a producer than it may have takes nothing for a while."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Control
from scenarios.faults import Throttle
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


class Quotas:
    """What each broker has got of each producer, in samples of a second."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.in_effect: list[Throttle] = []
        self.samples: dict[tuple[str, int], list[tuple[int, int]]] = {}
        """By producer and broker: begin and bytes of each sample."""

    def throttle(self, index: int, fault: Throttle) -> Process:
        """Hold a producer to a quota."""
        planned, clock = self.model.plan.faults[index], self.model.clock
        yield clock.control(planned.begin_ns, Control.begin, index)
        self._begin_anew(fault.producer)
        self.in_effect.append(fault)
        yield clock.control(planned.end_ns, Control.end, index)
        self.in_effect.remove(fault)
        self._begin_anew(fault.producer)

    def _begin_anew(self, producer: str | None) -> None:
        self.samples = {key: samples for key, samples in self.samples.items() if key[0] != producer}

    def mutes(self, producer: str, broker: int, size: int) -> int:
        """Note bytes; return for how long their connection is muted: until the rate over the samples is the quota again."""
        limits = [max(1, round(fault.rate)) for fault in self.in_effect if fault.producer == producer]
        if not limits or not self.model.rules.quotas:
            return 0
        now = self.model.clock.now
        samples = [
            (begin, sum_) for begin, sum_ in self.samples.get((producer, broker), []) if begin > now - 11 * SECOND
        ]
        if not samples or now - samples[-1][0] >= SECOND:
            samples.append((now, 0))
        samples[-1] = (samples[-1][0], samples[-1][1] + size)
        self.samples[producer, broker] = samples
        elapsed_ns = now - samples[0][0]
        elapsed_ns += max(0, 10 - elapsed_ns // SECOND) * SECOND
        mute_ns = max(0, sum(sum_ for _, sum_ in samples) * SECOND // min(limits) - elapsed_ns)
        self.model.fired["throttled"] += mute_ns > 0
        return mute_ns
