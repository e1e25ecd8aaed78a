"""What faults and actions are aimed at: brokers, racks, members, producers, partitions, and the ends of a link."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from scenarios.errors import show
from scenarios.model import quantity_schema
from scenarios.quantities import DURATION, duration_ns, exact_duration

_BROKER = re.compile(r"(?:(\d{1,9})|(leader|follower) of (.{1,249})/(\d{1,9})|(controller))\Z")
_NUMBERED = re.compile(r"(.{1,249})/(\d{1,9})\Z")
_END = re.compile(
    r"(?:(clients|brokers|controller)|broker (\d{1,9})|(leader|follower) of (.{1,249})/(\d{1,9})|rack (.{1,200}))\Z"
)


@dataclass(frozen=True)
class BrokerTarget:
    """A broker by number, by its role for a partition, the active controller, or a rack's brokers; resolved when the fault begins."""

    role: Literal["number", "leader", "follower", "controller", "rack"]
    number: int = 0
    topic: str = ""
    partition: int = 0
    rack: str = ""

    def __str__(self) -> str:
        match self.role:
            case "number":
                return str(self.number)
            case "controller":
                return "controller"
            case "rack":
                return f"rack {self.rack}"
            case _:
                return f"{self.role} of {self.topic}/{self.partition}"


@dataclass(frozen=True)
class MemberTarget:
    """A member of a group; members count from 1."""

    group: str
    member: int

    def __str__(self) -> str:
        return f"{self.group}/{self.member}"


@dataclass(frozen=True)
class ProducerTarget:
    """A producer's process, which count from 1, or all of them (0)."""

    producer: str
    process: int = 0

    def __str__(self) -> str:
        return f"{self.producer}/{self.process}" if self.process else self.producer


@dataclass(frozen=True)
class PartitionTarget:
    """A partition of a topic; partitions count from 0."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass(frozen=True)
class LinkEnd:
    """An end of a link: all clients, a broker, a rack's brokers, all other brokers, or the active controller."""

    role: Literal["clients", "broker", "brokers", "rack", "controller"]
    broker: BrokerTarget | None = None
    """Which broker, or which rack."""

    def __str__(self) -> str:
        if self.broker is None:
            return self.role
        return f"broker {self.broker}" if self.broker.role == "number" else str(self.broker)


@dataclass(frozen=True)
class LogPosition:
    """A place in a partition's log: its first record, its end, an offset, or the first record of the last so many nanoseconds."""

    place: Literal["earliest", "latest", "offset", "ago"]
    value: int = 0

    def written(self) -> str | int:
        """Return the place as a scenario file has it."""
        match self.place:
            case "offset":
                return self.value
            case "ago":
                return exact_duration(self.value)
            case _:
                return self.place


LATEST = LogPosition("latest")


def _position(raw: object) -> LogPosition:
    if isinstance(raw, LogPosition):
        return raw
    if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**63:
        return LogPosition("offset", raw)
    if raw in ("earliest", "latest"):
        return LogPosition("earliest" if raw == "earliest" else "latest")
    if isinstance(raw, str) and raw.strip()[:1].isdigit():
        return LogPosition("ago", duration_ns(raw))
    raise ValueError(f"is {show(raw)}; it is earliest, latest, an offset such as 1000, or a time ago such as 5m")


def _broker(raw: object) -> BrokerTarget:
    if isinstance(raw, BrokerTarget):
        return raw
    match = None if isinstance(raw, bool) else _BROKER.match(str(raw).strip())
    if match is None:
        raise ValueError(
            f"is {show(raw)}; a broker is a number from 1, `leader of TOPIC/PARTITION`, `follower of TOPIC/PARTITION` or `controller`"
        )
    number, role, topic, partition, _controller = match.groups()
    if number is not None:
        return BrokerTarget("number", number=int(number))
    return _by_role(role, topic, partition) if role else BrokerTarget("controller")


def _by_role(role: str, topic: str, partition: str) -> BrokerTarget:
    return BrokerTarget("leader" if role == "leader" else "follower", topic=topic, partition=int(partition))


def _member(raw: object) -> MemberTarget:
    if isinstance(raw, MemberTarget):
        return raw
    match = _NUMBERED.match(str(raw).strip())
    if match is None or int(match[2]) < 1:
        raise ValueError(f"is {show(raw)}; a member is written GROUP/NUMBER, and numbers start at 1")
    return MemberTarget(match[1], int(match[2]))


def _producer(raw: object) -> ProducerTarget:
    if isinstance(raw, ProducerTarget):
        return raw
    if not isinstance(raw, str):
        raise ValueError(f"is {show(raw)}; it is a producer's name, or one of its processes: PRODUCER/NUMBER")
    name, slash, number = raw.strip().partition("/")
    if slash and (not re.fullmatch(r"[0-9]{1,9}", number) or int(number) < 1):
        raise ValueError(f"is {show(raw)}; a producer's process is written PRODUCER/NUMBER, and numbers start at 1")
    return ProducerTarget(name, int(number) if slash else 0)


def _partition(raw: object) -> PartitionTarget:
    if isinstance(raw, PartitionTarget):
        return raw
    match = _NUMBERED.match(str(raw).strip())
    if match is None:
        raise ValueError(f"is {show(raw)}; a partition is written TOPIC/NUMBER, and numbers start at 0")
    return PartitionTarget(match[1], int(match[2]))


def _end(raw: object) -> LinkEnd:
    if isinstance(raw, LinkEnd):
        return raw
    match = _END.match(raw.strip()) if isinstance(raw, str) else None
    if match is None:
        raise ValueError(
            f"is {show(raw)}; an end of a link is `clients`, `broker 1`, `leader of TOPIC/PARTITION`, `follower of TOPIC/PARTITION`, "
            "`brokers` (all others), `rack a` or `controller`"
        )
    word, number, role, topic, partition, rack = match.groups()
    if word is not None:
        return LinkEnd("clients" if word == "clients" else "brokers" if word == "brokers" else "controller")
    if rack is not None:
        return LinkEnd("rack", BrokerTarget("rack", rack=rack))
    return LinkEnd("broker", BrokerTarget("number", number=int(number)) if number else _by_role(role, topic, partition))


Broker = Annotated[
    BrokerTarget,
    BeforeValidator(_broker),
    PlainSerializer(lambda target: target.number if target.role == "number" else str(target)),
    WithJsonSchema({"type": ["integer", "string"], "examples": [2, "leader of orders/0", "controller"]}),
]
Member = Annotated[
    MemberTarget,
    BeforeValidator(_member),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^.+/[1-9]\d*$"}),
]
Processes = Annotated[
    ProducerTarget,
    BeforeValidator(_producer),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["shop", "shop/1"]}),
]
Partition = Annotated[
    PartitionTarget,
    BeforeValidator(_partition),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^.+/\d+$"}),
]
Position = Annotated[
    LogPosition,
    BeforeValidator(_position),
    PlainSerializer(LogPosition.written),
    WithJsonSchema(
        {"anyOf": [{"enum": ["earliest", "latest"]}, {"type": "integer", "minimum": 0}, quantity_schema(DURATION)]}
    ),
]
End = Annotated[
    LinkEnd,
    BeforeValidator(_end),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["clients", "broker 1", "leader of orders/0", "controller"]}),
]
