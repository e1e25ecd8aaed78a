"""Brokers that nobody has asked for a while, in the plain model: they answer later."""

from itertools import pairwise
from typing import TYPE_CHECKING

from scenarios.quantities import MILLISECOND

if TYPE_CHECKING:
    from plain_model import Model

ALL = 0
LINE_NS = ((8 * MILLISECOND, 0), (32 * MILLISECOND, 1), (128 * MILLISECOND, 2))
"""Points of how long nobody asked, and of halves of the cost."""


class Rests:
    """When each broker, and any of them, was asked for a produce request last."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.of_broker_ns, self.of_all_ns = model.profile.rest.costs_ns
        self.of_broker_ns *= model.rules.rest_of_brokers
        self.of_all_ns *= model.rules.rest_of_all
        self.asked_ns: dict[int, int] = {}

    def takes_longer_ns(self, broker: int) -> int:
        """Return how much longer a request takes whose service begins now."""
        now, longer_ns = self.model.clock.now, 0
        for whose, cost_ns in ((broker, self.of_broker_ns), (ALL, self.of_all_ns)):
            longer_ns += _after(now - self.asked_ns[whose], cost_ns) if whose in self.asked_ns else cost_ns
            self.asked_ns[whose] = now
        self.model.fired["asked after a rest"] += longer_ns > 0
        return longer_ns


def _after(rest_ns: int, cost_ns: int) -> int:
    """Return what a rest of some length costs, of the cost of a long one."""
    for (from_ns, halves), (until_ns, _) in pairwise(LINE_NS):
        if rest_ns < until_ns:
            beyond_ns = max(0, rest_ns - from_ns)
            return cost_ns * (halves * (until_ns - from_ns) + beyond_ns) // (2 * (until_ns - from_ns))
    return cost_ns
