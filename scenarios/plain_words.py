"""Pydantic's findings in words for the person who wrote the file. Where each lies is said by the path."""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scenarios import planned
from scenarios.actions import ACTIONS, action_kinds
from scenarios.errors import Path, and_list, nearest, show
from scenarios.faults import FAULTS, fault_kinds

_WANTED = {
    "scenario": "a name such as orders-leader-crash",
    "duration": "how long the load runs, such as 3m",
    "brokers": "the cluster, such as {kind: kafka, nodes: 3}",
    "topics": "the topics, such as {orders: {partitions: 6}}",
    "producers": "who sends, such as {shop: {topic: orders, arrivals: 600/s}}",
    "topic": "a topic's name",
    "arrivals": "how many events come, such as 600/s",
    "work": "the time a handler needs, such as 2ms",
    "kind": "the broker's kind, such as kafka",
    "for": "how long it lasts, such as 20s",
    "rate": "a rate such as 600/s",
    "then": "what to do after the last try: dead_letter, skip, stop or crash",
    "target": "a share such as 99.9%",
    "indicator": "latency, chain_latency, ack_latency, delivery or availability",
    "fault": "the kind of fault, such as broker_crash",
    "action": "the kind of action, such as replay",
    "broker": "a number from 1, or such as `leader of orders/0`",
    "member": "a member such as fulfilment/1",
    "group": "a group's name",
    "producer": "a producer's name",
    "partition": "a partition such as orders/0",
    "between": "the two ends of the link, such as [clients, broker 1]",
    "from": "where from: earliest, an offset or a time ago",
    "to": "what it is then",
    "by": "how much, such as 5s",
    "takes": "the time of a call, such as 20ms",
    "dependency": "a dependency's name",
    "window": "how long an id is remembered, such as 10m",
    "version": "which version, such as 2",
    "cluster_id": "the cluster's own id",
    "lag": "how many events one member is there for, such as 1000",
    "profile": "the profile's name",
}
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list, such as [a, b]",
    "dict_type": "a mapping of names, such as {name: ...}",
    "model_type": "a mapping of fields, such as {field: value}",
    "model_attributes_type": "a mapping of fields, such as {field: value}",
    "mapping_type": "a mapping of names, such as {name: ...}",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "above"),
    "less_than": ("lt", "below"),
}


def translate(
    error: ValidationError, model: type[BaseModel], value: object, most: int = 200
) -> Iterator[tuple[Path, str]]:
    """Yield place and message of every finding about a file's value."""
    details = error.errors(include_url=False)
    for detail in details[:most]:
        place = _place(detail["loc"], value)
        kind = "action" if place[:1] == ("actions",) else "fault"
        yield (*place, kind) if detail["type"] == "union_tag_invalid" else place, _message(detail, place, model)
    if len(details) > most:
        yield (), f"there are {len(details) - most} more mistakes"


def _place(loc: tuple[int | str, ...], value: object) -> Path:
    """Leave out what pydantic adds to a place: tags of unions, kinds of faults, `[key]`."""
    place: list[str | int] = []
    for index, part in enumerate(loc):
        if isinstance(part, str) and ((part.startswith("<") and part.endswith(">")) or part == "[key]"):
            continue
        if index == 2 and part in _kinds(str(loc[0])):
            continue
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif isinstance(part, int) and part == 0 and place and place[-1] in ("arrivals", "calls", "emits"):
            continue  # one stands for a list of one
        place.append(part)
    return tuple(place)


def _kinds(section: str) -> tuple[str, ...]:
    """Return the words that choose among the models of a section."""
    return {"faults": tuple(fault_kinds()), "actions": tuple(action_kinds())}.get(section, ())


def _message(detail: ErrorDetails, place: Path, model: type[BaseModel]) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    last = str(place[-1]) if place else ""
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return f"is missing; it is {_WANTED.get(last, 'needed here')}"
    if kind == "extra_forbidden":
        return _unknown_field(last, _models_at(model, detail["loc"][:-1]))
    if kind == "literal_error":
        return _unknown_word(last, value, _words(context["expected"]))
    if kind == "union_tag_invalid":
        return unknown_kind(str(place[0]), str(context["tag"]))
    if kind == "union_tag_not_found":
        return f"has no `{str(place[0])[:-1]}:`; it names one of {', '.join(_kinds(str(place[0])))}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"is {show(value)}; it is {words} {context[name]:g}"
    if kind == "string_pattern_mismatch" and last == "version" and place[0] != "actions":
        return f"is {show(value)}; a version is written like 4.2"
    if kind == "string_pattern_mismatch":
        return (
            "is no name; a name begins with a letter or digit and holds letters, digits, `.`, `_` and `-`, 200 at most"
        )
    if kind == "too_short":
        return (
            f"is {show(value)}; it has at least {context['min_length']} entries"
            if context["min_length"] > 1
            else "is empty; it has at least one entry"
        )
    if kind == "too_long":
        return f"has {context['actual_length']} entries; it has at most {context['max_length']}"
    if kind == "finite_number":
        return f"is {show(value)}; it is a finite number"
    wanted = _KINDS.get(kind)
    if wanted:
        example = _WANTED.get(last)
        return f"is {show(value)}; it is {wanted}" + (f" ({example})" if value is None and example else "")
    message = detail["msg"].removeprefix("Input ")
    return f"is {show(value)}; it {message}"


def unknown_kind(section: str, kind: str) -> str:
    """Return what to say about a word that is no fault or action, or none yet."""
    known = _kinds(section)
    if kind in planned.FAULTS and section == "faults":
        return f"is {kind!r}, which {planned.NOT_YET}; there is {', '.join(known)}"
    what = "fault" if section == "faults" else "action"
    other = "actions" if section == "faults" else "faults"
    if kind in _kinds(other):
        return f"is {kind!r}, which is no {what}; it stands under `{other}:`"
    return f"is {kind!r}, which is no {what}{nearest_and_all(kind, known)}"


def nearest_and_all(word: str, known: tuple[str, ...]) -> str:
    """Return `; did you mean X? There is X, Y, Z`."""
    hint = nearest(word, known)
    return f"{hint} There is {', '.join(known)}" if "did you mean" in hint else hint


def _words(expected: str) -> tuple[str, ...]:
    return tuple(word.strip("'") for word in expected.replace(" or ", ", ").split(", "))


def _unknown_word(field: str, value: object, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in planned.WORDS.get(field, ()):
        return f"is {value!r}, which {planned.NOT_YET}; it is {and_list(known, 'or')}"
    if isinstance(value, str):
        return f"is {value!r}{nearest_and_all(value, known) if len(known) > 1 else f'; it is {known[0]}'}"
    return f"is {show(value)}; it is {and_list(known, 'or')}"


def _unknown_field(name: str, models: list[type[BaseModel]]) -> str:
    known = [field.alias or key for model in models for key, field in model.model_fields.items()]
    if any(name in planned.FIELDS.get(model.__name__, ()) for model in models):
        return f"{planned.NOT_YET}; remove it"
    return f"is no field here{nearest(name, list(dict.fromkeys(known)))}"


def _models_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """Return the models that may stand at a place, following pydantic's own location."""
    types: list[Any] = [model]
    for part in loc:
        if isinstance(part, str) and part.startswith("<"):
            key = part[1:-1]
            types = [t for t in _unfold(types) if _is_model(t) and key in _names(t)]
        elif part in _kinds("faults") and any(t in FAULTS for t in _unfold(types)):
            types = [t for t in _unfold(types) if _is_model(t) and part in get_args(t.model_fields["fault"].annotation)]
        elif part in _kinds("actions") and any(t in ACTIONS for t in _unfold(types)):
            types = [
                t for t in _unfold(types) if _is_model(t) and part in get_args(t.model_fields["action"].annotation)
            ]
        else:
            types = [inner for t in _unfold(types) for inner in _inside(t, part)]
    return [t for t in _unfold(types) if _is_model(t)]


def _names(model: type[BaseModel]) -> set[str]:
    return {field.alias or key for key, field in model.model_fields.items()}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _unfold(types: list[Any]) -> list[Any]:
    """Take annotations and unions apart."""
    found: list[Any] = []
    for kind in types:
        if hasattr(kind, "__metadata__"):
            found += _unfold([get_args(kind)[0]])
        elif get_origin(kind) in (Union, UnionType):
            found += _unfold(list(get_args(kind)))
        else:
            found.append(kind)
    return found


def _inside(kind: Any, part: int | str) -> Iterator[Any]:
    if _is_model(kind):
        for name, field in kind.model_fields.items():
            if part in (field.alias or name, name):
                yield field.annotation
    elif get_origin(kind) is tuple and isinstance(part, int):
        yield get_args(kind)[0]
    elif get_args(kind) and len(get_args(kind)) == 2:
        yield get_args(kind)[1]
