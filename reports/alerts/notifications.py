"""Pages as Alertmanager sends them: alerts of a group go out together after a wait, again when something changed, and as a reminder."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from reports.alerts.series import Labels, only
from reports.alerts.states import Span

Reason = Literal["new", "repeat", "resolved"]


@dataclass(frozen=True)
class Matcher:
    """A label's test, as Alertmanager writes it; a label that is not there is empty."""

    name: str
    op: str
    """=, !=, =~ or !~"""
    value: str

    def holds(self, labels: Labels) -> bool:
        """Whether labels pass."""
        found = dict(labels).get(self.name, "")
        equal = re.fullmatch(self.value, found) is not None if "~" in self.op else found == self.value
        return equal != self.op.startswith("!")


def _all_hold(matchers: Sequence[Matcher], labels: Labels) -> bool:
    return all(matcher.holds(labels) for matcher in matchers)


@dataclass(frozen=True)
class Inhibition:
    """While an alert that passes `source` fires, those that pass `target` are held back where `equal` labels agree."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()

    def holds_back(self, target: Span, sources: Sequence[Span], at_ms: int) -> bool:
        """Whether a source that fires at an instant holds an alert back; one that is both cannot hold back its like."""
        if not _all_hold(self.target, target.labels):
            return False
        both, equal = _all_hold(self.source, target.labels), only(target.labels, self.equal)
        return any(
            source is not target
            and source.firing_at(at_ms)
            and only(source.labels, self.equal) == equal
            and not (both and _all_hold(self.target, source.labels))
            for source in sources
        )


ALL_LABELS = "..."
"""In `group_by`: every alert is a group of its own."""


@dataclass(frozen=True)
class Route:
    """Which alerts go here, and how they are grouped, delayed and repeated; Alertmanager's own defaults."""

    matchers: tuple[Matcher, ...] = ()
    group_by: tuple[str, ...] = ()
    group_wait_ms: int = 30_000
    group_interval_ms: int = 300_000
    repeat_interval_ms: int = 14_400_000

    def group_of(self, labels: Labels) -> Labels:
        """Return the group that an alert belongs to."""
        return labels if ALL_LABELS in self.group_by else only(labels, self.group_by)


PAGES_HOLD_BACK_TICKETS = Inhibition(
    (Matcher("severity", "=", "page"),), (Matcher("severity", "=", "ticket"),), ("objective", "group")
)


@dataclass(frozen=True)
class Routing:
    """Routes in the order in which an alert tries them, and inhibitions; where nothing else is said, one route by alert and severity."""

    routes: tuple[Route, ...] = (Route(group_by=("alertname", "severity")),)
    inhibitions: tuple[Inhibition, ...] = (PAGES_HOLD_BACK_TICKETS,)

    def route_of(self, labels: Labels) -> int | None:
        """Return the number of the first route that takes an alert."""
        return next((n for n, route in enumerate(self.routes) if _all_hold(route.matchers, labels)), None)


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
    groups: dict[tuple[int, Labels], list[Span]] = {}
    for span in sorted(fired, key=lambda one: one.fired_ms or 0):
        number = routing.route_of(span.labels)
        if number is not None:
            groups.setdefault((number, routing.routes[number].group_of(span.labels)), []).append(span)
    guards = [(each, [span for span in fired if _all_hold(each.source, span.labels)]) for each in routing.inhibitions]
    sent = [
        message
        for (number, labels), members in groups.items()
        for message in _of_group(labels, members, guards, routing.routes[number], end_ms)
    ]
    return sorted(sent, key=lambda one: (one.at_ms, one.group))


def _of_group(
    labels: Labels, members: Sequence[Span], guards: _Guards, route: Route, end_ms: int
) -> Iterator[Notification]:
    """Yield a group's messages. The group lives from its first alert until all are resolved, and is made anew for the next."""
    log: _Sent | None = None
    number = 0
    while number < len(members):
        tick = (members[number].fired_ms or 0) + route.group_wait_ms
        held: list[Span] = []
        while tick <= end_ms:
            while number < len(members) and (members[number].fired_ms or 0) <= tick:
                held.append(members[number])
                number += 1
            shown = [span for span in held if not _muted(span, guards, tick)]
            firing = [span for span in shown if span.firing_at(tick)]
            resolved = [span for span in shown if not span.firing_at(tick)]
            reason = _reason(log, firing, resolved, tick, route)
            if reason is not None:
                before = log.firing if log else frozenset()
                new = tuple(span for span in firing if span.labels not in before)
                yield Notification(tick, labels, reason, tuple(firing), new)
                log = _Sent(tick, frozenset(s.labels for s in firing), frozenset(s.labels for s in resolved))
            held = [span for span in held if span.firing_at(tick)]
            if not held:
                break
            tick += route.group_interval_ms
        if tick > end_ms:
            return


@dataclass(frozen=True)
class _Sent:
    """What Alertmanager remembers of its last message."""

    at_ms: int
    firing: frozenset[Labels]
    resolved: frozenset[Labels]


def _reason(
    log: _Sent | None, firing: Sequence[Span], resolved: Sequence[Span], tick: int, route: Route
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
    return "repeat" if log.at_ms < tick - route.repeat_interval_ms else None


def _muted(span: Span, guards: _Guards, tick: int) -> bool:
    return any(inhibition.holds_back(span, sources, tick) for inhibition, sources in guards)
