"""Lint of what is kept, watched and shown: retention and tiering, objectives, scaling, labels, secrets and personal data."""

import re
from collections.abc import Iterator
from pathlib import Path as FilePath

from scenarios.clients import as_int, consumer_settings, producer_settings, topic_setting
from scenarios.errors import Path
from scenarios.faults import PollStall, Retention
from scenarios.finding import Finding
from scenarios.load import try_ns
from scenarios.quantities import MILLISECOND, SECOND, format_duration
from scenarios.schema import FilePayload, Scenario, Settings

_MOST_SERIES = 10_000
_LOOKED_AT = 200
"""Lines of a payload file."""
_ARCHIVES = re.compile(r"archiv|audit|backup|cold", re.IGNORECASE)
_SECRETS = re.compile(r"password|secret|sasl\.jaas\.config|oauthbearer\.config|\.pem$|private", re.IGNORECASE)
_PERSONAL = {
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}"),
    "what looks like an IBAN": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b"),
}
_DIGITS = re.compile(r"(?<![\d.])(?:\d[ -]?){12,18}\d(?![\d.])")


def kept_for_nothing(scenario: Scenario) -> Iterator[Finding]:
    """Retention and tiering that cost more than they serve."""
    for name, topic in scenario.topics.items():
        place: Path = ("topics", name, "settings")
        settings = topic.settings
        compacts = "compact" in str(topic_setting(scenario, name, "cleanup.policy"))
        for setting in ("retention.ms", "retention.bytes"):
            other = {"retention.ms": "retention.bytes", "retention.bytes": "retention.ms"}[setting]
            endless = (
                as_int(topic_setting(scenario, name, setting)) < 0 and as_int(topic_setting(scenario, name, other)) < 0
            )
            if setting in settings and endless and not compacts:
                message = "is -1, and nothing else ends it: the topic grows until a disk is full; give it an end, or cleanup.policy: compact"
                yield Finding((*place, setting), message)
        tiered = str(settings.get("remote.storage.enable", "false")).lower() == "true"
        local, kept = settings.get("local.retention.ms"), as_int(topic_setting(scenario, name, "retention.ms"))
        if tiered and (local is None or as_int(local) < 0 or as_int(local) >= kept >= 0):
            own = "local.retention.ms" if local is not None else "remote.storage.enable"
            message = "tiers records that stay on the brokers' disks just as long, so they are paid for twice; set local.retention.ms below retention.ms"
            yield Finding((*place, own), message)


def missed_from_the_start(scenario: Scenario) -> Iterator[Finding]:
    """Objectives that the work alone breaks, so that their alerts fire all the time."""
    for name, objective in scenario.objectives.items():
        if objective.indicator != "latency" or objective.below is None:
            continue
        groups = [n for n, g in scenario.groups.items() if objective.of in (None, n, *g.topics)]
        for group in groups:
            feeding = [n for n, p in scenario.producers.items() if p.topic in scenario.groups[group].topics]
            linger = min((producer_settings(scenario, each).linger_ns for each in feeding), default=0)
            least = linger / 2 + try_ns(scenario, group)
            if least > objective.below:
                message = (
                    f"is {format_duration(objective.below)}, and lingering and work alone take about {format_duration(least)} in {group}: "
                    "it is missed all the time, and so would its alerts fire; raise it, or make the work faster"
                )
                yield Finding(("objectives", name, "below"), message)
                break


def unwatched_archives(scenario: Scenario) -> Iterator[Finding]:
    """A path for the records that nobody would miss until they are needed."""
    watched = {each.indicator.where for each in scenario.expect} | {each.of for each in scenario.objectives.values()}
    watched_topics = {str(where).partition("/")[0] for where in watched}
    for name, group in scenario.groups.items():
        if not _ARCHIVES.search(name) and not any(_ARCHIVES.search(topic) for topic in group.topics):
            continue
        if name not in watched and not watched_topics & {t for t in group.topics if _ARCHIVES.search(t)}:
            message = f"looks like an archive, and no expectation or objective is about it; add one, such as delivery[{name}] > 99.9%"
            yield Finding(("groups", name), message)


def slow_scaling(scenario: Scenario) -> Iterator[Finding]:
    """New members that are there only after the time in which all should be well again."""
    for name, group in scenario.groups.items():
        scaler = group.autoscaler
        if scaler is None:
            continue
        takes = scaler.poll + scaler.start_up
        for index, each in enumerate(scenario.expect):
            about = each.indicator.where in (None, name, *group.topics)
            if each.indicator.kind == "drain_time" and about and each.op in ("<", "<=") and each.bound * SECOND < takes:
                message = (
                    f"asks for less than {format_duration(each.bound * SECOND)}, and a new member of {name} is there after up to "
                    f"{format_duration(takes)} (poll and start_up of its autoscaler); scale earlier, or keep members in reserve"
                )
                yield Finding(("expect", index), message)
        partitions = sum(scenario.topics[topic].partitions for topic in group.topics)
        if scaler.max > partitions and not group.share_group:
            message = f"is {scaler.max}, and there are {partitions} partitions to read: more members would be idle; use {partitions}"
            yield Finding(("groups", name, "autoscaler", "max"), message)


def too_many_series(scenario: Scenario) -> Iterator[Finding]:
    """Labels without bounds: exporters show lag for each group and partition."""
    series = sum(scenario.topics[topic].partitions for group in scenario.groups.values() for topic in group.topics)
    if series > _MOST_SERIES:
        largest = max(scenario.topics, key=lambda topic: scenario.topics[topic].partitions)
        message = (
            f"make {series:,} series of each lag metric, one for each group and partition; alert on sums by group and topic, "
            "or use fewer partitions"
        )
        yield Finding(("topics", largest, "partitions"), message)


def secrets_in_files(scenario: Scenario) -> Iterator[Finding]:
    """Secrets in a text that is recorded with every run, and logs that hold payloads."""
    for place, settings in _client_settings(scenario):
        for name, value in settings.items():
            if _SECRETS.search(name) and str(value) and not name.endswith((".location", ".type", ".path")):
                message = "is a secret, and the scenario is stored with every run; keep it in the environment or in a file of client settings"
                yield Finding((*place, name), message)
            if name == "debug" and {"all", "msg", "protocol"} & set(str(value).replace(" ", "").split(",")):
                message = f"is {value}, which writes records to the log; leave it out, or use a context without payloads such as cgrp"
                yield Finding((*place, name), message)


def _client_settings(scenario: Scenario) -> Iterator[tuple[Path, Settings]]:
    yield ("brokers", "settings"), scenario.brokers.settings
    for name, producer in scenario.producers.items():
        yield ("producers", name, "settings"), producer.settings
    for name, group in scenario.groups.items():
        yield ("groups", name, "settings"), group.settings
        for index, emits in enumerate(group.emits):
            yield ("groups", name, "emits", index, "settings"), emits.settings


def personal_data(scenario: Scenario) -> Iterator[Finding]:
    """Payloads that hold what should not stand there in plain."""
    for name, producer in scenario.producers.items():
        if not isinstance(producer.payload, FilePayload):
            continue
        place: Path = ("producers", name, "payload", "file")
        file = FilePath(producer.payload.file)
        if not file.is_file():
            yield Finding(
                place, f"is {producer.payload.file!r}, and there is no such file yet; a run needs it, one value a line"
            )
            continue
        found = _sensitive(file)
        if found is not None:
            line, what = found
            message = f"holds {what} in line {line}, in plain: it would go over the wire, into logs and into datasets; make it up, or encrypt it"
            yield Finding(place, message)


def _sensitive(file: FilePath) -> tuple[int, str] | None:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in zip(range(1, _LOOKED_AT + 1), lines, strict=False):
            for what, pattern in _PERSONAL.items():
                if pattern.search(line):
                    return number, what
            if any(_is_card(match[0]) for match in _DIGITS.finditer(line)):
                return number, "what looks like a card number"
    return None


def _is_card(text: str) -> bool:
    """Whether digits carry the check digit of payment cards (Luhn)."""
    digits = [int(c) for c in text if c.isdigit()][::-1]
    doubled = [d if i % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for i, d in enumerate(digits)]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0


def retention_that_comes_late(scenario: Scenario) -> Iterator[Finding]:
    """Records that are looked at for deletion only after the fault is over."""
    for index, fault in enumerate(scenario.faults):
        if not isinstance(fault, Retention) or fault.length_ns is None:
            continue
        every = as_int(scenario.brokers.settings.get("log.retention.check.interval.ms", 300_000)) * MILLISECOND
        if every > fault.length_ns:
            message = (
                f"lasts {format_duration(fault.length_ns)}, and brokers look for what to delete each {format_duration(every)} "
                "(log.retention.check.interval.ms), so it may well have no effect; set that to 1000 under brokers.settings"
            )
            yield Finding(("faults", index, "for"), message)


def unused_lengths(scenario: Scenario) -> Iterator[Finding]:
    """Two lengths for one fault."""
    for index, fault in enumerate(scenario.faults):
        if fault.random is not None and fault.random.mean_for is not None and fault.length_ns is not None:
            message = "is not used beside `mean_for`, by which lengths are random; remove one of them"
            yield Finding(("faults", index, "for"), message)


def sweeps_aside(scenario: Scenario) -> Iterator[Finding]:
    """A single run takes the file's own values."""
    if scenario.sweep:
        yield Finding(
            ("sweep",), "is run by `ed.sweep`; simulate, drive and verify take the values that stand in the file"
        )


def long_polls(scenario: Scenario) -> Iterator[Finding]:
    """A stalled handler that nobody notices."""
    for index, fault in enumerate(scenario.faults):
        if isinstance(fault, PollStall) and fault.length_ns is not None:
            limit = consumer_settings(scenario, fault.member.group).max_poll_interval_ns
            if fault.length_ns < limit:
                message = (
                    f"lasts {format_duration(fault.length_ns)}, and a member may go without a poll for {format_duration(limit)} "
                    "(max.poll.interval.ms), so nobody takes over; that is what is tried here, or make it longer"
                )
                yield Finding(("faults", index, "for"), message)
