"""Events of one producer to one topic in blocks, as `scenarios.plan` draws them, of which only times, partitions and work are made.

They come from the same streams, each drawn on where the block before left off, so they are those of the plan, whatever the blocks.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from scenarios.arrivals import cumulative_rate
from scenarios.distributions import Constant
from scenarios.partitioners import librdkafka_partition
from scenarios.plan import LONGEST_WORK_NS, keys_of
from scenarios.schema import Arrivals, HotKeys, Producer, Scenario, UniformKeys, ZipfKeys
from scenarios.streams import stream
from sim.stretches import ideal_kernel as kernel
from sim.stretches.ideal_kernel import Places
from sim.stretches.senders import TakesMoreError
from sim.stretches.uniforms_kernel import lanes_of, uniforms
from sim.world import Ints

MOST_KEYS = 1 << 20
"""Partitions of so many keys are worked out beforehand."""
_MOST_AT_ONE_INSTANT = 1 << 8

Block = tuple[Ints, Places, Ints]
"""Times, partitions, and work: that of each event, or one for all."""


def key_count(producer: Producer) -> int:
    """Return how many keys a producer uses at most, 0 where that is not known or it uses none."""
    match producer.key:
        case UniformKeys(uniform=values):
            return values
        case ZipfKeys(zipf=shape):
            return shape.values
        case HotKeys(hot=hot):
            return hot.values
        case _:
            return 0


@cache
def _partition_of_keys(producer: str, keys: int, partitions: int) -> Places:
    """Return the partition of each key; a long run asks for each of its stretches."""
    return np.array([librdkafka_partition(f"{producer}-{key}".encode(), partitions) for key in range(keys)], np.int16)


class Events:
    """What is sent in a stretch."""

    def __init__(self, scenario: Scenario, seed: int, replication: int, leads: Ints, at_once: int) -> None:
        """Take who leads each partition: at one instant a member hears of what lies on the first brokers first."""
        ((self._name, self._producer),) = scenario.producers.items()
        ((group, what),) = scenario.groups.items()
        self._scenario, self._at_once = scenario, at_once

        def draw(kind: str, name: str, purpose: str) -> np.random.Generator:
            return stream(seed, kind, name, purpose, replication=replication)

        self._arrivals = draw("producer", self._name, "arrivals")
        self._choose = self._chooser(draw("producer", self._name, "keys"), len(leads))
        self._work_of, self._work_lanes = what.work, lanes_of(draw("group", group, "work"))
        room = at_once + _MOST_AT_ONE_INSTANT
        self._times, self._part, self._drawn = np.zeros(room, np.int64), np.zeros(room, np.int16), np.zeros(at_once)
        self._work = np.zeros(room, np.int64)
        self._has_one_work = isinstance(what.work, Constant)
        if self._has_one_work:
            self._work = np.zeros(1, np.int64)
            kernel.as_work(np.asarray(what.work.quantile(np.zeros(1)), np.float64), float(LONGEST_WORK_NS), self._work)
        self._kept = 0
        """So many events at the front belong to no block yet: more may come at their instant."""
        self._told = 0
        """So many events are in blocks."""
        parts = len(leads)
        self._rank = (leads * parts + np.arange(parts)) * (self._producer.count + 1)

    def _chooser(self, generator: np.random.Generator, partitions: int) -> Callable[[int, int], None]:
        """Return what chooses partitions for some places of a block."""
        producer = self._producer
        if not producer.keyed:
            return lambda _first, _count: None
        place_of = _partition_of_keys(self._name, key_count(producer), partitions)
        if isinstance(producer.key, UniformKeys):
            values, lanes = float(producer.key.uniform), lanes_of(generator)

            def at_once(first: int, count: int) -> None:
                uniforms(lanes, self._drawn[:count])
                kernel.choose(self._drawn[:count], values, place_of, self._part[first : first + count])

            return at_once

        def by_key(first: int, count: int) -> None:
            self._part[first : first + count] = place_of[keys_of(producer, count, generator, 0)]

        return by_key

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of about so many events; all events of one instant are in one of them. They lie there until the next one is made."""
        for count in self._arrive():
            first, end = self._kept, self._kept + count
            self._choose(first, count)
            if not self._has_one_work:
                drawn = self._drawn[:count]
                uniforms(self._work_lanes, drawn)
                values = np.ascontiguousarray(self._work_of.quantile(drawn), np.float64)
                kernel.as_work(values, float(LONGEST_WORK_NS), self._work[first:end])
            ready = int(np.searchsorted(self._times[:end], self._times[end - 1]))
            yield self._block(ready)
            self._keep(ready, end)
        yield self._block(self._kept)

    def _block(self, count: int) -> Block:
        times, part = self._times[:count], self._part[:count]
        work = self._work if self._has_one_work else self._work[:count]
        if (times[1:] == times[:-1]).any():
            number = np.arange(self._told, self._told + count)
            rank = self._rank[part] + number % self._producer.count
            kernel.put_ties_in_order(times, rank, part, work)
        self._told += count
        return times, part, work

    def _keep(self, first: int, end: int) -> None:
        """Move the events behind a block to the front."""
        self._kept = end - first
        if self._kept > _MOST_AT_ONE_INSTANT:
            raise TakesMoreError
        for column in (self._times, self._part) if self._has_one_work else (self._times, self._part, self._work):
            column[: self._kept] = column[first:end].copy()

    # ---- arrivals ----------------------------------------------------------------------------------------------------

    def _arrive(self) -> Iterator[int]:
        """Yield how many events have come behind those that are kept, some more each time, as `scenarios.arrivals` spaces them."""
        begin_ns, duration_ns = 0, self._scenario.duration
        for arrivals in self._producer.rated(duration_ns):
            end_ns = begin_ns + (arrivals.for_ns if arrivals.for_ns is not None else duration_ns - begin_ns)
            yield from self._part_of_time(arrivals, begin_ns, min(end_ns, duration_ns))
            begin_ns = end_ns

    def _part_of_time(self, arrivals: Arrivals, begin_ns: int, end_ns: int) -> Iterator[int]:
        knots, expected = cumulative_rate(arrivals, begin_ns, end_ns, ())
        with np.errstate(divide="ignore", invalid="ignore"):
            each_takes = np.append(np.diff(knots) / np.diff(expected), 0.0)
        rate, limits = np.stack([expected, each_takes, knots]), np.array([begin_ns, end_ns - 1, 0])
        total = float(expected[-1])
        if arrivals.spacing == "even":
            points = max(0, int(np.ceil(total - 0.5)))
            for first in range(0, points, self._at_once):
                count = min(points - first, self._at_once)
                kernel.place_even(first, count, rate, limits, self._times[self._kept :])
                yield count
            return
        sums = np.zeros(2)
        while sums[1] < total:
            left, sums[0] = int((total - sums[1]) * 1.02) + 64, 0.0
            while left:
                drawn = self._drawn[: min(left, self._at_once)]
                self._arrivals.standard_exponential(out=drawn)
                left -= len(drawn)
                count = kernel.place(drawn, sums, total, rate, limits, self._times[self._kept :])
                if count:
                    yield count
            sums[1] += sums[0]
