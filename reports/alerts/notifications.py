"""Pages as Alertmanager sends them: alerts of a group go out together after a wait, again when something changed, and as a reminder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reports.alerts.series import Labels, only
from reports.alerts.states import Span

Reason = Literal["new", "repeat", "resolved"]


@dataclass(frozen=True)
class Inhibition:
    """While an alert with `source` labels fires, those with `target` labels are held back where `equal` labels agree."""

    source: Mapping[str, str]
    target: Mapping[str, str]
    equal: tuple[str, ...] = ()

    def holds_back(self, target: Span, sources: Sequence[Span], at_ms: int) -> bool:
        """Whether a source that fires at an instant holds an alert back; one that is both cannot hold back its like."""
        if not _has(target.labels, self.target):
            return False
        both, equal = _has(target.labels, self.source), only(target.labels, self.equal)
        return any(
            source is not target
            and source.firing_at(at_ms)
            and only(source.labels, self.equal) == equal
            and not (both and _has(source.labels, self.target))
            for source in sources
        )


def _has(labels: Labels, wanted: Mapping[str, str]) -> bool:
    found = dict(labels)
    return all(found.get(name, "") == value for name, value in wanted.items())


@dataclass(frozen=True)
class Routing:
    """How Alertmanager groups, waits, repeats and inhibits; its own defaults, and pages that hold back tickets of the same objective or group."""

    group_by: tuple[str, ...] = ("alertname", "severity")
    group_wait_ms: int = 30_000
    group_interval_ms: int = 300_000
    repeat_interval_ms: int = 14_400_000
    inhibitions: tuple[Inhibition, ...] = (
        Inhibition({"severity": "page"}, {"severity": "ticket"}, ("objective", "group")),
    )


_Guards = Sequence[tuple[Inhibition, Sequence[Span]]]
"""Each inhibition with the alerts that can be its sources."""


@dataclass(frozen=True)
class Notification:
    """One message: when, for which group, why, and which alerts fired in it."""

    at_ms: int
    group: Labels
    reason: Reason
    firing: tuple[Span, ...]
    new: tuple[Span, ...]
    """Those that the message before did not have."""


def notifications(spans: Sequence[Span], routing: Routing, end_ms: int) -> list[Notification]:
    """Return what Alertmanager sends until `end_ms`, in the order of time."""
    fired = [span for span in spans if span.fired_ms is not None]
    groups: dict[Labels, list[Span]] = {}
    for span in sorted(fired, key=lambda one: one.fired_ms or 0):
        groups.setdefault(only(span.labels, routing.group_by), []).append(span)
    guards = [(each, [span for span in fired if _has(span.labels, each.source)]) for each in routing.inhibitions]
    sent = [each for labels, members in groups.items() for each in _of_group(labels, members, guards, routing, end_ms)]
    return sorted(sent, key=lambda one: (one.at_ms, one.group))


def _of_group(
    labels: Labels, members: Sequence[Span], guards: _Guards, routing: Routing, end_ms: int
) -> Iterator[Notification]:
    """Yield a group's messages. The group lives from its first alert until all are resolved, and is made anew for the next."""
    log: _Sent | None = None
    number = 0
    while number < len(members):
        tick = (members[number].fired_ms or 0) + routing.group_wait_ms
        held: list[Span] = []
        while tick <= end_ms:
            while number < len(members) and (members[number].fired_ms or 0) <= tick:
                held.append(members[number])
                number += 1
            shown = [span for span in held if not _muted(span, guards, tick)]
            firing = [span for span in shown if span.firing_at(tick)]
            resolved = [span for span in shown if not span.firing_at(tick)]
            reason = _reason(log, firing, resolved, tick, routing)
            if reason is not None:
                before = log.firing if log else frozenset()
                new = tuple(span for span in firing if span.labels not in before)
                yield Notification(tick, labels, reason, tuple(firing), new)
                log = _Sent(tick, frozenset(s.labels for s in firing), frozenset(s.labels for s in resolved))
            held = [span for span in held if span.firing_at(tick)]
            if not held:
                break
            tick += routing.group_interval_ms
        if tick > end_ms:
            return


@dataclass(frozen=True)
class _Sent:
    """What Alertmanager remembers of its last message."""

    at_ms: int
    firing: frozenset[Labels]
    resolved: frozenset[Labels]


def _reason(
    log: _Sent | None, firing: Sequence[Span], resolved: Sequence[Span], tick: int, routing: Routing
) -> Reason | None:
    now, over = {span.labels for span in firing}, {span.labels for span in resolved}
    if log is None:
        return "new" if now else None
    if not now <= log.firing:
        return "new"
    if not now:
        return "resolved" if log.firing else None
    if not over <= log.resolved:
        return "resolved"
    return "repeat" if log.at_ms < tick - routing.repeat_interval_ms else None


def _muted(span: Span, guards: _Guards, tick: int) -> bool:
    return any(inhibition.holds_back(span, sources, tick) for inhibition, sources in guards)
