"""The scenario file as frozen models: what exists, what arrives, who reads it, what goes wrong and what must hold."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainSerializer, Tag, WithJsonSchema, model_validator

from scenarios import quantities
from scenarios.actions import AnyAction
from scenarios.around import Autoscaler, Call, Dependency, ForeignTarget, Owned, Worth, as_calls
from scenarios.distributions import Constant, check_trace
from scenarios.errors import show
from scenarios.expectations import Expectation, parse_expectation
from scenarios.faults import AnyFault
from scenarios.model import (
    Duration,
    DurationDistribution,
    Frozen,
    OneOrSeveral,
    PositiveDuration,
    Share,
    SizeDistribution,
    by_form,
    choice,
    quantity_schema,
)
from scenarios.quantities import RATE, SECOND
from scenarios.yaml_text import written_number

Count = Annotated[int, Field(ge=1, le=10_000)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]


def _setting(raw: object) -> object:
    if isinstance(raw, Mapping):
        raise ValueError(
            f"is {show(raw)}; a setting is a word, a number, true or false (a dotted name is one name: linger.ms: 5)"
        )
    if not isinstance(raw, str | int | float):
        raise ValueError(f"is {show(raw)}; a setting is a word, a number, true or false")
    return raw


Setting = Annotated[str | int | float | bool, BeforeValidator(_setting)]
Settings = Mapping[str, Setting]


def _version(raw: object) -> object:
    """Take `4.2` as it is written; YAML makes a number of it, and 4.10 is not 4.1."""
    return raw if isinstance(raw, str) else written_number(raw)


Version = Annotated[
    str,
    BeforeValidator(_version),
    Field(pattern=r"^[0-9]+(\.[0-9]+){0,3}$"),
    WithJsonSchema({"type": ["string", "number"], "examples": ["4.2", "3.9.1"]}),
]


class Brokers(Frozen):
    """The cluster: its kind, size, racks, release and native settings."""

    kind: Literal["kafka"]
    nodes: Annotated[int, Field(ge=1, le=100)] = 3
    racks: tuple[Name, ...] = ()
    """The rack of each node."""
    version: Version = "4.2"
    """The release."""
    controllers: Literal["separate", "combined"] = "separate"
    settings: Settings = {}


class Topic(Owned):
    """A topic; `replication` defaults to min(3, nodes)."""

    partitions: Annotated[int, Field(ge=1, le=100_000)] = 1
    replication: Annotated[int, Field(ge=1, le=32767)] | None = None
    """Copies of each partition; min(3, nodes) where it is left out."""
    settings: Settings = {}


class Bursts(Frozen):
    """Several events at one instant; such instants are a Poisson process at rate / bursts."""

    bursts: Annotated[int, Field(ge=1)]


Spacing = Annotated[
    Annotated[Literal["poisson", "even"], Tag("<word>")] | Annotated[Bursts, Tag("<bursts>")],
    by_form,
    choice("spacing", ("poisson", "even"), {"bursts": "{bursts: 50}"}),
]


def _rate_or_ramp(raw: object) -> tuple[float, float]:
    if isinstance(raw, list | tuple):
        if len(raw) != 2:
            raise ValueError(f"is {show(raw)}; a ramp is written [600/s, 900/s]")
        return quantities.rate_hz(raw[0]), quantities.rate_hz(raw[1])
    rate = quantities.rate_hz(raw)
    return rate, rate


def _written_ramp(ramp: tuple[float, float]) -> object:
    low, high = (quantities.exact_rate(rate) for rate in ramp)
    return low if low == high else [low, high]


Ramp = Annotated[
    tuple[float, float],
    BeforeValidator(_rate_or_ramp),
    PlainSerializer(_written_ramp),
    WithJsonSchema(
        {
            "anyOf": [
                quantity_schema(RATE),
                {"type": "array", "items": quantity_schema(RATE), "minItems": 2, "maxItems": 2},
            ]
        }
    ),
]


class Arrivals(Frozen):
    """Arrivals at a rate, or along a ramp from one rate to another; without `for` the whole duration."""

    rate: Ramp
    for_ns: Annotated[PositiveDuration | None, Field(alias="for")] = None
    spacing: Spacing = "poisson"

    def cut(self, begin_ns: int, end_ns: int) -> "Arrivals":
        """Return what lies between two instants of a part that says how long it lasts, counted from its begin."""
        low, high = self.rate
        slope = (high - low) / (self.for_ns or 1)
        rate = (low + slope * begin_ns, low + slope * end_ns) if high != low else (low, high)
        return self.model_copy(update={"rate": rate, "for_ns": end_ns - begin_ns})


class Recorded(Frozen):
    """Arrivals as they were recorded: a Parquet file with one row per event, times in seconds from the begin of the load."""

    trace: str
    """The file."""
    column: str = "seconds"
    """The column of times; rows before the begin and beyond the duration are left out."""
    key: str | None = None
    """A column of keys; equal values are one key."""
    size: str | None = None
    """A column of value sizes in bytes."""
    speed: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    """How many times as fast as it was recorded."""

    @model_validator(mode="after")
    def _can_be_read(self) -> "Recorded":
        check_trace(self.trace, self.column)
        if self.size is not None:
            check_trace(self.trace, self.size)
        if self.key is not None:
            check_trace(self.trace, self.key, numbers=False)
        return self


class Daily(Frozen):
    """Arrivals that are the same every day, from the begin of the load on; the parts of a day add up to 24 h."""

    daily: Annotated[tuple[Arrivals, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_a_day(self) -> "Daily":
        if any(part.for_ns is None for part in self.daily):
            raise ValueError("has a part without `for`; each part of a day says how long it lasts")
        total = sum(part.for_ns or 0 for part in self.daily)
        if total != quantities.DAY:
            raise ValueError(f"adds up to {quantities.format_duration(total)}; the parts of a day add up to 24h")
        return self

    def over(self, duration_ns: int) -> tuple[Arrivals, ...]:
        """Return the parts that fill a duration; the last one is cut short where the duration ends."""
        parts, reached = list[Arrivals](), 0
        while reached < duration_ns:
            for part in self.daily:
                length_ns = min(part.for_ns or 0, duration_ns - reached)
                if length_ns > 0:
                    parts.append(part if length_ns == part.for_ns else part.cut(0, length_ns))
                    reached += length_ns
        return tuple(parts)


def _part(raw: object) -> str:
    for kind, tag in ((Recorded, "trace"), (Daily, "daily")):
        if isinstance(raw, kind) or (isinstance(raw, Mapping) and tag in raw):
            return f"<{tag}>"
    return "<rate>"


Part = Annotated[
    Annotated[Arrivals, Tag("<rate>")] | Annotated[Recorded, Tag("<trace>")] | Annotated[Daily, Tag("<daily>")],
    Discriminator(_part),
]


def _arrivals(raw: object) -> object:
    """Turn `600/s`, one mapping or a list of mappings into a list of mappings."""
    if isinstance(raw, str | int | float) and not isinstance(raw, bool):
        return ({"rate": raw},)
    if isinstance(raw, Mapping):
        return (raw,)
    return raw


class UniformKeys(Frozen):
    """Keys 0 to n-1, equally likely."""

    uniform: Annotated[int, Field(ge=1, le=2**31)]


class _ZipfShape(Frozen):
    values: Annotated[int, Field(ge=1, le=50_000_000)]
    exponent: Annotated[float, Field(gt=0, le=20)]


class ZipfKeys(Frozen):
    """Key i has a chance proportional to (i + 1)^-exponent."""

    zipf: _ZipfShape


class _HotShape(Frozen):
    share: Share
    values: Annotated[int, Field(ge=2, le=2**31)]


class HotKeys(Frozen):
    """Key 0 takes the share; the others of `values` keys share the rest equally."""

    hot: _HotShape


Keys = Annotated[
    Annotated[Literal["none", "sequence"], Tag("<word>")]
    | Annotated[UniformKeys, Tag("<uniform>")]
    | Annotated[ZipfKeys, Tag("<zipf>")]
    | Annotated[HotKeys, Tag("<hot>")],
    by_form,
    choice(
        "key",
        ("none", "sequence"),
        {
            "uniform": "{uniform: 1000}",
            "zipf": "{zipf: {values: 1000, exponent: 1.1}}",
            "hot": "{hot: {share: 40%, values: 1000}}",
        },
    ),
]


class FilePayload(Frozen):
    """Values from a file, one a line, in turn."""

    file: str


class SchemaPayload(Frozen):
    """Values made up from an Avro or JSON schema."""

    schema_: Annotated[str, Field(alias="schema")]


Payload = Annotated[
    Annotated[FilePayload, Tag("<file>")] | Annotated[SchemaPayload, Tag("<schema>")],
    by_form,
    choice("payload", (), {"file": "{file: orders.jsonl}", "schema": "{schema: order.avsc}"}),
]


class Producer(Owned):
    """Who sends: arrivals, keys, sizes, settings."""

    topic: str
    arrivals: Annotated[
        tuple[Part, ...], BeforeValidator(_arrivals), Field(min_length=1), OneOrSeveral(quantity_schema(RATE))
    ]
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    """Processes that send."""
    share: Literal["keys", "arrivals"] = "keys"
    """Whether each key has one process, or event i goes to process i mod count."""
    client: Literal["librdkafka", "java"] = "librdkafka"
    version: Version | None = None
    settings: Settings = {}
    key: Keys = "none"
    size: SizeDistribution = Constant(100)
    """Of the record's value, ids included; at least 32 B."""
    payload: Payload | None = None
    """The user's own bytes; then ids and times travel in headers."""
    event: str | None = None
    worth: Worth | None = None
    """What one event is worth, such as 12 EUR."""
    poison: Share = 0.0
    """Share of events that no handler can ever process."""
    external: bool = False
    """The user's own program sends; EventDrill only watches."""

    @property
    def keyed(self) -> bool:
        """Whether events have keys."""
        return self.key != "none" or (self.recorded is not None and self.recorded.key is not None)

    @property
    def recorded(self) -> Recorded | None:
        """The recording that the arrivals are taken from."""
        first = self.arrivals[0]
        return first if isinstance(first, Recorded) else None

    @property
    def daily(self) -> Daily | None:
        """The day that the arrivals repeat."""
        first = self.arrivals[0]
        return first if isinstance(first, Daily) else None

    def rated(self, duration_ns: int) -> tuple[Arrivals, ...]:
        """Return the parts of arrivals that have a rate, over a whole duration."""
        if self.daily is not None:
            return self.daily.over(duration_ns)
        return tuple(part for part in self.arrivals if isinstance(part, Arrivals))


class Collect(Frozen):
    """Wait until so many events are there, or the timeout is over (librdkafka's `consume(n, timeout)`)."""

    events: Annotated[int, Field(ge=1, le=1_000_000)]
    timeout: Duration


class CollectReads(Frozen):
    """Read by collecting."""

    collect: Collect


class EveryCommit(Frozen):
    """Commit what is finished at an interval, and on leaving."""

    every: PositiveDuration


Reads = Annotated[
    Annotated[Literal["poll"], Tag("<word>")] | Annotated[CollectReads, Tag("<collect>")],
    by_form,
    choice("reads", ("poll",), {"collect": "{collect: {events: 500, timeout: 100ms}}"}),
]
CommitWord = Literal["auto", "after_event", "after_batch", "before_work", "transaction"]
Commit = Annotated[
    Annotated[CommitWord, Tag("<word>")] | Annotated[EveryCommit, Tag("<every>")],
    by_form,
    choice("commit", ("auto", "after_event", "after_batch", "before_work", "transaction"), {"every": "{every: 1s}"}),
]


class Transient(Frozen):
    """Failures that pass: the chance that an event is such a one, and how many tries fail before it works."""

    chance: Share
    attempts: Annotated[int, Field(ge=1, le=1000)] = 1


class Retry(Frozen):
    """How often and how fast a failed event is tried again; `attempts` counts all tries."""

    attempts: Annotated[int, Field(ge=1, le=10_000)]
    """All tries, the first included."""
    backoff: Duration = 0
    factor: Annotated[float, Field(ge=1, le=100)] = 1.0
    where: Literal["in_place", "topic"] = "in_place"
    """Whether the member waits with the event, or hands it to the topic `<topic>.retry.<k>` and goes on."""


class Restart(Frozen):
    """When a process that died of an event is started again, as an orchestrator does it: later each time, up to a most."""

    after: PositiveDuration = SECOND
    factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    most: PositiveDuration = 5 * quantities.MINUTE
    """A process that has run for twice as long begins anew with `after`."""

    @model_validator(mode="after")
    def _grows(self) -> "Restart":
        if self.after > self.most:
            raise ValueError("has `after` above `most`, up to which it grows; exchange them")
        return self

    def wait_ns(self, crashes: int) -> int:
        """Return how long the n-th crash in a row keeps a process away."""
        return round(min(self.after * self.factor ** min(crashes - 1, 1000), self.most))


class Failures(Frozen):
    """What a handler does about failures."""

    transient: Transient | None = None
    retry: Retry = Retry(attempts=1)
    then: Literal["dead_letter", "skip", "stop", "crash", "release"]
    """What becomes of an event after its last try; `crash` ends the member's process, which is started again and given it again; `release` gives
    the event back, for any member of a share group."""
    dead_letter: str | None = None
    restart: Restart = Restart()

    @model_validator(mode="after")
    def _names_its_dead_letter_topic(self) -> "Failures":
        if self.then == "dead_letter" and self.dead_letter is None:
            raise ValueError("has `then: dead_letter` and no topic for it; add `dead_letter: TOPIC`")
        if self.then != "dead_letter" and self.dead_letter is not None:
            raise ValueError(
                f"has `then: {self.then}`, so `dead_letter: {self.dead_letter}` is never used; remove one of them"
            )
        if self.then != "crash" and "restart" in self.model_fields_set:
            raise ValueError(f"has `then: {self.then}`, so `restart` is never used; write `then: crash`, or remove it")
        return self


class Dedupe(Frozen):
    """Event ids are remembered together with the effect, and an event whose id is known is passed over."""

    window: PositiveDuration
    """How long an id is remembered."""
    store: Literal["shared", "member"] = "shared"
    """Whether all members see it, or each has its own, lost with it."""


def _dedupe(raw: object) -> object:
    if isinstance(raw, Dedupe | Mapping) or raw == "none":
        return raw
    raise ValueError(f"is {show(raw)}; it is none or {{window: 10m, store: shared}}")


AnyDedupe = Annotated[
    Annotated[Literal["none"], Tag("<word>")] | Annotated[Dedupe, Tag("<window>")],
    Discriminator(lambda raw: "<window>" if isinstance(raw, Dedupe | Mapping) else "<word>"),
    BeforeValidator(_dedupe),
]


class Outbox(Frozen):
    """Emitted events are stored together with the effect, and sent by a relay that looks every so often."""

    every: PositiveDuration


class Emits(Frozen):
    """Events that follow from each effect; they copy the key."""

    topic: str
    event: str | None = None
    per_event: Annotated[int, Field(ge=1, le=1000)] = 1
    share: Share = 1.0
    """Share of effects that emit."""
    size: SizeDistribution = Constant(100)
    poison: Share = 0.0
    """Share of emitted events that no handler can ever process."""
    hops: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Only events with fewer emissions behind them emit, so that a circle ends."""
    settings: Settings = {}
    """Of the client that sends them."""
    outbox: Outbox | None = None
    worth: Worth | None = None


def _one_or_several(raw: object) -> object:
    return tuple(raw) if isinstance(raw, list | tuple) else (raw,)


class EffectsFile(Frozen):
    """Effects from a file of JSON lines that the user's program appends to."""

    file: str


class EffectsTopic(Frozen):
    """Effects from a topic that the user's program writes to, ids in headers."""

    topic: str


Effects = Annotated[
    Annotated[EffectsTopic, Tag("<topic>")] | Annotated[EffectsFile, Tag("<file>")],
    by_form,
    choice("effects", (), {"topic": "{topic: orders.done}", "file": "{file: effects.jsonl}"}),
]


class Group(Owned):
    """Who reads: members, how they poll, how long they work, when they commit, what they do about failures."""

    topics: Annotated[
        tuple[str, ...], BeforeValidator(lambda raw: tuple(raw) if isinstance(raw, list) else raw), Field(min_length=1)
    ]
    work: DurationDistribution
    """Time a handler needs per try."""
    members: Count = 1
    client: Literal["librdkafka", "java"] = "librdkafka"
    version: Version | None = None
    settings: Settings = {}
    reads: Reads = "poll"
    """How a member takes what is there: `poll`, or collecting until a number or a timeout."""
    busy: bool = False
    """Burn CPU while working instead of sleeping."""
    workers: Annotated[int, Field(ge=1, le=1000)] = 1
    """Handlers of each member, a pool that polling keeps fed."""
    in_hand: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """Events that a member with several workers has unfinished at most."""
    ordered_by: Literal["none", "key", "partition"] = "partition"
    """With several workers: what is worked on one after another."""
    commit: Commit = "after_batch"
    """When offsets are committed."""
    failures: Failures | None = None
    dedupe: AnyDedupe = "none"
    """Whether event ids are remembered, so that no effect comes twice."""
    calls: Annotated[
        tuple[Call, ...], BeforeValidator(as_calls), Field(min_length=1), OneOrSeveral({"type": "string"})
    ] = ()
    """Dependencies that each try calls, one after another."""
    emits: Annotated[tuple[Emits, ...], BeforeValidator(_one_or_several), Field(min_length=1), OneOrSeveral()] = ()
    """What follows from each effect."""
    share_group: bool = False
    """Members share partitions, event by event, and acknowledge each (a share group)."""
    external: bool = False
    """The user's own program reads; EventDrill watches its lag, commits and effects."""
    effects: Effects | None = None
    """Where the effects of an external group are read."""
    autoscaler: Autoscaler | None = None

    @property
    def topic_of_dead_letters(self) -> str | None:
        """The topic that takes what the group gives up on."""
        return self.failures.dead_letter if self.failures else None


WrittenExpectation = Annotated[
    Expectation,
    BeforeValidator(parse_expectation),
    PlainSerializer(lambda expectation: expectation.text),
    WithJsonSchema({"type": "string", "examples": ["lost == 0", "gap[orders] < 12s"]}),
]


class Objective(Frozen):
    """A service-level objective on an indicator; a missed one is a figure, not a failure."""

    indicator: Literal["latency", "chain_latency", "ack_latency", "delivery", "availability"]
    of: str | None = None
    """A topic or group; everything where it is left out."""
    below: PositiveDuration | None = None
    """The threshold of a latency."""
    within: PositiveDuration | None = None
    """The horizon of delivery; the end of the drain where it is left out."""
    target: Share
    period: PositiveDuration = 30 * quantities.DAY

    @model_validator(mode="after")
    def _has_its_threshold(self) -> "Objective":
        if self.indicator.endswith("latency") != (self.below is not None):
            raise ValueError(
                f"is about {self.indicator}; `below: 500ms` belongs to latencies, and each latency needs it"
            )
        if self.within is not None and self.indicator != "delivery":
            raise ValueError(f"is about {self.indicator}; `within` belongs to delivery")
        return self


def _swept(raw: object) -> object:
    if isinstance(raw, list | tuple) and raw:
        return tuple(raw)
    raise ValueError(f"is {show(raw)}; it is a list of values that the field takes in turn, such as [1, 2, 3, 6]")


Sweep = Annotated[tuple[Any, ...], BeforeValidator(_swept), WithJsonSchema({"type": "array", "minItems": 1})]


class Scenario(Frozen):
    """A whole scenario, as read from a file."""

    scenario: Name
    """Its name."""
    duration: PositiveDuration
    """How long the load runs."""
    brokers: Brokers
    topics: Mapping[Name, Topic]
    producers: Mapping[Name, Producer]
    groups: Mapping[Name, Group] = {}
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Fixes everything random; `--seed` replaces it."""
    about: str = ""
    """What it is for, in a sentence or two."""
    covers: tuple[str, ...] = ()
    """Ids of the failure modes that it shows."""
    owner: str | None = None
    runbook: str | None = None
    warm_up: Duration = 0
    """The first part of the duration, which is not counted."""
    drain: Duration = 60 * SECOND
    """Longest wait for the groups to finish after the load."""
    profile: str = "local-kafka"
    """Measured figures of the system it stands for: a name, or a file."""
    dependencies: Mapping[Name, Dependency] = {}
    """Services that groups call."""
    faults: tuple[AnyFault, ...] = ()
    actions: tuple[AnyAction, ...] = ()
    """What people do about it, and when."""
    objectives: Mapping[Name, Objective] = {}
    expect: tuple[WrittenExpectation, ...] = ()
    """What must hold, such as `lost == 0`."""
    agreement: Mapping[str, Share] = {}
    """Tolerances of `verify` by indicator, in place of the usual ones."""
    sweep: Mapping[str, Sweep] = {}
    """Fields and the values that they take in turn."""
    target: ForeignTarget | None = None
    """A system that EventDrill did not start, and what it may do there."""

    def replication_of(self, topic: str) -> int:
        """Return a topic's replication factor, the default filled in."""
        return self.topics[topic].replication or min(3, self.brokers.nodes)

    @property
    def measured_ns(self) -> int:
        """Length of the measured part, warm-up apart."""
        return self.duration - self.warm_up


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Scenario.model_json_schema(by_alias=True)}
