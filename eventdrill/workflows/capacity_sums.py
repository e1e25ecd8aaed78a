"""Capacity by arithmetic: what needs no simulation, from a scenario's own figures or from measured ones."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.errors import WrongInputError
from eventdrill.workflows.capacity import bytes_per_s, capacity_hz
from scenarios.load import expected_events
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from reports.capacity_math import Prices
    from scenarios.schema import Scenario

_MOST_POINTS = 100_000


def finite(value: float) -> float | None:
    """Return what JSON can hold: null for what is infinite."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Rates:
    """What arrives, and what can be finished, per second; where both come from."""

    rate_hz: float
    capacity_hz: float
    source: str
    retention_s: float | None = None
    """The shortest of the topics that are read; None where nothing is known of it, or nothing expires."""


def rates_of(scenario: "Scenario", group: str | None) -> Rates:
    """Return the rates of a scenario's group: the planned mean, and members over their mean work."""
    from scenarios.clients import topic_setting

    name = group if group is not None else next(iter(scenario.groups), "")
    if name not in scenario.groups:
        raise WrongInputError(f"--group {name!r}: the scenario has {', '.join(scenario.groups) or 'no groups'}")
    if group is None and len(scenario.groups) > 1:
        raise WrongInputError(f"the scenario has several groups; name one with --group: {', '.join(scenario.groups)}")
    topics = scenario.groups[name].topics
    kept = [int(topic_setting(scenario, topic, "retention.ms")) / 1000 for topic in topics]
    rate = expected_events(scenario, topics) * SECOND / scenario.duration
    return Rates(
        rate, capacity_hz(scenario, name), f"the group {name} of {scenario.scenario}",
        min((each for each in kept if each >= 0), default=None),
    )  # fmt: skip


# ---- drains and outages --------------------------------------------------------------------------------------------


def drain(rates: Rates, *, backlog: float | None, outage_s: float | None, replay_s: float | None) -> dict[str, Any]:
    """Return how long a backlog takes, of events at hand, of an outage, or of what is to be read again."""
    from reports.capacity_math import drain_s

    given = {"--backlog": backlog, "--outage": outage_s, "--replay": replay_s}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise WrongInputError(f"one of {', '.join(given)} says what has to be worked off; {len(named) or 'none'} given")
    behind_s = outage_s if outage_s is not None else replay_s
    events = backlog if backlog is not None else (behind_s or 0.0) * rates.rate_hz
    took = drain_s(events, rates.capacity_hz, rates.rate_hz)
    age = behind_s if behind_s is not None else events / rates.rate_hz if rates.rate_hz else 0.0
    kept = rates.retention_s
    return {
        **_rates_json(rates),
        "backlog": events,
        "drain": finite(took),
        "oldest_event": age,
        "retention": kept,
        "expired": 0.0 if kept is None else max(0.0, age - kept) * rates.rate_hz,
        "time_left_until_loss": None if kept is None else max(0.0, kept - age),
    }


def outage(rates: Rates, recover_s: float) -> dict[str, Any]:
    """Return the longest outage whose backlog is gone within that time after it, and what it piles up."""
    from reports.capacity_math import longest_outage_s

    longest = longest_outage_s(recover_s, rates.capacity_hz, rates.rate_hz)
    return {
        **_rates_json(rates),
        "recover_within": recover_s,
        "longest_outage": finite(longest),
        "backlog": finite(longest * rates.rate_hz),
        "retention": rates.retention_s,
        "expires_first": rates.retention_s is not None and longest > rates.retention_s,
    }


def _rates_json(rates: Rates) -> dict[str, Any]:
    return {
        "source": rates.source, "rate": rates.rate_hz, "capacity": finite(rates.capacity_hz),
        "busy": rates.rate_hz / rates.capacity_hz if rates.capacity_hz else None,
    }  # fmt: skip


# ---- growth --------------------------------------------------------------------------------------------------------


def forecast(capacity: float, rate: float | None, growth: float | None, history: Path | None) -> dict[str, Any]:
    """Return when a growing load reaches the capacity: by a growth that is given, or fitted to what was measured."""
    from reports.capacity_math import fit_growth, runs_out_after_days

    if history is None:
        if rate is None or growth is None:
            raise WrongInputError("name --rate and --growth, or a --history of measured rates")
        days = runs_out_after_days(capacity, rate, growth)
        return {
            "capacity": capacity, "rate": rate, "growth": growth, "growth_interval": None,
            "runs_out_after_days": finite(days), "interval": None, "points": 0, "warnings": [],
        }  # fmt: skip
    if growth is not None or rate is not None:
        raise WrongInputError("--history says how the load grows; leave out --rate and --growth")
    found = fit_growth(_history(history), capacity)
    return {
        "capacity": capacity,
        "rate": found.rate_hz,
        "growth": found.growth,
        "growth_interval": list(found.growth_interval),
        "runs_out_after_days": finite(found.days),
        "interval": [finite(each) for each in found.interval],
        "points": found.points,
        "warnings": list(found.warnings),
    }


def _history(path: Path) -> list[tuple[float, float]]:
    """Return (day, rate) from a CSV file with the columns date and rate; the last day is 0."""
    rows = read_points(path, "date", "rate", first=_day)
    last = max(day for day, _ in rows)
    return sorted((day - last, rate) for day, rate in rows)


def _day(text: str) -> float:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        at = datetime.fromisoformat(text)
        return at.toordinal() + (at.hour * 3600 + at.minute * 60 + at.second) / 86_400


def read_points(path: Path, x: str, y: str, *, first: Any = float) -> list[tuple[float, float]]:
    """Return two columns of a CSV file as numbers; name file, line and value of what is none."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongInputError(f"{path} cannot be read: {error}") from None
    reader = csv.DictReader(text.splitlines())
    names = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in (x, y) if name not in names]
    if missing:
        raise WrongInputError(f"{path}: there is no column {missing[0]!r}; it has {', '.join(names) or 'none'}")
    reader.fieldnames = names
    found = []
    for row in reader:
        values = []
        for name, read in ((x, first), (y, float)):
            try:
                values.append(float(read((row[name] or "").strip())))
            except ValueError:
                raise WrongInputError(
                    f"{path}: line {reader.line_num}: {name} is {row[name]!r}; it is a {'date such as 2026-11-01' if name == 'date' else 'number'}"
                ) from None
        if not math.isfinite(values[1]) or values[1] <= 0 or not math.isfinite(values[0]):
            raise WrongInputError(f"{path}: line {reader.line_num}: {y} is {row[y]!r}; it is a number above 0")
        found.append((values[0], values[1]))
        if len(found) > _MOST_POINTS:
            raise WrongInputError(f"{path}: has more than {_MOST_POINTS} points; take fewer")
    if len(found) < 2:
        raise WrongInputError(f"{path}: has {len(found)} points; at least 2 are needed")
    return found


# ---- scalability ---------------------------------------------------------------------------------------------------


def scaling(points: Sequence[tuple[float, float]], asked_n: float | None, seed: int) -> dict[str, Any]:
    """Return the Universal Scalability Law fitted to (N, throughput), with bootstrap intervals."""
    from reports.capacity_math import fit_scalability

    if len({n for n, _ in points}) < 3:
        raise WrongInputError("the law has three parameters: measure at three or more different N")
    if any(n < 1 for n, _ in points):
        raise WrongInputError("N is at least 1: how many members, brokers or processes there were")
    found = fit_scalability(points, seed=seed, asked_n=asked_n)
    values = {"gamma": found.gamma, "alpha": found.alpha, "beta": found.beta, "peak": found.peak}
    return {
        "points": [{"n": n, "x": x, "fitted": found.at(n)} for n, x in sorted(points)],
        **{
            name: {"value": finite(value), "interval": [finite(each) for each in found.intervals[name]]}
            for name, value in values.items()
        },
        "at_peak": found.at(found.peak) if math.isfinite(found.peak) else None,
        "asked": None if asked_n is None else {"n": asked_n, "x": found.at(asked_n)},
        "warnings": list(found.warnings),
    }


# ---- retention and tiering -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """How long a topic's events are kept, and how long of it on the brokers' own disks."""

    retention_ns: int
    hot_ns: int | None = None
    """The rest lies in tiered storage, once; None: all of it is hot."""


def retention(
    scenario: "Scenario",
    choices: Sequence[Kept],
    *,
    forecast: float = 1.0,
    prices: "Prices | None" = None,
    zones: int = 1,
    replayed_share: float = 0.0,
) -> dict[str, Any]:
    """Return what each topic stores, hot and tiered, and costs, as it is configured and for each choice."""
    return {
        "scenario": scenario.scenario,
        "currency": prices.currency if prices else None,
        "prices_of": prices.date if prices else None,
        "topics": {
            name: _topic_kept(scenario, name, choices, forecast, prices, zones, replayed_share)
            for name in scenario.topics
        },
    }


def _topic_kept(
    scenario: "Scenario", name: str, choices: Sequence[Kept], forecast: float, prices: "Prices | None", zones: int,
    replayed_share: float,
) -> dict[str, Any]:  # fmt: skip
    from reports.capacity_math import kept_bytes, monthly_cost
    from scenarios.clients import topic_setting

    bytes_s = forecast * bytes_per_s(scenario, name)
    configured = int(topic_setting(scenario, name, "retention.ms"))
    own = () if configured < 0 else (Kept(configured * 1_000_000),)
    groups = sum(name in group.topics for group in scenario.groups.values())
    replicas, rows = scenario.replication_of(name), []
    for number, kept in enumerate((*own, *choices)):
        hot, tiered = kept_bytes(bytes_s, kept.retention_ns, kept.hot_ns, replicas)
        cost = None if prices is None else monthly_cost(
            prices, ingress_bytes_s=bytes_s, retention_ns=kept.retention_ns, replicas=replicas, brokers=0, groups=groups,
            hot_ns=kept.hot_ns, zones=zones, replayed_share=replayed_share,
        )  # fmt: skip
        rows.append({
            "retention": kept.retention_ns / SECOND, "hot": None if kept.hot_ns is None else kept.hot_ns / SECOND,
            "as_configured": number < len(own), "hot_bytes": hot, "tiered_bytes": tiered,
            "hot_bytes_per_broker": hot / scenario.brokers.nodes, "month": cost,
            "month_total": None if cost is None else sum(cost.values()),
        })  # fmt: skip
    return {"bytes_per_s": bytes_s, "replicas": replicas, "groups": groups, "kept": rows}
