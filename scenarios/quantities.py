"""Quantities with units: `250ms`, `600/s`, `16KiB`, `0.1%`. A bare number where a unit is due is refused with the units that fit."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from scenarios.errors import show

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR

_DURATION_NS: Mapping[str, int] = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "min": MINUTE,
    "h": HOUR,
    "d": DAY,
}
_SIZE_BYTES: Mapping[str, int] = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_PER_SECOND: Mapping[str, Decimal] = {
    "/s": Decimal(1),
    "/min": Decimal(1) / 60,
    "/m": Decimal(1) / 60,
    "/h": Decimal(1) / 3600,
    "/d": Decimal(1) / 86400,
}
_BYTES_PER_SECOND: Mapping[str, int | Decimal] = {
    **{f"{suffix}/s": scale for suffix, scale in _SIZE_BYTES.items()},
    "bit/s": Decimal(1) / 8,
    "kbit/s": Decimal(10**3) / 8,
    "Mbit/s": Decimal(10**6) / 8,
    "Gbit/s": Decimal(10**9) / 8,
}
_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*\Z")
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Unit:
    """A kind of quantity: its name, an example, and how much each written unit is of the base unit."""

    name: str
    example: str
    scale: Mapping[str, int | Decimal]
    whole: bool
    """Whether values are kept as integers of the base unit (nanoseconds, bytes)."""


DURATION = Unit("duration", "250ms, 5s or 2m", _DURATION_NS, whole=True)
SIZE = Unit("size", "200B, 16KiB or 1MiB", _SIZE_BYTES, whole=True)
RATE = Unit("rate", "600/s or 10/min", _PER_SECOND, whole=False)
BANDWIDTH = Unit("bandwidth", "1MiB/s or 10Mbit/s", _BYTES_PER_SECOND, whole=False)
SHARE = Unit("share", "0.1% or 20%", {"%": Decimal(1) / 100}, whole=False)


def parse(text: object, unit: Unit) -> int | float:
    """Return `text` in the base unit (ns, bytes, 1/s, share of 1); raise ValueError with the units that fit."""
    units = ", ".join(unit.scale)
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise ValueError(f"is {show(text)}; a {unit.name} is written like {unit.example}")
    match = _NUMBER.match(str(text))
    if match is None:
        raise ValueError(f"is {show(text)}; a {unit.name} is written like {unit.example}")
    number, suffix = match.groups()
    if not suffix:
        raise ValueError(
            f"is {show(text)} without a unit; a {unit.name} needs one of {units}: for example {unit.example}"
        )
    if suffix not in unit.scale:
        raise ValueError(f"is {show(text)}; {suffix!r} is no unit of a {unit.name}, which takes one of {units}")
    try:
        value = Decimal(number) * unit.scale[suffix]
    except ArithmeticError:
        raise ValueError(f"is {show(text)}; that number is out of range") from None
    if value < 0:
        raise ValueError(f"is {show(text)}; a {unit.name} is never negative")
    if value > _INT64_MAX or not math.isfinite(float(value)):
        raise ValueError(f"is {show(text)}; that is more than can be counted in 64 bits")
    return int(value.to_integral_value()) if unit.whole else float(value)


def duration_ns(text: object) -> int:
    """Return a duration such as `250ms` in nanoseconds."""
    return int(parse(text, DURATION))


def positive_duration_ns(text: object) -> int:
    """Return a duration longer than nothing in nanoseconds."""
    if isinstance(text, str) and text.strip()[:1] == "-" and _NUMBER.match(text):
        raise ValueError(f"is {show(text)}; it lasts longer than 0 s")
    value = duration_ns(text)
    if value == 0:
        raise ValueError(f"is {show(text)}; it lasts longer than 0 s")
    return value


def signed_duration_ns(text: object) -> int:
    """Return a duration that may lie before: `-5s` or `5s`."""
    if isinstance(text, str) and text.strip()[:1] == "-":
        return -duration_ns(text.strip()[1:])
    return duration_ns(text)


def rate_hz(text: object) -> float:
    """Return a rate such as `600/s` per second."""
    return float(parse(text, RATE))


def bandwidth(text: object) -> float:
    """Return a bandwidth such as `1MiB/s` in bytes per second."""
    value = float(parse(text, BANDWIDTH))
    if value == 0:
        raise ValueError(f"is {show(text)}; nothing would ever get through, which is what the fault `cut` is for")
    return value


def size_bytes(text: object) -> int:
    """Return a size such as `16KiB` in bytes."""
    return int(parse(text, SIZE))


def share(text: object) -> float:
    """Return a share such as `0.1%` as a fraction of one."""
    value = float(parse(text, SHARE))
    if value > 1:
        raise ValueError(f"is {show(text)}; a share is at most 100%")
    return value


def exact_duration(ns: int) -> str:
    """Return a duration that reads back as the same: the largest unit that needs no fraction."""
    for suffix in ("h", "m", "s", "ms", "us"):
        if ns and ns % _DURATION_NS[suffix] == 0:
            return f"{ns // _DURATION_NS[suffix]}{suffix}"
    return f"{ns}ns" if ns else "0s"


def exact_signed_duration(ns: int) -> str:
    """Return a duration that may lie before, and reads back as the same."""
    return f"-{exact_duration(-ns)}" if ns < 0 else exact_duration(ns)


def exact_bandwidth(bytes_per_s: float) -> str:
    """Return a bandwidth that reads back as the same."""
    return f"{_plain(Decimal(repr(bytes_per_s)))}B/s"


def exact_rate(hz: float) -> str:
    """Return a rate that reads back as the same."""
    return f"{_plain(Decimal(repr(hz)))}/s"


def exact_share(value: float) -> str:
    """Return a share that reads back as the same."""
    return f"{_plain(Decimal(repr(value)) * 100)}%"


def exact_size(count: float) -> str:
    """Return a size that reads back as the same."""
    return f"{_plain(Decimal(repr(count)))}B"


def _plain(number: Decimal) -> str:
    number = number.normalize()
    return format(number, "f") if -20 < int(number.as_tuple().exponent) < 20 else str(number)


def format_duration(ns: float) -> str:
    """Return nanoseconds the way people write them: `1.25s`, `8.4ms`, `2m 5s`."""
    if not math.isfinite(ns):
        return "never" if ns > 0 else "-"
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns >= 2 * MINUTE:
        minutes, rest = divmod(round(ns / SECOND), 60)
        hours, minutes = divmod(minutes, 60)
        parts = ([f"{hours}h"] if hours else []) + ([f"{minutes}m"] if minutes else []) + ([f"{rest}s"] if rest else [])
        return sign + " ".join(parts)
    for suffix, scale in (("s", SECOND), ("ms", MILLISECOND), ("us", MICROSECOND)):
        if ns >= scale:
            return f"{sign}{ns / scale:.4g}{suffix}"
    return f"{sign}{ns:.4g}ns" if ns else "0s"
