"""The random inputs as the kernel takes them."""

from collections.abc import Callable, Sequence

from sim.draws import Draws, Values
from sim.emitters import Emitter
from sim.far import NEAR, Near
from sim.world import Ints


class Drawn:
    """Random inputs as an array: a row for each entity (with brokers: and for each of them, 0 is none), drawn further when it runs out."""

    def __init__(self, sources: Sequence[Sequence[Values]], *, with_brokers: bool) -> None:
        self._sources, self._with_brokers = list(sources), with_brokers
        self._onward = list[list[Callable[[int], Ints]]]()
        self._count = 0

    @classmethod
    def per_broker(cls, codes: Sequence[int], brokers: Sequence[int], draw: Callable[[int, int], Values]) -> "Drawn":
        """Return what is drawn for each entity and broker."""
        return cls([[draw(code, broker) for broker in brokers] for code in codes], with_brokers=True)

    @classmethod
    def per_entity(cls, values: Sequence[Values]) -> "Drawn":
        """Return what is drawn for each entity."""
        return cls([[each] for each in values], with_brokers=False)

    def array(self, count: int, known: Ints | None = None, room: Near = NEAR) -> Ints:
        """Return the first `count` values of each; what the array before held is copied from it and not drawn again."""
        held = known.shape[-1] if known is not None else 0
        if known is None or held != self._count:
            self._onward = [[values.onward() for values in row] for row in self._sources]
            known, held = None, 0
        self._count = count
        brokers = [len(self._sources[0]) + 1 if self._sources else 1] if self._with_brokers else []
        filled: Ints = room.zeros((len(self._sources), *brokers, count))
        for entity, row in enumerate(self._onward):
            for broker, more in enumerate(row, 1):
                place = (entity, broker) if self._with_brokers else (entity,)
                if known is not None:
                    filled[(*place, slice(0, held))] = known[place]
                filled[(*place, slice(held, count))] = more(count - held)
                room.give_back()
        return filled

    def redrawn(self, entity: int, values: Values) -> Ints:
        """Return as many values of an entity without brokers as there are, drawn by another rule, by which more are drawn, too."""
        self._sources[entity] = [values]
        self._onward[entity] = [values.onward()]
        return self._onward[entity][0](self._count)


class Supply:
    """All random inputs of a world, by the names of its arrays."""

    def __init__(self, draws: Draws, processes: int, members: int, brokers: int, emitters: tuple[Emitter, ...]) -> None:
        codes, nodes = range(processes, processes + members), range(1, brokers + 1)
        senders = [*range(processes), *([*codes, *(emitter.code for emitter in emitters)] if emitters else [])]
        self.senders = senders
        """By row of those who send, the code of each."""
        sticky = [draws.sticky(emitter.code, draws.partitions_of(emitter.topic)) for emitter in emitters]
        self._drawn = {
            "produce": Drawn.per_broker(senders, nodes, draws.produce),
            "leader": Drawn.per_broker(senders, nodes, draws.leader),
            "acknowledge": Drawn.per_broker(senders, nodes, draws.acknowledge),
            "retry": Drawn.per_entity([draws.retry(code) for code in senders]),
            "fetch": Drawn.per_broker(codes, nodes, draws.fetch),
            "turnaround": Drawn.per_broker(codes, nodes, draws.turnaround),
            "wake": Drawn.per_entity([draws.wake(code) for code in codes]),
            "overshoot": Drawn.per_entity([draws.overshoot(code) for code in codes]),
            "commit_time": Drawn.per_entity([draws.commit(code) for code in codes]),
            "producer_commit": Drawn.per_entity(
                [draws.commit(code) for code in range(processes * draws.producers_commit())]
            ),
            "dead_letter": Drawn.per_entity([draws.dead_letter(code) for code in codes]),
            "emit_send": Drawn.per_entity([draws.send(emitter.code) for emitter in emitters]),
            "emit_sticky": Drawn.per_entity(sticky),
            "takes": Drawn.per_entity([draws.takes(name) for name in draws.plan.scenario.dependencies]),
        }

    def redrawn(self, name: str, entity: int, values: Values) -> Ints:
        """Return as many values of an entity as there are, drawn by another rule, which goes on from there."""
        return self._drawn[name].redrawn(entity, values)

    def array(self, name: str, count: int, known: Ints | None = None, room: Near = NEAR) -> Ints:
        """Return the first `count` values of each entity; `known` is the array before, if there is one."""
        return self._drawn[name].array(count, known, room)
