"""What a run needs of its cluster before the clock starts: topics with the plan's replicas, start offsets, known leaders."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    ElectionType,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported without saying so
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from loadgen.clusters.foreign import ForeignKafka
from loadgen.clusters.model import Cluster
from loadgen.watchdog.client import Watchdog
from loadgen.watchdog.undoing import admin
from loadgen.wire import WireError, leave_group
from scenarios.clients import consumer_settings
from scenarios.faults import ClockSkew
from scenarios.plan import Plan, replica_assignment
from scenarios.retries import all_topics, retry_topics
from scenarios.schema import Scenario

OFFSETS_TOPIC = "__consumer_offsets"
SCRATCH_TOPIC = "eventdrill.warm-up"
CLOCKS_TOPIC = "eventdrill.clocks"
"""Has a partition on each broker alone, which stamps what is written there with its own time; where clocks of brokers will be wrong."""
EMBEDDED = "librdkafka-mock"
_WITHIN_S = 30.0
_EMPTIED_WITHIN_S = 5.0
_STEP_S = 0.05

Progress = Callable[[str], None]


class AdminError(Exception):
    """A cluster that does not take what the run needs; the message says what it answered."""


class _CreatesTopics(Protocol):
    def create_topic(
        self, name: str, partitions: int, replication: int, *, leaders: Sequence[int] | None = None
    ) -> None: ...

    def place_group(self, group: str, node: int) -> None: ...

    def renew(self) -> None: ...


def connection(cluster: Cluster) -> dict[str, str | int]:
    """Return the settings with which a client in this process connects, secrets of somebody else's system included."""
    return {**public_connection(cluster), **security_of(cluster)}


def public_connection(cluster: Cluster) -> dict[str, str | int]:
    """Return what may be written down of it; brokers that die are no news worth a log line."""
    family = {} if isinstance(cluster, ForeignKafka) else {"broker.address.family": "v4"}
    return {"bootstrap.servers": cluster.bootstrap, "log_level": 2, **family}


def security_of(cluster: Cluster) -> Mapping[str, str]:
    """Return the client's own security settings, which are written nowhere."""
    return cluster.security if isinstance(cluster, ForeignKafka) else {}


class Admin:
    """Administration of the cluster of one run."""

    def __init__(self, cluster: Cluster, plan: Plan) -> None:
        self.cluster = cluster
        self.plan = plan
        self.client = admin(connection(cluster))
        self.notes: list[str] = []
        """What could not be had as planned."""

    @property
    def scratch_topic(self) -> str:
        """The warm-up's topic."""
        return SCRATCH_TOPIC

    @property
    def scratch_partitions(self) -> int:
        """As many partitions as the busiest topic has, so that the warm-up's requests are of the run's kind."""
        written = [self.plan.scenario.topics[p.topic].partitions for p in self.plan.scenario.producers.values()]
        return max(written, default=1)

    def prepare(self, watchdog: Watchdog | None = None) -> None:
        """Create the offsets topic, the scenario's topics and the scratch topic, and wait until all have their leaders."""
        topics = all_topics(self.plan.scenario)
        nodes = self.plan.scenario.brokers.nodes
        scratch = replica_assignment(self.scratch_partitions, min(3, nodes), nodes)
        if self.cluster.implementation == EMBEDDED:
            self._prepare_embedded(scratch)
        else:
            self._prepare_offsets_topic()
            self._remove([topic for topic in (*topics, SCRATCH_TOPIC, CLOCKS_TOPIC) if topic in self._topics()])
            self._create(SCRATCH_TOPIC, scratch, {"min.insync.replicas": min(2, nodes)})
            if _clocks_go_wrong(self.plan.scenario):
                alone = [[node] for node in range(1, nodes + 1)]
                self._create(CLOCKS_TOPIC, alone, {"message.timestamp.type": "LogAppendTime"})
            for name, topic in topics.items():
                self._create(name, self.plan.replicas(name), topic.settings)
        self.wait_leaders([*topics, SCRATCH_TOPIC])

    def _prepare_embedded(self, scratch: list[list[int]]) -> None:
        embedded: _CreatesTopics = self.cluster  # type: ignore[assignment]  # the embedded one has no admin API for this
        present = self._topics()
        if present & set(all_topics(self.plan.scenario)):  # of an earlier run
            embedded.renew()
            self.client = admin(connection(self.cluster))
            present = self._topics()
        for name in all_topics(self.plan.scenario):
            replicas = self.plan.replicas(name)
            embedded.create_topic(name, len(replicas), len(replicas[0]), leaders=[each[0] for each in replicas])
        if SCRATCH_TOPIC not in present:
            embedded.create_topic(SCRATCH_TOPIC, len(scratch), len(scratch[0]), leaders=[each[0] for each in scratch])
        for number, group in enumerate(self.plan.scenario.groups):
            embedded.place_group(group, number % self.cluster.nodes + 1)

    def _prepare_offsets_topic(self) -> None:
        """Create it with a fixed assignment, so that the plan says which broker coordinates a group."""
        nodes = self.cluster.nodes
        if OFFSETS_TOPIC in self._topics():
            return
        count = int(self._broker_setting("offsets.topic.num.partitions", "50"))
        settings = {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": 104_857_600}
        try:
            self._create(OFFSETS_TOPIC, replica_assignment(count, min(3, nodes), nodes), settings)
        except AdminError as error:
            self.notes.append(f"the brokers placed {OFFSETS_TOPIC} themselves: {error}")
            return
        self.wait_leaders([OFFSETS_TOPIC])

    def _broker_setting(self, name: str, default: str) -> str:
        resource = ConfigResource(ResourceType.BROKER, "1")
        settings = self.client.describe_configs([resource])[resource].result(_WITHIN_S)
        return str(settings[name].value) if name in settings else default

    def _topics(self) -> set[str]:
        return set(self._metadata().topics)

    def _metadata(self) -> Any:
        until = time.monotonic() + _WITHIN_S
        while True:
            try:
                return self.client.list_topics(timeout=2)
            except KafkaException as error:
                if time.monotonic() > until:
                    raise AdminError(f"no broker at {self.cluster.bootstrap} answers: {error}") from None

    def _remove(self, names: list[str]) -> None:
        if not names:
            return
        for name, done in self.client.delete_topics(names).items():
            with suppress_code(KafkaError.UNKNOWN_TOPIC_OR_PART):
                done.result(_WITHIN_S)
            wait_until(lambda name=name: name not in self._topics(), f"topic {name} to be gone")  # type: ignore[misc]  # no type is inferred where a lambda has a default

    def _create(self, name: str, replicas: list[list[int]], settings: Any) -> None:
        wanted = NewTopic(
            name,
            num_partitions=len(replicas),
            replica_assignment=replicas,
            config={key: _text(value) for key, value in settings.items()},
        )
        until = time.monotonic() + _WITHIN_S
        while True:
            try:
                self.client.create_topics([wanted])[name].result(_WITHIN_S)
                return
            except KafkaException as error:
                if not self._is_retriable(error.args[0].code()) or time.monotonic() > until:
                    raise AdminError(f"topic {name} cannot be created: {error.args[0].str()}") from None
                time.sleep(_STEP_S)

    def _is_retriable(self, code: int) -> bool:
        """Tell whether creating a topic may succeed later: one just removed lingers, and a broker just started is not there yet."""
        return code in (KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.INVALID_REPLICA_ASSIGNMENT)

    def wait_leaders(self, names: list[str]) -> None:
        """Wait until each partition has its leader and all its replicas in sync."""

        def ready() -> bool:
            known = self._metadata().topics
            return all(
                name in known
                and known[name].partitions
                and all(p.leader >= 0 and len(p.isrs) == len(p.replicas) for p in known[name].partitions.values())
                for name in names
            )

        wait_until(ready, f"leaders and replicas of {', '.join(names)}")

    def wait_leaders_known(self, names: list[str]) -> None:
        """Wait until each partition has a leader, in sync or not: enough to read it."""

        def known() -> bool:
            topics = self._metadata().topics
            return all(p.leader >= 0 for name in names for p in topics[name].partitions.values())

        wait_until(known, f"leaders of {', '.join(names)}")

    def restore_leaders(self) -> None:
        """Let every partition be led as planned, whatever an earlier run or a broker that was late with a heartbeat has moved."""
        if self.cluster.implementation == EMBEDDED:
            return
        names = [*all_topics(self.plan.scenario), OFFSETS_TOPIC]
        self.wait_leaders(names)
        until = time.monotonic() + _WITHIN_S
        while self._led_by_others(names):
            with suppress(KafkaException):  # "not needed" where the controller was faster
                self.client.elect_leaders(ElectionType.PREFERRED, None).result(_WITHIN_S)
            if time.monotonic() > until:
                raise AdminError(f"the preferred leaders of {', '.join(names)} did not come back; are all brokers up?")
            time.sleep(_STEP_S)

    def _led_by_others(self, names: list[str]) -> bool:
        topics = self._metadata().topics
        return any(p.leader != p.replicas[0] for name in names for p in topics[name].partitions.values())

    def replicas(self, topic: str, partition: int) -> tuple[int, list[int], list[int]]:
        """Return a partition's leader, replicas in assignment order, and those in sync."""
        known = self.client.list_topics(topic, timeout=2).topics[topic].partitions[partition]
        return int(known.leader), list(known.replicas), list(known.isrs)

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has now: a fault may have added some."""
        return len(self._metadata().topics[topic].partitions)

    def commit_start_offsets(self) -> None:
        """Commit offset 0 of every partition for every group, before it has members."""
        topics = all_topics(self.plan.scenario)
        for name, group in self.plan.scenario.groups.items():
            if group.external:
                continue  # its offsets are its own business
            if group.share_group:
                self._share_from_the_start(name)
                continue
            places = [
                TopicPartition(topic, partition, 0)
                for topic in (*group.topics, *retry_topics(self.plan.scenario, name))
                for partition in range(topics[topic].partitions)
            ]
            self._forget_group(name)
            self._commit(name, places)

    def _share_from_the_start(self, name: str) -> None:
        """Let a share group begin at the first record: it has no offsets that could be committed, only a setting."""
        entry = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.GROUP, name, incremental_configs=[entry])
        try:
            self.client.incremental_alter_configs([resource])[resource].result(_WITHIN_S)
        except KafkaException as error:
            raise AdminError(
                f"share group {name} cannot be told to begin at the first record: {error.args[0].str()}"
            ) from error

    def see_off(self, unparted: Mapping[str, Sequence[str]]) -> None:
        """Say for members of groups, by their ids, that they leave: they have ended without, and each would stay for its session's length."""
        if self.cluster.implementation == EMBEDDED or security_of(self.cluster):
            return
        for name, members in unparted.items():
            shares = self.plan.scenario.groups[name].share_group
            protocol = consumer_settings(self.plan.scenario, name).protocol
            with suppress(WireError):  # a coordinator that is away is not waited for
                leave_group(self.cluster.bootstrap, name, members, "share" if shares else protocol)

    def _forget_group(self, name: str) -> None:
        """Remove what an earlier run on this cluster left of the group, with members that could not leave it."""
        if self.cluster.implementation == EMBEDDED:
            return
        with suppress(KafkaException, WireError, TimeoutError):
            self._empty(name)
        with suppress(KafkaException):
            self.client.delete_consumer_groups([name])[name].result(_WITHIN_S)

    def _empty(self, name: str) -> None:
        """Take out of a group of this private cluster whoever is still in it: members of a driver that was killed could not leave."""
        asked = self.client.describe_consumer_groups([name], request_timeout=_EMPTIED_WITHIN_S)
        found = asked[name].result(_EMPTIED_WITHIN_S + 1)
        if members := [each.member_id for each in found.members]:
            new = found.type == ConsumerGroupType.CONSUMER
            leave_group(self.cluster.bootstrap, name, members, "consumer" if new else "classic")

    def commit_offsets(self, group: str, places: list[TopicPartition]) -> str:
        """Set the committed offsets of a group without members; return why that is refused, or "" where it is not."""
        try:
            asked = [ConsumerGroupTopicPartitions(group, places)]
            answer = self.client.alter_consumer_group_offsets(asked)[group].result(_WITHIN_S)
        except KafkaException as error:
            return str(error.args[0].str())
        wrong = next((each.error for each in answer.topic_partitions if each.error), None)
        return "" if wrong is None else str(wrong.str())

    def _commit(self, group: str, places: list[TopicPartition]) -> None:
        until = time.monotonic() + _WITHIN_S
        while reason := self.commit_offsets(group, places):
            if time.monotonic() > until:
                raise AdminError(f"the start offsets of group {group} cannot be committed: {reason}")
            time.sleep(_STEP_S)

    def remove_scratch(self) -> None:
        """Remove the topics that are the driver's own."""
        if self.cluster.implementation != EMBEDDED:
            own = [SCRATCH_TOPIC, *([CLOCKS_TOPIC] if _clocks_go_wrong(self.plan.scenario) else ())]
            for done in self.client.delete_topics(own).values():
                with suppress(KafkaException):
                    done.result(5)


def _clocks_go_wrong(scenario: Scenario) -> bool:
    """Whether a fault sets the clock of a broker."""
    return any(isinstance(fault, ClockSkew) and fault.broker is not None for fault in scenario.faults)


class suppress_code:  # noqa: N801 - reads like contextlib's
    """Lets one error code of the client pass."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> bool:
        """Swallow the one error."""
        return isinstance(error, KafkaException) and error.args[0].code() == self.code


def wait_until(done: Callable[[], Any], what: str) -> None:
    """Wait for something, or raise AdminError that says for what."""
    until = time.monotonic() + _WITHIN_S
    while not done():
        if time.monotonic() > until:
            raise AdminError(f"waiting for {what} took more than {_WITHIN_S:.0f} s")
        time.sleep(_STEP_S)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
