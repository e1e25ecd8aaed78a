"""Clients' defaults by client and version, and settings: what real clients refuse is refused, from tables they print themselves."""

# ruff: noqa: E501 -- messages stand here whole, as people see them

from importlib import resources
from pathlib import Path

import confluent_kafka
import pytest

from librdkafka_properties import librdkafka_rows
from scenario_text import changed, complaints, small
from scenarios.clients import NO_LIMIT, broker_setting, consumer_settings, producer_settings, topic_setting
from scenarios.quantities import MILLISECOND, SECOND
from scenarios.settings import known_settings

SETTINGS = "settings: {acks: all, enable.idempotence: true, linger.ms: 5}"


def test_librdkafkas_producer_is_not_idempotent_and_batches_by_count_unless_told_otherwise() -> None:
    resolved = producer_settings(small((SETTINGS, "settings: {}")), "shop")

    assert resolved.acks == "all"
    assert not resolved.idempotence
    assert resolved.in_flight is None
    assert resolved.linger_ns == 5 * MILLISECOND
    assert (resolved.batch_bytes, resolved.batch_events) == (1_000_000, 10_000)
    assert (resolved.buffer_events, resolved.buffer_bytes) == (100_000, 2**30)
    assert resolved.delivery_timeout_ns == 300 * SECOND
    assert resolved.request_timeout_ns == 60 * SECOND
    assert resolved.native == {}


def test_javas_producer_is_idempotent_with_small_batches() -> None:
    resolved = producer_settings(small((SETTINGS, "client: java")), "shop")

    assert resolved.idempotence
    assert resolved.in_flight == 5
    assert (resolved.batch_bytes, resolved.batch_events) == (16_384, NO_LIMIT)
    assert resolved.buffer_bytes == 32 * 2**20
    assert resolved.delivery_timeout_ns == 120 * SECOND
    assert resolved.request_timeout_ns == 30 * SECOND


@pytest.mark.parametrize(("version", "linger_ms"), [("3.9", 0), ("4.0", 5), ("4.2.1", 5)])
def test_javas_linger_is_five_milliseconds_since_4_0(version: str, linger_ms: int) -> None:
    scenario = small((SETTINGS, f"client: java\n    version: {version}"))

    assert producer_settings(scenario, "shop").linger_ns == linger_ms * MILLISECOND


def test_idempotence_falls_away_in_silence_with_acks_1_and_caps_what_is_in_flight() -> None:
    assert not producer_settings(small((SETTINGS, "client: java\n    settings: {acks: 1}")), "shop").idempotence
    assert producer_settings(small(), "shop").in_flight == 5


def test_a_setting_counts_under_each_of_its_names() -> None:
    given = (
        "settings: {request.required.acks: -1, queue.buffering.max.ms: 20, max.in.flight: 3, message.timeout.ms: 10000}"
    )
    resolved = producer_settings(small((SETTINGS, given)), "shop")

    assert resolved.acks == "all"
    assert resolved.linger_ns == 20 * MILLISECOND
    assert resolved.in_flight == 3
    assert resolved.delivery_timeout_ns == 10 * SECOND


def test_a_member_has_the_defaults_of_its_client_and_protocol() -> None:
    classic = consumer_settings(small(), "fulfilment")
    assert (classic.protocol, classic.session_timeout_ns, classic.heartbeat_ns) == ("classic", 45 * SECOND, 3 * SECOND)
    assert classic.max_poll_interval_ns == 300 * SECOND
    assert classic.max_poll_records == 500
    assert not classic.auto_commit
    assert classic.isolation == "read_committed"
    assert classic.auto_offset_reset == "latest"
    assert classic.native == {"enable.auto.commit": False}

    java = consumer_settings(small(("members: 3", "members: 3\n    client: java")), "fulfilment")
    assert java.isolation == "read_uncommitted"


def test_with_the_new_protocol_the_brokers_say_how_long_a_session_lasts() -> None:
    scenario = small(
        ("nodes: 3}", "nodes: 3, settings: {group.consumer.session.timeout.ms: 50000}}"),
        ("members: 3", "members: 3\n    settings: {group.protocol: consumer}"),
    )
    resolved = consumer_settings(scenario, "fulfilment")

    assert (resolved.protocol, resolved.session_timeout_ns, resolved.heartbeat_ns) == (
        "consumer",
        50 * SECOND,
        5 * SECOND,
    )


def test_the_polls_size_is_the_loops_not_librdkafkas() -> None:
    scenario = small(
        ("commit: {every: 1s}", "commit: auto\n    settings: {max.poll.records: 50, auto.commit.interval.ms: 1000}")
    )
    resolved = consumer_settings(scenario, "fulfilment")

    assert resolved.max_poll_records == 50
    assert resolved.auto_commit
    assert resolved.native == {"auto.commit.interval.ms": 1000, "enable.auto.commit": True}


def test_a_topic_takes_the_brokers_setting_where_it_has_none() -> None:
    scenario = small(("nodes: 3}", "nodes: 3, settings: {min.insync.replicas: 3, log.retention.ms: 60000}}"))

    assert topic_setting(scenario, "orders", "min.insync.replicas") == 2
    assert topic_setting(scenario, "orders.dlq", "min.insync.replicas") == 3
    assert topic_setting(scenario, "orders", "retention.ms") == 60_000
    assert broker_setting(scenario, "broker.session.timeout.ms") == 9_000
    with pytest.raises(KeyError):
        broker_setting(scenario, "num.io.threads")


# ---- what clients refuse --------------------------------------------------------------------------------------------


def test_the_table_of_settings_is_what_the_installed_librdkafka_prints(tmp_path: Path) -> None:
    """Another release of the client knows other settings; then the table is written anew with `librdkafka_rows`."""
    table = Path(str(resources.files("scenarios"))) / "native" / "librdkafka.tsv"
    rows = [row for row in table.read_text("utf-8").splitlines() if not row.startswith("#")]

    assert rows == librdkafka_rows(tmp_path)


@pytest.mark.parametrize(
    "setting",
    [
        "linger.ms: 900000", "linger.ms: 900001", "linger.ms: 0.5", "linger.ms: fast", "lingr.ms: 5", "batch.size: 0", "batch.size: 1",
        "compression.type: zstd", "compression.type: zst", "enable.idempotence: maybe", "max.in.flight: 6", "retries: 0",
        "message.timeout.ms: 5", "message.timeout.ms: 5, linger.ms: 5", "message.timeout.ms: 5, linger.ms: 4", "message.timeout.ms: 0, linger.ms: 4",
        "socket.timeout.ms: 9", "acks: 1", "acks: 0", "stats_cb: 5",
        "sticky.partitioning.linger.ms: 900001", "queue.buffering.max.messages: -1", "linger.ms: 300000", "request.timeout.ms: 0",
    ],
)  # fmt: skip
def test_a_producers_setting_is_refused_exactly_where_librdkafka_refuses_it(setting: str) -> None:
    """The real client is the judge; `acks: 1` is refused for the idempotence beside it."""
    beside = {"acks": "all", "enable.idempotence": "true"} | dict(pair.split(": ") for pair in setting.split(", "))
    try:
        confluent_kafka.Producer(beside)
    except (confluent_kafka.KafkaException, ValueError, TypeError):
        refused = True
    else:
        refused = False
    text = ", ".join(f"{key}: {given}" for key, given in beside.items())

    assert bool(complaints(changed((SETTINGS, f"settings: {{{text}}}")))) == refused


@pytest.mark.parametrize(
    "settings",
    [
        "session.timeout.ms: 6000", "session.timeout.ms: 0", "max.poll.interval.ms: 10000", "max.poll.interval.ms: 45000",
        "auto.offset.reset: earliest", "auto.offset.reset: none", "isolation.level: read_commited", "fetch.min.bytes: -1",
        "group.protocol: consumer", "group.protocol: consumer, session.timeout.ms: 45000", "group.protocol: consumer, heartbeat.interval.ms: 3000",
        "group.protocol: consumer, partition.assignment.strategy: range", "group.protocol: cosumer", "enable.partition.eof: yes",
    ],
)  # fmt: skip
def test_a_groups_setting_is_refused_exactly_where_librdkafka_refuses_it(settings: str) -> None:
    given = dict(pair.split(": ") for pair in settings.split(", "))
    try:
        confluent_kafka.Consumer({"group.id": "g", "enable.auto.commit": "false", **given}).close()
    except (confluent_kafka.KafkaException, ValueError, TypeError):
        refused = True
    else:
        refused = False

    assert bool(complaints(changed(("members: 3", f"members: 3\n    settings: {{{settings}}}")))) == refused


def test_java_and_kafka_have_their_own_tables() -> None:
    assert known_settings("kafka-producer")["linger.ms"].default == "5"
    assert known_settings("kafka-consumer")["max.poll.records"].least == 1
    assert known_settings("kafka-topic")["cleanup.policy"].words == ("compact", "delete")
    assert known_settings("kafka-broker")["broker.session.timeout.ms"].default == "9000"
    assert complaints(changed((SETTINGS, "client: java\n    settings: {batch.size: -1}"))) == [
        "small.yaml:18: producers.shop.settings['batch.size'] is -1; it is from 0"
    ]
    assert complaints(changed(("min.insync.replicas: 2", "cleanup.policy: 'compact,delete'"))) == []


def test_brokers_that_would_not_start_are_refused() -> None:
    text = changed(
        (
            "nodes: 3}",
            "nodes: 3, settings: {group.consumer.session.timeout.ms: 10000, log.dirs: /x, broker.session.timeout.ms: soon}}",
        )
    )

    assert complaints(text) == [
        "small.yaml:7: brokers.settings['log.dirs'] is set by EventDrill itself; remove it",
        "small.yaml:7: brokers.settings['broker.session.timeout.ms'] is 'soon'; it is a whole number",
    ]
    assert complaints(changed(("nodes: 3}", "nodes: 3, settings: {group.consumer.session.timeout.ms: 10000}}"))) == [
        "small.yaml:7: brokers.settings['group.consumer.session.timeout.ms'] is 10000, and no broker starts unless group.consumer.min.session.timeout.ms (45000) <= group.consumer.session.timeout.ms (10000) <= group.consumer.max.session.timeout.ms (60000); change them together"
    ]
    lowered = (
        "nodes: 3, settings: {group.consumer.session.timeout.ms: 10000, group.consumer.min.session.timeout.ms: 6000}}"
    )
    assert complaints(changed(("nodes: 3}", lowered))) == []
