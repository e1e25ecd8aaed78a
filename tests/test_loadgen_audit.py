"""The audit against a topic with planted records."""

import logging
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from loadgen.audit import AuditError, audit
from loadgen.clusters.embedded import EmbeddedKafka, start_embedded
from loadgen.clusters.model import ClusterSpec
from loadgen.records import HEADER, encode
from rundata.rows import NONE
from rundata.tables import Extent

pytestmark = pytest.mark.live

QUIET = logging.getLogger("quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
RUN, OTHER_RUN = 77, 78


@pytest.fixture
def embedded() -> Iterator[EmbeddedKafka]:
    with start_embedded(ClusterSpec(nodes=1), progress=print) as cluster:
        yield cluster


def put(cluster: EmbeddedKafka, records: list[tuple[int, bytes | None]]) -> None:
    """Append records (partition, value) to the topic `orders`, in this order."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 0}, logger=QUIET)
    for partition, value in records:
        producer.produce("orders", value, partition=partition, timestamp=1_000_000_002_500)
        assert producer.flush(10) == 0


def test_every_record_is_found_whoever_wrote_it(embedded: EmbeddedKafka):
    """Planted among a run's events: one that is there twice, a poison one, one of another run, an empty and a short value."""
    embedded.create_topic("orders", 2, 1)
    put(
        embedded,
        [
            (0, encode(RUN, 5, 5, 111, b"body")),
            (0, encode(RUN, 6, 6, 222, b"body", poison=True)),
            (0, encode(OTHER_RUN, 7, 7, 333, b"body")),
            (0, None),
            (0, b"short"),
            (0, encode(RUN, 5, 5, 111, b"body")),
            (1, encode(RUN, 8, 8, 444, b"")),
        ],
    )

    log, extents = audit(
        {"bootstrap.servers": embedded.bootstrap}, {"orders": 2}, RUN, start_unix_ns=1_000_000_000_000 * 1_000_000
    )

    assert log["event_id"].tolist() == [5, 6, NONE, NONE, NONE, 5, 8]
    assert log["offset"].tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert log["partition"].tolist() == [0] * 6 + [1]
    assert set(log["time_ns"].tolist()) == {2_500_000_000}
    assert extents == (Extent("orders", 0, 0, 6), Extent("orders", 1, 0, 1))
    assert HEADER.size == 32


def test_empty_topics_have_extents_and_no_records(embedded: EmbeddedKafka):
    embedded.create_topic("orders", 3, 1)

    log, extents = audit({"bootstrap.servers": embedded.bootstrap}, {"orders": 3}, RUN, 0)

    assert len(log) == 0
    assert extents == tuple(Extent("orders", partition, 0, 0) for partition in range(3))


def test_a_partition_that_cannot_be_read_is_named(embedded: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch):
    """Its leader is down for good: the audit says which partition it is about, and does not wait for ever."""
    monkeypatch.setattr("loadgen.audit._STUCK_S", 1.0)
    embedded.create_topic("orders", 1, 1)
    embedded.kill(1)

    with pytest.raises(AuditError, match="orders/0"):
        audit({"bootstrap.servers": embedded.bootstrap, "log_level": 0}, {"orders": 1}, RUN, 0)
