"""Checks across a scenario's parts: names that exist, numbers that fit each other, settings that do not contradict."""

from collections.abc import Sequence

from scenarios.errors import Path

Findings = list[tuple[Path, str]]


def findings(value: object, broken: Sequence[Path]) -> Findings:
    """Return what is wrong across the parts of a file's value, leaving out what hangs on places known to be broken."""
    return []
