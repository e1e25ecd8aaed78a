"""Metrics as Kafka's exporters show them, made from a run, with what they get wrong while something is broken.

Lag is the difference of two answers that come one after the other: a group that keeps up can have a negative one. Without a leader
there is no offset and so no lag; without members, or without an answer from the group's coordinator, a group's series vanish; a broker
that hangs lets the whole scrape time out; and whoever starts again counts from zero.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from reports.alerts import lag_tools
from reports.alerts.scrapes import MILLISECOND_NS, Scraping, Target, counter
from reports.alerts.series import AlertError, Bools, Floats, Series, Store
from reports.alerts.service import service_series
from reports.alerts.system import Nanos, System, inside
from rundata.backlog import high_watermark
from rundata.books import Books
from rundata.tables import RunData

EVERY_MS = 15_000
READ_APART_NS = 40 * MILLISECOND_NS
"""An exporter asks for the groups' offsets so long after the partitions' ends (two requests to each broker)."""
NO_COMMIT = -1.0


@dataclass(frozen=True)
class Names:
    """What an exporter calls things, and how it treats what it does not know; None: it does not show that."""

    job: str
    lag: str
    end: str
    group: str
    topic: str = "topic"
    partition: str = "partition"
    lag_of_topic: str | None = None
    """The sum over a topic's partitions, those that are not shown left out."""
    current: str | None = None
    members: str | None = None
    isr: str | None = None
    under_replicated: str | None = None
    brokers: str | None = None
    seconds: str | None = None
    status: str | None = None
    shows_negative: bool = True
    """Whether a lag below zero is shown as it came, or as zero."""
    shows_no_commit: bool = False
    """Whether a partition without a commit has the lag -1 (where its topic has some commit), or none."""
    shows_empty: bool = True
    """Whether a group without members is still shown."""
    asks_coordinator: bool = True
    """Whether it asks a group's coordinator, and shows nothing of the group while that does not answer; Burrow reads the offsets itself."""


KAFKA_EXPORTER = Names(
    job="kafka-exporter", lag="kafka_consumergroup_lag", end="kafka_topic_partition_current_offset", group="consumergroup",
    lag_of_topic="kafka_consumergroup_lag_sum", current="kafka_consumergroup_current_offset", members="kafka_consumergroup_members",
    isr="kafka_topic_partition_in_sync_replica", under_replicated="kafka_topic_partition_under_replicated_partition",
    brokers="kafka_brokers", shows_no_commit=True,
)  # fmt: skip
CONNECTED_ONLY = replace(KAFKA_EXPORTER, shows_empty=False)
"""kafka_exporter with `--no-offset.show-all`: only groups that are connected."""
KMINION = Names(
    job="kminion", lag="kminion_kafka_consumer_group_topic_partition_lag", end="kminion_kafka_topic_partition_high_water_mark",
    group="group_id", topic="topic_name", partition="partition_id", lag_of_topic="kminion_kafka_consumer_group_topic_lag",
    members="kminion_kafka_consumer_group_members", shows_negative=False,
)  # fmt: skip
LAG_EXPORTER = Names(
    job="kafka-lag-exporter", lag="kafka_consumergroup_group_lag", end="kafka_partition_latest_offset", group="group",
    current="kafka_consumergroup_group_offset", seconds="kafka_consumergroup_group_lag_seconds", shows_negative=False,
)  # fmt: skip
BURROW = Names(
    job="burrow", lag="burrow_kafka_consumer_partition_lag", end="burrow_kafka_topic_partition_offset", group="consumer_group",
    current="burrow_kafka_consumer_current_offset", status="burrow_kafka_consumer_status", shows_negative=False, asks_coordinator=False,
)  # fmt: skip
EXPORTERS: Mapping[str, Names] = {
    "kafka_exporter": KAFKA_EXPORTER,
    "kafka_exporter_connected": CONNECTED_ONLY,
    "kminion": KMINION,
    "kafka_lag_exporter": LAG_EXPORTER,
    "burrow": BURROW,
    "strimzi": KAFKA_EXPORTER,
}
"""Profiles by name. Strimzi runs kafka_exporter for the groups, and a JMX exporter in each broker."""


def metrics(
    run: RunData,
    exporter: str = "kafka_exporter",
    *,
    every_ms: int = EVERY_MS,
    closing_ms: int | None = None,
    commits_at_start: bool = True,
) -> Store:
    """Return what Prometheus would hold of a run: the exporter's metrics, those of the service, and `up` of each target."""
    if exporter not in EXPORTERS:
        raise AlertError(f"{exporter!r} is no exporter that is modelled; there is {', '.join(EXPORTERS)}")
    system, scraping = System(run), Scraping(run.end_ns, every_ms, closing_ms)
    found = list(_Lag(EXPORTERS[exporter], system, scraping, commits_at_start=commits_at_start).series())
    if exporter == "strimzi":
        found += _jmx(system, scraping)
    found += service_series(system, scraping)
    return Store(found)


class _Lag:
    """The exporter that talks to the brokers: one target for the whole cluster."""

    def __init__(self, names: Names, system: System, scraping: Scraping, *, commits_at_start: bool) -> None:
        self.names, self.system, self.books = names, system, Books.of(system.run)
        self.commits_at_start = commits_at_start
        nodes = range(1, self.books.scenario.brokers.nodes + 1)
        hangs = [span for broker in nodes for span in system.broker_silent(broker)]
        self.target = Target.of({"job": names.job, "instance": f"{names.job}:9308"}, scraping, hangs)
        self.nodes = nodes

    def series(self) -> Iterator[Series]:
        """Yield the exporter's series."""
        yield self.target.up()
        at_ns, names = self.target.at_ns, self.names
        if names.brokers:
            listed = sum((~inside(self.system.fenced(node), at_ns)).astype(np.float64) for node in self.nodes)
            yield from self.target.series(names.brokers, {}, np.asarray(listed, np.float64))
        for topic in self.books.scenario.topics:
            for partition in self.system.partitions(topic):
                yield from self._partition(topic, partition, at_ns)
        for group, name in enumerate(self.books.groups):
            members = self.system.members(name, at_ns).astype(np.float64)
            answered = (
                self.system.coordinator(name, at_ns) > 0 if names.asks_coordinator else np.ones(len(at_ns), np.bool_)
            )
            if names.members:
                yield from self.target.series(names.members, {names.group: name}, members, answered)
            shown = answered if names.shows_empty else answered & (members > 0)
            for topic in self.books.scenario.groups[name].topics:
                yield from self._group(group, topic, shown, at_ns)
            if names.status:
                yield from self.target.series(names.status, {names.group: name}, self._status(group, at_ns))

    def _partition(self, topic: str, partition: int, at_ns: Nanos) -> Iterator[Series]:
        names, where = self.names, self._where(topic, partition)
        led = self.system.leader(topic, partition, at_ns) > 0
        ends = high_watermark(self.books, self._number(topic, partition), at_ns).astype(np.float64)
        yield from self.target.series(names.end, where, ends, led)
        if names.isr and names.under_replicated:
            in_sync = self.system.in_sync(topic, partition, at_ns).astype(np.float64)
            short = (in_sync < self.books.scenario.replication_of(topic)).astype(np.float64)
            there = at_ns >= self.system.since_ns(topic, partition)
            yield from self.target.series(names.isr, where, in_sync, there)
            yield from self.target.series(names.under_replicated, where, short, there)

    def _group(self, group: int, topic: str, shown: Bools, at_ns: Nanos) -> Iterator[Series]:
        names, partitions = self.names, self.system.partitions(topic)
        found = [self._offsets(group, topic, partition, at_ns) for partition in partitions]
        some_commit = np.any([known for _, _, known, _ in found], axis=0)
        total = np.zeros(len(at_ns))
        for partition, (ends, offset, known, led) in zip(partitions, found, strict=True):
            labels = {names.group: self.books.groups[group], **self._where(topic, partition)}
            if names.current:
                yield from self.target.series(names.current, labels, offset, shown & known)
            lag = ends - offset if names.shows_negative else np.maximum(ends - offset, 0)
            there = shown & led & (some_commit if names.shows_no_commit else known)
            yield from self.target.series(names.lag, labels, np.where(known, lag, NO_COMMIT), there)
            total += np.where(there & known, lag, 0.0)
            if names.seconds:
                seconds = lag_tools.seconds_of_lag(ends, offset, self.target.times_ms)
                yield from self.target.series(names.seconds, labels, seconds, there & np.isfinite(seconds))
        if names.lag_of_topic:
            labels = {names.group: self.books.groups[group], names.topic: topic}
            yield from self.target.series(names.lag_of_topic, labels, total, shown & some_commit)

    def _offsets(self, group: int, topic: str, partition: int, at_ns: Nanos) -> tuple[Floats, Floats, Bools, Bools]:
        """Return the end, then the commit that is asked for later, whether there is one, and whether there is a leader."""
        number = self._number(topic, partition)
        ends = high_watermark(self.books, number, at_ns).astype(np.float64)
        offset, known = self._committed(group, number, at_ns + READ_APART_NS)
        return ends, offset, known, self.system.leader(topic, partition, at_ns) > 0

    def _status(self, group: int, at_ns: Nanos) -> Floats:
        """Return Burrow's state of a group at each scrape."""
        lanes = []
        for topic in self.books.scenario.groups[self.books.groups[group]].topics:
            for partition in self.system.partitions(topic):
                number = self._number(topic, partition)
                ended, offsets = self.books.commits.get((group, number), (np.zeros(0, np.int64), np.zeros(0, np.int64)))
                lags = (high_watermark(self.books, number, ended) - offsets).astype(np.float64)
                commits = lag_tools.kept_commits(ended, offsets, lags)
                lanes.append((commits, [each.at_ms for each in commits], high_watermark(self.books, number, at_ns)))
        found = []
        for place, now_ms in enumerate((at_ns // MILLISECOND_NS).tolist()):
            states = []
            for commits, times, ends in lanes:
                latest = bisect_right(times, now_ms)
                window = commits[max(0, latest - lag_tools.COMMITS) : latest]
                lag_now = int(ends[place]) - (window[-1].offset if window else 0)
                states.append(lag_tools.partition_status(window, lag_now, now_ms))
            found.append(float(lag_tools.group_status(states)))
        return np.asarray(found)

    def _committed(self, group: int, partition: int, at_ns: Nanos) -> tuple[Floats, Bools]:
        """Return the committed offset at each instant, and where there is one."""
        none = np.zeros(0, np.int64)
        ended, offset = self.books.commits.get((group, partition), (none, none))
        place = np.searchsorted(ended, at_ns, side="right")
        known = (place > 0) | self.commits_at_start
        return np.concatenate([[0], offset])[place].astype(np.float64), known

    def _where(self, topic: str, partition: int) -> dict[str, str]:
        return {self.names.topic: topic, self.names.partition: str(partition)}

    def _number(self, topic: str, partition: int) -> int:
        return int(self.books.first_partition[self.books.plan.topics.index(topic)]) + partition


# ---- JMX in each broker ----------------------------------------------------------------------------------------------


def _jmx(system: System, scraping: Scraping) -> Iterator[Series]:
    """Yield what Strimzi's JMX exporter shows: each broker is a target that vanishes with it and counts from zero after."""
    books = Books.of(system.run)
    appended = _appends(books)
    for broker in range(1, books.scenario.brokers.nodes + 1):
        down = system.broker_down(broker)
        labels = {"job": "kafka", "pod": f"kafka-{broker}", "instance": f"kafka-{broker}:9404"}
        target = Target.of(labels, scraping, [*down, *system.broker_silent(broker)])
        yield target.up()
        offline, short = _led_badly(system, broker, target.at_ns)
        yield from target.series("kafka_server_replicamanager_underreplicatedpartitions", {}, short)
        yield from target.series("kafka_controller_kafkacontroller_offlinepartitionscount", {}, offline)
        for topic, (times_ns, partitions) in appended.items():
            mine = np.zeros(len(times_ns), np.bool_)
            for partition in system.partitions(topic):
                here = partitions == partition
                mine[here] = system.leader(topic, partition, times_ns[here]) == broker
            counted = counter(times_ns[mine], target.at_ns, down)
            yield from target.series("kafka_server_brokertopicmetrics_messagesin_total", {"topic": topic}, counted)


def _appends(books: Books) -> dict[str, tuple[Nanos, Nanos]]:
    """Return by topic when records were appended, in the order of time, and to which partition."""
    records = books.records
    times = books.sends.acked_ns[records.event]
    topic = np.searchsorted(books.first_partition, records.partition, side="right") - 1
    found = {}
    for number, name in enumerate(books.plan.topics):
        mine = np.flatnonzero((topic == number) & (times < books.end_ns))
        mine = mine[np.argsort(times[mine], kind="stable")]
        found[name] = (times[mine], records.partition[mine] - books.first_partition[number])
    return found


def _led_badly(system: System, broker: int, at_ns: Nanos) -> tuple[Floats, Floats]:
    """Return how many partitions are without a leader (each broker would tell if it were the controller), and how many the broker leads short."""
    offline, short = np.zeros(len(at_ns)), np.zeros(len(at_ns))
    for topic in system.run.plan.scenario.topics:
        for partition in system.partitions(topic):
            leader = system.leader(topic, partition, at_ns)
            offline += leader == 0
            too_few = system.in_sync(topic, partition, at_ns) < system.run.plan.scenario.replication_of(topic)
            short += (leader == broker) & too_few
    return offline, short
