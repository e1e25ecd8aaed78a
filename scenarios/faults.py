"""Faults as data: a noun with times and a target. What each means is said by the interpreters in `sim` and `loadgen`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from scenarios import quantities
from scenarios.errors import show
from scenarios.model import Duration, Frozen, PositiveDuration, Share, quantity_schema

_BROKER_TARGET = re.compile(r"(?:(\d{1,9})|(leader|follower) of (.{1,249})/(\d{1,9})|(controller))\Z")
_MEMBER_TARGET = re.compile(r"(.{1,249})/(\d{1,9})\Z")


@dataclass(frozen=True)
class BrokerTarget:
    """A broker by number, by its role for a partition, or the active controller; resolved when the fault begins."""

    role: Literal["number", "leader", "follower", "controller"]
    number: int = 0
    topic: str = ""
    partition: int = 0

    def __str__(self) -> str:
        match self.role:
            case "number":
                return str(self.number)
            case "controller":
                return "controller"
            case _:
                return f"{self.role} of {self.topic}/{self.partition}"


@dataclass(frozen=True)
class MemberTarget:
    """A member of a group; members count from 1."""

    group: str
    member: int

    def __str__(self) -> str:
        return f"{self.group}/{self.member}"


def _broker_target(raw: object) -> BrokerTarget:
    if isinstance(raw, BrokerTarget):
        return raw
    match = None if isinstance(raw, bool) else _BROKER_TARGET.match(str(raw).strip())
    if match is None:
        raise ValueError(
            f"is {show(raw)}; a broker is a number from 1, `leader of TOPIC/PARTITION`, `follower of TOPIC/PARTITION` or `controller`"
        )
    number, role, topic, partition, _controller = match.groups()
    if number is not None:
        return BrokerTarget("number", number=int(number))
    if role == "leader":
        return BrokerTarget("leader", topic=topic, partition=int(partition))
    if role == "follower":
        return BrokerTarget("follower", topic=topic, partition=int(partition))
    return BrokerTarget("controller")


def _member_target(raw: object) -> MemberTarget:
    if isinstance(raw, MemberTarget):
        return raw
    match = _MEMBER_TARGET.match(str(raw).strip())
    if match is None or int(match[2]) < 1:
        raise ValueError(f"is {show(raw)}; a member is written GROUP/NUMBER, and numbers start at 1")
    return MemberTarget(match[1], int(match[2]))


def _times_ns(raw: object) -> tuple[int, ...]:
    values = raw if isinstance(raw, list | tuple) else [raw]
    if not values:
        raise ValueError("is an empty list; it is a time or a list of times")
    return tuple(quantities.duration_ns(value) for value in values)


def _written_times(times: tuple[int, ...] | None) -> object:
    written = [quantities.exact_duration(at) for at in times or ()]
    return written[0] if len(written) == 1 else written or None


Broker = Annotated[
    BrokerTarget,
    BeforeValidator(_broker_target),
    PlainSerializer(lambda target: target.number if target.role == "number" else str(target)),
    WithJsonSchema({"type": ["integer", "string"], "examples": [2, "leader of orders/0", "controller"]}),
]
Member = Annotated[
    MemberTarget,
    BeforeValidator(_member_target),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^.+/[1-9]\d*$"}),
]
Times = Annotated[
    tuple[int, ...],
    BeforeValidator(_times_ns),
    PlainSerializer(_written_times),
    WithJsonSchema(
        {
            "anyOf": [
                quantity_schema(quantities.DURATION),
                {"type": "array", "items": quantity_schema(quantities.DURATION)},
            ]
        }
    ),
]


class RandomTimes(Frozen):
    """Begins that follow a Poisson process, with exponential lengths."""

    mean_between: PositiveDuration
    mean_for: PositiveDuration


class _Fault(Frozen):
    name: str | None = None
    """Shown in reports and used in indicators' names; by default the fault's kind."""
    at: Times | None = None
    every: PositiveDuration | None = None
    random: RandomTimes | None = None

    @model_validator(mode="after")
    def _has_one_timing(self) -> "_Fault":
        given = [key for key in ("at", "every", "random") if getattr(self, key) is not None]
        if len(given) != 1:
            said = " and ".join(f"`{key}`" for key in given) or "no time"
            raise ValueError(f"has {said}; a fault has one of `at: 60s`, `every: 10m` and `random: {{...}}`")
        return self

    @property
    def label(self) -> str:
        """The name by which indicators and reports call it."""
        return self.name or self.kind

    @property
    def kind(self) -> str:
        """The fault's word in the scenario file."""
        return str(self.fault)  # type: ignore[attr-defined]  # each subclass declares its literal


class _Lasting(_Fault):
    for_ns: Annotated[PositiveDuration, Field(alias="for")]


class BrokerCrash(_Lasting):
    """A broker's process is killed, and started again after `for`."""

    fault: Literal["broker_crash"]
    broker: Broker


class BrokerStop(_Lasting):
    """A broker is shut down in good order (its leaders move first), and started again after `for`."""

    fault: Literal["broker_stop"]
    broker: Broker


class MemberCrash(_Lasting):
    """A member dies without leaving its group, and is started again after `for`."""

    fault: Literal["member_crash"]
    member: Member


class MemberLeave(_Lasting):
    """A member leaves its group in good order, and comes back after `for`."""

    fault: Literal["member_leave"]
    member: Member


class SlowWork(_Lasting):
    """Tries that begin in the interval take `factor` times their work, plus `plus`."""

    fault: Literal["slow_work"]
    group: str
    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    plus: Duration = 0


class FailingWork(_Lasting):
    """A share of the tries that begin in the interval fails."""

    fault: Literal["failing_work"]
    group: str
    share: Share


class Poison(_Lasting):
    """Some events that are intended in the interval can never be processed, by any group: a share, or so many."""

    fault: Literal["poison"]
    producer: str
    share: Share | None = None
    events: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _has_one_amount(self) -> "Poison":
        if (self.share is None) == (self.events is None):
            raise ValueError("needs one of `share: 1%` and `events: 5`")
        return self


class Surge(_Lasting):
    """A producer's arrivals are `factor` times as many in the interval."""

    fault: Literal["surge"]
    producer: str
    factor: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


Fault = BrokerCrash | BrokerStop | MemberCrash | MemberLeave | SlowWork | FailingWork | Poison | Surge
FAULTS: tuple[type[_Fault], ...] = (
    BrokerCrash,
    BrokerStop,
    MemberCrash,
    MemberLeave,
    SlowWork,
    FailingWork,
    Poison,
    Surge,
)
AnyFault = Annotated[Fault, Field(discriminator="fault")]


def fault_kinds() -> Iterator[str]:
    """Yield the words that `fault:` takes."""
    for fault in FAULTS:
        yield str(fault.model_fields["fault"].annotation.__args__[0])  # type: ignore[union-attr]  # a Literal's only argument
