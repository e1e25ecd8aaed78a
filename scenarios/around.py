"""What stands around topics and groups: services that groups call, circuit breakers, autoscalers, and systems of other people."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from scenarios.errors import show
from scenarios.model import DurationDistribution, Frozen, PositiveDuration, PositiveRate, Share
from scenarios.quantities import MINUTE, SECOND


class Owned(Frozen):
    """Something with an owner and a runbook, which alerts and game days carry on."""

    owner: str | None = None
    runbook: str | None = None


class Dependency(Owned):
    """A service that groups call while they work on an event, shared by all of them."""

    takes: DurationDistribution
    """Time of a call, queueing apart."""
    rate: PositiveRate | None = None
    """Calls that it lets through per second; no limit where it is left out."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Calls that it lets through at once after a quiet time (the depth of its token bucket)."""
    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Calls that it works on at a time."""
    over: Literal["wait", "refuse"] = "wait"
    """What becomes of a call beyond its limits: it waits in line, or is refused at once."""
    fails: Share = 0.0
    """Share of its calls that fail at their end."""

    @model_validator(mode="after")
    def _has_a_rate_for_its_burst(self) -> "Dependency":
        if "burst" in self.model_fields_set and self.rate is None:
            raise ValueError("has a `burst` and no `rate` to exceed; add `rate: 100/s`, or remove `burst`")
        return self


class CircuitBreaker(Frozen):
    """After failures in a row a member stops calling for a while, and then asks with a few calls whether it works again."""

    opens_after: Annotated[int, Field(ge=1, le=100_000)] = 5
    """Failed calls in a row."""
    stays_open: PositiveDuration = 30 * SECOND
    probes: Annotated[int, Field(ge=1, le=1000)] = 1
    """Calls in a row that must succeed before it closes again."""
    while_open: Literal["fail", "wait"] = "fail"
    """What becomes of a call meanwhile: it fails at once, and with it the try; or the member stops and waits."""


class Call(Frozen):
    """A call of a dependency in each try, after the group's own work; where it fails the try fails."""

    dependency: str
    timeout: PositiveDuration | None = None
    """After so long a call counts as failed."""
    breaker: CircuitBreaker | None = None
    """Of each member its own."""


def as_calls(raw: object) -> object:
    """Turn a dependency's name, one call or a list of either into a list of calls."""
    each = raw if isinstance(raw, list | tuple) else [raw]
    return tuple({"dependency": call} if isinstance(call, str) else call for call in each)


class Autoscaler(Frozen):
    """Members by lag, as KEDA's Kafka scaler has it: one for each `lag` events, between `min` and `max`."""

    lag: Annotated[int, Field(ge=1)]
    """Events that one member is there for."""
    max: Annotated[int, Field(ge=1, le=10_000)]
    min: Annotated[int, Field(ge=0, le=10_000)] = 1
    poll: PositiveDuration = 30 * SECOND
    """How often lag is looked at."""
    cooldown: PositiveDuration = 5 * MINUTE
    """How long lag must have been low before members go."""
    start_up: PositiveDuration = 10 * SECOND
    """From the decision until a new member joins."""

    def wanted(self, lag: int, partitions: int) -> int:
        """Return how many members a lag asks for: no more than there are partitions, between `min` and `max`."""
        return max(self.min, min(-(-lag // self.lag), self.max, partitions))

    @model_validator(mode="after")
    def _has_room(self) -> "Autoscaler":
        if self.min > self.max:
            raise ValueError(f"has min {self.min} above max {self.max}; exchange them")
        return self


class ForeignTarget(Frozen):
    """A system that EventDrill did not start, and what it may do there."""

    cluster_id: Annotated[str, Field(min_length=1, max_length=200)]
    """The cluster's own id, as its brokers tell it; a run on another cluster is refused."""
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names, or beginnings such as `drill-*`; nothing else there is created, written or changed."""
    harm: Literal["allowed", "refused"] = "refused"
    """Whether faults may hurt it."""


@dataclass(frozen=True)
class Money:
    """An amount in a currency."""

    amount: float
    currency: str

    def __str__(self) -> str:
        return f"{format(Decimal(repr(self.amount)), 'f')} {self.currency}"


_MONEY = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([A-Z]{3})\s*\Z")


def _money(raw: object) -> Money:
    if isinstance(raw, Money):
        return raw
    match = _MONEY.match(raw) if isinstance(raw, str) else None
    if match is None:
        raise ValueError(f"is {show(raw)}; it is an amount with its currency, such as 12 EUR or 0.40 USD")
    return Money(float(match[1]), match[2])


_MONEY_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[A-Z]{3}\s*$", "examples": ["12 EUR"]}
Worth = Annotated[Money, BeforeValidator(_money), PlainSerializer(str), WithJsonSchema(_MONEY_SCHEMA)]
