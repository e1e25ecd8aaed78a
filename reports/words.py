"""Figures, verdicts and scenarios in words: one spelling for pages, Markdown and terminals."""

import math
from collections.abc import Mapping, Sequence

from scenarios.distributions import Constant, Distribution
from scenarios.expectations import BEFORE_FAULTS, IndicatorName, IndicatorUnit, parse_indicator
from scenarios.quantities import SECOND, format_duration
from scenarios.schema import Arrivals, Bursts, Group, HotKeys, Producer, Scenario, UniformKeys, ZipfKeys

NARROW = "\u202f"
"""A narrow space that does not break, between a number and its unit."""
MINUS, DASH, TIMES = "\u2212", "\u2013", "\u00d7"
SYMBOLS: Mapping[str, str] = {
    "agrees": "✓",
    "differs": "✗",
    "cannot tell": "?",
    "held": "✓",
    "missed": "✗",
    "unknown": "?",
}
"""Beside each verdict's word and colour, for those who see no colour."""

_SCALES: Sequence[tuple[float, str]] = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_KINDS: Mapping[str, str] = {
    "ack_latency": "acknowledgement latency",
    "availability": "availability for writes",
    "chain_latency": "latency of chains",
    "committed_lag": "committed lag",
    "consumed": "finished per second",
    "dead_lettered": "dead letters",
    "delivery": "delivered in time",
    "drain_time": "drain time",
    "duplicate_deliveries": "duplicate deliveries",
    "duplicate_effects": "duplicate effects",
    "errors": "failed tries",
    "expired": "expired events",
    "gap": "longest gap",
    "inversions": "inversions of order",
    "lag": "lag",
    "lag_age": "age of the lag",
    "lost": "lost events",
    "passed": "passed-over events",
    "pending": "pending events",
    "produced": "acknowledged per second",
    "refused": "refused events",
    "restarts": "restarts",
    "send_lateness": "lateness of the driver",
    "unexpected": "unexpected events",
    "unknown": "sends of unknown outcome",
    "write_gap": "longest gap for writes",
}
_STATISTICS: Mapping[str, str] = {
    "max": "peak",
    "mean": "mean",
    "end": "at the end",
    "saturated": "while behind",
    "p999": "p99.9",
}


def indicator_words(name: str) -> str:
    """Return an indicator's name in words: `latency p99 of fulfilment, before faults`."""
    indicator = parse_indicator(name)
    said = _KINDS.get(indicator.kind, indicator.kind.replace("_", " "))
    if indicator.statistic == "max":
        said = f"peak {said}"
    elif indicator.statistic:
        said += f" {_STATISTICS.get(indicator.statistic, indicator.statistic)}"
    return said + _where(indicator)


def _where(indicator: IndicatorName) -> str:
    of = f" of {indicator.where}" if indicator.where else ""
    if indicator.narrowed == BEFORE_FAULTS:
        return of + ", before faults"
    return of + (f", after {indicator.narrowed}" if indicator.narrowed else "")


# ---- figures -------------------------------------------------------------------------------------------------------


def value_text(value: float | None, unit: IndicatorUnit | str, at_least: float | None = None) -> str:
    """Return a value with its unit; what was never reached as `over 12 s`, what is not known as a dash."""
    if value is None or math.isnan(value):
        return f"over{NARROW}{value_text(at_least, unit)}" if at_least is not None else DASH
    if math.isinf(value):
        return "never" if value > 0 else DASH
    match unit:
        case "s":
            return _seconds_text(value)
        case "share":
            return percent(value)
        case "events":
            return count_text(value)
        case _:
            return f"{_significant(value)}{NARROW}{unit.removeprefix('1')}"


def interval_text(interval: tuple[float, float] | None, unit: IndicatorUnit | str) -> str:
    """Return an interval with its unit once: `7.04 to 10.1 s`."""
    if interval is None:
        return ""
    low, high = interval
    if low == high:
        return f"always {value_text(low, unit)}"
    if not math.isfinite(high) or unit == "events":
        return f"{value_text(low, unit)} to {value_text(high, unit)}"
    if unit == "share":
        return f"{percent(low)} to {percent(high)}"
    scale, suffix = _scale(high) if unit == "s" else (1.0, unit.removeprefix("1"))
    # Two ends that read the same would look like no interval at all.
    digits = next((d for d in range(3, 7) if _significant(low / scale, d) != _significant(high / scale, d)), 3)
    return f"{_significant(low / scale, digits)} to {_significant(high / scale, digits)}{NARROW}{suffix}"


def difference_text(difference: float | None, *, count: bool) -> str:
    """Return a difference with its sign: in percent, of counts in events."""
    if difference is None:
        return DASH
    text = f"{difference:+,.0f}".replace(",", NARROW) if count else f"{difference * 100:+.1f}"
    if not text.strip("+-0."):
        return "0" if count else f"0{NARROW}%"
    return text.replace("-", MINUS) + ("" if count else f"{NARROW}%")


def count_text(value: float) -> str:
    """Return a count with its thousands set apart, of many millions the first three digits."""
    for scale, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= 10 * scale:
            return f"{_significant(value / scale)} {word}"
    text = f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:.1f}"
    return text.replace(",", NARROW)


def percent(share: float) -> str:
    """Return a share in percent: three digits that tell it from 0 % and from 100 %."""
    percentage = share * 100
    edge = min(abs(percentage), abs(100 - percentage))
    digits = 0 if edge == 0 else min(6, max(0, 2 - math.floor(math.log10(edge))))
    text = f"{percentage:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + f"{NARROW}%"


def time_text(ns: int) -> str:
    """Return an instant of the run: `20.35 s`, of a long run `1h 2m 5s`."""
    return f"{ns / SECOND:.2f}{NARROW}s" if abs(ns) < 600 * SECOND else format_duration(ns)


def duration_text(ns: int) -> str:
    """Return a planned time as people write it, with a narrow space: `250 ms`."""
    text = format_duration(ns)
    return text if " " in text else text.rstrip("smnuhd") + NARROW + text[len(text.rstrip("smnuhd")) :]


def wait_text(seconds: float) -> str:
    """Return a time that somebody waited: of minutes nobody counts the seconds in their head."""
    return value_text(seconds, "s") if seconds < 120 else format_duration(seconds * SECOND)


def _seconds_text(value: float) -> str:
    if value == 0:
        return f"0{NARROW}s"
    if abs(value) >= 600:
        return format_duration(value * SECOND)
    scale, suffix = _scale(abs(value))
    return f"{_significant(value / scale)}{NARROW}{suffix}"


def _scale(seconds: float) -> tuple[float, str]:
    return next(((scale, suffix) for scale, suffix in _SCALES if seconds >= scale * 0.9995), (1.0, "s"))


def _significant(value: float, digits: int = 3) -> str:
    """Return the digits that count, never in powers of ten."""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 6)}f}".replace(",", NARROW)


# ---- scenario ------------------------------------------------------------------------------------------------------


def cluster_words(scenario: Scenario) -> str:
    """Return the cluster in words."""
    brokers = scenario.brokers
    kind = {"kafka": "Apache Kafka"}.get(brokers.kind, brokers.kind)
    return f"{_some(brokers.nodes, 'broker')} of {kind} {brokers.version}, {brokers.controllers} controllers{_settings(brokers.settings)}"


def topic_words(scenario: Scenario, name: str) -> str:
    """Return a topic in words."""
    topic = scenario.topics[name]
    copies = scenario.replication_of(name)
    return f"{_some(topic.partitions, 'partition')}, {'one copy' if copies == 1 else f'{copies} copies'} of each{_settings(topic.settings)}"


def producer_words(producer: Producer) -> str:
    """Return a producer in words: who sends what, when, with which keys."""
    processes = "process" if producer.count == 1 else "processes"
    load = f"{arrivals_words(producer)}; {_keys(producer)}, of {_distribution(producer.size, 'B')}"
    poison = f"; {percent(producer.poison)} of the events can never be processed" if producer.poison else ""
    return f"{producer.count} {processes} to {producer.topic}: {load}{poison}{_settings(producer.settings)}"


def arrivals_words(producer: Producer) -> str:
    """Return arrivals in words: `300/s for 20s, then 300/s rising to 400/s for 10s`."""
    if producer.recorded is not None:
        return f"events as recorded in {producer.recorded.trace}"
    if producer.daily is not None:
        return "every day " + ", then ".join(_part(part) for part in producer.daily.daily) + " events"
    return ", then ".join(_part(part) for part in producer.arrivals if isinstance(part, Arrivals)) + " events"


def _part(part: Arrivals) -> str:
    low, high = part.rate
    match part.spacing:
        case "even":
            spacing = ", evenly spaced"
        case Bursts(bursts=size):
            spacing = f", in bursts of {size}"
        case _:
            spacing = ""
    rate = f"{low:g}/s" if low == high else f"{low:g}/s {'rising' if high > low else 'falling'} to {high:g}/s"
    return rate + (f" for {format_duration(part.for_ns)}" if part.for_ns is not None else "") + spacing


def _keys(producer: Producer) -> str:
    match producer.key:
        case "none":
            return "without keys"
        case "sequence":
            return "each event with a key of its own"
        case UniformKeys(uniform=values):
            return f"{count_text(values)} keys, equally likely"
        case ZipfKeys(zipf=shape):
            return f"{count_text(shape.values)} keys, skewed (Zipf {shape.exponent:g})"
        case HotKeys(hot=hot):
            return f"{count_text(hot.values)} keys, one of which takes {percent(hot.share)}"


def group_words(group: Group) -> str:
    """Return a group in words: who reads what, how long it works, what it does about failures."""
    said = f"{_some(group.members, 'member')} of {', '.join(group.topics)}, {_distribution(group.work, 'ns')} of work for each event"
    commit = group.commit if isinstance(group.commit, str) else f"every {format_duration(group.commit.every)}"
    said += f"; commits {commit.replace('_', ' ')}"
    if group.failures is not None:
        tries = group.failures.retry.attempts
        then = {
            "dead_letter": f"to {group.failures.dead_letter}",
            "skip": "skipped",
            "stop": "the member stops",
            "crash": "the member dies of it and is started again",
            "release": "given back",
        }[group.failures.then]
        said += f"; a failed event is tried {'once' if tries == 1 else f'{tries} times'}, then {then}"
    return said + _settings(group.settings)


def _distribution(distribution: Distribution, unit: str) -> str:
    mean = float(distribution.mean)
    text = format_duration(mean) if unit == "ns" else f"{mean:.4g} B"
    return text if isinstance(distribution, Constant) else f"{text} on average"


def _settings(settings: Mapping[str, object]) -> str:
    said = ", ".join(
        f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in settings.items()
    )
    return f" ({said})" if said else ""


def _some(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")
