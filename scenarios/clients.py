"""What each client and broker does with its settings: native names, defaults by client and version, as the models and drivers need them.

Defaults: Apache Kafka's `ProducerConfig`, `ConsumerConfig`, `ServerConfigs` and `TopicConfig`, and librdkafka's CONFIGURATION.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scenarios.faults import ClockSkew
from scenarios.quantities import MILLISECOND
from scenarios.schema import CollectReads, Group, Producer, Scenario, Setting, Settings

NO_LIMIT = 2**31 - 1
"""Stands for a limit that the client does not have."""

Acks = Literal["all", "1", "0"]
Value = str | int | float | bool
JAVA_VERSION = "4.2"
LIBRDKAFKA_VERSION = "2.16"
TRANSACTION_TIMEOUT_MS = 60_000
"""Both clients' `transaction.timeout.ms`."""


@dataclass(frozen=True)
class ProducerSettings:
    """How a producer's client sends."""

    acks: Acks
    idempotence: bool
    linger_ns: int
    batch_bytes: int
    """A batch of one partition is full at so many bytes."""
    batch_events: int
    """A batch of one partition is full at so many events."""
    in_flight: int | None
    """Unanswered requests at a time (idempotent librdkafka: per partition); None where there is no practical limit."""
    buffer_events: int
    buffer_bytes: int
    delivery_timeout_ns: int
    """From the hand-over of an event until the client gives it up."""
    request_timeout_ns: int
    """From a request until the client gives up on the silent connection."""
    acks_timeout_ns: int
    """How long the leader waits for the followers of an acks=all request before it answers with an error."""
    retry_backoff_ns: int
    """Wait before the first retry; it doubles with each further one."""
    retry_backoff_max_ns: int
    largest_bytes: int
    """What the client takes as one event; larger ones are refused at once."""
    max_block_ns: int | None
    """How long a call waits for room in the buffer; None where it is refused at once."""
    request_bytes: int
    """What several partitions' batches may add up to in one request."""
    transactional_id: str
    """Under which its processes send in transactions, each with its number added; empty where they do not."""
    transaction_timeout_ns: int
    """How long a transaction may be open until its coordinator aborts it."""
    native: Mapping[str, Value]
    """What the client's constructor gets, connection apart."""

    def transactional_id_of(self, number: int) -> str:
        """Return the id of the producer's n-th process, from 1; empty where it sends in no transactions."""
        return f"{self.transactional_id}-{number}" if self.transactional_id else ""


@dataclass(frozen=True)
class ConsumerSettings:
    """How a member's client reads, commits and keeps its place in the group."""

    protocol: Literal["classic", "consumer"]
    session_timeout_ns: int
    """Silence after which the coordinator gives a member up; with the `consumer` protocol the broker's setting."""
    heartbeat_ns: int
    max_poll_interval_ns: int
    max_poll_records: int
    auto_commit: bool
    auto_commit_interval_ns: int
    auto_offset_reset: Literal["earliest", "latest", "none"]
    isolation: Literal["read_committed", "read_uncommitted"]
    fetch_wait_ns: int
    fetch_min_bytes: int
    fetch_bytes: int
    """What one answer holds at most."""
    fetch_partition_bytes: int
    """What one answer holds of a partition at most."""
    fetches_ahead: Literal["any", "other partitions", "other brokers", "nothing", "when called"]
    """What a member fetches while it has records that the application did not take yet."""
    request_timeout_ns: int
    """From a fetch until the client gives up on the silent connection; librdkafka adds the fetch's own wait."""
    native: Mapping[str, Value]
    """What the client's constructor gets, connection and group id apart."""


_SAME_AS: Mapping[str, str] = {
    # librdkafka takes these names for the same settings; the left one is Java's, which librdkafka takes as well.
    "request.required.acks": "acks",
    "queue.buffering.max.ms": "linger.ms",
    "message.timeout.ms": "delivery.timeout.ms",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "compression.codec": "compression.type",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
}
_PRODUCER_DEFAULTS: Mapping[str, Mapping[str, Value]] = {
    "java": {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 5,
        "batch.size": 16_384,
        "max.in.flight.requests.per.connection": 5,
        "buffer.memory": 33_554_432,
        "max.block.ms": 60_000,
        "max.request.size": 1_048_576,
        "delivery.timeout.ms": 120_000,
        "request.timeout.ms": 30_000,
        "retry.backoff.ms": 100,
        "retry.backoff.max.ms": 1_000,
    },
    "librdkafka": {
        "acks": "all",
        "enable.idempotence": False,
        "linger.ms": 5,
        "batch.size": 1_000_000,
        "batch.num.messages": 10_000,
        "max.in.flight.requests.per.connection": 1_000_000,
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 1_048_576,
        "message.max.bytes": 1_000_000,
        "delivery.timeout.ms": 300_000,
        "request.timeout.ms": 30_000,
        "socket.timeout.ms": 60_000,
        "retry.backoff.ms": 100,
        "retry.backoff.max.ms": 1_000,
    },
}
_CONSUMER_DEFAULTS: Mapping[str, Mapping[str, Value]] = {
    "java": {"isolation.level": "read_uncommitted", "request.timeout.ms": 30_000},
    "librdkafka": {"isolation.level": "read_committed", "socket.timeout.ms": 60_000},
}
_BOTH_CONSUMERS: Mapping[str, Value] = {
    "group.protocol": "classic",
    "session.timeout.ms": 45_000,
    "heartbeat.interval.ms": 3_000,
    "max.poll.interval.ms": 300_000,
    "max.poll.records": 500,
    "auto.commit.interval.ms": 5_000,
    "auto.offset.reset": "latest",
    "fetch.max.wait.ms": 500,
    "fetch.min.bytes": 1,
    "fetch.max.bytes": 52_428_800,
    "max.partition.fetch.bytes": 1_048_576,
}
BROKER_DEFAULTS: Mapping[str, Value] = {
    "auto.leader.rebalance.enable": True,
    "broker.session.timeout.ms": 9_000,
    "broker.heartbeat.interval.ms": 2_000,
    "controller.quorum.fetch.timeout.ms": 2_000,
    "default.replication.factor": 1,
    "group.consumer.heartbeat.interval.ms": 5_000,
    "group.consumer.session.timeout.ms": 45_000,
    "group.initial.rebalance.delay.ms": 3_000,
    "group.max.session.timeout.ms": 1_800_000,
    "group.min.session.timeout.ms": 6_000,
    "group.share.delivery.count.limit": 5,
    "group.share.heartbeat.interval.ms": 5_000,
    "group.share.partition.max.record.locks": 2_000,
    "group.share.record.lock.duration.ms": 30_000,
    "group.share.session.timeout.ms": 45_000,
    "leader.imbalance.check.interval.seconds": 300,
    "log.cleaner.backoff.ms": 15_000,
    "log.cleaner.max.compaction.lag.ms": 2**63 - 1,
    "log.cleaner.min.cleanable.ratio": 0.5,
    "log.cleaner.min.compaction.lag.ms": 0,
    "log.cleanup.policy": "delete",
    "log.retention.bytes": -1,
    "log.retention.check.interval.ms": 300_000,
    "log.retention.ms": 604_800_000,
    "log.roll.ms": 604_800_000,
    "log.segment.bytes": 1_073_741_824,
    "message.max.bytes": 1_048_588,
    "min.insync.replicas": 1,
    "num.partitions": 1,
    "offsets.retention.minutes": 10_080,
    "offsets.topic.num.partitions": 5,  # as clusters that EventDrill starts have it; 50, Kafka's own, slows their start
    "transaction.state.log.num.partitions": 5,  # likewise
    "replica.fetch.backoff.ms": 1_000,
    "replica.fetch.wait.max.ms": 500,
    "replica.lag.time.max.ms": 30_000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 10_000,
    "unclean.leader.election.enable": False,
}
"""Kafka's defaults of the broker settings that EventDrill looks at."""
_BROKER_NAME_OF: Mapping[str, str] = {
    "cleanup.policy": "log.cleanup.policy",
    "max.compaction.lag.ms": "log.cleaner.max.compaction.lag.ms",
    "max.message.bytes": "message.max.bytes",
    "min.cleanable.dirty.ratio": "log.cleaner.min.cleanable.ratio",
    "min.compaction.lag.ms": "log.cleaner.min.compaction.lag.ms",
    "min.insync.replicas": "min.insync.replicas",
    "retention.bytes": "log.retention.bytes",
    "retention.ms": "log.retention.ms",
    "segment.bytes": "log.segment.bytes",
    "segment.ms": "log.roll.ms",
    "unclean.leader.election.enable": "unclean.leader.election.enable",
}
"""By topic setting: the broker setting that stands in where the topic says nothing."""
_OFFSET_RESETS: Mapping[str, Literal["earliest", "latest", "none"]] = {
    "earliest": "earliest", "smallest": "earliest", "beginning": "earliest",
    "latest": "latest", "largest": "latest", "end": "latest",
    "none": "none", "error": "none",
}  # fmt: skip


def common_names(settings: Settings) -> dict[str, Setting]:
    """Return settings under the names that both clients share."""
    return {_SAME_AS.get(name, name): value for name, value in settings.items()}


def producer_defaults(producer: Producer) -> dict[str, Value]:
    """Return a producer's client's defaults, under shared names."""
    defaults = dict(_PRODUCER_DEFAULTS[producer.client])
    if producer.client == "java" and release(producer.version or JAVA_VERSION) < (4, 0):
        defaults["linger.ms"] = 0  # 5 only since 4.0 (KIP-1030)
    return defaults


def consumer_defaults(group: Group) -> dict[str, Value]:
    """Return a group's client's defaults, under shared names."""
    return {**_BOTH_CONSUMERS, **_CONSUMER_DEFAULTS[group.client]}


def producer_settings(scenario: Scenario, producer: str) -> ProducerSettings:
    """Return how a producer's client sends, with its own defaults filled in."""
    return _sending(scenario.producers[producer])


def settings_of_emits(scenario: Scenario, group: str, emit: int) -> ProducerSettings:
    """Return how the members of a group send what they emit: with the group's own client."""
    what, emits = scenario.groups[group], scenario.groups[group].emits[emit]
    settings = dict(emits.settings)
    if what.commit == "transaction":  # a transactional client is idempotent, and takes no other answer
        settings |= {"enable.idempotence": True, "acks": "all"}
    sends = Producer.model_construct(
        topic=emits.topic, arrivals=(), client=what.client, version=what.version, settings=settings
    )
    return _sending(sends)


def sending_settings_of(settings: Mapping[str, Value]) -> ProducerSettings:
    """Return how a librdkafka producer with some settings sends."""
    sends = Producer.model_construct(topic="", arrivals=(), client="librdkafka", version=None, settings=settings)
    return _sending(sends)


def transaction_timeout_ns(scenario: Scenario, group: str) -> int:
    """Return how long a member's transaction may be open until its coordinator aborts it: both clients' `transaction.timeout.ms`."""
    settings = {name: value for emits in scenario.groups[group].emits for name, value in emits.settings.items()}
    return milliseconds_ns(settings.get("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS))


def _sending(what: Producer) -> ProducerSettings:
    given = common_names(what.settings)
    all_settings = {**producer_defaults(what), **_of_transactions(what.client, given), **given}
    acks = acks_of(all_settings["acks"])
    idempotence = as_bool(all_settings["enable.idempotence"])
    if acks != "all" and "enable.idempotence" not in given:
        idempotence = False  # both clients then leave it out in silence
    in_flight: int | None = as_int(all_settings["max.in.flight.requests.per.connection"])
    assert in_flight is not None
    if idempotence:
        in_flight = min(in_flight, 5)
    return ProducerSettings(
        acks=acks,
        idempotence=idempotence,
        linger_ns=0 if "transactional.id" in given else milliseconds_ns(all_settings["linger.ms"]),  # a commit flushes
        batch_bytes=as_int(all_settings["batch.size"]),
        batch_events=as_int(all_settings.get("batch.num.messages", NO_LIMIT)),
        in_flight=None if in_flight >= 1_000_000 else in_flight,
        buffer_events=as_int(all_settings.get("queue.buffering.max.messages", NO_LIMIT)) or NO_LIMIT,
        buffer_bytes=_buffer_bytes(all_settings),
        delivery_timeout_ns=milliseconds_ns(all_settings["delivery.timeout.ms"]) or NO_LIMIT * MILLISECOND,
        request_timeout_ns=milliseconds_ns(
            all_settings["socket.timeout.ms" if what.client == "librdkafka" else "request.timeout.ms"]
        ),
        largest_bytes=as_int(all_settings["max.request.size" if what.client == "java" else "message.max.bytes"]),
        max_block_ns=milliseconds_ns(all_settings["max.block.ms"]) if what.client == "java" else None,
        request_bytes=as_int(all_settings.get("max.request.size", NO_LIMIT)),
        acks_timeout_ns=milliseconds_ns(all_settings["request.timeout.ms"]),
        retry_backoff_ns=milliseconds_ns(all_settings["retry.backoff.ms"]),
        retry_backoff_max_ns=milliseconds_ns(all_settings["retry.backoff.max.ms"]),
        transactional_id=str(given.get("transactional.id", "")),
        transaction_timeout_ns=milliseconds_ns(given.get("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)),
        native=dict(what.settings),
    )


def _of_transactions(client: str, given: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return what a client's defaults are instead where it sends in transactions; librdkafka gives nothing more time than these."""
    if "transactional.id" not in given:
        return {}
    found: dict[str, Value] = {"enable.idempotence": True}
    if client == "librdkafka":
        timeout_ms = as_int(given.get("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS))
        found |= {"delivery.timeout.ms": timeout_ms, "socket.timeout.ms": max(timeout_ms - 100, 900)}
    return found


def _buffer_bytes(settings: Mapping[str, Value]) -> int:
    if "buffer.memory" in settings:
        return as_int(settings["buffer.memory"])
    return as_int(settings["queue.buffering.max.kbytes"]) * 1024


def consumer_settings(scenario: Scenario, group: str) -> ConsumerSettings:
    """Return how the members of a group read, with their client's and the brokers' defaults filled in."""
    what = scenario.groups[group]
    settings = {**consumer_defaults(what), **common_names(what.settings)}
    protocol: Literal["classic", "consumer"] = (
        "consumer" if what.share_group or str(settings["group.protocol"]).lower() == "consumer" else "classic"
    )
    if what.share_group:
        session: Value = broker_setting(scenario, "group.share.session.timeout.ms")
        heartbeat: Value = broker_setting(scenario, "group.share.heartbeat.interval.ms")
    elif protocol == "consumer":  # the coordinator says, not the client
        session = broker_setting(scenario, "group.consumer.session.timeout.ms")
        heartbeat = broker_setting(scenario, "group.consumer.heartbeat.interval.ms")
    else:
        session, heartbeat = settings["session.timeout.ms"], settings["heartbeat.interval.ms"]
    wait = settings.get("fetch.wait.max.ms", settings["fetch.max.wait.ms"])
    auto_commit = what.commit == "auto"
    # `poll` is the driver's own loop, so with librdkafka this setting is the driver's, not the client's.
    dropped = {"max.poll.records"} if what.client == "librdkafka" else set()
    native = {name: value for name, value in what.settings.items() if name not in dropped}
    return ConsumerSettings(
        protocol=protocol,
        session_timeout_ns=milliseconds_ns(session),
        heartbeat_ns=milliseconds_ns(heartbeat),
        max_poll_interval_ns=milliseconds_ns(settings["max.poll.interval.ms"]),
        max_poll_records=as_int(settings["max.poll.records"]),
        auto_commit=auto_commit,
        auto_commit_interval_ns=milliseconds_ns(settings["auto.commit.interval.ms"]),
        auto_offset_reset=_OFFSET_RESETS.get(str(settings["auto.offset.reset"]).lower(), "latest"),
        isolation=(
            "read_committed"
            if settings["isolation.level"] == "read_committed" and not what.share_group
            else "read_uncommitted"
        ),
        fetch_wait_ns=milliseconds_ns(wait),
        fetch_min_bytes=as_int(settings["fetch.min.bytes"]),
        fetch_bytes=as_int(settings["fetch.max.bytes"]),
        fetch_partition_bytes=as_int(settings["max.partition.fetch.bytes"]),
        fetches_ahead=_fetches_ahead(what),
        request_timeout_ns=(
            milliseconds_ns(settings["socket.timeout.ms"]) + milliseconds_ns(wait)
            if what.client == "librdkafka"
            else milliseconds_ns(settings["request.timeout.ms"])
        ),
        native={**native, "enable.auto.commit": auto_commit},
    )


def _fetches_ahead(group: Group) -> Literal["any", "other partitions", "other brokers", "nothing", "when called"]:
    if group.share_group:
        return "nothing"
    if group.client == "java" and isinstance(group.reads, CollectReads):
        return "when called"  # it polls until it has collected enough, so that nothing waits in the client
    if group.client == "librdkafka":
        return "any"
    return "other partitions" if release(group.version or JAVA_VERSION) < (4, 0) else "other brokers"


Assignor = Literal["range", "roundrobin", "sticky", "cooperative-sticky"]
_ASSIGNORS: Mapping[str, Assignor] = {
    "range": "range", "rangeassignor": "range",
    "roundrobin": "roundrobin", "roundrobinassignor": "roundrobin",
    "sticky": "sticky", "stickyassignor": "sticky",
    "cooperative-sticky": "cooperative-sticky", "cooperativestickyassignor": "cooperative-sticky",
}  # fmt: skip


def assignor(scenario: Scenario, group: str) -> Assignor:
    """Return the assignor of a classic group: the first of `partition.assignment.strategy`; both clients' default is range first."""
    given = str(scenario.groups[group].settings.get("partition.assignment.strategy", "range"))
    first = given.strip(" []").split(",")[0].strip().rsplit(".", 1)[-1].lower()
    if first not in _ASSIGNORS:
        raise ValueError(f"is {given!r}; it is range, roundrobin, sticky or cooperative-sticky")
    return _ASSIGNORS[first]


def is_static(scenario: Scenario, group: str) -> bool:
    """Whether the members of a group keep their places over a restart (`group.instance.id`, to which each adds its number)."""
    return "group.instance.id" in scenario.groups[group].settings


def metadata_age_ns(what: Producer | Group) -> int | None:
    """Return after how long a client asks by itself what there is of its topics, or None where it never does."""
    return metadata_age_of(what.client, what.settings)


def metadata_age_of(client: str, settings: Settings) -> int | None:
    """Return the same of any client with some settings."""
    name = "metadata.max.age.ms" if client == "java" else "topic.metadata.refresh.interval.ms"
    age_ns = milliseconds_ns(settings.get(name, 300_000))
    if client == "java":
        return max(age_ns, MILLISECOND)
    return age_ns if age_ns > 0 else None


def broker_setting(scenario: Scenario, name: str) -> Value:
    """Return a broker setting of the scenario, or Kafka's default; raise KeyError for one that EventDrill does not look at."""
    default = BROKER_DEFAULTS[name]
    return _like(default, scenario.brokers.settings.get(name, default))


def topic_setting(scenario: Scenario, topic: str, name: str) -> Value:
    """Return a topic's setting, or the brokers' that stands in for it, or Kafka's default."""
    broker_name = _BROKER_NAME_OF[name]
    own = scenario.topics[topic].settings.get(name)
    return broker_setting(scenario, broker_name) if own is None else _like(BROKER_DEFAULTS[broker_name], own)


def is_compacted(scenario: Scenario, topic: str) -> bool:
    """Whether a topic is compacted."""
    return "compact" in str(topic_setting(scenario, topic, "cleanup.policy"))


def may_expire(scenario: Scenario) -> bool:
    """Whether retention could delete something within a run: by wrong clocks records are older than they are."""
    wrong_ns = sum(abs(fault.by) for fault in scenario.faults if isinstance(fault, ClockSkew))
    oldest_ms = (scenario.duration + scenario.drain + wrong_ns) / MILLISECOND
    kept_ms = [int(topic_setting(scenario, name, "retention.ms")) for name in scenario.topics]
    by_size = any(int(topic_setting(scenario, name, "retention.bytes")) >= 0 for name in scenario.topics)
    by_fault = any(fault.kind == "retention" for fault in scenario.faults)
    return by_size or by_fault or any(0 <= kept < oldest_ms for kept in kept_ms)


def release(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version such as `4.2` or `3.9.1`."""
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return (*numbers, 0, 0)[:2]


def acks_of(value: Value) -> Acks:
    """Return what an `acks` setting means; both clients take `all` and -1."""
    text = str(value).lower()
    if text in ("all", "-1"):
        return "all"
    if text in ("1", "0"):
        return "1" if text == "1" else "0"
    raise ValueError(f"acks is {value!r}; it is all, 1 or 0")


def as_bool(value: Value) -> bool:
    """Return a setting that is true or false."""
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in ("true", "false"):
        raise ValueError(f"is {value!r}; it is true or false")
    return text == "true"


def as_int(value: Value) -> int:
    """Return a setting that is a whole number."""
    return int(float(value)) if isinstance(value, str) else int(value)


def milliseconds_ns(value: Value) -> int:
    """Return a setting in milliseconds as nanoseconds."""
    return round(float(value) * MILLISECOND)


def _like(default: Value, value: Value) -> Value:
    if isinstance(default, bool):
        return as_bool(value)
    if isinstance(default, int):
        return as_int(value)
    return value
