"""The types of a scenario's fields: frozen models that refuse unknown keys, and quantities with units."""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetJsonSchemaHandler,
    PlainSerializer,
    SkipValidation,
    WithJsonSchema,
    model_validator,
)

from scenarios import planned, quantities
from scenarios.distributions import Distribution, parse_distribution, written
from scenarios.errors import and_list, close_word, show
from scenarios.quantities import BANDWIDTH, DURATION, RATE, SHARE, SIZE, Unit


class Frozen(BaseModel):
    """A part of a scenario: unchangeable, complete, without unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_alias=True,
        validate_by_name=True,
        arbitrary_types_allowed=True,
        strict=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _lists_as_tuples(cls, raw: object) -> object:
        """Take YAML's lists where a frozen model keeps tuples; strictness is for scalars."""
        if not isinstance(raw, Mapping):
            return raw
        return {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe each field by its docstring."""
        found = handler(core)
        properties = handler.resolve_ref_schema(found).get("properties", {})
        for name, text in meanings(cls).items():
            field = cls.model_fields[name]
            if field.description is None:
                properties[field.alias or name]["description"] = text
        return found


def meanings(model: type[Frozen]) -> dict[str, str]:
    """Return the docstrings of a model's fields, by name.

    Read from the source when somebody asks: pydantic would read all of it at every start (`use_attribute_docstrings`).
    """
    found = {}
    for part in reversed([each for each in model.__mro__ if issubclass(each, Frozen)]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in pairwise(body.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                    found[name] = inspect.cleandoc(meaning)
    return found


def choice(field: str, words: tuple[str, ...], forms: Mapping[str, str]) -> BeforeValidator:
    """Return a validator that takes one of some words or one-key mappings (by key: how it is written), or says what there is."""
    ways = and_list([*words, *forms.values()], last="or")

    def check(raw: object) -> object:
        if isinstance(raw, Frozen) or (isinstance(raw, str) and raw in words):
            return raw
        if isinstance(raw, Mapping) and len(raw) == 1 and next(iter(raw)) in forms:
            return raw
        word = next(iter(raw)) if isinstance(raw, Mapping) and len(raw) == 1 else raw
        if isinstance(word, str) and word in planned.WORDS.get(field, ()):
            raise ValueError(f"is {show(raw)}, which {planned.NOT_YET}; it is {ways}")
        close = close_word(word, [*words, *forms]) if isinstance(word, str) else None
        hint = f"did you mean {close}? It" if close else "it"
        raise ValueError(f"is {show(raw)}; {hint} is {ways}")

    return BeforeValidator(check)


def _form(raw: object) -> str:
    if isinstance(raw, Mapping):
        return f"<{next(iter(raw))}>"
    if isinstance(raw, Frozen):
        name, field = next(iter(type(raw).model_fields.items()))
        return f"<{field.alias or name}>"
    return "<word>"


by_form = Discriminator(_form)
"""Chooses among a word (tag `<word>`) and one-key mappings (tag `<key>`); tags never look like fields."""


class OneOrSeveral:
    """Says in the JSON Schema that one entry may stand for a list of one, and that a word or quantity may stand for an entry."""

    def __init__(self, short: Mapping[str, Any] | None = None) -> None:
        self.short = short

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        listed: dict[str, Any] = handler(core)
        forms = [listed["items"], *([dict(self.short)] if self.short else [])]
        return {"anyOf": [*forms, {**listed, "items": {"anyOf": forms}}]}


def quantity_schema(unit: Unit) -> dict[str, Any]:
    """Return the JSON Schema of a quantity, so that editors check it while people type."""
    suffixes = "|".join(suffix.replace("/", r"\/") for suffix in unit.scale)
    return {
        "type": "string",
        "pattern": rf"^\s*\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*({suffixes})\s*$",
        "description": f"a {unit.name}, such as {unit.example}",
    }


def _distribution_schema(unit: Unit) -> dict[str, Any]:
    value, number = quantity_schema(unit), {"type": "number", "exclusiveMinimum": 0}
    spread = {"mean": value, "cv": number}
    forms: dict[str, Any] = {
        "exponential": value,
        "lognormal": _object(spread),
        "gamma": _object(spread),
        "uniform": {"type": "array", "prefixItems": [value, value], "minItems": 2, "maxItems": 2},
        "pareto": _object({"min": value, "shape": {"type": "number", "exclusiveMinimum": 1}}),
        "mix": {"type": "array", "items": _object({"share": quantity_schema(SHARE), "of": {}}), "minItems": 1},
    }
    trace = _object({"trace": {"type": "string"}, "column": {"type": "string"}})
    varying = [_object({name: form}) for name, form in forms.items()]
    return {"anyOf": [value, *varying, trace], "description": f"a {unit.name} that may vary"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_DURATION_TEXT = PlainSerializer(quantities.exact_duration)
Duration = Annotated[
    int, BeforeValidator(quantities.duration_ns), _DURATION_TEXT, WithJsonSchema(quantity_schema(DURATION))
]
PositiveDuration = Annotated[
    int, BeforeValidator(quantities.positive_duration_ns), _DURATION_TEXT, WithJsonSchema(quantity_schema(DURATION))
]
Size = Annotated[
    int,
    BeforeValidator(quantities.size_bytes),
    PlainSerializer(quantities.exact_size),
    WithJsonSchema(quantity_schema(SIZE)),
]
Bandwidth = Annotated[
    float,
    BeforeValidator(quantities.bandwidth),
    PlainSerializer(quantities.exact_bandwidth),
    WithJsonSchema(quantity_schema(BANDWIDTH)),
]


def _positive_rate(raw: object) -> float:
    rate = quantities.rate_hz(raw)
    if rate == 0:
        raise ValueError(f"is {show(raw)}; it is above 0/s")
    return rate


PositiveRate = Annotated[
    float,
    BeforeValidator(_positive_rate),
    PlainSerializer(quantities.exact_rate),
    WithJsonSchema(quantity_schema(RATE)),
]
SignedDuration = Annotated[
    int,
    BeforeValidator(quantities.signed_duration_ns),
    PlainSerializer(quantities.exact_signed_duration),
    WithJsonSchema({"type": "string", "description": "a duration that may lie before, such as -5s"}),
]
Share = Annotated[
    float,
    BeforeValidator(quantities.share),
    PlainSerializer(quantities.exact_share),
    WithJsonSchema(quantity_schema(SHARE)),
]
DurationDistribution = Annotated[
    Distribution,
    SkipValidation,
    BeforeValidator(lambda raw: parse_distribution(raw, DURATION)),
    PlainSerializer(lambda distribution: written(distribution, DURATION)),
    WithJsonSchema(_distribution_schema(DURATION)),
]
SizeDistribution = Annotated[
    Distribution,
    SkipValidation,
    BeforeValidator(lambda raw: parse_distribution(raw, SIZE)),
    PlainSerializer(lambda distribution: written(distribution, SIZE)),
    WithJsonSchema(_distribution_schema(SIZE)),
]
