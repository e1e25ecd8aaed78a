"""The names of indicators and the expectation language: `INDICATOR OP QUANTITY`, and nothing else."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from scenarios.errors import nearest, show
from scenarios.quantities import DURATION, RATE, SECOND, SHARE, Unit, parse

IndicatorUnit = Literal["s", "events", "share", "1/s", "1/h"]
Scope = Literal["topic", "partition", "producer", "group"]

QUANTILES = ("p50", "p90", "p95", "p99", "p999", "max", "mean")


@dataclass(frozen=True)
class IndicatorKind:
    """What an indicator is called, what it is measured in, and what it can be asked for."""

    name: str
    units: Mapping[str, IndicatorUnit]
    """Unit by statistic; the key "" is the indicator without one."""
    scopes: tuple[Scope, ...]
    needs_scope: bool = False
    better: Literal["lower", "higher"] = "lower"
    meaning: str = ""


def _same(unit: IndicatorUnit, *statistics: str) -> dict[str, IndicatorUnit]:
    return dict.fromkeys(statistics, unit)


_KINDS = (
    IndicatorKind("delivery", _same("share", ""), ("topic", "group"), better="higher", meaning="pairs with an effect within the horizon, of all pairs"),
    IndicatorKind("latency", _same("s", *QUANTILES), ("topic", "group"), meaning="intended time to first effect"),
    IndicatorKind("chain_latency", _same("s", *QUANTILES), ("group",), meaning="the root event's intended time to first effect"),
    IndicatorKind("ack_latency", _same("s", *QUANTILES), ("topic", "producer"), meaning="intended time to acknowledgement"),
    IndicatorKind("lag", _same("events", "max", "mean", "end"), ("topic", "partition", "group"), meaning="acknowledged and not ended, on a 100 ms grid"),
    IndicatorKind("lag_age", _same("s", "max"), ("topic", "partition", "group"), meaning="age of the oldest acknowledged event that has not ended"),
    IndicatorKind("committed_lag", _same("events", "max", "mean", "end"), ("topic", "partition", "group"),
                  meaning="high watermark minus committed offset, each second"),
    IndicatorKind("errors", {"": "share", "events": "share"}, ("topic", "group"), meaning="failed tries of all tries; events with a failed try of all events"),
    IndicatorKind("dead_lettered", {"": "events", "share": "share"}, ("topic", "group"), meaning="pairs that ended in a dead-letter topic"),
    IndicatorKind("drain_time", _same("s", ""), ("topic", "group"), meaning="from the lag's maximum after a disturbance until it is back at base"),
    IndicatorKind("produced", _same("1/s", "", "windows"), ("topic", "producer"), better="higher", meaning="acknowledged events per second"),
    IndicatorKind("consumed", _same("1/s", "", "saturated", "windows"), ("topic", "group"), better="higher", meaning="first effects per second"),
    IndicatorKind("restarts", {"": "1/h", "count": "events"}, ("group",), meaning="members that ended and came back"),
    IndicatorKind("availability", _same("share", ""), ("topic", "partition"), better="higher", meaning="partition-time that was writable"),
    IndicatorKind("duplicate_deliveries", {"": "events", "share": "share", "log": "events", "redelivered": "events"},
                  ("topic", "group"), meaning="deliveries beyond the first of a pair"),
    IndicatorKind("duplicate_effects", {"": "events", "share": "share"}, ("topic", "group"), meaning="effects beyond the first of a pair"),
    IndicatorKind("lost", _same("events", ""), ("topic",), meaning="acknowledged and not in the log"),
    IndicatorKind("passed", _same("events", ""), ("topic", "group"), meaning="committed beyond without handling"),
    IndicatorKind("expired", _same("events", ""), ("topic", "group"), meaning="deleted before delivery"),
    IndicatorKind("refused", _same("events", ""), ("topic", "producer"), meaning="not acknowledged and not in the log"),
    IndicatorKind("pending", _same("events", ""), ("topic", "group"), meaning="still under way when the drain ended"),
    IndicatorKind("unexpected", _same("events", ""), ("topic",), meaning="in the log and never sent"),
    IndicatorKind("unknown", {"": "events", "settled": "events"}, ("topic", "producer"), meaning="sends whose outcome the client never learned"),
    IndicatorKind("write_gap", _same("s", ""), ("topic",), meaning="longest time without acknowledgement while an event waited"),
    IndicatorKind("gap", _same("s", ""), ("topic", "group"), meaning="longest time without first deliveries while an event waited"),
    IndicatorKind("inversions", _same("events", ""), ("topic", "group"), meaning="first effects later than that of a later event of the same key"),
    IndicatorKind("send_lateness", _same("s", "p50", "p99", "max"), ("topic", "producer"), meaning="how far the driver ran behind the plan"),
)  # fmt: skip
INDICATORS: Mapping[str, IndicatorKind] = {kind.name: kind for kind in _KINDS}

_NAME = re.compile(r"\s*([A-Za-z_]+)\s*(?:\[([^\[\]]*)\])?\s*(?:\.\s*([A-Za-z0-9_]+))?\s*\Z")
_EXPECTATION = re.compile(r"(.+?)\s*(<=|>=|==|!=|<|>)\s*([^<>=!]+)\Z")
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}
BEFORE_FAULTS = "before faults"
_LONGEST = 500


@dataclass(frozen=True)
class IndicatorName:
    """An indicator's full name: `latency[fulfilment, before faults].p95`."""

    kind: str
    where: str | None = None
    """A topic, topic/partition, producer or group; None covers everything."""
    narrowed: str | None = None
    """The name of a fault, or `before faults`."""
    statistic: str = ""

    def __str__(self) -> str:
        inside = ", ".join(part for part in (self.where, self.narrowed) if part)
        return self.kind + (f"[{inside}]" if inside else "") + (f".{self.statistic}" if self.statistic else "")

    @property
    def unit(self) -> IndicatorUnit:
        """The unit of its value."""
        return INDICATORS[self.kind].units[self.statistic]


@dataclass(frozen=True)
class Expectation:
    """A statement about one indicator that holds or does not."""

    text: str
    indicator: IndicatorName
    op: str
    bound: float
    """In the indicator's unit (s, events, share, 1/s, 1/h)."""

    def holds(self, value: float) -> bool:
        """Whether the statement is true of a value in the indicator's unit."""
        return _OPERATORS[self.op](value, self.bound)


def parse_indicator(text: str) -> IndicatorName:
    """Return the parts of an indicator's name; raise ValueError with the nearest known name."""
    match = _NAME.match(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(
            f"is {show(text)}; an indicator is written NAME, NAME[WHERE] or NAME[WHERE].STATISTIC, such as latency[fulfilment].p95"
        )
    name, inside, statistic = match[1], match[2], match[3] or ""
    kind = INDICATORS.get(name)
    if kind is None:
        raise ValueError(f"names {show(name)}, which is no indicator{nearest(name, INDICATORS)}")
    if statistic not in kind.units:
        known = ", ".join(f"{name}.{known}" if known else name for known in kind.units)
        raise ValueError(f"is {show(text)}; there is {known}")
    parts = [part.strip() for part in inside.split(",")] if inside is not None else []
    if len(parts) > 2 or "" in parts:
        raise ValueError(f"is {show(text)}; the brackets hold WHERE, or WHERE and a fault's name or `{BEFORE_FAULTS}`")
    if parts == [BEFORE_FAULTS]:
        return IndicatorName(name, None, BEFORE_FAULTS, statistic)
    where = parts[0] if parts else None
    return IndicatorName(name, where, parts[1] if len(parts) == 2 else None, statistic)


def parse_expectation(raw: object) -> Expectation:
    """Return an expectation; raise ValueError that says how it is written."""
    if isinstance(raw, Expectation):
        return raw
    if not isinstance(raw, str) or len(raw) > _LONGEST:
        raise ValueError(
            f'is {show(raw)}; an expectation is a text such as `gap[orders] < 12s` (in flow style, inside [...], quote it: "gap[orders] < 12s")'
        )
    match = _EXPECTATION.match(raw.strip())
    if match is None:
        raise ValueError(
            f"is {show(raw)}; an expectation is INDICATOR OP QUANTITY with < <= == != >= >, such as `lost == 0`"
        )
    indicator = parse_indicator(match[1])
    return Expectation(raw.strip(), indicator, match[2], _bound(match[3].strip(), indicator))


def _bound(text: str, indicator: IndicatorName) -> float:
    match indicator.unit:
        case "s":
            return parse(text, DURATION) / SECOND
        case "share":
            return parse(text, SHARE)
        case "1/s":
            return parse(text, RATE)
        case "1/h":
            return parse(text, _PER_HOUR)
        case "events":
            if not re.fullmatch(r"\d+", text):
                raise ValueError(
                    f"compares {indicator} with {show(text)}; it counts events, so the bound is a whole number"
                )
            return float(text)


_PER_HOUR = Unit("rate per hour", "2/h", {"/h": 1}, whole=False)
