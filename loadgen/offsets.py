"""Places in logs as offsets: the first record, the end, an offset, or the first record of the last so many seconds; and what groups have committed."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from numpy.typing import NDArray

from loadgen.admin import AdminError, connection
from loadgen.wire import WireError, share_offsets
from rundata.rows import NONE, Kind, Outcome, new_operations
from rundata.tables import Names
from scenarios.retries import most_partitions, retry_topics
from scenarios.schema import Scenario
from scenarios.targets import LogPosition

if TYPE_CHECKING:
    from loadgen.admin import Admin

_WITHIN_S = 20.0

Committed = Mapping[tuple[str, int], int]
"""By topic and partition: the offset to go on from."""


def positions(admin: "Admin", topics: list[str], place: LogPosition) -> list[TopicPartition]:
    """Return the offset of a place in every partition of some topics."""
    consumer = Consumer({**connection(admin.cluster), "group.id": "eventdrill-offsets", "enable.auto.commit": False})
    try:
        return [
            TopicPartition(topic, partition, _offset(consumer, topic, partition, place))
            for topic in topics
            for partition in sorted(consumer.list_topics(topic, timeout=_WITHIN_S).topics[topic].partitions)
        ]
    finally:
        consumer.close()


def _offset(consumer: Consumer, topic: str, partition: int, place: LogPosition) -> int:
    first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_WITHIN_S)
    match place.place:
        case "earliest":
            return int(first)
        case "latest":
            return int(end)
        case "offset":
            return min(max(place.value, int(first)), int(end))
        case "ago":
            at_ms = round(time.time() * 1000 - place.value / 1e6)
            found = consumer.offsets_for_times([TopicPartition(topic, partition, at_ms)], timeout=_WITHIN_S)[0]
            return int(end) if found.offset < 0 else int(found.offset)


class GroupOffsets:
    """What the coordinator of a group holds as committed: asked by a client that names the group and never joins it.

    An admin client would do, but librdkafka's ends the process (a null pointer) where the coordinator that it knew has moved.
    """

    def __init__(self, admin: "Admin", scenario: Scenario, group: str) -> None:
        self.group = group
        topics = (*scenario.groups[group].topics, *retry_topics(scenario, group))
        self._places = [  # those that a fault is still to add have nothing committed
            TopicPartition(topic, number) for topic in topics for number in range(most_partitions(scenario, topic))
        ]
        self._client = Consumer({**connection(admin.cluster), "group.id": group, "enable.auto.commit": False})

    def read(self, within_s: float = _WITHIN_S) -> Committed:
        """Return the committed offset of each partition that has one; raise AdminError where no coordinator answers."""
        try:
            found = self._client.committed(self._places, timeout=within_s)
        except KafkaException as error:
            raise AdminError(f"what group {self.group} has committed cannot be read: {error.args[0].str()}") from None
        if wrong := next((each.error for each in found if each.error), None):
            raise AdminError(f"what group {self.group} has committed cannot be read: {wrong.str()}")
        return {(each.topic, each.partition): each.offset for each in found if each.offset >= 0}

    def close(self) -> None:
        """Let go of the client."""
        self._client.close()


class ShareOffsets:
    """The same of a share group: below which offset it is through, with what it has done and with what its brokers have given up."""

    def __init__(self, admin: "Admin", group: str) -> None:
        self.group = group
        self._bootstrap = admin.cluster.bootstrap

    def read(self, _within_s: float = _WITHIN_S) -> Committed:
        """Return that offset of each partition that it has begun with; raise AdminError where no coordinator answers."""
        try:
            return share_offsets(self._bootstrap, self.group)
        except WireError as error:
            raise AdminError(f"what is known of {error}") from None

    def close(self) -> None:
        """Nothing is held."""


def offsets_of(admin: "Admin", scenario: Scenario, group: str) -> GroupOffsets | ShareOffsets:
    """Return what asks for the offsets of a group, of whichever kind it is."""
    return ShareOffsets(admin, group) if scenario.groups[group].share_group else GroupOffsets(admin, scenario, group)


class BrokersLag:
    """A group's lag as the brokers tell it: what lies beyond its committed offsets."""

    def __init__(self, admin: "Admin", scenario: Scenario, group: str) -> None:
        self._topics = (*scenario.groups[group].topics, *retry_topics(scenario, group))
        self._offsets = offsets_of(admin, scenario, group)
        settings = {**connection(admin.cluster), "group.id": "eventdrill-lag", "enable.auto.commit": False}
        self._client = Consumer(settings)

    def read(self, within_s: float) -> tuple[int, int]:
        """Return it, and of how many partitions; raise AdminError where somebody who knows does not answer. No question takes longer."""
        try:
            return self._read(within_s)
        except KafkaException as error:
            raise AdminError(f"the lag of {self._offsets.group} cannot be read: {error.args[0].str()}") from None

    def _read(self, within_s: float) -> tuple[int, int]:
        committed, known = self._offsets.read(within_s), self._client.list_topics(timeout=within_s).topics
        if unknown := [topic for topic in self._topics if topic not in known or not known[topic].partitions]:
            raise AdminError(f"a broker does not know {', '.join(unknown)}")
        places = [(topic, number) for topic in self._topics for number in sorted(known[topic].partitions)]
        return sum(max(0, self._end(each, within_s) - committed.get(each, 0)) for each in places), len(places)

    def _end(self, place: tuple[str, int], within_s: float) -> int:
        offsets = self._client.get_watermark_offsets(TopicPartition(*place), timeout=within_s)
        if not offsets:
            raise AdminError(f"the leader of {place[0]}/{place[1]} does not answer")
        return int(offsets[1])

    def close(self) -> None:
        """Let go of the clients."""
        self._client.close()
        self._offsets.close()


def unrecorded(
    operations: NDArray[np.void], names: Names, held: Mapping[str, Committed], at_ns: int
) -> NDArray[np.void]:
    """Return rows for what coordinators hold of each group and no member has recorded as its last commit.

    A member that is killed takes with it the answers to commits that its client had made in the background.
    """
    recorded = _last_recorded(operations)
    missing = [
        (names.groups.index(group), names.topics.index(topic), partition, offset)
        for group, places in held.items()
        for (topic, partition), offset in places.items()
    ]
    missing = [each for each in missing if recorded.get(each[:3], 0) != each[3]]
    rows = new_operations(len(missing))
    if missing:
        rows["group"], rows["topic"], rows["partition"], rows["offset"] = zip(*missing, strict=True)
    rows["process"] = NONE
    rows["kind"], rows["outcome"], rows["started_ns"], rows["ended_ns"] = Kind.commit, Outcome.ok, at_ns, at_ns
    return rows


def _last_recorded(operations: NDArray[np.void]) -> dict[tuple[int, int, int], int]:
    """Return the last commit of each group, topic and partition."""
    rows = operations[(operations["kind"] == Kind.commit) & (operations["outcome"] == Outcome.ok)]
    rows = rows[np.lexsort((rows["offset"], rows["ended_ns"]))]
    places = zip(*(rows[name].tolist() for name in ("group", "topic", "partition", "offset")), strict=True)
    return {(group, topic, partition): offset for group, topic, partition, offset in places}
