"""Faults as data: a noun with times and a target. What each means is said by the interpreters in `sim` and `loadgen`."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from scenarios.errors import show
from scenarios.model import (
    Bandwidth,
    Duration,
    DurationDistribution,
    Frozen,
    PositiveDuration,
    Share,
    SignedDuration,
    Size,
)
from scenarios.quantities import SECOND, exact_duration
from scenarios.targets import LATEST, Broker, BrokerTarget, End, Member, Partition, Position, Processes
from scenarios.timing import Lasting, Momentary, Timed, Undone

BrokerNumber = Annotated[int, Field(ge=1, le=100)]


class _Fault(Timed):
    @property
    def label(self) -> str:
        """The name by which indicators and reports call it."""
        return self.name or self.kind

    @property
    def kind(self) -> str:
        """The fault's word in the scenario file."""
        return str(self.fault)  # type: ignore[attr-defined]  # each subclass declares its literal


class _Lasting(_Fault, Lasting):
    pass


class _Undone(_Fault, Undone):
    pass


class _Momentary(_Fault, Momentary):
    pass


# ---- brokers --------------------------------------------------------------------------------------------------------


class _OfBrokers(_Lasting):
    broker: Broker | None = None
    rack: str | None = None
    """All brokers of a rack at once, in the place of `broker`."""

    @model_validator(mode="after")
    def _has_one_target(self) -> "_OfBrokers":
        if (self.broker is None) == (self.rack is None):
            said = "both `broker` and `rack`" if self.broker else "no target"
            raise ValueError(f"has {said}; it has one of `broker: leader of orders/0` and `rack: a`")
        return self

    @property
    def target(self) -> BrokerTarget:
        """Which broker, or which rack's."""
        return BrokerTarget("rack", rack=self.rack or "") if self.broker is None else self.broker


class BrokerCrash(_OfBrokers):
    """A broker's process is killed, and started again after `for`."""

    fault: Literal["broker_crash"]


class BrokerStop(_OfBrokers):
    """A broker is shut down in good order (its leaders move first), and started again after `for`."""

    fault: Literal["broker_stop"]


class BrokerPause(_OfBrokers):
    """A broker hangs for `for`: it answers nothing, its connections stay open, and then it goes on where it was."""

    fault: Literal["broker_pause"]


class RollingRestart(_Lasting):
    """One broker after another is shut down in good order for `for`, with `pause` between a start and the next stop."""

    fault: Literal["rolling_restart"]
    pause: Duration = 10 * SECOND
    """From one broker's start to the next one's stop."""
    brokers: Annotated[tuple[BrokerNumber, ...], Field(min_length=1)] | None = None
    """Which, in this order; all by number where it is left out."""


class DiskStall(_OfBrokers):
    """A broker's disk takes no writes for `for`; what waits for it goes on then."""

    fault: Literal["disk_stall"]


class DiskFull(_OfBrokers):
    """A broker's log directory is full: it fails, and is started with room again after `for`."""

    fault: Literal["disk_full"]


class HostCrash(_OfBrokers):
    """A broker's machine dies with what its page cache had not written yet, and is back after `for`."""

    fault: Literal["host_crash"]


class ClockSkew(_Lasting):
    """The clock of a broker, or of a producer's machine, is wrong by `by`."""

    fault: Literal["clock_skew"]
    by: SignedDuration
    """Ahead, or with a minus behind."""
    broker: Broker | None = None
    producer: Processes | None = None

    @model_validator(mode="after")
    def _has_one_target(self) -> "ClockSkew":
        if (self.broker is None) == (self.producer is None):
            said = "both `broker` and `producer`" if self.broker else "no target"
            raise ValueError(f"has {said}; it has one of `broker: 1` and `producer: shop`")
        return self


# ---- the network ----------------------------------------------------------------------------------------------------


def _pair(raw: object) -> object:
    if isinstance(raw, list | tuple) and len(raw) == 2:
        return tuple(raw)
    raise ValueError(f"is {show(raw)}; a link is written with its two ends: [clients, broker 1]")


class _OfLinks(_Lasting):
    between: Annotated[
        tuple[End, End],
        BeforeValidator(_pair),
        WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}),
    ]
    """The two ends of the link."""
    direction: Literal["both", "to", "from"] = "both"
    """What is concerned: everything, what goes to the second end, or what comes from it."""
    channel: Literal["heartbeat", "metadata", "both"] = "both"
    """Of a link between a broker and the controller: its heartbeats, the metadata it fetches, or both."""


class Cut(_OfLinks):
    """A link carries nothing: packets vanish (`silent`), or connections are reset and refused (`reset`)."""

    fault: Literal["cut"]
    mode: Literal["silent", "reset"] = "silent"


class SlowLink(_OfLinks):
    """A link takes `delay` longer each way, give or take `jitter`, and carries at most `bandwidth`."""

    fault: Literal["slow_link"]
    delay: Duration = 0
    jitter: Duration = 0
    """Evenly between delay - jitter and delay + jitter; order is kept."""
    bandwidth: Bandwidth | None = None

    @model_validator(mode="after")
    def _slows(self) -> "SlowLink":
        if not self.delay and self.bandwidth is None:
            raise ValueError("slows nothing; give `delay: 50ms`, `bandwidth: 1MiB/s` or both")
        if self.jitter > self.delay:
            raise ValueError(
                f"has jitter {exact_duration(self.jitter)} around a delay of {exact_duration(self.delay)}; "
                "nothing arrives before it was sent, so jitter is at most the delay"
            )
        return self


# ---- producers and events -------------------------------------------------------------------------------------------


class ProducerCrash(_Lasting):
    """A producer's process is killed with all that its client had not sent yet, and started again after `for`."""

    fault: Literal["producer_crash"]
    producer: Processes


class ProducerPause(_Lasting):
    """A producer's process hangs for `for`, and then sends what is due by then."""

    fault: Literal["producer_pause"]
    producer: Processes


class Surge(_Lasting):
    """A producer's arrivals are `factor` times as many in the interval."""

    fault: Literal["surge"]
    producer: str
    factor: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class _OfEvents(_Lasting):
    producer: str
    share: Share | None = None
    events: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _has_one_amount(self) -> "_OfEvents":
        if (self.share is None) == (self.events is None):
            raise ValueError("needs one of `share: 1%` and `events: 5`")
        return self


class Poison(_OfEvents):
    """Some events that are intended in the interval can never be processed, by any group: a share, or so many."""

    fault: Literal["poison"]


class Duplicates(_OfEvents):
    """The producer sends some events that are intended in the interval once more, `after` the first time, under a new offset."""

    fault: Literal["duplicates"]
    after: Duration = 0


class Oversized(_OfEvents):
    """Some events that are intended in the interval are of `size`, more than the client or the broker may take."""

    fault: Literal["oversized"]
    size: Size = 2 * 2**20


class Late(_OfEvents):
    """Some events that are intended in the interval are handed to the client only `by` later."""

    fault: Literal["late"]
    by: DurationDistribution


class SchemaChange(_Undone):
    """A producer's events carry a new schema version, which some groups cannot decode until they are deployed anew."""

    fault: Literal["schema_change"]
    producer: str
    version: Annotated[int, Field(ge=2, le=1000)]
    breaks: tuple[str, ...] | None = None
    """Groups that cannot decode it; all that read the topic, where it is left out; none with `[]`."""
    share: Share = 1.0
    """Of the events that are intended in the interval, as in a producer's canary."""


# ---- groups ---------------------------------------------------------------------------------------------------------


class MemberCrash(_Lasting):
    """A member dies without leaving its group, and is started again after `for`."""

    fault: Literal["member_crash"]
    member: Member


class MemberPause(_Lasting):
    """A member's process hangs for `for`, heartbeats and all, and then goes on where it was."""

    fault: Literal["member_pause"]
    member: Member


class MemberLeave(_Lasting):
    """A member leaves its group in good order, and comes back after `for`."""

    fault: Literal["member_leave"]
    member: Member


class RollingDeploy(_Lasting):
    """One member of a group after another leaves in good order for `for`, with `pause` between a return and the next leave."""

    fault: Literal["rolling_deploy"]
    group: str
    pause: Duration = 0
    """From one member's return to the next one's leave."""


class PollStall(_Lasting):
    """A member's handler hangs for `for`: it polls nothing, and its client goes on sending heartbeats."""

    fault: Literal["poll_stall"]
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


# ---- topics ---------------------------------------------------------------------------------------------------------


class LeaderMove(_Undone):
    """A partition's leadership moves to another of its replicas, and back after `for` if that is given."""

    fault: Literal["leader_move"]
    partition: Partition
    to: BrokerNumber | None = None
    """The new leader; the next replica in assignment order where it is left out."""


class Retention(_Lasting):
    """A topic keeps its records for `to` only, as when someone sets retention.ms wrong."""

    fault: Literal["retention"]
    topic: str
    to: PositiveDuration


class DeleteRecords(_Momentary):
    """The records of a topic, or of one partition, are deleted up to an offset."""

    fault: Literal["delete_records"]
    topic: str | None = None
    partition: Partition | None = None
    up_to: Position = LATEST
    """The first record to keep: an offset, those of the last 10s, or latest for none."""

    @model_validator(mode="after")
    def _has_one_target(self) -> "DeleteRecords":
        if (self.topic is None) == (self.partition is None):
            said = "both `topic` and `partition`" if self.topic else "no target"
            raise ValueError(f"has {said}; it has one of `topic: orders` and `partition: orders/0`")
        return self


class Reassign(_Momentary):
    """A partition is given other replicas, which copy it first."""

    fault: Literal["reassign"]
    partition: Partition
    to: Annotated[tuple[BrokerNumber, ...], Field(min_length=1)]
    """Brokers; the first is the preferred leader."""


class AddPartitions(_Momentary):
    """A topic gets more partitions, so that most keys move to another one."""

    fault: Literal["add_partitions"]
    topic: str
    to: Annotated[int, Field(ge=2, le=100_000)]
    """How many there are then."""


# ---- around ---------------------------------------------------------------------------------------------------------


class DependencyDown(_Lasting):
    """A dependency refuses every call."""

    fault: Literal["dependency_down"]
    dependency: str


class DependencySlow(_Lasting):
    """Calls of a dependency that begin in the interval take `factor` times as long, plus `plus`."""

    fault: Literal["dependency_slow"]
    dependency: str
    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    plus: Duration = 0


class Throttle(_Lasting):
    """Brokers hold a producer's or a group's clients to a quota."""

    fault: Literal["throttle"]
    rate: Bandwidth
    """What each broker lets through for all of its processes together."""
    producer: str | None = None
    group: str | None = None

    @model_validator(mode="after")
    def _has_one_target(self) -> "Throttle":
        if (self.producer is None) == (self.group is None):
            said = "both `producer` and `group`" if self.producer else "no target"
            raise ValueError(f"has {said}; it has one of `producer: shop` and `group: fulfilment`")
        return self


class StandsFor(Frozen):
    """A fault of a broker that a hook's commands amount to; its times are the hook's."""

    fault: Literal["broker_crash", "broker_stop", "broker_pause"]
    broker: Broker


class Hook(_Lasting):
    """A command of yours hurts a system, another one mends it after `for`, and a probe shows that it is hurt meanwhile."""

    fault: Literal["hook"]
    begin: Annotated[str, Field(min_length=1)]
    """The command that begins it, for a shell; status 0 means that it has begun."""
    end: Annotated[str, Field(min_length=1)]
    """The command that ends it; also run where `begin` failed, where EventDrill is killed, and when the time is over."""
    probe: str | None = None
    """A command with status 0 while the fault is in effect, and another one otherwise; run before, meanwhile and afterwards."""
    like: StandsFor | None = None
    """What the commands amount to, so that it can be predicted, such as {fault: broker_crash, broker: 2}."""

    @property
    def predicted(self) -> BrokerCrash | BrokerStop | BrokerPause | None:
        """The fault that it stands for, under its own name and at its own times; None where that is not said."""
        if self.like is None:
            return None
        kinds: dict[str, type[BrokerCrash | BrokerStop | BrokerPause]] = {
            "broker_crash": BrokerCrash,
            "broker_stop": BrokerStop,
            "broker_pause": BrokerPause,
        }
        times = self.model_dump(
            mode="json", by_alias=True, include={"at", "every", "random", "for_ns"}, exclude_none=True
        )
        return kinds[self.like.fault].model_validate({**dict(self.like), **times, "name": self.label})


Fault = (
    BrokerCrash
    | BrokerStop
    | BrokerPause
    | RollingRestart
    | Cut
    | SlowLink
    | ProducerCrash
    | ProducerPause
    | Surge
    | MemberCrash
    | MemberPause
    | MemberLeave
    | RollingDeploy
    | SlowWork
    | FailingWork
    | PollStall
    | Poison
    | Duplicates
    | Oversized
    | Late
    | SchemaChange
    | LeaderMove
    | Retention
    | DeleteRecords
    | Reassign
    | AddPartitions
    | DependencyDown
    | DependencySlow
    | Throttle
    | DiskStall
    | DiskFull
    | HostCrash
    | ClockSkew
    | Hook
)
FAULTS: tuple[type[_Fault], ...] = get_args(Fault)
AnyFault = Annotated[Fault, Field(discriminator="fault")]


def fault_kinds(faults: Iterable[type[Timed]] = FAULTS) -> Iterator[str]:
    """Yield the words that `fault:` takes, for all faults or some."""
    for fault in faults:
        yield str(get_args(fault.model_fields["fault"].annotation)[0])
