"""Quotas in the plain model: a broker that got more of a producer, or gave more to a group, than it may takes and gives nothing for a while."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Control
from scenarios.faults import Throttle
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from plain_brokers import Request
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


class Quotas:
    """What each broker has got of each producer, and given to each group, in samples of a second."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.in_effect: list[Throttle] = []
        self.samples: dict[tuple[str, int], list[tuple[int, int]]] = {}
        """By producer or group, and broker: begin and bytes of each sample."""

    def throttle(self, index: int, fault: Throttle) -> Process:
        """Hold a producer or a group to a quota."""
        planned, clock = self.model.plan.faults[index], self.model.clock
        yield clock.control(planned.begin_ns, Control.begin, index)
        owner = fault.producer or fault.group
        self._begin_anew(owner)
        self.in_effect.append(fault)
        yield clock.control(planned.end_ns, Control.end, index)
        self.in_effect.remove(fault)
        self._begin_anew(owner)

    def _begin_anew(self, owner: str | None) -> None:
        self.samples = {key: samples for key, samples in self.samples.items() if key[0] != owner}

    def _limits(self, owner: str) -> list[int]:
        return [max(1, round(fault.rate)) for fault in self.in_effect if owner in (fault.producer, fault.group)]

    def produced_bytes(self, batches: Sequence["Request"]) -> int:
        """Return what a broker counts of a produce request: values, frames of records and batches, the request's own fields."""
        values = [self.model.size_of(event) for batch in batches for event, _, _ in batch.events]
        if not self.model.rules.quotas_of_requests:
            return sum(values)
        return sum(values) + 16 * len(values) + (61 + 7) * len(batches) + 18

    def most_bytes(self, group: str, most: int) -> int:
        """Return how much a fetch may bring: no more than ten seconds of a quota."""
        limits = self._limits(group) if self.model.rules.answers_within_quotas else []
        return min([most, *(10 * limit for limit in limits)])

    def keeps_back(self, group: str, broker: int, size: int) -> int:
        """Note bytes that a group fetches, unless that is too much: then return for how long its member gets nothing."""
        if not self.model.rules.quotas_of_groups:
            return 0
        if wait_ns := self.mutes(group, broker, size):
            self.model.fired["fetch throttled"] += 1
            begin, sum_ = self.samples[group, broker][-1]
            self.samples[group, broker][-1] = (begin, sum_ - size)
        return wait_ns

    def mutes(self, owner: str, broker: int, size: int) -> int:
        """Note bytes; return for how long their connection is muted: until the rate over the samples is the quota again."""
        limits = self._limits(owner)
        if not limits or not self.model.rules.quotas:
            return 0
        now = self.model.clock.now
        samples = [(begin, sum_) for begin, sum_ in self.samples.get((owner, broker), []) if begin > now - 11 * SECOND]
        if not samples or now - samples[-1][0] >= SECOND:
            samples.append((now, 0))
        samples[-1] = (samples[-1][0], samples[-1][1] + size)
        self.samples[owner, broker] = samples
        elapsed_ns = now - samples[0][0]
        elapsed_ns += max(0, 10 - elapsed_ns // SECOND) * SECOND
        mute_ns = max(0, sum(sum_ for _, sum_ in samples) * SECOND // min(limits) - elapsed_ns)
        self.model.fired["throttled"] += mute_ns > 0
        return mute_ns
