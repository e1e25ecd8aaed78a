"""Requests that Kafka's client library for Python does not offer: replicas of partitions, quotas, leaving in somebody's name, a mere knock.

Plain connections only: for systems that EventDrill started itself.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from statistics import median
from typing import Literal

from confluent_kafka import KafkaError

from loadgen.proxies.rules import DRIVER_ID

WITHIN_S = 10.0
_API_VERSIONS = 18
CONSUMER_GROUP_HEARTBEAT = 68
"""Brokers that know it have the `consumer` protocol of groups."""
_ALTER_PARTITION_REASSIGNMENTS = 45
_ALTER_CLIENT_QUOTAS = 49
_LEAVE_GROUP = 13
_SHARE_GROUP_HEARTBEAT = 76
_SHARE_GROUP_DESCRIBE = 77
_DESCRIBE_SHARE_GROUP_OFFSETS = 90

_UUID_BYTES = 16
_LEAVES = -1
"""In place of a member's epoch: it leaves."""

Place = tuple[str, int]
"""A topic and a partition."""


class WireError(Exception):
    """A request that a broker refused; the message says why."""


def reassign(bootstrap: str, replicas: Mapping[Place, Sequence[int] | None]) -> None:
    """Give partitions new replicas, the preferred leader first; None calls a move off that is still going on."""
    topics: dict[str, list[tuple[int, Sequence[int] | None]]] = {}
    for (topic, partition), nodes in replicas.items():
        topics.setdefault(topic, []).append((partition, nodes))
    body = struct.pack(">i", round(WITHIN_S * 1000)) + _compact(
        [
            _compact_text(topic) + _compact([_partition(*each) for each in partitions]) + _NO_TAGS
            for topic, partitions in topics.items()
        ]
    )
    answer = _Reader(_ask(bootstrap, _ALTER_PARTITION_REASSIGNMENTS, body + _NO_TAGS, flexible=True))
    answer.skip_tags()
    answer.int32()  # throttle time
    _check(answer.int16(), answer.compact_text())
    for _ in range(answer.compact_length()):
        topic = answer.compact_text()
        for _ in range(answer.compact_length()):
            partition = answer.int32()
            _check(answer.int16(), f"{topic}/{partition}: {answer.compact_text()}")
            answer.skip_tags()
        answer.skip_tags()


def alter_quotas(bootstrap: str, client_id: str | None, limits: Mapping[str, float | None]) -> None:
    """Set the quotas of a client id (None: of each client id that has none of its own); a limit of None removes one."""
    entity = _text("client-id") + (struct.pack(">h", -1) if client_id is None else _text(client_id))
    operations = [
        _text(name) + struct.pack(">d?", 0.0 if limit is None else limit, limit is None)
        for name, limit in limits.items()
    ]
    body = _array([_array([entity]) + _array(operations)]) + struct.pack(">?", False)
    answer = _Reader(_ask(bootstrap, _ALTER_CLIENT_QUOTAS, body, flexible=False))
    answer.int32()  # throttle time
    for _ in range(answer.int32()):
        _check(answer.int16(), answer.text())
        for _ in range(answer.int32()):
            answer.text()
            answer.text()


@dataclass(frozen=True)
class ShareMemberPlaces:
    """A member of a share group, as its coordinator knows it."""

    member_id: str
    client_id: str
    places: tuple[Place, ...]
    """Those that it may read, perhaps beside others."""


def share_members(bootstrap: str, group: str) -> list[ShareMemberPlaces]:
    """Ask for the members of a share group; brokers that do not coordinate it are passed over."""
    body = _compact([_compact_text(group)]) + struct.pack(">?", False) + _NO_TAGS
    reason = "no broker coordinates it"
    for address in bootstrap.split(","):
        answer = _Reader(_ask(address, _SHARE_GROUP_DESCRIBE, body, flexible=True, version=1))
        answer.skip_tags()
        answer.int32()  # throttle time
        answer.compact_length()  # one group was asked for
        code, words = answer.int16(), answer.compact_text()
        if code == 0:
            return _members_of(answer)
        reason = f"{KafkaError(code).str()} {words}".strip()
    raise WireError(f"share group {group}: {reason}")


def _members_of(answer: _Reader) -> list[ShareMemberPlaces]:
    """Read what follows a described group's error, up to its last member."""
    answer.compact_text()  # its name
    answer.compact_text()  # its state
    answer.int32()  # its epoch, and that of its assignment
    answer.int32()
    answer.compact_text()  # the assignor
    found = []
    for _ in range(answer.compact_length()):
        member_id = answer.compact_text()
        answer.compact_text()  # rack
        answer.int32()  # epoch
        client_id = answer.compact_text()
        answer.compact_text()  # host
        for _ in range(answer.compact_length()):
            answer.compact_text()  # a topic that it reads
        places = list[Place]()
        for _ in range(answer.compact_length()):
            answer.skip(_UUID_BYTES)
            topic = answer.compact_text()
            places += [(topic, answer.int32()) for _ in range(answer.compact_length())]
            answer.skip_tags()
        answer.skip_tags()  # of the assignment, and of the member
        answer.skip_tags()
        found.append(ShareMemberPlaces(member_id, client_id, tuple(places)))
    return found


def share_offsets(bootstrap: str, group: str) -> dict[Place, int]:
    """Ask below which offset a share group is through with each partition, done or given up; of those that it has begun with."""
    body = _compact([_compact_text(group) + _NULL + _NO_TAGS]) + _NO_TAGS
    reason = "no broker coordinates it"
    for address in bootstrap.split(","):
        try:
            answer = _Reader(_ask(address, _DESCRIBE_SHARE_GROUP_OFFSETS, body, flexible=True))
        except WireError as error:  # that one is down; another may coordinate the group
            reason = str(error)
            continue
        answer.skip_tags()
        answer.int32()  # throttle time
        answer.compact_length()  # one group was asked for
        answer.compact_text()  # its name
        found = _offsets_of(answer)
        code, words = answer.int16(), answer.compact_text()
        if code == 0:
            return found
        reason = f"{KafkaError(code).str()} {words}".strip()
    raise WireError(f"share group {group}: {reason}")


def _offsets_of(answer: _Reader) -> dict[Place, int]:
    """Read the topics of a described group."""
    found: dict[Place, int] = {}
    for _ in range(answer.compact_length()):
        topic = answer.compact_text()
        answer.skip(_UUID_BYTES)
        for _ in range(answer.compact_length()):
            partition, offset = answer.int32(), answer.int64()
            answer.int32()  # the leader's epoch
            code, _ = answer.int16(), answer.compact_text()
            answer.skip_tags()
            if code == 0 and offset >= 0:
                found[topic, partition] = offset
        answer.skip_tags()
    return found


def leave_group(
    bootstrap: str, group: str, members: Sequence[str], protocol: Literal["classic", "consumer", "share"]
) -> None:
    """Say for members of a group that they leave it; those that are in it no more are passed over."""
    if protocol == "classic":
        nobody = struct.pack(">h", -1)  # in place of an instance id
        body = _text(group) + _array([_text(each) + nobody for each in members])
        _tell_coordinator(bootstrap, group, _LEAVE_GROUP, body, flexible=False, version=3)
        return
    for each in members:
        body = _compact_text(group) + _compact_text(each) + struct.pack(">i", _LEAVES)
        if protocol == "consumer":
            # Instance, rack, rebalance timeout, topics, assignor, partitions: nothing to say of any.
            body += _NULL * 2 + struct.pack(">i", -1) + _NULL * 3 + _NO_TAGS
            _tell_coordinator(bootstrap, group, CONSUMER_GROUP_HEARTBEAT, body, flexible=True, version=0)
        else:
            body += _NULL * 2 + _NO_TAGS  # rack and topics
            _tell_coordinator(bootstrap, group, _SHARE_GROUP_HEARTBEAT, body, flexible=True, version=1)


def _tell_coordinator(bootstrap: str, group: str, api: int, body: bytes, *, flexible: bool, version: int) -> None:
    """Send a request to broker after broker until the one answers that coordinates the group."""
    reason = "no broker coordinates it"
    for address in bootstrap.split(","):
        try:
            answer = _Reader(_ask(address, api, body, flexible=flexible, version=version))
        except WireError as error:  # that one is down; another may coordinate the group
            reason = str(error)
            continue
        if flexible:
            answer.skip_tags()
        answer.int32()  # throttle time
        code = answer.int16()
        if code in (0, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.GROUP_ID_NOT_FOUND):
            return
        reason = KafkaError(code).str()
    raise WireError(f"group {group}: {reason}")


def ask_versions(port: int, client_id: str, within_s: float) -> float | str:
    """Ask a listener on loopback what it can do, as the first request of every client; gives the time, or what came instead."""
    head = struct.pack(">hhi", _API_VERSIONS, 0, 1) + _text(client_id)
    began = time.perf_counter()
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=within_s)) as sock:
            sock.sendall(struct.pack(">i", len(head)) + head)
            _receive(sock, 4)
            return time.perf_counter() - began
    except TimeoutError:
        return f"got no answer within {within_s:g} s"
    except OSError as error:
        return f"was refused ({error.strerror or error})"


def request_kinds(bootstrap: str) -> set[int]:
    """Ask a system which kinds of requests its brokers take, by their numbers."""
    answer = _Reader(_ask(bootstrap, _API_VERSIONS, b"", flexible=False))
    _check(answer.int16(), "")
    kinds = set()
    for _ in range(answer.int32()):
        kinds.add(answer.int16())
        answer.int16()  # the oldest and the newest version of it
        answer.int16()
    return kinds


def round_trip_us(bootstrap: str, times: int = 5) -> float | None:
    """Return what the network takes to brokers and back: the median of how long they take to accept a connection; None where none does.

    Nothing is asked of them, and connections close at once: for listeners without security, which log a handshake that never came.
    """
    took_us = []
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        with suppress(OSError):
            for _ in range(times):
                began = time.perf_counter()
                with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=WITHIN_S)):
                    took_us.append((time.perf_counter() - began) * 1e6)
    return round(median(took_us), 1) if took_us else None


def _ask(bootstrap: str, api: int, body: bytes, *, flexible: bool, version: int = 0) -> bytes:
    """Send a request to the first broker that takes it; brokers pass it on to their controller."""
    reason = "there is no address"
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        try:
            with closing(socket.create_connection((host, int(port)), timeout=WITHIN_S)) as sock:
                head = struct.pack(">hhi", api, version, 1) + _text(DRIVER_ID) + (_NO_TAGS if flexible else b"")
                sock.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
                (size,) = struct.unpack(">i", _receive(sock, 4))
                return _receive(sock, size)[4:]  # the correlation id comes first
        except OSError as error:
            reason = f"{address}: {error}"
    raise WireError(f"no broker at {bootstrap} takes a request: {reason}")


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionError("the broker closed the connection")
        data += more
    return data


def _check(code: int, message: str) -> None:
    if code:
        raise WireError(f"{KafkaError(code).str()} {message}".strip())


# ---- texts and arrays, in both of the protocol's ways --------------------------------------------------------------

_NO_TAGS = b"\0"
_NULL = b"\0"
"""In place of an array: everything there is."""


def _text(value: str) -> bytes:
    return struct.pack(">h", len(value.encode())) + value.encode()


def _array(parts: Sequence[bytes]) -> bytes:
    return struct.pack(">i", len(parts)) + b"".join(parts)


def _varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def _compact(parts: Sequence[bytes]) -> bytes:
    return _varint(len(parts) + 1) + b"".join(parts)


def _compact_text(value: str) -> bytes:
    return _varint(len(value.encode()) + 1) + value.encode()


def _partition(number: int, nodes: Sequence[int] | None) -> bytes:
    replicas = b"\0" if nodes is None else _compact([struct.pack(">i", node) for node in nodes])
    return struct.pack(">i", number) + replicas + _NO_TAGS


class _Reader:
    """Reads an answer from its first to its last byte."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def _take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def skip(self, size: int) -> None:
        """Pass over bytes."""
        self._take(size)

    def int16(self) -> int:
        return int.from_bytes(self._take(2), "big", signed=True)

    def int32(self) -> int:
        return int.from_bytes(self._take(4), "big", signed=True)

    def int64(self) -> int:
        return int.from_bytes(self._take(8), "big", signed=True)

    def varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self._take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def compact_length(self) -> int:
        return max(0, self.varint() - 1)

    def compact_text(self) -> str:
        return self._take(self.compact_length()).decode(errors="replace")

    def text(self) -> str:
        return self._take(max(0, self.int16())).decode(errors="replace")

    def skip_tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self._take(self.varint())
