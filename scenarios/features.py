"""What a scenario asks for beyond the least that every engine does, by name, so that each engine says in one set what it can do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scenarios.actions import action_kinds
from scenarios.faults import fault_kinds
from scenarios.schema import Dedupe, Group, Producer, Scenario

FIELDS: Mapping[str, str] = {
    "recorded arrivals": "arrivals from a recording",
    "payload": "the user's own values",
    "external producer": "a producer that is the user's own program",
    "transactional producer": "a producer that sends in transactions",
    "workers": "several workers per member",
    "ordered_by none": "workers without an order",
    "ordered_by key": "workers that keep the order of each key",
    "ordered_by partition": "workers that keep the order of each partition",
    "commit transaction": "effects, emitted events and offsets committed together",
    "retry topics": "retries by topic",
    "then crash": "members that die of an event and come back",
    "dedupe": "a memory of event ids",
    "calls": "calls of dependencies",
    "breaker": "circuit breakers",
    "emits": "emitted events",
    "outbox": "an outbox",
    "share_group": "share groups",
    "then release": "failed events that go back to the share group",
    "external group": "a group that is the user's own program",
    "autoscaler": "members by lag",
}
"""Fields by the name that engines know them by."""
FEATURES: frozenset[str] = frozenset({*FIELDS, *fault_kinds(), *action_kinds()})


@dataclass(frozen=True)
class Feature:
    """Something that a scenario asks for: its name, where it stands, and how it is written."""

    name: str
    place: str
    written: str

    def refused_by(self, engine: str, can: frozenset[str]) -> str:
        """Return what to say where an engine cannot do it; what it can do instead is of the same kind."""
        kinds = (frozenset(fault_kinds()), frozenset(action_kinds()), frozenset(FIELDS))
        same = next(kind for kind in kinds if self.name in kind)
        known = ", ".join(sorted(can & same)) or "none of them"
        what = "of faults" if same is kinds[0] else "of actions" if same is kinds[1] else "of such fields"
        return f"{self.place} is {self.written}, which {engine} cannot do yet; {what} it can do {known}"


def follows_a_handler(group: Group) -> list[str]:
    """Return why events of a group are not done when their handler is, so that what follows would come twice in a replay."""
    why = {
        "is a share group": group.share_group,
        "emits events": bool(group.emits),
        "commits in transactions": group.commit == "transaction",
        "retries by topic": group.failures is not None and group.failures.retry.where == "topic",
    }
    return [words for words, holds in why.items() if holds]


def features(scenario: Scenario) -> Iterator[Feature]:
    """Yield everything that a scenario asks for, in the order of the file."""
    for name, producer in scenario.producers.items():
        yield from _of_producer(f"producers.{name}", producer)
    for name, group in scenario.groups.items():
        yield from _of_group(f"groups.{name}", group)
    for index, fault in enumerate(scenario.faults):
        yield Feature(fault.kind, f"faults[{index}].fault", fault.kind)
    for index, action in enumerate(scenario.actions):
        yield Feature(action.kind, f"actions[{index}].action", action.kind)


def refused(scenario: Scenario, engine: str, can: frozenset[str]) -> list[str]:
    """Return what an engine with these abilities cannot do of a scenario, in words."""
    return [feature.refused_by(engine, can) for feature in features(scenario) if feature.name not in can]


def _of_producer(place: str, producer: Producer) -> Iterator[Feature]:
    if producer.recorded is not None:
        yield Feature("recorded arrivals", f"{place}.arrivals", f"{{trace: {producer.recorded.trace}}}")
    if producer.payload is not None:
        yield Feature("payload", f"{place}.payload", "given")
    if producer.external:
        yield Feature("external producer", f"{place}.external", "true")
    if "transactional.id" in producer.settings and not producer.external:
        yield Feature(
            "transactional producer",
            f"{place}.settings['transactional.id']",
            str(producer.settings["transactional.id"]),
        )


def _of_group(place: str, group: Group) -> Iterator[Feature]:
    if group.workers > 1:
        yield Feature("workers", f"{place}.workers", str(group.workers))
        yield Feature(f"ordered_by {group.ordered_by}", f"{place}.ordered_by", group.ordered_by)
    if group.commit == "transaction":
        yield Feature("commit transaction", f"{place}.commit", "transaction")
    if group.failures is not None and group.failures.retry.where == "topic":
        yield Feature("retry topics", f"{place}.failures.retry.where", "topic")
    if group.failures is not None and group.failures.then == "crash":
        yield Feature("then crash", f"{place}.failures.then", "crash")
    if isinstance(group.dedupe, Dedupe):
        yield Feature("dedupe", f"{place}.dedupe", "given")
    for index, call in enumerate(group.calls):
        yield Feature("calls", f"{place}.calls[{index}]", call.dependency)
        if call.breaker is not None:
            yield Feature("breaker", f"{place}.calls[{index}].breaker", "given")
    for index, emits in enumerate(group.emits):
        yield Feature("emits", f"{place}.emits[{index}]", f"{{topic: {emits.topic}}}")
        if emits.outbox is not None:
            yield Feature("outbox", f"{place}.emits[{index}].outbox", "given")
    if group.share_group:
        yield Feature("share_group", f"{place}.share_group", "true")
    if group.failures is not None and group.failures.then == "release":
        yield Feature("then release", f"{place}.failures.then", "release")
    if group.external:
        yield Feature("external group", f"{place}.external", "true")
    if group.autoscaler is not None:
        yield Feature("autoscaler", f"{place}.autoscaler", "given")
