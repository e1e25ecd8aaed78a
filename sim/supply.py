"""The random inputs as the kernel takes them."""

from collections.abc import Callable, Sequence

import numpy as np

from sim.draws import Draws, Values
from sim.emitters import Emitter
from sim.world import Ints


class Supply:
    """The random inputs as the kernel takes them: arrays that are drawn further when they run out."""

    def __init__(self, draws: Draws, processes: int, members: int, brokers: int, emitters: tuple[Emitter, ...]) -> None:
        codes = range(processes, processes + members)
        senders = [*range(processes), *([*codes, *(emitter.code for emitter in emitters)] if emitters else [])]
        self._draws, self._brokers = draws, range(1, brokers + 1)
        self._sources: dict[str, list[list[Values]]] = {
            "produce": self._per_broker(senders, draws.produce),
            "leader": self._per_broker(senders, draws.leader),
            "acknowledge": self._per_broker(senders, draws.acknowledge),
            "retry": [[draws.retry(code)] for code in senders],
            "fetch": self._per_broker(codes, draws.fetch),
            "turnaround": self._per_broker(codes, draws.turnaround),
            "wake": [[draws.wake(code)] for code in codes],
            "overshoot": [[draws.overshoot(code)] for code in codes],
            "commit_time": [[draws.commit(code)] for code in codes],
            "dead_letter": [[draws.dead_letter(code)] for code in codes],
            "emit_send": [[draws.send(emitter.code)] for emitter in emitters],
            "emit_sticky": [[draws.sticky(emitter.code, draws.partitions_of(emitter.topic))] for emitter in emitters],
            "takes": [[draws.takes(name)] for name in draws.plan.scenario.dependencies],
        }

    def _per_broker(self, codes: Sequence[int], of: Callable[[int, int], Values]) -> list[list[Values]]:
        return [[of(code, broker) for broker in self._brokers] for code in codes]

    def array(self, name: str, count: int) -> Ints:
        """Return the first `count` values of each entity (and broker: index 0 is no broker)."""
        sources = self._sources[name]
        if name in ("produce", "leader", "acknowledge", "fetch", "turnaround"):
            filled = np.zeros((len(sources), len(self._brokers) + 1, count), np.int64)
            for entity, of_brokers in enumerate(sources):
                for broker, values in enumerate(of_brokers, 1):
                    filled[entity, broker] = values.first(count)
            return filled
        return np.array([values.first(count) for (values,) in sources], np.int64).reshape(len(sources), count)
