"""Alertmanager's configuration: the routes and inhibitions of a user's own file. Receivers are not read: whoever gets a message reads it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from reports.alerts.notifications import Inhibition, Matcher, Route, Routing
from reports.alerts.promql import pattern
from reports.alerts.rules import Millis, numbers_as_text
from reports.alerts.series import AlertError
from scenarios.errors import show
from scenarios.files import read_text, validated
from scenarios.model import Frozen
from scenarios.yaml_text import read_yaml

_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"{},]*?))\s*\Z')


def _matchers(raw: object) -> object:
    """Take `severity="page"`, or a list of such, as matchers."""
    if isinstance(raw, str):
        raw = [part for part in raw.strip().removeprefix("{").removesuffix("}").split(",") if part.strip()]
    if not isinstance(raw, list | tuple):
        return raw
    return tuple(_matcher(each) for each in raw)


def _matcher(raw: object) -> Matcher:
    found = _MATCHER.match(str(raw))
    if found is None:
        raise ValueError(f'is {show(raw)}; a matcher is written severity="page", or with =~, != and !~')
    name, op, quoted, bare = found.groups()
    value = quoted.replace('\\"', '"') if quoted is not None else bare
    if "~" in op:
        try:
            pattern(value)
        except AlertError as error:
            raise ValueError(str(error)) from None
    return Matcher(name, op, value)


Matchers = Annotated[tuple[Matcher, ...], BeforeValidator(_matchers)]


class _Route(Frozen):
    receiver: str | None = None
    group_by: tuple[str, ...] | None = None
    group_wait: Millis | None = None
    group_interval: Millis | None = None
    repeat_interval: Millis | None = None
    matchers: Matchers = ()
    match: Mapping[str, str] = {}
    match_re: Mapping[str, str] = {}
    routes: tuple["_Route", ...] = ()

    @property
    def all_matchers(self) -> tuple[Matcher, ...]:
        """The matchers in either way of writing."""
        old = [Matcher(name, "=", value) for name, value in self.match.items()]
        return (*self.matchers, *old, *(Matcher(name, "=~", value) for name, value in self.match_re.items()))


class _Inhibit(Frozen):
    source_matchers: Matchers = ()
    target_matchers: Matchers = ()
    source_match: Mapping[str, str] = {}
    target_match: Mapping[str, str] = {}
    equal: tuple[str, ...] = ()

    def inhibition(self) -> Inhibition:
        """Return the rule as it is evaluated."""

        def both(new: Sequence[Matcher], old: Mapping[str, str]) -> tuple[Matcher, ...]:
            return (*new, *(Matcher(name, "=", value) for name, value in old.items()))

        return Inhibition(
            both(self.source_matchers, self.source_match), both(self.target_matchers, self.target_match), self.equal
        )


class _Config(Frozen):
    route: _Route
    inhibit_rules: tuple[_Inhibit, ...] = ()
    receivers: Any = None
    templates: Any = None
    # `global` is a word of Python's
    settings: Any = None

    @model_validator(mode="before")
    @classmethod
    def _without_global(cls, raw: object) -> object:
        """Set the defaults of receivers aside; what is said nowhere here is an unknown key."""
        if isinstance(raw, Mapping) and "global" in raw:
            return {**{key: value for key, value in raw.items() if key != "global"}, "settings": raw["global"]}
        return raw


def read_alertmanager(path: Path | str) -> Routing:
    """Read a configuration; raise ScenarioError with every mistake, and with what is not modelled (`continue`, muted times)."""
    return parse_alertmanager(read_text(Path(path), str(path)), str(path))


def parse_alertmanager(text: str, source: str) -> Routing:
    """Read a configuration from text."""
    marked = read_yaml(text, source)
    numbers_as_text(marked.value, ("group_wait", "group_interval", "repeat_interval"))
    config = validated(_Config, marked, source)
    return Routing(
        routes=tuple(_leaves(config.route, Route(), ())),
        inhibitions=tuple(rule.inhibition() for rule in config.inhibit_rules),
    )


def _leaves(route: _Route, above: Route, matchers: tuple[Matcher, ...]) -> Iterator[Route]:
    """Yield the routes in the order in which an alert tries them: children before their parent, which takes the rest."""
    own = (*matchers, *route.all_matchers)
    here = Route(
        matchers=own,
        group_by=above.group_by if route.group_by is None else route.group_by,
        group_wait_ms=above.group_wait_ms if route.group_wait is None else route.group_wait,
        group_interval_ms=above.group_interval_ms if route.group_interval is None else route.group_interval,
        repeat_interval_ms=above.repeat_interval_ms if route.repeat_interval is None else route.repeat_interval,
    )
    for child in route.routes:
        yield from _leaves(child, here, own)
    yield here
