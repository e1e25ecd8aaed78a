"""The cores of one machine in the plain model, for which everybody waits in the order of coming."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plain_brokers import Request
    from plain_model import Model


@dataclass
class Fetch:
    """The latest fetch of a broker's followers: when it leaves, and when it is back."""

    leaves_ns: int = -1
    back_ns: int = -1


class Cores:
    """Cores that brokers and clients share, by when each of them is free."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.request_ns, self.event_ns, self.mean_produce_ns, self.mean_fetch_ns = model.draws.core_times()
        self.free_ns = [0] * (model.profile.cores.count if model.rules.shared_cores else 0)
        self.fetches = {broker: Fetch() for broker in model.brokers}

    def request_waits_ns(self, broker: int, batches: "list[Request]", took_ns: int, follows_ns: int) -> int:
        """Return how long a produce request waits for a core; its followers' fetch is part of its work, or goes with another's."""
        events = sum(len(batch.events) for batch in batches)
        work_ns = self.request_ns + events * self.event_ns
        fetch, now = self.fetches[broker], self.model.clock.now
        pays = now > fetch.leaves_ns or not self.model.rules.followers_fetch_together
        if pays:
            work_ns += max(0, max(len(batch.partition.in_sync) for batch in batches) - 1) * self.request_ns
        elif self.free_ns:
            self.model.fired["went with another's followers"] += 1
        waits_ns = self._waits_ns(work_ns, took_ns, self.mean_produce_ns)
        if pays:
            fetch.leaves_ns = max(now, fetch.back_ns)
            fetch.back_ns = fetch.leaves_ns + waits_ns + follows_ns
        return waits_ns

    def answer_works(self, events: int, took_ns: int) -> None:
        """Let the answer to a member's fetch take a core; what it brings has waited, and it does not wait again."""
        if self.model.rules.answers_hold_cores:
            self._waits_ns(self.request_ns + events * self.event_ns, took_ns, self.mean_fetch_ns)

    def _waits_ns(self, work_ns: int, took_ns: int, mean_ns: int) -> int:
        """Let some work, of something that took so long where it takes a mean, take the core that is free first; return how long that waits for it."""
        if not self.free_ns:
            return 0
        if mean_ns and self.model.rules.work_in_proportion:
            work_ns = work_ns * took_ns // mean_ns
        begins_ns = max(self.model.clock.now, min(self.free_ns))
        self.free_ns[self.free_ns.index(min(self.free_ns))] = begins_ns + work_ns
        self.model.fired["waits for a core"] += begins_ns > self.model.clock.now
        return begins_ns - self.model.clock.now
