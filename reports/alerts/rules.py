"""Prometheus rule files: read with every mistake at its line, written so that Prometheus reads the same."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from reports.alerts import promql
from reports.alerts.series import AlertError
from scenarios.errors import Problem, ScenarioError, format_path, show
from scenarios.files import read_text, validated
from scenarios.model import Frozen
from scenarios.yaml_text import Marked, read_yaml, write_yaml

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_TEMPLATE = re.compile(r"\{\{\s*\$labels\.([a-zA-Z_][a-zA-Z0-9_]*)\s*\}\}")


_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:(\d+){unit})?" for unit in _UNITS_MS) + r"\Z")
_TIMES = ("for", "keep_firing_for", "interval")


def _millis(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):  # from Python
        return raw
    found = _DURATION.match(str(raw)) if raw else None
    if found is None and raw != "0":
        raise ValueError(f"is {show(raw)}; Prometheus writes a time like 30s, 5m or 1h30m")
    parts = found.groups("0") if found else ()
    return sum(int(count) * size for count, size in zip(parts, _UNITS_MS.values(), strict=False))


def duration_text(ms: int) -> str:
    """Return milliseconds the way Prometheus writes them: `1h30m`."""
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        size = _UNITS_MS[unit]
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _word(raw: object) -> object:
    return str(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


Millis = Annotated[int, BeforeValidator(_millis)]
Word = Annotated[str, BeforeValidator(_word)]


class Rule(Frozen):
    """One rule: an alert, or a series that is recorded."""

    expr: Word
    """PromQL."""
    alert: str | None = None
    record: str | None = None
    for_ms: Annotated[Millis, Field(alias="for")] = 0
    keep_firing_for: Millis = 0
    labels: Mapping[str, Word] = {}
    annotations: Mapping[str, Word] = {}

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Rule":
        if (self.alert is None) == (self.record is None):
            raise ValueError("is either `alert: NAME` or `record: METRIC`, one of them")
        if self.record is not None and not _METRIC.match(self.record):
            raise ValueError(f"records {show(self.record)}, which is no name of a metric")
        if self.record is not None and (self.for_ms or self.keep_firing_for or self.annotations):
            raise ValueError("records a series; `for`, `keep_firing_for` and `annotations` belong to alerts")
        return self

    @property
    def name(self) -> str:
        """The alert's or the recorded series' name."""
        return self.alert or self.record or ""

    @property
    def severity(self) -> str:
        """What the label `severity` says: page, ticket or what the user calls it; empty without one."""
        return self.labels.get("severity", "")

    @cached_property
    def tree(self) -> Any:
        """The parsed expression."""
        return promql.parse(self.expr)

    def label_values(self, of: Mapping[str, str]) -> dict[str, str]:
        """Return the rule's own labels; `{{ $labels.x }}` is filled in from a series' labels."""
        return {name: _TEMPLATE.sub(lambda hit: of.get(hit[1], ""), text) for name, text in self.labels.items()}


class RuleGroup(Frozen):
    """Rules that are evaluated together, one after the other."""

    name: str
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    interval: Millis = 0
    """0: the evaluation's usual one."""


class RuleFile(Frozen):
    """A whole file."""

    groups: tuple[RuleGroup, ...]

    @property
    def rules(self) -> Iterator[Rule]:
        """All rules in the order of evaluation."""
        return (rule for group in self.groups for rule in group.rules)

    @property
    def alerts(self) -> tuple[Rule, ...]:
        """The rules that alert."""
        return tuple(rule for rule in self.rules if rule.alert is not None)


@dataclass(frozen=True)
class _Place:
    group: int
    rule: int

    def path(self, field: str) -> str:
        return format_path(("groups", self.group, "rules", self.rule, field))

    def mark(self, marked: Marked, field: str) -> tuple[int | None, int | None]:
        return marked.mark(("groups", self.group, "rules", self.rule, field))


def read_rules(path: Path | str) -> RuleFile:
    """Read a rule file, or a PrometheusRule of Kubernetes; raise ScenarioError with every mistake."""
    return parse_rules(read_text(Path(path), str(path)), str(path))


def parse_rules(text: str, source: str) -> RuleFile:
    """Read rules from text."""
    marked = _unwrapped(read_yaml(text, source))
    numbers_as_text(marked.value, _TIMES)
    file = validated(RuleFile, marked, source)
    problems = [
        Problem(place.path(field), message, *place.mark(marked, field))
        for place, field, message in [*_unparsed(file), *_unordered(file), *_repeats(file)]
    ]
    if problems:
        raise ScenarioError(source, sorted(problems, key=lambda problem: problem.line or 0))
    return file


def _unwrapped(marked: Marked) -> Marked:
    """Take the rules out of a Kubernetes object."""
    value = marked.value
    if isinstance(value, dict) and value.get("kind") == "PrometheusRule" and isinstance(value.get("spec"), dict):
        return Marked(value["spec"], {path[1:]: mark for path, mark in marked.marks.items() if path[:1] == ("spec",)})
    return marked


def numbers_as_text(value: Any, keys: Sequence[str]) -> None:
    """Make text of times that were written as bare numbers, which Prometheus does not take."""
    if isinstance(value, dict):
        value |= {key: str(value[key]) for key in keys if isinstance(value.get(key), int)}
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        numbers_as_text(inner, keys)


_Found = Iterator[tuple[_Place, str, str]]


def _places(file: RuleFile) -> Iterator[tuple[_Place, Rule]]:
    for group_number, group in enumerate(file.groups):
        for number, rule in enumerate(group.rules):
            yield _Place(group_number, number), rule


def _unparsed(file: RuleFile) -> _Found:
    for place, rule in _places(file):
        try:
            promql.parse(rule.expr)
        except AlertError as error:
            yield place, "expr", f"of {rule.name}: {error}"
        for name, text in rule.labels.items():
            if "{{" in _TEMPLATE.sub("", text):
                yield (
                    place,
                    "labels",
                    f"has {name}: {show(text)}; of templates only {{{{ $labels.NAME }}}} is filled in",
                )


def _unordered(file: RuleFile) -> _Found:
    """Find rules that read what is recorded only later, or what alerts show: their values would depend on the evaluation before."""
    rules = list(_places(file))
    for number, (place, rule) in enumerate(rules):
        later = [other for _, other in rules[number:] if other.record is not None]
        try:
            trees = promql.selectors(promql.parse(rule.expr))
        except AlertError:
            continue
        for selector in trees:
            if selector.name in ("ALERTS", "ALERTS_FOR_STATE"):
                yield place, "expr", f"of {rule.name} reads {selector.name}, which is not evaluated here"
            elif late := next((other for other in later if _is_read(selector, other)), None):
                yield (
                    place,
                    "expr",
                    f"of {rule.name} reads {late.record}, which is recorded only later; record it before",
                )


def _is_read(selector: Any, rule: Rule) -> bool:
    """Whether a selector can choose what a rule records; a label that is a template may have any value."""
    fixed = {name: text for name, text in rule.labels.items() if "{{" not in text}
    return promql.reads(selector, rule.record or "", fixed)


def _repeats(file: RuleFile) -> _Found:
    seen = set[tuple[str, str, tuple[tuple[str, str], ...]]]()
    for place, rule in _places(file):
        key = (rule.name, rule.expr, tuple(sorted(rule.labels.items())))
        if key in seen:
            yield place, "alert" if rule.alert else "record", f"{rule.name} is there twice with the same labels"
        seen.add(key)


# ---- out -------------------------------------------------------------------------------------------------------------


def rules_yaml(groups: Sequence[RuleGroup]) -> str:
    """Return a rule file that Prometheus and `read_rules` read as the same rules."""
    return write_yaml({"groups": [_group_document(group) for group in groups]})


def _group_document(group: RuleGroup) -> dict[str, Any]:
    interval = {"interval": duration_text(group.interval)} if group.interval else {}
    return {"name": group.name, **interval, "rules": [_rule_document(rule) for rule in group.rules]}


def _rule_document(rule: Rule) -> dict[str, Any]:
    document: dict[str, Any] = {"alert": rule.alert} if rule.alert else {"record": rule.record}
    document["expr"] = rule.expr
    for key, span in (("for", rule.for_ms), ("keep_firing_for", rule.keep_firing_for)):
        if span:
            document[key] = duration_text(span)
    for key, words in (("labels", rule.labels), ("annotations", rule.annotations)):
        if words:
            document[key] = dict(words)
    return document
