"""Partitioners: the partitions that real clients were seen to choose."""

import zlib

import pytest

from scenarios.partitioners import coordinator_partition, java_partition, librdkafka_partition, murmur2


@pytest.mark.parametrize(
    ("key", "java", "librdkafka"),
    [("user-0", 1, 2), ("user-1", 2, 2), ("user-2", 2, 4), ("user-3", 5, 0), ("user-4", 1, 3), ("user-5", 4, 3)],
)
def test_keys_go_where_real_clients_put_them(key: str, java: int, librdkafka: int) -> None:
    """Measured with six partitions, Java 4.2 and librdkafka 2.15."""
    assert java_partition(key.encode(), 6) == java
    assert librdkafka_partition(key.encode(), 6) == librdkafka


def test_the_hashes_are_those_of_the_clients() -> None:
    assert murmur2(b"user-0") & 0x7FFFFFFF == 637506763
    assert zlib.crc32(b"user-0") == 153187970


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_agrees_with_kafkas_own_test_vectors(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed % 2**32


def test_the_two_clients_agree_on_one_key_in_six() -> None:
    agreeing = sum(
        java_partition(key, 6) == librdkafka_partition(key, 6) for key in (b"user-%d" % n for n in range(1000))
    )

    assert agreeing == 174


@pytest.mark.parametrize(("group", "partition"), [("a", 97 % 50), ("fulfilment", 12), ("", 0)])
def test_a_group_has_its_coordinator_by_javas_hash_of_its_name(group: str, partition: int) -> None:
    assert coordinator_partition(group, 50) == partition
