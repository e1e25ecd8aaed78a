"""The plan: everything a scenario and a seed fix beforehand, as arrays that both engines take as their input.

An event's id is its row in the plan, so rows are in the order of intended times (ties: producer, then draw order).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios import faults as fault_types
from scenarios.arrivals import arrival_times
from scenarios.distributions import Constant, Distribution
from scenarios.disturbances import NOT_AGAIN, Disturbances, schema_versions, undecodable
from scenarios.load import expected_events_of
from scenarios.occurrences import PlannedAction, PlannedFault, plan_actions, plan_faults
from scenarios.partitioners import java_partition, librdkafka_partition
from scenarios.recordings import recorded_keys, recorded_sizes, rows_in_order
from scenarios.retries import all_topics
from scenarios.schema import Arrivals, HotKeys, Producer, Scenario, UniformKeys, ZipfKeys
from scenarios.streams import stream, uniforms

Ints = NDArray[np.int64]
NO_KEY = -1
CLIENT_CHOOSES = -1
ALWAYS_FAILS = 2**15 - 1
"""In place of a number of tries: none ever works."""
LONGEST_WORK_NS = 2**60
"""Some 36 years; what a heavy tail draws beyond it stays in 64 bits."""
MOST_EVENTS = 2**31 - 1
_KEYS_OF_TABLE = 1 << 22
_KEYS_KEPT = 1 << 16
HEADER_BYTES = 32
"""Every value that EventDrill makes begins with ids and times, so it is never shorter."""


class PlanError(Exception):
    """A scenario that makes more events than a plan holds."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Events in the order of their intended times, and the faults; all arrays have one row per event."""

    scenario: Scenario
    seed: int
    replication: int
    intended_ns: Ints
    producer: NDArray[np.int16]
    """Index into `producers`."""
    process: NDArray[np.int16]
    """Number of the producer's process, from 1."""
    key: Ints
    """Number of the key, or NO_KEY."""
    size_bytes: NDArray[np.int32]
    partition: NDArray[np.int32]
    """Where the client's partitioner puts the key, or CLIENT_CHOOSES."""
    poison: NDArray[np.bool_]
    work_ns: Mapping[str, Ints]
    """By group: time a handler works on the event per try; 0 where the group does not read its topic."""
    failing_tries: Mapping[str, NDArray[np.int16]]
    """By group: how many tries fail before one works; ALWAYS_FAILS where the group cannot decode the event. Poison never works."""
    faults: tuple[PlannedFault, ...]
    late_ns: Ints
    """How much later than intended the event is handed to the client, by the fault `late`."""
    again_ns: Ints
    """When the producer sends the event once more, from time 0 (the fault `duplicates`), or NOT_AGAIN."""
    schema_version: NDArray[np.int16]
    """From 1."""
    undecodable: Mapping[str, NDArray[np.bool_]]
    """By group: events whose schema version it cannot decode before it is deployed anew."""
    actions: tuple[PlannedAction, ...] = ()

    def __len__(self) -> int:
        return len(self.intended_ns)

    @cached_property
    def producers(self) -> tuple[str, ...]:
        """Producers in file order."""
        return tuple(self.scenario.producers)

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """Topics in file order."""
        return tuple(self.scenario.topics)

    @cached_property
    def topic(self) -> NDArray[np.int16]:
        """Index into `topics` of each event."""
        of_producer = [self.topics.index(producer.topic) for producer in self.scenario.producers.values()]
        return np.asarray(of_producer, np.int16)[self.producer]

    def key_text(self, event: int) -> str | None:
        """Return the event's key as it goes over the wire: PRODUCER-NUMBER."""
        number = int(self.key[event])
        return None if number == NO_KEY else f"{self.producers[self.producer[event]]}-{number}"

    def replicas(self, topic: str) -> list[list[int]]:
        """Return the brokers of each partition; the first is the preferred leader.

        Leaders go round the brokers, shifted by the topic's place in the file; followers are the next ones.
        """
        topics = all_topics(self.scenario)
        return replica_assignment(
            topics[topic].partitions,
            topics[topic].replication or min(3, self.scenario.brokers.nodes),
            self.scenario.brokers.nodes,
            shift=list(topics).index(topic),
        )

    def has_one_leader(self) -> bool:
        """Return whether one broker leads, at first, all partitions of the topics to which producers and handlers send."""
        sent_to = {producer.topic for producer in self.scenario.producers.values()}
        sent_to |= {emits.topic for group in self.scenario.groups.values() for emits in group.emits}
        return len({leader for topic in sent_to for leader, *_ in self.replicas(topic)}) == 1


def hand_overs(plan: Plan, own: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return a process's events in the order in which they are handed to its client, when that is meant to be, and which go a second time."""
    again_ns = plan.again_ns[own]
    repeated = again_ns != NOT_AGAIN
    if not repeated.any():
        due_ns = plan.intended_ns[own] + plan.late_ns[own]
        if not np.any(due_ns[1:] < due_ns[:-1]):
            return own, due_ns, repeated
    events = np.concatenate([own, own[repeated]])
    due_ns = np.concatenate([plan.intended_ns[own] + plan.late_ns[own], again_ns[repeated]])
    again = np.arange(len(events)) >= len(own)
    order = np.lexsort((again, due_ns))
    return events[order], due_ns[order], again[order]


def replica_assignment(partitions: int, replication: int, nodes: int, *, shift: int = 0) -> list[list[int]]:
    """Return the brokers (from 1) of each partition, round robin."""
    return [[(shift + p + r) % nodes + 1 for r in range(replication)] for p in range(partitions)]


def make_plan(scenario: Scenario, seed: int | None = None, replication: int = 0) -> Plan:
    """Draw the plan of a scenario; replication 0 is the one that is driven."""
    seed = scenario.seed if seed is None else seed
    expected = sum(expected_events_of(scenario, name) for name in scenario.producers)
    if expected > MOST_EVENTS:
        raise PlanError(
            f"{scenario.scenario} makes about {expected:.3g} events, and a plan holds at most {MOST_EVENTS:,}; lower the rate or the "
            "duration (simulate can do without a plan of the whole: --stretches)"
        )
    faults = plan_faults(scenario, seed, replication)
    parts = [_producer_events(scenario, name, seed, replication, faults) for name in scenario.producers]

    def draw(group: str, purpose: str) -> np.random.Generator:
        return stream(seed, "group", group, purpose, replication=replication)

    return plan_of(scenario, seed, replication, faults, in_order_of_time(parts), draw)


Columns = dict[str, NDArray[Any]]


def in_order_of_time(parts: Sequence[Columns]) -> Columns:
    """Return what producers send, one after another, in the order of intended times."""
    if len(parts) == 1:
        return parts[0]
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    order = np.argsort(columns["intended_ns"], kind="stable")
    return {key: column[order] for key, column in columns.items()}


def plan_of(
    scenario: Scenario,
    seed: int,
    replication: int,
    faults: tuple[PlannedFault, ...],
    columns: Mapping[str, NDArray[Any]],
    draw: Callable[[str, str], np.random.Generator],
) -> Plan:
    """Return a plan of what producers send, with the work of groups: `draw` returns the stream of a group for a purpose."""
    count = len(columns["intended_ns"])
    topic_of_producer = np.asarray([list(scenario.topics).index(p.topic) for p in scenario.producers.values()])
    topic = topic_of_producer[columns["producer"]] if count else np.zeros(0, np.int64)
    broken = undecodable(scenario, faults, columns["schema_change"], topic)
    work, failing = {}, {}
    for name, group in scenario.groups.items():
        reads = _reads(scenario, name)[topic]
        values = drawn(group.work, partial(draw, name, "work"), count)
        work[name] = np.where(reads, np.rint(np.minimum(values, LONGEST_WORK_NS)), 0).astype(np.int64)
        failing[name] = np.zeros(count, np.int16)
        if group.failures and group.failures.transient:
            transient = group.failures.transient
            chance = uniforms(draw(name, "transient"), count)
            failing[name][reads & (chance < transient.chance)] = transient.attempts
        failing[name][broken[name]] = ALWAYS_FAILS
    return Plan(
        scenario=scenario,
        seed=seed,
        replication=replication,
        intended_ns=columns["intended_ns"],
        producer=columns["producer"].astype(np.int16),
        process=columns["process"].astype(np.int16),
        key=columns["key"],
        size_bytes=columns["size_bytes"].astype(np.int32),
        partition=columns["partition"].astype(np.int32),
        poison=columns["poison"],
        work_ns=work,
        failing_tries=failing,
        faults=faults,
        late_ns=columns["late_ns"],
        again_ns=columns["again_ns"],
        schema_version=schema_versions(faults, columns["schema_change"]),
        undecodable=broken,
        actions=plan_actions(scenario, seed, replication),
    )


def empty_plan(scenario: Scenario, seed: int, replication: int = 0) -> Plan:
    """Return a plan without events, of a run that is too long for one: its faults and actions only."""
    silence = (Arrivals.model_validate({"rate": "0/s"}),)
    producers = {
        name: producer.model_copy(update={"arrivals": silence}) for name, producer in scenario.producers.items()
    }
    silent = scenario.model_copy(update={"producers": producers})
    return replace(make_plan(silent, seed, replication), scenario=scenario)


def drawn(distribution: Distribution, draw: Callable[[], np.random.Generator], count: int) -> NDArray[np.float64]:
    """Return the next values of a distribution; nothing is drawn for one that does not vary."""
    if isinstance(distribution, Constant):
        return np.broadcast_to(np.float64(distribution.value), count)
    return distribution.quantile(uniforms(draw(), count))


def _reads(scenario: Scenario, group: str) -> NDArray[np.bool_]:
    """Return by topic whether a group may meet its events."""
    reached = topics_that_reach(scenario, group)
    return np.asarray([topic in reached for topic in scenario.topics], np.bool_)


def topics_that_reach(scenario: Scenario, group: str) -> set[str]:
    """Return the topics whose events a group may meet: those that it reads, and those whose dead letters it reads."""
    reached = set(scenario.groups[group].topics)
    while True:
        more = {
            topic
            for other in scenario.groups.values()
            if other.topic_of_dead_letters in reached
            for topic in other.topics
        }
        if more <= reached:
            return reached
        reached |= more


def _producer_events(
    scenario: Scenario, name: str, seed: int, replication: int, faults: tuple[PlannedFault, ...]
) -> Columns:
    producer = scenario.producers[name]

    def draw(purpose: str) -> np.random.Generator:
        return stream(seed, "producer", name, purpose, replication=replication)

    recorded, numbering = producer.recorded, Numbering()
    if recorded is None:
        blocks = arrival_times(
            producer, scenario.duration, surges_of(faults, name), draw("arrivals"), at_once=MOST_EVENTS
        )
        intended = np.concatenate([np.zeros(0, np.int64), *blocks])
        key, size = keys_and_sizes(producer, len(intended), draw, numbering)
    else:
        rows, intended = rows_in_order(recorded, scenario.duration)
        key, size = keys_and_sizes(producer, len(rows), draw, numbering)
        key = recorded_keys(recorded, rows) if recorded.key else key
        size = recorded_sizes(recorded, rows) if recorded.size else size
    return columns_of(scenario, name, faults, intended, key, size, draw, numbering)


def surges_of(faults: Sequence[PlannedFault], producer: str) -> list[PlannedFault]:
    """Return the surges of a producer."""
    return [each for each in faults if isinstance(each.fault, fault_types.Surge) and each.fault.producer == producer]


@dataclass
class Numbering:
    """What a producer counts on from one block of its events to the next."""

    first: int = 0
    """Number of the next event."""
    partitions: dict[int, int] = field(default_factory=dict)
    """By key: where the partitioner puts it."""
    table: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """The same of a producer with few keys; CLIENT_CHOOSES where that is not worked out yet."""


def keys_and_sizes(
    producer: Producer, count: int, draw: Callable[[str], np.random.Generator], numbering: Numbering
) -> tuple[Ints, NDArray[np.float64]]:
    """Return keys and sizes of a producer's next events."""
    key = keys_of(producer, count, draw("keys"), numbering.first)
    return key, drawn(producer.size, partial(draw, "sizes"), count)


def columns_of(
    scenario: Scenario,
    name: str,
    faults: tuple[PlannedFault, ...],
    intended: Ints,
    key: Ints,
    size: NDArray[np.float64],
    draw: Callable[[str], np.random.Generator],
    numbering: Numbering,
) -> Columns:
    """Return all columns of some events of a producer, which follow those that its numbering has counted."""
    producer, count = scenario.producers[name], len(intended)
    disturbed = Disturbances(name, intended, faults, draw)
    numbers = np.arange(numbering.first, numbering.first + count, dtype=np.int64)
    numbering.first += count
    by_key = producer.share == "keys" and producer.keyed
    process = np.broadcast_to(np.int64(1), count)
    if producer.count > 1:
        process = _process_of_key(key, producer.count) if by_key else numbers % producer.count + 1
    return {
        "intended_ns": intended,
        "producer": np.full(count, list(scenario.producers).index(name), np.int64),
        "process": process,
        "key": key,
        "size_bytes": disturbed.size_bytes(np.minimum(np.maximum(np.rint(size), HEADER_BYTES), 2**31 - 1)),
        "partition": _partitions(scenario, name, key, numbering),
        "poison": disturbed.poison(producer.poison),
        "late_ns": disturbed.late_ns(),
        "again_ns": disturbed.again_ns(),
        "schema_change": disturbed.schema_change(),
    }


def _process_of_key(key: Ints, processes: int) -> Ints:
    """Give each key one process, spread by a multiplicative hash so that hot keys do not all meet in process 1."""
    spread = (key.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return (spread % np.uint64(processes)).astype(np.int64) + 1


# ---- keys ----------------------------------------------------------------------------------------------------------


def keys_of(producer: Producer, count: int, generator: np.random.Generator, first: int) -> Ints:
    """Return the numbers of the keys of a producer's next events, of which the first has a number among all of them."""
    match producer.key:
        case "none":
            return np.full(count, NO_KEY, np.int64)
        case "sequence":
            return np.arange(first, first + count, dtype=np.int64)
        case UniformKeys(uniform=values):
            return (uniforms(generator, count) * values).astype(np.int64)
        case ZipfKeys(zipf=shape):
            weights = np.arange(1, shape.values + 1, dtype=np.float64) ** -shape.exponent
            edges = np.cumsum(weights)
            return np.asarray(np.searchsorted(edges, uniforms(generator, count) * edges[-1], side="right"), np.int64)
        case HotKeys(hot=hot):
            u = uniforms(generator, count)
            others = 1 + ((u - hot.share) / max(1e-300, 1 - hot.share) * (hot.values - 1)).astype(np.int64)
            return np.where(u < hot.share, np.int64(0), others)


@lru_cache(maxsize=16)
def _known_partitions(client: str, producer: str, partitions: int) -> list[Ints]:
    """Return, in a list, the partitions of keys that plans before have worked out: a long run makes hundreds of them."""
    return [np.zeros(0, np.int64)]


def _partitions(scenario: Scenario, name: str, key: Ints, numbering: Numbering) -> Ints:
    producer = scenario.producers[name]
    partitions = scenario.topics[producer.topic].partitions
    if not producer.keyed:
        return np.full(len(key), CLIENT_CHOOSES if partitions > 1 else 0, np.int64)
    partition_of = java_partition if producer.client == "java" else librdkafka_partition
    most = int(key.max(initial=NO_KEY)) + 1
    if producer.key != "sequence" and most <= _KEYS_OF_TABLE:
        kept = _known_partitions(producer.client, name, partitions)
        table = max(numbering.table, kept[0], key=len)
        if most > len(table):
            table = np.append(table, np.full(most - len(table), CLIENT_CHOOSES))
        numbering.table = table
        if len(table) <= _KEYS_KEPT:
            kept[0] = table
        found = table[key]
        if not (found == CLIENT_CHOOSES).any():
            return found
        for k in np.unique(key[found == CLIENT_CHOOSES]).tolist():
            table[k] = partition_of(f"{name}-{k}".encode(), partitions)
        return table[key]
    distinct, inverse = np.unique(key, return_inverse=True)
    numbers, known = distinct.tolist(), numbering.partitions
    if producer.key == "sequence":
        known = {}  # none comes again
    known |= {k: partition_of(f"{name}-{k}".encode(), partitions) for k in numbers if k not in known}
    return np.array([known[k] for k in numbers], np.int64)[inverse]
