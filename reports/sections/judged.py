"""Whether the prediction held: a sentence, and a row for each figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.agreement import Verdict, is_count
from reports.contents import Contents
from reports.sections.badges import Badge, badge
from reports.sources import source_text
from reports.words import difference_text, indicator_words, interval_text, value_text
from scenarios.expectations import BEFORE_FAULTS, parse_indicator

_PLAIN = ("inside the 95 % interval", "inside the 99.9 % bounds")
"""Reasons that the interval beside them shows."""


@dataclass(frozen=True)
class Dots:
    """An interval with the predicted and the observed value on it, in percent of the width."""

    low: float
    high: float
    predicted: float
    observed: tuple[float, ...]


@dataclass(frozen=True)
class JudgedRow:
    """One predicted figure and its verdict."""

    words: str
    name: str
    predicted: str
    interval: str
    observed: str
    repeats: str
    difference: str
    source: str
    badge: Badge
    reason: str
    dots: Dots | None
    given: str
    given_difference: str
    given_badge: Badge | None


def verdict_counts(verdicts: Mapping[str, Verdict]) -> dict[str, int]:
    """Return how many figures got each verdict."""
    found = [verdict.verdict for verdict in verdicts.values()]
    return {outcome: found.count(outcome) for outcome in ("agrees", "cannot tell", "differs")}


def verdict_sentence(verdicts: Mapping[str, Verdict]) -> str:
    """Say in a sentence how the prediction did, and what chance alone would have done."""
    counts, total = verdict_counts(verdicts), len(verdicts)
    differing = [indicator_words(name) for name, verdict in verdicts.items() if verdict.verdict == "differs"]
    said = f"Of {total} figures that were predicted before the run, {counts['agrees']} agree with what was observed"
    if counts["cannot tell"]:
        said += f", {counts['cannot tell']} cannot be told"
    said += (
        f", and {counts['differs']} {'differs' if counts['differs'] == 1 else 'differ'}"
        if differing
        else ", and none differs"
    )
    said += (
        f": {'; '.join(differing[:4])}{f'; and {len(differing) - 4} more' if len(differing) > 4 else ''}."
        if differing
        else "."
    )
    explained = sum(
        verdict.given is not None and verdict.given.verdict == "agrees"
        for verdict in verdicts.values()
        if verdict.verdict == "differs"
    )
    if explained:
        said += f" {explained} of these agree{'s' if explained == 1 else ''} once the observed instants are put into the model."
    by_interval = sum(verdict.verdict != "cannot tell" or verdict.observed is not None for verdict in verdicts.values())
    chance = round(by_interval * 0.05)
    if chance:
        said += (
            f" Chance alone puts about {chance} of {by_interval} outside their 95 % intervals, even of a perfect model."
        )
    return said


def judged_sections(contents: Contents) -> list[dict[str, Any]]:
    """Return the judged figures: before faults, then all of the run, then each group's, folded away unless one differs."""
    sections: dict[str, list[Verdict]] = {}
    for name, verdict in contents.verdicts.items():
        indicator = parse_indicator(name)
        if indicator.where in contents.scenario.groups:
            title = f"Group {indicator.where}"
        elif indicator.narrowed == BEFORE_FAULTS:
            title = "Before the first fault"
        else:
            title = "The whole run, faults included" if contents.scenario.faults else "The whole run"
        sections.setdefault(title, []).append(verdict)
    return [_judged_section(title, found) for title, found in sections.items()]


def _judged_section(title: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    counts = verdict_counts({verdict.name: verdict for verdict in verdicts})
    summary = ", ".join(
        f"{count} {word}"
        for word, count in (
            ("agree", counts["agrees"]),
            ("cannot be told", counts["cannot tell"]),
            ("differ", counts["differs"]),
        )
        if count
    )
    group = title.removeprefix("Group ") if title.startswith("Group ") else ""
    return {
        "title": title,
        "rows": [judged_row(verdict, group) for verdict in verdicts],
        "given": any(verdict.given for verdict in verdicts),
        "folded": bool(group),
        "open": bool(counts["differs"]),
        "summary": summary,
    }


def judged_row(verdict: Verdict, group: str = "") -> JudgedRow:
    """Return a verdict as its row shows it; the group whose section it is in goes without saying."""
    count = is_count(parse_indicator(verdict.name))
    values = [value for value in verdict.repeats if value is not None]
    repeats = (
        f"{len(verdict.repeats)} runs: {interval_text((min(values), max(values)), verdict.unit)}"
        if len(values) > 1
        else ""
    )
    return JudgedRow(
        words=_words_within(verdict.name, group),
        name=verdict.name,
        predicted=value_text(verdict.predicted, verdict.unit),
        interval=interval_text(verdict.interval, verdict.unit),
        observed=value_text(verdict.observed, verdict.unit),
        repeats=repeats,
        difference=difference_text(verdict.difference, count=count),
        source=source_text(verdict.sources),
        badge=badge(verdict.verdict),
        reason="" if verdict.reason in _PLAIN else verdict.reason,
        dots=_dots(verdict),
        given=value_text(verdict.given.predicted, verdict.unit) if verdict.given else "",
        given_difference=difference_text(verdict.given.difference, count=count) if verdict.given else "",
        given_badge=badge(verdict.given.verdict) if verdict.given else None,
    )


def _words_within(name: str, group: str) -> str:
    words = indicator_words(name)
    return words.replace(f" of {group}", "", 1) if group else words


def _dots(verdict: Verdict) -> Dots | None:
    if verdict.interval is None or verdict.predicted is None or verdict.observed is None:
        return None
    values = [
        *verdict.interval,
        verdict.predicted,
        *(value for value in verdict.repeats if value is not None),
        verdict.observed,
    ]
    if not all(math.isfinite(value) for value in values):
        return None
    low, high = min(values), max(values)
    if low == high:
        return None
    room = (high - low) * 0.12
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    # The first run is drawn last, above the others.
    others = [value for value in verdict.repeats[1:] if value is not None]
    return Dots(
        place(verdict.interval[0]),
        place(verdict.interval[1]),
        place(verdict.predicted),
        tuple(map(place, [*others, verdict.observed])),
    )
