"""How much work a scenario means on average, without drawing a plan: events, rates, and the busiest partition."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scenarios.faults import Poison
from scenarios.partitioners import java_partition, librdkafka_partition
from scenarios.quantities import SECOND
from scenarios.recordings import recorded_times_ns
from scenarios.schema import Group, HotKeys, Producer, Recorded, Retry, Scenario, UniformKeys, ZipfKeys

_MILLENNIUM_NS = 3.2e19
_MOST_HOPS = 50
_LEAST_AMOUNT = 1e-6
_COUNTED_KEYS = 20_000
"""Keys whose partition is computed one by one; the rest are taken as spread evenly."""


@dataclass(frozen=True)
class BusyPartition:
    """The partition that gets the most work of a group."""

    topic: str
    partition: int
    share: float
    """Of the topic's events."""
    share_of_member: float
    """Of what one member can handle."""


def expected_events(scenario: Scenario, topics: tuple[str, ...]) -> float:
    """Return how many events come to some topics on average, emitted ones included, surges apart."""
    return sum(
        expected_events_of(scenario, name) * sum(amounts.get(topic, 0.0) for topic in topics)
        for name, amounts in arriving(scenario).items()
    )


def arriving(scenario: Scenario) -> Mapping[str, Mapping[str, float]]:
    """Return by producer how many events come to each topic for one that it sends: itself, and what its effects emit."""
    return {name: _following(scenario, producer.topic) for name, producer in scenario.producers.items()}


def _following(scenario: Scenario, topic: str) -> dict[str, float]:
    total, wave = {topic: 1.0}, {topic: 1.0}
    for hop in range(_MOST_HOPS):
        following = dict[str, float]()
        for group in scenario.groups.values():
            reads = sum(wave.get(read, 0.0) for read in group.topics)
            for emits in group.emits:
                if reads and (emits.hops is None or hop < emits.hops):
                    amount = reads * emits.per_event * emits.share
                    following[emits.topic] = following.get(emits.topic, 0.0) + amount
        wave = {topic: amount for topic, amount in following.items() if amount > _LEAST_AMOUNT}
        for each, amount in wave.items():
            total[each] = total.get(each, 0.0) + amount
        if not wave:
            break
    return total


def expected_events_of(scenario: Scenario, producer: str) -> float:
    """Return how many events a producer sends on average, surges apart."""
    recorded = scenario.producers[producer].recorded
    if recorded is not None:
        return float(len(_recorded_ns(recorded, scenario.duration)))
    parts = scenario.producers[producer].rated(scenario.duration)
    return sum(sum(p.rate) / 2 * (scenario.duration if p.for_ns is None else p.for_ns) / SECOND for p in parts)


def peak_rate_hz(scenario: Scenario, topics: tuple[str, ...]) -> float:
    """Return the highest rate of some topics together, emitted events included, surges apart."""
    rates = []
    for name, amounts in arriving(scenario).items():
        factor = sum(amounts.get(topic, 0.0) for topic in topics)
        parts = _rates(scenario, scenario.producers[name])
        rates.append([(begin, end, low * factor, high * factor) for begin, end, low, high in parts])
    edges = sorted({edge for parts in rates for begin, end, _, _ in parts for edge in (begin, end)})
    peak = 0.0
    for begin, end in pairwise(edges):
        inside = [part for parts in rates for part in parts if part[0] <= begin and end <= part[1]]
        peak = max(peak, sum(_at(part, begin) for part in inside), sum(_at(part, end) for part in inside))
    return peak


def _rates(scenario: Scenario, producer: Producer) -> list[tuple[int, int, float, float]]:
    parts, begin = list[tuple[int, int, float, float]](), 0
    if producer.recorded is not None:
        return _recorded_rates(producer.recorded, scenario.duration)
    for part in producer.rated(scenario.duration):
        end = begin + (scenario.duration if part.for_ns is None else part.for_ns)
        parts.append((begin, end, *part.rate))
        begin = end
    return parts


def _recorded_ns(recorded: Recorded, duration_ns: int) -> NDArray[np.int64]:
    times = recorded_times_ns(recorded)
    return times[(times >= 0) & (times < duration_ns)]


def _recorded_rates(recorded: Recorded, duration_ns: int) -> list[tuple[int, int, float, float]]:
    """Return a recording's rate in each second."""
    edges = np.arange(0, duration_ns + SECOND, SECOND)
    counts, _ = np.histogram(_recorded_ns(recorded, duration_ns), edges)
    return [
        (int(begin), int(begin) + SECOND, float(count), float(count))
        for begin, count in zip(edges, counts, strict=False)
    ]


def _at(part: tuple[int, int, float, float], time_ns: int) -> float:
    begin, end, low, high = part
    return low + (high - low) * (time_ns - begin) / (end - begin)


def poisoned(scenario: Scenario, group: str) -> bool:
    """Return whether a group meets events that no handler can process."""
    topics = scenario.groups[group].topics
    feeding = [name for name, producer in scenario.producers.items() if producer.topic in topics]
    by_fault = {fault.producer for fault in scenario.faults if isinstance(fault, Poison)}
    return poison_share(scenario, group) > 0 or any(name in by_fault for name in feeding)


def handling_ns(scenario: Scenario, group: str) -> float:
    """Return a worker's mean time per event: the work, calls, and in-place retries of what fails."""
    what = scenario.groups[group]
    work = try_ns(scenario, group)
    if what.failures is None:
        return work
    retry, transient = what.failures.retry, what.failures.transient
    waits = retry.where == "in_place"
    extra = poison_share(scenario, group) * (
        (retry.attempts - 1) * work + (waits_ns(retry, retry.attempts - 1) if waits else 0.0)
    )
    if transient is not None:
        again = min(transient.attempts, retry.attempts - 1)
        extra += transient.chance * (again * work + (waits_ns(retry, again) if waits else 0.0))
    return work + extra


def try_ns(scenario: Scenario, group: str) -> float:
    """Return the mean time of one try: the work, and the calls that it makes, queueing apart."""
    what = scenario.groups[group]
    called = [scenario.dependencies[call.dependency] for call in what.calls if call.dependency in scenario.dependencies]
    return float(what.work.mean) + sum(float(each.takes.mean) for each in called)


def poison_share(scenario: Scenario, group: str) -> float:
    """Return the share of a group's events that no handler can ever process, faults apart."""
    what = scenario.groups[group]
    events = expected_events(scenario, what.topics)
    feeding = [name for name, producer in scenario.producers.items() if producer.topic in what.topics]
    poison = sum(scenario.producers[name].poison * expected_events_of(scenario, name) for name in feeding)
    for other in scenario.groups.values():
        for emits in other.emits:
            if emits.topic in what.topics:
                poison += emits.poison * emits.per_event * emits.share * expected_events(scenario, other.topics)
    return min(1.0, poison / events) if events else 0.0


def waits_ns(retry: Retry, count: int) -> float:
    """Return how long the first waits between tries are together; more than a millennium is infinite."""
    total, wait = 0.0, float(retry.backoff)
    for _ in range(count):
        total += wait
        wait *= retry.factor
        if total > _MILLENNIUM_NS:
            return float("inf")
    return total


def _at_once(group: Group) -> int:
    """Return how many events of one partition a member works on at a time."""
    return 1 if group.ordered_by == "partition" else group.workers


def busiest_partition(scenario: Scenario, group: str) -> BusyPartition | None:
    """Return the partition that gives one member of a group the most to do, on average; None where nothing arrives."""
    what = scenario.groups[group]
    needed = handling_ns(scenario, group)
    best: BusyPartition | None = None
    for topic in what.topics:
        partitions = scenario.topics[topic].partitions
        events = np.zeros(partitions)
        for name, producer in scenario.producers.items():
            if producer.topic == topic:
                events += expected_events_of(scenario, name) * key_shares(name, producer, partitions)
        if not events.sum():
            continue
        hottest = int(events.argmax())
        busy = float(events[hottest]) * needed / scenario.duration / _at_once(what)
        if best is None or busy > best.share_of_member:
            best = BusyPartition(topic, hottest, float(events[hottest] / events.sum()), busy)
    return best


def _tail(values: int, exponent: float) -> float:
    """Return the sum of k^-exponent from the first key that is not counted on, by the midpoint rule."""
    low, high = _COUNTED_KEYS + 0.5, values + 0.5
    if high <= low:
        return 0.0
    if abs(exponent - 1) < 1e-9:
        return float(np.log(high / low))
    return float((high ** (1 - exponent) - low ** (1 - exponent)) / (1 - exponent))


def key_shares(name: str, producer: Producer, partitions: int) -> NDArray[np.float64]:
    """Return the share of a producer's events that goes to each partition."""
    even = np.full(partitions, 1 / partitions)
    match producer.key:
        case UniformKeys(uniform=values):
            weights = np.full(min(values, _COUNTED_KEYS), 1 / values)
        case ZipfKeys(zipf=shape):
            weights = np.arange(1, min(shape.values, _COUNTED_KEYS) + 1, dtype=np.float64) ** -shape.exponent
            weights /= weights.sum() + _tail(shape.values, shape.exponent)
        case HotKeys(hot=hot):
            others = min(hot.values - 1, _COUNTED_KEYS)
            weights = np.concatenate([[hot.share], np.full(others, (1 - hot.share) / (hot.values - 1))])
        case _:
            return even
    partition_of = java_partition if producer.client == "java" else librdkafka_partition
    shares = np.zeros(partitions)
    np.add.at(shares, [partition_of(f"{name}-{key}".encode(), partitions) for key in range(len(weights))], weights)
    rest = max(0.0, 1 - float(weights.sum()))
    result: NDArray[np.float64] = shares + rest * even
    return result
