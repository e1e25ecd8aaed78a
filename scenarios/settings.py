"""Native settings of brokers, topics and clients: what each of them would refuse, and what contradicts a field of the scenario.

The tables in `scenarios/native` are what librdkafka and Kafka print of themselves.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path as FilePath

from scenarios.clients import (
    acks_of,
    as_bool,
    broker_setting,
    common_names,
    consumer_settings,
    milliseconds_ns,
    producer_settings,
)
from scenarios.errors import Path, nearest, show
from scenarios.quantities import format_duration
from scenarios.schema import EveryCommit, Group, Producer, Scenario, Setting, Settings

Found = Iterator[tuple[Path, str]]

_OURS: Mapping[str, tuple[str, ...]] = {
    "client": ("bootstrap.servers", "metadata.broker.list", "client.id", "group.id"),
    "broker": (
        "node.id", "broker.id", "process.roles", "listeners", "advertised.listeners", "controller.listener.names",
        "inter.broker.listener.name", "listener.security.protocol.map", "controller.quorum.voters",
        "controller.quorum.bootstrap.servers", "log.dirs", "log.dir", "metadata.log.dir", "broker.rack",
    ),
}  # fmt: skip
"""Settings that EventDrill gives itself."""
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?\Z")
_INTEGER = re.compile(r"[-+]?\d+\Z")


@dataclass(frozen=True)
class Known:
    """A setting that a client or broker knows: its kind, bounds, words and default."""

    name: str
    scope: str
    """P for producers, C for consumers, * for both."""
    kind: str
    least: float | None
    most: float | None
    words: tuple[str, ...]
    default: str

    def fault_of(self, value: Setting) -> str | None:
        """Return what is wrong with a value, or None."""
        text = ("true" if value else "false") if isinstance(value, bool) else str(value)
        match self.kind:
            case "code":
                return "is set by a program only, not in a file; remove it"
            case "boolean":
                return None if text.lower() in ("true", "false") else f"is {show(value)}; it is true or false"
            case "integer" | "number":
                pattern, what = (_INTEGER, "a whole number") if self.kind == "integer" else (_NUMBER, "a number")
                if isinstance(value, bool) or not pattern.match(text):
                    return f"is {show(value)}; it is {what}{self._range()}"
                if not _within(float(text[:40]), self.least, self.most):
                    return f"is {show(value)}; it is{self._range()}"
                return None
            case "words":
                near = "" if text.lower() in (word.lower() for word in self.words) else nearest(text, self.words)
                return f"is {show(value)}{near}" if near else None
            case "list":
                wrong = [part for part in re.split(r"\s*,\s*", text) if self.words and part not in self.words]
                return f"is {show(value)}{nearest(wrong[0], self.words)}" if wrong else None
            case _:
                return None

    def _range(self) -> str:
        if self.least is None or self.most is None:
            return ""
        if self.most >= 2**31 - 1:
            return f" from {self.least:g}" if self.least > -(2**31) else ""
        return f" from {self.least:.12g} to {self.most:.12g}"


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


@cache
def known_settings(system: str) -> Mapping[str, Known]:
    """Return the settings of `librdkafka`, `kafka-producer`, `kafka-consumer`, `kafka-topic` or `kafka-broker` by name."""
    folder = FilePath(str(resources.files("scenarios"))) / "native"
    known = {}
    for row in (folder / f"{system.partition('-')[0]}.tsv").read_text("utf-8").splitlines():
        cells = row.split("\t")
        if cells[0] == system:
            _, name, scope, kind, least, most, words, default, _alias = cells
            known[name] = Known(name, scope, kind, _bound(least), _bound(most), _listed(words), default)
    return known


def _bound(cell: str) -> float | None:
    return float(cell) if cell else None


def _listed(cell: str) -> tuple[str, ...]:
    return tuple(word for word in cell.split(",") if word)


def client_system(owner: Producer | Group) -> str:
    """Return whose table a producer's or a group's settings are looked up in."""
    if owner.client == "librdkafka":
        return "librdkafka"
    return "kafka-producer" if isinstance(owner, Producer) else "kafka-consumer"


def setting_findings(scenario: Scenario) -> Found:
    """Yield place and message of every setting that would be refused, or that contradicts a field."""
    brokers = list(_refused(("brokers", "settings"), scenario.brokers.settings, "kafka-broker", _OURS["broker"]))
    yield from brokers
    if not brokers:
        yield from _broker_rules(scenario)
    known = known_settings("kafka-topic")
    for name, topic in scenario.topics.items():
        place: Path = ("topics", name, "settings")
        yield from _refused(place, topic.settings, "kafka-topic", ())
        for setting in topic.settings:
            if setting not in known:
                yield (*place, setting), f"is no setting of a Kafka topic{nearest(setting, known)}"
    for name, producer in scenario.producers.items():
        place = ("producers", name, "settings")
        wrong = list(_client(place, producer))
        yield from wrong or _producer_rules(scenario, name, place)
    for name, group in scenario.groups.items():
        place = ("groups", name, "settings")
        wrong = list(_client(place, group))
        # What a group's settings mean hangs on the brokers', so those are put right first.
        yield from wrong or (() if brokers else _group_rules(scenario, name, place))


def _client(place: Path, owner: Producer | Group) -> Found:
    system = client_system(owner)
    yield from _refused(place, owner.settings, system, _OURS["client"])
    known = known_settings(system)
    if system != "librdkafka":  # the Java client takes unknown names and only warns; so does `check`
        theirs = known_settings("librdkafka").keys() - known.keys() - {*_OURS["client"]}
        for name in owner.settings:
            if name in theirs:
                yield (*place, name), f"is a setting of librdkafka, which the Java client ignores{nearest(name, known)}"
        return
    for name in owner.settings:
        if name not in known and name not in _OURS["client"] and name not in _OF_THE_LOOP:
            yield (*place, name), f"is no setting of librdkafka{nearest(name, known)}"


_OF_THE_LOOP = ("max.poll.records",)
"""The loop that polls librdkafka takes what Java's client takes itself."""


def _refused(place: Path, settings: Settings, system: str, ours: tuple[str, ...]) -> Found:
    known = known_settings(system)
    for name, value in settings.items():
        if name in ours:
            yield (*place, name), "is set by EventDrill itself; remove it"
        elif name in ("acks", "request.required.acks") and system in ("librdkafka", "kafka-producer"):
            try:
                acks_of(value)
            except ValueError:
                yield (*place, name), f"is {show(value)}; it is all, 1 or 0"
        elif name in known and not (name == "auto.offset.reset" and str(value).startswith("by_duration:")):
            fault = known[name].fault_of(value)
            if fault:
                yield (*place, name), fault


def _broker_rules(scenario: Scenario) -> Found:
    """Hold session and heartbeat against the bounds that brokers check when they start."""
    known = known_settings("kafka-broker")
    settings = scenario.brokers.settings

    def value(name: str) -> float:
        return float(settings.get(name, known[name].default))

    for kind in ("consumer", "share"):
        for timer in ("session.timeout.ms", "heartbeat.interval.ms"):
            name = f"group.{kind}.{timer}"
            least, most = (f"group.{kind}.{end}.{timer}" for end in ("min", "max"))
            if not value(least) <= value(name) <= value(most):
                blamed = next((given for given in (name, least, most) if given in settings), name)
                yield (
                    ("brokers", "settings", blamed),
                    (
                        f"is {settings[blamed]}, and no broker starts unless {least} ({value(least):g}) <= {name} ({value(name):g}) "
                        f"<= {most} ({value(most):g}); change them together"
                    ),
                )


def _given(place: Path, settings: Settings, shared_name: str) -> Path:
    """Return the place of a setting under the name it was given."""
    for name in settings:
        if next(iter(common_names({name: 0}))) == shared_name:
            return (*place, name)
    return place


def _producer_rules(scenario: Scenario, name: str, place: Path) -> Found:
    producer = scenario.producers[name]
    given = common_names(producer.settings)
    if "enable.idempotence" in given and as_bool(given["enable.idempotence"]):
        if acks_of(given.get("acks", "all")) != "all":
            yield (
                _given(place, producer.settings, "acks"),
                f"is {show(given['acks'])} beside enable.idempotence: true, which needs acks: all",
            )
        in_flight = given.get("max.in.flight.requests.per.connection")
        if in_flight is not None and float(in_flight) > 5:
            at = _given(place, producer.settings, "max.in.flight.requests.per.connection")
            yield at, f"is {in_flight} beside enable.idempotence: true, which allows 5 at most"
        if given.get("retries") is not None and float(given["retries"]) == 0:
            yield (*place, "retries"), "is 0 beside enable.idempotence: true, which needs retries"
    if "transactional.id" in given:
        yield from _in_transactions(scenario, name, place)
    partitioner = given.get("partitioner") or given.get("partitioner.class")
    if partitioner and producer.key != "none" and partitioner != "consistent_random":
        at = (*place, "partitioner" if "partitioner" in given else "partitioner.class")
        yield (
            at,
            (
                f"is {show(partitioner)}; the plan puts keys where the client's default partitioner does "
                "(librdkafka: crc32, java: murmur2), so remove it and choose by `client`"
            ),
        )
    yield from _delivery_timeout(scenario, name, place)


def _in_transactions(scenario: Scenario, name: str, place: Path) -> Found:
    """Hold a producer's settings against what clients want of one with a transactional.id."""
    producer = scenario.producers[name]
    given, resolved = common_names(producer.settings), producer_settings(scenario, name)
    if acks_of(given.get("acks", "all")) != "all":
        yield (
            _given(place, producer.settings, "acks"),
            f"is {show(given['acks'])} beside transactional.id, which needs acks: all",
        )
    if not as_bool(given.get("enable.idempotence", True)):
        yield (*place, "enable.idempotence"), "is false beside transactional.id, which needs it; remove it"
    if producer.client == "librdkafka" and resolved.delivery_timeout_ns > resolved.transaction_timeout_ns:
        yield (
            _given(place, producer.settings, "delivery.timeout.ms"),
            (
                f"is {given['delivery.timeout.ms']} beside transactional.id; librdkafka gives no event more time than its transaction has, "
                f"transaction.timeout.ms, {format_duration(resolved.transaction_timeout_ns)}: make it shorter, or that longer"
            ),
        )


def _delivery_timeout(scenario: Scenario, name: str, place: Path) -> Found:
    producer = scenario.producers[name]
    given, resolved = common_names(producer.settings), producer_settings(scenario, name)
    timeout = resolved.delivery_timeout_ns
    if producer.client == "java":
        least, parts = resolved.linger_ns + resolved.request_timeout_ns, "linger.ms + request.timeout.ms"
        refused = "delivery.timeout.ms" in given and timeout < least
    else:  # librdkafka looks at its defaults only beside idempotence
        least, parts = resolved.linger_ns, "linger.ms"
        looks = "linger.ms" in given and ("delivery.timeout.ms" in given or resolved.idempotence)
        refused = looks and timeout <= least
    if refused:
        blamed = "delivery.timeout.ms" if "delivery.timeout.ms" in given else "linger.ms"
        yield (
            _given(place, producer.settings, blamed),
            (
                f"is {given[blamed]}; the client wants its delivery timeout, {format_duration(timeout)}, "
                f"to be longer than {parts}, {format_duration(least)}"
            ),
        )


def _group_rules(scenario: Scenario, name: str, place: Path) -> Found:
    group = scenario.groups[name]
    settings = group.settings
    committed = "{every: ...}" if isinstance(group.commit, EveryCommit) else group.commit
    auto = settings.get("enable.auto.commit")
    if auto is not None and as_bool(auto) != (group.commit == "auto"):
        way_out = "remove it, or write `commit: auto`" if as_bool(auto) else "remove it, or choose another `commit`"
        message = f"is {show(auto)} beside `commit: {committed}`, which contradicts it; {way_out}"
        yield (*place, "enable.auto.commit"), message
    stored = settings.get("enable.auto.offset.store")
    if stored is not None and group.commit == "auto" and not as_bool(stored):
        message = "is false beside `commit: auto`: nothing would ever be committed; remove it"
        yield (*place, "enable.auto.offset.store"), message
    resolved = consumer_settings(scenario, name)
    yield from _new_protocol(place, settings) if resolved.protocol == "consumer" else _sessions(scenario, name, place)


_BROKERS_SAY: Mapping[str, str] = {
    "session.timeout.ms": "set group.consumer.session.timeout.ms under brokers.settings",
    "heartbeat.interval.ms": "set group.consumer.heartbeat.interval.ms under brokers.settings",
    "partition.assignment.strategy": "remove it, the brokers assign",
    "group.protocol.type": "remove it",
}


def _new_protocol(place: Path, settings: Settings) -> Found:
    for name, way_out in _BROKERS_SAY.items():
        if name in settings:
            message = f"belongs to group.protocol: classic, and the client refuses it beside consumer; {way_out}"
            yield (*place, name), message


def _sessions(scenario: Scenario, name: str, place: Path) -> Found:
    settings, resolved = scenario.groups[name].settings, consumer_settings(scenario, name)
    session = format_duration(resolved.session_timeout_ns)
    if resolved.heartbeat_ns >= resolved.session_timeout_ns:
        blamed = "heartbeat.interval.ms" if "heartbeat.interval.ms" in settings else "session.timeout.ms"
        yield (
            (*place, blamed),
            (
                f"is {settings.get(blamed)}: a heartbeat each {format_duration(resolved.heartbeat_ns)} cannot keep a session of "
                f"{session} alive; heartbeats come at a third of the session"
            ),
        )
    if resolved.max_poll_interval_ns < resolved.session_timeout_ns:
        blamed = "max.poll.interval.ms" if "max.poll.interval.ms" in settings else "session.timeout.ms"
        message = (
            f"is {settings.get(blamed)}; max.poll.interval.ms is at least session.timeout.ms, or the client refuses it"
        )
        yield (*place, blamed), message
    if "session.timeout.ms" not in settings:
        return
    low, high = (milliseconds_ns(broker_setting(scenario, f"group.{end}.session.timeout.ms")) for end in ("min", "max"))
    if not low <= resolved.session_timeout_ns <= high:
        yield (
            (*place, "session.timeout.ms"),
            (
                f"is {session}, and the brokers take {format_duration(low)} to {format_duration(high)} "
                "(group.min.session.timeout.ms and group.max.session.timeout.ms under brokers.settings)"
            ),
        )
