"""Which partition a key goes to, as each client computes it."""

import zlib

_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit MurmurHash2 (seed 0x9747b28c), unsigned."""
    m, length = 0x5BD1E995, len(data)
    h = (0x9747B28C ^ length) & _MASK
    for start in range(0, length - length % 4, 4):
        k = int.from_bytes(data[start : start + 4], "little") * m & _MASK
        k = (k ^ (k >> 24)) * m & _MASK
        h = (h * m & _MASK) ^ k
    tail = data[length - length % 4 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & _MASK
    h = (h ^ (h >> 13)) * m & _MASK
    return h ^ (h >> 15)


def java_partition(key: bytes, partitions: int) -> int:
    """Return the Java client's partition: toPositive(murmur2(key)) % partitions."""
    return key_hash("java", key) % partitions


def librdkafka_partition(key: bytes, partitions: int) -> int:
    """Return librdkafka's partition under its default `consistent_random`: crc32(key) % partitions."""
    return key_hash("librdkafka", key) % partitions


def key_hash(client: str, key: bytes) -> int:
    """Return the number, not negative, of which a client takes the remainder by the number of partitions."""
    return murmur2(key) & 0x7FFFFFFF if client == "java" else zlib.crc32(key)


def partition_of(client: str, key: bytes, partitions: int) -> int:
    """Return the partition that a client's own partitioner chooses: `java` or `librdkafka`."""
    return key_hash(client, key) % partitions


def coordinator_partition(group: str, partitions: int) -> int:
    """Return the partition of `__consumer_offsets` that a group's coordinator leads: |hashCode(group)| % partitions."""
    code = 0
    for character in group:
        code = (31 * code + ord(character)) & _MASK
    signed = code - 2**32 if code >= 2**31 else code
    return 0 if signed == -(2**31) else abs(signed) % partitions
